//! The parts of a run that are the same for every protocol: who gets power when, whose timer is
//! next, and how a run is counted and reported.
//!
//! Knows no protocol: a [`fleet::Driver`] says what a phone does.

pub(crate) mod back;
pub(crate) mod fleet;
pub(crate) mod report;
pub(crate) mod run;
pub(crate) mod tally;
