//! Bodies on their way in: counted, bounded, kept until they are durable. What is much for memory
//! goes to a file aside in parts, one under way at a time; a phone is never faster than the disk.
//!
//! Never stores anything itself: a whole body is handed to the vault or to the writer.

use crate::catalog::{Ask, StoreError, Ticket};
use crate::session::http::connection::{Saved, State, Target, Want, What};
use crate::session::http::engine::{Engine, due_by_rate};
use crate::session::http::refusal::{ALLOW_READ, No};
use crate::session::stream::ConnectionId;
use crate::session::{Refusal, Turn};
use crate::vault::deed::{Act, Precondition};
use crate::vault::upload::{Existing, PartDone, PartOp, Spool};
use wire::http::chunk::{Decoder, Step};
use wire::http::request::{Framing, Malformed};
use wire::http::response::Status;
use wire::time::Instant;

/// Room that a body of known length is given at once, in bytes; more as it comes.
const ROOM_MAX: u64 = 64 << 10;

/// Bytes of a body that stay in memory; what is larger, and is no user's data, goes to a file
/// aside, in parts of this size.
const PART_BYTES: usize = 256 << 10;
/// Where memory is scarce, so small a part of that goes there, too.
const SCARCE_PARTS: usize = 16;

/// One address may have one in so many bytes of `body_memory` for several bodies together.
const ADDRESS_SHARE: u64 = 2;

const BAD_CHUNK: Malformed = Malformed::BadRequest("a chunk of the body is none");

/// A body on its way in.
#[derive(Debug)]
pub(super) struct Receiving {
    target: Target,
    rest: Rest,
    bytes: Vec<u8>,
    /// Bytes given away, and how many of them are on their way to the file aside.
    bytes_given: u64,
    bytes_under_way: u64,
    spool: Option<Spool>,
    bytes_max: u64,
    began: Instant,
}

/// What of a body is still to come.
#[derive(Debug)]
enum Rest {
    /// So many bytes.
    Bytes(u64),
    /// Chunks.
    Chunks(Decoder),
    /// Nothing.
    Done,
}

/// Why a body is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    BadChunk,
    TooLarge,
}

impl Receiving {
    pub(super) fn new(target: Target, framing: Framing, bytes_max: u64, now: Instant) -> Self {
        let (rest, room) = match framing {
            Framing::None | Framing::Length(0) => (Rest::Done, 0),
            Framing::Length(bytes) => (Rest::Bytes(bytes), bytes.min(ROOM_MAX)),
            Framing::Chunked => (Rest::Chunks(Decoder::default()), 0),
        };
        let bytes = Vec::with_capacity(room as usize);
        Receiving {
            target,
            rest,
            bytes,
            bytes_given: 0,
            bytes_under_way: 0,
            spool: None,
            bytes_max,
            began: now,
        }
    }

    /// Takes what belongs to the body; says how many bytes that was.
    fn take(&mut self, input: &[u8]) -> Result<usize, Fault> {
        match &mut self.rest {
            Rest::Done => Ok(0),
            Rest::Bytes(left) => {
                let taken = usize::try_from(*left).unwrap_or(usize::MAX).min(input.len());
                self.bytes.extend_from_slice(&input[..taken]);
                *left -= taken as u64;
                if *left == 0 {
                    self.rest = Rest::Done;
                }
                Ok(taken)
            }
            Rest::Chunks(decoder) => {
                let mut used = 0;
                loop {
                    match decoder.decode(&input[used..]).map_err(|_| Fault::BadChunk)? {
                        Step::Data { bytes, consumed } => {
                            let taken = self.bytes_given + self.bytes.len() as u64;
                            if taken + bytes.len() as u64 > self.bytes_max {
                                return Err(Fault::TooLarge);
                            }
                            self.bytes.extend_from_slice(bytes);
                            used += consumed;
                        }
                        Step::More { consumed } => return Ok(used + consumed),
                        Step::End { consumed } => {
                            self.rest = Rest::Done;
                            return Ok(used + consumed);
                        }
                    }
                }
            }
        }
    }

    fn is_done(&self) -> bool {
        matches!(self.rest, Rest::Done)
    }

    /// Bytes that have come.
    fn bytes_taken(&self) -> u64 {
        self.bytes_given + self.bytes.len() as u64
    }

    /// Whether nothing more is read before the part under way is in its file.
    pub(super) fn is_held(&self) -> bool {
        self.bytes_under_way > 0 && (self.is_done() || self.bytes.len() >= PART_BYTES)
    }

    /// A part for the file aside, if enough has come for one, and where it goes: all that a part
    /// may have, or anything worth a file where memory is `scarce`.
    fn take_part(&mut self, scarce: bool) -> Option<(u16, PartOp)> {
        let Target::File(upload) = &self.target else { return None };
        let part_bytes = PART_BYTES / if scarce { SCARCE_PARTS } else { 1 };
        if self.is_done() || self.bytes_under_way > 0 || self.bytes.len() < part_bytes {
            return None;
        }
        let bytes = std::mem::take(&mut self.bytes);
        self.bytes_under_way = bytes.len() as u64;
        self.bytes_given += self.bytes_under_way;
        Some((upload.directory, PartOp::Write { spool: self.spool.take(), bytes }))
    }

