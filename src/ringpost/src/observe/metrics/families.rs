//! Every family of the page for Prometheus: its name, its meaning, and its series.
//!
//! Names end in their unit, those of totals in `_total`. No series occurs twice: what several rows
//! share is first collected under its labels.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

use crate::net::stats::Timing;
use crate::observe::disk_space::DiskStatus;
use crate::observe::state::DaemonState;
use crate::observe::storm::{SHARES, StormStatus};
use engine::catalog::omission::Omission;
use engine::metrics::{Figure, Kind};
use engine::protocol::Protocol;
use engine::session::outcome::Label;

/// Upper bounds of the buckets of turn times, in microseconds.
const TURN_BUCKETS_US: [u64; 10] =
    [10, 50, 100, 500, 1_000, 5_000, 10_000, 50_000, 100_000, 1_000_000];
/// Upper bounds of the buckets of transfer times, in milliseconds.
const TRANSFER_BUCKETS_MS: [u64; 10] = [1, 5, 10, 50, 100, 500, 1_000, 5_000, 30_000, 300_000];
/// Upper bounds of the buckets of boots, in milliseconds.
const BOOT_BUCKETS_MS: [u64; 9] =
    [500, 1_000, 2_000, 5_000, 10_000, 30_000, 60_000, 300_000, 1_800_000];
/// Counters that the family `transfers` shows by reason.
const IN_TRANSFERS: [&str; 5] = [
    "transfers_done",
    "transfers_aborted",
    "transfers_timed_out",
    "transfers_refused",
    "transfers_failed",
];

/// The page of a daemon's state.
#[derive(Debug)]
pub(super) struct Page(pub(super) Arc<DaemonState>);

impl Collector for Page {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let encoder = &mut encoder;
        build(encoder)?;
        for figure in self.0.figures() {
            if IN_TRANSFERS.contains(&figure.name) {
                continue;
            }
            // These two distinguish a stuck or flooded worker, so they are shown by worker.
            match figure.name {
                "turns" | "kernel_drops" => self.by_worker(encoder, &figure)?,
                _ => lone(encoder, &figure)?,
            }
        }
        self.transfers(encoder)?;
        self.configuration(encoder)?;
        self.files(encoder)?;
        self.disks(encoder)?;
        self.certificates(encoder)?;
        self.phones(encoder)?;
        let timings = self.0.timings();
        let turn = "Time that a worker's turn took, from waking to going back to wait.";
        timing(encoder, "turn_seconds", turn, &timings.turn_us, &TURN_BUCKETS_US, 1e6)?;
        let (name, help) = ("transfer_seconds", "Time that transfers took which ended well.");
        timing(encoder, name, help, &timings.transfer_ms, &TRANSFER_BUCKETS_MS, 1e3)?;
        let help =
            "Time from the first request of phones that are back to their last transfer's end.";
        timing(encoder, "boot_seconds", help, &timings.boot_ms, &BOOT_BUCKETS_MS, 1e3)
    }
}

