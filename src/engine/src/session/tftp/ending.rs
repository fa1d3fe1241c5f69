//! How transfers end: an ERROR to the phone, the row removed, and a record for the log.
//!
//! Decides nothing; callers say that a transfer has ended, and why.

use crate::catalog::{OpenError, StoreError};
use crate::metrics::Counters;
use crate::protocol::Protocol;
use crate::session::tftp::engine::{Datagram, Engine};
use crate::session::tftp::refusal::TftpRefusal;
use crate::session::tftp::send_queues::Reply;
use crate::session::tftp::transfer::{File, PortId, Transfer, TransferId, TransferState, ticket};
use crate::session::{
    Abort, Failure, Outcome, Record, Subject, TurnContext, Verb, WORDS_BYTES_MAX, clip,
};
use vendor::{header_reads, probes};
use wire::tftp::{Control, ErrorCode};
use wire::time::Instant;

impl Engine {
    /// The last block is acknowledged. If the phone asked for the same file again just before, that
    /// was its next request, sent while its last ACK was still under way.
    pub(super) fn finish_read(&mut self, id: TransferId, turn: &mut TurnContext<'_>) {
        let again = self.transfers.open(id).is_some_and(|transfer| transfer.asked_again(turn.now));
        let done = self.end(id, Outcome::Done, turn);
        if let Some(Transfer { peer, file: File::Read(entry), .. }) = &done {
            self.recent_peers.note_read(*peer, entry);
        }
        if let Some(done) = done.filter(|_| again) {
            self.restart(done, turn);
        }
    }

    /// The phone ends its transfer. It gets no answer: an ERROR is never answered.
    pub(super) fn handle_error(
        &mut self,
        code: ErrorCode,
        text: &[u8],
        datagram: Datagram<'_>,
        turn: &mut TurnContext<'_>,
    ) {
        let words = (!text.is_empty()).then(|| clip(text, WORDS_BYTES_MAX));
        let id = self.transfers.find(datagram.peer);
        let is_here = |transfer: &&mut Transfer| {
            transfer.port == datagram.port && transfer.from == datagram.from
        };
        let Some(id) = id else { return self.handle_late_error(code, words, datagram, turn) };
        let Some(transfer) = self.transfers.open_mut(id).filter(is_here) else { return };
        if let (TransferState::Receiving(receiving), File::Write(target)) =
            (&transfer.state, &mut transfer.file)
            && receiving.is_whole()
            && !target.cancel.cancel()
        {
            // The file is in its place, and only the log shows this text.
            target.words = words.map(Box::from);
            return;
        }
        let (is_opening, asked_size) = match &transfer.state {
            // Nothing was sent that an ERROR could answer, so it is forged or late.
            TransferState::Waiting | TransferState::Opening => return,
            TransferState::Sending(sending, _) if !sending.has_sent() => return,
            TransferState::Sending(sending, _) => {
                (sending.is_opening(), transfer.requested.options.tsize.is_some())
            }
            TransferState::Receiving(receiving) if receiving.unproven_sends() == 0 => return,
            // All that was sent is stored, and the log has it.
            TransferState::Receiving(receiving) if receiving.is_stored() => return,
            TransferState::Receiving(receiving) => (!receiving.is_proven(), false),
        };
        let is_probe = code == ErrorCode::OPTIONS
            || (asked_size && code == ErrorCode::UNDEFINED && probes::is_probe_text(text));
        let abort = if is_opening && is_probe {
            Abort::OptionsProbe
        } else if code == ErrorCode::UNDEFINED && text.is_empty() && is_header_read(transfer) {
            Abort::HeaderRead
        } else {
            Abort::ByPhone(code.0)
        };
        let _ended = self.end_with_words(id, Outcome::Aborted(abort), words, turn);
    }

    /// A phone that acknowledged a whole file reports an error about it: logged once.
    fn handle_late_error(
        &mut self,
        code: ErrorCode,
        words: Option<&[u8]>,
        datagram: Datagram<'_>,
        turn: &mut TurnContext<'_>,
    ) {
        // Without a text it has no meaning: many phones end like this after reading.
        let (Some(words), Datagram { peer, port, .. }) = (words, datagram) else { return };
        let Some(entry) = self.recent_peers.take_read(peer, port, turn.now) else { return };
        let bytes = entry.version.bytes;
        let about = (Verb::Fetch, Subject::File(entry));
        let outcome = Outcome::Aborted(Abort::ByPhone(code.0));
        let record = Record::new(Protocol::Tftp, peer, about, turn.now, outcome);
        let words = Some(words.into());
        let record = Record { bytes, of_bytes: Some(bytes), words, ..record };
        self.note(record, turn.counters);
    }

