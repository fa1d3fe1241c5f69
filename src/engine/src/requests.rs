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
pub enum StoreRequest {
    /// Bring a file's bytes into memory.
    Open {
        /// The asker's ticket.
        ticket: Ticket,
        /// Which file.
        entry: Arc<Entry>,
        /// In which form.
        form: Form,
    },
    /// Check whether a mapped file has changed since it was mapped.
    Verify {
        /// The asker's ticket.
        ticket: Ticket,
        /// The mapping in question.
        blob: Arc<Blob>,
    },
    /// Write an upload beside its place, sync it, and put it there.
    Store {
        /// The asker's ticket.
        ticket: Ticket,
        /// The bytes and where they belong.
        upload: Box<Upload>,
    },
    /// Delete a file that an upload stored, and sync its directory.
    Delete {
        /// The asker's ticket.
        ticket: Ticket,
        /// Which.
        deletion: Box<Deletion>,
    },
    /// Do something for an unfinished upload.
    Upload {
        /// The asker's ticket.
        ticket: Ticket,
        /// The directory of the upload's rule.
        directory: u16,
        /// What to do.
        op: PartOp,
    },
    /// Read a part of a mapped file into this process, for callers that need the bytes themselves,
    /// as TLS does.
    Read {
        /// The asker's ticket.
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
        /// The asker's ticket.
        ticket: Ticket,
        /// The operation, the user and the credentials.
        request: Box<VaultRequest>,
    },
    /// Do something with the data directories, for an administrator.
    Files {
        /// The asker's ticket.
        ticket: Ticket,
        /// The part of the files that this session may see.
        tree: Arc<files::Tree>,
        /// The operation.
        op: Box<files::FilesOp>,
    },
    /// Check a name and a password.
    Login {
        /// The asker's ticket.
        ticket: Ticket,
        /// Name and password.
        login: Box<Login>,
    },
}

/// The answers of those threads.
#[derive(Debug)]
pub enum StoreReply {
    /// The bytes, or why there are none.
    Opened {
        /// The asker's ticket.
        ticket: Ticket,
        /// The bytes, or why there are none.
        result: Result<Arc<Blob>, OpenError>,
    },
    /// Whether the mapping is still one version of the file.
    Verified {
        /// The asker's ticket.
        ticket: Ticket,
        /// False if the file was changed in place since it was mapped.
        unchanged: bool,
    },
    /// The upload is durable, or why it is not.
    Stored {
        /// The asker's ticket.
        ticket: Ticket,
        /// The result, once file and directory are synced.
        result: Result<Stored, StoreError>,
    },
    /// The file is gone, or why it is not.
    Deleted {
        /// The asker's ticket.
        ticket: Ticket,
        /// The result, once the directory is synced.
        result: Result<(), StoreError>,
    },
    /// What was done for an unfinished upload, or why nothing was.
    Upload {
        /// The asker's ticket.
        ticket: Ticket,
        /// What was done.
        result: Result<PartDone, StoreError>,
    },
    /// A part of a file.
    Read {
        /// The asker's ticket.
        ticket: Ticket,
        /// Exactly the requested bytes, or why there are none.
        result: Result<Vec<u8>, OpenError>,
    },
    /// What the vault did.
    Vault {
        /// The asker's ticket.
        ticket: Ticket,
        /// What was done, or why it was not.
        result: Result<VaultReply, VaultError>,
    },
    /// What was done with the data directories.
    Files {
        /// The asker's ticket.
        ticket: Ticket,
        /// What was done, or why it was not.
        result: Result<files::FilesReply, files::FilesError>,
    },
    /// Whether a user may log in.
    Login {
        /// The asker's ticket.
        ticket: Ticket,
        /// The index of the users' file that has the user, or why none does.
        result: Result<usize, VaultError>,
    },
}

impl StoreRequest {
    /// Returns the ticket of the asker.
    #[must_use]
    pub fn ticket(&self) -> Ticket {
        match self {
            StoreRequest::Open { ticket, .. }
            | StoreRequest::Verify { ticket, .. }
            | StoreRequest::Store { ticket, .. }
            | StoreRequest::Delete { ticket, .. }
            | StoreRequest::Upload { ticket, .. }
            | StoreRequest::Read { ticket, .. }
            | StoreRequest::Vault { ticket, .. }
            | StoreRequest::Files { ticket, .. }
            | StoreRequest::Login { ticket, .. } => *ticket,
        }
    }
}

impl StoreReply {
    /// Returns the ticket of the asker.
    #[must_use]
    pub fn ticket(&self) -> Ticket {
        match self {
            StoreReply::Opened { ticket, .. }
            | StoreReply::Verified { ticket, .. }
            | StoreReply::Stored { ticket, .. }
            | StoreReply::Deleted { ticket, .. }
            | StoreReply::Upload { ticket, .. }
            | StoreReply::Read { ticket, .. }
            | StoreReply::Vault { ticket, .. }
            | StoreReply::Files { ticket, .. }
            | StoreReply::Login { ticket, .. } => *ticket,
        }
    }
}
