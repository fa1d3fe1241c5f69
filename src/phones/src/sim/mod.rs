//! Phones, a network and a server in one thread, from one seed, without real time.
//!
//! The world of TFTP moves datagrams between state machines in the order of time and watches them
//! pass: [`invariants`] has what must never happen, and [`World::check`] asserts it. The world of
//! HTTP and FTP, over TCP, is [`stream`]. No sockets, no clocks.

pub mod calendar;
#[cfg(test)]
mod faulty_server;
pub mod invariants;
pub mod link;
#[cfg(test)]
mod snmp;
pub mod stream;
pub mod tftp;
#[cfg(test)]
mod tftp_lossy;
#[cfg(test)]
mod tftp_order;

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use crate::phone::boot::{Boot, FileResult, Plan};
use crate::phone::tftp::Piece;
use crate::random::Random;
use calendar::Calendar;
use invariants::{Cause, Invariants};
use link::Link;

use wire::tftp::{Block, Control, Mode, Options, Request};
use wire::time::{Duration, Instant};

/// The server's address.
pub const SERVER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)), 69);
/// The first of each phone's ports.
const PHONE_PORT: u16 = 1_024;
/// Simulated time after which a world is stopped.
const RUN_MAX: Duration = Duration::from_secs(3_600);
/// How long a server may keep a transfer after the last datagram of the world.
const SILENCE_MAX: Duration = Duration::from_secs(120);
/// Deadlines of the server in a row without an effect; more is a loop that never ends.
const IDLE_TIMEOUTS_MAX: u32 = 100_000;

/// A server as the world sees it: a state machine that takes datagrams and time, and is polled.
pub trait Server {
    /// A datagram from `peer` came to the server's `port`.
    fn handle_datagram(&mut self, port: u16, peer: SocketAddr, bytes: &[u8], now: Instant);
    /// A deadline of [`Server::poll_timeout`] has come.
    fn handle_timeout(&mut self, now: Instant);
    /// Returns when to call [`Server::handle_timeout`].
    fn poll_timeout(&self) -> Option<Instant>;
    /// Returns the next datagram to send, until `None`.
    fn poll_transmit(&mut self, now: Instant) -> Option<Datagram>;
    /// Returns how many transfers it has open.
    fn transfers_open(&self) -> usize;
}

/// A datagram that the server sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Datagram {
    /// The source port of the server.
    pub port: u16,
    /// The destination.
    pub peer: SocketAddr,
    /// The bytes.
    pub bytes: Vec<u8>,
}

/// Files by exactly the name that phones ask for.
pub type Files = HashMap<Vec<u8>, Arc<[u8]>>;

struct Phone {
    boot: Boot,
    plan: Arc<Plan>,
    may_fail: bool,
    /// The moment for which an alarm is set.
    alarm: Option<Instant>,
    /// Correct bytes of the current file so far.
    bytes_right: u64,
    /// ACKs that [`World::lose_acks`] has lost for it.
    acks_lost: u32,
    /// When the last datagram in queue order arrives, up and down.
    arrives: [Instant; 2],
    results: Vec<FileResult>,
}

enum Event {
    /// The server's turn is over.
    TurnEnd,
    ToServer {
        port: u16,
        peer: SocketAddr,
        bytes: Arc<[u8]>,
        number: u64,
    },
    ToPhone {
        phone: usize,
        port: u16,
        from: SocketAddr,
        bytes: Vec<u8>,
    },
    Alarm {
        phone: usize,
    },
}

#[derive(Clone, Copy)]
enum Way {
    Up,
    Down,
}

/// A server, phones and the network between them.
pub struct World<S: Server> {
    server: S,
    files: Files,
    phones: Vec<Phone>,
    up: Link,
    down: Link,
    /// How long the server is busy with each datagram, those of its present turn, and those that
    /// it finds in the next one.
    service: Duration,
    turn: Vec<Event>,
    received: Vec<Event>,
    random: Random,
    now: Instant,
    calendar: Calendar<Event>,
    sequence: u64,
    invariants: Invariants,
    /// The ACK of which the first so many to each phone get lost.
    lost_ack: Option<(Block, u32)>,
    scratch: Vec<u8>,
}

