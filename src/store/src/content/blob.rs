//! Files on the disk as blobs: sealed in memory, or mapped.
//!
//! Opens nothing and decides nothing: the loader opens the file and chooses the way.

#![allow(unsafe_code)]

use std::any::Any;
use std::fs::File;
use std::io;

use engine::catalog::blob::{Blob, Storage, Version};

use crate::sys::file::read_exact_at;
use crate::sys::memory::{collapse, fault_in, sealed_copy};
use crate::version::VersionExt as _;

/// Bytes at the end of a mapped file that are kept on the heap: at least one block of any size.
const TAIL_BYTES: usize = 65_536;
const _: () = assert!(TAIL_BYTES >= wire::tftp::BLKSIZE_LIMIT as usize);
/// A file of as many bytes or more is worth a descriptor. Over a loopback connection `sendfile`
/// costs a tenth more than `writev` from the heap for 8 KiB, a tenth less for 16 KiB, a seventh
/// less for 32 KiB and half as much for 1 MiB.
pub(super) const SEALED_BYTES_MIN: u64 = 24 << 10;

/// Memory whose bytes and length can no longer change.
#[derive(Debug)]
struct SealedMemory {
    /// Maps all of `file` read-only.
    mapping: memmap2::Mmap,
    /// For sendfile.
    file: File,
}

// SAFETY: the mapping lives as long as the value, and the file's seals prevent every process from
// writing to it and from shortening it.
unsafe impl Storage for SealedMemory {
    fn bytes(&self) -> usize {
        self.mapping.len()
    }

    fn start(&self, offset: usize) -> *const u8 {
        self.mapping.as_ptr().wrapping_add(offset)
    }

    fn as_slice(&self) -> Option<&[u8]> {
        Some(&self.mapping)
    }
}

/// A file on a disk, which other processes may change or shorten.
#[derive(Debug)]
struct MappedFile {
    mapping: memmap2::MmapRaw,
    /// Open as long as the mapping, for metadata and sendfile.
    file: File,
    /// The end of the file as it was when it was mapped. A transfer's last block is sent from here,
    /// so that it cannot change after the last check of the file, nor when it is sent again.
    tail: Box<[u8]>,
}

// SAFETY: mapping and tail live as long as the value. If the file is cut short, the kernel answers
// with EFAULT; the bytes are lent to no one else.
unsafe impl Storage for MappedFile {
    fn bytes(&self) -> usize {
        self.mapping.len()
    }

    fn start(&self, offset: usize) -> *const u8 {
        match offset.checked_sub(self.mapping.len() - self.tail.len()) {
            Some(into) => self.tail.as_ptr().wrapping_add(into),
            None => self.mapping.as_ptr().wrapping_add(offset),
        }
    }

    fn as_slice(&self) -> Option<&[u8]> {
        None
    }
}

/// Blobs of files on a disk.
pub trait BlobExt: Sized {
    /// Copies a file of `version.bytes` bytes, at least one, to sealed memory. The copy is as good
    /// as one on the heap, and has a [`Blob::file`].
    ///
    /// `UnexpectedEof` if the file is shorter; the system's error if it has no such memory or no
    /// descriptor for it, or cannot read the file.
    fn seal(original: &File, version: Version) -> io::Result<Self>;

    /// Maps a file of `version.bytes` bytes and has the kernel read them in.
    ///
    /// # Errors
    /// The kernel's error if it cannot map the file.
    fn map(file: File, version: Version) -> io::Result<Self>;

    /// Reads `bytes` bytes from `offset` into `buffer`, replacing its contents. May wait for a
    /// disk, so only the loader calls it. Parts read from a mapping belong to one version only if
    /// [`Blob::verify`] says so afterwards.
    ///
    /// # Errors
    /// `UnexpectedEof` if there are fewer bytes, otherwise the disk's own error.
    fn read(&self, offset: u64, bytes: usize, buffer: &mut Vec<u8>) -> io::Result<()>;

    /// Returns whether the bytes are still those of [`Blob::version`]; costs one system call if
    /// they are mapped. Marks the blob as stale if they are not. Only the loader calls it.
    fn verify(&self) -> bool;

