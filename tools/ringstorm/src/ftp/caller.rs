//! One phone on the air: its machine, its connections, and whether what it reads is right.
//!
//! Moves bytes between them; the fleet says when.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use mio::event::Event;
use mio::net::TcpListener;
use mio::{Interest, Registry, Token};
use phones::phone::ftp::{ConnectionOp, Ending, FileResult, Loss, Phone, Presence};
use rustls::{ClientConfig, ClientConnection};
use wire::ftp::reply::Code;
use wire::time::Instant;

use super::World;
use super::driver::{file, refused};
use super::plan::{FtpGroup, Start};
use crate::connection::{Connection, Scratch, Stage, Trouble};
use crate::harness::fleet::{self, Begin, Context};
use crate::harness::tally::{Count, GroupTally, Role, Run, Time};
use crate::vault::{Expected, Register};

/// Sockets of a phone; a token is four times its number and one of these.
pub(crate) const SOCKETS: usize = 4;
const CONTROL: usize = 0;
const DATA: usize = 1;
const LISTENER: usize = 2;
/// Where connections for commands are counted, and where those for data.
const CONTROLS: (Time, Count, Count) = (Time::Connect, Count::Full, Count::Resumed);
const DATAS: (Time, Count, Count) = (Time::DataConnect, Count::DataFull, Count::DataResumed);
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
    start: Start,
    due: Instant,
    control: Option<Line>,
    data: Option<Line>,
    listener: Option<TcpListener>,
    /// All of the data was handed over, and its end is to be told.
    is_ending: bool,
    /// The sessions that its connections resume, those for data those of the control connection.
    session: Option<Arc<ClientConfig>>,
    /// What was read of a version that is to be judged.
    kept: Vec<u8>,
    results: Vec<FileResult>,
    is_wrong: bool,
}

/// A connection, when it was opened, and whether the phone knows that it is established.
struct Line {
    connection: Connection,
    begun: Instant,
    is_taken: bool,
    is_told: bool,
    is_counted: bool,
}

impl Caller {
    /// A phone of a group that begins.
    pub(crate) fn new(of: &FtpGroup, Begin { group, number, due }: Begin) -> Caller {
        let start = of.start(number);
        Caller {
            phone: Phone::new(Arc::clone(&start.plan), due),
            group,
            role: of.schedule.role,
            start,
            due,
            control: None,
            data: None,
            listener: None,
            is_ending: false,
            session: None,
            kept: Vec::new(),
            results: Vec::new(),
            is_wrong: false,
        }
    }

    /// When it began.
    pub(crate) fn due(&self) -> Instant {
        self.due
    }

    /// One of the sockets is ready.
    pub(crate) fn handle_ready(&mut self, event: &Event) {
        let line = match event.token().0 % SOCKETS {
            CONTROL => &mut self.control,
            DATA => &mut self.data,
            // A connection is accepted when the phone is served.
            _ => return,
        };
        if let Some(Line { connection, .. }) = line {
            connection.is_readable |= event.is_readable() || event.is_error();
            connection.is_closed |= event.is_read_closed() || event.is_error();
        }
    }

    /// Does what the phone wants of its connections.
    pub(crate) fn execute(
        &mut self,
        op: ConnectionOp,
        world: &World,
        (registry, id): (&Registry, u32),
        run: &mut Run,
        now: Instant,
    ) {
        let tally = &mut run.groups[self.group];
        let place = |socket: usize| (registry, Token(id as usize * SOCKETS + socket));
        let done = match op {
            ConnectionOp::Connect => {
                tally.add(Count::Connects, 1_u64);
                let tls = if world.is_implicit { self.tls(world) } else { Ok(None) };
                tls.and_then(|tls| self.open(world.server, tls, place(CONTROL)))
                    .map(|connection| self.control = Some(Line::new(connection, now)))
            }
            ConnectionOp::Dial(to) => {
                tally.add(Count::DataConnects, 1_u64);
                self.tls(world)
                    .and_then(|tls| self.open(to, tls, place(DATA)))
                    .map(|connection| self.data = Some(Line::new(connection, now)))
            }
            ConnectionOp::Listen => {
                tally.add(Count::DataConnects, 1_u64);
                self.listen(place(LISTENER)).map_err(unreachable)
            }
            ConnectionOp::Secure => self.secure(world),
            ConnectionOp::EndData => {
                self.is_ending = true;
                Ok(())
            }
            ConnectionOp::DropData => {
                self.drop_data();
                Ok(())
            }
            ConnectionOp::HangUp => {
                self.hang_up();
                Ok(())
            }
        };
        match (done, op) {
            (Ok(()), _) => {}
            (Err(trouble), ConnectionOp::Dial(_)) => self.lose_data(trouble, run, now),
            (Err(trouble), _) => self.lose(trouble, run, now),
        }
    }

    /// Opens a connection from the phone's own address.
    fn open(
        &self,
        to: SocketAddr,
        tls: Option<ClientConnection>,
        place: (&Registry, Token),
    ) -> Result<Connection, Trouble> {
        Connection::open(to, self.start.address, None, tls, place)
    }

