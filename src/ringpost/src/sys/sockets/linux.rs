//! Sockets on Linux.

mod steer;

use std::fs::File;
use std::io::{self, IoSlice};
use std::os::fd::AsFd as _;

use mio::net::TcpStream;
use nix::sys::sendfile::sendfile;
use socket2::{SockRef, Socket};

use crate::sys::options::{self, set_option};
use crate::sys::sockets::AcceptFault;
pub(crate) use steer::steer_by_client;
use wire::time::Duration;

/// Whether several sockets can be bound to one port, and a client always meets the same of them.
pub(crate) const SHARES_PORTS: bool = true;
/// Whether [`send_file`] can be called.
pub(crate) const SENDS_FILES: bool = true;
/// Where the kernel says how many connections may wait to be accepted.
const BACKLOG_MAX_FILE: &str = "/proc/sys/net/core/somaxconn";

/// Lets other sockets be bound to the port of this one, if they are so too.
///
/// # Errors
/// What the kernel says.
pub(crate) fn share_port(socket: &Socket) -> io::Result<()> {
    socket.set_reuse_port(true)
}

/// Lets a port be bound again while connections of the last one who had it linger.
///
/// # Errors
/// What the kernel says.
pub(crate) fn rebind(socket: &Socket) -> io::Result<()> {
    socket.set_reuse_address(true)
}

/// Most connections that may wait to be accepted; `None` if the kernel does not say.
pub(crate) fn backlog_max() -> Option<i32> {
    std::fs::read_to_string(BACKLOG_MAX_FILE).ok()?.trim().parse().ok()
}

/// Makes the buffers large: a mass reboot is lost in the kernel before any code runs, if at all.
/// Says how many bytes may wait to be read.
///
/// # Errors
/// What the kernel says.
pub(crate) fn enlarge(socket: &Socket, bytes: usize) -> io::Result<usize> {
    let wanted = i32::try_from(bytes).unwrap_or(i32::MAX);
    let fd = socket.as_fd();
    if set_option(fd, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, wanted).is_err() {
        socket.set_recv_buffer_size(bytes)?;
    }
    if set_option(fd, libc::SOL_SOCKET, libc::SO_SNDBUFFORCE, wanted).is_err() {
        socket.set_send_buffer_size(bytes)?;
    }
    // The kernel doubles what it is asked for, to have room for its own bookkeeping.
    Ok(socket.recv_buffer_size()? / 2)
}

/// Bytes that a socket was given and the other side has not acknowledged.
pub(crate) fn unacknowledged(stream: &TcpStream) -> u64 {
    options::unacknowledged(stream.as_fd())
}

/// Has the kernel give a connection up whose other side acknowledges nothing for so long.
pub(crate) fn give_up_after(stream: &TcpStream, silence: Duration) {
    // A kernel that refuses has bounds of its own.
    let _ = SockRef::from(stream).set_tcp_user_timeout(Some(silence));
}

/// Sends these parts as one. `more` says that what follows is to leave with them, or the end of the
/// connection is.
///
/// # Errors
/// The kernel's; [`io::ErrorKind::WouldBlock`] where nothing left.
pub(crate) fn send(stream: &TcpStream, parts: &[IoSlice<'_>], more: bool) -> io::Result<usize> {
    let flags = if more { libc::MSG_MORE } else { 0 };
    SockRef::from(stream).send_vectored_with_flags(parts, flags)
}

/// Sends what the kernel is to join with the bytes of a file that follow.
///
/// # Errors
/// As [`send`].
pub(crate) fn send_head(stream: &TcpStream, head: &[u8]) -> io::Result<usize> {
    SockRef::from(stream).send_with_flags(head, libc::MSG_MORE)
}

/// Sends bytes of a file straight from it.
///
/// # Errors
/// As [`send`].
pub(crate) fn send_file(
    stream: &TcpStream,
    file: &File,
    offset: u64,
    bytes: usize,
) -> io::Result<usize> {
    let mut at = i64::try_from(offset).map_err(io::Error::other)?;
    Ok(sendfile(stream.as_fd(), file.as_fd(), Some(&mut at), bytes)?)
}

/// What an error of accepting means.
pub(crate) fn accept_fault(fault: &io::Error) -> AcceptFault {
    match fault.raw_os_error() {
        Some(libc::ECONNABORTED | libc::EINTR | libc::EPROTO) => AcceptFault::Gone,
        Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM) => {
            AcceptFault::NoDescriptor
        }
        Some(_) | None => AcceptFault::Other,
    }
}

/// Whether an error of connecting says that the connection is being made.
pub(crate) fn is_connecting(fault: &io::Error) -> bool {
    fault.raw_os_error() == Some(libc::EINPROGRESS)
}

/// Whether the other side, or the way to it, has fallen silent.
pub(crate) fn is_silence(fault: &io::Error) -> bool {
    let silent = [libc::ETIMEDOUT, libc::EHOSTUNREACH, libc::ENETUNREACH, libc::EHOSTDOWN];
    fault.raw_os_error().is_some_and(|code| silent.contains(&code))
}

/// Whether this host has no addresses of the family that was wanted.
pub(crate) fn lacks_family(fault: &io::Error) -> bool {
    fault.raw_os_error() == Some(libc::EAFNOSUPPORT)
}
