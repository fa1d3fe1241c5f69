//! A world around the engine without sockets, disks or a clock, and the invariants of the engine.
//!
//! Never part of a running server: unit tests and the fuzz targets drive the engine in it.

#![allow(clippy::panic, reason = "a broken promise is told by a panic")]

mod cuts;
mod disk;
mod operations;
pub(super) mod phone;

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use crate::admission::Admission;
use crate::admission::slots::SharedSlots;
use crate::catalog::Catalog;
use crate::catalog::blob::Blob;
use crate::metrics::Counters;
use crate::policy::snapshot::{Policy, Snapshot};
use crate::protocol::Protocol;
use crate::requests::{StoreReply, StoreRequest};
use crate::session::http::Engine;
use crate::session::snmp::SnmpClient;
use crate::session::stream::{ConnectionId, Connections as _, ListenerId, Next, Payload};
use crate::session::{Record, TurnContext};
use crate::ticket::Ticket;
use crate::vault::request::VaultOp;
pub use cuts::check_cuts;
use disk::Disk;
#[cfg(test)]
pub(super) use disk::content;
pub use operations::check_operations;
#[cfg(test)]
pub(super) use operations::policy;
use wire::time::Instant;

/// The address of the listener that speaks plain HTTP.
pub(super) const PLAIN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 80);
/// The address of the listener that speaks HTTP over TLS.
pub(super) const SECURE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 443);
/// The second since 1970 at which a world begins.
const BEGINS_S: u64 = 1_700_000_000;
/// Most steps of one connection between two events: far more than its bytes can need.
const STEPS_MAX: usize = 200_000;

/// One connection as the network and the phone see it.
#[derive(Debug)]
pub(super) struct Wire {
    pub(super) peer: SocketAddr,
    /// Bytes sent by the phone and not yet read by the server.
    pub(super) inbox: VecDeque<u8>,
    /// Whether the phone has ended its side.
    pub(super) ended: bool,
    /// Most bytes that the server reads at once.
    pub(super) read_max: usize,
    /// Bytes that can be sent before the phone reads on.
    pub(super) room: usize,
    /// Everything that the phone has received.
    pub(super) out: Vec<u8>,
    /// Bytes sent but not acknowledged by the phone's system.
    pub(super) unacknowledged: u64,
    /// Whether the server has ended its side.
    pub(super) shut: bool,
    /// Whether the phone has cut the connection.
    pub(super) reset: bool,
    /// The bytes that the phone has yet to send, in the model of many operations.
    script: VecDeque<u8>,
    /// Its requests in that model, in order.
    requests: Vec<&'static operations::Request>,
}

/// The engine and everything around it.
pub(super) struct World {
    pub(super) engine: Engine,
    pub(super) snapshot: Snapshot,
    pub(super) admission: Admission,
    pub(super) snmp: SnmpClient,
    pub(super) counters: Counters,
    pub(super) now: Instant,
    /// Questions without an answer yet.
    pub(super) store_requests: Vec<StoreRequest>,
    pub(super) records: Vec<Record>,
    pub(super) disk: Disk,
    pub(super) wires: BTreeMap<ConnectionId, Wire>,
    /// Connections that have gone.
    pub(super) past: Vec<(ConnectionId, Wire)>,
}

impl World {
    pub(super) fn new(policy: Policy) -> World {
        let shared = Arc::new(SharedSlots::new(1));
        let mut admission = Admission::new(0, shared, Arc::clone(&policy.rate_limits));
        admission.slots.adopt(&policy.slots);
        let mut engine = Engine::default();
        engine.add_listener(PLAIN, Protocol::Http);
        engine.add_listener(SECURE, Protocol::Https);
        engine.adopt(&policy.http);
        World {
            engine,
            snapshot: Snapshot { policy: Arc::new(policy), ..Snapshot::default() },
            admission,
            snmp: SnmpClient::seeded(7),
            counters: Counters::default(),
            now: Instant::from_millis(1_000),
            store_requests: Vec::new(),
            records: Vec::new(),
            disk: Disk::default(),
            wires: BTreeMap::new(),
            past: Vec::new(),
        }
    }

