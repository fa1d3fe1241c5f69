//! The TFTP server of one worker, without its sockets: datagrams in, sends and questions out.
//!
//! `engine` takes what happened and keeps the transfers; `send` and `receive` are the machines of
//! one transfer; `outgoing` says what leaves next. None of them does I/O or reads a clock.

mod aside;
mod bursts;
mod ending;
pub mod engine;
mod finished;
mod guess;
pub mod lanes;
mod last_block;
pub mod limits;
#[cfg(any(test, feature = "model"))]
#[doc(hidden)]
pub mod model;
pub mod numbers;
pub mod options;
pub mod outgoing;
pub mod past;
pub mod receive;
pub mod request;
pub mod rto;
pub mod send;
#[cfg(any(test, feature = "model"))]
#[doc(hidden)]
pub mod single;
pub mod transfer;
mod uploads;

pub use engine::{Arrival, Engine};
pub use lanes::Lane;
#[doc(hidden)]
#[cfg(any(test, feature = "model"))]
pub use model::check_operations;
pub use outgoing::{Blocks, Lone, Payload, SendFault, Transmit};
pub use transfer::PortId;

#[cfg(test)]
mod tests;
