//! Thousands of simulated phones against the TFTP engine: every kind, every edge, one seed each.
//!
//! The world's invariants check what may never happen; see `phones::sim`.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;

use engine::settings::tftp::WrapTo;
use engine::vault::upload::{OnExists, Rule, Rules};
use phones::phone::boot::{Action, Plan, PlanStep};
use phones::phone::tftp::{Behaviour, Client, Leave, OnTimer};
use phones::random::Random;
use phones::sim::link::Link;
use phones::sim::tftp::{Setup, TftpServer};
use phones::sim::{Files, SERVER, World};
use wire::tftp::{Block, Control, Options};
use wire::time::{Duration, Instant};

const ROUGH: Link =
    Link { loss: 0.02, twice: 0.02, late: 0.02, late_by: Duration::from_millis(3), ..Link::LAN };

fn bytes(count: usize) -> Arc<[u8]> {
    let mut random = Random::new(count as u64);
    (0..count).map(|_| random.next_u64() as u8).collect()
}

/// Files named by their sizes: `f0`, `f1`, …
fn files(sizes: impl IntoIterator<Item = usize>) -> Files {
    sizes.into_iter().map(|size| (format!("f{size}").into_bytes(), bytes(size))).collect()
}

fn plan(client: Client, names: &[String]) -> Arc<Plan> {
    Arc::new(Plan {
        client: Arc::new(client),
        steps: names.iter().map(|name| PlanStep::fetch(name)).collect(),
        ports: 64,
        attempts: 5,
        pause: Duration::ZERO,
        dally: Duration::from_secs(5),
    })
}

fn asking(blksize: Option<u64>, windowsize: Option<u64>) -> Options {
    Options { blksize, windowsize, ..Options::default() }
}

fn some_name(random: &mut Random, files: &Files) -> String {
    let mut names: Vec<&Vec<u8>> = files.keys().collect();
    names.sort();
    String::from_utf8(random.pick(&names).unwrap().to_vec()).unwrap()
}

/// Returns options as phones combine them.
fn some_options(random: &mut Random) -> Options {
    let sizes = [8, 16, 511, 512, 513, 1_024, 1_428, 1_468, 8_192, 65_464];
    let windows = [1, 2, 3, 4, 7, 8, 16, 32, 63, 64];
    let mut some = |share, from: &[u64]| random.chance(share).then(|| *random.pick(from).unwrap());
    Options {
        blksize: some(0.6, &sizes),
        windowsize: some(0.5, &windows),
        timeout: some(0.2, &[1, 2, 5]),
        utimeout: some(0.05, &[250_000]),
        tsize: some(0.4, &[0]),
    }
}

/// Returns one habit or two, in any combination that a client could really have.
fn some_behaviour(random: &mut Random, link: Link) -> Behaviour {
    let mut behaviour = Behaviour::default();
    if random.chance(0.1) && link.twice == 0.0 {
        // Alone: a client that requests the next file from the same port while its earlier request
        // is still on its way may take the earlier answer for the new one, whatever the server
        // does.
        behaviour.keeps_port = true;
        return behaviour;
    }
    for _ in 0..random.below(3) {
        match random.below(11) {
            0 => {
                behaviour.extra_requests = 1 + random.below(3) as u8;
                behaviour.extra_request_gap = Duration::from_millis(random.below(5));
            }
            1 => behaviour.on_timer = OnTimer::AskAgain,
            2 => behaviour.extra_acks = 1,
            3 => behaviour.leave_after = Some((random.below(2_000), Leave::Error)),
            4 => behaviour.leave_after = Some((random.below(2_000), Leave::Silence)),
            5 => behaviour.probes = true,
            6 => behaviour.deaf_to_option_ack = true,
            7 => behaviour.keeps_last_ack = true,
            8 => behaviour.garbage_bytes = 1 + random.below(200) as u8,
            9 => behaviour.acks_errors = true,
            _ => {}
        }
    }
    behaviour
}

