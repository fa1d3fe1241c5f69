//! Certificate and key files: read within limits, and written so that a crash leaves the old or the
//! new.
//!
//! A private file is readable only for its owner from its first byte on. Never changes a file in
//! place.

use std::fs::{self, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::time::SystemTime;

use store::durable::{self, WholeFile};

use super::error::CertificateError;

/// Largest file that is read, in bytes: a CRL of some ten thousand phones.
pub(super) const FILE_BYTES_MAX: u64 = 4 << 20;

/// Changes whenever the file does. `None` if there is no file.
pub(super) type FileStamp = Option<(SystemTime, u64, u64)>;

/// Who may read a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Visibility {
    /// Every user that can reach it.
    Everybody,
    /// The user that the server runs as.
    Owner,
}

/// A file to be put into place.
#[derive(Debug)]
pub(crate) struct NewFile<'a> {
    /// Its path.
    pub(crate) path: &'a Path,
    /// Its content.
    pub(crate) bytes: &'a [u8],
    /// Who may read it.
    pub(crate) visibility: Visibility,
}

/// Returns the current stamp of a file.
pub(super) fn stamp(path: &Path) -> FileStamp {
    let meta = fs::metadata(path).ok()?;
    Some((meta.modified().ok()?, meta.len(), meta.ino()))
}

/// Reads a whole file.
///
/// # Errors
/// [`CertificateError::Write`] names the file.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, CertificateError> {
    let mut bytes = Vec::new();
    let opened = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path);
    let read = opened.and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes));
    match read {
        Ok(read) if read as u64 > FILE_BYTES_MAX => {
            Err(CertificateError::TooLarge(path.to_owned()))
        }
        Ok(_) => Ok(bytes),
        Err(cause) => Err(CertificateError::Read { path: path.to_owned(), cause }),
    }
}

/// Puts files into place, in their order, each whole or not at all; all of them are synced before
/// the first is renamed.
///
/// # Errors
/// [`CertificateError::Write`] names the file.
pub(crate) fn write(files: &[NewFile<'_>]) -> Result<(), CertificateError> {
    for file in files {
        let dir = directory(file.path);
        let made = fs::DirBuilder::new().recursive(true).mode(0o755).create(dir);
        made.map_err(|fault| unwritable(file.path, fault))?;
    }
    let whole: Vec<_> = files.iter().map(whole).collect();
    durable::put(&whole).map_err(|failed| unwritable(&failed.path, failed.cause))
}

fn whole<'a>(file: &NewFile<'a>) -> WholeFile<'a> {
    let mode = match file.visibility {
        Visibility::Everybody => 0o644,
        Visibility::Owner => 0o600,
    };
    WholeFile { path: file.path, bytes: file.bytes, mode }
}

fn unwritable(path: &Path, cause: io::Error) -> CertificateError {
    CertificateError::Write { path: path.to_owned(), cause }
}

pub(super) fn directory(path: &Path) -> &Path {
    match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        Some(_) | None => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_key_is_for_its_owner_alone_even_where_a_readable_one_was() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("new/server.key");
        write(&[NewFile { path: &path, bytes: b"one", visibility: Visibility::Owner }]).unwrap();
        assert_eq!(mode(&path), 0o600);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        write(&[NewFile { path: &path, bytes: b"two", visibility: Visibility::Owner }]).unwrap();
        assert_eq!((mode(&path), fs::read(&path).unwrap()), (0o600, b"two".to_vec()));
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "nothing is left");
    }

    #[test]
    fn of_two_files_neither_is_placed_when_one_cannot_be_written() {
        let dir = tempfile::tempdir().unwrap();
        let (one, blocked) = (dir.path().join("one"), dir.path().join("one/two"));
        fs::write(&one, "before").unwrap();
        let message = write(&[
            NewFile { path: &one, bytes: b"after", visibility: Visibility::Everybody },
            NewFile { path: &blocked, bytes: b"after", visibility: Visibility::Everybody },
        ]);
        assert!(
            message.unwrap_err().to_string().contains("let the user that Ringpost runs as write")
        );
        assert_eq!(fs::read(&one).unwrap(), b"before");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_link_laid_in_the_way_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let victim = dir.path().join("victim");
        fs::write(&victim, "mine").unwrap();
        let aside = dir.path().join(format!(".ringpost-{}-server.key", std::process::id()));
        std::os::unix::fs::symlink(&victim, aside).unwrap();
        let path = dir.path().join("server.key");
        write(&[NewFile { path: &path, bytes: b"key", visibility: Visibility::Owner }]).unwrap();
        assert_eq!(
            (fs::read(&victim).unwrap(), fs::read(&path).unwrap()),
            ("mine".into(), "key".into())
        );
    }

    #[test]
    fn what_cannot_be_read_is_told_with_its_mend() {
        let dir = tempfile::tempdir().unwrap();
        let message = read(&dir.path().join("absent.pem")).unwrap_err().to_string();
        assert!(message.contains("does not exist"), "{message}");
        let huge = dir.path().join("huge.pem");
        fs::File::create(&huge).unwrap().set_len(FILE_BYTES_MAX + 1).unwrap();
        assert!(read(&huge).unwrap_err().to_string().contains("is larger than"));
        assert!(read(dir.path()).unwrap_err().to_string().contains("cannot be read"));
    }
}
