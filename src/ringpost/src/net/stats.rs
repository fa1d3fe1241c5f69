//! A worker's statistics: its counters, its last turn, and how long things took.
//!
//! A worker writes plain numbers, and exchanges its histograms once a second by swapping a pointer.
//! If the reader holds the lock at that moment, it does so a second later. It never waits.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use crossbeam_queue::ArrayQueue;
use hdrhistogram::{CreationError, Histogram};
use parking_lot::Mutex;

use engine::admission::booting::{AGES, BootOver, Booting};
use engine::metrics::{Counter, Counters};
use engine::protocol::Protocol;
use engine::session::outcome::Label;
use engine::session::{Outcome, Record};
use wire::time::{Duration, Instant};

/// Interval between two exchanges of a worker's histograms.
pub(crate) const HAND_OVER_EVERY: Duration = Duration::from_secs(1);
/// Most records that wait to be written; more are lost and counted.
pub(crate) const RECORDS_MAX: usize = 4_096;
/// Longest turn that the histogram distinguishes, in microseconds.
const TURN_US_MAX: u64 = 60_000_000;
/// Longest transfer that the histogram distinguishes, in milliseconds.
const TRANSFER_MS_MAX: u64 = 86_400_000;
/// Longest boot that the histogram distinguishes, in milliseconds.
const BOOT_MS_MAX: u64 = 86_400_000;
/// Most boots that wait to be collected; more are missing in what is told about a storm.
const BOOTS_MAX: usize = 65_536;
/// Significant digits kept: a precision of one percent.
const DIGITS: u8 = 2;

/// How long things of one kind took.
#[derive(Clone, Debug)]
pub(crate) struct Timing {
    /// The count of each value, to two significant digits.
    pub(crate) histogram: Histogram<u64>,
    /// All values added up.
    pub(crate) sum: u64,
}

impl Timing {
    fn new(value_max: u64) -> Result<Self, CreationError> {
        Ok(Timing { histogram: Histogram::new_with_bounds(1, value_max, DIGITS)?, sum: 0 })
    }

    /// Records one value; one beyond the largest counts as the largest.
    pub(crate) fn record(&mut self, value: u64) {
        self.histogram.saturating_record(value);
        self.sum = self.sum.wrapping_add(value);
    }

    fn take_from(&mut self, other: &mut Timing) {
        // Both have the same bounds, and adding fails only if the other's are wider.
        let _ = self.histogram.add(&other.histogram);
        self.sum = self.sum.wrapping_add(other.sum);
        other.histogram.reset();
        other.sum = 0;
    }
}

/// The measurements of one worker.
#[derive(Clone, Debug)]
pub(crate) struct Histograms {
    /// Turns in microseconds, from waking to going back to wait.
    pub(crate) turn_us: Timing,
    /// Successful transfers in milliseconds.
    pub(crate) transfer_ms: Timing,
    /// Boots of phones that are back, in milliseconds.
    pub(crate) boot_ms: Timing,
    /// The boots that are over since the last exchange.
    pub(crate) boots: Vec<BootOver>,
}

impl Histograms {
    /// Creates empty histograms.
    ///
    /// # Errors The bounds above are invalid for a histogram.
    pub(crate) fn new() -> Result<Self, CreationError> {
        let (turn_us, transfer_ms) = (Timing::new(TURN_US_MAX)?, Timing::new(TRANSFER_MS_MAX)?);
        let boot_ms = Timing::new(BOOT_MS_MAX)?;
        Ok(Histograms { turn_us, transfer_ms, boot_ms, boots: Vec::new() })
    }

    fn take_from(&mut self, other: &mut Histograms) {
        self.turn_us.take_from(&mut other.turn_us);
        self.transfer_ms.take_from(&mut other.transfer_ms);
        self.boot_ms.take_from(&mut other.boot_ms);
        self.boots.append(&mut other.boots);
    }
}

/// One worker as the other threads see it.
#[derive(Debug)]
pub(crate) struct WorkerStats {
    /// The worker's counters.
    pub(crate) counters: Counters,
    /// Transfers by protocol, result and reason.
    ended: Box<[[Counter; Label::COUNT]; Protocol::ALL.len()]>,
    /// Phones with a transfer under way, by how long ago they began.
    ages: [Counter; AGES],
    turned_at_us: AtomicU64,
    handed: Mutex<Handed>,
}

