//! What a phone is doing, and the state of its connection.

use super::response::Response;
use wire::time::Instant;

/// What a phone is doing.
#[derive(Debug)]
pub(super) enum Phase {
    /// It sends a request at this moment, over its connection if it has one.
    Waiting(Instant),
    /// Its connection is being opened.
    Connecting,
    /// Its request is being sent, or the head of the response is incomplete.
    Asking,
    /// The body of a response is coming.
    Reading(Response),
    /// It is done and keeps its connection open until this moment.
    Staying(Instant),
    /// It is done.
    Over,
}

/// Whether there is a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Link {
    /// None, or one that is being opened.
    Down,
    /// Up, without a response so far.
    Fresh,
    /// Up, after a response.
    Used,
}
