//! When each phone began its boot: the first of its requests that follow each other.
//!
//! Shared by all workers without a lock, because each file of a phone may meet another worker. Of
//! fixed size and lossy: of two phones that share a row, the later one keeps it, and the other
//! counts as new. So it must decide nothing but an order.

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::address::address_bits;
use wire::time::{Duration, Instant};

/// Phones that are remembered, 8 bytes each.
const ROWS: usize = 1 << 16;
/// After this long without a request the next one begins a new boot.
const PAUSE_MAX_S: u64 = 60;
/// A boot takes no longer. A client that goes on asking is no phone that boots.
const BOOT_MAX_MS: u64 = 30 * 60 * 1_000;
/// A row has 16 bits to tell its phone, 28 for the begin in milliseconds, and 20 for the last
/// request in seconds. Both wrap around after days, long after a row is out of date.
const BEGAN_BITS: u32 = 28;
const HEARD_BITS: u32 = 20;

/// The boots of all phones.
#[derive(Debug)]
pub(super) struct Boots {
    rows: Box<[AtomicU64]>,
    hasher: RandomState,
}

impl Default for Boots {
    fn default() -> Self {
        let rows = (0..ROWS).map(|_| AtomicU64::new(u64::MAX)).collect();
        Boots { rows, hasher: RandomState::new() }
    }
}

impl Boots {
    /// A phone asks for a file. Returns when its boot began, to the millisecond.
    pub(super) fn ask(&self, phone: IpAddr, now: Instant) -> Instant {
        let hash = self.hasher.hash_one(address_bits(phone));
        let Some(row) = self.rows.get(hash as usize % ROWS) else { return now };
        let (now_ms, now_s) = (now.as_micros() / 1_000, now.as_micros() / 1_000_000);
        let (tag, known) = (hash >> 48, row.load(Relaxed));
        let ago = |now: u64, then: u64, bits: u32| now.wrapping_sub(then) & low(bits);
        let heard_ago = ago(now_s, known, HEARD_BITS);
        let goes_on = known >> 48 == tag && heard_ago <= PAUSE_MAX_S && known != u64::MAX;
        let began_ago = ago(now_ms, known >> HEARD_BITS, BEGAN_BITS);
        let began_ago = if goes_on && began_ago < BOOT_MAX_MS { began_ago } else { 0 };
        let began_ms = now_ms.saturating_sub(began_ago);
        let fresh =
            tag << 48 | (began_ms & low(BEGAN_BITS)) << HEARD_BITS | now_s & low(HEARD_BITS);
        if fresh != known {
            row.store(fresh, Relaxed);
        }
        Instant::START + Duration::from_millis(began_ms)
    }
}

fn low(bits: u32) -> u64 {
    (1 << bits) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn phone(host: u8) -> IpAddr {
        [10, 0, 0, host].into()
    }

    fn at(ms: u64) -> Instant {
        Instant::from_millis(ms)
    }

    #[test]
    fn a_boot_begins_with_the_first_request_and_ends_with_a_pause() {
        let boots = Boots::default();
        // Days after the start, so that both clocks have wrapped around.
        for start in [0, 1_234, 400_000_000, 1_200_000_000_000] {
            assert_eq!(boots.ask(phone(1), at(start)), at(start));
            assert_eq!(boots.ask(phone(1), at(start + 40_000)), at(start));
            assert_eq!(boots.ask(phone(1), at(start + 95_000)), at(start));
            assert_eq!(boots.ask(phone(1), at(start + 157_000)), at(start + 157_000));
        }
    }

    #[test]
    fn phones_have_boots_of_their_own() {
        let boots = Boots::default();
        for host in 0..50 {
            assert_eq!(boots.ask(phone(host), at(u64::from(host))), at(host.into()));
        }
        let kept = (0..50).filter(|host| boots.ask(phone(*host), at(900)) < at(900)).count();
        assert!(kept > 45, "{kept} of 50");
        let mapped = "::ffff:10.0.0.49".parse().unwrap();
        assert_eq!(boots.ask(mapped, at(900)), boots.ask(phone(49), at(900)));
    }
}
