//! What happened, in numbers: counts, times and reasons of each group of phones.
//!
//! Counts only; how it is shown is for `report.rs` and `page.rs`.

use std::collections::BTreeMap;
use std::ops::Index;
use std::time::Duration;

use hdrhistogram::Histogram;
use rustls::HandshakeKind;

use super::back::Back;
use crate::vault::Acknowledgement;

/// Longest time that is measured: an hour, in microseconds.
const TIME_MAX_US: u64 = 3_600_000_000;
/// Width of a column of the time line.
pub(crate) const COLUMN: Duration = Duration::from_millis(100);

/// What a group is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Role {
    /// Phones that want their files.
    Load,
    /// Connections that stay open and idle.
    Idle,
    /// Connections that are slow.
    Slow,
}

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Count {
    /// Phones that came back, or sessions in which all went well.
    PhonesGood,
    /// Phones that did not.
    PhonesFailed,
    /// Files that ended as they had to.
    FilesGood,
    /// Files that did not.
    FilesFailed,
    /// Those of the good ones where nothing was stored.
    NothingStored,
    /// Those of the good ones that the server had to refuse.
    RightlyRefused,
    /// Bytes of files read, or payload over TFTP.
    Bytes,
    /// Bytes of files stored over FTP.
    BytesStored,
    /// Blocks, each counted once.
    Blocks,
    /// Timers of phones that ran out over TFTP.
    Retries,
    /// Blocks that came again.
    Duplicates,
    /// Datagrams that belonged to no transfer.
    Strays,
    /// Answers, or replies, read to their end.
    Answers,
    /// Connections begun; over FTP those for commands.
    Connects,
    /// Connections for data begun, or waited for.
    DataConnects,
    /// Connections that were not taken.
    Unreachable,
    /// Connections that the server reset.
    Resets,
    /// Silences longer than the phones bear.
    Timeouts,
    /// Kept connections that were found closed, and opened again.
    Reopened,
    /// Times that a file was begun again because a connection was lost.
    Again,
    /// Times that a phone was told to come back later, and did.
    Waits,
    /// Bytes or replies without a request.
    Unasked,
    /// Full handshakes.
    Full,
    /// Resumed ones.
    Resumed,
    /// Full handshakes of connections for data.
    DataFull,
    /// Resumed ones.
    DataResumed,
    /// Idle sessions that the server ended.
    Ended,
    /// Slow and idle connections that were there at their time's end.
    Stayed,
}

/// How many there are.
const COUNTS: usize = Count::Stayed as usize + 1;

/// What takes time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Time {
    /// From a file's request to its end.
    File,
    /// From power to the last file's end, or the last connection's.
    Boot,
    /// Until a connection was taken.
    Connect,
    /// The same of one for data.
    DataConnect,
    /// From there until it was secured.
    Handshake,
    /// That slow and idle connections lived until the server ended them.
    Lived,
}

/// How many there are.
const TIMES: usize = Time::Lived as usize + 1;

/// Words that are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// Why files failed.
    Failures,
    /// What the server refused.
    Refusals,
    /// How the server ended slow and idle connections.
    Endings,
}

/// How many there are.
const REASONS: usize = Reason::Endings as usize + 1;

/// What happened to one group.
#[derive(Clone)]
pub(crate) struct GroupTally {
    /// Its name.
    pub(crate) label: String,
    /// What it is there for.
    pub(crate) role: Role,
    counts: [u64; COUNTS],
    /// In microseconds.
    times: [Histogram<u64>; TIMES],
    reasons: [BTreeMap<String, u64>; REASONS],
    /// Files that ended well, by [`COLUMN`].
    pub(crate) timeline: Vec<u32>,
    /// Phones back over time.
    pub(crate) back: Back,
}

/// What happened in a run.
pub(crate) struct Run {
    /// By group.
    pub(crate) groups: Vec<GroupTally>,
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

/// Times up to an hour with three digits; what is beyond counts as an hour.
pub(crate) fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, TIME_MAX_US, 3).unwrap_or_else(|_| unreachable!("3 digits fit"))
}

fn record(histogram: &mut Histogram<u64>, time: Duration) {
    histogram.saturating_record(time.as_micros() as u64);
}

impl Run {
    /// Nothing yet.
    pub(crate) fn new(groups: impl IntoIterator<Item = (String, Role)>) -> Run {
        let groups = groups.into_iter().map(|(label, role)| GroupTally::new(label, role));
        Run {
            groups: groups.collect(),
            busy: Duration::ZERO,
            wall: Duration::ZERO,
            lag_us: histogram(),
            acknowledged: Vec::new(),
            trouble: None,
        }
    }

    /// Adds what happened in another thread.
    pub(crate) fn add(&mut self, other: Run) {
        for (own, other) in self.groups.iter_mut().zip(other.groups) {
            own.merge(other);
        }
        self.busy = self.busy.max(other.busy);
        self.wall = self.wall.max(other.wall);
        // All have the same bounds.
        let _ = self.lag_us.add(&other.lag_us);
        self.acknowledged.extend(other.acknowledged);
        self.trouble = self.trouble.take().or(other.trouble);
    }

