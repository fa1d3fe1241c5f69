//! Ringpost: the file server that brings every IP telephone back.
//!
//! A request travels `net`, [`wire`], [`session`], [`content`], `net`; [`policy`] decides who
//! gets what, [`admission`] says how many, [`vault`] keeps what phones store, `control` hands
//! snapshots to the data path and never runs in it. ARCHITECTURE.md has the map and the reasons.

pub mod admission;
pub mod cancel;
pub mod content;
#[cfg(feature = "server")]
pub mod control;
pub mod count;
#[cfg(feature = "server")]
pub mod net;
pub mod phone;
pub mod policy;
pub mod session;
pub mod sim;
pub mod time;
pub mod vault;
pub mod vendor;
pub mod wire;
