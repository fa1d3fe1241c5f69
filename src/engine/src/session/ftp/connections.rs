//! The interface between FTP's sockets and the engine.
//!
//! Finds the session of each event and nothing else: the session does the rest.

use std::net::SocketAddr;

use crate::protocol::Protocol;
use crate::session::ftp::engine::{ConnectionRow, Engine};
use crate::session::ftp::session::{Closing, Session};
use crate::session::stream::{
    ConnectionId, Connections, DialFault, ListenerId, Mark, Next, Outgoing, Security,
};
use crate::session::{Abort, DataFault, Failure, Handshake, Outcome, Stall, TurnContext};
use crate::settings::ftp::FtpListener;
use wire::ftp::reply::Code;
use wire::time::Instant;

impl Connections for Engine {
    const PLAIN_ANSWER: &'static [u8] = b"421 This port speaks FTP over TLS.\r\n";

    fn add_listener(&mut self, address: SocketAddr, _: Protocol) -> ListenerId {
        let listeners = &mut self.shared.listeners;
        let id = ListenerId(u16::try_from(listeners.len()).unwrap_or(u16::MAX));
        listeners.push(FtpListener { address, implicit: false, tls: false });
        id
    }

    fn handle_connected(
        &mut self,
        peer: SocketAddr,
        listener: ListenerId,
        turn: &mut TurnContext<'_>,
    ) -> Option<ConnectionId> {
        turn.counters.stream_connections.up();
        let limits = turn.snapshot.policy.ftp.limits;
        let implicit = self.shared.is_implicit(listener);
        let (refusal, is_stranger) = self.admit_session(peer, turn);
        let mut session = Session::new(peer, listener, implicit, &limits, turn.now);
        session.is_stranger = is_stranger;
        let id = self.rows.insert(ConnectionRow::Session(Box::new(session)));
        self.with_session(id, turn, |session, cx| match refusal {
            None => {
                session.reply(Code::READY, "Ringpost serves phones.");
                session.rearm(cx);
            }
            Some((no, text)) => {
                cx.counters.stream_refused.up();
                cx.note_lone(peer, no);
                session.close_with_reply(Code::CLOSING, text, cx);
            }
        });
        self.check();
        Some(id)
    }

    fn handle_dialed(
        &mut self,
        id: ConnectionId,
        result: Result<(), DialFault>,
        turn: &mut TurnContext<'_>,
    ) {
        self.with_data(id, turn, |session, cx| session.handle_dialed(result, cx));
        self.check();
    }

    fn mark(&self, id: ConnectionId) -> Option<Mark> {
        self.session_of(id).map(Session::mark)
    }

    fn expects_more(&self, id: ConnectionId, came: &[u8]) -> bool {
        matches!(self.rows.open(id), Some(ConnectionRow::Session(_))) && !came.ends_with(b"\n")
    }

    fn is_one_way(&self, id: ConnectionId) -> bool {
        let is_data = matches!(self.rows.open(id), Some(ConnectionRow::Data(_)));
        is_data && self.session_of(id).is_some_and(Session::is_receiving)
    }

    fn handle_secured(&mut self, id: ConnectionId, security: Security, turn: &mut TurnContext<'_>) {
        self.with_session(id, turn, |session, cx| session.handle_secured(security.secured, cx));
        self.with_data(id, turn, |session, cx| session.handle_data_secured(security.resumes, cx));
        self.check();
    }

    fn handle_handshake_failed(
        &mut self,
        id: ConnectionId,
        why: Handshake,
        turn: &mut TurnContext<'_>,
    ) {
        turn.counters.tls_handshakes_failed.up();
        self.with_session(id, turn, |session, cx| session.handle_handshake_failed(why, cx));
        let fault = DataFault::Handshake(why);
        let was_used = self.with_data(id, turn, |session, cx| session.refuse_data(fault, cx));
        if was_used.is_none() {
            self.reset_unused(id);
        }
        self.check();
    }

    fn handle_bytes(&mut self, id: ConnectionId, bytes: &[u8], turn: &mut TurnContext<'_>) {
        turn.counters.stream_received_bytes.add(bytes.len() as u64);
        self.with_session(id, turn, |session, cx| session.handle_bytes(bytes, cx));
        self.with_data(id, turn, |session, cx| session.take(bytes, cx));
        self.check();
    }

    fn handle_end(&mut self, id: ConnectionId, turn: &mut TurnContext<'_>) {
        self.with_session(id, turn, |session, cx| session.handle_end(cx));
        let was_taken = self.with_data(id, turn, |session, cx| session.handle_data_end(cx));
        if was_taken.is_none() {
            self.reset_unused(id);
        }
        self.check();
    }

    fn handle_truncated(&mut self, id: ConnectionId, turn: &mut TurnContext<'_>) {
        match self.rows.open(id) {
            // Many clients leave without QUIT.
            Some(ConnectionRow::Session(_)) => self.handle_end(id, turn),
            Some(ConnectionRow::Data(_)) => self.handle_gone(id, turn),
            None => {}
        }
    }

