//! TCP for phones: accepts, reads and writes in bounded parts, plain or through TLS.
//!
//! Decides nothing about requests; never waits, and never gives one connection a whole turn: large
//! data is sent in parts, between which all other connections are served, and what a connection
//! has to read beyond its share waits for the next turn.

pub(super) mod orphans;
mod send;
mod socket;

use std::collections::VecDeque;
use std::io;
use std::net::{SocketAddr, TcpListener};

use mio::event::Event;
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use socket2::SockRef;

use crate::net::services::TOKENS_PER_SERVICE;
use crate::net::stream::orphans::{Orphans, SocketTerms};
use crate::net::stream::socket::{
    FLUSH_LOOK, Socket, SocketProgress, break_off, close_in_peace, dial_fault, end, flush, measure,
    read, write,
};
use crate::net::tls::{SharedTerms, TlsSession};
use crate::sys::sockets::{AcceptFault, accept_fault};
use engine::protocol::Protocol;
use engine::session::TurnContext;
use engine::session::stream::{ConnectionId, Connections, ListenerId, Next};
use wire::time::{Duration, Instant};

/// Distance from the first token of a protocol's listeners to that of its connections.
const LISTENERS_MAX: usize = 1 << 16;
/// Tokens of one protocol's listeners and connections.
pub(crate) const TOKENS_MAX: usize = TOKENS_PER_SERVICE / 4;
/// Most connections accepted from one listener in a turn.
const ACCEPTS_MAX: usize = 512;
/// Bytes that one connection sends before the others have their turn.
const PART_BYTES: usize = 512 << 10;
/// Bytes that all connections together send in a turn beyond their first part.
const BULK_BYTES_MAX: usize = 4 << 20;
/// Reads of one connection in a turn, and so the commands that it may have carried out.
const READS_MAX: usize = 8;
/// Size of the read buffer, in bytes.
const ROOM_BYTES: usize = 64 << 10;
/// The pause in accepting when the system has no descriptor left.
const REST: Duration = Duration::from_millis(100);

/// One listening socket of a worker.
#[derive(Debug)]
pub(crate) struct StreamListener {
    /// The socket, nonblocking.
    pub(crate) socket: TcpListener,
    /// The configured address, by which its settings are found.
    pub(crate) address: SocketAddr,
    /// Its protocol.
    pub(crate) protocol: Protocol,
    /// Its TLS terms; `None` without TLS.
    pub(crate) terms: Option<SharedTerms>,
    /// Whether connections begin in clear nevertheless, and switch to TLS when their machine says
    /// so.
    pub(crate) in_clear: bool,
}

struct Listening {
    socket: mio::net::TcpListener,
    id: ListenerId,
    terms: Option<SharedTerms>,
    in_clear: bool,
    readable: bool,
}

/// The connections of one protocol in a worker with their sockets.
pub(crate) struct Streams<E> {
    pub(super) engine: E,
    /// The first of its tokens.
    tokens: usize,
    listeners: Vec<Listening>,
    /// The sockets, by the slot of their connections.
    sockets: Vec<Option<Socket>>,
    /// Connections with events, or with more to read than one turn's share.
    fresh: VecDeque<ConnectionId>,
    /// Connections with more to send than one part.
    bulk: VecDeque<ConnectionId>,
    room: Box<[u8]>,
    resting_until: Option<Instant>,
    terms: SocketTerms,
    orphans: Orphans,
    registry: Registry,
    /// The number of this turn.
    turn: u32,
}

impl<E: Connections> Streams<E> {
    /// Serves these sockets, with [`TOKENS_MAX`] tokens from `tokens` on.
    ///
    /// # Errors The kernel's error if a socket cannot be polled.
    pub(crate) fn new(
        mut engine: E,
        tokens: usize,
        listeners: Vec<StreamListener>,
        registry: Registry,
    ) -> io::Result<Self> {
        let mut listening = Vec::new();
        for (place, listener) in listeners.into_iter().enumerate() {
            // Accepted connections inherit it.
            let options = SockRef::from(&listener.socket);
            options.set_tcp_nodelay(true)?;
            listener.socket.set_nonblocking(true)?;
            let mut socket = mio::net::TcpListener::from_std(listener.socket);
            registry.register(&mut socket, Token(tokens + place), Interest::READABLE)?;
            let id = engine.add_listener(listener.address, listener.protocol);
            let (terms, in_clear) = (listener.terms, listener.in_clear);
            listening.push(Listening { socket, id, terms, in_clear, readable: true });
        }
        Ok(Streams {
            engine,
            tokens,
            listeners: listening,
            sockets: Vec::new(),
            fresh: VecDeque::new(),
            bulk: VecDeque::new(),
            room: vec![0; ROOM_BYTES].into_boxed_slice(),
            resting_until: None,
            terms: SocketTerms::default(),
            orphans: Orphans::default(),
            registry,
            turn: 0,
        })
    }

