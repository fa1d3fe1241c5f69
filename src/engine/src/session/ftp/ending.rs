//! How transfers end: the client told, the log told, the slot and the memory let go.
//!
//! Moves no byte.

use std::net::SocketAddr;

use crate::catalog::{OpenError, StoreError, Stored, Ticket};
use crate::session::arrivals::LOOKS;
use crate::session::ftp::engine::Engine;
use crate::session::ftp::session::{Closing, Stage, Transfer, Way};
use crate::session::ftp::sink::Into;
use crate::session::stream::{ConnectionId, Payload};
use crate::session::{Abort, Failure, Outcome, Refusal, Stall, Turn};
use crate::vault::deed::Denied;
use wire::ftp::reply::Code;

impl Engine {
    /// What was sent is durable.
    pub(super) fn stored(&mut self, id: ConnectionId, _: Stored, turn: &mut Turn<'_>) {
        turn.counters.uploads_stored.up();
        self.end_transfer(id, Outcome::Done, Code::TRANSFER_DONE, "Stored, and safe.", turn);
    }

    pub(super) fn refuse_open(&mut self, id: ConnectionId, fault: OpenError, turn: &mut Turn<'_>) {
        let (outcome, code) = match fault {
            OpenError::Gone => (Outcome::Refused(Refusal::NoSuchFile), Code::UNAVAILABLE),
            // What cannot be read now is not told to be missing, and may well be there later.
            OpenError::BeingWritten
            | OpenError::Busy
            | OpenError::Unavailable
            | OpenError::Forbidden
            | OpenError::Io => (Outcome::Failed(Failure::Open(fault)), Code::BUSY),
            OpenError::NotServable | OpenError::TooLarge => {
                (Outcome::Failed(Failure::Open(fault)), Code::UNAVAILABLE)
            }
        };
        self.end_transfer(id, outcome, code, code.text(), turn);
    }

    pub(super) fn refuse_store(
        &mut self,
        id: ConnectionId,
        fault: StoreError,
        turn: &mut Turn<'_>,
    ) {
        let (code, text) = match fault {
            StoreError::Full | StoreError::TotalMax | StoreError::Reserve => {
                (Code::NO_SPACE, Code::NO_SPACE.text())
            }
            StoreError::Exists => (Code::NAME_DENIED, "There is a file of this name already."),
            StoreError::Busy
            | StoreError::NoMemory
            | StoreError::TooManyAside
            | StoreError::NoDescriptor => {
                (Code::BUSY, "Too many uploads are being stored; try again.")
            }
            StoreError::NotAFile => (Code::NAME_DENIED, "A directory is in the way."),
            StoreError::NotThere
            | StoreError::Precondition
            | StoreError::Forbidden
            | StoreError::Io => {
                (Code::LOCAL_ERROR, "The server could not store it; its log says why.")
            }
        };
        self.end_transfer(id, Outcome::of_store(fault), code, text, turn);
    }

    pub(super) fn refuse_deed(&mut self, id: ConnectionId, denied: Denied, turn: &mut Turn<'_>) {
        match denied {
            Denied::NotThere => {
                let no = Outcome::Refused(Refusal::NoSuchFile);
                let text = "Nothing is stored under this name.";
                self.end_transfer(id, no, Code::UNAVAILABLE, text, turn);
            }
            Denied::Full => self.refuse_store(id, StoreError::Full, turn),
            Denied::TotalMax => self.refuse_store(id, StoreError::TotalMax, turn),
            Denied::Reserve => self.refuse_store(id, StoreError::Reserve, turn),
            Denied::Busy => self.refuse_store(id, StoreError::Busy, turn),
            Denied::Forbidden => self.refuse_store(id, StoreError::Forbidden, turn),
            Denied::Io => self.refuse_store(id, StoreError::Io, turn),
            Denied::Precondition => self.refuse_store(id, StoreError::Precondition, turn),
            Denied::TooMuch(_) => {
                let no = Outcome::Refused(Refusal::VaultBound);
                let text = "This address has stored as much as it may for now; try again later.";
                self.end_transfer(id, no, Code::NO_SPACE, text, turn);
            }
            Denied::Unauthorized | Denied::SlowedDown(_) => {
                let no = Outcome::Refused(Refusal::Unauthorized);
                self.end_transfer(id, no, Code::UNAVAILABLE, Code::UNAVAILABLE.text(), turn);
            }
        }
    }

