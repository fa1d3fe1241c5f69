//! Datagrams in batches: `recvmmsg`, `sendmmsg`, and windows cut into datagrams by the kernel.
//!
//! All memory is there from the start; nothing is allocated per packet. Knows sockets and bytes,
//! never what they mean. Every `unsafe` of the network is here.
#![allow(unsafe_code)]

use std::io;
use std::mem::{size_of, zeroed};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;

use engine::session::tftp::{Payload, Transmit};

/// Datagrams taken by one `recvmmsg`.
pub(crate) const RECEIVE_BATCH: usize = 128;
/// Sends handed over by one `sendmmsg`.
pub(crate) const SEND_BATCH: usize = 128;
/// Pieces of memory in one batch of sends: header and payload of each block.
const PIECES_MAX: usize = 4_096;
/// Pieces in one send; the kernel's UIO_MAXIOV is 1,024.
const PIECES_PER_SEND_MAX: usize = 256;
/// Room for the control messages of one datagram, in bytes.
const CONTROL_BYTES: usize = 128;
/// Room for control messages of one send: source address and segment size, in bytes.
const _: () = assert!(CONTROL_BYTES >= 40 + 24 + 24);
const WORD: usize = size_of::<usize>();

#[derive(Clone, Copy)]
#[repr(C, align(8))]
struct Name([u8; 28]);

#[derive(Clone, Copy)]
#[repr(C, align(8))]
struct ControlBuffer([u8; CONTROL_BYTES]);

/// A datagram as the kernel gave it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Datagram<'a> {
    /// Who sent it.
    pub(crate) peer: SocketAddr,
    /// Where it was sent to.
    pub(crate) to: Option<IpAddr>,
    /// The address of this host that it came to, which differs from `to` for a broadcast.
    pub(crate) from: Option<IpAddr>,
    /// The interface that it came by; 0 when the kernel does not say.
    pub(crate) interface: u32,
    /// Datagrams that the socket's full buffer has cost since it was opened, where the kernel says.
    pub(crate) drops: Option<u32>,
    /// Its bytes.
    pub(crate) bytes: &'a [u8],
}

/// Memory for one batch of datagrams coming in.
pub(crate) struct Inbox {
    bytes: Box<[u8]>,
    datagram_bytes_max: usize,
    names: Box<[Name]>,
    controls: Box<[ControlBuffer]>,
    lengths: Box<[Length]>,
    headers: Box<[libc::mmsghdr]>,
    pieces: Box<[libc::iovec]>,
}

// SAFETY: the raw pointers in `headers` and `pieces` only ever point into the other boxes of the
// same value, which move with it and are never shared.
unsafe impl Send for Inbox {}

#[derive(Clone, Copy, Default)]
struct Length {
    bytes: usize,
    control: usize,
    truncated: bool,
}

impl Inbox {
    /// Room for datagrams of up to `datagram_bytes_max` bytes; longer ones are dropped.
    #[must_use]
    pub(crate) fn new(datagram_bytes_max: usize) -> Self {
        Inbox {
            bytes: vec![0; datagram_bytes_max * RECEIVE_BATCH].into_boxed_slice(),
            datagram_bytes_max,
            names: vec![Name([0; 28]); RECEIVE_BATCH].into_boxed_slice(),
            controls: vec![ControlBuffer([0; CONTROL_BYTES]); RECEIVE_BATCH].into_boxed_slice(),
            lengths: vec![Length::default(); RECEIVE_BATCH].into_boxed_slice(),
            headers: empty_headers(RECEIVE_BATCH),
            pieces: empty_pieces(RECEIVE_BATCH),
        }
    }

    /// Bytes of the longest datagram that is taken.
    #[must_use]
    pub(crate) fn datagram_bytes_max(&self) -> usize {
        self.datagram_bytes_max
    }

