//! The summary of a run over HTTP: a table for people, JSON for scripts.
//!
//! Shows what `tally.rs` counted and adds nothing to it.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Serialize;

use super::plan::Role;
use super::tally::{GroupTally, WebRun};
use super::vault::Acknowledgement;
use crate::clock::Usage;
use crate::report::{Times, line, times};

/// A tool as busy as this is itself what limits the figures.
const BUSY_MAX: f64 = 0.9;

/// One group.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct GroupReport {
    /// Its name.
    pub(crate) label: String,
    /// What it is there for.
    pub(crate) role: Role,
    pub(crate) phones_good: u64,
    pub(crate) phones_failed: u64,
    pub(crate) files_good: u64,
    pub(crate) files_failed: u64,
    /// Files that failed, by reason.
    pub(crate) failures: BTreeMap<String, u64>,
    pub(crate) answers: u64,
    /// Bytes of files read.
    pub(crate) bytes: u64,
    pub(crate) connects: u64,
    pub(crate) unreachable: u64,
    pub(crate) resets: u64,
    pub(crate) timeouts: u64,
    pub(crate) reopened: u64,
    /// Times that a phone was told to come back later, and did.
    pub(crate) waits: u64,
    pub(crate) unasked: u64,
    pub(crate) handshakes_full: u64,
    pub(crate) handshakes_resumed: u64,
    /// From a file's request to its end.
    pub(crate) file: Times,
    /// From power to the last file's end.
    pub(crate) boot: Times,
    pub(crate) connect: Times,
    pub(crate) handshake: Times,
    /// How the server ended slow and idle connections, and when.
    pub(crate) ended: BTreeMap<String, u64>,
    pub(crate) ended_after: Times,
    /// Slow and idle connections that were there at their time's end.
    pub(crate) stayed: u64,
}

/// CPU time and memory of one side.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Cost {
    pub(crate) cpu_seconds: f64,
    pub(crate) us_per_answer: f64,
    /// Most memory resident, in KiB.
    pub(crate) peak_kib: u64,
}

/// The whole run.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct WebReport {
    /// Whether nothing failed.
    pub(crate) is_good: bool,
    /// From the moment when the phones might begin to the last one's end, in seconds.
    pub(crate) seconds: f64,
    /// Until the run ended, in seconds.
    pub(crate) wall_seconds: f64,
    pub(crate) answers_per_second: f64,
    pub(crate) mib_per_second: f64,
    /// How late the tool itself was.
    pub(crate) lag: Times,
    pub(crate) tool: Cost,
    /// Share of its threads' time that the tool was on a processor, while the phones ran.
    pub(crate) tool_busy: f64,
    /// What the server cost, if its process is known.
    pub(crate) server: Option<Cost>,
    /// The first connection that went wrong, in the system's words.
    pub(crate) first_trouble: Option<String>,
    pub(crate) groups: Vec<GroupReport>,
    /// What the vault acknowledged, in that order for each phone.
    pub(crate) acknowledged: Vec<Acknowledgement>,
}

fn cost(usage: Usage, answers: u64) -> Cost {
    let us_per_answer = usage.cpu_seconds * 1e6 / answers.max(1) as f64;
    Cost { cpu_seconds: usage.cpu_seconds, us_per_answer, peak_kib: usage.peak_kib }
}

impl WebReport {
    /// The report of a run on so many threads, and of what it cost.
    pub(crate) fn new(run: &WebRun, threads: u32, tool: Usage, server: Option<Usage>) -> WebReport {
        let load = || run.groups.iter().filter(|group| group.role == Role::Load);
        let answers: u64 = run.groups.iter().map(|group| group.answers).sum();
        let load_answers: u64 = load().map(|group| group.answers).sum();
        let bytes: u64 = load().map(|group| group.bytes).sum();
        let seconds = run.busy.as_secs_f64().max(1e-6);
        let busy_seconds = run.wall.as_secs_f64().max(1e-6) * f64::from(threads.max(1));
        WebReport {
            is_good: !run.has_failures(),
            seconds,
            wall_seconds: run.wall.as_secs_f64(),
            answers_per_second: load_answers as f64 / seconds,
            mib_per_second: bytes as f64 / seconds / f64::from(1 << 20),
            lag: times(&run.lag_us),
            tool: cost(tool, answers),
            tool_busy: tool.cpu_seconds / busy_seconds,
            server: server.map(|usage| cost(usage, answers)),
            first_trouble: run.trouble.clone(),
            groups: run.groups.iter().map(GroupReport::new).collect(),
            acknowledged: run.acknowledged.clone(),
        }
    }

