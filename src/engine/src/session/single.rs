//! One request to an engine, for tests: the decision is read off what the engine does.

use crate::requests::Ask;
use crate::vault::spool::PartOp;

/// What an engine does for a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// It asks for the bytes of a file: the root, and the path in it.
    Serves(u16, String),
    /// It asks the vault for an item.
    AsksVault(String),
    /// It has a file stored: the directory's number, and the name.
    Stores(u16, String),
    /// It has a file deleted: the directory's number, and the name.
    Deletes(u16, String),
    /// It redirects the client to this location.
    Redirects(String),
    /// It answers from memory.
    Answers,
    /// It refuses.
    Refuses,
}

impl Seen {
    /// Reads the decision off a request to the threads that wait.
    pub fn of(ask: &Ask) -> Seen {
        match ask {
            Ask::Open { entry, .. } => Seen::Serves(entry.root.0, entry.path.to_string()),
            Ask::Vault { request, .. } => Seen::AsksVault(request.item.to_string()),
            Ask::Upload { directory, op: PartOp::Find { name }, .. } => {
                Seen::Stores(*directory, name.to_string())
            }
            Ask::Store { upload, .. } => Seen::Stores(upload.directory, upload.name.to_string()),
            Ask::Delete { deletion, .. } => {
                Seen::Deletes(deletion.directory, deletion.name.to_string())
            }
            Ask::Upload { .. }
            | Ask::Verify { .. }
            | Ask::Read { .. }
            | Ask::Files { .. }
            | Ask::Login { .. } => Seen::Refuses,
        }
    }
}
