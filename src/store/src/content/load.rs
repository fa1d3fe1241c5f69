//! One attempt to load a file: one version of its bytes, or when to try again; and parts of
//! mappings.
//!
//! A file counts as one version if its inode has not changed for [`SETTLED_MS`] before it was read,
//! and does not change while it is read. The kernel stamps a write with a clock that may lag by
//! some milliseconds; the pause is far longer, so a write after the first look always shows in the
//! second. If a file is replaced while it settles, the old one is still loaded: an administrator
//! who replaces files continually leaves whole versions behind. Waits for the disk, never for a
//! writer.

use std::fs::File;
use std::io;
use std::time::{Duration, SystemTime};

use super::blob::{BlobExt as _, SEALED_BYTES_MIN, mappable};
use super::loader::LoaderConfig;
use super::netascii;
use super::root_dir::root_dir_of;
use crate::sys::file::read_exact_at;
use crate::version::VersionExt as _;
use engine::catalog::blob::{Blob, Version};
use engine::catalog::digest::Digest;
use engine::catalog::{Entry, Form, OpenError};

/// How long an inode must be unchanged before its file is read.
const SETTLED_MS: u64 = 50;

/// Largest file in bytes that is read at once if this process has just put it there: it is hashed
/// at once, which must not take longer than the pause that it saves.
const WHOLE_BYTES_MAX: u64 = 16 << 20;

/// The result of one attempt.
pub(super) enum Attempt {
    Loaded(Blob),
    /// It changed a moment ago. Try again after this long, with this file if it was replaced by
    /// then.
    Unsettled(Duration, File),
}

/// Tries once to load a file.
///
/// `held` was opened by an earlier attempt. `may_seal` returns whether there is room for one more
/// sealed file of that size; its second argument says whether the file would be mapped otherwise.
pub(super) fn load(
    config: &LoaderConfig,
    entry: &Entry,
    form: Form,
    held: Option<File>,
    may_seal: impl FnOnce(u64, bool) -> bool,
) -> Result<Attempt, OpenError> {
    let root_dir = root_dir_of(entry).ok_or(OpenError::Gone)?;
    let (file, version) = match root_dir.file(&entry.path) {
        // If the whole root is away, none of its files is missing.
        Err(OpenError::Gone) if !root_dir.is_in_place() => return Err(OpenError::Unavailable),
        opened => opened?,
    };
    let replaced = held.and_then(|held| Some((replaced(&held)?, held)));
    let (file, version) = replaced.map_or((file, version), |(version, held)| (held, version));
    let wait = until_settled(&version, SystemTime::now());
    if let Some(wait) = wait
        && !is_whole(entry, &version)
    {
        return Ok(Attempt::Unsettled(wait, file));
    }
    let refuse = |why| root_dir.refuse(&entry.path, &why);
    if form == Form::Netascii && version.bytes > config.netascii_file_bytes_max {
        return Err(OpenError::TooLarge);
    }
    // What sendfile does not send needs no descriptor, and netascii is TFTP's alone.
    let is_large = form == Form::Octet && version.bytes > config.heap_file_bytes_max;
    let sealable = SEALED_BYTES_MIN..=config.sealed_file_bytes_max;
    let is_sealable = form == Form::Octet && sealable.contains(&version.bytes);
    // If sealing fails for any reason, the next step succeeds or finds the same fault.
    let sealed = match is_sealable && may_seal(version.bytes, is_large) {
        true => Blob::seal(&file, version).ok(),
        false => None,
    };
    let mapped = match is_large && sealed.is_none() {
        true => map(&file, version, config).map_err(refuse)?,
        false => None,
    };
    let blob = match sealed.or(mapped) {
        Some(blob) => Some(blob),
        None => read(&file, version, form).map_err(refuse)?,
    };
    let after = file.metadata().map(|meta| Version::of(&meta)).map_err(refuse)?;
    match (blob, wait) {
        (Some(blob), None) if after == version => Ok(Attempt::Loaded(blob)),
        // Its times may not tell it from what it becomes next, but its bytes do.
        (Some(blob), Some(wait)) if after == version => match blob.as_slice() {
            Some(bytes) => {
                if form == Form::Octet {
                    blob.learn(Digest::of(bytes));
                }
                Ok(Attempt::Loaded(blob))
            }
            None => Ok(Attempt::Unsettled(wait, file)),
        },
        (Some(_) | None, _) => Ok(Attempt::Unsettled(Duration::from_millis(SETTLED_MS), file)),
    }
}

