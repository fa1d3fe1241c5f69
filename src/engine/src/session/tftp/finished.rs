//! Stored uploads whose client may still ask for the last ACK again.
//!
//! A row is small: the rest of the transfer is freed. Also remembers which clients do not know that
//! their upload is stored, so that a repeated upload is not stored twice. Never sends.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};

use crate::session::tftp::transfer::PortId;
use wire::tftp::Block;
use wire::time::{Duration, Instant};

/// How long the last block is acknowledged again, at least: as long as clients wait in all before
/// they give up (RFC 1350, section 6; RFC 1123, 4.2.3.2).
const DALLY_MIN: Duration = Duration::from_secs(25);
/// The same, in multiples of the interval at which the client repeats what it sends.
const DALLY_INTERVALS: u32 = 3;
/// Uploads that are remembered; the oldest makes room for one more.
const ROWS_MAX: usize = 4_096;
/// How long a client that does not know the end of its upload may take to try again.
const UNHEARD: Duration = Duration::from_secs(600);
/// Most uploads whose clients do not know their end; the oldest makes room for one more.
const UNHEARD_MAX: usize = 1_024;

/// An upload by name and content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Content {
    /// Hash of the name.
    pub(super) name: u64,
    /// Size in bytes as it is stored.
    pub(super) bytes: u64,
    /// Hash of the bytes.
    pub(super) hash: u64,
}

/// An upload whose last ACK has left.
#[derive(Clone, Copy, Debug)]
pub(super) struct Finished {
    /// The socket that acknowledged it.
    pub(super) port: PortId,
    /// The address that acknowledged it.
    pub(super) from: Option<IpAddr>,
    /// The last block.
    pub(super) last: Block,
    /// How often the client repeats what it sends, as far as is known.
    pub(super) interval: Duration,
    /// When the last block last came.
    pub(super) heard_at: Instant,
    /// How soon the client can have received an ACK.
    pub(super) round_trip: Duration,
    /// The stored upload.
    pub(super) content: Content,
}

#[derive(Debug)]
struct FinishedEntry {
    upload: Finished,
    acked_at: Instant,
    until: Instant,
}

/// The finished uploads of one worker.
#[derive(Debug, Default)]
pub(super) struct FinishedUploads {
    rows: HashMap<SocketAddr, FinishedEntry>,
    /// In the order of their ends. One that was replaced by a newer one appears twice.
    order: VecDeque<(SocketAddr, Instant)>,
    unheard: HashMap<(IpAddr, u64), (Content, Instant)>,
    unheard_order: VecDeque<((IpAddr, u64), Instant)>,
}

impl FinishedUploads {
    /// The last ACK of an upload has left. Returns whether an older upload had to make room early.
    pub(super) fn insert(&mut self, peer: SocketAddr, upload: Finished, now: Instant) -> bool {
        let mut was_full = false;
        while let Some((oldest, ended)) = self.order.front().copied() {
            let row = self.rows.get(&oldest).filter(|row| row.acked_at == ended);
            let is_over = row.is_none_or(|row| row.until <= now);
            let is_full = self.rows.len() >= ROWS_MAX;
            if !is_over && !is_full {
                break;
            }
            was_full |= !is_over;
            self.order.pop_front();
            if row.is_some() {
                self.rows.remove(&oldest);
            }
        }
        let until = upload.heard_at.max(now) + dally(upload.interval);
        self.rows.insert(peer, FinishedEntry { upload, acked_at: now, until });
        self.order.push_back((peer, now));
        was_full
    }

    /// A block came that belongs to no transfer. Returns whether it is the last one of a stored
    /// upload, which must be acknowledged again.
    pub(super) fn handle_data(
        &mut self,
        peer: SocketAddr,
        (port, from): (PortId, Option<IpAddr>),
        block: Block,
        now: Instant,
    ) -> bool {
        let Some(row) = self.rows.get_mut(&peer) else { return false };
        let Finished { last, port: at, from: by, .. } = row.upload;
        if now >= row.until || (last, at, by) != (block, port, from) {
            return false;
        }
        row.upload.interval = row.upload.interval.max(now.since(row.upload.heard_at));
        row.upload.heard_at = now;
        row.until = now + dally(row.upload.interval);
        // A block that was sent before the ACK arrived does not show that the ACK was lost.
        if now.since(row.acked_at) > row.upload.round_trip {
            let content = row.upload.content;
            self.note_unheard(peer.ip(), content, now);
        }
        true
    }

    /// The network reports that the port is closed: the client had gone before its last ACK came.
    pub(super) fn handle_unreachable(&mut self, peer: SocketAddr, port: PortId, now: Instant) {
        let Some(row) = self.rows.get(&peer).filter(|row| row.upload.port == port) else { return };
        let content = row.upload.content;
        self.rows.remove(&peer);
        self.note_unheard(peer.ip(), content, now);
    }

    /// Returns whether a client may not know that its upload of this name is stored.
    pub(super) fn has_unheard(&self, client: IpAddr, name: u64, now: Instant) -> bool {
        self.unheard.get(&(client, name)).is_some_and(|(_, until)| now < *until)
    }

    /// Returns whether this upload is stored already and its client does not know. Counts once: a
    /// later upload is new.
    pub(super) fn take_repeat(&mut self, client: IpAddr, content: Content, now: Instant) -> bool {
        let key = (client, content.name);
        let known = self.unheard.get(&key);
        let is_repeat = known.is_some_and(|(known, until)| *known == content && now < *until);
        if is_repeat {
            self.unheard.remove(&key);
        }
        is_repeat
    }