#[derive(Debug)]
struct Handed {
    histograms: Histograms,
    /// Whether the histograms were collected, and so are empty and free to be swapped.
    collected: bool,
}

impl WorkerStats {
    /// Creates the statistics of a worker that has not run yet.
    ///
    /// # Errors
    /// As [`Histograms::new`].
    pub(crate) fn new() -> Result<Self, CreationError> {
        let handed = Mutex::new(Handed { histograms: Histograms::new()?, collected: true });
        let none = || std::array::from_fn(|_| Counter::default());
        Ok(WorkerStats {
            counters: Counters::default(),
            ended: Box::new(std::array::from_fn(|_| none())),
            ages: std::array::from_fn(|_| Counter::default()),
            turned_at_us: AtomicU64::new(0),
            handed,
        })
    }

    /// Returns how many transfers and refused requests of a protocol ended so.
    #[must_use]
    pub(crate) fn ended(&self, protocol: Protocol, label: Label) -> u64 {
        self.ended[protocol as usize][label as usize].value()
    }

    /// Returns how many phones with a transfer under way began how long ago.
    #[must_use]
    pub(crate) fn ages(&self) -> [u64; AGES] {
        std::array::from_fn(|age| self.ages[age].value())
    }

    /// Returns when the worker's last turn ended.
    #[must_use]
    pub(crate) fn turned_at(&self) -> Instant {
        Instant::from_micros(self.turned_at_us.load(Relaxed))
    }

    /// Adds the worker's exchanged histograms to `into`: the reader's side of the exchange.
    pub(crate) fn collect(&self, into: &mut Histograms) {
        let mut handed = self.handed.lock();
        if !handed.collected {
            into.take_from(&mut handed.histograms);
            handed.collected = true;
        }
    }

    /// Exchanges full histograms for empty ones, if the last ones were collected.
    fn exchange(&self, own: &mut Histograms) {
        let Some(mut handed) = self.handed.try_lock() else { return };
        if handed.collected {
            std::mem::swap(&mut handed.histograms, own);
            handed.collected = false;
        }
    }
}

/// A worker's own side: its measurements until the next exchange.
#[derive(Debug)]
pub(crate) struct StatsRecorder {
    stats: Arc<WorkerStats>,
    own: Histograms,
    handed_at: Instant,
}

impl StatsRecorder {
    /// Creates the recorder of these statistics.
    ///
    /// # Errors
    /// As [`Histograms::new`].
    pub(crate) fn new(stats: Arc<WorkerStats>) -> Result<Self, CreationError> {
        Ok(StatsRecorder { stats, own: Histograms::new()?, handed_at: Instant::START })
    }

    /// Returns the worker's counters.
    #[must_use]
    pub(crate) fn counters(&self) -> &Counters {
        &self.stats.counters
    }

    /// Records the end of a turn that woke at `woke`. Call it at least once a second, even when
    /// idle.
    pub(crate) fn turn_ended(&mut self, woke: Instant, now: Instant) {
        let turn_us = u64::try_from(now.since(woke).as_micros()).unwrap_or(u64::MAX);
        self.own.turn_us.record(turn_us);
        self.stats.counters.turns.up();
        self.stats.turned_at_us.store(now.as_micros(), Relaxed);
        if now.since(self.handed_at) >= HAND_OVER_EVERY {
            self.handed_at = now;
            self.stats.exchange(&mut self.own);
        }
    }

    /// Records which phones boot, and those whose boot is over.
    pub(crate) fn boots(&mut self, boots: &mut Booting, now: Instant) {
        let counters = &self.stats.counters;
        while let Some(over) = boots.poll_over(now) {
            if over.is_back {
                counters.phones_back.up();
                let took = over.ended.since(over.began).as_millis();
                self.own.boot_ms.record(u64::try_from(took).unwrap_or(u64::MAX));
            } else {
                counters.phones_lost.up();
            }
            if self.own.boots.len() < BOOTS_MAX {
                self.own.boots.push(over);
            }
        }
        counters.phones_booting.set(boots.booting() as u64);
        counters.phones_begun.set(boots.begun());
        counters.phones_unseen.set(boots.unseen());
        for (shown, age) in self.stats.ages.iter().zip(boots.ages()) {
            shown.set(u64::from(age));
        }
    }

