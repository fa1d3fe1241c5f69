//! One connection: what is remembered between two events.
//!
//! Plain values; what happens to them is in `engine.rs` and beside it.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::catalog::Entry;
use crate::session::arrivals::Arrivals;
use crate::session::http::body::Receiving;
use crate::session::http::credentials::Proving;
use crate::session::http::refusal::No;
use crate::session::http::reply::Reply;
use crate::session::stream::ListenerId;
use crate::session::timer::Deadline;
use crate::session::{Outcome, Secured, Subject, Verb, WORDS_BYTES_MAX, clip};
use crate::vault::deed::{Precondition, Shown};
use crate::vault::names::Item;
use crate::vault::upload::{Deletion, Upload};
use wire::http::range::Ranges;
use wire::http::request::{Framing, Method};
use wire::time::Instant;

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
    /// It counts among the handshakes of its address.
    pub(super) handshaking: bool,
    /// It counts as one of a client outside the access list.
    pub(super) stranger: bool,
    /// A refusal that is told after a while: its address asks for too much that does not exist.
    pub(super) held: Option<No>,
    /// How much of what was sent has arrived.
    pub(super) arrivals: Arrivals,
    /// What the phone calls itself, cut to [`WORDS_BYTES_MAX`]; shared with the records of its
    /// requests, so that only another name costs an allocation.
    pub(super) user_agent: Option<Arc<[u8]>>,
}

impl Connection {
    /// Notes what the phone calls itself in the request in hand.
    pub(super) fn note_user_agent(&mut self, said: Option<&[u8]>) {
        let said = said.map(|said| clip(said, WORDS_BYTES_MAX));
        if self.user_agent.as_deref() != said {
            self.user_agent = said.map(Arc::from);
        }
    }
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
        /// When it is read no further.
        until: Instant,
    },
    /// To be closed.
    Over,
    /// To be closed with all that still waits for the phone, which does not read it.
    Stuck,
}

impl State {
    /// Whether the vault or the writer is changing something.
    pub(super) fn is_at_writer(&self) -> bool {
        matches!(self, State::Parked(want) if matches!(want.what, What::Stored(_)))
    }
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
    /// See whether a password is right.
    Prove(Box<Proving>),
    /// Delete a file that an upload stored.
    Delete(Box<Deletion>),
    /// The vault or the writer is at it.
    Stored(Saved),
}

/// How the bytes of a PUT come to be what is there afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Saved {
    /// As they are.
    Whole,
    /// Behind what was there before, if anything was.
    Appended,
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
    /// Payload bytes of the whole answer, where it has any.
    pub(super) of_bytes: Option<u64>,
    pub(super) outcome: Outcome,
    /// Who the client says it is, cut to [`WORDS_BYTES_MAX`].
    pub(super) user: Option<Box<[u8]>>,
}

/// What a request does, as the log tells it.
pub(super) fn verb(method: Method) -> Verb {
    match method {
        Method::Get => Verb::Fetch,
        Method::Put | Method::Post => Verb::Send,
        Method::Delete => Verb::Delete,
        Method::Head | Method::Options | Method::Unknown => Verb::Ask,
    }
}
