//! How much one address may store in the vault, how much the vault may hold, and which versions are
//! removed first when one item is stored far too often.
//!
//! Counts per sender: an IPv4 address, or the 64 bits that an IPv6 host cannot choose. Decides
//! only.

use std::collections::HashMap;
use std::net::IpAddr;

use super::timestamp::Timestamp;
use crate::address::AddressKey;
use wire::time::{Duration, Instant};

/// How long what an address has stored counts.
pub const HOUR: Duration = Duration::from_secs(3_600);
/// Addresses that are counted; beyond these, the oldest count is dropped.
pub const ADDRESSES_MAX: usize = 16_384;
/// A version that follows another sooner than this belongs to the same flood: a quarter of an hour.
const FLOOD_GAP_NS: u64 = 900_000_000_000;

/// Bounds of the vault, `[vault]` in the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VaultBounds {
    /// Most bytes of all versions that are not archived. Default 16 GiB.
    pub total_bytes_max: u64,
    /// Bytes that stay free on the disk, at most a twentieth of it. Default 64 MiB.
    pub reserve_bytes: u64,
    /// Extensions that an address may begin, or pin a secret of, within an hour. Default 1,000: a
    /// site of as many phones may send all of them at once.
    pub new_max: u32,
    /// Bytes that an address may store within an hour. Default 256 MiB: 3,200 stores of 80 KiB.
    pub bytes_max: u64,
}

impl Default for VaultBounds {
    fn default() -> Self {
        VaultBounds {
            total_bytes_max: 16 << 30,
            reserve_bytes: 64 << 20,
            new_max: 1_000,
            bytes_max: 256 << 20,
        }
    }
}

/// The bound that an address has reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BoundReached {
    /// Extensions without an earlier version.
    New,
    /// Bytes.
    Bytes,
}

/// What addresses have stored within the hour.
#[derive(Debug, Default)]
pub struct RecentStores {
    rows: HashMap<AddressKey, AddressStores>,
}

#[derive(Clone, Copy, Debug)]
struct AddressStores {
    since: Instant,
    new: u32,
    bytes: u64,
    /// Whether the log has an entry for it.
    logged: bool,
}

impl RecentStores {
    /// Counts what an address stores.
    ///
    /// # Errors
    /// The bound that it has reached, how long it must wait, and whether this is the first time
    /// within the hour.
    pub fn count(
        &mut self,
        client: IpAddr,
        (new, bytes): (bool, u64),
        bounds: &VaultBounds,
        now: Instant,
    ) -> Result<(), (BoundReached, Duration, bool)> {
        let client = AddressKey::from(client);
        if self.rows.len() >= ADDRESSES_MAX && !self.rows.contains_key(&client) {
            self.make_room(now);
        }
        let fresh = AddressStores { since: now, new: 0, bytes: 0, logged: false };
        let row = self.rows.entry(client).or_insert(fresh);
        if now - row.since >= HOUR {
            *row = fresh;
        }
        let reached = if new && row.new >= bounds.new_max {
            BoundReached::New
        } else if row.bytes.saturating_add(bytes) > bounds.bytes_max {
            BoundReached::Bytes
        } else {
            row.new += u32::from(new);
            row.bytes += bytes;
            return Ok(());
        };
        let wait = row.since + HOUR - now;
        Err((reached, wait, !std::mem::replace(&mut row.logged, true)))
    }

    fn make_room(&mut self, now: Instant) {
        self.rows.retain(|_, row| now - row.since < HOUR);
        if self.rows.len() >= ADDRESSES_MAX {
            let oldest = self.rows.iter().min_by_key(|(_, row)| row.since).map(|(at, _)| *at);
            oldest.and_then(|at| self.rows.remove(&at));
        }
    }
}

/// A version as thinning sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    /// When it was kept.
    pub at: Timestamp,
    /// Whether it is within a flood: neither the first nor the last version of one.
    pub is_within_flood: bool,
}

/// Marks the versions within floods. `versions` are in order, each with the time since the version
/// before it when it was stored. A version is within a flood if it was stored, and replaced, within
/// `FLOOD_GAP_NS`. Versions that thinning removed between two others do not change this.
#[must_use]
pub fn within_floods(versions: &[(Timestamp, u64)]) -> Vec<Kept> {
    let is_quick = |place: usize| versions.get(place).is_some_and(|it| it.1 < FLOOD_GAP_NS);
    let kept = versions.iter().enumerate().map(|(place, &(at, _))| Kept {
        at,
        is_within_flood: place > 0 && is_quick(place) && is_quick(place + 1),
    });
    kept.collect()
}

