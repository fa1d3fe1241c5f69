//! Socket options and questions that `socket2` does not know: Linux alone.
//!
//! One system call each; decides nothing.
#![allow(unsafe_code)]

use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd as _, BorrowedFd};
use std::ptr;

/// Sets a whole-number socket option that `socket2` does not know.
///
/// # Errors
/// What the kernel says.
pub(crate) fn set_option(
    socket: BorrowedFd<'_>,
    level: i32,
    name: i32,
    value: i32,
) -> io::Result<()> {
    set_raw(socket, level, name, &value)
}

/// Bytes that a TCP socket was given and the other side has not acknowledged (tcp(7), `SIOCOUTQ`).
/// 0 where the kernel does not say.
#[must_use]
pub(crate) fn unacknowledged(socket: BorrowedFd<'_>) -> u64 {
    let mut bytes: libc::c_int = 0;
    // SAFETY: the kernel writes one `int`, which lives until it has, and nothing else.
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
