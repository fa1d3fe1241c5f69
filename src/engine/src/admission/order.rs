//! Order of service: which transfers are answered at once, and which a little later.
//!
//! A server that answers everybody at once has everybody back at the very end. So only as many
//! transfers are answered at once as keep the server busy; the answers to all others are put off,
//! for less than a client waits before it asks again. Who began first is finished first, small
//! files before large ones. Decides only: it sends nothing and reads no clock.

use std::collections::BTreeMap;

use wire::time::{Duration, Instant};

/// Packets in flight that are answered at once while others wait, over all workers.
pub const AT_ONCE_DEFAULT: u32 = 256;
/// How long an answer is put off at most. Default 500 ms: half of the shortest timer of a phone.
pub const DELAY_MAX_DEFAULT: Duration = Duration::from_millis(500);
/// The longest delay that may be configured: more than twice the timer of impatient phones.
pub const DELAY_LIMIT: Duration = Duration::from_secs(2);
/// Fewest packets in flight that a worker answers at once.
const AT_ONCE_MIN: u32 = 16;
/// Answers that fall due together, in one turn, when a worker has more to do than it can: while
/// fewer do, it keeps up, and more are answered at once.
const BACKLOG_MIN: f32 = 4.0;
/// Weight of one answer in the average of how many fall due together.
const SAMPLE_WEIGHT: f32 = 1.0 / 64.0;
/// A worker that had nothing to answer for so long keeps up.
const QUIET: Duration = Duration::from_millis(2);
/// How often the number of those who are answered at once is changed at most.
const CHANGE_EVERY: Duration = Duration::from_millis(1);
/// At most so many times as many packets are answered at once as are configured.
const GROWTH_MAX: u32 = 1 << 10;
/// A client that asks again sooner than this did not wait for the answer that is put off.
const HURRY_MIN: Duration = Duration::from_millis(20);

/// In which order those are answered who ask at the same time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ServiceOrder {
    /// Who began first is finished first.
    #[default]
    Fair,
    /// Everybody is answered at once, as the packets come.
    FirstCome,
}

/// The settings of the order of service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OrderLimits {
    /// The order.
    pub order: ServiceOrder,
    /// Packets in flight that are answered at once while others wait, over all workers. Default
    /// [`AT_ONCE_DEFAULT`].
    pub at_once: u32,
    /// How long an answer is put off at most. Default [`DELAY_MAX_DEFAULT`].
    pub delay_max: Duration,
}

impl Default for OrderLimits {
    fn default() -> Self {
        OrderLimits {
            order: ServiceOrder::Fair,
            at_once: AT_ONCE_DEFAULT,
            delay_max: DELAY_MAX_DEFAULT,
        }
    }
}

/// Who goes first; the smaller one does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rank {
    /// Whether the file is large: firmware, behind all scripts and settings.
    pub is_large: bool,
    /// When the phone's boot began.
    pub began: Instant,
    /// Tells those apart that began in the same moment.
    pub arrival: u32,
}

impl Default for Rank {
    fn default() -> Self {
        Rank { is_large: false, began: Instant::START, arrival: 0 }
    }
}

/// The standing of one transfer in the order.
#[derive(Clone, Copy, Debug)]
pub struct Standing {
    rank: Rank,
    /// Packets that it has in flight when it is answered.
    cost: u16,
    place: Place,
    /// When it began to wait, if it waits.
    since: Instant,
    /// How long its client may wait for an answer, in microseconds: less than the limit if its
    /// timer is known, or if it asked again before.
    patience_us: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Neither answered at once nor waiting.
    Outside,
    /// Answered at once.
    AtOnce,
    /// Its answer is being put off.
    Waiting,
}

impl Default for Standing {
    fn default() -> Self {
        Standing::new(Rank::default(), 1)
    }
}

impl Standing {
    /// Makes the standing of a transfer that has this rank and so many packets in flight.
    #[must_use]
    pub fn new(rank: Rank, cost: u16) -> Standing {
        Standing {
            rank,
            cost: cost.max(1),
            place: Place::Outside,
            since: Instant::START,
            patience_us: u32::MAX,
        }
    }