/// Returns which versions to remove, `surplus` of them, never the last. Takes the latest version
/// within a flood that leaves a gap of at most `FLOOD_GAP_NS` between its neighbours, again and
/// again; if there is none, one that leaves a gap of at most twice that, and so on; if no version
/// is within a flood, the oldest.  So a flood counts as its first and its last version. Its other
/// versions go before any version that is older than the flood.
#[must_use]
pub fn thinned(versions: &[Kept], surplus: usize) -> Vec<usize> {
    let Some(last) = versions.len().checked_sub(1) else { return Vec::new() };
    let surplus = surplus.min(last);
    let mut left: Vec<_> = (0..=last).collect();
    let mut gone = Vec::with_capacity(surplus);
    let mut gap_max = FLOOD_GAP_NS;
    let is_within = |place: &usize| *place < last && versions[*place].is_within_flood;
    while gone.len() < surplus && left.iter().any(is_within) {
        // From the latest on, because the distance of a later version from its neighbours only
        // grows.
        let mut later: Vec<usize> = Vec::with_capacity(left.len());
        while let Some(place) = left.pop() {
            let around = left.last().zip(later.last());
            let goes = gone.len() < surplus
                && is_within(&place)
                && around.is_none_or(|(&before, &after)| {
                    versions[after].at.0.saturating_sub(versions[before].at.0) <= gap_max
                });
            if goes {
                gone.push(place);
            } else {
                later.push(place);
            }
        }
        later.reverse();
        left = later;
        gap_max = gap_max.saturating_mul(2);
    }
    let more = surplus - gone.len();
    gone.extend(&left[..more]);
    gone.sort_unstable();
    gone
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::START + Duration::from_secs(seconds)
    }

    #[test]
    fn a_site_behind_one_address_is_not_slowed_and_sixty_invented_extensions_are() {
        let bounds = VaultBounds::default();
        let mut recent = RecentStores::default();
        let site = [10, 0, 0, 1].into();
        for put in 0..200_u64 {
            for extension in 0..16 {
                let one = (put == 0, 40_000);
                assert_eq!(recent.count(site, one, &bounds, at(put)), Ok(()), "{extension}");
            }
        }
        let bounds = VaultBounds { new_max: 20, bytes_max: 30 << 20, ..bounds };
        let one_phone = [10, 0, 0, 2].into();
        let puts = (0..60).map(|second| {
            recent.count(one_phone, (true, 1 << 20), &bounds, at(second)).map_err(|why| why.0)
        });
        let puts: Vec<_> = puts.collect();
        assert_eq!(puts.iter().filter(|put| put.is_ok()).count(), 20);
        assert!(puts[20..].iter().all(|put| *put == Err(BoundReached::New)));
        let mut known = || recent.count(one_phone, (false, 10 << 20), &bounds, at(60));
        assert_eq!(known(), Ok(()));
        let wait = Duration::from_secs(3_540);
        assert_eq!(known(), Err((BoundReached::Bytes, wait, false)), "it was logged before");
        assert_eq!(recent.count(one_phone, (true, 1), &bounds, at(3_600)), Ok(()));
    }

    #[test]
    fn neighbours_in_a_network_of_64_bits_share_and_mapped_addresses_are_the_plain_ones() {
        let bounds = VaultBounds { new_max: 1, ..VaultBounds::default() };
        let mut recent = RecentStores::default();
        let mut may =
            |client: &str| recent.count(client.parse().unwrap(), (true, 1), &bounds, at(0)).is_ok();
        assert!(may("10.0.0.1") && !may("::ffff:10.0.0.1") && may("10.0.0.2"));
        assert!(may("fd00::1") && !may("fd00::ffff:2") && may("fd00:0:0:1::1"));
    }

    #[test]
    fn the_table_is_bounded() {
        let bounds = VaultBounds::default();
        let mut recent = RecentStores::default();
        for number in 0..(ADDRESSES_MAX as u32 + 10) {
            let client = IpAddr::from((0x0a00_0000 + number).to_be_bytes());
            assert!(recent.count(client, (true, 1), &bounds, at(u64::from(number))).is_ok());
        }
        assert!(recent.rows.len() <= ADDRESSES_MAX);
    }

    const SECOND_NS: u64 = 1_000_000_000;
    const DAY_NS: u64 = 86_400 * SECOND_NS;

    /// Returns the moments of the versions that remain if each store is followed by thinning.
    fn left(stores: &[u64], versions_max: usize) -> Vec<u64> {
        let mut rows: Vec<(Timestamp, u64)> = Vec::new();
        let mut before = None;
        for &at in stores {
            rows.push((Timestamp(at), before.map_or(u64::MAX, |before| at - before)));
            before = Some(at);
            let gone = thinned(&within_floods(&rows), rows.len().saturating_sub(versions_max));
            assert!(gone.is_sorted() && !gone.contains(&(rows.len() - 1)));
            for place in gone.iter().rev() {
                rows.remove(*place);
            }
            assert!(rows.len() <= versions_max.max(1));
        }
        rows.iter().map(|row| row.0.0).collect()
    }

    #[test]
    fn stores_in_seconds_push_out_nothing_that_was_stored_before_them() {
        // A second apart, and then a thousand within a minute. Thinning follows each store, so the
        // remaining versions of the flood are seconds apart in the end.
        let older = (0..12).map(|n| DAY_NS + n * SECOND_NS);
        let begin = DAY_NS + 12 * SECOND_NS;
        let flood = (0..1_030).map(|n| begin + n * (SECOND_NS / 17) + n % 7 * 1_000_000);
        let stores: Vec<_> = older.clone().chain(flood).collect();
        let left = left(&stores, 20);
        assert_eq!(left[..12], older.collect::<Vec<_>>());
        assert!(left.len() == 20 && left.last() == stores.last());
    }

    /// Sessions of a few stores each, minutes to days apart, after a moment.
    fn sittings(random: &mut fastrand::Rng, mut at: u64) -> Vec<u64> {
        let mut stores = Vec::new();
        for _ in 0..random.u64(..20) {
            at += FLOOD_GAP_NS + random.u64(..3 * DAY_NS);
            for _ in 0..=random.u64(..6) {
                at += 1 + random.u64(..FLOOD_GAP_NS / 2);
                stores.push(at);
            }
        }
        stores
    }

    #[test]
    fn whatever_is_older_than_a_flood_survives_as_if_it_were_two_stores() {
        for seed in 0..400 {
            let random = &mut fastrand::Rng::with_seed(seed);
            let older = sittings(random, DAY_NS);
            let begin = older.last().unwrap_or(&0) + 1 + random.u64(..DAY_NS);
            let gap = FLOOD_GAP_NS / 1_000;
            let flood: Vec<_> = (0..1_000).map(|n| begin + n * gap + random.u64(..gap)).collect();
            let versions_max = 2 + random.u64(..30) as usize;
            let with = left(&[&older[..], &flood].concat(), versions_max);
            let two = left(&[&older[..], &[flood[0], flood[999]]].concat(), versions_max);
            let older_in = |left: &[u64]| -> Vec<_> {
                left.iter().copied().filter(|at| *at < begin).collect()
            };
            assert_eq!(older_in(&with), older_in(&two), "seed {seed}");
        }
    }

    #[test]
    fn a_phone_that_never_stops_storing_leaves_its_history_spread_and_what_is_older() {
        let older = (0..10).map(|n| n * DAY_NS);
        let minute = 60 * SECOND_NS;
        let stores: Vec<_> =
            older.clone().chain((0..3 * 1_440).map(|n| 20 * DAY_NS + n * minute)).collect();
        let left = left(&stores, 20);
        assert_eq!(left[..10], older.collect::<Vec<_>>());
        let gaps: Vec<_> = left[10..].windows(2).map(|two| two[1] - two[0]).collect();
        assert!(gaps.iter().all(|gap| *gap <= DAY_NS), "{gaps:?}");
    }

    #[test]
    fn what_a_phone_had_when_it_was_left_alone_is_not_within_a_flood() {
        // Three edits on each of ten days: the user knows the last one of each day.
        let stores: Vec<_> =
            (1..=10).flat_map(|day| [0, 60, 120].map(|s| day * DAY_NS + s * SECOND_NS)).collect();
        let left = left(&stores, 20);
        assert!((1..=10).all(|day| left.contains(&(day * DAY_NS + 120 * SECOND_NS))));
        assert_eq!(left.len(), 20);
    }

    #[test]
    fn where_there_is_no_flood_the_oldest_go_and_never_the_newest() {
        let days: Vec<_> = (0..10).map(|day| (Timestamp(day * DAY_NS), DAY_NS)).collect();
        let days = within_floods(&days);
        assert_eq!(thinned(&days, 3), [0, 1, 2]);
        assert_eq!(thinned(&days, 100), (0..9).collect::<Vec<_>>());
        assert_eq!(thinned(&[], 1), Vec::<usize>::new());
        let quick: Vec<_> = (0..6).map(|n| (Timestamp(n), 1)).collect();
        let quick = within_floods(&quick);
        assert_eq!(thinned(&quick, 3), [2, 3, 4]);
        assert_eq!(thinned(&quick[1..], 100), [0, 1, 2, 3]);
        let wide = [(Timestamp(0), 1), (Timestamp(1), 1), (Timestamp(u64::MAX), 1)];
        assert_eq!(thinned(&within_floods(&wide), 1), [1]);
    }
}
