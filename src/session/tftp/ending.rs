//! How transfers end: the phone told, the row forgotten, the log given its record.
//!
//! Decides nothing; others say that a transfer is over, and why.

use crate::content::{OpenError, StoreError};
use crate::count::Counters;
use crate::session::tftp::engine::{Arrival, Engine};
use crate::session::tftp::lanes::Reply;
use crate::session::tftp::transfer::{PortId, State, Transfer, TransferId};
use crate::session::{Failure, Outcome, Protocol, Record, Refusal, Turn};
use crate::time::Instant;
use crate::wire::tftp::{Control, ErrorCode};

impl Engine {
    /// The last block is acknowledged. Where the phone has asked for the same file again a moment
    /// ago, that was its next request, and its own last ACK was still on the way.
    pub(super) fn finish_read(&mut self, id: TransferId, turn: &mut Turn<'_>) {
        let again = self.transfers.open(id).is_some_and(|transfer| transfer.asked_again(turn.now));
        let done = self.end(id, Outcome::Done, turn);
        if let Some(done) = done.filter(|_| again) {
            self.restart(done, turn);
        }
    }

    /// Ends a transfer with an ERROR to its phone that says what to do.
    pub(super) fn fail(&mut self, id: TransferId, failure: Failure, turn: &mut Turn<'_>) {
        let (code, text) = match failure {
            Failure::FileChanged => (ErrorCode::UNDEFINED, "File changed, ask again"),
            Failure::Open(OpenError::BeingWritten) => {
                (ErrorCode::UNDEFINED, "File is being written, ask again")
            }
            Failure::Open(OpenError::TooLarge) => (ErrorCode::ACCESS, "Too large for netascii"),
            Failure::Open(_) => (ErrorCode::ACCESS, "File cannot be read"),
            Failure::Store(StoreError::Full) => (ErrorCode::FULL, "Disk full"),
            Failure::Store(StoreError::Exists) => (ErrorCode::EXISTS, "File exists"),
            Failure::Store(StoreError::Busy) => (ErrorCode::UNDEFINED, "Busy, try again"),
            Failure::Store(_) => (ErrorCode::ACCESS, "File cannot be stored"),
            Failure::SendRefused | Failure::Stopped => (ErrorCode::UNDEFINED, "Server stops"),
        };
        self.end_with_error(id, Outcome::Failed(failure), code, text, turn);
    }

    pub(super) fn refuse_open(&mut self, id: TransferId, refusal: Refusal, turn: &mut Turn<'_>) {
        let (code, text) = refusal_text(refusal);
        self.end_with_error(id, Outcome::Refused(refusal), code, text, turn);
    }

    fn end_with_error(
        &mut self,
        id: TransferId,
        outcome: Outcome,
        code: ErrorCode,
        text: &str,
        turn: &mut Turn<'_>,
    ) {
        let Some(transfer) = self.end(id, outcome, turn) else { return };
        let (peer, from) = (transfer.peer, transfer.from);
        self.send_lone(
            transfer.port,
            Reply { peer, from, packet: Control::error(code, text) },
            turn.counters,
        );
    }

    /// Answers a datagram that belongs to no transfer.
    pub(super) fn reply(&mut self, arrival: Arrival<'_>, packet: Control, counters: &Counters) {
        let reply = Reply { peer: arrival.peer, from: arrival.from, packet };
        self.send_lone(arrival.port, reply, counters);
    }

    fn send_lone(&mut self, port: PortId, reply: Reply, counters: &Counters) {
        if self.ports[usize::from(port.0)].lanes.reply(reply) {
            counters.tftp_errors_sent.up();
        }
    }

    /// Ends a transfer without a word to its phone.
    pub(super) fn finish(&mut self, id: TransferId, outcome: Outcome, turn: &mut Turn<'_>) {
        let _ended = self.end(id, outcome, turn);
    }

    /// Ends a transfer and says so in the log.
    fn end(&mut self, id: TransferId, outcome: Outcome, turn: &mut Turn<'_>) -> Option<Transfer> {
        let transfer = self.forget(id, turn)?;
        let (began, told) = match &transfer.state {
            State::Waiting => (false, false),
            State::Opening | State::Sending(..) => (true, false),
            // A dallying upload has had its record, and its slot is free already.
            State::Receiving(receiving) => (!receiving.is_dallying(), receiving.is_dallying()),
        };
        if began {
            turn.admission.slots.end(transfer.peer.ip(), turn.now);
        }
        if !told {
            self.note(record(&transfer, outcome, turn.now), turn.counters);
        }
        Some(transfer)
    }

