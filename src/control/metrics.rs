//! The workers' figures as a Prometheus page, read at the moment somebody asks.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use super::board::Board;
use crate::count::{Figure, Kind};
use crate::net::view::Timing;

/// What every name begins with.
const PREFIX: &str = "ringpost";
/// Ends of the buckets of turn times, in microseconds.
const TURN_BUCKETS_US: [u64; 10] =
    [10, 50, 100, 500, 1_000, 5_000, 10_000, 50_000, 100_000, 1_000_000];
/// Ends of the buckets of transfer times, in milliseconds.
const TRANSFER_BUCKETS_MS: [u64; 10] = [1, 5, 10, 50, 100, 500, 1_000, 5_000, 30_000, 300_000];

/// The page, in the OpenMetrics text form.
///
/// # Errors
/// None in practice: writing into a string does not fail.
pub fn page(board: &Arc<Board>) -> Result<String, fmt::Error> {
    board.collect();
    let mut registry = Registry::with_prefix(PREFIX);
    registry.register_collector(Box::new(Page(board.clone())));
    let mut page = String::new();
    prometheus_client::encoding::text::encode(&mut page, &registry)?;
    Ok(page)
}

#[derive(Debug)]
struct Page(Arc<Board>);

impl Collector for Page {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        for figure in self.0.figures() {
            // These two tell a stuck or flooded worker from its fellows, so they are told apart.
            match figure.name {
                "turns" | "kernel_drops" => self.by_worker(&mut encoder, &figure)?,
                _ => sum(&mut encoder, &figure)?,
            }
        }
        self.roots(&mut encoder)?;
        self.certificates(&mut encoder)?;
        let timings = self.0.timings();
        let turn = "Time that a worker's turn took, from waking to going back to wait.";
        timing(&mut encoder, "turn_seconds", turn, &timings.turn_us, &TURN_BUCKETS_US, 1e6)?;
        let (name, help) = ("transfer_seconds", "Time that transfers took which ended well.");
        timing(&mut encoder, name, help, &timings.transfer_ms, &TRANSFER_BUCKETS_MS, 1e3)
    }
}

impl Page {
    fn by_worker(&self, encoder: &mut DescriptorEncoder, figure: &Figure) -> fmt::Result {
        let mut family =
            encoder.encode_descriptor(figure.name, figure.help, None, MetricType::Counter)?;
        for (number, view) in self.0.views.iter().enumerate() {
            let figures = view.counters.figures();
            let value =
                figures.iter().find(|own| own.name == figure.name).map_or(0, |own| own.value);
            let labels = [("worker", number.to_string())];
            ConstCounter::new(value).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }

    fn certificates(&self, encoder: &mut DescriptorEncoder) -> fmt::Result {
        let rows = self.0.certificates();
        let help = "When a certificate ceases to hold, in seconds since 1970.";
        let name = "certificate_not_after_seconds";
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for row in &rows {
            for pair in &row.pairs {
                let listen: Vec<_> = row.listen.iter().map(ToString::to_string).collect();
                let labels = [
                    ("listen", listen.join(",")),
                    ("key", pair.key.clone()),
                    ("subject", pair.subject.clone()),
                ];
                ConstGauge::new(pair.not_after_unix_s).encode(family.encode_family(&labels)?)?;
            }
        }
        let help = "Whether a newer certificate could not be used, or the one in use needs a hand.";
        let mut family =
            encoder.encode_descriptor("certificate_faulty", help, None, MetricType::Gauge)?;
        for row in &rows {
            let labels = [("file", row.file.clone())];
            let is_faulty = i64::from(row.fault.is_some());
            ConstGauge::new(is_faulty).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }

    fn roots(&self, encoder: &mut DescriptorEncoder) -> fmt::Result {
        let help = "Files that can be asked for, by directory.";
        let mut family = encoder.encode_descriptor("files", help, None, MetricType::Gauge)?;
        for root in &self.0.snapshot.load().catalog.roots {
            let labels = [("dir", root.dir.display().to_string())];
            let files = i64::try_from(root.entries.len()).unwrap_or(i64::MAX);
            ConstGauge::new(files).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

fn sum(encoder: &mut DescriptorEncoder, figure: &Figure) -> fmt::Result {
    match figure.kind {
        Kind::Total => {
            let counter = ConstCounter::new(figure.value);
            let kind = counter.metric_type();
            counter.encode(encoder.encode_descriptor(figure.name, figure.help, None, kind)?)
        }
        Kind::Gauge => {
            let gauge = ConstGauge::new(i64::try_from(figure.value).unwrap_or(i64::MAX));
            let kind = gauge.metric_type();
            gauge.encode(encoder.encode_descriptor(figure.name, figure.help, None, kind)?)
        }
    }
}

/// A histogram in seconds of values that come `per_second` to one.
fn timing(
    encoder: &mut DescriptorEncoder,
    name: &str,
    help: &str,
    timing: &Timing,
    ends: &[u64],
    per_second: f64,
) -> fmt::Result {
    let mut buckets: Vec<(f64, u64)> =
        ends.iter().map(|end| (*end as f64 / per_second, 0)).collect();
    buckets.push((f64::INFINITY, 0));
    for step in timing.histogram.iter_recorded() {
        let value = step.value_iterated_to();
        let place = ends.partition_point(|end| *end < value);
        if let Some((_, count)) = buckets.get_mut(place) {
            *count += step.count_since_last_iteration();
        }
    }
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
    let sum = timing.sum as f64 / per_second;
    metric.encode_histogram::<NoLabelSet>(sum, timing.histogram.len(), &buckets, None)
}