    fn handle_hangup(&mut self, id: ConnectionId, turn: &mut TurnContext<'_>) {
        self.with_session(id, turn, Session::handle_hangup);
        self.check();
    }

    fn handle_gone(&mut self, id: ConnectionId, turn: &mut TurnContext<'_>) {
        self.handle_broken(id, Outcome::Aborted(Abort::Disconnected), turn);
    }

    fn handle_given_up(&mut self, id: ConnectionId, turn: &mut TurnContext<'_>) {
        self.handle_broken(id, Outcome::Stalled(Stall::GivenUp), turn);
    }

    fn handle_flushing(&mut self, id: ConnectionId, until: Instant) {
        let timers = &mut self.shared.timers;
        let control = match self.rows.open_mut(id) {
            Some(ConnectionRow::Session(session)) => {
                return session.deadline.set(Some(until), id, timers);
            }
            Some(ConnectionRow::Data(row)) if row.closing.is_some() => {
                return row.deadline.set(Some(until), id, timers);
            }
            Some(ConnectionRow::Data(row)) => row.control,
            None => return,
        };
        if let Some(ConnectionRow::Session(session)) = self.rows.open_mut(control)
            && let Some(data) = &mut session.data
        {
            data.deadline.set(Some(until), id, timers);
        }
    }

    fn handle_cut(&mut self, id: ConnectionId, turn: &mut TurnContext<'_>) {
        self.with_data(id, turn, |session, cx| {
            session.fail_reading(Failure::FileChanged, cx);
        });
        self.check();
    }

    fn handle_sent(&mut self, id: ConnectionId, bytes: usize, turn: &mut TurnContext<'_>) {
        turn.counters.stream_sent_bytes.add(bytes as u64);
        self.with_session(id, turn, |session, cx| session.handle_replies_sent(bytes, cx));
        self.with_data(id, turn, |session, cx| session.sent(bytes, cx));
        self.check();
    }

    fn handle_unacknowledged(&mut self, id: ConnectionId, bytes: u64, turn: &mut TurnContext<'_>) {
        self.with_data(id, turn, |session, cx| session.handle_unacknowledged(bytes, cx));
        self.check();
    }

    fn handle_blocked(&mut self, id: ConnectionId, turn: &mut TurnContext<'_>) {
        self.with_session(id, turn, |session, cx| {
            session.replies.stuck_since.get_or_insert(cx.now);
            session.rearm(cx);
        });
        self.check();
    }

    fn handle_closed(&mut self, id: ConnectionId, turn: &mut TurnContext<'_>) {
        let places = self.with_session(id, turn, |session, cx| {
            session.conclude(Outcome::Aborted(Abort::Disconnected), cx);
            session.drop_data(Closing::Reset, cx);
            (session.peer, session.is_stranger)
        });
        if let Some((peer, is_stranger)) = places {
            self.shared.release_session(peer, is_stranger);
        }
        self.with_data(id, turn, Session::handle_data_closed);
        self.rows.remove(id);
        self.check();
    }

    fn next(&mut self, id: ConnectionId) -> Next {
        let control = match self.rows.open_mut(id) {
            Some(ConnectionRow::Session(session)) => return session.next(),
            Some(ConnectionRow::Data(row)) => match row.closing {
                Some(how) => return how.next(),
                None => row.control,
            },
            None => return Next::Close,
        };
        match self.rows.open_mut(control) {
            Some(ConnectionRow::Session(session)) => session.next_of_data(),
            Some(ConnectionRow::Data(_)) | None => Next::Close,
        }
    }

    fn outgoing(&self, id: ConnectionId) -> Outgoing<'_> {
        match (self.rows.open(id), self.session_of(id)) {
            (Some(ConnectionRow::Session(_)), Some(session)) => session.outgoing_replies(),
            (Some(ConnectionRow::Data(row)), Some(session)) if row.closing.is_none() => {
                session.outgoing_data()
            }
            (_, _) => Outgoing::EMPTY,
        }
    }

    fn poll_ready(&mut self) -> Option<ConnectionId> {
        self.shared.ready.pop_front()
    }

    fn has_ready(&self) -> bool {
        let shared = &self.shared;
        !shared.ready.is_empty() || !shared.data_commands.is_empty() || !shared.resumed.is_empty()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.shared.timers.next()
    }
}

impl Engine {
    /// A connection is gone, and with it what ran on it.
    fn handle_broken(&mut self, id: ConnectionId, outcome: Outcome, turn: &mut TurnContext<'_>) {
        self.with_session(id, turn, |session, cx| session.handle_broken(outcome, cx));
        let was_used = self.with_data(id, turn, |session, cx| {
            session.handle_data_broken(outcome, cx);
        });
        if was_used.is_none() {
            self.reset_unused(id);
        }
        self.check();
    }

    /// Nothing more can leave on a data connection without a session.
    fn reset_unused(&mut self, id: ConnectionId) {
        if let Some(ConnectionRow::Data(row)) = self.rows.open_mut(id)
            && row.closing.is_some()
        {
            row.closing = Some(Closing::Reset);
        }
    }
}
