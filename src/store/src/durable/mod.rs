//! What it takes that a file outlives a crash: written aside, synced, put in its place, and every
//! directory on the way synced before anybody is told.
//!
//! Many files are synced from many threads at once: a file system that keeps a journal commits it
//! once for all who ask while it is at it, so that a batch costs little more than one file. Unlike
//! one sync of the whole file system this tells which file failed, holds on any kernel and file
//! system, and does not wait for what others write there.
//!
//! Never changes a file in place, and never leaves half of one where it could be taken for whole.

use std::collections::{HashMap, HashSet};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use cap_std::ambient_authority;
use cap_std::fs::{Dir, Metadata, OpenOptions};

use crate::version::VersionExt as _;
use engine::cancel::CancelToken;
use engine::catalog::blob::Version;

pub(crate) mod placement;
pub(crate) mod spelling;

/// How the names of files begin that are being written. A dot keeps them from being served.
pub(crate) const ASIDE: &str = ".ringpost-";
/// Files that this process has written aside.
static FILES_WRITTEN: AtomicU64 = AtomicU64::new(0);
/// Directories that are known to outlive a crash.
const DURABLE_MAX: usize = 65_536;
/// Threads that sync at once; more gain nothing.
const SYNC_THREADS_MAX: usize = 16;
/// Files or directories that one thread syncs as fast as several.
const SYNCS_ALONE: usize = 4;
/// Names that are tried for a file beside its place.
const CLAIMS_MAX: usize = 8;
/// How often the log is told of the same kind of trouble.
const TELL_EVERY: Duration = Duration::from_secs(60);

/// The steps that a disk may fail at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(test, derive(PartialOrd, Ord))]
pub(crate) enum Step {
    MakeDirectory,
    Create,
    Write,
    Sync,
    Rename,
    SyncDirectory,
    Remove,
}

/// Writes files aside, and remembers which directories must be synced before the batch is told of.
#[derive(Debug, Default)]
pub(crate) struct Disk {
    /// Directories that were changed, by their paths.
    unsynced: HashMap<PathBuf, Arc<Dir>>,
    /// The tops that this batch has opened: most of it goes to the same one.
    tops: HashMap<PathBuf, Arc<Dir>>,
    /// Directories whose names in their parents are known to outlive a crash.
    durable: HashSet<PathBuf>,
    /// Those that become so with the next sync.
    named: Vec<PathBuf>,
    /// Vaults in which what a crash left was looked for.
    swept: HashSet<PathBuf>,
    /// Files that were added to and are to be synced, with the directories that they are in.
    appended: Vec<(PathBuf, std::fs::File)>,
    pub(crate) complaints: Complaints,
    /// Where a test has the disk fail.
    #[cfg(test)]
    pub(crate) fault: Option<Fault>,
    /// The steps that were reached.
    #[cfg(test)]
    pub(crate) reached: Mutex<Vec<Step>>,
}

/// A failure that a test wants.
#[cfg(test)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fault {
    pub(crate) step: Step,
    /// Whether the process ends there, and cleans nothing up.
    pub(crate) crash: bool,
    /// Which of those that come there fails, the first being 1; none for all.
    pub(crate) nth: Option<usize>,
}

#[cfg(test)]
impl Fault {
    /// Whether this step fails, the last one that was reached.
    fn is_now(self, step: Step, reached: &[Step]) -> bool {
        let times = reached.iter().filter(|reached| **reached == self.step).count();
        match self.nth {
            None => self.step == step,
            Some(nth) if self.crash => times >= nth,
            Some(nth) => self.step == step && times == nth,
        }
    }
}

/// A whole file that stands aside and waits for its place. Locked as long as it does, so that
/// another process's start spares it.
#[derive(Debug)]
pub(crate) struct Aside {
    file: std::fs::File,
    name: String,
    from: Arc<Dir>,
    to: Target,
    synced: io::Result<()>,
    /// Who may still take it back.
    cancel: Option<CancelToken>,
}

