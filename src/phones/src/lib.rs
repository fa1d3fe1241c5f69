//! Simulated phones, for tests and for ringstorm: [`phone`] has the machines of clients with the
//! faults of the field, `sim` the networks in which they meet the engine.
//!
//! Never does I/O, never reads a clock.

pub mod phone;
pub mod random;
#[cfg(any(test, feature = "sim"))]
pub mod sim;
