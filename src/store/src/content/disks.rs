//! Disks that hang: limits the threads that wait for one disk, and the time that a request waits.
//!
//! A request to a disk that does not answer fails in time; a late answer is kept for the next
//! request.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError};
use parking_lot::{Mutex, MutexGuard};

use super::blob::BlobExt as _;
use super::load::read_part;
use super::loader::{Job, Loader, OtherRequests, Waiting};
use super::memory::Key;
use crate::offload;
use engine::catalog::OpenError;
use engine::requests::{StoreReply, StoreRequest};
use engine::ticket::Ticket;

/// Interval between two checks whether the disks answer.
const DISK_CHECK: Duration = Duration::from_millis(500);
/// Threads beyond the configured ones, one for each disk that hangs: so many may hang at once.
const SPARE_THREADS_MAX: usize = 16;
/// Interval between two log messages about disks that do not answer.
const TELL_EVERY: Duration = Duration::from_secs(60);

/// The queues of the disks, by device number. `J` is a job for one disk.
#[derive(Debug)]
pub(super) struct Gates<J> {
    threads_max: usize,
    waiting_max: usize,
    gates: Mutex<HashMap<u64, Gate<J>>>,
}

#[derive(Debug)]
struct Gate<J> {
    /// Threads at the disk.
    inside: usize,
    /// The jobs that they do next.
    waiting: VecDeque<J>,
}

impl<J> Gates<J> {
    /// Limits the threads at one disk, and the jobs that wait for them.
    pub(super) fn new(threads_max: usize, waiting_max: usize) -> Self {
        Gates { threads_max, waiting_max, gates: Mutex::default() }
    }

    /// Returns the job if the thread may do it; otherwise queues it for a thread that is at the
    /// disk already. The caller that gets the job calls [`Gates::leave`] when it is done.
    ///
    /// # Errors
    /// Returns the job if too many wait.
    pub(super) fn enter(&self, device: u64, job: J) -> Result<Option<J>, J> {
        let mut gates = self.lock();
        let gate =
            gates.entry(device).or_insert_with(|| Gate { inside: 0, waiting: VecDeque::new() });
        if gate.inside < self.threads_max {
            gate.inside += 1;
            Ok(Some(job))
        } else if gate.waiting.len() < self.waiting_max {
            gate.waiting.push_back(job);
            Ok(None)
        } else {
            Err(job)
        }
    }

    /// Finishes a job and returns the next one for the same thread, or `None` if the thread leaves.
    pub(super) fn leave(&self, device: u64) -> Option<J> {
        let mut gates = self.lock();
        let gate = gates.get_mut(&device)?;
        let next = gate.waiting.pop_front();
        if next.is_none() {
            gate.inside -= 1;
            if gate.inside == 0 {
                gates.remove(&device);
            }
        }
        next
    }

    /// Removes the waiting jobs that are cancelled.
    pub(super) fn take_if(&self, is_over: impl Fn(&J) -> bool) -> Vec<J> {
        let mut over = Vec::new();
        for gate in self.lock().values_mut() {
            let (gone, stay) = std::mem::take(&mut gate.waiting).into_iter().partition(&is_over);
            gate.waiting = stay;
            let mut gone: VecDeque<J> = gone;
            over.extend(gone.drain(..));
        }
        over
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Gate<J>>> {
        self.gates.lock()
    }
}

impl Loader {
    /// Does a job if the disk has a thread to spare; otherwise leaves it to a thread at the disk.
    pub(super) fn at_disk(&self, device: u64, job: Job) {
        let mut next = match self.gates.enter(device, job) {
            Ok(next) => next,
            Err(Job::Load(load)) => return self.finish(&load, &Err(OpenError::Busy)),
            Err(Job::Request(worker, request)) => {
                return self.give_up(worker, request.ticket(), &request);
            }
        };
        while let Some(job) = next {
            match job {
                Job::Load(load) => self.load(load),
                Job::Request(worker, request) => self.execute(worker, request),
            }
            next = self.gates.leave(device);
        }
    }

    fn execute(&self, worker: usize, request: StoreRequest) {
        let ticket = request.ticket();
        let reply = match request {
            StoreRequest::Verify { blob, .. } => {
                StoreReply::Verified { ticket, unchanged: blob.verify() }
            }
            StoreRequest::Read { blob, offset, bytes, buffer, .. } => {
                StoreReply::Read { ticket, result: read_part(&blob, offset, bytes, buffer) }
            }
            // No other request reaches a disk by this path.
            StoreRequest::Open { .. }
            | StoreRequest::Upload { .. }
            | StoreRequest::Store { .. }
            | StoreRequest::Delete { .. }
            | StoreRequest::Vault { .. }
            | StoreRequest::Files { .. }
            | StoreRequest::Login { .. } => return,
        };
        if self.pending.lock().remove(&(worker, ticket)).is_some() {
            self.workers.reply(worker, reply);
        }
    }