/// Where a file is to go.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) dir: Arc<Dir>,
    /// The directory's.
    pub(crate) path: PathBuf,
    pub(crate) name: String,
}

impl Target {
    /// Whether the directory is still the one that its path leads to.
    pub(crate) fn is_in_place(&self) -> bool {
        #[cfg(unix)]
        {
            use std::os::unix::fs::MetadataExt as _;
            let there = std::fs::metadata(&self.path).map(|meta| (meta.dev(), meta.ino()));
            let dir = self.dir.dir_metadata();
            let dir = dir.map(|meta| {
                use cap_std::fs::MetadataExt as _;
                (meta.dev(), meta.ino())
            });
            matches!((there, dir), (Ok(there), Ok(dir)) if there == dir)
        }
        #[cfg(not(unix))]
        self.path.is_dir()
    }
}

/// What a file beside is to be like.
#[derive(Clone, Copy, Default)]
pub(crate) struct Manner<'a> {
    /// A file whose mode it is to have.
    pub(crate) like: Option<&'a Metadata>,
    /// Its mode where there is none to be like; 0 for the usual one.
    pub(crate) mode: u32,
    /// Its modification time; none for now.
    pub(crate) modified: Option<SystemTime>,
}

impl Aside {
    /// The file itself.
    pub(crate) fn file(&self) -> &std::fs::File {
        &self.file
    }

    /// Where it is to go.
    pub(crate) fn to(&self) -> &Target {
        &self.to
    }

    /// Has it go to another name.
    pub(crate) fn go_to(&mut self, name: String) {
        self.to.name = name;
    }

    /// What takes it back, if anything does.
    pub(crate) fn cancel(&self) -> Option<&CancelToken> {
        self.cancel.as_ref()
    }

    /// Has it placed only if nobody has taken it back by then.
    pub(crate) fn place_unless(&mut self, cancel: Option<&CancelToken>) {
        self.cancel = cancel.cloned();
    }

    /// Closes the file for writing. The end of one that is open for writing is heard as a write to
    /// it, under the name that it has by then, and this one is never written to under that name.
    fn end_writing(&mut self) -> io::Result<()> {
        // Whoever may not read it is left with what was open.
        let Ok(file) = self.from.open(&self.name) else { return Ok(()) };
        // The lock goes with what held it.
        drop(std::mem::replace(&mut self.file, file.into_std()));
        self.hold()
    }

    /// Locks the file. Fails when somebody takes it for what a crash left, or took it away: from
    /// then on its name may be another's.
    fn hold(&self) -> io::Result<()> {
        // A file system that knows no locks is not swept either.
        if let Err(std::fs::TryLockError::WouldBlock) = self.file.try_lock() {
            return Err(io::ErrorKind::ResourceBusy.into());
        }
        #[cfg(unix)]
        {
            let there = self.from.symlink_metadata(&self.name).ok();
            let there = there.map(|there| cap_std::fs::MetadataExt::ino(&there));
            if there != Some(std::os::unix::fs::MetadataExt::ino(&self.file.metadata()?)) {
                return Err(io::ErrorKind::ResourceBusy.into());
            }
        }
        Ok(())
    }
}

impl Disk {
    /// Opens a directory of the whole system; makes it, durably, where it is missing.
    pub(crate) fn top(&mut self, path: &Path) -> io::Result<Arc<Dir>> {
        if let Some(opened) = self.tops.get(path) {
            return Ok(Arc::clone(opened));
        }
        let opened = Arc::new(self.open_top(path)?);
        self.tops.insert(path.to_path_buf(), Arc::clone(&opened));
        Ok(opened)
    }

