//! Administrators: log in over TLS, manage files, and serve what they store at once.

use super::*;

fn with_tls() -> Bench {
    Bench::with(PHONE, |policy| policy.ftp.administrators.as_mut().unwrap().cleartext = false)
}

#[test]
fn no_password_is_asked_for_in_clear_unless_it_is_allowed() {
    let mut bench = with_tls();
    assert_eq!(bench.say("USER root"), [530]);
    assert_eq!(bench.say("PASS secret"), [503]);
    assert_eq!(bench.say("AUTH TLS"), [234]);
    assert_eq!(bench.secure(bench.id), SILENCE);
    assert_eq!(bench.say("USER root"), [331]);
    assert_eq!(bench.say("PASS secret"), [230]);
    // Their data is as protected as their password.
    assert_eq!(bench.say("PASV"), [227]);
    assert_eq!(bench.say("LIST"), [521]);
    assert_eq!(bench.say("PROT P"), [503]);
    assert_eq!(bench.say("PBSZ 0"), [200]);
    assert_eq!(bench.say("PROT P"), [200]);
    let data = bench.passive();
    assert_eq!(bench.say("LIST"), [125]);
    assert!(bench.taken().is_empty());
    assert_eq!(bench.secure(data), [226]);
    assert!(!bench.taken().is_empty());
}

#[test]
fn what_was_said_in_clear_behind_auth_is_never_obeyed() {
    let mut bench = Bench::new();
    assert_eq!(bench.send(b"AUTH TLS\r\nUSER anonymous\r\nPASS x\r\n"), [234]);
    assert_eq!(bench.secure(bench.id), SILENCE);
    assert_eq!(bench.say("PWD"), [530]);
    // An incomplete line does not count either.
    let mut bench = Bench::new();
    assert_eq!(bench.send(b"AUTH TLS\r\nUSER anony"), [234]);
    assert_eq!(bench.secure(bench.id), SILENCE);
    assert_eq!(bench.send(b"mous\r\n"), [500]);
    assert_eq!(bench.say("AUTH TLS"), [503]);
    assert_eq!(bench.say("CCC"), [533]);
}

#[test]
fn prot_and_pbsz_want_tls_first() {
    let mut bench = Bench::new();
    assert_eq!(bench.say("PROT P"), [503]);
    assert_eq!(bench.say("PBSZ 0"), [503]);
    assert_eq!(bench.say("PROT E"), [536]);
}

#[test]
fn a_data_connection_that_resumes_the_session_of_somebody_else_is_refused() {
    let mut bench = with_tls();
    bench.say("AUTH TLS");
    bench.secure(bench.id);
    bench.send(b"USER root\r\nPASS secret\r\nPBSZ 0\r\nPROT P\r\n");
    let data = bench.passive();
    assert_eq!(bench.say("LIST"), [125]);
    bench.world.secure(data, Security { resumes: Some([7; 16]), ..Security::default() });
    bench.run_until_idle();
    assert_eq!((bench.hear(), bench.taken()), (vec![425], Vec::new()));
}

#[test]
fn files_are_stored_gone_on_with_and_added_to() {
    let mut bench = Bench::administrator();
    assert_eq!(bench.say("CWD /common"), [250]);
    assert_eq!(bench.store("STOR new", b"hello"), [125, 226]);
    assert_eq!(bench.file("new"), b"hello");
    assert_eq!(bench.say("REST 2"), [350]);
    assert_eq!(bench.store("STOR new", b"y"), [125, 226]);
    assert_eq!(bench.file("new"), b"hey");
    assert_eq!(bench.store("APPE new", b"!"), [125, 226]);
    assert_eq!(bench.fetch("new").1, b"hey!");
    assert_eq!(bench.store("STOU", b"any"), [125, 226]);
    assert_eq!(bench.store("STOR large", &vec![7; 2_000_000]), [125, 226]);
    assert_eq!(bench.file("large").len(), 2_000_000);
    assert_eq!(bench.say("TYPE A"), [200]);
    assert_eq!(bench.store("STOR text", b"a\r\nb\r"), [125, 226]);
    assert_eq!(bench.file("text"), b"a\nb\r");
    assert_eq!(bench.fetch("text").1, b"a\r\nb\r");
    assert_eq!(bench.world.disk.uploads(), 0);
}

#[test]
fn a_full_disk_in_the_middle_of_an_upload_is_told() {
    let mut bench = Bench::administrator();
    bench.passive();
    assert_eq!(bench.say("STOR /common/new"), [125]);
    bench.answers = false;
    bench.world.send(bench.data.unwrap(), &vec![7; 300_000]);
    assert_eq!(bench.answer(1), [452]);
    bench.answers = true;
    bench.run_until_idle();
    assert_eq!((bench.world.disk.bytes_of("/common/new"), bench.world.disk.uploads()), (None, 0));
}

#[test]
fn a_queue_that_is_full_loses_nothing_of_an_upload() {
    let mut bench = Bench::administrator();
    bench.passive();
    assert_eq!(bench.say("STOR /common/new"), [125]);
    bench.answers = false;
    let bytes: Vec<u8> = (0..700_000_u32).map(|at| (at / 7) as u8).collect();
    bench.world.send(bench.data.unwrap(), &bytes);
    let request = bench.world.store_requests.remove(0);
    bench.world.refuse(request);
    bench.world.end(bench.data.unwrap());
    bench.answers = true;
    assert_eq!(bench.wait(30 + COMMIT_MS), [226]);
    assert_eq!(bench.file("new"), bytes);
}

