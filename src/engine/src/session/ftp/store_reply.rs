//! Answers of the loader, the vault, the file manager, and the queue of session slots.
//!
//! An answer for a session that has gone, or that waits for another answer, is ignored; an upload
//! in it is discarded.

use crate::catalog::{OpenError, StoreError};
use crate::files;
use crate::requests::{StoreReply, StoreRequest};
use crate::session::ftp::authorize::subject;
use crate::session::ftp::context::Context;
use crate::session::ftp::session::{Session, Stage, Way};
use crate::session::ftp::sink::{Into, Sink};
use crate::session::ftp::source::Source;
use crate::session::{Failure, Outcome};
use crate::vault::request::{VaultError, VaultReply};
use wire::ftp::command::Type;
use wire::ftp::reply::Code;
use wire::time::Duration;

/// How soon a question that found a full queue is repeated.
const RETRY_AFTER: Duration = Duration::from_millis(20);

impl Session {
    /// The question that the current command waits for is answered.
    pub(super) fn handle_store_reply(&mut self, reply: StoreReply, cx: &mut Context<'_>) {
        match reply {
            StoreReply::Opened { result, .. } if self.is_opening() => match result {
                Ok(blob) => self.send_file(blob, self.settings.kind, cx),
                Err(fault) => self.refuse_open(fault, cx),
            },
            StoreReply::Read { result, .. } => self.handle_part(result, cx),
            StoreReply::Stored { result, .. } if self.is_committing() => match result {
                Ok(stored) => self.stored(stored, cx),
                Err(fault) => self.refuse_store(fault, cx),
            },
            StoreReply::Vault { result, .. } => match result {
                Ok(VaultReply::Fetched(blob)) if self.is_opening() => {
                    // As it was stored, for any type.
                    self.send_file(blob, Type::Image, cx);
                }
                Ok(VaultReply::Kept(stored)) if self.is_committing() => self.stored(stored, cx),
                Err(denied) if self.is_opening() || self.is_committing() => {
                    self.refuse_vault(denied, cx);
                }
                Ok(_) | Err(_) => return,
            },
            StoreReply::Deleted { result, .. } => self.handle_deleted(result, cx),
            StoreReply::Files { result, .. } => self.handle_files(result, cx),
            StoreReply::Login { result, .. } => self.logged_in(result, cx),
            StoreReply::Opened { .. }
            | StoreReply::Verified { .. }
            | StoreReply::Stored { .. }
            | StoreReply::Upload { .. } => return,
        }
        self.rearm(cx);
        self.wake(cx);
    }

    fn is_opening(&self) -> bool {
        self.transfer().is_some_and(|transfer| matches!(transfer.stage, Stage::Opening))
    }

    fn is_committing(&self) -> bool {
        self.transfer().is_some_and(|transfer| matches!(transfer.stage, Stage::Storing))
    }

    /// A part of a mapped file has been read.
    fn handle_part(&mut self, result: Result<Vec<u8>, OpenError>, cx: &mut Context<'_>) {
        let Some(transfer) = self.transfer_mut() else {
            return;
        };
        let (Stage::Data(Way::Out(source)) | Stage::Moving(Way::Out(source))) = &mut transfer.stage
        else {
            return;
        };
        match source.handle_read(result) {
            Ok(()) => self.keep_moving(cx),
            Err(failure) => self.fail_reading(failure, cx),
        }
    }

    /// The rest of the file cannot be sent.
    pub(super) fn fail_reading(&mut self, failure: Failure, cx: &mut Context<'_>) {
        let text = "The file was changed while it was being sent.";
        self.end_transfer(Outcome::Failed(failure), Code::TRANSFER_ABORTED, text, cx);
    }

