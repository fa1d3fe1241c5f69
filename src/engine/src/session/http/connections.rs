//! What the sockets of HTTP's connections tell the engine, and what they are told to do.
//!
//! Judges nothing but how many connections there may be; requests are judged in `request.rs`.

use std::net::SocketAddr;

use crate::admission::address::AddressKey;
use crate::session::arrivals::Arrivals;
use crate::session::http::connection::{Connection, State};
use crate::session::http::engine::Engine;
use crate::session::http::limits::HttpListener;
use crate::session::http::reply::Reply;
use crate::session::stream::{
    ConnectionId, Connections, ListenerId, Mark, Next, Outgoing, Security,
};
use crate::session::timer::Deadline;
use crate::session::{Abort, Failure, Handshake, Outcome, Protocol, Refusal, Stall, Turn, Verb};
use wire::time::Instant;

/// What a phone is told, in clear, that spoke plain HTTP to a port that speaks TLS.
const PLAIN_ANSWER: &[u8] = b"HTTP/1.1 400 Bad Request\r\n\
    Content-Type: text/plain\r\n\
    Content-Length: 70\r\n\
    Connection: close\r\n\
    \r\n\
    This port speaks HTTPS: ask again with https:// in front of the name.\n";

impl Connections for Engine {
    const PLAIN_ANSWER: &'static [u8] = PLAIN_ANSWER;

    fn add_listener(&mut self, address: SocketAddr, protocol: Protocol) -> ListenerId {
        let id = ListenerId(u16::try_from(self.listeners.len()).unwrap_or(u16::MAX));
        self.listeners.push(HttpListener {
            address,
            protocol,
            stack: Vec::new(),
            vault: false,
            acme: None,
        });
        id
    }

    fn handle_connected(
        &mut self,
        peer: SocketAddr,
        listener: ListenerId,
        turn: &mut Turn<'_>,
    ) -> Option<ConnectionId> {
        turn.counters.stream_connections.up();
        let limits = &turn.snapshot.policy.http.limits;
        let protocol = self.protocol(listener);
        let handshaking = protocol == Protocol::Https;
        let client = AddressKey::from(peer.ip());
        let here = self.per_address.entry(client).or_default();
        // Handshakes cost the most, so one address never has more than half of all places at
        // theirs. A site behind one address that boots at once has no more than its own share.
        let each = limits.per_address_max;
        let half = limits.connections_max.div_ceil(2);
        let crowded = each > 0
            && (here.connections as usize >= each
                || (handshaking && here.handshakes as usize >= half));
        let stranger = !turn.snapshot.policy.access.permits(protocol, peer.ip().to_canonical());
        let refusal = match () {
            () if self.stopping => Some(Refusal::Stopping),
            () if crowded || self.connections.len() >= limits.connections_max => {
                Some(Refusal::TooManyConnections)
            }
            () if stranger && !self.strangers.take(limits.connections_max) => {
                Some(Refusal::TooManyStrangers)
            }
            () => None,
        };
        if let Some(refusal) = refusal {
            if here.connections == 0 {
                self.per_address.remove(&client);
            }
            turn.counters.stream_refused.up();
            self.note_lone(peer, listener, Outcome::Refused(refusal), turn.now);
            return None;
        }
        here.connections += 1;
        here.handshakes += u32::from(handshaking);
        let id = self.connections.insert(Box::new(Connection {
            peer,
            listener,
            secured: None,
            certificate: false,
            state: State::Head,
            unread: Vec::new(),
            reply: Reply::default(),
            told: None,
            deadline: Deadline::default(),
            head_begun: false,
            requests: 0,
            ended: false,
            has_slot: false,
            body_held: 0,
            discarded: 0,
            arrivals: Arrivals::default(),
            user_agent: None,
            handshaking,
            stranger,
            held: None,
        }));
        self.set_deadline(id, Some(turn.now + limits.head_timeout));
        Some(id)
    }

    /// Sessions of HTTP are resumed by whoever has one.
    fn mark(&self, _: ConnectionId) -> Option<Mark> {
        None
    }

    fn handle_secured(&mut self, id: ConnectionId, security: Security, _: &mut Turn<'_>) {
        let Some(connection) = self.connections.open_mut(id) else { return };
        connection.secured = security.secured;
        connection.certificate = security.certificate;
        let was = std::mem::take(&mut connection.handshaking);
        if let Some(here) = self.per_address.get_mut(&connection.peer.ip().into()) {
            here.handshakes -= u32::from(was);
        }
    }

    fn handle_handshake_failed(&mut self, id: ConnectionId, why: Handshake, turn: &mut Turn<'_>) {
        turn.counters.tls_handshakes_failed.up();
        let Some(connection) = self.connections.open_mut(id) else { return };
        connection.state = State::Over;
        let (peer, listener) = (connection.peer, connection.listener);
        let outcome = Outcome::Refused(Refusal::Handshake(why));
        self.note_lone(peer, listener, outcome, turn.now);
    }

