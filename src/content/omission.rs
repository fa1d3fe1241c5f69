//! What lies under a root and is not served, and why: for the log and for `ringpost explain`.
//!
//! Values only; the scan makes them.

use std::collections::BTreeMap;
use std::fmt;

/// Why something on the disk is not in the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Omission {
    /// The root itself cannot be read.
    Root,
    /// No phone can ask for the name.
    BadName,
    /// The link leads out of the root, nowhere, or in circles.
    BadLink,
    /// A pipe, a socket or a device.
    Special,
    /// The system does not let this process look at it.
    Unreadable,
    /// It lies too deep, or there are too many files.
    BeyondLimits,
    /// Its name folds to that of another file, which is served instead.
    Shadowed,
}

impl fmt::Display for Omission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Omission::Root => "the root itself, which cannot be read",
            Omission::BadName => "names that no phone can ask for",
            Omission::BadLink => "links that lead out of the root, nowhere or in circles",
            Omission::Special => "pipes, sockets or devices",
            Omission::Unreadable => "what this process is not allowed to look at",
            Omission::BeyondLimits => "files that lie too deep or are too many",
            Omission::Shadowed => "files whose name differs only in case from another one's",
        })
    }
}

/// How many were left out for one reason, and the first of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Omitted {
    /// How many.
    pub count: usize,
    /// The first, and what else there is to say about it.
    pub first: String,
}

/// Everything that a scan left out.
pub type Omissions = BTreeMap<Omission, Omitted>;
