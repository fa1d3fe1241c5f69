//! Storms of phones against session control alone, under seeds: who is served when.
//!
//! A transfer is a time that it takes, and nothing else of it is simulated. The worlds of the
//! engines are in the crate `phones`.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::slots::{Address, Admitted, IdlePlace, SharedSlots, SlotLimits, Slots};
use crate::ticket::Ticket;
use wire::time::{Duration, Instant};

const MS: u64 = 1_000;

/// What a storm is like.
#[derive(Clone)]
struct Storm {
    phones: usize,
    files: u32,
    pause: Duration,
    /// How long a file takes.
    file_takes: Duration,
    workers: usize,
    clients_max: usize,
    idle_place: IdlePlace,
    /// Share of datagrams that get lost, and of those that come twice.
    loss: f64,
    /// Share of phones that die in the middle of a file.
    deaths: f64,
    /// Forged requests a second.
    forged: u64,
    /// Every so many-th phone speaks TCP.
    over_tcp: usize,
    /// Limits change so often in the storm.
    reloads: u64,
}

const CALM: Storm = Storm {
    phones: 1_000,
    files: 3,
    pause: Duration::ZERO,
    file_takes: Duration::from_millis(200),
    workers: 2,
    clients_max: 100,
    idle_place: IdlePlace::Lend,
    loss: 0.0,
    deaths: 0.0,
    forged: 0,
    over_tcp: usize::MAX,
    reloads: 0,
};

const TRIES_MAX: u32 = 11;
const TIMER: Duration = Duration::from_secs(1);
/// How long a server sends to somebody who does not answer.
const GIVES_UP_AFTER: Duration = Duration::from_secs(7);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Asks { phone: usize, file: u32, attempt: u32 },
    Done { phone: usize, file: u32 },
    ForgedAsks,
    ForgedEnds { phone: usize },
    Polls,
    Reloads,
}

struct Phone {
    ip: IpAddr,
    address: Address,
    worker: usize,
    file: u32,
    is_served: bool,
    dies: bool,
    /// The ticket of its last request.
    ticket: Ticket,
    /// When it asked first for the current file.
    asked_at: Option<Instant>,
    /// Its place among those that have begun.
    began: Option<usize>,
    /// Phones that began later and were served while it waited.
    overtaken_by: HashMap<usize, u32>,
    longest_wait: Duration,
    back_at: Option<Instant>,
    gave_up: bool,
}

struct World {
    storm: Storm,
    random: fastrand::Rng,
    limits: SlotLimits,
    shared: Arc<SharedSlots>,
    workers: Vec<Slots>,
    phones: Vec<Phone>,
    /// Forged addresses, after the phones in numbers of tickets.
    forged: Vec<(IpAddr, usize)>,
    waiting: HashSet<usize>,
    calendar: BinaryHeap<Reverse<(Instant, u64, Event)>>,
    planned: u64,
    /// The next moment at which the workers are polled by time.
    polls_at: Option<Instant>,
    began: usize,
    now: Instant,
    /// How long places were free while somebody waited.
    idle: Duration,
    idle_since: Option<Instant>,
}

/// A phone's file, in the number of a ticket.
fn ticket(phone: usize, file: u32, attempt: u32) -> Ticket {
    Ticket::made_up((phone as u64) << 16 | u64::from(file) << 8 | u64::from(attempt))
}

impl World {
    fn new(storm: &Storm, seed: u64) -> World {
        let storm = storm.clone();
        let mut random = fastrand::Rng::with_seed(seed);
        let shared = Arc::new(SharedSlots::new(storm.workers));
        let limits = SlotLimits {
            clients_max: storm.clients_max,
            idle_place: storm.idle_place,
            ..SlotLimits::default()
        };
        let phones = (0..storm.phones).map(|number| Phone {
            ip: Ipv4Addr::from_bits(0x0a01_0000 + number as u32).into(),
            address: match (number + 1) % storm.over_tcp == 0 {
                true => Address::Proven,
                false => Address::Claimed,
            },
            worker: random.usize(..storm.workers),
            file: 0,
            is_served: false,
            dies: random.f64() < storm.deaths,
            ticket: Ticket::made_up(0),
            asked_at: None,
            began: None,
            overtaken_by: HashMap::new(),
            longest_wait: Duration::ZERO,
            back_at: None,
            gave_up: false,
        });
        let phones: Vec<Phone> = phones.collect();
        let workers = 0..storm.workers;
        let mut world = World {
            workers: workers.map(|worker| Slots::new(worker, shared.clone())).collect(),
            limits,
            shared,
            phones,
            forged: Vec::new(),
            waiting: HashSet::new(),
            calendar: BinaryHeap::new(),
            planned: 0,
            polls_at: None,
            began: 0,
            now: Instant::START,
            idle: Duration::ZERO,
            idle_since: None,
            random,
            storm,
        };
        // Forged requests have filled all places when the storm begins.
        let start = if world.storm.forged > 0 { 2_000 * MS } else { 0 };
        for phone in 0..world.phones.len() {
            let at = Instant::from_micros(start + world.random.u64(..100 * MS));
            world.plan(at, Event::Asks { phone, file: 0, attempt: 0 });
        }
        if world.storm.forged > 0 {
            world.plan(Instant::START, Event::ForgedAsks);
        }
        if world.storm.reloads > 0 {
            world.plan(Instant::START, Event::Reloads);
        }
        world
    }

