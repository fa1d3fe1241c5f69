//! The whole tool against the TFTP engine behind one plain socket, over loopback.

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use clap::Parser;
use engine::vault::upload::{Existing, Rule, Rules};
use phones::random::Random;
use phones::sim::tftp::{Setup, TftpServer};
use phones::sim::{Files, SERVER, Server};

use crate::clock::Clock;
use crate::prepare;
use crate::spec::Command;
use crate::tally::{Failure, Run};

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
    setup.policy.uploads = Rules(vec![Rule::new("*.log", 0, 1 << 20, Existing::Replace).unwrap()]);
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

fn run_at(server: SocketAddr, arguments: &str) -> Run {
    let server = server.to_string();
    let words = ["ringstorm", &server].into_iter().chain(arguments.split_ascii_whitespace());
    let command = Command::parse_from(words);
    prepare(&command).unwrap().run(command.give_up, |_| {}).unwrap()
}

fn run(arguments: &str) -> Run {
    run_at(serve("127.0.0.1:0"), arguments)
}

#[test]
fn phones_on_shared_sockets_and_on_their_own_all_come_back() {
    for sockets in ["", "--own-sockets", "--ports 2", "--addresses 25 --ports 8"] {
        let run = run(&format!("--phones 100 --file settings --file firmware {sockets}"));
        assert_eq!(run.groups[0].phones_good, 100, "{sockets}");
        assert_eq!(run.groups[0].bytes, 100 * 202_000, "{sockets}");
        assert!(!run.has_failures());
    }
}

#[test]
fn windows_losses_and_several_groups_come_through() {
    let run = run("--loss-in 1% --loss-out 1% --timer 300ms \
                   --group phones=20,file=firmware,blksize=1428,windowsize=16 \
                   --group rate=200,for=1s,file=settings,file=empty");
    assert_eq!((run.groups[0].phones_good, run.groups[1].phones_good), (20, 200));
    assert_eq!(run.groups[0].bytes, 20 * 200_000);
    assert!(run.lost_in > 0 && run.lost_out > 0);
}

#[test]
fn a_missing_file_fails_unless_it_may_be_missing() {
    let strict = run("--phones 5 --file nothing --file settings");
    assert_eq!(strict.groups[0].phones_failed, 5);
    assert_eq!(strict.groups[0].failures.get(&Failure::Refused(1)), Some(&5));
    let lenient = run("--phones 5 --file SEP{mac}.cnf.xml? --file settings");
    assert!(!lenient.has_failures());
    assert_eq!(lenient.groups[0].files_good, 10);
}

#[test]
fn wrong_bytes_are_found_out() {
    let root = tempfile::tempdir().unwrap();
    std::fs::write(root.path().join("settings"), vec![0; 2_000]).unwrap();
    std::fs::write(root.path().join("empty"), "").unwrap();
    let root = root.path().display();
    let wrong = run(&format!("--phones 3 --file settings --root {root}"));
    assert_eq!(wrong.groups[0].failures.get(&Failure::WrongBytes), Some(&3));
    assert!(!run(&format!("--phones 3 --file empty --root {root}")).has_failures());
}

#[test]
fn phones_store_files_and_re_use_a_port() {
    let run = run("--group phones=50,put={mac}-app.log,size=5000 \
                   --group phones=1,same-port=50,file=settings");
    assert!(!run.has_failures());
    assert_eq!(run.groups[0].bytes, 50 * 5_000);
    assert_eq!(run.groups[1].files_good, 50);
}

#[test]
fn forged_requests_and_garbage_are_counted() {
    let run = run("--phones 50 --file settings --forge 20 --forge-wait 2s --junk-pps 2000");
    assert!(!run.has_failures());
    assert_eq!(run.forged.len(), 20);
    assert!(run.forged.iter().all(|sends| (1..=3).contains(sends)), "{:?}", run.forged);
    assert!(run.junk_sent > 0);
}

#[test]
fn phones_speak_ipv6() {
    let run = run_at(serve("[::1]:0"), "--phones 20 --file settings --file firmware");
    assert!(!run.has_failures());
    assert_eq!(run.groups[0].phones_good, 20);
}

#[test]
fn a_silent_server_is_given_up() {
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let here = silent.local_addr().unwrap();
    let run = run_at(here, "--phones 4 --file settings --timer 20ms --tries 3");
    assert_eq!(run.groups[0].failures.get(&Failure::TimedOut), Some(&4));
    assert_eq!(run.groups[0].retries, 12);
    let run = run_at(here, "--phones 4 --file settings --give-up 100ms");
    assert_eq!(run.groups[0].failures.get(&Failure::Unfinished), Some(&4));
}
