//! Old versions, gathered by month: `<vault>/archive/2026-11/4711.tar.gz`, a gzipped tar as
//! `archive.rs` has it, which `ringpost vault import` takes as well.
//!
//! There is one for each month and extension, not one for all: a person's data is found, brought
//! back or taken away by reading a few kilobytes, and what a phone kept twenty times is nearly the
//! same twenty times, which is what gzip is good at. An archive that grows is written anew aside
//! and renamed, never appended to, so that a crash leaves the old one or the new one.
//!
//! A version leaves its place only when the archive that has it is durable and was read again to
//! its end. A crash before that leaves it in both; readers take the one in its place, and the next
//! run removes it. Two processes at once do no harm: who writes an archive holds its name aside.
//!
//! Never takes an item's newest version, and never writes over an archive that is damaged.

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

/// The directory in the vault that has the months.
pub(crate) const ARCHIVE: &str = "archive";
/// How an archive's name ends, behind the extension.
const ENDING: &str = ".tar.gz";
/// How long a run waits before each archive for those who keep versions just now.
const YIELD_MAX: Duration = Duration::from_secs(2);
/// How often it looks whether they are through.
const YIELD_LOOK: Duration = Duration::from_millis(20);
/// Whatever an archive has was small and early enough when it was kept.
const ANY: Limits = Limits { bytes_max: VERSION_BYTES_LIMIT, latest: Timestamp(u64::MAX) };

/// A month: `2026-11`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Month([u8; 7]);

impl Month {
    /// The one that a moment is in, in UTC.
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
pub struct Gathered {
    /// Versions that are in an archive now and in their place no more.
    pub versions: u64,
    /// Archives that were written.
    pub archives: u64,
    /// Archives that were removed because their time is over.
    pub expired: u64,
    /// Archives that somebody else was writing; the next run goes on there.
    pub busy: u64,
    /// What stood in the way, in sentences; everything else was done.
    pub troubles: Vec<String>,
}

impl fmt::Display for Gathered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Gathered { versions, archives, expired, busy, troubles: _ } = self;
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

/// Gathers every version whose time in its place is over, and removes archives whose time is over
/// altogether. Ends early when `go_on` says so. May run beside a server.
pub fn gather(policy: &VaultPolicy, now: Timestamp, go_on: impl Fn() -> bool) -> Gathered {
    gather_with(&mut Disk::default(), policy, now, go_on)
}

pub(super) fn gather_with(
    disk: &mut Disk,
    policy: &VaultPolicy,
    now: Timestamp,
    go_on: impl Fn() -> bool,
) -> Gathered {
    let mut gathered = Gathered::default();
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
            give_way(vault, &go_on);
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

/// An extension's versions whose time is over, by month.
fn due(
    policy: &VaultPolicy,
    items: &[Item],
    now: Timestamp,
    gathered: &mut Gathered,
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

/// Waits while somebody keeps a version, but not for ever.
fn give_way(vault: &Path, go_on: impl Fn() -> bool) {
    let began = Instant::now();
    while go_on() && write::is_being_written(vault) && began.elapsed() < YIELD_MAX {
        std::thread::sleep(YIELD_LOOK);
    }
}

/// One archive that gets more.
struct Gathering<'a> {
    vault: &'a Path,
    extension: &'a str,
    month: Month,
    due: &'a Due,
}

impl Gathering<'_> {
    /// Says how many versions left their place, and how many archives were written; nothing where
    /// somebody else writes this one.
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
            // An earlier run was cut off behind it. Whether it was durable nobody knows.
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

    /// Writes what is in the archive already, and behind it what is not. Says how many of those
    /// there are.
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

    /// Removes what the archive has, byte for byte, as it is read again.
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

/// Hands over each version of an archive; none where there is no archive.
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

/// The months that have archives, in order.
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

/// All extensions that have archives, in order.
///
/// # Errors
/// The system's.
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

/// An extension's versions in the archives of the months from one moment to another, with their
/// sizes, in order; those that are in their place as well among them.
///
/// # Errors
/// The system's, or what is wrong with an archive, which it names.
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

/// The bytes of a version in an archive; nothing where none has it.
///
/// # Errors
/// The system's, or what is wrong with the archive.
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

/// An item's versions in archives, with what is known of each.
///
/// # Errors
/// The system's, or what is wrong with an archive, which it names.
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

/// Removes archives of months that have been over for longer than they are kept. Says how many.
fn expire(vault: &Path, archive: &ArchivePolicy, now: Timestamp) -> io::Result<u64> {
    let keep_ns = u64::try_from(archive.keep.as_nanos()).unwrap_or(u64::MAX);
    // All of a month is older than the earliest moment that is kept when the month is.
    let first_kept = Month::of(Timestamp(now.0.saturating_sub(keep_ns)));
    let mut removed = 0;
    for month in months(vault)?.into_iter().filter(|month| *month < first_kept) {
        let archives = Dir::open_ambient_dir(vault, ambient_authority())?.open_dir(ARCHIVE)?;
        let dir = archives.open_dir(month.to_string())?;
        for name in versions::members(&dir)?.iter().filter(|name| name.ends_with(ENDING)) {
            dir.remove_file(name)?;
            removed += 1;
        }
        // What an administrator put there stays, and its directory with it.
        let _ = archives.remove_dir(month.to_string());
    }
    Ok(removed)
}