    /// The result of an operation in the tree.
    fn handle_files(
        &mut self,
        result: Result<files::FilesReply, files::FilesError>,
        cx: &mut Context<'_>,
    ) {
        match result {
            Ok(files::FilesReply::Begun { part, at }) if self.is_opening() => {
                let into = Into::Tree { part: Some(part), spare: Vec::new() };
                if let Some(log) = self.job_mut().and_then(|job| job.log.as_mut()) {
                    log.subject = subject(at.to_string().as_bytes());
                }
                self.ready(Way::In(Sink::new(into, self.settings.kind)), cx);
            }
            Ok(files::FilesReply::Written { part, buffer }) if self.is_receiving() => {
                let transfer = self.transfer_mut();
                if let Some(Stage::Moving(Way::In(sink))) =
                    transfer.map(|transfer| &mut transfer.stage)
                {
                    sink.handle_written(part, buffer);
                }
                self.keep_moving(cx);
            }
            // Its client has gone, or broke it off.
            Ok(files::FilesReply::Begun { part, .. } | files::FilesReply::Written { part, .. }) => {
                cx.discard(part);
            }
            Ok(files::FilesReply::Discarded) => {}
            Ok(files::FilesReply::Listed(bytes)) if self.is_opening() => {
                self.ready(Way::Out(Source::Bytes(bytes, 0)), cx);
            }
            Ok(files::FilesReply::Stored(stored)) if self.is_committing() => {
                self.stored(stored, cx)
            }
            Err(fault) if self.transfer().is_some() => {
                self.refuse_file(fault, cx);
            }
            result => self.reply_op(result, cx),
        }
    }

    /// A queue is full: a waiting client gets an error, and a running transfer asks again.
    pub(super) fn handle_refused(&mut self, request: StoreRequest, cx: &mut Context<'_>) {
        let ticket = request.ticket();
        let reply = match request {
            StoreRequest::Open { .. } => {
                StoreReply::Opened { ticket, result: Err(OpenError::Busy) }
            }
            StoreRequest::Verify { .. } | StoreRequest::Upload { .. } => return,
            StoreRequest::Read { .. } => {
                let transfer = self.transfer_mut();
                if let Some(Stage::Data(Way::Out(source)) | Stage::Moving(Way::Out(source))) =
                    transfer.map(|transfer| &mut transfer.stage)
                {
                    source.handle_refused();
                }
                return self.retry_soon(cx);
            }
            StoreRequest::Store { .. } => {
                StoreReply::Stored { ticket, result: Err(StoreError::Busy) }
            }
            StoreRequest::Delete { .. } => {
                StoreReply::Deleted { ticket, result: Err(StoreError::Busy) }
            }
            StoreRequest::Vault { .. } => {
                StoreReply::Vault { ticket, result: Err(VaultError::Busy) }
            }
            StoreRequest::Login { .. } => {
                StoreReply::Login { ticket, result: Err(VaultError::Busy) }
            }
            StoreRequest::Files { op, .. } => match *op {
                // Received bytes are never dropped because of a full queue.
                op @ (files::FilesOp::Write { .. } | files::FilesOp::Finish { .. }) => {
                    return self.hold_back(op, cx);
                }
                files::FilesOp::Discard { .. } => return,
                files::FilesOp::List { .. }
                | files::FilesOp::Describe { .. }
                | files::FilesOp::MakeDirectory { .. }
                | files::FilesOp::RemoveDirectory { .. }
                | files::FilesOp::Delete { .. }
                | files::FilesOp::Rename { .. }
                | files::FilesOp::Touch { .. }
                | files::FilesOp::Open { .. }
                | files::FilesOp::Begin { .. } => {
                    StoreReply::Files { ticket, result: Err(files::FilesError::Busy) }
                }
            },
        };
        self.handle_store_reply(reply, cx);
    }

    /// A part of an upload found the queue full.
    fn hold_back(&mut self, op: files::FilesOp, cx: &mut Context<'_>) {
        let transfer = self.transfer_mut();
        let Some(transfer) = transfer else { return };
        match (op, &mut transfer.stage) {
            (files::FilesOp::Write { part, bytes }, Stage::Moving(Way::In(sink))) => {
                sink.handle_held_back(part, bytes);
            }
            (files::FilesOp::Finish { part, .. }, stage @ Stage::Storing) => {
                let into = Into::Tree { part: Some(part), spare: Vec::new() };
                let mut sink = Sink::new(into, Type::Image);
                sink.end();
                *stage = Stage::Moving(Way::In(sink));
            }
            (_, _) => return,
        }
        self.retry_soon(cx);
    }

    /// A question about a transfer found a queue full: it is repeated soon.
    fn retry_soon(&mut self, cx: &mut Context<'_>) {
        let soon = cx.now + RETRY_AFTER;
        if let Some(transfer) = self.transfer_mut() {
            transfer.due = Some(soon);
        }
        self.rearm(cx);
    }
}
