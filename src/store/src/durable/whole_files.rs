//! Puts several files into place: each whole or not at all, and all of them synced before the first
//! is renamed. Or creates one that must not be there yet.
//!
//! Never changes a file in place, and never follows a link at the target.

use std::fmt;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cap_std::ambient_authority;
use cap_std::fs::Dir;

use super::{Disk, FileAttrs, Target, TempFile};

/// Why a file that is in place is not durable.
const UNSYNCED: &str = "its directory cannot be synced";

/// A file to be put into place.
#[derive(Clone, Copy, Debug)]
pub struct WholeFile<'a> {
    /// Its path. The directory exists.
    pub path: &'a Path,
    /// Its content.
    pub bytes: &'a [u8],
    /// Its mode; 0 for the default mode.
    pub mode: u32,
}

/// A file that could not be put into place.
#[derive(Debug)]
pub struct PutError {
    /// The file.
    pub path: PathBuf,
    /// The system's error.
    pub cause: io::Error,
}

impl fmt::Display for PutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} cannot be written: {}", self.path.display(), self.cause)
    }
}

impl std::error::Error for PutError {}

/// Puts files into place, in their order; each is durable before the next one is placed. A file
/// that root writes gets the owner of the file it replaces, or otherwise of its directory.
///
/// # Errors
/// The first file that cannot be written. Those before it are in place only if all temporary files
/// could be written.
pub fn put(files: &[WholeFile<'_>]) -> Result<(), PutError> {
    let mut disk = Disk::default();
    let mut written: Vec<TempFile> = Vec::new();
    let failed = |file: &WholeFile<'_>, cause| PutError { path: file.path.to_path_buf(), cause };
    for file in files {
        match write(&mut disk, file) {
            Ok(temp) => written.push(temp),
            Err(cause) => {
                written.into_iter().for_each(|temp| disk.discard(temp));
                return Err(failed(file, cause));
            }
        }
    }
    disk.sync_files(written.iter_mut());
    let mut result = Ok(());
    for (file, temp) in files.iter().zip(written) {
        if result.is_err() {
            disk.discard(temp);
            continue;
        }
        let placed = disk.place(temp).and_then(|_| match disk.sync().is_empty() {
            true => Ok(()),
            false => Err(io::Error::other(UNSYNCED)),
        });
        result = placed.map_err(|cause| failed(file, cause));
    }
    result
}

/// Creates one file durably from what `write` writes to it, and returns what `write` returned. The
/// file belongs to the user of this process, whoever has the directory, which must exist.
///
/// # Errors
/// The system's error: `AlreadyExists` if there is a file of that name, which stays. No part of the
/// new one is left.
pub fn create<T>(
    path: &Path,
    mode: u32,
    write: impl FnOnce(&std::fs::File) -> io::Result<T>,
) -> io::Result<T> {
    let (parent, name) = split(path)?;
    let dir = Arc::new(Dir::open_ambient_dir(parent, ambient_authority())?);
    if dir.symlink_metadata(name).is_ok() {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    let mut disk = Disk::default();
    let to = Target { dir, path: parent.to_path_buf(), name: name.to_owned() };
    let attrs = FileAttrs { mode, is_private: true, ..FileAttrs::default() };
    let mut temp = disk.create_beside(&to, attrs)?;
    let written = match disk.fill_with(&temp, write) {
        Ok(written) => written,
        Err(why) => {
            disk.discard(temp);
            return Err(why);
        }
    };
    disk.sync_files(std::iter::once(&mut temp));
    disk.place_new(temp)?;
    match disk.sync().is_empty() {
        true => Ok(written),
        false => Err(io::Error::other(UNSYNCED)),
    }
}

/// Returns a file's directory, and its name in it.
fn split(path: &Path) -> io::Result<(&Path, &str)> {
    let name = path.file_name().and_then(|name| name.to_str());
    let name = name.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidFilename))?;
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    Ok((parent.unwrap_or(Path::new(".")), name))
}

/// Writes a temporary file beside its target.
fn write(disk: &mut Disk, file: &WholeFile<'_>) -> io::Result<TempFile> {
    let (path, name) = split(file.path)?;
    let to = Target { dir: disk.top(path)?, path: path.to_path_buf(), name: name.to_owned() };
    let attrs = FileAttrs { mode: file.mode, ..FileAttrs::default() };
    let temp = disk.create_beside(&to, attrs)?;
    let filled = keep_owner(file.path, path, temp.file())
        .and_then(|()| disk.fill_with(&temp, |mut to| to.write_all(file.bytes)));
    match filled {
        Ok(()) => Ok(temp),
        Err(cause) => {
            disk.discard(temp);
            Err(cause)
        }
    }
}

/// A command that runs as root must not lock out the server, which does not run as root.
fn keep_owner(path: &Path, directory: &Path, file: &std::fs::File) -> io::Result<()> {
    #[cfg(unix)]
    if nix::unistd::geteuid().is_root() {
        use std::os::unix::fs::MetadataExt as _;
        let like = std::fs::symlink_metadata(path).or_else(|_| std::fs::metadata(directory))?;
        std::os::unix::fs::fchown(file, Some(like.uid()), Some(like.gid()))?;
    }
    let _ = (path, directory, file);
    Ok(())
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

    #[test]
    fn a_created_file_replaces_none_and_leaves_no_part_of_itself() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let make = |text: &str| create(&path, 0o600, |mut to| to.write_all(text.as_bytes()));
        make("one").unwrap();
        assert_eq!(make("two").unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read_to_string(&path).unwrap(), "one");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let other = dir.path().join("other");
        let failed = create(&other, 0o600, |mut to| {
            to.write_all(b"half")?;
            Err::<(), _>(io::ErrorKind::StorageFull.into())
        });
        assert_eq!(failed.unwrap_err().kind(), io::ErrorKind::StorageFull);
        // Another program is faster.
        let faster = create(&other, 0o600, |_| fs::write(&other, "theirs"));
        assert_eq!(faster.unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read_to_string(&other).unwrap(), "theirs");
        let names = fs::read_dir(dir.path()).unwrap().count();
        assert_eq!(names, 2, "no temporary file is left");
        let nowhere = create(&dir.path().join("none/file"), 0o600, |_| Ok(()));
        assert_eq!(nowhere.unwrap_err().kind(), io::ErrorKind::NotFound);
        assert!(!dir.path().join("none").exists());
    }

    #[test]
    fn a_created_file_belongs_to_its_writer_and_not_to_the_owner_of_the_directory() {
        if !nix::unistd::geteuid().is_root() {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        nix::unistd::chown(dir.path(), Some(4711.into()), None).unwrap();
        let path = dir.path().join("file");
        create(&path, 0o600, |_| Ok(())).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().uid(), 0);
    }
}
