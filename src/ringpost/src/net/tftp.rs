//! TFTP over sockets: received datagrams go to the engine, and its sends go to the kernel.
//!
//! Decides only order and amounts: queues are drained before anything else, small files leave
//! before firmware, and neither takes more than its share of a turn.

use std::io;
use std::net::{IpAddr, UdpSocket};

use mio::event::Event;
use mio::{Interest, Registry, Token};

use crate::net::service::Service;
use crate::net::services::Sockets;
use crate::sys::udp::{self, Inbox, Outbox, Received, take_errors};
use engine::metrics::Counters;
use engine::policy::snapshot::Policy;
use engine::requests::{StoreReply, StoreRequest};
use engine::session::tftp::{Datagram, Engine, PortId, SendFault, SendQueue};
use engine::session::{Record, TurnContext};
use engine::ticket::Ticket;
use wire::tftp::{DATA_HEADER_BYTES, REQUEST_BYTES_MAX};
use wire::time::Instant;

/// Most batches received from one socket in a turn: 4,096 datagrams.
const RECEIVE_BATCHES_MAX: usize = 32;
/// Bytes of firmware sent in a turn, from all sockets together. A request that arrives meanwhile,
/// for a small file perhaps, waits for no more than that.
const BULK_BYTES_MAX: usize = 2 << 20;
/// Bytes of firmware that one socket sends at a time, so that none waits for all of another's.
const BULK_BATCH_BYTES: usize = 256 << 10;

/// One UDP socket of a worker.
struct Port {
    socket: mio::net::UdpSocket,
    /// The kernel has reported data, and no read has found the socket empty since.
    readable: bool,
    /// The last read failed.
    faulty: bool,
    /// The kernel took no more; tried again in the next turn.
    blocked: bool,
    /// The only address that it is bound to, if there is one.
    address: Option<IpAddr>,
    /// Datagrams may be fragmented because some path was too narrow for them.
    fragments: bool,
    /// Datagrams dropped by the kernel, as last reported.
    drops: u32,
}

/// The TFTP server of one worker with its sockets.
struct Tftp {
    /// The first of its tokens.
    tokens: usize,
    engine: Engine,
    ports: Vec<Port>,
    /// The order in which sockets are read: those that answer first, so that a phone's last ACK is
    /// known before its next request.
    order: Vec<usize>,
    /// The socket whose firmware is sent next.
    bulk_next: usize,
    inbox: Inbox,
    outbox: Outbox,
}

/// Serves the TFTP listeners.
///
/// # Errors The system's error if a socket cannot be polled.
pub(crate) fn start(
    sockets: &mut Sockets,
    tokens: usize,
    registry: &Registry,
) -> io::Result<Box<dyn Service>> {
    let mut tftp = Tftp::new(tokens);
    for (listener, pool) in std::mem::take(&mut sockets.datagrams) {
        tftp.listen(listener, pool, registry)?;
    }
    Ok(Box::new(tftp))
}

impl Tftp {
    /// Creates it without sockets and settings.
    fn new(tokens: usize) -> Self {
        Tftp {
            tokens,
            engine: Engine::default(),
            ports: Vec::new(),
            order: Vec::new(),
            bulk_next: 0,
            inbox: Inbox::new(room_for(0)),
            outbox: Outbox::default(),
        }
    }

    /// Makes room for larger blocks. Allocates, so only reloads call it.
    fn fit(&mut self, blksize_max: u16) {
        let room = room_for(blksize_max);
        if self.inbox.datagram_bytes_max() < room {
            self.inbox = Inbox::new(room);
        }
    }

    /// Serves requests at `listener`; answers leave from `pool`, or from the same socket if that is
    /// empty.
    ///
    /// # Errors The kernel's error if a socket cannot be polled.
    fn listen(
        &mut self,
        listener: UdpSocket,
        pool: Vec<UdpSocket>,
        registry: &Registry,
    ) -> io::Result<()> {
        let requested = self.add(listener, registry)?;
        let pool: io::Result<Vec<PortId>> =
            pool.into_iter().map(|socket| self.add(socket, registry)).collect();
        let pool = pool?;
        self.order.splice(0..0, pool.iter().map(|port| usize::from(port.0)));
        self.order.push(usize::from(requested.0));
        let answers = if pool.is_empty() { vec![requested] } else { pool };
        let numbers: Vec<_> = answers.iter().map(|port| (*port, self.number(*port))).collect();
        self.engine.set_answers(requested, answers);
        for (port, number) in numbers {
            number.into_iter().for_each(|number| self.engine.set_number(port, number));
        }
        Ok(())
    }

