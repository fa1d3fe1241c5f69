//! What all protocols over TCP share: the interface between their sockets and their engines, and
//! files being sent.
//!
//! Knows no protocol. `net/stream/` drives the sockets, by these values alone.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::catalog::OpenError;
use crate::catalog::blob::Blob;
use crate::protocol::Protocol;
use crate::requests::StoreRequest;
use crate::session::{Failure, Handshake, Secured, TurnContext};
use crate::table::RowId;
use crate::ticket::Ticket;
use wire::time::Instant;

/// Bytes of a mapped file that are read at a time; a connection keeps no more in memory.
const PART_BYTES: u64 = 64 << 10;
/// A connection, as its row in the table of its protocol.
pub type ConnectionId = RowId;

/// A listening socket, as its index in the order in which they were added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListenerId(pub u16);

/// What to do with a connection next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Read, and pass on the bytes.
    Read,
    /// Send what [`Connections::outgoing`] lends.
    Write,
    /// Nothing: it waits for an answer or a moment.
    Wait,
    /// Report by [`Connections::handle_unacknowledged`] how many sent bytes have not arrived.
    Measure,
    /// Start TLS, as the listener's terms say.
    StartTls,
    /// Shut down sending, but go on reading.
    Shut,
    /// Close.
    Close,
    /// Close, and drop what was sent but not read.
    Reset,
}

/// What to send next: a head, followed by a payload. Either may be empty.
#[derive(Clone, Copy, Debug)]
pub struct Outgoing<'a> {
    /// Bytes of heads.
    pub head: &'a [u8],
    /// The bytes after them.
    pub payload: Payload<'a>,
    /// Whether nothing follows, so that the connection is closed after it.
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
        /// The offset of the first one.
        offset: u64,
        /// How many.
        bytes: u64,
    },
}

/// How a connection was secured.
#[derive(Clone, Copy, Debug, Default)]
pub struct Security {
    /// Version and suite.
    pub secured: Option<Secured>,
    /// Whether the client sent a certificate that the listener trusts.
    pub certificate: bool,
    /// The mark of the connection whose session it resumes, or `None` if it resumes none, or one
    /// without a mark.
    pub resumes: Option<Mark>,
}

/// Distinguishes the TLS sessions of one client from those of others when they are resumed.
pub type Mark = [u8; 16];

/// Why an outgoing connection failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DialFault {
    /// No socket listens there.
    Refused,
    /// There was no answer.
    Silent,
    /// There is no route.
    Unreachable,
    /// Anything else.
    Other,
}

/// The connections of one protocol in a worker, as their sockets drive them.
pub trait Connections {
    /// The answer, in clear, to a client that speaks plain HTTP where TLS is required.
    const PLAIN_ANSWER: &'static [u8];

    /// Serves connections to one more address.
    fn add_listener(&mut self, address: SocketAddr, protocol: Protocol) -> ListenerId;

    /// A client has connected. Returns `None` if there are too many connections.
    fn handle_connected(
        &mut self,
        peer: SocketAddr,
        listener: ListenerId,
        turn: &mut TurnContext<'_>,
    ) -> Option<ConnectionId>;

    /// An outgoing connection is open, or failed and closed. Not every protocol makes any.
    fn handle_dialed(
        &mut self,
        _: ConnectionId,
        _: Result<(), DialFault>,
        _: &mut TurnContext<'_>,
    ) {
    }

    /// Returns the mark of this connection's TLS sessions, or `None` if it is never checked.
    fn mark(&self, id: ConnectionId) -> Option<Mark>;

    /// Returns whether more bytes may be waiting although a read did not fill its buffer: the
    /// kernel ends a read before an urgent byte.
    fn expects_more(&self, _: ConnectionId, _came: &[u8]) -> bool {
        false
    }

    /// Returns whether the client only sends on this connection.
    fn is_one_way(&self, _: ConnectionId) -> bool {
        false
    }

