//! Tests that archiving by month loses nothing, whatever fails.

use std::collections::BTreeMap;
use std::fs;

use super::super::archive_monthly::{self, ArchiveReport};
use super::super::versions::{self, VersionName};
use super::{Bench, item};
use crate::durable::{Disk, DiskStep, InjectedFault};
use engine::vault::names::Item;
use engine::vault::request::ArchivePolicy;
use engine::vault::timestamp::Timestamp;
use wire::time::Duration;

const EVER: (Timestamp, Timestamp) = (Timestamp(0), Timestamp(u64::MAX));
const DAY_S: u64 = 86_400;

/// All versions, by item and name, and where they are.
type There = BTreeMap<(Item, VersionName), Vec<u8>>;

fn now() -> Timestamp {
    Timestamp::parse("20261121T050041.000000000Z").unwrap()
}

impl Bench {
    /// A vault that keeps two versions, and three months of versions of two people.
    fn with_months() -> Self {
        let mut bench = Bench::new();
        bench.policy.versions_max = 2;
        bench.policy.age_max = Duration::from_secs(3_650 * DAY_S);
        let keep = Duration::from_secs(730 * DAY_S);
        bench.policy.archive = Some(ArchivePolicy { keep, hour: 2 });
        for (extension, family) in [("1", "96xxdata"), ("1", "16xxdata"), ("2", "96xxdata")] {
            let item = Item::new(extension, family).unwrap();
            for day in ["0902", "0930", "1001", "1031", "1120"] {
                let text = format!("{item} {day} ").repeat(300);
                bench.write(&item, &format!("2026{day}T120000.000000001Z.txt"), &text);
            }
            bench.write(&item, "20261015T120000.000000000Z.gone", "");
            bench.write(&item, "20261120T130000.000000000Z.txt", "newest");
        }
        bench
    }

    fn write(&self, item: &Item, name: &str, text: &str) {
        let dir = self.directory(item);
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join(name), text).unwrap();
    }

    fn gather(&self, disk: &mut Disk) -> ArchiveReport {
        archive_monthly::gather_with(disk, &self.policy, now(), || true)
    }

    /// All versions in their directories.
    fn here(&self) -> There {
        let mut there = There::new();
        for item in versions::items(&self.policy.dir, None).unwrap() {
            let dir = versions::open(&self.policy.dir, &item).unwrap().unwrap();
            for name in versions::list(&dir).unwrap() {
                let blob = versions::read(&dir, name).unwrap().unwrap();
                there.insert((item.clone(), name), blob.as_slice().unwrap().to_vec());
            }
        }
        there
    }

    /// All versions in archives.
    fn archived(&self) -> There {
        let mut there = There::new();
        for extension in archive_monthly::extensions(&self.policy.dir).unwrap() {
            for (item, name, bytes) in
                archive_monthly::list(&self.policy.dir, &extension, EVER).unwrap()
            {
                let read = archive_monthly::read(&self.policy.dir, &item, name).unwrap().unwrap();
                assert_eq!(read.len() as u64, bytes);
                assert!(there.insert((item, name), read).is_none(), "twice in an archive");
            }
        }
        there
    }

    fn all(&self) -> There {
        let mut all = self.here();
        for (one, bytes) in self.archived() {
            let double = all.insert(one, bytes.clone());
            assert!(double.is_none_or(|double| double == bytes));
        }
        all
    }

    fn archive_names(&self) -> Vec<String> {
        let top = self.policy.dir.join("archive");
        let mut names = Vec::new();
        for month in fs::read_dir(&top).unwrap().flatten() {
            for archive in fs::read_dir(month.path()).unwrap().flatten() {
                let path = archive.path().strip_prefix(&top).unwrap().to_path_buf();
                names.push(path.to_str().unwrap().to_owned());
            }
        }
        names.sort();
        names
    }
}

#[test]
fn old_versions_go_byte_for_byte_into_an_archive_of_their_month_and_extension() {
    let bench = Bench::with_months();
    let before = bench.here();
    let gathered = bench.gather(&mut Disk::default());
    assert_eq!(gathered.troubles, Vec::<String>::new());
    assert_eq!((gathered.versions, gathered.archives, gathered.busy), (15, 4, 0));
    let names = ["2026-09/1.tar.gz", "2026-09/2.tar.gz", "2026-10/1.tar.gz", "2026-10/2.tar.gz"];
    assert_eq!(bench.archive_names(), names);
    assert_eq!((bench.here().len(), bench.archived().len()), (6, 15));
    assert_eq!(bench.all(), before);
    assert_eq!(bench.fetch(&item("1")).as_deref(), Some("newest"));
    let again = bench.gather(&mut Disk::default());
    assert_eq!((again.versions, again.archives), (0, 0));
    // A version of a month that has an archive already.
    bench.write(&item("1"), "20260901T000000.000000000Z.txt", "found late");
    let before = bench.all();
    let late = bench.gather(&mut Disk::default());
    assert_eq!((late.versions, late.archives), (1, 1));
    assert_eq!(bench.all(), before);
    assert_eq!(bench.here().len(), 6);
}

