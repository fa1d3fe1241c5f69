//! What the connections of one engine share, and what a call on one of them may use.
//!
//! Decides nothing about requests, and knows no connection.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};

use crate::address::AddressKey;
use crate::admission::Admission;
use crate::admission::strangers::Strangers;
use crate::metrics::Counters;
use crate::policy::snapshot::Snapshot;
use crate::protocol::Protocol;
use crate::requests::StoreRequest;
use crate::session::http::nonces::Nonces;
use crate::session::stream::{ConnectionId, ListenerId};
use crate::session::timer::Timers;
use crate::session::{Outcome, Record, Refusal, Subject, TurnContext, Verb};
use crate::settings::http::{HttpListener, StreamLimits};
use crate::ticket::{Questions, Ticket, TicketOwner};
use crate::vault::upload::{PartOp, Spool};
use wire::http::response::Dated;
use wire::time::Instant;

/// One client address's use of shared resources.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct AddressUsage {
    /// Open connections.
    pub(super) connections: u32,
    /// Of them, those whose handshake is not complete.
    pub(super) handshakes: u32,
    /// Bytes of bodies in memory.
    pub(super) bodies_held: u64,
}

/// What the connections of one engine share.
#[derive(Debug, Default)]
pub(super) struct Shared {
    pub(super) listeners: Vec<HttpListener>,
    pub(super) per_address: HashMap<AddressKey, AddressUsage>,
    pub(super) strangers: Strangers,
    /// Bytes of bodies in memory.
    pub(super) bodies_held: u64,
    pub(super) dated: Dated,
    pub(super) stopping: bool,
    pub(super) store_requests: VecDeque<StoreRequest>,
    pub(super) timers: Timers<ConnectionId>,
    pub(super) records: VecDeque<Record>,
    /// Connections that have something to do although their sockets have no events.
    pub(super) ready: VecDeque<ConnectionId>,
    /// Exchanges in progress, and those of `left`.
    pub(super) requests_open: usize,
    /// Records of exchanges whose client left while something was stored or deleted for it. They
    /// are written once that has ended.
    pub(super) left: HashMap<Ticket, Record>,
    /// The nonces of challenges.
    pub(super) nonces: Nonces,
}

impl Shared {
    /// Counts a connection of `peer`, or returns why there is no room for it. `open` is how many
    /// there are. Returns whether the client is outside the access list.
    pub(super) fn admit(
        &mut self,
        peer: IpAddr,
        protocol: Protocol,
        open: usize,
        turn: &TurnContext<'_>,
    ) -> Result<bool, Refusal> {
        let limits = &turn.snapshot.policy.http.limits;
        let handshaking = protocol == Protocol::Https;
        let client = AddressKey::from(peer);
        let usage = self.per_address.entry(client).or_default();
        // Handshakes cost the most, so one address never has more than half of all connections in
        // them. A site behind one address that boots at once has no more than its own share.
        let each = limits.per_address_max;
        let half = limits.connections_max.div_ceil(2);
        let crowded = each > 0
            && (usage.connections as usize >= each
                || (handshaking && usage.handshakes as usize >= half));
        let stranger = !turn.snapshot.policy.access.permits(protocol, peer.to_canonical());
        let refusal = if self.stopping {
            Refusal::Stopping
        } else if crowded || open >= limits.connections_max {
            Refusal::TooManyConnections
        } else if stranger && !self.strangers.take(limits.connections_max) {
            Refusal::TooManyStrangers
        } else {
            usage.connections += 1;
            usage.handshakes += u32::from(handshaking);
            return Ok(stranger);
        };
        if usage.connections == 0 {
            self.per_address.remove(&client);
        }
        Err(refusal)
    }

    /// Uncounts a connection that [`Shared::admit`] counted.
    pub(super) fn dismiss(&mut self, peer: IpAddr, handshaking: bool, stranger: bool) {
        if stranger {
            self.strangers.give_back();
        }
        let usage = self.usage_of(peer);
        usage.connections -= 1;
        usage.handshakes -= u32::from(handshaking);
        if usage.connections == 0 {
            self.per_address.remove(&peer.into());
        }
    }

    /// Returns the use of resources by the address of an open connection.
    pub(super) fn usage_of(&mut self, peer: IpAddr) -> &mut AddressUsage {
        self.per_address.entry(peer.into()).or_default()
    }

    /// Returns the listener, or `None` if this id was never added.
    pub(super) fn listener(&self, id: ListenerId) -> Option<&HttpListener> {
        self.listeners.get(usize::from(id.0))
    }

    /// Writes the record of a connection without a request.
    pub(super) fn record_connection(
        &mut self,
        (peer, protocol): (SocketAddr, Protocol),
        outcome: Outcome,
        now: Instant,
    ) {
        let about = (Verb::Connect, Subject::Unreadable);
        self.records.push_back(Record::new(protocol, peer, about, now, outcome));
    }

    /// Has a temporary file deleted by a thread that may wait for a disk.
    pub(super) fn forget_spool(&mut self, row: ConnectionId, spool: Spool) {
        let (owner, sequence) = (TicketOwner::Http, Questions::UNAWAITED);
        let ticket = Ticket { owner, row, sequence };
        // It has no name, so any directory will do.
        let op = PartOp::Forget { spool };
        self.store_requests.push_back(StoreRequest::Upload { ticket, directory: 0, op });
    }
}

/// What a call on a connection may use beside the connection: the shared state of its engine, and
/// the worker's turn.
#[derive(Debug)]
pub(super) struct Context<'a> {
    /// The connection.
    pub(super) id: ConnectionId,
    pub(super) shared: &'a mut Shared,
    pub(super) snapshot: &'a Snapshot,
    pub(super) admission: &'a mut Admission,
    pub(super) counters: &'a Counters,
    pub(super) now: Instant,
    pub(super) unix_s: u64,
}

impl<'a> Context<'a> {
    pub(super) fn new(
        id: ConnectionId,
        shared: &'a mut Shared,
        turn: &'a mut TurnContext<'_>,
    ) -> Self {
        Context {
            id,
            shared,
            snapshot: turn.snapshot,
            admission: turn.admission,
            counters: turn.counters,
            now: turn.now,
            unix_s: turn.unix_s,
        }
    }

    /// Returns the ticket of the connection's next question.
    pub(super) fn ticket(&self, questions: &mut Questions) -> Ticket {
        Ticket { owner: TicketOwner::Http, row: self.id, sequence: questions.number() }
    }

    pub(super) fn limits(&self) -> &'a StreamLimits {
        &self.snapshot.policy.http.limits
    }
}
