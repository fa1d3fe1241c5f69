//! Clients that die, or abort, in the middle of an upload: the old file stays.

use std::fs;
use std::io::Write;
use std::time::Duration;

use socket2::SockRef;

use super::add_administrator;
use super::raw::{Session, Wire, trusting};
use crate::interop::noise;
use crate::server::{Server, eventually};

/// More lines in `[ftp]`: phones need not answer by SNMP, administrators may log in in clear.
const OPEN: &str = "trusted_networks = [\"127.0.0.0/8\"]\ncleartext = true\n";
/// The name of a phone's upload in the vault.
const DATA: &str = "2001_4620data.txt";

/// How one connection of a client that dies ends.
#[derive(Clone, Copy, Debug)]
enum End {
    Fin,
    Reset,
}

fn close(wire: Wire, end: End) {
    let socket = match &wire {
        Wire::Clear(socket) => socket,
        Wire::Secured(tls) => &tls.sock,
    };
    if let End::Reset = end {
        SockRef::from(socket).set_linger(Some(Duration::ZERO)).unwrap();
    }
    // Without close_notify, as the kernel does it for a process that was killed.
}

fn managed() -> Server {
    let server = Server::start_ftp(OPEN);
    add_administrator(&server, "ann", "a-good-secret");
    server
}

fn log_in(server: &Server, is_administrator: bool, is_private: bool) -> Session {
    let mut session = Session::open(server.ftp_address());
    if is_private {
        session.secure(&trusting(server));
    }
    match is_administrator {
        true => session.log_in_as("ann", "a-good-secret"),
        false => session.log_in(),
    }
    session
}

/// Waits until the server knows that a client is gone, if an address may have one session.
pub(crate) fn await_gone(server: &Server) {
    eventually("a session of a client that died is closed", || {
        let mut next = Session::bare(server.ftp_address().ip(), server.ftp_address());
        let is_let_in = next.listen().is_some_and(|greeting| greeting.code == 220);
        is_let_in && next.ask("QUIT").code == 221 && next.listen().is_none()
    });
}

#[test]
fn whoever_dies_in_the_middle_of_an_upload_has_stored_nothing() {
    let server = Server::start_ftp(&format!("{OPEN}per_address = 1\n"));
    add_administrator(&server, "ann", "a-good-secret");
    let good = noise(3_000);
    fs::write(server.path("root/fw.bin"), &good).unwrap();
    let mut session = log_in(&server, false, false);
    assert_eq!(session.send(&format!("STOR {DATA}"), &good).code, 226);
    session.expect("QUIT", 221);
    await_gone(&server);
    let half = noise(700_000);
    for (commands, is_administrator) in [
        (&[format!("STOR {DATA}")][..], false),
        (&["STOR /root/fw.bin".to_owned()], true),
        (&["APPE /root/fw.bin".to_owned()], true),
        (&["REST 1000".to_owned(), "STOR /root/fw.bin".to_owned()], true),
        (&["CWD /root".to_owned(), "STOU fw.bin".to_owned()], true),
    ] {
        for bits in 0..16 {
            let end = |bit: u8| if bits & bit > 0 { End::Reset } else { End::Fin };
            let is_private = bits & 8 > 0;
            let mut session = log_in(&server, is_administrator, is_private);
            if is_administrator {
                // A client that appends to an aborted upload must send it whole first.
                assert_eq!(session.send("STOR /root/fw.bin", &good).code, 226);
            }
            let (last, first) = commands.split_last().unwrap();
            for command in first {
                session.ask(command);
            }
            let mut data = session.begin(last).unwrap();
            data.write_all(&half).unwrap();
            data.flush().unwrap();
            let control = session.wire.take().unwrap();
            if bits & 1 > 0 {
                close(data, end(2));
                close(control, end(4));
            } else {
                close(control, end(4));
                close(data, end(2));
            }
            await_gone(&server);
            assert!(fs::read(server.path("root/fw.bin")).unwrap() == good, "{last} {bits}");
        }
    }
    let mut session = log_in(&server, false, false);
    assert!(session.fetch(&format!("RETR {DATA}")).unwrap() == good, "the vault");
    let left = || fs::read_dir(server.path("root")).unwrap().count();
    eventually("nothing of what was broken off is left", || left() == 1);
}

