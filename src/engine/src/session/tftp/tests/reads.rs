//! Files sent to a phone, one block at a time.

use std::sync::Arc;

use super::*;
use crate::catalog::Form;
use crate::catalog::blob::{Blob, Version};
use crate::requests::StoreReply;
use crate::session::tftp::rto::RTO_MIN;
use crate::session::tftp::{SendFault, SendQueue};
use crate::session::{Abort, Failure};
use wire::name::FileName;

#[test]
fn a_file_that_fills_its_last_block_ends_with_an_empty_one() {
    let mut bench = Bench::new();
    assert_eq!(bench.read("full", ""), ["DATA 1 512"]);
    assert_eq!(bench.ack(1), ["DATA 2 0"]);
    assert_eq!(bench.ack(2), SILENCE);
    assert_eq!(bench.read("empty", ""), ["DATA 1 0"]);
    bench.ack(1);
    assert_eq!(bench.outcomes(), [Outcome::Done, Outcome::Done]);
}

#[test]
fn a_packet_from_an_unknown_port_gets_error_5_and_does_no_harm() {
    let mut bench = Bench::new();
    bench.read("two", "");
    let from = bench.from;
    for (stranger, packet) in [
        ("10.0.0.1:2001", Control::ack(Block(1)).as_bytes().to_vec()),
        ("10.0.0.2:2000", data(1, b"x")),
    ] {
        bench.phone(stranger);
        assert_eq!(bench.tell(from, &packet), ["ERROR 5"]);
    }
    bench.phone(PHONE);
    assert_eq!(bench.ack(1), ["DATA 2 188"]);
    bench.ack(2);
    assert_eq!(bench.outcomes(), [Outcome::Done]);
}

#[test]
fn a_late_packet_of_a_past_transfer_is_not_answered() {
    let mut bench = Bench::new();
    bench.read("empty", "");
    assert_eq!(bench.ack(1), SILENCE);
    assert_eq!(bench.ack(1), SILENCE);
    bench.wait(20_000);
    assert_eq!(bench.ack(1), ["ERROR 5"]);
}

#[test]
fn errors_and_acks_count_only_from_the_exact_ports_and_address() {
    let mut bench = Bench::new();
    bench.read("five", "");
    let from = bench.from;
    let others = (0..5).map(PortId).filter(|port| *port != from);
    for port in others {
        assert_eq!(bench.tell(port, Control::ack(Block(1)).as_bytes()), SILENCE);
        assert_eq!(bench.tell(port, Control::error(ErrorCode(0), "").as_bytes()), SILENCE);
    }
    for forger in ["10.0.0.1:2001", "10.0.0.9:2000"] {
        bench.phone(forger);
        bench.tell(from, Control::error(ErrorCode(0), "").as_bytes());
    }
    let to = Some("10.0.0.251".parse().unwrap());
    let (peer, ack) = (at(PHONE), Control::ack(Block(1)));
    let bytes = ack.as_bytes();
    let datagram = Datagram { port: from, peer, to, from: to, interface: 0, bytes };
    bench.world.turn(|engine, turn| engine.handle_datagram(datagram, turn));
    bench.phone(PHONE).from = from;
    assert_eq!(bench.run_until_idle(), SILENCE);
    assert_eq!(bench.ack(1), ["DATA 2 512"]);
}

#[test]
fn an_ack_of_what_was_never_sent_is_ignored() {
    let mut bench = Bench::new();
    bench.read("five", "");
    for absurd in [2, 3, 5, 99, 32_768, 65_535] {
        assert_eq!(bench.ack(absurd), SILENCE);
    }
    assert_eq!(bench.world.engine.transfers_half_open(), 1);
    assert_eq!(bench.ack(1), ["DATA 2 512"]);
    for past in [0, 65_535, 4] {
        assert_eq!(bench.ack(past), SILENCE);
    }
    assert_eq!(bench.ack(2), ["DATA 3 512"]);
}

#[test]
fn a_doubled_ack_never_causes_a_second_data() {
    let mut bench = Bench::new();
    bench.read("five", "");
    for number in 1..4 {
        assert_eq!(bench.ack(number).len(), 1);
        assert_eq!(bench.ack(number), SILENCE);
        assert_eq!(bench.ack(number), SILENCE);
    }
    assert_eq!(bench.world.counters.tftp_blocks_resent.value(), 0);
}

