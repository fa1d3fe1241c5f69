//! Names that do not exist and are requested too often: the next command waits, or the reply says
//! nothing.
//!
//! Counts nothing itself: [`crate::admission::guesses`] does.

use crate::admission::guesses::{self, Lookup, Verdict};
use crate::session::Refusal;
use crate::session::ftp::authorize::Rejection;
use crate::session::ftp::context::Context;
use crate::session::ftp::session::{Goal, Session};
use wire::ftp::reply::Code;

impl Session {
    /// Returns the reply to a phone, given how many unknown names its address has asked for.
    pub(super) fn limit_guesses(
        &mut self,
        name: &[u8],
        goal: Result<Goal, Rejection>,
        cx: &mut Context<'_>,
    ) -> Result<Goal, Rejection> {
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
                Err(Rejection::new(Refusal::TooManyMisses { first }, Code::BUSY, text))
            }
        }
    }
}
