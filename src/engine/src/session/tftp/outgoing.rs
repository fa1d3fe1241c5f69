//! What to send next, and the result of each send, straight from the blobs.
//!
//! Borrows headers and bytes; the caller hands them to the kernel and reports how many it took.
//! Every send is paid for before it enters a queue.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use crate::catalog::blob::{Blob, Span};
use crate::requests::StoreRequest;
use crate::session::tftp::engine::Engine;
use crate::session::tftp::numbers::{BlockIndex, number_of};
use crate::session::tftp::options::Terms;
use crate::session::tftp::order;
use crate::session::tftp::send::{Burst, Sending};
use crate::session::tftp::send_queues::SendQueue;
use crate::session::tftp::transfer::{PortId, Transfer, TransferId, TransferState, ticket};
use crate::session::{Failure, Outcome, Refusal, TurnContext};
use crate::settings::tftp::WrapTo;
use wire::tftp::{Block, Control, DATA_HEADER_BYTES, data_header};
use wire::time::Instant;

/// Most blocks in one burst: what kernels take as segments of one send.
pub const BURST_BLOCKS_MAX: u16 = 64;
/// Most bytes in one burst, so that it fits one UDP send before it is cut into segments.
pub const BURST_BYTES_MAX: usize = 65_000;
/// Files up to this size are sent before all others, and so are single packets.
pub const SMALL_FILE_BYTES_MAX: u64 = 65_536;
/// One send: a packet, or the datagrams of a burst to one peer.
#[derive(Clone, Copy, Debug)]
pub struct Transmit<'a> {
    /// The destination.
    pub peer: SocketAddr,
    /// The source address; `None` if the kernel chooses.
    pub from: Option<IpAddr>,
    /// The bytes.
    pub payload: Payload<'a>,
}

/// The bytes of one send.
#[derive(Clone, Copy, Debug)]
pub enum Payload<'a> {
    /// One packet.
    Control(ControlPacket<'a>),
    /// DATA blocks, each a datagram, all but the last of equal size.
    Blocks(Blocks<'a>),
}

/// A packet without payload, built only when it is sent, because a send is passed on several times
/// and should be small.
#[derive(Clone, Copy, Debug)]
pub enum ControlPacket<'a> {
    /// Built already.
    Made(&'a Control),
    /// ACK.
    Ack(Block),
    /// OACK: the terms, and the size in bytes that it announces.
    OptionAck(&'a Terms, u64),
}

impl ControlPacket<'_> {
    /// Builds the packet.
    #[must_use]
    pub fn packet(&self) -> Control {
        match self {
            ControlPacket::Made(packet) => **packet,
            ControlPacket::Ack(block) => Control::ack(*block),
            ControlPacket::OptionAck(terms, tsize_bytes) => {
                Control::option_ack(&terms.option_ack(*tsize_bytes).unwrap_or_default())
            }
        }
    }
}

impl Payload<'_> {
    /// Returns the bytes of all datagrams together.
    #[must_use]
    pub fn bytes(&self) -> usize {
        match self {
            Payload::Control(lone) => lone.packet().as_bytes().len(),
            Payload::Blocks(blocks) => blocks.bytes(),
        }
    }
}

/// Consecutive DATA blocks.
#[derive(Clone, Copy, Debug)]
pub struct Blocks<'a> {
    /// The bytes.
    pub blob: &'a Blob,
    /// The first block.
    pub first: BlockIndex,
    /// How many.
    pub count: u16,
    /// Bytes of each but the last of the file.
    pub blksize: u16,
    /// The number after block 65,535.
    pub wrap: WrapTo,
}

impl<'a> Blocks<'a> {
    /// Returns header and bytes of each datagram.
    pub fn datagrams(self) -> impl Iterator<Item = ([u8; DATA_HEADER_BYTES], Span<'a>)> {
        let blksize = usize::from(self.blksize);
        (self.first..self.first + u64::from(self.count)).map(move |block| {
            let span = self.blob.span((block - 1) * blksize as u64, blksize);
            (data_header(number_of(block, self.wrap)), span)
        })
    }

    /// Returns the same blocks one by one.
    pub fn singly(self) -> impl Iterator<Item = Blocks<'a>> {
        let end = self.first + u64::from(self.count);
        (self.first..end).map(move |first| Blocks { first, count: 1, ..self })
    }

    /// Returns the bytes of all datagrams together, headers included.
    #[must_use]
    pub fn bytes(self) -> usize {
        let start = (self.first - 1) * u64::from(self.blksize);
        let most = u64::from(self.count) * u64::from(self.blksize);
        let payload = self.blob.bytes().saturating_sub(start).min(most) as usize;
        payload + usize::from(self.count) * DATA_HEADER_BYTES
    }
}

