//! What phones store: the check of their rights, and the writer that makes it durable.

mod append;
pub mod archive;
pub mod archive_monthly;
pub(crate) mod auth;
mod delete;
mod directories;
pub mod ha1;
mod jobs;
mod known_dirs;
mod limits;
mod login_throttle;
pub mod note;
mod numbered;
mod parts;
mod prune;
mod refusals;
pub mod regular;
pub(crate) mod secrets;
mod sequence;
pub(crate) mod store;
pub(crate) mod threads;
mod total;
mod user_error;
pub mod users;
pub mod users_file;
pub mod versions;
pub mod write;

pub use auth::{AuthFigures, USERS_BYTES_MAX};
pub use known_dirs::KnownDirs;
pub use limits::VaultUsage;
pub use store::{Directories, Writer};
pub use threads::VaultFigures;

#[cfg(unix)]
#[cfg(test)]
mod tests;
