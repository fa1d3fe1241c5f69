//! SNMP as a service: the sockets that ask phones for their users.
//!
//! Carries datagrams; the machine decides which phones to ask and to believe.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use mio::event::Event;
use mio::net::UdpSocket;
use mio::{Interest, Registry, Token};
use socket2::SockRef;

use crate::net::service::Service;
use crate::net::services::Sockets;
use crate::sys::sockets;
use engine::session::TurnContext;
use wire::snmp::MESSAGE_BYTES_MAX;

/// Most answers received in a turn.
const ANSWERS_MAX: usize = 4_096;
/// Most queries sent in a turn.
const QUESTIONS_MAX: usize = 2_048;
/// Receive buffer for answers, in bytes; the kernel may grant less.
const ANSWERS_BYTES: usize = 4 << 20;
/// What an answer occupies of it, with the kernel's own bookkeeping.
const ANSWER_BYTES: usize = 2_048;

/// The SNMP client of one worker with its sockets. Its machine is the turn's, so that every
/// protocol can ask.
struct Snmp {
    /// IPv4 and IPv6; `None` if the host has none.
    sockets: [Option<UdpSocket>; 2],
    /// Most queries in one turn: as many as have room for their answers until the next.
    questions_max: usize,
    /// Whether the kernel has reported answers.
    readable: bool,
    room: Box<[u8]>,
}

/// Opens the sockets, if phones are asked at all.
///
/// # Errors
/// The system's error if a socket cannot be polled.
pub(crate) fn start(
    own: &mut Sockets,
    tokens: usize,
    registry: &Registry,
) -> io::Result<Box<dyn Service>> {
    let (mut sockets, mut questions_max) = ([None, None], QUESTIONS_MAX);
    let any = [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)];
    for (place, ip) in any.into_iter().enumerate().filter(|_| own.asks_phones) {
        // A host without IPv6 sends no queries by it.
        let Ok(mut socket) = UdpSocket::bind(SocketAddr::new(ip, 0)) else { continue };
        let room_bytes = sockets::enlarge(&SockRef::from(&socket), ANSWERS_BYTES)?;
        questions_max = questions_max.min(room_bytes / ANSWER_BYTES);
        registry.register(&mut socket, Token(tokens + place), Interest::READABLE)?;
        sockets[place] = Some(socket);
    }
    let room = vec![0; MESSAGE_BYTES_MAX + 1].into_boxed_slice();
    Ok(Box::new(Snmp { sockets, questions_max, readable: false, room }))
}

impl Service for Snmp {
    fn note(&mut self, _: &Event) {
        self.readable = true;
    }

    fn is_busy(&self) -> bool {
        self.readable
    }

    /// Receives the phones' answers.
    fn receive(&mut self, turn: &mut TurnContext<'_>) {
        if !std::mem::take(&mut self.readable) {
            return;
        }
        for socket in self.sockets.iter().flatten() {
            for taken in 0.. {
                // The kernel reports no further event for what is left.
                self.readable |= taken == ANSWERS_MAX;
                if taken == ANSWERS_MAX {
                    break;
                }
                let Ok((bytes, from)) = socket.recv_from(&mut self.room) else { break };
                let bytes = &self.room[..bytes];
                turn.snmp.handle_datagram(from, bytes, turn.counters, turn.now);
            }
        }
    }

    fn handle_timeout(&mut self, turn: &mut TurnContext<'_>) {
        turn.snmp.handle_timeout(turn.counters, turn.now);
    }

    /// Sends the queries that are due.
    fn send(&mut self, turn: &mut TurnContext<'_>) {
        for _ in 0..self.questions_max {
            let question = turn.snmp.poll_send(turn.counters, turn.now);
            let Some((phone, bytes)) = question else { break };
            let Some(socket) = &self.sockets[usize::from(phone.is_ipv6())] else { continue };
            match socket.send_to(bytes, phone) {
                Err(fault) if fault.kind() == io::ErrorKind::WouldBlock => {
                    turn.snmp.handle_blocked(turn.now);
                    break;
                }
                // A phone that cannot be reached does not answer either.
                Ok(_) | Err(_) => {}
            }
        }
    }
}