    /// TLS for one more connection, where it is spoken.
    fn tls(&mut self, world: &World) -> Result<Option<ClientConnection>, Trouble> {
        let Some(security) = &world.security else { return Ok(None) };
        let session = self.session.get_or_insert_with(|| security.session());
        let begun = security.connection(Arc::clone(session));
        begun.map(Some).map_err(|fault| Trouble { loss: Loss::Unsecured, words: fault.to_string() })
    }

    fn secure(&mut self, world: &World) -> Result<(), Trouble> {
        let tls = self.tls(world)?;
        if let (Some(line), Some(tls)) = (&mut self.control, tls) {
            line.connection.secure(tls);
            line.is_told = false;
        }
        Ok(())
    }

    fn listen(&mut self, (registry, token): (&Registry, Token)) -> io::Result<()> {
        let Some(control) = &self.control else { return Ok(()) };
        let here = control.connection.local_address()?.ip();
        let mut listener = TcpListener::bind(SocketAddr::new(here, 0))?;
        registry.register(&mut listener, token, Interest::READABLE)?;
        self.phone.handle_listening(listener.local_addr()?);
        self.listener = Some(listener);
        Ok(())
    }

    /// Lets the server's data connection in.
    fn accept(&mut self, world: &World, registry: &Registry, id: u32, now: Instant) {
        let Some(listener) = self.listener.take_if(|_| self.data.is_none()) else { return };
        let token = Token(id as usize * SOCKETS + DATA);
        let accepted = match listener.accept() {
            Ok((socket, _)) => self
                .tls(world)
                .ok()
                .and_then(|tls| Connection::accepted(socket, tls, (registry, token)).ok()),
            Err(_) => {
                self.listener = Some(listener);
                return;
            }
        };
        self.data = accepted.map(|connection| Line::new(connection, now));
    }

    fn drop_data(&mut self) {
        (self.data, self.listener, self.is_ending) = (None, None, false);
    }

    /// Closes the control connection in order, and with it the data connection.
    pub(crate) fn hang_up(&mut self) {
        self.drop_data();
        if let Some(line) = self.control.take() {
            line.connection.close();
        }
    }

    fn lose(&mut self, trouble: Trouble, run: &mut Run, now: Instant) {
        // With what TLS has to say of it.
        self.hang_up();
        if trouble.loss != Loss::Closed {
            run.trouble.get_or_insert(trouble.words);
        }
        self.phone.handle_lost(trouble.loss, now);
    }

    fn lose_data(&mut self, trouble: Trouble, run: &mut Run, now: Instant) {
        if trouble.loss != Loss::Closed {
            run.trouble.get_or_insert(trouble.words);
        }
        // The socket stays until the phone drops it: a close now could take back what is under way.
        if let Some(line) = &mut self.data {
            line.connection.is_readable = false;
            if trouble.loss == Loss::Closed {
                // A server may wait for the phone's end of TLS before it says that all is well.
                let _ = line.connection.end();
            }
        }
        self.phone.handle_data_ended(trouble.loss, now);
    }

    /// Moves what can be moved between the phone and its connections.
    pub(crate) fn carry(
        &mut self,
        world: &World,
        (registry, id): (&Registry, u32),
        scratch: &mut Scratch,
        run: &mut Run,
        now: Instant,
    ) {
        let group = self.group;
        if let Err(trouble) = self.hear(scratch, &mut run.groups[group], now) {
            self.lose(trouble, run, now);
        }
        self.accept(world, registry, id, now);
        if let Err(trouble) = self.carry_data(scratch, &mut run.groups[group], now) {
            self.lose_data(trouble, run, now);
        }
        if let Err(trouble) = self.say(now) {
            self.lose(trouble, run, now);
        }
    }

    /// Reads the control connection.
    fn hear(
        &mut self,
        scratch: &mut Scratch,
        tally: &mut GroupTally,
        now: Instant,
    ) -> Result<(), Trouble> {
        let Some(line) = &mut self.control else { return Ok(()) };
        if line.proceed(scratch, (tally, &CONTROLS), now)? != Stage::Open {
            return Ok(());
        }
        if !std::mem::replace(&mut line.is_told, true) {
            self.phone.handle_connected(now);
        }
        let phone = &mut self.phone;
        line.connection.read(scratch, None, &mut |bytes| phone.handle_bytes(bytes, now))?;
        Ok(())
    }

    /// Sends the command that waits.
    fn say(&mut self, now: Instant) -> Result<(), Trouble> {
        let Some(line) = self.control.as_mut().filter(|line| line.is_told) else { return Ok(()) };
        loop {
            let bytes = self.phone.poll_transmit();
            if bytes.is_empty() {
                return line.connection.flush();
            }
            match line.connection.write([bytes, &[]])? {
                0 => return line.connection.flush(),
                sent => self.phone.handle_sent(sent, now),
            }
        }
    }

