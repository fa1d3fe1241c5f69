//! Finds an item's expired versions and removes them.
//!
//! Never removes the newest version, nor those that wait for the archive unless they are too many.

use std::io;

use cap_std::fs::Dir;

use super::note::Notes;
use super::versions::{self, VersionName};
use super::write::PlacedChange;
use super::{note, sequence};
use crate::durable::Disk;
use engine::vault::bounds::{Kept, thinned, within_floods};
use engine::vault::request::VaultPolicy;
use engine::vault::timestamp::Timestamp;

/// Most expired versions of an item that wait for the archive, which is written at night. The
/// oldest beyond it are removed: a phone that stores without end must not fill the disk.
const WAITING_MAX: usize = 1_000;

/// Removes expired versions, never the newest; with an archive, only those beyond [`WAITING_MAX`].
/// Returns how many.
pub(super) fn prune(
    disk: &Disk,
    placed: &PlacedChange,
    policy: &VaultPolicy,
    now: Timestamp,
) -> u64 {
    prune_directory(disk, placed, policy, now).unwrap_or_else(|why| {
        disk.log.error(&why, "remove old versions in", &placed.path);
        0
    })
}

fn prune_directory(
    disk: &Disk,
    placed: &PlacedChange,
    policy: &VaultPolicy,
    now: Timestamp,
) -> io::Result<u64> {
    let over = over_with_floods(&placed.dir, policy, now)?;
    let removed: Vec<_> = match policy.archive {
        Some(_) => {
            let kept: Vec<_> = over.iter().map(|one| one.1).collect();
            let thinned = thinned(&kept, over.len().saturating_sub(WAITING_MAX));
            thinned.into_iter().map(|place| over[place].0).collect()
        }
        None => over.into_iter().map(|one| one.0).collect(),
    };
    for name in &removed {
        disk.remove(&placed.dir, &name.to_string())?;
    }
    if !removed.is_empty() {
        note::tidy(&placed.dir, &versions::list(&placed.dir)?)?;
    }
    if policy.archive.is_some() && !removed.is_empty() {
        let why = "so many old ones wait for the archive that some had to go; run \
                   `ringpost vault archive`, and see which phone stores so often";
        disk.log.error(&io::Error::other(why), "keep all versions in", &placed.path);
    }
    Ok(removed.len() as u64)
}

/// Returns an item's expired versions, in order: beyond the number to keep, or too old, but never
/// the newest. Beyond the number, versions of a flood go before older ones; and while the clock is
/// uncertain, no version is too old.
pub(super) fn over(
    dir: &Dir,
    policy: &VaultPolicy,
    now: Timestamp,
) -> io::Result<Vec<VersionName>> {
    let over = over_with_floods(dir, policy, now)?;
    Ok(over.into_iter().map(|one| one.0).collect())
}

fn over_with_floods(
    dir: &Dir,
    policy: &VaultPolicy,
    now: Timestamp,
) -> io::Result<Vec<(VersionName, Kept)>> {
    let names = versions::list(dir)?;
    let age_max_ns = u64::try_from(policy.age_max.as_nanos()).unwrap_or(u64::MAX);
    let surplus = names.len().saturating_sub(policy.versions_max);
    let Some((_newest, older)) = names.split_last() else { return Ok(Vec::new()) };
    let is_old = |moment: Timestamp| now.0.saturating_sub(moment.0) > age_max_ns;
    if surplus == 0 && !older.first().is_some_and(|name| is_old(name.stamp)) {
        return Ok(Vec::new());
    }
    let kept = kept(&names, &note::read(dir), now);
    let is_steady = sequence::is_steady(&policy.dir, now);
    let mut gone = thinned(&kept, surplus);
    if is_steady {
        gone.extend((0..older.len()).filter(|place| is_old(kept[*place].at)));
    }
    gone.sort_unstable();
    gone.dedup();
    Ok(gone.into_iter().map(|place| (names[place], kept[place])).collect())
}

/// Returns when each version was kept, and whether it belongs to a flood. How long a version came
/// after its predecessor is known from its line, wherever the predecessor is now.
fn kept(names: &[VersionName], notes: &Notes, now: Timestamp) -> Vec<Kept> {
    let moments = note::moments(names, notes, now);
    let gaps = names.iter().enumerate().map(|(place, name)| {
        let note = notes.get(&name.stamp);
        // If a clock was set back, names do not give the time.
        let parent = note.filter(|note| note.kept_at == name.stamp).and_then(|note| note.parent);
        let gap_ns = match (parent, place.checked_sub(1)) {
            (Some(parent), _) => name.stamp.0.saturating_sub(parent.0),
            (None, Some(before)) => moments[place].0.saturating_sub(moments[before].0),
            (None, None) => u64::MAX,
        };
        (moments[place], gap_ns)
    });
    within_floods(&gaps.collect::<Vec<_>>())
}
