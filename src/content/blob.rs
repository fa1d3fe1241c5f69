//! A file's bytes, fixed for as long as anyone holds them.
//!
//! Small files are copied to the heap. Large ones are mapped, and then only the kernel reads the
//! mapping: a file cut short under it becomes a failed send, never a crash.
//!
//! # What makes two states of a file two versions
//!
//! A mapping shows whatever is in the file now, so the end of a transfer asks [`Blob::verify`]
//! whether the file that is still open has the size and the modification time of the mapping.
//! The time of the last change of the inode is left out on purpose: replacing a file by rename, the
//! right way to do it, unlinks the old inode and so changes that time, and a phone in the middle of
//! the old version must be allowed to finish it.
//!
//! A writer that puts the old modification time back (`cp -p` in place, `touch -r`) is therefore
//! not seen by `verify` when the size is the same too. It is seen by the watch, which hears of the
//! write itself and marks the mapping with [`Blob::mark_stale`], where the kernel reports writes.
//! Only a write through a shared mapping, or on another host of a network file system, that also
//! restores time and size goes unnoticed.

#![cfg_attr(test, allow(unsafe_code))]

#[cfg(feature = "server")]
use std::fs::{File, Metadata};
#[cfg(feature = "server")]
use std::io;
#[cfg(feature = "server")]
use std::io::{Read as _, Seek as _, SeekFrom};
use std::marker::PhantomData;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use crate::time::Instant;

/// What tells one version of a file from the next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Version {
    /// Size in bytes.
    pub bytes: u64,
    /// Modification time, nanoseconds since 1970.
    pub modified_ns: i64,
    /// Time of the last change of the inode, nanoseconds since 1970; 0 where there is none.
    pub changed_ns: i64,
    /// Device and inode; 0 where there is none.
    pub file: (u64, u64),
}

impl Version {
    /// The version that an open file's metadata tells of.
    #[cfg(all(feature = "server", unix))]
    #[must_use]
    pub fn of(meta: &Metadata) -> Self {
        use std::os::unix::fs::MetadataExt;
        Version {
            bytes: meta.len(),
            modified_ns: nanoseconds(meta.mtime(), meta.mtime_nsec()),
            changed_ns: nanoseconds(meta.ctime(), meta.ctime_nsec()),
            file: (meta.dev(), meta.ino()),
        }
    }

    /// The version that an open file's metadata tells of.
    #[cfg(all(feature = "server", not(unix)))]
    #[must_use]
    pub fn of(meta: &Metadata) -> Self {
        let modified = meta.modified().ok();
        let since = modified.and_then(|at| at.duration_since(std::time::UNIX_EPOCH).ok());
        let modified_ns = since.map_or(0, |age| i64::try_from(age.as_nanos()).unwrap_or(i64::MAX));
        Version { bytes: meta.len(), modified_ns, changed_ns: 0, file: (0, 0) }
    }

    /// Whether both are the same inode, so that one is a later state of the other.
    #[must_use]
    pub fn is_same_file(&self, other: &Version) -> bool {
        self.file == other.file && self.file != (0, 0)
    }

    /// Whether size and modification time say that the bytes are the same.
    #[must_use]
    pub fn has_same_bytes(&self, other: &Version) -> bool {
        self.bytes == other.bytes && self.modified_ns == other.modified_ns
    }
}

/// Nanoseconds since 1970 of a time as the kernel tells it; the year 2262 and later are one moment.
#[cfg(feature = "server")]
pub(super) fn nanoseconds(seconds: i64, rest_ns: i64) -> i64 {
    seconds.saturating_mul(1_000_000_000).saturating_add(rest_ns)
}

