//! System-specific calls: datagrams in batches, interfaces, users, inherited sockets, signals.
//!
//! Knows nothing of settings and of what is served.

pub(crate) mod descriptors;
pub(crate) mod interfaces;
#[cfg(all(target_os = "linux", not(feature = "plain-sys")))]
mod options;
pub(crate) mod port_holder;
pub(crate) mod privileges;
pub(crate) mod signals;
pub(crate) mod socket_activation;
pub(crate) mod sockets;
pub(crate) mod systemd;
pub(crate) mod udp;