    /// The part under way is in its file; says how many bytes of memory that frees.
    fn handle_part_written(&mut self, spool: Spool, room: Vec<u8>) -> u64 {
        self.spool = Some(spool);
        if self.bytes.is_empty() {
            self.bytes = room;
        }
        std::mem::take(&mut self.bytes_under_way)
    }

    /// The file aside, if there is one here: its end may take a disk a while.
    pub(super) fn take_spool(&mut self) -> Option<Spool> {
        self.spool.take()
    }
}

impl Target {
    /// What tells whether there is a file already that has the upload refused, for a client that
    /// waits to hear so before it sends anything; nothing where none would.
    pub(super) fn look_first(&self) -> Option<(u16, PartOp)> {
        let Target::File(upload) = self else { return None };
        let is_new = matches!(upload.precondition, Precondition::New);
        let asks = is_new || upload.existing == Existing::Keep;
        asks.then(|| (upload.directory, PartOp::Find { name: Box::new(upload.name) }))
    }

    /// Why it is refused where there is one.
    fn refusal(&self) -> StoreError {
        match self {
            // The condition of the client comes first (RFC 9110, 13.2.1).
            Target::File(upload) if !matches!(upload.precondition, Precondition::New) => {
                StoreError::Exists
            }
            Target::File(_) | Target::Item(..) => StoreError::Precondition,
        }
    }
}

impl Engine {
    /// Lets a body come.
    pub(super) fn receive(
        &mut self,
        id: ConnectionId,
        target: Target,
        (framing, bytes_max): (Framing, u64),
        turn: &Turn<'_>,
    ) {
        let Some(connection) = self.connections.open_mut(id) else { return };
        let receiving = Receiving::new(target, framing, bytes_max, turn.now);
        let due = turn.now + turn.snapshot.policy.http.limits.stall_timeout;
        connection.state = State::Receiving(Box::new(receiving));
        connection.reply.invite();
        self.set_deadline(id, Some(due));
    }

    /// It is known whether a file is there already that has an upload refused.
    fn looked(&mut self, id: ConnectionId, result: Result<bool, StoreError>, turn: &mut Turn<'_>) {
        match (result, self.take_parked(id)) {
            (Ok(false), Some(What::Take(target, framing, bytes_max))) => {
                self.receive(id, target, (framing, bytes_max), turn);
                self.resume(id, turn);
            }
            (Ok(true), Some(What::Take(target, ..))) => {
                self.refuse_store(id, target.refusal(), turn);
            }
            (Err(fault), Some(What::Take(..))) => self.refuse_store(id, fault, turn),
            (_, other) => return self.restore(id, other),
        }
        self.note_ready(id);
    }

    /// Takes bytes of a body; says how many, 0 where it is over.
    pub(super) fn take_body(
        &mut self,
        id: ConnectionId,
        input: &[u8],
        turn: &mut Turn<'_>,
    ) -> usize {
        let memory_max = turn.snapshot.policy.http.limits.body_memory_bytes_max;
        let Some(connection) = self.connections.open_mut(id) else { return input.len() };
        let State::Receiving(receiving) = &mut connection.state else { return 0 };
        if receiving.is_held() {
            return 0;
        }
        let before = receiving.bytes.len();
        let taken = receiving.take(input);
        let grown = (receiving.bytes.len() - before) as u64;
        let (began, bytes) = (receiving.began, receiving.bytes_taken());
        connection.body_held += grown;
        self.bodies_held += grown;
        let own = connection.body_held;
        let here = self.per_address.entry(connection.peer.ip().into()).or_default();
        here.bodies_held += grown;
        // One address may fill its share with many bodies, or go beyond it with a single one.
        let crowded = here.bodies_held > memory_max / ADDRESS_SHARE && here.bodies_held > own;
        if let Some(told) = &mut connection.told {
            told.bytes += grown;
        }
        let no = match taken {
            Ok(taken) if self.bodies_held <= memory_max && !crowded => {
                // Bytes are seen here as they come, so silence shows at once: what came fast before
                // it wins a phone no time.
                let silent = turn.now + turn.snapshot.policy.http.limits.stall_timeout;
                let due = due_by_rate(began, bytes, turn).min(silent);
                self.set_deadline(id, Some(due));
                self.give_part(id, memory_max);
                self.received(id, turn);
                return taken;
            }
            Ok(_) => {
                turn.counters.http_bodies_refused.up();
                let is_all = self.bodies_held > memory_max;
                let no = if is_all { Refusal::BodyMemory } else { Refusal::BodyMemoryShare };
                No::busy(no).and_linger()
            }
            Err(Fault::BadChunk) => No::malformed(BAD_CHUNK).and_linger(),
            Err(Fault::TooLarge) => {
                No::new(Status::CONTENT_TOO_LARGE, Refusal::UploadTooLarge).and_linger()
            }
        };
        self.refuse(id, no, turn);
        input.len()
    }

