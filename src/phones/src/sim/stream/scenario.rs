//! Worlds from a seed: which phones there are and what they do, what breaks, and what changes.
//!
//! Chooses alone; what must hold in all of them is not written here.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use super::World;
use super::bug::Bug;
use super::disk::DiskTerms;
use super::link::StreamLink;
use super::phone::Phone;
use super::plan::Plan;
use super::server::{FTP, policy};
use crate::phone::{ftp, http};
use crate::random::Random;
use engine::admission::slots::IdlePlace;
use engine::policy::snapshot::Policy;
use http::Presence;
use wire::time::{Duration, Instant};

/// Times that a phone obeys "come again later".
const WAITS: u32 = 10_000;
/// The files that all phones read, and their sizes.
const FILES: [(&str, usize); 4] =
    [("46xxupgrade.scr", 300), ("46xxsettings.txt", 2_000), ("empty.txt", 0), ("9608.bin", 12_000)];

/// What a world is like.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    /// Phones.
    pub phones: usize,
    /// The network.
    pub link: StreamLink,
    /// The disk.
    pub disk: DiskTerms,
    /// Clients that are served at once; 0 for all.
    pub clients_max: usize,
    /// What becomes of the places of those that are idle.
    pub idle_place: IdlePlace,
    /// Share of phones outside the access list.
    pub strangers: f64,
    /// Share of phones that lose power.
    pub deaths: f64,
    /// How often files change, and whether in place, too.
    pub changes: usize,
    /// Files are written over in place, too.
    pub in_place: bool,
    /// What the server does wrong.
    pub bug: Option<Bug>,
}

impl Scenario {
    /// Nothing breaks.
    pub const CALM: Scenario = Scenario {
        phones: 12,
        link: StreamLink::CALM,
        disk: DiskTerms::GOOD,
        clients_max: 0,
        idle_place: IdlePlace::Keep,
        strangers: 0.0,
        deaths: 0.0,
        changes: 3,
        in_place: false,
        bug: None,
    };

    /// Anything may, at any moment.
    pub const ROUGH: Scenario = Scenario {
        link: StreamLink::ROUGH,
        disk: DiskTerms::BAD,
        strangers: 0.1,
        deaths: 0.1,
        in_place: true,
        ..Scenario::CALM
    };

    /// One of all, by a seed.
    #[must_use]
    pub fn of(seed: u64) -> Scenario {
        let mut random = Random::new(!seed);
        let mut either = |share, one| if random.chance(share) { one } else { Scenario::CALM };
        let link = either(0.6, Scenario::ROUGH).link;
        let Scenario { disk, in_place, .. } = either(0.5, Scenario::ROUGH);
        let Scenario { strangers, deaths, .. } = either(0.5, Scenario::ROUGH);
        let clients_max = if random.chance(0.5) { 1 + random.below(6) as usize } else { 0 };
        let phones = 1 + random.below(24) as usize;
        let changes = random.below(6) as usize;
        Scenario {
            phones,
            link,
            disk,
            clients_max,
            idle_place: if seed.is_multiple_of(2) { IdlePlace::Keep } else { IdlePlace::Lend },
            strangers,
            deaths,
            changes,
            in_place,
            bug: None,
        }
    }

    fn policy(&self) -> Policy {
        let mut policy = policy();
        policy.slots.clients_max = self.clients_max;
        policy.slots.idle_place = self.idle_place;
        policy.slots.hold = Duration::from_secs(5);
        policy
    }

