//! Sequences of operations: clients connect, log in, move files and break off, phones change their
//! users, disks fail, and settings are reloaded.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use super::deaths::Death;
use super::{IMPLICIT, Link, PLAIN, World};
use crate::admission::access::{List, NamedList, Range};
use crate::catalog::RootId;
use crate::policy::snapshot::Policy;
use crate::protocol::Protocol;
use crate::session::Handshake;
use crate::session::model::adjust_slots;
use crate::session::stream::{ConnectionId, Connections as _, DialFault, Security};
use crate::settings::ftp::{Administrators, FtpListener, FtpPolicy};
use crate::ticket::{Ticket, TicketOwner};
use crate::vault::request::{Auth, Unknown, VaultPolicy};
use crate::vault::upload::{OnExists, Rule, Rules};
use wire::time::Duration;

const FILES: &[(&str, u64)] = &[
    ("a", 700),
    ("empty", 0),
    ("firmware", 140_000),
    ("fxd_settings.txt", 40),
    ("46xxsettings.txt", 900),
];
/// The third is in a network whose phones are not asked; the last is outside the access list.
const PEERS: &[&str] =
    &["10.0.0.1:1000", "10.0.0.1:1001", "10.9.0.1:1000", "[fd00::1]:9000", "11.0.0.1:7000"];
const USERS: &[Option<&str>] = &[Some("2001"), Some("2001"), Some("2002"), None];

static COMMANDS: &[&[u8]] = &[
    b"USER anonymous\r\nPASS x\r\n",
    b"USER root\r\n",
    b"PASS secret\r\n",
    b"PASS wrong\r\n",
    b"AUTH TLS\r\n",
    b"AUTH SSL\r\n",
    b"PBSZ 0\r\nPROT P\r\n",
    b"PROT C\r\n",
    b"PASV\r\n",
    b"EPSV\r\n",
    b"EPSV ALL\r\n",
    b"PORT 10,0,0,1,8,0\r\n",
    b"PORT 10,0,0,1,0,22\r\n",
    b"PORT 192,0,2,1,8,0\r\n",
    b"EPRT |2|fd00::1|2048|\r\n",
    b"EPRT |1|10.9.0.1|2048|\r\n",
    b"TYPE I\r\n",
    b"TYPE A\r\n",
    b"REST 100\r\n",
    b"REST 0\r\n",
    b"RETR a\r\n",
    b"RETR empty\r\n",
    b"RETR firmware\r\n",
    b"RETR 46xxsettings.txt\r\n",
    b"RETR none\r\n",
    b"RETR 2001_4620data.txt\r\n",
    b"RETR 4625data.txt\r\n",
    b"STOR 2001_4620data.txt\r\n",
    b"STOR 4621data.txt\r\n",
    b"STOR 2002_4620data_sip.txt\r\n",
    b"STOR my.log\r\n",
    b"APPE my.log\r\n",
    b"APPE 2001_4620data.txt\r\n",
    b"STOR none\r\n",
    b"RETR /common/firmware\r\n",
    b"RETR /common/a\r\n",
    b"STOR /common/new\r\n",
    b"APPE /common/a\r\n",
    b"STOU\r\n",
    b"SITE CHMOD 644 a\r\n",
    b"MLSD a\r\n",
    b"LIST /common\r\n",
    b"NLST\r\n",
    b"MLSD\r\n",
    b"MLST /common\r\n",
    b"STAT\r\n",
    b"STAT /common\r\n",
    b"SIZE a\r\n",
    b"MDTM a\r\n",
    b"MFMT 20260101000000 a\r\n",
    b"CWD /common\r\n",
    b"CWD ../../etc\r\n",
    b"CDUP\r\n",
    b"PWD\r\n",
    b"MKD d\r\n",
    b"RMD d\r\n",
    b"DELE a\r\n",
    b"RNFR a\r\n",
    b"RNTO b\r\n",
    b"ABOR\r\n",
    b"\xff\xf4\xff\xf2ABOR\r\n",
    b"REIN\r\n",
    b"NOOP\r\n",
    b"FEAT\r\n",
    b"OPTS MLST size;\r\n",
    b"CCC\r\n",
    b"SITE x\r\n",
    b"\r\n",
    b"QUIT\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    b"\x16\x03\x01\x02\x00",
];

