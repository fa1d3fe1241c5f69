//! Changes to the vault: a new version, or a deletion marker.
//!
//! Each change is a file of its own, written in `<vault>/.aside` and renamed to the greatest name
//! in its item's directory. Two processes may do so at once, the server and an administrator's
//! command: the temporary file is created exclusively under its final name, so that its creator
//! holds that name, and checks only then for a version of the name. It is locked while it exists,
//! so that neither process takes it for the remains of a crash. Of two changes at the same moment
//! the one with the later name is the newest, and both are kept. Never touches an existing version,
//! except to remove it when it has expired and a newer one is durable.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use cap_std::fs::Dir;

use super::note::{self, Note};
use super::numbered::NumberedChange;
use super::sequence::Sequences;
use super::versions::{self, VersionName};
use crate::durable::{Disk, FileAttrs, TEMP_PREFIX, Target, TempFile, sweep, sync_directory};
use engine::catalog::Stored;
use engine::catalog::blob::{Blob, Version};
use engine::catalog::digest::Digest;
use engine::vault::names::Item;
use engine::vault::request::{Precondition, VaultError, VaultOp, VaultReply, VaultRequest, holds};
use engine::vault::timestamp::Timestamp;

/// The directory in the vault for temporary files.
const ASIDE_DIRECTORY: &str = ".aside";
/// Only the server may read what phones keep.
pub(super) const DIRECTORY_MODE: u32 = 0o750;
pub(super) const VERSION_MODE: u32 = 0o640;
const SECRET_MODE: u32 = 0o600;
/// The file beside an extension's families that holds the hash of its secret.
pub(crate) const SECRET: &str = "secret";
/// How many names are tried while others keep versions of the same item at the same moment.
const CLAIMS_MAX: usize = 64;
/// The pause before each of [`CLAIMS_MAX`] tries while another process holds the name of an
/// imported version.
const HELD_WAIT: Duration = Duration::from_millis(20);

/// A change with its temporary files.
#[derive(Debug)]
pub(super) struct PreparedChange {
    /// Its files, in the order in which they are placed: a secret, a version.
    pub(super) temp_files: Vec<TempFile>,
    place: ItemDir,
    intent: Intent,
    change: Option<NumberedChange>,
}

/// A change that is done once its directory is synced.
#[derive(Debug)]
pub(super) struct PlacedChange {
    /// Nothing beneath a directory that cannot be synced is durable.
    pub(super) path: PathBuf,
    /// The reply after that.
    pub(super) done: VaultReply,
    pub(super) dir: Arc<Dir>,
}

/// The kinds of changes.
#[derive(Debug)]
enum Intent {
    Fetch(Arc<Blob>),
    Keep { new: bool, name: VersionName, digest: Digest },
    Forget,
}

/// Begins a request: checks it, and writes its temporary files. `secret` is the hash of the secret
/// that is pinned to the extension from now on.
///
/// # Errors
/// [`VaultError`] says why nothing was done; the log says what an administrator can mend.
pub(super) fn begin(
    disk: &mut Disk,
    request: &VaultRequest,
    secret: Option<&str>,
    now: Timestamp,
) -> Result<PreparedChange, VaultError> {
    let vault = &request.policy.dir;
    let begun = match &request.op {
        // Answered before it gets here.
        VaultOp::Check => Err(ChangeError::Denied(VaultError::Busy)),
        VaultOp::Fetch => fetch(disk, vault, &request.item, secret),
        VaultOp::Keep { cancel: Some(cancel), .. } if cancel.is_cancelled() => {
            Err(ChangeError::Denied(VaultError::Precondition))
        }
        VaultOp::Keep { bytes, precondition, .. } => {
            let change = Change { bytes: Some(bytes), precondition, secret };
            keep(disk, vault, &request.item, &change, now)
        }
        VaultOp::Forget { precondition } => {
            let change = Change { bytes: None, precondition, secret };
            keep(disk, vault, &request.item, &change, now)
        }
    };
    begun.map_err(|trouble| match trouble {
        ChangeError::Denied(denied) => denied,
        ChangeError::System(why) => {
            disk.log.error(&why, "keep versions in", vault);
            denied(&why)
        }
    })
}