fn some_client(random: &mut Random, link: Link) -> Client {
    let timers = [Duration::from_millis(400), Duration::from_secs(1), Duration::from_secs(4)];
    let mut client = Client {
        options: some_options(random),
        timer: *random.pick(&timers).unwrap(),
        tries: 8,
        behaviour: some_behaviour(random, link),
    };
    if client.behaviour.on_timer == OnTimer::AskAgain {
        // A client that begins again must give the server time to repair a loss, or may begin for
        // ever; and then an old block 1 may arrive when the answer to the new request is due.
        client.timer = Duration::from_secs(4);
        (client.options.timeout, client.options.utimeout) = (None, None);
    }
    client
}

fn world_of_many(seed: u64, phones: usize, link: Link) -> World<TftpServer> {
    let mut random = Random::new(seed);
    let files = files([0, 1, 7, 8, 9, 511, 512, 513, 1_023, 1_024, 1_025, 1_427, 1_428, 20_000]);
    let setup = Setup {
        pool_ports: *random.pick(&[1, 2, 8, 64]).unwrap(),
        preloaded: random.chance(0.5),
        ..Setup::default()
    };
    let mut world = World::new(seed, TftpServer::new(&files, setup), files.clone(), link);
    for _ in 0..phones {
        let steps: Vec<String> =
            (0..1 + random.below(4)).map(|_| some_name(&mut random, &files)).collect();
        let mut plan = Arc::unwrap_or_clone(plan(some_client(&mut random, link), &steps));
        if random.chance(0.3) {
            let missing = PlanStep { may_be_missing: true, ..PlanStep::fetch("SEP00040D.cnf.xml") };
            plan.steps.insert(0, missing);
        }
        let start = Instant::from_micros(random.below(2_000_000));
        world.add_phone(&Arc::new(plan), start, false);
    }
    world
}

#[test]
fn two_thousand_phones_of_every_kind_come_back_over_a_quiet_network() {
    for seed in 0..4 {
        let mut world = world_of_many(seed, 2_000, Link::LAN);
        world.run();
        world.check();
    }
}

#[test]
fn two_thousand_phones_of_every_kind_come_back_over_a_rough_network() {
    for seed in 100..106 {
        let mut world = world_of_many(seed, 2_000, ROUGH);
        world.run();
        world.check();
    }
}

#[test]
fn phones_come_back_over_a_long_way_that_loses_and_doubles() {
    for seed in 200..204 {
        let mut world = world_of_many(seed, 500, Link { loss: 0.02, twice: 0.05, ..Link::WAN });
        world.run();
        world.check();
    }
}

#[test]
fn every_file_size_around_the_edges_arrives_whole() {
    let blksizes = [8, 512, 1_428];
    let sizes: HashSet<usize> = blksizes
        .iter()
        .flat_map(|blksize| [0, 1, 2, 3, 16, 17, 64, 65].map(|blocks| blksize * blocks))
        .flat_map(|size: usize| [size.saturating_sub(1), size, size + 1])
        .collect();
    let files = files(sizes);
    let mut names: Vec<String> =
        files.keys().map(|name| String::from_utf8(name.clone()).unwrap()).collect();
    names.sort();
    for (seed, link) in [(1, Link::LAN), (2, ROUGH)] {
        let server = TftpServer::new(&files, Setup::default());
        let mut world = World::new(seed, server, files.clone(), link);
        for blksize in blksizes {
            for window in [1, 2, 3, 4, 5, 8, 15, 16, 17, 31, 32, 33, 63, 64] {
                let options = asking(Some(blksize as u64), Some(window));
                let client = Client { options, ..Client::default() };
                world.add_phone(&plan(client, &names), Instant::START, false);
            }
        }
        world.add_phone(&plan(Client::default(), &names), Instant::START, false);
        world.run();
        world.check();
    }
}

