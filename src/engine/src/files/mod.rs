//! An administrator's operations on the data directories, as values: the tree, the operations and
//! their results.
//!
//! A thread of its own executes them, so that phones and their uploads never wait for them. No
//! operation reaches beyond the data directories or changes a file in place: phones finish the
//! version that they began.

pub mod error;
pub mod path;
pub mod tree;

pub use error::{FilesError, ForbiddenReason};
pub use path::{BadPath, TreePath};
pub use tree::{Area, Tree};

use crate::catalog::Stored;
use std::any::Any;
use std::fmt;

use crate::cancel::CancelToken;
use wire::ftp::listing::{Facts, Rights};

/// An operation in the tree.
#[derive(Debug)]
pub enum FilesOp {
    /// List a directory or a file, as the bytes of a data connection.
    List {
        /// A directory or a file. If neither exists, the last name is a pattern: `*.bin`.
        at: TreePath,
        /// The path as the client wrote it. Names are listed in such a form that the client can ask
        /// for them (RFC 1123, 4.1.2.7).
        requested: Box<str>,
        /// The form of the lines.
        form: Form,
    },
    /// Describe one file or directory.
    Describe {
        /// Its path.
        at: TreePath,
    },
    /// Make a directory.
    MakeDirectory {
        /// Its path; the directory above must exist.
        at: TreePath,
    },
    /// Remove a directory that is empty.
    RemoveDirectory {
        /// Its path.
        at: TreePath,
    },
    /// Remove a file.
    Delete {
        /// Its path.
        at: TreePath,
    },
    /// Rename or move a file or a directory. An existing file is replaced, a directory never.
    Rename {
        /// The old path.
        from: TreePath,
        /// The new path.
        to: TreePath,
    },
    /// Set a file's modification time.
    Touch {
        /// Its path.
        at: TreePath,
        /// Seconds since 1970.
        unix_s: u64,
    },
    /// Bring a file's bytes into memory. Answered with
    /// [`StoreReply::Opened`](crate::requests::StoreReply::Opened), as for a phone; with
    /// [`StoreReply::Files`](crate::requests::StoreReply::Files) only if there is nothing to open.
    Open {
        /// Its path.
        at: TreePath,
    },
    /// Begin an upload.
    Begin {
        /// The file's path.
        at: TreePath,
        /// What happens to an existing file.
        mode: UploadMode,
    },
    /// Write more bytes of an upload.
    Write {
        /// The upload; lost if this fails, with all its bytes.
        part: PartialFile,
        /// At most a few MiB, because other operations wait meanwhile.
        bytes: Vec<u8>,
    },
    /// Move a complete upload to its destination.
    Finish {
        /// The upload.
        part: PartialFile,
        /// Cancels it, if in time.
        cancel: CancelToken,
    },
    /// Discard an upload. Dropping the part does the same, without an answer.
    Discard {
        /// The upload.
        part: PartialFile,
    },
}

/// The form of a listing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// As of `ls -l`.
    List,
    /// Names only.
    Names,
    /// `MLSD`: the members of a directory, with these facts.
    Facts(Facts),
    /// `MLST`: the one thing itself, with these facts.
    Itself(Facts),
}

/// What an upload does with an existing file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UploadMode {
    /// It replaces the file.
    Replace,
    /// It is appended to the file.
    Append,
    /// It takes another name.
    Unique,
    /// It replaces the bytes after this offset.
    Resume(u64),
}

/// A file or directory in the tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// Whether it is a directory.
    pub is_directory: bool,
    /// Size in bytes; for a directory, as the disk reports it.
    pub bytes: u64,
    /// Modification time, seconds since 1970.
    pub modified_s: u64,
    /// What the client may do with it.
    pub rights: Rights,
}

/// The result of an operation. Every change is durable and in the catalog.
#[derive(Debug)]
pub enum FilesReply {
    /// The bytes of a listing.
    Listed(Vec<u8>),
    /// A description.
    Described {
        /// The path, as spelled on the disk.
        at: TreePath,
        /// The file or directory.
        member: Member,
    },
    /// A directory was made.
    Made {
        /// Its path.
        at: TreePath,
    },
    /// A file or a directory was removed.
    Removed,
    /// It was renamed.
    Renamed,
    /// Its time was set.
    Touched,
    /// An upload has begun.
    Begun {
        /// The upload.
        part: PartialFile,
        /// The path of the future file, as spelled on the disk.
        at: TreePath,
    },
    /// More bytes were written.
    Written {
        /// The upload.
        part: PartialFile,
        /// The bytes' buffer, to be used again.
        buffer: Vec<u8>,
    },
    /// The upload is at its destination.
    Stored(Stored),
    /// The upload was discarded.
    Discarded,
}

/// An upload under way. Only its owner continues it.
pub struct PartialFile {
    bytes: u64,
    /// `None` if a test made the part up.
    file: Option<Box<dyn Any + Send>>,
}

impl PartialFile {
    /// Makes an upload that has so many bytes, with the file to which it is written.
    #[must_use]
    pub fn new(bytes: u64, file: Box<dyn Any + Send>) -> PartialFile {
        PartialFile { bytes, file: Some(file) }
    }

    /// Makes an upload to a disk that does not exist, for simulations.
    #[must_use]
    pub fn made_up(bytes: u64) -> PartialFile {
        PartialFile { bytes, file: None }
    }

    /// Returns how many bytes it has, including those of the existing file.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Sets how many bytes it has.
    pub fn set_bytes(&mut self, bytes: u64) {
        self.bytes = bytes;
    }

    /// Returns the file to which the upload is written, or `None` if a test made the part up.
    #[must_use]
    pub fn file_mut(&mut self) -> Option<&mut (dyn Any + Send)> {
        self.file.as_deref_mut()
    }
}

impl fmt::Debug for PartialFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PartialFile of {} bytes", self.bytes)
    }
}
