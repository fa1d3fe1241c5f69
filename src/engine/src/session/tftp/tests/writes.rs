//! Files received from a phone.

use super::*;
use crate::catalog::StoreError;
use crate::requests::{StoreReply, StoreRequest};
use crate::session::{Abort, Failure, Refusal, Verb};
use crate::vault::upload::{PartDone, PartOp};

/// Returns the bytes to be stored.
fn stored(bench: &Bench) -> &[u8] {
    let StoreRequest::Store { upload, .. } = &bench.world.store_requests[0] else {
        panic!("{:?} stores nothing", bench.world.store_requests[0])
    };
    &upload.bytes
}

fn waiting() -> Bench {
    let mut bench = Bench::new();
    bench.answers = false;
    bench
}

#[test]
fn nothing_is_acknowledged_before_it_is_stored() {
    let mut bench = waiting();
    assert_eq!(bench.write("a.log", ""), ["ACK 0"]);
    assert_eq!(bench.data(1, &[7; 512]), ["ACK 1"]);
    assert_eq!(bench.data(2, b"end"), SILENCE);
    assert_eq!(bench.data(2, b"end"), SILENCE);
    assert_eq!(bench.wait(60_000), SILENCE);
    assert_eq!(stored(&bench).len(), 515);
    assert_eq!(bench.answer(0), ["ACK 2"]);
    assert_eq!(bench.last(), ("a.log".into(), Outcome::Done));
}

#[test]
fn an_ack_that_was_due_before_the_last_block_is_not_given_for_it() {
    let mut bench = waiting();
    bench.write("a.log", "windowsize 4");
    for (number, bytes) in [(1, &[7; 512][..]), (3, b"end"), (2, &[8; 512]), (3, b"end")] {
        bench.world.deliver(bench.phone, bench.from, &data(number, bytes));
    }
    assert_eq!(bench.run_until_idle(), SILENCE);
    assert_eq!(bench.answer(0), ["ACK 3"]);
}

#[test]
fn the_last_block_of_a_stored_upload_is_acknowledged_again_at_no_transfer_s_cost() {
    let mut bench = Bench::new();
    bench.write("a.log", "");
    assert_eq!(bench.data(1, b"end"), ["ACK 1"]);
    assert_eq!(bench.open(), 0);
    for _ in 0..3 {
        bench.wait(24_000);
        assert_eq!(bench.data(1, b"end"), ["ACK 1"]);
    }
    // Its client repeats itself every 24 s, and the server waits accordingly.
    bench.wait(71_000);
    assert_eq!(bench.data(1, b"end"), ["ACK 1"]);
    bench.wait(300_000);
    assert_eq!(bench.data(1, b"end"), ["ERROR 5"]);
    assert_eq!(bench.outcomes(), [Outcome::Done]);
}

#[test]
fn a_client_that_names_its_interval_is_acknowledged_again_for_three_of_them() {
    let mut bench = Bench::new();
    bench.write("a.log", "timeout 60");
    bench.data(1, b"end");
    bench.wait(179_000);
    assert_eq!(bench.data(1, b"end"), ["ACK 1"]);
}

/// Makes a server with a log that appends.
fn appending() -> Bench {
    let mut bench = Bench::with(|policy| policy.uploads.0[0].on_exists = OnExists::Append);
    bench.answers = false;
    bench.world.is_found = true;
    bench
}

/// Uploads one line; returns whether it was stored.
fn line(bench: &mut Bench, text: &[u8]) -> bool {
    assert_eq!(bench.write("a.log", ""), ["ACK 0"]);
    let mut replies = bench.data(1, text);
    if matches!(bench.world.store_requests.first(), Some(StoreRequest::Upload { .. })) {
        replies = bench.answer(0);
    }
    let is_stored = !bench.world.store_requests.is_empty();
    assert_eq!(if is_stored { bench.answer(0) } else { replies }, ["ACK 1"]);
    is_stored
}

#[test]
fn a_log_whose_client_heard_nothing_of_its_end_is_not_stored_twice() {
    let mut bench = appending();
    assert!(line(&mut bench, b"one"));
    bench.wait(5_000);
    assert_eq!(bench.data(1, b"one"), ["ACK 1"]);
    // It gives up, and tries again from another port.
    bench.wait(20_000);
    assert!(!line(bench.phone("10.0.0.1:2001"), b"one"));
    assert_eq!(bench.world.counters.tftp_uploads_repeated.value(), 1);
    // A later upload is new, even with the same bytes.
    assert!(line(bench.phone("10.0.0.1:2002"), b"one"));
}

