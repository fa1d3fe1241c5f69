//! One request and its response: what is remembered from the one to the other.
//!
//! Plain values; the methods that change them are in the files named after what they do.

use std::sync::Arc;

use crate::catalog::Entry;
use crate::session::http::body::IncomingBody;
use crate::session::http::credentials::PendingLogin;
use crate::session::http::rejection::Rejection;
use crate::session::{Outcome, Subject, Verb, WORDS_BYTES_MAX, clip};
use crate::ticket::Ticket;
use crate::vault::names::Item;
use crate::vault::request::{Credentials, Precondition};
use crate::vault::upload::{Deletion, Upload};
use wire::http::range::Ranges;
use wire::http::request::{Framing, Method};
use wire::time::Instant;

/// A request in hand.
#[derive(Debug)]
pub(super) struct Exchange {
    pub(super) log: RequestLog,
    /// It holds a session slot of its client.
    pub(super) has_slot: bool,
    /// Bytes of its body that count as in memory, here or at a thread that stores them.
    pub(super) body_held: u64,
    pub(super) stage: Stage,
    /// The question that it waits for: the thread's, or that of the queue of session slots. An
    /// answer to any other comes too late, and does nothing.
    pub(super) question: Option<Ticket>,
}

/// How far a request has come. Each stage but the last ends by one event alone.
#[derive(Debug)]
pub(super) enum Stage {
    /// It waits for a session slot, to do this then. Ends when the slot is granted or the wait has
    /// expired.
    Queued(Box<Operation>),
    /// Its client asks for too much that does not exist and is told so later. Ends by the deadline.
    Delayed(Box<Rejection>),
    /// It waits for a thread. Ends by the answer.
    Waiting(Box<PendingRequest>),
    /// Its body is on its way in. Ends once that is whole, too much, or too late.
    Receiving(Box<IncomingBody>),
    /// Its answer is on its way out, or is being composed.
    Replying,
}

impl Stage {
    pub(super) fn is_replying(&self) -> bool {
        matches!(self, Stage::Replying)
    }
}

/// What is to be done for a request that has its slot.
#[derive(Debug)]
pub(super) enum Operation {
    /// Send a file, or parts of it.
    Read(Arc<Entry>, Ranges),
    /// Send the newest version of an item of the vault.
    Fetch {
        item: Item,
        credentials: Credentials,
        /// The request's head: conditions and ranges are evaluated once the version is known.
        raw: Box<[u8]>,
        /// What is sent where the vault has none.
        entry: Option<Arc<Entry>>,
    },
    /// Receive a body of at most so many bytes.
    Receive(Destination, Framing, u64),
    /// Have the vault forget an item.
    Forget(Item, Credentials, Precondition),
    /// Delete a file that an upload stored.
    Delete(Box<Deletion>),
}

/// A request that waits for a thread, and what it needs when the answer comes.
#[derive(Debug)]
pub(super) enum PendingRequest {
    /// The loader brings a file into memory.
    Open(Arc<Entry>, Ranges),
    /// The vault looks for an item.
    Fetch {
        item: Item,
        /// The request's head: conditions and ranges are evaluated once the version is known.
        raw: Box<[u8]>,
        /// What is sent where the vault has none.
        entry: Option<Arc<Entry>>,
    },
    /// The writer looks whether there is a file already, before the body is invited.
    Find(Destination, Framing, u64),
    /// A password is checked.
    Login(Box<PendingLogin>),
    /// The vault or the writer stores or deletes something.
    Write(WriteMode),
}

/// How the bytes of a PUT become what is there afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WriteMode {
    /// They are the whole file. Deletions count as this as well.
    Replace,
    /// They stand behind what was there before, if anything was.
    Append,
}

/// Where a body goes.
#[derive(Debug)]
pub(super) enum Destination {
    /// To the vault.
    Item(Item, Credentials, Precondition),
    /// To a directory, by an upload rule or as an unknown file: an upload without its bytes yet.
    File(Box<Upload>),
}

/// What the log is told of a request once it has ended.
#[derive(Debug)]
pub(super) struct RequestLog {
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

impl RequestLog {
    pub(super) fn new(subject: Subject, verb: Verb, began: Instant) -> RequestLog {
        RequestLog {
            subject,
            verb,
            began,
            moves_since: began,
            bytes: 0,
            of_bytes: None,
            outcome: Outcome::Done,
            user: None,
        }
    }

    /// Notes who the client says it is.
    pub(super) fn note_user(&mut self, user: &[u8]) {
        self.user = Some(clip(user, WORDS_BYTES_MAX).into());
    }
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
