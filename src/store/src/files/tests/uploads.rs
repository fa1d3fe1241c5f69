//! Tests that uploads are stored whole or not at all, and never twice under one name.

use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::{PermissionsExt as _, symlink};

use super::super::upload::{Reserve, UPLOADS_MAX};
use super::*;
use crate::durable::DiskStep;

#[test]
fn an_upload_is_in_the_catalog_whole_once_it_is_answered_and_not_before() {
    let mut bench = Bench::new();
    let (part, begun) = bench.begin("/common/fw.bin", UploadMode::Replace).unwrap();
    assert_eq!(begun, "/common/fw.bin");
    let part = bench.write(part, "new").unwrap();
    assert_eq!((bench.names("/common"), bench.served(0, "fw.bin")), (String::new(), None));
    let stored = bench.finish(part).unwrap();
    assert!(stored.new && stored.version.bytes == 3);
    assert_eq!(bench.served(0, "fw.bin"), Some(("fw.bin".into(), 3)));
    assert!(!bench.upload("/common/fw.bin", UploadMode::Replace, "newer").unwrap().new);
    assert_eq!(bench.served(0, "fw.bin"), Some(("fw.bin".into(), 5)));
    assert!(bench.temp_files().is_empty());
}

#[test]
fn an_upload_in_other_letters_replaces_what_is_there() {
    let mut bench = Bench::new();
    bench.put("common/Fw/image.bin", "old");
    let (part, begun) = bench.begin("/common/fw/IMAGE.BIN", UploadMode::Replace).unwrap();
    assert_eq!(begun, "/common/Fw/image.bin");
    bench.finish(part).unwrap();
    assert_eq!(bench.names("/common/fw"), "image.bin");
    // Two uploads that begin before either is there.
    let (one, _) = bench.begin("/common/NEW", UploadMode::Replace).unwrap();
    let (other, _) = bench.begin("/common/new", UploadMode::Replace).unwrap();
    let (one, other) = (bench.write(one, "one").unwrap(), bench.write(other, "other").unwrap());
    assert!(bench.finish(one).unwrap().new);
    assert!(!bench.finish(other).unwrap().new);
    assert_eq!(bench.names("/common"), "Fw NEW");
    assert_eq!(bench.text("common/NEW").as_deref(), Some("other"));
}

#[test]
fn an_upload_into_a_directory_that_is_renamed_meanwhile_is_refused() {
    let mut bench = Bench::new();
    bench.put("common/new/other", "x");
    let (part, _) = bench.begin("/common/new/a", UploadMode::Replace).unwrap();
    let part = bench.write(part, "one").unwrap();
    let at = |name: &str| bench.path(&format!("common/{name}"));
    std::fs::rename(at("new"), at("moved")).unwrap();
    assert_eq!(bench.finish(part), Err(FilesError::NotThere));
    assert_eq!(bench.text("common/moved/a"), None);
}

#[test]
fn of_two_uploads_of_one_name_the_later_end_wins_whole() {
    let mut bench = Bench::new();
    let (mut first, _) = bench.begin("/common/a", UploadMode::Replace).unwrap();
    let (mut second, _) = bench.begin("/common/a", UploadMode::Replace).unwrap();
    for _ in 0..3 {
        first = bench.write(first, "11").unwrap();
        second = bench.write(second, "2").unwrap();
    }
    bench.finish(second).unwrap();
    assert_eq!(bench.text("common/a").as_deref(), Some("222"));
    bench.finish(first).unwrap();
    assert_eq!(bench.text("common/a").as_deref(), Some("111111"));
    assert!(bench.temp_files().is_empty());
}

#[test]
fn whoever_reads_the_old_version_reads_it_to_its_end() {
    let mut bench = Bench::new();
    bench.put("common/a", "old version");
    for mode in [UploadMode::Replace, UploadMode::Append, UploadMode::Resume(3)] {
        let before = bench.text("common/a").unwrap();
        let mut reader = fs::File::open(bench.path("common/a")).unwrap();
        let (part, _) = bench.begin("/common/a", mode).unwrap();
        let part = bench.write(part, " and what is new").unwrap();
        assert_eq!(bench.text("common/a"), Some(before.clone()), "{mode:?}");
        bench.finish(part).unwrap();
        let mut read = String::new();
        reader.seek(SeekFrom::Start(0)).unwrap();
        reader.read_to_string(&mut read).unwrap();
        assert_eq!(read, before, "{mode:?}");
    }
}

