//! HTTP for phones: connections as state machines that take bytes and time, and return bytes to
//! send.
//!
//! Read in the order in which a request travels: `engine.rs` routes each event to its connection,
//! `connection.rs` reads heads, `request.rs` decides, `changes.rs` about requests that change
//! something, `conditions.rs` about versions and ranges, `credentials.rs` about passwords
//! (`nonces.rs` seals their challenges), `throttle.rs` about clients that ask for too much.
//! `body.rs` receives bodies, `store_reply.rs` takes the threads' answers, `compose.rs` writes
//! responses, `reply.rs` lends them in pieces, `rejection.rs` has the reasons for refusals,
//! `ending.rs` ends requests. `exchange.rs` has the state of a request, `context.rs` the shared
//! state of connections, `check.rs` the invariants. None of them opens, sends, waits or reads a
//! clock, and nothing depends on how the network splits the bytes.

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
mod store_reply;
mod throttle;

pub use engine::Engine;
#[doc(hidden)]
#[cfg(any(test, feature = "model"))]
pub use model::{check_cuts, check_operations};

#[cfg(test)]
mod tests;
