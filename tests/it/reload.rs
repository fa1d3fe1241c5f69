//! Signals: a reload breaks no transfer, a broken configuration changes nothing, a stop drains.

use std::fs;

use wire::tftp::Options;

use crate::raw::{Phone, ServerPacket, fetch, size_of};
use crate::server::{Server, eventually};

const TRANSFERS: usize = 8;

fn file() -> Vec<u8> {
    (0..400_000_u32).map(|n| (n / 512) as u8 ^ n as u8).collect()
}

/// Begins transfers: their first block has arrived and is not acknowledged.
fn begin(server: &Server) -> Vec<Phone> {
    let begin = |_| {
        let mut phone = Phone::new(server.address());
        phone.read("file.bin", Options::default());
        assert!(matches!(phone.hear(), ServerPacket::Data(1, _)));
        phone
    };
    (0..TRANSFERS).map(begin).collect()
}

fn expect_whole(mut phone: Phone) {
    phone.ack(1);
    let rest = phone.take_rest(2, 512).expect("the rest of the file");
    assert!(rest == file()[512..]);
}

#[test]
fn a_reload_breaks_no_running_transfer() {
    let server = Server::start();
    server.put("file.bin", &file());
    for phone in begin(&server) {
        server.configure("blksize_max = 1024\nwindowsize_max = 4\n");
        server.signal("HUP");
        expect_whole(phone);
    }
    let asked = Options { blksize: Some(1_400), ..Options::default() };
    eventually("the new limits hold for new transfers", || {
        let mut phone = Phone::new(server.address());
        phone.read("file.bin", asked);
        phone.hear()
            == ServerPacket::OptionAck(Options { blksize: Some(1_024), ..Options::default() })
    });
}

#[test]
fn a_broken_configuration_changes_nothing_and_is_told() {
    let mut server = Server::start();
    server.put("file.bin", &file());
    let phones = begin(&server);
    fs::write(server.path("ringpost.toml"), "[tftp]\nblksize_maximum = 12\n").unwrap();
    server.signal("HUP");
    eventually("the mistake is told", || server.log().contains("blksize_maximum"));
    phones.into_iter().for_each(expect_whole);
    assert!(server.runs());
    assert!(fetch(server.address(), "file.bin").is_ok_and(|got| got == file()));
    server.configure("blksize_max = 600\n");
    server.signal("HUP");
    eventually("a mended configuration is taken", || {
        let mut phone = Phone::new(server.address());
        phone.read("file.bin", Options { blksize: Some(1_400), ..Options::default() });
        phone.hear()
            == ServerPacket::OptionAck(Options { blksize: Some(600), ..Options::default() })
    });
}

#[test]
fn a_stop_lets_running_transfers_end_and_begins_no_new_ones() {
    let mut server = Server::start();
    server.put("file.bin", &file());
    let phones = begin(&server);
    server.signal("TERM");
    let mut late = Phone::new(server.address());
    eventually("new requests are not served any more", || {
        late.read("file.bin", Options::default());
        !matches!(late.hear_quickly(), Some(ServerPacket::Data(..)))
    });
    assert!(server.runs(), "there are transfers yet to end");
    phones.into_iter().for_each(expect_whole);
    assert!(server.wait().success());
}

#[test]
fn a_stop_without_transfers_is_immediate() {
    let mut server = Server::start();
    server.put("file.bin", b"x");
    assert_eq!(size_of(server.address(), "file.bin"), Ok(1));
    server.signal("TERM");
    assert!(server.wait().success());
}
