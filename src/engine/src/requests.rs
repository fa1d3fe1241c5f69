//! What engines ask of the threads that may wait for a disk, and the answers.
//!
//! Values that cross channels; the store does the work.

use std::sync::Arc;

use crate::catalog::blob::Blob;
use crate::catalog::{Entry, Form, OpenError, StoreError, Stored};
use crate::files;
use crate::ticket::Ticket;
use crate::vault::request::{Login, VaultError, VaultReply, VaultRequest};
use crate::vault::upload::{Deletion, PartDone, PartOp, Upload};
/// What a session asks of the threads that may wait for a disk.
#[derive(Debug)]
pub enum Ask {
    /// Bring a file's bytes into memory.
    Open {
        /// Who asks.
        ticket: Ticket,
        /// Which file.
        entry: Arc<Entry>,
        /// In which form.
        form: Form,
    },
    /// Check whether a mapped file has changed since it was mapped.
    Verify {
        /// Who asks.
        ticket: Ticket,
        /// The mapping in question.
        blob: Arc<Blob>,
    },
    /// Write an upload beside its place, sync it, and put it there.
    Store {
        /// Who asks.
        ticket: Ticket,
        /// The bytes and where they belong.
        upload: Box<Upload>,
    },
    /// Delete a file that an upload stored, and sync its directory.
    Delete {
        /// Who asks.
        ticket: Ticket,
        /// Which.
        deletion: Box<Deletion>,
    },
    /// Do something for an unfinished upload.
    Upload {
        /// Who asks.
        ticket: Ticket,
        /// The directory of the upload's rule.
        directory: u16,
        /// What to do.
        op: PartOp,
    },
    /// Read a part of a mapped file into this process, for callers that need the bytes themselves,
    /// as TLS does.
    Read {
        /// Who asks.
        ticket: Ticket,
        /// The mapping.
        blob: Arc<Blob>,
        /// Where the part starts.
        offset: u64,
        /// How many bytes; the file has at least as many after `offset`.
        bytes: usize,
        /// A buffer that is used again.
        buffer: Vec<u8>,
    },
    /// Have the vault do something.
    Vault {
        /// Who asks.
        ticket: Ticket,
        /// The operation, the user and the credentials.
        request: Box<VaultRequest>,
    },
    /// Do something with the data directories, for an administrator.
    Files {
        /// Who asks.
        ticket: Ticket,
        /// The part of the files that this session may see.
        tree: Arc<files::Tree>,
        /// The operation.
        act: Box<files::Act>,
    },
    /// Check a name and a password.
    Login {
        /// Who asks.
        ticket: Ticket,
        /// Name and password.
        login: Box<Login>,
    },
}

/// The answers of those threads.
#[derive(Debug)]
pub enum Answer {
    /// The bytes, or why there are none.
    Opened {
        /// Who asked.
        ticket: Ticket,
        /// The bytes, or why there are none.
        result: Result<Arc<Blob>, OpenError>,
    },
    /// Whether the mapping is still one version of the file.
    Verified {
        /// Who asked.
        ticket: Ticket,
        /// False if the file was changed in place since it was mapped.
        unchanged: bool,
    },
    /// The upload is durable, or why it is not.
    Stored {
        /// Who asked.
        ticket: Ticket,
        /// The result, once file and directory are synced.
        result: Result<Stored, StoreError>,
    },
    /// The file is gone, or why it is not.
    Deleted {
        /// Who asked.
        ticket: Ticket,
        /// The result, once the directory is synced.
        result: Result<(), StoreError>,
    },
    /// What was done for an unfinished upload, or why nothing was.
    Upload {
        /// Who asked.
        ticket: Ticket,
        /// What was done.
        result: Result<PartDone, StoreError>,
    },
    /// A part of a file.
    Read {
        /// Who asked.
        ticket: Ticket,
        /// Exactly the requested bytes, or why there are none.
        result: Result<Vec<u8>, OpenError>,
    },
    /// What the vault did.
    Vault {
        /// Who asked.
        ticket: Ticket,
        /// What was done, or why it was not.
        result: Result<VaultReply, VaultError>,
    },
    /// What was done with the data directories.
    Files {
        /// Who asked.
        ticket: Ticket,
        /// What was done, or why it was not.
        result: Result<files::Done, files::Fault>,
    },
    /// Whether a user may log in.
    Login {
        /// Who asked.
        ticket: Ticket,
        /// The index of the users' file that has the user, or why none does.
        result: Result<usize, VaultError>,
    },
}

impl Ask {
    /// Who asks.
    #[must_use]
    pub fn ticket(&self) -> Ticket {
        match self {
            Ask::Open { ticket, .. }
            | Ask::Verify { ticket, .. }
            | Ask::Store { ticket, .. }
            | Ask::Delete { ticket, .. }
            | Ask::Upload { ticket, .. }
            | Ask::Read { ticket, .. }
            | Ask::Vault { ticket, .. }
            | Ask::Files { ticket, .. }
            | Ask::Login { ticket, .. } => *ticket,
        }
    }
}

impl Answer {
    /// Who asked.
    #[must_use]
    pub fn ticket(&self) -> Ticket {
        match self {
            Answer::Opened { ticket, .. }
            | Answer::Verified { ticket, .. }
            | Answer::Stored { ticket, .. }
            | Answer::Deleted { ticket, .. }
            | Answer::Upload { ticket, .. }
            | Answer::Read { ticket, .. }
            | Answer::Vault { ticket, .. }
            | Answer::Files { ticket, .. }
            | Answer::Login { ticket, .. } => *ticket,
        }
    }
}
