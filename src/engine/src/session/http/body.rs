//! Bodies being received: counted, bounded, and kept until they are durable. A body that is too
//! large for memory goes to a temporary file in parts, one at a time, so that a phone is never
//! faster than the disk.
//!
//! Never stores anything itself: it passes a whole body to the vault or to the writer.

use crate::catalog::StoreError;
use crate::requests::StoreRequest;
use crate::session::Refusal;
use crate::session::arrivals::StallLimits;
use crate::session::http::connection::{Connection, ConnectionState};
use crate::session::http::context::Context;
use crate::session::http::exchange::{Destination, Exchange, PendingRequest, Stage, WriteMode};
use crate::session::http::rejection::{ALLOW_READ, Rejection};
use crate::vault::names::Item;
use crate::vault::request::{Credentials, Precondition, VaultOp};
use crate::vault::upload::{OnExists, PartDone, PartOp, Spool};
use wire::http::chunk::{Decoder, Step};
use wire::http::request::{Framing, Malformed};
use wire::http::response::Status;
use wire::time::Instant;

/// Capacity reserved for a body of known length, in bytes; more is added as it comes.
const ROOM_MAX: u64 = 64 << 10;

/// Bytes of a body that stay in memory. A larger one that is no user's data goes to a temporary
/// file, in parts of this size.
const PART_BYTES: usize = 256 << 10;
/// If memory is scarce, parts as small as this fraction go there, too.
const SCARCE_PARTS: usize = 16;

/// One address may use one in so many bytes of `body_memory` for several bodies together.
const ADDRESS_SHARE: u64 = 2;

const BAD_CHUNK: Malformed = Malformed::BadRequest("a chunk of the body is none");

/// A body being received.
#[derive(Debug)]
pub(super) struct IncomingBody {
    destination: Destination,
    remaining: Remaining,
    bytes: Vec<u8>,
    /// Bytes handed over, and how many of them are on their way to the temporary file.
    bytes_given: u64,
    bytes_under_way: u64,
    spool: Option<Spool>,
    bytes_max: u64,
    began: Instant,
}

/// The part of a body that is still to come.
#[derive(Debug)]
enum Remaining {
    /// So many bytes.
    Bytes(u64),
    /// Chunks.
    Chunks(Decoder),
    /// Nothing.
    Done,
}

/// Why a body is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum BodyError {
    BadChunk,
    TooLarge,
}

impl IncomingBody {
    pub(super) fn new(
        destination: Destination,
        framing: Framing,
        bytes_max: u64,
        now: Instant,
    ) -> Self {
        let (remaining, room) = match framing {
            Framing::None | Framing::Length(0) => (Remaining::Done, 0),
            Framing::Length(bytes) => (Remaining::Bytes(bytes), bytes.min(ROOM_MAX)),
            Framing::Chunked => (Remaining::Chunks(Decoder::default()), 0),
        };
        let bytes = Vec::with_capacity(room as usize);
        IncomingBody {
            destination,
            remaining,
            bytes,
            bytes_given: 0,
            bytes_under_way: 0,
            spool: None,
            bytes_max,
            began: now,
        }
    }

    /// Takes the bytes that belong to the body. Returns how many.
    fn take(&mut self, input: &[u8]) -> Result<usize, BodyError> {
        match &mut self.remaining {
            Remaining::Done => Ok(0),
            Remaining::Bytes(left) => {
                let taken = usize::try_from(*left).unwrap_or(usize::MAX).min(input.len());
                self.bytes.extend_from_slice(&input[..taken]);
                *left -= taken as u64;
                if *left == 0 {
                    self.remaining = Remaining::Done;
                }
                Ok(taken)
            }
            Remaining::Chunks(decoder) => {
                let mut used = 0;
                loop {
                    match decoder.decode(&input[used..]).map_err(|_| BodyError::BadChunk)? {
                        Step::Data { bytes, consumed } => {
                            let taken = self.bytes_given + self.bytes.len() as u64;
                            if taken + bytes.len() as u64 > self.bytes_max {
                                return Err(BodyError::TooLarge);
                            }
                            self.bytes.extend_from_slice(bytes);
                            used += consumed;
                        }
                        Step::More { consumed } => return Ok(used + consumed),
                        Step::End { consumed } => {
                            self.remaining = Remaining::Done;
                            return Ok(used + consumed);
                        }
                    }
                }
            }
        }
    }

    fn is_done(&self) -> bool {
        matches!(self.remaining, Remaining::Done)
    }

    /// Returns how many bytes have come.
    fn bytes_taken(&self) -> u64 {
        self.bytes_given + self.bytes.len() as u64
    }

    pub(super) fn is_part_under_way(&self) -> bool {
        self.bytes_under_way > 0
    }

    /// Returns whether nothing more is read before the part under way is in its file.
    pub(super) fn is_held(&self) -> bool {
        self.bytes_under_way > 0 && (self.is_done() || self.bytes.len() >= PART_BYTES)
    }

