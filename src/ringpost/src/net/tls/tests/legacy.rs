//! Tests of a listener for old phones: OpenSSL's client as an old phone, and rustls' as the others
//! on the same port.

use ::openssl::ssl::{ErrorCode, Ssl, SslContext, SslMethod, SslStream, SslVerifyMode, SslVersion};
use ::openssl::x509::X509;
use rcgen::{
    CertificateRevocationListParams, KeyIdMethod, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
    PKCS_RSA_SHA256, RevokedCertParams, SerialNumber, SignatureAlgorithm,
};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer};

use super::refusals::hears;
use super::*;
use crate::net::tls::openssl::{ClientCheck, LegacySessions, LegacyTerms, Pair};

/// A certificate with its key, signed by an issuer.
struct SignedPair {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl SignedPair {
    fn new(issuer: &Issuer, kind: &'static SignatureAlgorithm, serial: u64) -> Self {
        let key = KeyPair::generate_for(kind).unwrap();
        let mut params = CertificateParams::new(vec!["phone.test".to_owned()]).unwrap();
        // A name of its own: with its issuer's it would look self-signed.
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(rcgen::DnType::CommonName, "phone.test");
        params.serial_number = Some(SerialNumber::from(serial));
        let certificate = params.signed_by(&key, issuer).unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        SignedPair { chain: vec![certificate.der().clone(), issuer.der().clone()], key }
    }
}

fn both(issuer: &Issuer) -> Vec<SignedPair> {
    vec![
        SignedPair::new(issuer, &PKCS_RSA_SHA256, 1),
        SignedPair::new(issuer, &PKCS_ECDSA_P256_SHA256, 2),
    ]
}

/// An authority that may also revoke.
fn revoking_authority() -> Issuer {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

fn made(
    shown: &[SignedPair],
    phones: Option<&ClientCheck<'_>>,
    sessions: Option<&LegacySessions>,
) -> io::Result<TlsTerms> {
    let pairs: Vec<Pair<'_>> =
        shown.iter().map(|shown| Pair { chain: &shown.chain, key: &shown.key }).collect();
    let sessions = sessions.cloned().map_or_else(LegacySessions::new, Ok)?;
    let legacy = LegacyTerms::new(&pairs, phones, &sessions)?;
    Ok(TlsTerms { legacy: Some(legacy), ..plain_terms(&authority()) })
}

/// A phone with a range of versions, and these suites.
fn phone(
    issuer: &Issuer,
    versions: (SslVersion, SslVersion),
    suites: &str,
    wire: &Wire,
) -> SslStream<Wire> {
    let mut context = SslContext::builder(SslMethod::tls_client()).unwrap();
    context.set_min_proto_version(Some(versions.0)).unwrap();
    context.set_max_proto_version(Some(versions.1)).unwrap();
    context.set_cipher_list(&format!("{suites}:@SECLEVEL=0")).unwrap();
    context.set_verify(SslVerifyMode::PEER);
    context.cert_store_mut().add_cert(X509::from_der(issuer.der()).unwrap()).unwrap();
    let mut tls = Ssl::new(&context.build()).unwrap();
    tls.set_connect_state();
    // The phone reads what the server sends.
    let turned = Wire { up: Rc::clone(&wire.down), down: Rc::clone(&wire.up) };
    SslStream::new(tls, turned).unwrap()
}

/// Shakes hands as far as both can.
fn shake(session: &mut TlsSession, phone: &mut SslStream<Wire>, wire: &mut Wire) {
    for _ in 0..5 {
        let _ = phone.do_handshake();
        if read_all(session, wire).is_err() {
            return;
        }
    }
}

/// Returns what a phone negotiates with one version and these suites, after a request and a long
/// answer.
fn spoken(
    terms: &TlsTerms,
    issuer: &Issuer,
    version: SslVersion,
    suites: &str,
) -> (&'static str, &'static str) {
    let mut wire = Wire::open();
    let mut session = TlsSession::accept(terms).unwrap();
    let mut phone = phone(issuer, (version, version), suites, &wire);
    shake(&mut session, &mut phone, &mut wire);
    assert!(!session.is_handshaking(), "{suites}: {:?}", session.fault());
    assert_eq!(phone.ssl_write(b"GET / HTTP/1.0\r\n\r\n").unwrap(), 18);
    assert_eq!(read_all(&mut session, &mut wire).unwrap(), b"GET / HTTP/1.0\r\n\r\n");
    let answer: Vec<u8> = (0..100_000_u32).map(|at| (at % 251) as u8).collect();
    let (mut sent, mut got, mut part) = (0, Vec::<u8>::new(), [0; 20_000]);
    while got.len() < answer.len() {
        if sent < answer.len() {
            sent += session.write(&mut wire, &answer[sent..]).unwrap();
        }
        while let Ok(read) = phone.ssl_read(&mut part) {
            got.extend(&part[..read]);
        }
    }
    assert!(got == answer, "{suites}");
    session.end();
    session.flush(&mut wire).unwrap();
    assert_eq!(phone.ssl_read(&mut part).unwrap_err().code(), ErrorCode::ZERO_RETURN);
    session.version_and_suite().unwrap()
}

#[test]
fn old_phones_get_what_they_speak() {
    let issuer = authority();
    let terms = made(&both(&issuer), None, None).unwrap();
    let rows = [
        (SslVersion::TLS1, "AES128-SHA", ("TLS 1.0", "TLS_RSA_WITH_AES_128_CBC_SHA")),
        (SslVersion::TLS1, "AES256-SHA", ("TLS 1.0", "TLS_RSA_WITH_AES_256_CBC_SHA")),
        (SslVersion::TLS1, "NULL-SHA", ("TLS 1.0", "TLS_RSA_WITH_NULL_SHA")),
        (SslVersion::TLS1, "NULL-MD5", ("TLS 1.0", "TLS_RSA_WITH_NULL_MD5")),
        (
            SslVersion::TLS1,
            "ECDHE-RSA-AES128-SHA",
            ("TLS 1.0", "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA"),
        ),
        (SslVersion::TLS1_1, "AES128-SHA", ("TLS 1.1", "TLS_RSA_WITH_AES_128_CBC_SHA")),
        (SslVersion::TLS1_2, "AES128-SHA", ("TLS 1.2", "TLS_RSA_WITH_AES_128_CBC_SHA")),
        (SslVersion::TLS1_2, "NULL-SHA256", ("TLS 1.2", "TLS_RSA_WITH_NULL_SHA256")),
        (
            SslVersion::TLS1_2,
            "ECDHE-ECDSA-AES128-GCM-SHA256",
            ("TLS 1.2", "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"),
        ),
        // The server's order applies, and suites that encrypt come first.
        (SslVersion::TLS1, "NULL-SHA:AES128-SHA", ("TLS 1.0", "TLS_RSA_WITH_AES_128_CBC_SHA")),
        (SslVersion::TLS1_3, "ALL", ("TLS 1.3", "TLS_AES_256_GCM_SHA384")),
    ];
    for (version, suites, expected) in rows {
        assert_eq!(spoken(&terms, &issuer, version, suites), expected);
    }
}

#[test]
fn a_phone_that_knows_no_ecdsa_is_shown_the_rsa_certificate() {
    let issuer = authority();
    let terms = made(&both(&issuer), None, None).unwrap();
    let alone = made(&[SignedPair::new(&issuer, &PKCS_ECDSA_P256_SHA256, 3)], None, None).unwrap();
    for (terms, suites, expected) in [
        (&terms, "ECDHE-ECDSA-AES128-SHA", None),
        (&terms, "AES128-SHA", None),
        (&alone, "ECDHE-ECDSA-AES128-SHA", None),
        (&alone, "AES128-SHA", Some(Handshake::NoSharedSuite)),
    ] {
        let (mut wire, mut session) = (Wire::open(), TlsSession::accept(terms).unwrap());
        let mut phone = phone(&issuer, (SslVersion::TLS1, SslVersion::TLS1_2), suites, &wire);
        shake(&mut session, &mut phone, &mut wire);
        let found = (session.fault(), session.is_handshaking());
        assert_eq!(found, (expected, expected.is_some()), "{suites}");
    }
}

#[test]
fn suites_without_a_certificate_are_not_spoken() {
    let issuer = authority();
    let terms = made(&both(&issuer), None, None).unwrap();
    for suites in ["AECDH-NULL-SHA", "ADH-AES128-SHA"] {
        let (mut wire, mut session) = (Wire::open(), TlsSession::accept(&terms).unwrap());
        let mut phone = phone(&issuer, (SslVersion::TLS1, SslVersion::TLS1_2), suites, &wire);
        shake(&mut session, &mut phone, &mut wire);
        assert_eq!(session.fault(), Some(Handshake::NoSharedSuite), "{suites}");
    }
}

#[test]
fn what_is_older_still_and_what_is_no_tls_are_told_apart() {
    let terms = made(&both(&authority()), None, None).unwrap();
    for request in ["GET /46xxsettings.txt HTTP/1.1\r\n", "PUT /x", "OPTIONS *", "DELETE /x"] {
        let (fault, answer) = hears(&terms, request.as_bytes());
        assert_eq!((fault, &*answer), (Some(Handshake::PlainRequest), &b""[..]), "{request}");
    }
    for garbage in [&b"SSH-2.0-x\r\n"[..], b"GETTING IT", &[0xff; 40]] {
        assert_eq!(hears(&terms, garbage).0, Some(Handshake::NotTls), "{garbage:?}");
    }
    // A hello whose newest version is SSL 3.0, and one of SSL 2.0.
    let mut ssl3 = vec![22, 3, 0, 0, 45, 1, 0, 0, 41, 3, 0];
    ssl3.extend([9; 32]);
    ssl3.extend([0, 0, 2, 0, 0x2f, 1, 0]);
    let (fault, answer) = hears(&terms, &ssl3);
    assert_eq!((fault, answer[0]), (Some(Handshake::NoSharedVersion), 21));
    let mut ssl2 = vec![0x80, 0x1c, 1, 0, 2, 0, 3, 0, 0, 0, 0x10, 1, 0, 0x80];
    ssl2.extend([9; 16]);
    assert_eq!(hears(&terms, &ssl2).0, Some(Handshake::NoSharedVersion));
}

#[test]
fn a_phone_that_does_not_trust_the_certificate_is_heard() {
    let (issuer, stranger) = (authority(), revoking_authority());
    let terms = made(&both(&issuer), None, None).unwrap();
    for version in [SslVersion::TLS1, SslVersion::TLS1_2] {
        let (mut wire, mut session) = (Wire::open(), TlsSession::accept(&terms).unwrap());
        let mut phone = phone(&stranger, (version, version), "ALL", &wire);
        shake(&mut session, &mut phone, &mut wire);
        assert_eq!(session.fault(), Some(Handshake::Untrusted));
    }
}

#[test]
fn a_wire_that_stops_at_any_byte_changes_nothing_here_either() {
    let issuer = authority();
    let terms = made(&both(&issuer), None, None).unwrap();
    for version in BOTH {
        let mut config = client_config(&issuer, &[version]);
        config.resumption = rustls::client::Resumption::disabled();
        let config = Arc::new(config);
        let (up, down) = converse(&terms, &config, usize::MAX, usize::MAX);
        for stop in (0..=up).step_by(3) {
            converse(&terms, &config, stop, usize::MAX);
        }
        for stop in (0..=down).step_by(7) {
            converse(&terms, &config, usize::MAX, stop);
        }
    }
}

#[test]
fn a_slow_phone_pins_no_more_than_the_queue_here_either() {
    let issuer = authority();
    let terms = made(&both(&issuer), None, None).unwrap();
    let (mut wire, mut session) = (Wire::open(), TlsSession::accept(&terms).unwrap());
    let mut phone = phone(&issuer, (SslVersion::TLS1, SslVersion::TLS1), "AES128-SHA", &wire);
    shake(&mut session, &mut phone, &mut wire);
    wire.let_pass(usize::MAX, 100);
    let firmware = vec![7; 1 << 20];
    let parts = [IoSlice::new(b"head"), IoSlice::new(&firmware)];
    assert_eq!(session.write_vectored(&mut wire, &parts).unwrap(), QUEUE_BYTES_MAX);
    assert_eq!(session.write(&mut wire, &firmware).unwrap_err().kind(), WouldBlock);
    assert!(session.has_unsent());
    // Reading continues while nothing can be sent.
    phone.ssl_write(b"next").unwrap();
    assert_eq!(read_all(&mut session, &mut wire).unwrap(), b"next");
    wire.let_pass(usize::MAX, usize::MAX);
    session.flush(&mut wire).unwrap();
    let (mut got, mut part) = (0, [0; 5_000]);
    while let Ok(read) = phone.ssl_read(&mut part) {
        got += read;
    }
    assert_eq!(got, QUEUE_BYTES_MAX);
}

#[test]
fn a_cut_is_an_end_after_the_handshake_and_abandons_it_before() {
    let issuer = authority();
    let terms = made(&both(&issuer), None, None).unwrap();
    let config = Arc::new(client_config(&issuer, BOTH));
    let (mut wire, mut session) = (Wire::open(), TlsSession::accept(&terms).unwrap());
    let mut phone = phone(&issuer, (SslVersion::TLS1, SslVersion::TLS1), "AES128-SHA", &wire);
    shake(&mut session, &mut phone, &mut wire);
    phone.ssl_write(b"last").unwrap();
    wire.hang_up();
    let mut into = [0; 64];
    assert_eq!(session.read(&mut wire, &mut into).unwrap(), 4);
    assert_eq!(session.read(&mut wire, &mut into).unwrap(), 0);
    assert_eq!(session.fault(), None);
    let mut hello = Vec::new();
    client(&config).write_tls(&mut hello).unwrap();
    for cut in [0, 1, 4, 5, 6, 100, hello.len()] {
        let (mut wire, mut session) = (Wire::open(), TlsSession::accept(&terms).unwrap());
        wire.say(&hello[..cut]);
        wire.hang_up();
        let read = session.read(&mut wire, &mut [0; 9]);
        assert_eq!(read.is_ok(), cut == 0);
        assert_eq!(session.fault(), (cut > 0).then_some(Handshake::Abandoned));
    }
}

#[test]
fn a_record_changed_on_the_way_ends_the_connection_here_too() {
    let issuer = authority();
    let terms = made(&both(&issuer), None, None).unwrap();
    for suites in ["AES128-SHA", "NULL-SHA"] {
        let (mut wire, mut session) = (Wire::open(), TlsSession::accept(&terms).unwrap());
        let mut phone = phone(&issuer, (SslVersion::TLS1, SslVersion::TLS1), suites, &wire);
        shake(&mut session, &mut phone, &mut wire);
        phone.ssl_write(b"question").unwrap();
        *wire.up.borrow_mut().bytes.back_mut().unwrap() ^= 1;
        assert_eq!(read_all(&mut session, &mut wire).unwrap_err().kind(), InvalidData);
        assert_eq!(session.fault(), None);
        let error = phone.ssl_read(&mut [0; 9]).unwrap_err();
        let error = error.ssl_error().unwrap().errors()[0].reason_code();
        assert_eq!(error, 1_000 + 20, "the phone hears bad_record_mac");
    }
}

/// Shakes hands with rustls' client: returns whether a certificate was sent, whether the session
/// was resumed, and why the handshake failed.
fn meet(terms: &TlsTerms, config: &Arc<ClientConfig>) -> (bool, bool, Option<Handshake>) {
    let (mut session, mut client) = (TlsSession::accept(terms).unwrap(), client(config));
    let mut wire = Wire::open();
    for _ in 0..4 {
        let _ = carry(&mut client, &wire);
        if read_all(&mut session, &mut wire).is_err() {
            break;
        }
    }
    let _ = carry(&mut client, &wire);
    (session.shows_certificate(), session.is_resumed(), session.fault())
}

#[test]
fn sessions_outlive_a_reload_with_other_certificates() {
    let issuer = authority();
    for version in BOTH {
        let sessions = LegacySessions::new().unwrap();
        let terms = made(&both(&issuer), None, Some(&sessions)).unwrap();
        let config = Arc::new(client_config(&issuer, &[version]));
        assert_eq!(meet(&terms, &config), (false, false, None));
        assert_eq!(meet(&terms, &config), (false, true, None));
        let reloaded = made(&both(&issuer), None, Some(&sessions)).unwrap();
        assert_eq!(meet(&reloaded, &config), (false, true, None));
        let stranger = made(&both(&issuer), None, None).unwrap();
        assert_eq!(meet(&stranger, &config), (false, false, None));
    }
}

#[test]
fn a_phones_certificate_is_judged_by_the_rules_of_now() {
    let (issuer, stranger, own) = (revoking_authority(), authority(), authority());
    let list = |by: &Issuer, serials: &[u64]| {
        let revoked = |serial: &u64| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: rcgen::date_time_ymd(2024, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let params = CertificateRevocationListParams {
            this_update: rcgen::date_time_ymd(2024, 1, 1),
            next_update: rcgen::date_time_ymd(2124, 1, 1),
            crl_number: SerialNumber::from(1_u64),
            issuing_distribution_point: None,
            revoked_certs: serials.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(by).unwrap().der().clone()
    };
    let showing = |by: &Issuer, version| {
        let shown = SignedPair::new(by, &PKCS_ECDSA_P256_SHA256, 77);
        // OpenSSL accepts a certificate's curve only from a client that also exchanges keys on it.
        let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()));
        let builder = builder.with_protocol_versions(&[version]).unwrap();
        let builder = builder.with_root_certificates(roots(&own));
        Arc::new(builder.with_client_auth_cert(shown.chain, shown.key).unwrap())
    };
    let issuers = [issuer.der().clone()];
    let other_revoked = [list(&issuer, &[78])];
    let revoked = [list(&issuer, &[78]), list(&issuer, &[77])];
    // Of the same name, but another issuer's: it has no effect.
    let strangers = [list(&stranger, &[78])];
    let shown = both(&own);
    for version in BOTH {
        let sessions = LegacySessions::new().unwrap();
        let phones = |lists, is_required| ClientCheck { issuers: &issuers, lists, is_required };
        let optional = made(&shown, Some(&phones(&other_revoked, false)), Some(&sessions)).unwrap();
        let required = made(&shown, Some(&phones(&other_revoked, true)), Some(&sessions)).unwrap();
        let without = || Arc::new(client_config(&own, &[version]));
        assert_eq!(meet(&optional, &without()), (false, false, None));
        let absent = Some(Handshake::NoClientCertificate);
        assert_eq!(meet(&required, &without()), (false, false, absent));
        let known = showing(&issuer, version);
        assert_eq!(meet(&required, &known), (true, false, None));
        assert_eq!(meet(&required, &known), (true, true, None));
        let bad = Some(Handshake::BadClientCertificate);
        assert_eq!(meet(&optional, &showing(&stranger, version)), (false, false, bad));
        let no_lists = made(&shown, Some(&phones(&[], true)), None).unwrap();
        assert_eq!(meet(&no_lists, &known), (true, false, None));
        let unknown = made(&shown, Some(&phones(&strangers, true)), None).unwrap();
        assert_eq!(meet(&unknown, &known), (false, false, bad), "nobody says that it still holds");
        // The client keeps the session of the newest terms.
        assert_eq!(meet(&required, &known), (true, false, None));
        let reloaded = made(&shown, Some(&phones(&revoked, true)), Some(&sessions)).unwrap();
        assert_eq!(meet(&reloaded, &known), (false, false, bad), "what was resumed is judged anew");
    }
}

#[test]
fn what_does_not_fit_together_is_refused_before_it_is_used() {
    let issuer = authority();
    let mut shown = both(&issuer);
    shown[0].key = SignedPair::new(&issuer, &PKCS_RSA_SHA256, 9).key;
    assert!(made(&shown, None, None).is_err());
    let garbled = [CertificateRevocationListDer::from(vec![0x30, 3, 1, 2, 3])];
    let phones = ClientCheck { issuers: &[], lists: &garbled, is_required: true };
    assert!(made(&both(&issuer), Some(&phones), None).is_err());
    shown[0].chain.clear();
    assert!(made(&shown, None, None).is_err());
}

#[test]
fn an_idle_session_is_small_here_too() {
    const SESSIONS: usize = 500;
    let issuer = authority();
    let terms = made(&both(&issuer), None, None).unwrap();
    let config = Arc::new(client_config(&issuer, &[&TLS12]));
    let idle = || {
        let (mut session, mut client) = (TlsSession::accept(&terms).unwrap(), client(&config));
        secure(&mut session, &mut client, &mut Wire::open());
        session
    };
    let mut kept: Vec<TlsSession> = (0..50).map(|_| idle()).collect();
    let before = resident();
    kept.extend((0..SESSIONS).map(|_| idle()));
    let each = resident().saturating_sub(before) / SESSIONS;
    println!("OpenSSL: {each} bytes a session");
    assert!(each < 40_000, "{each} bytes a session");
}
