//! An FTP client that sends exactly what a test tells it, in clear and over TLS, and parses replies
//! as strictly as it can.

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, ClientConnection, HandshakeKind, RootCertStore, StreamOwned};
use socket2::{Domain, Socket, Type};
use wire::ftp::address;

use crate::server::{PATIENCE, Server};

/// A connection, secured or not.
#[derive(Debug)]
pub(crate) enum Wire {
    Clear(TcpStream),
    Secured(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Read for Wire {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Wire::Clear(socket) => socket.read(into),
            Wire::Secured(tls) => tls.read(into),
        }
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Wire::Clear(socket) => socket.write(bytes),
            Wire::Secured(tls) => tls.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Wire::Clear(socket) => socket.flush(),
            Wire::Secured(tls) => tls.flush(),
        }
    }
}

impl Wire {
    /// Sends close_notify and the end.
    pub(crate) fn finish(self) -> io::Result<()> {
        match self {
            Wire::Clear(socket) => socket.shutdown(std::net::Shutdown::Write),
            Wire::Secured(mut tls) => {
                tls.conn.send_close_notify();
                while tls.conn.wants_write() {
                    tls.conn.write_tls(&mut tls.sock)?;
                }
                tls.sock.shutdown(std::net::Shutdown::Write)
            }
        }
    }
}

/// The ways to open a data connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Pasv,
    Epsv,
    Port,
    Eprt,
}

pub(crate) const MODES: [Mode; 4] = [Mode::Pasv, Mode::Epsv, Mode::Port, Mode::Eprt];

/// The origin of a data connection.
#[derive(Debug)]
pub(crate) enum Door {
    There(TcpStream),
    Listening(TcpListener),
}

/// A control connection.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) wire: Option<Wire>,
    pub(crate) server: SocketAddr,
    from: IpAddr,
    /// The TLS of data connections, once it is set.
    pub(crate) private: Option<Arc<ClientConfig>>,
    pub(crate) mode: Mode,
    /// Whether the last data connection resumed an earlier TLS session.
    pub(crate) resumed: Option<bool>,
    unread: Vec<u8>,
}

/// A reply: its code, and its lines with the codes before them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) code: u16,
    pub(crate) text: String,
}

/// Returns a TLS client that trusts the server's own CA, and keeps sessions.
pub(crate) fn trusting(server: &Server) -> Arc<ClientConfig> {
    trusting_with(server, &[&rustls::version::TLS13, &rustls::version::TLS12])
}

/// Returns the same with only these versions.
pub(crate) fn trusting_with(
    server: &Server,
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(server.path("certs/ca.pem")).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider);
    let config = config.with_protocol_versions(versions).unwrap();
    Arc::new(config.with_root_certificates(roots).with_no_client_auth())
}

/// Connects from a given address.
pub(crate) fn connect(from: IpAddr, to: SocketAddr) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, None)?;
    socket.bind(&SocketAddr::new(from, 0).into())?;
    socket.connect_timeout(&to.into(), PATIENCE)?;
    let socket = TcpStream::from(socket);
    socket.set_nodelay(true)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.set_write_timeout(Some(PATIENCE))?;
    Ok(socket)
}

fn secure(tls: &Arc<ClientConfig>, server: IpAddr, socket: TcpStream) -> Wire {
    let session = ClientConnection::new(Arc::clone(tls), server.into()).unwrap();
    Wire::Secured(Box::new(StreamOwned::new(session, socket)))
}

impl Session {
    /// Opens a session from 127.0.0.1 or ::1, and reads the greeting.
    pub(crate) fn open(server: SocketAddr) -> Session {
        Session::open_from(server.ip(), server)
    }

    /// Opens a session from another address, and reads the greeting.
    pub(crate) fn open_from(from: IpAddr, server: SocketAddr) -> Session {
        let mut session = Session::bare(from, server);
        assert_eq!(session.hear().code, 220);
        session
    }

    /// Opens a session without reading anything.
    pub(crate) fn bare(from: IpAddr, server: SocketAddr) -> Session {
        Session {
            wire: Some(Wire::Clear(connect(from, server).unwrap())),
            server,
            from,
            private: None,
            mode: if server.is_ipv4() { Mode::Pasv } else { Mode::Epsv },
            resumed: None,
            unread: Vec::new(),
        }
    }

