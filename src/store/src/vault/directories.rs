//! The directories that receive uploads, by number, and how much they hold.
//!
//! Never writes to one, except to remove what a crash left.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use cap_std::ambient_authority;
use cap_std::fs::Dir;
use parking_lot::{Mutex, MutexGuard};

use super::known_dirs::{DirKind, KnownDirs};
use crate::durable::sweep;

/// Depth of subdirectories that are searched for remains of a crash and whose sizes are added up.
const DEPTH_MAX: usize = 8;

/// The directories that receive uploads, by number. A number means the same directory as long as
/// the process lives, even if the configuration changes.
#[derive(Debug, Default)]
pub struct Directories {
    paths: Mutex<Vec<PathBuf>>,
    known: Arc<KnownDirs>,
}

impl Directories {
    /// Returns the number of a directory, which need not exist yet, or `None` if there are too
    /// many. Removes what a crash may have left in a new one.
    pub fn number(&self, path: &Path) -> Option<u16> {
        let mut known = self.lock();
        if let Some(place) = known.iter().position(|one| one == path) {
            return u16::try_from(place).ok();
        }
        let number = u16::try_from(known.len()).ok()?;
        if let Ok(dir) = Dir::open_ambient_dir(path, ambient_authority()) {
            sweep(&dir, DEPTH_MAX);
        }
        self.known.remember(path, DirKind::Uploads);
        known.push(path.to_path_buf());
        Some(number)
    }

    /// Returns the directories as they were first found, vaults included.
    #[must_use]
    pub fn known(&self) -> &Arc<KnownDirs> {
        &self.known
    }

    pub(super) fn path(&self, number: u16) -> Option<PathBuf> {
        self.lock().get(usize::from(number)).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<PathBuf>> {
        self.paths.lock()
    }
}

/// What a directory and its subdirectories hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct InUse {
    pub(super) bytes: u64,
    pub(super) files: u64,
}

/// Adds up the sizes and the number of all files in a directory and its subdirectories.
pub(super) fn used_in(dir: &Dir) -> InUse {
    used_within(dir, DEPTH_MAX)
}

fn used_within(dir: &Dir, depth: usize) -> InUse {
    let Ok(entries) = dir.entries() else { return InUse::default() };
    let all = entries.flatten().map(|entry| match entry.metadata() {
        Ok(meta) if meta.is_file() => InUse { bytes: meta.len(), files: 1 },
        Ok(meta) if meta.is_dir() && depth > 0 => {
            entry.open_dir().map_or(InUse::default(), |inner| used_within(&inner, depth - 1))
        }
        Ok(_) | Err(_) => InUse::default(),
    });
    all.fold(InUse::default(), |sum, one| InUse {
        bytes: sum.bytes.saturating_add(one.bytes),
        files: sum.files + one.files,
    })
}
