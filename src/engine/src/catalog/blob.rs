//! A file's bytes, which do not change while anyone holds them.
//!
//! Small files are copied to the heap. Larger ones are copied to sealed memory, which is as fixed
//! as the heap and which the kernel sends without another copy. Files for which there is no room
//! are mapped, and only the kernel reads the mapping: if the file is truncated, a send fails and
//! nothing crashes.
//!
//! # What makes two states of a file two versions
//!
//! A mapping shows the current content of the file. So at the end of a transfer,
//! [`StoreRequest::Verify`](crate::requests::StoreRequest::Verify) checks whether the open file
//! still has the size and the modification time of the mapping. The inode's change time is left out
//! on purpose. To replace a file by rename, which is the right way, unlinks the old inode and so
//! changes that time, and a phone must be able to finish the old version.
//!
//! So `verify` misses a writer that restores the old modification time (`cp -p` in place, `touch
//! -r`) if the size is the same too. The watch detects it where the kernel reports writes, and
//! marks the mapping with [`Blob::mark_stale`]. Only a write through a shared mapping, or on
//! another host of a network file system, that also restores time and size goes unnoticed.

use std::any::Any;
use std::fmt;
use std::marker::PhantomData;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use super::digest::Digest;
use wire::http::response::Stamp;
use wire::time::Instant;

/// What distinguishes one version of a file from the next.
#[derive(Clone, Copy, Debug, Default)]
pub struct Version {
    /// Size in bytes.
    pub bytes: u64,
    /// Modification time, nanoseconds since 1970.
    pub modified_ns: i64,
    /// The inode's change time, nanoseconds since 1970; 0 if there is none.
    pub changed_ns: i64,
    /// Device and inode; 0 if there is none.
    pub file: (u64, u64),
    /// The digest of the bytes, if they have been hashed. Equality ignores it.
    pub digest: Option<Digest>,
}

impl PartialEq for Version {
    fn eq(&self, other: &Self) -> bool {
        let all = |version: &Version| {
            (version.bytes, version.modified_ns, version.changed_ns, version.file)
        };
        all(self) == all(other)
    }
}

impl Eq for Version {}

