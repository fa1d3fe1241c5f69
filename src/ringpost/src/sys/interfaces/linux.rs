//! Reads interfaces from `/sys`, `/proc` and the kernel.

use std::collections::HashSet;
use std::fs;
use std::net::{IpAddr, Ipv6Addr};
use std::path::Path;

use nix::ifaddrs::getifaddrs;
use nix::unistd::gethostname;

use engine::policy::snapshot::Interface;

/// Returns every interface with its MTU, none if the system does not tell.
#[must_use]
pub(crate) fn read() -> Vec<Interface> {
    let Ok(interfaces) = fs::read_dir("/sys/class/net") else { return Vec::new() };
    interfaces.flatten().filter_map(|interface| read_one(&interface.path())).collect()
}

fn read_one(dir: &Path) -> Option<Interface> {
    let number = |name: &str| fs::read_to_string(dir.join(name)).ok()?.trim().parse().ok();
    Some(Interface { index: number("ifindex")?, mtu_bytes: number("mtu")? })
}

/// Returns the lasting addresses of this host, none if the system does not tell.
pub(crate) fn addresses() -> Vec<IpAddr> {
    let passing = passing(&fs::read_to_string("/proc/net/if_inet6").unwrap_or_default());
    let own = getifaddrs().into_iter().flatten().filter_map(|interface| {
        let address = interface.address?;
        let v4 = address.as_sockaddr_in().map(|address| IpAddr::V4(address.ip()));
        v4.or_else(|| address.as_sockaddr_in6().map(|address| IpAddr::V6(address.ip())))
    });
    let lasting = |address: &IpAddr| match address {
        IpAddr::V4(_) => true,
        IpAddr::V6(address) => !passing.contains(address),
    };
    own.filter(lasting).collect()
}

/// Returns addresses that the system will drop by itself: temporary and deprecated ones (RFC 8981).
fn passing(if_inet6: &str) -> HashSet<Ipv6Addr> {
    const TEMPORARY_OR_DEPRECATED: u8 = 0x01 | 0x20;
    let line = |line: &str| {
        let mut fields = line.split_ascii_whitespace();
        let address = u128::from_str_radix(fields.next()?, 16).ok()?;
        let flags = u8::from_str_radix(fields.nth(3)?, 16).ok()?;
        (flags & TEMPORARY_OR_DEPRECATED != 0).then(|| Ipv6Addr::from(address))
    };
    if_inet6.lines().filter_map(line).collect()
}

/// Returns this host's name, empty if the system does not tell.
pub(crate) fn host_name() -> String {
    gethostname().ok().and_then(|name| name.into_string().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_come_and_go_are_left_out() {
        let text = "fd000000000000000000000000000005 02 40 00 80     eth0\n\
                    fd000000000000000000000000000006 02 40 00 01     eth0\n\
                    fd000000000000000000000000000007 02 40 00 20     eth0\nnonsense\n";
        let expected = ["fd00::6", "fd00::7"].map(|text| text.parse().unwrap());
        assert_eq!(passing(text), HashSet::from(expected));
    }
}
