//! Tests of versions that are cancelled at the last moment because the phone has died.

use super::*;
use engine::cancel::CancelToken;

#[test]
fn a_version_that_was_taken_back_is_not_kept_and_leaves_nothing_aside() {
    let mut bench = Bench::new();
    bench.keep(&item("2001"), "good").unwrap();
    let token = CancelToken::default();
    assert!(token.cancel());
    let kept = bench.keep_unless(&item("2001"), "half", token);
    assert!(kept.is_err());
    assert_eq!(bench.fetch(&item("2001")).as_deref(), Some("good"));
    assert_eq!(bench.names(&item("2001")).len(), 1);
    let temp = std::fs::read_dir(bench.policy.dir.join(".aside")).unwrap();
    assert_eq!(temp.count(), 0);
}

#[test]
fn a_version_that_is_in_its_place_is_not_taken_back() {
    let mut bench = Bench::new();
    let token = CancelToken::default();
    bench.keep_unless(&item("2001"), "whole", token.clone()).unwrap();
    assert!(!token.cancel());
    assert_eq!(bench.fetch(&item("2001")).as_deref(), Some("whole"));
}
