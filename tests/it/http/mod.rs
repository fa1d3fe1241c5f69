//! HTTP and HTTPS met from outside: by the clients that people have, and by hand.

mod endurance;
mod interop;
mod leaving;
pub(crate) mod line;
mod raw;
mod storm;
