//! A world around the engine without sockets, disks or a clock, and the invariants of the engine.
//!
//! Never part of a running server: unit tests and the fuzz target drive the engine in it.

mod disk;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use crate::admission::Admission;
use crate::admission::access::{List, NamedList, Range};
use crate::admission::budget::{Budget, BudgetLimits};
use crate::admission::slots::{IdlePlace, Overflow, SharedSlots};
use crate::catalog::blob::Version;
use crate::catalog::{Catalog, Entry, Root, RootId};
use crate::metrics::Counters;
use crate::policy::snapshot::{Policy, Snapshot};
use crate::protocol::Protocol;
use crate::requests::StoreRequest;
use crate::session::snmp::SnmpClient;
use crate::session::tftp::transfer::{Transfer, TransferId, TransferState, ticket};
use crate::session::tftp::{Datagram, Engine, Payload, PortId, SendFault, SendQueue};
use crate::session::{Record, TurnContext};
use crate::settings::tftp::WrapTo;
use crate::vault::upload::{OnExists, Rule, Rules};
use wire::name::FileName;
use wire::tftp::{Block, Control, ErrorCode, data_header};
use wire::time::{Duration, Instant};

/// The address of the server.
pub(super) const SERVER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 250));
/// Most sends to a phone that has not answered.
const UNPROVEN_MAX: u32 = 3;

/// A datagram that was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sent {
    pub(super) port: PortId,
    pub(super) peer: SocketAddr,
    pub(super) from: Option<IpAddr>,
    pub(super) bytes: Vec<u8>,
}

/// The engine and everything around it.
pub(super) struct World {
    pub(super) engine: Engine,
    pub(super) snapshot: Snapshot,
    pub(super) admission: Admission,
    pub(super) snmp: SnmpClient,
    pub(super) counters: Counters,
    pub(super) now: Instant,
    /// How many sockets; number 0 takes the requests.
    pub(super) ports: u16,
    /// Questions without an answer yet.
    pub(super) store_requests: Vec<StoreRequest>,
    /// Whether the disk has a file of every name.
    pub(super) is_found: bool,
    pub(super) records: Vec<Record>,
    /// What was sent, in order.
    pub(super) sent: Vec<Sent>,
    unproven: BTreeMap<TransferId, u32>,
}

impl World {
    /// Makes a world in which answers come from one of `pool` sockets, or from the asked one.
    pub(super) fn new(policy: Policy, pool: u16, budget: BudgetLimits) -> World {
        let shared = Arc::new(SharedSlots::new(1));
        let mut admission = Admission::new(0, shared, Arc::clone(&policy.rate_limits));
        admission.budget = Budget::new(1, budget);
        let mut engine = Engine::seeded(1);
        let answers = if pool == 0 { vec![PortId(0)] } else { (1..=pool).map(PortId).collect() };
        engine.set_answers(PortId(0), answers);
        World {
            engine,
            snapshot: Snapshot { policy: Arc::new(policy), ..Snapshot::default() },
            admission,
            snmp: SnmpClient::seeded(7),
            counters: Counters::default(),
            now: Instant::from_millis(1_000),
            ports: pool + 1,
            store_requests: Vec::new(),
            is_found: false,
            records: Vec::new(),
            sent: Vec::new(),
            unproven: BTreeMap::new(),
        }
    }

