//! Users' data by FTP: the phone itself names its user, by SNMP; without its answer access is
//! refused.

use std::net::UdpSocket;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::raw::{Reply, Session};
use super::{phone, phone_of, set};
use crate::http::line::{Line, get};
use crate::server::{Server, eventually};

/// The address of the phone.
const HERE: [u8; 4] = [127, 0, 0, 5];

fn log_in(server: &Server, at: [u8; 4]) -> Session {
    let mut session = Session::open_from(at.into(), server.ftp_address());
    session.log_in();
    session
}

/// Stores from a phone; returns the reply.
fn store(server: &Server, at: [u8; 4], name: &str) -> Reply {
    log_in(server, at).send(&format!("STOR {name}"), b"\nSET SPEED_DIAL 4711\n")
}

fn expect_refused(reply: &Reply, why: &str) {
    assert_eq!(reply.code, 550, "{reply:?}");
    assert!(reply.text.contains(why), "{why}: {reply:?}");
}

#[test]
fn a_phone_stores_by_either_name_and_the_bytes_stay_as_they_are() {
    let server = Server::start_ftp("");
    phone_of(&server, HERE, "2001");
    let text = b"\n\xc3\xbcser\nSET A 1\r\nSET B\n";
    let mut session = log_in(&server, HERE);
    session.expect("TYPE A", 200);
    assert_eq!(session.send("STOR 4620data.txt", text).code, 226);
    assert_eq!(session.fetch("RETR 2001_4620data.txt").unwrap(), text);
    assert_eq!(session.send("STOR 2001_4620DATA.TXT", b"newer").code, 226);
    assert_eq!(session.fetch("RETR /4620data.txt").unwrap(), b"newer");
    let newest = Line::open(server.address()).ask(get("/2001_4620data.txt"));
    assert_eq!((newest.status, newest.body), (200, b"newer".to_vec()));
    assert!(server.path("vault/2001/4620data").is_dir());
    // Nothing else was ever stored.
    let nothing = session.fetch("RETR 4610data.txt").unwrap_err();
    expect_refused(&nothing, "Nothing is stored");
    expect_refused(&session.fetch("RETR 4620data_sip.txt").unwrap_err(), "Nothing is stored");
}

#[test]
fn a_user_finds_at_one_set_of_the_family_what_was_stored_at_another() {
    let server = Server::start_ftp("");
    let user = Arc::new(Mutex::new("2001"));
    let (asked, at) = (Arc::clone(&user), [127, 0, 0, 6]);
    phone(&server, HERE, move |bytes| set(*asked.lock()).answer(bytes));
    let there = Arc::new(Mutex::new("2002"));
    let asked = Arc::clone(&there);
    phone(&server, at, move |bytes| set(*asked.lock()).answer(bytes));
    assert_eq!(log_in(&server, HERE).send("STOR 4620data.txt", b"of 2001").code, 226);
    let nothing = log_in(&server, at).fetch("RETR 4621data.txt").unwrap_err();
    expect_refused(&nothing, "Nothing is stored");
    // The user goes there and logs in.
    *user.lock() = "2003";
    *there.lock() = "2001";
    let mut session = log_in(&server, at);
    let restored = || session.fetch("RETR 4621data.txt").ok();
    let mut restored = restored;
    eventually("the phone is asked again", || restored().as_deref() == Some(b"of 2001"));
    assert_eq!(log_in(&server, at).fetch("RETR 2001_4625data.txt").unwrap(), b"of 2001");
    let by_http = Line::open(server.address()).ask(get("/2001_4620data.txt"));
    assert_eq!(by_http.body, b"of 2001");
    // Another user is now at the phone they left.
    assert_eq!(log_in(&server, HERE).send("STOR 4620data.txt", b"of 2003").code, 226);
    assert!(server.path("vault/2003/4620data").is_dir());
    assert_eq!(log_in(&server, at).fetch("RETR 4620data.txt").unwrap(), b"of 2001");
}

#[test]
fn another_extensions_data_is_neither_read_nor_written() {
    let server = Server::start_ftp("");
    phone_of(&server, HERE, "2001");
    phone_of(&server, [127, 0, 0, 6], "2002");
    assert_eq!(store(&server, [127, 0, 0, 6], "2002_4620data.txt").code, 226);
    let refused = store(&server, HERE, "2002_4620data.txt");
    expect_refused(&refused, "Extension 2001 is logged in at the phone at 127.0.0.5");
    let refused = log_in(&server, HERE).fetch("RETR 2002_4620data.txt").unwrap_err();
    expect_refused(&refused, "the data of 2002 is not for it");
    eventually("the log says why", || {
        let log = server.log();
        log.contains("127.0.0.5") && log.contains("2002_4620data.txt")
    });
    assert!(!server.path("vault/2001").exists());
}

#[test]
fn a_phone_at_which_nobody_is_logged_in_has_no_data() {
    let server = Server::start_ftp("");
    phone_of(&server, HERE, "");
    expect_refused(&store(&server, HERE, "4620data.txt"), "Nobody is logged in");
    expect_refused(&store(&server, HERE, "2001_4620data.txt"), "Nobody is logged in");
}

