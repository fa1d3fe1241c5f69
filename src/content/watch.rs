//! Keeps the catalog as the disk is: hears of changes, looks at what was touched, publishes.
//!
//! One thread. It hears of changes through inotify where there is one, looks at whole roots now and
//! then as the net for what it did not hear, and every second whether a root is still the directory
//! that it was. Work in the background is rationed: however fast a disk changes, most of a core is
//! left to others. It never opens a file and never touches the data path.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use notify::event::{AccessKind, AccessMode, EventKind, ModifyKind};
use notify::{ErrorKind, RecommendedWatcher, RecursiveMode, Watcher};

use super::omission::{Omission, Omissions};
use super::published::Published;
use super::scan::Scanner;
use super::{Catalog, RootId};

/// Notices that wait for the thread; more than that, and whole roots are looked at instead.
const NOTICES_MAX: usize = 65_536;
/// Touched paths in one round; more than that, and the whole root is looked at instead.
const TOUCHED_MAX: usize = 20_000;
/// How often the thread looks whether a root has moved.
const ROOT_CHECK: Duration = Duration::from_secs(1);
/// After a round the thread rests this many times as long as the round took.
const REST_FACTOR: u32 = 2;
/// How long a catalog is held after the next one is out: by then no worker's turn uses it, and
/// taking 200,000 entries apart falls to this thread and not to a worker.
const RETIRED_FOR: Duration = Duration::from_secs(1);
/// Catalogs held so, at most.
const RETIRED_MAX: usize = 8;
/// How often whole roots are looked at while changes cannot be heard.
const DEAF_RESCAN: Duration = Duration::from_secs(10);

/// What is watched, and how.
#[derive(Clone, Debug)]
pub struct WatchConfig {
    /// The roots; a [`RootId`] is a place in this list.
    pub roots: Vec<PathBuf>,
    /// How long changes are collected before they are looked at. Default 100 ms.
    pub collect: Duration,
    /// How often whole roots are looked at, as the net for what was not heard. Default 60 s.
    pub rescan_every: Duration,
    /// Where whoever changes files finds the newest catalog, and this watch.
    pub published: Arc<Published>,
}

impl WatchConfig {
    /// Roots watched with the usual times.
    #[must_use]
    pub fn new(roots: Vec<PathBuf>) -> Self {
        WatchConfig {
            roots,
            collect: Duration::from_millis(100),
            rescan_every: Duration::from_secs(60),
            published: Arc::default(),
        }
    }
}

/// Takes each new catalog.
pub type Publish = Box<dyn Fn(Arc<Catalog>) + Send>;

/// The watch, until it is dropped.
#[derive(Debug)]
pub struct Watch {
    notices: Sender<Notice>,
    published: Arc<Published>,
    stopping: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// Looks at every root, publishes the first catalog before it returns, and each further one from a
/// thread of its own. A root that `previous` has at the same place keeps its entries. The watch
/// before this one is dropped first: whoever publishes last decides what is served.
///
/// # Errors
/// The system's, when it gives no thread. A root that cannot be read is no error: it is empty until
/// it can be.
pub fn start(
    config: WatchConfig,
    previous: Option<&Catalog>,
    publish: Publish,
) -> io::Result<Watch> {
    let (notices, received) = bounded(NOTICES_MAX);
    let lost = Arc::new(AtomicBool::new(false));
    let roots = (0..)
        .zip(&config.roots)
        .map(|(id, path)| {
            let known = previous.and_then(|catalog| catalog.roots.get(usize::from(id)));
            let ears = Ears::new(usize::from(id), path, &notices, &lost);
            let scanner = Scanner::new(RootId(id), path, known.map(|root| &**root));
            let told = Omissions::new();
            WatchedRoot { scanner, ears, told, is_due: true, has_been_touched: false }
        })
        .collect();
    let stopping = Arc::new(AtomicBool::new(false));
    let published = Arc::clone(&config.published);
    let mut round = Round {
        config,
        roots,
        received,
        lost,
        stopping: Arc::clone(&stopping),
        touched: HashMap::new(),
        prompts: Vec::new(),
        publish,
        published: VecDeque::new(),
        rescanned_at: Instant::now(),
    };
    round.look();
    round.publish();
    for root in &mut round.roots {
        root.scanner.gentle = true;
    }
    let thread = std::thread::Builder::new().name("watch".into());
    let thread = Some(thread.spawn(move || round.run())?);
    published.watched_by(Some(Sender::clone(&notices)));
    Ok(Watch { notices, published, stopping, thread })
}

impl Watch {
    /// Where the newest catalog is found, and the watch that publishes it: this one, until it is
    /// dropped.
    #[must_use]
    pub fn published(&self) -> Arc<Published> {
        Arc::clone(&self.published)
    }

