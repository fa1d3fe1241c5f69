//! Options, windows and block numbers that wrap.

use super::*;
use crate::session::Abort;
use crate::settings::tftp::WrapTo;

#[test]
fn options_that_were_not_asked_are_never_answered() {
    let mut bench = Bench::new();
    assert_eq!(bench.read("two", ""), ["DATA 1 512"]);
    assert_eq!(bench.phone(OTHER).read("two", "tsize 0"), ["OACK tsize 700"]);
}

#[test]
fn unknown_and_unusable_options_are_left_out_and_no_error() {
    let mut bench = Bench::new();
    assert_eq!(bench.read("two", "multicast x blksize 4 timeout 0 windowsize 0"), ["DATA 1 512"]);
    let requested = "saveme yes blksize 1024 timeout 900";
    assert_eq!(bench.phone(OTHER).read("two", requested), ["OACK blksize 1024"]);
}

#[test]
fn nothing_follows_the_last_nul_of_an_oack() {
    let mut bench = Bench::new();
    bench.read("two", "blksize 1024 tsize 0");
    assert_eq!(bench.world.sent[0].bytes, b"\0\x06blksize\x001024\0tsize\x00700\0");
}

#[test]
fn no_data_leaves_before_the_oack_is_acknowledged() {
    let mut bench = Bench::new();
    assert_eq!(bench.read("huge", "windowsize 16"), ["OACK windowsize 16"]);
    assert_eq!(bench.ack(1), SILENCE);
    assert_eq!(bench.wait(500), SILENCE);
    assert_eq!(bench.ack(0).len(), 16);
}

#[test]
fn an_answer_to_the_first_oack_counts_while_the_second_is_about_to_leave() {
    let mut bench = Bench::new();
    bench.read("two", "blksize 600");
    bench.world.now = bench.world.now + Duration::from_secs(1);
    bench.world.run_until_idle();
    assert_eq!(bench.ack(0), ["DATA 1 600"]);
}

#[test]
fn a_boot_rom_that_probes_with_tsize_ends_in_peace_and_asks_again() {
    let mut bench = Bench::new();
    assert_eq!(bench.read("huge", "tsize 0"), ["OACK tsize 150000"]);
    assert_eq!(bench.error(8), SILENCE);
    assert_eq!(bench.outcomes(), [Outcome::Aborted(Abort::OptionsProbe)]);
    assert_eq!(bench.read("huge", "blksize 1468"), ["OACK blksize 1468"]);
    assert_eq!(bench.ack(0), ["DATA 1 1468"]);
}

#[test]
fn a_client_that_never_answers_the_oack_gets_the_file_when_it_asks_plainly() {
    for phone in [PHONE, "10.0.0.1:2001"] {
        let mut bench = Bench::new();
        bench.read("two", "blksize 1024");
        bench.wait(500);
        assert_eq!(bench.phone(phone).read("two", ""), ["DATA 1 512"]);
        assert_eq!(bench.ack(1), ["DATA 2 188"]);
        bench.ack(2);
        bench.wait(60_000);
        assert_eq!(bench.outcomes().iter().filter(|end| **end == Outcome::Done).count(), 1);
        assert_eq!(bench.world.counters.transfers_failed.value(), 0);
    }
}

#[test]
fn an_ack_inside_the_window_restarts_it_behind_that_block() {
    let mut bench = Bench::new();
    bench.read("huge", "windowsize 4");
    assert_eq!(bench.ack(0), ["DATA 1 512", "DATA 2 512", "DATA 3 512", "DATA 4 512"]);
    assert_eq!(bench.ack(2), SILENCE);
    assert_eq!(
        bench.wait(10),
        ["1: DATA 3 512", "1: DATA 4 512", "1: DATA 5 512", "1: DATA 6 512"]
    );
    assert_eq!(bench.ack(6).len(), 4);
}

#[test]
fn a_client_that_acknowledges_every_block_of_a_window_is_sent_each_block_once() {
    let mut bench = Bench::new();
    bench.read("huge", "windowsize 4");
    let mut sent = bench.ack(0);
    for number in 1..=292 {
        sent.extend(bench.ack(number));
    }
    assert_eq!(sent.len(), 293);
    assert_eq!(sent[292], "DATA 293 496");
}