/// Runs operations on an engine, four bytes each, and checks the invariants after every one. Unit
/// tests and the fuzz target both call it.
///
/// # Panics
/// If the engine breaks a promise.
#[doc(hidden)]
pub fn check_operations(operations: &[u8]) {
    let Some((setup, operations)) = operations.split_first() else { return };
    let mut policy = policy();
    adjust(&mut policy, *setup);
    let mut world = World::new(policy);
    world.publish(FILES.iter().copied());
    world.disk.keep("2001_4620data.txt", b"of 2001");
    for peer in PEERS.iter().filter_map(|peer| peer.parse::<SocketAddr>().ok()) {
        world.phones.set_user(peer.ip(), Some("2001"));
    }
    for operation in operations.chunks_exact(4) {
        operate(&mut world, [operation[0], operation[1], operation[2], operation[3]]);
        world.run_until_idle();
        world.check();
    }
    world.run_out();
}

/// Returns the settings of these models: one root, two listeners, a vault and a rule for logs.
pub(in crate::session::ftp) fn policy() -> Policy {
    let mut policy = Policy::default();
    let listener = |address, implicit| FtpListener { address, implicit, tls: true };
    let trusted_networks = "10.9.0.0/16".parse().into_iter();
    policy.ftp = FtpPolicy {
        listeners: vec![listener(PLAIN, false), listener(IMPLICIT, true)],
        stack: vec![RootId(0)],
        trusted_networks: trusted_networks.collect(),
        administrators: Some(Administrators { users: "/users".into(), cleartext: true }),
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
        ..FtpPolicy::default()
    };
    let rules = [("*.log", OnExists::Append), ("*.cal", OnExists::Replace)];
    let rules = rules
        .into_iter()
        .filter_map(|(pattern, on_exists)| Rule::new(pattern, 0, 2_000, on_exists).ok());
    policy.uploads = Rules(rules.collect());
    let ranges = ["10", "fd00::/8"].iter().filter_map(|entry| Range::parse(entry).ok());
    let list = Arc::new(NamedList { name: "list".into(), list: List::new(ranges) });
    policy.access.limit(Protocol::Ftp, list);
    policy
}

/// Changes the configuration, as a reload does.
fn adjust(policy: &mut Policy, bits: u8) {
    let limits = &mut policy.ftp.limits;
    limits.sessions_max = if bits & 1 == 0 { 100 } else { 3 };
    limits.per_address_max = if bits & 2 == 0 { 0 } else { 2 };
    limits.upload_memory_bytes_max = if bits & 4 == 0 { 20_000 } else { 12 };
    limits.commands_per_second = if bits & 4 == 0 { 50 } else { 1 };
    limits.passive_per_address_max = if bits & 2 == 0 { 100 } else { 1 };
    adjust_slots(policy, bits);
    if let Some(administrators) = &mut policy.ftp.administrators {
        administrators.cleartext = bits & 0x10 == 0;
    }
    policy.ftp.active = bits & 0x88 != 0x88;
    policy.ftp.snmp.cache = Duration::from_secs(if bits & 0x40 == 0 { 30 } else { 0 });
    if bits == 0xff {
        policy.ftp.vault = None;
        policy.ftp.administrators = None;
    }
}

