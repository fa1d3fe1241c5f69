//! All TFTP transfers of a worker: takes datagrams, answers and time; returns sends and questions.
//!
//! `request.rs` decides about requests. Never sends more in answer to a packet than it may; one
//! phone's packet never affects another's transfer.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};

use crate::admission::order::{Order, OrderLimits};
use crate::catalog::{OpenError, StoreError};
use crate::requests::{StoreReply, StoreRequest};
use crate::session::tftp::finished::FinishedUploads;
use crate::session::tftp::receive;
use crate::session::tftp::recent_peers::RecentPeers;
use crate::session::tftp::refusal::TftpRefusal;
use crate::session::tftp::rto::SubnetMemory;
use crate::session::tftp::send::{self, Acked};
use crate::session::tftp::send_queues::SendQueues;
use crate::session::tftp::temp_files::TempFiles;
use crate::session::tftp::transfer::{PortId, Transfer, TransferId, TransferState, Transfers};
use crate::session::timer::Timers;
use crate::session::{Failure, Outcome, Record, Refusal, TurnContext};
use crate::ticket::Ticket;
use wire::tftp::{Block, Control, ErrorCode, Packet, parse};
use wire::time::Instant;

/// A received datagram.
#[derive(Clone, Copy, Debug)]
pub struct Datagram<'a> {
    /// The socket.
    pub port: PortId,
    /// The sender.
    pub peer: SocketAddr,
    /// The destination address, or `None` if the kernel does not report it.
    pub to: Option<IpAddr>,
    /// The address of this host to answer from.
    pub from: Option<IpAddr>,
    /// The interface that received it; 0 if the kernel does not report it.
    pub interface: u32,
    /// Its bytes.
    pub bytes: &'a [u8],
}

/// A socket of the engine.
#[derive(Debug, Default)]
pub(super) struct Port {
    /// The sockets that answer requests received here; empty for a socket that takes no requests.
    pub(super) answers: Vec<PortId>,
    /// Its number, for the log; `None` in simulations.
    pub(super) number: Option<u16>,
    pub(super) send_queues: SendQueues,
}

/// The TFTP server of one worker.
#[derive(Debug, Default)]
pub struct Engine {
    pub(super) ports: Vec<Port>,
    pub(super) transfers: Transfers,
    pub(super) half_open: HalfOpen,
    pub(super) recent_peers: RecentPeers,
    pub(super) finished: FinishedUploads,
    pub(super) memory: SubnetMemory,
    /// Who is answered first when many ask.
    pub(super) order: Order<TransferId>,
    pub(super) upload_bytes_held: u64,
    pub(super) stopping: bool,
    pub(super) store_requests: VecDeque<StoreRequest>,
    pub(super) timers: Timers<TransferId>,
    pub(super) records: VecDeque<Record>,
    /// Uploads with a temporary file.
    pub(super) aside: TempFiles,
}

/// The transfers whose phone has not answered yet, oldest first.
#[derive(Debug, Default)]
pub(super) struct HalfOpen {
    pub(super) count: usize,
    pub(super) queue: VecDeque<TransferId>,
}

impl Engine {
    /// Makes an engine in which the same events always have the same result, for simulations. The
    /// random numbers of a real one must not be known to peers.
    #[must_use]
    pub fn seeded(seed: u64) -> Engine {
        Engine { recent_peers: RecentPeers::new(seed), ..Engine::default() }
    }

    /// Sets the sockets that answer the requests received by `port`: itself, or a pool. With none,
    /// it takes no more requests; running transfers go on.
    pub fn set_answers(&mut self, port: PortId, answers: Vec<PortId>) {
        let highest = answers.iter().chain([&port]).map(|port| usize::from(port.0)).max();
        let needed = highest.unwrap_or(0) + 1;
        if self.ports.len() < needed {
            self.ports.resize_with(needed, Port::default);
        }
        self.ports[usize::from(port.0)].answers = answers;
    }

