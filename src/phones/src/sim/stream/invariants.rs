//! The invariants of a file server in every protocol: it never mixes versions, loses acknowledged
//! data, sends stale data, lets a newcomer overtake, or keeps anything of phones that have left.
//!
//! A file is a register: all its writes are known, with their beginning and acknowledgement. From
//! these follow the versions that a read may return. Watches only.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use wire::time::{Duration, Instant};

/// Violations that are kept.
const VIOLATIONS_MAX: usize = 20;

/// What a file holds; `None` is that there is none.
pub type Value = Option<Arc<[u8]>>;

#[derive(Debug)]
struct Write {
    value: Value,
    began: Instant,
    acknowledged: Option<Instant>,
}

/// A write that may be acknowledged.
#[derive(Clone, Debug)]
pub struct WriteId {
    name: Box<str>,
    place: usize,
}

/// A read of a file that runs.
#[derive(Debug)]
pub struct Reading {
    name: Box<str>,
    since: Instant,
    /// Writes of which all bytes so far may be.
    matching: Option<Vec<usize>>,
    bytes: usize,
    /// Nothing was wrong with it so far.
    is_right: bool,
}

/// A breach of the rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Violation {
    /// No version of the file has these bytes.
    Mixture,
    /// The file had been overwritten, durably, before it was asked for.
    OutOfDate,
    /// The file was acknowledged and is not there.
    Lost,
    /// The file is longer or shorter than what was called the whole of it.
    WrongLength,
    /// A phone that had begun had to wait, or was refused, for want of a slot.
    Overtaken,
    /// Somebody holds a slot who may not be served, or has asked for nothing.
    HeldByStranger,
    /// Somebody outside the access list got a file.
    ServedToStranger,
    /// Something is kept although everybody has gone.
    Kept,
    /// A phone broke no rule, met no fault, and did not come back.
    Abandoned,
    /// An answer breaks the protocol.
    Protocol,
}

/// What must hold.
#[derive(Debug, Default)]
pub struct Invariants {
    files: HashMap<Box<str>, Vec<Write>>,
    /// When the phone last sent a request that was served.
    served: HashMap<IpAddr, Instant>,
    /// How long no newcomer overtakes a phone that has begun. Zero if there are no slots.
    hold: Duration,
    /// Whether "not found" has no other cause than a missing file.
    pub missing_is_missing: bool,
    violations: Vec<(Violation, String)>,
}

impl Invariants {
    /// Nothing was written yet.
    #[must_use]
    pub fn new(hold: Duration, missing_is_missing: bool) -> Invariants {
        Invariants { hold, missing_is_missing, ..Invariants::default() }
    }

    /// Notes a breach.
    pub fn violate(&mut self, violation: Violation, words: impl fmt::Display) {
        if self.violations.len() < VIOLATIONS_MAX {
            self.violations.push((violation, words.to_string()));
        }
    }

    /// The breaches so far.
    #[must_use]
    pub fn violations(&self) -> &[(Violation, String)] {
        &self.violations
    }

    /// A write begins.
    pub fn write(&mut self, name: &str, value: Value, now: Instant) -> WriteId {
        let writes = self.writes(name);
        writes.push(Write { value, began: now, acknowledged: None });
        let place = writes.len() - 1;
        WriteId { name: name.into(), place }
    }

    /// A write is acknowledged.
    pub fn acknowledge(&mut self, write: &WriteId, now: Instant) {
        let writes = self.writes(&write.name);
        if let Some(write) = writes.get_mut(write.place) {
            write.acknowledged.get_or_insert(now);
        }
    }

    /// A read begins.
    #[must_use]
    pub fn read(&self, name: &str, now: Instant) -> Reading {
        Reading { name: name.into(), since: now, matching: None, bytes: 0, is_right: true }
    }