    /// Puts files of these sizes in the one root, none of them in memory.
    pub(super) fn publish<'a>(&mut self, files: impl IntoIterator<Item = (&'a str, u64)>) {
        let entries = files.into_iter().filter_map(|(path, bytes)| {
            let name = FileName::parse(path.as_bytes()).ok()?;
            let entry = Entry::new(RootId(0), path, Version { bytes, ..Version::default() });
            Some((name.as_bytes().into(), Arc::new(entry)))
        });
        let root = Arc::new(Root { entries: entries.collect(), ..Root::default() });
        self.snapshot.catalog = Arc::new(Catalog { roots: vec![root] });
    }

    pub(super) fn reload(&mut self, change: impl FnOnce(&mut Policy)) {
        change(Arc::make_mut(&mut self.snapshot.policy));
        self.admission.slots.adopt(&self.snapshot.policy.slots);
    }

    pub(super) fn turn<T>(&mut self, f: impl FnOnce(&mut Engine, &mut TurnContext<'_>) -> T) -> T {
        let mut turn = TurnContext {
            snapshot: &self.snapshot,
            admission: &mut self.admission,
            snmp: &mut self.snmp,
            counters: &self.counters,
            now: self.now,
            unix_s: 0,
        };
        f(&mut self.engine, &mut turn)
    }

    pub(super) fn deliver(&mut self, peer: SocketAddr, port: PortId, bytes: &[u8]) {
        let local = Some(SERVER);
        let datagram = Datagram { port, peer, to: local, from: local, interface: 0, bytes };
        self.turn(|engine, turn| engine.handle_datagram(datagram, turn));
        self.run_until_idle();
    }

    /// Does what a worker does in each turn, but for sending.
    pub(super) fn run_until_idle(&mut self) {
        let now = self.now;
        while let Some(ticket) = self.admission.slots.poll_expired(now) {
            self.turn(|engine, turn| engine.handle_expired(ticket, turn));
        }
        while let Some(ticket) = self.admission.slots.poll_granted(now) {
            self.turn(|engine, turn| engine.handle_granted(ticket, turn));
        }
        self.turn(|engine, turn| engine.handle_timeout(turn));
        while let Some(request) = self.engine.poll_store_request() {
            self.store_requests.push(request);
        }
        while let Some(record) = self.engine.poll_record() {
            self.records.push(record);
        }
    }

    /// Takes at most `sends_max` sends of a queue; returns how many there were.
    pub(super) fn take(&mut self, port: PortId, queue: SendQueue, sends_max: usize) -> usize {
        let mut count = 0;
        for transmit in self.engine.outgoing(port, queue).take(sends_max) {
            count += 1;
            let peer = transmit.peer;
            let mut push = |bytes| self.sent.push(Sent { port, peer, from: transmit.from, bytes });
            let datagrams = match transmit.payload {
                Payload::Control(lone) => {
                    push(lone.packet().as_bytes().to_vec());
                    1
                }
                Payload::Blocks(blocks) => {
                    let mut offset = ((blocks.first - 1) * u64::from(blocks.blksize)) as usize;
                    for (header, span) in blocks.datagrams() {
                        let mut bytes = header.to_vec();
                        match blocks.blob.as_slice() {
                            Some(all) => bytes.extend(&all[offset..offset + span.bytes()]),
                            None => bytes.resize(bytes.len() + span.bytes(), 0),
                        }
                        offset += span.bytes();
                        push(bytes);
                    }
                    u32::from(blocks.count)
                }
            };
            if queue != SendQueue::Replies {
                let all = &self.engine.transfers;
                let is_new = |id: &TransferId| all.open(*id).is_some_and(Transfer::is_half_open);
                if let Some(id) = all.find(peer).filter(is_new) {
                    let sends = self.unproven.entry(id).or_default();
                    *sends += datagrams;
                    assert!(*sends <= UNPROVEN_MAX, "{peer} got more before it had answered");
                }
                assert!(!self.is_being_stored(peer, transmit.payload), "not durable yet");
            }
        }
        if count > 0 {
            self.turn(|engine, turn| engine.handle_transmitted(port, queue, count, turn));
        } else if self.engine.has_outgoing(port, queue) && sends_max > 0 {
            self.engine.sweep(port, queue);
        }
        count
    }

    /// Returns whether this payload acknowledges the end of an upload that is not durable yet.
    fn is_being_stored(&self, peer: SocketAddr, payload: Payload<'_>) -> bool {
        let Some(id) = self.engine.transfers.find(peer) else { return false };
        let own = ticket(id);
        let stored = |request: &StoreRequest| {
            let is_store = matches!(request, StoreRequest::Store { .. });
            is_store && request.ticket() == own
        };
        matches!(payload, Payload::Control(_)) && self.store_requests.iter().any(stored)
    }

    /// Takes everything that can leave now.
    pub(super) fn take_all(&mut self) {
        loop {
            let mut count = 0;
            for port in 0..self.ports {
                for queue in SendQueue::ALL {
                    count += self.take(PortId(port), queue, usize::MAX);
                }
            }
            self.run_until_idle();
            if count == 0 {
                return;
            }
        }
    }

    /// Returns the next moment at which something is due.
    pub(super) fn due(&self) -> Option<Instant> {
        let timers = [self.engine.poll_timeout(), self.admission.slots.poll_timeout()];
        timers.into_iter().flatten().min()
    }

    /// Checks what must hold between any two events.
    pub(super) fn check(&self) {
        let transfers = &self.engine.transfers;
        assert_eq!(transfers.iter().count(), self.engine.transfers_open());
        let half_open = transfers.iter().filter(|(_, transfer)| transfer.is_half_open()).count();
        assert_eq!(half_open, self.engine.transfers_half_open());
        let held = transfers.iter().map(|(_, transfer)| bytes_held(transfer)).sum::<u64>();
        assert_eq!(held, self.engine.upload_bytes_held);
        let waiting =
            transfers.iter().filter(|(_, row)| matches!(row.state, TransferState::Waiting));
        assert_eq!(waiting.count(), self.admission.slots.waiting());
        for (id, transfer) in transfers.iter() {
            assert_eq!(transfers.find(transfer.peer), Some(id));
            let queues = &self.engine.ports[usize::from(transfer.port.0)].send_queues;
            let stands = |queue| queues.transfers(queue).any(|queued| queued == id);
            let queued = stands(SendQueue::Prompt) || stands(SendQueue::Bulk);
            assert_eq!(queued, transfer.queued, "{}", transfer.peer);
            let is_open = self.store_requests.iter().any(|request| request.ticket() == ticket(id));
            let has_future = match transfer.state {
                TransferState::Waiting => true,
                TransferState::Opening => is_open,
                TransferState::Sending(..) | TransferState::Receiving(_) => {
                    is_open || queued || transfer.deadline.at().is_some()
                }
            };
            assert!(has_future, "{} is forgotten: {:?}", transfer.peer, transfer.state);
        }
    }
}

