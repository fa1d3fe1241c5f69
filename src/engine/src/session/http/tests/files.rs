//! Files sent to a phone: whole, in parts, or not at all.

use std::sync::Arc;

use super::*;
use crate::catalog::{Form, OpenError};
use crate::requests::StoreReply;
use crate::session::{Abort, Failure, Refusal, Subject, Verb};
use wire::http::response::{http_date, parse_date};

const FIRST_WRITTEN_S: u64 = 1;

#[test]
fn a_file_comes_whole_with_everything_that_a_cache_wants_to_know() {
    let mut bench = Bench::new();
    let reply = bench.get("/a.txt");
    assert_eq!((reply.status, reply.field("content-length")), (200, "700"));
    assert_eq!(reply.body, bench.bytes_of("a.txt"));
    assert_eq!(reply.field("content-type"), "text/plain");
    assert_eq!(reply.field("accept-ranges"), "bytes");
    assert_eq!(parse_date(reply.field("last-modified").as_bytes()), Some(FIRST_WRITTEN_S));
    assert_eq!(parse_date(reply.field("date").as_bytes()), Some(1_700_000_001));
    assert_eq!(bench.get("/a.txt"), reply, "from memory as from the disk");
    assert_eq!(bench.get("/b.bin").field("content-type"), "application/octet-stream");
    let empty = bench.get("/empty");
    assert_eq!((empty.status, empty.length(), empty.body.len()), (200, 0, 0));
}

#[test]
fn the_date_goes_on() {
    let mut bench = Bench::new();
    bench.wait(5_000);
    assert_eq!(parse_date(bench.get("/a.txt").field("date").as_bytes()), Some(1_700_000_006));
}

#[test]
fn head_says_what_get_would_and_touches_no_disk() {
    let mut bench = Bench::new();
    bench.answers = false;
    let of_head = bench.ask("HEAD /a.txt");
    assert!(bench.world.store_requests.is_empty());
    bench.answers = true;
    let of_get = bench.get("/a.txt");
    assert_eq!((of_head.status, &of_head.fields), (of_get.status, &of_get.fields));
    assert_eq!(of_head.body, b"");
    let none = bench.ask("HEAD /none");
    assert_eq!((none.status, none.body.len()), (404, 0));
    assert_eq!(bench.ask_with("HEAD /a.txt", &["Range: bytes=0-1"]).status, 200);
}

#[test]
fn a_name_that_does_not_exist_asks_nobody() {
    let mut bench = Bench::new();
    bench.answers = false;
    assert_eq!(bench.get("/none").status, 404);
    assert!(bench.world.store_requests.is_empty());
    assert_eq!(bench.outcomes(), [Outcome::Refused(Refusal::NoSuchFile)]);
    assert_eq!(bench.last().status, Some(404));
}

#[test]
fn a_file_that_many_ask_for_comes_from_memory_once_it_is_there() {
    let mut bench = Bench::new();
    bench.get("/a.txt");
    bench.answers = false;
    bench.connect(OTHER);
    assert_eq!(bench.get("/a.txt").status, 200);
}

#[test]
fn a_phone_that_has_the_version_is_not_sent_it_again() {
    let mut bench = Bench::new();
    let first = bench.get("/a.txt");
    let tag = first.field("etag").to_owned();
    let date = first.field("last-modified").to_owned();
    let fresh = |bench: &mut Bench, fields: &[&str]| bench.ask_with("GET /a.txt", fields).status;
    assert_eq!(fresh(&mut bench, &[&format!("If-None-Match: {tag}")]), 304);
    assert_eq!(fresh(&mut bench, &[&format!("If-None-Match: \"x\", W/{tag}")]), 304);
    assert_eq!(fresh(&mut bench, &["If-None-Match: *"]), 304);
    assert_eq!(fresh(&mut bench, &["If-None-Match: \"x\""]), 200);
    assert_eq!(fresh(&mut bench, &[&format!("If-Modified-Since: {date}")]), 304);
    let before = http_date(0);
    let before = String::from_utf8_lossy(before.as_bytes());
    assert_eq!(fresh(&mut bench, &[&format!("If-Modified-Since: {before}")]), 200);
    assert_eq!(fresh(&mut bench, &["If-Modified-Since: yesterday"]), 200);
    // RFC 9110, 13.1.3: the tag decides if there is one.
    let both = [&*format!("If-Modified-Since: {date}"), "If-None-Match: \"x\""];
    assert_eq!(fresh(&mut bench, &both), 200);
    let same = bench.ask_with("GET /a.txt", &["If-None-Match: *"]);
    assert_eq!((same.field("etag"), same.field("last-modified")), (&*tag, &*date));
    let of_head = bench.ask_with("HEAD /a.txt", &["If-None-Match: *"]);
    assert_eq!(of_head.status, 304);
    bench.world.publish(FILES.iter().copied());
    assert_eq!(fresh(&mut bench, &[&format!("If-None-Match: {tag}")]), 200, "another version");
}

