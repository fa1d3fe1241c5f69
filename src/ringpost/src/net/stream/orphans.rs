//! Sockets of finished connections whose clients have not acknowledged all data yet.
//!
//! The kernel would close them by `TCP_USER_TIMEOUT`, whose clock runs on while a client reads in
//! smaller steps than the system sends. Here only silence, or extreme slowness, ends a connection.
//! Never reads, and sends nothing.

use std::collections::VecDeque;
use std::net::Shutdown;

use mio::Registry;
use mio::net::TcpStream;
use socket2::SockRef;

use crate::sys::sockets::{give_up_after, unacknowledged};
use wire::time::{Duration, Instant};

/// Most of them in a worker, for each protocol; further ones are left to the kernel.
const ORPHANS_MAX: usize = 1_024;
/// What a socket may leave to the kernel, in bytes: that much is soon sent or soon dropped.
const REST_BYTES_MAX: u64 = 16 << 10;
/// Interval between two checks of a client.
const CHECK_EVERY: Duration = Duration::from_secs(1);

/// How a protocol's sockets treat clients that read slowly, or not at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SocketTerms {
    /// How long a finished connection is kept for a client that acknowledges nothing.
    pub(crate) silence_max: Duration,
    /// Beyond that, the rate in bytes per second at which a client must acknowledge.
    pub(crate) rate_min: u64,
    /// About so many bytes of one connection are kept in the kernel for a phone that does not read;
    /// 0 leaves it to the kernel.
    pub(crate) send_buffer_bytes: usize,
}

impl Default for SocketTerms {
    fn default() -> Self {
        let silence_max = Duration::from_secs(60);
        SocketTerms { silence_max, rate_min: 256, send_buffer_bytes: 0 }
    }
}

/// The data of a finished connection that its client has not acknowledged yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct UnackedData {
    began: Instant,
    bytes: u64,
    left: u64,
    moved_at: Instant,
}

impl UnackedData {
    pub(super) fn new(bytes: u64, now: Instant) -> Self {
        UnackedData { began: now, bytes, left: bytes, moved_at: now }
    }

    /// Notes how many bytes are left.
    pub(super) fn note(&mut self, left: u64, now: Instant) {
        if left < self.left {
            (self.left, self.moved_at) = (left, now);
        }
    }

    /// Returns whether the client's time is over.
    pub(super) fn is_given_up(&self, terms: &SocketTerms, now: Instant) -> bool {
        let arrived = Duration::from_secs((self.bytes - self.left) / terms.rate_min.max(1));
        let slow = self.began + terms.silence_max + arrived;
        now >= slow.min(self.moved_at + terms.silence_max)
    }
}

#[derive(Debug)]
struct Orphan {
    stream: TcpStream,
    rest: UnackedData,
    check_at: Instant,
}

/// The orphans of one protocol in a worker.
#[derive(Debug, Default)]
pub(super) struct Orphans {
    /// In the order of their checks, all at the same interval.
    rows: VecDeque<Orphan>,
}

impl Orphans {
    /// Takes the socket of a finished connection, or leaves it to the kernel. `registry` has
    /// reported its events until now.
    pub(super) fn take(
        &mut self,
        mut stream: TcpStream,
        registry: Option<&Registry>,
        terms: &SocketTerms,
        now: Instant,
    ) {
        let bytes = unacknowledged(&stream);
        let is_kept = bytes > REST_BYTES_MAX
            && self.rows.len() < ORPHANS_MAX
            && registry.is_none_or(|registry| registry.deregister(&mut stream).is_ok());
        if is_kept {
            // For the client this looks like a close.
            let _ = stream.shutdown(Shutdown::Write);
            let rest = UnackedData::new(bytes, now);
            self.rows.push_back(Orphan { stream, rest, check_at: now + CHECK_EVERY });
        } else {
            leave(&stream, bytes, terms);
        }
    }

    /// Checks those that are due; returns how many were dropped.
    pub(super) fn check(&mut self, terms: &SocketTerms, now: Instant) -> u64 {
        let mut given_up = 0;
        while self.rows.front().is_some_and(|row| row.check_at <= now) {
            let Some(mut row) = self.rows.pop_front() else { break };
            let left = unacknowledged(&row.stream);
            row.rest.note(left, now);
            let is_broken = !matches!(row.stream.take_error(), Ok(None));
            if is_broken || left <= REST_BYTES_MAX {
                leave(&row.stream, left, terms);
            } else if row.rest.is_given_up(terms, now) {
                given_up += 1;
                // Otherwise the kernel would keep offering it to the phone for minutes.
                let _ = SockRef::from(&row.stream).set_linger(Some(Duration::ZERO));
            } else {
                row.check_at = now + CHECK_EVERY;
                self.rows.push_back(row);
            }
        }
        given_up
    }

    /// Returns the time of the next check.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.rows.front().map(|row| row.check_at)
    }
}

/// Leaves the rest of a closed socket to the kernel, within limits.
fn leave(stream: &TcpStream, left: u64, terms: &SocketTerms) {
    if left > 0 {
        let slow = Duration::from_secs(left / terms.rate_min.max(1));
        give_up_after(stream, terms.silence_max + slow);
    }
}
