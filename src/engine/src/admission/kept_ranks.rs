//! The ranks of clients that have left the queue without a place, so that a request that is
//! repeated a moment after it expired is not sent to the end.
//!
//! Bounded in number and time, because a forged address has a rank, too. Decides nothing.

use std::collections::{BTreeSet, HashMap};

use super::queue::Client;
use super::slots::QUEUE_MAX;
use wire::time::{Duration, Instant};

/// Ranks that one worker keeps; beyond that the oldest is forgotten.
pub(super) const RANKS_MAX: usize = QUEUE_MAX;
/// How long a rank is kept after the client asked last: longer than phones wait between two tries.
pub(super) const RANK_KEPT: Duration = Duration::from_secs(20);

/// A client's rank.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct KeptRank {
    /// Its number in order of arrival.
    pub(super) arrival: u64,
    /// When it asked first.
    pub(super) since: Instant,
}

/// The kept ranks.
#[derive(Debug, Default)]
pub(super) struct KeptRanks {
    ranks: HashMap<Client, (KeptRank, Instant)>,
    by_age: BTreeSet<(Instant, Client)>,
}

impl KeptRanks {
    /// Keeps the rank of a client that asked last at this moment.
    pub(super) fn insert(&mut self, client: Client, rank: KeptRank, asked_at: Instant) {
        if let Some((_, before)) = self.ranks.insert(client, (rank, asked_at)) {
            self.by_age.remove(&(before, client));
        }
        self.by_age.insert((asked_at, client));
        if self.ranks.len() > RANKS_MAX {
            self.forget_oldest();
        }
        self.check();
    }

    /// Returns the rank of a client and forgets it, or returns `None` if it is not kept.
    pub(super) fn take(&mut self, client: Client, now: Instant) -> Option<KeptRank> {
        while self.by_age.first().is_some_and(|(asked_at, _)| *asked_at + RANK_KEPT <= now) {
            self.forget_oldest();
        }
        let (rank, asked_at) = self.ranks.remove(&client)?;
        self.by_age.remove(&(asked_at, client));
        self.check();
        Some(rank)
    }

    fn forget_oldest(&mut self) {
        if let Some((_, client)) = self.by_age.pop_first() {
            self.ranks.remove(&client);
        }
    }

    fn check(&self) {
        debug_assert_eq!(self.ranks.len(), self.by_age.len());
        debug_assert!(self.ranks.len() <= RANKS_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rank(arrival: u64) -> KeptRank {
        KeptRank { arrival, since: Instant::START }
    }

    #[test]
    fn a_rank_is_given_back_once_and_not_after_its_time() {
        let mut ranks = KeptRanks::default();
        ranks.insert(Client(1), rank(1), Instant::START);
        ranks.insert(Client(2), rank(2), Instant::from_millis(1_000));
        ranks.insert(Client(2), rank(3), Instant::from_millis(2_000));
        let now = Instant::START + RANK_KEPT;
        assert_eq!(ranks.take(Client(1), now), None);
        assert_eq!(ranks.take(Client(2), now), Some(rank(3)));
        assert_eq!(ranks.take(Client(2), now), None);
    }

    #[test]
    fn forged_addresses_push_out_the_oldest_ranks_and_take_no_more_room() {
        let mut ranks = KeptRanks::default();
        for number in 0..RANKS_MAX as u64 + 10 {
            ranks.insert(Client(number.into()), rank(number), Instant::from_micros(number));
        }
        assert_eq!(ranks.ranks.len(), RANKS_MAX);
        assert_eq!(ranks.take(Client(9), Instant::from_millis(1_000)), None);
        assert_eq!(ranks.take(Client(10), Instant::from_millis(1_000)), Some(rank(10)));
    }
}
