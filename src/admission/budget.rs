//! How much may be sent to peers that have not answered once: the bound on amplification.
//!
//! A fixed table of buckets by subnet (/24, or /56 for IPv6). Decides only.

/// Buckets by subnet.
#[derive(Debug, Default)]
pub struct Budget {}
