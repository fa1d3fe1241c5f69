//! Phones back over time: when each of them had all its files, and the phone-seconds until then.
//!
//! Counts and orders only; `report.rs` and `page.rs` show it.

use std::time::Duration;

use serde::Serialize;

use super::report::{Object, Value};

/// The shares of all phones, in percent, whose time is told.
const SHARES: [(u64, &str); 7] = [
    (10, "p10_s"),
    (25, "p25_s"),
    (50, "p50_s"),
    (75, "p75_s"),
    (90, "p90_s"),
    (99, "p99_s"),
    (100, "p100_s"),
];
/// Most points of a series.
const POINTS_MAX: u64 = 100;
/// Rows and columns of the curve in a terminal.
const ROWS: usize = 6;
const COLUMNS: usize = 60;
/// What fills a cell of that curve, by eighths.
const EIGHTHS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// The phones that were to come back.
#[derive(Clone, Debug, Default)]
pub(crate) struct Back {
    /// When each came back, in microseconds from the moment when the phones might begin.
    at_us: Vec<u32>,
    /// From power until it was back, of all that came back, in microseconds.
    took_us: u64,
    /// Phones that did not.
    lost: u64,
}

/// A point of the curve.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Point(pub(crate) f64, pub(crate) u64);

impl Back {
    /// A phone came back `at` after the phones might begin, `took` after it had power.
    pub(crate) fn came(&mut self, at: Duration, took: Duration) {
        self.at_us.push(u32::try_from(at.as_micros()).unwrap_or(u32::MAX));
        self.took_us = self.took_us.saturating_add(took.as_micros() as u64);
    }

    /// A phone did not.
    pub(crate) fn lose(&mut self) {
        self.lost += 1;
    }

    /// Adds other phones.
    pub(crate) fn merge(&mut self, other: &Back) {
        self.at_us.extend_from_slice(&other.at_us);
        self.took_us = self.took_us.saturating_add(other.took_us);
        self.lost += other.lost;
    }

    /// The curve, where each phone that never came back costs `limit`.
    pub(crate) fn curve(&self, limit: Duration) -> Curve {
        let mut at_us = self.at_us.clone();
        at_us.sort_unstable();
        let lost_s = self.lost as f64 * limit.as_secs_f64();
        Curve { at_us, lost: self.lost, phone_seconds: self.took_us as f64 / 1e6 + lost_s, limit }
    }
}

/// Phones back over time.
#[derive(Clone, Debug)]
pub(crate) struct Curve {
    /// In order.
    at_us: Vec<u32>,
    lost: u64,
    phone_seconds: f64,
    limit: Duration,
}

impl Curve {
    /// How many phones there were.
    pub(crate) fn phones(&self) -> u64 {
        self.at_us.len() as u64 + self.lost
    }

    /// When that many percent of all phones were back; `None` if they never were.
    fn until(&self, percent: u64) -> Option<f64> {
        let count = (self.phones() * percent).div_ceil(100).max(1);
        self.at_us.get(count as usize - 1).map(|at| f64::from(*at) / 1e6)
    }

    /// Seconds, and how many phones were back by then: a point for each percent of all phones.
    pub(crate) fn series(&self) -> Vec<Point> {
        let (phones, back) = (self.phones(), self.at_us.len() as u64);
        let points = phones.min(POINTS_MAX);
        let counts = (1..=points).map(|point| (phones * point).div_ceil(points).min(back));
        let mut points: Vec<Point> = counts
            .filter(|count| *count > 0)
            .map(|count| Point(f64::from(self.at_us[count as usize - 1]) / 1e6, count))
            .collect();
        points.dedup_by_key(|point| point.1);
        points
    }

    /// For scripts.
    pub(crate) fn json(&self, resends: u64) -> Object {
        let phones = self.phones();
        let mut values = vec![
            ("phones", Value::Count(phones)),
            ("back", Value::Count(self.at_us.len() as u64)),
            ("lost", Value::Count(self.lost)),
            ("limit_s", Value::Number(self.limit.as_secs_f64())),
            ("phone_seconds", Value::Number(self.phone_seconds)),
            ("resends_per_phone", Value::Number(resends as f64 / phones.max(1) as f64)),
        ];
        let at = |share| self.until(share).map_or(Value::Nothing, Value::Number);
        values.extend(SHARES.iter().map(|(share, key)| (*key, at(*share))));
        values.push(("series", Value::Points(self.series())));
        Object(values)
    }

