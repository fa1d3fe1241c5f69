//! The result of scanning one root: the index, and what is needed to keep it current.
//!
//! Only records; never looks at a disk.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use super::path::is_within;
use engine::catalog::Entry;
use engine::catalog::index::Index;
use engine::catalog::omission::{Omission, OmissionList, Omissions, Omitted};

/// The scanned state of one root.
#[derive(Debug, Default)]
pub(super) struct ScanState {
    pub(super) index: Index,
    /// Directories that were read, by the path that led there.
    pub(super) dirs: BTreeSet<Box<str>>,
    /// Links of every kind, broken ones too.
    pub(super) links: BTreeSet<Box<str>>,
    /// Links to directories, and where each leads.
    pub(super) dir_links: BTreeMap<Box<str>, Box<str>>,
    /// The number of indexed files directly in each directory, if any.
    files_in: BTreeMap<Box<str>, usize>,
    /// What was left out, except names that are served under their exact spelling only.
    pub(super) omitted: Arc<OmissionList>,
}

impl ScanState {
    /// Derives the state from the index of an earlier scan.
    pub(super) fn of(index: Index) -> Self {
        let mut files_in: BTreeMap<Box<str>, usize> = BTreeMap::new();
        for (_, entry) in index.iter() {
            match files_in.get_mut(parent(&entry.path)) {
                Some(files) => *files += 1,
                None => drop(files_in.insert(parent(&entry.path).into(), 1)),
            }
        }
        ScanState { index, files_in, ..ScanState::default() }
    }

    /// Adds a file to the index.
    pub(super) fn insert(&mut self, name: &[u8], entry: Arc<Entry>) {
        let path = entry.path.clone();
        if self.index.insert(name, entry).is_some() {
            return;
        }
        match self.files_in.get_mut(parent(&path)) {
            Some(files) => *files += 1,
            None => drop(self.files_in.insert(parent(&path).into(), 1)),
        }
    }

    /// Removes a file from the index, and returns whether it was there.
    pub(super) fn remove(&mut self, name: &[u8], path: &str) -> bool {
        if self.index.remove(name, path).is_none() {
            return false;
        }
        if let Some(files) = self.files_in.get_mut(parent(path)) {
            *files -= 1;
            if *files == 0 {
                self.files_in.remove(parent(path));
            }
        }
        true
    }

    /// Returns whether an indexed file lies in a directory or beneath it.
    pub(super) fn has_files_within(&self, path: &str) -> bool {
        within(&self.files_in, path).next().is_some()
    }

    /// Returns every indexed file in a directory and beneath it. Searches the whole index only if
    /// there are any.
    pub(super) fn files_within(&self, path: &str) -> Vec<(Box<[u8]>, Arc<Entry>)> {
        if !self.has_files_within(path) {
            return Vec::new();
        }
        let entries = self.index.iter().filter(|(_, entry)| is_within(&entry.path, path));
        entries.map(|(name, entry)| (name.into(), Arc::clone(entry))).collect()
    }

    /// Removes everything under a directory, and returns how many files it served.
    pub(super) fn forget_directory(&mut self, path: &str) -> u64 {
        let omitted = self.omitted.iter().filter(|(omitted, ..)| is_within(omitted, path));
        let omitted: Vec<_> = omitted.map(|(omitted, ..)| omitted.to_owned()).collect();
        omitted.iter().for_each(|omitted| self.clear_omission(omitted));
        let gone = self.files_within(path);
        for (name, entry) in &gone {
            self.remove(name, &entry.path);
        }
        forget_within(&mut self.links, path);
        forget_within(&mut self.dirs, path);
        let links = within(&self.dir_links, path).map(|(link, _)| link.clone());
        for link in links.collect::<Vec<_>>() {
            self.dir_links.remove(&link);
        }
        gone.len() as u64
    }

    /// Notes that a path is left out.
    pub(super) fn omit(&mut self, omission: Omission, path: &str, why: &str) {
        if self.omitted.find(path) != Some((omission, why)) {
            Arc::make_mut(&mut self.omitted).insert(path, omission, why);
        }
    }

    /// Notes that a path is no longer left out.
    pub(super) fn clear_omission(&mut self, path: &str) {
        if self.omitted.find(path).is_some() {
            Arc::make_mut(&mut self.omitted).remove(path);
        }
    }

    /// Returns what was left out, including names with several spellings.
    pub(super) fn all_omissions(&self) -> Omissions {
        let mut omissions = self.omitted.by_reason();
        let count = self.index.others_len();
        if count > 0 {
            let hidden = self.index.others_iter().flat_map(|(name, others)| {
                let served = self.index.get(name).map_or("another file", |entry| &*entry.path);
                others.iter().map(move |other| format!("{} (else served: {served})", other.path))
            });
            let first = hidden.min().unwrap_or_default();
            omissions.insert(Omission::Shadowed, Omitted { count, first });
        }
        omissions
    }
}

/// Returns the directory of a path, "" for members of the root.
pub(super) fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(parent, _)| parent)
}

/// Returns the entries whose keys are a directory or lie in it.
pub(super) fn within<'a, V>(
    map: &'a BTreeMap<Box<str>, V>,
    path: &'a str,
) -> impl Iterator<Item = (&'a Box<str>, &'a V)> {
    let from = (Bound::Included(path), Bound::Unbounded);
    let members = map.range::<str, _>(from).take_while(move |(key, _)| key.starts_with(path));
    members.filter(move |(key, _)| is_within(key, path))
}

fn forget_within(set: &mut BTreeSet<Box<str>>, path: &str) {
    let from = (Bound::Included(path), Bound::Unbounded);
    let members = set.range::<str, _>(from).take_while(|key| key.starts_with(path));
    let gone: Vec<_> = members.filter(|key| is_within(key, path)).cloned().collect();
    for key in gone {
        set.remove(&key);
    }
}
