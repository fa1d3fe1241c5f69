//! Which jobs of a batch may be done together: those of which none sees what another does.
//!
//! Compares; does none of them.

use std::collections::HashSet;
use std::path::Path;

use super::store::Job;

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
        Job::Deed(deed, _) => Changes::Extension(&deed.policy.dir, &deed.item.extension),
    });
    changes.take_while(|one| changed.insert(*one)).count()
}
