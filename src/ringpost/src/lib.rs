//! Ringpost: the file server that brings every IP phone back.
//!
//! A request passes through `net`, [`wire`], [`engine`], `net`; [`store`] does what must wait for a
//! disk; [`daemon`] hands snapshots to the data path and never runs in it. ARCHITECTURE.md has the
//! map and the reasons.

mod admin;
mod certificates;
pub mod cli;
pub mod config;
mod daemon;
pub mod net;
mod observe;
pub mod sys;
