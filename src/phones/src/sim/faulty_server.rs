//! The smallest server that keeps the rules, and the same with a bug, to test the world itself. A
//! bug that its invariants miss would go unseen in the engine, too.
//!
//! Only for tests.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;

use super::{Datagram, Files, SERVER, Server};
use wire::tftp::{self, Block, Control, ErrorCode, Options, Packet, Request, data_header};
use wire::time::{Duration, Instant};

const TIMEOUT: Duration = Duration::from_millis(400);
const TRIES: u32 = 12;
/// A second ACK sooner than this means nothing: no answer to the last send can come so soon.
const ROUND_TRIP_MIN: Duration = Duration::from_micros(400);

struct Transfer {
    port: u16,
    file: Arc<[u8]>,
    request: Vec<u8>,
    option_ack: Option<Control>,
    blksize: u64,
    window: u64,
    acked: Option<u64>,
    sent: u64,
    began: Instant,
    sent_at: Instant,
    timer_at: Instant,
    silent: u32,
}

/// The bug of a faulty server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bug {
    /// It answers a duplicate ACK by another DATA (RFC 1123, 4.2.3.1).
    AnswersDoubledAcks,
    /// It flips one bit of every third block.
    CorruptsBlocks,
    /// It never drops a transfer.
    LeaksTransfers,
}

#[derive(Default)]
pub(super) struct FaultyServer {
    files: Files,
    transfers: BTreeMap<SocketAddr, Transfer>,
    out: VecDeque<Datagram>,
    next_port: u16,
    bug: Option<Bug>,
}

impl FaultyServer {
    pub(super) fn new(files: &Files, bug: Option<Bug>) -> FaultyServer {
        FaultyServer { files: files.clone(), bug, ..FaultyServer::default() }
    }

    fn has(&self, bug: Bug) -> bool {
        self.bug == Some(bug)
    }

    fn on_request(&mut self, peer: SocketAddr, bytes: &[u8], request: Request<'_>, now: Instant) {
        let is_double = |old: &Transfer| old.request == bytes && now - old.began < TIMEOUT;
        if self.transfers.get(&peer).is_some_and(is_double) {
            return;
        }
        self.next_port = self.next_port % 10_000 + 1;
        let port = 30_000 + self.next_port;
        let Some(file) = self.files.get(request.name).cloned() else {
            let error = Control::error(ErrorCode::NOT_FOUND, "no such file");
            self.out.push_back(Datagram { port, peer, bytes: error.as_bytes().into() });
            return;
        };
        let requested = request.options;
        let granted = Options {
            blksize: requested.blksize.map(|value| value.clamp(8, 1_428)),
            windowsize: requested.windowsize.map(|value| value.clamp(1, 16)),
            tsize: requested.tsize.map(|_| file.len() as u64),
            ..Options::default()
        };
        let option_ack = (!granted.is_empty()).then(|| Control::option_ack(&granted));
        let transfer = Transfer {
            port,
            file,
            request: bytes.to_vec(),
            acked: option_ack.is_none().then_some(0),
            option_ack,
            blksize: granted.blksize.unwrap_or(512),
            window: granted.windowsize.unwrap_or(1),
            sent: 0,
            began: now,
            sent_at: now,
            timer_at: now + TIMEOUT,
            silent: 0,
        };
        self.transfers.insert(peer, transfer);
        self.send(peer);
    }

    fn on_ack(&mut self, peer: SocketAddr, port: u16, block: Block, now: Instant) {
        let answers_doubles = self.has(Bug::AnswersDoubledAcks);
        let leaks = self.has(Bug::LeaksTransfers);
        let Some(transfer) = self.transfers.get_mut(&peer).filter(|t| t.port == port) else {
            return;
        };
        let acked = transfer.acked.unwrap_or(0);
        let new = (acked..=transfer.sent).find(|number| *number as u16 == block.0);
        let Some(number) = new else { return };
        let patience = if transfer.window == 1 { TIMEOUT / 2 } else { ROUND_TRIP_MIN };
        let is_early = now - transfer.sent_at < patience;
        if transfer.acked == Some(number) && is_early && !answers_doubles {
            return;
        }
        transfer.acked = Some(number);
        transfer.silent = 0;
        if number == transfer.file.len() as u64 / transfer.blksize + 1 && !leaks {
            self.transfers.remove(&peer);
            return;
        }
        transfer.sent = number;
        transfer.sent_at = now;
        transfer.timer_at = now + TIMEOUT;
        self.send(peer);
    }

    fn send(&mut self, peer: SocketAddr) {
        let corrupts = self.has(Bug::CorruptsBlocks);
        let Some(transfer) = self.transfers.get_mut(&peer) else { return };
        let Some(acked) = transfer.acked else {
            let Some(option_ack) = transfer.option_ack else { return };
            let (port, bytes) = (transfer.port, option_ack.as_bytes().to_vec());
            self.out.push_back(Datagram { port, peer, bytes });
            return;
        };
        let blocks = transfer.file.len() as u64 / transfer.blksize + 1;
        while transfer.sent < blocks && transfer.sent < acked + transfer.window {
            let start = (transfer.sent * transfer.blksize) as usize;
            let end = (start + transfer.blksize as usize).min(transfer.file.len());
            transfer.sent += 1;
            let mut bytes = data_header(Block(transfer.sent as u16)).to_vec();
            bytes.extend(&transfer.file[start..end]);
            if corrupts && transfer.sent.is_multiple_of(3) {
                bytes[4] ^= 1;
            }
            self.out.push_back(Datagram { port: transfer.port, peer, bytes });
        }
    }
}

impl Server for FaultyServer {
    fn handle_datagram(&mut self, port: u16, peer: SocketAddr, bytes: &[u8], now: Instant) {
        match tftp::parse(bytes) {
            Ok(Packet::ReadRequest(request)) if port == SERVER.port() => {
                self.on_request(peer, bytes, request, now);
            }
            Ok(Packet::Ack(block)) => self.on_ack(peer, port, block, now),
            Ok(Packet::Error { .. }) => {
                if self.transfers.get(&peer).is_some_and(|transfer| transfer.port == port) {
                    self.transfers.remove(&peer);
                }
            }
            Ok(_) | Err(_) => {}
        }
    }

    fn handle_timeout(&mut self, now: Instant) {
        let leaks = self.has(Bug::LeaksTransfers);
        let due: Vec<SocketAddr> = self
            .transfers
            .iter()
            .filter(|(_, transfer)| transfer.timer_at <= now)
            .map(|(peer, _)| *peer)
            .collect();
        for peer in due {
            let Some(transfer) = self.transfers.get_mut(&peer) else { continue };
            transfer.silent += 1;
            transfer.sent_at = now;
            transfer.timer_at = now + TIMEOUT;
            let has_answered = transfer.acked > transfer.option_ack.map_or(Some(0), |_| None);
            let tries = if has_answered { TRIES } else { 3 };
            if transfer.silent >= tries && !leaks {
                self.transfers.remove(&peer);
            } else if transfer.silent < tries {
                transfer.sent = transfer.acked.unwrap_or(0);
                self.send(peer);
            }
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.transfers.values().map(|transfer| transfer.timer_at).min()
    }

    fn poll_transmit(&mut self, _now: Instant) -> Option<Datagram> {
        self.out.pop_front()
    }

    fn transfers_open(&self) -> usize {
        self.transfers.len()
    }
}
