//! Keeps the catalog current: receives changes, looks at touched paths, publishes catalogs.
//!
//! Each root has a thread of its own, so that a disk that hangs delays only its own root. The
//! thread receives changes through inotify if the system has it, scans the whole root at intervals
//! to catch missed changes, and checks every second whether the root is still the same directory.
//! Paths touched during a pass are looked at in between. Background work is rationed: however fast
//! a disk changes, most of a core is left to others. Never touches the data path.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use parking_lot::{Mutex, MutexGuard};

use super::catalog_handle::{CatalogHandle, Listener, RootState, prompt};
use super::fs_watcher::FsWatcher;
use super::scan::Scanner;
use super::watch_loop::WatchLoop;
use crate::offload::Threads;
use engine::catalog::blob::Version;
use engine::catalog::omission::Omissions;
use engine::catalog::{Catalog, Root, RootId};

/// Events that wait for a thread; if there are more, the whole root is scanned instead.
const EVENTS_MAX: usize = 65_536;
/// How long an old catalog is held after the next one is published. By then no worker uses it, so
/// that a watch thread and not a worker frees its 200,000 entries.
const RETIRED_FOR: Duration = Duration::from_secs(1);
/// Most catalogs held so.
const RETIRED_MAX: usize = 8;
/// The start waits for a root's first scan only while it makes progress: a disk that is silent for
/// this long hangs.
const FIRST_LOOK_SILENCE_MAX: Duration = Duration::from_secs(5);
/// Interval between two checks whether the caller still waits for the first scan.
const ASK_EVERY: Duration = Duration::from_millis(50);
/// How long the first catalog of a new watch may wait for the old one's last changes.
const CATCH_UP_MAX: Duration = Duration::from_secs(2);
/// How long the end of a thread is awaited: it may hang at a disk.
const END_WAIT: Duration = Duration::from_secs(2);

/// What is watched, and how.
#[derive(Clone, Debug)]
pub struct WatchConfig {
    /// The roots; a [`RootId`] is a place in this list.
    pub roots: Vec<PathBuf>,
    /// How long changes are collected before they are looked at. Default 10 ms.
    pub collect: Duration,
    /// Interval between two scans of whole roots, which catch missed changes. Default 60 s.
    pub rescan_every: Duration,
    /// Gives code that changes files the newest catalog and this watch.
    pub published: Arc<CatalogHandle>,
}

impl WatchConfig {
    /// Watches roots with the default times.
    #[must_use]
    pub fn new(roots: Vec<PathBuf>) -> Self {
        WatchConfig {
            roots,
            collect: Duration::from_millis(10),
            rescan_every: Duration::from_secs(60),
            published: Arc::default(),
        }
    }
}

/// Receives each new catalog.
pub(crate) type Publish = Box<dyn Fn(Arc<Catalog>) + Send>;

/// The watch; ends when it is dropped.
#[derive(Debug)]
pub struct Watch {
    published: Arc<CatalogHandle>,
    stopping: Arc<AtomicBool>,
    threads: Option<Threads>,
    events: Vec<Sender<FsEvent>>,
    /// Whether this watch publishes.
    is_heard: bool,
}

/// Scans every root and publishes the first catalog before it returns; each root's thread publishes
/// further ones. A root that `previous` has at the same index keeps its entries.
///
/// # Errors
/// The system's error if it cannot start a thread. A root that cannot be read is no error: it stays
/// as it was known until it can be read.
pub fn start(
    config: WatchConfig,
    previous: Option<&Catalog>,
    publish: Publish,
) -> io::Result<Watch> {
    let watch = replace(config, previous, publish, &mut None, &|| true)?;
    watch.ok_or_else(|| io::ErrorKind::Interrupted.into())
}

