//! FTP as a service: its sessions, the passive data ports, and active data connections.
//!
//! Accepts only the client that the session expects, once; decides nothing.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;

use mio::event::Event;
use mio::net::{TcpListener, TcpStream};
use mio::{Interest, Registry, Token};
use socket2::{Domain, Protocol, SockRef, Socket, Type};

use crate::net::service::Service;
use crate::net::services::Sockets;
use crate::net::stream::orphans::SocketTerms;
use crate::net::stream::{Streams, TOKENS_MAX};
use crate::sys::sockets;
use engine::metrics::Counters;
use engine::policy::snapshot::Policy;
use engine::requests::{StoreReply, StoreRequest};
use engine::session::ftp::{DataCommand, Engine};
use engine::session::snmp::{IdentityError, PhoneIdentity};
use engine::session::stream::{ConnectionId, Connections as _, DialFault};
use engine::session::{DataFault, Record, TurnContext};
use engine::ticket::Ticket;
use wire::time::Instant;

/// Ports that are tried before the range counts as exhausted.
const TRIES_MAX: usize = 64;
/// Connections that may wait at a passive port: one is accepted, and strangers do not keep it out.
const BACKLOG: i32 = 8;
/// Most repetitions in a turn if new work follows from finished work; the rest waits for the next
/// turn.
const ROUNDS_MAX: usize = 16;
/// Most strangers refused at a passive port in one turn.
const STRANGERS_MAX: usize = 16;
/// A passive port that awaits a data connection.
struct PassivePort {
    data: ConnectionId,
    socket: TcpListener,
}

/// The FTP server of one worker with its sockets.
struct Ftp {
    streams: Streams<Engine>,
    /// The first token of the passive ports.
    tokens: usize,
    /// The passive ports, by the slot of their data connection.
    doors: HashMap<u32, PassivePort>,
    /// Passive ports with events.
    knocked: Vec<u32>,
    passive_ports: RangeInclusive<u16>,
    active_port: u16,
    /// The state that chooses the next port.
    random: u64,
    registry: Registry,
}

/// Serves the FTP listeners.
///
/// # Errors The system's error if a socket cannot be polled.
pub(crate) fn start(
    sockets: &mut Sockets,
    tokens: usize,
    registry: &Registry,
) -> io::Result<Box<dyn Service>> {
    let listeners = sockets.take_streams(&[engine::protocol::Protocol::Ftp]);
    for listener in &listeners {
        // Clients send the last byte of ABOR as urgent; connections inherit this option from their
        // listener.
        SockRef::from(&listener.socket).set_out_of_band_inline(true)?;
    }
    Ok(Box::new(Ftp {
        streams: Streams::new(Engine::default(), tokens, listeners, registry.try_clone()?)?,
        tokens,
        doors: HashMap::new(),
        knocked: Vec::new(),
        passive_ports: 0..=0,
        active_port: 0,
        random: 0,
        registry: registry.try_clone()?,
    }))
}

impl Service for Ftp {
    fn note(&mut self, event: &Event) {
        if self.streams.owns(event.token()) {
            return self.streams.note(event);
        }
        let place = event.token().0 - self.tokens - TOKENS_MAX;
        self.knocked.push(place as u32);
    }

    fn adopt(&mut self, policy: &Policy, _workers: usize) {
        let policy = &policy.ftp;
        self.passive_ports = policy.passive_ports.clone();
        self.active_port = policy.active_port;
        let silence_max = policy.limits.stall_timeout;
        self.streams.adopt(SocketTerms { silence_max, ..SocketTerms::default() });
        self.streams.engine.adopt(policy);
    }

    fn is_busy(&self) -> bool {
        self.streams.is_busy()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.streams.poll_timeout()
    }

    fn drain(&mut self, turn: &mut TurnContext<'_>) {
        self.streams.engine.stop(turn);
    }

    /// Receives data connections, new sessions, and data of existing sessions.
    fn receive(&mut self, turn: &mut TurnContext<'_>) {
        for row in std::mem::take(&mut self.knocked) {
            self.accept_data(row, turn);
        }
        self.streams.receive(turn);
    }

