//! The SNMP client: asks phones who is logged in, and of which kind they are.
//!
//! Decides which phone to ask, how, when again, and which answers to trust: only those from the
//! address and port that were asked, with the number and the community of the question. Sends
//! nothing, and has no socket.
//!
//! ```text
//! 0 s   one datagram: the first community, version 2c, all objects (or what was right last time)
//! 1 s   every community in both versions; or only the one that the phone has answered to
//! 2 s   the same again
//! 3 s   given up
//! ```

mod phone_identity;
mod query;

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, DefaultHasher, Hash, Hasher, RandomState};
use std::net::{IpAddr, SocketAddr};

pub use phone_identity::{IdentityError, PhoneIdentity, TEXT_CHARS_MAX};

use crate::metrics::Counters;
use crate::session::timer::{Deadline, Timers};
use crate::settings::snmp::SnmpPolicy;
use query::{Attempt, Query, ReplyOutcome, agent, canonical};
use vendor::objects::ObjectId;
use wire::snmp::{Community, Version, parse_reply, write_get};
use wire::time::{Duration, Instant};

/// The time between two rounds of sending.
pub const ROUND: Duration = Duration::from_secs(1);
/// Rounds of sending; after one more round's time the phone counts as silent.
pub const ROUNDS_MAX: u32 = 3;
/// How long a phone without a useful answer is not asked again. Short, because it may have been
/// plugged in, logged in or allowed SNMP in the meantime.
pub const TROUBLE_BELIEVED: Duration = Duration::from_secs(5);
/// Phones asked at a time per worker; one more is refused.
pub const QUERIES_MAX: usize = 16_384;
/// Phones remembered per worker; one more evicts the oldest.
pub const KNOWN_MAX: usize = 32_768;
/// The time between two datagrams in a burst: 16,000 a second, because no receive buffer could hold
/// the answers of thousands of phones in one moment.
const SEND_GAP: Duration = Duration::from_micros(62);
/// How far sending may be ahead of that: 32 datagrams.
const SEND_AHEAD: Duration = Duration::from_millis(2);
/// How long nothing is sent after the kernel refused a datagram.
const BLOCKED_WAIT: Duration = Duration::from_millis(1);

const _: () = assert!(KNOWN_MAX >= QUERIES_MAX);

/// What is known about a phone at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IdentityLookup {
    /// It was asked a moment ago, or cannot be asked.
    Known(Result<PhoneIdentity, IdentityError>),
    /// [`SnmpClient::poll_answer`] will return it, within `ROUND * ROUNDS_MAX`.
    Pending,
}

/// The community and version that a phone answers to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentProfile {
    /// The community.
    pub community: Community,
    /// The version.
    pub version: Version,
}

/// A phone's answer, and how it was asked.
#[derive(Debug)]
struct Known {
    identity: Result<PhoneIdentity, IdentityError>,
    manner: Option<AgentProfile>,
    noted: Instant,
    believed_until: Instant,
}

/// The questions of one worker.
#[derive(Debug)]
pub struct SnmpClient {
    seed: u64,
    ids: u64,
    open: HashMap<SocketAddr, Query>,
    known: HashMap<SocketAddr, Known>,
    /// In the order in which they became known. An entry is obsolete if its time is not that of the
    /// phone's newest.
    known_order: VecDeque<(SocketAddr, Instant)>,
    timers: Timers<SocketAddr>,
    sends: VecDeque<(SocketAddr, usize)>,
    /// The virtual clock of sending; see [`SEND_GAP`].
    sent_until: Instant,
    lent: Option<(SocketAddr, usize)>,
    datagram: Vec<u8>,
    objects: Vec<ObjectId>,
    answers: VecDeque<(IpAddr, Result<PhoneIdentity, IdentityError>)>,
}

impl Default for SnmpClient {
    /// Question numbers that cannot be guessed.
    fn default() -> Self {
        SnmpClient::seeded(RandomState::new().build_hasher().finish())
    }
}

