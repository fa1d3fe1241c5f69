//! Tests of what is kept, of its order, and of crashes.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::super::store::{Job, Outcome};
use super::super::versions::{self, VersionName};
use super::{Bench, item};
use crate::durable::{DiskStep, InjectedFault};
use engine::vault::request::{Precondition, VaultError, VaultOp};
use engine::vault::timestamp::Timestamp;
use wire::http::response::EntityTag;
use wire::time::Duration;

#[test]
fn each_version_is_a_file_of_its_own_with_the_bytes_as_they_came() {
    let mut bench = Bench::new();
    let bytes = "\r\nABKNAME001=J\u{fc}rgen\r\n\n ";
    let first = bench.keep(&item("4711"), bytes).unwrap();
    assert!(first.new && first.version.bytes == bytes.len() as u64);
    assert_eq!(bench.fetch(&item("4711")).as_deref(), Some(bytes));
    let second = bench.keep(&item("4711"), "").unwrap();
    assert!(!second.new && second.version.bytes == 0);
    assert_eq!(bench.fetch(&item("4711")).as_deref(), Some(""));
    let names = bench.names(&item("4711"));
    assert_eq!(names.len(), 2);
    let path = bench.directory(&item("4711")).join(names[0].to_string());
    assert_eq!(fs::read_to_string(&path).unwrap(), bytes);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o027, 0);
    assert!(bench.strays().is_empty(), "{:?}", bench.strays());
}

#[test]
fn extensions_and_families_do_not_see_each_other() {
    let mut bench = Bench::new();
    let other_family = super::Item::new("4711", "16xxdata").unwrap();
    bench.keep(&item("4711"), "one").unwrap();
    assert_eq!(bench.fetch(&item("4712")), None);
    assert_eq!(bench.fetch(&other_family), None);
    bench.keep(&other_family, "two").unwrap();
    assert_eq!(bench.fetch(&item("4711")).as_deref(), Some("one"));
}

#[test]
fn a_version_that_is_fetched_has_the_tag_of_the_one_that_was_kept() {
    let mut bench = Bench::new();
    let kept: Vec<_> = ["a", "b", "c"].map(|text| bench.keep(&item("1"), text).unwrap()).into();
    let fetched = versions::fetch(&bench.policy.dir, &item("1")).unwrap().unwrap();
    assert!(fetched.version().has_same_bytes(&kept[2].version));
    // However coarse the file system's times are.
    assert!(!kept[0].version.has_same_bytes(&kept[1].version));
    assert!(kept[0].version.modified_ns < kept[1].version.modified_ns);
}

#[test]
fn what_was_forgotten_is_not_fetched_and_not_lost() {
    let mut bench = Bench::new();
    assert_eq!(bench.forget(&item("1")), Err(VaultError::NotThere));
    assert!(!bench.policy.dir.exists(), "nothing was to be kept");
    bench.keep(&item("1"), "one").unwrap();
    assert_eq!(bench.forget(&item("1")), Ok(()));
    assert_eq!(bench.fetch(&item("1")), None);
    assert_eq!(bench.forget(&item("1")), Err(VaultError::NotThere));
    assert_eq!(bench.names(&item("1")).len(), 2);
    assert!(bench.keep(&item("1"), "two").unwrap().new, "there was nothing any more");
    assert_eq!(bench.fetch(&item("1")).as_deref(), Some("two"));
}

#[test]
fn a_clock_that_is_set_back_makes_no_new_version_an_old_one() {
    let mut bench = Bench::new();
    bench.keep(&item("1"), "old").unwrap();
    let dir = bench.directory(&item("1"));
    let ahead =
        VersionName { stamp: Timestamp::parse("22001231T235959.999999999Z").unwrap(), gone: false };
    fs::write(dir.join(ahead.to_string()), "from the future").unwrap();
    assert_eq!(bench.fetch(&item("1")).as_deref(), Some("from the future"));
    bench.keep(&item("1"), "new").unwrap();
    assert_eq!(bench.fetch(&item("1")).as_deref(), Some("new"));
    bench.keep(&item("1"), "newer").unwrap();
    assert_eq!(bench.fetch(&item("1")).as_deref(), Some("newer"));
    let newest = bench.names(&item("1")).pop().unwrap();
    assert_eq!(newest.stamp.0, ahead.stamp.0 + 2);
}

