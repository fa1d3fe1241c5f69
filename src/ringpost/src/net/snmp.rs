//! The sockets by which phones are asked who uses them, and answer.
//!
//! Carries datagrams; whom to ask and whom to believe is the machine's.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use mio::net::UdpSocket;
use mio::{Interest, Registry, Token};
use socket2::SockRef;

use crate::sys::sockets;
use engine::session::Turn;
use engine::session::snmp::Queries;
use wire::snmp::MESSAGE_BYTES_MAX;

/// Answers of phones taken in a turn.
const ANSWERS_MAX: usize = 4_096;
/// Questions that leave in a turn, at most.
const QUESTIONS_MAX: usize = 2_048;
/// Room for answers that wait to be read, in bytes; the kernel may give less.
const ANSWERS_BYTES: usize = 4 << 20;
/// What an answer takes of it, with the kernel's own bookkeeping.
const ANSWER_BYTES: usize = 2_048;

/// The sockets of one worker.
pub(super) struct SnmpSockets {
    /// By IPv4 and by IPv6; absent where the host has none.
    sockets: [Option<UdpSocket>; 2],
    /// Questions that leave in one turn: no more than their answers find room until the next.
    questions_max: usize,
    /// The kernel has told of answers.
    readable: bool,
    room: Box<[u8]>,
}

impl SnmpSockets {
    /// Opens them, unless nobody `asks`. Two tokens from `tokens` on are theirs.
    ///
    /// # Errors
    /// What the kernel says when a socket cannot be waited for.
    pub(super) fn open(tokens: usize, asks: bool, registry: &Registry) -> io::Result<Self> {
        let (mut sockets, mut questions_max) = ([None, None], QUESTIONS_MAX);
        let any = [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)];
        for (place, ip) in any.into_iter().enumerate().filter(|_| asks) {
            // A host without IPv6 asks nobody by it.
            let Ok(mut socket) = UdpSocket::bind(SocketAddr::new(ip, 0)) else { continue };
            let room_bytes = sockets::enlarge(&SockRef::from(&socket), ANSWERS_BYTES)?;
            questions_max = questions_max.min(room_bytes / ANSWER_BYTES);
            registry.register(&mut socket, Token(tokens + place), Interest::READABLE)?;
            sockets[place] = Some(socket);
        }
        let room = vec![0; MESSAGE_BYTES_MAX + 1].into_boxed_slice();
        Ok(SnmpSockets { sockets, questions_max, readable: false, room })
    }

    /// The kernel has news of one of them.
    pub(super) fn note(&mut self) {
        self.readable = true;
    }

    /// Whether the next turn has work without waiting for anything.
    pub(super) fn is_busy(&self) -> bool {
        self.readable
    }

    /// Takes what phones say of themselves; whether there was anything to look for.
    pub(super) fn receive(&mut self, queries: &mut Queries, turn: &mut Turn<'_>) -> bool {
        if !std::mem::take(&mut self.readable) {
            return false;
        }
        for socket in self.sockets.iter().flatten() {
            for taken in 0.. {
                // What is left is told of by nobody any more.
                self.readable |= taken == ANSWERS_MAX;
                if taken == ANSWERS_MAX {
                    break;
                }
                let Ok((bytes, from)) = socket.recv_from(&mut self.room) else { break };
                queries.handle_datagram(from, &self.room[..bytes], turn.counters, turn.now);
            }
        }
        true
    }

    /// Sends the questions that are due.
    pub(super) fn send(&self, queries: &mut Queries, turn: &mut Turn<'_>) {
        for _ in 0..self.questions_max {
            let Some((phone, bytes)) = queries.poll_send(turn.counters, turn.now) else { break };
            let Some(socket) = &self.sockets[usize::from(phone.is_ipv6())] else { continue };
            match socket.send_to(bytes, phone) {
                Err(fault) if fault.kind() == io::ErrorKind::WouldBlock => {
                    queries.handle_blocked(turn.now);
                    break;
                }
                // Whoever cannot be reached does not answer either.
                Ok(_) | Err(_) => {}
            }
        }
    }
}
