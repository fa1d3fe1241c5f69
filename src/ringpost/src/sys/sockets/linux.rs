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

/// Whether several sockets can be bound to one port, so that a client always reaches the same one.
pub(crate) const SHARES_PORTS: bool = true;
/// Whether [`send_file`] can be called.
pub(crate) const SENDS_FILES: bool = true;
/// The file with the kernel's limit of the backlog.
const BACKLOG_MAX_FILE: &str = "/proc/sys/net/core/somaxconn";

/// Lets other sockets share the port of this one, if they are set so too.
///
/// # Errors The kernel's error.
pub(crate) fn share_port(socket: &Socket) -> io::Result<()> {
    socket.set_reuse_port(true)
}

/// Lets a port be bound again while its earlier connections are in TIME_WAIT.
///
/// # Errors The kernel's error.
pub(crate) fn rebind(socket: &Socket) -> io::Result<()> {
    socket.set_reuse_address(true)
}

/// Returns the kernel's limit of the backlog, or `None` if it is unknown.
pub(crate) fn backlog_max() -> Option<i32> {
    std::fs::read_to_string(BACKLOG_MAX_FILE).ok()?.trim().parse().ok()
}

/// Makes the buffers large: a mass reboot is lost in the kernel before any code runs, if at all.
/// Returns how many bytes may wait to be read.
///
/// # Errors The kernel's error.
pub(crate) fn enlarge(socket: &Socket, bytes: usize) -> io::Result<usize> {
    let wanted = i32::try_from(bytes).unwrap_or(i32::MAX);
    let fd = socket.as_fd();
    if set_option(fd, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, wanted).is_err() {
        socket.set_recv_buffer_size(bytes)?;
    }
    if set_option(fd, libc::SOL_SOCKET, libc::SO_SNDBUFFORCE, wanted).is_err() {
        socket.set_send_buffer_size(bytes)?;
    }
    // The kernel doubles the requested size, to have room for its own bookkeeping.
    Ok(socket.recv_buffer_size()? / 2)
}

/// Returns the bytes of a socket that the peer has not acknowledged.
pub(crate) fn unacknowledged(stream: &TcpStream) -> u64 {
    options::unacknowledged(stream.as_fd())
}

/// Makes the kernel close a connection whose peer acknowledges nothing for so long.
pub(crate) fn give_up_after(stream: &TcpStream, silence: Duration) {
    // A kernel that refuses has limits of its own.
    let _ = SockRef::from(stream).set_tcp_user_timeout(Some(silence));
}

/// Sends these parts as one. `more` means that they should leave together with what follows, or
/// with the end of the connection.
///
/// # Errors The kernel's error; [`io::ErrorKind::WouldBlock`] if nothing was sent.
pub(crate) fn send(stream: &TcpStream, parts: &[IoSlice<'_>], more: bool) -> io::Result<usize> {
    let flags = if more { libc::MSG_MORE } else { 0 };
    SockRef::from(stream).send_vectored_with_flags(parts, flags)
}

/// Sends a head that the kernel joins with the following bytes of a file.
///
/// # Errors
/// As [`send`].
pub(crate) fn send_head(stream: &TcpStream, head: &[u8]) -> io::Result<usize> {
    SockRef::from(stream).send_with_flags(head, libc::MSG_MORE)
}

/// Sends bytes of a file without copying them.
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

/// Translates an error of `accept`.
pub(crate) fn accept_fault(fault: &io::Error) -> AcceptFault {
    match fault.raw_os_error() {
        Some(libc::ECONNABORTED | libc::EINTR | libc::EPROTO) => AcceptFault::Gone,
        Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM) => {
            AcceptFault::NoDescriptor
        }
        Some(_) | None => AcceptFault::Other,
    }
}

/// Returns whether an error of `connect` says that the connection is in progress.
pub(crate) fn is_connecting(fault: &io::Error) -> bool {
    fault.raw_os_error() == Some(libc::EINPROGRESS)
}

/// Returns whether the peer, or the path to it, has stopped answering.
pub(crate) fn is_silence(fault: &io::Error) -> bool {
    let silent = [libc::ETIMEDOUT, libc::EHOSTUNREACH, libc::ENETUNREACH, libc::EHOSTDOWN];
    fault.raw_os_error().is_some_and(|code| silent.contains(&code))
}

/// Returns whether this host lacks the address family.
pub(crate) fn lacks_family(fault: &io::Error) -> bool {
    fault.raw_os_error() == Some(libc::EAFNOSUPPORT)
}
