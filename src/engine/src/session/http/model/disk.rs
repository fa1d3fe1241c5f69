//! The files, the vault and the uploads of a model: the answers of the loader's threads.
//!
//! Keeps no bytes of files: the content of a version follows from its time.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::kernel;
use crate::catalog::blob::{Blob, Version};
use crate::catalog::{Entry, OpenError, Root, RootId, StoreError, Stored};
use crate::requests::{StoreReply, StoreRequest};
use crate::vault::request::{Login, LoginSecret, VaultError, VaultOp, VaultReply, VaultRequest};
use crate::vault::upload::{PartDone, PartOp, Spool};
use wire::http::response::EntityTag;
use wire::name::FileName;
use wire::time::Duration;

/// Larger files are mapped, so that this process may not read them.
pub(in crate::session::http) const HEAP_BYTES_MAX: u64 = 10_000;

/// The simulated disk.
#[derive(Debug, Default)]
pub(in crate::session::http) struct Disk {
    /// Counts everything that is ever written, so that no two versions share a time.
    clock_s: i64,
    /// The current version of each file.
    current: BTreeMap<Box<str>, Version>,
    /// Mapped files that were overwritten in place, by their addresses in memory.
    changed: BTreeMap<usize, Arc<Blob>>,
    /// Mapped files.
    mapped: Vec<Arc<Blob>>,
    /// The current content of the vault.
    vault: BTreeMap<String, Arc<Blob>>,
    /// Everything that was ever served or stored, by its entity tag.
    pub(super) known: BTreeMap<Vec<u8>, Known>,
}

/// A version of a file, or of an item of the vault.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) name: Box<str>,
    version: Version,
    /// What a phone has stored; the bytes of a file follow from its version.
    stored: Option<Vec<u8>>,
}

impl Known {
    /// Returns the size in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.version.bytes as usize
    }

    /// Returns whether these are its bytes from `offset`.
    pub(super) fn has(&self, offset: usize, bytes: &[u8]) -> bool {
        match &self.stored {
            Some(stored) => stored.get(offset..offset + bytes.len()) == Some(bytes),
            None => part(&self.version, offset as u64, bytes.len() as u64) == bytes,
        }
    }
}

/// Returns the bytes of a version of a file.
pub(in crate::session::http) fn content(version: &Version) -> Vec<u8> {
    part(version, 0, version.bytes)
}

/// Returns some of the bytes of a version of a file.
fn part(version: &Version, offset: u64, bytes: u64) -> Vec<u8> {
    let seed = (version.modified_ns / 1_000_000_000) as u64;
    let range = offset.min(version.bytes)..(offset + bytes).min(version.bytes);
    range.map(|at| (at * 7 + (at >> 8) + seed * 31) as u8).collect()
}

impl Disk {
    pub(super) fn publish<'a>(
        &mut self,
        files: impl IntoIterator<Item = (&'a str, u64)>,
    ) -> Arc<Root> {
        let files: Vec<_> = files.into_iter().collect();
        let entries = files.into_iter().filter_map(|(path, bytes)| {
            let version = self.write(path, bytes);
            let name = FileName::parse(path.as_bytes()).ok()?;
            let entry = Entry::new(RootId(0), path, version);
            Some((name.as_bytes().into(), Arc::new(entry)))
        });
        let entries = entries.collect();
        Arc::new(Root { entries, ..Root::default() })
    }

    /// Moves the dates of later writes so far ahead.
    #[cfg(test)]
    pub(in crate::session::http) fn go_ahead(&mut self, seconds: i64) {
        self.clock_s += seconds;
    }

    /// Writes another version of a file, which the catalog does not have yet.
    pub(in crate::session::http) fn write(&mut self, path: &str, bytes: u64) -> Version {
        self.clock_s += 1;
        let modified_ns = self.clock_s * 1_000_000_000;
        let version = Version { bytes, modified_ns, ..Version::default() };
        self.current.insert(path.into(), version);
        self.remember(path, version, None);
        version
    }