    /// Takes a transfer out of every list.
    fn forget(&mut self, id: TransferId, turn: &mut Turn<'_>) -> Option<Transfer> {
        let transfer = self.transfers.remove(id)?;
        if transfer.is_half_open() {
            self.half_open.count -= 1;
        }
        match &transfer.state {
            State::Waiting => turn.admission.slots.cancel(id.into()),
            State::Opening => {}
            State::Sending(sending, _) => {
                self.memory.note(transfer.peer.ip(), sending.rto().round_trip());
            }
            State::Receiving(receiving) => {
                self.upload_bytes_held -= receiving.bytes_held();
                self.memory.note(transfer.peer.ip(), receiving.rto().round_trip());
            }
        }
        self.past.note(transfer.peer, transfer.port, turn.now);
        Some(transfer)
    }

    /// Counts an outcome and hands it to the log.
    pub(super) fn note(&mut self, record: Record, counters: &Counters) {
        record.outcome.count(counters);
        self.records.push_back(record);
    }
}

pub(super) fn record(transfer: &Transfer, outcome: Outcome, now: Instant) -> Record {
    let (bytes, blocks_resent, trip) = match &transfer.state {
        State::Waiting | State::Opening => (0, 0, None),
        State::Sending(sending, blob) => (
            sending.bytes_acked(blob.bytes()),
            sending.blocks_resent(),
            sending.rto().round_trip().smoothed(),
        ),
        State::Receiving(receiving) => {
            (receiving.bytes_taken(), 0, receiving.rto().round_trip().smoothed())
        }
    };
    let told = (transfer.file.verb(), transfer.file.subject());
    Record {
        took: now.since(transfer.began),
        bytes,
        blocks_resent,
        round_trip: trip,
        ..Record::new(Protocol::Tftp, transfer.peer, told, transfer.began, outcome)
    }
}

/// What a refused phone is told. No text is longer than the shortest request that it answers, so
/// that a refusal never amplifies.
pub(super) fn refusal_text(refusal: Refusal) -> (ErrorCode, &'static str) {
    match refusal {
        Refusal::Malformed => (ErrorCode::ILLEGAL, ""),
        Refusal::BadName(_) => (ErrorCode::ACCESS, "Bad name"),
        Refusal::NoSuchFile => (ErrorCode::NOT_FOUND, "Not found"),
        Refusal::AccessDenied | Refusal::UploadNotAllowed | Refusal::Unauthorized => {
            (ErrorCode::ACCESS, "Denied")
        }
        Refusal::UploadTooLarge => (ErrorCode::FULL, "Too large"),
        Refusal::ModeUnknown => (ErrorCode::ILLEGAL, "Bad mode"),
        Refusal::NoSlot | Refusal::TooManyTransfers => (ErrorCode::UNDEFINED, "Busy"),
        Refusal::Stopping => (ErrorCode::UNDEFINED, "Stopping"),
        // TFTP knows none of these.
        Refusal::MethodNotAllowed
        | Refusal::NotImplemented
        | Refusal::BadEscape
        | Refusal::BadPath(_)
        | Refusal::BadRequest(_)
        | Refusal::LengthRequired
        | Refusal::RangeNotSatisfiable
        | Refusal::PreconditionFailed
        | Refusal::ExpectationUnknown
        | Refusal::CertificateNeeded
        | Refusal::SlowedDown
        | Refusal::TooSlow
        | Refusal::TooManyConnections
        | Refusal::Handshake(_)
        | Refusal::Unidentified(_)
        | Refusal::NobodyLoggedIn
        | Refusal::OtherExtension
        | Refusal::ExtensionMissing
        | Refusal::DataConnection(_)
        | Refusal::Files(_)
        | Refusal::ForeignHttp
        | Refusal::Conflict(_)
        | Refusal::ForeignTls => (ErrorCode::UNDEFINED, "Refused"),
    }
}