#[test]
fn a_log_that_was_moved_since_its_client_heard_nothing_is_stored_anew() {
    let mut bench = appending();
    assert!(line(&mut bench, b"one"));
    bench.wait(5_000);
    assert_eq!(bench.data(1, b"one"), ["ACK 1"]);
    bench.world.is_found = false;
    assert!(line(bench.phone("10.0.0.1:2001"), b"one"));
    assert_eq!(bench.world.counters.tftp_uploads_repeated.value(), 0);
}

#[test]
fn a_log_whose_client_had_gone_before_its_last_ack_is_not_stored_twice() {
    let mut bench = appending();
    bench.write("a.log", "");
    bench.data(1, b"one");
    bench.wait(40_000);
    assert_eq!(bench.answer(0), ["ACK 1"]);
    let (port, peer) = (bench.from, bench.phone);
    bench.world.turn(|engine, turn| engine.handle_unreachable(port, peer, turn));
    assert!(!line(bench.phone("10.0.0.1:2001"), b"one"));
}

#[test]
fn a_second_line_that_says_the_same_is_a_second_line() {
    let mut bench = appending();
    assert!(line(&mut bench, b"one"));
    // The same port within a second of the end, and another one later.
    assert!(line(&mut bench, b"one"));
    bench.wait(30_000);
    assert!(line(bench.phone("10.0.0.1:2001"), b"one"));
}

#[test]
fn another_line_after_one_that_was_not_heard_of_is_stored() {
    let mut bench = appending();
    assert!(line(&mut bench, b"one"));
    bench.wait(5_000);
    bench.data(1, b"one");
    assert!(line(bench.phone("10.0.0.1:2001"), b"two"));
    assert!(line(bench.phone(OTHER), b"one"));
}

#[test]
fn a_last_block_that_was_doubled_on_its_way_is_no_sign_of_a_lost_ack() {
    let mut bench = appending();
    bench.write("a.log", "");
    bench.world.now = bench.world.now + Duration::from_millis(10);
    bench.data(1, b"one");
    bench.answer(0);
    assert_eq!(bench.data(1, b"one"), ["ACK 1"]);
    assert!(line(bench.phone("10.0.0.1:2001"), b"one"));
}

#[test]
fn a_write_from_the_same_port_within_a_second_of_a_finished_upload_is_served() {
    let mut bench = Bench::new();
    for text in [&b"one"[..], b"two", b"two"] {
        assert_eq!(bench.write("a.log", ""), ["ACK 0"]);
        assert_eq!(bench.data(1, text), ["ACK 1"]);
    }
    assert_eq!(bench.outcomes(), [Outcome::Done; 3]);
}

/// Answers whether the file exists.
fn find(bench: &mut Bench, there: bool) -> Vec<String> {
    let request = bench.world.store_requests.remove(0);
    let StoreRequest::Upload { ticket, op: PartOp::Find { .. }, .. } = request else {
        panic!("{request:?}")
    };
    let answer = StoreReply::Upload { ticket, result: Ok(PartDone::Found(there)) };
    bench.world.turn(|engine, turn| engine.handle_store_reply(answer, turn));
    bench.run_until_idle()
}

#[test]
fn a_file_that_must_stay_is_refused_before_its_upload_begins() {
    let mut bench = Bench::with(|policy| policy.uploads.0[0].on_exists = OnExists::Keep);
    bench.answers = false;
    assert_eq!(bench.write("a.log", ""), SILENCE);
    assert_eq!(find(&mut bench, true), ["ERROR 6"]);
    assert_eq!(bench.open(), 0);
    // The client's fault, not the server's.
    let conflict = Outcome::Refused(Refusal::Conflict(StoreError::Exists));
    assert_eq!(bench.outcomes(), [conflict]);
    assert_eq!(bench.write("a.log", "blksize 1024"), SILENCE);
    assert_eq!(find(&mut bench, false), ["OACK blksize 1024"]);
    assert_eq!(bench.data(1, b"end"), SILENCE);
    assert_eq!(bench.answer(0), ["ACK 1"]);
    // The client does not know this, and gets no refusal: the file is its own.
    bench.wait(5_000);
    bench.data(1, b"end");
    bench.phone("10.0.0.1:2001");
    assert_eq!(bench.write("a.log", ""), ["ACK 0"]);
    assert_eq!(bench.data(1, b"end"), SILENCE);
    assert_eq!(find(&mut bench, true), ["ACK 1"]);
}