    /// Takes what waits at a socket, at most [`RECEIVE_BATCH`] datagrams.
    ///
    /// # Errors
    /// What the kernel says, `WouldBlock` when nothing waits.
    pub(crate) fn receive(&mut self, socket: BorrowedFd<'_>) -> io::Result<usize> {
        let rooms = self.bytes.chunks_exact_mut(self.datagram_bytes_max);
        for (index, room) in rooms.enumerate() {
            self.pieces[index] =
                libc::iovec { iov_base: room.as_mut_ptr().cast(), iov_len: room.len() };
            let header = &mut self.headers[index].msg_hdr;
            header.msg_name = self.names[index].0.as_mut_ptr().cast();
            header.msg_namelen = 28;
            header.msg_iov = &raw mut self.pieces[index];
            header.msg_iovlen = 1;
            header.msg_control = self.controls[index].0.as_mut_ptr().cast();
            header.msg_controllen = CONTROL_BYTES as _;
            header.msg_flags = 0;
        }
        let (fd, count) = (socket.as_raw_fd(), RECEIVE_BATCH as u32);
        // SAFETY: `headers` holds RECEIVE_BATCH entries, each of whose pointers was just set to
        // memory of the stated size that this value owns and nobody else touches meanwhile.
        let taken = unsafe {
            libc::recvmmsg(
                fd,
                self.headers.as_mut_ptr(),
                count,
                libc::MSG_DONTWAIT as _,
                ptr::null_mut(),
            )
        };
        let taken = usize::try_from(taken).map_err(|_| io::Error::last_os_error())?;
        for (length, header) in self.lengths.iter_mut().zip(&self.headers[..taken]) {
            *length = Length {
                bytes: header.msg_len as usize,
                control: header.msg_hdr.msg_controllen,
                truncated: header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0,
            };
        }
        Ok(taken)
    }

    /// Datagram number `index` of the last batch; `None` when it was longer than its room or came
    /// from nowhere.
    #[must_use]
    pub(crate) fn datagram(&self, index: usize) -> Option<Datagram<'_>> {
        let length = self.lengths.get(index).filter(|length| !length.truncated)?;
        let start = index * self.datagram_bytes_max;
        let mut datagram = Datagram {
            peer: read_name(&self.names[index])?,
            to: None,
            from: None,
            interface: 0,
            drops: None,
            bytes: self.bytes.get(start..start + length.bytes)?,
        };
        let control = self.controls[index].0.get(..length.control)?;
        read_control(control, &mut datagram);
        Some(datagram)
    }
}

/// How a batch of sends went.
#[derive(Debug)]
pub(crate) struct Sent {
    /// Sends that the kernel took, from the first on.
    pub(crate) count: usize,
    /// Why it did not take the next one, if there was a next one.
    pub(crate) fault: Option<io::Error>,
}

/// Memory for one batch of sends.
pub(crate) struct Outbox {
    names: Box<[Name]>,
    controls: Box<[ControlBuffer]>,
    headers: Box<[libc::mmsghdr]>,
    pieces: Box<[libc::iovec]>,
    block_headers: Box<[[u8; 4]]>,
    packets: Box<[wire::tftp::Control]>,
    /// Whether the socket of this batch is bound to one address.
    one_address: bool,
    /// Whether the kernel cuts windows into datagrams (UDP_SEGMENT, Linux 4.18).
    segments: bool,
}

// SAFETY: as for `Inbox`; the pointers to payloads are set and used within one call of `send`.
unsafe impl Send for Outbox {}

impl Default for Outbox {
    fn default() -> Self {
        let packet = wire::tftp::Control::ack(wire::tftp::Block(0));
        Outbox {
            names: vec![Name([0; 28]); SEND_BATCH].into_boxed_slice(),
            controls: vec![ControlBuffer([0; CONTROL_BYTES]); SEND_BATCH].into_boxed_slice(),
            headers: empty_headers(SEND_BATCH),
            pieces: empty_pieces(PIECES_MAX),
            block_headers: vec![[0; 4]; PIECES_MAX].into_boxed_slice(),
            packets: vec![packet; SEND_BATCH].into_boxed_slice(),
            one_address: false,
            segments: true,
        }
    }
}

