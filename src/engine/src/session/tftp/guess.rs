//! Names that do not exist and are requested too often: an answer to the second request alone, then
//! none.
//!
//! Counts nothing itself: [`crate::admission::guesses`] does. Keeps nothing for the client.

use crate::admission::guesses::{Lookup, Verdict};
use crate::session::TurnContext;
use crate::session::tftp::engine::{Datagram, Engine};
use crate::session::tftp::refusal::TftpRefusal;
use crate::session::tftp::transfer::File;

impl Engine {
    /// Returns the answer to a request, given how many unknown names its address has asked for.
    /// Returns `None` for no answer now: a phone asks again within seconds and is answered then.
    pub(super) fn throttle_guess(
        &self,
        decided: Result<File, TftpRefusal>,
        name: &[u8],
        datagram: Datagram<'_>,
        turn: &mut TurnContext<'_>,
    ) -> Option<Result<File, TftpRefusal>> {
        // The sender's address may be forged.
        let lookup = Lookup { client: datagram.peer.ip(), proven: false, name };
        let limits = &turn.snapshot.policy.guesses;
        let guesses = &mut turn.admission.guesses;
        let verdict = match &decided {
            Ok(File::Read(_)) => guesses.note_hit(lookup, true, limits, turn.now),
            Err(TftpRefusal::NoSuchFile) => guesses.note_miss(lookup, limits, turn.now),
            Ok(File::Write(_)) | Err(_) => return Some(decided),
        };
        match verdict {
            Verdict::Free => Some(decided),
            Verdict::Delayed => {
                turn.counters.misses_delayed.up();
                None
            }
            Verdict::Stopped { first } => {
                turn.counters.misses_refused.up();
                Some(Err(TftpRefusal::TooManyMisses { first }))
            }
        }
    }
}
