//! Who may have a data connection, and how many passive ports at a time.
//!
//! Whoever is outside the access list is served nothing but override files, and waits for a data
//! connection at a few ports apart: however many strangers come, permitted clients find one.

use std::collections::HashMap;
use std::net::IpAddr;

use crate::address::AddressKey;
use crate::policy::snapshot::Snapshot;
use crate::protocol::Protocol;
use crate::session::ftp::context::{Context, Shared};
use crate::session::ftp::session::Session;
use crate::session::{DataFault, Refusal};
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

impl Session {
    /// Whether the client may have one more data connection; if not, it is told why. `passive` says
    /// that the connection is awaited at a port.
    pub(super) fn may_have_data(&mut self, passive: bool, cx: &mut Context<'_>) -> bool {
        let owner = self.port_owner(cx);
        let limits = &cx.snapshot.policy.ftp.limits;
        let is_stranger = matches!(owner, PortOwner::Stranger(_));
        if is_stranger && !has_override(cx.snapshot) {
            cx.note_lone(self.peer, Refusal::AccessDenied);
            let text = "You are not on the access list of this server.";
            self.reply(Code::NOT_LOGGED_IN, text);
            return false;
        }
        // The port that this session has already goes when it gets another.
        let own = self.data.as_ref().and_then(|data| data.port_of) == Some(owner);
        let here = cx.shared.ports.get(&owner).map_or(0, |count| count - u32::from(own));
        let here_max = if is_stranger { 1 } else { limits.passive_per_address_max };
        let strangers = cx.shared.strangers_ports - u32::from(own && is_stranger);
        let is_crowded = here_max > 0 && here >= here_max
            || is_stranger && strangers >= limits.strangers_ports_max;
        if passive && is_crowded {
            cx.counters.ftp_ports_refused.up();
            let fault = DataFault::TooManyPorts;
            cx.note_lone(self.peer, Refusal::DataConnection(fault));
            self.reply(Code::NO_DATA_CONNECTION, &super::data::text(fault));
            return false;
        }
        true
    }

    pub(super) fn port_owner(&self, cx: &Context<'_>) -> PortOwner {
        let client = self.peer.ip().to_canonical();
        match cx.snapshot.policy.access.permits(Protocol::Ftp, client) {
            true => PortOwner::Client(client.into()),
            false => PortOwner::Stranger(client.into()),
        }
    }
}

impl Shared {
    /// A port is opened for a data connection: it counts as its client's until the connection has
    /// come, or comes no more.
    pub(super) fn take_port(&mut self, owner: PortOwner) {
        *self.ports.entry(owner).or_default() += 1;
        self.strangers_ports += u32::from(matches!(owner, PortOwner::Stranger(_)));
    }

    /// A data connection has come, or is awaited no more.
    pub(super) fn free_port(&mut self, owner: PortOwner) {
        self.strangers_ports -= u32::from(matches!(owner, PortOwner::Stranger(_)));
        if let Some(count) = self.ports.get_mut(&owner) {
            *count -= 1;
            if *count == 0 {
                self.ports.remove(&owner);
            }
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
fn has_override(snapshot: &Snapshot) -> bool {
    let policy = &snapshot.policy.ftp;
    let names = OVERRIDDEN.iter().filter_map(|name| FileName::parse(name).ok());
    let mut files = names.filter_map(|name| vendor::override_for(&name));
    files.any(|file| snapshot.catalog.find(&policy.stack, &file).is_some())
}
