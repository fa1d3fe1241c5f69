//! Makes files durable: writes a temporary file, syncs it, renames it into place, and syncs every
//! directory on the way before the change is acknowledged.
//!
//! Many files are synced from many threads at once: a journaling file system commits once for all
//! threads that wait, so that a batch costs little more than one file. Unlike one sync of the whole
//! file system, this shows which file failed, works on any kernel and file system, and does not
//! wait for other programs' writes.
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
pub use whole_files::{PutError, WholeFile, create, put};

use crate::rate_limited_log::RateLimitedLog;
use crate::version::VersionExt as _;
use engine::catalog::blob::Version;
use sync::{Unsynced, in_parallel};

pub(crate) mod case_index;
mod owner;
pub(crate) mod placement;
mod sync;
mod temp_file;
mod whole_files;

/// How the names of temporary files begin. A dot keeps them from being served.
pub(crate) const TEMP_PREFIX: &str = ".ringpost-";
/// Temporary files that this process has written.
static FILES_WRITTEN: AtomicU64 = AtomicU64::new(0);
/// Most directories that are remembered as durable.
const DURABLE_MAX: usize = 65_536;
/// Most names that are tried for a temporary file.
const CLAIMS_MAX: usize = 8;

/// The steps at which a test can make a disk fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(test, derive(PartialOrd, Ord))]
pub(crate) enum DiskStep {
    MakeDirectory,
    Create,
    Write,
    Sync,
    Rename,
    SyncDirectory,
    Remove,
}

/// Writes temporary files, and remembers which directories must be synced before the batch is
/// acknowledged.
#[derive(Debug, Default)]
pub(crate) struct Disk {
    /// Directories that were changed, by their paths.
    unsynced: HashMap<PathBuf, Arc<Dir>>,
    /// The tops that this batch has opened: most of it goes to the same one.
    tops: HashMap<PathBuf, Arc<Dir>>,
    /// Directories whose names in their parents are durable.
    durable: HashSet<PathBuf>,
    /// Directories that become durable with the next sync.
    named: Vec<PathBuf>,
    /// Vaults that were searched for remains of a crash.
    swept: HashSet<PathBuf>,
    /// Files that were appended to and must be synced, with their directories.
    appended: Vec<(PathBuf, std::fs::File)>,
    pub(crate) log: RateLimitedLog,
    /// The step at which a test makes the disk fail.
    #[cfg(test)]
    pub(crate) fault: Option<InjectedFault>,
    /// The steps that were reached.
    #[cfg(test)]
    pub(crate) reached: parking_lot::Mutex<Vec<DiskStep>>,
}

/// A failure that a test requests.
#[cfg(test)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct InjectedFault {
    pub(crate) step: DiskStep,
    /// Whether the process ends there without cleaning up.
    pub(crate) crash: bool,
    /// Which of the calls fails, counted from 1; `None` for all.
    pub(crate) nth: Option<usize>,
}

#[cfg(test)]
impl InjectedFault {
    /// Returns whether this step, the last one reached, fails.
    fn is_now(self, step: DiskStep, reached: &[DiskStep]) -> bool {
        let times = reached.iter().filter(|reached| **reached == self.step).count();
        match self.nth {
            None => self.step == step,
            Some(nth) if self.crash => times >= nth,
            Some(nth) => self.step == step && times == nth,
        }
    }
}

impl Disk {
    /// Opens a directory by its absolute path; creates it durably if it is missing.
    pub(crate) fn top(&mut self, path: &Path) -> io::Result<Arc<Dir>> {
        if let Some(opened) = self.tops.get(path) {
            return Ok(Arc::clone(opened));
        }
        let opened = Arc::new(self.open_top(path)?);
        self.tops.insert(path.to_path_buf(), Arc::clone(&opened));
        Ok(opened)
    }

    /// Uses a directory that is open already for its path, until the batch is synced.
    pub(crate) fn enter(&mut self, path: &Path, dir: Dir) {
        if !self.tops.contains_key(path) {
            self.tops.insert(path.to_path_buf(), Arc::new(dir));
        }
    }

