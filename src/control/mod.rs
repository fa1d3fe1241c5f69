//! Configuration, reload, log, metrics, status: hands snapshots to the data path, never runs in it.

pub mod board;
pub mod config;
pub mod interfaces;
pub mod log;
pub mod metrics;
pub mod records;
pub mod view;
pub mod web;
pub mod words;