#[test]
fn a_large_upload_goes_to_a_file_aside_and_not_to_memory() {
    const MAX: u64 = 64 << 20;
    let mut bench = Bench::with(|policy| {
        policy.uploads.0[0].bytes_max = MAX;
        policy.tftp.upload_memory_bytes_max = 1 << 20;
    });
    bench.write("a.log", "blksize 1468 windowsize 64");
    let mut most = 0;
    let mut number = 0_u16;
    for _ in 0..20_000 {
        number = number.wrapping_add(1);
        bench.world.deliver(bench.phone, bench.from, &data(number, &[7; 1_468]));
        bench.run_until_idle();
        most = most.max(bench.world.engine.upload_bytes_held);
        bench.world.sent.clear();
        bench.seen = 0;
    }
    assert!(most <= 512 << 10, "{most}");
    bench.answers = false;
    bench.data(number.wrapping_add(1), b"end");
    let StoreRequest::Store { upload, .. } = &bench.world.store_requests[0] else { panic!() };
    assert_eq!(upload.bytes_all(), 20_000 * 1_468 + 3);
    assert!(upload.spool.as_ref().is_some_and(|spool| spool.as_slice().iter().all(|b| *b == 7)));
    bench.answer(0);
    assert_eq!(bench.world.records[0].bytes, 20_000 * 1_468 + 3);
    assert_eq!(bench.world.engine.upload_bytes_held, 0);
}

#[test]
fn a_disk_that_is_slower_than_its_phone_holds_the_acks_back_and_loses_nothing() {
    let mut bench = Bench::with(|policy| policy.uploads.0[0].bytes_max = 64 << 20);
    bench.answers = false;
    bench.write("a.log", "blksize 1468");
    let mut sent = 0;
    while bench.data(sent + 1, &[7; 1_468]) == [format!("ACK {}", sent + 1)] {
        sent += 1;
    }
    // One part is under way and the next one is full. The phone repeats what is not acknowledged.
    assert_eq!(usize::from(sent) + 1, 2 * (256_usize << 10).div_ceil(1_468));
    assert_eq!(bench.data(sent + 1, &[7; 1_468]), SILENCE);
    assert_eq!(bench.wait(120_000), SILENCE);
    assert_eq!(bench.answer(0), [format!("ACK {}", sent + 1)]);
    assert_eq!(bench.data(sent + 2, b"end"), SILENCE);
    // The last part is still being written, so the whole is not stored yet.
    assert_eq!(bench.answer(0), SILENCE);
    let StoreRequest::Store { upload, .. } = &bench.world.store_requests[0] else { panic!() };
    assert_eq!(upload.bytes_all(), u64::from(sent + 1) * 1_468 + 3);
}

#[test]
fn a_disk_that_fails_in_the_middle_of_an_upload_ends_it_at_once() {
    let mut bench = Bench::with(|policy| policy.uploads.0[0].bytes_max = 64 << 20);
    bench.answers = false;
    bench.write("a.log", "blksize 1468");
    let mut number = 0;
    while bench.world.store_requests.is_empty() {
        number += 1;
        bench.data(number, &[7; 1_468]);
    }
    assert_eq!(bench.answer(1), ["ERROR 3"]);
    assert_eq!(bench.outcomes(), [Outcome::Failed(Failure::Store(StoreError::Full))]);
    assert_eq!(bench.world.engine.upload_bytes_held, 0);
}

#[test]
fn a_phone_takes_its_upload_back_until_it_is_in_its_place() {
    for was_placed in [false, true] {
        let mut bench = waiting();
        bench.write("a.log", "");
        bench.data(1, b"half");
        let StoreRequest::Store { upload, .. } = &bench.world.store_requests[0] else { panic!() };
        let Some(token) = upload.cancel.clone() else { panic!() };
        assert!(!was_placed || token.commit());
        let error = Control::error(ErrorCode(0), "user abort");
        bench.tell(bench.from, error.as_bytes());
        assert_eq!(token.is_cancelled(), !was_placed);
        bench.answer(0);
        let expected = match was_placed {
            true => Outcome::Done,
            false => Outcome::Aborted(Abort::ByPhone(0)),
        };
        assert_eq!(bench.outcomes(), [expected]);
        let record = bench.world.records.last().unwrap();
        assert_eq!(record.words.as_deref(), Some(&b"user abort"[..]));
    }
}

#[test]
fn a_block_that_comes_twice_is_acknowledged_twice_and_stored_once() {
    let mut bench = waiting();
    bench.write("a.log", "");
    assert_eq!(bench.data(1, &[7; 512]), ["ACK 1"]);
    assert_eq!(bench.data(1, &[7; 512]), ["ACK 1"]);
    bench.data(2, b"");
    assert_eq!(stored(&bench).len(), 512);
}