    /// The reading phone is silent for too long.
    pub(super) fn give_up(&mut self, id: TransferId, turn: &mut TurnContext<'_>) {
        let is_header = self.transfers.open(id).is_some_and(is_header_read);
        let header = Outcome::Aborted(Abort::HeaderRead);
        self.finish(id, if is_header { header } else { Outcome::TimedOut }, turn);
    }

    /// Ends a transfer with an ERROR that tells the phone what to do.
    pub(super) fn fail(&mut self, id: TransferId, failure: Failure, turn: &mut TurnContext<'_>) {
        let (code, text) = match failure {
            Failure::FileChanged => (ErrorCode::UNDEFINED, "File changed, ask again"),
            Failure::Open(OpenError::BeingWritten) => {
                (ErrorCode::UNDEFINED, "File is being written, ask again")
            }
            // A file that cannot be read now is not reported as missing; it may be readable later.
            Failure::Open(OpenError::Forbidden | OpenError::Io | OpenError::Unavailable) => {
                (ErrorCode::UNDEFINED, "Cannot be read now, try again")
            }
            Failure::Open(OpenError::TooLarge) => (ErrorCode::ACCESS, "Too large for netascii"),
            Failure::Open(_) => (ErrorCode::ACCESS, "File cannot be read"),
            Failure::Store(StoreError::Full) => (ErrorCode::FULL, "Disk full"),
            Failure::Store(StoreError::Exists) => (ErrorCode::EXISTS, "File exists"),
            Failure::Store(
                StoreError::Busy
                | StoreError::NoMemory
                | StoreError::TooManyAside
                | StoreError::NoDescriptor,
            ) => (ErrorCode::UNDEFINED, "Busy, try again"),
            Failure::Store(StoreError::Unavailable) => {
                (ErrorCode::UNDEFINED, "Cannot be stored now, try again")
            }
            Failure::Store(_) => (ErrorCode::ACCESS, "File cannot be stored"),
            Failure::SendRefused | Failure::Stopped => (ErrorCode::UNDEFINED, "Server stops"),
        };
        let outcome = match failure {
            Failure::Store(fault) => Outcome::of_store(fault),
            Failure::Open(_) | Failure::FileChanged | Failure::SendRefused | Failure::Stopped => {
                Outcome::Failed(failure)
            }
        };
        self.end_with_error(id, outcome, code, text, turn);
    }

    pub(super) fn refuse_open(
        &mut self,
        id: TransferId,
        refusal: TftpRefusal,
        turn: &mut TurnContext<'_>,
    ) {
        let (code, text) = refusal.text();
        self.end_with_error(id, Outcome::Refused(refusal.into()), code, text, turn);
    }

    /// An upload's size differs from its `tsize`: the ERROR has both sizes.
    pub(super) fn refuse_size(
        &mut self,
        id: TransferId,
        announced: u64,
        turn: &mut TurnContext<'_>,
    ) {
        let Some(transfer) = self.transfers.open(id) else { return };
        let TransferState::Receiving(receiving) = &transfer.state else { return };
        let text = format!("{} bytes came, tsize was {announced}", receiving.bytes_taken());
        let refusal = TftpRefusal::SizeDiffers;
        let outcome = Outcome::Refused(refusal.into());
        self.end_with_error(id, outcome, refusal.text().0, &text, turn);
    }

