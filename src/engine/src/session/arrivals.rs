//! How much of what a connection was sent has arrived, by what the other side acknowledged. Room in
//! the kernel's buffer does not tell this.
//!
//! Sends nothing. Decides only whether a client reads too slowly.

use wire::time::{Duration, Instant};

/// How often acknowledgements are measured within the time that a client has.
pub(super) const MEASUREMENTS: u32 = 4;

/// How a connection stalled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stall {
    /// It acknowledged nothing for `stall_timeout`.
    Unread,
    /// It acknowledged less than `rate_min`.
    ReadSlowly,
    /// It sent nothing for `stall_timeout`.
    Unsent,
    /// It sent less than `rate_min`.
    SentSlowly,
    /// It acknowledged nothing until the system closed the connection.
    GivenUp,
}

/// How much of what a connection was sent has arrived, as far as is known.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Arrivals {
    /// Bytes given to the socket.
    pub(super) sent: u64,
    /// Bytes of them that the client had acknowledged at the last measurement.
    pub(super) acknowledged: u64,
    /// Bytes that it had not acknowledged at the last measurement.
    pub(super) unacknowledged: u64,
    /// When it last acknowledged more, or when sending began.
    pub(super) moved_at: Instant,
    /// Whether time is up: a measurement must show whether anything arrived meanwhile.
    pub(super) needs_measure: bool,
}

/// How slowly a client may read.
#[derive(Clone, Copy, Debug)]
pub(super) struct StallLimits {
    /// How long it may acknowledge nothing.
    pub(super) stall_timeout: Duration,
    /// After that time, the least bytes per second that it must acknowledge.
    pub(super) rate_min: u64,
}

impl StallLimits {
    /// Returns when a transfer that began then and has moved so many bytes must have moved more.
    pub(super) fn due_by_rate(self, since: Instant, bytes: u64) -> Instant {
        since + self.stall_timeout + Duration::from_secs(bytes / self.rate_min.max(1))
    }
}

impl Arrivals {
    /// Notes how many of all sent bytes are not acknowledged.
    pub(super) fn note(&mut self, unacknowledged: u64, now: Instant) {
        let acknowledged = self.sent.saturating_sub(unacknowledged);
        if acknowledged > self.acknowledged {
            (self.acknowledged, self.moved_at) = (acknowledged, now);
        }
        self.unacknowledged = unacknowledged;
    }

    /// Returns when more must be acknowledged of a response that began then and of which so many
    /// bytes have left, and the stall if that moment passes.
    pub(super) fn due(&self, since: Instant, left: u64, patience: StallLimits) -> (Instant, Stall) {
        let silent = self.moved_at.max(since) + patience.stall_timeout;
        let arrived = left.saturating_sub(self.unacknowledged);
        let slow = patience.due_by_rate(since, arrived);
        if silent <= slow { (silent, Stall::Unread) } else { (slow, Stall::ReadSlowly) }
    }
}
