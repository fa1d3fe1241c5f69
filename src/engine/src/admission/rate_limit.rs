//! Caps on bytes per second: for all phones, for a subnet, for one phone.
//!
//! Lock-free and shared by all workers. Decides only. A cap is kept as a virtual clock: the moment
//! at which everything sent so far would have been sent at exactly the capped rate (the generic
//! cell rate algorithm of ITU-T I.371).

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use wire::time::Instant;

/// How far the virtual clock may run ahead: the burst of one turn of the loop.
pub const BURST_MS: u64 = 20;
/// Refused sends are spread over so long.
pub const RETRY_AHEAD_MS: u64 = 500;

const BURST_NS: u64 = BURST_MS * 1_000_000;
const RETRY_AHEAD_NS: u64 = RETRY_AHEAD_MS * 1_000_000;

/// One cap, shared by all workers.
///
/// In any stretch of time it lets through at most the rate times that stretch, plus 20 ms of the
/// rate, plus one send. Whether a send may go depends on earlier sends and not on its own size, so
/// that neither small nor large sends starve.
#[derive(Debug)]
pub struct RateLimit {
    bytes_per_second: u64,
    paid_until_ns: AtomicU64,
    next_try_ns: AtomicU64,
}

impl RateLimit {
    /// Makes a cap on which nothing was sent yet; 0 means 1 byte per second.
    #[must_use]
    pub fn new(bytes_per_second: u64) -> Self {
        RateLimit {
            bytes_per_second: bytes_per_second.max(1),
            paid_until_ns: AtomicU64::new(0),
            next_try_ns: AtomicU64::new(0),
        }
    }

    /// Returns the cap.
    #[must_use]
    pub fn bytes_per_second(&self) -> u64 {
        self.bytes_per_second
    }

    /// Pays for a send of so many bytes that leaves now.
    ///
    /// # Errors
    /// The moment to try again, always after `now`. Refused sends get different moments, so that a
    /// thousand of them do not return at once.
    pub fn take(&self, bytes: u32, now: Instant) -> Result<(), Instant> {
        let now_ns = nanos(now);
        let cost_ns = cost_ns(bytes, self.bytes_per_second);
        match self.paid_until_ns.fetch_update(Relaxed, Relaxed, |paid| pay(paid, cost_ns, now_ns)) {
            Ok(_) => Ok(()),
            Err(paid) => Err(moment_after(self.spread(paid - BURST_NS, cost_ns, now_ns), now)),
        }
    }

    /// Undoes a [`RateLimit::take`] whose send did not happen.
    pub fn give_back(&self, bytes: u32) {
        let cost_ns = cost_ns(bytes, self.bytes_per_second);
        // The closure always returns a value, so the update cannot fail.
        let _ = self
            .paid_until_ns
            .fetch_update(Relaxed, Relaxed, |paid| Some(paid.saturating_sub(cost_ns)));
    }

    /// Returns a moment not before `earliest_ns` that no other refused send was given.
    fn spread(&self, earliest_ns: u64, cost_ns: u64, now_ns: u64) -> u64 {
        let moment = |last: u64| {
            let ahead_max = now_ns.max(earliest_ns).saturating_add(RETRY_AHEAD_NS);
            if last <= earliest_ns || last > ahead_max { earliest_ns } else { last }
        };
        let after = |last: u64| Some(moment(last).saturating_add(cost_ns));
        match self.next_try_ns.fetch_update(Relaxed, Relaxed, after) {
            Ok(last) | Err(last) => moment(last),
        }
    }
}

/// The caps of the configuration.
#[derive(Debug, Default)]
pub struct RateLimits {
    /// For everything that is sent.
    pub all: Option<RateLimit>,
    /// For subnets; `TftpLimits::subnet_bucket` is an index into this list.
    pub subnets: Vec<RateLimit>,
}

impl RateLimits {
    /// Pays for a send under the cap of its subnet, if it has one, and the cap for all: under both
    /// or under neither.
    ///
    /// # Errors
    /// The moment to try again.
    pub fn take(
        &self,
        subnet_bucket: Option<u16>,
        bytes: u32,
        now: Instant,
    ) -> Result<(), Instant> {
        let subnet = subnet_bucket.and_then(|bucket| self.subnets.get(usize::from(bucket)));
        if let Some(subnet) = subnet {
            subnet.take(bytes, now)?;
        }
        let Some(all) = &self.all else { return Ok(()) };
        all.take(bytes, now).inspect_err(|_| {
            if let Some(subnet) = subnet {
                subnet.give_back(bytes);
            }
        })
    }
}

