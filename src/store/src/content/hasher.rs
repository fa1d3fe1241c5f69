//! Hashes files in the background, and keeps the hashes across restarts.
//!
//! One thread, which works at most a quarter of the time. Files that are being sent come first,
//! then the rest of the catalog, so that another server has the same tags before a phone resumes a
//! file there. No request waits for it. A hash is kept by device, inode, size and times. A file
//! that changed a moment ago is hashed later, because its times may not tell it from its next
//! version.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant, SystemTime};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use parking_lot::{Mutex, MutexGuard};

use super::blob::BlobExt as _;
use super::catalog_handle::CatalogHandle;
use super::load::until_settled;
use super::root_dir::root_dir_of;
use crate::durable::{self, WholeFile};
use crate::offload::Threads;
use crate::sys::file::read_exact_at;
use crate::version::VersionExt as _;
use engine::catalog::blob::{Blob, Version};
use engine::catalog::digest::{Digest, ServerId, identity};
use engine::catalog::{Catalog, Entry};

/// Blobs that wait to be hashed; further ones wait for the next look at the whole catalog.
const WANTED_MAX: usize = 4_096;
/// Most hashes that are remembered.
pub(crate) const DIGESTS_MAX: usize = 4_000_000;
/// Bytes that are read and hashed before the thread rests.
const PART_BYTES: usize = 1 << 20;
/// The thread rests so many times as long as it worked.
const REST_FACTOR: u32 = 3;
/// How long it waits for a file that is sent before it goes on with the catalog.
const IDLE: Duration = Duration::from_millis(500);
/// Between two looks for files that have no hash yet.
const CHECK_EVERY: Duration = Duration::from_secs(5);
/// How long the thread's end is waited for: it may hang at a disk.
const END_WAIT: Duration = Duration::from_secs(1);
/// A record of the file: identity, digest, and the start of the hash of both.
const RECORD_BYTES: usize = 16 + 16 + 8;
/// Most records in the file that no file on the disks has any more.
const STALE_MAX: usize = 10_000;

/// A file that is sent. Weak, so that the queue keeps no bytes in memory.
type HashRequest = (Weak<Entry>, Weak<Blob>);

/// The known digests of files.
#[derive(Debug, Default)]
pub struct Digests {
    known: Mutex<KnownDigests>,
    wanted: Mutex<Option<Sender<HashRequest>>>,
    hashed: AtomicU64,
    hashed_bytes: AtomicU64,
    refused: AtomicU64,
}

#[derive(Debug, Default)]
struct KnownDigests {
    digests: HashMap<[u8; 16], Digest>,
    /// Receives each new record; `None` if nothing outlives the process.
    file: Option<File>,
    path: PathBuf,
}

/// What the hasher has done and knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DigestFigures {
    /// Files hashed.
    pub hashed: u64,
    /// Bytes of them.
    pub hashed_bytes: u64,
    /// Hashes that are not remembered, because there are [`DIGESTS_MAX`] already.
    pub refused: u64,
    /// Hashes remembered.
    pub known: u64,
}

impl Digests {
    /// Loads the digests kept in a directory and keeps new ones there; this process becomes the
    /// server of the id kept there. If the directory cannot be used, nothing outlives the process:
    /// files are hashed anew after each start.
    #[must_use]
    pub fn of(dir: &Path) -> Digests {
        let warn = |why: io::Error| {
            let dir = dir.display();
            tracing::warn!("{dir}: entity tags are made anew after each start: {why}");
        };
        match server_id(dir) {
            Ok(id) => id.install(),
            Err(why) => {
                warn(why);
                random_id().unwrap_or_default().install();
            }
        }
        Digests::open(dir).map_err(warn).unwrap_or_default()
    }

    /// Loads the digests kept in a directory.
    fn open(dir: &Path) -> io::Result<Digests> {
        let path = dir.join(".digests");
        let mut digests = HashMap::new();
        let (mut bytes, mut whole) = (Vec::new(), 0);
        match File::open(&path) {
            Ok(mut file) => drop(file.read_to_end(&mut bytes)?),
            Err(none) if none.kind() == io::ErrorKind::NotFound => {}
            Err(why) => return Err(why),
        }
        for record in bytes.chunks_exact(RECORD_BYTES).take(DIGESTS_MAX) {
            let Some((identity, digest)) = read_record(record) else { break };
            digests.insert(identity, digest);
            whole += RECORD_BYTES as u64;
        }
        let file = File::options().append(true).create(true).open(&path)?;
        // Drops a record that a crash cut short, and all bytes behind it.
        file.set_len(whole)?;
        let known = KnownDigests { digests, file: Some(file), path };
        Ok(Digests { known: Mutex::new(known), ..Digests::default() })
    }

