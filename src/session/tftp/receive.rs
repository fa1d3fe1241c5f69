//! A file on its way from a phone: which block is next, when to acknowledge, when it is whole.
//!
//! Collects the bytes within a bound; never writes them. The last block is acknowledged only once
//! the caller says that the upload is durable, and then again for as long as the phone repeats it.

use crate::session::tftp::limits::WrapTo;
use crate::session::tftp::options::Terms;
use crate::session::tftp::rto::Rto;
use crate::session::tftp::send::{
    BlockIndex, UNPROVEN_SENDS_MAX, UNPROVEN_WAIT, ahead_of, number_of,
};
use crate::time::{Duration, Instant};
use crate::wire::tftp::Block;

/// How long the last block is still acknowledged after the transfer is done (RFC 1350, section 6).
const DALLY: Duration = Duration::from_secs(3);

/// What a DATA packet meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// Taken, or known already; there may be an ACK to send.
    Taken,
    /// Neither the next block nor one of the past window.
    Stale,
    /// The last block: the bytes are whole and wait to be stored.
    Whole,
    /// More bytes than are allowed.
    TooLarge,
    /// Fewer or more bytes than the phone had announced.
    SizeDiffers,
}

/// What a deadline brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Late {
    /// There is an ACK to send again.
    Again,
    /// The phone is given up.
    Silent,
    /// The transfer was done, and the last ACK has been repeated long enough.
    Over,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Opening,
    Collecting,
    Storing,
    Dallying,
}

/// The machine of one write request.
#[derive(Debug)]
pub struct Receiving {
    terms: Terms,
    wrap: WrapTo,
    stage: Stage,
    has_options: bool,
    netascii: bool,
    /// The last byte was a CR whose partner comes with the next block.
    after_cr: bool,
    ack_due: bool,
    /// The hole that was last told to the phone.
    told_hole: bool,
    /// The next ACK says again what was said before, so its answer tells no round trip (Karn).
    repeats: bool,
    unproven_sends: u8,
    /// Blocks taken since the last ACK.
    since_ack: u16,
    received: BlockIndex,
    bytes: Vec<u8>,
    bytes_stored: u64,
    bytes_max: u64,
    announced: Option<u64>,
    heard_at: Instant,
    timed: Option<Instant>,
    silence_max: Duration,
    rto: Rto,
    deadline: Option<Instant>,
}

/// What an upload is started with, beside its terms.
#[derive(Clone, Copy, Debug)]
pub struct Start {
    /// Most bytes taken.
    pub bytes_max: u64,
    /// Size in bytes that the phone announced; 0 and none mean unknown.
    pub announced: Option<u64>,
    /// Turn NVT text back into LF lines.
    pub netascii: bool,
    /// What follows block 65,535.
    pub wrap: WrapTo,
    /// First retransmission timeout, where the client named none.
    pub first_timeout: Duration,
    /// Silence after which the phone is given up.
    pub silence_max: Duration,
}

impl Receiving {
    /// An upload whose OACK, or ACK 0, is to be sent at once.
    #[must_use]
    pub fn new(terms: Terms, has_options: bool, start: Start, now: Instant) -> Receiving {
        Receiving {
            terms,
            wrap: start.wrap,
            stage: Stage::Opening,
            has_options,
            netascii: start.netascii,
            after_cr: false,
            ack_due: true,
            told_hole: false,
            repeats: false,
            unproven_sends: 0,
            since_ack: 0,
            received: 0,
            bytes: Vec::new(),
            bytes_stored: 0,
            bytes_max: start.bytes_max,
            announced: start.announced.filter(|bytes| *bytes > 0 && !start.netascii),
            heard_at: now,
            timed: None,
            silence_max: terms.timeout.map_or(start.silence_max, |t| start.silence_max.max(t * 4)),
            rto: terms.timeout.map_or_else(|| Rto::new(start.first_timeout), Rto::fixed),
            deadline: None,
        }
    }

    /// The phone sent a block.
    pub fn handle_data(&mut self, number: Block, payload: &[u8], now: Instant) -> Received {
        if payload.len() > usize::from(self.terms.blksize) || self.unproven_sends == 0 {
            return Received::Stale;
        }
        let received = match ahead_of(self.received, number, self.wrap) {
            Some(1) if matches!(self.stage, Stage::Opening | Stage::Collecting) => {
                self.handle_next(payload, now)
            }
            Some(ahead) if (1..=u64::from(self.terms.window)).contains(&ahead) => {
                self.handle_hole(now)
            }
            ahead => self.handle_repeat(ahead, now),
        };
        self.check();
        received
    }

    fn handle_next(&mut self, payload: &[u8], now: Instant) -> Received {
        self.heard_at = now;
        self.stage = Stage::Collecting;
        self.received += 1;
        self.since_ack = self.since_ack.saturating_add(1);
        self.told_hole = false;
        self.repeats = false;
        if let Some(left) = self.timed.take() {
            self.rto.sample(now.since(left));
        }
        self.take(payload);
        let is_last = payload.len() < usize::from(self.terms.blksize);
        if is_last && std::mem::take(&mut self.after_cr) {
            self.bytes.push(b'\r');
        }
        let bytes = self.bytes.len() as u64;
        if bytes > self.bytes_max {
            return Received::TooLarge;
        }
        if is_last {
            if self.announced.is_some_and(|announced| announced != bytes) {
                return Received::SizeDiffers;
            }
            self.stage = Stage::Storing;
            self.deadline = None;
            // An ACK that was due for an earlier block would now be one for the whole.
            self.ack_due = false;
            self.since_ack = 0;
            return Received::Whole;
        }
        self.ack_due |= self.since_ack >= self.terms.window;
        if !self.ack_due {
            self.deadline = Some(now + self.rto.timeout());
        }
        Received::Taken
    }