    /// Opens a session that begins with TLS, and reads the greeting.
    pub(crate) fn open_tls(server: SocketAddr, tls: &Arc<ClientConfig>) -> Session {
        let mut session = Session::bare(server.ip(), server);
        session.begin_tls(tls);
        assert_eq!(session.hear().code, 220);
        session
    }

    /// Begins TLS.
    pub(crate) fn begin_tls(&mut self, tls: &Arc<ClientConfig>) {
        let Some(Wire::Clear(socket)) = self.wire.take() else { panic!("TLS is there already") };
        self.wire = Some(secure(tls, self.server.ip(), socket));
    }

    /// Sends `AUTH TLS`, and protects data.
    pub(crate) fn secure(&mut self, tls: &Arc<ClientConfig>) {
        self.expect("AUTH TLS", 234);
        self.begin_tls(tls);
        self.expect("PBSZ 0", 200);
        self.expect("PROT P", 200);
        self.private = Some(Arc::clone(tls));
    }

    pub(crate) fn say(&mut self, bytes: impl AsRef<[u8]>) {
        let wire = self.wire.as_mut().expect("a connection");
        let _ = wire.write_all(bytes.as_ref()).and_then(|()| wire.flush());
    }

    /// Reads the next reply, or returns `None` if the server has closed.
    pub(crate) fn listen(&mut self) -> Option<Reply> {
        let mut text = String::new();
        loop {
            let line = self.line()?;
            let code = line.get(..3).and_then(|code| code.parse().ok());
            text += &line;
            match (code, line.as_bytes().get(3)) {
                (Some(code), Some(b' ')) => return Some(Reply { code, text }),
                (Some(_), Some(b'-')) => {}
                // Between the first line and the last.
                _ => assert!(line.starts_with(' ') && text.len() > line.len(), "{line:?}"),
            }
            text.push('\n');
        }
    }

