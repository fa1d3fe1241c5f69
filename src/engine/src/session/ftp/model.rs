//! A world around the engine without sockets, disks or a clock, and the invariants of the engine.
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
use crate::requests::StoreRequest;
use crate::session::ftp::Engine;
use crate::session::ftp::data::DataCommand;
use crate::session::ftp::engine::{ConnectionRow, DataRow};
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
/// The second since 1970 at which a world begins.
const BEGINS_S: u64 = 1_700_000_000;
/// Most steps of one connection between two events: far more than its bytes can need.
const STEPS_MAX: usize = 200_000;
/// Most bytes that are read at once, as in the loop.
const ROOM_BYTES: usize = 64 << 10;

/// The state of a socket's TLS.
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
    /// Bytes sent by the client and not yet read by the server.
    pub(super) inbox: VecDeque<u8>,
    /// Whether the client has ended its side.
    pub(super) ended: bool,
    /// Whether it did so without a TLS close notification.
    pub(super) truncated: bool,
    /// Whether the server was told that it ended, read or not.
    hung_up: bool,
    /// Most bytes that the server reads at once.
    pub(super) read_max: usize,
    /// Bytes that can be sent before the client reads on.
    pub(super) room: usize,
    /// Bytes sent but not acknowledged by the client's system.
    pub(super) unacknowledged: u64,
    /// Everything that the client has received.
    pub(super) out: Vec<u8>,
    /// Everything that the server has read.
    pub(super) taken: Vec<u8>,
    /// Since when the server waits for the last bytes to leave.
    flushing: Option<Instant>,
    /// The current line of a reply.
    line: Vec<u8>,
    /// How many replies said that something is stored.
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
    /// Questions without an answer yet.
    pub(super) store_requests: Vec<StoreRequest>,
    pub(super) records: Vec<Record>,
    pub(super) disk: Disk,
    pub(super) phones: Phones,
    pub(super) wires: BTreeMap<ConnectionId, Wire>,
    /// Connections that have gone.
    pub(super) past: Vec<(ConnectionId, Wire)>,
    /// Ports that wait for data connections.
    pub(super) open_ports: BTreeMap<ConnectionId, SocketAddr>,
    /// Commands that the sockets have not executed yet.
    held_commands: VecDeque<DataCommand>,
    /// Whether the sockets execute nothing at the moment.
    pub(super) holds_commands: bool,
    /// Whether no port is free.
    pub(super) is_full: bool,
    /// Whether no socket can be made.
    pub(super) cannot_dial: bool,
    /// Whose data each transfer may have, once that is known.
    cleared: BTreeMap<ConnectionId, String>,
    /// How often something of a session was stored for good.
    durable: BTreeMap<ConnectionId, usize>,
    /// The newest data connection of each session.
    newest_data: BTreeMap<ConnectionId, ConnectionId>,
    /// Sessions whose client was killed during an upload.
    doomed: BTreeSet<ConnectionId>,
}

impl Engine {
    /// Returns the session with this control connection, or `None` if there is none.
    pub(super) fn session(&self, id: ConnectionId) -> Option<&Session> {
        match self.rows.open(id)? {
            ConnectionRow::Session(session) => Some(session),
            ConnectionRow::Data(_) => None,
        }
    }

