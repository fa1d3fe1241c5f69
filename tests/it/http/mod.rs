//! HTTP and HTTPS from outside: with common clients, and by hand.

mod endurance;
mod interop;
mod leaving;
pub(crate) mod line;
mod raw;
mod storm;