    fn plan(&mut self, at: Instant, event: Event) {
        self.planned += 1;
        self.calendar.push(Reverse((at, self.planned, event)));
    }

    fn after(&mut self, after: Duration, event: Event) {
        self.plan(self.now + after, event);
    }

    fn run(mut self) -> World {
        while let Some(Reverse((at, _, event))) = self.calendar.pop() {
            if self.phones.iter().all(|phone| phone.back_at.is_some() || phone.gave_up) {
                break;
            }
            self.now = self.now.max(at);
            match event {
                Event::Asks { phone, file, attempt } => self.asks(phone, file, attempt),
                Event::Done { phone, file } => self.done(phone, file),
                Event::ForgedAsks => self.forged_asks(),
                Event::ForgedEnds { phone } => self.forged_ends(phone),
                Event::Reloads => self.reload(),
                Event::Polls => self.polls_at = None,
            }
            self.poll();
        }
        self
    }

    fn asks(&mut self, number: usize, file: u32, attempt: u32) {
        let phone = &mut self.phones[number];
        if phone.file != file || phone.is_served || phone.gave_up {
            return;
        }
        if attempt == TRIES_MAX {
            phone.gave_up = true;
            self.waiting.remove(&number);
            return;
        }
        phone.asked_at.get_or_insert(self.now);
        self.after(TIMER, Event::Asks { phone: number, file, attempt: attempt + 1 });
        let times = match self.random.f64() {
            chance if chance < self.storm.loss => 0,
            chance if chance < 2.0 * self.storm.loss => 2,
            _ => 1,
        };
        for _ in 0..times {
            let phone = &mut self.phones[number];
            let slots = &mut self.workers[phone.worker];
            let ticket = ticket(number, file, attempt);
            phone.ticket = ticket;
            match slots.admit(phone.ip, phone.address, ticket, &self.limits, self.now) {
                Admitted::Yes => self.serve(number),
                Admitted::Waiting => drop(self.waiting.insert(number)),
                Admitted::No(_) => {}
            }
        }
    }

    fn serve(&mut self, number: usize) {
        self.waiting.remove(&number);
        let phone = &mut self.phones[number];
        if phone.is_served {
            return;
        }
        phone.is_served = true;
        let began = *phone.began.get_or_insert(self.began);
        self.began += 1;
        let waited = phone.asked_at.map_or(Duration::ZERO, |at| self.now.since(at));
        phone.longest_wait = phone.longest_wait.max(waited);
        let slots = &mut self.workers[phone.worker];
        slots.begin(phone.ip, phone.address);
        if phone.address == Address::Claimed {
            slots.fall_silent(phone.ip, self.now);
            if !phone.dies {
                slots.answer(phone.ip);
            }
        }
        let takes = if phone.dies { GIVES_UP_AFTER } else { self.storm.file_takes };
        let file = phone.file;
        for other in &self.waiting {
            let other = &mut self.phones[*other];
            if other.began.is_some_and(|theirs| theirs < began) {
                *other.overtaken_by.entry(number).or_default() += 1;
            }
        }
        self.after(takes, Event::Done { phone: number, file });
    }

    fn done(&mut self, number: usize, file: u32) {
        let phone = &mut self.phones[number];
        let was_silent = phone.dies && phone.address == Address::Claimed;
        self.workers[phone.worker].end(phone.ip, was_silent, self.now);
        (phone.is_served, phone.asked_at) = (false, None);
        phone.file += 1;
        if phone.dies {
            phone.gave_up = true;
        } else if phone.file == self.storm.files {
            phone.back_at = Some(self.now);
        } else {
            let pause = self.storm.pause;
            self.after(pause, Event::Asks { phone: number, file: file + 1, attempt: 0 });
        }
    }

    fn forged_asks(&mut self) {
        let address = Ipv4Addr::from_bits(0x5000_0000 | self.random.u32(..1 << 24)).into();
        let worker = self.random.usize(..self.workers.len());
        let number = self.phones.len() + self.forged.len();
        self.forged.push((address, worker));
        let slots = &mut self.workers[worker];
        let ticket = ticket(number, 0, 0);
        if slots.admit(address, Address::Claimed, ticket, &self.limits, self.now) == Admitted::Yes {
            self.serve_forged(number);
        }
        self.after(Duration::from_secs(1) / self.storm.forged as u32, Event::ForgedAsks);
    }

    fn serve_forged(&mut self, number: usize) {
        let (address, worker) = self.forged[number - self.phones.len()];
        self.workers[worker].begin(address, Address::Claimed);
        self.workers[worker].fall_silent(address, self.now);
        self.after(GIVES_UP_AFTER, Event::ForgedEnds { phone: number });
    }

    fn forged_ends(&mut self, number: usize) {
        let (address, worker) = self.forged[number - self.phones.len()];
        self.workers[worker].end(address, true, self.now);
    }

