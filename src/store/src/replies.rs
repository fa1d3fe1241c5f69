//! The way back from the threads that may wait to the workers that asked.
//!
//! Never waits for a worker.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crossbeam_channel::Sender;

use engine::requests::Answer;

/// How one worker is reached.
pub struct Replies {
    /// Takes the answers. Unbounded, or wide enough for every ask that the worker has open.
    pub sender: Sender<Answer>,
    /// Ends the worker's wait after answers were sent.
    pub wake: Box<dyn Fn() + Send + Sync>,
}

/// How all workers are reached, by number.
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
    pub(crate) fn answer(&self, worker: usize, answer: Answer) {
        self.answer_all(std::iter::once((worker, answer)));
    }

    /// Sends many answers, and wakes each worker once.
    pub(crate) fn answer_all(&self, answers: impl Iterator<Item = (usize, Answer)>) {
        let mut to_wake = vec![false; self.replies.len()];
        for (worker, answer) in answers {
            self.answered.fetch_add(1, Relaxed);
            // A worker that has gone has nobody left who waits for the answer.
            let Some(replies) = self.replies.get(worker) else { continue };
            to_wake[worker] |= replies.sender.send(answer).is_ok();
        }
        for (replies, _) in self.replies.iter().zip(to_wake).filter(|(_, wake)| *wake) {
            (replies.wake)();
        }
    }
}
