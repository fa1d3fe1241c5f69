//! Deletes uploaded files, for the clients that uploaded them.
//!
//! Never deletes a directory, a link's target, or another file than the one that was checked. The
//! deletion is durable once the batch is synced.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use cap_std::fs::Dir;

use super::append::digest_of;
use super::store::Writer;
use crate::content::catalog_handle;
use crate::durable::placement::{self, Occupant, REDOS_MAX};
use engine::catalog::StoreError;
use engine::vault::request::{Precondition, holds};
use engine::vault::upload::Deletion;
use wire::name::FileName;

/// Where a file lies: an open directory, its path for messages, and the name in it.
struct Found {
    dir: Arc<Dir>,
    path: PathBuf,
    name: String,
}

impl Writer {
    /// Does everything except to sync the directory, whose path it returns.
    pub(super) fn delete(&mut self, deletion: &Deletion) -> Result<PathBuf, StoreError> {
        for _ in 0..REDOS_MAX {
            let found = match self.find(deletion.directory, &deletion.name) {
                Ok(found) => found,
                Err(why) => return Err(self.failed(&why, deletion)),
            };
            match self.delete_found(deletion, &found) {
                Ok(Some(removed)) => {
                    removed?;
                    return Ok(found.path);
                }
                // Another file has been put there meanwhile.
                Ok(None) => {}
                Err(why) => return Err(self.failed(&why, deletion)),
            }
        }
        tracing::warn!("{} is changed all the time; its deletion gave up", deletion.name);
        Err(StoreError::Busy)
    }

    /// Returns whether a file of this name exists; creates nothing on the way.
    pub(super) fn is_there(&mut self, directory: u16, name: &FileName) -> io::Result<bool> {
        let top = self.directories.path(directory);
        let is_missing = |top: PathBuf| !self.directories.known().knows(&top) && !top.is_dir();
        if top.is_none_or(is_missing) {
            return Ok(false);
        }
        let found = self.find(directory, name);
        let seen = found.and_then(|found| Occupant::at(&found.dir, &found.name));
        match seen {
            Ok(seen) => Ok(seen.exists()),
            Err(none) if none.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(why) => Err(why),
        }
    }

    /// Finds a file; creates nothing on the way.
    fn find(&mut self, directory: u16, name: &FileName) -> io::Result<Found> {
        let none = || io::Error::from(io::ErrorKind::NotFound);
        let mut path = self.directories.path(directory).ok_or_else(none)?;
        let spelling = name.spelling();
        let (folded, requested) = (name.as_bytes(), spelling.as_bytes());
        let (Ok(name), Ok(requested)) = (str::from_utf8(folded), str::from_utf8(requested)) else {
            return Err(none());
        };
        let mut dir = self.top(&path)?;
        let mut parts = name.split('/').zip(requested.split('/')).peekable();
        while let Some(part) = parts.next() {
            let spelled = self.case_index.resolve(&dir, &path, part)?;
            if parts.peek().is_none() {
                return Ok(Found { dir, path, name: spelled });
            }
            dir = Arc::new(dir.open_dir(&spelled)?);
            path.push(&spelled);
        }
        Err(none())
    }

