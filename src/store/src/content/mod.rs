//! Files on their way from the disks to the data path: scanned, watched, read into memory, hashed.
//!
//! Publishes catalogs and answers what workers ask; never decides who gets what.

pub mod blob;
pub mod catalog_handle;
mod disks;
mod fs_watcher;
pub mod hasher;
mod links;
mod load;
pub mod loader;
mod loader_config;
mod memory;
pub mod netascii;
mod pass;
pub(crate) mod path;
pub mod root_dir;
pub mod scan;
mod scan_state;
mod sealed;
pub mod watch;
mod watch_loop;
