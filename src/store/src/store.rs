//! The store as the workers see it: one queue for every kind of work, and the threads behind them.
//!
//! [`Store::submit`] never waits. Each request that it takes is answered once, through the
//! [`Replies`] of its worker. Does nothing itself: files of the catalog are read in `content`,
//! phones' data is kept in `vault`, administrators' files are changed in `files`.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use argon2::Argon2;
use crossbeam_channel::{Receiver, Sender, bounded};

use crate::content::catalog_handle::{CatalogHandle, Placed};
use crate::content::hasher::{DigestFigures, Hasher};
use crate::content::loader::{Loader, LoaderConfig, LoaderFigures, OtherRequests};
use crate::files::thread::Files;
use crate::offload::Threads;
use crate::replies::{Replies, Workers};
use crate::vault::secrets::{SECRETS_MAX, SECRETS_THREADS};
use crate::vault::store::{Directories, Writer};
use crate::vault::threads::{Queues, Task, Vault, VaultFigures};
use engine::catalog::StoreError;
use engine::files::FilesError;
use engine::requests::{StoreReply, StoreRequest};
use wire::time::Instant;

/// How long the end of threads that make no progress is awaited: they may hang at a disk.
const END_WAIT: Duration = Duration::from_secs(10);
/// How long the writer waits for the catalog before it acknowledges what is durable.
const PUBLISH_WAIT: Duration = Duration::from_secs(2);

/// Sizes of the store.
#[derive(Clone, Copy, Debug)]
pub struct StoreConfig {
    /// How files of the catalog are read, and which stay in memory.
    pub loader: LoaderConfig,
    /// Uploads that wait for the writer; one more is returned to the worker. Default 8,192.
    pub uploads_max: usize,
    /// Requests of administrators that wait for their thread; one more is returned to the worker.
    /// Default 1,024.
    pub file_ops_max: usize,
    /// Bytes that may lie in one directory that receives uploads. Default 4 GiB.
    pub upload_directory_bytes_max: u64,
}

impl Default for StoreConfig {
    fn default() -> Self {
        StoreConfig {
            loader: LoaderConfig::default(),
            uploads_max: 8_192,
            file_ops_max: 1_024,
            upload_directory_bytes_max: 4 << 30,
        }
    }
}

/// What the store has done, and what it keeps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreFigures {
    /// Files of the catalog.
    pub loader: LoaderFigures,
    /// The known digests.
    pub digests: DigestFigures,
    /// Phones' data.
    pub vault: VaultFigures,
}

/// The threads that may wait; they end when it is dropped.
pub struct Store {
    /// `None` once the threads are to stop.
    senders: Option<Senders>,
    pub(crate) directories: Arc<Directories>,
    pub(crate) loader: Arc<Loader>,
    vault: Arc<Vault>,
    published: Arc<CatalogHandle>,
    workers: Arc<Workers>,
    threads: Option<Threads>,
    /// Hashes what is sent, and then the rest of the catalog.
    hasher: Option<Hasher>,
}

struct Senders {
    /// Ends the thread that supervises disks.
    _running: Sender<()>,
    requests: Sender<(usize, StoreRequest)>,
    writes: Sender<Task>,
    file_ops: Sender<(usize, StoreRequest)>,
}

/// The other ends of the senders.
struct Receivers {
    end: Receiver<()>,
    requests: Receiver<(usize, StoreRequest)>,
    writes: Receiver<Task>,
    file_ops: Receiver<(usize, StoreRequest)>,
}