    /// Returns the data connection, or `None` if no session has it any more.
    pub(super) fn data(&self, id: ConnectionId) -> Option<&DataConnection> {
        let ConnectionRow::Data(DataRow { closing: None, control, .. }) = self.rows.open(id)?
        else {
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
            store_requests: Vec::new(),
            records: Vec::new(),
            disk: Disk::default(),
            phones: Phones::default(),
            wires: BTreeMap::new(),
            past: Vec::new(),
            open_ports: BTreeMap::new(),
            held_commands: VecDeque::new(),
            holds_commands: false,
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
        self.run_until_idle();
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
        self.run_until_idle();
    }

    /// The client ends its side.
    pub(super) fn end(&mut self, id: ConnectionId) {
        if let Some(wire) = self.wires.get_mut(&id) {
            wire.ended = true;
        }
        self.drive(id);
        self.run_until_idle();
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
        self.run_until_idle();
    }

    /// The handshake is complete.
    pub(super) fn secure(&mut self, id: ConnectionId, security: Security) {
        let Some(wire) = self.wires.get_mut(&id) else { return };
        if wire.link == Link::Handshaking {
            wire.link = Link::Secured;
            let secured = Some(Secured { version: "TLS 1.3", suite: "any" });
            let security = Security { secured, ..security };
            self.turn(|engine, turn| engine.handle_secured(id, security, turn));
            self.drive(id);
            self.run_until_idle();
        }
    }

    /// The handshake fails.
    pub(super) fn fail(&mut self, id: ConnectionId, why: Handshake) {
        if self.wires.get(&id).is_some_and(|wire| wire.link == Link::Handshaking) {
            self.turn(|engine, turn| engine.handle_handshake_failed(id, why, turn));
            self.close(id);
            self.run_until_idle();
        }
    }

    /// A client connects to a port for a data connection; returns whether it was accepted.
    pub(super) fn knock(&mut self, data: ConnectionId, from: SocketAddr) -> bool {
        if !self.open_ports.contains_key(&data) {
            return false;
        }
        let is_let_in = self.turn(|engine, turn| engine.handle_data_connected(data, from, turn));
        if is_let_in {
            self.open_ports.remove(&data);
            self.wire(data, from, Link::Plain);
            self.drive(data);
        }
        self.run_until_idle();
        is_let_in
    }

    /// An outgoing connection is open, or has failed.
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
        self.run_until_idle();
    }

    /// Does what a worker does, turn by turn, until nothing is left to do.
    pub(super) fn run_until_idle(&mut self) {
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
            while let Some(command) = self.engine.poll_data_command() {
                self.held_commands.push_back(command);
            }
            while !self.holds_commands
                && let Some(command) = self.held_commands.pop_front()
            {
                self.open(command);
            }
            match self.engine.poll_ready() {
                Some(id) => self.drive(id),
                None if self.engine.has_ready() => {}
                None => break,
            }
        }
        assert!(!self.engine.has_ready(), "an engine that never waits");
        while let Some(request) = self.engine.poll_store_request() {
            self.check_vault_request(&request);
            self.store_requests.push(request);
        }
        while let Some(record) = self.engine.poll_record() {
            self.records.push(record);
        }
        let World { snmp, counters, phones, .. } = self;
        while let Some((to, bytes)) = snmp.poll_send(counters, now) {
            phones.handle_query(to, bytes);
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
    pub(super) fn answer(&mut self, request: StoreRequest, fault: u8) {
        let (ticket, is_write) = (request.ticket(), check::is_write(&request));
        let reply = self.disk.answer(request, fault);
        if is_write && disk::is_done(&reply) {
            let is_doomed = self.doomed.contains(&ticket.row);
            assert!(!is_doomed, "half a file was stored: its client was killed");
            *self.durable.entry(ticket.row).or_default() += 1;
        }
        self.turn(|engine, turn| engine.handle_store_reply(reply, turn));
        self.run_until_idle();
    }

    /// Returns a question, because the queue was full.
    pub(super) fn refuse(&mut self, request: StoreRequest) {
        self.turn(|engine, turn| engine.handle_refused(request, turn));
        self.run_until_idle();
    }

    /// Returns the next moment at which something is due.
    pub(super) fn due(&self) -> Option<Instant> {
        let (snmp, slots) = (self.snmp.poll_timeout(), self.admission.slots.poll_timeout());
        let timers = [self.engine.poll_timeout(), snmp, slots];
        timers.into_iter().flatten().min()
    }

    /// Lets all time pass: answers come, clients read everything and send nothing. Checks that
    /// nothing is left.
    pub(super) fn run_out(&mut self) {
        self.holds_commands = false;
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
            let timers = [self.engine.poll_timeout(), self.snmp.poll_timeout()];
            let rests = timers.into_iter().flatten().all(|at| at > self.now);
            assert!(rests, "a timer that fires for ever");
            self.now = self.now.max(due);
            self.run_until_idle();
        }
        self.check_nothing_is_left();
    }
}
