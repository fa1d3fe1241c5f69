//! The channels from the threads that may wait back to the workers.
//!
//! Never waits for a worker.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crossbeam_channel::Sender;

use engine::requests::StoreReply;

/// The channel to one worker.
pub struct Replies {
    /// Takes the replies. Unbounded, or wide enough for every request that the worker has open.
    pub sender: Sender<StoreReply>,
    /// Ends the worker's wait after replies were sent.
    pub wake: Box<dyn Fn() + Send + Sync>,
}

/// The channels to all workers, by number.
pub(crate) struct Workers {
    replies: Vec<Replies>,
    answered: AtomicU64,
}

impl Workers {
    pub(crate) fn new(replies: Vec<Replies>) -> Self {
        Workers { replies, answered: AtomicU64::new(0) }
    }

    /// Answers sent so far.
    pub(crate) fn answered(&self) -> u64 {
        self.answered.load(Relaxed)
    }

    /// Answers a worker.
    pub(crate) fn reply(&self, worker: usize, reply: StoreReply) {
        self.reply_all(std::iter::once((worker, reply)));
    }

    /// Sends many replies, and wakes each worker once.
    pub(crate) fn reply_all(&self, replies: impl Iterator<Item = (usize, StoreReply)>) {
        let mut to_wake = vec![false; self.replies.len()];
        for (worker, reply) in replies {
            self.answered.fetch_add(1, Relaxed);
            // A worker that is gone has no requester left.
            let Some(replies) = self.replies.get(worker) else { continue };
            to_wake[worker] |= replies.sender.send(reply).is_ok();
        }
        for (replies, _) in self.replies.iter().zip(to_wake).filter(|(_, wake)| *wake) {
            (replies.wake)();
        }
    }
}
