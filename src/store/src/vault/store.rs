//! The writer: stores uploads and the vault's versions so that a crash at any point loses neither
//! the old version nor an acknowledged new one.
//!
//! Every upload is written to a temporary file in its own directory, under a name that is never
//! served, synced, renamed into place, and the directory synced; only then is it answered. A batch
//! takes these steps together; a job that fails fails alone. The writer never leaves its
//! directories, and never changes a file in place: phones that are being sent the old version
//! finish it.

mod enter;

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use cap_std::fs::{Dir, Metadata};

use super::append::{Cuts, KeptPart, digest_of, digest_of_upload, kept_part};
pub use super::directories::Directories;
use super::directories::InUse;
use super::jobs::independent;
pub(crate) use super::jobs::{Job, Outcome};
use super::limits::Limits;
use super::note::Note;
use super::sequence::Sequences;
use super::versions::VersionName;
pub(crate) use super::write::Imported;
use super::{prune, write};
use crate::content::catalog_handle;
use crate::durable::case_index::CaseIndex;
use crate::durable::placement::{self, Occupant, REDOS_MAX};
use crate::durable::{Disk, FileAttrs, Target, TempFile};
use engine::cancel::CancelToken;
use engine::catalog::blob::Version;
use engine::catalog::digest::Digest;
use engine::catalog::{StoreError, Stored};
use engine::vault::names::Item;
use engine::vault::request::{Precondition, VaultError, VaultPolicy, VaultReply, holds};
use engine::vault::timestamp::Timestamp;
use engine::vault::upload::{OnExists, Upload};
use wire::name::FileName;

/// Interval between two counts of a full directory: an administrator may have made room.
pub(super) const RECOUNT_EVERY: Duration = Duration::from_secs(10);

/// Most files in one of the directories that receive uploads, the quarantine included: a client
/// that invents names reaches it before the disk runs out of inodes.
pub(crate) const DIRECTORY_FILES_MAX: u64 = 50_000;

/// Writes uploads and versions.
#[derive(Debug)]
pub struct Writer {
    pub(super) directories: Arc<Directories>,
    /// Most bytes in one of the directories.
    pub(super) directory_bytes_max: u64,
    pub(super) case_index: CaseIndex,
    pub(super) used: HashMap<u16, DirectoryUsage>,
    limits: Limits,
    versions_pruned: u64,
    cuts: Cuts,
    pub(super) placed: Vec<catalog_handle::Placed>,
    pub(super) disk: Disk,
    /// The numbers of changes to vaults.
    sequences: Sequences,
}

/// How many bytes a directory holds, as far as this process knows.
#[derive(Clone, Copy, Debug)]
pub(super) struct DirectoryUsage {
    pub(super) lies: InUse,
    pub(super) counted_at: Instant,
}

/// The target of an upload: an open directory, its path for messages, and the name in it.
pub(super) struct UploadTarget {
    dir: Arc<Dir>,
    path: PathBuf,
    name: String,
    /// The existing file.
    pub(super) existing: Option<Metadata>,
    seen: Occupant,
}

/// An upload in its temporary file, and the target as it was when the upload was checked.
struct PreparedUpload {
    temp: TempFile,
    seen: Occupant,
    digest: Option<Digest>,
    /// Bytes removed from the old file.
    cut_bytes: u64,
    /// The old file if the new one is made from it. As long as it is open, no other file can have
    /// its inode number.
    _old: Option<std::fs::File>,
}

/// A job's temporary files.
enum PreparedJob {
    /// None: a deletion needs none.
    Deletion,
    Upload(Result<PreparedUpload, StoreError>),
    Vault(Result<write::PreparedChange, VaultError>),
}

impl PreparedJob {
    /// Has it placed only if its client has not cancelled it by then.
    fn place_unless(&mut self, job: &Job<'_>) {
        let cancel = match job {
            Job::Upload(upload) => upload.cancel.as_ref(),
            Job::Delete(_) => None,
            Job::Vault(request, _) => request.cancel_token(),
        };
        self.temp_files().iter_mut().for_each(|temp| temp.place_unless(cancel));
    }