    /// Hands a body over once it is whole.
    pub(super) fn received(&mut self, id: ConnectionId, turn: &mut Turn<'_>) {
        let Some(connection) = self.connections.open_mut(id) else { return };
        let State::Receiving(receiving) = &mut connection.state else { return };
        if receiving.is_held() {
            // The disk is waited for, and not the phone.
            return self.set_deadline(id, None);
        }
        if !receiving.is_done() {
            return;
        }
        let saved = match &receiving.target {
            Target::File(upload) if upload.existing == Existing::Append => Saved::Appended,
            Target::File(_) | Target::Item(..) => Saved::Whole,
        };
        let stored = Box::new(Want { what: What::Stored(saved), head_only: false });
        let state = std::mem::replace(&mut connection.state, State::Parked(stored));
        let State::Receiving(receiving) = state else { return };
        let Receiving { target, bytes, spool, .. } = *receiving;
        connection.reply.body_read();
        self.set_deadline(id, None);
        match target {
            Target::Item(item, shown, precondition) => {
                let act = Act::Keep { bytes, precondition, cancel: None };
                let deed = self.deed(id, item, shown, act, turn);
                match deed {
                    Some(deed) => self.asks.push_back(Ask::Vault { ticket: id.into(), deed }),
                    // A reload has taken the vault away meanwhile.
                    None => self.refuse(id, No::method(ALLOW_READ), turn),
                }
            }
            Target::File(mut upload) => {
                (upload.spool, upload.bytes) = (spool, bytes);
                self.asks.push_back(Ask::Store { ticket: id.into(), upload });
            }
        }
    }

    /// Hands what has come to the file aside where it is enough for a part.
    fn give_part(&mut self, id: ConnectionId, memory_max: u64) {
        let scarce = self.bodies_held > memory_max / 2;
        let Some(connection) = self.connections.open_mut(id) else { return };
        let State::Receiving(receiving) = &mut connection.state else { return };
        if let Some((directory, op)) = receiving.take_part(scarce) {
            self.asks.push_back(Ask::Upload { ticket: id.into(), directory, op });
        }
    }

    /// A part of a body is in its file, or is lost.
    pub(super) fn handle_body_part(
        &mut self,
        ticket: Ticket,
        result: Result<PartDone, StoreError>,
        turn: &mut Turn<'_>,
    ) {
        let id = ConnectionId::from(ticket);
        let memory_max = turn.snapshot.policy.http.limits.body_memory_bytes_max;
        let state = self.connections.open_mut(id).map(|connection| &mut connection.state);
        match (result, state) {
            (Ok(PartDone::Written { spool, room }), Some(State::Receiving(receiving))) => {
                let freed = receiving.handle_part_written(spool, room);
                self.free_body(id, freed);
                let due = turn.now + turn.snapshot.policy.http.limits.stall_timeout;
                self.set_deadline(id, Some(due));
                self.give_part(id, memory_max);
                self.received(id, turn);
                self.resume(id, turn);
                self.note_ready(id);
            }
            // The request has ended meanwhile.
            (Ok(PartDone::Written { spool, .. }), _) => self.forget_spool(ticket, spool),
            (Ok(PartDone::Found(found)), Some(State::Parked(_))) => {
                self.looked(id, Ok(found), turn);
            }
            (Err(fault), Some(State::Parked(_))) => self.looked(id, Err(fault), turn),
            (Ok(PartDone::Found(_) | PartDone::Forgotten), _) => {}
            (Err(fault), Some(State::Receiving(_))) => {
                self.refuse_store(id, fault, turn);
                self.note_ready(id);
            }
            (Err(_), _) => {}
        }
    }

    /// So many bytes of a body are not in memory any more.
    fn free_body(&mut self, id: ConnectionId, bytes: u64) {
        let Some(connection) = self.connections.open_mut(id) else { return };
        connection.body_held -= bytes;
        self.bodies_held -= bytes;
        if let Some(here) = self.per_address.get_mut(&connection.peer.ip().into()) {
            here.bodies_held -= bytes;
        }
    }

    /// Forgets a body that will not be stored.
    pub(super) fn forget_body(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.open_mut(id) else { return };
        let State::Receiving(receiving) = &mut connection.state else { return };
        if let Some(spool) = receiving.take_spool() {
            self.forget_spool(id.into(), spool);
        }
    }

    /// Has a file aside forgotten by whoever may wait for a disk.
    fn forget_spool(&mut self, ticket: Ticket, spool: Spool) {
        let op = PartOp::Forget { spool };
        // It has no name, so any directory will do.
        self.asks.push_back(Ask::Upload { ticket, directory: 0, op });
    }
}
