//! What all protocols on TCP share: what their sockets ask of a protocol's machine, and files on
//! their way out.
//!
//! Knows no protocol. The sockets are driven in `net/stream/`, by these values alone.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::catalog::OpenError;
use crate::catalog::blob::Blob;
use crate::protocol::Protocol;
use crate::requests::Ask;
use crate::session::{Failure, Handshake, Secured, Turn};
use crate::table::RowId;
use crate::ticket::Ticket;
use wire::time::Instant;

/// Bytes of a mapped file that are read at a time; a connection keeps no more in memory.
const PART_BYTES: u64 = 64 << 10;
/// A connection, as its row in the table of its protocol.
pub type ConnectionId = RowId;

/// A listening socket, as its place in the order in which they were added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListenerId(pub u16);

/// What to do with a connection now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Read, and hand over what came.
    Read,
    /// Send what [`Connections::outgoing`] lends.
    Write,
    /// Nothing: an answer or a moment is waited for.
    Wait,
    /// Say by [`Connections::handle_unacknowledged`] how much of what was sent has not arrived.
    Measure,
    /// Speak TLS from now on, as the listener's terms have it.
    StartTls,
    /// Send no more, but go on reading.
    Shut,
    /// Close.
    Close,
    /// Close, and keep nothing of what was sent and not read.
    Reset,
}

/// What to send now: a head, and behind it a payload. Either may be empty.
#[derive(Clone, Copy, Debug)]
pub struct Outgoing<'a> {
    /// Bytes of heads.
    pub head: &'a [u8],
    /// What follows.
    pub payload: Payload<'a>,
    /// Nothing comes behind it, and the connection is closed then.
    pub is_last: bool,
}

impl Outgoing<'_> {
    /// Nothing.
    pub const EMPTY: Outgoing<'static> =
        Outgoing { head: &[], payload: Payload::None, is_last: false };
}

/// Bytes of a body.
#[derive(Clone, Copy, Debug)]
pub enum Payload<'a> {
    /// None now.
    None,
    /// These.
    Bytes(&'a [u8]),
    /// So many bytes of a file.
    File {
        /// The file.
        blob: &'a Blob,
        /// Where they start.
        offset: u64,
        /// How many they are.
        bytes: u64,
    },
}

/// How a connection came to be secured.
#[derive(Clone, Copy, Debug, Default)]
pub struct Security {
    /// Version and suite.
    pub secured: Option<Secured>,
    /// The phone has shown a certificate that the listener trusts.
    pub certificate: bool,
    /// The mark of the connection whose session it resumes; none where it resumes none, or one
    /// that had no mark.
    pub resumes: Option<Mark>,
}

/// What tells the TLS sessions of one client from those of others, when they are resumed.
pub type Mark = [u8; 16];

/// Why a connection that this side makes is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DialFault {
    /// Nobody listens there.
    Refused,
    /// Nobody answered.
    Silent,
    /// There is no way there.
    Unreachable,
    /// Anything else.
    Other,
}

/// The connections of one protocol in a worker, as their sockets drive them.
pub trait Connections {
    /// What somebody is told, in clear, who spoke plain HTTP where TLS is spoken.
    const PLAIN_ANSWER: &'static [u8];

    /// Serves connections that come to one more address.
    fn add_listener(&mut self, address: SocketAddr, protocol: Protocol) -> ListenerId;

    /// Somebody has connected; nothing where it is one too many.
    fn handle_connected(
        &mut self,
        peer: SocketAddr,
        listener: ListenerId,
        turn: &mut Turn<'_>,
    ) -> Option<ConnectionId>;

