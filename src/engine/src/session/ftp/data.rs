//! Data connections: passive or active, only ever from and to the client of the session (RFC 2577).
//!
//! Tells the sockets what to do, by [`DataCommand`]s; moves no byte of a file.

use std::net::{IpAddr, SocketAddr, SocketAddrV4};

use crate::session::arrivals::Arrivals;
use crate::session::ftp::authorize::capital;
use crate::session::ftp::context::{Context, RowChange};
use crate::session::ftp::ports::PortOwner;
use crate::session::ftp::session::{
    Closing, DataConnection, DataStage, Pending, Session, SessionState, Stage, Tls, Way,
};
use crate::session::stream::{ConnectionId, DialFault, Mark, Next, Outgoing, Payload};
use crate::session::timer::Deadline;
use crate::session::{Abort, DataFault, Outcome, Refusal};
use wire::ftp::address;
use wire::ftp::command::Epsv;
use wire::ftp::reply::Code;

/// Lower ports are for other services (RFC 2577, 3).
const CLIENT_PORT_MIN: u16 = 1_024;

/// A command about a data connection that is not open yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DataCommand {
    /// Open a port for one connection from this client, at the address to which the session is
    /// connected. [`super::Engine::handle_awaited`] takes the port.
    Await {
        /// The data connection.
        data: ConnectionId,
        /// The session's connection.
        control: ConnectionId,
    },
    /// Connect from the address to which the client is connected.
    Dial {
        /// The data connection.
        data: ConnectionId,
        /// The session's connection.
        control: ConnectionId,
        /// The client's address and port.
        to: SocketAddr,
    },
    /// Close the port.
    Shut {
        /// The data connection.
        data: ConnectionId,
    },
}

impl Session {
    /// `PASV` and `EPSV`.
    pub(super) fn listen(&mut self, extended: Option<Epsv>, cx: &mut Context<'_>) {
        let peer = self.peer.ip().to_canonical();
        match extended {
            Some(Epsv::All) => {
                self.settings.epsv_all = true;
                return self.reply(Code::OK, "From now on EPSV alone.");
            }
            Some(Epsv::V4) if !peer.is_ipv4() => {
                return self.reply(Code::NETWORK_NOT_SERVED, "Use 2 for IPv6 (2).");
            }
            Some(Epsv::V6) if !peer.is_ipv6() => {
                return self.reply(Code::NETWORK_NOT_SERVED, "Use 1 for IPv4 (1).");
            }
            None if self.settings.epsv_all => return self.refuse_epsv_all(),
            None if !peer.is_ipv4() => {
                return self.reply(Code::NO_DATA_CONNECTION, "PASV is for IPv4; say EPSV.");
            }
            Some(Epsv::Same | Epsv::V4 | Epsv::V6) | None => {}
        }
        if !self.may_have_data(true, cx) {
            return;
        }
        self.plan(DataStage::Wanted, Some(self.port_owner(cx)), cx);
        let data = self.data.as_ref().map(|data| data.id);
        cx.shared
            .data_commands
            .extend(data.map(|data| DataCommand::Await { data, control: cx.id }));
        self.take_up(Pending::Port { extended: extended.is_some() }, None, cx);
    }

    /// `PORT` and `EPRT`.
    pub(super) fn port(&mut self, to: SocketAddr, cx: &mut Context<'_>) {
        if self.settings.epsv_all {
            return self.refuse_epsv_all();
        }
        let to = SocketAddr::new(to.ip().to_canonical(), to.port());
        if to.is_ipv4() != self.peer.ip().to_canonical().is_ipv4() {
            let text = if to.is_ipv4() { "Use 2 for IPv6 (2)." } else { "Use 1 for IPv4 (1)." };
            return self.reply(Code::NETWORK_NOT_SERVED, text);
        }
        if !cx.snapshot.policy.ftp.active {
            let text = "Say PASV or EPSV: this server never calls.";
            return self.reply(Code::NOT_SERVED, text);
        }
        let text = if to.ip() != self.peer.ip().to_canonical() {
            "Data goes to your own address alone."
        } else if to.port() < CLIENT_PORT_MIN {
            "Data goes to ports from 1024 on alone."
        } else if self.may_have_data(false, cx) {
            self.plan(DataStage::Planned(to), None, cx);
            return self.reply(Code::OK, "Data will be sent there.");
        } else {
            return;
        };
        cx.counters.ftp_bounces.up();
        cx.note_lone(self.peer, Refusal::DataConnection(DataFault::Elsewhere(to)));
        self.reply(Code::BAD_ARGUMENT, text);
    }

