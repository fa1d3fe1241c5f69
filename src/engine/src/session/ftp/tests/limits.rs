//! Limits: sessions, commands, log-ins, slots and memory.

use super::*;
use crate::admission::slots::{IdlePlace, Overflow};

#[test]
fn one_session_too_many_is_told_so() {
    let mut bench = Bench::with(PHONE, |policy| policy.ftp.limits.per_address_max = 1);
    let second = bench.world.connect("10.0.0.1:2001".parse().unwrap(), false).unwrap();
    bench.run_until_idle();
    assert!(!bench.world.wires.contains_key(&second));
    assert_eq!(bench.refused(), Some(Refusal::TooManyConnections));
    assert!(bench.world.connect(OTHER.parse().unwrap(), false).is_some());
    assert_eq!(bench.world.engine.sessions_open(), 2);
}

#[test]
fn strangers_never_have_all_sessions() {
    let mut bench = Bench::with(PHONE, |policy| policy.ftp.limits.sessions_max = 16);
    let mut connect = |from: &str| bench.world.connect(from.parse().unwrap(), false).unwrap();
    let first = connect("192.0.2.1:1");
    connect("192.0.2.2:1");
    let third = connect("192.0.2.3:1");
    bench.run_until_idle();
    assert!(!bench.world.wires.contains_key(&third), "an eighth of 16");
    assert_eq!(bench.refused(), Some(Refusal::TooManyStrangers));
    bench.world.reset(first);
    let next = bench.world.connect("192.0.2.3:2".parse().unwrap(), false).unwrap();
    bench.run_until_idle();
    assert!(bench.world.wires.contains_key(&next));
}

#[test]
fn commands_come_no_faster_than_is_allowed_and_none_is_lost() {
    let mut bench = Bench::new();
    let heard = bench.send(&b"NOOP\r\n".repeat(600)).len();
    assert_eq!(heard, 500);
    assert_eq!(bench.wait(1_010).len(), 50);
    assert_eq!(bench.wait(1_010).len(), 50);
}

#[test]
fn a_command_that_comes_byte_by_byte_is_one_command() {
    let mut bench = Bench::with(PHONE, |policy| policy.ftp.limits.commands_per_second = 1);
    let mut heard = Vec::new();
    for byte in b"NOOP\r\nHELP\r\n" {
        heard.extend(bench.send(&[*byte]));
    }
    assert_eq!(heard, [200, 214]);
}

#[test]
fn whoever_reads_no_replies_has_no_more_commands_obeyed() {
    let mut bench = Bench::new();
    bench.world.wires.get_mut(&bench.id).unwrap().room = 0;
    bench.send(&b"FEAT\r\n".repeat(450));
    let session = bench.world.engine.session(bench.id).unwrap();
    assert!(session.replies.bytes.len() < 20_000, "{} bytes", session.replies.bytes.len());
    bench.world.wires.get_mut(&bench.id).unwrap().room = usize::MAX;
    bench.world.drive(bench.id);
    bench.world.run_until_idle();
    assert_eq!(bench.hear().len(), 450);
}

#[test]
fn wrong_passwords_end_the_session() {
    let mut bench = Bench::new();
    for _ in 0..2 {
        assert_eq!(bench.say("USER root"), [331]);
        assert_eq!(bench.say("PASS wrong"), [530]);
    }
    assert_eq!(bench.send(b"USER root\r\nPASS wrong\r\nUSER root\r\nPASS secret\r\n"), [331, 421]);
    assert!(!bench.is_open());
    assert_eq!(bench.world.counters.ftp_logins_failed.value(), 3);
}

#[test]
fn a_place_is_waited_for_and_its_owner_keeps_it() {
    let slots = |policy: &mut Policy| {
        policy.slots.clients_max = 1;
        policy.slots.idle_place = IdlePlace::Keep;
        policy.slots.overflow = Overflow::Queue;
    };
    let mut bench = Bench::with(PHONE, slots).logged_in();
    assert_eq!(bench.fetch("a.txt").0, [125, 226]);
    let (phone, heard) = (bench.id, bench.heard);
    let peer = bench.peer;
    bench.peer = OTHER.parse().unwrap();
    bench.id = bench.world.connect(bench.peer, false).unwrap();
    bench.heard = 0;
    assert_eq!(bench.hear(), [220]);
    let mut bench = bench.logged_in();
    bench.passive();
    assert_eq!(bench.send(b"RETR a.txt\r\nNOOP\r\n"), SILENCE);
    assert_eq!(bench.stage(), "slot");
    assert_eq!(bench.wait(1_600), [450, 200]);
    assert_eq!(bench.refused(), Some(Refusal::NoSlot));
    bench.passive();
    bench.say("RETR a.txt");
    assert_eq!((bench.stage(), bench.say("ABOR")), ("slot", vec![426, 226]));
    assert_eq!(bench.world.admission.slots.waiting(), 0);
    (bench.id, bench.heard, bench.peer) = (phone, heard, peer);
    assert_eq!(bench.fetch("a.txt").0, [125, 226]);
}

#[test]
fn uploads_that_are_under_way_have_so_much_memory_and_no_more() {
    let mut bench =
        Bench::with(PHONE, |policy| policy.ftp.limits.upload_memory_bytes_max = 1_000).logged_in();
    assert_eq!(bench.store("STOR my.log", &[b'x'; 1_001]), [125, 452]);
    assert_eq!(bench.refused(), Some(Refusal::UploadMemory));
    assert_eq!(bench.world.engine.uploads_held(), 0);
    assert_eq!(bench.store("STOR my.log", &[b'x'; 1_000]), [125, 226]);
}

#[test]
fn names_that_do_not_exist_are_answered_slowly_and_then_not_at_all() {
    let mut bench = Bench::with(PHONE, |policy| policy.guesses.misses_max = 8).logged_in();
    for mac in 0..8 {
        assert_eq!(bench.send(format!("MDTM SEP0004F200000{mac}.cnf.xml\r\n").as_bytes()), [550]);
    }
    assert!(bench.send(b"NOOP\r\n").is_empty(), "the next command waits");
    assert_eq!(bench.wait(1_100), [200]);
    assert_eq!(bench.send(b"MDTM SEP0004F2000008.cnf.xml\r\n"), [450]);
    assert_eq!(bench.world.counters.misses_refused.value(), 1);
}
