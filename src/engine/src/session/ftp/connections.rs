//! What the sockets of FTP's connections tell the engine, and what they are told to do.
//!
//! Judges nothing but how many sessions there may be; commands are read in `dispatch.rs`.

use std::net::{IpAddr, SocketAddr};

use crate::admission::address::AddressKey;
use crate::files::TreePath;
use crate::session::ftp::command_queue::CommandQueue;
use crate::session::ftp::engine::Engine;
use crate::session::ftp::limits::FtpListener;
use crate::session::ftp::session::{
    Closing, Connection, DataStage, Pace, Session, Stage, State, Tls, User, Way, Who,
};
use crate::session::stream::{
    ConnectionId, Connections, DialFault, ListenerId, Mark, Next, Outgoing, Payload, Security,
};
use crate::session::ticket::Questions;
use crate::session::timer::Deadline;
use crate::session::{
    Abort, DataFault, Failure, Handshake, Outcome, Protocol, Refusal, Stall, Turn,
};
use wire::ftp::command::Type;
use wire::ftp::line::Lines;
use wire::ftp::listing::Facts;
use wire::ftp::reply::Code;
use wire::time::Instant;

/// Bytes of commands that may wait; what comes behind them stays with the client.
const UNREAD_BYTES_MAX: usize = 16 << 10;

impl Connections for Engine {
    const PLAIN_ANSWER: &'static [u8] = b"421 This port speaks FTP over TLS.\r\n";

    fn add_listener(&mut self, address: SocketAddr, _: Protocol) -> ListenerId {
        let id = ListenerId(u16::try_from(self.listeners.len()).unwrap_or(u16::MAX));
        self.listeners.push(FtpListener { address, implicit: false, tls: false });
        id
    }

    fn handle_connected(
        &mut self,
        peer: SocketAddr,
        listener: ListenerId,
        turn: &mut Turn<'_>,
    ) -> Option<ConnectionId> {
        turn.counters.stream_connections.up();
        let limits = turn.snapshot.policy.ftp.limits;
        let implicit = self.is_implicit(listener);
        let (refusal, is_stranger) = self.judge_session(peer, turn);
        self.sessions += 1;
        let id = self.connections.insert(Box::new(Connection::Control(Session {
            peer,
            listener,
            secured: None,
            lines: Lines::new(limits.line_bytes_max),
            unread: Vec::new(),
            pending: CommandQueue::default(),
            out: Vec::new(),
            out_sent: 0,
            state: State::Idle,
            user: User::Nobody,
            proof: None,
            failed_logins: 0,
            cwd: TreePath::default(),
            kind: Type::default(),
            rest: 0,
            renaming: None,
            facts: Facts::ALL,
            epsv_all: false,
            pbsz: implicit,
            securing: implicit,
            private: implicit,
            data: None,
            who: Who::Unknown,
            pace: Pace::new(limits.commands_per_second, turn.now),
            deadline: Deadline::default(),
            questions: Questions::default(),
            heard: turn.now,
            login_since: turn.now,
            stuck_since: None,
            ended: false,
            hung_up: false,
            is_stranger,
        })));
        match refusal {
            None => {
                self.reply(id, Code::READY, "Ringpost serves telephones.");
                self.rearm(id, turn);
            }
            Some((no, text)) => {
                turn.counters.stream_refused.up();
                self.note_lone(peer, no, turn);
                self.bid_farewell(id, Code::CLOSING, text, turn);
            }
        }
        Some(id)
    }

    fn handle_dialed(
        &mut self,
        id: ConnectionId,
        result: Result<(), DialFault>,
        turn: &mut Turn<'_>,
    ) {
        self.dialed(id, result, turn);
    }

    fn mark(&self, id: ConnectionId) -> Option<Mark> {
        let control = match &**self.connections.open(id)? {
            Connection::Control(_) => id,
            Connection::Data(data) => data.control,
        };
        // Not the session's: clients with several at once resume whichever they find (curl -Z).
        let client = match self.session(control)?.peer.ip() {
            IpAddr::V4(ip) => ip.to_ipv6_mapped(),
            IpAddr::V6(ip) => ip,
        };
        Some(client.octets())
    }

