//! What systemd is told, where it has started this process.

use std::sync::OnceLock;

use sd_notify::NotifyState;

use wire::time::Duration;

/// How long the server takes to end once the last transfer has, at most.
const END_WITHIN: Duration = Duration::from_secs(30);

/// Everything is bound and the files are there; also after a reload.
pub(crate) fn ready() {
    tell(&[NotifyState::Ready]);
}

/// A reload has begun.
pub(crate) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(moment) => tell(&[NotifyState::Reloading, moment]),
        Err(_) => tell(&[NotifyState::Reloading]),
    }
}

/// Transfers under way may still end, for as long as this: the manager's own patience with a stop
/// may be shorter.
pub(crate) fn stopping(drain: Duration) {
    let micros = drain.saturating_add(END_WITHIN).as_micros();
    let micros = u32::try_from(micros).unwrap_or(u32::MAX);
    tell(&[NotifyState::Stopping, NotifyState::ExtendTimeoutUsec(micros)]);
}

/// Every worker turns. Where the manager keeps no watch, it is not told.
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