    fn temp_files(&mut self) -> &mut [TempFile] {
        match self {
            PreparedJob::Upload(Ok(ready)) => std::slice::from_mut(&mut ready.temp),
            PreparedJob::Vault(Ok(begun)) => &mut begun.temp_files,
            PreparedJob::Deletion | PreparedJob::Upload(Err(_)) | PreparedJob::Vault(Err(_)) => {
                &mut []
            }
        }
    }
}

/// A change that is in place and waits for the sync of the directories.
enum PlacedJob {
    Deletion(Result<PathBuf, StoreError>),
    Upload(Result<(PathBuf, Stored), StoreError>),
    Vault(Result<write::PlacedChange, VaultError>),
}

impl Writer {
    /// Creates a writer into numbered directories, each of which takes so many bytes.
    #[must_use]
    pub fn new(directories: Arc<Directories>, directory_bytes_max: u64) -> Self {
        Writer {
            directories,
            directory_bytes_max,
            case_index: CaseIndex::default(),
            used: HashMap::new(),
            limits: Limits::default(),
            versions_pruned: 0,
            cuts: Cuts::default(),
            placed: Vec::new(),
            disk: Disk::default(),
            sequences: Sequences::default(),
        }
    }

    /// Runs jobs in their order and returns for each whether it is durable. A batch is far cheaper
    /// than single jobs: their files are synced together, and each directory once.
    pub fn run(&mut self, jobs: &[Job<'_>]) -> Vec<Outcome> {
        let mut placed = Vec::with_capacity(jobs.len());
        let mut waiting = jobs;
        while !waiting.is_empty() {
            let (round, later) = waiting.split_at(independent(waiting));
            waiting = later;
            let mut begun: Vec<_> = round.iter().map(|job| self.begin(job)).collect();
            round.iter().zip(&mut begun).for_each(|(job, begun)| begun.place_unless(job));
            self.disk.sync_files(begun.iter_mut().flat_map(PreparedJob::temp_files));
            let all = round.iter().zip(begun);
            placed.extend(all.map(|(job, begun)| self.place_begun(job, begun)));
        }
        let failed = self.disk.sync();
        let is_durable = |path: &Path| !failed.iter().any(|failed| path.starts_with(failed));
        let mut outcomes = Vec::with_capacity(jobs.len());
        for (job, placed) in jobs.iter().zip(placed) {
            outcomes.push(match placed {
                PlacedJob::Upload(Ok((path, _))) if !is_durable(&path) => {
                    Outcome::Upload(Err(StoreError::Io))
                }
                PlacedJob::Deletion(Ok(path)) if !is_durable(&path) => {
                    Outcome::Deleted(Err(StoreError::Io))
                }
                PlacedJob::Deletion(gone) => Outcome::Deleted(gone.map(|_| ())),
                PlacedJob::Upload(placed) => Outcome::Upload(placed.map(|(_, stored)| stored)),
                PlacedJob::Vault(Ok(placed)) if !is_durable(&placed.path) => {
                    Outcome::Vault(Err(VaultError::Io))
                }
                PlacedJob::Vault(Ok(placed)) => {
                    self.limits.stored(job);
                    self.prune(job, &placed);
                    Outcome::Vault(Ok(placed.done))
                }
                PlacedJob::Vault(Err(denied)) => Outcome::Vault(Err(denied)),
            });
        }
        outcomes
    }

    /// Keeps a version, or a deletion marker, whatever the newest is, and removes expired versions.
    /// Returns whether anything changed; a second deletion changes nothing.
    ///
    /// # Errors
    /// The system's error, instead of a log line.
    pub fn add(
        &mut self,
        policy: &VaultPolicy,
        item: &Item,
        bytes: Option<&[u8]>,
    ) -> io::Result<bool> {
        let Some(placed) =
            write::add((&mut self.disk, &mut self.sequences), &policy.dir, item, bytes, now())?
        else {
            return Ok(false);
        };
        self.sync_added()?;
        self.versions_pruned += prune::prune(&self.disk, &placed, policy, now());
        Ok(true)
    }

    /// Places an imported version, unless there is one of the same name. It is durable after
    /// [`Writer::sync_added`].
    ///
    /// # Errors
    /// The system's error.
    pub fn import(
        &mut self,
        vault: &Path,
        item: &Item,
        (name, note): (VersionName, Option<&Note>),
        bytes: &[u8],
    ) -> io::Result<Imported> {
        write::import(&mut self.disk, vault, item, (name, note), bytes)
    }

    /// Makes everything that was added durable.
    ///
    /// # Errors
    /// A directory cannot be synced.
    pub(crate) fn sync_added(&mut self) -> io::Result<()> {
        match self.disk.sync().first() {
            Some(path) => Err(io::Error::other(format!("{} cannot be synced", path.display()))),
            None => Ok(()),
        }
    }

    /// Takes the uploads placed since the last call, durable or not.
    pub(crate) fn take_placed(&mut self) -> Vec<catalog_handle::Placed> {
        std::mem::take(&mut self.placed)
    }

    /// Returns how full the vaults in use are, and what was refused for that.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    fn begin(&mut self, job: &Job<'_>) -> PreparedJob {
        match job {
            Job::Upload(upload) => PreparedJob::Upload(self.begin_upload(upload)),
            Job::Delete(_) => PreparedJob::Deletion,
            Job::Vault(request, secret) => {
                let begun = self.enter_vault(job, &request.policy.dir);
                let begun = begun.and_then(|()| self.limits.count(&self.disk, request));
                PreparedJob::Vault(
                    begun.and_then(|()| write::begin(&mut self.disk, request, *secret, now())),
                )
            }
        }
    }

