//! A file on its way to a phone: which blocks are acknowledged, in flight, due again.
//!
//! Knows numbers, not bytes: the caller turns a [`Burst`] into datagrams straight from the blob.
//! One loss costs one resend. Never answers a mere duplicate (RFC 1123, 4.2.3.1).

use crate::session::tftp::limits::WrapTo;
use crate::session::tftp::options::Terms;
use crate::session::tftp::rto::Rto;
use crate::time::{Duration, Instant};
use crate::wire::tftp::Block;

/// Sends to a phone that has never answered; then it is forgotten. This bounds what a forged
/// request can make this server send to its victim.
pub const UNPROVEN_SENDS_MAX: u8 = 3;
/// How long a phone that has never answered is waited for, at least, after all those sends. Where
/// its neighbours answer in a millisecond they follow each other fast, but it may still be busy.
pub const UNPROVEN_WAIT: Duration = Duration::from_secs(7);

/// Blocks counted from 1 as they lie in the file; 0 is the OACK's place.
pub type BlockIndex = u64;

/// The number that a block has on the wire.
#[must_use]
pub fn number_of(block: BlockIndex, wrap: WrapTo) -> Block {
    match wrap {
        WrapTo::Zero => Block((block & 0xffff) as u16),
        WrapTo::One if block == 0 => Block(0),
        WrapTo::One => Block(((block - 1) % 0xffff) as u16 + 1),
    }
}

/// How far `number` lies ahead of `block` on the circle of block numbers; `None` for the number 0
/// where the circle has none.
#[must_use]
pub fn ahead_of(block: BlockIndex, number: Block, wrap: WrapTo) -> Option<u64> {
    let base = number_of(block, wrap).0;
    match wrap {
        WrapTo::Zero => Some(u64::from(number.0.wrapping_sub(base))),
        WrapTo::One if number.0 == 0 => (block == 0).then_some(0),
        WrapTo::One => Some((u64::from(number.0) + 0xffff - u64::from(base)) % 0xffff),
    }
}

/// What an acknowledgement meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acked {
    /// New blocks were acknowledged; there may be more to send.
    Progress,
    /// The last block was: the transfer is done.
    Done,
    /// The phone asks for what it already should have: there is something to send again.
    Again,
    /// Nothing new.
    Stale,
}

/// What a deadline brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Late {
    /// There is something to send again.
    Again,
    /// The phone is given up; every block had been sent, and only the last ACK is missing.
    AllSent,
    /// The phone is given up.
    Silent,
}

/// What to send next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Burst {
    /// The OACK.
    OptionAck,
    /// Blocks `first` to `first + count - 1`.
    Blocks {
        /// The first one.
        first: BlockIndex,
        /// How many.
        count: u16,
    },
}

/// The machine of one read request.
#[derive(Clone, Debug)]
pub struct Sending {
    terms: Terms,
    wrap: WrapTo,
    /// The OACK is not acknowledged yet.
    opening: bool,
    opening_sent: bool,
    /// The phone has answered validly at least once.
    proven: bool,
    last_block: LastBlock,
    copy_due: bool,
    unproven_sends: u8,
    resent: u32,
    last: BlockIndex,
    acked: BlockIndex,
    sent: BlockIndex,
    /// Highest block ever sent; an ACK beyond it is forged.
    top: BlockIndex,
    /// The block whose round trip is being measured, and when it left.
    timed: Option<(BlockIndex, Instant)>,
    heard_at: Instant,
    sent_at: Instant,
    /// When a hole in the phone's window last sent us back.
    rewound_at: Instant,
    second_copy_after: Duration,
    silence_max: Duration,
    rto: Rto,
    deadline: Option<Instant>,
}

