//! The disk of a simulated server: files that change, a vault, uploads; slow, failing, overrun.
//!
//! Answers in place of the threads that may wait: reads in any order, writes one after the other.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use super::bug::Bug;
use crate::random::Random;
use crate::sim::calendar::Calendar;
use engine::cancel::CancelToken;
use engine::catalog::blob::{Blob, Version};
use engine::catalog::{Catalog, Entry, OpenError, Root, RootId, StoreError, Stored};
use engine::requests::{StoreReply, StoreRequest};
use engine::vault::request::{VaultError, VaultOp, VaultReply, VaultRequest};
use engine::vault::upload::{OnExists, PartDone, PartOp, Spool, Upload};
use wire::name::FileName;
use wire::time::{Duration, Instant};

/// Larger files are mapped, so that the engine may not read them itself.
const HEAP_BYTES_MAX: u64 = 10_000;
/// How much later something is stored than a faulty server says.
const EARLY_BY: Duration = Duration::from_secs(30);

/// How well a disk works.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DiskTerms {
    /// Longest time that a question takes.
    pub delay_max: Duration,
    /// Share of questions that fail, 0 to 1.
    pub fails: f64,
    /// Share of questions for which there is no room in the queue, 0 to 1.
    pub is_full: f64,
}

impl DiskTerms {
    /// A quick one without faults.
    pub const GOOD: DiskTerms =
        DiskTerms { delay_max: Duration::from_millis(5), fails: 0.0, is_full: 0.0 };

    /// A slow one with faults.
    pub const BAD: DiskTerms =
        DiskTerms { delay_max: Duration::from_millis(400), fails: 0.02, is_full: 0.03 };
}

/// Which protocol asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asker {
    Http,
    Ftp,
}

enum Job {
    Request(Asker, StoreRequest, bool),
    /// What a faulty server has acknowledged already.
    Late(Box<VaultRequest>),
}

/// Everything that is kept.
pub struct Disk {
    terms: DiskTerms,
    bug: Option<Bug>,
    random: Random,
    clock_s: i64,
    /// Each file as it is now.
    entries: BTreeMap<Box<str>, Arc<Entry>>,
    /// What the catalog does not know yet.
    unpublished: BTreeMap<Box<str>, Version>,
    /// The bytes of every version that ever was, by its time.
    bytes: HashMap<i64, Arc<[u8]>>,
    /// Versions that were overwritten in place.
    overwritten: HashSet<i64>,
    mapped: Vec<Arc<Blob>>,
    vault: BTreeMap<String, Arc<Blob>>,
    /// The bytes that were appended, by name.
    logs: BTreeMap<String, Vec<u8>>,
    jobs: Calendar<Job>,
    writes_at: Instant,
    is_changed: bool,
}

impl Disk {
    pub(super) fn new(terms: DiskTerms, bug: Option<Bug>, random: Random) -> Disk {
        Disk {
            terms,
            bug,
            random,
            clock_s: 0,
            entries: BTreeMap::new(),
            unpublished: BTreeMap::new(),
            bytes: HashMap::new(),
            overwritten: HashSet::new(),
            mapped: Vec::new(),
            vault: BTreeMap::new(),
            logs: BTreeMap::new(),
            jobs: Calendar::default(),
            writes_at: Instant::START,
            is_changed: false,
        }
    }

