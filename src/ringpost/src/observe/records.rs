//! Turns the records of transfers into log lines: one line each, but never a flood.
//!
//! Workers push records into a bounded queue and never wait; one thread writes them. Repeats of the
//! same event of the same phone are counted and logged in one line after a while.

mod cause;
mod reason;
mod silence;

use std::collections::HashMap;
use std::fmt::{self, Write as _};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::{self, JoinHandle};

use tracing::Level;
use tracing::level_filters::LevelFilter;

use crate::net::Clock;
use crate::net::stats::RecordSink;
use engine::session::{Outcome, Record, Refusal, SAID_BYTES_MAX, Subject, Verb};
use wire::time::{Duration, Instant};

use arc_swap::ArcSwap;

use engine::policy::snapshot::Snapshot;
use reason::LogReason;
use silence::{Silence, SilentNetwork};

/// Interval between two reads of the queue.
const DRAIN_EVERY: Duration = Duration::from_millis(50);
/// How long repeats are summed before they are logged.
const WHILE: Duration = Duration::from_secs(10);
/// Most lines about one phone and one reason in that time, each about another file.
const LINES_EACH_MAX: u32 = 64;
/// Most pairs of phone and reason that are distinguished in that time.
const PAIRS_MAX: usize = 2_048;

/// The thread that writes records to the log.
#[derive(Debug)]
pub(crate) struct RecordWriter {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl RecordWriter {
    /// Starts it.
    ///
    /// # Errors
    /// The system has no thread left.
    pub(crate) fn start(
        sink: Arc<RecordSink>,
        snapshot: Arc<ArcSwap<Snapshot>>,
        clock: Clock,
    ) -> std::io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::Builder::new().name("log".into()).spawn(move || {
            let (mut floods, mut silence) = (Floods::default(), Silence::default());
            loop {
                let last = stopped.load(Relaxed);
                let tells_done = LevelFilter::current() >= LevelFilter::INFO;
                sink.tell_done(tells_done);
                while let Some(record) = sink.pop() {
                    write(&record, &mut floods, &snapshot, clock.now());
                    // Without the successful ones it would seem that no phone answers.
                    if tells_done && let Some(silent) = silence.note(&record, clock.now()) {
                        tell_silent(&silent);
                    }
                }
                floods.tell(if last { clock.now() + WHILE } else { clock.now() });
                if last {
                    return;
                }
                thread::sleep(DRAIN_EVERY);
            }
        })?;
        Ok(RecordWriter { stop, thread })
    }

    /// Writes the remaining records and ends.
    pub(crate) fn stop(self) {
        self.stop.store(true, Relaxed);
        // The thread's panic is already on standard error.
        let _ = self.thread.join();
    }
}

/// Formats the file's name with every control character escaped.
struct SubjectName<'a>(&'a Subject);

impl fmt::Display for SubjectName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Subject::File(entry) => Escaped(entry.path.as_bytes()).fmt(f),
            Subject::Said(bytes) => {
                let cut = if bytes.len() < SAID_BYTES_MAX { "" } else { "..." };
                write!(f, "{}{cut}", Escaped(bytes))
            }
            Subject::Unreadable => f.write_str("(unreadable name)"),
        }
    }
}

fn write(record: &Record, floods: &mut Floods, snapshot: &ArcSwap<Snapshot>, now: Instant) {
    let log_reason = LogReason::new(&record.outcome, record.verb, record.bytes);
    if !is_written(log_reason.level) {
        return;
    }
    let file = match (record.verb, &record.subject) {
        // The purpose of a bare connection was never known.
        (Verb::Connect, _) | (_, Subject::Unreadable) => None,
        (
            Verb::Fetch
            | Verb::Send
            | Verb::Delete
            | Verb::Ask
            | Verb::List
            | Verb::LogIn
            | Verb::Make
            | Verb::Rename,
            subject @ (Subject::File(_) | Subject::Said(_)),
        ) => Some(SubjectName(subject).to_string()),
    };
    let file = file.as_deref();
    let reason = record.outcome.label().reason();
    let ip = record.peer.ip().to_canonical();
    if log_reason.may_flood() && !floods.admits(ip, log_reason, file.unwrap_or_default(), now) {
        return;
    }
    let cause = cause::cause(record, &snapshot.load().catalog);
    let text = sentence(record, log_reason, cause.as_deref(), file);
    let ms = u64::try_from(record.took.as_millis()).unwrap_or(u64::MAX);
    let words = record.words.as_deref().map(|words| Escaped(words).to_string());
    let agent = record.user_agent.as_deref().map(|agent| Escaped(agent).to_string());
    let user = record.user.as_deref().map(|user| Escaped(user).to_string());
    let rtt_us = record.round_trip.and_then(|rtt| u64::try_from(rtt.as_micros()).ok());
    macro_rules! line {
        ($level:expr) => {
            tracing::event!(
                target: "transfer",
                $level,
                ip = %ip,
                port = record.peer.port(),
                server_port = record.server_port,
                protocol = record.protocol.name(),
                verb = record.verb.word(),
                file,
                bytes = record.bytes,
                of = record.of_bytes,
                ms,
                resent = record.blocks_resent,
                rtt_us,
                status = record.status,
                tls = record.secured.map(|secured| secured.version),
                suite = record.secured.map(|secured| secured.suite),
                user_agent = agent,
                user,
                words,
                outcome = log_reason.outcome,
                reason = (!reason.is_empty()).then_some(reason),
                "{ip} {text}",
            )
        };
    }
    at_level!(log_reason.level, line);
}

