//! Datagrams one by one, as every system has them.
//!
//! Copies each into room that is there from the start. What only Linux tells stays unknown: the
//! address that was asked, the interface, what was dropped, who is not there.

use std::io;
use std::net::SocketAddr;

use mio::net::UdpSocket;
use socket2::Socket;

use crate::sys::udp::{Datagram, RECEIVE_BATCH, Received, SEND_BATCH, SendFault, Sent};
use engine::session::tftp::{Payload, Transmit};
use store::content::BlobExt as _;

/// EMSGSIZE as Linux and the other Unixes number it, or Windows' WSAEMSGSIZE.
const TOO_LONG: &[i32] = if cfg!(windows) { &[10_040] } else { &[90, 40] };

/// Room for the datagrams of one look at a socket.
pub(crate) struct Inbox {
    bytes: Box<[u8]>,
    datagram_bytes_max: usize,
    /// Who sent each, and how long it is.
    taken: Box<[Option<(SocketAddr, usize)>]>,
}

impl Inbox {
    /// Room for datagrams of up to `datagram_bytes_max` bytes; longer ones are dropped.
    #[must_use]
    pub(crate) fn new(datagram_bytes_max: usize) -> Self {
        // One byte more, for what is longer to be known by.
        Inbox {
            bytes: vec![0; (datagram_bytes_max + 1) * RECEIVE_BATCH].into_boxed_slice(),
            datagram_bytes_max,
            taken: vec![None; RECEIVE_BATCH].into_boxed_slice(),
        }
    }

    /// Bytes of the longest datagram that is taken.
    #[must_use]
    pub(crate) fn datagram_bytes_max(&self) -> usize {
        self.datagram_bytes_max
    }

    /// Takes what waits at a socket, at most one batch.
    ///
    /// # Errors
    /// What the system says of the first one, `WouldBlock` when nothing waits.
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

    /// Datagram number `index` of the last batch; `None` when it was longer than its room.
    #[must_use]
    pub(crate) fn datagram(&self, index: usize) -> Option<Datagram<'_>> {
        let (peer, bytes) = (*self.taken.get(index)?)?;
        let start = index * (self.datagram_bytes_max + 1);
        let bytes = self.bytes.get(start..start + bytes)?;
        let datagram = Datagram { peer, to: None, from: None, interface: 0, drops: None, bytes };
        (bytes.len() <= self.datagram_bytes_max).then_some(datagram)
    }
}

/// Room for one datagram on its way out.
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
                // The fault of a later send is told when that one comes first.
                Err(fault) => {
                    return Sent { count, fault: Some(fault).filter(|_| count == 0) };
                }
            }
        }
        Sent { count, fault: None }
    }

    /// Sends one packet, or the datagrams of a burst. What the system does not take of them after
    /// the first is lost on the way like any other datagram, and sent again when the phone asks.
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
                    // The loader has just had it read in, so that it does not come from the disk.
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

/// Sets what every socket of ours needs before it is bound: nothing that every system knows.
///
/// # Errors
/// None; other systems have some.
#[expect(clippy::unnecessary_wraps, reason = "other systems can refuse")]
pub(crate) fn prepare(_: &Socket, _: SocketAddr) -> io::Result<()> {
    Ok(())
}

/// Lets a socket send fragments: it may all the time.
///
/// # Errors
/// None; other systems have some.
#[expect(clippy::unnecessary_wraps, reason = "other systems can refuse")]
pub(crate) fn allow_fragments(_: &UdpSocket) -> io::Result<()> {
    Ok(())
}

/// Takes what the network has said of earlier sends; says whether there was anything. Here that is
/// never told aside: the next call that reads is told of it.
pub(crate) fn take_errors(_: &UdpSocket, _: impl FnMut(SocketAddr)) -> bool {
    false
}