#[test]
fn a_phone_that_wants_another_version_is_told_so() {
    let mut bench = Bench::new();
    let first = bench.get("/a.txt");
    let (tag, date) = (first.field("etag").to_owned(), first.field("last-modified").to_owned());
    let fresh = |bench: &mut Bench, fields: &[&str]| bench.ask_with("GET /a.txt", fields).status;
    assert_eq!(fresh(&mut bench, &[&format!("If-Match: \"x\", {tag}")]), 200);
    assert_eq!(fresh(&mut bench, &[&format!("If-Match: W/{tag}")]), 412, "weak is not the same");
    assert_eq!(fresh(&mut bench, &["If-Match: \"x\""]), 412);
    assert_eq!(fresh(&mut bench, &["If-Match: *"]), 200);
    assert_eq!(fresh(&mut bench, &[&format!("If-Unmodified-Since: {date}")]), 200);
    let before = http_date(0);
    let before = String::from_utf8_lossy(before.as_bytes());
    assert_eq!(fresh(&mut bench, &[&format!("If-Unmodified-Since: {before}")]), 412);
    // RFC 9110, 13.2.2: `If-Match` is evaluated first.
    assert_eq!(fresh(&mut bench, &["If-Match: \"x\"", "If-None-Match: *"]), 412);
    assert_eq!(bench.get("/a.txt").status, 200);
}

#[test]
fn a_part_of_a_file_is_that_part() {
    let mut bench = Bench::new();
    let all = bench.bytes_of("a.txt");
    for (range, first, last) in [
        ("0-0", 0, 0),
        ("1-3", 1, 3),
        ("690-", 690, 699),
        ("-10", 690, 699),
        ("-9999", 0, 699),
        ("600-99999", 600, 699),
        ("0-699", 0, 699),
        ("5-6,7-9", 5, 9),
        ("5-9,6-7", 5, 9),
        ("699-700,900-", 699, 699),
    ] {
        let reply = bench.ask_with("GET /a.txt", &[&format!("Range: bytes={range}")]);
        assert_eq!(reply.status, 206, "{range}");
        assert_eq!(reply.field("content-range"), format!("bytes {first}-{last}/700"), "{range}");
        assert_eq!(reply.body, all[first..=last], "{range}");
        assert_eq!(reply.field("etag"), bench.ask("HEAD /a.txt").field("etag"));
    }
}

#[test]
fn parts_that_lie_behind_the_end_are_refused_with_the_size() {
    let mut bench = Bench::new();
    for range in ["700-", "700-800,900-", "-0", "99999999999999999999-"] {
        let reply = bench.ask_with("GET /a.txt", &[&format!("Range: bytes={range}")]);
        assert_eq!((reply.status, reply.field("content-range")), (416, "bytes */700"), "{range}");
    }
    assert!(bench.is_open());
    assert!(bench.outcomes().contains(&Outcome::Refused(Refusal::RangeNotSatisfiable)));
}

#[test]
fn what_is_no_range_is_answered_with_all() {
    let mut bench = Bench::new();
    let many = "0-0,2-2,4-4,6-6,8-8,10-10,12-12,14-14,16-16";
    for range in ["bytes=", "bytes=x-", "bytes=5-1", "lines=0-1", "bytes 0-1", "bytes=--1", many] {
        let range = if range == many { format!("bytes={many}") } else { range.to_owned() };
        let reply = bench.ask_with("GET /a.txt", &[&format!("Range: {range}")]);
        assert_eq!((reply.status, reply.body.len()), (200, 700), "{range}");
    }
    // `Content-Range` has no form for an empty part.
    assert_eq!(bench.ask_with("GET /empty", &["Range: bytes=0-"]).status, 200);
    let twice = ["Range: bytes=0-1", "Range: bytes=0-2"];
    assert_eq!(bench.ask_with("GET /a.txt", &twice).status, 200);
}

