//! What a faulty server does wrong: each must be found by one of the invariants.
//!
//! Holds names alone; the simulated server around the engines behaves accordingly.

/// A fault of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// What it sends of a file is half one version and half another.
    MixesVersions,
    /// It turns one bit of the files over that it sends.
    CorruptsFiles,
    /// It goes on sending an older version after a newer one was stored.
    ServesStale,
    /// It says that something is stored before it is.
    AcknowledgesEarly,
    /// It says that something is stored and keeps nothing.
    LosesUploads,
    /// It takes a phone's slot from it before its hold is over.
    CutsHolds,
    /// It gives slots to those outside the access list.
    SeatsStrangers,
    /// It forgets connections that break, and the sessions on them.
    LeaksConnections,
    /// It never answers some questions to its disk.
    LosesAnswers,
    /// It lets no deadline pass.
    IgnoresDeadlines,
    /// It awaits data connections for ever.
    LeaksPorts,
}