    /// Returns the number of the port that a socket is bound to.
    fn number(&self, port: PortId) -> Option<u16> {
        Some(self.ports.get(usize::from(port.0))?.socket.local_addr().ok()?.port())
    }

    fn add(&mut self, socket: UdpSocket, registry: &Registry) -> io::Result<PortId> {
        let place = self.ports.len();
        let mut socket = mio::net::UdpSocket::from_std(socket);
        let address = socket.local_addr()?.ip();
        let address = Some(address).filter(|address| !address.is_unspecified());
        registry.register(&mut socket, Token(self.tokens + place), Interest::READABLE)?;
        self.ports.push(Port {
            socket,
            address,
            faulty: false,
            readable: true,
            blocked: false,
            fragments: false,
            drops: 0,
        });
        u16::try_from(place).map(PortId).map_err(io::Error::other)
    }

    fn receive_batch(&mut self, place: usize, turn: &mut TurnContext<'_>) {
        let port = &mut self.ports[place];
        let Received { count, is_all } = match self.inbox.receive(&port.socket) {
            Ok(received) => received,
            Err(fault) => {
                // Any other error is that of an earlier send, reported once: the next call
                // succeeds. A lasting one must not keep the worker busy for nothing.
                let is_error = fault.kind() != io::ErrorKind::WouldBlock;
                let taken = is_error && self.take_errors(place, turn);
                let port = &mut self.ports[place];
                port.readable = taken || (is_error && !port.faulty);
                port.faulty = is_error && !taken;
                return;
            }
        };
        port.faulty = false;
        port.readable = !is_all;
        for index in 0..count {
            let Some(datagram) = self.inbox.datagram(index) else {
                turn.counters.tftp_malformed.up();
                continue;
            };
            if let Some(drops) = datagram.drops {
                turn.counters.kernel_drops.add(u64::from(drops.wrapping_sub(port.drops)));
                port.drops = drops;
            }
            let datagram = Datagram {
                port: PortId(place as u16),
                peer: datagram.peer,
                to: datagram.to,
                from: datagram.from.or(port.address),
                interface: datagram.interface,
                bytes: datagram.bytes,
            };
            self.engine.handle_datagram(datagram, turn);
        }
    }

    /// Reads the network's errors of earlier sends; returns whether there were any.
    fn take_errors(&mut self, place: usize, turn: &mut TurnContext<'_>) -> bool {
        let (port, engine) = (&self.ports[place], &mut self.engine);
        take_errors(&port.socket, |peer| {
            engine.handle_unreachable(PortId(place as u16), peer, turn);
        })
    }

    /// Sends the last packets of ended transfers.
    fn send_last(&mut self, turn: &mut TurnContext<'_>) {
        for place in 0..self.ports.len() {
            self.ports[place].blocked = false;
            while self.send_batch(place, SendQueue::Replies, usize::MAX, turn).is_some() {}
        }
    }

    /// Sends one batch of a lane, but begins no send beyond `bytes_max`; returns the number of
    /// bytes if there may be more.
    fn send_batch(
        &mut self,
        place: usize,
        lane: SendQueue,
        bytes_max: usize,
        turn: &mut TurnContext<'_>,
    ) -> Option<usize> {
        let id = PortId(place as u16);
        let port = &mut self.ports[place];
        if port.blocked || !self.engine.has_outgoing(id, lane) {
            return None;
        }
        let mut bytes = 0;
        let transmits = self.engine.outgoing(id, lane).take_while(|transmit| {
            let room = bytes < bytes_max;
            bytes += transmit.payload.bytes();
            room
        });
        let sent = self.outbox.send(&port.socket, transmits, port.address.is_some());
        if sent.count == 0 && sent.fault.is_none() {
            // All transfers in the lane have ended meanwhile.
            self.engine.sweep(id, lane);
            return None;
        }
        self.engine.handle_transmitted(id, lane, sent.count, turn);
        let Some(fault) = sent.fault else { return Some(bytes) };
        let is_error = self.take_errors(place, turn);
        match fault {
            udp::SendFault::Full => {
                turn.counters.send_would_block.up();
                self.ports[place].blocked = true;
                None
            }
            udp::SendFault::Interrupted => Some(0),
            udp::SendFault::TooLong if !self.ports[place].fragments => {
                let port = &mut self.ports[place];
                port.fragments = true;
                udp::allow_fragments(&port.socket).ok().map(|()| 0)
            }
            udp::SendFault::FileCut => {
                self.engine.handle_send_fault(id, lane, SendFault::FileCut, turn);
                Some(0)
            }
            // The error was that of another send.
            udp::SendFault::TooLong | udp::SendFault::Refused if is_error => Some(0),
            udp::SendFault::TooLong | udp::SendFault::Refused => {
                self.engine.handle_send_fault(id, lane, SendFault::Refused, turn);
                Some(0)
            }
        }
    }

