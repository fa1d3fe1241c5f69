//! How much may be sent to peers that have not answered yet: the bound on amplification.
//!
//! A fixed table of buckets by subnet (/24, or /56 for IPv6), allocated once. Decides only. The
//! caller charges those replies that are larger than their request, and no others.

use std::hash::{BuildHasher, DefaultHasher, Hasher, RandomState};
use std::net::IpAddr;

use crate::address::{address_bits, is_ipv4};
use wire::time::Instant;

/// Buckets in the table: 64 KiB in all.
pub const BUCKETS: usize = 4_096;
/// Buckets of one set, in which a subnet may be kept: one cache line.
const WAYS: usize = 4;
const SETS: usize = BUCKETS / WAYS;
/// Sends to one subnet that may be unanswered at a time, by default.
pub const CAPACITY_SENDS: u32 = 1_024;
/// Sends that a subnet gets back each second, by default.
pub const REFILL_SENDS_PER_SECOND: u32 = 128;

const _: () = assert!(SETS.is_power_of_two() && SETS * WAYS == BUCKETS);

/// How much one worker may send to one subnet without an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BudgetLimits {
    /// Sends that may be unanswered at a time; 0 lets none through.
    pub capacity_sends: u32,
    /// Sends given back each second; 0 is taken for 1.
    pub refill_sends_per_second: u32,
}

impl Default for BudgetLimits {
    fn default() -> Self {
        BudgetLimits {
            capacity_sends: CAPACITY_SENDS,
            refill_sends_per_second: REFILL_SENDS_PER_SECOND,
        }
    }
}

/// One subnet's debt, as the moment at which it will be paid.
#[derive(Clone, Copy, Debug, Default)]
struct Bucket {
    subnet_hash: u64,
    /// Nanoseconds since the start. If it is past, the bucket is full, and forgetting it costs
    /// nothing.
    full_at_ns: u64,
}

/// Buckets by subnet.
///
/// A subnet is looked up in the four buckets of its set. If it has none there, it takes a full one,
/// because nothing is lost with a full bucket. If none is full, it shares the bucket that is
/// nearest to full with its owner. To evict the owner instead would let a flood of forged sources
/// erase debts, and there would be no bound. So a flood can only make this table stricter. An
/// attacker cannot choose the victims, because the hash is seeded at random.
#[derive(Debug)]
pub struct Budget {
    sets: Box<[[Bucket; WAYS]]>,
    seed: u64,
    send_ns: u64,
    capacity_ns: u64,
}

impl Default for Budget {
    /// The default limits, and a seed that differs in every process.
    fn default() -> Self {
        Budget::new(RandomState::new().build_hasher().finish(), BudgetLimits::default())
    }
}

impl Budget {
    /// Makes a table in which every bucket is full. Peers must not know `seed`.
    #[must_use]
    pub fn new(seed: u64, limits: BudgetLimits) -> Self {
        let send_ns = 1_000_000_000 / u64::from(limits.refill_sends_per_second.max(1));
        let capacity_ns = send_ns * u64::from(limits.capacity_sends);
        let sets = vec![[Bucket::default(); WAYS]; SETS].into_boxed_slice();
        Budget { sets, seed, send_ns, capacity_ns }
    }

    /// Pays for one send to a peer that has not answered yet. Returns false if its subnet's budget
    /// is spent; then nothing may be sent.
    #[must_use]
    pub fn spend(&mut self, peer: IpAddr, now: Instant) -> bool {
        let now_ns = now.as_micros().saturating_mul(1_000);
        let (send_ns, capacity_ns) = (self.send_ns, self.capacity_ns);
        let (set, subnet_hash) = self.set_of(peer);
        // Full buckets are alike, however they were used.
        let debt_ns = |bucket: &Bucket| bucket.full_at_ns.saturating_sub(now_ns);
        let own = set.iter().position(|bucket| bucket.subnet_hash == subnet_hash);
        let fullest = || (0..WAYS).min_by_key(|way| debt_ns(&set[*way])).unwrap_or(0);
        let way = own.unwrap_or_else(fullest);
        let bucket = &mut set[way];
        let debt_after = bucket.full_at_ns.saturating_sub(now_ns).saturating_add(send_ns);
        if debt_after > capacity_ns {
            return false;
        }
        if bucket.full_at_ns <= now_ns {
            bucket.subnet_hash = subnet_hash;
        }
        bucket.full_at_ns = now_ns.saturating_add(debt_after);
        true
    }

    /// The peer has answered, so it asked for the `sends` that [`Budget::spend`] paid for, and they
    /// are given back. A subnet that paid from another's bucket gets nothing back but by time.
    pub fn give_back(&mut self, peer: IpAddr, sends: u32) {
        let credit_ns = self.send_ns.saturating_mul(u64::from(sends));
        let (set, subnet_hash) = self.set_of(peer);
        if let Some(bucket) = set.iter_mut().find(|bucket| bucket.subnet_hash == subnet_hash) {
            bucket.full_at_ns = bucket.full_at_ns.saturating_sub(credit_ns);
        }
    }