impl Store {
    /// Starts the threads. `started` is the moment that the process's [`Instant`]s count from;
    /// `replies` has one member per worker; `published` is what the watch publishes to.
    ///
    /// # Errors
    /// The system's error if it cannot start a thread.
    pub fn start(
        config: StoreConfig,
        started: std::time::Instant,
        replies: Vec<Replies>,
        directories: Arc<Directories>,
        published: Arc<CatalogHandle>,
    ) -> io::Result<Store> {
        let (senders, receivers) = channels(&config);
        let workers = Arc::new(Workers::new(replies));
        let digests = Arc::clone(published.digests());
        let hasher = Some(Hasher::start(digests, Arc::clone(&published))?);
        let loader = Loader::new(config.loader, started, Arc::clone(&workers), &published);
        let mut store = Store {
            senders: None,
            loader: Arc::new(loader),
            vault: Arc::new(Vault::new(Argon2::default(), Arc::clone(&directories))?),
            directories,
            published,
            workers,
            threads: Some(Threads::default()),
            hasher,
        };
        let result = store.start_threads(config, started, &senders, receivers);
        // Set before an incomplete store is dropped, so that its threads end with it.
        store.senders = Some(senders);
        result.map(|()| store)
    }

    fn start_threads(
        &mut self,
        config: StoreConfig,
        started: std::time::Instant,
        senders: &Senders,
        receivers: Receivers,
    ) -> io::Result<()> {
        let Some(threads) = &mut self.threads else { return Ok(()) };
        let now = move || Instant::START + started.elapsed();
        let Receivers { end, requests, writes, file_ops } = receivers;

        let writer = Writer::new(Arc::clone(&self.directories), config.upload_directory_bytes_max);
        let (vault, workers) = (Arc::clone(&self.vault), Arc::clone(&self.workers));
        let published = Arc::clone(&self.published);
        threads.spawn("vault-writer", move || {
            let publish = |placed: &[Placed]| {
                if !published.publish(placed, PUBLISH_WAIT) {
                    tracing::warn!("what was just stored is not in the catalog yet");
                }
            };
            vault.run_writer(writer, &writes, publish, |worker, one| workers.reply(worker, one));
        })?;

        let files = Files::new(Arc::clone(&self.published), Sender::clone(&senders.requests));
        let workers = Arc::clone(&self.workers);
        threads.spawn("admin-files", move || {
            files.run(&file_ops, |worker, one| workers.reply(worker, one));
        })?;

        let (secrets, unproven) = bounded(SECRETS_MAX);
        for number in 0..SECRETS_THREADS {
            let (vault, workers) = (Arc::clone(&self.vault), Arc::clone(&self.workers));
            let (unproven, writer) = (Receiver::clone(&unproven), Sender::clone(&senders.writes));
            threads.spawn(format!("passwords-{number}"), move || {
                let send_reply = |worker, reply| workers.reply(worker, reply);
                vault.run_secrets(&unproven, &writer, now, send_reply);
            })?;
        }

        let vault = Arc::clone(&self.vault);
        // Only the reading threads hold these ends, so that the threads behind them stop once all
        // of them have.
        let queues = Queues { writer: Sender::clone(&senders.writes), secrets };
        let others: OtherRequests =
            Arc::new(move |worker, request| reply_other(&vault, &queues, worker, request, now()));
        self.loader.start(threads, &requests, end, &others)
    }

    /// Queues a worker's request; never waits.
    ///
    /// # Errors
    /// Returns the request if its queue is full: the worker itself answers with `Busy`.
    pub fn submit(&self, worker: usize, request: StoreRequest) -> Result<(), StoreRequest> {
        let Some(senders) = &self.senders else { return Err(request) };
        match request {
            StoreRequest::Open { .. }
            | StoreRequest::Verify { .. }
            | StoreRequest::Read { .. }
            | StoreRequest::Vault { .. }
            | StoreRequest::Login { .. } => senders
                .requests
                .try_send((worker, request))
                .map_err(|refused| refused.into_inner().1),
            StoreRequest::Store { .. }
            | StoreRequest::Delete { .. }
            | StoreRequest::Upload { .. } => senders
                .writes
                .try_send((worker, request, None))
                .map_err(|refused| refused.into_inner().1),
            StoreRequest::Files { .. } => senders
                .file_ops
                .try_send((worker, request))
                .map_err(|refused| refused.into_inner().1),
        }
    }

