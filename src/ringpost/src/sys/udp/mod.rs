//! Datagrams in batches.
//!
//! Knows sockets and bytes, never what they mean.

pub(crate) mod errors;
mod linux;

pub(crate) use linux::*;
