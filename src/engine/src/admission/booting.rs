//! Which phones are booting: since when, how long ago their last transfer ended, and who is back.
//!
//! A phone boots from its first request until [`QUIET`] after its last transfer ended. Only phones
//! that have proven their address count: one that has received something, or speaks TCP. Never
//! decides about anybody: metrics, status and log show it.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::net::IpAddr;

use crate::address::address_bits;
use wire::time::{Duration, Instant};

/// A phone whose last transfer ended so long ago has booted.
pub const QUIET: Duration = Duration::from_secs(10);
/// Phones that boot in one worker; more are not seen, and counted.
pub const PHONES_MAX: usize = 65_536;
/// More phones than this that boot at once are a storm. Default 100: more than restart by chance.
pub const STORM_PHONES_MIN_DEFAULT: u64 = 100;
/// Upper ends of the ages of boots, in seconds; a last one has no end.
pub const AGE_ENDS_S: [u64; AGES - 1] = [1, 2, 5, 10, 30];
/// How many ages are told apart.
pub const AGES: usize = 6;
/// Seconds for which the phones that began in each are counted apart.
const SECONDS: usize = 32;
const _: () = assert!(AGE_ENDS_S[AGES - 2] < SECONDS as u64);

/// A boot that is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BootOver {
    /// When its first request came.
    pub began: Instant,
    /// When it was first counted: it had proven its address.
    pub counted: Instant,
    /// When its last transfer ended.
    pub ended: Instant,
    /// Whether that transfer ended well; otherwise the phone fell silent, or the server failed.
    pub is_back: bool,
}

/// The phones of one worker that boot.
#[derive(Debug, Default)]
pub struct Booting {
    phones: HashMap<u128, Boot>,
    /// When to look whether a phone is back: at most one entry for each.
    timers: BinaryHeap<Reverse<(Instant, u128)>>,
    /// Phones that have a transfer, by the second in which they began, and those that began before.
    fetching: [u32; SECONDS],
    fetching_older: u32,
    /// The newest second of those.
    second: u64,
    begun: u64,
    unseen: u64,
}

#[derive(Clone, Copy, Debug)]
struct Boot {
    began: Instant,
    counted: Instant,
    ended: Instant,
    /// Transfers under way.
    running: u32,
    is_back: bool,
    /// Whether a timer will look at it.
    is_timed: bool,
}

impl Booting {
    /// A transfer of this phone is under way, asked for at `asked`: the phone has answered once, or
    /// speaks TCP. Call [`Booting::end`] when it ends.
    pub fn begin(&mut self, client: IpAddr, asked: Instant, now: Instant) {
        self.advance(now);
        let key = address_bits(client);
        let is_full = self.phones.len() >= PHONES_MAX;
        let boot = match self.phones.get_mut(&key) {
            Some(boot) => boot,
            None if is_full => {
                self.unseen += 1;
                return;
            }
            None => {
                self.begun += 1;
                let (counted, ended) = (now, now);
                let (running, is_back, is_timed) = (0, true, false);
                let boot = Boot { began: asked, counted, ended, running, is_back, is_timed };
                self.phones.entry(key).or_insert(boot)
            }
        };
        boot.running += 1;
        if boot.running == 1 {
            let began = boot.began;
            *self.fetching_since(began) += 1;
        }
        self.check();
    }

    /// A transfer of this phone has ended. `is_back` if it has what it came for, or an answer that
    /// lets it go on.
    pub fn end(&mut self, client: IpAddr, is_back: bool, now: Instant) {
        self.advance(now);
        let key = address_bits(client);
        // It may be one of those that are not seen.
        let Some(boot) = self.phones.get_mut(&key).filter(|boot| boot.running > 0) else { return };
        boot.running -= 1;
        boot.ended = now;
        boot.is_back = is_back;
        let (began, is_last) = (boot.began, boot.running == 0);
        if is_last && !std::mem::replace(&mut boot.is_timed, true) {
            self.timers.push(Reverse((now + QUIET, key)));
        }
        if is_last {
            *self.fetching_since(began) -= 1;
        }
        self.check();
    }

