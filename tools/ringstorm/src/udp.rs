//! Many datagrams in one system call, with the address that each came to or leaves from.
//!
//! The only file of the tool with unsafe code: `recvmmsg` and `sendmmsg` have no safe face in the
//! standard library. Linux only.
#![allow(unsafe_code)]

use std::io;
use std::mem::{size_of, zeroed};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::os::fd::AsRawFd;

/// Datagrams in one call.
pub(crate) const BATCH: usize = 64;
/// Room for the address, the segment size and their headers.
const CONTROL_WORDS: usize = 16;

/// A datagram, or several of equal size that the kernel put together.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrival<'a> {
    /// Who sent it.
    pub(crate) from: SocketAddr,
    /// The address of this host that it was sent to.
    pub(crate) to: Ipv4Addr,
    /// The bytes.
    pub(crate) bytes: &'a [u8],
    /// Size of each datagram in `bytes`, the last of which may be shorter.
    pub(crate) segment_bytes: usize,
}

/// Room to receive a batch into.
pub(crate) struct Inbox {
    buffer_bytes: usize,
    buffers: Vec<u8>,
    names: Vec<libc::sockaddr_in>,
    controls: Vec<[u64; CONTROL_WORDS]>,
    vectors: Vec<libc::iovec>,
    headers: Vec<libc::mmsghdr>,
}

// SAFETY: the pointers in `vectors` and `headers` are only read by the kernel in a call, and are
// written anew from the vectors of the same value before each.
unsafe impl Send for Inbox {}

impl Inbox {
    /// Room for datagrams of up to `buffer_bytes`.
    pub(crate) fn new(buffer_bytes: usize) -> Inbox {
        Inbox {
            buffer_bytes,
            buffers: vec![0; buffer_bytes * BATCH],
            names: (0..BATCH).map(|_| no_name()).collect(),
            controls: vec![[0; CONTROL_WORDS]; BATCH],
            vectors: (0..BATCH).map(|_| no_vector()).collect(),
            headers: (0..BATCH).map(|_| no_header()).collect(),
        }
    }

    /// Takes what is there, at most a batch. Zero when there is nothing.
    pub(crate) fn receive(&mut self, socket: &UdpSocket) -> io::Result<usize> {
        for (place, header) in self.headers.iter_mut().enumerate() {
            let buffer = &mut self.buffers[place * self.buffer_bytes..][..self.buffer_bytes];
            self.vectors[place] =
                libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
            header.msg_hdr.msg_name = (&raw mut self.names[place]).cast();
            header.msg_hdr.msg_namelen = size_of::<libc::sockaddr_in>() as u32;
            header.msg_hdr.msg_iov = &raw mut self.vectors[place];
            header.msg_hdr.msg_iovlen = 1;
            header.msg_hdr.msg_control = self.controls[place].as_mut_ptr().cast();
            header.msg_hdr.msg_controllen = size_of::<[u64; CONTROL_WORDS]>() as _;
        }
        // SAFETY: every header was just pointed at buffers of this value, which outlive the call.
        let count = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                self.headers.as_mut_ptr(),
                BATCH as u32,
                libc::MSG_DONTWAIT,
                std::ptr::null_mut(),
            )
        };
        taken(count)
    }

    /// The datagram at a place of the batch that was received last.
    pub(crate) fn arrival(&self, place: usize) -> Option<Arrival<'_>> {
        let header = self.headers.get(place)?;
        let bytes_used = header.msg_len as usize;
        let start = place * self.buffer_bytes;
        let bytes = self.buffers.get(start..start + bytes_used)?;
        let name = &self.names[place];
        let ip = Ipv4Addr::from(u32::from_be(name.sin_addr.s_addr));
        let from = SocketAddr::V4(SocketAddrV4::new(ip, u16::from_be(name.sin_port)));
        let control = &self.controls[place];
        let room = header.msg_hdr.msg_controllen;
        let mut arrival =
            Arrival { from, to: Ipv4Addr::UNSPECIFIED, bytes, segment_bytes: bytes_used };
        each_control(control, room, |level, kind, value| match (level, kind) {
            (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                // in_pktinfo: interface, local address, address in the header.
                if let Some(address) = value.get(8..12).and_then(|four| four.first_chunk::<4>()) {
                    arrival.to = Ipv4Addr::from(*address);
                }
            }
            (libc::SOL_UDP, libc::UDP_GRO) => {
                if let Some(size) = value.first_chunk::<4>() {
                    arrival.segment_bytes = i32::from_ne_bytes(*size) as usize;
                }
            }
            (_, _) => {}
        });
        arrival.segment_bytes = arrival.segment_bytes.max(1);
        Some(arrival)
    }
}

