//! All that may wait: threads that scan, watch, read, hash and write, so that the data path never
//! does.
//!
//! Takes requests as values of the crate `engine`, and answers with them. Imports run one way:
//!
//! ```text
//! store ──► files, vault ──► content ──► durable, offload, replies ──► version, sys
//! ```
//!
//! `store.rs` starts everything. Never decides who gets what.

pub mod content;
pub mod durable;
mod files;
pub mod offload;
mod rate_limited_log;
mod replies;
mod store;
mod sys;
pub mod vault;
mod version;

pub use replies::Replies;
pub use store::{Store, StoreConfig, StoreFigures};
