//! A file being received: the next block, when to acknowledge, and when it is whole.
//!
//! Collects the bytes and hands them over in parts, one at a time; never writes them. While a part
//! is under way and the next one is full, nothing is acknowledged, so that a phone is never faster
//! than the disk. The last block is acknowledged only once the caller reports the upload durable.

use std::hash::{DefaultHasher, Hasher};

use crate::session::tftp::numbers::{BlockIndex, ahead_of, number_of};
use crate::session::tftp::options::Terms;
use crate::session::tftp::rto::Rto;
use crate::session::tftp::send::UNPROVEN_SENDS_MAX;
use crate::settings::tftp::WrapTo;
use wire::tftp::Block;
use wire::time::{Duration, Instant};

/// Bytes of an upload that stay in memory; a larger one goes to a temporary file, in parts of this
/// size.
pub const PART_BYTES: usize = 256 << 10;
/// If memory is scarce, parts as small as this fraction go there, too.
const SCARCE_PARTS: usize = 16;
/// How long the pace of an upload is measured, at least.
const PACE_WATCH: Duration = Duration::from_secs(60);
/// Blocks that must come in that time: a client that waits 15 s after each is no phone.
const PACE_BLOCKS_MIN: u64 = 4;

/// The effect of a DATA packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// Taken, or known already; there may be an ACK to send.
    Taken,
    /// Neither the next block nor one of the last window.
    Stale,
    /// The last block: the bytes are whole and wait to be stored.
    Whole,
    /// More bytes than are allowed.
    TooLarge,
    /// Fewer or more bytes than the phone announced.
    SizeDiffers {
        /// The announced size.
        announced: u64,
    },
}

/// The effect of a deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Late {
    /// There is an ACK to send again.
    Again,
    /// The phone is silent for too long.
    Silent,
    /// It sends too few blocks.
    TooSlow,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Opening,
    Collecting,
    Storing,
    /// The last ACK is to leave.
    Stored,
}

/// The state machine of one write request.
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
    /// Whether the phone was told of the current hole.
    hole_reported: bool,
    /// Whether the next ACK repeats an earlier one, so that its answer gives no round trip (Karn).
    repeats: bool,
    unproven_sends: u8,
    /// Blocks taken since the last ACK.
    since_ack: u16,
    received: BlockIndex,
    bytes: Vec<u8>,
    /// Bytes handed over, and how many of them are still in memory for this upload.
    bytes_given: u64,
    bytes_under_way: u64,
    hash: DefaultHasher,
    bytes_max: u64,
    part_bytes: usize,
    announced: Option<u64>,
    heard_at: Instant,
    /// When the current measurement of the pace began, and how many blocks had come then.
    watched: (Instant, u64),
    /// How often the phone repeats what it sends, as far as its last block showed.
    interval: Duration,
    timed: Option<Instant>,
    silence_max: Duration,
    rto: Rto,
    deadline: Option<Instant>,
}

/// The parameters of an upload, beside its terms.
#[derive(Clone, Copy, Debug)]
pub struct Start {
    /// Most bytes taken.
    pub bytes_max: u64,
    /// Bytes that stay in memory: [`PART_BYTES`], or fewer if memory is scarce.
    pub part_bytes: usize,
    /// Size in bytes that the phone announced; 0 and `None` mean unknown.
    pub announced: Option<u64>,
    /// Whether to turn NVT text back into LF lines.
    pub netascii: bool,
    /// The number after block 65,535.
    pub wrap: WrapTo,
    /// First retransmission timeout, if the client named none.
    pub first_timeout: Duration,
    /// Silence after which the transfer ends.
    pub silence_max: Duration,
}

