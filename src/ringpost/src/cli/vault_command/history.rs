//! `ringpost vault archive`, and queries of the past: archived versions, and the newest version at
//! a moment.
//!
//! A version in its directory takes precedence over its copy in an archive.

use std::collections::HashSet;
use std::time::{SystemTime, UNIX_EPOCH};

use super::error::{DiskError, VaultCommandError, VersionError};
use super::table::{VersionRow, date};
use super::{Vault, writer};
use engine::vault::names::Item;
use engine::vault::timestamp::Timestamp;
use store::vault::versions::{self, VersionName};
use store::vault::{archive_monthly, note};

/// The first and the last possible moment.
const EVER: (Timestamp, Timestamp) = (Timestamp(0), Timestamp(u64::MAX));

/// Selects a version of an item.
#[derive(Clone, Copy, Debug)]
pub(super) enum VersionSelector<'a> {
    /// The newest.
    Newest,
    /// The one with this name, or a name that begins so.
    Named(&'a str),
    /// The newest one at this moment.
    At(Timestamp),
}

impl Vault {
    /// Returns the bytes of a version, archived or not.
    pub(super) fn bytes(
        &self,
        item: &Item,
        which: VersionSelector<'_>,
    ) -> Result<(VersionName, Vec<u8>), VaultCommandError> {
        let never = || VersionError::NeverKept(item.clone());
        let name = match which {
            VersionSelector::Newest => *self.names(item)?.last().ok_or_else(never)?,
            VersionSelector::Named(requested) => {
                let mut names = self.names(item)?;
                names.extend(self.archived(item, EVER)?);
                names.sort_unstable();
                names.dedup();
                match names[..] {
                    [] => return Err(never().into()),
                    _ => select_version(item, &names, requested)?,
                }
            }
            VersionSelector::At(at) => self
                .newest_at(item, at)?
                .ok_or_else(|| VersionError::NotKeptBy { item: item.clone(), at })?,
        };
        if name.gone {
            return Err(VersionError::Deleted { item: item.clone(), at: name.stamp }.into());
        }
        let bytes = self.read(item, name)?;
        let gone = || VersionError::Removed { item: item.clone(), version: name };
        Ok((name, bytes.ok_or_else(gone)?))
    }

    fn read(&self, item: &Item, name: VersionName) -> Result<Option<Vec<u8>>, DiskError> {
        let vault = &self.policy.dir;
        let dir = versions::open(vault, item).map_err(|why| self.disk_error(why))?;
        let blob = dir.map(|dir| versions::read(&dir, name)).transpose();
        if let Some(blob) = blob.map_err(|why| self.disk_error(why))?.flatten() {
            return Ok(blob.as_slice().map(<[u8]>::to_vec));
        }
        archive_monthly::read(vault, item, name).map_err(|why| self.disk_error(why))
    }

    /// Returns the names of an item's archived versions between two months, as the archives list
    /// them.
    fn archived(
        &self,
        item: &Item,
        span: (Timestamp, Timestamp),
    ) -> Result<Vec<VersionName>, DiskError> {
        let rows = archive_monthly::list(&self.policy.dir, &item.extension, span);
        let rows = rows.map_err(|why| self.disk_error(why))?;
        Ok(rows.into_iter().filter(|row| row.0 == *item).map(|row| row.1).collect())
    }

    /// Returns the newest version of an item at a moment, which may be a deletion.
    fn newest_at(&self, item: &Item, at: Timestamp) -> Result<Option<VersionName>, DiskError> {
        let vault = &self.policy.dir;
        let archived = archive_monthly::notes(vault, item).map_err(|why| self.disk_error(why))?;
        let dir = versions::open(vault, item).map_err(|why| self.disk_error(why))?;
        let mut notes = dir.map(|dir| note::read(&dir)).unwrap_or_default();
        let mut names = self.names(item)?;
        for (name, noted) in archived {
            names.push(name);
            notes.extend(noted.map(|noted| (name.stamp, noted)));
        }
        names.sort_unstable();
        names.dedup();
        // A clock that was wrong once must not hide later versions.
        let moments = note::moments(&names, &notes, clock());
        let until = moments.iter().zip(&names).filter(|(moment, _)| **moment <= at);
        Ok(until.max().map(|(_, name)| *name))
    }

