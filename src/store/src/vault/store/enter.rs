//! Directories that were there before are opened, never made anew: a disk that is away must not
//! look like an empty one. And what the writer has counted.

use std::io;
use std::path::Path;
use std::sync::Arc;

use cap_std::fs::Dir;

use super::super::known_dirs::DirKind;
use super::{Job, Writer};
use engine::vault::request::VaultError;

impl Writer {
    /// Returns the number of old versions removed so far.
    #[must_use]
    pub(crate) fn versions_pruned(&self) -> u64 {
        self.versions_pruned
    }

    /// Returns the oldest bytes removed from files that are appended to.
    #[must_use]
    pub fn cut_bytes(&self) -> u64 {
        self.cuts.bytes
    }

    /// Opens a known vault, so that it is not created anew while its disk is away.
    pub(super) fn enter_vault(&mut self, job: &Job<'_>, vault: &Path) -> Result<(), VaultError> {
        match self.directories.known().open(vault) {
            Ok(Some(dir)) => self.disk.enter(vault, dir),
            Ok(None) => {}
            Err(why) => return Err(self.denial(job, &why)),
        }
        Ok(())
    }

    /// Opens a directory that receives uploads. Creates it if it is missing and was never there.
    pub(in crate::vault) fn top(&mut self, path: &Path) -> io::Result<Arc<Dir>> {
        match self.directories.known().open(path)? {
            Some(dir) => {
                self.disk.enter(path, dir);
                self.disk.top(path)
            }
            None => {
                let top = self.disk.top(path)?;
                self.directories.known().remember(path, DirKind::Uploads);
                Ok(top)
            }
        }
    }
}
