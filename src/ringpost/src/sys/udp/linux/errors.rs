//! Network errors of sent datagrams: no process listens at the peer any more.
//!
//! The kernel keeps such errors in a queue of each socket that requests them. Read only on that
//! rare path; never read as datagrams.

use std::io;
use std::net::{SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd};

use mio::net::UdpSocket;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg};

use crate::sys::options::set_option;

/// Errors read at a time; the rest is read with the next one.
const WORDS_MAX: usize = 64;

/// Makes the kernel keep them for a socket of this family.
///
/// # Errors The kernel's error.
pub(super) fn enable(socket: BorrowedFd<'_>, address: SocketAddr) -> io::Result<()> {
    let (level, option) = match address {
        SocketAddr::V4(_) => (libc::IPPROTO_IP, libc::IP_RECVERR),
        SocketAddr::V6(_) => (libc::IPPROTO_IPV6, libc::IPV6_RECVERR),
    };
    set_option(socket, level, option, 1)
}

/// Reads all queued errors, and calls `unreachable` with the peers at which no process listens.
/// Returns whether there were any: then the error of a call on the socket was not caused by that
/// call.
pub(crate) fn take_errors(socket: &UdpSocket, mut unreachable: impl FnMut(SocketAddr)) -> bool {
    for taken in 0..WORDS_MAX {
        match take(socket.as_fd()) {
            Ok(peer) => peer.into_iter().for_each(&mut unreachable),
            Err(_) => return taken > 0,
        }
    }
    true
}

/// Reads the next error; returns its peer if no process listens there.
fn take(socket: BorrowedFd<'_>) -> nix::Result<Option<SocketAddr>> {
    let mut control =
        nix::cmsg_space!(libc::sock_extended_err, libc::sockaddr_in6, libc::in6_pktinfo, u32);
    let mut pieces: [io::IoSliceMut<'_>; 0] = [];
    let flags = MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT;
    let word =
        recvmsg::<SockaddrStorage>(socket.as_raw_fd(), &mut pieces, Some(&mut control), flags)?;
    let refused = word.cmsgs()?.any(|message| {
        use ControlMessageOwned::{Ipv4RecvErr, Ipv6RecvErr};
        matches!(message, Ipv4RecvErr(error, _) | Ipv6RecvErr(error, _)
            if error.ee_errno == libc::ECONNREFUSED as u32)
    });
    Ok(word.address.filter(|_| refused).and_then(|peer| address(&peer)))
}

fn address(peer: &SockaddrStorage) -> Option<SocketAddr> {
    let v4 = peer.as_sockaddr_in().map(|peer| SocketAddrV4::from(*peer).into());
    v4.or_else(|| peer.as_sockaddr_in6().map(|peer| SocketAddrV6::from(*peer).into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_at_which_nobody_listens_is_told_and_the_socket_goes_on() {
        for any in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(socket) = UdpSocket::bind(any.parse().unwrap()) else { continue };
            enable(socket.as_fd(), socket.local_addr().unwrap()).unwrap();
            let gone = UdpSocket::bind(any.parse().unwrap()).unwrap().local_addr().unwrap();
            let other = UdpSocket::bind(any.parse().unwrap()).unwrap();
            socket.send_to(b"x", gone).unwrap();
            let mut peers = Vec::new();
            let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
            while !take_errors(&socket, |peer| peers.push(peer)) {
                assert!(std::time::Instant::now() < deadline, "nothing was told");
                std::thread::yield_now();
            }
            assert_eq!(peers, [gone]);
            // The error was read, so the next send does not fail with it.
            socket.send_to(b"y", other.local_addr().unwrap()).unwrap();
            assert!(!take_errors(&socket, |_| {}));
        }
    }
}