/// Whether the last block may leave. A mapped file is asked for its version once all else has left,
/// so that no phone ever completes a mixture of two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LastBlock {
    /// It leaves when its turn comes: the bytes cannot change.
    Free,
    /// It is kept back until the file was looked at.
    Kept,
    /// The file is being looked at.
    Asked,
    /// The file is being looked at, but blocks were sent again meanwhile: the answer comes too
    /// early to speak for them.
    AskedTooEarly,
    /// The file was looked at after all else had left. A resend takes this back.
    Released,
}

/// What a transfer is started with, beside its terms.
#[derive(Clone, Copy, Debug)]
pub struct Start {
    /// Size of the file in bytes, in the form in which it is sent.
    pub bytes: u64,
    /// What follows block 65,535.
    pub wrap: WrapTo,
    /// First retransmission timeout, where the client named none.
    pub first_timeout: Duration,
    /// Silence after which the phone is given up.
    pub silence_max: Duration,
    /// Send each burst twice, the second time after this long; zero for once.
    pub second_copy_after: Duration,
    /// Keep the last block back until the file was looked at.
    pub verify: bool,
}

impl Sending {
    /// A transfer that has something to send at once.
    #[must_use]
    pub fn new(terms: Terms, has_options: bool, start: Start, now: Instant) -> Sending {
        let silence = terms.timeout.map_or(start.silence_max, |t| start.silence_max.max(t * 4));
        let sending = Sending {
            terms,
            wrap: start.wrap,
            opening: has_options,
            opening_sent: false,
            proven: false,
            last_block: if start.verify { LastBlock::Kept } else { LastBlock::Free },
            copy_due: false,
            unproven_sends: 0,
            resent: 0,
            last: start.bytes / u64::from(terms.blksize) + 1,
            acked: 0,
            sent: 0,
            top: 0,
            timed: None,
            heard_at: now,
            sent_at: now,
            rewound_at: now,
            second_copy_after: start.second_copy_after,
            silence_max: silence,
            rto: terms.timeout.map_or_else(|| Rto::new(start.first_timeout), Rto::fixed),
            deadline: None,
        };
        sending.check();
        sending
    }

    /// The phone acknowledged `number`.
    pub fn handle_ack(&mut self, number: Block, now: Instant) -> Acked {
        let ahead = ahead_of(self.acked, number, self.wrap);
        let Some(ahead) = ahead.filter(|ahead| *ahead <= self.top - self.acked) else {
            return Acked::Stale;
        };
        if self.opening && self.unproven_sends == 0 {
            return Acked::Stale;
        }
        let outcome = if self.opening {
            self.handle_opening_ack(now)
        } else if ahead == 0 {
            self.handle_repeated_ack(now)
        } else {
            self.handle_progress(self.acked + ahead, now)
        };
        if self.proven {
            self.heard_at = now;
        }
        self.check();
        outcome
    }

    /// ACK 0 for the OACK: now the data may flow.
    fn handle_opening_ack(&mut self, now: Instant) -> Acked {
        self.opening = false;
        self.proven = true;
        if let Some((0, left)) = self.timed.take() {
            self.rto.sample(now.since(left));
        }
        self.deadline = None;
        Acked::Progress
    }

    /// The phone says again what it said before. If its answer to what was sent last is overdue, it
    /// asks for a resend; if not, the ACK was merely doubled on its way.
    fn handle_repeated_ack(&mut self, now: Instant) -> Acked {
        let overdue = now.since(self.sent_at) >= self.rto.unhurried();
        if self.sent == self.acked || !self.proven || !overdue {
            return Acked::Stale;
        }
        self.rewind();
        Acked::Again
    }

