//! Configuration, reload, log, metrics, status: hands snapshots to the data path, never runs in it.

pub mod config;
pub mod interfaces;
pub mod log;
pub mod records;
pub mod view;