#[test]
fn block_numbers_wrap_to_0_and_to_1() {
    let sizes = [65_535, 65_536, 131_070, 131_072].map(|blocks| blocks * 8);
    let files = files(sizes.iter().flat_map(|size| [size - 1, *size, size + 1]));
    let names: Vec<String> = sizes.iter().map(|size| format!("f{}", size - 1)).collect();
    let exact: Vec<String> = sizes.iter().map(|size| format!("f{size}")).collect();
    for (wraps_to_one, wrap_to) in [(false, WrapTo::Zero), (true, WrapTo::One)] {
        let mut setup = Setup::default();
        setup.policy.tftp.limits.wrap_to = wrap_to;
        let link = Link { loss: 0.001, twice: 0.001, ..Link::LAN };
        let mut world = World::new(7, TftpServer::new(&files, setup), files.clone(), link);
        let behaviour = Behaviour { wraps_to_one, ..Behaviour::default() };
        for (windowsize, names) in [(None, &names), (Some(16), &exact), (Some(64), &names)] {
            let options = asking(Some(8), windowsize);
            let client = Client { options, behaviour, ..Client::default() };
            world.add_phone(&plan(client, names), Instant::START, false);
        }
        world.run();
        world.check();
    }
}

#[test]
fn hardly_a_block_is_sent_for_nothing_where_nothing_is_lost() {
    for (mode, windowsize) in [("lock-step", None), ("window 16", Some(16))] {
        let files = files([100_000]);
        // Windows stay in order only on a network that does not reorder.
        let jitter = if windowsize.is_some() { Duration::ZERO } else { Link::WAN.jitter };
        let link = Link { jitter, ..Link::WAN };
        let server = TftpServer::new(&files, Setup::default());
        let mut world = World::new(3, server, files.clone(), link);
        for phone in 0..200 {
            let client = Client { options: asking(None, windowsize), ..Client::default() };
            let names = vec!["f100000".to_owned(); 5];
            world.add_phone(&plan(client, &names), Instant::from_millis(phone * 5), false);
        }
        world.run();
        world.check();
        let figures = world.figures();
        let share = figures.data_resent as f64 / figures.data_sent as f64;
        println!(
            "{mode}: {} of {} blocks sent for nothing at 25 ms +- 5 ms: {:.4} %",
            figures.data_resent,
            figures.data_sent,
            share * 100.0
        );
        assert!(share < 0.001, "{mode}: {share}");
    }
}

#[test]
fn hardly_a_block_is_sent_for_nothing_when_all_phones_come_at_once() {
    let files = files([32_768]);
    for service_us in [5, 20, 50] {
        let server = TftpServer::new(&files, Setup::default());
        let mut world = World::new(3, server, files.clone(), Link::LAN);
        world.set_service(Duration::from_micros(service_us));
        for _ in 0..3_000 {
            let plan = plan(Client::default(), &["f32768".to_owned()]);
            world.add_phone(&plan, Instant::START, false);
        }
        world.run();
        world.check();
        let figures = world.figures();
        let share = figures.data_resent as f64 / figures.data_sent as f64;
        println!(
            "{service_us} us a datagram: {} of {} blocks sent for nothing: {:.3} %",
            figures.data_resent,
            figures.data_sent,
            share * 100.0
        );
        assert!(share < 0.001, "{service_us} us: {share}");
    }
}

#[test]
fn a_network_that_doubles_everything_doubles_no_data() {
    let files = files([50_000]);
    let server = TftpServer::new(&files, Setup::default());
    let mut world = World::new(3, server, files.clone(), Link { twice: 1.0, ..Link::LAN });
    for _ in 0..50 {
        world.add_phone(&plan(Client::default(), &["f50000".to_owned()]), Instant::START, false);
    }
    world.run();
    world.check();
    assert_eq!(world.figures().data_resent, 0);
}

