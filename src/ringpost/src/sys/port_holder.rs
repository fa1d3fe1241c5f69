//! Finds the process that has an address and a port in `/proc`, for the message that the port is
//! taken.
//!
//! One port of two addresses is two sockets: only a socket that is in the way of the wanted address
//! counts. Only reads. Leaves out what it may not read, and what ends before it is read.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

/// The protocol of a port: the same number may serve both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    /// Datagrams.
    Udp,
    /// Connections.
    Tcp,
}

/// The process that has a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PortHolder {
    /// Its number.
    pub(crate) process: u32,
    /// Its name, as the kernel keeps it: at most 15 characters.
    pub(crate) name: String,
}

impl PortHolder {
    /// Returns the process whose socket is in the way of this address, or `None` if there is none
    /// or if this user may not see its descriptors.
    #[must_use]
    pub(crate) fn find(transport: Transport, wanted: SocketAddr) -> Option<Self> {
        let sockets = listening(transport, wanted);
        // Whether a wildcard of IPv6 takes IPv4 as well is not told, so it comes last.
        let nearest = sockets.iter().map(|(obstacle, _)| *obstacle).min()?;
        let inodes: Vec<u64> = sockets
            .into_iter()
            .filter_map(|(obstacle, inode)| (obstacle == nearest).then_some(inode))
            .collect();
        processes().find_map(|(process, path)| {
            has_socket(&path, &inodes).then(|| {
                let name = fs::read_to_string(path.join("comm")).unwrap_or_default();
                PortHolder { process, name: name.trim_end().to_owned() }
            })
        })
    }

    /// Returns whether it is this program.
    #[must_use]
    pub(crate) fn is_ringpost(&self) -> bool {
        self.name.starts_with("ringpost")
    }
}

/// Suggests what to do about a taken port.
#[must_use]
pub(crate) fn mend(transport: Transport, wanted: SocketAddr, choose: &str) -> String {
    let port = wanted.port();
    let flag = match transport {
        Transport::Udp => 'u',
        Transport::Tcp => 't',
    };
    match PortHolder::find(transport, wanted) {
        Some(holder) if holder.process == std::process::id() => {
            format!("this configuration has taken the port already; {choose}")
        }
        Some(holder) if holder.is_ringpost() => format!(
            "another Ringpost, process {}, has this port; stop that one, or {choose}",
            holder.process
        ),
        Some(holder) => format!(
            "another program has this port: {}, process {}; stop it, or {choose}",
            holder.name, holder.process
        ),
        None => format!(
            "another program has this port; stop it (`ss -{flag}lpn 'sport = :{port}'` shows \
             which), or {choose}"
        ),
    }
}

/// How a bound socket is in the way of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Obstacle {
    /// It has the address, or one of the two has all addresses.
    Address,
    /// One of the two has all addresses of IPv6, and so perhaps those of IPv4.
    DualStack,
}

/// Returns how a socket with the address `bound` is in the way of one with `wanted`, or `None` if
/// it is not.
fn obstacle(wanted: IpAddr, bound: IpAddr) -> Option<Obstacle> {
    let is_wildcard = wanted.is_unspecified() || bound.is_unspecified();
    let (wanted_v4, bound_v4) = (wanted.to_canonical().is_ipv4(), bound.to_canonical().is_ipv4());
    if wanted_v4 == bound_v4 {
        let is_same = wanted.to_canonical() == bound.to_canonical();
        return (is_same || is_wildcard).then_some(Obstacle::Address);
    }
    let v6 = if wanted_v4 { bound } else { wanted };
    v6.is_unspecified().then_some(Obstacle::DualStack)
}

/// Returns the inodes of the sockets that listen and are in the way.
fn listening(transport: Transport, wanted: SocketAddr) -> Vec<(Obstacle, u64)> {
    let (tables, waits) = match transport {
        Transport::Udp => (["/proc/net/udp", "/proc/net/udp6"], "07"),
        Transport::Tcp => (["/proc/net/tcp", "/proc/net/tcp6"], "0A"),
    };
    let tables = tables.iter().filter_map(|path| fs::read_to_string(path).ok());
    tables.flat_map(|table| rows(&table, wanted, waits)).collect()
}

/// Returns the inodes of a table's rows that are in the way and in a state.
fn rows(table: &str, wanted: SocketAddr, state: &str) -> Vec<(Obstacle, u64)> {
    let row = |line: &str| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let (local, is, inode) = (fields.get(1)?, fields.get(3)?, fields.get(9)?);
        let (address, port) = local.rsplit_once(':')?;
        let is_it = u16::from_str_radix(port, 16) == Ok(wanted.port()) && *is == state;
        let obstacle = obstacle(wanted.ip(), address_of(address)?).filter(|_| is_it)?;
        inode.parse().ok().filter(|inode| *inode != 0).map(|inode| (obstacle, inode))
    };
    table.lines().skip(1).filter_map(row).collect()
}

