//! The summary of a run over FTP: a table for people, JSON for scripts.
//!
//! Shows what `tally.rs` counted and adds nothing to it.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Serialize;

use super::tally::{Connects, FtpRun, FtpTally};
use crate::agents::Answers;
use crate::clock::Usage;
use crate::report::{Times, line, times};
use crate::web::plan::Role;
use crate::web::vault::Acknowledgement;

/// A tool as busy as this is itself what limits the figures.
const BUSY_MAX: f64 = 0.9;

/// Connections of one kind.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct ConnectsReport {
    pub(crate) begun: u64,
    pub(crate) connect: Times,
    pub(crate) handshakes_full: u64,
    pub(crate) handshakes_resumed: u64,
}

/// One group.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct GroupReport {
    /// Its name.
    pub(crate) label: String,
    /// What it is there for.
    pub(crate) role: Role,
    pub(crate) sessions_good: u64,
    pub(crate) sessions_failed: u64,
    pub(crate) files_good: u64,
    pub(crate) files_failed: u64,
    /// Restores that were told that nothing is stored.
    pub(crate) nothing_stored: u64,
    /// Files that the server had to refuse, and did.
    pub(crate) rightly_refused: u64,
    /// Files that failed, by reason.
    pub(crate) failures: BTreeMap<String, u64>,
    /// What the server refused, for the moment or for good, by code and words.
    pub(crate) refusals: BTreeMap<String, u64>,
    pub(crate) bytes_read: u64,
    pub(crate) bytes_stored: u64,
    pub(crate) replies: u64,
    pub(crate) unreachable: u64,
    pub(crate) resets: u64,
    pub(crate) timeouts: u64,
    /// Times that a file was begun again because a connection was lost.
    pub(crate) again: u64,
    /// Times that a phone was refused for the moment, and came back.
    pub(crate) waits: u64,
    pub(crate) unasked: u64,
    /// From a file's beginning to its end, the first one's login included.
    pub(crate) file: Times,
    /// From a phone's beginning to the end of its connection.
    pub(crate) session: Times,
    pub(crate) control: ConnectsReport,
    pub(crate) data: ConnectsReport,
    /// Idle sessions that were there at their time's end, and those that the server ended.
    pub(crate) stayed: u64,
    pub(crate) ended: u64,
}

/// CPU time and memory of one side.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Cost {
    pub(crate) cpu_seconds: f64,
    pub(crate) us_per_session: f64,
    pub(crate) sessions_per_cpu_second: f64,
    /// Most memory resident, in KiB.
    pub(crate) peak_kib: u64,
}

/// The whole run.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct FtpReport {
    /// Whether nothing failed.
    pub(crate) is_good: bool,
    /// From the moment when the phones might begin to the last one's end, in seconds.
    pub(crate) seconds: f64,
    /// Until the run ended, in seconds.
    pub(crate) wall_seconds: f64,
    pub(crate) sessions_per_second: f64,
    pub(crate) mib_per_second: f64,
    /// How late the tool itself was.
    pub(crate) lag: Times,
    pub(crate) tool: Cost,
    /// Share of the time that the tool was on a processor, both threads together.
    pub(crate) tool_busy: f64,
    /// What the server cost, if its process is known.
    pub(crate) server: Option<Cost>,
    /// What the phones answered by SNMP.
    pub(crate) snmp: Option<Answers>,
    /// The first connection that went wrong, in the system's words.
    pub(crate) first_trouble: Option<String>,
    pub(crate) groups: Vec<GroupReport>,
    /// What the server said is kept, in that order for each phone.
    pub(crate) acknowledged: Vec<Acknowledgement>,
}

impl FtpReport {
    /// The report of a run, and of what it cost.
    pub(crate) fn new(
        run: &FtpRun,
        snmp: Option<Answers>,
        tool: Usage,
        server: Option<Usage>,
    ) -> FtpReport {
        let load = || run.groups.iter().filter(|group| group.role == Role::Load);
        let all: u64 = run.groups.iter().map(|it| it.sessions_good + it.sessions_failed).sum();
        let sessions: u64 = load().map(|group| group.sessions_good).sum();
        let bytes: u64 = load().map(|group| group.bytes_read + group.bytes_stored).sum();
        let seconds = run.busy.as_secs_f64().max(1e-6);
        FtpReport {
            is_good: !run.has_failures(),
            seconds,
            wall_seconds: run.wall.as_secs_f64(),
            sessions_per_second: sessions as f64 / seconds,
            mib_per_second: bytes as f64 / seconds / f64::from(1 << 20),
            lag: times(&run.lag_us),
            tool: Cost::new(tool, all),
            tool_busy: tool.cpu_seconds / run.wall.as_secs_f64().max(1e-6),
            server: server.map(|usage| Cost::new(usage, all)),
            snmp,
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
            let (sessions, mib) = (self.sessions_per_second, self.mib_per_second);
            let text = format!("{:.2} s, {sessions:.0} sessions/s, {mib:.1} MiB/s", self.seconds);
            line(&mut out, "all", text);
        }
        if !self.acknowledged.is_empty() {
            let count = self.acknowledged.len();
            line(&mut out, "acknowledged", format!("{count} versions"));
        }
        if let Some(snmp) = &self.snmp {
            let Answers { asked, answered, wrong, lost, silent, strange, unsent, dropped } = snmp;
            let mut text = format!("{asked} questions, {answered} answers ({wrong} of them wrong)");
            let rest = [
                (lost, "lost on purpose"),
                (silent, "to silent phones"),
                (strange, "not understood"),
                (unsent, "answers not sent"),
                (dropped, "dropped by the kernel here"),
            ];
            for (count, what) in rest.iter().filter(|(count, _)| **count > 0) {
                let _ = write!(text, ", {count} {what}");
            }
            line(&mut out, "SNMP", text);
        }
        if let Some(words) = &self.first_trouble {
            line(&mut out, "first trouble", words.clone());
        }
        line(&mut out, "tool late by", self.lag.text());
        let mut busy = format!("{}, {:.0} % busy", self.tool.text(), self.tool_busy * 100.0);
        if self.tool_busy > BUSY_MAX {
            busy.push_str(": the figures above are the tool's");
        }
        line(&mut out, "tool cost", busy);
        if let Some(server) = &self.server {
            line(&mut out, "server cost", server.text());
        }
        out
    }
}

