//! Signals of a Unix process.

use std::io;

use signal_hook::consts::signal::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::SignalKind;

/// The source of signals.
pub(super) struct SignalSource(Signals);

impl SignalSource {
    /// Registers the signals that matter.
    ///
    /// # Errors
    /// The system has no descriptor left.
    pub(super) fn new() -> io::Result<Self> {
        Signals::new([SIGHUP, SIGTERM, SIGINT]).map(SignalSource)
    }

    /// Waits for each.
    pub(super) fn forever(&mut self) -> impl Iterator<Item = SignalKind> {
        self.0.forever().map(kind)
    }

    /// Returns those that have come, without waiting.
    pub(super) fn pending(&mut self) -> impl Iterator<Item = SignalKind> {
        self.0.pending().map(kind)
    }
}

fn kind(number: i32) -> SignalKind {
    if number == SIGHUP { SignalKind::Hangup } else { SignalKind::Stop }
}

/// Returns whether the parent process made this one ignore SIGHUP, as `nohup` does. Call it before
/// signals are registered.
pub(crate) fn hangup_is_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    is_ignored(&status, SIGHUP)
}

fn is_ignored(status: &str, signal: i32) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_that_the_starter_ignores_is_known_by_the_kernels_word() {
        let status = "Name:\tringpost\nSigBlk:\t0000000000000001\nSigIgn:\t0000000000001001\n";
        assert!(is_ignored(status, SIGHUP));
        assert!(!is_ignored(status, SIGINT) && !is_ignored("SigIgn:\t0000000000001000\n", SIGHUP));
        assert!(!is_ignored("", SIGHUP));
    }
}
