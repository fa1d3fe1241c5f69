//! Files on their way from the disks to the data path: scanned, watched, read into memory, hashed.
//!
//! Publishes catalogs and answers what workers ask; never decides who gets what.

pub mod beneath;
pub mod blob;
mod disks;
mod ears;
pub mod hasher;
mod links;
pub mod loader;
mod loader_config;
mod look;
mod memory;
pub mod netascii;
mod pass;
pub(crate) mod path;
pub mod published;
mod rounds;
pub mod scan;
mod sealed;
mod seen;
pub mod watch;
