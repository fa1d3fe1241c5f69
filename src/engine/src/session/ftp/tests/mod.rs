//! The rules of the RFCs, of real phones and of this server, one test each.

mod administrators;
mod data;
mod deaths;
mod limits;
mod passwords;
mod phones;
mod ports;
mod sessions;

use std::net::SocketAddr;

use super::model::{Link, World, policy};
use crate::policy::snapshot::Policy;
use crate::requests::StoreRequest;
use crate::session::ftp::session::{Stage, Way};
use crate::session::stream::{ConnectionId, Security};
use crate::session::{Outcome, Refusal};
use wire::ftp::reply;
use wire::time::Duration;

const PHONE: &str = "10.0.0.1:2000";
const OTHER: &str = "10.0.7.2:3000";
/// Outside the access list.
const STRANGER: &str = "11.0.0.1:7000";
/// In a network whose phones are not asked.
const TRUSTED: &str = "10.9.0.1:2000";
const FILES: &[(&str, u64)] = &[("a.txt", 700), ("firmware.bin", 200_000), ("empty", 0)];
const DATA: &str = "2001_4620data.txt";
/// From the end of an upload in clear to its place on the disk.
const COMMIT_MS: u64 = 100;
/// No reply.
const SILENCE: [u16; 0] = [];

/// A server, and one client that has connected to it.
struct Bench {
    world: World,
    id: ConnectionId,
    peer: SocketAddr,
    /// How many bytes of replies the client has looked at.
    heard: usize,
    /// The newest data connection.
    data: Option<ConnectionId>,
    /// Whether disks and phones answer at once.
    answers: bool,
}

impl Bench {
    fn new() -> Bench {
        Bench::with(PHONE, |_| {})
    }

    fn with(peer: &str, change: impl FnOnce(&mut Policy)) -> Bench {
        let mut policy = policy();
        change(&mut policy);
        let mut world = World::new(policy);
        world.publish(FILES.iter().copied());
        let peer: SocketAddr = peer.parse().unwrap();
        world.phones.set_user(peer.ip(), Some("2001"));
        let id = world.connect(peer, false).unwrap();
        let mut bench = Bench { world, id, peer, heard: 0, data: None, answers: true };
        assert_eq!(bench.hear(), [220]);
        bench
    }

    /// Makes a phone that has logged in.
    fn phone() -> Bench {
        Bench::new().logged_in()
    }

    fn logged_in(mut self) -> Bench {
        assert_eq!(self.say("USER anonymous"), [331]);
        assert_eq!(self.say("PASS x"), [230]);
        assert_eq!(self.say("TYPE I"), [200]);
        self
    }

    /// Makes an administrator who has logged in.
    fn administrator() -> Bench {
        let mut bench = Bench::new();
        assert_eq!(bench.say("USER root"), [331]);
        assert_eq!(bench.say("PASS secret"), [230]);
        assert_eq!(bench.say("TYPE I"), [200]);
        bench
    }

    /// Sends a line, and returns the codes of all replies that come.
    fn say(&mut self, line: &str) -> Vec<u16> {
        self.send(&[line.as_bytes(), b"\r\n"].concat())
    }

    fn send(&mut self, bytes: &[u8]) -> Vec<u16> {
        self.world.send(self.id, bytes);
        self.run_until_idle();
        self.hear()
    }

    fn run_until_idle(&mut self) {
        while self.answers && !self.world.store_requests.is_empty() {
            let request = self.world.store_requests.remove(0);
            self.world.answer(request, 0);
        }
        if self.answers {
            self.world.hear_all();
        }
        if self.answers && !self.world.store_requests.is_empty() {
            self.run_until_idle();
        }
        self.world.check();
    }

    /// Answers the oldest question of the server.
    fn answer(&mut self, fault: u8) -> Vec<u16> {
        let request = self.world.store_requests.remove(0);
        self.world.answer(request, fault);
        self.run_until_idle();
        self.hear()
    }

    /// Returns the question that stays unanswered.
    fn first_request(&self) -> &StoreRequest {
        &self.world.store_requests[0]
    }

