//! How requests and connections end: the log told, the slot let go, the socket closed or kept.
//!
//! Decides nothing about requests.

use std::net::SocketAddr;

use crate::session::arrivals::{LOOKS, Patience};
use crate::session::http::connection::{State, Told};
use crate::session::http::engine::Engine;
use crate::session::stream::{ConnectionId, Connections as _, ListenerId};
use crate::session::{
    Abort, Failure, Handshake, Outcome, Protocol, Record, Stall, Subject, Turn, Verb,
};
use vendor::header_reads;
use wire::time::{Duration, Instant};

/// How long an ended connection is read on in which nothing comes.
const LINGER_SILENCE_MAX: Duration = Duration::from_secs(5);
/// Most bytes that are read on behind what is no request and has no end that could be known, so
/// that the answer arrives.
const NO_REQUEST_BYTES_MAX: u64 = 256 << 10;

impl Engine {
    /// Ends a connection in the middle of an answer: the phone sees that it has not all of it.
    pub(super) fn fail(&mut self, id: ConnectionId, failure: Failure, turn: &mut Turn<'_>) {
        self.conclude(id, Some(Outcome::Failed(failure)), turn);
        if let Some(connection) = self.connections.open_mut(id) {
            connection.state = State::Over;
            self.ready.push_back(id);
        }
    }

    /// The connection is no more: what was under way ends so.
    pub(super) fn break_off(&mut self, id: ConnectionId, outcome: Outcome, turn: &mut Turn<'_>) {
        self.conclude(id, Some(outcome), turn);
        if let Some(connection) = self.connections.open_mut(id) {
            connection.state = State::Over;
        }
    }

    /// The answer is out, or the request over: the log is told, the slot's hold begins.
    pub(super) fn conclude(
        &mut self,
        id: ConnectionId,
        outcome: Option<Outcome>,
        turn: &mut Turn<'_>,
    ) {
        self.forget_body(id);
        let Some(connection) = self.connections.open_mut(id) else { return };
        let held = std::mem::take(&mut connection.body_held);
        connection.held = None;
        self.bodies_held -= held;
        if let Some(here) = self.per_address.get_mut(&connection.peer.ip().into()) {
            here.bodies_held -= held;
        }
        let is_at_writer = connection.has_slot && connection.state.is_at_writer();
        if matches!(connection.state, State::Parked(_)) && !connection.has_slot {
            turn.admission.slots.cancel(id.into());
        }
        if std::mem::take(&mut connection.has_slot) {
            turn.admission.slots.end(connection.peer.ip(), turn.now);
        }
        let Some(told) = connection.told.take() else { return };
        self.requests_open -= 1;
        let mut outcome = outcome.unwrap_or(told.outcome);
        let mut bytes = told.bytes;
        let has_left =
            matches!(outcome, Outcome::Aborted(Abort::Disconnected) | Outcome::Stalled(_));
        if has_left && connection.reply.says_done() {
            outcome = Outcome::DoneUnacknowledged;
        }
        if told.verb == Verb::Fetch && has_left {
            bytes = bytes.saturating_sub(connection.arrivals.unacknowledged);
            if matches!(outcome, Outcome::Aborted(_)) && reads_header(&told.subject) {
                outcome = Outcome::Aborted(Abort::HeaderRead);
            }
        }
        let user_agent = connection.user_agent.clone();
        let (status, peer, at) = (connection.reply.status(), connection.peer, connection.listener);
        let secured = connection.secured;
        let about = (told.verb, told.subject);
        let record = Record {
            took: turn.now.since(told.began),
            bytes,
            of_bytes: told.of_bytes,
            status,
            secured,
            user_agent,
            user: told.user,
            ..Record::new(self.protocol(at), peer, about, told.began, outcome)
        };
        if is_at_writer && has_left {
            return self.tell_later(id.into(), record);
        }
        outcome.count(turn.counters);
        self.records.push_back(record);
    }

    /// Begins to tell the log of a request.
    pub(super) fn tell(&mut self, id: ConnectionId, subject: Subject, verb: Verb, now: Instant) {
        let Some(connection) = self.connections.open_mut(id) else { return };
        if connection.told.is_none() {
            self.requests_open += 1;
        }
        let (outcome, bytes) = (Outcome::Done, 0);
        let (began, moves_since) = (now, now);
        let (of_bytes, user) = (None, None);
        connection.told =
            Some(Told { subject, verb, began, moves_since, bytes, of_bytes, outcome, user });
    }

    pub(super) fn note_lone(
        &mut self,
        peer: SocketAddr,
        at: ListenerId,
        outcome: Outcome,
        now: Instant,
    ) {
        let told = (Verb::Connect, Subject::Unreadable);
        self.records.push_back(Record::new(self.protocol(at), peer, told, now, outcome));
    }

