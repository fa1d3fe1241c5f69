//! The data path's threads: a loop per worker, each with its own sockets, transfers and timers.
//!
//! A turn: wait, drain the sockets, run the machines, fire the timers, send. It waits only for the
//! kernel's events, and shares only snapshots and channels. It knows no protocol: `services.rs`
//! lists them, `service.rs` defines the phases of a turn.

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
use engine::requests::StoreReply;
use engine::session::TurnContext;
use engine::session::snmp::SnmpClient;
use service::Service;
use services::{Services, Sockets};
use stats::{RecordSink, StatsRecorder, WorkerStats};
use store::Store;
use wire::time::{Duration, Instant};

/// The token by which other threads wake a worker.
pub(crate) const WAKE: Token = Token(usize::MAX);
/// How often the ages of waiting requests are counted.
const AGES_EVERY: Duration = Duration::from_millis(250);
/// Longest wait: the watchdog and the histograms need a turn now and then.
const WAIT_MAX: Wait = Wait::from_millis(500);
/// Most events taken from the kernel in one turn: more sockets than a worker ever has.
const EVENTS_MAX: usize = 1_024;
/// The pause before a blocked send is tried again.
const BLOCKED_WAIT: Wait = Wait::from_millis(1);
/// Most answers of the loader handled in one turn.
const REPLIES_MAX: usize = 4_096;

/// The only clock: real time as moments since it was made. All threads of a process share one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock(std::time::Instant);

impl Clock {
    /// Starts a clock.
    #[must_use]
    pub(crate) fn start() -> Self {
        Clock(std::time::Instant::now())
    }

    /// Returns the moment that all others count from.
    #[must_use]
    pub(crate) fn origin(self) -> std::time::Instant {
        self.0
    }

    /// Returns the time in seconds since 1970.
    #[must_use]
    pub(crate) fn unix_s(self) -> u64 {
        std::time::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_secs())
    }

    /// Returns the present moment.
    #[must_use]
    pub(crate) fn now(self) -> Instant {
        Instant::START + self.0.elapsed()
    }
}

/// The daemon's orders to the workers.
#[derive(Debug, Default)]
pub(crate) struct Orders {
    /// Refuse new transfers.
    drain: AtomicBool,
    /// End running transfers, and the thread.
    stop: AtomicBool,
}

impl Orders {
    /// Orders the workers to refuse new transfers.
    pub(crate) fn drain(&self) {
        self.drain.store(true, Relaxed);
    }

    /// Orders the workers to end running transfers, and their threads.
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
    /// Its event queue.
    pub(crate) poll: Poll,
    /// Its share of admission.
    pub(crate) admission: Admission,
    /// The snapshot for each turn.
    pub(crate) published: Arc<ArcSwap<Snapshot>>,
    /// Reads files for it.
    pub(crate) store: Arc<Store>,
    /// The store's answers.
    pub(crate) store_replies: Receiver<StoreReply>,
    /// Receives the records of finished transfers.
    pub(crate) records: Arc<RecordSink>,
    /// Its counters.
    pub(crate) stats: Arc<WorkerStats>,
    /// The daemon's orders.
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
    /// The published snapshot with its own copy of the policy: threads that share regular
    /// expressions contend for a lock.
    snapshot: Snapshot,
    adopted: Arc<Policy>,
    store: Arc<Store>,
    store_replies: Receiver<StoreReply>,
    records: Arc<RecordSink>,
    stats: Arc<WorkerStats>,
    recorder: StatsRecorder,
    orders: Arc<Orders>,
    ages_told_at: Instant,
}

