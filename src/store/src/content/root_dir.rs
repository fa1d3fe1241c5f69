//! One root's directory, held open: the only way to a file of the catalog.
//!
//! Never leaves the directory: the kernel resolves every path beneath the handle (`openat2`) and
//! refuses a symbolic link that leads out. An absolute link that stays inside is followed: its path
//! is rewritten relative to the root and resolved the same way. Never waits for a pipe or a device:
//! files are opened without blocking, and the opened descriptor must be a regular file.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::SystemTime;

use cap_std::ambient_authority;
use cap_std::fs::{Dir, Metadata, OpenOptions, ReadDir};

use crate::version::{VersionExt as _, version_of};
use engine::catalog::blob::Version;
use engine::catalog::{Entry, OpenError, RootHandle};

/// Most links on the way to one file, as the kernel counts them.
const LINKS_MAX: usize = 40;

/// A directory that files are opened beneath.
#[derive(Debug)]
pub(crate) struct RootDir {
    dir: Dir,
    path: PathBuf,
    identity: (u64, u64),
    /// When the log last mentioned a failing disk, in seconds since 1970.
    logged_at_s: AtomicU64,
}

/// Returns the directory that a file is opened beneath, or `None` if a test made the entry up.
#[must_use]
pub(crate) fn root_dir_of(entry: &Entry) -> Option<Arc<RootDir>> {
    Arc::clone(entry.root_dir()?).downcast().ok()
}

/// Returns whether a file is opened beneath this very handle.
pub(super) fn lies_beneath(entry: &Entry, root_dir: &Arc<RootDir>) -> bool {
    let is_same = |its: &RootHandle| std::ptr::addr_eq(Arc::as_ptr(its), Arc::as_ptr(root_dir));
    entry.root_dir().is_some_and(is_same)
}

