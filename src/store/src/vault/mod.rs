//! What phones store: who may, and the writer that makes it durable.

mod append;
pub mod archive;
pub mod archive_monthly;
pub mod auth;
mod delete;
mod directories;
pub mod ha1;
pub(crate) mod jobs;
pub mod limits;
pub mod login_throttle;
pub mod note;
mod numbered;
mod parts;
mod prune;
mod refusals;
pub mod regular;
pub(crate) mod sequence;
pub mod store;
pub mod threads;
mod total;
pub mod users;
pub mod users_file;
pub mod versions;
pub mod write;

#[cfg(unix)]
#[cfg(test)]
mod tests;
