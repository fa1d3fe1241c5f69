//! Tests of sessions against rustls' own client over a wire in memory, cut wherever possible.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::ErrorKind::{InvalidData, UnexpectedEof, WouldBlock};
use std::rc::Rc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{Ticketer, cipher_suite, default_provider, kx_group};
use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{
    ClientConfig, ClientConnection, ProtocolVersion, RootCertStore, SupportedProtocolVersion,
    version::TLS12, version::TLS13,
};

use super::*;

#[cfg(feature = "legacy-tls")]
mod legacy;
mod refusals;

type Issuer = CertifiedIssuer<'static, KeyPair>;

fn authority() -> Issuer {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A certificate for "phone.test", with its key.
fn pair(
    issuer: &Issuer,
) -> (Vec<rustls::pki_types::CertificateDer<'static>>, PrivateKeyDer<'static>) {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["phone.test".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, issuer).unwrap();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    (vec![certificate.der().clone()], key)
}

fn roots(issuer: &Issuer) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add(issuer.der().clone()).unwrap();
    roots
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(CryptoProvider { kx_groups: vec![kx_group::X25519], ..default_provider() })
}

const BOTH: &[&SupportedProtocolVersion] = &[&TLS12, &TLS13];

fn terms(config: ServerConfig) -> TlsTerms {
    TlsTerms::new(Arc::new(config))
}

fn plain_terms(issuer: &Issuer) -> TlsTerms {
    let (chain, key) = pair(issuer);
    let builder = ServerConfig::builder_with_provider(provider());
    let builder = builder.with_protocol_versions(BOTH).unwrap().with_no_client_auth();
    let mut config = builder.with_single_cert(chain, key).unwrap();
    config.ticketer = Ticketer::new().unwrap();
    terms(config)
}