impl SnmpClient {
    /// Makes a client whose question numbers come from `seed`, which must not be known on the
    /// network.
    #[must_use]
    pub fn seeded(seed: u64) -> SnmpClient {
        SnmpClient {
            seed,
            ids: 0,
            open: HashMap::new(),
            known: HashMap::new(),
            known_order: VecDeque::new(),
            timers: Timers::default(),
            sends: VecDeque::new(),
            sent_until: Instant::START,
            lent: None,
            datagram: Vec::new(),
            objects: Vec::new(),
            answers: VecDeque::new(),
        }
    }

    /// Asks who is at `phone`; its port does not matter. Questions about the same phone share one
    /// query.
    pub fn look_up(
        &mut self,
        phone: SocketAddr,
        policy: &SnmpPolicy,
        counters: &Counters,
        now: Instant,
    ) -> IdentityLookup {
        let agent = agent(phone, policy.port);
        if let Some(known) = self.known.get(&agent).filter(|known| now < known.believed_until) {
            counters.snmp_remembered.up();
            return IdentityLookup::Known(known.identity.clone());
        }
        if self.open.contains_key(&agent) {
            return IdentityLookup::Pending;
        }
        if self.open.len() >= QUERIES_MAX {
            counters.snmp_too_many.up();
            return IdentityLookup::Known(Err(IdentityError::TooMany));
        }
        let attempts = self.attempts(agent, policy);
        if attempts.is_empty() {
            return IdentityLookup::Known(Err(IdentityError::NoCommunity));
        }
        counters.snmp_questions.up();
        let mut deadline = Deadline::default();
        deadline.set(Some(now + ROUND), agent, &mut self.timers);
        let query = Query {
            attempts,
            rounds: 1,
            began: now,
            deadline,
            cache: policy.cache,
            trouble: IdentityError::Silent,
        };
        self.open.insert(agent, query);
        self.queue(agent);
        counters.snmp_open.set(self.open.len() as u64);
        self.check();
        IdentityLookup::Pending
    }

    /// Forgets a phone's answer, so that it is asked again, for callers that know of a possible new
    /// user.
    pub fn forget(&mut self, phone: SocketAddr, policy: &SnmpPolicy) {
        if let Some(known) = self.known.get_mut(&agent(phone, policy.port)) {
            known.believed_until = Instant::START;
        }
    }

    /// Returns how a phone was asked when it last answered.
    #[must_use]
    pub fn profile(&self, phone: SocketAddr, policy: &SnmpPolicy) -> Option<&AgentProfile> {
        self.known.get(&agent(phone, policy.port))?.manner.as_ref()
    }

    /// A datagram came to the socket from which questions are sent.
    pub fn handle_datagram(
        &mut self,
        from: SocketAddr,
        bytes: &[u8],
        counters: &Counters,
        now: Instant,
    ) {
        let agent = canonical(from);
        let Some(query) = self.open.get_mut(&agent) else { return counters.snmp_strays.up() };
        let message = match parse_reply(bytes) {
            Ok(message) => message,
            Err(_) => return counters.snmp_malformed.up(),
        };
        let answered = query.answered_by(&message);
        let attempt = answered.and_then(|place| query.attempts.get_mut(place));
        let Some(attempt) = attempt else { return counters.snmp_strays.up() };
        attempt.objects(&mut self.objects);
        let step = attempt.handle_answer(&message, &self.objects);
        let Attempt { community, version, .. } = &*attempt;
        let manner = AgentProfile { community: community.clone(), version: *version };
        match step {
            ReplyOutcome::Stray => counters.snmp_strays.up(),
            ReplyOutcome::Ask => {
                attempt.request_id = next_id(self.seed, &mut self.ids);
                self.queue(agent);
            }
            ReplyOutcome::Known(identity) => {
                counters.snmp_answers.up();
                self.end(agent, Ok(identity), Some(manner), counters, now);
            }
            ReplyOutcome::GiveUp(trouble) => {
                query.give_up(&manner.community, trouble);
                if query.is_exhausted() {
                    counters.snmp_answers.up();
                    self.end(agent, Err(trouble), None, counters, now);
                } else {
                    // The others need not wait for their round.
                    query.rounds = query.rounds.max(2);
                    self.queue(agent);
                }
            }
        }
        self.check();
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, counters: &Counters, now: Instant) {
        while let Some(agent) = self.timers.pop_due(now) {
            let Some(query) = self.open.get_mut(&agent) else { continue };
            if !query.deadline.is_due(now, agent, &mut self.timers) {
                continue;
            }
            let rounds = (now.since(query.began).as_micros() / ROUND.as_micros()) as u32 + 1;
            if rounds > ROUNDS_MAX {
                let trouble = query.trouble;
                counters.snmp_silent.up();
                self.end(agent, Err(trouble), None, counters, now);
                continue;
            }
            query.rounds = query.rounds.max(rounds);
            query.deadline.set(Some(query.began + ROUND * rounds), agent, &mut self.timers);
            self.queue(agent);
        }
        self.check();
    }

