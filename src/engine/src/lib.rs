//! What decides: machines that are told facts and asked for actions.
//!
//! Nothing here sends, sleeps, opens a file, starts a thread or reads a clock. A request comes to
//! [`session`], which asks [`policy`] who gets what and [`admission`] how many at once; files are
//! found in the [`catalog`]; what must wait for a disk is asked for by values.

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
