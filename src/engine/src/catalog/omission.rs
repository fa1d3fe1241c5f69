//! Files under a root that are not served, and why: for the log, for metrics and for `ringpost
//! explain`.
//!
//! Values only; the scan makes them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Paths remembered for each reason; beyond these, they are only counted.
pub const OMITTED_MAX: usize = 4_096;

/// Why something on the disk is not in the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Omission {
    /// The root itself cannot be read.
    Root,
    /// No phone can ask for the name.
    BadName,
    /// The link leads out of the root, to nothing, or in a loop.
    BadLink,
    /// A pipe, a socket or a device.
    Special,
    /// The system does not let this process read it.
    Unreadable,
    /// It lies too deep, or there are too many files.
    BeyondLimits,
    /// Its name differs only in case from that of another file, which is served unless exactly
    /// this spelling is asked for.
    Shadowed,
}

impl Omission {
    /// Every reason.
    pub const ALL: [Omission; 7] = [
        Omission::Root,
        Omission::BadName,
        Omission::BadLink,
        Omission::Special,
        Omission::Unreadable,
        Omission::BeyondLimits,
        Omission::Shadowed,
    ];

    /// Returns a word for metrics.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Omission::Root => "root",
            Omission::BadName => "name",
            Omission::BadLink => "link",
            Omission::Special => "special",
            Omission::Unreadable => "unreadable",
            Omission::BeyondLimits => "limit",
            Omission::Shadowed => "case",
        }
    }
}

impl fmt::Display for Omission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Omission::Root => "the root itself, which cannot be read",
            Omission::BadName => "names that no phone can ask for",
            Omission::BadLink => "links that lead out of the root, nowhere or in circles",
            Omission::Special => "pipes, sockets or devices",
            Omission::Unreadable => "what this process is not allowed to read",
            Omission::BeyondLimits => "files that lie too deep or are too many",
            Omission::Shadowed => {
                "files whose name differs only in case from another one's, but to those who ask \
                 for exactly that spelling"
            }
        })
    }
}

/// The paths left out for one reason.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Omitted {
    /// How many.
    pub count: usize,
    /// The first path, with details.
    pub first: String,
}

/// Everything that a scan left out.
pub type Omissions = BTreeMap<Omission, Omitted>;

/// The paths that were left out, one by one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OmissionList {
    by_path: BTreeMap<Box<str>, (Omission, Box<str>)>,
    /// How many paths are remembered, by reason.
    remembered: BTreeMap<Omission, usize>,
    /// How many there are beyond [`OMITTED_MAX`], by reason.
    beyond: BTreeMap<Omission, usize>,
    /// Folded paths that cannot be read; a name beneath one of them may exist.
    unreadable: BTreeSet<Box<[u8]>>,
}

impl OmissionList {
    /// Notes that a path is left out.
    pub fn insert(&mut self, path: &str, omission: Omission, why: &str) {
        let of_reason = self.remembered.get(&omission).copied().unwrap_or_default();
        if of_reason >= OMITTED_MAX && !self.by_path.contains_key(path) {
            *self.beyond.entry(omission).or_default() += 1;
            return;
        }
        self.remove(path);
        *self.remembered.entry(omission).or_default() += 1;
        if omission == Omission::Unreadable {
            self.unreadable.insert(fold(path));
        }
        self.by_path.insert(path.into(), (omission, why.into()));
    }

    /// Notes that a path is no longer left out, and returns whether it was.
    pub fn remove(&mut self, path: &str) -> bool {
        let Some((omission, _)) = self.by_path.remove(path) else { return false };
        self.unreadable.remove(&fold(path));
        match self.remembered.get_mut(&omission) {
            Some(of_reason) if *of_reason > 1 => *of_reason -= 1,
            Some(_) | None => drop(self.remembered.remove(&omission)),
        }
        true
    }

    /// Returns why a path is left out, with details.
    #[must_use]
    pub fn find(&self, path: &str) -> Option<(Omission, &str)> {
        self.by_path.get(path).map(|(omission, why)| (*omission, &**why))
    }

