//! A temporary file: written under a name that is never served, and then renamed into place.
//!
//! Locked as long as it exists, so that another process's start spares it. Never incomplete under
//! its final name.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use cap_std::fs::{Dir, Metadata};

use super::TEMP_PREFIX;
use engine::cancel::CancelToken;

/// A whole file that waits to be placed. Locked until then, so that another process's start spares
/// it.
#[derive(Debug)]
pub(crate) struct TempFile {
    pub(super) file: std::fs::File,
    pub(super) name: String,
    pub(super) from: Arc<Dir>,
    pub(super) to: Target,
    pub(super) synced: io::Result<()>,
    /// Lets the client cancel it.
    pub(super) cancel: Option<CancelToken>,
}

/// Where a file is placed.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) dir: Arc<Dir>,
    /// The directory's path.
    pub(crate) path: PathBuf,
    pub(crate) name: String,
}

impl Target {
    /// Returns whether the directory is still the one that its path leads to.
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

/// The attributes of a temporary file.
#[derive(Clone, Copy, Default)]
pub(crate) struct FileAttrs<'a> {
    /// A file whose mode it gets.
    pub(crate) like: Option<&'a Metadata>,
    /// Its mode without such a file; 0 for the default mode.
    pub(crate) mode: u32,
    /// Its modification time; `None` for now.
    pub(crate) modified: Option<SystemTime>,
    /// Whether it belongs to its writer and not to the owner of the directory.
    pub(crate) is_private: bool,
}

impl TempFile {
    /// Returns the file itself.
    pub(crate) fn file(&self) -> &std::fs::File {
        &self.file
    }

    /// Returns where it is placed.
    pub(crate) fn to(&self) -> &Target {
        &self.to
    }

    /// Changes its final name.
    pub(crate) fn go_to(&mut self, name: String) {
        self.to.name = name;
    }

    /// Returns the token that cancels it, if any.
    pub(crate) fn cancel(&self) -> Option<&CancelToken> {
        self.cancel.as_ref()
    }

    /// Cancels its placement if the client dies first.
    pub(crate) fn place_unless(&mut self, cancel: Option<&CancelToken>) {
        self.cancel = cancel.cloned();
    }

    /// Closes the file for writing. The watch sees the close of a writable file as a write, under
    /// the name that it has by then, and this file is never written to under that name.
    pub(super) fn end_writing(&mut self) -> io::Result<()> {
        // If it may not be read, the writable file stays open.
        let Ok(file) = self.from.open(&self.name) else { return Ok(()) };
        // The lock ends with the old handle.
        drop(std::mem::replace(&mut self.file, file.into_std()));
        self.hold()
    }

    /// Locks the file. Fails if another process takes it for remains of a crash, or has removed it:
    /// from then on its name may be another's.
    pub(super) fn hold(&self) -> io::Result<()> {
        // A file system without locks is not swept either.
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

/// Removes temporary files that a crash left, here and in the directories below.
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
        let is_aside = entry.file_name().to_str().is_some_and(|name| name.starts_with(TEMP_PREFIX));
        if !is_aside || !kind.is_file() {
            continue;
        }
        // A process that still writes to it, perhaps the one that this one takes over from, has it
        // locked.
        let Ok(file) = entry.open().map(cap_std::fs::File::into_std) else { continue };
        if file.try_lock().is_ok() && entry.remove_file().is_ok() {
            tracing::info!("removed {}, left by a crash", entry.file_name().display());
        }
    }
}