impl<S: Server> World<S> {
    /// Makes a world with the same `link` in both directions.
    #[must_use]
    pub fn new(seed: u64, server: S, files: Files, link: Link) -> Self {
        World::with_links(seed, server, files, link, link)
    }

    /// Makes a world with one link `up` to the server and another `down` to the phones.
    #[must_use]
    pub fn with_links(seed: u64, server: S, files: Files, up: Link, down: Link) -> Self {
        World {
            server,
            files,
            phones: Vec::new(),
            up,
            down,
            service: Duration::ZERO,
            turn: Vec::new(),
            received: Vec::new(),
            random: Random::new(seed),
            now: Instant::START,
            calendar: Calendar::default(),
            sequence: 0,
            invariants: Invariants::new(up.delay + down.delay),
            lost_ack: None,
            scratch: Vec::new(),
        }
    }

    /// Makes the server busy for this long with each datagram: others wait for its next turn, in an
    /// unbounded receive buffer.
    pub fn set_service(&mut self, service: Duration) {
        self.service = service;
    }

    /// Loses the first `times` ACKs of a block on their way to each phone.
    pub fn lose_acks(&mut self, block: Block, times: u32) {
        self.lost_ack = Some((block, times));
    }

    /// Adds a phone that gets power at `start`. With `may_fail` its failure is not the server's
    /// fault. Returns its index among the phones.
    pub fn add_phone(&mut self, plan: &Arc<Plan>, start: Instant, may_fail: bool) -> usize {
        let phone = self.phones.len();
        self.phones.push(Phone {
            boot: Boot::new(Arc::clone(plan), SERVER, 0, start),
            plan: Arc::clone(plan),
            may_fail,
            alarm: None,
            bytes_right: 0,
            acks_lost: 0,
            arrives: [Instant::START; 2],
            results: Vec::new(),
        });
        self.set_alarm(phone);
        phone
    }

    /// Forges a request at `at` from an address that never sent one and will never answer.
    pub fn forge(&mut self, victim: SocketAddr, name: &str, options: Options, at: Instant) {
        let request = Request { name: name.as_bytes(), mode: Mode::Octet, options };
        self.inject(victim, SERVER.port(), request.encode_read(), at);
    }

    /// Sends any bytes to a port of the server, from an address that will never answer.
    pub fn inject(&mut self, peer: SocketAddr, port: u16, bytes: Vec<u8>, at: Instant) {
        self.schedule(
            at,
            Event::ToServer { port, peer, bytes: bytes.into(), number: self.sequence },
        );
    }

    /// Runs until nothing is left to happen.
    pub fn run(&mut self) {
        let end = Instant::START + RUN_MAX;
        let mut idle_timeouts = 0;
        let mut last_datagram = self.now;
        loop {
            let event_at = self.calendar.next_at();
            let is_free = self.turn.is_empty();
            let server_at = self.server.poll_timeout().filter(|_| is_free);
            let server_at = server_at.map(|at| at.max(self.now));
            let Some(at) = [event_at, server_at].into_iter().flatten().min() else { return };
            let is_quiet = self.calendar.is_empty();
            if self.invariants.is_hopeless() {
                return;
            }
            if at > end || (is_quiet && at > last_datagram + SILENCE_MAX) {
                return;
            }
            self.now = at;
            if server_at == Some(at) {
                let sent = self.invariants.figures.sent;
                self.server.handle_timeout(at);
                self.drain_server(Cause::Timer);
                idle_timeouts =
                    if self.invariants.figures.sent == sent { idle_timeouts + 1 } else { 0 };
                assert!(idle_timeouts < IDLE_TIMEOUTS_MAX, "the server's deadline never passes");
            } else if let Some((_, event)) = self.calendar.pop() {
                idle_timeouts = 0;
                last_datagram = at;
                self.happen(event);
            }
        }
    }

