//! The versions of one item on the disk, for readers.
//!
//! `<vault>/4711/96xxdata/20261121T045401.123456789Z.txt` holds the bytes of one version as they
//! were sent; a name that ends in `.gone` marks a deletion at that moment. The greatest name is the
//! newest. No file is ever changed in place, so a reader needs no lock; other names are left alone.
//! The directories are not sharded: file systems of today index a directory of a hundred thousand
//! names, and `cd 4711` is what an administrator types.
//!
//! Never writes.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use cap_std::ambient_authority;
use cap_std::fs::{Dir, OpenOptions};

use crate::version::VersionExt as _;
use engine::catalog::blob::{Blob, Version};
use engine::catalog::digest::Digest;
use engine::vault::names::{self, Item};
use engine::vault::timestamp::Timestamp;

/// Largest version in bytes that is read: no configuration allows a larger one.
pub(crate) const VERSION_BYTES_LIMIT: u64 = 1 << 30;
/// Most tries if the version that a reader is about to open has been removed.
const TRIES_MAX: usize = 4;

/// The name of one version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VersionName {
    /// When it was kept. No two versions of an item have the same.
    pub stamp: Timestamp,
    /// Whether it marks a deletion.
    pub gone: bool,
}

impl VersionName {
    /// Reads the name of a file.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        let (stamp, ending) = name.split_once("Z.")?;
        let gone = match ending {
            "txt" => false,
            "gone" => true,
            _ => return None,
        };
        Some(VersionName { stamp: Timestamp::parse(&format!("{stamp}Z"))?, gone })
    }

    /// Returns the version that phones see, for a file of so many bytes. Its time is that of the
    /// name: it is unique, however coarse the file system's times are, and a copy keeps it.
    pub(super) fn version(self, file: Version) -> Version {
        Version { modified_ns: i64::try_from(self.stamp.0).unwrap_or(i64::MAX), ..file }
    }
}

impl fmt::Display for VersionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.stamp, if self.gone { "gone" } else { "txt" })
    }
}

/// Opens the directory of an item, or returns `None` if nothing was ever kept of it.
///
/// # Errors
/// The system's error if it exists but cannot be opened.
pub fn open(vault: &Path, item: &Item) -> io::Result<Option<Dir>> {
    let top = Dir::open_ambient_dir(vault, ambient_authority());
    let opened = top
        .and_then(|top| top.open_dir(&*item.extension))
        .and_then(|dir| dir.open_dir(item.family));
    found(opened)
}

/// Returns all items of a vault, or of one extension in it, in order; none if there is no vault.
///
/// # Errors
/// The system's error if a directory cannot be read.
pub fn items(vault: &Path, of: Option<&str>) -> io::Result<Vec<Item>> {
    let top = Dir::open_ambient_dir(vault, ambient_authority());
    let Some(top) = found(top)? else { return Ok(Vec::new()) };
    let extensions = match of {
        Some(extension) => vec![extension.to_owned()],
        None => members(&top)?,
    };
    let mut items = Vec::new();
    // Files of an administrator are not the vault's.
    for extension in extensions {
        if names::extension(&extension).is_none_or(|folded| *folded != *extension) {
            continue;
        }
        let dir = match top.open_dir(&extension) {
            Err(other) if other.kind() == io::ErrorKind::NotADirectory => None,
            opened => found(opened)?,
        };
        let Some(dir) = dir else { continue };
        items.extend(members(&dir)?.iter().filter_map(|family| {
            Item::new(&extension, family).filter(|item| item.family == family)
        }));
    }
    items.sort_unstable();
    Ok(items)
}

/// Returns the members of a directory that have readable names.
pub(super) fn members(dir: &Dir) -> io::Result<Vec<String>> {
    let names = dir.entries()?.map(|entry| Ok(entry?.file_name().into_string().ok()));
    names.filter_map(Result::transpose).collect()
}

/// Returns the names of all versions in an item's directory, the oldest first.
///
/// # Errors
/// The system's error if the directory cannot be read.
pub fn list(dir: &Dir) -> io::Result<Vec<VersionName>> {
    let mut names = Vec::new();
    for entry in dir.entries()? {
        let name = entry?.file_name();
        names.extend(name.to_str().and_then(VersionName::parse));
    }
    names.sort_unstable();
    Ok(names)
}

/// Returns the size and time of a version, or `None` if it was removed meanwhile.
///
/// # Errors
/// The system's error.
pub fn version(dir: &Dir, name: VersionName) -> io::Result<Option<Version>> {
    let file = found(open_file(dir, name))?;
    file.map(|file| Ok(name.version(Version::of(&file.metadata()?)))).transpose()
}

/// Returns the bytes of a version, or `None` if it was removed meanwhile.
///
/// # Errors
/// The system's error, or that it is not a file of a version's size.
pub fn read(dir: &Dir, name: VersionName) -> io::Result<Option<Blob>> {
    let Some(file) = found(open_file(dir, name))? else { return Ok(None) };
    let meta = file.metadata()?;
    if !meta.is_file() {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    let mut bytes = Vec::with_capacity(meta.len().min(VERSION_BYTES_LIMIT) as usize);
    (&file).take(VERSION_BYTES_LIMIT + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > VERSION_BYTES_LIMIT {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    let version = Version {
        bytes: bytes.len() as u64,
        digest: Some(Digest::of(&bytes)),
        ..name.version(Version::of(&meta))
    };
    Ok(Some(Blob::heap(bytes.into_boxed_slice(), version)))
}

/// Returns the newest version's bytes, or `None` if there is none or it is a deletion. Beside a
/// writer, the version is the newest before or after the change, whole.
///
/// # Errors
/// The system's error.
pub fn fetch(vault: &Path, item: &Item) -> io::Result<Option<Arc<Blob>>> {
    let Some(dir) = open(vault, item)? else { return Ok(None) };
    for _ in 0..TRIES_MAX {
        let newest = list(&dir)?.pop();
        let Some(newest) = newest.filter(|newest| !newest.gone) else { return Ok(None) };
        if let Some(blob) = read(&dir, newest)? {
            return Ok(Some(Arc::new(blob)));
        }
    }
    // Versions are replaced faster than they can be read.
    Err(io::ErrorKind::ResourceBusy.into())
}

/// Returns whether an item can be fetched.
///
/// # Errors
/// The system's error.
pub fn is_there(vault: &Path, item: &Item) -> io::Result<bool> {
    let Some(dir) = open(vault, item)? else { return Ok(false) };
    Ok(list(&dir)?.pop().is_some_and(|newest| !newest.gone))
}

fn open_file(dir: &Dir, name: VersionName) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true);
    #[cfg(unix)]
    cap_std::fs::OpenOptionsExt::custom_flags(&mut options, libc::O_NONBLOCK | libc::O_NOCTTY);
    dir.open_with(name.to_string(), &options).map(cap_std::fs::File::into_std)
}

/// Turns "not found" into `None`.
fn found<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(none) if none.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(why) => Err(why),
    }
}
