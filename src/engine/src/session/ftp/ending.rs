//! How transfers end: the reply, the record, the session slot and the memory.
//!
//! Moves no byte.

use crate::catalog::{OpenError, StoreError, Stored};
use crate::session::arrivals::MEASUREMENTS;
use crate::session::ftp::context::Context;
use crate::session::ftp::session::{Closing, Session, Stage, Transfer, Way};
use crate::session::ftp::sink::Into;
use crate::session::stream::Payload;
use crate::session::{Abort, Failure, Outcome, Refusal, Stall};
use crate::ticket::Ticket;
use crate::vault::request::VaultError;
use wire::ftp::reply::Code;

impl Session {
    /// The upload is durable.
    pub(super) fn stored(&mut self, _: Stored, cx: &mut Context<'_>) {
        cx.counters.uploads_stored.up();
        self.end_transfer(Outcome::Done, Code::TRANSFER_DONE, "Stored, and safe.", cx);
    }

    pub(super) fn refuse_open(&mut self, fault: OpenError, cx: &mut Context<'_>) {
        let (outcome, code) = match fault {
            OpenError::Gone => (Outcome::Refused(Refusal::NoSuchFile), Code::UNAVAILABLE),
            // A file that cannot be read now is not reported as missing; it may be readable later.
            OpenError::BeingWritten
            | OpenError::Busy
            | OpenError::Unavailable
            | OpenError::Forbidden
            | OpenError::Io => (Outcome::Failed(Failure::Open(fault)), Code::BUSY),
            OpenError::NotServable | OpenError::TooLarge => {
                (Outcome::Failed(Failure::Open(fault)), Code::UNAVAILABLE)
            }
        };
        self.end_transfer(outcome, code, code.text(), cx);
    }