#[test]
fn several_parts_come_in_one_answer_in_the_order_asked_for() {
    for (path, last) in [("a.txt", 699), ("huge.bin", 199_999)] {
        for secure in [false, true] {
            let mut bench = if secure { Bench::secure() } else { Bench::new() };
            let all = bench.bytes_of(path);
            let range = "Range: bytes=600-699,0-9,-5";
            let reply = bench.ask_with(&format!("GET /{path}"), &[range]);
            let parts = phone::ranges(&reply);
            let firsts: Vec<usize> = parts.iter().map(|(first, ..)| *first).collect();
            assert_eq!(reply.status, 206);
            match path {
                "a.txt" => assert_eq!(firsts, [600, 0], "the last is joined with the first"),
                _ => assert_eq!(firsts, [600, 0, last - 4]),
            }
            for (first, part, size) in parts {
                assert_eq!((&part, size), (&all[first..first + part.len()].to_vec(), last + 1));
            }
            assert_eq!(bench.get("/a.txt").status, 200, "and the connection goes on");
        }
    }
}

#[test]
fn a_phone_that_resumes_gets_the_rest_of_the_same_version_or_the_whole_of_the_new_one() {
    let mut bench = Bench::new();
    let first = bench.get("/a.txt");
    let (tag, date) = (first.field("etag").to_owned(), first.field("last-modified").to_owned());
    let mut resume = |if_range: &str| {
        let fields = ["Range: bytes=400-", &*format!("If-Range: {if_range}")];
        bench.ask_with("GET /a.txt", &fields).status
    };
    assert_eq!(resume(&tag), 206);
    assert_eq!(resume(&date), 206);
    assert_eq!(resume(&format!("W/{tag}")), 200);
    assert_eq!(resume("\"x\""), 200);
    assert_eq!(resume("Thu, 01 Jan 1970 00:00:00 GMT"), 200);
    assert_eq!(resume("garbage"), 200);
}

#[test]
fn parts_of_a_version_that_the_catalog_does_not_know_yet_are_not_cut_out_of_it() {
    let mut bench = Bench::new();
    bench.world.disk.write("a.txt", 50);
    let reply = bench.ask_with("GET /a.txt", &["Range: bytes=600-609"]);
    assert_eq!((reply.status, reply.body.len()), (200, 50));
}

#[test]
fn a_file_that_cannot_be_read_says_why() {
    for (fault, status, outcome) in [
        (1, 404, Outcome::Refused(Refusal::NoSuchFile)),
        (2, 503, Outcome::Failed(Failure::Open(OpenError::Forbidden))),
        (3, 503, Outcome::Failed(Failure::Open(OpenError::BeingWritten))),
        (5, 503, Outcome::Failed(Failure::Open(OpenError::Io))),
        (6, 503, Outcome::Failed(Failure::Open(OpenError::Busy))),
    ] {
        let mut bench = Bench::new();
        bench.answers = false;
        bench.send(&head("GET /a.txt", &[]));
        bench.answer(fault);
        let reply = bench.one(false);
        assert_eq!((reply.status, !reply.field("retry-after").is_empty()), (status, status == 503));
        assert_eq!((bench.last().outcome, bench.last().status), (outcome, Some(status)));
        assert!(bench.is_open());
    }
}

#[test]
fn a_full_queue_of_the_loader_is_told_as_a_moment_to_come_again() {
    let mut bench = Bench::new();
    bench.answers = false;
    bench.send(&head("GET /a.txt", &[]));
    let request = bench.world.store_requests.remove(0);
    bench.world.refuse(request);
    let reply = bench.one(false);
    assert_eq!((reply.status, reply.field("retry-after")), (503, "1"));
}

