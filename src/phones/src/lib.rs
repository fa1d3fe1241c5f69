//! Simulated phones, for tests and for ringstorm: [`phone`] has client state machines with the
//! faults of phones in the field, `sim` the networks in which they meet the engine.
//!
//! Never does I/O, never reads a clock.

pub mod phone;
pub mod random;
#[cfg(any(test, feature = "sim"))]
pub mod sim;
