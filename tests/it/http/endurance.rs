//! Requests that are endless, too slow, or never read: how much they occupy, and for how long.

use std::fs;
use std::io::{Read, Write};
use std::time::{Duration, Instant};

use super::line::{Line, get};
use super::raw::{HOST, server};
use crate::interop::{expect_same, noise};
use crate::server::{PATIENCE, Server, eventually};

/// More bytes than any head may have and less than a socket's buffers hold.
const FLOOD_BYTES: usize = 64 << 20;

#[test]
fn a_hundred_thousand_header_lines_are_refused_early() {
    let server = server();
    let mut line = Line::open(server.address());
    line.say(format!("GET /a.txt HTTP/1.1\r\n{HOST}"));
    for _ in 0..100 {
        line.say("A: b\r\n".repeat(1_000));
    }
    let reply = line.hear();
    assert!(reply.status == 431 && reply.closes(), "{reply:?}");
}

/// Sends endless bytes that never become a request; returns how much the server accepted.
fn flood(server: &Server, first: &str, again: &[u8]) -> (u16, usize) {
    let mut line = Line::open(server.address());
    line.say(first);
    let mut sent = first.len();
    while sent < FLOOD_BYTES {
        match line.socket.write(again) {
            Ok(bytes) => sent += bytes,
            Err(_) => break,
        }
    }
    // The answer may be lost to the reset that further writes cause.
    let mut answer = [0; 12];
    let status = match line.socket.read(&mut answer) {
        Ok(12) => std::str::from_utf8(&answer[9..]).unwrap().parse().unwrap(),
        Ok(_) | Err(_) => 431,
    };
    (status, sent)
}

#[test]
fn a_line_that_never_ends_is_cut_off_long_before_64_mebibytes() {
    let server = server();
    let block = vec![b'a'; 64 << 10];
    for first in ["GET /a.txt HTTP/1.1\r\nHost: x\r\nX: ", "GET /", "G", "\r\n\r\n"] {
        let (status, sent) = flood(&server, first, &block);
        assert!(sent < FLOOD_BYTES / 2, "{first:?}: {sent} bytes were taken");
        assert!(matches!(status, 400 | 414 | 431), "{first:?}: {status}");
    }
    assert!(resident_mib(&server) < 200, "a flood stays in memory");
}

#[test]
fn half_a_request_and_then_silence_is_told_and_closed_in_time() {
    let server = Server::start_web("[http_limits]\nhead_timeout = \"500ms\"\n");
    server.put("a.txt", b"hello\n");
    for half in ["G", "GET /a.txt HTTP/1.1\r\nHost: x\r\n", "GET /a.txt HTTP/1.1\r\nHost: x\r\n\r"]
    {
        let mut line = Line::open(server.address());
        let began = Instant::now();
        line.say(half);
        let reply = line.hear();
        assert!(reply.status == 408 && reply.closes(), "{half:?} got {reply:?}");
        let waited = began.elapsed();
        assert!(waited >= Duration::from_millis(450), "{half:?}: after {waited:?}");
        line.expect_end();
    }
}

#[test]
fn a_head_that_comes_a_byte_at_a_time_does_not_win_time_by_that() {
    let server = Server::start_web("[http_limits]\nhead_timeout = \"500ms\"\n");
    server.put("a.txt", b"hello\n");
    let mut line = Line::open(server.address());
    line.socket.set_nonblocking(true).unwrap();
    let began = Instant::now();
    let mut answer = Vec::new();
    for byte in get("/a.txt").replace("Host", "X: y\r\nHost").bytes().cycle() {
        let mut buffer = [0; 1_024];
        match line.socket.read(&mut buffer) {
            Ok(0) => break,
            Ok(bytes) => answer.extend_from_slice(&buffer[..bytes]),
            Err(_) if answer.is_empty() => {}
            Err(_) => break,
        }
        line.say(byte.to_string().as_bytes());
        std::thread::sleep(Duration::from_millis(20));
        assert!(began.elapsed() < PATIENCE, "a slow head holds its connection for ever");
    }
    assert!(answer.starts_with(b"HTTP/1.1 4"), "{:?}", String::from_utf8_lossy(&answer));
}