/// Renames the synced files of a change into place. It is durable after the sync at the end of the
/// batch.
///
/// # Errors
/// The system's error; no temporary file is left.
pub(super) fn place(
    disk: &mut Disk,
    sequences: &mut Sequences,
    begun: PreparedChange,
) -> io::Result<PlacedChange> {
    let PreparedChange { temp_files, place, intent, change } = begun;
    let mut last = Ok(None);
    for temp in temp_files {
        match last {
            // A version whose secret could not be pinned must not be stored.
            Err(_) => disk.discard(temp),
            Ok(_) => last = disk.place(temp).map(Some),
        }
    }
    let unwritten = || io::Error::other("there was no file to be placed");
    let last = last?;
    if let Some(change) = change {
        change.note((disk, sequences), (&place.dir, &place.path));
    }
    let done = match (intent, last) {
        (Intent::Fetch(blob), _) => VaultReply::Fetched(blob),
        (Intent::Forget, _) => VaultReply::Forgotten,
        (Intent::Keep { new, name, digest }, last) => {
            let placed = Version { digest: Some(digest), ..last.ok_or_else(unwritten)? };
            let version = name.version(placed);
            VaultReply::Kept(Stored { new, version })
        }
    };
    Ok(PlacedChange { path: place.path, done, dir: place.dir })
}

/// Adds a version, or a deletion marker, after the newest, whatever that is, without the sync.
/// Returns `None` for a deletion if there is nothing already.
///
/// # Errors
/// The system's error.
pub(super) fn add(
    (disk, sequences): (&mut Disk, &mut Sequences),
    vault: &Path,
    item: &Item,
    bytes: Option<&[u8]>,
    now: Timestamp,
) -> io::Result<Option<PlacedChange>> {
    let change = Change { bytes, precondition: &Precondition::None, secret: None };
    let mut begun = match keep(disk, vault, item, &change, now) {
        Ok(begun) => begun,
        Err(ChangeError::Denied(_)) => return Ok(None),
        Err(ChangeError::System(why)) => return Err(why),
    };
    disk.sync_files(begun.temp_files.iter_mut());
    place(disk, sequences, begun).map(Some)
}

/// Returns whether a version is being written at this moment.
pub(super) fn is_being_written(vault: &Path) -> bool {
    let top = Dir::open_ambient_dir(vault, cap_std::ambient_authority());
    let names =
        top.and_then(|top| top.open_dir(ASIDE_DIRECTORY)).and_then(|dir| versions::members(&dir));
    names.is_ok_and(|names| names.iter().any(|name| name.starts_with(TEMP_PREFIX)))
}

/// Removes temporary files that a crash left. The vault need not exist yet.
pub fn sweep_vault(vault: &Path) {
    let top = Dir::open_ambient_dir(vault, cap_std::ambient_authority());
    if let Ok(temp) = top.and_then(|top| top.open_dir(ASIDE_DIRECTORY)) {
        sweep(&temp, 0);
    }
}

/// Why a change was not made.
enum ChangeError {
    Denied(VaultError),
    System(io::Error),
}

impl From<io::Error> for ChangeError {
    fn from(why: io::Error) -> Self {
        ChangeError::System(why)
    }
}

/// The result of importing a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Imported {
    /// It was added.
    Added,
    /// It existed already.
    There,
    /// Another version of that moment exists, and stays.
    Differs,
}

/// A change to be made.
struct Change<'a> {
    /// The new version; `None` for a deletion.
    bytes: Option<&'a [u8]>,
    precondition: &'a Precondition,
    secret: Option<&'a str>,
}

/// An item's directory.
#[derive(Debug)]
struct ItemDir {
    item: Item,
    dir: Arc<Dir>,
    path: PathBuf,
}

impl ItemDir {
    /// Opens the directory of an item in an extension's; creates it if it is missing.
    fn open(disk: &mut Disk, vault: &Path, item: &Item, extension: &Arc<Dir>) -> io::Result<Self> {
        let extension_path = vault.join(&*item.extension);
        let dir = disk.inner(extension, &extension_path, item.family, DIRECTORY_MODE)?;
        Ok(ItemDir { item: item.clone(), dir, path: extension_path.join(item.family) })
    }
}

/// Translates the system's error for the phone.
#[must_use]
pub fn denied(why: &io::Error) -> VaultError {
    use io::ErrorKind::{
        PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StaleNetworkFileHandle, StorageFull,
    };
    if matches!(why.kind(), StorageFull | QuotaExceeded) {
        VaultError::Full
    } else if matches!(why.kind(), PermissionDenied | ReadOnlyFilesystem) {
        VaultError::Forbidden
    } else if why.kind() == StaleNetworkFileHandle {
        VaultError::Unavailable
    } else {
        VaultError::Io
    }
}

