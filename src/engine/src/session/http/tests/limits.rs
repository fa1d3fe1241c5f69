//! Limits: connections, time, speed, session slots.

use super::*;
use crate::admission::slots::{IdlePlace, Overflow};
use crate::protocol::Protocol;
use crate::session::{Handshake, Refusal, Stall};

#[test]
fn one_connection_too_many_of_all_is_closed_at_once() {
    let mut bench = Bench::with(|policy| policy.http.limits.connections_max = 2);
    bench.connect(OTHER);
    assert!(bench.world.connect("10.0.0.9:1".parse().unwrap(), false).is_none());
    assert_eq!(bench.world.counters.stream_refused.value(), 1);
    bench.world.run_until_idle();
    assert_eq!(bench.outcomes(), [Outcome::Refused(Refusal::TooManyConnections)]);
    bench.world.reset(bench.id);
    assert!(bench.world.connect("10.0.0.9:1".parse().unwrap(), false).is_some());
}

#[test]
fn one_connection_too_many_of_an_address_is_closed_at_once() {
    let mut bench = Bench::with(|policy| policy.http.limits.per_address_max = 2);
    bench.connect("10.0.0.1:2001");
    assert!(bench.world.connect("10.0.0.1:2002".parse().unwrap(), false).is_none());
    assert!(bench.world.connect(OTHER.parse().unwrap(), false).is_some());
    bench.world.reset(bench.id);
    assert!(bench.world.connect("10.0.0.1:2003".parse().unwrap(), false).is_some());
}

#[test]
fn a_phone_that_asks_nothing_is_closed_in_time_without_a_word() {
    let mut bench = Bench::new();
    bench.wait(9_900);
    assert!(bench.is_open());
    bench.wait(200);
    assert!(!bench.is_open());
    assert_eq!(bench.raw(), b"");
    assert!(bench.outcomes().is_empty(), "nothing was asked, nothing is logged");
    assert_eq!(bench.world.counters.stream_idle_closed.value(), 1);
}

#[test]
fn between_two_requests_there_is_more_time() {
    let mut bench = Bench::new();
    bench.get("/a.txt");
    bench.wait(59_900);
    assert_eq!(bench.get("/a.txt").status, 200);
    bench.wait(60_100);
    assert!(!bench.is_open());
}

#[test]
fn a_head_that_comes_too_slowly_is_refused_however_steadily_it_comes() {
    let mut bench = Bench::new();
    let head = head("GET /a.txt", &["X: a long line that takes its time"]);
    for byte in &head[..30] {
        bench.send(&[*byte]);
        bench.wait(400);
    }
    let reply = bench.one(false);
    assert!(reply.status == 408 && reply.is_last() && bench.is_shut());
    assert_eq!(bench.world.counters.stream_too_slow.value(), 1);
    bench.wait(5_100);
    assert!(!bench.is_open());
    assert_eq!(bench.outcomes(), [Outcome::Refused(Refusal::TooSlow)]);
}

#[test]
fn the_time_for_a_later_head_begins_with_its_first_byte() {
    let mut bench = Bench::new();
    bench.get("/a.txt");
    bench.wait(30_000);
    bench.send(b"GET /a.txt HTTP/1.1\r\n");
    bench.wait(9_900);
    bench.send(b"Host: x\r\n\r\n");
    assert_eq!(bench.statuses(), [200]);
    bench.send(b"GET /a.txt HTTP/1.1\r\n");
    bench.wait(10_100);
    assert_eq!(bench.statuses(), [408]);
}

#[test]
fn a_refusal_of_half_a_request_has_its_body_though_the_last_request_was_head() {
    let mut bench = Bench::new();
    bench.ask("HEAD /a.txt");
    bench.send(b"GET");
    bench.wait(10_100);
    let reply = bench.one(false);
    assert!(reply.status == 408 && reply.is_whole && !reply.body.is_empty(), "{reply:?}");
    bench.connect(PHONE).ask("HEAD /a.txt");
    bench.send(b"NO\r\n\r\n");
    let reply = bench.one(false);
    assert!(reply.status == 400 && reply.is_whole && !reply.body.is_empty(), "{reply:?}");
}

