//! A pass: looks at everything under a root in steps, so that touched paths need not wait for its
//! end.
//!
//! Checks each path that it did not meet before forgetting it, so a directory that cannot be read
//! loses nothing.

use std::collections::{BTreeSet, HashSet};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use cap_std::fs::ReadDir;

use super::links::{Chain, LinkedReads};
use super::root_dir::{RootDir, root_dir_of};
use super::scan::{OnDirectory, Scanner, Touch, Visit, address};
use engine::catalog::omission::OmissionList;
use engine::catalog::{Entry, Form};

/// Directory members that one step looks at.
pub(super) const STEP_FILES: usize = 500;
/// How long a background pass pauses after each step: it takes about half of one core.
pub(super) const STEP_PAUSE: Duration = Duration::from_millis(1);

/// A look at everything under a root, in steps.
#[derive(Debug, Default)]
pub(super) struct Pass {
    pub(super) visits: Vec<Visit>,
    reading: Option<(Visit, ReadDir)>,
    /// The addresses of the entries that were met, and of those created meanwhile.
    pub(super) met: HashSet<usize>,
    dirs: BTreeSet<Box<str>>,
    pub(super) links: BTreeSet<Box<str>>,
    pub(super) omitted: OmissionList,
    /// The paths that were not met and must be checked; `None` while directories are read.
    missed: Option<Vec<Box<str>>>,
}

/// Why a root that was full a moment ago is not taken for empty.
const NOT_MOUNTED: &str = "another disk is there now, with nothing on it, so the share seems not \
     to be mounted; restart the server if it is to be empty";

/// Files that are tried if a root cannot be read, to learn whether any can still be served.
const TRIED_MAX: usize = 8;

impl Scanner {
    /// Returns why the root cannot be read now.
    #[must_use]
    pub(crate) fn fault(&self) -> Option<&Arc<str>> {
        self.fault.as_ref()
    }

    /// Returns whether the root's path leads to another directory than the one scanned.
    #[must_use]
    pub(crate) fn has_moved(&self) -> bool {
        match &self.root_dir {
            Some(root_dir) => !root_dir.is_in_place(),
            None => self.path.is_dir(),
        }
    }

    /// Identifies the handle that files are opened beneath, by a number unique while it is in use.
    pub(super) fn handle(&self) -> Option<usize> {
        self.root_dir.as_ref().map(|root_dir| Arc::as_ptr(root_dir) as usize)
    }

    /// Returns whether any file can still be served, from memory or beneath the handle.
    #[must_use]
    pub(crate) fn serves(&self) -> bool {
        let entries = || self.state.index.iter().map(|(_, entry)| entry);
        let opens = |entry: &Arc<Entry>| {
            root_dir_of(entry).is_some_and(|root_dir| root_dir.file(&entry.path).is_ok())
        };
        entries().any(|entry| entry.blob(Form::Octet).is_some())
            || entries().take(TRIED_MAX).any(opens)
    }

    /// Looks at everything. Returns true if anything has changed.
    #[cfg(test)]
    pub(crate) fn rescan(&mut self, on_directory: OnDirectory<'_>) -> bool {
        let mut changed = self.begin_pass();
        while self.pass.is_some() && !self.is_stopping() {
            changed |= self.step(on_directory);
        }
        changed
    }

    /// Returns whether a pass is under way.
    #[must_use]
    pub(crate) fn is_passing(&self) -> bool {
        self.pass.is_some()
    }

    /// Begins a pass from the start. Returns true if anything has changed.
    ///
    /// A root that cannot be read stays as it was: it is not taken for empty because its server is
    /// away for a moment, or because the process has no descriptor left.
    pub(crate) fn begin_pass(&mut self) -> bool {
        let changes_before = self.changes;
        self.pass = None;
        match self.open() {
            Ok(()) => {
                let top =
                    Visit { path: String::new(), real: String::new(), chain: Chain::default() };
                self.linked = LinkedReads::default();
                self.pass = Some(Pass { visits: vec![top], ..Pass::default() });
            }
            Err(why) => self.cannot_read("", &why),
        }
        self.changes != changes_before
    }

    /// Opens the root's directory if it is another one than before.
    fn open(&mut self) -> io::Result<()> {
        if self.root_dir.as_ref().is_some_and(|root_dir| root_dir.is_in_place()) {
            return Ok(());
        }
        let root_dir = RootDir::open(&self.path)?;
        let had_files = self.state.index.iter().next().is_some();
        let before = self.root_dir.as_ref().filter(|_| had_files);
        if before.is_some_and(|before| root_dir.is_bare_beside(before)) {
            return Err(io::Error::other(NOT_MOUNTED));
        }
        self.root_dir = Some(Arc::new(root_dir));
        Ok(())
    }

    /// Continues the pass. Returns true if anything has changed.
    pub(crate) fn step(&mut self, on_directory: OnDirectory<'_>) -> bool {
        let changes_before = self.changes;
        let Some(root_dir) = self.root_dir.clone() else { return false };
        for _ in 0..STEP_FILES {
            if self.is_stopping() {
                break;
            }
            let Some(pass) = &mut self.pass else { break };
            if let Some(missed) = &mut pass.missed {
                match missed.pop() {
                    Some(path) => self.scan_path(&path, Touch::default(), on_directory),
                    None => self.end_pass(),
                }
                continue;
            }
            if let Some((visit, mut reading)) = pass.reading.take() {
                match reading.next() {
                    Some(Ok(member)) => {
                        let further = self.visit(&root_dir, &visit, &member, None);
                        let Some(pass) = &mut self.pass else { break };
                        pass.visits.extend(further);
                        pass.reading = Some((visit, reading));
                    }
                    Some(Err(why)) => self.cannot_read(&visit.path, &why),
                    None => {}
                }
            } else if let Some(visit) = pass.visits.pop() {
                let listing = self.read(&root_dir, &visit, on_directory);
                if let (Some(pass), Some(listing)) = (&mut self.pass, listing) {
                    pass.dirs.insert(visit.path.as_str().into());
                    pass.reading = Some((visit, listing));
                }
            } else {
                self.find_missed();
            }
        }
        self.changes != changes_before
    }

    /// Finds what was known but not met: it is gone, or could not be looked at.
    fn find_missed(&mut self) {
        let Some(pass) = &mut self.pass else { return };
        let entries = self.state.index.iter().map(|(_, entry)| entry);
        let entries = entries.filter(|entry| !pass.met.contains(&address(entry)));
        let mut missed: Vec<Box<str>> = entries.map(|entry| entry.path.clone()).collect();
        missed.extend(self.state.links.difference(&pass.links).cloned());
        // Taken from the end: a directory that is gone takes its members with it.
        let dirs: Vec<_> = self.state.dirs.difference(&pass.dirs).cloned().collect();
        missed.extend(dirs.into_iter().rev());
        // What lies in an unreadable directory stays as it was known.
        missed.retain(|path| !pass.omitted.is_unreadable(path));
        pass.missed = Some(missed);
    }

    fn end_pass(&mut self) {
        let Some(pass) = self.pass.take() else { return };
        if *self.state.omitted != pass.omitted {
            self.state.omitted = Arc::new(pass.omitted);
            self.changes += 1;
        }
        self.changes += u64::from(!self.is_known) + u64::from(self.fault.is_some());
        self.is_known = true;
        self.fault = None;
    }
}
