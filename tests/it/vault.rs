//! `ringpost vault` and `ringpost passwd` in an administrator's use: beside a running server with
//! phones, and without one.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::http::line::{Line, Reply, get, put};
use crate::server::Server;

/// Runs a command that must succeed; returns its output.
fn run(server: &Server, words: &str) -> String {
    let done = server.command(words, b"");
    let troubles = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{words}: {troubles}");
    String::from_utf8(done.stdout).unwrap()
}

/// Runs a command that must fail; returns the reason.
fn refused(server: &Server, words: &str, stdin: &[u8]) -> String {
    let done = server.command(words, stdin);
    assert_eq!(done.status.code(), Some(1), "{words}: {done:?}");
    assert!(done.stdout.is_empty(), "{words}: {done:?}");
    String::from_utf8(done.stderr).unwrap()
}

fn keep(line: &mut Line, extension: &str, text: &str) -> Reply {
    let reply = line.ask(put(&format!("/{extension}_96xxdata.txt"), text.as_bytes()));
    assert!(matches!(reply.status, 201 | 204), "{reply:?}");
    reply
}

fn fetch(line: &mut Line, extension: &str) -> Reply {
    line.ask(get(&format!("/{extension}_96xxdata.txt")))
}

/// Returns the moments of an extension's versions, the oldest first.
fn stamps(server: &Server, extension: &str) -> Vec<String> {
    let rows = run(server, &format!("vault list {extension} --json"));
    let rows: serde_json::Value = serde_json::from_str(&rows).unwrap();
    let stamp = |row: &serde_json::Value| row["version"].as_str().unwrap().to_owned();
    rows.as_array().unwrap().iter().map(stamp).collect()
}

#[test]
fn a_user_finds_the_data_on_another_extension_once_it_is_cloned() {
    let server = Server::start_web("");
    let mut line = Line::open(server.address());
    keep(&mut line, "2001", "SET SPEED_DIAL 4711\n");
    assert_eq!(fetch(&mut line, "2002").status, 404);
    let message = run(&server, "vault clone 2001 2002");
    assert_eq!(message, "2002_96xxdata.txt is now as 2001_96xxdata.txt, 20 bytes\n");
    let reply = fetch(&mut line, "2002");
    assert_eq!((reply.status, &*reply.body), (200, b"SET SPEED_DIAL 4711\n".as_slice()));
    // The phone's later changes are its own.
    keep(&mut line, "2002", "SET SPEED_DIAL 4712\n");
    assert_eq!(fetch(&mut line, "2001").body, b"SET SPEED_DIAL 4711\n");
}

