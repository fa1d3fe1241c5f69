//! System-specific calls for files in memory.
//!
//! A folder apart from the server's `sys`: nothing here may import the crates above, and the
//! implementation is never exchanged at run time, so a trait would have no use.

pub(crate) mod file;
pub(crate) mod memory;
