//! Finds the process that has a port in `/proc`, for the message that the port is taken.
//!
//! Only reads. Leaves out what it may not read, and what ends before it is read.

use std::fs;
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
    /// Returns the process that listens on this port of this host, or `None` if there is none or if
    /// this user may not see its descriptors.
    #[must_use]
    pub(crate) fn find(transport: Transport, port: u16) -> Option<Self> {
        let inodes = listening(transport, port);
        if inodes.is_empty() {
            return None;
        }
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
pub(crate) fn mend(transport: Transport, port: u16, choose: &str) -> String {
    let flag = match transport {
        Transport::Udp => 'u',
        Transport::Tcp => 't',
    };
    match PortHolder::find(transport, port) {
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

/// Returns the inodes of the sockets that are bound to a port and listen.
fn listening(transport: Transport, port: u16) -> Vec<u64> {
    let (tables, waits) = match transport {
        Transport::Udp => (["/proc/net/udp", "/proc/net/udp6"], "07"),
        Transport::Tcp => (["/proc/net/tcp", "/proc/net/tcp6"], "0A"),
    };
    let tables = tables.iter().filter_map(|path| fs::read_to_string(path).ok());
    tables.flat_map(|table| rows(&table, port, waits)).collect()
}

/// Returns the inodes of a table's rows with a port and a state.
fn rows(table: &str, port: u16, state: &str) -> Vec<u64> {
    let row = |line: &str| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let (local, is, inode) = (fields.get(1)?, fields.get(3)?, fields.get(9)?);
        let (_, local_port) = local.rsplit_once(':')?;
        let is_it = u16::from_str_radix(local_port, 16) == Ok(port) && *is == state;
        inode.parse().ok().filter(|inode| is_it && *inode != 0)
    };
    table.lines().skip(1).filter_map(row).collect()
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
        let tcp = PortHolder::find(Transport::Tcp, tcp.local_addr().unwrap().port()).unwrap();
        let udp = PortHolder::find(Transport::Udp, udp.local_addr().unwrap().port()).unwrap();
        assert_eq!((tcp.process, udp.process), (me, me));
        assert!(!tcp.name.is_empty());
    }

    #[test]
    fn only_rows_of_the_port_in_the_state_count() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt\n\
             0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 77 1\n\
             1: 0100007F:1F90 0100007F:9999 01 00000000:00000000 00:00000000 00000000 0 0 78 1\n\
             2: 0100007F:1F91 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 79 1\n";
        assert_eq!(rows(table, 8080, "0A"), [77]);
        assert_eq!(rows("broken\nx y", 8080, "0A"), Vec::<u64>::new());
    }

    #[test]
    fn another_ringpost_is_called_by_its_name() {
        let holder = PortHolder { process: 7, name: "ringpost".into() };
        assert!(holder.is_ringpost());
        assert!(!PortHolder { process: 7, name: "nginx".into() }.is_ringpost());
    }
}