    fn set_of(&mut self, peer: IpAddr) -> (&mut [Bucket; WAYS], u64) {
        let bits = address_bits(peer);
        let host_bits = if is_ipv4(bits) { 8 } else { 72 };
        let mut hasher = DefaultHasher::new();
        hasher.write_u64(self.seed);
        hasher.write_u128(bits >> host_bits);
        let hash = hasher.finish();
        (&mut self.sets[hash as usize % SETS], hash)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::time::Duration;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn spend_all(budget: &mut Budget, peer: IpAddr, now: Instant) -> u32 {
        (0..CAPACITY_SENDS * 2).map(|_| u32::from(budget.spend(peer, now))).sum()
    }

    #[test]
    fn a_subnet_gets_its_capacity_at_once_and_then_its_refill() {
        let mut budget = Budget::new(1, BudgetLimits::default());
        let mut now = Instant::from_millis(70);
        assert_eq!(spend_all(&mut budget, ip("10.0.0.1"), now), CAPACITY_SENDS);
        assert!(!budget.spend(ip("10.0.0.200"), now), "the whole /24 pays from one bucket");
        assert!(!budget.spend(ip("::ffff:10.0.0.9"), now), "and so does its other spelling");
        assert!(budget.spend(ip("10.0.1.1"), now));
        for _ in 0..3 {
            now = now + Duration::from_secs(1);
            assert_eq!(spend_all(&mut budget, ip("10.0.0.1"), now), REFILL_SENDS_PER_SECOND);
        }
        let much_later = now + Duration::from_secs(3_600);
        assert_eq!(spend_all(&mut budget, ip("10.0.0.1"), much_later), CAPACITY_SENDS);
    }

    #[test]
    fn a_peer_that_answers_costs_nothing_in_the_end() {
        let mut budget = Budget::new(2, BudgetLimits::default());
        let now = Instant::from_millis(5_000);
        for _ in 0..50_000 {
            assert!(budget.spend(ip("192.0.2.1"), now) && budget.spend(ip("192.0.2.1"), now));
            budget.give_back(ip("192.0.2.1"), 2);
        }
        budget.give_back(ip("192.0.2.1"), u32::MAX);
        assert_eq!(spend_all(&mut budget, ip("192.0.2.1"), now), CAPACITY_SENDS);
    }

    #[test]
    fn an_ipv6_site_pays_from_one_bucket() {
        let mut budget = Budget::new(3, BudgetLimits::default());
        assert_eq!(spend_all(&mut budget, ip("2001:db8:0:100::1"), Instant::START), CAPACITY_SENDS);
        assert!(!budget.spend(ip("2001:db8:0:1ff::2"), Instant::START));
        assert!(budget.spend(ip("2001:db8:0:200::1"), Instant::START));
    }

    #[test]
    fn a_flood_of_made_up_sources_wipes_no_debt_out() {
        let mut budget = Budget::new(4, BudgetLimits::default());
        let now = Instant::from_millis(1);
        assert_eq!(spend_all(&mut budget, ip("198.51.100.1"), now), CAPACITY_SENDS);
        for subnet in 0..60_000_u32 {
            let source = std::net::Ipv4Addr::from_bits(0x0b00_0000 | subnet << 8);
            let _ = budget.spend(source.into(), now);
        }
        assert!(!budget.spend(ip("198.51.100.1"), now));
    }

    #[test]
    fn all_subnets_together_get_no_more_than_the_table_holds() {
        let limits = BudgetLimits { capacity_sends: 4, refill_sends_per_second: 1 };
        let mut budget = Budget::new(5, limits);
        let mut sent = 0;
        for subnet in 0..100_000_u32 {
            let source = std::net::Ipv4Addr::from_bits(0x0b00_0000 | subnet << 8);
            sent += usize::from(budget.spend(source.into(), Instant::START));
        }
        assert!(sent <= BUCKETS * 4, "{sent}");
        assert!(sent >= BUCKETS * 3, "a set should fill up before it refuses: {sent}");
    }

    #[test]
    fn no_capacity_sends_nothing_and_no_refill_is_one_a_second() {
        let none = BudgetLimits { capacity_sends: 0, refill_sends_per_second: 9 };
        assert!(!Budget::new(6, none).spend(ip("10.0.0.1"), Instant::START));
        let once = BudgetLimits { capacity_sends: 1, refill_sends_per_second: 0 };
        let mut budget = Budget::new(7, once);
        assert!(budget.spend(ip("10.0.0.1"), Instant::START));
        assert!(!budget.spend(ip("10.0.0.1"), Instant::from_millis(999)));
        assert!(budget.spend(ip("10.0.0.1"), Instant::from_millis(1_000)));
    }

    #[test]
    fn a_seed_decides_which_subnets_meet() {
        let sets = |seed| {
            let mut budget = Budget::new(seed, BudgetLimits::default());
            let hashes: Vec<u64> =
                (0..64).map(|n| budget.set_of(ip(&format!("10.0.{n}.1"))).1).collect();
            hashes
        };
        assert_ne!(sets(1), sets(2));
        assert_eq!(sets(3), sets(3));
    }
}
