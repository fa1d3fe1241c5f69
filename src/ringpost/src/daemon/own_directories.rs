//! The directories that the server itself writes to: created before privileges are dropped, and
//! given to the server's user.
//!
//! With a directory of root's go the files that root has created in it for the server: passwords,
//! keys, an imported vault. Never changes other users' files, nor what is served.

use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::{fs, io};

use crate::config::Settings;
use crate::daemon::data_lock::DataLock;
use crate::daemon::error::StartError;
use crate::daemon::exit::{Exit, Failure};
use crate::sys::privileges::{self, Account};
use store::vault::KnownDirs;

/// For the server alone.
const PRIVATE: u32 = 0o700;
/// Group or others may write to it.
const WRITABLE_BY_OTHERS: u32 = 0o022;
/// Readable for the group: the data directory itself, and the log's.
const SHARED: u32 = 0o750;

/// Prepares the directories for the server's user, and takes the lock of the data directory.
///
/// # Errors
/// The obstacle, with the remedy.
pub(crate) fn take(settings: &Settings) -> Result<DataLock, Failure> {
    let account = privileges::account(settings.user.as_deref(), settings.group.as_deref())?;
    prepare(settings, account.as_ref(), &KnownDirs::default())?;
    let locked = DataLock::take(&settings.data_dir);
    let lock = locked.map_err(|cause| Failure::by(Exit::CannotBind, cause))?;
    // A file system without owners needs nothing.
    let _ = account.map(|account| lock.give_to(&account));
    Ok(lock)
}

/// Creates what is missing, and gives root's files to `account`, if this process is root and will
/// not stay it. A directory that is known and missing is away, and is not created anew.
///
/// # Errors
/// What cannot be created, and the command that creates it.
pub(crate) fn prepare(
    settings: &Settings,
    account: Option<&Account>,
    known: &KnownDirs,
) -> Result<(), StartError> {
    let private = settings.own_dirs().map(|dir| (dir, PRIVATE));
    let certificates = (!settings.secured.is_empty()).then_some((&*settings.ca.dir, PRIVATE));
    let shared = std::iter::once((&*settings.data_dir, SHARED, Content::Files));
    let private = private.chain(certificates).map(|(dir, mode)| (dir, mode, Content::Tree));
    for (dir, mode, content) in shared.chain(private).filter(|(dir, ..)| !known.knows(dir)) {
        let made =
            make(dir, mode, account).map_err(|cause| StartError::directory(dir, mode, cause))?;
        if !made && let Some(account) = account {
            give(dir, content, account).map_err(|cause| StartError::directory(dir, mode, cause))?;
        }
    }
    let log = settings.log.file.as_deref().and_then(Path::parent);
    for dir in log.into_iter().chain(upload_dirs(settings)).filter(|dir| !known.knows(dir)) {
        // An existing directory keeps its owner.
        make(dir, SHARED, account).map_err(|cause| StartError::directory(dir, SHARED, cause))?;
    }
    Ok(())
}

/// The content that changes owner with a directory of root's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Content {
    /// The files in it: its directories may be roots.
    Files,
    /// All that is below it.
    Tree,
}

/// Returns the upload directories in the data directory.
fn upload_dirs(settings: &Settings) -> impl Iterator<Item = &Path> {
    let inside = |dir: &&Path| dir.starts_with(&settings.data_dir);
    settings.upload_dirs.iter().map(PathBuf::as_path).filter(inside)
}

/// Creates a directory and its missing parents; returns whether it was missing.
fn make(dir: &Path, mode: u32, account: Option<&Account>) -> io::Result<bool> {
    let mut missing: Vec<&Path> = Vec::new();
    let mut above = Some(dir);
    while let Some(path) = above.filter(|path| !path.as_os_str().is_empty() && !path.exists()) {
        missing.push(path);
        above = path.parent();
    }
    let none = missing.is_empty();
    while let Some(path) = missing.pop() {
        // Other users must be able to pass its parents.
        let mode = if missing.is_empty() { mode } else { 0o755 };
        match fs::DirBuilder::new().mode(mode).create(path) {
            Err(fault) if fault.kind() == io::ErrorKind::AlreadyExists => continue,
            other => other?,
        }
        if let Some(account) = account.filter(|_| missing.is_empty()) {
            account.own(path)?;
        }
    }
    if none && !dir.is_dir() {
        return Err(io::Error::other("something that is no directory is there"));
    }
    Ok(!none)
}

