//! Retransmission timeouts: a round-trip estimate per transfer, and the last one of each subnet.
//!
//! RFC 6298 with Karn's rule, as RFC 1123 4.2.3.2 demands. Counts time only; decides nothing else.

use std::net::IpAddr;

use wire::time::Duration;

/// Shortest retransmission timeout. RFC 6298 says one second, for shared Internet paths. A phone's
/// lock-step transfer has one block in flight, so an early resend costs one block, while a second
/// of waiting costs a thousand. Below this floor the scheduling of a busy host looks like loss.
pub const RTO_MIN: Duration = Duration::from_millis(50);
/// Longest retransmission timeout, after any number of doublings.
pub const RTO_MAX: Duration = Duration::from_secs(8);
/// Least allowance for variation on top of the smoothed round trip.
const VARIATION_MIN_US: u32 = 40_000;
const _: () = assert!(RTO_MIN.as_micros() < RTO_MAX.as_micros());

/// Smoothed round trip and its variation, in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RoundTrip {
    smoothed_us: u32,
    variation_us: u32,
}

impl RoundTrip {
    /// Takes a sample: RFC 6298, 2.2 and 2.3.
    pub fn sample(&mut self, took: Duration) {
        let us = u32::try_from(took.as_micros()).unwrap_or(u32::MAX / 8).clamp(1, u32::MAX / 8);
        if self.smoothed_us == 0 {
            *self = RoundTrip { smoothed_us: us, variation_us: us / 2 };
            return;
        }
        let off = self.smoothed_us.abs_diff(us);
        self.variation_us = self.variation_us - self.variation_us / 4 + off / 4;
        self.smoothed_us = (self.smoothed_us - self.smoothed_us / 8 + us / 8).max(1);
    }

    /// Returns the smoothed round trip, or `None` before the first sample.
    #[must_use]
    pub fn smoothed(&self) -> Option<Duration> {
        (self.smoothed_us > 0).then(|| Duration::from_micros(u64::from(self.smoothed_us)))
    }

    /// Returns the timeout before any doubling: RFC 6298, 2.3 with our own floor.
    #[must_use]
    pub fn timeout(&self) -> Option<Duration> {
        let smoothed = self.smoothed()?;
        let variation = (4 * self.variation_us).max(VARIATION_MIN_US);
        Some((smoothed + Duration::from_micros(u64::from(variation))).clamp(RTO_MIN, RTO_MAX))
    }
}

/// The retransmission timeout of one transfer.
#[derive(Clone, Copy, Debug)]
pub struct Rto {
    trip: RoundTrip,
    first_us: u32,
    /// Longest timeout, after any number of doublings.
    ceiling_us: u32,
    doublings: u8,
}

impl Rto {
    /// Starts from a first guess.
    #[must_use]
    pub fn new(first: Duration) -> Self {
        Rto::capped(first, RTO_MAX.max(first))
    }

    /// Starts from a first guess and never waits longer than the client's `timeout` or `utimeout`
    /// (RFC 2349). RFC 1123, 4.2.3.2, requires the timeout to adapt below that: clients name whole
    /// seconds, and one lost block of a thousand is not worth five of them.
    #[must_use]
    pub fn capped(first: Duration, ceiling: Duration) -> Self {
        let us = |time: Duration| u32::try_from(time.as_micros()).unwrap_or(u32::MAX);
        let (first_us, ceiling_us) = (us(first.min(ceiling)), us(ceiling));
        Rto { trip: RoundTrip::default(), first_us, ceiling_us, doublings: 0 }
    }

    /// A block that was sent once was acknowledged after `took`. Karn: a block sent twice gives no
    /// sample.
    pub fn sample(&mut self, took: Duration) {
        self.trip.sample(took);
        self.doublings = 0;
    }

    /// Returns whether nothing came in time since the last answer.
    #[must_use]
    pub fn is_backed_off(&self) -> bool {
        self.doublings > 0
    }

    /// Something new was acknowledged: the path works, so a loss does not lengthen later timeouts.
    pub fn handle_progress(&mut self) {
        self.doublings = 0;
    }

    /// Nothing came in time: RFC 6298, 5.5.
    pub fn back_off(&mut self) {
        self.doublings = self.doublings.saturating_add(1).min(16);
    }

    /// Returns how long to wait for an answer now.
    #[must_use]
    pub fn timeout(&self) -> Duration {
        (self.unhurried() * (1 << self.doublings)).min(micros(self.ceiling_us))
    }

    /// Returns the timeout without its doublings: after it, an answer is late.
    #[must_use]
    pub fn unhurried(&self) -> Duration {
        self.trip.timeout().unwrap_or(micros(self.first_us))
    }

    /// Returns the time in which an answer usually comes, or the shortest timeout if none was
    /// measured.
    #[must_use]
    pub fn usual_answer(&self) -> Duration {
        let Some(smoothed) = self.trip.smoothed() else { return RTO_MIN };
        (smoothed + micros(self.trip.variation_us) * 2).min(self.unhurried())
    }

