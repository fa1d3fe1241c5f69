//! Requests that no good phone sends, and more of them than fit: the server continues to serve.

use std::fs;
use std::net::UdpSocket;

use wire::tftp::{Block, Control, ErrorCode, Options};

use crate::files::{expect_honest, firmware, honest};
use crate::raw::{Phone, ServerPacket, store};
use crate::server::{Server, eventually};

const NONE: Options =
    Options { blksize: None, windowsize: None, timeout: None, utimeout: None, tsize: None };

#[test]
fn datagrams_that_mean_nothing_harm_nobody() {
    let server = honest();
    let long_name = [b"\0\x01".as_slice(), &[b'n'; 600], b"\0octet\0"].concat();
    let too_many = [b"\0\x01honest.cfg\0octet\0".as_slice(), &b"tsize\x000\0".repeat(100)].concat();
    let bad: Vec<&[u8]> = vec![
        b"",
        b"\0",
        b"\0\0",
        b"\0\x01",
        b"\0\x02",
        b"\0\x03",
        b"\0\x04",
        b"\0\x05",
        b"\0\x06",
        b"\0\x07\0\x01",
        b"\xff\xff\xff\xff",
        b"\0\x01honest.cfg",
        b"\0\x01honest.cfg\0",
        b"\0\x01honest.cfg\0octet",
        b"\0\x01\0octet\0",
        b"\0\x01\0\0",
        b"\0\x01honest.cfg\0\0",
        b"\0\x01honest.cfg\0mail\0",
        b"\0\x02honest.up\0octet",
        b"\0\x03\0\x01 data for nobody",
        b"\0\x04\0\x09",
        b"\0\x05\0\x00\0",
        b"\0\x06blksize\x00512\0",
        &[b'x'; 1_400],
        &long_name,
        &too_many,
    ];
    for datagram in bad {
        let mut phone = Phone::new(server.address());
        phone.ask(datagram);
        while let Some(came) = phone.hear_quickly() {
            assert!(matches!(came, ServerPacket::Error(_)), "{came:?} in answer to {datagram:?}");
            assert!(!datagram.starts_with(&[0, 5]), "an ERROR is never answered");
        }
    }
    expect_honest(&server);
}

#[test]
fn garbage_behind_a_good_request_is_ignored() {
    let server = honest();
    let mut phone = Phone::new(server.address());
    phone.ask(b"\0\x01honest.cfg\0octet\0blksize\x001024\0\xde\xad\xbe\xef");
    assert_eq!(phone.hear(), ServerPacket::OptionAck(Options { blksize: Some(1_024), ..NONE }));
    phone.ack(0);
    assert_eq!(phone.take_rest(1, 1_024), Ok(b"SET HONEST 1\n".to_vec()));
}

#[test]
fn options_that_cannot_be_used_are_left_out() {
    let server = honest();
    let unusable = [
        Options { blksize: Some(0), ..NONE },
        Options { blksize: Some(7), ..NONE },
        Options { windowsize: Some(0), ..NONE },
        Options { timeout: Some(0), ..NONE },
        Options { timeout: Some(256), ..NONE },
    ];
    for options in unusable {
        let mut phone = Phone::new(server.address());
        phone.read("honest.cfg", options);
        assert_eq!(phone.hear(), ServerPacket::Data(1, b"SET HONEST 1\n".to_vec()), "{options:?}");
    }
    let mut phone = Phone::new(server.address());
    phone.ask(b"\0\x01honest.cfg\0octet\0blksize\0-1\0windowsize\0x\0tsize\0\0");
    assert_eq!(phone.hear(), ServerPacket::Data(1, b"SET HONEST 1\n".to_vec()));
}

#[test]
fn options_that_are_too_large_are_answered_with_less_or_not_at_all() {
    let server = honest();
    for options in [
        Options { blksize: Some(65_465), ..NONE },
        Options { blksize: Some(u64::MAX), ..NONE },
        Options { windowsize: Some(65_535), ..NONE },
        Options { windowsize: Some(65_536), ..NONE },
    ] {
        let mut phone = Phone::new(server.address());
        phone.read("honest.cfg", options);
        match phone.hear() {
            ServerPacket::OptionAck(granted) => {
                assert!(granted.blksize.is_none_or(|bytes| bytes <= 1_468), "{granted:?}");
                assert!(granted.windowsize.is_none_or(|blocks| blocks <= 64), "{granted:?}");
            }
            ServerPacket::Data(block, _) => assert_eq!(block, 1),
            other @ (ServerPacket::Ack(_) | ServerPacket::Error(_)) => panic!("{other:?}"),
        }
    }
}

