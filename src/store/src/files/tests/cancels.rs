//! Tests of uploads that are cancelled at the last moment because their client has died.

use super::*;

#[test]
fn an_upload_that_was_taken_back_leaves_the_old_file_and_nothing_beside_it() {
    for how in [How::Replace, How::Append, How::Resume(2), How::Unique] {
        let mut bench = Bench::new();
        bench.put("common/a", "good");
        let (part, _) = bench.begin("/common/a", how).unwrap();
        let part = bench.write(part, "half").unwrap();
        let cancel = CancelToken::default();
        assert!(cancel.cancel());
        assert_eq!(bench.fault(Act::Finish { part, cancel }), Some(Fault::Busy), "{how:?}");
        assert_eq!(bench.names("/common"), "a", "{how:?}");
        assert_eq!(bench.text("common/a").as_deref(), Some("good"), "{how:?}");
    }
}

#[test]
fn nobody_goes_on_with_an_upload_that_was_taken_back() {
    let mut bench = Bench::new();
    bench.put("common/a", "good");
    let (part, _) = bench.begin("/common/a", How::Replace).unwrap();
    let part = bench.write(part, "new one").unwrap();
    let cancel = CancelToken::default();
    cancel.cancel();
    bench.fault(Act::Finish { part, cancel });
    assert_eq!(bench.begin("/common/a", How::Resume(4)).err(), Some(Fault::BrokenOff));
}

#[test]
fn an_upload_that_is_in_its_place_is_not_taken_back() {
    let mut bench = Bench::new();
    let (part, _) = bench.begin("/common/a", How::Replace).unwrap();
    let part = bench.write(part, "whole").unwrap();
    let cancel = CancelToken::default();
    bench.act(Act::Finish { part, cancel: cancel.clone() }).unwrap();
    assert!(!cancel.cancel());
    assert_eq!(bench.text("common/a").as_deref(), Some("whole"));
}
