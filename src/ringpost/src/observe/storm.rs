//! Phones back over time: who boots, who waits, who is back, and the storm as one event.
//!
//! A storm begins when more than `phones_min` phones boot at once and ends when fewer than a tenth
//! of its peak do. Its phones are those that began since the check before. Never on the data path:
//! the daemon feeds it once a second from what the workers have counted.

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::observe::state::DaemonState;
use engine::admission::booting::{AGE_ENDS_S, AGES, BootOver};
use engine::metrics::{Counter, Counters};
use wire::time::{Duration, Instant};

/// A storm is over when fewer than its peak divided by this boot.
const PEAK_PART: u64 = 10;
/// How long the last phones of a storm that is over may take to be told with it.
const SETTLE_MAX: Duration = Duration::from_secs(60);
/// The longest storm: one that lasts longer is told as it is.
const STORM_MAX: Duration = Duration::from_secs(4 * 3_600);
/// Significant digits of the time when phones are back: a thousandth.
const DIGITS: u8 = 3;
/// The shares of a storm's phones whose return is told, in percent.
pub(crate) const SHARES: [u64; 4] = [50, 90, 99, 100];

/// The phones as `/status.json` shows them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct PhonesStatus {
    /// Phones that boot now.
    pub(crate) booting: u64,
    /// Phones that wait now for a session slot, or for an answer that is put off.
    pub(crate) waiting: u64,
    /// Phones that are back, since the start.
    pub(crate) back: u64,
    /// Phones whose boot ended in silence or a failure, since the start.
    pub(crate) lost: u64,
    /// Phones with a transfer under way, by how long ago their boot began.
    pub(crate) by_age: Vec<AgeStatus>,
    /// Storms that have begun since the start.
    pub(crate) storms: u64,
    /// The storm of now, or the last one.
    pub(crate) storm: Option<StormStatus>,
}

/// Phones whose boot began so long ago.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct AgeStatus {
    /// Less than so many seconds ago; `None` for all that are older.
    pub(crate) below_s: Option<u64>,
    /// How many there are.
    pub(crate) phones: u64,
}

/// One storm.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct StormStatus {
    /// Whether it goes on. The figures of one that does are those so far.
    pub(crate) is_active: bool,
    /// When it began, in seconds since 1970.
    pub(crate) began_unix_s: u64,
    /// How long it lasted until fewer than a tenth of its peak booted, in seconds.
    pub(crate) seconds: f64,
    /// Phones that began in it.
    pub(crate) phones: u64,
    /// Most that booted at once.
    pub(crate) peak: u64,
    /// Those that are back.
    pub(crate) back: u64,
    /// Those that fell silent, or that the server failed.
    pub(crate) lost: u64,
    /// The sum over all its phones of the time until each was back. One that is not yet, or never,
    /// counts until the storm is told.
    pub(crate) phone_seconds: f64,
    /// Seconds from its begin until so many percent of its phones were back, by [`SHARES`]; `None`
    /// if they are not.
    pub(crate) back_after_s: [Option<f64>; SHARES.len()],
}

/// What is known of the phones at a check.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Check {
    /// The moment.
    pub(crate) now: Instant,
    /// The same in seconds since 1970.
    pub(crate) unix_s: u64,
    /// Phones that boot.
    pub(crate) booting: u64,
    /// Phones that ever began to boot.
    pub(crate) begun: u64,
}

/// What the log is told.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum StormEvent {
    /// More phones boot at once than usual.
    Began {
        /// So many.
        phones: u64,
    },
    /// The storm is over, and its phones are back or not.
    Ended(StormStatus),
}

/// Watches for storms.
#[derive(Debug, Default)]
pub(crate) struct StormWatch {
    checked: Option<Check>,
    current: Option<Storm>,
    last: Option<StormStatus>,
    storms: u64,
}

/// The storm of now.
#[derive(Debug)]
struct Storm {
    /// The check before it began: its phones began later.
    floor: Check,
    /// The first request of its phones, as far as they are known.
    first: Option<Instant>,
    peak: u64,
    /// When fewer than a tenth of the peak booted, and how many phones had begun by then.
    over: Option<Check>,
    /// When phones were back, in milliseconds since the floor.
    back_ms: Histogram<u64>,
    /// Phones that are known to be back or lost.
    known: u64,
    lost: u64,
    /// From the first request to the end of the last transfer, of those that are back.
    back_us: u64,
    /// The first requests of those that are lost, added up, in microseconds since the floor.
    lost_began_us: u64,
}

