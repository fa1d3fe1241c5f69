//! Uploads: takes blocks, passes parts to the disk, has the whole stored, and answers the client.
//!
//! Never writes: it asks for what is to be written. Nothing is acknowledged as whole before it is
//! durable.

use std::hash::{DefaultHasher, Hash, Hasher};

use crate::catalog::StoreError;
use crate::requests::StoreRequest;
use crate::session::tftp::ending::record;
use crate::session::tftp::engine::{Datagram, Engine};
use crate::session::tftp::finished::{Content, Finished};
use crate::session::tftp::receive::{Received, Receiving};
use crate::session::tftp::refusal::TftpRefusal;
use crate::session::tftp::send_queues::Reply;
use crate::session::tftp::transfer::{File, PortId, Target, TransferId, TransferState, ticket};
use crate::session::{Failure, Outcome, Record, TurnContext};
use crate::vault::request::Precondition;
use crate::vault::upload::{OnExists, PartDone, PartOp, Spool, Upload};
use wire::name::FileName;
use wire::tftp::{Block, Control};

impl Engine {
    /// A block of an upload, or a repeated one because the last ACK was lost.
    pub(super) fn handle_data(
        &mut self,
        block: Block,
        payload: &[u8],
        datagram: Datagram<'_>,
        turn: &mut TurnContext<'_>,
    ) {
        turn.counters.tftp_blocks_received.up();
        let open = self.transfers.find(datagram.peer).and_then(|id| self.transfers.open(id));
        if open.is_none_or(|transfer| transfer.port != datagram.port) {
            let at = (datagram.port, datagram.from);
            if self.finished.handle_data(datagram.peer, at, block, turn.now) {
                let (peer, from) = (datagram.peer, datagram.from);
                let reply = Reply { peer, from, packet: Control::ack(block) };
                self.ports[usize::from(datagram.port.0)].send_queues.reply(reply);
                return;
            }
        }
        let Some(id) = self.find(datagram, turn) else { return };
        let Some(transfer) = self.transfers.open_mut(id) else { return };
        let TransferState::Receiving(receiving) = &mut transfer.state else {
            // DATA to a phone that reads: a confused or forged packet, which must do no harm.
            turn.counters.tftp_unknown_tid.up();
            return;
        };
        let (was_proven, held) = (receiving.is_proven(), receiving.bytes_held());
        let received = receiving.handle_data(block, payload, turn.now);
        self.upload_bytes_held = self.upload_bytes_held + receiving.bytes_held() - held;
        if !was_proven && receiving.is_proven() {
            let sends = u32::from(receiving.unproven_sends());
            turn.admission.budget.give_back(datagram.peer.ip(), sends);
            turn.admission.booting.begin(datagram.peer.ip(), transfer.began, turn.now);
            self.half_open.count -= 1;
            transfer.end_silence(turn);
        }
        let memory_max = turn.snapshot.policy.tftp.upload_memory_bytes_max;
        match received {
            Received::Taken if self.upload_bytes_held > memory_max => {
                turn.counters.tftp_upload_memory_spent.up();
                self.fail(id, Failure::Store(StoreError::NoMemory), turn);
            }
            Received::Taken => {
                self.give_part(id, self.upload_bytes_held > memory_max / 2, turn);
                self.ready(id, turn);
            }
            Received::Whole => self.store(id, turn),
            Received::TooLarge => self.refuse_open(id, TftpRefusal::UploadTooLarge, turn),
            Received::SizeDiffers { announced } => self.refuse_size(id, announced, turn),
            Received::Stale => turn.counters.tftp_stale_acks.up(),
        }
    }

