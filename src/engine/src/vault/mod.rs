//! What phones store, as values: whose it is, who may, which rules there are, what is asked of the
//! threads that make it durable.
//!
//! Names and decisions only; nothing here is written.

pub mod bounds;
pub mod glob;
pub mod names;
pub mod quarantine;
pub mod request;
pub mod spool;
pub mod timestamp;
pub mod upload;
