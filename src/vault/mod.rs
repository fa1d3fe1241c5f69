//! What phones store: rules for who may store what, and the writer that makes it durable.

pub mod deed;
pub mod glob;
pub mod names;
#[cfg(feature = "server")]
pub mod store;
pub mod upload;
