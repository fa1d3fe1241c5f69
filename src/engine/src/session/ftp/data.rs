//! Data connections: awaited or made, only ever from and to the client of the session (RFC 2577).
//!
//! Says what sockets are to do, by [`Door`]s; moves no byte of a file.

use std::net::{IpAddr, SocketAddr, SocketAddrV4};

use crate::session::arrivals::Arrivals;
use crate::session::ftp::engine::Engine;
use crate::session::ftp::judge::capital;
use crate::session::ftp::session::{Closing, Connection, Data, DataStage, Stage, State, Tls, What};
use crate::session::stream::{ConnectionId, DialFault};
use crate::session::timer::Deadline;
use crate::session::{DataFault, Outcome, Refusal, Turn};
use wire::ftp::address;
use wire::ftp::command::Epsv;
use wire::ftp::reply::Code;

/// Ports below are other services' (RFC 2577, 3).
const CLIENT_PORT_MIN: u16 = 1_024;

/// What is to be done for a data connection that is not there yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// Await one connection from this client, at the address that it speaks to.
    /// [`Engine::handle_awaited`] wants to know where.
    Await {
        /// The data connection.
        data: ConnectionId,
        /// The session's.
        control: ConnectionId,
    },
    /// Connect from the address that the client speaks to.
    Dial {
        /// The data connection.
        data: ConnectionId,
        /// The session's.
        control: ConnectionId,
        /// Where the client waits.
        to: SocketAddr,
    },
    /// Await it no longer.
    Shut {
        /// The data connection.
        data: ConnectionId,
    },
}

impl Engine {
    /// `PASV` and `EPSV`.
    pub(super) fn listen(&mut self, id: ConnectionId, extended: Option<Epsv>, turn: &mut Turn<'_>) {
        let Some(session) = self.session_mut(id) else { return };
        let peer = session.peer.ip().to_canonical();
        match extended {
            Some(Epsv::All) => {
                session.epsv_all = true;
                return self.reply(id, Code::OK, "From now on EPSV alone.");
            }
            Some(Epsv::V4) if !peer.is_ipv4() => {
                return self.reply(id, Code::NETWORK_NOT_SERVED, "Use 2 for IPv6 (2).");
            }
            Some(Epsv::V6) if !peer.is_ipv6() => {
                return self.reply(id, Code::NETWORK_NOT_SERVED, "Use 1 for IPv4 (1).");
            }
            None if session.epsv_all => return self.refuse_epsv_all(id),
            None if !peer.is_ipv4() => {
                return self.reply(id, Code::NO_DATA_CONNECTION, "PASV is for IPv4; say EPSV.");
            }
            Some(Epsv::Same | Epsv::V4 | Epsv::V6) | None => {}
        }
        if !self.may_have_data(id, true, turn) {
            return;
        }
        let Some(data) = self.plan(id, DataStage::Wanted, turn) else { return };
        self.take_port(data, turn);
        self.doors.push_back(Door::Await { data, control: id });
        self.take_up(id, What::Port { extended: extended.is_some() }, None);
    }

    /// `PORT` and `EPRT`.
    pub(super) fn port(&mut self, id: ConnectionId, to: SocketAddr, turn: &mut Turn<'_>) {
        let Some(session) = self.session(id) else { return };
        if session.epsv_all {
            return self.refuse_epsv_all(id);
        }
        let to = SocketAddr::new(to.ip().to_canonical(), to.port());
        if to.is_ipv4() != session.peer.ip().to_canonical().is_ipv4() {
            let text = if to.is_ipv4() { "Use 2 for IPv6 (2)." } else { "Use 1 for IPv4 (1)." };
            return self.reply(id, Code::NETWORK_NOT_SERVED, text);
        }
        if !turn.snapshot.policy.ftp.active {
            let text = "Say PASV or EPSV: this server never calls.";
            return self.reply(id, Code::NOT_SERVED, text);
        }
        let text = match () {
            () if to.ip() != session.peer.ip().to_canonical() => {
                turn.counters.ftp_bounces.up();
                "Data goes to your own address alone."
            }
            () if to.port() < CLIENT_PORT_MIN => {
                turn.counters.ftp_bounces.up();
                "Data goes to ports from 1024 on alone."
            }
            () if !self.may_have_data(id, false, turn) => return,
            () => {
                self.plan(id, DataStage::Planned(to), turn);
                return self.reply(id, Code::OK, "Data will be sent there.");
            }
        };
        self.note_data_fault(id, DataFault::Elsewhere(to), turn);
        self.reply(id, Code::BAD_ARGUMENT, text);
    }