impl Page {
    fn by_worker(&self, encoder: &mut DescriptorEncoder<'_>, figure: &Figure) -> fmt::Result {
        let mut family = begin(encoder, figure.name, figure.help, MetricType::Counter)?;
        for (number, view) in self.0.views.iter().enumerate() {
            let figures = view.counters.figures();
            let value =
                figures.iter().find(|own| own.name == figure.name).map_or(0, |own| own.value);
            let labels = [("worker", number.to_string())];
            ConstCounter::new(value).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }

    fn transfers(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Transfers and refused requests by protocol, how they ended and why.";
        let mut family = begin(encoder, "transfers", help, MetricType::Counter)?;
        for protocol in Protocol::ALL {
            for label in Label::ALL {
                let ended = self.0.views.iter().map(|view| view.ended(protocol, *label));
                let value = ended.fold(0, u64::wrapping_add);
                if value > 0 || label.is_always_shown() {
                    let labels = [
                        ("protocol", protocol.name()),
                        ("outcome", label.outcome()),
                        ("reason", label.reason()),
                    ];
                    ConstCounter::new(value).encode(family.encode_family(&labels)?)?;
                }
            }
        }
        Ok(())
    }

    fn configuration(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let (was_taken, taken_at_unix_s) = self.0.last_reload();
        let clients_max = self.0.settings.load().policy.slots.clients_max as u64;
        let gauge = |name, value, help| Figure { name, kind: Kind::Gauge, help, value };
        for figure in [
            gauge(
                "slots_max",
                clients_max,
                "Client addresses that may hold a session slot (clients_max); 0 for no limit.",
            ),
            gauge(
                "config_last_reload_successful",
                u64::from(was_taken),
                "Whether the last reload of the configuration was taken.",
            ),
            gauge(
                "config_last_reload_success_timestamp_seconds",
                taken_at_unix_s,
                "When the configuration in force was taken, in seconds since 1970.",
            ),
        ] {
            lone(encoder, &figure)?;
        }
        Ok(())
    }

    fn phones(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let phones = self.0.phones();
        let end = |below_s: Option<u64>| below_s.map_or("Inf".into(), |end| end.to_string());
        let by_age = phones.by_age.iter().map(|age| ([("below_s", end(age.below_s))], age.phones));
        let help = "Phones with a transfer under way, by how many seconds ago their boot began.";
        gauges(encoder, "phones_by_age", help, &by_age.collect())?;
        let figure = |kind, name, value, help| Figure { name, kind, help, value };
        let storm = phones.storm;
        let of_storm = |value: fn(&StormStatus) -> u64| storm.as_ref().map_or(0, value);
        for figure in [
            figure(Kind::Total, "storms", phones.storms, "Storms that began: many phones at once."),
            figure(
                Kind::Gauge,
                "storm_active",
                of_storm(|storm| u64::from(storm.is_active)),
                "Whether there is a storm now.",
            ),
            figure(
                Kind::Gauge,
                "storm_began_timestamp_seconds",
                of_storm(|storm| storm.began_unix_s),
                "When the storm of now or the last one began, in seconds since 1970; 0 for none.",
            ),
            figure(
                Kind::Gauge,
                "storm_phones",
                of_storm(|storm| storm.phones),
                "Phones that began in the storm of now or the last one.",
            ),
            figure(
                Kind::Gauge,
                "storm_phones_lost",
                of_storm(|storm| storm.lost),
                "Those of them that fell silent, or that the server failed.",
            ),
        ] {
            lone(encoder, &figure)?;
        }
        let help = "Sum over the storm's phones of the time until each was back.";
        let family = begin(encoder, "storm_phone_seconds", help, MetricType::Gauge)?;
        ConstGauge::new(storm.map_or(0.0, |storm| storm.phone_seconds)).encode(family)?;
        let help = "Time from the storm's begin until so many percent of its phones were back.";
        let mut family = begin(encoder, "storm_back_seconds", help, MetricType::Gauge)?;
        let back = storm.map_or([Some(0.0); SHARES.len()], |storm| storm.back_after_s);
        for (share, after_s) in SHARES.into_iter().zip(back) {
            let Some(after_s) = after_s else { continue };
            let labels = [("percent", share.to_string())];
            ConstGauge::new(after_s).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }

    fn files(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let snapshot = self.0.snapshot.load();
        let (mut files, mut omitted) = (BTreeMap::new(), BTreeMap::new());
        let mut unreadable = BTreeMap::new();
        for root in &snapshot.catalog.roots {
            let dir = root.dir.display().to_string();
            files.insert([("dir", dir.clone())], root.entries.len() as u64);
            unreadable.insert([("dir", dir.clone())], u64::from(root.fault.is_some()));
            let counts = root.omitted.by_reason();
            for reason in Omission::ALL {
                let count = counts.get(&reason).map_or(0, |omitted| omitted.count as u64);
                let labels = [("dir", dir.clone()), ("reason", reason.word().to_owned())];
                omitted.insert(labels, count);
            }
        }
        gauges(encoder, "files", "Files that can be asked for, by directory.", &files)?;
        let help = "What lies in a directory and is not served, by reason.";
        gauges(encoder, "files_not_served", help, &omitted)?;
        let help = "Whether a directory that files are served from cannot be read now.";
        gauges(encoder, "root_unreadable", help, &unreadable)
    }

    fn disks(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let disks = self.0.disks();
        let by_dir = |value: fn(&DiskStatus) -> Option<u64>| -> BTreeMap<_, _> {
            let row = |disk: &DiskStatus| Some(([("dir", disk.dir.clone())], value(disk)?));
            disks.iter().filter_map(row).collect()
        };
        let free = by_dir(|disk| Some(disk.space?.free_bytes));
        let help = "Bytes that the server may still write on the disk of a directory.";
        gauges(encoder, "disk_free_bytes", help, &free)?;
        let size = by_dir(|disk| Some(disk.space?.size_bytes));
        gauges(encoder, "disk_size_bytes", "Bytes that the disk of a directory holds.", &size)?;
        let faulty = by_dir(|disk| Some(u64::from(disk.fault.is_some())));
        let help = "Whether the disk of a directory cannot be measured, or does not answer.";
        gauges(encoder, "disk_faulty", help, &faulty)
    }

    fn certificates(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let (mut ends, mut faulty) = (BTreeMap::new(), BTreeMap::new());
        for row in &self.0.certificates() {
            let listen: Vec<_> = row.listen.iter().map(ToString::to_string).collect();
            for pair in &row.pairs {
                let labels = [
                    ("listen", listen.join(",")),
                    ("key", pair.key.clone()),
                    ("subject", pair.subject.clone()),
                ];
                let not_after = u64::try_from(pair.not_after_unix_s).unwrap_or(0);
                let end = ends.entry(labels).or_insert(not_after);
                *end = not_after.min(*end);
            }
            // Several listeners may share one file.
            *faulty.entry([("file", row.file.clone())]).or_default() |=
                u64::from(row.fault.is_some());
        }
        let help = "When a certificate ceases to hold, in seconds since 1970.";
        gauges(encoder, "certificate_not_after_timestamp_seconds", help, &ends)?;
        let help = "Whether a newer certificate could not be used, or the one in use needs a hand.";
        gauges(encoder, "certificate_faulty", help, &faulty)
    }
}

fn build(encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let legacy_tls = cfg!(feature = "legacy-tls").to_string();
    let labels = [("legacy_tls", legacy_tls), ("version", env!("CARGO_PKG_VERSION").to_owned())];
    gauges(encoder, "build_info", "What this program is; always 1.", &BTreeMap::from([(labels, 1)]))
}

/// Begins a family whose name ends in its unit, if it has one.
fn begin<'a>(
    encoder: &'a mut DescriptorEncoder<'_>,
    name: &'a str,
    help: &'a str,
    kind: MetricType,
) -> Result<MetricEncoder<'a>, fmt::Error> {
    const UNITS: [(&str, &Unit); 2] = [("_bytes", &Unit::Bytes), ("_seconds", &Unit::Seconds)];
    for (end, unit) in UNITS {
        if let Some(name) = name.strip_suffix(end) {
            return encoder.encode_descriptor(name, help, Some(unit), kind);
        }
    }
    encoder.encode_descriptor(name, help, None, kind)
}