    fn handle_store_reply(&mut self, reply: StoreReply, turn: &mut TurnContext<'_>) {
        self.streams.engine.handle_store_reply(reply, turn);
    }

    fn handle_granted(&mut self, ticket: Ticket, turn: &mut TurnContext<'_>) {
        self.streams.engine.handle_granted(ticket, turn);
    }

    fn handle_expired(&mut self, ticket: Ticket, turn: &mut TurnContext<'_>) {
        self.streams.engine.handle_expired(ticket, turn);
    }

    fn handle_identity(
        &mut self,
        phone: IpAddr,
        identity: &Result<PhoneIdentity, IdentityError>,
        turn: &mut TurnContext<'_>,
    ) {
        self.streams.engine.handle_identity(phone, identity, turn);
    }

    fn handle_timeout(&mut self, turn: &mut TurnContext<'_>) {
        self.streams.engine.handle_timeout(turn);
    }

    /// Continues with the store's answers, and sends a bounded part of large transfers.
    fn send(&mut self, turn: &mut TurnContext<'_>) {
        for _ in 0..ROUNDS_MAX {
            self.streams.engine.resume(turn);
            while let Some(door) = self.streams.engine.poll_data_command() {
                self.open(door, turn);
            }
            self.streams.send(turn);
            if !self.streams.engine.has_ready() {
                break;
            }
        }
    }

    fn poll_store_request(&mut self) -> Option<StoreRequest> {
        self.streams.engine.poll_store_request()
    }

    fn handle_refused(&mut self, request: StoreRequest, turn: &mut TurnContext<'_>) {
        self.streams.engine.handle_refused(request, turn);
    }

    fn poll_record(&mut self) -> Option<Record> {
        self.streams.engine.poll_record()
    }

    fn transfers_open(&self) -> usize {
        self.streams.engine.transfers_open()
    }

    fn show_stats(&self, counters: &Counters) {
        counters.ftp_sessions_open.set(self.streams.engine.sessions_open() as u64);
        counters.ftp_uploads_held_bytes.set(self.streams.engine.uploads_held());
    }

    fn abandon(&mut self, turn: &mut TurnContext<'_>) {
        self.streams.engine.abandon(turn);
    }
}

impl Ftp {
    fn open(&mut self, door: DataCommand, turn: &mut TurnContext<'_>) {
        match door {
            DataCommand::Await { data, control } => {
                let at = self.streams.local_address(control);
                let result = at.ok_or(DataFault::NoSocket);
                let result = result.and_then(|at| self.listen_passive(data, at));
                self.streams.engine.handle_awaited(data, result, turn);
            }
            DataCommand::Dial { data, control, to } => {
                let Some(listener) = self.streams.engine.listener_of(data) else { return };
                let from = self.streams.local_address(control);
                let from = from.map(|local| beside(local, self.active_port));
                match from.map(|from| dial(plain(from), plain(on_link_of(to, from)))) {
                    Some(Ok(stream)) => self.streams.insert(data, listener, stream, true),
                    Some(Err(_)) | None => {
                        let fault = DialFault::Other;
                        self.streams.engine.handle_dialed(data, Err(fault), turn);
                        self.streams.engine.handle_closed(data, turn);
                    }
                }
            }
            DataCommand::Shut { data } => {
                if self.doors.get(&data.row).is_some_and(|door| door.data == data) {
                    self.doors.remove(&data.row);
                }
            }
        }
    }

    /// Listens at a free port of the range, from a random one on, so that it cannot be guessed.
    fn listen_passive(
        &mut self,
        data: ConnectionId,
        local: SocketAddr,
    ) -> Result<SocketAddr, DataFault> {
        let (low, high) = (*self.passive_ports.start(), *self.passive_ports.end());
        let count = u64::from(high - low) + 1;
        let mut seed = [0; 8];
        if getrandom(&mut seed) {
            self.random = u64::from_le_bytes(seed);
        }
        for _ in 0..TRIES_MAX {
            self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let port = low + ((self.random >> 33) % count) as u16;
            let at = beside(local, port);
            match listen(at) {
                Ok(mut socket) => {
                    let token = Token(self.tokens + TOKENS_MAX + data.row as usize);
                    let watched = self.registry.register(&mut socket, token, Interest::READABLE);
                    watched.map_err(|_| DataFault::NoSocket)?;
                    self.doors.insert(data.row, PassivePort { data, socket });
                    return Ok(at);
                }
                Err(fault) if fault.kind() == io::ErrorKind::AddrInUse => {}
                Err(_) => return Err(DataFault::NoSocket),
            }
        }
        Err(DataFault::NoPort)
    }

