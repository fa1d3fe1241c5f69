//! Who may have a data connection, and how many passive ports at a time.
//!
//! Clients outside the access list get only override files, through a few ports of their own:
//! permitted clients find a port however many strangers connect.

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

/// The owner of a passive port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum PortOwner {
    /// A permitted client.
    Client(AddressKey),
    /// A client outside the access list, which may only have an override file.
    Stranger(AddressKey),
}

/// Names for which strangers may get an override file, one of each kind.
const OVERRIDDEN: [&[u8]; 2] = [b"46xxupgrade.scr", b"46xxsettings.txt"];

impl Session {
    /// Returns whether the client may have one more data connection; if not, replies with the
    /// reason. `passive` says that the server opens a port for it, which a stranger has from then
    /// on.
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
        // The session's current port is closed when it gets another.
        let own = self.data.as_ref().and_then(|data| data.port_of) == Some(owner);
        let here = cx.shared.ports.get(&owner).map_or(0, |count| count - u32::from(own));
        let here_max = limits.passive_per_address_max;
        let fault = if !passive {
            None
        } else if is_stranger && here > 0 {
            Some(DataFault::StrangerPort)
        } else if is_stranger {
            let has_room = cx.admission.slots.take_strangers_port(own, limits.strangers_ports_max);
            (!has_room).then_some(DataFault::StrangersPorts)
        } else {
            (here_max > 0 && here >= here_max).then_some(DataFault::AddressPorts)
        };
        let Some(fault) = fault else { return true };
        cx.counters.ftp_ports_refused.up();
        cx.note_lone(self.peer, Refusal::DataConnection(fault));
        self.reply(Code::NO_DATA_CONNECTION, &super::data::text(fault));
        false
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
    /// A port is opened for a data connection. It counts as its client's until the connection has
    /// come or is no longer expected.
    pub(super) fn take_port(&mut self, owner: PortOwner) {
        *self.ports.entry(owner).or_default() += 1;
        self.strangers_ports += u32::from(matches!(owner, PortOwner::Stranger(_)));
    }

    /// A data connection has come, or is no longer expected.
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

/// Clients that never connected for their data, by network. If several of one network fail and none
/// succeeds, it is the network's fault and not a phone's.
#[derive(Debug, Default)]
pub(super) struct NeverCame(HashMap<AddressKey, Vec<IpAddr>>);

/// So many clients of a network show that it is the network.
const CLIENTS_MEAN_NETWORK: usize = 3;
/// Networks that are remembered.
const NETWORKS_MAX: usize = 1_024;

impl NeverCame {
    /// Notes that a client did not connect; returns whether others of its network have not either.
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

    /// A client connected.
    pub(super) fn forget(&mut self, client: IpAddr) {
        self.0.remove(&network_of(client));
    }
}

/// Returns the network of a site's phones, as far as an address tells: a /24, a /64 of IPv6.
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

/// Returns whether there is any file for strangers.
fn has_override(snapshot: &Snapshot) -> bool {
    let policy = &snapshot.policy.ftp;
    let names = OVERRIDDEN.iter().filter_map(|name| FileName::parse(name).ok());
    let mut files = names.filter_map(|name| vendor::override_for(&name));
    files.any(|file| snapshot.catalog.find(&policy.stack, &file).is_some())
}
