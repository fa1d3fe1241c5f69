//! Tests with certificates by OpenSSL, as old phones have them: one good, six bad in six ways.

use std::path::Path;
use std::process::Command;
use std::time::SystemTime;

use rustls::RootCertStore;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject as _;
use rustls::server::WebPkiClientVerifier;

use super::*;

/// Runs OpenSSL; does nothing if it is not installed, which `tools/test` counts.
fn openssl(dir: &Path, line: &str) {
    let words = line.split_whitespace();
    let run = Command::new("openssl").args(words).current_dir(dir).output().unwrap();
    assert!(run.status.success(), "{line}: {}", String::from_utf8_lossy(&run.stderr));
}

/// Makes a CA, a foreign CA, and certificates by the CA.
fn make(dir: &Path) {
    std::fs::write(dir.join("client.ext"), "extendedKeyUsage=clientAuth\n").unwrap();
    std::fs::write(dir.join("server.ext"), "extendedKeyUsage=serverAuth\n").unwrap();
    for ca in ["ca", "other"] {
        openssl(
            dir,
            &format!(
                "req -x509 -newkey rsa:2048 -nodes -keyout {ca}.key -out {ca}.pem -subj /CN={ca} \
                 -days 3650 -sha256 -addext basicConstraints=critical,CA:TRUE"
            ),
        );
    }
    for (name, bits) in [("key", 2048), ("short", 1024)] {
        openssl(
            dir,
            &format!(
                "req -newkey rsa:{bits} -nodes -keyout {name}.key -out {name}.csr -subj /CN=p"
            ),
        );
    }
    let sign = |out: &str, csr: &str, ca: &str, more: &str| {
        openssl(
            dir,
            &format!(
                "x509 -req -in {csr}.csr -CA {ca}.pem -CAkey {ca}.key -CAcreateserial -out \
                 {out}.pem {more}"
            ),
        );
    };
    sign("good", "key", "ca", "-days 30 -sha256 -extfile client.ext");
    sign("expired", "key", "ca", "-days 1 -sha256 -extfile client.ext");
    sign("v1", "key", "ca", "-days 30 -sha256");
    sign("sha1", "key", "ca", "-days 30 -sha1 -extfile client.ext");
    sign("short", "short", "ca", "-days 30 -sha256 -extfile client.ext");
    sign("usage", "key", "ca", "-days 30 -sha256 -extfile server.ext");
    sign("strange", "key", "other", "-days 30 -sha256 -extfile client.ext");
    sign("strange-v1", "key", "other", "-days 30 -sha256");
}

fn read(dir: &Path, name: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_file(dir.join(format!("{name}.pem"))).unwrap()
}

fn verifier(dir: &Path, accepts: &[ClientAccept], is_optional: bool) -> PhoneVerifier {
    let provider = Arc::new(default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(read(dir, "ca")).unwrap();
    let strict =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
    PhoneVerifier {
        strict: strict.build().unwrap(),
        issuers: vec![read(dir, "ca")],
        accepts: accepts.to_vec(),
        is_optional,
        provider,
    }
}

/// In two days, when one of them has expired.
fn now() -> UnixTime {
    let ahead = Duration::from_secs(2 * 86_400);
    UnixTime::since_unix_epoch(SystemTime::UNIX_EPOCH.elapsed().unwrap() + ahead)
}

fn fault_of(verifier: &PhoneVerifier, leaf: &CertificateDer<'_>) -> Option<Handshake> {
    let refused = verifier.verify_client_cert(leaf, &[], now()).err()?;
    Some(crate::net::tls::client_certificate_fault(&refused))
}

const BAD: [(&str, Handshake); 6] = [
    ("expired", Handshake::ExpiredClientCertificate),
    ("v1", Handshake::Version1ClientCertificate),
    ("sha1", Handshake::Sha1ClientCertificate),
    ("short", Handshake::ShortKeyClientCertificate),
    ("usage", Handshake::WrongUsageClientCertificate),
    ("strange", Handshake::StrangeClientCertificate),
];

mod interop {
    mod openssl {
        use super::super::*;

        #[test]
        fn six_bad_certificates_have_six_reasons() {
            let dir = tempfile::tempdir().unwrap();
            make(dir.path());
            let verifier = verifier(dir.path(), &[], false);
            assert_eq!(fault_of(&verifier, &read(dir.path(), "good")), None);
            for (name, reason) in BAD {
                assert_eq!(fault_of(&verifier, &read(dir.path(), name)), Some(reason), "{name}");
            }
        }

        #[test]
        fn what_is_forgiven_is_forgiven_alone() {
            let dir = tempfile::tempdir().unwrap();
            make(dir.path());
            let forgiven = [
                ("expired", ClientAccept::Expired),
                ("v1", ClientAccept::V1),
                ("sha1", ClientAccept::Sha1),
            ];
            for (name, accept) in forgiven {
                let verifier = verifier(dir.path(), &[accept], false);
                for (other, reason) in BAD {
                    let found = fault_of(&verifier, &read(dir.path(), other));
                    assert_eq!(found, (other != name).then_some(reason), "{name}: {other}");
                }
                let strange = read(dir.path(), "strange-v1");
                assert!(fault_of(&verifier, &strange).is_some(), "{name}");
            }
        }

        #[test]
        fn where_certificates_are_optional_a_bad_one_is_as_good_as_none() {
            let dir = tempfile::tempdir().unwrap();
            make(dir.path());
            let verifier = verifier(dir.path(), &[], true);
            for (name, _) in BAD {
                let leaf = read(dir.path(), name);
                assert_eq!(fault_of(&verifier, &leaf), None, "{name}");
                assert!(verifier.verify(&leaf, &[], now()).is_err(), "{name}");
            }
            assert!(verifier.is_trusted(&[read(dir.path(), "good")]));
            assert!(!verifier.is_trusted(&[]));
        }
    }
}