impl Outbox {
    /// Hands sends to the kernel, as many as one batch holds. A socket that is bound to one address
    /// needs not be told with each send which one to use.
    pub(crate) fn send<'a>(
        &mut self,
        socket: BorrowedFd<'_>,
        transmits: impl Iterator<Item = Transmit<'a>>,
        one_address: bool,
    ) -> Sent {
        self.one_address = one_address;
        let (mut messages, mut pieces, mut first) = (0, 0, None);
        for transmit in transmits.take(SEND_BATCH) {
            let in_segments =
                matches!(transmit.payload, Payload::Blocks(blocks) if blocks.count > 1);
            if in_segments && !self.segments && messages == 0 {
                return self.send_singly(socket, transmit);
            }
            if (in_segments && !self.segments) || pieces + PIECES_PER_SEND_MAX > PIECES_MAX {
                break;
            }
            first = first.or(Some(transmit));
            let start = pieces;
            let segment = self.add_pieces(messages, &transmit.payload, &mut pieces);
            self.add_message(messages, &transmit, start..pieces, segment);
            messages += 1;
        }
        let Some(first) = first else { return Sent { count: 0, fault: None } };
        match self.hand_over(socket, messages) {
            Sent { count: 0, fault: Some(fault) } if is_segment_fault(&fault) => {
                // This kernel, this device or this block size cannot be cut into segments.
                self.segments &= fault.raw_os_error() == Some(libc::EINVAL);
                self.send_singly(socket, first)
            }
            sent => sent,
        }
    }

    /// One send whose blocks leave as datagrams of their own. What the kernel does not take of
    /// them is lost on the way like any other datagram, and sent again when the phone asks.
    fn send_singly(&mut self, socket: BorrowedFd<'_>, transmit: Transmit<'_>) -> Sent {
        let Payload::Blocks(blocks) = transmit.payload else {
            return Sent { count: 0, fault: Some(io::ErrorKind::Unsupported.into()) };
        };
        let (mut messages, mut pieces) = (0, 0);
        for block in blocks.singly() {
            let start = pieces;
            let single = Transmit { payload: Payload::Blocks(block), ..transmit };
            self.add_pieces(messages, &single.payload, &mut pieces);
            self.add_message(messages, &single, start..pieces, None);
            messages += 1;
        }
        match self.hand_over(socket, messages) {
            Sent { count: 1.., .. } => Sent { count: 1, fault: None },
            refused => refused,
        }
    }

    fn hand_over(&mut self, socket: BorrowedFd<'_>, messages: usize) -> Sent {
        let (fd, count) = (socket.as_raw_fd(), messages as u32);
        // SAFETY: the first `messages` headers were just set; their names, controls, headers of
        // blocks and packets lie in this value, and their payloads in blobs that the callers
        // borrow until this returns. The kernel only reads them, so that a mapped file that was
        // cut short gives EFAULT instead of a signal.
        let taken = unsafe {
            libc::sendmmsg(fd, self.headers.as_mut_ptr(), count, libc::MSG_DONTWAIT as _)
        };
        // The kernel tells the fault of a later send only when that one comes first.
        match usize::try_from(taken) {
            Ok(count) => Sent { count, fault: None },
            Err(_) => Sent { count: 0, fault: Some(io::Error::last_os_error()) },
        }
    }

    /// Lays out the memory of one send; says the size of a segment where there are several.
    fn add_pieces(
        &mut self,
        message: usize,
        payload: &Payload<'_>,
        next: &mut usize,
    ) -> Option<u16> {
        match payload {
            Payload::Control(lone) => {
                self.packets[message] = lone.packet();
                let bytes = self.packets[message].as_bytes();
                self.pieces[*next] = piece(bytes.as_ptr(), bytes.len());
                *next += 1;
                None
            }
            Payload::Blocks(blocks) => {
                for (header, span) in blocks.datagrams() {
                    self.block_headers[*next] = header;
                    let header = self.block_headers[*next].as_ptr();
                    self.pieces[*next] = piece(header, 4);
                    self.pieces[*next + 1] = piece(span.start(), span.bytes());
                    *next += 2;
                }
                (blocks.count > 1).then_some(blocks.blksize + 4)
            }
        }
    }

    fn add_message(
        &mut self,
        message: usize,
        transmit: &Transmit<'_>,
        pieces: std::ops::Range<usize>,
        segment: Option<u16>,
    ) {
        let name_bytes = write_name(transmit.peer, &mut self.names[message]);
        let control = &mut self.controls[message].0;
        let mut control_bytes = 0;
        if let Some(from) = transmit.from.filter(|_| !self.one_address) {
            control_bytes = write_source(from, control);
        }
        if let Some(segment) = segment {
            let rest = &mut control[control_bytes..];
            control_bytes +=
                write_control(rest, libc::SOL_UDP, libc::UDP_SEGMENT, &segment.to_ne_bytes());
        }
        let header = &mut self.headers[message].msg_hdr;
        header.msg_name = self.names[message].0.as_mut_ptr().cast();
        header.msg_namelen = name_bytes;
        header.msg_iov = &raw mut self.pieces[pieces.start];
        header.msg_iovlen = pieces.len() as _;
        header.msg_control = match control_bytes {
            0 => ptr::null_mut(),
            _ => self.controls[message].0.as_mut_ptr().cast(),
        };
        header.msg_controllen = control_bytes as _;
        header.msg_flags = 0;
    }
}

