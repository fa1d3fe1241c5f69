//! The clients that session control knows: those that have a place, and those that have begun and
//! are idle.
//!
//! Keeps the books only; [`super::slots`] decides who gets a place. Forgets a client whose address
//! may be forged as soon as nothing of it runs.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::queue::{Client, Known};
use super::slots::{Address, IdlePlace, SlotLimits};
use wire::time::{Duration, Instant};

/// How long a place that was granted waits for its transfer to begin.
pub const BEGIN_MAX: Duration = Duration::from_secs(1);
/// How long a place counts whose client has not answered yet, or answers no more. The transfer goes
/// on, and has a place again as soon as the client answers.
pub const SILENCE_MAX: Duration = Duration::from_millis(400);
/// Idle clients of one worker that go before others with `idle_place = "lend"`; beyond that the one
/// that is idle longest is forgotten.
pub const PRECEDENCE_MAX: usize = 65_536;

/// What a client waits for until its state changes by time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Timer {
    /// It was granted a place, and no transfer has begun.
    Begin,
    /// It has a place and is silent.
    Silence,
    /// It is idle.
    Hold,
}

const TIMERS: usize = 3;

#[derive(Clone, Copy, Debug)]
struct Session {
    /// Its rank among those that have begun.
    rank: u64,
    /// Transfers that run.
    running: u32,
    /// Those of them whose client does not answer.
    silent: u32,
    has_place: bool,
    /// It was granted a place, and no transfer has begun since.
    is_granted: bool,
    /// Whether its address is its own.
    is_proven: bool,
    /// Its last request, or the end of its last transfer.
    heard_at: Instant,
    /// Since when none of its transfers is answered.
    silent_at: Instant,
}

impl Session {
    fn timer(&self) -> Option<(Timer, Instant)> {
        if self.running == 0 {
            let timer = if self.is_granted { Timer::Begin } else { Timer::Hold };
            return Some((timer, self.heard_at));
        }
        let is_silent = self.has_place && self.silent == self.running;
        is_silent.then_some((Timer::Silence, self.silent_at))
    }

    fn has_lent(&self) -> bool {
        self.running == 0 && !self.has_place && self.is_proven
    }

    fn is_over(&self) -> bool {
        self.running == 0 && !self.has_place && !self.is_proven
    }

    fn stop_one(&mut self, was_silent: bool, now: Instant) {
        let was_all_silent = self.silent == self.running;
        self.running -= 1;
        self.silent = self.silent.saturating_sub(u32::from(was_silent)).min(self.running);
        if !was_all_silent {
            self.silent_at = now;
        }
        self.heard_at = now;
    }
}

/// The clients of one worker.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    rows: HashMap<Client, Session>,
    timers: [BTreeSet<(Instant, Client)>; TIMERS],
    places: usize,
    lent: usize,
}

impl Sessions {
    /// Returns how many have a place.
    pub(super) fn places(&self) -> usize {
        self.places
    }

    /// Returns how many have a place and are silent.
    pub(super) fn silent(&self) -> usize {
        self.timers[Timer::Silence as usize].len()
    }

    /// Returns how many have begun, are idle, and have no place.
    pub(super) fn lent(&self) -> usize {
        self.lent
    }

    /// Forgets all.
    pub(super) fn clear(&mut self) {
        *self = Sessions::default();
    }

    /// A client asks. Returns whether it has a place, and what is known of it.
    pub(super) fn renew(
        &mut self,
        client: Client,
        address: Address,
        now: Instant,
    ) -> (bool, Known) {
        let is_proven = address == Address::Proven;
        self.change(client, |session| {
            session.heard_at = now;
            session.is_proven |= is_proven;
        });
        let session = self.rows.get(&client);
        let known = match session {
            Some(session) if session.is_proven => Known::Begun(session.rank),
            Some(_) | None if is_proven => Known::Proven,
            Some(_) | None => Known::Nothing,
        };
        (session.is_some_and(|session| session.has_place), known)
    }

    /// Gives a place to a client.
    pub(super) fn grant(&mut self, client: Client, ranks: &AtomicU64, now: Instant) {
        self.enter(client, ranks, now);
        self.change(client, |session| {
            session.has_place = true;
            session.is_granted = session.running == 0;
            (session.heard_at, session.silent_at) = (now, now);
        });
    }

    /// A transfer begins. A client without a place gets one.
    pub(super) fn begin(&mut self, client: Client, address: Address, ranks: &AtomicU64) {
        self.enter(client, ranks, Instant::START);
        self.change(client, |session| {
            session.has_place = true;
            session.is_granted = false;
            session.is_proven |= address == Address::Proven;
            session.running += 1;
        });
    }

    fn enter(&mut self, client: Client, ranks: &AtomicU64, now: Instant) {
        if self.rows.contains_key(&client) {
            return;
        }
        let session = Session {
            rank: ranks.fetch_add(1, Relaxed),
            running: 0,
            silent: 0,
            has_place: false,
            is_granted: false,
            is_proven: false,
            heard_at: now,
            silent_at: now,
        };
        self.timers[Timer::Hold as usize].insert((now, client));
        self.rows.insert(client, session);
    }

