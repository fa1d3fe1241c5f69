//! One request by TFTP to an engine of its own, for tests.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::PortId;
use super::model::World;
use crate::admission::budget::BudgetLimits;
use crate::policy::snapshot::Snapshot;
use crate::session::single::ObservedAction;
use wire::tftp::{Block, data_header};

/// Returns what the engine does for a client's request to write or to read.
pub fn observe(snapshot: &Snapshot, client: IpAddr, name: &[u8], write: bool) -> ObservedAction {
    let mut world = World::new((*snapshot.policy).clone(), 4, BudgetLimits::default());
    world.snapshot.catalog = Arc::clone(&snapshot.catalog);
    let peer = SocketAddr::new(client, 2_000);
    let opcode = if write { 2 } else { 1 };
    world.deliver(peer, PortId(0), &[&[0, opcode], name, b"\0octet\0"].concat());
    world.take_all();
    if write && let Some(sent) = world.sent.last().filter(|sent| sent.bytes.starts_with(&[0, 4])) {
        let port = sent.port;
        world.deliver(peer, port, &[&data_header(Block(1)), b"bytes".as_slice()].concat());
    }
    world.store_requests.first().map_or(ObservedAction::Refuses, ObservedAction::of)
}
