//! The state of the daemon in one place: workers, files, settings and reloads.
//!
//! Belongs to the threads beside the workers. Workers are read through their counters and never
//! asked.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use arc_swap::ArcSwap;
use hdrhistogram::CreationError;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::certificates::CertificateStatus;
use crate::config::{FileCheck, Settings};
use crate::net::Clock;
use crate::net::stats::{Histograms, WorkerStats};
use crate::observe::admin_connections::AdminConnections;
use crate::observe::disk_space::DiskStatus;
use crate::observe::health::{self, ContentHealth, Health};
pub(crate) use crate::observe::limits_status::Limits;
use crate::observe::storm::{PhonesStatus, StormWatch};
pub(crate) use crate::observe::stream_status::{FtpStatus, StreamStatus};
use engine::catalog::{Form, Root};
use engine::metrics::Figure;
use engine::policy::snapshot::Snapshot;
use wire::time::Duration;

/// A worker that has not run for this long is stuck: an idle one runs once a second.
pub(crate) const STUCK_AFTER: Duration = Duration::from_secs(5);

/// The state that the control threads share.
#[derive(Debug)]
pub(crate) struct DaemonState {
    /// The process's clock.
    pub(crate) clock: Clock,
    /// The workers.
    pub(crate) views: Vec<Arc<WorkerStats>>,
    /// The workers' snapshot.
    pub(crate) snapshot: Arc<ArcSwap<Snapshot>>,
    /// The settings in force.
    pub(crate) settings: ArcSwap<Settings>,
    /// The listeners, as bound.
    pub(crate) listeners: Vec<Listening>,
    /// The counters of the administration pages.
    pub(crate) admin: Arc<AdminConnections>,
    notes: Mutex<Notes>,
    timings: Mutex<Histograms>,
    /// The phones that boot, and the storm.
    pub(super) storm: Mutex<StormWatch>,
}

/// Messages about the daemon itself.
#[derive(Debug, Default)]
struct Notes {
    warnings: Vec<String>,
    /// Warnings from the current state of files.
    of_files: Vec<String>,
    reload: Option<Reloaded>,
    /// Whether the last reload was refused.
    reload_refused: bool,
    /// When the current settings were applied, in seconds since 1970.
    taken_at_unix_s: u64,
    certificates: Vec<CertificateStatus>,
    /// The disks that the server writes to.
    disks: Vec<DiskStatus>,
    /// The counters of the threads besides the workers.
    beside: Vec<Figure>,
    /// The state of the served directories.
    content: ContentHealth,
    /// How long running transfers have to end; `None` while new ones are accepted.
    draining: Option<Duration>,
    /// The changed settings that wait for a restart.
    needs_restart: Vec<String>,
}

/// An address in use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Listening {
    /// The protocol, in lower case.
    pub(crate) protocol: String,
    /// The address with the port as bound.
    pub(crate) address: SocketAddr,
}

/// The last reload and its result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Reloaded {
    /// Seconds since 1970.
    pub(crate) at_unix_s: u64,
    /// Whether the new settings are in force; otherwise the previous ones still are.
    pub(crate) taken: bool,
    /// The changes, or the faults.
    pub(crate) message: String,
    /// The keys that changed. Empty if the configuration was refused.
    #[serde(default)]
    pub(crate) changes: Vec<String>,
    /// The keys that take effect at the next restart.
    #[serde(default)]
    pub(crate) needs_restart: Vec<String>,
}