    /// Bytes came of a file.
    pub fn came(&mut self, reading: &mut Reading, offset: usize, bytes: &[u8]) {
        if offset == 0 {
            (reading.matching, reading.bytes, reading.is_right) = (None, 0, true);
        }
        let has = |write: &Write| {
            let part = write.value.as_ref().and_then(|all| all.get(offset..offset + bytes.len()));
            part == Some(bytes)
        };
        let candidates = reading.matching.take().unwrap_or_else(|| self.candidates(reading));
        let writes = self.writes(&reading.name);
        let matching: Vec<usize> =
            candidates.iter().copied().filter(|place| has(&writes[*place])).collect();
        if matching.is_empty() && reading.is_right {
            let violation = match offset == 0 && writes.iter().any(has) {
                true => Violation::OutOfDate,
                false => Violation::Mixture,
            };
            let Reading { name, since, .. } = reading;
            self.violate(violation, format_args!("{name} from byte {offset}, read at {since:?}"));
            reading.is_right = false;
        }
        reading.bytes = offset + bytes.len();
        reading.matching = Some(matching);
    }

    /// A read is over, and what it brought is called whole; the value is handed back.
    pub fn whole(&mut self, reading: Reading) -> Value {
        let matching = match &reading.matching {
            Some(matching) => matching.clone(),
            None => self.candidates(&reading),
        };
        let writes = self.writes(&reading.name);
        let value = matching.iter().find_map(|place| {
            writes[*place].value.as_ref().filter(|all| all.len() == reading.bytes).cloned()
        });
        if value.is_none() && reading.is_right {
            let Reading { name, bytes, .. } = reading;
            self.violate(Violation::WrongLength, format_args!("{name}: {bytes} bytes, and done"));
        }
        value
    }

    /// A read is over: there is no such file.
    pub fn missing(&mut self, reading: &Reading) {
        let candidates = self.candidates(reading);
        let writes = self.writes(&reading.name);
        if candidates.iter().all(|place| writes[*place].value.is_some()) {
            let Reading { name, since, .. } = reading;
            self.violate(Violation::Lost, format_args!("{name}, read at {since:?}"));
        }
    }

    /// A read is over: nothing has changed since this was read.
    pub fn unchanged(&mut self, reading: &Reading, value: &Value) {
        let candidates = self.candidates(reading);
        let writes = self.writes(&reading.name);
        if !candidates.iter().any(|place| writes[*place].value == *value) {
            let Reading { name, since, .. } = reading;
            let words = format_args!("{name} is not unchanged, asked at {since:?}");
            self.violate(Violation::OutOfDate, words);
        }
    }

    /// The versions that a read may return: all but those durably overwritten before it began.
    fn candidates(&mut self, reading: &Reading) -> Vec<usize> {
        let since = reading.since;
        let writes = self.writes(&reading.name);
        // Writes are in the order in which they began.
        let is_past = |place: &usize| {
            let (before, later) = writes.split_at(place + 1);
            let acknowledged = before.last().and_then(|write| write.acknowledged);
            acknowledged.is_some_and(|acknowledged| {
                later.iter().any(|later| {
                    later.began >= acknowledged && later.acknowledged.is_some_and(|at| at <= since)
                })
            })
        };
        (0..writes.len()).filter(|place| !is_past(place)).collect()
    }

    fn writes(&mut self, name: &str) -> &mut Vec<Write> {
        self.files.entry(name.into()).or_insert_with(|| {
            let start = Instant::START;
            vec![Write { value: None, began: start, acknowledged: Some(start) }]
        })
    }

    /// A request that the phone sent then was served.
    pub fn served(&mut self, client: IpAddr, sent_at: Instant) {
        let at = self.served.entry(client).or_insert(sent_at);
        *at = sent_at.max(*at);
    }

    /// A request that the phone sent then was answered without a place, now.
    pub fn renewed(&mut self, client: IpAddr, sent_at: Instant, now: Instant) {
        if let Some(at) = self.served.get_mut(&client).filter(|at| **at + self.hold > now) {
            *at = sent_at.max(*at);
        }
    }

    /// A phone has to wait for a slot, or is refused for want of one.
    pub fn has_no_slot(&mut self, client: IpAddr, now: Instant) {
        let since = self.served.get(&client).copied();
        if let Some(since) = since.filter(|since| *since + self.hold > now) {
            let words = format_args!("{client} at {now:?}, which was served at {since:?}");
            self.violate(Violation::Overtaken, words);
        }
    }
}