#[test]
fn uploads_are_off_unless_a_rule_allows_the_name() {
    let mut bench = Bench::new();
    assert_eq!(bench.write("a.cfg", ""), ["ERROR 2"]);
    assert_eq!(bench.write("two", ""), ["ERROR 2"]);
    let refused = Outcome::Refused(Refusal::UploadNotAllowed);
    assert_eq!(bench.outcomes(), [refused, refused]);
}

#[test]
fn an_upload_that_announces_too_much_is_refused_before_it_begins() {
    let mut bench = Bench::new();
    assert_eq!(bench.write("a.log", "tsize 1000001"), ["ERROR 3"]);
    assert_eq!(bench.open(), 0);
    assert_eq!(bench.write("a.log", "tsize 1000000"), ["OACK tsize 1000000"]);
}

#[test]
fn an_upload_that_grows_above_its_cap_is_ended() {
    let mut bench = Bench::with(|policy| policy.uploads.0[0].bytes_max = 1_000);
    bench.write("a.log", "");
    assert_eq!(bench.data(1, &[7; 512]), ["ACK 1"]);
    assert_eq!(bench.data(2, &[7; 512]), ["ERROR 3"]);
    assert_eq!(bench.outcomes(), [Outcome::Refused(Refusal::UploadTooLarge)]);
}

#[test]
fn a_declared_size_is_checked_against_what_arrives() {
    for payload in [&b"four"[..], b"sixsix"] {
        let mut bench = waiting();
        assert_eq!(bench.write("a.log", "tsize 5"), ["OACK tsize 5"]);
        assert_eq!(bench.data(1, payload), ["ERROR 4"]);
        assert!(bench.world.store_requests.is_empty());
        let text = format!("{} bytes came, tsize was 5\0", payload.len());
        assert!(bench.world.sent.last().unwrap().bytes.ends_with(text.as_bytes()));
        let record = bench.world.records.last().unwrap();
        assert_eq!(record.outcome, Outcome::Refused(Refusal::SizeDiffers));
        assert_eq!((record.bytes, record.of_bytes), (payload.len() as u64, Some(5)));
    }
    let mut bench = waiting();
    bench.write("a.log", "tsize 5");
    bench.data(1, b"fives");
    assert_eq!(stored(&bench), b"fives");
}

#[test]
fn a_store_that_fails_is_told_to_the_phone() {
    for (fault, expected) in [(1, "ERROR 3"), (2, "ERROR 6"), (3, "ERROR 2"), (4, "ERROR 2")] {
        let mut bench = waiting();
        bench.write("a.log", "");
        bench.data(1, b"end");
        assert_eq!(bench.answer(fault), [expected]);
        assert_eq!(bench.open(), 0);
        // If an existing file is in the way, that is the client's fault, not the server's.
        let failed = u64::from(fault != 2);
        assert_eq!(bench.world.counters.transfers_failed.value(), failed);
        assert_eq!(bench.world.counters.transfers_refused.value(), 1 - failed);
    }
}

#[test]
fn uploads_together_hold_no_more_memory_than_allowed() {
    let mut bench = Bench::with(|policy| policy.tftp.upload_memory_bytes_max = 1_500);
    bench.answers = false;
    bench.write("a.log", "");
    bench.data(1, &[7; 512]);
    bench.phone(OTHER).write("b.log", "");
    let replies: Vec<String> = (1..5).flat_map(|number| bench.data(number, &[7; 512])).collect();
    assert!(replies.contains(&"ERROR 0".into()), "{replies:?}");
    assert!(bench.world.engine.upload_bytes_held <= 1_500);
    let full = Outcome::Failed(Failure::Store(StoreError::NoMemory));
    assert!(bench.outcomes().iter().all(|end| *end == full));
}

#[test]
fn a_window_of_an_upload_is_acknowledged_once() {
    let mut bench = waiting();
    assert_eq!(bench.write("a.log", "windowsize 4"), ["OACK windowsize 4"]);
    for number in 1..4 {
        assert_eq!(bench.data(number, &[7; 512]), SILENCE);
    }
    assert_eq!(bench.data(4, &[7; 512]), ["ACK 4"]);
}

#[test]
fn the_last_block_behind_an_ack_that_has_not_left_is_not_acknowledged_before_it_is_stored() {
    let mut bench = waiting();
    bench.write("a.log", "windowsize 2");
    let (phone, port) = (bench.phone, bench.from);
    for (number, bytes) in [(1, 512), (2, 512), (3, 5)] {
        bench.world.deliver(phone, port, &data(number, &[7; 512][..bytes]));
    }
    assert_eq!(bench.run_until_idle(), SILENCE);
    assert_eq!(bench.answer(0), ["ACK 3"]);
}