#[test]
fn a_body_of_one_byte_a_second_is_not_waited_for() {
    let mut bench = Bench::new();
    bench.send(&head("PUT /1_96xxdata.txt", &["Content-Length: 5000"]));
    for _ in 0..70 {
        bench.send(b"x");
        bench.wait(1_000);
    }
    assert_eq!(bench.statuses(), [408]);
    assert_eq!(bench.last().outcome, Outcome::Refused(Refusal::TooSlow));
    assert_eq!(bench.world.engine.bodies_held(), 0);
}

#[test]
fn a_body_that_is_as_fast_as_it_must_be_may_take_its_time() {
    let mut bench = Bench::new();
    bench.send(&head("PUT /1_96xxdata.txt", &["Content-Length: 5000"]));
    for _ in 0..50 {
        bench.send(&[b'x'; 100]);
        bench.wait(390);
    }
    assert_eq!(bench.statuses(), [201]);
}

#[test]
fn the_time_that_a_body_had_to_wait_for_its_slot_is_not_counted() {
    let mut bench = Bench::with(|policy| {
        policy.slots.clients_max = 1;
        policy.slots.idle_place = IdlePlace::Keep;
        policy.slots.queue_wait = Duration::from_secs(100);
        policy.slots.hold = Duration::from_secs(60);
    });
    bench.get("/a.txt");
    bench.connect(OTHER).send(&head("PUT /1_96xxdata.txt", &["Content-Length: 5000"]));
    bench.wait(61_000);
    bench.wait(20_000);
    bench.send(&[b'x'; 5_000]);
    assert_eq!(bench.statuses(), [201]);
}

#[test]
fn a_phone_that_reads_nothing_is_closed_in_time() {
    for path in ["/b.bin", "/huge.bin"] {
        let mut bench = Bench::new();
        bench.room(1_000);
        bench.send(&head(&format!("GET {path}"), &[]));
        bench.wait(59_000);
        assert!(bench.is_open());
        bench.wait(5_000);
        assert!(!bench.is_open(), "{path}");
        assert_eq!(bench.outcomes(), [Outcome::Stalled(Stall::Unread)]);
        assert_eq!(bench.world.counters.stream_too_slow.value(), 1);
    }
}

#[test]
fn a_phone_that_reads_one_byte_a_second_is_closed_in_time() {
    let mut bench = Bench::new();
    bench.room(1_000);
    bench.send(&head("GET /huge.bin", &[]));
    for _ in 0..90 {
        bench.wait(1_000);
        if bench.is_open() {
            bench.room(1);
        }
    }
    assert!(!bench.is_open());
    assert_eq!(bench.outcomes(), [Outcome::Stalled(Stall::ReadSlowly)]);
}

#[test]
fn a_phone_that_reads_as_fast_as_it_must_gets_everything() {
    let mut bench = Bench::new();
    bench.room(0);
    bench.send(&head("GET /b.bin", &[]));
    for _ in 0..40 {
        bench.wait(900);
        bench.room(250);
    }
    assert_eq!(bench.one(false).body.len(), 9_000);
}

#[test]
fn what_the_system_holds_for_a_phone_that_reads_nothing_wins_it_no_time() {
    let mut bench = Bench::new();
    bench.room(100_000);
    let id = bench.id;
    bench.world.wires.get_mut(&id).unwrap().unacknowledged = 90_000;
    bench.send(&head("GET /huge.bin", &[]));
    bench.wait(59_000);
    assert!(bench.is_open());
    // Room for more comes without an acknowledgement, and is used at once.
    bench.world.wires.get_mut(&id).unwrap().unacknowledged = 95_000;
    bench.room(5_000);
    bench.wait(1_500);
    assert!(!bench.is_open());
    assert_eq!(bench.outcomes(), [Outcome::Stalled(Stall::Unread)]);
    // Bytes that were not acknowledged are not logged as received, nor is the head.
    assert!(bench.last().bytes < 10_000, "{:?}", bench.last());
}

