//! What the loader, the vault and the queue of session slots say, and what follows from it.
//!
//! An answer for a connection that has gone, or that waits for something else, does nothing.

use crate::catalog::blob::Version;
use crate::catalog::{Answer, Ask, OpenError, StoreError, Stored, Ticket};
use crate::session::http::connection::{Saved, State, What};
use crate::session::http::engine::Engine;
use crate::session::http::refusal::No;
use crate::session::http::terms::{Otherwise, terms};
use crate::session::stream::ConnectionId;
use crate::session::{Failure, Refusal, Turn};
use crate::vault::deed::{Denied, Done};
use crate::vault::upload::PartOp;
use wire::http::range::Ranges;
use wire::http::request::{HeadLimits, LINES_MAX, parse};
use wire::http::response::Status;

impl Engine {
    /// The loader or the vault has answered.
    pub fn handle_answer(&mut self, answer: Answer, turn: &mut Turn<'_>) {
        let ticket = answer.ticket();
        if let Answer::Upload { result, .. } = answer {
            return self.handle_body_part(ticket, result, turn);
        }
        let Some(id) = self.find(ticket) else { return self.handle_late(&answer, turn) };
        match answer {
            Answer::Opened { result, .. } => match (result, self.take_parked(id)) {
                (Ok(blob), Some(What::Read(entry, ranges))) => {
                    // Ranges were judged for the version that the catalog knew.
                    let same = blob.version() == entry.version;
                    let ranges = if same { ranges } else { Ranges::Whole };
                    self.reply_file(id, blob, entry.path.as_bytes(), ranges, turn);
                }
                (Err(fault), Some(What::Read(..))) => self.refuse_open(id, fault, turn),
                (_, other) => self.restore(id, other),
            },
            // Never asked for here: what is mapped is looked at as it is read.
            Answer::Verified { .. } => {}
            Answer::Read { result, .. } => self.handle_part(id, result, turn),
            Answer::Stored { result, .. } => match (result, self.take_parked(id)) {
                (Ok(stored), Some(What::Stored(saved))) => self.stored(id, stored, saved, turn),
                (Err(fault), Some(What::Stored(_))) => self.refuse_store(id, fault, turn),
                (_, other) => self.restore(id, other),
            },
            Answer::Deleted { result, .. } => match (result, self.take_parked(id)) {
                (Ok(()), Some(What::Stored(_))) => {
                    turn.counters.uploads_deleted.up();
                    self.reply_done(id, Status::NO_CONTENT, None, turn);
                }
                (Err(fault), Some(What::Stored(_))) => self.refuse_store(id, fault, turn),
                (_, other) => self.restore(id, other),
            },
            Answer::Vault { result, .. } => self.handle_vault(id, result, turn),
            Answer::Login { result, .. } => match self.take_parked(id) {
                Some(What::Prove(proving)) => self.proved(id, &proving, result, turn),
                other => self.restore(id, other),
            },
            // HTTP never asks for these.
            Answer::Upload { .. } | Answer::Files { .. } => {}
        }
        self.note_ready(id);
    }

    /// A queue is full: whoever waits is told to come again.
    pub fn handle_refused(&mut self, ask: Ask, turn: &mut Turn<'_>) {
        let ticket = ask.ticket();
        let answer = match ask {
            Ask::Open { .. } => Answer::Opened { ticket, result: Err(OpenError::Busy) },
            // A phone that is nearly through is not cut off for that: it is asked again.
            Ask::Verify { .. } | Ask::Read { .. } => return self.ask_again(&ask, turn),
            Ask::Store { .. } => Answer::Stored { ticket, result: Err(StoreError::Busy) },
            Ask::Delete { .. } => Answer::Deleted { ticket, result: Err(StoreError::Busy) },
            Ask::Vault { .. } => Answer::Vault { ticket, result: Err(Denied::Busy) },
            Ask::Login { .. } => Answer::Login { ticket, result: Err(Denied::Busy) },
            Ask::Upload { op: PartOp::Write { spool, .. }, .. } => {
                // What has come is lost with it; the file is closed by whoever may wait.
                if let Some(spool) = spool {
                    self.asks.push_back(Ask::Upload {
                        ticket,
                        directory: 0,
                        op: PartOp::Forget { spool },
                    });
                }
                Answer::Upload { ticket, result: Err(StoreError::Busy) }
            }
            Ask::Upload { op: PartOp::Find { .. }, .. } => {
                Answer::Upload { ticket, result: Err(StoreError::Busy) }
            }
            Ask::Upload { .. } | Ask::Files { .. } => return,
        };
        self.handle_answer(answer, turn);
    }

    /// A request that waited has its session slot.
    pub fn handle_granted(&mut self, ticket: Ticket, turn: &mut Turn<'_>) {
        let Some(id) = self.find(ticket) else { return };
        let Some(connection) = self.connections.open_mut(id) else { return };
        if !matches!(connection.state, State::Parked(_)) || connection.has_slot {
            return;
        }
        let state = std::mem::replace(&mut connection.state, State::Over);
        let State::Parked(want) = state else { return };
        self.begin(id, *want, turn);
        self.resume(id, turn);
        self.note_ready(id);
    }

    /// A request has waited for its session slot in vain.
    pub fn handle_expired(&mut self, ticket: Ticket, turn: &mut Turn<'_>) {
        let Some(id) = self.find(ticket) else { return };
        let Some(connection) = self.connections.open(id) else { return };
        if matches!(connection.state, State::Parked(_)) && !connection.has_slot {
            turn.counters.queue_expired.up();
            self.refuse(id, No::busy(Refusal::NoSlot), turn);
            self.note_ready(id);
        }
    }

