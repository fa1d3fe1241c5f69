//! The server's figures as a page for Prometheus, read at the moment somebody asks.
//!
//! Never asks a disk or a worker for anything: it shows what they have noted.

mod accept;
mod families;

use std::fmt;
use std::sync::Arc;

use prometheus_client::registry::Registry;

use crate::observe::state::DaemonState;
pub(crate) use accept::negotiate;
use families::Page;

/// What every name begins with.
const PREFIX: &str = "ringpost";

/// How the page is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exposition {
    /// Prometheus' text format, version 0.0.4.
    Text,
    /// OpenMetrics 1.0.
    OpenMetrics,
}

impl Exposition {
    /// The media type of an answer.
    #[must_use]
    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Exposition::Text => "text/plain; version=0.0.4; charset=utf-8",
            Exposition::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// The page.
///
/// # Errors
/// None in practice: writing into a string does not fail.
pub(crate) fn page(board: &Arc<DaemonState>, exposition: Exposition) -> Result<String, fmt::Error> {
    board.collect();
    let mut registry = Registry::with_prefix(PREFIX);
    registry.register_collector(Box::new(Page(Arc::clone(board))));
    let mut page = String::new();
    prometheus_client::encoding::text::encode(&mut page, &registry)?;
    Ok(match exposition {
        Exposition::Text => as_text(&page),
        Exposition::OpenMetrics => page,
    })
}

/// OpenMetrics as text format 0.0.4: a counter's family has the name of its samples there, units
/// and the mark at the end are unknown, and quotes in help texts are not escaped.
fn as_text(page: &str) -> String {
    let mut text = String::with_capacity(page.len());
    let mut help = "";
    for line in page.lines() {
        let mut words = line.splitn(4, ' ');
        match [words.next(), words.next(), words.next(), words.next()] {
            [Some("#"), Some("EOF" | "UNIT"), ..] => {}
            // The type comes behind the help, and only then is it known what the family is.
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
