//! How far a run is: a bar on a terminal, plain lines elsewhere, nothing when told to be quiet.
//!
//! Shows; counts nothing.

use std::io::{self, IsTerminal};
use std::net::SocketAddr;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::harness::run::SHOW_EVERY;
use crate::spec::Command;

/// Plain progress lines come this far apart where there is no terminal.
const PLAIN_EVERY: Duration = Duration::from_secs(2);

/// Where progress is shown.
pub(crate) enum Progress {
    Bar(ProgressBar),
    Plain { every: u64, shown: std::cell::Cell<u64>, phones: u64, server: SocketAddr },
    None,
}

impl Progress {
    /// Of so many phones.
    pub(crate) fn new(phones: u64, command: &Command) -> Progress {
        if command.quiet {
            return Progress::None;
        }
        if !io::stderr().is_terminal() {
            let every = (PLAIN_EVERY.as_millis() / SHOW_EVERY.as_millis()) as u64;
            let (shown, server) = (std::cell::Cell::new(0), command.server());
            return Progress::Plain { every, shown, phones, server };
        }
        let bar = ProgressBar::new(phones);
        let template = "{wide_bar} {pos}/{len} phones  {elapsed}  {msg}";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        Progress::Bar(bar)
    }

    /// So many phones are through, and so many of them failed.
    pub(crate) fn show(&self, done: u64, failed: u64) {
        match self {
            Progress::Bar(bar) => {
                bar.set_position(done);
                bar.set_message(format!("{failed} failed"));
            }
            Progress::Plain { every, shown, phones, server } => {
                shown.set(shown.get() + 1);
                if shown.get() % every == 0 {
                    eprintln!("{server}: {done} of {phones} phones, {failed} failed");
                }
            }
            Progress::None => {}
        }
    }

    /// The run is over.
    pub(crate) fn finish(&self) {
        match self {
            Progress::Bar(bar) => bar.finish_and_clear(),
            Progress::Plain { .. } | Progress::None => {}
        }
    }
}
