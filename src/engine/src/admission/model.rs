//! The promises of session control, slow and obvious, to be compared with [`super::slots`].
//!
//! Never part of a running server. Unit tests and the fuzz target drive both with the same
//! operations and stop at the first difference.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use super::slots::{Admitted, HOLD_MIN, Overflow, SharedSlots, SlotLimits, Slots};
use crate::ticket::Ticket;
use wire::time::{Duration, Instant};

const WORKERS: usize = 3;
/// Few enough that each comes back often.
const CLIENTS: u8 = 24;

#[derive(Clone, Copy)]
struct Holder {
    running: u32,
    heard_at: Instant,
}

#[derive(Clone, Copy)]
struct Request {
    client: u8,
    ticket: Ticket,
    deadline: Instant,
}

struct World {
    workers: [Slots; WORKERS],
    limits: SlotLimits,
    now: Instant,
    tickets: u64,
    holders: BTreeMap<u8, Holder>,
    waiting: Vec<Request>,
    /// Tickets that the next polls must name as expired.
    late: BTreeSet<u64>,
}

/// Runs operations, two bytes each, and compares with the model after every one. Unit tests and
/// the fuzz target both call it.
///
/// # Panics
/// If session control breaks a promise.
#[doc(hidden)]
pub fn check_operations(operations: &[u8]) {
    let shared = Arc::new(SharedSlots::new(WORKERS));
    let mut world = World {
        workers: std::array::from_fn(|worker| Slots::new(worker, shared.clone())),
        limits: SlotLimits::default(),
        now: Instant::START,
        tickets: 0,
        holders: BTreeMap::new(),
        waiting: Vec::new(),
        late: BTreeSet::new(),
    };
    world.change_limits(2);
    for operation in operations.chunks_exact(2) {
        world.operate(operation[0], operation[1]);
        world.poll();
        world.compare(&shared);
    }
}

impl World {
    fn operate(&mut self, operation: u8, value: u8) {
        let client = value % CLIENTS;
        match operation % 8 {
            0..=2 => self.ask(client),
            3 => self.begin(client),
            4 => self.end(client),
            5 => self.cancel(value),
            6 => {
                self.now = self.now + Duration::from_millis(u64::from(value) * u64::from(value));
                self.expire_by_time();
            }
            _ => self.change_limits(value),
        }
    }

    fn ask(&mut self, client: u8) {
        self.tickets += 1;
        let (ticket, worker) = (Ticket::made_up(self.tickets), usize::from(client) % WORKERS);
        let answer = self.workers[worker].admit(address(client), ticket, &self.limits, self.now);
        if self.limits.clients_max == 0 {
            assert_eq!(answer, Admitted::Yes);
            return;
        }
        let deadline = self.now + self.limits.queue_wait;
        let waiting = self.waiting.iter_mut().find(|request| request.client == client);
        if let Some(holder) = self.holders.get_mut(&client) {
            assert_eq!(answer, Admitted::Yes, "a client that has begun keeps its place");
            holder.heard_at = self.now;
        } else if let Some(request) = waiting {
            assert_eq!(answer, Admitted::Waiting);
            self.late.insert(request.ticket.number());
            *request = Request { client, ticket, deadline };
        } else {
            match answer {
                Admitted::Yes => self.hold(client),
                Admitted::Waiting => {
                    assert_eq!(self.limits.overflow, Overflow::Queue);
                    self.waiting.push(Request { client, ticket, deadline });
                }
                Admitted::No(why) => {
                    assert!(why == self.limits.overflow && why != Overflow::Queue);
                }
            }
        }
    }

    fn hold(&mut self, client: u8) {
        if let Some(holder) = self.holders.get_mut(&client) {
            holder.heard_at = self.now;
            return;
        }
        assert!(self.holders.len() < self.limits.clients_max, "more slots than there are");
        self.holders.insert(client, Holder { running: 0, heard_at: self.now });
    }

    fn begin(&mut self, client: u8) {
        self.workers[usize::from(client) % WORKERS].begin(address(client));
        if self.limits.clients_max > 0 {
            let fresh = Holder { running: 0, heard_at: Instant::START };
            self.holders.entry(client).or_insert(fresh).running += 1;
        }
    }