impl Cost {
    fn new(usage: Usage, sessions: u64) -> Cost {
        Cost {
            cpu_seconds: usage.cpu_seconds,
            us_per_session: usage.cpu_seconds * 1e6 / sessions.max(1) as f64,
            // The kernel counts in hundredths of a second.
            sessions_per_cpu_second: sessions as f64 / usage.cpu_seconds.max(0.01),
            peak_kib: usage.peak_kib,
        }
    }

    fn text(&self) -> String {
        let Cost { cpu_seconds, us_per_session, peak_kib, .. } = self;
        let mib = *peak_kib as f64 / 1024.0;
        format!("{cpu_seconds:.2} s CPU, {us_per_session:.1} us a session, {mib:.1} MiB at most")
    }
}

impl ConnectsReport {
    fn new(connects: &Connects) -> ConnectsReport {
        ConnectsReport {
            begun: connects.begun,
            connect: times(&connects.connect_us),
            handshakes_full: connects.full,
            handshakes_resumed: connects.resumed,
        }
    }

    fn text(&self) -> String {
        let mut text = format!("{} begun, {}", self.begun, self.connect.text());
        if self.handshakes_full + self.handshakes_resumed > 0 {
            let (full, resumed) = (self.handshakes_full, self.handshakes_resumed);
            let _ = write!(text, ", {full} secured anew, {resumed} resumed");
        }
        text
    }
}

impl GroupReport {
    fn new(tally: &FtpTally) -> GroupReport {
        GroupReport {
            label: tally.label.clone(),
            role: tally.role,
            sessions_good: tally.sessions_good,
            sessions_failed: tally.sessions_failed,
            files_good: tally.files_good,
            files_failed: tally.files_failed,
            nothing_stored: tally.nothing_stored,
            rightly_refused: tally.rightly_refused,
            failures: tally.failures.clone(),
            refusals: tally.refusals.clone(),
            bytes_read: tally.bytes_read,
            bytes_stored: tally.bytes_stored,
            replies: tally.replies,
            unreachable: tally.unreachable,
            resets: tally.resets,
            timeouts: tally.timeouts,
            again: tally.again,
            waits: tally.waits,
            unasked: tally.unasked,
            file: times(&tally.file_us),
            session: times(&tally.session_us),
            control: ConnectsReport::new(&tally.control),
            data: ConnectsReport::new(&tally.data),
            stayed: tally.stayed,
            ended: tally.ended,
        }
    }

    fn write(&self, out: &mut String) {
        let _ = writeln!(out, "{}", self.label);
        let mut sessions =
            format!("{} went well, {} failed", self.sessions_good, self.sessions_failed);
        if self.role != Role::Load {
            let _ =
                write!(sessions, ", {} stayed, {} ended by the server", self.stayed, self.ended);
        }
        line(out, "sessions", sessions);
        if self.role == Role::Load || self.files_failed > 0 {
            let mut files = format!("{} good, {} failed", self.files_good, self.files_failed);
            for (why, count) in &self.failures {
                let _ = write!(files, ", {count} {why}");
            }
            let Self { nothing_stored, rightly_refused, .. } = self;
            for (count, what) in
                [(nothing_stored, "not stored yet"), (rightly_refused, "refused as they must be")]
            {
                if *count > 0 {
                    let _ = write!(files, ", {count} {what}");
                }
            }
            line(out, "files", files);
            line(out, "file time", self.file.text());
            line(out, "bytes", format!("{} stored, {} read", self.bytes_stored, self.bytes_read));
        }
        line(out, "session time", self.session.text());
        line(out, "control", self.control.text());
        if self.data.begun > 0 {
            line(out, "data", self.data.text());
        }
        for (words, count) in &self.refusals {
            line(out, "refused", format!("{count} x {words}"));
        }
        let mut faults = format!(
            "{} not reached, {} reset, {} timed out, {} begun again, {} told to wait",
            self.unreachable, self.resets, self.timeouts, self.again, self.waits
        );
        if self.unasked > 0 {
            let _ = write!(faults, ", {} replies that nobody had asked for", self.unasked);
        }
        line(out, "repairs", faults);
    }
}
