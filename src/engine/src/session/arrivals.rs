//! What has arrived of all that a connection was sent, by what the other side acknowledges: the
//! kernel's room says nothing of it.
//!
//! Sends nothing, and judges nothing but for how long and how slowly somebody has read.

use wire::time::{Duration, Instant};

/// Looks at what a client that reads has acknowledged, in the time that it has.
pub(super) const LOOKS: u32 = 4;

/// How a client let a connection stand still.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stall {
    /// It acknowledged nothing for `stall_timeout`.
    Unread,
    /// It acknowledged less than `rate_min` wants.
    ReadSlowly,
    /// It sent nothing for `stall_timeout`.
    Unsent,
    /// It sent less than `rate_min` wants.
    SentSlowly,
    /// It acknowledged nothing until the system gave it up.
    GivenUp,
}

/// What of everything that a connection was sent has arrived, as far as is known.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Arrivals {
    /// Bytes that were given to the socket.
    pub(super) sent: u64,
    /// Bytes of them that the client has acknowledged, at the last look.
    pub(super) acknowledged: u64,
    /// Bytes that it had not, at the last look.
    pub(super) unacknowledged: u64,
    /// When it acknowledged more than before, or something began to be sent.
    pub(super) moved_at: Instant,
    /// Time is up: a look has to tell whether anything arrived meanwhile.
    pub(super) is_doubted: bool,
}

/// How slowly a client may read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// It may acknowledge nothing for so long.
    pub(super) stall_timeout: Duration,
    /// Beyond that, bytes per second that it must acknowledge.
    pub(super) rate_min: u64,
}

impl Patience {
    /// When what moves since then, and has moved so many bytes, must have moved more.
    pub(super) fn due_by_rate(self, since: Instant, bytes: u64) -> Instant {
        since + self.stall_timeout + Duration::from_secs(bytes / self.rate_min.max(1))
    }
}

impl Arrivals {
    /// So many bytes of all that was sent have not been acknowledged.
    pub(super) fn note(&mut self, unacknowledged: u64, now: Instant) {
        let acknowledged = self.sent.saturating_sub(unacknowledged);
        if acknowledged > self.acknowledged {
            (self.acknowledged, self.moved_at) = (acknowledged, now);
        }
        self.unacknowledged = unacknowledged;
    }

    /// When more must have been acknowledged of an answer that leaves since then and of which so
    /// many bytes have left; and how it stands still once that has passed.
    pub(super) fn due(&self, since: Instant, left: u64, patience: Patience) -> (Instant, Stall) {
        let silent = self.moved_at.max(since) + patience.stall_timeout;
        let arrived = left.saturating_sub(self.unacknowledged);
        let slow = patience.due_by_rate(since, arrived);
        if silent <= slow { (silent, Stall::Unread) } else { (slow, Stall::ReadSlowly) }
    }
}