#[test]
fn a_phone_that_acknowledges_something_now_and_then_is_waited_for() {
    let mut bench = Bench::new();
    bench.room(100_000);
    let id = bench.id;
    bench.world.wires.get_mut(&id).unwrap().unacknowledged = 95_000;
    bench.send(&head("GET /huge.bin", &[]));
    for unacknowledged in [60_000, 40_000, 20_000, 1_000] {
        bench.world.wires.get_mut(&id).unwrap().unacknowledged = unacknowledged;
        bench.wait(59_000);
        assert!(bench.is_open(), "{unacknowledged}");
    }
    bench.wait(61_000);
    assert_eq!(bench.outcomes(), [Outcome::Stalled(Stall::Unread)]);
}

#[test]
fn a_phone_that_the_system_gives_up_is_not_said_to_have_closed_anything() {
    let mut bench = Bench::new();
    bench.room(100_000);
    bench.send(&head("GET /huge.bin", &[]));
    let id = bench.id;
    bench.world.turn(|engine, turn| {
        engine.handle_unacknowledged(id, 30_000, turn);
        engine.handle_given_up(id, turn);
        engine.handle_closed(id, turn);
    });
    bench.world.wires.remove(&id);
    bench.world.run_until_idle();
    assert_eq!(bench.outcomes(), [Outcome::Stalled(Stall::GivenUp)]);
    assert!((69_000..70_001).contains(&bench.last().bytes), "{:?}", bench.last());
}

#[test]
fn a_slow_loader_is_not_the_phones_fault() {
    let mut bench = Bench::new();
    bench.answers = false;
    bench.send(&head("GET /huge.bin", &[]));
    bench.wait(100_000);
    bench.answer(0);
    bench.answer(0);
    bench.room(0);
    bench.answer(0);
    bench.room(usize::MAX);
    bench.wait(100_000);
    assert!(bench.is_open());
    bench.answers = true;
    bench.run_until_idle();
    assert_eq!(bench.one(false).body.len(), 200_000);
}

#[test]
fn the_last_request_that_a_connection_may_have_is_answered_and_says_so() {
    let mut bench = Bench::with(|policy| policy.http.limits.requests_max = 3);
    bench.send(&head("GET /a.txt", &[]).repeat(5));
    let replies = bench.hear();
    let last: Vec<bool> = replies.iter().map(phone::Reply::is_last).collect();
    assert_eq!(last, [false, false, true]);
    assert!(!bench.is_open());
}

#[test]
fn a_phone_that_finds_no_slot_waits_its_turn_and_is_served() {
    let mut bench = Bench::with(|policy| {
        policy.slots.clients_max = 1;
        policy.slots.idle_place = IdlePlace::Keep;
        policy.slots.hold = Duration::from_secs(1);
        policy.slots.queue_wait = Duration::from_secs(2);
    });
    bench.answers = false;
    bench.send(&head("GET /huge.bin", &[]));
    let first = bench.id;
    bench.connect(OTHER).send(&head("GET /a.txt", &[]));
    bench.wait(500);
    assert_eq!(bench.raw(), b"");
    // The first phone leaves: its slot is free once its hold is over.
    bench.world.reset(first);
    bench.world.store_requests.clear();
    bench.answers = true;
    bench.wait(990);
    assert_eq!(bench.raw(), b"");
    bench.wait(20);
    assert_eq!(bench.statuses(), [200]);
    assert_eq!(bench.world.counters.queue_entered.value(), 1);
}

#[test]
fn a_phone_that_has_waited_in_vain_is_told_when_to_come_again() {
    let mut bench = Bench::with(one_kept_place);
    bench.get("/a.txt");
    bench.connect(OTHER).send(&head("GET /a.txt", &[]));
    bench.wait(1_600);
    let reply = bench.one(false);
    assert_eq!((reply.status, reply.field("retry-after")), (503, "1"));
    assert_eq!(bench.last().outcome, Outcome::Refused(Refusal::NoSlot));
    assert!(bench.is_open());
}

