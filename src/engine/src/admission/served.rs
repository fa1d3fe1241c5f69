//! Which names each address was served. An address that is stopped for guessing still gets these.
//!
//! A Bloom filter in two halves, of fixed size. It forgets the oldest names first.

use super::bloom;
use wire::time::{Duration, Instant};

/// Bits of one half: 512 KiB.
const BITS: usize = 1 << 22;
/// Names that one half takes. When it is full, one unknown name in 3,000 counts as noted.
const NOTED_MAX: u32 = 100_000;
/// The longest time for which one half is filled. Phones start up once a day.
const EPOCH: Duration = Duration::from_secs(7 * 86_400);

/// The names that addresses were served.
#[derive(Debug)]
pub(super) struct Served {
    now: Box<[u64]>,
    before: Box<[u64]>,
    noted: u32,
    since: Instant,
}

impl Default for Served {
    fn default() -> Self {
        let words = || vec![0_u64; BITS / 64].into_boxed_slice();
        Served { now: words(), before: words(), noted: 0, since: Instant::START }
    }
}

impl Served {
    /// Notes a name of an address, by the hash of both.
    pub(super) fn note(&mut self, unit: u64, now: Instant) {
        if bloom::has(&self.now, unit) {
            return;
        }
        if self.noted >= NOTED_MAX || now.since(self.since) >= EPOCH {
            std::mem::swap(&mut self.now, &mut self.before);
            self.now.fill(0);
            (self.noted, self.since) = (0, now);
        }
        self.noted += 1;
        bloom::set(&mut self.now, unit);
    }

    /// Returns whether it was noted.
    pub(super) fn has(&self, unit: u64) -> bool {
        bloom::has(&self.now, unit) || bloom::has(&self.before, unit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers that look like hashes.
    fn unit(number: u64) -> u64 {
        number.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ number.rotate_left(40)
    }

    #[test]
    fn what_was_noted_is_kept_over_the_next_hundred_thousand() {
        let mut served = Served::default();
        (0..150_000).for_each(|number| served.note(unit(number), Instant::START));
        assert!((50_000..150_000).all(|number| served.has(unit(number))));
        let strange = (1_000_000..1_010_000).filter(|number| served.has(unit(*number))).count();
        assert!(strange < 50, "{strange}");
        (150_000..350_000).for_each(|number| served.note(unit(number), Instant::START));
        let kept = (0..10_000).filter(|number| served.has(unit(*number))).count();
        assert!(kept < 50, "{kept}");
    }
}
