//! What it takes that a file outlives a crash: written aside, synced, put in its place, and every
//! directory on the way synced before anybody is told.
//!
//! Never changes a file in place, and never leaves half of one where it could be taken for whole.

use std::collections::{HashMap, HashSet};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use cap_std::ambient_authority;
use cap_std::fs::{Dir, Metadata, OpenOptions};

use crate::content::blob::Version;

/// How the names of files begin that are being written. A dot keeps them from being served.
pub(super) const ASIDE: &str = ".ringpost-";
/// Directories that are known to outlive a crash.
const DURABLE_MAX: usize = 65_536;
/// How often the log is told of the same kind of trouble.
const TELL_EVERY: Duration = Duration::from_secs(60);

/// The steps that a disk may fail at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    MakeDirectory,
    Create,
    Write,
    Sync,
    Rename,
    SyncDirectory,
}

/// Writes files aside, and remembers which directories must be synced before the batch is told of.
#[derive(Debug, Default)]
pub(super) struct Disk {
    /// Directories that were changed, by their paths.
    unsynced: HashMap<PathBuf, Dir>,
    /// Directories whose names in their parents are known to outlive a crash.
    durable: HashSet<PathBuf>,
    /// Those that become so with the next sync.
    named: Vec<PathBuf>,
    /// Vaults in which what a crash left was looked for.
    swept: HashSet<PathBuf>,
    files_written: u64,
    pub(super) complaints: Complaints,
    /// Where a test has the disk fail.
    #[cfg(test)]
    pub(super) fault: Option<Fault>,
}

/// A failure that a test wants.
#[cfg(test)]
#[derive(Clone, Copy, Debug)]
pub(super) struct Fault {
    pub(super) step: Step,
    /// Whether the process ends there, and cleans nothing up.
    pub(super) crash: bool,
}

/// A whole file, synced, that stands aside and waits for its place. Locked as long as it does, so
/// that another process's start spares it.
pub(super) struct Aside {
    file: std::fs::File,
    name: String,
}

/// What a file beside is to be like.
#[derive(Clone, Copy, Default)]
pub(super) struct Manner<'a> {
    /// A file whose mode it is to have.
    pub(super) like: Option<&'a Metadata>,
    /// Its mode where there is none to be like; 0 for the usual one.
    pub(super) mode: u32,
    /// Its modification time; none for now.
    pub(super) modified: Option<SystemTime>,
}

impl Aside {
    /// Locks the file. Fails when somebody takes it for what a crash left, or took it away: from
    /// then on its name may be another's.
    fn hold(&self, dir: &Dir) -> io::Result<()> {
        // A file system that knows no locks is not swept either.
        if let Err(std::fs::TryLockError::WouldBlock) = self.file.try_lock() {
            return Err(io::ErrorKind::ResourceBusy.into());
        }
        #[cfg(unix)]
        {
            let there = dir.symlink_metadata(&self.name).ok();
            let there = there.map(|there| cap_std::fs::MetadataExt::ino(&there));
            if there != Some(std::os::unix::fs::MetadataExt::ino(&self.file.metadata()?)) {
                return Err(io::ErrorKind::ResourceBusy.into());
            }
        }
        let _ = dir;
        Ok(())
    }
}

