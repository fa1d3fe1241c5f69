//! FTP for phones and their administrators: sessions as state machines that take bytes and time.
//!
//! `engine.rs` has the table of sessions and routes events to them, `connections.rs` routes those
//! of sockets, and `context.rs` has what a session may use. The methods of a session: `control.rs`
//! has its control connection, `data.rs` the data connection, and `ports.rs` who may have one.
//! `dispatch.rs` reads commands, and `settings.rs` executes those that set something. `login.rs`
//! finds out who the client is, by SNMP if it is a phone; `authorize.rs` decides about names.
//! `transfer.rs` moves files, by `source.rs` and `sink.rs`, and `ending.rs` ends transfers;
//! `manage.rs` has the operations of administrators; `store_reply.rs` takes the answers of the
//! threads that wait for disks. `check.rs` has the invariants. None of them opens, sends, waits or
//! reads a clock.

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
mod store_reply;
mod transfer;

pub use data::DataCommand;
pub use engine::Engine;
#[doc(hidden)]
#[cfg(any(test, feature = "model"))]
pub use model::{check_cuts, check_operations};

#[cfg(test)]
mod tests;
