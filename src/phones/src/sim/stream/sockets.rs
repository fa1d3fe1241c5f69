//! The sockets of one protocol's connections: what a worker's loop does with each, in its order.
//!
//! Decides nothing, as the loop; see `net/stream.rs` of the server.

use std::collections::{BTreeMap, HashMap, VecDeque};

use super::bug::Bug;
use super::network::{Broken, LineId, Network, Read, Side};
use crate::random::Random;
use engine::session::TurnContext;
use engine::session::stream::{ConnectionId, Connections, DialFault, Next, Payload};

/// Reads of one connection before the others have their turn, as in the loop.
const READS_MAX: usize = 8;
/// Most bytes that are read, or offered to the system, at once.
const PART_BYTES: usize = 64 << 10;
/// Most steps of one connection in a turn: far more than its bytes can need.
const STEPS_MAX: usize = 100_000;

struct Socket {
    line: LineId,
    is_dialing: bool,
    hung_up: bool,
    is_queued: bool,
}

/// An engine and the sockets of its connections.
pub(super) struct Sockets<E> {
    pub(super) engine: E,
    sockets: BTreeMap<ConnectionId, Socket>,
    lines: HashMap<LineId, ConnectionId>,
    /// Connections with news.
    fresh: VecDeque<ConnectionId>,
    /// Connections whose request has begun to wait for a slot.
    pub(super) waiting: Vec<LineId>,
    /// Steps of a connection that never rests.
    pub(super) is_restless: bool,
    bug: Option<Bug>,
    random: Random,
}

/// What came of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SocketProgress {
    Again,
    Blocked,
    Gone,
}

impl<E: Connections> Sockets<E> {
    pub(super) fn new(engine: E, bug: Option<Bug>, random: Random) -> Sockets<E> {
        Sockets {
            engine,
            sockets: BTreeMap::new(),
            lines: HashMap::new(),
            fresh: VecDeque::new(),
            waiting: Vec::new(),
            is_restless: false,
            bug,
            random,
        }
    }

    /// Drives one more socket from now on.
    pub(super) fn insert(&mut self, id: ConnectionId, line: LineId, is_dialing: bool) {
        let socket = Socket { line, is_dialing, hung_up: false, is_queued: false };
        self.sockets.insert(id, socket);
        self.lines.insert(line, id);
        self.note(line);
    }

    /// Whether a connection is one of these.
    pub(super) fn owns(&self, line: LineId) -> bool {
        self.lines.contains_key(&line)
    }

    /// A connection has news.
    pub(super) fn note(&mut self, line: LineId) {
        let Some(id) = self.lines.get(&line).copied() else { return };
        if let Some(socket) = self.sockets.get_mut(&id)
            && !std::mem::replace(&mut socket.is_queued, true)
        {
            self.fresh.push_back(id);
        }
    }

    /// Sockets that are open.
    pub(super) fn len(&self) -> usize {
        self.sockets.len()
    }

    /// Whether there is something to do without waiting for anything.
    pub(super) fn is_busy(&self) -> bool {
        !self.fresh.is_empty() || self.engine.has_ready()
    }

    /// The connection that a session's socket is.
    pub(super) fn line(&self, id: ConnectionId) -> Option<LineId> {
        self.sockets.get(&id).map(|socket| socket.line)
    }

    /// Handles what came on connections that have news.
    pub(super) fn receive(&mut self, network: &mut Network, turn: &mut TurnContext<'_>) {
        for _ in 0..self.fresh.len() {
            let Some(id) = self.fresh.pop_front() else { break };
            self.drive(id, network, turn);
        }
    }

    /// Goes on with what others have answered.
    pub(super) fn send(&mut self, network: &mut Network, turn: &mut TurnContext<'_>) {
        while let Some(id) = self.engine.poll_ready() {
            self.drive(id, network, turn);
        }
    }

    /// A connection that this side makes has its answer.
    pub(super) fn dialed(
        &mut self,
        line: LineId,
        is_taken: bool,
        network: &mut Network,
        turn: &mut TurnContext<'_>,
    ) {
        let Some(id) = self.lines.get(&line).copied() else { return };
        if let Some(socket) = self.sockets.get_mut(&id) {
            socket.is_dialing = false;
        }
        let result = if is_taken { Ok(()) } else { Err(DialFault::Refused) };
        self.engine.handle_dialed(id, result, turn);
        match is_taken {
            true => self.drive(id, network, turn),
            false => self.forget(id, turn),
        }
    }

    /// Does what can be done with a connection.
    fn drive(&mut self, id: ConnectionId, network: &mut Network, turn: &mut TurnContext<'_>) {
        let Some(socket) = self.sockets.get_mut(&id) else { return };
        socket.is_queued = false;
        let (line, waiting) = (socket.line, turn.admission.slots.waiting());
        self.step_on(id, line, network, turn);
        if turn.admission.slots.waiting() > waiting {
            self.waiting.push(line);
        }
    }

