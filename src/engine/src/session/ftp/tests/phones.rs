//! Phones: files of the catalog, and their users' data in the vault, by the users that they name
//! over SNMP.

use super::*;
use crate::session::snmp::IdentityError;

#[test]
fn a_phone_gets_files_and_no_directories() {
    let mut bench = Bench::phone();
    assert_eq!(bench.fetch("A.TXT"), (vec![125, 226], bench.file("a.txt")));
    assert_eq!(bench.fetch("firmware.bin"), (vec![125, 226], bench.file("firmware.bin")));
    assert_eq!(bench.fetch("empty"), (vec![125, 226], Vec::new()));
    bench.passive();
    assert_eq!(bench.say("RETR none"), [550]);
    assert_eq!(bench.say("LIST"), [550]);
    assert_eq!(bench.say("DELE a.txt"), [550]);
    assert_eq!(bench.say("STOR a.txt"), [553]);
    assert_eq!(bench.say("SITE chmod"), [550]);
}

#[test]
fn what_a_phone_stores_by_either_name_another_set_of_the_family_gets() {
    let mut bench = Bench::phone();
    assert_eq!(bench.store("STOR 4621data.txt", b"of 4621"), [125, 226]);
    assert_eq!(bench.world.disk.vault_has(DATA).unwrap(), b"of 4621");
    for name in [DATA, "2001_4625data.txt", "4620data.txt", "/backup/2001_4620DATA.TXT"] {
        assert_eq!(bench.fetch(name), (vec![125, 226], b"of 4621".to_vec()), "{name}");
    }
    assert_eq!(bench.store("STOR 4620data_sip.txt", b"sip"), [125, 226]);
    assert_eq!(bench.fetch("4620data.txt").1, b"of 4621");
}

#[test]
fn the_vault_never_changes_a_byte_whatever_the_type() {
    let mut bench = Bench::phone();
    let bytes: Vec<u8> = (0..=255).chain(*b"a\r\nb\nc\r").collect();
    assert_eq!(bench.say("TYPE A"), [200]);
    assert_eq!(bench.store(&format!("STOR {DATA}"), &bytes), [125, 226]);
    assert_eq!(bench.world.disk.vault_has(DATA).unwrap(), bytes);
    assert_eq!(bench.fetch(DATA), (vec![125, 226], bytes.clone()));
    assert_eq!(bench.say("TYPE I"), [200]);
    assert_eq!(bench.fetch(DATA).1, bytes);
    assert_eq!(bench.say("REST 250"), [350]);
    assert_eq!(bench.fetch(DATA).1, bytes[250..]);
    assert_eq!(bench.fetch(DATA).1, bytes, "REST is for one transfer");
}

#[test]
fn a_phone_waits_for_the_answer_and_is_refused_without_one() {
    let mut bench = Bench::new();
    bench.answers = false;
    let mut bench = bench.logged_in();
    bench.passive();
    assert_eq!(bench.say(&format!("RETR {DATA}")), SILENCE);
    assert_eq!(bench.stage(), "identity");
    assert_eq!(bench.wait(3_100), [550]);
    assert_eq!(bench.refused(), Some(Refusal::Unidentified(IdentityError::Silent)));
    assert!(bench.world.store_requests.is_empty());
}

#[test]
fn another_extension_and_nobody_are_refused_in_words() {
    for (user, no) in [
        (Some("2002"), Refusal::OtherExtension),
        (None, Refusal::NobodyLoggedIn),
        (Some("20/01"), Refusal::ExtensionUnnamable),
        (Some("*21#"), Refusal::ExtensionUnnamable),
    ] {
        let mut bench = Bench::new();
        bench.world.phones.set_user(bench.peer.ip(), user);
        let mut bench = bench.logged_in();
        bench.world.disk.keep(DATA, b"of 2001");
        bench.passive();
        assert_eq!(bench.say(&format!("STOR {DATA}")), [550]);
        assert_eq!(bench.refused(), Some(no));
        bench.passive();
        bench.world.send(bench.id, b"RETR 2001_4620data.txt\r\n");
        bench.run_until_idle();
        let text = bench.text();
        assert!(text.starts_with("550 ") && text.contains("10.0.0.1"), "{text}");
        assert_eq!(text.contains("Nobody"), user.is_none(), "{text}");
        assert!(bench.taken().is_empty());
    }
}

