//! What must hold of an engine between any two calls.
//!
//! Changes nothing, and costs nothing without debug assertions.

use std::collections::BTreeMap;

use crate::address::AddressKey;
use crate::session::http::connection::{Connection, ConnectionState};
use crate::session::http::context::AddressUsage;
use crate::session::http::engine::Engine;
use crate::session::http::exchange::{Exchange, Stage};
use crate::session::stream::ConnectionId;
#[cfg(any(test, feature = "model"))]
use crate::ticket::Ticket;

/// Most connections that are all checked after every call.
const CONNECTIONS_MAX: usize = 256;

impl Engine {
    /// Called at the end of every method that changes something; `id` is the changed connection, if
    /// it was a single one.
    pub(super) fn check(&self, id: Option<ConnectionId>) {
        if !cfg!(debug_assertions) {
            return;
        }
        if let Some(connection) = id.and_then(|id| self.connections.open(id)) {
            connection.check();
        }
        if self.connections.len() <= CONNECTIONS_MAX {
            self.check_all();
        }
    }

    /// Checks that every figure is the sum over the table, and checks every connection.
    pub(super) fn check_all(&self) {
        let mut usage: BTreeMap<AddressKey, AddressUsage> = BTreeMap::new();
        let (mut exchanges, mut strangers, mut armed) = (0, 0, 0);
        for (_, connection) in self.connections.iter() {
            connection.check();
            let exchange = connection.exchange();
            let body_held = exchange.map_or(0, |exchange| exchange.body_held);
            let here = usage.entry(connection.peer.ip().into()).or_default();
            here.connections += 1;
            here.handshakes += u32::from(connection.is_handshaking());
            here.bodies_held += body_held;
            exchanges += usize::from(exchange.is_some());
            strangers += usize::from(connection.stranger);
            armed += usize::from(connection.deadline.is_armed());
        }
        let shared = &self.shared;
        debug_assert_eq!(exchanges + shared.left.len(), shared.requests_open);
        debug_assert_eq!(strangers, shared.strangers.open());
        debug_assert_eq!(
            usage.values().map(|here| here.bodies_held).sum::<u64>(),
            shared.bodies_held
        );
        debug_assert_eq!(usage.len(), shared.per_address.len());
        for (address, here) in &usage {
            debug_assert_eq!(shared.per_address.get(address), Some(here));
        }
        debug_assert!(armed <= shared.timers.len(), "a deadline without a timer");
        for ticket in shared.left.keys() {
            let connection = self.connections.open(ticket.row);
            debug_assert!(connection.is_none_or(|one| !one.awaits(*ticket)), "left and here");
        }
    }

    /// Returns the awaited questions, those to the queue of session slots included.
    #[cfg(any(test, feature = "model"))]
    pub(super) fn awaited(&self) -> impl Iterator<Item = Ticket> {
        let exchanges = self.connections.iter().filter_map(|(_, one)| one.exchange());
        exchanges.filter_map(|exchange| exchange.question).chain(self.shared.left.keys().copied())
    }
}

impl Connection {
    /// Checks that it can go on: some event ends what it waits for.
    pub(super) fn check(&self) {
        let has_deadline = self.deadline.at().is_some();
        debug_assert!(!has_deadline || self.deadline.is_armed());
        match &self.state {
            ConnectionState::Idle => {
                debug_assert!(has_deadline && !self.ended && self.unread.is_empty())
            }
            ConnectionState::ReadingHead => {
                debug_assert!(has_deadline && !self.ended && !self.unread.is_empty());
            }
            ConnectionState::Serving(exchange) => self.check_exchange(exchange),
            ConnectionState::Lingering { .. } => {
                debug_assert!(has_deadline && self.unread.is_empty())
            }
            ConnectionState::Closing | ConnectionState::Resetting => {}
        }
    }

    fn check_exchange(&self, exchange: &Exchange) {
        let has_deadline = self.deadline.at().is_some();
        let has_question = exchange.question.is_some();
        match &exchange.stage {
            Stage::Queued(_) => debug_assert!(has_question && !exchange.has_slot),
            Stage::Delayed(_) => debug_assert!(has_deadline && !has_question),
            Stage::Waiting(_) => debug_assert!(has_question),
            Stage::Receiving(body) => {
                debug_assert!(exchange.has_slot);
                debug_assert_eq!(has_question, body.is_part_under_way());
                debug_assert!(has_deadline || body.is_held());
            }
            Stage::Replying => {
                debug_assert!(!self.reply.is_sent(), "an answer that has left and is not over");
                debug_assert!(self.reply.can_send() || has_question || has_deadline);
            }
        }
    }
}
