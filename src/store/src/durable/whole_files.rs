//! Puts several files into place: each whole or not at all, and all of them synced before the first
//! is renamed.
//!
//! Never changes a file in place, and never follows a link at the target.

use std::fmt;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use super::{Disk, FileAttrs, Target, TempFile};

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
            false => Err(io::Error::other("its directory cannot be synced")),
        });
        result = placed.map_err(|cause| failed(file, cause));
    }
    result
}

/// Writes a temporary file beside its target.
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
