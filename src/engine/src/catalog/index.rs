//! A map from folded names to entries, in shards, so that one changed file costs one small copy.
//!
//! A clone shares every shard with its original. A change to a clone copies only the shards that it
//! touches: a root of 200,000 files is published again without copying 200,000 names. Files whose
//! paths differ in case only have one folded name. All but the first in byte order are kept in a
//! separate map, so that a root without such files does not pay for them.

use std::collections::HashMap;
use std::sync::Arc;

use super::Entry;
use wire::name::FileName;

/// Names per shard, on average, before the number of shards doubles.
const SHARD_NAMES_MAX: usize = 256;

/// The files of one root, by folded name.
#[derive(Clone, Debug, Default)]
pub struct Index {
    /// For each name, the file whose path is the first in byte order.
    first: Shards<Arc<Entry>>,
    /// For the few names that several files share, the others, in byte order; never empty.
    others: Shards<Vec<Arc<Entry>>>,
    files: usize,
}

impl Index {
    /// Returns the file that is served under a name: the one with the requested spelling, else the
    /// first in byte order.
    #[must_use]
    pub fn find(&self, name: &FileName) -> Option<&Arc<Entry>> {
        let first = self.first.get(name.as_bytes())?;
        if self.others.names == 0 || name.is_spelled(first.path.as_bytes()) {
            return Some(first);
        }
        let others = self.others.get(name.as_bytes()).map_or(&[][..], Vec::as_slice);
        let exact = others.iter().find(|other| name.is_spelled(other.path.as_bytes()));
        Some(exact.unwrap_or(first))
    }

    /// Returns the first file of a folded name in byte order.
    #[must_use]
    pub fn get(&self, name: &[u8]) -> Option<&Arc<Entry>> {
        self.first.get(name)
    }

    /// Returns the file of a folded name that has exactly this path.
    #[must_use]
    pub fn at(&self, name: &[u8], path: &str) -> Option<&Arc<Entry>> {
        let first = self.first.get(name)?;
        if *first.path == *path || self.others.names == 0 {
            return Some(first).filter(|first| *first.path == *path);
        }
        self.others.get(name)?.iter().find(|other| *other.path == *path)
    }

    /// Returns the files of a folded name that are served only if their exact spelling is
    /// requested.
    #[must_use]
    pub fn others(&self, name: &[u8]) -> &[Arc<Entry>] {
        self.others.get(name).map_or(&[], Vec::as_slice)
    }

    /// Returns every folded name that several files share, with all of them but the first.
    pub fn others_iter(&self) -> impl Iterator<Item = (&[u8], &[Arc<Entry>])> {
        self.others.iter().map(|(name, others)| (name, others.as_slice()))
    }

    /// Returns how many files share their folded name with one before them in byte order.
    #[must_use]
    pub fn others_len(&self) -> usize {
        self.files - self.first.names
    }

    /// Returns how many files there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.files
    }

    /// Returns whether there is no file at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.files == 0
    }

    /// Returns every file with its folded name, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &Arc<Entry>)> {
        let others = self.others.iter();
        let others = others.flat_map(|(name, others)| others.iter().map(move |one| (name, one)));
        self.first.iter().chain(others)
    }

    /// Inserts a file under a folded name, and returns the former one of the same path.
    pub fn insert(&mut self, name: &[u8], entry: Arc<Entry>) -> Option<Arc<Entry>> {
        let first = self.first.get(name);
        let before = match first.map(|first| first.path.cmp(&entry.path)) {
            None | Some(std::cmp::Ordering::Equal) => self.first.insert(name, entry),
            Some(std::cmp::Ordering::Greater) => {
                let second = self.first.insert(name, entry);
                second.and_then(|second| self.insert_other(name, second))
            }
            Some(std::cmp::Ordering::Less) => self.insert_other(name, entry),
        };
        self.files += usize::from(before.is_none());
        before
    }

    fn insert_other(&mut self, name: &[u8], entry: Arc<Entry>) -> Option<Arc<Entry>> {
        let mut others = self.others(name).to_vec();
        let before = match others.binary_search_by(|other| other.path.cmp(&entry.path)) {
            Ok(at) => Some(std::mem::replace(&mut others[at], entry)),
            Err(at) => {
                others.insert(at, entry);
                None
            }
        };
        self.others.insert(name, others);
        before
    }

    /// Removes the file of a path and returns it. The next file of the folded name then becomes the
    /// first.
    pub fn remove(&mut self, name: &[u8], path: &str) -> Option<Arc<Entry>> {
        let removed = Arc::clone(self.at(name, path)?);
        let mut others = self.others(name).to_vec();
        if self.first.get(name).is_some_and(|first| *first.path == *path) {
            if others.is_empty() {
                self.first.remove(name);
            } else {
                self.first.insert(name, others.remove(0));
            }
        } else {
            others.retain(|other| *other.path != *path);
        }
        if others.is_empty() {
            self.others.remove(name);
        } else {
            self.others.insert(name, others);
        }
        self.files -= 1;
        Some(removed)
    }
}

impl FromIterator<(Box<[u8]>, Arc<Entry>)> for Index {
    fn from_iter<I: IntoIterator<Item = (Box<[u8]>, Arc<Entry>)>>(entries: I) -> Self {
        let mut index = Index::default();
        for (name, entry) in entries {
            index.insert(&name, entry);
        }
        index
    }
}

type Shard<V> = HashMap<Box<[u8]>, V>;

/// A map by folded name, in shards that clones share.
#[derive(Clone, Debug)]
struct Shards<V> {
    /// Empty, or a power of two.
    shards: Vec<Arc<Shard<V>>>,
    names: usize,
}

