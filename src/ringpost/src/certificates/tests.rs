//! Tests of certificates that are made, reloaded, kept and renewed, in directories of their own.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::crypto::aws_lc_rs::{cipher_suite, default_provider};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConnection};

mod bad;
mod ftp;

use super::*;
use crate::config::{ClientAuth, parse_for_tests};
use crate::net::tls::TlsTerms;

const NOW: i64 = 1_800_000_000;

/// Returns settings with one listener and all files in `dir`.
fn settings(dir: &Path) -> Settings {
    let mut settings = parse_for_tests(
        "[[https]]\nlisten = [\"127.0.0.1:411\", \"[::1]:411\"]\nroot = [\"https\"]\n",
    );
    settings.ca.dir = dir.to_owned();
    settings.secured[0].certificate = dir.join("server.pem");
    settings.secured[0].key = dir.join("server.key");
    settings
}

fn started(settings: &Settings) -> Certificates {
    let mut certificates = Certificates::read(settings).unwrap();
    certificates.make(NOW).unwrap();
    certificates
}

fn address() -> SocketAddr {
    "127.0.0.1:411".parse().unwrap()
}

fn terms(certificates: &Certificates) -> Arc<TlsTerms> {
    certificates.terms()[&address()].load_full()
}

/// A foreign CA, and a pair that it issued for "phones.example".
struct Elsewhere {
    ca: CertifiedIssuer<'static, KeyPair>,
    pem: String,
    key_pem: String,
}

impl Elsewhere {
    fn new() -> Elsewhere {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["phones.example".to_owned()]).unwrap();
        let pem = params.signed_by(&key, &ca).unwrap().pem();
        Elsewhere { ca, pem, key_pem: key.serialize_pem() }
    }

    fn put(&self, dir: &Path) {
        fs::write(dir.join("server.key"), &self.key_pem).unwrap();
        fs::write(dir.join("server.pem"), &self.pem).unwrap();
    }
}

/// Shakes hands in memory; returns the certificate, and whether the session was resumed.
fn meet(
    terms: &TlsTerms,
    config: &Arc<ClientConfig>,
    name: &str,
) -> Result<(Vec<u8>, bool), rustls::Error> {
    let (client, server) = shake(terms, config, name, &[])?;
    let shown = client.peer_certificates().unwrap()[0].to_vec();
    Ok((shown, server.handshake_kind() == Some(rustls::HandshakeKind::Resumed)))
}

/// Returns both ends after a handshake, the server's with this mark in its tickets.
fn shake(
    terms: &TlsTerms,
    config: &Arc<ClientConfig>,
    name: &str,
    mark: &[u8],
) -> Result<(ClientConnection, ServerConnection), rustls::Error> {
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut client = ClientConnection::new(config.clone(), name).unwrap();
    let mut server = ServerConnection::new(terms.config.clone()).unwrap();
    server.set_resumption_data(mark);
    for _ in 0..4 {
        let mut wire = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut wire).unwrap();
        }
        let mut said = wire.as_slice();
        while !said.is_empty() {
            server.read_tls(&mut said).unwrap();
            server.process_new_packets()?;
        }
        if !server.is_handshaking() {
            server.writer().write_all(b"x").unwrap();
        }
        let mut wire = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut wire).unwrap();
        }
        let mut said = wire.as_slice();
        while !said.is_empty() {
            client.read_tls(&mut said).unwrap();
            client.process_new_packets()?;
        }
        let _ = client.reader().read(&mut [0; 9]);
    }
    Ok((client, server))
}

fn client(ca: &[u8], with_ecdsa: bool) -> Arc<ClientConfig> {
    let mut provider = default_provider();
    if !with_ecdsa {
        provider.cipher_suites = vec![cipher_suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256];
    }
    let mut roots = RootCertStore::empty();
    roots.add(ca.to_vec().into()).unwrap();
    let versions: &[_] = match with_ecdsa {
        true => &[&rustls::version::TLS13],
        false => &[&rustls::version::TLS12],
    };
    let builder = ClientConfig::builder_with_provider(Arc::new(provider));
    let builder = builder.with_protocol_versions(versions).unwrap();
    Arc::new(builder.with_root_certificates(roots).with_no_client_auth())
}

/// Returns OpenSSL's output, or `None` if OpenSSL is not installed.
fn openssl(arguments: &[&str]) -> Option<(bool, String)> {
    let run = Command::new("openssl").args(arguments).output().ok()?;
    let said = String::from_utf8_lossy(&run.stdout) + String::from_utf8_lossy(&run.stderr);
    Some((run.status.success(), said.into_owned()))
}

