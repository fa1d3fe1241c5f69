//! What phones store: rules for who may store what, and the writer that makes it durable.

pub mod glob;
#[cfg(feature = "server")]
pub mod store;
pub mod upload;
