//! The cost of FTP without a socket: a parsed command, and a phone's whole session.

use std::hint::black_box;
use std::net::SocketAddr;
use std::sync::Arc;

use criterion::{Criterion, criterion_group, criterion_main};
use engine::admission::Admission;
use engine::admission::slots::SharedSlots;
use engine::catalog::blob::{Blob, Version};
use engine::catalog::{Catalog, Entry, Form, Root, RootId};
use engine::metrics::Counters;
use engine::policy::snapshot::{Policy, Snapshot};
use engine::protocol::Protocol;
use engine::session::TurnContext;
use engine::session::ftp::{DataCommand, Engine};
use engine::session::snmp::SnmpClient;
use engine::session::stream::{ConnectionId, Connections, ListenerId, Next, Payload};
use engine::settings::ftp::FtpListener;
use wire::ftp::command::parse;
use wire::name::FileName;
use wire::time::{Duration, Instant};

const FILE: &str = "46xxsettings.txt";
const FILE_BYTES: usize = 2_048;

fn wire(c: &mut Criterion) {
    let lines: [&[u8]; 4] = [b"USER anonymous", b"EPSV", b"RETR 46xxsettings.txt", b"QUIT"];
    c.bench_function("wire/ftp_command/session", |b| {
        b.iter(|| lines.iter().all(|line| parse(black_box(line)).is_ok()));
    });
    let port = b"PORT 192,168,100,200,195,80";
    c.bench_function("wire/ftp_command/port", |b| b.iter(|| parse(black_box(port)).is_ok()));
}

/// The sessions of one worker, and the bytes for its sockets.
struct Worker {
    engine: Engine,
    listener: ListenerId,
    snapshot: Snapshot,
    admission: Admission,
    snmp: SnmpClient,
    counters: Counters,
    now: Instant,
    sent: usize,
}

impl Worker {
    fn new() -> Option<Self> {
        let address = SocketAddr::from(([10, 0, 0, 1], 21));
        let mut policy = Policy::default();
        policy.ftp.listeners = vec![FtpListener { address, implicit: false, tls: false }];
        policy.ftp.stack = vec![RootId(0)];
        let mut engine = Engine::default();
        let listener = engine.add_listener(address, Protocol::Ftp);
        engine.adopt(&policy.ftp);
        let version = Version { bytes: FILE_BYTES as u64, modified_ns: 7, ..Version::default() };
        let entry = Arc::new(Entry::new(RootId(0), FILE, version));
        let blob = Blob::heap(vec![7; FILE_BYTES].into(), version);
        entry.keep(Form::Octet, Some(Arc::new(blob)));
        let name = FileName::parse(FILE.as_bytes()).ok()?;
        let entries = [(name.as_bytes().into(), entry)].into_iter().collect();
        let catalog = Catalog { roots: vec![Arc::new(Root { entries, ..Root::default() })] };
        Some(Worker {
            engine,
            listener,
            snapshot: Snapshot { policy: Arc::new(policy), catalog: Arc::new(catalog) },
            admission: Admission::new(0, Arc::new(SharedSlots::new(1)), Arc::default()),
            snmp: SnmpClient::seeded(7),
            counters: Counters::default(),
            now: Instant::from_millis(1_000),
            sent: 0,
        })
    }

    fn with<T>(&mut self, act: impl FnOnce(&mut Engine, &mut TurnContext<'_>) -> T) -> T {
        let mut turn = TurnContext {
            snapshot: &self.snapshot,
            admission: &mut self.admission,
            snmp: &mut self.snmp,
            counters: &self.counters,
            now: self.now,
            unix_s: 0,
        };
        act(&mut self.engine, &mut turn)
    }

    /// Does a socket's part for a connection, until it waits.
    fn drive(&mut self, id: ConnectionId) {
        loop {
            match self.engine.next(id) {
                Next::Write => {
                    let outgoing = self.engine.outgoing(id);
                    let body = match outgoing.payload {
                        Payload::None => 0,
                        Payload::Bytes(bytes) => bytes.len(),
                        Payload::File { bytes, .. } => bytes as usize,
                    };
                    let bytes = outgoing.head.len() + body;
                    self.sent += bytes;
                    self.with(|engine, turn| engine.handle_sent(id, bytes, turn));
                }
                Next::Close | Next::Reset => {
                    return self.with(|engine, turn| engine.handle_closed(id, turn));
                }
                Next::Read | Next::Wait | Next::Measure | Next::StartTls | Next::Shut => return,
            }
        }
    }

    /// Passes a line to the session, and handles everything that follows.
    fn say(&mut self, control: ConnectionId, line: &[u8]) {
        self.with(|engine, turn| engine.handle_bytes(control, line, turn));
        self.drive(control);
        while let Some(id) = self.engine.poll_ready() {
            self.drive(id);
        }
    }

    /// A phone logs in, reads the file over a passive data connection, and leaves.
    fn session(&mut self, peer: SocketAddr) -> Option<()> {
        self.now = self.now + Duration::from_micros(100);
        let listener = self.listener;
        let control = self.with(|engine, turn| engine.handle_connected(peer, listener, turn))?;
        self.drive(control);
        for line in [&b"USER anonymous\r\n"[..], b"PASS phone@\r\n", b"TYPE I\r\n", b"EPSV\r\n"] {
            self.say(control, line);
        }
        while let Some(door) = self.engine.poll_data_command() {
            let DataCommand::Await { data, control } = door else { continue };
            let at = SocketAddr::from(([10, 0, 0, 1], 50_000));
            self.with(|engine, turn| engine.handle_awaited(data, Ok(at), turn));
            self.drive(control);
            self.with(|engine, turn| engine.handle_data_connected(data, peer, turn));
            self.drive(data);
        }
        self.say(control, b"RETR 46xxsettings.txt\r\n");
        self.say(control, b"QUIT\r\n");
        while self.engine.poll_record().is_some() {}
        Some(())
    }
}

/// Log-in, one small file and farewell through the whole engine.
fn session(c: &mut Criterion) {
    let Some(mut worker) = Worker::new() else { return };
    let mut port: u16 = 1_024;
    c.bench_function("session/ftp/login_retr_quit", |b| {
        b.iter(|| {
            port = port.checked_add(1).unwrap_or(1_024);
            worker.session(SocketAddr::from(([10, 0, 0, 2], port)))
        });
    });
    let done = worker.counters.transfers_done.value();
    assert!(done > 0, "nothing was measured: no transfer was done");
    assert_eq!(worker.engine.sessions_open(), 0, "sessions were left open");
}

criterion_group!(benches, wire, session);
criterion_main!(benches);
