//! Names that are not there, asked for too often: the next command waits, or nothing is said.
//!
//! Counts nothing itself: [`crate::admission::guesses`] does.

use crate::admission::guesses::{self, Lookup, Verdict};
use crate::session::Refusal;
use crate::session::ftp::authorize::No;
use crate::session::ftp::context::Context;
use crate::session::ftp::session::{Goal, Session};
use wire::ftp::reply::Code;

impl Session {
    /// What a phone gets for a name once it is known how much its address has asked for in vain.
    pub(super) fn limit_guesses(
        &mut self,
        name: &[u8],
        goal: Result<Goal, No>,
        cx: &mut Context<'_>,
    ) -> Result<Goal, No> {
        let lookup = Lookup { client: self.peer.ip(), proven: true, name };
        let limits = &cx.snapshot.policy.guesses;
        let guesses = &mut cx.admission.guesses;
        let verdict = match &goal {
            Err(no) if no.refusal == Refusal::NoSuchFile => {
                guesses.note_miss(lookup, limits, cx.now)
            }
            Err(_) => return goal,
            Ok(goal) => {
                let serves = matches!(goal, Goal::Read(_));
                guesses.note_hit(lookup, serves, limits, cx.now)
            }
        };
        match verdict {
            Verdict::Free => goal,
            Verdict::Delayed => {
                cx.counters.misses_delayed.up();
                self.input.rate.hold(cx.now + guesses::DELAY);
                goal
            }
            Verdict::Stopped { first } => {
                cx.counters.misses_refused.up();
                self.input.rate.hold(cx.now + guesses::DELAY);
                let text = "Too many names were asked for that do not exist; try again later.";
                Err(No::new(Refusal::TooManyMisses { first }, Code::BUSY, text))
            }
        }
    }
}
