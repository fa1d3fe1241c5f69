//! Translates the system's errors for the phone that stores something.
//!
//! Logs them, and stores nothing.

use std::io;
use std::path::Path;

use super::jobs::Job;
use super::known_dirs::is_away;
use super::store::Writer;
use super::write;
use engine::catalog::StoreError;
use engine::vault::request::VaultError;

impl Writer {
    /// Translates an error from placing a version for the phone, and logs it.
    pub(super) fn denial(&self, job: &Job<'_>, why: &io::Error) -> VaultError {
        let vault = match job {
            Job::Vault(request, _) => &request.policy.dir,
            Job::Upload(_) | Job::Delete(_) => Path::new("the vault"),
        };
        if !is_away(why) {
            self.disk.log.error(why, "keep versions in", vault);
        }
        write::denied(why)
    }

    /// Translates an error for the phone; logs what only an administrator can mend.
    pub(super) fn refusal(&self, why: &io::Error, path: &Path) -> StoreError {
        use io::ErrorKind::{
            AlreadyExists, IsADirectory, NotADirectory, PermissionDenied, QuotaExceeded,
            ReadOnlyFilesystem, StaleNetworkFileHandle, StorageFull,
        };
        if why.kind() == AlreadyExists {
            return StoreError::Exists;
        }
        if matches!(why.kind(), IsADirectory | NotADirectory) {
            return StoreError::NotAFile;
        }
        if is_away(why) {
            return StoreError::Unavailable;
        }
        self.disk.log.error(why, "store", path);
        if is_descriptors(why) {
            return StoreError::NoDescriptor;
        }
        if matches!(why.kind(), StorageFull | QuotaExceeded) {
            StoreError::Full
        } else if matches!(why.kind(), PermissionDenied | ReadOnlyFilesystem) {
            StoreError::Forbidden
        } else if why.kind() == StaleNetworkFileHandle {
            StoreError::Unavailable
        } else {
            StoreError::Io
        }
    }
}

/// Returns whether the process, or the system, is out of descriptors.
pub(super) fn is_descriptors(why: &io::Error) -> bool {
    use nix::errno::Errno::{EMFILE, ENFILE};
    why.raw_os_error().is_some_and(|code| code == EMFILE as i32 || code == ENFILE as i32)
}