    fn place_begun(&mut self, job: &Job<'_>, begun: PreparedJob) -> PlacedJob {
        match (begun, job) {
            (_, Job::Delete(deletion)) => PlacedJob::Deletion(self.delete(deletion)),
            (PreparedJob::Deletion, Job::Upload(_) | Job::Vault(..)) => {
                PlacedJob::Upload(Err(StoreError::Io))
            }
            (PreparedJob::Upload(Ok(ready)), Job::Upload(upload)) => {
                PlacedJob::Upload(self.place_upload(upload, ready))
            }
            (PreparedJob::Upload(Ok(_)), Job::Vault(..)) => PlacedJob::Upload(Err(StoreError::Io)),
            (PreparedJob::Upload(Err(why)), _) => PlacedJob::Upload(Err(why)),
            (PreparedJob::Vault(Ok(begun)), _) => {
                let placed = write::place(&mut self.disk, &mut self.sequences, begun);
                PlacedJob::Vault(placed.map_err(|why| self.denial(job, &why)))
            }
            (PreparedJob::Vault(Err(denied)), _) => PlacedJob::Vault(Err(denied)),
        }
    }

    /// Removes expired versions, now that a newer one is durable.
    fn prune(&mut self, job: &Job<'_>, placed: &write::PlacedChange) {
        match (job, &placed.done) {
            (Job::Vault(request, _), VaultReply::Kept(_) | VaultReply::Forgotten) => {
                self.versions_pruned += prune::prune(&self.disk, placed, &request.policy, now());
            }
            (Job::Vault(..), VaultReply::Permitted | VaultReply::Fetched(_))
            | (Job::Upload(_) | Job::Delete(_), _) => {}
        }
    }

    /// Checks an upload and writes its temporary file.
    fn begin_upload(&mut self, upload: &Upload) -> Result<PreparedUpload, StoreError> {
        let place = self.place(upload.directory, &upload.name)?;
        let mut there = place.seen.version().copied();
        if let (Precondition::Matches(_), Some(there)) = (&upload.precondition, &mut there) {
            there.digest = digest_of(&place.dir, &place.name);
        }
        let is_cancelled = upload.cancel.as_ref().is_some_and(CancelToken::is_cancelled);
        if is_cancelled || !holds(&upload.precondition, there.as_ref()) {
            return Err(StoreError::Precondition);
        }
        let written = self.write(upload, &place);
        let ready = written.map_err(|why| self.refusal(&why, &place.path.join(&place.name)))?;
        // Temporary files are never served.
        self.case_index.still_hold(&place.dir, &place.path);
        Ok(ready)
    }

