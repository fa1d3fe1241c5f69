//! The TFTP engine as the server of a simulated world, with a slow loader.
//!
//! Does what a worker's loop does, in the same order, without its sockets: passes datagrams in,
//! questions to the loader and answers back, and takes the sends.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;

use super::{Datagram, Files, SERVER, Server};
use engine::admission::Admission;
use engine::admission::budget::{Budget, BudgetLimits};
use engine::admission::rate_limit::RateLimits;
use engine::admission::slots::SharedSlots;
use engine::catalog::blob::{Blob, Version};
use engine::catalog::index::Index;
use engine::catalog::{Catalog, Entry, Form, Root, RootId, Stored};
use engine::metrics::Counters;
use engine::policy::snapshot::{Policy, Snapshot};
use engine::requests::{StoreReply, StoreRequest};
use engine::session::snmp::SnmpClient;
use engine::session::tftp::{self, Engine, Payload, PortId, SendQueue, Transmit};
use engine::session::{Outcome, TurnContext};
use engine::vault::upload::{PartDone, PartOp, Spool, Upload};
use wire::name::FileName;
use wire::time::{Duration, Instant};

/// The first port of the pool from which transfers are answered.
const POOL_PORT: u16 = 40_000;

/// How a simulated server is set up.
#[derive(Debug)]
pub struct Setup {
    /// The settings; the stack of roots is filled in.
    pub policy: Policy,
    /// Ports from which transfers are answered; 0 answers from the port that was asked.
    pub pool_ports: u16,
    /// How long the loader takes for each question.
    pub loader_delay: Duration,
    /// Whether files are in memory from the start, as far as they fit.
    pub preloaded: bool,
}

impl Default for Setup {
    fn default() -> Self {
        let mut policy = Policy::default();
        policy.tftp.transfers_max = 100_000;
        policy.tftp.half_open_max = 50_000;
        policy.tftp.upload_memory_bytes_max = 1 << 30;
        policy.tftp.uploads_aside_max = 1_024;
        Setup { policy, pool_ports: 8, loader_delay: Duration::from_millis(3), preloaded: true }
    }
}

/// The engine and everything that it needs around it.
pub struct TftpServer {
    engine: Engine,
    snapshot: Snapshot,
    admission: Admission,
    snmp: SnmpClient,
    counters: Counters,
    blobs: HashMap<Box<str>, Arc<Blob>>,
    pool_ports: u16,
    loader_delay: Duration,
    replies: VecDeque<(Instant, StoreReply)>,
    uploads: Vec<Upload>,
    outcomes: Vec<Outcome>,
    out: VecDeque<Datagram>,
}

impl TftpServer {
    /// Makes a server that has these files.
    #[must_use]
    pub fn new(files: &Files, mut setup: Setup) -> TftpServer {
        let root = RootId(0);
        let mut entries = Index::default();
        let mut blobs = HashMap::new();
        for (name, bytes) in files {
            let (Ok(folded), Ok(path)) = (FileName::parse(name), str::from_utf8(name)) else {
                continue;
            };
            let version = Version { bytes: bytes.len() as u64, ..Version::default() };
            let blob = Arc::new(Blob::heap(bytes[..].into(), version));
            let entry = Entry::new(root, path, version);
            if setup.preloaded {
                entry.keep(Form::Octet, Some(Arc::clone(&blob)));
            }
            entries.insert(folded.as_bytes(), Arc::new(entry));
            blobs.insert(path.into(), blob);
        }
        setup.policy.tftp.stack = vec![root];
        let catalog = Catalog { roots: vec![Arc::new(Root { entries, ..Root::default() })] };
        let shared = Arc::new(SharedSlots::new(1));
        let mut admission = Admission::new(0, shared, Arc::new(RateLimits::default()));
        // Known seeds, so that one seed of the world gives one history.
        admission.budget = Budget::new(1, BudgetLimits::default());
        let mut engine = Engine::seeded(1);
        engine.set_order(&setup.policy.order, 1);
        let pool: Vec<PortId> = (1..=setup.pool_ports).map(PortId).collect();
        engine.set_answers(PortId(0), if pool.is_empty() { vec![PortId(0)] } else { pool });
        TftpServer {
            engine,
            snapshot: Snapshot { policy: Arc::new(setup.policy), catalog: Arc::new(catalog) },
            admission,
            snmp: SnmpClient::seeded(7),
            counters: Counters::default(),
            blobs,
            pool_ports: setup.pool_ports,
            loader_delay: setup.loader_delay,
            replies: VecDeque::new(),
            uploads: Vec::new(),
            outcomes: Vec::new(),
            out: VecDeque::new(),
        }
    }

    /// The figures.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Returns the stored uploads, in order.
    #[must_use]
    pub fn uploads(&self) -> &[Upload] {
        &self.uploads
    }

    /// Returns how transfers ended, in order.
    #[must_use]
    pub fn outcomes(&self) -> &[Outcome] {
        &self.outcomes
    }

