//! TCP for phones: accepts, reads and writes in bounded parts, plain or through TLS.
//!
//! Decides nothing about requests; never waits, and never lets one connection have a whole turn:
//! what is large is sent in parts, between which everybody else is served.

use std::collections::VecDeque;
use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener};

use mio::event::Event;
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use socket2::SockRef;

use crate::net::send;
use crate::net::tls::{PLAIN_ANSWER, SharedTerms, TlsSession};
use crate::session::http::limits::HttpPolicy;
use crate::session::http::{ConnectionId, Engine, ListenerId, Next};
use crate::session::{Handshake, Protocol, Secured, Turn};
use crate::time::{Duration, Instant};

/// The first of the tokens that belong to listening sockets.
const LISTENERS: usize = 1 << 20;
/// The first of the tokens that belong to connections.
const CONNECTIONS: usize = 1 << 21;
/// Connections taken from one listener in a turn.
const ACCEPTS_MAX: usize = 512;
/// Bytes that one connection sends before the others have their turn.
const PART_BYTES: usize = 512 << 10;
/// Bytes that all connections together send in a turn beyond their first part.
const BULK_BYTES_MAX: usize = 4 << 20;
/// Reads of one connection before the others have their turn.
const READS_MAX: usize = 8;
/// Room for what is read at a time, in bytes.
const ROOM_BYTES: usize = 64 << 10;
/// How long no connection is taken when the system has no descriptor left for one.
const REST: Duration = Duration::from_millis(100);
/// How long the end of what TLS has encrypted may take to leave.
const FLUSH_MAX: Duration = Duration::from_secs(30);

/// One listening socket of a worker.
#[derive(Debug)]
pub struct StreamListener {
    /// The socket, not blocking.
    pub socket: TcpListener,
    /// The address as configured: what its settings are found by.
    pub address: SocketAddr,
    /// What is spoken there.
    pub protocol: Protocol,
    /// What connections are secured with; none where they are not.
    pub terms: Option<SharedTerms>,
}

struct Listening {
    socket: mio::net::TcpListener,
    id: ListenerId,
    terms: Option<SharedTerms>,
    readable: bool,
}

struct Socket {
    id: ConnectionId,
    stream: TcpStream,
    tls: Option<Box<TlsSession>>,
    /// The kernel tells of news. Before, each try is a look; a short connection needs no more.
    registered: bool,
    readable: bool,
    writable: bool,
    /// The phone has ended its side: reading tells, sooner or later.
    ended: bool,
    /// The last read left nothing.
    emptied: bool,
    /// It stands in a queue already.
    queued: bool,
    /// It broke, or was closed from the other side in both directions.
    broken: bool,
    /// It is to be closed once what TLS has encrypted has left, and that since then.
    closing: Option<Instant>,
}

/// The connections of one worker with their sockets.
pub struct Streams {
    pub(super) engine: Engine,
    listeners: Vec<Listening>,
    /// By the row of their connections.
    sockets: Vec<Option<Socket>>,
    /// Connections with news.
    fresh: VecDeque<ConnectionId>,
    /// Connections with more to send than one part.
    bulk: VecDeque<ConnectionId>,
    room: Box<[u8]>,
    resting_until: Option<Instant>,
    registry: Registry,
}

/// What came of one step with a socket.
enum Step {
    /// There may be more to do at once.
    Again,
    /// The kernel has to tell of news first.
    Blocked,
    /// The connection has gone.
    Gone,
}