#[test]
fn a_mapped_file_comes_in_parts_that_were_looked_at() {
    for mut bench in [Bench::new(), Bench::secure()] {
        bench.answers = false;
        let all = bench.bytes_of("huge.bin");
        bench.send(&head("GET /huge.bin", &[]));
        bench.answer(0);
        let (mut room, mut parts) = (std::ptr::null(), 0);
        while !bench.world.store_requests.is_empty() {
            let StoreRequest::Read { bytes, buffer, .. } = bench.first_request() else {
                panic!("{:?}", bench.first_request())
            };
            assert!(*bytes <= 64 << 10, "a connection keeps little in memory");
            assert!(parts == 0 || buffer.as_ptr() == room, "the same room again");
            let mut request = bench.world.store_requests.remove(0);
            if let StoreRequest::Read { buffer, .. } = &mut request {
                buffer.reserve(64 << 10);
                room = buffer.as_ptr();
            }
            bench.world.answer(request, 0);
            parts += 1;
        }
        assert!(bench.one(false).body == all);
        assert_eq!(parts, 4);
    }
}

#[test]
fn a_mapped_file_that_is_changed_in_place_ends_the_connection_and_no_byte_of_it_leaves() {
    for is_noticed in [false, true] {
        let mut bench = Bench::new();
        let all = bench.bytes_of("huge.bin");
        bench.room(100_000);
        bench.send(&head("GET /huge.bin", &[]));
        bench.world.disk.scribble(is_noticed);
        bench.room(usize::MAX);
        assert!(!bench.is_open());
        let raw = bench.raw();
        let (replies, _) = phone::read(&raw, |_, _| false);
        let [reply] = &*replies else { panic!("{replies:?}") };
        assert!(!reply.is_whole && all.starts_with(&reply.body), "a mixture");
        let outcome = Outcome::Failed(Failure::Open(OpenError::BeingWritten));
        assert_eq!(bench.last().outcome, outcome);
    }
}

#[test]
fn a_file_that_is_replaced_is_sent_to_its_end_as_the_version_it_was() {
    for path in ["a.txt", "huge.bin"] {
        let mut bench = Bench::new();
        let all = bench.bytes_of(path);
        bench.room(400);
        bench.send(&head(&format!("GET /{path}"), &[]));
        bench.world.publish(FILES.iter().copied());
        bench.room(usize::MAX);
        assert!(bench.one(false).body == all);
        assert!(bench.get(&format!("/{path}")).body != all, "and the next phone gets the new one");
    }
}

#[test]
fn a_question_that_the_loader_had_no_room_for_is_asked_again() {
    let mut bench = Bench::new();
    bench.answers = false;
    bench.send(&head("GET /huge.bin", &[]));
    bench.answer(0);
    for _ in 0..3 {
        let request = bench.world.store_requests.remove(0);
        bench.world.refuse(request);
        assert!(bench.world.store_requests.is_empty());
        bench.wait(60);
        assert_eq!(bench.world.store_requests.len(), 1);
    }
    bench.answers = true;
    bench.run_until_idle();
    assert_eq!(bench.one(false).body.len(), 200_000);
}

#[test]
fn a_phone_that_has_read_what_it_wanted_may_leave() {
    let mut bench = Bench::new();
    bench.room(500);
    bench.send(&head("GET /huge.bin", &[]));
    bench.world.reset(bench.id);
    assert_eq!(bench.outcomes(), [Outcome::Aborted(Abort::Disconnected)]);
    let record = bench.last();
    assert_eq!(record.status, Some(200));
    assert!(record.bytes > 0 && record.bytes < 500, "the head is none of the file's bytes");
    assert_eq!(bench.world.counters.transfers_failed.value(), 0);
    assert_eq!(bench.world.counters.transfers_aborted.value(), 1);
}

#[test]
fn what_is_sent_is_told_with_its_file_and_its_bytes() {
    let mut bench = Bench::new();
    bench.get("/Sub/Firmware.BIN");
    let record = bench.last();
    assert_eq!((record.outcome, record.status, record.bytes), (Outcome::Done, Some(200), 300));
    assert_eq!(record.verb, Verb::Fetch);
    assert!(matches!(&record.subject, Subject::File(entry) if &*entry.path == "Sub/Firmware.BIN"));
}

#[test]
fn a_phone_outside_the_access_list_gets_a_refusal_or_the_override_file() {
    let mut bench = Bench::with(|policy| {
        let range = crate::admission::access::Range::parse("10.1").unwrap();
        let list = crate::admission::access::List::new([range]);
        let list = crate::admission::access::NamedList { name: "list".into(), list };
        policy.access.limit(crate::protocol::Protocol::Http, Arc::new(list));
    });
    for request in ["GET /a.txt", "HEAD /a.txt", "GET /none", "GET /1_96xxdata.txt"] {
        assert_eq!(bench.ask(request).status, 403, "{request}");
    }
    assert_eq!(bench.put("/x.log", b"x").status, 403);
    assert_eq!(bench.connect(PHONE).ask("DELETE /1_96xxdata.txt").status, 403);
    let reply = bench.get("/46xxSettings.txt");
    assert_eq!((reply.status, reply.body.len()), (200, 20));
    bench.connect("10.1.0.1:9");
    assert_eq!(bench.get("/46xxSettings.txt").body.len(), 90);
}

