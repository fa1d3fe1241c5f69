//! OpenSSL's `s_client`: certificates, resumption, refusals.

use std::io::Write;
use std::net::TcpListener;
use std::process::{Command, Stdio};

use super::{said, text};
use crate::interop::has;
use crate::server::Server;
/// Returns whether this host's OpenSSL supports a suite.
fn openssl_knows(options: &str) -> bool {
    let refused = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let output = Command::new("timeout")
        .args(["5", "sh", "-c", &format!("openssl s_client -connect {refused} {options}")])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    !text(&output).contains("unknown option") && !text(&output).contains("no cipher match")
}

/// Fetches a file through `openssl s_client`; returns its whole output.
fn s_client(server: &Server, options: &str) -> String {
    let request = "printf 'GET /a.txt HTTP/1.0\\r\\n\\r\\n'";
    let client = "openssl s_client -connect 127.0.0.1:TLSPORT -CAfile ../certs/ca.pem -verify_ip \
                  127.0.0.1 -ign_eof";
    said(server, &format!("{request} | timeout 20 {client} {options}"))
}

#[test]
fn is_served_by_the_certificate_that_its_suites_ask_for() {
    if !has("openssl") {
        return;
    }
    let server = Server::start_web("");
    server.put("a.txt", b"hello\n");
    for (options, expected) in [
        ("-tls1_2 -cipher ECDHE-RSA-AES256-GCM-SHA384", "rsaEncryption"),
        ("-tls1_2 -cipher ECDHE-RSA-AES128-GCM-SHA256", "rsaEncryption"),
        ("-tls1_2 -cipher ECDHE-ECDSA-AES256-GCM-SHA384", "id-ecPublicKey"),
        ("-tls1_2 -cipher ECDHE-ECDSA-CHACHA20-POLY1305", "id-ecPublicKey"),
        ("-tls1_3 -sigalgs RSA-PSS+SHA256:RSA+SHA256", "rsaEncryption"),
        ("-tls1_3 -sigalgs ECDSA+SHA256:RSA+SHA256", "id-ecPublicKey"),
        ("-tls1_3 -ciphersuites TLS_AES_256_GCM_SHA384 -groups P-256", "id-ecPublicKey"),
        ("-noservername -tls1_2", "id-ecPublicKey"),
    ] {
        let said = s_client(&server, &format!("{options} -showcerts"));
        // With the chain's first certificate s_client prints the kind of its key.
        let kind = said.lines().find(|line| line.contains("a:PKEY: ")).unwrap_or_default();
        assert!(kind.contains(expected), "{options}: {said}");
        assert!(said.contains("Verify return code: 0 (ok)"), "{options}: {said}");
        assert!(said.contains("hello"), "{options}: {said}");
    }
}

#[test]
fn resumes_in_both_versions() {
    if !has("openssl") {
        return;
    }
    let server = Server::start_web("");
    server.put("a.txt", b"hello\n");
    for options in ["-tls1_2", "-tls1_3", "-tls1_2 -no_ticket"] {
        let first = s_client(&server, &format!("{options} -sess_out session"));
        assert!(first.contains("New, TLSv1") && first.contains("hello"), "{options}: {first}");
        let again = s_client(&server, &format!("{options} -sess_in session"));
        assert!(again.contains("Reused, TLSv1") && again.contains("hello"), "{options}: {again}");
    }
}

#[test]
fn is_told_why_there_is_no_connection() {
    if !has("openssl") {
        return;
    }
    let server = Server::start_web("");
    server.put("a.txt", b"hello\n");
    for (options, expected) in [
        ("-tls1_1 -cipher ALL:@SECLEVEL=0", "alert"),
        ("-tls1_2 -cipher AES256-SHA:@SECLEVEL=0", "handshake failure"),
        ("-tls1_2 -cipher ECDHE-RSA-NULL-SHA:@SECLEVEL=0", "handshake failure"),
    ] {
        if !openssl_knows(options) {
            let _ = writeln!(std::io::stderr(), "skipped: this OpenSSL has no {options}");
            continue;
        }
        let said = s_client(&server, options);
        assert!(said.contains(expected) && !said.contains("hello"), "{options}: {said}");
    }
}

#[test]
fn renegotiates_nothing_and_breaks_nothing_by_asking() {
    if !has("openssl") {
        return;
    }
    let server = Server::start_web("");
    server.put("a.txt", b"hello\n");
    let asks = "(echo R; sleep 0.5)";
    let client = "openssl s_client -connect 127.0.0.1:TLSPORT -CAfile ../certs/ca.pem -tls1_2";
    let _ = said(&server, &format!("{asks} | timeout 10 {client}"));
    assert!(s_client(&server, "").contains("hello"));
}
