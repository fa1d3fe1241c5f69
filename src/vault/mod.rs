//! What phones store: rules for who may store what, and the writer that makes it durable.

#[cfg(feature = "server")]
mod append;
#[cfg(feature = "server")]
pub mod archive;
#[cfg(feature = "server")]
pub mod auth;
pub mod bounds;
pub mod deed;
#[cfg(feature = "server")]
mod delete;
#[cfg(feature = "server")]
mod directories;
#[cfg(feature = "server")]
pub(crate) mod durable;
pub mod glob;
#[cfg(feature = "server")]
pub mod ha1;
#[cfg(feature = "server")]
pub(crate) mod jobs;
#[cfg(feature = "server")]
pub mod keep;
#[cfg(feature = "server")]
pub mod limits;
#[cfg(feature = "server")]
pub mod months;
pub mod names;
#[cfg(feature = "server")]
pub mod note;
#[cfg(feature = "server")]
mod numbered;
#[cfg(feature = "server")]
mod parts;
#[cfg(feature = "server")]
pub(crate) mod places;
#[cfg(feature = "server")]
mod prune;
pub mod quarantine;
#[cfg(feature = "server")]
mod refusals;
#[cfg(feature = "server")]
pub mod regular;
#[cfg(feature = "server")]
pub(crate) mod sequence;
pub mod slow;
#[cfg(feature = "server")]
pub(crate) mod spelling;
pub mod spool;
pub mod stamp;
#[cfg(feature = "server")]
pub mod store;
#[cfg(feature = "server")]
pub mod threads;
#[cfg(feature = "server")]
mod total;
pub mod upload;
#[cfg(feature = "server")]
pub mod users;
#[cfg(feature = "server")]
pub mod users_file;
#[cfg(feature = "server")]
pub mod versions;

#[cfg(feature = "server")]
#[cfg(unix)]
#[cfg(test)]
mod tests;
