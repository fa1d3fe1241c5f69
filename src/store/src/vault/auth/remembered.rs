//! Digests of secrets that were right or wrong recently.
//!
//! Bounded; forgets half at a time; never holds a secret itself.

use std::collections::HashSet;
use std::mem;

use super::Digest;
use wire::time::Instant;

/// Most digests that are remembered, of right and of wrong secrets each.
const DIGESTS_MAX: usize = 65_536;
/// How long a digest is remembered at least; at most twice as long. Phones that restart each night
/// cost argon2 once a week.
const DIGESTS_TURN: wire::time::Duration = wire::time::Duration::from_secs(7 * 86_400);

/// Digests, the older half of which is forgotten when there are too many, or after a while.
#[derive(Debug, Default)]
pub(super) struct Remembered {
    recent: HashSet<Digest>,
    older: HashSet<Digest>,
    /// When the older half was forgotten last.
    turned_at: Instant,
}

impl Remembered {
    pub(super) fn contains(&self, digest: &Digest) -> bool {
        self.recent.contains(digest) || self.older.contains(digest)
    }

    /// Forgets digests that are so old that they must be checked again.
    pub(super) fn forget_old(&mut self, now: Instant) {
        let since = now - self.turned_at;
        if since < DIGESTS_TURN {
            return;
        }
        self.older = mem::take(&mut self.recent);
        if since >= DIGESTS_TURN * 2 {
            self.older = HashSet::new();
        }
        self.turned_at = now;
    }

    /// Adds a digest and returns whether it is new.
    pub(super) fn insert(&mut self, digest: Digest) -> bool {
        let is_new = !self.contains(&digest);
        if self.recent.len() >= DIGESTS_MAX / 2 {
            self.older = mem::take(&mut self.recent);
        }
        self.recent.insert(digest);
        is_new
    }
}
