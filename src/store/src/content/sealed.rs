//! Memory as a file: a copy that nobody can change any more, and that the kernel sends from.
//!
//! Copies; looks at no version and keeps nothing.

use std::fs::File;
use std::io;
#[cfg(target_os = "linux")]
use std::io::Write as _;

#[cfg(target_os = "linux")]
use nix::errno::Errno;
#[cfg(target_os = "linux")]
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
#[cfg(target_os = "linux")]
use nix::sys::memfd::{MFdFlags, memfd_create};

#[cfg(target_os = "linux")]
use super::blob::read_exact_at;

/// Memory as a file that holds the first bytes of another one, and that nobody can change any more
/// (`memfd_create(2)`).
#[cfg(target_os = "linux")]
pub(super) fn sealed_copy(original: &File, bytes: usize) -> io::Result<File> {
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

/// There is no such memory.
#[cfg(not(target_os = "linux"))]
pub(super) fn sealed_copy(_: &File, _: usize) -> io::Result<File> {
    Err(io::ErrorKind::Unsupported.into())
}