    fn open_top(&self, path: &Path) -> io::Result<Dir> {
        match Dir::open_ambient_dir(path, ambient_authority()) {
            Err(missing) if missing.kind() == io::ErrorKind::NotFound => {}
            found => return found,
        }
        self.reach(Step::MakeDirectory)?;
        let is_missing = |dir: &&Path| !dir.as_os_str().is_empty() && !dir.exists();
        let missing = path.ancestors().take_while(is_missing).count();
        std::fs::create_dir_all(path)?;
        let made: Vec<_> = path.ancestors().take(missing + 1).collect();
        // From above, so that each has the owner of the first one that was there.
        for pair in made.windows(2).rev() {
            let (inner, parent) = (pair[0], pair[1]);
            let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
            let parent = Dir::open_ambient_dir(parent, ambient_authority())?;
            #[cfg(unix)]
            give_to_owner_of(&parent, &std::fs::File::open(inner)?);
            #[cfg(not(unix))]
            let _ = inner;
            sync_directory(&parent)?;
        }
        Dir::open_ambient_dir(path, ambient_authority())
    }

    /// Opens the directory `name` in `dir`, whose path is `path`; makes it where it is missing. Its
    /// name outlives a crash once the batch is synced.
    pub(crate) fn inner(
        &mut self,
        dir: &Arc<Dir>,
        path: &Path,
        name: &str,
        mode: u32,
    ) -> io::Result<Arc<Dir>> {
        let inner_path = path.join(name);
        match dir.open_dir(name) {
            // A process that ended early may have made it and not synced.
            Ok(inner) if self.durable.contains(&inner_path) => return Ok(Arc::new(inner)),
            Ok(inner) => {
                self.changed(path, dir);
                self.named.push(inner_path);
                return Ok(Arc::new(inner));
            }
            Err(missing) if missing.kind() == io::ErrorKind::NotFound => {}
            Err(why) => return Err(why),
        }
        self.reach(Step::MakeDirectory)?;
        match make_directory(dir, name, mode) {
            Err(there) if there.kind() != io::ErrorKind::AlreadyExists => return Err(there),
            Ok(()) | Err(_) => self.changed(path, dir),
        }
        self.named.push(inner_path);
        dir.open_dir(name).map(Arc::new)
    }

    /// Opens directories anew from now on.
    pub(crate) fn forget_tops(&mut self) {
        self.tops.clear();
    }

    /// Whether nobody has asked so of this path before.
    pub(crate) fn is_first_use(&mut self, path: &Path) -> bool {
        !self.swept.contains(path) && self.swept.insert(path.to_path_buf())
    }

    /// A name for a file aside that no other of this process has.
    pub(crate) fn aside_name() -> String {
        format!("{ASIDE}{}-{}", std::process::id(), FILES_WRITTEN.fetch_add(1, Relaxed))
    }

    /// Makes an empty file beside its place. Whoever sweeps the directory at that very moment may
    /// take it away before it is locked.
    pub(crate) fn claim_beside(&self, to: &Target, manner: Manner<'_>) -> io::Result<Aside> {
        let mut last = io::ErrorKind::ResourceBusy.into();
        for _ in 0..CLAIMS_MAX {
            match self.claim_aside((&to.dir, &Self::aside_name()), to.clone(), manner) {
                Err(taken) if taken.kind() == io::ErrorKind::ResourceBusy => last = taken,
                claimed => return claimed,
            }
        }
        Err(last)
    }

    /// Writes a file beside its place. What fails is removed again.
    pub(crate) fn write_beside(
        &self,
        to: &Target,
        bytes: &[u8],
        manner: Manner<'_>,
    ) -> io::Result<Aside> {
        let aside = self.claim_beside(to, manner)?;
        if let Err(why) = self.fill(&aside, bytes, manner.modified) {
            self.discard(aside);
            return Err(why);
        }
        Ok(aside)
    }

    /// Writes a file aside in `dir`, under a name of its own. What fails is removed again.
    /// `AlreadyExists` and `ResourceBusy` tell that the name is somebody else's just now.
    pub(crate) fn write_aside(
        &self,
        (dir, name): (&Arc<Dir>, &str),
        to: Target,
        bytes: &[u8],
        manner: Manner<'_>,
    ) -> io::Result<Aside> {
        let aside = self.claim_aside((dir, name), to, manner)?;
        if let Err(why) = self.fill(&aside, bytes, manner.modified) {
            self.discard(aside);
            return Err(why);
        }
        Ok(aside)
    }