    fn handle_bytes(&mut self, id: ConnectionId, bytes: &[u8], turn: &mut Turn<'_>) {
        turn.counters.stream_received_bytes.add(bytes.len() as u64);
        let Some(connection) = self.connections.open_mut(id) else { return };
        if connection.unread.is_empty() {
            let used = self.consume(id, bytes, turn);
            let Some(connection) = self.connections.open_mut(id) else { return };
            connection.unread.extend_from_slice(&bytes[used..]);
        } else {
            connection.unread.extend_from_slice(bytes);
            self.resume(id, turn);
        }
    }

    fn handle_end(&mut self, id: ConnectionId, turn: &mut Turn<'_>) {
        let Some(connection) = self.connections.open_mut(id) else { return };
        connection.ended = true;
        match connection.state {
            State::Head | State::Lingering { .. } => connection.state = State::Over,
            State::Receiving(_) => self.handle_gone(id, turn),
            State::Parked(_) | State::Replying | State::Over | State::Stuck => {}
        }
    }

    fn handle_gone(&mut self, id: ConnectionId, turn: &mut Turn<'_>) {
        self.break_off(id, Outcome::Aborted(Abort::Disconnected), turn);
    }

    fn handle_given_up(&mut self, id: ConnectionId, turn: &mut Turn<'_>) {
        self.break_off(id, Outcome::Stalled(Stall::GivenUp), turn);
    }

    fn handle_flushing(&mut self, id: ConnectionId, until: Instant) {
        let waits = self.connections.open(id).is_some_and(|one| one.deadline.at().is_some());
        if !waits {
            self.set_deadline(id, Some(until));
        }
    }

    fn handle_cut(&mut self, id: ConnectionId, turn: &mut Turn<'_>) {
        self.fail(id, Failure::FileChanged, turn);
    }

    fn handle_sent(&mut self, id: ConnectionId, bytes: usize, turn: &mut Turn<'_>) {
        turn.counters.stream_sent_bytes.add(bytes as u64);
        let Some(connection) = self.connections.open_mut(id) else { return };
        connection.arrivals.sent += bytes as u64;
        let payload = connection.reply.advance(bytes);
        if let Some(told) = connection.told.as_mut().filter(|told| told.verb == Verb::Fetch) {
            told.bytes += payload;
        }
        if !matches!(connection.state, State::Replying) {
            return;
        }
        if connection.reply.is_sent() {
            self.reply_sent(id, turn);
        } else {
            self.prompt(id);
        }
    }

    fn handle_unacknowledged(&mut self, id: ConnectionId, bytes: u64, turn: &mut Turn<'_>) {
        let Some(connection) = self.connections.open_mut(id) else { return };
        connection.arrivals.note(bytes, turn.now);
        let is_doubted = std::mem::take(&mut connection.arrivals.is_doubted);
        if is_doubted && matches!(connection.state, State::Replying) {
            self.go_on_or_give_up(id, turn);
        }
    }

    fn handle_blocked(&mut self, id: ConnectionId, turn: &mut Turn<'_>) {
        let due = self.reading_due(id, turn);
        self.wait_for_reader(id, due.map(|(at, _)| at), turn);
    }

    fn handle_closed(&mut self, id: ConnectionId, turn: &mut Turn<'_>) {
        self.conclude(id, Some(Outcome::Aborted(Abort::Disconnected)), turn);
        let Some(connection) = self.connections.remove(id) else { return };
        if connection.stranger {
            self.strangers.give_back();
        }
        let address = AddressKey::from(connection.peer.ip());
        if let Some(here) = self.per_address.get_mut(&address) {
            here.connections -= 1;
            here.handshakes -= u32::from(connection.handshaking);
            if here.connections == 0 {
                self.per_address.remove(&address);
            }
        }
    }

    fn next(&mut self, id: ConnectionId) -> Next {
        let Some(connection) = self.connections.open_mut(id) else { return Next::Close };
        match &mut connection.state {
            State::Head => Next::Read,
            // "100 Continue" may have to leave first.
            State::Receiving(_) if connection.reply.has_head() => Next::Write,
            State::Receiving(receiving) if receiving.is_held() => Next::Wait,
            State::Receiving(_) => Next::Read,
            State::Parked(_) if connection.reply.has_head() => Next::Write,
            State::Parked(_) => Next::Wait,
            State::Replying if connection.arrivals.is_doubted => Next::Measure,
            State::Replying if connection.reply.can_send() => Next::Write,
            State::Replying => Next::Wait,
            State::Lingering { shut: true, .. } => Next::Read,
            State::Lingering { shut, .. } => {
                *shut = true;
                Next::Shut
            }
            State::Over => Next::Close,
            State::Stuck => Next::Reset,
        }
    }

    fn outgoing(&self, id: ConnectionId) -> Outgoing<'_> {
        self.connections.open(id).map_or(Outgoing::EMPTY, |connection| connection.reply.outgoing())
    }

    fn poll_ready(&mut self) -> Option<ConnectionId> {
        self.ready.pop_front()
    }

    fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.timers.next()
    }
}
