//! What machines ask of the threads that may wait for a disk, and what those answer.
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
    /// Say whether a mapped file is still what it was when it was mapped.
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
    /// Do something for an upload that is not whole yet.
    Upload {
        /// Who asks.
        ticket: Ticket,
        /// The directory that the upload goes to: the rule's.
        directory: u16,
        /// What.
        op: PartOp,
    },
    /// Read a part of a mapped file into this process: for whoever must see the bytes, as TLS must.
    Read {
        /// Who asks.
        ticket: Ticket,
        /// The mapping.
        blob: Arc<Blob>,
        /// Where the part starts.
        offset: u64,
        /// How many bytes; the file has as many behind `offset`.
        bytes: usize,
        /// Room that is used again.
        buffer: Vec<u8>,
    },
    /// Have the vault do something.
    Vault {
        /// Who asks.
        ticket: Ticket,
        /// What is wanted, by whom, and what they showed.
        request: Box<VaultRequest>,
    },
    /// Do something with the data directories, for an administrator.
    Files {
        /// Who asks.
        ticket: Ticket,
        /// What of them there is to be seen.
        tree: Arc<files::Tree>,
        /// What is wanted.
        act: Box<files::Act>,
    },
    /// Say whether somebody is who they say they are.
    Login {
        /// Who asks.
        ticket: Ticket,
        /// Name and password.
        login: Box<Login>,
    },
}

/// What those threads answer.
#[derive(Debug)]
pub enum Answer {
    /// The bytes, or why there are none.
    Opened {
        /// Who asked.
        ticket: Ticket,
        /// The bytes, or why there are none.
        result: Result<Arc<Blob>, OpenError>,
    },
    /// Whether the mapping still is one version of the file.
    Verified {
        /// Who asked.
        ticket: Ticket,
        /// False when the file was changed in place since it was mapped.
        unchanged: bool,
    },
    /// The upload is durable, or why it is not.
    Stored {
        /// Who asked.
        ticket: Ticket,
        /// Once file and directory are synced.
        result: Result<Stored, StoreError>,
    },
    /// The file is gone, or why it is not.
    Deleted {
        /// Who asked.
        ticket: Ticket,
        /// Once the directory is synced.
        result: Result<(), StoreError>,
    },
    /// What was done for an upload that is not whole yet, or why not.
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
        /// Exactly the bytes asked for, or why there are none.
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
    /// Whether somebody is let in.
    Login {
        /// Who asked.
        ticket: Ticket,
        /// Which of the users' files they are in; why not, where not.
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
