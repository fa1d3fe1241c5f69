//! Session control: how many distinct clients are served at once, for every protocol.
//!
//! A client has a place while something of it is served. What it has between two files is
//! precedence, or with `idle_place = "keep"` its place. Decides only and never locks: workers share
//! only counts.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed};

use super::boots::Boots;
use super::queue::{Client, Known, Queue};
use super::sessions::Sessions;
use crate::address::address_bits;
use crate::ticket::Ticket;
use wire::time::{Duration, Instant};

/// Requests that wait in one worker. The next one pushes out one whose client may not exist; if
/// there is none, it gets [`Admitted::No`].
pub const QUEUE_MAX: usize = 16_384;
/// How often a worker whose clients wait looks for a place that another worker has freed.
pub const RETRY_EVERY: Duration = Duration::from_millis(2);
/// Up to which times ago clients that wait have asked first: the groups of
/// [`Slots::waiting_by_age`]. The last group has no end.
pub const AGES: [Duration; 3] =
    [Duration::from_secs(1), Duration::from_secs(5), Duration::from_secs(30)];

/// What happens to a client that finds no place.
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

/// What becomes of the place of a client that is idle between two files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IdlePlace {
    /// Somebody else gets it. Until `hold` is over, the client's next request goes before those of
    /// all that have not begun.
    #[default]
    Lend,
    /// It stays free for the client until `hold` is over.
    Keep,
}

/// Whether a client's address may be forged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Address {
    /// It may: a datagram came from it, no more.
    Claimed,
    /// It is the client's: it has a connection, or has answered.
    Proven,
}

/// The configured limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlotLimits {
    /// Distinct client addresses served at once by all workers; 0 = no limit.
    pub clients_max: usize,
    /// How long a client has its precedence, or its place, after its last request or the end of its
    /// last transfer.
    pub hold: Duration,
    /// What becomes of the place meanwhile.
    pub idle_place: IdlePlace,
    /// What happens to a client that finds no place.
    pub overflow: Overflow,
    /// How long a request waits for a place. Default 1.5 s.
    pub queue_wait: Duration,
}

impl Default for SlotLimits {
    fn default() -> Self {
        SlotLimits {
            clients_max: 0,
            hold: Duration::from_secs(60),
            idle_place: IdlePlace::Lend,
            overflow: Overflow::Queue,
            queue_wait: Duration::from_millis(1_500),
        }
    }
}

/// The counts that all workers share, without a lock.
#[derive(Debug)]
pub struct SharedSlots {
    /// Places taken by all workers.
    pub used: AtomicUsize,
    /// Ports that wait for the data of clients outside the access list, of all workers.
    strangers_ports: AtomicU32,
    /// Clients that have begun: the next one's rank.
    began: AtomicU64,
    shares: Box<[Share]>,
    /// When phones began their boots.
    boots: Boots,
}

/// The rank of all that have not begun: behind those that have.
const NOT_BEGUN: u64 = u64::MAX;

/// The counts of one worker that the others read. They are on cache lines of their own.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Share {
    held: AtomicUsize,
    /// Places of clients that do not answer.
    silent: AtomicUsize,
    waiting: AtomicBool,
    /// The rank of the first that waits and has begun; [`NOT_BEGUN`] if there is none.
    first_begun: AtomicU64,
}