    fn refuse_epsv_all(&mut self) {
        self.reply(Code::BAD_ARGUMENT, "You said EPSV ALL: nothing but EPSV is served now.");
    }

    /// Sets up a data connection in place of the former one.
    fn plan(&mut self, stage: DataStage, port_of: Option<PortOwner>, cx: &mut Context<'_>) {
        self.drop_data(Closing::InPeace, cx);
        let id = cx.ids.reserve();
        cx.shared.changes.push_back(RowChange::Insert(id, self.listener));
        if let Some(owner) = port_of {
            cx.shared.take_port(owner);
        }
        let data = self.data.insert(DataConnection {
            id,
            stage,
            port_of,
            tls: Tls::None,
            closing: Closing::Never,
            deadline: Deadline::default(),
            arrivals: Arrivals::default(),
        });
        data.allow_time(cx);
    }

    /// A port is open for the data connection, or opening it failed.
    pub(super) fn handle_awaited(
        &mut self,
        result: Result<SocketAddr, DataFault>,
        cx: &mut Context<'_>,
    ) {
        let Some(data) = &mut self.data else { return };
        if let Ok(at) = result {
            data.stage = DataStage::Awaited(at.port());
        }
        let SessionState::Busy(job) = &self.state else { return };
        let Pending::Port { extended } = job.pending else { return };
        self.conclude(Outcome::Done, cx);
        match result {
            Ok(at) => match (extended, self.masquerade(at.ip().to_canonical(), cx)) {
                (false, IpAddr::V4(ip)) => {
                    address::write_pasv(&mut self.replies.bytes, SocketAddrV4::new(ip, at.port()));
                }
                (true, _) | (false, IpAddr::V6(_)) => {
                    address::write_epsv(&mut self.replies.bytes, at.port());
                }
            },
            Err(fault) => {
                cx.counters.ftp_data_failed.up();
                cx.note_lone(self.peer, Refusal::DataConnection(fault));
                self.drop_data(Closing::Reset, cx);
                self.reply(Code::NO_DATA_CONNECTION, &text(fault));
            }
        }
    }

    /// Returns the address of this server as the client sees it.
    fn masquerade(&self, here: IpAddr, cx: &Context<'_>) -> IpAddr {
        let peer = self.peer.ip().to_canonical();
        let rows = &cx.snapshot.policy.ftp.passive_addresses;
        rows.iter().find(|(net, _)| net.contains(&peer)).map_or(here, |(_, address)| *address)
    }

    /// Returns whether a connection from this address is the expected data connection; if so, it is
    /// open.
    pub(super) fn handle_data_connected(&mut self, from: SocketAddr, cx: &mut Context<'_>) -> bool {
        if self.peer.ip().to_canonical() != from.ip().to_canonical() {
            cx.counters.ftp_bounces.up();
            return false;
        }
        cx.shared.never_came.forget(from.ip());
        self.data_is_there(cx);
        true
    }

    fn data_is_there(&mut self, cx: &mut Context<'_>) {
        let Some(data) = &mut self.data else { return };
        data.stage = DataStage::Open;
        data.free_port(cx);
        data.deadline.set(None, data.id, &mut cx.shared.timers);
        cx.counters.ftp_data_connections.up();
        self.move_on(cx);
    }

    /// The outgoing connection is open, or has failed.
    pub(super) fn handle_dialed(&mut self, result: Result<(), DialFault>, cx: &mut Context<'_>) {
        match result {
            Ok(()) => self.data_is_there(cx),
            Err(fault) => self.data_failed(DataFault::NotReached(fault), cx),
        }
    }

    /// The data connection has failed or is lost.
    fn data_failed(&mut self, fault: DataFault, cx: &mut Context<'_>) {
        cx.counters.ftp_data_failed.up();
        self.drop_data(Closing::Reset, cx);
        if self.transfer().is_some_and(|transfer| matches!(transfer.stage, Stage::Data(_))) {
            let no = Outcome::Refused(Refusal::DataConnection(fault));
            self.end_transfer(no, Code::NO_DATA_CONNECTION, &text(fault), cx);
        }
    }

