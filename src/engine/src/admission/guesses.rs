//! A limit on guessing names: how many unknown names one address may ask for.
//!
//! Phones ask for many files that need not exist, and a site behind one address asks for each once
//! per phone. So this counts how many *different* MAC addresses and names were unknown, and sets
//! them against what the same address was served. Decides only. Its memory is bounded: a full table
//! first forgets the addresses that have spent least.

use std::hash::{BuildHasher, DefaultHasher, Hasher, RandomState};
use std::net::IpAddr;

use ipnet::IpNet;

use super::bloom;
use super::served::Served;
use crate::address::AddressKey;
use wire::time::{Duration, Instant};

/// Unknown MAC addresses and names that one address may ask for at once, by default: a site of
/// 2,000 phones, each with an unknown MAC and an unknown extension.
pub const MISSES_MAX: u32 = 4_000;
/// How many of these are forgiven each hour.
pub const MISSES_PER_HOUR: u32 = 1_000;
/// How long an answer is held back once most of the budget is spent.
pub const DELAY: Duration = Duration::from_secs(1);
/// When a stopped client may try again.
pub const RETRY_AFTER: Duration = Duration::from_secs(60);
/// The last part of a budget is answered slowly: one in so many.
const SLOW_PART: u32 = 8;
/// Each file served pays for one miss, up to so many budgets an hour. Without this bound, a client
/// that fetches a public file between guesses could go on for ever.
const EARNED_BUDGETS_MAX: u32 = 8;
/// How long an unknown name counts as one that was asked for before: between one and two of these.
const EPOCH: Duration = Duration::from_secs(3_600);
/// Addresses that are counted separately.
const ROWS: usize = 8_192;
/// Rows that one address may be kept in.
const WAYS: usize = 8;
const SETS: usize = ROWS / WAYS;
/// Names remembered for an address with few misses.
const RECENT: usize = 4;
/// Misses after which an address gets a filter, which distinguishes thousands of names.
const FILTER_AFTER: u32 = 32;
/// Filters of one worker, 32 KiB each.
const FILTERS_MAX: usize = 128;
const FILTER_BITS: usize = 1 << 17;

const _: () = assert!(SETS.is_power_of_two() && SETS * WAYS == ROWS);
const _: () = assert!(FILTERS_MAX < u16::MAX as usize && FILTER_BITS.is_power_of_two());

/// How many unknown names one address may ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuessLimits {
    /// Different unknown MAC addresses and names at once; 0 = no limit.
    pub misses_max: u32,
    /// How many are forgiven each hour; 0 is taken for 1.
    pub misses_per_hour: u32,
    /// Networks that are never counted.
    pub trusted: Vec<IpNet>,
}

impl Default for GuessLimits {
    fn default() -> Self {
        GuessLimits {
            misses_max: MISSES_MAX,
            misses_per_hour: MISSES_PER_HOUR,
            trusted: Vec::new(),
        }
    }
}

/// A client and the name that it asks for.
#[derive(Clone, Copy, Debug)]
pub struct Lookup<'a> {
    /// The client.
    pub client: IpAddr,
    /// Whether its address cannot be forged. Both kinds are counted apart, so that a sender of
    /// forged datagrams cannot have a site stopped over TCP.
    pub proven: bool,
    /// The name in any spelling.
    pub name: &'a [u8],
}

/// How a request for a name is to be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// An answer at once.
    Free,
    /// An answer after [`DELAY`].
    Delayed,
    /// No word on whether the name exists.
    Stopped {
        /// Whether this is the first such answer within an hour, which is logged.
        first: bool,
    },
}

#[derive(Clone, Copy, Debug, Default)]
struct AddressMisses {
    key: Option<(AddressKey, bool)>,
    /// Misses that are not forgiven yet, in thousandths.
    spent_milli: u64,
    /// The moment up to which time has forgiven.
    at: Instant,
    /// Misses paid for by files in the hour that began at `earned_at`.
    earned: u32,
    earned_at: Instant,
    /// When the stop was last logged.
    logged_at: Option<Instant>,
    recent: [u32; RECENT],
    next: u8,
    filter: Option<u16>,
}

