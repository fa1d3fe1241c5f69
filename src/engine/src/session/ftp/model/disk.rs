//! The files, the vault and the uploads of a model: the answers of the threads that wait for disks.
//!
//! Keeps the bytes of what was stored; the content of any other version follows from its time.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::cancel::CancelToken;
use crate::catalog::blob::{Blob, Version};
use crate::catalog::{Entry, OpenError, Root, RootId, StoreError, Stored};
use crate::files::{self, FilesError, ForbiddenReason, Member, PartialFile, TreePath, UploadMode};
use crate::requests::{StoreReply, StoreRequest};
use crate::ticket::Ticket;
use crate::vault::request::{Login, LoginSecret, VaultError, VaultOp, VaultReply, VaultRequest};
use wire::ftp::listing::Rights;
use wire::name::FileName;
use wire::time::Duration;

/// Larger files are mapped, so that this process may not read them.
const HEAP_BYTES_MAX: u64 = 10_000;
/// The directory of the tree that is the root.
const AREA: &str = "/common/";
/// The one name and password of an administrator.
pub(in crate::session::ftp) const ADMINISTRATOR: (&[u8], &[u8]) = (b"root", b"secret");
/// The one name and password of a phone that logs in by one.
pub(in crate::session::ftp) const PHONE: (&[u8], &[u8]) = (b"PlcmSpIp", b"secret2");
/// The users' files that hold them.
pub(in crate::session::ftp) const USERS: [&str; 2] = ["/users", "/passwords"];

/// The simulated disk.
#[derive(Debug, Default)]
pub(in crate::session::ftp) struct Disk {
    /// Counts everything that is ever written, so that no two versions share a time.
    clock_s: i64,
    files: BTreeMap<String, Version>,
    /// The bytes of files that were stored.
    stored: BTreeMap<i64, Vec<u8>>,
    directories: BTreeSet<String>,
    vault: BTreeMap<String, Arc<Blob>>,
    /// Uploads under way, each by a number that its part carries in place of its size.
    uploads: BTreeMap<u64, (String, Vec<u8>)>,
    /// Uploads that ever began.
    begun: u64,
}

impl Disk {
    pub(super) fn publish<'a>(
        &mut self,
        files: impl IntoIterator<Item = (&'a str, u64)>,
    ) -> Arc<Root> {
        let entries = files.into_iter().filter_map(|(path, bytes)| {
            let version = self.write(&format!("{AREA}{path}"), bytes, None);
            let name = FileName::parse(path.as_bytes()).ok()?;
            Some((name.as_bytes().into(), Arc::new(Entry::new(RootId(0), path, version))))
        });
        let entries = entries.collect();
        Arc::new(Root { entries, ..Root::default() })
    }

    fn version(&mut self, bytes: u64) -> Version {
        self.clock_s += 1;
        Version { bytes, modified_ns: self.clock_s * 1_000_000_000, ..Version::default() }
    }

    fn write(&mut self, path: &str, bytes: u64, stored: Option<Vec<u8>>) -> Version {
        let version = self.version(bytes);
        self.files.insert(path.to_lowercase(), version);
        if let Some(stored) = stored {
            self.stored.insert(version.modified_ns, stored);
        }
        version
    }

    /// Returns the current bytes of a path of the tree.
    pub(in crate::session::ftp) fn bytes_of(&self, path: &str) -> Option<Vec<u8>> {
        let version = self.files.get(&path.to_lowercase())?;
        Some(self.part(version, 0, version.bytes))
    }

    /// Returns the current content of the vault.
    #[cfg(test)]
    pub(in crate::session::ftp) fn vault_has(&self, name: &str) -> Option<Vec<u8>> {
        Some(self.vault.get(name)?.as_slice()?.to_vec())
    }