#[test]
fn the_size_is_the_servers_to_tell() {
    let server = honest();
    let mut phone = Phone::new(server.address());
    phone.read("honest.cfg", Options { tsize: Some(999_999), ..NONE });
    assert_eq!(phone.hear(), ServerPacket::OptionAck(Options { tsize: Some(13), ..NONE }));
}

#[test]
fn an_upload_that_is_not_as_large_as_announced_is_not_stored() {
    let server = honest();
    for (announced, payload) in [(10, 100), (400, 100)] {
        let mut phone = Phone::new(server.address());
        phone.write(b"lie.up", Options { tsize: Some(announced), ..NONE });
        assert!(matches!(phone.hear(), ServerPacket::OptionAck(_)));
        phone.data(1, &vec![b'x'; payload]);
        assert!(matches!(phone.hear(), ServerPacket::Error(_)));
        assert_eq!(server.uploaded("lie.up"), None);
    }
    let mut phone = Phone::new(server.address());
    phone.write(b"huge.up", Options { tsize: Some(5 << 20), ..NONE });
    assert!(matches!(phone.hear(), ServerPacket::Error(_)), "more than its rule allows");
    expect_honest(&server);
}

#[test]
fn an_upload_larger_than_its_rule_allows_is_stopped_while_it_comes() {
    let server = honest();
    let refused = store(server.address(), "huge.up", &vec![7; (4 << 20) + 1]);
    assert!(refused.is_err());
    assert_eq!(server.uploaded("huge.up"), None);
}

#[test]
fn acknowledgements_of_blocks_never_sent_move_nothing() {
    let server = honest();
    server.put("firmware.bin", &firmware());
    let mut phone = Phone::new(server.address());
    phone.read("firmware.bin", NONE);
    assert!(matches!(phone.hear(), ServerPacket::Data(1, _)));
    for block in [2, 500, 32_768, 65_535] {
        phone.ack(block);
    }
    assert!(!matches!(phone.hear_quickly(), Some(ServerPacket::Data(2.., _))));
    phone.ack(1);
    let rest = phone.take_rest(2, 512).unwrap();
    assert!(rest == firmware()[512..]);
}

#[test]
fn a_doubled_acknowledgement_brings_no_second_block() {
    let server = honest();
    server.put("firmware.bin", &firmware());
    let mut phone = Phone::new(server.address());
    phone.read("firmware.bin", NONE);
    assert!(matches!(phone.hear(), ServerPacket::Data(1, _)));
    for block in 1..100 {
        phone.ack(block);
        phone.ack(block);
        assert!(matches!(phone.hear(), ServerPacket::Data(next, _) if next == block + 1));
    }
    let resent = phone.hear_quickly();
    assert!(
        resent.is_none_or(|came| matches!(came, ServerPacket::Data(100, _))),
        "RFC 1123, 4.2.3.1"
    );
}

#[test]
fn a_stranger_is_told_off_and_the_transfer_goes_on() {
    let server = honest();
    server.put("firmware.bin", &firmware());
    let mut phone = Phone::new(server.address());
    phone.read("firmware.bin", NONE);
    assert!(matches!(phone.hear(), ServerPacket::Data(1, _)));
    let mut stranger = Phone::new(phone.peer);
    for packet in [
        Control::ack(Block(1)).as_bytes(),
        b"\0\x03\0\x01stray",
        Control::error(ErrorCode::UNDEFINED, "forged").as_bytes(),
    ] {
        stranger.ask(packet);
        let reply = stranger.hear_quickly();
        let unknown_tid = Some(ServerPacket::Error(ErrorCode::UNKNOWN_TID.0));
        assert!(reply == unknown_tid || (reply.is_none() && packet[1] == 5), "{reply:?}");
    }
    phone.ack(1);
    assert!(phone.take_rest(2, 512).is_ok());
}

