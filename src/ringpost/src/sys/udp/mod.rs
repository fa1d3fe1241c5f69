//! Datagrams in batches, by as few system calls as the system offers.
//!
//! Knows sockets and bytes, never what they mean. Linux has calls for whole batches; the plain
//! fallback sends and receives one by one, and cannot say which address a datagram came to.

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

/// Most datagrams that are taken from a socket at a time.
const RECEIVE_BATCH: usize = 128;
/// Most sends that are handed over at a time.
const SEND_BATCH: usize = 128;

/// A datagram as the kernel gave it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Datagram<'a> {
    /// Who sent it.
    pub(crate) peer: SocketAddr,
    /// Where it was sent to.
    pub(crate) to: Option<IpAddr>,
    /// The address of this host that it came to, which differs from `to` for a broadcast.
    pub(crate) from: Option<IpAddr>,
    /// The interface that it came by; 0 when the kernel does not say.
    pub(crate) interface: u32,
    /// Datagrams that the socket's full buffer has cost since it was opened, where the kernel says.
    pub(crate) drops: Option<u32>,
    /// Its bytes.
    pub(crate) bytes: &'a [u8],
}

/// What one look at a socket has brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Received {
    /// How many datagrams.
    pub(crate) count: usize,
    /// Nothing else waits: the system will tell when something does.
    pub(crate) is_all: bool,
}

/// How a batch of sends went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sent {
    /// Sends that the system took, from the first on.
    pub(crate) count: usize,
    /// Why it did not take the next one, if there was a next one.
    pub(crate) fault: Option<SendFault>,
}

/// Why a send was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SendFault {
    /// There is no room at the moment.
    Full,
    /// A signal came first.
    Interrupted,
    /// The datagram is too long for the path, and must not be cut.
    TooLong,
    /// The bytes could not be read: the mapped file was cut short.
    FileCut,
    /// Anything else, which may have been told of an earlier send.
    Refused,
}