    /// Accepts the connection of the session's client, and closes the port.
    fn accept_data(&mut self, row: u32, turn: &mut TurnContext<'_>) {
        for _ in 0..STRANGERS_MAX {
            let Some(door) = self.doors.get(&row) else { return };
            let data = door.data;
            let (stream, peer) = match door.socket.accept() {
                Ok(accepted) => accepted,
                Err(fault) if fault.kind() == io::ErrorKind::WouldBlock => return,
                // Perhaps no descriptor is left: there may be one later.
                Err(_) => break,
            };
            let engine = &mut self.streams.engine;
            let Some(listener) = engine.listener_of(data) else {
                self.doors.remove(&row);
                return;
            };
            if engine.handle_data_connected(data, peer, turn) {
                self.doors.remove(&row);
                self.streams.insert(data, listener, stream, false);
                return;
            }
        }
        self.knocked.push(row);
    }
}

fn getrandom(into: &mut [u8]) -> bool {
    aws_lc_rs::rand::fill(into).is_ok()
}

/// Returns another port of the same address, on the same link.
fn beside(mut local: SocketAddr, port: u16) -> SocketAddr {
    local.set_port(port);
    local
}

/// Returns an address as it is reached from here: a link-local one needs the link.
fn on_link_of(mut to: SocketAddr, local: SocketAddr) -> SocketAddr {
    if let (SocketAddr::V6(to), SocketAddr::V6(local)) = (&mut to, local) {
        to.set_scope_id(local.scope_id());
    }
    to
}

/// Returns an IPv4-mapped address as IPv4.
fn plain(address: SocketAddr) -> SocketAddr {
    match address.ip().to_canonical() {
        ip @ IpAddr::V4(_) => SocketAddr::new(ip, address.port()),
        IpAddr::V6(_) => address,
    }
}

fn listen(at: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(at), Type::STREAM, Some(Protocol::TCP))?;
    if at.is_ipv6() {
        socket.set_only_v6(matches!(at.ip(), IpAddr::V6(ip) if ip.to_ipv4_mapped().is_none()))?;
    }
    // A port of an earlier connection can be used again at once.
    sockets::rebind(&socket)?;
    socket.set_nonblocking(true)?;
    socket.bind(&at.into())?;
    socket.listen(BACKLOG)?;
    Ok(TcpListener::from_std(socket.into()))
}

fn dial(from: SocketAddr, to: SocketAddr) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, Some(Protocol::TCP))?;
    // Many connections to different clients may leave from one port.
    sockets::rebind(&socket)?;
    socket.set_nonblocking(true)?;
    socket.bind(&from.into())?;
    match socket.connect(&to.into()) {
        Err(fault) if !sockets::is_connecting(&fault) => return Err(fault),
        Ok(()) | Err(_) => {}
    }
    socket.set_tcp_nodelay(true)?;
    Ok(TcpStream::from_std(socket.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_data_connection_stays_on_the_link_of_its_session() {
        let local = address("[fe80::1%3]:21");
        assert_eq!(beside(local, 50_000), address("[fe80::1%3]:50000"));
        assert_eq!(on_link_of(address("[fe80::9]:2000"), local), address("[fe80::9%3]:2000"));
        let mapped = address("[::ffff:10.0.0.1]:21");
        assert_eq!(plain(beside(mapped, 0)), address("10.0.0.1:0"));
        let phone = address("10.0.0.2:2000");
        assert_eq!(plain(on_link_of(phone, mapped)), phone);
    }
}
