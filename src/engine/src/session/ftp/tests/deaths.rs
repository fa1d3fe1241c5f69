//! Clients that die, leave, or abort during an upload.

use super::*;
use crate::session::ftp::model::Death;
use crate::session::{Abort, Stall};

/// The upload commands, and whether they are an administrator's.
const UPLOADS: [(&str, bool); 6] = [
    ("STOR 2001_4620data.txt", false),
    ("STOR my.log", false),
    ("STOR /common/a.txt", true),
    ("APPE /common/a.txt", true),
    ("STOU", true),
    ("REST 5\r\nSTOR /common/a.txt", true),
];

/// Makes a client in the middle of an upload, in clear or protected.
fn midway(command: &str, is_administrator: bool, is_private: bool) -> Bench {
    let mut bench = Bench::new();
    bench.world.disk.keep(DATA, b"good");
    if is_private {
        bench.say("AUTH TLS");
        bench.secure(bench.id);
    }
    let log_in = if is_administrator { "USER root\r\nPASS secret" } else { "USER ftp\r\nPASS x" };
    assert_eq!(bench.say(log_in), [331, 230]);
    bench.say(if is_private { "TYPE I\r\nPBSZ 0\r\nPROT P" } else { "TYPE I" });
    let data = bench.passive();
    assert_eq!(bench.say(command).last(), Some(&125), "{command}");
    if is_private {
        assert_eq!(bench.secure(data), SILENCE);
    }
    bench.world.send(data, &[b'x'; 1_900]);
    bench.run_until_idle();
    bench
}

/// Returns an administrator's and a phone's file on the disk.
fn disk(bench: &Bench) -> (Option<Vec<u8>>, usize, Option<Vec<u8>>) {
    let old = bench.world.disk.vault_has(DATA);
    (old, bench.file("a.txt").len(), bench.world.disk.bytes_of("/common/my.log"))
}

#[test]
fn a_client_that_is_killed_has_stored_nothing_in_whatever_order_its_connections_end() {
    for (command, is_administrator) in UPLOADS {
        for is_private in [false, true] {
            for bits in 0..32 {
                let mut bench = midway(command, is_administrator, is_private);
                let (id, before) = (bench.id, disk(&bench));
                let death = Death::numbered(bits, Duration::from_millis(COMMIT_MS));
                bench.world.kill(id, death);
                bench.run_until_idle();
                bench.wait(400_000);
                let case = format!("{command}, {death:?}, private {is_private}");
                assert_eq!(disk(&bench), before, "{case}");
                let last = bench.outcomes().pop();
                assert_eq!(last, Some(Outcome::Aborted(Abort::Disconnected)), "{case}");
                assert_eq!(bench.world.disk.uploads(), 0, "{case}");
                bench.world.run_out();
            }
        }
    }
}

#[test]
fn where_the_network_is_gone_an_upload_is_given_up_and_nothing_stored() {
    for (command, is_administrator) in UPLOADS {
        let mut bench = midway(command, is_administrator, false);
        let before = disk(&bench);
        assert_eq!(bench.wait(61_000), [426], "{command}");
        assert_eq!((disk(&bench), bench.world.disk.uploads()), (before, 0), "{command}");
        assert_eq!(bench.outcomes().pop(), Some(Outcome::Stalled(Stall::Unsent)));
    }
}

#[test]
fn a_client_that_waits_for_the_reply_is_served_and_what_is_protected_at_once() {
    for (command, is_administrator) in UPLOADS {
        for is_private in [false, true] {
            let mut bench = midway(command, is_administrator, is_private);
            bench.world.end(bench.data.unwrap());
            bench.run_until_idle();
            let at_once = bench.hear();
            let later = bench.wait(COMMIT_MS);
            let expected = if is_private { (vec![226], vec![]) } else { (vec![], vec![226]) };
            assert_eq!((at_once, later), expected, "{command}");
            assert_eq!(bench.say("QUIT"), [221]);
        }
    }
}

