//! Tests of what is listed, what is not, and how it is spelled.

use std::os::unix::fs::symlink;

use super::*;
use wire::ftp::listing::Facts;
use wire::name::BadName;

fn describe(bench: &mut Bench, path: &str) -> Result<(String, bool, u64), FilesError> {
    let FilesReply::Described { at, member } = bench.execute(FilesOp::Describe { at: at(path) })?
    else {
        unreachable!("a look was asked for")
    };
    Ok((at.to_string(), member.is_directory, member.bytes))
}

#[test]
fn the_top_holds_the_data_directories_and_nothing_else() {
    let mut bench = Bench::with(&["common", "site/a", "site/b"], &[]);
    bench.put("secret.txt", "x");
    assert_eq!(bench.names("/"), "common site");
    assert_eq!(bench.names("/site"), "a b");
    assert!(describe(&mut bench, "/").unwrap().1);
    assert!(describe(&mut bench, "/SITE/A").unwrap().1);
    assert_eq!(describe(&mut bench, "/secret.txt").unwrap_err(), FilesError::NotThere);
    let lines = bench.list("/", Form::List).unwrap();
    assert!(lines.lines().all(|line| line.starts_with("dr-xr-xr-x")), "{lines}");
}

#[test]
fn every_form_of_a_listing_has_a_line_for_each_member() {
    let mut bench = Bench::new();
    bench.put("common/b.bin", "12345");
    bench.put("common/a/x", "");
    assert_eq!(bench.names("/common"), "a b.bin");
    let long = bench.list("/common", Form::List).unwrap();
    let lines: Vec<&str> = long.split("\r\n").collect();
    assert!(lines[0].starts_with("drwxr-xr-x") && lines[0].ends_with(" a"), "{long}");
    assert!(lines[1].starts_with("-rw-r--r--") && lines[1].contains(" 5 "), "{long}");
    let facts = bench.list("/common", Form::Facts(Facts::ALL)).unwrap();
    assert!(facts.contains("type=dir;") && facts.contains("size=5;"), "{facts}");
    let itself = bench.list("/common", Form::Itself(Facts::ALL)).unwrap();
    assert!(itself.starts_with("type=dir;") && itself.ends_with(" /common\r\n"), "{itself}");
    let of_file = bench.list("/common/b.bin", Form::Facts(Facts::ALL));
    assert_eq!(of_file, Err(FilesError::NotDirectory));
    assert_eq!(bench.list("/common/none", Form::List), Err(FilesError::NotThere));
    assert_eq!(bench.list("/common/b.bin/x", Form::List), Err(FilesError::NotDirectory));
}

#[test]
fn a_pattern_lists_what_it_matches_whatever_the_letters() {
    let mut bench = Bench::new();
    for name in ["a.bin", "B.BIN", "c.txt", "old/d.bin", "what?.bin"] {
        bench.put(&format!("common/{name}"), "x");
    }
    let mut names = |cwd, requested| {
        bench.list_from(cwd, requested, Form::Names).map(|names| names.replace("\r\n", " "))
    };
    assert_eq!(names("/common", "*.bin").unwrap(), "B.BIN a.bin what?.bin ");
    assert_eq!(names("/common", "?.BIN").unwrap(), "B.BIN a.bin ");
    assert_eq!(names("/common", "*").unwrap(), "B.BIN a.bin c.txt old what?.bin ");
    assert_eq!(names("/", "com*").unwrap(), "common ");
    assert_eq!(names("/common", "*.none").unwrap(), "");
    // A file of this very name is found as such.
    assert_eq!(names("/common", "what?.bin").unwrap(), "what?.bin ");
    assert_eq!(names("/common", "none/*"), Err(FilesError::NotThere));
    assert_eq!(names("/common", "a.bin/*"), Err(FilesError::NotDirectory));
    let lines = bench.list("/common/c*", Form::List).unwrap();
    assert!(lines.ends_with(" c.txt\r\n") && lines.lines().count() == 1, "{lines}");
    assert_eq!(bench.list("/common/*", Form::Facts(Facts::ALL)), Err(FilesError::NotThere));
}

