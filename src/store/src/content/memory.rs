//! Which loaded bytes stay in memory: a budget for the heap, limits for descriptors.
//!
//! The blob used longest ago is dropped first. Dropping only clears the entry's slot; a running
//! transfer keeps the bytes that it began with.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use engine::catalog::blob::Blob;
use engine::catalog::{Entry, Form};
use wire::time::Instant;

/// A file in a form, by the entry's address, which is unique as long as the entry is referenced.
pub(super) type Key = (usize, Form);

/// The key of an entry in a form.
pub(super) fn key(entry: &Arc<Entry>, form: Form) -> Key {
    (Arc::as_ptr(entry) as usize, form)
}

/// How much may stay.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Bytes of blobs on the heap and in sealed memory.
    pub(super) heap_bytes_max: u64,
    /// Files in sealed memory; each costs a descriptor.
    pub(super) sealed_files_max: usize,
    /// Mapped files; each costs a descriptor and a mapping.
    pub(super) mapped_files_max: usize,
}

/// Everything that is kept, by entry and form.
#[derive(Debug)]
pub(super) struct Memory {
    limits: Limits,
    kept: HashMap<Key, KeptBlob>,
    heap_bytes: u64,
    sealed_files: usize,
    mapped_files: usize,
    /// Entries leave the catalog silently, so all are checked when their number has doubled.
    sweep_at: usize,
}

/// With fewer kept blobs than this, none are checked for entries that have gone.
const SWEEP_MIN: usize = 64;

#[derive(Debug)]
struct KeptBlob {
    /// Weak, so that an entry that leaves the catalog frees its bytes. Its address stays taken
    /// while this exists, so the key stays unique.
    entry: Weak<Entry>,
    /// Zero for a mapping.
    heap_bytes: u64,
    is_sealed: bool,
    is_mapped: bool,
}

impl Memory {
    pub(super) fn new(limits: Limits) -> Self {
        Memory {
            limits,
            kept: HashMap::new(),
            heap_bytes: 0,
            sealed_files: 0,
            mapped_files: 0,
            sweep_at: SWEEP_MIN,
        }
    }

    /// Returns whether one more file may be sealed; a large one needs room. Other files go to the
    /// heap or are mapped: dropping a blob costs the disk's time, and frees no memory while phones
    /// still fetch it.
    pub(super) fn may_seal(&mut self, bytes: u64, is_large: bool) -> bool {
        let fits = |memory: &Memory| {
            let has_room = memory.heap_bytes.saturating_add(bytes) <= memory.limits.heap_bytes_max;
            memory.sealed_files < memory.limits.sealed_files_max && (has_room || !is_large)
        };
        if !fits(self) {
            self.sweep();
        }
        fits(self)
    }

    /// Sealed files that entries keep.
    pub(super) fn sealed_files(&self) -> usize {
        self.sealed_files
    }

    /// Bytes on the heap and in sealed memory that entries keep, including entries that have left
    /// the catalog since the last sweep.
    pub(super) fn heap_bytes(&self) -> u64 {
        self.heap_bytes
    }

    /// Mappings that entries keep.
    pub(super) fn mapped_files(&self) -> usize {
        self.mapped_files
    }

    /// Keeps a blob in its entry and drops others to make room. Returns how many it dropped.
    pub(super) fn keep(
        &mut self,
        entry: &Arc<Entry>,
        form: Form,
        blob: &Arc<Blob>,
        now: Instant,
    ) -> usize {
        blob.touch(now);
        let heap_bytes = if blob.is_mapped() { 0 } else { blob.bytes() };
        if heap_bytes > self.limits.heap_bytes_max {
            return 0;
        }
        let key = key(entry, form);
        self.take_off(key);
        entry.keep(form, Some(Arc::clone(blob)));
        let (is_sealed, is_mapped) = (blob.is_sealed(), blob.is_mapped());
        let kept = KeptBlob { entry: Arc::downgrade(entry), heap_bytes, is_sealed, is_mapped };
        self.heap_bytes += heap_bytes;
        self.sealed_files += usize::from(is_sealed);
        self.mapped_files += usize::from(is_mapped);
        self.kept.insert(key, kept);
        let forgotten = self.make_room();
        self.check();
        forgotten
    }