    /// Its client asks again after this long without an answer.
    pub fn limit_patience(&mut self, timer: Duration) {
        let half_us = u32::try_from((timer / 2).as_micros()).unwrap_or(u32::MAX);
        self.patience_us = self.patience_us.min(half_us);
    }

    /// Returns whether its answer is being put off.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        self.place == Place::Waiting
    }
}

/// The order of service of one worker; `K` names the transfers.
#[derive(Debug)]
pub struct Order<K> {
    limits: OrderLimits,
    /// This worker's share of [`OrderLimits::at_once`].
    share: u32,
    /// Packets in flight of those who are answered at once.
    in_flight: u32,
    /// How many times as many as that are answered at once, because the worker keeps up.
    growth: u32,
    /// Answers that fell due in this turn, and how many usually do together.
    due: u32,
    usually_due: f32,
    /// When the last answer fell due, and when the growth was changed last.
    due_at: Instant,
    changed_at: Instant,
    waiting: BTreeMap<Rank, K>,
    arrivals: u32,
}

impl<K> Default for Order<K> {
    fn default() -> Self {
        Order {
            limits: OrderLimits::default(),
            share: AT_ONCE_DEFAULT,
            in_flight: 0,
            growth: 1,
            due: 0,
            usually_due: 0.0,
            due_at: Instant::START,
            changed_at: Instant::START,
            waiting: BTreeMap::new(),
            arrivals: 0,
        }
    }
}

impl<K: Copy> Order<K> {
    /// Puts settings into force, for one of so many workers.
    pub fn adopt(&mut self, limits: &OrderLimits, workers: usize) {
        self.limits = *limits;
        self.share = (limits.at_once / workers.max(1) as u32).max(AT_ONCE_MIN);
    }

    /// Makes the rank of a transfer whose phone began its boot then.
    pub fn rank(&mut self, began: Instant, is_large: bool) -> Rank {
        self.arrivals = self.arrivals.wrapping_add(1);
        Rank { is_large, began, arrival: self.arrivals }
    }

    /// Returns how many packets may be in flight of those who are answered at once.
    fn at_once_max(&self) -> u32 {
        self.share.saturating_mul(self.growth)
    }

    fn has_room(&self, cost: u16) -> bool {
        self.in_flight == 0 || self.in_flight + u32::from(cost) <= self.at_once_max()
    }

    /// Asks whether a transfer may be answered now. If not, it waits, and is to ask again at the
    /// moment returned, unless [`Order::poll_next`] names it before.
    pub fn ask(&mut self, standing: &mut Standing, key: K, now: Instant) -> Result<(), Instant> {
        if self.limits.order == ServiceOrder::FirstCome {
            self.leave(standing);
            return Ok(());
        }
        self.due += 1;
        self.due_at = now;
        self.usually_due += (self.due as f32 - self.usually_due) * SAMPLE_WEIGHT;
        let patience = Duration::from_micros(u64::from(standing.patience_us));
        let delay = self.limits.delay_max.min(patience);
        // Those who began together do not ask again together.
        let earlier = delay / 64 * (standing.rank.arrival % 16);
        let until = |since: Instant| since + (delay - earlier);
        match standing.place {
            Place::AtOnce => Ok(()),
            Place::Waiting if now >= until(standing.since) => {
                // It is kept alive, and waits again for its next answer.
                self.leave(standing);
                Ok(())
            }
            Place::Waiting => Err(until(standing.since)),
            Place::Outside => {
                let is_next =
                    self.waiting.first_key_value().is_none_or(|(first, _)| standing.rank < *first);
                if is_next && self.has_room(standing.cost) {
                    self.place(standing);
                    return Ok(());
                }
                let at = until(now);
                (standing.place, standing.since) = (Place::Waiting, now);
                self.waiting.insert(standing.rank, key);
                Err(at)
            }
        }
    }