impl Disk {
    /// Opens a directory of the whole system; makes it, durably, where it is missing.
    pub(super) fn top(&mut self, path: &Path) -> io::Result<Dir> {
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
    pub(super) fn inner(
        &mut self,
        dir: &Dir,
        path: &Path,
        name: &str,
        mode: u32,
    ) -> io::Result<Dir> {
        let inner_path = path.join(name);
        match dir.open_dir(name) {
            // A process that ended early may have made it and not synced.
            Ok(inner) if self.durable.contains(&inner_path) => return Ok(inner),
            Ok(inner) => {
                self.changed(path, dir)?;
                self.named.push(inner_path);
                return Ok(inner);
            }
            Err(missing) if missing.kind() == io::ErrorKind::NotFound => {}
            Err(why) => return Err(why),
        }
        self.reach(Step::MakeDirectory)?;
        match make_directory(dir, name, mode) {
            Err(there) if there.kind() != io::ErrorKind::AlreadyExists => return Err(there),
            Ok(()) | Err(_) => self.changed(path, dir)?,
        }
        self.named.push(inner_path);
        dir.open_dir(name)
    }

    /// Whether nobody has asked so of this path before.
    pub(super) fn is_first_use(&mut self, path: &Path) -> bool {
        !self.swept.contains(path) && self.swept.insert(path.to_path_buf())
    }

    /// A name for a file aside that no other of this process has.
    pub(super) fn aside_name(&mut self) -> String {
        self.files_written += 1;
        format!("{ASIDE}{}-{}", std::process::id(), self.files_written)
    }

    /// Writes a file aside and syncs it. What fails is removed again. `AlreadyExists` and
    /// `ResourceBusy` tell that the name is somebody else's just now.
    pub(super) fn write_aside(
        &self,
        dir: &Dir,
        name: &str,
        bytes: &[u8],
        manner: Manner<'_>,
    ) -> io::Result<Aside> {
        self.reach(Step::Create)?;
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        if manner.mode != 0 {
            cap_std::fs::OpenOptionsExt::mode(&mut options, manner.mode);
        }
        let file = dir.open_with(name, &options)?;
        if let Some(meta) = manner.like.filter(|meta| meta.is_file()) {
            // Where the system does not allow it, the file has the usual mode.
            let _ = file.set_permissions(meta.permissions());
        }
        let aside = Aside { file: file.into_std(), name: name.to_owned() };
        aside.hold(dir)?;
        let written = self.fill(&aside, dir, bytes, manner.modified);
        if let Err(why) = written {
            self.discard(dir, aside);
            return Err(why);
        }
        Ok(aside)
    }

    fn fill(
        &self,
        aside: &Aside,
        dir: &Dir,
        bytes: &[u8],
        modified: Option<SystemTime>,
    ) -> io::Result<()> {
        let mut file = &aside.file;
        give_to_owner_of(dir, file);
        self.reach(Step::Write)?;
        file.write_all(bytes)?;
        if let Some(modified) = modified {
            file.set_modified(modified)?;
        }
        self.reach(Step::Sync)?;
        file.sync_all()
    }

    /// Puts a file that stands aside in `from` in its place, whatever is there, and says which
    /// version it is. It outlives a crash once the batch is synced.
    pub(super) fn place(
        &mut self,
        aside: Aside,
        from: &Dir,
        (dir, path, name): (&Dir, &Path, &str),
    ) -> io::Result<Version> {
        let renamed = self.reach(Step::Rename).and_then(|()| from.rename(&aside.name, dir, name));
        if let Err(why) = renamed {
            self.discard(from, aside);
            return Err(why);
        }
        self.changed(path, dir)?;
        Ok(Version::of(&aside.file.metadata()?))
    }

    /// Takes away a file that found no place.
    pub(super) fn discard(&self, dir: &Dir, aside: Aside) {
        #[cfg(test)]
        if self.fault.is_some_and(|fault| fault.crash) {
            return;
        }
        // Remains of a failed write are removed at the next start at the latest.
        let _ = dir.remove_file(&aside.name);
    }

    /// Has a directory synced at the end of the batch.
    pub(super) fn changed(&mut self, path: &Path, dir: &Dir) -> io::Result<()> {
        if !self.unsynced.contains_key(path) {
            self.unsynced.insert(path.to_path_buf(), dir.try_clone()?);
        }
        Ok(())
    }

    /// Syncs every directory that was changed; says which could not be. Nothing beneath one of
    /// those is durable.
    pub(super) fn sync(&mut self) -> Vec<PathBuf> {
        let mut failed = Vec::new();
        for (path, dir) in std::mem::take(&mut self.unsynced) {
            let synced = self.reach(Step::SyncDirectory).and_then(|()| sync_directory(&dir));
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
    fn reach(&self, step: Step) -> io::Result<()> {
        #[cfg(test)]
        if self.fault.is_some_and(|fault| fault.step == step) {
            return Err(io::Error::other("the test says so"));
        }
        let _ = step;
        Ok(())
    }
}

/// Tells the log of a trouble, and of the same kind of trouble again only after a while: where one
/// phone is refused, thousands are.
#[derive(Debug, Default)]
pub(super) struct Complaints(Mutex<HashMap<io::ErrorKind, (Instant, u64)>>);

impl Complaints {
    /// Writes `cannot … …: why`, at most once a minute for each kind of reason.
    pub(super) fn tell(&self, why: &io::Error, verb: &str, path: &Path) {
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
fn give_to_owner_of(dir: &Dir, file: &std::fs::File) {
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

fn make_directory(dir: &Dir, name: &str, mode: u32) -> io::Result<()> {
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
pub(super) fn sync_directory(dir: &Dir) -> io::Result<()> {
    // The handle itself only names the directory; this opens it. Elsewhere a rename is durable, or
    // nothing can be done about it.
    #[cfg(unix)]
    dir.open(".")?.sync_all()?;
    #[cfg(not(unix))]
    let _ = dir;
    Ok(())
}

/// Removes what a crash left of files that were being written, here and in the directories below.
pub(super) fn sweep(dir: &Dir, depth: usize) {
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
