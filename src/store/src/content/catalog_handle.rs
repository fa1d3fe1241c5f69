//! The catalog published last, and a way to have the watch look at paths at once.
//!
//! For code that changes files and must not report success before phones see the change. Outlives
//! the watch, which a reload replaces. Also reports the health of the roots.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use crossbeam_channel::{Sender, bounded};
use parking_lot::Mutex;

use super::hasher::Digests;
use super::watch::FsEvent;
use engine::catalog::blob::Version;
use engine::catalog::omission::Omissions;
use engine::catalog::{Catalog, Form};

/// Pause between two attempts while a reload replaces the watch and no thread listens.
const RETRY: Duration = Duration::from_millis(20);
/// Paths remembered for a new watch; it has to notice further ones itself.
const OVERLAP_MAX: usize = 10_000;
/// A disk that does not answer for this long hangs.
pub(crate) const HUNG_AFTER: Duration = Duration::from_secs(5);

/// A file that this process has just changed.
#[derive(Clone, Debug)]
pub(crate) struct Placed {
    /// Its path in the whole system.
    pub path: PathBuf,
    /// The version that was put there whole, by rename; `None` for any other change.
    pub version: Option<Version>,
}

/// The newest catalog and the current watch.
#[derive(Debug, Default)]
pub struct CatalogHandle {
    catalog: ArcSwap<Catalog>,
    watch: Mutex<Listening>,
    /// What was published since a new watch began to look.
    overlap: Mutex<Option<Vec<Placed>>>,
    states: Mutex<Vec<Arc<RootState>>>,
    digests: Arc<Digests>,
}

/// Who is notified of changes.
#[derive(Clone, Debug, Default)]
enum Listening {
    /// No watch has started yet.
    #[default]
    Never,
    /// No watch until the next one starts.
    Soon,
    /// The threads of the current watch, one for each root.
    Now(Vec<Listener>),
}

/// The channel to one root's thread.
#[derive(Clone, Debug)]
pub(super) struct Listener {
    root: Arc<RootState>,
    events: Sender<FsEvent>,
}

impl Listener {
    pub(super) fn new(root: &Arc<RootState>, events: &Sender<FsEvent>) -> Self {
        Listener { root: Arc::clone(root), events: Sender::clone(events) }
    }
}

impl CatalogHandle {
    /// Creates a handle without a catalog, with the digests known so far.
    #[must_use]
    pub fn new(digests: Arc<Digests>) -> Self {
        CatalogHandle { digests, ..CatalogHandle::default() }
    }

    /// Returns the catalog that was published last.
    #[must_use]
    pub fn catalog(&self) -> Arc<Catalog> {
        self.catalog.load_full()
    }

    /// Returns the known digests.
    #[must_use]
    pub fn digests(&self) -> &Arc<Digests> {
        &self.digests
    }

    /// Returns the health of the roots, in their order.
    #[must_use]
    pub fn health(&self) -> Vec<RootHealth> {
        let states = self.states.lock().clone();
        let catalog = self.catalog();
        let roots = states.iter().enumerate();
        roots
            .map(|(at, state)| {
                let root = catalog.roots.get(at).filter(|root| root.dir == state.dir);
                let is_in_memory = || {
                    root.is_some_and(|root| {
                        root.entries.iter().any(|(_, entry)| entry.blob(Form::Octet).is_some())
                    })
                };
                state.health(is_in_memory)
            })
            .collect()
    }

    /// Has absolute paths looked at, and waits until a catalog with the result is published.
    /// Returns false if that takes longer than `wait`; the catalog is published later then.
    pub(crate) fn rescan(&self, paths: &[PathBuf], wait: Duration) -> bool {
        let placed = paths.iter().map(|path| Placed { path: path.clone(), version: None });
        self.publish(&placed.collect::<Vec<_>>(), wait)
    }

    /// Does the same for files that this process has put in place itself. Ignores paths outside
    /// every root.
    pub(crate) fn publish(&self, placed: &[Placed], wait: Duration) -> bool {
        let until = Instant::now() + wait;
        // Before the threads are asked, so that the caller's success covers both watches.
        if let Some(overlap) = &mut *self.overlap.lock() {
            let room = OVERLAP_MAX.saturating_sub(overlap.len());
            overlap.extend(placed.iter().take(room).cloned());
        }
        while Instant::now() < until {
            match self.watch.lock().clone() {
                Listening::Never => return true,
                Listening::Now(listeners) if prompt(&listeners, placed, until) => return true,
                // A watch that ends forgets its requests, so the next one is asked again.
                Listening::Soon | Listening::Now(_) => {}
            }
            std::thread::sleep(RETRY.min(until.saturating_duration_since(Instant::now())));
        }
        false
    }

    pub(super) fn store(&self, catalog: Arc<Catalog>) {
        self.catalog.store(catalog);
    }

    /// Begins to remember what is published, for a new watch.
    pub(super) fn begin_overlap(self: &Arc<Self>) -> Overlap {
        *self.overlap.lock() = Some(Vec::new());
        Overlap(Arc::clone(self))
    }