    /// Answers for a disk that does not answer.
    fn give_up(&self, worker: usize, ticket: Ticket, request: &StoreRequest) {
        self.pending.lock().remove(&(worker, ticket));
        let is_read = matches!(request, StoreRequest::Read { .. });
        self.workers.reply(worker, given_up(ticket, is_read));
    }

    /// Supervises disks that do not answer: requests fail in time, and other disks get a spare
    /// thread. Ends when its channel closes.
    pub(super) fn watch_disks(
        self: &Arc<Self>,
        end: &Receiver<()>,
        requests: &Receiver<(usize, StoreRequest)>,
        others: &OtherRequests,
    ) {
        let (mut spares, mut told_at) = (0, None::<Instant>);
        while end.recv_timeout(DISK_CHECK) == Err(RecvTimeoutError::Timeout) {
            let over = self.give_up_late();
            if over > 0 && told_at.is_none_or(|at| at.elapsed() >= TELL_EVERY) {
                told_at = Some(Instant::now());
                let wait = self.config.disk_wait.as_secs_f32();
                tracing::error!("a disk has not answered for {wait} s: phones are told so");
            }
            if self.idle.load(Relaxed) == 0 && spares < SPARE_THREADS_MAX && self.is_waiting() {
                let (loader, requests) = (Arc::clone(self), Receiver::clone(requests));
                let others = Arc::clone(others);
                let name = format!("loader-spare-{spares}");
                let spare = offload::spawn(name, move || loader.run(&requests, &others));
                spares += usize::from(spare.is_ok());
            }
        }
    }

    /// Returns whether a file has been waited for since the last check.
    fn is_waiting(&self) -> bool {
        let waits = self.waiting.lock().values().any(|one| one.since.elapsed() > DISK_CHECK);
        waits || self.pending.lock().values().any(|(since, _)| since.elapsed() > DISK_CHECK)
    }

    /// Answers the requests that have waited for a disk for too long, and returns their number.
    fn give_up_late(&self) -> usize {
        let is_late = |since: &Instant| since.elapsed() > self.config.disk_wait;
        let mut waiting = self.waiting.lock();
        let late: Vec<Key> =
            waiting.iter().filter(|(_, one)| is_late(&one.since)).map(|(key, _)| *key).collect();
        let late: Vec<Waiting> = late.iter().filter_map(|key| waiting.remove(key)).collect();
        drop(waiting);
        let mut over = 0;
        for waiting in late {
            over += waiting.who.len();
            // Counted first, so that the requester finds the answer in the counter.
            self.disk_timeouts.fetch_add(waiting.who.len() as u64, Relaxed);
            self.tell(waiting, &Err(OpenError::Unavailable));
        }
        let mut pending = self.pending.lock();
        let late: Vec<_> = pending.iter().filter(|(_, (since, _))| is_late(since)).collect();
        let late: Vec<_> = late.into_iter().map(|(who, (_, is_read))| (*who, *is_read)).collect();
        pending.retain(|who, _| late.iter().all(|(late, _)| late != who));
        drop(pending);
        self.disk_timeouts.fetch_add(late.len() as u64, Relaxed);
        for ((worker, ticket), is_read) in &late {
            self.workers.reply(*worker, given_up(*ticket, *is_read));
        }
        // Requests without a requester are dropped.
        let pending = self.pending.lock();
        let is_over = |job: &Job| match job {
            Job::Load(load) => is_late(&load.asked_at),
            Job::Request(worker, request) => !pending.contains_key(&(*worker, request.ticket())),
        };
        drop(self.gates.take_if(is_over));
        over + late.len()
    }
}

/// The answer that replaces a missing one.
fn given_up(ticket: Ticket, is_read: bool) -> StoreReply {
    match is_read {
        true => StoreReply::Read { ticket, result: Err(OpenError::Unavailable) },
        false => StoreReply::Verified { ticket, unchanged: false },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_threads_than_may_are_at_one_disk_and_every_job_is_done() {
        let gates = Gates::new(2, 3);
        assert_eq!((gates.enter(1, 'a'), gates.enter(1, 'b')), (Ok(Some('a')), Ok(Some('b'))));
        assert_eq!(gates.enter(2, 'x'), Ok(Some('x')), "another disk");
        for job in ['c', 'd', 'e'] {
            assert_eq!(gates.enter(1, job), Ok(None));
        }
        assert_eq!(gates.enter(1, 'f'), Err('f'), "too many wait");
        assert_eq!(gates.take_if(|job| *job == 'd'), ['d']);
        assert_eq!(gates.leave(1), Some('c'));
        assert_eq!(gates.leave(1), Some('e'));
        assert_eq!((gates.leave(1), gates.leave(1)), (None, None));
        assert_eq!(gates.enter(1, 'g'), Ok(Some('g')));
    }
}