    /// Stores something in the vault.
    pub(in crate::session::ftp) fn keep(&mut self, name: &str, bytes: &[u8]) -> Stored {
        let version = self.version(bytes.len() as u64);
        let blob = Arc::new(Blob::heap(bytes.into(), version));
        let new = self.vault.insert(name.to_owned(), blob).is_none();
        Stored { new, version }
    }

    /// Returns how many uploads are under way.
    #[cfg(test)]
    pub(in crate::session::ftp) fn uploads(&self) -> usize {
        self.uploads.len()
    }

    /// Returns some of the bytes of a version of a file.
    fn part(&self, version: &Version, offset: u64, bytes: u64) -> Vec<u8> {
        let range = offset.min(version.bytes)..(offset + bytes).min(version.bytes);
        if let Some(stored) = self.stored.get(&version.modified_ns) {
            return stored[range.start as usize..range.end as usize].to_vec();
        }
        let seed = (version.modified_ns / 1_000_000_000) as u64;
        range.map(|at| (at * 7 + (at >> 8) + seed * 31) as u8).collect()
    }

    /// Returns what the kernel sends of a blob.
    pub(super) fn read(&self, blob: &Blob, offset: u64, bytes: u64) -> Vec<u8> {
        match blob.as_slice() {
            Some(all) => all[offset as usize..(offset + bytes) as usize].to_vec(),
            None => self.part(&blob.version(), offset, bytes),
        }
    }

