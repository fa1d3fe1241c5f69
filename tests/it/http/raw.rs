//! Bad requests by hand, as smugglers, broken phones and hostile ones send them.
//!
//! Every answer is parsed strictly (`line.rs`), so each of these tests also checks that the answer
//! is well-formed.

use std::fs;
use std::io::Write;

use super::line::{Line, get, put};
use crate::interop::{expect_same, noise};
use crate::server::Server;

/// The fields that any head needs besides its request line.
pub(super) const HOST: &str = "Host: x\r\n";

/// A server with one small file.
pub(super) fn server() -> Server {
    let server = Server::start_web("");
    server.put("a.txt", b"hello\n");
    server
}

/// Sends bytes on a connection of their own. Asserts that they are refused with one of these
/// statuses, the connection ends, and a request hidden behind them is never answered.
fn expect_refused(server: &Server, bytes: &[u8], statuses: &[u16]) {
    let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(200)]).into_owned();
    let mut line = Line::open(server.address());
    line.say(bytes);
    line.finish();
    let reply = line.hear();
    assert!(statuses.contains(&reply.status), "{shown:?} got {reply:?}");
    assert!(reply.closes(), "{shown:?} got {reply:?}");
    line.expect_end();
}

#[test]
fn two_readings_of_where_a_body_ends_are_refused_and_nothing_behind_them_is_answered() {
    let server = server();
    let hidden = get("/a.txt");
    for fields in [
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: 5\r\nContent-Length: 5\r\n",
        "Content-Length: 5, 5\r\n",
        "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "Content-Length: +5\r\n",
        "Content-Length: -1\r\n",
        "Content-Length: 5 5\r\n",
        "Content-Length: 0x5\r\n",
        "Content-Length: 5;\r\n",
        "Content-Length: \r\n",
        "Content-Length: 18446744073709551616\r\n",
        "Content-Length: 99999999999999999999999999\r\n",
        "Content-Length : 5\r\n",
        "Content-Length\t: 5\r\n",
        " Content-Length: 5\r\n",
        "Transfer-Encoding : chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked, chunked\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding: \x0bchunked\r\n",
        "Transfer-Encoding:\r\n chunked\r\n",
        "X: y\r\n Transfer-Encoding: chunked\r\n",
        "X: y\nTransfer-Encoding: chunked\r\n",
        "X: y\rTransfer-Encoding: chunked\r\n",
        "X: y\0\r\n",
        "Host: y\r\n",
        ": y\r\n",
        "X y\r\n",
    ] {
        for method in ["GET", "PUT"] {
            let name = if method == "PUT" { "b.up" } else { "a.txt" };
            let head = format!("{method} /{name} HTTP/1.1\r\n{HOST}{fields}\r\n0\r\n\r\n{hidden}");
            expect_refused(&server, head.as_bytes(), &[400, 501]);
        }
    }
    assert_eq!(server.uploaded("b.up"), None);
}

