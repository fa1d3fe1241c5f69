//! Systems that do not report their interfaces.

use std::net::IpAddr;

use engine::policy::snapshot::Interface;

/// Returns no interface.
#[must_use]
pub(crate) fn read() -> Vec<Interface> {
    Vec::new()
}

/// Returns no address, so that certificates have those of the listeners.
#[must_use]
pub(crate) fn addresses() -> Vec<IpAddr> {
    Vec::new()
}

/// Returns this host's name, as far as the environment has it.
#[must_use]
pub(crate) fn host_name() -> String {
    let name = ["COMPUTERNAME", "HOSTNAME"].into_iter().find_map(|name| std::env::var(name).ok());
    name.unwrap_or_default()
}