    /// Returns a part for the temporary file and its directory, if enough bytes have come: a full
    /// part, or a smaller one if memory is `scarce`.
    fn take_part(&mut self, scarce: bool) -> Option<(u16, PartOp)> {
        let Destination::File(upload) = &self.destination else { return None };
        let part_bytes = PART_BYTES / if scarce { SCARCE_PARTS } else { 1 };
        if self.is_done() || self.bytes_under_way > 0 || self.bytes.len() < part_bytes {
            return None;
        }
        let bytes = std::mem::take(&mut self.bytes);
        self.bytes_under_way = bytes.len() as u64;
        self.bytes_given += self.bytes_under_way;
        Some((upload.directory, PartOp::Write { spool: self.spool.take(), bytes }))
    }

    /// The part under way is in its file. Returns how many bytes of memory that frees.
    fn handle_part_written(&mut self, spool: Spool, room: Vec<u8>) -> u64 {
        self.spool = Some(spool);
        if self.bytes.is_empty() {
            self.bytes = room;
        }
        std::mem::take(&mut self.bytes_under_way)
    }

    /// Takes the temporary file, if it is here, to be deleted by a thread: that may take a disk a
    /// while.
    pub(super) fn take_spool(&mut self) -> Option<Spool> {
        self.spool.take()
    }
}

impl Destination {
    /// Returns the check for an existing file that would make the server refuse the upload, for a
    /// client that waits for leave to send. Returns `None` if no file would.
    pub(super) fn find_first(&self) -> Option<(u16, PartOp)> {
        let Destination::File(upload) = self else { return None };
        let is_new = matches!(upload.precondition, Precondition::New);
        let must_find = is_new || upload.on_exists == OnExists::Keep;
        must_find.then(|| (upload.directory, PartOp::Find { name: Box::new(upload.name) }))
    }

    /// Returns whose data it is and the secret that must be right, for a client that waits for
    /// leave to send. Returns `None` if there is no secret.
    pub(super) fn secret(&self) -> Option<(Item, Credentials)> {
        let Destination::Item(item, credentials, _) = self else { return None };
        credentials.basic.is_some().then(|| (item.clone(), credentials.clone()))
    }

    /// Returns how its bytes change the file.
    fn write_mode(&self) -> WriteMode {
        match self {
            Destination::File(upload) if upload.on_exists == OnExists::Append => WriteMode::Append,
            Destination::File(_) | Destination::Item(..) => WriteMode::Replace,
        }
    }

    /// Returns why it is refused if the file exists.
    fn conflict(&self) -> StoreError {
        match self {
            // The client's precondition comes first (RFC 9110, 13.2.1).
            Destination::File(upload) if !matches!(upload.precondition, Precondition::New) => {
                StoreError::Exists
            }
            Destination::File(_) | Destination::Item(..) => StoreError::Precondition,
        }
    }
}

impl Connection {
    /// Starts to receive a body.
    pub(super) fn receive(
        &mut self,
        destination: Destination,
        (framing, bytes_max): (Framing, u64),
        cx: &mut Context<'_>,
    ) {
        let body = IncomingBody::new(destination, framing, bytes_max, cx.now);
        self.set_stage(Stage::Receiving(Box::new(body)), None);
        self.reply.invite();
        self.set_deadline(Some(cx.now + cx.limits().stall_timeout), cx);
    }

    /// The check for an existing file has ended.
    fn handle_found(&mut self, result: Result<bool, StoreError>, cx: &mut Context<'_>) {
        match (result, self.take_pending()) {
            (Ok(false), Some(PendingRequest::Find(destination, framing, bytes_max))) => {
                self.receive(destination, (framing, bytes_max), cx);
                self.resume(cx);
            }
            (Ok(true), Some(PendingRequest::Find(destination, ..))) => {
                self.reject_store(destination.conflict(), cx);
            }
            (Err(fault), Some(PendingRequest::Find(..))) => self.reject_store(fault, cx),
            (_, other) => self.restore(other),
        }
    }

