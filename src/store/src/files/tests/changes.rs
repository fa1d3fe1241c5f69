//! Tests of changes to directories, names and times.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};

use super::*;
use crate::durable::DiskStep;

fn make(path: &str) -> FilesOp {
    FilesOp::MakeDirectory { at: at(path) }
}

fn remove(path: &str) -> FilesOp {
    FilesOp::RemoveDirectory { at: at(path) }
}

fn delete(path: &str) -> FilesOp {
    FilesOp::Delete { at: at(path) }
}

#[test]
fn a_directory_is_made_once_whatever_its_spelling() {
    let mut bench = Bench::new();
    let Ok(FilesReply::Made { at: made }) = bench.execute(make("/common/Fw")) else { panic!() };
    assert_eq!(made, at("/common/Fw"));
    assert!(bench.path("common/Fw").is_dir());
    for again in ["/common/Fw", "/common/fw", "/COMMON/FW"] {
        assert_eq!(bench.fault(make(again)), Some(FilesError::Exists), "{again}");
    }
    assert!(bench.execute(make("/common/FW/inner")).is_ok());
    assert!(bench.path("common/Fw/inner").is_dir());
    assert_eq!(bench.fault(make("/common/none/inner")), Some(FilesError::NotThere));
    assert_eq!(bench.fault(make("/common/.x")), forbidden(ForbiddenReason::Hidden));
    assert_eq!(bench.fault(make("/new")), forbidden(ForbiddenReason::Virtual));
    assert_eq!(bench.fault(make("/")), forbidden(ForbiddenReason::Virtual));
    assert_eq!(bench.fault(make("/common")), forbidden(ForbiddenReason::Root));
    assert!(matches!(
        bench.fault(make("/common/c:")),
        Some(FilesError::Forbidden(ForbiddenReason::Name(_)))
    ));
    let long = "n".repeat(200);
    let deep = format!("/common/{long}");
    assert!(bench.execute(make(&deep)).is_ok());
    // No phone could request a name of more than 255 bytes, directories included.
    let deeper = bench.fault(make(&format!("{deep}/{long}")));
    assert!(matches!(deeper, Some(FilesError::Forbidden(ForbiddenReason::Name(_)))));
}

#[test]
fn only_an_empty_directory_is_removed_and_a_data_directory_never() {
    let mut bench = Bench::new();
    bench.put("common/a/b/file", "x");
    assert_eq!(bench.fault(remove("/common/a/b")), Some(FilesError::NotEmpty));
    assert_eq!(bench.fault(remove("/common/a/b/file")), Some(FilesError::NotDirectory));
    bench.execute(delete("/common/a/b/file")).unwrap();
    // Remains of a crash do not keep the directory.
    bench.put("common/a/b/.ringpost-1-1", "half");
    bench.execute(remove("/common/A/B")).unwrap();
    assert!(!bench.path("common/a/b").exists());
    assert_eq!(bench.fault(remove("/common/a/b")), Some(FilesError::NotThere));
    assert_eq!(bench.fault(remove("/common")), forbidden(ForbiddenReason::Root));
    assert_eq!(bench.fault(remove("/")), forbidden(ForbiddenReason::Virtual));
}

#[test]
fn a_deleted_file_is_gone_from_the_catalog_before_the_answer() {
    let mut bench = Bench::new();
    bench.upload("/common/a", UploadMode::Replace, "x").unwrap();
    assert!(bench.served(0, "a").is_some());
    bench.execute(delete("/common/A")).unwrap();
    assert_eq!(bench.served(0, "a"), None);
    assert!(!bench.path("common/a").exists());
    assert_eq!(bench.fault(delete("/common/a")), Some(FilesError::NotThere));
    assert_eq!(bench.fault(delete("/common")), forbidden(ForbiddenReason::Root));
    assert_eq!(bench.fault(delete("/common/.x")), forbidden(ForbiddenReason::Hidden));
    bench.execute(make("/common/dir")).unwrap();
    assert_eq!(bench.fault(delete("/common/dir")), Some(FilesError::IsDirectory));
}

