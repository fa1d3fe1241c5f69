//! All HTTP connections of a worker: a table, and the routing of each event to its connection.
//!
//! One connection never affects another. Never opens, sends, waits or reads a clock.
//!
//! # Contract
//!
//! The engine takes facts by `handle_*` and returns actions by `poll_*`, [`Connections::next`] and
//! [`Connections::outgoing`]. Each `handle_*` finds its connection once, lets it change its own
//! state and the shared state, and returns. The caller polls for the actions afterwards.
//!
//! **The sockets** report, by [`Connections`], for each connection in this order:
//!
//! 1. [`Connections::handle_connected`]: the engine takes it, or returns `None` and the socket is
//!    closed at once.
//! 2. Over TLS [`Connections::handle_secured`], before any byte, or
//!    [`Connections::handle_handshake_failed`].
//! 3. Events: bytes, the end, bytes that left, no room, an error. After each of these, and for each
//!    id of [`Connections::poll_ready`], they call [`Connections::next`] and do what it returns,
//!    until that is `Wait` or the socket blocks. They answer `Measure` by
//!    [`Connections::handle_unacknowledged`].
//! 4. [`Connections::handle_closed`], once, after any end. The id is never used again; an event for
//!    it does nothing.
//!
//! **The threads** take questions by [`Engine::poll_store_request`] and answer each of them once,
//! by [`Engine::handle_store_reply`] with its ticket, or return it by [`Engine::handle_refused`]. A
//! request has at most one question open. Only the request that waits for an answer receives it. A
//! late answer is dropped and what it carries is released. If something was stored or deleted for a
//! client that has left, the log has a record of it.
//!
//! **The queue of session slots** takes questions in the turn's admission. It answers each by
//! [`Engine::handle_granted`] or [`Engine::handle_expired`], unless the engine cancels it.
//!
//! **The clock**: [`Engine::handle_timeout`] is due at [`Connections::poll_timeout`] at the latest.
//!
//! **The engine promises** that every request gets a response or its connection is closed, and that
//! the log has one record of it; that no response reports an upload as stored before it is; that a
//! connection always waits for an event that comes, such as a deadline; that the responses do not
//! depend on how the network splits the bytes; and that every figure is the sum over its
//! connections, which `check.rs` checks after every call in builds with debug assertions.

use std::net::SocketAddr;

use crate::catalog::{OpenError, StoreError};
use crate::protocol::Protocol;
use crate::requests::{StoreReply, StoreRequest};
use crate::session::http::connection::Connection;
use crate::session::http::context::{Context, Shared};
use crate::session::stream::{
    ConnectionId, Connections, ListenerId, Mark, Next, Outgoing, Security,
};
use crate::session::{Abort, Failure, Handshake, Outcome, Record, Stall, TurnContext};
use crate::settings::http::{HttpListener, HttpPolicy};
use crate::table::Table;
use crate::ticket::Ticket;
use crate::vault::request::VaultError;
use crate::vault::upload::{PartDone, PartOp};
use wire::time::Instant;

/// The response, in clear, to a phone that speaks plain HTTP to a port that speaks TLS.
const PLAIN_ANSWER: &[u8] = b"HTTP/1.1 400 Bad Request\r\n\
    Content-Type: text/plain\r\n\
    Content-Length: 70\r\n\
    Connection: close\r\n\
    \r\n\
    This port speaks HTTPS: ask again with https:// in front of the name.\n";

/// The HTTP server of one worker.
#[derive(Debug, Default)]
pub struct Engine {
    pub(super) connections: Table<Box<Connection>>,
    pub(super) shared: Shared,
}

impl Engine {
    /// Takes new settings. An address that is no longer in them keeps its old ones.
    pub fn adopt(&mut self, policy: &HttpPolicy) {
        for listener in &mut self.shared.listeners {
            if let Some(row) = policy.listeners.iter().find(|row| row.is_same(listener)) {
                *listener = row.clone();
            }
        }
        self.check(None);
    }

    /// Takes no more requests: those that have come are answered, and connections are closed.
    pub fn stop(&mut self) {
        if std::mem::replace(&mut self.shared.stopping, true) {
            return;
        }
        let ids: Vec<_> = self.connections.ids().collect();
        for id in ids {
            if let Some(connection) = self.connections.open_mut(id) {
                connection.handle_stop(id, &mut self.shared);
            }
        }
        self.check(None);
    }

    /// Returns how many connections are open.
    #[must_use]
    pub fn connections_open(&self) -> usize {
        self.connections.len()
    }

    /// Returns how many requests are being served.
    #[must_use]
    pub fn requests_open(&self) -> usize {
        self.shared.requests_open
    }

    /// Returns the bytes of bodies in memory.
    #[must_use]
    pub fn bodies_held(&self) -> u64 {
        self.shared.bodies_held
    }

