//! Files that change, vanish or are not regular: an administrator's changes during transfers.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::symlink;
use std::process::Command;

use wire::tftp::Options;

use crate::raw::{Phone, ServerPacket, fetch, size_of};
use crate::server::{Server, eventually};

/// Large enough to be mapped if memory is short, and to be under way for long.
pub(crate) const FIRMWARE_BYTES: usize = 2 << 20;

pub(crate) fn firmware() -> Vec<u8> {
    (0..FIRMWARE_BYTES as u32).flat_map(|n| [(n >> 9) as u8 ^ n as u8]).collect()
}

/// Returns a server with one file, which it must still serve at the end of the test.
pub(crate) fn honest() -> Server {
    let server = Server::start();
    server.put("honest.cfg", b"SET HONEST 1\n");
    server
}

/// Returns such a server with room in memory for the firmware, and one that has to map it.
fn roomy_and_tight() -> [Server; 2] {
    let tight = Server::start_with("[content]\nheap_budget = \"1MiB\"\n");
    tight.put("honest.cfg", b"SET HONEST 1\n");
    [honest(), tight]
}

pub(crate) fn expect_honest(server: &Server) {
    assert_eq!(fetch(server.address(), "honest.cfg"), Ok(b"SET HONEST 1\n".to_vec()));
}

#[test]
fn what_is_no_regular_file_of_the_root_is_not_served() {
    let server = honest();
    fs::write(server.path("secret"), b"secret").unwrap();
    let root = server.path("root");
    symlink("../secret", root.join("link.cfg")).unwrap();
    symlink("/etc/hostname", root.join("absolute.cfg")).unwrap();
    symlink("..", root.join("up")).unwrap();
    symlink("itself", root.join("itself")).unwrap();
    fs::create_dir(root.join("folder.cfg")).unwrap();
    let made = Command::new("mkfifo").arg(root.join("fifo.cfg")).status().unwrap();
    assert!(made.success());
    // Once this one is served, the server has found the others too.
    server.put("later.cfg", b"later");
    for name in [
        "link.cfg",
        "absolute.cfg",
        "up/secret",
        "itself",
        "folder.cfg",
        "fifo.cfg",
        "up/root/later.cfg",
    ] {
        let answer = fetch(server.address(), name);
        assert!(answer.is_err(), "{name}: {answer:?}");
    }
    expect_honest(&server);
}

#[test]
fn a_file_swapped_for_a_fifo_or_a_link_is_not_served_either() {
    let server = honest();
    let (fifo, link) = (server.put("fifo.cfg", b"file"), server.put("link.cfg", b"file"));
    fs::write(server.path("secret"), b"secret").unwrap();
    fs::remove_file(&fifo).unwrap();
    let made = Command::new("mkfifo").arg(&fifo).status().unwrap();
    assert!(made.success());
    fs::remove_file(&link).unwrap();
    symlink("../secret", &link).unwrap();
    for name in ["fifo.cfg", "link.cfg"] {
        // The old bytes may still be in memory for a moment; the new ones never come.
        let answer = fetch(server.address(), name);
        assert!(answer != Ok(b"secret".to_vec()), "{name}: {answer:?}");
    }
    expect_honest(&server);
}

/// Returns a transfer of the firmware that has just begun.
fn half_way(server: &Server) -> Phone {
    let mut phone = Phone::new(server.address());
    phone.read("firmware.bin", Options::default());
    assert!(matches!(phone.hear(), ServerPacket::Data(1, _)));
    phone
}

/// Asserts that the rest is of one version, or an error; never a mixture.
fn expect_one_version(mut phone: Phone, first: u8, versions: &[&[u8]]) {
    phone.ack(1);
    if let Ok(rest) = phone.take_rest(2, 512) {
        let is_whole = |version: &&&[u8]| version[0] == first && version.get(512..) == Some(&rest);
        assert!(versions.iter().find(is_whole).is_some(), "a mixture of {} bytes", rest.len());
    }
}

#[test]
fn a_file_cut_short_while_it_is_sent_ends_the_transfer_alone() {
    for mut server in roomy_and_tight() {
        let file = firmware();
        let path = server.put("firmware.bin", &file);
        let phone = half_way(&server);
        OpenOptions::new().write(true).open(path).unwrap().set_len(10_000).unwrap();
        expect_one_version(phone, file[0], &[&file]);
        assert!(server.runs());
        expect_honest(&server);
    }
}

#[test]
fn a_file_that_grows_while_it_is_sent_is_no_mixture() {
    for server in roomy_and_tight() {
        let file = firmware();
        let path = server.put("firmware.bin", &file);
        let phone = half_way(&server);
        OpenOptions::new().append(true).open(path).unwrap().write_all(&[9; 100_000]).unwrap();
        expect_one_version(phone, file[0], &[&file]);
    }
}

#[test]
fn a_file_written_over_in_place_while_it_is_sent_is_no_mixture() {
    for server in roomy_and_tight() {
        let file = firmware();
        let path = server.put("firmware.bin", &file);
        let phone = half_way(&server);
        let mut other = OpenOptions::new().write(true).open(path).unwrap();
        other.write_all(&vec![0xee; FIRMWARE_BYTES]).unwrap();
        drop(other);
        expect_one_version(phone, file[0], &[&file]);
        expect_honest(&server);
    }
}

#[test]
fn a_firmware_that_fits_in_memory_is_sent_to_its_end_whatever_is_done_to_its_file() {
    let server = honest();
    let file = firmware();
    let path = server.put("firmware.bin", &file);
    let mut phone = half_way(&server);
    fs::write(path, b"cut short").unwrap();
    phone.ack(1);
    assert!(phone.take_rest(2, 512).expect("the version that it began with") == file[512..]);
}

#[test]
fn a_file_replaced_while_it_is_sent_goes_on_as_it_was() {
    let server = honest();
    let file = firmware();
    server.put("firmware.bin", &file);
    let mut phone = half_way(&server);
    let new = vec![0xee; FIRMWARE_BYTES - 700];
    server.put("firmware.bin", &new);
    phone.ack(1);
    let rest = phone.take_rest(2, 512).expect("the transfer keeps the version that it began with");
    assert!(rest == file[512..]);
    assert!(fetch(server.address(), "firmware.bin").as_deref() == Ok(&new));
}

#[test]
fn a_root_that_vanishes_is_no_reason_to_stop() {
    let mut server = honest();
    fs::rename(server.path("root"), server.path("gone")).unwrap();
    let (address, root) = (server.address(), server.path("root"));
    eventually("it is noticed", || server.log().contains("cannot be read"));
    assert!(
        size_of(address, "honest.cfg").is_ok(),
        "what was there stays as long as it can be read"
    );
    fs::rename(server.path("gone"), root).unwrap();
    assert!(server.runs());
    server.signal("HUP");
    eventually("a root that is back is served again", || size_of(address, "honest.cfg").is_ok());
}
