//! The server's own life: reloads, stops, a second one, and an end without warning.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::process::Command;
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::raw::{Session, trusting};
use crate::interop::{expect_same, noise};
use crate::server::{Server, eventually};

#[test]
fn a_reload_breaks_neither_sessions_nor_transfers() {
    let server = Server::start_ftp("");
    let file = noise(20 << 20);
    server.put("firmware.bin", &file);
    super::add_administrator(&server, "ann", "secret");
    let mut phone = Session::open(server.ftp_address());
    phone.secure(&trusting(&server));
    phone.log_in();
    let mut down = phone.begin("RETR firmware.bin").unwrap();
    let mut got = vec![0; 100_000];
    down.read_exact(&mut got).unwrap();
    let mut administrator = Session::open(server.ftp_address());
    administrator.secure(&trusting(&server));
    administrator.log_in_as("ann", "secret");
    let mut up = administrator.begin("STOR root/new.bin").unwrap();
    up.write_all(&file[..1_000_000]).unwrap();
    server.configure_ftp("phones = [\"nobody\"]\nidle_timeout = \"100s\"\n");
    server.signal("HUP");
    eventually("the reload", || {
        Session::open(server.ftp_address()).ask("USER anonymous").code == 530
    });
    down.read_to_end(&mut got).unwrap();
    assert_eq!(phone.hear().code, 226);
    expect_same(&got, &file, "the download");
    up.write_all(&file[1_000_000..]).unwrap();
    up.finish().unwrap();
    assert_eq!(administrator.hear().code, 226);
    expect_same(&std::fs::read(server.path("root/new.bin")).unwrap(), &file, "the upload");
    // A session stays logged in.
    assert_eq!(phone.fetch("RETR firmware.bin").unwrap().len(), file.len());
}

#[test]
fn whoever_transfers_is_let_finish_before_the_server_stops_and_others_are_told() {
    let mut server = Server::start_ftp("");
    let file = noise(8 << 20);
    server.put("firmware.bin", &file);
    let mut idle = Session::open(server.ftp_address());
    idle.log_in();
    let mut phone = Session::open(server.ftp_address());
    phone.log_in();
    let mut down = phone.begin("RETR firmware.bin").unwrap();
    let mut storing = Session::open(server.ftp_address());
    storing.log_in();
    let mut up = storing.begin("STOR log.up").unwrap();
    up.write_all(b"half of ").unwrap();
    server.signal("TERM");
    assert_eq!(idle.hear().code, 421);
    assert_eq!(idle.listen(), None);
    std::thread::sleep(Duration::from_millis(300));
    let mut got = Vec::new();
    down.read_to_end(&mut got).unwrap();
    assert_eq!(phone.hear().code, 226);
    expect_same(&got, &file, "the download");
    up.write_all(b"a log").unwrap();
    up.finish().unwrap();
    assert_eq!(storing.hear().code, 226);
    assert!(server.wait().success());
    assert_eq!(server.uploaded("log.up").unwrap(), b"half of a log");
}

#[test]
fn a_second_server_on_the_port_says_what_is_wrong_and_ends() {
    let server = Server::start_ftp("");
    let port = server.ftp_address().port();
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("root")).unwrap();
    let text =
        format!("data_dir = \".\"\n[ftp]\nlisten = [\"127.0.0.1:{port}\"]\nroot = [\"root\"]\n");
    std::fs::write(dir.path().join("ringpost.toml"), text).unwrap();
    let output = Command::new("timeout")
        .args(["20", env!("CARGO_BIN_EXE_ringpost"), "serve", "--config", "ringpost.toml"])
        .current_dir(dir.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(
        said.contains(&port.to_string()) && said.contains("another Ringpost, process"),
        "{said}"
    );
    Session::open(server.ftp_address()).log_in();
}

/// Versions that each phone of the crash stores.
const STORES: usize = 40;
/// Phones that store at once.
const PHONES: usize = 50;

/// Stores version after version; returns how many were acknowledged.
fn store_on(server: SocketAddr, extension: usize, acknowledged: &AtomicUsize) -> usize {
    let mut session = Session::open(server);
    session.log_in();
    let name = format!("{extension}_4620data.txt");
    for number in 0..STORES {
        let text = version(extension, number);
        match session.try_send(&format!("STOR {name}"), text.as_bytes()) {
            Some(226) => drop(acknowledged.fetch_add(1, Ordering::Relaxed)),
            Some(code) => panic!("{code} in answer to a save"),
            None => return number,
        }
    }
    STORES
}

fn version(extension: usize, number: usize) -> String {
    format!("SET OF {extension} {number}\n").repeat(200)
}

#[test]
fn whatever_was_acknowledged_before_the_server_was_killed_is_there_after_it() {
    let mut server = Server::start_ftp("trusted_networks = [\"127.0.0.0/8\"]\n");
    let (address, all_here) = (server.ftp_address(), Barrier::new(PHONES + 1));
    let acknowledged = AtomicUsize::new(0);
    let counts: Vec<usize> = std::thread::scope(|scope| {
        let (acknowledged, all_here) = (&acknowledged, &all_here);
        let threads: Vec<_> = (0..PHONES)
            .map(|phone| {
                scope.spawn(move || {
                    all_here.wait();
                    store_on(address, 3_000 + phone, acknowledged)
                })
            })
            .collect();
        all_here.wait();
        eventually("half of them are stored", || {
            acknowledged.load(Ordering::Relaxed) >= PHONES * STORES / 2
        });
        server.kill();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    server.start_again();
    let mut extra = HashMap::new();
    for (phone, &count) in counts.iter().enumerate() {
        let extension = 3_000 + phone;
        let dir = server.path(&format!("vault/{extension}/4620data"));
        let mut kept: Vec<std::path::PathBuf> = std::fs::read_dir(dir)
            .map(|dir| dir.map(|entry| entry.unwrap().path()).collect())
            .unwrap_or_default();
        kept.retain(|path| !path.ends_with("index"));
        kept.sort();
        let kept: Vec<String> =
            kept.iter().map(|path| std::fs::read_to_string(path).unwrap()).collect();
        // One more may have been on its way, and is stored whole or not at all.
        assert!((count..=count + 1).contains(&kept.len()), "{extension}: {count} were promised");
        let sent: Vec<_> = (0..kept.len()).map(|number| version(extension, number)).collect();
        assert!(kept == sent, "{extension}: versions are lost or broken");
        let mut session = Session::open(server.ftp_address());
        session.log_in();
        let newest = session.fetch(&format!("RETR {extension}_4620data.txt")).ok();
        assert_eq!(newest, sent.last().map(|sent| sent.clone().into_bytes()));
        *extra.entry(kept.len() - count).or_insert(0) += 1;
    }
    let count: usize = counts.iter().sum();
    eprintln!("{count} of {} acknowledged and all there whole; {extra:?}", PHONES * STORES);
    assert!(count < PHONES * STORES, "it was killed in the middle");
}
