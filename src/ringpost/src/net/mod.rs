//! The data path's threads: a loop per worker, each with sockets, transfers and timers of its own.
//!
//! A turn: wait, drain the sockets, run the machines, fire the timers, send. It never waits for
//! anything but the kernel's news, and shares nothing but snapshots and channels. It knows no
//! protocol: `services.rs` lists them, `service.rs` says what each is asked in a turn.

mod ftp;
mod http;
pub(crate) mod listener;
mod service;
pub(crate) mod services;
mod snmp;
pub(crate) mod stats;
pub(crate) mod stream;
mod tftp;
pub mod tls;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration as Wait;

use arc_swap::{ArcSwap, Cache};
use crossbeam_channel::Receiver;
use mio::{Events, Poll, Token};

use engine::admission::Admission;
use engine::policy::snapshot::{Policy, Snapshot};
use engine::requests::Answer;
use engine::session::TurnContext;
use engine::session::snmp::SnmpClient;
use service::Service;
use services::{Services, Sockets};
use stats::{RecordSink, StatsRecorder, WorkerStats};
use store::Store;
use wire::time::Instant;

/// The token by which other threads wake a worker.
pub(crate) const WAKE: Token = Token(usize::MAX);
/// Longest wait: the watchdog and the histograms want a turn now and then.
const WAIT_MAX: Wait = Wait::from_millis(500);
/// Most events taken from the kernel in one turn: more sockets than a worker ever has.
const EVENTS_MAX: usize = 1_024;
/// How long a send that the kernel had no room for waits before it is tried again.
const BLOCKED_WAIT: Wait = Wait::from_millis(1);
/// Answers of the loader taken in one turn.
const ANSWERS_MAX: usize = 4_096;

/// The only clock: real time as moments since it was made. All threads of a process share one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock(std::time::Instant);

impl Clock {
    /// A clock that starts now.
    #[must_use]
    pub(crate) fn start() -> Self {
        Clock(std::time::Instant::now())
    }

    /// The moment that all others count from.
    #[must_use]
    pub(crate) fn origin(self) -> std::time::Instant {
        self.0
    }

    /// What the calendar says, in seconds since 1970.
    #[must_use]
    pub(crate) fn unix_s(self) -> u64 {
        std::time::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_secs())
    }

    /// The moment now.
    #[must_use]
    pub(crate) fn now(self) -> Instant {
        Instant::START + self.0.elapsed()
    }
}

/// What control wants of the workers.
#[derive(Debug, Default)]
pub(crate) struct Orders {
    /// No new transfers.
    drain: AtomicBool,
    /// End what runs, and the thread.
    stop: AtomicBool,
}

impl Orders {
    /// No new transfer begins.
    pub(crate) fn drain(&self) {
        self.drain.store(true, Relaxed);
    }

    /// What runs is ended, and the threads too.
    pub(crate) fn stop(&self) {
        self.stop.store(true, Relaxed);
    }
}

/// What a worker is started with.
pub(crate) struct WorkerConfig {
    /// Its number, from 0.
    pub(crate) number: usize,
    /// The process's clock.
    pub(crate) clock: Clock,
    /// What it waits with.
    pub(crate) poll: Poll,
    /// Its share of admission.
    pub(crate) admission: Admission,
    /// What each turn works with.
    pub(crate) published: Arc<ArcSwap<Snapshot>>,
    /// Who opens files for it.
    pub(crate) store: Arc<Store>,
    /// What the loader answers.
    pub(crate) answers: Receiver<Answer>,
    /// Where finished transfers are told.
    pub(crate) records: Arc<RecordSink>,
    /// Where its figures go.
    pub(crate) stats: Arc<WorkerStats>,
    /// What control wants of it.
    pub(crate) orders: Arc<Orders>,
}

/// One worker.
pub(crate) struct Worker {
    number: usize,
    clock: Clock,
    poll: Poll,
    events: Events,
    services: Services,
    admission: Admission,
    /// Asks phones who uses them, for every protocol.
    snmp: SnmpClient,
    published: Cache<Arc<ArcSwap<Snapshot>>, Arc<Snapshot>>,
    /// The published snapshot with a policy of our own: regular expressions that several threads
    /// share would make them meet at a lock.
    snapshot: Snapshot,
    adopted: Arc<Policy>,
    store: Arc<Store>,
    answers: Receiver<Answer>,
    records: Arc<RecordSink>,
    stats: Arc<WorkerStats>,
    recorder: StatsRecorder,
    orders: Arc<Orders>,
}

impl Worker {
    /// A worker that serves what comes to these sockets.
    ///
    /// # Errors
    /// When the system does not let it wait for a socket.
    pub(crate) fn new(config: WorkerConfig, sockets: Sockets) -> io::Result<Self> {
        Ok(Worker {
            number: config.number,
            clock: config.clock,
            services: Services::start(sockets, config.poll.registry())?,
            poll: config.poll,
            events: Events::with_capacity(EVENTS_MAX),
            admission: config.admission,
            snmp: SnmpClient::default(),
            published: Cache::new(config.published),
            snapshot: Snapshot::default(),
            adopted: Arc::default(),
            store: config.store,
            answers: config.answers,
            records: config.records,
            recorder: StatsRecorder::new(Arc::clone(&config.stats)).map_err(io::Error::other)?,
            stats: config.stats,
            orders: config.orders,
        })
    }

