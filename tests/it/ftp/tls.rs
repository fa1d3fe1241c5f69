//! FTP over TLS: explicit or implicit, with data bound to its session by resumption if the client
//! resumes.

use super::raw::{MODES, Session, trusting, trusting_with};
use crate::interop::{expect_same, noise};
use crate::server::Server;

#[test]
fn data_is_protected_once_asked_for_by_every_kind_of_data_connection() {
    let server = Server::start_ftp("");
    let file = noise(700_000);
    server.put("firmware.bin", &file);
    server.put("empty.txt", b"");
    for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
        let tls = trusting_with(&server, &[version]);
        for mode in MODES {
            let mut session = Session::open(server.ftp_address());
            session.mode = mode;
            session.secure(&tls);
            session.log_in();
            expect_same(&session.fetch("RETR firmware.bin").unwrap(), &file, "over TLS");
            expect_same(&session.fetch("RETR empty.txt").unwrap(), b"", "nothing over TLS");
            // The client reads nothing from the connection that it sends by.
            assert_eq!(session.send("STOR a.up", &file).code, 226);
            expect_same(&server.uploaded("a.up").unwrap(), &file, "an upload");
            assert_eq!(session.send("STOR b.up", b"").code, 226);
            assert_eq!(server.uploaded("b.up").unwrap(), b"");
        }
    }
}

#[test]
fn where_tls_comes_first_data_is_protected_without_a_word() {
    let server = Server::start_ftp("");
    let file = noise(100_000);
    server.put("firmware.bin", &file);
    let tls = trusting(&server);
    let mut session = Session::open_tls(server.ftps_address(), &tls);
    session.log_in();
    // A Poly sends neither PBSZ nor PROT.
    session.private = Some(tls);
    expect_same(&session.fetch("RETR firmware.bin").unwrap(), &file, "protected");
    session.expect("PBSZ 0", 200);
    session.expect("PROT C", 200);
    session.private = None;
    expect_same(&session.fetch("RETR firmware.bin").unwrap(), &file, "in clear");
    session.expect("AUTH TLS", 503);
    session.expect("CCC", 533);
}

#[test]
fn data_that_resumes_its_session_is_served_and_so_is_data_that_does_not() {
    let server = Server::start_ftp("");
    server.put("firmware.bin", b"firmware");
    for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
        let own = trusting_with(&server, &[version]);
        let mut session = Session::open(server.ftp_address());
        session.secure(&own);
        session.log_in();
        // More often than tickets were issued: clients that use each once fall back.
        for _ in 0..7 {
            assert_eq!(session.fetch("RETR firmware.bin").unwrap(), b"firmware");
        }
        let mut resumed = 0;
        for _ in 0..3 {
            session.fetch("RETR firmware.bin").unwrap();
            resumed += usize::from(session.resumed == Some(true));
        }
        assert!(resumed > 0 || version.version == rustls::ProtocolVersion::TLSv1_3);
        // A client that never resumes is served as well.
        session.private = Some(trusting_with(&server, &[version]));
        assert_eq!(session.fetch("RETR firmware.bin").unwrap(), b"firmware");
        assert_eq!(session.resumed, Some(false));
    }
}

#[test]
fn what_another_client_was_given_opens_nobodys_data() {
    let server = Server::start_ftp("");
    server.put("firmware.bin", b"firmware");
    let version = &rustls::version::TLS13;
    let mut session = Session::open(server.ftp_address());
    session.secure(&trusting_with(&server, &[version]));
    session.log_in();
    let stolen = trusting_with(&server, &[version]);
    let mut other = Session::open_from([127, 0, 0, 2].into(), server.ftp_address());
    other.secure(&stolen);
    other.log_in();
    session.private = Some(stolen);
    let refused = session.fetch("RETR firmware.bin");
    assert_eq!(session.resumed, Some(true), "or this proves nothing");
    let refused = refused.unwrap_err();
    assert!(matches!(refused.code, 425 | 426), "{refused:?}");
    // Both continue to work.
    for session in [&mut session, &mut other] {
        session.private = Some(trusting_with(&server, &[version]));
        assert_eq!(session.fetch("RETR firmware.bin").unwrap(), b"firmware");
    }
}

#[test]
fn a_client_with_several_sessions_may_resume_whichever_it_finds() {
    let server = Server::start_ftp("");
    server.put("firmware.bin", b"firmware");
    for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
        let tls = trusting_with(&server, &[version]);
        let mut sessions: Vec<_> = (0..4).map(|_| Session::open(server.ftp_address())).collect();
        for session in &mut sessions {
            session.secure(&tls);
            session.log_in();
        }
        for _ in 0..4 {
            for session in &mut sessions {
                assert_eq!(session.fetch("RETR firmware.bin").unwrap(), b"firmware");
                assert_eq!(session.send("STOR a.up", b"a log").code, 226);
            }
        }
    }
}

#[test]
fn what_came_in_clear_behind_auth_tls_is_never_obeyed() {
    let server = Server::start_ftp("");
    let tls = trusting(&server);
    let mut session = Session::open(server.ftp_address());
    session.say("AUTH TLS\r\nUSER anonymous\r\nPASS x\r\n");
    assert_eq!(session.hear().code, 234);
    session.begin_tls(&tls);
    session.expect("PWD", 530);
    // A login before AUTH does not count any more.
    let mut session = Session::open(server.ftp_address());
    session.log_in();
    session.secure(&tls);
    session.expect("PWD", 530);
    session.log_in();
    session.expect("PWD", 257);
}

#[test]
fn prot_may_come_before_the_log_in_and_not_before_tls() {
    let server = Server::start_ftp("");
    let mut session = Session::open(server.ftp_address());
    session.expect("PBSZ 0", 503);
    session.expect("PROT P", 503);
    session.expect("AUTH KERBEROS", 504);
    session.secure(&trusting(&server));
    session.expect("PROT S", 536);
    session.log_in();
}

#[test]
fn without_tls_in_the_configuration_there_is_none() {
    let server = Server::start_with(
        "[ftp]\nlisten = [\"127.0.0.1:@FTP\"]\nroot = [\"root\"]\ntls = false\n",
    );
    let mut session = Session::open(server.ftp_address());
    assert!(!session.expect("FEAT", 211).contains("AUTH"));
    session.expect("AUTH TLS", 534);
    session.log_in();
}