#[test]
fn a_restored_version_is_served_at_once_and_under_a_tag_of_its_own() {
    let server = Server::start_web("");
    let mut line = Line::open(server.address());
    keep(&mut line, "2001", "one");
    keep(&mut line, "2001", "two, longer");
    let two = fetch(&mut line, "2001");
    let first = stamps(&server, "2001").remove(0);
    assert_eq!(run(&server, &format!("vault show 2001 96xxdata {first}")), "one");
    run(&server, &format!("vault restore 2001 96xxdata {first}"));
    let again = fetch(&mut line, "2001");
    assert_eq!((again.status, &*again.body), (200, b"one".as_slice()));
    // A conditional request with the newer tag gets the older data, not a 304.
    let tag = two.field("etag").expect("a tag");
    let request =
        get("/2001_96xxdata.txt").replace("Host", &format!("If-None-Match: {tag}\r\nHost"));
    assert_eq!(line.ask(request).body, b"one");
    let deleted = line.ask("DELETE /2001_96xxdata.txt HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!((deleted.status, fetch(&mut line, "2001").status), (204, 404));
    assert!(run(&server, "vault list").ends_with("deleted\n"));
    run(&server, &format!("vault restore 2001 96xxdata {first}"));
    assert_eq!(fetch(&mut line, "2001").body, b"one");
    assert_eq!(stamps(&server, "2001").len(), 5, "nothing is lost by any of it");
}

#[test]
fn what_a_phone_stores_stays_the_newest_while_older_versions_are_imported() {
    let server = Server::start_web("versions = 10000\n");
    let mut line = Line::open(server.address());
    for number in 0..30 {
        keep(&mut line, "2001", &format!("old {number}"));
    }
    run(&server, "vault export old.tar.gz");
    fs::remove_dir_all(server.path("vault/2001")).unwrap();
    let is_over = AtomicBool::new(false);
    let imports = std::thread::scope(|scope| {
        let imports = scope.spawn(|| {
            let mut messages = Vec::new();
            while messages.is_empty() || !is_over.load(Ordering::Relaxed) {
                messages.push(run(&server, "vault import old.tar.gz"));
                // Again from the start, except for what phones have stored since.
                for stamp in fs::read_dir(server.path("vault/2001/96xxdata")).unwrap().flatten() {
                    if fs::read(stamp.path()).unwrap().starts_with(b"old") {
                        fs::remove_file(stamp.path()).unwrap();
                    }
                }
            }
            messages.push(run(&server, "vault import old.tar.gz"));
            messages
        });
        for number in 0..100 {
            keep(&mut line, "2001", &format!("new {number}"));
            let newest = fetch(&mut line, "2001");
            assert_eq!(newest.body, format!("new {number}").as_bytes());
        }
        is_over.store(true, Ordering::Relaxed);
        imports.join().unwrap()
    });
    assert!(imports.iter().all(|messages| messages == "30 versions are new, 0 were there\n"));
    assert_eq!(stamps(&server, "2001").len(), 130);
    assert_eq!(fs::read_dir(server.path("vault/.aside")).unwrap().count(), 0);
}

#[test]
fn no_version_is_lost_when_phones_and_commands_add_them_to_one_extension_at_once() {
    let server = Server::start_web("versions = 10000\n");
    let mut line = Line::open(server.address());
    keep(&mut line, "2001", "first");
    keep(&mut line, "3000", "cloned");
    let first = stamps(&server, "2001").remove(0);
    let commands = [format!("vault restore 2001 96xxdata {first}"), "vault clone 3000 2001".into()];
    std::thread::scope(|scope| {
        for command in &commands {
            scope.spawn(|| (0..15).for_each(|_| drop(run(&server, command))));
        }
        for phone in 0..2 {
            let mut line = Line::open(server.address());
            scope.spawn(move || {
                for number in 0..100 {
                    keep(&mut line, "2001", &format!("{phone} {number}"));
                }
            });
        }
    });
    let kept: Vec<_> = fs::read_dir(server.path("vault/2001/96xxdata"))
        .unwrap()
        .map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap())
        .collect();
    let count = |text: &str| kept.iter().filter(|kept| *kept == text).count();
    for phone in 0..2 {
        for number in 0..100 {
            assert_eq!(count(&format!("{phone} {number}")), 1);
        }
    }
    assert_eq!(count("cloned"), 15);
    // A restore of the newest version adds nothing.
    assert!((2..=16).contains(&count("first")), "{}", count("first"));
    keep(&mut line, "2001", "last");
    assert_eq!(fetch(&mut line, "2001").body, b"last");
    assert_eq!(fs::read_dir(server.path("vault/.aside")).unwrap().count(), 0);
}

#[test]
fn a_vault_goes_from_host_to_host_through_a_pipe_while_both_serve() {
    let (from, to) = (Server::start_web(""), Server::start_web(""));
    let mut line = Line::open(from.address());
    keep(&mut line, "2001", "one");
    keep(&mut line, "2002", "two");
    let exported = from.command("vault export -", b"");
    assert!(exported.status.success(), "{exported:?}");
    assert_eq!(exported.stderr, b"2 versions were written\n");
    let imported = to.command("vault import -", &exported.stdout);
    assert!(imported.status.success(), "{imported:?}");
    assert_eq!(imported.stdout, b"2 versions are new, 0 were there\n");
    let mut line = Line::open(to.address());
    assert_eq!(fetch(&mut line, "2002").body, b"two");
    let half = &exported.stdout[..exported.stdout.len() / 2];
    let message = refused(&to, "vault import -", half);
    assert!(message.contains("cut short") && message.contains("nothing was changed"), "{message}");
}

#[test]
fn without_a_vault_the_commands_say_what_to_add() {
    let server = Server::start();
    for words in ["vault list", "vault clone 1 2", "passwd ann"] {
        let message = refused(&server, words, b"secret\n");
        assert!(message.contains("ringpost.toml has no [vault]"), "{message}");
    }
}