    /// The connection is secured.
    fn handle_secured(&mut self, id: ConnectionId, security: Security, turn: &mut TurnContext<'_>);

    /// The connection could not be secured and must be closed.
    fn handle_handshake_failed(
        &mut self,
        id: ConnectionId,
        why: Handshake,
        turn: &mut TurnContext<'_>,
    );

    /// Bytes came. All of them are taken.
    fn handle_bytes(&mut self, id: ConnectionId, bytes: &[u8], turn: &mut TurnContext<'_>);

    /// The other side sends nothing more; it may still read.
    fn handle_end(&mut self, id: ConnectionId, turn: &mut TurnContext<'_>);

    /// The same without TLS's close notification, so the bytes may be incomplete, unless the
    /// protocol itself says how many there are.
    fn handle_truncated(&mut self, id: ConnectionId, turn: &mut TurnContext<'_>) {
        self.handle_end(id, turn);
    }

    /// The other side will send nothing more, though the engine has not yet read all that it sent
    /// before.
    fn handle_hangup(&mut self, _: ConnectionId, _: &mut TurnContext<'_>) {}

    /// The connection broke, or the other side closed it before it had everything.
    fn handle_gone(&mut self, id: ConnectionId, turn: &mut TurnContext<'_>);

    /// The system closed the connection: the other side acknowledged nothing for too long.
    fn handle_given_up(&mut self, id: ConnectionId, turn: &mut TurnContext<'_>);

    /// The socket closes once the bytes on their way have left, or at that moment.
    fn handle_flushing(&mut self, id: ConnectionId, until: Instant);

    /// The file ended early: it was truncated while being sent.
    fn handle_cut(&mut self, id: ConnectionId, turn: &mut TurnContext<'_>);

    /// So many of the lent bytes have left.
    fn handle_sent(&mut self, id: ConnectionId, bytes: usize, turn: &mut TurnContext<'_>);

    /// The other side has not acknowledged so many of all sent bytes. Reported before
    /// [`Connections::handle_blocked`] and [`Connections::handle_gone`], and on request.
    fn handle_unacknowledged(&mut self, _: ConnectionId, _bytes: u64, _: &mut TurnContext<'_>) {}

    /// The socket has no room for more now; the other side must read on in time.
    fn handle_blocked(&mut self, id: ConnectionId, turn: &mut TurnContext<'_>);

    /// The socket is closed; nothing of the connection is kept.
    fn handle_closed(&mut self, id: ConnectionId, turn: &mut TurnContext<'_>);

    /// Returns what to do with a connection next.
    fn next(&mut self, id: ConnectionId) -> Next;

    /// Returns what to send next, for [`Next::Write`]; empty otherwise.
    fn outgoing(&self, id: ConnectionId) -> Outgoing<'_>;

    /// Returns a connection that has something to do although its socket has no event.
    fn poll_ready(&mut self) -> Option<ConnectionId>;

    /// Returns whether [`Connections::poll_ready`] has anything.
    fn has_ready(&self) -> bool;

    /// Returns when to call the engine's `handle_timeout` at the latest.
    fn poll_timeout(&self) -> Option<Instant>;
}

/// A file being sent: the bytes of it that remain.
///
/// The loader reads a file that this process may not read itself, because it is mapped, in parts
/// that are checked before any of them is sent. The kernel never sends from the file itself: bytes
/// in a socket's queue would change with the file until the phone acknowledged them.
#[derive(Debug)]
pub struct FilePart {
    blob: Arc<Blob>,
    at: u64,
    end: u64,
    way: Way,
}

/// How the bytes of a file are sent.
#[derive(Debug)]
enum Way {
    /// Directly: nothing can change them.
    Straight,
    /// In parts that the loader reads.
    Read { part: Vec<u8>, used: usize, requested: bool },
}

impl FilePart {
    /// Makes it of so many bytes of a file, which must have them.
    #[must_use]
    pub fn new(blob: Arc<Blob>, first: u64, bytes: u64) -> Self {
        let way = match blob.is_mapped() {
            false => Way::Straight,
            true => Way::Read { part: Vec::new(), used: 0, requested: false },
        };
        FilePart { blob, at: first, end: first + bytes, way }
    }

    /// Returns the file.
    #[must_use]
    pub fn blob(&self) -> &Arc<Blob> {
        &self.blob
    }

    /// Returns whether all of it has left.
    #[must_use]
    pub fn is_sent(&self) -> bool {
        self.at == self.end
    }

    /// Returns what can leave now.
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

    /// Returns the question to ask before more can leave, if there is one.
    pub fn next_read(&mut self, ticket: Ticket) -> Option<StoreRequest> {
        let waits = self.at < self.end && matches!(self.payload(), Payload::None);
        match &mut self.way {
            Way::Read { part, used, requested: requested @ false } if waits => {
                *requested = true;
                *used = 0;
                let buffer = std::mem::take(part);
                let bytes = (self.end - self.at).min(PART_BYTES) as usize;
                let blob = Arc::clone(&self.blob);
                Some(StoreRequest::Read { ticket, blob, offset: self.at, bytes, buffer })
            }
            Way::Straight | Way::Read { .. } => None,
        }
    }

    /// The loader had no room for the question: [`FilePart::next_read`] may ask it again.
    pub fn handle_refused(&mut self) {
        match &mut self.way {
            Way::Straight => {}
            Way::Read { requested, .. } => *requested = false,
        }
    }

    /// The loader has answered. An answer that is not awaited is ignored.
    ///
    /// # Errors
    /// Why no more of the file can be sent.
    pub fn handle_read(&mut self, result: Result<Vec<u8>, OpenError>) -> Result<(), Failure> {
        let left = self.end - self.at;
        let Way::Read { part, used, requested: requested @ true } = &mut self.way else {
            return Ok(());
        };
        match result {
            Ok(bytes) if bytes.len() as u64 <= left => {
                (*part, *used, *requested) = (bytes, 0, false);
                Ok(())
            }
            Ok(_) => Err(Failure::FileChanged),
            Err(fault) => Err(Failure::Open(fault)),
        }
    }
}