#[test]
fn of_a_link_only_the_link_is_deleted() {
    let mut bench = Bench::new();
    bench.put("outside", "x");
    bench.put("common/v2/image", "x");
    symlink("../outside", bench.path("common/out")).unwrap();
    symlink("v2", bench.path("common/current")).unwrap();
    bench.execute(delete("/common/out")).unwrap();
    bench.execute(delete("/common/current")).unwrap();
    assert!(bench.path("outside").exists() && bench.path("common/v2/image").exists());
    assert_eq!(bench.names("/common"), "v2");
}

#[test]
fn a_renamed_file_is_in_the_catalog_under_its_new_name_alone() {
    let mut bench = Bench::new();
    bench.upload("/common/a", UploadMode::Replace, "one").unwrap();
    bench.rename("/common/a", "/common/b").unwrap();
    assert_eq!((bench.served(0, "a"), bench.served(0, "b")), (None, Some(("b".into(), 3))));
    bench.upload("/common/C", UploadMode::Replace, "three").unwrap();
    bench.rename("/common/b", "/common/c").unwrap();
    assert_eq!(bench.served(0, "c"), Some(("C".into(), 3)), "the spelling there stays");
    bench.rename("/common/c", "/tftp/D").unwrap();
    assert_eq!((bench.served(0, "c"), bench.served(1, "d")), (None, Some(("D".into(), 3))));
    assert_eq!(bench.rename("/tftp/d", "/tftp/D"), Ok(()), "nothing changes");
    assert_eq!(bench.names("/tftp"), "D");
    bench.rename("/tftp/D", "/tftp/d").unwrap();
    assert_eq!(bench.names("/tftp"), "d", "only the letters change");
    assert_eq!(bench.served(1, "d"), Some(("d".into(), 3)));
    assert_eq!(bench.rename("/tftp/x", "/tftp/y"), Err(FilesError::NotThere));
}

#[test]
fn a_renamed_directory_takes_its_files_along_and_replaces_nothing() {
    let mut bench = Bench::new();
    bench.put("common/a/x", "x");
    bench.put("common/b/y", "y");
    bench.put("common/file", "z");
    for to in ["/common/b", "/common/B", "/common/file"] {
        assert_eq!(bench.rename("/common/a", to), Err(FilesError::Exists), "{to}");
    }
    assert_eq!(bench.rename("/common/file", "/common/b"), Err(FilesError::Exists));
    let into_itself = bench.rename("/common/a", "/common/a/c");
    assert_eq!(into_itself.err(), forbidden(ForbiddenReason::IntoItself));
    bench.rename("/common/a", "/common/b/c").unwrap();
    assert_eq!(bench.served(0, "b/c/x"), Some(("b/c/x".into(), 1)));
    assert_eq!(bench.served(0, "a/x"), None);
    for (from, to) in [("/common", "/other"), ("/common", "/tftp/common")] {
        let moved = bench.rename(from, to).err();
        assert_eq!(moved, forbidden(ForbiddenReason::Root), "{from} to {to}");
    }
    assert_eq!(bench.rename("/common/b", "/b").err(), forbidden(ForbiddenReason::Virtual));
}

#[test]
fn a_directory_that_holds_what_must_stay_stays() {
    let mut bench = Bench::with(&["site", "site/deep/root"], &["site/own/vault"]);
    for (path, why) in [
        ("/site/deep/root", ForbiddenReason::Root),
        ("/site/deep", ForbiddenReason::Root),
        ("/site/own", ForbiddenReason::Protected),
    ] {
        assert_eq!(bench.rename(path, "/site/moved").err(), forbidden(why), "{path}");
        assert_eq!(bench.fault(remove(path)), forbidden(why), "{path}");
    }
}

