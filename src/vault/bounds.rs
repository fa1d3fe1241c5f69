//! What one address may bring into the vault, how much it may hold altogether, and which versions
//! go first when one item is stored far too often.
//!
//! Counts by what one sender has at hand: an IPv4 address, or the 64 bits that an IPv6 host cannot
//! choose. Decides only.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::net::IpAddr;

use super::stamp::Stamp;
use crate::admission::address::AddressKey;
use crate::time::{Duration, Instant};

/// How long what an address has brought counts.
pub const HOUR: Duration = Duration::from_secs(3_600);
/// Addresses that are counted; beyond, those that began longest ago begin anew.
pub const ADDRESSES_MAX: usize = 16_384;
/// Two versions that are closer together belong to one flood: a quarter of an hour.
const FLOOD_GAP_NS: u64 = 900_000_000_000;

/// Bounds of the vault, `[vault]` in the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VaultBounds {
    /// Most bytes of all versions that are not archived. Default 16 GiB.
    pub total_bytes_max: u64,
    /// Bytes that stay free on the disk, at most a twentieth of it. Default 64 MiB.
    pub reserve_bytes: u64,
    /// Extensions that an address may begin, or pin a secret of, within an hour. Default 1,000: a
    /// site of as many phones may come with all of them at once.
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

/// Which bound an address has reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reached {
    /// Extensions that nothing was kept of before.
    New,
    /// Bytes.
    Bytes,
}

/// What addresses have brought within the hour.
#[derive(Debug, Default)]
pub struct Brought {
    rows: HashMap<AddressKey, Row>,
}

#[derive(Clone, Copy, Debug)]
struct Row {
    since: Instant,
    new: u32,
    bytes: u64,
    /// Whether the log was told.
    told: bool,
}

impl Brought {
    /// Counts what an address brings, or says which bound it has reached, how long it has to wait,
    /// and whether this is the first time within the hour.
    ///
    /// # Errors
    /// The bound.
    pub fn count(
        &mut self,
        client: IpAddr,
        (new, bytes): (bool, u64),
        bounds: &VaultBounds,
        now: Instant,
    ) -> Result<(), (Reached, Duration, bool)> {
        let client = AddressKey::from(client);
        if self.rows.len() >= ADDRESSES_MAX && !self.rows.contains_key(&client) {
            self.make_room(now);
        }
        let fresh = Row { since: now, new: 0, bytes: 0, told: false };
        let row = self.rows.entry(client).or_insert(fresh);
        if now - row.since >= HOUR {
            *row = fresh;
        }
        let reached = match () {
            () if new && row.new >= bounds.new_max => Reached::New,
            () if row.bytes.saturating_add(bytes) > bounds.bytes_max => Reached::Bytes,
            () => {
                row.new += u32::from(new);
                row.bytes += bytes;
                return Ok(());
            }
        };
        let wait = row.since + HOUR - now;
        Err((reached, wait, !std::mem::replace(&mut row.told, true)))
    }

    fn make_room(&mut self, now: Instant) {
        self.rows.retain(|_, row| now - row.since < HOUR);
        if self.rows.len() >= ADDRESSES_MAX {
            let oldest = self.rows.iter().min_by_key(|(_, row)| row.since).map(|(at, _)| *at);
            oldest.and_then(|at| self.rows.remove(&at));
        }
    }
}

