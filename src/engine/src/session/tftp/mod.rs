//! The TFTP server of one worker, without its sockets: datagrams in, sends and questions out.
//!
//! `engine` takes what happened and keeps the transfers; `send` and `receive` are the machines of
//! one transfer; `outgoing` says what leaves next. None of them does I/O or reads a clock.

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
pub mod outgoing;
pub mod receive;
pub mod recent_peers;
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