    /// Has every root looked at soon.
    pub fn rescan(&self) {
        // A full queue leads to a rescan anyway.
        let _ = self.notices.try_send(Notice::Rescan(None));
    }
}

impl Drop for Watch {
    /// Stops the thread; nothing is published afterwards.
    fn drop(&mut self) {
        self.published.watched_by(None);
        self.stopping.store(true, Relaxed);
        self.rescan();
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the watch thread panicked");
        }
    }
}

/// What the thread hears.
#[derive(Debug)]
pub(super) enum Notice {
    /// Something happened to a path of a root.
    Touched { root: usize, path: PathBuf, written: bool },
    /// Some changes of a root, or of all, went unheard.
    Rescan(Option<usize>),
    /// Somebody has changed these paths of the whole system, and waits for the catalog.
    Prompt { paths: Vec<PathBuf>, done: Sender<()> },
}

struct WatchedRoot {
    scanner: Scanner,
    ears: Ears,
    /// What the log was last told about omissions.
    told: Omissions,
    /// Whether the whole root is to be looked at.
    is_due: bool,
    /// Whether links have to be looked at.
    has_been_touched: bool,
}

/// The thread's work: collect, look, publish.
struct Round {
    config: WatchConfig,
    roots: Vec<WatchedRoot>,
    received: Receiver<Notice>,
    /// Set when a notice found the queue full.
    lost: Arc<AtomicBool>,
    stopping: Arc<AtomicBool>,
    /// What was touched, by root and path, and whether bytes were written in place.
    touched: HashMap<(usize, String), bool>,
    /// Who waits for the next catalog: nothing is collected and nobody rests meanwhile.
    prompts: Vec<Sender<()>>,
    publish: Publish,
    /// The catalogs that were published last, and when; the last one is the current one.
    published: VecDeque<(Instant, Arc<Catalog>)>,
    rescanned_at: Instant,
}

impl Round {
    fn run(mut self) {
        while !self.stopping.load(Relaxed) {
            self.collect();
            self.let_go();
            let began = Instant::now();
            if self.stopping.load(Relaxed) {
                return;
            }
            let is_due = self.mark_due();
            if self.look() {
                self.publish();
            }
            // Whoever has waited for too long has gone.
            for done in self.prompts.drain(..) {
                let _ = done.try_send(());
            }
            // What is looked at in due time is looked at gently, and seldom.
            if !is_due {
                self.rest(began.elapsed() * REST_FACTOR);
            }
        }
    }

    /// Waits for the first notice, then goes on collecting for a while.
    fn collect(&mut self) {
        if !self.prompts.is_empty() {
            return;
        }
        match self.received.recv_timeout(ROOT_CHECK) {
            Ok(notice) => self.take(notice),
            Err(RecvTimeoutError::Timeout) => return,
            Err(RecvTimeoutError::Disconnected) => return std::thread::sleep(ROOT_CHECK),
        }
        let until = Instant::now() + self.config.collect;
        self.take_until(until);
    }

    fn rest(&mut self, rest: Duration) {
        self.take_until(Instant::now() + rest);
    }

    fn take_until(&mut self, until: Instant) {
        while !self.stopping.load(Relaxed) && self.prompts.is_empty() {
            match self.received.recv_deadline(until) {
                Ok(notice) => self.take(notice),
                Err(_) => return,
            }
        }
    }

    fn take(&mut self, notice: Notice) {
        match notice {
            Notice::Rescan(Some(root)) => {
                if let Some(root) = self.roots.get_mut(root) {
                    root.is_due = true;
                }
            }
            Notice::Rescan(None) => self.roots.iter_mut().for_each(|root| root.is_due = true),
            Notice::Prompt { paths, done } => {
                let beneath: Vec<_> = paths.iter().flat_map(|path| self.beneath(path)).collect();
                for (number, path) in beneath {
                    self.take(Notice::Touched { root: number, path, written: false });
                }
                self.prompts.push(done);
            }
            Notice::Touched { root, path, written } => {
                let Some(watched) = self.roots.get_mut(root) else { return };
                match path.to_str() {
                    // The root itself was touched: its mode perhaps, or it moved.
                    Some("") => watched.is_due = true,
                    Some(path) if self.touched.len() < TOUCHED_MAX => {
                        *self.touched.entry((root, path.to_owned())).or_default() |= written;
                    }
                    Some(_) => watched.is_due = true,
                    // Such a name is not served anyway.
                    None => {}
                }
            }
        }
    }

