//! Why an upload was not stored or deleted, for whoever answers its phone. Holds nothing else.

/// Why an upload was not stored, or not deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreError {
    /// The disk or the quota is full.
    Full,
    /// The vault holds as much as `total_max` allows.
    TotalMax,
    /// What is left free of the vault's disk is its `reserve`.
    Reserve,
    /// The file exists, and the rule says that it is never replaced.
    Exists,
    /// A directory has the file's place, or a file the place of a directory above it.
    NotAFile,
    /// There is no file to be deleted.
    NotThere,
    /// The file is not the one that the phone said it must be.
    Precondition,
    /// The system does not let this process write there.
    Forbidden,
    /// The disk failed; the writer has logged how.
    Io,
    /// The writer's queue was full.
    Busy,
    /// The uploads that are under way hold all the memory that they may.
    NoMemory,
    /// The address, or all together, has as many large uploads under way as it may.
    TooManyAside,
    /// The system gives this process no more descriptors.
    NoDescriptor,
}