    fn refuse_epsv_all(&mut self, id: ConnectionId) {
        self.reply(id, Code::BAD_ARGUMENT, "You said EPSV ALL: nothing but EPSV is served now.");
    }

    /// Sets a data connection up in place of the one before.
    fn plan(
        &mut self,
        id: ConnectionId,
        stage: DataStage,
        turn: &Turn<'_>,
    ) -> Option<ConnectionId> {
        self.drop_data(id, Closing::InPeace);
        let listener = self.session(id)?.listener;
        let data = self.connections.insert(Box::new(Connection::Data(Data {
            control: id,
            listener,
            stage,
            port_of: None,
            tls: Tls::None,
            closing: Closing::No,
            deadline: Deadline::default(),
            arrivals: Arrivals::default(),
        })));
        self.session_mut(id)?.data = Some(data);
        self.await_data(data, turn);
        Some(data)
    }

    /// The data connection has so long from now on to be there.
    pub(super) fn await_data(&mut self, id: ConnectionId, turn: &Turn<'_>) {
        let until = turn.now + turn.snapshot.policy.ftp.limits.data_timeout;
        self.set_deadline(id, Some(until));
    }

    /// A port is open for a data connection, or none could be had.
    pub fn handle_awaited(
        &mut self,
        id: ConnectionId,
        result: Result<SocketAddr, DataFault>,
        turn: &mut Turn<'_>,
    ) {
        let Some(data) = self.data_mut(id) else { return };
        let control = data.control;
        if let Ok(at) = result {
            data.stage = DataStage::Awaited(at.port());
        }
        let Some(session) = self.session(control) else { return };
        let State::Busy(job) = &session.state else { return };
        let What::Port { extended } = job.what else { return };
        let (peer, has_this) = (session.peer.ip().to_canonical(), session.data == Some(id));
        if !has_this {
            return;
        }
        self.conclude(control, Outcome::Done, turn);
        match result {
            Ok(at) => {
                let masquerade = self.masquerade(peer, at.ip().to_canonical(), turn);
                let Some(session) = self.session_mut(control) else { return };
                match (extended, masquerade) {
                    (false, IpAddr::V4(ip)) => {
                        address::write_pasv(&mut session.out, SocketAddrV4::new(ip, at.port()));
                    }
                    (true, _) | (false, IpAddr::V6(_)) => {
                        address::write_epsv(&mut session.out, at.port());
                    }
                }
            }
            Err(fault) => {
                turn.counters.ftp_data_failed.up();
                self.note_data_fault(control, fault, turn);
                self.drop_data(control, Closing::Reset);
                self.reply(control, Code::NO_DATA_CONNECTION, &text(fault));
            }
        }
    }

    /// What this server is called by a client.
    fn masquerade(&self, peer: IpAddr, here: IpAddr, turn: &Turn<'_>) -> IpAddr {
        let rows = &turn.snapshot.policy.ftp.passive_addresses;
        rows.iter().find(|(net, _)| net.contains(&peer)).map_or(here, |(_, address)| *address)
    }

    /// Whether a data connection from there is the one that is awaited; if so, it is there now.
    pub fn handle_data_connected(
        &mut self,
        id: ConnectionId,
        from: SocketAddr,
        turn: &mut Turn<'_>,
    ) -> bool {
        let Some(control) = self.data(id).map(|data| data.control) else { return false };
        let Some(session) = self.session(control) else { return false };
        if session.peer.ip().to_canonical() != from.ip().to_canonical() {
            turn.counters.ftp_bounces.up();
            return false;
        }
        self.never_came.forget(from.ip());
        self.data_is_there(id, turn);
        true
    }

    fn data_is_there(&mut self, id: ConnectionId, turn: &mut Turn<'_>) {
        let Some(data) = self.data_mut(id) else { return };
        data.stage = DataStage::Open;
        let control = data.control;
        self.free_port(id);
        self.set_deadline(id, None);
        turn.counters.ftp_data_connections.up();
        self.move_on(control, turn);
    }

