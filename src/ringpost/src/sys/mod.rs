//! What only one system has: datagrams in batches, interfaces, users, sockets handed over, signals.
//!
//! Knows nothing of settings and of what is served.

pub mod interfaces;
#[cfg(all(target_os = "linux", not(feature = "plain-sys")))]
mod options;
pub mod port_holder;
pub mod privileges;
pub mod signals;
pub mod socket_activation;
pub(crate) mod sockets;
pub mod systemd;
pub(crate) mod udp;
