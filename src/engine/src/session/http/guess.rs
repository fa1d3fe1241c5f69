//! Names that are not there, asked for too often: answers that come late, or say nothing.
//!
//! Counts nothing itself: [`crate::admission::guesses`] does.

use crate::admission::guesses::{self, Asked, RETRY_AFTER, Verdict};
use crate::session::http::connection::{Saved, State, Want, What};
use crate::session::http::engine::Engine;
use crate::session::http::refusal::No;
use crate::session::http::request::Judged;
use crate::session::stream::ConnectionId;
use crate::session::{Outcome, Refusal, Subject, Turn};

impl Engine {
    /// What a refusal becomes once it is known how much its client has asked for in vain. Returns
    /// `None` if it is to be told later: then the connection waits.
    pub(super) fn judge_miss(
        &mut self,
        id: ConnectionId,
        no: No,
        turn: &mut Turn<'_>,
    ) -> Option<No> {
        if no.outcome != Outcome::Refused(Refusal::NoSuchFile) {
            return Some(no);
        }
        let Some(connection) = self.connections.open_mut(id) else { return Some(no) };
        let Some(told) = &connection.told else { return Some(no) };
        let asked = Asked { client: connection.peer.ip(), proven: true, name: name(&told.subject) };
        let limits = &turn.snapshot.policy.guesses;
        match turn.admission.guesses.note_miss(asked, limits, turn.now) {
            Verdict::Free => Some(no),
            Verdict::Delayed => {
                turn.counters.misses_delayed.up();
                connection.held = Some(no);
                connection.state = State::Parked(Box::new(Want {
                    what: What::Stored(Saved::Whole),
                    head_only: false,
                }));
                self.set_deadline(id, Some(turn.now + guesses::DELAY));
                None
            }
            Verdict::Stopped { first } => Some(stopped(first, turn)),
        }
    }

    /// What a client gets that may not learn that a name exists.
    pub(super) fn judge_hit(
        &self,
        id: ConnectionId,
        subject: &Subject,
        judged: Judged,
        turn: &mut Turn<'_>,
    ) -> Result<Judged, No> {
        let Some(connection) = self.connections.open(id) else { return Ok(judged) };
        let serves = matches!(judged, Judged::Want(What::Read(..)));
        let asked = Asked { client: connection.peer.ip(), proven: true, name: name(subject) };
        let limits = &turn.snapshot.policy.guesses;
        match turn.admission.guesses.note_hit(asked, serves, limits, turn.now) {
            Verdict::Free | Verdict::Delayed => Ok(judged),
            Verdict::Stopped { first } => Err(stopped(first, turn)),
        }
    }
}

fn stopped(first: bool, turn: &Turn<'_>) -> No {
    turn.counters.misses_refused.up();
    No::too_many(Refusal::TooManyMisses { first }, RETRY_AFTER)
}

fn name(subject: &Subject) -> &[u8] {
    match subject {
        Subject::File(entry) => entry.path.as_bytes(),
        // What stands behind `?` makes no other name.
        Subject::Said(asked) => asked.split(|byte| *byte == b'?').next().unwrap_or_default(),
        Subject::Unreadable => b"",
    }
}
