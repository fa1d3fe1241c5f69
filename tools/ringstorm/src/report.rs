//! The summary: a table for people, JSON for scripts.
//!
//! Shows what `tally.rs` counted and adds nothing to it.

use std::fmt::Write as _;

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::clock::Usage;
use crate::tally::{GroupTally, Run};

/// Times in milliseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Times {
    /// Half of all were at most this.
    pub p50_ms: f64,
    /// Nine in ten.
    pub p90_ms: f64,
    /// All but one in a hundred.
    pub p99_ms: f64,
    /// All.
    pub(crate) max_ms: f64,
}

/// One group.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct GroupReport {
    /// Its name.
    pub(crate) label: String,
    /// Phones that came back.
    pub(crate) phones_good: u64,
    /// Phones that did not.
    pub(crate) phones_failed: u64,
    /// Files that ended well.
    pub(crate) files_good: u64,
    /// Files that did not.
    pub(crate) files_failed: u64,
    /// Payload bytes.
    pub(crate) bytes: u64,
    /// Blocks, each counted once.
    pub(crate) blocks: u64,
    /// Timers of phones that ran out.
    pub(crate) retries: u64,
    /// Blocks that came again.
    pub(crate) duplicates: u64,
    /// From a file's request to its end.
    pub(crate) file: Times,
    /// From power to the last file's end.
    pub(crate) boot: Times,
    /// Files that failed, by reason.
    pub(crate) failures: Vec<(String, u64)>,
}

/// CPU time and memory of one side.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Cost {
    /// CPU time in seconds.
    pub(crate) cpu_seconds: f64,
    /// The same for each block, in microseconds.
    pub(crate) us_per_block: f64,
    /// Most memory resident, in KiB.
    pub(crate) peak_kib: u64,
}

/// The whole run.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Report {
    /// Whether nothing failed.
    pub(crate) is_good: bool,
    /// Until the last phone was through, in seconds.
    pub(crate) seconds: f64,
    /// Until the run ended, in seconds.
    pub(crate) wall_seconds: f64,
    /// Blocks a second.
    pub(crate) blocks_per_second: f64,
    /// MiB of payload a second.
    pub(crate) mib_per_second: f64,
    /// Datagrams that the tool received.
    pub(crate) datagrams_received: u64,
    /// Datagrams that the tool sent.
    pub(crate) datagrams_sent: u64,
    /// Datagrams dropped on purpose on arrival.
    pub(crate) dropped_in: u64,
    /// Datagrams dropped on purpose instead of being sent.
    pub(crate) dropped_out: u64,
    /// Datagrams that the kernel dropped on this side.
    pub(crate) kernel_drops: u64,
    /// How late the tool itself was.
    pub(crate) lag: Times,
    /// What the tool cost.
    pub(crate) tool: Cost,
    /// What the server cost, if its process is known.
    pub(crate) server: Option<Cost>,
    /// Garbage sent, and what came back.
    pub(crate) junk: (u64, u64),
    /// Forged requests, all that came back for them, and the most for one.
    pub(crate) forged: (usize, u64, u16),
    /// By group.
    pub(crate) groups: Vec<GroupReport>,
}

/// The times of a histogram of microseconds.
pub(crate) fn times(histogram: &Histogram<u64>) -> Times {
    let at = |share| histogram.value_at_quantile(share) as f64 / 1_000.0;
    Times { p50_ms: at(0.5), p90_ms: at(0.9), p99_ms: at(0.99), max_ms: at(1.0) }
}

fn cost(usage: Usage, blocks: u64) -> Cost {
    let us_per_block = if blocks == 0 { 0.0 } else { usage.cpu_seconds * 1e6 / blocks as f64 };
    Cost { cpu_seconds: usage.cpu_seconds, us_per_block, peak_kib: usage.peak_kib }
}

