//! The writer: puts uploads on the disk so that a crash at any point loses neither the old version
//! nor an acknowledged new one.
//!
//! Every upload is written aside in the directory that it belongs in, under a name that is never
//! served, synced, renamed into place, and the directory synced; only then is it answered. It never
//! leaves the directories it was given, and never changes a file in place: phones that are being
//! sent the old version finish it.

use std::borrow::Cow;
use std::collections::HashMap;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use cap_std::ambient_authority;
use cap_std::fs::{Dir, Metadata, OpenOptions};

use super::upload::{Existing, Upload};
use crate::content::StoreError;

/// How the names of files begin that are being written. A dot keeps them from being served.
const ASIDE: &str = ".ringpost-";
/// Directories whose spellings are remembered.
const LISTINGS_MAX: usize = 64;
/// Directories inside directories in which remains of a crash are looked for, and sizes added up.
const DEPTH_MAX: usize = 8;
/// How often the sizes in a full directory are added up again: somebody may have made room.
const RECOUNT_EVERY: Duration = Duration::from_secs(10);

/// The directories that receive uploads, by number. A number means the same directory for as long
/// as the process lives, whatever the configuration says meanwhile.
#[derive(Debug, Default)]
pub struct Directories(Mutex<Vec<PathBuf>>);

impl Directories {
    /// The number of a directory, which need not exist yet. When it is new, what a crash may have
    /// left in it is removed. Nothing, when there are too many.
    pub fn number(&self, path: &Path) -> Option<u16> {
        let mut known = self.lock();
        if let Some(place) = known.iter().position(|one| one == path) {
            return u16::try_from(place).ok();
        }
        let number = u16::try_from(known.len()).ok()?;
        if let Ok(dir) = Dir::open_ambient_dir(path, ambient_authority()) {
            sweep(&dir, DEPTH_MAX);
        }
        known.push(path.to_path_buf());
        Some(number)
    }

    fn path(&self, number: u16) -> Option<PathBuf> {
        self.lock().get(usize::from(number)).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<PathBuf>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes uploads, one after the other.
#[derive(Debug)]
pub struct Writer {
    directories: Arc<Directories>,
    /// Most bytes that may lie in one of the directories.
    directory_bytes_max: u64,
    listings: HashMap<PathBuf, Listing>,
    used: HashMap<u16, Used>,
    files_written: u64,
    /// Where a test has the disk fail.
    #[cfg(test)]
    fail_at: Option<Step>,
}

/// The steps of a store that a disk may fail at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Create,
    Write,
    Sync,
    Rename,
    SyncDirectory,
}

/// How the members of a directory are spelled, by folded name, as long as nothing has changed.
#[derive(Debug)]
struct Listing {
    stamp: Stamp,
    spellings: HashMap<Vec<u8>, String>,
}

/// How many bytes lie in a directory, as far as this process knows.
#[derive(Clone, Copy, Debug)]
struct Used {
    bytes: u64,
    counted_at: Instant,
}

/// What changes whenever a directory does.
type Stamp = (Option<cap_std::time::SystemTime>, u64);

/// Where an upload goes: an open directory, its path for messages, and the name in it.
struct Place {
    dir: Dir,
    path: PathBuf,
    name: String,
    /// What is there now.
    existing: Option<Metadata>,
}

impl Writer {
    /// A writer into numbered directories, each of which takes so many bytes.
    #[must_use]
    pub fn new(directories: Arc<Directories>, directory_bytes_max: u64) -> Self {
        Writer {
            directories,
            directory_bytes_max,
            listings: HashMap::new(),
            used: HashMap::new(),
            files_written: 0,
            #[cfg(test)]
            fail_at: None,
        }
    }

