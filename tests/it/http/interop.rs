//! HTTP and HTTPS with common clients: curl, wget, busybox, lftp, Python, Chromium and OpenSSL, as
//! Debian ships them.
//!
//! The tests of a client that is not installed are skipped, as in `interop.rs`.

mod openssl;
mod passwords;
mod python3;
mod rows;

use std::fs;
use std::process::Output;

use super::line::{Line, get};
use crate::interop::{expect_same, give, has, noise, run, succeed, take};
use crate::server::{Server, eventually};

/// Too large to be copied to memory, so that the kernel sends it and TLS has to have it read.
const MAPPED_BYTES: usize = 3 << 20;
/// A phone's user data in the vault.
const DATA: &str = "4711_96xxdata.txt";

fn text(output: &Output) -> String {
    [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes)).concat()
}

/// Returns the output of a client that need not succeed.
fn said(server: &Server, command: &str) -> String {
    text(&run(server, command))
}

/// Runs curl and returns only the status; the body is in `got`.
fn status(server: &Server, options: &str) -> String {
    let output = run(server, &format!("curl -sS -g -o got -w '%{{http_code}}' {options}"));
    assert!(output.status.success(), "{options}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Tests sizes around every way that bytes take out of the server.
fn expect_every_size(fetch: impl Fn(&Server, &str)) {
    let server = Server::start_web("");
    for bytes in [0, 1, 2_048, 24 << 10, 32_769, 1 << 20, (1 << 20) + 1, MAPPED_BYTES] {
        let name = format!("size{bytes}.bin");
        let file = noise(bytes);
        server.put(&name, &file);
        fetch(&server, &name);
        expect_same(&take(&server, "got"), &file, &name);
    }
}

#[test]
fn curl_fetches_files_of_every_size() {
    if has("curl") {
        expect_every_size(|server, name| {
            succeed(server, &format!("curl -sSf -o got http://127.0.0.1:PORT/{name}"));
        });
    }
}

#[test]
fn curl_fetches_files_of_every_size_over_tls() {
    if has("curl") {
        expect_every_size(|server, name| {
            let url = format!("https://127.0.0.1:TLSPORT/{name}");
            succeed(server, &format!("curl -sSf --cacert ../certs/ca.pem -o got {url}"));
        });
    }
}

#[test]
fn curl_fetches_over_ipv6_and_old_http() {
    if !has("curl") {
        return;
    }
    let server = Server::start_web("");
    let file = noise(100_000);
    server.put("six.bin", &file);
    for options in [
        "http://[::1]:PORT/six.bin",
        "--cacert ../certs/ca.pem https://[::1]:TLSPORT/six.bin",
        "--http1.0 http://127.0.0.1:PORT/six.bin",
        "--http1.0 -H 'Connection: keep-alive' http://127.0.0.1:PORT/six.bin",
        "-H 'Host:' --http1.0 http://127.0.0.1:PORT/six.bin",
        "--http2 http://127.0.0.1:PORT/six.bin",
    ] {
        assert_eq!(status(&server, options), "200", "{options}");
        expect_same(&take(&server, "got"), &file, options);
    }
}

#[test]
fn curl_gets_a_head_that_says_what_a_get_would_bring() {
    if !has("curl") {
        return;
    }
    let server = Server::start_web("");
    server.put("46xxsettings.txt", &noise(12_345));
    let head = said(&server, "curl -sSI http://127.0.0.1:PORT/46xxsettings.txt");
    let get = said(&server, "curl -sS -D - -o got http://127.0.0.1:PORT/46xxsettings.txt");
    for field in [
        "Content-Length: 12345",
        "Content-Type: text/plain",
        "ETag: \"",
        "Last-Modified: ",
        "Accept-Ranges: bytes",
        "Date: ",
    ] {
        assert!(head.contains(field) && get.contains(field), "{field}: {head}{get}");
    }
}

#[test]
fn curl_fetches_parts_of_files() {
    if !has("curl") {
        return;
    }
    let server = Server::start_web("");
    for bytes in [5_000, MAPPED_BYTES] {
        let file = noise(bytes);
        server.put("part.bin", &file);
        for base in ["http://127.0.0.1:PORT", "--cacert ../certs/ca.pem https://127.0.0.1:TLSPORT"]
        {
            for (range, expected) in [
                ("0-0", &file[..1]),
                ("100-299", &file[100..300]),
                ("4000-", &file[4_000..]),
                ("-777", &file[bytes - 777..]),
                ("0-999999999", &file[..]),
            ] {
                assert_eq!(status(&server, &format!("-r {range} {base}/part.bin")), "206");
                expect_same(&take(&server, "got"), expected, range);
            }
            assert_eq!(status(&server, &format!("-r 999999999- {base}/part.bin")), "416");
            assert_eq!(status(&server, &format!("-r 10-19,4000-4009 {base}/part.bin")), "206");
            let parts = take(&server, "got");
            let has_part = |part: &[u8]| parts.windows(part.len()).any(|bytes| bytes == part);
            assert!(has_part(&file[10..20]) && has_part(&file[4_000..4_010]));
        }
    }
}

#[test]
fn curl_resumes_what_was_cut_off() {
    if !has("curl") {
        return;
    }
    let server = Server::start_web("");
    let file = noise(MAPPED_BYTES);
    server.put("firmware.bin", &file);
    for base in ["http://127.0.0.1:PORT", "--cacert ../certs/ca.pem https://127.0.0.1:TLSPORT"] {
        give(&server, "got", &file[..1_000_001]);
        assert_eq!(status(&server, &format!("-C - {base}/firmware.bin")), "206");
        expect_same(&take(&server, "got"), &file, base);
    }
}

#[test]
fn curl_fetches_only_what_has_changed() {
    if !has("curl") {
        return;
    }
    let server = Server::start_web("");
    server.put("a.txt", b"one");
    let by_tag = "--etag-save tag --etag-compare tag http://127.0.0.1:PORT/a.txt";
    assert_eq!(status(&server, by_tag), "200");
    assert_eq!(take(&server, "got"), b"one");
    assert_eq!(status(&server, by_tag), "304");
    assert_eq!(status(&server, "-R http://127.0.0.1:PORT/a.txt"), "200");
    assert_eq!(status(&server, "-z got http://127.0.0.1:PORT/a.txt"), "304");
    server.put("a.txt", b"second");
    assert_eq!(status(&server, by_tag), "200");
    assert_eq!(take(&server, "got"), b"second");
}

#[test]
fn curl_stores_with_leave_asked_for_and_without() {
    if !has("curl") {
        return;
    }
    let server = Server::start_web("");
    let file = noise(300_000);
    give(&server, "file", &file);
    for (options, first) in [
        ("-T file", "201"),
        ("-H 'Expect: 100-continue' -T file", "204"),
        ("-H 'Expect:' -T file", "204"),
        ("-T - <file", "204"),
        ("-H 'Transfer-Encoding: chunked' -H 'Expect: 100-continue' -T file", "204"),
        ("--http1.0 -T file", "204"),
        ("-X PUT --data-binary @file", "204"),
    ] {
        for name in ["b.up", DATA] {
            let _ = fs::remove_file(server.path("client/got"));
            let url = format!("http://127.0.0.1:PORT/{name}");
            let (options, input) = options.split_once(" <").unwrap_or((options, "/dev/null"));
            assert_eq!(status(&server, &format!("{options} {url} <{input}")), first, "{options}");
        }
        expect_same(&server.uploaded("b.up").unwrap(), &file, options);
        assert_eq!(status(&server, &format!("http://127.0.0.1:PORT/{DATA}")), "200");
        expect_same(&take(&server, "got"), &file, options);
    }
    let message =
        said(&server, "curl -sSv -H 'Expect: 100-continue' -T file http://127.0.0.1:PORT/b.up");
    assert!(message.contains("100 Continue"), "{message}");
    let message = said(
        &server,
        "curl -sSv -H 'Expect: 100-continue' -T file http://127.0.0.1:PORT/not-allowed.txt",
    );
    assert!(message.contains(" 403 ") && !message.contains("100 Continue"), "{message}");
}

#[test]
fn curl_keeps_fetches_and_deletes_a_users_data_over_tls_under_every_prefix() {
    if !has("curl") {
        return;
    }
    let server = Server::start_web("");
    give(&server, "data", b"SPEED DIAL 1 = 4712\r\n");
    let base = "--cacert ../certs/ca.pem https://127.0.0.1:TLSPORT";
    assert_eq!(status(&server, &format!("{base}/{DATA}")), "404");
    assert_eq!(status(&server, &format!("-T data {base}/{DATA}")), "201");
    for spelling in [format!("/{DATA}"), format!("/backup/{DATA}"), DATA.replace("data", "DATA")] {
        assert_eq!(status(&server, &format!("{base}/{}", spelling.trim_matches('/'))), "200");
        expect_same(&take(&server, "got"), b"SPEED DIAL 1 = 4712\r\n", &spelling);
    }
    assert_eq!(status(&server, &format!("-X DELETE {base}/{DATA}")), "204");
    assert_eq!(status(&server, &format!("{base}/{DATA}")), "404");
    assert_eq!(status(&server, &format!("-X DELETE {base}/{DATA}")), "404");
}

#[test]
fn curl_asks_for_many_files_on_one_connection() {
    if !has("curl") {
        return;
    }
    let server = Server::start_web("");
    server.put("a.txt", b"hello");
    for base in ["http://127.0.0.1:PORT", "--cacert ../certs/ca.pem https://127.0.0.1:TLSPORT"] {
        let (options, base) = base.rsplit_once(' ').unwrap_or(("", base));
        let urls = format!("{base}/a.txt {base}/no.txt {base}/a.txt {base}/A.TXT ").repeat(5);
        let each = "-w '%{http_code} %{num_connects}\\n' -o /dev/null ".repeat(20);
        let output = run(&server, &format!("curl -sS {options} {each} {urls}"));
        let lines = String::from_utf8(output.stdout).unwrap();
        let connects: u32 =
            lines.lines().map(|line| line.split_once(' ').unwrap().1.parse::<u32>().unwrap()).sum();
        assert_eq!((lines.lines().count(), connects), (20, 1), "{lines}");
        assert_eq!(lines.lines().filter(|line| line.starts_with("404")).count(), 5, "{lines}");
    }
}

#[test]
fn curl_is_served_whatever_way_it_spells_a_path_and_never_from_outside() {
    if !has("curl") {
        return;
    }
    let server = Server::start_web("");
    server.put("phones/My Phone #1.cfg", b"<device/>");
    fs::write(server.path("secret.txt"), b"secret").unwrap();
    for path in [
        "phones/My%20Phone%20%231.cfg",
        "PHONES/my%20phone%20%231.CFG",
        "phones\\My%20Phone%20%231.cfg",
        "/phones//My%20Phone%20%231.cfg",
        "%70hones/My%20Phone%20%231.cfg?mac=001122334455",
    ] {
        assert_eq!(status(&server, &format!("'http://127.0.0.1:PORT/{path}'")), "200", "{path}");
        assert_eq!(take(&server, "got"), b"<device/>");
    }
    for path in [
        "../secret.txt",
        "%2e%2e/secret.txt",
        "..%2fsecret.txt",
        "..\\secret.txt",
        "phones/../../secret.txt",
        "phones/..%5c..%5csecret.txt",
        "phones",
        "phones/",
    ] {
        let url = format!("--path-as-is 'http://127.0.0.1:PORT/{path}'");
        assert!(["400", "404"].contains(&status(&server, &url).as_str()), "{path}");
        assert!(!take(&server, "got").starts_with(b"secret"), "{path}");
    }
}

#[test]
fn curl_trusts_the_servers_ca_that_it_fetched_in_clear() {
    if !has("curl") {
        return;
    }
    let server = Server::start_web("");
    server.put("a.txt", b"hello");
    assert_eq!(status(&server, "http://127.0.0.1:PORT/ca.pem"), "200");
    let fetched = take(&server, "got");
    expect_same(&fetched, &fs::read(server.path("certs/ca.pem")).unwrap(), "the CA");
    give(&server, "trusted.pem", &fetched);
    for address in ["127.0.0.1", "[::1]", "localhost"] {
        let url = format!("--cacert trusted.pem https://{address}:TLSPORT/a.txt");
        assert_eq!(status(&server, &url), "200", "{address}");
    }
    let stranger = run(&server, "curl -sS -o got https://127.0.0.1:TLSPORT/a.txt");
    assert!(!stranger.status.success(), "a stranger's certificate is trusted: {stranger:?}");
}

#[test]
fn curl_on_the_wrong_port_is_told_so() {
    if !has("curl") {
        return;
    }
    let server = Server::start_web("");
    let clear = said(&server, "curl -sSi http://127.0.0.1:TLSPORT/a.txt").to_ascii_lowercase();
    assert!(clear.contains(" 400 ") && clear.contains("https"), "{clear}");
    let tls = run(&server, "curl -sSk -m 5 https://127.0.0.1:PORT/a.txt");
    let gave_up_waiting = 28;
    assert!(!tls.status.success() && tls.status.code() != Some(gave_up_waiting), "{tls:?}");
}

#[test]
fn busybox_fetches_and_resumes() {
    if !has("busybox") {
        return;
    }
    expect_every_size(|server, name| {
        succeed(server, &format!("busybox wget -q -O got http://127.0.0.1:PORT/{name}"));
    });
    let server = Server::start_web("");
    let file = noise(200_000);
    server.put("a.bin", &file);
    give(&server, "a.bin", &file[..70_000]);
    succeed(&server, "busybox wget -q -c http://127.0.0.1:PORT/a.bin");
    expect_same(&take(&server, "a.bin"), &file, "resumed");
    let missing = run(&server, "busybox wget -O got http://127.0.0.1:PORT/nothing.bin");
    assert!(!missing.status.success() && text(&missing).contains("404"), "{missing:?}");
}

#[test]
fn wget_fetches_resumes_and_looks_for_news() {
    if !has("wget") {
        return;
    }
    expect_every_size(|server, name| {
        succeed(server, &format!("wget -q -O got http://127.0.0.1:PORT/{name}"));
    });
    let server = Server::start_web("");
    let file = noise(MAPPED_BYTES);
    server.put("a.bin", &file);
    give(&server, "a.bin", &file[..70_000]);
    succeed(&server, "wget -q -c http://127.0.0.1:PORT/a.bin");
    succeed(&server, "wget -q -N http://127.0.0.1:PORT/a.bin");
    expect_same(&take(&server, "a.bin"), &file, "resumed");
    succeed(&server, "wget -q --spider http://127.0.0.1:PORT/a.bin");
    succeed(
        &server,
        "wget -q --ca-certificate=../certs/ca.pem -O got https://127.0.0.1:TLSPORT/a.bin",
    );
    expect_same(&take(&server, "got"), &file, "over TLS");
    assert!(!run(&server, "wget -q -O got http://127.0.0.1:PORT/no.bin").status.success());
}

#[test]
fn lftp_fetches_a_file_in_parts_at_once() {
    if !has("lftp") {
        return;
    }
    let server = Server::start_web("");
    let file = noise(MAPPED_BYTES);
    server.put("firmware.bin", &file);
    succeed(&server, "lftp -c 'get http://127.0.0.1:PORT/firmware.bin -o got'");
    expect_same(&take(&server, "got"), &file, "get");
    succeed(&server, "lftp -c 'pget -n 4 http://127.0.0.1:PORT/firmware.bin -o got'");
    expect_same(&take(&server, "got"), &file, "pget");
    let tls = "set ssl:ca-file ../certs/ca.pem; get https://127.0.0.1:TLSPORT/firmware.bin -o got";
    succeed(&server, &format!("lftp -c '{tls}'"));
    expect_same(&take(&server, "got"), &file, "over TLS");
}

#[test]
fn chromium_shows_a_text_file() {
    if !has("chromium") {
        return;
    }
    let server = Server::start_web("");
    server.put("46xxsettings.txt", b"SET HTTPSRVR 10.0.0.1\n");
    let options = "--headless --no-sandbox --disable-gpu --disable-dev-shm-usage \
                   --user-data-dir=profile --ignore-certificate-errors --dump-dom";
    for url in ["http://127.0.0.1:PORT", "https://127.0.0.1:TLSPORT"] {
        let page = said(&server, &format!("chromium {options} {url}/46xxsettings.txt"));
        assert!(page.contains("SET HTTPSRVR 10.0.0.1"), "{page}");
    }
}

#[test]
fn a_file_that_is_replaced_is_served_anew_to_connections_that_are_open() {
    let server = Server::start_web("");
    server.put("a.txt", b"first");
    let mut line = Line::open(server.address());
    let first = line.ask(get("/a.txt"));
    server.put("a.txt", b"second!");
    let second = line.ask(get("/a.txt"));
    assert_eq!((first.body.as_slice(), second.body.as_slice()), (&b"first"[..], &b"second!"[..]));
    assert_ne!(first.field("etag"), second.field("etag"));
    fs::remove_file(server.path("root/a.txt")).unwrap();
    eventually("a file that is gone is not served", || line.ask(get("/a.txt")).status == 404);
}

#[test]
fn curl_reads_why_its_upload_is_refused_in_clear_and_over_tls() {
    if !has("curl") {
        return;
    }
    let server = Server::start_web("");
    give(&server, "big.bin", &noise(30 << 20));
    for base in ["http://127.0.0.1:PORT", "--cacert ../certs/ca.pem https://127.0.0.1:TLSPORT"] {
        for expect in ["-H 'Expect:'", "", "-H 'Transfer-Encoding: chunked' -H 'Expect:'"] {
            let url = format!("{base}/forbidden.exe");
            assert_eq!(status(&server, &format!("{expect} -T big.bin {url}")), "403", "{expect}");
        }
    }
}