fn operate(world: &mut World, [kind, value, more, last]: [u8; 4]) {
    let is_session = |id: &&ConnectionId| world.engine.session(**id).is_some();
    let (sessions, datas): (Vec<_>, Vec<_>) = world.wires.keys().partition(is_session);
    let pick = |ids: &[ConnectionId]| {
        usize::from(value).checked_rem(ids.len()).and_then(|at| ids.get(at)).copied()
    };
    let Some(id) = pick(&sessions).filter(|_| kind % 16 > 0) else {
        return connect(world, value, more);
    };
    match kind % 16 {
        0..=4 => {
            let command = |at: u8| COMMANDS[usize::from(at) % COMMANDS.len()];
            match last {
                0..=127 => world.send(id, command(more)),
                128..=223 => world.send(id, &[command(more), command(last - 128)].concat()),
                224.. => {
                    let whole = command(more);
                    world.send(id, &whole[..usize::from(last - 224).min(whole.len())]);
                }
            }
        }
        5 => converse(world, id, more, last),
        6 => world.send(id, &[more, last]),
        7 | 8 => {
            let index = usize::from(value).checked_rem(world.store_requests.len());
            match index.map(|at| world.store_requests.swap_remove(at)) {
                Some(request) if more > 230 => world.refuse(request),
                Some(request) => world.answer(request, if more < 128 { 0 } else { more % 8 }),
                None => {}
            }
        }
        9 => ring(world, value, more, last),
        10 => knock(world, id, value, more),
        11 => {
            if let Some(data) = pick(&datas) {
                move_data(world, data, more, last);
            }
        }
        12 => handshake(world, if more & 1 == 0 { id } else { pick(&datas).unwrap_or(id) }, last),
        13 => pass_time(world, value, more),
        14 => {
            let id = if last & 1 == 0 { id } else { pick(&datas).unwrap_or(id) };
            if let Some(wire) = world.wires.get_mut(&id) {
                wire.room = if more > 200 { usize::MAX } else { usize::from(more) * 50 };
                wire.read_max = usize::from(last) * 10 + 1;
            }
            world.drive(id);
        }
        _ => unsettle(world, id, value, more),
    }
}

fn connect(world: &mut World, value: u8, more: u8) {
    let peer = PEERS[usize::from(value) % PEERS.len()];
    if let Ok(peer) = peer.parse::<SocketAddr>() {
        world.connect(peer, more % 8 == 7);
    }
}

/// Sends commands that belong together.
fn converse(world: &mut World, id: ConnectionId, more: u8, last: u8) {
    let name = [&b"a"[..], b"firmware", b"2001_4620data.txt", b"4620data.txt", b"my.log"];
    let name = name[usize::from(last) % name.len()];
    match more % 6 {
        0 => world.send(id, b"USER ftp\r\nPASS x\r\nTYPE I\r\n"),
        1 => {
            world.send(id, b"AUTH TLS\r\n");
            world.secure(id, Security::default());
            world.send(id, b"USER root\r\nPASS secret\r\nPBSZ 0\r\nPROT P\r\n");
            while let Some(request) = world.store_requests.pop() {
                world.answer(request, 0);
            }
        }
        2 => world.send(id, &[b"PASV\r\nRETR ", name, b"\r\n"].concat()),
        3 => world.send(id, &[b"EPSV\r\nSTOR ", name, b"\r\n"].concat()),
        4 => {
            let Some(peer) = world.wires.get(&id).map(|wire| wire.peer) else { return };
            let kind = if peer.is_ipv4() { 1 } else { 2 };
            let port = format!("EPRT |{kind}|{}|2000|\r\n", peer.ip());
            world.send(id, &[port.as_bytes(), b"RETR ", name, b"\r\n"].concat());
        }
        _ => world.send(id, &[b"PASV\r\nSTOR /common/", name, b"\r\n"].concat()),
    }
}

/// Phones answer, or not, or others answer for them; and their users change.
fn ring(world: &mut World, value: u8, more: u8, last: u8) {
    let peer = PEERS[usize::from(last) % PEERS.len()];
    let Ok(peer) = peer.parse::<SocketAddr>() else { return };
    match more % 8 {
        0..=3 => {
            let count = world.phones.questions.len();
            if let Some(at) = usize::from(value).checked_rem(count) {
                world.hear(at);
            }
        }
        4 => world.replay(usize::from(value) % 8, last & 1 == 0),
        5 => world.phones.silence(peer.ip()),
        _ => world.phones.set_user(peer.ip(), USERS[usize::from(value) % USERS.len()]),
    }
}

