//! Administrators: their logins, their listings and changes, and that phones get changes at once.

use std::io::{Read, Write};
use std::time::Duration;

use socket2::SockRef;

use super::raw::{Session, Wire, trusting};
use crate::http::line::{Line, get};
use crate::interop::{expect_same, noise};
use crate::raw::{fetch, size_of};
use crate::server::Server;

const PASSWORD: &str = "a good secret";

/// A server with one administrator.
fn server() -> Server {
    let server = Server::start_ftp("");
    super::add_administrator(&server, "ann", PASSWORD);
    server
}

/// Logs in over TLS; each session resumes its own and no other's.
fn log_in(server: &Server) -> Session {
    let mut session = Session::open(server.ftp_address());
    session.secure(&trusting(server));
    session.log_in_as("ann", PASSWORD);
    session
}

#[test]
fn the_password_travels_over_tls_alone_and_so_does_the_data() {
    let server = server();
    let mut session = Session::open(server.ftp_address());
    assert!(session.expect("USER ann", 530).contains("AUTH TLS"));
    session.expect(&format!("PASS {PASSWORD}"), 503);
    session.secure(&trusting(&server));
    session.expect("USER ann", 331);
    session.expect("PASS wrong", 530);
    session.log_in_as("ann", PASSWORD);
    session.expect("PROT C", 200);
    session.private = None;
    assert_eq!(session.fetch("LIST").unwrap_err().code, 521);
    assert_eq!(session.send("STOR root/x", b"x").code, 521);
    assert!(!server.log().contains(PASSWORD));
    // If configured, both may travel in clear.
    server.configure_ftp("cleartext = true\n");
    server.signal("HUP");
    crate::server::eventually("the reload", || {
        Session::open(server.ftp_address()).ask("USER ann").code == 331
    });
    let mut session = Session::open(server.ftp_address());
    session.log_in_as("ann", PASSWORD);
    assert!(session.fetch("LIST").is_ok());
}

#[test]
fn wrong_passwords_end_the_session_and_slow_the_address_down() {
    let server = server();
    let mut session = Session::open(server.ftp_address());
    session.secure(&trusting(&server));
    for _ in 0..2 {
        session.expect("USER ann", 331);
        session.expect("PASS wrong", 530);
    }
    session.expect("USER ann", 331);
    session.expect("PASS wrong", 421);
    assert_eq!(session.listen(), None);
    // The reply does not reveal whether a name exists.
    let mut session = Session::open(server.ftp_address());
    session.secure(&trusting(&server));
    session.expect("USER nobody", 331);
    assert!(matches!(session.ask("PASS wrong").code, 530 | 421));
    assert!(server.log().contains("ann"));
}

#[test]
fn an_administrator_sees_the_data_directories_and_nothing_else() {
    let server = server();
    server.put("firmware.bin", b"x");
    let mut session = log_in(&server);
    assert!(session.expect("PWD", 257).contains("\"/\""));
    assert_eq!(session.fetch("NLST").unwrap(), b"root\r\n");
    let list = String::from_utf8(session.fetch("LIST -la").unwrap()).unwrap();
    assert!(list.starts_with("dr-xr-xr-x") && list.lines().count() == 1, "{list}");
    session.expect("CWD root", 250);
    let facts = String::from_utf8(session.fetch("MLSD").unwrap()).unwrap();
    assert!(facts.contains("size=1;") && facts.ends_with("; firmware.bin\r\n"), "{facts}");
    assert_eq!(session.fetch("NLST *.bin").unwrap(), b"firmware.bin\r\n");
    for place in ["/vault", "/certs", "/administrators.txt", "/ringpost.toml", "/log", "/../etc"] {
        let reply = session.ask(&format!("CWD {place}"));
        assert_eq!(reply.code, 550, "{reply:?}");
        assert!(session.fetch(&format!("RETR {place}")).is_err());
    }
    assert_eq!(session.send("STOR /new.bin", b"x").code, 550, "no file between the areas");
}