    /// A thread has answered.
    pub fn handle_store_reply(&mut self, reply: StoreReply, turn: &mut TurnContext<'_>) {
        let ticket = reply.ticket();
        if let Some(record) = self.shared.left.remove(&ticket) {
            self.shared.conclude_left(record, &reply, turn);
        } else if let Some(connection) = self.connections.open_mut(ticket.row)
            && connection.awaits(ticket)
        {
            connection
                .handle_store_reply(reply, &mut Context::new(ticket.row, &mut self.shared, turn));
            self.shared.ready.push_back(ticket.row);
        } else if let StoreReply::Upload { result: Ok(PartDone::Written { spool, .. }), .. } = reply
        {
            // The request has ended meanwhile.
            self.shared.forget_spool(ticket.row, spool);
        }
        self.check(Some(ticket.row));
    }

    /// A queue is full: the client of this question gets an error and may try again.
    pub fn handle_refused(&mut self, request: StoreRequest, turn: &mut TurnContext<'_>) {
        let ticket = request.ticket();
        let reply = match request {
            StoreRequest::Open { .. } => {
                StoreReply::Opened { ticket, result: Err(OpenError::Busy) }
            }
            // A phone near the end of its transfer is not cut off for that: the question is asked
            // again.
            StoreRequest::Verify { .. } | StoreRequest::Read { .. } => {
                let again = |connection: &mut Connection, cx: &mut Context<'_>| {
                    connection.retry_read(ticket, cx);
                };
                return self.deliver(ticket.row, turn, again);
            }
            StoreRequest::Store { .. } => {
                StoreReply::Stored { ticket, result: Err(StoreError::Busy) }
            }
            StoreRequest::Delete { .. } => {
                StoreReply::Deleted { ticket, result: Err(StoreError::Busy) }
            }
            StoreRequest::Vault { .. } => {
                StoreReply::Vault { ticket, result: Err(VaultError::Busy) }
            }
            StoreRequest::Login { .. } => {
                StoreReply::Login { ticket, result: Err(VaultError::Busy) }
            }
            StoreRequest::Upload { op: PartOp::Write { spool, .. }, .. } => {
                // The received bytes are lost with it; a thread that may wait closes the file.
                if let Some(spool) = spool {
                    self.shared.forget_spool(ticket.row, spool);
                }
                StoreReply::Upload { ticket, result: Err(StoreError::Busy) }
            }
            StoreRequest::Upload { op: PartOp::Find { .. }, .. } => {
                StoreReply::Upload { ticket, result: Err(StoreError::Busy) }
            }
            StoreRequest::Upload { .. } | StoreRequest::Files { .. } => return,
        };
        self.handle_store_reply(reply, turn);
    }

    /// A request that waited has its session slot.
    pub fn handle_granted(&mut self, ticket: Ticket, turn: &mut TurnContext<'_>) {
        self.deliver(ticket.row, turn, |connection, cx| connection.handle_granted(ticket, cx));
    }

    /// A request has waited for its session slot in vain.
    pub fn handle_expired(&mut self, ticket: Ticket, turn: &mut TurnContext<'_>) {
        self.deliver(ticket.row, turn, |connection, cx| connection.handle_expired(ticket, cx));
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, turn: &mut TurnContext<'_>) {
        while let Some(id) = self.shared.timers.pop_due(turn.now) {
            if let Some(connection) = self.connections.open_mut(id)
                && connection.deadline.is_due(turn.now, id, &mut self.shared.timers)
            {
                connection.handle_timeout(&mut Context::new(id, &mut self.shared, turn));
                self.shared.ready.push_back(id);
            }
        }
        self.check(None);
    }

    /// Ends everything; the requests in progress are logged.
    pub fn abandon(&mut self, turn: &mut TurnContext<'_>) {
        let ids: Vec<_> = self.connections.ids().collect();
        for id in ids {
            self.close(id, Outcome::Failed(Failure::Stopped), turn);
        }
        self.shared.abandon_left(turn);
        self.check(None);
    }

    /// Returns the next question to a thread.
    pub fn poll_store_request(&mut self) -> Option<StoreRequest> {
        self.shared.store_requests.pop_front()
    }

    /// Returns the next record for the log.
    pub fn poll_record(&mut self) -> Option<Record> {
        self.shared.records.pop_front()
    }

    /// Passes an event to a connection, unless the connection has gone.
    fn deliver(
        &mut self,
        id: ConnectionId,
        turn: &mut TurnContext<'_>,
        event: impl FnOnce(&mut Connection, &mut Context<'_>),
    ) {
        if let Some(connection) = self.connections.open_mut(id) {
            event(connection, &mut Context::new(id, &mut self.shared, turn));
        }
        self.check(Some(id));
    }

    fn close(&mut self, id: ConnectionId, outcome: Outcome, turn: &mut TurnContext<'_>) {
        if let Some(mut connection) = self.connections.remove(id) {
            connection.handle_closed(outcome, &mut Context::new(id, &mut self.shared, turn));
        }
        self.check(None);
    }
}