#[test]
fn a_hole_in_an_uploaded_window_is_told_once() {
    let mut bench = waiting();
    bench.write("a.log", "windowsize 8");
    bench.data(1, &[7; 512]);
    assert_eq!(bench.data(3, &[7; 512]), ["ACK 1"]);
    for number in 4..9 {
        assert_eq!(bench.data(number, &[7; 512]), SILENCE);
    }
    for number in 2..9 {
        assert_eq!(bench.data(number, &[7; 512]), SILENCE);
    }
    assert_eq!(bench.data(9, &[7; 512]), ["ACK 9"]);
}

#[test]
fn a_phone_that_never_begins_its_upload_is_invited_three_times_at_most() {
    for options in ["", "blksize 1024"] {
        let mut bench = Bench::new();
        assert_eq!(bench.write("a.log", options).len(), 1);
        assert_eq!(bench.wait(60_000).len(), 2);
        assert_eq!(bench.open(), 0);
        assert_eq!(bench.outcomes(), [Outcome::TimedOut]);
    }
}

#[test]
fn a_phone_that_falls_silent_in_its_upload_stores_nothing() {
    let mut bench = waiting();
    bench.write("a.log", "");
    bench.data(1, &[7; 512]);
    bench.wait(120_000);
    assert_eq!(bench.outcomes(), [Outcome::TimedOut]);
    assert!(bench.world.store_requests.is_empty());
    assert_eq!(bench.world.engine.upload_bytes_held, 0);
}

#[test]
fn a_block_larger_than_agreed_is_no_block_of_the_upload() {
    let mut bench = waiting();
    bench.write("a.log", "");
    assert_eq!(bench.data(1, &[7; 513]), SILENCE);
    assert_eq!(bench.data(1, &[7; 512]), ["ACK 1"]);
}

#[test]
fn a_bare_cr_before_a_line_s_end_is_one_byte() {
    let mut bench = waiting();
    bench.tell(PortId(0), &request(2, "a.log", "netascii", "blksize 8"));
    bench.data(1, b"a\r\r\nbc\r\r");
    bench.data(2, b"\r\n\rx");
    assert_eq!(stored(&bench), b"a\r\nbc\r\r\n\rx");
}

#[test]
fn a_text_upload_keeps_every_byte_but_its_line_ends() {
    let mut bench = waiting();
    bench.tell(PortId(0), &request(2, "a.log", "netascii", "blksize 8 tsize 19"));
    assert_eq!(bench.world.sent[0].bytes, b"\0\x06blksize\x008\0tsize\x0019\0");
    bench.data(1, b"one\r\ntw\r");
    bench.data(2, b"\nend\r\0\r\n");
    bench.data(3, b"x\r");
    assert_eq!(stored(&bench), b"one\ntw\nend\r\nx\r");
}

#[test]
fn a_server_that_stops_for_good_does_not_deny_what_is_stored() {
    let mut bench = Bench::new();
    bench.write("a.log", "");
    bench.data(1, b"end");
    bench.world.turn(|engine, turn| engine.abandon(turn));
    assert_eq!(bench.run_until_idle(), SILENCE);
    assert_eq!(bench.outcomes(), [Outcome::Done]);
}

#[test]
fn the_log_tells_an_upload_in_the_spelling_that_it_was_asked_in() {
    let mut bench = Bench::new();
    bench.write("Phone-Report.LOG", "");
    bench.data(1, b"end");
    assert_eq!(bench.last(), ("Phone-Report.LOG".to_owned(), Outcome::Done));
}

#[test]
fn a_request_that_is_too_long_is_told_with_its_name_and_direction() {
    let options = "x\0y\0".repeat(150);
    for (opcode, verb) in [(1, Verb::Fetch), (2, Verb::Send)] {
        let mut bench = Bench::new();
        let bytes = [&[0, opcode][..], b"Long Name.cfg\0octet\0", options.as_bytes()].concat();
        assert_eq!(bench.tell(PortId(0), &bytes), ["ERROR 4"]);
        let record = bench.world.records.last().unwrap();
        assert_eq!(record.outcome, Outcome::Refused(Refusal::RequestTooLong));
        assert_eq!(record.verb, verb);
        let Subject::Said(said) = &record.subject else { panic!("{record:?}") };
        assert_eq!(**said, *b"Long Name.cfg");
    }
}
