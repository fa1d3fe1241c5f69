//! The threads of the vault: reading threads answer what needs only reading, a few check secrets
//! (`secrets.rs`), and one writes.
//!
//! Secrets have threads of their own, because each takes tens of milliseconds: however many phones
//! log in at once, files are read meanwhile. Decides nothing itself: `auth.rs` decides on rights,
//! `store.rs` on what is durable.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use argon2::Argon2;
use crossbeam_channel::{Receiver, Sender};
use parking_lot::Mutex;

use super::auth::{AuthFigures, Authenticator, Authorization};
use super::directories::Directories;
use super::known_dirs::is_away;
use super::limits::VaultUsage;
use super::secrets::{Flights, NeedsHash, SecretRequest, Waiter};
use super::store::{Job, Outcome, Writer};
use super::write::denied;
use super::{numbered, versions};
use crate::content::catalog_handle::Placed;
use crate::rate_limited_log::RateLimitedLog;
use engine::requests::{StoreReply, StoreRequest};
use engine::ticket::Ticket;
use engine::vault::request::{Login, VaultError, VaultOp, VaultReply, VaultRequest};
use engine::vault::upload::PartOp;
use wire::time::Instant;

/// Most jobs in a batch that is made durable together. Each has three descriptors open meanwhile.
const BATCH_MAX: usize = 256;
/// Most bytes of a batch, without its last job, so that no answer waits long for the others.
const BATCH_BYTES_MAX: usize = 32 << 20;
/// A task for the writer: the worker, its request, and the hash of the secret that is pinned to the
/// extension from then on.
pub(crate) type Task = (usize, StoreRequest, Option<Box<str>>);

/// The queues behind the reading threads. Each thread has its own senders, so that the threads
/// behind it stop once all before them have.
#[derive(Clone)]
pub(crate) struct Queues {
    /// To the writer.
    pub writer: Sender<Task>,
    /// To the threads that check secrets.
    pub secrets: Sender<NeedsHash>,
}

/// The counters of the vault.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VaultFigures {
    /// New versions that are durable.
    pub kept: u64,
    /// Versions given out.
    pub fetched: u64,
    /// Items that were deleted.
    pub forgotten: u64,
    /// Old versions removed.
    pub pruned: u64,
    /// Requests that failed because of the disk.
    pub failed: u64,
    /// How full it is, and what was refused for that.
    pub fill: VaultUsage,
    /// Oldest bytes removed from files that phones append to.
    pub cut_bytes: u64,
    /// Leaps of the clock that stores have shown.
    pub clock_leaps: u64,
    /// Decisions about secrets.
    pub secrets: AuthFigures,
}

/// The state that all threads share.
#[derive(Debug)]
pub(crate) struct Vault {
    pub(super) authenticator: Authenticator,
    directories: Arc<Directories>,
    /// Whether secrets are checked no more.
    pub(super) stopping: AtomicBool,
    log: RateLimitedLog,
    kept: AtomicU64,
    fetched: AtomicU64,
    forgotten: AtomicU64,
    pruned: AtomicU64,
    failed: AtomicU64,
    cut_bytes: AtomicU64,
    fill: Mutex<VaultUsage>,
    pub(super) flights: Mutex<Flights>,
}

