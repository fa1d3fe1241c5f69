//! FTP for phones and their administrators: sessions as machines, told bytes and moments.
//!
//! `engine.rs` owns a worker's sessions, `connections.rs` speaks with their sockets; `dispatch.rs`
//! reads commands, `settings.rs` does what a session sets for itself; `login.rs` says who is there,
//! by SNMP where it is a phone; `judge.rs` where a name leads; `data.rs` sets data connections up,
//! `ports.rs` says who may have one; `transfer.rs` moves files over them, by `source.rs` and
//! `sink.rs`, `ending.rs` ends that; `manage.rs` does what administrators may; `answer.rs` hears
//! the threads that wait for disks. None of them opens, sends, waits or reads a clock.

mod answer;
mod authorize;
mod check;
mod command_queue;
mod connections;
mod context;
mod control;
mod data;
mod dispatch;
mod ending;
mod engine;
mod guess;
mod login;
mod manage;
#[cfg(any(test, feature = "model"))]
#[doc(hidden)]
pub mod model;
mod ports;
mod session;
mod settings;
#[cfg(any(test, feature = "model"))]
#[doc(hidden)]
pub mod single;
mod sink;
mod source;
mod transfer;

pub use data::DataCommand;
pub use engine::Engine;
#[doc(hidden)]
#[cfg(any(test, feature = "model"))]
pub use model::{check_cuts, check_operations};

#[cfg(test)]
mod tests;
