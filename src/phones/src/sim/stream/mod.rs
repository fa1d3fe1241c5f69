//! Phones of HTTP and FTP, TCP between them and the real engines, and a disk: one thread, one
//! seed, no real time.
//!
//! Phones by the hundred meet one worker with both engines; what may never happen, whatever
//! breaks, is written in [`invariants`] and asserted by [`World::check`]. No sockets, no clocks.

pub mod bug;
pub mod disk;
pub mod invariants;
pub mod link;
pub mod network;
pub mod phone;
pub mod plan;
pub mod scenario;
pub mod server;
mod sockets;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use crate::random::Random;
use crate::sim::calendar::Calendar;
use bug::Bug;
use disk::DiskTerms;
use engine::admission::slots::IdlePlace;
use engine::policy::snapshot::Policy;
use invariants::{Invariants, Violation};
use link::StreamLink;
use network::{LineId, Network, News, Side};
use phone::Phone;
use server::Server;
use wire::time::{Duration, Instant};

/// Simulated time after which a world is not waited for any longer.
const RUN_MAX: Duration = Duration::from_secs(3 * 3_600);
/// Turns of the server in a row that make nothing happen; more is a loop that never ends.
const IDLE_TURNS_MAX: u32 = 200_000;

enum Event {
    Alarm(usize),
    Reads(usize),
    Dies(usize, bool),
    /// A file changes: by rename, or in place and is noticed later.
    Changes(Box<str>, Arc<[u8]>, Option<Duration>),
    Noticed(Vec<invariants::WriteId>),
}

/// A server, phones and the network between them.
pub struct World {
    server: Server,
    network: Network,
    phones: Vec<Phone>,
    /// Whose a connection is.
    owners: HashMap<LineId, usize>,
    addresses: HashMap<IpAddr, usize>,
    calendar: Calendar<Event>,
    invariants: Invariants,
    now: Instant,
    /// Events that have happened, and a figure that any difference between two runs changes.
    events: u64,
    digest: u64,
    link: StreamLink,
    has_slots: bool,
    /// Phones that may hold a slot, when they were last counted.
    may_hold: usize,
    changes_in_place: bool,
}

impl World {
    /// A world from a seed.
    #[must_use]
    pub fn new(
        seed: u64,
        policy: Policy,
        link: StreamLink,
        terms: DiskTerms,
        bug: Option<Bug>,
    ) -> World {
        let mut random = Random::new(seed);
        let missing_is_missing = terms == DiskTerms::GOOD;
        let hold = match policy.slots.idle_place {
            IdlePlace::Keep => policy.slots.hold,
            // A phone that has begun may have to wait, too.
            IdlePlace::Lend => Duration::ZERO,
        };
        let invariants = Invariants::new(hold, missing_is_missing);
        let has_slots = policy.slots.clients_max > 0;
        World {
            server: Server::new(policy, terms, bug, random.next_u64()),
            network: Network::new(link, Random::new(random.next_u64())),
            phones: Vec::new(),
            owners: HashMap::new(),
            addresses: HashMap::new(),
            calendar: Calendar::default(),
            invariants,
            now: Instant::START,
            events: 0,
            digest: 0,
            link,
            has_slots,
            may_hold: 0,
            changes_in_place: false,
        }
    }

    /// A file that is there from the start.
    pub fn add_file(&mut self, name: &str, bytes: &Arc<[u8]>) {
        let write = self.invariants.write(name, Some(Arc::clone(bytes)), self.now);
        self.server.disk.replace(name, bytes);
        self.server.publish();
        self.invariants.acknowledge(&write, self.now);
    }

    /// A file becomes another at that moment: by rename, or in place, which the server notices
    /// after so long.
    pub fn change_file(
        &mut self,
        at: Instant,
        name: &str,
        bytes: &Arc<[u8]>,
        in_place: Option<Duration>,
    ) {
        self.changes_in_place |= in_place.is_some();
        self.calendar.plan(at, Event::Changes(name.into(), Arc::clone(bytes), in_place));
    }