/// The cap of one phone: a virtual clock without a rate, kept in a transfer.
#[derive(Clone, Copy, Debug, Default)]
pub struct PhoneRateLimit {
    paid_until_ns: u64,
}

const _: () = assert!(size_of::<PhoneRateLimit>() == 8);

impl PhoneRateLimit {
    /// Pays for a send of so many bytes that leaves now, at this rate; 0 = no cap.
    ///
    /// # Errors
    /// The moment to try again, always after `now`.
    pub fn take(&mut self, bytes: u32, bytes_per_second: u64, now: Instant) -> Result<(), Instant> {
        if bytes_per_second == 0 {
            return Ok(());
        }
        let cost_ns = cost_ns(bytes, bytes_per_second);
        match pay(self.paid_until_ns, cost_ns, nanos(now)) {
            Some(paid) => {
                self.paid_until_ns = paid;
                Ok(())
            }
            None => Err(moment_after(self.paid_until_ns - BURST_NS, now)),
        }
    }

    /// Undoes a [`PhoneRateLimit::take`] whose send did not happen.
    pub fn give_back(&mut self, bytes: u32, bytes_per_second: u64) {
        if bytes_per_second > 0 {
            let cost_ns = cost_ns(bytes, bytes_per_second);
            self.paid_until_ns = self.paid_until_ns.saturating_sub(cost_ns);
        }
    }
}

/// Returns the virtual clock after a send, or `None` if it is too far ahead already.
fn pay(paid_until_ns: u64, cost_ns: u64, now_ns: u64) -> Option<u64> {
    let from_ns = paid_until_ns.max(now_ns);
    (from_ns <= now_ns.saturating_add(BURST_NS)).then(|| from_ns.saturating_add(cost_ns))
}

/// Returns how long a send takes at the capped rate, rounded up so that the cap is never exceeded.
fn cost_ns(bytes: u32, bytes_per_second: u64) -> u64 {
    (u64::from(bytes) * 1_000_000_000).div_ceil(bytes_per_second)
}

fn nanos(moment: Instant) -> u64 {
    moment.as_micros().saturating_mul(1_000)
}

