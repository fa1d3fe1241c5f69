//! OpenSSL's client against what secures our connections: authenticate-only, and for old phones.
//!
//! A listener of a thread stands in for the server here: what is proven is the bytes of TLS.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, IsCa, KeyPair,
    PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256, SignatureAlgorithm,
};
use ringpost::net::integrity;
use ringpost::net::tls::{TlsSession, TlsTerms};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::Ticketer;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::{expect_same, has, noise};

const ANSWER_BYTES: usize = 100_000;

/// A certificate for 127.0.0.1 and the CA above it, which lies in a file.
struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    folder: tempfile::TempDir,
}

impl Identity {
    fn new(kind: &'static SignatureAlgorithm) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "the CA");
        let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        std::fs::write(folder.path().join("ca.pem"), ca.pem()).unwrap();
        let key = KeyPair::generate_for(kind).unwrap();
        let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "127.0.0.1");
        let certificate = params.signed_by(&key, &ca).unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        Identity { chain: vec![certificate.der().clone()], key, folder }
    }

    fn authenticate_only(&self) -> TlsTerms {
        let builder = ServerConfig::builder_with_provider(Arc::new(integrity::provider()));
        let builder = builder.with_protocol_versions(integrity::VERSIONS).unwrap();
        let builder = builder.with_no_client_auth();
        let mut config =
            builder.with_single_cert(self.chain.clone(), self.key.clone_key()).unwrap();
        config.ticketer = Ticketer::new().unwrap();
        TlsTerms::new(Arc::new(config))
    }
}

/// What a connection turned out to be: version, suite, whether it was resumed, what was asked.
type Met = (&'static str, &'static str, bool, Vec<u8>);

/// Answers each connection with so many bytes after its request's empty line.
fn listen(terms: TlsTerms) -> (SocketAddr, Receiver<Option<Met>>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let (tell, told) = channel();
    thread::spawn(move || {
        while let Ok((socket, _)) = listener.accept() {
            socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            if tell.send(answer(&terms, socket)).is_err() {
                return;
            }
        }
    });
    (address, told)
}

fn answer(terms: &TlsTerms, mut socket: TcpStream) -> Option<Met> {
    let mut session = TlsSession::accept(terms).unwrap();
    let (mut asked, mut part) = (Vec::new(), [0; 4_096]);
    while !asked.ends_with(b"\n\n") {
        match session.read(&mut socket, &mut part) {
            Ok(0) | Err(_) => return None,
            Ok(read) => asked.extend(&part[..read]),
        }
    }
    let (version, suite) = session.version_and_suite()?;
    let answer = noise(ANSWER_BYTES);
    let mut sent = 0;
    while sent < answer.len() {
        sent += session.write(&mut socket, &answer[sent..]).unwrap();
    }
    session.end();
    session.flush(&mut socket).unwrap();
    // Both sides close, or what the client has not read yet is lost.
    let _ = socket.shutdown(std::net::Shutdown::Write);
    let _ = socket.read_to_end(&mut Vec::new());
    Some((version, suite, session.is_resumed(), asked))
}

/// What OpenSSL's client prints that asks this listener once.
fn ask(address: SocketAddr, folder: &Path, options: &str) -> Vec<u8> {
    let command = format!(
        "printf 'GET /46xxsettings.txt\\n\\n' | openssl s_client -connect {address} -quiet \
         -CAfile ca.pem -verify_return_error -verify_ip 127.0.0.1 {options}"
    );
    let output = std::process::Command::new("timeout")
        .args(["30", "sh", "-c", &command])
        .current_dir(folder)
        .output()
        .unwrap();
    output.stdout
}

/// Whether this OpenSSL can speak the suites; Debian's can, hardened ones cannot.
fn speaks(version: &str, suites: &str) -> bool {
    if !has("openssl") {
        return false;
    }
    let list = format!("{suites}:@SECLEVEL=0");
    let listed = std::process::Command::new("openssl")
        .args(["ciphers", "-s", version, &list])
        .output()
        .is_ok_and(|output| output.stdout.len() > 1);
    if !listed {
        let _ = writeln!(std::io::stderr(), "skipped: openssl speaks no {suites} on {version}");
    }
    listed
}

