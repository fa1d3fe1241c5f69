//! The summary of a run: a table for people, JSON for scripts.
//!
//! Shows what `tally.rs` counted and adds nothing to it. What a protocol shows of a group is a
//! [`Format`].

use std::collections::BTreeMap;
use std::fmt::Write as _;

use hdrhistogram::Histogram;
use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};

use super::back::{Curve, Point};
use super::tally::{Count, GroupTally, Reason, Role, Run, Time};
use crate::agents::Answers;
use crate::clock::Usage;
use crate::vault::Acknowledgement;

/// A tool as busy as this is itself what limits the figures.
const BUSY_MAX: f64 = 0.9;

/// How a protocol shows its groups.
pub(crate) struct Format {
    /// The JSON's keys for the rate a second and for the cost of one.
    pub(crate) rate: (&'static str, &'static str),
    /// The same in words: many, and one.
    pub(crate) unit: (&'static str, &'static str),
    /// Digits behind the point of what one costs.
    pub(crate) digits: usize,
    /// How often that happened: in groups for the load, and in all.
    pub(crate) units: fn(&Run) -> (u64, u64),
    /// The JSON's key for the rate a second of CPU, if it is reported.
    pub(crate) each_second: Option<&'static str>,
    /// The JSON's fields about a group.
    pub(crate) fields: &'static [(&'static str, ReportField)],
    /// Writes the text about a group.
    pub(crate) write: fn(&GroupTally, &mut String),
    /// Whether the report has the tool's threads and connections.
    pub(crate) has_connections: bool,
    /// What to do about a tool that is too busy.
    pub(crate) advice: &'static str,
}

/// What a key of a group's JSON holds.
#[derive(Clone, Copy)]
pub(crate) enum ReportField {
    /// Its name.
    Label,
    /// What it is there for.
    Role,
    /// A count.
    Count(Count),
    /// Times.
    Times(Time),
    /// Words, and how often.
    Reasons(Reason),
    /// The same as a list of pairs.
    Pairs(Reason),
    /// More keys.
    Fields(&'static [(&'static str, ReportField)]),
}

/// Times in milliseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Times {
    /// Half of all were at most this.
    p50_ms: f64,
    /// Nine in ten.
    p90_ms: f64,
    /// All but one in a hundred.
    p99_ms: f64,
    /// All.
    max_ms: f64,
}

/// A value of the JSON.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum Value {
    Flag(bool),
    Count(u64),
    Number(f64),
    Text(Option<String>),
    Times(Times),
    Role(Role),
    Reasons(BTreeMap<String, u64>),
    Pairs(Vec<(String, u64)>),
    Counts(Vec<u64>),
    Points(Vec<Point>),
    Acknowledged(Vec<Acknowledgement>),
    Answers(Option<Answers>),
    Object(Object),
    Objects(Vec<Object>),
    Nothing,
}

/// Keys and values, in this order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Object(pub(crate) Vec<(&'static str, Value)>);

impl Serialize for Object {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (key, value) in &self.0 {
            map.serialize_entry(key, value)?;
        }
        map.end()
    }
}