fn client_config(issuer: &Issuer, versions: &[&'static SupportedProtocolVersion]) -> ClientConfig {
    let builder = ClientConfig::builder_with_provider(provider());
    let builder = builder.with_protocol_versions(versions).unwrap();
    builder.with_root_certificates(roots(issuer)).with_no_client_auth()
}

fn client(config: &Arc<ClientConfig>) -> ClientConnection {
    ClientConnection::new(config.clone(), ServerName::try_from("phone.test").unwrap()).unwrap()
}

/// One direction of a wire. `ready` bytes may pass; one more would block.
#[derive(Debug, Default)]
struct Lane {
    bytes: VecDeque<u8>,
    ready: usize,
    passed: usize,
    closed: bool,
}

/// The server's end of a wire: reads from `up`, writes to `down`, each as far as it may.
#[derive(Clone, Debug, Default)]
struct Wire {
    up: Rc<RefCell<Lane>>,
    down: Rc<RefCell<Lane>>,
}

impl Wire {
    fn open() -> Wire {
        let wire = Wire::default();
        wire.let_pass(usize::MAX, usize::MAX);
        wire
    }

    fn let_pass(&self, up: usize, down: usize) {
        self.up.borrow_mut().ready = up;
        self.down.borrow_mut().ready = down;
    }

    fn say(&self, bytes: &[u8]) {
        self.up.borrow_mut().bytes.extend(bytes);
    }

    fn hang_up(&self) {
        self.up.borrow_mut().closed = true;
    }

    /// Returns what the server has sent.
    fn heard(&self) -> Vec<u8> {
        self.down.borrow_mut().bytes.drain(..).collect()
    }
}

impl Read for Wire {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let mut lane = self.up.borrow_mut();
        let bytes = into.len().min(lane.bytes.len()).min(lane.ready);
        if bytes == 0 {
            let ended = lane.bytes.is_empty() && lane.closed;
            return if ended { Ok(0) } else { Err(WouldBlock.into()) };
        }
        lane.ready -= bytes;
        lane.passed += bytes;
        for place in &mut into[..bytes] {
            *place = lane.bytes.pop_front().unwrap();
        }
        Ok(bytes)
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut lane = self.down.borrow_mut();
        let taken = bytes.len().min(lane.ready);
        if taken == 0 {
            return Err(WouldBlock.into());
        }
        lane.ready -= taken;
        lane.passed += taken;
        lane.bytes.extend(&bytes[..taken]);
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Moves bytes between client and wire; the client's fault ends it.
fn carry(client: &mut ClientConnection, wire: &Wire) -> Result<(), Error> {
    let heard = wire.heard();
    let mut heard = heard.as_slice();
    while !heard.is_empty() {
        client.read_tls(&mut heard).unwrap();
        let processed = client.process_new_packets();
        send_all(client, wire);
        processed?;
    }
    send_all(client, wire);
    Ok(())
}

fn send_all(client: &mut ClientConnection, wire: &Wire) {
    let mut said = Vec::new();
    while client.wants_write() {
        client.write_tls(&mut said).unwrap();
    }
    wire.say(&said);
}

/// Returns what the server reads until it has to wait.
fn read_all(session: &mut TlsSession, wire: &mut Wire) -> io::Result<Vec<u8>> {
    let (mut all, mut part) = (Vec::new(), [0; 1_000]);
    loop {
        match session.read(wire, &mut part) {
            Ok(0) => return Ok(all),
            Ok(bytes) => all.extend(&part[..bytes]),
            Err(wait) if wait.kind() == WouldBlock => return Ok(all),
            Err(fault) => return Err(fault),
        }
    }
}

/// Shakes hands over an open wire.
fn secure(session: &mut TlsSession, client: &mut ClientConnection, wire: &mut Wire) {
    for _ in 0..4 {
        carry(client, wire).unwrap();
        assert_eq!(read_all(session, wire).unwrap(), b"");
    }
    carry(client, wire).unwrap();
    assert!(!session.is_handshaking() && !client.is_handshaking());
}

#[test]
fn a_request_and_its_answer_pass() {
    let issuer = authority();
    let terms = plain_terms(&issuer);
    for version in BOTH {
        let config = Arc::new(client_config(&issuer, &[version]));
        let (mut session, mut client) = (TlsSession::accept(&terms).unwrap(), client(&config));
        let mut wire = Wire::open();
        secure(&mut session, &mut client, &mut wire);
        client.writer().write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
        carry(&mut client, &wire).unwrap();
        assert_eq!(read_all(&mut session, &mut wire).unwrap(), b"GET / HTTP/1.1\r\n\r\n");
        let head_and_body = [IoSlice::new(b"HTTP/1.1 200 OK\r\n\r\n"), IoSlice::new(b"body")];
        assert_eq!(session.write_vectored(&mut wire, &head_and_body).unwrap(), 23);
        assert!(!session.has_unsent() && session.fault().is_none());
        session.end();
        session.flush(&mut wire).unwrap();
        carry(&mut client, &wire).unwrap();
        let mut answer = Vec::new();
        client.reader().read_to_end(&mut answer).unwrap();
        assert_eq!(answer, b"HTTP/1.1 200 OK\r\n\r\nbody");
    }
}

#[test]
fn the_plain_answer_is_a_whole_response() {
    let text = std::str::from_utf8(
        <engine::session::http::Engine as engine::session::stream::Connections>::PLAIN_ANSWER,
    )
    .unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    assert!(head.contains(&format!("Content-Length: {}", body.len())));
}

/// Runs a whole conversation in which the wire stops once in each direction, at the named bytes.
/// Returns the bytes passed in both, so that a caller knows where it could stop. A certificate is
/// requested if the client has one.
fn converse(
    terms: &TlsTerms,
    config: &Arc<ClientConfig>,
    stop_up: usize,
    stop_down: usize,
) -> (usize, usize) {
    let mut session = TlsSession::accept(terms).unwrap();
    let mut client = client(config);
    let mut wire = Wire::open();
    wire.let_pass(stop_up, stop_down);
    let (mut asked, mut answered, mut heard, mut got) = (false, false, Vec::new(), Vec::new());
    for turn in 0..40 {
        if turn == 20 {
            wire.let_pass(usize::MAX, usize::MAX);
        }
        carry(&mut client, &wire).unwrap();
        if !client.is_handshaking() && !asked {
            client.writer().write_all(b"question").unwrap();
            asked = true;
        }
        carry(&mut client, &wire).unwrap();
        heard.extend(read_all(&mut session, &mut wire).unwrap());
        if heard == b"question" && !answered {
            answered = session.write(&mut wire, b"answer").is_ok();
        }
        let flushed = session.flush(&mut wire);
        assert!(flushed.is_ok() || session.has_unsent());
        let _ = client.reader().read_to_end(&mut got);
    }
    assert_eq!((&*heard, &*got), (&b"question"[..], &b"answer"[..]), "{stop_up}, {stop_down}");
    let (up, down) = (wire.up.borrow().passed, wire.down.borrow().passed);
    (up, down)
}

#[test]
fn a_wire_that_stops_at_any_byte_and_goes_on_later_changes_nothing() {
    let issuer = authority();
    let terms = plain_terms(&issuer);
    for version in BOTH {
        let mut config = client_config(&issuer, &[version]);
        config.resumption = rustls::client::Resumption::disabled();
        let config = Arc::new(config);
        let (up, down) = converse(&terms, &config, usize::MAX, usize::MAX);
        for stop in 0..=up {
            converse(&terms, &config, stop, usize::MAX);
        }
        for stop in 0..=down {
            converse(&terms, &config, usize::MAX, stop);
        }
        // Both at once: neither end may wait for the other for ever.
        for stop in 0..=up.min(down) {
            converse(&terms, &config, stop, stop);
        }
    }
}

#[test]
fn a_session_is_resumed_and_says_so() {
    let issuer = authority();
    let terms = plain_terms(&issuer);
    for version in BOTH {
        let config = Arc::new(client_config(&issuer, &[version]));
        for is_resumed in [false, true] {
            let (mut session, mut client) = (TlsSession::accept(&terms).unwrap(), client(&config));
            let mut wire = Wire::open();
            assert_eq!(session.version_and_suite(), None);
            secure(&mut session, &mut client, &mut wire);
            assert_eq!(session.is_resumed(), is_resumed);
            let (version, suite) = session.version_and_suite().unwrap();
            let expected = client.protocol_version().unwrap();
            assert_eq!(version == "TLS 1.3", expected == ProtocolVersion::TLSv1_3);
            assert!(suite.starts_with("TLS_"), "{suite}");
        }
    }
}

#[test]
fn a_slow_phone_pins_no_more_than_the_queue() {
    let issuer = authority();
    let terms = plain_terms(&issuer);
    let config = Arc::new(client_config(&issuer, BOTH));
    let (mut session, mut client) = (TlsSession::accept(&terms).unwrap(), client(&config));
    let mut wire = Wire::open();
    secure(&mut session, &mut client, &mut wire);
    wire.let_pass(usize::MAX, 100);
    let firmware = vec![7; 1 << 20];
    assert_eq!(session.write(&mut wire, &firmware).unwrap(), QUEUE_BYTES_MAX);
    assert_eq!(session.write(&mut wire, &firmware).unwrap_err().kind(), WouldBlock);
    assert_eq!(session.flush(&mut wire).unwrap_err().kind(), WouldBlock);
    // Reading continues while nothing can be sent.
    client.writer().write_all(b"next").unwrap();
    send_all(&mut client, &wire);
    assert_eq!(read_all(&mut session, &mut wire).unwrap(), b"next");
    let (mut sent, mut got) = (QUEUE_BYTES_MAX, Vec::new());
    while sent < firmware.len() || session.has_unsent() {
        wire.let_pass(usize::MAX, 5_000);
        match session.write(&mut wire, &firmware[sent..]) {
            Ok(taken) => sent += taken,
            Err(full) => assert_eq!(full.kind(), WouldBlock),
        }
        carry(&mut client, &wire).unwrap();
        let _ = client.reader().read_to_end(&mut got);
    }
    assert!(got == firmware);
}

#[test]
fn nothing_is_taken_before_the_connection_is_secure() {
    let issuer = authority();
    let mut session = TlsSession::accept(&plain_terms(&issuer)).unwrap();
    let mut wire = Wire::open();
    assert_eq!(session.write(&mut wire, b"early").unwrap_err().kind(), WouldBlock);
    assert!(session.is_handshaking() && wire.heard().is_empty());
}

#[test]
fn the_end_is_told_however_it_comes() {
    let issuer = authority();
    let terms = plain_terms(&issuer);
    let config = Arc::new(client_config(&issuer, BOTH));
    for in_peace in [true, false] {
        let (mut session, mut client) = (TlsSession::accept(&terms).unwrap(), client(&config));
        let mut wire = Wire::open();
        secure(&mut session, &mut client, &mut wire);
        client.writer().write_all(b"last").unwrap();
        if in_peace {
            client.send_close_notify();
        }
        carry(&mut client, &wire).unwrap();
        wire.hang_up();
        let mut into = [0; 64];
        assert_eq!(session.read(&mut wire, &mut into).unwrap(), 4);
        assert_eq!(session.read(&mut wire, &mut into).unwrap(), 0);
        assert_eq!(session.fault(), None);
        // The phone may still read its answer.
        assert_eq!(session.write(&mut wire, b"answer").unwrap(), 6);
    }
}

#[test]
fn a_wire_cut_in_the_handshake_is_abandoned_and_one_never_used_just_ends() {
    let issuer = authority();
    let terms = plain_terms(&issuer);
    let config = Arc::new(client_config(&issuer, BOTH));
    let mut hello = Vec::new();
    client(&config).write_tls(&mut hello).unwrap();
    for cut in 0..=hello.len() {
        let mut session = TlsSession::accept(&terms).unwrap();
        let mut wire = Wire::open();
        wire.say(&hello[..cut]);
        wire.hang_up();
        let read = session.read(&mut wire, &mut [0; 9]);
        if cut == 0 {
            assert_eq!((read.unwrap(), session.fault()), (0, None));
        } else {
            assert_eq!(read.unwrap_err().kind(), UnexpectedEof);
            assert_eq!(session.fault(), Some(Handshake::Abandoned));
        }
    }
}

#[test]
fn a_record_changed_on_the_way_ends_the_connection_and_is_no_failed_handshake() {
    let issuer = authority();
    let terms = plain_terms(&issuer);
    let config = Arc::new(client_config(&issuer, BOTH));
    let (mut session, mut client) = (TlsSession::accept(&terms).unwrap(), client(&config));
    let mut wire = Wire::open();
    secure(&mut session, &mut client, &mut wire);
    client.writer().write_all(b"question").unwrap();
    let mut said = Vec::new();
    client.write_tls(&mut said).unwrap();
    *said.last_mut().unwrap() ^= 1;
    wire.say(&said);
    assert_eq!(read_all(&mut session, &mut wire).unwrap_err().kind(), InvalidData);
    assert_eq!(session.fault(), None);
    assert!(carry(&mut client, &wire).is_err(), "the phone hears bad_record_mac");
}

/// Returns the memory of this process in bytes.
fn resident() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    pages.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4_096
}

/// The limit for everything that an idle TLS connection costs is 40 KB, without socket buffers.
#[test]
fn an_idle_session_is_small() {
    const SESSIONS: usize = 1_000;
    let issuer = authority();
    let terms = plain_terms(&issuer);
    // Kept to the end, so that one version does not reuse the memory of the other.
    let mut kept = Vec::new();
    for version in BOTH {
        let config = Arc::new(client_config(&issuer, &[version]));
        let idle = || {
            let (mut session, mut client) = (TlsSession::accept(&terms).unwrap(), client(&config));
            secure(&mut session, &mut client, &mut Wire::open());
            session
        };
        kept.extend((0..50).map(|_| idle()));
        let before = resident();
        kept.extend((0..SESSIONS).map(|_| idle()));
        let each = resident().saturating_sub(before) / SESSIONS;
        println!("{version:?}: {each} bytes a session");
        assert!(each < 20_000, "{each} bytes a session");
    }
}