    /// Returns a phone whose boot is over. Call until `None`, now and then.
    pub fn poll_over(&mut self, now: Instant) -> Option<BootOver> {
        self.advance(now);
        while let Some(Reverse((at, key))) = self.timers.peek().copied() {
            if at > now {
                break;
            }
            self.timers.pop();
            let Some(boot) = self.phones.get_mut(&key) else { continue };
            boot.is_timed = false;
            if boot.running > 0 {
                // The end of its transfer sets the timer again.
                continue;
            }
            if now.since(boot.ended) < QUIET {
                boot.is_timed = true;
                self.timers.push(Reverse((boot.ended + QUIET, key)));
                continue;
            }
            let Boot { began, counted, ended, is_back, .. } = *boot;
            self.phones.remove(&key);
            return Some(BootOver { began, counted, ended, is_back });
        }
        None
    }

    /// Returns when a phone's boot began, or `None` if it does not boot.
    #[must_use]
    pub fn began(&self, client: IpAddr) -> Option<Instant> {
        self.phones.get(&address_bits(client)).map(|boot| boot.began)
    }

    /// Returns how many phones boot.
    #[must_use]
    pub fn booting(&self) -> usize {
        self.phones.len()
    }

    /// Returns how many phones have ever begun.
    #[must_use]
    pub fn begun(&self) -> u64 {
        self.begun
    }

    /// Returns how many transfers were not seen because too many phones boot.
    #[must_use]
    pub fn unseen(&self) -> u64 {
        self.unseen
    }

    /// Returns how many phones with a transfer under way began how long ago, by [`AGE_ENDS_S`].
    #[must_use]
    pub fn ages(&self) -> [u32; AGES] {
        let mut ages = [0; AGES];
        ages[AGES - 1] = self.fetching_older;
        for ago in 0..SECONDS as u64 {
            let Some(second) = self.second.checked_sub(ago) else { break };
            let age = AGE_ENDS_S.partition_point(|end| *end <= ago);
            ages[age] += self.fetching[second as usize % SECONDS];
        }
        ages
    }

    /// Begins a new second, in whose place the oldest are counted no more.
    fn advance(&mut self, now: Instant) {
        let second = now.as_micros() / 1_000_000;
        for new in (self.second + 1..=second).take(SECONDS) {
            let oldest = &mut self.fetching[new as usize % SECONDS];
            self.fetching_older += std::mem::take(oldest);
        }
        self.second = self.second.max(second);
    }

    /// The count of those who began then.
    fn fetching_since(&mut self, began: Instant) -> &mut u32 {
        let second = began.as_micros() / 1_000_000;
        if second + SECONDS as u64 > self.second {
            &mut self.fetching[second as usize % SECONDS]
        } else {
            &mut self.fetching_older
        }
    }