/// Returns whether a file is the one that this process has put there whole, so that it need not
/// settle.
fn is_whole(entry: &Entry, version: &Version) -> bool {
    entry.is_whole() && entry.version == *version && version.bytes <= WHOLE_BYTES_MAX
}

/// Returns the version of an open file whose name another file has taken, or `None` if it still has
/// a name.
fn replaced(file: &File) -> Option<Version> {
    let meta = file.metadata().ok()?;
    #[cfg(unix)]
    let names = std::os::unix::fs::MetadataExt::nlink(&meta);
    #[cfg(not(unix))]
    let names = 1;
    (names == 0).then(|| Version::of(&meta))
}

/// Maps a large file. Returns `None` if its file system cannot and it must be read instead.
fn map(file: &File, version: Version, config: &LoaderConfig) -> io::Result<Option<Blob>> {
    match Blob::map(file.try_clone()?, version) {
        Err(why) if version.bytes > config.heap_bytes_max => Err(why),
        mapped => Ok(mapped.ok()),
    }
}

/// Reads a whole file. Returns `None` if its size is not the expected one.
fn read(file: &File, version: Version, form: Form) -> io::Result<Option<Blob>> {
    let mut bytes = vec![0; mappable(version.bytes)?];
    match read_exact_at(file, &mut bytes, 0) {
        Ok(()) => {}
        Err(short) if short.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(why) => return Err(why),
    }
    let bytes = match form {
        Form::Octet => bytes,
        Form::Netascii => netascii::encode(&bytes),
    };
    Ok(Some(Blob::heap(bytes.into_boxed_slice(), version)))
}

/// Reads a part of a blob; all parts that were read belong to one version.
pub(super) fn read_part(
    blob: &Blob,
    offset: u64,
    bytes: usize,
    mut buffer: Vec<u8>,
) -> Result<Vec<u8>, OpenError> {
    if blob.is_stale() {
        return Err(OpenError::BeingWritten);
    }
    match blob.read(offset, bytes, &mut buffer) {
        // In this order: a write before the end of the read shows now.
        Ok(()) if blob.verify() => Ok(buffer),
        Ok(()) => Err(OpenError::BeingWritten),
        Err(why) => {
            // The next request opens the file anew, and so finds the fault.
            blob.mark_stale();
            if why.kind() == io::ErrorKind::UnexpectedEof {
                return Err(OpenError::BeingWritten);
            }
            tracing::error!("cannot read on in a file that is being sent: {why}");
            Err(OpenError::Io)
        }
    }
}

/// Returns how long an inode must still settle, or `None` if it has settled.
///
/// If there is no time of the inode's last change, the modification time serves. A time in the
/// future comes from another host's clock and is no reason to wait.
pub(super) fn until_settled(version: &Version, now: SystemTime) -> Option<Duration> {
    let changed_ns = if version.changed_ns == 0 { version.modified_ns } else { version.changed_ns };
    let now_ns = now.duration_since(SystemTime::UNIX_EPOCH).ok()?.as_nanos();
    let age_ns = i64::try_from(now_ns).ok()?.checked_sub(changed_ns)?;
    let settled_ns = Duration::from_millis(SETTLED_MS).as_nanos() as i64;
    let lags_ns = settled_ns - age_ns;
    // The kernel's stamp is never ahead of its clock, but the clock may be set back a little.
    (lags_ns > 0 && lags_ns <= 2 * settled_ns).then(|| Duration::from_nanos(lags_ns as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_ahead_of_the_clock_is_no_reason_to_wait() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000);
        let wait = |changed_ms: i64| {
            let version = Version { changed_ns: changed_ms * 1_000_000, ..Version::default() };
            until_settled(&version, now).map(|wait| wait.as_millis())
        };
        assert_eq!(wait(1_000_000), Some(50));
        assert_eq!(wait(999_960), Some(10));
        assert_eq!(wait(999_950), None);
        assert_eq!(wait(1_000_040), Some(90));
        assert_eq!(wait(1_000_051), None);
        assert_eq!(wait(2_000_000), None);
    }
}