/// The content of `/status.json`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Status {
    /// Version of the daemon.
    pub(crate) version: String,
    /// Process number.
    pub(crate) pid: u32,
    /// Seconds since the start.
    pub(crate) uptime_s: u64,
    /// Whether phones are served; `health` has the reasons.
    pub(crate) healthy: bool,
    /// How well phones are served.
    #[serde(default)]
    pub(crate) health: Health,
    /// The workers.
    pub(crate) workers: Vec<WorkerStatus>,
    /// Transfers by how they ended.
    pub(crate) outcomes: Outcomes,
    /// Connections, and the requests that they carry.
    pub(crate) streams: StreamStatus,
    /// FTP.
    #[serde(default)]
    pub(crate) ftp: FtpStatus,
    /// The phones that boot, and the storm.
    #[serde(default)]
    pub(crate) phones: PhonesStatus,
    /// Every counter, summed over the workers.
    pub(crate) figures: std::collections::BTreeMap<String, u64>,
    /// The workers' turns, in microseconds.
    pub(crate) turn_us: Quantiles,
    /// The successful transfers, in milliseconds.
    pub(crate) transfer_ms: Quantiles,
    /// The directories that files are served from.
    pub(crate) roots: Vec<RootStatus>,
    /// The listeners.
    pub(crate) listeners: Vec<Listening>,
    /// The free space of the disks that the server writes to.
    #[serde(default)]
    pub(crate) disks: Vec<DiskStatus>,
    /// Limits in force.
    pub(crate) limits: Limits,
    /// Certificates of the listeners with TLS.
    #[serde(default)]
    pub(crate) certificates: Vec<CertificateStatus>,
    /// The last reload, if there was one.
    pub(crate) reload: Option<Reloaded>,
    /// The changed settings that wait for a restart.
    #[serde(default)]
    pub(crate) needs_restart: Vec<String>,
    /// The current warnings.
    pub(crate) warnings: Vec<String>,
}

/// One worker.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct WorkerStatus {
    /// Turns (event loop runs) since the start.
    pub(crate) turns: u64,
    /// Milliseconds since the last turn ended.
    pub(crate) last_turn_age_ms: u64,
    /// Transfers open, half-open ones included.
    pub(crate) transfers_open: u64,
    /// Transfers whose phone has not answered yet.
    pub(crate) transfers_half_open: u64,
    /// Session slots taken.
    pub(crate) slots_used: u64,
    /// Idle phones that go before others and have lent their slot.
    #[serde(default)]
    pub(crate) slots_lent: u64,
    /// Requests that wait for a slot.
    pub(crate) queue_waiting: u64,
    /// Datagrams that the kernel dropped because a receive buffer was full.
    pub(crate) kernel_drops: u64,
}

/// Transfers by how they ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Outcomes {
    /// Every byte acknowledged.
    pub(crate) done: u64,
    /// Ended by the phone, for its own reason.
    pub(crate) aborted: u64,
    /// Ended because the phone stopped answering.
    pub(crate) timed_out: u64,
    /// Not served.
    pub(crate) refused: u64,
    /// Failed on this side.
    pub(crate) failed: u64,
    /// Uploads stored.
    pub(crate) stored: u64,
    /// Bytes sent, resends included.
    pub(crate) sent_bytes: u64,
}

/// The median and the tail of a distribution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Quantiles {
    /// The number of values.
    pub(crate) count: u64,
    /// The median.
    pub(crate) p50: u64,
    /// The 99th percentile.
    pub(crate) p99: u64,
    /// The largest.
    pub(crate) max: u64,
}

/// One directory that files are served from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RootStatus {
    /// The directory.
    pub(crate) dir: String,
    /// Files in it that can be requested.
    pub(crate) files: u64,
    /// Bytes of them on the heap.
    pub(crate) heap_bytes: u64,
}

/// The parts of a [`DaemonState`].
#[derive(Debug)]
pub(crate) struct DaemonStateParts {
    /// The process's clock.
    pub(crate) clock: Clock,
    /// The workers.
    pub(crate) views: Vec<Arc<WorkerStats>>,
    /// The workers' snapshot.
    pub(crate) snapshot: Arc<ArcSwap<Snapshot>>,
    /// The settings in force.
    pub(crate) settings: Arc<Settings>,
    /// The listeners, as bound.
    pub(crate) listeners: Vec<Listening>,
    /// The warnings of the start, besides those of the settings.
    pub(crate) warnings: Vec<String>,
}

impl DaemonState {
    /// Creates the state of a start.
    ///
    /// # Errors
    /// As [`Histograms::new`].
    pub(crate) fn new(parts: DaemonStateParts) -> Result<Self, CreationError> {
        let of_files = of_files(&parts.settings);
        let notes = Notes {
            warnings: parts.warnings,
            of_files,
            taken_at_unix_s: UNIX_EPOCH.elapsed().map_or(0, |since| since.as_secs()),
            ..Notes::default()
        };
        Ok(DaemonState {
            clock: parts.clock,
            views: parts.views,
            snapshot: parts.snapshot,
            settings: ArcSwap::new(parts.settings),
            listeners: parts.listeners,
            admin: Arc::default(),
            notes: Mutex::new(notes),
            timings: Mutex::new(Histograms::new()?),
            storm: Mutex::default(),
        })
    }

