//! How fast a session may send commands.
//!
//! Reads no clock, and delays nothing itself.

use wire::time::{Duration, Instant};

/// How many commands may still come at once.
#[derive(Clone, Copy, Debug)]
pub(super) struct CommandRate {
    /// Commands that may come at `at`, in thousandths.
    pub(super) milli: u64,
    /// The moment of `milli`.
    pub(super) at: Instant,
    /// Until when lines wait.
    pub(super) until: Option<Instant>,
}

impl CommandRate {
    pub(super) fn new(per_second: u32, now: Instant) -> CommandRate {
        CommandRate { milli: u64::from(per_second) * BURST_S * 1_000, at: now, until: None }
    }

    /// Returns whether a command may be read now. If not, `until` says when.
    pub(super) fn take(&mut self, per_second: u32, now: Instant) -> bool {
        let rate = u64::from(per_second.max(1));
        let gained = now.since(self.at).as_micros() as u64 * rate / 1_000;
        if gained > 0 {
            self.milli = (self.milli + gained).min(rate * BURST_S * 1_000);
            self.at = now;
        }
        if self.milli < 1_000 {
            let wait = Duration::from_micros((1_000 - self.milli) * 1_000 / rate + 1);
            self.until = Some(now.max(self.at) + wait);
            return false;
        }
        self.milli -= 1_000;
        self.until = None;
        true
    }

    /// Holds commands until then.
    pub(super) fn hold(&mut self, until: Instant) {
        self.milli = 0;
        self.at = until;
    }

    /// The last read was no whole command.
    pub(super) fn give_back(&mut self) {
        self.milli += 1_000;
    }
}

/// The burst, in seconds' worth of commands.
const BURST_S: u64 = 10;
