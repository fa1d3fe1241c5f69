//! Addresses and ports for thousands of phones, on a handful of sockets or on one each.
//!
//! Shared: a few sockets are bound to every address at once, and each datagram says which loopback
//! address it belongs to, so that a phone costs no descriptor and a system call moves 64 datagrams.
//! Own: a socket for each phone and port, as real phones have; the check that sharing changes
//! nothing. Knows nothing of TFTP.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use std::os::fd::AsRawFd;

use crate::udp::{self, BATCH, Inbox, Outbox};

/// The address before the first phone's.
const FIRST_ADDRESS: u32 = u32::from_be_bytes([127, 1, 0, 0]);
/// Batches taken from one socket before the next has its turn.
const BATCHES_PER_TURN: usize = 4;

/// One phone's address and port, as numbers of this run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct PhoneAddress {
    /// Number of the address, from 0.
    pub(crate) address: u32,
    /// Number of the port, from 0.
    pub(crate) port: u32,
}

/// Sockets of one kind or the other.
pub(crate) enum Network {
    /// A few for all.
    Shared(Shared),
    /// One each.
    Own(Own),
}

/// The real address with a number.
pub(crate) fn address_of(number: u32) -> Ipv4Addr {
    Ipv4Addr::from(FIRST_ADDRESS + 1 + number)
}

/// The number of a real address.
pub(crate) fn number_of(address: Ipv4Addr) -> Option<u32> {
    u32::from(address).checked_sub(FIRST_ADDRESS + 1)
}

impl Network {
    /// Sends a datagram, now or at the next flush.
    pub(crate) fn send(
        &mut self,
        place: PhoneAddress,
        to: SocketAddr,
        bytes: &[u8],
    ) -> io::Result<()> {
        match self {
            Network::Shared(shared) => {
                shared.send(place, to, bytes);
                Ok(())
            }
            Network::Own(own) => own.send(place, to, bytes),
        }
    }

    /// Sends what still waits.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        match self {
            Network::Shared(shared) => shared.flush(),
            Network::Own(_) => Ok(()),
        }
    }

    /// Waits until something has come, at most `timeout`.
    pub(crate) fn wait(&mut self, timeout: Duration) -> io::Result<()> {
        match self {
            Network::Shared(shared) => shared.wait(timeout),
            Network::Own(own) => own.wait(timeout),
        }
    }

    /// Hands over what has come; called again it goes on where it stopped.
    pub(crate) fn receive(
        &mut self,
        mut taken: impl FnMut(PhoneAddress, SocketAddr, &[u8]),
    ) -> io::Result<()> {
        match self {
            Network::Shared(shared) => shared.receive(&mut taken),
            Network::Own(own) => own.receive(&mut taken),
        }
    }

    /// Gives a place back that no phone uses any more.
    pub(crate) fn release(&mut self, place: PhoneAddress) {
        match self {
            Network::Shared(_) => {}
            Network::Own(own) => own.release(place),
        }
    }

    /// Datagrams that the kernel dropped on this side.
    pub(crate) fn drops(&self) -> u64 {
        match self {
            Network::Shared(shared) => {
                shared.sockets.iter().map(|line| udp::drops(&line.socket)).sum()
            }
            Network::Own(own) => {
                own.drops_before
                    + own.sockets.values().map(|line| udp::drops(&line.socket)).sum::<u64>()
            }
        }
    }
}

struct Line {
    socket: UdpSocket,
    outbox: Outbox,
    is_ready: bool,
}

/// A few sockets for all phones.
pub(crate) struct Shared {
    sockets: Vec<Line>,
    inbox: Inbox,
    poll: Poll,
    events: Events,
}