#[test]
fn an_ack_repeated_after_a_while_asks_for_one_resend() {
    let mut bench = Bench::new();
    bench.read("five", "");
    bench.wait(4);
    assert_eq!(bench.ack(1), ["DATA 2 512"]);
    // The phone's own timer is as fast as the server's.
    bench.world.now = bench.world.now + RTO_MIN;
    let before = bench.world.counters.tftp_blocks_resent.value();
    let resent = bench.ack(1);
    assert_eq!(resent, ["DATA 2 512"]);
    assert_eq!(bench.ack(1), SILENCE);
    assert_eq!(bench.world.counters.tftp_blocks_resent.value(), before + 1);
    assert_eq!(bench.ack(2), ["DATA 3 512"]);
}

#[test]
fn each_silence_doubles_the_wait_for_a_phone_that_has_answered() {
    let mut bench = Bench::with(|policy| {
        policy.tftp.limits.silence_max = Duration::from_secs(60);
    });
    bench.read("five", "");
    bench.wait(100);
    bench.ack(1);
    let moments: Vec<u64> = bench
        .wait(20_000)
        .iter()
        .map(|packet| packet.split_once(':').unwrap().0.parse().unwrap())
        .collect();
    let gaps: Vec<u64> = moments.windows(2).map(|two| two[1] - two[0]).collect();
    assert!(gaps.len() >= 4, "{moments:?}");
    assert!(gaps.windows(2).all(|two| two[1] == two[0] * 2 || two[1] == 8_000), "{gaps:?}");
}

#[test]
fn a_phone_that_has_never_answered_is_sent_three_packets_at_most() {
    for options in ["", "blksize 1024"] {
        let mut bench = Bench::new();
        assert_eq!(bench.read("five", options).len(), 1);
        let again = bench.wait(60_000);
        let moments: Vec<&str> = again.iter().map(|packet| &packet[..5]).collect();
        assert_eq!(moments, ["1000:", "3000:"]);
        assert_eq!(bench.open(), 0);
        assert_eq!(bench.outcomes(), [Outcome::TimedOut]);
    }
}

#[test]
fn a_phone_that_is_slow_to_answer_is_not_given_up_because_its_neighbour_was_fast() {
    let mut bench = Bench::new();
    bench.phone("10.0.0.7:2000").read("empty", "");
    bench.wait(1);
    bench.ack(1);
    bench.phone(PHONE).read("two", "");
    assert_eq!(bench.wait(4_000).len(), 2);
    assert_eq!(bench.ack(1), ["DATA 2 188"]);
}

#[test]
fn a_phone_that_never_sends_its_last_ack_is_done() {
    let mut bench = Bench::new();
    bench.read("two", "");
    bench.ack(1);
    bench.wait(120_000);
    assert_eq!(bench.outcomes(), [Outcome::DoneUnacknowledged]);
    assert_eq!(bench.open(), 0);
}

#[test]
fn a_phone_that_drops_the_file_after_its_header_is_no_failure_where_its_make_does_so() {
    for (name, listed) in [("440hd.img", true), ("huge", false)] {
        let mut bench = Bench::new();
        bench.read(name, "");
        bench.ack(1);
        assert_eq!(bench.error(0), SILENCE);
        let header = Outcome::Aborted(Abort::HeaderRead);
        let expected = if listed { header } else { Outcome::Aborted(Abort::ByPhone(0)) };
        assert_eq!(bench.last(), (name.into(), expected));
        bench.read(name, "");
        bench.ack(1);
        bench.wait(60_000);
        assert_eq!(bench.last(), (name.into(), if listed { header } else { Outcome::TimedOut }));
        assert_eq!(bench.world.counters.transfers_failed.value(), 0);
    }
}

#[test]
fn a_phone_s_own_reason_is_told_with_code_and_text_and_the_bytes_that_it_has() {
    for (code, text) in [(0, "signature check failed"), (2, "no\nroom\u{1b}[2J"), (4, "")] {
        let mut bench = Bench::new();
        bench.read("440hd.img", "");
        (1..20).for_each(|number| drop(bench.ack(number)));
        let error = Control::error(ErrorCode(code), text);
        bench.tell(bench.from, error.as_bytes());
        let record = bench.world.records.last().unwrap();
        assert_eq!(record.outcome, Outcome::Aborted(Abort::ByPhone(code)));
        assert_eq!(record.words.as_deref().unwrap_or_default(), text.as_bytes());
        assert_eq!((record.bytes, record.of_bytes), (19 * 512, Some(150_000)));
    }
}

