//! One request to an engine, for tests: the decision is read off what the engine does.

use crate::requests::StoreRequest;
use crate::vault::spool::PartOp;

/// What an engine does for a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ObservedAction {
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

impl ObservedAction {
    /// Reads the decision off a request to the threads that wait.
    pub fn of(request: &StoreRequest) -> ObservedAction {
        match request {
            StoreRequest::Open { entry, .. } => {
                ObservedAction::Serves(entry.root.0, entry.path.to_string())
            }
            StoreRequest::Vault { request, .. } => {
                ObservedAction::AsksVault(request.item.to_string())
            }
            StoreRequest::Upload { directory, op: PartOp::Find { name }, .. } => {
                ObservedAction::Stores(*directory, name.to_string())
            }
            StoreRequest::Store { upload, .. } => {
                ObservedAction::Stores(upload.directory, upload.name.to_string())
            }
            StoreRequest::Delete { deletion, .. } => {
                ObservedAction::Deletes(deletion.directory, deletion.name.to_string())
            }
            StoreRequest::Upload { .. }
            | StoreRequest::Verify { .. }
            | StoreRequest::Read { .. }
            | StoreRequest::Files { .. }
            | StoreRequest::Login { .. } => ObservedAction::Refuses,
        }
    }
}
