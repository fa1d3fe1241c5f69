//! Why a file could not be opened, for whoever answers its phone. Holds nothing else.

/// Why a file in the catalog could not be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenError {
    /// It has gone since the catalog was made.
    Gone,
    /// The system does not let this process read it.
    Forbidden,
    /// It is no regular file, or leads out of its root.
    NotServable,
    /// Somebody keeps writing to it, so there is no one version to send.
    BeingWritten,
    /// Too large for the form that was asked for.
    TooLarge,
    /// The disk failed; the loader has logged how.
    Io,
    /// The disk does not answer, or the root is away.
    Unavailable,
    /// The loader's queue was full.
    Busy,
}
