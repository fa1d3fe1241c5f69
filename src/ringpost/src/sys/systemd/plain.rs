//! Where no service manager wants to be told.

use wire::time::Duration;

/// Everything is bound and the files are there; also after a reload.
pub(crate) fn ready() {}

/// A reload has begun.
pub(crate) fn reloading() {}

/// Transfers under way may still end, for as long as this.
pub(crate) fn stopping(_drain: Duration) {}

/// Every worker turns.
pub(crate) fn alive() {}