/// The newest version, for a phone whose secret is pinned with it.
fn fetch(
    disk: &mut Disk,
    vault: &Path,
    item: &Item,
    secret: Option<&str>,
) -> Result<PreparedChange, ChangeError> {
    let nothing = || ChangeError::Denied(VaultError::NotThere);
    let blob = versions::fetch(vault, item)?.ok_or_else(nothing)?;
    let dir = versions::open(vault, item)?.ok_or_else(nothing)?;
    let mut temp_files = Vec::new();
    if let Some(secret) = secret {
        let top = disk.top(vault)?;
        let extension = disk.inner(&top, vault, &item.extension, DIRECTORY_MODE)?;
        temp_files.extend(pin(disk, (&top, vault), &extension, &item.extension, secret)?);
    }
    let path = vault.join(&*item.extension).join(item.family);
    let place = ItemDir { item: item.clone(), dir: Arc::new(dir), path };
    Ok(PreparedChange { temp_files, place, intent: Intent::Fetch(blob), change: None })
}

/// Adds a version, or a deletion marker, after the newest.
fn keep(
    disk: &mut Disk,
    vault: &Path,
    item: &Item,
    change: &Change<'_>,
    now: Timestamp,
) -> Result<PreparedChange, ChangeError> {
    let there = match versions::open(vault, item)? {
        Some(dir) => newest(&dir)?,
        None => None,
    };
    let mut version = there.and_then(|(_, version)| version);
    if let (Precondition::Matches(_), Some(version)) = (change.precondition, &mut version) {
        version.digest = versions::fetch(vault, item)?.and_then(|blob| blob.version().digest);
    }
    if change.bytes.is_none() && version.is_none() {
        return Err(ChangeError::Denied(VaultError::NotThere));
    }
    if !holds(change.precondition, version.as_ref()) {
        return Err(ChangeError::Denied(VaultError::Precondition));
    }
    let top = disk.top(vault)?;
    let extension = disk.inner(&top, vault, &item.extension, DIRECTORY_MODE)?;
    let place = ItemDir::open(disk, vault, item, &extension)?;
    // A clock that was set back does not make a new version an old one.
    let behind = there.map_or(Timestamp(0), |(newest, _)| newest.stamp.next());
    let name = VersionName { stamp: now.max(behind), gone: change.bytes.is_none() };
    let (temp, name) = put(disk, (&top, vault), &place, name, change.bytes.unwrap_or_default())?;
    let secret =
        change.secret.map(|secret| pin(disk, (&top, vault), &extension, &item.extension, secret));
    let mut temp_files = match secret.transpose() {
        Ok(secret) => Vec::from_iter(secret.flatten()),
        Err(trouble) => {
            disk.discard(temp);
            return Err(trouble);
        }
    };
    temp_files.push(temp);
    let intent = match change.bytes {
        Some(bytes) => Intent::Keep { new: version.is_none(), name, digest: Digest::of(bytes) },
        None => Intent::Forget,
    };
    let parent = there.map(|(newest, _)| newest.stamp);
    let change = NumberedChange { top, vault: vault.to_path_buf(), name, parent, now };
    Ok(PreparedChange { temp_files, place, intent, change: Some(change) })
}

/// Returns the newest name, and its version unless it is a deletion.
fn newest(dir: &Dir) -> io::Result<Option<(VersionName, Option<Version>)>> {
    let Some(name) = versions::list(dir)?.pop() else { return Ok(None) };
    let version = if name.gone { None } else { versions::version(dir, name)? };
    Ok(Some((name, version)))
}

/// Writes a version to a temporary file, under the next free name.
fn put(
    disk: &mut Disk,
    (top, vault): (&Arc<Dir>, &Path),
    place: &ItemDir,
    mut name: VersionName,
    bytes: &[u8],
) -> io::Result<(TempFile, VersionName)> {
    for _ in 0..CLAIMS_MAX {
        if let Some(temp) = claim(disk, (top, vault), place, name, bytes)? {
            return Ok((temp, name));
        }
        name.stamp = name.stamp.next();
    }
    Err(io::ErrorKind::ResourceBusy.into())
}

/// Writes a version to a temporary file. Returns `None` if another process holds the name.
fn claim(
    disk: &mut Disk,
    (top, vault): (&Arc<Dir>, &Path),
    place: &ItemDir,
    name: VersionName,
    bytes: &[u8],
) -> io::Result<Option<TempFile>> {
    let from = aside_directory(disk, top, vault)?;
    let claim =
        format!("{TEMP_PREFIX}{}_{}_{}", place.item.extension, place.item.family, name.stamp);
    let modified = Some(UNIX_EPOCH + Duration::from_nanos(name.stamp.0));
    let attrs = FileAttrs { mode: VERSION_MODE, modified, ..FileAttrs::default() };
    let (dir, path) = (Arc::clone(&place.dir), place.path.clone());
    let to = Target { dir, path, name: name.to_string() };
    match disk.write_temp((&from, &claim), to, bytes, attrs) {
        // The process that held the name before may have put a version there.
        Ok(temp) if is_taken(&place.dir, name) => {
            disk.discard(temp);
            Ok(None)
        }
        Ok(temp) => Ok(Some(temp)),
        Err(held) if is_held(&held) => Ok(None),
        Err(why) => Err(why),
    }
}

