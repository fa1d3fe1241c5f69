//! Names that are not there, asked for too often: an answer to the second request alone, then none.
//!
//! Counts nothing itself: [`crate::admission::guesses`] does. Keeps nothing for who asks.

use crate::admission::guesses::{Lookup, Verdict};
use crate::session::tftp::engine::{Datagram, Engine};
use crate::session::tftp::transfer::File;
use crate::session::{Refusal, Turn};

impl Engine {
    /// What a phone gets for a name once it is known how much its address has asked for in vain.
    /// Returns `None` if nothing is said now: a phone asks again within seconds and is answered.
    pub(super) fn judge_guess(
        &self,
        judged: Result<File, Refusal>,
        name: &[u8],
        datagram: Datagram<'_>,
        turn: &mut Turn<'_>,
    ) -> Option<Result<File, Refusal>> {
        // Anybody can send a datagram in another's name.
        let lookup = Lookup { client: datagram.peer.ip(), proven: false, name };
        let limits = &turn.snapshot.policy.guesses;
        let guesses = &mut turn.admission.guesses;
        let verdict = match &judged {
            Ok(File::Read(_)) => guesses.note_hit(lookup, true, limits, turn.now),
            Err(Refusal::NoSuchFile) => guesses.note_miss(lookup, limits, turn.now),
            Ok(File::Write(_)) | Err(_) => return Some(judged),
        };
        match verdict {
            Verdict::Free => Some(judged),
            Verdict::Delayed => {
                turn.counters.misses_delayed.up();
                None
            }
            Verdict::Stopped { first } => {
                turn.counters.misses_refused.up();
                Some(Err(Refusal::TooManyMisses { first }))
            }
        }
    }
}
