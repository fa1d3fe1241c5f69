//! The daemon's life: start, `ready`, reloads, drain, stop. Never runs in the data path.

mod files;

use std::collections::HashMap;
use std::io::{IsTerminal as _, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::UNIX_EPOCH;
use std::{io, thread};

use arc_swap::ArcSwap;
use crossbeam_channel::{Receiver, never};
use tokio::sync::oneshot;

use crate::admin::control_socket::ControlSocket;
use crate::admin::control_socket::server::Order;
use crate::admin::web::{self, Web};
use crate::certificates::Certificates;
use crate::config::Settings;
use crate::daemon::archive_job::ArchiveJob;
use crate::daemon::data_lock::DataLock;
use crate::daemon::descriptors::Descriptors;
use crate::daemon::error::{BindError, StartError};
use crate::daemon::exit::{Exit, Failure};
use crate::daemon::reload::{self, Lists, Source};
use crate::daemon::trial::Trial;
use crate::daemon::{banner, own_directories, sample, thread_rehearsal};
use crate::net::Clock;
use crate::net::stats::{RecordSink, WorkerStats};
use crate::net::tls::SharedTerms;
use crate::observe::disk_space::DiskSpace;
use crate::observe::health::ContentHealth;
use crate::observe::log::LogHandle;
use crate::observe::records::RecordWriter;
use crate::observe::state::{DaemonState, DaemonStateParts, Listening, Reloaded};
use crate::observe::store_metrics;
use crate::sys::signals::{self, PendingSignals, Signal, SignalQueue, Wake};
use crate::sys::socket_activation::Inherited;
use crate::sys::{privileges, systemd};
use engine::metrics::Figure;
use engine::policy::snapshot::Snapshot;
use files::{published, watch};
use store::content::CatalogHandle;
use store::content::watch::Watch;
use store::vault::Directories;
use wire::time::Duration;

/// Interval between two checks of the daemon.
const TICK: Duration = Duration::from_secs(1);
/// Interval between two checks for the end of the last transfers, after a stop is requested.
const DRAIN_TICK: Duration = Duration::from_millis(50);

/// What the data path is started with. All of it is shared and may be kept.
#[derive(Clone, Debug)]
pub(crate) struct Parts {
    /// The settings of the start; the snapshot brings what a reload changes.
    pub(crate) settings: Arc<Settings>,
    /// The process's clock.
    pub(crate) clock: Clock,
    /// The snapshot that a turn uses.
    pub(crate) snapshot: Arc<ArcSwap<Snapshot>>,
    /// One for each worker, for its counters.
    pub(crate) views: Vec<Arc<WorkerStats>>,
    /// The directories that receive uploads, by the policy's numbers.
    pub(crate) directories: Arc<Directories>,
    /// Receives the watch's catalogs, and passes requests to it.
    pub(crate) published: Arc<CatalogHandle>,
    /// Receives the workers' records of transfers.
    pub(crate) records: Arc<RecordSink>,
    /// The TLS terms of each listener, by its configured address.
    pub(crate) terms: HashMap<SocketAddr, SharedTerms>,
}

/// Sockets of the data path, bound.
#[derive(Debug)]
pub(crate) struct Bound<S> {
    /// The sockets.
    pub(crate) sockets: S,
    /// Their addresses, with the ports as bound.
    pub(crate) listeners: Vec<Listening>,
    /// Deviations from the configuration, in sentences.
    pub(crate) warnings: Vec<String>,
}

/// The workers and the threads that serve them, as the daemon sees them.
pub(crate) trait DataPath: Sized {
    /// The result of [`DataPath::bind`], which needs the privileges that are dropped afterwards.
    type Sockets;

    /// Binds all listeners.
    ///
    /// # Errors
    /// The listener that cannot be bound.
    fn bind(
        settings: &Settings,
        workers: usize,
        inherited: &mut Inherited,
    ) -> Result<Bound<Self::Sockets>, BindError>;

    /// Starts the threads.
    ///
    /// # Errors
    /// The system has no threads for them.
    fn start(sockets: Self::Sockets, parts: Parts) -> Result<Self, StartError>;

    /// Returns the counters of the threads besides the workers.
    fn figures(&self) -> Vec<Figure>;

    /// Refuses new transfers from now on.
    fn drain(&self);

    /// Ends running transfers, and the threads.
    fn stop(self);
}

/// Serves until a stop is requested.
///
/// # Errors
/// Why it cannot start, with the remedy.
pub(crate) fn serve<D: DataPath>(source: &Source) -> Result<(), Failure> {
    privileges::renounce();
    // From here on a signal waits until the daemon can handle it.
    let signals = SignalQueue::listen(stops_at_hangup(source)).map_err(StartError::Thread)?;
    let (source, made) = match source {
        Source::BuiltIn => {
            let made = sample::make(sample::DIR.as_ref())?;
            (Source::Trial(Trial::choose()), made)
        }
        Source::File(_) | Source::Trial(_) => (source.clone(), false),
    };
    let settings = source.load()?;
    let log = LogHandle::start(&settings.log)?;
    let Some(mut daemon) = Daemon::<D>::start(&source, settings, log, signals.waiting())? else {
        tracing::info!("stopped before all files had been looked at");
        return Ok(());
    };
    signals.note_serving();
    if let Source::Trial(trial) = &source {
        banner::show(&daemon.state, made, &trial.moved);
    }
    announce(&daemon.state);
    let end = daemon.run(&signals);
    daemon.stop(&signals, end);
    Ok(())
}

struct Daemon<D> {
    source: Source,
    state: Arc<DaemonState>,
    log: LogHandle,
    data: D,
    directories: Arc<Directories>,
    descriptors: Descriptors,
    certificates: Certificates,
    /// `None` only while a reload replaces it.
    watch: Option<Watch>,
    web: Web,
    archive_job: ArchiveJob,
    writer: RecordWriter,
    lists: Lists,
    disks: DiskSpace,
    /// Held until the process ends.
    _lock: DataLock,
    /// The settings of the start: what needs a restart stays like this, whatever a reload says.
    started: Arc<Settings>,
    /// The commands' requests.
    orders: Receiver<Order>,
    /// The signals' requests.
    signals: PendingSignals,
}

/// Why a daemon's run has ended.
enum RunEnd {
    Signal,
    /// The command expects the number of transfers that were cut off.
    Command(oneshot::Sender<u64>),
}

impl<D: DataPath> Daemon<D> {
    /// Binds, drops privileges, reads the files and starts every thread. Returns `None` if a signal
    /// requests a stop meanwhile.
    fn start(
        source: &Source,
        mut settings: Settings,
        log: LogHandle,
        signals: PendingSignals,
    ) -> Result<Option<Self>, Failure> {
        let mut inherited = Inherited::from_environment();
        let workers = workers(&settings);
        thread_rehearsal::rehearse(&settings, workers)?;
        let lock = own_directories::take(&settings)?;
        let descriptors = Descriptors::raise();
        let Bound { sockets, mut listeners, mut warnings } =
            D::bind(&settings, workers, &mut inherited)?;
        let admin = bind_admin(&settings, &mut inherited)?;
        // Only root may be able to read a key.
        let mut certificates = Certificates::read(&settings)?;
        warnings.extend(inherited.left().iter().map(nobody_listens));
        settings = give_privileges_up(source, settings)?;
        log.change(&settings.log);
        let socket = control_socket(&settings, &mut warnings);
        certificates.make(now_unix_s())?;
        settings.serve_ca(certificates.ca_file());
        descriptors.fit(&mut settings, workers);
        let (directories, settings) = (settings.complete()?, Arc::new(settings));
        let (clock, views) = (Clock::start(), views(workers)?);
        let snapshot = Arc::new(ArcSwap::from_pointee(Snapshot::default()));
        let records = Arc::new(RecordSink::default());
        let writer = RecordWriter::start(records.clone(), snapshot.clone(), clock)
            .map_err(StartError::Thread)?;
        let (published, go_on) = (published(&settings), || !signals.is_stop());
        let watch = watch(&settings, None, &snapshot, published, &mut None, &go_on);
        let Some(watch) = watch.map_err(StartError::Thread)? else { return Ok(None) };
        let parts = Parts {
            settings: settings.clone(),
            clock,
            snapshot: snapshot.clone(),
            views: views.clone(),
            directories: directories.clone(),
            published: watch.published(),
            records,
            terms: certificates.terms(),
        };
        let data = D::start(sockets, parts)?;
        listeners.extend(admin.iter().map(|(address, _)| listening_admin(*address)));
        let started = settings.clone();
        let parts = DaemonStateParts { clock, views, snapshot, settings, listeners, warnings };
        let state = Arc::new(DaemonState::new(parts).map_err(StartError::Measure)?);
        let (web, orders) = web::serve(&state, admin, socket).map_err(StartError::Thread)?;
        state.note_certificates(certificates.report(now_unix_s()));
        Ok(Some(Daemon {
            source: source.clone(),
            archive_job: ArchiveJob::start(state.clone(), directories.clone())
                .map_err(StartError::Thread)?,
            state,
            log,
            data,
            directories,
            descriptors,
            certificates,
            watch: Some(watch),
            web,
            writer,
            lists: Lists::read(&started.data_dir),
            disks: DiskSpace::new(),
            _lock: lock,
            started,
            orders,
            signals,
        }))
    }

    /// Runs until a signal or a command requests a stop.
    fn run(&mut self, signals: &SignalQueue) -> RunEnd {
        systemd::ready();
        self.tick();
        loop {
            match signals.or_order(&self.orders, TICK) {
                Wake::Signal(Signal::Reload) => drop(self.reload("a signal")),
                Wake::Signal(Signal::Stop) => return RunEnd::Signal,
                // The command may be gone.
                Wake::Order(Order::Reload(answer)) => drop(answer.send(self.reload("a command"))),
                Wake::Order(Order::Drain(answer)) => return RunEnd::Command(answer),
                // The control thread has ended, but signals still arrive.
                Wake::NoMoreOrders => self.orders = never(),
                Wake::Nothing => {}
            }
            self.tick();
        }
    }

    fn tick(&mut self) {
        self.state.collect();
        self.state.check_files();
        let disks = self.disks.poll(&self.state.settings.load(), self.state.clock.now());
        self.state.note_disks(disks);
        if let Some(watch) = &self.watch {
            let mut content = ContentHealth::of(&watch.published().health());
            content.degraded.extend(self.directories.known().look(&self.written_to()));
            self.state.note_content(content);
        }
        self.note_figures();
        if let Some(gap) = self.log.gap() {
            tracing::warn!("{gap} lines of the log were lost before this one");
        }
        if self.state.stuck().is_empty() {
            systemd::alive();
        }
        let changes = self.certificates.refresh(now_unix_s());
        if changes.changed {
            self.state.note_certificates(self.certificates.report(now_unix_s()));
        }
        let lists = Lists::read(&self.state.settings.load().data_dir);
        if lists != self.lists {
            self.reload("a changed access list");
        } else if changes.ca_changed {
            self.reload("a changed CA certificate");
        }
    }

    /// Returns the directories that clients' data is written to.
    fn written_to(&self) -> Vec<PathBuf> {
        let settings = self.state.settings.load();
        let uploads = settings.upload_dirs.iter().map(PathBuf::as_path);
        let mut dirs: Vec<_> = settings.own_dirs().chain(uploads).map(Path::to_path_buf).collect();
        dirs.sort_unstable();
        dirs.dedup();
        dirs
    }

    fn note_figures(&self) {
        let mut figures = self.data.figures();
        figures.push(store_metrics::log_lines_lost(self.log.lines_lost()));
        self.state.note_figures(figures);
    }

    /// Applies a new configuration whole, or keeps the last good one and says why.
    fn reload(&mut self, why: &str) -> Reloaded {
        systemd::reloading();
        self.lists = Lists::read(&self.state.settings.load().data_dir);
        let mut reloaded = match self.source.load() {
            Ok(settings) => {
                self.take(settings).unwrap_or_else(|failure| Reloaded::refused(failure.text))
            }
            Err(faults) => Reloaded::refused(faults.to_string()),
        };
        reloaded.at_unix_s = UNIX_EPOCH.elapsed().map_or(0, |since| since.as_secs());
        for line in reloaded.message.lines() {
            if reloaded.taken {
                tracing::info!("reload after {why}: {line}");
            } else {
                tracing::error!("reload after {why}: {line}");
            }
        }
        self.state.note_reload(reloaded.clone());
        systemd::ready();
        reloaded
    }

    fn take(&mut self, mut settings: Settings) -> Result<Reloaded, Failure> {
        own_directories::prepare(&settings, None, self.directories.known())?;
        self.certificates.take(&settings, now_unix_s())?;
        settings.serve_ca(self.certificates.ca_file());
        self.state.note_certificates(self.certificates.report(now_unix_s()));
        let before = self.state.settings.load_full();
        self.descriptors.fit(&mut settings, self.state.views.len());
        settings.number_uploads(&self.directories);
        let restart = reload::needs_restart(&self.started, &settings);
        let changes = settings.effective.changes_from(&before.effective);
        settings.keep_listeners(&before);
        self.change_watch(&settings, &before)?;
        self.log.change(&settings.log);
        settings.warnings_now().for_each(|warning| tracing::warn!("{warning}"));
        self.lists = Lists::read(&settings.data_dir);
        if settings.data_dir != before.data_dir {
            self.move_socket(&settings.data_dir);
        }
        self.state.settings.store(Arc::new(settings));
        let needs_restart: Vec<_> = restart.iter().map(|&key| key.to_owned()).collect();
        self.state.note_restart(needs_restart.clone());
        self.state.check_files();
        Ok(Reloaded::taken(changes, needs_restart))
    }

    /// Makes the control socket available in another data directory.
    fn move_socket(&self, data_dir: &Path) {
        match ControlSocket::bind(data_dir) {
            Ok(socket) => self.web.move_socket(socket),
            Err(why) => tracing::warn!("{why}"),
        }
    }

    /// Lets running transfers end, up to `drain` or until a second signal, and exits.
    fn stop(self, signals: &SignalQueue, end: RunEnd) {
        let drain = self.state.settings.load().drain;
        systemd::stopping(drain);
        self.state.note_draining(drain);
        self.data.drain();
        // Later requests are answered that the server is stopping.
        drop(self.orders);
        tracing::info!("stopping: transfers under way have {drain:?} left");
        let over_at = self.state.clock.now() + drain;
        while open_transfers(&self.state) > 0 && self.state.clock.now() < over_at {
            match signals.within(DRAIN_TICK) {
                Some(Signal::Reload) | None => {}
                Some(Signal::Stop) => break,
            }
            if self.state.stuck().is_empty() {
                systemd::alive();
            }
        }
        let cut_off = open_transfers(&self.state);
        if cut_off > 0 {
            tracing::warn!("{cut_off} transfers were cut off");
        }
        match end {
            RunEnd::Signal => {}
            // The command may be gone.
            RunEnd::Command(answer) => drop(answer.send(cut_off)),
        }
        self.data.stop();
        drop(self.watch);
        self.web.stop();
        self.archive_job.stop();
        self.writer.stop();
        tracing::info!("stopped");
    }
}

fn open_transfers(state: &DaemonState) -> u64 {
    state.views.iter().map(|view| view.counters.transfers_open.value()).sum()
}

/// Becomes the user of the settings, and reads them again as that user, who may not read all that
/// root could.
fn give_privileges_up(source: &Source, settings: Settings) -> Result<Settings, Failure> {
    let Some(user) = &settings.user else { return Ok(settings) };
    privileges::drop_to(user, settings.group.as_deref())?;
    source.load().map_err(|faults| Failure::from(faults).of(&format!("as user `{user}`")))
}

/// Binds the listener of `[admin]`, if there is one.
fn bind_admin(
    settings: &Settings,
    inherited: &mut Inherited,
) -> Result<Option<(SocketAddr, std::net::TcpListener)>, Failure> {
    let bound = settings.admin.map(|admin| web::bind(admin, inherited)).transpose();
    bound.map_err(|cause| Failure::by(Exit::CannotBind, cause))
}

/// Opens the control socket; without it the server runs nevertheless, with a warning.
fn control_socket(settings: &Settings, warnings: &mut Vec<String>) -> Option<ControlSocket> {
    let bound = ControlSocket::bind(&settings.data_dir);
    bound.map_err(|why| warnings.push(why.to_string())).ok()
}

/// Creates the counters of each worker.
fn views(workers: usize) -> Result<Vec<Arc<WorkerStats>>, StartError> {
    let views: Result<Vec<_>, _> = (0..workers).map(|_| WorkerStats::new().map(Arc::new)).collect();
    views.map_err(StartError::Histograms)
}

fn nobody_listens(address: &SocketAddr) -> String {
    format!("the service manager gave a socket for {address}, which no section listens on")
}

fn listening_admin(address: SocketAddr) -> Listening {
    Listening { protocol: "admin".into(), address }
}

/// Returns the number of workers to start.
fn workers(settings: &Settings) -> usize {
    match settings.workers {
        0 => thread::available_parallelism().map_or(1, usize::from),
        asked => asked,
    }
}

/// Returns the time in seconds since 1970.
pub(crate) fn now_unix_s() -> i64 {
    UNIX_EPOCH.elapsed().map_or(0, |since| since.as_secs().cast_signed())
}

/// Returns whether a hangup of the terminal stops the server: for a trial, and for a server started
/// by hand, unless by `nohup`. A service has no terminal, and reloads.
fn stops_at_hangup(source: &Source) -> bool {
    let is_by_hand = match source {
        Source::BuiltIn | Source::Trial(_) => true,
        Source::File(_) => io::stdin().is_terminal(),
    };
    is_by_hand && !signals::hangup_is_ignored()
}

/// Prints the listeners and warnings, and the line that other programs wait for.
fn announce(state: &DaemonState) {
    for listening in &state.listeners {
        tracing::info!("listening for {} on {}", listening.protocol, listening.address);
    }
    for root in &state.snapshot.load().catalog.roots {
        tracing::info!("serving {} files of {}", root.entries.len(), root.dir.display());
    }
    state.warnings().iter().for_each(|warning| tracing::warn!("{warning}"));
    // A program that closed standard output does not wait for the line either.
    let mut out = io::stdout().lock();
    let _ = writeln!(out, "ready").and_then(|()| out.flush());
}

#[cfg(test)]
mod tests;
