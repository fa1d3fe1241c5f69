//! What became of connections to the pages of administration, as counters.
//!
//! Counted where the pages are served.

use engine::metrics::{Counter, Figure, Kind};

/// What became of connections beyond the limits. One thread writes it.
#[derive(Debug, Default)]
pub(crate) struct AdminConnections {
    pub(crate) displaced: Counter,
    pub(crate) refused: Counter,
    pub(crate) timed_out: Counter,
}

impl AdminConnections {
    /// The counts, for status and metrics.
    #[must_use]
    pub(crate) fn figures(&self) -> Vec<Figure> {
        let total = |name, counter: &Counter, help| Figure {
            name,
            kind: Kind::Total,
            help,
            value: counter.value(),
        };
        vec![
            total(
                "admin_displaced",
                &self.displaced,
                "Idle connections to the pages of administration closed for newer ones.",
            ),
            total(
                "admin_refused",
                &self.refused,
                "Connections to the pages of administration turned away: too many at once.",
            ),
            total(
                "admin_timed_out",
                &self.timed_out,
                "Connections to the pages of administration closed because their time was over.",
            ),
        ]
    }
}