    fn check(&self) {
        debug_assert!(self.phones.len() <= PHONES_MAX);
        debug_assert!(self.timers.len() <= self.phones.len());
        debug_assert!(self.ages().iter().sum::<u32>() as usize <= self.phones.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use std::net::Ipv4Addr;

    fn ip(number: u32) -> IpAddr {
        Ipv4Addr::from_bits(0x0a00_0000 | number).into()
    }

    fn at(ms: u64) -> Instant {
        Instant::from_millis(ms)
    }

    fn all_over(boots: &mut Booting, now: Instant) -> Vec<BootOver> {
        std::iter::from_fn(|| boots.poll_over(now)).collect()
    }

    #[test]
    fn a_phone_is_back_when_its_last_transfer_ended_and_that_shows_when_it_asks_for_nothing_more() {
        let mut boots = Booting::default();
        for (asked, ended) in [(100, 300), (4_000, 4_500), (14_000, 14_400)] {
            boots.begin(ip(1), at(asked), at(asked + 20));
            assert_eq!(all_over(&mut boots, at(ended)), []);
            boots.end(ip(1), true, at(ended));
        }
        assert_eq!((boots.booting(), boots.begun(), boots.began(ip(1))), (1, 1, Some(at(100))));
        assert_eq!(all_over(&mut boots, at(24_399)), []);
        let (began, counted) = (at(100), at(120));
        let over = BootOver { began, counted, ended: at(14_400), is_back: true };
        assert_eq!(all_over(&mut boots, at(24_400)), [over]);
        assert_eq!((boots.booting(), boots.began(ip(1))), (0, None));
        boots.begin(ip(1), at(30_000), at(30_000));
        assert_eq!((boots.booting(), boots.begun()), (1, 2));
    }

    #[test]
    fn a_phone_whose_transfer_runs_is_never_back() {
        let mut boots = Booting::default();
        boots.begin(ip(1), at(0), at(0));
        boots.begin(ip(1), at(1_000), at(1_000));
        boots.end(ip(1), true, at(2_000));
        assert_eq!(all_over(&mut boots, at(3_600_000)), []);
        boots.end(ip(1), true, at(3_600_000));
        assert_eq!(all_over(&mut boots, at(3_610_000)).len(), 1);
    }

    #[test]
    fn a_phone_that_fell_silent_is_not_back_unless_it_asks_again() {
        let mut boots = Booting::default();
        for phone in [1, 2] {
            boots.begin(ip(phone), at(0), at(0));
            boots.end(ip(phone), false, at(1_000));
        }
        boots.begin(ip(2), at(2_000), at(2_000));
        boots.end(ip(2), true, at(3_000));
        let back: Vec<bool> =
            all_over(&mut boots, at(20_000)).iter().map(|over| over.is_back).collect();
        assert_eq!(back, [false, true]);
    }

    #[test]
    fn ages_count_phones_that_still_wait_for_bytes_and_no_others() {
        let mut boots = Booting::default();
        for (phone, asked) in [(1, 500), (2, 28_000), (3, 39_200), (4, 39_500), (5, 37_900)] {
            boots.begin(ip(phone), at(asked), at(asked));
        }
        boots.end(ip(4), true, at(39_900));
        assert_eq!(boots.booting(), 5);
        assert_eq!(boots.ages(), [1, 0, 1, 0, 1, 1]);
        boots.end(ip(1), true, at(40_000));
        boots.begin(ip(4), at(40_100), at(40_100));
        assert_eq!(boots.ages(), [0, 2, 1, 0, 1, 0], "by the start of the boot");
        boots.begin(ip(1), at(400_000), at(400_000));
        assert_eq!(boots.ages(), [0, 0, 0, 0, 0, 5]);
    }

    #[test]
    fn more_phones_than_there_is_memory_for_are_counted_and_not_kept() {
        let mut boots = Booting::default();
        for phone in 0..PHONES_MAX as u32 + 7 {
            boots.begin(ip(phone), at(1), at(1));
        }
        assert_eq!((boots.booting(), boots.unseen()), (PHONES_MAX, 7));
        boots.end(ip(PHONES_MAX as u32 + 1), true, at(2));
        boots.end(ip(1), true, at(2));
        assert_eq!(all_over(&mut boots, at(20_000)).len(), 1);
        boots.begin(ip(PHONES_MAX as u32), at(20_000), at(20_000));
        assert_eq!((boots.booting(), boots.unseen()), (PHONES_MAX, 7));
    }

    /// The same by a table that keeps every transfer.
    #[derive(Default)]
    struct Model {
        phones: BTreeMap<u32, (u64, u64, u32)>,
    }

    #[test]
    fn whatever_transfers_overlap_each_boot_is_over_once_and_at_the_same_time_as_in_a_model() {
        for seed in 0..40 {
            let mut random = fastrand::Rng::with_seed(seed);
            let (mut boots, mut model) = (Booting::default(), Model::default());
            let mut now = 0;
            for _ in 0..3_000 {
                let most = [5, 900, 9_000][random.usize(..3)];
                now += random.u64(..most);
                let mut expected = Vec::new();
                model.phones.retain(|_, (began, ended, running)| {
                    let is_over = *running == 0 && now >= *ended + 10_000;
                    if is_over {
                        expected.push((*began, *ended));
                    }
                    !is_over
                });
                let over = all_over(&mut boots, at(now));
                let mut over: Vec<_> = over.iter().map(|over| (over.began, over.ended)).collect();
                let mut expected: Vec<_> =
                    expected.iter().map(|(began, ended)| (at(*began), at(*ended))).collect();
                over.sort_unstable();
                expected.sort_unstable();
                assert_eq!(over, expected, "seed {seed} at {now} ms");
                let phone = random.u32(..20);
                if random.bool() {
                    model.phones.entry(phone).or_insert((now, now, 0)).2 += 1;
                    boots.begin(ip(phone), at(now), at(now));
                } else {
                    boots.end(ip(phone), true, at(now));
                    if let Some(one) = model.phones.get_mut(&phone).filter(|one| one.2 > 0) {
                        (one.1, one.2) = (now, one.2 - 1);
                    }
                }
                assert_eq!(boots.booting(), model.phones.len(), "seed {seed}");
                let fetching = model.phones.values().filter(|one| one.2 > 0).count();
                assert_eq!(boots.ages().iter().sum::<u32>() as usize, fetching, "seed {seed}");
            }
        }
    }
}