    /// Does everything except to sync the directory, whose path it returns. If another process was
    /// faster, the upload is checked and written again for what is there now.
    fn place_upload(
        &mut self,
        upload: &Upload,
        mut ready: PreparedUpload,
    ) -> Result<(PathBuf, Stored), StoreError> {
        for _ in 0..REDOS_MAX {
            let to = ready.temp.to().clone();
            let alone = placement::lock();
            let is_same = self.is_as_seen(&mut ready, upload);
            match is_same {
                Ok(true) => return self.place_seen(upload, ready),
                Ok(false) => drop(alone),
                Err(why) => {
                    self.give_up(upload, ready.temp);
                    return Err(self.refusal(&why, &to.path.join(&to.name)));
                }
            }
            self.give_up(upload, ready.temp);
            ready = self.begin_upload(upload)?;
            ready.temp.place_unless(upload.cancel.as_ref());
            self.disk.sync_files(std::iter::once(&mut ready.temp));
        }
        let place = ready.temp.to().path.join(&ready.temp.to().name);
        self.give_up(upload, ready.temp);
        tracing::warn!("{} is changed all the time; an upload of it gave up", place.display());
        Err(StoreError::Busy)
    }

    /// Returns whether the target still holds what it held when the upload was checked. An upload
    /// that replaces anything only records what that is.
    fn is_as_seen(&mut self, ready: &mut PreparedUpload, upload: &Upload) -> io::Result<bool> {
        let to = ready.temp.to().clone();
        if !to.is_in_place() {
            // The directory was moved: the upload belongs where its name says.
            self.disk.forget_tops();
            return Ok(false);
        }
        let mut now = Occupant::at(&to.dir, &to.name)?;
        // It may have been put there in other case meanwhile.
        let other = match now.exists() {
            true => None,
            false => self.case_index.find(&to.dir, &to.path, &to.name)?,
        };
        if let Some(other) = &other {
            now = Occupant::at(&to.dir, other)?;
        }
        let is_certain = matches!(upload.on_exists, OnExists::Replace)
            && matches!(upload.precondition, Precondition::None)
            && upload.cancel.is_none();
        if !is_certain {
            return Ok(now == ready.seen && other.is_none());
        }
        ready.seen = now;
        if let Some(other) = other {
            ready.temp.go_to(other);
        }
        Ok(true)
    }

    /// Renames an upload into place, which no other process changes just now.
    fn place_seen(
        &mut self,
        upload: &Upload,
        ready: PreparedUpload,
    ) -> Result<(PathBuf, Stored), StoreError> {
        let place = ready.temp.to().clone();
        let placed = self.disk.place(ready.temp);
        let version = placed.map_err(|why| {
            // It was counted when it was written.
            self.used.remove(&upload.directory);
            self.refusal(&why, &place.path.join(&place.name))
        })?;
        let version = Version { digest: ready.digest, ..version };
        let path = place.path.join(&place.name);
        let cut = self.cuts.note(&path, ready.cut_bytes, upload.bytes_max, Instant::now());
        cut.inspect(|cut| tracing::warn!("{cut}"));
        self.placed.push(catalog_handle::Placed { path, version: Some(version) });
        self.case_index.note(&place.dir, &place.path, &place.name);
        Ok((place.path, Stored { new: !ready.seen.exists(), version }))
    }

    /// Removes the temporary file and its count.
    fn give_up(&mut self, upload: &Upload, temp: TempFile) {
        self.used.remove(&upload.directory);
        self.disk.discard(temp);
    }

