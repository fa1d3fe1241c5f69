//! A file's bytes, fixed for as long as anyone holds them.
//!
//! Small files are copied to the heap. Larger ones are copied to sealed memory, which is as fixed
//! as the heap and which the kernel sends without another copy. Those for which there is no room
//! are mapped, and then only the kernel reads the mapping: a file cut short under it becomes a
//! failed send, never a crash.
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

#![cfg_attr(feature = "server", allow(unsafe_code))]

#[cfg(feature = "server")]
use std::fs::{File, Metadata};
#[cfg(feature = "server")]
use std::io;
use std::marker::PhantomData;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use super::digest::Digest;
#[cfg(feature = "server")]
use super::sealed::sealed_copy;
use crate::time::Instant;
use crate::wire::http::response::Stamp;

/// What tells one version of a file from the next.
#[derive(Clone, Copy, Debug, Default)]
pub struct Version {
    /// Size in bytes.
    pub bytes: u64,
    /// Modification time, nanoseconds since 1970.
    pub modified_ns: i64,
    /// Time of the last change of the inode, nanoseconds since 1970; 0 where there is none.
    pub changed_ns: i64,
    /// Device and inode; 0 where there is none.
    pub file: (u64, u64),
    /// What the bytes are, where that is known. No part of what makes two versions equal.
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
            digest: None,
        }
    }

    /// The version that an open file's metadata tells of.
    #[cfg(all(feature = "server", not(unix)))]
    #[must_use]
    pub fn of(meta: &Metadata) -> Self {
        let modified = meta.modified().ok();
        let since = modified.and_then(|at| at.duration_since(std::time::UNIX_EPOCH).ok());
        let modified_ns = since.map_or(0, |age| i64::try_from(age.as_nanos()).unwrap_or(i64::MAX));
        Version { bytes: meta.len(), modified_ns, changed_ns: 0, file: (0, 0), digest: None }
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

impl From<&Version> for Stamp {
    fn from(version: &Version) -> Stamp {
        Stamp { bytes: version.bytes, modified_ns: version.modified_ns, tag: version.into() }
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
/// A file of as many bytes or more is worth a descriptor. Over a loopback connection `sendfile`
/// costs a tenth more than `writev` from the heap for 8 KiB, a tenth less for 16 KiB, a seventh
/// less for 32 KiB and half as much for 1 MiB.
#[cfg(feature = "server")]
pub(super) const SEALED_BYTES_MIN: u64 = 24 << 10;

/// A file's bytes.
#[derive(Debug)]
pub struct Blob {
    bytes: Bytes,
    version: Version,
    stale: AtomicBool,
    used_at_us: AtomicU64,
    digest: OnceLock<Digest>,
    /// Before the bytes have been hashed, and after.
    prepared: [OnceLock<Box<[u8]>>; 2],
    /// Bytes on the heap that this process pretends not to be allowed to read.
    as_if_mapped: bool,
}

#[derive(Debug)]
enum Bytes {
    Heap(Box<[u8]>),
    #[cfg(feature = "server")]
    Sealed {
        /// All of `file`, read only.
        mapping: memmap2::Mmap,
        /// Memory that nobody can change or shorten any more; for sendfile.
        file: File,
    },
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
        Blob::new(Bytes::Heap(bytes), version)
    }

    /// Bytes on the heap that count as mapped: for machines that are tried without a disk.
    #[doc(hidden)]
    #[must_use]
    pub fn as_if_mapped(bytes: Box<[u8]>, version: Version) -> Self {
        Blob { as_if_mapped: true, ..Blob::heap(bytes, version) }
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

    /// Copies a file of `version.bytes` bytes, at least one, to sealed memory. The copy is as good
    /// as one on the heap, and has a [`Blob::file`].
    ///
    /// # Errors
    /// `UnexpectedEof` where the file is shorter; the system's, when it has no such memory, or no
    /// descriptor for it, or cannot read the file.
    #[cfg(feature = "server")]
    pub fn seal(original: &File, version: Version) -> io::Result<Self> {
        let bytes = mappable(version.bytes)?;
        let file = sealed_copy(original, bytes)?;
        #[cfg(target_os = "linux")]
        collapse(&file, bytes);
        let mut options = memmap2::MmapOptions::new();
        options.len(bytes).populate();
        // SAFETY: the mapping is read as a slice, so its bytes must never change and never go. The
        // file's seals forbid everybody, this process included, to write to it and to shorten it.
        let mapping = unsafe { options.map_copy_read_only(&file) }?;
        Ok(Blob::new(Bytes::Sealed { mapping, file }, version))
    }

    /// Maps a file of `version.bytes` bytes and has the kernel read them in.
    ///
    /// # Errors
    /// The kernel's, when it cannot map the file.
    #[cfg(feature = "server")]
    pub fn map(file: File, version: Version) -> io::Result<Self> {
        let bytes = mappable(version.bytes)?;
        let mapping = memmap2::MmapOptions::new().len(bytes).map_raw_read_only(&file)?;
        fault_in(&mapping);
        let mut tail = vec![0; bytes.min(TAIL_BYTES)].into_boxed_slice();
        let tail_at = version.bytes - tail.len() as u64;
        read_exact_at(&file, &mut tail, tail_at)?;
        Ok(Blob::new(Bytes::Mapped { mapping, file, tail }, version))
    }

    /// Reads the `bytes` bytes from `offset` into `buffer`, which then holds nothing else. May wait
    /// for a disk: the loader's to call. What was read of a mapping is one version with what else
    /// was read of it only if [`Blob::verify`] says so afterwards.
    ///
    /// # Errors
    /// `UnexpectedEof` where there are not as many bytes, the disk's own otherwise.
    #[cfg(feature = "server")]
    pub fn read(&self, offset: u64, bytes: usize, buffer: &mut Vec<u8>) -> io::Result<()> {
        if offset.checked_add(bytes as u64).is_none_or(|end| end > self.bytes()) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        buffer.resize(bytes, 0);
        if let Some(all) = self.as_slice() {
            buffer.copy_from_slice(&all[offset as usize..][..bytes]);
            return Ok(());
        }
        self.file().map_or(Ok(()), |file| read_exact_at(file, buffer, offset))
    }

    /// Notes what the bytes are.
    pub fn learn(&self, digest: Digest) {
        let _ = self.digest.set(digest);
    }

    /// What a protocol wants to have at hand with the bytes, as a head: made when it is first
    /// asked for, and kept for as long as the bytes; made once more when they have been hashed.
    pub fn prepared(&self, make: impl FnOnce(&Version) -> Box<[u8]>) -> &[u8] {
        let version = self.version();
        let prepared = &self.prepared[usize::from(version.digest.is_some())];
        if let Some(prepared) = prepared.get() {
            return prepared;
        }
        // Made before the cell is entered, so that no other worker waits while it is made.
        let made = make(&version);
        prepared.get_or_init(|| made)
    }

    /// Whether the bytes still are those of [`Blob::version`], by one system call where they are
    /// mapped. Marks the blob as stale where they are not. The loader's to call.
    #[cfg(feature = "server")]
    pub fn verify(&self) -> bool {
        let unchanged = match &self.bytes {
            Bytes::Heap(_) | Bytes::Sealed { .. } => true,
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

    /// The open file that has the bytes, for sendfile; none where they are on the heap. Where they
    /// are mapped it shows what is in the file now, and where it is cut short, less.
    #[cfg(feature = "server")]
    #[must_use]
    pub fn file(&self) -> Option<&File> {
        match &self.bytes {
            Bytes::Heap(_) => None,
            Bytes::Sealed { file, .. } | Bytes::Mapped { file, .. } => Some(file),
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
            Bytes::Sealed { mapping, .. } => mapping.len() as u64,
            #[cfg(feature = "server")]
            Bytes::Mapped { mapping, .. } => mapping.len() as u64,
        }
    }

    /// Which version of the file this is, and what its bytes are once they have been hashed.
    #[must_use]
    pub fn version(&self) -> Version {
        Version { digest: self.digest.get().copied(), ..self.version }
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
            Bytes::Heap(_) => self.as_if_mapped,
            #[cfg(feature = "server")]
            Bytes::Sealed { .. } => false,
            #[cfg(feature = "server")]
            Bytes::Mapped { .. } => true,
        }
    }

    /// Whether the bytes are in sealed memory, so that a descriptor is open for them.
    #[cfg(feature = "server")]
    #[must_use]
    pub fn is_sealed(&self) -> bool {
        match &self.bytes {
            Bytes::Heap(_) | Bytes::Mapped { .. } => false,
            Bytes::Sealed { .. } => true,
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
            Bytes::Sealed { mapping, .. } => mapping.as_ptr().wrapping_add(start),
            #[cfg(feature = "server")]
            Bytes::Mapped { mapping, tail, .. } => match start.checked_sub(all - tail.len()) {
                Some(into) => tail.as_ptr().wrapping_add(into),
                None => mapping.as_ptr().wrapping_add(start),
            },
        };
        Span { start: first, bytes: end - start, blob: PhantomData }
    }

    /// The bytes, where this process may read them itself: on the heap and in sealed memory.
    #[must_use]
    pub fn as_slice(&self) -> Option<&[u8]> {
        match &self.bytes {
            Bytes::Heap(bytes) => (!self.as_if_mapped).then_some(bytes),
            #[cfg(feature = "server")]
            Bytes::Sealed { mapping, .. } => Some(mapping),
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

/// A number of bytes that this process can address.
#[cfg(feature = "server")]
pub(super) fn mappable(bytes: u64) -> io::Result<usize> {
    usize::try_from(bytes).map_err(|_| io::ErrorKind::FileTooLarge.into())
}

/// Fills the buffer with what the file has from `offset`, wherever the file's own place is.
#[cfg(all(feature = "server", unix))]
pub(super) fn read_exact_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, buffer, offset)
}

/// Fills the buffer with what the file has from `offset`; moves the file's own place.
#[cfg(all(feature = "server", windows))]
pub(super) fn read_exact_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<()> {
    use std::os::windows::fs::FileExt;
    let mut filled = 0;
    while filled < buffer.len() {
        match file.seek_read(&mut buffer[filled..], offset + filled as u64)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            more => filled += more,
        }
    }
    Ok(())
}

/// Has the kernel put memory together into large pages where it can (`MADV_COLLAPSE`, Linux 6.1):
/// sending from them costs little more than half as much. Where it cannot, nothing changes.
#[cfg(all(feature = "server", target_os = "linux"))]
fn collapse(memory: &File, bytes: usize) {
    use std::os::fd::AsRawFd as _;

    const LARGE_PAGE_BYTES: usize = 2 << 20;
    if bytes < LARGE_PAGE_BYTES {
        return;
    }
    // Large pages must lie at addresses that are multiples of their size: here is room for that.
    let mut options = memmap2::MmapOptions::new();
    let room = options.len(bytes.saturating_add(LARGE_PAGE_BYTES)).no_reserve_swap().map_anon();
    let Ok(mut room) = room else { return };
    let at = room.as_mut_ptr().map_addr(|start| start.next_multiple_of(LARGE_PAGE_BYTES)).cast();
    let (fd, flags) = (memory.as_raw_fd(), libc::MAP_SHARED | libc::MAP_FIXED);
    // SAFETY: the mapping lies within `room`, which nobody else knows and which takes it along.
    let mapping = unsafe { libc::mmap(at, bytes, libc::PROT_READ, flags, fd, 0) };
    // SAFETY: the call changes where bytes lie and never what they are; on no mapping it fails.
    let _ = unsafe { libc::madvise(mapping, bytes, libc::MADV_COLLAPSE) };
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use super::*;
    use std::os::unix::fs::FileExt;

    fn pattern(bytes: usize) -> Vec<u8> {
        (0..bytes as u32).map(|n| (n % 251) as u8).collect()
    }

    fn on_disk(bytes: &[u8]) -> (File, Version) {
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(bytes, 0).unwrap();
        let version = Version::of(&file.metadata().unwrap());
        (file, version)
    }

    fn sealed(bytes: &[u8]) -> Blob {
        let (file, version) = on_disk(bytes);
        Blob::seal(&file, version).unwrap()
    }

    #[test]
    fn sealed_bytes_read_as_those_of_the_heap_do() {
        let bytes = pattern(100_000);
        let blob = sealed(&bytes);
        assert_eq!(blob.as_slice(), Some(&*bytes));
        assert_eq!(blob.read_by_kernel().unwrap(), bytes);
        assert!(blob.is_sealed() && !blob.is_mapped() && blob.verify());
        let mut sent = vec![0; 1_000];
        blob.file().unwrap().read_exact_at(&mut sent, 99_000).unwrap();
        assert_eq!(sent, bytes[99_000..]);
        assert_eq!((blob.span(99_999, 9).bytes(), blob.span(200_000, 9).bytes()), (1, 0));
    }

    #[test]
    fn putting_memory_together_changes_no_byte_and_no_seal() {
        for bytes in [2 << 20, (2 << 20) + 1, (5 << 20) - 1] {
            let bytes = pattern(bytes);
            let blob = sealed(&bytes);
            // Once more, now that it is mapped.
            collapse(blob.file().unwrap(), bytes.len());
            assert!(blob.as_slice() == Some(&bytes), "{} bytes", bytes.len());
            assert!(blob.read_by_kernel().unwrap() == bytes, "{} bytes", bytes.len());
            assert!(blob.file().unwrap().write_all_at(b"x", 0).is_err());
        }
    }

    #[test]
    fn a_file_is_sealed_whole_or_not_at_all() {
        for bytes in [1, 4_096, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, 3 << 20] {
            let bytes = pattern(bytes);
            assert!(sealed(&bytes).as_slice() == Some(&bytes), "{} bytes", bytes.len());
        }
        let (file, version) = on_disk(&pattern(3 << 20));
        file.set_len(version.bytes - 1).unwrap();
        let short = Blob::seal(&file, version).unwrap_err();
        assert_eq!(short.kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn nobody_can_change_sealed_bytes() {
        let blob = sealed(&pattern(50_000));
        let file = blob.file().unwrap();
        let refusals = [
            file.write_all_at(b"x", 0).unwrap_err(),
            file.write_all_at(b"x", 50_000).unwrap_err(),
            file.set_len(0).unwrap_err(),
            file.set_len(60_000).unwrap_err(),
        ];
        for refusal in refusals {
            assert_eq!(refusal.raw_os_error(), Some(libc::EPERM), "{refusal}");
        }
        let again = std::os::fd::AsRawFd::as_raw_fd(file);
        let path = format!("/proc/self/fd/{again}");
        let reopened = std::fs::File::options().write(true).open(path);
        assert!(reopened.and_then(|file| file.set_len(1)).is_err());
        assert_eq!(blob.as_slice(), Some(&*pattern(50_000)));
    }

    #[test]
    fn any_part_of_any_blob_can_be_read_and_nothing_beyond_it() {
        let bytes = pattern(150_000);
        let (file, version) = on_disk(&bytes);
        let blobs = [
            Blob::heap(bytes.clone().into(), version),
            Blob::seal(&file, version).unwrap(),
            Blob::map(file, version).unwrap(),
        ];
        for blob in blobs {
            let mut buffer = vec![7; 10];
            for (offset, length) in [(0, 150_000), (149_999, 1), (100, 0), (80_000, 30_000)] {
                blob.read(offset as u64, length, &mut buffer).unwrap();
                assert_eq!(buffer, bytes[offset..][..length]);
            }
            for (offset, length) in [(149_999, 2), (150_001, 0), (u64::MAX, 1), (0, usize::MAX)] {
                let beyond = blob.read(offset, length, &mut buffer).map_err(|why| why.kind());
                assert_eq!(beyond, Err(io::ErrorKind::UnexpectedEof), "{offset} {length}");
            }
        }
    }

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
