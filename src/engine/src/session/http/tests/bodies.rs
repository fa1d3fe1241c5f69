//! Uploads: taken whole, bounded, and never acknowledged before they are durable.

use super::*;
use crate::catalog::StoreError;
use crate::requests::StoreReply;
use crate::session::{Abort, Failure, Refusal, Verb};
use crate::vault::request::Precondition;
use crate::vault::upload::{OnExists, PartDone, PartOp, Upload};

/// Returns the upload that the server asks to be stored.
fn upload(bench: &Bench) -> &Upload {
    let StoreRequest::Store { upload, .. } = bench.first_request() else {
        panic!("{:?}", bench.first_request())
    };
    upload
}

#[test]
fn an_upload_that_a_rule_allows_is_handed_over_whole_and_acknowledged_once_it_is_stored() {
    let mut bench = Bench::new();
    bench.answers = false;
    bench.send(&head("PUT /00096E123456-app.LOG", &["Content-Length: 11"]));
    bench.send(b"hello ");
    assert!(bench.world.store_requests.is_empty(), "not all of it is here");
    bench.send(b"world");
    let upload = upload(&bench);
    assert_eq!((&*upload.bytes, upload.bytes_max), (b"hello world".as_slice(), 2_000));
    assert_eq!(upload.name.to_string(), "00096e123456-app.log");
    assert_eq!(upload.on_exists, OnExists::Append);
    bench.wait(3_600_000);
    assert_eq!(bench.raw(), b"", "nothing is said before it is durable");
    bench.answer(0);
    let reply = bench.one(false);
    assert!(matches!(reply.status, 201 | 204));
    let record = bench.last();
    assert_eq!((record.verb, record.bytes, record.outcome), (Verb::Send, 11, Outcome::Done));
    assert_eq!(bench.world.counters.uploads_stored.value(), 1);
}

#[test]
fn what_was_not_there_before_is_created_and_what_was_is_replaced() {
    let mut bench = Bench::new();
    let first = bench.put("/1_96xxdata.txt", b"one");
    assert_eq!((first.status, first.length()), (201, 0));
    let second = bench.put("/1_96xxdata.txt", b"three");
    assert_eq!(second.status, 204);
    assert!(first.field("etag") != second.field("etag"));
    assert_eq!(bench.get("/1_96xxdata.txt").field("etag"), second.field("etag"));
}

#[test]
fn what_was_appended_has_no_entity_tag_and_what_begins_a_file_has_one() {
    let mut bench = Bench::new();
    let (first, second) = (bench.put("/a.log", b"one"), bench.put("/a.log", b"two"));
    // The model's disk treats every other upload as new.
    for reply in [first, second] {
        // RFC 9110, 9.3.4.
        assert_eq!(reply.field("etag").is_empty(), reply.status == 204, "{reply:?}");
    }
    let replaced = [bench.put("/a.cal", b"one"), bench.put("/a.cal", b"two")];
    assert!(replaced.iter().all(|reply| !reply.field("etag").is_empty()), "{replaced:?}");
}

#[test]
fn a_body_in_chunks_is_put_together() {
    let mut bench = Bench::new();
    bench.send(&head("PUT /1_96xxdata.txt", &["Transfer-Encoding: chunked"]));
    bench.send(b"5;name=value\r\nhello\r\n1\r\n \r\n05\r\nworld\r\n000\r\nTrailer: x\r\n\r\n");
    assert_eq!(bench.statuses(), [201]);
    assert_eq!(bench.get("/1_96xxdata.txt").body, b"hello world");
    bench.send(&head("PUT /1_96xxdata.txt", &["Transfer-Encoding: Chunked"]));
    bench.send(b"0\r\n\r\n");
    assert_eq!(bench.statuses(), [204]);
    assert_eq!(bench.get("/1_96xxdata.txt").body, b"");
}

#[test]
fn chunks_that_two_readers_could_read_in_two_ways_are_refused() {
    for chunks in [
        "\r\n",
        "5\nhello\n0\n\n",
        "5 \r\nhello\r\n0\r\n\r\n",
        "5;a\nb\r\nhello\r\n0\r\n\r\n",
        "5;\0\r\nhello\r\n",
        "0x5\r\nhello\r\n",
        "+5\r\nhello\r\n",
        "-5\r\nhello\r\n",
        "ffffffffffffffff\r\nhello\r\n",
        "100000000\r\nhello\r\n",
        "5\r\nhelloX0\r\n\r\n",
        "5\r\nhello\r\n0\r\nGET / HTTP/1.1\r\n\r\n",
        "z\r\n",
    ] {
        let mut bench = Bench::new();
        bench.answers = false;
        bench.send(&head("PUT /1_96xxdata.txt", &["Transfer-Encoding: chunked"]));
        bench.send(chunks.as_bytes());
        let reply = bench.one(false);
        assert!(matches!(reply.status, 400 | 413), "{chunks:?}");
        assert!(
            reply.is_last() && bench.is_shut() && bench.world.store_requests.is_empty(),
            "{chunks:?}"
        );
        assert_eq!(bench.world.engine.bodies_held(), 0);
    }
}

