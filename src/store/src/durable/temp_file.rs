//! A file that is written under a name which is never served, and waits for its place.
//!
//! Locked as long as it stands there, so that another process's start spares it. Never has half of
//! what it is to have under its own name.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use cap_std::fs::{Dir, Metadata};

use super::TEMP_PREFIX;
use engine::cancel::CancelToken;

/// A whole file that stands aside and waits for its place. Locked as long as it does, so that
/// another process's start spares it.
#[derive(Debug)]
pub(crate) struct TempFile {
    pub(super) file: std::fs::File,
    pub(super) name: String,
    pub(super) from: Arc<Dir>,
    pub(super) to: Target,
    pub(super) synced: io::Result<()>,
    /// Who may still take it back.
    pub(super) cancel: Option<CancelToken>,
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
pub(crate) struct FileAttrs<'a> {
    /// A file whose mode it is to have.
    pub(crate) like: Option<&'a Metadata>,
    /// Its mode where there is none to be like; 0 for the usual one.
    pub(crate) mode: u32,
    /// Its modification time; none for now.
    pub(crate) modified: Option<SystemTime>,
}

impl TempFile {
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
    pub(super) fn end_writing(&mut self) -> io::Result<()> {
        // Whoever may not read it is left with what was open.
        let Ok(file) = self.from.open(&self.name) else { return Ok(()) };
        // The lock goes with what held it.
        drop(std::mem::replace(&mut self.file, file.into_std()));
        self.hold()
    }

    /// Locks the file. Fails when somebody takes it for what a crash left, or took it away: from
    /// then on its name may be another's.
    pub(super) fn hold(&self) -> io::Result<()> {
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
        let is_aside = entry.file_name().to_str().is_some_and(|name| name.starts_with(TEMP_PREFIX));
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