    fn expects_more(&self, id: ConnectionId, came: &[u8]) -> bool {
        self.session(id).is_some() && !came.ends_with(b"\n")
    }

    fn is_one_way(&self, id: ConnectionId) -> bool {
        self.data(id).is_some_and(|data| self.is_receiving(data.control))
    }

    fn handle_secured(&mut self, id: ConnectionId, security: Security, turn: &mut Turn<'_>) {
        match self.connections.open_mut(id).map(|row| &mut **row) {
            Some(Connection::Control(session)) => {
                session.secured = security.secured;
                session.securing = false;
                session.heard = turn.now;
                self.rearm(id, turn);
                self.resumed.push_back(id);
            }
            Some(Connection::Data(data)) => {
                data.tls = Tls::Secured;
                let control = data.control;
                let own = self.mark(control);
                let is_foreign = security.resumes.is_some_and(|mark| Some(mark) != own);
                if is_foreign {
                    turn.counters.ftp_bounces.up();
                    return self.data_refused(id, DataFault::OtherSession, turn);
                }
                self.keep_moving(control, turn);
            }
            None => {}
        }
    }

    fn handle_handshake_failed(&mut self, id: ConnectionId, why: Handshake, turn: &mut Turn<'_>) {
        turn.counters.tls_handshakes_failed.up();
        match self.connections.open(id).map(|row| &**row) {
            Some(Connection::Control(session)) => {
                let peer = session.peer;
                self.note_lone(peer, Refusal::Handshake(why), turn);
                self.end_session(id, State::Over);
            }
            Some(Connection::Data(_)) => self.data_refused(id, DataFault::Handshake(why), turn),
            None => {}
        }
    }

    fn handle_bytes(&mut self, id: ConnectionId, bytes: &[u8], turn: &mut Turn<'_>) {
        turn.counters.stream_received_bytes.add(bytes.len() as u64);
        match self.connections.open_mut(id).map(|row| &mut **row) {
            Some(Connection::Control(session)) => {
                session.unread.extend_from_slice(bytes);
                self.read_on(id, turn);
                self.rearm(id, turn);
                if let Some(data) = self.session(id).and_then(|session| session.data) {
                    self.ready.push_back(data);
                }
            }
            Some(Connection::Data(data)) => {
                let control = data.control;
                self.take(control, bytes, turn);
            }
            None => {}
        }
    }

    fn handle_end(&mut self, id: ConnectionId, turn: &mut Turn<'_>) {
        match self.connections.open_mut(id).map(|row| &mut **row) {
            Some(Connection::Control(session)) => {
                session.ended = true;
                self.read_on(id, turn);
                self.handle_hangup(id, turn);
            }
            Some(Connection::Data(data)) => {
                let control = data.control;
                // Before the handshake is through nothing was said that could end.
                let is_open = matches!(data.tls, Tls::None | Tls::Secured);
                match is_open && self.is_receiving(control) {
                    true => self.taken(control, turn),
                    false => self.handle_gone(id, turn),
                }
            }
            None => {}
        }
    }

    fn handle_truncated(&mut self, id: ConnectionId, turn: &mut Turn<'_>) {
        match self.connections.open(id).map(|row| &**row) {
            // Many clients leave without a word.
            Some(Connection::Control(_)) => self.handle_end(id, turn),
            Some(Connection::Data(_)) => self.handle_gone(id, turn),
            None => {}
        }
    }

    fn handle_hangup(&mut self, id: ConnectionId, turn: &mut Turn<'_>) {
        if let Some(session) = self.session_mut(id) {
            session.hung_up = true;
            self.take_back(id, turn);
        }
    }

    fn handle_gone(&mut self, id: ConnectionId, turn: &mut Turn<'_>) {
        self.broken(id, Outcome::Aborted(Abort::Disconnected), turn);
    }

    fn handle_given_up(&mut self, id: ConnectionId, turn: &mut Turn<'_>) {
        self.broken(id, Outcome::Stalled(Stall::GivenUp), turn);
    }

    fn handle_flushing(&mut self, id: ConnectionId, until: Instant) {
        self.set_deadline(id, Some(until));
    }