impl Connections for Engine {
    const PLAIN_ANSWER: &'static [u8] = PLAIN_ANSWER;

    fn add_listener(&mut self, address: SocketAddr, protocol: Protocol) -> ListenerId {
        let id = ListenerId(u16::try_from(self.shared.listeners.len()).unwrap_or(u16::MAX));
        self.shared.listeners.push(HttpListener {
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
        turn: &mut TurnContext<'_>,
    ) -> Option<ConnectionId> {
        turn.counters.stream_connections.up();
        let protocol = self.shared.listener(listener)?.protocol;
        let stranger = match self.shared.admit(peer.ip(), protocol, self.connections.len(), turn) {
            Ok(stranger) => stranger,
            Err(refusal) => {
                turn.counters.stream_refused.up();
                let outcome = Outcome::Refused(refusal);
                self.shared.record_connection((peer, protocol), outcome, turn.now);
                self.check(None);
                return None;
            }
        };
        let connection = Connection::new(peer, (listener, protocol), stranger);
        let id = self.connections.insert(Box::new(connection));
        self.deliver(id, turn, Connection::expect_head);
        Some(id)
    }

    /// Any client may resume a session of HTTP that it has.
    fn mark(&self, _: ConnectionId) -> Option<Mark> {
        None
    }

    fn handle_secured(&mut self, id: ConnectionId, security: Security, turn: &mut TurnContext<'_>) {
        self.deliver(id, turn, |connection, cx| connection.handle_secured(security, cx));
    }

    fn handle_handshake_failed(
        &mut self,
        id: ConnectionId,
        why: Handshake,
        turn: &mut TurnContext<'_>,
    ) {
        turn.counters.tls_handshakes_failed.up();
        self.deliver(id, turn, |connection, cx| connection.handle_handshake_failed(why, cx));
    }

    fn handle_bytes(&mut self, id: ConnectionId, bytes: &[u8], turn: &mut TurnContext<'_>) {
        turn.counters.stream_received_bytes.add(bytes.len() as u64);
        self.deliver(id, turn, |connection, cx| connection.handle_bytes(bytes, cx));
    }

    fn handle_end(&mut self, id: ConnectionId, turn: &mut TurnContext<'_>) {
        self.deliver(id, turn, Connection::handle_end);
    }

    fn handle_hangup(&mut self, id: ConnectionId, turn: &mut TurnContext<'_>) {
        self.deliver(id, turn, Connection::handle_hangup);
    }

    fn handle_gone(&mut self, id: ConnectionId, turn: &mut TurnContext<'_>) {
        let outcome = Outcome::Aborted(Abort::Disconnected);
        self.deliver(id, turn, |connection, cx| connection.break_off(outcome, cx));
    }

    fn handle_given_up(&mut self, id: ConnectionId, turn: &mut TurnContext<'_>) {
        let outcome = Outcome::Stalled(Stall::GivenUp);
        self.deliver(id, turn, |connection, cx| connection.break_off(outcome, cx));
    }

    fn handle_flushing(&mut self, id: ConnectionId, until: Instant) {
        if let Some(connection) = self.connections.open_mut(id)
            && connection.deadline.at().is_none()
        {
            connection.deadline.set(Some(until), id, &mut self.shared.timers);
        }
        self.check(Some(id));
    }

    fn handle_cut(&mut self, id: ConnectionId, turn: &mut TurnContext<'_>) {
        self.deliver(id, turn, |connection, cx| connection.fail(Failure::FileChanged, cx));
    }

    fn handle_sent(&mut self, id: ConnectionId, bytes: usize, turn: &mut TurnContext<'_>) {
        turn.counters.stream_sent_bytes.add(bytes as u64);
        self.deliver(id, turn, |connection, cx| connection.handle_sent(bytes, cx));
    }

    fn handle_unacknowledged(&mut self, id: ConnectionId, bytes: u64, turn: &mut TurnContext<'_>) {
        self.deliver(id, turn, |connection, cx| connection.handle_unacknowledged(bytes, cx));
    }

    fn handle_blocked(&mut self, id: ConnectionId, turn: &mut TurnContext<'_>) {
        self.deliver(id, turn, Connection::handle_blocked);
    }

    fn handle_closed(&mut self, id: ConnectionId, turn: &mut TurnContext<'_>) {
        self.close(id, Outcome::Aborted(Abort::Disconnected), turn);
    }

    fn next(&mut self, id: ConnectionId) -> Next {
        self.connections.open_mut(id).map_or(Next::Close, |connection| connection.next())
    }

    fn outgoing(&self, id: ConnectionId) -> Outgoing<'_> {
        self.connections.open(id).map_or(Outgoing::EMPTY, |connection| connection.reply.outgoing())
    }

    fn poll_ready(&mut self) -> Option<ConnectionId> {
        self.shared.ready.pop_front()
    }

    fn has_ready(&self) -> bool {
        !self.shared.ready.is_empty()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.shared.timers.next()
    }
}
