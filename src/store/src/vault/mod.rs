//! What phones store: who may, and the writer that makes it durable.

mod append;
pub mod archive;
pub mod auth;
mod delete;
mod directories;
pub mod ha1;
pub(crate) mod jobs;
pub mod keep;
pub mod limits;
pub mod months;
pub mod note;
mod numbered;
mod parts;
mod prune;
mod refusals;
pub mod regular;
pub(crate) mod sequence;
pub mod slow;
pub mod store;
pub mod threads;
mod total;
pub mod users;
pub mod users_file;
pub mod versions;

#[cfg(unix)]
#[cfg(test)]
mod tests;
