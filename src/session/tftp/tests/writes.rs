//! Files on their way from a phone.

use super::*;
use crate::content::Ask;
use crate::session::{Failure, Refusal};

/// The bytes that are to be stored.
fn stored(bench: &Bench) -> &[u8] {
    let Ask::Store { upload, .. } = &bench.world.asks[0] else {
        panic!("{:?} stores nothing", bench.world.asks[0])
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
    assert_eq!(bench.settle(), SILENCE);
    assert_eq!(bench.answer(0), ["ACK 3"]);
}

#[test]
fn the_last_block_of_a_stored_upload_is_acknowledged_again_for_a_while() {
    let mut bench = Bench::new();
    bench.write("a.log", "");
    assert_eq!(bench.data(1, b"end"), ["ACK 1"]);
    bench.wait(1_000);
    assert_eq!(bench.data(1, b"end"), ["ACK 1"]);
    assert_eq!(bench.open(), 1);
    bench.wait(5_000);
    assert_eq!(bench.open(), 0);
    assert_eq!(bench.outcomes(), [Outcome::Done]);
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
        assert!(bench.world.asks.is_empty());
    }
    let mut bench = waiting();
    bench.write("a.log", "tsize 5");
    bench.data(1, b"fives");
    assert_eq!(stored(&bench), b"fives");
}

#[test]
fn a_store_that_fails_is_told_to_the_phone() {
    for (fault, told) in [(1, "ERROR 3"), (2, "ERROR 6"), (3, "ERROR 2"), (4, "ERROR 2")] {
        let mut bench = waiting();
        bench.write("a.log", "");
        bench.data(1, b"end");
        assert_eq!(bench.answer(fault), [told]);
        assert_eq!(bench.open(), 0);
        assert_eq!(bench.world.counters.transfers_failed.value(), 1);
    }
}

#[test]
fn uploads_together_hold_no_more_memory_than_allowed() {
    let mut bench = Bench::with(|policy| policy.tftp.upload_memory_bytes_max = 1_500);
    bench.write("a.log", "");
    bench.data(1, &[7; 512]);
    bench.phone(OTHER).write("b.log", "");
    let told: Vec<String> = (1..5).flat_map(|number| bench.data(number, &[7; 512])).collect();
    assert!(told.contains(&"ERROR 0".into()), "{told:?}");
    assert!(bench.world.engine.upload_bytes_held <= 1_500);
    assert!(bench.outcomes().iter().all(|end| matches!(end, Outcome::Failed(Failure::Store(_)))));
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
    assert_eq!(bench.settle(), SILENCE);
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
    assert!(bench.world.asks.is_empty());
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
    assert_eq!(bench.settle(), SILENCE);
    assert_eq!(bench.outcomes(), [Outcome::Done]);
}
