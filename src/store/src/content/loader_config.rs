//! The sizes of the loader, and its counters.
//!
//! Values only.

use std::time::Duration;

#[cfg(doc)]
use engine::catalog::OpenError;

/// Sizes of the loader.
#[derive(Clone, Copy, Debug)]
pub struct LoaderConfig {
    /// Threads that may wait for one disk, at least 1. Default 2. There is always one more, for
    /// the other disks.
    pub threads: usize,
    /// How long a worker waits for a disk before the answer is [`OpenError::Unavailable`].
    /// Default 5 s.
    pub disk_wait: Duration,
    /// Requests that wait for a thread; one more is returned to the worker. Default 16,384.
    pub requests_max: usize,
    /// Octet files up to this size are copied to memory in any case, larger ones only while there
    /// is room for them; others are mapped. Default 1 MiB.
    pub heap_file_bytes_max: u64,
    /// Octet files beyond this size are mapped in any case. Default 128 MiB.
    pub sealed_file_bytes_max: u64,
    /// Largest file that is converted to netascii, in bytes on the disk. Default 16 MiB.
    pub netascii_file_bytes_max: u64,
    /// Bytes of files kept on the heap and in sealed memory. Default 256 MiB.
    pub heap_bytes_max: u64,
    /// Files kept in sealed memory; each has a descriptor open. Default 1,024.
    pub sealed_files_max: usize,
    /// Mapped files kept; each has a descriptor open. Default 256.
    pub mapped_files_max: usize,
}

impl Default for LoaderConfig {
    fn default() -> Self {
        LoaderConfig {
            threads: 2,
            disk_wait: Duration::from_secs(5),
            requests_max: 16_384,
            heap_file_bytes_max: 1 << 20,
            sealed_file_bytes_max: 128 << 20,
            netascii_file_bytes_max: 16 << 20,
            heap_bytes_max: 256 << 20,
            sealed_files_max: 1_024,
            mapped_files_max: 256,
        }
    }
}

/// What the loader has done and what it keeps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LoaderFigures {
    /// Files read or mapped.
    pub loads: u64,
    /// Attempts that met a file being written; each is repeated later.
    pub unsettled: u64,
    /// Blobs dropped to make room.
    pub forgotten: u64,
    /// Bytes of files kept on the heap and in sealed memory.
    pub heap_bytes: u64,
    /// Files kept in sealed memory.
    pub sealed_files: u64,
    /// Mapped files kept.
    pub mapped_files: u64,
    /// Requests that a disk did not answer in time.
    pub disk_timeouts: u64,
}