    /// The tool did something this much later than it meant to.
    pub(crate) fn lag(&mut self, late: Duration) {
        record(&mut self.lag_us, late);
    }

    /// How often that happened in all groups.
    pub(crate) fn all(&self, count: Count) -> u64 {
        self.groups.iter().map(|group| group[count]).sum()
    }

    /// The same in those that are there for the load.
    pub(crate) fn load(&self, count: Count) -> u64 {
        let load = self.groups.iter().filter(|group| group.role == Role::Load);
        load.map(|group| group[count]).sum()
    }

    /// Phones back over time in the groups that are there for the load.
    pub(crate) fn back(&self) -> Back {
        let mut all = Back::default();
        let load = self.groups.iter().filter(|group| group.role == Role::Load);
        load.for_each(|group| all.merge(&group.back));
        all
    }

    /// How often phones of those groups had to say something again.
    pub(crate) fn resends(&self) -> u64 {
        let load = self.groups.iter().filter(|group| group.role == Role::Load);
        load.map(GroupTally::resends).sum()
    }

    /// Whether anything failed that was to succeed.
    pub(crate) fn has_failures(&self) -> bool {
        let bad = [Count::FilesFailed, Count::PhonesFailed, Count::Unasked];
        let mut groups = self.groups.iter().filter(|group| group.role != Role::Slow);
        groups.any(|group| bad.iter().any(|count| group[*count] > 0))
    }
}

impl GroupTally {
    /// Nothing yet.
    pub(crate) fn new(label: String, role: Role) -> GroupTally {
        GroupTally {
            label,
            role,
            counts: [0; COUNTS],
            times: std::array::from_fn(|_| histogram()),
            reasons: Default::default(),
            timeline: Vec::new(),
            back: Back::default(),
        }
    }

    fn merge(&mut self, other: GroupTally) {
        for (own, other) in self.counts.iter_mut().zip(other.counts) {
            *own += other;
        }
        for (own, other) in self.times.iter_mut().zip(&other.times) {
            let _ = own.add(other);
        }
        for (own, other) in self.reasons.iter_mut().zip(other.reasons) {
            for (why, count) in other {
                *own.entry(why).or_default() += count;
            }
        }
        let columns = self.timeline.len().max(other.timeline.len());
        self.timeline.resize(columns, 0);
        for (own, other) in self.timeline.iter_mut().zip(other.timeline) {
            *own += other;
        }
        self.back.merge(&other.back);
    }

    /// That happened so often.
    pub(crate) fn add(&mut self, count: Count, times: impl Into<u64>) {
        self.counts[count as usize] += times.into();
    }

    /// That took so long.
    pub(crate) fn took(&mut self, time: Time, took: Duration) {
        record(&mut self.times[time as usize], took);
    }

    /// It was for that.
    pub(crate) fn because(&mut self, reason: Reason, words: String) {
        *self.reasons[reason as usize].entry(words).or_default() += 1;
    }

    /// A file ended well, `end` after the phones might begin.
    pub(crate) fn file(&mut self, took: Duration, end: Duration) {
        self.add(Count::FilesGood, 1_u64);
        self.took(Time::File, took);
        let column = (end.as_micros() / COLUMN.as_micros()) as usize;
        if column >= self.timeline.len() {
            self.timeline.resize(column + 1, 0);
        }
        self.timeline[column] += 1;
    }

    /// A file failed.
    pub(crate) fn fail(&mut self, why: String) {
        self.add(Count::FilesFailed, 1_u64);
        self.because(Reason::Failures, why);
    }

    /// A phone is through, `end` after the phones might begin.
    pub(crate) fn phone(&mut self, took: Duration, end: Duration, is_good: bool) {
        match is_good {
            true => {
                self.add(Count::PhonesGood, 1_u64);
                self.took(Time::Boot, took);
                self.back.came(end, took);
            }
            false => self.lose_phone(),
        }
    }

    /// A phone did not come back.
    pub(crate) fn lose_phone(&mut self) {
        self.add(Count::PhonesFailed, 1_u64);
        self.back.lose();
    }

    /// How often its phones had to say something again.
    pub(crate) fn resends(&self) -> u64 {
        let again = [Count::Retries, Count::Again, Count::Waits, Count::Reopened];
        again.iter().map(|count| self[*count]).sum()
    }

    /// A connection was secured.
    pub(crate) fn secured(&mut self, kind: HandshakeKind, (full, resumed): (Count, Count)) {
        match kind {
            HandshakeKind::Resumed => self.add(resumed, 1_u64),
            HandshakeKind::Full | HandshakeKind::FullWithHelloRetryRequest => {
                self.add(full, 1_u64);
            }
        }
    }
}

impl Index<Count> for GroupTally {
    type Output = u64;

    fn index(&self, count: Count) -> &u64 {
        &self.counts[count as usize]
    }
}

impl Index<Time> for GroupTally {
    type Output = Histogram<u64>;

    fn index(&self, time: Time) -> &Histogram<u64> {
        &self.times[time as usize]
    }
}

impl Index<Reason> for GroupTally {
    type Output = BTreeMap<String, u64>;

    fn index(&self, reason: Reason) -> &BTreeMap<String, u64> {
        &self.reasons[reason as usize]
    }
}