#[test]
fn a_phone_that_asks_leave_to_send_gets_it_when_its_body_will_be_read() {
    let mut bench = Bench::new();
    let fields = ["Content-Length: 5", "Expect: 100-continue"];
    bench.send(&head("PUT /1_96xxdata.txt", &fields));
    assert_eq!(bench.raw(), b"HTTP/1.1 100 Continue\r\n\r\n");
    bench.send(b"hello");
    assert_eq!(bench.statuses(), [201]);
    let fields = ["Transfer-Encoding: chunked", "Expect: 100-CONTINUE"];
    bench.send(&head("PUT /1_96xxdata.txt", &fields));
    bench.send(b"1\r\nx\r\n0\r\n\r\n");
    assert_eq!(bench.statuses(), [100, 204]);
}

#[test]
fn a_phone_that_asks_leave_to_send_is_refused_at_once_where_its_body_would_be() {
    for (request, fields, status) in [
        ("PUT /1_96xxdata.txt", &["Content-Length: 5001"][..], 413),
        ("PUT /a.log", &["Content-Length: 2001"], 413),
        ("PUT /a.exe", &["Content-Length: 5"], 403),
        ("PUT /1_96xxdata.txt", &["Content-Length: 5", "Content-Range: bytes 0-4/9"], 400),
        ("PUT /sub/", &["Content-Length: 5"], 404),
        ("PUT /../a.log", &["Content-Length: 5"], 400),
        ("POST /a.log", &["Content-Length: 5"], 405),
    ] {
        let mut bench = Bench::new();
        let fields = [fields, &["Expect: 100-continue"]].concat();
        bench.send(&head(request, &fields));
        let reply = bench.one(false);
        assert_eq!(reply.status, status, "{request}");
        // The phone may still send its body, which is no request.
        assert!(reply.is_last() && bench.is_shut(), "{request}");
        bench.send(b"hello");
        assert_eq!(bench.raw(), b"");
    }
    let mut bench = Bench::new();
    let fields = ["Content-Length: 5", "Expect: 100-continue", "Expect: more"];
    bench.send(&head("PUT /1_96xxdata.txt", &fields));
    assert_eq!(bench.one(false).status, 417);
}

#[test]
fn a_phone_that_asks_leave_to_send_is_refused_where_the_file_is_there_and_must_not_be() {
    let found = |bench: &mut Bench, result| {
        let request = bench.world.store_requests.remove(0);
        assert!(matches!(request, StoreRequest::Upload { op: PartOp::Find { .. }, .. }));
        let reply = StoreReply::Upload { ticket: request.ticket(), result };
        bench.world.turn(|engine, turn| engine.handle_store_reply(reply, turn));
        bench.world.run_until_idle();
    };
    let waiting = |on_exists, condition: &str| {
        let mut bench = Bench::with(|policy| policy.uploads.0[0].on_exists = on_exists);
        bench.answers = false;
        let fields = ["Content-Length: 5", "Expect: 100-continue", condition];
        bench.send(&head("PUT /a.log", &fields));
        bench
    };
    let cases = [
        (OnExists::Keep, "X: y", 409),
        (OnExists::Replace, "If-None-Match: *", 412),
        (OnExists::Keep, "If-None-Match: *", 412),
    ];
    for (on_exists, condition, status) in cases {
        let mut bench = waiting(on_exists, condition);
        assert_eq!(bench.raw(), b"", "nothing is said before it is known");
        found(&mut bench, Ok(PartDone::Found(true)));
        assert_eq!(bench.statuses(), [status]);
        let mut bench = waiting(on_exists, condition);
        found(&mut bench, Ok(PartDone::Found(false)));
        assert_eq!(bench.raw(), b"HTTP/1.1 100 Continue\r\n\r\n");
        bench.answers = true;
        bench.send(b"hello");
        assert_eq!(bench.statuses(), [201]);
        let mut bench = waiting(on_exists, condition);
        let request = bench.world.store_requests.remove(0);
        bench.world.refuse(request);
        assert_eq!(bench.statuses(), [503]);
    }
    assert_eq!(waiting(OnExists::Replace, "X: y").raw(), b"HTTP/1.1 100 Continue\r\n\r\n");
}

