//! Limits: slots, pools, budgets, rate limits.

use super::*;
use crate::admission::slots::{IdlePlace, Overflow};
use crate::session::Refusal;

fn one_client(overflow: Overflow) -> Bench {
    Bench::with(|policy| {
        policy.slots.clients_max = 1;
        policy.slots.idle_place = IdlePlace::Keep;
        policy.slots.hold = Duration::from_secs(1);
        policy.slots.overflow = overflow;
    })
}

#[test]
fn a_phone_beyond_the_limit_waits_and_is_served_when_a_slot_frees() {
    let mut bench = one_client(Overflow::Queue);
    bench.read("empty", "");
    bench.ack(1);
    assert_eq!(bench.phone(OTHER).read("two", ""), SILENCE);
    assert_eq!(bench.wait(1_400), ["1000: DATA 1 512"]);
}

#[test]
fn a_phone_that_waits_in_vain_meets_silence() {
    let mut bench = one_client(Overflow::Queue);
    bench.read("two", "");
    bench.phone(OTHER).read("two", "");
    bench.phone(PHONE);
    bench.world.now = moment(1_900);
    bench.ack(1);
    bench.phone(OTHER);
    let heard = bench.wait(1_700);
    assert!(heard.iter().all(|packet| !packet.contains("ERROR")), "{heard:?}");
    assert_eq!(bench.last(), ("two".into(), Outcome::Refused(Refusal::NoSlot)));
    assert_eq!(bench.open(), 1);
}

#[test]
fn a_phone_that_asks_again_while_it_waits_waits_once() {
    let mut bench = one_client(Overflow::Queue);
    bench.read("two", "");
    bench.phone(OTHER);
    for _ in 0..3 {
        assert_eq!(bench.read("two", ""), SILENCE);
    }
    assert_eq!(bench.world.admission.slots.waiting(), 1);
    assert_eq!(bench.open(), 2);
}

#[test]
fn a_phone_beyond_the_limit_is_refused_or_dropped_where_that_is_wanted() {
    let mut bench = one_client(Overflow::Refuse);
    bench.read("two", "");
    assert_eq!(bench.phone(OTHER).read("two", ""), ["ERROR 0"]);
    assert_eq!(bench.open(), 1);
    let mut bench = one_client(Overflow::Drop);
    bench.read("two", "");
    assert_eq!(bench.phone(OTHER).read("two", ""), SILENCE);
    assert_eq!(bench.open(), 1);
}

#[test]
fn a_phone_that_has_begun_gets_its_next_files_while_others_wait() {
    let mut bench = one_client(Overflow::Queue);
    bench.read("empty", "");
    bench.ack(1);
    bench.phone("10.0.0.9:1").read("two", "");
    assert_eq!(bench.phone("10.0.0.1:2001").read("two", ""), ["DATA 1 512"]);
}

/// One phone is served at once; the places of idle ones are lent.
fn one_lent(policy: &mut Policy) {
    policy.slots.clients_max = 1;
    policy.slots.hold = Duration::from_secs(60);
}

#[test]
fn an_idle_phone_lends_its_place_at_once_and_goes_first_when_it_asks_again() {
    let mut bench = Bench::with(one_lent);
    bench.read("empty", "");
    bench.ack(1);
    assert_eq!(bench.phone(OTHER).read("two", ""), ["DATA 1 512"]);
    assert_eq!(bench.ack(1), ["DATA 2 188"]);
    assert_eq!(bench.phone("10.0.0.9:1").read("empty", ""), SILENCE);
    assert_eq!(bench.phone("10.0.0.1:2001").read("two", ""), SILENCE, "nobody is interrupted");
    bench.phone(OTHER).ack(2);
    assert_eq!(bench.world.admission.slots.waiting(), 1);
    assert_eq!(bench.phone("10.0.0.1:2001").ack(1), ["DATA 2 188"], "it began first");
}

#[test]
fn a_phone_that_does_not_answer_has_its_place_for_a_moment_and_its_transfer_goes_on() {
    let mut bench = Bench::with(one_lent);
    bench.read("two", "");
    assert_eq!(bench.phone(OTHER).read("empty", ""), SILENCE);
    bench.wait(399);
    assert_eq!(bench.world.admission.slots.waiting(), 1);
    bench.wait(2);
    assert_eq!(bench.world.admission.slots.waiting(), 0);
    assert_eq!(bench.open(), 2);
    // It answers after all: it is served on, beyond the limit.
    assert_eq!(bench.phone(PHONE).ack(1), ["DATA 2 188"]);
    assert_eq!(bench.world.admission.slots.used_here(), 2);
}