    /// Finds the target of an upload, and creates the directories on the way.
    pub(super) fn place(
        &mut self,
        directory: u16,
        name: &FileName,
    ) -> Result<UploadTarget, StoreError> {
        let Some(top) = self.directories.path(directory) else {
            tracing::error!("an upload of {name} has no directory");
            return Err(StoreError::Io);
        };
        let (spelling, folded) = (name.spelling(), name.as_bytes());
        let (Ok(name), Ok(requested)) =
            (str::from_utf8(folded), str::from_utf8(spelling.as_bytes()))
        else {
            tracing::warn!("{name} cannot be stored: its name is not UTF-8");
            return Err(StoreError::Forbidden);
        };
        let mut path = top.clone();
        let mut found = self.top(&top);
        let (parents, last) = name.rsplit_once('/').unwrap_or(("", name));
        let (requested_parents, requested_last) =
            requested.rsplit_once('/').unwrap_or(("", requested));
        let parts = parents.split('/').zip(requested_parents.split('/'));
        for part in parts.filter(|(part, _)| !part.is_empty()) {
            found = found.and_then(|dir| {
                let spelled = self.case_index.resolve(&dir, &path, part)?;
                let inner = self.disk.inner(&dir, &path, &spelled, 0);
                path.push(&spelled);
                inner
            });
        }
        let place = found.and_then(|dir| {
            let name = self.case_index.resolve(&dir, &path, (last, requested_last))?;
            let seen = Occupant::at(&dir, &name)?;
            let existing = match dir.symlink_metadata(&name) {
                Ok(meta) => Some(meta),
                Err(none) if none.kind() == io::ErrorKind::NotFound => None,
                Err(why) => return Err(why),
            };
            Ok(UploadTarget { dir, path: path.clone(), name, existing, seen })
        });
        place.map_err(|why| self.refusal(&why, &path))
    }

    /// Writes an upload to a temporary file, after the existing bytes if the rule appends.
    fn write(&mut self, upload: &Upload, place: &UploadTarget) -> io::Result<PreparedUpload> {
        let (mut kept, mut cut_bytes, mut old) = (Vec::new(), 0, None);
        match (&place.existing, upload.on_exists) {
            (Some(_), OnExists::Keep) => return Err(io::ErrorKind::AlreadyExists.into()),
            (Some(meta), _) if meta.is_dir() => return Err(io::ErrorKind::IsADirectory.into()),
            (Some(meta), _) if !meta.is_file() && !meta.is_symlink() => {
                return Err(io::ErrorKind::PermissionDenied.into());
            }
            (Some(_), OnExists::Append) => {
                let part = kept_part(&place.dir, &place.name, upload)?;
                let KeptPart { bytes, file, .. } = part;
                (kept, cut_bytes, old) = (bytes, part.cut_bytes, Some(file));
            }
            (Some(_), OnExists::Replace) | (None, _) => {}
        }
        let bytes = kept.len() as u64 + upload.bytes_all();
        let before_bytes = place.existing.as_ref().map_or(0, Metadata::len);
        let more = InUse {
            bytes: bytes.saturating_sub(before_bytes),
            files: u64::from(place.existing.is_none()),
        };
        if bytes > upload.bytes_max || !self.has_room(upload.directory, more) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let attrs = FileAttrs { like: place.existing.as_ref(), ..FileAttrs::default() };
        let (dir, path) = (Arc::clone(&place.dir), place.path.clone());
        let to = Target { dir, path, name: place.name.clone() };
        let digest = if kept.is_empty() { digest_of_upload(upload) } else { None };
        let temp = self.write_pieces(&to, kept, upload, attrs)?;
        if let Some(used) = self.used.get_mut(&upload.directory) {
            let lies = &mut used.lies;
            lies.bytes = lies.bytes.saturating_sub(before_bytes) + bytes;
            lies.files += more.files;
        }
        Ok(PreparedUpload { temp, seen: place.seen, digest, cut_bytes, _old: old })
    }
}