    /// The data connection cannot be used: its TLS session is another client's, or it is not
    /// secured.
    pub(super) fn refuse_data(&mut self, fault: DataFault, cx: &mut Context<'_>) {
        cx.counters.ftp_data_failed.up();
        if let Some(data) = &mut self.data {
            data.closing = Closing::Reset;
        }
        let no = Outcome::Refused(Refusal::DataConnection(fault));
        self.end_transfer(no, Code::NO_DATA_CONNECTION, &text(fault), cx);
    }

    /// The data connection is secured.
    pub(super) fn handle_data_secured(&mut self, resumes: Option<Mark>, cx: &mut Context<'_>) {
        if let Some(data) = &mut self.data {
            data.tls = Tls::Secured;
        }
        if resumes.is_some_and(|mark| mark != self.mark()) {
            cx.counters.ftp_bounces.up();
            return self.refuse_data(DataFault::OtherSession, cx);
        }
        self.keep_moving(cx);
    }

    /// The data connection brings nothing more.
    pub(super) fn handle_data_end(&mut self, cx: &mut Context<'_>) {
        // Before the handshake is complete there is no data that could end.
        let is_open = self.data.as_ref().is_some_and(DataConnection::is_ready);
        if is_open && self.is_receiving() {
            self.taken(cx);
        } else {
            self.handle_data_broken(Outcome::Aborted(Abort::Disconnected), cx);
        }
    }

    /// The data connection broke, or was closed too early.
    pub(super) fn handle_data_broken(&mut self, outcome: Outcome, cx: &mut Context<'_>) {
        let Some(data) = &mut self.data else { return };
        data.closing = Closing::Reset;
        let is_hit = self.transfer().is_some_and(|transfer| match &transfer.stage {
            // Nothing is missing any more.
            Stage::Moving(Way::In(sink)) if sink.ended => false,
            Stage::Data(_) | Stage::Moving(_) => true,
            Stage::Identity | Stage::Slot | Stage::Opening | Stage::Storing | Stage::Closing => {
                false
            }
        });
        if is_hit {
            self.data_lost(outcome, cx);
        }
    }

    /// The client has not acknowledged so many of all sent bytes.
    pub(super) fn handle_unacknowledged(&mut self, bytes: u64, cx: &mut Context<'_>) {
        let Some(data) = &mut self.data else { return };
        data.arrivals.note(bytes, cx.now);
        if std::mem::take(&mut data.arrivals.needs_measure) {
            self.go_on_or_give_up(cx);
        }
    }

    /// The socket of the data connection is closed.
    pub(super) fn handle_data_closed(&mut self, cx: &mut Context<'_>) {
        if let Some(mut data) = self.data.take() {
            data.free_port(cx);
            self.data_closed(cx);
        }
    }

    /// The deadline of the data connection may have come.
    pub(super) fn data_due(&mut self, id: ConnectionId, cx: &mut Context<'_>) {
        let Some(data) = self.data.as_mut().filter(|data| data.id == id) else { return };
        if !data.deadline.is_due(cx.now, id, &mut cx.shared.timers) {
            return;
        }
        cx.shared.ready.push_back(id);
        match data.stage {
            DataStage::Wanted | DataStage::Planned(_) | DataStage::Open => {}
            DataStage::Awaited(port) => {
                let fault = match cx.shared.never_came.note(self.peer.ip()) {
                    true => DataFault::NetworkNeverComes(port),
                    false => DataFault::NeverCame(port),
                };
                self.data_failed(fault, cx);
            }
            DataStage::Dialing => {
                self.data_failed(DataFault::NotReached(DialFault::Silent), cx);
            }
        }
    }