/// Removes the secret of an extension, so that the next one is pinned. Returns whether there was
/// one.
///
/// # Errors
/// The system's error.
pub fn unpin(vault: &Path, extension: &str) -> io::Result<bool> {
    let top = Dir::open_ambient_dir(vault, cap_std::ambient_authority());
    let removed = top.and_then(|top| top.open_dir(extension)).and_then(|dir| {
        dir.remove_file(SECRET)?;
        sync_directory(&dir)
    });
    match removed {
        Err(none) if none.kind() == io::ErrorKind::NotFound => Ok(false),
        removed => removed.map(|()| true),
    }
}

/// Places an imported version, unless there is one of the same name.
pub(super) fn import(
    disk: &mut Disk,
    vault: &Path,
    item: &Item,
    (name, note): (VersionName, Option<&Note>),
    bytes: &[u8],
) -> io::Result<Imported> {
    let top = disk.top(vault)?;
    let extension = disk.inner(&top, vault, &item.extension, DIRECTORY_MODE)?;
    let place = ItemDir::open(disk, vault, item, &extension)?;
    for _ in 0..CLAIMS_MAX {
        if is_taken(&place.dir, name) {
            let there = versions::read(&place.dir, name)?;
            let is_same = there.is_some_and(|there| there.as_slice() == Some(bytes));
            return Ok(if is_same { Imported::There } else { Imported::Differs });
        }
        if let Some(mut temp) = claim(disk, (&top, vault), &place, name, bytes)? {
            disk.sync_files(std::iter::once(&mut temp));
            disk.place(temp)?;
            // It keeps the number that its origin gave it.
            if let Some(note) = note {
                let index = note::add(&place.dir, note)?;
                disk.appended(&place.path, index);
            }
            return Ok(Imported::Added);
        }
        // Another process adds a version of that very moment: perhaps another import of the same
        // file.
        std::thread::sleep(HELD_WAIT);
    }
    Err(io::ErrorKind::ResourceBusy.into())
}

/// Returns whether another process holds the name just now.
pub(super) fn is_held(why: &io::Error) -> bool {
    matches!(why.kind(), io::ErrorKind::AlreadyExists | io::ErrorKind::ResourceBusy)
}

/// Returns whether there may be a version of this moment.
fn is_taken(dir: &Dir, name: VersionName) -> bool {
    let may_be_there = |gone| {
        let meta = dir.symlink_metadata(VersionName { gone, ..name }.to_string());
        !meta.is_err_and(|none| none.kind() == io::ErrorKind::NotFound)
    };
    may_be_there(false) || may_be_there(true)
}

/// Writes the hash of a secret to a temporary file for an extension. Returns `None` if it is pinned
/// already.
fn pin(
    disk: &mut Disk,
    (top, vault): (&Arc<Dir>, &Path),
    dir: &Arc<Dir>,
    extension: &str,
    secret: &str,
) -> Result<Option<TempFile>, ChangeError> {
    let from = aside_directory(disk, top, vault)?;
    let claim = format!("{TEMP_PREFIX}{extension}_{SECRET}");
    let attrs = FileAttrs { mode: SECRET_MODE, ..FileAttrs::default() };
    let line = format!("{secret}\n");
    // Another process may be doing the same; the phone's next request shows whose secret is valid.
    let busy = ChangeError::Denied(VaultError::Busy);
    let to = Target { dir: Arc::clone(dir), path: vault.join(extension), name: SECRET.into() };
    let temp = match disk.write_temp((&from, &claim), to, line.as_bytes(), attrs) {
        Err(held) if is_held(&held) => return Err(busy),
        temp => temp?,
    };
    match dir.read_to_string(SECRET) {
        Ok(there) => {
            disk.discard(temp);
            if there == line { Ok(None) } else { Err(busy) }
        }
        // Another process that pins one would have to hold the same name.
        Err(none) if none.kind() == io::ErrorKind::NotFound => Ok(Some(temp)),
        Err(why) => {
            disk.discard(temp);
            Err(why.into())
        }
    }
}

/// The directory for temporary files. What a crash left in it is removed at first use.
pub(super) fn aside_directory(
    disk: &mut Disk,
    top: &Arc<Dir>,
    vault: &Path,
) -> io::Result<Arc<Dir>> {
    let dir = disk.inner(top, vault, ASIDE_DIRECTORY, DIRECTORY_MODE)?;
    if disk.is_first_use(vault) {
        sweep(&dir, 0);
    }
    Ok(dir)
}
