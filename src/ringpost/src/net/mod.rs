//! The data path's threads: a loop per worker, each with sockets, transfers and timers of its own.
//!
//! A turn: wait, drain the sockets, run the machines, fire the timers, send. It never waits for
//! anything but the kernel's news, and shares nothing but snapshots and channels.

pub mod ftp;
pub mod listener;
pub mod stats;
pub mod stream;
pub mod tftp;
pub mod tls;

use std::io;
use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration as Wait;

use arc_swap::{ArcSwap, Cache};
use crossbeam_channel::Receiver;
use mio::{Events, Poll, Token};

use engine::admission::Admission;
use engine::catalog::Answer;
use engine::session::http::limits::StreamLimits;
use engine::session::snapshot::{Policy, Snapshot};
use engine::session::ticket::TicketOwner;
use engine::session::{Turn, ftp as ftp_machine, http, tftp as tftp_machine};
use ftp::Ftp;
use stats::{RecordSink, StatsRecorder, WorkerStats};
use store::Store;
use stream::orphans::SocketTerms;
use stream::{StreamListener, Streams, TOKENS_MAX};
use tftp::Datagrams;
use wire::time::Instant;

/// The token by which other threads wake a worker.
pub const WAKE: Token = Token(usize::MAX);
/// The first token of HTTP's sockets; those of datagrams are below.
const HTTP_TOKENS: usize = TOKENS_MAX;
/// The first token of FTP's.
const FTP_TOKENS: usize = 2 * TOKENS_MAX;
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
pub struct Clock(std::time::Instant);

impl Clock {
    /// A clock that starts now.
    #[must_use]
    pub fn start() -> Self {
        Clock(std::time::Instant::now())
    }

    /// The moment that all others count from.
    #[must_use]
    pub fn origin(self) -> std::time::Instant {
        self.0
    }

    /// What the calendar says, in seconds since 1970.
    #[must_use]
    pub fn unix_s(self) -> u64 {
        std::time::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_secs())
    }

    /// The moment now.
    #[must_use]
    pub fn now(self) -> Instant {
        Instant::START + self.0.elapsed()
    }
}

/// What control wants of the workers.
#[derive(Debug, Default)]
pub struct Orders {
    /// No new transfers.
    drain: AtomicBool,
    /// End what runs, and the thread.
    stop: AtomicBool,
}

impl Orders {
    /// No new transfer begins.
    pub fn drain(&self) {
        self.drain.store(true, Relaxed);
    }

    /// What runs is ended, and the threads too.
    pub fn stop(&self) {
        self.stop.store(true, Relaxed);
    }
}

/// What a worker is started with.
pub struct WorkerConfig {
    /// Its number, from 0.
    pub number: usize,
    /// The process's clock.
    pub clock: Clock,
    /// What it waits with.
    pub poll: Poll,
    /// Its share of admission.
    pub admission: Admission,
    /// What each turn works with.
    pub published: Arc<ArcSwap<Snapshot>>,
    /// Who opens files for it.
    pub loader: Arc<Store>,
    /// What the loader answers.
    pub answers: Receiver<Answer>,
    /// Where finished transfers are told.
    pub records: Arc<RecordSink>,
    /// Where its figures go.
    pub stats: Arc<WorkerStats>,
    /// What control wants of it.
    pub orders: Arc<Orders>,
}

/// One worker.
pub struct Worker {
    number: usize,
    clock: Clock,
    poll: Poll,
    events: Events,
    datagrams: Datagrams,
    http: Streams<http::Engine>,
    ftp: Ftp,
    admission: Admission,
    published: Cache<Arc<ArcSwap<Snapshot>>, Arc<Snapshot>>,
    /// The published snapshot with a policy of our own: regular expressions that several threads
    /// share would make them meet at a lock.
    snapshot: Snapshot,
    adopted: Arc<Policy>,
    loader: Arc<Store>,
    answers: Receiver<Answer>,
    records: Arc<RecordSink>,
    stats: Arc<WorkerStats>,
    recorder: StatsRecorder,
    orders: Arc<Orders>,
}

