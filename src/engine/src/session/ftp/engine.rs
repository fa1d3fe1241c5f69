//! All sessions of a worker: the table that they are in, and the way of each event to its session.
//!
//! # What the engine is told
//!
//! - What sockets see, through [`Connections`](crate::session::stream::Connections): connected,
//!   secured, bytes, an end, sent, closed.
//! - What came of a [`DataCommand`]: [`Engine::handle_awaited`], [`Engine::handle_data_connected`],
//!   `handle_dialed`.
//! - The answer to each question that [`Engine::poll_ask`] gave out, once, in any order and however
//!   late: [`Engine::handle_answer`]; or [`Engine::handle_refused`] if the queue was full.
//! - What became of those who wait for a session slot: [`Engine::handle_granted`],
//!   [`Engine::handle_expired`].
//! - That time has passed: [`Engine::handle_timeout`], at the latest at `poll_timeout`.
//! - What a phone has said of itself, or that it says nothing: [`Engine::handle_identity`].
//!
//! # What it asks for
//!
//! After any of these, in this order, until `has_ready` says no: [`Engine::resume`],
//! [`Engine::poll_data_command`], `poll_ready` (drive that socket by `next`). Then
//! [`Engine::poll_ask`] and [`Engine::poll_record`] until they have nothing.
//!
//! # What it promises
//!
//! - A session and its data connection are two rows. The session owns the state of both. The row of
//!   a data connection names its session or, once that has let it go, how its socket is closed.
//! - A session has at most one command in hand, and waits for the answer to at most one question.
//!   The answer to any other changes nothing; an upload that it brings is forgotten.
//! - A session never touches another one: a method has one session, and in its [`Context`] what all
//!   share.
//! - Counters (sessions, strangers, transfers, bytes held, ports) equal what is in the table. Debug
//!   builds check that after every event, in `check.rs`.
//! - It sends nothing, opens nothing, waits for nothing, and reads no clock.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use crate::files;
use crate::protocol::Protocol;
use crate::requests::Answer;
use crate::requests::Ask;
use crate::session::ftp::context::{Context, RowChange, Shared};
use crate::session::ftp::data::DataCommand;
use crate::session::ftp::session::{Closing, Session, State};
use crate::session::snmp::{IdentityError, PhoneIdentity};
use crate::session::stream::{ConnectionId, Connections as _, ListenerId};
use crate::session::timer::Deadline;
use crate::session::{DataFault, Failure, Outcome, Record, Refusal, TurnContext};
use crate::settings::ftp::FtpListener;
use crate::settings::ftp::FtpPolicy;
use crate::table::Table;
use crate::ticket::Ticket;
use wire::ftp::reply::Code;

/// The FTP server of one worker.
#[derive(Debug, Default)]
pub struct Engine {
    pub(super) rows: Table<Row>,
    pub(super) shared: Shared,
}

/// One connection: a session's, or one for its data.
#[derive(Debug)]
pub(super) enum Row {
    Session(Box<Session>),
    Data(DataRow),
}

/// A data connection, as far as its session does not know it.
#[derive(Debug)]
pub(super) struct DataRow {
    /// The session that has it, or had it.
    pub(super) control: ConnectionId,
    pub(super) listener: ListenerId,
    /// Once its session has let it go: how its socket is to be closed.
    pub(super) closing: Option<Closing>,
    /// When a closing socket is looked at again.
    pub(super) deadline: Deadline,
}