    /// Returns the round trip as measured so far.
    #[must_use]
    pub fn round_trip(&self) -> RoundTrip {
        self.trip
    }
}

fn micros(us: u32) -> Duration {
    Duration::from_micros(u64::from(us))
}

/// Least wait for a phone's first answer, even if its neighbours were faster: when all of them
/// start at once, the first answers queue longer than any later ones.
const FIRST_MIN: Duration = Duration::from_millis(500);
/// Subnets that are remembered; if two share an entry, the newer one keeps it.
const SUBNETS: usize = 1_024;

/// The last round trip of each subnet: the first guess for its other phones.
#[derive(Debug)]
pub struct SubnetMemory {
    rows: Box<[(u64, RoundTrip)]>,
}

impl Default for SubnetMemory {
    fn default() -> Self {
        SubnetMemory { rows: vec![(0, RoundTrip::default()); SUBNETS].into_boxed_slice() }
    }
}

impl SubnetMemory {
    /// Returns the first timeout for a phone: twice that of its neighbours, because the first
    /// answer includes the phone's own preparation. Returns `otherwise` if none is known.
    #[must_use]
    pub fn first_timeout(&self, phone: IpAddr, otherwise: Duration) -> Duration {
        let subnet = subnet_of(phone);
        let (known, trip) = self.rows[row_of(subnet)];
        let timeout = trip.timeout().filter(|_| known == subnet);
        timeout.map_or(otherwise, |timeout| (timeout * 2).max(FIRST_MIN).min(otherwise))
    }

    /// A transfer of this phone has ended with this round trip.
    pub fn note(&mut self, phone: IpAddr, trip: RoundTrip) {
        let Some(smoothed) = trip.smoothed() else { return };
        let subnet = subnet_of(phone);
        let (known, memory) = &mut self.rows[row_of(subnet)];
        if *known != subnet {
            (*known, *memory) = (subnet, trip);
            return;
        }
        memory.sample(smoothed);
    }
}

/// Returns the /24 or /64 of an address, as a number that is never zero.
fn subnet_of(phone: IpAddr) -> u64 {
    match phone.to_canonical() {
        IpAddr::V4(ip) => u64::from(u32::from(ip) >> 8) | 1 << 32,
        IpAddr::V6(ip) => (u128::from(ip) >> 64) as u64 | 1 << 63,
    }
}

fn row_of(subnet: u64) -> usize {
    (subnet.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 54) as usize % SUBNETS
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn the_timeout_stays_above_a_jitter_of_five_milliseconds() {
        let mut rto = Rto::new(ms(1_000));
        for round in 0..200_u64 {
            rto.sample(ms(20 + (round * 7) % 11));
        }
        assert!(rto.timeout() > ms(30), "{:?}", rto.timeout());
        assert!(rto.timeout() < ms(100), "{:?}", rto.timeout());
    }

    #[test]
    fn each_silence_doubles_the_timeout_and_a_sample_ends_that() {
        let mut rto = Rto::new(ms(1_000));
        rto.back_off();
        rto.back_off();
        assert_eq!(rto.timeout(), ms(4_000));
        for _ in 0..100 {
            rto.back_off();
        }
        assert_eq!(rto.timeout(), RTO_MAX);
        rto.sample(ms(10));
        assert!(rto.timeout() <= ms(100));
    }

    #[test]
    fn a_negotiated_timeout_is_a_ceiling_and_no_floor() {
        let mut rto = Rto::capped(ms(1_000), ms(6_000));
        assert_eq!(rto.timeout(), ms(1_000));
        rto.sample(ms(1));
        assert!(rto.timeout() <= ms(60), "{:?}", rto.timeout());
        for _ in 0..10 {
            rto.back_off();
        }
        assert_eq!(rto.timeout(), ms(6_000).min(rto.unhurried() * 1_024));
        let mut rto = Rto::capped(ms(1_000), ms(250));
        assert_eq!(rto.timeout(), ms(250));
        rto.back_off();
        assert_eq!(rto.timeout(), ms(250));
        assert_eq!(Rto::capped(ms(1_000), ms(200_000)).timeout(), ms(1_000));
    }

    #[test]
    fn a_neighbour_starts_from_what_its_subnet_showed() {
        let mut memory = SubnetMemory::default();
        let phone = |text: &str| text.parse::<IpAddr>().unwrap();
        let mut trip = RoundTrip::default();
        trip.sample(ms(40));
        memory.note(phone("10.1.2.3"), trip);
        let first = memory.first_timeout(phone("10.1.2.200"), ms(1_000));
        assert!(first >= FIRST_MIN && first < ms(1_000), "{first:?}");
        assert_eq!(memory.first_timeout(phone("10.1.3.3"), ms(1_000)), ms(1_000));
    }

    #[test]
    fn absurd_samples_do_not_overflow() {
        let mut rto = Rto::new(ms(1_000));
        for took in [Duration::MAX, Duration::ZERO, Duration::MAX] {
            rto.sample(took);
            assert!(rto.timeout() >= RTO_MIN && rto.timeout() <= RTO_MAX);
        }
    }
}