    /// The listener that a data connection belongs to.
    #[must_use]
    pub fn listener_of(&self, id: ConnectionId) -> Option<crate::session::stream::ListenerId> {
        self.data(id).map(|data| data.listener)
    }

    pub(super) fn dialed(
        &mut self,
        id: ConnectionId,
        result: Result<(), DialFault>,
        turn: &mut Turn<'_>,
    ) {
        match result {
            Ok(()) => self.data_is_there(id, turn),
            Err(fault) => self.data_failed(id, DataFault::NotReached(fault), turn),
        }
    }

    /// A data connection will never be there, or is lost.
    pub(super) fn data_failed(&mut self, id: ConnectionId, fault: DataFault, turn: &mut Turn<'_>) {
        let Some(control) = self.data(id).map(|data| data.control) else { return };
        turn.counters.ftp_data_failed.up();
        let is_wanted = self.session(control).is_some_and(|session| {
            session.data == Some(id) && session.transfer().is_some_and(awaits_data)
        });
        self.discard_data(id, Closing::Reset);
        if is_wanted {
            let no = Outcome::Refused(Refusal::DataConnection(fault));
            self.end_transfer(control, no, Code::NO_DATA_CONNECTION, &text(fault), turn);
        }
    }

    fn note_data_fault(&mut self, control: ConnectionId, fault: DataFault, turn: &Turn<'_>) {
        if let Some(peer) = self.session(control).map(|session| session.peer) {
            self.note_lone(peer, Refusal::DataConnection(fault), turn);
        }
    }

    /// The time of a data connection is up.
    pub(super) fn data_due(&mut self, id: ConnectionId, turn: &mut Turn<'_>) {
        let Some(data) = self.data(id) else { return };
        match data.stage {
            DataStage::Wanted | DataStage::Planned(_) | DataStage::Open => {}
            DataStage::Awaited(port) => {
                let client = self.session(data.control).map(|session| session.peer.ip());
                let fault = match client.is_some_and(|client| self.never_came.note(client)) {
                    true => DataFault::NetworkNeverComes(port),
                    false => DataFault::NeverCame(port),
                };
                self.data_failed(id, fault, turn);
            }
            DataStage::Dialing => {
                let fault = DataFault::NotReached(DialFault::Silent);
                self.data_failed(id, fault, turn);
            }
        }
    }

    /// Lets the data connection of a session go.
    pub(super) fn drop_data(&mut self, control: ConnectionId, how: Closing) {
        let data = self.session_mut(control).and_then(|session| session.data.take());
        if let Some(data) = data {
            self.discard_data(data, how);
        }
    }

    pub(super) fn discard_data(&mut self, id: ConnectionId, how: Closing) {
        let Some((stage, control)) = self.data(id).map(|data| (data.stage, data.control)) else {
            return;
        };
        self.free_port(id);
        match stage {
            // The socket is closed first.
            DataStage::Open | DataStage::Dialing => {
                if let Some(data) = self.data_mut(id) {
                    data.closing = how;
                }
                self.ready.push_back(id);
            }
            DataStage::Wanted | DataStage::Awaited(_) => {
                self.connections.remove(id);
                self.doors.push_back(Door::Shut { data: id });
            }
            DataStage::Planned(_) => {
                self.connections.remove(id);
            }
        }
        if let Some(session) = self.session_mut(control)
            && session.data == Some(id)
        {
            session.data = None;
        }
    }
}

/// What the client is told.
pub(super) fn text(fault: DataFault) -> String {
    match fault {
        DataFault::NeverCame(port) | DataFault::NetworkNeverComes(port) => format!(
            "The data connection never came to port {port}: a firewall or NAT between may not let \
             it through."
        ),
        DataFault::NotReached(_)
        | DataFault::NoPort
        | DataFault::TooManyPorts
        | DataFault::NoSocket
        | DataFault::Lost
        | DataFault::Handshake(_)
        | DataFault::OtherSession
        | DataFault::Elsewhere(_) => capital(fault.words()),
    }
}

fn awaits_data(transfer: &super::session::Transfer) -> bool {
    matches!(transfer.stage, Stage::Data(_))
}
