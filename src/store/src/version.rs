//! Reads the version of a file from the metadata of a handle or of a directory.
//!
//! Never opens a file.

use std::fs::Metadata;

use engine::catalog::blob::Version;

/// Versions of files on a disk.
pub(crate) trait VersionExt {
    /// Returns the version in an open file's metadata.
    #[must_use]
    fn of(meta: &Metadata) -> Self;
}

impl VersionExt for Version {
    #[cfg(unix)]
    fn of(meta: &Metadata) -> Self {
        use std::os::unix::fs::MetadataExt;
        Version {
            bytes: meta.len(),
            modified_ns: nanoseconds(meta.mtime(), meta.mtime_nsec()),
            changed_ns: nanoseconds(meta.ctime(), meta.ctime_nsec()),
            file: (meta.dev(), meta.ino()),
            digest: None,
        }
    }

    #[cfg(not(unix))]
    fn of(meta: &Metadata) -> Self {
        let modified = meta.modified().ok();
        let since = modified.and_then(|at| at.duration_since(std::time::UNIX_EPOCH).ok());
        let modified_ns = since.map_or(0, |age| i64::try_from(age.as_nanos()).unwrap_or(i64::MAX));
        Version { bytes: meta.len(), modified_ns, changed_ns: 0, file: (0, 0), digest: None }
    }
}

/// Returns a kernel time in nanoseconds since 1970; times from 2262 on are one moment.
fn nanoseconds(seconds: i64, rest_ns: i64) -> i64 {
    seconds.saturating_mul(1_000_000_000).saturating_add(rest_ns)
}

/// Returns the version in a directory's metadata of a file.
#[cfg(unix)]
pub(crate) fn version_of(meta: &cap_std::fs::Metadata) -> Version {
    use cap_std::fs::MetadataExt;
    Version {
        bytes: meta.len(),
        modified_ns: nanoseconds(meta.mtime(), meta.mtime_nsec()),
        changed_ns: nanoseconds(meta.ctime(), meta.ctime_nsec()),
        file: (meta.dev(), meta.ino()),
        digest: None,
    }
}

/// Returns the version in a directory's metadata of a file.
#[cfg(not(unix))]
pub(crate) fn version_of(meta: &cap_std::fs::Metadata) -> Version {
    let modified = meta.modified().ok().map(cap_std::time::SystemTime::into_std);
    let since = modified.and_then(|at| at.duration_since(std::time::UNIX_EPOCH).ok());
    let modified_ns = since.map_or(0, |age| i64::try_from(age.as_nanos()).unwrap_or(i64::MAX));
    Version { bytes: meta.len(), modified_ns, changed_ns: 0, file: (0, 0), digest: None }
}