    /// Passes the received bytes to the temporary file if they are enough for a part and no other
    /// part is under way.
    fn give_part(&mut self, id: TransferId, scarce: bool, turn: &mut TurnContext<'_>) {
        let aside_max = turn.snapshot.policy.tftp.uploads_aside_max;
        let Some(transfer) = self.transfers.open_mut(id) else { return };
        let (TransferState::Receiving(receiving), File::Write(target)) =
            (&mut transfer.state, &mut transfer.file)
        else {
            return;
        };
        if !receiving.has_part(scarce) || receiving.is_part_under_way() {
            return;
        }
        if !target.is_aside && !self.aside.take(transfer.peer.ip(), aside_max) {
            turn.counters.tftp_uploads_aside_refused.up();
            return self.fail(id, Failure::Store(StoreError::TooManyAside), turn);
        }
        target.is_aside = true;
        let op = PartOp::Write { spool: target.spool.take(), bytes: receiving.take_bytes() };
        self.store_requests.push_back(StoreRequest::Upload {
            ticket: ticket(id),
            directory: target.directory,
            op,
        });
    }

    /// The disk has finished an operation on an unfinished upload.
    pub(super) fn handle_upload(
        &mut self,
        id: TransferId,
        done: PartDone,
        turn: &mut TurnContext<'_>,
    ) {
        let memory_max = turn.snapshot.policy.tftp.upload_memory_bytes_max;
        let transfer = self.transfers.open_mut(id);
        let state = transfer.map(|transfer| (&mut transfer.state, &mut transfer.file));
        match (done, state) {
            (PartDone::Found(false), Some((TransferState::Opening, _))) => self.invite(id, turn),
            (PartDone::Found(true), Some((TransferState::Opening, _))) => {
                self.fail(id, Failure::Store(StoreError::Exists), turn);
            }
            (PartDone::Found(is_there), Some((TransferState::Receiving(receiving), _)))
                if receiving.is_whole() =>
            {
                self.handle_repeat(id, is_there, turn);
            }
            (
                PartDone::Written { spool, room },
                Some((TransferState::Receiving(receiving), File::Write(target))),
            ) => {
                let held = receiving.bytes_held();
                receiving.handle_part_written(room);
                self.upload_bytes_held = self.upload_bytes_held + receiving.bytes_held() - held;
                target.spool = Some(spool);
                if receiving.is_whole() {
                    self.store(id, turn);
                    return;
                }
                self.give_part(id, self.upload_bytes_held > memory_max / 2, turn);
                self.ready(id, turn);
            }
            // The upload has ended meanwhile.
            (PartDone::Written { spool, .. }, _) => self.forget_spool(id, spool),
            (PartDone::Found(_) | PartDone::Forgotten, _) => {}
        }
    }

    /// Has a temporary file deleted by a thread that may wait for a disk.
    pub(super) fn forget_spool(&mut self, id: TransferId, spool: Spool) {
        let op = PartOp::Forget { spool };
        // It has no name, so any directory will do.
        self.store_requests.push_back(StoreRequest::Upload {
            ticket: ticket(id),
            directory: 0,
            op,
        });
    }

    /// Asks whether a file exists that must stay, so that its upload is refused before it begins. A
    /// client that does not know that its upload was stored may repeat it.
    pub(super) fn asks_first(&mut self, id: TransferId, turn: &TurnContext<'_>) -> bool {
        let Some(transfer) = self.transfers.open(id) else { return false };
        let File::Write(target) = &transfer.file else { return false };
        let client = transfer.peer.ip();
        let is_repeat = self.finished.has_unheard(client, hash_of(&target.name), turn.now);
        if target.on_exists != OnExists::Keep || is_repeat {
            return false;
        }
        let op = PartOp::Find { name: Box::new(target.name) };
        self.store_requests.push_back(StoreRequest::Upload {
            ticket: ticket(id),
            directory: target.directory,
            op,
        });
        true
    }

    /// Has a whole upload stored once all its parts are in the temporary file. An upload that is
    /// stored already, whose client does not know, is not stored again if its file still exists.
    fn store(&mut self, id: TransferId, turn: &mut TurnContext<'_>) {
        let Some(transfer) = self.transfers.open_mut(id) else { return };
        let (TransferState::Receiving(receiving), File::Write(target)) =
            (&mut transfer.state, &mut transfer.file)
        else {
            return;
        };
        if receiving.is_part_under_way() {
            return;
        }
        target.rest = receiving.take_bytes();
        let keeps = matches!(target.on_exists, OnExists::Append | OnExists::Keep);
        let content = content_of(target, receiving);
        if keeps && self.finished.take_repeat(transfer.peer.ip(), content, turn.now) {
            let op = PartOp::Find { name: Box::new(target.name) };
            self.store_requests.push_back(StoreRequest::Upload {
                ticket: ticket(id),
                directory: target.directory,
                op,
            });
            return;
        }
        self.store_anew(id);
    }

