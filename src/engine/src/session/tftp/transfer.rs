//! The open transfers of a worker: one row each, found by the phone's address and port.
//!
//! Keeps, finds and forgets. `engine.rs` and its state machines decide what a transfer does.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use crate::admission::order::Standing;
use crate::admission::rate_limit::PhoneRateLimit;
use crate::cancel::CancelToken;
use crate::catalog::blob::Blob;
use crate::catalog::{Entry, Form};
use crate::session::tftp::receive::Receiving;
use crate::session::tftp::send::Sending;
use crate::session::timer::Deadline;
use crate::session::{Subject, TurnContext, Verb};
use crate::table::{RowId, Table};
use crate::ticket::{Questions, Ticket, TicketOwner};
use crate::vault::upload::{OnExists, Spool};
use wire::name::FileName;
use wire::tftp::Options;
use wire::time::{Duration, Instant};

/// A socket of the worker, as its index in the worker's list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PortId(pub u16);

/// A transfer, as its row in the table.
pub type TransferId = RowId;

/// Returns the ticket of every question of a transfer. A row has one request, and a new generation
/// for the next, so its questions need no numbers.
#[must_use]
pub fn ticket(id: TransferId) -> Ticket {
    Ticket { owner: TicketOwner::Tftp, row: id, sequence: Questions::UNAWAITED }
}

/// The options and form of a request, kept until the transfer can start.
#[derive(Clone, Copy, Debug)]
pub struct RequestOptions {
    /// The options as received.
    pub options: Options,
    /// How the bytes travel.
    pub form: Form,
    /// The interface that received the request, by the kernel's number; 0 if unknown.
    pub interface: u32,
}

/// The destination of an upload.
#[derive(Debug)]
pub struct Target {
    /// The name to store.
    pub name: FileName,
    /// The name as requested.
    pub requested: Box<[u8]>,
    /// The rule's directory.
    pub directory: u16,
    /// Largest size of the stored file.
    pub bytes_max: u64,
    /// What happens to an existing file.
    pub on_exists: OnExists,
    /// The temporary file of its parts; `None` while all is in memory, or a part is under way.
    pub spool: Option<Spool>,
    /// The last bytes, while the disk checks whether the file that they repeat still exists.
    pub rest: Vec<u8>,
    /// Whether it counts among the uploads with a temporary file.
    pub is_aside: bool,
    /// Cancels the upload until the file is in its place.
    pub cancel: CancelToken,
    /// The text of an ERROR that the phone sent too late to cancel.
    pub words: Option<Box<[u8]>>,
}

/// The file of a transfer.
#[derive(Debug)]
pub enum File {
    /// Being read.
    Read(Arc<Entry>),
    /// Being written. Boxed, because uploads are few and reads are many.
    Write(Box<Target>),
}

impl File {
    /// Returns the file as a log record names it.
    #[must_use]
    pub fn subject(&self) -> Subject {
        match self {
            File::Read(entry) => Subject::File(Arc::clone(entry)),
            File::Write(target) => Subject::said(&target.requested),
        }
    }

    /// Returns what the phone does with it.
    #[must_use]
    pub fn verb(&self) -> Verb {
        match self {
            File::Read(_) => Verb::Fetch,
            File::Write(_) => Verb::Send,
        }
    }
}

/// Caps on bytes per second.
#[derive(Clone, Copy, Debug, Default)]
pub struct Caps {
    /// For this phone; 0 = none.
    pub phone_bytes_per_second: u64,
    /// For its subnet, as an index into the list of rate limits.
    pub subnet_bucket: Option<u16>,
}

/// The progress of a transfer.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "nearly every row is a read; boxing it would cost")]
pub enum TransferState {
    /// It waits for a session slot.
    Waiting,
    /// It waits for the loader.
    Opening,
    /// Blocks go out.
    Sending(Sending, Arc<Blob>),
    /// Blocks come in. Boxed like its target.
    Receiving(Box<Receiving>),
}