/// Logs once what the lines about single phones do not show.
fn tell_silent(silent: &SilentNetwork) {
    let SilentNetwork { network, phones } = silent;
    tracing::warn!(
        target: "transfer",
        %network,
        phones,
        "none of {phones} phones of {network} answered what was sent to them: a firewall may let \
         through what comes to the port for requests and nothing else; let answers through, or \
         set `ports` in [tftp] to \"single\" or to a range that is open there",
    );
}

/// Describes the phone's request and its result, for people. HTTP's logs are searched by status.
fn sentence(
    record: &Record,
    log_reason: LogReason,
    cause: Option<&str>,
    file: Option<&str>,
) -> String {
    let mut text = String::from(record.verb.word());
    match file {
        // A name must not look like fields of the line.
        Some(file) if file.contains([' ', '=', '"']) => text.extend([" \"", file, "\""]),
        Some(file) => text.extend([" ", file]),
        None => {}
    }
    text.extend([": ", log_reason.outcome]);
    if let Some(status) = record.status {
        // Writing into a string does not fail.
        let _ = write!(text, " ({status})");
    }
    let broke_off = matches!(
        record.outcome,
        Outcome::Aborted(_)
            | Outcome::TimedOut
            | Outcome::Stalled(_)
            | Outcome::Refused(Refusal::SizeDiffers)
    );
    if let Some(of_bytes) = record.of_bytes.filter(|_| broke_off) {
        let _ = write!(text, " after {} of {of_bytes} bytes", record.bytes);
    }
    if !log_reason.reason.is_empty() {
        text.extend([": ", log_reason.reason]);
    }
    if let Some(cause) = cause {
        text.extend([": ", cause]);
    }
    if let Some(port) = record.server_port {
        let _ = write!(text, " what was sent to it from port {port} of this server");
    }
    if let Some(words) = &record.words {
        let _ = write!(text, ": \"{}\"", Escaped(words));
    }
    text
}

/// Formats bytes of a peer so that they can neither forge a line nor move a cursor. Text of any
/// language stays readable.
struct Escaped<'a>(&'a [u8]);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            for letter in chunk.valid().chars() {
                match letter {
                    // What `escape_debug` would escape is harmless here.
                    '\'' => f.write_char(letter)?,
                    _ => write!(f, "{}", letter.escape_debug())?,
                }
            }
            for byte in chunk.invalid() {
                write!(f, "\\x{byte:02x}")?;
            }
        }
        Ok(())
    }
}

/// Returns whether lines of this level are written at all: a busy server creates many that are not.
fn is_written(level: Level) -> bool {
    match level {
        Level::ERROR => tracing::enabled!(target: "transfer", Level::ERROR),
        Level::WARN => tracing::enabled!(target: "transfer", Level::WARN),
        Level::INFO | Level::DEBUG | Level::TRACE => {
            tracing::enabled!(target: "transfer", Level::INFO)
        }
    }
}

