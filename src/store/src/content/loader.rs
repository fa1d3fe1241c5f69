//! The reading threads: they open, read, map and check files for the workers.
//!
//! A file that many phones request at once is read once. Requests that are not for a file of the
//! catalog are handed to the threads' owner. The threads write nothing.
//!
//! A request for a file that changed a moment ago is set aside until the file has settled; no
//! thread waits for it.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError};
use parking_lot::Mutex;

use super::catalog_handle::CatalogHandle;
use super::disks::Gates;
use super::load::{self, Attempt};
pub use super::loader_config::{LoaderConfig, LoaderFigures};
use super::memory::{Key, Limits, Memory, key};
use crate::offload::Threads;
use crate::replies::Workers;
use engine::catalog::blob::Blob;
use engine::catalog::{Entry, Form, OpenError};
use engine::requests::{StoreReply, StoreRequest};
use engine::ticket::Ticket;
use wire::time::Instant;

/// How long such a request waits before the answer is [`OpenError::BeingWritten`].
pub(crate) const SETTLE_WAIT_MAX: Duration = Duration::from_secs(2);
/// How long a thread waits for requests when no file is due to be tried again.
const IDLE: Duration = Duration::from_secs(3_600);

/// A file that is being loaded.
pub(super) struct Load {
    pub(super) entry: Arc<Entry>,
    pub(super) form: Form,
    pub(super) asked_at: std::time::Instant,
    /// The file as the last attempt opened it.
    held: Option<File>,
}

/// The requesters of a file, and since when they wait.
pub(super) struct Waiting {
    pub(super) since: std::time::Instant,
    /// Workers and their tickets.
    pub(super) who: Vec<(usize, Ticket)>,
}

/// A job for a thread at a disk.
pub(super) enum Job {
    Load(Load),
    Request(usize, StoreRequest),
}

/// Answers the requests that are not for a file of the catalog. Returns `None` if another thread
/// answers.
pub(crate) type OtherRequests =
    Arc<dyn Fn(usize, StoreRequest) -> Option<StoreReply> + Send + Sync>;

/// The state that the reading threads share.
pub(crate) struct Loader {
    pub(super) config: LoaderConfig,
    started: std::time::Instant,
    pub(super) workers: Arc<Workers>,
    /// The requesters of each file; a key is here from the first request to the answer.
    pub(super) waiting: Mutex<HashMap<Key, Waiting>>,
    /// Files to be tried again, by time; the number distinguishes two of the same time.
    later: Mutex<BTreeMap<(std::time::Instant, u64), Load>>,
    memory: Mutex<Memory>,
    /// The other requests: since when each waits, and whether it reads bytes.
    pub(super) pending: Mutex<HashMap<(usize, Ticket), (std::time::Instant, bool)>>,
    pub(super) gates: Gates<Job>,
    /// Threads that wait for requests.
    pub(super) idle: AtomicUsize,
    published: Arc<CatalogHandle>,
    /// The disk that a test makes hang.
    #[cfg(test)]
    hung: Mutex<Option<u64>>,
    pub(super) disk_timeouts: AtomicU64,
    loads: AtomicU64,
    unsettled: AtomicU64,
    forgotten: AtomicU64,
}

impl Loader {
    /// Creates a loader. `started` is the moment that the process's [`Instant`]s count from.
    pub(crate) fn new(
        config: LoaderConfig,
        started: std::time::Instant,
        workers: Arc<Workers>,
        published: &Arc<CatalogHandle>,
    ) -> Self {
        let limits = Limits {
            heap_bytes_max: config.heap_bytes_max,
            sealed_files_max: config.sealed_files_max,
            mapped_files_max: config.mapped_files_max,
        };
        Loader {
            config,
            started,
            workers,
            waiting: Mutex::default(),
            later: Mutex::default(),
            memory: Mutex::new(Memory::new(limits)),
            pending: Mutex::default(),
            gates: Gates::new(config.threads.max(1), config.requests_max),
            idle: AtomicUsize::new(0),
            published: Arc::clone(published),
            #[cfg(test)]
            hung: Mutex::default(),
            disk_timeouts: AtomicU64::new(0),
            loads: AtomicU64::new(0),
            unsettled: AtomicU64::new(0),
            forgotten: AtomicU64::new(0),
        }
    }

