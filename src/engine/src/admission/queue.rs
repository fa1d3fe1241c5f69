//! Requests that wait for a place: in order of arrival, in turn among subnets.
//!
//! Decides only, and grants nothing itself: [`super::slots`] asks for the next request when it has
//! a free place. Every operation is logarithmic in the length of the queue.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::kept_ranks::{KeptRank, KeptRanks};
use super::slots::AGES;
use crate::address::is_ipv4;
use crate::ticket::Ticket;
use wire::time::{Duration, Instant};

/// From when on a request counts as repeated: forged requests seldom come twice.
pub(super) const REPEATED_AFTER: Duration = Duration::from_millis(500);

/// A client, in either spelling of its address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Client(pub(super) u128);

impl Client {
    /// Returns the subnet that shares a turn: a /24, or a /64 of IPv6.
    fn subnet(self) -> u128 {
        let host_bits = if is_ipv4(self.0) { 8 } else { 64 };
        self.0 >> host_bits << host_bits
    }
}

/// What is known of a client that asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Known {
    /// It has begun before and is idle; the smaller the number, the earlier it began.
    Begun(u64),
    /// Its address is its own.
    Proven,
    /// Nothing; its address may be forged.
    Nothing,
}

/// Whom a request waits with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Class {
    /// Clients that have begun: before all others, in the order in which they began.
    Begun,
    /// Clients that have proven their address.
    Proven,
    /// Clients that have repeated their request.
    Repeated,
    /// Everybody else.
    Fresh,
}

const CLASSES: usize = 4;
/// Whose turn it is, for all that have not begun. A class in which none waits leaves its turn to
/// the first of [`FALLBACK`] in which one does.
const TURNS: [Class; 5] =
    [Class::Repeated, Class::Proven, Class::Repeated, Class::Proven, Class::Fresh];
const FALLBACK: [Class; 3] = [Class::Repeated, Class::Proven, Class::Fresh];

/// A request's position: its class, its subnet, its rank there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Position {
    class: Class,
    subnet: u128,
    rank: u64,
}

impl Position {
    fn first_of(class: Class, subnet: u128) -> Position {
        Position { class, subnet, rank: 0 }
    }
}

#[derive(Clone, Copy, Debug)]
struct Waiter {
    client: Client,
    ticket: Ticket,
    deadline: Instant,
    /// When it asked last.
    asked_at: Instant,
    /// Its arrival, and when it asked first.
    kept: KeptRank,
}

/// The waiting requests.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiters: BTreeMap<Position, Waiter>,
    by_client: HashMap<Client, Position>,
    by_ticket: HashMap<Ticket, Position>,
    deadlines: [BTreeSet<(Instant, Position)>; CLASSES],
    arrivals: u64,
    /// The subnet of each class that was served last; the turn goes on with the next one.
    served: [Option<u128>; CLASSES],
    turn: usize,
    /// The ranks of clients that have left the queue without a place.
    kept: KeptRanks,
}

impl Queue {
    /// Returns how many wait.
    pub(super) fn len(&self) -> usize {
        self.waiters.len()
    }

    /// Returns whether none waits.
    pub(super) fn is_empty(&self) -> bool {
        self.waiters.is_empty()
    }

    /// Returns the rank of the first client that waits and has begun, or `None` if there is none.
    pub(super) fn first_begun(&self) -> Option<u64> {
        let (first, _) = self.waiters.first_key_value()?;
        (first.class == Class::Begun).then_some(first.rank)
    }

    /// Returns the earliest deadline.
    pub(super) fn first_deadline(&self) -> Option<Instant> {
        let firsts = self.deadlines.iter().filter_map(|class| class.first());
        firsts.map(|(deadline, _)| *deadline).min()
    }

    /// Returns how many wait, by how long ago they asked first: see [`AGES`].
    pub(super) fn ages(&self, now: Instant) -> [usize; AGES.len() + 1] {
        let mut counts = [0; AGES.len() + 1];
        for waiter in self.waiters.values() {
            let age = now.since(waiter.kept.since);
            counts[AGES.iter().filter(|end| age >= **end).count()] += 1;
        }
        counts
    }