/// A family of one series without labels.
fn lone(encoder: &mut DescriptorEncoder<'_>, figure: &Figure) -> fmt::Result {
    match figure.kind {
        Kind::Total => {
            let family = begin(encoder, figure.name, figure.help, MetricType::Counter)?;
            ConstCounter::new(figure.value).encode(family)
        }
        Kind::Gauge => {
            let family = begin(encoder, figure.name, figure.help, MetricType::Gauge)?;
            ConstGauge::new(bounded(figure.value)).encode(family)
        }
    }
}

/// Returns a family of gauges, or `None` if it has no series: an empty family says nothing.
fn gauges<const N: usize>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    series: &BTreeMap<[(&'static str, String); N], u64>,
) -> fmt::Result {
    if series.is_empty() {
        return Ok(());
    }
    let mut family = begin(encoder, name, help, MetricType::Gauge)?;
    for (labels, value) in series {
        ConstGauge::new(bounded(*value)).encode(family.encode_family(labels)?)?;
    }
    Ok(())
}

fn bounded(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// Returns a histogram in seconds, of values with `per_second` to a second.
fn timing(
    encoder: &mut DescriptorEncoder<'_>,
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
    let mut metric = begin(encoder, name, help, MetricType::Histogram)?;
    let sum = timing.sum as f64 / per_second;
    metric.encode_histogram::<NoLabelSet>(sum, timing.histogram.len(), &buckets, None)
}
