//! Why an upload was not stored or deleted. Sessions turn it into an answer. Holds nothing else.

/// Why an upload was not stored, or not deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreError {
    /// The disk or the quota is full.
    Full,
    /// The vault holds as much as `total_max` allows.
    TotalMax,
    /// The free space of the vault's disk is down to its `reserve`.
    Reserve,
    /// The file exists, and the rule says that it is never replaced.
    Exists,
    /// A directory has the file's name, or a file the name of a directory above it.
    NotAFile,
    /// There is no file to delete.
    NotThere,
    /// The file does not meet the client's precondition.
    Precondition,
    /// The system does not let this process write there.
    Forbidden,
    /// The disk failed; the writer has logged how.
    Io,
    /// The directory is away: its disk is not mounted, or does not answer.
    Unavailable,
    /// The writer's queue was full.
    Busy,
    /// The uploads under way take all the memory that they may.
    NoMemory,
    /// The address, or all clients together, have as many large uploads under way as they may.
    TooManyAside,
    /// The system gives this process no more descriptors.
    NoDescriptor,
}