impl<V> Default for Shards<V> {
    fn default() -> Self {
        Shards { shards: Vec::new(), names: 0 }
    }
}

impl<V: Clone> Shards<V> {
    fn get(&self, name: &[u8]) -> Option<&V> {
        self.shards.get(place(name, self.shards.len()))?.get(name)
    }

    fn iter(&self) -> impl Iterator<Item = (&[u8], &V)> {
        self.shards.iter().flat_map(|shard| shard.iter().map(|(name, value)| (&**name, value)))
    }

    fn insert(&mut self, name: &[u8], value: V) -> Option<V> {
        if self.names >= self.shards.len() * SHARD_NAMES_MAX {
            self.grow();
        }
        let place = place(name, self.shards.len());
        let before = Arc::make_mut(self.shards.get_mut(place)?).insert(name.into(), value);
        self.names += usize::from(before.is_none());
        before
    }

    fn remove(&mut self, name: &[u8]) -> Option<V> {
        let place = place(name, self.shards.len());
        let shard = self.shards.get_mut(place)?;
        if !shard.contains_key(name) {
            return None;
        }
        let before = Arc::make_mut(shard).remove(name)?;
        self.names -= 1;
        Some(before)
    }

    fn grow(&mut self) {
        let mut shards = vec![Shard::new(); (self.shards.len() * 2).max(1)];
        let places = shards.len();
        for shard in self.shards.drain(..) {
            for (name, value) in Arc::unwrap_or_clone(shard) {
                if let Some(shard) = shards.get_mut(place(&name, places)) {
                    shard.insert(name, value);
                }
            }
        }
        self.shards = shards.into_iter().map(Arc::new).collect();
    }
}

/// Returns the shard of a name: FNV-1a, folded onto a number of shards that is a power of two.
fn place(name: &[u8], shards: usize) -> usize {
    let mixed = name.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    ((mixed >> 32) as usize) & shards.wrapping_sub(1)
}

#[cfg(test)]
mod tests {
    use super::super::RootId;
    use super::super::blob::Version;
    use super::*;

    fn entry(path: &str) -> Arc<Entry> {
        Arc::new(Entry::new(RootId(0), path, Version::default()))
    }

    #[test]
    fn an_index_agrees_with_a_plain_map_over_many_changes() {
        let mut index = Index::default();
        let mut plain = HashMap::new();
        let mut seed = 7_u64;
        for _ in 0..20_000 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let name = format!("{}.cfg", (seed >> 40) % 3_000);
            let there = if seed >> 33 & 3 == 0 {
                (index.remove(name.as_bytes(), &name), plain.remove(&name))
            } else {
                (index.insert(name.as_bytes(), entry(&name)), plain.insert(name.clone(), ()))
            };
            assert_eq!(there.0.is_some(), there.1.is_some());
            assert_eq!(index.len(), plain.len());
        }
        assert_eq!(index.iter().count(), plain.len());
        assert!(plain.keys().all(|name| index.get(name.as_bytes()).is_some()));
        assert!(index.get(b"none").is_none() && Index::default().get(b"none").is_none());
    }

    #[test]
    fn a_clone_never_sees_what_its_original_becomes() {
        let mut index: Index =
            (0..5_000).map(|n| (n.to_string().into_bytes().into(), entry("x"))).collect();
        let clone = index.clone();
        index.remove(b"17", "x");
        index.insert(b"new", entry("new"));
        assert!(clone.get(b"17").is_some() && clone.get(b"new").is_none());
        let (now, then) = (&index.first.shards, &clone.first.shards);
        let shared = now.iter().zip(then).filter(|(a, b)| Arc::ptr_eq(a, b)).count();
        assert!(shared >= now.len() - 2, "only the touched shards are copied");
    }

    #[test]
    fn of_names_that_differ_in_case_only_the_exact_spelling_wins_else_the_first() {
        let spellings = ["ringlist.xml", "RINGLIST.XML", "Ringlist.xml"];
        let mut orders = vec![spellings];
        orders.extend([1, 2].map(|by| {
            let mut order = spellings;
            order.rotate_left(by);
            order
        }));
        for order in orders {
            let mut index = Index::default();
            for path in order {
                assert!(index.insert(b"ringlist.xml", entry(path)).is_none());
                assert!(index.insert(b"ringlist.xml", entry(path)).is_some(), "the same path");
            }
            let found = |index: &Index, requested: &str| {
                let name = FileName::parse(requested.as_bytes()).unwrap();
                index.find(&name).map(|entry| entry.path.to_string())
            };
            for path in spellings {
                assert_eq!(found(&index, path).as_deref(), Some(path));
            }
            assert_eq!(found(&index, "RingList.xml").as_deref(), Some("RINGLIST.XML"));
            assert_eq!((index.len(), index.iter().count(), index.others_len()), (3, 3, 2));
            assert!(index.remove(b"ringlist.xml", "RINGLIST.XML").is_some());
            assert_eq!(found(&index, "RINGLIST.XML").as_deref(), Some("Ringlist.xml"));
            assert!(index.remove(b"ringlist.xml", "ringlist.xml").is_some());
            assert_eq!(found(&index, "ringlist.xml").as_deref(), Some("Ringlist.xml"));
            assert!(index.remove(b"ringlist.xml", "ringlist.xml").is_none());
            assert!(index.remove(b"ringlist.xml", "Ringlist.xml").is_some());
            assert!(index.is_empty() && index.others.names == 0 && index.first.names == 0);
        }
    }
}