    /// One of its transfers is not answered: not yet, or no more.
    pub(super) fn fall_silent(&mut self, client: Client, now: Instant) {
        self.change(client, |session| {
            session.silent = (session.silent + 1).min(session.running);
            session.silent_at = now;
        });
    }

    /// A silent transfer is answered. Its client has a place again.
    pub(super) fn answer(&mut self, client: Client) {
        self.change(client, |session| {
            session.silent = session.silent.saturating_sub(1);
            if session.running > 0 {
                session.is_proven = true;
                session.has_place = true;
            }
        });
    }

    /// A transfer has ended. Ignored if none runs.
    pub(super) fn end(
        &mut self,
        client: Client,
        was_silent: bool,
        idle_place: IdlePlace,
        now: Instant,
    ) {
        self.change(client, |session| {
            if session.running == 0 {
                return;
            }
            session.stop_one(was_silent, now);
            if session.running == 0 {
                session.has_place &= idle_place == IdlePlace::Keep && session.is_proven;
            }
        });
    }

    /// Takes the places of those that are idle.
    pub(super) fn take_idle_places(&mut self) {
        let idle = self.timers[Timer::Hold as usize].iter().map(|(_, client)| *client);
        for client in idle.collect::<Vec<Client>>() {
            self.change(client, |session| session.has_place = false);
        }
    }

    /// Takes places and forgets clients whose time is over.
    pub(super) fn expire(&mut self, limits: &SlotLimits, now: Instant) {
        while let Some(client) = self.due(Timer::Begin, begin_max(limits), now) {
            let keeps = limits.idle_place == IdlePlace::Keep;
            self.change(client, |session| {
                session.is_granted = false;
                // With a hold that is longer than this, it is over at once.
                session.has_place &= keeps && session.is_proven;
            });
        }
        while let Some(client) = self.due(Timer::Silence, SILENCE_MAX, now) {
            self.change(client, |session| session.has_place = false);
        }
        while let Some(client) = self.due(Timer::Hold, limits.hold, now) {
            self.forget(client);
        }
        while limits.idle_place == IdlePlace::Lend
            && self.timers[Timer::Hold as usize].len() > PRECEDENCE_MAX
        {
            let Some((_, client)) = self.timers[Timer::Hold as usize].first().copied() else {
                break;
            };
            self.forget(client);
        }
    }

    fn due(&self, timer: Timer, after: Duration, now: Instant) -> Option<Client> {
        let first = self.timers[timer as usize].first();
        first.filter(|(since, _)| *since + after <= now).map(|(_, client)| *client)
    }

    /// Returns when a place will be free by time alone.
    pub(super) fn next_expiry(&self, limits: &SlotLimits) -> Option<Instant> {
        let first = |timer: Timer, after| {
            self.timers[timer as usize].first().map(|(since, _)| *since + after)
        };
        let hold = match limits.idle_place {
            IdlePlace::Keep => first(Timer::Hold, limits.hold),
            IdlePlace::Lend => None,
        };
        let begin = first(Timer::Begin, begin_max(limits));
        [begin, first(Timer::Silence, SILENCE_MAX), hold].into_iter().flatten().min()
    }

    fn forget(&mut self, client: Client) {
        self.change(client, |session| (session.has_place, session.is_proven) = (false, false));
    }

    /// Changes a client's row and brings its timer up to date; removes it if nothing of it is left.
    fn change(&mut self, client: Client, change: impl FnOnce(&mut Session)) {
        let Some(session) = self.rows.get_mut(&client) else { return };
        let (timer_before, had_place) = (session.timer(), session.has_place);
        let had_lent = session.has_lent();
        change(session);
        let is_over = session.is_over();
        let timer = session.timer().filter(|_| !is_over);
        self.places = self.places + usize::from(session.has_place) - usize::from(had_place);
        self.lent = self.lent + usize::from(session.has_lent()) - usize::from(had_lent);
        if is_over {
            self.rows.remove(&client);
        }
        if timer_before != timer {
            if let Some((timer, since)) = timer_before {
                self.timers[timer as usize].remove(&(since, client));
            }
            if let Some((timer, since)) = timer {
                self.timers[timer as usize].insert((since, client));
            }
        }
        self.check();
    }

    fn check(&self) {
        debug_assert!(self.places + self.lent <= self.rows.len());
        debug_assert!(self.timers.iter().map(BTreeSet::len).sum::<usize>() <= self.rows.len());
    }
}

/// Returns how long a granted place waits: with kept places at least as long as an idle one.
fn begin_max(limits: &SlotLimits) -> Duration {
    match limits.idle_place {
        IdlePlace::Lend => BEGIN_MAX,
        IdlePlace::Keep => BEGIN_MAX.max(limits.hold),
    }
}