#[test]
fn data_sent_to_a_reader_harms_nobody_else() {
    let server = honest();
    server.put("firmware.bin", &firmware());
    let mut phone = Phone::new(server.address());
    phone.read("firmware.bin", NONE);
    assert!(matches!(phone.hear(), ServerPacket::Data(1, _)));
    phone.data(1, b"what is this");
    phone.send(b"\0\x06blksize\x001024\0");
    phone.send(b"\0\x07");
    phone.send(b"");
    expect_honest(&server);
}

#[test]
fn a_request_that_is_repeated_at_once_is_served_once() {
    let server = honest();
    server.put("firmware.bin", &firmware());
    let mut phone = Phone::new(server.address());
    for _ in 0..3 {
        phone.read("firmware.bin", NONE);
    }
    assert!(matches!(phone.hear(), ServerPacket::Data(1, _)));
    let first = phone.peer;
    phone.ack(1);
    assert!(matches!(phone.hear(), ServerPacket::Data(2, _)));
    assert_eq!(phone.peer, first);
}

#[test]
fn names_that_lead_elsewhere_are_neither_read_nor_written() {
    let server = honest();
    fs::write(server.path("secret"), b"secret").unwrap();
    for name in [
        b"../secret".as_slice(),
        b"..\\secret",
        b"/../secret",
        b"uploads/../../secret",
        b"./../secret",
        b"C:\\secret",
        b"C:secret",
        b"CON",
        b"con.up",
        b"nul.up",
        b"x/AUX.up",
        b"file.up::$DATA",
        b"..",
        b".",
        b"/",
        b"",
        b".hidden.up",
        b"x.up.",
        b"x.up ",
        b"bell\x07.up",
        b"line\n.up",
    ] {
        let mut phone = Phone::new(server.address());
        phone.write(name, NONE);
        let answer = phone.hear();
        assert!(matches!(answer, ServerPacket::Error(_)), "{:?}: {answer:?}", name.escape_ascii());
        let mut phone = Phone::new(server.address());
        phone.read(&String::from_utf8_lossy(name), NONE);
        let answer = phone.hear();
        assert!(matches!(answer, ServerPacket::Error(_)), "{:?}: {answer:?}", name.escape_ascii());
    }
    // A NUL ends the name; what follows is not a valid mode.
    let mut phone = Phone::new(server.address());
    phone.write(b"x.up\0/../../secret", NONE);
    assert!(matches!(phone.hear(), ServerPacket::Error(_)));
    assert_eq!(fs::read_dir(server.path("uploads")).unwrap().count(), 0);
    assert_eq!(fs::read(server.path("secret")).unwrap(), b"secret");
    expect_honest(&server);
}

#[test]
fn bytes_above_127_are_a_name_like_any_other() {
    let server = honest();
    let name = "gr\u{fc}\u{df}e.up";
    assert_eq!(store(server.address(), name, b"Servus"), Ok(()));
    assert_eq!(server.uploaded(name), Some(b"Servus".to_vec()));
    let mut phone = Phone::new(server.address());
    phone.write(b"latin\xff.up", NONE);
    phone.hear();
    expect_honest(&server);
}

#[test]
fn floods_of_requests_without_a_phone_behind_them_leave_room_for_honest_ones() {
    let server = Server::start_with("half_open_max = 100\n");
    server.put("honest.cfg", b"SET HONEST 1\n");
    for _ in 0..20 {
        // None of these ever answers, and each has a port of its own.
        let silent: Vec<UdpSocket> =
            (0..50).map(|_| UdpSocket::bind("127.0.0.1:0").unwrap()).collect();
        for socket in &silent {
            socket.send_to(b"\0\x01honest.cfg\0octet\0", server.address()).unwrap();
        }
    }
    expect_honest(&server);
}