    /// Returns the counters.
    #[must_use]
    pub fn figures(&self) -> StoreFigures {
        StoreFigures {
            loader: self.loader.figures(),
            digests: self.published.digests().figures(),
            vault: self.vault.figures(),
        }
    }
}

impl Drop for Store {
    /// Lets the threads finish their current work, and stops them.
    fn drop(&mut self) {
        self.senders = None;
        self.vault.stop();
        self.hasher = None;
        let Some(threads) = self.threads.take() else { return };
        // Threads that hang at a disk are left behind.
        if !threads.join(END_WAIT, || self.workers.answered()) {
            tracing::error!("a disk does not answer; what waits for it is given up");
        }
    }
}

fn channels(config: &StoreConfig) -> (Senders, Receivers) {
    let (running, end) = bounded(0);
    let (requests, asked) = bounded(config.loader.requests_max);
    let (writes, written) = bounded(config.uploads_max);
    let (file_ops, wanted) = bounded(config.file_ops_max);
    let senders = Senders { _running: running, requests, writes, file_ops };
    (senders, Receivers { end, requests: asked, writes: written, file_ops: wanted })
}

/// Answers the requests that are not for a file of the catalog. Returns `None` if another thread
/// answers.
fn reply_other(
    vault: &Vault,
    queues: &Queues,
    worker: usize,
    request: StoreRequest,
    now: Instant,
) -> Option<StoreReply> {
    match request {
        StoreRequest::Login { ticket, login } => {
            vault.handle_login(worker, ticket, login, queues, now)
        }
        StoreRequest::Vault { ticket, request } => {
            vault.handle(worker, ticket, request, queues, now)
        }
        // The writer has a queue of its own, and so has the administrators' thread.
        StoreRequest::Store { ticket, .. } => {
            Some(StoreReply::Stored { ticket, result: Err(StoreError::Busy) })
        }
        StoreRequest::Delete { ticket, .. } => {
            Some(StoreReply::Deleted { ticket, result: Err(StoreError::Busy) })
        }
        StoreRequest::Upload { ticket, .. } => {
            Some(StoreReply::Upload { ticket, result: Err(StoreError::Busy) })
        }
        StoreRequest::Files { ticket, .. } => {
            Some(StoreReply::Files { ticket, result: Err(FilesError::Busy) })
        }
        // The loader answers these itself.
        StoreRequest::Open { .. } | StoreRequest::Verify { .. } | StoreRequest::Read { .. } => None,
    }
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use super::*;
    use engine::ticket::Ticket;
    use engine::vault::upload::Upload;
    use wire::name::FileName;

    #[test]
    fn an_upload_is_stored_and_answered() {
        let root = tempfile::tempdir().unwrap();
        let (sender, replies) = crossbeam_channel::unbounded();
        let channels = vec![Replies { sender, wake: Box::new(|| {}) }];
        let store = Store::start(
            StoreConfig::default(),
            std::time::Instant::now(),
            channels,
            Arc::default(),
            Arc::default(),
        );
        let store = store.unwrap();
        let directory = store.directories.number(root.path()).unwrap();
        let names = ["a", "b", "c"].map(|name| FileName::parse(name.as_bytes()).unwrap());
        for (ticket, name) in (0..).zip(names) {
            let upload = Box::new(Upload {
                directory,
                name,
                bytes_max: 10,
                on_exists: engine::vault::upload::OnExists::Replace,
                precondition: engine::vault::request::Precondition::None,
                cancel: None,
                client: [10, 0, 0, 1].into(),
                spool: None,
                bytes: b"stored".to_vec(),
            });
            store
                .submit(0, StoreRequest::Store { ticket: Ticket::made_up(ticket), upload })
                .unwrap();
        }
        for number in 0..3 {
            let StoreReply::Stored { ticket, result } = replies.recv().unwrap() else {
                panic!("an answer to another question");
            };
            assert_eq!((ticket, result.map(drop)), (Ticket::made_up(number), Ok(())));
        }
        assert_eq!(std::fs::read(root.path().join("c")).unwrap(), b"stored");
    }
}