    /// Returns the replies since the last look, as text.
    fn text(&mut self) -> String {
        let past = self.world.past.iter().find(|(id, _)| *id == self.id).map(|(_, wire)| wire);
        let out = &self.world.wires.get(&self.id).or(past).unwrap().out;
        let fresh = String::from_utf8(out[self.heard..].to_vec()).unwrap();
        self.heard = out.len();
        fresh
    }

    fn hear(&mut self) -> Vec<u16> {
        let text = self.text();
        let (mut rest, mut codes) = (text.as_bytes(), Vec::new());
        while let Some((reply, used)) = reply::parse(rest).unwrap() {
            codes.push(reply.code.0);
            rest = &rest[used..];
        }
        assert!(rest.is_empty(), "half a reply");
        codes
    }

    /// Sets up a passive data connection, and connects.
    fn passive(&mut self) -> ConnectionId {
        assert_eq!(self.say("PASV"), [227]);
        let data = *self.world.open_ports.keys().next().unwrap();
        assert!(self.world.knock(data, SocketAddr::new(self.peer.ip(), 5_555)));
        self.data = Some(data);
        self.run_until_idle();
        data
    }

    /// Sends bytes over the data connection, and ends it.
    fn give(&mut self, bytes: &[u8]) -> Vec<u16> {
        let data = self.data.unwrap();
        self.world.send(data, bytes);
        self.world.end(data);
        self.run_until_idle();
        let mut heard = self.hear();
        if self.stage() == "in" {
            // In clear the end is not trusted at once.
            heard.extend(self.wait(COMMIT_MS));
        }
        heard
    }

    /// Returns the bytes that came over the data connection.
    fn taken(&self) -> Vec<u8> {
        let data = self.data.unwrap();
        let past = self.world.past.iter().find(|(id, _)| *id == data).map(|(_, wire)| wire);
        self.world.wires.get(&data).or(past).unwrap().out.clone()
    }

    /// Fetches a file over a new data connection.
    fn fetch(&mut self, name: &str) -> (Vec<u16>, Vec<u8>) {
        self.passive();
        let codes = self.say(&format!("RETR {name}"));
        (codes, self.taken())
    }

    /// Stores a file over a new data connection.
    fn store(&mut self, command: &str, bytes: &[u8]) -> Vec<u16> {
        self.passive();
        let mut codes = self.say(command);
        if codes == [125] {
            codes.extend(self.give(bytes));
        }
        codes
    }

    /// Completes TLS, for the control or the data connection.
    fn secure(&mut self, id: ConnectionId) -> Vec<u16> {
        self.world.secure(id, Security::default());
        self.run_until_idle();
        self.hear()
    }

    /// Lets time pass.
    fn wait(&mut self, ms: u64) -> Vec<u16> {
        let end = self.world.now + Duration::from_millis(ms);
        while let Some(due) = self.world.due().filter(|due| *due <= end) {
            self.world.now = self.world.now.max(due);
            self.world.run_until_idle();
            self.run_until_idle();
        }
        self.world.now = end;
        self.world.run_until_idle();
        self.run_until_idle();
        self.hear()
    }

    fn is_open(&self) -> bool {
        self.world.wires.contains_key(&self.id)
    }

    fn stage(&self) -> &'static str {
        let transfer = self.world.engine.session(self.id).and_then(|session| session.transfer());
        match transfer.map(|transfer| &transfer.stage) {
            None => "none",
            Some(Stage::Identity) => "identity",
            Some(Stage::Slot) => "slot",
            Some(Stage::Opening) => "opening",
            Some(Stage::Data(_)) => "data",
            Some(Stage::Moving(Way::Out(_))) => "out",
            Some(Stage::Moving(Way::In(_))) => "in",
            Some(Stage::Storing) => "storing",
            Some(Stage::Closing) => "closing",
        }
    }

    fn outcomes(&self) -> Vec<Outcome> {
        self.world.records.iter().map(|record| record.outcome).collect()
    }

    fn refused(&self) -> Option<Refusal> {
        match self.outcomes().last() {
            Some(Outcome::Refused(no)) => Some(*no),
            Some(_) | None => None,
        }
    }

    /// Returns the bytes of a served file.
    fn file(&self, name: &str) -> Vec<u8> {
        self.world.disk.bytes_of(&format!("/common/{name}")).unwrap()
    }
}