#[test]
fn names_are_told_so_that_they_can_be_asked_for() {
    let mut bench = Bench::new();
    bench.put("common/b.bin", "");
    bench.put("common/a/x", "");
    for (cwd, requested, told) in [
        ("/common", "", "a b.bin "),
        ("/common", ".", "a b.bin "),
        ("/common", "a", "a/x "),
        ("/common", "./a/", "./a/x "),
        ("/common/a", "..", "../a ../b.bin "),
        ("/common/a", "../*.bin", "../b.bin "),
        ("/", "common/b.bin", "common/b.bin "),
        ("/", "/common", "/common/a /common/b.bin "),
        ("/common", "/", "/common /tftp "),
        ("/common", "b.bin", "b.bin "),
    ] {
        let names = bench.list_from(cwd, requested, Form::Names).unwrap().replace("\r\n", " ");
        assert_eq!(names, told, "NLST {requested} in {cwd}");
        for name in names.split(' ').filter(|name| !name.is_empty()) {
            let path = TreePath::parse(&at(cwd), name.as_bytes()).unwrap();
            assert!(describe(&mut bench, &path.to_string()).is_ok(), "{name} in {cwd}");
        }
    }
}

#[test]
fn what_is_hidden_or_no_file_is_neither_seen_nor_reached() {
    let mut bench = Bench::new();
    for name in [".hidden", ".ringpost-1-2", "TFTP_allow_IP.txt", "back\\slash", "seen"] {
        bench.put(&format!("common/{name}"), "x");
    }
    let pipe = std::process::Command::new("mkfifo").arg(bench.path("common/pipe")).status();
    assert!(pipe.unwrap().success());
    // The sweep at the first use removes what a crash left.
    assert_eq!(bench.names("/common"), "seen");
    assert_eq!(bench.text("common/.ringpost-1-2"), None);
    for name in [".hidden", ".ringpost-1-2", "tftp_ALLOW_ip.txt"] {
        let found = describe(&mut bench, &format!("/common/{name}"));
        assert_eq!(found.unwrap_err(), FilesError::NotThere, "{name}");
    }
    let pipe = describe(&mut bench, "/common/pipe").err();
    assert_eq!(pipe, forbidden(ForbiddenReason::Special));
    assert_eq!(
        bench.fault(FilesOp::Open { at: at("/common/pipe") }),
        forbidden(ForbiddenReason::Special)
    );
}

#[test]
fn a_link_is_what_it_leads_to_and_one_that_leads_out_is_not_there() {
    let mut bench = Bench::new();
    bench.put("common/v2/image", "12345");
    bench.put("outside/secret", "x");
    let link = |to: &str, name: &str| symlink(to, bench.path("common").join(name)).unwrap();
    link("v2", "current");
    link("v2/image", "image");
    link("../outside/secret", "out");
    link("/etc", "etc");
    link("nothing", "broken");
    assert_eq!(bench.names("/common"), "current image v2");
    assert_eq!(describe(&mut bench, "/common/image"), Ok(("/common/image".into(), false, 5)));
    let through = describe(&mut bench, "/common/current/image");
    assert_eq!(through, Ok(("/common/current/image".into(), false, 5)));
    for path in ["/common/out", "/common/etc", "/common/etc/passwd", "/common/broken"] {
        let seen = describe(&mut bench, path);
        assert_eq!(seen.err(), forbidden(ForbiddenReason::Special), "{path}");
        let read = bench.fault(FilesOp::Open { at: at(path) });
        assert_eq!(read, forbidden(ForbiddenReason::Special), "{path}");
    }
    for path in ["/common/etc/new", "/common/etc/passwd"] {
        let mode = UploadMode::Replace;
        let begun = bench.fault(FilesOp::Begin { at: at(path), mode });
        assert_eq!(begun, forbidden(ForbiddenReason::Special), "{path}");
    }
    assert!(bench.temp_files().is_empty());
}

#[test]
fn what_belongs_to_the_server_is_not_seen_even_where_a_root_holds_it() {
    let mut bench = Bench::with(&["."], &["vault", "certs"]);
    let area = bench.tree.areas()[0].name.to_string();
    bench.put("vault/2001/secret", "x");
    bench.put("users.txt", "x");
    bench.put("common/file", "x");
    symlink("vault/2001", bench.path("side-door")).unwrap();
    symlink("../vault", bench.path("common/other-door")).unwrap();
    bench.tree = Tree::new(
        bench.top.path(),
        &[bench.path(".")],
        &["vault", "certs", "users.txt"].map(|name| bench.path(name)),
    );
    assert_eq!(bench.names(&format!("/{area}")), "common");
    assert_eq!(bench.names(&format!("/{area}/common")), "file");
    let inside = |rest: &str| format!("/{area}/{rest}");
    for path in ["vault", "vault/2001/secret", "side-door/secret", "common/other-door", "users.txt"]
    {
        let path = inside(path);
        assert_eq!(
            describe(&mut bench, &path).err(),
            forbidden(ForbiddenReason::Protected),
            "{path}"
        );
        let deleted = bench.fault(FilesOp::Delete { at: at(&path) });
        assert_eq!(deleted, forbidden(ForbiddenReason::Protected), "{path}");
        let replaced = bench.fault(FilesOp::Begin { at: at(&path), mode: UploadMode::Replace });
        assert_eq!(replaced, forbidden(ForbiddenReason::Protected), "{path}");
        let moved = bench.rename(&path, &inside("mine"));
        assert_eq!(moved.err(), forbidden(ForbiddenReason::Protected), "{path}");
        let brought = bench.rename(&inside("common/file"), &path);
        assert_eq!(brought.err(), forbidden(ForbiddenReason::Protected), "{path}");
    }
    assert!(bench.path("vault/2001/secret").exists());
}

