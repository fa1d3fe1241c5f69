//! Who may be served, and how many at a time.
//!
//! Decides only. One [`Admission`] belongs to one worker; a phone always meets the same worker,
//! because the kernel is told to choose by the client's address.

pub mod access;
pub mod budget;
#[doc(hidden)]
pub mod model;
pub mod pace;
mod queue;
pub mod slots;

use std::net::IpAddr;
use std::sync::Arc;

use budget::Budget;
use pace::Paces;
use slots::{SharedSlots, Slots};

/// One worker's share of admission.
#[derive(Debug)]
pub struct Admission {
    /// Which clients hold a session slot, and who waits for one.
    pub slots: Slots,
    /// Sends to peers that have not answered yet, by subnet.
    pub budget: Budget,
    /// Caps on bytes per second, shared by all workers.
    pub paces: Arc<Paces>,
}

impl Admission {
    /// A fresh share for worker number `worker`.
    #[must_use]
    pub fn new(worker: usize, shared: Arc<SharedSlots>, paces: Arc<Paces>) -> Self {
        Admission { slots: Slots::new(worker, shared), budget: Budget::default(), paces }
    }
}

/// An address as one number: IPv4 is written as IPv4-mapped IPv6, so that both spellings of one
/// client are the same client.
fn address_bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

/// Whether [`address_bits`] came from an IPv4 address.
fn is_ipv4(bits: u128) -> bool {
    bits >> 32 == 0xffff
}
