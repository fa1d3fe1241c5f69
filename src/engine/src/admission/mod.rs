//! Who may be served, and how many at a time.
//!
//! Decides only. Each worker has one [`Admission`]. A phone always meets the same worker, because
//! the kernel chooses the worker by the client's address.

pub mod access;
mod bloom;
pub mod booting;
mod boots;
pub mod budget;
pub mod guesses;
mod kept_ranks;
#[cfg(any(test, feature = "model"))]
#[doc(hidden)]
pub mod model;
pub mod order;
mod queue;
pub mod rate_limit;
mod served;
pub mod sessions;
pub mod slots;
#[cfg(test)]
mod storm;
pub mod strangers;

use std::sync::Arc;

use booting::Booting;
use budget::Budget;
use guesses::Guesses;
use rate_limit::RateLimits;
use slots::{SharedSlots, Slots};

/// One worker's share of admission.
#[derive(Debug)]
pub struct Admission {
    /// The clients that hold a session slot, and those that wait for one.
    pub slots: Slots,
    /// The phones that boot: who is back, and who is not.
    pub booting: Booting,
    /// Sends to peers that have not answered yet, by subnet.
    pub budget: Budget,
    /// Requests for names that do not exist.
    pub guesses: Guesses,
    /// Caps on bytes per second, shared by all workers.
    pub rate_limits: Arc<RateLimits>,
}

impl Admission {
    /// Makes the share of worker number `worker`.
    #[must_use]
    pub fn new(worker: usize, shared: Arc<SharedSlots>, rate_limits: Arc<RateLimits>) -> Self {
        Admission {
            slots: Slots::new(worker, shared),
            booting: Booting::default(),
            budget: Budget::default(),
            guesses: Guesses::default(),
            rate_limits,
        }
    }
}
