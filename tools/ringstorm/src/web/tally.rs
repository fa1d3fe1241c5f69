//! What happened over HTTP, in numbers.
//!
//! Counts only; how it is shown is for `report.rs`.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;
use phones::phone::http::{Ending, FileResult, Loss};
use rustls::HandshakeKind;

use super::plan::Role;
use super::vault::Acknowledgement;
use crate::tally::{COLUMN, histogram};

/// What happened to one group.
#[derive(Clone)]
pub(crate) struct GroupTally {
    /// Its name.
    pub(crate) label: String,
    /// What it is there for.
    pub(crate) role: Role,
    /// Phones that came back.
    pub(crate) phones_good: u64,
    /// Phones that did not.
    pub(crate) phones_failed: u64,
    /// Files that ended well.
    pub(crate) files_good: u64,
    /// Files that did not.
    pub(crate) files_failed: u64,
    /// Answers read to their end.
    pub(crate) answers: u64,
    /// Bytes of files read.
    pub(crate) bytes: u64,
    /// Connections begun.
    pub(crate) connects: u64,
    /// Connections that were not taken.
    pub(crate) unreachable: u64,
    /// Connections that the server reset.
    pub(crate) resets: u64,
    /// Silences longer than the phones bear.
    pub(crate) timeouts: u64,
    /// Kept connections that were found closed, and opened again.
    pub(crate) reopened: u64,
    /// Times that a phone was told to come back later, and did.
    pub(crate) waits: u64,
    /// Bytes on kept connections that nobody had asked for.
    pub(crate) unasked: u64,
    /// Full handshakes.
    pub(crate) full: u64,
    /// Resumed ones.
    pub(crate) resumed: u64,
    /// Microseconds from a file's request to its end.
    pub(crate) file_us: Histogram<u64>,
    /// Microseconds from power to the last file's end.
    pub(crate) boot_us: Histogram<u64>,
    /// Microseconds until a connection was taken.
    pub(crate) connect_us: Histogram<u64>,
    /// Microseconds from there until it was secured.
    pub(crate) handshake_us: Histogram<u64>,
    /// Microseconds that slow and idle connections lived until the server ended them.
    pub(crate) ended_us: Histogram<u64>,
    /// How the server ended them.
    pub(crate) endings: BTreeMap<String, u64>,
    /// Slow and idle connections that were there at their time's end.
    pub(crate) stayed: u64,
    /// Files that failed, by reason.
    pub(crate) failures: BTreeMap<String, u64>,
    /// Files that ended well, by [`COLUMN`].
    pub(crate) timeline: Vec<u32>,
}

/// What happened in a run, or in a thread of it.
pub(crate) struct WebRun {
    /// By group.
    pub(crate) groups: Vec<GroupTally>,
    /// From the moment when the phones might begin to the last one's end.
    pub(crate) busy: Duration,
    /// How long all of it took.
    pub(crate) wall: Duration,
    /// Microseconds by which the tool was late.
    pub(crate) lag_us: Histogram<u64>,
    /// What the vault acknowledged.
    pub(crate) acknowledged: Vec<Acknowledgement>,
    /// The first connection that went wrong, in the system's words.
    pub(crate) trouble: Option<String>,
}

impl WebRun {
    /// Nothing yet.
    pub(crate) fn new(groups: Vec<GroupTally>) -> WebRun {
        WebRun {
            groups,
            busy: Duration::ZERO,
            wall: Duration::ZERO,
            lag_us: histogram(),
            acknowledged: Vec::new(),
            trouble: None,
        }
    }

    /// Adds what happened in another thread.
    pub(crate) fn add(&mut self, other: WebRun) {
        for (own, other) in self.groups.iter_mut().zip(&other.groups) {
            own.add(other);
        }
        self.busy = self.busy.max(other.busy);
        self.wall = self.wall.max(other.wall);
        add(&mut self.lag_us, &other.lag_us);
        self.acknowledged.extend(other.acknowledged);
        self.trouble = self.trouble.take().or(other.trouble);
    }

    /// Whether anything failed that was to succeed.
    pub(crate) fn has_failures(&self) -> bool {
        let is_bad = |group: &GroupTally| match group.role {
            Role::Load | Role::Idle => group.files_failed + group.phones_failed + group.unasked > 0,
            Role::Slow => false,
        };
        self.groups.iter().any(is_bad)
    }
}

fn add(own: &mut Histogram<u64>, other: &Histogram<u64>) {
    // All have the same bounds.
    let _ = own.add(other);
}