    fn handle_cut(&mut self, id: ConnectionId, turn: &mut Turn<'_>) {
        let Some(control) = self.data(id).map(|data| data.control) else { return };
        let failed = Outcome::Failed(Failure::FileChanged);
        let text = "The file was changed while it was being sent.";
        self.end_transfer(control, failed, Code::TRANSFER_ABORTED, text, turn);
    }

    fn handle_sent(&mut self, id: ConnectionId, bytes: usize, turn: &mut Turn<'_>) {
        turn.counters.stream_sent_bytes.add(bytes as u64);
        match self.connections.open_mut(id).map(|row| &mut **row) {
            Some(Connection::Control(session)) => {
                session.out_sent += bytes;
                session.stuck_since = None;
                if !session.has_reply() {
                    session.out = Vec::new();
                    session.out_sent = 0;
                    if session.has_more() {
                        self.resumed.push_back(id);
                    }
                }
            }
            Some(Connection::Data(data)) => {
                data.arrivals.sent += bytes as u64;
                let control = data.control;
                self.sent(control, bytes, turn);
            }
            None => {}
        }
    }

    fn handle_unacknowledged(&mut self, id: ConnectionId, bytes: u64, turn: &mut Turn<'_>) {
        let Some(data) = self.data_mut(id) else { return };
        data.arrivals.note(bytes, turn.now);
        if std::mem::take(&mut data.arrivals.is_doubted) {
            let control = data.control;
            self.go_on_or_give_up(control, turn);
        }
    }

    fn handle_blocked(&mut self, id: ConnectionId, turn: &mut Turn<'_>) {
        if let Some(session) = self.session_mut(id) {
            session.stuck_since.get_or_insert(turn.now);
            self.rearm(id, turn);
        }
    }

    fn handle_closed(&mut self, id: ConnectionId, turn: &mut Turn<'_>) {
        match self.connections.open(id).map(|row| &**row) {
            Some(Connection::Control(session)) => {
                let address = AddressKey::from(session.peer.ip());
                if session.is_stranger {
                    self.strangers.give_back();
                }
                self.conclude(id, Outcome::Aborted(Abort::Disconnected), turn);
                self.drop_data(id, Closing::Reset);
                self.connections.remove(id);
                self.sessions -= 1;
                if let Some(here) = self.per_address.get_mut(&address) {
                    *here -= 1;
                    if *here == 0 {
                        self.per_address.remove(&address);
                    }
                }
            }
            Some(Connection::Data(data)) => {
                let control = data.control;
                self.free_port(id);
                self.connections.remove(id);
                if let Some(session) = self.session_mut(control)
                    && session.data == Some(id)
                {
                    session.data = None;
                }
                self.data_closed(control, id, turn);
            }
            None => {}
        }
    }

    fn next(&mut self, id: ConnectionId) -> Next {
        match self.connections.open_mut(id).map(|row| &mut **row) {
            Some(Connection::Control(session)) => next_of_session(session),
            Some(Connection::Data(_)) => self.next_of_data(id),
            None => Next::Close,
        }
    }

    fn outgoing(&self, id: ConnectionId) -> Outgoing<'_> {
        match self.connections.open(id).map(|row| &**row) {
            Some(Connection::Control(session)) => {
                let head = &session.out[session.out_sent..];
                Outgoing { head, payload: Payload::None, is_last: false }
            }
            Some(Connection::Data(data)) => {
                let transfer = self.session(data.control).and_then(|session| session.transfer());
                match transfer.map(|transfer| &transfer.stage) {
                    Some(Stage::Moving(Way::Out(source))) => {
                        Outgoing { head: &[], payload: source.payload(), is_last: false }
                    }
                    Some(_) | None => Outgoing::EMPTY,
                }
            }
            None => Outgoing::EMPTY,
        }
    }

    fn poll_ready(&mut self) -> Option<ConnectionId> {
        self.ready.pop_front()
    }

    fn has_ready(&self) -> bool {
        !self.ready.is_empty() || !self.doors.is_empty() || !self.resumed.is_empty()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.timers.next().into_iter().chain(self.queries.poll_timeout()).min()
    }
}

