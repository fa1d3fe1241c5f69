//! The thread that changes the data directories for administrators, one request after the other.
//!
//! Never serves a phone, and no phone waits for it. What it acknowledges is durable, and in the
//! catalog unless that took longer than [`CATALOG_WAIT`].

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::Duration;

use cap_std::ambient_authority;
use cap_std::fs::Dir;
use crossbeam_channel::{Receiver, Sender, select, unbounded};

use super::upload::{Remains, Reserve, place_unless};
use crate::content::catalog_handle::CatalogHandle;
use crate::durable::case_index::CaseIndex;
use crate::durable::{Disk, sweep};
use engine::files::{FilesError, FilesOp, FilesReply, ForbiddenReason, Tree};
use engine::requests::{StoreReply, StoreRequest};
use engine::ticket::Ticket;
use wire::name::BadName;

/// How long an answer waits for the catalog. The watch may be scanning everything just then.
pub(crate) const CATALOG_WAIT: Duration = Duration::from_secs(2);
/// Depth of subdirectories that are searched for remains of a crash.
const SWEEP_DEPTH_MAX: usize = 32;

/// The state of the thread.
#[derive(Debug)]
pub(crate) struct Files {
    pub(super) disk: Disk,
    pub(super) case_index: CaseIndex,
    pub(super) published: Arc<CatalogHandle>,
    /// To the threads that read.
    opens: Sender<(usize, StoreRequest)>,
    /// The channel of uploads that were dropped.
    remains: (Sender<Remains>, Receiver<Remains>),
    /// Every upload under way holds a clone.
    pub(super) under_way: Arc<()>,
    /// Target names of uploads under way that no other upload may take.
    pub(super) reserved: HashMap<PathBuf, Weak<()>>,
    /// Files whose upload was aborted since they were last stored.
    pub(super) broken_off: HashSet<PathBuf>,
    /// Most bytes of a listing; a test sets few.
    pub(super) listing_bytes_max: usize,
    pub(super) reserve: Reserve,
}

impl Files {
    /// Creates the thread's state. Requests to read a file go to `opens`.
    #[must_use]
    pub(crate) fn new(published: Arc<CatalogHandle>, opens: Sender<(usize, StoreRequest)>) -> Self {
        Files {
            disk: Disk::default(),
            case_index: CaseIndex::default(),
            published,
            opens,
            remains: unbounded(),
            under_way: Arc::default(),
            reserved: HashMap::new(),
            broken_off: HashSet::new(),
            listing_bytes_max: super::list::LISTING_BYTES_MAX,
            reserve: Reserve::default(),
        }
    }

    /// Removes what a crash left in the data directories; then handles requests until all senders
    /// are gone.
    pub(crate) fn run(
        mut self,
        requests: &Receiver<(usize, StoreRequest)>,
        send_reply: impl Fn(usize, StoreReply),
    ) {
        let roots = self.published.catalog();
        roots.roots.iter().for_each(|root| self.sweep(&root.dir));
        let dropped = Receiver::clone(&self.remains.1);
        loop {
            select! {
                recv(requests) -> received => match received {
                    Ok((worker, StoreRequest::Files { ticket, tree, op })) => {
                        if let Some(result) = self.handle(worker, ticket, &tree, *op) {
                            send_reply(worker, StoreReply::Files { ticket, result });
                        }
                    }
                    // Other requests are not sent to this thread.
                    Ok(_) => {}
                    Err(_) => return,
                },
                recv(dropped) -> remains => {
                    if let Ok(remains) = remains {
                        self.clear(remains);
                    }
                }
            }
        }
    }

    /// Handles one request. Returns `None` if another thread answers.
    pub(super) fn handle(
        &mut self,
        worker: usize,
        ticket: Ticket,
        tree: &Tree,
        op: FilesOp,
    ) -> Option<Result<FilesReply, FilesError>> {
        Some(match op {
            FilesOp::List { at, requested, form } => {
                self.list(tree, &at, &requested, form).map(FilesReply::Listed)
            }
            FilesOp::Describe { at } => {
                self.describe(tree, &at).map(|(at, member)| FilesReply::Described { at, member })
            }
            FilesOp::MakeDirectory { at } => {
                self.make_directory(tree, &at).map(|at| FilesReply::Made { at })
            }
            FilesOp::RemoveDirectory { at } => {
                self.remove_directory(tree, &at).map(|()| FilesReply::Removed)
            }
            FilesOp::Delete { at } => self.delete(tree, &at).map(|()| FilesReply::Removed),
            FilesOp::Rename { from, to } => {
                self.rename(tree, &from, &to).map(|()| FilesReply::Renamed)
            }
            FilesOp::Touch { at, unix_s } => {
                self.touch(tree, &at, unix_s).map(|()| FilesReply::Touched)
            }
            FilesOp::Open { at } => match self.entry(tree, &at) {
                Ok(entry) => {
                    let request =
                        StoreRequest::Open { ticket, entry, form: engine::catalog::Form::Octet };
                    return self
                        .opens
                        .try_send((worker, request))
                        .err()
                        .map(|_| Err(FilesError::Busy));
                }
                Err(fault) => Err(fault),
            },
            FilesOp::Begin { at, mode } => {
                self.begin(tree, &at, mode).map(|(part, at)| FilesReply::Begun { part, at })
            }
            FilesOp::Write { part, bytes } => {
                self.write(part, bytes).map(|(part, buffer)| FilesReply::Written { part, buffer })
            }
            FilesOp::Finish { mut part, cancel } => {
                let place = place_unless(&mut part, &cancel);
                let stored = self.finish(part);
                if cancel.is_cancelled() {
                    self.broken_off.extend(place);
                }
                stored.map(FilesReply::Stored)
            }
            FilesOp::Discard { part } => {
                // The dropped part leaves its remains where this thread finds them next.
                drop(part);
                Ok(FilesReply::Discarded)
            }
        })
    }

