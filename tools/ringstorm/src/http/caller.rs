//! One phone on the air: its machine, its connection, and whether what it reads is right.
//!
//! Moves bytes between the two; the fleet says when.

use std::sync::Arc;

use mio::event::Event;
use mio::{Registry, Token};
use phones::phone::http::{Ending, FileResult, Loss, Phone};
use phones::phone::tftp::Piece;
use rustls::ClientConfig;
use wire::time::Instant;

use super::World;
use super::driver::{count, ended, file};
use super::plan::{HttpGroup, Start};
use crate::connection::{Connection, Scratch, Stage, Trouble};
use crate::harness::fleet::{self, Begin, Context};
use crate::harness::tally::{Count, GroupTally, Role, Run, Time};
use crate::vault::{Expected, Register};

/// Most bytes that are kept of a version which is to be verified.
const VERIFIED_BYTES_MAX: usize = 16 << 20;

/// A phone on the air.
pub(crate) struct Caller {
    /// What it decides.
    pub(crate) phone: Phone,
    /// The number of its group.
    pub(crate) group: usize,
    /// What the group is there for.
    pub(crate) role: Role,
    /// It has all its files, or has given up.
    has_ended: bool,
    /// The server ended the connection of a phone that is slow or idle.
    pub(crate) was_ended: bool,
    connection: Option<Connection>,
    /// The sessions that it can resume.
    session: Option<Arc<ClientConfig>>,
    start: Start,
    address: u32,
    receive_bytes: Option<usize>,
    due: Instant,
    /// A slow phone leaves at this moment.
    until: Option<Instant>,
    /// When the connection was begun, and when the server took it.
    opened: Instant,
    taken: Instant,
    reading: Reading,
    results: Vec<(FileResult, Option<&'static str>)>,
    is_wrong: bool,
}

/// What came of the current file.
#[derive(Default)]
struct Reading {
    is_wrong: bool,
    bytes: u64,
    kept: Vec<u8>,
}

impl Caller {
    /// A phone of a group that gets power.
    pub(crate) fn new(of: &HttpGroup, Begin { group, number, due }: Begin) -> Caller {
        let (start, role) = (of.start(number), of.schedule.role);
        Caller {
            phone: Phone::new(Arc::clone(&start.plan), due),
            group,
            role,
            has_ended: false,
            was_ended: false,
            connection: None,
            session: None,
            start,
            address: of.address(number),
            receive_bytes: of.receive_bytes,
            due,
            until: (role == Role::Slow).then(|| due + of.hold),
            opened: due,
            taken: due,
            reading: Reading::default(),
            results: Vec::new(),
            is_wrong: false,
        }
    }

    /// The socket is ready.
    pub(crate) fn handle_ready(&mut self, event: &Event) {
        if let Some(connection) = &mut self.connection {
            connection.is_readable |= event.is_readable() || event.is_error();
            connection.is_closed |= event.is_read_closed() || event.is_error();
        }
    }

    /// Begins a connection.
    pub(crate) fn open(
        &mut self,
        world: &World,
        (registry, id): (&Registry, u32),
        now: Instant,
    ) -> Result<(), Trouble> {
        self.opened = now;
        let tls = match &world.security {
            None => None,
            Some(security) => {
                let session = self.session.get_or_insert_with(|| security.session());
                let begun = security.connection(Arc::clone(session));
                let describe = |fault: rustls::Error| Trouble {
                    loss: Loss::Unsecured,
                    words: fault.to_string(),
                };
                Some(begun.map_err(describe)?)
            }
        };
        let place = (registry, Token(id as usize));
        let opened = Connection::open(world.server, self.address, self.receive_bytes, tls, place)?;
        self.connection = Some(opened);
        Ok(())
    }

    /// Closes the connection in order, if there is one.
    pub(crate) fn close(&mut self) {
        if let Some(connection) = self.connection.take() {
            connection.close();
        }
    }

    /// The connection is gone.
    pub(crate) fn lose(&mut self, trouble: Trouble, run: &mut Run, now: Instant) {
        // With what TLS has to say of it.
        self.close();
        if self.role == Role::Idle && self.phone.is_staying() {
            self.was_ended = true;
            let lived = now - self.taken;
            ended(&mut run.groups[self.group], Ending::Lost(trouble.loss), lived);
        } else if trouble.loss != Loss::Closed {
            run.trouble.get_or_insert(trouble.words);
        }
        self.phone.handle_lost(trouble.loss, now);
    }

    /// Moves what can be moved between the phone and its connection.
    pub(crate) fn carry(
        &mut self,
        scratch: &mut Scratch,
        tally: &mut GroupTally,
        now: Instant,
    ) -> Result<(), Trouble> {
        let Some(connection) = &mut self.connection else { return Ok(()) };
        let was = connection.stage();
        if was != Stage::Open {
            let stage = connection.proceed(scratch)?;
            if was == Stage::Opening && stage != Stage::Opening {
                self.taken = now;
                tally.took(Time::Connect, now - self.opened);
            }
            if stage != Stage::Open {
                return Ok(());
            }
            if let Some(kind) = connection.handshake() {
                tally.secured(kind, (Count::Full, Count::Resumed));
                tally.took(Time::Handshake, now - self.taken);
            }
            self.phone.handle_connected(now);
        }
        send(&mut self.phone, connection, now)?;
        let may_read = self.phone.may_read();
        let (phone, start) = (&mut self.phone, &self.start);
        let (reading, results) = (&mut self.reading, &mut self.results);
        let mut feed = |mut bytes: &[u8]| {
            while !bytes.is_empty() {
                let step = phone.step();
                let (used, piece) = phone.handle_bytes(bytes, now);
                if let Some(piece) = piece {
                    reading.add(start.expected.get(step), &piece);
                }
                if let Some(result) = phone.poll_result() {
                    results.push(reading.check_result(start, result));
                }
                bytes = bytes.get(used..).unwrap_or_default();
            }
        };
        let read = connection.read(scratch, may_read, &mut feed)?;
        if read > 0 {
            self.phone.handle_read(read, now);
            // The end of one answer is the moment of the next request.
            send(&mut self.phone, connection, now)?;
        }
        if may_read.is_some() && connection.is_closed {
            // A phone that reads slowly would find out when it has read all.
            return Err(Trouble { loss: Loss::Closed, words: "closed".to_owned() });
        }
        Ok(())
    }