#[test]
fn a_phone_that_has_never_answered_leaves_nothing_behind() {
    for idle_place in [IdlePlace::Lend, IdlePlace::Keep] {
        let mut bench = Bench::with(|policy| {
            one_lent(policy);
            policy.slots.idle_place = idle_place;
        });
        bench.read("two", "");
        bench.wait(20_000);
        assert_eq!(bench.open(), 0);
        let slots = &bench.world.admission.slots;
        assert_eq!((slots.used_here(), slots.lent_here()), (0, 0));
    }
}

#[test]
fn a_phone_that_asks_again_after_it_has_waited_in_vain_keeps_its_rank() {
    let mut bench = Bench::with(|policy| {
        one_lent(policy);
        policy.slots.idle_place = IdlePlace::Keep;
        policy.slots.hold = Duration::from_secs(5);
    });
    bench.read("empty", "");
    bench.ack(1);
    bench.phone("10.0.0.8:1").read("two", "");
    bench.wait(1_510);
    bench.phone("10.0.0.9:1").read("two", "");
    bench.wait(100);
    bench.phone("10.0.0.8:1").read("two", "");
    bench.wait(1_400);
    bench.phone("10.0.0.9:1").read("two", "");
    bench.wait(100);
    bench.phone("10.0.0.8:1").read("two", "");
    bench.wait(1_450);
    bench.phone("10.0.0.9:1").read("two", "");
    bench.phone("10.0.0.8:1").read("two", "");
    bench.wait(1_000);
    assert_eq!(bench.phone("10.0.0.8:1").ack(1), ["DATA 2 188"]);
}

#[test]
fn a_request_that_was_repeated_just_before_its_wait_ended_does_not_begin_anew() {
    let mut bench = Bench::with(|policy| {
        one_lent(policy);
        policy.slots.idle_place = IdlePlace::Keep;
        policy.slots.hold = Duration::from_secs(2);
    });
    bench.read("empty", "");
    bench.ack(1);
    bench.wait(600);
    bench.phone(OTHER).read("two", "");
    bench.wait(1_405);
    assert_eq!(bench.ack(1), ["DATA 2 188"]);
    assert_eq!(bench.read("two", ""), SILENCE, "it crossed the first block");
    bench.ack(2);
    assert_eq!(bench.last(), ("two".into(), Outcome::Done));
}

#[test]
fn a_name_that_does_not_exist_renews_the_hold() {
    let mut bench = one_client(Overflow::Refuse);
    bench.read("empty", "");
    bench.ack(1);
    bench.wait(900);
    bench.phone("10.0.0.1:2001").read("none", "");
    bench.wait(900);
    assert_eq!(bench.phone(OTHER).read("two", ""), ["ERROR 0"]);
    bench.wait(200);
    assert_eq!(bench.phone(OTHER).read("two", ""), ["DATA 1 512"]);
}

#[test]
fn the_servers_own_host_is_served_before_all_others() {
    let mut bench = Bench::with(|policy| policy.slots.clients_max = 1);
    bench.read("two", "");
    assert_eq!(bench.phone(OTHER).read("two", ""), SILENCE);
    assert_eq!(bench.phone("127.0.0.1:2000").read("two", ""), ["DATA 1 512"]);
    assert_eq!(bench.phone("127.0.0.2:2000").read("two", ""), SILENCE);
}

#[test]
fn one_transfer_more_than_allowed_meets_silence() {
    let mut bench = Bench::with(|policy| policy.tftp.transfers_max = 2);
    bench.read("two", "");
    bench.phone("10.0.0.1:2001").read("two", "");
    assert_eq!(bench.phone(OTHER).read("two", ""), SILENCE);
    assert_eq!(bench.last(), ("two".into(), Outcome::Refused(Refusal::TooManyTransfers)));
    assert_eq!(bench.phone(PHONE).ack(1), ["DATA 2 188"]);
    bench.ack(2);
    assert_eq!(bench.phone(OTHER).read("two", ""), ["DATA 1 512"]);
}

