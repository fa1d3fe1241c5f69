//! Files for phones: every way to open a data connection, both address families, partial files, and
//! refusals.

use std::io::Read;
use std::net::{Ipv6Addr, SocketAddr, TcpListener};

use super::raw::{MODES, Mode, Session, connect};
use crate::interop::{expect_same, noise};
use crate::server::Server;

#[test]
fn files_of_every_size_come_whole_by_every_kind_of_data_connection() {
    let server = Server::start_ftp("");
    let sizes = [0, 1, 1_460, 20_000, 100_000, 3_000_000];
    for bytes in sizes {
        server.put(&format!("size{bytes}.bin"), &noise(bytes));
    }
    let v6 = SocketAddr::from((Ipv6Addr::LOCALHOST, server.ftp_address().port()));
    for address in [server.ftp_address(), v6] {
        let mut session = Session::open(address);
        session.log_in();
        let modes = if address.is_ipv4() { &MODES[..] } else { &[Mode::Epsv, Mode::Eprt] };
        for &mode in modes {
            session.mode = mode;
            for bytes in sizes {
                let got = session.fetch(&format!("RETR size{bytes}.bin")).unwrap();
                expect_same(&got, &noise(bytes), &format!("{mode:?} {bytes}"));
            }
        }
        session.expect("QUIT", 221);
        assert_eq!(session.listen(), None);
    }
}

#[test]
fn pasv_is_refused_over_ipv6_and_every_other_way_after_epsv_all() {
    let server = Server::start_ftp("");
    let v6 = SocketAddr::from((Ipv6Addr::LOCALHOST, server.ftp_address().port()));
    let mut session = Session::open(v6);
    session.log_in();
    session.expect("PASV", 425);
    session.expect("EPSV 1", 522);
    session.expect("EPSV 2", 229);
    session.expect("EPSV ALL", 200);
    session.expect("EPRT |2|::1|5000|", 501);
    session.expect("EPSV", 229);
    let mut session = Session::open(server.ftp_address());
    session.log_in();
    session.expect("EPSV ALL", 200);
    session.expect("PASV", 501);
    session.expect("PORT 127,0,0,1,20,20", 501);
}

#[test]
fn a_transfer_goes_on_where_the_client_says() {
    let server = Server::start_ftp("");
    let file = noise(500_000);
    server.put("firmware.bin", &file);
    let mut session = Session::open(server.ftp_address());
    session.log_in();
    for start in [1, 499_999, 500_000] {
        session.expect(&format!("REST {start}"), 350);
        expect_same(&session.fetch("RETR firmware.bin").unwrap(), &file[start..], "the rest");
    }
    // It is valid for one transfer.
    expect_same(&session.fetch("RETR firmware.bin").unwrap(), &file, "all");
    session.expect("REST 500001", 350);
    assert_eq!(session.fetch("RETR firmware.bin").unwrap_err().code, 550);
    assert!(session.expect("SIZE firmware.bin", 213).ends_with(" 500000"));
}

#[test]
fn text_ends_its_lines_as_the_network_does_in_type_a() {
    let server = Server::start_ftp("");
    server.put("settings.txt", b"SET A 1\nSET B 2\n");
    let mut session = Session::open(server.ftp_address());
    session.log_in();
    session.expect("TYPE A", 200);
    assert_eq!(session.fetch("RETR settings.txt").unwrap(), b"SET A 1\r\nSET B 2\r\n");
    session.expect("TYPE I", 200);
    assert_eq!(session.fetch("RETR settings.txt").unwrap(), b"SET A 1\nSET B 2\n");
}

#[test]
fn names_are_found_whatever_their_letters_and_from_any_directory() {
    let server = Server::start_ftp("");
    server.put("phones/SEP001122.cnf.xml", b"<device/>");
    let mut session = Session::open(server.ftp_address());
    session.log_in();
    for name in
        ["phones/sep001122.cnf.xml", "/PHONES/SEP001122.CNF.XML", "\\phones\\sep001122.cnf.xml"]
    {
        assert_eq!(session.fetch(&format!("RETR {name}")).unwrap(), b"<device/>");
    }
    session.expect("CWD phones", 250);
    assert_eq!(session.fetch("RETR sep001122.cnf.xml").unwrap(), b"<device/>");
    session.expect("CWD ../..", 550);
    session.expect("CWD ../../etc", 550);
    assert_eq!(session.fetch("RETR ../../etc/passwd").unwrap_err().code, 553);
    assert_eq!(session.fetch("RETR nothing.bin").unwrap_err().code, 550);
}