    /// For people: names and texts of lines.
    pub(crate) fn lines(&self, resends: u64) -> Vec<(&'static str, String)> {
        let phones = self.phones();
        if phones == 0 {
            return Vec::new();
        }
        let each = |sum: f64| sum / phones as f64;
        let time = |(share, _): &(u64, &str)| match self.until(*share) {
            Some(at) => format!("{share} % {at:.2}"),
            None => format!("{share} % never"),
        };
        let times: Vec<String> = SHARES.iter().map(time).collect();
        let (seconds, per_phone) = (self.phone_seconds, each(self.phone_seconds));
        let mut cost = format!("{seconds:.1}, {per_phone:.2} a phone");
        if self.lost > 0 {
            let limit = self.limit.as_secs_f64();
            cost.push_str(&format!("; {} never back count {limit:.0} s each", self.lost));
        }
        let resends = format!("{:.2} a phone", each(resends as f64));
        let mut lines =
            vec![("back after", format!("{} s", times.join("  "))), ("phone-seconds", cost)];
        lines.push(("resends", resends));
        lines.extend(self.plot());
        lines
    }

    /// The curve as rows of blocks, the highest first, and its axis.
    fn plot(&self) -> Vec<(&'static str, String)> {
        let Some(end) = self.at_us.last().map(|at| f64::from(*at).max(1.0)) else {
            return Vec::new();
        };
        let phones = self.phones() as f64;
        let height = |column: usize| {
            let until = end * (column + 1) as f64 / COLUMNS as f64;
            let back = self.at_us.partition_point(|at| f64::from(*at) <= until);
            (back as f64 / phones * (ROWS * 8) as f64).round() as usize
        };
        let heights: Vec<usize> = (0..COLUMNS).map(height).collect();
        let row = |row: usize| {
            let cell = |height: &usize| EIGHTHS[height.saturating_sub(row * 8).min(8)];
            heights.iter().map(cell).collect::<String>().trim_end().to_owned()
        };
        let name = |number: usize| if number == ROWS - 1 { "back over time" } else { "" };
        let mut lines: Vec<_> =
            (0..ROWS).rev().map(|number| (name(number), format!("|{}", row(number)))).collect();
        let (middle, end) = (format!("{:.2}", end / 2e6), format!("{:.2} s", end / 1e6));
        lines.push(("", format!("0{middle:^width$}{end}", width = COLUMNS - 1)));
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(120);

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// Phones that come back one each millisecond, in two threads, and some that never do.
    fn curve(back: u64, lost: u64) -> Curve {
        let mut threads = [Back::default(), Back::default()];
        for at in (1..=back).rev() {
            threads[at as usize % 2].came(ms(at), ms(at));
        }
        (0..lost).for_each(|_| threads[0].lose());
        let [mut all, other] = threads;
        all.merge(&other);
        all.curve(LIMIT)
    }

    #[test]
    fn half_of_the_phones_are_back_when_half_of_all_are_and_not_half_of_those_who_came() {
        let all = curve(1_000, 0);
        assert_eq!([10, 50, 99, 100].map(|share| all.until(share).unwrap()), [0.1, 0.5, 0.99, 1.0]);
        let some = curve(1_000, 1_000);
        assert_eq!((some.until(10), some.until(50)), (Some(0.2), Some(1.0)));
        assert_eq!((some.until(75), some.until(100)), (None, None));
    }

    #[test]
    fn a_phone_that_never_comes_back_costs_the_whole_limit() {
        assert!((curve(4, 0).phone_seconds - 0.010).abs() < 1e-9);
        assert!((curve(4, 3).phone_seconds - 360.010).abs() < 1e-9);
    }

    #[test]
    fn a_series_has_at_most_a_hundred_points_and_ends_with_the_last_phone() {
        for (back, lost, points) in [(0, 0, 0), (1, 0, 1), (20, 0, 20), (18_000, 0, 100)] {
            let series = curve(back, lost).series();
            assert_eq!(series.len(), points, "{back}");
            let last = Point(back as f64 / 1e3, back);
            assert!(series.last().is_none_or(|point| *point == last), "{back}");
        }
        let series = curve(50, 50).series();
        assert_eq!((series.len(), series[49]), (50, Point(0.05, 50)));
        assert!(curve(0, 10).series().is_empty());
    }

    #[test]
    fn the_curve_in_a_terminal_rises_to_its_top_only_if_all_are_back() {
        let top = |curve: &Curve| curve.plot()[0].1.clone();
        assert!(top(&curve(600, 0)).ends_with('█'));
        assert_eq!(top(&curve(300, 300)), "|");
        assert!(curve(0, 5).plot().is_empty());
        assert!(curve(0, 0).lines(0).is_empty());
        let widest = |curve: Curve| curve.plot().iter().map(|line| line.1.chars().count()).max();
        assert!(widest(curve(600, 0)).unwrap() <= COLUMNS + 10);
    }
}
