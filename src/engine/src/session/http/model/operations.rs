//! Sequences of operations: phones connect, ask, read slowly or not at all, and cut connections,
//! while disks fail, files change and settings are reloaded.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use super::{PLAIN, SECURE, Wire, World, phone};
use crate::admission::access::{List, NamedList, Range};
use crate::catalog::RootId;
use crate::policy::snapshot::Policy;
use crate::protocol::Protocol;
use crate::session::Handshake;
use crate::session::model::adjust_slots;
use crate::session::stream::{ConnectionId, Connections as _, Next, Security};
use crate::settings::http::{ChallengeKey, HttpListener, HttpPolicy, StreamLimits};
use crate::ticket::{Ticket, TicketOwner};
use crate::vault::request::{Auth, Unknown, VaultPolicy};
use crate::vault::upload::{OnExists, Rule, Rules};
use wire::time::Duration;

/// Files, with their sizes; the last but one is the override file.
const FILES: &[(&str, u64)] = &[
    ("a", 700),
    ("empty", 0),
    ("firmware", 140_000),
    ("fxd_settings.txt", 40),
    ("46xxsettings.txt", 900),
];
/// The last is outside the access list.
const PEERS: &[&str] =
    &["10.0.0.1:1000", "10.0.0.1:1001", "10.0.0.2:1000", "[fd00::1]:9", "10.0.1.1:5", "11.0.0.1:7"];

/// A request that a phone may send.
#[derive(Debug)]
pub(super) struct Request {
    text: &'static str,
    /// The file or the item of the vault that a successful response has.
    name: &'static str,
    is_head: bool,
}

const fn get(name: &'static str, text: &'static str) -> Request {
    Request { text, name, is_head: false }
}

const fn head(name: &'static str, text: &'static str) -> Request {
    Request { text, name, is_head: true }
}

static REQUESTS: &[Request] = &[
    get("a", "GET /a HTTP/1.1\r\nHost: x\r\n\r\n"),
    get("firmware", "GET /firmware HTTP/1.1\r\nHost: x\r\n\r\n"),
    head("firmware", "HEAD /FirmWare HTTP/1.1\r\nHost: x\r\n\r\n"),
    get("", "GET /none HTTP/1.1\r\nHost: x\r\n\r\n"),
    get("a", "GET /a HTTP/1.1\r\nHost: x\r\nRange: bytes=1-3\r\n\r\n"),
    get("firmware", "GET /firmware HTTP/1.1\r\nHost: x\r\nRange: bytes=9-9,100-70000,-3\r\n\r\n"),
    get("firmware", "GET /firmware HTTP/1.1\r\nHost: x\r\nRange: bytes=110000-\r\n\r\n"),
    get("a", "GET /a HTTP/1.1\r\nHost: x\r\nRange: bytes=700-\r\n\r\n"),
    get("a", "GET /a HTTP/1.1\r\nHost: x\r\nIf-None-Match: *\r\n\r\n"),
    get("empty", "GET /empty HTTP/1.1\r\nHost: x\r\n\r\n"),
    get("a", "GET /a HTTP/1.0\r\n\r\n"),
    get("a", "GET \\A HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"),
    head("", "HEAD /none HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"),
    get("1_96xxdata.txt", "GET /1_96xxdata.txt HTTP/1.1\r\nHost: x\r\n\r\n"),
    head("1_96xxdata.txt", "HEAD /1_96xxdata.txt HTTP/1.1\r\nHost: x\r\n\r\n"),
    get("1_96xxdata.txt", "GET /1_96xxdata.txt HTTP/1.1\r\nHost: x\r\nRange: bytes=2-\r\n\r\n"),
    get("", "PUT /1_96xxdata.txt HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"),
    get(
        "",
        "PUT /1_96xxdata.txt HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n\
         Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nT: r\r\n\r\n",
    ),
    get("", "PUT /1_96xxdata.txt HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"),
    get("", "PUT /2_16xxdata.txt HTTP/1.1\r\nHost: x\r\nContent-Length: 6000\r\n\r\n0123456789"),
    get("", "DELETE /1_96xxdata.txt HTTP/1.1\r\nHost: x\r\n\r\n"),
    get("", "PUT /my.log HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n0123456789"),
    get("", "PUT /my.log HTTP/1.1\r\nHost: x\r\nContent-Length: 99999\r\n\r\n"),
    get(
        "",
        "PUT /1_96xxdata.txt HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n\
         5\r\nhello\r\nzz\r\n",
    ),
    get("", "PUT /a HTTP/1.1\r\nHost: x\r\n\r\n"),
    get("", "OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n"),
    get("", "POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"),
    get("", "GLORY /a HTTP/1.1\r\nHost: x\r\n\r\n"),
    get("", "GET /a HTTP/1.1\r\n\r\n"),
    get(
        "",
        "GET /a HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
    ),
    get("", "\x16\x03\x01\x02\x00\x01\x00\x01"),
    get("46xxsettings.txt", "GET /46xxsettings.txt HTTP/1.1\r\nHost: x\r\n\r\n"),
    get("ca", "GET /ca.pem HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"),
];