#[test]
fn a_phone_without_a_slot_is_refused_or_left_alone_as_configured() {
    for overflow in [Overflow::Refuse, Overflow::Drop] {
        let mut bench = Bench::with(|policy| {
            policy.slots.clients_max = 1;
            policy.slots.idle_place = IdlePlace::Keep;
            policy.slots.overflow = overflow;
        });
        bench.get("/a.txt");
        bench.connect(OTHER).send(&head("GET /a.txt", &[]));
        match overflow {
            Overflow::Drop => assert!(bench.raw().is_empty() && !bench.is_open()),
            Overflow::Queue | Overflow::Refuse => assert_eq!(bench.statuses(), [503]),
        }
        assert_eq!(bench.last().outcome, Outcome::Refused(Refusal::NoSlot));
    }
}

#[test]
fn what_needs_no_slot_is_answered_without_one() {
    let mut bench = Bench::with(one_kept_place);
    bench.get("/a.txt");
    bench.connect(OTHER);
    for (request, status) in
        [("GET /none", 404), ("HEAD /a.txt", 200), ("OPTIONS *", 204), ("POST /a.txt", 405)]
    {
        assert_eq!(bench.ask(request).status, status);
    }
}

#[test]
fn a_phone_keeps_its_slot_between_its_requests() {
    let mut bench = Bench::with(|policy| {
        policy.slots.clients_max = 1;
        policy.slots.idle_place = IdlePlace::Keep;
        policy.slots.overflow = Overflow::Refuse;
        policy.slots.hold = Duration::from_secs(5);
    });
    let first = bench.id;
    for _ in 0..5 {
        bench.get("/a.txt");
        bench.wait(4_000);
        let heard = bench.heard;
        bench.connect(OTHER).send(&head("GET /a.txt", &[]));
        assert_eq!(bench.statuses(), [503]);
        bench.on(first, heard);
    }
    bench.wait(5_100);
    assert_eq!(bench.connect(OTHER).get("/a.txt").status, 200);
}

#[test]
fn a_phone_that_goes_while_it_waits_leaves_the_queue() {
    let mut bench = Bench::with(one_kept_place);
    bench.get("/a.txt");
    for is_reset in [true, false] {
        bench.connect(OTHER).send(&head("GET /a.txt", &[]));
        assert_eq!(bench.world.admission.slots.waiting(), 1);
        match is_reset {
            true => bench.world.reset(bench.id),
            false => {
                let id = bench.id;
                bench.world.turn(|engine, turn| engine.handle_closed(id, turn));
                bench.world.wires.remove(&id);
            }
        }
        assert_eq!(bench.world.admission.slots.waiting(), 0);
    }
}

#[test]
fn while_stopping_what_runs_is_finished_and_nothing_new_begins() {
    let mut bench = Bench::new();
    let idle = bench.id;
    let running = bench.connect(OTHER).id;
    bench.room(1_000);
    bench.send(&head("GET /huge.bin", &[]));
    let half = bench.connect("10.0.0.3:1").id;
    bench.send(b"GET /a.txt HTTP/1.1\r\n");
    bench.world.engine.stop();
    bench.world.run_until_idle();
    assert!(!bench.on(idle, 0).is_open(), "a connection without a request is closed");
    bench.on(running, 0).room(usize::MAX);
    let reply = bench.one(false);
    assert_eq!((reply.status, reply.body.len()), (200, 200_000));
    assert!(!bench.is_open());
    bench.on(half, 0).send(b"Host: x\r\n\r\n");
    let reply = bench.one(false);
    assert!(reply.status == 503 && reply.is_last() && !bench.is_open());
    assert_eq!(bench.world.engine.requests_open(), 0);
    assert!(bench.world.connect(PHONE.parse().unwrap(), false).is_none());
    assert_eq!(bench.world.engine.connections_open(), 0);
}

#[test]
fn an_answer_that_is_made_while_stopping_says_that_the_connection_is_closed() {
    let mut bench = Bench::new();
    bench.answers = false;
    bench.send(&head("GET /a.txt", &[]));
    bench.world.engine.stop();
    bench.answers = true;
    bench.run_until_idle();
    let reply = bench.one(false);
    assert!(reply.status == 200 && reply.is_last() && !bench.is_open(), "{reply:?}");
}

