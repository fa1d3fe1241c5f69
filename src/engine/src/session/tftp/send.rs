//! A file being sent: which blocks are acknowledged, in flight, or due again.
//!
//! Knows numbers, not bytes: the caller turns a [`Burst`] into datagrams straight from the blob.
//! One loss costs one resend. Never answers a mere duplicate (RFC 1123, 4.2.3.1).

mod state;

use crate::session::tftp::bursts::Bursts;
use crate::session::tftp::last_block::LastBlock;
use crate::session::tftp::numbers::{BlockIndex, ahead_of};
use crate::session::tftp::options::Terms;
use crate::session::tftp::rto::Rto;
use crate::settings::tftp::WrapTo;
use wire::tftp::Block;
use wire::time::{Duration, Instant};

/// Sends to a phone that never answers, before its transfer is dropped. This bounds what a forged
/// request can make this server send to its victim.
pub const UNPROVEN_SENDS_MAX: u8 = 3;
/// Least wait for the next ACK of a phone that acknowledges inside a window: some phones
/// acknowledge every block, and only silence after an ACK then means a gap.
const GAP_WAIT_MIN: Duration = Duration::from_millis(1);

/// The effect of an acknowledgement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acked {
    /// New blocks were acknowledged; there may be more to send.
    Progress,
    /// The last block was acknowledged: the transfer is done.
    Done,
    /// The phone asks again for something already sent, which is to be resent.
    Again,
    /// Nothing new.
    Stale,
}

/// The effect of a deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Late {
    /// There is something to send again.
    Again,
    /// The phone is silent for too long; every block was sent, and only the last ACK is missing.
    AllSent,
    /// The phone is silent for too long.
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

/// The state machine of one read request.
#[derive(Clone, Debug)]
pub struct Sending {
    terms: Terms,
    wrap: WrapTo,
    /// Whether the OACK is not acknowledged yet.
    opening: bool,
    opening_sent: bool,
    /// Whether the phone has answered validly at least once.
    proven: bool,
    last_block: LastBlock,
    /// What the deadline is for.
    wait: Wait,
    /// Whether the phone acknowledges blocks inside a window without a loss.
    acks_within: bool,
    unproven_sends: u8,
    resent: u32,
    last: BlockIndex,
    acked: BlockIndex,
    sent: BlockIndex,
    /// Highest block ever sent; an ACK beyond it is forged.
    top: BlockIndex,
    /// Blocks of the burst that have not left. The next burst begins if no gap in it is reported.
    burst_left: u16,
    bursts: Bursts,
    /// The block whose round trip is being measured, and when it left.
    timed: Option<(BlockIndex, Instant)>,
    heard_at: Instant,
    sent_at: Instant,
    /// When the first unacknowledged block left.
    window_at: Instant,
    /// When a gap in the phone's window last caused a resend.
    rewound_at: Instant,
    second_copy_after: Duration,
    silence_max: Duration,
    rto: Rto,
    deadline: Option<Instant>,
}

/// What a deadline is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wait {
    /// The phone's answer is overdue.
    StoreReply,
    /// The second copy of a burst is due.
    Copy,
    /// No gap in the burst was reported, and the next one may leave.
    Pause,
    /// The phone has sent no further ACK, so its last one reported a gap.
    Gap,
}

/// The parameters of a transfer, beside its terms.
#[derive(Clone, Copy, Debug)]
pub struct Start {
    /// Size of the file in bytes, in the form in which it is sent.
    pub bytes: u64,
    /// The number after block 65,535.
    pub wrap: WrapTo,
    /// First retransmission timeout, if the client named none.
    pub first_timeout: Duration,
    /// Silence after which the transfer ends.
    pub silence_max: Duration,
    /// Send each burst twice, the second time after this long; zero for once.
    pub second_copy_after: Duration,
    /// Whether to hold the last block until the file was checked.
    pub verify: bool,
}