#[test]
fn appending_and_going_on_keep_what_was_there() {
    let mut bench = Bench::new();
    assert!(bench.upload("/common/a", UploadMode::Append, "one ").unwrap().new);
    bench.upload("/common/A", UploadMode::Append, "two").unwrap();
    assert_eq!(bench.text("common/a").as_deref(), Some("one two"));
    let (part, _) = bench.begin("/common/a", UploadMode::Resume(4)).unwrap();
    assert_eq!(part.bytes(), 4);
    let part = bench.write(part, "three").unwrap();
    assert_eq!(part.bytes(), 9);
    bench.finish(part).unwrap();
    assert_eq!(bench.text("common/a").as_deref(), Some("one three"));
    bench.upload("/common/a", UploadMode::Resume(0), "new").unwrap();
    assert_eq!(bench.text("common/a").as_deref(), Some("new"));
    assert_eq!(bench.begin("/common/a", UploadMode::Resume(4)).err(), Some(FilesError::BeyondEnd));
    assert_eq!(
        bench.begin("/common/none", UploadMode::Resume(4)).err(),
        Some(FilesError::NotThere)
    );
    bench.upload("/common/a", UploadMode::Resume(3), "er").unwrap();
    assert_eq!(bench.text("common/a").as_deref(), Some("newer"), "a refusal leaves no trace");
    assert!(bench.temp_files().is_empty());
}

#[test]
fn what_was_broken_off_is_not_gone_on_with_at_the_end_of_an_older_version() {
    let mut bench = Bench::new();
    bench.put("common/a", "old version");
    let (part, _) = bench.begin("/common/a", UploadMode::Replace).unwrap();
    let part = bench.write(part, "new").unwrap();
    drop(part);
    assert!(bench.temp_files().is_empty());
    assert_eq!(bench.begin("/common/A", UploadMode::Resume(3)).err(), Some(FilesError::BrokenOff));
    assert_eq!(bench.text("common/a").as_deref(), Some("old version"));
    bench.upload("/common/a", UploadMode::Replace, "new version").unwrap();
    bench.upload("/common/a", UploadMode::Resume(11), " 2").unwrap();
    assert_eq!(bench.text("common/a").as_deref(), Some("new version 2"));
}

#[test]
fn an_upload_that_is_to_have_a_name_of_its_own_replaces_nothing() {
    let mut bench = Bench::new();
    bench.put("common/log", "there");
    let (first, name) = bench.begin("/common/LOG", UploadMode::Unique).unwrap();
    assert_eq!(name, "/common/log.1");
    let (second, name) = bench.begin("/common/log", UploadMode::Unique).unwrap();
    assert_eq!(name, "/common/log.2", "the other is under way");
    bench.put("common/log.2", "somebody was faster");
    bench.finish(first).unwrap();
    assert_eq!(bench.finish(second).err(), Some(FilesError::Exists));
    assert_eq!(bench.text("common/log.2").as_deref(), Some("somebody was faster"));
    let (part, name) = bench.begin("/common/free", UploadMode::Unique).unwrap();
    assert_eq!(name, "/common/free");
    assert!(bench.finish(part).unwrap().new);
    assert!(bench.temp_files().is_empty());
}

#[test]
fn an_upload_goes_where_files_are_and_nowhere_else() {
    let mut bench = Bench::new();
    bench.put("common/dir/file", "x");
    let mut begin = |path: &str| bench.begin(path, UploadMode::Replace).err();
    assert_eq!(begin("/common/dir"), Some(FilesError::IsDirectory));
    assert_eq!(begin("/common/none/file"), Some(FilesError::NotThere));
    assert_eq!(begin("/common/dir/file/x"), Some(FilesError::NotDirectory));
    assert_eq!(begin("/common/.ringpost-1-1"), forbidden(ForbiddenReason::Hidden));
    assert_eq!(begin("/common/.git/config"), forbidden(ForbiddenReason::Hidden));
    assert_eq!(begin("/common/HTTP_allow_IP.txt"), forbidden(ForbiddenReason::Protected));
    assert!(matches!(begin("/common/nul"), Some(FilesError::Forbidden(ForbiddenReason::Name(_)))));
    assert_eq!(begin("/file"), forbidden(ForbiddenReason::Virtual));
    assert_eq!(begin("/"), forbidden(ForbiddenReason::Virtual));
    assert_eq!(begin("/common"), forbidden(ForbiddenReason::Root));
    assert_eq!(begin("/none/file"), Some(FilesError::NotThere));
    assert!(bench.temp_files().is_empty());
}

