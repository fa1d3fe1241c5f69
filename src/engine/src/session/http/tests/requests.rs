//! Which bytes are a request, where it ends, and what happens to the connection.

use super::*;
use crate::session::{Refusal, SAID_BYTES_MAX, Subject, Verb};
use wire::http::request::Malformed;

/// Sends bytes on a new connection; returns the statuses, and whether it goes on.
fn statuses_of(bytes: &[u8]) -> (Vec<u16>, bool) {
    let mut bench = Bench::new();
    bench.send(bytes);
    (bench.statuses(), !bench.is_shut())
}

fn refused(bytes: &[u8]) -> u16 {
    let (statuses, goes_on) = statuses_of(bytes);
    assert!(!goes_on, "the connection goes on after {}", bytes.escape_ascii());
    assert_eq!(statuses.len(), 1, "{}", bytes.escape_ascii());
    statuses[0]
}

#[test]
fn what_two_readers_could_read_in_two_ways_is_refused_and_nothing_behind_it_is_read() {
    let rows: &[(&[u8], u16)] = &[
        (b"PUT /x.log HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nh", 400),
        (b"GET /a.txt HTTP/1.1\r\nHost: x\r\nContent-Length: 5, 5\r\n\r\nhello", 400),
        (b"PUT /x.log HTTP/1.1\r\nHost: x\r\nContent-Length: +5\r\n\r\nhello", 400),
        (b"PUT /x.log HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\nhello", 400),
        (b"PUT /x.log HTTP/1.1\r\nHost: x\r\nContent-Length: 0x5\r\n\r\nhello", 400),
        (b"PUT /x.log HTTP/1.1\r\nHost: x\r\nContent-Length: \r\n\r\nhello", 400),
        (b"PUT /x.log HTTP/1.1\r\nHost: x\r\nContent-Length: 18446744073709551616\r\n\r\n", 400),
        (
            b"PUT /x.log HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\
              Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            400,
        ),
        (b"PUT /x.log HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (b"GET /a.txt HTTP/1.1\r\n\r\n", 400),
        (b"GET /a.txt HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n", 400),
        (b"GET /a.txt HTTP/1.1\r\nHost : x\r\n\r\n", 400),
        (b"GET /a.txt HTTP/1.1\r\nHost: x\r\n folded\r\n\r\n", 400),
        (b"GET /a.txt HTTP/1.1\nHost: x\n\n", 400),
        (b"GET /a.txt HTTP/1.1\r\nHost: x\r\nX: a\rb\r\n\r\n", 400),
        (b"GET /a.txt HTTP/1.1\r\nHost: x\r\nX: a\0b\r\n\r\n", 400),
        (b"GET  /a.txt HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET\t/a.txt HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"G@T /a.txt HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET a.txt HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET /a.txt#x HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET /a.txt\r\n\r\n", 400),
        (b"GET /a.txt HTTP/2.0\r\nHost: x\r\n\r\n", 505),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    ];
    for (bytes, status) in rows {
        let smuggled = [bytes, b"GET /b.bin HTTP/1.1\r\nHost: x\r\n\r\n".as_slice()].concat();
        assert_eq!(refused(&smuggled), *status, "{}", bytes.escape_ascii());
    }
}

#[test]
fn a_transfer_coding_other_than_chunked_once_is_refused() {
    for coding in ["gzip", "gzip, chunked", "chunked, chunked", "identity", "xchunked", ""] {
        let field = format!("Transfer-Encoding: {coding}");
        let status = refused(&head("PUT /x.log", &[&field]));
        assert!(matches!(status, 400 | 501), "{coding}: {status}");
    }
    let twice = ["Transfer-Encoding: chunked", "Transfer-Encoding: chunked"];
    assert!(matches!(refused(&head("PUT /x.log", &twice)), 400 | 501));
}

#[test]
fn a_body_that_nobody_wants_is_never_taken_for_the_next_request() {
    for request in ["GET /a.txt", "HEAD /a.txt", "DELETE /a.txt", "POST /a.txt", "OPTIONS *"] {
        for (field, body) in [
            ("Content-Length: 36", "GET /b.bin HTTP/1.1\r\nHost: server\r\n\r\n"),
            ("Transfer-Encoding: chunked", "0\r\n\r\nGET /b.bin HTTP/1.1\r\nHost: server\r\n\r\n"),
        ] {
            let mut bench = Bench::new();
            bench.send(&[&head(request, &[field]), body.as_bytes()].concat());
            let reply = bench.one(request.starts_with("HEAD"));
            assert!(reply.is_last() && bench.is_shut(), "{request} {field}: {reply:?}");
        }
    }
}

#[test]
fn requests_that_came_together_are_answered_in_their_order() {
    let mut bench = Bench::new();
    let paths = ["/huge.bin", "/none", "/a.txt", "/1_96xxdata.txt", "/empty", "/a.txt"];
    let all: Vec<u8> = paths.iter().flat_map(|path| head(&format!("GET {path}"), &[])).collect();
    bench.send(&all);
    let replies = bench.hear();
    let statuses: Vec<u16> = replies.iter().map(|reply| reply.status).collect();
    assert_eq!(statuses, [200, 404, 200, 404, 200, 200]);
    let bytes: Vec<usize> = replies.iter().map(|reply| reply.body.len()).collect();
    assert_eq!((bytes[0], bytes[2], bytes[4], bytes[5]), (200_000, 700, 0, 700));
    assert_eq!(bench.get("/b.bin").status, 200);
}

#[test]
fn two_hundred_requests_in_one_piece_get_two_hundred_answers() {
    let mut bench = Bench::new();
    bench.send(&head("GET /a.txt", &[]).repeat(200));
    assert_eq!(bench.statuses(), [200; 200]);
    assert!(bench.is_open());
}

#[test]
fn empty_lines_before_a_request_are_skipped() {
    let mut bench = Bench::new();
    bench.send(b"\r\n\r\nGET /a.txt HTTP/1.1\r\nHost: x\r\n\r\n");
    bench.send(b"\r\nGET /a.txt HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(bench.statuses(), [200, 200]);
}

#[test]
fn old_phones_may_end_their_lines_with_lf_where_it_is_configured_and_no_body_follows() {
    let mut bench = Bench::with(|policy| policy.http.limits.lone_lf = true);
    bench.send(b"GET /a.txt HTTP/1.0\n\n");
    assert_eq!(bench.statuses(), [200]);
    bench.connect(PHONE).send(b"PUT /x.log HTTP/1.0\nContent-Length: 2\n\nab");
    assert_eq!(bench.statuses(), [400]);
}

#[test]
fn a_connection_of_http_1_1_stays_open_unless_asked_not_to() {
    let mut bench = Bench::new();
    assert!(!bench.get("/a.txt").is_last());
    assert!(!bench.get("/none").is_last(), "a refusal is no reason to close");
    assert!(bench.ask_with("GET /a.txt", &["Connection: close"]).is_last());
    assert!(!bench.is_open());
}

#[test]
fn a_connection_of_http_1_0_closes_unless_asked_not_to() {
    let mut bench = Bench::new();
    let reply = bench.ask_with("GET /a.txt HTTP/1.0", &["Connection: Keep-Alive"]);
    assert_eq!((reply.status, reply.field("connection")), (200, "keep-alive"));
    let reply = bench.ask("GET /a.txt HTTP/1.0");
    assert!(reply.status == 200 && reply.is_last() && !bench.is_open());
}

#[test]
fn http_1_0_needs_no_host_and_http_1_1_does() {
    assert_eq!(statuses_of(b"GET /a.txt HTTP/1.0\r\n\r\n"), (vec![200], false));
    assert_eq!(refused(b"GET /a.txt HTTP/1.1\r\n\r\n"), 400);
}

#[test]
fn a_target_may_name_scheme_and_host() {
    let mut bench = Bench::new();
    assert_eq!(bench.get("http://10.0.0.250:80/a.txt").status, 200);
    assert_eq!(bench.get("HTTP://server/A.TXT?x").status, 200);
    assert_eq!(bench.get("ftp://server/a.txt").status, 400);
}

#[test]
fn methods_that_are_known_and_not_served_are_told_from_unknown_ones() {
    let mut bench = Bench::new();
    let reply = bench.ask("POST /a.txt");
    assert_eq!((reply.status, reply.field("allow")), (405, "GET, HEAD, OPTIONS"));
    for unknown in ["get", "Get", "PATCH", "TRACE", "CONNECT", "PROPFIND", "SUBSCRIBE"] {
        assert_eq!(bench.ask(&format!("{unknown} /a.txt")).status, 501, "{unknown}");
    }
    assert_eq!(bench.ask("DELETE /a.txt").status, 405, "files are not for phones to delete");
    assert_eq!(bench.get("/a.txt").status, 200, "and the connection goes on");
}

#[test]
fn what_may_be_asked_is_told() {
    let mut bench = Bench::new();
    for (target, allowed) in [
        ("*", "GET, HEAD, PUT, DELETE, OPTIONS"),
        ("/a.txt", "GET, HEAD, OPTIONS"),
        ("/none", "GET, HEAD, OPTIONS"),
        ("/a.log", "GET, HEAD, PUT, OPTIONS"),
        ("/2233_96xxdata.txt", "GET, HEAD, PUT, DELETE, OPTIONS"),
    ] {
        let reply = bench.ask(&format!("OPTIONS {target}"));
        assert_eq!((reply.status, reply.body.len()), (204, 0));
        assert_eq!(reply.field("allow"), allowed, "{target}");
    }
}

#[test]
fn names_know_no_case_and_backslashes_are_slashes() {
    let mut bench = Bench::new();
    for path in [
        "/a.txt",
        "/A.TXT",
        "/./a.txt",
        "//a.txt",
        "/%61.txt",
        "/a.txt?mac=00096E123456",
        "\\a.txt",
    ] {
        assert_eq!(bench.get(path).status, 200, "{path}");
    }
    for path in ["/sub/firmware.bin", "/Sub\\FIRMWARE.bin", "\\SUB\\firmware.BIN"] {
        assert_eq!(bench.get(path).body.len(), 300, "{path}");
    }
}

#[test]
fn no_name_leads_out_of_the_root_and_no_directory_is_listed() {
    let mut bench = Bench::new();
    for path in ["/../a.txt", "/sub/../../a.txt", "/%2e%2e/a.txt", "/..\\a.txt", "/..%5ca.txt"] {
        assert_eq!(bench.get(path).status, 400, "{path}");
    }
    for path in ["/a.txt%00", "/sub%2ffirmware.bin", "/%c0%ae%c0%ae/a.txt", "/a%", "/a%zz"] {
        assert_eq!(bench.get(path).status, 400, "{path}");
    }
    for path in ["/sub", "/sub/", "/./", "/.hidden", "/con", "/a:b"] {
        assert_eq!(bench.get(path).status, 404, "{path}");
    }
    assert_eq!(bench.get("/a.txt").status, 200);
}

#[test]
fn odd_bytes_in_the_name_of_a_phone_do_not_matter() {
    let mut bench = Bench::new();
    let agent = b"GET /a.txt HTTP/1.1\r\nHost: x\r\nUser-Agent: M\xfcller \x01\x7f \"x\r\n\r\n";
    bench.send(agent);
    assert_eq!(bench.statuses(), [200]);
    let other = b"GET /a.txt HTTP/1.1\r\nHost: x\r\nX-Other: M\x01\r\n\r\n";
    assert_eq!(refused(other), 400);
}

#[test]
fn heads_beyond_their_limits_are_refused_as_soon_as_they_are() {
    let endless = vec![b'a'; 20_000];
    assert_eq!(refused(&[b"GET /", &*endless].concat()), 414);
    assert_eq!(refused(&[b"GET / HTTP/1.1\r\nHost: ", &*endless].concat()), 431);
    let lines = "X: y\r\n".repeat(65);
    assert_eq!(refused(format!("GET / HTTP/1.1\r\n{lines}").as_bytes()), 431);
    let lines = "X: y\r\n".repeat(63);
    let many = format!("GET /a.txt HTTP/1.1\r\nHost: x\r\n{lines}\r\n");
    assert_eq!(statuses_of(many.as_bytes()), (vec![200], true));
}

#[test]
fn a_phone_that_speaks_tls_to_a_plain_port_gets_an_answer_in_plain_words() {
    let mut bench = Bench::new();
    bench.send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03");
    let reply = bench.one(false);
    assert_eq!(reply.status, 400);
    assert!(bench.is_shut());
}

#[test]
fn a_target_for_the_other_kind_of_connection_is_misdirected() {
    for (is_secure, target, status) in [
        (false, "http://server/a.txt", 200),
        (false, "HTTPS://server/a.txt", 421),
        (true, "https://server/a.txt", 200),
        (true, "http://server/a.txt", 421),
    ] {
        let mut bench = if is_secure { Bench::secure() } else { Bench::new() };
        if is_secure {
            bench.secured(false);
        }
        let reply = bench.get(target);
        assert_eq!(reply.status, status, "{target}");
        assert!(bench.is_open() && !reply.is_last(), "{target}");
        let misdirected = Outcome::Refused(Refusal::Misdirected);
        assert_eq!(bench.last().outcome == misdirected, status == 421);
    }
}

#[test]
fn what_is_still_coming_behind_a_refusal_is_thrown_away_for_a_while() {
    let mut bench = Bench::with(|policy| policy.http.limits.discard_bytes_max = 1 << 20);
    bench.send(b"NO REQUEST AT ALL\r\n\r\n");
    assert!(bench.is_open() && bench.is_shut(), "a phone that still sends reads no answer");
    bench.send(&[b'x'; 100_000]);
    assert!(bench.is_open());
    bench.wait(5_100);
    assert!(!bench.is_open(), "for a while only");
    assert_eq!(bench.statuses(), [400]);
    let [Outcome::Refused(Refusal::BadRequest(_))] = bench.outcomes()[..] else { panic!() };
    bench.connect(PHONE).send(b"NO REQUEST EITHER\r\n\r\n");
    bench.send(&vec![b'x'; 2 << 20]);
    assert!(!bench.is_open(), "and not without end");
    assert_eq!(bench.world.counters.http_discards_cut.value(), 1);
}

#[test]
fn a_phone_that_sends_nothing_more_still_gets_its_answers() {
    let mut bench = Bench::new();
    bench.answers = false;
    bench.send(&head("GET /a.txt", &[]).repeat(2));
    bench.world.end(bench.id);
    assert!(bench.is_open());
    bench.answer(0);
    assert_eq!(bench.statuses(), [200, 200]);
    assert!(!bench.is_open());
    bench.connect(PHONE).send(b"GET /a.txt HTT");
    bench.world.end(bench.id);
    assert!(!bench.is_open(), "half a request is none");
}

#[test]
fn a_request_that_cannot_be_read_is_told_as_such() {
    let mut bench = Bench::new();
    bench.send(b"GET /a.txt HTTP/1.1\r\n\r\n");
    let record = bench.last();
    assert_eq!((record.status, record.verb), (Some(400), Verb::Connect));
    let Outcome::Refused(Refusal::BadRequest(Malformed::BadRequest(why))) = record.outcome else {
        panic!("{record:?}")
    };
    assert!(why.contains("Host"), "{why}");
    assert_eq!(bench.world.counters.http_malformed.value(), 1);
    assert_eq!(bench.world.counters.http_answers_4xx.value(), 1);
}

#[test]
fn an_expectation_that_is_not_known_is_refused() {
    let mut bench = Bench::new();
    assert_eq!(bench.ask_with("GET /a.txt", &["Expect: miracles"]).status, 417);
}

#[test]
fn what_a_phone_does_is_told_by_its_method() {
    let mut bench = Bench::new();
    let verb = |bench: &mut Bench, request: &str| {
        bench.connect(PHONE).send(&head(request, &[]));
        bench.last().verb
    };
    assert_eq!(verb(&mut bench, "GET /a.txt"), Verb::Fetch);
    assert_eq!(verb(&mut bench, "HEAD /a.txt"), Verb::Ask);
    assert_eq!(verb(&mut bench, "OPTIONS /a.txt"), Verb::Ask);
    assert_eq!(verb(&mut bench, "PUT /a.txt"), Verb::Send);
    assert_eq!(verb(&mut bench, "DELETE /a.txt"), Verb::Delete);
    bench.connect(PHONE).send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03");
    let record = bench.last();
    let hello = Outcome::Refused(Refusal::BadRequest(Malformed::TlsHello));
    assert_eq!((record.verb, record.outcome), (Verb::Connect, hello));
}

#[test]
fn a_path_that_is_no_name_is_told_as_it_came() {
    let mut bench = Bench::new();
    let said = |bench: &mut Bench, target: &str| {
        bench.connect(PHONE).send(&head(&format!("GET {target}"), &[]));
        match &bench.last().subject {
            Subject::Said(bytes) => String::from_utf8(bytes.to_vec()).unwrap(),
            other @ (Subject::File(_) | Subject::Unreadable) => {
                panic!("{other:?}")
            }
        }
    };
    assert_eq!(said(&mut bench, "/%2e%2e/etc/passwd"), "/%2e%2e/etc/passwd");
    assert_eq!(said(&mut bench, "/./"), "/./");
    let long = format!("/{}", "../".repeat(1_000));
    assert_eq!(said(&mut bench, &long).len(), SAID_BYTES_MAX);
}
