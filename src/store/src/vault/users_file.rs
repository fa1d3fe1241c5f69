//! Changes the users' file by a temporary file and a rename, readable only by the server.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use cap_std::fs::Dir;

use super::users;
use crate::durable::{Disk, FileAttrs, TEMP_PREFIX, Target, sweep};

/// Only the server and administrators may read hashes.
const MODE: u32 = 0o600;
/// Most tries while another process changes the file at the same moment.
const TRIES_MAX: usize = 40;
/// The pause between two tries.
const HELD_WAIT: Duration = Duration::from_millis(50);

/// A change to a user.
#[derive(Clone, Copy, Debug)]
pub enum Change<'a> {
    /// Sets the password's hash, and the extensions if given.
    Password {
        /// In PHC form.
        hash: &'a str,
        /// As `users::reach` reads them.
        extensions: Option<&'a str>,
    },
    /// Adds one more password.
    Beside {
        /// In PHC form.
        hash: &'a str,
        /// As `users::reach` reads them.
        extensions: Option<&'a str>,
        /// The last day of the other passwords, as `users::check_day` reads it.
        old_until: Option<&'a str>,
    },
    /// Removes all but the newest password.
    ExpireOld,
    /// Removes the user.
    Delete,
}

/// Changes a user's line. Returns whether the user existed; a deletion does nothing otherwise. A
/// new file gets the owner of `beside`, the server's vault, or otherwise of its directory.
///
/// # Errors
/// The system's error; `ResourceBusy` if others keep changing the file; `PermissionDenied` if its
/// owner could not be kept.
pub fn change(path: &Path, name: &str, change: Change<'_>, beside: &Path) -> io::Result<bool> {
    let no_name = || io::Error::from(io::ErrorKind::IsADirectory);
    let file_name = path.file_name().and_then(|name| name.to_str()).ok_or_else(no_name)?;
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) | None => Path::new("."),
    };
    let mut disk = Disk::default();
    let dir = disk.top(parent)?;
    sweep(&dir, 0);
    let claim = format!("{TEMP_PREFIX}{file_name}");
    for _ in 0..TRIES_MAX {
        let text = text_of(&dir, file_name)?;
        let is_there = || !users::Users::parse(&text).0.find(name.as_bytes()).is_empty();
        let (was_there, changed) = match change {
            Change::Password { hash, extensions } => {
                (is_there(), users::with_user(&text, name, hash, extensions))
            }
            Change::Beside { hash, extensions, old_until } => {
                (is_there(), users::with_password(&text, name, (hash, old_until), extensions))
            }
            Change::ExpireOld => match users::without_old(&text, name) {
                Some(changed) => (true, changed),
                None => return Ok(false),
            },
            Change::Delete => match users::without_user(&text, name) {
                Some(changed) => (true, changed),
                None => return Ok(false),
            },
        };
        let attrs = FileAttrs { mode: MODE, ..FileAttrs::default() };
        let to = Target {
            dir: Arc::clone(&dir),
            path: parent.to_path_buf(),
            name: file_name.to_owned(),
        };
        let written = disk.write_temp((&dir, &claim), to, changed.as_bytes(), attrs);
        let mut temp = match written {
            Err(held) if is_held(&held) => {
                std::thread::sleep(HELD_WAIT);
                continue;
            }
            temp => temp?,
        };
        // The process that held the name before may have changed the file since it was read.
        if text_of(&dir, file_name)? != text {
            disk.discard(temp);
            continue;
        }
        if let Err(why) = keep_owner(&dir, file_name, &claim, beside) {
            disk.discard(temp);
            return Err(why);
        }
        disk.sync_files(std::iter::once(&mut temp));
        disk.place(temp)?;
        return match disk.sync().is_empty() {
            true => Ok(was_there),
            false => Err(io::Error::other("its directory cannot be synced")),
        };
    }
    Err(io::ErrorKind::ResourceBusy.into())
}

fn is_held(why: &io::Error) -> bool {
    matches!(why.kind(), io::ErrorKind::AlreadyExists | io::ErrorKind::ResourceBusy)
}

fn text_of(dir: &Dir, file_name: &str) -> io::Result<String> {
    match dir.read_to_string(file_name) {
        Err(none) if none.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        text => text,
    }
}