impl Shared {
    /// Opens sockets. `first_port` 0 lets the system choose; `together` takes bursts as one piece.
    pub(crate) fn open(
        sockets: usize,
        first_port: u16,
        together: bool,
        datagram_bytes: usize,
        buffer_bytes: i32,
    ) -> io::Result<Shared> {
        let poll = Poll::new()?;
        let mut lines = Vec::with_capacity(sockets);
        for number in 0..sockets {
            let port = if first_port == 0 { 0 } else { first_port + number as u16 };
            let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port))?;
            socket.set_nonblocking(true)?;
            udp::set_up(&socket, together)?;
            udp::force_receive_buffer(&socket, buffer_bytes)?;
            udp::force_send_buffer(&socket, buffer_bytes)?;
            let fd = socket.as_raw_fd();
            poll.registry().register(&mut SourceFd(&fd), Token(number), Interest::READABLE)?;
            lines.push(Line { socket, outbox: Outbox::default(), is_ready: false });
        }
        let datagram_bytes = if together { 65_536 } else { datagram_bytes };
        let inbox = Inbox::new(datagram_bytes);
        Ok(Shared { sockets: lines, inbox, poll, events: Events::with_capacity(256) })
    }

    fn send(&mut self, place: PhoneAddress, to: SocketAddr, bytes: &[u8]) {
        let SocketAddr::V4(to) = to else { return };
        if let Some(line) = self.sockets.get_mut(place.port as usize) {
            line.outbox.push(
                address_of(place.address),
                SocketAddrV4::new(*to.ip(), to.port()),
                bytes,
            );
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        for line in &mut self.sockets {
            if line.outbox.len() > 0 {
                line.outbox.flush(&line.socket)?;
            }
        }
        Ok(())
    }

    fn wait(&mut self, timeout: Duration) -> io::Result<()> {
        let is_busy = self.sockets.iter().any(|line| line.is_ready || line.outbox.len() > 0);
        let timeout = if is_busy { Duration::ZERO } else { timeout };
        poll(&mut self.poll, &mut self.events, timeout)?;
        for event in &self.events {
            if let Some(line) = self.sockets.get_mut(event.token().0) {
                line.is_ready = true;
            }
        }
        Ok(())
    }

    fn receive(
        &mut self,
        taken: &mut impl FnMut(PhoneAddress, SocketAddr, &[u8]),
    ) -> io::Result<()> {
        for (number, line) in self.sockets.iter_mut().enumerate() {
            for _ in 0..BATCHES_PER_TURN {
                if !line.is_ready {
                    break;
                }
                let count = match self.inbox.receive(&line.socket) {
                    Ok(count) => count,
                    // An ICMP answer to something that was sent: nothing to receive, but go on.
                    Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => continue,
                    Err(error) => return Err(error),
                };
                line.is_ready = count == BATCH;
                for arrival in (0..count).filter_map(|place| self.inbox.arrival(place)) {
                    let Some(address) = number_of(arrival.to) else { continue };
                    let place = PhoneAddress { address, port: number as u32 };
                    if arrival.bytes.is_empty() {
                        taken(place, arrival.from, &[]);
                    }
                    for datagram in arrival.bytes.chunks(arrival.segment_bytes) {
                        taken(place, arrival.from, datagram);
                    }
                }
            }
        }
        Ok(())
    }
}

struct OwnLine {
    socket: UdpSocket,
    place: PhoneAddress,
}

/// A socket for each phone and port, opened when it is first used.
pub(crate) struct Own {
    server: SocketAddr,
    places: HashMap<PhoneAddress, usize>,
    sockets: HashMap<usize, OwnLine>,
    next_token: usize,
    ready: Vec<usize>,
    poll: Poll,
    events: Events,
    buffer: Vec<u8>,
    buffer_bytes: i32,
    drops_before: u64,
}

impl Own {
    /// No sockets yet.
    pub(crate) fn open(server: SocketAddr, buffer_bytes: i32) -> io::Result<Own> {
        Ok(Own {
            server,
            places: HashMap::new(),
            sockets: HashMap::new(),
            next_token: 0,
            ready: Vec::new(),
            poll: Poll::new()?,
            events: Events::with_capacity(1_024),
            buffer: vec![0; 65_536],
            buffer_bytes,
            drops_before: 0,
        })
    }

    fn send(&mut self, place: PhoneAddress, to: SocketAddr, bytes: &[u8]) -> io::Result<()> {
        let token = match self.places.get(&place) {
            Some(token) => *token,
            None => self.open_line(place)?,
        };
        if let Some(line) = self.sockets.get(&token) {
            // A send that the kernel refuses is a datagram lost; the phone's timer repairs it.
            let _ = line.socket.send_to(bytes, to);
        }
        Ok(())
    }

    fn open_line(&mut self, place: PhoneAddress) -> io::Result<usize> {
        let address = match self.server.ip() {
            IpAddr::V4(_) => IpAddr::V4(address_of(place.address)),
            IpAddr::V6(loopback) => IpAddr::V6(loopback),
        };
        let socket = UdpSocket::bind((address, 0))?;
        socket.set_nonblocking(true)?;
        udp::force_receive_buffer(&socket, self.buffer_bytes)?;
        let token = self.next_token;
        self.next_token += 1;
        let fd = socket.as_raw_fd();
        self.poll.registry().register(&mut SourceFd(&fd), Token(token), Interest::READABLE)?;
        self.places.insert(place, token);
        self.sockets.insert(token, OwnLine { socket, place });
        Ok(token)
    }

    fn wait(&mut self, timeout: Duration) -> io::Result<()> {
        poll(&mut self.poll, &mut self.events, timeout)?;
        self.ready.clear();
        self.ready.extend(self.events.iter().map(|event| event.token().0));
        Ok(())
    }

    fn receive(
        &mut self,
        taken: &mut impl FnMut(PhoneAddress, SocketAddr, &[u8]),
    ) -> io::Result<()> {
        for token in self.ready.drain(..) {
            let Some(line) = self.sockets.get(&token) else { continue };
            loop {
                match line.socket.recv_from(&mut self.buffer) {
                    Ok((bytes, from)) => taken(line.place, from, &self.buffer[..bytes]),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(())
    }

    fn release(&mut self, place: PhoneAddress) {
        let Some(token) = self.places.remove(&place) else { return };
        if let Some(line) = self.sockets.remove(&token) {
            self.drops_before += udp::drops(&line.socket);
        }
    }
}

fn poll(poll: &mut Poll, events: &mut Events, timeout: Duration) -> io::Result<()> {
    match poll.poll(events, Some(timeout)) {
        Err(error) if error.kind() != io::ErrorKind::Interrupted => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}