    /// Returns when to call [`SnmpClient::handle_timeout`] or [`SnmpClient::poll_send`] again.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let ahead_us = SEND_AHEAD.as_micros() as u64;
        let next = Instant::from_micros(self.sent_until.as_micros().saturating_sub(ahead_us));
        let send = (!self.sends.is_empty()).then_some(next);
        self.timers.next().into_iter().chain(send).min()
    }

    /// Returns the next datagram to send now, and its destination.
    pub fn poll_send(&mut self, counters: &Counters, now: Instant) -> Option<(SocketAddr, &[u8])> {
        loop {
            let (agent, place) = *self.sends.front()?;
            if self.sent_until.since(now) > SEND_AHEAD {
                return None;
            }
            self.sends.pop_front();
            let query = self.open.get_mut(&agent);
            let attempt = query.and_then(|query| query.attempts.get_mut(place));
            // A question that was answered while it waited need not be sent.
            let Some(attempt) = attempt.filter(|own| own.is_queued && !own.is_over) else {
                continue;
            };
            attempt.is_queued = false;
            attempt.objects(&mut self.objects);
            let (version, id) = (attempt.version, attempt.request_id);
            let written =
                write_get(version, &attempt.community, id, &self.objects, &mut self.datagram);
            if written.is_err() {
                attempt.is_over = true;
                continue;
            }
            counters.snmp_requests_sent.up();
            self.sent_until = self.sent_until.max(now) + SEND_GAP;
            self.lent = Some((agent, place));
            return Some((agent, &self.datagram));
        }
    }

    /// The kernel refused the last lent datagram: it will be lent again.
    pub fn handle_blocked(&mut self, now: Instant) {
        let Some((agent, place)) = self.lent.take() else { return };
        let query = self.open.get_mut(&agent);
        let Some(attempt) = query.and_then(|query| query.attempts.get_mut(place)) else { return };
        if !attempt.is_queued {
            attempt.is_queued = true;
            self.sends.push_front((agent, place));
        }
        self.sent_until = now + SEND_AHEAD + BLOCKED_WAIT;
    }

    /// Returns the next phone with an answer, for all who asked.
    pub fn poll_answer(&mut self) -> Option<(IpAddr, Result<PhoneIdentity, IdentityError>)> {
        self.answers.pop_front()
    }

    /// Returns each community in version 2c, then 1; first the combination that worked last time.
    fn attempts(&mut self, agent: SocketAddr, policy: &SnmpPolicy) -> Vec<Attempt> {
        let mut attempts = Vec::new();
        for community in policy.communities_for(agent.ip()) {
            for version in [Version::V2c, Version::V1] {
                let id = next_id(self.seed, &mut self.ids);
                attempts.push(Attempt::new(community.clone(), version, id));
            }
        }
        let manner = self.known.get(&agent).and_then(|known| known.manner.as_ref());
        let is_right = |attempt: &Attempt| {
            manner.is_some_and(|right| {
                right.version == attempt.version && right.community == attempt.community
            })
        };
        attempts.sort_by_key(|attempt| !is_right(attempt));
        attempts
    }

    /// Queues everything of a phone's round that is not queued already.
    fn queue(&mut self, agent: SocketAddr) {
        let Some(query) = self.open.get_mut(&agent) else { return };
        let places: Vec<usize> = query.to_send().collect();
        for place in places {
            let Some(attempt) = query.attempts.get_mut(place) else { continue };
            if !attempt.is_queued {
                attempt.is_queued = true;
                self.sends.push_back((agent, place));
            }
        }
    }

    fn end(
        &mut self,
        agent: SocketAddr,
        identity: Result<PhoneIdentity, IdentityError>,
        manner: Option<AgentProfile>,
        counters: &Counters,
        now: Instant,
    ) {
        let Some(query) = self.open.remove(&agent) else { return };
        counters.snmp_open.set(self.open.len() as u64);
        let believed = match &identity {
            Ok(identity) if identity.extension.is_some() => query.cache,
            // A user may log in soon.
            Ok(_) => query.cache.min(TROUBLE_BELIEVED),
            Err(_) => TROUBLE_BELIEVED,
        };
        self.answers.push_back((agent.ip(), identity.clone()));
        let known = Known { identity, manner, noted: now, believed_until: now + believed };
        self.known.insert(agent, known);
        self.known_order.push_back((agent, now));
        while self.known_order.len() > KNOWN_MAX {
            let Some((oldest, noted)) = self.known_order.pop_front() else { break };
            if self.known.get(&oldest).is_some_and(|known| known.noted == noted) {
                self.known.remove(&oldest);
            }
        }
    }

    fn check(&self) {
        debug_assert!(self.open.len() <= QUERIES_MAX);
        debug_assert!(self.known.len() <= self.known_order.len());
        debug_assert!(self.known_order.len() <= KNOWN_MAX);
        debug_assert!(self.open.is_empty() || self.timers.next().is_some());
    }
}

