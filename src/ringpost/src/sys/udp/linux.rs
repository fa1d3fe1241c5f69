//! Datagrams in batches: `recvmmsg`, `sendmmsg`, and windows cut into datagrams by the kernel.
//!
//! All memory is allocated at the start, none per packet. Knows sockets and bytes, never their
//! meaning.
#![allow(unsafe_code)]

mod control;
mod errors;

use std::mem::zeroed;
use std::net::SocketAddr;
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::{io, ptr};

use mio::net::UdpSocket;
use socket2::Socket;

use crate::sys::options::set_option;
use crate::sys::udp::{Datagram, RECEIVE_BATCH, Received, SEND_BATCH, SendFault, Sent};
use control::{
    CONTROL_BYTES, ControlBuffer, Name, read_control, read_name, write_control, write_name,
    write_source,
};
use engine::session::tftp::{Payload, Transmit};
pub(crate) use errors::take_errors;

/// Most pieces of memory in one batch of sends: header and payload of each block.
const PIECES_MAX: usize = 4_096;
/// Most pieces in one send; the kernel's UIO_MAXIOV is 1,024.
const PIECES_PER_SEND_MAX: usize = 256;
/// Memory for one batch of received datagrams.
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
    /// Allocates room for datagrams of up to `datagram_bytes_max` bytes; longer ones are dropped.
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

    /// Returns the size of the longest accepted datagram.
    #[must_use]
    pub(crate) fn datagram_bytes_max(&self) -> usize {
        self.datagram_bytes_max
    }

    /// Receives what waits at a socket, at most one batch.
    ///
    /// # Errors The kernel's error, `WouldBlock` if nothing waits.
    pub(crate) fn receive(&mut self, socket: &UdpSocket) -> io::Result<Received> {
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
        // memory of the stated size that this value owns and no other code touches meanwhile.
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
        // Fewer than requested: the queue is empty.
        Ok(Received { count: taken, is_all: taken < RECEIVE_BATCH })
    }

    /// Returns datagram number `index` of the last batch, or `None` if it was longer than its room
    /// or has no sender.
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
    /// Passes sends to the kernel, as many as one batch holds. A socket that is bound to one
    /// address needs no source address with each send.
    pub(crate) fn send<'a>(
        &mut self,
        socket: &UdpSocket,
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
            Err(fault) if is_segment_fault(&fault) => {
                // This kernel, this device or this block size does not support segmentation.
                self.segments &= fault.raw_os_error() == Some(libc::EINVAL);
                self.send_singly(socket, first)
            }
            taken => sent(taken),
        }
    }

    /// Sends each block as a datagram of its own. Those that the kernel does not take are lost like
    /// any other datagram, and sent again when the phone asks.
    fn send_singly(&mut self, socket: &UdpSocket, transmit: Transmit<'_>) -> Sent {
        let Payload::Blocks(blocks) = transmit.payload else {
            return Sent { count: 0, fault: Some(SendFault::Refused) };
        };
        let (mut messages, mut pieces) = (0, 0);
        for block in blocks.singly() {
            let start = pieces;
            let single = Transmit { payload: Payload::Blocks(block), ..transmit };
            self.add_pieces(messages, &single.payload, &mut pieces);
            self.add_message(messages, &single, start..pieces, None);
            messages += 1;
        }
        sent(self.hand_over(socket, messages).map(|taken| taken.min(1)))
    }

    fn hand_over(&mut self, socket: &UdpSocket, messages: usize) -> io::Result<usize> {
        let (fd, count) = (socket.as_raw_fd(), messages as u32);
        // SAFETY: the first `messages` headers were just set; their names, controls, headers of
        // blocks and packets lie in this value, and their payloads in blobs that the callers
        // borrow until this returns. The kernel only reads them, so that a mapped file that was
        // cut short gives EFAULT instead of a signal.
        let taken = unsafe {
            libc::sendmmsg(fd, self.headers.as_mut_ptr(), count, libc::MSG_DONTWAIT as _)
        };
        // The error of a later send is only reported when that one comes first.
        usize::try_from(taken).map_err(|_| io::Error::last_os_error())
    }

    /// Lays out the memory of one send; returns the segment size if there are several segments.
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

/// Translates the result of a batch.
fn sent(taken: io::Result<usize>) -> Sent {
    let fault = match taken {
        Ok(count) => return Sent { count, fault: None },
        Err(fault) => fault,
    };
    let fault = match fault.raw_os_error() {
        Some(libc::EAGAIN | libc::ENOBUFS | libc::ENOMEM) => SendFault::Full,
        Some(libc::EINTR) => SendFault::Interrupted,
        Some(libc::EMSGSIZE) => SendFault::TooLong,
        Some(libc::EFAULT) => SendFault::FileCut,
        Some(_) | None => SendFault::Refused,
    };
    Sent { count: 0, fault: Some(fault) }
}

/// Returns whether an error says that this kernel or device does not support segmentation.
fn is_segment_fault(fault: &io::Error) -> bool {
    matches!(fault.raw_os_error(), Some(libc::EIO | libc::EINVAL | libc::ENOPROTOOPT))
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

/// Sets the common options of our sockets before they are bound: report the destination address and
/// the number of dropped datagrams, report unreachable peers, and never fragment.
///
/// # Errors The kernel's error.
pub(crate) fn prepare(socket: &Socket, address: SocketAddr) -> io::Result<()> {
    let (level, option) = match address {
        SocketAddr::V4(_) => (libc::IPPROTO_IP, libc::IP_PKTINFO),
        SocketAddr::V6(_) => (libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO),
    };
    set_option(socket.as_fd(), level, option, 1)?;
    set_option(socket.as_fd(), libc::SOL_SOCKET, libc::SO_RXQ_OVFL, 1)?;
    errors::enable(socket.as_fd(), address)?;
    if address.is_ipv4() {
        set_option(socket.as_fd(), level, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_DO)?;
    }
    Ok(())
}

/// Lets a socket send fragments from now on. Until then packets are never fragmented, which spares
/// the kernel a unique number for each; if a path is narrower than its interface, phones behind it
/// must be served nevertheless.
///
/// # Errors The kernel's error.
pub(crate) fn allow_fragments(socket: &UdpSocket) -> io::Result<()> {
    let (level, option) = (libc::IPPROTO_IP, libc::IP_MTU_DISCOVER);
    set_option(socket.as_fd(), level, option, libc::IP_PMTUDISC_WANT)
}