#[test]
fn a_link_is_replaced_by_a_file_and_what_it_led_to_stays() {
    let mut bench = Bench::new();
    bench.put("outside", "outside");
    bench.put("common/v1", "one");
    symlink("v1", bench.path("common/current")).unwrap();
    symlink("../outside", bench.path("common/out")).unwrap();
    bench.upload("/common/current", UploadMode::Append, " two").unwrap();
    bench.upload("/common/out", UploadMode::Replace, "inside").unwrap();
    assert_eq!(bench.text("common/v1").as_deref(), Some("one"));
    assert_eq!(bench.text("common/current").as_deref(), Some("one two"));
    assert_eq!(bench.text("outside").as_deref(), Some("outside"));
    assert!(!bench.path("common/out").is_symlink());
    symlink("../outside", bench.path("common/out-2")).unwrap();
    let read = bench.begin("/common/out-2", UploadMode::Append).err();
    assert_eq!(read, forbidden(ForbiddenReason::Special));
}

#[test]
fn a_new_file_has_the_mode_of_the_one_that_it_replaces() {
    let mut bench = Bench::new();
    let mode = |bench: &Bench, name: &str| {
        fs::metadata(bench.path(name)).unwrap().permissions().mode() & 0o777
    };
    bench.upload("/common/new", UploadMode::Replace, "x").unwrap();
    assert_eq!(mode(&bench, "common/new") & !0o044, 0o600);
    fs::set_permissions(bench.path("common/new"), fs::Permissions::from_mode(0o640)).unwrap();
    bench.upload("/common/new", UploadMode::Replace, "y").unwrap();
    assert_eq!(mode(&bench, "common/new"), 0o640);
}

#[test]
fn no_step_that_fails_is_acknowledged_and_the_old_version_stays() {
    for step in [
        DiskStep::Create,
        DiskStep::Write,
        DiskStep::Sync,
        DiskStep::Rename,
        DiskStep::SyncDirectory,
    ] {
        for crash in [false, true] {
            let mut bench = Bench::new();
            bench.put("common/a", "old");
            bench.fail(step, crash);
            let stored = bench.upload("/common/a", UploadMode::Replace, "new");
            assert_eq!(stored.err(), Some(FilesError::Io), "{step:?}");
            let temp_files = bench.temp_files();
            if step != DiskStep::SyncDirectory {
                assert_eq!(bench.text("common/a").as_deref(), Some("old"), "{step:?}");
            }
            assert!(crash || temp_files.is_empty(), "{step:?} leaves {temp_files:?}");
            // As after a crash: the next process clears the remains, and continues.
            let (opens, _) = unbounded();
            bench.files = Files::new(bench.published.clone(), opens);
            bench.upload("/common/a", UploadMode::Replace, "newer").unwrap();
            assert_eq!(bench.text("common/a").as_deref(), Some("newer"));
            assert!(bench.temp_files().is_empty(), "{step:?}");
        }
    }
}

#[test]
fn what_another_process_still_writes_is_not_swept_away() {
    let mut bench = Bench::new();
    let (part, _) = bench.begin("/common/a", UploadMode::Replace).unwrap();
    let (opens, _) = unbounded();
    let mut next = Files::new(bench.published.clone(), opens);
    next.sweep(&bench.path("common"));
    let part = bench.write(part, "whole").unwrap();
    bench.finish(part).unwrap();
    assert_eq!(bench.text("common/a").as_deref(), Some("whole"));
}

#[test]
fn a_file_that_is_too_large_is_refused_and_leaves_nothing() {
    let mut bench = Bench::new();
    bench.tree.bytes_max = 10;
    bench.upload("/common/a", UploadMode::Replace, "0123456789").unwrap();
    let refused = bench.upload("/common/a", UploadMode::Replace, "0123456789a");
    assert_eq!(refused.err(), Some(FilesError::TooLarge));
    assert_eq!(
        bench.upload("/common/a", UploadMode::Append, "a").err(),
        Some(FilesError::TooLarge)
    );
    assert_eq!(bench.text("common/a").as_deref(), Some("0123456789"));
    assert!(bench.temp_files().is_empty());
}

#[test]
fn what_is_kept_for_the_phones_data_is_not_used_up() {
    let mut bench = Bench::new();
    bench.put("common/a", "old");
    let (part, _) = bench.begin("/common/b", UploadMode::Replace).unwrap();
    // The whole disk, of which something is always in use.
    bench.files.reserve = Reserve { bytes_max: u64::MAX, share: 1 };
    assert_eq!(bench.write(part, "x").err(), Some(FilesError::Full));
    for mode in [UploadMode::Replace, UploadMode::Append, UploadMode::Resume(2)] {
        assert_eq!(bench.begin("/common/a", mode).err(), Some(FilesError::Full), "{mode:?}");
    }
    assert_eq!(
        bench.fault(FilesOp::Touch { at: at("/common/a"), unix_s: 1 }),
        Some(FilesError::Full)
    );
    assert!(bench.temp_files().is_empty());
    bench.execute(FilesOp::Delete { at: at("/common/a") }).expect("room can be made");
}

