//! Requests whose client left while something was stored or deleted for it: the log is told what
//! became of that, and not only that somebody left.
//!
//! Decides nothing, and sends nothing to anybody.

use crate::catalog::{Answer, Ticket};
use crate::session::http::engine::Engine;
use crate::session::http::refusal::No;
use crate::session::{Failure, Outcome, Record, Turn};
use crate::vault::deed::Done;

impl Engine {
    /// Keeps what the log is to be told until the writer or the vault has answered.
    pub(super) fn tell_later(&mut self, ticket: Ticket, record: Record) {
        // It is in hand until then.
        self.requests_open += 1;
        self.left.insert(ticket, record);
    }

    /// An answer for a client that has left.
    pub(super) fn handle_late(&mut self, answer: &Answer, turn: &mut Turn<'_>) {
        let Some(record) = self.left.remove(&answer.ticket()) else { return };
        self.requests_open -= 1;
        let outcome = match answer {
            Answer::Stored { result: Ok(_), .. }
            | Answer::Vault { result: Ok(Done::Kept(_)), .. } => {
                turn.counters.uploads_stored.up();
                Outcome::DoneUnacknowledged
            }
            Answer::Vault { result: Ok(Done::Fetched(_) | Done::Forgotten), .. } => {
                Outcome::DoneUnacknowledged
            }
            Answer::Deleted { result: Ok(()), .. } => {
                turn.counters.uploads_deleted.up();
                Outcome::DoneUnacknowledged
            }
            Answer::Stored { result: Err(fault), .. }
            | Answer::Deleted { result: Err(fault), .. } => Outcome::of_store(*fault),
            Answer::Vault { result: Err(denied), .. } => No::denied(*denied).outcome,
            // Nobody is left for these.
            Answer::Opened { .. }
            | Answer::Verified { .. }
            | Answer::Upload { .. }
            | Answer::Read { .. }
            | Answer::Files { .. }
            | Answer::Login { .. } => record.outcome,
        };
        outcome.count(turn.counters);
        self.records.push_back(Record { took: turn.now.since(record.began), outcome, ..record });
    }

    /// Nobody will answer any more.
    pub(super) fn abandon_left(&mut self, turn: &mut Turn<'_>) {
        for record in std::mem::take(&mut self.left).into_values() {
            self.requests_open -= 1;
            let outcome = Outcome::Failed(Failure::Stopped);
            outcome.count(turn.counters);
            self.records.push_back(Record { outcome, ..record });
        }
    }
}