#[test]
fn versions_beyond_the_number_go_and_the_newest_stay() {
    let mut bench = Bench::new();
    bench.policy.versions_max = 3;
    bench.keep(&item("1"), "5").unwrap();
    let dir = bench.directory(&item("1"));
    let now_s = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
    for number in 0..5 {
        let stamp = Timestamp::of_second(now_s - (5 - number) * 86_400);
        let name = VersionName { stamp, gone: false };
        fs::write(dir.join(name.to_string()), number.to_string()).unwrap();
    }
    bench.keep(&item("1"), "6").unwrap();
    let texts: Vec<_> = bench
        .names(&item("1"))
        .iter()
        .map(|name| fs::read_to_string(dir.join(name.to_string())).unwrap())
        .collect();
    assert_eq!(texts, ["4", "5", "6"]);
    bench.policy.versions_max = 0;
    bench.keep(&item("1"), "last").unwrap();
    assert_eq!(bench.names(&item("1")).len(), 1, "never less than the newest");
    assert_eq!(bench.fetch(&item("1")).as_deref(), Some("last"));
    assert_eq!(bench.writer.versions_pruned(), 7);
}

#[test]
fn versions_that_are_too_old_go_but_not_the_newest() {
    let mut bench = Bench::new();
    let dir = bench.directory(&item("1"));
    fs::create_dir_all(&dir).unwrap();
    for name in ["20200101T000000.000000000Z.txt", "20200102T000000.000000000Z.gone"] {
        fs::write(dir.join(name), "").unwrap();
    }
    fs::write(dir.join("notes of the administrator"), "").unwrap();
    bench.keep(&item("1"), "new").unwrap();
    assert_eq!(bench.names(&item("1")).len(), 1);
    assert!(dir.join("notes of the administrator").exists());
    bench.policy.age_max = Duration::ZERO;
    bench.keep(&item("1"), "newer").unwrap();
    assert_eq!(bench.names(&item("1")).len(), 1);
    assert_eq!(bench.fetch(&item("1")).as_deref(), Some("newer"));
}

#[test]
fn a_precondition_is_judged_where_the_write_happens() {
    let mut bench = Bench::new();
    let it = item("1");
    let denied = Err(VaultError::Precondition);
    assert_eq!(bench.keep_if(&it, "x", Precondition::Exists), denied);
    assert!(bench.names(&it).is_empty());
    let kept = bench.keep_if(&it, "one", Precondition::New).unwrap();
    assert_eq!(bench.keep_if(&it, "x", Precondition::New), denied);
    let tag = |version: &engine::catalog::blob::Version| {
        let tag = EntityTag::of(version).opaque().into();
        Precondition::Matches(vec![b"other".as_slice().into(), tag])
    };
    let second = bench.keep_if(&it, "two", tag(&kept.version)).unwrap();
    assert_eq!(bench.keep_if(&it, "x", tag(&kept.version)), denied);
    let at = second.version.modified_ns as u64 / 1_000_000_000;
    assert_eq!(bench.keep_if(&it, "x", Precondition::UnmodifiedSince(at - 1)), denied);
    assert!(bench.keep_if(&it, "three", Precondition::UnmodifiedSince(at + 1)).is_ok());
    let forget = |precondition| VaultOp::Forget { precondition };
    assert_eq!(
        bench.execute(&it, forget(tag(&kept.version))).unwrap_err(),
        VaultError::Precondition
    );
    bench.execute(&it, forget(Precondition::Exists)).unwrap();
    assert_eq!(bench.keep_if(&it, "x", tag(&second.version)), denied);
    assert!(bench.keep_if(&it, "four", Precondition::New).unwrap().new);
}

#[test]
fn of_two_who_change_what_they_saw_in_one_batch_one_is_refused() {
    let mut bench = Bench::new();
    let op =
        || VaultOp::Keep { bytes: b"mine".to_vec(), precondition: Precondition::New, cancel: None };
    let requests = [bench.request(&item("1"), op()), bench.request(&item("1"), op())];
    let jobs = [Job::Vault(&requests[0], None), Job::Vault(&requests[1], None)];
    let outcomes = bench.writer.run(&jobs);
    assert!(matches!(outcomes[0], Outcome::Vault(Ok(_))));
    assert!(matches!(outcomes[1], Outcome::Vault(Err(VaultError::Precondition))));
}

