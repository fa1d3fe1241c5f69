//! The engines of HTTP and FTP as one simulated server: one disk, one admission, one turn for all.
//!
//! Does what a worker's loop does, in the same order, without its sockets.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use super::bug::Bug;
use super::disk::{Asker, Disk, DiskTerms};
use super::network::{LineId, Network, Side};
use super::sockets::Sockets;
use crate::random::Random;
use engine::admission::Admission;
use engine::admission::access::{List, NamedList, Range};
use engine::admission::slots::{Address, SharedSlots};
use engine::catalog::RootId;
use engine::metrics::Counters;
use engine::policy::snapshot::{Policy, Snapshot};
use engine::protocol::Protocol;
use engine::session::ftp::{self, DataCommand};
use engine::session::snmp::SnmpClient;
use engine::session::stream::{ConnectionId, Connections as _, ListenerId};
use engine::session::{Outcome, Record, Refusal, TurnContext, http};
use engine::settings::ftp::FtpListener;
use engine::settings::http::HttpListener;
use engine::ticket::TicketOwner;
use engine::vault::request::{Auth, Unknown, VaultPolicy};
use engine::vault::upload::{OnExists, Rule, Rules};
use wire::time::{Duration, Instant};

const IP: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
/// Where HTTP is asked.
pub const HTTP: SocketAddr = SocketAddr::new(IP, 80);
/// Where FTP is asked.
pub const FTP: SocketAddr = SocketAddr::new(IP, 21);
/// The first of the ports at which data connections are awaited.
const PASSIVE_PORT: u16 = 50_000;
/// The second of the calendar at which a world begins.
const BEGINS_S: u64 = 1_700_000_000;
/// Most rounds of FTP's commands in a turn, as in the loop.
const ROUNDS_MAX: usize = 64;
/// Longest time from the first news to the turn that handles them.
const NAP_MAX: Duration = Duration::from_micros(300);

/// The settings of these worlds: one root, a vault for all, rules for uploads, phones in 10/8.
#[must_use]
pub fn policy() -> Policy {
    let mut policy = Policy::default();
    let vault = Arc::new(VaultPolicy {
        dir: "vault".into(),
        prefixes: vec![(*b"").into()],
        auth: Auth::Open,
        bytes_max: 1 << 20,
        versions_max: 20,
        age_max: Duration::from_secs(1_000_000),
        archive: None,
        unknown: Unknown::Refuse,
        bounds: engine::vault::bounds::VaultBounds::default(),
    });
    policy.http.listeners = vec![HttpListener {
        address: HTTP,
        protocol: Protocol::Http,
        stack: vec![RootId(0)],
        vault: true,
        acme: None,
    }];
    policy.http.vault = Some(Arc::clone(&vault));
    policy.ftp.listeners = vec![FtpListener { address: FTP, implicit: false, tls: false }];
    policy.ftp.stack = vec![RootId(0)];
    policy.ftp.vault = Some(vault);
    policy.ftp.trusted_networks = "10.0.0.0/8".parse().into_iter().collect();
    let rules = [("*.log", OnExists::Append), ("*.cal", OnExists::Replace)];
    let rules = rules.into_iter().filter_map(|(name, on)| Rule::new(name, 0, 1 << 20, on).ok());
    policy.uploads = Rules(rules.collect());
    let list = List::new(Range::parse("10"));
    let list = Arc::new(NamedList { name: "list".into(), list });
    policy.access.limit(Protocol::Http, Arc::clone(&list));
    policy.access.limit(Protocol::Ftp, list);
    policy
}

/// What the engines decide by.
struct Surroundings {
    snapshot: Snapshot,
    admission: Admission,
    snmp: SnmpClient,
    counters: Counters,
}

impl Surroundings {
    fn turn(&mut self, now: Instant) -> TurnContext<'_> {
        TurnContext {
            snapshot: &self.snapshot,
            admission: &mut self.admission,
            snmp: &mut self.snmp,
            counters: &self.counters,
            now,
            unix_s: BEGINS_S + now.as_micros() / 1_000_000,
        }
    }
}

