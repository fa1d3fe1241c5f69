//! Tests of the vault as a whole: on a disk of its own, with steps that fail.

mod archive;
mod archive_monthly;
mod auth;
mod bounds;
mod cancels;
mod threads;
mod write;

use std::path::PathBuf;
use std::sync::Arc;

use super::store::{Job, Outcome, Writer};
use super::versions::{self, VersionName};
use engine::cancel::CancelToken;
use engine::catalog::Stored;
use engine::vault::names::Item;
use engine::vault::request::{
    Auth, Credentials, Precondition, Unknown, VaultError, VaultOp, VaultPolicy, VaultReply,
    VaultRequest,
};
use wire::time::Duration;

/// A vault and its writer.
pub(super) struct Bench {
    top: tempfile::TempDir,
    pub(super) policy: VaultPolicy,
    pub(super) writer: Writer,
}

pub(super) fn item(extension: &str) -> Item {
    Item::new(extension, "96xxdata").unwrap()
}

impl Bench {
    pub(super) fn new() -> Self {
        let top = tempfile::tempdir().unwrap();
        let policy = VaultPolicy {
            dir: top.path().join("data/vault"),
            prefixes: vec![Box::default()],
            auth: Auth::Open,
            bytes_max: 1 << 20,
            versions_max: 20,
            age_max: Duration::from_secs(90 * 86_400),
            archive: None,
            unknown: Unknown::Refuse,
            bounds: Default::default(),
        };
        Bench { top, policy, writer: writer() }
    }

    /// Drops all memory, as a crash does.
    pub(super) fn restart(&mut self) {
        self.writer = writer();
    }

    pub(super) fn request(&self, item: &Item, op: VaultOp) -> VaultRequest {
        VaultRequest {
            client: [10, 0, 0, 1].into(),
            item: item.clone(),
            credentials: Credentials::default(),
            policy: Arc::new(self.policy.clone()),
            op,
            check: CancelToken::default(),
        }
    }

    pub(super) fn execute(&mut self, item: &Item, op: VaultOp) -> Result<VaultReply, VaultError> {
        let request = self.request(item, op);
        match self.writer.run(&[Job::Vault(&request, None)]).remove(0) {
            Outcome::Vault(result) => result,
            Outcome::Upload(_) | Outcome::Deleted(_) => {
                unreachable!("nothing but a request was asked for")
            }
        }
    }

    /// A phone's request to keep "new".
    pub(super) fn keeping(&self, extension: &str) -> VaultRequest {
        let op = VaultOp::Keep {
            bytes: b"new".to_vec(),
            precondition: Precondition::None,
            cancel: None,
        };
        self.request(&item(extension), op)
    }

    /// Runs requests in one batch.
    pub(super) fn run(&mut self, requests: &[VaultRequest]) -> Vec<Result<VaultReply, VaultError>> {
        let jobs: Vec<_> = requests.iter().map(|request| Job::Vault(request, None)).collect();
        let results = self.writer.run(&jobs).into_iter().map(|outcome| match outcome {
            Outcome::Vault(result) => result,
            Outcome::Upload(_) | Outcome::Deleted(_) => {
                unreachable!("nothing but requests was asked for")
            }
        });
        results.collect()
    }

    pub(super) fn keep_if(
        &mut self,
        item: &Item,
        text: &str,
        precondition: Precondition,
    ) -> Result<Stored, VaultError> {
        self.store(item, VaultOp::Keep { bytes: text.into(), precondition, cancel: None })
    }

    /// Keeps a version unless that is cancelled.
    pub(super) fn keep_unless(
        &mut self,
        item: &Item,
        text: &str,
        cancel: CancelToken,
    ) -> Result<Stored, VaultError> {
        let (bytes, precondition) = (text.into(), Precondition::None);
        self.store(item, VaultOp::Keep { bytes, precondition, cancel: Some(cancel) })
    }

    fn store(&mut self, item: &Item, op: VaultOp) -> Result<Stored, VaultError> {
        match self.execute(item, op)? {
            VaultReply::Kept(stored) => Ok(stored),
            VaultReply::Permitted | VaultReply::Fetched(_) | VaultReply::Forgotten => {
                unreachable!("a version was to be kept")
            }
        }
    }

    pub(super) fn keep(&mut self, item: &Item, text: &str) -> Result<Stored, VaultError> {
        self.keep_if(item, text, Precondition::None)
    }

    pub(super) fn forget(&mut self, item: &Item) -> Result<(), VaultError> {
        self.execute(item, VaultOp::Forget { precondition: Precondition::None }).map(drop)
    }

    pub(super) fn fetch(&self, item: &Item) -> Option<String> {
        let blob = versions::fetch(&self.policy.dir, item).unwrap()?;
        Some(String::from_utf8(blob.as_slice().unwrap().to_vec()).unwrap())
    }

    pub(super) fn directory(&self, item: &Item) -> PathBuf {
        self.policy.dir.join(&*item.extension).join(item.family)
    }

    pub(super) fn names(&self, item: &Item) -> Vec<VersionName> {
        match versions::open(&self.policy.dir, item).unwrap() {
            Some(dir) => versions::list(&dir).unwrap(),
            None => Vec::new(),
        }
    }

    /// Returns every file beneath the vault that is not a version.
    pub(super) fn strays(&self) -> Vec<PathBuf> {
        let mut strays = Vec::new();
        let mut open = vec![self.policy.dir.clone()];
        while let Some(dir) = open.pop() {
            let Ok(entries) = std::fs::read_dir(&dir) else { continue };
            for path in entries.map(|entry| entry.unwrap().path()) {
                let name = path.file_name().unwrap().to_str().unwrap();
                if path.is_dir() {
                    open.push(path);
                } else if VersionName::parse(name).is_none()
                    && ![".sequence", "index"].contains(&name)
                {
                    strays.push(path);
                }
            }
        }
        strays
    }
}

fn writer() -> Writer {
    Writer::new(Arc::default(), 1 << 30)
}