const STEPS: [DiskStep; 6] = [
    DiskStep::MakeDirectory,
    DiskStep::Create,
    DiskStep::Write,
    DiskStep::Sync,
    DiskStep::Rename,
    DiskStep::SyncDirectory,
];

#[test]
fn a_step_that_fails_is_not_acknowledged_and_leaves_no_stray() {
    for step in STEPS {
        for crash in [false, true] {
            let mut bench = Bench::new();
            bench.keep(&item("1"), "old").unwrap();
            bench.restart();
            bench.writer.fail(Some(InjectedFault { step, crash, nth: None }));
            let kept = bench.keep(&item("1"), "new");
            let new_family = bench.keep(&item("2"), "new");
            assert_eq!(new_family, Err(VaultError::Io), "{step:?}");
            if step != DiskStep::MakeDirectory {
                assert_eq!(kept, Err(VaultError::Io), "{step:?}");
            }
            bench.restart();
            let there = bench.fetch(&item("1"));
            assert!(matches!(there.as_deref(), Some("old" | "new")), "{step:?} {there:?}");
            bench.keep(&item("1"), "newer").unwrap();
            assert_eq!(bench.fetch(&item("1")).as_deref(), Some("newer"));
            assert!(bench.strays().is_empty(), "{step:?} {crash} {:?}", bench.strays());
        }
    }
}

#[test]
fn of_a_batch_nothing_is_renamed_before_it_is_synced_nor_told_before_its_directory_is() {
    let mut bench = Bench::new();
    let requests: Vec<_> = (0..40).map(|number| bench.keeping(&number.to_string())).collect();
    assert!(bench.run(&requests).iter().all(Result::is_ok));
    let steps = bench.writer.reached();
    let last = |step| steps.iter().rposition(|one| *one == step).unwrap();
    let first = |step| steps.iter().position(|one| *one == step).unwrap();
    let count = |step| steps.iter().filter(|one| **one == step).count();
    assert!(
        last(DiskStep::Write) < first(DiskStep::Sync)
            && last(DiskStep::Sync) < first(DiskStep::Rename)
    );
    assert!(last(DiskStep::Rename) < first(DiskStep::SyncDirectory));
    assert_eq!((count(DiskStep::Sync), count(DiskStep::Rename)), (40, 40));
    assert_eq!(count(DiskStep::SyncDirectory), 81, "the vault once, and two for each extension");
    let again: Vec<_> = (0..40).map(|number| bench.keeping(&number.to_string())).collect();
    assert!(bench.run(&again).iter().all(Result::is_ok));
    let steps = bench.writer.reached();
    let synced = steps.iter().filter(|one| **one == DiskStep::SyncDirectory).count();
    assert_eq!(synced, 81 + 40, "what is known to be durable is not synced again");
}

#[test]
fn of_a_batch_one_that_fails_fails_alone() {
    for step in [DiskStep::Create, DiskStep::Write, DiskStep::Sync, DiskStep::Rename] {
        let mut bench = Bench::new();
        for extension in ["1", "2", "3", "4", "5", "6", "7", "8", "9"] {
            bench.keep(&item(extension), "old").unwrap();
        }
        bench.restart();
        let requests: Vec<_> = (1..10).map(|number| bench.keeping(&number.to_string())).collect();
        bench.writer.fail(Some(InjectedFault { step, crash: false, nth: Some(3) }));
        let results = bench.run(&requests);
        let failed: Vec<_> = (1..10).filter(|number| results[number - 1].is_err()).collect();
        assert_eq!(failed.len(), 1, "{step:?}");
        for number in 1..10 {
            let expected = if failed[0] == number { "old" } else { "new" };
            let there = bench.fetch(&item(&number.to_string()));
            assert_eq!(there.as_deref(), Some(expected), "{step:?} {number}");
        }
        assert!(bench.strays().is_empty(), "{step:?}");
    }
}

