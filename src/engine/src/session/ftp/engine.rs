//! All sessions of a worker: told bytes, answers and moments; asked what to do with each.
//!
//! Commands are read in `dispatch.rs`. Never lets one session touch another.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use crate::admission::address::AddressKey;
use crate::admission::strangers::Strangers;
use crate::catalog::{Ask, Ticket};
use crate::files::{Act, Part, Tree};
use crate::session::ftp::command_queue::CommandQueue;
use crate::session::ftp::data::Door;
use crate::session::ftp::limits::{FtpListener, FtpPolicy};
use crate::session::ftp::ports::{NeverCame, PortOwner};
use crate::session::ftp::session::{Closing, Connection, Data, Job, Session, State, Told, What};
use crate::session::snmp::Queries;
use crate::session::stream::{ConnectionId, Connections as _, ListenerId};
use crate::session::table::Table;
use crate::session::ticket::{Questions, TicketOwner};
use crate::session::timer::Timers;
use crate::session::{
    Abort, Failure, Handshake, Outcome, Protocol, Record, Refusal, Secured, Stall, Subject, Turn,
    Verb,
};
use wire::ftp::reply::{self, Code};
use wire::time::{Duration, Instant};

/// How long the last reply of a session may take to leave.
const CLOSE_MAX: Duration = Duration::from_secs(10);

/// The FTP server of one worker.
#[derive(Debug)]
pub struct Engine {
    pub(super) listeners: Vec<FtpListener>,
    pub(super) connections: Table<Box<Connection>>,
    pub(super) sessions: usize,
    pub(super) per_address: HashMap<AddressKey, u32>,
    pub(super) strangers: Strangers,
    /// Bytes of phones' uploads in memory.
    pub(super) uploads_held: u64,
    pub(super) stopping: bool,
    /// What administrators see.
    pub(super) tree: Arc<Tree>,
    pub(super) asks: VecDeque<Ask>,
    pub(super) doors: VecDeque<Door>,
    pub(super) timers: Timers<ConnectionId>,
    pub(super) records: VecDeque<Record>,
    /// Connections that have something to do although their sockets have no news.
    pub(super) ready: VecDeque<ConnectionId>,
    /// Sessions whose command is done: the next one may be here already.
    pub(super) resumed: VecDeque<ConnectionId>,
    /// Transfers in hand.
    pub(super) transfers_open: usize,
    /// The phones' users.
    pub queries: Queries,
    /// The command that is being read; the room is used again.
    pub(super) line: Vec<u8>,
    /// Sessions that wait to be told who uses their phone.
    pub(super) asking: HashMap<IpAddr, Vec<ConnectionId>>,
    /// Passive ports that are open, by whose they are.
    pub(super) ports: HashMap<PortOwner, u32>,
    /// Those of them that strangers have.
    pub(super) strangers_ports: u32,
    /// Clients that never came for their data.
    pub(super) never_came: NeverCame,
}

impl Default for Engine {
    fn default() -> Self {
        Engine {
            listeners: Vec::new(),
            connections: Table::default(),
            sessions: 0,
            per_address: HashMap::new(),
            strangers: Strangers::default(),
            uploads_held: 0,
            stopping: false,
            tree: FtpPolicy::default().tree,
            asks: VecDeque::new(),
            doors: VecDeque::new(),
            timers: Timers::default(),
            records: VecDeque::new(),
            ready: VecDeque::new(),
            resumed: VecDeque::new(),
            transfers_open: 0,
            queries: Queries::default(),
            line: Vec::new(),
            asking: HashMap::new(),
            ports: HashMap::new(),
            strangers_ports: 0,
            never_came: NeverCame::default(),
        }
    }
}