#[test]
fn http_1_0_knows_no_expectations() {
    let mut bench = Bench::new();
    let fields = ["Content-Length: 5", "Expect: 100-continue"];
    bench.send(&head("PUT /1_96xxdata.txt HTTP/1.0", &fields));
    assert_eq!(bench.raw(), b"");
    bench.send(b"hello");
    assert_eq!(bench.statuses(), [201]);
}

#[test]
fn a_body_needs_a_length() {
    let mut bench = Bench::new();
    assert_eq!(bench.ask("PUT /1_96xxdata.txt").status, 411);
    assert_eq!(bench.put("/1_96xxdata.txt", b"").status, 201, "and none is a length");
    assert_eq!(bench.get("/1_96xxdata.txt").body, b"");
}

#[test]
fn a_body_in_chunks_is_refused_once_it_is_too_large() {
    let mut bench = Bench::new();
    bench.answers = false;
    bench.send(&head("PUT /a.log", &["Transfer-Encoding: chunked"]));
    let chunk = [b"3e8\r\n".as_slice(), &[b'x'; 1_000], b"\r\n"].concat();
    bench.send(&chunk.repeat(2));
    assert_eq!(bench.raw(), b"");
    bench.send(b"1\r\nx\r\n");
    let reply = bench.one(false);
    assert!(reply.status == 413 && reply.is_last());
    assert!(bench.world.store_requests.is_empty() && bench.world.engine.bodies_held() == 0);
    assert_eq!(bench.last().outcome, Outcome::Refused(Refusal::UploadTooLarge));
}

#[test]
fn what_stands_behind_a_body_is_the_next_request() {
    let mut bench = Bench::new();
    let put = [&*head("PUT /1_96xxdata.txt", &["Content-Length: 5"]), b"hello"].concat();
    let all = [&*put, &head("GET /1_96xxdata.txt", &[]), &put, &head("GET /none", &[])].concat();
    bench.send(&all);
    let replies = bench.hear();
    let statuses: Vec<u16> = replies.iter().map(|reply| reply.status).collect();
    assert_eq!(statuses, [201, 200, 204, 404]);
    assert_eq!(replies[1].body, b"hello");
}

#[test]
fn a_body_that_is_cut_off_is_not_stored() {
    for is_reset in [false, true] {
        let mut bench = Bench::new();
        bench.answers = false;
        bench.send(&head("PUT /1_96xxdata.txt", &["Content-Length: 5000"]));
        bench.send(&[b'x'; 4_999]);
        assert_eq!(bench.world.engine.bodies_held(), 4_999);
        match is_reset {
            true => bench.world.reset(bench.id),
            false => bench.world.end(bench.id),
        }
        assert!(!bench.is_open() && bench.world.store_requests.is_empty());
        assert_eq!(bench.world.engine.bodies_held(), 0);
        assert_eq!(bench.outcomes(), [Outcome::Aborted(Abort::Disconnected)]);
    }
}

#[test]
fn what_is_stored_is_told_as_stored_though_its_phone_has_gone() {
    let mut bench = Bench::new();
    bench.answers = false;
    bench.send(&[&*head("PUT /1_96xxdata.txt", &["Content-Length: 5"]), b"hello"].concat());
    bench.world.reset(bench.id);
    bench.answer(0);
    bench.answers = true;
    assert_eq!(bench.connect(OTHER).get("/1_96xxdata.txt").body, b"hello");
}

#[test]
fn bodies_in_memory_are_bounded_for_all_phones_together() {
    let mut bench = Bench::with(|policy| policy.http.limits.body_memory_bytes_max = 6_000);
    bench.answers = false;
    let first = bench.id;
    bench.send(&head("PUT /1_96xxdata.txt", &["Content-Length: 4000"]));
    bench.send(&[b'x'; 3_999]);
    bench.connect(OTHER).send(&head("PUT /2_96xxdata.txt", &["Content-Length: 4000"]));
    bench.send(&[b'x'; 2_001]);
    assert_eq!(bench.raw(), b"");
    bench.send(b"x");
    let reply = bench.one(false);
    assert_eq!((reply.status, reply.field("retry-after")), (503, "1"));
    assert_eq!(bench.world.counters.http_bodies_refused.value(), 1);
    assert_eq!(bench.world.engine.bodies_held(), 3_999, "what was refused is not kept");
    assert_eq!(bench.last().outcome, Outcome::Refused(Refusal::BodyMemory));
    bench.answers = true;
    bench.on(first, 0).send(b"x");
    assert_eq!(bench.statuses(), [201]);
    assert_eq!(bench.world.engine.bodies_held(), 0);
}