#[test]
fn a_firmware_that_was_uploaded_is_served_the_moment_its_upload_is_acknowledged() {
    let server = server();
    let mut session = log_in(&server);
    session.expect("CWD root", 250);
    for round in 0..10_usize {
        let file = noise(40_000 + round);
        assert_eq!(session.send(&format!("STOR new{round}.bin"), &file).code, 226);
        let by_tftp = fetch(server.address(), &format!("NEW{round}.bin")).unwrap();
        expect_same(&by_tftp, &file, "by TFTP");
        let by_http = Line::open(server.address()).ask(get(&format!("/new{round}.bin")));
        expect_same(&by_http.body, &file, "by HTTP");
        // Replaced under another spelling it is the same file.
        assert_eq!(session.send(&format!("STOR New{round}.BIN"), b"newer").code, 226);
        assert_eq!(fetch(server.address(), &format!("new{round}.bin")).unwrap(), b"newer");
    }
    assert_eq!(std::fs::read_dir(server.path("root")).unwrap().count(), 10);
}

#[test]
fn files_and_directories_are_made_renamed_and_removed_and_phones_see_it_at_once() {
    let server = server();
    let mut session = log_in(&server);
    session.expect("CWD /root", 250);
    assert!(session.expect("MKD fw", 257).contains("\"/root/fw\""));
    session.expect("MKD fw", 550);
    assert_eq!(session.send("STOR fw/a.bin", b"version one").code, 226);
    session.expect("MFMT 20200102030405 fw/a.bin", 213);
    assert!(session.expect("MDTM fw/a.bin", 213).ends_with("20200102030405"));
    session.expect("SITE CHMOD 644 fw/a.bin", 202);
    session.expect("SITE EXEC ls", 502);
    session.expect("RNTO fw/b.bin", 503);
    session.expect("RNFR fw/a.bin", 350);
    session.expect("RNTO fw/b.bin", 250);
    assert_eq!(fetch(server.address(), "fw/b.bin").unwrap(), b"version one");
    assert!(fetch(server.address(), "fw/a.bin").is_err());
    session.expect("RMD fw", 550);
    assert_eq!(session.send("APPE fw/b.bin", b", and more").code, 226);
    assert_eq!(fetch(server.address(), "fw/b.bin").unwrap(), b"version one, and more");
    session.expect("REST 8", 350);
    assert_eq!(session.send("STOR fw/b.bin", b"two").code, 226);
    assert_eq!(fetch(server.address(), "fw/b.bin").unwrap(), b"version two");
    let unique = session.send("STOU b.bin", b"x");
    assert_eq!(unique.code, 226);
    session.expect("DELE fw/b.bin", 250);
    assert!(fetch(server.address(), "fw/b.bin").is_err());
    session.expect("RMD fw", 250);
    session.expect("CWD fw", 550);
    session.expect("RMD /root", 550);
    session.expect("DELE /root", 550);
}

#[test]
fn an_upload_that_breaks_off_leaves_the_old_version_and_nothing_else() {
    let server = server();
    server.put("firmware.bin", b"old");
    for how in ["reset", "abort", "quit"] {
        let mut session = log_in(&server);
        session.expect("CWD root", 250);
        let mut data = session.begin("STOR firmware.bin").unwrap();
        data.write_all(&noise(3_000_000)).unwrap();
        data.flush().unwrap();
        match how {
            "reset" => {
                let Wire::Secured(tls) = data else { panic!("it is secured") };
                SockRef::from(&tls.sock).set_linger(Some(Duration::ZERO)).unwrap();
                drop(tls);
                assert_eq!(session.hear().code, 426);
            }
            "abort" => {
                session.say("ABOR\r\n");
                assert_eq!((session.hear().code, session.hear().code), (426, 226));
            }
            // The whole client is gone.
            _ => drop((data, session.wire.take())),
        }
        assert_eq!(fetch(server.address(), "firmware.bin").unwrap(), b"old", "{how}");
        crate::server::eventually("nothing is left of it", || {
            std::fs::read_dir(server.path("root")).unwrap().count() == 1
        });
    }
}