    /// Asserts everything that must hold after [`World::run`] has returned.
    ///
    /// # Panics
    /// If anything does not.
    pub fn check(&self) {
        let mut violations = self.invariants.violations();
        for (number, phone) in self.phones.iter().enumerate() {
            if phone.boot.has_booted_or_failed() && !phone.boot.is_lost() {
                continue;
            }
            if !phone.may_fail || !phone.boot.has_booted_or_failed() {
                let (plan, results) = (&phone.plan, &phone.results);
                let behaviour = plan.client.behaviour;
                violations.push(format!("phone {number}: {behaviour:?} {results:?}"));
            }
        }
        if self.server.transfers_open() > 0 {
            let open = self.server.transfers_open();
            violations.push(format!("{open} transfers are open after the longest silence"));
        }
        violations.truncate(10);
        assert!(violations.is_empty(), "{}", violations.join("\n"));
    }

    /// Returns the counts.
    #[must_use]
    pub fn figures(&self) -> invariants::Figures {
        self.invariants.figures
    }

    /// Returns the sends to an address that never sent anything but requests.
    #[must_use]
    pub fn sends_unanswered(&self, victim: SocketAddr) -> u32 {
        self.invariants.sends_unanswered(victim)
    }

    /// Returns how each file of a phone ended.
    #[must_use]
    pub fn results(&self, phone: usize) -> &[FileResult] {
        self.phones.get(phone).map_or(&[], |phone| &phone.results)
    }

