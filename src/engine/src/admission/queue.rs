//! Requests that wait for a session slot: in order of arrival, in turn among subnets.
//!
//! Decides only, and grants nothing itself: [`super::slots`] asks for the next request when it has
//! a free slot. Every operation is logarithmic in the length of the queue.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::address::is_ipv4;
use crate::ticket::Ticket;
use wire::time::Instant;

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

/// A request's position: its subnet, then its arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Position {
    subnet: u128,
    arrival: u64,
}

#[derive(Clone, Copy, Debug)]
struct Waiter {
    client: Client,
    ticket: Ticket,
    deadline: Instant,
}

/// The waiting requests.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiters: BTreeMap<Position, Waiter>,
    by_client: HashMap<Client, Position>,
    by_ticket: HashMap<Ticket, Position>,
    deadlines: BTreeSet<(Instant, Position)>,
    arrivals: u64,
    /// The position served last; the turn goes on with the next subnet.
    served: Option<Position>,
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

    /// Returns the earliest deadline.
    pub(super) fn first_deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }

    /// Keeps the position of a client that already waits, with a new ticket and a new deadline.
    /// Returns its former ticket, or `None` if the client does not wait.
    pub(super) fn renew(
        &mut self,
        client: Client,
        ticket: Ticket,
        deadline: Instant,
    ) -> Option<Ticket> {
        let position = *self.by_client.get(&client)?;
        let waiter = self.waiters.get_mut(&position)?;
        let before = std::mem::replace(waiter, Waiter { client, ticket, deadline });
        self.deadlines.remove(&(before.deadline, position));
        self.deadlines.insert((deadline, position));
        self.by_ticket.remove(&before.ticket);
        self.by_ticket.insert(ticket, position);
        self.check();
        Some(before.ticket)
    }

    /// Adds a client that does not wait yet at the end of its subnet's queue.
    pub(super) fn push(&mut self, client: Client, ticket: Ticket, deadline: Instant) {
        let position = Position { subnet: client.subnet(), arrival: self.arrivals };
        self.arrivals += 1;
        self.waiters.insert(position, Waiter { client, ticket, deadline });
        self.by_client.insert(client, position);
        self.by_ticket.insert(ticket, position);
        self.deadlines.insert((deadline, position));
        self.check();
    }

    /// Removes the request whose turn it is: the first of the subnet after the one served last.
    pub(super) fn pop_next(&mut self) -> Option<(Client, Ticket)> {
        let after = self.served.map_or(0, |position| position.subnet.saturating_add(1));
        let from = Position { subnet: after, arrival: 0 };
        let position = self
            .waiters
            .range(from..)
            .next()
            .or_else(|| self.waiters.first_key_value())
            .map(|(position, _)| *position)?;
        self.served = Some(position);
        self.take_out(position).map(|waiter| (waiter.client, waiter.ticket))
    }

    /// Removes a request whose deadline has passed.
    pub(super) fn pop_late(&mut self, now: Instant) -> Option<Ticket> {
        let (_, position) = *self.deadlines.first().filter(|(deadline, _)| *deadline <= now)?;
        self.take_out(position).map(|waiter| waiter.ticket)
    }

    /// Removes the request with this ticket, if it waits.
    pub(super) fn cancel(&mut self, ticket: Ticket) {
        if let Some(position) = self.by_ticket.get(&ticket).copied() {
            self.take_out(position);
        }
    }

    fn take_out(&mut self, position: Position) -> Option<Waiter> {
        let waiter = self.waiters.remove(&position)?;
        self.by_client.remove(&waiter.client);
        self.by_ticket.remove(&waiter.ticket);
        self.deadlines.remove(&(waiter.deadline, position));
        self.check();
        Some(waiter)
    }

    fn check(&self) {
        debug_assert_eq!(self.waiters.len(), self.by_client.len());
        debug_assert_eq!(self.waiters.len(), self.by_ticket.len());
        debug_assert_eq!(self.waiters.len(), self.deadlines.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(text: &str) -> Client {
        Client(crate::address::address_bits(text.parse().unwrap()))
    }

    fn order(queue: &mut Queue) -> Vec<u64> {
        std::iter::from_fn(|| queue.pop_next()).map(|(_, ticket)| ticket.number()).collect()
    }

    #[test]
    fn a_subnet_that_asks_much_does_not_push_others_back() {
        let mut queue = Queue::default();
        for host in 0..4 {
            queue.push(client(&format!("10.0.9.{host}")), Ticket::made_up(host), Instant::START);
        }
        queue.push(client("10.0.1.1"), Ticket::made_up(10), Instant::START);
        queue.push(client("fd00::1"), Ticket::made_up(20), Instant::START);
        queue.push(client("fd00::2:1"), Ticket::made_up(21), Instant::START);
        assert_eq!(order(&mut queue), [10, 0, 20, 1, 21, 2, 3]);
    }

    #[test]
    fn the_turn_goes_on_where_it_stopped() {
        let mut queue = Queue::default();
        queue.push(client("10.0.2.1"), Ticket::made_up(2), Instant::START);
        assert_eq!(order(&mut queue), [2]);
        queue.push(client("10.0.1.1"), Ticket::made_up(1), Instant::START);
        queue.push(client("10.0.2.2"), Ticket::made_up(4), Instant::START);
        queue.push(client("10.0.3.1"), Ticket::made_up(3), Instant::START);
        assert_eq!(order(&mut queue), [3, 1, 4]);
    }

    #[test]
    fn the_last_subnet_of_all_addresses_ends_the_round() {
        let mut queue = Queue::default();
        let all_ones = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
        queue.push(client(all_ones), Ticket::made_up(1), Instant::START);
        assert_eq!(order(&mut queue), [1]);
        queue.push(client(all_ones), Ticket::made_up(2), Instant::START);
        queue.push(client("::1"), Ticket::made_up(3), Instant::START);
        assert_eq!(order(&mut queue), [3, 2]);
    }

    #[test]
    fn asking_again_keeps_the_place_and_drops_the_old_ticket() {
        let mut queue = Queue::default();
        let late = Instant::from_millis(5);
        queue.push(client("10.0.0.1"), Ticket::made_up(1), late);
        queue.push(client("10.0.0.2"), Ticket::made_up(2), late);
        let later = Instant::from_millis(9);
        assert_eq!(
            queue.renew(client("10.0.0.1"), Ticket::made_up(3), later),
            Some(Ticket::made_up(1))
        );
        assert_eq!(queue.renew(client("10.0.0.9"), Ticket::made_up(4), later), None);
        assert_eq!(queue.pop_late(late), Some(Ticket::made_up(2)));
        assert_eq!(queue.pop_late(late), None);
        queue.cancel(Ticket::made_up(1));
        assert_eq!(order(&mut queue), [3]);
    }
}
