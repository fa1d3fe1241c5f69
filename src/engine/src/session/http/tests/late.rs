//! Answers that come late, and clients that leave before they come.

use super::{Bench, OTHER, head};
use crate::catalog::OpenError;
use crate::requests::{StoreReply, StoreRequest};
use crate::session::{Abort, Outcome};
use wire::time::Duration;

#[test]
fn an_answer_that_comes_twice_is_not_taken_for_that_of_the_next_request() {
    let mut bench = Bench::new();
    bench.answers = false;
    bench.send(&head("GET /a.txt", &[]));
    let first = bench.first_request().ticket();
    bench.answer(0);
    assert_eq!(bench.statuses(), [200]);
    bench.send(&head("GET /b.bin", &[]));
    assert!(matches!(bench.first_request(), StoreRequest::Open { ticket, .. } if *ticket != first));
    let again = StoreReply::Opened { ticket: first, result: Err(OpenError::Gone) };
    bench.world.turn(|engine, turn| engine.handle_store_reply(again, turn));
    bench.world.run_until_idle();
    assert_eq!(bench.statuses(), [0; 0], "the loader is still at work");
    bench.answer(0);
    assert_eq!(bench.one(false).body, bench.bytes_of("b.bin"));
}

#[test]
fn a_slot_that_was_granted_to_an_earlier_request_begins_no_later_one() {
    let mut bench = Bench::with(|policy| {
        policy.slots.clients_max = 1;
        policy.slots.hold = Duration::from_secs(1);
        policy.slots.queue_wait = Duration::from_secs(2);
    });
    bench.answers = false;
    bench.send(&head("GET /a.txt", &[]));
    let holder = bench.id;
    bench.connect(OTHER).send(&head("GET /b.bin", &[]));
    let queued = bench.world.engine.awaited().find(|ticket| ticket.row == bench.id).unwrap();
    bench.on(holder, 0).answer(0);
    assert_eq!(bench.statuses(), [200]);
    bench.wait(1_100);
    bench.on(queued.row, 0).answer(0);
    assert_eq!(bench.statuses(), [200]);
    bench.send(&head("GET /huge.bin", &[]));
    bench.world.turn(|engine, turn| engine.handle_granted(queued, turn));
    bench.world.turn(|engine, turn| engine.handle_expired(queued, turn));
    bench.world.run_until_idle();
    bench.world.check();
    assert_eq!(bench.statuses(), [0; 0]);
    assert_eq!(bench.world.store_requests.len(), 1, "the one that it asked for itself");
}

#[test]
fn a_client_that_leaves_while_it_waits_to_be_told_that_a_file_is_gone_is_logged_at_once() {
    let mut bench = Bench::with(|policy| policy.guesses.misses_max = 8);
    for mac in 0..7 {
        assert_eq!(bench.get(&format!("/SEP0004F200000{mac}.cnf.xml")).status, 404);
    }
    bench.send(&head("GET /SEP0004F2000007.cnf.xml", &[]));
    bench.wait(1_010);
    assert_eq!(bench.one(false).status, 404);
    bench.answers = false;
    bench.send(&head("GET /a.txt", &[]));
    let ticket = bench.world.store_requests.remove(0).ticket();
    let gone = StoreReply::Opened { ticket, result: Err(OpenError::Gone) };
    bench.world.turn(|engine, turn| engine.handle_store_reply(gone, turn));
    bench.world.run_until_idle();
    assert_eq!((bench.raw(), bench.world.counters.misses_delayed.value()), (Vec::new(), 2));
    bench.world.reset(bench.id);
    assert_eq!(bench.last().outcome, Outcome::Aborted(Abort::Disconnected));
    assert_eq!(bench.world.engine.requests_open(), 0, "nothing is stored for it");
}