    /// Returns the current moment of the world.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.now
    }

    /// Returns the server.
    pub fn server(&mut self) -> &mut S {
        &mut self.server
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::ToServer { .. } if self.service.is_zero() => self.deliver(event),
            Event::ToServer { .. } => {
                self.received.push(event);
                self.begin_turn();
            }
            Event::TurnEnd => {
                std::mem::take(&mut self.turn).into_iter().for_each(|event| self.deliver(event));
                self.server.handle_timeout(self.now);
                self.drain_server(Cause::Timer);
                self.begin_turn();
            }
            Event::ToPhone { phone, port, from, bytes } => {
                let Some(phone_at) = self.phones.get_mut(phone) else { return };
                let step = phone_at.results.len();
                let piece = phone_at.boot.handle_datagram(port, from, &bytes, self.now);
                let violation = piece.and_then(|piece| phone_at.verify(&self.files, step, piece));
                if let Some(violation) = violation {
                    self.invariants.violate(format!("phone {phone}: {violation}"));
                }
                self.drain_phone(phone);
            }
            Event::Alarm { phone } => {
                let Some(phone_at) = self.phones.get_mut(phone) else { return };
                if phone_at.alarm != Some(self.now) {
                    return;
                }
                phone_at.alarm = None;
                if phone_at.boot.poll_timeout().is_some_and(|at| at <= self.now) {
                    phone_at.boot.handle_timeout(self.now);
                }
                self.drain_phone(phone);
            }
        }
    }

    /// Lets a server that has nothing to do take all that was received.
    fn begin_turn(&mut self) {
        if self.turn.is_empty() && !self.received.is_empty() {
            self.turn = std::mem::take(&mut self.received);
            self.schedule(self.now + self.service * self.turn.len() as u32, Event::TurnEnd);
        }
    }

    fn deliver(&mut self, event: Event) {
        let Event::ToServer { port, peer, bytes, number } = event else { return };
        let cause = self.invariants.delivered(port, peer, &bytes, number, self.now);
        self.server.handle_datagram(port, peer, &bytes, self.now);
        self.drain_server(cause);
    }

    fn drain_phone(&mut self, phone: usize) {
        let Some(phone_at) = self.phones.get_mut(phone) else { return };
        if let Some(violation) = phone_at.close_file(&self.files) {
            self.invariants.violate(format!("phone {phone}: {violation}"));
        }
        let mut before: Option<(u64, SocketAddr, Arc<[u8]>)> = None;
        let mut scratch = std::mem::take(&mut self.scratch);
        while let Some(phone_at) = self.phones.get_mut(phone)
            && let Some(transmit) = phone_at.boot.poll_transmit(&mut scratch)
        {
            let peer = phone_address(phone, transmit.port);
            let port = transmit.to.port();
            self.invariants.asked(peer);
            let bytes: Arc<[u8]> = scratch.as_slice().into();
            // A packet that a phone sends twice at once counts as a duplicate, like those of the
            // network.
            self.sequence += 1;
            let number = match before {
                Some((number, to, ref said)) if to == peer && *said == bytes => number,
                Some(_) | None => self.sequence,
            };
            before = Some((number, peer, Arc::clone(&bytes)));
            for at in self.carry(phone, Way::Up, peer, port) {
                let bytes = Arc::clone(&bytes);
                self.schedule(at, Event::ToServer { port, peer, bytes, number });
            }
        }
        self.scratch = scratch;
        self.set_alarm(phone);
    }

    fn drain_server(&mut self, cause: Cause) {
        while let Some(datagram) = self.server.poll_transmit(self.now) {
            self.invariants.sent(&datagram, cause, self.now);
            let Datagram { port, peer, bytes } = datagram;
            let Some((phone, phone_port)) = phone_of(peer) else { continue };
            if self.is_lost_ack(phone, &bytes) {
                self.invariants.dropped(port, peer, self.now);
                continue;
            }
            let from = SocketAddr::new(SERVER.ip(), port);
            for at in self.carry(phone, Way::Down, peer, port) {
                let (port, bytes) = (phone_port, bytes.clone());
                self.schedule(at, Event::ToPhone { phone, port, from, bytes });
            }
        }
    }

    fn is_lost_ack(&mut self, phone: usize, bytes: &[u8]) -> bool {
        let Some((block, times)) = self.lost_ack else { return false };
        let Some(phone) = self.phones.get_mut(phone) else { return false };
        let is_meant = Control::ack(block).as_bytes() == bytes && phone.acks_lost < times;
        phone.acks_lost += u32::from(is_meant);
        is_meant
    }

    /// Returns when a datagram and its duplicate arrive. A network is a queue: only datagrams that
    /// are late by chance are overtaken.
    fn carry(
        &mut self,
        phone: usize,
        way: Way,
        peer: SocketAddr,
        port: u16,
    ) -> impl Iterator<Item = Instant> + use<S> {
        let link = match way {
            Way::Up => self.up,
            Way::Down => self.down,
        };
        let mut trips = link.carry(&mut self.random);
        if trips == [None, None] {
            self.invariants.dropped(port, peer, self.now);
        }
        if let Some(phone) = self.phones.get_mut(phone) {
            let latest = &mut phone.arrives[way as usize];
            for trip in trips.iter_mut().flatten().filter(|trip| !trip.is_late) {
                *latest = (self.now + trip.takes).max(*latest);
                trip.takes = *latest - self.now;
            }
        }
        let now = self.now;
        trips.into_iter().flatten().map(move |trip| now + trip.takes)
    }

    fn set_alarm(&mut self, phone: usize) {
        let Some(phone_at) = self.phones.get_mut(phone) else { return };
        let wanted = phone_at.boot.poll_timeout().map(|at| at.max(self.now));
        if wanted == phone_at.alarm {
            return;
        }
        phone_at.alarm = wanted;
        if let Some(at) = wanted {
            self.schedule(at, Event::Alarm { phone });
        }
    }

    fn schedule(&mut self, at: Instant, event: Event) {
        self.sequence += 1;
        self.calendar.plan(at, event);
    }
}

impl Phone {
    /// Compares a piece with the file, and returns what is wrong.
    fn verify(&mut self, files: &Files, step: usize, piece: Piece<'_>) -> Option<String> {
        let name = &self.plan.steps.get(step)?.name;
        let Some(file) = files.get(&**name) else {
            return Some(format!("got bytes of {}, which there is not", name.escape_ascii()));
        };
        let start = piece.offset as usize;
        if file.get(start..start + piece.bytes.len()) != Some(piece.bytes) {
            return Some(format!("wrong bytes of {} at {start}", name.escape_ascii()));
        }
        self.bytes_right = piece.offset + piece.bytes.len() as u64;
        None
    }

