//! Checks that the server may write to the directories of phones' uploads.
//!
//! Asks the system if this process is the server's user, and judges by owner, group and mode if it
//! is root. Writes nothing.

use std::ffi::CString;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::unistd::{AccessFlags, Gid, Uid, User, access, getgrouplist};

use super::file::File;
use crate::sys::privileges::Account;

/// The bits to create and replace a file in a directory: write and search.
const WRITE_AND_PASS: u32 = 0o3;

/// A directory of an `[[upload]]` row, and the owner that it should have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Receiving {
    dir: PathBuf,
    data_dir: PathBuf,
    user: Option<String>,
    group: Option<String>,
}

impl Receiving {
    pub(super) fn new(dir: PathBuf, data_dir: &Path, file: &File) -> Self {
        let data_dir = data_dir.to_owned();
        Receiving { dir, data_dir, user: file.user.clone(), group: file.group.clone() }
    }

    /// Returns why uploads would fail.
    pub(super) fn warning(&self) -> Option<String> {
        let shown = self.dir.display();
        let fails = |why| format!("[[upload]] stores in {shown}, {why}");
        if !Uid::effective().is_root() {
            return match access(&self.dir, AccessFlags::W_OK | AccessFlags::X_OK) {
                Ok(()) | Err(Errno::ENOENT) => None,
                Err(Errno::EROFS) => Some(fails(format!(
                    "which is read-only for the server, so phones cannot store there; mount it \
                     for writing, or add ReadWritePaths={shown} to the service \
                     (systemctl edit ringpost)"
                ))),
                Err(_) => Some(fails(not_its_own(&name(Uid::effective()), &self.dir))),
            };
        }
        let seen = self.dir.metadata().ok()?;
        let (uid, groups) = self.server()?;
        let bits = if uid.is_root() {
            return None;
        } else if seen.uid() == uid.as_raw() {
            seen.mode() >> 6
        } else if groups.contains(&Gid::from_raw(seen.gid())) {
            seen.mode() >> 3
        } else {
            seen.mode()
        };
        let may = bits & WRITE_AND_PASS == WRITE_AND_PASS;
        (!may).then(|| fails(not_its_own(&name(uid), &self.dir)))
    }

    /// Returns the server's user: that of the configuration, or otherwise the data directory's
    /// owner.
    fn server(&self) -> Option<(Uid, Vec<Gid>)> {
        if let Some(user) = &self.user {
            let (uid, gid) = Account::find(user, self.group.as_deref()).ok()?.ids();
            return Some((Uid::from_raw(uid), vec![Gid::from_raw(gid)]));
        }
        let seen = self.data_dir.metadata().ok()?;
        let (uid, gid) = (Uid::from_raw(seen.uid()), Gid::from_raw(seen.gid()));
        let user = User::from_uid(uid).ok().flatten();
        let groups =
            user.and_then(|user| getgrouplist(&CString::new(user.name).ok()?, user.gid).ok());
        Some((uid, groups.unwrap_or_else(|| vec![gid])))
    }
}

fn not_its_own(user: &str, dir: &Path) -> String {
    format!(
        "where user {user} may not write, so phones cannot store there; give it to that user: \
         chown {user} {}",
        dir.display()
    )
}

fn name(uid: Uid) -> String {
    let user = User::from_uid(uid).ok().flatten();
    user.map_or_else(|| uid.to_string(), |user| user.name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn receiving(dir: &Path, user: Option<&str>) -> Receiving {
        let data_dir = dir.parent().unwrap().to_owned();
        Receiving { dir: dir.to_owned(), data_dir, user: user.map(Into::into), group: None }
    }

    #[test]
    fn a_directory_that_the_servers_user_cannot_write_to_is_told_with_the_mend() {
        let data = tempfile::tempdir().unwrap();
        let up = data.path().join("up");
        std::fs::create_dir(&up).unwrap();
        let mode = |bits| std::fs::set_permissions(&up, std::fs::Permissions::from_mode(bits));
        if !Uid::effective().is_root() {
            assert_eq!(receiving(&up, None).warning(), None);
            mode(0o500).unwrap();
            assert!(receiving(&up, None).warning().unwrap().contains("may not write"));
            return;
        }
        mode(0o755).unwrap();
        let message = receiving(&up, Some("nobody")).warning().unwrap();
        let mend = format!("give it to that user: chown nobody {}", up.display());
        assert!(
            message.contains("where user nobody may not write") && message.ends_with(&mend),
            "{message}"
        );
        // Root's own server, and a directory for all users.
        assert_eq!(receiving(&up, None).warning(), None);
        mode(0o777).unwrap();
        assert_eq!(receiving(&up, Some("nobody")).warning(), None);
        // Without a user the owner of the data directory is the server's user.
        mode(0o755).unwrap();
        nix::unistd::chown(data.path(), Some(Uid::from_raw(54_321)), None).unwrap();
        assert!(receiving(&up, None).warning().unwrap().contains("chown 54321 "));
        nix::unistd::chown(&up, Some(Uid::from_raw(54_321)), None).unwrap();
        assert_eq!(receiving(&up, None).warning(), None);
        mode(0o555).unwrap();
        assert!(receiving(&up, None).warning().is_some());
    }

    #[test]
    fn a_directory_that_the_start_makes_is_no_reason_to_warn() {
        let data = tempfile::tempdir().unwrap();
        assert_eq!(receiving(&data.path().join("later"), Some("nobody")).warning(), None);
    }
}
