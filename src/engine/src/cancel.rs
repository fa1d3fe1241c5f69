//! A token that says whether a change may still be cancelled.
//!
//! The data path and the thread that writes share it; whichever decides first decides for good.
//! It may also say that the side that asked has probably left, so that others come first. Never
//! waits for the other side.

use std::sync::Arc;
use std::sync::atomic::AtomicU8;
use std::sync::atomic::Ordering::{AcqRel, Acquire};

const OPEN: u8 = 0;
const CANCELLED: u8 = 1;
const COMMITTED: u8 = 2;
const DOUBTFUL: u8 = 3;

/// Shared by the side that may cancel a change and the side that makes it. A clone is the same
/// token.
#[derive(Clone, Debug, Default)]
pub struct CancelToken(Arc<AtomicU8>);

impl CancelToken {
    /// Cancels the change. Returns whether it was in time.
    pub fn cancel(&self) -> bool {
        self.decide(CANCELLED)
    }

    /// Claims the right to make the change, which can then no longer be cancelled. Returns whether
    /// the change may still be made.
    pub fn commit(&self) -> bool {
        self.decide(COMMITTED)
    }

    /// Returns whether the change was cancelled.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Acquire) == CANCELLED
    }

    /// Says that the client has probably left. Everything else comes first from then on.
    pub fn doubt(&self) {
        // Whatever was decided before stays.
        let _ = self.0.compare_exchange(OPEN, DOUBTFUL, AcqRel, Acquire);
    }

    /// Returns whether the client has probably left.
    #[must_use]
    pub fn is_doubtful(&self) -> bool {
        self.0.load(Acquire) == DOUBTFUL
    }

    fn decide(&self, verdict: u8) -> bool {
        let undecided = |state| matches!(state, OPEN | DOUBTFUL).then_some(verdict);
        match self.0.fetch_update(AcqRel, Acquire, undecided) {
            Ok(_) => true,
            Err(before) => before == verdict,
        }
    }
}

/// Cancels when it is dropped: the client has left, or has the answer.
#[derive(Debug, Default)]
pub struct CancelOnDrop(CancelToken);

impl CancelOnDrop {
    /// Returns the token.
    #[must_use]
    pub fn token(&self) -> &CancelToken {
        &self.0
    }
}

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

impl PartialEq for CancelToken {
    /// Returns whether they are the same token.
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for CancelToken {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whichever_side_is_first_decides() {
        let token = CancelToken::default();
        assert!(token.clone().cancel() && token.is_cancelled());
        assert!(!token.commit());
        let token = CancelToken::default();
        assert!(token.commit() && !token.clone().cancel());
        assert!(token.commit() && !token.is_cancelled());
    }

    #[test]
    fn a_doubt_decides_nothing() {
        let token = CancelToken::default();
        token.doubt();
        assert!(token.is_doubtful() && !token.is_cancelled());
        assert!(token.commit() && !token.is_doubtful());
        token.doubt();
        assert!(token.commit() && !token.is_doubtful());
    }

    #[test]
    fn what_is_dropped_is_cancelled() {
        let guard = CancelOnDrop::default();
        let token = guard.token().clone();
        assert!(!token.is_cancelled());
        drop(guard);
        assert!(token.is_cancelled());
    }
}