/// The engines and everything around them.
pub struct Server {
    http: Sockets<http::Engine>,
    ftp: Sockets<ftp::Engine>,
    /// What is kept.
    pub disk: Disk,
    around: Surroundings,
    /// Where data connections are awaited.
    doors: BTreeMap<u16, ConnectionId>,
    next_port: u16,
    /// Connections that the server has not accepted yet.
    accepts: Vec<LineId>,
    /// Connections made from here that have their answer.
    answered: Vec<(LineId, bool)>,
    turn_at: Option<Instant>,
    bug: Option<Bug>,
    random: Random,
    /// Requests that were refused for want of a slot.
    refused: Vec<IpAddr>,
}

impl Server {
    /// A server with these settings, whose disk is empty.
    #[must_use]
    pub fn new(policy: Policy, terms: DiskTerms, bug: Option<Bug>, seed: u64) -> Server {
        let shared = Arc::new(SharedSlots::new(1));
        let mut admission = Admission::new(0, shared, Arc::clone(&policy.rate_limits));
        admission.slots.adopt(&policy.slots);
        let mut random = Random::new(seed);
        let mut sessions = ftp::Engine::default();
        sessions.add_listener(FTP, Protocol::Ftp);
        sessions.adopt(&policy.ftp);
        let mut connections = http::Engine::default();
        connections.add_listener(HTTP, Protocol::Http);
        connections.adopt(&policy.http);
        let mut fork = || Random::new(random.next_u64());
        Server {
            http: Sockets::new(connections, bug, fork()),
            ftp: Sockets::new(sessions, bug, fork()),
            disk: Disk::new(terms, bug, fork()),
            around: Surroundings {
                snapshot: Snapshot { policy: Arc::new(policy), ..Snapshot::default() },
                admission,
                snmp: SnmpClient::seeded(seed),
                counters: Counters::default(),
            },
            doors: BTreeMap::new(),
            next_port: 0,
            accepts: Vec::new(),
            answered: Vec::new(),
            turn_at: None,
            bug,
            random,
            refused: Vec::new(),
        }
    }

    /// Lets the engines see the files that there are now.
    pub fn publish(&mut self) {
        self.around.snapshot.catalog = self.disk.publish();
    }

    /// Whether somebody who calls there is heard, by the system or by a session.
    #[must_use]
    pub fn listens(&self, address: SocketAddr) -> bool {
        let is_listener = address == HTTP || address == FTP;
        is_listener || self.doors.contains_key(&address.port())
    }

    /// Somebody has connected.
    pub fn handle_called(&mut self, line: LineId, now: Instant) {
        self.accepts.push(line);
        self.wake(now);
    }

    /// A phone answers a connection that the server has opened, or does not.
    pub fn handle_answered(&mut self, line: LineId, is_taken: bool, now: Instant) {
        self.answered.push((line, is_taken));
        self.wake(now);
    }

    /// A connection has news.
    pub fn handle_news(&mut self, line: LineId, now: Instant) {
        self.http.note(line);
        self.ftp.note(line);
        self.wake(now);
    }

    fn wake(&mut self, now: Instant) {
        if self.turn_at.is_none() {
            self.turn_at = Some(now + self.random.time_below(NAP_MAX));
        }
    }

    /// When [`Server::turn`] wants to be called.
    #[must_use]
    pub fn next_at(&self) -> Option<Instant> {
        let timers = [self.http.engine.poll_timeout(), self.ftp.engine.poll_timeout()];
        let is_deaf = self.bug == Some(Bug::IgnoresDeadlines);
        let timers = timers.into_iter().flatten().filter(|_| !is_deaf);
        let timers = timers.chain(self.around.snmp.poll_timeout());
        let slots = self.around.admission.slots.poll_timeout();
        timers.chain(slots).chain(self.turn_at).chain(self.disk.next_at()).min()
    }