    fn end_with_error(
        &mut self,
        id: TransferId,
        outcome: Outcome,
        code: ErrorCode,
        text: &str,
        turn: &mut TurnContext<'_>,
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
    pub(super) fn reply(&mut self, datagram: Datagram<'_>, packet: Control, counters: &Counters) {
        let reply = Reply { peer: datagram.peer, from: datagram.from, packet };
        self.send_lone(datagram.port, reply, counters);
    }

    fn send_lone(&mut self, port: PortId, reply: Reply, counters: &Counters) {
        if self.ports[usize::from(port.0)].send_queues.reply(reply) {
            counters.tftp_errors_sent.up();
        }
    }

    /// Ends a transfer without an answer to its phone.
    pub(super) fn finish(&mut self, id: TransferId, outcome: Outcome, turn: &mut TurnContext<'_>) {
        let _ended = self.end(id, outcome, turn);
    }

    /// Ends a transfer and records it in the log.
    fn end(
        &mut self,
        id: TransferId,
        outcome: Outcome,
        turn: &mut TurnContext<'_>,
    ) -> Option<Transfer> {
        self.end_with_words(id, outcome, None, turn)
    }

    /// The same, with the phone's text.
    fn end_with_words(
        &mut self,
        id: TransferId,
        outcome: Outcome,
        words: Option<&[u8]>,
        turn: &mut TurnContext<'_>,
    ) -> Option<Transfer> {
        let transfer = self.forget(id, turn)?;
        let (began, is_logged) = match &transfer.state {
            TransferState::Waiting => (false, false),
            TransferState::Opening | TransferState::Sending(..) => (true, false),
            // A stored upload has its record already, and its slot is free.
            TransferState::Receiving(receiving) => (!receiving.is_stored(), receiving.is_stored()),
        };
        if began {
            turn.admission.slots.end(transfer.peer.ip(), transfer.is_silent, turn.now);
        }
        if began && !transfer.is_half_open() {
            turn.admission.booting.end(transfer.peer.ip(), outcome.lets_go_on(), turn.now);
        }
        if !is_logged {
            let mut record = record(&transfer, outcome, turn.now);
            record.words = words.map(Box::from);
            if outcome == Outcome::TimedOut && record.bytes == 0 {
                record.server_port = self.ports[usize::from(transfer.port.0)].number;
            }
            self.note(record, turn.counters);
        }
        Some(transfer)
    }

    /// Removes a transfer from every list.
    pub(super) fn forget(
        &mut self,
        id: TransferId,
        turn: &mut TurnContext<'_>,
    ) -> Option<Transfer> {
        let mut transfer = self.transfers.remove(id)?;
        self.order.leave(&mut transfer.standing);
        if let File::Write(target) = &mut transfer.file {
            target.spool.take().into_iter().for_each(|spool| self.forget_spool(id, spool));
            if target.is_aside {
                self.aside.give_back(transfer.peer.ip());
            }
        }
        if transfer.is_half_open() {
            self.half_open.count -= 1;
        }
        match &transfer.state {
            TransferState::Waiting => turn.admission.slots.cancel(ticket(id)),
            TransferState::Opening => {}
            TransferState::Sending(sending, _) => {
                self.memory.note(transfer.peer.ip(), sending.rto().round_trip());
            }
            TransferState::Receiving(receiving) => {
                self.upload_bytes_held -= receiving.bytes_held();
                self.memory.note(transfer.peer.ip(), receiving.rto().round_trip());
            }
        }
        self.recent_peers.note(transfer.peer, transfer.port, turn.now);
        Some(transfer)
    }

    /// Counts an outcome and passes it to the log.
    pub(super) fn note(&mut self, record: Record, counters: &Counters) {
        record.outcome.count(counters);
        self.records.push_back(record);
    }
}

/// Returns whether a phone has read only the beginning of a file, as it does to compare versions.
fn is_header_read(transfer: &Transfer) -> bool {
    let (TransferState::Sending(sending, blob), File::Read(entry)) =
        (&transfer.state, &transfer.file)
    else {
        return false;
    };
    sending.bytes_acked(blob.bytes()) > 0
        && header_reads::header_read(entry.path.as_bytes()).is_some()
}

pub(super) fn record(transfer: &Transfer, outcome: Outcome, now: Instant) -> Record {
    let announced = transfer.requested.options.tsize.filter(|bytes| *bytes > 0);
    let (bytes, of_bytes, blocks_resent, trip) = match &transfer.state {
        TransferState::Waiting | TransferState::Opening => (0, None, 0, None),
        TransferState::Sending(sending, blob) => (
            sending.bytes_acked(blob.bytes()),
            Some(blob.bytes()),
            sending.blocks_resent(),
            sending.rto().round_trip().smoothed(),
        ),
        TransferState::Receiving(receiving) => {
            (receiving.bytes_taken(), announced, 0, receiving.rto().round_trip().smoothed())
        }
    };
    let about = (transfer.file.verb(), transfer.file.subject());
    Record {
        took: now.since(transfer.began),
        bytes,
        of_bytes,
        blocks_resent,
        round_trip: trip,
        ..Record::new(Protocol::Tftp, transfer.peer, about, transfer.began, outcome)
    }
}