/// Which of the moments go, so many, the last never: of those in floods the one that came soonest
/// after the one before it, again and again, so that what began a flood or is older stays; where no
/// two are close together, the oldest of all.
#[must_use]
pub fn thinned(moments: &[Stamp], surplus: usize) -> Vec<usize> {
    let Some(last) = moments.len().checked_sub(1) else { return Vec::new() };
    let mut before: Vec<_> = (0..=last).map(|place| place.checked_sub(1)).collect();
    let mut after: Vec<_> = (1..=last + 1).collect();
    let gap = |from: usize, to: usize| moments[to].0.saturating_sub(moments[from].0);
    let mut gaps: BinaryHeap<_> =
        (1..last).map(|place| Reverse((gap(place - 1, place), place))).collect();
    let mut is_gone = vec![false; moments.len()];
    let (mut gone, mut oldest) = (Vec::new(), 0);
    while gone.len() < surplus.min(last) {
        let place = match gaps.pop() {
            Some(Reverse((_, place))) if is_gone[place] => continue,
            Some(Reverse((ns, place))) if before[place].is_none_or(|it| gap(it, place) != ns) => {
                continue;
            }
            Some(Reverse((ns, place))) if ns < FLOOD_GAP_NS => place,
            Some(_) | None => {
                gaps.clear();
                oldest
            }
        };
        is_gone[place] = true;
        gone.push(place);
        let next = after[place];
        before[next] = before[place];
        match before[place] {
            Some(it) => after[it] = next,
            None => oldest = next,
        }
        if let Some(it) = before[place].filter(|_| next != last) {
            gaps.push(Reverse((gap(it, next), next)));
        }
    }
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
        let mut brought = Brought::default();
        let site = [10, 0, 0, 1].into();
        for put in 0..200_u64 {
            for extension in 0..16 {
                let one = (put == 0, 40_000);
                assert_eq!(brought.count(site, one, &bounds, at(put)), Ok(()), "{extension}");
            }
        }
        let bounds = VaultBounds { new_max: 20, bytes_max: 30 << 20, ..bounds };
        let one_phone = [10, 0, 0, 2].into();
        let puts = (0..60).map(|second| {
            brought.count(one_phone, (true, 1 << 20), &bounds, at(second)).map_err(|why| why.0)
        });
        let puts: Vec<_> = puts.collect();
        assert_eq!(puts.iter().filter(|put| put.is_ok()).count(), 20);
        assert!(puts[20..].iter().all(|put| *put == Err(Reached::New)));
        let mut known = || brought.count(one_phone, (false, 10 << 20), &bounds, at(60));
        assert_eq!(known(), Ok(()));
        let wait = Duration::from_secs(3_540);
        assert_eq!(known(), Err((Reached::Bytes, wait, false)), "it was told before");
        assert_eq!(brought.count(one_phone, (true, 1), &bounds, at(3_600)), Ok(()));
    }

    #[test]
    fn neighbours_in_a_network_of_64_bits_share_and_mapped_addresses_are_the_plain_ones() {
        let bounds = VaultBounds { new_max: 1, ..VaultBounds::default() };
        let mut brought = Brought::default();
        let mut may = |client: &str| {
            brought.count(client.parse().unwrap(), (true, 1), &bounds, at(0)).is_ok()
        };
        assert!(may("10.0.0.1") && !may("::ffff:10.0.0.1") && may("10.0.0.2"));
        assert!(may("fd00::1") && !may("fd00::ffff:2") && may("fd00:0:0:1::1"));
    }

    #[test]
    fn the_table_is_bounded() {
        let bounds = VaultBounds::default();
        let mut brought = Brought::default();
        for number in 0..(ADDRESSES_MAX as u32 + 10) {
            let client = IpAddr::from((0x0a00_0000 + number).to_be_bytes());
            assert!(brought.count(client, (true, 1), &bounds, at(u64::from(number))).is_ok());
        }
        assert!(brought.rows.len() <= ADDRESSES_MAX);
    }

    #[test]
    fn what_is_thinned_is_the_flood_and_nothing_older() {
        let day = |day: u64| Stamp::of_second(day * 86_400);
        let old: Vec<_> = (0..10).map(day).collect();
        let flood = (0..1_025).map(|n| Stamp(day(20).0 + n * 1_000_000));
        let all: Vec<_> = old.iter().copied().chain(flood).collect();
        let gone = thinned(&all, all.len() - 20);
        assert_eq!(gone.len(), 1_015);
        assert!(gone.iter().all(|place| (11..1_034).contains(place)), "its ends stay as well");
        // Nor what came minutes or a second before it.
        let just = [Stamp::of_second(20 * 86_400 - 301), Stamp::of_second(20 * 86_400 - 1)];
        let flood = (0..1_025).map(|n| Stamp(day(20).0 + n * 1_000_000));
        let all: Vec<_> = old.iter().copied().chain(just).chain(flood).collect();
        let gone = thinned(&all, all.len() - 20);
        assert!(gone.len() == 1_017 && gone.iter().all(|place| *place > 11), "{:?}", gone[0]);
        // Without a flood it is the oldest that go, and the last never does.
        assert_eq!(thinned(&old, 3), [0, 1, 2]);
        assert_eq!(thinned(&old, 100), (0..9).collect::<Vec<_>>());
        assert_eq!(thinned(&[], 1), Vec::<usize>::new());
        let close: Vec<_> = (0..6).map(Stamp).collect();
        assert_eq!(thinned(&close, 3), [1, 2, 3]);
    }
}