    fn end(&mut self, client: u8) {
        self.workers[usize::from(client) % WORKERS].end(address(client), self.now);
        if let Some(holder) = self.holders.get_mut(&client)
            && holder.running > 0
        {
            *holder = Holder { running: holder.running - 1, heard_at: self.now };
        }
    }

    fn cancel(&mut self, value: u8) {
        if self.waiting.is_empty() {
            return;
        }
        let request = self.waiting.remove(usize::from(value) % self.waiting.len());
        self.workers[usize::from(request.client) % WORKERS].cancel(request.ticket);
    }

    fn change_limits(&mut self, value: u8) {
        self.limits = SlotLimits {
            clients_max: [0, 1, 4, 9][usize::from(value % 4)],
            hold: Duration::from_secs(u64::from(value / 4 % 4) * 5),
            overflow: [Overflow::Queue, Overflow::Queue, Overflow::Refuse, Overflow::Drop]
                [usize::from(value / 16 % 4)],
            queue_wait: Duration::from_millis(1_500 * u64::from(1 + value / 64)),
        };
        for worker in &mut self.workers {
            worker.adopt(&self.limits);
        }
        if self.limits.clients_max == 0 {
            self.holders.clear();
        }
        self.expire_by_time();
    }

    /// What changes by time alone.
    fn expire_by_time(&mut self) {
        let (now, hold) = (self.now, self.limits.hold.max(HOLD_MIN));
        self.holders.retain(|_, holder| holder.running > 0 || holder.heard_at + hold > now);
        let (late, waiting) =
            std::mem::take(&mut self.waiting).into_iter().partition(|one| one.deadline <= now);
        self.waiting = waiting;
        self.late.extend(Vec::into_iter(late).map(|request: Request| request.ticket.number()));
    }

    /// Polls all workers until none returns anything.
    fn poll(&mut self) {
        let mut said_something = true;
        // Holds that ended in one worker free slots for workers that were polled before it.
        for worker in &mut self.workers {
            while let Some(ticket) = worker.poll_expired(self.now) {
                assert!(self.late.remove(&ticket.number()), "{ticket:?} expired for no reason");
            }
        }
        while said_something {
            said_something = false;
            for worker in 0..WORKERS {
                while let Some(ticket) = self.workers[worker].poll_granted(self.now) {
                    said_something = true;
                    let index = self.waiting.iter().position(|request| request.ticket == ticket);
                    let request = index.map(|index| self.waiting.remove(index));
                    assert!(request.is_some(), "{ticket:?} was granted and does not wait");
                    if let Some(request) = request.filter(|_| self.limits.clients_max > 0) {
                        self.hold(request.client);
                    }
                }
            }
        }
    }

    fn compare(&self, shared: &SharedSlots) {
        let used = shared.used.load(std::sync::atomic::Ordering::Relaxed);
        assert_eq!(used, self.holders.len());
        assert!(self.late.is_empty(), "requests that waited in vain did not expire");
        let waiting: usize = self.workers.iter().map(Slots::waiting).sum();
        assert_eq!(waiting, self.waiting.len());
        let is_free = self.limits.clients_max == 0 || used < self.limits.clients_max;
        assert!(!is_free || waiting == 0, "a request waits while a slot is free");
        for worker in &self.workers {
            let timeout = worker.poll_timeout();
            assert!(timeout.is_some() || worker.waiting() == 0, "a queue without a timer");
            assert!(timeout.is_none_or(|moment| moment > self.now), "a timer that fires at once");
        }
    }
}

/// Three subnets of each family, and both spellings of IPv4.
fn address(client: u8) -> IpAddr {
    match client % 3 {
        0 => Ipv4Addr::new(10, 0, client / 9, client).into(),
        1 => Ipv4Addr::new(10, 1, client / 9, client).to_ipv6_mapped().into(),
        _ => Ipv6Addr::new(0xfd00, 0, 0, u16::from(client / 9), 0, 0, 0, client.into()).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_operations_keep_every_promise() {
        for seed in 0..400_u64 {
            let mut random = fastrand::Rng::with_seed(seed);
            let operations: Vec<u8> = (0..2_000).map(|_| random.u8(..)).collect();
            check_operations(&operations);
        }
    }
}
