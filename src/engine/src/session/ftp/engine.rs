//! All FTP sessions of a worker: their table, and the routing of each event to its session.
//!
//! # What the engine takes
//!
//! - The sockets' events, through [`Connections`](crate::session::stream::Connections): connected,
//!   secured, bytes, an end, sent, closed.
//! - The result of a [`DataCommand`]: [`Engine::handle_awaited`],
//!   [`Engine::handle_data_connected`], `handle_dialed`.
//! - The answer to each question of [`Engine::poll_store_request`], once, in any order and at any
//!   time: [`Engine::handle_store_reply`]; or [`Engine::handle_refused`] if the queue was full.
//! - The result of waiting for a session slot: [`Engine::handle_granted`],
//!   [`Engine::handle_expired`].
//! - The passing of time: [`Engine::handle_timeout`], at the latest at `poll_timeout`.
//! - A phone's answer about itself, or its silence: [`Engine::handle_identity`].
//!
//! # What it returns
//!
//! After any of these, in this order, until `has_ready` says no: [`Engine::resume`],
//! [`Engine::poll_data_command`], `poll_ready` (drive that socket by `next`). Then
//! [`Engine::poll_store_request`] and [`Engine::poll_record`] until they have nothing.
//!
//! # What it promises
//!
//! - A session and its data connection are two rows. The session owns the state of both. The row of
//!   a data connection names its session or, once that has let it go, how its socket is closed.
//! - A session has at most one current command, and waits for the answer to at most one question.
//!   Any other answer changes nothing; an upload in it is discarded.
//! - A session never affects another one: a method has one session, and a [`Context`] with the
//!   shared state.
//! - Counters (sessions, strangers, transfers, bytes held, ports) equal what is in the table. Debug
//!   builds check that after every event, in `check.rs`.
//! - It sends nothing, opens nothing, waits for nothing, and reads no clock.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use crate::files;
use crate::protocol::Protocol;
use crate::requests::{StoreReply, StoreRequest};
use crate::session::ftp::context::{Context, RowChange, Shared};
use crate::session::ftp::data::DataCommand;
use crate::session::ftp::session::{Closing, Session, SessionState};
use crate::session::snmp::{IdentityError, PhoneIdentity};
use crate::session::stream::{ConnectionId, Connections as _, ListenerId};
use crate::session::timer::Deadline;
use crate::session::{DataFault, Failure, Outcome, Record, Refusal, TurnContext};
use crate::settings::ftp::{FtpListener, FtpPolicy};
use crate::table::Table;
use crate::ticket::Ticket;
use wire::ftp::reply::Code;

/// The FTP server of one worker.
#[derive(Debug, Default)]
pub struct Engine {
    pub(super) rows: Table<ConnectionRow>,
    pub(super) shared: Shared,
}

/// One connection: that of a session, or one for its data.
#[derive(Debug)]
pub(super) enum ConnectionRow {
    Session(Box<Session>),
    Data(DataRow),
}

/// The part of a data connection that its session does not keep.
#[derive(Debug)]
pub(super) struct DataRow {
    /// The session that has it, or had it.
    pub(super) control: ConnectionId,
    pub(super) listener: ListenerId,
    /// How its socket is to be closed, once its session has released it.
    pub(super) closing: Option<Closing>,
    /// When a closing socket is checked again.
    pub(super) deadline: Deadline,
}

impl Engine {
    /// Counts a new session, or returns why there is no room for it. Returns whether it counts as
    /// one of a client outside the access list.
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

    /// Takes new settings. An address that is no longer in them keeps its old ones.
    pub fn adopt(&mut self, policy: &FtpPolicy) {
        self.shared.tree = Arc::clone(&policy.tree);
        for listener in &mut self.shared.listeners {
            let same = |row: &&FtpListener| row.address == listener.address;
            if let Some(row) = policy.listeners.iter().find(same) {
                *listener = *row;
            }
        }
    }

    /// Takes no more transfers: sessions without one are closed, and others after theirs.
    pub fn stop(&mut self, turn: &mut TurnContext<'_>) {
        if self.shared.stopping {
            return;
        }
        self.shared.stopping = true;
        let ids: Vec<_> = self.rows.ids().collect();
        for id in ids {
            self.with_session(id, turn, |session, cx| {
                if matches!(session.state, SessionState::Idle) {
                    session.close_with_reply(Code::CLOSING, STOPS, cx);
                    cx.note_ready();
                }
            });
        }
        self.check();
    }

    /// Returns how many sessions are open.
    #[must_use]
    pub fn sessions_open(&self) -> usize {
        self.shared.sessions
    }

    /// Returns how many transfers are being served.
    #[must_use]
    pub fn transfers_open(&self) -> usize {
        self.shared.transfers_open
    }

    /// Returns the bytes of phones' uploads in memory.
    #[must_use]
    pub fn uploads_held(&self) -> u64 {
        self.shared.uploads_held
    }

    /// Returns the next question to the loader, the vault or the file manager.
    pub fn poll_store_request(&mut self) -> Option<StoreRequest> {
        self.shared.store_requests.pop_front()
    }

    /// Returns the next record for the log.
    pub fn poll_record(&mut self) -> Option<Record> {
        self.shared.records.pop_front()
    }

    /// Returns the next command about a data connection that is not open yet.
    pub fn poll_data_command(&mut self) -> Option<DataCommand> {
        self.shared.data_commands.pop_front()
    }