    fn places(&self) -> impl Iterator<Item = (usize, PortId)> {
        (0..self.ports.len()).map(|place| (place, PortId(place as u16)))
    }
}

impl Service for Tftp {
    fn note(&mut self, event: &Event) {
        if let Some(port) = self.ports.get_mut(event.token().0 - self.tokens) {
            port.readable = true;
        }
    }

    fn adopt(&mut self, policy: &Policy, workers: usize) {
        self.fit(policy.tftp.blksize_max());
        self.engine.set_order(&policy.order, workers);
    }

    fn is_busy(&self) -> bool {
        self.ports.iter().any(|port| port.readable)
            || self.places().any(|(place, port)| {
                !self.ports[place].blocked
                    && SendQueue::ALL.iter().any(|lane| self.engine.has_outgoing(port, *lane))
            })
    }

    fn is_blocked(&self) -> bool {
        self.ports.iter().any(|port| port.blocked)
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.engine.poll_timeout()
    }

    fn drain(&mut self, _: &mut TurnContext<'_>) {
        self.engine.stop();
    }

    fn receive(&mut self, turn: &mut TurnContext<'_>) {
        for at in 0..self.order.len() {
            let place = self.order[at];
            for _ in 0..RECEIVE_BATCHES_MAX {
                if !self.ports[place].readable {
                    break;
                }
                self.receive_batch(place, turn);
            }
        }
    }

    fn handle_store_reply(&mut self, reply: StoreReply, turn: &mut TurnContext<'_>) {
        self.engine.handle_store_reply(reply, turn);
    }

    fn handle_granted(&mut self, ticket: Ticket, turn: &mut TurnContext<'_>) {
        self.engine.handle_granted(ticket, turn);
    }

    fn handle_expired(&mut self, ticket: Ticket, turn: &mut TurnContext<'_>) {
        self.engine.handle_expired(ticket, turn);
    }

    fn handle_timeout(&mut self, turn: &mut TurnContext<'_>) {
        self.engine.handle_timeout(turn);
    }

    /// Sends control packets and small files whole, then a bounded part of the rest.
    fn send(&mut self, turn: &mut TurnContext<'_>) {
        for port in &mut self.ports {
            port.blocked = false;
        }
        for lane in [SendQueue::Replies, SendQueue::Prompt] {
            for place in 0..self.ports.len() {
                while self.send_batch(place, lane, usize::MAX, turn).is_some() {}
            }
        }
        let (mut left, mut idle) = (BULK_BYTES_MAX, 0);
        while left > 0 && idle < self.ports.len() {
            self.bulk_next = (self.bulk_next + 1) % self.ports.len();
            let sent = self.send_batch(self.bulk_next, SendQueue::Bulk, BULK_BATCH_BYTES, turn);
            idle = if sent.is_some() { 0 } else { idle + 1 };
            left = left.saturating_sub(sent.unwrap_or_default());
        }
    }

    fn poll_store_request(&mut self) -> Option<StoreRequest> {
        self.engine.poll_store_request()
    }

    fn handle_refused(&mut self, request: StoreRequest, turn: &mut TurnContext<'_>) {
        self.engine.handle_refused(request, turn);
    }

    fn poll_record(&mut self) -> Option<Record> {
        self.engine.poll_record()
    }

    fn transfers_open(&self) -> usize {
        self.engine.transfers_open()
    }

    fn answers_waiting(&self) -> usize {
        self.engine.answers_waiting()
    }

    fn show_stats(&self, counters: &Counters) {
        counters.transfers_half_open.set(self.engine.transfers_half_open() as u64);
    }

    fn abandon(&mut self, turn: &mut TurnContext<'_>) {
        self.engine.abandon(turn);
        self.send_last(turn);
    }
}

/// Returns the size of the longest expected datagram: DATA of this size, or a long request.
fn room_for(blksize_max: u16) -> usize {
    usize::from(blksize_max).max(REQUEST_BYTES_MAX * 2) + DATA_HEADER_BYTES
}
