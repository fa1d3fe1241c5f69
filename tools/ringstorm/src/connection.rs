//! One connection of a phone: a socket from an address of its own, plain or secured.
//!
//! Moves bytes when the socket is ready; knows nothing of HTTP, and nothing of FTP.

use std::io::{self, IoSlice, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr};

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use phones::phone::http::Loss;
use rustls::{ClientConnection, HandshakeKind};
use socket2::{Domain, Socket, Type};

use crate::network::address_of;
use crate::udp::set_option;

/// Bytes taken from a socket in one call.
const READ_BYTES: usize = 128 << 10;
/// Calls in one go, before the other phones have their turn.
const READS_MAX: usize = 8;
/// Plain bytes that are secured ahead of the socket.
const AHEAD_BYTES: usize = 64 << 10;

/// Room to read into, shared by all connections of a thread.
pub(crate) struct Scratch {
    cipher: Vec<u8>,
    plain: Vec<u8>,
}

impl Scratch {
    /// Empty room.
    pub(crate) fn new() -> Scratch {
        Scratch { cipher: vec![0; READ_BYTES], plain: vec![0; READ_BYTES] }
    }
}

/// Why a connection is gone, and what the system or TLS says of it.
#[derive(Debug)]
pub(crate) struct Trouble {
    /// What it means to the phone.
    pub(crate) loss: Loss,
    /// In words.
    pub(crate) words: String,
}

/// How far a connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// The server has not taken it yet.
    Opening,
    /// It is being secured.
    Securing,
    /// It carries bytes.
    Open,
}

/// A connection.
pub(crate) struct Connection {
    socket: TcpStream,
    tls: Option<Box<ClientConnection>>,
    stage: Stage,
    /// What came in one go with the end of the handshake, and whether the end of all came with it.
    early: Vec<u8>,
    is_ended: bool,
    /// The socket may have bytes.
    pub(crate) is_readable: bool,
    /// The server has closed its side, or has reset it.
    pub(crate) is_closed: bool,
}

impl Connection {
    /// Begins a connection. `from` is the number of the phone's address on loopback;
    /// `receive_bytes` keeps the buffer small for a phone that reads slowly.
    pub(crate) fn open(
        server: SocketAddr,
        from: u32,
        receive_bytes: Option<usize>,
        tls: Option<ClientConnection>,
        (registry, token): (&Registry, Token),
    ) -> Result<Connection, Trouble> {
        let begun = || {
            let socket = Socket::new(Domain::for_address(server), Type::STREAM, None)?;
            socket.set_nonblocking(true)?;
            socket.set_tcp_nodelay(true)?;
            if let Some(bytes) = receive_bytes {
                socket.set_recv_buffer_size(bytes)?;
            }
            if server.is_ipv4() && server.ip().is_loopback() {
                // With the port chosen in connect, each address has all ports of the system to
                // itself, and those of past connections (TIME_WAIT) are passed over.
                set_option(&socket, libc::SOL_IP, libc::IP_BIND_ADDRESS_NO_PORT, 1)?;
                socket.bind(&SocketAddr::from((address_of(from), 0)).into())?;
            }
            match socket.connect(&server.into()) {
                Err(fault) if fault.raw_os_error() != Some(libc::EINPROGRESS) => return Err(fault),
                Ok(()) | Err(_) => {}
            }
            let mut socket = TcpStream::from_std(socket.into());
            registry.register(&mut socket, token, Interest::READABLE | Interest::WRITABLE)?;
            Ok(socket)
        };
        let socket = begun().map_err(|fault: io::Error| Trouble {
            loss: Loss::Unreachable,
            words: describe(&fault),
        })?;
        Ok(Connection::over(socket, tls))
    }

    /// A connection over a socket that is registered, with nothing sent or received yet.
    fn over(socket: TcpStream, tls: Option<ClientConnection>) -> Connection {
        Connection {
            socket,
            tls: tls.map(Box::new),
            stage: Stage::Opening,
            early: Vec::new(),
            is_ended: false,
            is_readable: false,
            is_closed: false,
        }
    }

