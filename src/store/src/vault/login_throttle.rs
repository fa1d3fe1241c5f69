//! Slows down addresses that send wrong secrets, so that guessing is hopeless.
//!
//! A few are free, because people mistype; then each costs twice the wait of the one before. A
//! right secret in between does not reset the wait; otherwise a user with a secret could guess
//! others'.

use std::collections::HashMap;
use std::hash::Hash;

use engine::address::AddressKey;
use wire::time::{Duration, Instant};

/// Wrong secrets that cost no wait.
pub(crate) const FREE_MAX: u32 = 5;
/// The first wait; each later one is twice as long.
pub(crate) const WAIT_MIN: Duration = Duration::from_secs(1);
/// The longest wait.
pub(crate) const WAIT_MAX: Duration = Duration::from_secs(60);
/// An address that has sent no wrong secret for so long is forgotten.
pub(crate) const FORGET_AFTER: Duration = Duration::from_secs(15 * 60);
/// Most addresses that are remembered; a further one replaces the one that was quiet the longest.
pub(crate) const ADDRESSES_MAX: usize = 16_384;
const _: () = assert!(WAIT_MAX.as_secs() < FORGET_AFTER.as_secs());

/// The addresses, or other keys, that have sent wrong secrets.
#[derive(Debug)]
pub(crate) struct LoginThrottle<K = AddressKey> {
    rows: HashMap<K, FailedLogins>,
}

impl<K> Default for LoginThrottle<K> {
    fn default() -> Self {
        LoginThrottle { rows: HashMap::new() }
    }
}

#[derive(Clone, Copy, Debug)]
struct FailedLogins {
    wrong: u32,
    last: Instant,
    until: Instant,
}

impl<K: Copy + Eq + Hash> LoginThrottle<K> {
    /// Returns how long an address still has to wait, or `None` if it may try.
    #[must_use]
    pub(crate) fn wait(&self, client: impl Into<K>, now: Instant) -> Option<Duration> {
        let row = self.rows.get(&client.into())?;
        let wait = row.until - now;
        (!wait.is_zero()).then_some(wait)
    }

    /// Notes a wrong secret. Returns how many there were if the address has to wait from now on.
    pub(crate) fn wrong(&mut self, client: impl Into<K>, now: Instant) -> Option<u32> {
        let client = client.into();
        if self.rows.len() >= ADDRESSES_MAX && !self.rows.contains_key(&client) {
            self.make_room(now);
        }
        let row =
            self.rows.entry(client).or_insert(FailedLogins { wrong: 0, last: now, until: now });
        if now - row.last > FORGET_AFTER {
            row.wrong = 0;
        }
        row.wrong = row.wrong.saturating_add(1);
        row.last = now;
        let doublings = row.wrong.checked_sub(FREE_MAX + 1)?;
        let wait = WAIT_MIN.saturating_mul(1 << doublings.min(16)).min(WAIT_MAX);
        row.until = now + wait;
        Some(row.wrong)
    }

    /// Resets the count, for a client that knows a secret that no one else has to guess.
    pub(crate) fn forgive(&mut self, client: impl Into<K>) {
        if let Some(row) = self.rows.get_mut(&client.into()) {
            row.wrong = 0;
        }
    }

    /// Whether it has sent nothing wrong lately.
    #[must_use]
    pub(crate) fn is_new(&self, client: impl Into<K>, now: Instant) -> bool {
        self.rows.get(&client.into()).is_none_or(|row| now - row.last > FORGET_AFTER)
    }

    fn make_room(&mut self, now: Instant) {
        self.rows.retain(|_, row| now - row.last <= FORGET_AFTER);
        if self.rows.len() >= ADDRESSES_MAX {
            let quietest = self.rows.iter().min_by_key(|(_, row)| row.last).map(|(at, _)| *at);
            quietest.and_then(|at| self.rows.remove(&at));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    const GUESSER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));

    fn at(seconds: u64) -> Instant {
        Instant::START + Duration::from_secs(seconds)
    }

    fn seconds(throttled: &LoginThrottle, client: IpAddr, now: Instant) -> Option<u64> {
        throttled.wait(client, now).map(|wait| wait.as_secs())
    }

    #[test]
    fn five_are_free_and_then_each_wait_is_twice_the_one_before() {
        let mut throttled: LoginThrottle = LoginThrottle::default();
        for _ in 0..5 {
            assert_eq!(throttled.wrong(GUESSER, at(0)), None);
            assert_eq!(throttled.wait(GUESSER, at(0)), None);
        }
        let mut now = 0;
        for expected in [1, 2, 4, 8, 16, 32, 60, 60, 60] {
            assert!(throttled.wrong(GUESSER, at(now)).is_some());
            assert_eq!(seconds(&throttled, GUESSER, at(now)), Some(expected));
            now += expected;
            assert_eq!(seconds(&throttled, GUESSER, at(now)), None, "the wait is over");
        }
    }

    #[test]
    fn an_address_that_was_quiet_begins_anew() {
        let mut throttled: LoginThrottle = LoginThrottle::default();
        for _ in 0..9 {
            throttled.wrong(GUESSER, at(0));
        }
        assert_eq!(throttled.wrong(GUESSER, at(901)), None);
        assert_eq!(throttled.wait(GUESSER, at(901)), None);
    }

    #[test]
    fn others_do_not_wait_and_neighbours_in_a_network_of_64_bits_do() {
        let mut throttled: LoginThrottle = LoginThrottle::default();
        let [one, same, other] =
            ["fd00::1", "fd00::ffff:1", "fd00:0:0:1::1"].map(|ip| ip.parse().unwrap());
        for _ in 0..6 {
            throttled.wrong(GUESSER, at(0));
            throttled.wrong(one, at(0));
        }
        assert_eq!(throttled.wait("10.0.0.2".parse::<IpAddr>().unwrap(), at(0)), None);
        assert_eq!(seconds(&throttled, "::ffff:10.0.0.1".parse().unwrap(), at(0)), Some(1));
        assert_eq!(seconds(&throttled, same, at(0)), Some(1));
        assert_eq!(throttled.wait(other, at(0)), None);
    }

    #[test]
    fn the_table_is_bounded_and_forgets_the_quietest() {
        let mut throttled: LoginThrottle = LoginThrottle::default();
        for number in 0..(ADDRESSES_MAX as u32 + 10) {
            let client = IpAddr::from((0x0a00_0000 + number).to_be_bytes());
            for _ in 0..6 {
                throttled.wrong(client, Instant::START + Duration::from_micros(u64::from(number)));
            }
        }
        assert_eq!(throttled.rows.len(), ADDRESSES_MAX);
        assert_eq!(throttled.wait(IpAddr::from([10, 0, 0, 9]), at(0)), None);
        assert!(throttled.wait(IpAddr::from([10, 0, 0, 10]), at(0)).is_some());
    }
}
