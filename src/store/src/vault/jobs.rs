//! What the writer is given to do, and what came of it.
//!
//! Values only.

use std::collections::HashSet;
use std::path::Path;

use engine::catalog::{StoreError, Stored};
use engine::vault::request::{VaultError, VaultReply, VaultRequest};
use engine::vault::upload::{Deletion, Upload};

/// Something to be made durable.
#[derive(Debug)]
pub enum Job<'a> {
    /// An upload by a rule.
    Upload(&'a Upload),
    /// A file that an upload stored and that is to go.
    Delete(&'a Deletion),
    /// A request of the vault that is permitted, and the hash of the secret that holds for its
    /// extension from then on.
    Vault(&'a VaultRequest, Option<&'a str>),
}

/// What came of it.
#[derive(Debug)]
pub enum Outcome {
    /// The upload is durable, or why it is not.
    Upload(Result<Stored, StoreError>),
    /// The file is gone, durably, or why it is not.
    Deleted(Result<(), StoreError>),
    /// The request is done, durably, or why it is not.
    Vault(Result<VaultReply, VaultError>),
}

/// What a job changes: two that change the same are done one after the other.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Changes<'a> {
    File(u16, &'a [u8]),
    Extension(&'a Path, &'a str),
}

/// How many of the first jobs change different things, so that none must see what another did.
pub(super) fn independent(jobs: &[Job<'_>]) -> usize {
    let mut changed = HashSet::new();
    let changes = jobs.iter().map(|job| match job {
        Job::Upload(upload) => Changes::File(upload.directory, upload.name.as_bytes()),
        Job::Delete(deletion) => Changes::File(deletion.directory, deletion.name.as_bytes()),
        Job::Vault(request, _) => Changes::Extension(&request.policy.dir, &request.item.extension),
    });
    changes.take_while(|one| changed.insert(*one)).count()
}
