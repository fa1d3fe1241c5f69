//! What goes on, in one place: what control knows of workers, files, settings and reloads.
//!
//! Everything here is control's own. Workers are seen through their views and never asked.

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
pub(crate) use crate::observe::stream_status::{FtpStatus, StreamStatus};
use engine::catalog::{Form, Root};
use engine::metrics::Figure;
use engine::policy::snapshot::Snapshot;
use wire::time::Duration;

/// A worker that has not turned for so long is stuck: an idle one turns once a second.
pub(crate) const STUCK_AFTER: Duration = Duration::from_secs(5);

/// What control's threads share.
#[derive(Debug)]
pub(crate) struct DaemonState {
    /// The process's clock.
    pub(crate) clock: Clock,
    /// The workers.
    pub(crate) views: Vec<Arc<WorkerStats>>,
    /// What the workers see.
    pub(crate) snapshot: Arc<ArcSwap<Snapshot>>,
    /// The settings in force.
    pub(crate) settings: ArcSwap<Settings>,
    /// What is listened on, as bound.
    pub(crate) listeners: Vec<Listening>,
    /// The connections to the pages of administration.
    pub(crate) admin: Arc<AdminConnections>,
    notes: Mutex<Notes>,
    timings: Mutex<Histograms>,
}

/// What is said about the daemon itself.
#[derive(Debug, Default)]
struct Notes {
    warnings: Vec<String>,
    /// What else is worth a look, as long as files are as they are.
    of_files: Vec<String>,
    reload: Option<Reloaded>,
    /// Whether the last reload was refused.
    reload_refused: bool,
    /// When the settings in force were taken, in seconds since 1970.
    taken_at_unix_s: u64,
    certificates: Vec<CertificateStatus>,
    /// Of the directories that the server writes to.
    disks: Vec<DiskStatus>,
    /// Of the threads beside the workers.
    beside: Vec<Figure>,
    /// Of the directories that files are served from.
    content: ContentHealth,
    /// Transfers that run have so long to end; none while new ones begin.
    draining: Option<Duration>,
    /// What of the settings in force waits for a restart.
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

/// The last reload and what came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Reloaded {
    /// Seconds since 1970.
    pub(crate) at_unix_s: u64,
    /// Whether the new settings are in force; if not, the ones before still are.
    pub(crate) taken: bool,
    /// What changed, or what is wrong.
    pub(crate) message: String,
    /// The keys that changed. Empty if the configuration was not taken.
    #[serde(default)]
    pub(crate) changes: Vec<String>,
    /// What takes effect at the next restart.
    #[serde(default)]
    pub(crate) needs_restart: Vec<String>,
}

/// Everything that `/status.json` says.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Status {
    /// Version of the daemon.
    pub(crate) version: String,
    /// Process number.
    pub(crate) pid: u32,
    /// Seconds since the start.
    pub(crate) uptime_s: u64,
    /// Whether phones are served: see `health` for why not.
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
    /// Every figure, summed over the workers.
    pub(crate) figures: std::collections::BTreeMap<String, u64>,
    /// Microseconds that a worker's turn took.
    pub(crate) turn_us: Quantiles,
    /// Milliseconds that transfers took which ended well.
    pub(crate) transfer_ms: Quantiles,
    /// The directories that files are served from.
    pub(crate) roots: Vec<RootStatus>,
    /// What is listened on.
    pub(crate) listeners: Vec<Listening>,
    /// Room on the disks that the server writes to.
    #[serde(default)]
    pub(crate) disks: Vec<DiskStatus>,
    /// Limits in force.
    pub(crate) limits: Limits,
    /// Certificates of the listeners with TLS.
    #[serde(default)]
    pub(crate) certificates: Vec<CertificateStatus>,
    /// The last reload, if there was one.
    pub(crate) reload: Option<Reloaded>,
    /// What of the settings in force waits for a restart.
    #[serde(default)]
    pub(crate) needs_restart: Vec<String>,
    /// What is in force and yet worth a look.
    pub(crate) warnings: Vec<String>,
}

/// One worker.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct WorkerStatus {
    /// Turns since the start.
    pub(crate) turns: u64,
    /// Milliseconds since the last turn ended.
    pub(crate) last_turn_age_ms: u64,
    /// Transfers open, half-open ones included.
    pub(crate) transfers_open: u64,
    /// Transfers whose phone has not answered once.
    pub(crate) transfers_half_open: u64,
    /// Session slots taken.
    pub(crate) slots_used: u64,
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
    /// Ended by the phone for a reason of its own.
    pub(crate) aborted: u64,
    /// The phone fell silent.
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

/// Where the middle and the end of a distribution lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Quantiles {
    /// How many values.
    pub(crate) count: u64,
    /// Half of them are not above this.
    pub(crate) p50: u64,
    /// 99 of 100 are not above this.
    pub(crate) p99: u64,
    /// The largest.
    pub(crate) max: u64,
}