#[test]
fn what_a_phone_says_of_a_file_that_it_has_whole_is_told_once() {
    let mut bench = Bench::new();
    bench.read("two", "");
    bench.ack(1);
    bench.ack(2);
    assert_eq!(bench.outcomes(), [Outcome::Done]);
    let (empty, error) = (Control::error(ErrorCode(0), ""), Control::error(ErrorCode(0), "bad"));
    bench.tell(bench.from, empty.as_bytes());
    assert_eq!(bench.outcomes().len(), 1, "no text, no record");
    bench.tell(bench.from, error.as_bytes());
    bench.tell(bench.from, error.as_bytes());
    assert_eq!(bench.outcomes()[1..], [Outcome::Aborted(Abort::ByPhone(0))]);
    let record = bench.world.records.last().unwrap();
    assert_eq!(record.words.as_deref(), Some(&b"bad"[..]));
    assert_eq!(Some(record.bytes), record.of_bytes);
}

#[test]
fn a_phone_s_words_are_cut_to_what_a_line_holds() {
    let mut bench = Bench::new();
    bench.read("huge", "");
    bench.ack(1);
    let error = [b"\0\x05\0\0", &[b'x'; 500][..], b"\0"].concat();
    bench.tell(bench.from, &error);
    let words = bench.world.records.last().unwrap().words.clone();
    assert_eq!(words.unwrap().len(), crate::session::WORDS_BYTES_MAX);
}

#[test]
fn a_boot_rom_that_ends_its_probe_with_a_text_ends_in_peace() {
    let mut bench = Bench::new();
    bench.read("huge", "tsize 0");
    let error = Control::error(ErrorCode::UNDEFINED, "TFTP Aborted");
    bench.tell(bench.from, error.as_bytes());
    assert_eq!(bench.outcomes(), [Outcome::Aborted(Abort::OptionsProbe)]);
    bench.read("huge", "tsize 0");
    bench.ack(0);
    bench.ack(1);
    bench.tell(bench.from, error.as_bytes());
    assert_eq!(bench.outcomes()[1], Outcome::Aborted(Abort::ByPhone(0)));
}

#[test]
fn a_board_that_loses_every_first_data_gets_each_twice() {
    let mut bench = Bench::with(|policy| {
        policy.tftp.limits.second_copy_after = Duration::from_millis(1);
    });
    assert_eq!(bench.read("two", ""), ["DATA 1 512"]);
    assert_eq!(bench.wait(20), ["1: DATA 1 512"]);
    assert_eq!(bench.ack(1), ["DATA 2 188"]);
    assert_eq!(bench.wait(20), ["1: DATA 2 188"]);
    assert_eq!(bench.ack(2), SILENCE);
    assert_eq!(bench.outcomes(), [Outcome::Done]);
}

#[test]
fn a_file_changed_under_a_transfer_ends_it_with_an_error() {
    let mut bench = Bench::new();
    bench.read("five", "");
    kept(&bench, "five").mark_stale();
    assert_eq!(bench.ack(1), ["ERROR 0"]);
    assert_eq!(bench.outcomes(), [Outcome::Failed(Failure::FileChanged)]);
    assert_eq!(bench.read("five", ""), ["DATA 1 512"]);
}

#[test]
fn a_file_changed_after_its_last_block_was_acknowledged_fails_nobody() {
    let mut bench = Bench::new();
    bench.read("two", "");
    bench.ack(1);
    kept(&bench, "two").mark_stale();
    assert_eq!(bench.ack(2), SILENCE);
    assert_eq!(bench.outcomes(), [Outcome::Done]);
}

#[test]
fn a_mapped_file_cut_short_ends_its_transfer_with_an_error() {
    let mut bench = Bench::new();
    bench.read("five", "");
    let ack = Control::ack(Block(1));
    bench.world.deliver(bench.phone, bench.from, ack.as_bytes());
    let (port, fault) = (bench.from, SendFault::FileCut);
    bench.world.turn(|engine, turn| engine.handle_send_fault(port, SendQueue::Prompt, fault, turn));
    assert_eq!(bench.run_until_idle(), ["ERROR 0"]);
    assert_eq!(bench.outcomes(), [Outcome::Failed(Failure::FileChanged)]);
}