fn moment_after(ns: u64, now: Instant) -> Instant {
    Instant::from_micros(ns.div_ceil(1_000).max(now.as_micros().saturating_add(1)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicBool;
    use wire::time::Duration;

    const RATE: u64 = 1_000_000;

    fn at(ms: u64) -> Instant {
        Instant::from_millis(ms)
    }

    fn burst(rate: u64) -> u64 {
        rate * BURST_MS / 1_000
    }

    /// Bytes that one sender gets through in so many milliseconds if it tries again when it may.
    fn sent_in(ms: u64, bytes: u32, mut take: impl FnMut(Instant) -> Result<(), Instant>) -> u64 {
        let (mut now, end, mut sent) = (Instant::START, Instant::from_millis(ms), 0);
        while now < end {
            match take(now) {
                Ok(()) => sent += u64::from(bytes),
                Err(again) => now = again,
            }
        }
        sent
    }

    #[test]
    fn a_cap_is_reached_and_not_exceeded() {
        for bytes in [4, 516, 1_472, 94_208, 400_000] {
            let pace = RateLimit::new(RATE);
            let sent = sent_in(10_000, bytes, |now| pace.take(bytes, now));
            let most = 10 * RATE + burst(RATE) + u64::from(bytes);
            assert!(sent <= most, "{bytes}: {sent}");
            assert!(sent * 100 >= 10 * RATE * 98, "{bytes}: {sent}");
        }
    }

    #[test]
    fn a_moment_to_try_again_is_always_ahead() {
        let pace = RateLimit::new(1);
        let mut phone = PhoneRateLimit::default();
        let now = Instant::from_micros(17);
        assert_eq!(pace.take(1_000_000, now), Ok(()));
        assert_eq!(phone.take(1_000_000, 1, now), Ok(()));
        for _ in 0..10 {
            assert!(pace.take(1, now).unwrap_err() > now);
            assert!(phone.take(1, 1, now).unwrap_err() > now);
        }
    }

    #[test]
    fn a_rest_does_not_save_up_more_than_one_burst() {
        let pace = RateLimit::new(RATE);
        let later = Instant::from_millis(3_600_000);
        let sent: u64 = (0..10_000).map(|_| 512 * u64::from(pace.take(512, later).is_ok())).sum();
        assert!(sent <= burst(RATE) + 512, "{sent}");
    }

    #[test]
    fn refused_sends_come_back_one_behind_the_other() {
        let pace = RateLimit::new(RATE);
        let now = Instant::from_millis(5);
        while pace.take(500, now).is_ok() {}
        let again: Vec<Instant> = (0..100).map(|_| pace.take(500, now).unwrap_err()).collect();
        assert!(again.windows(2).all(|pair| pair[1] - pair[0] == Duration::from_micros(500)));
        // Senders that return at their moment are served then.
        assert!(again.iter().all(|moment| pace.take(500, *moment).is_ok()));
    }

    #[test]
    fn those_who_come_when_told_all_get_their_turn() {
        let pace = RateLimit::new(RATE);
        let sizes = [60_000, 60_000, 60_000, 100, 1_472, 60_000];
        let (mut again, mut sent) = ([Instant::START; 6], [0_u64; 6]);
        for ms in 0..60_000 {
            for (phone, bytes) in sizes.into_iter().enumerate() {
                if again[phone] > at(ms) {
                    continue;
                }
                match pace.take(bytes, at(ms)) {
                    Ok(()) => sent[phone] += 1,
                    Err(moment) => again[phone] = moment,
                }
            }
        }
        assert!(sent.iter().all(|sends| (100..=1_000).contains(sends)), "{sent:?}");
    }

    #[test]
    fn a_send_under_two_caps_is_paid_under_both_or_neither() {
        let rate_limits = RateLimits {
            all: Some(RateLimit::new(RATE)),
            subnets: vec![RateLimit::new(10 * RATE)],
        };
        let now = Instant::from_millis(1);
        while rate_limits.take(None, 1_000, now).is_ok() {}
        let before = rate_limits.subnets[0].paid_until_ns.load(Relaxed);
        assert!(rate_limits.take(Some(0), 1_000, now).is_err());
        assert!(rate_limits.subnets[0].paid_until_ns.load(Relaxed) <= before.max(nanos(now)));
        assert_eq!(RateLimits::default().take(Some(3), 1_000, now), Ok(()));
    }

    #[test]
    fn one_phone_keeps_its_own_cap() {
        let mut phone = PhoneRateLimit::default();
        let sent = sent_in(10_000, 516, |now| phone.take(516, RATE, now));
        assert!((10 * RATE * 98 / 100..=10 * RATE + burst(RATE) + 516).contains(&sent), "{sent}");
        assert_eq!(PhoneRateLimit::default().take(u32::MAX, 0, Instant::START), Ok(()));
        let mut phone = PhoneRateLimit::default();
        for _ in 0..1_000 {
            assert_eq!(phone.take(516, RATE, Instant::START), Ok(()));
            phone.give_back(516, RATE);
        }
    }

    #[test]
    fn workers_together_do_not_exceed_the_cap() {
        let pace = RateLimit::new(RATE);
        // One thread moves a clock of its own; the sum is compared with that clock alone.
        let (clock_us, stop) = (AtomicU64::new(0), AtomicBool::new(false));
        let end_us = 2_000_000;
        let sent: u64 = std::thread::scope(|scope| {
            let workers: Vec<_> = [100_u32, 516, 9_000, 1_472]
                .map(|bytes| {
                    let (pace, clock_us, stop) = (&pace, &clock_us, &stop);
                    scope.spawn(move || {
                        let mut sent = 0;
                        while !stop.load(Relaxed) {
                            let now = Instant::from_micros(clock_us.load(Relaxed));
                            sent += u64::from(bytes) * u64::from(pace.take(bytes, now).is_ok());
                        }
                        sent
                    })
                })
                .into_iter()
                .collect();
            while clock_us.fetch_add(5, Relaxed) < end_us {
                std::hint::spin_loop();
            }
            stop.store(true, Relaxed);
            workers.into_iter().map(|worker| worker.join().unwrap()).sum()
        });
        let most = RATE * (end_us + 5) / 1_000_000 + burst(RATE) + 9_000;
        assert!(sent > 0 && sent <= most, "{sent} of {most}");
    }
}
