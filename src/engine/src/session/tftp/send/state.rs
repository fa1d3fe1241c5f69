//! What a sending transfer tells about itself. Changes nothing that is sent.

use super::Sending;
use crate::session::tftp::options::Terms;
use crate::session::tftp::rto::Rto;
use crate::settings::tftp::WrapTo;
use wire::time::{Duration, Instant};

impl Sending {
    /// Returns whether the phone has answered validly once, which proves its address.
    #[must_use]
    pub fn is_proven(&self) -> bool {
        self.proven
    }

    /// Returns how often a phone that had not answered was sent something.
    #[must_use]
    pub fn unproven_sends(&self) -> u8 {
        self.unproven_sends
    }

    /// Returns whether the OACK is not acknowledged yet.
    #[must_use]
    pub fn is_opening(&self) -> bool {
        self.opening
    }

    /// Returns whether the phone was sent anything that an ERROR could answer.
    #[must_use]
    pub fn has_sent(&self) -> bool {
        self.opening_sent || self.top > 0
    }

    /// Returns the bytes that the phone has acknowledged, of a file of `bytes`.
    #[must_use]
    pub fn bytes_acked(&self, bytes: u64) -> u64 {
        (self.acked * u64::from(self.terms.blksize)).min(bytes)
    }

    /// Returns how many blocks were sent more than once.
    #[must_use]
    pub fn blocks_resent(&self) -> u32 {
        self.resent
    }

    /// Returns the timeout and round trip so far.
    #[must_use]
    pub fn rto(&self) -> &Rto {
        &self.rto
    }

    /// Returns the number after block 65,535.
    #[must_use]
    pub fn wrap(&self) -> WrapTo {
        self.wrap
    }

    /// Returns whether a phone that has answered before is silent for longer than ever before.
    #[must_use]
    pub fn is_silent(&self, now: Instant) -> bool {
        self.proven && now.since(self.heard_at) >= self.rto.unhurried()
    }

    /// Returns whether a phone that has not answered yet was sent something a moment ago.
    #[must_use]
    pub fn has_just_answered(&self, now: Instant, within: Duration) -> bool {
        !self.proven && self.has_sent() && now.since(self.sent_at) < within
    }

    /// Returns whether every block has been sent, so that the phone may be done.
    #[must_use]
    pub fn has_sent_all(&self) -> bool {
        self.top == self.last
    }

    /// Returns the terms.
    #[must_use]
    pub fn terms(&self) -> &Terms {
        &self.terms
    }

    /// Returns whether all that was sent is acknowledged and the next block would be new: only then
    /// may its answer be put off.
    #[must_use]
    pub fn is_at_rest(&self) -> bool {
        self.proven && !self.opening && self.top == self.acked
    }

    /// Returns whether the phone was silent beyond a timeout since its last answer.
    #[must_use]
    pub fn is_backed_off(&self) -> bool {
        self.rto.is_backed_off()
    }
}
