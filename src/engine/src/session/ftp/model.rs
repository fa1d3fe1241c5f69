//! A world around the engine without sockets, disks or time of its own, and what must hold in it.
//!
//! Never part of a running server: unit tests and the fuzz targets drive the engine in it.

#![allow(clippy::panic, reason = "a broken promise is told by a panic")]

mod check;
mod cuts;
mod deaths;
mod disk;
mod operations;
mod phones;
mod sockets;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use crate::admission::Admission;
use crate::admission::slots::SharedSlots;
use crate::catalog::Catalog;
use crate::metrics::Counters;
use crate::policy::snapshot::{Policy, Snapshot};
use crate::protocol::Protocol;
use crate::requests::Ask;
use crate::session::ftp::Engine;
use crate::session::ftp::data::DataCommand;
use crate::session::ftp::engine::{DataRow, Row};
use crate::session::ftp::session::{DataConnection, Session};
use crate::session::snmp::SnmpClient;
use crate::session::stream::{ConnectionId, Connections as _, DialFault, ListenerId, Security};
use crate::session::{Handshake, Record, Secured, TurnContext};
use crate::settings::ftp::FtpPolicy;
pub use cuts::check_cuts;
#[cfg(test)]
pub(super) use deaths::Death;
use disk::Disk;
pub use operations::check_operations;
#[cfg(test)]
pub(super) use operations::policy;
use phones::Phones;
use wire::time::Instant;

/// The address of the listener that begins in clear.
pub(super) const PLAIN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 21);
/// The address of the listener that speaks TLS from the first byte on.
pub(super) const IMPLICIT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 990);
/// The second of the calendar at which a world begins.
const BEGINS_S: u64 = 1_700_000_000;
/// Most steps of one connection between two events: far more than its bytes can need.
const STEPS_MAX: usize = 200_000;
/// Most bytes that are read at once, as in the loop.
const ROOM_BYTES: usize = 64 << 10;

/// How far a socket has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Link {
    Dialing,
    Plain,
    Handshaking,
    Secured,
}

/// One connection as the network and the client see it.
#[derive(Debug)]
pub(super) struct Wire {
    pub(super) peer: SocketAddr,
    pub(super) link: Link,
    /// Sent by the client, and not yet read by the server.
    pub(super) inbox: VecDeque<u8>,
    /// The client sends nothing any more.
    pub(super) ended: bool,
    /// It did not say so, though TLS has a word for it.
    pub(super) truncated: bool,
    /// The server was told that it ended, read or not.
    hung_up: bool,
    /// Most bytes that the server reads at once.
    pub(super) read_max: usize,
    /// Bytes that can leave before the client has read on.
    pub(super) room: usize,
    /// Bytes that have left and that the client's system has not acknowledged.
    pub(super) unacknowledged: u64,
    /// Everything that the client has got.
    pub(super) out: Vec<u8>,
    /// Everything that the server has read.
    pub(super) taken: Vec<u8>,
    /// Since when the server waits for the last bytes to leave.
    flushing: Option<Instant>,
    /// The line of a reply that is on its way.
    line: Vec<u8>,
    /// Replies that something is stored.
    stored: usize,
}

/// The engine and everything around it.
pub(super) struct World {
    pub(super) engine: Engine,
    pub(super) snapshot: Snapshot,
    pub(super) admission: Admission,
    pub(super) snmp: SnmpClient,
    pub(super) counters: Counters,
    pub(super) now: Instant,
    /// Questions that have no answer yet.
    pub(super) asks: Vec<Ask>,
    pub(super) records: Vec<Record>,
    pub(super) disk: Disk,
    pub(super) phones: Phones,
    pub(super) wires: BTreeMap<ConnectionId, Wire>,
    /// Connections that have gone.
    pub(super) past: Vec<(ConnectionId, Wire)>,
    /// Ports at which data connections are awaited.
    pub(super) doors: BTreeMap<ConnectionId, SocketAddr>,
    /// What the sockets were told to do and have not done yet.
    held_doors: VecDeque<DataCommand>,
    /// The sockets do nothing at the moment.
    pub(super) holds_doors: bool,
    /// No port is free.
    pub(super) is_full: bool,
    /// No socket can be made.
    pub(super) cannot_dial: bool,
    /// Whose data each transfer was let have, once that was known.
    cleared: BTreeMap<ConnectionId, String>,
    /// How often something of a session was stored for good.
    durable: BTreeMap<ConnectionId, usize>,
    /// The newest data connection of each session.
    newest_data: BTreeMap<ConnectionId, ConnectionId>,
    /// Sessions whose client was killed in the middle of an upload.
    doomed: BTreeSet<ConnectionId>,
}

impl Engine {
    /// Returns the session whose own connection this is, or `None` if it is none.
    pub(super) fn session(&self, id: ConnectionId) -> Option<&Session> {
        match self.rows.open(id)? {
            Row::Session(session) => Some(session),
            Row::Data(_) => None,
        }
    }

