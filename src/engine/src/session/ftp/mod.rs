//! FTP for phones and their administrators: sessions as machines, told bytes and moments.
//!
//! `engine.rs` is the table of sessions and the way of each event to its session; so is
//! `connections.rs` for what sockets say; `context.rs` is what a session finds there. The methods
//! of a session: `control.rs` its own connection, `data.rs` the one for its data, `ports.rs` who
//! may have one; `dispatch.rs` reads commands, `settings.rs` does what a session sets for itself;
//! `login.rs` says who is there, by SNMP if it is a phone; `authorize.rs` where a name leads;
//! `transfer.rs` moves files, by `source.rs` and `sink.rs`, `ending.rs` ends that; `manage.rs` does
//! what administrators may; `answer.rs` hears the threads that wait for disks. `check.rs` says what
//! must hold. None of them opens, sends, waits or reads a clock.

mod answer;
mod authorize;
mod check;
mod command_queue;
mod command_rate;
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
