//! What happened over FTP, in numbers.
//!
//! Counts only; how it is shown is for `report.rs`.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;
use phones::phone::ftp::{Ending, FileResult, Loss, Refusal};
use rustls::HandshakeKind;

use crate::tally::{COLUMN, histogram};
use crate::web::plan::Role;
use crate::web::vault::Acknowledgement;

/// Refusals in different words that are told apart.
const WORDS_MAX: usize = 32;

/// Connections of one kind.
#[derive(Clone)]
pub(crate) struct Connects {
    /// How many were begun, or waited for.
    pub(crate) begun: u64,
    /// Microseconds until they were taken.
    pub(crate) connect_us: Histogram<u64>,
    /// Full handshakes.
    pub(crate) full: u64,
    /// Resumed ones.
    pub(crate) resumed: u64,
}

/// What happened to one group.
#[derive(Clone)]
pub(crate) struct FtpTally {
    /// Its name.
    pub(crate) label: String,
    /// What it is there for.
    pub(crate) role: Role,
    /// Sessions in which all went well.
    pub(crate) sessions_good: u64,
    /// Sessions in which it did not.
    pub(crate) sessions_failed: u64,
    /// Files that were read, stored, or answered for as they had to be.
    pub(crate) files_good: u64,
    /// Files that were not.
    pub(crate) files_failed: u64,
    /// Those of the good ones where nothing was stored.
    pub(crate) nothing_stored: u64,
    /// Those of the good ones that the server had to refuse.
    pub(crate) rightly_refused: u64,
    /// Files that failed, by reason.
    pub(crate) failures: BTreeMap<String, u64>,
    /// What the server refused, by its words.
    pub(crate) refusals: BTreeMap<String, u64>,
    /// What the phones counted.
    pub(crate) bytes_read: u64,
    pub(crate) bytes_stored: u64,
    pub(crate) replies: u64,
    pub(crate) unreachable: u64,
    pub(crate) resets: u64,
    pub(crate) timeouts: u64,
    pub(crate) again: u64,
    pub(crate) waits: u64,
    pub(crate) unasked: u64,
    /// Microseconds from a file's beginning to its end.
    pub(crate) file_us: Histogram<u64>,
    /// Microseconds from the phone's beginning to its last connection's end.
    pub(crate) session_us: Histogram<u64>,
    /// Control connections, and data connections.
    pub(crate) control: Connects,
    pub(crate) data: Connects,
    /// Idle sessions that the server ended.
    pub(crate) ended: u64,
    /// Idle sessions that were there at their time's end.
    pub(crate) stayed: u64,
    /// Files that ended well, by [`COLUMN`].
    pub(crate) timeline: Vec<u32>,
}

/// What happened in a run.
pub(crate) struct FtpRun {
    /// By group.
    pub(crate) groups: Vec<FtpTally>,
    /// From the moment when the phones might begin to the last one's end.
    pub(crate) busy: Duration,
    /// How long all of it took.
    pub(crate) wall: Duration,
    /// Microseconds by which the tool was late.
    pub(crate) lag_us: Histogram<u64>,
    /// What the server said is kept.
    pub(crate) acknowledged: Vec<Acknowledgement>,
    /// The first connection that went wrong, in the system's words.
    pub(crate) trouble: Option<String>,
}

impl FtpRun {
    /// Nothing yet.
    pub(crate) fn new(groups: Vec<FtpTally>) -> FtpRun {
        FtpRun {
            groups,
            busy: Duration::ZERO,
            wall: Duration::ZERO,
            lag_us: histogram(),
            acknowledged: Vec::new(),
            trouble: None,
        }
    }

    /// Whether anything failed that was to succeed.
    pub(crate) fn has_failures(&self) -> bool {
        let is_bad =
            |group: &FtpTally| group.files_failed + group.sessions_failed + group.unasked > 0;
        self.groups.iter().any(is_bad)
    }
}

impl Connects {
    fn new() -> Connects {
        Connects { begun: 0, connect_us: histogram(), full: 0, resumed: 0 }
    }

    /// A connection was taken after this long.
    pub(crate) fn taken(&mut self, after: Duration) {
        self.connect_us.saturating_record(after.as_micros() as u64);
    }

    /// A connection was secured.
    pub(crate) fn secured(&mut self, kind: HandshakeKind) {
        match kind {
            HandshakeKind::Resumed => self.resumed += 1,
            HandshakeKind::Full | HandshakeKind::FullWithHelloRetryRequest => self.full += 1,
        }
    }
}

