//! What happened, in numbers.
//!
//! Counts only; how it is shown is for `report.rs` and `page.rs`.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;
use phones::phone::boot::FileResult;
use phones::phone::tftp::{Ending, Fault};

/// Longest time that is told apart: an hour, in microseconds.
const TIME_MAX_US: u64 = 3_600_000_000;
/// Width of a column of the time line.
pub(crate) const COLUMN: Duration = Duration::from_millis(100);

/// Why a phone did not get, or could not store, a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Failure {
    /// The server fell silent.
    TimedOut,
    /// The server said ERROR with this code.
    Refused(u16),
    /// The server broke a rule.
    Fault(&'static str),
    /// The bytes are not those of the file.
    WrongBytes,
    /// It was not through when the run was given up.
    Unfinished,
    /// There was no free port to ask from: more `--addresses` or `--ports` are needed.
    NoPlace,
}

impl Failure {
    /// In words.
    pub(crate) fn words(self) -> String {
        match self {
            Failure::TimedOut => "timed out".to_owned(),
            Failure::Refused(code) => format!("ERROR {code}"),
            Failure::Fault(rule) => rule.to_owned(),
            Failure::WrongBytes => "wrong bytes".to_owned(),
            Failure::Unfinished => "unfinished".to_owned(),
            Failure::NoPlace => "no free port of the tool".to_owned(),
        }
    }
}

/// What happened to one group.
pub(crate) struct GroupTally {
    /// Its name.
    pub(crate) label: String,
    /// Files that ended well.
    pub(crate) files_good: u64,
    /// Files that did not.
    pub(crate) files_failed: u64,
    /// Phones that came back.
    pub(crate) phones_good: u64,
    /// Phones that did not.
    pub(crate) phones_failed: u64,
    /// Payload bytes.
    pub(crate) bytes: u64,
    /// Blocks, each counted once.
    pub(crate) blocks: u64,
    /// Timers of phones that ran out.
    pub(crate) retries: u64,
    /// Blocks that came again.
    pub(crate) duplicates: u64,
    /// Datagrams that belonged to no transfer.
    pub(crate) strays: u64,
    /// Microseconds from a file's request to its end.
    pub(crate) file_us: Histogram<u64>,
    /// Microseconds from power to the last file's end.
    pub(crate) boot_us: Histogram<u64>,
    /// Files that failed, by reason.
    pub(crate) failures: BTreeMap<Failure, u64>,
    /// Files that ended well, by [`COLUMN`].
    pub(crate) timeline: Vec<u32>,
}

/// What happened in a run.
pub(crate) struct Run {
    /// By group.
    pub(crate) groups: Vec<GroupTally>,
    /// How long it took.
    pub(crate) wall: Duration,
    /// When the last phone was through.
    pub(crate) last_end: Duration,
    /// Datagrams received.
    pub(crate) received: u64,
    /// Datagrams sent.
    pub(crate) sent: u64,
    /// Datagrams dropped on purpose on arrival.
    pub(crate) lost_in: u64,
    /// Datagrams dropped on purpose instead of being sent.
    pub(crate) lost_out: u64,
    /// Datagrams that the kernel dropped on this side.
    pub(crate) kernel_drops: u64,
    /// Datagrams of garbage sent.
    pub(crate) junk_sent: u64,
    /// Datagrams that came to nobody: answers to garbage, and late ones.
    pub(crate) junk_answers: u64,
    /// For each forged request what came back.
    pub(crate) forged: Vec<u16>,
    /// Microseconds by which the tool was late.
    pub(crate) lag_us: Histogram<u64>,
}

/// Times up to an hour with three digits; what is beyond counts as an hour.
pub(crate) fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, TIME_MAX_US, 3).unwrap_or_else(|_| unreachable!("3 digits fit"))
}

impl Run {
    /// Nothing yet.
    pub(crate) fn new(labels: Vec<String>) -> Run {
        Run {
            groups: labels.into_iter().map(GroupTally::new).collect(),
            wall: Duration::ZERO,
            last_end: Duration::ZERO,
            received: 0,
            sent: 0,
            lost_in: 0,
            lost_out: 0,
            kernel_drops: 0,
            junk_sent: 0,
            junk_answers: 0,
            forged: Vec::new(),
            lag_us: histogram(),
        }
    }

    /// The tool did something this much later than it meant to.
    pub(crate) fn lag(&mut self, late: Duration) {
        self.lag_us.saturating_record(late.as_micros() as u64);
    }

    /// Whether anything failed.
    pub(crate) fn has_failures(&self) -> bool {
        self.groups.iter().any(|group| group.files_failed + group.phones_failed > 0)
    }

    /// Blocks of all groups.
    pub(crate) fn blocks(&self) -> u64 {
        self.groups.iter().map(|group| group.blocks).sum()
    }

    /// Phones of all groups that did not come back.
    pub(crate) fn phones_failed(&self) -> u64 {
        self.groups.iter().map(|group| group.phones_failed).sum()
    }

    /// Phones of all groups that are through, well or not.
    pub(crate) fn phones_done(&self) -> u64 {
        self.groups.iter().map(|group| group.phones_good + group.phones_failed).sum()
    }
}

impl GroupTally {
    fn new(label: String) -> GroupTally {
        GroupTally {
            label,
            files_good: 0,
            files_failed: 0,
            phones_good: 0,
            phones_failed: 0,
            bytes: 0,
            blocks: 0,
            retries: 0,
            duplicates: 0,
            strays: 0,
            file_us: histogram(),
            boot_us: histogram(),
            failures: BTreeMap::new(),
            timeline: Vec::new(),
        }
    }

    /// A file ended.
    pub(crate) fn file(&mut self, result: &FileResult, is_right: bool) {
        self.retries += u64::from(result.tally.retries);
        self.duplicates += u64::from(result.tally.duplicates);
        self.strays += u64::from(result.tally.strays);
        if !result.is_good || !is_right {
            let failure = if result.is_good { Failure::WrongBytes } else { why(result.ending) };
            return self.fail(failure);
        }
        self.files_good += 1;
        self.bytes += result.tally.bytes;
        self.file_us.saturating_record(result.took.as_micros() as u64);
        let end = Duration::from_micros(result.began.as_micros()) + result.took;
        let column = (end.as_micros() / COLUMN.as_micros()) as usize;
        if column >= self.timeline.len() {
            self.timeline.resize(column + 1, 0);
        }
        self.timeline[column] += 1;
    }

    /// A file failed.
    pub(crate) fn fail(&mut self, failure: Failure) {
        self.files_failed += 1;
        *self.failures.entry(failure).or_default() += 1;
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
}

fn why(ending: Ending) -> Failure {
    match ending {
        Ending::TimedOut => Failure::TimedOut,
        Ending::Refused(code) => Failure::Refused(code.0),
        Ending::Fault(Fault::Oversized) => Failure::Fault("payload beyond the block size"),
        Ending::Fault(Fault::OptionNotAsked) => Failure::Fault("option that was not asked for"),
        Ending::Fault(Fault::OptionAckTail) => Failure::Fault("bytes behind the OACK"),
        Ending::Fault(Fault::SizeDiffers) => Failure::Fault("size told and sent differ"),
        Ending::Done | Ending::Left | Ending::Probed => Failure::Unfinished,
    }
}
