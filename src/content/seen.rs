//! What a scan has found of one root: the index, and what has to be known to keep it up.
//!
//! Keeps books; never looks at a disk.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::index::Index;
use super::omission::{Omission, Omissions, Omitted};
use super::path::is_within;

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) index: Index,
    /// Directories that were read, by the path that led there.
    pub(super) dirs: BTreeSet<Box<str>>,
    /// Links of every kind, broken ones too.
    pub(super) links: BTreeSet<Box<str>>,
    /// Links to directories, and where each leads.
    pub(super) dir_links: BTreeMap<Box<str>, Box<str>>,
    /// Paths that fold to a name that another path has, by that name.
    pub(super) shadowed: HashMap<Box<[u8]>, BTreeSet<Box<str>>>,
    /// What was left out, but for what is shadowed.
    pub(super) omissions: Omissions,
}

impl Seen {
    /// Takes out everything under a directory, and returns the names that it served.
    pub(super) fn forget_directory(&mut self, path: &str) -> Vec<Box<[u8]>> {
        self.dirs.retain(|dir| !is_within(dir, path));
        self.links.retain(|link| !is_within(link, path));
        self.dir_links.retain(|link, _| !is_within(link, path));
        for paths in self.shadowed.values_mut() {
            paths.retain(|shadowed| !is_within(shadowed, path));
        }
        self.shadowed.retain(|_, paths| !paths.is_empty());
        let served = self.index.iter().filter(|(_, entry)| is_within(&entry.path, path));
        let gone: Vec<Box<[u8]>> = served.map(|(name, _)| name.into()).collect();
        for name in &gone {
            self.index.remove(name);
        }
        gone
    }

    /// Notes that a path no longer stands behind another one of the same name.
    pub(super) fn unshadow(&mut self, name: &[u8], path: &str) {
        let Some(paths) = self.shadowed.get_mut(name) else { return };
        paths.remove(path);
        if paths.is_empty() {
            self.shadowed.remove(name);
        }
    }

    /// Counts what is left out, and keeps the first in words.
    pub(super) fn omit(&mut self, omission: Omission, path: &str, why: &str) {
        let omitted = self.omissions.entry(omission).or_default();
        omitted.count += 1;
        if omitted.count == 1 {
            omitted.first = match why {
                "" => path.to_owned(),
                why => format!("{path} ({why})"),
            };
        }
    }

    /// What was left out, what is shadowed included.
    pub(super) fn all_omissions(&self) -> Omissions {
        let mut omissions = self.omissions.clone();
        let mut hidden = Vec::new();
        for (name, paths) in &self.shadowed {
            let served = self.index.get(name).map_or("another file", |entry| &*entry.path);
            hidden.extend(paths.iter().map(|path| format!("{path} (served: {served})")));
        }
        hidden.sort_unstable();
        let count = hidden.len();
        if let Some(first) = hidden.into_iter().next() {
            omissions.insert(Omission::Shadowed, Omitted { count, first });
        }
        omissions
    }
}