impl Version {
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

impl From<&Version> for Stamp {
    fn from(version: &Version) -> Stamp {
        Stamp { bytes: version.bytes, modified_ns: version.modified_ns, tag: version.into() }
    }
}

/// Memory that holds a file's bytes and that its implementor keeps: mapped or sealed.
///
/// # Safety
/// While the value lives, the bytes from [`Storage::start`] up to [`Storage::bytes`] are memory of
/// this process that the kernel may read. Bytes lent by [`Storage::as_slice`] never change.
#[allow(unsafe_code, reason = "pointers of an implementation are handed to the kernel")]
pub unsafe trait Storage: Any + fmt::Debug + Send + Sync {
    /// Returns how many bytes there are.
    fn bytes(&self) -> usize;
    /// Returns the address of the byte at `offset`, which is at most [`Storage::bytes`].
    fn start(&self, offset: usize) -> *const u8;
    /// Returns the bytes, or `None` if only the kernel may read them, because the file may be
    /// truncated.
    fn as_slice(&self) -> Option<&[u8]>;
}

#[derive(Debug)]
enum Bytes {
    Heap(Box<[u8]>),
    Stored(Box<dyn Storage>),
}

/// A file's bytes.
#[derive(Debug)]
pub struct Blob {
    bytes: Bytes,
    version: Version,
    stale: AtomicBool,
    used_at_us: AtomicU64,
    digest: OnceLock<Digest>,
    /// One made before the bytes were hashed, and one made after.
    prepared: [OnceLock<Box<[u8]>>; 2],
    /// Whether the bytes on the heap count as mapped, for tests.
    as_if_mapped: bool,
}

/// Bytes that only the kernel may read: they may be a mapping of a file that is truncated.
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
        Blob::new(Bytes::Heap(bytes), version)
    }

    /// Bytes on the heap that count as mapped, for tests without a disk.
    #[doc(hidden)]
    #[must_use]
    pub fn as_if_mapped(bytes: Box<[u8]>, version: Version) -> Self {
        Blob { as_if_mapped: true, ..Blob::heap(bytes, version) }
    }

    /// Bytes that the store keeps.
    #[must_use]
    pub fn stored(storage: Box<dyn Storage>, version: Version) -> Self {
        Blob::new(Bytes::Stored(storage), version)
    }

    fn new(bytes: Bytes, version: Version) -> Self {
        Blob {
            bytes,
            version,
            stale: AtomicBool::new(false),
            used_at_us: AtomicU64::new(0),
            digest: version.digest.map(OnceLock::from).unwrap_or_default(),
            prepared: [OnceLock::new(), OnceLock::new()],
            as_if_mapped: false,
        }
    }

    /// Notes the digest of the bytes.
    pub fn learn(&self, digest: Digest) {
        let _ = self.digest.set(digest);
    }

    /// Returns what a protocol keeps ready with the bytes, such as a response head. It is made on
    /// first use and kept as long as the bytes; it is made again once they have been hashed.
    pub fn prepared(&self, make: impl FnOnce(&Version) -> Box<[u8]>) -> &[u8] {
        let version = self.version();
        let prepared = &self.prepared[usize::from(version.digest.is_some())];
        if let Some(prepared) = prepared.get() {
            return prepared;
        }
        // Made before entering the cell, so that no other worker waits for it.
        let made = make(&version);
        prepared.get_or_init(|| made)
    }

    /// Returns how many bytes there are in the form in which they are sent.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        match &self.bytes {
            Bytes::Heap(bytes) => bytes.len() as u64,
            Bytes::Stored(storage) => storage.bytes() as u64,
        }
    }

    /// Returns the version of the file, with its digest once it has been hashed.
    #[must_use]
    pub fn version(&self) -> Version {
        Version { digest: self.digest.get().copied(), ..self.version }
    }

    /// Returns whether the file was changed in place under a mapping, so that its bytes may mix two
    /// versions.
    #[must_use]
    pub fn is_stale(&self) -> bool {
        self.stale.load(Relaxed)
    }

    /// Marks a mapping whose file was changed in place.
    pub fn mark_stale(&self) {
        self.stale.store(true, Relaxed);
    }

    /// Returns whether the end of a transfer must check that the file was not changed in place.
    #[must_use]
    pub fn is_mapped(&self) -> bool {
        match &self.bytes {
            Bytes::Heap(_) => self.as_if_mapped,
            Bytes::Stored(storage) => storage.as_slice().is_none(),
        }
    }

    /// Returns whether the bytes are in sealed memory, which takes a descriptor.
    #[must_use]
    pub fn is_sealed(&self) -> bool {
        self.storage().is_some() && !self.is_mapped()
    }

    /// Returns the storage of the bytes, or `None` if they are on the heap.
    #[must_use]
    pub fn storage(&self) -> Option<&dyn Storage> {
        match &self.bytes {
            Bytes::Heap(_) => None,
            Bytes::Stored(storage) => Some(&**storage),
        }
    }

    /// Notes a use: the bytes used last stay in memory longest.
    pub fn touch(&self, now: Instant) {
        self.used_at_us.store(now.as_micros(), Relaxed);
    }

    /// Returns when [`Blob::touch`] was last called.
    #[must_use]
    pub fn used_at(&self) -> Instant {
        Instant::from_micros(self.used_at_us.load(Relaxed))
    }

    /// Returns at most `bytes` bytes from `offset`, fewer at the end, for the kernel to read.
    #[must_use]
    pub fn span(&self, offset: u64, bytes: usize) -> Span<'_> {
        let all = self.bytes() as usize;
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(all);
        let end = start.saturating_add(bytes).min(all);
        let first = match &self.bytes {
            Bytes::Heap(all) => all.as_ptr().wrapping_add(start),
            Bytes::Stored(storage) => storage.start(start),
        };
        Span { start: first, bytes: end - start, blob: PhantomData }
    }

    /// Returns the bytes, or `None` if this process may not read them itself: they must be on the
    /// heap or in sealed memory.
    #[must_use]
    pub fn as_slice(&self) -> Option<&[u8]> {
        match &self.bytes {
            Bytes::Heap(bytes) => (!self.as_if_mapped).then_some(bytes),
            Bytes::Stored(storage) => storage.as_slice(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_prepared_is_made_once() {
        let version = Version { bytes: 3, modified_ns: 7, ..Version::default() };
        let blob = Blob::heap((*b"abc").into(), version);
        let head = blob.prepared(|version| format!("{} bytes", version.bytes).into_bytes().into());
        assert_eq!(head, b"3 bytes");
        assert_eq!(blob.prepared(|_| panic!("made again")), b"3 bytes");
        blob.learn(Digest::of(b"abc"));
        let head = blob.prepared(|version| version.digest.unwrap().to_bytes().into());
        assert_eq!(head, Digest::of(b"abc").to_bytes(), "made once more when the hash is known");
        assert_eq!(blob.prepared(|_| panic!("made again")), head);
    }
}
