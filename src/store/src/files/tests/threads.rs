//! Tests of files and logins behind the store's queues, as a worker sees them.

use std::time::Duration;

use argon2::{Argon2, Params};

use super::*;
use crate::vault::store::{Directories, Job, Outcome, Writer};
use crate::vault::users;
use crate::{Replies, Store, StoreConfig};
use engine::cancel::CancelToken;
use engine::catalog::{OpenError, StoreError};
use engine::requests::StoreReply;
use engine::vault::request::{Login, LoginSecret, Precondition, VaultError};
use engine::vault::upload::{OnExists, Upload};

/// A store whose worker is the test.
struct StoreBench {
    bench: Bench,
    tree: Arc<Tree>,
    store: Store,
    replies: Receiver<StoreReply>,
}

impl StoreBench {
    fn new() -> Self {
        let bench = Bench::new();
        bench.put("common/.ringpost-1-1", "left by a crash");
        let (sender, replies) = unbounded();
        let channels = vec![Replies { sender, wake: Box::new(|| {}) }];
        let (config, now) = (StoreConfig::default(), std::time::Instant::now());
        let published = bench.published.clone();
        let store = Store::start(config, now, channels, Arc::default(), published).unwrap();
        StoreBench { tree: Arc::new(bench.tree.clone()), bench, store, replies }
    }

    fn answer(&self, request: StoreRequest) -> StoreReply {
        self.store.submit(0, request).unwrap();
        self.replies.recv_timeout(Duration::from_secs(60)).unwrap()
    }

    fn execute(&self, op: FilesOp) -> Result<FilesReply, FilesError> {
        let (ticket, tree) = (ASKED, self.tree.clone());
        let request = StoreRequest::Files { ticket, tree, op: Box::new(op) };
        let StoreReply::Files { ticket: ASKED, result } = self.answer(request) else {
            unreachable!("another answer")
        };
        result
    }

    fn log_in(&self, name: &str, password: &str) -> Result<(), VaultError> {
        let login = Box::new(Login {
            client: [10, 0, 0, 1].into(),
            users: vec![self.bench.path("users.txt")],
            name: name.into(),
            secret: LoginSecret::Password(password.into()),
            cancel: CancelToken::default(),
        });
        assert!(!format!("{login:?}").contains(password));
        let reply = self.answer(StoreRequest::Login { ticket: ASKED, login });
        let StoreReply::Login { ticket: ASKED, result } = reply else {
            unreachable!("another answer")
        };
        result.map(|place| assert_eq!(place, 0))
    }
}

#[test]
fn an_upload_goes_its_way_through_the_threads_and_back() {
    let store_bench = StoreBench::new();
    let begin = FilesOp::Begin { at: at("/common/fw.bin"), mode: UploadMode::Replace };
    let Ok(FilesReply::Begun { mut part, .. }) = store_bench.execute(begin) else {
        panic!("not begun")
    };
    for piece in ["by", "tes"] {
        let written = store_bench.execute(FilesOp::Write { part, bytes: piece.into() });
        let Ok(FilesReply::Written { part: its, .. }) = written else { panic!("not written") };
        part = its;
    }
    assert!(matches!(
        store_bench.execute(FilesOp::Finish { part, cancel: CancelToken::default() }),
        Ok(FilesReply::Stored(_))
    ));
    let (ticket, tree) = (ASKED, store_bench.tree.clone());
    let op = Box::new(FilesOp::Open { at: at("/common/FW.bin") });
    let opened = store_bench.answer(StoreRequest::Files { ticket, tree, op });
    let StoreReply::Opened { ticket: ASKED, result: Ok(blob) } = opened else { panic!("closed") };
    assert_eq!(blob.as_slice(), Some(b"bytes".as_slice()));
    let gone = store_bench.execute(FilesOp::Open { at: at("/common/none") });
    assert_eq!(gone.err(), Some(FilesError::NotThere));
    assert!(!store_bench.bench.path("common/.ringpost-1-1").exists(), "swept at the start");
}