    /// Stores uploads in their order and says of each whether it is durable. Several at once are
    /// cheaper than one by one: each directory is synced once.
    pub fn store(&mut self, uploads: &[&Upload]) -> Vec<Result<(), StoreError>> {
        let mut dirs = HashMap::new();
        let renamed: Vec<_> =
            uploads.iter().map(|upload| self.rename_in(upload, &mut dirs)).collect();
        let synced: HashMap<_, _> =
            dirs.iter().map(|(path, dir)| (path, self.sync(dir, path))).collect();
        let durable = |path| match synced.get(&path) {
            Some(true) => Ok(()),
            Some(false) | None => Err(StoreError::Io),
        };
        renamed.into_iter().map(|renamed| renamed.and_then(durable)).collect()
    }

    /// Does all but sync the directory, whose path it returns and which it adds to `dirs`.
    fn rename_in(
        &mut self,
        upload: &Upload,
        dirs: &mut HashMap<PathBuf, Dir>,
    ) -> Result<PathBuf, StoreError> {
        let place = self.place(upload)?;
        self.write(upload, &place).map_err(|why| refusal(&why, &place.path.join(&place.name)))?;
        // What was remembered of the directory still holds, but for this one name.
        if let (Some(known), Ok(stamp)) = (self.listings.get_mut(&place.path), stamp(&place.dir)) {
            known.stamp = stamp;
            known.spellings.insert(fold(&place.name), place.name.clone());
        }
        dirs.insert(place.path.clone(), place.dir);
        Ok(place.path)
    }

    /// Finds where an upload goes, and makes the directories on the way.
    fn place(&mut self, upload: &Upload) -> Result<Place, StoreError> {
        let Some(top) = self.directories.path(upload.directory) else {
            tracing::error!("an upload of {} has no directory", upload.name);
            return Err(StoreError::Io);
        };
        let Ok(name) = std::str::from_utf8(upload.name.as_bytes()) else {
            tracing::warn!("{} cannot be stored: its name is not UTF-8", upload.name);
            return Err(StoreError::Forbidden);
        };
        let mut path = top.clone();
        let mut found = open_or_make_path(&top);
        let (parents, last) = name.rsplit_once('/').unwrap_or(("", name));
        for part in parents.split('/').filter(|part| !part.is_empty()) {
            found = found.and_then(|dir| {
                let spelled = self.spelling(&dir, &path, part)?;
                path.push(&spelled);
                open_or_make(&dir, &spelled)
            });
        }
        let place = found.and_then(|dir| {
            let name = self.spelling(&dir, &path, last)?;
            let existing = match dir.symlink_metadata(&name) {
                Ok(meta) => Some(meta),
                Err(none) if none.kind() == io::ErrorKind::NotFound => None,
                Err(why) => return Err(why),
            };
            Ok(Place { dir, path: path.clone(), name, existing })
        });
        place.map_err(|why| refusal(&why, &path))
    }

    /// How a member of a directory is spelled there: the first in byte order where several fold to
    /// the same, as that is the one that is served. What is not there is spelled as it is folded.
    fn spelling(&mut self, dir: &Dir, path: &Path, folded: &str) -> io::Result<String> {
        let stamp = stamp(dir)?;
        if self.listings.get(path).is_none_or(|known| known.stamp != stamp) {
            if self.listings.len() >= LISTINGS_MAX {
                self.listings.clear();
            }
            let spellings = list(dir)?;
            self.listings.insert(path.to_path_buf(), Listing { stamp, spellings });
        }
        let known =
            self.listings.get(path).and_then(|known| known.spellings.get(folded.as_bytes()));
        Ok(known.map_or(folded, String::as_str).to_owned())
    }