/// Misses by address, in a table that never grows.
#[derive(Debug)]
pub struct Guesses {
    sets: Box<[[AddressMisses; WAYS]]>,
    filters: Vec<Filter>,
    /// What was served to forgeable addresses, and to the others.
    served: [Served; 2],
    seed: u64,
    /// Rows that were ever taken; while it is 0, no row is looked up.
    rows_used: usize,
}

impl Default for Guesses {
    /// A seed that differs in every process.
    fn default() -> Self {
        Guesses::new(RandomState::new().build_hasher().finish())
    }
}

impl Guesses {
    /// Makes an empty table. Peers must not know `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let sets = vec![[AddressMisses::default(); WAYS]; SETS].into_boxed_slice();
        Guesses { sets, filters: Vec::new(), served: Default::default(), seed, rows_used: 0 }
    }

    /// Counts a request for a name that does not exist.
    pub fn note_miss(&mut self, lookup: Lookup<'_>, limits: &GuessLimits, now: Instant) -> Verdict {
        if !counts(lookup.client, limits) {
            return Verdict::Free;
        }
        let unit = self.unit(lookup.name);
        let (set, way) = self.take_row(lookup, limits, now);
        let budget_milli = u64::from(limits.misses_max) * 1_000;
        let is_new = self.is_new(set, way, unit, now);
        let row = &mut self.sets[set][way];
        row.forgive(limits, now);
        if is_new && row.spent_milli + 1_000 <= budget_milli {
            row.spent_milli += 1_000;
            self.remember(set, way, unit, now);
            let row = &mut self.sets[set][way];
            let slow_from = budget_milli - budget_milli / u64::from(SLOW_PART);
            return if row.spent_milli > slow_from { Verdict::Delayed } else { Verdict::Free };
        }
        if is_new {
            return row.stop(now);
        }
        Verdict::Free
    }

    /// Notes a request for a name that exists, or that only a vault knows, and decides whether to
    /// say so. If `serves` is true the client gets the file, which pays for a miss.
    pub fn note_hit(
        &mut self,
        lookup: Lookup<'_>,
        serves: bool,
        limits: &GuessLimits,
        now: Instant,
    ) -> Verdict {
        if !counts(lookup.client, limits) {
            return Verdict::Free;
        }
        let key = (AddressKey::from(lookup.client), lookup.proven);
        let unit = is_personal(lookup.name).then(|| self.served_unit(key, lookup.name));
        let kind = usize::from(lookup.proven);
        let set = (self.rows_used > 0).then(|| self.set_of(key));
        let rows = set.map_or(&mut [][..], |set| &mut self.sets[set][..]);
        if let Some(row) = rows.iter_mut().find(|row| row.key == Some(key)) {
            row.forgive(limits, now);
            let is_over = row.spent_milli + 1_000 > u64::from(limits.misses_max) * 1_000;
            // A stopped client learns of no name that it did not have before.
            if is_over && unit.is_some_and(|unit| !self.served[kind].has(unit)) {
                return row.stop(now);
            }
            if serves {
                row.earn(limits, now);
            }
        }
        if let Some(unit) = unit {
            self.served[kind].note(unit, now);
        }
        Verdict::Free
    }

    /// The unit that a name counts as: its MAC address, or else the whole name.
    fn unit(&self, name: &[u8]) -> u64 {
        self.hash(None, name)
    }

    fn served_unit(&self, (address, _): (AddressKey, bool), name: &[u8]) -> u64 {
        self.hash(Some(address), name)
    }

    fn hash(&self, of: Option<AddressKey>, name: &[u8]) -> u64 {
        let mut hasher = DefaultHasher::new();
        hasher.write_u64(self.seed);
        std::hash::Hash::hash(&of, &mut hasher);
        let mac = mac_of(name);
        for byte in mac.unwrap_or(name) {
            match byte {
                // Spellings of one name differ in slashes.
                b'/' | b'\\' => {}
                b':' | b'-' if mac.is_some() => {}
                byte => hasher.write_u8(byte.to_ascii_lowercase()),
            }
        }
        hasher.finish()
    }

    fn set_of(&self, key: (AddressKey, bool)) -> usize {
        let mut hasher = DefaultHasher::new();
        hasher.write_u64(self.seed);
        std::hash::Hash::hash(&key, &mut hasher);
        hasher.finish() as usize % SETS
    }

    /// Returns the row of an address. If it has none, it takes that of the address that has spent
    /// least.
    fn take_row(
        &mut self,
        lookup: Lookup<'_>,
        limits: &GuessLimits,
        now: Instant,
    ) -> (usize, usize) {
        let key = (AddressKey::from(lookup.client), lookup.proven);
        let set = self.set_of(key);
        let rows = &mut self.sets[set];
        if let Some(way) = rows.iter().position(|row| row.key == Some(key)) {
            return (set, way);
        }
        rows.iter_mut().for_each(|row| row.forgive(limits, now));
        let least = (0..WAYS).min_by_key(|way| (rows[*way].key.is_some(), rows[*way].spent_milli));
        let way = least.unwrap_or(0);
        let filter = rows[way].filter;
        self.rows_used += usize::from(rows[way].key.is_none());
        rows[way] =
            AddressMisses { key: Some(key), at: now, earned_at: now, ..AddressMisses::default() };
        if let Some(filter) = filter.and_then(|at| self.filters.get_mut(usize::from(at))) {
            filter.owner = None;
        }
        (set, way)
    }

    /// Returns whether an address asks for this for the first time.
    fn is_new(&mut self, set: usize, way: usize, unit: u64, now: Instant) -> bool {
        let row = &self.sets[set][way];
        let filter = row.filter.and_then(|at| self.filters.get_mut(usize::from(at)));
        match filter {
            Some(filter) => filter.is_new(unit, now),
            None => !row.recent.contains(&recent_of(unit)),
        }
    }

    fn remember(&mut self, set: usize, way: usize, unit: u64, now: Instant) {
        let row = &mut self.sets[set][way];
        row.recent[usize::from(row.next) % RECENT] = recent_of(unit);
        row.next = row.next.wrapping_add(1);
        if row.filter.is_none() && row.spent_milli > u64::from(FILTER_AFTER) * 1_000 {
            let owner = (set, way);
            let free = self.filters.iter().position(|filter| filter.is_free(now));
            let at = free.or_else(|| {
                let room = self.filters.len() < FILTERS_MAX;
                room.then(|| {
                    self.filters.push(Filter::new(now));
                    self.filters.len() - 1
                })
            });
            if let Some(at) = at {
                if let Some((set, way)) = self.filters[at].owner {
                    self.sets[set][way].filter = None;
                }
                self.filters[at].begin(owner, now);
                self.sets[set][way].filter = u16::try_from(at).ok();
            }
        }
        let filter = self.sets[set][way].filter;
        if let Some(filter) = filter.and_then(|at| self.filters.get_mut(usize::from(at))) {
            filter.set(unit);
        }
    }
}

