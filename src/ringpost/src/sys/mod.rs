//! What belongs to the system: interfaces, users, sockets handed over, signals.
//!
//! Knows nothing of settings and of what is served.

pub mod interfaces;
pub mod port_holder;
pub mod privileges;
pub mod signals;
pub mod socket_activation;
pub mod systemd;
