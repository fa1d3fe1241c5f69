//! Becoming an ordinary user once the ports are bound, and giving up for good what a process could
//! gain by starting another program.
//!
//! Never gains a privilege, and keeps none that it was told to give up.

#[cfg(any(not(unix), feature = "plain-sys"))]
mod plain;
#[cfg(all(unix, not(feature = "plain-sys")))]
mod unix;

#[cfg(any(not(unix), feature = "plain-sys"))]
pub(crate) use plain::{Account, PrivilegeError, account, check, drop_to, renounce};
#[cfg(all(unix, not(feature = "plain-sys")))]
pub(crate) use unix::{Account, PrivilegeError, account, check, drop_to, renounce};
