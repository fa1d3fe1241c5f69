//! Data connections: whose, when, and the result of transfers that end early.

use super::*;
use crate::session::stream::DialFault;
use crate::session::{Abort, DataFault, Stall};

#[test]
fn nobody_is_called_but_the_client_at_ports_from_1024_on() {
    let mut bench = Bench::phone();
    for bad in ["PORT 192,0,2,1,8,0", "PORT 10,0,0,1,0,22", "EPRT |1|10.0.0.2|2048|"] {
        assert_eq!(bench.say(bad), [501], "{bad}");
        assert_eq!(bench.say("RETR a.txt"), [425], "{bad}");
    }
    assert_eq!(bench.world.counters.ftp_bounces.value(), 3);
    assert_eq!(bench.say("PORT 10,0,0,1,8,0"), [200]);
    assert_eq!(bench.say("RETR a.txt"), [150]);
    let (data, wire) = bench.world.wires.iter().find(|(id, _)| **id != bench.id).unwrap();
    assert_eq!((wire.peer, wire.link), ("10.0.0.1:2048".parse().unwrap(), Link::Dialing));
    bench.data = Some(*data);
    bench.world.dialed(bench.data.unwrap(), Ok(()));
    bench.run_until_idle();
    assert_eq!((bench.hear(), bench.taken()), (vec![226], bench.file("a.txt")));
}

#[test]
fn a_client_that_cannot_be_called_is_told_why() {
    let mut bench = Bench::phone();
    bench.say("PORT 10,0,0,1,8,0");
    assert_eq!(bench.say("RETR a.txt"), [150]);
    let data = *bench.world.wires.keys().find(|id| **id != bench.id).unwrap();
    bench.world.dialed(data, Err(DialFault::Refused));
    bench.run_until_idle();
    assert!(bench.text().contains("Nobody listens where PORT said"));
    let fault = DataFault::NotReached(DialFault::Refused);
    assert_eq!(bench.refused(), Some(Refusal::DataConnection(fault)));
}

#[test]
fn a_data_connection_that_never_comes_is_given_up() {
    let mut bench = Bench::phone();
    assert_eq!(bench.say("PASV"), [227]);
    assert_eq!(bench.send(b"RETR a.txt\r\nNOOP\r\n"), [150]);
    assert_eq!(bench.wait(19_000), SILENCE);
    // The command after it is executed.
    assert_eq!(bench.wait(1_100), [425, 200]);
    assert!(matches!(bench.refused(), Some(Refusal::DataConnection(DataFault::NeverCame(_)))));
    assert!(bench.world.open_ports.is_empty());
}

#[test]
fn several_clients_of_a_network_that_never_come_are_the_networks_fault() {
    let mut bench = Bench::phone();
    let mut faults = Vec::new();
    for host in [1, 1, 2, 3, 4] {
        bench.peer = SocketAddr::from(([10, 0, 7, host], 3_000));
        (bench.id, bench.heard) = (bench.world.connect(bench.peer, false).unwrap(), 0);
        bench.hear();
        bench = bench.logged_in();
        bench.send(b"PASV\r\nRETR a.txt\r\n");
        bench.wait(20_100);
        faults.extend(bench.refused());
    }
    let is_network = |no: &Refusal| {
        matches!(no, Refusal::DataConnection(DataFault::NetworkNeverComes(50_000..=50_999)))
    };
    assert_eq!(
        faults.iter().map(is_network).collect::<Vec<_>>(),
        [false, false, false, true, true]
    );
    let words = bench.world.records.last().and_then(|record| record.words.clone()).unwrap();
    assert!(words.starts_with(b"port 50"), "{}", words.escape_ascii());
    // One connection shows that the others were possible.
    assert_eq!(bench.fetch("a.txt").0, [125, 226]);
    bench.send(b"PASV\r\nRETR a.txt\r\n");
    bench.wait(20_100);
    assert!(!is_network(&bench.refused().unwrap()));
}

#[test]
fn strangers_are_not_let_in_and_do_not_keep_the_client_out() {
    let mut bench = Bench::phone();
    assert_eq!(bench.say("PASV"), [227]);
    let data = *bench.world.open_ports.keys().next().unwrap();
    assert!(!bench.world.knock(data, "10.0.0.2:5000".parse().unwrap()));
    assert!(bench.world.knock(data, "[::ffff:10.0.0.1]:5000".parse().unwrap()));
    assert!(!bench.world.knock(data, "10.0.0.1:5001".parse().unwrap()), "once");
}

