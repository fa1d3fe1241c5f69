//! The rules of the RFCs, of real phones and of this server, one test each.
//!
//! Requests are written by their lines, without line ends: `GET /a HTTP/1.1` and the fields after
//! it.

mod addresses;
mod bodies;
mod discards;
mod files;
mod late;
mod limits;
mod places;
mod protect;
mod requests;
mod rfc;
mod vault;

use super::model::phone::{self, Reply};
use super::model::{World, content, policy};
use crate::admission::slots::IdlePlace;
use crate::policy::snapshot::Policy;
use crate::requests::StoreRequest;
use crate::session::stream::{ConnectionId, Connections as _, Security};
use crate::session::{Outcome, Record, Secured};
use wire::time::Duration;

const PHONE: &str = "10.0.0.1:2000";
const OTHER: &str = "10.0.7.2:3000";
const FILES: &[(&str, u64)] = &[
    ("a.txt", 700),
    ("b.bin", 9_000),
    ("Sub/Firmware.BIN", 300),
    ("empty", 0),
    ("huge.bin", 200_000),
    ("46xxsettings.txt", 90),
    ("fxd_settings.txt", 20),
    ("3_96xxdata.txt", 33),
];

/// A server, and one phone that has connected to it.
struct Bench {
    world: World,
    id: ConnectionId,
    /// How many bytes of the connection the phone has looked at.
    heard: usize,
    /// Whether the loader answers at once.
    answers: bool,
}