fn bytes_held(transfer: &Transfer) -> u64 {
    let TransferState::Receiving(receiving) = &transfer.state else { return 0 };
    receiving.bytes_held()
}

/// Returns the bytes of every file of its size.
pub(super) fn bytes_of(count: u64) -> Vec<u8> {
    (0..count).map(|at| (at % 251) as u8).collect()
}

/// Names that phones ask for in [`check_operations`], with their sizes.
const FILES: &[(&str, u64)] =
    &[("a", 700), ("b", 0), ("c", 512), ("d", 9_000), ("firmware", 100_000), ("long", 40_000)];
const NAMES: &[&str] = &["a", "b", "c", "d", "firmware", "long", "none", "up.log", "a/../..", ""];
const OPTIONS: &[&str] = &[
    "",
    "tsize\x000\0",
    "blksize\x001024\0",
    "blksize\x008\0windowsize\x004\0",
    "windowsize\x0064\0blksize\x0016\0",
    "timeout\x001\0",
    "utimeout\x0020000\0tsize\x00700\0",
    "blksize\x007\0junk",
];
/// The last is outside the access list.
const PEERS: &[&str] =
    &["10.0.0.1:1000", "10.0.0.1:1001", "10.0.0.2:1000", "[fd00::1]:9", "10.0.1.1:5", "11.0.0.1:7"];

/// Runs operations of four bytes each, and checks the invariants after each. Also for fuzzing.
///
/// # Panics
/// If the engine breaks a promise.
#[doc(hidden)]
pub fn check_operations(operations: &[u8]) {
    let Some((setup, operations)) = operations.split_first() else { return };
    let budget = BudgetLimits { capacity_sends: 12, refill_sends_per_second: 4 };
    let mut world = World::new(policy_of(*setup), u16::from(setup >> 6), budget);
    world.publish(FILES.iter().copied());
    for operation in operations.chunks_exact(4) {
        operate(&mut world, [operation[0], operation[1], operation[2], operation[3]]);
        world.check();
        assert!(world.sent.iter().all(|sent| sent.peer.ip() != off_list()), "an answer off-list");
    }
    run_out(&mut world);
}

