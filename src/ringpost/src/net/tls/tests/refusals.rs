//! Tests of refused handshakes and their reasons.

use super::*;

/// Returns the result of a session that receives these bytes, and its answer.
pub(super) fn hears(terms: &TlsTerms, bytes: &[u8]) -> (Option<Handshake>, Vec<u8>) {
    let mut session = TlsSession::accept(terms).unwrap();
    let mut wire = Wire::open();
    wire.say(bytes);
    assert_eq!(session.read(&mut wire, &mut [0; 9]).unwrap_err().kind(), InvalidData);
    (session.fault(), wire.heard())
}

#[test]
fn what_is_no_tls_is_told_apart() {
    let terms = plain_terms(&authority());
    for request in
        ["GET /46xxsettings.txt HTTP/1.1\r\n", "PUT /x", "HEAD / HTTP/1.0\r\n", "OPTIONS *"]
    {
        let (fault, answer) = hears(&terms, request.as_bytes());
        assert_eq!((fault, &*answer), (Some(Handshake::PlainRequest), &b""[..]), "{request}");
    }
    // A single first byte decides.
    assert_eq!(hears(&terms, b"G").0, Some(Handshake::PlainRequest));
    for garbage in [&b"SSH-2.0-x\r\n"[..], b"\0\0\0\0\0\0\0\0", b"GETTING IT", &[0xff; 40]] {
        assert_eq!(hears(&terms, garbage).0, Some(Handshake::NotTls), "{garbage:?}");
    }
    // A hello of SSL 2.0 that offers TLS 1.0, and one in a record of SSL 3.0 that offers TLS 1.0.
    let ssl2 = [0x80, 0x2e, 1, 3, 1, 0, 0x15, 0, 0, 0, 0x10];
    assert_eq!(hears(&terms, &ssl2).0, Some(Handshake::NoSharedVersion));
    let mut tls1 = vec![22, 3, 0, 0, 45, 1, 0, 0, 41, 3, 1];
    tls1.extend([9; 32]);
    tls1.extend([0, 0, 2, 0, 0x2f, 1, 0]);
    let (fault, answer) = hears(&terms, &tls1);
    assert_eq!(fault, Some(Handshake::NoSharedVersion));
    assert_eq!(&answer[..1], [21], "an alert says so");
}

#[test]
fn what_a_phone_says_of_the_certificate_is_heard() {
    for (alert, expected) in [
        (48, Handshake::Untrusted),
        (46, Handshake::Untrusted),
        (42, Handshake::CertificateRefused),
        (45, Handshake::CertificateRefused),
        (70, Handshake::NoSharedVersion),
        (40, Handshake::NoSharedSuite),
        (71, Handshake::NoSharedSuite),
        (51, Handshake::Untrusted),
        (80, Handshake::Failed),
    ] {
        let terms = plain_terms(&authority());
        assert_eq!(hears(&terms, &[21, 3, 3, 0, 2, 2, alert]).0, Some(expected), "{alert}");
    }
    // After the whole handshake, and encrypted if the version requires it.
    let issuer = authority();
    let terms = plain_terms(&issuer);
    let mut params = CertificateParams::default();
    params.distinguished_name.push(rcgen::DnType::CommonName, "a stranger");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let stranger = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    for version in BOTH {
        let config = Arc::new(client_config(&stranger, &[version]));
        let (mut session, mut client) = (TlsSession::accept(&terms).unwrap(), client(&config));
        let mut wire = Wire::open();
        carry(&mut client, &wire).unwrap();
        read_all(&mut session, &mut wire).unwrap();
        assert!(carry(&mut client, &wire).is_err());
        let fault = read_all(&mut session, &mut wire).unwrap_err();
        assert_eq!(session.fault(), Some(Handshake::Untrusted), "{fault}");
    }
}

#[test]
fn nothing_in_common_is_told_as_that() {
    let issuer = authority();
    let (chain, key) = pair(&issuer);
    let narrow = |suite, version| {
        let mut provider = default_provider();
        provider.cipher_suites = vec![suite];
        let builder = ServerConfig::builder_with_provider(Arc::new(provider));
        let builder = builder.with_protocol_versions(&[version]).unwrap().with_no_client_auth();
        terms(builder.with_single_cert(chain.clone(), key.clone_key()).unwrap())
    };
    let suite = cipher_suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256;
    let only_12 = narrow(suite, &TLS12);
    let only_13 = narrow(cipher_suite::TLS13_AES_128_GCM_SHA256, &TLS13);
    let fault = |terms: &TlsTerms, config: ClientConfig| {
        let mut hello = Vec::new();
        client(&Arc::new(config)).write_tls(&mut hello).unwrap();
        hears(terms, &hello).0
    };
    let old = client_config(&issuer, &[&TLS12]);
    assert_eq!(fault(&only_13, old), Some(Handshake::NoSharedVersion));
    let new = client_config(&issuer, &[&TLS13]);
    assert_eq!(fault(&only_12, new), Some(Handshake::NoSharedVersion));
    let mut provider = default_provider();
    provider.cipher_suites = vec![cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256];
    let builder = ClientConfig::builder_with_provider(Arc::new(provider));
    let builder = builder.with_protocol_versions(&[&TLS12]).unwrap();
    let other = builder.with_root_certificates(roots(&issuer)).with_no_client_auth();
    assert_eq!(fault(&only_12, other), Some(Handshake::NoSharedSuite));
}