/// A data connection comes, from the right client or another; or an outgoing one is open.
fn knock(world: &mut World, id: ConnectionId, value: u8, more: u8) {
    let dialing: Vec<_> =
        world.wires.iter().filter(|(_, wire)| wire.link == Link::Dialing).collect();
    let dialing = usize::from(value).checked_rem(dialing.len()).map(|at| *dialing[at].0);
    if let Some(data) = dialing.filter(|_| more & 1 == 0) {
        let faults = [DialFault::Refused, DialFault::Silent, DialFault::Unreachable];
        let fault = faults.get(usize::from(more >> 4)).copied();
        return world.dialed(data, fault.map_or(Ok(()), Err));
    }
    let Some(session) = world.engine.session(id) else { return };
    let (peer, data) = (session.peer, session.data.as_ref().map(|data| data.id));
    let Some(data) = data.or(world.open_ports.keys().next().copied()) else { return };
    let stranger: SocketAddr = ([10, 66, 6, 6], 6_666).into();
    let from = if more < 200 { SocketAddr::new(peer.ip(), 5_000) } else { stranger };
    let own = world.engine.session(id).and_then(|session| session.data.as_ref());
    let is_his = own.is_some_and(|own| own.id == data);
    let is_let_in = world.knock(data, from);
    assert!(!is_let_in || from != stranger, "a stranger was let in");
    assert!(!is_let_in || !is_his || from.ip() == peer.ip());
}

fn move_data(world: &mut World, data: ConnectionId, more: u8, last: u8) {
    match more % 8 {
        0..=2 => {
            let text: Vec<u8> = (0..u32::from(last) * 9).map(|at| (at % 251) as u8).collect();
            world.send(data, &text);
        }
        3 => world.send(data, &vec![b'\r'; usize::from(last) << 12]),
        4 | 5 => world.end(data),
        6 => world.cut(data),
        _ => world.reset(data),
    }
}

fn handshake(world: &mut World, id: ConnectionId, last: u8) {
    let own = world.engine.mark(id);
    let resumes = match last % 8 {
        0..=3 => None,
        4 | 5 => own,
        6 => Some([9; 16]),
        _ => return world.fail(id, Handshake::NoSharedSuite),
    };
    world.secure(id, Security { resumes, ..Security::default() });
}

fn pass_time(world: &mut World, value: u8, more: u8) {
    if more & 1 == 0 {
        world.now = world.now + Duration::from_millis(u64::from(more) << (value % 9));
    } else if let Some(due) = world.due() {
        world.now = world.now.max(due);
    }
}

/// Events that happen now and then in the life of a server.
fn unsettle(world: &mut World, id: ConnectionId, value: u8, more: u8) {
    match more % 16 {
        0 => world.reset(id),
        1 => world.end(id),
        2 => world.reload(|policy| adjust(policy, value)),
        3 if value > 200 => {
            world.turn(|engine, turn| engine.stop(turn));
        }
        4 if value > 230 => {
            world.turn(|engine, turn| engine.abandon(turn));
            let wires = std::mem::take(&mut world.wires);
            world.past.extend(wires);
        }
        5 | 6 => world.holds_commands = !world.holds_commands,
        7 => world.is_full = !world.is_full,
        8 => world.cannot_dial = !world.cannot_dial,
        9 => world.publish(FILES.iter().copied().skip(usize::from(value) % FILES.len())),
        10 | 11 => world.reload(|policy| {
            policy.ftp.snmp.communities.clear();
        }),
        15.. => {
            let longest = world.ftp().limits.commit_delay;
            world.kill(id, Death::numbered(value, longest));
        }
        // Events for connections that have gone must do nothing.
        12..=14 => {
            let past = usize::from(value).checked_rem(world.past.len());
            let Some((past, _)) = past.and_then(|at| world.past.get(at)) else { return };
            let past = *past;
            world.turn(|engine, turn| {
                engine.handle_bytes(past, b"NOOP\r\n", turn);
                engine.handle_sent(past, 0, turn);
                engine.handle_blocked(past, turn);
                engine.handle_end(past, turn);
                engine.handle_truncated(past, turn);
                engine.handle_hangup(past, turn);
                engine.handle_gone(past, turn);
                engine.handle_cut(past, turn);
                engine.handle_closed(past, turn);
                engine.handle_dialed(past, Ok(()), turn);
                let ticket = Ticket { owner: TicketOwner::Ftp, row: past, sequence: 1 };
                engine.handle_granted(ticket, turn);
                engine.handle_expired(ticket, turn);
                assert!(!engine.handle_data_connected(past, PLAIN, turn));
            });
            world.drive(past);
        }
        3 | 4 => {}
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
