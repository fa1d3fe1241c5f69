//! Tests of carrying versions from one vault to another, and of the archives that are refused.

use std::fs;
use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use tar::{Builder, EntryType, Header};

use super::{Bench, item};
use crate::durable::{DiskStep, InjectedFault};
use crate::vault::archive::{self, ArchiveError, Intake, Limits};
use crate::vault::versions;
use engine::vault::request::{Precondition, VaultOp};
use engine::vault::timestamp::Timestamp;

const LIMITS: Limits = Limits { bytes_max: 1 << 20, latest: Timestamp(u64::MAX) };
const PATH: &str = "4711/96xxdata/20261121T045401.123456789Z.txt";

impl Bench {
    fn export(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let items = versions::items(&self.policy.dir, None).unwrap();
        archive::export(&self.policy.dir, &items, &mut bytes).unwrap();
        bytes
    }

    fn import(&mut self, bytes: &[u8]) -> (Intake, Result<(), ArchiveError>) {
        let mut intake = Intake::default();
        let vault = self.policy.dir.clone();
        let done = archive::import(&mut self.writer, &vault, bytes, LIMITS, &mut intake);
        (intake, done)
    }

    fn keep_two_and_forget(&mut self) {
        self.keep(&item("1"), "one").unwrap();
        self.keep(&item("1"), &"\0\u{7f}two".repeat(5_000)).unwrap();
        self.execute(&item("1"), VaultOp::Forget { precondition: Precondition::None }).unwrap();
        self.keep(&item("2"), "").unwrap();
    }
}

/// An archive of one member with a header that the test spoils.
fn member(path: &str, bytes: &[u8], spoil: impl FnOnce(&mut Header)) -> Vec<u8> {
    let mut header = Header::new_gnu();
    header.set_size(bytes.len() as u64);
    // Past the checks of the crate, which writes no `..`.
    header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
    spoil(&mut header);
    header.set_cksum();
    let mut archive = Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    archive.append(&header, bytes).unwrap();
    archive.into_inner().unwrap().finish().unwrap()
}

fn gzipped(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(bytes).unwrap();
    gzip.finish().unwrap()
}

fn ungzipped(bytes: &[u8]) -> Vec<u8> {
    std::io::read_to_string(flate2::read::GzDecoder::new(bytes)).unwrap().into_bytes()
}

#[test]
fn what_was_exported_is_imported_byte_for_byte_and_only_once() {
    let (mut from, mut to) = (Bench::new(), Bench::new());
    from.keep_two_and_forget();
    let archive = from.export();
    assert_eq!(archive::examine(&*archive, LIMITS).unwrap(), 4);
    let (intake, done) = to.import(&archive);
    done.unwrap();
    assert_eq!((intake.added, intake.there, intake.differing), (4, 0, 0));
    for one in [item("1"), item("2")] {
        assert_eq!(to.names(&one), from.names(&one));
        assert_eq!(intake.newest.get(&one), from.names(&one).last());
        let (there, here) = (from.policy.dir.clone(), to.policy.dir.clone());
        let dirs = [there, here].map(|dir| versions::open(&dir, &one).unwrap().unwrap());
        for name in to.names(&one) {
            let [was, is] = [&dirs[0], &dirs[1]].map(|dir| versions::read(dir, name).unwrap());
            assert_eq!(was.unwrap().as_slice(), is.unwrap().as_slice());
        }
    }
    assert_eq!(to.export(), archive);
    let (again, done) = to.import(&archive);
    done.unwrap();
    assert_eq!((again.added, again.there), (0, 4));
    assert!(to.strays().is_empty());
}

