//! Phones of HTTP and FTP with their connections: the machines of `phone`, driven by the network.
//!
//! Watches how each read and write ends, and reports it to the invariants.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::invariants::{Invariants, Reading, Value, Violation, WriteId};
use super::network::{LineId, Network, Read, Side};
use super::plan::{Ended, Plan, Work, of_ftp, of_http};
use super::scenario::is_stranger;
use super::server::{FTP, HTTP};
use crate::phone::{ftp, http};
use wire::time::{Duration, Instant};

/// The first of a phone's own ports.
const PORT: u16 = 1_024;
/// Most bytes that a phone reads at once.
const READ_BYTES_MAX: usize = 4 << 10;

enum Machine {
    Http(http::Phone),
    Ftp(ftp::Phone),
}

/// A phone on the network.
pub struct Phone {
    plan: Plan,
    machine: Machine,
    ip: IpAddr,
    next_port: u16,
    control: Option<LineId>,
    data: Option<LineId>,
    listening: Option<SocketAddr>,
    /// The connection of its data has said its last.
    data_ended: bool,
    /// The moment for which an alarm is set.
    pub alarm: Option<Instant>,
    /// How long it takes from news to reading them.
    pub reads_after: Duration,
    /// It sends nothing any more behind its last request.
    pub half_closes: bool,
    reading: Option<Reading>,
    writing: Option<WriteId>,
    /// When its latest request was sent.
    asked_at: Option<Instant>,
    step: usize,
    values: HashMap<Box<str>, Value>,
    /// Appended to files, and acknowledged.
    pub appended: Vec<(Box<str>, Arc<[u8]>)>,
    /// One of its connections was not sound, or it was cut off itself.
    pub has_suffered: bool,
    is_dead: bool,
    /// Files that ended well.
    pub files_done: u32,
    /// How its files ended, for messages.
    pub endings: Vec<String>,
}

impl Phone {
    /// A phone at this address that gets power at `start`.
    #[must_use]
    pub fn new(plan: Plan, ip: IpAddr, start: Instant) -> Phone {
        let machine = match &plan {
            Plan::Http(plan) => Machine::Http(http::Phone::new(Arc::clone(plan), start)),
            Plan::Ftp(plan) => Machine::Ftp(ftp::Phone::new(Arc::clone(plan), start)),
        };
        Phone {
            plan,
            machine,
            ip,
            next_port: 0,
            control: None,
            data: None,
            listening: None,
            data_ended: false,
            alarm: None,
            reads_after: Duration::ZERO,
            half_closes: false,
            reading: None,
            writing: None,
            asked_at: None,
            step: usize::MAX,
            values: HashMap::new(),
            appended: Vec::new(),
            has_suffered: false,
            is_dead: false,
            files_done: 0,
            endings: Vec::new(),
        }
    }

    /// Its address.
    #[must_use]
    pub fn ip(&self) -> IpAddr {
        self.ip
    }

    /// Whether it opens a connection for each request, and sends that at once.
    #[must_use]
    pub fn closes_each(&self) -> bool {
        match &self.plan {
            Plan::Http(plan) => plan.client.closes && plan.client.pace == http::Pace::Full,
            Plan::Ftp(_) => false,
        }
    }

    /// Whether it has sent a request to the server.
    #[must_use]
    pub fn has_asked(&self) -> bool {
        self.asked_at.is_some()
    }

