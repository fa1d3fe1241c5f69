//! Answers of the loader, the vault, the writer and the password checker, and what follows.
//!
//! An answer that no request waits for is ignored.

use std::sync::Arc;

use crate::catalog::blob::{Blob, Version};
use crate::catalog::{Entry, OpenError, StoreError, Stored};
use crate::requests::StoreReply;
use crate::session::http::conditions::{Unserved, evaluate};
use crate::session::http::connection::Connection;
use crate::session::http::context::Context;
use crate::session::http::credentials::parse_again;
use crate::session::http::exchange::{PendingRequest, Stage, WriteMode};
use crate::session::http::rejection::Rejection;
use crate::session::{Failure, Refusal};
use crate::vault::request::{VaultError, VaultReply};
use wire::http::range::Ranges;
use wire::http::response::Status;

impl Connection {
    /// A thread has answered.
    pub(super) fn handle_store_reply(&mut self, reply: StoreReply, cx: &mut Context<'_>) {
        match reply {
            StoreReply::Opened { result, .. } => match (result, self.take_pending()) {
                (Ok(blob), Some(PendingRequest::Open(entry, ranges))) => {
                    // Ranges were evaluated for the version in the catalog.
                    let same = blob.version() == entry.version;
                    let ranges = if same { ranges } else { Ranges::Whole };
                    self.reply_file(blob, entry.path.as_bytes(), ranges, cx);
                }
                (Err(fault), Some(PendingRequest::Open(..))) => self.reject_open(fault, cx),
                (_, other) => self.restore(other),
            },
            StoreReply::Read { result, .. } => self.handle_part(result, cx),
            StoreReply::Stored { result, .. } => match (result, self.take_pending()) {
                (Ok(stored), Some(PendingRequest::Write(mode))) => {
                    self.reply_stored(&stored, mode, cx);
                }
                (Err(fault), Some(PendingRequest::Write(_))) => self.reject_store(fault, cx),
                (_, other) => self.restore(other),
            },
            StoreReply::Deleted { result, .. } => match (result, self.take_pending()) {
                (Ok(()), Some(PendingRequest::Write(_))) => {
                    cx.counters.uploads_deleted.up();
                    self.reply_done(Status::NO_CONTENT, None, cx);
                }
                (Err(fault), Some(PendingRequest::Write(_))) => self.reject_store(fault, cx),
                (_, other) => self.restore(other),
            },
            StoreReply::Vault { result, .. } => self.handle_vault(result, cx),
            StoreReply::Login { result, .. } => match self.take_pending() {
                Some(PendingRequest::Login(pending)) => self.handle_login(&pending, result, cx),
                other => self.restore(other),
            },
            StoreReply::Upload { result, .. } => self.handle_upload(result, cx),
            // Never asked for here: mapped files are checked as they are read.
            StoreReply::Verified { .. } | StoreReply::Files { .. } => {}
        }
    }

    /// Takes what the current request waits for from a thread, or `None` if it does not wait.
    pub(super) fn take_pending(&mut self) -> Option<PendingRequest> {
        let exchange = self.exchange_mut()?;
        match std::mem::replace(&mut exchange.stage, Stage::Replying) {
            Stage::Waiting(pending) => Some(*pending),
            other @ (Stage::Queued(_)
            | Stage::Delayed(_)
            | Stage::Receiving(_)
            | Stage::Replying) => {
                exchange.stage = other;
                None
            }
        }
    }

    /// Restores what [`Connection::take_pending`] returned.
    pub(super) fn restore(&mut self, pending: Option<PendingRequest>) {
        if let (Some(pending), Some(exchange)) = (pending, self.exchange_mut()) {
            exchange.stage = Stage::Waiting(Box::new(pending));
        }
    }

