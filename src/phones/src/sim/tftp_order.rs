//! The order of service in mass reboots: how long phones are away, and that nobody is forgotten.
//!
//! The server needs a fixed time for each datagram, so that thousands of phones ask for more than
//! it can do. The world's invariants hold as in every other simulation.

use std::sync::Arc;

use super::link::Link;
use super::tftp::{Setup, TftpServer};
use super::{Files, World};
use crate::phone::boot::{Plan, PlanStep};
use crate::phone::tftp::{Behaviour, Client, OnTimer};
use crate::random::Random;
use engine::admission::order::ServiceOrder;
use wire::tftp::Options;
use wire::time::{Duration, Instant};

/// A world, and its phones' numbers.
struct Storm {
    world: World<TftpServer>,
    phones: Vec<usize>,
}

/// When phones are back, in seconds after they got power.
struct Back {
    sorted: Vec<f64>,
    retries: u32,
}

impl Back {
    fn at(&self, share: f64) -> f64 {
        self.sorted[((self.sorted.len() - 1) as f64 * share) as usize]
    }

    fn phone_seconds(&self) -> f64 {
        self.sorted.iter().sum()
    }
}

fn setup(order: ServiceOrder) -> Setup {
    let mut setup = Setup::default();
    setup.policy.order.order = order;
    // As many phones for each as in a site of ten thousand.
    setup.policy.order.at_once = 32;
    setup
}

fn files() -> Files {
    let sizes = [("script", 2_000), ("settings", 32_768), ("firmware", 150_000)];
    let named = |(name, bytes): (&str, usize)| (name.as_bytes().to_vec(), vec![7; bytes].into());
    sizes.into_iter().map(named).collect()
}

fn plan(client: Client, names: &[&str]) -> Arc<Plan> {
    Arc::new(Plan {
        client: Arc::new(client),
        steps: names.iter().map(|name| PlanStep::fetch(name)).collect(),
        ports: 64,
        attempts: 5,
        pause: Duration::ZERO,
        dally: Duration::from_secs(5),
    })
}

impl Storm {
    fn new(seed: u64, order: ServiceOrder, link: Link, service_us: u64) -> Storm {
        let server = TftpServer::new(&files(), setup(order));
        let mut world = World::new(seed, server, files(), link);
        world.set_service(Duration::from_micros(service_us));
        Storm { world, phones: Vec::new() }
    }

    fn add(&mut self, plan: &Arc<Plan>, start: Instant, may_fail: bool) {
        let phone = self.world.add_phone(plan, start, may_fail);
        self.phones.push(phone);
    }

    fn run(&mut self) -> Back {
        self.world.run();
        self.world.check();
        let mut sorted = Vec::new();
        let mut retries = 0;
        for phone in &self.phones {
            let results = self.world.results(*phone);
            let (Some(first), Some(last)) = (results.first(), results.last()) else { continue };
            sorted.push((last.began + last.took - first.began).as_secs_f64());
            retries += results.iter().map(|file| file.tally.retries).sum::<u32>();
        }
        sorted.sort_by(f64::total_cmp);
        Back { sorted, retries }
    }
}

#[test]
fn half_of_the_phones_are_back_in_half_the_time_and_the_last_one_no_later() {
    let back = [ServiceOrder::FirstCome, ServiceOrder::Fair].map(|order| {
        let mut storm = Storm::new(5, order, Link::LAN, 80);
        let plan = plan(Client::default(), &["settings"]);
        (0..800).for_each(|_| storm.add(&plan, Instant::START, false));
        storm.run()
    });
    for one in &back {
        let (half, last) = (one.at(0.5), one.at(1.0));
        println!("{:.0} phone-seconds: {half:.2} s, {last:.2} s", one.phone_seconds());
    }
    let [first_come, fair] = back;
    assert!(fair.at(0.5) < 0.6 * fair.at(1.0));
    assert!(fair.at(1.0) < 1.05 * first_come.at(1.0));
    assert!(fair.phone_seconds() < 0.65 * first_come.phone_seconds());
    assert_eq!(fair.retries, 0, "no phone waits so long that it asks again");
}

#[test]
fn phones_without_firmware_do_not_wait_for_those_with_it() {
    let [first_come, fair] = [ServiceOrder::FirstCome, ServiceOrder::Fair].map(|order| {
        let mut storm = Storm::new(6, order, Link::LAN, 60);
        let short = plan(Client::default(), &["script", "settings"]);
        let long = plan(Client::default(), &["script", "settings", "firmware"]);
        for phone in 0..300 {
            storm.add(if phone % 3 == 0 { &long } else { &short }, Instant::START, false);
        }
        storm.run()
    });
    println!("{:.2} and {:.2} s", first_come.at(0.5), fair.at(0.5));
    assert!(fair.at(0.25) < 0.65 * first_come.at(0.25));
    assert!(fair.at(0.99) < 1.05 * first_come.at(0.99));
    assert_eq!(fair.retries, 0);
}

#[test]
fn a_server_that_keeps_up_puts_nothing_off() {
    // Phones far away, whose packets wait in no queue.
    let far = Link { delay: Duration::from_millis(40), jitter: Duration::ZERO, ..Link::WAN };
    let [first_come, fair] = [ServiceOrder::FirstCome, ServiceOrder::Fair].map(|order| {
        let mut storm = Storm::new(7, order, far, 2);
        let plan = plan(Client::default(), &["settings"]);
        (0..250).for_each(|phone| storm.add(&plan, Instant::from_millis(phone * 8), false));
        storm.run()
    });
    println!("{:.2} and {:.2} s", first_come.at(1.0), fair.at(1.0));
    assert!(fair.at(1.0) < 1.06 * first_come.at(1.0));
    assert!(fair.at(0.5) < 1.05 * first_come.at(0.5));
}

#[test]
fn whatever_comes_in_whatever_order_everybody_is_back() {
    for seed in 0..5 {
        let mut random = Random::new(seed);
        let rough = Link { loss: 0.01, twice: 0.01, late: 0.01, ..Link::LAN };
        let mut storm = Storm::new(seed, ServiceOrder::Fair, rough, 60 + random.next_u64() % 200);
        for _ in 0..150 {
            let windowsize = random.chance(0.3).then_some(8);
            let timeout = random.chance(0.3).then_some(1);
            let options = Options { windowsize, timeout, ..Options::default() };
            let on_timer = *random.pick(&[OnTimer::AskAgain, OnTimer::AckAgain]).unwrap();
            let behaviour = Behaviour { on_timer, ..Behaviour::default() };
            let client = Client { options, behaviour, ..Client::default() };
            let names = match random.next_u64() % 4 {
                0 => &["script", "settings", "firmware"][..],
                1 => &["settings"],
                _ => &["script", "settings"],
            };
            let start = Instant::from_millis(random.next_u64() % 800);
            storm.add(&plan(client, names), start, false);
        }
        storm.run();
    }
}
