//! Archives old versions by month: `<vault>/archive/2026-11/4711.tar.gz`, a gzipped tar in the
//! format of `archive.rs`, which `ringpost vault import` reads as well.
//!
//! Each month and extension has an archive of its own: a person's data is found, restored or
//! deleted by reading a few kilobytes, and gzip compresses many nearly equal versions well. An
//! archive that grows is written anew to a temporary file and renamed, never appended to, so that a
//! crash leaves the old one or the new one.
//!
//! A version is removed from its directory only when its archive is durable and was read again to
//! the end. A crash before that leaves it in both; readers use the one in its directory, and the
//! next run removes it. Two processes may run at once: the one that writes an archive holds its
//! temporary name.
//!
//! Never archives an item's newest version, and never overwrites a damaged archive.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::io::{self, BufReader, BufWriter};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cap_std::ambient_authority;
use cap_std::fs::Dir;

use super::archive::{self, Limits, Packer};
use super::note::{self, Note};
use super::versions::{self, VERSION_BYTES_LIMIT, VersionName};
use super::write::{self, DIRECTORY_MODE, VERSION_MODE};
use super::{prune, sequence};
use crate::durable::{Disk, FileAttrs, TEMP_PREFIX, Target, TempFile};
use engine::vault::names::Item;
use engine::vault::request::{ArchivePolicy, VaultPolicy};
use engine::vault::timestamp::Timestamp;

/// The directory in the vault that contains the months.
pub(crate) const ARCHIVE: &str = "archive";
/// How an archive's name ends, after the extension.
const ENDING: &str = ".tar.gz";
/// How long a run waits before each archive for uploads under way.
const YIELD_MAX: Duration = Duration::from_secs(2);
/// Interval between two checks whether they are done.
const YIELD_LOOK: Duration = Duration::from_millis(20);
/// An archived version passed the limits when it was stored.
const ANY: Limits = Limits { bytes_max: VERSION_BYTES_LIMIT, latest: Timestamp(u64::MAX) };

/// A month: `2026-11`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Month([u8; 7]);

impl Month {
    /// Returns the month of a moment, in UTC.
    #[must_use]
    pub(crate) fn of(stamp: Timestamp) -> Self {
        let digits = stamp.to_string();
        let mut month = *b"0000-00";
        for (to, from) in [0, 1, 2, 3, 5, 6].into_iter().zip(digits.bytes()) {
            month[to] = from;
        }
        Month(month)
    }

    fn parse(name: &str) -> Option<Self> {
        let month = Month(name.as_bytes().try_into().ok()?);
        (Month::of(month.begin()?) == month).then_some(month)
    }

    fn begin(self) -> Option<Timestamp> {
        let text = self.to_string();
        let (year, month) = text.split_once('-')?;
        Timestamp::parse(&format!("{year}{month}01T000000.000000000Z"))
    }
}

impl fmt::Display for Month {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::str::from_utf8(&self.0).unwrap_or_default())
    }
}

/// What a run did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ArchiveReport {
    /// Versions moved to an archive.
    pub versions: u64,
    /// Archives written.
    pub archives: u64,
    /// Archives removed because they expired.
    pub expired: u64,
    /// Archives that another process was writing; the next run continues there.
    pub busy: u64,
    /// What failed, in sentences; everything else was done.
    pub troubles: Vec<String>,
}

impl fmt::Display for ArchiveReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ArchiveReport { versions, archives, expired, busy, troubles: _ } = self;
        write!(f, "{versions} old versions went into archives, of which {archives} were written")?;
        if *expired > 0 {
            write!(f, "; {expired} archives were old enough to be removed")?;
        }
        if *busy > 0 {
            write!(f, "; {busy} are being written by somebody else just now")?;
        }
        Ok(())
    }
}

/// Archives every expired version, and removes expired archives. Ends early if `go_on` says so. May
/// run beside a server.
pub fn gather(policy: &VaultPolicy, now: Timestamp, go_on: impl Fn() -> bool) -> ArchiveReport {
    gather_with(&mut Disk::default(), policy, now, go_on)
}

