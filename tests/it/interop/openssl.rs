//! OpenSSL's client against our TLS: authenticate-only, and for old phones.
//!
//! First a thread's listener replaces the server, to test the bytes of TLS. Then the whole server.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, unbounded};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, IsCa, KeyPair,
    PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256, SignatureAlgorithm,
};
use ringpost::net::tls::{TlsSession, TlsTerms, null_cipher};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::Ticketer;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::{expect_same, has, noise};
use crate::server::{Server, eventually};

const ANSWER_BYTES: usize = 100_000;

/// A certificate for 127.0.0.1 and the CA above it, which is in a file.
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
        let builder = ServerConfig::builder_with_provider(Arc::new(null_cipher::provider()));
        let builder = builder.with_protocol_versions(null_cipher::VERSIONS).unwrap();
        let builder = builder.with_no_client_auth();
        let mut config =
            builder.with_single_cert(self.chain.clone(), self.key.clone_key()).unwrap();
        config.ticketer = Ticketer::new().unwrap();
        TlsTerms::new(Arc::new(config))
    }
}

/// The properties of a connection: version, suite, whether it was resumed, the request.
type ConnectionFacts = (&'static str, &'static str, bool, Vec<u8>);

/// Answers each connection with so many bytes after its request's empty line.
fn listen(terms: TlsTerms) -> (SocketAddr, Receiver<Option<ConnectionFacts>>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let (tell, results) = unbounded();
    thread::spawn(move || {
        while let Ok((socket, _)) = listener.accept() {
            socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            if tell.send(answer(&terms, socket)).is_err() {
                return;
            }
        }
    });
    (address, results)
}