impl SharedSlots {
    /// Makes it with no place taken, for so many workers.
    #[must_use]
    pub fn new(workers: usize) -> Self {
        let shares = (0..workers).map(|_| Share::default()).collect();
        SharedSlots {
            used: AtomicUsize::new(0),
            strangers_ports: AtomicU32::new(0),
            began: AtomicU64::new(0),
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
    /// There is no place, and the policy (or a full queue) refuses at once.
    No(Overflow),
}

/// One worker's clients and queue.
///
/// A worker may take a free place unless another one goes first: one in which a client waits that
/// began earlier, or else one that holds fewer. So places are divided evenly among the workers that
/// need them, and one of these can always go on.
#[derive(Debug)]
pub struct Slots {
    shared: Arc<SharedSlots>,
    worker: usize,
    limits: SlotLimits,
    sessions: Sessions,
    /// The part of [`SharedSlots::used`] that this worker has counted.
    counted: usize,
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
            sessions: Sessions::default(),
            counted: 0,
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

    /// Asks for a place. `ticket` names the request if it has to wait; no other waiting request may
    /// have it. A client that already waits keeps its position for the new request, and
    /// [`Slots::poll_expired`] returns the ticket of the former one.
    pub fn admit(
        &mut self,
        client: IpAddr,
        address: Address,
        ticket: Ticket,
        limits: &SlotLimits,
        now: Instant,
    ) -> Admitted {
        self.adopt(limits);
        if limits.clients_max == 0 || is_this_host(client) {
            return Admitted::Yes;
        }
        self.expire(now);
        let admitted = self.decide(client_of(client), address, ticket, now);
        self.publish();
        admitted
    }

    fn decide(
        &mut self,
        client: Client,
        address: Address,
        ticket: Ticket,
        now: Instant,
    ) -> Admitted {
        let (has_place, known) = self.sessions.renew(client, address, now);
        if has_place {
            return Admitted::Yes;
        }
        let deadline = now + self.limits.queue_wait;
        if let Some(before) = self.queue.renew(client, known, ticket, deadline, now) {
            if before != ticket {
                self.expired.push_back(before);
            }
            return Admitted::Waiting;
        }
        // Waiting clients go first, but not before one that has begun.
        let is_next = match known {
            Known::Begun(rank) => self.queue.first_begun().is_none_or(|first| rank < first),
            Known::Proven | Known::Nothing => self.queue.is_empty(),
        };
        if is_next && self.reserve(known) {
            self.sessions.grant(client, &self.shared.began, now);
            return Admitted::Yes;
        }
        let has_room = self.limits.overflow == Overflow::Queue
            && (self.queue.len() < QUEUE_MAX || self.make_room());
        if !has_room {
            return Admitted::No(self.limits.overflow);
        }
        self.queue.push(client, known, ticket, deadline, now);
        Admitted::Waiting
    }

    /// Sends away a waiting request whose client may not exist. Returns whether there was one.
    fn make_room(&mut self) -> bool {
        let pushed_out = self.queue.make_room();
        self.expired.extend(pushed_out);
        pushed_out.is_some()
    }

    /// Puts new limits into force. [`Slots::admit`] calls this; a loop that calls it on reload
    /// serves waiting clients at once. A client that is being served keeps its place.
    pub fn adopt(&mut self, limits: &SlotLimits) {
        if self.limits == *limits {
            return;
        }
        self.limits = *limits;
        if limits.clients_max == 0 {
            self.sessions.clear();
        }
        if limits.idle_place == IdlePlace::Lend {
            self.sessions.take_idle_places();
        }
        self.retry_at = Instant::START;
        self.publish();
    }

    /// A transfer of this client has begun: it keeps its place until [`Slots::end`]. If it has none
    /// any more, it gets one, beyond the limit if necessary.
    pub fn begin(&mut self, client: IpAddr, address: Address) {
        if self.limits.clients_max == 0 || is_this_host(client) {
            return;
        }
        self.sessions.begin(client_of(client), address, &self.shared.began);
        self.publish();
    }

    /// A running transfer of this client is not answered: not yet, or no more. Its place counts for
    /// [`SILENCE_MAX`](super::sessions::SILENCE_MAX) at most. To be called once, until
    /// [`Slots::answer`].
    pub fn fall_silent(&mut self, client: IpAddr, now: Instant) {
        self.sessions.fall_silent(client_of(client), now);
        self.publish();
    }

    /// A transfer that was silent has been answered, so its client's address is proven. The client
    /// has a place again, beyond the limit if necessary.
    pub fn answer(&mut self, client: IpAddr) {
        self.sessions.answer(client_of(client));
        self.publish();
    }

    /// A transfer of this client has ended, however it did; `was_silent` tells whether
    /// [`Slots::fall_silent`] was the last thing said of it. The client's hold starts if its
    /// address is proven, and nothing is kept of it if not. For a transfer that began when there
    /// was no limit this changes nothing.
    pub fn end(&mut self, client: IpAddr, was_silent: bool, now: Instant) {
        self.sessions.end(client_of(client), was_silent, self.limits.idle_place, now);
        self.publish();
    }

    /// A client asks for what needs no place. Its hold starts again, if it has one.
    pub fn renew(&mut self, client: IpAddr, now: Instant) {
        if self.limits.clients_max > 0 {
            self.sessions.renew(client_of(client), Address::Claimed, now);
        }
    }

    /// Returns a waiting request that has now got a place. Call until `None`, each turn.
    pub fn poll_granted(&mut self, now: Instant) -> Option<Ticket> {
        self.expire(now);
        if self.queue.is_empty() {
            return None;
        }
        let is_limited = self.limits.clients_max > 0;
        let known = self.queue.first_begun().map_or(Known::Nothing, Known::Begun);
        if is_limited && !self.reserve(known) {
            self.retry_at = now + RETRY_EVERY;
            return None;
        }
        let (client, ticket) = self.queue.pop_next()?;
        // The client may have got a place when a transfer began that it asked for before there was
        // a limit; then what was reserved is given back.
        if is_limited {
            self.sessions.grant(client, &self.shared.began, now);
        }
        self.publish();
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
    }

    /// Returns when to poll again at the latest.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        if !self.expired.is_empty() {
            return Some(Instant::START);
        }
        let expiry = self.sessions.next_expiry(&self.limits);
        let retry = (!self.queue.is_empty()).then_some(self.retry_at);
        [expiry, self.queue.first_deadline(), retry].into_iter().flatten().min()
    }