    /// Removes the file if it is the one that was checked; leaves another file in its place alone.
    fn delete_found(
        &mut self,
        deletion: &Deletion,
        found: &Found,
    ) -> io::Result<Option<Result<(), StoreError>>> {
        let (dir, name) = (&found.dir, found.name.as_str());
        let seen = Occupant::at(dir, name)?;
        let mut there = seen.version().copied();
        if let (Precondition::None, None) = (&deletion.precondition, there) {
            return Err(io::ErrorKind::NotFound.into());
        }
        if let (Precondition::Matches(_) | Precondition::Both(_), Some(there)) =
            (&deletion.precondition, &mut there)
        {
            there.digest = digest_of(dir, name);
        }
        if !holds(&deletion.precondition, there.as_ref()) {
            return Ok(Some(Err(StoreError::Precondition)));
        }
        let alone = placement::lock();
        if Occupant::at(dir, name)? != seen {
            return Ok(None);
        }
        let meta = dir.symlink_metadata(name)?;
        if meta.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        if !meta.is_file() && !meta.is_symlink() {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        self.disk.take_away(&found.path, dir, name)?;
        drop(alone);
        self.case_index.forget(&found.path);
        if let Some(used) = self.used.get_mut(&deletion.directory) {
            used.lies.bytes = used.lies.bytes.saturating_sub(meta.len());
            used.lies.files = used.lies.files.saturating_sub(1);
        }
        let path = found.path.join(name);
        tracing::debug!("{} is deleted, as {} asked", path.display(), deletion.client);
        self.placed.push(catalog_handle::Placed { path, version: None });
        Ok(Some(Ok(())))
    }

    fn failed(&self, why: &io::Error, deletion: &Deletion) -> StoreError {
        use io::ErrorKind::{NotADirectory, NotFound};
        if matches!(why.kind(), NotFound | NotADirectory) {
            return StoreError::NotThere;
        }
        let top = self.directories.path(deletion.directory).unwrap_or_default();
        self.refusal(why, &top.join(deletion.name.to_string()))
    }
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use super::super::jobs::{Job, Outcome};
    use super::super::store::Directories;
    use super::*;
    use crate::durable::{DiskStep, InjectedFault};
    use engine::catalog::StoreError::{Io, NotAFile, NotThere, Precondition as Unmet};
    use engine::vault::upload::{OnExists, Upload};
    use std::fs;

    struct Bench {
        top: tempfile::TempDir,
        writer: Writer,
    }

    fn name(text: &str) -> FileName {
        FileName::parse(text.as_bytes()).unwrap()
    }

    fn deletion(text: &str, precondition: Precondition) -> Deletion {
        Deletion { directory: 0, name: name(text), precondition, client: [10, 0, 0, 1].into() }
    }

    fn upload(text: &str) -> Upload {
        Upload {
            directory: 0,
            name: name(text),
            bytes_max: 100,
            on_exists: OnExists::Replace,
            precondition: Precondition::None,
            cancel: None,
            client: [10, 0, 0, 1].into(),
            spool: None,
            bytes: b"new".to_vec(),
        }
    }

    impl Bench {
        fn new(files: &[&str]) -> Bench {
            let top = tempfile::tempdir().unwrap();
            fs::create_dir(top.path().join("sub")).unwrap();
            for file in files {
                fs::write(top.path().join(file), "old").unwrap();
            }
            let directories = Arc::new(Directories::default());
            assert_eq!(directories.number(top.path()), Some(0));
            Bench { writer: Writer::new(directories, 1_000), top }
        }

        fn delete(&mut self, text: &str) -> Result<(), StoreError> {
            let deletion = deletion(text, Precondition::None);
            self.run(&[Job::Delete(&deletion)]).remove(0)
        }

        fn run(&mut self, jobs: &[Job<'_>]) -> Vec<Result<(), StoreError>> {
            let outcomes = self.writer.run(jobs).into_iter();
            let results = outcomes.map(|outcome| match outcome {
                Outcome::Deleted(result) => result,
                Outcome::Upload(result) => result.map(|_| ()),
                Outcome::Vault(_) => unreachable!("no request was asked for"),
            });
            results.collect()
        }

        fn has(&self, path: &str) -> bool {
            self.top.path().join(path).symlink_metadata().is_ok()
        }
    }

    #[test]
    fn a_file_goes_and_what_is_none_stays() {
        let mut bench = Bench::new(&["a.log", "sub/B.log", "keep"]);
        assert_eq!(bench.delete("A.LOG"), Ok(()));
        assert_eq!(bench.delete("sub/b.log"), Ok(()));
        assert!(!bench.has("a.log") && !bench.has("sub/B.log") && bench.has("keep"));
        let placed = bench.writer.take_placed();
        assert!(placed.iter().all(|placed| placed.version.is_none()) && placed.len() == 2);
        assert_eq!(bench.delete("a.log"), Err(NotThere));
        assert_eq!(bench.delete("none/a.log"), Err(NotThere));
        assert_eq!(bench.delete("keep/a.log"), Err(NotThere));
        assert!(!bench.has("none"), "a deletion makes no directory");
        assert_eq!(bench.delete("sub"), Err(NotAFile));
        assert!(bench.has("sub"));
    }

    #[test]
    fn of_two_names_that_differ_in_case_the_one_that_is_spelled_goes() {
        let mut bench = Bench::new(&["A.log", "a.log"]);
        assert_eq!(bench.delete("a.log"), Ok(()));
        assert!(bench.has("A.log") && !bench.has("a.log"));
        assert_eq!(bench.delete("a.log"), Ok(()));
        assert!(!bench.has("A.log"));
    }

    #[test]
    fn a_link_goes_and_what_it_leads_to_stays() {
        let mut bench = Bench::new(&["keep"]);
        std::os::unix::fs::symlink("keep", bench.top.path().join("a.log")).unwrap();
        assert_eq!(bench.delete("a.log"), Ok(()));
        assert!(bench.has("keep") && !bench.has("a.log"));
    }

    #[test]
    fn a_deletion_is_judged_by_what_is_there() {
        let mut bench = Bench::new(&["a.log"]);
        let mut delete = |precondition| {
            let deletion = deletion("a.log", precondition);
            bench.run(&[Job::Delete(&deletion)]).remove(0)
        };
        assert_eq!(delete(Precondition::Matches(vec![(*b"other").into()])), Err(Unmet));
        assert_eq!(delete(Precondition::New), Err(Unmet));
        assert_eq!(delete(Precondition::Exists), Ok(()));
        assert_eq!(delete(Precondition::Exists), Err(Unmet));
    }

    #[test]
    fn uploads_and_deletions_of_a_batch_are_done_in_their_order() {
        let mut bench = Bench::new(&["a.log"]);
        let (gone, new) = (deletion("a.log", Precondition::None), upload("a.log"));
        let jobs = [Job::Delete(&gone), Job::Delete(&gone), Job::Upload(&new), Job::Delete(&gone)];
        assert_eq!(bench.run(&jobs), [Ok(()), Err(NotThere), Ok(()), Ok(())]);
        assert!(!bench.has("a.log"));
        assert_eq!(bench.run(&[Job::Upload(&new)]), [Ok(())]);
        assert!(bench.has("a.log"));
    }

    #[test]
    fn what_is_not_synced_is_not_told_to_be_gone() {
        let mut bench = Bench::new(&["a.log"]);
        let fault = InjectedFault { step: DiskStep::SyncDirectory, crash: false, nth: None };
        bench.writer.fail(Some(fault));
        assert_eq!(bench.delete("a.log"), Err(Io));
    }
}