    /// What a parked connection waits for.
    pub(super) fn take_parked(&mut self, id: ConnectionId) -> Option<What> {
        let connection = self.connections.open_mut(id)?;
        match &mut connection.state {
            State::Parked(want) => {
                Some(std::mem::replace(&mut want.what, What::Stored(Saved::Whole)))
            }
            State::Head
            | State::Receiving(_)
            | State::Replying
            | State::Lingering { .. }
            | State::Over
            | State::Stuck => None,
        }
    }

    /// Gives back what [`Engine::take_parked`] took.
    pub(super) fn restore(&mut self, id: ConnectionId, what: Option<What>) {
        let Some(connection) = self.connections.open_mut(id) else { return };
        if let (State::Parked(want), Some(what)) = (&mut connection.state, what) {
            want.what = what;
        }
    }

    fn refuse_open(&mut self, id: ConnectionId, fault: OpenError, turn: &mut Turn<'_>) {
        let no = match fault {
            OpenError::Gone => No::new(Status::NOT_FOUND, Refusal::NoSuchFile),
            // What cannot be read now is not told to be missing, and may well be there later.
            OpenError::BeingWritten
            | OpenError::Busy
            | OpenError::Unavailable
            | OpenError::Forbidden
            | OpenError::Io => No::failed(Failure::Open(fault), true),
            OpenError::NotServable | OpenError::TooLarge => No::failed(Failure::Open(fault), false),
        };
        self.refuse(id, no, turn);
    }

    pub(super) fn refuse_store(
        &mut self,
        id: ConnectionId,
        fault: StoreError,
        turn: &mut Turn<'_>,
    ) {
        let no = match fault {
            StoreError::Precondition => {
                No::new(Status::PRECONDITION_FAILED, Refusal::PreconditionFailed)
            }
            StoreError::NotThere => No::new(Status::NOT_FOUND, Refusal::NoSuchFile),
            StoreError::Exists | StoreError::NotAFile => {
                No::new(Status::CONFLICT, Refusal::Conflict(fault))
            }
            StoreError::Full | StoreError::TotalMax | StoreError::Reserve => {
                No::failed(Failure::Store(fault), false).with(Status::INSUFFICIENT_STORAGE)
            }
            StoreError::Busy
            | StoreError::NoMemory
            | StoreError::TooManyAside
            | StoreError::NoDescriptor => No::failed(Failure::Store(fault), true),
            StoreError::Forbidden | StoreError::Io => No::failed(Failure::Store(fault), false),
        };
        self.refuse(id, no, turn);
    }

    fn stored(&mut self, id: ConnectionId, stored: Stored, saved: Saved, turn: &mut Turn<'_>) {
        turn.counters.uploads_stored.up();
        let status = if stored.new { Status::CREATED } else { Status::NO_CONTENT };
        // RFC 9110, 9.3.4: none where what is there now is not what the phone has sent.
        let is_as_sent = stored.new || saved == Saved::Whole;
        self.reply_done(id, status, Some(&stored.version).filter(|_| is_as_sent), turn);
    }

    fn handle_vault(
        &mut self,
        id: ConnectionId,
        result: Result<Done, Denied>,
        turn: &mut Turn<'_>,
    ) {
        let head_only = self.is_head_only(id);
        match (result, self.take_parked(id)) {
            (Ok(Done::Kept(stored)), Some(What::Stored(saved))) => {
                self.stored(id, stored, saved, turn);
            }
            (Ok(Done::Forgotten), Some(What::Stored(_))) => {
                self.reply_done(id, Status::NO_CONTENT, None, turn);
            }
            (Ok(Done::Fetched(blob)), Some(What::Fetch { raw, item, .. })) => {
                let (version, name) = (blob.version(), format!("{item}"));
                match terms_of(&raw, &version, turn) {
                    Ok(_) if head_only => {
                        self.reply_head(id, &version, name.as_bytes(), Status::OK, turn);
                    }
                    Ok(ranges) => self.reply_file(id, blob, name.as_bytes(), ranges, turn),
                    Err(Otherwise::NotModified) => {
                        self.reply_head(id, &version, name.as_bytes(), Status::NOT_MODIFIED, turn);
                    }
                    Err(Otherwise::No(no)) => self.refuse(id, no, turn),
                }
            }
            // An administrator's own file for everybody, or for a set that never stores.
            (Err(Denied::NotThere), Some(What::Fetch { raw, entry: Some(entry), .. })) => {
                let (version, name) = (&entry.known_version(), entry.path.as_bytes());
                match terms_of(&raw, version, turn) {
                    Ok(_) if head_only => self.reply_head(id, version, name, Status::OK, turn),
                    Ok(ranges) => self.read(id, entry, ranges, turn),
                    Err(Otherwise::NotModified) => {
                        self.reply_head(id, version, name, Status::NOT_MODIFIED, turn);
                    }
                    Err(Otherwise::No(no)) => self.refuse(id, no, turn),
                }
            }
            (Err(denied), Some(What::Fetch { .. } | What::Stored(_))) => {
                self.refuse(id, No::denied(denied), turn);
            }
            (_, other) => self.restore(id, other),
        }
    }
}

/// What the conditions and ranges of a request that has waited come to.
fn terms_of(raw: &[u8], version: &Version, turn: &Turn<'_>) -> Result<Ranges, Otherwise> {
    // It has been read before, perhaps by limits that a reload has made narrower since.
    let (bytes_max, lines_max) = (raw.len(), LINES_MAX);
    let limits = HeadLimits { bytes_max, lines_max, lone_lf: true, lenient: true };
    match parse(raw, &limits) {
        Ok(Some((head, _))) => terms(&head, version, turn.snapshot.policy.http.limits.ranges_max),
        Ok(None) | Err(_) => Ok(Ranges::Whole),
    }
}
