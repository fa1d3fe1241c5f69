//! Sockets on every system.
//!
//! A port belongs to one socket. Unknown values are guessed so that no phone is cut off too early.

use std::fs::File;
use std::io::{self, IoSlice, Write as _};

use mio::net::TcpStream;
use socket2::{SockRef, Socket};

use crate::sys::sockets::AcceptFault;
use wire::time::Duration;

/// Whether several sockets can be bound to one port, so that a client always reaches the same one.
pub(crate) const SHARES_PORTS: bool = false;
/// Whether [`send_file`] can be called.
pub(crate) const SENDS_FILES: bool = false;
/// Errors of `accept` without a free descriptor: Unix's ENFILE and EMFILE, and Windows' WSAEMFILE
/// and WSAENOBUFS.
const NO_DESCRIPTOR: &[i32] = if cfg!(windows) { &[10_024, 10_055] } else { &[23, 24] };
/// Unix's EINPROGRESS as Linux, the BSDs and macOS number it.
const IN_PROGRESS: &[i32] = &[115, 36];
/// Windows' WSAEAFNOSUPPORT; Unix's EAFNOSUPPORT as Linux and the others number it.
const NO_FAMILY: &[i32] = if cfg!(windows) { &[10_047] } else { &[97, 47] };

/// Would let other sockets share the port; not supported here.
///
/// # Errors
/// Always.
pub(crate) fn share_port(_: &Socket) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Would steer each client to the same socket of a port; there is only one.
///
/// # Errors
/// None; other systems have some.
#[expect(clippy::unnecessary_wraps, reason = "other systems can refuse")]
pub(crate) fn steer_by_client(_: SockRef<'_>, _workers: u32, _v6: bool) -> io::Result<()> {
    Ok(())
}

/// Lets a port be bound again while its earlier connections are in TIME_WAIT. On Windows they are
/// no obstacle, and the option would let two programs have one port.
///
/// # Errors
/// The system's error.
pub(crate) fn rebind(socket: &Socket) -> io::Result<()> {
    if cfg!(unix) { socket.set_reuse_address(true) } else { Ok(()) }
}

/// Returns the limit of the backlog: unknown.
pub(crate) fn backlog_max() -> Option<i32> {
    None
}

/// Makes the buffers large, within the system's limits. Returns how many bytes may wait to be read.
///
/// # Errors
/// The system's error.
pub(crate) fn enlarge(socket: &Socket, bytes: usize) -> io::Result<usize> {
    socket.set_recv_buffer_size(bytes)?;
    socket.set_send_buffer_size(bytes)?;
    let granted = socket.recv_buffer_size()?;
    Ok(if cfg!(target_os = "linux") { granted / 2 } else { granted })
}

/// Returns the bytes of a socket that the peer has not acknowledged: unknown.
pub(crate) fn unacknowledged(_: &TcpStream) -> u64 {
    0
}

/// Would make the system close a silent connection; it has limits of its own.
pub(crate) fn give_up_after(_: &TcpStream, _silence: Duration) {}

/// Sends these parts as one.
///
/// # Errors The system's error; [`io::ErrorKind::WouldBlock`] if nothing was sent.
pub(crate) fn send(stream: &TcpStream, parts: &[IoSlice<'_>], _more: bool) -> io::Result<usize> {
    (&*stream).write_vectored(parts)
}

/// Sends a head before the bytes of a file.
///
/// # Errors
/// As [`send`].
pub(crate) fn send_head(stream: &TcpStream, head: &[u8]) -> io::Result<usize> {
    (&*stream).write(head)
}

/// Would send bytes of a file without copying them; not supported here.
///
/// # Errors
/// Always.
pub(crate) fn send_file(_: &TcpStream, _: &File, _offset: u64, _bytes: usize) -> io::Result<usize> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Translates an error of `accept`.
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

/// Returns whether an error of `connect` says that the connection is in progress.
pub(crate) fn is_connecting(fault: &io::Error) -> bool {
    fault.kind() == io::ErrorKind::WouldBlock || cfg!(unix) && has_code(fault, IN_PROGRESS)
}

/// Returns whether the peer, or the path to it, has stopped answering.
pub(crate) fn is_silence(fault: &io::Error) -> bool {
    use io::ErrorKind::{HostUnreachable, NetworkUnreachable, TimedOut};
    [HostUnreachable, NetworkUnreachable, TimedOut].contains(&fault.kind())
}

/// Returns whether this host lacks the address family.
pub(crate) fn lacks_family(fault: &io::Error) -> bool {
    has_code(fault, NO_FAMILY)
}

fn has_code(fault: &io::Error, codes: &[i32]) -> bool {
    fault.raw_os_error().is_some_and(|code| codes.contains(&code))
}