    fn reload(&mut self) {
        let few = self.storm.clients_max / 2;
        self.limits.clients_max = if self.random.bool() { few } else { self.storm.clients_max };
        for slots in &mut self.workers {
            slots.adopt(&self.limits);
        }
        self.after(Duration::from_secs(1) / self.storm.reloads as u32, Event::Reloads);
    }

    fn poll(&mut self) {
        for worker in 0..self.workers.len() {
            while let Some(expired) = self.workers[worker].poll_expired(self.now) {
                let phone = (expired.number() >> 16) as usize;
                if self.phones.get(phone).is_some_and(|phone| phone.ticket == expired) {
                    // Until it asks again, nobody knows that it wants something.
                    self.waiting.remove(&phone);
                }
            }
            while let Some(granted) = self.workers[worker].poll_granted(self.now) {
                match (granted.number() >> 16) as usize {
                    phone if phone < self.phones.len() => self.serve(phone),
                    forged => self.serve_forged(forged),
                }
            }
        }
        let due = self.workers.iter().filter_map(Slots::poll_timeout).min();
        if let Some(at) = due.map(|at| at.max(self.now))
            && self.polls_at.is_none_or(|planned| at < planned)
        {
            self.polls_at = Some(at);
            self.plan(at, Event::Polls);
        }
        let waits = self.workers.iter().any(|slots| slots.waiting() > 0);
        let is_idle = waits && self.shared.used.load(Relaxed) < self.limits.clients_max;
        if let Some(since) = self.idle_since.take() {
            self.idle += self.now.since(since);
        }
        self.idle_since = is_idle.then_some(self.now);
    }

    /// Moments at which the phones came back, in order.
    fn back_at(&self) -> Vec<Instant> {
        let mut moments: Vec<Instant> =
            self.phones.iter().filter_map(|phone| phone.back_at).collect();
        moments.sort();
        moments
    }

    fn check_order(&self) {
        for (number, phone) in self.phones.iter().enumerate() {
            let most = phone.overtaken_by.values().max().copied().unwrap_or(0);
            assert!(most < 2, "phone {number} was overtaken {most} times by the same");
        }
    }

    fn assert_all_back(&self) {
        let lost = self.phones.iter().filter(|phone| phone.gave_up && !phone.dies).count();
        assert_eq!(lost, 0, "phones gave up");
    }
}

#[test]
fn with_pauses_between_files_places_never_idle_and_nobody_is_overtaken_twice_by_a_later_phone() {
    let storm = Storm { pause: Duration::from_secs(2), ..CALM };
    for seed in 0..5 {
        let world = World::new(&storm, seed).run();
        world.assert_all_back();
        world.check_order();
        assert!(world.idle < Duration::from_millis(100), "{:?}", world.idle);
        let moments = world.back_at();
        // 3,000 files of 200 ms through 100 places are 6 s.
        assert!(moments[999] < Instant::from_millis(6_600), "{:?}", moments[999]);
    }
}

#[test]
fn with_loss_deaths_and_reloads_everybody_else_comes_back_in_order() {
    let storm = Storm {
        pause: Duration::from_millis(500),
        loss: 0.1,
        deaths: 0.05,
        reloads: 20,
        over_tcp: 3,
        ..CALM
    };
    for seed in 0..5 {
        let world = World::new(&storm, seed).run();
        world.assert_all_back();
        world.check_order();
    }
}

#[test]
fn half_of_the_phones_are_back_in_little_more_than_half_of_the_time() {
    for files in [1, 3] {
        let storm = Storm { files, phones: 3_000, clients_max: 400, ..CALM };
        let world = World::new(&storm, 7).run();
        world.assert_all_back();
        let moments = world.back_at();
        let (half, all) = (moments[1_499].as_micros(), moments[2_999].as_micros());
        assert!(half * 10 < all * 6, "{half} of {all} us");
        assert!(all < u64::from(files) * 3_000 * 200 * MS / 400 * 115 / 100, "{all} us");
    }
}

#[test]
fn kept_places_serve_one_clients_max_after_the_other() {
    let storm = Storm { idle_place: IdlePlace::Keep, phones: 150, ..CALM };
    let world = World::new(&storm, 1).run();
    assert_eq!(world.back_at().len(), 100, "the others wait for a hold of a minute in vain");
}

#[test]
fn forged_requests_keep_no_phone_waiting_for_long() {
    let storm = Storm { phones: 200, clients_max: 50, forged: 500, over_tcp: 2, files: 2, ..CALM };
    for seed in 0..3 {
        let world = World::new(&storm, seed).run();
        world.assert_all_back();
        let wait = |address| {
            let those = world.phones.iter().filter(move |phone| phone.address == address);
            those.map(|phone| phone.longest_wait).max().unwrap()
        };
        // 200 phones through 50 places are 0.8 s without the forger.
        assert!(wait(Address::Proven) < Duration::from_secs(3), "{:?}", wait(Address::Proven));
        assert!(wait(Address::Claimed) < Duration::from_secs(6), "{:?}", wait(Address::Claimed));
    }
}
