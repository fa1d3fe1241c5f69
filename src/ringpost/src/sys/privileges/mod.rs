//! Becomes an ordinary user once the ports are bound, and drops for good the privileges that other
//! programs could bring.
//!
//! Never gains a privilege, and keeps none that it must drop.

#[cfg(all(target_os = "linux", not(feature = "plain-sys")))]
mod linux;
#[cfg(any(not(target_os = "linux"), feature = "plain-sys"))]
mod plain;

#[cfg(all(target_os = "linux", not(feature = "plain-sys")))]
pub(crate) use linux::{Account, PrivilegeError, account, check, drop_to, renounce};
#[cfg(any(not(target_os = "linux"), feature = "plain-sys"))]
pub(crate) use plain::{Account, PrivilegeError, account, check, drop_to, renounce};