/// Starts a watch that replaces an old one, which publishes until the new one has scanned every
/// root. Changes nothing and returns `None` if `go_on` says before that the caller no longer waits.
///
/// # Errors
/// The system's error if it cannot start a thread; the old watch continues then.
pub fn replace(
    config: WatchConfig,
    previous: Option<&Catalog>,
    publish: Publish,
    old: &mut Option<Watch>,
    go_on: &dyn Fn() -> bool,
) -> io::Result<Option<Watch>> {
    let stopping = Arc::new(AtomicBool::new(false));
    let published = Arc::clone(&config.published);
    let roots = known_roots(previous, &config.roots);
    let shared = Arc::new(Shared {
        publish: Mutex::new(Publishing { publish, roots, retired: VecDeque::new(), waits: true }),
        published: Arc::clone(&published),
        stopping: Arc::clone(&stopping),
    });
    let overlap = published.begin_overlap();
    let mut watch = Watch {
        published: Arc::clone(&published),
        stopping,
        threads: None,
        events: Vec::new(),
        is_heard: false,
    };
    let (mut states, mut listeners, mut first_looks) = (Vec::new(), Vec::new(), Vec::new());
    for root in (0..).zip(&config.roots) {
        let (listener, state, first_scan) = watch.start_root(&config, root, previous, &shared)?;
        listeners.push(listener);
        first_looks.push((Arc::clone(&state), first_scan));
        states.push(state);
    }
    if !first_looks.iter().all(|(state, first_scan)| wait_for(state, first_scan, go_on)) {
        return Ok(None);
    }
    // The old watch knows the old roots by number, so it must not publish any more.
    drop(old.take());
    // The new watch may have missed what the old one published meanwhile.
    prompt(&listeners, &overlap.end(), Instant::now() + CATCH_UP_MAX);
    shared.start_publishing();
    published.watched_by(listeners, states);
    watch.is_heard = true;
    Ok(Some(watch))
}

/// Returns every root as the last catalog had it.
fn known_roots(previous: Option<&Catalog>, dirs: &[PathBuf]) -> Vec<Arc<Root>> {
    let unknown = |path: &Path| Root { dir: path.into(), is_unknown: true, ..Root::default() };
    let or_unknown = |(id, path): (u16, &PathBuf)| {
        known(previous, id, path).unwrap_or_else(|| Arc::new(unknown(path)))
    };
    (0..).zip(dirs).map(or_unknown).collect()
}

/// Returns a root as the last catalog had it.
fn known(previous: Option<&Catalog>, id: u16, path: &Path) -> Option<Arc<Root>> {
    let root = previous.and_then(|catalog| catalog.roots.get(usize::from(id)));
    root.filter(|root| root.dir == *path).cloned()
}

/// Waits until a root has been scanned, or its disk is silent for too long. Returns false if the
/// caller no longer waits.
fn wait_for(state: &RootState, first_scan: &Receiver<()>, go_on: &dyn Fn() -> bool) -> bool {
    let (mut progress, mut since) = (state.progress(), Instant::now());
    while go_on() {
        if first_scan.recv_timeout(ASK_EVERY) == Err(RecvTimeoutError::Disconnected) {
            return true;
        }
        if state.progress() != progress {
            (progress, since) = (state.progress(), Instant::now());
        } else if since.elapsed() >= FIRST_LOOK_SILENCE_MAX {
            let dir = state.dir().display();
            tracing::error!("{dir}: the disk does not answer; starting without its files");
            return true;
        }
    }
    false
}

impl Watch {
    /// Returns the handle of the newest catalog and of the watch that publishes it: this one, until
    /// it is dropped.
    #[must_use]
    pub fn published(&self) -> Arc<CatalogHandle> {
        Arc::clone(&self.published)
    }

    /// Has every root scanned soon.
    pub fn rescan(&self) {
        for events in &self.events {
            // A full queue leads to a rescan anyway.
            let _ = events.try_send(FsEvent::Rescan);
        }
    }

