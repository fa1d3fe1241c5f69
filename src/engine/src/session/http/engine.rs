//! All connections of a worker: told bytes, answers and moments; asked what to do with each.
//!
//! Requests are judged in `request.rs`. Never lets one connection touch another, and gives the same
//! answers however the bytes were cut on the way.

use std::collections::{HashMap, VecDeque};

use crate::admission::address::AddressKey;
use crate::admission::strangers::Strangers;
use crate::catalog::{Ask, Ticket};
use crate::session::http::connection::{Connection, State};
use crate::session::http::limits::{HttpListener, HttpPolicy};
use crate::session::http::nonces::Nonces;
use crate::session::http::refusal::No;
use crate::session::stream::{ConnectionId, ListenerId};
use crate::session::table::Table;
use crate::session::ticket::{Questions, TicketOwner};
use crate::session::timer::Timers;
use crate::session::{Protocol, Record, Subject, Turn, Verb};
use wire::http::request::{
    Framing, HeadLimits, Malformed, asks_for_head, framing_of_refused, parse,
};
use wire::http::response::Dated;
use wire::time::{Duration, Instant};

/// What one client address has of what all share.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Share {
    /// Open connections.
    pub(super) connections: u32,
    /// Of them, those that are not secured yet and have to be.
    pub(super) handshakes: u32,
    /// Bytes of bodies in memory.
    pub(super) bodies_held: u64,
}

/// The HTTP server of one worker.
#[derive(Debug, Default)]
pub struct Engine {
    pub(super) listeners: Vec<HttpListener>,
    pub(super) connections: Table<Box<Connection>>,
    pub(super) per_address: HashMap<AddressKey, Share>,
    pub(super) strangers: Strangers,
    /// Bytes of bodies in memory.
    pub(super) bodies_held: u64,
    pub(super) dated: Dated,
    pub(super) stopping: bool,
    pub(super) asks: VecDeque<Ask>,
    pub(super) timers: Timers<ConnectionId>,
    pub(super) records: VecDeque<Record>,
    /// Connections that have something to do although their sockets have no news.
    pub(super) ready: VecDeque<ConnectionId>,
    /// Requests in hand.
    pub(super) requests_open: usize,
    /// What the log is to be told of those whose client left while something was stored for it.
    pub(super) left: HashMap<Ticket, Record>,
    /// What challenges were made with.
    pub(super) nonces: Nonces,
}

/// The ticket of everything that a connection asks.
impl From<ConnectionId> for Ticket {
    fn from(row: ConnectionId) -> Ticket {
        Ticket { owner: TicketOwner::Http, row, sequence: Questions::UNAWAITED }
    }
}

impl From<Ticket> for ConnectionId {
    fn from(ticket: Ticket) -> ConnectionId {
        ticket.row
    }
}

impl Engine {
    /// Takes new settings. An address that they do not have any more keeps what it had.
    pub fn adopt(&mut self, policy: &HttpPolicy) {
        for listener in &mut self.listeners {
            let same = |row: &&HttpListener| {
                row.address == listener.address && row.protocol == listener.protocol
            };
            if let Some(row) = policy.listeners.iter().find(same) {
                *listener = row.clone();
            }
        }
    }

    /// Takes no new requests from now on: what is asked is answered, and connections are closed.
    pub fn stop(&mut self) {
        if self.stopping {
            return;
        }
        self.stopping = true;
        let ids: Vec<_> = self.connections.ids().collect();
        for id in ids {
            let Some(connection) = self.connections.open_mut(id) else { continue };
            if matches!(connection.state, State::Head) && connection.unread.is_empty() {
                connection.state = State::Over;
                self.ready.push_back(id);
            }
        }
    }

    /// Open connections.
    #[must_use]
    pub fn connections_open(&self) -> usize {
        self.connections.len()
    }

    /// Requests that are being served.
    #[must_use]
    pub fn requests_open(&self) -> usize {
        self.requests_open
    }

    /// Bytes of bodies in memory.
    #[must_use]
    pub fn bodies_held(&self) -> u64 {
        self.bodies_held
    }

    /// Goes on with bytes that came before they were wanted.
    pub(super) fn resume(&mut self, id: ConnectionId, turn: &mut Turn<'_>) {
        let Some(connection) = self.connections.open_mut(id) else { return };
        let mut unread = std::mem::take(&mut connection.unread);
        let used = self.consume(id, &unread, turn);
        let Some(connection) = self.connections.open_mut(id) else { return };
        unread.drain(..used);
        // A connection that waits for its next request keeps no memory for it.
        connection.unread = if unread.is_empty() { Vec::new() } else { unread };
        if connection.ended && matches!(connection.state, State::Head) {
            connection.state = State::Over;
        }
    }