/// Runs operations on an engine, four bytes each, and checks the invariants after every one. Unit
/// tests and the fuzz target both call it.
///
/// # Panics
/// If the engine breaks a promise.
#[doc(hidden)]
pub fn check_operations(operations: &[u8]) {
    let Some((setup, operations)) = operations.split_first() else { return };
    let mut world = World::new(policy_of(*setup));
    world.publish(FILES.iter().copied());
    for operation in operations.chunks_exact(4) {
        operate(&mut world, [operation[0], operation[1], operation[2], operation[3]]);
        world.check();
    }
    world.run_out();
    for (_, wire) in &world.past {
        check_replies(&world, wire);
    }
}

/// Returns the settings of these models: one root, two listeners, a vault and a rule for logs.
pub(in crate::session::http) fn policy() -> Policy {
    let mut policy = Policy::default();
    let listener = |address, protocol| HttpListener {
        address,
        protocol,
        stack: vec![RootId(0)],
        vault: true,
        acme: None,
    };
    policy.http = HttpPolicy {
        listeners: vec![listener(PLAIN, Protocol::Http), listener(SECURE, Protocol::Https)],
        limits: StreamLimits::default(),
        vault: Some(Arc::new(VaultPolicy {
            dir: PathBuf::new(),
            prefixes: vec![(*b"").into(), (*b"backup").into()],
            auth: Auth::Open,
            bytes_max: 5_000,
            versions_max: 20,
            age_max: Duration::from_secs(1_000),
            archive: None,
            unknown: Unknown::Refuse,
            bounds: Default::default(),
        })),
        ca: None,
        challenge_key: ChallengeKey::default(),
        cache_control: (*b"Cache-Control: no-cache\r\n").into(),
    };
    let rules = [("*.log", OnExists::Append), ("*.cal", OnExists::Replace)];
    let rules = rules
        .into_iter()
        .filter_map(|(pattern, on_exists)| Rule::new(pattern, 0, 2_000, on_exists).ok());
    policy.uploads = Rules(rules.collect());
    policy
}

fn policy_of(bits: u8) -> Policy {
    let mut policy = policy();
    let ranges = ["10", "fd00::/8"].iter().filter_map(|entry| Range::parse(entry).ok());
    let list = Arc::new(NamedList { name: "list".into(), list: List::new(ranges) });
    policy.access.limit(Protocol::Http, Arc::clone(&list));
    policy.access.limit(Protocol::Https, list);
    policy.http.ca = Some(crate::settings::http::CaFile {
        path: (*b"ca.pem").into(),
        pem: (*b"-----BEGIN CERTIFICATE-----\n").into(),
    });
    adjust(&mut policy, bits);
    policy
}