    /// After the phone was told something: counts what came of it.
    pub(crate) fn record_results(
        &mut self,
        register: &mut Option<Register>,
        context: &mut Context<'_>,
    ) {
        if let Some(result) = self.phone.poll_result() {
            self.results.push(self.reading.check_result(&self.start, result));
        }
        let (since, now) = (context.since(), context.now);
        let run = &mut *context.run;
        for (result, wrong) in self.results.drain(..) {
            let tally = &mut run.groups[self.group];
            if self.role == Role::Slow {
                self.was_ended = true;
                count(tally, &result);
                ended(tally, result.ending, now - self.taken);
                continue;
            }
            file(tally, &result, wrong, since);
            self.is_wrong |= wrong.is_some();
            if let (Some(Expected::Stored(version)), true) =
                (self.start.expected.get(result.step), result.is_good)
            {
                let acknowledgement = version.acknowledged(result.status);
                if let Some(register) = register {
                    register.push(&acknowledgement);
                }
                run.acknowledged.push(acknowledgement);
            }
        }
        if !self.has_ended && self.phone.has_booted_or_failed() {
            self.has_ended = true;
            if self.role != Role::Slow {
                let is_good = !fleet::Caller::has_failed(self);
                run.groups[self.group].phone(now - self.due, since, is_good);
            }
        }
    }
}

impl fleet::Caller for Caller {
    fn poll_timeout(&self) -> Option<Instant> {
        self.phone.poll_timeout().into_iter().chain(self.until).min()
    }

    fn handle_timeout(&mut self, now: Instant) -> bool {
        if self.until.is_some_and(|at| at <= now) {
            self.until = None;
            self.close();
            self.phone.leave();
            return false;
        }
        let is_due = self.phone.poll_timeout().is_some_and(|at| at <= now);
        if is_due {
            self.phone.handle_timeout(now);
        }
        is_due
    }

    fn has_unread(&self) -> bool {
        let may_read = self.phone.may_read().is_none_or(|bytes| bytes > 0);
        let open = self.connection.as_ref().filter(|it| it.stage() == Stage::Open);
        may_read && open.is_some_and(|connection| connection.is_readable)
    }

    fn stands(&self) -> bool {
        let is_open = self.connection.as_ref().is_some_and(|it| it.stage() == Stage::Open);
        match self.role {
            Role::Load => false,
            Role::Idle => self.phone.is_staying() || self.phone.is_over(),
            Role::Slow => is_open || self.phone.is_over(),
        }
    }

    fn has_ended(&self) -> bool {
        self.has_ended
    }

    fn has_failed(&self) -> bool {
        self.is_wrong || (self.phone.is_lost() && self.role != Role::Slow)
    }

    fn is_over(&self) -> bool {
        self.phone.is_over()
    }
}

/// Sends what waits, as far as the socket takes it.
fn send(phone: &mut Phone, connection: &mut Connection, now: Instant) -> Result<(), Trouble> {
    loop {
        let parts = phone.poll_transmit();
        if parts.iter().all(|part| part.is_empty()) {
            break;
        }
        match connection.write(parts)? {
            0 => break,
            sent => phone.handle_sent(sent, now),
        }
    }
    connection.flush()
}

impl Reading {
    /// Compares a piece with the file as it must arrive.
    fn add(&mut self, expected: Option<&Expected>, piece: &Piece<'_>) {
        if piece.offset == 0 {
            self.is_wrong = false;
            self.kept.clear();
        }
        self.bytes = piece.offset + piece.bytes.len() as u64;
        match expected {
            Some(Expected::Bytes(content)) => {
                let start = piece.offset as usize;
                let part = content.get(start..start + piece.bytes.len());
                self.is_wrong |= part != Some(piece.bytes);
            }
            Some(Expected::Newest(_)) => {
                let room = VERIFIED_BYTES_MAX.saturating_sub(self.kept.len());
                self.kept.extend_from_slice(&piece.bytes[..piece.bytes.len().min(room)]);
            }
            Some(Expected::Unknown | Expected::Stored(_)) | None => {}
        }
    }

    /// A file ended, with the fault of its bytes if they have one.
    fn check_result(
        &mut self,
        start: &Start,
        result: FileResult,
    ) -> (FileResult, Option<&'static str>) {
        let Reading { is_wrong, bytes, kept } = std::mem::take(self);
        let wrong = match (start.expected.get(result.step), result.ending) {
            (Some(Expected::Bytes(content)), Ending::Done) => {
                (is_wrong || bytes != content.len() as u64).then_some("wrong bytes")
            }
            (Some(Expected::Bytes(_)), Ending::Left) => is_wrong.then_some("wrong bytes"),
            (Some(Expected::Newest(version)), Ending::Done) => version.check(&kept).err(),
            (Some(Expected::Newest(_)), Ending::Refused(404)) => Some("acknowledged, and missing"),
            (_, _) => None,
        };
        (result, wrong)
    }
}