#[test]
fn strangers_never_have_all_connections() {
    let mut bench = Bench::with(|policy| {
        policy.http.limits.connections_max = 16;
        let range = crate::admission::access::Range::parse("10.0").unwrap();
        let list = crate::admission::access::List::new([range]);
        let list = crate::admission::access::NamedList { name: "list".into(), list };
        policy.access.limit(crate::protocol::Protocol::Http, Arc::new(list));
    });
    let mut connect = |from: &str| bench.world.connect(from.parse().unwrap(), false);
    let first = connect("192.0.2.1:1").unwrap();
    assert!(connect("192.0.2.2:1").is_some());
    assert!(connect("192.0.2.3:1").is_none(), "an eighth of 16");
    assert!((0..13).all(|place| connect(&format!("10.0.0.7:{}", 1 + place)).is_some()));
    bench.world.run_until_idle();
    assert_eq!(bench.outcomes(), [Outcome::Refused(Refusal::TooManyStrangers)]);
    bench.world.reset(first);
    assert!(bench.world.connect("192.0.2.3:1".parse().unwrap(), false).is_some());
}

#[test]
fn the_certificate_of_the_own_authority_can_be_fetched() {
    let pem: Arc<[u8]> = (*b"-----BEGIN CERTIFICATE-----").into();
    let mut bench = Bench::with(|policy| {
        let path = (*b"certs/ca.pem").into();
        let ca = crate::settings::http::CaFile { path, pem: Arc::clone(&pem) };
        policy.http.ca = Some(ca);
    });
    let reply = bench.get("/Certs/CA.pem");
    assert_eq!((reply.status, &*reply.body), (200, &*pem));
    let of_head = bench.ask("HEAD /certs/ca.pem");
    assert_eq!((of_head.status, of_head.length(), of_head.body.len()), (200, pem.len(), 0));
}

#[test]
fn an_answer_to_somebody_who_has_gone_does_nothing() {
    let mut bench = Bench::new();
    bench.answers = false;
    bench.send(&head("GET /a.txt", &[]));
    bench.world.reset(bench.id);
    let late = bench.world.store_requests.remove(0);
    bench.connect(OTHER).send(&head("GET /b.bin", &[]));
    bench.world.answer(late, 0);
    assert_eq!(bench.statuses(), [0; 0]);
    bench.answer(0);
    assert_eq!(bench.one(false).body, bench.bytes_of("b.bin"));
}

#[test]
fn an_answer_to_another_question_does_nothing() {
    let mut bench = Bench::new();
    bench.answers = false;
    bench.send(&head("GET /a.txt", &[]));
    let ticket = bench.first_request().ticket();
    for reply in [
        StoreReply::Verified { ticket, unchanged: false },
        StoreReply::Read { ticket, result: Err(OpenError::Gone) },
        StoreReply::Stored { ticket, result: Err(crate::catalog::StoreError::Io) },
        StoreReply::Vault { ticket, result: Err(crate::vault::request::VaultError::Io) },
    ] {
        bench.world.turn(|engine, turn| engine.handle_store_reply(reply, turn));
        bench.world.run_until_idle();
        bench.world.check();
    }
    bench.answer(0);
    assert_eq!(bench.statuses(), [200]);
}

#[test]
fn a_blob_that_is_stale_is_not_sent_to_the_next_phone() {
    let mut bench = Bench::new();
    bench.get("/huge.bin");
    let catalog = Arc::clone(&bench.world.snapshot.catalog);
    let name = wire::name::FileName::parse(b"huge.bin").unwrap();
    let entry = catalog.find(&[crate::catalog::RootId(0)], &name).unwrap();
    entry.blob(Form::Octet).unwrap().mark_stale();
    bench.answers = false;
    bench.send(&head("GET /huge.bin", &[]));
    assert!(matches!(bench.first_request(), StoreRequest::Open { .. }));
}
