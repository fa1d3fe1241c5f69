//! What a system can do with sockets beyond the standard: ports that workers share, large buffers,
//! files sent by the kernel, and how it words its refusals.
//!
//! Knows sockets and bytes, never what they mean.

#[cfg(all(target_os = "linux", not(feature = "plain-sys")))]
mod linux;
#[cfg(any(not(target_os = "linux"), feature = "plain-sys"))]
mod plain;

#[cfg(all(target_os = "linux", not(feature = "plain-sys")))]
pub(crate) use linux::*;
#[cfg(any(not(target_os = "linux"), feature = "plain-sys"))]
pub(crate) use plain::*;

/// Why a connection could not be accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AcceptFault {
    /// It has gone meanwhile: the next one may be there.
    Gone,
    /// The system has no descriptor or no memory left for it.
    NoDescriptor,
    /// Nothing waits, or anything else.
    Other,
}
