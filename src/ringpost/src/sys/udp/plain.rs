//! Datagrams one by one, on every system.
//!
//! Copies each into preallocated room. What only Linux reports stays unknown: the destination
//! address, the interface, dropped datagrams, unreachable peers.

use std::io;
use std::net::SocketAddr;

use mio::net::UdpSocket;
use socket2::Socket;

use crate::sys::udp::{Datagram, RECEIVE_BATCH, Received, SEND_BATCH, SendFault, Sent};
use engine::session::tftp::{Payload, Transmit};
use store::content::BlobExt as _;

/// EMSGSIZE as Linux and the other Unixes number it, or Windows' WSAEMSGSIZE.
const TOO_LONG: &[i32] = if cfg!(windows) { &[10_040] } else { &[90, 40] };

/// Room for the datagrams of one receive call.
pub(crate) struct Inbox {
    bytes: Box<[u8]>,
    datagram_bytes_max: usize,
    /// The sender and the length of each.
    taken: Box<[Option<(SocketAddr, usize)>]>,
}

impl Inbox {
    /// Allocates room for datagrams of up to `datagram_bytes_max` bytes; longer ones are dropped.
    #[must_use]
    pub(crate) fn new(datagram_bytes_max: usize) -> Self {
        // One byte more, to detect longer ones.
        Inbox {
            bytes: vec![0; (datagram_bytes_max + 1) * RECEIVE_BATCH].into_boxed_slice(),
            datagram_bytes_max,
            taken: vec![None; RECEIVE_BATCH].into_boxed_slice(),
        }
    }

    /// Returns the size of the longest accepted datagram.
    #[must_use]
    pub(crate) fn datagram_bytes_max(&self) -> usize {
        self.datagram_bytes_max
    }

    /// Receives what waits at a socket, at most one batch.
    ///
    /// # Errors The system's error of the first one, `WouldBlock` if nothing waits.
    pub(crate) fn receive(&mut self, socket: &UdpSocket) -> io::Result<Received> {
        let rooms = self.bytes.chunks_exact_mut(self.datagram_bytes_max + 1);
        for (count, (room, taken)) in rooms.zip(&mut self.taken).enumerate() {
            match socket.recv_from(room) {
                Ok((bytes, peer)) => *taken = Some((peer, bytes)),
                Err(fault) if count == 0 => return Err(fault),
                Err(fault) => {
                    let is_all = fault.kind() == io::ErrorKind::WouldBlock;
                    return Ok(Received { count, is_all });
                }
            }
        }
        Ok(Received { count: RECEIVE_BATCH, is_all: false })
    }

    /// Returns datagram number `index` of the last batch, or `None` if it was longer than its room.
    #[must_use]
    pub(crate) fn datagram(&self, index: usize) -> Option<Datagram<'_>> {
        let (peer, bytes) = (*self.taken.get(index)?)?;
        let start = index * (self.datagram_bytes_max + 1);
        let bytes = self.bytes.get(start..start + bytes)?;
        let datagram = Datagram { peer, to: None, from: None, interface: 0, drops: None, bytes };
        (bytes.len() <= self.datagram_bytes_max).then_some(datagram)
    }
}

/// Room for one outgoing datagram.
#[derive(Default)]
pub(crate) struct Outbox {
    datagram: Vec<u8>,
    /// Bytes of a file that is not in memory.
    part: Vec<u8>,
}

impl Outbox {
    /// Sends as many as one batch holds.
    pub(crate) fn send<'a>(
        &mut self,
        socket: &UdpSocket,
        transmits: impl Iterator<Item = Transmit<'a>>,
        _one_address: bool,
    ) -> Sent {
        let mut count = 0;
        for transmit in transmits.take(SEND_BATCH) {
            match self.send_one(socket, &transmit) {
                Ok(()) => count += 1,
                // The error of a later send is reported when that one comes first.
                Err(fault) => {
                    return Sent { count, fault: Some(fault).filter(|_| count == 0) };
                }
            }
        }
        Sent { count, fault: None }
    }

    /// Sends one packet, or the datagrams of a burst. Those that the system does not take after the
    /// first are lost like any other datagram, and sent again when the phone asks.
    fn send_one(&mut self, socket: &UdpSocket, transmit: &Transmit<'_>) -> Result<(), SendFault> {
        let blocks = match transmit.payload {
            Payload::Control(lone) => {
                let sent = socket.send_to(lone.packet().as_bytes(), transmit.peer);
                return sent.map(drop).map_err(|fault| send_fault(&fault));
            }
            Payload::Blocks(blocks) => blocks,
        };
        let mut offset = (blocks.first - 1) * u64::from(blocks.blksize);
        for (number, (header, span)) in blocks.datagrams().enumerate() {
            self.datagram.clear();
            self.datagram.extend_from_slice(&header);
            let at = usize::try_from(offset).unwrap_or(usize::MAX);
            if span.bytes() > 0 {
                let all = blocks.blob.as_slice();
                let bytes = match all.and_then(|all| all.get(at..at + span.bytes())) {
                    Some(bytes) => bytes,
                    // The loader has just read it in, so it does not come from the disk.
                    None => {
                        let read = blocks.blob.read(offset, span.bytes(), &mut self.part);
                        read.map_err(|_| SendFault::FileCut)?;
                        &self.part
                    }
                };
                self.datagram.extend_from_slice(bytes);
            }
            match socket.send_to(&self.datagram, transmit.peer) {
                Ok(_) => offset += u64::from(blocks.blksize),
                Err(fault) if number == 0 => return Err(send_fault(&fault)),
                Err(_) => break,
            }
        }
        Ok(())
    }
}

fn send_fault(fault: &io::Error) -> SendFault {
    let kind = fault.kind();
    if kind == io::ErrorKind::WouldBlock || kind == io::ErrorKind::OutOfMemory {
        SendFault::Full
    } else if kind == io::ErrorKind::Interrupted {
        SendFault::Interrupted
    } else if fault.raw_os_error().is_some_and(|code| TOO_LONG.contains(&code)) {
        SendFault::TooLong
    } else {
        SendFault::Refused
    }
}

/// Would set the common options of our sockets; no option exists on every system.
///
/// # Errors None; other systems have some.
#[expect(clippy::unnecessary_wraps, reason = "other systems can refuse")]
pub(crate) fn prepare(_: &Socket, _: SocketAddr) -> io::Result<()> {
    Ok(())
}

/// Would let a socket send fragments; it always may.
///
/// # Errors None; other systems have some.
#[expect(clippy::unnecessary_wraps, reason = "other systems can refuse")]
pub(crate) fn allow_fragments(_: &UdpSocket) -> io::Result<()> {
    Ok(())
}

/// Would read the network's errors of earlier sends; here the next receive call reports them.
pub(crate) fn take_errors(_: &UdpSocket, _: impl FnMut(SocketAddr)) -> bool {
    false
}