#[test]
fn data_over_tls_that_ends_without_a_word_is_not_whole() {
    for (command, is_administrator) in UPLOADS {
        let mut bench = midway(command, is_administrator, true);
        let before = disk(&bench);
        bench.world.cut(bench.data.unwrap());
        bench.run_until_idle();
        assert_eq!((bench.hear(), disk(&bench)), (vec![426], before), "{command}");
        assert_eq!(bench.say("NOOP"), [200]);
    }
    // Nor is a data connection that never completed its handshake.
    let mut bench = Bench::new();
    bench.say("AUTH TLS");
    bench.secure(bench.id);
    bench.say("USER root\r\nPASS secret\r\nPBSZ 0\r\nPROT P");
    let data = bench.passive();
    assert_eq!(bench.say("STOR /common/a.txt"), [125]);
    bench.world.turn(|engine, turn| {
        use crate::session::stream::Connections as _;
        engine.handle_end(data, turn);
    });
    bench.world.drive(data);
    bench.world.run_until_idle();
    bench.run_until_idle();
    assert_eq!((bench.hear(), bench.file("a.txt").len()), (vec![426], 700));
}

#[test]
fn a_client_that_leaves_before_its_handshake_leaves_no_session() {
    let mut bench = Bench::new();
    assert_eq!(bench.say("AUTH TLS"), [234]);
    let id = bench.id;
    bench.world.turn(|engine, turn| {
        use crate::session::stream::{Connections as _, Next};
        engine.handle_end(id, turn);
        assert_eq!(engine.next(id), Next::Close);
    });
}

#[test]
fn a_session_that_ends_while_its_file_is_stored_takes_it_back_until_it_is_in_its_place() {
    for ends in [true, false] {
        let mut bench = midway("STOR /common/a.txt", true, false);
        bench.answers = false;
        bench.world.end(bench.data.unwrap());
        while bench.stage() != "storing" {
            if bench.world.store_requests.is_empty() {
                assert_eq!(bench.wait(COMMIT_MS), SILENCE);
            } else {
                assert_eq!(bench.answer(0), SILENCE);
            }
        }
        match ends {
            true => bench.world.end(bench.id),
            false => bench.world.reset(bench.id),
        }
        bench.answers = true;
        bench.run_until_idle();
        assert_eq!(bench.outcomes().pop(), Some(Outcome::Aborted(Abort::Disconnected)));
        assert_eq!((bench.file("a.txt").len(), bench.world.disk.uploads()), (700, 0));
        bench.world.run_out();
    }
}

#[test]
fn a_client_whose_commands_are_not_read_on_is_seen_to_leave_all_the_same() {
    for command in ["STOR my.log", "STOR 2001_4620data.txt"] {
        let mut bench = midway(command, false, false);
        let before = disk(&bench);
        // More than is read while a transfer runs, and faster than the limit.
        bench.world.send(bench.id, &b"NOOP\r\n".repeat(20_000));
        let (id, longest) = (bench.id, Duration::from_millis(COMMIT_MS));
        bench.world.kill(id, Death::numbered(0b1_0001, longest));
        bench.run_until_idle();
        bench.wait(30_000);
        assert_eq!(disk(&bench), before, "{command}");
    }
}

#[test]
fn quit_behind_a_transfer_lets_it_end_first() {
    for (command, is_administrator) in UPLOADS {
        let mut bench = midway(command, is_administrator, false);
        assert_eq!(bench.say("QUIT"), SILENCE);
        assert_eq!(bench.give(b"the rest"), [226, 221], "{command}");
        assert!(!bench.is_open());
    }
    let mut bench = Bench::phone();
    let data = bench.passive();
    bench.world.wires.get_mut(&data).unwrap().room = 10;
    assert_eq!(bench.send(b"RETR a.txt\r\nQUIT\r\n"), [125]);
    bench.world.end(bench.id);
    bench.world.wires.get_mut(&data).unwrap().room = usize::MAX;
    bench.world.drive(data);
    bench.world.run_until_idle();
    bench.run_until_idle();
    assert_eq!((bench.hear(), bench.taken()), (vec![226, 221], bench.file("a.txt")));
}