    /// Releases the data connection.
    pub(super) fn drop_data(&mut self, how: Closing, cx: &mut Context<'_>) {
        let Some(mut data) = self.data.take() else { return };
        data.free_port(cx);
        let change = match data.stage {
            // The socket is closed first. A flushing close goes on.
            DataStage::Open | DataStage::Dialing => {
                let how = if data.closing == Closing::InPeace { data.closing } else { how };
                cx.shared.ready.push_back(data.id);
                RowChange::Close(data.id, how, data.deadline)
            }
            DataStage::Wanted | DataStage::Awaited(_) => {
                cx.shared.data_commands.push_back(DataCommand::Shut { data: data.id });
                RowChange::Remove(data.id)
            }
            DataStage::Planned(_) => RowChange::Remove(data.id),
        };
        cx.shared.changes.push_back(change);
    }

    /// Returns what to do with the socket of the data connection next.
    pub(super) fn next_of_data(&mut self) -> Next {
        let transfer = match &self.state {
            SessionState::Busy(job) => match &job.pending {
                Pending::Transfer(transfer) => Some(transfer),
                Pending::Port { .. } | Pending::Login { .. } | Pending::Operation(_) => None,
            },
            SessionState::Idle
            | SessionState::StartingTls
            | SessionState::Closing
            | SessionState::Over
            | SessionState::Stuck => None,
        };
        let Some(data) = &mut self.data else { return Next::Close };
        match (data.closing, data.stage) {
            (Closing::InPeace | Closing::Reset, _) => return data.closing.next(),
            (Closing::Never, DataStage::Open) => {}
            (
                Closing::Never,
                DataStage::Wanted
                | DataStage::Awaited(_)
                | DataStage::Planned(_)
                | DataStage::Dialing,
            ) => return Next::Wait,
        }
        if data.arrivals.needs_measure {
            return Next::Measure;
        }
        let Some(Stage::Moving(way)) = transfer.map(|transfer| &transfer.stage) else {
            return Next::Wait;
        };
        match (way, data.tls) {
            (_, Tls::Wanted) => {
                data.tls = Tls::Handshaking;
                Next::StartTls
            }
            (_, Tls::Handshaking) => Next::Read,
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

    /// Returns what the data connection sends next.
    pub(super) fn outgoing_data(&self) -> Outgoing<'_> {
        match self.transfer().map(|transfer| &transfer.stage) {
            Some(Stage::Moving(Way::Out(source))) => {
                Outgoing { head: &[], payload: source.payload(), is_last: false }
            }
            Some(_) | None => Outgoing::EMPTY,
        }
    }

    /// Returns whether the client sends a file.
    pub(super) fn is_receiving(&self) -> bool {
        let stage = self.transfer().map(|transfer| &transfer.stage);
        matches!(stage, Some(Stage::Moving(Way::In(_))))
    }
}

impl DataConnection {
    /// Sets the deadline for it to open.
    pub(super) fn allow_time(&mut self, cx: &mut Context<'_>) {
        let until = cx.now + cx.snapshot.policy.ftp.limits.data_timeout;
        self.deadline.set(Some(until), self.id, &mut cx.shared.timers);
    }

    /// Returns whether bytes of a file may be sent on it, as far as TLS is concerned.
    pub(super) fn is_ready(&self) -> bool {
        matches!(self.tls, Tls::None | Tls::Secured)
    }

    /// It has come, or is no longer expected.
    fn free_port(&mut self, cx: &mut Context<'_>) {
        if let Some(owner) = self.port_of.take() {
            cx.shared.free_port(owner);
            if matches!(owner, PortOwner::Stranger(_)) {
                cx.admission.slots.free_strangers_port();
            }
        }
    }
}

impl Closing {
    pub(super) fn next(self) -> Next {
        match self {
            Closing::Never => Next::Wait,
            Closing::InPeace => Next::Close,
            Closing::Reset => Next::Reset,
        }
    }
}

/// Returns the reply's text.
pub(super) fn text(fault: DataFault) -> String {
    match fault {
        DataFault::NeverCame(port) | DataFault::NetworkNeverComes(port) => format!(
            "The data connection never came to port {port}: a firewall or NAT between may not let \
             it through."
        ),
        DataFault::NotReached(_)
        | DataFault::NoPort
        | DataFault::AddressPorts
        | DataFault::StrangerPort
        | DataFault::StrangersPorts
        | DataFault::NoSocket
        | DataFault::Lost
        | DataFault::Handshake(_)
        | DataFault::OtherSession
        | DataFault::Elsewhere(_) => capital(fault.words()),
    }
}