impl Engine {
    /// Counts a new session; says why there is no room for it, and whether it takes one of the
    /// places of clients outside the access list.
    pub(super) fn judge_session(
        &mut self,
        peer: SocketAddr,
        turn: &Turn<'_>,
    ) -> (Option<(Refusal, &'static str)>, bool) {
        let limits = turn.snapshot.policy.ftp.limits;
        let here = self.per_address.entry(peer.ip().into()).or_default();
        *here += 1;
        let crowded = limits.per_address_max > 0 && *here as usize > limits.per_address_max;
        let full = self.sessions >= limits.sessions_max;
        let client = peer.ip().to_canonical();
        let stranger = !turn.snapshot.policy.access.permits(Protocol::Ftp, client);
        let has_place = !stranger || self.strangers.take(limits.sessions_max);
        let refusal = match () {
            () if self.stopping => Some((Refusal::Stopping, "The server is about to stop.")),
            () if crowded || full => {
                let text = "Too many sessions are open; come back in a moment.";
                Some((Refusal::TooManyConnections, text))
            }
            () if !has_place => {
                let text = "Too many clients outside the access list are here.";
                Some((Refusal::TooManyStrangers, text))
            }
            () => None,
        };
        (refusal, stranger && has_place)
    }

    /// Takes new settings. An address that they do not have any more keeps what it had.
    pub fn adopt(&mut self, policy: &FtpPolicy) {
        self.tree = Arc::clone(&policy.tree);
        for listener in &mut self.listeners {
            if let Some(row) = policy.listeners.iter().find(|row| row.address == listener.address) {
                *listener = *row;
            }
        }
    }

    /// Takes no new transfers from now on: sessions that have none are closed, others when theirs
    /// is through.
    pub fn stop(&mut self, turn: &mut Turn<'_>) {
        if self.stopping {
            return;
        }
        self.stopping = true;
        let ids: Vec<_> = self.connections.ids().collect();
        for id in ids {
            let is_idle = self.session(id).is_some_and(|one| matches!(one.state, State::Idle));
            if is_idle {
                self.bid_farewell(id, Code::CLOSING, "The server is about to stop.", turn);
                self.ready.push_back(id);
            }
        }
    }

    /// Open sessions.
    #[must_use]
    pub fn sessions_open(&self) -> usize {
        self.sessions
    }

    /// Transfers that are being served.
    #[must_use]
    pub fn transfers_open(&self) -> usize {
        self.transfers_open
    }

    /// Bytes of phones' uploads in memory.
    #[must_use]
    pub fn uploads_held(&self) -> u64 {
        self.uploads_held
    }

    /// Something to ask the loader, the vault or whoever manages files.
    pub fn poll_ask(&mut self) -> Option<Ask> {
        self.asks.pop_front()
    }

    /// Something to tell the log.
    pub fn poll_record(&mut self) -> Option<Record> {
        self.records.pop_front()
    }

    /// Goes on with commands that waited for the one before them. Meant for the end of each turn,
    /// and not for within a command: however many have come, none is read inside another.
    pub fn resume(&mut self, turn: &mut Turn<'_>) {
        while let Some(id) = self.resumed.pop_front() {
            let is_idle = self.session(id).is_some_and(|one| matches!(one.state, State::Idle));
            if self.stopping && is_idle {
                self.bid_farewell(id, Code::CLOSING, "The server is about to stop.", turn);
            }
            self.read_on(id, turn);
            self.rearm(id, turn);
            self.ready.push_back(id);
        }
    }

    /// What is to be done for data connections that are not there yet.
    pub fn poll_door(&mut self) -> Option<Door> {
        self.doors.pop_front()
    }

    /// Asks something for the command in hand, of the threads that wait for disks.
    pub(super) fn ask(&mut self, id: ConnectionId, ask: impl FnOnce(Ticket) -> Ask) {
        if let Some(ticket) = self.session_mut(id).and_then(|session| session.question(id)) {
            self.asks.push_back(ask(ticket));
        }
    }

    /// Asks for something to be done in the tree.
    pub(super) fn ask_files(&mut self, id: ConnectionId, act: Act) {
        let tree = Arc::clone(&self.tree);
        self.ask(id, |ticket| Ask::Files { ticket, tree, act: Box::new(act) });
    }

    /// Has an upload forgotten; nobody waits for that.
    pub(super) fn discard(&mut self, id: ConnectionId, part: Part) {
        let (tree, act) = (Arc::clone(&self.tree), Box::new(Act::Discard { part }));
        let (owner, sequence) = (TicketOwner::Ftp, Questions::UNAWAITED);
        let ticket = Ticket { owner, row: id, sequence };
        self.asks.push_back(Ask::Files { ticket, tree, act });
    }

    pub(super) fn session(&self, id: ConnectionId) -> Option<&Session> {
        match &**self.connections.open(id)? {
            Connection::Control(session) => Some(session),
            Connection::Data(_) => None,
        }
    }

    pub(super) fn session_mut(&mut self, id: ConnectionId) -> Option<&mut Session> {
        match &mut **self.connections.open_mut(id)? {
            Connection::Control(session) => Some(session),
            Connection::Data(_) => None,
        }
    }

    pub(super) fn data(&self, id: ConnectionId) -> Option<&Data> {
        match &**self.connections.open(id)? {
            Connection::Control(_) => None,
            Connection::Data(data) => Some(data),
        }
    }

    pub(super) fn data_mut(&mut self, id: ConnectionId) -> Option<&mut Data> {
        match &mut **self.connections.open_mut(id)? {
            Connection::Control(_) => None,
            Connection::Data(data) => Some(data),
        }
    }

    pub(super) fn is_implicit(&self, listener: ListenerId) -> bool {
        self.listeners.get(usize::from(listener.0)).is_some_and(|listener| listener.implicit)
    }

    pub(super) fn has_tls(&self, listener: ListenerId) -> bool {
        self.listeners.get(usize::from(listener.0)).is_some_and(|listener| listener.tls)
    }

    /// Says something to a client.
    pub(super) fn reply(&mut self, id: ConnectionId, code: Code, text: &str) {
        if let Some(session) = self.session_mut(id) {
            reply::line(&mut session.out, code, text.as_bytes());
        }
    }

    /// The same in the usual words.
    pub(super) fn reply_usual(&mut self, id: ConnectionId, code: Code) {
        self.reply(id, code, code.text());
    }

    /// Says the last thing to a client.
    pub(super) fn bid_farewell(
        &mut self,
        id: ConnectionId,
        code: Code,
        text: &str,
        turn: &mut Turn<'_>,
    ) {
        self.reply(id, code, text);
        self.leave(id, turn);
    }

    /// Closes a session once its last reply has left.
    pub(super) fn leave(&mut self, id: ConnectionId, turn: &mut Turn<'_>) {
        self.conclude(id, Outcome::Aborted(Abort::Disconnected), turn);
        self.drop_data(id, Closing::Reset);
        let until = turn.now + CLOSE_MAX;
        if let Some(session) = self.session_mut(id) {
            session.state = State::Closing;
            session.unread = Vec::new();
            session.pending = CommandQueue::default();
        }
        self.set_deadline(id, Some(until));
    }

    /// Sets the timer of a session by what it waits for.
    pub(super) fn rearm(&mut self, id: ConnectionId, turn: &Turn<'_>) {
        let limits = &turn.snapshot.policy.ftp.limits;
        let Some(session) = self.session_mut(id) else { return };
        let idle = match session.state {
            State::Idle | State::StartingTls if session.is_logged_in() => {
                Some(session.heard + limits.idle_timeout)
            }
            State::Idle | State::StartingTls => Some(session.login_since + limits.login_timeout),
            State::Busy(_) => session.transfer().and_then(|transfer| transfer.due),
            State::Closing | State::Over | State::Stuck => return,
        };
        let stuck = session.stuck_since.map(|since| since + limits.stall_timeout);
        let due = [idle, session.pace.until, stuck].into_iter().flatten().min();
        self.set_deadline(id, due);
    }

    pub(super) fn set_deadline(&mut self, id: ConnectionId, at: Option<Instant>) {
        match self.connections.open_mut(id).map(|row| &mut **row) {
            Some(Connection::Control(session)) => session.deadline.set(at, id, &mut self.timers),
            Some(Connection::Data(data)) => data.deadline.set(at, id, &mut self.timers),
            None => {}
        }
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, turn: &mut Turn<'_>) {
        self.queries.handle_timeout(turn.counters, turn.now);
        while let Some(id) = self.timers.pop_due(turn.now) {
            let is_due = match self.connections.open_mut(id).map(|row| &mut **row) {
                Some(Connection::Control(session)) => {
                    session.deadline.is_due(turn.now, id, &mut self.timers)
                }
                Some(Connection::Data(data)) => {
                    data.deadline.is_due(turn.now, id, &mut self.timers)
                }
                None => continue,
            };
            if !is_due {
                continue;
            }
            match self.connections.open(id).map(|row| &**row) {
                Some(Connection::Control(_)) => self.session_due(id, turn),
                Some(Connection::Data(_)) => {
                    self.data_due(id, turn);
                    self.ready.push_back(id);
                }
                None => {}
            }
            self.wake(id);
        }
    }

    fn session_due(&mut self, id: ConnectionId, turn: &mut Turn<'_>) {
        let limits = turn.snapshot.policy.ftp.limits;
        let Some(session) = self.session_mut(id) else { return };
        if session.securing && turn.now.since(session.login_since) >= limits.login_timeout {
            self.handle_handshake_failed(id, Handshake::TooSlow, turn);
            return;
        }
        if session.stuck_since.is_some_and(|since| turn.now.since(since) >= limits.stall_timeout) {
            turn.counters.stream_too_slow.up();
            self.conclude(id, Outcome::Stalled(Stall::Unread), turn);
            return self.end_session(id, State::Stuck);
        }
        let end = match session.is_logged_in() {
            true => session.heard + limits.idle_timeout,
            false => session.login_since + limits.login_timeout,
        };
        match session.state {
            State::Closing => session.state = State::Stuck,
            State::Over | State::Stuck => {}
            State::Busy(_) if session.transfer().is_some() => self.transfer_due(id, turn),
            State::Busy(_) => {}
            State::Idle | State::StartingTls if turn.now >= end => {
                turn.counters.stream_idle_closed.up();
                let text = match session.is_logged_in() {
                    true => "No command came for too long.",
                    false => "Nobody has logged in for too long.",
                };
                self.bid_farewell(id, Code::CLOSING, text, turn);
            }
            State::Idle | State::StartingTls => {}
        }
        self.read_on(id, turn);
        self.rearm(id, turn);
    }

    /// A session is over: its data connection, too.
    pub(super) fn end_session(&mut self, id: ConnectionId, state: State) {
        self.drop_data(id, Closing::Reset);
        if let Some(session) = self.session_mut(id) {
            session.state = state;
        }
    }

    /// Takes a command in hand.
    pub(super) fn take_up(&mut self, id: ConnectionId, what: What, told: Option<Told>) {
        let is_transfer = matches!(what, What::Transfer(_));
        if let Some(session) = self.session_mut(id) {
            session.state = State::Busy(Box::new(Job { what, told, question: None }));
            self.transfers_open += usize::from(is_transfer);
        }
    }

    /// A command is done: the log is told, the next one may come.
    pub(super) fn conclude(&mut self, id: ConnectionId, outcome: Outcome, turn: &mut Turn<'_>) {
        let Some(session) = self.session_mut(id) else { return };
        let State::Busy(mut job) = std::mem::replace(&mut session.state, State::Idle) else {
            return;
        };
        let (peer, secured) = (session.peer, session.secured);
        session.heard = turn.now;
        self.resumed.push_back(id);
        if let What::Transfer(transfer) = job.what {
            let data = transfer.data.and_then(|data| self.data(data));
            let broke_off = matches!(outcome, Outcome::Aborted(_) | Outcome::Stalled(_));
            if let Some(told) = job.told.as_mut().filter(|told| told.verb == Verb::Fetch)
                && let Some(data) = data.filter(|_| broke_off)
            {
                told.bytes = told.bytes.saturating_sub(data.arrivals.unacknowledged);
            }
            self.transfers_open -= 1;
            self.release(id, transfer, job.question, peer, turn);
        }
        if let Some(told) = job.told {
            self.note(peer, secured, told, outcome, turn);
        }
    }

    /// Tells the log of a command.
    pub(super) fn note(
        &mut self,
        peer: SocketAddr,
        secured: Option<Secured>,
        told: Told,
        outcome: Outcome,
        turn: &Turn<'_>,
    ) {
        outcome.count(turn.counters);
        let about = (told.verb, told.subject);
        let words = match outcome {
            Outcome::Refused(Refusal::DataConnection(fault)) => fault.place(),
            Outcome::Done
            | Outcome::DoneUnacknowledged
            | Outcome::Aborted(_)
            | Outcome::Superseded
            | Outcome::TimedOut
            | Outcome::Stalled(_)
            | Outcome::Refused(_)
            | Outcome::Failed(_) => None,
        };
        let words = words.map(|words| words.into_bytes().into());
        self.records.push_back(Record {
            took: turn.now.since(told.began),
            bytes: told.bytes,
            secured,
            user: told.user,
            words,
            ..Record::new(Protocol::Ftp, peer, about, told.began, outcome)
        });
    }

    /// Tells the log of something that is no transfer and was refused.
    pub(super) fn note_refused(
        &mut self,
        id: ConnectionId,
        told: Told,
        no: Refusal,
        turn: &Turn<'_>,
    ) {
        let Some(session) = self.session(id) else { return };
        let (peer, secured) = (session.peer, session.secured);
        self.note(peer, secured, told, Outcome::Refused(no), turn);
    }

    /// Tells the log of a connection that came to nothing.
    pub(super) fn note_lone(&mut self, peer: SocketAddr, no: Refusal, turn: &Turn<'_>) {
        let told = Told::new(Subject::Unreadable, Verb::Connect, turn.now);
        self.note(peer, None, told, Outcome::Refused(no), turn);
    }

    /// Ends everything: the log is told of what was under way.
    pub fn abandon(&mut self, turn: &mut Turn<'_>) {
        let ids: Vec<_> = self.connections.ids().collect();
        // What a session had goes with it.
        let (sessions, rest): (Vec<_>, Vec<_>) =
            ids.into_iter().partition(|id| self.session(*id).is_some());
        for id in sessions.into_iter().chain(rest) {
            self.conclude(id, Outcome::Failed(Failure::Stopped), turn);
            self.handle_closed(id, turn);
        }
    }
}