    /// Starts the thread of one root. Also returns a channel that disconnects after the first scan.
    fn start_root(
        &mut self,
        config: &WatchConfig,
        (id, path): (u16, &PathBuf),
        previous: Option<&Catalog>,
        shared: &Arc<Shared>,
    ) -> io::Result<(Listener, Arc<RootState>, Receiver<()>)> {
        let (events, received) = bounded(EVENTS_MAX);
        let (scanned, first_scan) = bounded::<()>(0);
        let state = Arc::new(RootState::new(path));
        let lost = Arc::new(AtomicBool::new(false));
        let scanner = Scanner::new(RootId(id), path, known(previous, id, path).as_deref());
        let mut watch_loop = WatchLoop {
            collect: config.collect,
            rescan_every: config.rescan_every,
            id,
            scanner: scanner
                .with_digests(Arc::clone(self.published.digests()))
                .with_end(Arc::clone(&shared.stopping)),
            fs_watcher: FsWatcher::new(path, &events, &lost),
            reported: Omissions::new(),
            received,
            lost,
            touched: HashMap::new(),
            prompts: Vec::new(),
            state: Arc::clone(&state),
            shared: Arc::clone(shared),
            is_due: true,
            must_finish: false,
            rescanned_at: Instant::now(),
            checked_at: Instant::now(),
        };
        self.threads.get_or_insert_default().spawn(format!("watch-{id}"), move || {
            watch_loop.scan_first();
            drop(scanned);
            watch_loop.run();
        })?;
        let listener = Listener::new(&state, &events);
        self.events.push(events);
        Ok((listener, state, first_scan))
    }
}

impl Drop for Watch {
    /// Stops the threads; nothing is published afterwards.
    fn drop(&mut self) {
        if self.is_heard {
            self.published.unwatched();
        }
        self.stopping.store(true, Relaxed);
        self.rescan();
        // Threads that hang at a disk are left behind.
        self.threads.take().map(|threads| threads.join(END_WAIT, || 0));
    }
}

/// An event for a root's thread.
#[derive(Debug)]
pub(super) enum FsEvent {
    /// A path of the root was touched.
    Touched { path: PathBuf, written: bool },
    /// Some changes were missed.
    Rescan,
    /// A caller has changed these paths beneath the root, and waits for the catalog. A version
    /// means that this process has put the file there, whole.
    Prompt { paths: Vec<(PathBuf, Option<Version>)>, done: Sender<()> },
}

/// The state that the threads share.
pub(super) struct Shared {
    publish: Mutex<Publishing>,
    published: Arc<CatalogHandle>,
    pub(super) stopping: Arc<AtomicBool>,
}

struct Publishing {
    publish: Publish,
    roots: Vec<Arc<Root>>,
    /// The catalogs published last, each with its time; the last one is the current one.
    retired: VecDeque<(Instant, Arc<Catalog>)>,
    /// Set while some root has not been scanned yet: nothing is published meanwhile.
    waits: bool,
}

impl Shared {
    pub(super) fn publish(&self, id: u16, root: Arc<Root>) {
        let mut publishing = self.lock();
        if let Some(slot) = publishing.roots.get_mut(usize::from(id)) {
            *slot = root;
        }
        if !publishing.waits {
            self.put_out(&mut publishing);
        }
    }

    fn start_publishing(&self) {
        let mut publishing = self.lock();
        publishing.waits = false;
        self.put_out(&mut publishing);
    }

    fn put_out(&self, publishing: &mut Publishing) {
        if self.stopping.load(Relaxed) {
            return;
        }
        let catalog = Arc::new(Catalog { roots: publishing.roots.clone() });
        publishing.retired.push_back((Instant::now(), Arc::clone(&catalog)));
        self.published.store(Arc::clone(&catalog));
        (publishing.publish)(catalog);
    }