/// Walks control messages without a pointer: level, type and value of each.
fn each_control(
    words: &[u64; CONTROL_WORDS],
    bytes_used: usize,
    mut seen: impl FnMut(i32, i32, &[u8]),
) {
    let mut bytes = [0; CONTROL_WORDS * 8];
    for (eight, word) in bytes.chunks_exact_mut(8).zip(words) {
        eight.copy_from_slice(&word.to_ne_bytes());
    }
    let mut rest = &bytes[..bytes_used.min(bytes.len())];
    while let Some((header, _)) = rest.split_first_chunk::<16>() {
        let length = usize::from_ne_bytes(header[..8].try_into().unwrap_or_default());
        let level = i32::from_ne_bytes(header[8..12].try_into().unwrap_or_default());
        let kind = i32::from_ne_bytes(header[12..16].try_into().unwrap_or_default());
        let Some(value) = rest.get(16..length) else { return };
        seen(level, kind, value);
        rest = rest.get(length.next_multiple_of(8)..).unwrap_or_default();
    }
}

/// Datagrams that wait to be sent from one socket.
pub(crate) struct Outbox {
    bytes: Vec<u8>,
    ends: Vec<usize>,
    names: Vec<libc::sockaddr_in>,
    sources: Vec<Ipv4Addr>,
    sent: usize,
    controls: Vec<[u64; 4]>,
    vectors: Vec<libc::iovec>,
    headers: Vec<libc::mmsghdr>,
}

// SAFETY: as for `Inbox`: the pointers are written anew before each call.
unsafe impl Send for Outbox {}

impl Default for Outbox {
    fn default() -> Self {
        Outbox {
            bytes: Vec::new(),
            ends: Vec::new(),
            names: Vec::new(),
            sources: Vec::new(),
            sent: 0,
            controls: vec![[0; 4]; BATCH],
            vectors: (0..BATCH).map(|_| no_vector()).collect(),
            headers: (0..BATCH).map(|_| no_header()).collect(),
        }
    }
}

impl Outbox {
    /// Puts a datagram behind the others.
    pub(crate) fn push(&mut self, source: Ipv4Addr, to: SocketAddrV4, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        self.ends.push(self.bytes.len());
        self.sources.push(source);
        self.names.push(libc::sockaddr_in {
            sin_family: libc::AF_INET as u16,
            sin_port: to.port().to_be(),
            sin_addr: libc::in_addr { s_addr: u32::from(*to.ip()).to_be() },
            sin_zero: [0; 8],
        });
    }

    /// Datagrams that wait.
    pub(crate) fn len(&self) -> usize {
        self.ends.len() - self.sent
    }

    /// Sends until nothing waits or the kernel takes no more for now. What it refuses for good is
    /// dropped and counted.
    pub(crate) fn flush(&mut self, socket: &UdpSocket) -> io::Result<u64> {
        let mut refused = 0;
        while self.len() > 0 {
            match self.send_batch(socket) {
                Ok(0) => return Ok(refused),
                Ok(count) => self.sent += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // An ICMP answer to an earlier datagram, or no route: the first one is to blame.
                Err(_) => {
                    self.sent += 1;
                    refused += 1;
                }
            }
        }
        self.sent = 0;
        self.bytes.clear();
        self.ends.clear();
        self.names.clear();
        self.sources.clear();
        Ok(refused)
    }

    fn send_batch(&mut self, socket: &UdpSocket) -> io::Result<usize> {
        let count = self.len().min(BATCH);
        for place in 0..count {
            let datagram = self.sent + place;
            let start = datagram.checked_sub(1).map_or(0, |before| self.ends[before]);
            let bytes = &mut self.bytes[start..self.ends[datagram]];
            self.vectors[place] =
                libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
            self.controls[place] = source_control(self.sources[datagram]);
            let header = &mut self.headers[place].msg_hdr;
            header.msg_name = (&raw mut self.names[datagram]).cast();
            header.msg_namelen = size_of::<libc::sockaddr_in>() as u32;
            header.msg_iov = &raw mut self.vectors[place];
            header.msg_iovlen = 1;
            header.msg_control = self.controls[place].as_mut_ptr().cast();
            header.msg_controllen = size_of::<[u64; 4]>() as _;
        }
        // SAFETY: the first `count` headers were just pointed at memory of this value.
        let count = unsafe {
            libc::sendmmsg(
                socket.as_raw_fd(),
                self.headers.as_mut_ptr(),
                count as u32,
                libc::MSG_DONTWAIT,
            )
        };
        taken(count)
    }
}

/// An IP_PKTINFO message that names the address to send from.
fn source_control(source: Ipv4Addr) -> [u64; 4] {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&28_usize.to_ne_bytes());
    bytes[8..12].copy_from_slice(&libc::IPPROTO_IP.to_ne_bytes());
    bytes[12..16].copy_from_slice(&libc::IP_PKTINFO.to_ne_bytes());
    // in_pktinfo: the interface stays 0, then comes the local address.
    bytes[20..24].copy_from_slice(&source.octets());
    std::array::from_fn(|word| {
        u64::from_ne_bytes(bytes[word * 8..][..8].try_into().unwrap_or_default())
    })
}