    /// `ABOR` where nothing is in hand.
    pub(super) fn abort(&mut self, id: ConnectionId) {
        let had_data = self.session(id).is_some_and(|session| session.data.is_some());
        self.drop_data(id, Closing::Reset);
        let code = if had_data { Code::DATA_OPEN } else { Code::TRANSFER_DONE };
        self.reply(id, code, "No transfer was running.");
    }

    /// Breaks the transfer in hand off, because the client asks for it. Says whether that was
    /// done: what is in its place on the disk, or on its way out as a whole, stays.
    pub(super) fn break_off(&mut self, id: ConnectionId, turn: &mut Turn<'_>) -> bool {
        let Some(transfer) = self.session(id).and_then(|session| session.transfer()) else {
            return false;
        };
        let is_in_time = match &transfer.stage {
            Stage::Closing => false,
            Stage::Storing => transfer.cancel.cancel(),
            Stage::Passport | Stage::Slot | Stage::Opening | Stage::Data(_) | Stage::Moving(_) => {
                true
            }
        };
        if is_in_time {
            let outcome = Outcome::Aborted(Abort::Asked);
            let text = Code::TRANSFER_ABORTED.text();
            self.end_transfer(id, outcome, Code::TRANSFER_ABORTED, text, turn);
        }
        is_in_time
    }

    /// The client will say nothing any more: an upload that is not in its place yet is taken back,
    /// for the client may have died in the middle of it (RFC 959, 4.1.1, `QUIT`).
    pub(super) fn take_back(&mut self, id: ConnectionId, turn: &mut Turn<'_>) {
        let Some(session) = self.session(id).filter(|session| session.is_storing()) else { return };
        let is_taken_back = session.transfer().is_some_and(|transfer| match &transfer.stage {
            _ if transfer.is_confirmed => false,
            Stage::Storing => transfer.cancel.cancel(),
            Stage::Passport
            | Stage::Slot
            | Stage::Opening
            | Stage::Data(_)
            | Stage::Moving(_)
            | Stage::Closing => true,
        });
        if is_taken_back {
            let outcome = Outcome::Aborted(Abort::Disconnected);
            let text = "You left before the file was stored: the old one stays.";
            self.end_transfer(id, outcome, Code::TRANSFER_ABORTED, text, turn);
        }
    }

    /// The control connection is lost, with the command that is in hand.
    pub(super) fn lose(&mut self, id: ConnectionId, how: Outcome, turn: &mut Turn<'_>) {
        let transfer = self.session(id).and_then(|session| session.transfer());
        let is_stored = transfer.is_some_and(|transfer| match &transfer.stage {
            Stage::Storing => transfer.is_confirmed || !transfer.cancel.cancel(),
            Stage::Passport
            | Stage::Slot
            | Stage::Opening
            | Stage::Data(_)
            | Stage::Moving(_)
            | Stage::Closing => false,
        });
        let outcome = match is_stored {
            true => Outcome::DoneUnacknowledged,
            false => how,
        };
        self.conclude(id, outcome, turn);
    }

    /// The data connection of a transfer is closed.
    pub(super) fn data_closed(
        &mut self,
        id: ConnectionId,
        data: ConnectionId,
        turn: &mut Turn<'_>,
    ) {
        let Some(transfer) = self.session(id).and_then(|session| session.transfer()) else {
            return;
        };
        if transfer.data != Some(data) {
            return;
        }
        match &transfer.stage {
            Stage::Closing => {
                let text = Code::TRANSFER_DONE.text();
                self.end_transfer(id, Outcome::Done, Code::TRANSFER_DONE, text, turn);
            }
            Stage::Moving(Way::In(sink)) if sink.ended => {}
            Stage::Moving(_) | Stage::Data(_) => {
                self.data_lost(id, Outcome::Aborted(Abort::Disconnected), turn);
            }
            Stage::Passport | Stage::Slot | Stage::Opening | Stage::Storing => {}
        }
    }

    /// The data connection broke before all had moved.
    pub(super) fn data_lost(&mut self, id: ConnectionId, outcome: Outcome, turn: &mut Turn<'_>) {
        let text = "The data connection was lost before all had come through.";
        self.end_transfer(id, outcome, Code::TRANSFER_ABORTED, text, turn);
    }

