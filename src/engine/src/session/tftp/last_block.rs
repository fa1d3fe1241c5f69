//! The last block of a mapped file: kept back until the file was looked at, so that no phone ever
//! completes a mixture of two versions.

/// Whether the last block may leave. A mapped file is asked for its version once all else has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LastBlock {
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

impl LastBlock {
    /// Whether it may leave.
    pub(super) fn may_leave(self) -> bool {
        matches!(self, LastBlock::Free | LastBlock::Released)
    }

    /// The file was looked at and had not changed.
    pub(super) fn handle_verified(&mut self) {
        *self = match *self {
            LastBlock::Asked => LastBlock::Released,
            LastBlock::AskedTooEarly => LastBlock::Kept,
            other @ (LastBlock::Free | LastBlock::Kept | LastBlock::Released) => other,
        };
    }

    /// Nobody could look at the file.
    pub(super) fn handle_unverified(&mut self) {
        *self = match *self {
            LastBlock::Asked | LastBlock::AskedTooEarly => LastBlock::Kept,
            other @ (LastBlock::Free | LastBlock::Kept | LastBlock::Released) => other,
        };
    }

    /// Blocks are sent again. Where that is the last block `alone`, it cannot have changed.
    pub(super) fn handle_resend(&mut self, alone: bool) {
        *self = match *self {
            LastBlock::Asked => LastBlock::AskedTooEarly,
            LastBlock::Released if !alone => LastBlock::Kept,
            other @ (LastBlock::Free
            | LastBlock::Kept
            | LastBlock::AskedTooEarly
            | LastBlock::Released) => other,
        };
    }
}
