//! The page for Prometheus, composed at each request.
//!
//! Never asks a disk or a worker: it shows the counters that they keep.

mod accept;
mod families;

use std::fmt;
use std::sync::Arc;

use prometheus_client::registry::Registry;

use crate::observe::state::DaemonState;
pub(crate) use accept::negotiate;
use families::Page;

/// The prefix of every name.
const PREFIX: &str = "ringpost";

/// The format of the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exposition {
    /// Prometheus' text format, version 0.0.4.
    Text,
    /// OpenMetrics 1.0.
    OpenMetrics,
}

impl Exposition {
    /// Returns the media type.
    #[must_use]
    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Exposition::Text => "text/plain; version=0.0.4; charset=utf-8",
            Exposition::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// Composes the page.
///
/// # Errors
/// None in practice: writing to a string does not fail.
pub(crate) fn page(state: &Arc<DaemonState>, exposition: Exposition) -> Result<String, fmt::Error> {
    state.collect();
    let mut registry = Registry::with_prefix(PREFIX);
    registry.register_collector(Box::new(Page(Arc::clone(state))));
    let mut page = String::new();
    prometheus_client::encoding::text::encode(&mut page, &registry)?;
    Ok(match exposition {
        Exposition::Text => as_text(&page),
        Exposition::OpenMetrics => page,
    })
}

/// Turns OpenMetrics into text format 0.0.4: there a counter's family has the name of its samples,
/// units and the end mark do not exist, and quotes in help texts are not escaped.
fn as_text(page: &str) -> String {
    let mut text = String::with_capacity(page.len());
    let mut help = "";
    for line in page.lines() {
        let mut words = line.splitn(4, ' ');
        match [words.next(), words.next(), words.next(), words.next()] {
            [Some("#"), Some("EOF" | "UNIT"), ..] => {}
            // The type follows the help, and only then is the kind of family known.
            [Some("#"), Some("HELP"), _, about] => help = about.unwrap_or_default(),
            [Some("#"), Some("TYPE"), Some(name), Some(kind)] => {
                let end = if kind == "counter" { "_total" } else { "" };
                text.extend(["# HELP ", name, end, " ", &help.replace("\\\"", "\""), "\n"]);
                text.extend(["# TYPE ", name, end, " ", kind, "\n"]);
            }
            _ => text.extend([line, "\n"]),
        }
    }
    text
}

#[cfg(test)]
mod tests;