    /// A connection that the server has opened; the phone is the client of its TLS all the same.
    pub(crate) fn accepted(
        mut socket: TcpStream,
        tls: Option<ClientConnection>,
        (registry, token): (&Registry, Token),
    ) -> io::Result<Connection> {
        socket.set_nodelay(true)?;
        registry.register(&mut socket, token, Interest::READABLE | Interest::WRITABLE)?;
        Ok(Connection::over(socket, tls))
    }

    /// Begins to secure a connection that has carried bytes in clear.
    pub(crate) fn secure(&mut self, tls: ClientConnection) {
        self.tls = Some(Box::new(tls));
        self.stage = Stage::Securing;
    }

    /// The address that it has here.
    pub(crate) fn local_address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Goes on with opening and securing. Says how far it has come.
    pub(crate) fn proceed(&mut self, scratch: &mut Scratch) -> Result<Stage, Trouble> {
        if self.stage == Stage::Opening {
            if let Some(fault) = self.socket.take_error().ok().flatten() {
                return Err(Trouble { loss: Loss::Unreachable, words: describe(&fault) });
            }
            match self.socket.peer_addr() {
                Ok(_) if self.tls.is_some() => self.stage = Stage::Securing,
                Ok(_) => self.stage = Stage::Open,
                Err(_) => return Ok(Stage::Opening),
            }
        }
        if self.stage == Stage::Securing {
            self.flush()?;
            while self.is_securing() && self.is_readable {
                let mut early = std::mem::take(&mut self.early);
                let read = self.read(scratch, None, &mut |bytes| early.extend_from_slice(bytes));
                self.early = early;
                if let Err(trouble) = read {
                    match (trouble.loss, self.is_securing()) {
                        (Loss::Closed, false) => self.is_ended = true,
                        (Loss::Closed, true) => {
                            return Err(Trouble { loss: Loss::Unsecured, ..trouble });
                        }
                        (_, _) => return Err(trouble),
                    }
                }
                self.flush()?;
            }
            if !self.is_securing() {
                self.stage = Stage::Open;
            }
        }
        Ok(self.stage)
    }

    /// How far it has come.
    pub(crate) fn stage(&self) -> Stage {
        self.stage
    }

    /// How the connection was secured, once it is.
    pub(crate) fn handshake(&self) -> Option<HandshakeKind> {
        self.tls.as_ref()?.handshake_kind()
    }

    /// Hands over what has come, at most `limit` bytes of the socket. How many those were.
    pub(crate) fn read(
        &mut self,
        scratch: &mut Scratch,
        limit: Option<usize>,
        taken: &mut impl FnMut(&[u8]),
    ) -> Result<usize, Trouble> {
        if self.stage == Stage::Open && !self.early.is_empty() {
            taken(&std::mem::take(&mut self.early));
        }
        if self.is_ended {
            return Err(Trouble { loss: Loss::Closed, words: "closed".to_owned() });
        }
        let mut left = limit.unwrap_or(usize::MAX);
        for _ in 0..READS_MAX {
            let room = left.min(READ_BYTES);
            if room == 0 || !self.is_readable {
                break;
            }
            let read = match self.socket.read(&mut scratch.cipher[..room]) {
                Ok(0) => return Err(Trouble { loss: Loss::Closed, words: "closed".to_owned() }),
                Ok(read) => read,
                Err(fault) if fault.kind() == io::ErrorKind::WouldBlock => {
                    self.is_readable = false;
                    break;
                }
                Err(fault) if fault.kind() == io::ErrorKind::Interrupted => continue,
                Err(fault) => return Err(Trouble { loss: Loss::Reset, words: describe(&fault) }),
            };
            left -= read;
            // A short read has emptied the socket, unless the end of the stream waits behind it.
            self.is_readable = read == room || self.is_closed;
            match &mut self.tls {
                None => taken(&scratch.cipher[..read]),
                Some(tls) => unseal(tls, &scratch.cipher[..read], &mut scratch.plain, taken)?,
            }
            if self.is_securing() {
                break;
            }
        }
        Ok(limit.unwrap_or(usize::MAX) - left)
    }

