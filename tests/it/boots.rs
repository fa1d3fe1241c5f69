//! Phones that boot, as status, metrics and the log of the real server show them.

use std::net::{SocketAddr, UdpSocket};

use serde_json::Value;
use wire::tftp::{Mode, Options, Request};

use crate::server::{PATIENCE, Server, eventually};

/// A phone at an address of its own that asks for a file of one block, and acknowledges it if it is
/// a real one.
fn boots(server: SocketAddr, host: u8, is_real: bool) {
    let phone = UdpSocket::bind(SocketAddr::from(([127, 0, 9, host], 0))).unwrap();
    phone.set_read_timeout(Some(PATIENCE)).unwrap();
    let request = Request { name: b"a.cfg", mode: Mode::Octet, options: Options::default() };
    phone.send_to(&request.encode_read(), server).unwrap();
    let mut buffer = [0; 1_024];
    let (_, from) = phone.recv_from(&mut buffer).unwrap();
    if is_real {
        phone.send_to(&[0, 4, 0, 1], from).unwrap();
    }
}

fn phones(server: &Server) -> Value {
    let output = server.command("status --json", b"");
    let status: Value = serde_json::from_slice(&output.stdout).unwrap();
    status["phones"].clone()
}

#[test]
fn phones_that_answer_boot_and_a_forged_request_does_not() {
    let server = Server::start_with("[storm]\nphones_min = 2\n");
    server.put("a.cfg", b"SET A 1");
    boots(server.address(), 1, false);
    boots(server.address(), 2, true);
    eventually("the phone is seen", || phones(&server)["booting"] == 1);
    let seen = phones(&server);
    assert_eq!(
        (&seen["lost"], &seen["storms"], &seen["storm"]),
        (&0.into(), &0.into(), &Value::Null)
    );
    boots(server.address(), 3, true);
    eventually("both are seen", || phones(&server)["booting"] == 2);
    assert!(!server.log().contains("a storm begins"), "two are as many as may be");
    boots(server.address(), 4, true);
    eventually("a storm begins", || server.log().contains("a storm begins: 3 phones boot at once"));
    let seen = phones(&server);
    assert_eq!((&seen["storms"], &seen["storm"]["is_active"]), (&1.into(), &true.into()));
    let told = server.command("status", b"");
    let told = String::from_utf8_lossy(&told.stdout).into_owned();
    assert!(told.contains("phones     3 boot, 0 wait, 0 back, 0 lost"), "{told}");
    assert!(told.contains("\nstorm      "), "{told}");
}