fn authenticates(kind: &'static SignatureAlgorithm, cipher: &str, suite: &str) {
    if !speaks("-tls1_2", cipher) {
        return;
    }
    let identity = Identity::new(kind);
    let (address, told) = listen(identity.authenticate_only());
    let folder = identity.folder.path();
    let spoken = format!("-tls1_2 -cipher '{cipher}:@SECLEVEL=0'");
    for (is_resumed, session) in
        [(false, "-sess_out s"), (true, "-sess_in s"), (true, "-sess_in s")]
    {
        let got = ask(address, folder, &format!("{spoken} {session}"));
        expect_same(&got, &noise(ANSWER_BYTES), cipher);
        let (version, met, was_resumed, asked) = told.recv().unwrap().unwrap();
        assert_eq!((version, met, was_resumed), ("TLS 1.2", suite, is_resumed));
        assert_eq!(asked, b"GET /46xxsettings.txt\n\n");
    }
    // Without tickets the session is remembered here.
    for (is_resumed, session) in [(false, "-sess_out n"), (true, "-sess_in n")] {
        ask(address, folder, &format!("{spoken} -no_ticket {session}"));
        assert_eq!(told.recv().unwrap().unwrap().2, is_resumed);
    }
    // Nothing else is spoken there: not what encrypts, and not TLS 1.3.
    for other in ["-tls1_2", "-tls1_3", "-tls1_2 -cipher 'NULL-SHA256:@SECLEVEL=0'"] {
        assert_eq!(ask(address, folder, other), b"", "{other}");
        assert_eq!(told.recv().unwrap(), None, "{other}");
    }
}

#[test]
fn null_sha_with_an_rsa_certificate_is_authenticated_and_resumed() {
    authenticates(&PKCS_RSA_SHA256, "ECDHE-RSA-NULL-SHA", "TLS_ECDHE_RSA_WITH_NULL_SHA");
}

#[test]
fn null_sha_with_a_p256_certificate_is_authenticated_and_resumed() {
    authenticates(&PKCS_ECDSA_P256_SHA256, "ECDHE-ECDSA-NULL-SHA", "TLS_ECDHE_ECDSA_WITH_NULL_SHA");
}

#[cfg(feature = "legacy-tls")]
mod old {
    use super::*;
    use ringpost::net::legacy::{LegacySessions, LegacyTerms, Pair};

    fn old_phones(identity: &Identity) -> TlsTerms {
        let pair = Pair { chain: &identity.chain, key: &identity.key };
        let legacy = LegacyTerms::new(&[pair], None, &LegacySessions::new().unwrap()).unwrap();
        TlsTerms { legacy: Some(legacy), ..identity.authenticate_only() }
    }

    #[test]
    fn what_old_phones_speak_is_spoken_and_resumed() {
        let identity = Identity::new(&PKCS_RSA_SHA256);
        let folder = identity.folder.path();
        let (address, told) = listen(old_phones(&identity));
        for (option, cipher, version, suite) in [
            ("-tls1", "AES128-SHA", "TLS 1.0", "TLS_RSA_WITH_AES_128_CBC_SHA"),
            ("-tls1", "NULL-SHA", "TLS 1.0", "TLS_RSA_WITH_NULL_SHA"),
            ("-tls1_1", "AES256-SHA", "TLS 1.1", "TLS_RSA_WITH_AES_256_CBC_SHA"),
            ("-tls1_2", "NULL-SHA256", "TLS 1.2", "TLS_RSA_WITH_NULL_SHA256"),
            ("-tls1_2", "AES128-SHA256", "TLS 1.2", "TLS_RSA_WITH_AES_128_CBC_SHA256"),
            ("-tls1_3", "ALL", "TLS 1.3", "TLS_AES_256_GCM_SHA384"),
        ] {
            if !speaks(option, cipher) {
                continue;
            }
            for ticket in ["", "-no_ticket"] {
                for (is_resumed, session) in [(false, "-sess_out s"), (true, "-sess_in s")] {
                    let spoken = format!("{option} -cipher '{cipher}:@SECLEVEL=0' {ticket}");
                    let got = ask(address, folder, &format!("{spoken} {session}"));
                    expect_same(&got, &noise(ANSWER_BYTES), &spoken);
                    let met = told.recv().unwrap().unwrap();
                    assert_eq!((met.0, met.1, met.2), (version, suite, is_resumed), "{spoken}");
                }
            }
        }
    }

    #[test]
    fn suites_without_a_certificate_stay_out() {
        if !speaks("-tls1", "AECDH-NULL-SHA") {
            return;
        }
        let identity = Identity::new(&PKCS_RSA_SHA256);
        let (address, told) = listen(old_phones(&identity));
        let options = "-tls1 -cipher 'AECDH-NULL-SHA:@SECLEVEL=0'";
        assert_eq!(ask(address, identity.folder.path(), options), b"");
        assert_eq!(told.recv().unwrap(), None);
    }
}
