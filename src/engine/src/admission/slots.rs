//! Session control: how many distinct clients are served at once, for every protocol.
//!
//! A client that has begun keeps its slot until it is done or its hold is over. Decides only and
//! never locks: workers share only counts.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering::Relaxed};

use super::boots::Boots;
use super::queue::{Client, Queue};
use crate::address::address_bits;
use crate::ticket::Ticket;
use wire::time::{Duration, Instant};

/// Requests that wait in one worker; the next one gets [`Admitted::No`].
pub const QUEUE_MAX: usize = 16_384;
/// The shortest hold, whatever is configured: between the answer to a request and the start of its
/// transfer a file may be read from a disk.
pub const HOLD_MIN: Duration = Duration::from_secs(1);
/// How often a worker whose clients wait looks for a slot that another worker has freed.
pub const RETRY_EVERY: Duration = Duration::from_millis(10);

/// What happens to a client that finds no slot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overflow {
    /// It waits its turn, up to `queue_wait`.
    #[default]
    Queue,
    /// It is asked to try again.
    Refuse,
    /// It gets no answer.
    Drop,
}

/// The configured limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlotLimits {
    /// Distinct client addresses served at once by all workers; 0 = no limit.
    pub clients_max: usize,
    /// How long a client keeps its slot after its last request, or after the end of its last
    /// transfer. At least [`HOLD_MIN`].
    pub hold: Duration,
    /// What happens to a client that finds no slot.
    pub overflow: Overflow,
    /// How long a request waits for a slot. Default 1.5 s.
    pub queue_wait: Duration,
}

impl Default for SlotLimits {
    fn default() -> Self {
        SlotLimits {
            clients_max: 0,
            hold: Duration::from_secs(60),
            overflow: Overflow::Queue,
            queue_wait: Duration::from_millis(1_500),
        }
    }
}

/// The counts that all workers share, without a lock.
#[derive(Debug)]
pub struct SharedSlots {
    /// Slots taken by all workers.
    pub used: AtomicUsize,
    /// Ports that wait for the data of clients outside the access list, of all workers.
    strangers_ports: AtomicU32,
    shares: Box<[Share]>,
    /// When phones began their boots.
    boots: Boots,
}

/// The counts of one worker that the others read. They are on cache lines of their own.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Share {
    held: AtomicUsize,
    waiting: AtomicBool,
}

impl SharedSlots {
    /// Makes it with no slot taken, for so many workers.
    #[must_use]
    pub fn new(workers: usize) -> Self {
        let shares = (0..workers).map(|_| Share::default()).collect();
        SharedSlots {
            used: AtomicUsize::new(0),
            strangers_ports: AtomicU32::new(0),
            shares,
            boots: Boots::default(),
        }
    }
}

impl Default for SharedSlots {
    /// For one worker.
    fn default() -> Self {
        SharedSlots::new(1)
    }
}

/// The answer to a client that asks to be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admitted {
    /// Serve it.
    Yes,
    /// It waits; [`Slots::poll_granted`] or [`Slots::poll_expired`] will return its ticket.
    Waiting,
    /// There is no slot, and the policy (or a full queue) refuses at once.
    No(Overflow),
}

/// A client that has a slot.
#[derive(Clone, Copy, Debug)]
struct Holder {
    running: u32,
    heard_at: Instant,
}

/// One worker's clients and queue.
///
/// A worker may take a free slot unless another worker whose clients wait holds fewer. So slots are
/// divided evenly among the workers that need them, and one of these can always go on.
#[derive(Debug)]
pub struct Slots {
    shared: Arc<SharedSlots>,
    worker: usize,
    limits: SlotLimits,
    holders: HashMap<Client, Holder>,
    /// Holders without a running transfer, by their last activity.
    idle: BTreeSet<(Instant, Client)>,
    queue: Queue,
    retry_at: Instant,
    expired: VecDeque<Ticket>,
}

