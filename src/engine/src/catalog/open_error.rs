//! Why a file could not be opened. Sessions turn it into an answer. Holds nothing else.

/// Why a file in the catalog could not be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenError {
    /// It has gone since the catalog was made.
    Gone,
    /// The system does not let this process read it.
    Forbidden,
    /// It is no regular file, or leads out of its root.
    NotServable,
    /// It is written to again and again, so no one version can be sent.
    BeingWritten,
    /// It is too large for the requested form.
    TooLarge,
    /// The disk failed; the loader has logged how.
    Io,
    /// The disk does not answer, or the root is not mounted.
    Unavailable,
    /// The loader's queue was full.
    Busy,
}