    /// The answer is out: the next request may come, or the connection is over.
    pub(super) fn reply_sent(&mut self, id: ConnectionId, turn: &mut Turn<'_>) {
        self.conclude(id, None, turn);
        let limits = &turn.snapshot.policy.http.limits;
        let stopping = self.stopping;
        let Some(connection) = self.connections.open_mut(id) else { return };
        if connection.reply.lingers() {
            // Only a body is worth reading to its end: what is no request may have none.
            let has_body = connection.reply.body_unread;
            let room = if has_body { limits.discard_bytes_max } else { NO_REQUEST_BYTES_MAX };
            connection.discarded = limits.discard_bytes_max.saturating_sub(room);
            let until = turn.now + limits.discard_timeout;
            connection.state = State::Lingering { shut: false, until };
            self.set_deadline(id, Some(until.min(turn.now + LINGER_SILENCE_MAX)));
            self.resume(id, turn);
        } else if !connection.reply.keeps() || (stopping && connection.unread.is_empty()) {
            connection.state = State::Over;
        } else {
            connection.state = State::Head;
            let has_more = !connection.unread.is_empty();
            self.set_deadline(id, Some(turn.now + limits.idle_timeout));
            if has_more {
                self.resume(id, turn);
            } else if self.connections.open(id).is_some_and(|connection| connection.ended) {
                self.handle_end(id, turn);
            }
        }
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, turn: &mut Turn<'_>) {
        while let Some(id) = self.timers.pop_due(turn.now) {
            let is_handshaking = self.is_handshaking(id);
            let Some(connection) = self.connections.open_mut(id) else { continue };
            if !connection.deadline.is_due(turn.now, id, &mut self.timers) {
                continue;
            }
            match connection.state {
                State::Head if is_handshaking => {
                    turn.counters.stream_too_slow.up();
                    self.handle_handshake_failed(id, Handshake::TooSlow, turn);
                }
                State::Head if connection.unread.is_empty() => {
                    turn.counters.stream_idle_closed.up();
                    connection.state = State::Over;
                }
                State::Head | State::Receiving(_) => {
                    turn.counters.stream_too_slow.up();
                    self.refuse_slow(id, turn);
                }
                State::Replying => self.stalled(id),
                State::Lingering { until, .. } => {
                    connection.state = State::Over;
                    if until <= turn.now {
                        turn.counters.http_discards_cut.up();
                    }
                }
                State::Parked(_) => {
                    if let Some(no) = connection.held.take() {
                        self.refuse(id, no, turn);
                        self.resume(id, turn);
                    }
                }
                State::Over | State::Stuck => {}
            }
            self.ready.push_back(id);
        }
    }

    /// Whether nothing has come yet of what a connection is to be secured with, or not all of it.
    fn is_handshaking(&self, id: ConnectionId) -> bool {
        self.connections.open(id).is_some_and(|connection| {
            let is_fresh = connection.requests == 0 && connection.unread.is_empty();
            let is_plain = self.protocol(connection.listener) != Protocol::Https;
            is_fresh && !is_plain && connection.secured.is_none()
        })
    }

    /// An answer has stood still: for want of an answer to a question, or of a phone that reads.
    fn stalled(&mut self, id: ConnectionId) {
        self.prompt(id);
        let Some(connection) = self.connections.open(id) else { return };
        // Where there is nothing to send the loader is waited for, which always answers.
        if !connection.reply.can_send() {
            return;
        }
        if let Some(connection) = self.connections.open_mut(id) {
            connection.arrivals.is_doubted = true;
        }
    }

    /// When a phone that reads must have acknowledged more.
    pub(super) fn reading_due(
        &self,
        id: ConnectionId,
        turn: &Turn<'_>,
    ) -> Option<(Instant, Stall)> {
        let connection = self.connections.open(id)?;
        let told = connection.told.as_ref()?;
        let limits = &turn.snapshot.policy.http.limits;
        let patience = Patience { stall_timeout: limits.stall_timeout, rate_min: limits.rate_min };
        Some(connection.arrivals.due(told.moves_since, told.bytes, patience))
    }

    /// Waits for a phone that reads, and looks now and then whether anything has arrived: the
    /// kernel tells of room alone.
    pub(super) fn wait_for_reader(
        &mut self,
        id: ConnectionId,
        due: Option<Instant>,
        turn: &Turn<'_>,
    ) {
        let look = turn.now + turn.snapshot.policy.http.limits.stall_timeout / LOOKS;
        self.set_deadline(id, due.map(|due| due.min(look)));
    }

    /// It is known what has arrived: the phone has more time, or has had it.
    pub(super) fn go_on_or_give_up(&mut self, id: ConnectionId, turn: &mut Turn<'_>) {
        let due = self.reading_due(id, turn);
        if let Some((at, _)) = due.filter(|(at, _)| *at > turn.now) {
            return self.wait_for_reader(id, Some(at), turn);
        }
        turn.counters.stream_too_slow.up();
        let stall = due.map_or(Stall::Unread, |(_, stall)| stall);
        self.conclude(id, Some(Outcome::Stalled(stall)), turn);
        if let Some(connection) = self.connections.open_mut(id) {
            connection.state = State::Stuck;
        }
    }

    /// Throws away what a phone sends that has its answer already.
    pub(super) fn discard(&mut self, id: ConnectionId, bytes: usize, turn: &Turn<'_>) {
        let limits = &turn.snapshot.policy.http.limits;
        let Some(connection) = self.connections.open_mut(id) else { return };
        let State::Lingering { until, .. } = connection.state else { return };
        connection.discarded += bytes as u64;
        if connection.discarded > limits.discard_bytes_max {
            turn.counters.http_discards_cut.up();
            connection.state = State::Over;
        } else {
            self.set_deadline(id, Some(until.min(turn.now + LINGER_SILENCE_MAX)));
        }
    }

    /// Ends everything: the log is told of what was under way.
    pub fn abandon(&mut self, turn: &mut Turn<'_>) {
        let ids: Vec<_> = self.connections.ids().collect();
        for id in ids {
            self.conclude(id, Some(Outcome::Failed(Failure::Stopped)), turn);
            self.handle_closed(id, turn);
        }
        self.abandon_left(turn);
    }
}

/// Whether the file is one of which phones of some make read only the beginning.
fn reads_header(subject: &Subject) -> bool {
    match subject {
        Subject::File(entry) => header_reads::header_read(entry.path.as_bytes()).is_some(),
        Subject::Said(_) | Subject::Unreadable => false,
    }
}
