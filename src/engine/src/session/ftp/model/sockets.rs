//! The sockets of a model: what the loop does with each, and what they let through.
//!
//! Decides nothing, like the loop.

use std::net::SocketAddr;

use super::{Link, PLAIN, ROOM_BYTES, STEPS_MAX, World};
use crate::session::ftp::data::DataCommand;
use crate::session::stream::{ConnectionId, Connections as _, DialFault, Next, Payload};
use crate::session::{DataFault, Handshake};
use wire::time::Duration;

/// How long the last bytes of TLS may take to leave, as in the loop.
const FLUSH_MAX: Duration = Duration::from_secs(30);

impl World {
    /// Does what can be done with a connection, as the loop does it.
    pub(in crate::session::ftp) fn drive(&mut self, id: ConnectionId) {
        self.step(id);
        self.tell_hangup(id);
    }

    fn step(&mut self, id: ConnectionId) {
        for _ in 0..STEPS_MAX {
            let Some(wire) = self.wires.get(&id) else { return };
            let is_there = wire.link != Link::Dialing;
            match self.engine.next(id) {
                Next::Read if !is_there || !self.read(id) => return,
                Next::Write if !is_there || !self.write(id) => return,
                Next::Read | Next::Write => {}
                Next::Shut => panic!("FTP never closes one direction alone"),
                Next::Measure => self.measure(id),
                Next::Wait => return,
                Next::StartTls => self.start_tls(id),
                Next::Close if !self.is_flushed(id) => return,
                Next::Close | Next::Reset => return self.close(id),
            }
        }
        panic!("a connection that never waits");
    }

    fn start_tls(&mut self, id: ConnectionId) {
        let Some(wire) = self.wires.get_mut(&id) else { return };
        assert_eq!(wire.link, Link::Plain, "TLS in TLS");
        wire.link = Link::Handshaking;
        let is_clear = self.engine.session(id).is_some() && !wire.inbox.is_empty();
        if is_clear {
            self.fail(id, Handshake::NotTls);
        }
    }

    /// Returns whether everything that was sent has left, or its time is over.
    fn is_flushed(&mut self, id: ConnectionId) -> bool {
        let now = self.now;
        let Some(wire) = self.wires.get_mut(&id) else { return true };
        if wire.link != Link::Secured || wire.room > 0 {
            return true;
        }
        let since = *wire.flushing.get_or_insert(now);
        if now.since(since) >= FLUSH_MAX {
            return true;
        }
        self.engine.handle_flushing(id, now + FLUSH_MAX);
        false
    }

    /// Reads once; returns whether anything was there, the end included.
    fn read(&mut self, id: ConnectionId) -> bool {
        let Some(wire) = self.wires.get_mut(&id) else { return false };
        if wire.link == Link::Handshaking {
            if wire.ended {
                self.fail(id, Handshake::Abandoned);
            }
            return false;
        }
        let count = wire.inbox.len().min(wire.read_max).min(ROOM_BYTES);
        let bytes: Vec<u8> = wire.inbox.drain(..count).collect();
        wire.taken.extend(&bytes);
        let (ended, truncated) = (wire.ended, wire.truncated);
        match bytes.is_empty() {
            true if ended && truncated => {
                self.turn(|engine, turn| engine.handle_truncated(id, turn));
            }
            true if ended => self.turn(|engine, turn| engine.handle_end(id, turn)),
            true => {}
            false => self.turn(|engine, turn| engine.handle_bytes(id, &bytes, turn)),
        }
        ended || !bytes.is_empty()
    }

    /// Sends once; returns whether anything could leave.
    fn write(&mut self, id: ConnectionId) -> bool {
        let Some(wire) = self.wires.get(&id) else { return false };
        assert_ne!(wire.link, Link::Handshaking, "sent in the middle of a handshake");
        if wire.room == 0 {
            self.measure(id);
            self.turn(|engine, turn| engine.handle_blocked(id, turn));
            return false;
        }
        let outgoing = self.engine.outgoing(id);
        let mut bytes = outgoing.head.to_vec();
        match outgoing.payload {
            Payload::None => {}
            Payload::Bytes(more) => bytes.extend(more),
            Payload::File { blob, offset, bytes: count } => {
                let read = self.disk.read(blob, offset, count);
                bytes.extend(&read);
                if read.is_empty() {
                    self.turn(|engine, turn| engine.handle_cut(id, turn));
                    return true;
                }
            }
        }
        assert!(!bytes.is_empty(), "there was nothing to write");
        let count = bytes.len().min(wire.room);
        bytes.truncate(count);
        self.check_sent(id, &bytes);
        if let Some(wire) = self.wires.get_mut(&id) {
            wire.room -= count;
            wire.out.extend(bytes);
        }
        self.turn(|engine, turn| engine.handle_sent(id, count, turn));
        true
    }

    /// Reports how much of what was sent the client has not acknowledged.
    pub(super) fn measure(&mut self, id: ConnectionId) {
        let Some(wire) = self.wires.get(&id) else { return };
        let bytes = wire.unacknowledged;
        self.turn(|engine, turn| engine.handle_unacknowledged(id, bytes, turn));
    }

    pub(super) fn close(&mut self, id: ConnectionId) {
        self.turn(|engine, turn| engine.handle_closed(id, turn));
        if let Some(wire) = self.wires.remove(&id) {
            self.past.push((id, wire));
        }
    }

    /// Executes a command about a data connection.
    pub(super) fn open(&mut self, command: DataCommand) {
        match command {
            DataCommand::Await { data, control } => {
                self.newest_data.insert(control, data);
                let local = self.wires.get(&control).map(|_| PLAIN.ip());
                let port = 50_000 + (data.row % 1_000) as u16;
                let result = match local {
                    None => Err(DataFault::NoSocket),
                    Some(_) if self.is_full => Err(DataFault::NoPort),
                    Some(ip) => Ok(SocketAddr::new(ip, port)),
                };
                if let Ok(at) = result {
                    self.open_ports.insert(data, at);
                }
                self.turn(|engine, turn| engine.handle_awaited(data, result, turn));
            }
            DataCommand::Dial { data, control, to } => {
                if self.engine.listener_of(data).is_none() {
                    return;
                }
                self.newest_data.insert(control, data);
                self.check_dial(data, control, to);
                if self.cannot_dial || !self.wires.contains_key(&control) {
                    let fault = Err(DialFault::Other);
                    self.turn(|engine, turn| engine.handle_dialed(data, fault, turn));
                    return self.turn(|engine, turn| engine.handle_closed(data, turn));
                }
                self.wire(data, to, Link::Dialing);
                self.drive(data);
            }
            DataCommand::Shut { data } => drop(self.open_ports.remove(&data)),
        }
    }
}
