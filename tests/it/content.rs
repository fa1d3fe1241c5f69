//! The content store from outside: uploads that are served at once, names that differ in case, tags
//! of bytes, and disks that cannot be read.

use std::fs;
use std::os::unix::fs::symlink;

use crate::ftp::raw::Session;
use crate::http::line::{Line, get, put};
use crate::raw::{fetch, store};
use crate::server::{Server, eventually};

/// Uploads are served too.
fn server() -> Server {
    Server::start_ftp("[[roots]]\nroot = [\"uploads\"]\n")
}

fn body(server: &Server, target: &str) -> (u16, Vec<u8>) {
    let reply = Line::open(server.address()).ask(get(target));
    (reply.status, reply.body)
}

#[test]
fn what_was_stored_over_one_protocol_is_there_at_once_over_every_other() {
    let server = server();
    let mut ftp = Session::open(server.ftp_address());
    ftp.log_in();
    for round in 0..40 {
        // A new name each time, and a name that is replaced each time, with as many bytes.
        for name in [format!("new-{round}.up"), "again.up".to_owned()] {
            let bytes = format!("{round:>9}").into_bytes();
            assert_eq!(store(server.address(), &name, &bytes), Ok(()));
            assert_eq!(body(&server, &format!("/{name}")), (200, bytes.clone()), "WRQ, GET");
            assert_eq!(ftp.fetch(&format!("RETR {name}")).unwrap(), bytes, "WRQ, RETR");
            let bytes = format!("{round:>9}.").into_bytes();
            let stored = Line::open(server.address()).ask(put(&format!("/{name}"), &bytes));
            assert!(matches!(stored.status, 201 | 204), "{stored:?}");
            assert_eq!(fetch(server.address(), &name), Ok(bytes.clone()), "PUT, RRQ");
            assert_eq!(ftp.fetch(&format!("RETR {name}")).unwrap(), bytes, "PUT, RETR");
            let bytes = format!("{round:>9}!").into_bytes();
            assert_eq!(ftp.send(&format!("STOR {name}"), &bytes).code, 226);
            assert_eq!(fetch(server.address(), &name), Ok(bytes.clone()), "STOR, RRQ");
            assert_eq!(body(&server, &format!("/{name}")), (200, bytes), "STOR, GET");
        }
    }
}

#[test]
fn of_names_that_differ_in_case_only_the_one_that_was_asked_for_is_served() {
    let server = server();
    for name in ["RINGLIST.XML", "Ringlist.xml"] {
        fs::write(server.path("root").join(name), name).unwrap();
    }
    server.put("later", b"later");
    let mut ftp = Session::open(server.ftp_address());
    ftp.log_in();
    for (asked, served) in [
        ("Ringlist.xml", "Ringlist.xml"),
        ("RINGLIST.XML", "RINGLIST.XML"),
        ("ringlist.xml", "RINGLIST.XML"),
    ] {
        let served = served.as_bytes().to_vec();
        assert_eq!(fetch(server.address(), asked), Ok(served.clone()));
        assert_eq!(body(&server, &format!("/{asked}")), (200, served.clone()));
        assert_eq!(ftp.fetch(&format!("RETR {asked}")).unwrap(), served);
    }
}

#[test]
fn files_of_equal_size_and_time_have_two_tags_and_a_download_never_goes_on_in_another() {
    let [here, there] = [server(), server()];
    let time = std::time::SystemTime::now() - std::time::Duration::from_secs(1_000);
    let place = |server: &Server, bytes: &[u8]| {
        let aside = server.path("aside");
        fs::write(&aside, bytes).unwrap();
        fs::File::options().write(true).open(&aside).unwrap().set_modified(time).unwrap();
        fs::rename(&aside, server.path("root").join("firmware.bin")).unwrap();
        eventually("it is served", || {
            fetch(server.address(), "firmware.bin").as_deref() == Ok(bytes)
        });
    };
    let tag = |server: &Server| {
        let reply = Line::open(server.address()).ask(get("/firmware.bin"));
        reply.field("etag").unwrap().to_owned()
    };
    let (one, two) = ([b'1'; 5_000], [b'2'; 5_000]);
    place(&here, &one);
    place(&there, &one);
    eventually("the bytes are hashed", || tag(&here).starts_with("\"c"));
    eventually("there too", || tag(&there) == tag(&here));
    let first = tag(&here);
    let rest = format!(
        "GET /firmware.bin HTTP/1.1\r\nHost: a\r\nRange: bytes=10-\r\nIf-Range: {first}\r\n\r\n"
    );
    let reply = Line::open(there.address()).ask(&rest);
    assert_eq!((reply.status, &*reply.body), (206, &one[10..]), "on at the other server");
    place(&here, &two);
    assert_ne!(tag(&here), first);
    let reply = Line::open(here.address()).ask(&rest);
    assert_eq!((reply.status, &*reply.body), (200, &two[..]), "all of the other version");
}

#[test]
fn a_root_that_is_away_leaves_what_it_had_and_no_name_is_told_to_be_missing() {
    let server = server();
    let (root, elsewhere) = (server.path("root"), server.path("elsewhere"));
    // Found before the next one, but never requested: its bytes are not in memory.
    fs::write(root.join("later.cfg"), "later").unwrap();
    server.put("loaded.cfg", b"loaded");
    assert_eq!(fetch(server.address(), "loaded.cfg"), Ok(b"loaded".to_vec()));
    // As if the share had gone: nothing can be opened any more.
    fs::rename(&root, &elsewhere).unwrap();
    for name in ["later.cfg", "loaded.cfg"] {
        fs::remove_file(elsewhere.join(name)).unwrap();
    }
    eventually("it is noticed", || server.log().contains("cannot be read now"));
    assert_eq!(fetch(server.address(), "loaded.cfg"), Ok(b"loaded".to_vec()), "from memory");
    assert_eq!(body(&server, "/loaded.cfg"), (200, b"loaded".to_vec()));
    assert_eq!(body(&server, "/later.cfg").0, 503);
    assert_eq!(fetch(server.address(), "later.cfg"), Err(0));
    fs::write(elsewhere.join("later.cfg"), "back").unwrap();
    fs::rename(&elsewhere, &root).unwrap();
    eventually("it is told", || server.log().contains("served again"));
    eventually("what is missing now is", || fetch(server.address(), "loaded.cfg") == Err(1));
    eventually("it is back", || fetch(server.address(), "later.cfg") == Ok(b"back".to_vec()));
}

#[test]
fn absolute_links_inside_the_root_are_followed_and_others_are_not() {
    let server = server();
    let root = server.path("root");
    fs::create_dir(root.join("v2")).unwrap();
    fs::write(root.join("v2/image.bin"), "image").unwrap();
    symlink(root.join("v2"), root.join("current")).unwrap();
    symlink(root.join("v2/image.bin"), root.join("image.bin")).unwrap();
    symlink("/etc/hostname", root.join("out.cfg")).unwrap();
    server.put("last.cfg", b"last");
    for name in ["current/image.bin", "image.bin"] {
        assert_eq!(fetch(server.address(), name), Ok(b"image".to_vec()), "{name}");
    }
    assert_eq!(fetch(server.address(), "out.cfg"), Err(1));
}
