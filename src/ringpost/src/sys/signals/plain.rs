//! Signals on every system: flags that are polled.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use std::{io, thread};

use signal_hook::consts::signal::{SIGINT, SIGTERM};
use signal_hook::flag;

use super::SignalKind;

/// Interval between two polls.
const CHECK_EVERY: Duration = Duration::from_millis(50);

/// The source of signals.
pub(super) struct SignalSource {
    stop: Arc<AtomicBool>,
    /// Never set on systems without the signal.
    hangup: Arc<AtomicBool>,
}

impl SignalSource {
    /// Registers the signals that matter.
    ///
    /// # Errors The system rejects the registration.
    pub(super) fn new() -> io::Result<Self> {
        let (stop, hangup) = (Arc::<AtomicBool>::default(), Arc::<AtomicBool>::default());
        for signal in [SIGINT, SIGTERM] {
            flag::register(signal, Arc::clone(&stop))?;
        }
        #[cfg(unix)]
        flag::register(signal_hook::consts::signal::SIGHUP, Arc::clone(&hangup))?;
        Ok(SignalSource { stop, hangup })
    }

    /// Waits for each.
    pub(super) fn forever(&mut self) -> impl Iterator<Item = SignalKind> {
        std::iter::from_fn(|| {
            loop {
                if let Some(kind) = self.take() {
                    return Some(kind);
                }
                thread::sleep(CHECK_EVERY);
            }
        })
    }

    /// Returns those that have come, without waiting.
    pub(super) fn pending(&mut self) -> impl Iterator<Item = SignalKind> {
        std::iter::from_fn(|| self.take())
    }

    /// Returns one that has come, or `None` if none has.
    fn take(&self) -> Option<SignalKind> {
        let raised = |flag: &AtomicBool| flag.swap(false, Ordering::AcqRel);
        let stop = raised(&self.stop).then_some(SignalKind::Stop);
        stop.or_else(|| raised(&self.hangup).then_some(SignalKind::Hangup))
    }
}

/// Returns whether SIGHUP is ignored: unknown here.
pub(crate) fn hangup_is_ignored() -> bool {
    false
}