    /// Returns the path that is left out and that a folded name, or a directory above it, could
    /// mean; with the reason and details.
    #[must_use]
    pub fn find_name(&self, name: &[u8]) -> Option<(&str, Omission, &str)> {
        let is_meant = |path: &str| {
            let path = path.as_bytes();
            let end = name.get(path.len());
            path.len() <= name.len()
                && name[..path.len()].eq_ignore_ascii_case(path)
                && matches!(end, None | Some(b'/'))
        };
        let mut meant = self.by_path.iter().filter(|(path, _)| is_meant(path));
        meant.next().map(|(path, (omission, why))| (&**path, *omission, &**why))
    }

    /// Returns whether a folded name may be one that cannot be read, or lies beneath one.
    #[must_use]
    pub fn may_hide(&self, name: &[u8]) -> bool {
        if self.unreadable.is_empty() {
            return false;
        }
        let ends = name.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
        ends.chain([name.len()]).any(|end| self.unreadable.contains(&name[..end]))
    }

    /// Returns whether a path cannot be read, or lies beneath one that cannot.
    #[must_use]
    pub fn is_unreadable(&self, path: &str) -> bool {
        let is_so =
            |path: &str| self.find(path).is_some_and(|(why, _)| why == Omission::Unreadable);
        let ends = path.match_indices('/').map(|(at, _)| at).chain([path.len()]);
        self.hides_any() && ends.map(|end| &path[..end]).any(is_so)
    }

    /// Returns whether anything cannot be read.
    #[must_use]
    pub fn hides_any(&self) -> bool {
        !self.unreadable.is_empty()
    }

    /// Returns whether nothing is left out.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_path.is_empty()
    }

    /// Returns every remembered path with its reason and details.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Omission, &str)> {
        self.by_path.iter().map(|(path, (omission, why))| (&**path, *omission, &**why))
    }

    /// Returns how many there are by reason, and the first of each.
    #[must_use]
    pub fn by_reason(&self) -> Omissions {
        let mut omissions = Omissions::new();
        for (path, omission, why) in self.iter() {
            let omitted = omissions.entry(omission).or_default();
            omitted.count += 1;
            if omitted.count == 1 {
                omitted.first = match why {
                    "" => path.to_owned(),
                    why => format!("{path} ({why})"),
                };
            }
        }
        for (omission, count) in &self.beyond {
            omissions.entry(*omission).or_default().count += count;
        }
        omissions
    }
}

fn fold(path: &str) -> Box<[u8]> {
    path.as_bytes().to_ascii_lowercase().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_is_found_by_any_spelling_and_by_what_lies_beneath_it() {
        let mut list = OmissionList::default();
        list.insert("Firmware/Old", Omission::Unreadable, "Permission denied");
        list.insert("out", Omission::BadLink, "it leads out");
        let found = |name: &str| list.find_name(name.as_bytes()).map(|(path, ..)| path.to_owned());
        assert_eq!(found("firmware/old/a.bin").as_deref(), Some("Firmware/Old"));
        assert_eq!(found("out").as_deref(), Some("out"));
        assert_eq!(found("outer"), None);
        assert!(list.may_hide(b"firmware/old") && list.may_hide(b"firmware/old/a/b"));
        assert!(!list.may_hide(b"firmware/older") && !list.may_hide(b"out"));
        assert!(list.remove("Firmware/Old") && !list.may_hide(b"firmware/old"));
    }

    #[test]
    fn beyond_the_limit_only_the_number_is_known() {
        let mut list = OmissionList::default();
        for n in 0..OMITTED_MAX + 7 {
            list.insert(&n.to_string(), Omission::Special, "");
        }
        assert_eq!(list.iter().count(), OMITTED_MAX);
        assert_eq!(list.by_reason()[&Omission::Special].count, OMITTED_MAX + 7);
    }
}
