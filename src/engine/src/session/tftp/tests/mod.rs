//! The rules of the RFCs, of real phones and of this server, one test each.
//!
//! Packets are written as words: `DATA 1 512` is block 1 with 512 bytes.

mod bounds;
mod limits;
mod reads;
mod requests;
mod windows;
mod writes;

use std::net::SocketAddr;

use super::model::{SERVER, Sent, World};
use super::{Datagram, PortId};
use crate::admission::budget::BudgetLimits;
use crate::catalog::RootId;
use crate::policy::snapshot::Policy;
use crate::session::{Outcome, Subject};
use crate::vault::upload::{OnExists, Rule, Rules};
use wire::tftp::{Block, Control, ErrorCode, data_header};
use wire::time::{Duration, Instant};

const PHONE: &str = "10.0.0.1:2000";
const OTHER: &str = "10.0.7.2:3000";
const FILES: &[(&str, u64)] = &[
    ("empty", 0),
    ("full", 512),
    ("two", 700),
    ("five", 2_100),
    ("huge", 150_000),
    ("440hd.img", 150_000),
    ("blocks65540", 65_540 * 8 - 3),
];

/// A server, and one phone that asks it.
struct Bench {
    world: World,
    phone: SocketAddr,
    /// The socket that last answered the phone.
    from: PortId,
    seen: usize,
    /// Whether the loader answers at once.
    answers: bool,
}

impl Bench {
    fn new() -> Bench {
        Bench::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut Policy)) -> Bench {
        Bench::made(4, BudgetLimits::default(), change)
    }

    fn made(pool: u16, budget: BudgetLimits, change: impl FnOnce(&mut Policy)) -> Bench {
        let mut policy = Policy::default();
        policy.tftp.stack = vec![RootId(0)];
        policy.tftp.transfers_max = 1_000;
        policy.tftp.half_open_max = 1_000;
        policy.tftp.upload_memory_bytes_max = 10_000_000;
        policy.tftp.uploads_aside_max = 512;
        policy.uploads = Rules(vec![Rule::new("*.log", 0, 1_000_000, OnExists::Replace).unwrap()]);
        change(&mut policy);
        let mut world = World::new(policy, pool, budget);
        world.publish(FILES.iter().copied());
        Bench { world, phone: at(PHONE), from: PortId(0), seen: 0, answers: true }
    }

    /// Has another phone ask the server from now on.
    fn phone(&mut self, phone: &str) -> &mut Bench {
        self.phone = at(phone);
        let last = self.world.sent.iter().rev().find(|sent| sent.peer == self.phone);
        self.from = last.map_or(PortId(0), |sent| sent.port);
        self
    }

    fn read(&mut self, name: &str, options: &str) -> Vec<String> {
        self.tell(PortId(0), &request(1, name, "octet", options))
    }

    fn write(&mut self, name: &str, options: &str) -> Vec<String> {
        self.tell(PortId(0), &request(2, name, "octet", options))
    }

    fn ack(&mut self, number: u16) -> Vec<String> {
        self.tell(self.from, Control::ack(Block(number)).as_bytes())
    }

    fn error(&mut self, code: u16) -> Vec<String> {
        self.tell(self.from, Control::error(ErrorCode(code), "").as_bytes())
    }

    fn data(&mut self, number: u16, payload: &[u8]) -> Vec<String> {
        self.tell(self.from, &data(number, payload))
    }

    /// Gives the server a datagram of the phone; returns what leaves then.
    fn tell(&mut self, port: PortId, bytes: &[u8]) -> Vec<String> {
        self.world.deliver(self.phone, port, bytes);
        self.run_until_idle()
    }

    fn run_until_idle(&mut self) -> Vec<String> {
        self.world.take_all();
        while self.answers && !self.world.store_requests.is_empty() {
            let request = self.world.store_requests.remove(0);
            self.world.answer(request, 0);
            self.world.take_all();
        }
        self.world.check();
        self.heard()
    }

    /// Answers the oldest question of the server.
    fn answer(&mut self, fault: u8) -> Vec<String> {
        let request = self.world.store_requests.remove(0);
        self.world.answer(request, fault);
        self.run_until_idle()
    }

    /// Lets time pass; returns what leaves, each with its moment in milliseconds from now.
    fn wait(&mut self, ms: u64) -> Vec<String> {
        let began = self.world.now;
        let end = began + Duration::from_millis(ms);
        let mut all = Vec::new();
        while let Some(due) = self.world.due().filter(|due| *due <= end) {
            self.world.now = self.world.now.max(due);
            self.world.run_until_idle();
            let at = self.world.now.since(began).as_millis();
            all.extend(self.run_until_idle().into_iter().map(|packet| format!("{at}: {packet}")));
        }
        self.world.now = end;
        all
    }

    /// Returns what has left since the last call, to any phone.
    fn heard(&mut self) -> Vec<String> {
        let fresh = self.world.sent[self.seen..].to_vec();
        self.seen = self.world.sent.len();
        if let Some(last) = fresh.iter().rev().find(|sent| sent.peer == self.phone) {
            self.from = last.port;
        }
        fresh.iter().map(words).collect()
    }

    fn outcomes(&self) -> Vec<Outcome> {
        self.world.records.iter().map(|record| record.outcome).collect()
    }

    /// Returns the name and outcome of the last transfer.
    fn last(&self) -> (String, Outcome) {
        let record = self.world.records.last().unwrap();
        let name = match &record.subject {
            Subject::File(entry) => entry.path.to_string(),
            Subject::Said(requested) => String::from_utf8_lossy(requested).into_owned(),
            Subject::Unreadable => String::new(),
        };
        (name, record.outcome)
    }

    fn open(&self) -> usize {
        self.world.engine.transfers_open()
    }

    fn broadcast(&mut self, bytes: &[u8]) -> Vec<String> {
        let to = Some("10.0.255.255".parse().unwrap());
        let (port, peer, from) = (PortId(0), self.phone, Some(SERVER));
        let datagram = Datagram { port, peer, to, from, interface: 0, bytes };
        self.world.turn(|engine, turn| engine.handle_datagram(datagram, turn));
        self.world.run_until_idle();
        self.run_until_idle()
    }
}

fn at(address: &str) -> SocketAddr {
    address.parse().unwrap()
}

fn request(opcode: u8, name: &str, mode: &str, options: &str) -> Vec<u8> {
    let mut bytes = vec![0, opcode];
    for text in [name, mode].into_iter().chain(options.split_whitespace()) {
        bytes.extend(text.as_bytes());
        bytes.push(0);
    }
    bytes
}

fn data(number: u16, payload: &[u8]) -> Vec<u8> {
    [&data_header(Block(number))[..], payload].concat()
}

fn words(sent: &Sent) -> String {
    let number = || u16::from_be_bytes([sent.bytes[2], sent.bytes[3]]);
    match sent.bytes[1] {
        3 => format!("DATA {} {}", number(), sent.bytes.len() - 4),
        4 => format!("ACK {}", number()),
        5 => format!("ERROR {}", number()),
        _ => {
            let text = String::from_utf8(sent.bytes[2..].to_vec()).unwrap();
            format!("OACK {}", text.replace('\0', " ").trim_end())
        }
    }
}

/// No packet leaves.
const SILENCE: [&str; 0] = [];

fn moment(ms: u64) -> Instant {
    Instant::from_millis(ms)
}
