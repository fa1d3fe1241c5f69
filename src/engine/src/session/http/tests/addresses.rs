//! Which addresses count as one.

use super::*;
use crate::session::Refusal;

const SILENCE: [u16; 0] = [];

#[test]
fn a_64_of_ipv6_is_one_address_and_so_is_ipv4_in_both_spellings() {
    let mut bench = Bench::with(|policy| policy.http.limits.per_address_max = 1);
    assert!(bench.world.connect("[::ffff:10.0.0.1]:2001".parse().unwrap(), false).is_none());
    assert!(bench.world.connect("[2001:db8::1]:1".parse().unwrap(), false).is_some());
    assert!(bench.world.connect("[2001:db8::2]:1".parse().unwrap(), false).is_none());
    assert!(bench.world.connect("[2001:db8:0:1::2]:1".parse().unwrap(), false).is_some());
}

#[test]
fn one_address_has_half_of_the_memory_for_bodies_and_others_have_the_rest() {
    let mut bench = Bench::with(|policy| {
        policy.http.limits.body_memory_bytes_max = 1_000;
        policy.http.limits.per_address_max = 0;
    });
    let upload = head("PUT /1_96xxdata.txt", &["Content-Length: 900"]);
    let begin = |bench: &mut Bench, peer: &str, bytes: usize| {
        bench.connect(peer).send(&upload);
        bench.send(&vec![b'x'; bytes]);
        bench.statuses()
    };
    // A single body may exceed the half.
    assert_eq!(begin(&mut bench, "[2001:db8::1]:1", 510), SILENCE);
    assert_eq!(begin(&mut bench, "[2001:db8::2]:2", 10), [503], "a /64 is one address");
    assert_eq!(bench.last().outcome, Outcome::Refused(Refusal::BodyMemoryShare));
    assert_eq!(begin(&mut bench, "10.0.0.9:1", 300), SILENCE);
    assert_eq!(begin(&mut bench, "10.0.0.8:1", 300), [503], "all memory is taken");
    assert_eq!(bench.world.counters.http_bodies_refused.value(), 2);
}

#[test]
fn one_address_has_half_of_all_places_for_handshakes_and_others_have_the_rest() {
    let mut bench = Bench::with(|policy| policy.http.limits.connections_max = 10);
    let mut connect = |peer: String| bench.world.connect(peer.parse().unwrap(), true).is_some();
    let own = (0..10).filter(|port| connect(format!("[2001:db8::{port}]:9")));
    assert_eq!(own.count(), 5, "a /64 is one address");
    // The bench has a connection of its own.
    assert!((0..4).all(|port| connect(format!("10.0.0.9:{}", port + 1))));
    assert!(!connect("10.0.0.8:1".into()), "all places are taken");
    assert_eq!(bench.world.counters.stream_refused.value(), 6);
}