#[test]
fn a_client_that_says_quit_behind_its_file_may_leave_without_hearing_the_reply() {
    for resets in [false, true] {
        let mut bench = midway("STOR 2001_4620data.txt", false, false);
        bench.answers = false;
        bench.world.end(bench.data.unwrap());
        bench.world.send(bench.id, b"QUIT\r\n");
        match resets {
            true => bench.world.reset(bench.id),
            false => bench.world.end(bench.id),
        }
        bench.answers = true;
        bench.run_until_idle();
        assert_eq!(bench.world.disk.vault_has(DATA).map(|kept| kept.len()), Some(1_900));
        let end = if resets { Outcome::DoneUnacknowledged } else { Outcome::Done };
        assert_eq!(bench.outcomes().pop(), Some(end));
    }
    // Sent before the end, it does not confirm the end.
    let mut bench = midway("STOR 2001_4620data.txt", false, false);
    bench.world.send(bench.id, b"QUIT\r\n");
    let (id, longest) = (bench.id, Duration::from_millis(COMMIT_MS));
    bench.world.kill(id, Death::numbered(1, longest));
    bench.run_until_idle();
    assert_eq!(bench.world.disk.vault_has(DATA).unwrap(), b"good");
}

#[test]
fn abor_is_heard_behind_other_commands_and_each_is_answered_in_its_turn() {
    for abor in [&b"ABOR\r\n"[..], b"\xff\xf4\xff\xf2ABOR\r\n"] {
        for (command, is_administrator) in UPLOADS {
            let mut bench = midway(command, is_administrator, false);
            let before = disk(&bench);
            for _ in 0..100 {
                assert_eq!(bench.say("NOOP"), SILENCE);
            }
            let replies = bench.send(&[abor, b"SYST\r\n"].concat());
            assert_eq!(replies.len(), 103, "{command}");
            assert_eq!((replies[0], &replies[99..]), (426, &[200, 200, 226, 215][..]), "{command}");
            bench.wait(1_000);
            assert_eq!((disk(&bench), bench.world.disk.uploads()), (before, 0), "{command}");
        }
    }
    let mut bench = Bench::phone();
    let data = bench.passive();
    bench.world.wires.get_mut(&data).unwrap().room = 10;
    assert_eq!(bench.say("RETR firmware.bin"), [125]);
    assert_eq!(bench.send(b"NOOP\r\nbogus\r\nABOR\r\n"), [426, 200, 500, 226]);
    assert_eq!(bench.taken().len(), 10);
}

#[test]
fn abor_after_the_end_of_the_bytes_still_takes_the_file_back() {
    let mut bench = midway("STOR 2001_4620data.txt", false, false);
    bench.world.end(bench.data.unwrap());
    assert_eq!(bench.send(b"NOOP\r\nABOR\r\n"), [426, 200, 226]);
    bench.wait(1_000);
    assert_eq!(bench.world.disk.vault_has(DATA).unwrap(), b"good");
}

#[test]
fn rest_is_refused_before_what_has_no_middle() {
    let mut bench = Bench::administrator();
    for command in ["APPE /common/a.txt", "STOU", "STOU x"] {
        assert_eq!(bench.say("REST 5"), [350]);
        assert_eq!(bench.store(command, b"x"), [550], "{command}");
        assert_eq!(bench.refused(), Some(Refusal::NoMiddle));
        assert_eq!(bench.file("a.txt").len(), 700);
    }
    // It was refused once.
    assert_eq!(bench.store("APPE /common/a.txt", b"x"), [125, 226]);
    assert_eq!(bench.file("a.txt").len(), 701);
}

#[test]
fn stou_tells_the_name_that_it_chose() {
    let mut bench = Bench::administrator();
    assert_eq!(bench.say("CWD /common"), [250]);
    bench.passive();
    bench.world.send(bench.id, b"STOU\r\n");
    bench.run_until_idle();
    assert_eq!(bench.text(), "125 FILE: /common/upload\r\n");
    assert_eq!(bench.give(b"x"), [226]);
    assert_eq!(bench.file("upload"), b"x");
}