    /// A client asks for a file. Returns when its boot began.
    pub fn boot_began(&self, client: IpAddr, now: Instant) -> Instant {
        self.shared.boots.ask(client, now)
    }

    /// Returns how many workers share the places.
    #[must_use]
    pub fn workers(&self) -> usize {
        self.shared.shares.len()
    }

    /// Returns how many requests wait in this worker.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// Returns how many requests wait in this worker, by how long ago their client asked first: up
    /// to each of [`AGES`], and longer.
    #[must_use]
    pub fn waiting_by_age(&self, now: Instant) -> [usize; AGES.len() + 1] {
        self.queue.ages(now)
    }

    /// Returns how many places the clients of this worker have.
    #[must_use]
    pub fn used_here(&self) -> usize {
        self.sessions.places()
    }

    /// Returns how many clients of this worker have begun, are idle, and go before others if they
    /// ask: their places are lent.
    #[must_use]
    pub fn lent_here(&self) -> usize {
        self.sessions.lent()
    }

    /// Takes the places of those whose time is over, and drops requests that have waited in vain.
    fn expire(&mut self, now: Instant) {
        self.sessions.expire(&self.limits, now);
        while let Some(ticket) = self.queue.pop_late(now) {
            self.expired.push_back(ticket);
        }
        self.publish();
    }

    /// Counts one more place as used, if there is one and this worker may have it.
    fn reserve(&mut self, known: Known) -> bool {
        let shares = &self.shared.shares;
        let rank = match known {
            Known::Begun(rank) => rank,
            Known::Proven | Known::Nothing => NOT_BEGUN,
        };
        let mine = (rank, self.counted);
        let goes_first = |(worker, share): (usize, &Share)| {
            let theirs = (share.first_begun.load(Relaxed), share.held.load(Relaxed));
            worker != self.worker && share.waiting.load(Relaxed) && theirs < mine
        };
        if shares.iter().enumerate().any(goes_first) {
            return false;
        }
        // Where nobody waits, those who are silent are in nobody's way who exists.
        let has_waited = self.limits.overflow == Overflow::Queue;
        let lent = match known {
            Known::Begun(_) | Known::Proven if !has_waited => {
                shares.iter().map(|share| share.silent.load(Relaxed)).sum()
            }
            Known::Begun(_) | Known::Proven | Known::Nothing => 0_usize,
        };
        let most = self.limits.clients_max.saturating_add(lent);
        let one_more = |used| (used < most).then_some(used + 1);
        let is_reserved = self.shared.used.fetch_update(Relaxed, Relaxed, one_more).is_ok();
        self.counted += usize::from(is_reserved);
        is_reserved
    }

