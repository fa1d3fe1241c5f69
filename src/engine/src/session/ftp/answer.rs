//! What the loader, the vault, whoever manages files, and the queue of session slots say.
//!
//! An answer for a session that has gone, or that waits for the answer to another question, does
//! nothing; an upload that nobody waits for any more is forgotten.

use crate::catalog::{Answer, Ask, OpenError, StoreError, Ticket};
use crate::files;
use crate::session::ftp::engine::Engine;
use crate::session::ftp::session::{Connection, Stage, Way};
use crate::session::ftp::sink::{Into, Sink};
use crate::session::ftp::source::Source;
use crate::session::stream::ConnectionId;
use crate::session::{Outcome, Refusal, Turn};
use crate::vault::deed::{Denied, Done};
use wire::ftp::command::Type;
use wire::ftp::reply::Code;
use wire::time::Duration;

/// How soon a question that a full queue gave back is asked again.
const ASK_AGAIN: Duration = Duration::from_millis(20);

impl Engine {
    /// The loader, the vault or whoever manages files has answered.
    pub fn handle_answer(&mut self, answer: Answer, turn: &mut Turn<'_>) {
        let id = answer.ticket().row;
        if !self.take_question(answer.ticket()) {
            return self.drop_answer(answer);
        }
        match answer {
            Answer::Opened { result, .. } if self.is_opening(id) => match result {
                Ok(blob) => {
                    let rest = self.session(id).map_or(0, |session| session.rest);
                    self.send_file(id, blob, rest, turn);
                }
                Err(fault) => self.refuse_open(id, fault, turn),
            },
            Answer::Read { result, .. } => self.handle_part(id, result, turn),
            Answer::Stored { result, .. } if self.is_storing(id) => match result {
                Ok(stored) => self.stored(id, stored, turn),
                Err(fault) => self.refuse_store(id, fault, turn),
            },
            Answer::Vault { result, .. } => match result {
                Ok(Done::Fetched(blob)) if self.is_opening(id) => {
                    self.send_stored(id, blob, turn);
                }
                Ok(Done::Kept(stored)) if self.is_storing(id) => self.stored(id, stored, turn),
                Err(denied) if self.is_opening(id) || self.is_storing(id) => {
                    self.refuse_deed(id, denied, turn);
                }
                Ok(_) | Err(_) => return,
            },
            Answer::Deleted { result, .. } => self.handle_deleted(id, result, turn),
            Answer::Files { result, .. } => self.handle_files(id, result, turn),
            Answer::Login { result, .. } => self.logged_in(id, result, turn),
            Answer::Opened { .. }
            | Answer::Verified { .. }
            | Answer::Stored { .. }
            | Answer::Upload { .. } => return,
        }
        self.rearm(id, turn);
        self.wake(id);
    }

    fn take_question(&mut self, ticket: Ticket) -> bool {
        self.session_mut(ticket.row).is_some_and(|session| session.take_question(ticket))
    }

    /// Nobody waits for an answer any more: what it brings of an upload is forgotten.
    fn drop_answer(&mut self, answer: Answer) {
        let id = answer.ticket().row;
        if let Answer::Files {
            result: Ok(files::Done::Begun { part, .. } | files::Done::Written { part, .. }),
            ..
        } = answer
        {
            self.discard(id, part);
        }
    }

    /// Lets the sockets of a session go on.
    pub(super) fn wake(&mut self, id: ConnectionId) {
        let data = match self.connections.open(id).map(|row| &**row) {
            Some(Connection::Control(session)) => session.data,
            Some(Connection::Data(_)) | None => return,
        };
        self.ready.push_back(id);
        self.ready.extend(data);
    }

    fn is_opening(&self, id: ConnectionId) -> bool {
        let transfer = self.session(id).and_then(|session| session.transfer());
        transfer.is_some_and(|transfer| matches!(transfer.stage, Stage::Opening))
    }

