//! Signals as every system has them: flags that a look finds raised.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use signal_hook::consts::signal::{SIGINT, SIGTERM};
use signal_hook::flag;

use super::SignalKind;

/// How often is looked whether one has come.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Where signals come from.
pub(super) struct SignalSource {
    stop: Arc<AtomicBool>,
    /// Never raised where there is no such signal.
    hangup: Arc<AtomicBool>,
}

impl SignalSource {
    /// Takes the signals that matter.
    ///
    /// # Errors
    /// The system does not let this process have them.
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
                thread::sleep(LOOK_EVERY);
            }
        })
    }

    /// Those that have come, without waiting.
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

/// Whether whoever started this process has it ignore the end of its terminal: not told.
pub(crate) fn hangup_is_ignored() -> bool {
    false
}