    /// Returns the digest of a version, or `None` if it is not known.
    #[must_use]
    pub fn find(&self, version: &Version) -> Option<Digest> {
        if version.file == (0, 0) {
            return None;
        }
        self.lock().digests.get(&identity(version)).copied()
    }

    /// Queues a file that is being sent for hashing, unless its digest is known.
    pub fn enqueue(&self, entry: &Arc<Entry>, blob: &Arc<Blob>) {
        if blob.version().digest.is_some() {
            return;
        }
        let wanted = self.wanted.lock();
        if let Some(wanted) = &*wanted {
            // If the queue is full, the next look at the catalog finds the file.
            let _ = wanted.try_send((Arc::downgrade(entry), Arc::downgrade(blob)));
        }
    }

    /// Notes the digest of a version that has been left alone long enough.
    fn note(&self, version: &Version, digest: Digest) {
        if version.file == (0, 0) {
            return;
        }
        let identity = identity(version);
        let mut known = self.lock();
        if known.digests.len() >= DIGESTS_MAX {
            self.refused.fetch_add(1, Relaxed);
            return;
        }
        if known.digests.insert(identity, digest) == Some(digest) {
            return;
        }
        if let Some(file) = &mut known.file
            && let Err(why) = file.write_all(&record(&identity, digest))
        {
            tracing::warn!("{} cannot be written: {why}", known.path.display());
            // A partial record would spoil all records behind it.
            known.file = None;
        }
    }

    /// Forgets digests that no file of the catalog has, once there are many.
    fn compact(&self, catalog: &Catalog) {
        let entries = catalog.roots.iter().flat_map(|root| root.entries.iter());
        let live: HashMap<[u8; 16], Digest> = entries
            .filter_map(|(_, entry)| Some((identity(&entry.version), entry.digest()?)))
            .collect();
        let mut known = self.lock();
        if known.digests.len() <= 2 * live.len() + STALE_MAX {
            return;
        }
        known.digests = live;
        if known.file.is_some() {
            let written = rewrite(&known.path, &known.digests);
            let path = known.path.display().to_string();
            known.file =
                written.inspect_err(|why| tracing::warn!("{path} cannot be written: {why}")).ok();
        }
    }

    /// Returns the counters.
    #[must_use]
    pub fn figures(&self) -> DigestFigures {
        DigestFigures {
            hashed: self.hashed.load(Relaxed),
            hashed_bytes: self.hashed_bytes.load(Relaxed),
            refused: self.refused.load(Relaxed),
            known: self.lock().digests.len() as u64,
        }
    }

    fn lock(&self) -> MutexGuard<'_, KnownDigests> {
        self.known.lock()
    }
}

/// Reads this server's id in its directory, or makes one.
fn server_id(dir: &Path) -> io::Result<ServerId> {
    let path = dir.join(".server-id");
    if let Ok(text) = fs::read_to_string(&path)
        && let Ok(number) = u128::from_str_radix(text.trim(), 16)
    {
        return Ok(ServerId(number.to_be_bytes()));
    }
    let id = random_id()?;
    let text = format!("{:032x}\n", u128::from_be_bytes(id.0));
    let file = WholeFile { path: &path, bytes: text.as_bytes(), mode: 0 };
    durable::put(&[file]).map_err(|why| why.cause)?;
    Ok(id)
}

fn random_id() -> io::Result<ServerId> {
    let mut id = [0; 16];
    File::open("/dev/urandom")?.read_exact(&mut id)?;
    Ok(ServerId(id))
}

fn record(identity: &[u8; 16], digest: Digest) -> [u8; RECORD_BYTES] {
    let mut record = [0; RECORD_BYTES];
    record[..16].copy_from_slice(identity);
    record[16..32].copy_from_slice(&digest.to_bytes());
    let check = blake3::hash(&record[..32]);
    record[32..].copy_from_slice(&check.as_bytes()[..8]);
    record
}

fn read_record(bytes: &[u8]) -> Option<([u8; 16], Digest)> {
    let identity = bytes.get(..16)?.try_into().ok()?;
    let digest = Digest::from_bytes(bytes.get(16..32)?.try_into().ok()?);
    (record(&identity, digest) == *bytes).then_some((identity, digest))
}