    /// Starts the threads. They end once all senders of `requests`, and that of `end`, are gone.
    ///
    /// # Errors
    /// The system's error if it cannot start a thread.
    pub(crate) fn start(
        self: &Arc<Self>,
        threads: &mut Threads,
        requests: &Receiver<(usize, StoreRequest)>,
        end: Receiver<()>,
        others: &OtherRequests,
    ) -> io::Result<()> {
        // One more than may wait for one disk.
        for number in 0..=self.config.threads.max(1) {
            let (loader, requests) = (Arc::clone(self), Receiver::clone(requests));
            let others = Arc::clone(others);
            threads.spawn(format!("loader-{number}"), move || loader.run(&requests, &others))?;
        }
        let (loader, requests) = (Arc::clone(self), Receiver::clone(requests));
        let others = Arc::clone(others);
        threads.spawn("loader-timer", move || loader.watch_disks(&end, &requests, &others))
    }

    /// Returns the counters.
    pub(crate) fn figures(&self) -> LoaderFigures {
        let memory = self.memory.lock();
        LoaderFigures {
            loads: self.loads.load(Relaxed),
            unsettled: self.unsettled.load(Relaxed),
            forgotten: self.forgotten.load(Relaxed),
            heap_bytes: memory.heap_bytes(),
            sealed_files: memory.sealed_files() as u64,
            mapped_files: memory.mapped_files() as u64,
            disk_timeouts: self.disk_timeouts.load(Relaxed),
        }
    }