/// Asks the kernel to say which address each datagram came to, and with `together` to hand over
/// datagrams of one burst in one piece.
pub(crate) fn set_up(socket: &UdpSocket, together: bool) -> io::Result<()> {
    set_option(socket, libc::IPPROTO_IP, libc::IP_PKTINFO, 1)?;
    // Packets that are never cut need no identification, which costs the kernel a tenth of a send.
    set_option(socket, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_DO)?;
    if together {
        set_option(socket, libc::SOL_UDP, libc::UDP_GRO, 1)?;
    }
    Ok(())
}

/// Makes the receive buffer large, beyond the system's limit where that is permitted.
pub(crate) fn force_receive_buffer(socket: &UdpSocket, bytes: i32) -> io::Result<()> {
    set_option(socket, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, bytes)
        .or_else(|_| set_option(socket, libc::SOL_SOCKET, libc::SO_RCVBUF, bytes))
}

/// Makes the send buffer large, beyond the system's limit where that is permitted.
pub(crate) fn force_send_buffer(socket: &UdpSocket, bytes: i32) -> io::Result<()> {
    set_option(socket, libc::SOL_SOCKET, libc::SO_SNDBUFFORCE, bytes)
        .or_else(|_| set_option(socket, libc::SOL_SOCKET, libc::SO_SNDBUF, bytes))
}

/// Datagrams that the kernel dropped because the receive buffer was full.
pub(crate) fn drops(socket: &UdpSocket) -> u64 {
    const DROPS: usize = 8; // SK_MEMINFO_DROPS of linux/sock_diag.h
    let mut words = [0_u32; 16];
    let mut bytes = size_of::<[u32; 16]>() as libc::socklen_t;
    // SAFETY: both pointers are to locals that outlive the call, and `bytes` says how long one is.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_MEMINFO,
            words.as_mut_ptr().cast(),
            &raw mut bytes,
        )
    };
    if result == 0 { u64::from(words[DROPS]) } else { 0 }
}

/// Sets an option of a socket whose value is a number.
pub(crate) fn set_option(
    socket: &impl AsRawFd,
    level: i32,
    name: i32,
    value: i32,
) -> io::Result<()> {
    // SAFETY: the pointer is to a local that outlives the call, and the length is its own.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            name,
            (&raw const value).cast(),
            size_of::<i32>() as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn taken(count: i32) -> io::Result<usize> {
    match usize::try_from(count) {
        Ok(count) => Ok(count),
        Err(_) => match io::Error::last_os_error() {
            error if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
            error => Err(error),
        },
    }
}

fn no_name() -> libc::sockaddr_in {
    // SAFETY: all zeroes is a valid sockaddr_in: numbers only.
    unsafe { zeroed() }
}

fn no_vector() -> libc::iovec {
    // SAFETY: all zeroes is a valid iovec: a null pointer and no length.
    unsafe { zeroed() }
}

fn no_header() -> libc::mmsghdr {
    // SAFETY: all zeroes is a valid mmsghdr: null pointers and no lengths.
    unsafe { zeroed() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn datagrams_leave_from_and_arrive_at_the_address_that_was_named() {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        let SocketAddr::V4(server_at) = server.local_addr().unwrap() else { panic!() };
        let phones = UdpSocket::bind("0.0.0.0:0").unwrap();
        set_up(&phones, false).unwrap();
        let mut outbox = Outbox::default();
        let count = BATCH + 3;
        for number in 0..count {
            outbox.push(Ipv4Addr::new(127, 1, 0, number as u8), server_at, &[number as u8; 9]);
        }
        assert_eq!(outbox.flush(&phones).unwrap(), 0);
        let mut buffer = [0; 64];
        for number in 0..count {
            let (bytes, from) = server.recv_from(&mut buffer).unwrap();
            assert_eq!(from.ip(), Ipv4Addr::new(127, 1, 0, number as u8));
            assert_eq!(buffer[..bytes], [number as u8; 9]);
            server.send_to(b"answer", from).unwrap();
        }
        let mut inbox = Inbox::new(2_048);
        let mut seen = 0;
        while seen < count {
            let batch = inbox.receive(&phones).unwrap();
            for place in 0..batch {
                let arrival = inbox.arrival(place).unwrap();
                assert_eq!(arrival.from, SocketAddr::V4(server_at));
                assert_eq!(arrival.to, Ipv4Addr::new(127, 1, 0, seen as u8));
                assert_eq!(arrival.bytes, b"answer");
                assert_eq!(arrival.segment_bytes, 6);
                seen += 1;
            }
        }
        assert_eq!(inbox.receive(&phones).unwrap(), 0);
        assert_eq!(drops(&phones), 0);
    }
}