    /// Takes bytes of a body. Returns how many; 0 once the body is over.
    pub(super) fn take_body(&mut self, input: &[u8], cx: &mut Context<'_>) -> usize {
        let ConnectionState::Serving(exchange) = &mut self.state else { return 0 };
        let Stage::Receiving(body) = &mut exchange.stage else { return 0 };
        if body.is_held() {
            return 0;
        }
        let limits = cx.limits();
        let memory_max = limits.body_memory_bytes_max;
        let before = body.bytes.len();
        let taken = body.take(input);
        let grown = (body.bytes.len() - before) as u64;
        exchange.body_held += grown;
        exchange.log.bytes += grown;
        cx.shared.bodies_held += grown;
        let usage = cx.shared.usage_of(self.peer.ip());
        usage.bodies_held += grown;
        // One address may fill its share with many bodies, or exceed it with a single one.
        let crowded = usage.bodies_held > memory_max / ADDRESS_SHARE
            && usage.bodies_held > exchange.body_held;
        let is_full = cx.shared.bodies_held > memory_max;
        let rejection = match taken {
            Ok(taken) if !is_full && !crowded => {
                // Bytes are counted here as they come, so silence shows at once: fast bytes before
                // it give a phone no more time.
                let (stall_timeout, rate_min) = (limits.stall_timeout, limits.rate_min);
                let patience = StallLimits { stall_timeout, rate_min };
                let due = patience.due_by_rate(body.began, body.bytes_taken());
                self.set_deadline(Some(due.min(cx.now + stall_timeout)), cx);
                self.advance_body(cx);
                return taken;
            }
            Ok(_) => {
                cx.counters.http_bodies_refused.up();
                let refusal = if is_full { Refusal::BodyMemory } else { Refusal::BodyMemoryShare };
                Rejection::busy(refusal)
            }
            Err(BodyError::BadChunk) => Rejection::malformed(BAD_CHUNK),
            Err(BodyError::TooLarge) => {
                Rejection::new(Status::CONTENT_TOO_LARGE, Refusal::UploadTooLarge)
            }
        };
        self.reject(rejection.and_linger(), cx);
        input.len()
    }

    /// Passes on what has come of a body: a part to the temporary file if there is enough for one,
    /// or the whole body.
    fn advance_body(&mut self, cx: &mut Context<'_>) {
        let ConnectionState::Serving(exchange) = &mut self.state else { return };
        let Stage::Receiving(body) = &mut exchange.stage else { return };
        let scarce = cx.shared.bodies_held > cx.limits().body_memory_bytes_max / 2;
        let part = body.take_part(scarce);
        let (is_held, is_done) = (body.is_held(), body.is_done());
        if let Some((directory, op)) = part {
            let ticket = self.question(cx);
            cx.shared.store_requests.push_back(StoreRequest::Upload { ticket, directory, op });
        }
        if is_held {
            // The server waits for the disk, not for the phone.
            self.set_deadline(None, cx);
        } else if is_done {
            self.store(cx);
        }
    }

    /// Has a whole body stored.
    fn store(&mut self, cx: &mut Context<'_>) {
        let ConnectionState::Serving(exchange) = &mut self.state else { return };
        let Stage::Receiving(body) = &exchange.stage else { return };
        let pending = Box::new(PendingRequest::Write(body.destination.write_mode()));
        let stage = std::mem::replace(&mut exchange.stage, Stage::Waiting(pending));
        let Stage::Receiving(body) = stage else { return };
        self.reply.body_unread = false;
        self.set_deadline(None, cx);
        let IncomingBody { destination, bytes, spool, .. } = *body;
        let ticket = self.question(cx);
        match destination {
            Destination::Item(item, credentials, precondition) => {
                match self.vault_request(
                    item,
                    credentials,
                    VaultOp::Keep { bytes, precondition, cancel: None },
                    cx,
                ) {
                    Some(request) => {
                        cx.shared.store_requests.push_back(StoreRequest::Vault { ticket, request })
                    }
                    // A reload has removed the vault meanwhile.
                    None => self.reject(Rejection::method(ALLOW_READ), cx),
                }
            }
            Destination::File(mut upload) => {
                (upload.spool, upload.bytes) = (spool, bytes);
                cx.shared.store_requests.push_back(StoreRequest::Store { ticket, upload });
            }
        }
    }

    /// The writer has finished an operation on an unfinished upload, or could not.
    pub(super) fn handle_upload(
        &mut self,
        result: Result<PartDone, StoreError>,
        cx: &mut Context<'_>,
    ) {
        match result {
            Ok(PartDone::Written { spool, room }) => self.handle_part_written(spool, room, cx),
            Ok(PartDone::Found(found)) => self.handle_found(Ok(found), cx),
            Ok(PartDone::Forgotten) => {}
            Err(fault) if self.is_receiving() => self.reject_store(fault, cx),
            Err(fault) => self.handle_found(Err(fault), cx),
        }
    }

    /// A part of a body is in its file.
    fn handle_part_written(&mut self, spool: Spool, room: Vec<u8>, cx: &mut Context<'_>) {
        let ConnectionState::Serving(exchange) = &mut self.state else { return };
        let Exchange { stage: Stage::Receiving(body), body_held, question, .. } = exchange else {
            return cx.shared.forget_spool(cx.id, spool);
        };
        *question = None;
        let freed = body.handle_part_written(spool, room);
        *body_held -= freed;
        cx.shared.bodies_held -= freed;
        cx.shared.usage_of(self.peer.ip()).bodies_held -= freed;
        self.set_deadline(Some(cx.now + cx.limits().stall_timeout), cx);
        self.advance_body(cx);
        self.resume(cx);
    }

    fn is_receiving(&self) -> bool {
        matches!(&self.state, ConnectionState::Serving(Exchange { stage: Stage::Receiving(_), .. }))
    }
}