impl Streams {
    /// Serves what comes to these sockets.
    ///
    /// # Errors
    /// What the kernel says when a socket cannot be waited for.
    pub fn new(listeners: Vec<StreamListener>, registry: Registry) -> io::Result<Self> {
        let mut engine = Engine::default();
        let mut listening = Vec::new();
        for (place, listener) in listeners.into_iter().enumerate() {
            // Whatever is accepted inherits it.
            let options = SockRef::from(&listener.socket);
            options.set_tcp_nodelay(true)?;
            listener.socket.set_nonblocking(true)?;
            let mut socket = mio::net::TcpListener::from_std(listener.socket);
            registry.register(&mut socket, Token(LISTENERS + place), Interest::READABLE)?;
            let id = engine.add_listener(listener.address, listener.protocol);
            listening.push(Listening { socket, id, terms: listener.terms, readable: true });
        }
        Ok(Streams {
            engine,
            listeners: listening,
            sockets: Vec::new(),
            fresh: VecDeque::new(),
            bulk: VecDeque::new(),
            room: vec![0; ROOM_BYTES].into_boxed_slice(),
            resting_until: None,
            registry,
        })
    }

    /// Whether a token is that of one of these sockets.
    #[must_use]
    pub fn owns(token: Token) -> bool {
        token.0 >= LISTENERS
    }

    /// Takes new settings.
    pub fn adopt(&mut self, policy: &HttpPolicy) {
        self.engine.adopt(policy);
    }

    /// The kernel has news of a socket.
    pub fn note(&mut self, event: &Event) {
        let token = event.token().0;
        if token < CONNECTIONS {
            if let Some(listener) = self.listeners.get_mut(token - LISTENERS) {
                listener.readable = true;
            }
            return;
        }
        let Some(Some(socket)) = self.sockets.get_mut(token - CONNECTIONS) else { return };
        socket.ended |= event.is_read_closed();
        socket.readable |= event.is_readable() || socket.ended;
        socket.writable |= event.is_writable();
        socket.broken |= event.is_error() || event.is_write_closed();
        if !std::mem::replace(&mut socket.queued, true) {
            self.fresh.push_back(socket.id);
        }
    }