fn next_of_session(session: &mut Session) -> Next {
    match session.state {
        State::Over => Next::Close,
        State::Stuck => Next::Reset,
        // Nothing may leave before the handshake is through.
        State::Idle | State::Busy(_) | State::Closing if session.securing => Next::Read,
        State::Idle | State::Busy(_) | State::Closing | State::StartingTls
            if session.has_reply() =>
        {
            Next::Write
        }
        State::Closing => Next::Close,
        State::StartingTls => {
            session.state = State::Idle;
            session.securing = true;
            session.lines.begin_anew();
            session.unread = Vec::new();
            Next::StartTls
        }
        State::Idle | State::Busy(_) => {
            let is_full = session.unread.len() >= UNREAD_BYTES_MAX;
            let waits = session.ended || session.pace.until.is_some() || is_full;
            if waits { Next::Wait } else { Next::Read }
        }
    }
}

impl Engine {
    fn next_of_data(&mut self, id: ConnectionId) -> Next {
        let Some(data) = self.data(id) else { return Next::Close };
        match (data.closing, data.stage) {
            (Closing::InPeace, _) => return Next::Close,
            (Closing::Reset, _) => return Next::Reset,
            (Closing::No, DataStage::Open) => {}
            (
                Closing::No,
                DataStage::Wanted
                | DataStage::Awaited(_)
                | DataStage::Planned(_)
                | DataStage::Dialing,
            ) => return Next::Wait,
        }
        if data.arrivals.is_doubted {
            return Next::Measure;
        }
        let transfer = self.session(data.control).and_then(|session| session.transfer());
        let Some(Stage::Moving(way)) = transfer.map(|transfer| &transfer.stage) else {
            return Next::Wait;
        };
        let tls = data.tls;
        if tls == Tls::Wanted {
            if let Some(data) = self.data_mut(id) {
                data.tls = Tls::Handshaking;
            }
            return Next::StartTls;
        }
        match (way, tls) {
            (_, Tls::Wanted | Tls::Handshaking) => Next::Read,
            (Way::Out(source), Tls::None | Tls::Secured) => match source.payload() {
                Payload::None => Next::Wait,
                Payload::Bytes(_) | Payload::File { .. } => Next::Write,
            },
            (Way::In(sink), Tls::None | Tls::Secured) if sink.ended || !sink.has_room() => {
                Next::Wait
            }
            (Way::In(_), Tls::None | Tls::Secured) => Next::Read,
        }
    }

    fn is_receiving(&self, id: ConnectionId) -> bool {
        let transfer = self.session(id).and_then(|session| session.transfer());
        transfer.is_some_and(|transfer| matches!(transfer.stage, Stage::Moving(Way::In(_))))
    }

    /// A connection is no more: what was under way on it ends so.
    fn broken(&mut self, id: ConnectionId, outcome: Outcome, turn: &mut Turn<'_>) {
        match self.connections.open_mut(id).map(|row| &mut **row) {
            Some(Connection::Control(_)) => {
                self.lose(id, outcome, turn);
                self.end_session(id, State::Over);
            }
            Some(Connection::Data(data)) => {
                let control = data.control;
                data.closing = Closing::Reset;
                self.data_gone(control, id, outcome, turn);
            }
            None => {}
        }
    }

    /// A data connection broke, or was closed too early.
    fn data_gone(
        &mut self,
        control: ConnectionId,
        id: ConnectionId,
        outcome: Outcome,
        turn: &mut Turn<'_>,
    ) {
        let transfer = self.session(control).and_then(|session| session.transfer());
        let is_hit = transfer.is_some_and(|transfer| match &transfer.stage {
            // Nothing is missing any more.
            Stage::Moving(Way::In(sink)) if sink.ended => false,
            Stage::Data(_) | Stage::Moving(_) => transfer.data == Some(id),
            Stage::Passport | Stage::Slot | Stage::Opening | Stage::Storing | Stage::Closing => {
                false
            }
        });
        if is_hit {
            self.data_lost(control, outcome, turn);
        }
    }

    fn data_refused(&mut self, id: ConnectionId, fault: DataFault, turn: &mut Turn<'_>) {
        turn.counters.ftp_data_failed.up();
        let Some(data) = self.data_mut(id) else { return };
        data.closing = Closing::Reset;
        let control = data.control;
        let no = Outcome::Refused(Refusal::DataConnection(fault));
        self.end_transfer(control, no, Code::NO_DATA_CONNECTION, &super::data::text(fault), turn);
    }
}
