//! The vault behind the store's queues, as a worker sees it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use crossbeam_channel::Receiver;

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
        let mut bench = Bench::new();
        bench.policy.auth = auth;
        let (sender, replies) = crossbeam_channel::unbounded();
        let replies = vec![Replies { sender, wake: Box::new(|| {}) }];
        let store = Store::start(
            StoreConfig::default(),
            Instant::now(),
            replies,
            Arc::default(),
            Arc::default(),
        );
        StoreBench { bench, store: store.unwrap(), replies }
    }

    fn ask(&self, ticket: u64, extension: &str, secret: &str, act: VaultOp) {
        let basic = secret.split_once(':').map(|(user, word)| (user.into(), word.into()));
        let request = VaultRequest {
            credentials: Credentials { basic, ..Credentials::default() },
            ..self.bench.request(&item(extension), act)
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
    let asked = StoreBench::new(Auth::Open);
    // The server creates its vault at the start: a missing vault is not an empty one.
    asked.ask(1, "1", "", VaultOp::Fetch);
    assert_eq!(asked.answer().1.unwrap_err(), VaultError::Io);
    std::fs::create_dir_all(&asked.bench.policy.dir).unwrap();
    asked.ask(1, "1", "", VaultOp::Fetch);
    assert_eq!(asked.answer().1.unwrap_err(), VaultError::NotThere);
    asked.ask(2, "1", "", put("text"));
    assert!(matches!(asked.answer(), (2, Ok(VaultReply::Kept(stored))) if stored.new));
    asked.ask(3, "1", "", VaultOp::Fetch);
    let (3, Ok(VaultReply::Fetched(blob))) = asked.answer() else { panic!("not fetched") };
    assert_eq!(blob.as_slice(), Some(b"text".as_slice()));
    asked.ask(4, "1", "", VaultOp::Forget { precondition: Precondition::None });
    assert!(matches!(asked.answer(), (4, Ok(VaultReply::Forgotten))));
    asked.ask(5, "1", "", VaultOp::Fetch);
    assert_eq!(asked.answer().1.unwrap_err(), VaultError::NotThere);
    let figures = asked.store.figures().vault;
    assert_eq!((figures.kept, figures.fetched, figures.forgotten), (1, 1, 1));
}

#[test]
fn many_phones_that_store_at_once_are_all_answered() {
    let asked = StoreBench::new(Auth::Open);
    for ticket in 0..300 {
        asked.ask(ticket, &(ticket % 50).to_string(), "", put(&ticket.to_string()));
    }
    let replies = asked.replies(300);
    assert!(replies.values().all(|reply| matches!(reply, Ok(VaultReply::Kept(_)))));
    assert_eq!(asked.store.figures().vault.kept, 300);
}

#[test]
fn phones_that_show_the_first_secret_at_once_all_get_in_and_no_other_does() {
    let asked = StoreBench::new(Auth::Pinned);
    for ticket in 0..8 {
        asked.ask(ticket, "1", "cs:secret", put("text"));
    }
    let replies = asked.replies(8);
    let kept = replies.values().filter(|reply| reply.is_ok()).count();
    let busy = replies.values().filter(|reply| matches!(reply, Err(VaultError::Busy))).count();
    assert!(kept >= 1 && kept + busy == 8, "{answers:?}");
    asked.ask(9, "1", "cs:secret", VaultOp::Fetch);
    assert!(asked.answer().1.is_ok());
    asked.ask(10, "1", "cs:guess", VaultOp::Fetch);
    assert_eq!(asked.answer().1.unwrap_err(), VaultError::Unauthorized);
}

#[test]
fn a_store_that_ends_answers_all_that_it_took() {
    let asked = StoreBench::new(Auth::Pinned);
    for ticket in 0..20 {
        asked.ask(ticket, &ticket.to_string(), "cs:secret", put("text"));
    }
    let StoreBench { store, replies, bench } = asked;
    drop(store);
    assert_eq!(replies.try_iter().count(), 20);
    drop(bench);
}
