//! Who may have a data connection, and how many passive ports at a time.
//!
//! Whoever is outside the access list is served nothing but override files, and waits for a data
//! connection at a few ports apart: however many strangers come, permitted clients find one.

use std::collections::HashMap;
use std::net::IpAddr;

use crate::admission::address::AddressKey;
use crate::session::ftp::engine::Engine;
use crate::session::stream::ConnectionId;
use crate::session::{DataFault, Protocol, Refusal, Turn};
use vendor;
use wire::ftp::reply::Code;
use wire::name::FileName;

/// Whose passive port it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum PortOwner {
    /// That of a client that is permitted.
    Client(AddressKey),
    /// That of one outside the access list, who may only have an override file.
    Stranger(AddressKey),
}

/// Names in whose place strangers may get an override file, one of each kind.
const OVERRIDDEN: [&[u8]; 2] = [b"46xxupgrade.scr", b"46xxsettings.txt"];

impl Engine {
    /// Whether a client may have one more data connection; if not, it is told why. `passive` says
    /// that the connection is awaited at a port.
    pub(super) fn may_have_data(
        &mut self,
        id: ConnectionId,
        passive: bool,
        turn: &mut Turn<'_>,
    ) -> bool {
        let Some(owner) = self.port_owner(id, turn) else { return false };
        let limits = &turn.snapshot.policy.ftp.limits;
        let is_stranger = matches!(owner, PortOwner::Stranger(_));
        if is_stranger && !has_override(turn) {
            self.note_port(id, Refusal::AccessDenied, turn);
            let text = "You are not on the access list of this server.";
            self.reply(id, Code::NOT_LOGGED_IN, text);
            return false;
        }
        // The port that this session has already goes when it gets another.
        let own = self.session(id).and_then(|session| session.data);
        let own = own.and_then(|data| self.data(data)?.port_of) == Some(owner);
        let here = self.ports.get(&owner).map_or(0, |count| count - u32::from(own));
        let here_max = if is_stranger { 1 } else { limits.passive_per_address_max };
        let strangers = self.strangers_ports - u32::from(own && is_stranger);
        let is_crowded = here_max > 0 && here >= here_max
            || is_stranger && strangers >= limits.strangers_ports_max;
        if passive && is_crowded {
            turn.counters.ftp_ports_refused.up();
            let fault = DataFault::TooManyPorts;
            self.note_port(id, Refusal::DataConnection(fault), turn);
            self.reply(id, Code::NO_DATA_CONNECTION, &super::data::text(fault));
            return false;
        }
        true
    }

    /// A port is opened for a data connection: it counts as its client's until the connection has
    /// come, or comes no more.
    pub(super) fn take_port(&mut self, data: ConnectionId, turn: &Turn<'_>) {
        let Some(control) = self.data(data).map(|row| row.control) else { return };
        let Some(owner) = self.port_owner(control, turn) else { return };
        if let Some(row) = self.data_mut(data) {
            row.port_of = Some(owner);
        }
        *self.ports.entry(owner).or_default() += 1;
        self.strangers_ports += u32::from(matches!(owner, PortOwner::Stranger(_)));
    }

    /// A data connection has come, or is awaited no more.
    pub(super) fn free_port(&mut self, data: ConnectionId) {
        let Some(owner) = self.data_mut(data).and_then(|row| row.port_of.take()) else { return };
        self.strangers_ports -= u32::from(matches!(owner, PortOwner::Stranger(_)));
        if let Some(count) = self.ports.get_mut(&owner) {
            *count -= 1;
            if *count == 0 {
                self.ports.remove(&owner);
            }
        }
    }

    fn port_owner(&self, control: ConnectionId, turn: &Turn<'_>) -> Option<PortOwner> {
        let client = self.session(control)?.peer.ip().to_canonical();
        Some(match turn.snapshot.policy.access.permits(Protocol::Ftp, client) {
            true => PortOwner::Client(client.into()),
            false => PortOwner::Stranger(client.into()),
        })
    }

    fn note_port(&mut self, id: ConnectionId, no: Refusal, turn: &Turn<'_>) {
        if let Some(peer) = self.session(id).map(|session| session.peer) {
            self.note_lone(peer, no, turn);
        }
    }
}

/// Clients that never came for their data, by network: where it is several and none comes, it is
/// the network's fault and not a phone's.
#[derive(Debug, Default)]
pub(super) struct NeverCame(HashMap<AddressKey, Vec<IpAddr>>);

/// So many clients of a network, and it is the network.
const CLIENTS_MEAN_NETWORK: usize = 3;
/// Networks that are remembered.
const NETWORKS_MAX: usize = 1_024;

impl NeverCame {
    /// Notes that a client did not come; says whether others of its network have not either.
    pub(super) fn note(&mut self, client: IpAddr) -> bool {
        let network = network_of(client);
        if self.0.len() >= NETWORKS_MAX && !self.0.contains_key(&network) {
            self.0.clear();
        }
        let clients = self.0.entry(network).or_default();
        if !clients.contains(&client) && clients.len() < CLIENTS_MEAN_NETWORK {
            clients.push(client);
        }
        clients.len() >= CLIENTS_MEAN_NETWORK
    }

    /// A client came.
    pub(super) fn forget(&mut self, client: IpAddr) {
        self.0.remove(&network_of(client));
    }
}

/// The network that a site gives its phones, as far as an address tells: a /24, a /64 of IPv6.
fn network_of(client: IpAddr) -> AddressKey {
    let network = match client.to_canonical() {
        IpAddr::V4(v4) => {
            let [a, b, c, _] = v4.octets();
            IpAddr::from([a, b, c, 0])
        }
        v6 @ IpAddr::V6(_) => v6,
    };
    network.into()
}

/// Whether there is anything that a stranger may have.
fn has_override(turn: &Turn<'_>) -> bool {
    let policy = &turn.snapshot.policy.ftp;
    let names = OVERRIDDEN.iter().filter_map(|name| FileName::parse(name).ok());
    let mut files = names.filter_map(|name| vendor::override_for(&name));
    files.any(|file| turn.snapshot.catalog.find(&policy.stack, &file).is_some())
}