impl AddressMisses {
    /// Forgives misses as time passes.
    fn forgive(&mut self, limits: &GuessLimits, now: Instant) {
        let per_hour = u64::from(limits.misses_per_hour.max(1));
        let gained = (now.since(self.at).as_micros() as u64).saturating_mul(per_hour) / 3_600_000;
        if gained > 0 {
            self.spent_milli = self.spent_milli.saturating_sub(gained);
            self.at = now;
        }
    }

    /// Pays for a miss with a file that was served.
    fn earn(&mut self, limits: &GuessLimits, now: Instant) {
        if now.since(self.earned_at) >= EPOCH {
            self.earned = 0;
            self.earned_at = now;
        }
        if self.spent_milli > 0
            && self.earned < limits.misses_max.saturating_mul(EARNED_BUDGETS_MAX)
        {
            self.earned += 1;
            self.spent_milli = self.spent_milli.saturating_sub(1_000);
        }
    }

    fn stop(&mut self, now: Instant) -> Verdict {
        let first = self.logged_at.is_none_or(|at| now.since(at) >= EPOCH);
        if first {
            self.logged_at = Some(now);
        }
        Verdict::Stopped { first }
    }
}

/// Names that one address asked for in this hour and the one before.
#[derive(Debug)]
struct Filter {
    owner: Option<(usize, usize)>,
    now: Box<[u64]>,
    before: Box<[u64]>,
    since: Instant,
    used_at: Instant,
}

