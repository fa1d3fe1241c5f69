//! Reads the daemon's roots and keeps them current. Waits only for the first scan, and not for that
//! once there is something else to do.

use std::io;
use std::sync::Arc;

use arc_swap::ArcSwap;

use super::{Daemon, DataPath, now_unix_s};
use crate::config::Settings;
use crate::daemon::error::StartError;
use crate::daemon::exit::Failure;
use engine::catalog::Catalog;
use engine::policy::snapshot::{Policy, Snapshot};
use store::content::watch::{self, Watch, WatchConfig};
use store::content::{CatalogHandle, Digests};

/// Creates the catalog's handle, with the digests of earlier runs.
pub(super) fn published(settings: &Settings) -> Arc<CatalogHandle> {
    Arc::new(CatalogHandle::new(Arc::new(Digests::of(&settings.data_dir))))
}

/// Reads the roots and keeps them current. Policy and catalog are published together, because a
/// root is known to both by its number. The old watch is gone then, unless `go_on` has said before
/// that the new one is no longer wanted.
pub(super) fn watch(
    settings: &Settings,
    previous: Option<&Catalog>,
    snapshot: &Arc<ArcSwap<Snapshot>>,
    published: Arc<CatalogHandle>,
    old: &mut Option<Watch>,
    go_on: &dyn Fn() -> bool,
) -> io::Result<Option<Watch>> {
    let policy: Arc<Policy> = settings.policy.clone();
    let snapshot = snapshot.clone();
    let publish = Box::new(move |catalog| {
        snapshot.store(Arc::new(Snapshot { policy: policy.clone(), catalog }));
    });
    let mut config = WatchConfig::new(settings.roots.clone());
    config.rescan_every = settings.content.rescan;
    config.published = published;
    watch::replace(config, previous, publish, old, go_on)
}

impl<D: DataPath> Daemon<D> {
    /// Watches other roots, as new settings say. If that fails, certificates stay as they were as
    /// well.
    pub(super) fn change_watch(
        &mut self,
        settings: &Settings,
        before: &Settings,
    ) -> Result<(), Failure> {
        let catalog = self.state.snapshot.load().catalog.clone();
        let published = self.watch.as_ref().map(Watch::published).unwrap_or_default();
        let snapshot = &self.state.snapshot;
        // A newer configuration, or a stop, needs nothing that this one scans.
        let go_on = || !self.signals.is_any() && self.orders.is_empty();
        match watch(settings, Some(&catalog), snapshot, published, &mut self.watch, &go_on) {
            Ok(Some(watch)) => self.watch = Some(watch),
            none => {
                self.certificates.take(before, now_unix_s())?;
                self.state.note_certificates(self.certificates.report(now_unix_s()));
                return Err(match none {
                    Err(cause) => StartError::Watch(cause),
                    Ok(_) => StartError::Superseded,
                }
                .into());
            }
        }
        Ok(())
    }
}
