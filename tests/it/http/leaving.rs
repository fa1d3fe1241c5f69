//! Clients that die, leave, stop reading or are refused in the middle, on real sockets.

use std::fs;

use super::line::{Line, get, put};
use super::raw::HOST;
use crate::interop::noise;
use crate::server::{Server, WEB, eventually};

/// More than the kernels of both sides hold, so that its reader must read on.
const FIRMWARE_BYTES: usize = 16 << 20;

/// Returns whether a line of the log contains all of this.
fn tells(server: &Server, words: &[&str]) -> bool {
    server.log().lines().any(|line| words.iter().all(|word| line.contains(word)))
}

#[test]
fn an_upload_whose_client_dies_in_the_middle_leaves_the_old_version() {
    let half = ("Content-Length: 100000", "half");
    let chunked = ("Transfer-Encoding: chunked", "4\r\nhalf\r\n");
    let cut = ("Transfer-Encoding: chunked", "4\r\nhalf\r\n0\r\n");
    for (number, ((length, body), is_reset)) in
        [(half, false), (half, true), (chunked, false), (chunked, true), (cut, false), (cut, true)]
            .into_iter()
            .enumerate()
    {
        // One server each: the log sums up repeats of one address.
        let server = Server::start_web("");
        for name in [format!("dies{number}.up"), format!("{}_96xxdata.txt", 4000 + number)] {
            let mut line = Line::open(server.address());
            let stored = line.ask(put(&format!("/{name}"), b"good"));
            assert_eq!(stored.status, 201);
            // A reset discards what the server has not read, so its 100 is awaited.
            let expects = "Expect: 100-continue\r\n\r\n";
            line.say(format!("PUT /{name} HTTP/1.1\r\n{HOST}{length}\r\n{expects}"));
            assert_eq!(line.hear_leave(), b"HTTP/1.1 100 Continue\r\n\r\n");
            line.say(body);
            match is_reset {
                true => line.reset(),
                false => drop(line),
            }
            eventually("the broken upload is told", || tells(&server, &[&name, "aborted"]));
            let now = Line::open(server.address()).ask(get(&format!("/{name}")));
            if name.ends_with(".txt") {
                assert_eq!((now.status, now.field("etag")), (200, stored.field("etag")));
            } else {
                assert_eq!(server.uploaded(&name).unwrap(), b"good");
            }
        }
        assert!(!tells(&server, &["ERROR"]), "{}", server.log());
    }
}

#[test]
fn an_upload_that_is_whole_is_stored_though_its_client_has_gone() {
    let server = Server::start_web("");
    for is_reset in [false, true] {
        let name = format!("gone{is_reset}.up");
        let mut line = Line::open(server.address());
        line.say(put(&format!("/{name}"), b"whole"));
        match is_reset {
            // Sent data may be lost with the connection: whole or not at all.
            true => line.reset(),
            false => drop(line),
        }
        if !is_reset {
            eventually("it is stored", || server.uploaded(&name).is_some());
        }
        assert!(server.uploaded(&name).is_none_or(|bytes| bytes == b"whole"));
    }
}

#[test]
fn a_client_that_reads_nothing_is_given_up_though_the_system_takes_more() {
    let limits = "[http_limits]\nstall_timeout = \"1s\"\n";
    let server = Server::start_with(&format!("{WEB}{limits}"));
    fs::write(server.path("root/fw.bin"), noise(FIRMWARE_BYTES)).unwrap();
    eventually("it is served", || {
        let mut line = Line::open(server.address());
        line.say("HEAD /fw.bin HTTP/1.0\r\n\r\n");
        line.hear_head().status == 200
    });
    let mut lines: Vec<Line> = (0..3).map(|_| Line::open(server.address())).collect();
    lines.iter_mut().for_each(|line| line.say(get("/fw.bin")));
    eventually("they are told", || tells(&server, &["fw.bin", "timed_out"]));
}

#[test]
fn a_refused_upload_is_read_to_its_end_before_its_client_reads_why() {
    let server = Server::start_web("");
    let body = noise(3_000_000);
    for target in ["/forbidden.exe", "/b.up/", "/%99.up"] {
        let mut line = Line::open(server.address());
        line.say(put(target, &body));
        let reply = line.hear();
        assert!((400..500).contains(&reply.status) && reply.closes(), "{target}: {reply:?}");
    }
}

#[test]
fn an_upload_in_the_place_of_a_directory_is_409_and_a_name_that_is_no_text_400() {
    let server = Server::start_web("");
    fs::create_dir(server.path("uploads/dir.up")).unwrap();
    let mut line = Line::open(server.address());
    for (target, status) in [("/dir.up", 409), ("/%99.up", 400)] {
        let reply = line.ask(put(target, b"x"));
        assert_eq!(reply.status, status, "{target}");
        if reply.closes() {
            line = Line::open(server.address());
        }
    }
    assert!(!tells(&server, &["ERROR"]), "{}", server.log());
}