    /// Puts the settings of the order of service into force, for one of so many workers.
    pub fn set_order(&mut self, limits: &OrderLimits, workers: usize) {
        self.order.adopt(limits, workers);
    }

    /// Sets the number of a socket's port, which the log shows if a phone never answers.
    pub fn set_number(&mut self, port: PortId, number: u16) {
        if let Some(port) = self.ports.get_mut(usize::from(port.0)) {
            port.number = Some(number);
        }
    }

    /// Takes no more requests. New ones get no answer, so that phones ask again and reach the next
    /// server.
    pub fn stop(&mut self) {
        self.stopping = true;
    }

    /// Returns how many transfers are open.
    #[must_use]
    pub fn transfers_open(&self) -> usize {
        self.transfers.len()
    }

    /// Returns how many transfers wait for their phone's first answer.
    #[must_use]
    pub fn transfers_half_open(&self) -> usize {
        self.half_open.count
    }

    /// Returns whether a socket has transfers, so that it cannot be closed yet.
    #[must_use]
    pub fn uses(&self, port: PortId) -> bool {
        self.transfers.iter().any(|(_, transfer)| transfer.port == port)
    }

    /// A datagram came.
    pub fn handle_datagram(&mut self, datagram: Datagram<'_>, turn: &mut TurnContext<'_>) {
        turn.counters.tftp_datagrams.up();
        turn.counters.tftp_received_bytes.add(datagram.bytes.len() as u64);
        match parse(datagram.bytes) {
            Ok(Packet::Ack(block)) => self.handle_ack(block, datagram, turn),
            Ok(Packet::Data { block, payload }) => self.handle_data(block, payload, datagram, turn),
            Ok(Packet::ReadRequest(request)) => self.handle_request(request, false, datagram, turn),
            Ok(Packet::WriteRequest(request)) => self.handle_request(request, true, datagram, turn),
            Ok(Packet::Error { code, message }) => self.handle_error(code, message, datagram, turn),
            // Only servers acknowledge options.
            Ok(Packet::OptionAck(_)) => turn.counters.tftp_malformed.up(),
            Err(fault) => self.handle_malformed(fault, datagram, turn),
        }
    }

    fn handle_ack(&mut self, block: Block, datagram: Datagram<'_>, turn: &mut TurnContext<'_>) {
        let Some(id) = self.find(datagram, turn) else { return };
        let Some(transfer) = self.transfers.open_mut(id) else { return };
        let TransferState::Sending(sending, blob) = &mut transfer.state else {
            turn.counters.tftp_stale_acks.up();
            return;
        };
        let was_proven = sending.is_proven();
        let acked = sending.handle_ack(block, turn.now);
        if !was_proven && sending.is_proven() {
            let sends = u32::from(sending.unproven_sends());
            turn.admission.budget.give_back(datagram.peer.ip(), sends);
            turn.admission.booting.begin(datagram.peer.ip(), transfer.began, turn.now);
            self.half_open.count -= 1;
        }
        let is_stale = blob.is_stale();
        if acked != Acked::Stale || sending.is_proven() != was_proven {
            transfer.end_silence(turn);
        }
        // A phone with the last block has one version: that block left after the file was checked.
        if is_stale && acked != Acked::Done {
            self.fail(id, Failure::FileChanged, turn);
            return;
        }
        match acked {
            Acked::Progress | Acked::Again => self.ready(id, turn),
            Acked::Done => self.finish_read(id, turn),
            Acked::Stale => {
                turn.counters.tftp_stale_acks.up();
                self.hurry(id, turn);
            }
        }
    }