impl RootDir {
    /// Opens the directory at an absolute path, which may contain links.
    ///
    /// # Errors
    /// The system's error if there is no such directory or this process may not read it.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let dir = Dir::open_ambient_dir(path, ambient_authority())?;
        let identity = version_of(&dir.dir_metadata()?).file;
        Ok(RootDir { dir, path: path.to_path_buf(), identity, logged_at_s: AtomicU64::new(0) })
    }

    /// Returns the path that it was opened at.
    #[must_use]
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the handle.
    #[must_use]
    pub(crate) fn dir(&self) -> &Dir {
        &self.dir
    }

    /// Returns whether this directory lies on another disk than `other` and is empty, which is how
    /// an unmounted share looks.
    #[must_use]
    pub(crate) fn is_bare_beside(&self, other: &RootDir) -> bool {
        let is_empty = || self.dir.entries().is_ok_and(|mut entries| entries.next().is_none());
        self.identity.0 != other.identity.0 && is_empty()
    }

    /// Returns whether both are the same directory.
    #[must_use]
    pub(crate) fn is_same(&self, other: &RootDir) -> bool {
        self.identity == other.identity
    }

    /// Returns whether the path still leads to this directory, which may be moved, mounted over or
    /// replaced.
    #[must_use]
    pub(crate) fn is_in_place(&self) -> bool {
        std::fs::metadata(&self.path)
            .is_ok_and(|meta| meta.is_dir() && Version::of(&meta).file == self.identity)
    }

    /// Returns a path without links, "" for the directory itself, or `None` if it leads out of the
    /// directory or does not exist.
    #[must_use]
    pub(crate) fn real_path(&self, path: &str) -> Option<String> {
        if path.is_empty() {
            return Some(String::new());
        }
        let real = match self.dir.canonicalize(path) {
            Ok(real) => real.to_str()?.to_owned(),
            Err(why) if leads_out(&why) => self.resolve(path).ok()?,
            Err(_) => return None,
        };
        Some(if real == "." { String::new() } else { real })
    }

    /// Returns the metadata at a path, following all links.
    ///
    /// # Errors
    /// The system's error; for a link that leads out, the reason.
    pub(crate) fn metadata(&self, path: &str) -> io::Result<Metadata> {
        match self.dir.metadata(path) {
            Err(why) if leads_out(&why) => self.dir.metadata(here(&self.resolve(path)?)),
            other => other,
        }
    }

    /// Returns the metadata at a path, of the link itself if it is one.
    ///
    /// # Errors
    /// The system's error; for a link that leads out, the reason.
    pub(crate) fn symlink_metadata(&self, path: &str) -> io::Result<Metadata> {
        match self.dir.symlink_metadata(path) {
            Err(why) if leads_out(&why) => {
                let (parent, name) = path.rsplit_once('/').ok_or(why)?;
                let parent = self.resolve(parent)?;
                self.dir.symlink_metadata(if parent.is_empty() {
                    name.to_owned()
                } else {
                    format!("{parent}/{name}")
                })
            }
            other => other,
        }
    }

    /// Returns the members of a directory, "" for this one.
    ///
    /// # Errors
    /// The system's error; for a link that leads out, the reason.
    pub(crate) fn entries(&self, path: &str) -> io::Result<ReadDir> {
        match self.dir.read_dir(here(path)) {
            Err(why) if leads_out(&why) => self.dir.read_dir(here(&self.resolve(path)?)),
            other => other,
        }
    }

    /// Returns the target as the link states it.
    #[must_use]
    pub(crate) fn link_target(&self, path: &str) -> Option<PathBuf> {
        self.dir.read_link_contents(path).ok()
    }

    /// Resolves absolute links on a path that lead back beneath this directory.
    fn resolve(&self, path: &str) -> io::Result<String> {
        let mut left: Vec<String> = parts(path);
        let mut done: Vec<String> = Vec::new();
        let mut links = 0;
        while let Some(part) = left.pop() {
            if part == ".." {
                done.pop().ok_or_else(|| escape(Path::new(path)))?;
                continue;
            }
            done.push(part);
            let at = done.join("/");
            if !self.dir.symlink_metadata(&at)?.is_symlink() {
                continue;
            }
            links += 1;
            if links > LINKS_MAX {
                return Err(io::Error::other("it leads in circles"));
            }
            let target = self.dir.read_link_contents(&at)?;
            done.pop();
            let further = if target.is_absolute() {
                done.clear();
                self.strip(&target).ok_or_else(|| escape(&target))?
            } else {
                target.clone()
            };
            left.extend(parts(further.to_str().ok_or_else(|| escape(&target))?));
        }
        Ok(done.join("/"))
    }

    /// Returns an absolute path relative to this directory, or `None` if it lies outside.
    fn strip(&self, target: &Path) -> Option<PathBuf> {
        let here = std::path::absolute(&self.path).ok()?;
        if let Ok(rest) = target.strip_prefix(&here) {
            return Some(rest.to_path_buf());
        }
        // The root, or the way to the target, may contain links: only the system's real paths
        // count.
        let (target, here) = (target.canonicalize().ok()?, here.canonicalize().ok()?);
        target.strip_prefix(&here).ok().map(Path::to_path_buf)
    }

    /// Opens a regular file for reading and says which version it is.
    ///
    /// # Errors
    /// [`OpenError`] says why the file cannot be opened.
    pub(crate) fn file(&self, path: &str) -> Result<(File, Version), OpenError> {
        let refuse = |why| self.refuse(path, &why);
        let opened = match self.dir.open_with(path, &without_waiting()) {
            Err(why) if leads_out(&why) => {
                let real = self.resolve(path).map_err(refuse)?;
                self.dir.open_with(here(&real), &without_waiting())
            }
            other => other,
        };
        let file = opened.map_err(refuse)?.into_std();
        let meta = file.metadata().map_err(refuse)?;
        if !meta.is_file() {
            return Err(OpenError::NotServable);
        }
        Ok((file, Version::of(&meta)))
    }

    /// Translates the system's error for the requester. Logs what only an administrator can mend,
    /// at most once a second: if one file fails, thousands may.
    pub(crate) fn refuse(&self, path: &str, why: &io::Error) -> OpenError {
        let refusal = refusal(why);
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let now_s = since.map_or(0, |since| since.as_secs());
        if refusal == OpenError::Io && self.logged_at_s.swap(now_s, Relaxed) != now_s {
            tracing::error!("cannot read {path} under {}: {why}", self.path.display());
        }
        refusal
    }
}

/// Options for reading that never block, even on a pipe without a writer.
fn without_waiting() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true);
    #[cfg(unix)]
    {
        use cap_std::fs::OpenOptionsExt;
        options.custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY);
    }
    options
}

/// Returns whether an error says that nothing can be served at a path, rather than that it cannot
/// be looked at now.
pub(super) fn is_answer(why: &io::Error) -> bool {
    matches!(refusal(why), OpenError::Gone | OpenError::NotServable)
}

/// Returns whether this process may read a file. Asks the system only if the mode does not tell.
#[cfg(unix)]
pub(super) fn may_read(root_dir: &RootDir, path: &str, meta: &Metadata) -> bool {
    use cap_std::fs::MetadataExt;
    let user = nix::unistd::geteuid();
    if meta.mode() & 0o444 == 0o444 || user.is_root() {
        return true;
    }
    if meta.uid() == user.as_raw() {
        return meta.mode() & 0o400 != 0;
    }
    root_dir.file(path).is_ok()
}

/// Returns whether this process may read a file.
#[cfg(not(unix))]
pub(super) fn may_read(_: &RootDir, _: &str, _: &Metadata) -> bool {
    true
}

/// Returns the parts of a path, the last one first.
fn parts(path: &str) -> Vec<String> {
    let parts = path.split('/').filter(|part| !part.is_empty() && *part != ".");
    parts.rev().map(str::to_owned).collect()
}

fn here(path: &str) -> &str {
    if path.is_empty() { "." } else { path }
}