/// The recent log lines about each phone, and the events that were only counted.
#[derive(Debug, Default)]
struct Floods {
    since: Instant,
    pairs: HashMap<(IpAddr, &'static str), Pair>,
    others: u64,
}

#[derive(Debug)]
struct Pair {
    level: Level,
    lines: u32,
    last_file: String,
    untold: u64,
}

impl Floods {
    /// Returns whether to log this now; otherwise counts it.
    fn admits(&mut self, ip: IpAddr, log_reason: LogReason, file: &str, now: Instant) -> bool {
        if self.pairs.is_empty() && self.others == 0 {
            self.since = now;
        }
        let room = self.pairs.len() < PAIRS_MAX;
        let key = (ip, log_reason.reason);
        if !room && !self.pairs.contains_key(&key) {
            self.others += 1;
            return false;
        }
        let pair = self.pairs.entry(key).or_insert_with(|| Pair {
            level: log_reason.level,
            lines: 0,
            last_file: String::new(),
            untold: 0,
        });
        if pair.lines >= LINES_EACH_MAX || (pair.lines > 0 && pair.last_file == file) {
            pair.untold += 1;
            return false;
        }
        pair.lines += 1;
        file.clone_into(&mut pair.last_file);
        true
    }

    /// Logs the counts at the end of the interval.
    fn tell(&mut self, now: Instant) {
        for line in self.summary(now) {
            let Summary { ip, reason, untold, level } = line;
            macro_rules! line {
                ($level:expr) => {
                    match ip {
                        Some(ip) => tracing::event!(
                            target: "transfer", $level, ip = %ip, count = untold,
                            "{ip}: {reason}, and {untold} more like it",
                        ),
                        None => tracing::event!(
                            target: "transfer", $level, count = untold,
                            "{untold} more requests of other phones were not served",
                        ),
                    }
                };
            }
            at_level!(level, line);
        }
    }

    fn summary(&mut self, now: Instant) -> Vec<Summary> {
        if now.since(self.since) < WHILE {
            return Vec::new();
        }
        let counted = |((ip, reason), pair): ((IpAddr, &'static str), Pair)| {
            let ip = Some(ip);
            (pair.untold > 0).then_some(Summary {
                ip,
                reason,
                untold: pair.untold,
                level: pair.level,
            })
        };
        let mut lines: Vec<_> = self.pairs.drain().filter_map(counted).collect();
        lines.sort_by_key(|line| line.ip);
        let untold = std::mem::take(&mut self.others);
        if untold > 0 {
            lines.push(Summary { ip: None, reason: "", untold, level: Level::WARN });
        }
        lines
    }
}

/// One line about many records.
#[derive(Debug, PartialEq, Eq)]
struct Summary {
    ip: Option<IpAddr>,
    reason: &'static str,
    untold: u64,
    level: Level,
}

/// The level of an event must be known at compile time.
macro_rules! at_level {
    ($level:expr, $line:ident) => {
        match $level {
            Level::ERROR => $line!(Level::ERROR),
            Level::WARN => $line!(Level::WARN),
            Level::INFO | Level::DEBUG | Level::TRACE => $line!(Level::INFO),
        }
    };
}
use at_level;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::stats::RECORDS_MAX;
    use engine::metrics::Counters;
    use engine::protocol::Protocol;
    use engine::session::{Abort, Failure, Handshake, Refusal};
    use wire::http::request::Malformed;
    use wire::name::BadName;