    fn line(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.unread.windows(2).position(|two| two == b"\r\n") {
                let line: Vec<u8> = self.unread.drain(..end + 2).collect();
                return Some(String::from_utf8(line[..end].to_vec()).expect("UTF-8"));
            }
            let mut bytes = [0; 4_096];
            match self.wire.as_mut()?.read(&mut bytes) {
                Ok(0) => {
                    assert!(self.unread.is_empty(), "half a line");
                    return None;
                }
                Ok(read) => self.unread.extend_from_slice(&bytes[..read]),
                Err(fault) if fault.kind() == io::ErrorKind::ConnectionReset => return None,
                Err(fault) => panic!("no reply: {fault}"),
            }
        }
    }

    /// Reads the next reply; fails without one.
    pub(crate) fn hear(&mut self) -> Reply {
        self.listen().expect("a reply")
    }

    /// Sends a command, and reads its reply.
    pub(crate) fn ask(&mut self, command: &str) -> Reply {
        self.say(format!("{command}\r\n"));
        self.hear()
    }

    /// Sends a command that must be answered with this code.
    pub(crate) fn expect(&mut self, command: &str, code: u16) -> String {
        let reply = self.ask(command);
        assert_eq!(reply.code, code, "{command}: {}", reply.text);
        reply.text
    }

    /// Logs in as a phone, in binary.
    pub(crate) fn log_in(&mut self) {
        self.expect("USER anonymous", 331);
        self.expect("PASS phone@", 230);
        self.expect("TYPE I", 200);
    }

    /// Logs in as an administrator, in binary.
    pub(crate) fn log_in_as(&mut self, name: &str, password: &str) {
        self.expect(&format!("USER {name}"), 331);
        self.expect(&format!("PASS {password}"), 230);
        self.expect("TYPE I", 200);
    }

    /// Prepares a data connection.
    pub(crate) fn door(&mut self) -> Door {
        match self.mode {
            Mode::Pasv => {
                let text = self.expect("PASV", 227);
                let at =
                    SocketAddr::V4(address::read_pasv(&text.as_bytes()[4..]).expect("an address"));
                assert_eq!(at.ip(), self.server.ip());
                Door::There(connect(self.from, at).unwrap())
            }
            Mode::Epsv => {
                let text = self.expect("EPSV", 229);
                let port = address::read_epsv(text.as_bytes()).expect("a port");
                let at = SocketAddr::new(self.server.ip(), port);
                Door::There(connect(self.from, at).unwrap())
            }
            Mode::Port | Mode::Eprt => {
                let socket = TcpListener::bind((self.from, 0)).unwrap();
                let command = match (self.mode, socket.local_addr().unwrap()) {
                    (Mode::Port, SocketAddr::V4(at)) => {
                        let mut argument = Vec::new();
                        address::write_port(&mut argument, at);
                        format!("PORT {}", String::from_utf8(argument).unwrap())
                    }
                    (_, at) => {
                        let mut argument = Vec::new();
                        address::write_eprt(&mut argument, at);
                        format!("EPRT {}", String::from_utf8(argument).unwrap())
                    }
                };
                self.expect(&command, 200);
                Door::Listening(socket)
            }
        }
    }

    /// Returns the data connection, once the server has announced it.
    pub(crate) fn through(&mut self, door: Door) -> Wire {
        let socket = match door {
            Door::There(socket) => socket,
            Door::Listening(listener) => {
                let (socket, peer) = listener.accept().unwrap();
                assert_eq!(peer.ip(), self.server.ip());
                socket.set_read_timeout(Some(PATIENCE)).unwrap();
                socket
            }
        };
        let Some(tls) = self.private.clone() else { return Wire::Clear(socket) };
        let mut wire = secure(&tls, self.server.ip(), socket);
        if let Wire::Secured(tls) = &mut wire {
            while tls.conn.is_handshaking() {
                tls.conn.complete_io(&mut tls.sock).unwrap();
            }
            self.resumed = tls.conn.handshake_kind().map(|kind| kind == HandshakeKind::Resumed);
        }
        wire
    }

    /// Begins a transfer; returns the reply if it is refused.
    pub(crate) fn begin(&mut self, command: &str) -> Result<Wire, Reply> {
        let door = self.door();
        let reply = self.ask(command);
        match reply.code {
            125 | 150 => Ok(self.through(door)),
            _ => Err(reply),
        }
    }

    /// Fetches the data of a command: `RETR`, `LIST`, `NLST`, `MLSD`.
    pub(crate) fn fetch(&mut self, command: &str) -> Result<Vec<u8>, Reply> {
        let mut data = self.begin(command)?;
        let mut bytes = Vec::new();
        let read = data.read_to_end(&mut bytes);
        let reply = self.hear();
        match reply.code {
            226 => {
                read.expect("all of a file");
                Ok(bytes)
            }
            _ => Err(reply),
        }
    }

    /// Stores bytes by a command: `STOR`, `APPE`, `STOU`.
    pub(crate) fn send(&mut self, command: &str, bytes: &[u8]) -> Reply {
        match self.begin(command) {
            Ok(mut data) => {
                let sent = data.write_all(bytes).and_then(|()| data.finish());
                let reply = self.hear();
                assert!(sent.is_ok() || reply.code != 226, "{sent:?} {reply:?}");
                reply
            }
            Err(reply) => reply,
        }
    }

    /// Does the same with a server that may end at any moment; returns the last code, if there is
    /// one.
    pub(crate) fn try_send(&mut self, command: &str, bytes: &[u8]) -> Option<u16> {
        self.say("EPSV\r\n");
        let text = self.try_hear()?.text;
        let at = SocketAddr::new(self.server.ip(), address::read_epsv(text.as_bytes())?);
        let mut data = connect(self.from, at).ok()?;
        self.say(format!("{command}\r\n"));
        let begun = self.try_hear()?;
        if begun.code >= 200 {
            return Some(begun.code);
        }
        data.write_all(bytes).ok()?;
        drop(data);
        self.try_hear().map(|reply| reply.code)
    }

    fn try_hear(&mut self) -> Option<Reply> {
        // A partial line of a killed server does not count.
        let mut came = Vec::new();
        while !came.ends_with(b"\r\n") {
            let mut byte = [0];
            match self.wire.as_mut()?.read(&mut byte) {
                Ok(1) => came.push(byte[0]),
                Ok(_) | Err(_) => return None,
            }
        }
        let text = String::from_utf8(came).ok()?;
        Some(Reply { code: text.get(..3)?.parse().ok()?, text })
    }
}
