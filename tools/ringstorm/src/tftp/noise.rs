//! What an open network adds: datagrams of garbage, and requests in the name of others.
//!
//! Sends at a rate and counts what comes back; never answers.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use phones::random::Random;
use wire::tftp::{Mode, Options, Request};
use wire::time::Instant;

use crate::network::{Network, PhoneAddress};

/// Addresses that garbage comes from.
pub(crate) const JUNK_ADDRESSES: u32 = 256;
/// Datagrams of garbage in one turn.
const JUNK_PER_TURN: u64 = 1_024;
/// How often noise at a rate is sent: seldom enough that one call sends many.
const NOISE_EVERY: Duration = Duration::from_millis(1);
/// Forged requests in one turn.
const FORGED_PER_TURN: u32 = 128;

/// Garbage and forged requests.
pub(crate) struct Noise {
    first_address: u32,
    ports: u32,
    junk_pps: u64,
    junk_sent: u64,
    junk_at: Instant,
    junk_answers: u64,
    request: Vec<u8>,
    forge: u32,
    forge_pps: u64,
    to: Option<SocketAddr>,
    forged: Vec<u16>,
    forge_wait: Duration,
    forge_until: Option<Instant>,
    random: Random,
}

/// What the noise is to be.
pub(crate) struct Loudness {
    /// Number of the first address.
    pub(crate) first_address: u32,
    /// Ports at each.
    pub(crate) ports: u32,
    /// Datagrams of garbage a second.
    pub(crate) junk_pps: u64,
    /// Forged requests.
    pub(crate) forge: u32,
    /// Forged requests a second; 0 for all at once.
    pub(crate) forge_pps: u64,
    /// Where all of it goes instead of to the server.
    pub(crate) to: Option<SocketAddr>,
    /// The file that they ask for.
    pub(crate) name: String,
    /// How long to wait for what comes back.
    pub(crate) forge_wait: Duration,
}

impl Noise {
    /// Noise of this loudness.
    pub(crate) fn new(loudness: Loudness, seed: u64) -> Noise {
        let name = loudness.name.as_bytes();
        let options = Options { blksize: Some(1_428), windowsize: Some(64), ..Options::default() };
        Noise {
            first_address: loudness.first_address,
            ports: loudness.ports.max(1),
            junk_pps: loudness.junk_pps,
            junk_sent: 0,
            junk_at: Instant::START,
            junk_answers: 0,
            request: Request { name, mode: Mode::Octet, options }.encode_read(),
            forge: loudness.forge,
            forge_pps: loudness.forge_pps,
            to: loudness.to,
            forged: Vec::new(),
            forge_wait: loudness.forge_wait,
            forge_until: None,
            random: Random::new(seed ^ 0x6A09_E667),
        }
    }

    /// Sends what is due.
    pub(crate) fn send(
        &mut self,
        network: &mut Network,
        server: SocketAddr,
        now: Instant,
    ) -> io::Result<()> {
        let to = self.to.unwrap_or(server);
        let count = self.junk_due(now);
        let mut junk = [0; 600];
        // Behind the addresses of the forged requests, whose answers are counted apart.
        let first = self.first_address + self.forge.div_ceil(self.ports);
        for _ in 0..count {
            let address = first + self.random.below(u64::from(JUNK_ADDRESSES)) as u32;
            let port = self.random.below(u64::from(self.ports)) as u32;
            let bytes = self.fill(&mut junk);
            network.send(PhoneAddress { address, port }, to, &junk[..bytes])?;
            self.junk_sent += 1;
        }
        for _ in 0..FORGED_PER_TURN {
            let number = self.forged.len() as u32;
            if number >= self.forge_due(now) {
                break;
            }
            self.forged.push(0);
            network.send(self.forged_place(number), to, &self.request)?;
            self.forge_until = Some(now + self.forge_wait);
        }
        Ok(())
    }

    fn junk_due(&mut self, now: Instant) -> u64 {
        if self.junk_pps == 0 || now < self.junk_at {
            return 0;
        }
        self.junk_at = now + NOISE_EVERY;
        let due = u128::from(self.junk_pps) * u128::from(now.as_micros()) / 1_000_000;
        (due as u64).saturating_sub(self.junk_sent).min(JUNK_PER_TURN)
    }

    /// How many forged requests are to be sent by now.
    fn forge_due(&self, now: Instant) -> u32 {
        if self.forge_pps == 0 {
            return self.forge;
        }
        let due = u128::from(self.forge_pps) * u128::from(now.as_micros()) / 1_000_000;
        (due as u64).min(u64::from(self.forge)) as u32
    }

    /// A datagram came to a place that no phone has.
    pub(crate) fn heard(&mut self, place: PhoneAddress) {
        let number =
            (place.address - self.first_address.min(place.address)) * self.ports + place.port;
        match self.forged.get_mut(number as usize) {
            Some(count) => *count = count.saturating_add(1),
            None => self.junk_answers += 1,
        }
    }

    /// Whether nothing more is to be sent or waited for. Garbage never keeps a run alive.
    pub(crate) fn is_over(&self, now: Instant) -> bool {
        self.forged.len() as u32 == self.forge && self.forge_until.is_none_or(|at| at <= now)
    }

    /// When [`Noise::send`] wants to be called.
    pub(crate) fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        if (self.forged.len() as u32) < self.forge {
            return Some(if self.forge_pps > 0 { now + NOISE_EVERY } else { now });
        }
        if self.junk_pps > 0 { Some(self.junk_at) } else { self.forge_until }
    }

    /// What came back for each forged request.
    pub(crate) fn forged(&self) -> Vec<u16> {
        self.forged.clone()
    }

    /// Datagrams of garbage sent, and datagrams that came back.
    pub(crate) fn junk(&self) -> (u64, u64) {
        (self.junk_sent, self.junk_answers)
    }

    fn forged_place(&self, number: u32) -> PhoneAddress {
        PhoneAddress {
            address: self.first_address + number / self.ports,
            port: number % self.ports,
        }
    }

    /// Garbage that looks like something three times in four: a cut request, an ACK or DATA of no
    /// transfer, an unknown opcode.
    fn fill(&mut self, junk: &mut [u8; 600]) -> usize {
        for byte in junk.iter_mut().take(40) {
            *byte = self.random.next_u64() as u8;
        }
        let bytes = self.random.below(40) as usize;
        match self.random.below(4) {
            0 => bytes,
            1 => {
                let bytes = bytes.min(self.request.len());
                junk[..bytes].copy_from_slice(&self.request[..bytes]);
                bytes
            }
            2 => {
                junk[..2].copy_from_slice(&[0, 3 + self.random.below(4) as u8]);
                4 + bytes.min(30)
            }
            _ => {
                junk[0] = 0;
                2 + self.random.below(598) as usize
            }
        }
    }
}
