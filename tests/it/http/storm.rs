//! Hundreds of phones at once over real connections, with every byte compared: a mass reboot, and
//! changes of everything during transfers.

use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use phones::phone::http::{Client, ConnectionOp, Ending, Phone, Plan, PlanStep, Presence};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use wire::time::Instant;

use crate::interop::{expect_same, noise};
use crate::server::{PATIENCE, Server, eventually};

const SCRIPT: &str = "96xxupgrade.txt";
const SETTINGS: &str = "46xxsettings.txt";
const FIRMWARE: &str = "hb96xxua3_00.bin";
const BOOTING: usize = 500;
const LOADING: usize = 100;
/// More than the kernel accepts in advance for a phone that does not read.
const LARGE_BYTES: usize = 1 << 20;

trait Wire: Read + Write {}
impl<T: Read + Write> Wire for T {}

/// One phone, its connection, and what it has read of its current file.
struct Caller {
    phone: Phone,
    wire: Option<Box<dyn Wire>>,
    read: Vec<u8>,
    /// The result of each file, and its bytes.
    files: Vec<(Ending, Vec<u8>)>,
}

/// Phones that all do the same at once.
struct Storm {
    server: SocketAddr,
    tls: Option<Arc<ClientConfig>>,
    callers: Vec<Caller>,
    poll: Poll,
    began: std::time::Instant,
}

impl Storm {
    fn new(
        server: SocketAddr,
        tls: Option<Arc<ClientConfig>>,
        count: usize,
        names: &[&str],
    ) -> Self {
        let step = |name: &&str| {
            let presence = if name.contains('?') { Presence::May } else { Presence::Must };
            PlanStep { presence, ..PlanStep::fetch(&format!("/{}", name.trim_end_matches('?'))) }
        };
        let plan = Arc::new(Plan {
            client: Arc::new(Client::new(&server.to_string())),
            secret: None,
            steps: names.iter().map(step).collect(),
            pause: Duration::ZERO,
            stays: Duration::ZERO,
        });
        let caller = |_| Caller {
            phone: Phone::new(Arc::clone(&plan), Instant::START),
            wire: None,
            read: Vec::new(),
            files: Vec::new(),
        };
        let callers = (0..count).map(caller).collect();
        let (poll, began) = (Poll::new().unwrap(), std::time::Instant::now());
        Storm { server, tls, callers, poll, began }
    }

    /// Moves all data that can move, until all phones are as wanted.
    fn run_until(&mut self, is_so: impl Fn(&Caller) -> bool) {
        let mut events = Events::with_capacity(1_024);
        let due = std::time::Instant::now() + PATIENCE;
        for id in 0..self.callers.len() {
            self.drive(id, &is_so);
        }
        while !self.callers.iter().all(&is_so) {
            assert!(std::time::Instant::now() < due, "the phones are not served in time");
            self.poll.poll(&mut events, Some(Duration::from_millis(10))).unwrap();
            for event in &events {
                self.drive(event.token().0, &is_so);
            }
        }
    }

    fn drive(&mut self, id: usize, is_enough: impl Fn(&Caller) -> bool) {
        let now = Instant::from_micros(self.began.elapsed().as_micros() as u64);
        if self.callers[id].phone.poll_timeout().is_some_and(|at| at <= now) {
            self.callers[id].phone.handle_timeout(now);
        }
        while !is_enough(&self.callers[id]) {
            match self.callers[id].phone.poll_connection_op() {
                Some(ConnectionOp::Close) => self.callers[id].wire = None,
                Some(ConnectionOp::Connect) => {
                    self.callers[id].wire = Some(self.connect(id));
                    self.callers[id].phone.handle_connected(now);
                }
                None => {}
            }
            match self.callers[id].carry(now) {
                Ok(true) => {}
                Ok(false) => return,
                Err(fault) => panic!("phone {id} lost its connection: {fault}"),
            }
        }
    }

    fn connect(&self, id: usize) -> Box<dyn Wire> {
        let socket = std::net::TcpStream::connect(self.server).unwrap();
        socket.set_nonblocking(true).unwrap();
        socket.set_nodelay(true).unwrap();
        let mut socket = TcpStream::from_std(socket);
        let both = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().register(&mut socket, Token(id), both).unwrap();
        match &self.tls {
            None => Box::new(socket),
            Some(tls) => {
                let name = ServerName::from(self.server.ip());
                let session = ClientConnection::new(Arc::clone(tls), name).unwrap();
                Box::new(StreamOwned::new(session, socket))
            }
        }
    }

    /// Asserts that every phone got this of each file; an empty one was missing.
    fn expect(&self, contents: &[&[u8]]) {
        for caller in &self.callers {
            assert!(!caller.phone.is_lost());
            assert_eq!(caller.files.len(), contents.len());
            for ((ending, got), content) in caller.files.iter().zip(contents) {
                let missing = Ending::Refused(404);
                assert_eq!(*ending, if content.is_empty() { missing } else { Ending::Done });
                expect_same(got, content, "a file");
            }
        }
    }
}

