//! Configuration, reload, log, metrics, status: hands snapshots to the data path, never runs in it.

pub mod ask;
mod banner;
pub mod board;
pub mod certificate_command;
pub mod certificates;
pub mod command;
pub mod config;
mod descriptors;
pub mod explain;
pub mod figures;
pub mod inherit;
pub mod interfaces;
pub mod log;
pub mod metrics;
mod night;
mod notify;
pub mod passwd_command;
mod privileges;
pub mod records;
pub mod reload;
mod sample;
pub mod serve;
pub mod snmp_command;
pub mod vault_command;
pub mod web;
pub mod words;
pub mod workers;
