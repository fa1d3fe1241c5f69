//! Secrets that must be checked with argon2: which is checked next, and for whom.
//!
//! Equal logins are proven once. A secret whose client has left is not checked; one whose client
//! may have left is checked when nobody else waits; none is once the server stops, after those that
//! are being checked. Decides nothing about a secret itself: `auth.rs` does.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::Ordering::Relaxed;

use crossbeam_channel::{Receiver, Sender};

use super::auth::Verified;
use super::threads::{Queues, Task, Vault};
use engine::cancel::CancelToken;
use engine::requests::{StoreReply, StoreRequest};
use engine::ticket::Ticket;
use engine::vault::request::{Login, VaultError, VaultRequest};
use wire::time::Instant;

/// Threads that check secrets: at most so many cores are busy with it.
pub(crate) const SECRETS_THREADS: usize = 2;
/// Requests request secrets wait to be checked; one more is refused.
pub(crate) const SECRETS_MAX: usize = 4_096;
/// Logins that wait for an equal one that is being checked; one more is refused.
pub(crate) const WAITERS_MAX: usize = 65_536;

/// A secret that must be checked.
pub(crate) struct NeedsHash {
    pub(super) worker: usize,
    pub(super) ticket: Ticket,
    pub(super) request: SecretRequest,
}

/// The request that carries the secret.
pub(super) enum SecretRequest {
    Request(Box<VaultRequest>),
    /// With the key that identifies it.
    Login(Box<Login>, [u8; 32]),
}

/// A requester request secret is being checked already.
#[derive(Debug)]
pub(super) struct Waiter {
    pub(super) worker: usize,
    pub(super) ticket: Ticket,
    pub(super) login: Box<Login>,
}

/// Logins that are being proven, and the other requesters that carry the same.
#[derive(Debug, Default)]
pub(super) struct Flights {
    waiting: HashMap<[u8; 32], Vec<Waiter>>,
    /// The number of all waiters, at most [`WAITERS_MAX`].
    waiters: usize,
}

/// Whether anybody waits for a secret to be checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Demand {
    /// All have left, or the server stops.
    None,
    /// All have ended their sides, as those do that have left.
    Doubtful,
    /// Somebody waits.
    Certain,
}

impl Demand {
    fn of(check: &CancelToken) -> Demand {
        if check.is_cancelled() {
            Demand::None
        } else if check.is_doubtful() {
            Demand::Doubtful
        } else {
            Demand::Certain
        }
    }
}

impl Flights {
    /// Takes the waiters of a login that has been proven or refused.
    fn take(&mut self, flight: &[u8; 32]) -> Vec<Waiter> {
        let waiting = self.waiting.remove(flight).unwrap_or_default();
        self.waiters -= waiting.len();
        waiting
    }

    /// Returns whom a login is proven for: the first, or if that has left, one who waits. Without
    /// anybody the flight ends. Those who have left are put into `gone`.
    fn asker(
        &mut self,
        first: Waiter,
        flight: &[u8; 32],
        gone: &mut Vec<Waiter>,
    ) -> Option<Waiter> {
        let here = |waiter: &Waiter| !waiter.login.cancel.is_cancelled();
        let all = std::iter::once(first).chain(self.take(flight));
        let (mut present, left): (Vec<_>, Vec<_>) = all.partition(here);
        gone.extend(left);
        if present.is_empty() {
            return None;
        }
        let asker = present.remove(0);
        self.waiters += present.len();
        self.waiting.insert(*flight, present);
        Some(asker)
    }
}

impl Vault {
    /// Has a login proven, or makes it wait for an equal one that is being proven already. Returns
    /// whether there was room.
    pub(super) fn join_flight(&self, waiter: Waiter, queues: &Queues) -> bool {
        let Some(flight) = self.authenticator.flight(&waiter.login) else { return false };
        let mut flights = self.flights.lock();
        if flights.waiting.contains_key(&flight) && flights.waiters >= WAITERS_MAX {
            return false;
        }
        if let Some(waiting) = flights.waiting.get_mut(&flight) {
            waiting.push(waiter);
            flights.waiters += 1;
            return true;
        }
        let Waiter { worker, ticket, login } = waiter;
        let request = SecretRequest::Login(login, flight);
        // Under the lock, so that the thread that proves it finds all waiters.
        let sent = queues.secrets.try_send(NeedsHash { worker, ticket, request }).is_ok();
        if sent {
            flights.waiting.insert(flight, Vec::new());
        }
        sent
    }

    /// Checks no more secrets, but for those that are being checked. The others are refused.
    pub(crate) fn stop(&self) {
        self.stopping.store(true, Relaxed);
    }