    /// Whether it has done all it will do.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.is_dead
            || match &self.machine {
                Machine::Http(phone) => phone.is_over(),
                Machine::Ftp(phone) => phone.is_over(),
            }
    }

    /// Whether it was cut off, or could not live with the end of a file.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.is_dead
            || match &self.machine {
                Machine::Http(phone) => phone.is_lost(),
                Machine::Ftp(phone) => phone.is_lost(),
            }
    }

    /// When [`Phone::handle_timeout`] wants to be called.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        match &self.machine {
            _ if self.is_dead => None,
            Machine::Http(phone) => phone.poll_timeout(),
            Machine::Ftp(phone) => phone.poll_timeout(),
        }
    }

    /// A deadline has come.
    pub fn handle_timeout(&mut self, now: Instant) {
        match &mut self.machine {
            Machine::Http(phone) => phone.handle_timeout(now),
            Machine::Ftp(phone) => phone.handle_timeout(now),
        }
    }

    /// The phone loses power; `resets` says that its system tells the server.
    pub fn die(&mut self, resets: bool, network: &mut Network) {
        self.is_dead = true;
        self.has_suffered = true;
        for line in [self.control.take(), self.data.take()].into_iter().flatten() {
            match resets {
                true => network.reset(line, Side::Phone),
                false => network.vanish(line, Side::Phone),
            }
        }
    }

    /// The server calls the phone; says whether it is heard.
    pub fn handle_called(&mut self, line: LineId, at: SocketAddr, network: &Network) -> bool {
        let is_heard = !self.is_dead && self.listening == Some(at) && self.data.is_none();
        if is_heard {
            self.listening = None;
            self.take_data(line, network);
            if let Machine::Ftp(phone) = &mut self.machine {
                phone.handle_data_opened(network.now);
            }
        }
        is_heard
    }

    /// A call of the phone has its answer.
    pub fn handle_answered(&mut self, line: LineId, is_taken: bool, now: Instant) {
        let is_control = self.control == Some(line);
        match (&mut self.machine, is_taken) {
            (Machine::Http(phone), true) if is_control => phone.handle_connected(now),
            (Machine::Http(phone), false) if is_control => {
                self.control = None;
                phone.handle_lost(http::Loss::Unreachable, now);
            }
            (Machine::Ftp(phone), true) if is_control => phone.handle_connected(now),
            (Machine::Ftp(phone), false) if is_control => {
                self.control = None;
                phone.handle_lost(ftp::Loss::Unreachable, now);
            }
            (Machine::Ftp(phone), true) if self.data == Some(line) => {
                phone.handle_data_opened(now);
            }
            (Machine::Ftp(phone), false) if self.data == Some(line) => {
                self.data = None;
                phone.handle_data_ended(ftp::Loss::Unreachable, now);
            }
            (Machine::Http(_) | Machine::Ftp(_), _) => {}
        }
    }

    /// Reads the bytes that have arrived and acts on them until nothing is left to do.
    pub fn drive(&mut self, network: &mut Network, invariants: &mut Invariants) {
        while !self.is_dead {
            self.note_step(invariants, network.now);
            let acted = self.execute(network);
            let sent = self.send(network);
            let read = self.read(network, invariants);
            self.take_result(invariants, network.now);
            if !(acted || sent || read) {
                return;
            }
        }
    }

    /// Does what the machine wants of its connections.
    fn execute(&mut self, network: &mut Network) -> bool {
        match &mut self.machine {
            Machine::Http(phone) => match phone.poll_connection_op() {
                Some(http::ConnectionOp::Connect) => self.control = Some(self.dial(HTTP, network)),
                Some(http::ConnectionOp::Close) => self.close_control(network),
                None => return false,
            },
            Machine::Ftp(phone) => match phone.poll_connection_op() {
                Some(ftp::ConnectionOp::Connect) => self.control = Some(self.dial(FTP, network)),
                Some(ftp::ConnectionOp::HangUp) => {
                    self.close_data(network);
                    self.close_control(network);
                }
                Some(ftp::ConnectionOp::Dial(to)) => {
                    let line = self.dial(to, network);
                    self.take_data(line, network);
                }
                Some(ftp::ConnectionOp::Listen) => {
                    let at = self.place();
                    self.listening = Some(at);
                    if let Machine::Ftp(phone) = &mut self.machine {
                        phone.handle_listening(at);
                    }
                }
                Some(ftp::ConnectionOp::EndData) => {
                    if let Some(line) = self.data {
                        network.shut(line, Side::Phone);
                    }
                }
                Some(ftp::ConnectionOp::DropData) => self.close_data(network),
                // Phones of these worlds speak no TLS.
                Some(ftp::ConnectionOp::Secure) => {}
                None => return false,
            },
        }
        true
    }

    fn place(&mut self) -> SocketAddr {
        self.next_port = (self.next_port + 1) % 60_000;
        SocketAddr::new(self.ip, PORT + self.next_port)
    }

    fn dial(&mut self, to: SocketAddr, network: &mut Network) -> LineId {
        let line = network.dial(Side::Phone, [self.place(), to]);
        self.has_suffered |= !network.is_sound(line);
        line
    }

    fn take_data(&mut self, line: LineId, network: &Network) {
        self.has_suffered |= !network.is_sound(line);
        self.data = Some(line);
        self.data_ended = false;
    }

    fn close_control(&mut self, network: &mut Network) {
        if let Some(line) = self.control.take() {
            network.close(line, Side::Phone);
        }
    }

    fn close_data(&mut self, network: &mut Network) {
        self.listening = None;
        if let Some(line) = self.data.take() {
            network.close(line, Side::Phone);
        }
    }

    /// Sends what there is room for; says whether anything left.
    fn send(&mut self, network: &mut Network) -> bool {
        let now = network.now;
        let mut has_sent = false;
        if let Some(line) = self.control {
            let count = match &mut self.machine {
                Machine::Http(phone) => {
                    let parts = phone.poll_transmit().concat();
                    let count = network.write(line, Side::Phone, &parts);
                    if count > 0 {
                        phone.handle_sent(count, now);
                        let is_all = phone.poll_transmit().iter().all(|part| part.is_empty());
                        if self.half_closes && is_all && count == parts.len() {
                            network.shut(line, Side::Phone);
                        }
                    }
                    count
                }
                Machine::Ftp(phone) => {
                    let count = network.write(line, Side::Phone, phone.poll_transmit());
                    if count > 0 {
                        phone.handle_sent(count, now);
                    }
                    count
                }
            };
            if count > 0 {
                self.asked_at = Some(now);
            }
            has_sent |= count > 0;
        }
        if let (Some(line), Machine::Ftp(phone)) = (self.data, &mut self.machine) {
            let count = network.write(line, Side::Phone, phone.poll_data_transmit());
            if count > 0 {
                phone.handle_data_sent(count, now);
            }
            has_sent |= count > 0;
        }
        has_sent
    }

    fn read(&mut self, network: &mut Network, invariants: &mut Invariants) -> bool {
        let control = self.control.is_some_and(|line| self.read_control(line, network, invariants));
        let data = self.data.is_some_and(|line| self.read_data(line, network, invariants));
        control || data
    }

    fn read_control(
        &mut self,
        line: LineId,
        network: &mut Network,
        invariants: &mut Invariants,
    ) -> bool {
        let now = network.now;
        let room = match &self.machine {
            Machine::Http(phone) => phone.may_read().unwrap_or(READ_BYTES_MAX),
            Machine::Ftp(_) => READ_BYTES_MAX,
        };
        let loss = match network.read(line, Side::Phone, room.min(READ_BYTES_MAX)) {
            Read::Nothing => return false,
            Read::Bytes(bytes) => {
                match &mut self.machine {
                    Machine::Http(phone) => phone.handle_read(bytes.len(), now),
                    Machine::Ftp(phone) => phone.handle_bytes(&bytes, now),
                }
                self.take_body(&bytes, now, invariants);
                return true;
            }
            Read::End => http::Loss::Closed,
            Read::Broken(_) => http::Loss::Reset,
        };
        network.close(line, Side::Phone);
        self.control = None;
        match &mut self.machine {
            Machine::Http(phone) => phone.handle_lost(loss, now),
            Machine::Ftp(phone) => phone.handle_lost(loss, now),
        }
        true
    }

    /// Hands bytes to the machine of HTTP, answer by answer.
    fn take_body(&mut self, bytes: &[u8], now: Instant, invariants: &mut Invariants) {
        let mut rest = bytes;
        while let (Machine::Http(phone), false) = (&mut self.machine, rest.is_empty()) {
            let (taken, piece) = phone.handle_bytes(rest, now);
            if let (Some(piece), Some(reading)) = (piece, &mut self.reading) {
                invariants.came(reading, piece.offset as usize, piece.bytes);
            }
            rest = &rest[taken.clamp(1, rest.len())..];
            self.take_result(invariants, now);
            self.note_step(invariants, now);
        }
    }

    fn read_data(
        &mut self,
        line: LineId,
        network: &mut Network,
        invariants: &mut Invariants,
    ) -> bool {
        let Machine::Ftp(phone) = &mut self.machine else { return false };
        let now = network.now;
        if self.data_ended {
            return false;
        }
        let loss = match network.read(line, Side::Phone, READ_BYTES_MAX) {
            Read::Nothing => return false,
            Read::Bytes(bytes) => {
                if let (Some(piece), Some(reading)) =
                    (phone.handle_data(&bytes, now), &mut self.reading)
                {
                    invariants.came(reading, piece.offset as usize, piece.bytes);
                }
                return true;
            }
            Read::End => ftp::Loss::Closed,
            Read::Broken(_) => ftp::Loss::Reset,
        };
        self.data_ended = true;
        phone.handle_data_ended(loss, now);
        true
    }

    /// A step that begins is one more read, or write, of a file.
    fn note_step(&mut self, invariants: &mut Invariants, now: Instant) {
        let step = match &self.machine {
            Machine::Http(phone) => phone.step(),
            Machine::Ftp(phone) => phone.step(),
        };
        if step == self.step {
            return;
        }
        self.step = step;
        (self.reading, self.writing) = (None, None);
        match self.plan.work(step) {
            Some(Work::Read(name)) => self.reading = Some(invariants.read(&name, now)),
            // What is appended is looked for when all is over.
            Some(Work::Write(name, _)) if name.ends_with(".log") => {}
            Some(Work::Write(name, value)) => {
                self.writing = Some(invariants.write(&name, value, now));
            }
            None => {}
        }
    }

    fn take_result(&mut self, invariants: &mut Invariants, now: Instant) {
        let (ended, step, words) = match &mut self.machine {
            Machine::Http(phone) => {
                let Some(result) = phone.poll_result() else { return };
                if result.tally.unasked > 0 {
                    invariants.violate(Violation::Protocol, "an answer that nobody asked for");
                }
                (of_http(result.ending), result.step, format!("{result:?}"))
            }
            Machine::Ftp(phone) => {
                let Some(result) = phone.poll_result() else { return };
                let _ = phone.poll_refusal();
                (of_ftp(result.ending), result.step, format!("{result:?}"))
            }
        };
        let work = self.plan.work(step);
        // FTP says 550 of all kinds of faults.
        let is_ftp = matches!(self.plan, Plan::Ftp(_));
        let is_vague = is_stranger(self.ip) || is_ftp && !invariants.missing_is_missing;
        match (ended, work, self.reading.take()) {
            (Ended::Done, Some(Work::Read(name)), Some(reading)) => {
                let value = invariants.whole(reading);
                self.values.insert(name, value);
            }
            (Ended::Unchanged, Some(Work::Read(name)), Some(reading)) => {
                let value = self.values.get(&name).cloned().flatten();
                invariants.unchanged(&reading, &value);
            }
            (Ended::Missing, Some(Work::Read(_)), Some(reading)) if !is_vague => {
                invariants.missing(&reading);
            }
            (Ended::Done, Some(Work::Write(name, value)), _) => {
                if let Some(write) = &self.writing {
                    invariants.acknowledge(write, now);
                } else if let Some(value) = value {
                    self.appended.push((name, value));
                }
            }
            (Ended::Fault, _, _) => {
                invariants.violate(Violation::Protocol, format_args!("{}: {words}", self.ip));
            }
            (_, _, _) => {}
        }
        self.files_done += u32::from(matches!(ended, Ended::Done | Ended::Unchanged));
        match (ended, self.asked_at) {
            (Ended::Done, Some(asked_at)) => invariants.served(self.ip, asked_at),
            // Answered without a place, but the hold of one begins again.
            (Ended::Unchanged, Some(asked_at)) => invariants.renewed(self.ip, asked_at, now),
            (_, _) => {}
        }
        self.endings.push(words);
    }
}
