//! The vault behind the store's queues, as a worker sees it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use crossbeam_channel::Receiver;

use super::super::store::Directories;
use super::{Bench, item};
use crate::{Replies, Store, StoreConfig};
use engine::requests::{StoreReply, StoreRequest};
use engine::ticket::Ticket;
use engine::vault::request::{
    Auth, Credentials, Precondition, VaultError, VaultOp, VaultReply, VaultRequest,
};

/// A store whose worker is the test.
struct StoreBench {
    bench: Bench,
    store: Store,
    replies: Receiver<StoreReply>,
}

impl StoreBench {
    fn new(auth: Auth) -> Self {
        StoreBench::with(auth, Arc::default())
    }

    /// A store whose vault is there, and known.
    fn known(auth: Auth) -> Self {
        let directories = Arc::new(Directories::default());
        let asked = StoreBench::with(auth, Arc::clone(&directories));
        std::fs::create_dir_all(&asked.bench.policy.dir).unwrap();
        directories.known().remember_vault(&asked.bench.policy.dir);
        asked
    }

    fn with(auth: Auth, directories: Arc<Directories>) -> Self {
        let mut bench = Bench::new();
        bench.policy.auth = auth;
        let (sender, replies) = crossbeam_channel::unbounded();
        let channels = vec![Replies { sender, wake: Box::new(|| {}) }];
        let store = Store::start(
            StoreConfig::default(),
            Instant::now(),
            channels,
            directories,
            Arc::default(),
        );
        StoreBench { bench, store: store.unwrap(), replies }
    }

    fn ask(&self, ticket: u64, extension: &str, secret: &str, op: VaultOp) {
        let basic = secret.split_once(':').map(|(user, word)| (user.into(), word.into()));
        let request = VaultRequest {
            credentials: Credentials { basic, ..Credentials::default() },
            ..self.bench.request(&item(extension), op)
        };
        let request =
            StoreRequest::Vault { ticket: Ticket::made_up(ticket), request: Box::new(request) };
        assert!(self.store.submit(0, request).is_ok());
    }

    fn answer(&self) -> (u64, Result<VaultReply, VaultError>) {
        let StoreReply::Vault { ticket, result } = self.replies.recv().unwrap() else {
            panic!("an answer to another question");
        };
        (ticket.number(), result)
    }

    fn replies(&self, number: usize) -> HashMap<u64, Result<VaultReply, VaultError>> {
        (0..number).map(|_| self.answer()).collect()
    }
}

fn put(text: &str) -> VaultOp {
    VaultOp::Keep { bytes: text.into(), precondition: Precondition::None, cancel: None }
}

#[test]
fn what_a_worker_has_kept_it_can_fetch_and_forget() {
    let store_bench = StoreBench::new(Auth::Open);
    // The server creates its vault at the start: a missing vault is not an empty one.
    store_bench.ask(1, "1", "", VaultOp::Fetch);
    assert_eq!(store_bench.answer().1.unwrap_err(), VaultError::Io);
    std::fs::create_dir_all(&store_bench.bench.policy.dir).unwrap();
    store_bench.ask(1, "1", "", VaultOp::Fetch);
    assert_eq!(store_bench.answer().1.unwrap_err(), VaultError::NotThere);
    store_bench.ask(2, "1", "", put("text"));
    assert!(matches!(store_bench.answer(), (2, Ok(VaultReply::Kept(stored))) if stored.new));
    store_bench.ask(3, "1", "", VaultOp::Fetch);
    let (3, Ok(VaultReply::Fetched(blob))) = store_bench.answer() else { panic!("not fetched") };
    assert_eq!(blob.as_slice(), Some(b"text".as_slice()));
    store_bench.ask(4, "1", "", VaultOp::Forget { precondition: Precondition::None });
    assert!(matches!(store_bench.answer(), (4, Ok(VaultReply::Forgotten))));
    store_bench.ask(5, "1", "", VaultOp::Fetch);
    assert_eq!(store_bench.answer().1.unwrap_err(), VaultError::NotThere);
    let figures = store_bench.store.figures().vault;
    assert_eq!((figures.kept, figures.fetched, figures.forgotten), (1, 1, 1));
}