    /// Returns the channel for the remains of uploads.
    pub(super) fn remains(&self) -> Sender<Remains> {
        Sender::clone(&self.remains.0)
    }

    /// Clears the remains of uploads so far.
    #[cfg(test)]
    pub(super) fn clear_all(&mut self) {
        while let Ok(remains) = self.remains.1.try_recv() {
            self.clear(remains);
        }
    }

    /// Removes what a crash left in a directory, at its first use.
    pub(super) fn sweep(&mut self, dir: &Path) {
        if !self.disk.is_first_use(dir) {
            return;
        }
        if let Ok(dir) = Dir::open_ambient_dir(dir, ambient_authority()) {
            sweep(&dir, SWEEP_DEPTH_MAX);
        }
    }

    /// Makes all changes durable, and has the catalog publish them.
    pub(super) fn publish(&mut self, changed: &[PathBuf]) -> Result<(), FilesError> {
        let failed = self.disk.sync();
        // The catalog shows what is there, durable or not.
        if !self.published.rescan(changed, CATALOG_WAIT) {
            tracing::warn!("{} is not in the catalog yet", PathList(changed));
        }
        if failed.is_empty() { Ok(()) } else { Err(FilesError::Io) }
    }

    /// Translates an error of the system; logs what only an administrator can mend.
    pub(super) fn fault(&self, why: &io::Error, verb: &str, path: &Path) -> FilesError {
        let fault = fault_of(why);
        match fault {
            FilesError::Io | FilesError::Full | FilesError::Forbidden(ForbiddenReason::System) => {
                self.disk.log.error(why, verb, path);
            }
            FilesError::NotThere
            | FilesError::Exists
            | FilesError::NotEmpty
            | FilesError::IsDirectory
            | FilesError::NotDirectory
            | FilesError::Forbidden(_)
            | FilesError::TooLarge
            | FilesError::TooMany
            | FilesError::BeyondEnd
            | FilesError::BrokenOff
            | FilesError::Changed
            | FilesError::Busy
            | FilesError::CrossArea => {}
        }
        fault
    }
}

/// Formats paths for a message.
struct PathList<'a>(&'a [PathBuf]);

impl std::fmt::Display for PathList<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let shown: Vec<_> = self.0.iter().map(|path| path.display().to_string()).collect();
        f.write_str(&shown.join(", "))
    }
}

fn fault_of(why: &io::Error) -> FilesError {
    use io::ErrorKind::{
        AlreadyExists, ConnectionAborted, CrossesDevices, DirectoryNotEmpty, FileTooLarge,
        InvalidFilename, IsADirectory, NotADirectory, NotFound, PermissionDenied, QuotaExceeded,
        ReadOnlyFilesystem, ResourceBusy, StorageFull,
    };
    match why.kind() {
        NotFound => FilesError::NotThere,
        AlreadyExists => FilesError::Exists,
        DirectoryNotEmpty => FilesError::NotEmpty,
        IsADirectory => FilesError::IsDirectory,
        NotADirectory => FilesError::NotDirectory,
        StorageFull | QuotaExceeded => FilesError::Full,
        FileTooLarge => FilesError::TooLarge,
        CrossesDevices => FilesError::CrossArea,
        // The client that cancelled waits for no answer.
        ResourceBusy | ConnectionAborted => FilesError::Busy,
        InvalidFilename => FilesError::Forbidden(ForbiddenReason::Name(BadName::TooLong)),
        // The refusal of a path that leads out has no error number of the system.
        PermissionDenied if why.raw_os_error().is_none() => {
            FilesError::Forbidden(ForbiddenReason::Special)
        }
        PermissionDenied | ReadOnlyFilesystem => FilesError::Forbidden(ForbiddenReason::System),
        #[cfg(unix)]
        _ if why.raw_os_error() == Some(libc::ELOOP) => {
            FilesError::Forbidden(ForbiddenReason::Special)
        }
        _ => FilesError::Io,
    }
}
