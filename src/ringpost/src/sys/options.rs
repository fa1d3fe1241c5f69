//! Socket options and queries that `socket2` lacks: only on Linux.
//!
//! One system call each; decides nothing.
#![allow(unsafe_code)]

use std::mem::size_of;
use std::os::fd::{AsRawFd as _, BorrowedFd};
use std::{io, ptr};

/// Sets an integer socket option that `socket2` lacks.
///
/// # Errors The kernel's error.
pub(crate) fn set_option(
    socket: BorrowedFd<'_>,
    level: i32,
    name: i32,
    value: i32,
) -> io::Result<()> {
    set_raw(socket, level, name, &value)
}

/// Returns the bytes of a TCP socket that the peer has not acknowledged (tcp(7), `SIOCOUTQ`), or 0
/// if the kernel does not say.
#[must_use]
pub(crate) fn unacknowledged(socket: BorrowedFd<'_>) -> u64 {
    let mut bytes: libc::c_int = 0;
    // SAFETY: the kernel writes only one `int`, which lives until the call returns.
    let done = unsafe { libc::ioctl(socket.as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) };
    if done == 0 { u64::try_from(bytes).unwrap_or(0) } else { 0 }
}

/// Sets a socket option from a plain value.
pub(crate) fn set_raw<T>(
    socket: BorrowedFd<'_>,
    level: i32,
    name: i32,
    value: &T,
) -> io::Result<()> {
    let bytes = size_of::<T>() as libc::socklen_t;
    // SAFETY: `value` is a live value of `bytes` bytes, and what it points to lives in the caller.
    let done = unsafe {
        libc::setsockopt(socket.as_raw_fd(), level, name, ptr::from_ref(value).cast(), bytes)
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