/// Returns whether a path was refused because it leads out: cap-std's own refusal carries no error
/// number of the system.
fn leads_out(why: &io::Error) -> bool {
    why.kind() == io::ErrorKind::PermissionDenied && why.raw_os_error().is_none()
}

fn escape(target: &Path) -> io::Error {
    let why = format!("it leads out of the root, to {}", target.display());
    io::Error::new(io::ErrorKind::PermissionDenied, why)
}

fn refusal(why: &io::Error) -> OpenError {
    match why.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => OpenError::Gone,
        // cap-std's own refusal of a path that leads out carries no error number of the system.
        io::ErrorKind::PermissionDenied if why.raw_os_error().is_none() => OpenError::NotServable,
        io::ErrorKind::PermissionDenied => OpenError::Forbidden,
        #[cfg(unix)]
        _ if matches!(
            why.raw_os_error(),
            Some(libc::ELOOP | libc::ENXIO | libc::ENODEV | libc::ENAMETOOLONG)
        ) =>
        {
            OpenError::NotServable
        }
        _ => OpenError::Io,
    }
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use super::*;
    use std::fs;
    use std::io::Read;
    use std::os::unix::fs::symlink;

    #[test]
    fn links_inside_the_root_are_followed_and_links_out_of_it_are_refused() {
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("secret"), "secret").unwrap();
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("v2")).unwrap();
        fs::write(root.path().join("v2/image"), "image").unwrap();
        symlink("v2", root.path().join("current")).unwrap();
        symlink("current/image", root.path().join("image")).unwrap();
        symlink(outside.path().join("secret"), root.path().join("out")).unwrap();
        symlink("../secret", root.path().join("up")).unwrap();
        symlink("/proc/self/root", root.path().join("magic")).unwrap();
        symlink("loop", root.path().join("loop")).unwrap();
        symlink(root.path().join("v2/image"), root.path().join("absolute")).unwrap();
        symlink(root.path().join("v2"), root.path().join("absolute-dir")).unwrap();
        symlink("absolute-dir/image", root.path().join("over-both")).unwrap();
        symlink(root.path().join("../x"), root.path().join("absolute-up")).unwrap();
        let by_another_name = outside.path().join("also-root");
        symlink(root.path(), &by_another_name).unwrap();
        symlink(by_another_name.join("v2/image"), root.path().join("detour")).unwrap();

        let root_dir = RootDir::open(root.path()).unwrap();
        let mut read = String::new();
        root_dir.file("image").unwrap().0.read_to_string(&mut read).unwrap();
        assert_eq!(read, "image");
        for path in ["absolute", "absolute-dir/image", "over-both", "detour"] {
            let mut read = String::new();
            root_dir.file(path).unwrap().0.read_to_string(&mut read).unwrap();
            assert_eq!(read, "image", "{path}");
            assert_eq!(root_dir.real_path(path).as_deref(), Some("v2/image"), "{path}");
            assert!(root_dir.metadata(path).unwrap().is_file(), "{path}");
        }
        assert!(root_dir.symlink_metadata("absolute-dir/image").unwrap().is_file());
        assert_eq!(root_dir.entries("absolute-dir").unwrap().count(), 1);
        let why = root_dir.metadata("out").unwrap_err().to_string();
        assert_eq!(
            why,
            format!("it leads out of the root, to {}/secret", outside.path().display())
        );
        for path in ["out", "up", "absolute-up", "loop", "magic/etc/passwd", "../secret"] {
            assert_eq!(root_dir.file(path).unwrap_err(), OpenError::NotServable, "{path}");
        }
        assert_eq!(root_dir.file("none").unwrap_err(), OpenError::Gone);
        assert_eq!(root_dir.file("image/none").unwrap_err(), OpenError::Gone);
    }

    #[test]
    fn pipes_sockets_and_directories_are_refused_without_waiting() {
        let root = tempfile::tempdir().unwrap();
        let made = std::process::Command::new("mkfifo").arg(root.path().join("pipe")).status();
        assert!(made.unwrap().success());
        let _socket = std::os::unix::net::UnixListener::bind(root.path().join("socket")).unwrap();
        fs::create_dir(root.path().join("directory")).unwrap();
        let root_dir = RootDir::open(root.path()).unwrap();
        for path in ["pipe", "socket", "directory"] {
            assert_eq!(root_dir.file(path).unwrap_err(), OpenError::NotServable, "{path}");
        }
    }

    #[test]
    fn a_root_that_was_replaced_is_noticed() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("root");
        fs::create_dir(&path).unwrap();
        let root_dir = RootDir::open(&path).unwrap();
        assert!(root_dir.is_in_place());
        fs::rename(&path, parent.path().join("old")).unwrap();
        assert!(!root_dir.is_in_place());
        fs::create_dir(&path).unwrap();
        assert!(!root_dir.is_in_place());
    }
}