impl FtpTally {
    /// Nothing yet.
    pub(crate) fn new(label: &str, role: Role) -> FtpTally {
        FtpTally {
            label: label.to_owned(),
            role,
            sessions_good: 0,
            sessions_failed: 0,
            files_good: 0,
            files_failed: 0,
            nothing_stored: 0,
            rightly_refused: 0,
            failures: BTreeMap::new(),
            refusals: BTreeMap::new(),
            bytes_read: 0,
            bytes_stored: 0,
            replies: 0,
            unreachable: 0,
            resets: 0,
            timeouts: 0,
            again: 0,
            waits: 0,
            unasked: 0,
            file_us: histogram(),
            session_us: histogram(),
            control: Connects::new(),
            data: Connects::new(),
            ended: 0,
            stayed: 0,
            timeline: Vec::new(),
        }
    }

    /// The server refused something, for the moment or for good.
    pub(crate) fn refused(&mut self, refusal: &Refusal) {
        let words = same_words(&String::from_utf8_lossy(&refusal.text));
        let words = format!("{} {words}", refusal.code.0);
        let is_known = self.refusals.contains_key(&words) || self.refusals.len() < WORDS_MAX;
        let words = if is_known { words } else { "in other words".to_owned() };
        *self.refusals.entry(words).or_default() += 1;
    }

    /// A file ended; `wrong` says what is wrong with what came.
    pub(crate) fn file(&mut self, result: &FileResult, wrong: Option<&str>, end: Duration) {
        let tally = &result.tally;
        self.bytes_read += tally.bytes_read;
        self.bytes_stored += tally.bytes_stored;
        self.replies += u64::from(tally.replies);
        self.unreachable += u64::from(tally.unreachable);
        self.resets += u64::from(tally.resets);
        self.timeouts += u64::from(tally.timeouts);
        self.again += u64::from(tally.again);
        self.waits += u64::from(tally.waits);
        self.unasked += u64::from(tally.unasked);
        match wrong {
            None if result.is_good => {}
            None => return self.fail(words(result.ending)),
            Some(wrong) => return self.fail(wrong.to_owned()),
        }
        self.files_good += 1;
        self.file_us.saturating_record(result.took.as_micros() as u64);
        let column = (end.as_micros() / COLUMN.as_micros()) as usize;
        if column >= self.timeline.len() {
            self.timeline.resize(column + 1, 0);
        }
        self.timeline[column] += 1;
    }

    /// A file failed.
    pub(crate) fn fail(&mut self, why: String) {
        self.files_failed += 1;
        *self.failures.entry(why).or_default() += 1;
    }

    /// A session is over.
    pub(crate) fn session(&mut self, took: Duration, is_good: bool) {
        if is_good {
            self.sessions_good += 1;
            self.session_us.saturating_record(took.as_micros() as u64);
        } else {
            self.sessions_failed += 1;
        }
    }
}

/// Words that differ in numbers alone are the same: those of a thousand phones.
fn same_words(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match (letter.is_ascii_digit(), letter.is_control(), out.ends_with('#')) {
            (true, _, true) => {}
            (true, _, false) => out.push('#'),
            (false, true, _) => out.push(' '),
            (false, false, _) => out.push(letter),
        }
    }
    out
}

fn lost(what: &str, loss: Loss) -> String {
    let how = match loss {
        Loss::Closed => "closed",
        Loss::Reset => "reset",
        Loss::Unreachable => "not reached",
        Loss::Unsecured => "not secured",
    };
    format!("{what}{how}")
}

/// An ending in words.
fn words(ending: Ending) -> String {
    match ending {
        Ending::Done => "done".to_owned(),
        Ending::Refused(code) => format!("refused ({})", code.0),
        Ending::Lost(loss) => lost("", loss),
        Ending::DataLost(loss) => lost("data connection ", loss),
        Ending::TimedOut => "timed out".to_owned(),
        Ending::Fault(fault) => fault.words().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_that_differ_in_numbers_alone_are_counted_together_and_kinds_have_a_limit() {
        let mut tally = FtpTally::new("", Role::Load);
        let mut refuse = |text: &str| {
            let code = wire::ftp::reply::Code(550);
            tally.refused(&Refusal { code, text: text.as_bytes().into() });
        };
        refuse("127.0.0.9 is 2001's, not 2002's");
        refuse("127.0.1.12 is 31's, not 2003's");
        let letters = 'a'..='z';
        for (one, other) in letters.clone().flat_map(|one| letters.clone().map(move |it| (one, it)))
        {
            refuse(&format!("{one}{other}"));
        }
        assert_eq!(tally.refusals.get("550 #.#.#.# is #'s, not #'s"), Some(&2));
        assert_eq!(tally.refusals.len(), WORDS_MAX + 1);
        assert_eq!(tally.refusals.values().sum::<u64>(), 2 + 26 * 26);
    }
}