#[test]
fn the_first_start_makes_a_ca_and_a_pair_for_every_phone() {
    let dir = tempfile::tempdir().unwrap();
    let certificates = started(&settings(&dir.path().join("certs")));
    let dir = dir.path().join("certs");
    let mode = |name: &str| fs::metadata(dir.join(name)).unwrap().permissions().mode() & 0o777;
    for key in ["ca.key", "server.key", "server-p256.key"] {
        assert_eq!(mode(key), 0o600, "{key}");
    }
    assert_eq!(fs::read_dir(&dir).unwrap().count(), 6);
    let report = certificates.report(NOW);
    let [row] = report.as_slice() else { panic!("{report:?}") };
    assert!(row.renewed_by_itself && row.fault.is_none() && row.days_left > 700, "{row:?}");
    let keys: Vec<_> = row.pairs.iter().map(|pair| pair.key.as_str()).collect();
    assert_eq!(keys, ["P-256", "RSA 2048"]);
    for pair in &row.pairs {
        for name in ["localhost", "127.0.0.1", "::1"] {
            assert!(pair.names.iter().any(|known| known == name), "{name} in {:?}", pair.names);
        }
        let life = pair.not_after_unix_s - pair.not_before_unix_s;
        assert!(life <= 825 * DAY_S && pair.not_before_unix_s < NOW);
    }
    let at = |name: &str| dir.join(name).display().to_string();
    let (ca, server, second) = (at("ca.pem"), at("server.pem"), at("server-p256.pem"));
    let when = NOW.to_string();
    for pem in [&server, &second] {
        let arguments = ["verify", "-x509_strict", "-purpose", "sslserver", "-attime", &when];
        let arguments = [&arguments[..], &["-CAfile", &ca, "-verify_ip", "::1", pem]].concat();
        if let Some((is_valid, said)) = openssl(&arguments) {
            assert!(is_valid, "{said}");
        }
    }
}

#[test]
fn each_phone_is_shown_what_its_hello_can_take() {
    let dir = tempfile::tempdir().unwrap();
    let certificates = started(&settings(dir.path()));
    let ca = ca_certificate(&certificates.ca).unwrap();
    let shown = |with_ecdsa: bool| {
        let (leaf, _) = meet(&terms(&certificates), &client(&ca, with_ecdsa), "127.0.0.1").unwrap();
        pair::facts(&leaf).unwrap().key
    };
    assert_eq!((shown(true).as_str(), shown(false).as_str()), ("P-256", "RSA 2048"));
}

#[test]
fn a_row_that_only_authenticates_shares_its_pairs_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let mut settings = settings(dir.path());
    let encrypting = started(&settings);
    settings.secured[0].authenticate_only = true;
    let mut certificates = started(&settings);
    let ca = ca_certificate(&certificates.ca).unwrap();
    let readable = |suites: std::ops::Range<usize>| {
        let mut provider = null_cipher::provider();
        provider.cipher_suites = provider.cipher_suites[suites].to_vec();
        let mut roots = RootCertStore::empty();
        roots.add(ca.clone()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(provider));
        let builder = builder.with_protocol_versions(null_cipher::VERSIONS).unwrap();
        Arc::new(builder.with_root_certificates(roots).with_no_client_auth())
    };
    let key = |shown: &[u8]| pair::facts(shown).unwrap().key;
    for (suites, expected) in [(0..2, "P-256"), (0..1, "P-256"), (1..2, "RSA 2048")] {
        let config = readable(suites);
        let (leaf, is_resumed) = meet(&terms(&certificates), &config, "127.0.0.1").unwrap();
        assert_eq!((key(&leaf).as_str(), is_resumed), (expected, false));
        assert!(meet(&terms(&certificates), &config, "127.0.0.1").unwrap().1);
        assert!(meet(&terms(&encrypting), &config, "127.0.0.1").is_err());
    }
    for with_ecdsa in [true, false] {
        let config = client(&ca, with_ecdsa);
        assert!(meet(&terms(&certificates), &config, "127.0.0.1").is_err());
        meet(&terms(&encrypting), &config, "127.0.0.1").unwrap();
    }
    let speaks = &certificates.report(NOW)[0].speaks;
    assert!(speaks.contains("not encrypted: TLS_ECDHE_ECDSA_WITH_NULL_SHA, "), "{speaks}");
    // After a reload it encrypts; running connections continue as they began.
    settings.secured[0].authenticate_only = false;
    certificates.take(&settings, NOW).unwrap();
    meet(&terms(&certificates), &client(&ca, true), "127.0.0.1").unwrap();
    assert!(meet(&terms(&certificates), &readable(0..2), "127.0.0.1").is_err());
    assert_eq!(certificates.report(NOW)[0].speaks, "TLS 1.2 and 1.3");
}