    /// The roots that a path of the whole system lies in, and what it is called there.
    fn beneath(&self, path: &Path) -> Vec<(usize, PathBuf)> {
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
        let roots = self.roots.iter().enumerate();
        roots
            .filter_map(|(number, root)| {
                Some((number, path.strip_prefix(&root.ears.path).ok()?.to_path_buf()))
            })
            .collect()
    }

    /// Marks every root when it is time to look at all of them, and says whether it is.
    fn mark_due(&mut self) -> bool {
        let is_deaf = self.roots.iter().any(|root| root.ears.is_deaf);
        let every = match is_deaf {
            true => self.config.rescan_every.min(DEAF_RESCAN),
            false => self.config.rescan_every,
        };
        let is_due = self.rescanned_at.elapsed() >= every;
        if is_due {
            self.rescanned_at = Instant::now();
            self.take(Notice::Rescan(None));
        }
        is_due
    }

    /// Looks at whatever was touched and at the roots that are marked. True when anything has
    /// changed.
    fn look(&mut self) -> bool {
        if self.lost.swap(false, Relaxed) {
            tracing::warn!(
                "files change faster than they can be looked at; looking at all of them"
            );
            self.take(Notice::Rescan(None));
        }
        let mut changed = false;
        for root in &mut self.roots {
            if root.scanner.has_moved() {
                root.ears.restart();
                root.is_due = true;
            }
        }
        for ((number, path), written) in self.touched.drain() {
            // Only a single look sees that bytes were written where size and time were put back.
            let root = self.roots.get_mut(number).filter(|root| written || !root.is_due);
            let Some(root) = root else { continue };
            let ears = &mut root.ears;
            changed |= root.scanner.touch(&path, written, &mut |dir| ears.hear(dir));
            root.has_been_touched = true;
        }
        for root in &mut self.roots {
            changed |= root.look();
        }
        changed
    }

    fn publish(&mut self) {
        if self.stopping.load(Relaxed) {
            return;
        }
        let roots = self.roots.iter().map(|root| root.scanner.root()).collect();
        let catalog = Arc::new(Catalog { roots });
        self.published.push_back((Instant::now(), Arc::clone(&catalog)));
        self.config.published.store(Arc::clone(&catalog));
        (self.publish)(catalog);
    }

    /// Lets go of catalogs that nobody should be using any more.
    fn let_go(&mut self) {
        while let Some((next_out_at, _)) = self.published.get(1) {
            if self.published.len() <= RETIRED_MAX && next_out_at.elapsed() < RETIRED_FOR {
                return;
            }
            self.published.pop_front();
        }
    }
}

impl WatchedRoot {
    fn look(&mut self) -> bool {
        let ears = &mut self.ears;
        let has_been_touched = std::mem::take(&mut self.has_been_touched);
        if !std::mem::take(&mut self.is_due) {
            return has_been_touched && self.scanner.touch_links(&mut |dir| ears.hear(dir));
        }
        let changed = self.scanner.rescan(&mut |dir| ears.hear(dir));
        let omissions = self.scanner.omissions();
        let root = self.ears.path.display();
        for (omission, omitted) in &omissions {
            if self.told.get(omission) != Some(omitted) {
                let (count, first) = (omitted.count, &omitted.first);
                tracing::warn!("{root}: not served: {omission} ({count}, the first is {first})");
            }
        }
        if self.told.contains_key(&Omission::Root) && !omissions.contains_key(&Omission::Root) {
            tracing::info!("{root}: served again");
        }
        self.told = omissions;
        changed
    }
}

/// Hears of changes under one root.
struct Ears {
    root: usize,
    /// Absolute, as the notices bring it.
    path: PathBuf,
    watcher: Option<RecommendedWatcher>,
    /// Whether some directory is not watched, so that only looking finds its changes.
    is_deaf: bool,
    notices: Sender<Notice>,
    lost: Arc<AtomicBool>,
}

impl Ears {
    fn new(root: usize, path: &Path, notices: &Sender<Notice>, lost: &Arc<AtomicBool>) -> Self {
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
        let (notices, lost) = (notices.clone(), Arc::clone(lost));
        let mut ears = Ears { root, path, watcher: None, is_deaf: false, notices, lost };
        ears.restart();
        ears
    }

