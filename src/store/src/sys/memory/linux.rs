//! Memory on Linux: `memfd_create(2)`, large pages, mappings read in.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::io::Write as _;
use std::os::fd::AsRawFd as _;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};

use crate::sys::file::read_exact_at;

/// Memory as a file that holds the first bytes of another one, and that nobody can change any more
/// (`memfd_create(2)`).
pub(crate) fn sealed_copy(original: &File, bytes: usize) -> io::Result<File> {
    // Where an administrator forbids memory that could be executed, this says that it is not such;
    // kernels before 6.3 do not know the flag.
    const NOEXEC_SEAL: MFdFlags = MFdFlags::from_bits_retain(8);
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    let descriptor = match memfd_create(c"ringpost", flags | NOEXEC_SEAL) {
        Err(Errno::EINVAL) => memfd_create(c"ringpost", flags)?,
        other => other?,
    };
    let mut file = File::from(descriptor);
    let mut room = vec![0; bytes.min(1 << 20)];
    for at in (0..bytes).step_by(room.len().max(1)) {
        let part = room.len().min(bytes - at);
        read_exact_at(original, &mut room[..part], at as u64)?;
        file.write_all(&room[..part])?;
    }
    let seals = SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_WRITE;
    fcntl(&file, FcntlArg::F_ADD_SEALS(seals | SealFlag::F_SEAL_SEAL))?;
    Ok(file)
}

/// Has the kernel put memory together into large pages where it can (`MADV_COLLAPSE`, Linux 6.1):
/// sending from them costs little more than half as much. Where it cannot, nothing changes.
pub(crate) fn collapse(memory: &File, bytes: usize) {
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

/// Has the kernel read a mapping in, so that no send waits for a disk. It may fail: the file may
/// have been cut short, or the kernel be older than 5.14; then sends wait, no more than that.
pub(crate) fn fault_in(mapping: &memmap2::MmapRaw) {
    if mapping.advise(memmap2::Advice::PopulateRead).is_err() {
        let _ = mapping.advise(memmap2::Advice::WillNeed);
    }
}