    /// Publishes how many places this worker holds and whether it wants more.
    fn publish(&mut self) {
        let held = self.sessions.places();
        if held < self.counted {
            self.shared.used.fetch_sub(self.counted - held, Relaxed);
            // A place is free, and the next client that waits gets it at once.
            self.retry_at = Instant::START;
        } else {
            self.shared.used.fetch_add(held - self.counted, Relaxed);
        }
        self.counted = held;
        if let Some(share) = self.shared.shares.get(self.worker) {
            share.held.store(held, Relaxed);
            share.silent.store(self.sessions.silent(), Relaxed);
            share.waiting.store(!self.queue.is_empty(), Relaxed);
            share.first_begun.store(self.queue.first_begun().unwrap_or(NOT_BEGUN), Relaxed);
        }
        self.check();
    }

    fn check(&self) {
        debug_assert!(self.queue.len() <= QUEUE_MAX);
        debug_assert!(self.shared.used.load(Relaxed) >= self.counted);
        debug_assert!(self.limits.clients_max > 0 || self.sessions.places() == 0);
    }
}

fn client_of(address: IpAddr) -> Client {
    Client(address_bits(address))
}

/// Returns whether this is the server's own host, which asks whether the server is alive. It has
/// a place of its own before all others, because one that is busy is not dead.
#[must_use]
pub fn is_this_host(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => address == Ipv4Addr::LOCALHOST,
        IpAddr::V6(address) => address == Ipv6Addr::LOCALHOST,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: SlotLimits = SlotLimits {
        clients_max: 2,
        hold: Duration::from_secs(60),
        idle_place: IdlePlace::Keep,
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
            assert_eq!(
                slots.admit(ip(host), Address::Proven, Ticket::made_up(0), &none, at(0)),
                Admitted::Yes
            );
            slots.begin(ip(host), Address::Proven);
        }
        slots.end(ip(1), false, at(1));
        assert_eq!((slots.used_here(), slots.poll_timeout()), (0, None));
        assert_eq!(slots.lent_here(), 0);
    }

    #[test]
    fn a_client_keeps_its_slot_between_two_files() {
        let mut slots = slots();
        assert_eq!(
            slots.admit(ip(1), Address::Proven, Ticket::made_up(1), &LIMITS, at(0)),
            Admitted::Yes
        );
        assert_eq!(
            slots.admit(ip(2), Address::Proven, Ticket::made_up(2), &LIMITS, at(0)),
            Admitted::Yes
        );
        slots.begin(ip(1), Address::Proven);
        slots.end(ip(1), false, at(10));
        assert_eq!(
            slots.admit(ip(3), Address::Proven, Ticket::made_up(3), &LIMITS, at(20)),
            Admitted::Waiting
        );
        assert_eq!(
            slots.admit(ip(1), Address::Proven, Ticket::made_up(4), &LIMITS, at(59_000)),
            Admitted::Yes
        );
        assert_eq!(slots.used_here(), 2);
    }

    #[test]
    fn a_running_transfer_keeps_the_slot_beyond_the_hold() {
        let mut slots = slots();
        for host in 1..=2 {
            assert_eq!(
                slots.admit(ip(host), Address::Proven, Ticket::made_up(0), &LIMITS, at(0)),
                Admitted::Yes
            );
            slots.begin(ip(host), Address::Proven);
        }
        let long_after = 600_000;
        assert_eq!(
            slots.admit(ip(3), Address::Proven, Ticket::made_up(3), &LIMITS, at(long_after)),
            Admitted::Waiting
        );
        assert_eq!(slots.poll_granted(at(long_after)), None);
        slots.end(ip(2), false, at(long_after));
        // A client that flashed for ten minutes may still fetch its next file.
        assert_eq!(
            slots.admit(ip(2), Address::Proven, Ticket::made_up(4), &LIMITS, at(long_after + 1)),
            Admitted::Yes
        );
        let hold_over = at(long_after + 60_001);
        assert_eq!(
            slots.admit(ip(3), Address::Proven, Ticket::made_up(5), &LIMITS, hold_over),
            Admitted::Yes
        );
    }

    const LEND: SlotLimits = SlotLimits { idle_place: IdlePlace::Lend, ..LIMITS };

    #[test]
    fn a_place_is_lent_between_two_files_and_its_owner_goes_first_until_its_hold_is_over() {
        let mut slots = slots();
        let one = SlotLimits { clients_max: 1, ..LEND };
        let admit = |slots: &mut Slots, host, ticket, ms| {
            slots.admit(ip(host), Address::Proven, Ticket::made_up(ticket), &one, at(ms))
        };
        assert_eq!(admit(&mut slots, 1, 1, 0), Admitted::Yes);
        slots.begin(ip(1), Address::Proven);
        assert_eq!(admit(&mut slots, 2, 2, 5), Admitted::Waiting);
        slots.end(ip(1), false, at(10));
        assert_eq!(slots.poll_timeout(), Some(Instant::START), "the next turn comes at once");
        assert_eq!(slots.poll_granted(at(10)), Some(Ticket::made_up(2)));
        slots.begin(ip(2), Address::Proven);
        assert_eq!((slots.used_here(), slots.lent_here()), (1, 1));
        assert_eq!(admit(&mut slots, 3, 3, 59_000), Admitted::Waiting);
        assert_eq!(admit(&mut slots, 1, 4, 59_100), Admitted::Waiting);
        slots.end(ip(2), false, at(59_200));
        assert_eq!(slots.poll_granted(at(59_200)), Some(Ticket::made_up(4)));
        slots.begin(ip(1), Address::Proven);
        slots.end(ip(1), false, at(59_300));
        assert_eq!(slots.poll_granted(at(59_300)), Some(Ticket::made_up(3)));
        assert_eq!(slots.poll_granted(at(119_299)), None);
        assert_eq!(slots.lent_here(), 1, "the one that was heard last");
    }

    #[test]
    fn a_place_that_was_granted_and_never_used_is_free_again_in_a_moment() {
        let mut slots = slots();
        let one = SlotLimits { clients_max: 1, ..LEND };
        let admit = |slots: &mut Slots, host, ms| {
            slots.admit(ip(host), Address::Claimed, Ticket::made_up(host.into()), &one, at(ms))
        };
        assert_eq!(admit(&mut slots, 1, 0), Admitted::Yes);
        assert_eq!(admit(&mut slots, 2, 0), Admitted::Waiting);
        assert_eq!(slots.poll_granted(at(999)), None);
        assert_eq!(slots.poll_granted(at(1_000)), Some(Ticket::made_up(2)));
    }

    #[test]
    fn forged_requests_are_in_nobodys_way_where_nobody_waits() {
        let shared = Arc::new(SharedSlots::new(2));
        let [mut forged, mut real] = [0, 1].map(|worker| Slots::new(worker, shared.clone()));
        let limits = SlotLimits { overflow: Overflow::Refuse, ..LEND };
        for host in 1..=2 {
            let ticket = Ticket::made_up(0);
            let admitted = forged.admit(ip(host), Address::Claimed, ticket, &limits, at(0));
            assert_eq!(admitted, Admitted::Yes);
            forged.begin(ip(host), Address::Claimed);
            forged.fall_silent(ip(host), at(0));
        }
        let mut admit = |host, address| {
            let admitted = real.admit(ip(host), address, Ticket::made_up(0), &limits, at(1));
            if admitted == Admitted::Yes {
                real.begin(ip(host), address);
            }
            admitted
        };
        assert_eq!(admit(9, Address::Claimed), Admitted::No(Overflow::Refuse));
        assert_eq!(admit(7, Address::Proven), Admitted::Yes);
        assert_eq!(admit(8, Address::Proven), Admitted::Yes);
        assert_eq!(admit(9, Address::Proven), Admitted::No(Overflow::Refuse));
    }

    #[test]
    fn a_full_queue_lets_in_a_phone_that_exists_for_one_that_may_not() {
        let mut slots = slots();
        for host in 0..2 + QUEUE_MAX as u32 {
            let ticket = Ticket::made_up(host.into());
            let _ = slots.admit(ip(host), Address::Claimed, ticket, &LEND, at(0));
        }
        assert_eq!(slots.waiting(), QUEUE_MAX);
        let (newcomer, ticket) = (ip(1 << 20), Ticket::made_up(1 << 20));
        let admitted = slots.admit(newcomer, Address::Proven, ticket, &LEND, at(0));
        assert_eq!(admitted, Admitted::Waiting);
        assert_eq!(slots.waiting(), QUEUE_MAX);
        assert_eq!(slots.poll_expired(at(0)), Some(Ticket::made_up(2)));
    }

    #[test]
    fn both_spellings_of_an_address_are_one_client() {
        let mut slots = slots();
        let one = SlotLimits { clients_max: 1, ..LIMITS };
        assert_eq!(
            slots.admit(ip(1), Address::Proven, Ticket::made_up(1), &one, at(0)),
            Admitted::Yes
        );
        let mapped = "::ffff:10.0.0.1".parse().unwrap();
        assert_eq!(
            slots.admit(mapped, Address::Proven, Ticket::made_up(2), &one, at(0)),
            Admitted::Yes
        );
        assert_eq!(
            slots.admit(ip(2), Address::Proven, Ticket::made_up(3), &one, at(0)),
            Admitted::Waiting
        );
    }

    #[test]
    fn who_waits_is_served_when_a_hold_ends_and_told_when_none_does() {
        let mut slots = slots();
        let limits = SlotLimits { hold: Duration::from_secs(2), ..LIMITS };
        assert_eq!(
            slots.admit(ip(1), Address::Proven, Ticket::made_up(1), &limits, at(0)),
            Admitted::Yes
        );
        assert_eq!(
            slots.admit(ip(2), Address::Proven, Ticket::made_up(2), &limits, at(1_000)),
            Admitted::Yes
        );
        assert_eq!(
            slots.admit(ip(3), Address::Proven, Ticket::made_up(3), &limits, at(1_200)),
            Admitted::Waiting
        );
        assert_eq!(
            slots.admit(ip(4), Address::Proven, Ticket::made_up(4), &limits, at(1_300)),
            Admitted::Waiting
        );
        assert_eq!(slots.poll_granted(at(1_300)), None);
        assert_eq!(slots.poll_timeout(), Some(at(1_302)));
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
        assert_eq!(
            slots.admit(ip(1), Address::Proven, Ticket::made_up(1), &one, at(0)),
            Admitted::Yes
        );
        assert_eq!(
            slots.admit(ip(2), Address::Proven, Ticket::made_up(2), &one, at(0)),
            Admitted::Waiting
        );
        assert_eq!(
            slots.admit(ip(3), Address::Proven, Ticket::made_up(3), &one, at(0)),
            Admitted::Waiting
        );
        assert_eq!(
            slots.admit(ip(2), Address::Proven, Ticket::made_up(4), &one, at(1_000)),
            Admitted::Waiting
        );
        assert_eq!(
            slots.admit(ip(2), Address::Proven, Ticket::made_up(4), &one, at(1_100)),
            Admitted::Waiting
        );
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
        assert_eq!(
            slots.admit(ip(1), Address::Proven, Ticket::made_up(1), &one, at(0)),
            Admitted::Yes
        );
        assert_eq!(
            slots.admit(ip(2), Address::Proven, Ticket::made_up(2), &one, at(59_000)),
            Admitted::Waiting
        );
        assert_eq!(
            slots.admit(ip(3), Address::Proven, Ticket::made_up(3), &one, at(60_000)),
            Admitted::Waiting
        );
        assert_eq!(slots.poll_granted(at(60_000)), Some(Ticket::made_up(2)));
    }

    #[test]
    fn the_policy_and_a_full_queue_say_no() {
        for overflow in [Overflow::Refuse, Overflow::Drop] {
            let mut slots = slots();
            let limits = SlotLimits { clients_max: 1, overflow, ..LIMITS };
            assert_eq!(
                slots.admit(ip(1), Address::Proven, Ticket::made_up(1), &limits, at(0)),
                Admitted::Yes
            );
            assert_eq!(
                slots.admit(ip(2), Address::Proven, Ticket::made_up(2), &limits, at(0)),
                Admitted::No(overflow)
            );
        }
        let mut slots = slots();
        for host in 0..2 + QUEUE_MAX as u32 {
            assert_ne!(
                slots.admit(
                    ip(host),
                    Address::Proven,
                    Ticket::made_up(host.into()),
                    &LIMITS,
                    at(0)
                ),
                Admitted::No(Overflow::Queue)
            );
        }
        let no = Admitted::No(Overflow::Queue);
        assert_eq!(
            slots.admit(ip(1 << 20), Address::Proven, Ticket::made_up(1 << 20), &LIMITS, at(0)),
            no
        );
        slots.cancel(Ticket::made_up(77));
        assert_eq!(
            slots.admit(ip(1 << 20), Address::Proven, Ticket::made_up(1 << 20), &LIMITS, at(0)),
            Admitted::Waiting
        );
    }

    #[test]
    fn a_new_limit_cuts_nobody_off() {
        let mut slots = slots();
        let unlimited = SlotLimits { clients_max: 0, ..LIMITS };
        slots.begin(ip(9), Address::Proven);
        for host in 1..=3 {
            let limits = SlotLimits { clients_max: 3, ..LIMITS };
            assert_eq!(
                slots.admit(ip(host), Address::Proven, Ticket::made_up(0), &limits, at(0)),
                Admitted::Yes
            );
            slots.begin(ip(host), Address::Proven);
        }
        slots.end(ip(9), false, at(1));
        let one = SlotLimits { clients_max: 1, ..LIMITS };
        assert_eq!(
            slots.admit(ip(2), Address::Proven, Ticket::made_up(2), &one, at(5)),
            Admitted::Yes
        );
        assert_eq!(
            slots.admit(ip(4), Address::Proven, Ticket::made_up(4), &one, at(5)),
            Admitted::Waiting
        );
        assert_eq!(slots.used_here(), 3);
        assert_eq!(slots.poll_granted(at(5)), None);
        slots.adopt(&unlimited);
        assert_eq!(slots.poll_granted(at(5)), Some(Ticket::made_up(4)));
        assert_eq!((slots.used_here(), slots.shared.used.load(Relaxed)), (0, 0));
        slots.end(ip(2), false, at(6));
        assert_eq!(
            slots.admit(ip(2), Address::Proven, Ticket::made_up(5), &LIMITS, at(7)),
            Admitted::Yes
        );
        assert_eq!(slots.used_here(), 1);
    }

    #[test]
    fn a_client_whose_file_came_late_has_a_slot_again() {
        let mut slots = slots();
        let one = SlotLimits { clients_max: 1, hold: Duration::ZERO, ..LIMITS };
        assert_eq!(
            slots.admit(ip(1), Address::Proven, Ticket::made_up(1), &one, at(0)),
            Admitted::Yes
        );
        assert_eq!(
            slots.admit(ip(2), Address::Proven, Ticket::made_up(2), &one, at(999)),
            Admitted::Waiting
        );
        assert_eq!(slots.poll_granted(at(1_000)), Some(Ticket::made_up(2)));
        slots.begin(ip(1), Address::Proven);
        assert_eq!(slots.used_here(), 2);
        slots.end(ip(1), false, at(1_000));
        assert_eq!(
            slots.admit(ip(3), Address::Proven, Ticket::made_up(3), &one, at(2_000)),
            Admitted::Yes
        );
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
            let _ = workers[0].admit(
                ip(host),
                Address::Proven,
                Ticket::made_up(host.into()),
                &limits,
                at(0),
            );
        }
        assert_eq!((workers[0].used_here(), workers[0].waiting()), (10, 20));
        for host in 100..130 {
            let _ = workers[1].admit(
                ip(host),
                Address::Proven,
                Ticket::made_up(host.into()),
                &limits,
                at(500),
            );
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
                                Address::Proven,
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
            assert_eq!(
                slots.admit(ip(host), Address::Proven, Ticket::made_up(0), &limits, now),
                Admitted::Yes
            );
            slots.begin(ip(host), Address::Proven);
            slots.end(ip(host), false, now);
        }
        assert_eq!(slots.used_here(), 100_000);
        assert_eq!(slots.poll_granted(at(80_000)), None);
        assert_eq!(slots.used_here(), 0);
    }
}