pub(super) fn gather_with(
    disk: &mut Disk,
    policy: &VaultPolicy,
    now: Timestamp,
    go_on: impl Fn() -> bool,
) -> ArchiveReport {
    let mut gathered = ArchiveReport::default();
    let Some(archive) = &policy.archive else { return gathered };
    let vault = &policy.dir;
    let items = versions::items(vault, None).unwrap_or_else(|why| {
        gathered.troubles.push(format!("cannot read {}: {why}", vault.display()));
        Vec::new()
    });
    for items in items.chunk_by(|one, next| one.extension == next.extension) {
        for (month, due) in due(policy, items, now, &mut gathered) {
            if !go_on() {
                return gathered;
            }
            yield_to_writers(vault, &go_on);
            let (extension, due) = (&items[0].extension, &due);
            let one = Gathering { vault, extension, month, due };
            match one.run(disk) {
                Ok(Some((versions, archives))) => {
                    gathered.versions += versions;
                    gathered.archives += archives;
                }
                Ok(None) => gathered.busy += 1,
                Err(why) => gathered.troubles.push(format!(
                    "{} stays as it is: {why}",
                    path(vault, month, extension).display()
                )),
            }
        }
    }
    if !sequence::is_steady(vault, now) {
        let text = "the clock leapt ahead, so nothing is removed or gathered for its age until it \
                    has been steady for a day";
        gathered.troubles.push(text.into());
        return gathered;
    }
    match expire(vault, archive, now) {
        Ok(expired) => gathered.expired = expired,
        Err(why) => {
            let text = format!("cannot remove old archives in {}: {why}", vault.display());
            gathered.troubles.push(text);
        }
    }
    gathered
}

type Due = Vec<(Item, VersionName)>;

/// Returns an extension's expired versions, by month.
fn due(
    policy: &VaultPolicy,
    items: &[Item],
    now: Timestamp,
    gathered: &mut ArchiveReport,
) -> BTreeMap<Month, Due> {
    let mut months: BTreeMap<_, Due> = BTreeMap::new();
    for item in items {
        let over = versions::open(&policy.dir, item)
            .and_then(|dir| dir.map_or(Ok(Vec::new()), |dir| prune::over(&dir, policy, now)));
        let over = over.unwrap_or_else(|why| {
            gathered.troubles.push(format!("cannot read the versions of {item}: {why}"));
            Vec::new()
        });
        for name in over {
            months.entry(Month::of(name.stamp)).or_default().push((item.clone(), name));
        }
    }
    months
}

/// Waits while a version is being written, up to a limit.
fn yield_to_writers(vault: &Path, go_on: impl Fn() -> bool) {
    let began = Instant::now();
    while go_on() && write::is_being_written(vault) && began.elapsed() < YIELD_MAX {
        std::thread::sleep(YIELD_LOOK);
    }
}

/// An archive that grows.
struct Gathering<'a> {
    vault: &'a Path,
    extension: &'a str,
    month: Month,
    due: &'a Due,
}