impl Bench {
    fn new() -> Bench {
        Bench::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut Policy)) -> Bench {
        let mut policy = policy();
        change(&mut policy);
        let mut world = World::new(policy);
        world.publish(FILES.iter().copied());
        let id = world.connect(PHONE.parse().unwrap(), false).unwrap();
        Bench { world, id, heard: 0, answers: true }
    }

    /// The same over TLS.
    fn secure() -> Bench {
        let mut bench = Bench::new();
        bench.id = bench.world.connect(PHONE.parse().unwrap(), true).unwrap();
        bench
    }

    /// Opens another connection, which is then used.
    fn connect(&mut self, peer: &str) -> &mut Bench {
        self.id = self.world.connect(peer.parse().unwrap(), false).expect("a connection");
        self.heard = 0;
        self
    }

    /// Returns to a connection of which so many bytes were looked at.
    fn on(&mut self, id: ConnectionId, heard: usize) -> &mut Bench {
        (self.id, self.heard) = (id, heard);
        self
    }

    /// Sends a head without a body, as HTTP/1.1 with a host, and returns the one reply.
    fn ask(&mut self, request: &str) -> Reply {
        self.ask_with(request, &[])
    }

    fn get(&mut self, path: &str) -> Reply {
        self.ask(&format!("GET {path}"))
    }

    fn ask_with(&mut self, request: &str, fields: &[&str]) -> Reply {
        self.send(&head(request, fields));
        self.one(request.starts_with("HEAD "))
    }

    /// Sends a body after a head with its length.
    fn put(&mut self, path: &str, body: &[u8]) -> Reply {
        self.put_with(path, &[], body)
    }

    fn put_with(&mut self, path: &str, fields: &[&str], body: &[u8]) -> Reply {
        let length = format!("Content-Length: {}", body.len());
        let fields = [&[&*length], fields].concat();
        self.send(&[&head(&format!("PUT {path}"), &fields), body].concat());
        self.one(false)
    }

    /// Sends bytes to the server.
    fn send(&mut self, bytes: &[u8]) {
        self.world.send(self.id, bytes);
        self.run_until_idle();
    }

    fn run_until_idle(&mut self) {
        while self.answers && !self.world.store_requests.is_empty() {
            let request = self.world.store_requests.remove(0);
            self.world.answer(request, 0);
        }
        self.world.check();
    }

    /// Answers the oldest question of the server.
    fn answer(&mut self, fault: u8) {
        let request = self.world.store_requests.remove(0);
        self.world.answer(request, fault);
        self.run_until_idle();
    }

    /// The connection is secured, with a client certificate or without.
    fn secured(&mut self, certificate: bool) {
        let secured = Some(Secured { version: "TLS 1.2", suite: "any" });
        let (id, security) = (self.id, Security { secured, certificate, resumes: None });
        self.world.turn(|engine, turn| engine.handle_secured(id, security, turn));
    }

    /// Returns the oldest question of the server, which stays unanswered.
    fn first_request(&self) -> &StoreRequest {
        &self.world.store_requests[0]
    }

    /// Returns the bytes that have come since the last look.
    fn raw(&mut self) -> Vec<u8> {
        let past = self.world.past.iter().find(|(id, _)| *id == self.id).map(|(_, wire)| wire);
        let out = &self.world.wires.get(&self.id).or(past).unwrap().out;
        let fresh = out[self.heard..].to_vec();
        self.heard = out.len();
        fresh
    }

    /// Returns the replies that have come since the last look, all of them whole.
    fn hear(&mut self) -> Vec<Reply> {
        let raw = self.raw();
        let (replies, rest) = phone::read(&raw, |_, _| false);
        assert_eq!(rest, b"", "half a reply");
        assert!(replies.iter().all(|reply| reply.is_whole), "{replies:?}");
        replies
    }

    /// Returns the one reply that has come.
    fn one(&mut self, is_head: bool) -> Reply {
        let raw = self.raw();
        let (mut replies, rest) = phone::read(&raw, |_, _| is_head);
        assert_eq!((replies.len(), rest), (1, b"".as_slice()), "{}", raw.escape_ascii());
        replies.remove(0)
    }

    fn statuses(&mut self) -> Vec<u16> {
        self.hear().iter().map(|reply| reply.status).collect()
    }

    /// Returns whether the connection is open.
    fn is_open(&self) -> bool {
        self.world.wires.contains_key(&self.id)
    }

    /// Returns whether the server has ended its side.
    fn is_shut(&self) -> bool {
        self.world.wires.get(&self.id).is_none_or(|wire| wire.shut)
    }

    /// Lets the phone read only so many bytes more.
    fn room(&mut self, bytes: usize) {
        self.world.wires.get_mut(&self.id).unwrap().room = bytes;
        self.world.drive(self.id);
        self.world.run_until_idle();
        self.run_until_idle();
    }

    /// Lets time pass.
    fn wait(&mut self, ms: u64) {
        let end = self.world.now + Duration::from_millis(ms);
        while let Some(due) = self.world.due().filter(|due| *due <= end) {
            self.world.now = self.world.now.max(due);
            self.world.run_until_idle();
            self.run_until_idle();
        }
        self.world.now = end;
        self.world.run_until_idle();
        self.run_until_idle();
    }

    /// Returns the bytes of the catalog's version of a file.
    fn bytes_of(&self, path: &str) -> Vec<u8> {
        let name = wire::name::FileName::parse(path.as_bytes()).unwrap();
        let entry = self.world.snapshot.catalog.find(&[crate::catalog::RootId(0)], &name).unwrap();
        content(&entry.version)
    }

    fn outcomes(&self) -> Vec<Outcome> {
        self.world.records.iter().map(|record| record.outcome).collect()
    }

    fn last(&self) -> &Record {
        self.world.records.last().unwrap()
    }
}

/// Makes a head: `GET /a` becomes one of HTTP/1.1 with a host; a request with a version stays as it
/// is.
/// One phone is served at once, and keeps its place between two requests.
fn one_kept_place(policy: &mut Policy) {
    policy.slots.clients_max = 1;
    policy.slots.idle_place = IdlePlace::Keep;
}

fn head(request: &str, fields: &[&str]) -> Vec<u8> {
    let mut lines = match request.contains(" HTTP/") {
        true => vec![request.to_owned()],
        false => vec![format!("{request} HTTP/1.1"), "Host: server".to_owned()],
    };
    lines.extend(fields.iter().map(|field| (*field).to_owned()));
    (lines.join("\r\n") + "\r\n\r\n").into_bytes()
}