impl Slots {
    /// Makes it without clients. `worker` counts from 0.
    #[must_use]
    pub fn new(worker: usize, shared: Arc<SharedSlots>) -> Self {
        Slots {
            shared,
            worker,
            limits: SlotLimits::default(),
            holders: HashMap::new(),
            idle: BTreeSet::new(),
            queue: Queue::default(),
            retry_at: Instant::START,
            expired: VecDeque::new(),
        }
    }

    /// Takes one more port for the data of a client outside the access list, unless all workers
    /// together have taken `ports_max`. `own` says that the client gives one back for it.
    #[must_use]
    pub fn take_strangers_port(&self, own: bool, ports_max: u32) -> bool {
        let one_more = |taken: u32| (taken - u32::from(own) < ports_max).then_some(taken + 1);
        self.shared.strangers_ports.fetch_update(Relaxed, Relaxed, one_more).is_ok()
    }

    /// Gives such a port back.
    pub fn free_strangers_port(&self) {
        let before = self.shared.strangers_ports.fetch_sub(1, Relaxed);
        debug_assert!(before > 0);
    }

    /// Asks for a slot. `ticket` names the request if it has to wait; no other waiting request may
    /// have it. A client that already waits keeps its position for the new request, and
    /// [`Slots::poll_expired`] returns the ticket of the former one.
    pub fn admit(
        &mut self,
        client: IpAddr,
        ticket: Ticket,
        limits: &SlotLimits,
        now: Instant,
    ) -> Admitted {
        self.adopt(limits);
        if limits.clients_max == 0 {
            return Admitted::Yes;
        }
        self.expire(now);
        let client = Client(address_bits(client));
        let admitted = self.decide(client, ticket, now);
        self.check();
        admitted
    }

    fn decide(&mut self, client: Client, ticket: Ticket, now: Instant) -> Admitted {
        if self.renew(client, now) {
            return Admitted::Yes;
        }
        let deadline = now + self.limits.queue_wait;
        if let Some(before) = self.queue.renew(client, ticket, deadline) {
            if before != ticket {
                self.expired.push_back(before);
            }
            return Admitted::Waiting;
        }
        // Waiting clients go first.
        if self.queue.is_empty() && self.take(client, now) {
            return Admitted::Yes;
        }
        match self.limits.overflow {
            Overflow::Queue if self.queue.len() < QUEUE_MAX => {
                self.queue.push(client, ticket, deadline);
                self.publish();
                Admitted::Waiting
            }
            Overflow::Queue | Overflow::Refuse | Overflow::Drop => {
                Admitted::No(self.limits.overflow)
            }
        }
    }

    /// Puts new limits into force. [`Slots::admit`] calls this; a loop that calls it on reload
    /// serves waiting clients at once. A client that is being served keeps its slot.
    pub fn adopt(&mut self, limits: &SlotLimits) {
        if self.limits == *limits {
            return;
        }
        self.limits = *limits;
        if limits.clients_max == 0 {
            self.shared.used.fetch_sub(self.holders.len(), Relaxed);
            self.holders = HashMap::new();
            self.idle.clear();
            self.publish();
        }
        self.check();
    }

    /// A transfer of this client has begun: it keeps its slot until [`Slots::end`]. If its hold
    /// ended while its file was read from the disk, it gets a slot again, beyond the limit if
    /// necessary.
    pub fn begin(&mut self, client: IpAddr) {
        if self.limits.clients_max == 0 {
            return;
        }
        let client = Client(address_bits(client));
        match self.holders.get_mut(&client) {
            Some(holder) => {
                self.idle.remove(&(holder.heard_at, client));
                holder.running += 1;
            }
            None => {
                self.shared.used.fetch_add(1, Relaxed);
                self.holders.insert(client, Holder { running: 1, heard_at: Instant::START });
                self.publish();
            }
        }
        self.check();
    }