#[test]
fn a_body_that_stops_coming_is_told_and_closed_in_time() {
    let server = Server::start_web("[http_limits]\nstall_timeout = \"500ms\"\n");
    let mut line = Line::open(server.address());
    let reply =
        line.ask(format!("PUT /b.up HTTP/1.1\r\n{HOST}Content-Length: 1000\r\n\r\nnot all"));
    assert!(reply.status == 408 && reply.closes(), "{reply:?}");
    assert_eq!(server.uploaded("b.up"), None);
}

#[test]
fn a_connection_that_asks_nothing_more_is_closed_in_silence() {
    let server =
        Server::start_web("[http_limits]\nidle_timeout = \"500ms\"\nhead_timeout = \"500ms\"\n");
    server.put("a.txt", b"hello\n");
    let mut line = Line::open(server.address());
    assert_eq!(line.ask(get("/a.txt")).status, 200);
    let waited = line.expect_end();
    assert!(waited >= Duration::from_millis(450), "after {waited:?}");
}

#[test]
fn a_body_that_comes_fast_and_then_stops_wins_no_time_by_what_has_come() {
    let server = Server::start_web("[http_limits]\nstall_timeout = \"500ms\"\n");
    for name in ["b.up", "4711_96xxdata.txt"] {
        let mut line = Line::open(server.address());
        line.say(format!("PUT /{name} HTTP/1.1\r\n{HOST}Content-Length: 900000\r\n\r\n"));
        let reply = line.ask(vec![b'x'; 800_000]);
        assert!(reply.status == 408 && reply.closes(), "{reply:?}");
    }
}

#[test]
fn clients_that_never_read_cost_no_memory_and_are_closed_in_time() {
    // A rate so high that what the kernel holds for them does not count as read.
    let limits = "[http_limits]\nstall_timeout = \"1s\"\nrate_min = \"1GiB\"\n";
    let server = Server::start_web(limits);
    let file = noise(3 << 20);
    server.put("big.bin", &file);
    let before = resident_mib(&server);
    let greedy: Vec<Line> = (0..50)
        .map(|_| {
            let mut line = Line::open(server.address());
            line.say(get("/big.bin").repeat(100));
            line
        })
        .collect();
    let mut line = Line::open(server.address());
    expect_same(&line.ask(get("/big.bin")).body, &file, "an honest client");
    let grown = resident_mib(&server).saturating_sub(before);
    assert!(grown < 64, "{grown} MiB for 50 clients that do not read");
    // A write shows that the server is gone.
    let is_cut_off = |line: &Line| (&line.socket).write(b"x").is_err();
    eventually("they are cut off", || greedy.iter().all(is_cut_off));
}

#[test]
fn a_download_that_is_reset_leaves_the_server_and_its_memory_as_they_were() {
    let mut server = server();
    let file = noise(8 << 20);
    server.put("big.bin", &file);
    let mut line = Line::open(server.address());
    assert_eq!(line.ask(get("/big.bin")).body.len(), file.len());
    let before = resident_mib(&server);
    for _ in 0..200 {
        let mut line = Line::open(server.address());
        line.say(get("/big.bin"));
        let mut some = [0; 4_096];
        assert!(line.socket.read(&mut some).unwrap() > 0);
        line.reset();
    }
    expect_same(&line.ask(get("/big.bin")).body, &file, "after 200 resets");
    let grown = resident_mib(&server).saturating_sub(before);
    assert!(server.runs() && grown < 32, "{grown} MiB are left over");
}

/// Resident memory of the server, in MiB.
fn resident_mib(server: &Server) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", server.id())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1_024
}