/// Returns the most blocks of this size that one burst may hold.
#[must_use]
pub fn burst_blocks_max(blksize: u16) -> u16 {
    let fit = BURST_BYTES_MAX / (usize::from(blksize) + DATA_HEADER_BYTES);
    (fit as u16).clamp(1, BURST_BLOCKS_MAX)
}

/// Why the kernel refused a send for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendFault {
    /// The bytes could not be read: the mapped file was truncated.
    FileCut,
    /// Any other reason: no route, a datagram too long.
    Refused,
}

impl Engine {
    /// Puts a transfer that has something to send into its queue, or arms its deadline.
    pub(super) fn ready(&mut self, id: TransferId, turn: &mut TurnContext<'_>) {
        let Some(transfer) = self.transfers.open_mut(id) else { return };
        if transfer.queued {
            return;
        }
        let (bytes, queue) = match &mut transfer.state {
            TransferState::Waiting | TransferState::Opening => return,
            TransferState::Sending(sending, blob) => {
                if sending.poll_verify() {
                    let blob = Arc::clone(blob);
                    self.store_requests
                        .push_back(StoreRequest::Verify { ticket: ticket(id), blob });
                }
                let small = blob.bytes() <= SMALL_FILE_BYTES_MAX;
                let bytes = match next_burst(sending) {
                    None => 0,
                    Some(Burst::OptionAck) => 1,
                    Some(Burst::Blocks { count, .. }) => {
                        u32::from(count) * u32::from(sending.terms().blksize)
                    }
                };
                (bytes, if small { SendQueue::Prompt } else { SendQueue::Bulk })
            }
            TransferState::Receiving(receiving) => {
                (u32::from(receiving.poll_transmit().is_some()), SendQueue::Prompt)
            }
        };
        if bytes > 0
            && !transfer.paid
            && let Err(at) = order::ask(&mut self.order, transfer, id, turn.now)
        {
            transfer.paced_until = Some(at);
        } else if bytes > 0 && !transfer.paid {
            match pay(transfer, bytes, turn) {
                Ok(()) => transfer.paid = true,
                Err(Throttled::Budget) => {
                    turn.counters.tftp_budget_spent.up();
                    self.finish(id, Outcome::Refused(Refusal::TooManyTransfers), turn);
                    return;
                }
                Err(Throttled::RateLimit(at)) => {
                    // A transfer that its rate limit keeps back holds no place.
                    self.order.leave(&mut transfer.standing);
                    transfer.paced_until = Some(at);
                }
            }
        }
        if transfer.paid {
            transfer.queued = true;
            let port = usize::from(transfer.port.0);
            self.ports[port].send_queues.queue(queue, id);
        } else {
            self.arm(id);
        }
    }

    pub(super) fn arm(&mut self, id: TransferId) {
        let Some(transfer) = self.transfers.open_mut(id) else { return };
        let own = match &transfer.state {
            TransferState::Waiting | TransferState::Opening => None,
            TransferState::Sending(sending, _) => sending.poll_timeout(),
            TransferState::Receiving(receiving) => receiving.poll_timeout(),
        };
        let at = [own, transfer.paced_until].into_iter().flatten().min();
        transfer.deadline.set(at, id, &mut self.timers);
    }