    /// A transfer of this client has ended, however it did. Its hold starts again. For a transfer
    /// that began when there was no limit this changes nothing.
    pub fn end(&mut self, client: IpAddr, now: Instant) {
        let client = Client(address_bits(client));
        let Some(holder) = self.holders.get_mut(&client) else { return };
        if holder.running == 0 {
            return;
        }
        holder.running -= 1;
        holder.heard_at = now;
        if holder.running == 0 {
            self.idle.insert((now, client));
        }
        self.check();
    }

    /// Returns a waiting request that has now got a slot. Call until `None`, each turn.
    pub fn poll_granted(&mut self, now: Instant) -> Option<Ticket> {
        self.expire(now);
        if self.queue.is_empty() {
            return None;
        }
        if self.limits.clients_max == 0 {
            let (_, ticket) = self.queue.pop_next()?;
            self.publish();
            return Some(ticket);
        }
        if !self.reserve() {
            self.retry_at = now + RETRY_EVERY;
            return None;
        }
        let (client, ticket) = self.queue.pop_next()?;
        if self.renew(client, now) {
            // The client got a slot when a transfer began that it asked for before there was a
            // limit.
            self.shared.used.fetch_sub(1, Relaxed);
            self.publish();
        } else {
            self.assign(client, now);
        }
        self.check();
        Some(ticket)
    }

    /// Returns a request that has waited in vain. Call until `None`, each turn.
    pub fn poll_expired(&mut self, now: Instant) -> Option<Ticket> {
        self.expire(now);
        self.expired.pop_front()
    }

    /// Drops a waiting request; ignores a ticket that does not wait.
    pub fn cancel(&mut self, ticket: Ticket) {
        self.queue.cancel(ticket);
        self.expired.retain(|expired| *expired != ticket);
        self.publish();
        self.check();
    }