    /// Whether the next turn has work without waiting for anything.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        let accepts = self.resting_until.is_none() && self.listeners.iter().any(|one| one.readable);
        accepts || !self.fresh.is_empty() || !self.bulk.is_empty() || self.engine.has_ready()
    }

    /// When to turn again at the latest.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let timers = [self.engine.poll_timeout(), self.resting_until];
        timers.into_iter().flatten().min()
    }

    /// Takes new connections, and what came on those that are there. What is asked and is small is
    /// answered at once.
    pub fn receive(&mut self, turn: &mut Turn<'_>) {
        if self.resting_until.is_some_and(|until| until <= turn.now) {
            self.resting_until = None;
        }
        for place in 0..self.listeners.len() {
            for _ in 0..ACCEPTS_MAX {
                if self.resting_until.is_some() || !self.listeners[place].readable {
                    break;
                }
                self.accept(place, turn);
            }
        }
        for _ in 0..self.fresh.len() {
            let Some(id) = self.fresh.pop_front() else { break };
            self.drive(id, turn);
        }
    }

    /// Goes on with what others have answered, and sends a bounded part of what is large.
    pub fn send(&mut self, turn: &mut Turn<'_>) {
        while let Some(id) = self.engine.poll_ready() {
            self.drive(id, turn);
        }
        let mut left = BULK_BYTES_MAX / PART_BYTES;
        while left > 0 {
            let Some(id) = self.bulk.pop_front() else { break };
            self.drive(id, turn);
            left -= 1;
        }
    }

    fn accept(&mut self, place: usize, turn: &mut Turn<'_>) {
        let listener = &mut self.listeners[place];
        let (stream, peer) = match listener.socket.accept() {
            Ok(accepted) => accepted,
            Err(fault) => {
                match fault.raw_os_error() {
                    // What was to be accepted has gone meanwhile.
                    Some(libc::ECONNABORTED | libc::EINTR | libc::EPROTO) => {}
                    Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM) => {
                        turn.counters.stream_no_descriptor.up();
                        self.resting_until = Some(turn.now + REST);
                    }
                    Some(_) | None => listener.readable = false,
                }
                return;
            }
        };
        let tls = match &listener.terms {
            Some(terms) => match TlsSession::accept(&terms.load()) {
                Ok(session) => Some(Box::new(session)),
                Err(_) => return,
            },
            None => None,
        };
        let Some(id) = self.engine.handle_connected(peer, listener.id, turn) else { return };
        let row = id.row as usize;
        if self.sockets.len() <= row {
            self.sockets.resize_with(row + 1, || None);
        }
        self.sockets[row] = Some(Socket {
            id,
            stream,
            tls,
            registered: false,
            readable: true,
            writable: true,
            ended: false,
            emptied: false,
            queued: true,
            broken: false,
            closing: None,
        });
        self.fresh.push_back(id);
    }

    /// Does what can be done with a connection, within the bounds of its share.
    fn drive(&mut self, id: ConnectionId, turn: &mut Turn<'_>) {
        let Some(Some(socket)) = self.sockets.get_mut(id.row as usize) else { return };
        if socket.id != id {
            return;
        }
        socket.queued = false;
        if socket.broken {
            self.engine.handle_gone(id, turn);
            return self.close(id, turn);
        }
        let (mut reads, mut left) = (READS_MAX, PART_BYTES);
        loop {
            let Some(Some(socket)) = self.sockets.get_mut(id.row as usize) else { return };
            let step = match self.engine.next(id) {
                Next::Read if reads == 0 => return self.queue(id),
                Next::Read => {
                    reads -= 1;
                    read(socket, &mut self.engine, &mut self.room, turn)
                }
                Next::Write if left == 0 => return self.queue(id),
                Next::Write => write(socket, &mut self.engine, &mut left, turn),
                Next::Shut => {
                    end(socket);
                    Step::Again
                }
                Next::Wait => flush(socket),
                Next::Reset => {
                    // Else the kernel would go on offering it to the phone for minutes.
                    let _ = SockRef::from(&socket.stream).set_linger(Some(Duration::ZERO));
                    Step::Gone
                }
                Next::Close => match close_in_peace(socket, turn.now) {
                    true => Step::Gone,
                    false => {
                        self.engine.handle_flushing(id, turn.now + FLUSH_MAX);
                        Step::Blocked
                    }
                },
            };
            match step {
                Step::Again => {}
                Step::Blocked => return self.wait_for(id, turn),
                Step::Gone => return self.close(id, turn),
            }
        }
    }

    /// Lets the kernel tell of news.
    fn wait_for(&mut self, id: ConnectionId, turn: &mut Turn<'_>) {
        let Some(Some(socket)) = self.sockets.get_mut(id.row as usize) else { return };
        if socket.registered {
            return;
        }
        let token = Token(CONNECTIONS + id.row as usize);
        let both = Interest::READABLE | Interest::WRITABLE;
        match self.registry.register(&mut socket.stream, token, both) {
            // Whatever came before is told of now.
            Ok(()) => socket.registered = true,
            Err(_) => {
                self.engine.handle_gone(id, turn);
                self.close(id, turn);
            }
        }
    }

    fn queue(&mut self, id: ConnectionId) {
        if let Some(Some(socket)) = self.sockets.get_mut(id.row as usize)
            && !std::mem::replace(&mut socket.queued, true)
        {
            self.bulk.push_back(id);
        }
    }

    fn close(&mut self, id: ConnectionId, turn: &mut Turn<'_>) {
        if let Some(place) = self.sockets.get_mut(id.row as usize) {
            // The kernel forgets what it was to tell of a descriptor that is closed.
            *place = None;
        }
        self.engine.handle_closed(id, turn);
    }
}