#[test]
fn a_second_passive_port_takes_the_place_of_the_first() {
    let mut bench = Bench::phone();
    assert_eq!(bench.say("PASV"), [227]);
    let first = *bench.world.open_ports.keys().next().unwrap();
    assert_eq!(bench.say("EPSV"), [229]);
    assert_eq!(bench.world.open_ports.len(), 1);
    assert!(!bench.world.knock(first, bench.peer));
}

#[test]
fn where_no_port_is_free_the_client_is_told() {
    let mut bench = Bench::phone();
    bench.world.is_full = true;
    assert_eq!(bench.say("PASV"), [425]);
    assert_eq!(bench.refused(), Some(Refusal::DataConnection(DataFault::NoPort)));
    bench.world.is_full = false;
    assert_eq!(bench.fetch("a.txt").0, [125, 226]);
}

#[test]
fn after_epsv_all_nothing_else_is_served() {
    let mut bench = Bench::phone();
    assert_eq!(bench.say("EPSV ALL"), [200]);
    for no in ["PASV", "PORT 10,0,0,1,8,0", "EPRT |1|10.0.0.1|2048|"] {
        assert_eq!(bench.say(no), [501], "{no}");
    }
    assert_eq!(bench.say("EPSV 2"), [522]);
    assert_eq!(bench.say("EPSV 1"), [229]);
}

#[test]
fn abor_ends_a_transfer_at_each_stage_it_can_be_ended_at() {
    let expected = [426, 226];
    // Waiting for the phone's user.
    let mut bench = Bench::new();
    bench.answers = false;
    let mut bench = bench.logged_in();
    bench.passive();
    bench.say(&format!("RETR {DATA}"));
    assert_eq!((bench.stage(), bench.say("ABOR")), ("identity", expected.to_vec()));
    // Waiting for the file.
    bench.passive();
    bench.say("RETR a.txt");
    assert_eq!((bench.stage(), bench.say("ABOR")), ("opening", expected.to_vec()));
    bench.answers = true;
    bench.run_until_idle();
    // Waiting for the data connection.
    assert_eq!(bench.say("EPSV"), [229]);
    assert_eq!(bench.say("RETR a.txt"), [150]);
    assert_eq!((bench.stage(), bench.say("ABOR")), ("data", expected.to_vec()));
    // Sending.
    let data = bench.passive();
    bench.world.wires.get_mut(&data).unwrap().room = 100;
    assert_eq!(bench.say("RETR a.txt"), [125]);
    assert_eq!(
        (bench.stage(), bench.send(b"\xff\xf4\xff\xf2ABOR\r\n")),
        ("out", expected.to_vec())
    );
    assert_eq!(bench.taken().len(), 100);
    // Receiving.
    bench.passive();
    assert_eq!(bench.say(&format!("STOR {DATA}")), [125]);
    bench.world.send(bench.data.unwrap(), b"half");
    assert_eq!((bench.stage(), bench.say("ABOR")), ("in", expected.to_vec()));
    // Being written, and not in its place yet.
    bench.passive();
    assert_eq!(bench.say(&format!("STOR {DATA}")), [125]);
    bench.answers = false;
    bench.give(b"whole");
    assert_eq!((bench.stage(), bench.say("ABOR")), ("storing", expected.to_vec()));
    assert_eq!(bench.answer(0), SILENCE);
    assert_eq!(bench.world.disk.vault_has(DATA), None);
    let ends = bench.outcomes().into_iter().filter(|end| *end == Outcome::Aborted(Abort::Asked));
    assert_eq!((ends.count(), bench.world.engine.transfers_open()), (6, 0));
    assert_eq!(bench.say("ABOR"), [226]);
}

#[test]
fn abor_waits_for_a_port_a_password_and_an_act() {
    let mut bench = Bench::phone();
    bench.world.holds_commands = true;
    assert_eq!(bench.send(b"PASV\r\nABOR\r\nNOOP\r\n"), SILENCE);
    bench.world.holds_commands = false;
    bench.world.run_until_idle();
    bench.run_until_idle();
    assert_eq!(bench.hear(), [227, 225, 200]);
    let mut bench = Bench::new();
    bench.answers = false;
    assert_eq!(bench.send(b"USER root\r\nPASS secret\r\nABOR\r\n"), [331]);
    assert_eq!(bench.answer(0), [230, 226]);
    assert_eq!(bench.send(b"DELE /common/a.txt\r\nABOR\r\n"), SILENCE);
    assert_eq!(bench.answer(0), [250, 226]);
}