    fn note_unheard(&mut self, client: IpAddr, content: Content, now: Instant) {
        let (key, until) = ((client, content.name), now + UNHEARD);
        while let Some((oldest, ends)) = self.unheard_order.front().copied() {
            let is_over = ends <= now || self.unheard.get(&oldest).is_none_or(|row| row.1 != ends);
            if !is_over && self.unheard_order.len() < UNHEARD_MAX {
                break;
            }
            self.unheard_order.pop_front();
            if self.unheard.get(&oldest).is_some_and(|row| row.1 == ends) {
                self.unheard.remove(&oldest);
            }
        }
        self.unheard.insert(key, (content, until));
        self.unheard_order.push_back((key, until));
    }

    /// Returns how many uploads are remembered, expired ones included.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }
}

fn dally(interval: Duration) -> Duration {
    DALLY_MIN.max(interval * DALLY_INTERVALS)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PORT: PortId = PortId(1);

    fn peer(number: u32) -> SocketAddr {
        let [_, a, b, c] = number.to_be_bytes();
        SocketAddr::from(([10, a, b, c], 1_000))
    }

    fn upload(now: Instant, interval: Duration) -> Finished {
        Finished {
            port: PORT,
            from: None,
            last: Block(7),
            interval,
            heard_at: now,
            round_trip: Duration::from_millis(1),
            content: Content { name: 1, bytes: 2, hash: 3 },
        }
    }

    fn at(s: u64) -> Instant {
        Instant::from_millis(s * 1_000)
    }

    fn again(pool: &mut FinishedUploads, s: u64) -> bool {
        pool.handle_data(peer(1), (PORT, None), Block(7), at(s))
    }

    #[test]
    fn the_last_ack_is_repeated_for_three_intervals_and_for_25_seconds_at_least() {
        for (interval, requested, expected) in [(1, 24, true), (1, 26, false), (60, 179, true)] {
            let mut pool = FinishedUploads::default();
            pool.insert(peer(1), upload(at(0), Duration::from_secs(interval)), at(0));
            assert_eq!(again(&mut pool, requested), expected, "{interval} {requested}");
        }
        // A client that repeats itself every 20 s is waited for at that pace.
        let mut pool = FinishedUploads::default();
        pool.insert(peer(1), upload(at(0), Duration::ZERO), at(0));
        for round in 1..20 {
            assert!(again(&mut pool, round * 20));
        }
        assert!(again(&mut pool, 19 * 20 + 59));
    }

    #[test]
    fn only_the_last_block_from_the_same_client_is_acknowledged_again() {
        let mut pool = FinishedUploads::default();
        pool.insert(peer(1), upload(at(0), Duration::ZERO), at(0));
        assert!(!pool.handle_data(peer(2), (PORT, None), Block(7), at(1)));
        assert!(!pool.handle_data(peer(1), (PortId(2), None), Block(7), at(1)));
        assert!(!pool.handle_data(peer(1), (PORT, Some(peer(1).ip())), Block(7), at(1)));
        assert!(!pool.handle_data(peer(1), (PORT, None), Block(6), at(1)));
        assert!(again(&mut pool, 1));
    }

    #[test]
    fn the_pool_is_bounded_and_says_when_it_is_full() {
        let mut pool = FinishedUploads::default();
        let mut full = 0;
        for number in 0..10_000 {
            full += u32::from(pool.insert(peer(number), upload(at(0), Duration::ZERO), at(0)));
        }
        assert_eq!(pool.len(), ROWS_MAX);
        assert_eq!(full as usize, 10_000 - ROWS_MAX);
        // Expired uploads go without a report.
        assert!(!pool.insert(peer(1), upload(at(100), Duration::ZERO), at(100)));
        assert_eq!(pool.len(), 1);
    }

    #[test]
    fn an_upload_is_a_repeat_only_where_its_client_has_shown_that_it_heard_nothing() {
        let content = upload(at(0), Duration::ZERO).content;
        let mut pool = FinishedUploads::default();
        pool.insert(peer(1), upload(at(0), Duration::ZERO), at(0));
        assert!(!pool.take_repeat(peer(1).ip(), content, at(1)));
        assert!(again(&mut pool, 2));
        assert!(!pool.take_repeat(peer(1).ip(), Content { hash: 4, ..content }, at(3)));
        assert!(!pool.take_repeat(peer(2).ip(), content, at(3)));
        assert!(pool.take_repeat(peer(1).ip(), content, at(3)));
        assert!(!pool.take_repeat(peer(1).ip(), content, at(4)));

        let mut pool = FinishedUploads::default();
        pool.insert(peer(1), upload(at(0), Duration::ZERO), at(0));
        pool.handle_unreachable(peer(1), PORT, at(0));
        assert!(pool.has_unheard(peer(1).ip(), content.name, at(60)));
        assert!(pool.take_repeat(peer(1).ip(), content, at(60)));
    }

    #[test]
    fn what_clients_have_not_heard_is_bounded_too() {
        let mut pool = FinishedUploads::default();
        for number in 0..5_000 {
            pool.insert(peer(number), upload(at(0), Duration::ZERO), at(0));
            pool.handle_unreachable(peer(number), PORT, at(1));
        }
        assert!(pool.unheard.len() <= UNHEARD_MAX);
        assert!(!pool.has_unheard(peer(0).ip(), 1, at(1)));
        assert!(pool.has_unheard(peer(4_999).ip(), 1, at(1)));
    }
}