#[test]
fn an_act_is_done_before_it_is_told() {
    let mut bench = Bench::administrator();
    assert_eq!(bench.say("RNTO b"), [503]);
    assert_eq!(bench.say("RNFR /common/none"), [550]);
    assert_eq!(bench.say("RNTO b"), [503]);
    assert_eq!(bench.say("RNFR /common/a.txt"), [350]);
    assert_eq!(bench.say("RNTO /common/b.txt"), [250]);
    assert_eq!(bench.say("RNTO /common/c.txt"), [503]);
    assert_eq!(bench.say("SIZE /common/b.txt"), [213]);
    assert_eq!(bench.say("MKD /common/d"), [257]);
    assert_eq!(bench.say("MKD /common/d"), [550]);
    assert_eq!(bench.say("RMD /common/d"), [250]);
    assert_eq!(bench.say("CWD ../../etc"), [550]);
    assert_eq!(bench.say("DELE ../../etc/passwd"), [553]);
    assert_eq!(bench.say("CWD /common/none"), [550]);
    assert_eq!(bench.say("MLST /common/b.txt"), [250]);
    assert_eq!(bench.say("MFMT 20260101000000 /common/b.txt"), [213]);
}

#[test]
fn rein_and_user_log_out() {
    let mut bench = Bench::administrator();
    assert_eq!(bench.say("REIN"), [220]);
    assert_eq!(bench.say("SIZE /common/a.txt"), [530]);
    let mut bench = Bench::administrator();
    assert_eq!(bench.say("USER anonymous"), [331]);
    assert_eq!(bench.say("DELE /common/a.txt"), [530]);
    assert_eq!(bench.say("PASS x"), [230]);
    assert_eq!(bench.say("DELE /common/a.txt"), [550]);
}

#[test]
fn what_is_looked_at_in_vain_leaves_a_line_and_what_is_found_none() {
    let mut bench = Bench::administrator();
    let before = bench.world.records.len();
    assert_eq!(bench.say("CWD /common"), [250]);
    assert_eq!(bench.say("SIZE a.txt"), [213]);
    assert_eq!(bench.say("MDTM a.txt"), [213]);
    assert_eq!(bench.say("MLST a.txt"), [250]);
    assert_eq!(bench.say("RNFR a.txt"), [350]);
    assert_eq!(bench.world.records.len(), before);
    for no in ["SIZE none", "MDTM none", "CWD none", "CWD a.txt", "SIZE /", "RNFR none"] {
        let before = bench.world.records.len();
        assert_eq!(bench.say(no), [550], "{no}");
        assert_eq!(bench.world.records.len(), before + 1, "{no}");
        assert!(matches!(bench.refused(), Some(Refusal::Files(_))), "{no}");
    }
    assert_eq!(bench.say("SIZE ../../x"), [553]);
    assert!(matches!(bench.refused(), Some(Refusal::BadPath(_))));
    let mut bench = Bench::phone();
    assert_eq!((bench.say("SIZE none"), bench.refused()), (vec![550], Some(Refusal::NoSuchFile)));
    assert_eq!((bench.say("MDTM none"), bench.outcomes().len()), (vec![550], 2));
    assert_eq!(bench.say("CWD ../../etc"), [550]);
    assert!(matches!(bench.refused(), Some(Refusal::BadPath(_))));
}

#[test]
fn a_size_that_is_not_told_and_what_phones_may_not_say_leave_a_line() {
    let mut bench = Bench::phone();
    assert_eq!(bench.say("SIZE 2001_4620data.txt"), [504]);
    assert_eq!(bench.refused(), Some(Refusal::SizeOfVault));
    assert_eq!(bench.say("MDTM 2001_4620data.txt"), [504]);
    assert_eq!((bench.refused(), bench.outcomes().len()), (Some(Refusal::SizeOfVault), 2));
    assert_eq!((bench.say("TYPE A"), bench.say("SIZE a.txt")), (vec![200], vec![550]));
    assert_eq!((bench.refused(), bench.outcomes().len()), (Some(Refusal::SizeOfText), 3));
    assert_eq!(bench.say("MDTM a.txt"), [213]);
    assert_eq!(bench.outcomes().len(), 3);
    for (number, no) in ["LIST", "MLSD /", "MLST a", "MKD x"].iter().enumerate() {
        assert_eq!(bench.say(no), [550], "{no}");
        let expected = (Some(Refusal::AdministratorsOnly), 4 + number);
        assert_eq!((bench.refused(), bench.outcomes().len()), expected, "{no}");
    }
    assert_eq!(bench.say("DELE a.txt"), [550]);
    assert_eq!(bench.refused(), Some(Refusal::MethodNotAllowed), "no row lets it be deleted");
    let mut bench = Bench::administrator();
    assert_eq!((bench.say("TYPE A"), bench.say("SIZE /common/a.txt")), (vec![200], vec![550]));
    assert_eq!(bench.refused(), Some(Refusal::SizeOfText));
}

#[test]
fn what_cannot_be_done_with_a_path_is_told_by_the_code_that_the_rfc_has_for_it() {
    let mut bench = Bench::administrator();
    assert_eq!(bench.say("SITE CHMOD 644 /common/a.txt"), [202]);
    assert_eq!(bench.say("SITE CHMOD 644 /common/none"), [550]);
    assert_eq!(bench.say("SITE CHMOD 644"), [501]);
    assert_eq!(bench.say("SITE CHMODX 644 a"), [502]);
    // RFC 3659, 7.2.1.
    bench.passive();
    assert_eq!(bench.say("MLSD /common/a.txt"), [501]);
    // RFC 2428, 2.
    assert_eq!(bench.say("EPRT |2|fd00::1|2048|"), [522]);
    let mut bench = Bench::with("[fd00::9]:2000", |_| {}).logged_in();
    assert_eq!(bench.say("EPRT |1|10.0.0.1|2048|"), [522]);
    assert!(bench.world.counters.ftp_bounces.value() == 0);
}