    fn handle_progress(&mut self, acked: BlockIndex, now: Instant) -> Acked {
        self.proven = true;
        self.acked = acked;
        // The ACK may be for what was about to be sent again.
        let is_ahead = self.sent > acked;
        self.sent = self.sent.max(acked);
        if let Some((block, left)) = self.timed.filter(|(block, _)| *block <= acked) {
            debug_assert!(block <= self.top);
            self.rto.sample(now.since(left));
            self.timed = None;
        }
        self.copy_due = false;
        if self.acked == self.last {
            self.deadline = None;
            return Acked::Done;
        }
        if !is_ahead {
            self.deadline = None;
            return Acked::Progress;
        }
        // A phone acknowledges the last block it has in order, so all beyond it was lost (RFC 7440,
        // section 4). Whatever it says within a round trip of our going back is about the past.
        let trip = self.rto.round_trip().smoothed().unwrap_or(self.rto.unhurried());
        if self.resent > 0 && now.since(self.rewound_at) < trip * 3 / 4 {
            return Acked::Progress;
        }
        self.rewound_at = now;
        self.rewind();
        Acked::Again
    }

    /// The moment that [`Sending::poll_timeout`] named has come.
    pub fn handle_timeout(&mut self, now: Instant) -> Option<Late> {
        if self.deadline.is_none_or(|at| now < at) {
            return None;
        }
        self.deadline = None;
        if self.copy_due {
            self.copy_due = false;
            self.rewind();
            return Some(Late::Again);
        }
        let silent = now.since(self.heard_at) >= self.silence_max;
        let spent = !self.proven && self.unproven_sends >= UNPROVEN_SENDS_MAX;
        let until = self.heard_at + UNPROVEN_WAIT.min(self.silence_max);
        if spent && now < until {
            self.deadline = Some(until);
            return None;
        }
        if silent || spent {
            let all_sent = self.proven && self.top == self.last;
            return Some(if all_sent { Late::AllSent } else { Late::Silent });
        }
        self.rto.back_off();
        self.rewind();
        self.check();
        Some(Late::Again)
    }

    /// What may be sent now, at most `blocks_max` blocks of it.
    #[must_use]
    pub fn poll_transmit(&self, blocks_max: u16) -> Option<Burst> {
        if self.opening {
            return (!self.opening_sent).then_some(Burst::OptionAck);
        }
        // Nobody gets more than one block before it has answered once.
        let window = if self.proven { self.terms.window } else { 1 };
        let last = if self.may_end() { self.last } else { self.last - 1 };
        let until = last.min(self.acked + u64::from(window));
        let count = until.saturating_sub(self.sent).min(u64::from(blocks_max)) as u16;
        (count > 0).then_some(Burst::Blocks { first: self.sent + 1, count })
    }

    /// What [`Sending::poll_transmit`] gave has been handed to the kernel.
    pub fn handle_transmitted(&mut self, burst: Burst, now: Instant) {
        self.unproven_sends = self.unproven_sends.saturating_add(u8::from(!self.proven));
        self.sent_at = now;
        match burst {
            Burst::OptionAck => {
                self.opening_sent = true;
                self.timed = (self.unproven_sends == 1).then_some((0, now));
            }
            Burst::Blocks { first, count } => {
                let end = first + u64::from(count) - 1;
                let fresh = end.saturating_sub(self.top.max(first - 1));
                self.resent = self.resent.saturating_add(u32::from(count) - fresh as u32);
                self.sent = end;
                if fresh > 0 {
                    self.top = end;
                    if self.timed.is_none() {
                        self.timed = Some((end, now));
                    }
                    self.copy_due = !self.second_copy_after.is_zero();
                }
            }
        }
        let wait = if self.copy_due { self.second_copy_after } else { self.rto.timeout() };
        self.deadline = Some(now + wait);
        self.check();
    }

