//! Limits on what the vault accepts: of all clients together, and of one address within the hour.
//!
//! Checks the disk, and logs what only an administrator can mend; writes nothing.

use std::io;
use std::path::Path;

use super::jobs::Job;
use super::total::Totals;
use crate::durable::Disk;
use engine::vault::bounds::{BoundReached, RecentStores};
use engine::vault::request::{VaultError, VaultOp, VaultRequest};
use wire::time::Instant;

/// The reserve is at most one part in so many of a small disk.
const RESERVE_SHARE: u64 = 20;

/// How full the vault is, and what was refused for that.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VaultUsage {
    /// Bytes in the vault, archives included; 0 until they are added up.
    pub bytes: u64,
    /// The most that it may hold; 0 until something was stored.
    pub bytes_max: u64,
    /// Bytes that it may still take, by `total_max` or by `reserve`, whichever is less.
    pub left: u64,
    /// Stores refused because the vault, or its disk, had no room.
    pub full: u64,
    /// Those of them refused because of the disk's reserve.
    pub reserved: u64,
    /// Stores refused because their address had sent too much within the hour.
    pub too_much: u64,
}

/// Counts and refuses.
#[derive(Debug)]
pub struct Limits {
    started: std::time::Instant,
    recent_stores: RecentStores,
    totals: Totals,
    fill: VaultUsage,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            started: std::time::Instant::now(),
            recent_stores: RecentStores::default(),
            totals: Totals::default(),
            fill: VaultUsage::default(),
        }
    }
}

impl Limits {
    /// Returns how full it is.
    #[must_use]
    pub fn fill(&self) -> VaultUsage {
        self.fill
    }

    /// Counts the bytes of a request.
    ///
    /// # Errors
    /// [`VaultError::TotalMax`] and [`VaultError::Reserve`] if there is no room,
    /// [`VaultError::TooMuch`] if its address has to wait.
    pub(super) fn count(&mut self, disk: &Disk, request: &VaultRequest) -> Result<(), VaultError> {
        let VaultOp::Keep { bytes, .. } = &request.op else { return Ok(()) };
        let (vault, bounds) = (&request.policy.dir, &request.policy.bounds);
        let more = bytes.len() as u64;
        let total = self.totals.bytes(vault, bounds.total_bytes_max);
        (self.fill.bytes, self.fill.bytes_max) = (total.unwrap_or(0), bounds.total_bytes_max);
        let by_total = bounds.total_bytes_max.saturating_sub(total.unwrap_or(0));
        let by_reserve = beyond_reserve(vault, bounds.reserve_bytes);
        self.fill.left = by_total.min(by_reserve);
        if total.is_some() && more > by_total {
            self.fill.full += 1;
            let why = "it holds as much as `total_max` in [vault] allows; raise that, or make room";
            let why = io::Error::new(io::ErrorKind::QuotaExceeded, why);
            disk.log.error(&why, "keep any more in", vault);
            return Err(VaultError::TotalMax);
        }
        if more > by_reserve {
            self.fill.full += 1;
            self.fill.reserved += 1;
            let why = "what is left free of its disk is the `reserve` of [vault]; make room";
            let why = io::Error::new(io::ErrorKind::StorageFull, why);
            disk.log.error(&why, "keep any more in", vault);
            return Err(VaultError::Reserve);
        }
        let is_new = vault.join(&*request.item.extension).symlink_metadata().is_err();
        let now = Instant::START + self.started.elapsed();
        let counted = self.recent_stores.count(request.client, (is_new, more), bounds, now);
        counted.map_err(|(reached, wait, is_first)| {
            self.fill.too_much += 1;
            if is_first {
                let text = match reached {
                    BoundReached::New => "begun as many extensions as `new_per_hour`",
                    BoundReached::Bytes => "stored as much as `bytes_per_hour`",
                };
                let client = request.client.to_canonical();
                tracing::warn!(
                    "{client} has {text} in [vault] allows; more is refused for a while"
                );
            }
            VaultError::TooMuch(wait)
        })
    }

    /// Notes that a request has succeeded.
    pub(super) fn stored(&mut self, job: &Job<'_>) {
        let Job::Vault(request, _) = job else { return };
        if let VaultOp::Keep { bytes, .. } = &request.op {
            self.totals.add(&request.policy.dir, bytes.len() as u64);
            self.fill.bytes = self.fill.bytes.saturating_add(bytes.len() as u64);
            self.fill.left = self.fill.left.saturating_sub(bytes.len() as u64);
        }
    }

    /// Waits until all sizes are added up.
    #[cfg(test)]
    pub(in crate::vault) fn wait_until_counted(&mut self) {
        self.totals.wait_until_counted();
    }
}

/// Returns how much of a disk is free beyond its reserve.
#[cfg(unix)]
fn beyond_reserve(path: &Path, reserve_bytes: u64) -> u64 {
    let there = path.ancestors().find(|path| path.exists()).unwrap_or(Path::new("."));
    let there = if there.as_os_str().is_empty() { Path::new(".") } else { there };
    let Ok(disk) = nix::sys::statvfs::statvfs(there) else { return u64::MAX };
    let block_bytes = disk.fragment_size();
    let free = disk.blocks_available().saturating_mul(block_bytes);
    let all = disk.blocks().saturating_mul(block_bytes);
    free_beyond((free, all), reserve_bytes)
}

/// Returns how much is free beyond the reserve, by the disk's free and total bytes.
#[cfg(unix)]
fn free_beyond((free, all): (u64, u64), reserve_bytes: u64) -> u64 {
    match all {
        // A file system that reports no size has no limit either.
        0 => u64::MAX,
        _ => free.saturating_sub(reserve_bytes.min(all / RESERVE_SHARE)),
    }
}

#[cfg(not(unix))]
fn beyond_reserve(_: &Path, _: u64) -> u64 {
    u64::MAX
}

#[cfg(unix)]
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reserve_is_never_more_than_a_twentieth_of_the_disk() {
        assert_eq!(free_beyond((51, 1_000), u64::MAX), 1);
        assert_eq!(free_beyond((50, 1_000), u64::MAX), 0);
        assert_eq!((free_beyond((11, 1_000), 10), free_beyond((9, 1_000), 10)), (1, 0));
        assert_eq!(free_beyond((0, 0), u64::MAX), u64::MAX, "a file system that tells no size");
    }
}