impl Vault {
    /// Creates a vault that hashes secrets with these parameters, and keeps to the directories as
    /// they were first found.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub(crate) fn new(argon2: Argon2<'static>, directories: Arc<Directories>) -> io::Result<Self> {
        Ok(Vault {
            authenticator: Authenticator::new(argon2)?,
            directories,
            stopping: AtomicBool::new(false),
            log: RateLimitedLog::default(),
            kept: AtomicU64::new(0),
            fetched: AtomicU64::new(0),
            forgotten: AtomicU64::new(0),
            pruned: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            cut_bytes: AtomicU64::new(0),
            fill: Mutex::default(),
            flights: Mutex::default(),
        })
    }

    /// Returns the counters.
    #[must_use]
    pub(crate) fn figures(&self) -> VaultFigures {
        VaultFigures {
            kept: self.kept.load(Relaxed),
            fetched: self.fetched.load(Relaxed),
            forgotten: self.forgotten.load(Relaxed),
            pruned: self.pruned.load(Relaxed),
            failed: self.failed.load(Relaxed),
            fill: self.fill(),
            cut_bytes: self.cut_bytes.load(Relaxed),
            clock_leaps: numbered::clock_leaps(),
            secrets: self.authenticator.figures(),
        }
    }

    /// Returns how full it is, including requests refused before they reached the writer.
    fn fill(&self) -> VaultUsage {
        let fill = *self.fill.lock();
        VaultUsage { too_much: fill.too_much + self.authenticator.pins_refused(), ..fill }
    }

    /// Answers a request if it can at once; otherwise passes it on.
    pub(crate) fn handle(
        &self,
        worker: usize,
        ticket: Ticket,
        request: Box<VaultRequest>,
        queues: &Queues,
        now: Instant,
    ) -> Option<StoreReply> {
        if let Err(denied) = self.is_in_place(&request) {
            return Some(self.reply(ticket, Err(denied)));
        }
        match self.authenticator.authorize(&request, now) {
            Authorization::Permitted => self.go_on(worker, ticket, request, &queues.writer),
            Authorization::Denied(denied) => Some(self.reply(ticket, Err(denied))),
            Authorization::NeedsHash => {
                let request = SecretRequest::Request(request);
                let refused = queues.secrets.try_send(NeedsHash { worker, ticket, request });
                refused.is_err().then(|| self.reply(ticket, Err(VaultError::Busy)))
            }
        }
    }

    /// Decides about a login, or has its secret checked first.
    pub(crate) fn handle_login(
        &self,
        worker: usize,
        ticket: Ticket,
        login: Box<Login>,
        queues: &Queues,
        now: Instant,
    ) -> Option<StoreReply> {
        let result = match self.authenticator.authorize_login(&login, now) {
            Some(result) => result,
            None => match self.join_flight(Waiter { worker, ticket, login }, queues) {
                true => return None,
                false => Err(VaultError::Busy),
            },
        };
        Some(StoreReply::Login { ticket, result })
    }

    /// Does a permitted request, or passes it to the writer.
    pub(super) fn go_on(
        &self,
        worker: usize,
        ticket: Ticket,
        request: Box<VaultRequest>,
        writer: &Sender<Task>,
    ) -> Option<StoreReply> {
        match request.op {
            VaultOp::Check => Some(self.reply(ticket, Ok(VaultReply::Permitted))),
            VaultOp::Fetch => Some(self.reply(ticket, self.fetch(&request))),
            VaultOp::Keep { .. } | VaultOp::Forget { .. } => {
                let refused =
                    writer.try_send((worker, StoreRequest::Vault { ticket, request }, None));
                refused.is_err().then(|| self.reply(ticket, Err(VaultError::Busy)))
            }
        }
    }

    /// Writes until all senders are gone, in batches of what has arrived meanwhile. Files in place
    /// are published before any answer is sent.
    pub(crate) fn run_writer(
        &self,
        mut writer: Writer,
        tasks: &Receiver<Task>,
        publish: impl Fn(&[Placed]),
        send_reply: impl Fn(usize, StoreReply),
    ) {
        while let Ok(first) = tasks.recv() {
            let mut bytes = 0;
            let more = tasks.try_iter().take(BATCH_MAX - 1);
            let mut all = std::iter::once(first).chain(more);
            let mut batch = Vec::new();
            while bytes < BATCH_BYTES_MAX
                && let Some(task) = all.next()
            {
                bytes += bytes_of(&task);
                if let (worker, StoreRequest::Upload { ticket, directory, op }, _) = task {
                    let result = writer.handle_part(directory, op);
                    send_reply(worker, StoreReply::Upload { ticket, result });
                } else {
                    batch.push(task);
                }
            }
            let jobs: Vec<_> = batch.iter().filter_map(job).collect();
            let outcomes = writer.run(&jobs);
            self.pruned.store(writer.versions_pruned(), Relaxed);
            self.cut_bytes.store(writer.cut_bytes(), Relaxed);
            // A client whose upload is acknowledged can fetch it at once.
            let placed = writer.take_placed();
            if !placed.is_empty() {
                publish(&placed);
            }
            *self.fill.lock() = writer.limits().fill();
            let tasks = batch.iter().filter(|task| job(task).is_some());
            for ((worker, request, secret), outcome) in tasks.zip(outcomes) {
                let ticket = request.ticket();
                if let (StoreRequest::Vault { request, .. }, Some(_), Outcome::Vault(result)) =
                    (request, secret, &outcome)
                {
                    self.authenticator.pinned(request, result.is_ok());
                }
                send_reply(
                    *worker,
                    match outcome {
                        Outcome::Upload(result) => StoreReply::Stored { ticket, result },
                        Outcome::Deleted(result) => StoreReply::Deleted { ticket, result },
                        Outcome::Vault(result) => self.reply(ticket, result),
                    },
                );
            }
        }
    }

    /// Refuses requests while the vault's own directory is away.
    pub(super) fn is_in_place(&self, request: &VaultRequest) -> Result<(), VaultError> {
        let opened = self.directories.known().open(&request.policy.dir);
        opened.map(drop).map_err(|why| self.unreadable(&why, request))
    }

    fn fetch(&self, request: &VaultRequest) -> Result<VaultReply, VaultError> {
        let why = match versions::fetch(&request.policy.dir, &request.item) {
            Ok(Some(blob)) => return Ok(VaultReply::Fetched(blob)),
            Ok(None) => None,
            Err(why) => Some(why),
        };
        // It may be away only since the request was judged.
        self.is_in_place(request)?;
        // A missing vault is not taken for an empty one.
        if why.is_none() && request.policy.dir.is_dir() {
            return Err(VaultError::NotThere);
        }
        let why = why.unwrap_or_else(|| io::ErrorKind::NotFound.into());
        Err(self.unreadable(&why, request))
    }

    fn unreadable(&self, why: &io::Error, request: &VaultRequest) -> VaultError {
        if !is_away(why) {
            self.log.error(why, "read versions in", &request.policy.dir);
        }
        denied(why)
    }

    /// Counts the answer and returns it.
    pub(super) fn reply(
        &self,
        ticket: Ticket,
        result: Result<VaultReply, VaultError>,
    ) -> StoreReply {
        let counter = match &result {
            Ok(VaultReply::Permitted) => None,
            Ok(VaultReply::Kept(_)) => Some(&self.kept),
            Ok(VaultReply::Fetched(_)) => Some(&self.fetched),
            Ok(VaultReply::Forgotten) => Some(&self.forgotten),
            Err(
                VaultError::Full
                | VaultError::TotalMax
                | VaultError::Reserve
                | VaultError::Forbidden
                | VaultError::Unavailable
                | VaultError::Io,
            ) => Some(&self.failed),
            Err(
                VaultError::NotThere
                | VaultError::Unauthorized
                | VaultError::SlowedDown(_)
                | VaultError::TooMuch(_)
                | VaultError::Precondition
                | VaultError::Busy,
            ) => None,
        };
        if let Some(counter) = counter {
            counter.fetch_add(1, Relaxed);
        }
        StoreReply::Vault { ticket, result }
    }
}