#[test]
fn a_send_that_the_kernel_refuses_is_lost_and_not_the_end_of_a_transfer() {
    let mut bench = Bench::new();
    bench.read("five", "");
    let ack = Control::ack(Block(1));
    bench.world.deliver(bench.phone, bench.from, ack.as_bytes());
    let (port, fault) = (bench.from, SendFault::Refused);
    bench.world.turn(|engine, turn| engine.handle_send_fault(port, SendQueue::Prompt, fault, turn));
    assert_eq!(bench.run_until_idle(), SILENCE);
    let resent = format!("{}: DATA 2 512", RTO_MIN.as_millis());
    assert_eq!(bench.wait(80), [resent]);
    assert_eq!(bench.ack(2), ["DATA 3 512"]);
}

#[test]
fn the_last_block_of_a_mapped_file_waits_until_the_file_was_looked_at() {
    let (mut bench, blob) = mapped(1_200);
    assert_eq!(bench.read("five", ""), ["DATA 1 512"]);
    assert_eq!(bench.ack(1), ["DATA 2 512"]);
    assert_eq!(bench.ack(2), SILENCE);
    assert_eq!(bench.answer(0), ["DATA 3 176"]);
    bench.ack(3);
    assert_eq!(bench.outcomes(), [Outcome::Done]);
    assert!(!blob.is_stale());
}

#[test]
fn the_last_block_of_a_mapped_file_that_changed_never_leaves() {
    let (mut bench, _blob) = mapped(1_200);
    bench.read("five", "");
    bench.ack(1);
    assert_eq!(bench.ack(2), SILENCE);
    assert_eq!(bench.answer(1), ["ERROR 0"]);
    assert_eq!(bench.outcomes(), [Outcome::Failed(Failure::FileChanged)]);
}

#[test]
fn a_look_at_the_file_does_not_speak_for_blocks_sent_again_after_it() {
    let (mut bench, _blob) = mapped(1_200);
    bench.read("five", "");
    bench.ack(1);
    assert_eq!(bench.world.store_requests.len(), 1);
    assert_eq!(bench.wait(60).len(), 1, "block 2 again");
    assert_eq!(bench.answer(0), SILENCE);
    assert_eq!(bench.ack(2), SILENCE);
    assert_eq!(bench.answer(0), ["DATA 3 176"]);
}

#[test]
fn a_loader_without_room_to_look_at_a_file_delays_its_last_block_and_no_more() {
    let (mut bench, _blob) = mapped(1_200);
    bench.read("five", "");
    bench.ack(1);
    bench.ack(2);
    for _ in 0..3 {
        let request = bench.world.store_requests.remove(0);
        bench.world.turn(|engine, turn| engine.handle_refused(request, turn));
        assert_eq!(bench.wait(400), SILENCE);
        assert_eq!(bench.world.store_requests.len(), 1);
    }
    assert_eq!(bench.answer(0), ["DATA 3 176"]);
    bench.ack(3);
    assert_eq!(bench.outcomes(), [Outcome::Done]);
}

/// Makes a bench in which `five` is a mapped file of this size.
fn mapped(bytes: usize) -> (Bench, Arc<Blob>) {
    let mut bench = Bench::new();
    bench.answers = false;
    bench.world.publish([("five", bytes as u64)]);
    let version = Version { bytes: bytes as u64, ..Version::default() };
    let blob = Arc::new(Blob::as_if_mapped(vec![7; bytes].into(), version));
    let name = FileName::parse(b"five").unwrap();
    let entry = bench.world.snapshot.catalog.find(&[RootId(0)], &name).unwrap();
    entry.keep(Form::Octet, Some(Arc::clone(&blob)));
    (bench, blob)
}

fn kept(bench: &Bench, name: &str) -> Arc<Blob> {
    let name = FileName::parse(name.as_bytes()).unwrap();
    bench.world.snapshot.catalog.find(&[RootId(0)], &name).unwrap().blob(Form::Octet).unwrap()
}

#[test]
fn an_answer_for_a_transfer_that_has_ended_changes_nothing() {
    let mut bench = Bench::new();
    bench.answers = false;
    bench.read("two", "");
    bench.read("five", "");
    let store_requests = std::mem::take(&mut bench.world.store_requests);
    assert_eq!(store_requests.len(), 2);
    for request in store_requests {
        bench.world.answer(request, 0);
    }
    assert_eq!(bench.run_until_idle(), ["DATA 1 512"]);
    let ticket = crate::ticket::Ticket::made_up(u64::MAX);
    let answer = StoreReply::Verified { ticket, unchanged: false };
    bench.world.turn(|engine, turn| engine.handle_store_reply(answer, turn));
    assert_eq!(bench.open(), 1);
}
