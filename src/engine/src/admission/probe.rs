//! How much of a round trip is waiting in queues, found by trying.
//!
//! Now and then most transfers pause for a moment. If the others' answers then come sooner, they
//! had waited in a queue; if not, the line is long and empty. Decides only; reads no clock.

use wire::time::{Duration, Instant};

/// Packets in flight while it is tried.
const PACKETS: u32 = 16;
/// Round trips after which it is tried first.
const SAMPLES_MIN: u32 = 128;
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
    /// The sum and the number of round trips in a try.
    tried: (f32, u32),
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
            tried: (0.0, 0),
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

    /// An answer came after `took`.
    pub(super) fn sample(&mut self, took: Duration, now: Instant) {
        let us = took.as_micros() as f32;
        let Some(until) = self.until else {
            let weight = if self.samples == 0 { 1.0 } else { SAMPLE_WEIGHT };
            self.usual_us += (us - self.usual_us) * weight;
            self.samples += 1;
            if self.samples >= SAMPLES_MIN && now >= self.at {
                self.begin(now);
            }
            return;
        };
        // What left before the queues were half empty had waited with all others.
        let half_empty = self.at + Duration::from_micros(self.usual_us as u64 / 2);
        if half_empty + took <= now {
            self.tried = (self.tried.0 + us, self.tried.1 + 1);
        }
        let (sum, count) = self.tried;
        let is_clear = count >= PACKETS && sum / (count as f32) < self.usual_us / 4.0;
        if is_clear || now >= until {
            self.end(now);
        }
    }

    /// Returns until when a transfer pauses, or `None` if it does not. Of so many packets in
    /// flight, those of about [`PACKETS`] go on.
    pub(super) fn holds(&self, in_flight: u32, arrival: u32, now: Instant) -> Option<Instant> {
        let until = self.until.filter(|until| now < *until)?;
        let goes_on = arrival.is_multiple_of((in_flight / PACKETS).max(1));
        (!goes_on).then_some(until)
    }

    fn begin(&mut self, now: Instant) {
        let takes = Duration::from_micros(self.usual_us as u64 * 2).min(TRY_MAX);
        (self.at, self.until, self.tried) = (now, Some(now + takes), (0.0, 0));
    }

    fn end(&mut self, now: Instant) {
        let (sum, count) = self.tried;
        let before = self.found[1];
        if count > 0 {
            let part = (1.0 - sum / count as f32 / self.usual_us).clamp(0.0, 1.0);
            self.found = [before, part];
        }
        let took = now - self.at;
        let interval = (took * INTERVAL_TRIES).max(INTERVAL_MIN);
        // Good news is tried again at once.
        let is_news = self.found[1] < before / 2.0;
        self.at = now + if is_news { Duration::ZERO } else { interval };
        (self.until, self.samples) = (None, 0);
    }
}