#[test]
fn an_upload_that_is_dropped_leaves_nothing_before_and_after_the_threads_stop() {
    let mut store_bench = StoreBench::new();
    let begin = |store_bench: &StoreBench, name: &str| {
        let begun = store_bench.execute(FilesOp::Begin { at: at(name), mode: UploadMode::Replace });
        let Ok(FilesReply::Begun { part, .. }) = begun else { panic!("not begun") };
        part
    };
    let (early, late) = (begin(&store_bench, "/common/a"), begin(&store_bench, "/common/b"));
    drop(early);
    let resume = || FilesOp::Begin { at: at("/common/a"), mode: UploadMode::Resume(1) };
    while store_bench.execute(resume()).err() != Some(FilesError::BrokenOff) {
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(store_bench.bench.temp_files().len(), 1);
    drop(store_bench.store);
    drop(late);
    assert!(store_bench.bench.temp_files().is_empty());
}

#[test]
fn a_file_that_goes_away_under_the_loader_is_gone() {
    let store_bench = StoreBench::new();
    store_bench.bench.put("common/odd:name", "x");
    let (ticket, tree) = (ASKED, store_bench.tree.clone());
    let op = Box::new(FilesOp::Open { at: at("/common/odd:name") });
    let mut files = Files::new(store_bench.bench.published.clone(), unbounded().0);
    let entry = files.entry(&tree, &at("/common/odd:name")).unwrap();
    fs::remove_file(store_bench.bench.path("common/odd:name")).unwrap();
    let form = engine::catalog::Form::Octet;
    let opened = store_bench.answer(StoreRequest::Open { ticket, entry, form });
    assert!(matches!(opened, StoreReply::Opened { result: Err(OpenError::Gone), .. }));
    let found = store_bench.answer(StoreRequest::Files { ticket, tree, op });
    assert!(matches!(found, StoreReply::Files { result: Err(FilesError::NotThere), .. }));
}

#[test]
fn whoever_is_in_the_file_logs_in_and_nobody_else() {
    let store_bench = StoreBench::new();
    let cheap = Argon2::from(Params::new(8, 1, 1, None).unwrap());
    let hash = users::hash(&cheap, b"right").unwrap();
    fs::write(store_bench.bench.path("users.txt"), format!("ann:{hash}\nbob:{hash}:4711\n"))
        .unwrap();
    assert_eq!(store_bench.log_in("ann", "right"), Ok(()));
    assert_eq!(store_bench.log_in("bob", "right"), Ok(()));
    assert_eq!(store_bench.log_in("ann", "wrong"), Err(VaultError::Unauthorized));
    assert_eq!(store_bench.log_in("Ann", "right"), Err(VaultError::Unauthorized));
    assert_eq!(store_bench.log_in("eve", "right"), Err(VaultError::Unauthorized));
    let figures = store_bench.store.figures().vault.secrets;
    assert_eq!(figures.checked, 5, "an unknown name costs as much");
    assert_eq!(store_bench.log_in("ann", "right"), Ok(()), "remembered");
    assert_eq!(store_bench.store.figures().vault.secrets.checked, 5);
    for guess in 0..4 {
        let denied = store_bench.log_in("ann", &format!("guess {guess}")).unwrap_err();
        assert!(matches!(denied, VaultError::Unauthorized | VaultError::SlowedDown(_)));
    }
    assert!(matches!(store_bench.log_in("ann", "right"), Err(VaultError::SlowedDown(_))));
}

#[test]
fn no_line_of_phones_and_administrators_who_append_to_one_file_is_lost() {
    const LINES: usize = 60;
    let mut bench = Bench::new();
    let directories = Arc::new(Directories::default());
    let directory = directories.number(&bench.path("common")).unwrap();
    let mut writers: Vec<_> = (0..2).map(|_| Writer::new(directories.clone(), 1 << 20)).collect();
    std::thread::scope(|scope| {
        for (number, writer) in writers.iter_mut().enumerate() {
            scope.spawn(move || {
                for line in 0..LINES {
                    let upload = Upload {
                        directory,
                        name: FileName::parse(b"log").unwrap(),
                        bytes_max: 1 << 20,
                        on_exists: OnExists::Append,
                        precondition: Precondition::None,
                        cancel: None,
                        client: [10, 0, 0, 1].into(),
                        spool: None,
                        bytes: format!("writer {number} {line}\n").into_bytes(),
                    };
                    // The client tries again, as the reply says.
                    let jobs = [Job::Upload(&upload)];
                    let mut is_stored = || match &writer.run(&jobs)[..] {
                        [Outcome::Upload(Ok(_))] => true,
                        [Outcome::Upload(Err(StoreError::Busy))] => false,
                        other => unreachable!("{other:?}"),
                    };
                    while !is_stored() {}
                }
            });
        }
        for line in 0..LINES {
            let text = format!("administrator 0 {line}\n");
            while let Err(fault) = bench.upload("/common/LOG", UploadMode::Append, &text) {
                assert_eq!(fault, FilesError::Busy);
            }
        }
    });
    assert!(bench.temp_files().is_empty());
    let names: Vec<_> = fs::read_dir(bench.path("common")).unwrap().collect();
    assert_eq!(names.len(), 1, "{names:?}");
    let name = names[0].as_ref().unwrap().file_name().into_string().unwrap();
    let text = bench.text(&format!("common/{name}")).unwrap();
    for who in ["writer 0", "writer 1", "administrator 0"] {
        let found: Vec<_> = text.lines().filter(|line| line.starts_with(who)).collect();
        let expected: Vec<_> = (0..LINES).map(|line| format!("{who} {line}")).collect();
        assert_eq!(found, expected, "in the order in which they were acknowledged");
    }
}
