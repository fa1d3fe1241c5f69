//! Tests of uploads that are cancelled at the last moment because their client has died.

use super::*;

#[test]
fn an_upload_that_was_taken_back_leaves_the_old_file_and_nothing_beside_it() {
    for mode in [UploadMode::Replace, UploadMode::Append, UploadMode::Resume(2), UploadMode::Unique]
    {
        let mut bench = Bench::new();
        bench.put("common/a", "good");
        let (part, _) = bench.begin("/common/a", mode).unwrap();
        let part = bench.write(part, "half").unwrap();
        let cancel = CancelToken::default();
        assert!(cancel.cancel());
        assert_eq!(
            bench.fault(FilesOp::Finish { part, cancel }),
            Some(FilesError::Busy),
            "{mode:?}"
        );
        assert_eq!(bench.names("/common"), "a", "{mode:?}");
        assert_eq!(bench.text("common/a").as_deref(), Some("good"), "{mode:?}");
    }
}

#[test]
fn nobody_goes_on_with_an_upload_that_was_taken_back() {
    let mut bench = Bench::new();
    bench.put("common/a", "good");
    let (part, _) = bench.begin("/common/a", UploadMode::Replace).unwrap();
    let part = bench.write(part, "new one").unwrap();
    let cancel = CancelToken::default();
    cancel.cancel();
    bench.fault(FilesOp::Finish { part, cancel });
    assert_eq!(bench.begin("/common/a", UploadMode::Resume(4)).err(), Some(FilesError::BrokenOff));
}

#[test]
fn an_upload_that_is_in_its_place_is_not_taken_back() {
    let mut bench = Bench::new();
    let (part, _) = bench.begin("/common/a", UploadMode::Replace).unwrap();
    let part = bench.write(part, "whole").unwrap();
    let cancel = CancelToken::default();
    bench.execute(FilesOp::Finish { part, cancel: cancel.clone() }).unwrap();
    assert!(!cancel.cancel());
    assert_eq!(bench.text("common/a").as_deref(), Some("whole"));
}