impl Gathering<'_> {
    /// Returns how many versions were moved, and how many archives were written, or `None` if
    /// another process writes this one.
    fn run(&self, disk: &mut Disk) -> io::Result<Option<(u64, u64)>> {
        let top = disk.top(self.vault)?;
        let archives = disk.inner(&top, self.vault, ARCHIVE, DIRECTORY_MODE)?;
        let archives_path = self.vault.join(ARCHIVE);
        let month = self.month.to_string();
        let dir = disk.inner(&archives, &archives_path, &month, DIRECTORY_MODE)?;
        let from = write::aside_directory(disk, &top, self.vault)?;
        let name = format!("{}{ENDING}", self.extension);
        let to = Target { dir: Arc::clone(&dir), path: archives_path.join(&month), name };
        let claim = format!("{TEMP_PREFIX}{}_{ARCHIVE}_{month}", self.extension);
        let attrs = FileAttrs { mode: VERSION_MODE, ..FileAttrs::default() };
        let temp = match disk.create_temp((&from, &claim), to.clone(), attrs) {
            Err(held) if write::is_held(&held) => return Ok(None),
            temp => temp?,
        };
        let written = match self.write(disk, &temp) {
            Ok(written) => written,
            Err(why) => {
                disk.discard(temp);
                return Err(why);
            }
        };
        if written == 0 {
            // An earlier run was interrupted after it. Whether the file is durable is unknown.
            disk.discard(temp);
            disk.changed(&to.path, &dir);
        } else {
            let mut temp = temp;
            disk.sync_files(std::iter::once(&mut temp));
            disk.place(temp)?;
        }
        if let Some(path) = disk.sync().first() {
            return Err(io::Error::other(format!("{} cannot be synced", path.display())));
        }
        Ok(Some((self.remove(disk)?, u64::from(written > 0))))
    }

    /// Writes the archive's present versions and then the new ones. Returns the number of new ones.
    fn write(&self, disk: &Disk, temp: &TempFile) -> io::Result<u64> {
        disk.fill_with(temp, |file| {
            let mut packer = Packer::new(BufWriter::new(file));
            let mut there = HashSet::new();
            each(self.vault, self.month, self.extension, |item, name, bytes, note| {
                there.insert((item.clone(), name));
                packer.add(item, name, bytes, note)
            })?;
            let mut written = 0;
            for (item, name) in self.due {
                if there.contains(&(item.clone(), *name)) {
                    continue;
                }
                let Some(dir) = versions::open(self.vault, item)? else { continue };
                let Some(blob) = versions::read(&dir, *name)? else { continue };
                let note = note::read(&dir).remove(&name.stamp);
                packer.add(item, *name, blob.as_slice().unwrap_or_default(), note.as_ref())?;
                written += 1;
            }
            packer.finish()?;
            Ok(written)
        })
    }

    /// Removes the versions that the archive contains byte for byte, as read again.
    fn remove(&self, disk: &Disk) -> io::Result<u64> {
        let due: HashSet<_> = self.due.iter().map(|(item, name)| (item, *name)).collect();
        let mut safe = Vec::new();
        each(self.vault, self.month, self.extension, |item, name, bytes, _| {
            if !due.contains(&(item, name)) {
                return Ok(());
            }
            let Some(dir) = versions::open(self.vault, item)? else { return Ok(()) };
            let there = versions::read(&dir, name)?;
            if there.is_some_and(|there| there.as_slice() == Some(bytes)) {
                safe.push((dir, name));
            }
            Ok(())
        })?;
        for (dir, name) in &safe {
            disk.remove(dir, &name.to_string())?;
        }
        Ok(safe.len() as u64)
    }
}

/// Passes on each version of an archive, none if there is no archive.
fn each(
    vault: &Path,
    month: Month,
    extension: &str,
    take: impl FnMut(&Item, VersionName, &[u8], Option<&Note>) -> io::Result<()>,
) -> io::Result<()> {
    let dir = Dir::open_ambient_dir(vault, ambient_authority())
        .and_then(|top| top.open_dir(ARCHIVE))
        .and_then(|archives| archives.open_dir(month.to_string()));
    let file = match dir.and_then(|dir| dir.open(format!("{extension}{ENDING}"))) {
        Err(none) if none.kind() == io::ErrorKind::NotFound => return Ok(()),
        file => file?.into_std(),
    };
    archive::each(BufReader::new(file), ANY, take).map_err(|unfit| {
        let path = path(vault, month, extension);
        io::Error::other(format!("{}: {unfit}", path.display()))
    })
}

fn path(vault: &Path, month: Month, extension: &str) -> std::path::PathBuf {
    vault.join(ARCHIVE).join(month.to_string()).join(format!("{extension}{ENDING}"))
}