/// Changes the configuration, as a reload does.
fn adjust(policy: &mut Policy, bits: u8) {
    let limits = &mut policy.http.limits;
    limits.connections_max = if bits & 1 == 0 { 100 } else { 3 };
    limits.per_address_max = if bits & 2 == 0 { 0 } else { 2 };
    limits.requests_max = if bits & 2 == 0 { 1_000 } else { 3 };
    limits.body_memory_bytes_max = if bits & 4 == 0 { 20_000 } else { 12 };
    limits.rate_min = if bits & 4 == 0 { 256 } else { 0 };
    adjust_slots(policy, bits);
    let has_vault = bits & 0x80 == 0;
    policy.http.listeners.iter_mut().for_each(|listener| listener.vault = has_vault);
    if let Some(vault) = policy.http.vault.as_mut() {
        let auth = if bits & 8 == 0 { Auth::Open } else { Auth::Pinned };
        Arc::make_mut(vault).auth = auth;
    }
    if bits == 0xff {
        policy.http.vault = None;
    }
}

fn operate(world: &mut World, [kind, value, more, last]: [u8; 4]) {
    let ids: Vec<ConnectionId> = world.wires.keys().copied().collect();
    let id = usize::from(value).checked_rem(ids.len()).and_then(|at| ids.get(at)).copied();
    match (kind % 16, id) {
        (0, _) | (_, None) => {
            let peer = PEERS.get(usize::from(value) % PEERS.len());
            if let Some(peer) = peer.and_then(|peer| peer.parse::<SocketAddr>().ok()) {
                world.connect(peer, more & 1 == 1);
            }
        }
        (1..=3, Some(id)) => {
            let request = &REQUESTS[usize::from(more) % REQUESTS.len()];
            if let Some(wire) = world.wires.get_mut(&id) {
                wire.script.extend(request.text.bytes());
                wire.requests.push(request);
            }
            let bytes = if last < 160 { usize::MAX } else { usize::from(last) % 40 };
            world.say(id, bytes);
        }
        (4, Some(id)) => world.say(id, usize::from(more)),
        (5, Some(id)) => {
            if let Some(wire) = world.wires.get_mut(&id) {
                wire.read_max = usize::from(more) + 1;
                wire.room = usize::from(last) * usize::from(more);
            }
            world.drive(id);
        }
        (6, Some(id)) => {
            if let Some(wire) = world.wires.get_mut(&id) {
                wire.room = wire.room.saturating_add(usize::from(last) << (more % 12));
            }
            world.drive(id);
        }
        (7 | 8, Some(_)) => {
            let index = usize::from(value).checked_rem(world.store_requests.len());
            match index.map(|at| world.store_requests.swap_remove(at)) {
                Some(request) if more > 240 => world.refuse(request),
                Some(request) => world.answer(request, if more < 128 { 0 } else { more % 8 }),
                None => {}
            }
        }
        (9, Some(_)) => {
            let ms = u64::from(more) << (value % 9);
            world.now = world.now + Duration::from_millis(ms);
        }
        (10, Some(_)) => {
            if let Some(due) = world.due() {
                world.now = world.now.max(due);
            }
        }
        (11, Some(id)) => {
            // The bytes sent before arrive before the end does.
            world.say(id, usize::MAX);
            world.end(id);
        }
        (12, Some(id)) => world.reset(id),
        (13, Some(_)) => world.reload(|policy| adjust(policy, more)),
        (14, Some(_)) => change(world, value, more),
        (_, Some(id)) => unsettle(world, id, value, more),
    }
    world.run_until_idle();
}

impl World {
    /// The phone sends so many bytes of its script.
    fn say(&mut self, id: ConnectionId, bytes: usize) {
        let Some(wire) = self.wires.get_mut(&id).filter(|wire| !wire.ended) else { return };
        let count = wire.script.len().min(bytes);
        let said: Vec<u8> = wire.script.drain(..count).collect();
        self.send(id, &said);
    }
}

/// Changes files, by rename or in place.
fn change(world: &mut World, value: u8, more: u8) {
    let skipped = usize::from(more) % FILES.len();
    match value % 4 {
        0 => world.publish(FILES.iter().copied()),
        1 => world.publish(FILES.iter().copied().skip(skipped)),
        // The catalog does not have it yet.
        2 => drop(world.disk.write(FILES[skipped].0, u64::from(more) * 97)),
        _ => world.disk.scribble(more & 1 == 0),
    }
}