/// Reads once and hands over what came.
fn read(socket: &mut Socket, engine: &mut Engine, room: &mut [u8], turn: &mut Turn<'_>) -> Step {
    if !socket.readable {
        return flush(socket);
    }
    let id = socket.id;
    let result = match &mut socket.tls {
        None => socket.stream.read(room),
        Some(tls) => {
            let was_handshaking = tls.is_handshaking();
            let result = tls.read(&mut socket.stream, room);
            if was_handshaking && !tls.is_handshaking() {
                turn.counters.tls_handshakes.up();
                if tls.is_resumed() {
                    turn.counters.tls_resumed.up();
                }
                let secured = tls.version_and_suite();
                let secured = secured.map(|(version, suite)| Secured { version, suite });
                engine.handle_secured(id, secured, tls.shows_certificate());
            }
            result
        }
    };
    match result {
        Ok(0) => {
            engine.handle_end(id, turn);
            Step::Again
        }
        Ok(count) => {
            // Fewer than there was room for: nothing is left, and the kernel tells when more comes.
            socket.emptied = count < room.len() && socket.tls.is_none();
            socket.readable = !socket.emptied || socket.ended || !socket.registered;
            engine.handle_bytes(id, &room[..count], turn);
            Step::Again
        }
        Err(fault) if fault.kind() == io::ErrorKind::WouldBlock => {
            socket.readable = false;
            flush(socket)
        }
        Err(fault) if fault.kind() == io::ErrorKind::Interrupted => Step::Again,
        Err(_) => {
            let why = socket.tls.as_ref().and_then(|tls| tls.fault());
            match why {
                Some(why) => {
                    if why == Handshake::PlainRequest {
                        // So that whoever typed http:// where https:// belongs is told.
                        let _ = socket.stream.write(PLAIN_ANSWER);
                    }
                    engine.handle_handshake_failed(id, why, turn);
                }
                None => engine.handle_gone(id, turn),
            }
            Step::Gone
        }
    }
}

/// Sends once, at most `left` bytes of a body.
fn write(socket: &mut Socket, engine: &mut Engine, left: &mut usize, turn: &mut Turn<'_>) -> Step {
    if !socket.writable {
        return Step::Blocked;
    }
    let id = socket.id;
    let outgoing = engine.outgoing(id);
    // A socket that is closed with something unread in it throws away what has not left.
    let closes = outgoing.is_last && socket.emptied;
    let result = match &mut socket.tls {
        None => send::plain(&mut socket.stream, outgoing, *left, closes),
        Some(tls) => send::tls(tls, &mut socket.stream, outgoing, *left),
    };
    match result {
        Ok(0) => {
            engine.handle_cut(id, turn);
            Step::Again
        }
        Ok(count) => {
            *left = left.saturating_sub(count);
            engine.handle_sent(id, count, turn);
            Step::Again
        }
        Err(fault) if fault.kind() == io::ErrorKind::WouldBlock => {
            turn.counters.stream_would_block.up();
            socket.writable = !socket.registered;
            engine.handle_blocked(id, turn);
            Step::Blocked
        }
        Err(fault) if fault.kind() == io::ErrorKind::Interrupted => Step::Again,
        Err(_) => {
            engine.handle_gone(id, turn);
            Step::Gone
        }
    }
}

/// Sends what TLS has encrypted. There is nothing else to do at the moment.
fn flush(socket: &mut Socket) -> Step {
    let Some(tls) = &mut socket.tls else { return Step::Blocked };
    if !tls.has_unsent() || !socket.writable {
        return Step::Blocked;
    }
    match tls.flush(&mut socket.stream) {
        Ok(()) => Step::Blocked,
        Err(fault) if fault.kind() == io::ErrorKind::WouldBlock => {
            socket.writable = !socket.registered;
            Step::Blocked
        }
        Err(_) => Step::Gone,
    }
}

/// Tells the phone that nothing more comes.
fn end(socket: &mut Socket) {
    if let Some(tls) = &mut socket.tls {
        tls.end();
        let _ = tls.flush(&mut socket.stream);
    }
    let _ = socket.stream.shutdown(Shutdown::Write);
}