#[test]
fn what_is_newer_here_stays_the_newest_and_nothing_is_replaced() {
    let (mut from, mut to) = (Bench::new(), Bench::new());
    from.keep(&item("1"), "old").unwrap();
    let archive = from.export();
    to.keep(&item("1"), "new").unwrap();
    to.import(&archive).1.unwrap();
    let newest = versions::fetch(&to.policy.dir, &item("1")).unwrap().unwrap();
    assert_eq!(newest.as_slice(), Some(b"new".as_slice()));
    let old = to.names(&item("1"))[0];
    let path = to.policy.dir.join("1/96xxdata").join(old.to_string());
    fs::write(&path, "other").unwrap();
    let (intake, done) = to.import(&archive);
    done.unwrap();
    assert_eq!((intake.added, intake.there, intake.differing), (0, 0, 1));
    assert_eq!(intake.differing_paths, [format!("1/96xxdata/{old}")]);
    assert_eq!(fs::read(&path).unwrap(), b"other");
}

#[test]
fn two_imports_of_the_same_file_at_once_add_each_version_once() {
    let mut from = Bench::new();
    from.policy.versions_max = 1_000;
    for number in 0..40 {
        from.keep(&item("1"), &number.to_string()).unwrap();
    }
    let (archive, to) = (from.export(), Bench::new());
    let intakes = std::thread::scope(|scope| {
        let threads = [(), (), ()].map(|()| {
            let (policy, archive) = (to.policy.clone(), &archive);
            scope.spawn(move || {
                let (intake, done) = Bench { policy, ..Bench::new() }.import(archive);
                done.unwrap();
                intake
            })
        });
        threads.map(|thread| thread.join().unwrap())
    });
    assert_eq!(intakes.iter().map(|intake| intake.added).sum::<u64>(), 40);
    assert_eq!(intakes.iter().map(|intake| intake.there).sum::<u64>(), 80);
    assert_eq!(to.names(&item("1")), from.names(&item("1")));
}

#[test]
fn a_member_that_is_no_version_has_all_of_the_file_refused() {
    let message = |archive: &[u8]| match archive::examine(archive, LIMITS) {
        Err(ArchiveError::Member { path: _, why }) => why,
        other => panic!("{other:?}"),
    };
    for path in [
        "../4711/96xxdata/20261121T045401.123456789Z.txt",
        "/4711/96xxdata/20261121T045401.123456789Z.txt",
        "4711/../4712/96xxdata/20261121T045401.123456789Z.txt",
        "4711/96xxdata/../20261121T045401.123456789Z.txt",
        "..\\4711/96xxdata/20261121T045401.123456789Z.txt",
        "4711/96xxdata/20261121T045401.123456789Z.txt/x",
        "4711/96xxdata/20261121T045401.txt",
        "4711/96xxdata/.ringpost-1",
        "4711/96XXDATA/20261121T045401.123456789Z.txt",
        "ABC/96xxdata/20261121T045401.123456789Z.txt",
        ".aside/96xxdata/20261121T045401.123456789Z.txt",
        "4711/secret",
        "4711/96xxdata",
        "",
        "con/96xxdata/20261121T045401.123456789Z.txt",
    ] {
        assert!(
            message(&member(path, b"x", |_| ())).contains("extension/family/version"),
            "{path}"
        );
    }
    let kinds = [b'1', b'2', b'3', b'4', b'6', b'L', b'K', b'S', b'Z'];
    for kind in kinds.map(EntryType::new) {
        let archive = member(PATH, b"x", |header| header.set_entry_type(kind));
        assert!(message(&archive).contains("no plain file"), "{kind:?}");
    }
    let outside = member("../x/", b"", |header| header.set_entry_type(EntryType::Directory));
    assert!(message(&outside).contains("no directory that a vault has"));
    let too_large = vec![b'x'; (1 << 20) + 1];
    assert!(message(&member(PATH, &too_large, |_| ())).contains("raise that"));
    // A size beyond any memory.
    let huge = member(PATH, b"", |header| header.set_size(1 << 60));
    assert!(message(&huge).contains("larger than `max`"));
    let gone = PATH.replace(".txt", ".gone");
    assert!(message(&member(&gone, b"x", |_| ())).contains("yet has bytes"));
    let early = Limits { latest: Timestamp::of_second(1_000), ..LIMITS };
    match archive::examine(&*member(PATH, b"x", |_| ()), early) {
        Err(ArchiveError::Member { why, .. }) => assert!(why.contains("yet to come")),
        other => panic!("{other:?}"),
    }
    assert_eq!(archive::examine(&*member(PATH, b"x", |_| ()), LIMITS).unwrap(), 1);
    let dotted = member(&format!("./{PATH}"), b"x", |_| ());
    assert_eq!(archive::examine(&*dotted, LIMITS).unwrap(), 1);
}

