//! What may wait: threads that scan, watch, read, hash and write, so that the data path never does.
//!
//! Asked by the values of the crate `engine` and answering with them; decides nothing about who gets
//! what.

pub mod content;
mod durable;
pub mod files;
mod rate_limited_log;
pub mod vault;
mod version;
