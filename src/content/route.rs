//! What a name becomes and where it is looked for: remap rules and roots by subnet.
//!
//! Every step can be told in words, so that `ringpost explain` shows which rule did what.

/// The rows of the configuration.
#[derive(Clone, Debug, Default)]
pub struct Routes {}
