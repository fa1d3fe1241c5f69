//! A temporary file without a name, for an upload that is too large for memory.
//!
//! The file disappears with its last owner, whatever happens to the upload and the process. It is
//! never served and never becomes the upload itself: the writer copies it to its destination,
//! inside the kernel.

use std::any::Any;
use std::fmt;

use wire::name::FileName;

/// An operation on an unfinished upload.
#[derive(Debug)]
pub enum PartOp {
    /// Find out whether a file of this name exists.
    Find {
        /// The name, beneath the directory.
        name: Box<FileName>,
    },
    /// Write more bytes to the temporary file.
    Write {
        /// The temporary file; `None` to make a new one. Lost if this fails.
        spool: Option<Spool>,
        /// The bytes.
        bytes: Vec<u8>,
    },
    /// Delete the temporary file, which may take a disk a while.
    Forget {
        /// The temporary file.
        spool: Spool,
    },
}

/// The result of a [`PartOp`].
#[derive(Debug)]
pub enum PartDone {
    /// Whether a file of that name exists.
    Found(bool),
    /// The bytes are in the temporary file.
    Written {
        /// The temporary file.
        spool: Spool,
        /// The bytes' buffer, to be used again.
        room: Vec<u8>,
    },
    /// The temporary file is deleted.
    Forgotten,
}

/// The temporary file.
#[derive(Default)]
pub struct Spool {
    /// `None` in a simulation without disks, which has it all in memory.
    file: Option<Box<dyn Any + Send>>,
    memory: Vec<u8>,
    bytes: u64,
}

impl Spool {
    /// Makes one in memory, for a simulation without disks.
    #[must_use]
    pub fn in_memory() -> Spool {
        Spool::default()
    }

    /// Makes one on a disk, of so many bytes.
    #[must_use]
    pub fn on_disk(file: Box<dyn Any + Send>, bytes: u64) -> Spool {
        Spool { file: Some(file), memory: Vec::new(), bytes }
    }

    /// Returns the file that has the bytes, or `None` if they are in memory.
    #[must_use]
    pub fn file(&self) -> Option<&(dyn Any + Send)> {
        self.file.as_deref()
    }

    /// Returns how many bytes it has.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Returns the bytes that are in memory: all, in a simulation without disks.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        &self.memory
    }

    /// Notes that the file has so many bytes more.
    pub fn grow(&mut self, bytes: u64) {
        self.bytes += bytes;
    }

    /// Adds bytes to one in memory.
    pub fn extend(&mut self, bytes: &[u8]) {
        self.memory.extend_from_slice(bytes);
        self.bytes += bytes.len() as u64;
    }
}

impl fmt::Debug for Spool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Spool of {} bytes", self.bytes)
    }
}