    /// The report for people.
    pub(crate) fn text(&self) -> String {
        let mut out = String::new();
        for group in &self.groups {
            group.write(&mut out);
        }
        if self.groups.iter().any(|group| group.role == Role::Load) {
            let (answers, mib) = (self.answers_per_second, self.mib_per_second);
            let text = format!("{:.2} s, {answers:.0} answers/s, {mib:.1} MiB/s", self.seconds);
            line(&mut out, "all", text);
        }
        if !self.acknowledged.is_empty() {
            let count = self.acknowledged.len();
            line(&mut out, "acknowledged", format!("{count} versions"));
        }
        if let Some(words) = &self.first_trouble {
            line(&mut out, "first trouble", words.clone());
        }
        line(&mut out, "tool late by", self.lag.text());
        let mut busy = format!("{}, {:.0} % busy", self.tool.text(), self.tool_busy * 100.0);
        if self.tool_busy > BUSY_MAX {
            busy.push_str(": the figures above are the tool's (try more --threads)");
        }
        line(&mut out, "tool cost", busy);
        if let Some(server) = &self.server {
            line(&mut out, "server cost", server.text());
        }
        out
    }
}

impl Cost {
    fn text(&self) -> String {
        let Cost { cpu_seconds, us_per_answer, peak_kib } = self;
        let mib = *peak_kib as f64 / 1024.0;
        format!("{cpu_seconds:.2} s CPU, {us_per_answer:.1} us an answer, {mib:.1} MiB at most")
    }
}

impl GroupReport {
    fn new(tally: &GroupTally) -> GroupReport {
        GroupReport {
            label: tally.label.clone(),
            role: tally.role,
            phones_good: tally.phones_good,
            phones_failed: tally.phones_failed,
            files_good: tally.files_good,
            files_failed: tally.files_failed,
            failures: tally.failures.clone(),
            answers: tally.answers,
            bytes: tally.bytes,
            connects: tally.connects,
            unreachable: tally.unreachable,
            resets: tally.resets,
            timeouts: tally.timeouts,
            reopened: tally.reopened,
            waits: tally.waits,
            unasked: tally.unasked,
            handshakes_full: tally.full,
            handshakes_resumed: tally.resumed,
            file: times(&tally.file_us),
            boot: times(&tally.boot_us),
            connect: times(&tally.connect_us),
            handshake: times(&tally.handshake_us),
            ended: tally.endings.clone(),
            ended_after: times(&tally.ended_us),
            stayed: tally.stayed,
        }
    }

    fn write(&self, out: &mut String) {
        let _ = writeln!(out, "{}", self.label);
        match self.role {
            Role::Load => {
                let phones = format!("{} served, {} failed", self.phones_good, self.phones_failed);
                line(out, "phones", phones);
                let files = format!("{} served, {} failed", self.files_good, self.files_failed);
                line(out, "files", listed(files, &self.failures));
                line(out, "file time", self.file.text());
                line(out, "boot time", self.boot.text());
            }
            Role::Idle | Role::Slow => {
                let ended: u64 = self.ended.values().sum();
                let stayed = format!("{} stayed, {ended} ended by the server", self.stayed);
                line(out, "connections", listed(stayed, &self.ended));
                if self.files_failed > 0 {
                    let failed = format!("{} failed", self.files_failed);
                    line(out, "files", listed(failed, &self.failures));
                }
                if ended > 0 {
                    line(out, "ended after", self.ended_after.text());
                }
            }
        }
        line(out, "connect time", self.connect.text());
        let full = self.handshakes_full;
        if full + self.handshakes_resumed > 0 {
            let resumed = self.handshakes_resumed;
            let text = format!("{full} full, {resumed} resumed, {}", self.handshake.text());
            line(out, "handshakes", text);
        }
        let mut faults = format!(
            "{} connects, {} not reached, {} reset, {} timed out, {} reopened, {} told to wait",
            self.connects, self.unreachable, self.resets, self.timeouts, self.reopened, self.waits
        );
        if self.unasked > 0 {
            let _ = write!(faults, ", {} brought what nobody had asked for", self.unasked);
        }
        line(out, "connections", faults);
    }
}

/// A text and the counts behind it.
fn listed(mut text: String, counts: &BTreeMap<String, u64>) -> String {
    for (why, count) in counts {
        let _ = write!(text, ", {count} {why}");
    }
    text
}