    /// Returns the data connection, or `None` if no session has it any more.
    pub(super) fn data(&self, id: ConnectionId) -> Option<&DataConnection> {
        let Row::Data(DataRow { closing: None, control, .. }) = self.rows.open(id)? else {
            return None;
        };
        self.session(*control)?.data.as_ref().filter(|data| data.id == id)
    }
}

impl World {
    pub(super) fn new(policy: Policy) -> World {
        let shared = Arc::new(SharedSlots::new(1));
        let mut admission = Admission::new(0, shared, Arc::clone(&policy.rate_limits));
        admission.slots.adopt(&policy.slots);
        let mut engine = Engine::default();
        engine.add_listener(PLAIN, Protocol::Ftp);
        engine.add_listener(IMPLICIT, Protocol::Ftp);
        engine.adopt(&policy.ftp);
        World {
            engine,
            snapshot: Snapshot { policy: Arc::new(policy), ..Snapshot::default() },
            admission,
            snmp: SnmpClient::seeded(7),
            counters: Counters::default(),
            now: Instant::from_millis(1_000),
            asks: Vec::new(),
            records: Vec::new(),
            disk: Disk::default(),
            phones: Phones::default(),
            wires: BTreeMap::new(),
            past: Vec::new(),
            doors: BTreeMap::new(),
            held_doors: VecDeque::new(),
            holds_doors: false,
            is_full: false,
            cannot_dial: false,
            cleared: BTreeMap::new(),
            durable: BTreeMap::new(),
            newest_data: BTreeMap::new(),
            doomed: BTreeSet::new(),
        }
    }

    pub(super) fn ftp(&self) -> &FtpPolicy {
        &self.snapshot.policy.ftp
    }

