//! Notifies systemd, if it has started this process.

use std::sync::OnceLock;

use sd_notify::NotifyState;

use wire::time::Duration;

/// Longest time that the server takes to end after the last transfer.
const END_WITHIN: Duration = Duration::from_secs(30);

/// Reports that everything is bound and the files are loaded; also after a reload.
pub(crate) fn ready() {
    tell(&[NotifyState::Ready]);
}

/// Reports that a reload has begun.
pub(crate) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(moment) => tell(&[NotifyState::Reloading, moment]),
        Err(_) => tell(&[NotifyState::Reloading]),
    }
}

/// Reports how long running transfers may still take: the manager's own stop timeout may be
/// shorter.
pub(crate) fn stopping(drain: Duration) {
    let micros = drain.saturating_add(END_WITHIN).as_micros();
    let micros = u32::try_from(micros).unwrap_or(u32::MAX);
    tell(&[NotifyState::Stopping, NotifyState::ExtendTimeoutUsec(micros)]);
}

/// Reports that every worker runs. Does nothing if the manager has no watchdog.
pub(crate) fn alive() {
    static WATCHED: OnceLock<bool> = OnceLock::new();
    if *WATCHED.get_or_init(|| sd_notify::watchdog_enabled().is_some()) {
        tell(&[NotifyState::Watchdog]);
    }
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(cause) = sd_notify::notify(state) {
        tracing::warn!(%cause, "the service manager cannot be told what goes on");
    }
}
