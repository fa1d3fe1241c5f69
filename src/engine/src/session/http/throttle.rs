//! Names that do not exist and are requested too often: the response is delayed, or says nothing.
//!
//! Counts nothing itself: [`crate::admission::guesses`] does.

use crate::admission::guesses::{self, Lookup, RETRY_AFTER, Verdict};
use crate::session::http::connection::Connection;
use crate::session::http::context::Context;
use crate::session::http::exchange::{Operation, Stage};
use crate::session::http::rejection::Rejection;
use crate::session::http::request::Decision;
use crate::session::{Outcome, Refusal, Subject};

impl Connection {
    /// Returns the rejection for a request, given how many unknown names its client has asked for.
    /// Returns `None` if it is sent later: then the connection waits.
    pub(super) fn throttle_miss(
        &mut self,
        rejection: Rejection,
        cx: &mut Context<'_>,
    ) -> Option<Rejection> {
        if rejection.outcome != Outcome::Refused(Refusal::NoSuchFile) {
            return Some(rejection);
        }
        let client = self.peer.ip();
        let Some(exchange) = self.exchange_mut() else { return Some(rejection) };
        let lookup = Lookup { client, proven: true, name: name(&exchange.log.subject) };
        let limits = &cx.snapshot.policy.guesses;
        match cx.admission.guesses.note_miss(lookup, limits, cx.now) {
            Verdict::Free => Some(rejection),
            Verdict::Delayed => {
                cx.counters.misses_delayed.up();
                exchange.stage = Stage::Delayed(Box::new(rejection));
                exchange.question = None;
                self.set_deadline(Some(cx.now + guesses::DELAY), cx);
                None
            }
            Verdict::Stopped { first } => Some(stopped(first, cx)),
        }
    }

    /// Returns the rejection for a client that must not learn that a name exists.
    pub(super) fn throttle_hit(
        &self,
        subject: &Subject,
        decision: Decision,
        cx: &mut Context<'_>,
    ) -> Result<Decision, Rejection> {
        let serves = matches!(decision, Decision::Perform(Operation::Read(..)));
        let lookup = Lookup { client: self.peer.ip(), proven: true, name: name(subject) };
        let limits = &cx.snapshot.policy.guesses;
        match cx.admission.guesses.note_hit(lookup, serves, limits, cx.now) {
            Verdict::Free | Verdict::Delayed => Ok(decision),
            Verdict::Stopped { first } => Err(stopped(first, cx)),
        }
    }
}

fn stopped(first: bool, cx: &Context<'_>) -> Rejection {
    cx.counters.misses_refused.up();
    Rejection::too_many(Refusal::TooManyMisses { first }, RETRY_AFTER)
}

fn name(subject: &Subject) -> &[u8] {
    match subject {
        Subject::File(entry) => entry.path.as_bytes(),
        // A query after `?` makes no other name.
        Subject::Said(requested) => {
            requested.split(|byte| *byte == b'?').next().unwrap_or_default()
        }
        Subject::Unreadable => b"",
    }
}
