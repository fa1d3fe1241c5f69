//! What is the same whatever phones speak: who gets power when, whose timer is next, what is
//! counted and how that is shown.
//!
//! Knows no protocol: a [`fleet::Driver`] says what a phone does.

pub(crate) mod fleet;
pub(crate) mod report;
pub(crate) mod run;
pub(crate) mod tally;