    /// Overwrites all mapped files in place, with or without notice.
    pub(in crate::session::http) fn scribble(&mut self, is_noticed: bool) {
        for blob in self.mapped.drain(..) {
            if is_noticed {
                blob.mark_stale();
            }
            self.changed.insert(kernel(&blob), blob);
        }
    }

    /// Returns what the kernel sends of a blob.
    pub(super) fn read(&self, blob: &Blob, offset: u64, bytes: u64) -> Vec<u8> {
        if let Some(all) = blob.as_slice() {
            return all[offset as usize..(offset + bytes) as usize].to_vec();
        }
        let mut part = part(&blob.version(), offset, bytes);
        if self.changed.contains_key(&kernel(blob)) {
            part.iter_mut().for_each(|byte| *byte ^= 0xff);
        }
        part
    }

    fn remember(&mut self, name: &str, version: Version, stored: Option<Vec<u8>>) {
        let tag = EntityTag::of(&version).as_bytes().to_vec();
        self.known.insert(tag, Known { name: name.into(), version, stored });
    }

    /// Answers a question as the threads that may wait do.
    pub(super) fn answer(&mut self, request: StoreRequest, fault: u8) -> StoreReply {
        match request {
            StoreRequest::Open { ticket, entry, form } => {
                let result = open_fault(fault).map_or_else(|| Ok(self.open(&entry)), Err);
                if let Ok(blob) = &result {
                    entry.keep(form, Some(Arc::clone(blob)));
                }
                StoreReply::Opened { ticket, result }
            }
            StoreRequest::Verify { ticket, blob } => {
                let unchanged = fault == 0 && self.is_unchanged(&blob);
                StoreReply::Verified { ticket, unchanged }
            }
            StoreRequest::Read { ticket, blob, offset, bytes, mut buffer } => {
                let result = match open_fault(fault) {
                    Some(fault) => Err(fault),
                    None if !self.is_unchanged(&blob) => Err(OpenError::BeingWritten),
                    None => {
                        buffer.clear();
                        buffer.extend(self.read(&blob, offset, bytes as u64));
                        Ok(buffer)
                    }
                };
                StoreReply::Read { ticket, result }
            }
            StoreRequest::Store { ticket, upload } => {
                let result = match fault {
                    0 => {
                        let bytes = upload.bytes_all();
                        let version = self.write(&upload.name.to_string(), bytes);
                        Ok(Stored { new: version.modified_ns & 1 == 0, version })
                    }
                    1 => Err(StoreError::Full),
                    2 => Err(StoreError::Exists),
                    3 => Err(StoreError::Forbidden),
                    4 => Err(StoreError::Io),
                    5 => Err(StoreError::Precondition),
                    6.. => Err(StoreError::Busy),
                };
                StoreReply::Stored { ticket, result }
            }
            StoreRequest::Delete { ticket, .. } => {
                let result = match fault {
                    0 => Ok(()),
                    1 => Err(StoreError::NotThere),
                    2 => Err(StoreError::NotAFile),
                    3 => Err(StoreError::Forbidden),
                    4 => Err(StoreError::Io),
                    5 => Err(StoreError::Precondition),
                    6.. => Err(StoreError::Busy),
                };
                StoreReply::Deleted { ticket, result }
            }
            StoreRequest::Vault { ticket, request } => {
                StoreReply::Vault { ticket, result: self.execute(*request, fault) }
            }
            StoreRequest::Login { ticket, login } => {
                StoreReply::Login { ticket, result: log_in(&login, fault) }
            }
            StoreRequest::Upload { ticket, op, .. } => {
                StoreReply::Upload { ticket, result: upload(op, fault) }
            }
            StoreRequest::Files { .. } => {
                unreachable!("HTTP asks only for files")
            }
        }
    }

