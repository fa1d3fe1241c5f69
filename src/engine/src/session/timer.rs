//! Many deadlines, one wake-up.
//!
//! To move a deadline later costs nothing: the old entry stays, and an owner that is woken too
//! early arms again. Never reads a clock, never forgets a deadline.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use wire::time::Instant;

/// The deadlines of everything that a worker runs; `K` names their owners.
#[derive(Debug)]
pub struct Timers<K: Ord> {
    heap: BinaryHeap<Reverse<(Instant, K)>>,
}

impl<K: Ord + Copy> Default for Timers<K> {
    fn default() -> Self {
        Timers { heap: BinaryHeap::new() }
    }
}

impl<K: Ord + Copy> Timers<K> {
    /// Wakes `key` at `at`, or earlier if it is armed for an earlier moment too.
    pub fn arm(&mut self, at: Instant, key: K) {
        self.heap.push(Reverse((at, key)));
    }

    /// Returns the next moment at which something is due.
    #[must_use]
    pub fn next(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse((at, _))| *at)
    }

    /// Takes the next key that is due at `now`.
    pub fn pop_due(&mut self, now: Instant) -> Option<K> {
        self.next().filter(|at| *at <= now)?;
        self.heap.pop().map(|Reverse((_, key))| key)
    }

    /// Returns how many entries are held, each a few words.
    #[must_use]
    pub fn len(&self) -> usize {
        self.heap.len()
    }

    /// Returns whether nothing is armed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.heap.is_empty()
    }
}

/// One owner's deadline, and the earliest moment at which [`Timers`] will wake it.
///
/// Keeps the number of entries near one per owner, however often the deadline moves later.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Deadline {
    at: Option<Instant>,
    armed: Option<Instant>,
}

impl Deadline {
    /// Returns the deadline.
    #[must_use]
    pub fn at(&self) -> Option<Instant> {
        self.at
    }

    /// Returns whether there is a deadline and [`Timers`] will wake the owner in time for it.
    #[must_use]
    pub fn is_armed(&self) -> bool {
        self.at.is_some_and(|at| self.armed.is_some_and(|armed| armed <= at))
    }

    /// Moves the deadline; adds an entry only if none would wake its owner in time.
    pub fn set<K: Ord + Copy>(&mut self, at: Option<Instant>, key: K, timers: &mut Timers<K>) {
        self.at = at;
        let Some(at) = at else { return };
        if self.armed.is_none_or(|armed| at < armed) {
            self.armed = Some(at);
            timers.arm(at, key);
        }
    }

    /// Returns whether the deadline has come, after [`Timers::pop_due`] named the owner. If it has
    /// not, arms it again.
    pub fn is_due<K: Ord + Copy>(&mut self, now: Instant, key: K, timers: &mut Timers<K>) -> bool {
        if self.armed.is_some_and(|armed| armed <= now) {
            self.armed = None;
        }
        match self.at {
            Some(at) if at <= now => {
                self.at = None;
                true
            }
            later => {
                self.set(later, key, timers);
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::time::Duration;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_deadline_that_keeps_moving_later_holds_one_entry() {
        let (mut timers, mut deadline) = (Timers::default(), Deadline::default());
        for ms in 0..10_000 {
            deadline.set(Some(Instant::from_millis(ms) + SECOND), 7_u32, &mut timers);
        }
        assert_eq!(timers.len(), 1);
        assert_eq!(timers.next(), Some(Instant::START + SECOND));
        assert_eq!(timers.pop_due(Instant::from_millis(1_000)), Some(7));
        assert!(!deadline.is_due(Instant::from_millis(1_000), 7, &mut timers));
        assert_eq!(timers.next(), Some(Instant::from_millis(10_999)));
        assert_eq!(timers.pop_due(Instant::from_millis(10_999)), Some(7));
        assert!(deadline.is_due(Instant::from_millis(10_999), 7, &mut timers));
        assert!(timers.is_empty());
    }

    #[test]
    fn a_deadline_that_moves_earlier_wakes_earlier() {
        let (mut timers, mut deadline) = (Timers::default(), Deadline::default());
        deadline.set(Some(Instant::from_millis(500)), 1_u32, &mut timers);
        deadline.set(Some(Instant::from_millis(20)), 1, &mut timers);
        assert_eq!(timers.pop_due(Instant::from_millis(19)), None);
        assert_eq!(timers.pop_due(Instant::from_millis(20)), Some(1));
        assert!(deadline.is_due(Instant::from_millis(20), 1, &mut timers));
    }

    #[test]
    fn a_deadline_taken_away_does_not_come() {
        let (mut timers, mut deadline) = (Timers::default(), Deadline::default());
        deadline.set(Some(Instant::from_millis(5)), 1_u32, &mut timers);
        deadline.set(None, 1, &mut timers);
        assert_eq!(timers.pop_due(Instant::from_millis(5)), Some(1));
        assert!(!deadline.is_due(Instant::from_millis(5), 1, &mut timers));
        assert!(timers.is_empty());
    }

    #[test]
    fn what_is_due_comes_in_order() {
        let mut timers = Timers::default();
        for (ms, key) in [(30, 'c'), (10, 'a'), (20, 'b'), (40, 'd')] {
            timers.arm(Instant::from_millis(ms), key);
        }
        let due = std::iter::from_fn(|| timers.pop_due(Instant::from_millis(30)));
        assert_eq!(due.collect::<String>(), "abc");
    }
}
