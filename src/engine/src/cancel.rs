//! A token that says whether a change may still be taken back.
//!
//! The data path and the thread that writes share it: whichever is first decides, once and for
//! all. Never waits for the other side.

use std::sync::Arc;
use std::sync::atomic::AtomicU8;
use std::sync::atomic::Ordering::{AcqRel, Acquire};

const OPEN: u8 = 0;
const CANCELLED: u8 = 1;
const COMMITTED: u8 = 2;

/// Shared by whoever may cancel a change and whoever makes it. A clone is the same token.
#[derive(Clone, Debug, Default)]
pub struct CancelToken(Arc<AtomicU8>);

impl CancelToken {
    /// Takes the change back; says whether it was in time for that.
    pub fn cancel(&self) -> bool {
        self.decide(CANCELLED)
    }

    /// Claims the right to make the change, which cannot be taken back any more. Says whether it
    /// still may be made.
    pub fn commit(&self) -> bool {
        self.decide(COMMITTED)
    }

    /// Whether the change was taken back.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Acquire) == CANCELLED
    }

    fn decide(&self, verdict: u8) -> bool {
        match self.0.compare_exchange(OPEN, verdict, AcqRel, Acquire) {
            Ok(_) => true,
            Err(before) => before == verdict,
        }
    }
}

impl PartialEq for CancelToken {
    /// Whether they are the same token.
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
}
