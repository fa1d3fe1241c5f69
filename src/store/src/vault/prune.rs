//! Which of an item's versions have had their time, and their removal.
//!
//! Never removes the newest, and what is archived only where too much waits for that.

use std::io;

use cap_std::fs::Dir;

use super::note::Notes;
use super::versions::{self, VersionName};
use super::write::Placed;
use super::{note, sequence};
use crate::durable::Disk;
use engine::vault::bounds::{Kept, thinned, within_floods};
use engine::vault::request::VaultPolicy;
use engine::vault::timestamp::Timestamp;

/// Versions of an item whose time is over and that wait for the archive, which is written at
/// night. Beyond, the oldest are removed: a phone that stores without end must not fill the disk.
const WAITING_MAX: usize = 1_000;

/// Removes versions whose time is over, never the newest; where they are archived, only those that
/// are more than can wait for that. Says how many went.
pub(super) fn prune(disk: &Disk, placed: &Placed, policy: &VaultPolicy, now: Timestamp) -> u64 {
    prune_directory(disk, placed, policy, now).unwrap_or_else(|why| {
        disk.log.error(&why, "remove old versions in", &placed.path);
        0
    })
}

fn prune_directory(
    disk: &Disk,
    placed: &Placed,
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

/// Those of an item's versions whose time in their place is over: beyond so many or older than so
/// long, never the newest. In order. Beyond so many, those of a flood go before what is older than
/// it; and while it is not certain what time it is, nothing is too old.
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

/// When each version was kept, and whether it is within a flood. How long a version came after the
/// one that was the newest then is known from its line, wherever that one is now.
fn kept(names: &[VersionName], notes: &Notes, now: Timestamp) -> Vec<Kept> {
    let moments = note::moments(names, notes, now);
    let gaps = names.iter().enumerate().map(|(place, name)| {
        let note = notes.get(&name.stamp);
        // Where a clock was set back, names tell no time.
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
