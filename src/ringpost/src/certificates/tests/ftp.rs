//! Tests of FTP's TLS terms: the same pair as HTTPS, and nothing else in common.

use super::*;

/// One listener of each, which share a pair in `dir`.
fn both(dir: &Path) -> Certificates {
    let mut settings = parse_for_tests(
        "[[https]]\nlisten = [\"127.0.0.1:411\"]\nroot = [\"https\"]\n\
         [ftp]\nlisten = [\"127.0.0.1:21\"]\ntls_listen = [\"127.0.0.1:990\"]\n",
    );
    settings.ca.dir = dir.to_owned();
    for row in &mut settings.secured {
        row.certificate = dir.join("server.pem");
        row.key = dir.join("server.key");
    }
    started(&settings)
}

fn at(certificates: &Certificates, address: &str) -> Arc<TlsTerms> {
    certificates.terms()[&address.parse::<SocketAddr>().unwrap()].load_full()
}

fn asking_for(config: &Arc<ClientConfig>, protocol: &[u8]) -> Arc<ClientConfig> {
    let mut config = ClientConfig::clone(config);
    config.alpn_protocols = vec![protocol.to_vec()];
    Arc::new(config)
}

#[test]
fn explicit_and_implicit_listeners_have_one_certificate_and_it_is_that_of_https() {
    let dir = tempfile::tempdir().unwrap();
    let certificates = both(dir.path());
    let ca = ca_certificate(&certificates.ca).unwrap();
    for with_ecdsa in [true, false] {
        let client = client(&ca, with_ecdsa);
        let shown = |address| meet(&at(&certificates, address), &client, "127.0.0.1").unwrap().0;
        assert_eq!(shown("127.0.0.1:21"), shown("127.0.0.1:411"));
        assert_eq!(shown("127.0.0.1:21"), shown("127.0.0.1:990"));
    }
    let reports = certificates.report(NOW);
    assert_eq!((reports.len(), &*reports[1].speaks), (2, "FTP over TLS 1.2 and 1.3"));
}

#[test]
fn a_certificate_that_two_listeners_have_is_warned_of_once() {
    let dir = tempfile::tempdir().unwrap();
    let certificates = both(dir.path());
    assert_eq!(certificates.rows.len(), 2);
    let told = super::super::expiries(&certificates.rows, NOW + 100 * 365 * 86_400);
    assert!(told.len() == 1 && told[0].contains("has expired"), "{told:?}");
}

#[test]
fn who_wants_to_speak_another_protocol_is_refused_and_who_says_nothing_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let certificates = both(dir.path());
    let plain = client(&ca_certificate(&certificates.ca).unwrap(), true);
    let (ftp, https) = (at(&certificates, "127.0.0.1:21"), at(&certificates, "127.0.0.1:411"));
    assert!(meet(&ftp, &asking_for(&plain, b"ftp"), "127.0.0.1").is_ok());
    assert!(meet(&https, &asking_for(&plain, b"http/1.1"), "127.0.0.1").is_ok());
    for (terms, wanted) in [(&ftp, "http/1.1"), (&ftp, "h2"), (&https, "ftp"), (&https, "h2")] {
        let handshake = meet(terms, &asking_for(&plain, wanted.as_bytes()), "127.0.0.1");
        assert!(handshake.is_err_and(|why| why.to_string().contains("known protocol")), "{wanted}");
    }
    assert!(meet(&ftp, &plain, "127.0.0.1").is_ok() && meet(&https, &plain, "127.0.0.1").is_ok());
}

#[test]
fn a_session_of_ftp_resumes_a_session_of_ftp_and_none_of_https() {
    let dir = tempfile::tempdir().unwrap();
    let certificates = both(dir.path());
    let ca = ca_certificate(&certificates.ca).unwrap();
    for with_ecdsa in [true, false] {
        let client = client(&ca, with_ecdsa);
        let resumes = |address| meet(&at(&certificates, address), &client, "127.0.0.1").unwrap().1;
        assert!(!resumes("127.0.0.1:411"));
        assert!(!resumes("127.0.0.1:21"), "HTTPS has secrets of its own");
        assert!(resumes("127.0.0.1:21"));
        assert!(resumes("127.0.0.1:990"), "one row, one set of sessions");
    }
}

#[test]
fn four_data_connections_resume_before_the_next_ticket_and_show_the_mark() {
    let dir = tempfile::tempdir().unwrap();
    let certificates = both(dir.path());
    let (terms, mark) = (at(&certificates, "127.0.0.1:21"), b"session 0001");
    let client = client(&ca_certificate(&certificates.ca).unwrap(), true);
    shake(&terms, &client, "127.0.0.1", mark).unwrap();
    // Connections whose tickets never arrive, so that each uses one of the first.
    let mut silent = rustls::ServerConfig::clone(&terms.config);
    silent.send_tls13_tickets = 0;
    let silent = TlsTerms::new(Arc::new(silent));
    for _ in 0..4 {
        let (_, server) = shake(&silent, &client, "127.0.0.1", b"").unwrap();
        assert_eq!(server.received_resumption_data(), Some(mark.as_slice()));
    }
    let (_, server) = shake(&silent, &client, "127.0.0.1", b"").unwrap();
    assert_eq!(server.received_resumption_data(), None, "every ticket is used");
}

#[test]
fn on_tls_1_2_a_session_is_resumed_and_its_mark_is_not_told() {
    let dir = tempfile::tempdir().unwrap();
    let certificates = both(dir.path());
    let terms = at(&certificates, "127.0.0.1:21");
    let client = client(&ca_certificate(&certificates.ca).unwrap(), false);
    shake(&terms, &client, "127.0.0.1", b"session 0001").unwrap();
    let (_, server) = shake(&terms, &client, "127.0.0.1", b"").unwrap();
    assert_eq!(server.handshake_kind(), Some(rustls::HandshakeKind::Resumed));
    // rustls writes it into the ticket and does not read it back, so nothing may depend on it.
    assert_eq!(server.received_resumption_data(), None);
}
