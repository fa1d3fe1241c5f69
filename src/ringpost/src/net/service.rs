//! The interface of a protocol to a worker's loop, phase by phase of a turn.
//!
//! The loop calls each phase once a turn, and an event's service once an event. Work per packet or
//! per connection stays within the service, without dynamic dispatch. A service implements only the
//! phases that it needs.

use std::net::IpAddr;

use mio::event::Event;

use crate::net::stats::{RecordSink, StatsRecorder};
use engine::metrics::Counters;
use engine::policy::snapshot::Policy;
use engine::requests::{StoreReply, StoreRequest};
use engine::session::snmp::{IdentityError, PhoneIdentity};
use engine::session::{Record, TurnContext};
use engine::ticket::Ticket;
use store::Store;
use wire::time::Instant;

/// One protocol of a worker: its sockets and its machine.
pub(crate) trait Service: Send {
    /// Notes an event of one of its sockets.
    fn note(&mut self, event: &Event);

    /// Applies new settings, as one of so many workers. The only phase that may allocate more than
    /// a turn needs.
    fn adopt(&mut self, _: &Policy, _workers: usize) {}

    /// Returns whether the next turn has work without waiting.
    fn is_busy(&self) -> bool;

    /// Returns whether a send waits for room in the kernel.
    fn is_blocked(&self) -> bool {
        false
    }

    /// Returns when the next turn is due at the latest.
    fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    /// Refuses new transfers from now on.
    fn drain(&mut self, _: &mut TurnContext<'_>) {}

    /// Receives what has arrived, and passes it to the machine.
    fn receive(&mut self, turn: &mut TurnContext<'_>);

    /// Handles the store's answer to one of its requests.
    fn handle_store_reply(&mut self, _: StoreReply, _: &mut TurnContext<'_>) {}

    /// Handles a granted session slot.
    fn handle_granted(&mut self, _: Ticket, _: &mut TurnContext<'_>) {}

    /// Handles the expiry of a wait for a session slot.
    fn handle_expired(&mut self, _: Ticket, _: &mut TurnContext<'_>) {}

    /// Handles a phone's identity, or its failure. The service may not know the phone.
    fn handle_identity(
        &mut self,
        _: IpAddr,
        _: &Result<PhoneIdentity, IdentityError>,
        _: &mut TurnContext<'_>,
    ) {
    }

    /// Handles the passing of time.
    fn handle_timeout(&mut self, turn: &mut TurnContext<'_>);

    /// Sends a bounded amount of what is due.
    fn send(&mut self, turn: &mut TurnContext<'_>);

    /// Returns the next request to the store.
    fn poll_store_request(&mut self) -> Option<StoreRequest> {
        None
    }

    /// Handles a request for which the store had no room.
    fn handle_refused(&mut self, _: StoreRequest, _: &mut TurnContext<'_>) {}

    /// Passes all its requests to the store, for a worker.
    fn forward_requests(&mut self, store: &Store, worker: usize, turn: &mut TurnContext<'_>) {
        while let Some(request) = self.poll_store_request() {
            if let Err(refused) = store.submit(worker, request) {
                self.handle_refused(refused, turn);
            }
        }
    }

    /// Returns the next record for the log.
    fn poll_record(&mut self) -> Option<Record> {
        None
    }

    /// Passes all its records to the log.
    fn report(&mut self, recorder: &mut StatsRecorder, sink: &RecordSink) {
        while let Some(record) = self.poll_record() {
            recorder.transfer_ended(&record);
            sink.push(record, recorder.counters());
        }
    }

    /// Returns the number of transfers under way.
    fn transfers_open(&self) -> usize {
        0
    }

    /// Returns the number of answers that the order of service puts off.
    fn answers_waiting(&self) -> usize {
        0
    }

    /// Publishes the counters of this protocol.
    fn show_stats(&self, _: &Counters) {}

    /// Ends running transfers, and notifies each phone, so that it does not wait in vain.
    fn abandon(&mut self, _: &mut TurnContext<'_>) {}
}