impl Worker {
    /// A worker for these listeners: for datagrams, each a socket for requests and those that
    /// answer; and for connections.
    ///
    /// # Errors
    /// When the kernel does not let it wait for a socket.
    pub fn new(
        config: WorkerConfig,
        listeners: Vec<(UdpSocket, Vec<UdpSocket>)>,
        streams: Vec<StreamListener>,
        ftp: Vec<StreamListener>,
    ) -> io::Result<Self> {
        let registry = config.poll.registry().try_clone()?;
        let ftp = Ftp::new(FTP_TOKENS, ftp, config.poll.registry().try_clone()?)?;
        let mut datagrams = Datagrams::new(0);
        for (listener, pool) in listeners {
            datagrams.listen(listener, pool, config.poll.registry())?;
        }
        Ok(Worker {
            number: config.number,
            clock: config.clock,
            poll: config.poll,
            events: Events::with_capacity(EVENTS_MAX),
            datagrams,
            http: Streams::new(http::Engine::default(), HTTP_TOKENS, streams, registry)?,
            ftp,
            admission: config.admission,
            published: Cache::new(config.published),
            snapshot: Snapshot::default(),
            adopted: Arc::default(),
            loader: config.loader,
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
    pub fn run(mut self) -> io::Result<()> {
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
        for event in self.events.iter().filter(|event| event.token() != WAKE) {
            match event.token() {
                token if self.http.owns(token) => self.http.note(event),
                token if self.ftp.owns(token) => self.ftp.note(event),
                token => self.datagrams.note_readable(token.0),
            }
        }
        self.adopt();
        let stats = Arc::clone(&self.stats);
        let mut turn = Turn {
            snapshot: &self.snapshot,
            admission: &mut self.admission,
            counters: &stats.counters,
            now,
            unix_s: self.clock.unix_s(),
        };
        if self.orders.drain.load(Relaxed) {
            self.datagrams.engine.stop();
            self.http.engine.stop();
            self.ftp.streams.engine.stop(&mut turn);
        }
        self.datagrams.receive(&mut turn);
        self.http.receive(&mut turn);
        self.ftp.receive(&mut turn);
        let (transfers, connections) = (&mut self.datagrams.engine, &mut self.http.engine);
        let sessions = &mut self.ftp.streams.engine;
        for answer in self.answers.try_iter().take(ANSWERS_MAX) {
            match answer.ticket().owner {
                TicketOwner::Tftp => transfers.handle_answer(answer, &mut turn),
                TicketOwner::Http => connections.handle_answer(answer, &mut turn),
                TicketOwner::Ftp => sessions.handle_answer(answer, &mut turn),
            }
        }
        deal_slots(transfers, connections, sessions, &mut turn);
        transfers.handle_timeout(&mut turn);
        connections.handle_timeout(&mut turn);
        sessions.handle_timeout(&mut turn);
        sessions.handle_passports(&mut turn);
        self.datagrams.send(&mut turn);
        self.http.send(&mut turn);
        self.ftp.send(&mut turn);
        let (transfers, connections) = (&mut self.datagrams.engine, &mut self.http.engine);
        let sessions = &mut self.ftp.streams.engine;
        while let Some(ask) = transfers.poll_ask() {
            if let Err(refused) = self.loader.ask(self.number, ask) {
                transfers.handle_refused(refused, &mut turn);
            }
        }
        while let Some(ask) = connections.poll_ask() {
            if let Err(refused) = self.loader.ask(self.number, ask) {
                connections.handle_refused(refused, &mut turn);
            }
        }
        while let Some(ask) = sessions.poll_ask() {
            if let Err(refused) = self.loader.ask(self.number, ask) {
                sessions.handle_refused(refused, &mut turn);
            }
        }
        self.tell(now);
        Ok(())
    }

    /// How long to wait for news at `now`.
    fn wait(&self, now: Instant) -> Wait {
        let streams_busy = self.http.is_busy() || self.ftp.is_busy();
        if self.datagrams.is_busy() || streams_busy || !self.answers.is_empty() {
            return Wait::ZERO;
        }
        let timers = [
            self.datagrams.engine.poll_timeout(),
            self.http.poll_timeout(),
            self.ftp.poll_timeout(),
            self.admission.slots.poll_timeout(),
        ];
        let due = timers.into_iter().flatten().min().map_or(WAIT_MAX, |at| at.since(now));
        let most = if self.datagrams.is_blocked() { BLOCKED_WAIT } else { WAIT_MAX };
        due.min(most)
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
            self.datagrams.fit(published.policy.tftp.blksize_max());
            self.http.engine.adopt(&published.policy.http);
            self.http.adopt(socket_terms(&published.policy.http.limits));
            self.ftp.adopt(&published.policy.ftp);
        }
    }

    /// Hands records to the log and figures to whoever looks.
    fn tell(&mut self, woke: Instant) {
        let counters = &self.stats.counters;
        let transfers = std::iter::from_fn(|| self.datagrams.engine.poll_record());
        let requests = std::iter::from_fn(|| self.http.engine.poll_record());
        let sessions = std::iter::from_fn(|| self.ftp.streams.engine.poll_record());
        for record in transfers.chain(requests).chain(sessions) {
            self.recorder.transfer_ended(&record);
            self.records.push(record, counters);
        }
        let sessions = &self.ftp.streams.engine;
        let requests_open = self.http.engine.requests_open() + sessions.transfers_open();
        counters.ftp_sessions_open.set(sessions.sessions_open() as u64);
        counters.ftp_uploads_held_bytes.set(sessions.uploads_held());
        let transfers_open = self.datagrams.engine.transfers_open() + requests_open;
        counters.transfers_open.set(transfers_open as u64);
        counters.stream_open.set(self.http.engine.connections_open() as u64);
        counters.http_bodies_held_bytes.set(self.http.engine.bodies_held());
        counters.transfers_half_open.set(self.datagrams.engine.transfers_half_open() as u64);
        counters.slots_used.set(self.admission.slots.used_here() as u64);
        counters.queue_waiting.set(self.admission.slots.waiting() as u64);
        self.recorder.turn_ended(woke, self.clock.now());
    }

    /// Ends what still runs and tells each phone, so that it does not wait in vain.
    fn abandon(&mut self, now: Instant) {
        let stats = Arc::clone(&self.stats);
        let mut turn = Turn {
            snapshot: &self.snapshot,
            admission: &mut self.admission,
            counters: &stats.counters,
            now,
            unix_s: self.clock.unix_s(),
        };
        self.datagrams.engine.abandon(&mut turn);
        self.datagrams.send_last(&mut turn);
        self.http.engine.abandon(&mut turn);
        self.ftp.streams.engine.abandon(&mut turn);
        self.tell(now);
    }
}

/// Tells those who waited for a session slot that they have one, or waited in vain.
fn deal_slots(
    transfers: &mut tftp_machine::Engine,
    connections: &mut http::Engine,
    sessions: &mut ftp_machine::Engine,
    turn: &mut Turn<'_>,
) {
    while let Some(ticket) = turn.admission.slots.poll_expired(turn.now) {
        match ticket.owner {
            TicketOwner::Tftp => transfers.handle_expired(ticket, turn),
            TicketOwner::Http => connections.handle_expired(ticket, turn),
            TicketOwner::Ftp => sessions.handle_expired(ticket, turn),
        }
    }
    while let Some(ticket) = turn.admission.slots.poll_granted(turn.now) {
        match ticket.owner {
            TicketOwner::Tftp => transfers.handle_granted(ticket, turn),
            TicketOwner::Http => connections.handle_granted(ticket, turn),
            TicketOwner::Ftp => sessions.handle_granted(ticket, turn),
        }
    }
}

/// How the kernel treats connections of HTTP.
fn socket_terms(limits: &StreamLimits) -> SocketTerms {
    SocketTerms {
        silence_max: limits.stall_timeout,
        rate_min: limits.rate_min,
        send_buffer_bytes: limits.send_buffer_bytes,
    }
}

#[cfg(test)]
impl Clock {
    /// A clock that has been running for so long.
    pub(crate) fn start_earlier(ago: wire::time::Duration) -> Self {
        Clock(std::time::Instant::now().checked_sub(ago).unwrap_or_else(std::time::Instant::now))
    }
}
