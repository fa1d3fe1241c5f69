//! One connection and the table of all: what is remembered between two events.
//!
//! Plain values; what happens to them is in `engine.rs` and beside it.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::content::{Entry, Ticket};
use crate::session::http::body::Receiving;
use crate::session::http::engine::ListenerId;
use crate::session::http::reply::Reply;
use crate::session::timer::Deadline;
use crate::session::{Outcome, Secured, Subject, Verb};
use crate::time::Instant;
use crate::vault::deed::{Precondition, Shown};
use crate::vault::names::Item;
use crate::vault::upload::Upload;
use crate::wire::http::range::Ranges;
use crate::wire::http::request::Framing;

/// A ticket's highest bit tells that a connection asks, so generations have one less.
const GENERATION_MASK: u32 = (Ticket::STREAM >> 32) as u32 - 1;

/// A connection: its row, and which of those that had the row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId {
    /// The row in the table; free again once the connection has gone.
    pub row: u32,
    generation: u32,
}

impl From<ConnectionId> for Ticket {
    fn from(id: ConnectionId) -> Ticket {
        Ticket(Ticket::STREAM | u64::from(id.generation) << 32 | u64::from(id.row))
    }
}

impl From<Ticket> for ConnectionId {
    fn from(ticket: Ticket) -> ConnectionId {
        let generation = (ticket.0 >> 32) as u32 & GENERATION_MASK;
        ConnectionId { row: ticket.0 as u32, generation }
    }
}

/// One connection.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) peer: SocketAddr,
    pub(super) listener: ListenerId,
    /// What it is secured with, once it is.
    pub(super) secured: Option<Secured>,
    /// A certificate that the listener trusts was shown.
    pub(super) certificate: bool,
    pub(super) state: State,
    /// Bytes that came and are not consumed: a part of a head, or requests behind this one.
    pub(super) unread: Vec<u8>,
    /// What is being sent.
    pub(super) reply: Reply,
    /// What the log is told of the request in hand; none between requests.
    pub(super) told: Option<Told>,
    pub(super) deadline: Deadline,
    /// A part of a head has come.
    pub(super) head_begun: bool,
    /// Requests begun.
    pub(super) requests: u32,
    /// The phone sends nothing any more.
    pub(super) ended: bool,
    /// The request in hand has begun to hold its client's session slot.
    pub(super) has_slot: bool,
    /// Bytes of a body of its in memory.
    pub(super) body_held: u64,
    /// Bytes thrown away since the last answer.
    pub(super) discarded: u64,
}

/// What a connection is at.
#[derive(Debug)]
pub(super) enum State {
    /// Waits for a request, or for the rest of its head.
    Head,
    /// A request waits for a session slot, a file, or the vault.
    Parked(Box<Want>),
    /// A body is on its way in.
    Receiving(Box<Receiving>),
    /// An answer is on its way out.
    Replying,
    /// The answer is out and the connection over, but the phone may still be sending: what comes is
    /// thrown away, as a phone that is cut off might not read the answer (RFC 9112, 9.6).
    Lingering {
        /// The phone has been told that nothing more comes.
        shut: bool,
    },
    /// To be closed.
    Over,
    /// To be closed with all that still waits for the phone, which does not read it.
    Stuck,
}

/// A request that has been judged and may be served.
#[derive(Debug)]
pub(super) struct Want {
    pub(super) what: What,
    /// Whether only the head of the answer is wanted.
    pub(super) head_only: bool,
}

/// What is to be done for a request.
#[derive(Debug)]
pub(super) enum What {
    /// Send a file, or parts of it.
    Read(Arc<Entry>, Ranges),
    /// Send the newest version of an item of the vault.
    Fetch {
        item: Item,
        shown: Shown,
        /// The request's head: conditions and ranges are judged once the version is known.
        raw: Box<[u8]>,
        /// What is sent where the vault has none.
        entry: Option<Arc<Entry>>,
    },
    /// Take a body of at most so many bytes.
    Take(Target, Framing, u64),
    /// Have the vault forget an item.
    Forget(Item, Shown, Precondition),
    /// The vault or the writer is at it.
    Stored,
}

/// Where a body goes.
#[derive(Debug)]
pub(super) enum Target {
    /// To the vault.
    Item(Item, Shown, Precondition),
    /// To a directory, by an upload rule or as an unknown file: an upload without its bytes yet.
    File(Box<Upload>),
}

/// What the log is told of a request.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) subject: Subject,
    pub(super) verb: Verb,
    pub(super) began: Instant,
    /// When its answer began to leave: it may have waited for its turn.
    pub(super) moves_since: Instant,
    /// Payload bytes that left, or came.
    pub(super) bytes: u64,
    pub(super) outcome: Outcome,
}

/// All connections of a worker.
#[derive(Debug, Default)]
pub(super) struct Table {
    rows: Vec<Row>,
    free: Vec<u32>,
    open: usize,
}

#[derive(Debug)]
struct Row {
    generation: u32,
    connection: Option<Box<Connection>>,
}

impl Table {
    /// Open connections.
    pub(super) fn len(&self) -> usize {
        self.open
    }

    /// The connection with this id, if it still is one.
    pub(super) fn open(&self, id: ConnectionId) -> Option<&Connection> {
        let row = self.rows.get(id.row as usize)?;
        row.connection.as_deref().filter(|_| row.generation == id.generation)
    }

    /// The same, to change it.
    pub(super) fn open_mut(&mut self, id: ConnectionId) -> Option<&mut Connection> {
        let row = self.rows.get_mut(id.row as usize)?;
        row.connection.as_deref_mut().filter(|_| row.generation == id.generation)
    }

    /// Adds one.
    pub(super) fn insert(&mut self, connection: Connection) -> ConnectionId {
        self.open += 1;
        let connection = Some(Box::new(connection));
        match self.free.pop() {
            Some(row) => {
                let place = &mut self.rows[row as usize];
                place.connection = connection;
                ConnectionId { row, generation: place.generation }
            }
            None => {
                self.rows.push(Row { generation: 0, connection });
                ConnectionId { row: (self.rows.len() - 1) as u32, generation: 0 }
            }
        }
    }

    /// Forgets one.
    pub(super) fn remove(&mut self, id: ConnectionId) -> Option<Box<Connection>> {
        let row =
            self.rows.get_mut(id.row as usize).filter(|row| row.generation == id.generation)?;
        let connection = row.connection.take()?;
        row.generation = row.generation.wrapping_add(1) & GENERATION_MASK;
        self.free.push(id.row);
        self.open -= 1;
        Some(connection)
    }

    /// Every connection, in no order.
    pub(super) fn ids(&self) -> impl Iterator<Item = ConnectionId> {
        self.rows.iter().enumerate().filter_map(|(row, place)| {
            let id = ConnectionId { row: row as u32, generation: place.generation };
            place.connection.as_ref().map(|_| id)
        })
    }
}
