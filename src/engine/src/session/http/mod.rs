//! HTTP for phones: connections as machines, told bytes and moments, asked for pieces to send.
//!
//! Read in the order in which a request travels: `engine.rs` leads each event to its connection,
//! `connection.rs` reads heads, `request.rs` decides, `changes.rs` about what changes something,
//! `conditions.rs` about versions and ranges, `credentials.rs` about passwords (`nonces.rs` seals
//! their challenges), `throttle.rs` about who asks for too much; `body.rs` receives bodies,
//! `answer.rs` hears threads, `compose.rs` writes answers, `reply.rs` lends them in pieces,
//! `rejection.rs` says why not, `ending.rs` ends. `exchange.rs` is what is remembered of a request,
//! `context.rs` what connections share, `check.rs` what always holds. None of them opens, sends,
//! waits or reads a clock, and nothing depends on how bytes were cut on the way.

mod answer;
mod body;
mod changes;
mod check;
mod compose;
mod conditions;
mod connection;
mod context;
mod credentials;
mod denial;
mod ending;
mod engine;
mod exchange;
#[cfg(any(test, feature = "model"))]
#[doc(hidden)]
pub mod model;
mod nonces;
mod rejection;
mod reply;
mod request;
#[cfg(any(test, feature = "model"))]
#[doc(hidden)]
pub mod single;
mod throttle;

pub use engine::Engine;
#[doc(hidden)]
#[cfg(any(test, feature = "model"))]
pub use model::{check_cuts, check_operations};

#[cfg(test)]
mod tests;