    /// Makes an empty file aside, for whoever has more to write than is in memory.
    pub(crate) fn claim_aside(
        &self,
        (dir, name): (&Arc<Dir>, &str),
        to: Target,
        manner: Manner<'_>,
    ) -> io::Result<Aside> {
        self.reach(Step::Create)?;
        let mut options = OpenOptions::new();
        // Whoever has to begin anew reads again what it has written.
        options.read(true).write(true).create_new(true);
        #[cfg(unix)]
        if manner.mode != 0 {
            cap_std::fs::OpenOptionsExt::mode(&mut options, manner.mode);
        }
        let file = dir.open_with(name, &options)?;
        if let Some(meta) = manner.like.filter(|meta| meta.is_file()) {
            // Where the system does not allow it, the file has the usual mode.
            let _ = file.set_permissions(meta.permissions());
        }
        let file = file.into_std();
        let unsynced = Err(io::Error::other("it was not synced"));
        let aside = Aside {
            file,
            name: name.to_owned(),
            from: Arc::clone(dir),
            to,
            synced: unsynced,
            cancel: None,
        };
        aside.hold()?;
        give_to_owner_of(dir, &aside.file);
        Ok(aside)
    }

    fn fill(&self, aside: &Aside, bytes: &[u8], modified: Option<SystemTime>) -> io::Result<()> {
        self.reach(Step::Write)?;
        (&aside.file).write_all(bytes)?;
        modified.map_or(Ok(()), |modified| aside.file.set_modified(modified))
    }

    /// Writes to a file aside what is not in memory as a whole.
    pub(crate) fn fill_with<T>(
        &self,
        aside: &Aside,
        write: impl FnOnce(&std::fs::File) -> io::Result<T>,
    ) -> io::Result<T> {
        self.reach(Step::Write)?;
        write(&aside.file)
    }