    fn is_unchanged(&self, blob: &Blob) -> bool {
        !blob.is_stale() && !self.changed.contains_key(&kernel(blob))
    }

    /// Opens the file as it is now, which may be another version than the catalog's.
    fn open(&mut self, entry: &Entry) -> Arc<Blob> {
        let version = self.current.get(&entry.path).copied().unwrap_or(entry.version);
        if version.bytes <= HEAP_BYTES_MAX {
            return Arc::new(Blob::heap(content(&version).into(), version));
        }
        // Only `read` looks at the content.
        let bytes = vec![0; version.bytes as usize];
        let blob = Arc::new(Blob::as_if_mapped(bytes.into(), version));
        self.mapped.push(Arc::clone(&blob));
        blob
    }

    fn execute(&mut self, request: VaultRequest, fault: u8) -> Result<VaultReply, VaultError> {
        match fault {
            0 => {}
            1 => return Err(VaultError::NotThere),
            2 => return Err(VaultError::Unauthorized),
            3 => return Err(VaultError::SlowedDown(Duration::from_secs(3))),
            4 => return Err(VaultError::Precondition),
            5 => return Err(VaultError::Full),
            6 => return Err(VaultError::Io),
            7 => return Err(VaultError::Busy),
            8.. => return Err(VaultError::Unavailable),
        }
        let name = request.item.to_string();
        match request.op {
            VaultOp::Check => Ok(VaultReply::Permitted),
            VaultOp::Fetch => {
                let blob = self.vault.get(&name).ok_or(VaultError::NotThere)?;
                Ok(VaultReply::Fetched(Arc::clone(blob)))
            }
            VaultOp::Keep { bytes, .. } => {
                self.clock_s += 1;
                let modified_ns = self.clock_s * 1_000_000_000;
                let version =
                    Version { bytes: bytes.len() as u64, modified_ns, ..Version::default() };
                self.remember(&name, version, Some(bytes.clone()));
                let blob = Arc::new(Blob::heap(bytes.into(), version));
                let new = self.vault.insert(name, blob).is_none();
                Ok(VaultReply::Kept(Stored { new, version }))
            }
            VaultOp::Forget { .. } => {
                self.vault.remove(&name).map(|_| VaultReply::Forgotten).ok_or(VaultError::NotThere)
            }
        }
    }
}

fn open_fault(fault: u8) -> Option<OpenError> {
    match fault {
        0 => None,
        1 => Some(OpenError::Gone),
        2 => Some(OpenError::Forbidden),
        3 => Some(OpenError::BeingWritten),
        4 => Some(OpenError::TooLarge),
        5 => Some(OpenError::Io),
        6.. => Some(OpenError::Busy),
    }
}

/// Returns the result of an operation on a part of a body.
fn upload(op: PartOp, fault: u8) -> Result<PartDone, StoreError> {
    match (fault, op) {
        (_, PartOp::Forget { .. }) => Ok(PartDone::Forgotten),
        (_, PartOp::Find { .. }) => Ok(PartDone::Found(false)),
        (0, PartOp::Write { spool, bytes }) => {
            let mut spool = spool.unwrap_or_else(Spool::in_memory);
            spool.extend(&bytes);
            Ok(PartDone::Written { spool, room: Vec::new() })
        }
        (1, PartOp::Write { .. }) => Err(StoreError::Full),
        (2.., PartOp::Write { .. }) => Err(StoreError::Io),
    }
}

/// Answers a login: every user's password is `secret`, and every Digest response counts as right.
fn log_in(login: &Login, fault: u8) -> Result<usize, VaultError> {
    let is_right = match &login.secret {
        LoginSecret::Password(password) => password == b"secret",
        LoginSecret::Digest(..) => true,
    };
    match fault {
        0 if is_right => Ok(0),
        0 | 1 => Err(VaultError::Unauthorized),
        2 => Err(VaultError::SlowedDown(Duration::from_secs(3))),
        3.. => Err(VaultError::Busy),
    }
}