#[test]
fn no_note_in_the_archive_takes_memory_or_renames_what_follows() {
    let mut archive = Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    let mut note = Header::new_ustar();
    note.set_entry_type(EntryType::XHeader);
    let text = b"30 path=9999/96xxdata/../../x\n";
    note.set_size(text.len() as u64);
    note.set_cksum();
    archive.append(&note, text.as_slice()).unwrap();
    let mut header = Header::new_ustar();
    header.set_path(PATH).unwrap();
    header.set_size(1);
    header.set_cksum();
    archive.append(&header, b"x".as_slice()).unwrap();
    let archive = archive.into_inner().unwrap().finish().unwrap();
    let mut bench = Bench::new();
    bench.import(&archive).1.unwrap();
    let items = versions::items(&bench.policy.dir, None).unwrap();
    assert_eq!(items, [item("4711")]);
}

#[test]
fn an_archive_that_is_damaged_anywhere_changes_nothing() {
    let mut from = Bench::new();
    from.keep_two_and_forget();
    let whole = from.export();
    let message = |bytes: &[u8]| match archive::examine(bytes, LIMITS) {
        Err(ArchiveError::Damaged(why)) => why,
        other => panic!("{other:?}"),
    };
    for bytes in 0..whole.len() {
        assert!(archive::examine(&whole[..bytes], LIMITS).is_err(), "{bytes} of {}", whole.len());
    }
    assert!(message(&whole[..whole.len() / 2]).contains("cut short"));
    assert!(message(&whole[..whole.len() - 1]).contains("cut short"));
    // The checksum at the end is checked, too.
    let mut flipped = whole.clone();
    let at = flipped.len() - 6;
    flipped[at] ^= 1;
    assert!(message(&flipped).contains("damaged"), "{}", message(&flipped));
    assert!(message(b"SET LOGSRVR 10.0.0.1\n").contains("no gzipped tar"));
    assert!(message(b"").contains("cut short"));
    assert!(message(&gzipped(b"")).contains("cut short"));
    assert!(message(&gzipped(&[b'x'; 2_000])).contains("damaged"));
    // Cut short before it was compressed: inside a member, and between two.
    let tar = ungzipped(&whole);
    assert!(message(&gzipped(&tar[..514])).contains("cut short"));
    assert!(message(&gzipped(&tar[..700])).contains("damaged"));
    assert!(message(&gzipped(&tar[..1_024])).contains("cut short"));
    // An endless end of zeros is not read.
    let long = [tar, vec![0; 3 << 20]].concat();
    assert!(message(&gzipped(&long)).contains("more behind its end"));
}

#[test]
fn what_was_added_before_the_disk_failed_is_told_and_the_rest_comes_with_the_next_import() {
    let (mut from, mut to) = (Bench::new(), Bench::new());
    from.keep_two_and_forget();
    let archive = from.export();
    to.writer.fail(Some(InjectedFault { step: DiskStep::Rename, crash: false, nth: None }));
    let (intake, done) = to.import(&archive);
    assert!(matches!(done, Err(ArchiveError::Vault(_))), "{done:?}");
    assert_eq!(intake.added, 0);
    assert!(to.strays().is_empty());
    to.writer.fail(Some(InjectedFault { step: DiskStep::SyncDirectory, crash: false, nth: None }));
    assert!(matches!(to.import(&archive).1, Err(ArchiveError::Vault(_))));
    to.writer.fail(None);
    to.import(&archive).1.unwrap();
    assert_eq!(to.export(), archive);
}
