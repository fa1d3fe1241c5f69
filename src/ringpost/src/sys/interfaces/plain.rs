//! Interfaces of a system that does not tell of them.

use std::net::IpAddr;

use engine::policy::snapshot::Interface;

/// Every interface: none is told.
#[must_use]
pub(crate) fn read() -> Vec<Interface> {
    Vec::new()
}

/// The addresses of this host: none is told, so that certificates have those of the listeners.
#[must_use]
pub(crate) fn addresses() -> Vec<IpAddr> {
    Vec::new()
}

/// What this host is called, as far as its surroundings tell a process.
#[must_use]
pub(crate) fn host_name() -> String {
    let told = ["COMPUTERNAME", "HOSTNAME"].into_iter().find_map(|name| std::env::var(name).ok());
    told.unwrap_or_default()
}
