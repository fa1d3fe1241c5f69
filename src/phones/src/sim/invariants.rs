//! The invariants of a TFTP server, checked for every datagram that passes.
//!
//! Only watches: it sees what was delivered, sent and lost, and changes none of it.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;

use super::{Datagram, SERVER};
use wire::tftp::{self, DATA_HEADER_BYTES, Packet};
use wire::time::{Duration, Instant};

/// Datagrams that a request may cause before its sender has answered once.
pub const SENDS_UNANSWERED_MAX: u32 = 3;
/// Datagrams of one phone that are remembered, to recognize a duplicate.
const DOUBLES_REMEMBERED: usize = 64;
/// Blocks of a conversation that are remembered.
const BLOCKS_REMEMBERED: usize = 256;
/// Violations that are kept.
const VIOLATIONS_MAX: usize = 20;

/// The counts of the world.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Datagrams that the server sent.
    pub sent: u64,
    /// DATA that it sent.
    pub data_sent: u64,
    /// DATA sent again.
    pub data_resent: u64,
    /// DATA sent again although nothing of the conversation was lost in between.
    pub data_resent_for_nothing: u64,
    /// Datagrams lost on the way, both directions.
    pub lost: u64,
    /// A digest that any difference between two runs changes.
    pub digest: u64,
}

/// Why the server was polled for sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// A datagram came.
    Datagram,
    /// An ACK came for the second time, too early for an answer to the server's last send (RFC
    /// 1123, 4.2.3.1).
    DoubledAck(SocketAddr),
    /// A deadline came.
    Timer,
}

#[derive(Debug, Default)]
struct Peer {
    has_asked: bool,
    requests: u32,
    has_answered: bool,
    sends_unanswered: u32,
    payload_bytes_max: usize,
    /// Whether it asked for windows: then a repeated ACK reports a gap (RFC 7440, section 4), and a
    /// duplicate that comes a round trip late looks the same.
    has_windows: bool,
    delivered: VecDeque<(u64, Instant)>,
}

#[derive(Debug, Default)]
struct Conversation {
    requests: u32,
    blocks: VecDeque<(u16, Instant)>,
    lost_at: Option<Instant>,
    sent_at: Option<Instant>,
}

/// The invariants of all that has passed.
#[derive(Debug, Default)]
pub struct Invariants {
    /// The counts.
    pub figures: Figures,
    peers: HashMap<SocketAddr, Peer>,
    conversations: HashMap<(SocketAddr, u16), Conversation>,
    violations: Vec<String>,
    round_trip_min: Duration,
}

impl Invariants {
    /// Nothing has passed yet, on a network on which no answer can come sooner than
    /// `round_trip_min`.
    #[must_use]
    pub fn new(round_trip_min: Duration) -> Invariants {
        Invariants { round_trip_min, ..Invariants::default() }
    }

    /// A phone sent something, whether it arrives or not.
    pub fn asked(&mut self, peer: SocketAddr) {
        self.peers.entry(peer).or_default().has_asked = true;
    }

    /// A datagram reached the server's `port`. Its duplicates share its `number`.
    pub fn delivered(
        &mut self,
        port: u16,
        from: SocketAddr,
        bytes: &[u8],
        number: u64,
        now: Instant,
    ) -> Cause {
        self.digest(&[now.as_micros(), u64::from(port), u64::from(from.port())]);
        let peer = self.peers.entry(from).or_default();
        peer.has_asked = true;
        let packet = tftp::parse(bytes);
        match packet {
            Ok(Packet::ReadRequest(request) | Packet::WriteRequest(request)) => {
                peer.requests += 1;
                let blksize = request.options.blksize.map_or(512, |value| value as usize);
                peer.payload_bytes_max = peer.payload_bytes_max.max(blksize);
                peer.has_windows |= request.options.windowsize.is_some_and(|blocks| blocks > 1);
            }
            Ok(Packet::Data { .. } | Packet::Ack(_) | Packet::Error { .. }) => {
                peer.has_answered = true;
            }
            Ok(Packet::OptionAck(_)) | Err(_) if port == SERVER.port() => peer.requests += 1,
            Ok(Packet::OptionAck(_)) | Err(_) => peer.has_answered = true,
        }
        let is_double = matches!(packet, Ok(Packet::Ack(_)))
            && peer
                .delivered
                .iter()
                .any(|(known, at)| *known == number && now - *at < self.round_trip_min)
            && self
                .conversations
                .get(&(from, port))
                .and_then(|conversation| conversation.sent_at)
                .is_some_and(|sent_at| now - sent_at < self.round_trip_min);
        if peer.delivered.len() == DOUBLES_REMEMBERED {
            peer.delivered.pop_front();
        }
        peer.delivered.push_back((number, now));
        if is_double { Cause::DoubledAck(from) } else { Cause::Datagram }
    }