    /// Drops catalogs that are no longer in use.
    pub(super) fn let_go(&self) {
        loop {
            let mut publishing = self.lock();
            let Some((next_out_at, _)) = publishing.retired.get(1) else { return };
            if publishing.retired.len() <= RETIRED_MAX && next_out_at.elapsed() < RETIRED_FOR {
                return;
            }
            let old = publishing.retired.pop_front();
            drop(publishing);
            // Not under the lock: it may be the last reference to 200,000 entries.
            drop(old);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Publishing> {
        self.publish.lock()
    }
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use super::super::blob::BlobExt as _;
    use super::*;
    use crate::version::VersionExt as _;
    use engine::catalog::blob::{Blob, Version};
    use engine::catalog::{Entry, Form};
    use parking_lot::Mutex;
    use std::fs;

    /// Holds the catalog that was published last.
    struct Latest(Arc<Mutex<Arc<Catalog>>>);

    impl Latest {
        /// Starts a watch that scans so rarely that only events count.
        fn watch(roots: &[&Path], previous: Option<&Catalog>) -> (Latest, Watch) {
            let latest = Latest(Arc::default());
            let published = Arc::clone(&latest.0);
            let roots = roots.iter().map(|root| root.to_path_buf()).collect();
            let rescan_every = Duration::from_secs(3_600);
            let config = WatchConfig { rescan_every, ..WatchConfig::new(roots) };
            let publish = Box::new(move |catalog| *published.lock() = catalog);
            let watch = start(config, previous, publish).unwrap();
            (latest, watch)
        }

        fn catalog(&self) -> Arc<Catalog> {
            Arc::clone(&self.0.lock())
        }

        fn entry(&self, name: &str) -> Option<Arc<Entry>> {
            self.catalog().roots[0].entries.get(name.as_bytes()).cloned()
        }

        fn wait_until(&self, condition: &str, holds: impl Fn(&Latest) -> bool) {
            for _ in 0..1_000 {
                if holds(self) {
                    return;
                }
                std::thread::sleep(Duration::from_millis(20));
            }
            panic!("never: {condition}");
        }
    }

    #[test]
    fn the_first_catalog_is_there_when_start_returns() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("a"), "x").unwrap();
        let (latest, _watch) = Latest::watch(&[root.path()], None);
        assert!(latest.entry("a").is_some());
    }

    #[test]
    fn every_kind_of_change_is_heard() {
        let root = tempfile::tempdir().unwrap();
        let at = |path: &str| root.path().join(path);
        fs::write(at("old"), "x").unwrap();
        let (latest, _watch) = Latest::watch(&[root.path()], None);

        fs::write(at("new"), "x").unwrap();
        latest.wait_until("a new file", |now| now.entry("new").is_some());
        fs::write(at("new"), "longer").unwrap();
        latest.wait_until("a rewritten file", |now| now.entry("new").unwrap().version.bytes == 6);
        fs::rename(at("new"), at("old")).unwrap();
        latest.wait_until("a replaced file", |now| {
            now.entry("new").is_none() && now.entry("old").unwrap().version.bytes == 6
        });
        fs::create_dir_all(at("deep/er")).unwrap();
        fs::write(at("deep/er/file"), "x").unwrap();
        latest.wait_until("a new tree", |now| now.entry("deep/er/file").is_some());
        fs::write(at("deep/er/second"), "x").unwrap();
        latest.wait_until("a file in a new tree", |now| now.entry("deep/er/second").is_some());
        fs::rename(at("deep"), at("moved")).unwrap();
        latest.wait_until("a moved tree", |now| {
            now.entry("deep/er/file").is_none() && now.entry("moved/er/file").is_some()
        });
        fs::write(at("moved/er/third"), "x").unwrap();
        latest.wait_until("a file in a moved tree", |now| now.entry("moved/er/third").is_some());
        fs::remove_dir_all(at("moved")).unwrap();
        latest.wait_until("a removed tree", |now| now.catalog().roots[0].entries.len() == 1);
    }

    #[test]
    fn a_root_that_is_replaced_is_looked_at_again_and_heard_again() {
        let parent = tempfile::tempdir().unwrap();
        let root = parent.path().join("root");
        let (latest, _watch) = Latest::watch(&[&root], None);
        assert!(latest.catalog().roots[0].entries.is_empty());
        for round in 0..2 {
            fs::create_dir(&root).unwrap();
            fs::write(root.join("file"), "x").unwrap();
            latest.wait_until("the root is back", |now| {
                now.catalog().roots[0].fault.is_none() && now.entry("file").is_some()
            });
            fs::write(root.join("more"), "x").unwrap();
            latest.wait_until("it is heard", |now| now.entry("more").is_some());
            fs::rename(&root, parent.path().join(format!("away-{round}"))).unwrap();
            latest.wait_until("the root is away", |now| now.catalog().roots[0].fault.is_some());
            assert!(latest.entry("file").is_some(), "the last good state stays");
        }
    }

