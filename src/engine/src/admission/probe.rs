//! How much of a round trip is waiting in queues, found by trying.
//!
//! Now and then most transfers pause for a moment. If the others' answers then come sooner, they
//! had waited in a queue; if not, the line is long and empty. Decides only; reads no clock.

use wire::time::{Duration, Instant};

/// While it is tried, one transfer of so many goes on.
const ONE_OF: u32 = 16;
/// Round trips that a try needs to be plain.
const TRIED_MIN: u32 = 4;
/// Round trips before a try, beside one for each packet in flight.
const SAMPLES_MIN: u32 = 16;
/// How long after the first sample of a storm it is tried first: until the phones' first packets,
/// which all come at once, are answered.
const FIRST_AFTER: Duration = Duration::from_millis(100);
/// A storm is over after this long without a sample.
const OVER_AFTER: Duration = Duration::from_secs(1);
/// How often it is tried: at least so many times as long as one try takes, so that a try costs at
/// most a twentieth.
const INTERVAL_TRIES: u32 = 20;
/// The shortest time between two tries.
const INTERVAL_MIN: Duration = Duration::from_millis(500);
/// The longest try.
const TRY_MAX: Duration = Duration::from_millis(500);
/// Weight of one round trip in the average.
const SAMPLE_WEIGHT: f32 = 1.0 / 64.0;

/// The estimate of one worker.
#[derive(Debug)]
pub(super) struct Probe {
    /// The part of a round trip that is waiting, 0 to 1, as found by the last two tries. The larger
    /// one counts: a busy host makes a try look like a long line.
    found: [f32; 2],
    /// The average round trip while nothing is tried, in microseconds; 0 before the first.
    usual_us: f32,
    /// Round trips since the last try.
    samples: u32,
    /// The sum, the number and the shortest of the round trips in a try.
    tried: (f32, u32, f32),
    /// When the last sample came.
    latest: Instant,
    /// When the next try may begin, or the current one began.
    at: Instant,
    /// Until when most transfers pause; `None` while nothing is tried.
    until: Option<Instant>,
}

impl Default for Probe {
    fn default() -> Self {
        Probe {
            found: [1.0; 2],
            usual_us: 0.0,
            samples: 0,
            tried: (0.0, 0, f32::MAX),
            latest: Instant::START,
            at: Instant::START,
            until: None,
        }
    }
}

impl Probe {
    /// Returns which part of a round trip is waiting, 0 to 1; 1 before it was tried.
    pub(super) fn queued_part(&self) -> f32 {
        self.found[0].max(self.found[1])
    }

    /// An answer came after `took`, with so many packets in flight.
    pub(super) fn sample(&mut self, took: Duration, in_flight: u32, now: Instant) {
        let us = took.as_micros() as f32;
        if now.since(self.latest) > OVER_AFTER {
            *self = Probe { at: now + FIRST_AFTER, ..Probe::default() };
        }
        self.latest = now;
        let Some(until) = self.until else {
            let weight = if self.samples == 0 { 1.0 } else { SAMPLE_WEIGHT };
            self.usual_us += (us - self.usual_us) * weight;
            self.samples += 1;
            if self.samples >= in_flight + SAMPLES_MIN && now >= self.at {
                self.begin(now);
            }
            return;
        };
        // What left before the queues were half empty had waited with all others.
        let half_empty = self.at + Duration::from_micros(self.usual_us as u64 / 2);
        if half_empty + took <= now {
            let (sum, count, least_us) = self.tried;
            self.tried = (sum + us, count + 1, least_us.min(us));
        }
        let (sum, count, _) = self.tried;
        let is_clear = count >= TRIED_MIN && sum / (count as f32) < self.usual_us / 4.0;
        if is_clear || now >= until {
            self.end(now);
        }
    }

    /// Returns until when a transfer pauses, or `None` if it goes on.
    pub(super) fn holds(&self, arrival: u32, now: Instant) -> Option<Instant> {
        let until = self.until.filter(|until| now < *until)?;
        let goes_on = arrival.is_multiple_of(ONE_OF);
        (!goes_on).then_some(until)
    }

    fn begin(&mut self, now: Instant) {
        let takes = Duration::from_micros(self.usual_us as u64 * 2).min(TRY_MAX);
        (self.at, self.until, self.tried) = (now, Some(now + takes), (0.0, 0, f32::MAX));
    }

    fn end(&mut self, now: Instant) {
        let (sum, count, least_us) = self.tried;
        let before = self.found[1];
        if count > 0 {
            let average = sum / count as f32 / self.usual_us;
            let part = (1.0 - average).clamp(0.0, 1.0);
            // A host that was busy for a moment makes some or all of them much longer.
            let is_plain = count >= TRIED_MIN && least_us > self.usual_us * 0.75 && average < 1.25;
            self.found = [if is_plain { part } else { before }, part];
        }
        let took = now - self.at;
        let interval = (took * INTERVAL_TRIES).max(INTERVAL_MIN);
        // Good news that is not plain is tried again at once.
        let is_news = self.found[1] < self.found[0] / 2.0;
        self.at = now + if is_news { Duration::ZERO } else { interval };
        (self.until, self.samples) = (None, 0);
    }
}