#[test]
fn large_uploads_pass_one_another_and_phones_are_served_meanwhile() {
    let server = server();
    server.put("settings.txt", b"SET A 1\n");
    let files = [noise(20 << 20), noise((20 << 20) + 1)];
    std::thread::scope(|scope| {
        for (number, file) in files.iter().enumerate() {
            let server = &server;
            scope.spawn(move || {
                let mut session = log_in(server);
                session.expect("CWD root", 250);
                assert_eq!(session.send(&format!("STOR big{number}.bin"), file).code, 226);
                assert!(session.expect(&format!("SIZE big{number}.bin"), 213).len() > 4);
            });
        }
        for _ in 0..50 {
            assert_eq!(fetch(server.address(), "settings.txt").unwrap(), b"SET A 1\n");
        }
    });
    for (number, file) in files.iter().enumerate() {
        let name = format!("big{number}.bin");
        assert_eq!(size_of(server.address(), &name), Ok(file.len() as u64));
        expect_same(&std::fs::read(server.path("root").join(&name)).unwrap(), file, &name);
        let mut session = log_in(&server);
        expect_same(&session.fetch(&format!("RETR root/{name}")).unwrap(), file, &name);
    }
}

#[test]
fn of_two_uploads_of_one_name_the_later_one_stays_and_whole() {
    let server = server();
    let mut sessions = [log_in(&server), log_in(&server)];
    let files = [noise(2_000_000), noise(2_000_001)];
    let mut wires = Vec::new();
    for (session, file) in sessions.iter_mut().zip(&files) {
        let mut data = session.begin("STOR root/same.bin").unwrap();
        data.write_all(&file[..1_000_000]).unwrap();
        wires.push(data);
    }
    for (place, mut data) in wires.into_iter().enumerate() {
        data.write_all(&files[place][1_000_000..]).unwrap();
        data.finish().unwrap();
        assert_eq!(sessions[place].hear().code, 226);
        let stored = std::fs::read(server.path("root/same.bin")).unwrap();
        expect_same(&stored, &files[place], "the later one");
    }
}

#[test]
fn a_phone_that_is_fetching_gets_the_version_that_it_began_with() {
    let server = server();
    let old = noise(8 << 20);
    server.put("firmware.bin", &old);
    let mut phone = Session::open(server.ftp_address());
    phone.log_in();
    let mut data = phone.begin("RETR firmware.bin").unwrap();
    let mut got = vec![0; 100_000];
    data.read_exact(&mut got).unwrap();
    let mut session = log_in(&server);
    assert_eq!(session.send("STOR root/firmware.bin", &noise(50_000)).code, 226);
    data.read_to_end(&mut got).unwrap();
    assert_eq!(phone.hear().code, 226);
    expect_same(&got, &old, "the old version");
    expect_same(&phone.fetch("RETR firmware.bin").unwrap(), &noise(50_000), "the new one");
}

#[test]
fn two_sessions_that_append_to_one_file_at_once_lose_no_line() {
    let server = server();
    server.put("log.txt", b"zero\n");
    let mut sessions = [log_in(&server), log_in(&server)];
    let mut wires = Vec::new();
    for (session, line) in sessions.iter_mut().zip(["one\n", "two\n"]) {
        let mut data = session.begin("APPE root/log.txt").unwrap();
        data.write_all(line.as_bytes()).unwrap();
        wires.push(data);
    }
    for (session, data) in sessions.iter_mut().zip(wires) {
        data.finish().unwrap();
        assert_eq!(session.hear().code, 226);
    }
    assert_eq!(fetch(server.address(), "log.txt").unwrap(), b"zero\none\ntwo\n");
    // A client that resumes in a file that was replaced is refused.
    let [first, second] = &mut sessions;
    first.expect("REST 5", 350);
    let mut data = first.begin("STOR root/log.txt").unwrap();
    data.write_all(b"more\n").unwrap();
    assert_eq!(second.send("STOR root/log.txt", b"another one\n").code, 226);
    data.finish().unwrap();
    let refused = first.hear();
    assert_eq!(refused.code, 550);
    assert!(refused.text.contains("changed"), "{refused:?}");
    assert_eq!(fetch(server.address(), "log.txt").unwrap(), b"another one\n");
}