/// Not synced: each record has its own check, and what a crash takes is hashed anew.
fn rewrite(path: &Path, digests: &HashMap<[u8; 16], Digest>) -> io::Result<File> {
    let aside = path.with_extension("new");
    let mut bytes = Vec::with_capacity(digests.len() * RECORD_BYTES);
    for (identity, digest) in digests {
        bytes.extend_from_slice(&record(identity, *digest));
    }
    fs::write(&aside, bytes)?;
    fs::rename(&aside, path)?;
    File::options().append(true).open(path)
}

/// The thread; ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Hasher {
    digests: Arc<Digests>,
    stopping: Arc<AtomicBool>,
    thread: Option<Threads>,
}

impl Hasher {
    /// Starts the thread.
    ///
    /// # Errors
    /// The system's error if it cannot start a thread.
    pub(crate) fn start(
        digests: Arc<Digests>,
        published: Arc<CatalogHandle>,
    ) -> io::Result<Hasher> {
        let (sender, wanted) = bounded::<HashRequest>(WANTED_MAX);
        let stopping = Arc::new(AtomicBool::new(false));
        let work = Work {
            digests: Arc::clone(&digests),
            published,
            stopping: Arc::clone(&stopping),
            buffer: Vec::new(),
        };
        let mut thread = Threads::default();
        thread.spawn("hasher", move || work.run(&wanted))?;
        *digests.wanted.lock() = Some(sender);
        Ok(Hasher { digests, stopping, thread: Some(thread) })
    }
}

impl Drop for Hasher {
    fn drop(&mut self) {
        self.stopping.store(true, Relaxed);
        *self.digests.wanted.lock() = None;
        // One that hangs at a disk is left behind.
        self.thread.take().map(|thread| thread.join(END_WAIT, || 0));
    }
}

struct Work {
    digests: Arc<Digests>,
    published: Arc<CatalogHandle>,
    stopping: Arc<AtomicBool>,
    buffer: Vec<u8>,
}

