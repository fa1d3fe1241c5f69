//! What the watch has published last, and the way to have it look again at once.
//!
//! For those who change files themselves and must not tell anybody before phones see the change.
//! Outlives the watch, which a reload changes for another.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use crossbeam_channel::{Sender, bounded};

use super::Catalog;
use super::watch::Notice;

/// How long nobody may be listening, because a reload changes the watch, before it is tried again.
const RETRY: Duration = Duration::from_millis(20);

/// The newest catalog, and the watch of the moment.
#[derive(Debug, Default)]
pub struct Published {
    catalog: ArcSwap<Catalog>,
    watch: Mutex<Option<Sender<Notice>>>,
}

impl Published {
    /// The catalog that was published last.
    #[must_use]
    pub fn catalog(&self) -> Arc<Catalog> {
        self.catalog.load_full()
    }

    /// Has paths of the whole system looked at, and waits until a catalog with what is there is
    /// published. False when that takes longer than `wait`; it happens later then.
    pub fn look_again(&self, paths: &[PathBuf], wait: Duration) -> bool {
        let until = Instant::now() + wait;
        while Instant::now() < until {
            let (done, looked) = bounded(1);
            let notice = Notice::Prompt { paths: paths.to_vec(), done };
            let watch = self.lock().clone();
            let sent = watch.is_some_and(|watch| watch.send_deadline(notice, until).is_ok());
            // A watch that ends has forgotten what it was asked, and the next one is asked again.
            if sent && looked.recv_deadline(until).is_ok() {
                return true;
            }
            std::thread::sleep(RETRY.min(until.saturating_duration_since(Instant::now())));
        }
        false
    }

    pub(super) fn store(&self, catalog: Arc<Catalog>) {
        self.catalog.store(catalog);
    }

    /// From now on this watch is asked; none while there is none.
    pub(super) fn watched_by(&self, watch: Option<Sender<Notice>>) {
        *self.lock() = watch;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Sender<Notice>>> {
        self.watch.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
