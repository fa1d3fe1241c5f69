//! Future events, in the order of time; events of one moment, in the order in which they were
//! planned.
//!
//! Holds events and knows nothing of them.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use wire::time::Instant;

struct Planned<E> {
    at: Instant,
    sequence: u64,
    event: E,
}

/// Events by their moment.
pub struct Calendar<E> {
    heap: BinaryHeap<Planned<E>>,
    sequence: u64,
}

impl<E> Default for Calendar<E> {
    fn default() -> Self {
        Calendar { heap: BinaryHeap::new(), sequence: 0 }
    }
}

impl<E> Calendar<E> {
    /// Plans an event.
    pub fn plan(&mut self, at: Instant, event: E) {
        self.sequence += 1;
        self.heap.push(Planned { at, sequence: self.sequence, event });
    }

    /// Returns the moment of the next event, or `None` if there is none.
    #[must_use]
    pub fn next_at(&self) -> Option<Instant> {
        self.heap.peek().map(|planned| planned.at)
    }

    /// Takes the next event.
    pub fn pop(&mut self) -> Option<(Instant, E)> {
        self.heap.pop().map(|planned| (planned.at, planned.event))
    }

    /// Takes the next event if its moment has come.
    pub fn pop_due(&mut self, now: Instant) -> Option<E> {
        self.next_at().filter(|at| *at <= now)?;
        self.pop().map(|(_, event)| event)
    }

    /// Returns whether nothing is planned.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.heap.is_empty()
    }

    /// Returns how many events are planned.
    #[must_use]
    pub fn len(&self) -> usize {
        self.heap.len()
    }
}

impl<E> Ord for Planned<E> {
    /// The earliest event is the greatest, because the heap returns the greatest first.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.sequence).cmp(&(self.at, self.sequence))
    }
}

impl<E> PartialOrd for Planned<E> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<E> PartialEq for Planned<E> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<E> Eq for Planned<E> {}