    pub(super) fn run(&self, requests: &Receiver<(usize, StoreRequest)>, others: &OtherRequests) {
        loop {
            while let Some(load) = self.take_due() {
                self.queue(load);
            }
            self.idle.fetch_add(1, Relaxed);
            let received = requests.recv_timeout(self.until_due());
            self.idle.fetch_sub(1, Relaxed);
            match received {
                Ok((worker, request)) => self.handle(worker, request, others),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn handle(&self, worker: usize, request: StoreRequest, others: &OtherRequests) {
        match request {
            StoreRequest::Open { ticket, entry, form } => self.open(worker, ticket, entry, form),
            StoreRequest::Verify { ref blob, .. } | StoreRequest::Read { ref blob, .. } => {
                let device = blob.version().file.0;
                let is_read = matches!(request, StoreRequest::Read { .. });
                let since = std::time::Instant::now();
                self.pending.lock().insert((worker, request.ticket()), (since, is_read));
                self.at_disk(device, Job::Request(worker, request));
            }
            StoreRequest::Store { .. }
            | StoreRequest::Delete { .. }
            | StoreRequest::Upload { .. }
            | StoreRequest::Files { .. }
            | StoreRequest::Login { .. }
            | StoreRequest::Vault { .. } => {
                if let Some(reply) = others(worker, request) {
                    self.workers.reply(worker, reply);
                }
            }
        }
    }

    fn open(&self, worker: usize, ticket: Ticket, entry: Arc<Entry>, form: Form) {
        let load = Load { entry, form, asked_at: std::time::Instant::now(), held: None };
        let mut waiting = self.waiting.lock();
        // Under the lock, because a thread stores the blob before it takes the lock.
        if let Some(blob) = load.entry.blob(form) {
            drop(waiting);
            return self.workers.reply(worker, StoreReply::Opened { ticket, result: Ok(blob) });
        }
        let others = waiting.entry(key(&load.entry, load.form));
        let others = others.or_insert_with(|| Waiting { since: load.asked_at, who: Vec::new() });
        others.who.push((worker, ticket));
        let is_first = others.who.len() == 1;
        drop(waiting);
        if is_first {
            self.queue(load);
        }
    }

    fn queue(&self, load: Load) {
        self.at_disk(load.entry.version.file.0, Job::Load(load));
    }

    /// Gives the bytes their digest, or has them hashed.
    fn identify(&self, entry: &Arc<Entry>, blob: &Arc<Blob>) {
        let (digests, version) = (self.published.digests(), blob.version());
        let Some(digest) = version.digest.or_else(|| digests.find(&version)) else {
            return digests.enqueue(entry, blob);
        };
        blob.learn(digest);
        if entry.version == version {
            entry.learn(digest);
        }
    }

    pub(super) fn load(&self, mut load: Load) {
        #[cfg(test)]
        while self.hung.lock().is_some_and(|device| device == load.entry.version.file.0) {
            std::thread::sleep(Duration::from_millis(1));
        }
        let may_seal = |bytes, is_large| self.memory.lock().may_seal(bytes, is_large);
        let wait =
            match load::load(&self.config, &load.entry, load.form, load.held.take(), may_seal) {
                Ok(Attempt::Loaded(blob)) => {
                    self.loads.fetch_add(1, Relaxed);
                    let blob = Arc::new(blob);
                    let now = self.now();
                    let forgotten = self.memory.lock().keep(&load.entry, load.form, &blob, now);
                    self.forgotten.fetch_add(forgotten as u64, Relaxed);
                    if load.form == Form::Octet {
                        self.identify(&load.entry, &blob);
                    }
                    return self.finish(&load, &Ok(blob));
                }
                Ok(Attempt::Unsettled(wait, file)) => {
                    load.held = Some(file);
                    wait
                }
                Err(refused) => return self.finish(&load, &Err(refused)),
            };
        let number = self.unsettled.fetch_add(1, Relaxed);
        if load.asked_at.elapsed() + wait > SETTLE_WAIT_MAX {
            return self.finish(&load, &Err(OpenError::BeingWritten));
        }
        self.later.lock().insert((std::time::Instant::now() + wait, number), load);
    }

    pub(super) fn finish(&self, load: &Load, result: &Result<Arc<Blob>, OpenError>) {
        let Some(waiting) = self.waiting.lock().remove(&key(&load.entry, load.form)) else {
            return;
        };
        self.tell(waiting, result);
    }

    pub(super) fn tell(&self, waiting: Waiting, result: &Result<Arc<Blob>, OpenError>) {
        let replies = waiting.who.into_iter();
        let replies = replies.map(|(worker, ticket)| {
            (worker, StoreReply::Opened { ticket, result: result.clone() })
        });
        self.workers.reply_all(replies);
    }

    fn take_due(&self) -> Option<Load> {
        let mut later = self.later.lock();
        let first = later.first_entry()?;
        (first.key().0 <= std::time::Instant::now()).then(|| first.remove())
    }

    fn until_due(&self) -> Duration {
        let later = self.later.lock();
        later
            .first_key_value()
            .map_or(IDLE, |((due, _), _)| due.saturating_duration_since(std::time::Instant::now()))
    }

    fn now(&self) -> Instant {
        Instant::START + self.started.elapsed()
    }
}

#[cfg(test)]
mod tests {
    use super::super::blob::{BlobExt as _, SEALED_BYTES_MIN, read_by_kernel};
    use super::super::scan::scan;
    use super::*;
    use crate::replies::Replies;
    use crate::store::{Store, StoreConfig};
    use crate::version::VersionExt as _;
    use engine::catalog::blob::Version;
    use engine::catalog::{Catalog, RootId};
    use std::fs;
    use std::path::Path;
    use std::sync::atomic::AtomicUsize;
    use wire::name::FileName;

    /// A loader with one worker, which is the test itself.
    struct Bench {
        store: Store,
        replies: Receiver<StoreReply>,
        wakes: Arc<AtomicUsize>,
        tickets: u64,
    }

    impl Bench {
        fn new(config: LoaderConfig) -> Self {
            let (sender, replies) = crossbeam_channel::unbounded();
            let wakes = Arc::new(AtomicUsize::new(0));
            let woken = Arc::clone(&wakes);
            let wake = Box::new(move || {
                woken.fetch_add(1, Relaxed);
            });
            let channels = vec![Replies { sender, wake }];
            let store = Store::start(
                StoreConfig { loader: config, ..StoreConfig::default() },
                std::time::Instant::now(),
                channels,
                Arc::default(),
                Arc::default(),
            )
            .unwrap();
            Bench { store, replies, wakes, tickets: 0 }
        }

        fn ask_open(&mut self, entry: &Arc<Entry>, form: Form) {
            self.tickets += 1;
            let (ticket, entry) = (Ticket::made_up(self.tickets), Arc::clone(entry));
            self.store.submit(0, StoreRequest::Open { ticket, entry, form }).unwrap();
        }

        fn opened(&self) -> Result<Arc<Blob>, OpenError> {
            let StoreReply::Opened { result, .. } = self.replies.recv().unwrap() else {
                panic!("an answer to another question");
            };
            result
        }

        fn open(&mut self, entry: &Arc<Entry>, form: Form) -> Result<Arc<Blob>, OpenError> {
            self.ask_open(entry, form);
            self.opened()
        }

        fn verify(&self, blob: &Arc<Blob>) -> bool {
            let request =
                StoreRequest::Verify { ticket: Ticket::made_up(0), blob: Arc::clone(blob) };
            self.store.submit(0, request).unwrap();
            let StoreReply::Verified { unchanged, .. } = self.replies.recv().unwrap() else {
                panic!("an answer to another question");
            };
            unchanged
        }

        fn read_into(
            &self,
            blob: &Arc<Blob>,
            offset: u64,
            bytes: usize,
            buffer: Vec<u8>,
        ) -> Result<Vec<u8>, OpenError> {
            let (ticket, blob) = (Ticket::made_up(9), Arc::clone(blob));
            self.store
                .submit(0, StoreRequest::Read { ticket, blob, offset, bytes, buffer })
                .unwrap();
            let StoreReply::Read { ticket: answered, result } = self.replies.recv().unwrap() else {
                panic!("an answer to another question");
            };
            assert_eq!(answered, ticket);
            result
        }

        fn read(&self, blob: &Arc<Blob>, offset: u64, bytes: usize) -> Result<Vec<u8>, OpenError> {
            self.read_into(blob, offset, bytes, Vec::new())
        }
    }

    fn catalog(root: &Path) -> Catalog {
        scan(&[root.to_path_buf()]).0
    }

    fn entry(catalog: &Catalog, name: &str) -> Arc<Entry> {
        let name = FileName::parse(name.as_bytes()).unwrap();
        Arc::clone(catalog.find(&[RootId(0)], &name).unwrap())
    }

    fn small() -> LoaderConfig {
        LoaderConfig {
            heap_file_bytes_max: 4_096,
            sealed_file_bytes_max: 0,
            ..LoaderConfig::default()
        }
    }

    #[test]
    fn a_small_file_is_copied_and_a_large_one_mapped() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("small"), "small").unwrap();
        fs::write(root.path().join("empty"), "").unwrap();
        let large: Vec<u8> = (0..100_000_u32).map(|n| n as u8).collect();
        fs::write(root.path().join("large"), &large).unwrap();
        let catalog = catalog(root.path());
        let mut bench = Bench::new(small());

        let blob = bench.open(&entry(&catalog, "small"), Form::Octet).unwrap();
        assert_eq!(blob.as_slice(), Some(b"small".as_slice()));
        assert!(!blob.is_mapped());
        let blob = bench.open(&entry(&catalog, "empty"), Form::Octet).unwrap();
        assert_eq!(blob.as_slice(), Some(b"".as_slice()));
        let blob = bench.open(&entry(&catalog, "large"), Form::Octet).unwrap();
        assert!(blob.is_mapped() && blob.as_slice().is_none() && blob.file().is_some());
        assert_eq!(read_by_kernel(&blob).unwrap(), large);
        assert!(bench.verify(&blob));
        assert!(entry(&catalog, "large").blob(Form::Octet).is_some(), "kept for the next phone");
        let figures = bench.store.figures().loader;
        assert_eq!((figures.loads, figures.heap_bytes, figures.mapped_files), (3, 5, 1));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_middling_file_is_sealed_while_there_are_descriptors_for_it() {
        let root = tempfile::tempdir().unwrap();
        let content: Vec<u8> = (0..SEALED_BYTES_MIN as u32).map(|n| n as u8).collect();
        fs::write(root.path().join("below"), &content[1..]).unwrap();
        for name in ["a", "b", "c"] {
            fs::write(root.path().join(name), &content).unwrap();
        }
        let catalog = catalog(root.path());
        let mut bench = Bench::new(LoaderConfig { sealed_files_max: 2, ..LoaderConfig::default() });
        for (name, is_sealed) in [("below", false), ("a", true), ("b", true), ("c", false)] {
            let blob = bench.open(&entry(&catalog, name), Form::Octet).unwrap();
            assert_eq!(blob.is_sealed(), is_sealed, "{name}");
            assert!(blob.as_slice().is_some_and(|bytes| content.ends_with(bytes)), "{name}");
            assert_eq!(blob.file().is_some(), is_sealed, "{name}");
        }
        let text = bench.open(&entry(&catalog, "c"), Form::Netascii).unwrap();
        assert!(!text.is_sealed(), "TFTP's own form needs no descriptor");
        assert_eq!(bench.store.figures().loader.sealed_files, 2);
        let bytes = 4 * SEALED_BYTES_MIN - 1 + text.bytes();
        assert_eq!(bench.store.figures().loader.heap_bytes, bytes);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_large_file_is_sealed_while_there_is_room_and_mapped_beyond() {
        let root = tempfile::tempdir().unwrap();
        for (name, bytes) in [("a", 300_000), ("b", 300_000), ("c", 300_000), ("huge", 500_001)] {
            fs::write(root.path().join(name), vec![name.len() as u8; bytes]).unwrap();
        }
        let catalog = catalog(root.path());
        let mut bench = Bench::new(LoaderConfig {
            heap_file_bytes_max: 4_096,
            sealed_file_bytes_max: 500_000,
            heap_bytes_max: 600_000,
            ..LoaderConfig::default()
        });
        for (name, is_sealed) in [("huge", false), ("a", true), ("b", true), ("c", false)] {
            let blob = bench.open(&entry(&catalog, name), Form::Octet).unwrap();
            assert_eq!((blob.is_sealed(), blob.is_mapped()), (is_sealed, !is_sealed), "{name}");
        }
        let figures = bench.store.figures().loader;
        assert_eq!((figures.heap_bytes, figures.mapped_files), (600_000, 2));
        assert_eq!((figures.sealed_files, figures.forgotten), (2, 0));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_sealed_file_stays_what_it_was_when_its_original_is_changed_in_place() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("file");
        fs::write(&path, vec![1; 100_000]).unwrap();
        let mut bench = Bench::new(LoaderConfig::default());
        let entry = entry(&catalog(root.path()), "file");
        let blob = bench.open(&entry, Form::Octet).unwrap();
        fs::write(&path, vec![2; 90_000]).unwrap();
        entry.doubt(&Version::of(&fs::metadata(&path).unwrap()), true);
        assert!(blob.is_sealed() && !blob.is_stale() && bench.verify(&blob));
        assert_eq!(bench.read(&blob, 0, 100_000).unwrap(), vec![1; 100_000]);
        assert_eq!(read_by_kernel(&blob).unwrap(), vec![1; 100_000]);
    }

    #[test]
    fn parts_of_a_mapped_file_are_read_into_the_room_that_is_handed_in() {
        let root = tempfile::tempdir().unwrap();
        let large: Vec<u8> = (0..100_000_u32).map(|n| (n % 251) as u8).collect();
        fs::write(root.path().join("large"), &large).unwrap();
        let mut bench = Bench::new(small());
        let blob = bench.open(&entry(&catalog(root.path()), "large"), Form::Octet).unwrap();
        assert!(blob.is_mapped());
        let mut buffer = Vec::with_capacity(16_384);
        let room = buffer.as_ptr();
        for offset in (0..large.len()).step_by(16_384) {
            let bytes = 16_384.min(large.len() - offset);
            buffer = bench.read_into(&blob, offset as u64, bytes, buffer).unwrap();
            assert_eq!((&*buffer, buffer.as_ptr()), (&large[offset..][..bytes], room));
        }
    }

    #[test]
    fn no_part_is_read_of_a_file_that_was_changed_under_its_mapping() {
        use std::os::unix::fs::FileExt;
        let root = tempfile::tempdir().unwrap();
        let mut bench = Bench::new(small());
        for name in ["cut", "emptied", "rewritten", "grown"] {
            let path = root.path().join(name);
            fs::write(&path, vec![1; 100_000]).unwrap();
            let entry = entry(&catalog(root.path()), name);
            let blob = bench.open(&entry, Form::Octet).unwrap();
            assert_eq!(bench.read(&blob, 5, 3), Ok(vec![1; 3]));
            let file = fs::File::options().write(true).open(&path).unwrap();
            match name {
                "cut" => file.set_len(9).unwrap(),
                "emptied" => file.set_len(0).unwrap(),
                "rewritten" => file.write_all_at(&[2; 100_000], 0).unwrap(),
                _ => file.write_all_at(&[2], 100_000).unwrap(),
            }
            assert_eq!(bench.read(&blob, 5, 3), Err(OpenError::BeingWritten), "{name}");
            assert!(blob.is_stale() && entry.blob(Form::Octet).is_none(), "{name}");
            assert_eq!(bench.read(&blob, 5, 3), Err(OpenError::BeingWritten), "{name}");
            assert_eq!(bench.open(&entry, Form::Octet).err(), None, "{name}: the new version");
        }
    }

    #[test]
    fn a_file_that_was_replaced_or_removed_is_read_to_its_end() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("file");
        fs::write(&path, vec![1; 100_000]).unwrap();
        let mut bench = Bench::new(small());
        let blob = bench.open(&entry(&catalog(root.path()), "file"), Form::Octet).unwrap();
        fs::write(root.path().join("next"), vec![2; 100_000]).unwrap();
        fs::rename(root.path().join("next"), &path).unwrap();
        assert_eq!(bench.read(&blob, 50_000, 50_000), Ok(vec![1; 50_000]));
        fs::remove_file(&path).unwrap();
        assert_eq!(bench.read(&blob, 0, 50_000), Ok(vec![1; 50_000]));
    }

    #[test]
    fn a_part_beyond_the_end_is_refused_without_making_room_for_it() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("file"), vec![1; 100_000]).unwrap();
        let mut bench = Bench::new(small());
        let blob = bench.open(&entry(&catalog(root.path()), "file"), Form::Octet).unwrap();
        assert_eq!(bench.read(&blob, 99_999, usize::MAX), Err(OpenError::BeingWritten));
    }