    /// Returns the transfer that a packet belongs to: the right phone, socket and address. A packet
    /// without a transfer gets ERROR 5 (RFC 1350, section 4), unless it is a late packet of a known
    /// phone, which might take the ERROR for the answer to its next request.
    pub(super) fn find(
        &mut self,
        datagram: Datagram<'_>,
        turn: &TurnContext<'_>,
    ) -> Option<TransferId> {
        let id = self.transfers.find(datagram.peer);
        let fits =
            |transfer: &Transfer| transfer.port == datagram.port && transfer.from == datagram.from;
        if id.and_then(|id| self.transfers.open(id)).is_some_and(fits) {
            return id;
        }
        turn.counters.tftp_unknown_tid.up();
        let is_known =
            id.is_some() || self.recent_peers.is_echo(datagram.peer, datagram.port, turn.now);
        if !is_known && self.may_answer(datagram, turn) {
            self.reply(datagram, Control::error(ErrorCode::UNKNOWN_TID, ""), turn.counters);
        }
        None
    }

    /// The loader has answered.
    pub fn handle_store_reply(&mut self, reply: StoreReply, turn: &mut TurnContext<'_>) {
        match reply {
            StoreReply::Opened { ticket, result: Ok(blob) } => {
                self.start_read(ticket.row, blob, turn);
            }
            StoreReply::Opened { ticket, result: Err(fault) } => {
                self.open_failed(ticket.row, fault, turn);
            }
            StoreReply::Verified { ticket, unchanged: true } => {
                let id = ticket.row;
                let Some(transfer) = self.transfers.open_mut(id) else { return };
                let TransferState::Sending(sending, _) = &mut transfer.state else { return };
                sending.handle_verified();
                self.ready(id, turn);
            }
            StoreReply::Verified { ticket, unchanged: false } => {
                self.fail(ticket.row, Failure::FileChanged, turn);
            }
            StoreReply::Stored { ticket, result: Ok(_) } => self.stored(ticket.row, turn),
            StoreReply::Stored { ticket, result: Err(fault) }
            | StoreReply::Upload { ticket, result: Err(fault) } => {
                self.fail(ticket.row, Failure::Store(fault), turn);
            }
            StoreReply::Upload { ticket, result: Ok(done) } => {
                self.handle_upload(ticket.row, done, turn);
            }
            // A transfer never asks for these.
            StoreReply::Deleted { .. }
            | StoreReply::Read { .. }
            | StoreReply::Vault { .. }
            | StoreReply::Files { .. }
            | StoreReply::Login { .. } => {}
        }
    }

    /// The loader has no room for a question. A phone that is waiting for a file asks again; one
    /// near the end of its transfer must not be cut off, so its question is asked again.
    pub fn handle_refused(&mut self, request: StoreRequest, turn: &mut TurnContext<'_>) {
        match request {
            StoreRequest::Open { ticket, .. } => {
                self.open_failed(ticket.row, OpenError::Busy, turn)
            }
            StoreRequest::Verify { ticket, .. } => {
                let id = ticket.row;
                let Some(transfer) = self.transfers.open_mut(id) else { return };
                let TransferState::Sending(sending, _) = &mut transfer.state else { return };
                sending.handle_unverified(turn.now);
                if !transfer.queued {
                    self.arm(id);
                }
            }
            StoreRequest::Store { ticket, .. } | StoreRequest::Upload { ticket, .. } => {
                self.fail(ticket.row, Failure::Store(StoreError::Busy), turn);
            }
            // A transfer never asks for these.
            StoreRequest::Delete { .. }
            | StoreRequest::Read { .. }
            | StoreRequest::Vault { .. }
            | StoreRequest::Files { .. }
            | StoreRequest::Login { .. } => {}
        }
    }

    fn open_failed(&mut self, id: TransferId, fault: OpenError, turn: &mut TurnContext<'_>) {
        match fault {
            OpenError::Gone => self.refuse_open(id, TftpRefusal::NoSuchFile, turn),
            // No answer: the phone asks again, and then there may be room.
            OpenError::Busy => self.finish(id, Outcome::Failed(Failure::Open(fault)), turn),
            OpenError::Forbidden
            | OpenError::NotServable
            | OpenError::BeingWritten
            | OpenError::TooLarge
            | OpenError::Unavailable
            | OpenError::Io => self.fail(id, Failure::Open(fault), turn),
        }
    }

