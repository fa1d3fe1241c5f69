//! Files on their way from the disks to the data path: scanned, watched, read into memory, hashed.
//!
//! Publishes catalogs and answers workers' requests; never decides who gets what.

pub(crate) mod blob;
pub(crate) mod catalog_handle;
mod disks;
mod fs_watcher;
pub(crate) mod hasher;
mod links;
mod load;
pub(crate) mod loader;
mod loader_config;
mod memory;
mod netascii;
mod pass;
pub(crate) mod path;
pub(crate) mod root_dir;
mod scan;
mod scan_state;
pub mod watch;
mod watch_loop;

pub use blob::BlobExt;
pub use catalog_handle::{CatalogHandle, RootHealth};
pub use hasher::{DigestFigures, Digests};
pub use loader::{LoaderConfig, LoaderFigures};