    /// Keeps the rank of a client that already waits, with a new ticket and a new deadline.
    /// Returns its former ticket, or `None` if the client does not wait.
    pub(super) fn renew(
        &mut self,
        client: Client,
        known: Known,
        ticket: Ticket,
        deadline: Instant,
        now: Instant,
    ) -> Option<Ticket> {
        let position = *self.by_client.get(&client)?;
        let before = self.take_out(position)?;
        let waiter = Waiter { ticket, deadline, asked_at: now, ..before };
        let after = position_of(client, known, &waiter.kept, now);
        self.insert(position.min(after), waiter);
        self.check();
        Some(before.ticket)
    }

    /// Adds a client that does not wait yet: at the end, or at its former rank if it has left the
    /// queue a moment ago.
    pub(super) fn push(
        &mut self,
        client: Client,
        known: Known,
        ticket: Ticket,
        deadline: Instant,
        now: Instant,
    ) {
        let arrival = self.arrivals;
        self.arrivals += 1;
        let kept = self.kept.take(client, now).unwrap_or(KeptRank { arrival, since: now });
        let waiter = Waiter { client, ticket, deadline, asked_at: now, kept };
        self.insert(position_of(client, known, &kept, now), waiter);
        self.check();
    }

    /// Removes the request whose turn it is: of those that have begun, the one that began first; of
    /// the others, the first of the subnet after the one served last.
    pub(super) fn pop_next(&mut self) -> Option<(Client, Ticket)> {
        let (first, _) = self.waiters.first_key_value()?;
        let position = match first.class {
            Class::Begun => *first,
            Class::Proven | Class::Repeated | Class::Fresh => {
                let mut classes = [TURNS[self.turn]].into_iter().chain(FALLBACK);
                self.turn = (self.turn + 1) % TURNS.len();
                classes.find_map(|class| self.next_of(class))?
            }
        };
        self.served[position.class as usize] = Some(position.subnet);
        let waiter = self.take_out(position)?;
        self.check();
        Some((waiter.client, waiter.ticket))
    }

    fn next_of(&self, class: Class) -> Option<Position> {
        let after = self.served[class as usize].map_or(0, |subnet| subnet.saturating_add(1));
        let first_from = |subnet| {
            let next = self.waiters.range(Position::first_of(class, subnet)..).next();
            next.map(|(position, _)| *position).filter(|position| position.class == class)
        };
        first_from(after).or_else(|| first_from(0))
    }

    /// Removes a request whose deadline has passed; its client keeps its rank for a while.
    pub(super) fn pop_late(&mut self, now: Instant) -> Option<Ticket> {
        let late = |class: &BTreeSet<(Instant, Position)>| {
            class.first().copied().filter(|(deadline, _)| *deadline <= now)
        };
        let (_, position) = self.deadlines.iter().find_map(late)?;
        self.dismiss(position)
    }

    /// Removes the request that will soonest have waited in vain, of those whose client may not
    /// exist. Returns `None` if there is none.
    pub(super) fn make_room(&mut self) -> Option<Ticket> {
        let doubtful = [Class::Fresh, Class::Repeated];
        let first = |class: Class| self.deadlines[class as usize].first().copied();
        let (_, position) = doubtful.into_iter().find_map(first)?;
        self.dismiss(position)
    }

    /// Removes the request with this ticket, if it waits; its client keeps its rank for a while.
    pub(super) fn cancel(&mut self, ticket: Ticket) {
        if let Some(position) = self.by_ticket.get(&ticket).copied() {
            self.dismiss(position);
        }
    }

    fn dismiss(&mut self, position: Position) -> Option<Ticket> {
        let waiter = self.take_out(position)?;
        self.kept.insert(waiter.client, waiter.kept, waiter.asked_at);
        self.check();
        Some(waiter.ticket)
    }

    fn insert(&mut self, position: Position, waiter: Waiter) {
        self.by_client.insert(waiter.client, position);
        self.by_ticket.insert(waiter.ticket, position);
        self.deadlines[position.class as usize].insert((waiter.deadline, position));
        self.waiters.insert(position, waiter);
    }