    /// Applies terms to the sockets of new connections.
    pub(crate) fn adopt(&mut self, terms: SocketTerms) {
        if terms.send_buffer_bytes > 0 && self.terms != terms {
            for listener in &self.listeners {
                // Accepted connections inherit it. If the kernel refuses, they are served
                // nevertheless.
                let socket = SockRef::from(&listener.socket);
                let _ = socket.set_send_buffer_size(terms.send_buffer_bytes);
            }
        }
        self.terms = terms;
    }

    /// Returns whether a token belongs to one of these sockets.
    #[must_use]
    pub(crate) fn owns(&self, token: Token) -> bool {
        (self.tokens..self.tokens + TOKENS_MAX).contains(&token.0)
    }

    /// Notes an event of a socket.
    pub(crate) fn note(&mut self, event: &Event) {
        let place = event.token().0 - self.tokens;
        let Some(row) = place.checked_sub(LISTENERS_MAX) else {
            if let Some(listener) = self.listeners.get_mut(place) {
                listener.readable = true;
            }
            return;
        };
        let Some(Some(socket)) = self.sockets.get_mut(row) else { return };
        socket.ended |= event.is_read_closed();
        socket.readable |= event.is_readable() || socket.ended;
        socket.writable |= event.is_writable();
        socket.broken |= event.is_error() || event.is_write_closed();
        if !std::mem::replace(&mut socket.queued, true) {
            self.fresh.push_back(socket.id);
        }
    }

    /// Returns whether the next turn has work without waiting.
    #[must_use]
    pub(crate) fn is_busy(&self) -> bool {
        let accepts = self.resting_until.is_none() && self.listeners.iter().any(|one| one.readable);
        accepts || !self.fresh.is_empty() || !self.bulk.is_empty() || self.engine.has_ready()
    }