    /// Takes what can be made use of now; says how many bytes that were.
    pub(super) fn consume(&mut self, id: ConnectionId, bytes: &[u8], turn: &mut Turn<'_>) -> usize {
        let mut used = 0;
        loop {
            let rest = &bytes[used..];
            let Some(connection) = self.connections.open_mut(id) else { return bytes.len() };
            match &mut connection.state {
                State::Head if rest.is_empty() => return used,
                State::Head => match self.take_head(id, rest, turn) {
                    Some(taken) => used += taken,
                    None => return used,
                },
                State::Receiving(_) => {
                    let taken = self.take_body(id, rest, turn);
                    used += taken;
                    if taken == 0 {
                        return used;
                    }
                }
                State::Parked(_) | State::Replying => return used,
                State::Lingering { .. } => {
                    self.discard(id, rest.len(), turn);
                    return bytes.len();
                }
                State::Over | State::Stuck => return bytes.len(),
            }
        }
    }

    /// Reads a request's head and begins to serve it; says how many bytes it has. Nothing, where it
    /// is not all there.
    fn take_head(&mut self, id: ConnectionId, bytes: &[u8], turn: &mut Turn<'_>) -> Option<usize> {
        let limits = &turn.snapshot.policy.http.limits;
        let head_limits = HeadLimits {
            bytes_max: limits.head_bytes_max,
            lines_max: limits.head_lines_max,
            lone_lf: limits.lone_lf,
            lenient: limits.lenient,
        };
        match parse(bytes, &head_limits) {
            Ok(Some((head, taken))) => {
                self.set_deadline(id, None);
                self.handle_request(id, &head, &bytes[..taken], turn);
                Some(taken)
            }
            Ok(None) => {
                let connection = self.connections.open_mut(id)?;
                // The first bytes of a head: from now on it is expected to be whole soon. The first
                // head of a connection is expected from the start.
                let begins = !std::mem::replace(&mut connection.head_begun, true);
                if begins && connection.requests > 0 {
                    self.set_deadline(id, Some(turn.now + limits.head_timeout));
                }
                None
            }
            Err(fault) => {
                self.set_deadline(id, None);
                let framing = framing_of_refused(bytes, &head_limits);
                let has_body = framing.is_some_and(Framing::has_body);
                self.refuse_malformed(id, fault, (asks_for_head(bytes), has_body), turn);
                Some(bytes.len())
            }
        }
    }

    pub(super) fn protocol(&self, listener: ListenerId) -> Protocol {
        let listener = self.listeners.get(usize::from(listener.0));
        listener.map_or(Protocol::Http, |listener| listener.protocol)
    }

    pub(super) fn set_deadline(&mut self, id: ConnectionId, at: Option<Instant>) {
        if let Some(connection) = self.connections.open_mut(id) {
            connection.deadline.set(at, id, &mut self.timers);
        }
    }

    pub(super) fn note_ready(&mut self, id: ConnectionId) {
        self.ready.push_back(id);
    }

    /// Something to ask the loader or the vault.
    pub fn poll_ask(&mut self) -> Option<Ask> {
        self.asks.pop_front()
    }

    /// Something to tell the log.
    pub fn poll_record(&mut self) -> Option<Record> {
        self.records.pop_front()
    }

    /// Which connection a ticket belongs to.
    pub(super) fn find(&self, ticket: Ticket) -> Option<ConnectionId> {
        let id = ConnectionId::from(ticket);
        self.connections.open(id).map(|_| id)
    }

    fn refuse_malformed(
        &mut self,
        id: ConnectionId,
        fault: Malformed,
        (head_only, has_body): (bool, bool),
        turn: &mut Turn<'_>,
    ) {
        turn.counters.http_malformed.up();
        if let Some(connection) = self.connections.open_mut(id) {
            connection.note_user_agent(None);
        }
        self.tell(id, Subject::Unreadable, Verb::Connect, turn.now);
        if let Some(connection) = self.connections.open_mut(id) {
            connection.reply.forget_request(head_only);
            connection.reply.body_unread = has_body;
        }
        self.refuse(id, No::malformed(fault).and_linger(), turn);
    }
}

/// When what moves since then and has moved so many bytes must have moved more.
pub(super) fn due_by_rate(since: Instant, bytes: u64, turn: &Turn<'_>) -> Instant {
    let limits = &turn.snapshot.policy.http.limits;
    since + limits.stall_timeout + Duration::from_secs(bytes / limits.rate_min.max(1))
}
