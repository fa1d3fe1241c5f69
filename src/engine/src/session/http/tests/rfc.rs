//! The RFCs to the letter, each test with its section.

use super::*;
use wire::http::response::parse_date;

/// Sends bytes on a new connection; returns the one reply as bytes.
fn answered(bytes: &[u8]) -> Vec<u8> {
    let mut bench = Bench::new();
    bench.send(bytes);
    bench.raw()
}

/// RFC 9110, 8.8.2.1.
#[test]
fn last_modified_is_never_later_than_date() {
    let mut bench = Bench::new();
    bench.world.disk.go_ahead(1_800_000_000);
    bench.world.publish(FILES.iter().copied());
    let date = |reply: &Reply, name: &str| parse_date(reply.field(name).as_bytes());
    for (request, fields, status) in [
        ("GET /a.txt", &[][..], 200),
        ("GET /a.txt", &["Range: bytes=0-1"], 206),
        ("GET /a.txt", &["Range: bytes=0-1,5-6"], 206),
        ("GET /a.txt", &["If-None-Match: *"], 304),
        ("HEAD /a.txt", &[], 200),
        ("GET /a.txt", &[], 200),
    ] {
        let reply = bench.ask_with(request, fields);
        assert_eq!(reply.status, status, "{request} {fields:?}");
        assert_eq!(date(&reply, "last-modified"), date(&reply, "date"), "{request} {fields:?}");
    }
    let first = bench.get("/a.txt").field("last-modified").to_owned();
    let again = bench.ask_with("GET /a.txt", &[&format!("If-Modified-Since: {first}")]);
    assert_eq!(again.status, 200, "the date is not the file's, and proves nothing");
}

/// RFC 9112, 6.3 and 6.1.
#[test]
fn a_body_whose_end_nobody_knows_is_400_and_one_with_another_coding_501() {
    for (coding, status) in [
        ("chunked, gzip", "400"),
        ("identity", "400"),
        ("gzip", "400"),
        ("chunked, chunked", "400"),
        ("gzip, chunked", "501"),
    ] {
        let reply = answered(&head("PUT /x.log", &[&format!("Transfer-Encoding: {coding}")]));
        let expected = format!("HTTP/1.1 {status} ");
        assert!(reply.starts_with(expected.as_bytes()), "{coding}: {}", reply.escape_ascii());
    }
}

