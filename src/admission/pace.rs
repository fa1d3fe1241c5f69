//! Caps on bytes per second, for all phones, for a subnet, for one phone.
//!
//! Lock-free and shared by all workers. Decides only.

/// The caps of the configuration.
#[derive(Debug, Default)]
pub struct Paces {}
