//! What the threads beside the workers have done and keep, as figures for status and metrics.
//!
//! Counts nothing itself.

use crate::content::hasher::DigestFigures;
use crate::content::loader::LoaderFigures;
use crate::count::{Figure, Kind};
use crate::vault::auth::GateFigures;
use crate::vault::threads::VaultFigures;

/// The figures of the loader and of the vault.
#[must_use]
pub fn of(loader: &LoaderFigures) -> Vec<Figure> {
    let LoaderFigures {
        loads,
        unsettled,
        forgotten,
        heap_bytes,
        sealed_files,
        mapped_files,
        disk_timeouts,
        digests,
        vault,
    } = *loader;
    let DigestFigures { hashed, hashed_bytes, refused: hashes_refused, known: hashes } = digests;
    let VaultFigures { kept, fetched, forgotten: deleted, pruned, failed, secrets } = vault;
    let GateFigures { checked, refused, slowed, pinned } = secrets;
    let total = |name, value, help| Figure { name, kind: Kind::Total, help, value };
    let gauge = |name, value, help| Figure { name, kind: Kind::Gauge, help, value };
    vec![
        total("files_loaded", loads, "Files read or mapped."),
        total("files_unsettled", unsettled, "Looks at files that somebody was writing just then."),
        total("files_unloaded", forgotten, "Files forgotten to make room for others."),
        gauge("files_memory_bytes", heap_bytes, "Bytes of files in memory."),
        gauge("files_sealed", sealed_files, "Files in sealed memory."),
        gauge("files_mapped", mapped_files, "Files that are mapped."),
        total("files_disk_timeouts", disk_timeouts, "Answers that a disk did not give in time."),
        total("files_hashed", hashed, "Files hashed for their entity tags."),
        total("files_hashed_bytes", hashed_bytes, "Bytes of files that were hashed."),
        total("files_hashes_refused", hashes_refused, "Hashes forgotten: too many are kept."),
        gauge("files_hashes", hashes, "Hashes of files that are kept."),
        total("vault_kept", kept, "Versions that phones have stored, each durable."),
        total("vault_fetched", fetched, "Versions that phones have fetched."),
        total("vault_deleted", deleted, "Items that phones have deleted."),
        total("vault_pruned", pruned, "Old versions removed, by their number or their age."),
        total("vault_failed", failed, "Requests to the vault that the disk did not allow."),
        total("vault_secrets_checked", checked, "Secrets hashed: those met before are not."),
        total("vault_secrets_wrong", refused, "Requests to the vault with a wrong secret."),
        total("vault_secrets_slowed", slowed, "Requests refused after too many wrong secrets."),
        total("vault_secrets_pinned", pinned, "Extensions that have got their first secret."),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::count::Counters;

    #[test]
    fn every_figure_has_a_name_of_its_own() {
        let secrets = GateFigures { checked: 17, refused: 18, slowed: 19, pinned: 20 };
        let vault =
            VaultFigures { kept: 12, fetched: 13, forgotten: 14, pruned: 15, failed: 16, secrets };
        let digests = DigestFigures { hashed: 8, hashed_bytes: 9, refused: 10, known: 11 };
        let figures = of(&LoaderFigures {
            loads: 1,
            unsettled: 2,
            forgotten: 3,
            heap_bytes: 4,
            sealed_files: 5,
            mapped_files: 6,
            disk_timeouts: 7,
            digests,
            vault,
        });
        let values: Vec<u64> = figures.iter().map(|figure| figure.value).collect();
        assert_eq!(values, (1..=20).collect::<Vec<u64>>());
        let workers = Counters::default().figures();
        let mut names: Vec<_> = figures.iter().chain(&workers).map(|one| one.name).collect();
        names.sort_unstable();
        let all = names.len();
        names.dedup();
        assert_eq!(names.len(), all);
    }
}