    fn reject_open(&mut self, fault: OpenError, cx: &mut Context<'_>) {
        let rejection = match fault {
            OpenError::Gone => Rejection::new(Status::NOT_FOUND, Refusal::NoSuchFile),
            // A file that cannot be read now is not reported as missing; it may be readable later.
            OpenError::BeingWritten
            | OpenError::Busy
            | OpenError::Unavailable
            | OpenError::Forbidden
            | OpenError::Io => Rejection::failed(Failure::Open(fault), true),
            OpenError::NotServable | OpenError::TooLarge => {
                Rejection::failed(Failure::Open(fault), false)
            }
        };
        self.reject(rejection, cx);
    }

    pub(super) fn reject_store(&mut self, fault: StoreError, cx: &mut Context<'_>) {
        self.reject(Rejection::store(fault), cx);
    }

    fn reply_stored(&mut self, stored: &Stored, mode: WriteMode, cx: &mut Context<'_>) {
        cx.counters.uploads_stored.up();
        let status = if stored.new { Status::CREATED } else { Status::NO_CONTENT };
        // RFC 9110, 9.3.4: no tag if the stored file is not what the phone sent.
        let is_as_sent = stored.new || mode == WriteMode::Replace;
        self.reply_done(status, Some(&stored.version).filter(|_| is_as_sent), cx);
    }

    fn handle_vault(&mut self, result: Result<VaultReply, VaultError>, cx: &mut Context<'_>) {
        match (result, self.take_pending()) {
            (Ok(VaultReply::Kept(stored)), Some(PendingRequest::Write(mode))) => {
                self.reply_stored(&stored, mode, cx);
            }
            (Ok(VaultReply::Forgotten), Some(PendingRequest::Write(_))) => {
                self.reply_done(Status::NO_CONTENT, None, cx);
            }
            (Ok(VaultReply::Fetched(blob)), Some(PendingRequest::Fetch { raw, item, .. })) => {
                let (version, name) = (blob.version(), format!("{item}"));
                self.reply_waited(&raw, (&version, name.as_bytes()), Source::Vault(&blob), cx);
            }
            // An administrator's file for all phones, or for one that never stores.
            (
                Err(VaultError::NotThere),
                Some(PendingRequest::Fetch { raw, entry: Some(entry), .. }),
            ) => {
                let (version, name) = (entry.known_version(), entry.path.as_bytes());
                self.reply_waited(&raw, (&version, name), Source::Catalog(&entry), cx);
            }
            (Err(denied), Some(PendingRequest::Fetch { .. })) => {
                self.reject(Rejection::unread(denied), cx);
            }
            (
                Ok(VaultReply::Permitted),
                Some(PendingRequest::Find(destination, framing, bytes_max)),
            ) => {
                self.receive(destination, (framing, bytes_max), cx);
                self.resume(cx);
            }
            (Err(denied), Some(PendingRequest::Write(_) | PendingRequest::Find(..))) => {
                self.reject(Rejection::denied(denied), cx);
            }
            (_, other) => self.restore(other),
        }
    }

    /// Answers a request that waited for the vault.
    fn reply_waited(
        &mut self,
        raw: &[u8],
        (version, name): (&Version, &[u8]),
        source: Source<'_>,
        cx: &mut Context<'_>,
    ) {
        let ranges_max = cx.limits().ranges_max;
        let ranges = match parse_again(raw) {
            Some(head) => evaluate(&head, version, ranges_max),
            None => Ok(Ranges::Whole),
        };
        match (ranges, source) {
            (Ok(_), _) if self.reply.head_only => self.reply_head(version, name, Status::OK, cx),
            (Ok(ranges), Source::Vault(blob)) => {
                self.reply_file(Arc::clone(blob), name, ranges, cx);
            }
            (Ok(ranges), Source::Catalog(entry)) => self.read(Arc::clone(entry), ranges, cx),
            (Err(Unserved::NotModified), _) => {
                self.reply_head(version, name, Status::NOT_MODIFIED, cx);
            }
            (Err(Unserved::Rejected(rejection)), _) => self.reject(rejection, cx),
        }
    }
}

/// Where the bytes come from for a response that waited for the vault.
#[derive(Clone, Copy)]
enum Source<'a> {
    Vault(&'a Arc<Blob>),
    Catalog(&'a Arc<Entry>),
}