impl Caller {
    /// Sends and reads once. Returns whether anything moved.
    fn carry(&mut self, now: Instant) -> io::Result<bool> {
        let Some(wire) = &mut self.wire else { return Ok(false) };
        let mut moved = false;
        let [head, body] = self.phone.poll_transmit();
        let part = if head.is_empty() { body } else { head };
        if !part.is_empty() {
            let sent = unless_blocked(wire.write(part))?.unwrap_or(0);
            self.phone.handle_sent(sent, now);
            moved |= sent > 0;
        }
        let mut room = [0; 32 << 10];
        let Some(count) = unless_blocked(wire.read(&mut room))? else { return Ok(moved) };
        if count == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        let mut bytes = &room[..count];
        while !bytes.is_empty() {
            let (used, piece) = self.phone.handle_bytes(bytes, now);
            self.read.extend_from_slice(piece.map_or(&[], |piece| piece.bytes));
            if let Some(result) = self.phone.poll_result() {
                let tally = result.tally;
                assert_eq!(tally.resets + tally.timeouts + tally.reopened, 0, "{result:?}");
                self.files.push((result.ending, std::mem::take(&mut self.read)));
            }
            bytes = &bytes[used..];
        }
        Ok(true)
    }
}

fn unless_blocked(moved: io::Result<usize>) -> io::Result<Option<usize>> {
    match moved {
        Err(fault) if fault.kind() == ErrorKind::WouldBlock => Ok(None),
        moved => moved.map(Some),
    }
}

/// Returns a TLS client that trusts the server's own CA.
fn trusting(server: &Server) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(server.path("certs/ca.pem")).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider);
    let config = config.with_safe_default_protocol_versions().unwrap();
    Arc::new(config.with_root_certificates(roots).with_no_client_auth())
}

/// Returns the certificate that a server sends now.
fn certificate(server: SocketAddr, tls: &Arc<ClientConfig>) -> Vec<u8> {
    let mut socket = std::net::TcpStream::connect(server).unwrap();
    let mut session = ClientConnection::new(Arc::clone(tls), server.ip().into()).unwrap();
    while session.is_handshaking() {
        session.complete_io(&mut socket).unwrap();
    }
    session.peer_certificates().unwrap()[0].to_vec()
}

fn boot_over(is_secure: bool) {
    let server = Server::start_web("");
    let contents = [noise(4_500), noise(13_000), noise(200 << 10)];
    let [script, settings, firmware] = contents.each_ref().map(|it| &it[..]);
    for (name, content) in [(SCRIPT, script), (SETTINGS, settings), (FIRMWARE, firmware)] {
        server.put(name, content);
    }
    let (address, tls) = match is_secure {
        false => (server.address(), None),
        true => (server.tls_address(), Some(trusting(&server))),
    };
    let names = [SCRIPT, SETTINGS, "00040d000001.txt?", FIRMWARE];
    let mut storm = Storm::new(address, tls, BOOTING, &names);
    storm.run_until(|caller| caller.phone.has_booted_or_failed());
    storm.expect(&[script, settings, &[], firmware]);
}

#[test]
fn five_hundred_phones_boot_at_once_over_a_connection_each() {
    boot_over(false);
}

#[test]
fn five_hundred_phones_boot_at_once_over_tls() {
    boot_over(true);
}

#[test]
fn neither_reloads_nor_a_new_certificate_break_what_is_under_way() {
    let server = Server::start_web("");
    let firmware = noise(LARGE_BYTES);
    server.put(FIRMWARE, &firmware);
    let tls = trusting(&server);
    let shown = || certificate(server.tls_address(), &tls);
    let before = shown();
    let mut storms = [(server.address(), None), (server.tls_address(), Some(Arc::clone(&tls)))]
        .map(|(address, tls)| Storm::new(address, tls, LOADING / 2, &[FIRMWARE]));
    for storm in &mut storms {
        storm.run_until(|caller| !caller.read.is_empty());
    }
    let renewed = Command::new(env!("CARGO_BIN_EXE_ringpost"))
        .args(["certificate", "renew", "--config", "ringpost.toml"])
        .current_dir(server.path("."))
        .output()
        .unwrap();
    assert!(renewed.status.success(), "{renewed:?}");
    let reloads = || server.log().matches("the new configuration is in force").count();
    for number in 1..=5 {
        server.configure_web(&format!("[http_limits]\nrequests_max = {}\n", 1_000 + number));
        server.signal("HUP");
        eventually("a reload", || reloads() >= number);
    }
    eventually("the new certificate is shown", || shown() != before);
    for storm in &mut storms {
        storm.run_until(|caller| caller.phone.has_booted_or_failed());
        storm.expect(&[&firmware]);
    }
}
