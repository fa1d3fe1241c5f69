//! Phones that log in by a password, for files that `[[protect]]` rows cover.

use std::sync::Arc;

use super::*;
use crate::policy::protect::{Protection, Requirement};
use crate::session::{CredentialFault, Record};

/// Makes a row for names, whose users' file is that of phones in the model.
fn row(pattern: &str, allowed: &[&str]) -> Protection {
    let mut row = Protection::new(pattern).unwrap();
    row.requirement = Arc::new(Requirement {
        users: "/passwords".into(),
        allowed: allowed.iter().map(|user| (*user).into()).collect(),
        ..Requirement::default()
    });
    row
}

fn bench(change: impl FnOnce(&mut Policy)) -> Bench {
    Bench::with(PHONE, |policy| {
        policy.protections.0 = vec![row("a.txt", &[]), row("*.log", &["PlcmSpIp"])];
        change(policy);
    })
}

fn with_password(mut bench: Bench) -> Bench {
    assert_eq!(bench.say("USER PlcmSpIp"), [331]);
    assert_eq!(bench.say("PASS secret2"), [230]);
    assert_eq!(bench.say("TYPE I"), [200]);
    bench
}

fn last(bench: &Bench) -> &Record {
    bench.world.records.last().unwrap()
}

#[test]
fn a_protected_file_is_for_those_who_logged_in_by_a_password() {
    let mut anonymous = bench(|_| {}).logged_in();
    for command in ["RETR a.txt", "SIZE a.txt", "MDTM a.txt", "STOR x.log", "APPE x.log"] {
        assert_eq!(anonymous.say(command), [530], "{command}");
        assert_eq!(
            last(&anonymous).outcome,
            Outcome::Refused(Refusal::Credentials(CredentialFault::Missing))
        );
    }
    assert_eq!(anonymous.fetch("empty").0, [125, 226]);
    let mut phone = with_password(bench(|_| {}));
    assert_eq!(phone.fetch("a.txt"), (vec![125, 226], phone.file("a.txt")));
    assert_eq!(last(&phone).user.as_deref(), Some(b"PlcmSpIp".as_slice()));
    assert_eq!(phone.say("SIZE a.txt"), [213]);
    assert_eq!(phone.store("STOR x.log", b"line"), [125, 226]);
    assert_eq!(phone.fetch("empty").0, [125, 226]);
}

#[test]
fn a_log_in_proves_nothing_once_it_is_over() {
    for end in ["REIN", "USER anonymous"] {
        let mut phone = with_password(bench(|_| {}));
        phone.say(end);
        let mut phone = phone.logged_in();
        assert_eq!(phone.say("RETR a.txt"), [530], "{end}");
    }
    let mut phone = with_password(bench(|_| {}));
    phone.say("USER PlcmSpIp");
    assert_eq!(phone.say("PASS wrong"), [530]);
    assert_eq!(phone.say("RETR a.txt"), [530]);
}

#[test]
fn a_wrong_password_is_refused_and_counted_as_an_administrators_is() {
    let mut bench = bench(|_| {});
    bench.say("USER PlcmSpIp");
    assert_eq!(bench.say("PASS secret"), [530]);
    assert_eq!(
        last(&bench).outcome,
        Outcome::Refused(Refusal::Credentials(CredentialFault::Wrong))
    );
    bench.say("USER nobody");
    assert_eq!(bench.say("PASS secret2"), [530]);
    bench.say("USER PlcmSpIp");
    assert_eq!(bench.say("PASS x"), [421]);
    assert_eq!(bench.world.counters.ftp_logins_failed.value(), 3);
}

#[test]
fn another_user_than_the_row_asks_for_is_told_so() {
    let mut phone = with_password(bench(|policy| {
        policy.protections.0 = vec![row("a.txt", &["other"])];
    }));
    assert_eq!(phone.say("RETR a.txt"), [550]);
    assert_eq!(
        last(&phone).outcome,
        Outcome::Refused(Refusal::Credentials(CredentialFault::UserNotAllowed))
    );
}

#[test]
fn phones_log_in_without_tls_and_administrators_do_not_for_that() {
    let strict = |policy: &mut Policy| {
        policy.ftp.administrators.as_mut().unwrap().cleartext = false;
    };
    with_password(bench(strict));
    // The name could be a phone's, so its password is checked, and opens nothing.
    let mut administrator = bench(strict);
    assert_eq!(administrator.say("USER root"), [331]);
    assert_eq!(administrator.say("PASS secret"), [530]);
    // If rows name their users, others are refused before they send their password.
    let mut named = bench(|policy| {
        strict(policy);
        policy.protections.0 = vec![row("*.log", &["PlcmSpIp"])];
    });
    assert_eq!(named.say("USER root"), [530]);
    with_password(named);
}

#[test]
fn an_administrator_stays_one_and_a_phone_becomes_none() {
    let mut bench = bench(|_| {});
    assert_eq!(bench.say("USER root"), [331]);
    assert_eq!(bench.say("PASS secret"), [230]);
    assert_eq!(bench.say("MKD common/x"), [257]);
    let mut phone = with_password(self::bench(|_| {}));
    assert_eq!(phone.say("DELE a.txt"), [550]);
    assert_eq!(phone.say("MKD x"), [550]);
}

#[test]
fn a_row_that_a_reload_brings_or_takes_holds_at_once() {
    let mut phone = with_password(bench(|_| {}));
    phone.world.reload(|policy| policy.protections.0 = vec![row("b", &[]), row("a.txt", &["x"])]);
    assert_eq!(phone.say("RETR a.txt"), [550]);
    phone.world.reload(|policy| policy.protections.0.clear());
    assert_eq!(phone.fetch("a.txt").0, [125, 226]);
}