    #[test]
    fn a_file_that_many_ask_for_at_once_is_read_once() {
        const PHONES: usize = 5_000;
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("settings"), "SET A 1").unwrap();
        let catalog = catalog(root.path());
        let mut bench = Bench::new(LoaderConfig::default());
        for _ in 0..PHONES {
            bench.ask_open(&entry(&catalog, "settings"), Form::Octet);
        }
        let blobs: Vec<_> = (0..PHONES).map(|_| bench.opened().unwrap()).collect();
        assert!(blobs.iter().all(|blob| Arc::ptr_eq(blob, &blobs[0])));
        assert_eq!(bench.store.figures().loader.loads, 1);
        // Once the threads have stopped, they have woken their requesters.
        drop(bench.store);
        assert!(bench.wakes.load(Relaxed) > 0);
    }

    #[test]
    fn text_is_converted_and_kept_apart_from_the_file_itself() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("text"), "a\nb").unwrap();
        fs::write(root.path().join("long"), vec![b'x'; 5_000]).unwrap();
        let catalog = catalog(root.path());
        let config = LoaderConfig { netascii_file_bytes_max: 4_999, ..small() };
        let mut bench = Bench::new(config);
        let text = entry(&catalog, "text");
        let blob = bench.open(&text, Form::Netascii).unwrap();
        assert_eq!(blob.as_slice(), Some(b"a\r\nb".as_slice()));
        assert!(text.blob(Form::Octet).is_none());
        let long = entry(&catalog, "long");
        assert_eq!(bench.open(&long, Form::Netascii).unwrap_err(), OpenError::TooLarge);
    }

    #[test]
    fn what_cannot_be_opened_says_why() {
        let root = tempfile::tempdir().unwrap();
        for name in ["gone", "replaced"] {
            fs::write(root.path().join(name), "x").unwrap();
        }
        let catalog = catalog(root.path());
        fs::remove_file(root.path().join("gone")).unwrap();
        fs::remove_file(root.path().join("replaced")).unwrap();
        fs::create_dir(root.path().join("replaced")).unwrap();
        let mut bench = Bench::new(LoaderConfig::default());
        let gone = bench.open(&entry(&catalog, "gone"), Form::Octet);
        assert_eq!(gone.unwrap_err(), OpenError::Gone);
        let replaced = bench.open(&entry(&catalog, "replaced"), Form::Octet);
        assert_eq!(replaced.unwrap_err(), OpenError::NotServable);
        let made_up = Arc::new(Entry::new(RootId(0), "x", Version::default()));
        assert_eq!(bench.open(&made_up, Form::Octet).unwrap_err(), OpenError::Gone);
    }

    #[test]
    fn a_file_that_somebody_keeps_writing_to_is_refused_in_the_end() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("log");
        fs::write(&path, "0").unwrap();
        let log = entry(&catalog(root.path()), "log");
        let stop = Arc::new(AtomicU64::new(0));
        let writer = std::thread::spawn({
            let stop = Arc::clone(&stop);
            move || {
                while stop.load(Relaxed) == 0 {
                    fs::write(&path, "1").unwrap();
                    std::thread::sleep(Duration::from_millis(5));
                }
            }
        });
        let mut bench = Bench::new(LoaderConfig::default());
        // On a busy machine the writer may pause for long enough to settle the file.
        let began = std::time::Instant::now();
        let mut refused = None;
        while refused.is_none() && began.elapsed() < Duration::from_secs(60) {
            log.keep(Form::Octet, None);
            refused = bench.open(&log, Form::Octet).err();
        }
        stop.store(1, Relaxed);
        writer.join().unwrap();
        assert_eq!(refused, Some(OpenError::BeingWritten));
        assert!(bench.open(&log, Form::Octet).is_ok(), "settled at last");
    }

    #[test]
    fn a_change_in_place_ends_a_mapping_and_a_replacement_does_not() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("image");
        fs::write(&path, vec![1; 10_000]).unwrap();
        let image = entry(&catalog(root.path()), "image");
        let mut bench = Bench::new(small());
        let first = bench.open(&image, Form::Octet).unwrap();

        fs::write(root.path().join("new"), vec![2; 10_000]).unwrap();
        fs::rename(root.path().join("new"), &path).unwrap();
        assert!(bench.verify(&first), "replaced: the old version lives on");
        assert_eq!(read_by_kernel(&first).unwrap(), vec![1; 10_000]);

        let image = entry(&catalog(root.path()), "image");
        let second = bench.open(&image, Form::Octet).unwrap();
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        assert!(bench.verify(&second), "its mode is not its bytes");
        fs::write(&path, vec![3; 10_000]).unwrap();
        assert!(!bench.verify(&second));
        assert!(second.is_stale() && image.blob(Form::Octet).is_none());
        let third = bench.open(&image, Form::Octet).unwrap();
        assert_eq!(read_by_kernel(&third).unwrap(), vec![3; 10_000]);
    }

    #[test]
    fn a_mapping_cut_short_fails_to_be_read_and_nothing_else_happens() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("image");
        fs::write(&path, vec![1; 100_000]).unwrap();
        let mut bench = Bench::new(small());
        let blob = bench.open(&entry(&catalog(root.path()), "image"), Form::Octet).unwrap();
        fs::File::options().write(true).open(&path).unwrap().set_len(10).unwrap();
        assert_eq!(read_by_kernel(&blob).unwrap_err().raw_os_error(), Some(libc::EFAULT));
        assert!(!bench.verify(&blob));
    }

    #[test]
    fn a_disk_that_hangs_keeps_nobody_waiting_for_ever_and_no_other_disk_at_all() {
        let root = tempfile::tempdir().unwrap();
        let root_dir = Arc::new(super::super::root_dir::RootDir::open(root.path()).unwrap());
        let entry_on = |device: u64, name: &str| {
            fs::write(root.path().join(name), name).unwrap();
            let version = Version { file: (device, 1), ..Version::default() };
            Arc::new(Entry::found(RootId(0), name, version, root_dir.clone()))
        };
        let disk_wait = Duration::from_millis(300);
        let config = LoaderConfig { disk_wait, threads: 2, ..LoaderConfig::default() };
        let mut bench = Bench::new(config);
        *bench.store.loader.hung.lock() = Some(7);
        let hanging: Vec<_> = (0..10).map(|n| entry_on(7, &format!("hangs-{n}"))).collect();
        hanging.iter().for_each(|entry| bench.ask_open(entry, Form::Octet));
        let well = bench.open(&entry_on(8, "well"), Form::Octet).unwrap();
        assert_eq!(well.as_slice(), Some(b"well".as_slice()), "the other disk is served first");
        for _ in &hanging {
            assert_eq!(bench.opened().unwrap_err(), OpenError::Unavailable);
        }
        assert_eq!(bench.store.figures().loader.disk_timeouts, 10);
        assert!(bench.open(&entry_on(8, "well-too"), Form::Octet).is_ok());
        *bench.store.loader.hung.lock() = None;
        assert!(bench.open(&hanging[9], Form::Octet).is_ok(), "it has come back");
    }

    #[test]
    fn what_this_process_has_placed_is_read_at_once_and_known_by_its_bytes() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("file");
        let mut bench = Bench::new(LoaderConfig::default());
        fs::write(&path, "bytes").unwrap();
        let entry = entry(&catalog(root.path()), "file");
        entry.note_whole(None);
        let blob = bench.open(&entry, Form::Octet).unwrap();
        assert_eq!(bench.store.figures().loader.unsettled, 0);
        assert_eq!(blob.version().digest, Some(engine::catalog::digest::Digest::of(b"bytes")));
    }

    #[test]
    fn a_full_queue_gives_the_ask_back() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("file"), "x").unwrap();
        let entry = entry(&catalog(root.path()), "file");
        let config = LoaderConfig { requests_max: 1, threads: 1, ..LoaderConfig::default() };
        let bench = Bench::new(config);
        let mut given_back = 0;
        for ticket in 0..100_000 {
            let (ticket, entry) = (Ticket::made_up(ticket), Arc::clone(&entry));
            let request = StoreRequest::Open { ticket, entry, form: Form::Octet };
            given_back += usize::from(bench.store.submit(0, request).is_err());
        }
        for _ in given_back..100_000 {
            bench.opened().unwrap();
        }
        assert!(given_back > 0, "a queue of one was never full");
    }

    /// Returns content that identifies its version: the number, repeated.
    fn numbered(number: u32, bytes: usize) -> Vec<u8> {
        number.to_le_bytes().iter().copied().cycle().take(bytes).collect()
    }

    /// The writer's record: the number of the version that is whole on the disk, and the versions
    /// in whose middle it paused so long that no reader can tell them from whole ones.
    #[derive(Default)]
    struct Written {
        number: std::sync::atomic::AtomicU32,
        halted: Mutex<Vec<u32>>,
    }

    impl Written {
        fn write(&self, path: &Path, number: u32, bytes: usize) {
            let began = std::time::Instant::now();
            write_version(path, number, bytes);
            if began.elapsed() > Duration::from_millis(30) {
                self.halted.lock().push(number);
            }
            self.number.store(number, Relaxed);
        }

        /// Returns whether bytes are of one version, or of one in whose middle the writer paused.
        fn can_be(&self, bytes: &[u8]) -> bool {
            if bytes.chunks(4).all(|part| bytes.starts_with(part)) {
                return true;
            }
            let numbers = bytes.chunks_exact(4).map(|part| part.try_into().unwrap());
            let newest = numbers.map(u32::from_le_bytes).max().unwrap();
            while self.number.load(Relaxed) < newest {
                std::thread::sleep(Duration::from_millis(1));
            }
            self.halted.lock().contains(&newest)
        }
    }

    /// Replaces a file with another version: by rename, by truncation, or by overwriting it piece
    /// by piece.
    fn write_version(path: &Path, number: u32, bytes: usize) {
        use std::os::unix::fs::FileExt;
        let content = numbered(number, bytes);
        match number % 3 {
            0 => {
                let aside = path.with_file_name(".aside");
                fs::write(&aside, content).unwrap();
                fs::rename(&aside, path).unwrap();
            }
            1 => fs::write(path, content).unwrap(),
            _ => {
                let file = fs::File::options().write(true).open(path).unwrap();
                for (place, piece) in content.chunks(bytes.div_ceil(4)).enumerate() {
                    file.write_all_at(piece, (place * bytes.div_ceil(4)) as u64).unwrap();
                    std::thread::sleep(Duration::from_millis(1));
                }
                file.set_len(bytes as u64).unwrap();
            }
        }
    }

    #[test]
    fn a_file_that_is_replaced_all_the_time_is_read_whole_all_the_same() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("image");
        fs::write(&path, numbered(0, 8_192)).unwrap();
        let entry = entry(&catalog(root.path()), "image");
        let mut bench = Bench::new(small());
        let (through, is_through) = crossbeam_channel::bounded::<()>(0);
        let writer = std::thread::spawn(move || {
            let mut number = 0;
            while is_through.recv_timeout(Duration::from_millis(5)).is_err_and(|e| e.is_timeout()) {
                number += 3;
                write_version(&path, number, 8_192);
            }
        });
        for _ in 0..20 {
            let blob = bench.open(&entry, Form::Octet).unwrap();
            let bytes = read_by_kernel(&blob).unwrap();
            assert!(bytes.chunks(4).all(|chunk| chunk == &bytes[..4]), "a mixture");
            entry.keep(Form::Octet, None);
        }
        drop(through);
        writer.join().unwrap();
    }

    /// Replaces and rewrites a file a thousand times while it is loaded and verified as in a
    /// transfer.
    fn no_read_is_a_mixture(bytes: usize, config: LoaderConfig) {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("image");
        fs::write(&path, numbered(0, bytes)).unwrap();
        let entry = entry(&catalog(root.path()), "image");
        let mut bench = Bench::new(config);
        let written = Arc::new(Written::default());
        let writer = std::thread::spawn({
            let written = Arc::clone(&written);
            move || {
                for number in 1..=1_000_u32 {
                    // The size varies, so that files also shrink and grow.
                    written.write(&path, number, bytes + (number as usize / 3 % 3) * 4_096);
                    if number % 20 == 0 {
                        std::thread::sleep(Duration::from_millis(60));
                    }
                }
            }
        });
        let (mut whole, mut refused, mut stale) = (0, 0, 0);
        while !writer.is_finished() || whole == 0 {
            let blob = match bench.open(&entry, Form::Octet) {
                Ok(blob) => blob,
                Err(OpenError::BeingWritten | OpenError::Gone) => {
                    refused += 1;
                    continue;
                }
                Err(other) => panic!("{other:?}"),
            };
            let read = read_by_kernel(&blob);
            let half = blob.bytes() as usize / 8 * 4;
            let parts = [(0, half), (half, blob.bytes() as usize - half)];
            let parts = parts.map(|(offset, bytes)| bench.read(&blob, offset as u64, bytes));
            if let [Ok(first), Ok(second)] = parts {
                assert!(written.can_be(&[first, second].concat()), "two parts of two versions");
            }
            if bench.verify(&blob) {
                let read = read.unwrap();
                assert_eq!(read.len() as u64, blob.bytes());
                assert!(written.can_be(&read), "a mixture was called one version");
                whole += 1;
            } else {
                stale += 1;
            }
            entry.keep(Form::Octet, None);
        }
        writer.join().unwrap();
        assert!(whole > 0, "{stale} stale, {refused} refused");
    }

    #[test]
    fn no_read_of_a_copied_file_is_a_mixture_of_versions() {
        // Large enough for a write to begin while it is read.
        no_read_is_a_mixture(1 << 20, LoaderConfig { heap_file_bytes_max: 2 << 20, ..small() });
    }

    #[test]
    fn no_read_of_a_sealed_file_is_a_mixture_of_versions() {
        no_read_is_a_mixture(1 << 20, LoaderConfig { sealed_file_bytes_max: 2 << 20, ..small() });
    }

    #[test]
    fn no_read_of_a_mapped_file_is_a_mixture_of_versions() {
        no_read_is_a_mixture(300_000, small());
    }
}