    /// Nothing has moved for too long.
    pub(super) fn transfer_due(&mut self, id: ConnectionId, turn: &mut Turn<'_>) {
        let Some(session) = self.session(id) else { return };
        let Some(transfer) = session.transfer() else { return };
        if transfer.due.is_none_or(|due| turn.now < due) {
            return;
        }
        let (data, mut reads) = (transfer.data, false);
        let waits_for_us = match &transfer.stage {
            Stage::Moving(Way::Out(source)) => {
                reads = !matches!(source.payload(), Payload::None) || source.is_sent();
                !reads
            }
            Stage::Moving(Way::In(sink)) => !sink.has_room() || sink.ended,
            Stage::Passport
            | Stage::Slot
            | Stage::Opening
            | Stage::Data(_)
            | Stage::Storing
            | Stage::Closing => true,
        };
        if reads && let Some(data) = data {
            // Only a look tells whether anything has arrived meanwhile.
            if let Some(transfer) = self.session_mut(id).and_then(|one| one.transfer_mut()) {
                transfer.due =
                    Some(turn.now + turn.snapshot.policy.ftp.limits.stall_timeout / LOOKS);
            }
            if let Some(row) = self.data_mut(data) {
                row.arrivals.is_doubted = true;
            }
            return self.ready.push_back(data);
        }
        let stall = self.sending_stall(id, turn);
        let told = self.session_mut(id).and_then(|one| one.job_mut()?.told.as_mut());
        if let Some(told) = told.filter(|_| waits_for_us) {
            // The client is not slow meanwhile.
            told.moves_since = turn.now;
        }
        let asked = self.asks.len();
        self.keep_moving(id, turn);
        if waits_for_us || self.asks.len() > asked {
            return;
        }
        self.stalled(id, stall, turn);
    }

    /// The client lets a transfer stand still.
    pub(super) fn stalled(&mut self, id: ConnectionId, stall: Stall, turn: &mut Turn<'_>) {
        turn.counters.stream_too_slow.up();
        let text = "Nothing has moved for too long.";
        self.end_transfer(id, Outcome::Stalled(stall), Code::TRANSFER_ABORTED, text, turn);
    }

    /// Ends a transfer with its last reply.
    pub(super) fn end_transfer(
        &mut self,
        id: ConnectionId,
        outcome: Outcome,
        code: Code,
        text: &str,
        turn: &mut Turn<'_>,
    ) {
        let Some(session) = self.session_mut(id) else { return };
        session.rest = 0;
        // A file that breaks off must not look whole, and what still comes is not wanted.
        let stage = session.transfer().map(|transfer| &transfer.stage);
        let how = match stage {
            Some(Stage::Moving(_)) => Closing::Reset,
            Some(
                Stage::Passport
                | Stage::Slot
                | Stage::Opening
                | Stage::Data(_)
                | Stage::Storing
                | Stage::Closing,
            )
            | None => Closing::InPeace,
        };
        self.conclude(id, outcome, turn);
        self.drop_data(id, how);
        self.reply(id, code, text);
        self.rearm(id, turn);
        self.ready.push_back(id);
    }

    /// Gives back what a transfer held.
    pub(super) fn release(
        &mut self,
        id: ConnectionId,
        transfer: Transfer,
        question: Option<Ticket>,
        peer: SocketAddr,
        turn: &mut Turn<'_>,
    ) {
        if let (Stage::Slot, Some(question)) = (&transfer.stage, question) {
            turn.admission.slots.cancel(question);
        }
        if transfer.has_slot {
            turn.admission.slots.end(peer.ip(), turn.now);
        }
        let sink = match transfer.stage {
            Stage::Data(Way::In(sink)) | Stage::Moving(Way::In(sink)) => sink,
            // What is told to have failed has changed nothing; where it is done, this does nothing.
            Stage::Storing if !transfer.is_confirmed => {
                transfer.cancel.cancel();
                return;
            }
            Stage::Passport
            | Stage::Slot
            | Stage::Opening
            | Stage::Data(_)
            | Stage::Moving(_)
            | Stage::Storing
            | Stage::Closing => return,
        };
        self.uploads_held -= sink.bytes_held();
        if let Into::Tree { part: Some(part), .. } = sink.into {
            self.discard(id, part);
        }
    }
}