/// One open transfer.
#[derive(Debug)]
pub struct Transfer {
    /// The phone.
    pub peer: SocketAddr,
    /// The server's address that the phone asked, which must answer.
    pub from: Option<IpAddr>,
    /// The socket that answers.
    pub port: PortId,
    /// The socket that received the request.
    pub asked_at: PortId,
    /// Hash of the request, to recognize a repeated one.
    pub request_hash: u64,
    /// When the request came.
    pub began: Instant,
    /// When it got its session slot.
    pub granted_at: Instant,
    /// When the same request came again, if it did.
    pub asked_again_at: Option<Instant>,
    /// The options and form of the request.
    pub requested: RequestOptions,
    /// The file.
    pub file: File,
    /// Its progress.
    pub state: TransferState,
    /// When it must be checked again.
    pub deadline: Deadline,
    /// Until when pacing keeps it from sending.
    pub paced_until: Option<Instant>,
    /// The caps on bytes per second that apply to it.
    pub caps: Caps,
    /// The phone's own cap: what it was sent lately.
    pub pace: PhoneRateLimit,
    /// Whether it is in a queue.
    pub queued: bool,
    /// Its standing in the order of service.
    pub standing: Standing,
    /// Whether its phone does not answer: not yet, or no more. Its place is lent meanwhile.
    pub is_silent: bool,
    /// Whether the next send is paid for, from the budget of unproven phones and under the caps.
    pub paid: bool,
}

/// How shortly before its end a repeated request counts as the phone's next one: the delay between
/// two packets that left a phone together but came by different sockets.
const ASKED_AGAIN: Duration = Duration::from_millis(5);

const _: () = assert!(size_of::<Transfer>() <= 512, "the bar is 512 bytes per open transfer");

impl Transfer {
    /// Returns whether the phone has just asked for the same again.
    #[must_use]
    pub fn asked_again(&self, now: Instant) -> bool {
        self.asked_again_at.is_some_and(|at| now.since(at) <= ASKED_AGAIN)
    }

    /// The phone does not answer: not yet, or no more.
    pub fn fall_silent(&mut self, turn: &mut TurnContext<'_>) {
        if !self.is_silent {
            self.is_silent = true;
            turn.admission.slots.fall_silent(self.peer.ip(), turn.now);
        }
    }

    /// The phone has answered.
    pub fn end_silence(&mut self, turn: &mut TurnContext<'_>) {
        if self.is_silent {
            self.is_silent = false;
            turn.admission.slots.answer(self.peer.ip());
        }
    }

    /// Returns whether the phone has not answered yet, so that the row is in the half-open pool.
    #[must_use]
    pub fn is_half_open(&self) -> bool {
        match &self.state {
            TransferState::Waiting => false,
            TransferState::Opening => true,
            TransferState::Sending(sending, _) => !sending.is_proven(),
            TransferState::Receiving(receiving) => !receiving.is_proven(),
        }
    }
}

/// All open transfers: one row each, found by the phone's address and port.
#[derive(Debug, Default)]
pub struct Transfers {
    rows: Table<Transfer>,
    index: HashMap<SocketAddr, TransferId>,
}

impl Transfers {
    /// Returns how many transfers are open.
    #[must_use]
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Returns whether none is open.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// Returns the transfer of a phone's address and port, or `None` if there is none.
    #[must_use]
    pub fn find(&self, peer: SocketAddr) -> Option<TransferId> {
        self.index.get(&peer).copied()
    }

    /// Returns the transfer with this id, or `None` if it has ended.
    #[must_use]
    pub fn open(&self, id: TransferId) -> Option<&Transfer> {
        self.rows.open(id)
    }

    /// Returns the transfer with this id to change it, or `None` if it has ended.
    pub fn open_mut(&mut self, id: TransferId) -> Option<&mut Transfer> {
        self.rows.open_mut(id)
    }

    /// Adds a transfer. The caller has removed the peer's former one.
    pub fn insert(&mut self, transfer: Transfer) -> TransferId {
        let peer = transfer.peer;
        let id = self.rows.insert(transfer);
        let before = self.index.insert(peer, id);
        debug_assert!(before.is_none(), "{peer} had a transfer already");
        id
    }

    /// Removes a transfer.
    pub fn remove(&mut self, id: TransferId) -> Option<Transfer> {
        let transfer = self.rows.remove(id)?;
        self.index.remove(&transfer.peer);
        Some(transfer)
    }

    /// Returns every open transfer, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (TransferId, &Transfer)> {
        self.rows.iter()
    }
}
