//! Addresses and control messages in the kernel's memory layout.
//!
//! Reads only bytes, and never beyond their end: a wrong length ends the reading.

use std::mem::size_of;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

use crate::sys::udp::Datagram;

/// Room for the control messages of one datagram, in bytes.
pub(super) const CONTROL_BYTES: usize = 128;
/// Room for those of one send: source address and segment size.
const _: () = assert!(CONTROL_BYTES >= 40 + 24);
const WORD: usize = size_of::<usize>();

/// A socket address: an IPv6 one is the longest that occurs.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
pub(super) struct Name(pub(super) [u8; 28]);

#[derive(Clone, Copy)]
#[repr(C, align(8))]
pub(super) struct ControlBuffer(pub(super) [u8; CONTROL_BYTES]);

/// Writes an address in the kernel's form; returns its length in bytes.
pub(super) fn write_name(peer: SocketAddr, name: &mut Name) -> libc::socklen_t {
    let bytes = &mut name.0;
    *bytes = [0; 28];
    bytes[2..4].copy_from_slice(&peer.port().to_be_bytes());
    match peer {
        SocketAddr::V4(peer) => {
            bytes[..2].copy_from_slice(&(libc::AF_INET as u16).to_ne_bytes());
            bytes[4..8].copy_from_slice(&peer.ip().octets());
            16
        }
        SocketAddr::V6(peer) => {
            bytes[..2].copy_from_slice(&(libc::AF_INET6 as u16).to_ne_bytes());
            bytes[4..8].copy_from_slice(&peer.flowinfo().to_be_bytes());
            bytes[8..24].copy_from_slice(&peer.ip().octets());
            bytes[24..28].copy_from_slice(&peer.scope_id().to_ne_bytes());
            28
        }
    }
}

pub(super) fn read_name(name: &Name) -> Option<SocketAddr> {
    let bytes = &name.0;
    let family = i32::from(u16::from_ne_bytes(*bytes.first_chunk()?));
    let port = u16::from_be_bytes([bytes[2], bytes[3]]);
    match family {
        libc::AF_INET => {
            let ip = Ipv4Addr::new(bytes[4], bytes[5], bytes[6], bytes[7]);
            Some(SocketAddr::from((ip, port)))
        }
        libc::AF_INET6 => {
            let ip = Ipv6Addr::from(*bytes[8..].first_chunk::<16>()?);
            let scope = u32::from_ne_bytes(*bytes[24..].first_chunk()?);
            Some(SocketAddr::V6(SocketAddrV6::new(ip, port, 0, scope)))
        }
        _ => None,
    }
}

/// Reads the destination address, the interface, and the number of dropped datagrams.
pub(super) fn read_control(mut rest: &[u8], datagram: &mut Datagram<'_>) {
    while let Some((level, kind, payload, after)) = next_control(rest) {
        rest = after;
        match (level, kind) {
            (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                let Some(info) = payload.first_chunk::<12>() else { continue };
                let address =
                    |at: usize| IpAddr::from([info[at], info[at + 1], info[at + 2], info[at + 3]]);
                datagram.interface = u32::from_ne_bytes([info[0], info[1], info[2], info[3]]);
                datagram.from = Some(address(4));
                datagram.to = Some(address(8));
            }
            (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                let Some(address) = payload.first_chunk::<16>() else { continue };
                let Some(index) = payload.get(16..20).and_then(|four| four.first_chunk()) else {
                    continue;
                };
                let address = IpAddr::from(*address);
                datagram.interface = u32::from_ne_bytes(*index);
                datagram.to = Some(address);
                datagram.from = Some(address).filter(|address| !address.is_multicast());
            }
            (libc::SOL_SOCKET, libc::SO_RXQ_OVFL) => {
                datagram.drops = payload.first_chunk().map(|four| u32::from_ne_bytes(*four));
            }
            (_, _) => {}
        }
    }
}

/// Returns the first control message of a buffer: level, kind, payload, and the rest of the buffer.
fn next_control(bytes: &[u8]) -> Option<(i32, i32, &[u8], &[u8])> {
    let length = usize::from_ne_bytes(*bytes.first_chunk()?);
    let level = i32::from_ne_bytes(*bytes.get(WORD..)?.first_chunk()?);
    let kind = i32::from_ne_bytes(*bytes.get(WORD + 4..)?.first_chunk()?);
    let payload = bytes.get(WORD + 8..length)?;
    let rest = bytes.get(length.next_multiple_of(WORD)..).unwrap_or_default();
    Some((level, kind, payload, rest))
}

/// Writes one control message; returns how many bytes of the buffer it took.
pub(super) fn write_control(buffer: &mut [u8], level: i32, kind: i32, payload: &[u8]) -> usize {
    let length = WORD + 8 + payload.len();
    let space = length.next_multiple_of(WORD);
    buffer[..space].fill(0);
    buffer[..WORD].copy_from_slice(&length.to_ne_bytes());
    buffer[WORD..WORD + 4].copy_from_slice(&level.to_ne_bytes());
    buffer[WORD + 4..WORD + 8].copy_from_slice(&kind.to_ne_bytes());
    buffer[WORD + 8..length].copy_from_slice(payload);
    space
}

/// Writes the source address of a datagram.
pub(super) fn write_source(from: IpAddr, buffer: &mut [u8]) -> usize {
    match from {
        IpAddr::V4(from) => {
            let mut info = [0; 12];
            info[4..8].copy_from_slice(&from.octets());
            write_control(buffer, libc::IPPROTO_IP, libc::IP_PKTINFO, &info)
        }
        IpAddr::V6(from) => {
            let mut info = [0; 20];
            info[..16].copy_from_slice(&from.octets());
            write_control(buffer, libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, &info)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_written_is_the_name_read() {
        for text in ["10.1.2.3:69", "[2001:db8::1]:6969", "[fe80::1%3]:4000"] {
            let peer: SocketAddr = text.parse().unwrap();
            let mut name = Name([0xff; 28]);
            write_name(peer, &mut name);
            assert_eq!(read_name(&name), Some(peer));
        }
    }

    #[test]
    fn control_messages_written_are_those_read() {
        let mut buffer = [0; CONTROL_BYTES];
        let first = write_source("10.0.0.7".parse().unwrap(), &mut buffer);
        let drops = 77_u32.to_ne_bytes();
        let both = first
            + write_control(&mut buffer[first..], libc::SOL_SOCKET, libc::SO_RXQ_OVFL, &drops);
        let mut datagram = Datagram {
            peer: "10.0.0.1:1".parse().unwrap(),
            to: None,
            from: None,
            interface: 0,
            drops: None,
            bytes: &[],
        };
        read_control(&buffer[..both], &mut datagram);
        assert_eq!(datagram.from, Some("10.0.0.7".parse().unwrap()));
        assert_eq!(datagram.drops, Some(77));
    }

    #[test]
    fn control_bytes_that_lie_about_their_length_end_the_reading() {
        for length in [0_usize, 5, 15, 4_000, usize::MAX] {
            let mut buffer = [0; 32];
            buffer[..WORD].copy_from_slice(&length.to_ne_bytes());
            assert!(next_control(&buffer).is_none(), "{length}");
        }
    }
}
