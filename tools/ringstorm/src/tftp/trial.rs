//! The whole tool against the TFTP engine behind one plain socket, over loopback.

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use clap::Parser;
use engine::vault::upload::{OnExists, Rule, Rules};
use phones::random::Random;
use phones::sim::tftp::{Setup, TftpServer};
use phones::sim::{Files, SERVER, Server};

use super::prepare;
use super::storm::Traffic;
use crate::clock::Clock;
use crate::harness::tally::{Count, Reason, Run};
use crate::spec::Command;

/// The engine on a socket, for as long as the test program lives.
fn serve(address: &str) -> SocketAddr {
    let socket = UdpSocket::bind(address).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
    let here = socket.local_addr().unwrap();
    let mut random = Random::new(1);
    let mut file = |bytes: usize| (0..bytes).map(|_| random.next_u64() as u8).collect();
    let files = Files::from([
        (b"settings".to_vec(), file(2_000)),
        (b"firmware".to_vec(), file(200_000)),
        (b"empty".to_vec(), file(0)),
    ]);
    let mut setup = Setup { pool_ports: 0, ..Setup::default() };
    setup.policy.uploads = Rules(vec![Rule::new("*.log", 0, 1 << 20, OnExists::Replace).unwrap()]);
    let mut server = TftpServer::new(&files, setup);
    std::thread::spawn(move || {
        let clock = Clock::start();
        let mut buffer = [0; 2_048];
        loop {
            let received = socket.recv_from(&mut buffer);
            let now = clock.now();
            if let Ok((bytes, peer)) = received {
                server.handle_datagram(SERVER.port(), peer, &buffer[..bytes], now);
            }
            if server.poll_timeout().is_some_and(|at| at <= now) {
                server.handle_timeout(now);
            }
            while let Some(datagram) = server.poll_transmit(now) {
                let _ = socket.send_to(&datagram.bytes, datagram.peer);
            }
        }
    });
    here
}

fn run_at(server: SocketAddr, arguments: &str) -> (Run, Traffic) {
    let server = server.to_string();
    let words = ["ringstorm", &server].into_iter().chain(arguments.split_ascii_whitespace());
    let command = Command::parse_from(words);
    let (storm, gate) = prepare(&command).unwrap();
    storm.run(&gate, command.give_up, |_, _| {}).unwrap()
}

fn run(arguments: &str) -> (Run, Traffic) {
    run_at(serve("127.0.0.1:0"), arguments)
}

#[test]
fn phones_on_shared_sockets_and_on_their_own_all_come_back() {
    for sockets in ["", "--own-sockets", "--ports 2", "--addresses 25 --ports 8"] {
        let (run, _) = run(&format!("--phones 100 --file settings --file firmware {sockets}"));
        assert_eq!(run.groups[0][Count::PhonesGood], 100, "{sockets}");
        assert_eq!(run.groups[0][Count::Bytes], 100 * 202_000, "{sockets}");
        let series = run.back().curve(Duration::ZERO).series();
        assert_eq!((series.len(), series[99].1), (100, 100), "{sockets}");
        assert!(!run.has_failures());
    }
}

#[test]
fn windows_losses_and_several_groups_come_through() {
    let (run, traffic) = run("--loss-in 1% --loss-out 1% --timer 300ms \
                   --group phones=20,file=firmware,blksize=1428,windowsize=16 \
                   --group rate=200,for=1s,file=settings,file=empty");
    assert_eq!((run.groups[0][Count::PhonesGood], run.groups[1][Count::PhonesGood]), (20, 200));
    assert_eq!(run.groups[0][Count::Bytes], 20 * 200_000);
    assert!(traffic.lost_in > 0 && traffic.lost_out > 0);
}

#[test]
fn a_missing_file_fails_unless_it_may_be_missing() {
    let (strict, _) = run("--phones 5 --file nothing --file settings");
    assert_eq!(strict.groups[0][Count::PhonesFailed], 5);
    assert_eq!(strict.groups[0][Reason::Failures].get("ERROR 1"), Some(&5));
    let (lenient, _) = run("--phones 5 --file SEP{mac}.cnf.xml? --file settings");
    assert!(!lenient.has_failures());
    assert_eq!(lenient.groups[0][Count::FilesGood], 10);
}

#[test]
fn wrong_bytes_are_found_out() {
    let root = tempfile::tempdir().unwrap();
    std::fs::write(root.path().join("settings"), vec![0; 2_000]).unwrap();
    std::fs::write(root.path().join("empty"), "").unwrap();
    let root = root.path().display();
    let (wrong, _) = run(&format!("--phones 3 --file settings --root {root}"));
    assert_eq!(wrong.groups[0][Reason::Failures].get("wrong bytes"), Some(&3));
    assert!(!run(&format!("--phones 3 --file empty --root {root}")).0.has_failures());
}

#[test]
fn phones_store_files_and_re_use_a_port() {
    let (run, _) = run("--group phones=50,put={mac}-app.log,size=5000 \
                   --group phones=1,same-port=50,file=settings");
    assert!(!run.has_failures());
    assert_eq!(run.groups[0][Count::Bytes], 50 * 5_000);
    assert_eq!(run.groups[1][Count::FilesGood], 50);
}

#[test]
fn forged_requests_and_garbage_are_counted() {
    let (run, traffic) =
        run("--phones 50 --file settings --forge 20 --forge-wait 2s --junk-pps 2000");
    assert!(!run.has_failures());
    assert_eq!(traffic.forged.len(), 20);
    assert!(traffic.forged.iter().all(|sends| (1..=3).contains(sends)), "{:?}", traffic.forged);
    assert!(traffic.junk_sent > 0);
}

#[test]
fn forged_requests_come_at_their_rate_and_noise_goes_where_it_is_told_to() {
    let unread = UdpSocket::bind("127.0.0.1:0").unwrap();
    unread.set_nonblocking(true).unwrap();
    let to = unread.local_addr().unwrap();
    let (run, traffic) = run(&format!(
        "--phones 5 --file settings --forge 30 --forge-pps 200 --forge-wait 50ms --noise-to {to}"
    ));
    assert!(!run.has_failures());
    assert!(traffic.forged.iter().all(|sends| *sends == 0), "{:?}", traffic.forged);
    assert!(run.wall >= Duration::from_millis(30 * 1_000 / 200), "{:?}", run.wall);
    let mut buffer = [0; 2_048];
    assert_eq!((0..30).filter(|_| unread.recv(&mut buffer).is_ok()).count(), 30);
}

#[test]
fn phones_speak_ipv6() {
    let (run, _) = run_at(serve("[::1]:0"), "--phones 20 --file settings --file firmware");
    assert!(!run.has_failures());
    assert_eq!(run.groups[0][Count::PhonesGood], 20);
}

#[test]
fn a_silent_server_is_given_up() {
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let here = silent.local_addr().unwrap();
    let (run, _) = run_at(here, "--phones 4 --file settings --timer 20ms --tries 3");
    assert_eq!(run.groups[0][Reason::Failures].get("timed out"), Some(&4));
    assert_eq!(run.groups[0][Count::Retries], 12);
    let back = run.back().curve(Duration::from_secs(7));
    assert_eq!((back.phones(), back.series().len(), run.resends()), (4, 0, 12));
    let (run, _) = run_at(here, "--phones 4 --file settings --give-up 100ms");
    assert_eq!(run.groups[0][Reason::Failures].get("unfinished"), Some(&4));
}
