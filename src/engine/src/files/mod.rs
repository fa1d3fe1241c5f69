//! What an administrator does with the data directories, as values: which tree they see, what they
//! want done and what came of it.
//!
//! One thread of its own does it, so that neither phones nor what they save wait for it. Nothing
//! here reaches beyond the data directories, and no file is ever changed in place: phones that are
//! being sent the old version finish it.

pub mod fault;
pub mod path;
pub mod tree;

pub use fault::{Fault, Why};
pub use path::{BadPath, TreePath};
pub use tree::{Area, Tree};

use crate::catalog::Stored;
use std::any::Any;
use std::fmt;

use crate::cancel::CancelToken;
use wire::ftp::listing::{Facts, Rights};

/// Something to be done in the tree.
#[derive(Debug)]
pub enum Act {
    /// Say what there is, as the bytes of a data connection.
    List {
        /// A directory, or one file; where there is none of that name, what its pattern matches:
        /// `*.bin`.
        at: TreePath,
        /// The same as the client wrote it. Names are given back so that they can be asked for
        /// as they are (RFC 1123, 4.1.2.7).
        asked: Box<str>,
        /// How a line looks.
        form: Form,
    },
    /// Say what one thing is.
    Look {
        /// Where.
        at: TreePath,
    },
    /// Make a directory.
    MakeDirectory {
        /// Where; the directory above must be there.
        at: TreePath,
    },
    /// Remove a directory that is empty.
    RemoveDirectory {
        /// Which.
        at: TreePath,
    },
    /// Remove a file.
    Delete {
        /// Which.
        at: TreePath,
    },
    /// Give a file or a directory another name or place. A file that is there is replaced, a
    /// directory never.
    Rename {
        /// What.
        from: TreePath,
        /// The new name, whole.
        to: TreePath,
    },
    /// Give a file another modification time.
    Touch {
        /// Which.
        at: TreePath,
        /// Seconds since 1970.
        unix_s: u64,
    },
    /// Bring a file's bytes into memory. Answered with
    /// [`Answer::Opened`](crate::requests::Answer::Opened), as for a phone; with
    /// [`Answer::Files`](crate::requests::Answer::Files) only where there is nothing to be opened.
    Open {
        /// Which.
        at: TreePath,
    },
    /// Begin an upload.
    Begin {
        /// Which file.
        at: TreePath,
        /// What becomes of what is there.
        how: How,
    },
    /// Take more bytes of an upload.
    Write {
        /// The upload; lost where this fails, with all that was sent.
        part: Part,
        /// At most some MiB: others wait meanwhile.
        bytes: Vec<u8>,
    },
    /// Put what was uploaded in its place.
    Finish {
        /// The upload.
        part: Part,
        /// Unless the client takes it back before.
        cancel: CancelToken,
    },
    /// Forget what was uploaded. To drop the part does the same, without an answer.
    Discard {
        /// The upload.
        part: Part,
    },
}

/// How a listing looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// As `ls -l` has it.
    List,
    /// Names alone.
    Names,
    /// `MLSD`: the members of a directory, with these facts.
    Facts(Facts),
    /// `MLST`: the one thing itself, with these facts.
    Itself(Facts),
}

/// What an upload does with what is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// It takes its place.
    Replace,
    /// It goes behind it.
    Append,
    /// It takes another name where there is one of that name.
    Unique,
    /// It takes the place of what comes after so many bytes.
    Resume(u64),
}

/// What something in the tree is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// Whether it is a directory, and no file.
    pub is_directory: bool,
    /// Size in bytes; of a directory, whatever the disk says.
    pub bytes: u64,
    /// Modification time, seconds since 1970.
    pub modified_s: u64,
    /// What may be done with it.
    pub rights: Rights,
}

/// What was done. Whatever changed is durable and in the catalog.
#[derive(Debug)]
pub enum Done {
    /// The lines of a listing.
    Listed(Vec<u8>),
    /// What there is.
    Looked {
        /// Where, as it is spelled there.
        at: TreePath,
        /// What it is.
        member: Member,
    },
    /// A directory was made.
    Made {
        /// Where.
        at: TreePath,
    },
    /// A file or a directory was removed.
    Removed,
    /// It has the new name.
    Renamed,
    /// It has the new time.
    Touched,
    /// An upload has begun.
    Begun {
        /// The upload.
        part: Part,
        /// The file that it becomes, as it is spelled there.
        at: TreePath,
    },
    /// More of it was taken.
    Written {
        /// The upload.
        part: Part,
        /// The bytes' room, to be used again.
        buffer: Vec<u8>,
    },
    /// It is in its place.
    Stored(Stored),
    /// It is forgotten.
    Discarded,
}

/// An upload under way. Only its owner goes on with it.
pub struct Part {
    bytes: u64,
    /// None where a test made the part up.
    file: Option<Box<dyn Any + Send>>,
}

impl Part {
    /// An upload of which so many bytes are there, with the file that it is written to.
    #[must_use]
    pub fn new(bytes: u64, file: Box<dyn Any + Send>) -> Part {
        Part { bytes, file: Some(file) }
    }

    /// An upload to a disk that does not exist, as simulations have one.
    #[must_use]
    pub fn made_up(bytes: u64) -> Part {
        Part { bytes, file: None }
    }

    /// Bytes that were taken so far, those of what was there before included.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// So many bytes are there now.
    pub fn set_bytes(&mut self, bytes: u64) {
        self.bytes = bytes;
    }

    /// Returns the file that the upload is written to, or `None` if a test made the part up.
    #[must_use]
    pub fn file_mut(&mut self) -> Option<&mut (dyn Any + Send)> {
        self.file.as_deref_mut()
    }
}

impl fmt::Debug for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Part of {} bytes", self.bytes)
    }
}