/// Gives a directory of root's to the server's user. A link, or a directory at the top of the file
/// system, was not created for a server alone. What other users could have put there stays: it may
/// be a hard link to another file.
fn give(dir: &Path, content: Content, account: &Account) -> io::Result<()> {
    let seen = fs::symlink_metadata(dir)?;
    let is_at_top = dir.components().count() <= 2;
    if !seen.is_dir() || seen.uid() != 0 || is_at_top {
        return Ok(());
    }
    if seen.mode() & WRITABLE_BY_OTHERS == 0 {
        give_content(dir, content, account)?;
    }
    account.own(dir)
}

fn give_content(dir: &Path, content: Content, account: &Account) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let seen = fs::symlink_metadata(&path)?;
        if seen.uid() != 0 {
            continue;
        }
        if seen.is_file() && seen.nlink() == 1 {
            account.own(&path)?;
        } else if seen.is_dir() && content == Content::Tree {
            give(&path, content, account)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn mode(dir: &Path) -> u32 {
        fs::metadata(dir).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn what_is_missing_is_made_with_its_mode_and_what_is_there_keeps_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let inner = dir.path().join("a/b");
        assert!(make(&inner, PRIVATE, None).unwrap());
        assert_eq!((mode(&inner), mode(&dir.path().join("a"))), (0o700, 0o755));
        assert!(!make(&inner, SHARED, None).unwrap());
        assert_eq!(mode(&inner), 0o700);
    }

    #[test]
    fn a_file_in_the_place_of_a_directory_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        assert!(make(&file, PRIVATE, None).is_err());
        let cause = make(&file, PRIVATE, None).unwrap_err();
        let message = StartError::directory(&file, PRIVATE, cause).to_string();
        assert!(message.contains("install -d -m 700 -o USER"), "{message}");
    }

    #[test]
    #[cfg(all(target_os = "linux", not(feature = "plain-sys")))]
    fn what_root_made_before_the_first_start_goes_with_its_directory() {
        if !nix::unistd::Uid::effective().is_root() {
            return;
        }
        let account = Account::find("nobody", None).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        for inner in ["data/common", "data/vault/4711"] {
            fs::create_dir_all(dir.path().join(inner)).unwrap();
        }
        for file in ["users.txt", "common/a.txt", "vault/4711/index", "twin", "stranger"] {
            fs::write(data.join(file), "x").unwrap();
        }
        fs::hard_link(data.join("twin"), dir.path().join("other-name")).unwrap();
        std::os::unix::fs::symlink("users.txt", data.join("link")).unwrap();
        nix::unistd::chown(&data.join("stranger"), Some(4711.into()), None).unwrap();
        give(&data, Content::Files, &account).unwrap();
        give(&data.join("vault"), Content::Tree, &account).unwrap();
        let uid = |path: &str| fs::symlink_metadata(data.join(path)).unwrap().uid();
        let nobody = uid("");
        assert!(nobody != 0);
        for given in ["users.txt", "vault", "vault/4711", "vault/4711/index"] {
            assert_eq!(uid(given), nobody, "{given}");
        }
        for kept in ["common", "common/a.txt", "twin", "link"] {
            assert_eq!(uid(kept), 0, "{kept}");
        }
        assert_eq!(uid("stranger"), 4711);
        // What the server owns already is not walked again.
        fs::write(data.join("later"), "x").unwrap();
        give(&data, Content::Files, &account).unwrap();
        assert_eq!(uid("later"), 0);
    }

    #[test]
    #[cfg(all(target_os = "linux", not(feature = "plain-sys")))]
    fn only_roots_own_directories_are_given_away() {
        if !nix::unistd::Uid::effective().is_root() {
            return;
        }
        let account = Account::find("nobody", None).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let (mine, linked, made) =
            (dir.path().join("mine"), dir.path().join("linked"), dir.path().join("made"));
        fs::create_dir(&mine).unwrap();
        std::os::unix::fs::symlink(dir.path(), &linked).unwrap();
        give(&mine, Content::Tree, &account).unwrap();
        give(&linked, Content::Tree, &account).unwrap();
        assert!(make(&made, PRIVATE, Some(&account)).unwrap());
        let uid = |path: &Path| fs::metadata(path).unwrap().uid();
        assert_eq!((uid(dir.path()), uid(&mine) == 0, uid(&made) == 0), (0, false, false));
    }
}
