//! Requests that wait for a session slot: in order of arrival, in turn among subnets.
//!
//! Decides only, and grants nothing itself: [`super::slots`] asks for the next one when it has a
//! slot to give. Every operation is logarithmic in the number of those who wait.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::address::is_ipv4;
use crate::ticket::Ticket;
use wire::time::Instant;

/// A client, whichever way its address was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Client(pub(super) u128);

impl Client {
    /// Those who share a turn: a /24, or a /64 of IPv6.
    fn subnet(self) -> u128 {
        let host_bits = if is_ipv4(self.0) { 8 } else { 64 };
        self.0 >> host_bits << host_bits
    }
}

/// Where a request stands: its subnet, then its arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    subnet: u128,
    arrival: u64,
}

#[derive(Clone, Copy, Debug)]
struct Waiter {
    client: Client,
    ticket: Ticket,
    deadline: Instant,
}

/// Those who wait.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiters: BTreeMap<Place, Waiter>,
    by_client: HashMap<Client, Place>,
    by_ticket: HashMap<Ticket, Place>,
    deadlines: BTreeSet<(Instant, Place)>,
    arrivals: u64,
    /// The place served last; the turn goes on with the next subnet.
    served: Option<Place>,
}

impl Queue {
    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.waiters.len()
    }

    /// Whether nobody waits.
    pub(super) fn is_empty(&self) -> bool {
        self.waiters.is_empty()
    }

    /// When the first of them will have waited too long.
    pub(super) fn first_deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }

    /// A client that waits already keeps its place with a new ticket and a new deadline; the
    /// ticket that it waited with is returned. `None` if the client does not wait.
    pub(super) fn renew(
        &mut self,
        client: Client,
        ticket: Ticket,
        deadline: Instant,
    ) -> Option<Ticket> {
        let place = *self.by_client.get(&client)?;
        let waiter = self.waiters.get_mut(&place)?;
        let before = std::mem::replace(waiter, Waiter { client, ticket, deadline });
        self.deadlines.remove(&(before.deadline, place));
        self.deadlines.insert((deadline, place));
        self.by_ticket.remove(&before.ticket);
        self.by_ticket.insert(ticket, place);
        self.check();
        Some(before.ticket)
    }

    /// A client that does not wait yet goes to the end of its subnet's line.
    pub(super) fn push(&mut self, client: Client, ticket: Ticket, deadline: Instant) {
        let place = Place { subnet: client.subnet(), arrival: self.arrivals };
        self.arrivals += 1;
        self.waiters.insert(place, Waiter { client, ticket, deadline });
        self.by_client.insert(client, place);
        self.by_ticket.insert(ticket, place);
        self.deadlines.insert((deadline, place));
        self.check();
    }

    /// Takes out whoever's turn it is: the first in line of the subnet after the one served last.
    pub(super) fn pop_next(&mut self) -> Option<(Client, Ticket)> {
        let after = self.served.map_or(0, |place| place.subnet.saturating_add(1));
        let from = Place { subnet: after, arrival: 0 };
        let place = self
            .waiters
            .range(from..)
            .next()
            .or_else(|| self.waiters.first_key_value())
            .map(|(place, _)| *place)?;
        self.served = Some(place);
        self.take_out(place).map(|waiter| (waiter.client, waiter.ticket))
    }

    /// Takes out one that has waited until `now` in vain.
    pub(super) fn pop_late(&mut self, now: Instant) -> Option<Ticket> {
        let (_, place) = *self.deadlines.first().filter(|(deadline, _)| *deadline <= now)?;
        self.take_out(place).map(|waiter| waiter.ticket)
    }

    /// Takes out the request with this ticket, if it waits.
    pub(super) fn cancel(&mut self, ticket: Ticket) {
        if let Some(place) = self.by_ticket.get(&ticket).copied() {
            self.take_out(place);
        }
    }

    fn take_out(&mut self, place: Place) -> Option<Waiter> {
        let waiter = self.waiters.remove(&place)?;
        self.by_client.remove(&waiter.client);
        self.by_ticket.remove(&waiter.ticket);
        self.deadlines.remove(&(waiter.deadline, place));
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
