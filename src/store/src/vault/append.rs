//! Uploads that are appended to the existing file, as a phone's log is.
//!
//! If the file has no room for both, its oldest lines are removed: a phone's log continues. Only
//! reads; `store.rs` writes the result to a temporary file.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use cap_std::fs::{Dir, OpenOptions};

use engine::catalog::digest::Digest;
use engine::vault::upload::Upload;

/// Largest upload in bytes that is hashed while it is stored.
const HASHED_BYTES_MAX: usize = 16 << 20;

/// If the cut does not end a line, so many further bytes may be removed to reach a line's end.
const LINE_BYTES_MAX: usize = 64 << 10;
/// Interval between two log messages that one file is cut.
const TELL_EVERY: Duration = Duration::from_secs(3_600);
/// Most files whose last log message is remembered.
const LOGGED_MAX: usize = 1_024;

/// What stays of the existing file before an upload.
#[derive(Debug)]
pub(super) struct KeptPart {
    /// The newest bytes of the file.
    pub(super) bytes: Vec<u8>,
    /// How many bytes are removed.
    pub(super) cut_bytes: u64,
    /// The existing file.
    pub(super) file: File,
}

/// Returns as much of the end of the existing file as the rule allows. The cut is at a line's end
/// if one is near.
pub(super) fn kept_part(dir: &Dir, name: &str, upload: &Upload) -> io::Result<KeptPart> {
    let (mut file, before_bytes) = open_regular(dir, name)?;
    let room = upload.bytes_max.saturating_sub(upload.bytes_all());
    let mut bytes = Vec::new();
    if before_bytes <= room {
        (&file).take(room).read_to_end(&mut bytes)?;
    } else {
        // One byte more, to see whether the kept part begins a line.
        file.seek(SeekFrom::Start(before_bytes - room - 1))?;
        (&file).take(room + 1).read_to_end(&mut bytes)?;
        let line_end = bytes.iter().take(LINE_BYTES_MAX).position(|&byte| byte == b'\n');
        let kept_from = (line_end.unwrap_or(0) + 1).min(bytes.len());
        bytes.drain(..kept_from);
    }
    let cut_bytes = before_bytes.saturating_sub(bytes.len() as u64);
    Ok(KeptPart { bytes, cut_bytes, file })
}

/// Counts the bytes removed from files that are appended to.
#[derive(Debug, Default)]
pub(super) struct Cuts {
    /// All bytes removed so far.
    pub(super) bytes: u64,
    /// For each file, when the log last mentioned it, and the bytes removed since.
    logged: HashMap<PathBuf, (Instant, u64)>,
}

impl Cuts {
    /// Notes that a file's oldest bytes were removed. Returns what to log, if it is time to.
    pub(super) fn note(
        &mut self,
        path: &Path,
        bytes: u64,
        bytes_max: u64,
        now: Instant,
    ) -> Option<String> {
        if bytes == 0 {
            return None;
        }
        self.bytes += bytes;
        let known = self.logged.get_mut(path);
        let untold = match known {
            Some((at, untold)) if now.duration_since(*at) < TELL_EVERY => {
                *untold += bytes;
                return None;
            }
            Some((_, untold)) => *untold,
            None => 0,
        };
        if self.logged.len() >= LOGGED_MAX {
            self.logged.clear();
        }
        self.logged.insert(path.to_path_buf(), (now, 0));
        let (path, bytes) = (path.display(), bytes + untold);
        Some(format!(
            "{path} is as large as the `max` of its [[upload]] row allows, {bytes_max} bytes, so \
             the oldest {bytes} bytes of it went for what was appended; a larger `max` keeps more"
        ))
    }
}

/// Returns the digest of a file, or `None` if it cannot be read.
pub(super) fn digest_of(dir: &Dir, name: &str) -> Option<Digest> {
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(open_regular(dir, name).ok()?.0).ok()?;
    Some(Digest::from_hash(&hasher.finalize()))
}

/// Returns the digest of an upload, or `None` if it is too large to hash at once.
pub(super) fn digest_of_upload(upload: &Upload) -> Option<Digest> {
    let is_cheap = upload.spool.is_none() && upload.bytes.len() <= HASHED_BYTES_MAX;
    is_cheap.then(|| Digest::of(&upload.bytes))
}

/// Opens the existing file and returns its size in bytes.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_is_told_once_an_hour_of_each_file_that_is_cut() {
        let mut cuts = Cuts::default();
        let now = Instant::now();
        let mut logged = |path: &str, bytes, minutes: u64| {
            let at = now + Duration::from_secs(minutes * 60);
            cuts.note(Path::new(path), bytes, 100, at).unwrap_or_default()
        };
        assert_eq!(logged("a", 0, 0), "");
        assert!(logged("a", 7, 0).contains("oldest 7 bytes"));
        assert_eq!(logged("a", 8, 59), "");
        assert!(logged("b", 9, 59).contains("oldest 9 bytes"));
        assert!(logged("a", 1, 61).contains("oldest 9 bytes"));
        assert_eq!(cuts.bytes, 25);
    }
}