impl Receiving {
    /// Makes an upload whose OACK, or ACK 0, is to be sent at once.
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
            hole_reported: false,
            repeats: false,
            unproven_sends: 0,
            since_ack: 0,
            received: 0,
            bytes: Vec::new(),
            bytes_given: 0,
            bytes_under_way: 0,
            hash: DefaultHasher::new(),
            bytes_max: start.bytes_max,
            part_bytes: start.part_bytes,
            announced: start.announced.filter(|bytes| *bytes > 0 && !start.netascii),
            heard_at: now,
            watched: (now, 0),
            interval: terms.timeout.unwrap_or_default(),
            timed: None,
            silence_max: terms.silence_max(start.silence_max),
            rto: terms.first_rto(start.first_timeout),
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
        self.hole_reported = false;
        self.repeats = false;
        if let Some(left) = self.timed.take() {
            self.rto.sample(now.since(left));
        }
        self.take(payload);
        let is_last = payload.len() < usize::from(self.terms.blksize);
        if is_last && std::mem::take(&mut self.after_cr) {
            self.bytes.push(b'\r');
        }
        let bytes = self.bytes_taken();
        if bytes > self.bytes_max {
            return Received::TooLarge;
        }
        if is_last {
            if let Some(announced) = self.announced.filter(|announced| *announced != bytes) {
                return Received::SizeDiffers { announced };
            }
            self.stage = Stage::Storing;
            self.deadline = None;
            // An ACK due for an earlier block would now acknowledge the whole.
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
        self.ack_due |= !self.hole_reported;
        self.hole_reported = true;
        self.repeats = true;
        Received::Taken
    }