    fn is_storing(&self, id: ConnectionId) -> bool {
        let transfer = self.session(id).and_then(|session| session.transfer());
        transfer.is_some_and(|transfer| matches!(transfer.stage, Stage::Storing))
    }

    /// Sends what a phone stored as it was stored, whatever the type.
    fn send_stored(
        &mut self,
        id: ConnectionId,
        blob: std::sync::Arc<crate::catalog::blob::Blob>,
        turn: &mut Turn<'_>,
    ) {
        let rest = self.session(id).map_or(0, |session| session.rest);
        match Source::file(blob, rest, Type::Image) {
            Some(source) => self.ready(id, Way::Out(source), turn),
            None => {
                let no = Outcome::Refused(Refusal::RangeNotSatisfiable);
                let text = "The file is shorter than that; REST says too much.";
                self.end_transfer(id, no, Code::UNAVAILABLE, text, turn);
            }
        }
    }

    /// A part of a mapped file has been read.
    fn handle_part(
        &mut self,
        id: ConnectionId,
        result: Result<Vec<u8>, OpenError>,
        turn: &mut Turn<'_>,
    ) {
        let Some(transfer) = self.session_mut(id).and_then(|one| one.transfer_mut()) else {
            return;
        };
        let (Stage::Data(Way::Out(source)) | Stage::Moving(Way::Out(source))) = &mut transfer.stage
        else {
            return;
        };
        match source.handle_read(result) {
            Ok(()) => self.keep_moving(id, turn),
            Err(failure) => {
                let text = "The file was changed while it was being sent.";
                let failed = Outcome::Failed(failure);
                self.end_transfer(id, failed, Code::TRANSFER_ABORTED, text, turn);
            }
        }
    }

    /// What became of an act in the tree.
    fn handle_files(
        &mut self,
        id: ConnectionId,
        result: Result<files::Done, files::Fault>,
        turn: &mut Turn<'_>,
    ) {
        match result {
            Ok(files::Done::Begun { part, at }) if self.is_opening(id) => {
                let kind = self.session(id).map(|session| session.kind).unwrap_or_default();
                let into = Into::Tree { part: Some(part), spare: Vec::new() };
                if let Some(told) =
                    self.session_mut(id).and_then(|one| one.job_mut()?.told.as_mut())
                {
                    told.subject = super::judge::subject(at.to_string().as_bytes());
                }
                self.ready(id, Way::In(Sink::new(into, kind)), turn);
            }
            Ok(files::Done::Written { part, buffer }) if self.is_moving_in(id) => {
                let transfer = self.session_mut(id).and_then(|one| one.transfer_mut());
                if let Some(Stage::Moving(Way::In(sink))) =
                    transfer.map(|transfer| &mut transfer.stage)
                {
                    sink.handle_written(part, buffer);
                }
                self.keep_moving(id, turn);
            }
            // Whoever sent it has gone, or broke it off.
            Ok(files::Done::Begun { part, .. } | files::Done::Written { part, .. }) => {
                self.discard(id, part);
            }
            Ok(files::Done::Discarded) => {}
            Ok(files::Done::Listed(bytes)) if self.is_opening(id) => {
                self.ready(id, Way::Out(Source::Bytes(bytes, 0)), turn);
            }
            Ok(files::Done::Stored(stored)) if self.is_storing(id) => self.stored(id, stored, turn),
            Err(fault) if self.session(id).is_some_and(|session| session.transfer().is_some()) => {
                self.refuse_file(id, fault, turn);
            }
            result => self.handle_act(id, result, turn),
        }
    }

    fn is_moving_in(&self, id: ConnectionId) -> bool {
        let transfer = self.session(id).and_then(|session| session.transfer());
        transfer.is_some_and(|transfer| matches!(transfer.stage, Stage::Moving(Way::In(_))))
    }