    /// Forgets every directory: the root has become another one.
    fn restart(&mut self) {
        let (root, path) = (self.root, self.path.clone());
        let (notices, lost) = (self.notices.clone(), Arc::clone(&self.lost));
        let handler = move |event: notify::Result<notify::Event>| {
            for notice in heard(root, &path, event) {
                if notices.try_send(notice).is_err() {
                    lost.store(true, Relaxed);
                }
            }
        };
        // The old one first: the system gives few of them.
        self.watcher = None;
        match notify::recommended_watcher(handler) {
            Ok(watcher) => {
                self.watcher = Some(watcher);
                self.is_deaf = false;
            }
            Err(why) => self.go_deaf(&format!(
                "{why}; raise the sysctl fs.inotify.max_user_instances to hear of all"
            )),
        }
    }

    /// Watches one directory, given by its path beneath the root; again is no harm.
    fn hear(&mut self, dir: &str) {
        let Some(watcher) = &mut self.watcher else { return };
        let path = if dir.is_empty() { self.path.clone() } else { self.path.join(dir) };
        let Err(why) = watcher.watch(&path, RecursiveMode::NonRecursive) else { return };
        match why.kind {
            // It has gone already, and whoever took it away made a notice of that.
            ErrorKind::PathNotFound => {}
            ErrorKind::MaxFilesWatch => self.go_deaf(
                "too many directories; raise the sysctl fs.inotify.max_user_watches to hear of all",
            ),
            ErrorKind::Generic(_)
            | ErrorKind::Io(_)
            | ErrorKind::WatchNotFound
            | ErrorKind::InvalidConfig(_) => self.go_deaf(&why.to_string()),
        }
    }

    fn go_deaf(&mut self, why: &str) {
        if !self.is_deaf {
            let (root, every) = (self.path.display(), DEAF_RESCAN.as_secs());
            tracing::warn!("changes under {root} are only found every {every} s: {why}");
        }
        self.is_deaf = true;
    }
}

/// What an event of the system means here.
fn heard(root: usize, path: &Path, event: notify::Result<notify::Event>) -> Vec<Notice> {
    let event = match event {
        Ok(event) if event.need_rescan() => return vec![Notice::Rescan(Some(root))],
        Ok(event) => event,
        Err(_) => return vec![Notice::Rescan(Some(root))],
    };
    let written = match event.kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write))
        | EventKind::Modify(ModifyKind::Data(_)) => true,
        // Reading is no change, and the loader reads a lot.
        EventKind::Access(_) => return Vec::new(),
        EventKind::Modify(_)
        | EventKind::Create(_)
        | EventKind::Remove(_)
        | EventKind::Any
        | EventKind::Other => false,
    };
    let beneath = event.paths.iter().filter_map(|full| full.strip_prefix(path).ok());
    let served = beneath.filter(|path| {
        let name = path.file_name().map(std::ffi::OsStr::as_encoded_bytes);
        name.is_none_or(|name| !name.starts_with(b"."))
    });
    served.map(|path| Notice::Touched { root, path: path.to_path_buf(), written }).collect()
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use super::super::blob::{Blob, Version};
    use super::super::{Entry, Form};
    use super::*;
    use std::fs;
    use std::sync::Mutex;

    /// The catalogs as they are published; the last one.
    struct Latest(Arc<Mutex<Arc<Catalog>>>);

    impl Latest {
        /// Starts a watch that looks at everything so rarely that only what it hears can count.
        fn watch(roots: &[&Path], previous: Option<&Catalog>) -> (Latest, Watch) {
            let latest = Latest(Arc::default());
            let published = Arc::clone(&latest.0);
            let roots = roots.iter().map(|root| root.to_path_buf()).collect();
            let rescan_every = Duration::from_secs(3_600);
            let config = WatchConfig { rescan_every, ..WatchConfig::new(roots) };
            let publish = Box::new(move |catalog| *published.lock().unwrap() = catalog);
            let watch = start(config, previous, publish).unwrap();
            (latest, watch)
        }

        fn catalog(&self) -> Arc<Catalog> {
            Arc::clone(&self.0.lock().unwrap())
        }

        fn entry(&self, name: &str) -> Option<Arc<Entry>> {
            self.catalog().roots[0].entries.get(name.as_bytes()).cloned()
        }

        fn wait_until(&self, what: &str, holds: impl Fn(&Latest) -> bool) {
            for _ in 0..1_000 {
                if holds(self) {
                    return;
                }
                std::thread::sleep(Duration::from_millis(20));
            }
            panic!("never: {what}");
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
            latest.wait_until("the root is back", |now| now.entry("file").is_some());
            fs::write(root.join("more"), "x").unwrap();
            latest.wait_until("it is heard", |now| now.entry("more").is_some());
            fs::rename(&root, parent.path().join(format!("away-{round}"))).unwrap();
            latest.wait_until("the root is away", |now| now.entry("file").is_none());
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
}