    fn write(&mut self, upload: &Upload, place: &Place) -> io::Result<()> {
        let bytes = match (&place.existing, upload.existing) {
            (Some(_), Existing::Keep) => return Err(io::ErrorKind::AlreadyExists.into()),
            (Some(meta), _) if !meta.is_file() && !meta.is_symlink() => {
                return Err(io::ErrorKind::PermissionDenied.into());
            }
            (Some(_), Existing::Append) => Cow::Owned(append(place, upload)?),
            (Some(_), Existing::Replace) | (None, _) => Cow::Borrowed(&*upload.bytes),
        };
        let before_bytes = place.existing.as_ref().map_or(0, Metadata::len);
        let more_bytes = (bytes.len() as u64).saturating_sub(before_bytes);
        if bytes.len() as u64 > upload.bytes_max || !self.has_room(upload.directory, more_bytes) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.files_written += 1;
        let aside = format!("{ASIDE}{}-{}", std::process::id(), self.files_written);
        let written = self.write_aside(&aside, &bytes, place);
        if written.is_err() {
            // Remains of a failed write are removed at the next start at the latest.
            let _ = place.dir.remove_file(&aside);
        } else if let Some(used) = self.used.get_mut(&upload.directory) {
            used.bytes = used.bytes.saturating_sub(before_bytes) + bytes.len() as u64;
        }
        written
    }

    /// Whether a directory takes so many bytes more. Adds up what lies in it the first time, and
    /// again when it seems full.
    fn has_room(&mut self, directory: u16, more_bytes: u64) -> bool {
        let fits = |used: &Used| used.bytes.saturating_add(more_bytes) <= self.directory_bytes_max;
        let known = self.used.get(&directory);
        if known.is_some_and(|used| fits(used) || used.counted_at.elapsed() < RECOUNT_EVERY) {
            return known.is_some_and(fits);
        }
        let path = self.directories.path(directory);
        let top = path.and_then(|path| Dir::open_ambient_dir(path, ambient_authority()).ok());
        let bytes = top.map_or(0, |top| bytes_in(&top, DEPTH_MAX));
        let used = Used { bytes, counted_at: Instant::now() };
        let has_room = fits(&used);
        self.used.insert(directory, used);
        has_room
    }

    fn write_aside(&self, aside: &str, bytes: &[u8], place: &Place) -> io::Result<()> {
        self.reach(Step::Create)?;
        let mut options = OpenOptions::new();
        let file = place.dir.open_with(aside, options.write(true).create_new(true))?;
        if let Some(meta) = place.existing.as_ref().filter(|meta| meta.is_file()) {
            // Where the system does not allow it, the file has the usual mode.
            let _ = file.set_permissions(meta.permissions());
        }
        let mut file = file.into_std();
        // Locked as long as it is being written, so that another process's start spares it.
        let _ = file.try_lock();
        self.reach(Step::Write)?;
        file.write_all(bytes)?;
        self.reach(Step::Sync)?;
        file.sync_all()?;
        self.reach(Step::Rename)?;
        place.dir.rename(aside, &place.dir, &place.name)
    }

    fn sync(&self, dir: &Dir, path: &Path) -> bool {
        let synced = self.reach(Step::SyncDirectory).and_then(|()| sync_directory(dir));
        if let Err(why) = &synced {
            tracing::error!("cannot sync {}: {why}", path.display());
        }
        synced.is_ok()
    }

