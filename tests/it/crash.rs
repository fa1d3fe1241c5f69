//! The server is killed while phones store their users' data, and started again. What the kernel
//! has survives that; `vault/tests` checks that everything is synced before it is acknowledged, by
//! disks with failing steps.
//!
//! Three short rounds in every run. `RINGPOST_CRASH_ROUNDS`, `RINGPOST_CRASH_PHONES` and
//! `RINGPOST_CRASH_SEED` change length and seed; each phone stores ten versions a round.

use std::collections::HashMap;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use flate2::read::GzDecoder;
use phones::random::Random;
use store::vault::versions::VersionName;

use crate::http::line::{Line, get, put};
use crate::server::{PATIENCE, Server};

/// Versions that each phone stores in a round.
const PUTS: usize = 10;
/// Size of each version.
const BYTES: usize = 8 << 10;

fn setting(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |value| value.parse().expect("a number"))
}

/// Returns the extension of a phone: another one in each round.
fn extension(round: u64, phone: usize) -> String {
    format!("{round}-{phone}")
}

/// Returns a phone's version: no two are the same, and half of one is invalid.
fn version(extension: &str, put: usize) -> Vec<u8> {
    let mut text = format!("{extension} {put}\n");
    while text.len() < BYTES {
        text += &format!("SET X{} {extension}.{put}\n", text.len());
    }
    text.truncate(BYTES);
    text.into_bytes()
}

/// Stores version after version over one connection. Returns how many were acknowledged.
fn phone(server: SocketAddr, extension: &str, acknowledged: &AtomicUsize) -> usize {
    let Ok(mut socket) = TcpStream::connect_timeout(&server, PATIENCE) else { return 0 };
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    for number in 0..PUTS {
        let request = put(&format!("/{extension}_96xxdata.txt"), &version(extension, number));
        if socket.write_all(&request).is_err() {
            return number;
        }
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            match socket.read(&mut byte) {
                Ok(1) => head.push(byte[0]),
                Ok(_) | Err(_) => return number,
            }
        }
        let is_kept = head.starts_with(b"HTTP/1.1 201") || head.starts_with(b"HTTP/1.1 204");
        // A 201 has a body, and no other answer is valid in this test.
        assert!(is_kept, "{}", String::from_utf8_lossy(&head));
        acknowledged.fetch_add(1, Ordering::Relaxed);
        let text = String::from_utf8_lossy(&head).to_ascii_lowercase();
        let length = text.lines().find_map(|line| line.strip_prefix("content-length: "));
        let mut body = vec![0; length.map_or(0, |length| length.trim().parse().unwrap())];
        if socket.read_exact(&mut body).is_err() {
            return number + 1;
        }
    }
    PUTS
}

/// Returns the vault's versions of these extensions, the oldest first, by `ringpost vault export`.
fn kept(server: &Server, extensions: &[String]) -> HashMap<String, Vec<Vec<u8>>> {
    let exported = server.command("vault export -", b"");
    assert!(exported.status.success(), "{exported:?}");
    let mut kept: HashMap<String, Vec<(String, Vec<u8>)>> = HashMap::new();
    let mut archive = tar::Archive::new(GzDecoder::new(&*exported.stdout));
    for member in archive.entries().unwrap() {
        let mut member = member.unwrap();
        let path = member.path().unwrap().to_str().unwrap().to_owned();
        let extension = path.split('/').next().unwrap().to_owned();
        let mut bytes = Vec::new();
        member.read_to_end(&mut bytes).unwrap();
        kept.entry(extension).or_default().push((path, bytes));
    }
    kept.retain(|extension, _| extensions.contains(extension));
    let in_order = |mut versions: Vec<(String, Vec<u8>)>| {
        versions.sort_unstable();
        versions.into_iter().map(|(_, bytes)| bytes).collect()
    };
    kept.into_iter().map(|(extension, versions)| (extension, in_order(versions))).collect()
}