fn off_list() -> IpAddr {
    Ipv4Addr::new(11, 0, 0, 1).into()
}

fn policy_of(bits: u8) -> Policy {
    let mut policy = Policy::default();
    let ranges = ["10", "fd00::/8"].iter().filter_map(|entry| Range::parse(entry).ok());
    let list = NamedList { name: "list".into(), list: List::new(ranges) };
    policy.access.limit(Protocol::Tftp, Arc::new(list));
    policy.uploads = Rules(
        [("*.log", OnExists::Append), ("d", OnExists::Keep)]
            .into_iter()
            .filter_map(|(pattern, on_exists)| Rule::new(pattern, 0, 9_000, on_exists).ok())
            .collect(),
    );
    policy.tftp.stack = vec![RootId(0)];
    adjust(&mut policy, bits);
    policy
}

/// Changes the configuration, as a reload does.
fn adjust(policy: &mut Policy, bits: u8) {
    policy.tftp.transfers_max = if bits & 1 == 0 { 100 } else { 3 };
    policy.tftp.half_open_max = if bits & 2 == 0 { 50 } else { 2 };
    policy.tftp.upload_memory_bytes_max = if bits & 4 == 0 { 10_000 } else { 600 };
    policy.tftp.uploads_aside_max = if bits & 8 == 0 { 512 } else { 1 };
    policy.slots.clients_max = usize::from(bits >> 3 & 3);
    policy.slots.hold = Duration::from_secs(2);
    policy.slots.idle_place = if bits >> 7 == 0 { IdlePlace::Lend } else { IdlePlace::Keep };
    let slow = bits & 32 != 0;
    policy.slots.overflow = if slow { Overflow::Refuse } else { Overflow::Queue };
    policy.tftp.limits.wrap_to = if slow { WrapTo::One } else { WrapTo::Zero };
    policy.tftp.limits.phone_bytes_per_second = if slow { 20_000 } else { 0 };
    policy.tftp.limits.second_copy_after = Duration::from_millis(u64::from(slow));
}

fn operate(world: &mut World, [operation, who, value, more]: [u8; 4]) {
    let Some(peer) = PEERS.get(usize::from(who & 7)).and_then(|peer| peer.parse().ok()) else {
        world.now = world.now + Duration::from_micros(u64::from(value) * 100);
        return world.run_until_idle();
    };
    let last = world.sent.iter().rev().find(|sent| sent.peer == peer).cloned();
    let heard = last.as_ref().map_or(PortId(0), |sent| sent.port);
    let port = if who & 0x80 == 0 { heard } else { PortId(u16::from(who >> 3) % world.ports) };
    // The number of the last packet; 0 for an OACK, which has none.
    let number = last.map_or(0, |sent| match sent.bytes.as_slice() {
        [0, 3 | 4, high, low, ..] => u16::from_be_bytes([*high, *low]),
        [..] => 0,
    });
    let near = number.wrapping_add_signed(i16::from(value as i8));
    match operation % 16 {
        0 => world.deliver(peer, PortId(0), &request(1, value, more)),
        1 => world.deliver(peer, PortId(0), &request(2, value, more)),
        2..=4 => world.deliver(peer, port, Control::ack(Block(number)).as_bytes()),
        5 => world.deliver(peer, port, Control::ack(Block(near)).as_bytes()),
        6 => {
            let next = data(number.wrapping_add(1), 8 << (value % 8));
            world.deliver(peer, port, &next);
        }
        7 => world.deliver(peer, port, &data(near, usize::from(more) * 4)),
        8 => {
            let error = Control::error(ErrorCode(u16::from(value % 9)), "");
            world.deliver(peer, port, error.as_bytes());
        }
        9 => world.deliver(peer, PortId(u16::from(more) % world.ports), &[value, operation, more]),
        10 => {
            world.now = world.now + Duration::from_millis(u64::from(value) * u64::from(more));
            world.run_until_idle();
        }
        11 => {
            let request = usize::from(value).checked_rem(world.store_requests.len());
            match request.map(|at| world.store_requests.swap_remove(at)) {
                Some(request) if more > 250 => {
                    world.turn(|engine, turn| engine.handle_refused(request, turn));
                }
                Some(request) => world.answer(request, if more < 128 { 0 } else { more % 6 }),
                None => {}
            }
        }
        12 => world.take_all(),
        13 => take_or_refuse(world, value, more),
        14 => world.reload(|policy| adjust(policy, value)),
        _ => unsettle(world, value, more),
    }
    world.run_until_idle();
}