/// Returns a request with a password.
fn with_password(request: impl AsRef<[u8]>, user: &str, password: &str) -> Vec<u8> {
    let basic = BASE64.encode(format!("{user}:{password}"));
    let field = format!("Authorization: Basic {basic}\r\nHost:");
    let request = String::from_utf8(request.as_ref().to_vec()).unwrap();
    request.replacen("Host:", &field, 1).into_bytes()
}

#[test]
fn a_password_opens_the_vault_until_it_is_changed_or_taken_away() {
    let server = Server::start_web("auth = \"users\"\n");
    // A request that is refused before its body was read closes the connection.
    let ask = |request: Vec<u8>| Line::open(server.address()).ask(request).status;
    let put_as = |extension: &str, user: &str, password: &str| {
        let request = put(&format!("/{extension}_96xxdata.txt"), b"SET X 1\n");
        ask(with_password(request, user, password))
    };
    assert_eq!(ask(put("/2001_96xxdata.txt", b"x")), 401);
    let given = server.command("passwd 2001", b"first secret\n");
    assert!(given.status.success(), "{given:?}");
    let message = String::from_utf8(given.stdout).unwrap();
    assert!(
        message.starts_with("2001 is a user now in ") && message.ends_with("it holds at once\n")
    );
    let file = fs::read_to_string(server.path("users.txt")).unwrap();
    assert!(file.starts_with("2001:$argon2id$") && !file.contains("first secret"), "{file}");
    assert_eq!(put_as("2001", "2001", "first secret"), 201);
    assert_eq!(put_as("2001", "2001", "wrong"), 401);
    assert_eq!(put_as("2002", "2001", "first secret"), 401);
    let given = server.command("passwd 2001 --extensions 2001,2002", b"second\r\n");
    assert!(String::from_utf8_lossy(&given.stdout).contains("has a new password"), "{given:?}");
    assert_eq!(put_as("2001", "2001", "first secret"), 401);
    assert_eq!(put_as("2002", "2001", "second"), 201);
    assert!(run(&server, "passwd 2001 --delete").contains("is gone from"));
    assert_eq!(put_as("2002", "2001", "second"), 401);
    assert!(refused(&server, "passwd 2001 --delete", b"").contains("nothing was changed"));
}

#[test]
fn what_is_no_user_or_no_password_changes_nothing() {
    let server = Server::start_web("auth = \"users\"\n");
    for (words, stdin, expected) in [
        ("passwd a:b", b"secret\n".as_slice(), "':'"),
        ("passwd a\tb", b"secret\n", "'\\t'"),
        ("passwd #a", b"secret\n", "does not begin with #"),
        ("passwd ann", b"\n", "the password is empty"),
        ("passwd ann", b"", "the password is empty"),
        ("passwd ann", b"a\x07b\n", "control character"),
        ("passwd ann", b"\xff\xfe\n", "UTF-8"),
        ("passwd ann --extensions a/b", b"secret\n", "extensions with commas between"),
    ] {
        let message = refused(&server, words, stdin);
        assert!(message.contains(expected), "{words}: {message}");
    }
    assert!(!server.path("users.txt").exists());
    server.configure(crate::server::WEB);
    let message = refused(&server, "passwd ann", b"secret\n");
    assert!(message.contains("write auth = \"users\" in it first"), "{message}");
}

#[test]
fn old_versions_go_into_archives_beside_the_server_and_come_back_from_there() {
    let server = Server::start_web("versions = 1\n");
    let mut line = Line::open(server.address());
    for text in ["one", "two", "three"] {
        keep(&mut line, "2001", text);
    }
    let before = stamps(&server, "2001 --archived");
    assert_eq!(before.len(), 3, "nothing is removed before the archive has it");
    let message = run(&server, "vault archive");
    assert!(message.starts_with("2 old versions went into archives"), "{message}");
    assert_eq!(stamps(&server, "2001"), before[2..]);
    assert_eq!(stamps(&server, "2001 --archived"), before);
    assert_eq!(fetch(&mut line, "2001").body, b"three");
    assert_eq!(run(&server, &format!("vault show 2001 96xxdata {}", before[0])), "one");
    run(&server, &format!("vault restore 2001 96xxdata {}", before[1]));
    assert_eq!(fetch(&mut line, "2001").body, b"two");
}