    /// One turn of the loop.
    pub fn turn(&mut self, network: &mut Network) {
        let now = network.now;
        self.turn_at = None;
        self.accept(network);
        let mut turn = self.around.turn(now);
        for (line, is_taken) in std::mem::take(&mut self.answered) {
            self.ftp.dialed(line, is_taken, network, &mut turn);
        }
        self.http.receive(network, &mut turn);
        self.ftp.receive(network, &mut turn);
        self.hear_disk(now);
        self.deal_slots(now);
        let mut turn = self.around.turn(now);
        if self.bug != Some(Bug::IgnoresDeadlines) {
            self.http.engine.handle_timeout(&mut turn);
            self.ftp.engine.handle_timeout(&mut turn);
        }
        self.around.snmp.handle_timeout(&self.around.counters, now);
        while let Some((phone, identity)) = self.around.snmp.poll_answer() {
            self.ftp.engine.handle_identity(phone, &identity, &mut self.around.turn(now));
        }
        let mut turn = self.around.turn(now);
        self.http.send(network, &mut turn);
        for _ in 0..ROUNDS_MAX {
            let mut turn = self.around.turn(now);
            self.ftp.engine.resume(&mut turn);
            while let Some(command) = self.ftp.engine.poll_data_command() {
                self.open(command, network);
            }
            let mut turn = self.around.turn(now);
            self.ftp.send(network, &mut turn);
            if !self.ftp.engine.has_ready() {
                break;
            }
        }
        self.ask_disk(now);
        let records = std::iter::from_fn(|| self.http.engine.poll_record());
        let records = records.chain(std::iter::from_fn(|| self.ftp.engine.poll_record()));
        let is_refused = |record: &Record| record.outcome == Outcome::Refused(Refusal::NoSlot);
        self.refused.extend(records.filter(is_refused).map(|record| record.peer.ip()));
        if self.http.is_busy() || self.ftp.is_busy() {
            self.wake(now);
        }
    }

    fn accept(&mut self, network: &mut Network) {
        for line in std::mem::take(&mut self.accepts) {
            let (peer, local) =
                (network.address(line, Side::Phone), network.address(line, Side::Server));
            let mut turn = self.around.turn(network.now);
            let listener = ListenerId(0);
            if local == HTTP || local == FTP {
                let id = match local == HTTP {
                    true => self.http.engine.handle_connected(peer, listener, &mut turn),
                    false => self.ftp.engine.handle_connected(peer, listener, &mut turn),
                };
                match id {
                    Some(id) if local == HTTP => self.http.insert(id, line, false),
                    Some(id) => self.ftp.insert(id, line, false),
                    None => network.close(line, Side::Server),
                }
                if self.bug == Some(Bug::SeatsStrangers) {
                    self.around.admission.slots.begin(peer.ip(), Address::Proven);
                }
                continue;
            }
            let Some(data) = self.doors.get(&local.port()).copied() else {
                network.reset(line, Side::Server);
                continue;
            };
            match self.ftp.engine.handle_data_connected(data, peer, &mut turn) {
                true => {
                    self.doors.remove(&local.port());
                    self.ftp.insert(data, line, false);
                }
                false => network.reset(line, Side::Server),
            }
        }
    }

    fn hear_disk(&mut self, now: Instant) {
        while let Some((asker, reply, is_changed)) = self.disk.poll_reply(now) {
            if is_changed {
                self.publish();
            }
            let mut turn = self.around.turn(now);
            match asker {
                Asker::Http => self.http.engine.handle_store_reply(reply, &mut turn),
                Asker::Ftp => self.ftp.engine.handle_store_reply(reply, &mut turn),
            }
        }
    }

    fn ask_disk(&mut self, now: Instant) {
        while let Some(request) = self.http.engine.poll_store_request() {
            if let Err(request) = self.disk.submit(Asker::Http, request, now) {
                self.http.engine.handle_refused(request, &mut self.around.turn(now));
            }
        }
        while let Some(request) = self.ftp.engine.poll_store_request() {
            if let Err(request) = self.disk.submit(Asker::Ftp, request, now) {
                self.ftp.engine.handle_refused(request, &mut self.around.turn(now));
            }
        }
    }