#[test]
fn a_transfer_coding_in_http_1_0_is_refused() {
    let head = format!("PUT /b.up HTTP/1.0\r\n{HOST}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
    expect_refused(&server(), head.as_bytes(), &[400]);
}

#[test]
fn lines_that_end_in_any_other_way_are_refused() {
    let server = server();
    for head in [
        "GET /a.txt HTTP/1.1\nHost: x\n\n",
        "GET /a.txt HTTP/1.1\r\nHost: x\n\r\n",
        "GET /a.txt HTTP/1.1\nHost: x\r\n\r\n",
        "GET /a.txt HTTP/1.1\rHost: x\r\r\r\n\r\n",
        "GET /a.txt HTTP/1.1\r\nHost: x\r\rX: y\r\n\r\n",
        "GET /a.txt HTTP/1.1\r\r\nHost: x\r\n\r\n",
    ] {
        expect_refused(&server, head.as_bytes(), &[400]);
    }
}

#[test]
fn request_lines_that_are_none_are_refused() {
    let server = server();
    for (first, status) in [
        ("GET /a.txt", 400),
        ("GET  /a.txt HTTP/1.1", 400),
        ("GET /a.txt  HTTP/1.1", 400),
        (" GET /a.txt HTTP/1.1", 400),
        ("GET\t/a.txt\tHTTP/1.1", 400),
        ("GET /a.txt HTTP/1.1 ", 400),
        ("GET /a b.txt HTTP/1.1", 400),
        ("GET a.txt HTTP/1.1", 400),
        ("GET * HTTP/1.1", 400),
        ("G(T /a.txt HTTP/1.1", 400),
        ("GET /a.txt HTTP/2.0", 505),
        ("GET /a.txt HTTP/0.9", 505),
        ("GET /a.txt HTTP/11", 400),
        ("GET /a.txt http/1.1", 400),
        ("PRI * HTTP/2.0", 505),
    ] {
        let head = format!("{first}\r\n{HOST}\r\n");
        expect_refused(&server, head.as_bytes(), &[status]);
    }
    let none = "GET /a.txt HTTP/1.1\r\n\r\n";
    expect_refused(&server, none.as_bytes(), &[400]);
}

#[test]
fn methods_are_told_apart() {
    let server = server();
    let mut line = Line::open(server.address());
    for (method, status) in
        [("POST", 405), ("DELETE", 405), ("get", 501), ("PATCH", 501), ("TRACE", 501)]
    {
        let reply = line.ask(format!("{method} /a.txt HTTP/1.1\r\n{HOST}\r\n"));
        assert_eq!(reply.status, status, "{method}");
        let allow = reply.field("allow").unwrap_or_default();
        assert_eq!(allow.contains("GET") && allow.contains("HEAD"), status == 405, "{reply:?}");
        if reply.closes() {
            line = Line::open(server.address());
        }
    }
    let reply = line.ask(format!("OPTIONS * HTTP/1.1\r\n{HOST}\r\n"));
    assert!(reply.status == 204 && reply.field("allow").is_some(), "{reply:?}");
}

#[test]
fn ranges_that_are_none_get_the_file_and_those_beyond_it_a_refusal() {
    let server = server();
    let mut line = Line::open(server.address());
    for (range, status, body) in [
        ("bytes=0-0", 206, "h"),
        ("bytes=1-", 206, "ello\n"),
        ("bytes=-2", 206, "o\n"),
        ("bytes=-99999999999999999999", 200, "hello\n"),
        ("bytes=-6", 206, "hello\n"),
        ("bytes=0-18446744073709551615", 206, "hello\n"),
        ("bytes=0-99999", 206, "hello\n"),
        ("bytes=6-", 416, ""),
        ("bytes=18446744073709551615-", 416, ""),
        ("bytes=-0", 416, ""),
        ("bytes=2-1", 200, "hello\n"),
        ("bytes=--1", 200, "hello\n"),
        ("bytes=-", 200, "hello\n"),
        ("bytes=", 200, "hello\n"),
        ("bytes", 200, "hello\n"),
        ("bits=0-1", 200, "hello\n"),
        ("bytes=a-b", 200, "hello\n"),
        ("bytes=0-1,2-3,4-4", 206, "hello"),
    ] {
        let reply = line.ask(format!("GET /a.txt HTTP/1.1\r\n{HOST}Range: {range}\r\n\r\n"));
        // Digits beyond the range of a number are either a large number or no range.
        let either = range.len() > 20 && matches!(reply.status, 200 | 206 | 416);
        assert!(reply.status == status || either, "{range}: {reply:?}");
        match reply.status {
            416 => assert_eq!(reply.field("content-range"), Some("bytes */6"), "{range}"),
            _ => assert_eq!(reply.body, body.as_bytes(), "{range}: {reply:?}"),
        }
    }
    let all = "0-0,".repeat(5_000);
    let reply = line.ask(format!("GET /a.txt HTTP/1.1\r\n{HOST}Range: bytes={all}1-1\r\n\r\n"));
    assert!(matches!(reply.status, 200 | 206 | 431), "{reply:?}");
}

#[test]
fn a_put_that_ends_before_its_length_stores_nothing() {
    let server = server();
    for name in ["b.up", "4711_96xxdata.txt"] {
        let mut line = Line::open(server.address());
        line.say(format!("PUT /{name} HTTP/1.1\r\n{HOST}Content-Length: 1000\r\n\r\nhalf"));
        line.finish();
        if let Some(reply) = line.hear_or_end() {
            assert!(reply.status >= 400, "{reply:?}");
        }
        let mut line = Line::open(server.address());
        line.say(format!("PUT /{name} HTTP/1.1\r\n{HOST}Content-Length: 1000\r\n\r\nhalf"));
        line.reset();
        // One chunk, and then not the next.
        let mut line = Line::open(server.address());
        let chunked = "Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n";
        line.say(format!("PUT /{name} HTTP/1.1\r\n{HOST}{chunked}"));
        line.finish();
        if let Some(reply) = line.hear_or_end() {
            assert!(reply.status >= 400, "{reply:?}");
        }
        assert_eq!(Line::open(server.address()).ask(get(&format!("/{name}"))).status, 404);
    }
    assert_eq!(server.uploaded("b.up"), None);
    let strays = fs::read_dir(server.path("uploads")).unwrap().count();
    assert_eq!(strays, 0, "half a file is left over");
}

#[test]
fn a_put_longer_than_its_length_stores_its_length_and_the_rest_is_no_request() {
    let server = server();
    let mut line = Line::open(server.address());
    line.say([put("/b.up", b"12345").as_slice(), b"67890\r\n\r\n"].concat());
    assert!(matches!(line.hear().status, 201 | 204));
    let reply = line.hear();
    assert!(reply.status == 400 && reply.closes(), "{reply:?}");
    assert_eq!(server.uploaded("b.up").unwrap(), b"12345");
}

#[test]
fn puts_that_may_not_be_are_refused_before_their_body_comes() {
    let server = server();
    for (target, fields, statuses) in [
        ("/b.up", "Content-Length: 99999999\r\n", [413, 413]),
        ("/4711_96xxdata.txt", "Content-Length: 99999999\r\n", [413, 413]),
        ("/b.up", "Content-Length: 5\r\nContent-Range: bytes 0-4/10\r\n", [400, 400]),
        ("/4711_96xxdata.txt", "Content-Length: 5\r\nContent-Range: x\r\n", [400, 400]),
        ("/", "Content-Length: 5\r\n", [403, 404]),
        ("/dir/", "Content-Length: 5\r\n", [403, 404]),
        ("/dir.up/", "Content-Length: 5\r\n", [403, 404]),
        ("/../b.up", "Content-Length: 5\r\n", [400, 400]),
        ("/%2e%2e/b.up", "Content-Length: 5\r\n", [400, 400]),
        ("/a.txt", "Content-Length: 5\r\n", [403, 403]),
        ("/strange.name", "Content-Length: 5\r\n", [403, 403]),
        ("/b.up", "Expect: a-miracle\r\nContent-Length: 5\r\n", [417, 417]),
        ("/b.up", "", [411, 411]),
    ] {
        let head = format!("PUT {target} HTTP/1.1\r\n{HOST}{fields}\r\n");
        let mut line = Line::open(server.address());
        // The body never comes, and the answer does not wait for it.
        let reply = line.ask(&head);
        assert!(statuses.contains(&reply.status), "{head:?} got {reply:?}");
        assert!(reply.closes() || !fields.contains("Length"), "{head:?} got {reply:?}");
    }
    assert_eq!(server.uploaded("b.up"), None);
}

#[test]
fn chunks_that_grow_beyond_the_cap_are_cut_off() {
    let server = server();
    let chunk = [b"10000\r\n".as_slice(), &vec![b'x'; 65_536], b"\r\n"].concat();
    for name in ["b.up", "4711_96xxdata.txt"] {
        let mut line = Line::open(server.address());
        line.say(format!("PUT /{name} HTTP/1.1\r\n{HOST}Transfer-Encoding: chunked\r\n\r\n"));
        for _ in 0..100 {
            line.say(&chunk);
        }
        if let Some(reply) = line.hear_or_end() {
            assert!(reply.status == 413 && reply.closes(), "{reply:?}");
        }
        assert_eq!(Line::open(server.address()).ask(get(&format!("/{name}"))).status, 404);
    }
    assert_eq!(server.uploaded("b.up"), None);
}

#[test]
fn chunks_that_two_readers_would_read_in_two_ways_are_refused() {
    let server = server();
    for chunks in [
        "\r\n\r\n",
        "5 \r\nhello\r\n0\r\n\r\n",
        " 5\r\nhello\r\n0\r\n\r\n",
        "+5\r\nhello\r\n0\r\n\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
        "5\nhello\r\n0\r\n\r\n",
        "5;a\nb\r\nhello\r\n0\r\n\r\n",
        "5;\0\r\nhello\r\n0\r\n\r\n",
        "5\r\nhelloX\r\n0\r\n\r\n",
        "5\r\nhello\n0\r\n\r\n",
        "5\r\nhello0\r\n\r\n",
        "ffffffffffffffff\r\nhello\r\n0\r\n\r\n",
        "10000000000000005\r\nhello\r\n0\r\n\r\n",
        "-5\r\nhello\r\n0\r\n\r\n",
        "g\r\nhello\r\n0\r\n\r\n",
    ] {
        let head = "Transfer-Encoding: chunked\r\n\r\n";
        let hidden = get("/a.txt");
        let request = format!("PUT /b.up HTTP/1.1\r\n{HOST}{head}{chunks}{hidden}");
        expect_refused(&server, request.as_bytes(), &[400, 413]);
    }
    assert_eq!(server.uploaded("b.up"), None);
}

#[test]
fn no_spelling_of_a_path_leads_out_of_the_root() {
    let server = server();
    fs::write(server.path("secret.txt"), b"secret").unwrap();
    let mut line = Line::open(server.address());
    for target in [
        "/../secret.txt",
        "/..%2fsecret.txt",
        "/%2e%2e/secret.txt",
        "/%2e%2e%2fsecret.txt",
        "/..\\secret.txt",
        "/%2e%2e%5csecret.txt",
        "/x/../../secret.txt",
        "/a.txt/../../secret.txt",
        "/./../secret.txt",
        "//../secret.txt",
        "/....//secret.txt",
        "/%c0%ae%c0%ae/secret.txt",
        "/%252e%252e/secret.txt",
        "/..;/secret.txt",
        "/.. /secret.txt",
        "/%00/../secret.txt",
        "/a.txt%00.html",
        "/a.txt%",
        "/a.txt%4",
        "/a.txt%zz",
        "/ringpost.toml",
        "/../ringpost.toml",
        "/vault/",
        "/certs/ca.key",
        "/../certs/ca.key",
        "http://x/../secret.txt",
        "/.",
    ] {
        let reply = line.ask(get(target));
        assert!(matches!(reply.status, 400 | 404), "{target}: {reply:?}");
        assert!(!reply.body.windows(6).any(|six| six == b"secret"), "{target}: {reply:?}");
        if reply.closes() {
            line = Line::open(server.address());
        }
    }
}

#[test]
fn two_hundred_requests_at_once_are_answered_in_their_order() {
    let server = Server::start_web("");
    let files: Vec<Vec<u8>> = (0..10).map(|number| noise(1 + number * 7_919)).collect();
    for (number, file) in files.iter().enumerate() {
        server.put(&format!("{number}.bin"), file);
    }
    let mut line = Line::open(server.address());
    let mut all = String::new();
    for number in 0..200 {
        let method = if number % 7 == 3 { "HEAD" } else { "GET" };
        let name = if number % 11 == 5 { 99 } else { number % 10 };
        all += &format!("{method} /{name}.bin HTTP/1.1\r\n{HOST}\r\n");
    }
    let writer = line.socket.try_clone().unwrap();
    let sending = std::thread::spawn(move || (&writer).write_all(all.as_bytes()).unwrap());
    for number in 0..200 {
        let head = number % 7 == 3;
        let reply = if head { line.hear_head() } else { line.hear() };
        if number % 11 == 5 {
            assert_eq!(reply.status, 404, "request {number}");
            continue;
        }
        let file = &files[number % 10];
        assert_eq!(reply.status, 200, "request {number}");
        assert_eq!(reply.field("content-length"), Some(file.len().to_string().as_str()));
        let expected = if head { &[] } else { file.as_slice() };
        expect_same(&reply.body, expected, "an answer of 200");
    }
    sending.join().unwrap();
}

#[test]
fn a_request_cut_into_single_bytes_is_answered_as_when_it_is_whole() {
    let server = server();
    for request in [
        get("/a.txt").into_bytes(),
        get("/no.txt").into_bytes(),
        format!("GET /a.txt HTTP/1.1\r\n{HOST}Range: bytes=1-3\r\n\r\n").into_bytes(),
        put("/b.up", b"stored"),
        format!(
            "PUT /b.up HTTP/1.1\r\n{HOST}Transfer-Encoding: chunked\r\n\r\n3;x=y\r\nsto\r\n\
             3\r\nred\r\n0\r\nTrailer: t\r\n\r\n"
        )
        .into_bytes(),
    ] {
        let mut line = Line::open(server.address());
        let _ = line.ask(&request);
        let whole = line.ask(&request);
        for byte in &request {
            line.say([*byte]);
            std::thread::yield_now();
        }
        let mut cut = line.hear();
        // Each stored version has a tag of its own, and the clock may have ticked.
        for field in &mut cut.fields {
            if let "date" | "etag" = field.0.as_str() {
                field.1 = whole.field(&field.0).unwrap_or_default().to_owned();
            }
        }
        assert_eq!(cut, whole);
    }
    assert_eq!(server.uploaded("b.up").unwrap(), b"stored");
}

#[test]
fn a_tls_hello_on_the_plain_port_is_refused_in_clear() {
    let hello = [&[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3][..], &noise(507)].concat();
    expect_refused(&server(), &hello, &[400]);
}

#[test]
fn a_plain_request_on_the_tls_port_is_told_so_in_clear() {
    let server = server();
    let mut line = Line::open(server.tls_address());
    line.say(get("/a.txt"));
    let said = String::from_utf8_lossy(&line.drain()).to_ascii_lowercase();
    assert!(said.starts_with("http/1.1 400 ") && said.contains("https"), "{said:?}");
}

#[test]
fn garbage_on_the_tls_port_ends_that_connection_and_no_other() {
    let mut server = server();
    let mut honest = Line::open(server.address());
    for bytes in [0, 1, 5, 100, 20_000] {
        let mut line = Line::open(server.tls_address());
        line.say(noise(bytes));
        line.finish();
        let _ = line.drain();
        assert_eq!(honest.ask(get("/a.txt")).status, 200);
    }
    assert!(server.runs());
}

#[test]
fn what_a_phone_tells_of_itself_may_hold_any_byte_and_nothing_else_may() {
    let server = server();
    let mut line = Line::open(server.address());
    let odd = [
        b"GET /a.txt HTTP/1.1\r\nHost: x\r\nUser-Agent: AVAYA\x01\x1b\xff\xfe/96x1\r\n\r\n"
            .as_slice(),
        b"GET \\a.txt HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /A.TXT HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /%61.tx%74 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET http://x/a.txt?mac=00 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\r\nGET /a.txt HTTP/1.1\r\nHost: x\r\n\r\n",
    ];
    for request in odd {
        let reply = line.ask(request);
        let shown = String::from_utf8_lossy(request);
        assert!(reply.status == 200 && reply.body == b"hello\n", "{shown:?} got {reply:?}");
    }
    let old = Line::open(server.address()).ask("GET /a.txt HTTP/1.0\r\n\r\n");
    assert!(old.status == 200 && old.closes(), "{old:?}");
    let other = b"GET /a.txt HTTP/1.1\r\nHost: x\r\nX-Phone: \x01\r\n\r\n";
    expect_refused(&server, other, &[400]);
}