    /// An old block: the ACK for it may have been lost.
    fn handle_repeat(&mut self, ahead: Option<u64>, now: Instant) -> Received {
        let circle = match self.wrap {
            WrapTo::Zero => 0x1_0000,
            WrapTo::One => 0xffff,
        };
        let window = u64::from(self.terms.window).min(self.received);
        let behind = ahead.map(|ahead| (circle - ahead) % circle);
        let known = behind.is_some_and(|behind| behind < window && self.received > 0);
        match self.stage {
            Stage::Storing if behind == Some(0) => {
                self.interval = self.interval.max(now.since(self.heard_at));
                self.heard_at = now;
                Received::Stale
            }
            Stage::Collecting | Stage::Stored if known => {
                self.heard_at = now;
                // Only the newest block asks for its ACK. The older ones of a window come with it.
                self.ack_due |= behind == Some(0);
                self.repeats = true;
                Received::Taken
            }
            Stage::Opening | Stage::Collecting | Stage::Storing | Stage::Stored => Received::Stale,
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
                // A bare CR; this one may still begin a line's end.
                (true, b'\r') => {
                    self.bytes.push(b'\r');
                    self.after_cr = true;
                }
                (true, other) => self.bytes.extend([b'\r', other]),
                (false, b'\r') => self.after_cr = true,
                (false, other) => self.bytes.push(other),
            }
        }
    }

    /// The upload is durable: the last block may be acknowledged.
    pub fn handle_stored(&mut self) {
        self.stage = Stage::Stored;
        self.ack_due = true;
        self.bytes_under_way = 0;
        self.deadline = None;
        self.check();
    }

    /// Takes the bytes received since the last call: a part of the upload, or the rest of it after
    /// [`Received::Whole`].
    #[must_use]
    pub fn take_bytes(&mut self) -> Vec<u8> {
        self.hash.write(&self.bytes);
        self.bytes_given += self.bytes.len() as u64;
        self.bytes_under_way = self.bytes.len() as u64;
        std::mem::take(&mut self.bytes)
    }

    /// The taken part is in its file; its buffer can be used again. There may be a delayed ACK to
    /// send.
    pub fn handle_part_written(&mut self, room: Vec<u8>) {
        self.bytes_under_way = 0;
        if self.bytes.is_empty() {
            self.bytes = room;
        }
        self.check();
    }

    /// Returns whether a part of the upload was handed over and is not in its file yet.
    #[must_use]
    pub fn is_part_under_way(&self) -> bool {
        self.bytes_under_way > 0
    }

    /// Returns whether enough bytes have come to write them to a file: a full part, or a smaller
    /// one if memory is `scarce`.
    #[must_use]
    pub fn has_part(&self, scarce: bool) -> bool {
        let part_bytes = self.part_bytes / if scarce { SCARCE_PARTS } else { 1 };
        self.stage == Stage::Collecting && self.bytes.len() >= part_bytes.max(1)
    }

    /// Returns whether nothing more may come before the part under way is in its file.
    fn is_held(&self) -> bool {
        self.is_part_under_way() && self.bytes.len() >= self.part_bytes
    }

    /// The moment that [`Receiving::poll_timeout`] named has come.
    pub fn handle_timeout(&mut self, now: Instant) -> Option<Late> {
        if self.deadline.is_none_or(|at| now < at) {
            return None;
        }
        self.deadline = None;
        if self.is_held() {
            return None;
        }
        let spent = self.stage == Stage::Opening && self.unproven_sends >= UNPROVEN_SENDS_MAX;
        let until = self.heard_at + self.terms.unproven_wait().min(self.silence_max);
        if spent && now < until {
            self.deadline = Some(until);
            return None;
        }
        if spent || now.since(self.heard_at) >= self.silence_max {
            return Some(Late::Silent);
        }
        if self.is_too_slow(now) {
            return Some(Late::TooSlow);
        }
        self.rto.back_off();
        self.repeats = true;
        self.ack_due = true;
        Some(Late::Again)
    }

    /// Returns whether too little has come since the last check: a transfer takes up a place.
    fn is_too_slow(&mut self, now: Instant) -> bool {
        let (since, from) = self.watched;
        if now.since(since) < PACE_WATCH.max(self.silence_max * 2) {
            return false;
        }
        self.watched = (now, self.received);
        self.stage == Stage::Collecting && self.received - from < PACE_BLOCKS_MIN
    }

    /// Returns the number to acknowledge now, and whether by OACK.
    #[must_use]
    pub fn poll_transmit(&self) -> Option<(Block, bool)> {
        let by_option_ack = self.stage == Stage::Opening && self.has_options;
        let is_due = self.ack_due && !self.is_held();
        is_due.then(|| (number_of(self.received, self.wrap), by_option_ack))
    }

    /// What [`Receiving::poll_transmit`] returned has been handed to the kernel.
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
            Stage::Storing | Stage::Stored => {}
        }
        self.check();
    }

    /// Returns when to call [`Receiving::handle_timeout`].
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.deadline
    }

    /// Returns whether the phone has sent a block, which proves its address.
    #[must_use]
    pub fn is_proven(&self) -> bool {
        self.stage != Stage::Opening
    }

    /// Returns how often a phone that had not answered was sent something.
    #[must_use]
    pub fn unproven_sends(&self) -> u8 {
        self.unproven_sends
    }

    /// Returns whether the upload has come whole and is not stored yet.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.stage == Stage::Storing
    }

    /// Returns whether the upload is stored and only its last ACK is to leave.
    #[must_use]
    pub fn is_stored(&self) -> bool {
        self.stage == Stage::Stored
    }

    /// Returns the bytes held in memory for the upload, here or on their way to the disk.
    #[must_use]
    pub fn bytes_held(&self) -> u64 {
        self.bytes.len() as u64 + self.bytes_under_way
    }

    /// Returns the bytes taken so far, in the form in which they are stored.
    #[must_use]
    pub fn bytes_taken(&self) -> u64 {
        self.bytes_given + self.bytes.len() as u64
    }

    /// Returns the hash of all bytes handed over.
    #[must_use]
    pub fn hash(&self) -> u64 {
        self.hash.finish()
    }

    /// Returns the number of the last block in order.
    #[must_use]
    pub fn last(&self) -> Block {
        number_of(self.received, self.wrap)
    }

    /// Returns how often the phone repeats what it sends, as far as is known, and when it was last
    /// heard.
    #[must_use]
    pub fn pace(&self) -> (Duration, Instant) {
        (self.interval, self.heard_at)
    }

    /// Returns the timeout and round trip so far.
    #[must_use]
    pub fn rto(&self) -> &Rto {
        &self.rto
    }

    /// Returns the terms.
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