#[test]
fn options_beyond_the_eighth_are_not_read() {
    let server = honest();
    let seven = b"none\0none\0".repeat(7);
    for (more, granted) in [(0, Some(1_000)), (1, None)] {
        let more = b"none\0none\0".repeat(more);
        let start = b"\0\x01honest.cfg\0octet\0".as_slice();
        let request = [start, &seven, &more, b"blksize\x001000\0"].concat();
        let mut phone = Phone::new(server.address());
        phone.ask(&request);
        match phone.hear() {
            ServerPacket::OptionAck(options) => assert_eq!(options.blksize, granted),
            other @ (ServerPacket::Data(..) | ServerPacket::Ack(_) | ServerPacket::Error(_)) => {
                assert!(
                    matches!(other, ServerPacket::Data(1, _)) && granted.is_none(),
                    "{other:?}"
                );
            }
        }
    }
}

/// Requests the file from its own address; returns the socket, the answer's sender, and the opcode.
fn ask_from(address: &str, server: &Server) -> (UdpSocket, std::net::SocketAddr, u8) {
    let socket = UdpSocket::bind((address, 0)).unwrap();
    socket.set_read_timeout(Some(crate::server::PATIENCE)).unwrap();
    socket.send_to(b"\0\x01honest.cfg\0octet\0", server.address()).unwrap();
    let mut answer = [0; 600];
    let (_, from) = socket.recv_from(&mut answer).unwrap();
    (socket, from, answer[1])
}

fn acknowledge(socket: &mut UdpSocket, server: std::net::SocketAddr, block: u16) {
    socket.send_to(Control::ack(Block(block)).as_bytes(), server).unwrap();
}

#[test]
fn a_client_beyond_the_limit_is_told_to_come_back_until_a_hold_is_over() {
    let sessions = "[sessions]\nclients_max = 1\nhold = \"3s\"\nidle_place = \"keep\"\n";
    let server = Server::start_with(&format!("{sessions}overflow = \"refuse\"\n"));
    server.put("honest.cfg", &[b'#'; 600]);
    let (data, error) = (3, 5);
    let mut first = None;
    eventually("the slot of whoever put the file there is free again", || {
        let asked = ask_from("127.0.0.7", &server);
        let has_slot = asked.2 == data;
        first = has_slot.then_some(asked);
        has_slot
    });
    let (mut socket, from, _) = first.unwrap();
    acknowledge(&mut socket, from, 1);
    assert_eq!(ask_from("127.0.0.8", &server).2, error);
    acknowledge(&mut socket, from, 2);
    assert_eq!(ask_from("127.0.0.8", &server).2, error, "it may want its next file");
    eventually("a slot is free when its hold is over", || ask_from("127.0.0.8", &server).2 == data);
}

#[test]
fn a_client_beyond_the_limit_waits_for_its_turn() {
    let sessions = "[sessions]\nclients_max = 1\nhold = \"1s\"\nqueue_wait = \"15s\"\n";
    let server = Server::start_with(&format!("{sessions}idle_place = \"keep\"\n"));
    server.put("honest.cfg", b"SET HONEST 1\n");
    for address in ["127.0.0.7", "127.0.0.8"] {
        let (socket, from, opcode) = ask_from(address, &server);
        assert_eq!(opcode, 3, "it is served when its turn comes");
        socket.send_to(Control::ack(Block(1)).as_bytes(), from).unwrap();
    }
}

#[test]
fn forged_requests_keep_no_other_phone_waiting() {
    let server = Server::start_with("[sessions]\nclients_max = 50\n");
    server.put("honest.cfg", b"SET HONEST 1\n");
    let forged: Vec<UdpSocket> = (2..52)
        .map(|host| UdpSocket::bind((format!("127.0.9.{host}"), 0)).unwrap())
        .inspect(|socket| {
            socket.send_to(b"\0\x01honest.cfg\0octet\0", server.address()).unwrap();
        })
        .collect();
    assert_eq!(ask_from("127.0.0.8", &server).2, 3, "it is served when its turn comes");
    drop(forged);
}

#[test]
fn a_check_from_the_servers_own_host_is_answered_while_all_places_are_taken() {
    let sessions = "[sessions]\nclients_max = 1\nhold = \"60s\"\nidle_place = \"keep\"\n";
    let server = Server::start_with(sessions);
    server.put("honest.cfg", b"SET HONEST 1\n");
    let (mut socket, from, opcode) = ask_from("127.0.0.7", &server);
    assert_eq!(opcode, 3);
    acknowledge(&mut socket, from, 1);
    assert_eq!(ask_from("127.0.0.1", &server).2, 3, "busy is not dead");
}