#[test]
fn the_half_open_pool_is_bounded_and_loses_its_oldest_first() {
    let mut bench = Bench::with(|policy| policy.tftp.half_open_max = 3);
    bench.phone("10.0.9.9:9").read("two", "");
    bench.ack(1);
    for port in 2_000..2_010 {
        bench.phone(&format!("10.0.0.1:{port}")).read("two", "");
        assert!(bench.world.engine.transfers_half_open() <= 3);
    }
    assert_eq!(bench.world.counters.tftp_half_open_evicted.value(), 7);
    assert_eq!(bench.phone("10.0.0.1:2006").ack(1), SILENCE);
    assert_eq!(bench.phone("10.0.0.1:2007").ack(1), ["DATA 2 188"]);
    assert_eq!(bench.phone("10.0.9.9:9").ack(2), SILENCE);
    assert_eq!(bench.last(), ("two".into(), Outcome::Done));
}

#[test]
fn the_half_open_pool_s_queue_does_not_grow_with_phones_that_answer() {
    let mut bench = Bench::with(|policy| policy.tftp.half_open_max = 3);
    for port in 2_000..2_500 {
        bench.phone(&format!("10.0.0.1:{port}")).read("empty", "");
        bench.ack(1);
    }
    assert!(bench.world.engine.half_open.queue.len() <= 2 * 3 + 65);
}

#[test]
fn phones_of_a_subnet_that_never_answer_get_its_budget_and_no_more() {
    let budget = BudgetLimits { capacity_sends: 6, refill_sends_per_second: 1 };
    let mut bench = Bench::made(4, budget, |_| {});
    let sent: usize =
        (1..30).map(|host| bench.phone(&format!("10.0.0.{host}:5")).read("two", "").len()).sum();
    assert_eq!(sent, 6);
    assert_eq!(bench.phone(OTHER).read("two", ""), ["DATA 1 512"]);
    assert!(bench.world.counters.tftp_budget_spent.value() > 0);
}

#[test]
fn phones_that_answer_do_not_use_their_subnet_s_budget_up() {
    let budget = BudgetLimits { capacity_sends: 2, refill_sends_per_second: 1 };
    let mut bench = Bench::made(4, budget, |_| {});
    for host in 1..50 {
        bench.phone(&format!("10.0.0.{host}:5"));
        assert_eq!(bench.read("two", ""), ["DATA 1 512"]);
        assert_eq!(bench.ack(1), ["DATA 2 188"]);
    }
}

#[test]
fn pacing_delays_and_loses_nothing() {
    let mut bench = Bench::with(|policy| policy.tftp.limits.phone_bytes_per_second = 50_000);
    let began = bench.world.now;
    let (mut number, mut sent) = (0, bench.read("huge", "blksize 1000"));
    assert_eq!(sent, ["OACK blksize 1000"]);
    loop {
        sent = bench.ack(number);
        for _ in 0..1_000 {
            if !sent.is_empty() || bench.open() == 0 {
                break;
            }
            sent = bench.wait(1);
        }
        if bench.open() == 0 {
            break;
        }
        number += 1;
        assert_eq!(sent.len(), 1, "{sent:?}");
        assert!(sent[0].contains(&format!("DATA {number} ")), "{sent:?}");
    }
    assert_eq!(number, 151);
    assert_eq!(bench.world.counters.tftp_blocks_resent.value(), 0);
    let took = bench.world.now.since(began);
    assert!(took >= Duration::from_millis(2_700), "{took:?}");
    assert!(took <= Duration::from_millis(3_500), "{took:?}");
}

#[test]
fn a_reload_that_lifts_the_limit_serves_who_waits() {
    let mut bench = one_client(Overflow::Queue);
    bench.read("two", "");
    bench.phone(OTHER).read("two", "");
    bench.world.reload(|policy| policy.slots.clients_max = 0);
    bench.world.run_until_idle();
    assert_eq!(bench.run_until_idle(), ["DATA 1 512"]);
}

#[test]
fn names_that_do_not_exist_are_answered_at_the_second_request_and_then_not_at_all() {
    let mut bench = Bench::with(|policy| policy.guesses.misses_max = 8);
    let name = |mac: u32| format!("SEP0004F200000{mac}.cnf.xml");
    for mac in 0..7 {
        assert_eq!(bench.read(&name(mac), "").len(), 1);
    }
    assert!(bench.read(&name(7), "").is_empty());
    assert_eq!(bench.read(&name(7), "").len(), 1, "a phone asks again");
    for mac in 8..10 {
        assert!(bench.read(&name(mac), "").is_empty());
        assert!(bench.read(&name(mac), "").is_empty());
    }
    assert_eq!(bench.read("two", "").len(), 1, "common files are for every client");
    let counters = &bench.world.counters;
    assert_eq!((counters.misses_delayed.value(), counters.misses_refused.value()), (1, 4));
}
