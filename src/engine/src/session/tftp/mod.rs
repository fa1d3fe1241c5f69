//! The TFTP server of one worker, without its sockets: takes datagrams, returns sends and
//! questions.
//!
//! `engine` takes events and keeps the transfers; `send` and `receive` are the state machines of
//! one transfer; `outgoing` returns what to send next. None of them does I/O or reads a clock.

mod bursts;
mod ending;
pub mod engine;
mod finished;
mod guess;
mod last_block;
#[cfg(any(test, feature = "model"))]
#[doc(hidden)]
pub mod model;
pub mod numbers;
pub mod options;
mod order;
pub mod outgoing;
pub mod receive;
pub mod recent_peers;
mod refusal;
pub mod request;
pub mod rto;
pub mod send;
pub mod send_queues;
#[cfg(any(test, feature = "model"))]
#[doc(hidden)]
pub mod single;
mod temp_files;
pub mod transfer;
mod uploads;

pub use engine::{Datagram, Engine};
#[doc(hidden)]
#[cfg(any(test, feature = "model"))]
pub use model::check_operations;
pub use outgoing::{Blocks, ControlPacket, Payload, SendFault, Transmit};
pub use send_queues::SendQueue;
pub use transfer::PortId;

#[cfg(test)]
mod tests;