/// What a protocol tells of a run beside its groups.
#[derive(Default)]
pub(crate) struct Extra {
    /// In the JSON.
    pub(crate) values: Vec<(&'static str, Value)>,
    /// To people.
    pub(crate) lines: Vec<(&'static str, String)>,
}

/// The whole run.
pub(crate) struct Report {
    /// Whether nothing failed.
    pub(crate) is_good: bool,
    /// For scripts.
    pub(crate) json: Object,
    /// For people.
    pub(crate) text: String,
}

impl Report {
    /// The report of a run on so many threads, and of what it cost.
    pub(crate) fn new(
        format: &Format,
        (run, back): (&Run, &Curve),
        extra: Extra,
        threads: u32,
        (tool, server): (Usage, Option<Usage>),
    ) -> Report {
        let is_good = !run.has_failures();
        let seconds = run.busy.as_secs_f64().max(1e-6);
        let (load, all) = (format.units)(run);
        let (rate, bytes) =
            (load as f64 / seconds, (run.load(Count::Bytes) + run.load(Count::BytesStored)) as f64);
        let mib = bytes / seconds / f64::from(1 << 20);
        let wall = run.wall.as_secs_f64();
        let tool_busy = tool.cpu_seconds / (wall.max(1e-6) * f64::from(threads.max(1)));
        let mut values = vec![
            ("is_good", Value::Flag(is_good)),
            ("seconds", Value::Number(seconds)),
            ("wall_seconds", Value::Number(wall)),
            (format.rate.0, Value::Number(rate)),
            ("mib_per_second", Value::Number(mib)),
            ("lag", Value::Times(times(&run.lag_us))),
            ("tool", Value::Object(format.cost(tool, all))),
            ("server", server.map_or(Value::Nothing, |it| Value::Object(format.cost(it, all)))),
            ("back", Value::Object(back.json(run.resends()))),
        ];
        values.extend(extra.values);
        let groups = run.groups.iter().map(|group| object(format.fields, group)).collect();
        if format.has_connections {
            values.push(("tool_busy", Value::Number(tool_busy)));
            values.push(("first_trouble", Value::Text(run.trouble.clone())));
        }
        values.push(("groups", Value::Objects(groups)));
        if format.has_connections {
            values.push(("acknowledged", Value::Acknowledged(run.acknowledged.clone())));
        }
        let mut text = String::new();
        for group in &run.groups {
            let _ = writeln!(text, "{}", group.label);
            (format.write)(group, &mut text);
        }
        if run.groups.is_empty() || run.groups.iter().any(|group| group.role == Role::Load) {
            let all = format!("{seconds:.2} s, {rate:.0} {}/s, {mib:.1} MiB/s", format.unit.0);
            line(&mut text, "all", all);
            back.lines(run.resends()).into_iter().for_each(|(name, it)| line(&mut text, name, it));
        }
        if !run.acknowledged.is_empty() {
            let count = run.acknowledged.len();
            line(&mut text, "acknowledged", format!("{count} versions"));
        }
        for (name, words) in extra.lines {
            line(&mut text, name, words);
        }
        if let Some(words) = &run.trouble {
            line(&mut text, "first trouble", words.clone());
        }
        line(&mut text, "tool late by", times(&run.lag_us).text());
        let mut busy = format.cost_text(tool, all);
        if format.has_connections {
            let _ = write!(busy, ", {:.0} % busy", tool_busy * 100.0);
        }
        if format.has_connections && tool_busy > BUSY_MAX {
            let _ = write!(busy, ": the figures above are the tool's{}", format.advice);
        }
        line(&mut text, "tool cost", busy);
        if let Some(server) = server {
            line(&mut text, "server cost", format.cost_text(server, all));
        }
        Report { is_good, json: Object(values), text }
    }
}

impl Format {
    /// CPU time and memory of one side.
    fn cost(&self, usage: Usage, units: u64) -> Object {
        let mut values = vec![
            ("cpu_seconds", Value::Number(usage.cpu_seconds)),
            (self.rate.1, Value::Number(each(usage, units))),
        ];
        // The kernel counts in hundredths of a second.
        let in_a_second = units as f64 / usage.cpu_seconds.max(0.01);
        values.extend(self.each_second.map(|key| (key, Value::Number(in_a_second))));
        values.push(("peak_kib", Value::Count(usage.peak_kib)));
        Object(values)
    }

    fn cost_text(&self, usage: Usage, units: u64) -> String {
        let (one, mib) = (self.unit.1, usage.peak_kib as f64 / 1024.0);
        let (cpu, each, digits) = (usage.cpu_seconds, each(usage, units), self.digits);
        format!("{cpu:.2} s CPU, {each:.digits$} us {one}, {mib:.1} MiB at most")
    }
}

/// CPU time of each in microseconds.
fn each(usage: Usage, units: u64) -> f64 {
    if units == 0 { 0.0 } else { usage.cpu_seconds * 1e6 / units as f64 }
}

fn object(fields: &[(&'static str, ReportField)], group: &GroupTally) -> Object {
    let value = |field: ReportField| match field {
        ReportField::Label => Value::Text(Some(group.label.clone())),
        ReportField::Role => Value::Role(group.role),
        ReportField::Count(count) => Value::Count(group[count]),
        ReportField::Times(time) => Value::Times(times(&group[time])),
        ReportField::Reasons(reason) => Value::Reasons(group[reason].clone()),
        ReportField::Pairs(reason) => Value::Pairs(group[reason].clone().into_iter().collect()),
        ReportField::Fields(fields) => Value::Object(object(fields, group)),
    };
    Object(fields.iter().map(|(key, field)| (*key, value(*field))).collect())
}

/// The times of a histogram of microseconds.
pub(crate) fn times(histogram: &Histogram<u64>) -> Times {
    let at = |share| histogram.value_at_quantile(share) as f64 / 1_000.0;
    Times { p50_ms: at(0.5), p90_ms: at(0.9), p99_ms: at(0.99), max_ms: at(1.0) }
}

impl Times {
    /// In words.
    pub(crate) fn text(&self) -> String {
        let Times { p50_ms, p90_ms, p99_ms, max_ms } = self;
        format!("p50 {p50_ms:.1}  p90 {p90_ms:.1}  p99 {p99_ms:.1}  max {max_ms:.1} ms")
    }
}

/// One line of a report for people.
pub(crate) fn line(out: &mut String, name: &str, text: String) {
    let _ = writeln!(out, "  {name:<19}{text}");
}

/// A text and the counts behind it.
pub(crate) fn listed(mut text: String, counts: &BTreeMap<String, u64>) -> String {
    for (why, count) in counts {
        let _ = write!(text, ", {count} {why}");
    }
    text
}

/// Those of these counts that are more than nothing, behind a text.
pub(crate) fn listed_if(mut text: String, group: &GroupTally, counts: &[(Count, &str)]) -> String {
    for (count, noun) in counts.iter().filter(|(count, _)| group[*count] > 0) {
        let _ = write!(text, ", {} {noun}", group[*count]);
    }
    text
}