    fn take_out(&mut self, position: Position) -> Option<Waiter> {
        let waiter = self.waiters.remove(&position)?;
        self.by_client.remove(&waiter.client);
        self.by_ticket.remove(&waiter.ticket);
        self.deadlines[position.class as usize].remove(&(waiter.deadline, position));
        Some(waiter)
    }

    fn check(&self) {
        debug_assert_eq!(self.waiters.len(), self.by_client.len());
        debug_assert_eq!(self.waiters.len(), self.by_ticket.len());
        debug_assert_eq!(
            self.waiters.len(),
            self.deadlines.iter().map(BTreeSet::len).sum::<usize>()
        );
    }
}

fn position_of(client: Client, known: Known, kept: &KeptRank, now: Instant) -> Position {
    let class = match known {
        // They are few, and have one turn.
        Known::Begun(rank) => return Position { class: Class::Begun, subnet: 0, rank },
        Known::Proven => Class::Proven,
        Known::Nothing if now.since(kept.since) >= REPEATED_AFTER => Class::Repeated,
        Known::Nothing => Class::Fresh,
    };
    Position { class, subnet: client.subnet(), rank: kept.arrival }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(text: &str) -> Client {
        Client(crate::address::address_bits(text.parse().unwrap()))
    }

    fn push(queue: &mut Queue, text: &str, known: Known, number: u64, deadline_ms: u64) {
        let deadline = Instant::from_millis(deadline_ms);
        queue.push(client(text), known, Ticket::made_up(number), deadline, Instant::START);
    }

    fn order(queue: &mut Queue) -> Vec<u64> {
        std::iter::from_fn(|| queue.pop_next()).map(|(_, ticket)| ticket.number()).collect()
    }

    #[test]
    fn a_subnet_that_asks_much_does_not_push_others_back() {
        let mut queue = Queue::default();
        for host in 0..4 {
            push(&mut queue, &format!("10.0.9.{host}"), Known::Nothing, host, 0);
        }
        push(&mut queue, "10.0.1.1", Known::Nothing, 10, 0);
        push(&mut queue, "fd00::1", Known::Nothing, 20, 0);
        push(&mut queue, "fd00::2:1", Known::Nothing, 21, 0);
        assert_eq!(order(&mut queue), [10, 0, 20, 1, 21, 2, 3]);
    }

    #[test]
    fn the_turn_goes_on_where_it_stopped() {
        let mut queue = Queue::default();
        push(&mut queue, "10.0.2.1", Known::Nothing, 2, 0);
        assert_eq!(order(&mut queue), [2]);
        push(&mut queue, "10.0.1.1", Known::Nothing, 1, 0);
        push(&mut queue, "10.0.2.2", Known::Nothing, 4, 0);
        push(&mut queue, "10.0.3.1", Known::Nothing, 3, 0);
        assert_eq!(order(&mut queue), [3, 1, 4]);
    }

    #[test]
    fn the_last_subnet_of_all_addresses_ends_the_round() {
        let mut queue = Queue::default();
        let all_ones = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
        push(&mut queue, all_ones, Known::Nothing, 1, 0);
        assert_eq!(order(&mut queue), [1]);
        push(&mut queue, all_ones, Known::Nothing, 2, 0);
        push(&mut queue, "::1", Known::Nothing, 3, 0);
        assert_eq!(order(&mut queue), [3, 2]);
    }

    #[test]
    fn asking_again_keeps_the_place_and_drops_the_old_ticket() {
        let mut queue = Queue::default();
        let late = Instant::from_millis(5);
        push(&mut queue, "10.0.0.1", Known::Nothing, 1, 5);
        push(&mut queue, "10.0.0.2", Known::Nothing, 2, 5);
        let later = Instant::from_millis(9);
        let mut renew =
            |text, ticket| queue.renew(client(text), Known::Nothing, ticket, later, Instant::START);
        assert_eq!(renew("10.0.0.1", Ticket::made_up(3)), Some(Ticket::made_up(1)));
        assert_eq!(renew("10.0.0.9", Ticket::made_up(4)), None);
        assert_eq!(queue.pop_late(late), Some(Ticket::made_up(2)));
        assert_eq!(queue.pop_late(late), None);
        queue.cancel(Ticket::made_up(1));
        assert_eq!(order(&mut queue), [3]);
    }

    #[test]
    fn a_request_that_comes_again_just_after_it_expired_has_its_rank_again() {
        let mut queue = Queue::default();
        let none = Known::Nothing;
        for host in 0..3 {
            push(&mut queue, &format!("10.0.0.{host}"), none, host, 1_500 + host);
        }
        assert_eq!(queue.pop_late(Instant::from_millis(1_500)), Some(Ticket::made_up(0)));
        let (now, deadline) = (Instant::from_millis(1_510), Instant::from_millis(3_010));
        for host in [3, 1, 0] {
            let address = client(&format!("10.0.0.{host}"));
            let ticket = Ticket::made_up(10 + host);
            if queue.renew(address, none, ticket, deadline, now).is_none() {
                queue.push(address, none, ticket, deadline, now);
            }
        }
        // Those that asked again go first, and leave others a turn.
        assert_eq!(order(&mut queue), [10, 11, 2, 13]);
    }

    #[test]
    fn clients_that_have_begun_go_first_and_the_earliest_of_them_before_all() {
        let mut queue = Queue::default();
        push(&mut queue, "10.0.0.1", Known::Proven, 1, 0);
        push(&mut queue, "10.0.0.2", Known::Begun(9), 2, 0);
        push(&mut queue, "10.0.7.3", Known::Begun(4), 3, 0);
        push(&mut queue, "10.0.0.4", Known::Nothing, 4, 0);
        assert_eq!(queue.first_begun(), Some(4));
        assert_eq!(order(&mut queue), [3, 2, 1, 4]);
        assert_eq!(queue.first_begun(), None);
    }

    #[test]
    fn forged_requests_leave_most_turns_to_those_that_have_shown_that_they_exist() {
        let mut queue = Queue::default();
        for host in 0..100 {
            push(&mut queue, &format!("172.16.{host}.9"), Known::Nothing, 1_000 + host, 9_000);
        }
        for host in 0..8 {
            push(&mut queue, &format!("10.0.1.{host}"), Known::Nothing, 100 + host, 9_000);
            push(&mut queue, &format!("10.0.2.{host}"), Known::Proven, host, 9_000);
        }
        let (now, deadline) = (Instant::from_millis(1_000), Instant::from_millis(9_999));
        for host in 0..8 {
            let address = client(&format!("10.0.1.{host}"));
            queue.renew(address, Known::Nothing, Ticket::made_up(200 + host), deadline, now);
        }
        let order = order(&mut queue);
        let real = order[..20].iter().filter(|number| **number < 1_000).count();
        assert_eq!(real, 16, "{order:?}");
    }

    #[test]
    fn where_there_is_no_room_a_doubtful_request_leaves_and_a_proven_one_never() {
        let mut queue = Queue::default();
        push(&mut queue, "10.0.0.1", Known::Proven, 1, 10);
        push(&mut queue, "10.0.0.2", Known::Nothing, 2, 30);
        push(&mut queue, "10.0.0.3", Known::Nothing, 3, 20);
        push(&mut queue, "10.0.0.4", Known::Begun(0), 4, 5);
        assert_eq!(queue.make_room(), Some(Ticket::made_up(3)));
        assert_eq!(queue.make_room(), Some(Ticket::made_up(2)));
        assert_eq!(queue.make_room(), None);
        assert_eq!(order(&mut queue), [4, 1]);
    }

    #[test]
    fn waiting_requests_are_counted_by_age() {
        let mut queue = Queue::default();
        push(&mut queue, "10.0.0.1", Known::Nothing, 1, 99_000);
        assert_eq!(queue.ages(Instant::from_millis(999)), [1, 0, 0, 0]);
        assert_eq!(queue.ages(Instant::from_millis(1_000)), [0, 1, 0, 0]);
        assert_eq!(queue.ages(Instant::from_millis(5_000)), [0, 0, 1, 0]);
        assert_eq!(queue.ages(Instant::from_millis(30_000)), [0, 0, 0, 1]);
    }
}