#[test]
fn one_loss_costs_about_one_resend() {
    let files = files([500_000]);
    let server = TftpServer::new(&files, Setup::default());
    let mut world = World::new(3, server, files.clone(), Link { loss: 0.01, ..Link::LAN });
    for _ in 0..20 {
        let client = Client { options: asking(Some(1_428), None), ..Client::default() };
        world.add_phone(&plan(client, &["f500000".to_owned()]), Instant::START, false);
    }
    world.run();
    world.check();
    let figures = world.figures();
    println!("{} lost, {} resent", figures.lost, figures.data_resent);
    assert!(figures.data_resent <= figures.lost * 11 / 10 + 5, "{figures:?}");
}

#[test]
fn a_forged_request_brings_its_victim_three_datagrams_at_most() {
    let files = files([0, 20_000]);
    for preloaded in [false, true] {
        let setup = Setup { preloaded, ..Setup::default() };
        let mut world = World::new(1, TftpServer::new(&files, setup), files.clone(), Link::LAN);
        let mut victims = Vec::new();
        let options = [asking(None, None), asking(Some(1_428), Some(64))];
        for (number, options) in options.into_iter().enumerate() {
            for name in ["f0", "f20000", "nothing"] {
                let port = 1_000 + number as u16 * 100 + name.len() as u16;
                let victim = SocketAddr::from(([198, 51, 100, 7], port));
                world.forge(victim, name, options, Instant::START);
                victims.push((victim, name));
            }
        }
        world.run();
        world.check();
        for (victim, name) in victims {
            let sends = world.sends_unanswered(victim);
            let most = if name == "nothing" { 1 } else { 3 };
            assert!((1..=most).contains(&sends), "{name}: {sends}");
        }
    }
}

#[test]
fn what_phones_store_arrives_whole() {
    let mut random = Random::new(9);
    for link in [Link::LAN, ROUGH] {
        let mut setup = Setup::default();
        let rule = Rule::new("*.log", 0, 1 << 20, OnExists::Replace).unwrap();
        setup.policy.uploads = Rules(vec![rule]);
        let files = Files::new();
        let mut world = World::new(5, TftpServer::new(&files, setup), files, link);
        let mut stored = Vec::new();
        for phone in 0..300 {
            let size = *random.pick(&[0, 1, 511, 512, 513, 5_000, 40_000]).unwrap();
            let content = bytes(size);
            let mut options = some_options(&mut random);
            options.tsize = random.chance(0.5).then_some(0);
            let client = Client { options, ..Client::default() };
            let name = format!("{phone:012}-app.log");
            let mut plan = Arc::unwrap_or_clone(plan(client, &[]));
            let action = Action::Store(Arc::clone(&content));
            plan.steps.push(PlanStep { action, ..PlanStep::fetch(&name) });
            world.add_phone(&Arc::new(plan), Instant::START, false);
            stored.push((name, content));
        }
        world.run();
        world.check();
        for (name, content) in stored {
            let uploads = world.server().uploads();
            let upload = uploads.iter().rfind(|upload| upload.name.to_string() == name);
            assert_eq!(upload.map(|upload| &upload.bytes[..]), Some(&content[..]), "{name}");
        }
    }
}

#[test]
fn a_server_of_one_port_serves_phones_that_re_use_theirs() {
    for (seed, pool_ports) in [(1, 0), (2, 8)] {
        let files = files([0, 1, 512, 5_000]);
        let names: Vec<String> =
            ["f0", "f1", "f512", "f5000"].iter().map(|name| (*name).to_owned()).collect();
        let setup = Setup { pool_ports, ..Setup::default() };
        let mut world = World::new(seed, TftpServer::new(&files, setup), files, Link::LAN);
        for _ in 0..200 {
            let behaviour = Behaviour { keeps_port: true, ..Behaviour::default() };
            let client = Client { behaviour, ..Client::default() };
            world.add_phone(&plan(client, &names), Instant::START, false);
        }
        world.run();
        world.check();
    }
}