/// Bytes at the end of a mapped file that are kept on the heap: at least one block of any size.
#[cfg(feature = "server")]
const TAIL_BYTES: usize = 65_536;
#[cfg(feature = "server")]
const _: () = assert!(TAIL_BYTES >= crate::wire::tftp::BLKSIZE_LIMIT as usize);

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
    #[cfg(feature = "server")]
    Mapped {
        mapping: memmap2::MmapRaw,
        /// Open as long as the mapping, so that its state can be asked for, and for sendfile.
        file: File,
        /// The end of the file as it was when it was mapped. A transfer's last block comes from
        /// here: between the last look at the file and that block's way to the kernel, and when it
        /// is sent again, nothing can change it any more.
        tail: Box<[u8]>,
    },
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

    /// Maps a file of `version.bytes` bytes and has the kernel read them in.
    ///
    /// # Errors
    /// The kernel's, when it cannot map the file.
    #[cfg(feature = "server")]
    pub fn map(file: File, version: Version) -> io::Result<Self> {
        let bytes = usize::try_from(version.bytes)
            .map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))?;
        let mapping = memmap2::MmapOptions::new().len(bytes).map_raw_read_only(&file)?;
        fault_in(&mapping);
        let mut tail = vec![0; bytes.min(TAIL_BYTES)].into_boxed_slice();
        (&file).seek(SeekFrom::Start(version.bytes - tail.len() as u64))?;
        let read = (&file).read_exact(&mut tail);
        // The caller's handle shares its place in the file with ours.
        (&file).rewind()?;
        read?;
        Ok(Blob {
            bytes: Bytes::Mapped { mapping, file, tail },
            version,
            stale: AtomicBool::new(false),
            used_at_us: AtomicU64::new(0),
        })
    }

    /// Whether the bytes still are those of [`Blob::version`], by one system call where they are
    /// mapped. Marks the blob as stale where they are not. The loader's to call.
    #[cfg(feature = "server")]
    pub fn verify(&self) -> bool {
        let unchanged = match &self.bytes {
            Bytes::Heap(_) => true,
            Bytes::Mapped { file, .. } => {
                let now = file.metadata().map(|meta| Version::of(&meta));
                !self.is_stale() && now.is_ok_and(|now| now.has_same_bytes(&self.version))
            }
        };
        if !unchanged {
            self.mark_stale();
        }
        unchanged
    }

    /// The open file behind a mapping, for sendfile.
    #[cfg(feature = "server")]
    #[must_use]
    pub fn file(&self) -> Option<&File> {
        match &self.bytes {
            Bytes::Heap(_) => None,
            Bytes::Mapped { file, .. } => Some(file),
        }
    }

    /// The bytes as a socket would get them: copied by the kernel, which refuses where the file was
    /// cut short.
    #[cfg(all(test, unix))]
    pub(crate) fn read_by_kernel(&self) -> io::Result<Vec<u8>> {
        use std::os::fd::AsRawFd;
        let copy = tempfile::tempfile()?;
        let mut bytes = 0;
        while bytes < self.bytes() {
            let span = self.span(bytes, 1 << 16);
            let start = span.start().cast();
            // SAFETY: the kernel only reads the span, which is mapped or on the heap while `self`
            // lives, and answers with EFAULT where there is no page behind it.
            let written = unsafe { libc::write(copy.as_raw_fd(), start, span.bytes()) };
            bytes += u64::try_from(written).map_err(|_| io::Error::last_os_error())?;
        }
        let mut read = vec![0; self.bytes() as usize];
        std::os::unix::fs::FileExt::read_exact_at(&copy, &mut read, 0)?;
        Ok(read)
    }

    /// How many bytes there are in the form in which they are sent.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        match &self.bytes {
            Bytes::Heap(bytes) => bytes.len() as u64,
            #[cfg(feature = "server")]
            Bytes::Mapped { mapping, .. } => mapping.len() as u64,
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
            #[cfg(feature = "server")]
            Bytes::Mapped { .. } => true,
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
        let all = self.bytes() as usize;
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(all);
        let end = start.saturating_add(bytes).min(all);
        let first = match &self.bytes {
            Bytes::Heap(all) => all.as_ptr().wrapping_add(start),
            #[cfg(feature = "server")]
            Bytes::Mapped { mapping, tail, .. } => match start.checked_sub(all - tail.len()) {
                Some(into) => tail.as_ptr().wrapping_add(into),
                None => mapping.as_ptr().wrapping_add(start),
            },
        };
        Span { start: first, bytes: end - start, blob: PhantomData }
    }

    /// The bytes, where this process may read them itself: heap only.
    #[must_use]
    pub fn as_slice(&self) -> Option<&[u8]> {
        match &self.bytes {
            Bytes::Heap(bytes) => Some(bytes),
            #[cfg(feature = "server")]
            Bytes::Mapped { .. } => None,
        }
    }
}

/// Has the kernel read a mapping in, so that no send waits for a disk. It may fail: the file may
/// have been cut short, or the kernel be older than 5.14; then sends wait, no more than that.
#[cfg(feature = "server")]
fn fault_in(mapping: &memmap2::MmapRaw) {
    #[cfg(target_os = "linux")]
    let populated = mapping.advise(memmap2::Advice::PopulateRead).is_ok();
    #[cfg(not(target_os = "linux"))]
    let populated = false;
    #[cfg(unix)]
    if !populated {
        let _ = mapping.advise(memmap2::Advice::WillNeed);
    }
    #[cfg(not(unix))]
    let _ = (mapping, populated);
}