    /// Adds the versions that exist only in archives, in order.
    pub(super) fn add_archived(
        &self,
        extension: Option<&str>,
        rows: &mut Vec<VersionRow>,
    ) -> Result<(), DiskError> {
        let here: HashSet<_> = rows.iter().map(|row| (row.0.clone(), row.1)).collect();
        let extensions = match extension {
            Some(extension) => vec![extension.into()],
            None => self.archived_extensions()?,
        };
        for extension in extensions {
            let archived = archive_monthly::list(&self.policy.dir, &extension, EVER);
            let archived = archived.map_err(|why| self.disk_error(why))?.into_iter();
            let only = archived.filter(|row| !here.contains(&(row.0.clone(), row.1)));
            rows.extend(only.map(|(item, name, bytes)| (item, name, bytes, true)));
        }
        rows.sort_unstable();
        Ok(())
    }

    fn archived_extensions(&self) -> Result<Vec<Box<str>>, DiskError> {
        archive_monthly::extensions(&self.policy.dir).map_err(|why| self.disk_error(why))
    }

    /// Restores every item to its newest version at a moment. Items that did not exist then stay as
    /// they are.
    pub(super) fn restore_moment(
        &self,
        at: Timestamp,
        dry_run: bool,
    ) -> Result<String, VaultCommandError> {
        let mut items = self.items(None)?;
        for extension in self.archived_extensions()? {
            let rows = archive_monthly::list(&self.policy.dir, &extension, (EVER.0, at));
            let rows = rows.map_err(|why| self.disk_error(why))?;
            items.extend(rows.into_iter().map(|row| row.0));
        }
        items.sort_unstable();
        items.dedup();
        let (mut restored, mut same, mut absent) = (0_u64, 0_u64, 0_u64);
        let mut writer = writer();
        for item in &items {
            let then = self.newest_at(item, at)?.filter(|then| !then.gone);
            let Some(then) = then else {
                absent += 1;
                continue;
            };
            let now = self.names(item)?.pop();
            let bytes = self.read(item, then)?;
            let newest = now.filter(|now| !now.gone).map(|now| self.read(item, now)).transpose()?;
            if now == Some(then) || bytes.is_none() || newest.flatten() == bytes {
                same += 1;
                continue;
            }
            if !dry_run {
                let added = writer.add(&self.policy, item, bytes.as_deref());
                added.map_err(|why| VaultCommandError::RestoreStopped {
                    restored,
                    cause: self.disk_error(why),
                })?;
            }
            restored += 1;
        }
        let are = if dry_run { "would be" } else { "are" };
        Ok(format!(
            "{restored} {are} again what they were on {}; {same} are so anyway, and {absent} had \
             nothing then and stay as they are\n",
            date(at)
        ))
    }

    /// Archives old versions.
    pub(super) fn archive(&self) -> Result<String, VaultCommandError> {
        if self.policy.archive.is_none() {
            return Err(VaultCommandError::ArchivesOff);
        }
        let done = archive_monthly::gather(&self.policy, clock(), || true);
        let gathered = done.to_string();
        if done.troubles.is_empty() {
            return Ok(gathered + "\n");
        }
        Err(VaultCommandError::Archive { gathered, troubles: done.troubles })
    }
}

/// Returns the current time.
fn clock() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}

/// Parses `2026-11-03T12:00`, with seconds or without, or the name of a version.
pub(super) fn parse_moment(text: &str) -> Result<Timestamp, VaultCommandError> {
    let plain = text.trim().trim_end_matches(['Z', 'z']).replacen([' ', 't'], "T", 1);
    let seconds = match plain.len() {
        16 => ":00",
        _ => "",
    };
    let is_date = plain.len() + seconds.len() == "2026-11-03T12:00:00".len();
    let marks = [(4, b'-'), (7, b'-'), (13, b':'), (16, b':')];
    let whole = format!("{plain}{seconds}");
    let has_marks = marks.iter().all(|(at, mark)| whole.as_bytes().get(*at) == Some(mark));
    let digits = whole.replace(['-', ':'], "");
    let read = match is_date && has_marks {
        true => Timestamp::parse(&format!("{digits}.000000000Z")),
        false => Timestamp::parse(text),
    };
    read.ok_or_else(|| VaultCommandError::NotAMoment(text.to_owned()))
}

/// Returns the version with a name, or with a name that begins so.
fn select_version(
    item: &Item,
    names: &[VersionName],
    requested: &str,
) -> Result<VersionName, VersionError> {
    let matching: Vec<_> =
        names.iter().filter(|name| name.to_string().starts_with(requested)).collect();
    match matching[..] {
        [one] => Ok(*one),
        [] => {
            Err(VersionError::NoSuchVersion { item: item.clone(), requested: requested.to_owned() })
        }
        [first, .., last] => Err(VersionError::Ambiguous {
            requested: requested.to_owned(),
            count: matching.len(),
            first: *first,
            last: *last,
        }),
    }
}
