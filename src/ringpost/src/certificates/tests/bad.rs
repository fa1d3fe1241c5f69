//! Tests of files that go bad, or vanish, while they are in use.

use super::*;

#[test]
fn half_a_pair_that_has_gone_holds_up_no_reload() {
    let dir = tempfile::tempdir().unwrap();
    let settings = settings(dir.path());
    for (gone, kept) in [("server.pem", "server.key"), ("server.key", "server.pem")] {
        let mut certificates = started(&settings);
        let before = fs::read(dir.path().join(kept)).unwrap();
        let aside = fs::read(dir.path().join(gone)).unwrap();
        fs::remove_file(dir.path().join(gone)).unwrap();
        certificates.take(&settings, NOW + 5).unwrap();
        let report = certificates.report(NOW);
        assert!(report[0].fault.as_ref().unwrap().contains("stays in use"), "{report:?}");
        assert_eq!(report[0].pairs.len(), 2);
        assert_eq!(fs::read(dir.path().join(kept)).unwrap(), before);
        assert!(!dir.path().join(gone).exists());
        fs::write(dir.path().join(gone), aside).unwrap();
    }
}

#[test]
fn a_bad_pair_keeps_the_last_good_one_and_says_so_once_it_stays_bad() {
    let dir = tempfile::tempdir().unwrap();
    let settings = settings(dir.path());
    let mut certificates = started(&settings);
    certificates.refresh(NOW);
    let stranger = Elsewhere::new();
    for (bytes, message) in [
        (stranger.pem.as_str(), "is not the key of the certificate in"),
        ("", "has no certificate in PEM form"),
        ("-----BEGIN CERTIFICATE-----\nAAAA", "is cut short or garbled"),
        ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "cannot be read"),
    ] {
        let before = terms(&certificates);
        fs::write(&settings.secured[0].certificate, bytes).unwrap();
        // The other half may still be coming.
        assert!(!certificates.refresh(NOW + 1).changed);
        assert_eq!(certificates.report(NOW)[0].fault, None);
        assert!(certificates.refresh(NOW + 4).changed, "{message}");
        let fault = certificates.report(NOW)[0].fault.clone().unwrap();
        assert!(fault.contains(message) && fault.contains("stays in use"), "{fault}");
        assert!(Arc::ptr_eq(&before, &terms(&certificates)));
        assert!(!certificates.refresh(NOW + 5).changed, "told once");
        // A reload of everything else does not wait for it.
        certificates.take(&settings, NOW + 5).unwrap();
        assert!(certificates.report(NOW)[0].fault.is_some());
        assert_eq!(certificates.report(NOW)[0].pairs.len(), 2);
        // Good again.
        stranger.put(dir.path());
        assert!(certificates.refresh(NOW + 6).changed);
        assert_eq!(certificates.report(NOW)[0].fault, None);
        let authority = Authority::read(dir.path()).unwrap().unwrap();
        issue_pairs(&authority, &settings.secured[0], &Names::default(), NOW).unwrap();
        assert!(certificates.refresh(NOW + 7).changed);
    }
}
