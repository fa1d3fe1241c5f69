//! Notifies the service manager. Without one, nothing happens.

#[cfg(all(target_os = "linux", not(feature = "plain-sys")))]
mod linux;
#[cfg(any(not(target_os = "linux"), feature = "plain-sys"))]
mod plain;

#[cfg(all(target_os = "linux", not(feature = "plain-sys")))]
pub(crate) use linux::{alive, ready, reloading, stopping};
#[cfg(any(not(target_os = "linux"), feature = "plain-sys"))]
pub(crate) use plain::{alive, ready, reloading, stopping};
