//! What only one system has, as far as files in memory need it.
//!
//! A folder of its own beside that of the server: nothing here may import what stands above it, and
//! nobody swaps one for another while the program runs, so that a trait would only be in the way.

pub(crate) mod file;
pub(crate) mod memory;
