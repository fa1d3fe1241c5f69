//! An upload on its way to the disk: a file without a name that takes what is too much for memory.
//!
//! The file is gone with its last owner, whatever becomes of the upload and of the process. Never
//! served, never the upload itself: the writer copies it into its place, inside the kernel.

use std::any::Any;
use std::fmt;

use wire::name::FileName;

/// Something to be done for an upload that is not whole yet.
#[derive(Debug)]
pub enum PartOp {
    /// Say whether there is a file of this name.
    Find {
        /// The name, beneath the directory.
        name: Box<FileName>,
    },
    /// Put more bytes into the file aside.
    Write {
        /// The file aside; a new one where there is none yet. Lost where this fails.
        spool: Option<Spool>,
        /// The bytes.
        bytes: Vec<u8>,
    },
    /// Forget the file aside: its end may take a disk a while.
    Forget {
        /// The file aside.
        spool: Spool,
    },
}

/// What was done.
#[derive(Debug)]
pub enum PartDone {
    /// Whether there is a file of that name.
    Found(bool),
    /// The bytes are in the file aside.
    Written {
        /// The file aside.
        spool: Spool,
        /// The bytes' room, to be used again.
        room: Vec<u8>,
    },
    /// The file aside is gone.
    Forgotten,
}

/// The file aside.
#[derive(Default)]
pub struct Spool {
    /// None in a world without disks, which has it all in memory.
    file: Option<Box<dyn Any + Send>>,
    memory: Vec<u8>,
    bytes: u64,
}

impl Spool {
    /// One in memory, for a world without disks.
    #[must_use]
    pub fn in_memory() -> Spool {
        Spool::default()
    }

    /// One on a disk, of so many bytes.
    #[must_use]
    pub fn on_disk(file: Box<dyn Any + Send>, bytes: u64) -> Spool {
        Spool { file: Some(file), memory: Vec::new(), bytes }
    }

    /// Returns the file that has the bytes, or `None` if they are in memory.
    #[must_use]
    pub fn file(&self) -> Option<&(dyn Any + Send)> {
        self.file.as_deref()
    }

    /// How many bytes it has.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// What it has in memory: all, in a world without disks.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        &self.memory
    }

    /// So many bytes more are in the file.
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