fn answer(terms: &TlsTerms, mut socket: TcpStream) -> Option<ConnectionFacts> {
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

/// Returns the output of OpenSSL's client for one request to this listener.
fn ask(address: SocketAddr, folder: &Path, options: &str) -> Vec<u8> {
    request_with(address, folder, "GET /46xxsettings.txt\\n\\n", options)
}

/// Does the same with any request.
fn request_with(address: SocketAddr, folder: &Path, request: &str, options: &str) -> Vec<u8> {
    let command = format!(
        "printf '{request}' | openssl s_client -connect {address} -quiet \
         -CAfile ca.pem -verify_return_error -verify_ip 127.0.0.1 {options}"
    );
    let output = std::process::Command::new("timeout")
        .args(["30", "sh", "-c", &command])
        .current_dir(folder)
        .output()
        .unwrap();
    output.stdout
}

/// Returns whether this OpenSSL supports the suites; Debian's does, hardened ones do not.
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
    let (address, results) = listen(identity.authenticate_only());
    let folder = identity.folder.path();
    let spoken = format!("-tls1_2 -cipher '{cipher}:@SECLEVEL=0'");
    for (is_resumed, session) in
        [(false, "-sess_out s"), (true, "-sess_in s"), (true, "-sess_in s")]
    {
        let got = ask(address, folder, &format!("{spoken} {session}"));
        expect_same(&got, &noise(ANSWER_BYTES), cipher);
        let (version, met, was_resumed, asked) = results.recv().unwrap().unwrap();
        assert_eq!((version, met, was_resumed), ("TLS 1.2", suite, is_resumed));
        assert_eq!(asked, b"GET /46xxsettings.txt\n\n");
    }
    // Without tickets the session is stored here.
    for (is_resumed, session) in [(false, "-sess_out n"), (true, "-sess_in n")] {
        ask(address, folder, &format!("{spoken} -no_ticket {session}"));
        assert_eq!(results.recv().unwrap().unwrap().2, is_resumed);
    }
    // Nothing else is supported there: neither suites that encrypt, nor TLS 1.3.
    for other in ["-tls1_2", "-tls1_3", "-tls1_2 -cipher 'NULL-SHA256:@SECLEVEL=0'"] {
        assert_eq!(ask(address, folder, other), b"", "{other}");
        assert_eq!(results.recv().unwrap(), None, "{other}");
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

/// Returns a free TCP port.
fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

/// Starts the whole server with another row, and returns its address. Its CA is in its clients'
/// folder.
fn serve(row: &str) -> (Server, SocketAddr) {
    let (port, plain) = (free_port(), free_port());
    let server = Server::start_with(&format!(
        "[[https]]\nlisten = [\"127.0.0.1:{port}\"]\nroot = [\"root\"]\n{row}\n\
         [[http]]\nlisten = [\"127.0.0.1:{plain}\"]\nroot = [\"root\"]\n[vault]\n"
    ));
    std::fs::copy(server.path("certs/ca.pem"), server.path("ca.pem")).unwrap();
    (server, (Ipv4Addr::LOCALHOST, port).into())
}

/// Returns the server's answer to a request with these options of OpenSSL's client.
fn answered(server: &Server, address: SocketAddr, request: &str, options: &str) -> Vec<u8> {
    let head = format!("{request} HTTP/1.1\\r\\nHost: a\\r\\nConnection: close\\r\\n\\r\\n");
    request_with(address, &server.path(""), &head, options)
}

fn body(answer: &[u8]) -> &[u8] {
    let head = answer.windows(4).position(|part| part == b"\r\n\r\n");
    head.map_or(b"", |end| &answer[end + 4..])
}

#[test]
fn null_sha_serves_files_and_keeps_the_vault_shut() {
    if !speaks("-tls1_2", "ECDHE-RSA-NULL-SHA") {
        return;
    }
    let (server, address) = serve("authenticate_only = true");
    let file = noise(ANSWER_BYTES);
    server.put("firmware.bin", &file);
    server.put("small.txt", b"SET A 1\n");
    for (cipher, suite) in [
        ("ECDHE-RSA-NULL-SHA", "TLS_ECDHE_RSA_WITH_NULL_SHA"),
        ("ECDHE-ECDSA-NULL-SHA", "TLS_ECDHE_ECDSA_WITH_NULL_SHA"),
    ] {
        let spoken = format!("-tls1_2 -cipher '{cipher}:@SECLEVEL=0'");
        for session in ["-sess_out s", "-sess_in s"] {
            let options = format!("{spoken} {session}");
            let answer = answered(&server, address, "GET /firmware.bin", &options);
            expect_same(body(&answer), &file, &options);
            let answer = answered(&server, address, "GET /small.txt", &options);
            expect_same(body(&answer), b"SET A 1\n", &options);
        }
        eventually("the log names the suite", || server.log().contains(suite));
        let answer = answered(&server, address, "GET /4711_96xxdata.txt", &spoken);
        assert!(answer.starts_with(b"HTTP/1.1 404 "), "{:?}", String::from_utf8_lossy(&answer));
        let answer = answered(&server, address, "DELETE /4711_96xxdata.txt", &spoken);
        assert!(answer.starts_with(b"HTTP/1.1 40"), "{:?}", String::from_utf8_lossy(&answer));
    }
    // Suites that encrypt are refused, and the log says why the phone was not served.
    for other in ["-tls1_3", "-tls1_2"] {
        assert_eq!(answered(&server, address, "GET /small.txt", other), b"", "{other}");
    }
    eventually("the log says why", || server.log().contains("no cipher suite"));
}

#[cfg(feature = "legacy-tls")]
mod old {
    use super::*;
    use ringpost::net::tls::openssl::{LegacySessions, LegacyTerms, Pair};

    fn old_phones(identity: &Identity) -> TlsTerms {
        let pair = Pair { chain: &identity.chain, key: &identity.key };
        let legacy = LegacyTerms::new(&[pair], None, &LegacySessions::new().unwrap()).unwrap();
        TlsTerms { legacy: Some(legacy), ..identity.authenticate_only() }
    }

    #[test]
    fn what_old_phones_speak_is_spoken_and_resumed() {
        let identity = Identity::new(&PKCS_RSA_SHA256);
        let folder = identity.folder.path();
        let (address, results) = listen(old_phones(&identity));
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
                    let met = results.recv().unwrap().unwrap();
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
        let (address, results) = listen(old_phones(&identity));
        let options = "-tls1 -cipher 'AECDH-NULL-SHA:@SECLEVEL=0'";
        assert_eq!(ask(address, identity.folder.path(), options), b"");
        assert_eq!(results.recv().unwrap(), None);
    }

    #[test]
    fn old_phones_are_served_and_newer_ones_on_the_same_port() {
        if !speaks("-tls1", "AES128-SHA") {
            return;
        }
        let (server, address) = serve("legacy = true");
        let file = noise(ANSWER_BYTES);
        server.put("firmware.bin", &file);
        for (options, suite) in [
            ("-tls1 -cipher 'AES128-SHA:@SECLEVEL=0'", "TLS_RSA_WITH_AES_128_CBC_SHA"),
            ("-tls1 -cipher 'NULL-SHA:@SECLEVEL=0'", "TLS_RSA_WITH_NULL_SHA"),
            ("-tls1_1 -cipher 'AES256-SHA:@SECLEVEL=0'", "TLS_RSA_WITH_AES_256_CBC_SHA"),
            ("-tls1_2 -cipher 'NULL-SHA256:@SECLEVEL=0'", "TLS_RSA_WITH_NULL_SHA256"),
            ("-tls1_3", "TLS_AES_256_GCM_SHA384"),
        ] {
            for session in ["-sess_out s", "-sess_in s"] {
                let options = format!("{options} {session}");
                let answer = answered(&server, address, "GET /firmware.bin", &options);
                expect_same(body(&answer), &file, &options);
            }
            eventually("the log names the suite", || server.log().contains(suite));
        }
        assert!(server.log().contains("is for old phones"), "the log warns of the listener");
        let mut plain = TcpStream::connect(address).unwrap();
        plain.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
        let mut response = String::new();
        let _ = plain.read_to_string(&mut response);
        assert!(response.contains("https://"), "{response}");
    }
}
