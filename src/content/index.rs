//! Folded names to entries, in shards, so that one changed file costs one small copy.
//!
//! A clone shares every shard with its original. Changing a clone copies only the shards that the
//! change falls into: a root of 200,000 files is published again without copying 200,000 names.

use std::collections::HashMap;
use std::sync::Arc;

use super::Entry;

/// Names per shard, on average, before the number of shards doubles.
const SHARD_NAMES_MAX: usize = 256;

type Shard = HashMap<Box<[u8]>, Arc<Entry>>;

/// The files of one root, by folded name.
#[derive(Clone, Debug, Default)]
pub struct Index {
    /// None, or a power of two.
    shards: Vec<Arc<Shard>>,
    names: usize,
}

impl Index {
    /// The entry of a folded name.
    #[must_use]
    pub fn get(&self, name: &[u8]) -> Option<&Arc<Entry>> {
        self.shards.get(place(name, self.shards.len()))?.get(name)
    }

    /// How many names there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.names
    }

    /// Whether there is no name at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.names == 0
    }

    /// Every name and its entry, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &Arc<Entry>)> {
        self.shards.iter().flat_map(|shard| shard.iter().map(|(name, entry)| (&**name, entry)))
    }

    /// Puts an entry under a name and returns the one that was there.
    pub fn insert(&mut self, name: &[u8], entry: Arc<Entry>) -> Option<Arc<Entry>> {
        if self.names >= self.shards.len() * SHARD_NAMES_MAX {
            self.grow();
        }
        let place = place(name, self.shards.len());
        let before = Arc::make_mut(self.shards.get_mut(place)?).insert(name.into(), entry);
        self.names += usize::from(before.is_none());
        before
    }

    /// Takes a name away and returns its entry.
    pub fn remove(&mut self, name: &[u8]) -> Option<Arc<Entry>> {
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
            for (name, entry) in Arc::unwrap_or_clone(shard) {
                if let Some(shard) = shards.get_mut(place(&name, places)) {
                    shard.insert(name, entry);
                }
            }
        }
        self.shards = shards.into_iter().map(Arc::new).collect();
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

/// The shard of a name: FNV-1a, folded onto a number of shards that is a power of two.
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
                (index.remove(name.as_bytes()), plain.remove(&name))
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
        index.remove(b"17");
        index.insert(b"new", entry("new"));
        assert!(clone.get(b"17").is_some() && clone.get(b"new").is_none());
        let shared =
            index.shards.iter().zip(&clone.shards).filter(|(a, b)| Arc::ptr_eq(a, b)).count();
        assert!(shared >= index.shards.len() - 2, "only the touched shards are copied");
    }
}
