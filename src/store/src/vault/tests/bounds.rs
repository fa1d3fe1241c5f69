//! Tests of what is bounded in a vault: floods, bytes, extensions, numbers, and leaps of the clock.

use std::fs;

use super::super::sequence::Sequences;
use super::super::versions::{self, VersionName};
use super::super::{note, numbered, prune, write};
use super::{Bench, item};
use crate::durable::Disk;
use engine::vault::request::{ArchivePolicy, VaultError, VaultRequest};
use engine::vault::timestamp::Timestamp;
use wire::time::Duration;

#[test]
fn a_flood_of_one_item_pushes_out_nothing_that_is_older() {
    for archive in [None, Some(ArchivePolicy { keep: Duration::from_secs(900_000_000), hour: 2 })] {
        let mut bench = Bench::new();
        bench.policy.archive = archive;
        let day = 86_400;
        let now_s = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
        bench.keep(&item("1"), "first").unwrap();
        let dir = bench.directory(&item("1"));
        for age in 1..=10 {
            let old = VersionName { stamp: Timestamp::of_second(now_s - age * day), gone: false };
            fs::write(dir.join(old.to_string()), format!("{age} days old")).unwrap();
        }
        let flood: Vec<_> = (0..1_025).map(|_| bench.keeping("1")).collect();
        for part in flood.chunks(50) {
            assert!(bench.run(part).iter().all(Result::is_ok));
        }
        let names = bench.names(&item("1"));
        let texts: Vec<_> = names
            .iter()
            .map(|name| fs::read_to_string(dir.join(name.to_string())).unwrap())
            .collect();
        let old: Vec<_> = (1..=10).rev().map(|age| format!("{age} days old")).collect();
        assert_eq!(texts[..10], old, "{archive:?}");
        assert!(archive.is_some() || names.len() == 20);
        assert!(names.len() < 1_100, "and of the flood, no more than can wait");
    }
}

#[test]
fn what_is_left_of_a_flood_counts_by_how_soon_it_came() {
    let mut bench = Bench::new();
    let (mut disk, mut sequences) = (Disk::default(), Sequences::default());
    let vault = bench.policy.dir.clone();
    let start = Timestamp::of_second(1_800_000_000).0;
    let older = (0..12).map(|n| n * 1_000_000_000);
    let flood = (0..60).map(|n| 12_000_000_000 + n * 700_000_000);
    for (n, at) in older.chain(flood).enumerate() {
        let (text, now) = (n.to_string(), Timestamp(start + at));
        let placed =
            write::add((&mut disk, &mut sequences), &vault, &item("1"), Some(text.as_bytes()), now);
        prune::prune(&disk, &placed.unwrap().unwrap(), &bench.policy, now);
    }
    let dir = bench.directory(&item("1"));
    let names = bench.names(&item("1"));
    let texts: Vec<_> =
        names.iter().map(|name| fs::read_to_string(dir.join(name.to_string())).unwrap()).collect();
    assert_eq!(texts[..12], (0..12).map(|n| n.to_string()).collect::<Vec<_>>());
    assert!(texts.len() == 20 && texts[19] == "71", "{texts:?}");
    bench.restart();
}

#[test]
fn a_full_vault_takes_nothing_more_and_says_so() {
    let mut bench = Bench::new();
    bench.policy.bounds.total_bytes_max = 100;
    bench.keep(&item("1"), &"x".repeat(60)).unwrap();
    bench.writer.wait_until_counted();
    // The index and the sequence file take room as well.
    assert_eq!(bench.keep(&item("2"), &"x".repeat(60)), Err(VaultError::TotalMax));
    let fill = bench.writer.limits().fill();
    assert_eq!((fill.full, fill.reserved), (1, 0));
    assert!(fill.bytes + fill.left <= fill.bytes_max);
    assert_eq!(bench.forget(&item("1")), Ok(()), "what makes room later is welcome");
}

#[test]
fn one_address_begins_no_more_extensions_than_it_may_and_goes_on_with_its_own() {
    let mut bench = Bench::new();
    bench.policy.bounds.new_max = 3;
    for number in 0..3 {
        bench.keep(&item(&number.to_string()), "x").unwrap();
    }
    assert!(matches!(bench.keep(&item("3"), "x"), Err(VaultError::TooMuch(_))));
    assert!(!bench.policy.dir.join("3").exists());
    assert!(bench.keep(&item("0"), "y").is_ok());
    let other = VaultRequest { client: [10, 0, 0, 2].into(), ..bench.keeping("3") };
    assert!(bench.run(&[other])[0].is_ok());
    assert_eq!(bench.writer.limits().fill().too_much, 1);
}

#[test]
fn each_change_has_a_number_greater_than_every_one_before() {
    let mut bench = Bench::new();
    let mut last = 0;
    for round in 0..3 {
        for extension in ["1", "2"] {
            bench.keep(&item(extension), &round.to_string()).unwrap();
            let name = *bench.names(&item(extension)).last().unwrap();
            let dir = versions::open(&bench.policy.dir, &item(extension)).unwrap().unwrap();
            let notes = note::read(&dir);
            let note = &notes[&name.stamp];
            assert!(note.sequence > last, "{} after {last}", note.sequence);
            assert_eq!((note.parent.is_some(), &*note.tenant), (round > 0, ""));
            last = note.sequence;
        }
        bench.restart();
    }
}

#[test]
fn what_was_kept_while_the_clock_was_ahead_hides_nothing_and_expels_nothing() {
    let mut bench = Bench::new();
    let (start, year) = (1_800_000_000, 365 * 86_400);
    let (mut disk, mut sequences) = (Disk::default(), Sequences::default());
    let vault = bench.policy.dir.clone();
    let leaps = numbered::clock_leaps();
    for (text, second) in [
        ("one", start),
        ("two", start + 600 + year),
        ("three", start + 1_200),
        ("four", start + 1_800),
    ] {
        let now = Timestamp::of_second(second);
        let placed =
            write::add((&mut disk, &mut sequences), &vault, &item("1"), Some(text.as_bytes()), now);
        let placed = placed.unwrap().unwrap();
        assert_eq!(disk.sync(), Vec::<std::path::PathBuf>::new());
        assert_eq!(prune::prune(&disk, &placed, &bench.policy, now), 0, "{text}");
    }
    assert!(numbered::clock_leaps() >= leaps + 2);
    assert_eq!(bench.fetch(&item("1")).as_deref(), Some("four"));
    let dir = versions::open(&vault, &item("1")).unwrap().unwrap();
    let names = bench.names(&item("1"));
    let moments = note::moments(&names, &note::read(&dir), Timestamp::of_second(start + 2_000));
    let at = |second: u64| {
        let until = moments.iter().zip(&names).filter(|one| *one.0 <= Timestamp::of_second(second));
        let name = until.max().map(|(_, name)| *name)?;
        fs::read_to_string(bench.directory(&item("1")).join(name.to_string())).ok()
    };
    assert_eq!(at(start - 1), None);
    assert_eq!(at(start + 900).as_deref(), Some("two"));
    assert_eq!(at(start + 1_500).as_deref(), Some("three"));
    assert_eq!(at(start + 1_900).as_deref(), Some("four"));
    bench.restart();
}