    /// Puts new versions of files of these sizes in the one root, none of them in memory.
    pub(super) fn publish<'a>(&mut self, files: impl IntoIterator<Item = (&'a str, u64)>) {
        let root = self.disk.publish(files);
        self.snapshot.catalog = Arc::new(Catalog { roots: vec![root] });
    }

    pub(super) fn reload(&mut self, change: impl FnOnce(&mut Policy)) {
        change(Arc::make_mut(&mut self.snapshot.policy));
        self.admission.slots.adopt(&self.snapshot.policy.slots);
        self.engine.adopt(&self.snapshot.policy.ftp);
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

    /// A client connects to one of the two listeners.
    pub(super) fn connect(&mut self, peer: SocketAddr, implicit: bool) -> Option<ConnectionId> {
        let listener = ListenerId(u16::from(implicit));
        let id = self.turn(|engine, turn| engine.handle_connected(peer, listener, turn))?;
        self.wire(id, peer, if implicit { Link::Handshaking } else { Link::Plain });
        self.drive(id);
        self.settle();
        Some(id)
    }

    fn wire(&mut self, id: ConnectionId, peer: SocketAddr, link: Link) {
        let wire = Wire {
            peer,
            link,
            inbox: VecDeque::new(),
            ended: false,
            truncated: false,
            hung_up: false,
            read_max: ROOM_BYTES,
            room: usize::MAX,
            unacknowledged: 0,
            out: Vec::new(),
            taken: Vec::new(),
            flushing: None,
            line: Vec::new(),
            stored: 0,
        };
        assert!(self.wires.insert(id, wire).is_none(), "an id twice");
    }

    /// Bytes of the client reach the server's socket.
    pub(super) fn send(&mut self, id: ConnectionId, bytes: &[u8]) {
        if let Some(wire) = self.wires.get_mut(&id).filter(|wire| !wire.ended) {
            wire.inbox.extend(bytes);
        }
        self.drive(id);
        self.settle();
    }

    /// The client sends nothing any more.
    pub(super) fn end(&mut self, id: ConnectionId) {
        if let Some(wire) = self.wires.get_mut(&id) {
            wire.ended = true;
        }
        self.drive(id);
        self.settle();
    }

    /// The connection breaks.
    pub(super) fn reset(&mut self, id: ConnectionId) {
        match self.wires.get(&id).map(|wire| wire.link) {
            None => {}
            Some(Link::Dialing) => self.dialed(id, Err(DialFault::Refused)),
            Some(Link::Handshaking) => self.fail(id, Handshake::Abandoned),
            Some(Link::Plain | Link::Secured) => {
                self.turn(|engine, turn| engine.handle_gone(id, turn));
                self.close(id);
            }
        }
        self.settle();
    }

    /// The handshake is through.
    pub(super) fn secure(&mut self, id: ConnectionId, security: Security) {
        let Some(wire) = self.wires.get_mut(&id) else { return };
        if wire.link == Link::Handshaking {
            wire.link = Link::Secured;
            let secured = Some(Secured { version: "TLS 1.3", suite: "any" });
            let security = Security { secured, ..security };
            self.turn(|engine, turn| engine.handle_secured(id, security, turn));
            self.drive(id);
            self.settle();
        }
    }

    /// The handshake fails.
    pub(super) fn fail(&mut self, id: ConnectionId, why: Handshake) {
        if self.wires.get(&id).is_some_and(|wire| wire.link == Link::Handshaking) {
            self.turn(|engine, turn| engine.handle_handshake_failed(id, why, turn));
            self.close(id);
            self.settle();
        }
    }

    /// Somebody connects where a data connection is awaited; says whether they were let in.
    pub(super) fn knock(&mut self, data: ConnectionId, from: SocketAddr) -> bool {
        if !self.doors.contains_key(&data) {
            return false;
        }
        let is_let_in = self.turn(|engine, turn| engine.handle_data_connected(data, from, turn));
        if is_let_in {
            self.doors.remove(&data);
            self.wire(data, from, Link::Plain);
            self.drive(data);
        }
        self.settle();
        is_let_in
    }

    /// A connection that the server makes is there, or is not.
    pub(super) fn dialed(&mut self, data: ConnectionId, result: Result<(), DialFault>) {
        let Some(wire) = self.wires.get_mut(&data) else { return };
        if wire.link != Link::Dialing {
            return;
        }
        wire.link = Link::Plain;
        self.turn(|engine, turn| engine.handle_dialed(data, result, turn));
        match result {
            Ok(()) => self.drive(data),
            Err(_) => self.close(data),
        }
        self.settle();
    }

    /// What a worker does turn by turn, until nothing more comes of it.
    pub(super) fn settle(&mut self) {
        self.take_turn();
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
        self.turn(|engine, turn| {
            engine.handle_timeout(turn);
            turn.snmp.handle_timeout(turn.counters, turn.now);
        });
        self.hear_identities();
        for _ in 0..STEPS_MAX {
            self.turn(|engine, turn| engine.resume(turn));
            while let Some(door) = self.engine.poll_data_command() {
                self.held_doors.push_back(door);
            }
            while !self.holds_doors
                && let Some(door) = self.held_doors.pop_front()
            {
                self.open(door);
            }
            match self.engine.poll_ready() {
                Some(id) => self.drive(id),
                None if self.engine.has_ready() => {}
                None => break,
            }
        }
        assert!(!self.engine.has_ready(), "an engine that never rests");
        while let Some(ask) = self.engine.poll_ask() {
            self.judge_ask(&ask);
            self.asks.push(ask);
        }
        while let Some(record) = self.engine.poll_record() {
            self.records.push(record);
        }
        let World { snmp, counters, phones, .. } = self;
        while let Some((to, bytes)) = snmp.poll_send(counters, now) {
            phones.asked(to, bytes);
        }
        self.hear_identities();
    }

    /// Hands on what phones have said of themselves.
    pub(super) fn hear_identities(&mut self) {
        while let Some((phone, identity)) = self.snmp.poll_answer() {
            self.turn(|engine, turn| engine.handle_identity(phone, &identity, turn));
        }
    }

    /// Answers a question; `fault` 0 is success, others are the faults in their order.
    pub(super) fn answer(&mut self, ask: Ask, fault: u8) {
        let (ticket, is_write) = (ask.ticket(), check::is_write(&ask));
        let answer = self.disk.answer(ask, fault);
        if is_write && disk::is_done(&answer) {
            let is_doomed = self.doomed.contains(&ticket.row);
            assert!(!is_doomed, "half a file was stored: its client was killed");
            *self.durable.entry(ticket.row).or_default() += 1;
        }
        self.turn(|engine, turn| engine.handle_answer(answer, turn));
        self.settle();
    }

    /// Gives a question back, because the queue was full.
    pub(super) fn refuse(&mut self, ask: Ask) {
        self.turn(|engine, turn| engine.handle_refused(ask, turn));
        self.settle();
    }

    /// The next moment at which something is due.
    pub(super) fn due(&self) -> Option<Instant> {
        let (snmp, slots) = (self.snmp.poll_timeout(), self.admission.slots.poll_timeout());
        let timers = [self.engine.poll_timeout(), snmp, slots];
        timers.into_iter().flatten().min()
    }

    /// Lets all time pass: answers come, clients read everything and say nothing. Nothing may be
    /// left.
    pub(super) fn run_out(&mut self) {
        self.holds_doors = false;
        for _ in 0..20_000 {
            let ids: Vec<ConnectionId> = self.wires.keys().copied().collect();
            for id in ids {
                if let Some(wire) = self.wires.get_mut(&id) {
                    wire.room = usize::MAX;
                }
                self.drive(id);
            }
            self.settle();
            while let Some(ask) = self.asks.pop() {
                self.answer(ask, 0);
            }
            self.check();
            let Some(due) = self.due() else { break };
            let timers = [self.engine.poll_timeout(), self.snmp.poll_timeout()];
            let rests = timers.into_iter().flatten().all(|at| at > self.now);
            assert!(rests, "a timer that never rests");
            self.now = self.now.max(due);
            self.settle();
        }
        self.check_nothing_is_left();
    }
}