/// Whether an error says that this kernel or device cannot cut segments.
fn is_segment_fault(fault: &io::Error) -> bool {
    matches!(fault.raw_os_error(), Some(libc::EIO | libc::EINVAL | libc::ENOPROTOOPT))
}

/// Sets a whole-number socket option that `socket2` does not know.
///
/// # Errors
/// What the kernel says.
pub(crate) fn set_option(
    socket: BorrowedFd<'_>,
    level: i32,
    name: i32,
    value: i32,
) -> io::Result<()> {
    set_raw(socket, level, name, &value)
}

/// Bytes that a TCP socket was given and the other side has not acknowledged (tcp(7), `SIOCOUTQ`).
/// 0 where the kernel does not say.
#[must_use]
pub(crate) fn unacknowledged(socket: BorrowedFd<'_>) -> u64 {
    let mut bytes: libc::c_int = 0;
    // SAFETY: the kernel writes one `int`, which lives until it has, and nothing else.
    let done = unsafe { libc::ioctl(socket.as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) };
    if done == 0 { u64::try_from(bytes).unwrap_or(0) } else { 0 }
}

/// Sets a socket option from a plain value.
pub(crate) fn set_raw<T>(
    socket: BorrowedFd<'_>,
    level: i32,
    name: i32,
    value: &T,
) -> io::Result<()> {
    let bytes = size_of::<T>() as libc::socklen_t;
    // SAFETY: `value` is a live value of `bytes` bytes, and what it points to lives in the caller.
    let done = unsafe {
        libc::setsockopt(socket.as_raw_fd(), level, name, ptr::from_ref(value).cast(), bytes)
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn empty_headers(count: usize) -> Box<[libc::mmsghdr]> {
    // SAFETY: all zeroes is a header that names no memory at all.
    let empty: libc::mmsghdr = unsafe { zeroed() };
    vec![empty; count].into_boxed_slice()
}

fn empty_pieces(count: usize) -> Box<[libc::iovec]> {
    vec![libc::iovec { iov_base: ptr::null_mut(), iov_len: 0 }; count].into_boxed_slice()
}

fn piece(start: *const u8, bytes: usize) -> libc::iovec {
    libc::iovec { iov_base: start.cast_mut().cast(), iov_len: bytes }
}

/// Writes an address as the kernel wants it; says how many bytes that took.
fn write_name(peer: SocketAddr, name: &mut Name) -> libc::socklen_t {
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

fn read_name(name: &Name) -> Option<SocketAddr> {
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

/// Reads which address was asked, by which interface, and how many datagrams were dropped.
fn read_control(mut rest: &[u8], datagram: &mut Datagram<'_>) {
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

/// The first control message of a buffer: level, kind, payload, and the rest of the buffer.
fn next_control(bytes: &[u8]) -> Option<(i32, i32, &[u8], &[u8])> {
    let length = usize::from_ne_bytes(*bytes.first_chunk()?);
    let level = i32::from_ne_bytes(*bytes.get(WORD..)?.first_chunk()?);
    let kind = i32::from_ne_bytes(*bytes.get(WORD + 4..)?.first_chunk()?);
    let payload = bytes.get(WORD + 8..length)?;
    let rest = bytes.get(length.next_multiple_of(WORD)..).unwrap_or_default();
    Some((level, kind, payload, rest))
}

/// Writes one control message; says how many bytes of the buffer it took.
fn write_control(buffer: &mut [u8], level: i32, kind: i32, payload: &[u8]) -> usize {
    let length = WORD + 8 + payload.len();
    let space = length.next_multiple_of(WORD);
    buffer[..space].fill(0);
    buffer[..WORD].copy_from_slice(&length.to_ne_bytes());
    buffer[WORD..WORD + 4].copy_from_slice(&level.to_ne_bytes());
    buffer[WORD + 4..WORD + 8].copy_from_slice(&kind.to_ne_bytes());
    buffer[WORD + 8..length].copy_from_slice(payload);
    space
}

/// Says which address a datagram leaves from.
fn write_source(from: IpAddr, buffer: &mut [u8]) -> usize {
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