#[test]
fn a_phones_certificate_is_asked_for_and_judged() {
    let (issuer, stranger) = (authority(), authority());
    let server = |required: bool| {
        let roots = Arc::new(roots(&issuer));
        let verifier =
            WebPkiClientVerifier::builder_with_provider(roots, Arc::new(default_provider()));
        let verifier = if required { verifier } else { verifier.allow_unauthenticated() };
        let (chain, key) = pair(&issuer);
        let builder = ServerConfig::builder_with_provider(provider());
        let builder = builder.with_protocol_versions(BOTH).unwrap();
        let builder = builder.with_client_cert_verifier(verifier.build().unwrap());
        let mut config = builder.with_single_cert(chain, key).unwrap();
        config.ticketer = Ticketer::new().unwrap();
        terms(config)
    };
    let showing = |own: &Issuer, version| {
        let (chain, key) = pair(own);
        let builder = ClientConfig::builder_with_provider(provider());
        let builder = builder.with_protocol_versions(&[version]).unwrap();
        let builder = builder.with_root_certificates(roots(&issuer));
        Arc::new(builder.with_client_auth_cert(chain, key).unwrap())
    };
    let meet = |terms: &TlsTerms, config: &Arc<ClientConfig>| {
        let (mut session, mut client) = (TlsSession::accept(terms).unwrap(), client(config));
        let mut wire = Wire::open();
        for _ in 0..4 {
            let _ = carry(&mut client, &wire);
            if read_all(&mut session, &mut wire).is_err() {
                break;
            }
        }
        // The client keeps its tickets.
        let _ = carry(&mut client, &wire);
        (session.shows_certificate(), session.is_resumed(), session.fault())
    };
    let (optional, required) = (server(false), server(true));
    for version in BOTH {
        let known = showing(&issuer, version);
        assert_eq!(meet(&required, &known), (true, false, None));
        assert_eq!(meet(&required, &known), (true, true, None), "a resumed session remembers");
        assert_eq!(meet(&optional, &showing(&issuer, version)), (true, false, None));
        let none = Arc::new(client_config(&issuer, &[version]));
        assert_eq!(meet(&optional, &none), (false, false, None));
        let none = Arc::new(client_config(&issuer, &[version]));
        let refused = (false, false, Some(Handshake::NoClientCertificate));
        assert_eq!(meet(&required, &none), refused);
        let refused = (false, false, Some(Handshake::StrangeClientCertificate));
        assert_eq!(meet(&required, &showing(&stranger, version)), refused);
        assert_eq!(meet(&optional, &showing(&stranger, version)), refused);
    }
}

#[test]
fn a_phone_that_cannot_hear_the_alert_is_refused_all_the_same() {
    let mut session = TlsSession::accept(&plain_terms(&authority())).unwrap();
    let mut wire = Wire::open();
    wire.let_pass(usize::MAX, 0);
    wire.say(&[21, 3, 3, 0, 2, 9, 9]);
    assert_eq!(session.read(&mut wire, &mut [0; 9]).unwrap_err().kind(), InvalidData);
    assert_eq!(session.fault(), Some(Handshake::Failed));
    assert!(session.has_unsent());
}

#[test]
fn any_bytes_at_all_are_refused_or_waited_for() {
    let terms = plain_terms(&authority());
    let mut state = 7_u64;
    let mut below = |limit: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 33) % limit
    };
    for _ in 0..2_000 {
        let len = below(64) as usize;
        let mut bytes: Vec<u8> = (0..len).map(|_| below(256) as u8).collect();
        // Half of them look like the start of a hello.
        if len > 11 && below(2) == 0 {
            bytes[..6].copy_from_slice(&[22, 3, 1, 0, len as u8 - 5, 1]);
        }
        let mut session = TlsSession::accept(&terms).unwrap();
        let mut wire = Wire::open();
        wire.say(&bytes);
        wire.hang_up();
        let read = session.read(&mut wire, &mut [0; 9]);
        assert_eq!(read.is_ok(), len == 0);
        assert_eq!(session.fault().is_some(), len > 0);
    }
}