    /// Returns the open file that holds the bytes, for sendfile, or `None` if they are on the heap.
    /// A mapped file shows its present contents, and fewer bytes if it was cut short.
    #[must_use]
    fn file(&self) -> Option<&File>;
}

impl BlobExt for Blob {
    fn seal(original: &File, version: Version) -> io::Result<Self> {
        let bytes = mappable(version.bytes)?;
        let file = sealed_copy(original, bytes)?;
        collapse(&file, bytes);
        let mut options = memmap2::MmapOptions::new();
        options.len(bytes).populate();
        // SAFETY: the mapping is read as a slice, so its bytes must never change or disappear. The
        // file's seals prevent every process, this one included, from writing to it or shortening
        // it.
        let mapping = unsafe { options.map_copy_read_only(&file) }?;
        Ok(Blob::stored(Box::new(SealedMemory { mapping, file }), version))
    }

    fn map(file: File, version: Version) -> io::Result<Self> {
        let bytes = mappable(version.bytes)?;
        let mapping = memmap2::MmapOptions::new().len(bytes).map_raw_read_only(&file)?;
        fault_in(&mapping);
        let mut tail = vec![0; bytes.min(TAIL_BYTES)].into_boxed_slice();
        let tail_at = version.bytes - tail.len() as u64;
        read_exact_at(&file, &mut tail, tail_at)?;
        Ok(Blob::stored(Box::new(MappedFile { mapping, file, tail }), version))
    }

    fn read(&self, offset: u64, bytes: usize, buffer: &mut Vec<u8>) -> io::Result<()> {
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

    fn verify(&self) -> bool {
        let unchanged = match as_mapped(self) {
            None => true,
            Some(MappedFile { file, .. }) => {
                let now = file.metadata().map(|meta| Version::of(&meta));
                !self.is_stale() && now.is_ok_and(|now| now.has_same_bytes(&self.version()))
            }
        };
        if !unchanged {
            self.mark_stale();
        }
        unchanged
    }

    fn file(&self) -> Option<&File> {
        let storage: &dyn Any = self.storage()?;
        let sealed = storage.downcast_ref().map(|SealedMemory { file, .. }| file);
        sealed.or_else(|| as_mapped(self).map(|mapped| &mapped.file))
    }
}

/// Returns the mapping, or `None` if the bytes are on the heap or sealed.
fn as_mapped(blob: &Blob) -> Option<&MappedFile> {
    let storage: &dyn Any = blob.storage()?;
    storage.downcast_ref()
}

/// A number of bytes that this process can address.
pub(super) fn mappable(bytes: u64) -> io::Result<usize> {
    usize::try_from(bytes).map_err(|_| io::ErrorKind::FileTooLarge.into())
}

/// Returns the bytes as a socket would get them: copied by the kernel, which refuses if the file
/// was cut short.
#[cfg(all(test, unix))]
pub(crate) fn read_by_kernel(blob: &Blob) -> io::Result<Vec<u8>> {
    use std::os::fd::AsRawFd;
    let copy = tempfile::tempfile()?;
    let mut bytes = 0;
    while bytes < blob.bytes() {
        let span = blob.span(bytes, 1 << 16);
        let start = span.start().cast();
        // SAFETY: the kernel only reads the span, which is mapped or on the heap while `blob`
        // lives, and answers with EFAULT if no page backs it.
        let written = unsafe { libc::write(copy.as_raw_fd(), start, span.bytes()) };
        bytes += u64::try_from(written).map_err(|_| io::Error::last_os_error())?;
    }
    let mut read = vec![0; blob.bytes() as usize];
    std::os::unix::fs::FileExt::read_exact_at(&copy, &mut read, 0)?;
    Ok(read)
}

#[cfg(test)]
#[cfg(all(target_os = "linux", not(feature = "plain-sys")))]
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
        assert_eq!(read_by_kernel(&blob).unwrap(), bytes);
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
            assert!(read_by_kernel(&blob).unwrap() == bytes, "{} bytes", bytes.len());
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
}