    /// The server sent a datagram.
    pub fn sent(&mut self, datagram: &Datagram, cause: Cause, now: Instant) {
        let Datagram { port, peer: to, bytes } = datagram;
        self.figures.sent += 1;
        self.digest(&[now.as_micros(), u64::from(*port), bytes.len() as u64]);
        let Some(peer) = self.peers.get_mut(to).filter(|peer| peer.has_asked) else {
            return self.violate(format!("{to} never asked and was sent {} bytes", bytes.len()));
        };
        if !peer.has_answered {
            peer.sends_unanswered += 1;
            let (sends, requests) = (peer.sends_unanswered, peer.requests);
            if sends > requests * SENDS_UNANSWERED_MAX {
                self.violate(format!("{to}: {sends} sends for {requests} requests unanswered"));
            }
        }
        let Ok(Packet::Data { block, payload }) = tftp::parse(bytes) else { return };
        let Some(peer) = self.peers.get(to) else { return };
        let (most, has_windows) = (peer.payload_bytes_max, peer.has_windows);
        if payload.len() > most {
            let bytes = bytes.len() - DATA_HEADER_BYTES;
            self.violate(format!("{to}: a payload of {bytes} bytes where {most} was agreed"));
        }
        if cause == Cause::DoubledAck(*to) && !has_windows {
            self.violate(format!("{to}: {block:?} because of a doubled ACK, at {now:?}"));
        }
        self.count_block(*to, *port, block.0, now);
    }

    /// A datagram of the conversation was lost.
    pub fn dropped(&mut self, port: u16, peer: SocketAddr, now: Instant) {
        self.figures.lost += 1;
        self.conversations.entry((peer, port)).or_default().lost_at = Some(now);
    }

    /// Notes a violation.
    pub fn violate(&mut self, violation: String) {
        if self.violations.len() < VIOLATIONS_MAX {
            self.violations.push(violation);
        }
    }

    /// Returns the violations so far.
    #[must_use]
    pub fn violations(&self) -> Vec<String> {
        self.violations.clone()
    }

    /// Returns whether so much is wrong that the world need not go on.
    #[must_use]
    pub fn is_hopeless(&self) -> bool {
        self.violations.len() == VIOLATIONS_MAX
    }

    /// Returns the sends to an address that never sent anything but requests.
    #[must_use]
    pub fn sends_unanswered(&self, victim: SocketAddr) -> u32 {
        self.peers.get(&victim).map_or(0, |peer| peer.sends_unanswered)
    }

    fn count_block(&mut self, to: SocketAddr, port: u16, block: u16, now: Instant) {
        let requests = self.peers.get(&to).map_or(0, |peer| peer.requests);
        let conversation = self.conversations.entry((to, port)).or_default();
        if block == 1 && conversation.requests != requests {
            conversation.requests = requests;
            conversation.blocks.clear();
        }
        conversation.sent_at = Some(now);
        self.figures.data_sent += 1;
        let known = conversation.blocks.iter_mut().rev().find(|(number, _)| *number == block);
        let Some((_, sent_at)) = known else {
            if conversation.blocks.len() == BLOCKS_REMEMBERED {
                conversation.blocks.pop_front();
            }
            conversation.blocks.push_back((block, now));
            return;
        };
        self.figures.data_resent += 1;
        if conversation.lost_at.is_none_or(|lost_at| lost_at < *sent_at) {
            self.figures.data_resent_for_nothing += 1;
        }
        *sent_at = now;
    }

    fn digest(&mut self, words: &[u64]) {
        for word in words {
            self.figures.digest = (self.figures.digest ^ word).wrapping_mul(0x0100_0000_01B3);
            self.figures.digest = self.figures.digest.rotate_left(29);
        }
    }
}