#[test]
fn what_an_administrator_put_there_is_used_for_all_and_never_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    let elsewhere = Elsewhere::new();
    // Even if the server's own pair has been in use before.
    drop(started(&settings(dir.path())));
    elsewhere.put(dir.path());
    let mut certificates = started(&settings(dir.path()));
    let report = certificates.report(NOW);
    assert!(!report[0].renewed_by_itself && report[0].pairs.len() == 1, "{report:?}");
    assert_eq!(report[0].pairs[0].names, ["phones.example"]);
    let config = client(elsewhere.ca.der(), true);
    meet(&terms(&certificates), &config, "phones.example").unwrap();
    certificates.refresh(NOW + 5_000 * 365 * DAY_S);
    assert_eq!(fs::read_to_string(dir.path().join("server.pem")).unwrap(), elsewhere.pem);
    assert_eq!(fs::read_to_string(dir.path().join("server.key")).unwrap(), elsewhere.key_pem);
}

#[test]
fn a_second_start_uses_what_the_first_has_made() {
    let dir = tempfile::tempdir().unwrap();
    let first = started(&settings(dir.path())).report(NOW);
    assert_eq!(started(&settings(dir.path())).report(NOW), first);
    // A missing second kind of key is made, by the same CA.
    fs::remove_file(dir.path().join("server-p256.pem")).unwrap();
    fs::remove_file(dir.path().join("server-p256.key")).unwrap();
    let third = started(&settings(dir.path())).report(NOW);
    assert_eq!(third[0].pairs[1], first[0].pairs[1]);
    assert_ne!(third[0].pairs[0], first[0].pairs[0]);
}

#[test]
fn a_changed_pair_is_taken_up_and_sessions_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let mut certificates = started(&settings(dir.path()));
    let ca = ca_certificate(&certificates.ca).unwrap();
    let config = client(&ca, true);
    assert!(!meet(&terms(&certificates), &config, "127.0.0.1").unwrap().1);
    let before = terms(&certificates);
    assert!(certificates.refresh(NOW).changed, "days may have passed");
    assert_eq!(certificates.refresh(NOW + 1), CertificateChanges::default());
    let authority = Authority::read(dir.path()).unwrap().unwrap();
    let row = certificates.rows[0].settings.clone();
    issue_pairs(&authority, &row, &certificates.names(), NOW).unwrap();
    assert!(certificates.refresh(NOW + 2).changed);
    assert!(!Arc::ptr_eq(&before, &terms(&certificates)));
    assert!(meet(&terms(&certificates), &config, "127.0.0.1").unwrap().1, "resumed");
    // A running connection keeps its terms.
    meet(&before, &client(&ca, true), "127.0.0.1").unwrap();
}

#[test]
fn what_is_wrong_at_the_start_is_told_with_line_and_mend() {
    let dir = tempfile::tempdir().unwrap();
    let elsewhere = Elsewhere::new();
    let settings = settings(dir.path());
    let message = || Certificates::read(&settings).unwrap_err().to_string();
    elsewhere.put(dir.path());
    fs::write(&settings.secured[0].key, Elsewhere::new().key_pem).unwrap();
    assert!(message().starts_with("/test/ringpost.toml:1: "), "{}", message());
    assert!(message().contains("put the two that belong together there"), "{}", message());
    fs::write(&settings.secured[0].key, "-----BEGIN ENCRYPTED PRIVATE KEY-----\n").unwrap();
    assert!(message().contains("has a password on it"), "{}", message());
    fs::write(&settings.secured[0].key, "nonsense").unwrap();
    assert!(message().contains("has no private key in PEM form"), "{}", message());
    let chain = format!("{}{}", elsewhere.pem, Elsewhere::new().pem);
    elsewhere.put(dir.path());
    fs::write(&settings.secured[0].certificate, chain).unwrap();
    assert!(message().contains("number 2 does not vouch for number 1"), "{}", message());
    let chain = format!("{}{}", elsewhere.pem, elsewhere.ca.pem());
    fs::write(&settings.secured[0].certificate, chain).unwrap();
    Certificates::read(&settings).unwrap();
}