#[test]
fn wherever_the_job_is_cut_off_nothing_is_lost_and_the_next_one_ends_it() {
    const STEPS: [DiskStep; 7] = [
        DiskStep::MakeDirectory,
        DiskStep::Create,
        DiskStep::Write,
        DiskStep::Sync,
        DiskStep::Rename,
        DiskStep::SyncDirectory,
        DiskStep::Remove,
    ];
    for step in STEPS {
        for crash in [false, true] {
            for nth in [1, 2, 4] {
                let bench = Bench::with_months();
                let before = bench.here();
                let fault = Some(InjectedFault { step, crash, nth: Some(nth) });
                let mut disk = Disk::default();
                disk.fault = fault;
                let gathered = bench.gather(&mut disk);
                let told = !gathered.troubles.is_empty() || gathered.versions == 15;
                assert!(told, "{step:?} {nth} {gathered:?}");
                assert_eq!(bench.all(), before, "{step:?} {crash} {nth}");
                let rest = bench.gather(&mut Disk::default());
                assert_eq!(rest.troubles, Vec::<String>::new());
                assert_eq!(bench.all(), before, "{step:?} {crash} {nth}");
                assert_eq!((bench.here().len(), bench.archived().len()), (6, 15));
                let strays = bench.strays();
                assert!(
                    strays
                        .iter()
                        .all(|path| path.ends_with("1.tar.gz") || path.ends_with("2.tar.gz")),
                    "{step:?} {crash} {nth} {strays:?}"
                );
            }
        }
    }
}

#[test]
fn an_archive_that_is_damaged_is_named_and_neither_written_over_nor_relied_on() {
    let bench = Bench::with_months();
    bench.gather(&mut Disk::default());
    let path = bench.policy.dir.join("archive/2026-09/1.tar.gz");
    let mut bytes = fs::read(&path).unwrap();
    let half = bytes.len() / 2;
    bytes.truncate(half);
    fs::write(&path, &bytes).unwrap();
    bench.write(&item("1"), "20260901T000000.000000000Z.txt", "late");
    bench.write(&item("2"), "20260901T000000.000000000Z.txt", "late");
    let gathered = bench.gather(&mut Disk::default());
    assert_eq!((gathered.versions, gathered.archives), (1, 1), "the other person's goes on");
    assert_eq!(gathered.troubles.len(), 1);
    assert!(gathered.troubles[0].contains("2026-09/1.tar.gz"), "{:?}", gathered.troubles);
    assert_eq!(fs::read(&path).unwrap(), bytes);
    assert!(bench.directory(&item("1")).join("20260901T000000.000000000Z.txt").exists());
    assert!(archive_monthly::list(&bench.policy.dir, "1", EVER).is_err());
    let (from, to) = (now(), now());
    assert!(
        archive_monthly::list(&bench.policy.dir, "1", (from, to)).is_ok(),
        "another month is read"
    );
}

#[test]
fn archives_go_when_all_of_their_month_is_too_old() {
    let mut bench = Bench::with_months();
    bench.gather(&mut Disk::default());
    fs::write(bench.policy.dir.join("archive/2026-09/notes.txt"), "").unwrap();
    // Until the 30th of September, and until the first of October.
    for (days, expired) in [(52, 0), (51, 2)] {
        let keep = Duration::from_secs(days * DAY_S);
        bench.policy.archive = Some(ArchivePolicy { keep, hour: 2 });
        assert_eq!(bench.gather(&mut Disk::default()).expired, expired, "{days}");
    }
    let names = ["2026-09/notes.txt", "2026-10/1.tar.gz", "2026-10/2.tar.gz"];
    assert_eq!(bench.archive_names(), names);
}

#[test]
fn versions_that_wait_for_the_archive_are_not_removed_until_they_are_too_many() {
    let mut bench = Bench::with_months();
    for number in 0..1_010 {
        bench.write(&item("1"), &format!("20251001T000000.{number:09}Z.txt"), "x");
    }
    bench.keep(&item("1"), "new").unwrap();
    assert_eq!(bench.names(&item("1")).len(), 1_000 + 2);
    assert_eq!(bench.writer.versions_pruned(), 1_010 + 7 + 1 - 1_002);
    bench.policy.archive = None;
    bench.keep(&item("1"), "newer").unwrap();
    assert_eq!(bench.names(&item("1")).len(), 2);
}

#[test]
fn two_jobs_beside_a_phone_that_stores_lose_nothing() {
    let mut bench = Bench::with_months();
    let before = bench.here();
    let policy = bench.policy.clone();
    let gathered = std::thread::scope(|scope| {
        let job = || archive_monthly::gather(&policy, now(), || true);
        let jobs = [scope.spawn(job), scope.spawn(job)];
        for number in 0..20 {
            bench.keep(&item("1"), &format!("during {number}")).unwrap();
        }
        jobs.map(|job| job.join().unwrap())
    });
    let troubles: Vec<_> = gathered.iter().flat_map(|one| &one.troubles).collect();
    assert!(troubles.is_empty(), "{troubles:?}");
    let all = bench.all();
    assert!(before.iter().all(|(one, bytes)| all.get(one) == Some(bytes)));
    assert_eq!(all.len(), before.len() + 20);
    bench.gather(&mut Disk::default());
    assert_eq!(bench.all(), all);
}

#[test]
fn a_job_that_is_told_to_stop_stops_between_two_archives() {
    let bench = Bench::with_months();
    let before = bench.here();
    let gathered = archive_monthly::gather(&bench.policy, now(), || false);
    assert_eq!((gathered.versions, gathered.archives), (0, 0));
    assert_eq!(bench.here(), before);
    bench.gather(&mut Disk::default());
    let none = Bench { policy: Bench::new().policy, ..Bench::new() };
    assert_eq!(archive_monthly::gather(&none.policy, now(), || true), ArchiveReport::default());
}
