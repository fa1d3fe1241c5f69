//! The promises of session control, slow and obvious, to be compared with [`super::slots`].
//!
//! Never part of a running server. Unit tests and the fuzz target drive both with the same
//! operations and stop at the first difference.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use super::sessions::{BEGIN_MAX, SILENCE_MAX};
use super::slots::{Address, Admitted, IdlePlace, Overflow, SharedSlots, SlotLimits, Slots};
use crate::ticket::Ticket;
use wire::time::{Duration, Instant};

const WORKERS: usize = 3;
/// Few enough that each comes back often.
const CLIENTS: u8 = 24;

/// A client that has begun, or was granted a place.
#[derive(Clone, Debug)]
struct Session {
    /// Its transfers, and whether each is silent.
    transfers: Vec<bool>,
    has_place: bool,
    is_granted: bool,
    is_proven: bool,
    heard_at: Instant,
    silent_at: Instant,
}

#[derive(Clone, Copy, Debug)]
struct Request {
    client: u8,
    ticket: Ticket,
    deadline: Instant,
    had_begun: bool,
}

struct World {
    workers: [Slots; WORKERS],
    limits: SlotLimits,
    now: Instant,
    tickets: u64,
    sessions: BTreeMap<u8, Session>,
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
        sessions: BTreeMap::new(),
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
        match operation % 12 {
            0..=2 => self.ask(client, Address::Claimed),
            3 => self.ask(client, Address::Proven),
            4 => self.begin(client, Address::Claimed),
            5 => self.begin(client, Address::Proven),
            6 => self.end(client, value / CLIENTS),
            7 => self.fall_silent(client),
            8 => self.answer(client),
            9 => self.cancel(value),
            10 => {
                self.now = self.now + Duration::from_millis(u64::from(value) * u64::from(value));
                self.expire_by_time();
            }
            _ => self.change_limits(value),
        }
    }

    fn worker(&mut self, client: u8) -> &mut Slots {
        &mut self.workers[usize::from(client) % WORKERS]
    }

    fn used(&self) -> usize {
        self.sessions.values().filter(|session| session.has_place).count()
    }

    fn has_begun(&self, client: u8) -> bool {
        self.sessions.get(&client).is_some_and(|session| session.is_proven)
    }

    fn ask(&mut self, client: u8, address: Address) {
        self.tickets += 1;
        let (ticket, limits, now) = (Ticket::made_up(self.tickets), self.limits, self.now);
        let answer = self.worker(client).admit(ip(client), address, ticket, &limits, now);
        if limits.clients_max == 0 {
            assert_eq!(answer, Admitted::Yes);
            return;
        }
        let is_proven = address == Address::Proven;
        if let Some(session) = self.sessions.get_mut(&client) {
            session.heard_at = now;
            session.is_proven |= is_proven;
        }
        let had_begun = self.has_begun(client);
        let deadline = now + limits.queue_wait;
        let waiting = self.waiting.iter_mut().find(|request| request.client == client);
        if self.sessions.get(&client).is_some_and(|session| session.has_place) {
            assert_eq!(answer, Admitted::Yes, "a client that is being served goes on");
        } else if let Some(request) = waiting {
            assert_eq!(answer, Admitted::Waiting);
            self.late.insert(request.ticket.number());
            let had_begun = request.had_begun || had_begun;
            *request = Request { client, ticket, deadline, had_begun };
        } else {
            match answer {
                Admitted::Yes => self.grant(client, is_proven || had_begun),
                Admitted::Waiting => {
                    assert_eq!(limits.overflow, Overflow::Queue);
                    self.waiting.push(Request { client, ticket, deadline, had_begun });
                }
                Admitted::No(why) => {
                    assert!(why == limits.overflow && why != Overflow::Queue);
                }
            }
        }
    }

    fn grant(&mut self, client: u8, is_proven: bool) {
        let now = self.now;
        let is_silent = |session: &&Session| {
            session.has_place
                && !session.transfers.is_empty()
                && session.transfers.iter().all(|silent| *silent)
        };
        // Whom nothing but silence keeps from being served is served, where nobody waits.
        let silent = match self.limits.overflow {
            Overflow::Refuse | Overflow::Drop if is_proven => {
                self.sessions.values().filter(is_silent).count()
            }
            Overflow::Queue | Overflow::Refuse | Overflow::Drop => 0,
        };
        let has_place = self.sessions.get(&client).is_some_and(|session| session.has_place);
        let has_room = self.used() < self.limits.clients_max + silent;
        assert!(has_place || has_room, "more places than there are");
        let session = self.enter(client);
        session.has_place = true;
        session.is_granted = session.transfers.is_empty();
        (session.heard_at, session.silent_at) = (now, now);
    }

    fn enter(&mut self, client: u8) -> &mut Session {
        self.sessions.entry(client).or_insert(Session {
            transfers: Vec::new(),
            has_place: false,
            is_granted: false,
            is_proven: false,
            heard_at: self.now,
            silent_at: self.now,
        })
    }

    fn begin(&mut self, client: u8, address: Address) {
        self.worker(client).begin(ip(client), address);
        if self.limits.clients_max > 0 {
            let session = self.enter(client);
            session.transfers.push(false);
            session.is_proven |= address == Address::Proven;
            (session.has_place, session.is_granted) = (true, false);
        }
    }

    fn end(&mut self, client: u8, which: u8) {
        let (now, keeps) = (self.now, self.limits.idle_place == IdlePlace::Keep);
        let session = self.sessions.get_mut(&client).filter(|row| !row.transfers.is_empty());
        let Some(session) = session else {
            return self.worker(client).end(ip(client), false, now);
        };
        let were_silent = session.transfers.iter().all(|silent| *silent);
        let transfer = usize::from(which) % session.transfers.len();
        let was_silent = session.transfers.remove(transfer);
        session.heard_at = now;
        if !were_silent {
            session.silent_at = now;
        }
        if session.transfers.is_empty() {
            session.has_place &= keeps && session.is_proven;
        }
        self.worker(client).end(ip(client), was_silent, now);
        self.expire_by_time();
    }

    fn fall_silent(&mut self, client: u8) {
        let now = self.now;
        let Some(session) = self.sessions.get_mut(&client) else { return };
        let Some(transfer) = session.transfers.iter_mut().find(|silent| !**silent) else { return };
        *transfer = true;
        session.silent_at = now;
        self.worker(client).fall_silent(ip(client), now);
    }

    fn answer(&mut self, client: u8) {
        let Some(session) = self.sessions.get_mut(&client) else { return };
        let Some(transfer) = session.transfers.iter_mut().find(|silent| **silent) else { return };
        *transfer = false;
        (session.has_place, session.is_proven) = (true, true);
        self.worker(client).answer(ip(client));
    }

    fn cancel(&mut self, value: u8) {
        if self.waiting.is_empty() {
            return;
        }
        let request = self.waiting.remove(usize::from(value) % self.waiting.len());
        self.worker(request.client).cancel(request.ticket);
    }

    fn change_limits(&mut self, value: u8) {
        self.limits = SlotLimits {
            clients_max: [0, 1, 4, 9][usize::from(value % 4)],
            hold: Duration::from_secs(u64::from(value / 4 % 4) * 5),
            idle_place: [IdlePlace::Lend, IdlePlace::Keep][usize::from(value / 128)],
            overflow: [Overflow::Queue, Overflow::Queue, Overflow::Refuse, Overflow::Drop]
                [usize::from(value / 16 % 4)],
            queue_wait: Duration::from_millis(1_500 * u64::from(1 + value / 64)),
        };
        for worker in &mut self.workers {
            worker.adopt(&self.limits);
        }
        if self.limits.clients_max == 0 {
            self.sessions.clear();
        }
        if self.limits.idle_place == IdlePlace::Lend {
            for session in self.sessions.values_mut() {
                session.has_place &= session.is_granted || !session.transfers.is_empty();
            }
        }
        self.expire_by_time();
    }

    /// What changes by time alone.
    fn expire_by_time(&mut self) {
        let (now, hold) = (self.now, self.limits.hold);
        let keeps = self.limits.idle_place == IdlePlace::Keep;
        let begin_max = if keeps { BEGIN_MAX.max(hold) } else { BEGIN_MAX };
        self.sessions.retain(|_, session| {
            if !session.transfers.is_empty() {
                let is_silent = session.transfers.iter().all(|silent| *silent);
                session.has_place &= !is_silent || session.silent_at + SILENCE_MAX > now;
                return true;
            }
            if session.is_granted {
                if session.heard_at + begin_max > now {
                    return true;
                }
                session.is_granted = false;
                session.has_place &= keeps && session.is_proven;
            }
            session.is_proven && session.heard_at + hold > now
        });
        let (late, waiting) =
            std::mem::take(&mut self.waiting).into_iter().partition(|one| one.deadline <= now);
        self.waiting = waiting;
        self.late.extend(Vec::into_iter(late).map(|request: Request| request.ticket.number()));
    }

    /// Polls all workers until none returns anything.
    fn poll(&mut self) {
        let mut said_something = true;
        // Places that come free in one worker are for those who wait in one polled before it.
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
                    self.granted(ticket);
                }
            }
        }
    }

    fn granted(&mut self, ticket: Ticket) {
        let index = self.waiting.iter().position(|request| request.ticket == ticket);
        assert!(index.is_some(), "{ticket:?} was granted and does not wait");
        let Some(request) = index.map(|index| self.waiting.remove(index)) else { return };
        if self.limits.clients_max > 0 {
            let others_have_begun = self.waiting.iter().any(|other| other.had_begun);
            let is_first = request.had_begun || !others_have_begun;
            assert!(is_first, "it goes before one that has begun: {request:?}");
            self.grant(request.client, request.had_begun);
        }
    }

    fn compare(&self, shared: &SharedSlots) {
        let used = shared.used.load(std::sync::atomic::Ordering::Relaxed);
        assert_eq!(used, self.used());
        let used_here: usize = self.workers.iter().map(Slots::used_here).sum();
        assert_eq!(used, used_here);
        let is_lent = |session: &&Session| {
            session.transfers.is_empty() && !session.has_place && session.is_proven
        };
        let lent: usize = self.workers.iter().map(Slots::lent_here).sum();
        assert_eq!(lent, self.sessions.values().filter(is_lent).count());
        assert!(self.late.is_empty(), "requests that waited in vain did not expire");
        let waiting: usize = self.workers.iter().map(Slots::waiting).sum();
        assert_eq!(waiting, self.waiting.len());
        let is_free = self.limits.clients_max == 0 || used < self.limits.clients_max;
        assert!(!is_free || waiting == 0, "a request waits while a place is free");
        for worker in &self.workers {
            let timeout = worker.poll_timeout();
            assert!(timeout.is_some() || worker.waiting() == 0, "a queue without a timer");
            assert!(timeout.is_none_or(|moment| moment > self.now), "a timer that fires at once");
        }
    }
}

/// Three subnets of each family, and both spellings of IPv4.
fn ip(client: u8) -> IpAddr {
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