    /// A connection that this side makes is there, or is not and closed. Not every protocol makes
    /// any.
    fn handle_dialed(&mut self, _: ConnectionId, _: Result<(), DialFault>, _: &mut Turn<'_>) {}

    /// What sessions of this connection are to be known by; none where nobody asks.
    fn mark(&self, id: ConnectionId) -> Option<Mark>;

    /// Whether more may be there although a read did not fill its room: the kernel ends one before
    /// an urgent byte.
    fn expects_more(&self, _: ConnectionId, _came: &[u8]) -> bool {
        false
    }

    /// Whether the client sends on this connection and reads nothing.
    fn is_one_way(&self, _: ConnectionId) -> bool {
        false
    }

    /// The connection is secured.
    fn handle_secured(&mut self, id: ConnectionId, security: Security, turn: &mut Turn<'_>);

    /// The connection could not be secured. It is to be closed.
    fn handle_handshake_failed(&mut self, id: ConnectionId, why: Handshake, turn: &mut Turn<'_>);

    /// Bytes came. They are taken, all of them.
    fn handle_bytes(&mut self, id: ConnectionId, bytes: &[u8], turn: &mut Turn<'_>);

    /// The other side sends nothing any more; it may still read.
    fn handle_end(&mut self, id: ConnectionId, turn: &mut Turn<'_>);

    /// The same without the word that TLS has for it: what came may not be all. It is, where the
    /// protocol says itself how much that is.
    fn handle_truncated(&mut self, id: ConnectionId, turn: &mut Turn<'_>) {
        self.handle_end(id, turn);
    }

    /// The other side will send nothing any more, though the machine has not read yet all that it
    /// sent before.
    fn handle_hangup(&mut self, _: ConnectionId, _: &mut Turn<'_>) {}

    /// The connection broke, or the other side closed it before it had everything.
    fn handle_gone(&mut self, id: ConnectionId, turn: &mut Turn<'_>);

    /// The system gave the connection up: the other side acknowledged nothing for too long.
    fn handle_given_up(&mut self, id: ConnectionId, turn: &mut Turn<'_>);

    /// The socket is closed once what is on its way out has left, or at that moment.
    fn handle_flushing(&mut self, id: ConnectionId, until: Instant);

    /// The file ended before its time: it was cut short while it was being sent.
    fn handle_cut(&mut self, id: ConnectionId, turn: &mut Turn<'_>);

    /// So many bytes of what was lent have left.
    fn handle_sent(&mut self, id: ConnectionId, bytes: usize, turn: &mut Turn<'_>);

    /// So many bytes of all that was sent has the other side not acknowledged. Said before
    /// [`Connections::handle_blocked`] and [`Connections::handle_gone`], and where it is asked for.
    fn handle_unacknowledged(&mut self, _: ConnectionId, _bytes: u64, _: &mut Turn<'_>) {}

    /// The socket has no room for more at the moment: the other side must read on in time.
    fn handle_blocked(&mut self, id: ConnectionId, turn: &mut Turn<'_>);

    /// The socket is closed; nothing of the connection is kept.
    fn handle_closed(&mut self, id: ConnectionId, turn: &mut Turn<'_>);

    /// What to do with a connection now.
    fn next(&mut self, id: ConnectionId) -> Next;

    /// What to send now. Meant for [`Next::Write`]; empty otherwise.
    fn outgoing(&self, id: ConnectionId) -> Outgoing<'_>;

    /// A connection that has something to do although its socket has no news.
    fn poll_ready(&mut self) -> Option<ConnectionId>;

    /// Whether [`Connections::poll_ready`] has anything.
    fn has_ready(&self) -> bool;

    /// When to call the machine's `handle_timeout` at the latest.
    fn poll_timeout(&self) -> Option<Instant>;
}

/// A file on its way out: so many bytes of it that are still to be sent.
///
/// A file that this process may not read itself, because it is mapped, is read by the loader, in
/// parts that are looked at before any of them leaves. The kernel never sends from the file itself:
/// what stands in a socket's queue would change with the file until the phone has acknowledged it.
#[derive(Debug)]
pub struct FilePart {
    blob: Arc<Blob>,
    at: u64,
    end: u64,
    way: Way,
}

/// How the bytes of a file get out.
#[derive(Debug)]
enum Way {
    /// As they are: nothing can change them.
    Straight,
    /// In parts that the loader reads.
    Read { part: Vec<u8>, used: usize, asked: bool },
}

impl FilePart {
    /// So many bytes of a file, which has them.
    #[must_use]
    pub fn new(blob: Arc<Blob>, first: u64, bytes: u64) -> Self {
        let way = match blob.is_mapped() {
            false => Way::Straight,
            true => Way::Read { part: Vec::new(), used: 0, asked: false },
        };
        FilePart { blob, at: first, end: first + bytes, way }
    }

    /// The file.
    #[must_use]
    pub fn blob(&self) -> &Arc<Blob> {
        &self.blob
    }

    /// Whether all of it has left.
    #[must_use]
    pub fn is_sent(&self) -> bool {
        self.at == self.end
    }

    /// What can leave now.
    #[must_use]
    pub fn payload(&self) -> Payload<'_> {
        match &self.way {
            Way::Straight if self.at < self.end => {
                let bytes = self.end - self.at;
                Payload::File { blob: &self.blob, offset: self.at, bytes }
            }
            Way::Read { part, used, .. } if *used < part.len() => Payload::Bytes(&part[*used..]),
            Way::Straight | Way::Read { .. } => Payload::None,
        }
    }

    /// So many bytes have left.
    pub fn advance(&mut self, bytes: u64) {
        self.at += bytes;
        debug_assert!(self.at <= self.end, "more was sent than was lent");
        if let Way::Read { used, .. } = &mut self.way {
            *used += bytes as usize;
        }
    }

    /// The question to ask before more can leave, if there is one.
    pub fn ask(&mut self, ticket: Ticket) -> Option<Ask> {
        let waits = self.at < self.end && matches!(self.payload(), Payload::None);
        match &mut self.way {
            Way::Read { part, used, asked: asked @ false } if waits => {
                *asked = true;
                *used = 0;
                let buffer = std::mem::take(part);
                let bytes = (self.end - self.at).min(PART_BYTES) as usize;
                let blob = Arc::clone(&self.blob);
                Some(Ask::Read { ticket, blob, offset: self.at, bytes, buffer })
            }
            Way::Straight | Way::Read { .. } => None,
        }
    }

    /// The loader had no room for the question: [`FilePart::ask`] may ask it again.
    pub fn handle_refused(&mut self) {
        match &mut self.way {
            Way::Straight => {}
            Way::Read { asked, .. } => *asked = false,
        }
    }

    /// The loader has answered. An answer that nobody waits for does nothing.
    ///
    /// # Errors
    /// Why the file cannot be sent any further.
    pub fn handle_read(&mut self, result: Result<Vec<u8>, OpenError>) -> Result<(), Failure> {
        let left = self.end - self.at;
        let Way::Read { part, used, asked: asked @ true } = &mut self.way else { return Ok(()) };
        match result {
            Ok(bytes) if bytes.len() as u64 <= left => {
                (*part, *used, *asked) = (bytes, 0, false);
                Ok(())
            }
            Ok(_) => Err(Failure::FileChanged),
            Err(fault) => Err(Failure::Open(fault)),
        }
    }
}