    /// Directs requests to these threads from now on.
    pub(super) fn watched_by(&self, listeners: Vec<Listener>, states: Vec<Arc<RootState>>) {
        *self.states.lock() = states;
        *self.watch.lock() = Listening::Now(listeners);
    }

    /// Directs requests to no thread until the next watch starts.
    pub(super) fn unwatched(&self) {
        *self.watch.lock() = Listening::Soon;
    }
}

/// The time during which a new watch looks at its roots and the old one still publishes.
pub(super) struct Overlap(Arc<CatalogHandle>);

impl Overlap {
    /// Ends the overlap and returns what was published meanwhile.
    pub(super) fn end(self) -> Vec<Placed> {
        self.0.overlap.lock().take().unwrap_or_default()
    }
}

impl Drop for Overlap {
    fn drop(&mut self) {
        self.0.overlap.lock().take();
    }
}

/// Asks every root that contains a path, and waits until all have looked.
pub(super) fn prompt(listeners: &[Listener], placed: &[Placed], until: Instant) -> bool {
    let (done, scanned) = bounded(listeners.len());
    let mut sent = 0;
    for listener in listeners {
        let beneath = |placed: &Placed| {
            let path = listener.root.beneath(&placed.path)?;
            Some((path, placed.version))
        };
        let paths: Vec<_> = placed.iter().filter_map(beneath).collect();
        if paths.is_empty() {
            continue;
        }
        let event = FsEvent::Prompt { paths, done: Sender::clone(&done) };
        if listener.events.send_deadline(event, until).is_err() {
            return false;
        }
        sent += 1;
    }
    drop(done);
    (0..sent).all(|_| scanned.recv_deadline(until).is_ok())
}

/// The health of one root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RootHealth {
    /// The directory.
    pub dir: PathBuf,
    /// Why it cannot be read now, or `None` if it can.
    pub fault: Option<String>,
    /// Whether any of its files can be served nevertheless.
    pub serves: bool,
    /// What is not served.
    pub omissions: Omissions,
}

/// One root as its thread knows it.
#[derive(Debug)]
pub(super) struct RootState {
    dir: PathBuf,
    /// The absolute path, without links.
    absolute: PathBuf,
    real: OnceLock<PathBuf>,
    started: Instant,
    /// When the thread began to wait for the disk, in milliseconds since `started`, plus one; zero
    /// while it does not wait.
    busy_since_ms: AtomicU64,
    progress: AtomicU64,
    noted: Mutex<(Option<Arc<str>>, bool, Omissions)>,
}

impl RootState {
    pub(super) fn new(dir: &Path) -> Self {
        RootState {
            dir: dir.to_path_buf(),
            absolute: std::path::absolute(dir).unwrap_or_else(|_| dir.to_path_buf()),
            real: OnceLock::new(),
            started: Instant::now(),
            busy_since_ms: AtomicU64::new(0),
            progress: AtomicU64::new(0),
            noted: Mutex::new((None, true, Omissions::new())),
        }
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// How often the disk has answered.
    pub(super) fn progress(&self) -> u64 {
        self.progress.load(Relaxed)
    }

    /// Resolves the directory's real path, which asks the disk.
    pub(super) fn learn_real_path(&self) {
        self.enter();
        if let Ok(real) = self.dir.canonicalize() {
            let _ = self.real.set(real);
        }
        self.leave();
    }

    /// Notes that the disk is asked.
    pub(super) fn enter(&self) {
        let now_ms = self.started.elapsed().as_millis() as u64;
        self.busy_since_ms.store(now_ms + 1, Relaxed);
    }

    /// Notes that the disk has answered.
    pub(super) fn leave(&self) {
        self.busy_since_ms.store(0, Relaxed);
        self.progress.fetch_add(1, Relaxed);
    }

    pub(super) fn note(&self, fault: Option<Arc<str>>, serves: bool, omissions: Omissions) {
        *self.noted.lock() = (fault, serves, omissions);
    }

    /// Returns an absolute path relative to the root, or `None` if it lies outside.
    fn beneath(&self, path: &Path) -> Option<PathBuf> {
        let path = std::path::absolute(path).ok()?;
        if let Ok(rest) = path.strip_prefix(&self.absolute) {
            return Some(rest.to_path_buf());
        }
        let real = path.parent()?.canonicalize().ok()?.join(path.file_name()?);
        real.strip_prefix(self.real.get()?).ok().map(Path::to_path_buf)
    }

    fn health(&self, is_in_memory: impl Fn() -> bool) -> RootHealth {
        let (fault, serves, omissions) = self.noted.lock().clone();
        let mut health = RootHealth {
            dir: self.dir.clone(),
            fault: fault.map(|fault| fault.to_string()),
            serves,
            omissions,
        };
        let busy_since_ms = self.busy_since_ms.load(Relaxed);
        if let Some(since_ms) = busy_since_ms.checked_sub(1) {
            let now_ms = self.started.elapsed().as_millis() as u64;
            let silent = Duration::from_millis(now_ms.saturating_sub(since_ms));
            if silent >= HUNG_AFTER {
                let seconds = silent.as_secs();
                health.fault = Some(format!("the disk has not answered for {seconds} s"));
                health.serves = is_in_memory();
            }
        }
        health
    }
}