impl Report {
    /// The report of a run and of what it cost.
    pub(crate) fn new(run: &Run, tool: Usage, server: Option<Usage>) -> Report {
        let blocks = run.blocks();
        let bytes: u64 = run.groups.iter().map(|group| group.bytes).sum();
        let seconds = run.last_end.as_secs_f64().max(1e-6);
        let answers = run.forged.iter().map(|count| u64::from(*count)).sum();
        Report {
            is_good: !run.has_failures(),
            seconds,
            wall_seconds: run.wall.as_secs_f64(),
            blocks_per_second: blocks as f64 / seconds,
            mib_per_second: bytes as f64 / seconds / f64::from(1 << 20),
            datagrams_received: run.received,
            datagrams_sent: run.sent,
            dropped_in: run.lost_in,
            dropped_out: run.lost_out,
            kernel_drops: run.kernel_drops,
            lag: times(&run.lag_us),
            tool: cost(tool, blocks),
            server: server.map(|usage| cost(usage, blocks)),
            junk: (run.junk_sent, run.junk_answers),
            forged: (run.forged.len(), answers, run.forged.iter().copied().max().unwrap_or(0)),
            groups: run.groups.iter().map(GroupReport::new).collect(),
        }
    }

    /// The report for people.
    pub(crate) fn text(&self) -> String {
        let mut out = String::new();
        for group in &self.groups {
            group.write(&mut out);
        }
        let rate = (self.blocks_per_second, self.mib_per_second);
        line(
            &mut out,
            "all",
            format!("{:.2} s, {:.0} blocks/s, {:.1} MiB/s", self.seconds, rate.0, rate.1),
        );
        let datagrams = (self.datagrams_received, self.datagrams_sent);
        line(&mut out, "datagrams", format!("{} received, {} sent", datagrams.0, datagrams.1));
        if self.dropped_in + self.dropped_out > 0 {
            let dropped = format!("{} in, {} out", self.dropped_in, self.dropped_out);
            line(&mut out, "dropped on purpose", dropped);
        }
        let drops = match self.kernel_drops {
            0 => "0".to_owned(),
            drops => format!("{drops}: the figures above are the tool's fault, not the server's"),
        };
        line(&mut out, "kernel drops here", drops);
        if self.junk.0 > 0 {
            line(&mut out, "junk", format!("{} sent, {} came back", self.junk.0, self.junk.1));
        }
        if self.forged.0 > 0 {
            let (requests, answers, most) = self.forged;
            let text = format!("{requests} requests, {answers} sends, at most {most} for one");
            line(&mut out, "forged", text);
        }
        line(&mut out, "tool late by", self.lag.text());
        line(&mut out, "tool cost", self.tool.text());
        if let Some(server) = &self.server {
            line(&mut out, "server cost", server.text());
        }
        out
    }
}

impl GroupReport {
    fn new(tally: &GroupTally) -> GroupReport {
        let failures = tally.failures.iter().map(|(why, count)| (why.words(), *count)).collect();
        GroupReport {
            label: tally.label.clone(),
            phones_good: tally.phones_good,
            phones_failed: tally.phones_failed,
            files_good: tally.files_good,
            files_failed: tally.files_failed,
            bytes: tally.bytes,
            blocks: tally.blocks,
            retries: tally.retries,
            duplicates: tally.duplicates,
            file: times(&tally.file_us),
            boot: times(&tally.boot_us),
            failures,
        }
    }

    fn write(&self, out: &mut String) {
        let _ = writeln!(out, "{}", self.label);
        let phones = format!("{} served, {} failed", self.phones_good, self.phones_failed);
        line(out, "phones", phones);
        let mut files = format!("{} served, {} failed", self.files_good, self.files_failed);
        for (why, count) in &self.failures {
            let _ = write!(files, ", {count} {why}");
        }
        line(out, "files", files);
        line(out, "file time", self.file.text());
        line(out, "boot time", self.boot.text());
        let repairs = format!("{} retries, {} blocks twice", self.retries, self.duplicates);
        line(out, "repairs", repairs);
    }
}

impl Times {
    /// In words.
    pub(crate) fn text(&self) -> String {
        let Times { p50_ms, p90_ms, p99_ms, max_ms } = self;
        format!("p50 {p50_ms:.1}  p90 {p90_ms:.1}  p99 {p99_ms:.1}  max {max_ms:.1} ms")
    }
}

impl Cost {
    fn text(&self) -> String {
        let Cost { cpu_seconds, us_per_block, peak_kib } = self;
        let mib = *peak_kib as f64 / 1024.0;
        format!("{cpu_seconds:.2} s CPU, {us_per_block:.2} us a block, {mib:.1} MiB at most")
    }
}

/// One line of a report for people.
pub(crate) fn line(out: &mut String, name: &str, text: String) {
    let _ = writeln!(out, "  {name:<19}{text}");
}
