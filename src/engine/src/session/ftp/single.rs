//! One request by FTP to an engine of its own, for tests.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::model::World;
use crate::policy::snapshot::Snapshot;
use crate::session::single::ObservedAction;
use wire::time::Duration;

/// Returns what the engine does for a command of a phone at which `user` is logged in.
pub fn observe(
    snapshot: &Snapshot,
    client: IpAddr,
    user: &str,
    command: &str,
    path: &[u8],
) -> ObservedAction {
    let mut policy = (*snapshot.policy).clone();
    // A complete upload is stored at once.
    policy.ftp.limits.commit_delay = Duration::ZERO;
    let mut world = World::new(policy);
    world.snapshot.catalog = Arc::clone(&snapshot.catalog);
    let peer = SocketAddr::new(client, 2_000);
    world.phones.set_user(client.to_canonical(), Some(user));
    let Some(id) = world.connect(peer, false) else { return ObservedAction::Refuses };
    for line in [b"USER anonymous".as_slice(), b"PASS x", b"TYPE I", b"EPSV"] {
        world.send(id, &[line, b"\r\n"].concat());
        world.hear_all();
    }
    world.send(id, &[command.as_bytes(), b" ", path, b"\r\n"].concat());
    world.hear_all();
    // The bytes of an upload must come before the engine asks to store them.
    if let (true, Some(data)) =
        (world.store_requests.is_empty(), world.open_ports.keys().next().copied())
    {
        world.knock(data, peer);
        world.send(data, b"bytes");
        world.end(data);
    }
    world.store_requests.first().map_or(ObservedAction::Refuses, ObservedAction::of)
}