    /// When to call [`Sending::handle_timeout`].
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.deadline
    }

    /// Whether the file must be looked at now: all but its last block has left. Says so once; the
    /// answer goes to [`Sending::handle_verified`].
    pub fn poll_verify(&mut self) -> bool {
        let due = self.last_block == LastBlock::Kept && !self.opening && self.sent + 1 == self.last;
        if due {
            self.last_block = LastBlock::Asked;
        }
        due
    }

    /// The file was looked at and had not changed.
    pub fn handle_verified(&mut self) {
        self.last_block = match self.last_block {
            LastBlock::Asked => LastBlock::Released,
            LastBlock::AskedTooEarly => LastBlock::Kept,
            other @ (LastBlock::Free | LastBlock::Kept | LastBlock::Released) => other,
        };
    }

    /// Nobody could look at the file just now: it is asked for again a little later.
    pub fn handle_unverified(&mut self, now: Instant) {
        self.last_block = match self.last_block {
            LastBlock::Asked | LastBlock::AskedTooEarly => LastBlock::Kept,
            other @ (LastBlock::Free | LastBlock::Kept | LastBlock::Released) => other,
        };
        self.deadline = self.deadline.or(Some(now + self.rto.timeout()));
    }

    fn may_end(&self) -> bool {
        matches!(self.last_block, LastBlock::Free | LastBlock::Released)
    }

    /// Whether the phone has answered validly once, and so is who it says it is.
    #[must_use]
    pub fn is_proven(&self) -> bool {
        self.proven
    }

    /// Sends so far to a phone that had not answered.
    #[must_use]
    pub fn unproven_sends(&self) -> u8 {
        self.unproven_sends
    }

    /// Whether the phone waits for its answer to the OACK to be acted on.
    #[must_use]
    pub fn is_opening(&self) -> bool {
        self.opening
    }

    /// Whether the phone could be sending an ERROR for what it was sent: it was sent something.
    #[must_use]
    pub fn has_sent(&self) -> bool {
        self.opening_sent || self.top > 0
    }

    /// Bytes that the phone has acknowledged, of a file of `bytes`.
    #[must_use]
    pub fn bytes_acked(&self, bytes: u64) -> u64 {
        (self.acked * u64::from(self.terms.blksize)).min(bytes)
    }

    /// Blocks sent more than once.
    #[must_use]
    pub fn blocks_resent(&self) -> u32 {
        self.resent
    }

    /// The timeout and round trip so far.
    #[must_use]
    pub fn rto(&self) -> &Rto {
        &self.rto
    }

    /// What follows block 65,535.
    #[must_use]
    pub fn wrap(&self) -> WrapTo {
        self.wrap
    }

    /// Whether a phone that has answered before has been silent for longer than it ever was.
    #[must_use]
    pub fn is_silent(&self, now: Instant) -> bool {
        self.proven && now.since(self.heard_at) >= self.rto.unhurried()
    }

    /// Whether every block has been sent, so that the phone may be through.
    #[must_use]
    pub fn has_sent_all(&self) -> bool {
        self.top == self.last
    }

    /// The terms.
    #[must_use]
    pub fn terms(&self) -> &Terms {
        &self.terms
    }

    /// Goes back to the first block that is not acknowledged. Karn: what is sent twice tells no
    /// round trip.
    fn rewind(&mut self) {
        self.sent = self.acked;
        self.opening_sent = false;
        self.timed = None;
        self.deadline = None;
        self.last_block = match self.last_block {
            LastBlock::Asked => LastBlock::AskedTooEarly,
            // Only the last block is sent again, and that one cannot change.
            LastBlock::Released if self.acked + 1 < self.last => LastBlock::Kept,
            other @ (LastBlock::Free
            | LastBlock::Kept
            | LastBlock::AskedTooEarly
            | LastBlock::Released) => other,
        };
    }

    fn check(&self) {
        debug_assert!(self.acked <= self.sent);
        debug_assert!(self.sent <= self.top.max(self.acked));
        debug_assert!(self.top <= self.last);
        debug_assert!(self.sent - self.acked <= u64::from(self.terms.window));
        debug_assert!(!self.opening || self.top == 0);
        debug_assert!(self.unproven_sends <= UNPROVEN_SENDS_MAX);
        debug_assert!(self.timed.is_none_or(|(block, _)| block <= self.top));
    }
}