    /// A whole upload seems to repeat a stored one; `is_there` says whether a file of the name
    /// exists.
    fn handle_repeat(&mut self, id: TransferId, is_there: bool, turn: &mut TurnContext<'_>) {
        if !is_there {
            return self.store_anew(id);
        }
        let Some(transfer) = self.transfers.open_mut(id) else { return };
        let File::Write(target) = &mut transfer.file else { return };
        target.rest = Vec::new();
        turn.counters.tftp_uploads_repeated.up();
        let spool = target.spool.take();
        spool.into_iter().for_each(|spool| self.forget_spool(id, spool));
        self.stored(id, turn);
    }

    fn store_anew(&mut self, id: TransferId) {
        let Some(transfer) = self.transfers.open_mut(id) else { return };
        let File::Write(target) = &mut transfer.file else { return };
        let bytes = std::mem::take(&mut target.rest);
        let upload = Upload {
            directory: target.directory,
            name: target.name,
            bytes_max: target.bytes_max,
            on_exists: target.on_exists,
            precondition: Precondition::None,
            cancel: Some(target.cancel.clone()),
            client: transfer.peer.ip(),
            spool: target.spool.take(),
            bytes,
        };
        self.store_requests
            .push_back(StoreRequest::Store { ticket: ticket(id), upload: Box::new(upload) });
    }

    /// The upload is durable.
    pub(super) fn stored(&mut self, id: TransferId, turn: &mut TurnContext<'_>) {
        let Some(transfer) = self.transfers.open_mut(id) else { return };
        let TransferState::Receiving(receiving) = &mut transfer.state else { return };
        self.upload_bytes_held -= receiving.bytes_held();
        if receiving.is_proven() {
            turn.admission.booting.end(transfer.peer.ip(), true, turn.now);
        }
        receiving.handle_stored();
        turn.admission.slots.end(transfer.peer.ip(), transfer.is_silent, turn.now);
        turn.counters.uploads_stored.up();
        let words = match &mut transfer.file {
            File::Write(target) => target.words.take(),
            File::Read(_) => None,
        };
        let record = record(transfer, Outcome::Done, turn.now);
        self.note(Record { words, ..record }, turn.counters);
        self.ready(id, turn);
    }

    /// The last ACK has left. Only the row that repeats the ACK is kept.
    pub(super) fn keep_finished(&mut self, id: TransferId, turn: &mut TurnContext<'_>) {
        let Some(transfer) = self.forget(id, turn) else { return };
        let (TransferState::Receiving(receiving), File::Write(target)) =
            (&transfer.state, &transfer.file)
        else {
            return;
        };
        let (interval, heard_at) = receiving.pace();
        let finished = Finished {
            port: transfer.port,
            from: transfer.from,
            last: receiving.last(),
            interval,
            heard_at,
            round_trip: receiving.rto().round_trip().smoothed().unwrap_or_default(),
            content: content_of(target, receiving),
        };
        if self.finished.insert(transfer.peer, finished, turn.now) {
            turn.counters.tftp_last_acks_forgotten.up();
        }
    }

    /// The network reports that a peer no longer listens on the port to which this socket has sent.
    pub fn handle_unreachable(
        &mut self,
        port: PortId,
        peer: std::net::SocketAddr,
        turn: &mut TurnContext<'_>,
    ) {
        turn.counters.tftp_unreachable.up();
        self.finished.handle_unreachable(peer, port, turn.now);
    }
}

fn content_of(target: &Target, receiving: &Receiving) -> Content {
    Content { name: hash_of(&target.name), bytes: receiving.bytes_taken(), hash: receiving.hash() }
}

fn hash_of(name: &FileName) -> u64 {
    let mut hasher = DefaultHasher::new();
    name.as_bytes().hash(&mut hasher);
    hasher.finish()
}