    /// A phone; its place in the order of phones is handed back.
    pub fn add_phone(&mut self, phone: Phone) -> usize {
        let number = self.phones.len();
        self.addresses.insert(phone.ip(), number);
        self.phones.push(phone);
        self.set_alarm(number);
        number
    }

    /// A phone loses power at that moment; `resets` says that its system tells the server.
    pub fn kill_phone(&mut self, phone: usize, at: Instant, resets: bool) {
        self.calendar.plan(at, Event::Dies(phone, resets));
    }

    /// Lets time pass until nothing is left to happen.
    pub fn run(&mut self) {
        let mut idle_turns = 0;
        loop {
            let moments = [self.network.next_at(), self.calendar.next_at(), self.server.next_at()];
            let [network_at, event_at, server_at] = moments.map(|at| at.map(|at| at.max(self.now)));
            let Some(at) = [network_at, event_at, server_at].into_iter().flatten().min() else {
                break;
            };
            if at > Instant::START + RUN_MAX || idle_turns > IDLE_TURNS_MAX {
                break;
            }
            (self.now, self.network.now) = (at, at);
            if network_at == Some(at) {
                idle_turns = 0;
                let news = self.network.step();
                self.count(news.map_or(1, |news| 2 + news.line() as u64));
                if let Some(news) = news {
                    self.tell(news);
                }
            } else if event_at == Some(at) {
                idle_turns = 0;
                if let Some((_, event)) = self.calendar.pop() {
                    self.happen(event);
                }
            } else {
                idle_turns += 1;
                self.server.turn(&mut self.network);
                self.watch_slots();
            }
        }
    }

    /// What is wrong, if anything: the violations, in the order of time.
    #[must_use]
    pub fn violations(&mut self) -> Vec<(Violation, String)> {
        for kept in self.server.kept() {
            self.invariants.violate(Violation::Kept, kept);
        }
        let is_fair = self.server.disk.is_good() && !self.changes_in_place;
        for (number, phone) in self.phones.iter().enumerate() {
            let is_stranger = scenario::is_stranger(phone.ip());
            if is_stranger && phone.files_done > 0 {
                self.invariants.violate(Violation::ServedToStranger, phone.ip());
            }
            let is_excused = is_stranger || phone.has_suffered || !is_fair;
            if !phone.is_over() || phone.is_lost() && !is_excused {
                let words = format_args!("phone {number}: {}", phone.endings.join("\n  "));
                self.invariants.violate(Violation::Abandoned, words);
            }
            for (name, bytes) in &phone.appended {
                let log = self.server.disk.log(name);
                let is_there = log.windows(bytes.len()).any(|part| part == &**bytes);
                if !is_there {
                    self.invariants.violate(Violation::Lost, format_args!("a part of {name}"));
                }
            }
        }
        self.invariants.violations().to_vec()
    }

    /// Asserts everything that must hold once [`World::run`] has returned.
    ///
    /// # Panics
    /// When anything does not.
    pub fn check(&mut self) {
        let violations = self.violations();
        let words: Vec<String> =
            violations.iter().take(5).map(|(kind, words)| format!("{kind:?}: {words}")).collect();
        assert!(words.is_empty(), "{}", words.join("\n"));
    }

    /// Events that have happened.
    #[must_use]
    pub fn events(&self) -> u64 {
        self.events
    }

    /// A figure that any difference between two runs changes.
    #[must_use]
    pub fn digest(&self) -> u64 {
        self.digest
    }

    /// The phones.
    #[must_use]
    pub fn phones(&self) -> &[Phone] {
        &self.phones
    }

    fn count(&mut self, value: u64) {
        self.events += 1;
        let mixed = self.digest ^ value ^ self.now.as_micros() << 20;
        self.digest = mixed.wrapping_mul(0x0100_0000_01B3).rotate_left(29);
    }

