//! The process: start, reload, stop, and the threads besides the workers.
//!
//! Hands snapshots to the data path, and never runs in it.

pub(crate) mod archive_job;
pub(crate) mod banner;
pub(crate) mod data_lock;
pub(crate) mod descriptors;
pub(crate) mod error;
pub(crate) mod exit;
pub(crate) mod own_directories;
pub(crate) mod reload;
pub(crate) mod sample;
pub(crate) mod serve;
pub(crate) mod thread_rehearsal;
pub(crate) mod trial;
pub(crate) mod workers;