    /// Removes a file, unless it is gone already. A crash may bring it back.
    pub(crate) fn remove(&self, dir: &Dir, name: &str) -> io::Result<()> {
        self.reach(Step::Remove)?;
        match dir.remove_file(name) {
            Err(why) if why.kind() != io::ErrorKind::NotFound => Err(why),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Removes a file of `dir`, whose path is `path`. It is gone for good once the batch is synced.
    pub(crate) fn take_away(&mut self, path: &Path, dir: &Arc<Dir>, name: &str) -> io::Result<()> {
        self.reach(Step::Remove)?;
        dir.remove_file(name)?;
        self.changed(path, dir);
        Ok(())
    }

    /// Has the bytes of files aside outlive a crash. What fails is told when it is to be placed.
    pub(crate) fn sync_asides<'a>(&self, asides: impl Iterator<Item = &'a mut Aside>) {
        let mut asides: Vec<_> = asides.collect();
        let synced = in_parallel(&asides, |aside| {
            self.reach(Step::Sync)?;
            aside.file.sync_all()
        });
        for (aside, synced) in asides.iter_mut().zip(synced) {
            aside.synced = synced;
        }
    }

    /// Puts a file that is synced in its place, whatever is there, and says which version it is. It
    /// outlives a crash once the batch is synced. What fails is removed again; `ConnectionAborted`
    /// says that the client took it back.
    pub(crate) fn place(&mut self, mut aside: Aside) -> io::Result<Version> {
        let synced = std::mem::replace(&mut aside.synced, Ok(()));
        let renamed = synced.and_then(|()| self.reach(Step::Rename));
        let renamed = renamed.and_then(|()| match &aside.cancel {
            Some(cancel) if !cancel.commit() => Err(io::ErrorKind::ConnectionAborted.into()),
            Some(_) | None => Ok(()),
        });
        let renamed = renamed.and_then(|()| aside.end_writing());
        let Target { dir, path, name } = &aside.to;
        if let Err(why) = renamed.and_then(|()| aside.from.rename(&aside.name, dir, name)) {
            self.discard(aside);
            return Err(why);
        }
        self.changed(path, dir);
        Ok(Version::of(&aside.file.metadata()?))
    }

    /// Takes away a file that found no place.
    pub(crate) fn discard(&self, aside: Aside) {
        #[cfg(test)]
        if self.fault.is_some_and(|fault| fault.crash) {
            return;
        }
        // Remains of a failed write are removed at the next start at the latest.
        let _ = aside.from.remove_file(&aside.name);
    }

    /// Has a directory synced at the end of the batch.
    pub(crate) fn changed(&mut self, path: &Path, dir: &Arc<Dir>) {
        if !self.unsynced.contains_key(path) {
            self.unsynced.insert(path.to_path_buf(), Arc::clone(dir));
        }
    }

    /// Has a file that was added to synced at the end of the batch, with what lies in `path`.
    pub(crate) fn appended(&mut self, path: &Path, file: std::fs::File) {
        self.appended.push((path.to_path_buf(), file));
    }

    /// Syncs every directory that was changed; says which could not be. Nothing beneath one of
    /// those is durable.
    pub(crate) fn sync(&mut self) -> Vec<PathBuf> {
        self.tops.clear();
        let dirs = std::mem::take(&mut self.unsynced).into_iter();
        let dirs = dirs.map(|(path, dir)| (path, Unsynced::Directory(dir)));
        let files = std::mem::take(&mut self.appended).into_iter();
        let files = files.map(|(path, file)| (path, Unsynced::File(file)));
        let unsynced: Vec<_> = dirs.chain(files).collect();
        let synced = in_parallel(&unsynced, |(_, unsynced)| match unsynced {
            Unsynced::Directory(dir) => {
                self.reach(Step::SyncDirectory)?;
                sync_directory(dir)
            }
            Unsynced::File(file) => file.sync_data(),
        });
        let mut failed = Vec::new();
        for ((path, _), synced) in unsynced.into_iter().zip(synced) {
            if let Err(why) = synced {
                self.complaints.tell(&why, "sync", &path);
                failed.push(path);
            }
        }
        if self.durable.len() + self.named.len() > DURABLE_MAX {
            self.durable.clear();
        }
        let is_durable = |path: &PathBuf| !failed.iter().any(|failed| path.starts_with(failed));
        self.durable.extend(self.named.drain(..).filter(is_durable));
        failed
    }

    /// Passes, except where a test wants a step to fail.
    pub(crate) fn reach(&self, step: Step) -> io::Result<()> {
        #[cfg(test)]
        {
            let mut reached = self.reached.lock().unwrap_or_else(PoisonError::into_inner);
            reached.push(step);
            if self.fault.is_some_and(|fault| fault.is_now(step, &reached)) {
                return Err(io::Error::other("the test says so"));
            }
        }
        let _ = step;
        Ok(())
    }
}

/// What is synced at the end of a batch.
enum Unsynced {
    Directory(Arc<Dir>),
    File(std::fs::File),
}

/// Syncs things, from several threads where there are many, and says in their order how it went.
fn in_parallel<T: Sync>(
    things: &[T],
    sync: impl Fn(&T) -> io::Result<()> + Sync,
) -> Vec<io::Result<()>> {
    let unsynced = |_: &T| Err(io::Error::other("the thread that was to sync it ended"));
    let mut results: Vec<_> = things.iter().map(unsynced).collect();
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        loop {
            let place = next.fetch_add(1, Relaxed);
            let Some(thing) = things.get(place) else { return done };
            done.push((place, sync(thing)));
        }
    };
    let others = (things.len() / SYNCS_ALONE).min(SYNC_THREADS_MAX - 1);
    let done = thread::scope(|scope| {
        // Where the system gives no thread, fewer do the same.
        let start = |_| thread::Builder::new().name("sync".into()).spawn_scoped(scope, work).ok();
        let threads: Vec<_> = (0..others).map_while(start).collect();
        let mut done = work();
        done.extend(threads.into_iter().filter_map(|thread| thread.join().ok()).flatten());
        done
    });
    for (place, result) in done {
        if let Some(one) = results.get_mut(place) {
            *one = result;
        }
    }
    results
}