    /// Sends what the socket takes now of two pieces. How many bytes it took.
    pub(crate) fn write(&mut self, parts: [&[u8]; 2]) -> Result<usize, Trouble> {
        if self.tls.is_some() {
            return self.write_sealed(parts);
        }
        match self.socket.write_vectored(&parts.map(IoSlice::new)) {
            Ok(sent) => Ok(sent),
            Err(fault) => blocked(&fault).map(|()| 0),
        }
    }

    fn write_sealed(&mut self, parts: [&[u8]; 2]) -> Result<usize, Trouble> {
        let mut sent = 0;
        for part in parts {
            let mut rest = part;
            while !rest.is_empty() {
                self.flush()?;
                let Some(tls) = self.tls.as_mut().filter(|tls| !tls.wants_write()) else {
                    return Ok(sent);
                };
                let room = rest.len().min(AHEAD_BYTES);
                let sealed = tls.writer().write(&rest[..room]).unwrap_or(0);
                if sealed == 0 {
                    return Ok(sent);
                }
                sent += sealed;
                rest = &rest[sealed..];
            }
        }
        self.flush()?;
        Ok(sent)
    }

    /// Sends what TLS has to send, as far as the socket takes it.
    pub(crate) fn flush(&mut self) -> Result<(), Trouble> {
        let Some(tls) = &mut self.tls else { return Ok(()) };
        while tls.wants_write() {
            match tls.write_tls(&mut self.socket) {
                Ok(_) => {}
                Err(fault) if fault.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(fault) => return blocked(&fault),
            }
        }
        Ok(())
    }

    /// Says that no more will come, once all of it has left; reading goes on. Whether it was said;
    /// to be called again until it is.
    pub(crate) fn end(&mut self) -> Result<bool, Trouble> {
        if let Some(tls) = &mut self.tls {
            // A second one is not sent.
            tls.send_close_notify();
        }
        self.flush()?;
        if self.tls.as_ref().is_some_and(|tls| tls.wants_write()) {
            return Ok(false);
        }
        // A server that has gone meanwhile is found out when it is read.
        let _ = self.socket.shutdown(Shutdown::Write);
        Ok(true)
    }

    /// Closes it in order.
    pub(crate) fn close(mut self) {
        if let Some(tls) = &mut self.tls {
            tls.send_close_notify();
            // No one waits for bytes that the socket no longer takes.
            let _ = self.flush();
        }
        let _ = self.socket.shutdown(Shutdown::Write);
    }

    fn is_securing(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.is_handshaking())
    }
}

fn unseal(
    tls: &mut ClientConnection,
    mut cipher: &[u8],
    plain: &mut [u8],
    taken: &mut impl FnMut(&[u8]),
) -> Result<(), Trouble> {
    let unsecured = |words: String| Trouble { loss: Loss::Unsecured, words };
    while !cipher.is_empty() {
        match tls.read_tls(&mut cipher) {
            // Bytes behind the announced end belong to no response.
            Ok(0) => return Ok(()),
            Ok(_) => {}
            Err(fault) => return Err(unsecured(fault.to_string())),
        }
        if let Err(fault) = tls.process_new_packets() {
            // The alert tells the server why, if it still reads.
            return Err(unsecured(fault.to_string()));
        }
        while let Ok(bytes) = tls.reader().read(plain) {
            if bytes == 0 {
                return Err(Trouble { loss: Loss::Closed, words: "closed".to_owned() });
            }
            taken(&plain[..bytes]);
        }
    }
    Ok(())
}

/// A send that would wait is no trouble.
fn blocked(fault: &io::Error) -> Result<(), Trouble> {
    if matches!(fault.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) {
        return Ok(());
    }
    Err(Trouble { loss: Loss::Reset, words: describe(fault) })
}

fn describe(fault: &io::Error) -> String {
    match fault.raw_os_error() {
        Some(libc::EMFILE) => "no descriptor is left: raise `ulimit -n`".to_owned(),
        Some(_) | None => fault.to_string(),
    }
}