#[test]
fn an_answer_that_comes_after_abor_is_never_taken_for_that_to_the_next_command() {
    let mut bench = Bench::administrator();
    bench.passive();
    bench.answers = false;
    assert_eq!(bench.say("RETR /common/a.txt"), SILENCE);
    assert_eq!(bench.say("ABOR"), [426, 226]);
    // The answer to the first question is still under way, and blocks nothing.
    bench.passive();
    assert_eq!(bench.say("RETR /common/firmware.bin"), SILENCE);
    assert_eq!((bench.answer(0), bench.stage()), (SILENCE.to_vec(), "opening"));
    bench.answers = true;
    bench.run_until_idle();
    assert_eq!((bench.hear(), bench.taken().len()), (vec![125, 226], 200_000));
    bench.passive();
    bench.answers = false;
    assert_eq!(bench.say("STOR /common/one"), SILENCE);
    assert_eq!(bench.say("ABOR"), [426, 226]);
    // Its part comes, and is discarded; the next upload has one of its own.
    assert_eq!(bench.send(b"DELE /common/a.txt\r\n"), SILENCE);
    bench.answer(0);
    assert!(bench.world.store_requests.len() == 2 && bench.hear().is_empty());
    bench.answers = true;
    bench.run_until_idle();
    assert_eq!((bench.hear(), bench.world.disk.uploads()), (vec![250], 0));
}

#[test]
fn a_part_of_an_upload_that_comes_after_abor_is_never_written_into_the_next_one() {
    let mut bench = Bench::administrator();
    bench.passive();
    bench.answers = false;
    assert_eq!(bench.say("STOR /common/one"), SILENCE);
    assert_eq!(bench.say("ABOR"), [426, 226]);
    bench.passive();
    assert_eq!(bench.say("STOR /common/two"), SILENCE);
    let second = bench.world.store_requests.pop().unwrap();
    bench.world.answer(second, 0);
    bench.run_until_idle();
    assert_eq!((bench.hear(), bench.stage()), (vec![125], "in"));
    // The part of the first, which is discarded.
    assert_eq!(bench.answer(0), SILENCE);
    bench.answers = true;
    assert_eq!(bench.give(b"two"), [226]);
    assert_eq!((bench.file("two"), bench.world.disk.uploads()), (b"two".to_vec(), 0));
    assert_eq!(bench.world.disk.bytes_of("/common/one"), None);
}

#[test]
fn a_question_that_a_full_queue_gives_back_after_abor_changes_nothing_of_the_next_transfer() {
    let mut bench = Bench::phone();
    bench.answers = false;
    bench.passive();
    assert_eq!(bench.say("RETR firmware.bin"), SILENCE);
    assert_eq!(bench.answer(0), [125]);
    let read = bench.world.store_requests.remove(0);
    assert_eq!(bench.say("ABOR"), [426, 226]);
    bench.passive();
    assert_eq!(bench.say("RETR firmware.bin"), [125]);
    bench.world.refuse(read);
    assert_eq!((bench.stage(), bench.world.store_requests.len()), ("out", 1), "asked once");
    bench.answers = true;
    bench.run_until_idle();
    assert_eq!((bench.hear(), bench.taken().len()), (vec![226], 200_000));
}

#[test]
fn bytes_of_one_file_never_reach_another_after_the_data_connection_broke() {
    let mut bench = Bench::phone();
    bench.passive();
    bench.answers = false;
    assert_eq!(bench.say("RETR firmware.bin"), SILENCE);
    assert_eq!(bench.answer(0), [125]);
    assert!(matches!(bench.first_request(), StoreRequest::Read { .. }));
    bench.world.reset(bench.data.unwrap());
    assert_eq!(bench.hear(), [426]);
    assert_eq!(bench.say("PASV"), [227]);
    bench.answers = true;
    bench.run_until_idle();
    assert_eq!(bench.hear(), SILENCE);
    assert_eq!(bench.fetch("firmware.bin"), (vec![125, 226], bench.file("firmware.bin")));
}

#[test]
fn commands_behind_a_transfer_wait_and_are_answered_in_order() {
    let mut bench = Bench::phone();
    let data = bench.passive();
    bench.world.wires.get_mut(&data).unwrap().room = 10;
    let long = vec![b'x'; 5_000];
    let said = [b"RETR a.txt\r\nNOOP\r\n", &long[..], b"\r\nQUIT\r\nNOOP\r\n"].concat();
    assert_eq!(bench.send(&said), [125]);
    bench.world.wires.get_mut(&data).unwrap().room = usize::MAX;
    bench.world.drive(data);
    bench.world.run_until_idle();
    bench.run_until_idle();
    assert_eq!(bench.hear(), [226, 200, 500, 221]);
    assert!(!bench.is_open());
}