/// Keeps the file readable for its owner; a new one gets the owner of the vault.
fn keep_owner(dir: &Dir, file_name: &str, temp: &str, beside: &Path) -> io::Result<()> {
    #[cfg(unix)]
    {
        use cap_std::fs::MetadataExt;
        use std::os::unix::fs::MetadataExt as _;
        let owner = match dir.metadata(file_name) {
            Ok(before) => Some((before.uid(), before.gid())),
            // The server must be able to read what root makes for it.
            Err(_) if nix::unistd::geteuid().is_root() => {
                std::fs::metadata(beside).ok().map(|beside| (beside.uid(), beside.gid()))
            }
            Err(_) => None,
        };
        let file = dir.open(temp)?.into_std();
        let Some((uid, gid)) = owner else { return Ok(()) };
        let now = file.metadata()?;
        if (now.uid(), now.gid()) != (uid, gid) {
            let given = std::os::unix::fs::fchown(&file, Some(uid), Some(gid));
            // The group does not matter: only the owner may read it.
            if now.uid() != uid {
                given?;
            }
        }
    }
    let _ = (dir, file_name, temp, beside);
    Ok(())
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    fn set(path: &Path, name: &str, hash: &str, extensions: Option<&str>) -> io::Result<bool> {
        change(path, name, Change::Password { hash, extensions }, Path::new("none"))
    }

    #[test]
    fn the_file_is_made_and_changed_for_the_server_alone() {
        let top = tempfile::tempdir().unwrap();
        let path = top.path().join("data/users.txt");
        assert!(set(&path, "ann", "$x", None).is_ok());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(set(&path, "bob", "$y", Some("*")).is_ok());
        assert_eq!(fs::read_to_string(&path).unwrap(), "ann:$x\nbob:$y:*\n");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn a_user_who_is_deleted_is_gone_from_every_line_and_nobody_else_is() {
        let top = tempfile::tempdir().unwrap();
        let path = top.path().join("users.txt");
        let delete = |name| change(&path, name, Change::Delete, Path::new("none"));
        assert!(!delete("ann").unwrap());
        assert!(!path.exists(), "nothing is made to delete from");
        fs::write(&path, "# ann: see below\nann:$x\nbob:$y:*\n ann:$z:4711\n").unwrap();
        assert!(delete("ann").unwrap());
        assert!(!delete("ann").unwrap());
        assert_eq!(fs::read_to_string(&path).unwrap(), "# ann: see below\nbob:$y:*\n");
    }

    #[test]
    fn the_file_stays_its_owners_and_a_new_one_is_the_vaults_owners() {
        use std::os::unix::fs::{MetadataExt, chown};
        if !nix::unistd::geteuid().is_root() {
            return;
        }
        let top = tempfile::tempdir().unwrap();
        let (path, vault) = (top.path().join("users.txt"), top.path().join("vault"));
        fs::create_dir(&vault).unwrap();
        chown(&vault, Some(4711), Some(4712)).unwrap();
        let password = Change::Password { hash: "$x", extensions: None };
        let owner = || fs::metadata(&path).map(|meta| (meta.uid(), meta.gid())).unwrap();
        change(&path, "ann", password, &vault).unwrap();
        assert_eq!(owner(), (4711, 4712));
        chown(&path, Some(1), Some(2)).unwrap();
        change(&path, "bob", password, &vault).unwrap();
        assert_eq!(owner(), (1, 2));
    }

    #[test]
    fn nobody_who_changes_it_at_the_same_time_is_lost() {
        let top = tempfile::tempdir().unwrap();
        let path = top.path().join("users.txt");
        std::thread::scope(|scope| {
            for number in 0..4 {
                let path = &path;
                scope.spawn(move || set(path, &format!("u{number}"), "$x", None).unwrap());
            }
        });
        assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 4);
    }

    #[test]
    fn what_a_crash_left_does_not_stand_in_the_way() {
        let top = tempfile::tempdir().unwrap();
        fs::write(top.path().join(".ringpost-users.txt"), "half").unwrap();
        let path = top.path().join("users.txt");
        assert!(set(&path, "ann", "$x", None).is_ok());
        assert_eq!(fs::read_dir(top.path()).unwrap().count(), 1);
        assert!(set(top.path(), "ann", "$x", None).is_err());
    }
}