    /// Collects the workers' measurements; call it once a second.
    pub(crate) fn collect(&self) {
        let mut timings = self.timings.lock();
        self.views.iter().for_each(|view| view.collect(&mut timings));
        let overs = std::mem::take(&mut timings.boots);
        drop(timings);
        self.watch_storm(&overs);
    }

    /// Returns all measurements so far, of all workers.
    #[must_use]
    pub(crate) fn timings(&self) -> Histograms {
        self.timings.lock().clone()
    }

    /// Returns the stuck workers, by number.
    #[must_use]
    pub(crate) fn stuck(&self) -> Vec<usize> {
        let now = self.clock.now();
        let views = self.views.iter().enumerate();
        let stuck = views.filter(|(_, view)| now.since(view.turned_at()) > STUCK_AFTER);
        stuck.map(|(number, _)| number).collect()
    }

    /// Returns the current warnings, in sentences.
    #[must_use]
    pub(crate) fn warnings(&self) -> Vec<String> {
        let settings = self.settings.load();
        let notes = self.notes.lock();
        let warnings =
            settings.warnings.iter().chain(&notes.of_files).chain(&notes.warnings).cloned();
        let warnings = warnings.chain(crate::observe::store_metrics::warnings(&notes.beside));
        warnings.chain(notes.disks.iter().filter_map(DiskStatus::warning)).collect()
    }

    /// Records the result of a reload.
    pub(crate) fn note_reload(&self, reload: Reloaded) {
        let mut notes = self.notes.lock();
        notes.reload_refused = !reload.taken;
        if reload.taken {
            notes.taken_at_unix_s = reload.at_unix_s;
        }
        notes.reload = Some(reload);
    }

    /// Returns whether the last reload was applied, and when the current settings were, in seconds
    /// since 1970. The start counts as one.
    #[must_use]
    pub(crate) fn last_reload(&self) -> (bool, u64) {
        let notes = self.notes.lock();
        (!notes.reload_refused, notes.taken_at_unix_s)
    }

    /// Records the free space of the disks.
    pub(crate) fn note_disks(&self, disks: Vec<DiskStatus>) {
        self.notes.lock().disks = disks;
    }

    /// Returns the free space of the disks that the server writes to.
    #[must_use]
    pub(crate) fn disks(&self) -> Vec<DiskStatus> {
        self.notes.lock().disks.clone()
    }

    /// Records the changed settings that wait for a restart.
    pub(crate) fn note_restart(&self, keys: Vec<String>) {
        self.notes.lock().needs_restart = keys;
    }

    /// Checks files that may come and go, so that mended faults disappear.
    pub(crate) fn check_files(&self) {
        let warnings = of_files(&self.settings.load());
        self.notes.lock().of_files = warnings;
    }

    /// Records that new transfers are refused, and how long running ones have to end.
    pub(crate) fn note_draining(&self, drain: Duration) {
        self.notes.lock().draining = Some(drain);
    }

    /// Records which files can be served.
    pub(crate) fn note_content(&self, content: ContentHealth) {
        self.notes.lock().content = content;
    }

    /// Returns how well phones are served.
    #[must_use]
    pub(crate) fn health(&self) -> Health {
        let stuck = self.stuck();
        let notes = self.notes.lock();
        health::assess(&stuck, notes.draining, &notes.content)
    }

    /// Records the counters of the threads besides the workers.
    pub(crate) fn note_figures(&self, figures: Vec<Figure>) {
        self.notes.lock().beside = figures;
    }

    /// Records the certificates in use.
    pub(crate) fn note_certificates(&self, certificates: Vec<CertificateStatus>) {
        self.notes.lock().certificates = certificates;
    }

    /// Returns the certificates in use, by listener.
    #[must_use]
    pub(crate) fn certificates(&self) -> Vec<CertificateStatus> {
        self.notes.lock().certificates.clone()
    }

