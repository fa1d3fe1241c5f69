//! The last block of a mapped file: held until the file was checked, so that no phone ever
//! completes a mixture of two versions.

/// Whether the last block may leave. The version of a mapped file is checked once all else has
/// left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LastBlock {
    /// It leaves when its turn comes: the bytes cannot change.
    Free,
    /// It is held until the file was checked.
    Kept,
    /// The file is being checked.
    Asked,
    /// The file is being checked, but blocks were sent again meanwhile, which the check does not
    /// cover.
    AskedTooEarly,
    /// The file was checked after all else had left. A resend revokes this.
    Released,
}

impl LastBlock {
    /// Returns whether it may leave.
    pub(super) fn may_leave(self) -> bool {
        matches!(self, LastBlock::Free | LastBlock::Released)
    }

    /// The file was checked and had not changed.
    pub(super) fn handle_verified(&mut self) {
        *self = match *self {
            LastBlock::Asked => LastBlock::Released,
            LastBlock::AskedTooEarly => LastBlock::Kept,
            other @ (LastBlock::Free | LastBlock::Kept | LastBlock::Released) => other,
        };
    }

    /// The file could not be checked.
    pub(super) fn handle_unverified(&mut self) {
        *self = match *self {
            LastBlock::Asked | LastBlock::AskedTooEarly => LastBlock::Kept,
            other @ (LastBlock::Free | LastBlock::Kept | LastBlock::Released) => other,
        };
    }

    /// Blocks are sent again. If only the last block is (`alone`), its bytes cannot have changed.
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