/// Returns the months that have archives, in order.
fn months(vault: &Path) -> io::Result<Vec<Month>> {
    let archives = Dir::open_ambient_dir(vault, ambient_authority())
        .and_then(|top| top.open_dir(ARCHIVE))
        .and_then(|archives| versions::members(&archives));
    let mut months: Vec<_> = match archives {
        Err(none) if none.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        names => names?.iter().filter_map(|name| Month::parse(name)).collect(),
    };
    months.sort_unstable();
    Ok(months)
}

/// Returns all extensions that have archives, in order.
///
/// # Errors
/// The system's error.
pub fn extensions(vault: &Path) -> io::Result<Vec<Box<str>>> {
    let mut extensions = Vec::new();
    for month in months(vault)? {
        let top = Dir::open_ambient_dir(vault, ambient_authority())?;
        let dir = top.open_dir(ARCHIVE)?.open_dir(month.to_string())?;
        let names = versions::members(&dir)?;
        extensions.extend(names.iter().filter_map(|name| Some(name.strip_suffix(ENDING)?.into())));
    }
    extensions.sort_unstable();
    extensions.dedup();
    Ok(extensions)
}

/// Returns an extension's archived versions between two moments, with their sizes, in order,
/// including those that are still in their directory as well.
///
/// # Errors
/// The system's error, or the damage to an archive, which it names.
pub fn list(
    vault: &Path,
    extension: &str,
    (from, to): (Timestamp, Timestamp),
) -> io::Result<Vec<(Item, VersionName, u64)>> {
    let mut rows = Vec::new();
    for month in months(vault)?.into_iter().filter(|month| within(*month, from, to)) {
        each(vault, month, extension, |item, name, bytes, _| {
            if *item.extension == *extension {
                rows.push((item.clone(), name, bytes.len() as u64));
            }
            Ok(())
        })?;
    }
    rows.sort_unstable();
    Ok(rows)
}

/// Returns the bytes of an archived version, or `None` if no archive has it.
///
/// # Errors
/// The system's error, or the damage to the archive.
pub fn read(vault: &Path, item: &Item, name: VersionName) -> io::Result<Option<Vec<u8>>> {
    let mut found = None;
    each(vault, Month::of(name.stamp), &item.extension, |of, there, bytes, _| {
        if of == item && there == name {
            found = Some(bytes.to_vec());
        }
        Ok(())
    })?;
    Ok(found)
}

/// Returns an item's archived versions, each with its note.
///
/// # Errors
/// The system's error, or the damage to an archive, which it names.
pub fn notes(vault: &Path, item: &Item) -> io::Result<Vec<(VersionName, Option<Note>)>> {
    let mut rows = Vec::new();
    for month in months(vault)? {
        each(vault, month, &item.extension, |of, name, _, note| {
            if of == item {
                rows.push((name, note.cloned()));
            }
            Ok(())
        })?;
    }
    Ok(rows)
}

fn within(month: Month, from: Timestamp, to: Timestamp) -> bool {
    Month::of(from) <= month && month <= Month::of(to)
}

/// Removes archives of months past their retention. Returns how many.
fn expire(vault: &Path, archive: &ArchivePolicy, now: Timestamp) -> io::Result<u64> {
    let keep_ns = u64::try_from(archive.keep.as_nanos()).unwrap_or(u64::MAX);
    // The whole month is older than the earliest moment that is kept.
    let first_kept = Month::of(Timestamp(now.0.saturating_sub(keep_ns)));
    let mut removed = 0;
    for month in months(vault)?.into_iter().filter(|month| *month < first_kept) {
        let archives = Dir::open_ambient_dir(vault, ambient_authority())?.open_dir(ARCHIVE)?;
        let dir = archives.open_dir(month.to_string())?;
        for name in versions::members(&dir)?.iter().filter(|name| name.ends_with(ENDING)) {
            dir.remove_file(name)?;
            removed += 1;
        }
        // Files of an administrator stay, and the directory with them.
        let _ = archives.remove_dir(month.to_string());
    }
    Ok(removed)
}