    /// Records the end of a transfer, or a refused request.
    pub(crate) fn transfer_ended(&mut self, record: &Record) {
        self.stats.ended[record.protocol as usize][record.outcome.label() as usize].up();
        if record.outcome == Outcome::Done {
            self.transfer_done(record.took);
        }
    }

    /// Records a successful transfer of this duration.
    pub(crate) fn transfer_done(&mut self, took: Duration) {
        self.own.transfer_ms.record(u64::try_from(took.as_millis()).unwrap_or(u64::MAX));
    }
}

/// The queue of the workers' records of transfers.
#[derive(Debug)]
pub(crate) struct RecordSink {
    queue: ArrayQueue<Record>,
    /// Whether successful transfers are logged.
    tells_done: AtomicBool,
}

impl Default for RecordSink {
    fn default() -> Self {
        RecordSink { queue: ArrayQueue::new(RECORDS_MAX), tells_done: AtomicBool::new(true) }
    }
}

impl RecordSink {
    /// Queues a record; without room it is lost and counted in the worker's counters. Successful
    /// transfers are queued only if they are logged.
    pub(crate) fn push(&self, record: Record, counters: &Counters) {
        let is_unread = record.outcome == Outcome::Done && !self.tells_done.load(Relaxed);
        if is_unread || !record.outcome.is_logged() {
            return;
        }
        if self.queue.push(record).is_err() {
            counters.records_lost.up();
        }
    }

    /// Sets whether successful transfers are queued; the log calls it.
    pub(crate) fn tell_done(&self, wanted: bool) {
        self.tells_done.store(wanted, Relaxed);
    }

    /// Takes the oldest record; the log calls it.
    pub(crate) fn pop(&self) -> Option<Record> {
        self.queue.pop()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turns(histograms: &Histograms) -> u64 {
        histograms.turn_us.histogram.len()
    }

    #[test]
    fn nothing_measured_is_lost_or_counted_twice() {
        let stats = Arc::new(WorkerStats::new().unwrap());
        let mut recorder = StatsRecorder::new(stats.clone()).unwrap();
        let mut all = Histograms::new().unwrap();
        for turn in 0..10_000_u64 {
            let now = Instant::from_millis(turn * 7);
            recorder.turn_ended(now, now + Duration::from_micros(turn));
            if turn % 500 == 0 {
                stats.collect(&mut all);
            }
        }
        stats.collect(&mut all);
        recorder.turn_ended(Instant::from_millis(100_000), Instant::from_millis(100_000));
        stats.collect(&mut all);
        assert_eq!(turns(&all), 10_001);
        assert_eq!(all.turn_us.sum, (0..10_000).sum::<u64>());
        assert_eq!(stats.counters.turns.value(), 10_001);
    }

    #[test]
    fn a_worker_goes_on_while_control_holds_the_histograms() {
        let stats = Arc::new(WorkerStats::new().unwrap());
        let mut recorder = StatsRecorder::new(stats.clone()).unwrap();
        let mut all = Histograms::new().unwrap();
        let held = stats.handed.lock();
        recorder.turn_ended(Instant::START, Instant::from_millis(2_000));
        drop(held);
        stats.collect(&mut all);
        assert_eq!(turns(&all), 0);
        recorder.turn_ended(Instant::START, Instant::from_millis(3_000));
        stats.collect(&mut all);
        assert_eq!(turns(&all), 2);
    }

    #[test]
    fn what_took_longer_than_can_be_told_counts_as_the_longest() {
        let stats = Arc::new(WorkerStats::new().unwrap());
        let mut recorder = StatsRecorder::new(stats.clone()).unwrap();
        recorder.transfer_done(Duration::MAX);
        recorder.turn_ended(Instant::START, Instant::from_millis(u64::MAX / 1_000));
        let mut all = Histograms::new().unwrap();
        stats.collect(&mut all);
        assert!(all.transfer_ms.histogram.max() >= TRANSFER_MS_MAX);
    }
}