    /// Turns until it is ordered to stop.
    ///
    /// # Errors
    /// When the kernel does not let it wait for its sockets.
    pub(crate) fn run(mut self) -> io::Result<()> {
        while !self.orders.stop.load(Relaxed) {
            self.turn()?;
        }
        let now = self.clock.now();
        self.abandon(now);
        Ok(())
    }

    fn turn(&mut self) -> io::Result<()> {
        let wait = self.wait(self.clock.now());
        match self.poll.poll(&mut self.events, Some(wait)) {
            Err(fault) if fault.kind() != io::ErrorKind::Interrupted => return Err(fault),
            Ok(()) | Err(_) => {}
        }
        let now = self.clock.now();
        self.events.iter().for_each(|event| self.services.note(event));
        self.adopt();
        let stats = Arc::clone(&self.stats);
        let mut turn = TurnContext {
            snapshot: &self.snapshot,
            admission: &mut self.admission,
            snmp: &mut self.snmp,
            counters: &stats.counters,
            now,
            unix_s: self.clock.unix_s(),
        };
        if self.orders.drain.load(Relaxed) {
            self.services.each().for_each(|service| service.drain(&mut turn));
        }
        self.services.each().for_each(|service| service.receive(&mut turn));
        for answer in self.answers.try_iter().take(ANSWERS_MAX) {
            self.services.owner_of(answer.ticket().owner).handle_answer(answer, &mut turn);
        }
        deal_slots(&mut self.services, &mut turn);
        self.services.each().for_each(|service| service.handle_timeout(&mut turn));
        deal_identities(&mut self.services, &mut turn);
        self.services.each().for_each(|service| service.send(&mut turn));
        for service in self.services.each() {
            service.forward_requests(&self.store, self.number, &mut turn);
        }
        self.tell(now);
        Ok(())
    }

    /// How long to wait for news at `now`.
    fn wait(&self, now: Instant) -> Wait {
        if !self.answers.is_empty() || self.services.iter().any(Service::is_busy) {
            return Wait::ZERO;
        }
        let timers = self.services.iter().filter_map(Service::poll_timeout);
        let shared = [self.admission.slots.poll_timeout(), self.snmp.poll_timeout()];
        let due = timers.chain(shared.into_iter().flatten()).min();
        let is_blocked = self.services.iter().any(Service::is_blocked);
        let most = if is_blocked { BLOCKED_WAIT } else { WAIT_MAX };
        due.map_or(most, |at| at.since(now).min(most))
    }

    /// Takes a newly published snapshot, from this turn on.
    fn adopt(&mut self) {
        let published = self.published.load();
        if !Arc::ptr_eq(&self.snapshot.catalog, &published.catalog) {
            self.snapshot.catalog = Arc::clone(&published.catalog);
        }
        if !Arc::ptr_eq(&self.adopted, &published.policy) {
            self.adopted = Arc::clone(&published.policy);
            self.snapshot.policy = Arc::new(Policy::clone(&published.policy));
            self.admission.rate_limits = Arc::clone(&published.policy.rate_limits);
            self.admission.slots.adopt(&published.policy.slots);
            self.services.each().for_each(|service| service.adopt(&published.policy));
        }
    }

    /// Hands records to the log and figures to whoever looks.
    fn tell(&mut self, woke: Instant) {
        let counters = &self.stats.counters;
        for service in self.services.each() {
            service.report(&mut self.recorder, &self.records);
            service.show_stats(counters);
        }
        let transfers_open: usize = self.services.iter().map(Service::transfers_open).sum();
        counters.transfers_open.set(transfers_open as u64);
        counters.slots_used.set(self.admission.slots.used_here() as u64);
        counters.queue_waiting.set(self.admission.slots.waiting() as u64);
        self.recorder.turn_ended(woke, self.clock.now());
    }

    /// Ends what still runs and tells each phone, so that it does not wait in vain.
    fn abandon(&mut self, now: Instant) {
        let stats = Arc::clone(&self.stats);
        let mut turn = TurnContext {
            snapshot: &self.snapshot,
            admission: &mut self.admission,
            snmp: &mut self.snmp,
            counters: &stats.counters,
            now,
            unix_s: self.clock.unix_s(),
        };
        self.services.each().for_each(|service| service.abandon(&mut turn));
        self.tell(now);
    }
}

/// Tells those who waited for a session slot that they have one, or waited in vain.
fn deal_slots(services: &mut Services, turn: &mut TurnContext<'_>) {
    while let Some(ticket) = turn.admission.slots.poll_expired(turn.now) {
        services.owner_of(ticket.owner).handle_expired(ticket, turn);
    }
    while let Some(ticket) = turn.admission.slots.poll_granted(turn.now) {
        services.owner_of(ticket.owner).handle_granted(ticket, turn);
    }
}

/// Tells everybody what phones have said of themselves meanwhile.
fn deal_identities(services: &mut Services, turn: &mut TurnContext<'_>) {
    while let Some((phone, identity)) = turn.snmp.poll_answer() {
        services.each().for_each(|service| service.handle_identity(phone, &identity, turn));
    }
}

#[cfg(test)]
impl Clock {
    /// A clock that has been running for so long.
    pub(crate) fn start_earlier(ago: wire::time::Duration) -> Self {
        Clock(std::time::Instant::now().checked_sub(ago).unwrap_or_else(std::time::Instant::now))
    }
}
