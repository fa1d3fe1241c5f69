//! One request by HTTP to an engine of its own, for tests.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::model::World;
use crate::policy::snapshot::Snapshot;
use crate::protocol::Protocol;
use crate::session::single::ObservedAction;

/// Returns what the engine does for a client's request at one of its two listeners.
pub fn observe(
    snapshot: &Snapshot,
    protocol: Protocol,
    client: IpAddr,
    method: &str,
    target: &[u8],
) -> ObservedAction {
    let mut world = World::new((*snapshot.policy).clone());
    world.snapshot.catalog = Arc::clone(&snapshot.catalog);
    let is_secure = protocol == Protocol::Https;
    let peer = SocketAddr::new(client, 2_000);
    let Some(id) = world.connect(peer, is_secure) else { return ObservedAction::Refuses };
    let body: &[u8] = if method == "PUT" { b"bytes" } else { b"" };
    let length = format!("Host: x\r\nContent-Length: {}\r\n\r\n", body.len());
    let line = [method.as_bytes(), b" ", target, b" HTTP/1.1\r\n"].concat();
    world.send(id, &[&*line, length.as_bytes(), body].concat());
    if let Some(request) = world.store_requests.first() {
        return ObservedAction::of(request);
    }
    let past = world.past.iter().find(|(past, _)| *past == id).map(|(_, wire)| wire);
    let Some(wire) = world.wires.get(&id).or(past) else { return ObservedAction::Refuses };
    let out = &wire.out;
    let text = String::from_utf8_lossy(out);
    if let Some(to) = text.lines().find_map(|line| line.strip_prefix("Location: ")) {
        return ObservedAction::Redirects(to.to_owned());
    }
    if out.starts_with(b"HTTP/1.1 2") { ObservedAction::Answers } else { ObservedAction::Refuses }
}