/// Reads an address of the kernel's tables: 32-bit words of the host's byte order, in hexadecimal.
fn address_of(text: &str) -> Option<IpAddr> {
    let mut bytes = Vec::with_capacity(16);
    for start in (0..text.len()).step_by(8) {
        let word = u32::from_str_radix(text.get(start..start + 8)?, 16).ok()?;
        bytes.extend(word.to_ne_bytes());
    }
    let v4 = <[u8; 4]>::try_from(bytes.as_slice()).map(Ipv4Addr::from);
    let v6 = || <[u8; 16]>::try_from(bytes.as_slice()).map(Ipv6Addr::from);
    v4.map(IpAddr::from).or_else(|_| v6().map(IpAddr::from)).ok()
}

fn processes() -> impl Iterator<Item = (u32, PathBuf)> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path())))
}

fn has_socket(process: &Path, inodes: &[u64]) -> bool {
    let Ok(descriptors) = fs::read_dir(process.join("fd")) else { return false };
    descriptors.flatten().any(|descriptor| {
        let Ok(target) = fs::read_link(descriptor.path()) else { return false };
        let target = target.to_string_lossy();
        let inode = target.strip_prefix("socket:[").and_then(|rest| rest.strip_suffix(']'));
        inode.and_then(|inode| inode.parse().ok()).is_some_and(|inode| inodes.contains(&inode))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, UdpSocket};

    #[test]
    fn the_process_that_has_a_port_is_found_by_both_transports() {
        let (tcp, udp) =
            (TcpListener::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
        let me = std::process::id();
        let tcp = PortHolder::find(Transport::Tcp, tcp.local_addr().unwrap()).unwrap();
        let udp = PortHolder::find(Transport::Udp, udp.local_addr().unwrap()).unwrap();
        assert_eq!((tcp.process, udp.process), (me, me));
        assert!(!tcp.name.is_empty());
    }

    #[test]
    fn the_same_port_of_another_address_is_nobodys() {
        let held = UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = held.local_addr().unwrap().port();
        let find = |ip: &str| {
            PortHolder::find(Transport::Udp, (ip.parse::<IpAddr>().unwrap(), port).into())
        };
        assert!(find("127.0.0.1").is_some() && find("0.0.0.0").is_some());
        assert_eq!(find("127.0.0.2"), None);
        assert_eq!(find("::1"), None);
    }

    #[test]
    fn only_a_socket_that_is_in_the_way_counts() {
        let way =
            |wanted: &str, bound: &str| obstacle(wanted.parse().unwrap(), bound.parse().unwrap());
        for (wanted, bound) in [
            ("127.0.0.1", "127.0.0.1"),
            ("127.0.0.1", "0.0.0.0"),
            ("0.0.0.0", "192.0.2.1"),
            ("127.0.0.1", "::ffff:127.0.0.1"),
            ("::1", "::1"),
            ("::1", "::"),
            ("::", "2001:db8::1"),
        ] {
            assert_eq!(way(wanted, bound), Some(Obstacle::Address), "{wanted} {bound}");
        }
        for (wanted, bound) in [("127.0.0.1", "::"), ("0.0.0.0", "::"), ("::", "192.0.2.1")] {
            assert_eq!(way(wanted, bound), Some(Obstacle::DualStack), "{wanted} {bound}");
        }
        for (wanted, bound) in [
            ("127.0.0.1", "192.0.2.1"),
            ("::1", "2001:db8::1"),
            ("127.0.0.1", "::1"),
            ("::1", "0.0.0.0"),
            ("192.0.2.1", "::ffff:192.0.2.2"),
        ] {
            assert_eq!(way(wanted, bound), None, "{wanted} {bound}");
        }
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn only_rows_of_the_port_in_the_state_count() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt\n\
             0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 77 1\n\
             1: 0100007F:1F90 0100007F:9999 01 00000000:00000000 00:00000000 00000000 0 0 78 1\n\
             2: 0100007F:1F91 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 79 1\n\
             3: 0100007F:ZZZZ 00000000:0000 0A\n";
        let found = |wanted: &str| rows(table, wanted.parse().unwrap(), "0A");
        assert_eq!(found("127.0.0.1:8080"), [(Obstacle::Address, 77)]);
        assert_eq!(found("192.0.2.1:8080"), []);
        assert_eq!(rows("broken\nx y", "0.0.0.0:1".parse().unwrap(), "0A"), []);
        let mapped = address_of("0000000000000000FFFF00000100007F").unwrap();
        assert_eq!(mapped.to_canonical(), Ipv4Addr::LOCALHOST);
        assert_eq!(
            address_of("00000000000000000000000001000000"),
            Some(Ipv6Addr::LOCALHOST.into())
        );
        assert_eq!((address_of("0100007"), address_of("")), (None, None));
    }

    #[test]
    fn another_ringpost_is_called_by_its_name() {
        let holder = PortHolder { process: 7, name: "ringpost".into() };
        assert!(holder.is_ringpost());
        assert!(!PortHolder { process: 7, name: "nginx".into() }.is_ringpost());
    }
}
