//! The nightly job: moves old versions of the vault to archives.
//!
//! Runs in a thread of its own, never in a worker, and yields to uploads. Uses the current
//! settings, so a reload applies at once; stops between two archives.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, UNIX_EPOCH};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TryRecvError, bounded};

use crate::observe::state::DaemonState;
use engine::vault::request::VaultPolicy;
use engine::vault::timestamp::Timestamp;
use store::offload;
use store::vault::Directories;
use store::vault::archive_monthly::{self, ArchiveReport};

/// Interval between two looks at the clock.
const CHECK_EVERY: Duration = Duration::from_secs(30);
const HOUR_S: u64 = 60 * 60;
const DAY_S: u64 = 24 * HOUR_S;
/// Most faults of a night that are logged one by one.
const TROUBLES_MAX: usize = 10;

/// The thread, until it is stopped.
#[derive(Debug)]
pub(crate) struct ArchiveJob {
    stop: Sender<()>,
    thread: JoinHandle<()>,
}

impl ArchiveJob {
    /// Starts the thread.
    pub(crate) fn start(
        state: Arc<DaemonState>,
        directories: Arc<Directories>,
    ) -> io::Result<Self> {
        let (stop, stopped) = bounded(0);
        let thread = offload::spawn("archiver", move || run(&state, &directories, &stopped))?;
        Ok(ArchiveJob { stop, thread })
    }

    /// Stops after the archive that it is writing.
    pub(crate) fn stop(self) {
        drop(self.stop);
        // A panic has been logged.
        let _ = self.thread.join();
    }
}

fn run(state: &DaemonState, directories: &Directories, stopped: &Receiver<()>) {
    let mut last_day = None;
    while stopped.recv_timeout(CHECK_EVERY) == Err(RecvTimeoutError::Timeout) {
        let settings = state.settings.load_full();
        let Some(vault) = settings.policy.http.vault.as_deref() else { continue };
        let Some(archive) = &vault.archive else { continue };
        let now_s = UNIX_EPOCH.elapsed().map_or(0, |since| since.as_secs());
        if !is_due(now_s, archive.hour, last_day) {
            continue;
        }
        last_day = Some(now_s / DAY_S);
        if directories.known().is_away(&vault.dir) {
            tracing::error!("archive: {} is away; nothing was archived", vault.dir.display());
            continue;
        }
        let go_on = || stopped.try_recv() == Err(TryRecvError::Empty);
        tell(vault, &archive_monthly::gather(vault, Timestamp::of_second(now_s), go_on));
    }
}

/// Returns whether the hour has come and the job has not run yet.
fn is_due(now_s: u64, hour: u8, last_day: Option<u64>) -> bool {
    now_s % DAY_S / HOUR_S == u64::from(hour) && last_day != Some(now_s / DAY_S)
}

fn tell(vault: &VaultPolicy, gathered: &ArchiveReport) {
    for trouble in gathered.troubles.iter().take(TROUBLES_MAX) {
        tracing::error!("archive: {trouble}");
    }
    let untold = gathered.troubles.len().saturating_sub(TROUBLES_MAX);
    if untold > 0 {
        tracing::error!(
            "archive: {untold} more could not be written; run `ringpost vault archive`"
        );
    }
    if gathered.versions + gathered.expired > 0 {
        tracing::info!("archive: {gathered} in {}", vault.dir.display());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_job_is_due_once_in_its_hour_of_each_day() {
        let at = |day: u64, hour: u64, minute: u64| day * DAY_S + hour * HOUR_S + minute * 60;
        assert!(is_due(at(20_000, 2, 0), 2, None));
        assert!(is_due(at(20_000, 2, 59), 2, Some(19_999)));
        assert!(!is_due(at(20_000, 2, 30), 2, Some(20_000)));
        assert!(!is_due(at(20_000, 1, 59), 2, None) && !is_due(at(20_000, 3, 0), 2, None));
        assert!(is_due(at(20_001, 0, 0), 0, Some(20_000)));
    }
}
