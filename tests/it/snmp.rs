//! `ringpost snmp` against phones that are late, silent, or impersonated.

use std::net::{SocketAddr, UdpSocket};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use phones::phone::snmp::Agent;
use vendor::objects::Field;

fn agent(extension: &[u8]) -> Agent {
    Agent::new("9600 H.323", &[(Field::Extension, extension), (Field::Model, b"9620")]).unwrap()
}

/// Returns the output of the command for the phone at this address, whether it succeeded, and its
/// duration.
fn ask(phone: SocketAddr) -> (String, bool, Duration) {
    let began = Instant::now();
    let output = Command::new(env!("CARGO_BIN_EXE_ringpost"))
        .args(["snmp", &phone.to_string()])
        .current_dir(std::env::temp_dir())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    (said.into_owned(), output.status.success(), began.elapsed())
}

/// Starts a phone that handles each datagram so, until the test is over.
fn phone(
    address: &str,
    mut handle: impl FnMut(&UdpSocket, &[u8], SocketAddr) + Send + 'static,
) -> SocketAddr {
    let socket = UdpSocket::bind(address).unwrap();
    let at = socket.local_addr().unwrap();
    thread::spawn(move || {
        let mut buffer = [0; 2_048];
        while let Ok((bytes, from)) = socket.recv_from(&mut buffer) {
            handle(&socket, &buffer[..bytes], from);
        }
    });
    at
}

#[test]
fn a_phone_that_answers_the_first_question_late_is_known() {
    let at = phone("[::1]:0", |socket, bytes, from| {
        thread::sleep(Duration::from_millis(1_400));
        let _ = socket.send_to(&agent(b"4711").answer(bytes).unwrap(), from);
    });
    let (said, known, took) = ask(at);
    assert!(known && said.contains("extension  4711\n"), "{said}");
    assert!(took < Duration::from_secs(3), "{took:?}");
}

#[test]
fn a_silent_phone_is_given_up_after_three_seconds_and_three_rounds() {
    let (sender, rounds) = crossbeam_channel::unbounded();
    let at = phone("127.0.0.1:0", move |_, _, _| sender.send(()).unwrap());
    let (said, known, took) = ask(at);
    assert!(!known && said.contains("does not answer by SNMP"), "{said}");
    assert!((2_900..4_500).contains(&took.as_millis()), "{took:?}");
    // One datagram, and both versions in the rounds after it.
    assert_eq!(rounds.try_iter().count(), 5);
}

#[test]
fn answers_from_other_addresses_and_ports_are_nobodys() {
    let other = UdpSocket::bind("127.0.0.2:0").unwrap();
    let at = phone("127.0.0.1:0", move |socket, bytes, from| {
        let _ = other.send_to(&agent(b"666").answer(bytes).unwrap(), from);
        let next_port = UdpSocket::bind("127.0.0.1:0").unwrap();
        let _ = next_port.send_to(&agent(b"667").answer(bytes).unwrap(), from);
        let mut wrong_number = agent(b"668").answer(bytes).unwrap();
        let place = wrong_number.windows(3).position(|part| part == [0x02, 0x01, 0x00]);
        wrong_number[place.unwrap() - 1] ^= 1;
        let _ = socket.send_to(&wrong_number, from);
    });
    let (said, known, _) = ask(at);
    assert!(!known && said.contains("does not answer by SNMP"), "{said}");
    assert!(said.contains("datagrams that answer nothing"), "{said}");
}