impl GroupTally {
    /// Nothing yet.
    pub(crate) fn new(label: &str, role: Role) -> GroupTally {
        GroupTally {
            label: label.to_owned(),
            role,
            phones_good: 0,
            phones_failed: 0,
            files_good: 0,
            files_failed: 0,
            answers: 0,
            bytes: 0,
            connects: 0,
            unreachable: 0,
            resets: 0,
            timeouts: 0,
            reopened: 0,
            waits: 0,
            unasked: 0,
            full: 0,
            resumed: 0,
            file_us: histogram(),
            boot_us: histogram(),
            connect_us: histogram(),
            handshake_us: histogram(),
            ended_us: histogram(),
            endings: BTreeMap::new(),
            stayed: 0,
            failures: BTreeMap::new(),
            timeline: Vec::new(),
        }
    }

    fn add(&mut self, other: &GroupTally) {
        self.phones_good += other.phones_good;
        self.phones_failed += other.phones_failed;
        self.files_good += other.files_good;
        self.files_failed += other.files_failed;
        self.answers += other.answers;
        self.bytes += other.bytes;
        self.connects += other.connects;
        self.unreachable += other.unreachable;
        self.resets += other.resets;
        self.timeouts += other.timeouts;
        self.reopened += other.reopened;
        self.waits += other.waits;
        self.unasked += other.unasked;
        self.full += other.full;
        self.resumed += other.resumed;
        self.stayed += other.stayed;
        add(&mut self.file_us, &other.file_us);
        add(&mut self.boot_us, &other.boot_us);
        add(&mut self.connect_us, &other.connect_us);
        add(&mut self.handshake_us, &other.handshake_us);
        add(&mut self.ended_us, &other.ended_us);
        for (own, other) in
            [(&mut self.endings, &other.endings), (&mut self.failures, &other.failures)]
        {
            for (why, count) in other {
                *own.entry(why.clone()).or_default() += count;
            }
        }
        if self.timeline.len() < other.timeline.len() {
            self.timeline.resize(other.timeline.len(), 0);
        }
        for (own, other) in self.timeline.iter_mut().zip(&other.timeline) {
            *own += other;
        }
    }

    /// What a phone counted while it dealt with a file.
    pub(crate) fn count(&mut self, result: &FileResult) {
        let tally = &result.tally;
        self.answers += u64::from(tally.answers);
        self.bytes += tally.bytes;
        self.connects += u64::from(tally.connects);
        self.unreachable += u64::from(tally.unreachable);
        self.resets += u64::from(tally.resets);
        self.timeouts += u64::from(tally.timeouts);
        self.reopened += u64::from(tally.reopened);
        self.waits += u64::from(tally.waits);
        self.unasked += u64::from(tally.unasked);
    }

    /// A file ended; `wrong` says what is wrong with what came.
    pub(crate) fn file(&mut self, result: &FileResult, wrong: Option<&str>, end: Duration) {
        self.count(result);
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

    /// A phone is through.
    pub(crate) fn phone(&mut self, took: Duration, is_good: bool) {
        if is_good {
            self.phones_good += 1;
            self.boot_us.saturating_record(took.as_micros() as u64);
        } else {
            self.phones_failed += 1;
        }
    }

    /// The server ended a slow or an idle connection that lived this long.
    pub(crate) fn ended(&mut self, ending: Ending, lived: Duration) {
        self.ended_us.saturating_record(lived.as_micros() as u64);
        *self.endings.entry(words(ending)).or_default() += 1;
    }

    /// A connection was secured.
    pub(crate) fn secured(&mut self, kind: HandshakeKind, took: Duration) {
        match kind {
            HandshakeKind::Resumed => self.resumed += 1,
            HandshakeKind::Full | HandshakeKind::FullWithHelloRetryRequest => self.full += 1,
        }
        self.handshake_us.saturating_record(took.as_micros() as u64);
    }
}

/// An ending in words.
fn words(ending: Ending) -> String {
    match ending {
        Ending::Done => "done".to_owned(),
        Ending::Unchanged => "unchanged".to_owned(),
        Ending::Left => "left".to_owned(),
        Ending::Refused(status) => format!("status {status}"),
        Ending::Lost(Loss::Closed) => "closed".to_owned(),
        Ending::Lost(Loss::Reset) => "reset".to_owned(),
        Ending::Lost(Loss::Unreachable) => "not reached".to_owned(),
        Ending::Lost(Loss::Unsecured) => "not secured".to_owned(),
        Ending::ConnectTimedOut => "connect timed out".to_owned(),
        Ending::TimedOut => "timed out".to_owned(),
        Ending::Fault(fault) => fault.words().to_owned(),
    }
}
