//! How the daemon reads its roots and keeps them fresh. Never waits for more than the first look.

use std::io;
use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::content::Catalog;
use crate::content::hasher::Digests;
use crate::content::published::Published;
use crate::content::watch::{self, Watch, WatchConfig};
use crate::control::config::Settings;
use crate::session::snapshot::{Policy, Snapshot};

/// What the watch publishes to, with what is known of files' bytes from earlier.
pub(super) fn published(settings: &Settings) -> Arc<Published> {
    Arc::new(Published::new(Arc::new(Digests::of(&settings.data_dir))))
}

/// Reads the roots and keeps them fresh. Policy and catalog are published together, for a root is
/// known to both by its number.
pub(super) fn watch(
    settings: &Settings,
    previous: Option<&Catalog>,
    snapshot: &Arc<ArcSwap<Snapshot>>,
    published: Arc<Published>,
) -> io::Result<Watch> {
    let policy: Arc<Policy> = settings.policy.clone();
    let snapshot = snapshot.clone();
    let publish = Box::new(move |catalog| {
        snapshot.store(Arc::new(Snapshot { policy: policy.clone(), catalog }));
    });
    let mut config = WatchConfig::new(settings.roots.clone());
    config.rescan_every = settings.content.rescan;
    config.published = published;
    watch::start(config, previous, publish)
}
