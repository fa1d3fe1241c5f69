//! What a phone is doing, and over what.

use super::answer::Answer;
use wire::time::Instant;

/// What a phone is doing.
#[derive(Debug)]
pub(super) enum State {
    /// It asks at this moment; it keeps its connection if it has one.
    Waiting(Instant),
    /// Its connection is being opened.
    Connecting,
    /// Its request leaves, or no whole head has come yet.
    Asking,
    /// The body of an answer comes.
    Reading(Answer),
    /// It has done all and keeps its connection open until this moment.
    Staying(Instant),
    /// It has done all.
    Over,
}

/// Whether there is a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Link {
    /// None, or one that is being opened.
    Down,
    /// Up, and no answer has come over it yet.
    Fresh,
    /// Up, and it has brought an answer.
    Used,
}