    /// Returns every counter, summed over the workers, in the order of the source; then those of
    /// the other threads, as last recorded.
    #[must_use]
    pub(crate) fn figures(&self) -> Vec<Figure> {
        let mut views = self.views.iter();
        let Some(first) = views.next() else { return Vec::new() };
        let mut sums = first.counters.figures();
        for view in views {
            for (sum, figure) in sums.iter_mut().zip(view.counters.figures()) {
                sum.value = sum.value.wrapping_add(figure.value);
            }
        }
        sums.extend(self.notes.lock().beside.iter().copied());
        sums.extend(self.admin.figures());
        sums
    }

    /// Returns the whole status.
    #[must_use]
    pub(crate) fn status(&self) -> Status {
        let now = self.clock.now();
        self.collect();
        let timings = self.timings();
        let figures = self.figures();
        let figure = |name: &str| {
            figures.iter().find(|figure| figure.name == name).map_or(0, |figure| figure.value)
        };
        let settings = self.settings.load();
        // The lock is taken again for the warnings, so it must be released here.
        let (reload, needs_restart) = {
            let notes = self.notes.lock();
            (notes.reload.clone(), notes.needs_restart.clone())
        };
        let health = self.health();
        Status {
            version: env!("CARGO_PKG_VERSION").into(),
            pid: std::process::id(),
            uptime_s: now.since(wire::time::Instant::START).as_secs(),
            healthy: health.state.is_serving(),
            health,
            workers: self.views.iter().map(|view| worker(view, now)).collect(),
            outcomes: Outcomes {
                done: figure("transfers_done"),
                aborted: figure("transfers_aborted"),
                timed_out: figure("transfers_timed_out"),
                refused: figure("transfers_refused"),
                failed: figure("transfers_failed"),
                stored: figure("uploads_stored"),
                sent_bytes: figure("tftp_sent_bytes") + figure("stream_sent_bytes"),
            },
            streams: StreamStatus::of(figure),
            ftp: FtpStatus::of(figure),
            phones: self.phones(),
            figures: figures.iter().map(|figure| (figure.name.into(), figure.value)).collect(),
            turn_us: quantiles(&timings.turn_us.histogram),
            transfer_ms: quantiles(&timings.transfer_ms.histogram),
            roots: self.snapshot.load().catalog.roots.iter().map(|dir| root(dir)).collect(),
            listeners: self.listeners.clone(),
            disks: self.disks(),
            limits: Limits::of(&settings),
            certificates: self.certificates(),
            reload,
            needs_restart,
            warnings: self.warnings(),
        }
    }
}

fn of_files(settings: &Settings) -> Vec<String> {
    settings.file_checks.iter().flat_map(FileCheck::warnings).collect()
}

fn worker(view: &WorkerStats, now: wire::time::Instant) -> WorkerStatus {
    let age = now.since(view.turned_at()).as_millis();
    let counters = &view.counters;
    WorkerStatus {
        turns: counters.turns.value(),
        last_turn_age_ms: u64::try_from(age).unwrap_or(u64::MAX),
        transfers_open: counters.transfers_open.value(),
        transfers_half_open: counters.transfers_half_open.value(),
        slots_used: counters.slots_used.value(),
        slots_lent: counters.slots_lent.value(),
        queue_waiting: counters.queue_waiting.value(),
        kernel_drops: counters.kernel_drops.value(),
    }
}

fn root(root: &Root) -> RootStatus {
    let held = |entry: &engine::catalog::Entry| -> u64 {
        let blobs = [Form::Octet, Form::Netascii].map(|form| entry.blob(form));
        let heap = blobs.into_iter().flatten().filter(|blob| !blob.is_mapped());
        heap.map(|blob| blob.bytes()).sum()
    };
    RootStatus {
        dir: root.dir.display().to_string(),
        files: root.entries.len() as u64,
        heap_bytes: root.entries.iter().map(|(_, entry)| held(entry)).sum(),
    }
}

fn quantiles(histogram: &hdrhistogram::Histogram<u64>) -> Quantiles {
    Quantiles {
        count: histogram.len(),
        p50: histogram.value_at_quantile(0.5),
        p99: histogram.value_at_quantile(0.99),
        max: histogram.max(),
    }
}
