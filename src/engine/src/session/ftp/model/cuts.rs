//! The same bytes in other pieces: the replies must not depend on how the network splits the bytes.

use super::operations::policy;
use super::{Link, World};
use crate::session::Outcome;
use crate::session::ftp::session::{Stage, Way};
use crate::session::model::compare_cuts;
use wire::time::Duration;

const FILES: &[(&str, u64)] = &[("a", 700), ("firmware", 30_000), ("46xxsettings.txt", 90)];
/// The client.
const PEER: &str = "10.9.0.1:1000";

/// The replies to some bytes, and the logged commands.
type Received = (Vec<u8>, Vec<Outcome>);

/// Gives bytes to a session in one piece, one by one, and in pieces of all sizes, and compares the
/// replies. Unit tests and the fuzz target both call it.
///
/// # Panics
/// If a split makes a difference.
#[doc(hidden)]
pub fn check_cuts(bytes: &[u8]) {
    compare_cuts(bytes, |pieces| describe(&replies(bytes, pieces)));
}

/// Formats the result, to show a difference.
fn describe((replies, outcomes): &Received) -> String {
    format!("{outcomes:?}\n{}", String::from_utf8_lossy(replies))
}

/// Sends everything before anything is done for it.
fn replies(bytes: &[u8], pieces: &mut dyn Iterator<Item = usize>) -> Received {
    let mut policy = policy();
    policy.ftp.limits.line_bytes_max = 512;
    policy.ftp.limits.idle_timeout = Duration::from_secs(100_000);
    policy.ftp.limits.login_timeout = Duration::from_secs(100_000);
    // The reply to bytes after AUTH depends on when they come.
    policy.ftp.listeners.iter_mut().for_each(|listener| listener.tls = false);
    let mut world = World::new(policy);
    world.publish(FILES.iter().copied());
    world.disk.keep("2001_4620data.txt", b"kept");
    let peer = PEER.parse().unwrap_or(super::PLAIN);
    let Some(id) = world.connect(peer, false) else { return Received::default() };
    world.holds_commands = true;
    let mut rest = bytes;
    while !rest.is_empty() {
        let count = pieces.next().unwrap_or(usize::MAX).min(rest.len());
        let (piece, behind) = rest.split_at(count);
        world.send(id, piece);
        rest = behind;
    }
    world.holds_commands = false;
    world.run_until_idle();
    while go_on(&mut world) {
        world.check();
    }
    world.end(id);
    world.check();
    world.run_out();
    let outcomes = world.records.iter().map(|record| record.outcome).collect();
    let wire = world.past.into_iter().find(|(past, _)| *past == id);
    (wire.map(|(_, wire)| wire.out).unwrap_or_default(), outcomes)
}

/// The client and the disks do one thing; returns whether there was anything.
fn go_on(world: &mut World) -> bool {
    let peer = PEER.parse().unwrap_or(super::PLAIN);
    if let Some(data) = world.open_ports.keys().next().copied() {
        return world.knock(data, peer);
    }
    if !world.store_requests.is_empty() {
        let request = world.store_requests.remove(0);
        world.answer(request, 0);
        return true;
    }
    let dialing = world.wires.iter().find(|(_, wire)| wire.link == Link::Dialing);
    if let Some(data) = dialing.map(|(id, _)| *id) {
        world.dialed(data, Ok(()));
        return true;
    }
    let receives = |id: &super::ConnectionId| {
        world.engine.data(*id)?;
        let transfer = world.engine.session_of(*id)?.transfer()?;
        matches!(transfer.stage, Stage::Moving(Way::In(_))).then_some(*id)
    };
    let receiving = world.wires.iter().filter(|(_, wire)| !wire.ended);
    if let Some(data) = receiving.map(|(id, _)| *id).find_map(|id| receives(&id)) {
        world.send(data, b"hello\r\nyou");
        world.end(data);
        return true;
    }
    let soon = world.now + Duration::from_secs(300);
    match world.due().filter(|due| *due < soon) {
        None => false,
        Some(due) => {
            world.now = world.now.max(due);
            world.run_until_idle();
            true
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_cut_makes_a_difference() {
        for bytes in [
            b"USER anonymous\r\nPASS x\r\nTYPE I\r\nPASV\r\nRETR a\r\nQUIT\r\n".as_slice(),
            b"USER anonymous\r\nPASS\r\nPASV\r\nABOR\r\nNOOP\r\n",
            b"USER ftp\r\nPASS x\r\nPASV\r\nRETR firmware\r\nABOR\r\nNOOP\r\nSTAT\r\n",
            b"USER ftp\r\nPASS x\r\nPASV\r\nSTOR 2001_4620data.txt\r\nPASV\r\n\
              RETR 2001_4620data.txt\r\nQUIT\r\n",
            b"USER ftp\r\nPASS x\r\nPORT 10,9,0,1,8,0\r\nRETR a\r\nGET / HTTP/1.1\r\nNOOP\r\n",
            b"USER root\r\nPASS secret\r\nPASS\r\nLIST\r\nFEAT\r\nHELP\r\n",
            b"USER root\r\nPASS secret\r\nABOR\r\nPASV\r\nLIST\r\nCWD /common\r\nSIZE a\r\n\
              PASV\r\nSTOR x\r\nPASV\r\nRETR x\r\nDELE x\r\nRNFR a\r\nRNTO b\r\nQUIT\r\n",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
            b"\xff\xf4\xff\xf2ABOR\r\n\xff\xfb\x01NOOP\r\n",
            b"\r\n\n\0\r\nNOOP",
            b"EPSV ALL\r\nUSER ftp\r\nPASS\r\nEPSV ALL\r\nPASV\r\nEPSV\r\nRETR a\r\n\
              REIN\r\nNOOP\r\n",
        ] {
            check_cuts(bytes);
            check_cuts(&[bytes, &[b'x'; 600], b"\r\nNOOP\r\n"].concat());
            check_cuts(&[bytes, b"\r"].concat());
        }
        check_cuts(&b"NOOP\r\n".repeat(900));
    }
}