#[test]
fn data_over_tls_without_its_last_word_is_refused_and_the_session_goes_on() {
    let server = managed();
    fs::write(server.path("root/fw.bin"), b"good").unwrap();
    let mut session = log_in(&server, true, true);
    for part in [&b""[..], b"half", &noise(600_000)] {
        let mut data = session.begin("STOR /root/fw.bin").unwrap();
        data.write_all(part).unwrap();
        data.flush().unwrap();
        close(data, End::Fin);
        assert_eq!(session.hear().code, 426);
        assert_eq!(fs::read(server.path("root/fw.bin")).unwrap(), b"good");
    }
    assert_eq!(session.send("STOR /root/fw.bin", b"better").code, 226);
    assert_eq!(fs::read(server.path("root/fw.bin")).unwrap(), b"better");
}

#[test]
fn abor_is_heard_behind_whatever_was_said_before_it() {
    let server = managed();
    fs::write(server.path("root/fw.bin"), b"good").unwrap();
    // Interrupt process, data mark, and the mark is urgent (RFC 959, 4.1.3).
    for synch in [false, true] {
        for is_private in [false, true] {
            let mut session = log_in(&server, true, is_private);
            let mut data = session.begin("STOR /root/fw.bin").unwrap();
            data.write_all(&noise(400_000)).unwrap();
            session.say("NOOP\r\nSYST\r\n");
            match session.wire.as_mut().unwrap() {
                Wire::Clear(socket) if synch => {
                    socket.write_all(b"\xff\xf4\xff").unwrap();
                    SockRef::from(&*socket).send_out_of_band(b"\xf2").unwrap();
                }
                Wire::Clear(_) | Wire::Secured(_) => {}
            }
            session.say("ABOR\r\n");
            let codes = [session.hear().code, session.hear().code, session.hear().code];
            assert_eq!((codes, session.hear().code), ([426, 200, 215], 226));
            close(data, End::Fin);
            session.expect("NOOP", 200);
            assert_eq!(fs::read(server.path("root/fw.bin")).unwrap(), b"good");
        }
    }
    // An abort ends a download, too.
    let file = noise(30_000_000);
    server.put("large.bin", &file);
    let mut session = log_in(&server, false, false);
    let data = session.begin("RETR large.bin").unwrap();
    session.say("NOOP\r\nABOR\r\n");
    assert_eq!(session.hear().code, 426);
    drop(data);
    assert_eq!((session.hear().code, session.hear().code), (200, 226));
}

#[test]
fn quit_behind_a_transfer_waits_for_its_end() {
    let server = managed();
    for is_private in [false, true] {
        let mut session = log_in(&server, true, is_private);
        let mut data = session.begin("STOR /root/fw.bin").unwrap();
        data.write_all(b"first ").unwrap();
        session.say("QUIT\r\n");
        data.write_all(b"and last").unwrap();
        data.finish().unwrap();
        assert_eq!((session.hear().code, session.hear().code), (226, 221));
        assert!(session.listen().is_none());
        assert_eq!(fs::read(server.path("root/fw.bin")).unwrap(), b"first and last");
    }
}

#[test]
fn stou_tells_the_name_and_rest_is_for_stor_alone() {
    let server = managed();
    fs::write(server.path("root/upload"), b"there").unwrap();
    let mut session = log_in(&server, true, false);
    session.expect("CWD /root", 250);
    session.expect("REST 3", 350);
    assert_eq!(session.send("APPE upload", b"x").code, 550);
    session.expect("REST 3", 350);
    assert_eq!(session.send("STOU upload", b"x").code, 550);
    let door = session.door();
    let reply = session.ask("STOU");
    // RFC 1123, 4.1.2.9.
    assert_eq!((reply.code, &reply.text[4..]), (125, "FILE: /root/upload.1"));
    let mut data = session.through(door);
    data.write_all(b"new").unwrap();
    data.finish().unwrap();
    assert_eq!(session.hear().code, 226);
    assert_eq!(fs::read(server.path("root/upload.1")).unwrap(), b"new");
    assert_eq!(fs::read(server.path("root/upload")).unwrap(), b"there");
}
