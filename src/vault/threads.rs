//! What the threads that may wait do for the vault: those that read answer what can be answered by
//! reading, and one writes.
//!
//! Decides nothing by itself: who may is `auth.rs`, what is durable `store.rs`.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crossbeam_channel::{Receiver, Sender};

use super::deed::{Act, Auth, Deed, Denied, Done};
use super::durable::Complaints;
use super::keep::denied;
use super::store::{Job, Outcome, Writer};
use super::versions;
use crate::content::{Answer, Ask, Ticket};

/// Jobs that are made durable together.
const BATCH_MAX: usize = 64;

/// Something for the writer: the worker that asks, what it asks, and the hash of the secret that
/// holds for the extension from then on.
pub type Task = (usize, Ask, Option<Box<str>>);

/// What the vault has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VaultFigures {
    /// New versions that are durable.
    pub kept: u64,
    /// Versions given out.
    pub fetched: u64,
    /// Items that were forgotten.
    pub forgotten: u64,
    /// Old versions removed.
    pub pruned: u64,
    /// Deeds that the disk did not allow.
    pub failed: u64,
}

/// What all threads share.
#[derive(Debug, Default)]
pub struct Vault {
    complaints: Complaints,
    kept: AtomicU64,
    fetched: AtomicU64,
    forgotten: AtomicU64,
    pruned: AtomicU64,
    failed: AtomicU64,
}

impl Vault {
    /// What was done so far.
    #[must_use]
    pub fn figures(&self) -> VaultFigures {
        VaultFigures {
            kept: self.kept.load(Relaxed),
            fetched: self.fetched.load(Relaxed),
            forgotten: self.forgotten.load(Relaxed),
            pruned: self.pruned.load(Relaxed),
            failed: self.failed.load(Relaxed),
        }
    }

    /// Does a deed, or hands it to the writer; what can be answered at once is.
    pub fn handle(
        &self,
        worker: usize,
        ticket: Ticket,
        deed: Box<Deed>,
        writer: &Sender<Task>,
    ) -> Option<Answer> {
        let permitted = match &deed.policy.auth {
            Auth::Open => true,
            Auth::Certificate => deed.shown.certificate,
            Auth::Users(_) | Auth::Pinned => false,
        };
        if !permitted {
            return Some(self.answer(ticket, Err(Denied::Unauthorized)));
        }
        match deed.act {
            Act::Fetch => Some(self.answer(ticket, self.fetch(&deed))),
            Act::Keep { .. } | Act::Forget { .. } => {
                let refused = writer.try_send((worker, Ask::Vault { ticket, deed }, None));
                refused.is_err().then(|| self.answer(ticket, Err(Denied::Busy)))
            }
        }
    }

    /// Writes until all senders are gone, as much at a time as has come meanwhile.
    pub fn run_writer(
        &self,
        mut writer: Writer,
        tasks: &Receiver<Task>,
        answer: impl Fn(usize, Answer),
    ) {
        while let Ok(first) = tasks.recv() {
            let more = tasks.try_iter().take(BATCH_MAX - 1);
            let batch: Vec<_> = std::iter::once(first).chain(more).collect();
            let jobs: Vec<_> = batch.iter().filter_map(job).collect();
            let outcomes = writer.run(&jobs);
            self.pruned.store(writer.versions_pruned(), Relaxed);
            let asked = batch.iter().filter(|task| job(task).is_some());
            for ((worker, ask, _), outcome) in asked.zip(outcomes) {
                let ticket = ask.ticket();
                answer(
                    *worker,
                    match outcome {
                        Outcome::Upload(result) => Answer::Stored { ticket, result },
                        Outcome::Deed(result) => self.answer(ticket, result),
                    },
                );
            }
        }
    }

    fn fetch(&self, deed: &Deed) -> Result<Done, Denied> {
        match versions::fetch(&deed.policy.dir, &deed.item) {
            Ok(Some(blob)) => Ok(Done::Fetched(blob)),
            Ok(None) => Err(Denied::NotThere),
            Err(why) => {
                self.complaints.tell(&why, "read versions in", &deed.policy.dir);
                Err(denied(&why))
            }
        }
    }

    /// The answer, counted.
    fn answer(&self, ticket: Ticket, result: Result<Done, Denied>) -> Answer {
        let counter = match &result {
            Ok(Done::Kept(_)) => Some(&self.kept),
            Ok(Done::Fetched(_)) => Some(&self.fetched),
            Ok(Done::Forgotten) => Some(&self.forgotten),
            Err(Denied::Full | Denied::Forbidden | Denied::Io) => Some(&self.failed),
            Err(
                Denied::NotThere
                | Denied::Unauthorized
                | Denied::SlowedDown(_)
                | Denied::Precondition
                | Denied::Busy,
            ) => None,
        };
        if let Some(counter) = counter {
            counter.fetch_add(1, Relaxed);
        }
        Answer::Vault { ticket, result }
    }
}

/// What the writer is to do; nothing where it was asked for something that is not its work.
fn job((_, ask, secret): &Task) -> Option<Job<'_>> {
    match ask {
        Ask::Store { upload, .. } => Some(Job::Upload(upload)),
        Ask::Vault { deed, .. } => Some(Job::Deed(deed, secret.as_deref())),
        Ask::Open { .. } | Ask::Verify { .. } | Ask::Read { .. } => None,
    }
}
