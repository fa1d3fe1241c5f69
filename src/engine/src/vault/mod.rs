//! The vault and uploads, as values: owners, permissions, rules, and the requests to the threads
//! that store durably.
//!
//! Names and decisions only; nothing here writes.

pub mod bounds;
pub mod glob;
pub mod names;
pub mod quarantine;
pub mod request;
pub mod spool;
pub mod timestamp;
pub mod upload;