    /// The world of a seed, not run yet.
    #[must_use]
    pub fn world(&self, seed: u64) -> World {
        let mut random = Random::new(seed);
        let mut world = World::new(seed, self.policy(), self.link, self.disk, self.bug);
        for (name, bytes) in FILES {
            world.add_file(name, &content(&mut random, bytes));
        }
        for _ in 0..self.changes {
            let Some((name, bytes)) = random.pick(&FILES).copied() else { break };
            let at = Instant::START + random.time_below(Duration::from_secs(3));
            let after = random.time_below(Duration::from_secs(2));
            let in_place = (self.in_place && random.chance(0.5)).then_some(after);
            let bytes = content(&mut random, bytes);
            world.change_file(at, name, &bytes, in_place);
        }
        for number in 0..self.phones {
            let is_stranger = random.chance(self.strangers);
            let start = Instant::START + random.time_below(Duration::from_secs(2));
            let plan = if is_stranger { stranger(&mut random) } else { plan(&mut random, number) };
            let mut phone = Phone::new(plan, address(number, is_stranger), start);
            phone.half_closes = random.chance(0.5) && phone.closes_each();
            if random.chance(0.2) {
                phone.reads_after = random.time_below(Duration::from_millis(300));
            }
            let phone = world.add_phone(phone);
            if random.chance(self.deaths) {
                let at = start + random.time_below(Duration::from_secs(1));
                world.kill_phone(phone, at, random.chance(0.5));
            }
        }
        world
    }
}

/// Whether an address is one outside the access list.
#[must_use]
pub fn is_stranger(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.octets()[0] != 10,
        IpAddr::V6(_) => true,
    }
}

fn address(number: usize, is_stranger: bool) -> IpAddr {
    let [_, _, high, low] = (number as u32).to_be_bytes();
    let first = if is_stranger { 192 } else { 10 };
    Ipv4Addr::new(first, 1, high, low).into()
}

fn content(random: &mut Random, bytes: usize) -> Arc<[u8]> {
    (0..bytes.div_ceil(8)).flat_map(|_| random.next_u64().to_le_bytes()).take(bytes).collect()
}

fn of_http(client: http::Client, steps: Vec<http::PlanStep>) -> Plan {
    let (pause, stays) = (Duration::ZERO, Duration::ZERO);
    Plan::Http(Arc::new(http::Plan { client: Arc::new(client), secret: None, steps, pause, stays }))
}

fn of_ftp(random: &mut Random, steps: Vec<ftp::PlanStep>) -> Plan {
    use ftp::Meeting::{Active, ExtendedActive, ExtendedPassive, Passive};
    let meetings = [Active, ExtendedActive, ExtendedPassive, Passive];
    let client = ftp::Client {
        meeting: random.pick(&meetings).copied().unwrap_or(Passive),
        attempts: 4,
        waits: WAITS,
        ..ftp::Client::new(FTP.ip())
    };
    let stays = random.time_below(Duration::from_secs(4));
    let (user, password) = ("anonymous".into(), "phone@".into());
    Plan::Ftp(Arc::new(ftp::Plan { client: Arc::new(client), user, password, steps, stays }))
}

fn http_client(random: &mut Random) -> http::Client {
    let paces = [http::Pace::SlowToAsk, http::Pace::SlowToStore, http::Pace::SlowToRead];
    let pace = match random.pick(&paces) {
        Some(pace) if random.chance(0.1) => pace(Duration::from_millis(1 + random.below(4))),
        Some(_) | None => http::Pace::Full,
    };
    http::Client {
        closes: random.chance(0.3),
        attempts: 4,
        waits: WAITS,
        pace,
        ..http::Client::new("10.0.0.1")
    }
}

fn http_step(path: &str, action: http::Action, presence: Presence) -> http::PlanStep {
    http::PlanStep { path: format!("/{path}").into_bytes().into(), action, presence }
}

fn ftp_step(name: &str, action: ftp::Action, presence: Presence) -> ftp::PlanStep {
    ftp::PlanStep { name: name.as_bytes().into(), action, presence }
}

/// Somebody outside the access list, who asks all the same.
fn stranger(random: &mut Random) -> Plan {
    match random.chance(0.5) {
        true => {
            let client = http::Client { attempts: 2, ..http_client(random) };
            of_http(client, vec![http_step("9608.bin", http::Action::Fetch, Presence::Must)])
        }
        false => {
            let fetch = ftp::Action::Fetch(None);
            of_ftp(random, vec![ftp_step("9608.bin", fetch, Presence::Must)])
        }
    }
}