    fn open_top(&self, path: &Path) -> io::Result<Dir> {
        match Dir::open_ambient_dir(path, ambient_authority()) {
            Err(missing) if missing.kind() == io::ErrorKind::NotFound => {}
            found => return found,
        }
        self.reach(DiskStep::MakeDirectory)?;
        let is_missing = |dir: &&Path| !dir.as_os_str().is_empty() && !dir.exists();
        let missing = path.ancestors().take_while(is_missing).count();
        std::fs::create_dir_all(path)?;
        let made: Vec<_> = path.ancestors().take(missing + 1).collect();
        // From the top, so that each gets the owner of the first existing one.
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

    /// Opens the directory `name` in `dir`, whose path is `path`; creates it if it is missing. Its
    /// name is durable once the batch is synced.
    pub(crate) fn inner(
        &mut self,
        dir: &Arc<Dir>,
        path: &Path,
        name: &str,
        mode: u32,
    ) -> io::Result<Arc<Dir>> {
        let inner_path = path.join(name);
        match dir.open_dir(name) {
            // A process that ended early may have created it and not synced.
            Ok(inner) if self.durable.contains(&inner_path) => return Ok(Arc::new(inner)),
            Ok(inner) => {
                self.changed(path, dir);
                self.named.push(inner_path);
                return Ok(Arc::new(inner));
            }
            Err(missing) if missing.kind() == io::ErrorKind::NotFound => {}
            Err(why) => return Err(why),
        }
        self.reach(DiskStep::MakeDirectory)?;
        match make_directory(dir, name, mode) {
            Err(there) if there.kind() != io::ErrorKind::AlreadyExists => return Err(there),
            Ok(()) | Err(_) => self.changed(path, dir),
        }
        self.named.push(inner_path);
        dir.open_dir(name).map(Arc::new)
    }

    /// Makes later calls open directories anew.
    pub(crate) fn forget_tops(&mut self) {
        self.tops.clear();
    }

    /// Returns whether this is the first call for this path.
    pub(crate) fn is_first_use(&mut self, path: &Path) -> bool {
        !self.swept.contains(path) && self.swept.insert(path.to_path_buf())
    }

    /// Returns a name for a temporary file, unique in this process.
    pub(crate) fn temp_name() -> String {
        format!("{TEMP_PREFIX}{}-{}", std::process::id(), FILES_WRITTEN.fetch_add(1, Relaxed))
    }

    /// Creates an empty temporary file beside its target. Another process that sweeps the directory
    /// at that very moment may remove it before it is locked.
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

    /// Writes a temporary file beside its target. Removes it again on failure.
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

    /// Writes a temporary file in `dir`, under a given name. Removes it again on failure.
    /// `AlreadyExists` and `ResourceBusy` mean that another process holds the name just now.
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

    /// Creates an empty temporary file, for content that is not all in memory.
    pub(crate) fn create_temp(
        &self,
        (dir, name): (&Arc<Dir>, &str),
        to: Target,
        attrs: FileAttrs<'_>,
    ) -> io::Result<TempFile> {
        self.reach(DiskStep::Create)?;
        let mut options = OpenOptions::new();
        // A change that begins anew reads again what it has written.
        options.read(true).write(true).create_new(true);
        #[cfg(unix)]
        if attrs.mode != 0 {
            cap_std::fs::OpenOptionsExt::mode(&mut options, attrs.mode);
        }
        let file = dir.open_with(name, &options)?;
        if let Some(meta) = attrs.like.filter(|meta| meta.is_file()) {
            // If the system does not allow it, the file has the default mode.
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
        if !attrs.is_private {
            give_to_owner_of(dir, &temp.file);
        }
        Ok(temp)
    }

    fn fill(&self, temp: &TempFile, bytes: &[u8], modified: Option<SystemTime>) -> io::Result<()> {
        self.reach(DiskStep::Write)?;
        (&temp.file).write_all(bytes)?;
        modified.map_or(Ok(()), |modified| temp.file.set_modified(modified))
    }

    /// Writes to a temporary file what is not in memory as a whole.
    pub(crate) fn fill_with<T>(
        &self,
        temp: &TempFile,
        write: impl FnOnce(&std::fs::File) -> io::Result<T>,
    ) -> io::Result<T> {
        self.reach(DiskStep::Write)?;
        write(&temp.file)
    }

    /// Removes a file, unless it is gone already. A crash may bring it back.
    pub(crate) fn remove(&self, dir: &Dir, name: &str) -> io::Result<()> {
        self.reach(DiskStep::Remove)?;
        match dir.remove_file(name) {
            Err(why) if why.kind() != io::ErrorKind::NotFound => Err(why),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Removes a file of `dir`, whose path is `path`. The removal is durable once the batch is
    /// synced.
    pub(crate) fn take_away(&mut self, path: &Path, dir: &Arc<Dir>, name: &str) -> io::Result<()> {
        self.reach(DiskStep::Remove)?;
        dir.remove_file(name)?;
        self.changed(path, dir);
        Ok(())
    }

    /// Makes the bytes of temporary files durable. A failure is reported when the file is placed.
    pub(crate) fn sync_files<'a>(&self, temp_files: impl Iterator<Item = &'a mut TempFile>) {
        let mut temp_files: Vec<_> = temp_files.collect();
        let synced = in_parallel(&temp_files, |temp| {
            self.reach(DiskStep::Sync)?;
            temp.file.sync_all()
        });
        for (temp, synced) in temp_files.iter_mut().zip(synced) {
            temp.synced = synced;
        }
    }

    /// Renames a synced file into place, whatever is there, and returns its version. It is durable
    /// once the batch is synced. Removes the file on failure; `ConnectionAborted` means that the
    /// client cancelled it.
    pub(crate) fn place(&mut self, mut temp: TempFile) -> io::Result<Version> {
        let synced = std::mem::replace(&mut temp.synced, Ok(()));
        let renamed = synced.and_then(|()| self.reach(DiskStep::Rename));
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

    /// Does the same unless there is a file of that name: then the error is `AlreadyExists`.
    pub(crate) fn place_new(&mut self, temp: TempFile) -> io::Result<()> {
        let Target { dir, path, name } = &temp.to;
        let synced = temp.synced.as_ref().copied();
        let synced = synced.map_err(|why| io::Error::new(why.kind(), why.to_string()));
        let linked = synced.and_then(|()| self.reach(DiskStep::Rename));
        let linked = linked.and_then(|()| match temp.from.hard_link(&temp.name, dir, name) {
            // A file system without hard links.
            Err(why) if why.kind() != io::ErrorKind::AlreadyExists => {
                match dir.symlink_metadata(name) {
                    Ok(_) => Err(io::ErrorKind::AlreadyExists.into()),
                    Err(_) => temp.from.rename(&temp.name, dir, name).map_err(|_| why),
                }
            }
            linked => linked,
        });
        if linked.is_ok() {
            self.changed(path, dir);
        }
        // Its other name, or what is left of it.
        self.discard(temp);
        linked
    }

    /// Removes a file that was not placed.
    pub(crate) fn discard(&self, temp: TempFile) {
        #[cfg(test)]
        if self.fault.is_some_and(|fault| fault.crash) {
            return;
        }
        // Remains of a failed write are removed at the next start at the latest.
        let _ = temp.from.remove_file(&temp.name);
    }

    /// Marks a directory to be synced at the end of the batch.
    pub(crate) fn changed(&mut self, path: &Path, dir: &Arc<Dir>) {
        if !self.unsynced.contains_key(path) {
            self.unsynced.insert(path.to_path_buf(), Arc::clone(dir));
        }
    }

    /// Marks a file that was appended to, in `path`, to be synced at the end of the batch.
    pub(crate) fn appended(&mut self, path: &Path, file: std::fs::File) {
        self.appended.push((path.to_path_buf(), file));
    }

    /// Syncs every changed directory; returns those that could not be synced. Nothing beneath those
    /// is durable.
    pub(crate) fn sync(&mut self) -> Vec<PathBuf> {
        self.tops.clear();
        let dirs = std::mem::take(&mut self.unsynced).into_iter();
        let dirs = dirs.map(|(path, dir)| (path, Unsynced::Directory(dir)));
        let files = std::mem::take(&mut self.appended).into_iter();
        let files = files.map(|(path, file)| (path, Unsynced::File(file)));
        let unsynced: Vec<_> = dirs.chain(files).collect();
        let synced = in_parallel(&unsynced, |(_, unsynced)| match unsynced {
            Unsynced::Directory(dir) => {
                self.reach(DiskStep::SyncDirectory)?;
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

    /// Succeeds, unless a test makes this step fail.
    pub(crate) fn reach(&self, step: DiskStep) -> io::Result<()> {
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
