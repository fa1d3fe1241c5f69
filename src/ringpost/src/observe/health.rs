//! Whether phones are served: for load balancers and monitors, and for `ringpost status`.
//!
//! A server that can serve anything stays in service: two servers of one failing share must not
//! both leave it, because a phone that finds no server does not come back.

use std::fmt;

use serde::{Deserialize, Serialize};

use store::content::RootHealth;
use wire::time::Duration;

/// How well phones are served, and why not better.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Health {
    /// The state as one keyword.
    pub(crate) state: HealthState,
    /// The faults, in sentences.
    pub(crate) reasons: Vec<String>,
}

/// How well phones are served, as one keyword.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum HealthState {
    /// Without faults.
    #[default]
    Serving,
    /// Some files cannot be served.
    Degraded,
    /// New transfers are refused because the server is about to stop.
    Draining,
    /// Some or all phones are not served.
    Failing,
}

/// Which files can be served.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ContentHealth {
    /// What cannot be read, in sentences.
    pub(crate) degraded: Vec<String>,
    /// Whether nothing at all can be served.
    pub(crate) nothing_served: bool,
}

impl ContentHealth {
    /// Derives it from the roots. Nothing is served if each of them fails and has no file in
    /// memory.
    #[must_use]
    pub(crate) fn of(roots: &[RootHealth]) -> Self {
        let faults = roots.iter().filter_map(|root| Some((root, root.fault.as_ref()?)));
        let words = |(root, fault): (&RootHealth, &String)| {
            format!("{} cannot be read: {fault}", root.dir.display())
        };
        let nothing_served = !roots.is_empty() && roots.iter().all(|root| !root.serves);
        ContentHealth { degraded: faults.map(words).collect(), nothing_served }
    }
}

impl HealthState {
    /// Returns whether phones should be sent here.
    #[must_use]
    pub(crate) fn is_serving(self) -> bool {
        match self {
            HealthState::Serving | HealthState::Degraded => true,
            HealthState::Draining | HealthState::Failing => false,
        }
    }

    /// Returns the keyword.
    #[must_use]
    pub(crate) fn name(self) -> &'static str {
        match self {
            HealthState::Serving => "serving",
            HealthState::Degraded => "degraded",
            HealthState::Draining => "draining",
            HealthState::Failing => "failing",
        }
    }
}

impl fmt::Display for HealthState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Health {
    /// Returns the body of `/healthz`.
    #[must_use]
    pub(crate) fn line(&self) -> String {
        match (self.state, self.reasons.as_slice()) {
            (HealthState::Serving, _) => "ok\n".into(),
            (state, []) => format!("{state}\n"),
            (state, reasons) => format!("{state}: {}\n", reasons.join("; ")),
        }
    }
}

/// Derives the state from the worst fault, and lists every reason.
#[must_use]
pub(crate) fn assess(
    stuck: &[usize],
    draining: Option<Duration>,
    content: &ContentHealth,
) -> Health {
    let mut reasons = Vec::new();
    if !stuck.is_empty() {
        let numbers: Vec<_> = stuck.iter().map(ToString::to_string).collect();
        reasons.push(format!("no turn of worker {} for some seconds", numbers.join(", ")));
    }
    if let Some(drain) = draining {
        let seconds = drain.as_secs();
        reasons.push(format!(
            "the server is stopping: nothing new begins, and what runs has {seconds} s to end"
        ));
    }
    reasons.extend(content.degraded.iter().cloned());
    let state = if !stuck.is_empty() || content.nothing_served {
        HealthState::Failing
    } else if draining.is_some() {
        HealthState::Draining
    } else if reasons.is_empty() {
        HealthState::Serving
    } else {
        HealthState::Degraded
    };
    Health { state, reasons }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_can_serve_anything_stays_in_service() {
        let degraded = ContentHealth {
            degraded: vec!["/d/firmware cannot be read".into()],
            nothing_served: false,
        };
        let health = assess(&[], None, &degraded);
        assert!(health.state.is_serving());
        assert_eq!(health.line(), "degraded: /d/firmware cannot be read\n");
        let nothing = ContentHealth { nothing_served: true, ..degraded };
        assert_eq!(assess(&[], None, &nothing).state, HealthState::Failing);
    }

    #[test]
    fn who_stops_or_is_stuck_is_not_serving() {
        let well = ContentHealth::default();
        assert_eq!(assess(&[], None, &well).line(), "ok\n");
        let draining = assess(&[], Some(Duration::from_secs(30)), &well);
        assert!(!draining.state.is_serving() && draining.line().starts_with("draining: "));
        let stuck = assess(&[1, 3], None, &well);
        assert_eq!(stuck.line(), "failing: no turn of worker 1, 3 for some seconds\n");
        assert!(!stuck.state.is_serving());
    }
}