/// One directory that files are served from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RootStatus {
    /// The directory.
    pub(crate) dir: String,
    /// Files in it that can be asked for.
    pub(crate) files: u64,
    /// Bytes of them that are held on the heap.
    pub(crate) heap_bytes: u64,
}

/// What a board is made of.
#[derive(Debug)]
pub(crate) struct DaemonStateParts {
    /// The process's clock.
    pub(crate) clock: Clock,
    /// The workers.
    pub(crate) views: Vec<Arc<WorkerStats>>,
    /// What the workers see.
    pub(crate) snapshot: Arc<ArcSwap<Snapshot>>,
    /// The settings in force.
    pub(crate) settings: Arc<Settings>,
    /// What is listened on, as bound.
    pub(crate) listeners: Vec<Listening>,
    /// What the start-up found worth a look, beside what the settings say themselves.
    pub(crate) warnings: Vec<String>,
}

impl DaemonState {
    /// A board on which nothing has happened yet.
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
        })
    }

    /// Takes over what the workers have measured; to be called once a second.
    pub(crate) fn collect(&self) {
        let mut timings = self.timings.lock();
        self.views.iter().for_each(|view| view.collect(&mut timings));
    }

    /// Everything measured so far, of all workers.
    #[must_use]
    pub(crate) fn timings(&self) -> Histograms {
        self.timings.lock().clone()
    }

    /// Workers that are stuck, by number.
    #[must_use]
    pub(crate) fn stuck(&self) -> Vec<usize> {
        let now = self.clock.now();
        let views = self.views.iter().enumerate();
        let stuck = views.filter(|(_, view)| now.since(view.turned_at()) > STUCK_AFTER);
        stuck.map(|(number, _)| number).collect()
    }

    /// What is in force and yet worth a look, in sentences.
    #[must_use]
    pub(crate) fn warnings(&self) -> Vec<String> {
        let settings = self.settings.load();
        let notes = self.notes.lock();
        let told = settings.warnings.iter().chain(&notes.of_files).chain(&notes.warnings).cloned();
        let told = told.chain(crate::observe::store_metrics::warnings(&notes.beside));
        told.chain(notes.disks.iter().filter_map(DiskStatus::warning)).collect()
    }

    /// Notes what became of a reload.
    pub(crate) fn note_reload(&self, reload: Reloaded) {
        let mut notes = self.notes.lock();
        notes.reload_refused = !reload.taken;
        if reload.taken {
            notes.taken_at_unix_s = reload.at_unix_s;
        }
        notes.reload = Some(reload);
    }

    /// Whether the last reload was taken, and when the settings in force were, in seconds since
    /// 1970. The start counts as one.
    #[must_use]
    pub(crate) fn last_reload(&self) -> (bool, u64) {
        let notes = self.notes.lock();
        (!notes.reload_refused, notes.taken_at_unix_s)
    }

    /// Notes how much room the disks have.
    pub(crate) fn note_disks(&self, disks: Vec<DiskStatus>) {
        self.notes.lock().disks = disks;
    }

    /// How much room the disks have that the server writes to.
    #[must_use]
    pub(crate) fn disks(&self) -> Vec<DiskStatus> {
        self.notes.lock().disks.clone()
    }

    /// Notes what of the settings in force waits for a restart.
    pub(crate) fn note_restart(&self, keys: Vec<String>) {
        self.notes.lock().needs_restart = keys;
    }

    /// Looks at files that may come and go: what was mended since is told no more.
    pub(crate) fn look_at_files(&self) {
        let warnings = of_files(&self.settings.load());
        self.notes.lock().of_files = warnings;
    }

    /// Notes that nothing new begins, and how long what runs has to end.
    pub(crate) fn note_draining(&self, drain: Duration) {
        self.notes.lock().draining = Some(drain);
    }

    /// Notes what of the files can be served.
    pub(crate) fn note_content(&self, content: ContentHealth) {
        self.notes.lock().content = content;
    }

    /// How well phones are served.
    #[must_use]
    pub(crate) fn health(&self) -> Health {
        let stuck = self.stuck();
        let notes = self.notes.lock();
        health::judge(&stuck, notes.draining, &notes.content)
    }

    /// Notes the figures of the threads beside the workers.
    pub(crate) fn note_figures(&self, figures: Vec<Figure>) {
        self.notes.lock().beside = figures;
    }

    /// Notes the certificates in use.
    pub(crate) fn note_certificates(&self, certificates: Vec<CertificateStatus>) {
        self.notes.lock().certificates = certificates;
    }

    /// The certificates in use, by listener.
    #[must_use]
    pub(crate) fn certificates(&self) -> Vec<CertificateStatus> {
        self.notes.lock().certificates.clone()
    }

    /// Every figure, summed over the workers, in the order of the source; then those of the threads
    /// beside them, as they were a moment ago.
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

    /// Everything at once.
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
        // The lock is taken again for the warnings, so it must be let go of here.
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
