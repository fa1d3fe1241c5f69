//! The lock on `data_dir`: two servers never write to one.
//!
//! Holds a descriptor with an advisory lock (flock); the kernel lets go of it when the process
//! ends, however it ends. Commands that are safe beside a server do not ask for it.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use crate::sys::privileges::Account;

/// Its file in `data_dir`.
pub const LOCK_FILE: &str = "ringpost.lock";
/// Most that is read of what another server has written into it, in bytes.
const OWNER_BYTES_MAX: u64 = 64;

/// The lock while it is held.
#[derive(Debug)]
pub struct DataLock(File);

impl DataLock {
    /// Takes the lock and writes this process's number into its file.
    ///
    /// # Errors
    /// Who has it, or what is in the way, in a sentence that says what to do.
    pub fn take(data_dir: &Path) -> Result<Self, String> {
        let path = data_dir.join(LOCK_FILE);
        let shown = path.display();
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o640);
        options.custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC);
        let mut file = options.open(&path).map_err(|fault| {
            format!("cannot open {shown} ({fault}); let the user that Ringpost runs as write there")
        })?;
        match file.try_lock() {
            Ok(()) => {
                write_owner(&mut file).map_err(|fault| {
                    format!("cannot write {shown} ({fault}); free the disk or mend its rights")
                })?;
                Ok(DataLock(file))
            }
            Err(TryLockError::WouldBlock) => {
                let owner = owner(&mut file).unwrap_or_else(|| "another process".into());
                Err(format!(
                    "{} is in use by another Ringpost, {owner}; stop that one, or give this one \
                     another data_dir",
                    data_dir.display()
                ))
            }
            Err(TryLockError::Error(fault)) => Err(format!(
                "{shown} cannot be locked ({fault}); a data_dir has to lie on a file system with \
                 locks"
            )),
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

    /// The descriptor that holds the lock, for a successor that takes over without a gap.
    ///
    /// # Errors
    /// The system has no descriptor left.
    pub fn descriptor(&self) -> io::Result<OwnedFd> {
        self.0.try_clone().map(OwnedFd::from)
    }
}

fn write_owner(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())
}

/// What the one who has the lock wrote.
fn owner(file: &mut File) -> Option<String> {
    let mut text = String::new();
    file.take(OWNER_BYTES_MAX).read_to_string(&mut text).ok()?;
    let process: u32 = text.trim().parse().ok()?;
    Some(format!("process {process}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_server_over_one_data_dir_is_refused_and_told_of_the_first() {
        let dir = tempfile::tempdir().unwrap();
        let first = DataLock::take(dir.path()).unwrap();
        let told = DataLock::take(dir.path()).unwrap_err();
        let me = format!("another Ringpost, process {}", std::process::id());
        assert!(told.contains(&me), "{told}");
        drop(first);
        assert!(DataLock::take(dir.path()).is_ok());
    }

    #[test]
    fn a_lock_whose_descriptor_was_handed_on_is_still_held() {
        let dir = tempfile::tempdir().unwrap();
        let first = DataLock::take(dir.path()).unwrap();
        let handed_on = first.descriptor().unwrap();
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