    fn turn<T>(
        &mut self,
        now: Instant,
        act: impl FnOnce(&mut Engine, &mut TurnContext<'_>) -> T,
    ) -> T {
        let mut turn = TurnContext {
            snapshot: &self.snapshot,
            admission: &mut self.admission,
            snmp: &mut self.snmp,
            counters: &self.counters,
            now,
            unix_s: 0,
        };
        act(&mut self.engine, &mut turn)
    }

    /// Does what a worker does after its events: slots, questions, sends, records.
    fn run_until_idle(&mut self, now: Instant) {
        while let Some(ticket) = self.admission.slots.poll_granted(now) {
            self.turn(now, |engine, turn| engine.handle_granted(ticket, turn));
        }
        while let Some(ticket) = self.admission.slots.poll_expired(now) {
            self.turn(now, |engine, turn| engine.handle_expired(ticket, turn));
        }
        self.send(now);
        while let Some(request) = self.engine.poll_store_request() {
            let reply = self.answer(request).map(|reply| (now + self.loader_delay, reply));
            self.replies.extend(reply);
        }
        while let Some(record) = self.engine.poll_record() {
            self.outcomes.push(record.outcome);
        }
    }

    fn answer(&mut self, request: StoreRequest) -> Option<StoreReply> {
        Some(match request {
            StoreRequest::Open { ticket, entry, form } => {
                let blob = self.blobs.get(&entry.path).cloned();
                entry.keep(form, blob.clone());
                StoreReply::Opened { ticket, result: blob.ok_or(engine::catalog::OpenError::Gone) }
            }
            StoreRequest::Verify { ticket, blob } => {
                StoreReply::Verified { ticket, unchanged: !blob.is_stale() }
            }
            StoreRequest::Store { ticket, upload } => {
                self.uploads.push(*upload);
                let stored = Stored { new: true, version: Version::default() };
                StoreReply::Stored { ticket, result: Ok(stored) }
            }
            StoreRequest::Upload { ticket, op: PartOp::Find { name }, .. } => {
                let is_there = self.uploads.iter().any(|upload| upload.name == *name);
                StoreReply::Upload { ticket, result: Ok(PartDone::Found(is_there)) }
            }
            StoreRequest::Upload { op: PartOp::Forget { .. }, .. } => return None,
            StoreRequest::Upload { ticket, op: PartOp::Write { spool, bytes }, .. } => {
                let mut spool = spool.unwrap_or_else(Spool::in_memory);
                spool.extend(&bytes);
                StoreReply::Upload {
                    ticket,
                    result: Ok(PartDone::Written { spool, room: Vec::new() }),
                }
            }
            // TFTP never asks for these.
            StoreRequest::Delete { .. }
            | StoreRequest::Read { .. }
            | StoreRequest::Vault { .. }
            | StoreRequest::Files { .. }
            | StoreRequest::Login { .. } => return None,
        })
    }

    fn send(&mut self, now: Instant) {
        let mut is_idle = false;
        while !is_idle {
            is_idle = true;
            for port in 0..=self.pool_ports {
                for lane in SendQueue::ALL {
                    let id = PortId(port);
                    let mut count = 0;
                    for transmit in self.engine.outgoing(id, lane) {
                        count += 1;
                        push(&mut self.out, number(port), transmit);
                    }
                    if count > 0 {
                        is_idle = false;
                        self.turn(now, |engine, turn| {
                            engine.handle_transmitted(id, lane, count, turn);
                        });
                    }
                }
            }
        }
    }
}

/// Returns a socket's real port.
fn number(port: u16) -> u16 {
    if port == 0 { SERVER.port() } else { POOL_PORT + port }
}

fn push(out: &mut VecDeque<Datagram>, port: u16, transmit: Transmit<'_>) {
    let peer = transmit.peer;
    match transmit.payload {
        Payload::Control(packet) => {
            out.push_back(Datagram { port, peer, bytes: packet.packet().as_bytes().to_vec() });
        }
        Payload::Blocks(blocks) => {
            let blksize = u64::from(blocks.blksize);
            let all = blocks.blob.as_slice().unwrap_or_default();
            let mut offset = (blocks.first - 1) * blksize;
            for (header, span) in blocks.datagrams() {
                let start = offset as usize;
                let mut bytes = header.to_vec();
                bytes.extend(&all[start..start + span.bytes()]);
                out.push_back(Datagram { port, peer, bytes });
                offset += blksize;
            }
        }
    }
}

impl Server for TftpServer {
    fn handle_datagram(&mut self, port: u16, peer: SocketAddr, bytes: &[u8], now: Instant) {
        let port = PortId(if port == SERVER.port() { 0 } else { port.wrapping_sub(POOL_PORT) });
        if port.0 > self.pool_ports {
            return;
        }
        let local = Some(SERVER.ip());
        let datagram = tftp::Datagram { port, peer, to: local, from: local, interface: 0, bytes };
        self.turn(now, |engine, turn| engine.handle_datagram(datagram, turn));
        self.run_until_idle(now);
    }

    fn handle_timeout(&mut self, now: Instant) {
        while let Some((_, reply)) = self.replies.pop_front_if(|(at, _)| *at <= now) {
            self.turn(now, |engine, turn| engine.handle_store_reply(reply, turn));
        }
        self.turn(now, |engine, turn| engine.handle_timeout(turn));
        self.run_until_idle(now);
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let reply = self.replies.front().map(|(at, _)| *at);
        let slots = self.admission.slots.poll_timeout();
        [self.engine.poll_timeout(), reply, slots].into_iter().flatten().min()
    }

    fn poll_transmit(&mut self, _now: Instant) -> Option<Datagram> {
        self.out.pop_front()
    }

    fn transfers_open(&self) -> usize {
        self.engine.transfers_open()
    }
}