    /// Time has passed: resends, silent phones, and sends that pacing had delayed.
    pub fn handle_timeout(&mut self, turn: &mut TurnContext<'_>) {
        self.order.end_asking(turn.now);
        self.admit_next(turn);
        while let Some(id) = self.timers.pop_due(turn.now) {
            let Some(transfer) = self.transfers.open_mut(id) else { continue };
            if !transfer.deadline.is_due(turn.now, id, &mut self.timers) {
                continue;
            }
            transfer.paced_until = transfer.paced_until.filter(|at| *at > turn.now);
            match &mut transfer.state {
                TransferState::Waiting | TransferState::Opening => {}
                TransferState::Sending(sending, _) => match sending.handle_timeout(turn.now) {
                    // An answer that was put off is due.
                    None => self.ready(id, turn),
                    Some(send::Late::Again) => {
                        if sending.is_backed_off() {
                            // A silent phone holds no place.
                            self.order.leave(&mut transfer.standing);
                            transfer.fall_silent(turn);
                        }
                        self.ready(id, turn);
                    }
                    Some(send::Late::AllSent) => {
                        self.finish(id, Outcome::DoneUnacknowledged, turn);
                    }
                    Some(send::Late::Silent) => self.give_up(id, turn),
                },
                TransferState::Receiving(receiving) => match receiving.handle_timeout(turn.now) {
                    None | Some(receive::Late::Again) => self.ready(id, turn),
                    Some(receive::Late::Silent) => self.finish(id, Outcome::TimedOut, turn),
                    Some(receive::Late::TooSlow) => {
                        self.refuse_open(id, TftpRefusal::TooSlow, turn);
                    }
                },
            }
        }
    }

    /// Returns how many answers the order of service puts off.
    #[must_use]
    pub fn answers_waiting(&self) -> usize {
        self.order.waiting()
    }

    /// Returns when to call [`Engine::handle_timeout`].
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        [self.order.poll_timeout(), self.timers.next()].into_iter().flatten().min()
    }

    /// Returns the next question for the loader or the writer.
    pub fn poll_store_request(&mut self) -> Option<StoreRequest> {
        self.store_requests.pop_front()
    }

    /// Returns the record of the next finished or refused transfer.
    pub fn poll_record(&mut self) -> Option<Record> {
        self.records.pop_front()
    }

    /// A request that waited for a session slot has one now.
    pub fn handle_granted(&mut self, ticket: Ticket, turn: &mut TurnContext<'_>) {
        self.begin(ticket.row, turn);
    }

    /// A request waited for a session slot in vain. No answer: the phone asks again.
    pub fn handle_expired(&mut self, ticket: Ticket, turn: &mut TurnContext<'_>) {
        turn.counters.queue_expired.up();
        self.finish(ticket.row, Outcome::Refused(Refusal::NoSlot), turn);
    }

    /// The server stops: running transfers end, each with an ERROR to its phone. A phone whose
    /// upload is stored gets none.
    pub fn abandon(&mut self, turn: &mut TurnContext<'_>) {
        let is_stored = |transfer: &Transfer| match &transfer.state {
            TransferState::Receiving(receiving) => receiving.is_stored(),
            TransferState::Waiting | TransferState::Opening | TransferState::Sending(..) => false,
        };
        let rows = self.transfers.iter().map(|(id, transfer)| (id, is_stored(transfer)));
        for (id, is_stored) in rows.collect::<Vec<(TransferId, bool)>>() {
            if is_stored {
                self.finish(id, Outcome::Done, turn);
            } else {
                self.fail(id, Failure::Stopped, turn);
            }
        }
    }
}