/// The moment that names a new version.
fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use super::*;
    use crate::durable::{DiskStep, InjectedFault};
    use crate::version::VersionExt as _;
    use engine::vault::request::Precondition;
    use std::fs;
    use std::io::Read as _;
    use std::os::unix::fs::{PermissionsExt, symlink};

    impl Writer {
        /// Waits until the sizes of the vaults are added up.
        pub(in crate::vault) fn wait_until_counted(&mut self) {
            self.limits.wait_until_counted();
        }

        /// Makes a step fail from now on.
        pub(in crate::vault) fn fail(&mut self, fault: Option<InjectedFault>) {
            self.disk.fault = fault;
        }

        /// Returns the steps of the disk that were reached.
        pub(in crate::vault) fn reached(&self) -> Vec<DiskStep> {
            self.disk.reached.lock().clone()
        }
    }

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

        fn upload(&self, name: &str, bytes: &[u8], on_exists: OnExists) -> Upload {
            Upload {
                directory: self.number,
                name: FileName::parse(name.as_bytes()).unwrap(),
                bytes_max: 100,
                on_exists,
                precondition: Precondition::None,
                cancel: None,
                client: [10, 0, 0, 1].into(),
                spool: None,
                bytes: bytes.to_vec(),
            }
        }

        fn store(&mut self, name: &str, text: &str, rule: OnExists) -> Result<(), StoreError> {
            let upload = self.upload(name, text.as_bytes(), rule);
            self.upload_all(&[upload]).remove(0).map(|_| ())
        }

        fn upload_all(&mut self, uploads: &[Upload]) -> Vec<Result<Stored, StoreError>> {
            let jobs: Vec<_> = uploads.iter().map(Job::Upload).collect();
            let outcomes = self.writer.run(&jobs).into_iter();
            let stored = outcomes.map(|outcome| match outcome {
                Outcome::Upload(result) => result,
                Outcome::Vault(_) | Outcome::Deleted(_) => {
                    unreachable!("nothing but uploads was asked for")
                }
            });
            stored.collect()
        }

        fn at(&self, path: &str) -> PathBuf {
            self.top.path().join("uploads").join(path)
        }

        fn text(&self, path: &str) -> String {
            fs::read_to_string(self.at(path)).unwrap()
        }

        /// Returns every name in the directory, including those that are never served.
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
        assert_eq!(bench.store("Logs/0004F2-App.log", "one", OnExists::Replace), Ok(()));
        assert_eq!(bench.text("logs/0004f2-app.log"), "one");
        assert_eq!(bench.store("logs/0004f2-app.log", "two", OnExists::Replace), Ok(()));
        assert_eq!(bench.text("logs/0004f2-app.log"), "two");
        assert_eq!(bench.names(), ["logs"]);
    }

    #[test]
    fn an_upload_directory_that_is_away_is_not_made_anew() {
        let mut bench = Bench::new();
        bench.store("a", "one", OnExists::Replace).unwrap();
        let away = bench.top.path().join("away");
        fs::rename(bench.at(""), &away).unwrap();
        assert_eq!(bench.store("b", "two", OnExists::Replace), Err(StoreError::Unavailable));
        assert!(!bench.at("").exists());
        fs::rename(&away, bench.at("")).unwrap();
        assert_eq!(bench.store("b", "two", OnExists::Replace), Ok(()));
        assert_eq!(bench.names(), ["a", "b"]);
    }

    #[test]
    fn a_file_spelled_otherwise_is_the_one_that_is_replaced() {
        let mut bench = Bench::new();
        fs::create_dir_all(bench.at("Logs")).unwrap();
        fs::write(bench.at("Logs/ABC.cfg"), "old").unwrap();
        assert_eq!(bench.store("logs/abc.cfg", "new", OnExists::Replace), Ok(()));
        assert_eq!(bench.text("Logs/ABC.cfg"), "new");
        assert_eq!(bench.names(), ["Logs"]);
        // Another process changes the directory.
        fs::rename(bench.at("Logs/ABC.cfg"), bench.at("Logs/Abc.cfg")).unwrap();
        assert_eq!(bench.store("logs/abc.cfg", "newer", OnExists::Replace), Ok(()));
        assert_eq!(bench.text("Logs/Abc.cfg"), "newer");
        assert_eq!(fs::read_dir(bench.at("Logs")).unwrap().count(), 1);
    }

    #[test]
    fn a_replaced_file_keeps_its_mode_and_its_readers() {
        let mut bench = Bench::new();
        bench.store("a", "old", OnExists::Replace).unwrap();
        fs::set_permissions(bench.at("a"), fs::Permissions::from_mode(0o600)).unwrap();
        let mut reader = fs::File::open(bench.at("a")).unwrap();
        bench.store("a", "new", OnExists::Replace).unwrap();
        let mode = fs::metadata(bench.at("a")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let mut read = String::new();
        reader.read_to_string(&mut read).unwrap();
        assert_eq!(read, "old");
    }

    #[test]
    fn what_must_not_be_replaced_stays() {
        let mut bench = Bench::new();
        assert_eq!(bench.store("a", "one", OnExists::Keep), Ok(()));
        assert_eq!(bench.store("A", "two", OnExists::Keep), Err(StoreError::Exists));
        assert_eq!(bench.text("a"), "one");
        fs::create_dir(bench.at("d")).unwrap();
        assert_eq!(bench.store("d", "x", OnExists::Replace), Err(StoreError::NotAFile));
        assert_eq!(bench.store("a/d", "x", OnExists::Replace), Err(StoreError::NotAFile));
        let long = "x".repeat(101);
        assert_eq!(bench.store("a", &long, OnExists::Replace), Err(StoreError::Full));
        assert_eq!(bench.text("a"), "one");
    }

    #[test]
    fn an_upload_tells_what_it_replaced_and_is_judged_by_what_is_there() {
        let mut bench = Bench::new();
        let given = |bench: &Bench, precondition| Upload {
            precondition,
            ..bench.upload("a", b"one", OnExists::Replace)
        };
        let new = given(&bench, Precondition::New);
        let again = given(&bench, Precondition::New);
        let stored = bench.upload_all(&[new, again]);
        let first = stored[0].unwrap();
        assert!(first.new && first.version == Version::of(&fs::metadata(bench.at("a")).unwrap()));
        assert_eq!(stored[1], Err(StoreError::Precondition));
        let other = Precondition::Matches(vec![b"other".as_slice().into()]);
        let other = given(&bench, other);
        let there = given(&bench, Precondition::Exists);
        let stored = bench.upload_all(&[other, there]);
        assert_eq!(stored[0], Err(StoreError::Precondition));
        assert!(!stored[1].unwrap().new);
    }

    #[test]
    fn a_log_grows_and_keeps_its_newest_lines() {
        let mut bench = Bench::new();
        for line in 0..20 {
            let line = format!("line {line:02} ..........\n");
            bench.store("log", &line, OnExists::Append).unwrap();
        }
        let log = bench.text("log");
        assert!(log.len() <= 100 && log.ends_with("line 19 ..........\n"), "{log}");
        assert_eq!(log.lines().count(), 5);
        assert!(log.starts_with("line 15"));
        assert_eq!(bench.writer.cut_bytes(), 15 * 19, "what went is counted");
    }

    #[test]
    fn an_upload_whose_directory_was_moved_meanwhile_is_stored_where_its_name_says() {
        let mut bench = Bench::new();
        bench.store("logs/a", "one\n", OnExists::Append).unwrap();
        let upload = bench.upload("logs/a", b"two\n", OnExists::Replace);
        let ready = bench.writer.begin_upload(&upload).unwrap();
        fs::rename(bench.at("logs"), bench.at("moved")).unwrap();
        let mut ready = ready;
        bench.writer.disk.sync_files(std::iter::once(&mut ready.temp));
        bench.writer.place_upload(&upload, ready).unwrap();
        assert_eq!((bench.text("moved/a"), bench.text("logs/a")), ("one\n".into(), "two\n".into()));
    }

    #[test]
    fn a_log_without_lines_keeps_its_newest_bytes() {
        let mut bench = Bench::new();
        bench.store("log", &"a".repeat(90), OnExists::Append).unwrap();
        bench.store("log", &"b".repeat(20), OnExists::Append).unwrap();
        assert_eq!(bench.text("log"), "a".repeat(80) + &"b".repeat(20));
        bench.store("log", &"c".repeat(100), OnExists::Append).unwrap();
        assert_eq!(bench.text("log"), "c".repeat(100));
    }

    #[test]
    fn a_full_directory_takes_nothing_more_until_room_is_made() {
        let mut bench = Bench::new();
        for n in 0..10 {
            let name = format!("sub/{n}");
            assert_eq!(bench.store(&name, &"x".repeat(100), OnExists::Replace), Ok(()));
        }
        assert_eq!(bench.store("more", "x", OnExists::Replace), Err(StoreError::Full));
        let shorter = bench.store("sub/3", "x", OnExists::Replace);
        assert_eq!(shorter, Ok(()), "what makes it smaller is welcome");
        assert_eq!(bench.store("more", &"x".repeat(99), OnExists::Replace), Ok(()));
        assert_eq!(bench.store("again", "x", OnExists::Replace), Err(StoreError::Full));
        fs::remove_file(bench.at("sub/4")).unwrap();
        bench.writer.used.clear();
        assert_eq!(bench.store("again", "x", OnExists::Replace), Ok(()));
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
        assert_eq!(bench.store("out/file", "x", OnExists::Replace), Err(StoreError::Forbidden));
        assert_eq!(bench.store("secret", "x", OnExists::Append), Err(StoreError::Forbidden));
        // The link itself is replaced; its target is not touched.
        assert_eq!(bench.store("secret", "x", OnExists::Replace), Ok(()));
        assert_eq!(fs::read_to_string(outside.join("secret")).unwrap(), "secret");
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 1);
    }

    #[test]
    fn a_step_that_fails_leaves_the_old_version_and_nothing_else() {
        for step in [DiskStep::Create, DiskStep::Write, DiskStep::Sync, DiskStep::Rename] {
            for rule in [OnExists::Replace, OnExists::Append] {
                let mut bench = Bench::new();
                bench.store("a", "old", OnExists::Replace).unwrap();
                bench.writer.fail(Some(InjectedFault { step, crash: false, nth: None }));
                assert_eq!(bench.store("a", "new", rule), Err(StoreError::Io), "{step:?}");
                assert_eq!(bench.text("a"), "old", "{step:?}");
                assert_eq!(bench.names(), ["a"], "{step:?}");
                bench.writer.fail(None);
                assert_eq!(bench.store("a", "new", OnExists::Replace), Ok(()));
            }
        }
    }

    #[test]
    fn an_upload_whose_directory_was_not_synced_is_not_acknowledged() {
        let mut bench = Bench::new();
        bench.store("a", "old", OnExists::Replace).unwrap();
        bench.writer.disk.fault =
            Some(InjectedFault { step: DiskStep::SyncDirectory, crash: false, nth: None });
        assert_eq!(bench.store("a", "new", OnExists::Replace), Err(StoreError::Io));
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
            .map(|n| bench.upload("log", format!("{n}\n").as_bytes(), OnExists::Append))
            .chain([bench.upload("d/x", b"x", OnExists::Replace)])
            .chain([bench.upload("d/x", b"y", OnExists::Keep)])
            .collect();
        let results = bench.upload_all(&uploads);
        assert!(results[..11].iter().all(Result::is_ok));
        assert_eq!(results[11], Err(StoreError::Exists));
        assert_eq!(bench.text("log"), "0\n1\n2\n3\n4\n5\n6\n7\n8\n9\n");
        let unknown = Upload { directory: 9, ..bench.upload("a", b"x", OnExists::Replace) };
        assert_eq!(bench.upload_all(&[unknown]), [Err(StoreError::Io)]);
    }

    #[test]
    fn an_upload_is_judged_by_what_is_in_its_place_at_the_end() {
        let cases = [
            (OnExists::Keep, Precondition::None, Err(StoreError::Exists), "other\n"),
            (OnExists::Replace, Precondition::New, Err(StoreError::Precondition), "other\n"),
            (OnExists::Append, Precondition::None, Ok(false), "other\nmine\n"),
            (OnExists::Replace, Precondition::None, Ok(false), "mine\n"),
        ];
        for (on_exists, precondition, expected, text) in cases {
            for spelled in ["log", "LOG"] {
                let mut bench = Bench::new();
                fs::create_dir_all(bench.at("")).unwrap();
                let upload = Upload {
                    precondition: precondition.clone(),
                    ..bench.upload("log", b"mine\n", on_exists)
                };
                let mut ready = bench.writer.begin_upload(&upload).unwrap();
                bench.writer.disk.sync_files(std::iter::once(&mut ready.temp));
                fs::write(bench.at(spelled), "other\n").unwrap();
                let placed = bench.writer.place_upload(&upload, ready);
                assert_eq!(placed.map(|(_, stored)| stored.new), expected, "{on_exists:?}");
                assert_eq!(bench.text(spelled), text, "{on_exists:?}");
                assert_eq!(bench.names(), [spelled]);
            }
        }
    }
}