#[test]
fn a_board_that_needs_every_block_twice_is_quick_where_it_is_configured() {
    let files = files([50_000]);
    let mut setup = Setup::default();
    setup.policy.tftp.limits.second_copy_after = Duration::from_millis(1);
    let mut world = World::new(1, TftpServer::new(&files, setup), files, Link::LAN);
    let behaviour = Behaviour { needs_data_twice: true, ..Behaviour::default() };
    let client = Client { behaviour, ..Client::default() };
    let phone = world.add_phone(&plan(client, &["f50000".to_owned()]), Instant::START, false);
    world.run();
    world.check();
    let took = world.results(phone)[0].took;
    assert!(took < Duration::from_secs(1), "{took:?}");
}

#[test]
fn every_phone_comes_back_through_a_hundred_slots() {
    let files = files([5_000, 20_000]);
    let mut setup = Setup::default();
    setup.policy.slots.clients_max = 100;
    setup.policy.slots.hold = Duration::from_secs(2);
    let mut world = World::new(1, TftpServer::new(&files, setup), files, Link::LAN);
    for phone in 0..1_000 {
        let client = Client { tries: 60, ..Client::default() };
        let names = ["f5000".to_owned(), "f20000".to_owned()];
        world.add_phone(&plan(client, &names), Instant::from_millis(phone), false);
    }
    world.run();
    world.check();
}

#[test]
fn phones_that_pause_between_their_files_lend_their_places_and_all_come_back() {
    let files = files([5_000, 20_000]);
    for (link, dying) in [(Link::LAN, 0), (ROUGH, 20)] {
        let mut setup = Setup::default();
        setup.policy.slots.clients_max = 20;
        let mut world = World::new(3, TftpServer::new(&files, setup), files.clone(), link);
        for phone in 0..500 {
            // Some fall silent in the middle of a file.
            let dies = phone < dying;
            let leave_after = dies.then_some((1_000, Leave::Silence));
            let behaviour = Behaviour { leave_after, ..Behaviour::default() };
            let client = Client { tries: 11, behaviour, ..Client::default() };
            let names = ["f5000", "f20000", "f5000"].map(str::to_owned);
            let mut plan = Arc::unwrap_or_clone(plan(client, &names));
            plan.pause = Duration::from_secs(2);
            world.add_phone(&Arc::new(plan), Instant::from_millis(phone), dies);
        }
        world.run();
        world.check();
        let fewest = (dying..500).map(|phone| world.results(phone as usize).len()).min();
        assert_eq!(fewest, Some(3));
    }
}

#[test]
fn garbage_from_strangers_and_neighbours_does_no_harm() {
    let files = files([20_000]);
    let server = TftpServer::new(&files, Setup::default());
    let mut world = World::new(1, server, files, Link::LAN);
    let mut random = Random::new(11);
    for phone in 0..100 {
        let start = Instant::from_millis(phone * 10);
        world.add_phone(&plan(Client::default(), &["f20000".to_owned()]), start, false);
    }
    for _ in 0..50_000 {
        let at = Instant::from_micros(random.below(2_000_000));
        // Half of it comes from the very hosts that are being served, from ports they do not use.
        let host =
            if random.chance(0.5) { [10, 1, 0, random.below(100) as u8] } else { [9, 9, 9, 9] };
        let peer = SocketAddr::from((host, 60_000 + random.below(5_000) as u16));
        let port = if random.chance(0.3) { SERVER.port() } else { 40_000 + random.below(9) as u16 };
        let bytes = match random.below(3) {
            0 => Control::ack(Block(random.below(60) as u16)).as_bytes().to_vec(),
            1 => vec![0, random.below(9) as u8, 0, random.below(50) as u8],
            _ => (0..random.below(40)).map(|_| random.next_u64() as u8).collect(),
        };
        world.inject(peer, port, bytes, at);
    }
    world.run();
    world.check();
}

#[test]
fn one_seed_is_one_history() {
    let digest = |seed| {
        let mut world = world_of_many(seed, 300, ROUGH);
        world.run();
        world.figures().digest
    };
    assert_eq!(digest(5), digest(5));
    assert_ne!(digest(5), digest(6));
}
