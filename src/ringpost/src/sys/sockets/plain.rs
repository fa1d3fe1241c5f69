//! Sockets as every system has them.
//!
//! A port belongs to one socket. What is not told is guessed so that nobody is cut off too early.

use std::fs::File;
use std::io::{self, IoSlice, Write as _};

use mio::net::TcpStream;
use socket2::{SockRef, Socket};

use crate::sys::sockets::AcceptFault;
use wire::time::Duration;

/// Whether several sockets can be bound to one port, and a client always meets the same of them.
pub(crate) const SHARES_PORTS: bool = false;
/// Whether [`send_file`] can be called.
pub(crate) const SENDS_FILES: bool = false;
/// Connections that wait to be accepted while there is no descriptor for them: Unix's ENFILE and
/// EMFILE, and Windows' WSAEMFILE and WSAENOBUFS.
const NO_DESCRIPTOR: &[i32] = if cfg!(windows) { &[10_024, 10_055] } else { &[23, 24] };
/// Unix's EINPROGRESS as Linux, the BSDs and macOS number it.
const IN_PROGRESS: &[i32] = &[115, 36];
/// Windows' WSAEAFNOSUPPORT; Unix's EAFNOSUPPORT as Linux and the others number it.
const NO_FAMILY: &[i32] = if cfg!(windows) { &[10_047] } else { &[97, 47] };

/// Lets other sockets be bound to the port of this one: not here.
///
/// # Errors
/// Always.
pub(crate) fn share_port(_: &Socket) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Has each client always meet the same socket of a port: there is but one.
///
/// # Errors
/// None; other systems have some.
#[expect(clippy::unnecessary_wraps, reason = "other systems can refuse")]
pub(crate) fn steer_by_client(_: SockRef<'_>, _workers: u32, _v6: bool) -> io::Result<()> {
    Ok(())
}

/// Lets a port be bound again while connections of the last one who had it linger. On Windows they
/// are no hindrance, and the option would let two programs have one port.
///
/// # Errors
/// The system's error.
pub(crate) fn rebind(socket: &Socket) -> io::Result<()> {
    if cfg!(unix) { socket.set_reuse_address(true) } else { Ok(()) }
}

/// Most connections that may wait to be accepted: not told.
pub(crate) fn backlog_max() -> Option<i32> {
    None
}

/// Makes the buffers large, within the system's bounds. Says how many bytes may wait to be read.
///
/// # Errors
/// The system's error.
pub(crate) fn enlarge(socket: &Socket, bytes: usize) -> io::Result<usize> {
    socket.set_recv_buffer_size(bytes)?;
    socket.set_send_buffer_size(bytes)?;
    let granted = socket.recv_buffer_size()?;
    Ok(if cfg!(target_os = "linux") { granted / 2 } else { granted })
}

/// Bytes that a socket was given and the other side has not acknowledged: not told.
pub(crate) fn unacknowledged(_: &TcpStream) -> u64 {
    0
}

/// Has the system give a connection up whose other side acknowledges nothing for so long: it has
/// bounds of its own.
pub(crate) fn give_up_after(_: &TcpStream, _silence: Duration) {}

/// Sends these parts as one.
///
/// # Errors
/// The system's; [`io::ErrorKind::WouldBlock`] where nothing left.
pub(crate) fn send(stream: &TcpStream, parts: &[IoSlice<'_>], _more: bool) -> io::Result<usize> {
    (&*stream).write_vectored(parts)
}

/// Sends what bytes of a file follow.
///
/// # Errors
/// As [`send`].
pub(crate) fn send_head(stream: &TcpStream, head: &[u8]) -> io::Result<usize> {
    (&*stream).write(head)
}

/// Sends bytes of a file straight from it: not here.
///
/// # Errors
/// Always.
pub(crate) fn send_file(_: &TcpStream, _: &File, _offset: u64, _bytes: usize) -> io::Result<usize> {
    Err(io::ErrorKind::Unsupported.into())
}

/// What an error of accepting means.
pub(crate) fn accept_fault(fault: &io::Error) -> AcceptFault {
    let kind = fault.kind();
    let is_gone = [io::ErrorKind::ConnectionAborted, io::ErrorKind::Interrupted];
    if is_gone.contains(&kind) {
        AcceptFault::Gone
    } else if has_code(fault, NO_DESCRIPTOR) || kind == io::ErrorKind::OutOfMemory {
        AcceptFault::NoDescriptor
    } else {
        AcceptFault::Other
    }
}

/// Whether an error of connecting says that the connection is being made.
pub(crate) fn is_connecting(fault: &io::Error) -> bool {
    fault.kind() == io::ErrorKind::WouldBlock || cfg!(unix) && has_code(fault, IN_PROGRESS)
}

/// Whether the other side, or the way to it, has fallen silent.
pub(crate) fn is_silence(fault: &io::Error) -> bool {
    use io::ErrorKind::{HostUnreachable, NetworkUnreachable, TimedOut};
    [HostUnreachable, NetworkUnreachable, TimedOut].contains(&fault.kind())
}

/// Whether this host has no addresses of the family that was wanted.
pub(crate) fn lacks_family(fault: &io::Error) -> bool {
    has_code(fault, NO_FAMILY)
}

fn has_code(fault: &io::Error, codes: &[i32]) -> bool {
    fault.raw_os_error().is_some_and(|code| codes.contains(&code))
}
