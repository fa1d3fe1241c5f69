//! One root's directory, held open: the only way to a file of the catalog.
//!
//! Never leaves the directory: the kernel resolves every path beneath the handle (`openat2`), and a
//! symbolic link that leads out, or that is absolute, is refused. Never waits for a pipe or a
//! device: files are opened without blocking, and the opened descriptor must be a regular file.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::SystemTime;

use cap_std::ambient_authority;
use cap_std::fs::{Dir, Metadata, OpenOptions};

use super::OpenError;
use super::blob::Version;

/// A directory that files are opened beneath.
#[derive(Debug)]
pub struct Beneath {
    dir: Dir,
    path: PathBuf,
    identity: (u64, u64),
    /// When the log was last told of a failing disk, in seconds since 1970.
    told_at_s: AtomicU64,
}

impl Beneath {
    /// Opens the directory at a path of the whole system; the path itself may hold links.
    ///
    /// # Errors
    /// The system's, when there is no such directory or this process may not read it.
    pub fn open(path: &Path) -> io::Result<Self> {
        let dir = Dir::open_ambient_dir(path, ambient_authority())?;
        let identity = version_of(&dir.dir_metadata()?).file;
        Ok(Beneath { dir, path: path.to_path_buf(), identity, told_at_s: AtomicU64::new(0) })
    }

    /// The path that it was opened at.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The handle.
    #[must_use]
    pub fn dir(&self) -> &Dir {
        &self.dir
    }

    /// Whether the path still leads to this directory: it may be moved, mounted over or replaced.
    #[must_use]
    pub fn is_in_place(&self) -> bool {
        std::fs::metadata(&self.path)
            .is_ok_and(|meta| meta.is_dir() && Version::of(&meta).file == self.identity)
    }

    /// A path without links, "" for the directory itself; nothing when it leads out of the
    /// directory or to nothing.
    #[must_use]
    pub fn real_path(&self, path: &str) -> Option<String> {
        if path.is_empty() {
            return Some(String::new());
        }
        let real = self.dir.canonicalize(path).ok()?;
        let real = real.to_str()?;
        Some(if real == "." { String::new() } else { real.to_owned() })
    }

    /// Opens a regular file for reading and says which version it is.
    ///
    /// # Errors
    /// [`OpenError`] says what stands in the way.
    pub fn file(&self, path: &str) -> Result<(File, Version), OpenError> {
        let refuse = |why| self.refuse(path, &why);
        let file = self.dir.open_with(path, &without_waiting()).map_err(refuse)?.into_std();
        let meta = file.metadata().map_err(refuse)?;
        if !meta.is_file() {
            return Err(OpenError::NotServable);
        }
        Ok((file, Version::of(&meta)))
    }

    /// What the system's refusal means for the one who asked. What only an administrator can mend
    /// goes to the log, at most once a second: where one file fails, thousands may.
    pub fn refuse(&self, path: &str, why: &io::Error) -> OpenError {
        let refusal = refusal(why);
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let now_s = since.map_or(0, |since| since.as_secs());
        if refusal == OpenError::Io && self.told_at_s.swap(now_s, Relaxed) != now_s {
            tracing::error!("cannot read {path} under {}: {why}", self.path.display());
        }
        refusal
    }
}

/// Reads, and returns at once also where a pipe has no writer.
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

/// Whether a refusal says something about the path, rather than that the disk cannot be asked.
pub(super) fn is_answer(why: &io::Error) -> bool {
    refusal(why) != OpenError::Io
}

fn refusal(why: &io::Error) -> OpenError {
    match why.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => OpenError::Gone,
        // cap-std's own refusal of a path that leads out carries no number of the system.
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

/// The version that a directory's view of a file tells of.
#[cfg(unix)]
pub(crate) fn version_of(meta: &Metadata) -> Version {
    use super::blob::nanoseconds;
    use cap_std::fs::MetadataExt;
    Version {
        bytes: meta.len(),
        modified_ns: nanoseconds(meta.mtime(), meta.mtime_nsec()),
        changed_ns: nanoseconds(meta.ctime(), meta.ctime_nsec()),
        file: (meta.dev(), meta.ino()),
    }
}

/// The version that a directory's view of a file tells of.
#[cfg(not(unix))]
pub(crate) fn version_of(meta: &Metadata) -> Version {
    let modified = meta.modified().ok().map(cap_std::time::SystemTime::into_std);
    let since = modified.and_then(|at| at.duration_since(std::time::UNIX_EPOCH).ok());
    let modified_ns = since.map_or(0, |age| i64::try_from(age.as_nanos()).unwrap_or(i64::MAX));
    Version { bytes: meta.len(), modified_ns, changed_ns: 0, file: (0, 0) }
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

        let beneath = Beneath::open(root.path()).unwrap();
        let mut read = String::new();
        beneath.file("image").unwrap().0.read_to_string(&mut read).unwrap();
        assert_eq!(read, "image");
        for path in ["out", "up", "loop", "magic/etc/passwd", "../secret"] {
            assert_eq!(beneath.file(path).unwrap_err(), OpenError::NotServable, "{path}");
        }
        assert_eq!(beneath.file("none").unwrap_err(), OpenError::Gone);
        assert_eq!(beneath.file("image/none").unwrap_err(), OpenError::Gone);
    }

    #[test]
    fn pipes_sockets_and_directories_are_refused_without_waiting() {
        let root = tempfile::tempdir().unwrap();
        let made = std::process::Command::new("mkfifo").arg(root.path().join("pipe")).status();
        assert!(made.unwrap().success());
        let _socket = std::os::unix::net::UnixListener::bind(root.path().join("socket")).unwrap();
        fs::create_dir(root.path().join("directory")).unwrap();
        let beneath = Beneath::open(root.path()).unwrap();
        for path in ["pipe", "socket", "directory"] {
            assert_eq!(beneath.file(path).unwrap_err(), OpenError::NotServable, "{path}");
        }
    }

    #[test]
    fn a_root_that_was_replaced_is_noticed() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("root");
        fs::create_dir(&path).unwrap();
        let beneath = Beneath::open(&path).unwrap();
        assert!(beneath.is_in_place());
        fs::rename(&path, parent.path().join("old")).unwrap();
        assert!(!beneath.is_in_place());
        fs::create_dir(&path).unwrap();
        assert!(!beneath.is_in_place());
    }
}