/// Returns the bytes that a task makes the writer write.
fn bytes_of((_, request, _): &Task) -> usize {
    match request {
        StoreRequest::Store { upload, .. } => upload.bytes.len(),
        StoreRequest::Vault { request, .. } => match &request.op {
            VaultOp::Keep { bytes, .. } => bytes.len(),
            VaultOp::Check | VaultOp::Fetch | VaultOp::Forget { .. } => 0,
        },
        StoreRequest::Upload { op: PartOp::Write { bytes, .. }, .. } => bytes.len(),
        StoreRequest::Delete { .. }
        | StoreRequest::Upload { op: PartOp::Find { .. } | PartOp::Forget { .. }, .. }
        | StoreRequest::Open { .. }
        | StoreRequest::Verify { .. }
        | StoreRequest::Read { .. }
        | StoreRequest::Files { .. }
        | StoreRequest::Login { .. } => 0,
    }
}

/// Returns the writer's job, or `None` if the request is not for the writer.
fn job((_, request, secret): &Task) -> Option<Job<'_>> {
    match request {
        StoreRequest::Store { upload, .. } => Some(Job::Upload(upload)),
        StoreRequest::Delete { deletion, .. } => Some(Job::Delete(deletion)),
        StoreRequest::Vault { request, .. } => Some(Job::Vault(request, secret.as_deref())),
        StoreRequest::Upload { .. }
        | StoreRequest::Open { .. }
        | StoreRequest::Verify { .. }
        | StoreRequest::Read { .. }
        | StoreRequest::Files { .. }
        | StoreRequest::Login { .. } => None,
    }
}
