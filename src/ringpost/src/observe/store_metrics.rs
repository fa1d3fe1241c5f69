//! The counters of the threads besides the workers, for status and metrics.
//!
//! Counts nothing itself.

use engine::metrics::{Figure, Kind};
use store::StoreFigures;
use store::content::{DigestFigures, LoaderFigures};
use store::vault::{AuthFigures, VaultFigures};

/// The vault is nearly full from this percentage on.
const VAULT_WARN_PERCENT: u64 = 80;

/// Returns the counters of the store.
#[must_use]
pub(crate) fn of(store: &StoreFigures) -> Vec<Figure> {
    let StoreFigures { loader, digests, vault } = *store;
    let LoaderFigures {
        loads,
        unsettled,
        forgotten,
        heap_bytes,
        sealed_files,
        mapped_files,
        disk_timeouts,
    } = loader;
    let DigestFigures { hashed, hashed_bytes, refused: hashes_refused, known: hashes } = digests;
    let VaultFigures { kept, fetched, forgotten: deleted, pruned, failed, .. } = vault;
    let VaultFigures { fill, cut_bytes, clock_leaps, secrets, .. } = vault;
    let AuthFigures { checked, refused, slowed, pinned } = secrets;
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
        gauge("vault_bytes", fill.bytes, "Bytes in the vault, as last added up."),
        gauge("vault_bytes_max", fill.bytes_max, "Most bytes that the vault may hold."),
        gauge("vault_bytes_left", fill.left, "Bytes that it may still take: total_max, reserve."),
        total("vault_full", fill.full, "Stores refused because the vault or its disk was full."),
        total(
            "vault_reserved",
            fill.reserved,
            "Those of them refused for the reserve of its disk.",
        ),
        total("vault_too_much", fill.too_much, "Stores refused to addresses that stored too much."),
        total("uploads_cut_bytes", cut_bytes, "Oldest bytes cut off files that are appended to."),
        total("vault_clock_leaps", clock_leaps, "Leaps of the clock that storing has shown."),
        total("vault_secrets_checked", checked, "Secrets hashed: those met before are not."),
        total("vault_secrets_wrong", refused, "Requests to the vault with a wrong secret."),
        total("vault_secrets_slowed", slowed, "Requests refused after too many wrong secrets."),
        total("vault_secrets_pinned", pinned, "Extensions that have got their first secret."),
    ]
}

/// Returns the counter of lost log lines.
#[must_use]
pub(crate) fn log_lines_lost(value: u64) -> Figure {
    let help = "Lines of the log that could not be written: a full disk, or nobody reads them.";
    Figure { name: "log_lines_lost", kind: Kind::Total, help, value }
}

/// Returns warnings, in sentences.
#[must_use]
pub(crate) fn warnings(figures: &[Figure]) -> Vec<String> {
    let value = |name: &str| {
        figures.iter().find(|figure| figure.name == name).map_or(0, |figure| figure.value)
    };
    let mut warnings = Vec::new();
    let (bytes, left) = (value("vault_bytes"), value("vault_bytes_left"));
    let by_total = value("vault_bytes_max");
    let most = bytes.saturating_add(left).min(by_total);
    if most > 0 && bytes >= most / 100 * VAULT_WARN_PERCENT {
        let percent = bytes.saturating_mul(100) / most;
        let mend = match most < by_total {
            true => "what is free of its disk is nearly the `reserve` of [vault]; make room there",
            false => "raise `total_max` in [vault]",
        };
        warnings.push(format!(
            "the vault is {percent} % full, and keeps nothing more at 100 %; {mend}, or keep \
             versions and archives for less long"
        ));
    }
    let lost = value("log_lines_lost");
    if lost > 0 {
        warnings.push(format!(
            "{lost} lines of the log were lost since the start: its disk was full, or nobody read \
             standard error"
        ));
    }
    if value("vault_clock_leaps") > 0 {
        warnings.push(
            "the clock of this host has leapt since the start; see the log, and whether it is \
             right now (NTP)"
                .into(),
        );
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;
    use engine::metrics::Counters;
    use store::vault::VaultUsage;

    #[test]
    fn a_vault_that_is_nearly_full_is_told_of_before_it_is() {
        let warning = |bytes, left| {
            let gauge = |name, value| Figure { name, kind: Kind::Gauge, help: "", value };
            let (bytes, left) = (gauge("vault_bytes", bytes), gauge("vault_bytes_left", left));
            warnings(&[bytes, gauge("vault_bytes_max", 1_000), left]).pop().unwrap_or_default()
        };
        assert_eq!(warning(799, 201), "");
        let total = warning(810, 190);
        assert!(total.contains("81 % full") && total.contains("`total_max`"), "{total}");
        let reserve = warning(90, 10);
        assert!(reserve.contains("90 % full") && reserve.contains("`reserve`"), "{reserve}");
        assert_eq!(warning(0, 500), "", "an empty vault on a small disk");
    }

    #[test]
    fn every_figure_has_a_name_of_its_own() {
        let secrets = AuthFigures { checked: 25, refused: 26, slowed: 27, pinned: 28 };
        let digests = DigestFigures { hashed: 8, hashed_bytes: 9, refused: 10, known: 11 };
        let vault = VaultFigures {
            kept: 12,
            fetched: 13,
            forgotten: 14,
            pruned: 15,
            failed: 16,
            fill: VaultUsage {
                bytes: 17,
                bytes_max: 18,
                left: 19,
                full: 20,
                reserved: 21,
                too_much: 22,
            },
            cut_bytes: 23,
            clock_leaps: 24,
            secrets,
        };
        let loader = LoaderFigures {
            loads: 1,
            unsettled: 2,
            forgotten: 3,
            heap_bytes: 4,
            sealed_files: 5,
            mapped_files: 6,
            disk_timeouts: 7,
        };
        let figures = of(&StoreFigures { loader, digests, vault });
        let values: Vec<u64> = figures.iter().map(|figure| figure.value).collect();
        assert_eq!(values, (1..=28).collect::<Vec<u64>>());
        let workers = Counters::default().figures();
        let mut names: Vec<_> = figures.iter().chain(&workers).map(|one| one.name).collect();
        names.sort_unstable();
        let all = names.len();
        names.dedup();
        assert_eq!(names.len(), all);
    }
}