    /// Continues with commands that waited for the one before them. Meant for the end of each turn,
    /// never within a command, so that commands do not nest.
    pub fn resume(&mut self, turn: &mut TurnContext<'_>) {
        while let Some(id) = self.shared.resumed.pop_front() {
            self.with_session(id, turn, |session, cx| {
                if cx.shared.stopping && matches!(session.state, SessionState::Idle) {
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
                Some(ConnectionRow::Session(_)) => {
                    self.with_session(id, turn, |session, cx| {
                        if session.deadline.is_due(cx.now, id, &mut cx.shared.timers) {
                            session.handle_timeout(cx);
                            session.wake(cx);
                        }
                    });
                }
                Some(ConnectionRow::Data(DataRow { closing: None, control, .. })) => {
                    let control = *control;
                    self.with_session(control, turn, |session, cx| session.data_due(id, cx));
                }
                Some(ConnectionRow::Data(row)) => {
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

    /// The loader, the vault or the file manager has answered.
    pub fn handle_store_reply(&mut self, reply: StoreReply, turn: &mut TurnContext<'_>) {
        let ticket = reply.ticket();
        let mut reply = Some(reply);
        self.with_session(ticket.row, turn, |session, cx| {
            if session.take_question(ticket)
                && let Some(reply) = reply.take()
            {
                session.handle_store_reply(reply, cx);
            }
        });
        // The answer is no longer awaited: an upload in it is discarded.
        if let Some(StoreReply::Files {
            result:
                Ok(files::FilesReply::Begun { part, .. } | files::FilesReply::Written { part, .. }),
            ..
        }) = reply
        {
            self.shared.discard(ticket.row, part);
        }
        self.check();
    }

    /// A queue is full: a waiting client gets an error, and a running transfer asks again.
    pub fn handle_refused(&mut self, request: StoreRequest, turn: &mut TurnContext<'_>) {
        let ticket = request.ticket();
        let mut request = Some(request);
        self.with_session(ticket.row, turn, |session, cx| {
            if session.take_question(ticket)
                && let Some(request) = request.take()
            {
                session.handle_refused(request, cx);
            }
        });
        if let Some(StoreRequest::Files { op, .. }) = request
            && let files::FilesOp::Write { part, .. } | files::FilesOp::Finish { part, .. } = *op
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

    /// A phone has named its user, or has not answered.
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

    /// A port is open for a data connection, or opening it failed.
    pub fn handle_awaited(
        &mut self,
        id: ConnectionId,
        result: Result<SocketAddr, DataFault>,
        turn: &mut TurnContext<'_>,
    ) {
        self.with_data(id, turn, |session, cx| session.handle_awaited(result, cx));
        self.check();
    }

    /// Returns whether a connection from this address is the expected data connection; if so, it is
    /// open.
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
            ConnectionRow::Session(_) => None,
            ConnectionRow::Data(row) => Some(row.listener),
        }
    }

    /// Ends everything; the current commands are logged.
    pub fn abandon(&mut self, turn: &mut TurnContext<'_>) {
        let ids: Vec<_> = self.rows.ids().collect();
        // The data connection of a session goes with it.
        let (sessions, rest): (Vec<_>, Vec<_>) = ids
            .into_iter()
            .partition(|id| matches!(self.rows.open(*id), Some(ConnectionRow::Session(_))));
        for id in sessions.into_iter().chain(rest) {
            self.with_session(id, turn, |session, cx| {
                session.conclude(Outcome::Failed(Failure::Stopped), cx);
            });
            self.handle_closed(id, turn);
        }
        self.check();
    }

    /// Passes an event to a session, and carries out what the session left to do.
    pub(super) fn with_session<R>(
        &mut self,
        id: ConnectionId,
        turn: &mut TurnContext<'_>,
        handle: impl FnOnce(&mut Session, &mut Context<'_>) -> R,
    ) -> Option<R> {
        let (row, ids) = self.rows.lend(id)?;
        let ConnectionRow::Session(session) = row else { return None };
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

    /// Passes an event of a data connection to its session.
    pub(super) fn with_data<R>(
        &mut self,
        id: ConnectionId,
        turn: &mut TurnContext<'_>,
        handle: impl FnOnce(&mut Session, &mut Context<'_>) -> R,
    ) -> Option<R> {
        match self.rows.open(id)? {
            ConnectionRow::Data(DataRow { control, closing: None, .. }) => {
                let control = *control;
                self.with_session(control, turn, handle)
            }
            ConnectionRow::Session(_) | ConnectionRow::Data(_) => None,
        }
    }

    fn change_rows(&mut self, control: ConnectionId) {
        while let Some(change) = self.shared.changes.pop_front() {
            match change {
                RowChange::Insert(id, listener) => {
                    let (closing, deadline) = (None, Deadline::default());
                    let row = DataRow { control, listener, closing, deadline };
                    self.rows.fill(id, ConnectionRow::Data(row));
                }
                RowChange::Close(id, how, deadline) => {
                    if let Some(ConnectionRow::Data(row)) = self.rows.open_mut(id) {
                        (row.closing, row.deadline) = (Some(how), deadline);
                    }
                }
                RowChange::Remove(id) => drop(self.rows.remove(id)),
            }
        }
    }

    /// Returns the session of a row, or `None` if it has gone.
    pub(super) fn session_of(&self, id: ConnectionId) -> Option<&Session> {
        let control = match self.rows.open(id)? {
            ConnectionRow::Session(session) => return Some(session),
            ConnectionRow::Data(row) => row.control,
        };
        match self.rows.open(control)? {
            ConnectionRow::Session(session) => Some(session),
            ConnectionRow::Data(_) => None,
        }
    }
}

/// The reply to a client while the server is about to stop.
const STOPS: &str = "The server is about to stop.";
