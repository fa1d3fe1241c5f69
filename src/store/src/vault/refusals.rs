//! What the system's errors mean for the phone that waits for what is stored.
//!
//! Tells the log, and stores nothing.

use std::io;
use std::path::Path;

use super::jobs::Job;
use super::store::Writer;
use super::write;
use engine::catalog::StoreError;
use engine::vault::request::VaultError;

impl Writer {
    /// What the system's refusal to place a version means for the phone; the log is told.
    pub(super) fn denial(&self, job: &Job<'_>, why: &io::Error) -> VaultError {
        let vault = match job {
            Job::Vault(request, _) => &request.policy.dir,
            Job::Upload(_) | Job::Delete(_) => Path::new("the vault"),
        };
        self.disk.log.error(why, "keep versions in", vault);
        write::denied(why)
    }

    /// What the system's refusal means for the phone; logs what only an administrator can mend.
    pub(super) fn refusal(&self, why: &io::Error, path: &Path) -> StoreError {
        use io::ErrorKind::{AlreadyExists, IsADirectory, NotADirectory};
        use io::ErrorKind::{PermissionDenied, QuotaExceeded};
        use io::ErrorKind::{ReadOnlyFilesystem, StorageFull};
        if why.kind() == AlreadyExists {
            return StoreError::Exists;
        }
        if matches!(why.kind(), IsADirectory | NotADirectory) {
            return StoreError::NotAFile;
        }
        self.disk.log.error(why, "store", path);
        if is_descriptors(why) {
            return StoreError::NoDescriptor;
        }
        if matches!(why.kind(), StorageFull | QuotaExceeded) {
            StoreError::Full
        } else if matches!(why.kind(), PermissionDenied | ReadOnlyFilesystem) {
            StoreError::Forbidden
        } else {
            StoreError::Io
        }
    }
}

/// Whether the process, or the system, has as many files open as it may.
fn is_descriptors(why: &io::Error) -> bool {
    use nix::errno::Errno::{EMFILE, ENFILE};
    why.raw_os_error().is_some_and(|code| code == EMFILE as i32 || code == ENFILE as i32)
}