    /// Passes, except where a test wants a step to fail.
    fn reach(&self, step: Step) -> io::Result<()> {
        #[cfg(test)]
        if self.fail_at == Some(step) {
            return Err(io::Error::other("the test says so"));
        }
        let _ = step;
        Ok(())
    }
}

/// What is there and the upload behind it, as much of the newest end as the rule allows. What goes
/// goes up to a line's end.
fn append(place: &Place, upload: &Upload) -> io::Result<Vec<u8>> {
    let (mut file, before_bytes) = open_regular(place)?;
    let room = upload.bytes_max.saturating_sub(upload.bytes.len() as u64);
    let mut bytes = Vec::new();
    if before_bytes <= room {
        file.take(room).read_to_end(&mut bytes)?;
    } else {
        // One byte more, to see whether what stays begins a line.
        file.seek(SeekFrom::Start(before_bytes - room - 1))?;
        file.take(room + 1).read_to_end(&mut bytes)?;
        let line_end = bytes.iter().position(|&byte| byte == b'\n').unwrap_or(0);
        let kept_from = (line_end + 1).min(bytes.len());
        bytes.drain(..kept_from);
    }
    bytes.extend_from_slice(&upload.bytes);
    Ok(bytes)
}

/// Opens what is there, and says how many bytes it has.
fn open_regular(place: &Place) -> io::Result<(std::fs::File, u64)> {
    let mut options = OpenOptions::new();
    options.read(true);
    #[cfg(unix)]
    cap_std::fs::OpenOptionsExt::custom_flags(&mut options, libc::O_NONBLOCK | libc::O_NOCTTY);
    let file = place.dir.open_with(&place.name, &options)?.into_std();
    let meta = file.metadata()?;
    if !meta.is_file() {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    Ok((file, meta.len()))
}

/// Opens a directory of the whole system; makes it, durably, where it is missing.
fn open_or_make_path(path: &Path) -> io::Result<Dir> {
    match Dir::open_ambient_dir(path, ambient_authority()) {
        Err(missing) if missing.kind() == io::ErrorKind::NotFound => {}
        found => return found,
    }
    let is_missing = |dir: &&Path| !dir.as_os_str().is_empty() && !dir.exists();
    let missing = path.ancestors().take_while(is_missing).count();
    std::fs::create_dir_all(path)?;
    for parent in path.ancestors().skip(1).take(missing) {
        let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
        sync_directory(&Dir::open_ambient_dir(parent, ambient_authority())?)?;
    }
    Dir::open_ambient_dir(path, ambient_authority())
}

/// Opens a directory in another; makes it, durably, where it is missing.
fn open_or_make(dir: &Dir, name: &str) -> io::Result<Dir> {
    match dir.open_dir(name) {
        Err(missing) if missing.kind() == io::ErrorKind::NotFound => {}
        found => return found,
    }
    match dir.create_dir(name) {
        Err(there) if there.kind() != io::ErrorKind::AlreadyExists => return Err(there),
        Ok(()) | Err(_) => sync_directory(dir)?,
    }
    dir.open_dir(name)
}

/// Has the names in a directory outlive a crash.
fn sync_directory(dir: &Dir) -> io::Result<()> {
    // The handle itself only names the directory; this opens it. Elsewhere a rename is durable, or
    // nothing can be done about it.
    #[cfg(unix)]
    dir.open(".")?.sync_all()?;
    #[cfg(not(unix))]
    let _ = dir;
    Ok(())
}

/// The members of a directory that have a name which can be served.
fn list(dir: &Dir) -> io::Result<HashMap<Vec<u8>, String>> {
    let mut spellings: HashMap<Vec<u8>, String> = HashMap::new();
    for entry in dir.entries()? {
        let Ok(name) = entry?.file_name().into_string() else { continue };
        if name.starts_with('.') {
            continue;
        }
        let first = spellings.entry(fold(&name)).or_insert_with(|| name.clone());
        if name < *first {
            *first = name;
        }
    }
    Ok(spellings)
}

fn fold(name: &str) -> Vec<u8> {
    name.as_bytes().to_ascii_lowercase()
}

fn stamp(dir: &Dir) -> io::Result<Stamp> {
    let meta = dir.dir_metadata()?;
    #[cfg(unix)]
    let inode = cap_std::fs::MetadataExt::ino(&meta);
    #[cfg(not(unix))]
    let inode = 0;
    Ok((meta.modified().ok(), inode))
}

/// The sizes of all files in a directory and in those below.
fn bytes_in(dir: &Dir, depth: usize) -> u64 {
    let Ok(entries) = dir.entries() else { return 0 };
    let bytes = entries.flatten().map(|entry| match entry.metadata() {
        Ok(meta) if meta.is_file() => meta.len(),
        Ok(meta) if meta.is_dir() && depth > 0 => {
            entry.open_dir().map_or(0, |inner| bytes_in(&inner, depth - 1))
        }
        Ok(_) | Err(_) => 0,
    });
    bytes.fold(0, u64::saturating_add)
}

/// Removes what a crash left of files that were being written, here and in the directories below.
fn sweep(dir: &Dir, depth: usize) {
    let Ok(entries) = dir.entries() else { return };
    for entry in entries.flatten() {
        let Ok(kind) = entry.file_type() else { continue };
        if kind.is_dir() && depth > 0 {
            if let Ok(inner) = entry.open_dir() {
                sweep(&inner, depth - 1);
            }
            continue;
        }
        let is_aside = entry.file_name().to_str().is_some_and(|name| name.starts_with(ASIDE));
        if !is_aside || !kind.is_file() {
            continue;
        }
        // Whoever still writes to it, perhaps the process that this one takes over from, has it
        // locked.
        let unlocked = entry.open().is_ok_and(|file| file.into_std().try_lock().is_ok());
        if unlocked && entry.remove_file().is_ok() {
            tracing::info!("removed {}, left by a crash", entry.file_name().display());
        }
    }
}

/// What the system's refusal means for the phone; logs what only an administrator can mend.
fn refusal(why: &io::Error, path: &Path) -> StoreError {
    use io::ErrorKind::{AlreadyExists, PermissionDenied, QuotaExceeded};
    use io::ErrorKind::{ReadOnlyFilesystem, StorageFull};
    if why.kind() == AlreadyExists {
        return StoreError::Exists;
    }
    let refusal = if matches!(why.kind(), StorageFull | QuotaExceeded) {
        StoreError::Full
    } else if matches!(why.kind(), PermissionDenied | ReadOnlyFilesystem) {
        StoreError::Forbidden
    } else {
        StoreError::Io
    };
    tracing::warn!("cannot store {}: {why}", path.display());
    refusal
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use super::*;
    use crate::wire::name::FileName;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    struct Bench {
        top: tempfile::TempDir,
        writer: Writer,
        number: u16,
    }

    impl Bench {
        fn new() -> Self {
            let top = tempfile::tempdir().unwrap();
            let directories = Arc::new(Directories::default());
            let number = directories.number(&top.path().join("uploads")).unwrap();
            Bench { writer: Writer::new(directories, 1_000), top, number }
        }

        fn upload(&self, name: &str, bytes: &[u8], existing: Existing) -> Upload {
            Upload {
                directory: self.number,
                name: FileName::parse(name.as_bytes()).unwrap(),
                bytes_max: 100,
                existing,
                client: [10, 0, 0, 1].into(),
                bytes: bytes.to_vec(),
            }
        }

        fn store(&mut self, name: &str, text: &str, rule: Existing) -> Result<(), StoreError> {
            let upload = self.upload(name, text.as_bytes(), rule);
            self.writer.store(&[&upload]).remove(0)
        }

        fn at(&self, path: &str) -> PathBuf {
            self.top.path().join("uploads").join(path)
        }

        fn text(&self, path: &str) -> String {
            fs::read_to_string(self.at(path)).unwrap()
        }

        /// Every name in the directory, also those that are never served.
        fn names(&self) -> Vec<String> {
            let entries = fs::read_dir(self.at("")).unwrap();
            let mut names: Vec<_> =
                entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
            names.sort();
            names
        }
    }

    #[test]
    fn an_upload_is_stored_under_its_folded_name_in_directories_made_for_it() {
        let mut bench = Bench::new();
        assert_eq!(bench.store("Logs/0004F2-App.log", "one", Existing::Replace), Ok(()));
        assert_eq!(bench.text("logs/0004f2-app.log"), "one");
        assert_eq!(bench.store("logs/0004f2-app.log", "two", Existing::Replace), Ok(()));
        assert_eq!(bench.text("logs/0004f2-app.log"), "two");
        assert_eq!(bench.names(), ["logs"]);
    }

    #[test]
    fn a_file_spelled_otherwise_is_the_one_that_is_replaced() {
        let mut bench = Bench::new();
        fs::create_dir_all(bench.at("Logs")).unwrap();
        fs::write(bench.at("Logs/ABC.cfg"), "old").unwrap();
        assert_eq!(bench.store("logs/abc.cfg", "new", Existing::Replace), Ok(()));
        assert_eq!(bench.text("Logs/ABC.cfg"), "new");
        assert_eq!(bench.names(), ["Logs"]);
        // Somebody else changes the directory behind the writer's back.
        fs::rename(bench.at("Logs/ABC.cfg"), bench.at("Logs/Abc.cfg")).unwrap();
        assert_eq!(bench.store("logs/abc.cfg", "newer", Existing::Replace), Ok(()));
        assert_eq!(bench.text("Logs/Abc.cfg"), "newer");
        assert_eq!(fs::read_dir(bench.at("Logs")).unwrap().count(), 1);
    }

    #[test]
    fn a_replaced_file_keeps_its_mode_and_its_readers() {
        let mut bench = Bench::new();
        bench.store("a", "old", Existing::Replace).unwrap();
        fs::set_permissions(bench.at("a"), fs::Permissions::from_mode(0o600)).unwrap();
        let mut reader = fs::File::open(bench.at("a")).unwrap();
        bench.store("a", "new", Existing::Replace).unwrap();
        let mode = fs::metadata(bench.at("a")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let mut read = String::new();
        reader.read_to_string(&mut read).unwrap();
        assert_eq!(read, "old");
    }

    #[test]
    fn what_must_not_be_replaced_stays() {
        let mut bench = Bench::new();
        assert_eq!(bench.store("a", "one", Existing::Keep), Ok(()));
        assert_eq!(bench.store("A", "two", Existing::Keep), Err(StoreError::Exists));
        assert_eq!(bench.text("a"), "one");
        fs::create_dir(bench.at("d")).unwrap();
        assert_eq!(bench.store("d", "x", Existing::Replace), Err(StoreError::Forbidden));
        let long = "x".repeat(101);
        assert_eq!(bench.store("a", &long, Existing::Replace), Err(StoreError::Full));
        assert_eq!(bench.text("a"), "one");
    }

    #[test]
    fn a_log_grows_and_keeps_its_newest_lines() {
        let mut bench = Bench::new();
        for line in 0..20 {
            let line = format!("line {line:02} ..........\n");
            bench.store("log", &line, Existing::Append).unwrap();
        }
        let log = bench.text("log");
        assert!(log.len() <= 100 && log.ends_with("line 19 ..........\n"), "{log}");
        assert_eq!(log.lines().count(), 5);
        assert!(log.starts_with("line 15"));
    }

    #[test]
    fn a_log_without_lines_keeps_its_newest_bytes() {
        let mut bench = Bench::new();
        bench.store("log", &"a".repeat(90), Existing::Append).unwrap();
        bench.store("log", &"b".repeat(20), Existing::Append).unwrap();
        assert_eq!(bench.text("log"), "a".repeat(80) + &"b".repeat(20));
        bench.store("log", &"c".repeat(100), Existing::Append).unwrap();
        assert_eq!(bench.text("log"), "c".repeat(100));
    }

    #[test]
    fn a_full_directory_takes_nothing_more_until_room_is_made() {
        let mut bench = Bench::new();
        for n in 0..10 {
            let name = format!("sub/{n}");
            assert_eq!(bench.store(&name, &"x".repeat(100), Existing::Replace), Ok(()));
        }
        assert_eq!(bench.store("more", "x", Existing::Replace), Err(StoreError::Full));
        let shorter = bench.store("sub/3", "x", Existing::Replace);
        assert_eq!(shorter, Ok(()), "what makes it smaller is welcome");
        assert_eq!(bench.store("more", &"x".repeat(99), Existing::Replace), Ok(()));
        assert_eq!(bench.store("again", "x", Existing::Replace), Err(StoreError::Full));
        fs::remove_file(bench.at("sub/4")).unwrap();
        bench.writer.used.clear();
        assert_eq!(bench.store("again", "x", Existing::Replace), Ok(()));
    }

    #[test]
    fn no_link_leads_an_upload_out_of_its_directory() {
        let mut bench = Bench::new();
        fs::create_dir_all(bench.at("")).unwrap();
        let outside = bench.top.path().join("outside");
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("secret"), "secret").unwrap();
        symlink(&outside, bench.at("out")).unwrap();
        symlink(outside.join("secret"), bench.at("secret")).unwrap();
        assert_eq!(bench.store("out/file", "x", Existing::Replace), Err(StoreError::Forbidden));
        assert_eq!(bench.store("secret", "x", Existing::Append), Err(StoreError::Forbidden));
        // The link itself is replaced, and what it led to is not touched.
        assert_eq!(bench.store("secret", "x", Existing::Replace), Ok(()));
        assert_eq!(fs::read_to_string(outside.join("secret")).unwrap(), "secret");
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 1);
    }

    #[test]
    fn a_step_that_fails_leaves_the_old_version_and_nothing_else() {
        for step in [Step::Create, Step::Write, Step::Sync, Step::Rename] {
            for rule in [Existing::Replace, Existing::Append] {
                let mut bench = Bench::new();
                bench.store("a", "old", Existing::Replace).unwrap();
                bench.writer.fail_at = Some(step);
                assert_eq!(bench.store("a", "new", rule), Err(StoreError::Io), "{step:?}");
                assert_eq!(bench.text("a"), "old", "{step:?}");
                assert_eq!(bench.names(), ["a"], "{step:?}");
                bench.writer.fail_at = None;
                assert_eq!(bench.store("a", "new", Existing::Replace), Ok(()));
            }
        }
    }

    #[test]
    fn an_upload_whose_directory_was_not_synced_is_not_acknowledged() {
        let mut bench = Bench::new();
        bench.store("a", "old", Existing::Replace).unwrap();
        bench.writer.fail_at = Some(Step::SyncDirectory);
        assert_eq!(bench.store("a", "new", Existing::Replace), Err(StoreError::Io));
        assert_eq!(bench.names(), ["a"]);
    }

    #[test]
    fn what_a_crash_left_is_removed_and_what_is_being_written_is_not() {
        let top = tempfile::tempdir().unwrap();
        fs::create_dir(top.path().join("sub")).unwrap();
        for path in [".ringpost-1-1", "sub/.ringpost-1-2", ".other", "a"] {
            fs::write(top.path().join(path), "half").unwrap();
        }
        let writing = fs::File::create(top.path().join(".ringpost-2-1")).unwrap();
        writing.lock().unwrap();
        let directories = Directories::default();
        assert_eq!(directories.number(top.path()), Some(0));
        let left = |path: &str| top.path().join(path).exists();
        assert!(!left(".ringpost-1-1") && !left("sub/.ringpost-1-2"));
        assert!(left(".ringpost-2-1") && left(".other") && left("a"));
        assert_eq!(directories.number(&top.path().join("sub")), Some(1));
        assert_eq!(directories.number(top.path()), Some(0));
    }

    #[test]
    fn uploads_of_one_batch_are_stored_in_their_order() {
        let mut bench = Bench::new();
        let uploads: Vec<_> = (0..10)
            .map(|n| bench.upload("log", format!("{n}\n").as_bytes(), Existing::Append))
            .chain([bench.upload("d/x", b"x", Existing::Replace)])
            .chain([bench.upload("d/x", b"y", Existing::Keep)])
            .collect();
        let results = bench.writer.store(&uploads.iter().collect::<Vec<_>>());
        assert!(results[..11].iter().all(Result::is_ok));
        assert_eq!(results[11], Err(StoreError::Exists));
        assert_eq!(bench.text("log"), "0\n1\n2\n3\n4\n5\n6\n7\n8\n9\n");
        let unknown = Upload { directory: 9, ..bench.upload("a", b"x", Existing::Replace) };
        assert_eq!(bench.writer.store(&[&unknown]), [Err(StoreError::Io)]);
    }
}