impl Work {
    fn run(mut self, wanted: &Receiver<HashRequest>) {
        let mut checked: Option<(Instant, Arc<Catalog>)> = None;
        let mut waiting: Vec<Arc<Entry>> = Vec::new();
        // Whether some file had been changed a moment ago.
        let mut again = false;
        while !self.stopping.load(Relaxed) {
            let patience = if waiting.is_empty() { IDLE } else { Duration::ZERO };
            match wanted.recv_timeout(patience) {
                Ok((entry, blob)) => {
                    // A blob that is gone by now is found again through the catalog.
                    if let (Some(entry), Some(blob)) = (entry.upgrade(), blob.upgrade()) {
                        self.hash_blob(&entry, &blob);
                    }
                    continue;
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            if let Some(entry) = waiting.pop() {
                again |= !self.hash_entry(&entry);
                continue;
            }
            let catalog = self.published.catalog();
            let is_time = checked.as_ref().is_none_or(|(at, before)| {
                at.elapsed() >= CHECK_EVERY && (again || !Arc::ptr_eq(before, &catalog))
            });
            if is_time {
                again = false;
                waiting = unknown(&catalog);
                if waiting.is_empty() {
                    self.digests.compact(&catalog);
                }
                checked = Some((Instant::now(), catalog));
            }
        }
    }

    /// Hashes bytes that are in memory or mapped.
    fn hash_blob(&mut self, entry: &Arc<Entry>, blob: &Blob) {
        let version = blob.version();
        if let Some(digest) = self.digests.find(&version) {
            return learn(entry, Some(blob), &version, digest);
        }
        let mut hasher = blake3::Hasher::new();
        for offset in (0..blob.bytes()).step_by(PART_BYTES) {
            let part = PART_BYTES.min((blob.bytes() - offset) as usize);
            let began = Instant::now();
            if blob.read(offset, part, &mut self.buffer).is_err() {
                return;
            }
            hasher.update(&self.buffer);
            self.rest(began);
        }
        if !blob.verify() {
            return;
        }
        let digest = Digest::from_hash(&hasher.finalize());
        self.count(&version);
        // The file was loaded after its inode had settled.
        self.digests.note(&version, digest);
        learn(entry, Some(blob), &version, digest);
    }

    /// Hashes a file that is not being sent. Returns false if it changed a moment ago.
    fn hash_entry(&mut self, entry: &Arc<Entry>) -> bool {
        let Some(root_dir) = root_dir_of(entry) else { return true };
        let Ok((file, version)) = root_dir.file(&entry.path) else { return true };
        if let Some(digest) = self.digests.find(&version) {
            learn(entry, None, &version, digest);
            return true;
        }
        if until_settled(&version, SystemTime::now()).is_some() {
            return false;
        }
        let mut hasher = blake3::Hasher::new();
        let mut offset = 0;
        while offset < version.bytes {
            if self.stopping.load(Relaxed) {
                return true;
            }
            let began = Instant::now();
            let part =
                PART_BYTES.min(usize::try_from(version.bytes - offset).unwrap_or(PART_BYTES));
            self.buffer.resize(part, 0);
            if read_exact_at(&file, &mut self.buffer, offset).is_err() {
                return true;
            }
            hasher.update(&self.buffer);
            offset += part as u64;
            self.rest(began);
        }
        let after = file.metadata().map(|meta| Version::of(&meta));
        if !after.is_ok_and(|after| after == version) {
            return false;
        }
        let digest = Digest::from_hash(&hasher.finalize());
        self.count(&version);
        self.digests.note(&version, digest);
        learn(entry, None, &version, digest);
        true
    }

    fn count(&self, version: &Version) {
        self.digests.hashed.fetch_add(1, Relaxed);
        self.digests.hashed_bytes.fetch_add(version.bytes, Relaxed);
    }

    fn rest(&self, began: Instant) {
        std::thread::sleep((began.elapsed() * REST_FACTOR).max(Duration::from_micros(50)));
    }
}

/// Stores the digest in the entry and the blob.
fn learn(entry: &Entry, blob: Option<&Blob>, version: &Version, digest: Digest) {
    if let Some(blob) = blob {
        blob.learn(digest);
    }
    if entry.version == *version {
        entry.learn(digest);
    }
}

/// Returns every file without a known digest, the smallest last, because they are taken from there.
fn unknown(catalog: &Catalog) -> Vec<Arc<Entry>> {
    let entries = catalog.roots.iter().flat_map(|root| root.entries.iter());
    let mut unknown: Vec<_> = entries
        .filter(|(_, entry)| entry.digest().is_none())
        .map(|(_, entry)| Arc::clone(entry))
        .collect();
    unknown.sort_unstable_by_key(|entry| std::cmp::Reverse(entry.version.bytes));
    unknown
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use super::super::scan::scan;
    use super::*;

    fn wait_until(condition: &str, holds: impl Fn() -> bool) {
        for _ in 0..1_000 {
            if holds() {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("never: {condition}");
    }

    #[test]
    fn every_file_is_hashed_once_and_known_after_the_next_start() {
        let (root, data) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for (name, bytes) in [("a", "same"), ("b", "same"), ("c", "else"), ("empty", "")] {
            fs::write(root.path().join(name), bytes).unwrap();
        }
        fs::write(root.path().join("large"), vec![7; 3 * PART_BYTES + 5]).unwrap();
        let catalog = Arc::new(scan(&[root.path().to_path_buf()]).0);
        let entries: HashMap<String, Arc<Entry>> = catalog.roots[0]
            .entries
            .iter()
            .map(|(_, entry)| (entry.path.to_string(), Arc::clone(entry)))
            .collect();
        let digests = Arc::new(Digests::open(data.path()).unwrap());
        let published = Arc::new(CatalogHandle::new(Arc::clone(&digests)));
        published.store(Arc::clone(&catalog));
        let hasher = Hasher::start(Arc::clone(&digests), published).unwrap();
        wait_until("all are hashed", || entries.values().all(|one| one.digest().is_some()));
        drop(hasher);
        assert_eq!(entries["a"].digest(), Some(Digest::of(b"same")));
        assert_eq!(entries["a"].digest(), entries["b"].digest());
        assert_eq!(entries["large"].digest(), Some(Digest::of(&vec![7; 3 * PART_BYTES + 5])));
        assert_eq!(digests.figures().known, 5);

        // A record that a crash cut short leaves the others intact.
        let path = data.path().join(".digests");
        let mut file = File::options().append(true).open(&path).unwrap();
        file.write_all(&[1; RECORD_BYTES / 2]).unwrap();
        let again = Digests::open(data.path()).unwrap();
        assert_eq!(again.figures().known, 5);
        for entry in entries.values() {
            assert_eq!(again.find(&entry.version), entry.digest());
        }
        assert_eq!(fs::metadata(&path).unwrap().len(), 5 * RECORD_BYTES as u64);
    }

    #[test]
    fn a_server_keeps_its_id() {
        let data = tempfile::tempdir().unwrap();
        let id = server_id(data.path()).unwrap();
        assert_eq!(server_id(data.path()).unwrap(), id);
        let other = tempfile::tempdir().unwrap();
        assert_ne!(server_id(other.path()).unwrap(), id);
    }
}
