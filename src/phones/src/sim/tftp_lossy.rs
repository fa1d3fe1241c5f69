//! Lossy links: what windows cost on them, and uploads whose last ACK gets lost, over many seeds.
//!
//! Only for tests.

use std::sync::Arc;

use super::link::Link;
use super::tftp::{Setup, TftpServer};
use super::{Files, World};
use crate::phone::boot::{Action, Plan, PlanStep};
use crate::phone::tftp::{Behaviour, Client, Ending};
use engine::policy::snapshot::Policy;
use engine::vault::upload::{OnExists, Rule, Rules};
use wire::tftp::{Block, Options};
use wire::time::{Duration, Instant};

const BYTES: usize = 1 << 20;
const BLKSIZE: u64 = 1_468;
const BLOCKS: u64 = BYTES as u64 / BLKSIZE + 1;
const SEEDS: u32 = 20;

fn plan(client: Client, step: PlanStep, attempts: u8) -> Arc<Plan> {
    Arc::new(Plan {
        client: Arc::new(client),
        steps: vec![step],
        ports: 100,
        attempts,
        pause: Duration::ZERO,
        dally: Duration::from_secs(3),
    })
}

/// Fetches a mebibyte. Returns the average blocks sent per block, and the average time.
fn fetch(client: &Client, link: Link) -> (f64, Duration) {
    let file: Arc<[u8]> = (0..BYTES).map(|at| (at % 251) as u8).collect();
    let files: Files = [(b"firmware".to_vec(), file)].into();
    let plan = plan(client.clone(), PlanStep::fetch("firmware"), 3);
    let blksize = client.options.blksize.unwrap_or(512);
    let blocks = BYTES as u64 / blksize + 1;
    let (mut sent, mut took) = (0, Duration::ZERO);
    for seed in 0..SEEDS {
        let server = TftpServer::new(&files, Setup::default());
        let mut world = World::new(u64::from(seed), server, files.clone(), link);
        let phone = world.add_phone(&plan, Instant::START, false);
        world.run();
        world.check();
        sent += world.figures().data_sent;
        took += world.results(phone).iter().map(|file| file.took).sum::<Duration>();
    }
    (sent as f64 / f64::from(SEEDS) / blocks as f64, took / SEEDS)
}

fn windowed(window: u64, acks_every_block: bool) -> Client {
    let options =
        Options { blksize: Some(BLKSIZE), windowsize: Some(window), ..Options::default() };
    let behaviour = Behaviour { acks_every_block, ..Behaviour::default() };
    Client { options, behaviour, ..Client::default() }
}

fn losing(loss: f64, link: Link) -> Link {
    Link { loss, ..link }
}

#[test]
fn a_window_on_a_bad_line_costs_at_most_half_as_many_blocks_again() {
    for (loss, most) in [(0.05, 1.5), (0.01, 1.2)] {
        for link in [Link::LAN, Link::WAN] {
            let (cost, took) = fetch(&windowed(64, false), losing(loss, link));
            assert!(cost <= most, "{cost} at {loss}, {took:?}");
            assert!(took < Duration::from_secs(25), "{cost} at {loss}, {took:?}");
        }
    }
}

#[test]
fn a_client_that_acknowledges_every_block_costs_no_more_than_others() {
    for (loss, most) in [(0.05, 1.5), (0.01, 1.25), (0.0, 1.1)] {
        let (cost, took) = fetch(&windowed(64, true), losing(loss, Link::LAN));
        assert!(cost <= most, "{cost} at {loss}, {took:?}");
    }
}

#[test]
fn a_window_on_a_clean_line_is_sent_once_and_whole() {
    for (link, trip) in [(Link::LAN, 600), (Link::WAN, 30_000)] {
        let (cost, took) = fetch(&windowed(64, false), link);
        assert!(cost == 1.0, "{cost}");
        // The request, the OACK, and one round trip for each window.
        let trips = 2 + BLOCKS.div_ceil(64);
        assert!(took <= Duration::from_micros(trips * trip), "{took:?}");
    }
}

#[test]
fn a_mebibyte_at_one_percent_loss_takes_seconds_whatever_timeout_its_client_names() {
    for timeout in [None, Some(1), Some(5), Some(6), Some(255)] {
        let options = Options { timeout, ..Options::default() };
        let timer = Duration::from_secs(timeout.unwrap_or(1));
        let client = Client { options, timer, ..Client::default() };
        let (_, took) = fetch(&client, losing(0.01, Link::LAN));
        assert!(took < Duration::from_secs(5), "{timeout:?}: {took:?}");
    }
}

/// Returns clients as in the field: name, interval, tries, and what they negotiate.
fn uploaders() -> Vec<(&'static str, Client)> {
    let client = |timer, tries, options| Client {
        timer: Duration::from_secs(timer),
        tries,
        options,
        ..Client::default()
    };
    let none = Options::default();
    let curl =
        Options { tsize: Some(0), blksize: Some(512), timeout: Some(6), ..Options::default() };
    let slow = Options { timeout: Some(60), ..Options::default() };
    vec![
        ("tftp-hpa", client(5, 5, none)),
        ("atftp", client(5, 5, none)),
        ("tftpy", client(5, 4, none)),
        ("curl", client(6, 5, curl)),
        ("a slow one", client(60, 4, slow)),
        ("a hasty one", client(1, 10, none)),
    ]
}

/// Uploads a log whose first last ACKs get lost.
fn upload(client: &Client, lost: u32, attempts: u8) -> World<TftpServer> {
    let mut policy = Policy::default();
    policy.tftp.transfers_max = 100;
    policy.tftp.half_open_max = 100;
    policy.tftp.upload_memory_bytes_max = 1 << 20;
    policy.tftp.uploads_aside_max = 1_024;
    policy.uploads = Rules(vec![Rule::new("*.log", 0, 10_000, OnExists::Append).unwrap()]);
    let files = Files::new();
    let server = TftpServer::new(&files, Setup { policy, ..Setup::default() });
    let mut world = World::new(1, server, files, Link::LAN);
    world.lose_acks(Block(3), lost);
    let action = Action::Store([7; 1_100].as_slice().into());
    let step = PlanStep { action, ..PlanStep::fetch("one.log") };
    world.add_phone(&plan(client.clone(), step, attempts), Instant::START, true);
    world.run();
    world.check();
    world
}

#[test]
fn clients_hear_of_their_upload_however_many_last_acks_get_lost_while_they_try() {
    for (name, client) in uploaders() {
        for lost in 0..client.tries {
            let mut world = upload(&client, lost, 1);
            let endings: Vec<_> = world.results(0).iter().map(|file| file.ending).collect();
            assert_eq!(endings, [Ending::Done], "{name}, {lost} lost");
            assert_eq!(world.server().uploads().len(), 1, "{name}, {lost} lost");
        }
    }
}

#[test]
fn a_client_that_heard_nothing_and_tries_again_appends_its_log_once() {
    for (name, client) in uploaders() {
        for lost in client.tries..client.tries * 2 {
            let mut world = upload(&client, lost, 3);
            assert_eq!(world.server().uploads().len(), 1, "{name}, {lost} lost");
            assert_eq!(world.results(0).last().unwrap().ending, Ending::Done, "{name}, {lost}");
        }
    }
}