impl Engine {
    /// Counts a new session; says why there is no room for it, and whether it takes one of the
    /// places of clients outside the access list.
    pub(super) fn admit_session(
        &mut self,
        peer: SocketAddr,
        turn: &TurnContext<'_>,
    ) -> (Option<(Refusal, &'static str)>, bool) {
        let limits = turn.snapshot.policy.ftp.limits;
        let here = self.shared.per_address.entry(peer.ip().into()).or_default();
        *here += 1;
        let crowded = limits.per_address_max > 0 && *here as usize > limits.per_address_max;
        let full = self.shared.sessions >= limits.sessions_max;
        let client = peer.ip().to_canonical();
        let stranger = !turn.snapshot.policy.access.permits(Protocol::Ftp, client);
        let has_place = !stranger || self.shared.strangers.take(limits.sessions_max);
        self.shared.sessions += 1;
        let refusal = if self.shared.stopping {
            Some((Refusal::Stopping, STOPS))
        } else if crowded || full {
            let text = "Too many sessions are open; come back in a moment.";
            Some((Refusal::TooManyConnections, text))
        } else if !has_place {
            let text = "Too many clients outside the access list are here.";
            Some((Refusal::TooManyStrangers, text))
        } else {
            None
        };
        (refusal, stranger && has_place)
    }

    /// Takes new settings. An address that they do not have any more keeps what it had.
    pub fn adopt(&mut self, policy: &FtpPolicy) {
        self.shared.tree = Arc::clone(&policy.tree);
        for listener in &mut self.shared.listeners {
            let same = |row: &&FtpListener| row.address == listener.address;
            if let Some(row) = policy.listeners.iter().find(same) {
                *listener = *row;
            }
        }
    }

    /// Takes no new transfers from now on: sessions that have none are closed, others when theirs
    /// is through.
    pub fn stop(&mut self, turn: &mut TurnContext<'_>) {
        if self.shared.stopping {
            return;
        }
        self.shared.stopping = true;
        let ids: Vec<_> = self.rows.ids().collect();
        for id in ids {
            self.with_session(id, turn, |session, cx| {
                if matches!(session.state, State::Idle) {
                    session.close_with_reply(Code::CLOSING, STOPS, cx);
                    cx.note_ready();
                }
            });
        }
        self.check();
    }

    /// Open sessions.
    #[must_use]
    pub fn sessions_open(&self) -> usize {
        self.shared.sessions
    }

    /// Transfers that are being served.
    #[must_use]
    pub fn transfers_open(&self) -> usize {
        self.shared.transfers_open
    }

    /// Bytes of phones' uploads in memory.
    #[must_use]
    pub fn uploads_held(&self) -> u64 {
        self.shared.uploads_held
    }

    /// Something to ask the loader, the vault or whoever manages files.
    pub fn poll_ask(&mut self) -> Option<Ask> {
        self.shared.asks.pop_front()
    }

    /// Something to tell the log.
    pub fn poll_record(&mut self) -> Option<Record> {
        self.shared.records.pop_front()
    }

    /// What is to be done for data connections that are not there yet.
    pub fn poll_data_command(&mut self) -> Option<DataCommand> {
        self.shared.data_commands.pop_front()
    }

    /// Goes on with commands that waited for the one before them. Meant for the end of each turn,
    /// and not for within a command: however many have come, none is read inside another.
    pub fn resume(&mut self, turn: &mut TurnContext<'_>) {
        while let Some(id) = self.shared.resumed.pop_front() {
            self.with_session(id, turn, |session, cx| {
                if cx.shared.stopping && matches!(session.state, State::Idle) {
                    session.close_with_reply(Code::CLOSING, STOPS, cx);
                }
                session.read_on(cx);
                session.rearm(cx);
                cx.note_ready();
            });
        }
        self.check();
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, turn: &mut TurnContext<'_>) {
        while let Some(id) = self.shared.timers.pop_due(turn.now) {
            match self.rows.open_mut(id) {
                Some(Row::Session(_)) => {
                    self.with_session(id, turn, |session, cx| {
                        if session.deadline.is_due(cx.now, id, &mut cx.shared.timers) {
                            session.handle_timeout(cx);
                            session.wake(cx);
                        }
                    });
                }
                Some(Row::Data(DataRow { closing: None, control, .. })) => {
                    let control = *control;
                    self.with_session(control, turn, |session, cx| session.data_due(id, cx));
                }
                Some(Row::Data(row)) => {
                    let is_due = row.deadline.is_due(turn.now, id, &mut self.shared.timers);
                    if is_due {
                        self.shared.ready.push_back(id);
                    }
                }
                None => {}
            }
        }
        self.check();
    }

    /// The loader, the vault or whoever manages files has answered.
    pub fn handle_answer(&mut self, answer: Answer, turn: &mut TurnContext<'_>) {
        let ticket = answer.ticket();
        let mut answer = Some(answer);
        self.with_session(ticket.row, turn, |session, cx| {
            if session.take_question(ticket)
                && let Some(answer) = answer.take()
            {
                session.handle_answer(answer, cx);
            }
        });
        // Nobody waits for it any more: what it brings of an upload is forgotten.
        if let Some(Answer::Files {
            result: Ok(files::Done::Begun { part, .. } | files::Done::Written { part, .. }),
            ..
        }) = answer
        {
            self.shared.discard(ticket.row, part);
        }
        self.check();
    }

    /// A queue is full: whoever waits is told to come again, and what is under way asks again.
    pub fn handle_refused(&mut self, ask: Ask, turn: &mut TurnContext<'_>) {
        let ticket = ask.ticket();
        let mut ask = Some(ask);
        self.with_session(ticket.row, turn, |session, cx| {
            if session.take_question(ticket)
                && let Some(ask) = ask.take()
            {
                session.handle_refused(ask, cx);
            }
        });
        if let Some(Ask::Files { act, .. }) = ask
            && let files::Act::Write { part, .. } | files::Act::Finish { part, .. } = *act
        {
            self.shared.discard(ticket.row, part);
        }
        self.check();
    }

    /// A transfer that waited has its session slot.
    pub fn handle_granted(&mut self, ticket: Ticket, turn: &mut TurnContext<'_>) {
        self.with_session(ticket.row, turn, |session, cx| {
            if session.take_question(ticket) {
                session.open(cx);
                session.rearm(cx);
                session.wake(cx);
            }
        });
        self.check();
    }

    /// A transfer has waited for its session slot in vain.
    pub fn handle_expired(&mut self, ticket: Ticket, turn: &mut TurnContext<'_>) {
        self.with_session(ticket.row, turn, |session, cx| {
            if session.take_question(ticket) {
                cx.counters.queue_expired.up();
                session.refuse_slot(cx);
            }
        });
        self.check();
    }

    /// A phone has said who uses it, or says nothing.
    pub fn handle_identity(
        &mut self,
        phone: IpAddr,
        identity: &Result<PhoneIdentity, IdentityError>,
        turn: &mut TurnContext<'_>,
    ) {
        let asking = self.shared.asking.remove(&phone.to_canonical()).unwrap_or_default();
        for id in asking {
            self.with_session(id, turn, |session, cx| session.handle_identity(identity, cx));
        }
        self.check();
    }

    /// A port is open for a data connection, or none could be had.
    pub fn handle_awaited(
        &mut self,
        id: ConnectionId,
        result: Result<SocketAddr, DataFault>,
        turn: &mut TurnContext<'_>,
    ) {
        self.with_data(id, turn, |session, cx| session.handle_awaited(result, cx));
        self.check();
    }

    /// Whether a data connection from there is the one that is awaited; if so, it is there now.
    pub fn handle_data_connected(
        &mut self,
        id: ConnectionId,
        from: SocketAddr,
        turn: &mut TurnContext<'_>,
    ) -> bool {
        let is_awaited =
            self.with_data(id, turn, |session, cx| session.handle_data_connected(from, cx));
        self.check();
        is_awaited.unwrap_or(false)
    }

    /// Returns the listener that a data connection belongs to, or `None` if it has gone.
    #[must_use]
    pub fn listener_of(&self, id: ConnectionId) -> Option<ListenerId> {
        match self.rows.open(id)? {
            Row::Session(_) => None,
            Row::Data(row) => Some(row.listener),
        }
    }

    /// Ends everything: the log is told of what was under way.
    pub fn abandon(&mut self, turn: &mut TurnContext<'_>) {
        let ids: Vec<_> = self.rows.ids().collect();
        // What a session had goes with it.
        let (sessions, rest): (Vec<_>, Vec<_>) =
            ids.into_iter().partition(|id| matches!(self.rows.open(*id), Some(Row::Session(_))));
        for id in sessions.into_iter().chain(rest) {
            self.with_session(id, turn, |session, cx| {
                session.conclude(Outcome::Failed(Failure::Stopped), cx);
            });
            self.handle_closed(id, turn);
        }
        self.check();
    }

    /// Hands an event to a session, and does what it has left to be done.
    pub(super) fn with_session<R>(
        &mut self,
        id: ConnectionId,
        turn: &mut TurnContext<'_>,
        handle: impl FnOnce(&mut Session, &mut Context<'_>) -> R,
    ) -> Option<R> {
        let (row, ids) = self.rows.lend(id)?;
        let Row::Session(session) = row else { return None };
        let mut cx = Context {
            id,
            snapshot: turn.snapshot,
            admission: turn.admission,
            counters: turn.counters,
            now: turn.now,
            unix_s: turn.unix_s,
            shared: &mut self.shared,
            snmp: turn.snmp,
            ids,
        };
        let result = handle(session, &mut cx);
        self.change_rows(id);
        Some(result)
    }

    /// Hands an event of a data connection to the session that has it.
    pub(super) fn with_data<R>(
        &mut self,
        id: ConnectionId,
        turn: &mut TurnContext<'_>,
        handle: impl FnOnce(&mut Session, &mut Context<'_>) -> R,
    ) -> Option<R> {
        match self.rows.open(id)? {
            Row::Data(DataRow { control, closing: None, .. }) => {
                let control = *control;
                self.with_session(control, turn, handle)
            }
            Row::Session(_) | Row::Data(_) => None,
        }
    }

    fn change_rows(&mut self, control: ConnectionId) {
        while let Some(change) = self.shared.changes.pop_front() {
            match change {
                RowChange::Insert(id, listener) => {
                    let (closing, deadline) = (None, Deadline::default());
                    let row = DataRow { control, listener, closing, deadline };
                    self.rows.fill(id, Row::Data(row));
                }
                RowChange::Close(id, how, deadline) => {
                    if let Some(Row::Data(row)) = self.rows.open_mut(id) {
                        (row.closing, row.deadline) = (Some(how), deadline);
                    }
                }
                RowChange::Remove(id) => drop(self.rows.remove(id)),
            }
        }
    }

    /// Returns the session that a row is of, or `None` if it has gone.
    pub(super) fn session_of(&self, id: ConnectionId) -> Option<&Session> {
        let control = match self.rows.open(id)? {
            Row::Session(session) => return Some(session),
            Row::Data(row) => row.control,
        };
        match self.rows.open(control)? {
            Row::Session(session) => Some(session),
            Row::Data(_) => None,
        }
    }
}

/// What a client is told while the server is about to stop.
const STOPS: &str = "The server is about to stop.";