    /// Answers a question as the threads that may wait do.
    pub(super) fn answer(&mut self, request: StoreRequest, fault: u8) -> StoreReply {
        match request {
            StoreRequest::Open { ticket, entry, form } => {
                let path = format!("{AREA}{}", entry.path).to_lowercase();
                let version = self.files.get(&path).copied().unwrap_or(entry.version);
                let result = open_fault(fault).map_or_else(|| Ok(self.blob(version)), Err);
                if let Ok(blob) = &result {
                    entry.keep(form, Some(Arc::clone(blob)));
                }
                StoreReply::Opened { ticket, result }
            }
            StoreRequest::Verify { ticket, .. } => {
                StoreReply::Verified { ticket, unchanged: fault == 0 }
            }
            StoreRequest::Read { ticket, blob, offset, bytes, mut buffer } => {
                let result = open_fault(fault).map_or_else(
                    || {
                        buffer.clear();
                        buffer.extend(self.part(&blob.version(), offset, bytes as u64));
                        Ok(buffer)
                    },
                    Err,
                );
                StoreReply::Read { ticket, result }
            }
            StoreRequest::Store { ticket, upload } => {
                let result = match fault {
                    0 if !may_commit(upload.cancel.as_ref()) => Err(StoreError::Precondition),
                    0 => {
                        let (path, bytes) = (format!("{AREA}{}", upload.name), upload.bytes);
                        let version = self.write(&path, bytes.len() as u64, Some(bytes));
                        Ok(Stored { new: true, version })
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
            StoreRequest::Delete { ticket, deletion } => {
                let path = format!("{AREA}{}", deletion.name);
                let result = match fault {
                    0 => self.files.remove(&path).map(|_| ()).ok_or(StoreError::NotThere),
                    1 => Err(StoreError::NotAFile),
                    2 => Err(StoreError::Forbidden),
                    3 => Err(StoreError::Io),
                    4.. => Err(StoreError::Busy),
                };
                StoreReply::Deleted { ticket, result }
            }
            StoreRequest::Upload { .. } => unreachable!("only TFTP asks for it"),
            StoreRequest::Vault { ticket, request } => {
                StoreReply::Vault { ticket, result: self.execute(*request, fault) }
            }
            StoreRequest::Files { ticket, op, .. } => self.files(ticket, *op, fault),
            StoreRequest::Login { ticket, login } => {
                StoreReply::Login { ticket, result: log_in(&login, fault) }
            }
        }
    }

    fn blob(&mut self, version: Version) -> Arc<Blob> {
        if version.bytes <= HEAP_BYTES_MAX {
            return Arc::new(Blob::heap(self.part(&version, 0, version.bytes).into(), version));
        }
        // Only `read` looks at the content.
        Arc::new(Blob::as_if_mapped(vec![0; version.bytes as usize].into(), version))
    }

    fn execute(&mut self, request: VaultRequest, fault: u8) -> Result<VaultReply, VaultError> {
        match fault {
            0 => {}
            1 => return Err(VaultError::NotThere),
            2 => return Err(VaultError::Unauthorized),
            3 => return Err(VaultError::Forbidden),
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
            VaultOp::Keep { cancel, .. } if !may_commit(cancel.as_ref()) => {
                Err(VaultError::Precondition)
            }
            VaultOp::Keep { bytes, .. } => Ok(VaultReply::Kept(self.keep(&name, &bytes))),
            VaultOp::Forget { .. } => {
                self.vault.remove(&name).map(|_| VaultReply::Forgotten).ok_or(VaultError::NotThere)
            }
        }
    }

    fn files(&mut self, ticket: Ticket, op: files::FilesOp, fault: u8) -> StoreReply {
        if let (files::FilesOp::Open { at }, 0) = (&op, fault)
            && let Some(version) = self.files.get(&at.to_string().to_lowercase()).copied()
        {
            return StoreReply::Opened { ticket, result: Ok(self.blob(version)) };
        }
        StoreReply::Files { ticket, result: self.manage(op, fault) }
    }

    fn manage(&mut self, op: files::FilesOp, fault: u8) -> Result<files::FilesReply, FilesError> {
        if let files::FilesOp::Discard { part } = op {
            self.uploads.remove(&part.bytes());
            return Ok(files::FilesReply::Discarded);
        }
        if let Some(fault) = files_fault(fault) {
            if let files::FilesOp::Write { part, .. } | files::FilesOp::Finish { part, .. } = op {
                self.uploads.remove(&part.bytes());
            }
            return Err(fault);
        }
        let path = |at: &TreePath| at.to_string().to_lowercase();
        Ok(match op {
            files::FilesOp::List { at, form, .. } => return self.list(&path(&at), form),
            files::FilesOp::Describe { at } => {
                let member = self.member(&path(&at))?;
                files::FilesReply::Described { at, member }
            }
            files::FilesOp::MakeDirectory { at } => match self.directories.insert(path(&at)) {
                true => files::FilesReply::Made { at },
                false => return Err(FilesError::Exists),
            },
            files::FilesOp::RemoveDirectory { at } => match self.directories.remove(&path(&at)) {
                true => files::FilesReply::Removed,
                false => return Err(FilesError::NotThere),
            },
            files::FilesOp::Delete { at } => {
                self.files.remove(&path(&at)).ok_or(FilesError::NotThere)?;
                files::FilesReply::Removed
            }
            files::FilesOp::Rename { from, to } => {
                let version = self.files.remove(&path(&from)).ok_or(FilesError::NotThere)?;
                self.files.insert(path(&to), version);
                files::FilesReply::Renamed
            }
            files::FilesOp::Touch { .. } => files::FilesReply::Touched,
            files::FilesOp::Open { .. } => return Err(FilesError::NotThere),
            files::FilesOp::Begin { at, mode } => {
                self.begun += 1;
                let before = self.bytes_of(&path(&at)).unwrap_or_default();
                let bytes = match mode {
                    UploadMode::Replace | UploadMode::Unique => Vec::new(),
                    UploadMode::Append => before,
                    UploadMode::Resume(from) if from > before.len() as u64 => {
                        return Err(FilesError::BeyondEnd);
                    }
                    UploadMode::Resume(from) => before[..from as usize].to_vec(),
                };
                self.uploads.insert(self.begun, (path(&at), bytes));
                files::FilesReply::Begun { part: PartialFile::made_up(self.begun), at }
            }
            files::FilesOp::Write { part, mut bytes } => {
                let upload = self.uploads.get_mut(&part.bytes()).ok_or(FilesError::Io)?;
                upload.1.append(&mut bytes);
                files::FilesReply::Written { part, buffer: bytes }
            }
            files::FilesOp::Finish { part, cancel } if !cancel.commit() => {
                self.uploads.remove(&part.bytes());
                return Err(FilesError::Busy);
            }
            files::FilesOp::Finish { part, .. } => {
                let (path, bytes) = self.uploads.remove(&part.bytes()).ok_or(FilesError::Io)?;
                let version = self.write(&path, bytes.len() as u64, Some(bytes));
                files::FilesReply::Stored(Stored { new: true, version })
            }
            files::FilesOp::Discard { .. } => files::FilesReply::Discarded,
        })
    }

    fn list(&self, above: &str, form: files::Form) -> Result<files::FilesReply, FilesError> {
        if self.files.contains_key(above) && matches!(form, files::Form::Facts(_)) {
            return Err(FilesError::NotDirectory);
        }
        let names = self.files.keys().filter(|name| name.starts_with(above));
        let lines: String = names.map(|name| format!("{name}\r\n")).collect();
        Ok(files::FilesReply::Listed(lines.into_bytes()))
    }

    fn member(&self, path: &str) -> Result<Member, FilesError> {
        let file = self.files.get(path);
        let is_directory = matches!(path, "/" | "/common") || self.directories.contains(path);
        if file.is_none() && !is_directory {
            return Err(FilesError::NotThere);
        }
        Ok(Member {
            is_directory,
            bytes: file.map_or(0, |version| version.bytes),
            modified_s: file.map_or(0, |version| (version.modified_ns / 1_000_000_000) as u64),
            rights: Rights::ALL,
        })
    }
}

/// Returns which of the files has the user, if the password is right.
fn log_in(login: &Login, fault: u8) -> Result<usize, VaultError> {
    let LoginSecret::Password(password) = &login.secret else {
        unreachable!("FTP has only passwords")
    };
    let shown = (&*login.name, password.as_ref());
    let accounts = [ADMINISTRATOR, PHONE];
    // The file with the user, if it was asked for at all.
    let is_right = |file: &&PathBuf| {
        let place = USERS.iter().position(|known| **file == Path::new(known));
        place.is_some_and(|place| accounts.get(place) == Some(&shown))
    };
    let found = login.users.iter().position(|file| is_right(&file));
    match fault {
        0 => found.ok_or(VaultError::Unauthorized),
        1 => Err(VaultError::Unauthorized),
        2 => Err(VaultError::SlowedDown(Duration::from_secs(3))),
        3.. => Err(VaultError::Busy),
    }
}

/// Returns whether a change was not cancelled.
fn may_commit(cancel: Option<&CancelToken>) -> bool {
    cancel.is_none_or(CancelToken::commit)
}

/// Returns whether an answer reports that something was done.
pub(super) fn is_done(reply: &StoreReply) -> bool {
    match reply {
        StoreReply::Opened { result, .. } => result.is_ok(),
        StoreReply::Verified { unchanged, .. } => *unchanged,
        StoreReply::Stored { result, .. } => result.is_ok(),
        StoreReply::Deleted { result, .. } => result.is_ok(),
        StoreReply::Upload { result, .. } => result.is_ok(),
        StoreReply::Read { result, .. } => result.is_ok(),
        StoreReply::Vault { result, .. } => result.is_ok(),
        StoreReply::Files { result, .. } => result.is_ok(),
        StoreReply::Login { result, .. } => result.is_ok(),
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

fn files_fault(fault: u8) -> Option<FilesError> {
    match fault {
        0 => None,
        1 => Some(FilesError::Full),
        2 => Some(FilesError::NotThere),
        3 => Some(FilesError::Forbidden(ForbiddenReason::System)),
        4 => Some(FilesError::TooLarge),
        5 => Some(FilesError::Io),
        6 => Some(FilesError::BrokenOff),
        7 => Some(FilesError::Changed),
        8.. => Some(FilesError::Busy),
    }
}
