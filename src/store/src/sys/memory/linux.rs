//! Memory on Linux: `memfd_create(2)`, large pages, populated mappings.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::io::Write as _;
use std::os::fd::AsRawFd as _;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};

use crate::sys::file::read_exact_at;

/// Copies the first bytes of a file to memory that is itself a file and can no longer change
/// (`memfd_create(2)`).
pub(crate) fn sealed_copy(original: &File, bytes: usize) -> io::Result<File> {
    // Declares the memory not executable, for administrators who forbid memory that is; kernels
    // before 6.3 do not know the flag.
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

/// Asks the kernel to join memory into large pages (`MADV_COLLAPSE`, Linux 6.1): sending from them
/// costs little more than half as much. If it cannot, nothing changes.
pub(crate) fn collapse(memory: &File, bytes: usize) {
    const LARGE_PAGE_BYTES: usize = 2 << 20;
    if bytes < LARGE_PAGE_BYTES {
        return;
    }
    // Large pages need addresses that are multiples of their size: here is room for that.
    let mut options = memmap2::MmapOptions::new();
    let room = options.len(bytes.saturating_add(LARGE_PAGE_BYTES)).no_reserve_swap().map_anon();
    let Ok(mut room) = room else { return };
    let at = room.as_mut_ptr().map_addr(|start| start.next_multiple_of(LARGE_PAGE_BYTES)).cast();
    let (fd, flags) = (memory.as_raw_fd(), libc::MAP_SHARED | libc::MAP_FIXED);
    // SAFETY: the mapping lies within `room`, which no other code knows and which unmaps it.
    let mapping = unsafe { libc::mmap(at, bytes, libc::PROT_READ, flags, fd, 0) };
    // SAFETY: the call changes where bytes lie and never their values; on no mapping it fails.
    let _ = unsafe { libc::madvise(mapping, bytes, libc::MADV_COLLAPSE) };
}

/// Asks the kernel to populate a mapping, so that no send waits for a disk. It may fail, if the
/// file was cut short or the kernel is older than 5.14; then sends may wait, which is the only
/// harm.
pub(crate) fn fault_in(mapping: &memmap2::MmapRaw) {
    if mapping.advise(memmap2::Advice::PopulateRead).is_err() {
        let _ = mapping.advise(memmap2::Advice::WillNeed);
    }
}