#[test]
fn nothing_moves_before_somebody_is_logged_in() {
    let server = Server::start_ftp("");
    server.put("firmware.bin", b"x");
    let mut session = Session::open(server.ftp_address());
    for command in ["PASV", "EPSV", "RETR firmware.bin", "LIST", "CWD /", "SIZE firmware.bin"] {
        session.expect(command, 530);
    }
    session.expect("PASS x", 503);
    session.expect("USER nobody", 530);
}

#[test]
fn data_goes_to_nobody_else_and_to_no_port_of_a_service() {
    let server = Server::start_ftp("");
    server.put("firmware.bin", b"x");
    let mut session = Session::open(server.ftp_address());
    session.log_in();
    session.expect("PORT 127,0,0,2,20,20", 501);
    session.expect("PORT 127,0,0,1,0,22", 501);
    session.expect("EPRT |1|127.0.0.2|5555|", 501);
    // Another family than the session's (RFC 2428, 2).
    session.expect("EPRT |2|::1|5555|", 522);
    session.expect("RETR firmware.bin", 425);
    // A stranger who guesses a port gets nothing, and takes nothing from the client.
    let text = session.expect("EPSV", 229);
    let port = wire::ftp::address::read_epsv(text.as_bytes()).unwrap();
    let at = SocketAddr::new(server.ftp_address().ip(), port);
    let mut thief = connect([127, 0, 0, 9].into(), at).unwrap();
    let mut owner = connect([127, 0, 0, 1].into(), at).unwrap();
    let reply = session.ask("RETR firmware.bin");
    assert!(matches!(reply.code, 125 | 150), "{reply:?}");
    let mut bytes = Vec::new();
    owner.read_to_end(&mut bytes).unwrap();
    assert_eq!((session.hear().code, bytes), (226, b"x".to_vec()));
    let mut stolen = Vec::new();
    let _ = thief.read_to_end(&mut stolen);
    assert_eq!(stolen, b"");
}

#[test]
fn a_client_that_never_answers_at_its_port_is_told_so() {
    let server = Server::start_ftp("data_timeout = \"1s\"\n");
    server.put("firmware.bin", b"x");
    let mut session = Session::open(server.ftp_address());
    session.log_in();
    // No process listens there.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    session.expect(&format!("PORT 127,0,0,1,{},{}", port / 256, port % 256), 200);
    session.expect("RETR firmware.bin", 150);
    let refused = session.hear();
    assert_eq!(refused.code, 425, "{refused:?}");
    // The client never connects.
    session.expect("PASV", 227);
    session.expect("RETR firmware.bin", 150);
    let never = session.hear();
    assert_eq!(never.code, 425, "{never:?}");
    assert!(never.text.contains("port"), "{never:?}");
    assert_eq!(session.fetch("RETR firmware.bin").unwrap(), b"x");
}

#[test]
fn a_browser_and_a_tls_client_at_the_wrong_port_are_sent_away() {
    let server = Server::start_ftp("");
    let mut browser = Session::open(server.ftp_address());
    browser.say("GET / HTTP/1.1\r\nHost: x\r\n\r\nUSER anonymous\r\n");
    assert_eq!(browser.hear().code, 421);
    assert_eq!(browser.listen(), None);
    let mut tls = Session::open(server.ftp_address());
    tls.say(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03");
    assert_eq!(tls.hear().code, 421);
    assert_eq!(tls.listen(), None);
}

#[test]
fn a_phone_sees_no_directory_and_changes_nothing_that_no_rule_allows() {
    let server = Server::start_ftp("");
    server.put("firmware.bin", b"x");
    let mut session = Session::open(server.ftp_address());
    session.log_in();
    for command in ["LIST", "NLST", "MLSD"] {
        assert_eq!(session.fetch(command).unwrap_err().code, 550, "{command}");
    }
    for command in ["DELE firmware.bin", "MKD x", "RMD x", "RNFR firmware.bin", "MLST x", "SITE x"]
    {
        session.expect(command, 550);
    }
    assert_eq!(session.send("STOR firmware.bin", b"y").code, 553);
    assert_eq!(session.send("APPE firmware.bin", b"y").code, 553);
    assert_eq!(session.fetch("RETR firmware.bin").unwrap(), b"x");
    // It may store what a rule allows.
    assert_eq!(session.send("STOR phone.up", &noise(70_000)).code, 226);
    expect_same(&server.uploaded("phone.up").unwrap(), &noise(70_000), "an upload");
}