#[test]
fn a_silent_phone_is_waited_for_three_seconds_and_told_what_to_set() {
    let server = Server::start_ftp("");
    // The port is taken, so that no host sends "port unreachable".
    phone(&server, HERE, |_| None);
    let began = Instant::now();
    expect_refused(&store(&server, HERE, "4620data.txt"), "SNMPSTRING");
    let took = began.elapsed();
    assert!((2_500..4_500).contains(&took.as_millis()), "{took:?}");
    eventually("the log says why", || server.log().contains("SNMP"));
    // Files outside the vault wait for nothing.
    server.put("firmware.bin", b"x");
    let began = Instant::now();
    assert_eq!(log_in(&server, HERE).fetch("RETR firmware.bin").unwrap(), b"x");
    assert!(began.elapsed() < Duration::from_secs(1));
}

#[test]
fn a_phone_that_answers_after_two_seconds_is_known() {
    let server = Server::start_ftp("");
    let agent = set("2001");
    phone(&server, HERE, move |asked| {
        thread::sleep(Duration::from_secs(2));
        agent.answer(asked)
    });
    assert_eq!(store(&server, HERE, "4620data.txt").code, 226);
}

#[test]
fn nobody_answers_for_a_phone_but_the_phone() {
    let server = Server::start_ftp("");
    let spoofer = UdpSocket::bind(server.snmp_address([127, 0, 0, 9])).unwrap();
    let socket = UdpSocket::bind(server.snmp_address(HERE)).unwrap();
    thread::spawn(move || {
        let mut buffer = [0; 2_048];
        while let Ok((bytes, from)) = socket.recv_from(&mut buffer) {
            let Some(answer) = set("2001").answer(&buffer[..bytes]) else { continue };
            // Another address, another port of its own address, and another request's number.
            let _ = spoofer.send_to(&answer, from);
            let other = UdpSocket::bind("127.0.0.5:0").unwrap();
            let _ = other.send_to(&answer, from);
            let mut wrong = answer.clone();
            let zero = wrong.windows(3).position(|part| part == [0x02, 0x01, 0x00]).unwrap();
            wrong[zero - 1] ^= 1;
            let _ = socket.send_to(&wrong, from);
        }
    });
    expect_refused(&store(&server, HERE, "2001_4620data.txt"), "does not answer");
    assert!(!server.path("vault/2001").exists());
}

#[test]
fn a_user_who_leaves_between_the_log_in_and_the_save_leaves_no_data_behind_for_the_next() {
    let server = Server::start_ftp("");
    let user = Arc::new(Mutex::new("2001"));
    let asked = Arc::clone(&user);
    phone(&server, HERE, move |bytes| set(*asked.lock()).answer(bytes));
    let mut session = log_in(&server, HERE);
    assert_eq!(session.send("STOR 4620data.txt", b"of 2001").code, 226);
    *user.lock() = "2002";
    thread::sleep(Duration::from_secs(6));
    assert_eq!(session.send("STOR 4620data.txt", b"of 2002").code, 226);
    expect_refused(&session.send("STOR 2001_4620data.txt", b"of 2002"), "Extension 2002");
    let kept = |name: &str| Line::open(server.address()).ask(get(name)).body;
    assert_eq!(kept("/2001_4620data.txt"), b"of 2001");
    assert_eq!(kept("/2002_4620data.txt"), b"of 2002");
}

#[test]
fn sets_of_a_bypassed_network_are_taken_by_the_extension_in_the_name() {
    let server = Server::start_ftp("trusted_networks = [\"127.0.0.16/28\"]\n");
    let here = [127, 0, 0, 17];
    assert_eq!(store(&server, here, "2001_4620data.txt").code, 226);
    assert!(log_in(&server, here).fetch("RETR 2001_4621data.txt").is_ok());
    expect_refused(&store(&server, here, "4620data.txt"), "begin with the extension");
    // The next network is asked.
    phone(&server, [127, 0, 0, 33], |_| None);
    expect_refused(&store(&server, [127, 0, 0, 33], "2001_4620data.txt"), "does not answer");
}

#[test]
fn an_upload_that_breaks_off_leaves_what_was_stored_before() {
    let server = Server::start_ftp("trusted_networks = [\"127.0.0.0/8\"]\n");
    let mut session = Session::open(server.ftp_address());
    session.log_in();
    assert_eq!(session.send("STOR 2001_4620data.txt", b"first").code, 226);
    let mut session = Session::open(server.ftp_address());
    session.log_in();
    let mut data = session.begin("STOR 2001_4620data.txt").unwrap();
    std::io::Write::write_all(&mut data, b"half of").unwrap();
    let super::raw::Wire::Clear(socket) = data else { panic!("in clear") };
    socket2::SockRef::from(&socket).set_linger(Some(Duration::ZERO)).unwrap();
    drop(socket);
    assert_eq!(session.hear().code, 426);
    assert_eq!(session.fetch("RETR 2001_4620data.txt").unwrap(), b"first");
    // A session that is cut in the middle stores nothing either.
    let mut data = session.begin("STOR 2001_4620data.txt").unwrap();
    std::io::Write::write_all(&mut data, b"half of").unwrap();
    session.say("ABOR\r\n");
    assert_eq!((session.hear().code, session.hear().code), (426, 226));
    assert_eq!(session.fetch("RETR 2001_4620data.txt").unwrap(), b"first");
}
