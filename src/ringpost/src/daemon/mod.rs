//! The process: start, reload, stop, and the threads beside the workers.
//!
//! Hands snapshots to the data path, and never runs in it.

pub mod archive_job;
pub mod banner;
pub mod data_lock;
pub mod descriptors;
pub mod error;
pub mod exit;
pub mod own_directories;
pub mod reload;
pub mod sample;
pub mod serve;
pub mod thread_rehearsal;
pub mod trial;
pub mod workers;
