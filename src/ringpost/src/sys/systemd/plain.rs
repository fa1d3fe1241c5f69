//! Systems without a service manager to notify.

use wire::time::Duration;

/// Would report that everything is bound and the files are loaded.
pub(crate) fn ready() {}

/// Would report that a reload has begun.
pub(crate) fn reloading() {}

/// Would report how long running transfers may still take.
pub(crate) fn stopping(_drain: Duration) {}

/// Would report that every worker runs.
pub(crate) fn alive() {}
