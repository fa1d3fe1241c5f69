//! Logs an error once, and the same kind again only after a while.
//!
//! Only logs; mends nothing.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Interval between two messages about the same kind of error.
const TELL_EVERY: Duration = Duration::from_secs(60);

/// Logs an error, and the same kind of error again only after a while: if one phone is refused,
/// thousands are.
#[derive(Debug, Default)]
pub(crate) struct RateLimitedLog(Mutex<HashMap<io::ErrorKind, (Instant, u64)>>);

impl RateLimitedLog {
    /// Writes `cannot … …: why`, at most once a minute for each kind of reason.
    pub(crate) fn error(&self, why: &io::Error, verb: &str, path: &Path) {
        // The client cancelled it: there is nothing to mend.
        if why.kind() == io::ErrorKind::ConnectionAborted {
            return;
        }
        let mut logged = self.0.lock();
        let now = Instant::now();
        let (logged_at, untold) = logged.entry(why.kind()).or_insert((now, 0));
        let is_first = *logged_at == now && *untold == 0;
        if !is_first && now.duration_since(*logged_at) < TELL_EVERY {
            *untold += 1;
            return;
        }
        let more = match std::mem::take(untold) {
            0 => String::new(),
            untold => format!(" (and {untold} more times since this was last told)"),
        };
        *logged_at = now;
        tracing::error!("cannot {verb} {}: {why}{more}", path.display());
    }
}