    fn tell(&mut self, news: News) {
        match news {
            News::Called(line, Side::Server) => {
                let listens = self.server.listens(self.network.address(line, Side::Server));
                self.network.answer(line, listens);
                if listens {
                    self.server.handle_called(line, self.now);
                }
            }
            News::Called(line, Side::Phone) => {
                let at = self.network.address(line, Side::Phone);
                let number = self.addresses.get(&at.ip()).copied();
                let is_heard = number.is_some_and(|number| {
                    self.owners.insert(line, number);
                    self.phones[number].handle_called(line, at, &self.network)
                });
                self.network.answer(line, is_heard);
                if let Some(number) = number {
                    self.drive(number);
                }
            }
            News::Answered(line, Side::Server, is_taken) => {
                self.server.handle_answered(line, is_taken, self.now);
            }
            News::Changed(line, Side::Server) => self.server.handle_news(line, self.now),
            News::Answered(line, Side::Phone, is_taken) => {
                let Some(number) = self.owner(line) else { return };
                self.phones[number].handle_answered(line, is_taken, self.now);
                self.drive(number);
            }
            News::Changed(line, Side::Phone) => {
                let Some(number) = self.owner(line) else { return };
                match self.phones[number].reads_after {
                    Duration::ZERO => self.drive(number),
                    after => self.calendar.plan(self.now + after, Event::Reads(number)),
                }
            }
        }
    }

    fn owner(&mut self, line: LineId) -> Option<usize> {
        let ip = self.network.address(line, Side::Phone).ip();
        self.owners.get(&line).or_else(|| self.addresses.get(&ip)).copied()
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Alarm(number) => {
                let phone = &mut self.phones[number];
                if phone.alarm != Some(self.now) {
                    return;
                }
                phone.alarm = None;
                if phone.poll_timeout().is_some_and(|at| at <= self.now) {
                    phone.handle_timeout(self.now);
                }
                self.drive(number);
            }
            Event::Reads(number) => self.drive(number),
            Event::Dies(number, resets) => self.phones[number].die(resets, &mut self.network),
            Event::Changes(name, bytes, in_place) => {
                let write = self.invariants.write(&name, Some(Arc::clone(&bytes)), self.now);
                match in_place {
                    None => {
                        self.server.disk.replace(&name, &bytes);
                        self.server.publish();
                        self.invariants.acknowledge(&write, self.now);
                    }
                    Some(after) => {
                        self.server.disk.overwrite(&name, &bytes);
                        self.calendar.plan(self.now + after, Event::Noticed(vec![write]));
                    }
                }
            }
            Event::Noticed(writes) => {
                self.server.publish();
                for write in &writes {
                    self.invariants.acknowledge(write, self.now);
                }
            }
        }
    }

    fn drive(&mut self, number: usize) {
        self.phones[number].drive(&mut self.network, &mut self.invariants);
        self.set_alarm(number);
    }

    fn set_alarm(&mut self, number: usize) {
        let phone = &mut self.phones[number];
        let wanted = phone.poll_timeout().map(|at| at.max(self.now));
        if wanted == phone.alarm {
            return;
        }
        phone.alarm = wanted;
        if let Some(at) = wanted {
            self.calendar.plan(at, Event::Alarm(number));
        }
    }

    /// Who waits, who was refused, and who holds a slot.
    fn watch_slots(&mut self) {
        for line in self.server.take_waiting() {
            let client = self.network.address(line, Side::Phone).ip();
            self.invariants.has_no_slot(client, self.now);
        }
        for client in self.server.take_refused() {
            self.invariants.has_no_slot(client, self.now);
        }
        if !self.has_slots {
            return;
        }
        let used = self.server.slots_used();
        if used <= self.may_hold {
            return;
        }
        let may_hold = |phone: &&Phone| phone.has_asked() && !scenario::is_stranger(phone.ip());
        // A phone that has asked stays one, so they are counted again only if it matters.
        self.may_hold = self.phones.iter().filter(may_hold).count();
        if used > self.may_hold {
            let words = format_args!("{used} slots at {:?}", self.now);
            self.invariants.violate(Violation::HeldByStranger, words);
        }
    }

    /// What breaks in it.
    #[must_use]
    pub fn link(&self) -> &StreamLink {
        &self.link
    }
}

impl News {
    fn line(self) -> LineId {
        match self {
            News::Called(line, _) | News::Answered(line, _, _) | News::Changed(line, _) => line,
        }
    }
}