#[test]
fn of_a_batch_whose_directory_cannot_be_synced_only_what_lies_there_is_refused() {
    let mut bench = Bench::new();
    for extension in ["1", "2", "3"] {
        bench.keep(&item(extension), "old").unwrap();
    }
    let synced = bench.writer.reached();
    let synced = synced.iter().filter(|one| **one == DiskStep::SyncDirectory).count();
    let requests: Vec<_> = ["1", "2", "3"].map(|one| bench.keeping(one)).into();
    let fault =
        InjectedFault { step: DiskStep::SyncDirectory, crash: false, nth: Some(synced + 2) };
    bench.writer.fail(Some(fault));
    let results = bench.run(&requests);
    assert_eq!(results.iter().filter(|one| one.is_err()).count(), 1, "{results:?}");
}

#[test]
fn wherever_a_batch_is_cut_off_each_item_has_its_old_or_its_new_version_and_both_can_go_on() {
    for step in STEPS {
        for nth in 1..14 {
            let mut bench = Bench::new();
            bench.keep(&item("1"), "old").unwrap();
            bench.keep(&item("2"), "old").unwrap();
            bench.restart();
            let mut requests: Vec<_> =
                ["1", "2", "3", "4", "1", "5", "2", "6"].map(|one| bench.keeping(one)).into();
            let precondition = Precondition::None;
            requests[1] = bench.request(&item("2"), VaultOp::Forget { precondition });
            bench.writer.fail(Some(InjectedFault { step, crash: true, nth: Some(nth) }));
            let results = bench.run(&requests);
            bench.restart();
            for (place, extension) in ["1", "2", "3", "4", "1", "5", "2", "6"].iter().enumerate() {
                let there = bench.fetch(&item(extension));
                let is_old = matches!(there.as_deref(), None | Some("old"));
                assert!(is_old || there.as_deref() == Some("new"), "{step:?} {nth} {there:?}");
                // The deletion is not the last change of item 2.
                if results[place].is_ok() && place != 1 {
                    assert_eq!(there.as_deref(), Some("new"), "{step:?} {nth}");
                }
            }
            for extension in ["1", "2", "3", "4", "5", "6"] {
                bench.keep(&item(extension), "newer").unwrap();
                assert_eq!(bench.fetch(&item(extension)).as_deref(), Some("newer"));
            }
            assert!(bench.strays().is_empty(), "{step:?} {nth}");
        }
    }
}

/// Pseudo-random numbers from a seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

/// The answers that phones may have got about one item.
#[derive(Debug, Default)]
struct ItemHistory {
    acknowledged: Option<String>,
    /// Later changes without an answer: they may be there or not.
    maybe: Vec<Option<String>>,
}

#[test]
fn whatever_fails_the_newest_acknowledged_is_what_is_fetched() {
    for seed in 0..12 {
        let mut random = Dice(seed);
        let mut bench = Bench::new();
        bench.policy.versions_max = 1 + random.below(4) as usize;
        let items = ["1", "2", "3"].map(item);
        let mut history: [ItemHistory; 3] = Default::default();
        for number in 0..40 {
            let which = random.below(3) as usize;
            if random.below(3) == 0 {
                let step = STEPS[random.below(6) as usize];
                bench.writer.fail(Some(InjectedFault {
                    step,
                    crash: random.below(2) == 0,
                    nth: None,
                }));
            }
            let text = (random.below(4) > 0).then(|| format!("{seed} {number}"));
            let done = match &text {
                Some(text) => bench.keep(&items[which], text).map(drop),
                None => bench.forget(&items[which]),
            };
            match done {
                Ok(()) => history[which] = ItemHistory { acknowledged: text, maybe: Vec::new() },
                Err(VaultError::NotThere) => assert_eq!(bench.fetch(&items[which]), None),
                Err(_) => history[which].maybe.push(text),
            }
            match random.below(3) {
                0 => bench.restart(),
                _ => bench.writer.fail(None),
            }
            for (item, history) in items.iter().zip(&history) {
                let fetched = bench.fetch(item);
                let expected = fetched == history.acknowledged || history.maybe.contains(&fetched);
                assert!(expected, "seed {seed} {item}: {fetched:?} {history:?}");
            }
        }
        bench.restart();
        bench.keep(&items[0], "last").unwrap();
        assert!(bench.strays().is_empty(), "seed {seed} {:?}", bench.strays());
    }
}