    /// Notes how a file ended, and returns what is wrong with that.
    fn close_file(&mut self, files: &Files) -> Option<String> {
        let result = self.boot.poll_result()?;
        self.results.push(result);
        let bytes = std::mem::take(&mut self.bytes_right);
        let step = self.plan.steps.get(result.step)?;
        let file = files.get(&*step.name).map_or(0, |file| file.len() as u64);
        let whole = result.ending == crate::phone::tftp::Ending::Done;
        let is_fetch = matches!(step.action, crate::phone::boot::Action::Fetch);
        (whole && is_fetch && bytes != file)
            .then(|| format!("{bytes} of {file} bytes and done: {:?} {result:?}", self.plan.client))
    }
}

fn phone_address(phone: usize, port: u16) -> SocketAddr {
    let [_, high, middle, low] = (phone as u32).to_be_bytes();
    SocketAddr::from(([10, 1 + high, middle, low], PHONE_PORT + port))
}

fn phone_of(peer: SocketAddr) -> Option<(usize, u16)> {
    let IpAddr::V4(address) = peer.ip() else { return None };
    let [ten, high, middle, low] = address.octets();
    let port = peer.port().checked_sub(PHONE_PORT)?;
    let high = high.checked_sub(1).filter(|_| ten == 10)?;
    Some((u32::from_be_bytes([0, high, middle, low]) as usize, port))
}

#[cfg(test)]
mod tests {
    use super::faulty_server::{Bug, FaultyServer};
    use super::*;
    use crate::phone::boot::PlanStep;
    use crate::phone::tftp::{Behaviour, Client, Ending, Leave, OnTimer};

    fn file(bytes: usize) -> Arc<[u8]> {
        let mut random = Random::new(bytes as u64);
        (0..bytes).map(|_| random.next_u64() as u8).collect()
    }

    fn files() -> Files {
        let sizes = [0, 1, 511, 512, 513, 5_000, 20_000];
        sizes.iter().map(|bytes| (format!("f{bytes}").into_bytes(), file(*bytes))).collect()
    }

    fn plan(client: Client, names: &[&str]) -> Arc<Plan> {
        Arc::new(Plan {
            client: Arc::new(client),
            steps: names.iter().map(|name| PlanStep::fetch(name)).collect(),
            ports: 100,
            attempts: 3,
            pause: Duration::ZERO,
            dally: Duration::from_secs(3),
        })
    }

    fn windowed() -> Client {
        let options = Options {
            blksize: Some(600),
            windowsize: Some(4),
            tsize: Some(0),
            ..Options::default()
        };
        Client { options, ..Client::default() }
    }

    fn with(behaviour: Behaviour, client: Client) -> Client {
        Client { behaviour, ..client }
    }

    const ALL: [&str; 7] = ["f0", "f1", "f511", "f512", "f513", "f5000", "f20000"];
    const ROUGH: Link = Link { loss: 0.05, twice: 0.05, late: 0.05, ..Link::LAN };

    /// Returns clients of every kind that succeed with any server that keeps the rules.
    fn kinds() -> Vec<Client> {
        let plain = Client::default;
        let of = |behaviour| [with(behaviour, plain()), with(behaviour, windowed())];
        let base = Behaviour::default();
        let gap = Duration::from_millis(1);
        let kinds = [
            of(base),
            of(Behaviour { extra_requests: 2, extra_request_gap: gap, ..base }),
            of(Behaviour { on_timer: OnTimer::AskAgain, ..base }),
            of(Behaviour { extra_acks: 1, ..base }),
            of(Behaviour { leave_after: Some((600, Leave::Error)), ..base }),
            of(Behaviour { leave_after: Some((600, Leave::Silence)), ..base }),
            of(Behaviour { probes: true, ..base }),
            of(Behaviour { deaf_to_option_ack: true, ..base }),
            of(Behaviour { keeps_last_ack: true, ..base }),
            of(Behaviour { garbage_bytes: 9, ..base }),
            of(Behaviour { acks_errors: true, ..base }),
        ];
        let mut kinds: Vec<Client> = kinds.into_iter().flatten().collect();
        kinds.push(with(Behaviour { needs_data_twice: true, ..base }, plain()));
        kinds.push(with(Behaviour { on_timer: OnTimer::Wait, ..base }, plain()));
        kinds
    }