/// Returns the files of the vault that are not versions.
fn strays(vault: &Path) -> Vec<String> {
    let mut strays = Vec::new();
    for extension in fs::read_dir(vault).unwrap().map(Result::unwrap) {
        // The number of the vault's last version is kept beside the extensions.
        if extension.file_name() == ".sequence" {
            continue;
        }
        for inner in fs::read_dir(extension.path()).unwrap().map(Result::unwrap) {
            let is_family = inner.file_name() == "96xxdata" && extension.file_name() != ".aside";
            if !is_family {
                strays.push(inner.path().display().to_string());
                continue;
            }
            let names = fs::read_dir(inner.path()).unwrap().map(|entry| entry.unwrap().path());
            let is_version = |path: &Path| {
                let name = path.file_name().and_then(|name| name.to_str());
                name.is_some_and(|name| VersionName::parse(name).is_some())
            };
            // Each item has an index of its versions' numbers.
            let is_index = |path: &Path| path.ends_with("index");
            strays.extend(
                names
                    .filter(|path| !is_version(path) && !is_index(path))
                    .map(|p| p.display().to_string()),
            );
        }
    }
    strays
}

/// Kills the server once. Describes the result.
fn round(server: &mut Server, round: u64, phones: usize, random: &mut Random) -> String {
    let extensions: Vec<_> = (0..phones).map(|phone| extension(round, phone)).collect();
    let acknowledged = AtomicUsize::new(0);
    let kill_after = 1 + random.below((phones * PUTS - 1) as u64) as usize;
    let moment = Duration::from_micros(random.below(2_000));
    let (address, all_here) = (server.address(), Barrier::new(phones + 1));
    let counts: Vec<usize> = std::thread::scope(|scope| {
        let (acknowledged, all_here) = (&acknowledged, &all_here);
        let mut threads = Vec::new();
        for extension in &extensions {
            threads.push(scope.spawn(move || {
                all_here.wait();
                phone(address, extension, acknowledged)
            }));
        }
        all_here.wait();
        let began = Instant::now();
        while acknowledged.load(Ordering::Relaxed) < kill_after {
            assert!(began.elapsed() < 10 * PATIENCE, "the phones are not served");
            std::thread::sleep(Duration::from_micros(200));
        }
        std::thread::sleep(moment);
        server.kill();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let left = strays(&server.path("vault")).len();
    server.start_again();
    let vault = server.path("vault");
    assert_eq!(strays(&vault), [""; 0], "what the crash left is gone before anybody is served");
    let kept = kept(server, &extensions);
    let mut line = Line::open(server.address());
    let mut more = 0;
    for (extension, &count) in extensions.iter().zip(&counts) {
        let there = kept.get(extension).map_or(&[][..], Vec::as_slice);
        let sent: Vec<_> = (0..PUTS).map(|put| version(extension, put)).collect();
        // One more may have been on its way, and is stored whole or not at all.
        assert!((count..=count + 1).contains(&there.len()), "{extension}: {count} were promised");
        assert!(*there == sent[..there.len()], "{extension}: versions are lost or broken");
        more += there.len() - count;
        let reply = line.ask(get(&format!("/{extension}_96xxdata.txt")));
        match there.last() {
            Some(newest) => assert!(reply.status == 200 && reply.body == *newest, "{reply:?}"),
            None => assert_eq!(reply.status, 404),
        }
    }
    let count: usize = counts.iter().sum();
    format!(
        "round {round}: killed after {kill_after} of {}; {count} acknowledged and all there whole, \
         {more} more on their way were durable; {left} files were left aside and swept",
        phones * PUTS
    )
}

#[test]
fn whatever_was_acknowledged_before_the_server_was_killed_is_there_after_it() {
    let rounds = setting("RINGPOST_CRASH_ROUNDS", 3);
    let phones = setting("RINGPOST_CRASH_PHONES", 25) as usize;
    let mut random = Random::new(setting("RINGPOST_CRASH_SEED", 1));
    let mut server = Server::start_web("versions = 10000\n");
    for number in 0..rounds {
        eprintln!("{}", round(&mut server, number, phones, &mut random));
    }
}
