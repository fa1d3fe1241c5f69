//! The only clock: moments in microseconds since the process started.
//!
//! Nothing here reads a clock. The loop reads it once per turn and passes the moment down, so that
//! a test can run every state machine at any moment.

use std::num::NonZeroU64;
use std::ops::{Add, Sub};
pub use std::time::Duration;

/// A moment, in microseconds since the process started. An `Option` of it is no larger, because it
/// is kept as one more than that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(NonZeroU64);

impl Instant {
    /// The moment the process started.
    pub const START: Instant = Instant(NonZeroU64::MIN);

    /// Returns the moment `us` microseconds after the start.
    #[must_use]
    pub const fn from_micros(us: u64) -> Self {
        Instant(NonZeroU64::MIN.saturating_add(us))
    }

    /// Returns the moment `ms` milliseconds after the start.
    #[must_use]
    pub const fn from_millis(ms: u64) -> Self {
        Instant::from_micros(ms * 1_000)
    }

    /// Returns the microseconds since the start.
    #[must_use]
    pub const fn as_micros(self) -> u64 {
        self.0.get() - 1
    }

    /// Returns how long ago `earlier` was; zero if it has not come yet.
    #[must_use]
    pub const fn since(self, earlier: Instant) -> Duration {
        Duration::from_micros(self.0.get().saturating_sub(earlier.0.get()))
    }
}

impl Default for Instant {
    fn default() -> Self {
        Instant::START
    }
}

impl Add<Duration> for Instant {
    type Output = Instant;

    /// A moment that is too late to be represented becomes the last one that can be.
    fn add(self, wait: Duration) -> Instant {
        let us = u64::try_from(wait.as_micros()).unwrap_or(u64::MAX);
        Instant(self.0.saturating_add(us))
    }
}

impl Sub<Instant> for Instant {
    type Output = Duration;

    fn sub(self, earlier: Instant) -> Duration {
        self.since(earlier)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_yet_to_come_is_no_time_ago() {
        assert_eq!(Instant::START - Instant::from_millis(5), Duration::ZERO);
        assert_eq!(Instant::from_millis(5) - Instant::START, Duration::from_millis(5));
    }

    #[test]
    fn adding_for_ever_does_not_overflow() {
        assert_eq!(Instant::from_millis(1) + Duration::MAX, Instant(NonZeroU64::MAX));
    }
}