impl Worker {
    /// Creates a worker for these sockets.
    ///
    /// # Errors The system's error if a socket cannot be polled.
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
            store_replies: config.store_replies,
            records: config.records,
            recorder: StatsRecorder::new(Arc::clone(&config.stats)).map_err(io::Error::other)?,
            stats: config.stats,
            orders: config.orders,
            ages_told_at: Instant::START,
        })
    }

    /// Runs turns until it is ordered to stop.
    ///
    /// # Errors The kernel's error if the sockets cannot be polled.
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
        for reply in self.store_replies.try_iter().take(REPLIES_MAX) {
            self.services.owner_of(reply.ticket().owner).handle_store_reply(reply, &mut turn);
        }
        notify_slots(&mut self.services, &mut turn);
        self.services.each().for_each(|service| service.handle_timeout(&mut turn));
        notify_identities(&mut self.services, &mut turn);
        self.services.each().for_each(|service| service.send(&mut turn));
        for service in self.services.each() {
            service.forward_requests(&self.store, self.number, &mut turn);
        }
        self.tell(now);
        Ok(())
    }

    /// Returns how long to wait for events at `now`.
    fn wait(&self, now: Instant) -> Wait {
        if !self.store_replies.is_empty() || self.services.iter().any(Service::is_busy) {
            return Wait::ZERO;
        }
        let timers = self.services.iter().filter_map(Service::poll_timeout);
        let shared = [self.admission.slots.poll_timeout(), self.snmp.poll_timeout()];
        let due = timers.chain(shared.into_iter().flatten()).min();
        let is_blocked = self.services.iter().any(Service::is_blocked);
        let most = if is_blocked { BLOCKED_WAIT } else { WAIT_MAX };
        due.map_or(most, |at| at.since(now).min(most))
    }

    /// Applies a newly published snapshot from this turn on.
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
            let workers = self.admission.slots.workers();
            self.services.each().for_each(|service| service.adopt(&published.policy, workers));
        }
    }

    /// Passes records to the log and publishes the counters.
    fn tell(&mut self, woke: Instant) {
        let counters = &self.stats.counters;
        for service in self.services.each() {
            service.report(&mut self.recorder, &self.records);
            service.show_stats(counters);
        }
        let transfers_open: usize = self.services.iter().map(Service::transfers_open).sum();
        counters.transfers_open.set(transfers_open as u64);
        counters.slots_used.set(self.admission.slots.used_here() as u64);
        counters.slots_lent.set(self.admission.slots.lent_here() as u64);
        counters.queue_waiting.set(self.admission.slots.waiting() as u64);
        if woke.since(self.ages_told_at) >= AGES_EVERY {
            self.ages_told_at = woke;
            let mut older = self.admission.slots.waiting_by_age(woke);
            (1..older.len() - 1).rev().for_each(|group| older[group] += older[group + 1]);
            counters.queue_waiting_over_1s.set(older[1] as u64);
            counters.queue_waiting_over_5s.set(older[2] as u64);
            counters.queue_waiting_over_30s.set(older[3] as u64);
        }
        let order_waiting: usize = self.services.iter().map(Service::answers_waiting).sum();
        counters.order_waiting.set(order_waiting as u64);
        counters.phones_waiting.set((order_waiting + self.admission.slots.waiting()) as u64);
        self.recorder.boots(&mut self.admission.booting, woke);
        self.recorder.turn_ended(woke, self.clock.now());
    }

    /// Ends running transfers and notifies each phone, so that it does not wait in vain.
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

/// Notifies the requests that were granted a session slot, or waited in vain.
fn notify_slots(services: &mut Services, turn: &mut TurnContext<'_>) {
    while let Some(ticket) = turn.admission.slots.poll_expired(turn.now) {
        services.owner_of(ticket.owner).handle_expired(ticket, turn);
    }
    while let Some(ticket) = turn.admission.slots.poll_granted(turn.now) {
        services.owner_of(ticket.owner).handle_granted(ticket, turn);
    }
}

/// Passes the phones' answers about their users to every service.
fn notify_identities(services: &mut Services, turn: &mut TurnContext<'_>) {
    while let Some((phone, identity)) = turn.snmp.poll_answer() {
        services.each().for_each(|service| service.handle_identity(phone, &identity, turn));
    }
}

#[cfg(test)]
impl Clock {
    /// Creates a clock that has been running for so long.
    pub(crate) fn start_earlier(ago: wire::time::Duration) -> Self {
        Clock(std::time::Instant::now().checked_sub(ago).unwrap_or_else(std::time::Instant::now))
    }
}
