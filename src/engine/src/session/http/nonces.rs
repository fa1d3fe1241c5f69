//! The nonces in Digest challenges (RFC 7616, 3.3 and 5.4). They are stateless until a client uses
//! one, and its uses are then counted.
//!
//! A nonce says when and for whom it was made, sealed with a key of this process. A bounded number
//! of used nonces is remembered. When one is forgotten, all older ones are refused as stale, so
//! that no credentials can be replayed.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;

use crate::metrics::Counters;
use crate::settings::http::ChallengeKey;
use wire::time::{Duration, Instant};

/// Nonces in use that one worker remembers.
pub(super) const NONCES_MAX: usize = 16_384;
/// How long a nonce may be used. A later one is refused as stale, and the phone asks its user
/// nothing.
pub(super) const NONCE_LIFE: Duration = Duration::from_secs(300);
/// Counts that may come late, as requests over several connections do.
const WINDOW: u32 = 64;
/// Bytes of a nonce: its time, its number within that time, and the seal.
const BYTES: usize = 8 + 4 + SEAL_BYTES;
const SEAL_BYTES: usize = 16;

/// A nonce as a challenge has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Nonce(pub(super) Box<str>);

/// Identifies a nonce: its time and its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct NonceId {
    made_at: Instant,
    serial: u32,
}

/// The counts of a nonce that were used.
#[derive(Clone, Copy, Debug)]
struct Counts {
    highest: u32,
    /// A bit for each of the last [`WINDOW`] counts, the lowest for `highest`.
    used: u64,
}

/// The nonces of one worker.
#[derive(Debug, Default)]
pub(super) struct Nonces {
    serial: u32,
    counts: HashMap<NonceId, Counts>,
    /// In the order of their first use.
    order: VecDeque<NonceId>,
    /// Nonces up to this age that are not remembered may have been forgotten.
    forgotten_until: Option<Instant>,
}

impl Nonces {
    /// Makes a new nonce for a client.
    pub(super) fn make(&mut self, key: &ChallengeKey, client: IpAddr, now: Instant) -> Nonce {
        self.serial = self.serial.wrapping_add(1);
        let id = NonceId { made_at: now, serial: self.serial };
        let bytes = id.to_bytes(key, client);
        let digit = |half: u8| char::from_digit(u32::from(half), 16).unwrap_or('0');
        let text: String =
            bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect();
        Nonce(text.into())
    }

    /// Identifies a client's nonce. Returns `None` if it was not made for the client by this
    /// process, or too long ago.
    pub(super) fn read(
        key: &ChallengeKey,
        client: IpAddr,
        shown: &[u8],
        now: Instant,
    ) -> Option<NonceId> {
        let mut bytes = [0; BYTES];
        if shown.len() != BYTES * 2 {
            return None;
        }
        for (byte, pair) in bytes.iter_mut().zip(shown.chunks_exact(2)) {
            let digit = |at: usize| char::from(*pair.get(at)?).to_digit(16);
            *byte = (digit(0)? << 4 | digit(1)?) as u8;
        }
        let (made_at, rest) = bytes.split_first_chunk::<8>()?;
        let (serial, _) = rest.split_first_chunk::<4>()?;
        let made_at = Instant::from_micros(u64::from_be_bytes(*made_at));
        let id = NonceId { made_at, serial: u32::from_be_bytes(*serial) };
        let is_whole = is_equal(&id.to_bytes(key, client), &bytes);
        (is_whole && made_at <= now && now - made_at < NONCE_LIFE).then_some(id)
    }

    /// Marks a count of a nonce as used. Returns whether it was unused.
    pub(super) fn take(
        &mut self,
        id: NonceId,
        count: u32,
        counters: &Counters,
        now: Instant,
    ) -> bool {
        while let Some(oldest) = self.order.front().copied()
            && now - oldest.made_at >= NONCE_LIFE
        {
            self.order.pop_front();
            self.counts.remove(&oldest);
        }
        if let Some(counts) = self.counts.get_mut(&id) {
            return counts.take(count);
        }
        if count == 0 || self.forgotten_until.is_some_and(|until| id.made_at <= until) {
            return false;
        }
        if self.order.len() >= NONCES_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.counts.remove(&oldest);
            counters.digest_nonces_forgotten.up();
            self.forgotten_until = self.forgotten_until.max(Some(oldest.made_at));
        }
        self.order.push_back(id);
        self.counts.insert(id, Counts { highest: count, used: 1 });
        true
    }
}