#[test]
fn a_reader_beside_a_writer_gets_the_old_or_the_new_version_whole() {
    let mut bench = Bench::new();
    bench.policy.versions_max = 1;
    bench.keep(&item("1"), &"0".repeat(10_000)).unwrap();
    let vault = bench.policy.dir.clone();
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut seen = 0_u32;
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                let blob = versions::fetch(&vault, &item("1")).unwrap().unwrap();
                let bytes = blob.as_slice().unwrap();
                assert!(bytes.len() == 10_000 && bytes.iter().all(|byte| *byte == bytes[0]));
                seen += 1;
            }
            seen
        });
        for number in 0..200_u32 {
            let text = char::from(b'0' + (number % 10) as u8).to_string().repeat(10_000);
            bench.keep(&item("1"), &text).unwrap();
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(reader.join().unwrap() > 0);
    });
}

#[test]
fn two_processes_that_keep_versions_of_one_item_lose_none() {
    let bench = Bench::new();
    let policy = bench.policy.clone();
    std::thread::scope(|scope| {
        for process in 0..4 {
            let policy = policy.clone();
            scope.spawn(move || {
                let mut bench = Bench { policy, ..Bench::new() };
                bench.policy.versions_max = 1_000;
                for number in 0..50 {
                    bench.keep(&item("1"), &format!("{process} {number}")).unwrap();
                }
            });
        }
    });
    assert_eq!(bench.names(&item("1")).len(), 200);
    assert!(bench.strays().is_empty(), "{:?}", bench.strays());
}

#[test]
fn a_crashed_writers_remains_are_removed_at_the_next_first_use() {
    let mut bench = Bench::new();
    bench.keep(&item("1"), "one").unwrap();
    bench.writer.fail(Some(InjectedFault { step: DiskStep::Sync, crash: true, nth: None }));
    bench.keep(&item("1"), "half").unwrap_err();
    assert_eq!(bench.strays().len(), 1);
    super::super::write::sweep_vault(&bench.policy.dir);
    assert!(bench.strays().is_empty());
    super::super::write::sweep_vault(&bench.policy.dir.join("none"));
}

#[test]
fn a_vault_that_cannot_be_written_to_says_which_way() {
    // Root may write anywhere, but cannot turn a file into a directory.
    let mut bench = Bench::new();
    fs::create_dir_all(bench.policy.dir.parent().unwrap()).unwrap();
    fs::write(&bench.policy.dir, "a file").unwrap();
    assert_eq!(bench.keep(&item("1"), "x"), Err(VaultError::Io));
    let full = std::io::Error::from_raw_os_error(libc::ENOSPC);
    assert_eq!(super::super::write::denied(&full), VaultError::Full);
    let over_quota = std::io::Error::from_raw_os_error(libc::EDQUOT);
    assert_eq!(super::super::write::denied(&over_quota), VaultError::Full);
    for errno in [libc::EROFS, libc::EACCES, libc::EPERM] {
        let refused = std::io::Error::from_raw_os_error(errno);
        assert_eq!(super::super::write::denied(&refused), VaultError::Forbidden);
    }
}

#[test]
fn no_link_leads_a_version_out_of_the_vault() {
    let mut bench = Bench::new();
    let outside = bench.top.path().join("outside");
    fs::create_dir(&outside).unwrap();
    bench.keep(&item("1"), "x").unwrap();
    std::os::unix::fs::symlink(&outside, bench.policy.dir.join("2")).unwrap();
    assert_eq!(bench.keep(&item("2"), "x"), Err(VaultError::Forbidden));
    let link = VersionName { stamp: Timestamp(u64::MAX / 4), gone: false };
    fs::write(outside.join("passwd"), "secret").unwrap();
    let at = bench.directory(&item("1")).join(link.to_string());
    std::os::unix::fs::symlink(outside.join("passwd"), at).unwrap();
    assert!(versions::fetch(&bench.policy.dir, &item("1")).is_err());
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 1);
}
