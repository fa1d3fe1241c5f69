//! Peers whose transfer has ended: enough to distinguish their late packets from attacks.
//!
//! A fixed table; a newer peer may replace an older one, which is then unknown.

use std::hash::{BuildHasher, DefaultHasher, Hash, Hasher, RandomState};
use std::net::SocketAddr;
use std::sync::{Arc, Weak};

use crate::catalog::Entry;
use crate::session::tftp::transfer::PortId;
use wire::time::{Duration, Instant};

/// How long packets of a past transfer may still arrive.
const ECHO: Duration = Duration::from_secs(10);
/// Entries in the table.
const PEERS: usize = 4_096;

#[derive(Clone, Debug)]
struct RecentPeer {
    peer_hash: u32,
    turn: u16,
    port: Option<PortId>,
    ended: Instant,
    /// The file that it has read to the end; this reference does not keep it.
    read: Weak<Entry>,
}

/// The ports and ends of recent transfers, by peer.
#[derive(Debug)]
pub struct RecentPeers {
    rows: Box<[RecentPeer]>,
    seed: u64,
}

impl Default for RecentPeers {
    /// A seed that differs in every process.
    fn default() -> Self {
        RecentPeers::new(RandomState::new().build_hasher().finish())
    }
}

impl RecentPeers {
    /// Makes an empty table. Peers must not know `seed`.
    #[must_use]
    pub fn new(seed: u64) -> RecentPeers {
        let (ended, read) = (Instant::START, Weak::new());
        let row = RecentPeer { peer_hash: 0, turn: 0, port: None, ended, read };
        RecentPeers { rows: vec![row; PEERS].into_boxed_slice(), seed }
    }

    /// Chooses among `ports` for a peer's next transfer, so that two in a row never share one if
    /// there are several.
    pub fn next_port(&mut self, peer: SocketAddr, ports: &[PortId]) -> Option<PortId> {
        let (row, _) = self.row(peer);
        row.turn = row.turn.wrapping_add(1);
        ports.get(usize::from(row.turn).checked_rem(ports.len())?).copied()
    }

    /// Notes that a peer's transfer on this port has ended.
    pub fn note(&mut self, peer: SocketAddr, port: PortId, now: Instant) {
        let (row, peer_hash) = self.row(peer);
        row.peer_hash = peer_hash;
        row.port = Some(port);
        row.ended = now;
        row.read = Weak::new();
    }

    /// Notes that a peer's last transfer was that of a whole file.
    pub fn note_read(&mut self, peer: SocketAddr, entry: &Arc<Entry>) {
        let (row, peer_hash) = self.row(peer);
        if row.peer_hash == peer_hash {
            row.read = Arc::downgrade(entry);
        }
    }

    /// Returns the file that a peer has just read to the end, once.
    pub fn take_read(
        &mut self,
        peer: SocketAddr,
        port: PortId,
        now: Instant,
    ) -> Option<Arc<Entry>> {
        let is_echo = self.is_echo(peer, port, now);
        let (row, _) = self.row(peer);
        std::mem::take(&mut row.read).upgrade().filter(|_| is_echo)
    }

    /// Returns whether a packet that belongs to no transfer is a late one of the peer's last
    /// transfer.
    pub fn is_echo(&mut self, peer: SocketAddr, port: PortId, now: Instant) -> bool {
        let (row, peer_hash) = self.row(peer);
        row.peer_hash == peer_hash && row.port == Some(port) && now.since(row.ended) < ECHO
    }

    fn row(&mut self, peer: SocketAddr) -> (&mut RecentPeer, u32) {
        let mut hasher = DefaultHasher::new();
        (self.seed, peer).hash(&mut hasher);
        let hash = hasher.finish();
        (&mut self.rows[hash as usize % PEERS], (hash >> 32) as u32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_transfers_in_a_row_never_share_a_port() {
        let mut past = RecentPeers::default();
        let ports: Vec<PortId> = (3..7).map(PortId).collect();
        let peer = "10.0.0.1:2000".parse().unwrap();
        let mut last = None;
        for _ in 0..100_000 {
            let next = past.next_port(peer, &ports);
            assert_ne!(next, last);
            last = next;
        }
        assert_eq!(past.next_port(peer, &[]), None);
    }

    #[test]
    fn only_the_port_and_the_seconds_after_a_transfer_echo() {
        let mut past = RecentPeers::default();
        let peer = "10.0.0.1:2000".parse().unwrap();
        past.note(peer, PortId(4), Instant::from_millis(1_000));
        assert!(past.is_echo(peer, PortId(4), Instant::from_millis(2_000)));
        assert!(!past.is_echo(peer, PortId(5), Instant::from_millis(2_000)));
        assert!(!past.is_echo(peer, PortId(4), Instant::from_millis(12_000)));
        assert!(!past.is_echo(
            "10.0.0.2:1".parse().unwrap(),
            PortId(4),
            Instant::from_millis(1_500)
        ));
    }
}
