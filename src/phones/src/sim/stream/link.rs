//! What connections of a world are like: how fast, in what pieces, and how often they break.
//!
//! Holds figures; `network.rs` acts on them.

use wire::time::Duration;

/// What connections are like.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StreamLink {
    /// Time that every segment takes.
    pub delay: Duration,
    /// Time added to it, from nothing to this, for each segment anew.
    pub jitter: Duration,
    /// Share of segments that are lost and come again `late_by` later, 0 to 1.
    pub late: f64,
    /// How much later those come.
    pub late_by: Duration,
    /// Longest segment in bytes: each has 1 to this.
    pub segment_bytes_max: usize,
    /// The least and the most that a phone takes before it has read, in bytes.
    pub window_bytes: (usize, usize),
    /// Share of connections that are refused, 0 to 1.
    pub refused: f64,
    /// Share of connections without an answer.
    pub silent: f64,
    /// Share of connections that are reset at some byte, to both sides.
    pub reset: f64,
    /// Share of connections over which from some byte on nothing passes any more.
    pub cut: f64,
}

impl StreamLink {
    /// A quiet local network, on which nothing breaks.
    pub const CALM: StreamLink = StreamLink {
        delay: Duration::from_micros(200),
        jitter: Duration::from_micros(100),
        late: 0.0,
        late_by: Duration::ZERO,
        segment_bytes_max: 1_460,
        window_bytes: (32 << 10, 64 << 10),
        refused: 0.0,
        silent: 0.0,
        reset: 0.0,
        cut: 0.0,
    };

    /// A bad line to phones with little memory, on which anything breaks.
    pub const ROUGH: StreamLink = StreamLink {
        delay: Duration::from_millis(10),
        jitter: Duration::from_millis(20),
        late: 0.02,
        late_by: Duration::from_millis(200),
        window_bytes: (1, 8 << 10),
        refused: 0.03,
        silent: 0.02,
        reset: 0.06,
        cut: 0.03,
        ..StreamLink::CALM
    };

    /// Whether something may break on it.
    #[must_use]
    pub fn breaks(&self) -> bool {
        self.refused + self.silent + self.reset + self.cut > 0.0
    }
}
