//! The system's socket features beyond the standard: shared ports, large buffers, files sent by the
//! kernel, and the meaning of its errors.
//!
//! Knows sockets and bytes, never their meaning.

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
    /// It is gone already: the next one may be there.
    Gone,
    /// The system has no descriptor or no memory left for it.
    NoDescriptor,
    /// Nothing waits, or anything else.
    Other,
}
