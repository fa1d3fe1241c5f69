//! An upload on its way to the disk: a file without a name that takes what is too much for memory.
//!
//! The file is gone with its last owner, whatever becomes of the upload and of the process. Never
//! served, never the upload itself: the writer copies it into its place, inside the kernel.

use crate::wire::name::FileName;

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
#[derive(Debug, Default)]
pub struct Spool {
    /// None in a world without disks, which has it all in memory.
    #[cfg(feature = "server")]
    pub(super) file: Option<super::parts::SpoolFile>,
    pub(super) memory: Vec<u8>,
    pub(super) bytes: u64,
}

impl Spool {
    /// One in memory, for a world without disks.
    #[must_use]
    pub fn in_memory() -> Spool {
        Spool::default()
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

    /// Adds bytes to one in memory.
    pub fn extend(&mut self, bytes: &[u8]) {
        self.memory.extend_from_slice(bytes);
        self.bytes += bytes.len() as u64;
    }
}
