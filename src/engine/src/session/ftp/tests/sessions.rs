//! Sessions: how they begin and end, and invalid lines.

use super::*;
use crate::session::Abort;

#[test]
fn nothing_is_served_before_somebody_is_logged_in() {
    let mut bench = Bench::new();
    for no in ["PWD", "PASV", "RETR a.txt", "STOR x", "LIST", "TYPE I", "SIZE a.txt"] {
        assert_eq!(bench.say(no), [530], "{no}");
    }
    assert_eq!(bench.say("PASS x"), [503]);
    assert_eq!(bench.say("FEAT"), [211]);
    assert_eq!(bench.say("QUIT"), [221]);
    assert!(!bench.is_open());
}

#[test]
fn lines_that_are_no_commands_leave_the_session_as_it_is() {
    let mut bench = Bench::phone();
    assert_eq!(bench.send(&[&vec![b'x'; 100 << 10][..], b"\r\nNOOP\r\n"].concat()), [500, 200]);
    assert_eq!(bench.send(b"\xff\xfd\x06\xff\xf4NO\0OP\r\n"), [200]);
    assert_eq!(bench.send(b"\r\n\nNOOP\n"), [500, 500, 200]);
    assert_eq!(bench.say("CWD ../../etc"), [550]);
    assert_eq!(bench.say("CWD /any/where"), [250]);
}

#[test]
fn other_protocols_end_the_session() {
    for foreign in [&b"GET / HTTP/1.1\r\nUSER x\r\n"[..], b"\x16\x03\x01\x02\x00\x01"] {
        let mut bench = Bench::new();
        assert_eq!(bench.send(foreign), [421]);
        assert!(!bench.is_open());
    }
}

#[test]
fn whoever_ends_their_half_of_the_connection_hears_everything_they_asked_for() {
    let mut bench = Bench::phone();
    let data = bench.passive();
    bench.world.wires.get_mut(&data).unwrap().room = 10;
    assert_eq!(bench.send(b"RETR a.txt\r\nNOOP\r\nSYST\r\n"), [125]);
    bench.world.end(bench.id);
    bench.run_until_idle();
    assert!(bench.is_open() && bench.hear().is_empty());
    bench.world.wires.get_mut(&data).unwrap().room = usize::MAX;
    bench.world.drive(data);
    bench.world.run_until_idle();
    bench.run_until_idle();
    assert_eq!(bench.hear(), [226, 200, 215]);
    assert!(!bench.is_open());
}

#[test]
fn nothing_of_an_upload_is_stored_whose_session_broke_in_the_middle() {
    let mut bench = Bench::phone();
    bench.passive();
    assert_eq!(bench.say(&format!("STOR {DATA}")), [125]);
    bench.world.send(bench.data.unwrap(), b"half");
    bench.world.reset(bench.id);
    bench.run_until_idle();
    assert_eq!(bench.outcomes(), [Outcome::Aborted(Abort::Disconnected)]);
    assert!(bench.world.wires.is_empty() && bench.world.disk.vault_has(DATA).is_none());
    bench.world.run_out();
}

#[test]
fn a_session_that_breaks_while_its_upload_is_stored_leaves_nothing_behind() {
    let mut bench = Bench::phone();
    bench.passive();
    assert_eq!(bench.say(&format!("STOR {DATA}")), [125]);
    bench.answers = false;
    bench.give(b"whole");
    assert_eq!(bench.stage(), "storing");
    bench.world.reset(bench.id);
    bench.answers = true;
    bench.run_until_idle();
    assert_eq!(bench.outcomes(), [Outcome::Aborted(Abort::Disconnected)]);
    assert_eq!(bench.world.disk.vault_has(DATA), None);
    assert!(bench.world.wires.is_empty());
    bench.world.run_out();
}

#[test]
fn who_is_silent_is_sent_away() {
    let mut bench = Bench::new();
    assert_eq!(bench.wait(59_000), SILENCE);
    assert_eq!(bench.wait(1_100), [421]);
    assert!(!bench.is_open());
    let mut bench = Bench::phone();
    assert_eq!(bench.wait(299_000), SILENCE);
    assert_eq!(bench.wait(1_100), [421]);
}

#[test]
fn noop_does_not_put_the_log_in_off() {
    let mut bench = Bench::new();
    for _ in 0..5 {
        assert_eq!(bench.wait(11_000), SILENCE);
        assert_eq!(bench.say("NOOP"), [200]);
    }
    assert_eq!(bench.wait(5_100), [421]);
    assert!(!bench.is_open());
    // A client that logs out has the same time again.
    let mut bench = Bench::phone();
    assert_eq!(bench.wait(200_000), SILENCE);
    assert_eq!(bench.say("REIN"), [220]);
    assert_eq!(bench.wait(59_000), SILENCE);
    assert_eq!(bench.say("REIN"), [220]);
    assert_eq!(bench.wait(1_100), [421]);
}

#[test]
fn a_server_that_stops_lets_transfers_end_and_then_everybody_go() {
    let mut bench = Bench::phone();
    let data = bench.passive();
    bench.world.wires.get_mut(&data).unwrap().room = 10;
    assert_eq!(bench.say("RETR a.txt"), [125]);
    let idle = bench.world.connect(OTHER.parse().unwrap(), false).unwrap();
    bench.world.turn(|engine, turn| engine.stop(turn));
    bench.world.run_until_idle();
    assert!(bench.is_open() && !bench.world.wires.contains_key(&idle));
    bench.world.wires.get_mut(&data).unwrap().room = usize::MAX;
    bench.world.drive(data);
    bench.world.run_until_idle();
    bench.run_until_idle();
    assert_eq!((bench.hear(), bench.taken()), (vec![226, 421], bench.file("a.txt")));
    assert!(bench.world.wires.is_empty());
    bench.world.connect(OTHER.parse().unwrap(), false);
    bench.world.run_until_idle();
    assert!(bench.world.wires.is_empty(), "nobody new");
}

#[test]
fn a_phone_is_announced_nothing_that_it_would_be_refused() {
    for (mut bench, manages) in [(Bench::phone(), false), (Bench::administrator(), true)] {
        bench.send(b"FEAT\r\n");
        bench.heard = 0;
        let text = bench.text();
        for feature in ["MLST", "MFMT"] {
            assert_eq!(text.contains(feature), manages, "{text}");
        }
        assert!(text.contains("REST STREAM"), "{text}");
    }
}