#[test]
fn a_second_pair_that_is_bad_is_told_and_the_first_serves_alone() {
    let dir = tempfile::tempdir().unwrap();
    let settings = settings(dir.path());
    drop(started(&settings));
    fs::write(dir.path().join("server-p256.pem"), "nonsense").unwrap();
    let report = started(&settings).report(NOW);
    let fault = report[0].fault.clone().unwrap();
    assert!(fault.contains("server-p256.pem has no certificate"), "{fault}");
    assert_eq!((report[0].pairs.len(), report[0].pairs[0].key.as_str()), (1, "RSA 2048"));
    assert_eq!(fs::read_to_string(dir.path().join("server-p256.pem")).unwrap(), "nonsense");
}

#[test]
fn a_crash_between_key_and_certificate_is_mended_at_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    let settings = settings(dir.path());
    let before = started(&settings).report(NOW);
    for name in ["server.key", "server-p256.key"] {
        fs::write(dir.path().join(name), Elsewhere::new().key_pem).unwrap();
        let after = started(&settings).report(NOW);
        assert_eq!((after[0].pairs.len(), &after[0].fault), (2, &None), "{name}");
        assert_ne!(after, before);
    }
    // A CA's key without its certificate is used, not lost.
    let key = fs::read(dir.path().join("ca.key")).unwrap();
    for name in ["ca.pem", "server.pem", "server.key"] {
        fs::remove_file(dir.path().join(name)).unwrap();
    }
    started(&settings);
    assert_eq!(fs::read(dir.path().join("ca.key")).unwrap(), key);
}

#[test]
fn the_own_pair_is_renewed_in_the_last_third_of_its_life() {
    let dir = tempfile::tempdir().unwrap();
    let mut settings = settings(dir.path());
    // Two rows with the same files renew them once.
    let mut other = settings.secured[0].clone();
    other.listen = vec!["127.0.0.1:443".parse().unwrap()];
    settings.secured.push(other);
    let mut certificates = started(&settings);
    let before = certificates.report(NOW);
    certificates.refresh(NOW);
    let end = before[0].pairs[0].not_after_unix_s;
    let third = (end - before[0].pairs[0].not_before_unix_s) / 3;
    certificates.refresh(end - third - 60);
    assert_eq!(certificates.report(NOW), before);
    assert!(certificates.refresh(end - third + 60).changed);
    let after = certificates.report(NOW);
    assert_ne!(after[0].pairs, before[0].pairs);
    assert_eq!(after[0].pairs, after[1].pairs);
    let ca = ca_certificate(&certificates.ca).unwrap();
    assert!(certificates.rows.iter().all(|row| row.is_own(&certificates.ca)), "{ca:?}");
}

#[test]
fn a_new_address_renews_once_it_has_stayed() {
    let dir = tempfile::tempdir().unwrap();
    let settings = settings(dir.path());
    let mut certificates = started(&settings);
    let before = certificates.report(NOW);
    certificates.refresh(NOW);
    // As if the host had gained it: the listener names a floating one.
    certificates.rows[0].settings.listen.push("192.0.2.9:411".parse().unwrap());
    certificates.refresh(NOW + 60);
    assert_eq!(certificates.report(NOW)[0].pairs, before[0].pairs);
    certificates.refresh(NOW + 61);
    assert_eq!(certificates.report(NOW)[0].pairs, before[0].pairs);
    certificates.refresh(NOW + 121);
    let after = certificates.report(NOW);
    assert!(after[0].pairs.iter().all(|pair| pair.names.contains(&"192.0.2.9".to_owned())));
}

#[test]
fn a_renewal_that_cannot_be_written_is_told_and_tried_again() {
    let dir = tempfile::tempdir().unwrap();
    let settings = settings(dir.path());
    let mut certificates = started(&settings);
    let key = fs::read(dir.path().join("ca.key")).unwrap();
    fs::remove_file(dir.path().join("ca.key")).unwrap();
    let late = NOW + 800 * DAY_S;
    certificates.refresh(late);
    let fault = certificates.report(late)[0].fault.clone().unwrap();
    assert!(fault.contains("could not be renewed") && fault.contains("ca.key"), "{fault}");
    assert!(certificates.report(late)[0].days_left < WARN_DAYS);
    fs::write(dir.path().join("ca.key"), key).unwrap();
    certificates.refresh(late + 60);
    assert_eq!(certificates.report(late)[0].fault, None);
}