impl Filter {
    fn new(now: Instant) -> Self {
        let words = || vec![0_u64; FILTER_BITS / 64].into_boxed_slice();
        Filter { owner: None, now: words(), before: words(), since: now, used_at: now }
    }

    /// Returns whether it has no owner, or one that has asked for nothing for long.
    fn is_free(&self, now: Instant) -> bool {
        self.owner.is_none() || now.since(self.used_at) >= EPOCH
    }

    fn begin(&mut self, owner: (usize, usize), now: Instant) {
        self.owner = Some(owner);
        self.now.fill(0);
        self.before.fill(0);
        (self.since, self.used_at) = (now, now);
    }

    fn is_new(&mut self, unit: u64, now: Instant) -> bool {
        self.used_at = now;
        let age = now.since(self.since);
        if age >= EPOCH {
            std::mem::swap(&mut self.now, &mut self.before);
            self.now.fill(0);
            if age >= EPOCH * 2 {
                self.before.fill(0);
            }
            self.since = now;
        }
        if bloom::has(&self.now, unit) {
            return false;
        }
        let was_there = bloom::has(&self.before, unit);
        if was_there {
            self.set(unit);
        }
        !was_there
    }

    fn set(&mut self, unit: u64) {
        bloom::set(&mut self.now, unit);
    }
}

/// Never zero, which marks a free entry.
fn recent_of(unit: u64) -> u32 {
    (unit >> 32) as u32 | 1
}

fn counts(client: IpAddr, limits: &GuessLimits) -> bool {
    let client = client.to_canonical();
    limits.misses_max > 0 && !limits.trusted.iter().any(|net| net.contains(&client))
}

/// Returns whether a name belongs to one phone or one user, so that it is worth guessing: it holds
/// a MAC address, or begins with an extension.
fn is_personal(name: &[u8]) -> bool {
    let last = name.rsplit(|byte| matches!(byte, b'/' | b'\\')).next().unwrap_or(name);
    let digits = last.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let ends = matches!(last.get(digits), Some(b'_' | b'-' | b'.'));
    mac_of(name).is_some() || (digits >= 2 && ends && !last.starts_with(b"0000000"))
}

/// Returns the MAC address in a name: twelve hexadecimal digits in a row, the last ones of a longer
/// row (`spa000e08aabbcc`), or six pairs with `:` or `-` between them. Common files are numbered in
/// the same way (`y000000000044.cfg`, `000000000000.cfg`), so ten leading zeros do not count.
fn mac_of(name: &[u8]) -> Option<&[u8]> {
    let mut start = 0;
    while start < name.len() {
        let rest = &name[start..];
        if let Some(pairs) = rest.get(..17).filter(|pairs| is_pairs(pairs)) {
            return Some(pairs);
        }
        let run = rest.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
        if run >= 12 {
            let mac = &rest[run - 12..run];
            if !mac.starts_with(b"0000000000") {
                return Some(mac);
            }
        }
        // A pair may begin in the middle of a run: `spa` ends in a hexadecimal digit.
        start += if run > 2 && run < 12 { run - 2 } else { run.max(1) };
    }
    None
}

fn is_pairs(text: &[u8]) -> bool {
    let separator = text[2];
    matches!(separator, b':' | b'-')
        && text.chunks(3).all(|group| {
            group[..2].iter().all(u8::is_ascii_hexdigit)
                && group.get(2).is_none_or(|byte| *byte == separator)
        })
}

#[cfg(test)]
mod tests;