#[test]
fn too_many_uploads_at_a_time_are_told_to_come_again() {
    let mut bench = Bench::new();
    let begin = |bench: &mut Bench, number: usize| {
        bench.begin(&format!("/common/{number}"), UploadMode::Replace)
    };
    let mut parts: Vec<_> =
        (0..UPLOADS_MAX).map(|number| begin(&mut bench, number).unwrap().0).collect();
    assert_eq!(begin(&mut bench, UPLOADS_MAX).err(), Some(FilesError::Busy));
    let Ok(FilesReply::Discarded) = bench.execute(FilesOp::Discard { part: parts.pop().unwrap() })
    else {
        panic!("not discarded")
    };
    assert!(begin(&mut bench, UPLOADS_MAX).is_ok());
    drop(parts);
    assert!(bench.temp_files().is_empty());
}

#[test]
fn a_part_that_was_made_up_is_refused_and_nothing_else() {
    let mut bench = Bench::new();
    assert_eq!(bench.write(PartialFile::made_up(3), "x").err(), Some(FilesError::Io));
    assert_eq!(bench.finish(PartialFile::made_up(3)).err(), Some(FilesError::Io));
}

#[test]
fn two_who_append_at_once_both_find_their_lines_in_the_file() {
    let mut bench = Bench::new();
    for before in [None, Some("zero\n")] {
        let there = before.inspect(|text| bench.put("common/log", text)).unwrap_or_default();
        let (one, _) = bench.begin("/common/log", UploadMode::Append).unwrap();
        let (two, _) = bench.begin("/common/LOG", UploadMode::Append).unwrap();
        let one = bench.write(one, "one\n").unwrap();
        let two = bench.write(two, "two\n").unwrap();
        bench.finish(one).unwrap();
        let two = bench.finish(two).unwrap();
        let text = bench.text("common/log").unwrap_or_default();
        assert!(!two.new || before.is_none());
        assert_eq!(text, format!("{there}one\ntwo\n"));
        assert!(bench.temp_files().is_empty());
        bench.execute(FilesOp::Delete { at: at("/common/log") }).unwrap();
    }
}

#[test]
fn what_is_appended_goes_behind_whatever_is_there_by_then() {
    let mut bench = Bench::new();
    bench.put("common/log", "old\n");
    let (part, _) = bench.begin("/common/log", UploadMode::Append).unwrap();
    let part = bench.write(part, "more\n").unwrap();
    bench.upload("/common/log", UploadMode::Replace, "new\n").unwrap();
    bench.finish(part).unwrap();
    assert_eq!(bench.text("common/log").as_deref(), Some("new\nmore\n"));
    let (part, _) = bench.begin("/common/log", UploadMode::Append).unwrap();
    let part = bench.write(part, "last\n").unwrap();
    bench.execute(FilesOp::Delete { at: at("/common/log") }).unwrap();
    assert!(bench.finish(part).unwrap().new);
    assert_eq!(bench.text("common/log").as_deref(), Some("last\n"));
    let (part, _) = bench.begin("/common/other", UploadMode::Append).unwrap();
    let part = bench.write(part, "two\n").unwrap();
    bench.put("common/OTHER", "one\n");
    bench.finish(part).unwrap();
    assert_eq!(bench.text("common/OTHER").as_deref(), Some("one\ntwo\n"));
    assert!(bench.temp_files().is_empty());
}

#[test]
fn no_upload_goes_on_in_the_middle_of_a_file_that_was_changed() {
    for change in ["replaced", "deleted", "written in place"] {
        let mut bench = Bench::new();
        bench.put("common/a", "old version");
        let (part, _) = bench.begin("/common/a", UploadMode::Resume(4)).unwrap();
        let part = bench.write(part, "end").unwrap();
        let expected = match change {
            "replaced" => {
                bench.upload("/common/a", UploadMode::Replace, "new version").unwrap();
                Some("new version")
            }
            "deleted" => {
                bench.execute(FilesOp::Delete { at: at("/common/a") }).unwrap();
                None
            }
            _ => {
                bench.put("common/a", "in place, and longer");
                Some("in place, and longer")
            }
        };
        assert_eq!(bench.finish(part).err(), Some(FilesError::Changed), "{change}");
        assert_eq!(bench.text("common/a").as_deref(), expected, "{change}");
        assert!(bench.temp_files().is_empty());
    }
}