impl NonceId {
    fn to_bytes(self, key: &ChallengeKey, client: IpAddr) -> [u8; BYTES] {
        let mut bytes = [0; BYTES];
        let (head, seal) = bytes.split_at_mut(BYTES - SEAL_BYTES);
        head[..8].copy_from_slice(&self.made_at.as_micros().to_be_bytes());
        head[8..].copy_from_slice(&self.serial.to_be_bytes());
        let mut hasher = blake3::Hasher::new_keyed(key.bytes());
        hasher.update(head);
        match client.to_canonical() {
            IpAddr::V4(client) => hasher.update(&client.octets()),
            IpAddr::V6(client) => hasher.update(&client.octets()),
        };
        seal.copy_from_slice(&hasher.finalize().as_bytes()[..SEAL_BYTES]);
        bytes
    }
}

/// Compares in constant time.
fn is_equal(one: &[u8; BYTES], other: &[u8; BYTES]) -> bool {
    one.iter().zip(other).fold(0, |differs, (one, other)| differs | (one ^ other)) == 0
}

impl Counts {
    fn take(&mut self, count: u32) -> bool {
        if let Some(ahead) = count.checked_sub(self.highest).filter(|ahead| *ahead > 0) {
            self.used = if ahead < WINDOW { self.used << ahead } else { 0 } | 1;
            self.highest = count;
            return true;
        }
        let bit = 1_u64.checked_shl(self.highest - count).unwrap_or(0);
        let is_new = count > 0 && bit != 0 && self.used & bit == 0;
        self.used |= bit;
        is_new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLIENT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));

    fn at(seconds: u64) -> Instant {
        Instant::START + Duration::from_secs(seconds)
    }

    fn key() -> ChallengeKey {
        ChallengeKey::new([7; 32])
    }

    #[test]
    fn a_nonce_is_read_back_for_its_client_its_key_and_its_time() {
        let nonce = Nonces::default().make(&key(), CLIENT, at(10));
        let shown = nonce.0.as_bytes();
        let read = |key: &ChallengeKey, client: &str, shown: &[u8], now| {
            Nonces::read(key, client.parse().unwrap(), shown, now).is_some()
        };
        assert!(read(&key(), "10.0.0.1", shown, at(10)));
        assert!(read(&key(), "::ffff:10.0.0.1", &shown.to_ascii_uppercase(), at(309)));
        assert!(
            !read(&key(), "10.0.0.1", shown, at(310)) && !read(&key(), "10.0.0.1", shown, at(9))
        );
        assert!(!read(&key(), "10.0.0.2", shown, at(10)));
        assert!(!read(&ChallengeKey::new([8; 32]), "10.0.0.1", shown, at(10)));
        for at_byte in 0..shown.len() {
            let mut other = shown.to_vec();
            other[at_byte] = if other[at_byte] == b'0' { b'1' } else { b'0' };
            assert!(!read(&key(), "10.0.0.1", &other, at(10)), "{at_byte}");
        }
        for other in [b"".as_slice(), &shown[1..], b"zz", &[0xff; 56]] {
            assert!(!read(&key(), "10.0.0.1", other, at(10)));
        }
    }

    #[test]
    fn two_of_one_moment_differ() {
        let mut nonces = Nonces::default();
        assert_ne!(nonces.make(&key(), CLIENT, at(1)), nonces.make(&key(), CLIENT, at(1)));
    }

    fn id(seconds: u64, serial: u32) -> NonceId {
        NonceId { made_at: at(seconds), serial }
    }

    #[test]
    fn a_count_is_used_once_and_may_come_a_little_late() {
        let (mut nonces, counters) = (Nonces::default(), Counters::default());
        let mut take = |count| nonces.take(id(1, 1), count, &counters, at(2));
        assert!(take(2) && take(1) && take(5) && take(3) && take(4));
        assert!(!take(2) && !take(5) && !take(1) && !take(0));
        assert!(take(100) && !take(36) && take(37) && !take(37));
        assert!(take(u32::MAX) && !take(u32::MAX) && !take(100));
    }

    #[test]
    fn what_was_forgotten_cannot_be_used_again() {
        let (mut nonces, counters) = (Nonces::default(), Counters::default());
        for serial in 0..NONCES_MAX as u32 {
            assert!(nonces.take(id(u64::from(serial / 1_000), serial), 1, &counters, at(20)));
        }
        assert_eq!(counters.digest_nonces_forgotten.value(), 0);
        assert!(nonces.take(id(20, 99_999), 1, &counters, at(20)));
        assert_eq!(counters.digest_nonces_forgotten.value(), 1);
        assert!(!nonces.take(id(0, 0), 1, &counters, at(20)), "it was the one that is forgotten");
        assert!(!nonces.take(id(0, 1), 1, &counters, at(20)), "it was used");
        assert!(nonces.take(id(0, 1), 2, &counters, at(20)), "and is still known");
        assert!(nonces.counts.len() == NONCES_MAX && nonces.order.len() == NONCES_MAX);
        nonces.take(id(400, 1), 1, &counters, at(400));
        assert_eq!((nonces.counts.len(), nonces.order.len()), (1, 1), "the rest is too old");
    }
}
