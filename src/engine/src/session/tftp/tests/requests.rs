//! Which requests are answered, and how.

use super::*;
use crate::admission::access::{List, NamedList, Range};
use crate::protocol::Protocol;
use crate::session::Refusal;

fn only_net_10(policy: &mut Policy) {
    let list = List::new(Range::parse("10").ok());
    let named = NamedList { name: "list".into(), list };
    policy.access.limit(Protocol::Tftp, std::sync::Arc::new(named));
}

#[test]
fn a_missing_file_is_refused_at_once() {
    let mut bench = Bench::new();
    assert_eq!(bench.read("none", ""), ["ERROR 1"]);
    assert_eq!(bench.outcomes(), [Outcome::Refused(Refusal::NoSuchFile)]);
}

#[test]
fn a_source_outside_the_list_gets_silence_whatever_it_sends() {
    let mut bench = Bench::with(only_net_10);
    bench.phone("11.0.0.1:2000");
    for name in ["two", "none", "../two", ""] {
        assert_eq!(bench.read(name, ""), SILENCE);
        assert_eq!(bench.write(name, ""), SILENCE);
    }
    for packet in [&b"\0\x01abc"[..], b"\0\x04\0\x01", b"\0\x03\0\x01x", b"\0\x09", b""] {
        assert_eq!(bench.tell(PortId(0), packet), SILENCE);
        assert_eq!(bench.tell(PortId(1), packet), SILENCE);
    }
    assert_eq!(bench.open(), 0);
}

#[test]
fn a_source_outside_the_list_gets_the_override_files_and_no_others() {
    let mut bench = Bench::with(only_net_10);
    bench.world.publish([("fxd_upgrade.scr", 90), ("46xxupgrade.scr", 30), ("two", 700)]);
    bench.phone("11.0.0.1:2000");
    assert_eq!(bench.read("46xxupgrade.scr", ""), ["DATA 1 90"]);
    assert_eq!(bench.read("46xxsettings.txt", ""), SILENCE);
    assert_eq!(bench.read("two", ""), SILENCE);
    assert_eq!(bench.phone(PHONE).read("46xxupgrade.scr", ""), ["DATA 1 30"]);
}

#[test]
fn a_request_to_a_broadcast_address_is_dropped_in_silence() {
    let mut bench = Bench::new();
    for requested in [request(1, "two", "octet", ""), request(1, "none", "octet", ""), vec![0, 1]] {
        assert_eq!(bench.broadcast(&requested), SILENCE);
    }
    assert_eq!(bench.world.counters.tftp_broadcast.value(), 2);
}

#[test]
fn a_request_to_a_broadcast_address_is_answered_where_that_is_wanted() {
    let mut bench = Bench::with(|policy| policy.tftp.answer_broadcast = true);
    assert_eq!(bench.broadcast(&request(1, "two", "octet", "")), ["DATA 1 512"]);
}

#[test]
fn a_broken_request_is_told_so_and_other_noise_is_not() {
    let mut bench = Bench::new();
    assert_eq!(bench.tell(PortId(0), b"\0\x01two"), ["ERROR 4"]);
    assert_eq!(bench.tell(PortId(0), b"\0\x07two\0octet\0"), SILENCE);
    assert_eq!(bench.tell(PortId(0), b""), SILENCE);
    assert_eq!(bench.tell(PortId(0), &request(1, "two", "mail", "")), ["ERROR 4"]);
    assert_eq!(bench.read("../two", ""), ["ERROR 2"]);
}

#[test]
fn garbage_behind_a_good_request_is_ignored() {
    let mut bench = Bench::new();
    let mut requested = request(1, "two", "octet", "");
    requested.extend(b"\xff\xfe garbage");
    assert_eq!(bench.tell(PortId(0), &requested), ["DATA 1 512"]);
}

#[test]
fn three_equal_requests_within_milliseconds_are_served_once() {
    let mut bench = Bench::new();
    assert_eq!(bench.read("two", ""), ["DATA 1 512"]);
    bench.wait(2);
    assert_eq!(bench.read("two", ""), SILENCE);
    assert_eq!(bench.read("two", ""), SILENCE);
    assert_eq!(bench.ack(1), ["DATA 2 188"]);
    assert_eq!(bench.ack(2), SILENCE);
    assert_eq!(bench.outcomes(), [Outcome::Done]);
    assert_eq!(bench.world.counters.tftp_repeated_requests.value(), 2);
}

#[test]
fn a_phone_that_restarts_and_asks_again_from_the_same_port_starts_anew() {
    for pool in [0, 4] {
        let mut bench = Bench::made(pool, BudgetLimits::default(), |_| {});
        bench.read("five", "");
        assert_eq!(bench.ack(1), ["DATA 2 512"]);
        bench.world.now = moment(4_000);
        let before = bench.from;
        assert_eq!(bench.read("five", "").last().unwrap(), "DATA 1 512");
        assert_eq!(bench.from == before, pool == 0);
        assert_eq!(bench.open(), 1);
        for (number, next) in [(1, "DATA 2 512"), (2, "DATA 3 512"), (3, "DATA 4 512")] {
            assert_eq!(bench.ack(number), [next]);
        }
        bench.ack(4);
        bench.ack(5);
        assert_eq!(bench.outcomes(), [Outcome::Superseded, Outcome::Done]);
    }
}

#[test]
fn a_phone_that_restarts_within_a_second_is_not_taken_for_an_echo() {
    let mut bench = Bench::new();
    bench.read("five", "");
    bench.wait(1);
    assert_eq!(bench.ack(1), ["DATA 2 512"]);
    bench.wait(10);
    assert_eq!(bench.read("five", ""), SILENCE, "DATA 2 may be on its way still");
    bench.world.now = bench.world.now + Duration::from_millis(700);
    assert_eq!(bench.read("five", "").last().unwrap(), "DATA 1 512");
    assert_eq!(bench.outcomes(), [Outcome::Superseded]);
}

