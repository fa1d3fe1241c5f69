//! The whole tool over HTTP, against a server of a few lines, over loopback.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read as _, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use parking_lot::Mutex;

use super::{prepare, run};
use crate::harness::tally::{Count, Reason, Run};
use crate::spec::Command;

/// Idle for longer than this, or as slow with a head, a connection is closed.
const PATIENCE: Duration = Duration::from_millis(300);

/// What the server has, and how often it still says that it is busy.
#[derive(Default)]
struct Shelf {
    files: HashMap<String, Vec<u8>>,
    busy: u32,
    /// A PUT is answered, and nothing is kept.
    forgets: bool,
}

/// A thread a connection, for as long as the test program lives.
fn serve(shelf: Shelf) -> (SocketAddr, Arc<Mutex<Shelf>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let here = listener.local_addr().unwrap();
    let shelf = Arc::new(Mutex::new(shelf));
    let kept = Arc::clone(&shelf);
    std::thread::spawn(move || {
        for peer in listener.incoming().flatten() {
            let shelf = Arc::clone(&shelf);
            std::thread::spawn(move || talk(peer, &shelf));
        }
    });
    (here, kept)
}

fn talk(peer: TcpStream, shelf: &Mutex<Shelf>) -> Option<()> {
    peer.set_read_timeout(Some(PATIENCE)).ok()?;
    let mut to_peer = peer.try_clone().ok()?;
    let mut from_peer = BufReader::new(peer);
    loop {
        let (mut first, mut bytes, mut range) = (String::new(), 0, None);
        from_peer.read_line(&mut first).ok().filter(|read| *read > 0)?;
        loop {
            let mut line = String::new();
            from_peer.read_line(&mut line).ok()?;
            let line = line.trim_end().to_ascii_lowercase();
            match line.split_once(": ") {
                None => break,
                Some(("content-length", value)) => bytes = value.parse().ok()?,
                Some(("range", value)) => range = value.strip_prefix("bytes=0-")?.parse().ok(),
                Some(_) => {}
            }
        }
        let mut body = vec![0; bytes];
        from_peer.read_exact(&mut body).ok()?;
        let mut words = first.split(' ');
        let (method, path) = (words.next()?, words.next()?);
        let answer = answer(&mut shelf.lock(), (method, path), range, body);
        to_peer.write_all(&answer).ok()?;
    }
}

fn answer(
    shelf: &mut Shelf,
    (method, path): (&str, &str),
    last: Option<usize>,
    body: Vec<u8>,
) -> Vec<u8> {
    let head = |status: &str, more: &str, length: usize| {
        format!("HTTP/1.1 {status}\r\n{more}Content-Length: {length}\r\n\r\n").into_bytes()
    };
    if shelf.busy > 0 {
        shelf.busy -= 1;
        return head("503 Busy", "Retry-After: 0\r\n", 0);
    }
    if method == "PUT" {
        if !shelf.forgets {
            shelf.files.insert(path.to_owned(), body);
        }
        return b"HTTP/1.1 204 Stored\r\n\r\n".to_vec();
    }
    let Some(file) = shelf.files.get(path) else { return head("404 Missing", "", 0) };
    let parts = match last {
        None => [head("200 OK", "", file.len()), file.clone()],
        Some(last) => {
            let more = format!("Content-Range: bytes 0-{last}/{}\r\n", file.len());
            [head("206 Part", &more, last + 1), file[..=last].to_vec()]
        }
    };
    if method == "DELETE" {
        shelf.files.remove(path);
        return b"HTTP/1.1 204 Gone\r\n\r\n".to_vec();
    }
    parts.concat()
}

const SCRIPT: &str = "96xxupgrade.txt";
const SETTINGS: &str = "46xxsettings.txt";
const FIRMWARE: &str = "fw.bin";

/// A directory with what phones must receive, and a server that has the same.
fn furnished() -> (tempfile::TempDir, Shelf) {
    let dir = tempfile::tempdir().unwrap();
    let mut shelf = Shelf::default();
    for (name, bytes) in [(SCRIPT, 90), (SETTINGS, 2_000), (FIRMWARE, 200_000)] {
        let content: Vec<u8> = (0..bytes).map(|at| (at * 7 % 251) as u8).collect();
        std::fs::write(dir.path().join(name), &content).unwrap();
        shelf.files.insert(format!("/{name}"), content);
    }
    (dir, shelf)
}

fn run_at(server: SocketAddr, root: &Path, arguments: &str) -> Run {
    let (url, root) = (format!("http://{server}"), root.display().to_string());
    let words = ["ringstorm", &url, "--root", &root].into_iter();
    let command = Command::parse_from(words.chain(arguments.split_ascii_whitespace()));
    let (world, gate) = prepare(&command).unwrap();
    run(&world, &gate, &command, |_, _| {}).unwrap()
}