    /// Returns when the next turn is due at the latest.
    #[must_use]
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let timers = [self.engine.poll_timeout(), self.resting_until, self.orphans.poll_timeout()];
        timers.into_iter().flatten().min()
    }

    /// Accepts new connections, and reads from existing ones. Small requests are answered at once.
    pub(crate) fn receive(&mut self, turn: &mut TurnContext<'_>) {
        self.turn = self.turn.wrapping_add(1);
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

    /// Continues with the store's answers, and sends a bounded part of large ones.
    pub(crate) fn send(&mut self, turn: &mut TurnContext<'_>) {
        let given_up = self.orphans.check(&self.terms, turn.now);
        turn.counters.stream_too_slow.add(given_up);
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

    fn accept(&mut self, place: usize, turn: &mut TurnContext<'_>) {
        let listener = &mut self.listeners[place];
        let (stream, peer) = match listener.socket.accept() {
            Ok(accepted) => accepted,
            Err(fault) => {
                match accept_fault(&fault) {
                    AcceptFault::Gone => {}
                    AcceptFault::NoDescriptor => {
                        turn.counters.stream_no_descriptor.up();
                        self.resting_until = Some(turn.now + REST);
                    }
                    AcceptFault::Other => listener.readable = false,
                }
                return;
            }
        };
        let (listener, secures) = (listener.id, listener.terms.is_some() && !listener.in_clear);
        let Some(id) = self.engine.handle_connected(peer, listener, turn) else { return };
        self.insert(id, listener, stream, false);
        if secures {
            self.secure(id, turn);
        }
    }

    /// Drives one more socket from now on; `dialing` says that it is still being connected.
    pub(crate) fn insert(
        &mut self,
        id: ConnectionId,
        listener: ListenerId,
        stream: TcpStream,
        dialing: bool,
    ) {
        let row = id.row as usize;
        if self.sockets.len() <= row {
            self.sockets.resize_with(row + 1, || None);
        }
        self.sockets[row] = Some(Socket {
            id,
            listener,
            stream,
            tls: None,
            dialing,
            registered: false,
            readable: true,
            writable: true,
            ended: false,
            hung_up: false,
            emptied: false,
            queued: true,
            turn: self.turn,
            reads_left: READS_MAX,
            broken: false,
            closing: None,
        });
        self.fresh.push_back(id);
    }

    /// Returns the local address of a connection.
    #[must_use]
    pub(crate) fn local_address(&self, id: ConnectionId) -> Option<SocketAddr> {
        let socket = self.sockets.get(id.row as usize)?.as_ref()?;
        socket.stream.local_addr().ok().filter(|_| socket.id == id)
    }

    /// Switches a connection to TLS.
    fn secure(&mut self, id: ConnectionId, turn: &mut TurnContext<'_>) -> SocketProgress {
        let Some(Some(socket)) = self.sockets.get_mut(id.row as usize) else {
            return SocketProgress::Gone;
        };
        let listener = self.listeners.iter().find(|one| one.id == socket.listener);
        let terms = listener.and_then(|listener| listener.terms.as_ref());
        let accept = match self.engine.is_one_way(id) {
            true => TlsSession::accept_one_way,
            false => TlsSession::accept,
        };
        match terms.map(|terms| accept(&terms.load())) {
            Some(Ok(mut tls)) => {
                if let Some(mark) = self.engine.mark(id) {
                    tls.mark(mark);
                }
                socket.tls = Some(Box::new(tls));
                socket.readable = true;
                SocketProgress::Again
            }
            // What must be encrypted is never sent in clear.
            Some(Err(_)) | None => {
                self.engine.handle_gone(id, turn);
                self.close(id, turn);
                SocketProgress::Gone
            }
        }
    }

    /// Does all current work of a connection, within its share.
    fn drive(&mut self, id: ConnectionId, turn: &mut TurnContext<'_>) {
        let Some(Some(socket)) = self.sockets.get_mut(id.row as usize) else { return };
        if socket.id != id {
            return;
        }
        socket.queued = false;
        if socket.dialing {
            // No client waits for an aborted connection, but the kernel would keep it for minutes.
            if matches!(self.engine.next(id), Next::Close | Next::Reset) {
                return self.close(id, turn);
            }
            if !self.dialed(id, turn) {
                return;
            }
        }
        let Some(Some(socket)) = self.sockets.get_mut(id.row as usize) else { return };
        if socket.broken {
            let fault = socket.stream.take_error().ok().flatten();
            break_off(socket, &mut self.engine, fault.as_ref(), turn);
            return self.close(id, turn);
        }
        if std::mem::replace(&mut socket.turn, self.turn) != self.turn {
            socket.reads_left = READS_MAX;
        }
        let mut left = PART_BYTES;
        loop {
            let Some(Some(socket)) = self.sockets.get_mut(id.row as usize) else { return };
            let step = match self.engine.next(id) {
                Next::Read if socket.reads_left == 0 => return self.postpone(id),
                Next::Read => {
                    socket.reads_left -= 1;
                    read(socket, &mut self.engine, &mut self.room, turn)
                }
                Next::Write if left == 0 => return self.queue(id),
                Next::Write => write(socket, &mut self.engine, &mut left, turn),
                Next::Shut => {
                    end(socket);
                    SocketProgress::Again
                }
                Next::Wait => flush(socket),
                Next::Measure => {
                    measure(socket, &mut self.engine, turn);
                    SocketProgress::Again
                }
                Next::StartTls => self.secure(id, turn),
                Next::Reset => {
                    // Otherwise the kernel would keep offering it to the phone for minutes.
                    let _ = SockRef::from(&socket.stream).set_linger(Some(Duration::ZERO));
                    SocketProgress::Gone
                }
                Next::Close => match close_in_peace(socket, &self.terms, turn.now) {
                    true => return self.leave(id, turn),
                    false => {
                        self.engine.handle_flushing(id, turn.now + FLUSH_LOOK);
                        SocketProgress::Blocked
                    }
                },
            };
            match step {
                SocketProgress::Again => {}
                SocketProgress::Blocked => {
                    self.tell_hangup(id, turn);
                    return self.wait_for(id, turn);
                }
                SocketProgress::Gone => return self.close(id, turn),
            }
        }
    }

    /// Notifies a machine that currently reads no further of the peer's end.
    fn tell_hangup(&mut self, id: ConnectionId, turn: &mut TurnContext<'_>) {
        if let Some(Some(socket)) = self.sockets.get_mut(id.row as usize)
            && socket.ended
            && !std::mem::replace(&mut socket.hung_up, true)
        {
            self.engine.handle_hangup(id, turn);
        }
    }

    /// Checks whether an outgoing connection is established.
    fn dialed(&mut self, id: ConnectionId, turn: &mut TurnContext<'_>) -> bool {
        let Some(Some(socket)) = self.sockets.get_mut(id.row as usize) else { return false };
        let result = match socket.stream.take_error() {
            Ok(None) => socket.stream.peer_addr().map(drop),
            Ok(Some(fault)) | Err(fault) => Err(fault),
        };
        let result = match result {
            Err(fault) if fault.kind() == io::ErrorKind::NotConnected => {
                self.wait_for(id, turn);
                return false;
            }
            Ok(()) => {
                (socket.dialing, socket.broken) = (false, false);
                Ok(())
            }
            Err(fault) => Err(dial_fault(&fault)),
        };
        let is_there = result.is_ok();
        self.engine.handle_dialed(id, result, turn);
        if !is_there {
            self.close(id, turn);
        }
        is_there
    }

    /// Registers the socket for events.
    fn wait_for(&mut self, id: ConnectionId, turn: &mut TurnContext<'_>) {
        let Some(Some(socket)) = self.sockets.get_mut(id.row as usize) else { return };
        if socket.registered {
            return;
        }
        let token = Token(self.tokens + LISTENERS_MAX + id.row as usize);
        let both = Interest::READABLE | Interest::WRITABLE;
        match self.registry.register(&mut socket.stream, token, both) {
            // Registration also reports earlier events.
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

    /// Serves a connection again in the next turn.
    fn postpone(&mut self, id: ConnectionId) {
        if let Some(Some(socket)) = self.sockets.get_mut(id.row as usize)
            && !std::mem::replace(&mut socket.queued, true)
        {
            self.fresh.push_back(id);
        }
    }

    /// Closes a finished connection; data that its client has not acknowledged is still sent.
    fn leave(&mut self, id: ConnectionId, turn: &mut TurnContext<'_>) {
        let place = self.sockets.get_mut(id.row as usize);
        if let Some(socket) = place.and_then(Option::take) {
            let registry = socket.registered.then_some(&self.registry);
            self.orphans.take(socket.stream, registry, &self.terms, turn.now);
        }
        self.engine.handle_closed(id, turn);
    }

    fn close(&mut self, id: ConnectionId, turn: &mut TurnContext<'_>) {
        if let Some(place) = self.sockets.get_mut(id.row as usize) {
            // The kernel drops the events of a closed descriptor.
            *place = None;
        }
        self.engine.handle_closed(id, turn);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::TcpStream as Client;
    use std::sync::Arc;

    use engine::admission::Admission;
    use engine::admission::slots::SharedSlots;
    use engine::catalog::blob::{Blob, Version};
    use engine::catalog::{Catalog, Entry, Form, Root, RootId};
    use engine::metrics::Counters;
    use engine::policy::snapshot::{Policy, Snapshot};
    use engine::session::Outcome;
    use engine::session::http::Engine;
    use engine::session::snmp::SnmpClient;
    use engine::settings::http::HttpListener;
    use wire::name::FileName;

    /// One worker's connections, run by hand.
    struct Bench {
        streams: Streams<Engine>,
        poll: mio::Poll,
        snapshot: Snapshot,
        admission: Admission,
        snmp: SnmpClient,
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
                acme: None,
            }];
            let entries = files.iter().map(|(path, blob)| {
                let name = FileName::parse(path.as_bytes()).unwrap();
                let entry = Entry::new(RootId(0), path, blob.version());
                (name.as_bytes().into(), Arc::new(entry))
            });
            let root = Root { entries: entries.collect(), ..Root::default() };
            let catalog = Catalog { roots: vec![Arc::new(root)] };
            let poll = mio::Poll::new().unwrap();
            let listener = StreamListener {
                socket,
                address,
                protocol: Protocol::Http,
                terms: None,
                in_clear: false,
            };
            let registry = poll.registry().try_clone().unwrap();
            let mut streams =
                Streams::new(Engine::default(), 1 << 20, vec![listener], registry).unwrap();
            streams.engine.adopt(&policy.http);
            Bench {
                streams,
                poll,
                snapshot: Snapshot { policy: Arc::new(policy), catalog: Arc::new(catalog) },
                admission: Admission::new(0, Arc::new(SharedSlots::new(1)), Arc::default()),
                snmp: SnmpClient::default(),
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

        /// Runs one turn like the worker.
        fn turn(&mut self) {
            let mut events = mio::Events::with_capacity(64);
            let wait = if self.streams.is_busy() { 0 } else { 2 };
            self.poll.poll(&mut events, Some(std::time::Duration::from_millis(wait))).unwrap();
            events.iter().for_each(|event| self.streams.note(event));
            let mut turn = TurnContext {
                snapshot: &self.snapshot,
                admission: &mut self.admission,
                snmp: &mut self.snmp,
                counters: &self.counters,
                now: self.now,
                unix_s: 0,
            };
            self.streams.receive(&mut turn);
            self.streams.engine.handle_timeout(&mut turn);
            self.streams.send(&mut turn);
        }

        /// Returns everything that the server sends until it closes, or is silent for some turns.
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
    fn a_client_that_sends_without_end_has_its_share_of_each_turn_and_no_more() {
        let mut bench = Bench::new(&[("a.txt", blob(1))]).keep("a.txt", blob(1));
        let mut client = Client::connect(bench.address).unwrap();
        client.set_nonblocking(true).unwrap();
        let pad = "x".repeat(4_000);
        let one = format!("GET /A.TXT HTTP/1.1\r\nHost: x\r\nX-Pad: {pad}\r\n\r\n");
        let (total, all) = (1_000, one.repeat(1_000).into_bytes());
        let (mut sent, mut heard) = (0, Vec::new());
        let mut room = [0; 1 << 16];
        let mut turns_with_more = 0;
        loop {
            while sent < all.len()
                && let Ok(count) = client.write(&all[sent..])
            {
                sent += count;
            }
            let before = bench.counters.stream_received_bytes.value();
            bench.turn();
            let read = bench.counters.stream_received_bytes.value() - before;
            assert!(read <= (READS_MAX * ROOM_BYTES) as u64, "{read} bytes in one turn");
            turns_with_more += u32::from(bench.streams.is_busy());
            while let Ok(count @ 1..) = client.read(&mut room) {
                heard.extend_from_slice(&room[..count]);
            }
            if bench.counters.http_answers_2xx.value() == total && sent == all.len() {
                break;
            }
        }
        assert!(turns_with_more > 0, "what was left waited for the next turn");
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

    /// A client with a receive buffer of only a few bytes.
    fn narrow_client(bench: &Bench) -> Client {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
        let socket = socket.unwrap();
        socket.set_recv_buffer_size(4 << 10).unwrap();
        socket.connect(&bench.address.into()).unwrap();
        socket.into()
    }

    #[test]
    fn no_clock_of_the_kernel_runs_against_a_phone_that_reads() {
        let mut bench = Bench::new(&[("fw.bin", blob(9_000_000))]).keep("fw.bin", blob(9_000_000));
        bench.streams.adopt(SocketTerms::default());
        let mut client = Client::connect(bench.address).unwrap();
        client.write_all(b"GET /fw.bin HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        for _ in 0..10 {
            bench.turn();
        }
        let socket = bench.streams.sockets.iter().flatten().next().unwrap();
        assert_eq!(SockRef::from(&socket.stream).tcp_user_timeout().unwrap(), None);
    }

    #[test]
    fn what_is_left_of_a_closed_connection_reaches_a_client_that_reads_slowly() {
        let bytes = 300_000;
        let mut bench = Bench::new(&[("a.bin", blob(bytes))]).keep("a.bin", blob(bytes));
        let mut client = narrow_client(&bench);
        client.write_all(b"GET /a.bin HTTP/1.0\r\n\r\n").unwrap();
        for _ in 0..10 {
            bench.turn();
        }
        assert_eq!(bench.streams.engine.connections_open(), 0);
        client.set_read_timeout(Some(std::time::Duration::from_secs(10))).unwrap();
        let mut heard = Vec::new();
        let mut room = vec![0; 20_000];
        loop {
            let count = client.read(&mut room).unwrap();
            if count == 0 {
                break;
            }
            heard.extend_from_slice(&room[..count]);
            // 500 bytes in a second.
            bench.now = bench.now + Duration::from_millis(2 * count as u64);
            bench.turn();
        }
        assert!(body(&heard) == blob(bytes).as_slice().unwrap());
        assert!(bench.now > Instant::START + SocketTerms::default().silence_max * 5);
        assert_eq!(bench.counters.stream_too_slow.value(), 0);
    }

    #[test]
    #[cfg(all(target_os = "linux", not(feature = "plain-sys")))]
    fn what_is_left_of_a_closed_connection_is_not_kept_for_a_client_that_reads_nothing() {
        let bytes = 300_000;
        let mut bench = Bench::new(&[("a.bin", blob(bytes))]).keep("a.bin", blob(bytes));
        let mut client = narrow_client(&bench);
        client.write_all(b"GET /a.bin HTTP/1.0\r\n\r\n").unwrap();
        for _ in 0..10 {
            bench.turn();
        }
        for _ in 0..70 {
            bench.now = bench.now + Duration::from_secs(1);
            bench.turn();
        }
        assert_eq!(bench.counters.stream_too_slow.value(), 1);
        assert_eq!(bench.streams.poll_timeout(), None);
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