fn take_or_refuse(world: &mut World, value: u8, more: u8) {
    let port = PortId(u16::from(value) % world.ports);
    let queue = SendQueue::ALL[usize::from(value >> 4) % 3];
    let fault = match more {
        0..=199 => {
            world.take(port, queue, usize::from(more % 4));
            return;
        }
        200..=229 => SendFault::FileCut,
        230.. => SendFault::Refused,
    };
    if world.engine.outgoing(port, queue).next().is_some() {
        world.turn(|engine, turn| engine.handle_send_fault(port, queue, fault, turn));
    }
}

/// Events that happen now and then in the life of a server.
fn unsettle(world: &mut World, value: u8, more: u8) {
    match value % 8 {
        0 => world.publish(FILES.iter().copied().skip(usize::from(more % 4))),
        1 => world.publish(FILES.iter().copied()),
        2 => {
            let open: Vec<TransferId> = world.engine.transfers.iter().map(|(id, _)| id).collect();
            let row = usize::from(more).checked_rem(open.len()).and_then(|at| open.get(at));
            let transfer = row.and_then(|id| world.engine.transfers.open(*id));
            if let Some(TransferState::Sending(_, blob)) = transfer.map(|it| &it.state) {
                blob.mark_stale();
            }
        }
        3 if more > 250 => world.engine.stop(),
        4 if more > 240 => world.turn(|engine, turn| engine.abandon(turn)),
        5 => world.engine.set_answers(PortId(0), (0..world.ports).map(PortId).collect()),
        3.. => {}
    }
}

fn request(opcode: u8, name: u8, options: u8) -> Vec<u8> {
    let name = NAMES[usize::from(name) % NAMES.len()];
    let mode = if options & 0x80 == 0 { "octet" } else { "netascii" };
    let options = OPTIONS[usize::from(options & 0x7f) % OPTIONS.len()];
    [&[0, opcode], name.as_bytes(), &[0], mode.as_bytes(), &[0], options.as_bytes()].concat()
}

fn data(number: u16, bytes: usize) -> Vec<u8> {
    [&data_header(Block(number))[..], &vec![b'x'; bytes]].concat()
}

/// Lets all time pass: answers come, phones are silent. Checks that nothing is left.
fn run_out(world: &mut World) {
    for _ in 0..20_000 {
        world.take_all();
        while let Some(request) = world.store_requests.pop() {
            world.answer(request, 0);
            world.take_all();
        }
        world.check();
        let Some(due) = world.due() else { break };
        assert!(world.engine.poll_timeout().is_none_or(|at| at > world.now), "a busy timer");
        world.now = world.now.max(due);
        world.run_until_idle();
    }
    assert_eq!(world.engine.transfers_open(), 0, "a transfer that never ends");
    assert_eq!((world.engine.transfers_half_open(), world.engine.upload_bytes_held), (0, 0));
    assert_eq!(world.engine.poll_timeout(), None);
    assert_eq!(world.admission.slots.used_here(), 0, "a slot that is never freed");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_operations_keep_every_promise() {
        for seed in 0..300_u64 {
            let mut random = fastrand::Rng::with_seed(seed);
            let operations: Vec<u8> = (0..2_001).map(|_| random.u8(..)).collect();
            check_operations(&operations);
        }
    }
}
