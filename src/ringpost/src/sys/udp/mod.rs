//! Datagrams in batches, in as few system calls as the system offers.
//!
//! Knows sockets and bytes, never their meaning. Linux has calls for whole batches; the plain
//! fallback sends and receives one by one, and does not know the address a datagram was sent to.

#[cfg(all(target_os = "linux", not(feature = "plain-sys")))]
mod linux;
#[cfg(any(not(target_os = "linux"), feature = "plain-sys", test))]
mod plain;
#[cfg(test)]
mod tests;

use std::net::{IpAddr, SocketAddr};

#[cfg(all(target_os = "linux", not(feature = "plain-sys")))]
pub(crate) use linux::{Inbox, Outbox, allow_fragments, prepare, take_errors};
#[cfg(any(not(target_os = "linux"), feature = "plain-sys"))]
pub(crate) use plain::{Inbox, Outbox, allow_fragments, prepare, take_errors};

/// Most datagrams received from a socket at a time.
const RECEIVE_BATCH: usize = 128;
/// Most sends passed on at a time.
const SEND_BATCH: usize = 128;

/// A received datagram.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Datagram<'a> {
    /// Its sender.
    pub(crate) peer: SocketAddr,
    /// Its destination address.
    pub(crate) to: Option<IpAddr>,
    /// The address of this host that received it, which differs from `to` for a broadcast.
    pub(crate) from: Option<IpAddr>,
    /// The interface that received it; 0 if the kernel does not say.
    pub(crate) interface: u32,
    /// Datagrams dropped because the socket's buffer was full, since it was opened, if the kernel
    /// says.
    pub(crate) drops: Option<u32>,
    /// Its bytes.
    pub(crate) bytes: &'a [u8],
}

/// The result of one receive call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Received {
    /// The number of datagrams.
    pub(crate) count: usize,
    /// Nothing else waits: an event will report further ones.
    pub(crate) is_all: bool,
}

/// The result of a batch of sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sent {
    /// The number of sends that the system took, from the first on.
    pub(crate) count: usize,
    /// Why it did not take the next one, if there was one.
    pub(crate) fault: Option<SendFault>,
}

/// Why a send was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SendFault {
    /// There is no room at the moment.
    Full,
    /// A signal interrupted it.
    Interrupted,
    /// The datagram is too long for the path, and must not be fragmented.
    TooLong,
    /// The bytes could not be read: the mapped file was cut short.
    FileCut,
    /// Any other error, which may be that of an earlier send.
    Refused,
}
