//! What a worker's loop asks of a protocol, phase by phase of a turn.
//!
//! The loop calls each phase once a turn and an event's service once an event; what is done per
//! packet or per connection stays within the service, where nothing is called through a table.
//! What a service has no use for, it leaves out.

use std::net::IpAddr;

use mio::event::Event;

use crate::net::stats::{RecordSink, StatsRecorder};
use engine::metrics::Counters;
use engine::policy::snapshot::Policy;
use engine::requests::{Answer, Ask};
use engine::session::snmp::{IdentityError, PhoneIdentity};
use engine::session::{Record, TurnContext};
use engine::ticket::Ticket;
use store::Store;
use wire::time::Instant;

/// One protocol of a worker: its sockets and its machine.
pub(crate) trait Service: Send {
    /// The system has news of one of its sockets.
    fn note(&mut self, event: &Event);

    /// Takes new settings. The only phase that may allocate more than a turn needs.
    fn adopt(&mut self, _: &Policy) {}

    /// Whether the next turn has work without waiting for anything.
    fn is_busy(&self) -> bool;

    /// Whether a send waits for the system to have room.
    fn is_blocked(&self) -> bool {
        false
    }

    /// When to turn again at the latest.
    fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    /// Begins nothing new from now on.
    fn drain(&mut self, _: &mut TurnContext<'_>) {}

    /// Takes what has come, and tells the machine.
    fn receive(&mut self, turn: &mut TurnContext<'_>);

    /// The store has answered one of its requests.
    fn handle_answer(&mut self, _: Answer, _: &mut TurnContext<'_>) {}

    /// Somebody who waited for a session slot has one.
    fn handle_granted(&mut self, _: Ticket, _: &mut TurnContext<'_>) {}

    /// Somebody has waited for a session slot in vain.
    fn handle_expired(&mut self, _: Ticket, _: &mut TurnContext<'_>) {}

    /// A phone has said who uses it, or says nothing. It may be nobody's that this service knows.
    fn handle_identity(
        &mut self,
        _: IpAddr,
        _: &Result<PhoneIdentity, IdentityError>,
        _: &mut TurnContext<'_>,
    ) {
    }

    /// Time has passed.
    fn handle_timeout(&mut self, turn: &mut TurnContext<'_>);

    /// Sends what is due, in bounds.
    fn send(&mut self, turn: &mut TurnContext<'_>);

    /// The next request to the store.
    fn poll_ask(&mut self) -> Option<Ask> {
        None
    }

    /// The store had no room for a request.
    fn handle_refused(&mut self, _: Ask, _: &mut TurnContext<'_>) {}

    /// Hands all its requests to the store, as those of a worker.
    fn forward_requests(&mut self, store: &Store, worker: usize, turn: &mut TurnContext<'_>) {
        while let Some(ask) = self.poll_ask() {
            if let Err(refused) = store.ask(worker, ask) {
                self.handle_refused(refused, turn);
            }
        }
    }

    /// The next record for the log.
    fn poll_record(&mut self) -> Option<Record> {
        None
    }

    /// Hands all its records to the log.
    fn report(&mut self, recorder: &mut StatsRecorder, sink: &RecordSink) {
        while let Some(record) = self.poll_record() {
            recorder.transfer_ended(&record);
            sink.push(record, recorder.counters());
        }
    }

    /// Transfers that are under way.
    fn transfers_open(&self) -> usize {
        0
    }

    /// Shows the figures of this protocol alone.
    fn show_stats(&self, _: &Counters) {}

    /// Ends what still runs, and tells each phone, so that it does not wait in vain.
    fn abandon(&mut self, _: &mut TurnContext<'_>) {}
}