#[test]
fn no_two_cas_have_the_same_name() {
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let names = [one, other].map(|dir| {
        Authority::read_or_make(dir.path(), &"h".repeat(80), NOW).unwrap();
        let facts = fs::read(dir.path().join("ca.pem")).unwrap();
        pair::facts(&pair::chain(&facts).unwrap()[0]).unwrap().subject
    });
    assert_ne!(names[0], names[1]);
}

#[test]
fn phones_fetch_the_ca_and_never_a_key() {
    let dir = tempfile::tempdir().unwrap();
    let mut settings = settings(dir.path());
    let mut certificates = started(&settings);
    let pem = fs::read_to_string(dir.path().join("ca.pem")).unwrap();
    let key = fs::read_to_string(dir.path().join("ca.key")).unwrap();
    let served = certificates.ca_file().unwrap();
    assert_eq!((&*served.path, &*served.pem), (&b"ca.pem"[..], pem.replace('\r', "").as_bytes()));
    assert!(!certificates.refresh(NOW).ca_changed);
    fs::write(dir.path().join("ca.pem"), format!("{key}\r\nbag attributes\r\n{pem}\r\n{key}"))
        .unwrap();
    assert!(certificates.refresh(NOW).ca_changed && !certificates.refresh(NOW).ca_changed);
    assert_eq!(certificates.ca_file().unwrap().pem, served.pem);
    settings.ca.serve_as = None;
    certificates.take(&settings, NOW).unwrap();
    assert!(certificates.ca_file().is_none());
}

#[test]
fn what_judges_phones_is_read_with_the_rest_and_ends_sessions_when_it_changes() {
    let dir = tempfile::tempdir().unwrap();
    let mut settings = settings(dir.path());
    let (phones, others) = (Elsewhere::new(), Elsewhere::new());
    let (ca, crl) = (dir.path().join("phones.pem"), dir.path().join("phones.crl"));
    settings.secured[0].client_auth = ClientAuth::Required;
    settings.secured[0].client_ca = Some(ca.clone());
    let message = |settings: &Settings| {
        let mut certificates = Certificates::read(settings).unwrap();
        certificates.make(NOW).unwrap_err().to_string()
    };
    assert!(message(&settings).contains("phones.pem does not exist"));
    fs::write(&ca, "no certificate").unwrap();
    let message = Certificates::read(&settings).unwrap_err().to_string();
    assert!(message.contains("`client_ca` has no certificate"), "{message}");
    fs::write(&ca, phones.ca.pem()).unwrap();
    settings.secured[0].client_crl = Some(crl.clone());
    fs::write(&crl, phones.ca.pem()).unwrap();
    let message = Certificates::read(&settings).unwrap_err().to_string();
    assert!(message.contains("`client_crl` has no revocation"), "{message}");
    settings.secured[0].client_crl = None;
    let mut certificates = started(&settings);
    certificates.refresh(NOW);
    let sessions = certificates.rows[0].used.clone().unwrap().sessions;
    let own = ca_certificate(&certificates.ca).unwrap();
    assert!(meet(&terms(&certificates), &client(&own, true), "127.0.0.1").is_err());
    fs::write(&ca, others.ca.pem()).unwrap();
    assert!(certificates.refresh(NOW + 1).changed);
    let after = certificates.rows[0].used.clone().unwrap().sessions;
    assert!(!sessions.is(&after), "whoever the old CA let in has to come anew");
    certificates.take(&settings, NOW + 1).unwrap();
    assert!(certificates.rows[0].used.clone().unwrap().sessions.is(&after), "kept by a reload");
}

#[test]
fn a_new_row_and_a_row_that_goes_are_taken_by_a_reload_or_not_at_all() {
    let dir = tempfile::tempdir().unwrap();
    let mut settings = settings(dir.path());
    let mut certificates = started(&settings);
    let place = certificates.terms()[&address()].clone();
    let (before, elsewhere) = (place.load_full(), Elsewhere::new());
    let other = dir.path().join("other");
    fs::create_dir(&other).unwrap();
    settings.secured[0].certificate = other.join("server.pem");
    settings.secured[0].key = other.join("server.key");
    fs::write(other.join("server.pem"), &elsewhere.pem).unwrap();
    assert!(certificates.take(&settings, NOW).is_err());
    assert!(Arc::ptr_eq(&before, &place.load_full()));
    elsewhere.put(&other);
    certificates.take(&settings, NOW).unwrap();
    assert!(!Arc::ptr_eq(&before, &place.load_full()), "running listeners see it");
    assert_eq!(certificates.report(NOW)[0].pairs[0].names, ["phones.example"]);
}