    fn make_room(&mut self) -> usize {
        if self.is_within_limits() && self.kept.len() < self.sweep_at {
            return 0;
        }
        self.sweep();
        self.sweep_at = (self.kept.len() * 2).max(SWEEP_MIN);
        if self.is_within_limits() {
            return 0;
        }
        let mut oldest_first: Vec<_> =
            self.kept.iter().map(|(&key, kept)| (kept.used_at(key.1), key)).collect();
        oldest_first.sort_unstable_by_key(|&(used_at, _)| used_at);
        let before = self.kept.len();
        // Frees an eighth more than needed, so that not every further file sorts all of them.
        let heap_over = self.heap_bytes > self.limits.heap_bytes_max;
        let heap_aim = self.limits.heap_bytes_max / 8 * 7;
        let mapped_over = self.mapped_files > self.limits.mapped_files_max;
        let mapped_aim = self.limits.mapped_files_max / 8 * 7;
        for (_, key) in oldest_first {
            let Some(kept) = self.kept.get(&key) else { continue };
            let needed = if kept.is_mapped {
                mapped_over && self.mapped_files > mapped_aim
            } else {
                // Two threads may each have taken the last slot.
                let one_too_many = self.sealed_files > self.limits.sealed_files_max;
                heap_over && self.heap_bytes > heap_aim || kept.is_sealed && one_too_many
            };
            if needed {
                self.forget(key);
            }
        }
        before - self.kept.len()
    }

    fn is_within_limits(&self) -> bool {
        self.heap_bytes <= self.limits.heap_bytes_max
            && self.sealed_files <= self.limits.sealed_files_max
            && self.mapped_files <= self.limits.mapped_files_max
    }

    /// Subtracts what entries that have left the catalog kept.
    fn sweep(&mut self) {
        self.kept.retain(|_, kept| {
            let stays = kept.entry.strong_count() > 0;
            if !stays {
                self.heap_bytes -= kept.heap_bytes;
                self.sealed_files -= usize::from(kept.is_sealed);
                self.mapped_files -= usize::from(kept.is_mapped);
            }
            stays
        });
    }

    fn forget(&mut self, key: Key) {
        if let Some(entry) = self.take_off(key).and_then(|kept| kept.entry.upgrade()) {
            entry.keep(key.1, None);
        }
    }

    fn take_off(&mut self, key: Key) -> Option<KeptBlob> {
        let kept = self.kept.remove(&key)?;
        self.heap_bytes -= kept.heap_bytes;
        self.sealed_files -= usize::from(kept.is_sealed);
        self.mapped_files -= usize::from(kept.is_mapped);
        Some(kept)
    }

    fn check(&self) {
        debug_assert!(self.is_within_limits());
        debug_assert!(self.kept.len() < self.sweep_at);
        // Adding up all of them on every call would take as long as loading.
        debug_assert!(
            self.kept.len() > SWEEP_MIN || {
                let heap_bytes: u64 = self.kept.values().map(|kept| kept.heap_bytes).sum();
                let sealed_files = self.kept.values().filter(|kept| kept.is_sealed).count();
                let mapped_files = self.kept.values().filter(|kept| kept.is_mapped).count();
                (heap_bytes, sealed_files, mapped_files)
                    == (self.heap_bytes, self.sealed_files, self.mapped_files)
            }
        );
    }
}

impl KeptBlob {
    fn used_at(&self, form: Form) -> Instant {
        let blob = self.entry.upgrade().and_then(|entry| entry.kept(form));
        blob.map_or(Instant::START, |blob| blob.used_at())
    }
}

#[cfg(test)]
mod tests {
    use super::super::blob::BlobExt as _;
    use super::*;
    use crate::version::VersionExt as _;
    use engine::catalog::RootId;
    use engine::catalog::blob::Version;

    fn entry() -> Arc<Entry> {
        Arc::new(Entry::new(RootId(0), "file", Version::default()))
    }

    fn keep(memory: &mut Memory, entry: &Arc<Entry>, bytes: usize, now_ms: u64) -> usize {
        let blob = Arc::new(Blob::heap(vec![0; bytes].into(), Version::default()));
        memory.keep(entry, Form::Octet, &blob, Instant::from_millis(now_ms))
    }

    fn memory() -> Memory {
        Memory::new(Limits { heap_bytes_max: 800, sealed_files_max: 2, mapped_files_max: 8 })
    }