#[test]
fn a_reload_breaks_nothing_that_runs() {
    let mut bench = Bench::new();
    bench.room(1_000);
    bench.send(&head("GET /huge.bin", &[]));
    bench.world.reload(|policy| {
        policy.http.listeners.clear();
        policy.http.limits.connections_max = 0;
        policy.http.limits.requests_max = 1;
    });
    bench.world.publish([]);
    bench.room(usize::MAX);
    assert_eq!(bench.one(false).body.len(), 200_000);
    assert!(bench.get("/huge.bin").status == 404 && !bench.is_open(), "the new terms hold next");
}

#[test]
fn what_is_under_way_when_the_server_ends_is_told() {
    let mut bench = Bench::new();
    bench.room(1_000);
    bench.send(&head("GET /huge.bin", &[]));
    bench.world.turn(|engine, turn| engine.abandon(turn));
    bench.world.wires.clear();
    bench.world.run_until_idle();
    bench.world.check();
    let stopped = Outcome::Failed(crate::session::Failure::Stopped);
    assert_eq!(bench.outcomes(), [stopped]);
}

#[test]
fn a_handshake_that_failed_is_told_with_its_reason() {
    let mut bench = Bench::secure();
    let id = bench.id;
    bench.world.turn(|engine, turn| {
        engine.handle_handshake_failed(id, Handshake::Untrusted, turn);
    });
    bench.world.drive(id);
    bench.world.run_until_idle();
    assert!(!bench.is_open());
    let record = bench.last();
    assert_eq!(record.outcome, Outcome::Refused(Refusal::Handshake(Handshake::Untrusted)));
    assert_eq!((record.protocol, record.status), (Protocol::Https, None));
    assert_eq!(bench.world.counters.tls_handshakes_failed.value(), 1);
}

#[test]
fn a_session_slot_is_shared_by_all_connections_of_a_phone() {
    let mut bench = Bench::with(|policy| {
        policy.slots.clients_max = 1;
        policy.slots.idle_place = IdlePlace::Keep;
        policy.slots.overflow = Overflow::Refuse;
    });
    bench.get("/a.txt");
    assert_eq!(bench.connect("10.0.0.1:2001").get("/b.bin").status, 200);
    assert_eq!(bench.world.admission.slots.used_here(), 1);
}

#[test]
fn a_handshake_that_is_never_through_is_told_and_silence_afterwards_is_not() {
    let mut bench = Bench::new();
    bench.id = bench.world.connect(PHONE.parse().unwrap(), true).unwrap();
    bench.wait(10_100);
    assert!(!bench.is_open());
    assert_eq!(bench.outcomes(), [Outcome::Refused(Refusal::Handshake(Handshake::TooSlow))]);
    assert_eq!(bench.world.counters.tls_handshakes_failed.value(), 1);
    bench.id = bench.world.connect(PHONE.parse().unwrap(), true).unwrap();
    bench.secured(false);
    bench.wait(10_100);
    assert!(!bench.is_open());
    // The first connection of all, a plain one, was as silent.
    assert_eq!((bench.outcomes().len(), bench.world.counters.stream_idle_closed.value()), (1, 2));
}

#[test]
fn names_that_do_not_exist_are_answered_late_and_then_not_at_all() {
    let mut bench = Bench::with(|policy| policy.guesses.misses_max = 8);
    for mac in 0..7 {
        assert_eq!(bench.get(&format!("/SEP0004F200000{mac}.cnf.xml")).status, 404);
    }
    bench.send(&head("GET /SEP0004F2000007.cnf.xml", &[]));
    assert_eq!(bench.raw(), b"", "it waits");
    bench.wait(1_010);
    assert_eq!(bench.one(false).status, 404);
    for mac in 8..10 {
        let stopped = bench.get(&format!("/SEP0004F200000{mac}.cnf.xml"));
        assert_eq!((stopped.status, stopped.field("retry-after")), (429, "60"));
    }
    assert_eq!(bench.get("/SEP0004F2000006.cnf.xml").status, 404, "a known name is answered");
    assert_eq!(bench.get("/a.txt").status, 200, "common files are for every client");
    let stopped = |first| Outcome::Refused(Refusal::TooManyMisses { first });
    let outcomes = bench.outcomes();
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == stopped(true)).count(), 1);
    let counters = &bench.world.counters;
    assert_eq!((counters.misses_delayed.value(), counters.misses_refused.value()), (1, 2));
}
