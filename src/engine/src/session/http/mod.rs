//! HTTP for phones: connections as machines, told bytes and moments, asked for pieces to send.
//!
//! `engine.rs` owns a worker's connections, `connections.rs` speaks with their sockets;
//! `request.rs` judges requests, `changes.rs` those that change something; `credentials.rs` asks
//! for passwords, `nonces.rs` seals its challenges; `answer.rs` hears the loader and the vault,
//! `late.rs` for those who have left; `body.rs` takes what phones send; `compose.rs` makes answers,
//! `reply.rs` lends them in pieces; `ending.rs` ends. None of them opens, sends, waits or reads a
//! clock, and nothing depends on how bytes were cut on the way.

mod answer;
mod body;
mod changes;
mod compose;
mod connection;
mod connections;
mod credentials;
mod denial;
mod ending;
mod engine;
mod guess;
mod late;
pub mod limits;
#[cfg(any(test, feature = "model"))]
#[doc(hidden)]
pub mod model;
mod nonces;
mod refusal;
mod reply;
mod request;
#[cfg(any(test, feature = "model"))]
#[doc(hidden)]
pub mod single;
mod terms;

pub use engine::Engine;
#[doc(hidden)]
#[cfg(any(test, feature = "model"))]
pub use model::{check_cuts, check_operations};

#[cfg(test)]
mod tests;
