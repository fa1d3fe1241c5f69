//! Uploads that go behind what is there, as a phone's log does.
//!
//! Reads only; what comes of it is written aside by `store.rs`.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};

use cap_std::fs::{Dir, OpenOptions};

use super::upload::Upload;
use crate::content::digest::Digest;

/// Largest upload in bytes that is hashed while it is stored.
const HASHED_BYTES_MAX: usize = 16 << 20;

/// What stays of what is there before an upload: as much of the newest end as the rule allows. What
/// goes goes up to a line's end. Also the file that was there.
pub(super) fn kept_part(dir: &Dir, name: &str, upload: &Upload) -> io::Result<(Vec<u8>, File)> {
    let (mut file, before_bytes) = open_regular(dir, name)?;
    let room = upload.bytes_max.saturating_sub(upload.bytes_all());
    let mut bytes = Vec::new();
    if before_bytes <= room {
        (&file).take(room).read_to_end(&mut bytes)?;
    } else {
        // One byte more, to see whether what stays begins a line.
        file.seek(SeekFrom::Start(before_bytes - room - 1))?;
        (&file).take(room + 1).read_to_end(&mut bytes)?;
        let line_end = bytes.iter().position(|&byte| byte == b'\n').unwrap_or(0);
        let kept_from = (line_end + 1).min(bytes.len());
        bytes.drain(..kept_from);
    }
    Ok((bytes, file))
}

/// What the bytes of a file are; none where they cannot be read.
pub(super) fn digest_of(dir: &Dir, name: &str) -> Option<Digest> {
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(open_regular(dir, name).ok()?.0).ok()?;
    Some(Digest::from_hash(&hasher.finalize()))
}

/// What the bytes of an upload are; none where it would take long to tell.
pub(super) fn digest_of_upload(upload: &Upload) -> Option<Digest> {
    let is_cheap = upload.spool.is_none() && upload.bytes.len() <= HASHED_BYTES_MAX;
    is_cheap.then(|| Digest::of(&upload.bytes))
}

/// Opens what is there, and says how many bytes it has.
fn open_regular(dir: &Dir, name: &str) -> io::Result<(File, u64)> {
    let mut options = OpenOptions::new();
    options.read(true);
    #[cfg(unix)]
    cap_std::fs::OpenOptionsExt::custom_flags(&mut options, libc::O_NONBLOCK | libc::O_NOCTTY);
    let file = dir.open_with(name, &options)?.into_std();
    let meta = file.metadata()?;
    if !meta.is_file() {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    Ok((file, meta.len()))
}