#[test]
fn a_gap_at_the_start_of_a_window_is_heard() {
    let mut bench = Bench::new();
    bench.read("huge", "windowsize 4");
    bench.ack(0);
    bench.wait(5);
    bench.ack(4);
    bench.wait(5);
    assert_eq!(bench.ack(4).len(), 4);
}

#[test]
fn a_doubled_ack_of_a_window_causes_no_second_window() {
    let mut bench = Bench::new();
    bench.read("huge", "windowsize 8");
    bench.ack(0);
    bench.ack(8);
    assert_eq!(bench.ack(8), SILENCE);
    assert_eq!(bench.ack(8), SILENCE);
    assert_eq!(bench.ack(16).len(), 8);
}

#[test]
fn a_window_is_never_larger_than_asked_nor_than_allowed() {
    let mut bench = Bench::with(|policy| policy.tftp.limits.windowsize_max = 6);
    assert_eq!(bench.read("huge", "windowsize 3"), ["OACK windowsize 3"]);
    assert_eq!(bench.ack(0).len(), 3);
    bench.phone(OTHER);
    assert_eq!(bench.read("huge", "windowsize 60000"), ["OACK windowsize 6"]);
    assert_eq!(bench.ack(0).len(), 6);
}

#[test]
fn a_read_wraps_to_zero_or_to_one_as_its_client_counts() {
    for (wrap, after) in [(WrapTo::Zero, 0), (WrapTo::One, 1)] {
        let mut bench = Bench::with(|policy| policy.tftp.limits.wrap_to = wrap);
        bench.read("blocks65540", "blksize 8 windowsize 64");
        let mut sent = bench.ack(0);
        let (mut numbers, mut bytes) = (Vec::new(), Vec::<u8>::new());
        while !sent.is_empty() {
            let fresh = &bench.world.sent[bench.seen - sent.len()..];
            for packet in fresh {
                numbers.push(u16::from_be_bytes([packet.bytes[2], packet.bytes[3]]));
                bytes.extend(&packet.bytes[4..]);
            }
            sent = bench.ack(*numbers.last().unwrap());
        }
        assert_eq!(numbers.len(), 65_540);
        assert_eq!(numbers[65_533..65_537], [65_534, 65_535, after, after + 1]);
        assert!(bytes == super::super::model::bytes_of(65_540 * 8 - 3));
        assert_eq!(bench.outcomes(), [Outcome::Done]);
    }
}

#[test]
fn a_write_wraps_to_zero_or_to_one_as_its_client_counts() {
    for (wrap, after) in [(WrapTo::Zero, 0), (WrapTo::One, 1)] {
        let mut bench = Bench::with(|policy| policy.tftp.limits.wrap_to = wrap);
        assert_eq!(bench.write("a.log", "blksize 8"), ["OACK blksize 8"]);
        for number in (1..=65_535).chain([after, after + 1]) {
            assert_eq!(bench.data(number, b"12345678"), [format!("ACK {number}")]);
            // The history of the bench is not part of the test.
            bench.world.sent.clear();
            bench.seen = 0;
        }
        assert_eq!(bench.data(after + 2, b""), [format!("ACK {}", after + 2)]);
        assert_eq!(bench.world.records[0].bytes, 65_537 * 8);
    }
}

#[test]
fn a_client_that_chokes_on_options_is_answered_with_data() {
    let mut bench = Bench::with(|policy| policy.tftp.limits.options = false);
    assert_eq!(bench.read("two", "blksize 1024 tsize 0"), ["DATA 1 512"]);
    assert_eq!(bench.phone(OTHER).write("a.log", "blksize 1024"), ["ACK 0"]);
}

#[test]
fn an_ipv4_phone_inside_ipv6_has_the_limits_of_its_subnet() {
    let mut bench = Bench::with(|policy| {
        let mut limits = policy.tftp.limits;
        limits.blksize_max = 1_300;
        policy.tftp.subnets = vec![("10.0.0.0/24".parse().unwrap(), limits)];
    });
    bench.phone("[::ffff:10.0.0.1]:2000");
    assert_eq!(bench.read("two", "blksize 1468"), ["OACK blksize 1300"]);
}
