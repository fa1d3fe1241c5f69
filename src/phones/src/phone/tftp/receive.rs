//! The receiving side of a read: which block is next, and when an ACK is due (RFC 7440, section 4).
//!
//! Counts only; sees no payload. Never sends and keeps no time.

use super::{BLKSIZE_DEFAULT, Behaviour};
use wire::tftp::Block;

#[derive(Debug)]
pub(super) struct Receiver {
    blksize: u16,
    window_blocks: u16,
    /// The last block in order; 0 before the first.
    pub(super) last: Block,
    next: Block,
    /// Blocks received in order since the last ACK.
    unacked: u16,
    pub(super) bytes: u64,
    gap_answered: bool,
    /// Whether the next block was seen once, by a client that misses every first copy.
    seen_once: bool,
}

/// What a DATA packet means to the receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The block that was due.
    Next { ends_window: bool, ends_file: bool },
    /// A block that has come already; answered if the ACK for it may have been lost.
    Repeat { answer: bool },
    /// A block after a gap; the first one is answered at once.
    Gap { answer: bool },
    /// The block that was due, but this client misses every first copy.
    Missed,
    /// Larger than agreed.
    Oversized,
}

impl Default for Receiver {
    fn default() -> Self {
        Receiver {
            blksize: BLKSIZE_DEFAULT,
            window_blocks: 1,
            last: Block(0),
            next: Block(1),
            unacked: 0,
            bytes: 0,
            gap_answered: false,
            seen_once: false,
        }
    }
}

impl Receiver {
    pub(super) fn agree(&mut self, blksize: u16, window_blocks: u16) {
        self.blksize = blksize;
        self.window_blocks = window_blocks;
    }

    pub(super) fn has_nothing(&self) -> bool {
        self.bytes == 0 && self.next == Block(1)
    }

    pub(super) fn handle_data(
        &mut self,
        behaviour: &Behaviour,
        block: Block,
        payload_bytes: usize,
    ) -> Verdict {
        if payload_bytes > usize::from(self.blksize) {
            return Verdict::Oversized;
        }
        if block != self.next {
            return self.handle_other(block);
        }
        if behaviour.needs_data_twice && !self.seen_once {
            self.seen_once = true;
            return Verdict::Missed;
        }
        self.seen_once = false;
        self.gap_answered = false;
        self.bytes += payload_bytes as u64;
        self.last = block;
        self.next = match block.0.checked_add(1) {
            Some(next) => Block(next),
            None => Block(u16::from(behaviour.wraps_to_one)),
        };
        self.unacked += 1;
        let ends_file = payload_bytes < usize::from(self.blksize);
        let ends_window = behaviour.acks_every_block || self.unacked == self.window_blocks;
        if ends_window || ends_file {
            self.unacked = 0;
        }
        Verdict::Next { ends_window, ends_file }
    }

    fn handle_other(&mut self, block: Block) -> Verdict {
        let ahead = block.0.wrapping_sub(self.next.0);
        if ahead < u16::MAX / 2 && block != self.last {
            // The window begins again after the last block in order, and so does the count.
            let answer = !self.gap_answered;
            self.gap_answered = true;
            self.unacked = 0;
            return Verdict::Gap { answer };
        }
        // Older repeats need no answer: the last block of their window will have one.
        Verdict::Repeat { answer: block == self.last && self.unacked == 0 }
    }
}
