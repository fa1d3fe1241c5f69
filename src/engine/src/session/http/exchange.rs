//! One request and its response: the state from the one to the other.
//!
//! Plain values; the methods that change them are in the files named after what they do.

use std::sync::Arc;

use crate::cancel::CancelOnDrop;
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

/// A request in progress.
#[derive(Debug)]
pub(super) struct Exchange {
    pub(super) log: RequestLog,
    /// Whether it holds a session slot of its client.
    pub(super) has_slot: bool,
    /// Bytes of its body that count as in memory, here or in a thread that stores them.
    pub(super) body_held: u64,
    pub(super) stage: Stage,
    /// The question that it waits for: to a thread, or to the queue of session slots. An answer to
    /// any other is late and ignored.
    pub(super) question: Option<Ticket>,
}

/// The progress of a request. Each stage but the last ends by exactly one event.
#[derive(Debug)]
pub(super) enum Stage {
    /// Waits for a session slot, for this operation. Ends when the slot is granted or the wait has
    /// expired.
    Queued(Box<Operation>),
    /// Its rejection is delayed, because its client asks for too many unknown names. Ends by the
    /// deadline.
    Delayed(Box<Rejection>),
    /// Waits for a thread. Ends by the answer.
    Waiting(Box<PendingRequest>),
    /// Its body is being received. Ends once the body is whole, too large, or too late.
    Receiving(Box<IncomingBody>),
    /// Its response is being sent or composed.
    Replying,
}

impl Stage {
    pub(super) fn is_replying(&self) -> bool {
        matches!(self, Stage::Replying)
    }
}

/// What to do for a request that has its slot.
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
        /// The file to send if the vault has no data.
        entry: Option<Arc<Entry>>,
    },
    /// Receive a body of at most so many bytes.
    Receive(Destination, Framing, u64),
    /// Have the vault delete an item.
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
        /// The file to send if the vault has no data.
        entry: Option<Arc<Entry>>,
        /// Cancels the check of its secret.
        check: CancelOnDrop,
    },
    /// The writer checks whether the file exists, or the vault whether the secret is right, before
    /// the body is invited.
    Find(Destination, Framing, u64),
    /// A password is checked.
    Login(Box<PendingLogin>),
    /// The vault or the writer stores or deletes something.
    Write(WriteMode),
}

/// How the bytes of a PUT change the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WriteMode {
    /// They are the whole file. Also used for deletions.
    Replace,
    /// They are appended to the file, if it exists.
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

/// The log record of a request, until the request ends.
#[derive(Debug)]
pub(super) struct RequestLog {
    pub(super) subject: Subject,
    pub(super) verb: Verb,
    pub(super) began: Instant,
    /// When sending of its response began: it may have waited for its turn.
    pub(super) moves_since: Instant,
    /// Payload bytes sent or received.
    pub(super) bytes: u64,
    /// Payload bytes of the whole response, if it has any.
    pub(super) of_bytes: Option<u64>,
    pub(super) outcome: Outcome,
    /// The user that the client names, cut to [`WORDS_BYTES_MAX`].
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

    /// Notes the user that the client names.
    pub(super) fn note_user(&mut self, user: &[u8]) {
        self.user = Some(clip(user, WORDS_BYTES_MAX).into());
    }
}

/// Returns what a request does, as the log has it.
pub(super) fn verb(method: Method) -> Verb {
    match method {
        Method::Get => Verb::Fetch,
        Method::Put | Method::Post => Verb::Send,
        Method::Delete => Verb::Delete,
        Method::Head | Method::Options | Method::Unknown => Verb::Ask,
    }
}
