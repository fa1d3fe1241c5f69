//! Places of session control between two requests: who has one, and what renews a hold.

use super::*;
use crate::admission::slots::Overflow;

#[test]
fn what_is_answered_without_a_place_renews_the_hold() {
    for request in ["HEAD /a.txt", "GET /none", "POST /a.txt"] {
        let mut bench = Bench::with(|policy| {
            one_kept_place(policy);
            policy.slots.overflow = Overflow::Refuse;
            policy.slots.hold = Duration::from_secs(5);
        });
        let first = bench.id;
        bench.get("/a.txt");
        bench.wait(4_000);
        bench.ask(request);
        let heard = bench.heard;
        bench.wait(4_000);
        assert_eq!(bench.connect(OTHER).get("/a.txt").status, 503, "{request}");
        bench.on(first, heard).wait(1_100);
        assert_eq!(bench.connect(OTHER).get("/a.txt").status, 200, "{request}");
    }
}

#[test]
fn a_phone_between_two_requests_lends_its_place_and_goes_before_newcomers() {
    let mut bench = Bench::with(|policy| policy.slots.clients_max = 1);
    let first = bench.id;
    bench.get("/a.txt");
    let heard = bench.heard;
    bench.connect(OTHER).answers = false;
    bench.send(&head("GET /huge.bin", &[]));
    let running = bench.id;
    bench.connect("10.0.0.3:1").send(&head("GET /a.txt", &[]));
    let newcomer = bench.id;
    bench.on(first, heard).send(&head("GET /a.txt", &[]));
    assert_eq!(bench.world.admission.slots.waiting(), 2);
    bench.world.reset(running);
    bench.world.store_requests.clear();
    bench.answers = true;
    bench.run_until_idle();
    assert_eq!(bench.on(first, heard).statuses(), [200]);
    assert_eq!(bench.on(newcomer, 0).statuses(), [200], "and then the newcomer");
}