impl StormWatch {
    /// Feeds a check, and the boots that are over since the last one. Returns what is worth a line
    /// in the log.
    pub(crate) fn watch(
        &mut self,
        check: Check,
        overs: &[BootOver],
        phones_min: u64,
    ) -> Option<StormEvent> {
        let before = self.checked.replace(check).unwrap_or(Check { begun: 0, ..check });
        let Some(storm) = &mut self.current else {
            if check.booting <= phones_min {
                return None;
            }
            let storm = Storm::new(before, check)?;
            self.storms += 1;
            self.current = Some(storm);
            return Some(StormEvent::Began { phones: check.booting });
        };
        overs.iter().for_each(|over| storm.add(over));
        if storm.is_told(check, phones_min) {
            let status = storm.status(check, false);
            (self.last, self.current) = (Some(status), None);
            return Some(StormEvent::Ended(status));
        }
        None
    }

    /// Returns the storm of now or the last one, and how many there were.
    pub(crate) fn status(&self) -> (u64, Option<StormStatus>) {
        let current = self.current.as_ref().zip(self.checked);
        let current = current.map(|(storm, check)| storm.status(check, storm.over.is_none()));
        (self.storms, current.or(self.last))
    }
}

impl DaemonState {
    /// Feeds the watch for storms, and tells the log what is worth a line.
    pub(super) fn watch_storm(&self, overs: &[BootOver]) {
        let check = Check {
            now: self.clock.now(),
            unix_s: self.clock.unix_s(),
            booting: self.sum(|counters| &counters.phones_booting),
            begun: self.sum(|counters| &counters.phones_begun),
        };
        let phones_min = self.settings.load().storm_phones_min;
        let event = self.storm.lock().watch(check, overs, phones_min);
        event.iter().for_each(StormEvent::tell);
    }

    /// Returns the phones that boot, and the storm.
    #[must_use]
    pub(crate) fn phones(&self) -> PhonesStatus {
        let ages = self.views.iter().map(|view| view.ages());
        let ages = ages.fold([0; AGES], |sums, ages| std::array::from_fn(|n| sums[n] + ages[n]));
        let (storms, storm) = self.storm.lock().status();
        PhonesStatus {
            booting: self.sum(|counters| &counters.phones_booting),
            waiting: self.sum(|counters| &counters.phones_waiting),
            back: self.sum(|counters| &counters.phones_back),
            lost: self.sum(|counters| &counters.phones_lost),
            by_age: by_age(ages),
            storms,
            storm,
        }
    }

    /// One figure, of all workers.
    fn sum(&self, figure: fn(&Counters) -> &Counter) -> u64 {
        self.views.iter().map(|view| figure(&view.counters).value()).sum()
    }
}

impl Storm {
    fn new(floor: Check, check: Check) -> Option<Storm> {
        Some(Storm {
            floor,
            first: None,
            peak: check.booting,
            over: None,
            // It may grow to any time, and so has no bounds that could be wrong.
            back_ms: Histogram::new(DIGITS).ok()?,
            known: 0,
            lost: 0,
            back_us: 0,
            lost_began_us: 0,
        })
    }

    /// A phone's boot is over.
    fn add(&mut self, over: &BootOver) {
        let is_later = self.over.is_some_and(|check| over.counted > check.now);
        if over.counted < self.floor.now || is_later {
            return;
        }
        self.known += 1;
        self.first = Some(self.first.map_or(over.began, |first| first.min(over.began)));
        let since_floor = |at: Instant| at.since(self.floor.now);
        if over.is_back {
            // It fails only without memory.
            let _ = self.back_ms.record(since_floor(over.ended).as_millis() as u64);
            self.back_us += over.ended.since(over.began).as_micros() as u64;
        } else {
            self.lost += 1;
            self.lost_began_us += since_floor(over.began).as_micros() as u64;
        }
    }

