//! Adds up the size of a vault.
//!
//! A thread of its own does that, because a vault may have a million files; stores meanwhile are
//! added. Until the first sum is known, nothing is refused for it.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use cap_std::ambient_authority;
use cap_std::fs::Dir;

use super::directories::used_in;
use crate::offload;

/// Interval between two sums: versions are removed, and an administrator may have made room.
const RECOUNT_EVERY: Duration = Duration::from_secs(600);
/// The interval while it is nearly full.
const RECOUNT_FULL_EVERY: Duration = Duration::from_secs(30);

/// The vaults in use.
#[derive(Debug, Default)]
pub(super) struct Totals(HashMap<PathBuf, Total>);

#[derive(Debug)]
struct Total {
    bytes: Option<u64>,
    /// Bytes stored since the current sum was begun.
    added: u64,
    counting: Option<JoinHandle<u64>>,
    begun_at: Instant,
}

impl Totals {
    /// Returns the bytes in a vault, as far as known; begins a new sum if it is due.
    pub(super) fn bytes(&mut self, vault: &Path, bytes_max: u64) -> Option<u64> {
        let now = Instant::now();
        let fresh = || Total { bytes: None, added: 0, counting: count(vault), begun_at: now };
        let total = self.0.entry(vault.to_path_buf()).or_insert_with(fresh);
        total.update();
        let is_full = total.bytes.is_some_and(|bytes| bytes >= bytes_max / 10 * 9);
        let every = if is_full { RECOUNT_FULL_EVERY } else { RECOUNT_EVERY };
        if total.counting.is_none() && now.duration_since(total.begun_at) >= every {
            (total.added, total.counting, total.begun_at) = (0, count(vault), now);
        }
        total.bytes
    }

    /// Adds stored bytes.
    pub(super) fn add(&mut self, vault: &Path, bytes: u64) {
        let Some(total) = self.0.get_mut(vault) else { return };
        total.added += bytes;
        total.bytes = total.bytes.map(|known| known.saturating_add(bytes));
    }

    /// Waits for the current sums.
    #[cfg(test)]
    pub(super) fn wait_until_counted(&mut self) {
        for total in self.0.values_mut() {
            while total.counting.as_ref().is_some_and(|counting| !counting.is_finished()) {
                std::thread::yield_now();
            }
            total.update();
        }
    }
}

impl Total {
    fn update(&mut self) {
        let Some(counting) = self.counting.take_if(|counting| counting.is_finished()) else {
            return;
        };
        // What was stored meanwhile may be in the sum already, or not.
        self.bytes = counting.join().ok().map(|bytes| bytes.saturating_add(self.added));
    }
}

fn count(vault: &Path) -> Option<JoinHandle<u64>> {
    let vault = vault.to_path_buf();
    let counted = offload::spawn("vault-size", move || {
        let top = Dir::open_ambient_dir(&vault, ambient_authority());
        top.map_or(0, |top| used_in(&top).bytes)
    });
    counted.ok()
}