    /// A block beyond the next one: the phone is told once where the hole is (RFC 7440, section 4).
    fn handle_hole(&mut self, now: Instant) -> Received {
        if self.stage != Stage::Collecting {
            return Received::Stale;
        }
        self.heard_at = now;
        self.ack_due |= !self.told_hole;
        self.told_hole = true;
        self.repeats = true;
        Received::Taken
    }

    /// A block of the past: the ACK for it may have been lost.
    fn handle_repeat(&mut self, ahead: Option<u64>, now: Instant) -> Received {
        let circle = match self.wrap {
            WrapTo::Zero => 0x1_0000,
            WrapTo::One => 0xffff,
        };
        let window = u64::from(self.terms.window).min(self.received);
        let behind = ahead.map(|ahead| (circle - ahead) % circle);
        let known = behind.is_some_and(|behind| behind < window && self.received > 0);
        match self.stage {
            Stage::Collecting | Stage::Dallying if known => {
                self.heard_at = now;
                // Only the newest block asks for its ACK. The older ones of a window come with it.
                self.ack_due |= behind == Some(0);
                self.repeats = true;
                Received::Taken
            }
            Stage::Opening | Stage::Collecting | Stage::Storing | Stage::Dallying => {
                Received::Stale
            }
        }
    }

    fn take(&mut self, payload: &[u8]) {
        if !self.netascii {
            self.bytes.extend_from_slice(payload);
            return;
        }
        for byte in payload {
            match (std::mem::take(&mut self.after_cr), *byte) {
                (true, b'\n') => self.bytes.push(b'\n'),
                (true, 0) => self.bytes.push(b'\r'),
                (true, other) => self.bytes.extend([b'\r', other]),
                (false, b'\r') => self.after_cr = true,
                (false, other) => self.bytes.push(other),
            }
        }
    }

    /// The upload is durable: the phone may be told.
    pub fn handle_stored(&mut self, now: Instant) {
        self.stage = Stage::Dallying;
        self.ack_due = true;
        self.heard_at = now;
        self.deadline = Some(now + DALLY);
        self.check();
    }

    /// The bytes, once [`Received::Whole`] was returned.
    #[must_use]
    pub fn take_bytes(&mut self) -> Vec<u8> {
        self.bytes_stored = self.bytes.len() as u64;
        std::mem::take(&mut self.bytes)
    }

    /// The moment that [`Receiving::poll_timeout`] named has come.
    pub fn handle_timeout(&mut self, now: Instant) -> Option<Late> {
        if self.deadline.is_none_or(|at| now < at) {
            return None;
        }
        self.deadline = None;
        if self.stage == Stage::Dallying {
            return Some(Late::Over);
        }
        let spent = self.stage == Stage::Opening && self.unproven_sends >= UNPROVEN_SENDS_MAX;
        let until = self.heard_at + UNPROVEN_WAIT.min(self.silence_max);
        if spent && now < until {
            self.deadline = Some(until);
            return None;
        }
        if spent || now.since(self.heard_at) >= self.silence_max {
            return Some(Late::Silent);
        }
        self.rto.back_off();
        self.repeats = true;
        self.ack_due = true;
        Some(Late::Again)
    }

    /// The number to acknowledge now, and whether by OACK.
    #[must_use]
    pub fn poll_transmit(&self) -> Option<(Block, bool)> {
        let by_option_ack = self.stage == Stage::Opening && self.has_options;
        self.ack_due.then(|| (number_of(self.received, self.wrap), by_option_ack))
    }

    /// What [`Receiving::poll_transmit`] gave has been handed to the kernel.
    pub fn handle_transmitted(&mut self, now: Instant) {
        self.ack_due = false;
        self.since_ack = 0;
        match self.stage {
            Stage::Opening | Stage::Collecting => {
                let first = self.stage == Stage::Opening;
                self.unproven_sends = self.unproven_sends.saturating_add(u8::from(first));
                self.timed = (!self.repeats).then_some(now);
                self.deadline = Some(now + self.rto.timeout());
            }
            Stage::Storing | Stage::Dallying => {}
        }
        self.check();
    }

    /// When to call [`Receiving::handle_timeout`].
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.deadline
    }

    /// Whether the phone has sent a block, and so is who it says it is.
    #[must_use]
    pub fn is_proven(&self) -> bool {
        self.stage != Stage::Opening
    }

    /// Sends so far to a phone that had not answered.
    #[must_use]
    pub fn unproven_sends(&self) -> u8 {
        self.unproven_sends
    }

    /// Whether the upload is stored and only its last ACK may still have to be repeated.
    #[must_use]
    pub fn is_dallying(&self) -> bool {
        self.stage == Stage::Dallying
    }

    /// Bytes held in memory.
    #[must_use]
    pub fn bytes_held(&self) -> u64 {
        self.bytes.capacity() as u64
    }

    /// Bytes taken so far.
    #[must_use]
    pub fn bytes_taken(&self) -> u64 {
        self.bytes_stored.max(self.bytes.len() as u64)
    }

    /// The timeout and round trip so far.
    #[must_use]
    pub fn rto(&self) -> &Rto {
        &self.rto
    }

    /// The terms.
    #[must_use]
    pub fn terms(&self) -> &Terms {
        &self.terms
    }

    fn check(&self) {
        debug_assert!(self.stage != Stage::Opening || self.received == 0);
        debug_assert!(self.unproven_sends <= UNPROVEN_SENDS_MAX);
        debug_assert!(self.since_ack <= self.terms.window || self.ack_due);
        debug_assert!(self.stage != Stage::Storing || !self.ack_due);
    }
}
