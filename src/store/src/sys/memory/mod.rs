//! Memory as a file: an immutable copy that the system sends from.
//!
//! Only copies; knows no version and keeps nothing.

#[cfg(all(target_os = "linux", not(feature = "plain-sys")))]
mod linux;
#[cfg(any(not(target_os = "linux"), feature = "plain-sys", test))]
mod plain;

#[cfg(all(target_os = "linux", not(feature = "plain-sys")))]
pub(crate) use linux::{collapse, fault_in, sealed_copy};
#[cfg(any(not(target_os = "linux"), feature = "plain-sys"))]
pub(crate) use plain::{collapse, fault_in, sealed_copy};