    fn world_of_all(seed: u64, link: Link) -> World<FaultyServer> {
        let files = files();
        let mut world = World::new(seed, FaultyServer::new(&files, None), files, link);
        for (number, client) in kinds().into_iter().cycle().take(100).enumerate() {
            let start = Instant::from_millis(number as u64 * 3);
            world.add_phone(&plan(client, &ALL), start, false);
        }
        world
    }

    #[test]
    fn phones_of_every_kind_boot_from_a_good_server() {
        let mut world = world_of_all(1, Link::LAN);
        world.run();
        world.check();
        assert_eq!(world.figures().lost, 0);
    }

    #[test]
    fn phones_of_every_kind_boot_over_a_rough_network() {
        for seed in 0..20 {
            let mut world = world_of_all(seed, ROUGH);
            world.run();
            world.check();
        }
    }

    #[test]
    fn one_seed_is_one_history() {
        let digest = |seed| {
            let mut world = world_of_all(seed, ROUGH);
            world.run();
            world.figures().digest
        };
        assert_eq!(digest(5), digest(5));
        assert_ne!(digest(5), digest(6));
    }

    #[test]
    fn a_missing_file_is_fine_where_it_may_be_missing() {
        let files = files();
        let mut world = World::new(1, FaultyServer::new(&files, None), files, Link::LAN);
        let mut plan = (*plan(Client::default(), &["nothing", "f1"])).clone();
        plan.steps[0].may_be_missing = true;
        let phone = world.add_phone(&Arc::new(plan), Instant::START, false);
        world.run();
        world.check();
        let endings: Vec<Ending> = world.results(phone).iter().map(|file| file.ending).collect();
        let not_found = wire::tftp::ErrorCode::NOT_FOUND;
        assert_eq!(endings, [Ending::Refused(not_found), Ending::Done]);
    }

    #[test]
    #[should_panic(expected = "Refused")]
    fn a_missing_file_is_a_failure_otherwise() {
        let files = files();
        let mut world = World::new(1, FaultyServer::new(&files, None), files, Link::LAN);
        world.add_phone(&plan(Client::default(), &["nothing"]), Instant::START, false);
        world.run();
        world.check();
    }

    #[test]
    #[should_panic(expected = "because of a doubled ACK")]
    fn a_sorcerers_apprentice_is_found_out() {
        let files = files();
        let server = FaultyServer::new(&files, Some(Bug::AnswersDoubledAcks));
        let mut world = World::new(1, server, files, Link { twice: 0.5, ..Link::LAN });
        world.add_phone(&plan(Client::default(), &["f20000"]), Instant::START, false);
        world.run();
        world.check();
    }

    #[test]
    #[should_panic(expected = "wrong bytes")]
    fn a_wrong_byte_is_found_out() {
        let files = files();
        let server = FaultyServer::new(&files, Some(Bug::CorruptsBlocks));
        let mut world = World::new(1, server, files, Link::LAN);
        world.add_phone(&plan(Client::default(), &["f20000"]), Instant::START, false);
        world.run();
        world.check();
    }

    #[test]
    #[should_panic(expected = "transfers are open")]
    fn a_transfer_that_is_never_forgotten_is_found_out() {
        let files = files();
        let server = FaultyServer::new(&files, Some(Bug::LeaksTransfers));
        let mut world = World::new(1, server, files, Link::LAN);
        world.add_phone(&plan(Client::default(), &["f1"]), Instant::START, false);
        world.run();
        world.check();
    }

    #[test]
    fn a_forged_request_never_answered_is_sent_three_datagrams_at_most() {
        let files = files();
        let mut world = World::new(1, FaultyServer::new(&files, None), files, Link::LAN);
        let victim = SocketAddr::from(([203, 0, 113, 9], 7));
        let options = Options { blksize: Some(1_428), ..Options::default() };
        world.forge(victim, "f20000", options, Instant::START);
        world.run();
        world.check();
        assert_eq!(world.sends_unanswered(victim), 3);
    }
}
