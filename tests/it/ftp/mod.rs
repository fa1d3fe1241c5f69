//! FTP over real sockets: the built server with a client of our own, with phones that answer by
//! SNMP, with administrators, and with common clients.

use std::net::UdpSocket;
use std::thread;

use ::phones::phone::snmp::Agent;
use vendor::objects::Field;

use crate::server::Server;

mod administrators;
mod deaths;
mod interop;
mod life;
mod phones;
pub(crate) mod raw;
mod tls;
mod transfers;

/// A phone of the 4600 series with this extension.
fn set(extension: &str) -> Agent {
    let values = [(Field::Extension, extension.as_bytes()), (Field::Model, b"4620D01A")];
    Agent::new("4600", &values).unwrap()
}

/// Starts a phone at this address of the network that answers each datagram with `answer` until the
/// test is over.
fn phone(
    server: &Server,
    at: [u8; 4],
    mut answer: impl FnMut(&[u8]) -> Option<Vec<u8>> + Send + 'static,
) {
    let socket = UdpSocket::bind(server.snmp_address(at)).unwrap();
    thread::spawn(move || {
        let mut buffer = [0; 2_048];
        while let Ok((bytes, from)) = socket.recv_from(&mut buffer) {
            if let Some(answer) = answer(&buffer[..bytes]) {
                let _ = socket.send_to(&answer, from);
            }
        }
    });
}

/// Starts one that reports this extension as logged in.
fn phone_of(server: &Server, at: [u8; 4], extension: &str) {
    let agent = set(extension);
    phone(server, at, move |asked| agent.answer(asked));
}

/// Adds an administrator of the data directories.
fn add_administrator(server: &Server, name: &str, password: &str) {
    let added = server.command(&format!("passwd {name} --ftp"), password.as_bytes());
    assert!(added.status.success(), "{added:?}");
}