    /// A queue is full: whoever waits is told to come again, and what is under way asks again.
    pub fn handle_refused(&mut self, ask: Ask, turn: &mut Turn<'_>) {
        let (ticket, id) = (ask.ticket(), ask.ticket().row);
        let answer = match ask {
            Ask::Open { .. } => Answer::Opened { ticket, result: Err(OpenError::Busy) },
            Ask::Verify { .. } | Ask::Upload { .. } => return,
            Ask::Read { .. } if !self.take_question(ticket) => return,
            Ask::Read { .. } => {
                let transfer = self.session_mut(id).and_then(|one| one.transfer_mut());
                if let Some(Stage::Data(Way::Out(source)) | Stage::Moving(Way::Out(source))) =
                    transfer.map(|transfer| &mut transfer.stage)
                {
                    source.handle_refused();
                }
                return self.ask_again(id, turn);
            }
            Ask::Store { .. } => Answer::Stored { ticket, result: Err(StoreError::Busy) },
            Ask::Delete { .. } => Answer::Deleted { ticket, result: Err(StoreError::Busy) },
            Ask::Vault { .. } => Answer::Vault { ticket, result: Err(Denied::Busy) },
            Ask::Login { .. } => Answer::Login { ticket, result: Err(Denied::Busy) },
            Ask::Files { act, .. } => match *act {
                // Nobody waits for it any more.
                files::Act::Write { part, .. } | files::Act::Finish { part, .. }
                    if !self.take_question(ticket) =>
                {
                    return self.discard(id, part);
                }
                // Nothing that has come is thrown away for a queue.
                act @ (files::Act::Write { .. } | files::Act::Finish { .. }) => {
                    return self.hold_back(id, act, turn);
                }
                files::Act::Discard { .. } => return,
                files::Act::List { .. }
                | files::Act::Look { .. }
                | files::Act::MakeDirectory { .. }
                | files::Act::RemoveDirectory { .. }
                | files::Act::Delete { .. }
                | files::Act::Rename { .. }
                | files::Act::Touch { .. }
                | files::Act::Open { .. }
                | files::Act::Begin { .. } => {
                    Answer::Files { ticket, result: Err(files::Fault::Busy) }
                }
            },
        };
        self.handle_answer(answer, turn);
    }

    /// A part of an upload found the queue full.
    fn hold_back(&mut self, id: ConnectionId, act: files::Act, turn: &Turn<'_>) {
        let transfer = self.session_mut(id).and_then(|session| session.transfer_mut());
        let Some(transfer) = transfer else { return };
        match (act, &mut transfer.stage) {
            (files::Act::Write { part, bytes }, Stage::Moving(Way::In(sink))) => {
                sink.handle_held_back(part, bytes);
            }
            (files::Act::Finish { part, .. }, stage @ Stage::Storing) => {
                let into = Into::Tree { part: Some(part), spare: Vec::new() };
                let mut sink = Sink::new(into, Type::Image);
                sink.end();
                *stage = Stage::Moving(Way::In(sink));
            }
            (_, _) => return,
        }
        self.ask_again(id, turn);
    }

    /// A question about a transfer found a queue full: it is asked again soon.
    fn ask_again(&mut self, id: ConnectionId, turn: &Turn<'_>) {
        let soon = turn.now + ASK_AGAIN;
        if let Some(transfer) = self.session_mut(id).and_then(|session| session.transfer_mut()) {
            transfer.due = Some(soon);
        }
        self.rearm(id, turn);
    }

    /// A transfer that waited has its session slot.
    pub fn handle_granted(&mut self, ticket: Ticket, turn: &mut Turn<'_>) {
        let id = ticket.row;
        if self.take_question(ticket) {
            self.open(id, turn);
            self.rearm(id, turn);
            self.wake(id);
        }
    }

    /// A transfer has waited for its session slot in vain.
    pub fn handle_expired(&mut self, ticket: Ticket, turn: &mut Turn<'_>) {
        let id = ticket.row;
        if self.take_question(ticket) {
            turn.counters.queue_expired.up();
            self.refuse_slot(id, turn);
        }
    }
}
