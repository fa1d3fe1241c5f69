//! Observation of the server: log, metrics, status, and `explain`.
//!
//! Reads the other parts' counters and states; never runs in a worker.

pub(crate) mod admin_connections;
pub(crate) mod disk_space;
pub(crate) mod explain;
pub(crate) mod health;
pub(crate) mod human_format;
pub(crate) mod journal;
pub(crate) mod limits_status;
pub(crate) mod log;
pub(crate) mod metrics;
pub(crate) mod records;
pub(crate) mod state;
pub(crate) mod stderr_lines;
pub(crate) mod store_metrics;
pub(crate) mod storm;
pub(crate) mod stream_status;
pub(crate) mod whole_lines;