#[test]
fn phones_boot_over_one_connection_or_many_on_one_thread_or_some() {
    let (dir, shelf) = furnished();
    let (server, _) = serve(shelf);
    for (arguments, connects) in
        [("", 1), ("--kind close", 4), ("--threads 3", 1), ("--addresses 2 --ramp 50ms", 1)]
    {
        let boot = "--phones 20 --boot avaya9600 --firmware fw.bin";
        let run = run_at(server, dir.path(), &format!("{boot} {arguments}"));
        let group = &run.groups[0];
        assert!(!run.has_failures(), "{arguments}: {:?}", group[Reason::Failures]);
        assert_eq!((group[Count::PhonesGood], group[Count::Answers]), (20, 80), "{arguments}");
        assert_eq!(
            (group[Count::Bytes], group[Count::Connects]),
            (20 * 202_090, 20 * connects),
            "{arguments}"
        );
    }
}

#[test]
fn a_header_is_all_that_some_kinds_take_of_firmware() {
    let (dir, shelf) = furnished();
    let (server, _) = serve(shelf);
    for arguments in ["--file fw.bin --kind header", "--file fw.bin --kind drop"] {
        let run = run_at(server, dir.path(), &format!("--phones 5 {arguments}"));
        let group = &run.groups[0];
        assert_eq!((group[Count::PhonesGood], group[Count::Bytes]), (5, 5 * 512), "{arguments}");
    }
}

#[test]
fn wrong_bytes_missing_files_and_nobody_at_all_are_found_out() {
    let (dir, mut shelf) = furnished();
    shelf.files.get_mut("/fw.bin").unwrap()[199_999] ^= 1;
    let (server, _) = serve(shelf);
    for (arguments, why) in [
        ("--file fw.bin", "wrong bytes"),
        ("--file nothing", "status 404"),
        ("--file fw.bin --put nowhere --kind header", ""),
    ] {
        let run = run_at(server, dir.path(), &format!("--phones 3 {arguments}"));
        assert_eq!(run.has_failures(), !why.is_empty(), "{arguments}");
        let failed = run.groups[0][Reason::Failures].get(why).copied().unwrap_or(0);
        assert_eq!(failed, if why.is_empty() { 0 } else { 3 }, "{arguments}");
    }
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let run = run_at(nobody, dir.path(), "--phones 3 --file fw.bin");
    assert_eq!((run.groups[0][Count::Unreachable], run.groups[0][Count::PhonesFailed]), (3, 3));
}

#[test]
fn a_phone_told_to_come_back_does() {
    let (dir, mut shelf) = furnished();
    shelf.busy = 3;
    let (server, _) = serve(shelf);
    let run = run_at(server, dir.path(), "--phones 3 --file fw.bin");
    assert_eq!((run.groups[0][Count::PhonesGood], run.groups[0][Count::Waits]), (3, 3));
}

#[test]
fn the_slow_and_the_idle_are_counted_as_the_server_ends_them() {
    let (dir, shelf) = furnished();
    let (server, _) = serve(shelf);
    for (arguments, word) in [
        ("--idle 4 --hold 5s", "closed"),
        ("--slow 4 --slow-rate 1", "closed"),
        ("--slow 4 --slow-rate 1 --slow-put 500", "closed"),
    ] {
        let rest = "--phones 4 --file 46xxsettings.txt";
        let run = run_at(server, dir.path(), &format!("{arguments} {rest}"));
        let [crowd, load] = &run.groups[..] else { panic!("{arguments}") };
        assert_eq!(crowd[Reason::Endings], [(word.to_owned(), 4)].into(), "{arguments}");
        assert_eq!((crowd[Count::Stayed], load[Count::PhonesGood]), (0, 4), "{arguments}");
        assert!(!run.has_failures(), "{arguments}");
    }
    for arguments in ["--idle 4 --hold 100ms", "--slow 4 --slow-read --hold 100ms"] {
        let rest = "--phones 0 --file 46xxsettings.txt";
        let run = run_at(server, dir.path(), &format!("{arguments} {rest}"));
        assert_eq!(run.groups[0][Count::Stayed], 4, "{arguments}");
    }
}

#[test]
fn what_was_acknowledged_is_looked_for_and_its_loss_told() {
    let (dir, shelf) = furnished();
    let (server, shelf) = serve(shelf);
    let file = dir.path().join("acknowledged");
    let puts = format!("--phones 4 --put 900 --puts 10 --acknowledged {}", file.display());
    let verify = format!("--verify {}", file.display());
    for _ in 0..2 {
        let run = run_at(server, dir.path(), &puts);
        assert_eq!((run.acknowledged.len(), run.groups[0][Count::PhonesGood]), (10, 4));
    }
    assert_eq!(std::fs::read_to_string(&file).unwrap().lines().count(), 20);
    assert!(!run_at(server, dir.path(), &verify).has_failures());

    shelf.lock().forgets = true;
    assert!(!run_at(server, dir.path(), &puts).has_failures());
    let run = run_at(server, dir.path(), &verify);
    assert_eq!(
        run.groups[0][Reason::Failures],
        [("older than the acknowledged one".into(), 4)].into()
    );
    shelf.lock().files.clear();
    let run = run_at(server, dir.path(), &verify);
    assert_eq!(run.groups[0][Reason::Failures], [("acknowledged, and missing".into(), 4)].into());
}
