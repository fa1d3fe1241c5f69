//! Names that are not there, asked for too often: the next command waits, or nothing is said.
//!
//! Counts nothing itself: [`crate::admission::guesses`] does.

use crate::admission::guesses::{self, Asked, Verdict};
use crate::session::ftp::engine::Engine;
use crate::session::ftp::judge::No;
use crate::session::ftp::session::Goal;
use crate::session::stream::ConnectionId;
use crate::session::{Refusal, Turn};
use wire::ftp::reply::Code;

impl Engine {
    /// What a phone gets for a name once it is known how much its address has asked for in vain.
    pub(super) fn judge_guess(
        &mut self,
        id: ConnectionId,
        name: &[u8],
        goal: Result<Goal, No>,
        turn: &mut Turn<'_>,
    ) -> Result<Goal, No> {
        let Some(session) = self.session_mut(id) else { return goal };
        let asked = Asked { client: session.peer.ip(), proven: true, name };
        let limits = &turn.snapshot.policy.guesses;
        let guesses = &mut turn.admission.guesses;
        let verdict = match &goal {
            Err(no) if no.refusal == Refusal::NoSuchFile => {
                guesses.note_miss(asked, limits, turn.now)
            }
            Err(_) => return goal,
            Ok(goal) => {
                let serves = matches!(goal, Goal::Read(_));
                guesses.note_hit(asked, serves, limits, turn.now)
            }
        };
        match verdict {
            Verdict::Free => goal,
            Verdict::Delayed => {
                turn.counters.misses_delayed.up();
                session.pace.hold(turn.now + guesses::DELAY);
                goal
            }
            Verdict::Stopped { first } => {
                turn.counters.misses_refused.up();
                session.pace.hold(turn.now + guesses::DELAY);
                let text = "Too many names were asked for that do not exist; try again later.";
                Err(No::new(Refusal::TooManyMisses { first }, Code::BUSY, text))
            }
        }
    }
}