    /// Whether the storm is over, and enough is known of its phones.
    fn is_told(&mut self, check: Check, phones_min: u64) -> bool {
        self.peak = self.peak.max(check.booting);
        let is_low = check.booting.saturating_mul(PEAK_PART) < self.peak;
        if is_low {
            self.over.get_or_insert(check);
        } else if check.booting > phones_min {
            // It has come back to life.
            self.over = None;
        }
        let is_late = self.over.is_some_and(|over| check.now.since(over.now) >= SETTLE_MAX);
        let is_known = self.over.is_some() && self.known >= self.phones(check);
        is_late || is_known || check.now.since(self.floor.now) >= STORM_MAX
    }

    fn phones(&self, check: Check) -> u64 {
        self.over.unwrap_or(check).begun.saturating_sub(self.floor.begun)
    }

    /// When so many phones were back, in milliseconds since the floor; `None` if they are not.
    fn back_ms_of(&self, count: u64) -> Option<u64> {
        let mut back = 0;
        let mut steps = self.back_ms.iter_recorded().filter(|_| count > 0);
        let step = steps.find(|step| {
            back += step.count_since_last_iteration();
            back >= count
        })?;
        Some(step.value_iterated_to())
    }

    fn status(&self, check: Check, is_active: bool) -> StormStatus {
        let phones = self.phones(check);
        let began = self.first.unwrap_or(self.floor.now);
        let after_floor = began.since(self.floor.now);
        let over = self.over.unwrap_or(check);
        let back = self.back_ms.len();
        // Of phones that still boot only the storm's begin is known.
        let open_us =
            check.now.since(began).as_micros() as f64 * phones.saturating_sub(self.known) as f64;
        let lost_us = check.now.since(self.floor.now).as_micros() as f64 * self.lost as f64
            - self.lost_began_us as f64;
        let back_after_s = SHARES.map(|share| {
            let count = (phones * share).div_ceil(100);
            let at_ms = self.back_ms_of(count)?;
            Some(to_ms(at_ms as f64 / 1e3 - after_floor.as_secs_f64()).max(0.0))
        });
        StormStatus {
            is_active,
            began_unix_s: self.floor.unix_s + after_floor.as_secs(),
            seconds: to_ms(over.now.since(began).as_secs_f64()),
            phones,
            peak: self.peak,
            back,
            lost: self.lost,
            phone_seconds: to_ms((self.back_us as f64 + lost_us + open_us) / 1e6),
            back_after_s,
        }
    }
}

impl StormEvent {
    /// Writes its line in the log.
    pub(crate) fn tell(&self) {
        match self {
            StormEvent::Began { phones } => {
                tracing::info!(phones, "a storm begins: {phones} phones boot at once");
            }
            StormEvent::Ended(storm) => {
                let StormStatus { phones, lost, phone_seconds, .. } = *storm;
                let [p50, p90, p99, all] = storm.back_after_s.map(|at| at.unwrap_or(f64::NAN));
                tracing::info!(
                    phones,
                    lost,
                    phone_seconds,
                    back_50_s = p50,
                    back_90_s = p90,
                    back_99_s = p99,
                    back_all_s = all,
                    "the storm is over: {}",
                    storm.text()
                );
            }
        }
    }
}

impl StormStatus {
    /// Returns it in words.
    pub(crate) fn text(&self) -> String {
        let back = SHARES.iter().zip(self.back_after_s).filter_map(|(share, at)| {
            let at = at?;
            Some(format!("{share} % back after {at:.1} s"))
        });
        let mut parts: Vec<String> = back.collect();
        let missing = self.phones.saturating_sub(self.back + self.lost);
        if self.lost > 0 {
            parts.push(format!("{} never came back", self.lost));
        }
        if missing > 0 && !self.is_active {
            parts.push(format!("{missing} still boot"));
        }
        let (phones, peak, cost) = (self.phones, self.peak, self.phone_seconds);
        let mut text = format!("{phones} phones, {peak} at once, {cost:.0} phone-seconds");
        for part in parts {
            text.push_str(", ");
            text.push_str(&part);
        }
        text
    }
}

/// Rounds seconds to milliseconds.
fn to_ms(seconds: f64) -> f64 {
    (seconds * 1e3).round() / 1e3
}

/// Returns phones by the age of their boot.
pub(crate) fn by_age(ages: [u64; AGES]) -> Vec<AgeStatus> {
    let ends = AGE_ENDS_S.into_iter().map(Some).chain([None]);
    ends.zip(ages).map(|(below_s, phones)| AgeStatus { below_s, phones }).collect()
}

#[cfg(test)]
mod tests;
