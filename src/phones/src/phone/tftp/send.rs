//! The sending side of a write: which blocks are sent, and which an ACK covers (RFC 7440, section
//! 4).
//!
//! Writes DATA when polled; never sends and keeps no time.

use std::sync::Arc;

use super::BLKSIZE_DEFAULT;
use wire::tftp::{Block, data_header};

#[derive(Debug)]
pub(super) struct Sender {
    content: Arc<[u8]>,
    blksize: u16,
    window_blocks: u16,
    wraps_to_one: bool,
    /// Blocks acknowledged and blocks sent, counted from 1 without a wrap.
    acked: u64,
    sent: u64,
}

impl Sender {
    pub(super) fn new(content: Arc<[u8]>, wraps_to_one: bool) -> Self {
        Sender {
            content,
            blksize: BLKSIZE_DEFAULT,
            window_blocks: 1,
            wraps_to_one,
            acked: 0,
            sent: 0,
        }
    }

    pub(super) fn agree(&mut self, blksize: u16, window_blocks: u16) {
        self.blksize = blksize;
        self.window_blocks = window_blocks;
    }

    pub(super) fn bytes(&self) -> u64 {
        self.content.len() as u64
    }

    pub(super) fn bytes_acked(&self) -> u64 {
        (self.acked * u64::from(self.blksize)).min(self.bytes())
    }

    pub(super) fn is_done(&self) -> bool {
        self.acked == self.blocks()
    }

    /// Returns whether the ACK acknowledges anything new.
    pub(super) fn handle_ack(&mut self, block: Block) -> bool {
        let new = (self.acked + 1..=self.sent).find(|number| self.on_the_wire(*number) == block);
        let Some(number) = new else { return false };
        self.acked = number;
        // Blocks after an ACK inside the window were lost (RFC 7440, section 4).
        self.sent = number;
        self.check();
        true
    }

    /// Makes everything that is not acknowledged due again.
    pub(super) fn rewind(&mut self) {
        self.sent = self.acked;
        self.check();
    }

    /// Writes the next DATA, if the window allows one.
    pub(super) fn write_next(&mut self, out: &mut Vec<u8>) -> bool {
        if self.sent == self.blocks() || self.sent - self.acked == u64::from(self.window_blocks) {
            return false;
        }
        let start = (self.sent * u64::from(self.blksize)).min(self.bytes()) as usize;
        let end = (start + usize::from(self.blksize)).min(self.content.len());
        self.sent += 1;
        out.extend_from_slice(&data_header(self.on_the_wire(self.sent)));
        out.extend_from_slice(&self.content[start..end]);
        self.check();
        true
    }

    /// A file that fills its last block ends with an empty one (RFC 1350, section 6).
    fn blocks(&self) -> u64 {
        self.bytes() / u64::from(self.blksize) + 1
    }

    fn on_the_wire(&self, number: u64) -> Block {
        if self.wraps_to_one && number > 0 {
            return Block(((number - 1) % u64::from(u16::MAX)) as u16 + 1);
        }
        Block((number % (u64::from(u16::MAX) + 1)) as u16)
    }

    fn check(&self) {
        debug_assert!(self.acked <= self.sent);
        debug_assert!(self.sent <= self.blocks());
        debug_assert!(self.sent - self.acked <= u64::from(self.window_blocks));
    }
}