    /// Puts new versions of files of these sizes in the one root, none of them in memory.
    pub(super) fn publish<'a>(&mut self, files: impl IntoIterator<Item = (&'a str, u64)>) {
        let root = self.disk.publish(files);
        self.snapshot.catalog = Arc::new(Catalog { roots: vec![root] });
    }

    pub(super) fn reload(&mut self, change: impl FnOnce(&mut Policy)) {
        change(Arc::make_mut(&mut self.snapshot.policy));
        self.admission.slots.adopt(&self.snapshot.policy.slots);
        self.engine.adopt(&self.snapshot.policy.http);
    }

    pub(super) fn turn<T>(
        &mut self,
        act: impl FnOnce(&mut Engine, &mut TurnContext<'_>) -> T,
    ) -> T {
        let mut turn = TurnContext {
            snapshot: &self.snapshot,
            admission: &mut self.admission,
            snmp: &mut self.snmp,
            counters: &self.counters,
            now: self.now,
            unix_s: BEGINS_S + self.now.as_micros() / 1_000_000,
        };
        act(&mut self.engine, &mut turn)
    }

    /// A phone connects, and may be turned away.
    pub(super) fn connect(&mut self, peer: SocketAddr, is_secure: bool) -> Option<ConnectionId> {
        let listener = ListenerId(u16::from(is_secure));
        let id = self.turn(|engine, turn| engine.handle_connected(peer, listener, turn))?;
        let wire = Wire {
            peer,
            inbox: VecDeque::new(),
            ended: false,
            read_max: usize::MAX,
            room: usize::MAX,
            out: Vec::new(),
            unacknowledged: 0,
            shut: false,
            reset: false,
            script: VecDeque::new(),
            requests: Vec::new(),
        };
        assert!(self.wires.insert(id, wire).is_none(), "an id twice");
        self.drive(id);
        Some(id)
    }

    /// Bytes of the phone reach the server's socket.
    pub(super) fn send(&mut self, id: ConnectionId, bytes: &[u8]) {
        if let Some(wire) = self.wires.get_mut(&id) {
            wire.inbox.extend(bytes);
        }
        self.drive(id);
        self.run_until_idle();
    }

    /// The phone ends its side.
    pub(super) fn end(&mut self, id: ConnectionId) {
        if let Some(wire) = self.wires.get_mut(&id) {
            wire.ended = true;
        }
        self.drive(id);
        self.run_until_idle();
    }

    /// The connection breaks.
    pub(super) fn reset(&mut self, id: ConnectionId) {
        if let Some(wire) = self.wires.get_mut(&id) {
            wire.reset = true;
            self.measure(id);
            self.turn(|engine, turn| engine.handle_gone(id, turn));
            self.close(id);
        }
        self.run_until_idle();
    }

    /// Does what can be done with a connection, as the loop does it.
    pub(super) fn drive(&mut self, id: ConnectionId) {
        for _ in 0..STEPS_MAX {
            if !self.wires.contains_key(&id) {
                return;
            }
            match self.engine.next(id) {
                Next::Read if !self.read(id) => return,
                Next::Write if !self.write(id) => return,
                Next::Read | Next::Write => {}
                Next::Shut => {
                    if let Some(wire) = self.wires.get_mut(&id) {
                        wire.shut = true;
                    }
                }
                Next::Wait => return,
                Next::Measure => self.measure(id),
                Next::StartTls => panic!("HTTP never begins TLS in the middle"),
                Next::Close | Next::Reset => return self.close(id),
            }
        }
        panic!("a connection that never waits");
    }

    /// Reads once; returns whether anything was there, the end included.
    fn read(&mut self, id: ConnectionId) -> bool {
        let Some(wire) = self.wires.get_mut(&id) else { return false };
        let count = wire.inbox.len().min(wire.read_max);
        let bytes: Vec<u8> = wire.inbox.drain(..count).collect();
        let ended = wire.ended;
        match bytes.is_empty() {
            true if ended => self.turn(|engine, turn| engine.handle_end(id, turn)),
            true => {}
            false => self.turn(|engine, turn| engine.handle_bytes(id, &bytes, turn)),
        }
        ended || !bytes.is_empty()
    }

    /// Sends once; returns whether anything could leave.
    fn write(&mut self, id: ConnectionId) -> bool {
        let Some(wire) = self.wires.get(&id) else { return false };
        assert!(!wire.shut, "sent after the end");
        if wire.room == 0 {
            self.measure(id);
            self.turn(|engine, turn| engine.handle_blocked(id, turn));
            return false;
        }
        let outgoing = self.engine.outgoing(id);
        let is_answer = outgoing.head.starts_with(b"HTTP/1.1 20");
        let is_stored = |request: &StoreRequest| request.ticket().row == id && is_write(request);
        assert!(!(is_answer && self.store_requests.iter().any(is_stored)), "not durable yet");
        let mut bytes = outgoing.head.to_vec();
        let from_file = match outgoing.payload {
            Payload::None => None,
            Payload::Bytes(more) => {
                bytes.extend(more);
                None
            }
            Payload::File { blob, offset, bytes: count } => {
                let read = self.disk.read(blob, offset, count);
                bytes.extend(&read);
                Some(read.len())
            }
        };
        if from_file == Some(0) && outgoing.head.is_empty() {
            self.turn(|engine, turn| engine.handle_cut(id, turn));
            return true;
        }
        assert!(!bytes.is_empty(), "there was nothing to write");
        let Some(wire) = self.wires.get_mut(&id) else { return false };
        let count = bytes.len().min(wire.room);
        wire.room -= count;
        wire.out.extend(&bytes[..count]);
        self.turn(|engine, turn| engine.handle_sent(id, count, turn));
        true
    }

    /// Reports how much of what was sent the phone has not acknowledged.
    fn measure(&mut self, id: ConnectionId) {
        let Some(wire) = self.wires.get(&id) else { return };
        let bytes = wire.unacknowledged;
        self.turn(|engine, turn| engine.handle_unacknowledged(id, bytes, turn));
    }

    fn close(&mut self, id: ConnectionId) {
        self.turn(|engine, turn| engine.handle_closed(id, turn));
        if let Some(wire) = self.wires.remove(&id) {
            self.past.push((id, wire));
        }
    }

    /// Does what a worker does, turn by turn, until nothing is left to do.
    pub(super) fn run_until_idle(&mut self) {
        self.take_turn();
        // A request that was driven may have taken another one's place in the queue of its client.
        while self.admission.slots.poll_timeout() == Some(Instant::START) {
            self.take_turn();
        }
    }

    fn take_turn(&mut self) {
        let now = self.now;
        while let Some(ticket) = self.admission.slots.poll_expired(now) {
            self.turn(|engine, turn| engine.handle_expired(ticket, turn));
        }
        while let Some(ticket) = self.admission.slots.poll_granted(now) {
            self.turn(|engine, turn| engine.handle_granted(ticket, turn));
        }
        self.turn(|engine, turn| engine.handle_timeout(turn));
        while let Some(id) = self.engine.poll_ready() {
            self.drive(id);
        }
        while let Some(request) = self.engine.poll_store_request() {
            self.store_requests.push(request);
        }
        while let Some(record) = self.engine.poll_record() {
            self.records.push(record);
        }
    }

    /// Answers a question; `fault` 0 is success, others are the faults in their order.
    pub(super) fn answer(&mut self, request: StoreRequest, fault: u8) {
        let reply = self.disk.answer(request, fault);
        self.turn(|engine, turn| engine.handle_store_reply(reply, turn));
        self.run_until_idle();
    }

    /// Returns a question, because the queue was full.
    pub(super) fn refuse(&mut self, request: StoreRequest) {
        self.turn(|engine, turn| engine.handle_refused(request, turn));
        self.run_until_idle();
    }

    /// Gives the engine an answer to a question that it did not ask.
    pub(super) fn answer_nobody(&mut self, ticket: Ticket) {
        for reply in [
            StoreReply::Verified { ticket, unchanged: false },
            StoreReply::Read { ticket, result: Ok(vec![0; 10]) },
        ] {
            self.turn(|engine, turn| engine.handle_store_reply(reply, turn));
        }
        self.turn(|engine, turn| engine.handle_granted(ticket, turn));
        self.turn(|engine, turn| engine.handle_expired(ticket, turn));
        self.run_until_idle();
    }

    /// Returns the next moment at which something is due.
    pub(super) fn due(&self) -> Option<Instant> {
        let timers = [self.engine.poll_timeout(), self.admission.slots.poll_timeout()];
        timers.into_iter().flatten().min()
    }

    /// Checks what must hold between any two events, beside the engine's own checks.
    pub(super) fn check(&mut self) {
        self.engine.check_all();
        assert!(!self.engine.has_ready(), "a connection was not driven");
        let ids: Vec<ConnectionId> = self.engine.connections.ids().collect();
        assert_eq!(ids.len(), self.engine.connections_open());
        assert!(ids.iter().eq(self.wires.keys()) || same(&ids, &self.wires), "not the same ones");
        for (id, wire) in &self.wires {
            let has_news = !wire.inbox.is_empty() || wire.ended;
            let rests = match self.engine.next(*id) {
                Next::Read => !has_news,
                Next::Write => wire.room == 0,
                Next::Wait => true,
                Next::Measure | Next::StartTls | Next::Shut | Next::Close | Next::Reset => false,
            };
            assert!(rests, "{} was not driven", wire.peer);
        }
        let is_open =
            |ticket: &Ticket| self.store_requests.iter().any(|request| request.ticket() == *ticket);
        let queued = self.engine.awaited().filter(|ticket| !is_open(ticket)).count();
        assert_eq!(queued, self.admission.slots.waiting(), "requests that wait for a slot");
    }

    /// Lets all time pass: answers come, phones read everything. Checks that nothing is left.
    pub(super) fn run_out(&mut self) {
        for _ in 0..20_000 {
            let ids: Vec<ConnectionId> = self.wires.keys().copied().collect();
            for id in ids {
                if let Some(wire) = self.wires.get_mut(&id) {
                    wire.room = usize::MAX;
                }
                self.drive(id);
            }
            self.run_until_idle();
            while let Some(request) = self.store_requests.pop() {
                self.answer(request, 0);
            }
            self.check();
            let Some(due) = self.due() else { break };
            let rests = self.engine.poll_timeout().is_none_or(|at| at > self.now);
            assert!(rests, "a timer that fires for ever");
            self.now = self.now.max(due);
            self.run_until_idle();
        }
        assert_eq!(self.engine.connections_open(), 0, "a connection that never ends");
        assert_eq!(self.engine.requests_open(), 0);
        assert_eq!(self.engine.bodies_held(), 0);
        assert_eq!(self.engine.poll_timeout(), None);
        assert_eq!(self.admission.slots.used_here(), 0, "a slot that is never freed");
        assert_eq!(self.admission.slots.waiting(), 0);
    }
}

fn same(ids: &[ConnectionId], wires: &BTreeMap<ConnectionId, Wire>) -> bool {
    ids.len() == wires.len() && ids.iter().all(|id| wires.contains_key(id))
}

/// Returns whether a question is one to store something.
fn is_write(request: &StoreRequest) -> bool {
    match request {
        StoreRequest::Store { .. } | StoreRequest::Delete { .. } => true,
        StoreRequest::Vault { request, .. } => {
            !matches!(request.op, VaultOp::Check | VaultOp::Fetch)
        }
        StoreRequest::Open { .. }
        | StoreRequest::Verify { .. }
        | StoreRequest::Upload { .. }
        | StoreRequest::Read { .. }
        | StoreRequest::Files { .. }
        | StoreRequest::Login { .. } => false,
    }
}

/// Returns the address by which the kernel would know a slice of a blob.
fn kernel(blob: &Blob) -> usize {
    std::ptr::from_ref(blob) as usize
}