/// Events that happen now and then in the life of a server.
fn unsettle(world: &mut World, id: ConnectionId, value: u8, more: u8) {
    match value % 8 {
        0 if more > 200 => {
            world.engine.stop();
            world.run_until_idle();
        }
        1 if more > 220 => {
            world.turn(|engine, turn| engine.abandon(turn));
            let wires = std::mem::take(&mut world.wires);
            world.past.extend(wires);
        }
        2 => {
            let is_new = world.wires.get(&id).is_some_and(|wire| wire.requests.is_empty());
            if is_new {
                let why = Handshake::NoSharedSuite;
                world.turn(|engine, turn| engine.handle_handshake_failed(id, why, turn));
                world.drive(id);
            }
        }
        3 => {
            let security = Security { certificate: true, ..Security::default() };
            world.turn(|engine, turn| engine.handle_secured(id, security, turn));
        }
        // Events for connections that have gone must do nothing.
        4.. => {
            let past = usize::from(more).checked_rem(world.past.len());
            let Some((past, _)) = past.and_then(|at| world.past.get(at)) else { return };
            let past = *past;
            world.turn(|engine, turn| engine.handle_bytes(past, b"GET /a HTTP/1.0\r\n\r\n", turn));
            world.turn(|engine, turn| engine.handle_sent(past, 0, turn));
            world.turn(|engine, turn| engine.handle_blocked(past, turn));
            world.turn(|engine, turn| engine.handle_end(past, turn));
            world.turn(|engine, turn| engine.handle_gone(past, turn));
            world.turn(|engine, turn| engine.handle_closed(past, turn));
            world.answer_nobody(Ticket { owner: TicketOwner::Http, row: past, sequence: 1 });
            world.drive(past);
        }
        0..3 => {}
    }
    if matches!(world.engine.next(id), Next::Close | Next::Reset) {
        world.drive(id);
    }
}

/// Checks everything that a phone has received: it is well-formed, in the order of the requests,
/// and each file or part is of one version of the requested file.
fn check_replies(world: &World, wire: &Wire) {
    let is_head = |number: usize, status: u16| {
        let request = wire.requests.get(number);
        // These are responses to requests that could not be parsed.
        request.is_some_and(|request| request.is_head) && !matches!(status, 400 | 408 | 414 | 431)
    };
    let (replies, rest) = phone::read(&wire.out, is_head);
    assert!(rest.is_empty() || b"HTTP/1.1 ".iter().zip(rest).all(|(a, b)| a == b));
    let finals: Vec<_> = replies.iter().filter(|reply| reply.status >= 200).collect();
    assert!(finals.len() <= wire.requests.len().max(1), "more answers than questions");
    let stranger = wire.peer.ip() == IpAddr::V4(Ipv4Addr::new(11, 0, 0, 1));
    for (reply, request) in finals.iter().zip(&wire.requests) {
        let tag = reply.field("etag").as_bytes();
        let known = world.disk.known.get(tag);
        match reply.status {
            200 | 206 if request.name == "ca" => continue,
            200 | 206 => {}
            _ => continue,
        }
        let known = known.unwrap_or_else(|| panic!("no version is that of {reply:?}"));
        let name = &*known.name;
        let is_override = stranger && name == "fxd_settings.txt";
        assert!(name == request.name || is_override, "{name} for {request:?}");
        assert!(!stranger || is_override, "{name} to a stranger");
        match reply.status {
            _ if request.is_head => assert_eq!(reply.length(), known.bytes()),
            206 if reply.is_whole => {
                for (first, part, size) in phone::ranges(reply) {
                    assert_eq!(size, known.bytes());
                    assert!(known.has(first, &part), "another version's bytes");
                }
            }
            206 => {}
            _ => {
                assert_eq!(reply.length(), known.bytes());
                assert!(known.has(0, &reply.body), "another version's bytes");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_operations_keep_every_promise() {
        for seed in 0..300_u64 {
            let mut random = fastrand::Rng::with_seed(seed);
            let operations: Vec<u8> = (0..2_001).map(|_| random.u8(..)).collect();
            check_operations(&operations);
        }
    }
}