    pub(super) fn refuse_store(&mut self, fault: StoreError, cx: &mut Context<'_>) {
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
            StoreError::Unavailable => {
                (Code::BUSY, "Its directory is away, or the disk does not answer.")
            }
            StoreError::NotThere
            | StoreError::Precondition
            | StoreError::Forbidden
            | StoreError::Io => {
                (Code::LOCAL_ERROR, "The server could not store it; its log says why.")
            }
        };
        self.end_transfer(Outcome::of_store(fault), code, text, cx);
    }

    pub(super) fn refuse_vault(&mut self, denied: VaultError, cx: &mut Context<'_>) {
        let reads = !self.is_storing();
        match denied {
            VaultError::NotThere => {
                let no = Outcome::Refused(Refusal::NoSuchFile);
                let text = "Nothing is stored under this name.";
                self.end_transfer(no, Code::UNAVAILABLE, text, cx);
            }
            VaultError::Full => self.refuse_store(StoreError::Full, cx),
            VaultError::TotalMax => self.refuse_store(StoreError::TotalMax, cx),
            VaultError::Reserve => self.refuse_store(StoreError::Reserve, cx),
            VaultError::Busy => self.refuse_store(StoreError::Busy, cx),
            VaultError::Forbidden if reads => self.refuse_open(OpenError::Forbidden, cx),
            VaultError::Forbidden => self.refuse_store(StoreError::Forbidden, cx),
            VaultError::Io if reads => self.refuse_open(OpenError::Io, cx),
            VaultError::Io => self.refuse_store(StoreError::Io, cx),
            VaultError::Unavailable => self.refuse_store(StoreError::Unavailable, cx),
            VaultError::Precondition => self.refuse_store(StoreError::Precondition, cx),
            VaultError::TooMuch(_) => {
                let no = Outcome::Refused(Refusal::VaultBound);
                let text = "This address has stored as much as it may for now; try again later.";
                self.end_transfer(no, Code::NO_SPACE, text, cx);
            }
            VaultError::Unauthorized | VaultError::SlowedDown(_) => {
                let no = Outcome::Refused(Refusal::Unauthorized);
                self.end_transfer(no, Code::UNAVAILABLE, Code::UNAVAILABLE.text(), cx);
            }
        }
    }

    /// `ABOR` without a current transfer.
    pub(super) fn abort(&mut self, cx: &mut Context<'_>) {
        let had_data = self.data.is_some();
        self.drop_data(Closing::Reset, cx);
        let code = if had_data { Code::DATA_OPEN } else { Code::TRANSFER_DONE };
        self.reply(code, "No transfer was running.");
    }

    /// Aborts the current transfer for the client. Returns whether it did: an upload that is in its
    /// place, or a file that is wholly sent, stays.
    pub(super) fn break_off(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(transfer) = self.transfer() else {
            return false;
        };
        let is_in_time = match &transfer.stage {
            Stage::Closing => false,
            Stage::Storing => transfer.cancel.cancel(),
            Stage::Identity | Stage::Slot | Stage::Opening | Stage::Data(_) | Stage::Moving(_) => {
                true
            }
        };
        if is_in_time {
            let outcome = Outcome::Aborted(Abort::Asked);
            let text = Code::TRANSFER_ABORTED.text();
            self.end_transfer(outcome, Code::TRANSFER_ABORTED, text, cx);
        }
        is_in_time
    }

    /// The client will send nothing more. An upload that is not in its place yet is cancelled,
    /// because the client may have died in the middle of it (RFC 959, 4.1.1, `QUIT`).
    pub(super) fn take_back(&mut self, cx: &mut Context<'_>) {
        if !self.is_storing() {
            return;
        }
        let is_taken_back = self.transfer().is_some_and(|transfer| match &transfer.stage {
            _ if transfer.is_confirmed => false,
            Stage::Storing => transfer.cancel.cancel(),
            Stage::Identity
            | Stage::Slot
            | Stage::Opening
            | Stage::Data(_)
            | Stage::Moving(_)
            | Stage::Closing => true,
        });
        if is_taken_back {
            let outcome = Outcome::Aborted(Abort::Disconnected);
            let text = "You left before the file was stored: the old one stays.";
            self.end_transfer(outcome, Code::TRANSFER_ABORTED, text, cx);
        }
    }

    /// The control connection is lost, with the current command.
    pub(super) fn handle_control_lost(&mut self, how: Outcome, cx: &mut Context<'_>) {
        let transfer = self.transfer();
        let is_stored = transfer.is_some_and(|transfer| match &transfer.stage {
            Stage::Storing => transfer.is_confirmed || !transfer.cancel.cancel(),
            Stage::Identity
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
        self.conclude(outcome, cx);
    }

    /// The data connection of a transfer is closed.
    pub(super) fn data_closed(&mut self, cx: &mut Context<'_>) {
        let Some(transfer) = self.transfer() else { return };
        match &transfer.stage {
            Stage::Closing => {
                let text = Code::TRANSFER_DONE.text();
                self.end_transfer(Outcome::Done, Code::TRANSFER_DONE, text, cx);
            }
            Stage::Moving(Way::In(sink)) if sink.ended => {}
            Stage::Moving(_) | Stage::Data(_) => {
                self.data_lost(Outcome::Aborted(Abort::Disconnected), cx);
            }
            Stage::Identity | Stage::Slot | Stage::Opening | Stage::Storing => {}
        }
    }

    /// The data connection broke before the transfer was complete.
    pub(super) fn data_lost(&mut self, outcome: Outcome, cx: &mut Context<'_>) {
        let text = "The data connection was lost before all had come through.";
        self.end_transfer(outcome, Code::TRANSFER_ABORTED, text, cx);
    }

    /// Nothing has moved for too long.
    pub(super) fn transfer_due(&mut self, cx: &mut Context<'_>) {
        let Some(transfer) = self.transfer() else { return };
        if transfer.due.is_none_or(|due| cx.now < due) {
            return;
        }
        let mut reads = false;
        let waits_for_us = match &transfer.stage {
            Stage::Moving(Way::Out(source)) => {
                reads = !matches!(source.payload(), Payload::None) || source.is_sent();
                !reads
            }
            Stage::Moving(Way::In(sink)) => !sink.has_room() || sink.ended,
            Stage::Identity
            | Stage::Slot
            | Stage::Opening
            | Stage::Data(_)
            | Stage::Storing
            | Stage::Closing => true,
        };
        if reads && let Some(data) = &mut self.data {
            // Only a measurement shows whether anything has arrived meanwhile.
            data.arrivals.needs_measure = true;
            cx.shared.ready.push_back(data.id);
            if let Some(transfer) = self.transfer_mut() {
                let next_check = cx.snapshot.policy.ftp.limits.stall_timeout / MEASUREMENTS;
                transfer.due = Some(cx.now + next_check);
            }
            return;
        }
        let stall = self.sending_stall(cx);
        let log = self.job_mut().and_then(|job| job.log.as_mut());
        if let Some(log) = log.filter(|_| waits_for_us) {
            // This time does not count as the client's.
            log.moves_since = cx.now;
        }
        let before = cx.shared.store_requests.len();
        self.keep_moving(cx);
        if waits_for_us || cx.shared.store_requests.len() > before {
            return;
        }
        self.stalled(stall, cx);
    }

    /// The client lets a transfer stall.
    pub(super) fn stalled(&mut self, stall: Stall, cx: &mut Context<'_>) {
        cx.counters.stream_too_slow.up();
        let text = "Nothing has moved for too long.";
        self.end_transfer(Outcome::Stalled(stall), Code::TRANSFER_ABORTED, text, cx);
    }

    /// Ends a transfer with its last reply.
    pub(super) fn end_transfer(
        &mut self,
        outcome: Outcome,
        code: Code,
        text: &str,
        cx: &mut Context<'_>,
    ) {
        self.settings.rest = 0;
        // An incomplete file must not look whole, and further bytes are not needed.
        let stage = self.transfer().map(|transfer| &transfer.stage);
        let how = match stage {
            Some(Stage::Moving(_)) => Closing::Reset,
            Some(
                Stage::Identity
                | Stage::Slot
                | Stage::Opening
                | Stage::Data(_)
                | Stage::Storing
                | Stage::Closing,
            )
            | None => Closing::InPeace,
        };
        self.conclude(outcome, cx);
        self.drop_data(how, cx);
        self.reply(code, text);
        self.rearm(cx);
        cx.note_ready();
    }

    /// Releases what a transfer held.
    pub(super) fn release(
        &self,
        transfer: Transfer,
        question: Option<Ticket>,
        cx: &mut Context<'_>,
    ) {
        if let (Stage::Slot, Some(question)) = (&transfer.stage, question) {
            cx.admission.slots.cancel(question);
        }
        if transfer.has_slot {
            cx.admission.slots.end(self.peer.ip(), false, cx.now);
        }
        let sink = match transfer.stage {
            Stage::Data(Way::In(sink)) | Stage::Moving(Way::In(sink)) => sink,
            // A transfer reported as failed must change nothing; if it is stored, this does
            // nothing.
            Stage::Storing if !transfer.is_confirmed => {
                transfer.cancel.cancel();
                return;
            }
            Stage::Identity
            | Stage::Slot
            | Stage::Opening
            | Stage::Data(_)
            | Stage::Moving(_)
            | Stage::Storing
            | Stage::Closing => return,
        };
        cx.shared.uploads_held -= sink.bytes_held();
        if let Into::Tree { part: Some(part), .. } = sink.into {
            cx.discard(part);
        }
    }
}