#[test]
fn a_phone_may_ask_for_each_next_file_from_the_same_port() {
    for pool in [0, 4] {
        let mut bench = Bench::made(pool, BudgetLimits::default(), |_| {});
        for name in ["two", "two", "full", "empty", "two"] {
            let mut number = 0;
            let mut next = bench.read(name, "");
            while let Some(packet) = next.pop() {
                number += 1;
                assert!(packet.starts_with(&format!("DATA {number} ")), "{packet}");
                next = bench.ack(number);
            }
        }
        assert_eq!(bench.outcomes(), [Outcome::Done; 5]);
    }
}

#[test]
fn a_last_ack_of_the_file_before_does_no_harm_to_the_next() {
    for pool in [0, 4] {
        let mut bench = Bench::made(pool, BudgetLimits::default(), |_| {});
        bench.read("two", "");
        bench.ack(1);
        let before = bench.from;
        assert_eq!(bench.read("five", ""), ["DATA 1 512"]);
        assert_eq!(bench.last(), ("two".into(), Outcome::DoneUnacknowledged));
        assert_eq!(bench.tell(before, Control::ack(Block(2)).as_bytes()), SILENCE);
        bench.from = bench.world.sent.last().unwrap().port;
        assert_eq!(bench.ack(1), ["DATA 2 512"]);
    }
}

#[test]
fn two_files_in_a_row_never_leave_from_one_port_of_a_pool() {
    let mut bench = Bench::new();
    let mut before = PortId(0);
    for _ in 0..20 {
        bench.read("empty", "");
        assert!(bench.from != before && bench.from != PortId(0));
        before = bench.from;
        bench.ack(1);
    }
}

#[test]
fn with_a_single_port_all_answers_leave_from_the_port_that_was_asked() {
    let mut bench = Bench::made(0, BudgetLimits::default(), |_| {});
    bench.read("two", "blksize 600");
    bench.ack(0);
    bench.ack(1);
    bench.ack(2);
    bench.read("none", "");
    bench.write("a.log", "");
    assert!(bench.world.sent.iter().all(|sent| sent.port == PortId(0)));
}

#[test]
fn every_answer_leaves_from_the_address_that_was_asked() {
    let mut bench = Bench::new();
    bench.read("two", "");
    bench.read("none", "");
    bench.phone(OTHER).ack(9);
    assert_eq!(bench.world.sent.len(), 3);
    assert!(bench.world.sent.iter().all(|sent| sent.from == Some(SERVER)));
}

#[test]
fn a_socket_that_only_answers_takes_no_requests() {
    let mut bench = Bench::new();
    assert_eq!(bench.tell(PortId(2), &request(1, "two", "octet", "")), SILENCE);
    assert_eq!(bench.open(), 0);
}

#[test]
fn a_stopping_server_meets_requests_with_silence_and_ends_what_runs() {
    let mut bench = Bench::new();
    bench.read("two", "");
    bench.world.engine.stop();
    assert_eq!(bench.phone(OTHER).read("two", ""), SILENCE);
    assert_eq!(bench.phone(OTHER).read("none", ""), SILENCE);
    assert_eq!(bench.last(), ("none".into(), Outcome::Refused(Refusal::Stopping)));
    assert_eq!(bench.phone(PHONE).ack(1), ["DATA 2 188"]);
    bench.ack(2);
    assert_eq!(bench.last(), ("two".into(), Outcome::Done));
}

#[test]
fn a_server_that_stops_for_good_tells_each_phone() {
    let mut bench = Bench::new();
    bench.read("two", "");
    bench.phone(OTHER).write("a.log", "");
    bench.world.turn(|engine, turn| engine.abandon(turn));
    assert_eq!(bench.run_until_idle(), ["ERROR 0", "ERROR 0"]);
    assert_eq!(bench.open(), 0);
}

#[test]
fn the_loader_s_faults_become_what_a_phone_can_act_on() {
    let answers: [(u8, &[&str]); 5] =
        [(1, &["ERROR 1"]), (2, &["ERROR 0"]), (3, &["ERROR 0"]), (4, &["ERROR 2"]), (5, &[])];
    for (fault, expected) in answers {
        let mut bench = Bench::new();
        bench.answers = false;
        assert_eq!(bench.read("two", ""), SILENCE);
        assert_eq!(bench.answer(fault), expected, "{fault}");
        assert_eq!(bench.open(), 0);
    }
}

#[test]
fn a_phone_that_asks_again_while_its_file_is_loaded_is_not_loaded_for_twice() {
    let mut bench = Bench::new();
    bench.answers = false;
    bench.read("two", "");
    bench.read("two", "");
    assert_eq!(bench.world.store_requests.len(), 1);
    assert_eq!(bench.answer(0), ["DATA 1 512"]);
}

#[test]
fn the_acknowledgement_of_an_error_wedges_nothing() {
    let mut bench = Bench::new();
    bench.read("none", "");
    bench.ack(0);
    bench.ack(1);
    bench.error(1);
    assert_eq!(bench.read("two", ""), ["DATA 1 512"]);
    assert_eq!(bench.ack(1), ["DATA 2 188"]);
}

#[test]
fn an_error_is_never_answered() {
    let mut bench = Bench::new();
    for port in 0..4 {
        assert_eq!(bench.tell(PortId(port), b"\0\x05\0\x00x\0"), SILENCE);
    }
}