    fn record(peer: &str, file: &[u8], outcome: Outcome) -> Record {
        let about = (Verb::Fetch, Subject::said(file));
        let took = Duration::from_millis(3);
        let peer = peer.parse().unwrap();
        Record { took, ..Record::new(Protocol::Tftp, peer, about, Instant::START, outcome) }
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn what_ended_well_is_left_only_while_somebody_reads_it() {
        let (sink, counters) = (RecordSink::default(), Counters::default());
        let leave = |outcome| sink.push(record("10.0.0.1:9", b"a.txt", outcome), &counters);
        sink.tell_done(false);
        leave(Outcome::Done);
        leave(Outcome::TimedOut);
        assert_eq!(sink.pop().map(|record| record.outcome), Some(Outcome::TimedOut));
        sink.tell_done(true);
        leave(Outcome::Done);
        assert_eq!(sink.pop().map(|record| record.outcome), Some(Outcome::Done));
        assert_eq!(counters.records_lost.value(), 0);
    }

    const MISSING: Outcome = Outcome::Refused(Refusal::NoSuchFile);

    #[test]
    fn a_record_without_room_is_lost_and_counted() {
        let (sink, counters) = (RecordSink::default(), Counters::default());
        for _ in 0..RECORDS_MAX + 3 {
            sink.push(record("10.0.0.1:1", b"a", MISSING), &counters);
        }
        assert_eq!(counters.records_lost.value(), 3);
    }

    #[test]
    fn the_same_again_is_summed_and_another_file_is_not() {
        let mut floods = Floods::default();
        let log_reason = LogReason::new(&MISSING, Verb::Fetch, 0);
        let now = Instant::from_millis(500);
        let admitted =
            ["a", "a", "a", "b"].map(|file| floods.admits(ip("10.0.0.1"), log_reason, file, now));
        assert_eq!(admitted, [true, false, false, true]);
        assert!(floods.admits(ip("10.0.0.2"), log_reason, "a", now));
        assert_eq!(floods.summary(now + Duration::from_secs(9)), []);
        let summary = floods.summary(now + WHILE);
        let (ip, reason) = (Some(ip("10.0.0.1")), "no such file");
        assert_eq!(summary, [Summary { ip, reason, untold: 2, level: Level::INFO }]);
        assert_eq!(floods.summary(now + WHILE * 3), []);
    }

    #[test]
    fn a_phone_that_asks_for_everything_gets_a_few_lines_in_a_while() {
        let mut floods = Floods::default();
        let log_reason = LogReason::new(&Outcome::Refused(Refusal::AccessDenied), Verb::Fetch, 0);
        let lines = (0..1_000).filter(|number| {
            floods.admits(ip("10.0.0.1"), log_reason, &number.to_string(), Instant::START)
        });
        assert_eq!(lines.count() as u32, LINES_EACH_MAX);
        assert_eq!(
            floods.summary(Instant::START + WHILE)[0].untold,
            1_000 - u64::from(LINES_EACH_MAX)
        );
    }

    #[test]
    fn a_flood_from_everywhere_is_bounded_in_memory_and_lines() {
        let mut floods = Floods::default();
        let log_reason = LogReason::new(&MISSING, Verb::Fetch, 0);
        let lines = (0..100_000_u32).filter(|number| {
            floods.admits(IpAddr::V4((*number).into()), log_reason, "a", Instant::START)
        });
        assert_eq!(lines.count(), PAIRS_MAX);
        let summary = floods.summary(Instant::START + WHILE);
        assert_eq!(summary.len(), 1);
        assert_eq!(summary[0].untold, 100_000 - PAIRS_MAX as u64);
    }

    #[test]
    fn a_line_says_what_was_done_with_which_status() {
        assert_eq!(said(Outcome::Done, None, Verb::Fetch, 1), "fetches a.txt: done");
        assert_eq!(said(Outcome::Done, Some(201), Verb::Send, 1), "sends a.txt: done (201)");
        assert_eq!(said(Outcome::Done, Some(204), Verb::Delete, 0), "deletes a.txt: done (204)");
        assert_eq!(said(Outcome::Done, Some(204), Verb::Ask, 0), "asks about a.txt: done (204)");
        let missing = said(MISSING, Some(404), Verb::Fetch, 0);
        assert_eq!(missing, "fetches a.txt: refused (404): no such file");
        let handshake = Outcome::Refused(Refusal::Handshake(Handshake::NotTls));
        let connects = said(handshake, None, Verb::Connect, 0);
        assert_eq!(connects, "connects: refused: what came is no TLS");
    }

    fn said(outcome: Outcome, status: Option<u16>, verb: Verb, bytes: u64) -> String {
        let record = Record { status, verb, bytes, ..record("10.0.0.1:5", b"a.txt", outcome) };
        let file = (verb != Verb::Connect).then_some("a.txt");
        sentence(&record, LogReason::new(&outcome, verb, bytes), None, file)
    }

    #[test]
    fn a_request_that_is_none_is_told_with_its_fault() {
        let said = |fault| {
            let refused = Outcome::Refused(Refusal::BadRequest(fault));
            said(refused, Some(fault.status().0), Verb::Connect, 0)
        };
        assert!(said(Malformed::TlsHello).contains("(400): the phone spoke TLS to a port"));
        assert!(said(Malformed::HeadTooLarge).ends_with("(head_max)"));
        assert!(said(Malformed::TooManyLines).ends_with("(head_lines_max)"));
        assert!(said(Malformed::VersionUnknown).contains("is not one of HTTP/1"));
        assert!(said(Malformed::BadRequest("two lengths")).ends_with(": two lengths"));
    }

    #[test]
    fn who_leaves_in_the_middle_is_a_warning_unless_nothing_was_read() {
        let gone = Outcome::Aborted(Abort::Disconnected);
        let read = said(gone, Some(200), Verb::Fetch, 64);
        assert!(read.ends_with("closed the connection in the middle"), "{read}");
        assert_eq!(LogReason::new(&gone, Verb::Fetch, 64).level, Level::WARN);
        for verb in [Verb::Fetch, Verb::Send, Verb::Delete, Verb::Ask] {
            let bytes = u64::from(verb == Verb::Send) * 64;
            let left = said(gone, None, verb, bytes);
            assert!(left.ends_with("before it was answered"), "{left}");
        }
        assert_eq!(LogReason::new(&gone, Verb::Send, 64).level, Level::WARN);
    }

    #[test]
    fn a_name_is_told_as_it_was_asked_for_whether_it_is_one_or_not() {
        let shown = |requested: &[u8]| SubjectName(&Subject::said(requested)).to_string();
        assert_eq!(shown(b"SEP0011AA.cnf.xml"), "SEP0011AA.cnf.xml");
        assert_eq!(shown(b".git/config"), ".git/config");
        assert_eq!(shown(b"..\\..\\boot.ini"), "..\\\\..\\\\boot.ini");
        assert_eq!(shown(b"/../etc\n\xff"), "/../etc\\n\\xff");
        assert_eq!(shown("B\u{fc}ro \u{202e}x".as_bytes()), "B\u{fc}ro \\u{202e}x");
        assert_eq!(shown(&[b'a'; 300]), format!("{}...", "a".repeat(SAID_BYTES_MAX)));
    }

    #[test]
    fn a_name_that_is_none_is_told_with_its_own_fault() {
        let said = |why| said(Outcome::Refused(Refusal::BadName(why)), None, Verb::Fetch, 0);
        assert!(said(BadName::Hidden).contains("begins with a dot"));
        assert!(said(BadName::Parent).contains("`..`"));
        assert!(said(BadName::Colon).contains("colon"));
        let escaped = Outcome::Refused(Refusal::BadEscape);
        assert!(self::said(escaped, Some(400), Verb::Fetch, 0).contains("escapes"));
    }

    #[test]
    fn a_phones_own_reason_is_told_with_what_it_has_of_the_file() {
        let outcome = Outcome::Aborted(Abort::ByPhone(0));
        let text = b"signature check failed\n\x1b[2J".as_slice();
        let record = Record {
            bytes: 9_728,
            of_bytes: Some(3_000_000),
            words: Some(text.into()),
            ..record("10.0.0.1:5", b"a.txt", outcome)
        };
        let log_reason = LogReason::new(&outcome, record.verb, record.bytes);
        assert_eq!(log_reason.level, Level::WARN);
        assert_eq!(
            sentence(&record, log_reason, None, Some("a.txt")),
            "fetches a.txt: aborted after 9728 of 3000000 bytes: the phone gave up (ERROR 0): \
             \"signature check failed\\n\\u{1b}[2J\"",
        );
    }

    #[test]
    fn a_phone_that_never_answered_is_a_warning_with_the_port_that_it_was_sent_to_from() {
        let record = Record {
            server_port: Some(40_123),
            ..record("10.0.0.1:5", b"a.txt", Outcome::TimedOut)
        };
        let log_reason = LogReason::new(&record.outcome, record.verb, record.bytes);
        assert_eq!(log_reason.level, Level::WARN);
        assert_eq!(
            sentence(&record, log_reason, None, Some("a.txt")),
            "fetches a.txt: timed_out: the phone never answered what was sent to it from port \
             40123 of this server"
        );
    }

    #[test]
    fn only_what_fails_on_this_side_is_an_error() {
        let level = |outcome| LogReason::new(&outcome, Verb::Fetch, 1).level;
        assert_eq!(level(Outcome::Done), Level::INFO);
        assert_eq!(level(Outcome::Aborted(Abort::OptionsProbe)), Level::INFO);
        assert_eq!(level(MISSING), Level::INFO);
        assert_eq!(level(Outcome::Refused(Refusal::AccessDenied)), Level::WARN);
        assert_eq!(level(Outcome::Failed(Failure::FileChanged)), Level::ERROR);
    }

    #[test]
    fn a_name_with_control_characters_cannot_forge_a_line() {
        let entry = engine::catalog::Entry::new(
            engine::catalog::RootId(0),
            "a\n2026 ERROR \u{1b}[31m",
            engine::catalog::blob::Version::default(),
        );
        let shown = SubjectName(&Subject::File(Arc::new(entry))).to_string();
        assert_eq!(shown, "a\\n2026 ERROR \\u{1b}[31m");
    }
}