#[test]
fn http_behind_a_transfer_ends_the_session_and_leaks_nothing() {
    let mut bench = Bench::phone();
    bench.passive();
    assert_eq!(bench.say(&format!("STOR {DATA}")), [125]);
    bench.world.send(bench.data.unwrap(), b"half");
    assert_eq!(bench.send(b"GET / HTTP/1.1\r\n\r\n"), SILENCE);
    assert_eq!(bench.give(b"whole"), [226, 421]);
    assert!(!bench.is_open());
    assert_eq!(bench.world.engine.transfers_open(), 0);
}

#[test]
fn a_client_that_takes_nothing_or_brings_nothing_is_given_up() {
    let cases = [("RETR firmware.bin", Stall::Unread), ("STOR my.log", Stall::Unsent)];
    for (command, stall) in cases {
        let mut bench = Bench::phone();
        let data = bench.passive();
        bench.world.wires.get_mut(&data).unwrap().room = 10;
        assert_eq!(bench.say(command), [125]);
        assert_eq!(bench.wait(59_000), SILENCE);
        assert_eq!(bench.wait(1_100), [426]);
        assert_eq!(bench.outcomes(), [Outcome::Stalled(stall)]);
    }
}

#[test]
fn a_client_that_acknowledges_something_now_and_then_is_waited_for() {
    let mut bench = Bench::phone();
    let data = bench.passive();
    bench.world.wires.get_mut(&data).unwrap().room = 100_000;
    bench.world.wires.get_mut(&data).unwrap().unacknowledged = 95_000;
    assert_eq!(bench.say("RETR firmware.bin"), [125]);
    for unacknowledged in [60_000, 40_000, 20_000, 1_000] {
        bench.world.wires.get_mut(&data).unwrap().unacknowledged = unacknowledged;
        assert_eq!(bench.wait(59_000), SILENCE, "{unacknowledged}");
    }
    assert_eq!(bench.wait(75_100), [426]);
    let record = bench.world.records.pop().unwrap();
    assert_eq!((record.outcome, record.bytes), (Outcome::Stalled(Stall::Unread), 99_000));
}

#[test]
fn what_the_system_holds_for_a_client_that_reads_nothing_wins_it_no_time() {
    let mut bench = Bench::phone();
    let data = bench.passive();
    bench.world.wires.get_mut(&data).unwrap().room = 100_000;
    bench.world.wires.get_mut(&data).unwrap().unacknowledged = 90_000;
    assert_eq!(bench.say("RETR firmware.bin"), [125]);
    assert_eq!(bench.wait(55_000), SILENCE);
    let wire = bench.world.wires.get_mut(&data).unwrap();
    (wire.room, wire.unacknowledged) = (5_000, 95_000);
    bench.world.drive(data);
    bench.run_until_idle();
    assert_eq!(bench.wait(16_000), [426]);
    assert_eq!(bench.outcomes(), [Outcome::Stalled(Stall::Unread)]);
}

#[test]
fn a_slow_disk_is_no_fault_of_the_client() {
    let mut bench = Bench::phone();
    bench.passive();
    bench.answers = false;
    bench.say("RETR firmware.bin");
    assert_eq!(bench.answer(0), [125]);
    assert_eq!(bench.wait(400_000), SILENCE);
    bench.answers = true;
    bench.run_until_idle();
    assert_eq!((bench.hear(), bench.taken()), (vec![226], bench.file("firmware.bin")));
}

#[test]
fn text_leaves_with_the_line_ends_of_the_network_and_rest_is_for_images() {
    let mut bench = Bench::phone();
    assert_eq!(bench.say("TYPE A"), [200]);
    assert_eq!(bench.say("REST 2"), [501]);
    assert_eq!(bench.say("SIZE a.txt"), [550]);
    let (codes, bytes) = bench.fetch("firmware.bin");
    let lines = bench.file("firmware.bin").iter().filter(|byte| **byte == b'\n').count();
    assert_eq!(codes, [125, 226]);
    assert!(bytes.len() > 200_000 && bytes.len() <= 200_000 + lines);
    assert_eq!(bench.say("TYPE I"), [200]);
    assert_eq!(bench.say("REST 199990"), [350]);
    assert_eq!(bench.fetch("firmware.bin").1, bench.file("firmware.bin")[199_990..]);
    assert_eq!(bench.say("REST 200001"), [350]);
    assert_eq!(bench.fetch("firmware.bin"), (vec![550], Vec::new()));
}