#[test]
fn many_phones_that_store_at_once_are_all_answered() {
    let store_bench = StoreBench::new(Auth::Open);
    for ticket in 0..300 {
        store_bench.ask(ticket, &(ticket % 50).to_string(), "", put(&ticket.to_string()));
    }
    let replies = store_bench.replies(300);
    assert!(replies.values().all(|reply| matches!(reply, Ok(VaultReply::Kept(_)))));
    assert_eq!(store_bench.store.figures().vault.kept, 300);
}

#[test]
fn phones_that_show_the_first_secret_at_once_all_get_in_and_no_other_does() {
    let store_bench = StoreBench::new(Auth::Pinned);
    for ticket in 0..8 {
        store_bench.ask(ticket, "1", "cs:secret", put("text"));
    }
    let replies = store_bench.replies(8);
    let kept = replies.values().filter(|reply| reply.is_ok()).count();
    let busy = replies.values().filter(|reply| matches!(reply, Err(VaultError::Busy))).count();
    assert!(kept >= 1 && kept + busy == 8, "{replies:?}");
    store_bench.ask(9, "1", "cs:secret", VaultOp::Fetch);
    assert!(store_bench.answer().1.is_ok());
    store_bench.ask(10, "1", "cs:guess", VaultOp::Fetch);
    assert_eq!(store_bench.answer().1.unwrap_err(), VaultError::Unauthorized);
}

#[test]
fn a_store_that_ends_answers_all_that_it_took() {
    let store_bench = StoreBench::new(Auth::Pinned);
    for ticket in 0..20 {
        store_bench.ask(ticket, &ticket.to_string(), "cs:secret", put("text"));
    }
    let StoreBench { store, replies, bench } = store_bench;
    drop(store);
    assert_eq!(replies.try_iter().count(), 20);
    drop(bench);
}

#[test]
fn a_vault_whose_disk_is_away_is_not_taken_for_an_empty_one() {
    let asked = StoreBench::known(Auth::Open);
    let vault = &asked.bench.policy.dir;
    let away = vault.with_file_name("away");
    asked.ask(1, "1", "", put("text"));
    assert!(asked.answer().1.is_ok());
    std::fs::rename(vault, &away).unwrap();
    // Once without a directory, and once with the mount point alone.
    for mount_point in [false, true] {
        if mount_point {
            std::fs::create_dir(vault).unwrap();
        }
        for op in
            [VaultOp::Fetch, put("other"), VaultOp::Forget { precondition: Precondition::None }]
        {
            for extension in ["1", "2"] {
                let op = match &op {
                    VaultOp::Keep { .. } => put("other"),
                    VaultOp::Forget { .. } => VaultOp::Forget { precondition: Precondition::None },
                    VaultOp::Fetch | VaultOp::Check => VaultOp::Fetch,
                };
                asked.ask(2, extension, "", op);
                assert_eq!(asked.answer().1.unwrap_err(), VaultError::Unavailable);
            }
        }
        assert_eq!(vault.exists(), mount_point);
        assert!(!mount_point || std::fs::read_dir(vault).unwrap().next().is_none());
    }
    std::fs::remove_dir(vault).unwrap();
    std::fs::rename(&away, vault).unwrap();
    asked.ask(3, "1", "", VaultOp::Fetch);
    assert!(asked.answer().1.is_ok(), "it is back");
    asked.ask(4, "2", "", put("text"));
    assert!(asked.answer().1.is_ok());
}

#[test]
fn no_secret_is_pinned_in_a_vault_whose_disk_is_away() {
    let asked = StoreBench::known(Auth::Pinned);
    std::fs::remove_dir(&asked.bench.policy.dir).unwrap();
    asked.ask(1, "1", "cs:secret", put("text"));
    assert_eq!(asked.answer().1.unwrap_err(), VaultError::Unavailable);
    assert_eq!(asked.store.figures().vault.secrets.checked, 0);
    assert!(!asked.bench.policy.dir.exists());
}