    #[test]
    fn files_that_did_not_change_keep_their_entries_over_a_restart() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("a"), "x").unwrap();
        let (latest, watch) = Latest::watch(&[root.path()], None);
        let before = latest.catalog();
        drop(watch);
        let (latest, _watch) = Latest::watch(&[root.path()], Some(&before));
        let before = before.roots[0].entries.get(b"a").unwrap();
        assert!(Arc::ptr_eq(before, &latest.entry("a").unwrap()));
    }

    #[test]
    fn bytes_written_in_place_are_noticed_though_size_and_time_were_put_back() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("image");
        fs::write(&path, vec![1; 10_000]).unwrap();
        let (latest, _watch) = Latest::watch(&[root.path()], None);
        let entry = latest.entry("image").unwrap();
        let file = fs::File::open(&path).unwrap();
        let version = Version::of(&file.metadata().unwrap());
        let blob = Arc::new(Blob::map(file, version).unwrap());
        entry.keep(Form::Octet, Some(Arc::clone(&blob)));

        let modified = fs::metadata(&path).unwrap().modified().unwrap();
        let file = fs::File::options().write(true).open(&path).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&file, &[2; 10_000], 0).unwrap();
        file.set_modified(modified).unwrap();
        assert!(blob.verify(), "size and time alone do not tell");
        latest.wait_until("the write is heard", |_| blob.is_stale());
    }

    #[test]
    fn a_change_of_mode_or_name_leaves_a_mapping_alone() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("image");
        fs::write(&path, vec![1; 10_000]).unwrap();
        let (latest, _watch) = Latest::watch(&[root.path()], None);
        let entry = latest.entry("image").unwrap();
        let file = fs::File::open(&path).unwrap();
        let blob = Arc::new(Blob::map(file, entry.version).unwrap());
        entry.keep(Form::Octet, Some(Arc::clone(&blob)));
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o640)).unwrap();
        latest.wait_until("the mode is heard", |now| {
            !Arc::ptr_eq(&now.entry("image").unwrap(), &entry)
        });
        fs::rename(&path, root.path().join("other")).unwrap();
        latest.wait_until("the name is heard", |now| now.entry("other").is_some());
        assert!(!blob.is_stale() && blob.verify());
    }

    #[test]
    fn what_lies_behind_a_link_to_a_hidden_directory_is_heard() {
        let root = tempfile::tempdir().unwrap();
        let at = |path: &str| root.path().join(path);
        fs::create_dir_all(at(".versions/1")).unwrap();
        fs::write(at(".versions/1/image"), "1").unwrap();
        std::os::unix::fs::symlink(".versions/1", at("current")).unwrap();
        let (latest, _watch) = Latest::watch(&[root.path()], None);
        let bytes = |now: &Latest| now.entry("current/image").map(|entry| entry.version.bytes);
        assert_eq!(bytes(&latest), Some(1));
        fs::write(at(".versions/1/image"), "22").unwrap();
        latest.wait_until("a change behind the link", |now| bytes(now) == Some(2));
        fs::create_dir_all(at(".versions/2")).unwrap();
        fs::write(at(".versions/2/image"), "333").unwrap();
        std::os::unix::fs::symlink(".versions/2", at(".next")).unwrap();
        fs::rename(at(".next"), at("current")).unwrap();
        latest.wait_until("the link itself", |now| bytes(now) == Some(3));
        fs::write(at(".versions/2/image"), "4444").unwrap();
        latest.wait_until("a change behind the new link", |now| bytes(now) == Some(4));
    }

    #[test]
    fn a_burst_of_changes_loses_none() {
        let root = tempfile::tempdir().unwrap();
        let (latest, _watch) = Latest::watch(&[root.path()], None);
        for n in 0..30_000 {
            fs::write(root.path().join(format!("{n}.cfg")), "x").unwrap();
        }
        latest.wait_until("all are there", |now| now.catalog().roots[0].entries.len() == 30_000);
        for n in 0..15_000 {
            fs::remove_file(root.path().join(format!("{n}.cfg"))).unwrap();
        }
        latest.wait_until("half are gone", |now| now.catalog().roots[0].entries.len() == 15_000);
    }

    #[test]
    fn what_this_process_has_placed_is_published_before_it_goes_on() {
        let root = tempfile::tempdir().unwrap();
        let (latest, watch) = Latest::watch(&[root.path()], None);
        for n in 0..50 {
            let path = root.path().join(format!("{}.cfg", n % 5));
            let aside = root.path().join(".aside");
            fs::write(&aside, n.to_string()).unwrap();
            fs::rename(&aside, &path).unwrap();
            let version = Some(Version::of(&fs::metadata(&path).unwrap()));
            let placed = [super::super::catalog_handle::Placed { path, version }];
            assert!(watch.published().publish(&placed, Duration::from_secs(20)));
            let entry = latest.entry(&format!("{}.cfg", n % 5)).unwrap();
            assert_eq!(Some(entry.version), version);
            assert!(entry.is_whole());
        }
    }

    #[test]
    fn a_prompt_is_answered_while_everything_is_looked_at() {
        let root = tempfile::tempdir().unwrap();
        for n in 0..20_000 {
            fs::write(root.path().join(format!("{n}.cfg")), "").unwrap();
        }
        let (latest, watch) = Latest::watch(&[root.path()], None);
        watch.rescan();
        for n in 0..20 {
            let path = root.path().join(format!("new-{n}"));
            fs::write(&path, "x").unwrap();
            let placed = [super::super::catalog_handle::Placed { path, version: None }];
            assert!(watch.published().publish(&placed, Duration::from_secs(20)));
            assert!(latest.entry(&format!("new-{n}")).is_some());
        }
    }

    #[test]
    fn a_look_that_nobody_waits_for_any_more_leaves_the_old_watch_as_it_is() {
        let (root, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for n in 0..20_000 {
            fs::write(other.path().join(format!("{n}.cfg")), "").unwrap();
        }
        let (latest, watch) = Latest::watch(&[root.path()], None);
        let published = watch.published();
        let mut old = Some(watch);
        let mut config = WatchConfig::new(vec![other.path().to_path_buf()]);
        config.published = Arc::clone(&published);
        let publish = Box::new(|_| panic!("nobody waits for this"));
        let replaced = replace(config, None, publish, &mut old, &|| false).unwrap();
        assert!(replaced.is_none() && old.is_some());
        let path = root.path().join("new");
        fs::write(&path, "x").unwrap();
        assert!(published.rescan(&[path], Duration::from_secs(20)));
        assert!(latest.entry("new").is_some());
    }

    #[test]
    fn what_is_published_while_a_new_watch_looks_is_in_its_first_catalog() {
        let root = tempfile::tempdir().unwrap();
        for n in 0..2_000 {
            fs::write(root.path().join(format!("{n}.cfg")), "").unwrap();
        }
        let (latest, watch) = Latest::watch(&[root.path()], None);
        let published = watch.published();
        let mut old = Some(watch);
        for round in 0..5 {
            let mut config = WatchConfig::new(vec![root.path().to_path_buf()]);
            config.published = Arc::clone(&published);
            let newest = Arc::clone(&latest.0);
            let publish = Box::new(move |catalog| *newest.lock() = catalog);
            let stored = Mutex::new(Vec::new());
            let store = || {
                let name = format!("new-{round}-{}", stored.lock().len());
                let path = root.path().join(&name);
                fs::write(&path, "x").unwrap();
                if old_publishes(&published, &path) {
                    stored.lock().push(name);
                }
                true
            };
            let replaced = replace(config, None, publish, &mut old, &store).unwrap();
            old = replaced;
            let names = stored.into_inner();
            assert!(!names.is_empty());
            assert!(names.iter().all(|name| latest.entry(name).is_some()), "{names:?}");
        }
    }

    fn old_publishes(published: &CatalogHandle, path: &Path) -> bool {
        published.rescan(&[path.to_path_buf()], Duration::from_secs(20))
    }

    #[test]
    fn what_is_written_in_place_after_it_was_placed_is_not_taken_for_whole() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("file");
        let (latest, watch) = Latest::watch(&[root.path()], None);
        fs::write(&path, "1").unwrap();
        let version = Some(Version::of(&fs::metadata(&path).unwrap()));
        let placed = [super::super::catalog_handle::Placed { path: path.clone(), version }];
        assert!(watch.published().publish(&placed, Duration::from_secs(20)));
        fs::write(&path, "2").unwrap();
        latest.wait_until("the write is heard", |now| !now.entry("file").unwrap().is_whole());
    }
}