    fn step_on(
        &mut self,
        id: ConnectionId,
        line: LineId,
        network: &mut Network,
        turn: &mut TurnContext<'_>,
    ) {
        let is_dialing = self.sockets.get(&id).is_some_and(|socket| socket.is_dialing);
        if is_dialing {
            if matches!(self.engine.next(id), Next::Close | Next::Reset) {
                network.reset(line, Side::Server);
                self.forget(id, turn);
            }
            return;
        }
        if let Some(broken) = network.broken(line, Side::Server) {
            return self.break_off(id, line, broken, network, turn);
        }
        let mut reads = READS_MAX;
        for _ in 0..STEPS_MAX {
            let step = match self.engine.next(id) {
                Next::Read if reads == 0 => return self.note(line),
                Next::Read => {
                    reads -= 1;
                    self.read(id, line, network, turn)
                }
                Next::Write => self.write(id, line, network, turn),
                Next::Shut => {
                    network.shut(line, Side::Server);
                    SocketProgress::Again
                }
                Next::Wait => SocketProgress::Blocked,
                Next::Measure => {
                    self.measure(id, line, network, turn);
                    SocketProgress::Again
                }
                // Phones of this world speak no TLS.
                Next::StartTls | Next::Reset => {
                    network.reset(line, Side::Server);
                    SocketProgress::Gone
                }
                Next::Close => {
                    network.close(line, Side::Server);
                    SocketProgress::Gone
                }
            };
            match step {
                SocketProgress::Again => {}
                SocketProgress::Blocked => return self.tell_hangup(id, line, network, turn),
                SocketProgress::Gone => return self.forget(id, turn),
            }
        }
        self.is_restless = true;
    }

    fn read(
        &mut self,
        id: ConnectionId,
        line: LineId,
        network: &mut Network,
        turn: &mut TurnContext<'_>,
    ) -> SocketProgress {
        let bytes_max = 1 + self.random.below(PART_BYTES as u64) as usize;
        match network.read(line, Side::Server, bytes_max) {
            Read::Bytes(bytes) => {
                self.engine.handle_bytes(id, &bytes, turn);
                SocketProgress::Again
            }
            Read::Nothing => SocketProgress::Blocked,
            Read::End => {
                self.engine.handle_end(id, turn);
                SocketProgress::Again
            }
            Read::Broken(broken) => {
                self.break_off(id, line, broken, network, turn);
                SocketProgress::Blocked
            }
        }
    }

    fn write(
        &mut self,
        id: ConnectionId,
        line: LineId,
        network: &mut Network,
        turn: &mut TurnContext<'_>,
    ) -> SocketProgress {
        let outgoing = self.engine.outgoing(id);
        let mut bytes = outgoing.head.to_vec();
        match outgoing.payload {
            Payload::None => {}
            Payload::Bytes(more) => bytes.extend(&more[..more.len().min(PART_BYTES)]),
            Payload::File { blob, offset, bytes: count } => {
                let end = offset + count.min(PART_BYTES as u64);
                let all = blob.as_slice().unwrap_or_default();
                bytes.extend(all.get(offset as usize..end as usize).unwrap_or_default());
            }
        }
        if bytes.is_empty() {
            self.engine.handle_cut(id, turn);
            return SocketProgress::Again;
        }
        if self.bug == Some(Bug::CorruptsFiles) && outgoing.head.is_empty() {
            bytes[0] ^= 1;
        }
        match network.write(line, Side::Server, &bytes) {
            0 => {
                self.measure(id, line, network, turn);
                self.engine.handle_blocked(id, turn);
                SocketProgress::Blocked
            }
            count => {
                self.engine.handle_sent(id, count, turn);
                SocketProgress::Again
            }
        }
    }

    fn measure(
        &mut self,
        id: ConnectionId,
        line: LineId,
        network: &Network,
        turn: &mut TurnContext<'_>,
    ) {
        let bytes = network.unacknowledged(line, Side::Server);
        self.engine.handle_unacknowledged(id, bytes, turn);
    }

    fn break_off(
        &mut self,
        id: ConnectionId,
        line: LineId,
        broken: Broken,
        network: &mut Network,
        turn: &mut TurnContext<'_>,
    ) {
        if self.bug == Some(Bug::LeaksConnections) {
            return;
        }
        self.measure(id, line, network, turn);
        match broken {
            Broken::Reset => self.engine.handle_gone(id, turn),
            Broken::GivenUp => self.engine.handle_given_up(id, turn),
        }
        network.vanish(line, Side::Server);
        self.forget(id, turn);
    }

    fn tell_hangup(
        &mut self,
        id: ConnectionId,
        line: LineId,
        network: &Network,
        turn: &mut TurnContext<'_>,
    ) {
        if let Some(socket) = self.sockets.get_mut(&id)
            && network.has_ended(line, Side::Server)
            && !std::mem::replace(&mut socket.hung_up, true)
        {
            self.engine.handle_hangup(id, turn);
        }
    }

    fn forget(&mut self, id: ConnectionId, turn: &mut TurnContext<'_>) {
        if let Some(socket) = self.sockets.remove(&id) {
            self.lines.remove(&socket.line);
        }
        self.engine.handle_closed(id, turn);
    }
}
