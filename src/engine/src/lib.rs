//! The decisions: state machines that take facts and return actions.
//!
//! Nothing here sends, sleeps, opens a file, starts a thread or reads a clock. A request enters
//! [`session`], which asks [`policy`] who gets what and [`admission`] how many at once. Files are
//! looked up in the [`catalog`]. Work that waits for a disk is requested by values.

pub mod address;
pub mod admission;
pub mod cancel;
pub mod catalog;
pub mod files;
pub mod metrics;
pub mod policy;
pub mod protocol;
pub mod requests;
pub mod session;
pub mod settings;
pub mod table;
pub mod ticket;
pub mod vault;