#[test]
fn an_address_whose_bodies_hold_its_half_of_the_memory_is_told_so() {
    let mut bench = Bench::with(|policy| policy.http.limits.body_memory_bytes_max = 6_000);
    bench.send(&head("PUT /1_96xxdata.txt", &["Content-Length: 4000"]));
    bench.send(&[b'x'; 2_000]);
    bench.connect(PHONE).send(&head("PUT /2_96xxdata.txt", &["Content-Length: 4000"]));
    bench.send(&[b'x'; 1_001]);
    assert_eq!(bench.statuses(), [503]);
    assert_eq!(bench.last().outcome, Outcome::Refused(Refusal::BodyMemoryShare));
}

#[test]
fn a_body_that_is_compressed_is_refused_in_words_and_one_that_is_not_is_taken() {
    for coding in ["gzip", "identity, deflate", "br"] {
        let mut bench = Bench::new();
        let reply = bench.put_with("/a.log", &[&format!("Content-Encoding: {coding}")], b"hello");
        assert_eq!((reply.status, reply.field("accept-encoding")), (415, "identity"), "{coding}");
        assert!(reply.body.ends_with(b"without Content-Encoding\n"));
        assert_eq!(bench.last().outcome, Outcome::Refused(Refusal::Coded));
    }
    for fields in [&["Content-Encoding: identity"][..], &["Content-Encoding:"], &[]] {
        assert_eq!(Bench::new().put_with("/a.log", fields, b"hello").status, 201);
    }
}

#[test]
fn what_cannot_be_stored_says_why() {
    let failed = |fault| Outcome::Failed(Failure::Store(fault));
    for (fault, status, outcome) in [
        (1, 507, failed(StoreError::Full)),
        (2, 409, Outcome::Refused(Refusal::Conflict(StoreError::Exists))),
        (3, 500, failed(StoreError::Forbidden)),
        (4, 500, failed(StoreError::Io)),
        (5, 412, Outcome::Refused(Refusal::PreconditionFailed)),
        (6, 503, failed(StoreError::Busy)),
    ] {
        let mut bench = Bench::new();
        bench.answers = false;
        bench.send(&[&*head("PUT /a.log", &["Content-Length: 5"]), b"hello"].concat());
        bench.answer(fault);
        let reply = bench.one(false);
        assert_eq!((reply.status, !reply.field("retry-after").is_empty()), (status, status == 503));
        assert_eq!(bench.last().outcome, outcome);
        assert!(bench.is_open(), "the body was read, so the connection can go on");
        assert_eq!(bench.world.engine.bodies_held(), 0);
        assert_eq!(bench.world.counters.uploads_stored.value(), 0);
    }
}

#[test]
fn a_full_queue_of_the_writer_is_told_as_a_moment_to_come_again() {
    let mut bench = Bench::new();
    bench.answers = false;
    for path in ["/a.log", "/1_96xxdata.txt"] {
        bench.send(&[&*head(&format!("PUT {path}"), &["Content-Length: 1"]), b"x"].concat());
        let request = bench.world.store_requests.remove(0);
        bench.world.refuse(request);
        assert_eq!(bench.one(false).status, 503);
    }
}

#[test]
fn what_a_phone_demands_of_the_version_that_it_replaces_reaches_the_writer() {
    let matches = |tag: &[u8]| Precondition::Matches(vec![tag.into()]);
    for (fields, precondition) in [
        (&["If-None-Match: *"][..], Precondition::New),
        (&["If-None-Match: \"abc\""], Precondition::MatchesNone(vec![(*b"abc").into()])),
        (&["If-Match: *"], Precondition::Exists),
        (&["If-Match: \"abc\""], matches(b"abc")),
        (&["If-Unmodified-Since: Thu, 01 Jan 1970 00:00:09 GMT"], Precondition::UnmodifiedSince(9)),
        (&[], Precondition::None),
    ] {
        let mut bench = Bench::new();
        bench.answers = false;
        let all = [fields, &["Content-Length: 1"]].concat();
        bench.send(&[&*head("PUT /a.log", &all), b"x"].concat());
        assert_eq!(upload(&bench).precondition, precondition, "{fields:?}");
        bench.connect(PHONE).send(&[&*head("PUT /1_96xxdata.txt", &all), b"x"].concat());
        let Some(StoreRequest::Vault { request, .. }) = bench.world.store_requests.last() else {
            panic!()
        };
        let crate::vault::request::VaultOp::Keep { precondition: demanded, .. } = &request.op
        else {
            panic!()
        };
        assert_eq!(*demanded, precondition, "{fields:?}");
    }
}