    /// Checks secrets until all senders are gone.
    pub(crate) fn run_secrets(
        &self,
        unproven: &Receiver<NeedsHash>,
        writer: &Sender<Task>,
        now: impl Fn() -> Instant,
        answer: impl Fn(usize, StoreReply),
    ) {
        let mut doubtful = VecDeque::new();
        while let Some(next) = self.next_secret(unproven, &mut doubtful) {
            let NeedsHash { worker, ticket, request } = next;
            match request {
                SecretRequest::Request(request) => {
                    let answered = self.prove_request(worker, ticket, request, writer, now());
                    answered.into_iter().for_each(|answered| answer(worker, answered));
                }
                SecretRequest::Login(login, flight) => {
                    let first = Waiter { worker, ticket, login };
                    self.prove_login(first, &flight, &now, &answer);
                }
            }
        }
    }

    /// Waits for the secret to be checked next; one that nobody may wait for comes last.
    fn next_secret(
        &self,
        unproven: &Receiver<NeedsHash>,
        doubtful: &mut VecDeque<NeedsHash>,
    ) -> Option<NeedsHash> {
        // Somebody else may carry the same meanwhile.
        let wanted = doubtful.iter().position(|one| self.demand(one) == Demand::Certain);
        if let Some(place) = wanted {
            return doubtful.remove(place);
        }
        loop {
            let next = match unproven.try_recv() {
                Ok(next) => next,
                Err(_) if !doubtful.is_empty() => return doubtful.pop_front(),
                Err(_) => unproven.recv().ok()?,
            };
            if self.demand(&next) != Demand::Doubtful || doubtful.len() >= SECRETS_MAX {
                return Some(next);
            }
            doubtful.push_back(next);
        }
    }

    fn demand(&self, secret: &NeedsHash) -> Demand {
        if self.stopping.load(Relaxed) {
            return Demand::None;
        }
        match &secret.request {
            SecretRequest::Request(request) => Demand::of(&request.check),
            SecretRequest::Login(login, flight) => {
                let flights = self.flights.lock();
                let waiting = flights.waiting.get(flight).into_iter().flatten();
                let others = waiting.map(|waiter| Demand::of(&waiter.login.cancel)).max();
                Demand::of(&login.cancel).max(others.unwrap_or(Demand::None))
            }
        }
    }

    /// Proves a request's secret, and does what it asks for or passes it on.
    fn prove_request(
        &self,
        worker: usize,
        ticket: Ticket,
        request: Box<VaultRequest>,
        writer: &Sender<Task>,
        now: Instant,
    ) -> Option<StoreReply> {
        if self.stopping.load(Relaxed) || request.check.is_cancelled() {
            return Some(self.reply(ticket, Err(VaultError::Busy)));
        }
        if let Err(denied) = self.is_in_place(&request) {
            return Some(self.reply(ticket, Err(denied)));
        }
        match self.authenticator.prove(&request, now) {
            Ok(Verified::Known) => self.go_on(worker, ticket, request, writer),
            Ok(Verified::ToPin(hash)) => {
                let task = (worker, StoreRequest::Vault { ticket, request }, Some(hash));
                let refused = writer.try_send(task).err().map(|refused| refused.into_inner());
                if let Some((_, StoreRequest::Vault { request, .. }, _)) = &refused {
                    self.authenticator.pinned(request, false);
                }
                refused.map(|_| self.reply(ticket, Err(VaultError::Busy)))
            }
            Err(denied) => Some(self.reply(ticket, Err(denied))),
        }
    }

    /// Proves a login, and answers all who carry the same.
    fn prove_login(
        &self,
        first: Waiter,
        flight: &[u8; 32],
        now: &impl Fn() -> Instant,
        answer: &impl Fn(usize, StoreReply),
    ) {
        let tell = |worker, ticket, result| answer(worker, StoreReply::Login { ticket, result });
        let mut gone = Vec::new();
        let asker = if self.stopping.load(Relaxed) {
            gone.push(first);
            gone.extend(self.flights.lock().take(flight));
            None
        } else {
            self.flights.lock().asker(first, flight, &mut gone)
        };
        for Waiter { worker, ticket, .. } in gone {
            tell(worker, ticket, Err(VaultError::Busy));
        }
        let Some(Waiter { worker, ticket, login }) = asker else { return };
        tell(worker, ticket, self.authenticator.prove_login(&login, now()));
        let waiting = self.flights.lock().take(flight);
        for Waiter { worker, ticket, login } in waiting {
            // Each request from its own address, which may have to wait.
            let result = self.authenticator.authorize_login(&login, now());
            tell(worker, ticket, result.unwrap_or(Err(VaultError::Busy)));
        }
    }
}