    /// Returns what a queue of a socket would send, in order.
    pub fn outgoing(&self, port: PortId, queue: SendQueue) -> impl Iterator<Item = Transmit<'_>> {
        let queues = self.ports.get(usize::from(port.0)).map(|port| &port.send_queues);
        let replies =
            queues.filter(|_| queue == SendQueue::Replies).into_iter().flat_map(|queues| {
                queues.replies().map(|reply| Transmit {
                    peer: reply.peer,
                    from: reply.from,
                    payload: Payload::Control(ControlPacket::Made(&reply.packet)),
                })
            });
        let transfers = queues.into_iter().flat_map(move |queues| queues.transfers(queue));
        replies.chain(transfers.filter_map(|id| transmit(self.transfers.open(id)?)))
    }

    /// Returns whether a queue of a socket has anything to send.
    #[must_use]
    pub fn has_outgoing(&self, port: PortId, queue: SendQueue) -> bool {
        self.ports.get(usize::from(port.0)).is_some_and(|port| !port.send_queues.is_empty(queue))
    }

    /// The kernel has taken the first `count` sends that [`Engine::outgoing`] returned.
    pub fn handle_transmitted(
        &mut self,
        port: PortId,
        queue: SendQueue,
        count: usize,
        turn: &mut TurnContext<'_>,
    ) {
        if queue == SendQueue::Replies {
            self.ports[usize::from(port.0)].send_queues.drop_replies(count);
            return;
        }
        for _ in 0..count {
            let Some(id) = self.pop_sendable(port, queue) else { return };
            self.transmitted(id, turn);
        }
    }

    fn transmitted(&mut self, id: TransferId, turn: &mut TurnContext<'_>) {
        let Some(transfer) = self.transfers.open_mut(id) else { return };
        transfer.queued = false;
        transfer.paid = false;
        match &mut transfer.state {
            TransferState::Waiting | TransferState::Opening => {}
            TransferState::Sending(sending, blob) => {
                let Some(burst) = next_burst(sending) else { return };
                let before = sending.blocks_resent();
                sending.handle_transmitted(burst, turn.now);
                let resent = u64::from(sending.blocks_resent() - before);
                turn.counters.tftp_blocks_resent.add(resent);
                if let Burst::Blocks { first, count } = burst {
                    let (blksize, count) = (u64::from(sending.terms().blksize), u64::from(count));
                    // The last block is shorter.
                    let left = blob.bytes().saturating_sub((first - 1) * blksize);
                    turn.counters.tftp_blocks_sent.add(count);
                    turn.counters.tftp_sent_bytes.add((count * blksize).min(left));
                }
            }
            TransferState::Receiving(receiving) => {
                receiving.handle_transmitted(turn.now);
                if receiving.is_stored() {
                    self.keep_finished(id, turn);
                    return;
                }
            }
        }
        self.ready(id, turn);
    }

    /// The kernel refuses the first send of a queue for good.
    pub fn handle_send_fault(
        &mut self,
        port: PortId,
        queue: SendQueue,
        fault: SendFault,
        turn: &mut TurnContext<'_>,
    ) {
        turn.counters.send_errors.up();
        if queue == SendQueue::Replies {
            self.ports[usize::from(port.0)].send_queues.drop_replies(1);
            return;
        }
        let Some(id) = self.pop_sendable(port, queue) else { return };
        let is_half_open = self.transfers.open(id).is_some_and(Transfer::is_half_open);
        match fault {
            SendFault::FileCut => self.fail(id, Failure::FileChanged, turn),
            SendFault::Refused if is_half_open => {
                self.finish(id, Outcome::Failed(Failure::SendRefused), turn);
            }
            // A route may be missing for a moment, and a phone cut off while flashing may be
            // bricked. So the engine treats the send as lost: it is repeated until the phone is
            // silent for too long.
            SendFault::Refused => self.transmitted(id, turn),
        }
    }

    /// Empties a queue in which nothing has anything to send any more.
    pub fn sweep(&mut self, port: PortId, queue: SendQueue) {
        let idle = self.pop_sendable(port, queue);
        debug_assert!(idle.is_none(), "a queue with something to send was swept");
    }

    /// Takes the first transfer of a queue that really has something to send.
    fn pop_sendable(&mut self, port: PortId, queue: SendQueue) -> Option<TransferId> {
        loop {
            let id = self.ports[usize::from(port.0)].send_queues.pop(queue)?;
            let Some(transfer) = self.transfers.open_mut(id) else { continue };
            if transmit(transfer).is_some() {
                return Some(id);
            }
            transfer.queued = false;
            self.arm(id);
        }
    }
}

enum Throttled {
    Budget,
    RateLimit(Instant),
}

/// Pays for a send: from the budget of unproven phones, or under the caps on bytes per second.
fn pay(transfer: &mut Transfer, bytes: u32, turn: &mut TurnContext<'_>) -> Result<(), Throttled> {
    if transfer.is_half_open() {
        let paid = turn.admission.budget.spend(transfer.peer.ip(), turn.now);
        return if paid { Ok(()) } else { Err(Throttled::Budget) };
    }
    let caps = transfer.caps;
    let own_rate = caps.phone_bytes_per_second;
    transfer.pace.take(bytes, own_rate, turn.now).map_err(Throttled::RateLimit)?;
    let shared = turn.admission.rate_limits.take(caps.subnet_bucket, bytes, turn.now);
    shared.map_err(|at| {
        transfer.pace.give_back(bytes, own_rate);
        Throttled::RateLimit(at)
    })
}

fn next_burst(sending: &Sending) -> Option<Burst> {
    sending.poll_transmit(burst_blocks_max(sending.terms().blksize))
}

/// Returns what a transfer would send now.
fn transmit(transfer: &Transfer) -> Option<Transmit<'_>> {
    let payload = match &transfer.state {
        TransferState::Waiting | TransferState::Opening => return None,
        TransferState::Sending(sending, blob) => match next_burst(sending)? {
            Burst::OptionAck => {
                Payload::Control(ControlPacket::OptionAck(sending.terms(), blob.bytes()))
            }
            Burst::Blocks { first, count } => Payload::Blocks(Blocks {
                blob,
                first,
                count,
                blksize: sending.terms().blksize,
                wrap: sending.wrap(),
            }),
        },
        TransferState::Receiving(receiving) => {
            Payload::Control(match receiving.poll_transmit()? {
                (block, false) => ControlPacket::Ack(block),
                (_, true) => {
                    let announced = transfer.requested.options.tsize.unwrap_or_default();
                    ControlPacket::OptionAck(receiving.terms(), announced)
                }
            })
        }
    };
    Some(Transmit { peer: transfer.peer, from: transfer.from, payload })
}