/// Returns a body far larger than what stays in memory.
fn large() -> Vec<u8> {
    (0..1_500_000_u32).flat_map(|n| [n as u8]).collect()
}

/// Allows it.
fn roomy(policy: &mut Policy) {
    policy.http.limits.body_memory_bytes_max = 700 << 10;
    policy.uploads.0.iter_mut().for_each(|rule| rule.bytes_max = 100 << 20);
}

impl Bench {
    /// Answers the last question to the disk.
    fn work(&mut self, fault: u8) {
        let request = self.world.store_requests.remove(0);
        self.world.answer(request, fault);
    }
}

#[test]
fn a_large_body_goes_to_a_file_aside_and_is_never_in_memory_as_a_whole() {
    let body = large();
    let chunked = [format!("{:x}\r\n", body.len()).as_bytes(), &body, b"\r\n0\r\n\r\n"].concat();
    let length = format!("Content-Length: {}", body.len());
    for (field, sent) in [(&*length, &body), ("Transfer-Encoding: chunked", &chunked)] {
        let mut bench = Bench::with(roomy);
        bench.answers = false;
        bench.send(&head("PUT /a.log", &[field]));
        let mut most = 0;
        for piece in sent.chunks(60_000) {
            bench.send(piece);
            most = most.max(bench.world.engine.bodies_held());
            // A disk that is slower than the phone: one part is under way at a time.
            assert!(bench.world.store_requests.len() <= 1, "{:?}", bench.world.store_requests);
            if bench.world.engine.bodies_held() > 500 << 10 {
                bench.work(0);
            }
        }
        while matches!(bench.world.store_requests[0], StoreRequest::Upload { .. }) {
            bench.work(0);
        }
        assert!(most < 700 << 10, "{most}");
        let upload = upload(&bench);
        let aside = upload.spool.as_ref().unwrap().as_slice();
        assert!([aside, &upload.bytes].concat() == body, "{field}");
        bench.answer(0);
        assert!(matches!(bench.one(false).status, 201 | 204));
        assert_eq!((bench.last().bytes, bench.world.engine.bodies_held()), (1_500_000, 0));
        assert!(bench.is_open());
    }
}

#[test]
fn a_phone_that_dies_in_the_middle_of_a_large_body_leaves_nothing_behind() {
    for is_under_way in [false, true] {
        let mut bench = Bench::with(roomy);
        bench.answers = false;
        bench.send(&head("PUT /a.log", &["Content-Length: 1500000"]));
        bench.send(&large()[..300_000]);
        if !is_under_way {
            bench.work(0);
        }
        let id = bench.id;
        bench.world.reset(id);
        if is_under_way {
            bench.work(0);
        }
        let [StoreRequest::Upload { op: PartOp::Forget { .. }, .. }] = &*bench.world.store_requests
        else {
            panic!("{:?}", bench.world.store_requests)
        };
        assert_eq!(bench.last().outcome, Outcome::Aborted(Abort::Disconnected));
        assert_eq!(bench.world.engine.bodies_held(), 0);
    }
}

#[test]
fn a_disk_that_takes_no_part_is_told_and_the_rest_of_the_body_is_thrown_away() {
    let mut bench = Bench::with(roomy);
    bench.answers = false;
    bench.send(&head("PUT /a.log", &["Content-Length: 1500000"]));
    bench.send(&large()[..300_000]);
    bench.work(1);
    assert_eq!(bench.one(false).status, 507);
    bench.send(&large()[300_000..600_000]);
    assert_eq!(bench.world.engine.bodies_held(), 0);
    assert_eq!(bench.last().outcome, Outcome::Failed(Failure::Store(StoreError::Full)));
}

#[test]
fn whether_it_was_stored_is_told_of_a_phone_that_left_before_it_was_answered() {
    let stored = Outcome::DoneUnacknowledged;
    for (fault, outcome) in [(0, stored), (1, Outcome::Failed(Failure::Store(StoreError::Full)))] {
        for path in ["/a.log", "/1_96xxdata.txt"] {
            let mut bench = Bench::new();
            bench.answers = false;
            let request = head(&format!("PUT {path}"), &["Content-Length: 5"]);
            bench.send(&[&*request, b"hello"].concat());
            let id = bench.id;
            bench.world.reset(id);
            assert!(bench.world.records.is_empty(), "the result is not known yet");
            bench.work(if path == "/a.log" || fault == 0 { fault } else { 5 });
            assert_eq!((bench.last().bytes, bench.last().outcome), (5, outcome), "{path}");
            assert_eq!(bench.world.engine.requests_open(), 0);
        }
    }
}