impl Sending {
    /// Makes a transfer that has something to send at once.
    #[must_use]
    pub fn new(terms: Terms, has_options: bool, start: Start, now: Instant) -> Sending {
        let mut sending = Sending {
            terms,
            wrap: start.wrap,
            opening: has_options,
            opening_sent: false,
            proven: false,
            last_block: if start.verify { LastBlock::Kept } else { LastBlock::Free },
            wait: Wait::StoreReply,
            acks_within: false,
            unproven_sends: 0,
            resent: 0,
            last: start.bytes / u64::from(terms.blksize) + 1,
            acked: 0,
            sent: 0,
            top: 0,
            burst_left: 0,
            bursts: Bursts::default(),
            timed: None,
            heard_at: now,
            sent_at: now,
            window_at: now,
            rewound_at: now,
            second_copy_after: start.second_copy_after,
            silence_max: terms.silence_max(start.silence_max),
            rto: terms.first_rto(start.first_timeout),
            deadline: None,
        };
        sending.open_burst();
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

    /// ACK 0 for the OACK: now the data may follow.
    fn handle_opening_ack(&mut self, now: Instant) -> Acked {
        self.opening = false;
        self.proven = true;
        if let Some((0, left)) = self.timed.take() {
            self.rto.sample(now.since(left));
        }
        self.deadline = None;
        Acked::Progress
    }

    /// The phone repeats its last ACK. It asks for a resend if its answer to the last send is
    /// overdue, or if it can know that the first block of a window is missing. Otherwise the ACK
    /// was merely duplicated by the network.
    fn handle_repeated_ack(&mut self, now: Instant) -> Acked {
        let overdue = now.since(self.sent_at) >= self.rto.unhurried();
        let trip = self.round_trip() * 7 / 8;
        let gap = self.terms.window > 1
            && now.since(self.window_at) >= trip
            && now.since(self.rewound_at) >= trip;
        if self.sent == self.acked || !self.proven || !(overdue || gap) {
            return Acked::Stale;
        }
        self.go_back(now);
        Acked::Again
    }

    fn handle_progress(&mut self, acked: BlockIndex, now: Instant) -> Acked {
        self.proven = true;
        self.bursts.handle_progress(acked - self.acked);
        self.rto.handle_progress();
        self.acked = acked;
        // The ACK may be for what was about to be sent again.
        let is_inside = self.sent > acked;
        self.sent = self.sent.max(acked);
        if let Some((block, left)) = self.timed.filter(|(block, _)| *block <= acked) {
            debug_assert!(block <= self.top);
            self.rto.sample(now.since(left));
            self.timed = None;
        }
        let before = std::mem::replace(&mut self.wait, Wait::StoreReply);
        if self.acked == self.last {
            self.deadline = None;
            return Acked::Done;
        }
        if !is_inside {
            self.deadline = None;
            self.open_burst();
            return Acked::Progress;
        }
        // A phone acknowledges the last block it has in order, so all beyond it was lost (RFC 7440,
        // section 4). An ACK within half a round trip of a resend is about the time before it; a
        // later one with more blocks, while we wait, shows that there was no gap.
        let is_past = self.resent > 0 && now.since(self.rewound_at) < self.round_trip() / 2;
        self.acks_within |= before == Wait::Gap;
        if self.acks_within || is_past {
            // All blocks in flight after a lost one are lost, not half of them as in a burst.
            let in_flight = u16::try_from(self.sent - self.acked).unwrap_or(u16::MAX);
            let blocks = self.bursts.blocks(self.terms.window).div_ceil(2);
            self.burst_left = blocks.saturating_sub(in_flight);
            self.deadline = Some(now + self.rto.timeout());
            return Acked::Progress;
        }
        self.wait = Wait::Gap;
        self.deadline = Some(now + GAP_WAIT_MIN.max(self.rto.usual_answer() / 4));
        Acked::Progress
    }

    /// The moment that [`Sending::poll_timeout`] named has come.
    pub fn handle_timeout(&mut self, now: Instant) -> Option<Late> {
        if self.deadline.is_none_or(|at| now < at) {
            return None;
        }
        self.deadline = None;
        match std::mem::replace(&mut self.wait, Wait::StoreReply) {
            Wait::Copy => self.rewind(),
            Wait::Pause => self.open_burst(),
            Wait::Gap => self.go_back(now),
            Wait::StoreReply => return self.handle_silence(now),
        }
        self.check();
        Some(Late::Again)
    }

    /// No answer came in time.
    fn handle_silence(&mut self, now: Instant) -> Option<Late> {
        let silent = now.since(self.heard_at) >= self.silence_max;
        let spent = !self.proven && self.unproven_sends >= UNPROVEN_SENDS_MAX;
        let until = self.heard_at + self.terms.unproven_wait().min(self.silence_max);
        if spent && now < until {
            self.deadline = Some(until);
            return None;
        }
        if silent || spent {
            let all_sent = self.proven && self.top == self.last;
            return Some(if all_sent { Late::AllSent } else { Late::Silent });
        }
        self.rto.back_off();
        self.bursts.handle_loss();
        self.acks_within = false;
        self.rewind();
        self.check();
        Some(Late::Again)
    }

    /// Returns what may be sent now, at most `blocks_max` blocks of it.
    #[must_use]
    pub fn poll_transmit(&self, blocks_max: u16) -> Option<Burst> {
        if self.opening {
            return (!self.opening_sent).then_some(Burst::OptionAck);
        }
        if self.wait == Wait::Gap {
            return None;
        }
        let blocks_max = u64::from(blocks_max.min(self.burst_left));
        let count = self.window_end().saturating_sub(self.sent).min(blocks_max) as u16;
        (count > 0).then_some(Burst::Blocks { first: self.sent + 1, count })
    }

    /// What [`Sending::poll_transmit`] returned has been handed to the kernel.
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
                self.burst_left = self.burst_left.saturating_sub(count);
                if first == self.acked + 1 {
                    self.window_at = now;
                }
                if fresh > 0 {
                    self.top = end;
                    // Other blocks have no answer of their own.
                    let is_answered = self.acks_within || end == self.window_end();
                    if self.timed.is_none() && is_answered {
                        self.timed = Some((end, now));
                    }
                    if !self.second_copy_after.is_zero() {
                        self.wait = Wait::Copy;
                    }
                }
            }
        }
        if self.wait != Wait::Copy {
            let is_part = self.burst_left == 0 && self.sent < self.window_end();
            self.wait = if is_part && !self.acks_within { Wait::Pause } else { Wait::StoreReply };
        }
        self.deadline = Some(
            now + match self.wait {
                Wait::Copy => self.second_copy_after,
                Wait::Pause => self.rto.usual_answer(),
                Wait::StoreReply | Wait::Gap => self.rto.timeout(),
            },
        );
        self.check();
    }

    /// Returns when to call [`Sending::handle_timeout`].
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.deadline
    }

    /// Returns whether the file must be checked now: all but its last block has left. Returns true
    /// once; the result goes to [`Sending::handle_verified`].
    pub fn poll_verify(&mut self) -> bool {
        let due = self.last_block == LastBlock::Kept && !self.opening && self.sent + 1 == self.last;
        if due {
            self.last_block = LastBlock::Asked;
        }
        due
    }

    /// The file was checked and had not changed.
    pub fn handle_verified(&mut self) {
        self.last_block.handle_verified();
        if self.burst_left == 0 {
            self.open_burst();
        }
    }

    /// The file could not be checked now: it is tried again a little later.
    pub fn handle_unverified(&mut self, now: Instant) {
        self.last_block.handle_unverified();
        self.deadline = self.deadline.or(Some(now + self.rto.timeout()));
    }

    /// Returns the last block that the phone expects before it answers.
    fn window_end(&self) -> BlockIndex {
        // A phone gets no more than one block before its first answer.
        let window = if self.proven { self.terms.window } else { 1 };
        let last = if self.last_block.may_leave() { self.last } else { self.last - 1 };
        last.min(self.acked + u64::from(window))
    }

    /// Lets the next burst leave.
    fn open_burst(&mut self) {
        self.burst_left = self.bursts.blocks(self.terms.window);
    }

    fn round_trip(&self) -> Duration {
        self.rto.round_trip().smoothed().unwrap_or(self.rto.unhurried())
    }

    /// Goes back because of a gap that the phone reported.
    fn go_back(&mut self, now: Instant) {
        self.rewound_at = now;
        self.bursts.handle_loss();
        self.rewind();
    }

    /// Goes back to the first unacknowledged block. Karn: a block sent twice gives no round trip.
    fn rewind(&mut self) {
        self.sent = self.acked;
        self.open_burst();
        self.opening_sent = false;
        self.timed = None;
        self.wait = Wait::StoreReply;
        self.deadline = None;
        self.last_block.handle_resend(self.acked + 1 == self.last);
    }

    fn check(&self) {
        debug_assert!(self.acked <= self.sent);
        debug_assert!(self.sent <= self.top.max(self.acked));
        debug_assert!(self.top <= self.last);
        debug_assert!(self.sent - self.acked <= u64::from(self.terms.window));
        debug_assert!(self.wait != Wait::Gap || self.deadline.is_some());
        debug_assert!(!self.opening || self.top == 0);
        debug_assert!(self.unproven_sends <= UNPROVEN_SENDS_MAX);
        debug_assert!(self.timed.is_none_or(|(block, _)| block <= self.top));
    }
}
