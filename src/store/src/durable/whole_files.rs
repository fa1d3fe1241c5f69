//! Whole files put in their places: each whole or not at all, and all of them on the disk before
//! the first is in its place.
//!
//! Never changes a file in place, and never follows a link that lies in the way.

use std::fmt;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use super::{Disk, FileAttrs, Target, TempFile};

/// A file that is to be put in its place.
#[derive(Clone, Copy, Debug)]
pub struct WholeFile<'a> {
    /// Its place. The directory is there.
    pub path: &'a Path,
    /// What is in it.
    pub bytes: &'a [u8],
    /// Its mode; 0 for the usual one.
    pub mode: u32,
}

/// A file that could not be put in its place.
#[derive(Debug)]
pub struct PutError {
    /// Which.
    pub path: PathBuf,
    /// Why.
    pub cause: io::Error,
}

impl fmt::Display for PutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} cannot be written: {}", self.path.display(), self.cause)
    }
}

impl std::error::Error for PutError {}

/// Puts files in their places, in their order; each is durable before the next one is placed. What
/// root writes belongs to whom the file that was there belongs to, or else its directory.
///
/// # Errors
/// The first file that cannot be written. Those before it are in their places only if all could
/// be written aside.
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
            false => Err(io::Error::other("its directory cannot be synced")),
        });
        result = placed.map_err(|cause| failed(file, cause));
    }
    result
}

/// Writes a file beside its place.
fn write(disk: &mut Disk, file: &WholeFile<'_>) -> io::Result<TempFile> {
    let name = file.path.file_name().and_then(|name| name.to_str());
    let name = name.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidFilename))?;
    let parent = file.path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let path = parent.unwrap_or(Path::new("."));
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

/// Who runs a command as root must not lock out the server, which does not run as root.
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
