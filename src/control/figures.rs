//! What the threads beside the workers have done and keep, as figures for status and metrics.
//!
//! Counts nothing itself.

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
        vault,
    } = *loader;
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
        let secrets = GateFigures { checked: 12, refused: 13, slowed: 14, pinned: 15 };
        let vault =
            VaultFigures { kept: 7, fetched: 8, forgotten: 9, pruned: 10, failed: 11, secrets };
        let figures = of(&LoaderFigures {
            loads: 1,
            unsettled: 2,
            forgotten: 3,
            heap_bytes: 4,
            sealed_files: 5,
            mapped_files: 6,
            vault,
        });
        let values: Vec<u64> = figures.iter().map(|figure| figure.value).collect();
        assert_eq!(values, (1..=15).collect::<Vec<u64>>());
        let workers = Counters::default().figures();
        let mut names: Vec<_> = figures.iter().chain(&workers).map(|one| one.name).collect();
        names.sort_unstable();
        let all = names.len();
        names.dedup();
        assert_eq!(names.len(), all);
    }
}
