//! Counters of the connections to the administration pages.
//!
//! Incremented where the pages are served.

use engine::metrics::{Counter, Figure, Kind};

/// Counters of connections beyond the limits. One thread writes them.
#[derive(Debug, Default)]
pub(crate) struct AdminConnections {
    pub(crate) displaced: Counter,
    pub(crate) refused: Counter,
    pub(crate) timed_out: Counter,
}

impl AdminConnections {
    /// Returns the counters, for status and metrics.
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