    /// Whether everything that is asked of it works.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.terms.fails == 0.0 && self.terms.is_full == 0.0
    }

    /// What was appended to a file.
    #[must_use]
    pub fn log(&self, name: &str) -> &[u8] {
        self.logs.get(name).map_or(&[], Vec::as_slice)
    }

    /// Questions that have no answer yet.
    #[must_use]
    pub fn questions(&self) -> usize {
        self.jobs.len()
    }

    pub(super) fn next_at(&self) -> Option<Instant> {
        self.jobs.next_at()
    }

    fn version(&mut self, bytes: &Arc<[u8]>) -> Version {
        self.clock_s += 1;
        let modified_ns = self.clock_s * 1_000_000_000;
        self.bytes.insert(modified_ns, Arc::clone(bytes));
        Version { bytes: bytes.len() as u64, modified_ns, ..Version::default() }
    }

    /// Puts a file in place of the one before, as by rename.
    pub(super) fn replace(&mut self, name: &str, bytes: &Arc<[u8]>) {
        let version = self.version(bytes);
        self.unpublished.remove(name);
        self.entries.insert(name.into(), Arc::new(Entry::new(RootId(0), name, version)));
    }

    /// Writes over a file in place; the catalog hears of it by [`Disk::publish`].
    pub(super) fn overwrite(&mut self, name: &str, bytes: &Arc<[u8]>) {
        let version = self.version(bytes);
        let before = self.unpublished.insert(name.into(), version);
        let before = before.or_else(|| self.entries.get(name).map(|entry| entry.version));
        self.overwritten.extend(before.map(|before| before.modified_ns));
    }

    /// The catalog of what is there.
    pub(super) fn publish(&mut self) -> Arc<Catalog> {
        for (name, version) in std::mem::take(&mut self.unpublished) {
            let entry = Arc::new(Entry::new(RootId(0), &name, version));
            self.entries.insert(name, entry);
        }
        for blob in &self.mapped {
            if self.overwritten.contains(&blob.version().modified_ns) {
                blob.mark_stale();
            }
        }
        let entries = self.entries.iter().filter_map(|(name, entry)| {
            let name = FileName::parse(name.as_bytes()).ok()?;
            Some((name.as_bytes().into(), Arc::clone(entry)))
        });
        let root = Root { entries: entries.collect(), ..Root::default() };
        Arc::new(Catalog { roots: vec![Arc::new(root)] })
    }

    /// Takes a question.
    ///
    /// # Errors
    /// The question, where the queue is full.
    pub(super) fn submit(
        &mut self,
        asker: Asker,
        request: StoreRequest,
        now: Instant,
    ) -> Result<(), StoreRequest> {
        if self.random.chance(self.terms.is_full) {
            return Err(request);
        }
        let fails = self.random.chance(self.terms.fails);
        let mut at = now + self.random.time_below(self.terms.delay_max);
        if is_write(&request) {
            at = at.max(self.writes_at);
            self.writes_at = at;
        }
        if self.bug != Some(Bug::LosesAnswers) || !self.random.chance(0.2) {
            self.jobs.plan(at, Job::Request(asker, request, fails));
        }
        Ok(())
    }

    /// An answer that is due, and whether the catalog has changed.
    pub(super) fn poll_reply(&mut self, now: Instant) -> Option<(Asker, StoreReply, bool)> {
        loop {
            match self.jobs.pop_due(now)? {
                Job::Request(asker, request, fails) => {
                    let reply = self.answer(request, fails, now);
                    return Some((asker, reply, std::mem::take(&mut self.is_changed)));
                }
                Job::Late(request) => drop(self.execute(*request)),
            }
        }
    }

    fn answer(&mut self, request: StoreRequest, fails: bool, now: Instant) -> StoreReply {
        match request {
            StoreRequest::Open { ticket, entry, form } => {
                let result = if fails { Err(OpenError::Io) } else { Ok(self.open(&entry)) };
                if let Ok(blob) = &result {
                    entry.keep(form, Some(Arc::clone(blob)));
                }
                StoreReply::Opened { ticket, result }
            }
            StoreRequest::Verify { ticket, blob } => {
                StoreReply::Verified { ticket, unchanged: !fails && self.is_whole(&blob) }
            }
            StoreRequest::Read { ticket, blob, offset, bytes, .. } => {
                let part = offset as usize..offset as usize + bytes;
                let all = self.bytes_of(&blob.version());
                let result = match all.get(part).filter(|_| self.is_whole(&blob)) {
                    Some(part) if !fails => Ok(part.to_vec()),
                    Some(_) => Err(OpenError::Io),
                    None => Err(OpenError::BeingWritten),
                };
                StoreReply::Read { ticket, result }
            }
            StoreRequest::Store { ticket, upload } => {
                let result = if fails { Err(StoreError::Io) } else { self.store(*upload) };
                StoreReply::Stored { ticket, result }
            }
            StoreRequest::Vault { ticket, request } => {
                let result = if fails { Err(VaultError::Io) } else { self.vault(*request, now) };
                StoreReply::Vault { ticket, result }
            }
            StoreRequest::Upload { ticket, op, .. } => {
                StoreReply::Upload { ticket, result: part(op, fails) }
            }
            StoreRequest::Delete { ticket, .. } => {
                StoreReply::Deleted { ticket, result: Err(StoreError::Forbidden) }
            }
            // This world has no administrators and no passwords.
            StoreRequest::Files { ticket, .. } => {
                StoreReply::Files { ticket, result: Err(engine::files::FilesError::NotThere) }
            }
            StoreRequest::Login { ticket, .. } => {
                StoreReply::Login { ticket, result: Err(VaultError::Unauthorized) }
            }
        }
    }

    fn is_whole(&self, blob: &Blob) -> bool {
        !self.overwritten.contains(&blob.version().modified_ns)
    }

    /// The bytes of a version; of a faulty server half those of the one before.
    fn bytes_of(&self, version: &Version) -> Arc<[u8]> {
        let all = self.bytes.get(&version.modified_ns).cloned().unwrap_or_default();
        if self.bug != Some(Bug::MixesVersions) {
            return all;
        }
        let half = all.len() / 2;
        all.iter().enumerate().map(|(at, byte)| byte ^ u8::from(at >= half)).collect()
    }

    /// The file as it is now, which may be another version than the catalog's.
    fn open(&mut self, entry: &Entry) -> Arc<Blob> {
        let current = self.entries.get(&entry.path).map(|entry| entry.version);
        let current = self.unpublished.get(&entry.path).copied().or(current);
        let version = current.unwrap_or(entry.version);
        let all = self.bytes_of(&version);
        if version.bytes <= HEAP_BYTES_MAX {
            return Arc::new(Blob::heap(all[..].into(), version));
        }
        // Only `StoreRequest::Read` looks at them.
        let bytes = vec![0; all.len()];
        let blob = Arc::new(Blob::as_if_mapped(bytes.into(), version));
        self.mapped.push(Arc::clone(&blob));
        blob
    }

    fn store(&mut self, upload: Upload) -> Result<Stored, StoreError> {
        if !may_commit(upload.cancel.as_ref()) {
            return Err(StoreError::Precondition);
        }
        let name = upload.name.to_string();
        let mut all = upload.spool.as_ref().map(Spool::as_slice).unwrap_or_default().to_vec();
        all.extend(&upload.bytes);
        let new = !self.entries.contains_key(&*name);
        if self.bug == Some(Bug::LosesUploads) {
            return Ok(Stored { new, version: Version::default() });
        }
        if upload.on_exists == OnExists::Append {
            let log = self.logs.entry(name.clone()).or_default();
            log.extend(&all);
            all.clone_from(log);
        }
        self.replace(&name, &all.into());
        self.is_changed = true;
        let version = self.entries.get(&*name).map(|entry| entry.version).unwrap_or_default();
        Ok(Stored { new, version })
    }

    fn vault(&mut self, request: VaultRequest, now: Instant) -> Result<VaultReply, VaultError> {
        let version = Version::default();
        match (&request.op, self.bug) {
            (VaultOp::Keep { .. }, Some(Bug::LosesUploads)) => {
                Ok(VaultReply::Kept(Stored { new: true, version }))
            }
            (VaultOp::Keep { .. }, Some(Bug::AcknowledgesEarly)) => {
                self.jobs.plan(now + EARLY_BY, Job::Late(Box::new(request)));
                Ok(VaultReply::Kept(Stored { new: true, version }))
            }
            (
                VaultOp::Check | VaultOp::Keep { .. } | VaultOp::Fetch | VaultOp::Forget { .. },
                _,
            ) => self.execute(request),
        }
    }

    fn execute(&mut self, request: VaultRequest) -> Result<VaultReply, VaultError> {
        let name = request.item.to_string();
        match request.op {
            VaultOp::Check => Ok(VaultReply::Permitted),
            VaultOp::Fetch => {
                let blob = self.vault.get(&name).ok_or(VaultError::NotThere)?;
                Ok(VaultReply::Fetched(Arc::clone(blob)))
            }
            VaultOp::Keep { cancel, .. } if !may_commit(cancel.as_ref()) => {
                Err(VaultError::Precondition)
            }
            VaultOp::Keep { bytes, .. } => {
                let bytes: Arc<[u8]> = bytes.into();
                let version = self.version(&bytes);
                let new = !self.vault.contains_key(&name);
                if self.bug != Some(Bug::ServesStale) || new {
                    self.vault.insert(name, Arc::new(Blob::heap(bytes[..].into(), version)));
                }
                Ok(VaultReply::Kept(Stored { new, version }))
            }
            VaultOp::Forget { .. } => {
                self.vault.remove(&name).map(|_| VaultReply::Forgotten).ok_or(VaultError::NotThere)
            }
        }
    }
}

/// What becomes of a part of an upload.
fn part(op: PartOp, fails: bool) -> Result<PartDone, StoreError> {
    match op {
        PartOp::Forget { .. } => Ok(PartDone::Forgotten),
        PartOp::Find { .. } => Ok(PartDone::Found(false)),
        PartOp::Write { .. } if fails => Err(StoreError::Full),
        PartOp::Write { spool, bytes } => {
            let mut spool = spool.unwrap_or_else(Spool::in_memory);
            spool.extend(&bytes);
            Ok(PartDone::Written { spool, room: Vec::new() })
        }
    }
}

/// Whether a change may still be made.
fn may_commit(cancel: Option<&CancelToken>) -> bool {
    cancel.is_none_or(CancelToken::commit)
}

/// Whether a question changes something: these keep their order.
fn is_write(request: &StoreRequest) -> bool {
    match request {
        StoreRequest::Store { .. }
        | StoreRequest::Delete { .. }
        | StoreRequest::Upload { .. }
        | StoreRequest::Vault { .. } => true,
        StoreRequest::Open { .. } | StoreRequest::Verify { .. } | StoreRequest::Read { .. } => {
            false
        }
        StoreRequest::Files { .. } | StoreRequest::Login { .. } => false,
    }
}
