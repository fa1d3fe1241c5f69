//! A file's bytes, fixed for as long as anyone holds them.
//!
//! Small files are copied to the heap. Large ones are mapped, and then only the kernel reads the
//! mapping: a file cut short under it becomes a failed send, never a crash.

use std::marker::PhantomData;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use crate::time::Instant;

/// What tells one version of a file from the next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Version {
    /// Size in bytes.
    pub bytes: u64,
    /// Modification time, nanoseconds since 1970.
    pub modified_ns: i128,
    /// Time of the last change of the inode, nanoseconds since 1970; 0 where there is none.
    pub changed_ns: i128,
    /// Device and inode; 0 where there is none.
    pub file: (u64, u64),
}

/// A file's bytes.
#[derive(Debug)]
pub struct Blob {
    bytes: Bytes,
    version: Version,
    stale: AtomicBool,
    used_at_us: AtomicU64,
}

#[derive(Debug)]
enum Bytes {
    Heap(Box<[u8]>),
}

/// Bytes that only the kernel may read: they may be a mapping whose file is cut short.
#[derive(Clone, Copy, Debug)]
pub struct Span<'a> {
    start: *const u8,
    bytes: usize,
    blob: PhantomData<&'a Blob>,
}

impl Span<'_> {
    /// Where the bytes start.
    #[must_use]
    pub fn start(&self) -> *const u8 {
        self.start
    }

    /// How many there are.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Blob {
    /// Bytes on the heap.
    #[must_use]
    pub fn heap(bytes: Box<[u8]>, version: Version) -> Self {
        Blob {
            bytes: Bytes::Heap(bytes),
            version,
            stale: AtomicBool::new(false),
            used_at_us: AtomicU64::new(0),
        }
    }

    /// How many bytes there are in the form in which they are sent.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        match &self.bytes {
            Bytes::Heap(bytes) => bytes.len() as u64,
        }
    }

    /// Which version of the file this is.
    #[must_use]
    pub fn version(&self) -> Version {
        self.version
    }

    /// Whether the file was changed in place under a mapping, so that its bytes can no longer be
    /// trusted to be one version.
    #[must_use]
    pub fn is_stale(&self) -> bool {
        self.stale.load(Relaxed)
    }

    /// Marks a mapping whose file was changed in place.
    pub fn mark_stale(&self) {
        self.stale.store(true, Relaxed);
    }

    /// Whether the end of a transfer must ask if the file was changed in place meanwhile.
    #[must_use]
    pub fn is_mapped(&self) -> bool {
        match &self.bytes {
            Bytes::Heap(_) => false,
        }
    }

    /// Notes a use, so that what is used stays in memory longest.
    pub fn touch(&self, now: Instant) {
        self.used_at_us.store(now.as_micros(), Relaxed);
    }

    /// When [`Blob::touch`] was last called.
    #[must_use]
    pub fn used_at(&self) -> Instant {
        Instant::from_micros(self.used_at_us.load(Relaxed))
    }

    /// The bytes from `offset`, at most `bytes` of them, fewer at the end: for the kernel to read.
    #[must_use]
    pub fn span(&self, offset: u64, bytes: usize) -> Span<'_> {
        let all = match &self.bytes {
            Bytes::Heap(all) => &all[..],
        };
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(all.len());
        let end = start.saturating_add(bytes).min(all.len());
        Span { start: all[start..end].as_ptr(), bytes: end - start, blob: PhantomData }
    }

    /// The bytes, where this process may read them itself: heap only.
    #[must_use]
    pub fn as_slice(&self) -> Option<&[u8]> {
        match &self.bytes {
            Bytes::Heap(bytes) => Some(bytes),
        }
    }
}
