//! The lock on `data_dir`: two servers never write to one.
//!
//! Holds a descriptor with an advisory lock (flock); the kernel releases it when the process ends,
//! however it ends. Commands that are safe beside a server do not take it.

use std::error::Error;
use std::fmt;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use crate::sys::privileges::Account;

/// Its file in `data_dir`.
pub(crate) const LOCK_FILE: &str = "ringpost.lock";
/// Most bytes that are read of another server's text in it.
const OWNER_BYTES_MAX: u64 = 64;

/// The lock while it is held.
#[derive(Debug)]
pub(crate) struct DataLock(File);

impl DataLock {
    /// Takes the lock and writes this process's number into its file.
    ///
    /// # Errors
    /// The owner of the lock, or the obstacle, with the remedy.
    pub(crate) fn take(data_dir: &Path) -> Result<Self, LockError> {
        let path = data_dir.join(LOCK_FILE);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o640);
        options.custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC);
        let opened = options.open(&path);
        let mut file = opened.map_err(|cause| LockError::Open { path: path.clone(), cause })?;
        match file.try_lock() {
            Ok(()) => {
                write_owner(&mut file).map_err(|cause| LockError::Write { path, cause })?;
                Ok(DataLock(file))
            }
            Err(TryLockError::WouldBlock) => {
                Err(LockError::InUse { data_dir: data_dir.to_owned(), process: owner(&mut file) })
            }
            Err(TryLockError::Error(cause)) => Err(LockError::Lock { path, cause }),
        }
    }

    /// Gives the file to the user that the server becomes, so that a later start as that user can
    /// take the lock.
    ///
    /// # Errors
    /// The file system refuses.
    pub(crate) fn give_to(&self, account: &Account) -> io::Result<()> {
        account.own_open(&self.0)
    }
}

/// Why a data directory cannot be locked.
#[derive(Debug)]
pub(crate) enum LockError {
    /// Another server has it.
    InUse {
        /// The data directory.
        data_dir: PathBuf,
        /// The server's process, if it is known.
        process: Option<u32>,
    },
    /// The file of the lock cannot be opened.
    Open {
        /// The file.
        path: PathBuf,
        /// The system's error.
        cause: io::Error,
    },
    /// This process cannot put its number into the file.
    Write {
        /// The file.
        path: PathBuf,
        /// The system's error.
        cause: io::Error,
    },
    /// The file system has no locks.
    Lock {
        /// The file.
        path: PathBuf,
        /// The system's error.
        cause: io::Error,
    },
}

impl fmt::Display for LockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LockError::InUse { data_dir, process } => {
                write!(f, "{} is in use by another Ringpost, ", data_dir.display())?;
                match process {
                    Some(process) => write!(f, "process {process}")?,
                    None => f.write_str("another process")?,
                }
                f.write_str("; stop that one, or give this one another data_dir")
            }
            LockError::Open { path, cause } => write!(
                f,
                "cannot open {} ({cause}); let the user that Ringpost runs as write there",
                path.display()
            ),
            LockError::Write { path, cause } => write!(
                f,
                "cannot write {} ({cause}); free the disk or mend its rights",
                path.display()
            ),
            LockError::Lock { path, cause } => write!(
                f,
                "{} cannot be locked ({cause}); a data_dir has to lie on a file system with locks",
                path.display()
            ),
        }
    }
}

impl Error for LockError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            LockError::Open { cause, .. }
            | LockError::Write { cause, .. }
            | LockError::Lock { cause, .. } => Some(cause),
            LockError::InUse { .. } => None,
        }
    }
}

fn write_owner(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())
}

/// Reads the number that the owner of the lock wrote.
fn owner(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.take(OWNER_BYTES_MAX).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_server_over_one_data_dir_is_refused_and_told_of_the_first() {
        let dir = tempfile::tempdir().unwrap();
        let first = DataLock::take(dir.path()).unwrap();
        let message = DataLock::take(dir.path()).unwrap_err().to_string();
        let me = format!("another Ringpost, process {}", std::process::id());
        assert!(message.contains(&me), "{message}");
        drop(first);
        assert!(DataLock::take(dir.path()).is_ok());
    }

    #[test]
    fn a_lock_whose_descriptor_was_handed_on_is_still_held() {
        let dir = tempfile::tempdir().unwrap();
        let first = DataLock::take(dir.path()).unwrap();
        let handed_on = first.0.try_clone().unwrap();
        drop(first);
        assert!(DataLock::take(dir.path()).is_err());
        drop(handed_on);
    }

    #[test]
    fn a_link_in_the_place_of_the_lock_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let victim = dir.path().join("victim");
        std::fs::write(&victim, "whole").unwrap();
        std::os::unix::fs::symlink(&victim, dir.path().join(LOCK_FILE)).unwrap();
        assert!(DataLock::take(dir.path()).is_err());
        assert_eq!(std::fs::read_to_string(victim).unwrap(), "whole");
    }
}