    #[cfg(target_os = "linux")]
    fn sealed() -> Arc<Blob> {
        let file = tempfile::tempfile().unwrap();
        file.set_len(100).unwrap();
        Arc::new(Blob::seal(&file, Version::of(&file.metadata().unwrap())).unwrap())
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_large_file_is_sealed_only_where_nothing_has_to_go_for_it() {
        let mut memory = memory();
        let (small, gone) = (entry(), entry());
        keep(&mut memory, &small, 600, 0);
        assert!(memory.may_seal(200, true) && !memory.may_seal(201, true));
        assert!(memory.may_seal(201, false), "what is not large goes to memory in any case");
        memory.keep(&gone, Form::Octet, &sealed(), Instant::from_millis(1));
        assert!(!memory.may_seal(200, true));
        drop(gone);
        assert!(memory.may_seal(200, true), "what has left the catalog takes no room");
        assert!(!memory.may_seal(u64::MAX, true));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn sealed_files_count_against_both_limits_and_leave_them_again() {
        let mut memory = memory();
        let entries: Vec<_> = (0..4).map(|_| entry()).collect();
        for (n, entry) in (0..3).zip(&entries) {
            assert_eq!(memory.may_seal(100, false), n < 2);
            let blob = sealed();
            let forgotten = memory.keep(entry, Form::Octet, &blob, Instant::from_millis(n));
            assert_eq!(
                forgotten,
                usize::from(n == 2),
                "the third one takes the oldest one's place"
            );
        }
        assert!(entries[0].blob(Form::Octet).is_none() && entries[1].blob(Form::Octet).is_some());
        assert_eq!((memory.sealed_files(), memory.heap_bytes()), (2, 200));
        keep(&mut memory, &entries[1], 10, 3);
        assert_eq!((memory.sealed_files(), memory.heap_bytes()), (1, 110));
        keep(&mut memory, &entries[3], 700, 4);
        assert_eq!((memory.sealed_files(), memory.heap_bytes()), (0, 700));
    }

    #[test]
    fn what_was_used_longest_ago_is_forgotten_first() {
        let mut memory = memory();
        let entries: Vec<_> = (0..8).map(|_| entry()).collect();
        for (n, entry) in entries.iter().enumerate() {
            assert_eq!(keep(&mut memory, entry, 100, n as u64), 0);
        }
        let running = entries[0].blob(Form::Octet).unwrap();
        running.touch(Instant::from_millis(100));
        let one_more = entry();
        assert_eq!(keep(&mut memory, &one_more, 100, 101), 2);
        let stays: Vec<_> = entries.iter().map(|entry| entry.blob(Form::Octet).is_some()).collect();
        assert_eq!(stays, [true, false, false, true, true, true, true, true]);
        assert!(one_more.blob(Form::Octet).is_some());
    }

    #[test]
    fn a_forgotten_blob_lives_as_long_as_its_transfer() {
        let mut memory = memory();
        let first = entry();
        keep(&mut memory, &first, 500, 0);
        let running = first.blob(Form::Octet).unwrap();
        let second = entry();
        keep(&mut memory, &second, 500, 1);
        assert!(first.blob(Form::Octet).is_none());
        assert_eq!(running.as_slice().unwrap().len(), 500);
    }

    #[test]
    fn entries_that_leave_the_catalog_give_their_room_back() {
        let mut memory = memory();
        for n in 0..10_000 {
            keep(&mut memory, &entry(), 100, n);
        }
        assert!(memory.kept.len() <= SWEEP_MIN.max(8) && memory.heap_bytes <= 800);
    }

    #[test]
    fn a_blob_larger_than_the_budget_is_used_but_not_kept() {
        let mut memory = memory();
        let large = entry();
        keep(&mut memory, &large, 801, 0);
        assert!(large.blob(Form::Octet).is_none());
        assert_eq!(memory.heap_bytes(), 0);
    }

    #[test]
    fn loading_a_file_again_does_not_count_it_twice() {
        let mut memory = memory();
        let same = entry();
        for n in 0..100 {
            keep(&mut memory, &same, 700, n);
        }
        assert_eq!(memory.heap_bytes(), 700);
        assert!(same.blob(Form::Octet).is_some());
    }
}
