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
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::SystemTime;

use cap_std::ambient_authority;
use cap_std::fs::{Dir, OpenOptions};

pub(crate) use owner::{give_to_owner_of, make_directory};
pub(crate) use sync::sync_directory;
pub(crate) use temp_file::{FileAttrs, Target, TempFile, sweep};

use crate::rate_limited_log::RateLimitedLog;
use crate::version::VersionExt as _;
use engine::catalog::blob::Version;
use sync::{Unsynced, in_parallel};

pub(crate) mod case_index;
mod owner;
pub(crate) mod placement;
mod sync;
mod temp_file;

/// How the names of files begin that are being written. A dot keeps them from being served.
pub(crate) const TEMP_PREFIX: &str = ".ringpost-";
/// Files that this process has written aside.
static FILES_WRITTEN: AtomicU64 = AtomicU64::new(0);
/// Directories that are known to outlive a crash.
const DURABLE_MAX: usize = 65_536;
/// Names that are tried for a file beside its place.
const CLAIMS_MAX: usize = 8;

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
    pub(crate) log: RateLimitedLog,
    /// Where a test has the disk fail.
    #[cfg(test)]
    pub(crate) fault: Option<Fault>,
    /// The steps that were reached.
    #[cfg(test)]
    pub(crate) reached: parking_lot::Mutex<Vec<Step>>,
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
    pub(crate) fn temp_name() -> String {
        format!("{TEMP_PREFIX}{}-{}", std::process::id(), FILES_WRITTEN.fetch_add(1, Relaxed))
    }

    /// Makes an empty file beside its place. Whoever sweeps the directory at that very moment may
    /// take it away before it is locked.
    pub(crate) fn create_beside(&self, to: &Target, attrs: FileAttrs<'_>) -> io::Result<TempFile> {
        let mut last = io::ErrorKind::ResourceBusy.into();
        for _ in 0..CLAIMS_MAX {
            match self.create_temp((&to.dir, &Self::temp_name()), to.clone(), attrs) {
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
        attrs: FileAttrs<'_>,
    ) -> io::Result<TempFile> {
        let temp = self.create_beside(to, attrs)?;
        if let Err(why) = self.fill(&temp, bytes, attrs.modified) {
            self.discard(temp);
            return Err(why);
        }
        Ok(temp)
    }

    /// Writes a file aside in `dir`, under a name of its own. What fails is removed again.
    /// `AlreadyExists` and `ResourceBusy` tell that the name is somebody else's just now.
    pub(crate) fn write_temp(
        &self,
        (dir, name): (&Arc<Dir>, &str),
        to: Target,
        bytes: &[u8],
        attrs: FileAttrs<'_>,
    ) -> io::Result<TempFile> {
        let temp = self.create_temp((dir, name), to, attrs)?;
        if let Err(why) = self.fill(&temp, bytes, attrs.modified) {
            self.discard(temp);
            return Err(why);
        }
        Ok(temp)
    }

    /// Makes an empty file aside, for whoever has more to write than is in memory.
    pub(crate) fn create_temp(
        &self,
        (dir, name): (&Arc<Dir>, &str),
        to: Target,
        attrs: FileAttrs<'_>,
    ) -> io::Result<TempFile> {
        self.reach(Step::Create)?;
        let mut options = OpenOptions::new();
        // Whoever has to begin anew reads again what it has written.
        options.read(true).write(true).create_new(true);
        #[cfg(unix)]
        if attrs.mode != 0 {
            cap_std::fs::OpenOptionsExt::mode(&mut options, attrs.mode);
        }
        let file = dir.open_with(name, &options)?;
        if let Some(meta) = attrs.like.filter(|meta| meta.is_file()) {
            // Where the system does not allow it, the file has the usual mode.
            let _ = file.set_permissions(meta.permissions());
        }
        let file = file.into_std();
        let unsynced = Err(io::Error::other("it was not synced"));
        let temp = TempFile {
            file,
            name: name.to_owned(),
            from: Arc::clone(dir),
            to,
            synced: unsynced,
            cancel: None,
        };
        temp.hold()?;
        give_to_owner_of(dir, &temp.file);
        Ok(temp)
    }

    fn fill(&self, temp: &TempFile, bytes: &[u8], modified: Option<SystemTime>) -> io::Result<()> {
        self.reach(Step::Write)?;
        (&temp.file).write_all(bytes)?;
        modified.map_or(Ok(()), |modified| temp.file.set_modified(modified))
    }

    /// Writes to a file aside what is not in memory as a whole.
    pub(crate) fn fill_with<T>(
        &self,
        temp: &TempFile,
        write: impl FnOnce(&std::fs::File) -> io::Result<T>,
    ) -> io::Result<T> {
        self.reach(Step::Write)?;
        write(&temp.file)
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
    pub(crate) fn sync_files<'a>(&self, temp_files: impl Iterator<Item = &'a mut TempFile>) {
        let mut temp_files: Vec<_> = temp_files.collect();
        let synced = in_parallel(&temp_files, |temp| {
            self.reach(Step::Sync)?;
            temp.file.sync_all()
        });
        for (temp, synced) in temp_files.iter_mut().zip(synced) {
            temp.synced = synced;
        }
    }

    /// Puts a file that is synced in its place, whatever is there, and says which version it is. It
    /// outlives a crash once the batch is synced. What fails is removed again; `ConnectionAborted`
    /// says that the client took it back.
    pub(crate) fn place(&mut self, mut temp: TempFile) -> io::Result<Version> {
        let synced = std::mem::replace(&mut temp.synced, Ok(()));
        let renamed = synced.and_then(|()| self.reach(Step::Rename));
        let renamed = renamed.and_then(|()| match &temp.cancel {
            Some(cancel) if !cancel.commit() => Err(io::ErrorKind::ConnectionAborted.into()),
            Some(_) | None => Ok(()),
        });
        let renamed = renamed.and_then(|()| temp.end_writing());
        let Target { dir, path, name } = &temp.to;
        if let Err(why) = renamed.and_then(|()| temp.from.rename(&temp.name, dir, name)) {
            self.discard(temp);
            return Err(why);
        }
        self.changed(path, dir);
        Ok(Version::of(&temp.file.metadata()?))
    }

    /// Takes away a file that found no place.
    pub(crate) fn discard(&self, temp: TempFile) {
        #[cfg(test)]
        if self.fault.is_some_and(|fault| fault.crash) {
            return;
        }
        // Remains of a failed write are removed at the next start at the latest.
        let _ = temp.from.remove_file(&temp.name);
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
                self.log.error(&why, "sync", &path);
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
            let mut reached = self.reached.lock();
            reached.push(step);
            if self.fault.is_some_and(|fault| fault.is_now(step, &reached)) {
                return Err(io::Error::other("the test says so"));
            }
        }
        let _ = step;
        Ok(())
    }
}