/// Whether a connection can be closed without losing what was encrypted and has not left.
fn close_in_peace(socket: &mut Socket, now: Instant) -> bool {
    let Some(tls) = &mut socket.tls else { return true };
    let since = *socket.closing.get_or_insert_with(|| {
        tls.end();
        now
    });
    match tls.flush(&mut socket.stream) {
        Err(fault) if fault.kind() == io::ErrorKind::WouldBlock => now.since(since) >= FLUSH_MAX,
        Ok(()) | Err(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::net::TcpStream as Client;
    use std::path::PathBuf;
    use std::sync::Arc;

    use crate::admission::Admission;
    use crate::admission::slots::SharedSlots;
    use crate::content::blob::{Blob, Version};
    use crate::content::{Catalog, Entry, Form, Root, RootId};
    use crate::count::Counters;
    use crate::session::Outcome;
    use crate::session::http::limits::HttpListener;
    use crate::session::snapshot::{Policy, Snapshot};
    use crate::wire::name::FileName;

    /// One worker's connections, turned by hand.
    struct Bench {
        streams: Streams,
        poll: mio::Poll,
        snapshot: Snapshot,
        admission: Admission,
        counters: Counters,
        now: Instant,
        address: SocketAddr,
    }

    impl Bench {
        fn new(files: &[(&str, Blob)]) -> Bench {
            let socket = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = socket.local_addr().unwrap();
            let mut policy = Policy::default();
            policy.http.listeners = vec![HttpListener {
                address,
                protocol: Protocol::Http,
                stack: vec![RootId(0)],
                vault: false,
            }];
            let entries = files.iter().map(|(path, blob)| {
                let name = FileName::parse(path.as_bytes()).unwrap();
                let entry = Entry::new(RootId(0), path, blob.version());
                (name.as_bytes().into(), Arc::new(entry))
            });
            let root = Root { dir: PathBuf::new(), entries: entries.collect() };
            let catalog = Catalog { roots: vec![Arc::new(root)] };
            let poll = mio::Poll::new().unwrap();
            let listener =
                StreamListener { socket, address, protocol: Protocol::Http, terms: None };
            let registry = poll.registry().try_clone().unwrap();
            let mut streams = Streams::new(vec![listener], registry).unwrap();
            streams.adopt(&policy.http);
            Bench {
                streams,
                poll,
                snapshot: Snapshot { policy: Arc::new(policy), catalog: Arc::new(catalog) },
                admission: Admission::new(0, Arc::new(SharedSlots::new(1)), Arc::default()),
                counters: Counters::default(),
                now: Instant::from_millis(1_000),
                address,
            }
        }

        fn keep(self, path: &str, blob: Blob) -> Bench {
            let name = FileName::parse(path.as_bytes()).unwrap();
            let entry = self.snapshot.catalog.find(&[RootId(0)], &name).unwrap();
            entry.keep(Form::Octet, Some(Arc::new(blob)));
            self
        }

        /// One turn, as the worker does it.
        fn turn(&mut self) {
            let mut events = mio::Events::with_capacity(64);
            let wait = if self.streams.is_busy() { 0 } else { 2 };
            self.poll.poll(&mut events, Some(std::time::Duration::from_millis(wait))).unwrap();
            events.iter().for_each(|event| self.streams.note(event));
            let mut turn = Turn {
                snapshot: &self.snapshot,
                admission: &mut self.admission,
                counters: &self.counters,
                now: self.now,
                unix_s: 0,
            };
            self.streams.receive(&mut turn);
            self.streams.engine.handle_timeout(&mut turn);
            self.streams.send(&mut turn);
        }

        /// Everything that the server sends until it closes, or has been silent for some turns.
        fn hear(&mut self, client: &mut Client) -> Vec<u8> {
            client.set_nonblocking(true).unwrap();
            let (mut heard, mut silent) = (Vec::new(), 0);
            let mut room = [0; 1 << 16];
            while silent < 20 {
                self.turn();
                match client.read(&mut room) {
                    Ok(0) => break,
                    Ok(count) => {
                        heard.extend_from_slice(&room[..count]);
                        silent = 0;
                    }
                    Err(_) => silent += 1,
                }
            }
            heard
        }
    }

    fn blob(bytes: usize) -> Blob {
        let content: Vec<u8> = (0..bytes).map(|at| (at % 251) as u8).collect();
        let version = Version { bytes: bytes as u64, modified_ns: 7, ..Version::default() };
        Blob::heap(content.into(), version)
    }

    fn body(reply: &[u8]) -> &[u8] {
        let at = reply.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
        &reply[at + 4..]
    }

    #[test]
    fn a_small_file_leaves_whole_and_the_connection_stays() {
        let mut bench = Bench::new(&[("a.txt", blob(2_000))]).keep("a.txt", blob(2_000));
        let mut client = Client::connect(bench.address).unwrap();
        for _ in 0..3 {
            client.set_nonblocking(false).unwrap();
            client.write_all(b"GET /A.TXT HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
            let reply = bench.hear(&mut client);
            assert!(reply.starts_with(b"HTTP/1.1 200 OK\r\n"), "{}", reply.escape_ascii());
            assert_eq!(body(&reply), blob(2_000).as_slice().unwrap());
        }
        assert_eq!(bench.streams.engine.connections_open(), 1);
        assert_eq!(bench.counters.http_answers_2xx.value(), 3);
    }

    #[test]
    fn a_large_file_leaves_in_parts_while_its_phone_reads() {
        let bytes = 9_000_000;
        let mut bench = Bench::new(&[("fw.bin", blob(bytes))]).keep("fw.bin", blob(bytes));
        let mut client = Client::connect(bench.address).unwrap();
        client.write_all(b"GET /fw.bin HTTP/1.0\r\n\r\n").unwrap();
        let reply = bench.hear(&mut client);
        assert!(body(&reply) == blob(bytes).as_slice().unwrap());
        assert!(bench.counters.stream_would_block.value() > 0);
        assert_eq!(bench.streams.engine.connections_open(), 0);
    }

    #[test]
    fn a_phone_that_closes_after_the_header_of_a_firmware_is_no_error() {
        let mut bench = Bench::new(&[("fw.bin", blob(9_000_000))]).keep("fw.bin", blob(9_000_000));
        let mut client = Client::connect(bench.address).unwrap();
        client.write_all(b"GET /fw.bin HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        for _ in 0..10 {
            bench.turn();
        }
        drop(client);
        for _ in 0..10 {
            bench.turn();
        }
        assert_eq!(bench.streams.engine.connections_open(), 0);
        let record = bench.streams.engine.poll_record().unwrap();
        assert!(matches!(record.outcome, Outcome::Aborted(_)), "{:?}", record.outcome);
    }

    #[test]
    fn what_a_phone_does_not_read_is_not_kept_for_it_when_its_time_is_up() {
        let mut bench = Bench::new(&[("fw.bin", blob(9_000_000))]).keep("fw.bin", blob(9_000_000));
        let mut client = Client::connect(bench.address).unwrap();
        client.write_all(b"GET /fw.bin HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        for _ in 0..10 {
            bench.turn();
        }
        bench.now = bench.now + Duration::from_secs(3_600);
        bench.turn();
        assert_eq!(bench.streams.engine.connections_open(), 0);
        let heard = client.read_to_end(&mut Vec::new());
        assert_eq!(heard.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    }

    #[test]
    fn a_request_cut_in_pieces_is_answered_once() {
        let mut bench = Bench::new(&[("a.txt", blob(10))]).keep("a.txt", blob(10));
        let mut client = Client::connect(bench.address).unwrap();
        for byte in b"GET /a.txt HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" {
            client.write_all(&[*byte]).unwrap();
            bench.turn();
        }
        let reply = bench.hear(&mut client);
        assert_eq!(body(&reply), blob(10).as_slice().unwrap());
        assert_eq!(bench.streams.engine.connections_open(), 0);
    }

    #[test]
    fn a_connection_in_which_nothing_is_asked_is_closed() {
        let mut bench = Bench::new(&[]);
        let mut client = Client::connect(bench.address).unwrap();
        assert!(bench.hear(&mut client).is_empty());
        assert_eq!(bench.streams.engine.connections_open(), 1);
        bench.now = bench.now + Duration::from_secs(11);
        bench.turn();
        assert_eq!(bench.streams.engine.connections_open(), 0);
    }
}