#[test]
fn a_name_that_no_phone_can_ask_for_can_be_mended_but_not_made() {
    let mut bench = Bench::new();
    bench.put("common/aux.txt", "x");
    assert_eq!(bench.names("/common"), "aux.txt");
    bench.rename("/common/aux.txt", "/common/auxiliary.txt").unwrap();
    assert!(bench.served(0, "auxiliary.txt").is_some());
    let back = bench.rename("/common/auxiliary.txt", "/common/aux.txt");
    assert!(matches!(back, Err(FilesError::Forbidden(ForbiddenReason::Name(_)))));
    let hidden = bench.rename("/common/auxiliary.txt", "/common/.x");
    assert_eq!(hidden.err(), forbidden(ForbiddenReason::Hidden));
    let list = bench.rename("/common/auxiliary.txt", "/common/allow_IP.txt");
    assert_eq!(list.err(), forbidden(ForbiddenReason::Protected));
}

#[test]
fn another_time_makes_another_file_of_the_same_bytes() {
    let mut bench = Bench::new();
    bench.put("common/fw.bin", "bytes");
    let path = bench.path("common/fw.bin");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    let before = fs::metadata(&path).unwrap();
    let touch = |path: &str| FilesOp::Touch { at: at(path), unix_s: 1_000_000_000 };
    bench.execute(touch("/common/FW.BIN")).unwrap();
    let after = fs::metadata(&path).unwrap();
    assert_eq!(after.mtime(), 1_000_000_000);
    assert_ne!(after.ino(), before.ino(), "whoever is being sent the file finishes it");
    assert_eq!(after.permissions().mode() & 0o777, 0o640);
    assert_eq!(bench.text("common/fw.bin").as_deref(), Some("bytes"));
    let catalog = bench.published.catalog();
    let entry = catalog.roots[0].entries.get(b"fw.bin").unwrap();
    assert_eq!(entry.version.modified_ns, 1_000_000_000_000_000_000);
    assert_eq!(bench.fault(touch("/common")), forbidden(ForbiddenReason::Root));
    assert_eq!(bench.fault(touch("/common/none")), Some(FilesError::NotThere));
    bench.execute(make("/common/dir")).unwrap();
    assert_eq!(bench.fault(touch("/common/dir")), Some(FilesError::IsDirectory));
    assert!(bench.temp_files().is_empty());
}

#[test]
fn what_is_not_durable_is_not_acknowledged() {
    let mut bench = Bench::new();
    bench.put("common/a", "x");
    bench.fail(DiskStep::SyncDirectory, false);
    for op in [make("/common/dir"), FilesOp::Touch { at: at("/common/a"), unix_s: 1 }] {
        assert_eq!(bench.fault(op), Some(FilesError::Io));
    }
    assert_eq!(bench.rename("/common/a", "/common/b"), Err(FilesError::Io));
    assert_eq!(bench.fault(delete("/common/b")), Some(FilesError::Io));
    bench.files.disk.fault = None;
    bench.fail(DiskStep::Rename, false);
    bench.put("common/a", "x");
    assert_eq!(bench.rename("/common/a", "/common/b"), Err(FilesError::Io));
    assert_eq!(bench.text("common/a").as_deref(), Some("x"));
    bench.fail(DiskStep::MakeDirectory, false);
    assert_eq!(bench.fault(make("/common/other")), Some(FilesError::Io));
}

#[test]
fn a_data_directory_that_is_away_is_told_and_the_others_go_on() {
    let mut bench = Bench::new();
    fs::remove_dir(bench.path("tftp")).unwrap();
    assert_eq!(bench.list("/tftp", Form::Names), Err(FilesError::NotThere));
    assert_eq!(bench.fault(make("/tftp/x")), Some(FilesError::NotThere));
    assert!(bench.execute(make("/common/x")).is_ok());
    assert_eq!(bench.names("/"), "common tftp");
}
