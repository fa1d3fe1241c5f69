//! Limits on uploads: time and temporary files.

use super::*;
use crate::catalog::StoreError;
use crate::session::{Failure, Refusal};

#[test]
fn an_upload_that_trickles_is_ended_and_one_that_is_slow_is_not() {
    for (pause_ms, ends) in [(18_000, true), (10_000, false)] {
        let mut bench = Bench::new();
        bench.write("a.log", "");
        for number in 1..=14 {
            bench.data(number, &[7; 512]);
            bench.wait(pause_ms);
        }
        let outcomes = bench.outcomes();
        let ended = outcomes.contains(&Outcome::Refused(Refusal::TooSlow));
        assert_eq!(ended, ends, "{outcomes:?}");
    }
}

#[test]
fn one_address_has_few_large_uploads_at_once() {
    let mut bench = Bench::with(|policy| {
        policy.tftp.uploads_aside_max = 1;
        policy.uploads.0[0].bytes_max = 64 << 20;
    });
    bench.answers = false;
    bench.world.turn(|engine, _| assert!(engine.aside.take("10.0.0.9".parse().unwrap(), 1)));
    bench.write("a.log", "blksize 1468");
    let mut number = 0;
    while bench.outcomes().is_empty() {
        number += 1;
        bench.data(number, &[7; 1_468]);
    }
    let crowded = Outcome::Failed(Failure::Store(StoreError::TooManyAside));
    assert_eq!(bench.outcomes(), [crowded]);
    assert_eq!(bench.world.counters.tftp_uploads_aside_refused.value(), 1);
}