/// Tells the log of a trouble, and of the same kind of trouble again only after a while: where one
/// phone is refused, thousands are.
#[derive(Debug, Default)]
pub(crate) struct Complaints(Mutex<HashMap<io::ErrorKind, (Instant, u64)>>);

impl Complaints {
    /// Writes `cannot … …: why`, at most once a minute for each kind of reason.
    pub(crate) fn tell(&self, why: &io::Error, verb: &str, path: &Path) {
        // The client took it back: nothing is to be mended.
        if why.kind() == io::ErrorKind::ConnectionAborted {
            return;
        }
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let (told_at, untold) = told.entry(why.kind()).or_insert((now, 0));
        let is_first = *told_at == now && *untold == 0;
        if !is_first && now.duration_since(*told_at) < TELL_EVERY {
            *untold += 1;
            return;
        }
        let more = match std::mem::take(untold) {
            0 => String::new(),
            untold => format!(" (and {untold} more times since this was last told)"),
        };
        *told_at = now;
        tracing::error!("cannot {verb} {}: {why}{more}", path.display());
    }
}

/// What root makes in a directory of somebody else's belongs to them: the server, which is not
/// root, must be able to go on there after an administrator's command.
pub(crate) fn give_to_owner_of(dir: &Dir, file: &std::fs::File) {
    #[cfg(unix)]
    {
        use cap_std::fs::MetadataExt;
        if !nix::unistd::geteuid().is_root() {
            return;
        }
        if let Ok(meta) = dir.dir_metadata() {
            // On a file system without owners nothing needs to be done.
            let _ = std::os::unix::fs::fchown(file, Some(meta.uid()), Some(meta.gid()));
        }
    }
    let _ = (dir, file);
}

/// Makes a directory, for the owner of the one that it lies in.
pub(crate) fn make_directory(dir: &Dir, name: &str, mode: u32) -> io::Result<()> {
    let mut builder = cap_std::fs::DirBuilder::new();
    #[cfg(unix)]
    if mode != 0 {
        cap_std::fs::DirBuilderExt::mode(&mut builder, mode);
    }
    let _ = mode;
    dir.create_dir_with(name, &builder)?;
    #[cfg(unix)]
    give_to_owner_of(dir, &dir.open_dir(name)?.open(".")?.into_std());
    Ok(())
}

/// Has the names in a directory outlive a crash.
pub(crate) fn sync_directory(dir: &Dir) -> io::Result<()> {
    // The handle itself only names the directory; this opens it. Elsewhere a rename is durable, or
    // nothing can be done about it.
    #[cfg(unix)]
    dir.open(".")?.sync_all()?;
    #[cfg(not(unix))]
    let _ = dir;
    Ok(())
}

/// Removes what a crash left of files that were being written, here and in the directories below.
pub(crate) fn sweep(dir: &Dir, depth: usize) {
    let Ok(entries) = dir.entries() else { return };
    for entry in entries.flatten() {
        let Ok(kind) = entry.file_type() else { continue };
        if kind.is_dir() && depth > 0 {
            if let Ok(inner) = entry.open_dir() {
                sweep(&inner, depth - 1);
            }
            continue;
        }
        let is_aside = entry.file_name().to_str().is_some_and(|name| name.starts_with(ASIDE));
        if !is_aside || !kind.is_file() {
            continue;
        }
        // Whoever still writes to it, perhaps the process that this one takes over from, has it
        // locked.
        let Ok(file) = entry.open().map(cap_std::fs::File::into_std) else { continue };
        if file.try_lock().is_ok() && entry.remove_file().is_ok() {
            tracing::info!("removed {}, left by a crash", entry.file_name().display());
        }
    }
}