    fn carry_data(
        &mut self,
        scratch: &mut Scratch,
        tally: &mut GroupTally,
        now: Instant,
    ) -> Result<(), Trouble> {
        let Some(line) = &mut self.data else { return Ok(()) };
        let stage = line.proceed(scratch, (tally, &DATAS), now)?;
        if line.is_taken && !std::mem::replace(&mut line.is_told, true) {
            // Before it is secured: a server may begin that only once it knows the command.
            self.phone.handle_data_opened(now);
        }
        if stage != Stage::Open {
            return Ok(());
        }
        loop {
            let bytes = self.phone.poll_data_transmit();
            if bytes.is_empty() {
                break;
            }
            match line.connection.write([bytes, &[]])? {
                0 => break,
                sent => self.phone.handle_data_sent(sent, now),
            }
        }
        if self.is_ending && line.connection.end()? {
            self.is_ending = false;
        }
        let step = self.phone.step();
        let keeps = matches!(self.start.expected.get(step), Some(Expected::Newest(_)));
        let (phone, kept) = (&mut self.phone, &mut self.kept);
        line.connection.read(scratch, None, &mut |bytes| {
            if let Some(piece) = phone.handle_data(bytes, now)
                && keeps
            {
                if piece.offset == 0 {
                    kept.clear();
                }
                let room = VERIFIED_BYTES_MAX.saturating_sub(kept.len());
                kept.extend_from_slice(&piece.bytes[..piece.bytes.len().min(room)]);
            }
        })?;
        Ok(())
    }

    /// After the phone was told something: counts what came of it.
    pub(crate) fn record_results(
        &mut self,
        register: &mut Option<Register>,
        context: &mut Context<'_>,
    ) {
        let since = context.since();
        let run = &mut *context.run;
        let tally = &mut run.groups[self.group];
        if let Some(refusal) = self.phone.poll_refusal() {
            refused(tally, &refusal);
        }
        self.results.extend(self.phone.poll_result());
        for result in self.results.drain(..) {
            let expected = self.start.expected.get(result.step);
            let wrong = check_result(expected, &result, &self.kept);
            self.kept.clear();
            file(tally, &result, wrong, since);
            self.is_wrong |= wrong.is_some();
            if let (Ending::Refused(_), true, Some(step)) =
                (result.ending, result.is_good, self.start.plan.steps.get(result.step))
            {
                match step.presence {
                    Presence::MustNot => tally.add(Count::RightlyRefused, 1_u64),
                    Presence::May | Presence::Must => tally.add(Count::NothingStored, 1_u64),
                }
            }
            if let (Some(Expected::Stored(version)), Ending::Done) = (expected, result.ending) {
                let acknowledgement = version.acknowledged(Code::TRANSFER_DONE.0);
                if let Some(register) = register {
                    register.push(&acknowledgement);
                }
                run.acknowledged.push(acknowledgement);
            }
        }
    }
}

impl fleet::Caller for Caller {
    fn poll_timeout(&self) -> Option<Instant> {
        self.phone.poll_timeout()
    }

    fn handle_timeout(&mut self, now: Instant) -> bool {
        let is_due = self.phone.poll_timeout().is_some_and(|at| at <= now);
        if is_due {
            self.phone.handle_timeout(now);
        }
        is_due
    }

    fn has_unread(&self) -> bool {
        let is_unread =
            |line: &Line| line.connection.is_readable && line.connection.stage() == Stage::Open;
        self.control.iter().chain(&self.data).any(is_unread)
    }

    fn stands(&self) -> bool {
        self.role == Role::Idle && (self.phone.is_staying() || self.phone.is_over())
    }

    fn has_ended(&self) -> bool {
        self.phone.is_over()
    }

    fn has_failed(&self) -> bool {
        self.is_wrong || self.phone.is_lost()
    }

    fn is_over(&self) -> bool {
        self.phone.is_over()
    }
}

impl Line {
    fn new(connection: Connection, now: Instant) -> Line {
        Line { connection, begun: now, is_taken: false, is_told: false, is_counted: false }
    }

    /// Goes on with opening and securing.
    fn proceed(
        &mut self,
        scratch: &mut Scratch,
        (tally, counts): (&mut GroupTally, &(Time, Count, Count)),
        now: Instant,
    ) -> Result<Stage, Trouble> {
        let stage = self.connection.proceed(scratch)?;
        if stage != Stage::Opening && !std::mem::replace(&mut self.is_taken, true) {
            tally.took(counts.0, now - self.begun);
        }
        if stage == Stage::Open
            && !self.is_counted
            && let Some(kind) = self.connection.handshake()
        {
            self.is_counted = true;
            tally.secured(kind, (counts.1, counts.2));
        }
        Ok(stage)
    }
}

/// The fault of the bytes that were read, if they have one.
fn check_result(
    expected: Option<&Expected>,
    result: &FileResult,
    kept: &[u8],
) -> Option<&'static str> {
    match (expected, result.ending) {
        (Some(Expected::Newest(version)), Ending::Done) => version.check(kept).err(),
        (Some(Expected::Newest(_)), Ending::Refused(Code::UNAVAILABLE)) if !result.is_good => {
            Some("acknowledged, and missing")
        }
        (_, _) => None,
    }
}

fn unreachable(fault: io::Error) -> Trouble {
    Trouble { loss: Loss::Unreachable, words: fault.to_string() }
}