#[test]
fn a_user_who_has_changed_is_noticed_before_the_data_of_another_is_kept() {
    let mut bench = Bench::phone();
    bench.world.disk.keep(DATA, b"of 2001");
    assert_eq!(bench.wait(6_000), SILENCE);
    // The answer from log-in is older than five seconds now: another name needs a new question.
    bench.world.phones.set_user(bench.peer.ip(), Some("2002"));
    assert_eq!(bench.store("STOR 2002_4620data.txt", b"of 2002"), [125, 226]);
    assert_eq!(bench.store(&format!("STOR {DATA}"), b"x"), [550]);
    // The same name needs one once the cache is over, however long the session lasts.
    bench.world.phones.set_user(bench.peer.ip(), Some("2001"));
    bench.wait(31_000);
    assert_eq!(bench.fetch(DATA), (vec![125, 226], b"of 2001".to_vec()));
    bench.world.phones.set_user(bench.peer.ip(), Some("2002"));
    bench.wait(31_000);
    assert_eq!(bench.fetch(DATA), (vec![550], Vec::new()));
    assert_eq!(bench.refused(), Some(Refusal::OtherExtension));
}

#[test]
fn without_a_cache_a_phone_is_asked_each_time() {
    let mut bench = Bench::with(PHONE, |policy| policy.ftp.snmp.cache = Duration::ZERO).logged_in();
    bench.world.disk.keep(DATA, b"of 2001");
    bench.wait(1);
    assert_eq!(bench.fetch(DATA).0, [125, 226]);
    bench.world.phones.set_user(bench.peer.ip(), Some("2002"));
    bench.wait(1);
    assert_eq!(bench.fetch(DATA).0, [550]);
}

#[test]
fn phones_that_are_not_asked_say_whose_data_they_mean() {
    let mut bench = Bench::with(TRUSTED, |_| {}).logged_in();
    assert!(bench.world.phones.questions.is_empty());
    assert_eq!(bench.store("STOR 2077_4620data.txt", b"any"), [125, 226]);
    assert_eq!(bench.store("STOR 4620data.txt", b"any"), [550]);
    assert_eq!(bench.refused(), Some(Refusal::ExtensionMissing));
}

#[test]
fn a_full_disk_and_a_busy_vault_are_told_and_nothing_is_acknowledged() {
    for (fault, code) in [(5, 452), (6, 451), (7, 450), (2, 550)] {
        let mut bench = Bench::phone();
        bench.passive();
        assert_eq!(bench.say(&format!("STOR {DATA}")), [125]);
        bench.answers = false;
        assert_eq!(bench.give(b"data"), SILENCE);
        assert_eq!(bench.stage(), "storing");
        assert_eq!(bench.answer(fault), [code]);
        assert_eq!(bench.world.disk.vault_has(DATA), None);
    }
}

#[test]
fn what_is_appended_or_starts_in_the_middle_is_no_users_data() {
    let mut bench = Bench::phone();
    assert_eq!(bench.store(&format!("APPE {DATA}"), b"x"), [553]);
    assert_eq!(bench.say("REST 5"), [350]);
    assert_eq!(bench.store(&format!("STOR {DATA}"), b"x"), [550]);
    // It was refused once; the next transfer starts at the first byte.
    assert_eq!(bench.store(&format!("STOR {DATA}"), b"x"), [125, 226]);
    assert_eq!(bench.store("APPE my.log", b"one"), [125, 226]);
}

#[test]
fn an_upload_that_is_too_large_or_breaks_off_is_not_kept() {
    let mut bench = Bench::phone();
    assert_eq!(bench.store(&format!("STOR {DATA}"), &[b'x'; 5_001]), [125, 552]);
    bench.passive();
    assert_eq!(bench.say(&format!("STOR {DATA}")), [125]);
    bench.world.send(bench.data.unwrap(), b"half");
    bench.world.reset(bench.data.unwrap());
    bench.run_until_idle();
    assert_eq!(bench.hear(), [426]);
    assert_eq!((bench.world.disk.vault_has(DATA), bench.world.engine.uploads_held()), (None, 0));
}

#[test]
fn whoever_is_not_on_the_access_list_gets_nothing_of_the_vault() {
    let mut bench = Bench::with(STRANGER, |_| {}).logged_in();
    assert!(bench.world.phones.questions.is_empty(), "a client that is not served is not asked");
    assert_eq!(bench.say(&format!("RETR {DATA}")), [550]);
    assert_eq!(bench.say("STOR my.log"), [550]);
    assert_eq!(bench.refused(), Some(Refusal::AccessDenied));
}
