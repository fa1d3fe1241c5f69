//! The writer's jobs, and their results.
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
    /// The deletion of a file that an upload stored.
    Delete(&'a Deletion),
    /// A permitted vault request, and the hash of the secret that is pinned to its extension from
    /// then on.
    Vault(&'a VaultRequest, Option<&'a str>),
}

/// The result of a job.
#[derive(Debug)]
pub enum Outcome {
    /// The upload is durable, or why it is not.
    Upload(Result<Stored, StoreError>),
    /// The file is gone, durably, or why it is not.
    Deleted(Result<(), StoreError>),
    /// The request is done, durably, or why it is not.
    Vault(Result<VaultReply, VaultError>),
}

/// What a job changes: two jobs that change the same run one after the other.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Changes<'a> {
    File(u16, &'a [u8]),
    Extension(&'a Path, &'a str),
}

/// How many of the first jobs change different things, so that they can run together.
pub(super) fn independent(jobs: &[Job<'_>]) -> usize {
    let mut changed = HashSet::new();
    let changes = jobs.iter().map(|job| match job {
        Job::Upload(upload) => Changes::File(upload.directory, upload.name.as_bytes()),
        Job::Delete(deletion) => Changes::File(deletion.directory, deletion.name.as_bytes()),
        Job::Vault(request, _) => Changes::Extension(&request.policy.dir, &request.item.extension),
    });
    changes.take_while(|one| changed.insert(*one)).count()
}