    /// All that was received in a turn has asked. Call it once a turn, before
    /// [`Order::poll_next`].
    pub fn end_asking(&mut self, now: Instant) {
        let due = std::mem::take(&mut self.due);
        if self.waiting.is_empty() || now.since(self.changed_at) < CHANGE_EVERY {
            return;
        }
        self.changed_at = now;
        if due == 0 && now.since(self.due_at) >= QUIET {
            self.usually_due = 0.0;
        }
        if self.usually_due < BACKLOG_MIN {
            self.growth = (self.growth * 2).min(GROWTH_MAX);
        } else if self.usually_due > BACKLOG_MIN * 2.0 {
            self.growth = (self.growth / 2).max(1);
        }
    }

    /// Returns when the next turn is due at the latest, so that nobody waits for a worker that has
    /// nothing to do.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.has_next() {
            return Some(Instant::START);
        }
        let quiet_at = self.due_at.max(self.changed_at) + QUIET;
        (!self.waiting.is_empty()).then_some(quiet_at)
    }

    /// Takes the transfer that is answered next, if there is room. Call until `None`, and give each
    /// its place by [`Order::admit`].
    pub fn poll_next(&mut self) -> Option<K> {
        self.has_next().then(|| self.waiting.pop_first())?.map(|(_, key)| key)
    }

    /// Returns whether [`Order::poll_next`] would name a transfer.
    #[must_use]
    pub fn has_next(&self) -> bool {
        // What the cost of the next one is does not matter much, for there is always a next turn.
        !self.waiting.is_empty() && self.has_room(1)
    }

    /// Gives a transfer that [`Order::poll_next`] named its place.
    pub fn admit(&mut self, standing: &mut Standing) {
        debug_assert!(standing.is_waiting() && !self.waiting.contains_key(&standing.rank));
        self.place(standing);
    }

    fn place(&mut self, standing: &mut Standing) {
        standing.place = Place::AtOnce;
        self.in_flight += u32::from(standing.cost);
    }

    /// A transfer has ended, or its phone is silent: its place is free for another.
    pub fn leave(&mut self, standing: &mut Standing) {
        match std::mem::replace(&mut standing.place, Place::Outside) {
            Place::Outside => {}
            Place::AtOnce => {
                debug_assert!(self.in_flight >= u32::from(standing.cost));
                self.in_flight = self.in_flight.saturating_sub(u32::from(standing.cost));
            }
            Place::Waiting => {
                self.waiting.remove(&standing.rank);
            }
        }
    }

    /// A client whose answer was put off has asked again: it is answered now, and from now on in
    /// half of the time that it has waited.
    pub fn hurry(&mut self, standing: &mut Standing, now: Instant) {
        let waited = now.since(standing.since);
        if standing.place == Place::Waiting && waited >= HURRY_MIN {
            standing.limit_patience(waited);
            self.leave(standing);
        }
    }

    /// Returns how many transfers wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DELAY: Duration = Duration::from_millis(500);

    fn at(ms: u64) -> Instant {
        Instant::from_millis(ms)
    }

    /// An order in which so many packets are answered at once, and the standing of transfers that
    /// began one millisecond after another.
    fn order(at_once: u32, transfers: u64) -> (Order<usize>, Vec<Standing>) {
        let mut order = Order::default();
        order.adopt(&OrderLimits { at_once, ..OrderLimits::default() }, 1);
        let stand = |began| Standing::new(order.rank(at(began), false), 1);
        let standings = (0..transfers).map(stand).collect();
        (order, standings)
    }

    #[test]
    fn while_there_is_room_everybody_is_answered_at_once() {
        let (mut order, mut standings) = order(100, 100);
        for round in 0..3 {
            for (key, standing) in standings.iter_mut().enumerate() {
                assert_eq!(order.ask(standing, key, at(round)), Ok(()));
            }
        }
        assert_eq!((order.waiting(), order.has_next()), (0, false));
    }

    #[test]
    fn who_began_first_is_answered_first_and_others_as_places_come_free() {
        let (mut order, mut standings) = order(20, 30);
        for key in (0..30).rev() {
            let answered = order.ask(&mut standings[key], key, at(100)).is_ok();
            assert_eq!(answered, key >= 10, "{key}: the first that ask find room");
        }
        assert_eq!(order.poll_next(), None);
        for ended in 10..13 {
            order.leave(&mut standings[ended]);
            let next = order.poll_next().unwrap();
            assert_eq!(next, ended - 10);
            order.admit(&mut standings[next]);
            assert_eq!(order.poll_next(), None);
        }
        let large = Rank { is_large: true, ..standings[0].rank };
        assert!(standings[29].rank < large, "firmware goes behind all scripts");
    }

    #[test]
    fn nobody_waits_for_an_answer_longer_than_the_limit_or_half_of_its_timer() {
        let (mut order, mut standings) = order(16, 40);
        for (key, standing) in standings.iter_mut().enumerate() {
            let _ = order.ask(standing, key, at(0));
        }
        standings[39].limit_patience(Duration::from_millis(200));
        for (key, most) in [(16, DELAY), (38, DELAY), (39, Duration::from_millis(100))] {
            let wait = order.ask(&mut standings[key], key, at(0)).unwrap_err() - at(0);
            assert!(wait <= most && wait > most / 2, "{key}: {wait:?}");
            assert_eq!(order.ask(&mut standings[key], key, at(0) + wait), Ok(()));
            assert!(!standings[key].is_waiting());
        }
    }

    #[test]
    fn a_client_that_asks_again_is_answered_now_and_sooner_from_then_on() {
        let (mut order, mut standings) = order(16, 17);
        for (key, standing) in standings.iter_mut().enumerate() {
            let _ = order.ask(standing, key, at(0));
        }
        order.hurry(&mut standings[16], at(5));
        assert!(standings[16].is_waiting(), "a packet that was doubled is no question");
        order.hurry(&mut standings[16], at(300));
        assert!(!standings[16].is_waiting());
        let again = order.ask(&mut standings[16], 16, at(301)).unwrap_err();
        assert!(again - at(301) <= Duration::from_millis(150));
    }

    /// Lets so many transfers ask in each turn, a millisecond apart, and returns how many are
    /// answered at once in the end.
    fn answered_at_once(asks_a_turn: usize) -> usize {
        let (mut order, mut standings) = order(100, 2_000);
        for ms in 0..500 {
            order.end_asking(at(ms));
            while let Some(next) = order.poll_next() {
                order.admit(&mut standings[next]);
            }
            for turn in 0..asks_a_turn {
                let key = (ms as usize * asks_a_turn + turn) % standings.len();
                let _ = order.ask(&mut standings[key], key, at(ms));
            }
        }
        standings.iter().filter(|one| one.place == Place::AtOnce).count()
    }

    #[test]
    fn a_worker_that_keeps_up_answers_everybody_at_once() {
        assert_eq!(answered_at_once(2), 1_000, "all that have asked");
    }

    #[test]
    fn while_many_answers_fall_due_together_some_wait() {
        assert_eq!(answered_at_once(200), 100);
    }

    #[test]
    fn those_who_wait_for_a_worker_that_has_nothing_to_do_are_answered_at_once() {
        let (mut order, mut standings) = order(16, 1_000);
        for (key, standing) in standings.iter_mut().enumerate() {
            let _ = order.ask(standing, key, at(0));
        }
        let mut now = at(0);
        while let Some(next) = order.poll_timeout() {
            now = now.max(next);
            order.end_asking(now);
            while let Some(next) = order.poll_next() {
                order.admit(&mut standings[next]);
            }
        }
        assert!(now <= at(20), "{now:?}");
    }

    #[test]
    fn what_leaves_frees_exactly_what_it_took() {
        let (mut order, mut standings) = order(64, 500);
        let mut random = fastrand::Rng::with_seed(11);
        for step in 0..20_000 {
            let key = random.usize(..standings.len());
            match random.u8(..4) {
                0 => order.leave(&mut standings[key]),
                1 => order.hurry(&mut standings[key], at(step)),
                _ => drop(order.ask(&mut standings[key], key, at(step))),
            }
            while let Some(next) = order.poll_next() {
                assert!(standings[next].is_waiting());
                order.admit(&mut standings[next]);
            }
            let placed = standings.iter().filter(|one| one.place == Place::AtOnce).count();
            let waiting = standings.iter().filter(|one| one.is_waiting()).count();
            assert_eq!((order.in_flight as usize, order.waiting.len()), (placed, waiting));
        }
    }
}