    fn deal_slots(&mut self, now: Instant) {
        if self.bug == Some(Bug::CutsHolds) {
            let mut limits = self.around.snapshot.policy.slots;
            limits.hold = Duration::ZERO;
            self.around.admission.slots.adopt(&limits);
        }
        while let Some(ticket) = self.around.admission.slots.poll_expired(now) {
            let mut turn = self.around.turn(now);
            match ticket.owner == TicketOwner::Ftp {
                true => self.ftp.engine.handle_expired(ticket, &mut turn),
                false => self.http.engine.handle_expired(ticket, &mut turn),
            }
        }
        while let Some(ticket) = self.around.admission.slots.poll_granted(now) {
            let mut turn = self.around.turn(now);
            match ticket.owner == TicketOwner::Ftp {
                true => self.ftp.engine.handle_granted(ticket, &mut turn),
                false => self.http.engine.handle_granted(ticket, &mut turn),
            }
        }
    }

    /// Executes the commands for the sockets of data connections.
    fn open(&mut self, command: DataCommand, network: &mut Network) {
        let now = network.now;
        match command {
            DataCommand::Await { data, control } => {
                self.next_port = (self.next_port + 1) % 10_000;
                let at = SocketAddr::new(IP, PASSIVE_PORT + self.next_port);
                if self.ftp.line(control).is_some() {
                    self.doors.insert(at.port(), data);
                }
                self.ftp.engine.handle_awaited(data, Ok(at), &mut self.around.turn(now));
            }
            DataCommand::Dial { data, to, .. } => {
                if self.ftp.engine.listener_of(data).is_some() {
                    let line = network.dial(Side::Server, [to, SocketAddr::new(IP, 20)]);
                    self.ftp.insert(data, line, true);
                }
            }
            DataCommand::Shut { data } if self.bug != Some(Bug::LeaksPorts) => {
                self.doors.retain(|_, awaited| *awaited != data);
            }
            DataCommand::Shut { .. } => {}
        }
    }

    /// Connections of phones whose request has begun to wait for a slot since this was last asked.
    pub fn take_waiting(&mut self) -> Vec<LineId> {
        let mut lines = std::mem::take(&mut self.http.waiting);
        lines.append(&mut self.ftp.waiting);
        lines
    }

    /// Phones that were refused for want of a slot since this was last asked.
    pub fn take_refused(&mut self) -> Vec<IpAddr> {
        std::mem::take(&mut self.refused)
    }

    /// Clients that hold a slot.
    #[must_use]
    pub fn slots_used(&self) -> usize {
        self.around.admission.slots.used_here()
    }

    /// Whether the connection is still one of the server's.
    #[must_use]
    pub fn owns(&self, line: LineId) -> bool {
        self.http.owns(line) || self.ftp.owns(line)
    }

    /// What is still kept, in words, once everybody has gone.
    #[must_use]
    pub fn kept(&self) -> Vec<String> {
        let (http, ftp) = (&self.http.engine, &self.ftp.engine);
        let slots = &self.around.admission.slots;
        let counts = [
            ("sockets", self.http.len() + self.ftp.len()),
            ("connections of HTTP", http.connections_open()),
            ("requests of HTTP", http.requests_open()),
            ("bytes of bodies", http.bodies_held() as usize),
            ("sessions of FTP", ftp.sessions_open()),
            ("transfers of FTP", ftp.transfers_open()),
            ("bytes of uploads", ftp.uploads_held() as usize),
            ("deadlines of HTTP", usize::from(http.poll_timeout().is_some())),
            ("deadlines of FTP", usize::from(ftp.poll_timeout().is_some())),
            ("ports", self.doors.len()),
            ("slots", slots.used_here()),
            ("requests that wait", slots.waiting()),
            ("questions to the disk", self.disk.questions()),
            ("restless connections", usize::from(self.http.is_restless || self.ftp.is_restless)),
        ];
        let kept = counts.iter().filter(|(_, count)| *count > 0);
        kept.map(|(what, count)| format!("{count} {what}")).collect()
    }
}