/// RFC 9112, 3.2.
#[test]
fn a_host_that_is_none_is_400_in_a_field_and_in_a_target() {
    for host in ["a:b", "[::1", "]", "a:80:80", "1.2.3.4:80x", "a%zz"] {
        for head in [
            format!("GET /a.txt HTTP/1.1\r\nHost: {host}\r\n\r\n"),
            format!("GET http://{host}/a.txt HTTP/1.1\r\nHost: a\r\n\r\n"),
        ] {
            let reply = answered(head.as_bytes());
            assert!(reply.starts_with(b"HTTP/1.1 400 "), "{head:?}: {}", reply.escape_ascii());
        }
    }
    for host in ["", "10.0.0.1:80", "[::1]:80", "phones.example:", "a%20b"] {
        let reply = answered(format!("GET /a.txt HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes());
        assert!(reply.starts_with(b"HTTP/1.1 200 "), "{host:?}: {}", reply.escape_ascii());
    }
}

/// RFC 9112, 3.2, unless `lenient` is set.
#[test]
fn http_1_1_without_a_host_is_400_unless_it_is_to_be_taken() {
    let request = b"GET /a.txt HTTP/1.1\r\n\r\n";
    assert!(answered(request).starts_with(b"HTTP/1.1 400 "));
    let mut bench = Bench::with(|policy| policy.http.limits.lenient = true);
    bench.send(request);
    assert_eq!(bench.statuses(), [200]);
}

/// RFC 9110, 9.3.2.
#[test]
fn a_refusal_of_head_has_no_body_whatever_the_reason() {
    for bytes in [
        &b"HEAD /none HTTP/1.1\r\nHost: x\r\n\r\n"[..],
        b"HEAD /../a HTTP/1.1\r\nHost: x\r\n\r\n",
        b"HEAD /a.txt HTTP/1.1\r\n\r\n",
        b"HEAD /a.txt HTTP/1.1\r\nHost: a:b\r\n\r\n",
        b"HEAD a.txt HTTP/1.1\r\nHost: x\r\n\r\n",
        b"HEAD /a.txt HTTP/3.0\r\n",
        b"HEAD /a.txt\r\n",
        b"\r\nHEAD /a.txt HTTP/1.1\r\nHost : x\r\n\r\n",
        b"HEAD /a.txt HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
    ] {
        let reply = answered(bytes);
        assert!(reply.starts_with(b"HTTP/1.1 "), "{}", reply.escape_ascii());
        assert!(reply.ends_with(b"\r\n\r\n"), "{}", reply.escape_ascii());
    }
    let long = [b"HEAD /".as_slice(), &[b'a'; 20_000]].concat();
    let reply = answered(&long);
    assert!(reply.starts_with(b"HTTP/1.1 414 ") && reply.ends_with(b"\r\n\r\n"));
    let mut bench = Bench::new();
    bench.send(b"HEAD /a.txt HTTP/1.1\r\n");
    bench.wait(10_100);
    let reply = bench.raw();
    assert!(reply.starts_with(b"HTTP/1.1 408 ") && reply.ends_with(b"\r\n\r\n"));
}

/// RFC 9112, 7.1.1.
#[test]
fn unknown_extensions_of_chunks_are_ignored() {
    let mut bench = Bench::new();
    bench.send(&head("PUT /1_96xxdata.txt", &["Transfer-Encoding: chunked"]));
    bench.send(b"5 ; a = \"b; \\\"c\" ;d\r\nhello\r\n1;x=y\r\n!\r\n0; last\r\n\r\n");
    assert_eq!(bench.statuses(), [201]);
    assert_eq!(bench.get("/1_96xxdata.txt").body, b"hello!");
}

/// RFC 9110, 5.3 and 13.1.
#[test]
fn conditions_in_several_lines_are_one_list() {
    let mut bench = Bench::new();
    let tag = bench.get("/a.txt").field("etag").to_owned();
    let (known, wanted) = (format!("If-None-Match: {tag}"), format!("If-Match: {tag}"));
    let get = |bench: &mut Bench, fields: &[&str]| bench.ask_with("GET /a.txt", fields).status;
    assert_eq!(get(&mut bench, &["If-None-Match: \"x\"", "Accept: */*", &known]), 304);
    assert_eq!(get(&mut bench, &[&known, "If-None-Match: \"x\""]), 304);
    assert_eq!(get(&mut bench, &["If-Match: \"x\"", &wanted]), 200);
    assert_eq!(get(&mut bench, &["If-Match: \"x\"", "If-Match: \"y\""]), 412);
    // The vault evaluates the same head later.
    let stored = bench.put("/1_96xxdata.txt", b"one").field("etag").to_owned();
    let known = format!("If-None-Match: {stored}");
    let reply = bench.ask_with("GET /1_96xxdata.txt", &["If-None-Match: \"x\"", &known]);
    assert_eq!(reply.status, 304);
}

/// RFC 9110, 2.5, and RFC 9112, 2.3.
#[test]
fn later_minor_versions_are_spoken_to_and_no_version_is_400() {
    let mut bench = Bench::new();
    bench.send(b"GET /a.txt HTTP/1.2\r\nHost: x\r\n\r\n");
    bench.send(b"GET /a.txt HTTP/1.9\r\nHost: x\r\nConnection: close\r\n\r\n");
    assert_eq!(bench.statuses(), [200, 200]);
    for (line, status) in [("GET /", 400), ("GET / HTTP/1.10", 400), ("GET / HTTP/2.0", 505)] {
        let reply = answered(format!("{line}\r\n\r\n").as_bytes());
        let expected = format!("HTTP/1.1 {status} ");
        assert!(reply.starts_with(expected.as_bytes()), "{line}: {}", reply.escape_ascii());
    }
}

/// RFC 9112, 2.2.
#[test]
fn two_empty_lines_before_a_request_are_skipped() {
    let mut bench = Bench::new();
    let put = [&*head("PUT /1_96xxdata.txt", &["Content-Length: 5"]), b"hello\r\n\r\n"].concat();
    bench.send(&[put, head("GET /1_96xxdata.txt", &[])].concat());
    assert_eq!(bench.statuses(), [201, 200]);
}

/// RFC 9110, 15.5.15 and 15.5.4.
#[test]
fn a_name_that_is_too_long_is_414_and_a_forbidden_put_is_403() {
    let mut bench = Bench::new();
    let long = format!("/{}", "a".repeat(256));
    assert_eq!(bench.get(&long).status, 414);
    for (path, status) in [("/a.exe", 403), ("/.git/config", 403), ("/con", 403), ("/../a", 400)] {
        assert_eq!(bench.connect(PHONE).put(path, b"x").status, status, "{path}");
    }
}

/// RFC 9111, 5.2.2.
#[test]
fn caches_ask_each_time_for_files_and_keep_nothing_of_the_vault() {
    let mut bench = Bench::new();
    let caching = |reply: Reply| reply.field("cache-control").to_owned();
    let (open, closed) = ("no-cache", "private, no-store");
    assert_eq!(caching(bench.get("/a.txt")), open);
    assert_eq!(caching(bench.ask("HEAD /a.txt")), open);
    assert_eq!(caching(bench.ask_with("GET /a.txt", &["Range: bytes=0-1"])), open);
    assert_eq!(caching(bench.ask_with("GET /a.txt", &["If-None-Match: *"])), open);
    assert_eq!(caching(bench.get("/1_96xxdata.txt")), closed, "also that there is none");
    assert_eq!(caching(bench.put("/1_96xxdata.txt", b"x")), closed);
    assert_eq!(caching(bench.get("/1_96xxdata.txt")), closed);
    assert_eq!(caching(bench.ask("HEAD /1_96xxdata.txt")), closed);
    assert_eq!(caching(bench.ask_with("GET /1_96xxdata.txt", &["If-None-Match: *"])), closed);
    assert_eq!(caching(bench.get("/3_96xxdata.txt")), closed, "an administrator's in its place");
    assert_eq!(caching(bench.get("/a.txt")), open);
    bench.world.reload(|policy| policy.http.cache_control = Box::default());
    assert_eq!(bench.world.snapshot.policy.http.cache_control.len(), 0);
}

/// RFC 9110, 9.3.7.
#[test]
fn options_of_the_server_get_204() {
    let mut bench = Bench::new();
    for (target, allow) in [("*", "GET, HEAD, PUT, DELETE, OPTIONS"), ("/", "GET, HEAD, OPTIONS")] {
        let reply = bench.ask(&format!("OPTIONS {target}"));
        assert_eq!((reply.status, reply.field("allow")), (204, allow), "{target}");
    }
}

#[test]
fn somebody_who_asks_for_nothing_is_told_what_this_is_and_nothing_of_files() {
    let mut bench = Bench::new();
    let page = bench.get("/");
    assert_eq!((page.status, page.body.starts_with(b"This is Ringpost.")), (200, true));
    assert_eq!(bench.get("/?x").body, page.body);
    let of_head = bench.ask("HEAD /");
    assert_eq!((of_head.status, of_head.length()), (200, page.body.len()));
    assert_eq!(bench.get("/sub/").status, 404);
    assert_eq!(bench.put("/", b"x").status, 404);
}