/// Returns a number of 31 bits that cannot be guessed from earlier ones.
fn next_id(seed: u64, ids: &mut u64) -> i32 {
    *ids += 1;
    let mut hasher = DefaultHasher::new();
    (seed, *ids).hash(&mut hasher);
    (hasher.finish() >> 33) as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_phones_than_the_limit_are_told_so_and_forgotten_ones_are_the_oldest() {
        let (mut queries, counters) = (SnmpClient::seeded(1), Counters::default());
        let policy = SnmpPolicy::default();
        let ask = |queries: &mut SnmpClient, number: usize, ms: u64| {
            let phone = SocketAddr::new((0x0a00_0000 + number as u32).to_be_bytes().into(), 21);
            queries.look_up(phone, &policy, &counters, Instant::from_millis(ms))
        };
        for number in 0..QUERIES_MAX {
            assert_eq!(ask(&mut queries, number, 0), IdentityLookup::Pending);
        }
        assert_eq!(
            ask(&mut queries, QUERIES_MAX, 0),
            IdentityLookup::Known(Err(IdentityError::TooMany))
        );
        assert_eq!(ask(&mut queries, 0, 0), IdentityLookup::Pending);
        assert_eq!(counters.snmp_too_many.value(), 1);
        for round in 0..3 {
            queries.handle_timeout(&counters, Instant::from_millis(3_000 + 10_000 * round));
            while queries.poll_answer().is_some() {}
            assert!(queries.known.len() <= KNOWN_MAX);
            assert!(queries.sends.len() <= 4 * QUERIES_MAX);
            for number in 0..QUERIES_MAX {
                let number = number + round as usize * QUERIES_MAX;
                assert_eq!(
                    ask(&mut queries, number, 9_000 + 10_000 * round),
                    IdentityLookup::Pending
                );
            }
        }
    }

    #[test]
    fn numbers_of_questions_do_not_follow_from_each_other() {
        let mut count = 0;
        let mut ids: Vec<i32> = (0..1_000).map(|_| next_id(1, &mut count)).collect();
        assert!(ids.iter().all(|id| *id >= 0));
        let steps: Vec<i32> = ids.windows(2).map(|pair| pair[1].wrapping_sub(pair[0])).collect();
        assert!(steps.windows(2).all(|pair| pair[0] != pair[1]));
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), 1_000);
        assert_ne!(next_id(1, &mut 0), next_id(2, &mut 0));
    }
}
