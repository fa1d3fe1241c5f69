//! A TFTP client that does exactly what a test tells it, right or wrong, one datagram at a time.

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use wire::tftp::{self, Block, Control, ErrorCode, Mode, Options, Packet, Request};

use crate::server::PATIENCE;

/// How long a test listens before it assumes silence.
pub(crate) const QUIET: Duration = Duration::from_millis(300);

/// A parsed packet of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ServerPacket {
    Data(u16, Vec<u8>),
    Ack(u16),
    OptionAck(Options),
    Error(u16),
}

/// A socket that talks to one server.
pub(crate) struct Phone {
    socket: UdpSocket,
    server: SocketAddr,
    /// The source of the last answer, to which the transfer's next packet goes.
    pub(crate) peer: SocketAddr,
}

impl Phone {
    pub(crate) fn new(server: SocketAddr) -> Phone {
        let any = if server.is_ipv4() { "127.0.0.1:0" } else { "[::1]:0" };
        Phone::at(any, server)
    }

    /// Makes a phone that asks from this address.
    pub(crate) fn at(address: &str, server: SocketAddr) -> Phone {
        let socket = UdpSocket::bind(address).unwrap();
        Phone { socket, server, peer: server }
    }

    /// Sends bytes to the server's request port.
    pub(crate) fn ask(&self, datagram: &[u8]) {
        self.socket.send_to(datagram, self.server).unwrap();
    }

    /// Sends a read request.
    pub(crate) fn read(&self, name: &str, options: Options) {
        let request = Request { name: name.as_bytes(), mode: Mode::Octet, options };
        self.ask(&request.encode_read());
    }

    /// Sends a write request.
    pub(crate) fn write(&self, name: &[u8], options: Options) {
        self.ask(&Request { name, mode: Mode::Octet, options }.encode_write());
    }

    /// Sends bytes to the transfer.
    pub(crate) fn send(&self, datagram: &[u8]) {
        self.socket.send_to(datagram, self.peer).unwrap();
    }

    pub(crate) fn ack(&self, block: u16) {
        self.send(Control::ack(Block(block)).as_bytes());
    }

    pub(crate) fn data(&self, block: u16, payload: &[u8]) {
        self.send(&[tftp::data_header(Block(block)).as_slice(), payload].concat());
    }

    pub(crate) fn error(&self, code: ErrorCode) {
        self.send(Control::error(code, "test").as_bytes());
    }

    /// Receives the next answer; fails without one.
    pub(crate) fn hear(&mut self) -> ServerPacket {
        self.listen(PATIENCE).expect("an answer")
    }

    /// Receives the next answer, if there is one within a moment.
    pub(crate) fn hear_quickly(&mut self) -> Option<ServerPacket> {
        self.listen(QUIET)
    }

    fn listen(&mut self, patience: Duration) -> Option<ServerPacket> {
        self.socket.set_read_timeout(Some(patience)).unwrap();
        let mut buffer = vec![0; 65_536];
        let (bytes, from) = self.socket.recv_from(&mut buffer).ok()?;
        self.peer = from;
        Some(match tftp::parse(&buffer[..bytes]).expect("a TFTP packet") {
            Packet::Data { block, payload } => ServerPacket::Data(block.0, payload.to_vec()),
            Packet::Ack(block) => ServerPacket::Ack(block.0),
            Packet::OptionAck(options) => ServerPacket::OptionAck(options),
            Packet::Error { code, .. } => ServerPacket::Error(code.0),
            Packet::ReadRequest(_) | Packet::WriteRequest(_) => panic!("a server that asks"),
        })
    }

    /// Receives the rest of a lock-step read from block `next` on.
    pub(crate) fn take_rest(&mut self, mut next: u16, blksize: usize) -> Result<Vec<u8>, u16> {
        let mut file = Vec::new();
        loop {
            match self.hear() {
                ServerPacket::Data(block, payload) if block == next => {
                    file.extend_from_slice(&payload);
                    self.ack(block);
                    next = next.wrapping_add(1);
                    if payload.len() < blksize {
                        return Ok(file);
                    }
                }
                // Repeated, because the test host is busy.
                ServerPacket::Data(block, _) => self.ack(block),
                ServerPacket::Error(code) => return Err(code),
                other @ (ServerPacket::Ack(_) | ServerPacket::OptionAck(_)) => {
                    panic!("{other:?} in a read")
                }
            }
        }
    }
}

/// Fetches a file in lock-step, 512 bytes a block.
pub(crate) fn fetch(server: SocketAddr, name: &str) -> Result<Vec<u8>, u16> {
    let mut phone = Phone::new(server);
    phone.read(name, Options::default());
    phone.take_rest(1, 512)
}

/// Requests only a file's size.
pub(crate) fn size_of(server: SocketAddr, name: &str) -> Result<u64, u16> {
    let mut phone = Phone::new(server);
    phone.read(name, Options { tsize: Some(0), ..Options::default() });
    let size = match phone.hear() {
        ServerPacket::OptionAck(options) => Ok(options.tsize.expect("a size")),
        ServerPacket::Error(code) => return Err(code),
        other @ (ServerPacket::Data(..) | ServerPacket::Ack(_)) => {
            panic!("{other:?} in place of a size")
        }
    };
    phone.error(ErrorCode::OPTIONS);
    size
}

/// Stores a file in lock-step, 512 bytes a block.
pub(crate) fn store(server: SocketAddr, name: &str, bytes: &[u8]) -> Result<(), u16> {
    let mut phone = Phone::new(server);
    phone.write(name.as_bytes(), Options::default());
    let mut blocks: Vec<&[u8]> = bytes.chunks(512).collect();
    if bytes.len().is_multiple_of(512) {
        blocks.push(&[]);
    }
    let mut next = 0;
    loop {
        match phone.hear() {
            ServerPacket::Ack(block) if block == next => {}
            ServerPacket::Ack(_) => continue,
            ServerPacket::Error(code) => return Err(code),
            other @ (ServerPacket::Data(..) | ServerPacket::OptionAck(_)) => {
                panic!("{other:?} in a write")
            }
        }
        let Some(payload) = blocks.get(usize::from(next)) else { return Ok(()) };
        next += 1;
        phone.data(next, payload);
    }
}