#[test]
fn the_exact_spelling_counts_first_and_then_any_other() {
    let mut bench = Bench::new();
    bench.put("common/Firmware/FW.bin", "12");
    assert_eq!(
        describe(&mut bench, "/common/firmware/fw.BIN"),
        Ok(("/common/Firmware/FW.bin".into(), false, 2))
    );
    bench.put("common/firmware/fw.bin", "1");
    assert_eq!(describe(&mut bench, "/common/firmware/fw.bin").unwrap().2, 1);
    assert_eq!(describe(&mut bench, "/common/Firmware/fw.bin").unwrap().2, 2);
}

#[test]
fn a_file_that_the_catalog_has_is_opened_as_that_entry() {
    let mut bench = Bench::new();
    bench.upload("/common/fw.bin", UploadMode::Replace, "bytes").unwrap();
    bench.put("common/odd:name", "odd");
    for (path, known) in [("/common/FW.BIN", true), ("/common/odd:name", false)] {
        let op = FilesOp::Open { at: at(path) };
        assert!(bench.files.handle(7, ASKED, &bench.tree, op).is_none());
        let (7, StoreRequest::Open { ticket: ASKED, entry, .. }) =
            bench.requests.try_recv().unwrap()
        else {
            panic!("another question")
        };
        let catalog = bench.published.catalog();
        let name = FileName::parse(b"fw.bin").unwrap();
        let its = catalog.find(&[RootId(0)], &name).unwrap();
        assert_eq!(Arc::ptr_eq(&entry, its), known, "{path}");
        assert!(
            crate::content::root_dir::root_dir_of(&entry).unwrap().file(&entry.path).is_ok(),
            "{path}"
        );
    }
    assert_eq!(bench.fault(FilesOp::Open { at: at("/common") }), Some(FilesError::IsDirectory));
    assert_eq!(bench.fault(FilesOp::Open { at: at("/") }), Some(FilesError::IsDirectory));
}

#[test]
fn ten_thousand_files_are_listed_and_a_listing_is_bounded() {
    let mut bench = Bench::new();
    for number in 0..10_000 {
        fs::write(bench.path(&format!("common/{number}.cfg")), "").unwrap();
    }
    assert_eq!(bench.list("/common", Form::List).unwrap().lines().count(), 10_000);
    bench.files.listing_bytes_max = 100_000;
    assert_eq!(bench.list("/common", Form::Names), Err(FilesError::TooMany));
}

#[test]
fn every_fault_is_a_sentence_of_its_own() {
    let whys = [
        ForbiddenReason::System,
        ForbiddenReason::Virtual,
        ForbiddenReason::Root,
        ForbiddenReason::Protected,
        ForbiddenReason::Hidden,
    ];
    let whys = whys.into_iter().chain([
        ForbiddenReason::Special,
        ForbiddenReason::IntoItself,
        ForbiddenReason::Name(BadName::Colon),
    ]);
    let faults = [
        FilesError::NotThere,
        FilesError::Exists,
        FilesError::NotEmpty,
        FilesError::IsDirectory,
        FilesError::NotDirectory,
        FilesError::Full,
        FilesError::TooLarge,
        FilesError::TooMany,
        FilesError::BeyondEnd,
        FilesError::BrokenOff,
        FilesError::Changed,
        FilesError::Busy,
        FilesError::Io,
        FilesError::CrossArea,
    ];
    let mut told = std::collections::HashSet::new();
    for fault in faults.into_iter().chain(whys.map(FilesError::Forbidden)) {
        let text = fault.to_string();
        assert!(text.len() > 20 && !text.contains(['\r', '\n']), "{text}");
        assert!(told.insert(text), "{fault:?} says what another one says");
    }
}