    /// Returns when to poll again at the latest.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        if !self.expired.is_empty() {
            return Some(Instant::START);
        }
        let hold_ends = self.idle.first().map(|(heard_at, _)| *heard_at + self.hold());
        let retry = (!self.queue.is_empty()).then_some(self.retry_at);
        [hold_ends, self.queue.first_deadline(), retry].into_iter().flatten().min()
    }

    /// A client asks for a file. Returns when its boot began.
    pub fn boot_began(&self, client: IpAddr, now: Instant) -> Instant {
        self.shared.boots.ask(client, now)
    }

    /// Returns how many workers share the slots.
    #[must_use]
    pub fn workers(&self) -> usize {
        self.shared.shares.len()
    }

    /// Returns how many requests wait in this worker.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// Returns how many slots the clients of this worker hold.
    #[must_use]
    pub fn used_here(&self) -> usize {
        self.holders.len()
    }

    fn hold(&self) -> Duration {
        self.limits.hold.max(HOLD_MIN)
    }

    /// Frees the slots whose hold is over, and drops requests that have waited in vain.
    fn expire(&mut self, now: Instant) {
        let hold = self.hold();
        let held_before = self.holders.len();
        while let Some((heard_at, client)) = self.idle.first().copied() {
            if heard_at + hold > now {
                break;
            }
            self.idle.remove(&(heard_at, client));
            self.holders.remove(&client);
        }
        self.shared.used.fetch_sub(held_before - self.holders.len(), Relaxed);
        while let Some(ticket) = self.queue.pop_late(now) {
            self.expired.push_back(ticket);
        }
        self.publish();
        self.check();
    }

    /// Starts a client's hold again, if it has a slot.
    fn renew(&mut self, client: Client, now: Instant) -> bool {
        let Some(holder) = self.holders.get_mut(&client) else { return false };
        if self.idle.remove(&(holder.heard_at, client)) {
            self.idle.insert((now, client));
        }
        holder.heard_at = now;
        true
    }

    /// Takes a free slot for a client.
    fn take(&mut self, client: Client, now: Instant) -> bool {
        let reserved = self.reserve();
        if reserved {
            self.assign(client, now);
        }
        reserved
    }

    /// Counts one more slot as used, if there is one and this worker may have it.
    fn reserve(&self) -> bool {
        let held = self.holders.len();
        let is_in_need = |(worker, share): (usize, &Share)| {
            worker != self.worker && share.waiting.load(Relaxed) && share.held.load(Relaxed) < held
        };
        if self.shared.shares.iter().enumerate().any(is_in_need) {
            return false;
        }
        let one_more = |used| (used < self.limits.clients_max).then_some(used + 1);
        self.shared.used.fetch_update(Relaxed, Relaxed, one_more).is_ok()
    }

    /// Gives a client the slot that was reserved for it.
    fn assign(&mut self, client: Client, now: Instant) {
        self.holders.insert(client, Holder { running: 0, heard_at: now });
        self.idle.insert((now, client));
        self.publish();
    }

    /// Publishes how many slots this worker holds and whether it wants more.
    fn publish(&self) {
        if let Some(share) = self.shared.shares.get(self.worker) {
            share.held.store(self.holders.len(), Relaxed);
            share.waiting.store(!self.queue.is_empty(), Relaxed);
        }
    }

    fn check(&self) {
        debug_assert!(self.idle.len() <= self.holders.len());
        debug_assert!(self.queue.len() <= QUEUE_MAX);
        debug_assert!(self.shared.used.load(Relaxed) >= self.holders.len());
        debug_assert!(self.limits.clients_max > 0 || self.holders.is_empty());
        debug_assert!(self.shared.shares.get(self.worker).is_none_or(|share| {
            share.held.load(Relaxed) == self.holders.len()
                && share.waiting.load(Relaxed) != self.queue.is_empty()
        }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: SlotLimits = SlotLimits {
        clients_max: 2,
        hold: Duration::from_secs(60),
        overflow: Overflow::Queue,
        queue_wait: Duration::from_millis(1_500),
    };

    fn ip(host: u32) -> IpAddr {
        std::net::Ipv4Addr::from_bits(0x0a00_0000 | host).into()
    }

    fn slots() -> Slots {
        Slots::new(0, Arc::new(SharedSlots::new(1)))
    }

    fn at(ms: u64) -> Instant {
        Instant::from_millis(ms)
    }

    #[test]
    fn without_a_limit_nothing_is_kept() {
        let mut slots = slots();
        let none = SlotLimits::default();
        for host in 0..1_000 {
            assert_eq!(slots.admit(ip(host), Ticket::made_up(0), &none, at(0)), Admitted::Yes);
            slots.begin(ip(host));
        }
        slots.end(ip(1), at(1));
        assert_eq!((slots.used_here(), slots.poll_timeout()), (0, None));
        assert_eq!(slots.holders.capacity(), 0);
    }

    #[test]
    fn a_client_keeps_its_slot_between_two_files() {
        let mut slots = slots();
        assert_eq!(slots.admit(ip(1), Ticket::made_up(1), &LIMITS, at(0)), Admitted::Yes);
        assert_eq!(slots.admit(ip(2), Ticket::made_up(2), &LIMITS, at(0)), Admitted::Yes);
        slots.begin(ip(1));
        slots.end(ip(1), at(10));
        assert_eq!(slots.admit(ip(3), Ticket::made_up(3), &LIMITS, at(20)), Admitted::Waiting);
        assert_eq!(slots.admit(ip(1), Ticket::made_up(4), &LIMITS, at(59_000)), Admitted::Yes);
        assert_eq!(slots.used_here(), 2);
    }

    #[test]
    fn a_running_transfer_keeps_the_slot_beyond_the_hold() {
        let mut slots = slots();
        for host in 1..=2 {
            assert_eq!(slots.admit(ip(host), Ticket::made_up(0), &LIMITS, at(0)), Admitted::Yes);
            slots.begin(ip(host));
        }
        let long_after = 600_000;
        assert_eq!(
            slots.admit(ip(3), Ticket::made_up(3), &LIMITS, at(long_after)),
            Admitted::Waiting
        );
        assert_eq!(slots.poll_granted(at(long_after)), None);
        slots.end(ip(2), at(long_after));
        // A client that flashed for ten minutes may still fetch its next file.
        assert_eq!(
            slots.admit(ip(2), Ticket::made_up(4), &LIMITS, at(long_after + 1)),
            Admitted::Yes
        );
        let hold_over = at(long_after + 60_001);
        assert_eq!(slots.admit(ip(3), Ticket::made_up(5), &LIMITS, hold_over), Admitted::Yes);
    }

    #[test]
    fn both_spellings_of_an_address_are_one_client() {
        let mut slots = slots();
        let one = SlotLimits { clients_max: 1, ..LIMITS };
        assert_eq!(slots.admit(ip(1), Ticket::made_up(1), &one, at(0)), Admitted::Yes);
        let mapped = "::ffff:10.0.0.1".parse().unwrap();
        assert_eq!(slots.admit(mapped, Ticket::made_up(2), &one, at(0)), Admitted::Yes);
        assert_eq!(slots.admit(ip(2), Ticket::made_up(3), &one, at(0)), Admitted::Waiting);
    }

    #[test]
    fn who_waits_is_served_when_a_hold_ends_and_told_when_none_does() {
        let mut slots = slots();
        let limits = SlotLimits { hold: Duration::from_secs(2), ..LIMITS };
        assert_eq!(slots.admit(ip(1), Ticket::made_up(1), &limits, at(0)), Admitted::Yes);
        assert_eq!(slots.admit(ip(2), Ticket::made_up(2), &limits, at(1_000)), Admitted::Yes);
        assert_eq!(slots.admit(ip(3), Ticket::made_up(3), &limits, at(1_200)), Admitted::Waiting);
        assert_eq!(slots.admit(ip(4), Ticket::made_up(4), &limits, at(1_300)), Admitted::Waiting);
        assert_eq!(slots.poll_granted(at(1_300)), None);
        assert_eq!(slots.poll_timeout(), Some(at(1_310)));
        assert_eq!(slots.poll_granted(at(2_000)), Some(Ticket::made_up(3)));
        assert_eq!(slots.poll_granted(at(2_000)), None);
        assert_eq!(slots.poll_expired(at(2_799)), None);
        assert_eq!(slots.poll_expired(at(2_800)), Some(Ticket::made_up(4)));
        assert_eq!((slots.waiting(), slots.used_here()), (0, 2));
    }

    #[test]
    fn asking_again_keeps_one_place() {
        let mut slots = slots();
        let one = SlotLimits { clients_max: 1, ..LIMITS };
        assert_eq!(slots.admit(ip(1), Ticket::made_up(1), &one, at(0)), Admitted::Yes);
        assert_eq!(slots.admit(ip(2), Ticket::made_up(2), &one, at(0)), Admitted::Waiting);
        assert_eq!(slots.admit(ip(3), Ticket::made_up(3), &one, at(0)), Admitted::Waiting);
        assert_eq!(slots.admit(ip(2), Ticket::made_up(4), &one, at(1_000)), Admitted::Waiting);
        assert_eq!(slots.admit(ip(2), Ticket::made_up(4), &one, at(1_100)), Admitted::Waiting);
        assert_eq!(slots.waiting(), 2);
        assert_eq!(slots.poll_timeout(), Some(Instant::START));
        assert_eq!(slots.poll_expired(at(1_100)), Some(Ticket::made_up(2)));
        assert_eq!(slots.poll_expired(at(1_499)), None);
        assert_eq!(slots.poll_expired(at(1_500)), Some(Ticket::made_up(3)));
        assert_eq!(slots.poll_expired(at(2_599)), None);
        assert_eq!(slots.poll_expired(at(2_600)), Some(Ticket::made_up(4)));
    }

    #[test]
    fn a_newcomer_does_not_overtake_those_who_wait() {
        let mut slots = slots();
        let one = SlotLimits { clients_max: 1, ..LIMITS };
        assert_eq!(slots.admit(ip(1), Ticket::made_up(1), &one, at(0)), Admitted::Yes);
        assert_eq!(slots.admit(ip(2), Ticket::made_up(2), &one, at(59_000)), Admitted::Waiting);
        assert_eq!(slots.admit(ip(3), Ticket::made_up(3), &one, at(60_000)), Admitted::Waiting);
        assert_eq!(slots.poll_granted(at(60_000)), Some(Ticket::made_up(2)));
    }

    #[test]
    fn the_policy_and_a_full_queue_say_no() {
        for overflow in [Overflow::Refuse, Overflow::Drop] {
            let mut slots = slots();
            let limits = SlotLimits { clients_max: 1, overflow, ..LIMITS };
            assert_eq!(slots.admit(ip(1), Ticket::made_up(1), &limits, at(0)), Admitted::Yes);
            assert_eq!(
                slots.admit(ip(2), Ticket::made_up(2), &limits, at(0)),
                Admitted::No(overflow)
            );
        }
        let mut slots = slots();
        for host in 0..2 + QUEUE_MAX as u32 {
            assert_ne!(
                slots.admit(ip(host), Ticket::made_up(host.into()), &LIMITS, at(0)),
                Admitted::No(Overflow::Queue)
            );
        }
        let no = Admitted::No(Overflow::Queue);
        assert_eq!(slots.admit(ip(1 << 20), Ticket::made_up(1 << 20), &LIMITS, at(0)), no);
        slots.cancel(Ticket::made_up(77));
        assert_eq!(
            slots.admit(ip(1 << 20), Ticket::made_up(1 << 20), &LIMITS, at(0)),
            Admitted::Waiting
        );
    }

    #[test]
    fn a_new_limit_cuts_nobody_off() {
        let mut slots = slots();
        let unlimited = SlotLimits { clients_max: 0, ..LIMITS };
        slots.begin(ip(9));
        for host in 1..=3 {
            let limits = SlotLimits { clients_max: 3, ..LIMITS };
            assert_eq!(slots.admit(ip(host), Ticket::made_up(0), &limits, at(0)), Admitted::Yes);
            slots.begin(ip(host));
        }
        slots.end(ip(9), at(1));
        let one = SlotLimits { clients_max: 1, ..LIMITS };
        assert_eq!(slots.admit(ip(2), Ticket::made_up(2), &one, at(5)), Admitted::Yes);
        assert_eq!(slots.admit(ip(4), Ticket::made_up(4), &one, at(5)), Admitted::Waiting);
        assert_eq!(slots.used_here(), 3);
        assert_eq!(slots.poll_granted(at(5)), None);
        slots.adopt(&unlimited);
        assert_eq!(slots.poll_granted(at(5)), Some(Ticket::made_up(4)));
        assert_eq!((slots.used_here(), slots.shared.used.load(Relaxed)), (0, 0));
        slots.end(ip(2), at(6));
        assert_eq!(slots.admit(ip(2), Ticket::made_up(5), &LIMITS, at(7)), Admitted::Yes);
        assert_eq!(slots.used_here(), 1);
    }

    #[test]
    fn a_client_whose_file_came_late_has_a_slot_again() {
        let mut slots = slots();
        let one = SlotLimits { clients_max: 1, hold: Duration::ZERO, ..LIMITS };
        assert_eq!(slots.admit(ip(1), Ticket::made_up(1), &one, at(0)), Admitted::Yes);
        assert_eq!(slots.admit(ip(2), Ticket::made_up(2), &one, at(999)), Admitted::Waiting);
        assert_eq!(slots.poll_granted(at(1_000)), Some(Ticket::made_up(2)));
        slots.begin(ip(1));
        assert_eq!(slots.used_here(), 2);
        slots.end(ip(1), at(1_000));
        assert_eq!(slots.admit(ip(3), Ticket::made_up(3), &one, at(2_000)), Admitted::Yes);
        assert_eq!(slots.used_here(), 1);
    }

    #[test]
    fn ports_of_strangers_are_counted_over_all_workers() {
        let shared = Arc::new(SharedSlots::new(2));
        let [one, other] = [0, 1].map(|worker| Slots::new(worker, Arc::clone(&shared)));
        assert!(one.take_strangers_port(false, 2) && other.take_strangers_port(false, 2));
        assert!(!one.take_strangers_port(false, 2) && !other.take_strangers_port(false, 2));
        assert!(one.take_strangers_port(true, 2), "in place of its own");
        one.free_strangers_port();
        other.free_strangers_port();
        assert!(other.take_strangers_port(false, 2));
    }

    #[test]
    fn workers_deal_free_slots_evenly_to_those_who_want_them() {
        let shared = Arc::new(SharedSlots::new(2));
        let mut workers = [0, 1].map(|worker| Slots::new(worker, shared.clone()));
        let limits = SlotLimits {
            clients_max: 10,
            hold: Duration::ZERO,
            queue_wait: Duration::MAX,
            ..LIMITS
        };
        for host in 0..30 {
            let _ = workers[0].admit(ip(host), Ticket::made_up(host.into()), &limits, at(0));
        }
        assert_eq!((workers[0].used_here(), workers[0].waiting()), (10, 20));
        for host in 100..130 {
            let _ = workers[1].admit(ip(host), Ticket::made_up(host.into()), &limits, at(500));
        }
        assert_eq!((workers[1].used_here(), workers[1].waiting()), (0, 30));
        // Ten holds end at once. The first worker asks first, and leaves half to the other.
        while workers[0].poll_granted(at(1_000)).is_some() {}
        assert_eq!(workers[0].used_here(), 1);
        for _ in 0..10 {
            while workers[1].poll_granted(at(1_000)).is_some() {}
            while workers[0].poll_granted(at(1_000)).is_some() {}
        }
        assert_eq!(workers.map(|worker| worker.used_here()), [5, 5]);
    }

    #[test]
    fn threads_never_take_more_slots_than_there_are() {
        let shared = Arc::new(SharedSlots::new(4));
        let limits = SlotLimits { clients_max: 50, overflow: Overflow::Drop, ..LIMITS };
        let granted: usize = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..4_usize)
                .map(|worker| {
                    let shared = shared.clone();
                    scope.spawn(move || {
                        let mut slots = Slots::new(worker, shared);
                        for host in 0..1_000 {
                            let client = ip(host * 4 + worker as u32);
                            let _ = slots.admit(
                                client,
                                Ticket::made_up(0),
                                &limits,
                                at(u64::from(host)),
                            );
                        }
                        slots.used_here()
                    })
                })
                .collect();
            workers.into_iter().map(|worker| worker.join().unwrap()).sum()
        });
        assert_eq!((granted, shared.used.load(Relaxed)), (50, 50));
    }

    #[test]
    fn a_hundred_thousand_clients_come_and_go() {
        let mut slots = slots();
        let limits = SlotLimits { clients_max: 100_000, ..LIMITS };
        for host in 0..100_000 {
            let now = Instant::from_micros(u64::from(host) * 100);
            assert_eq!(slots.admit(ip(host), Ticket::made_up(0), &limits, now), Admitted::Yes);
            slots.begin(ip(host));
            slots.end(ip(host), now);
        }
        assert_eq!(slots.used_here(), 100_000);
        assert_eq!(slots.poll_granted(at(80_000)), None);
        assert_eq!(slots.used_here(), 0);
    }
}