/// The steps of a phone: it boots, or stores its user's data and reads it back.
fn plan(random: &mut Random, number: usize) -> Plan {
    // Two phones share an extension: one over HTTP and one over FTP, as a rule.
    let item = format!("{}_4620data.txt", 2_000 + number / 2);
    match (random.chance(0.5), random.chance(0.5)) {
        (true, true) => boot_http(random, &item),
        (true, false) => keep_http(random, &item, number),
        (false, true) => boot_ftp(random, &item),
        (false, false) => keep_ftp(random, &item, number),
    }
}

fn boot_http(random: &mut Random, item: &str) -> Plan {
    let fetch = |name: &str, presence| http_step(name, http::Action::Fetch, presence);
    let header = |bytes| http::Action::FetchHeader { bytes, asks_range: bytes % 2 == 0 };
    let client = http_client(random);
    let mut steps = vec![
        fetch("46xxupgrade.scr", Presence::Must),
        fetch("nothing.txt", Presence::May),
        http_step("9608.bin", header(100 + random.below(100)), Presence::Must),
        fetch("46xxsettings.txt", Presence::Must),
        fetch("empty.txt", Presence::Must),
        http_step("46xxsettings.txt", http::Action::Revalidate, Presence::Must),
        fetch(item, Presence::May),
    ];
    // A phone that reads a byte at a time is not told to read firmware.
    if client.pace == http::Pace::Full {
        steps.push(fetch("9608.bin", Presence::Must));
    }
    of_http(client, steps)
}

fn keep_http(random: &mut Random, item: &str, number: usize) -> Plan {
    let mut steps = Vec::new();
    let calendar = format!("{number}.cal");
    for _ in 0..1 + random.below(3) {
        let name = if random.chance(0.7) { item } else { &calendar };
        let length = random.below(3_000) as usize;
        let bytes = content(random, 1 + length);
        steps.push(http_step(name, http::Action::Store(bytes), Presence::Must));
        // Another phone of the extension may have removed it.
        steps.push(http_step(name, http::Action::Fetch, Presence::May));
    }
    if random.chance(0.3) {
        let log = content(random, 50);
        steps.push(http_step("phones.log", http::Action::Store(log), Presence::Must));
    }
    if random.chance(0.3) {
        steps.push(http_step(item, http::Action::Remove, Presence::May));
        steps.push(http_step(item, http::Action::Fetch, Presence::May));
    }
    of_http(http_client(random), steps)
}

fn boot_ftp(random: &mut Random, item: &str) -> Plan {
    let fetch = |name: &str, presence| ftp_step(name, ftp::Action::Fetch(None), presence);
    let steps = vec![
        fetch("46xxsettings.txt", Presence::Must),
        fetch("nothing.txt", Presence::May),
        fetch("empty.txt", Presence::Must),
        fetch("9608.bin", Presence::Must),
        fetch(item, Presence::May),
    ];
    of_ftp(random, steps)
}

fn keep_ftp(random: &mut Random, item: &str, number: usize) -> Plan {
    let mut steps = Vec::new();
    let calendar = format!("{number}.cal");
    for _ in 0..1 + random.below(3) {
        let name = if random.chance(0.7) { item } else { &calendar };
        let length = random.below(3_000) as usize;
        let bytes = content(random, 1 + length);
        steps.push(ftp_step(name, ftp::Action::Store(bytes), Presence::Must));
        steps.push(ftp_step(name, ftp::Action::Fetch(None), Presence::May));
    }
    if random.chance(0.3) {
        let log = content(random, 50);
        steps.push(ftp_step("phones.log", ftp::Action::Store(log), Presence::Must));
    }
    of_ftp(random, steps)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `RINGPOST_SEEDS=1000..100000 cargo nextest run -p phones seeds_of_the_environment` explores
    /// on; a seed that fails is told, and alone again by `RINGPOST_SEEDS=7..8`.
    #[test]
    fn seeds_of_the_environment_keep_every_promise() {
        let Ok(seeds) = std::env::var("RINGPOST_SEEDS") else { return };
        let (first, end) = seeds.split_once("..").unwrap();
        for seed in first.parse::<u64>().unwrap()..end.parse().unwrap() {
            super::super::tests::run(Scenario::of(seed), seed);
        }
    }
}
