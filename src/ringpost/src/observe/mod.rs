//! What is seen of the server: log, metrics, status, and `explain`.
//!
//! Reads what others count and keep; never runs in a worker.

pub mod admin_connections;
pub mod disk_space;
pub mod explain;
pub mod health;
pub mod human_format;
pub mod journal;
pub mod limits_status;
pub mod log;
pub mod metrics;
pub mod records;
pub mod state;
pub mod stderr_lines;
pub mod store_metrics;
pub mod stream_status;
pub mod whole_lines;
