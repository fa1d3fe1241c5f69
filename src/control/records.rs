//! From what became of each transfer to lines of the log: one line each, but never a flood.
//!
//! Workers push records into a bounded queue and never wait; one thread writes them. The same
//! thing again from the same phone is counted and told in one line at the end of a while.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::{self, JoinHandle};

use tracing::Level;
use tracing::level_filters::LevelFilter;

use crate::content::files::{Fault, Why};
use crate::content::{OpenError, StoreError};
use crate::net::Clock;
use crate::net::view::RecordSink;
use crate::session::snmp::NoPassport;
use crate::session::{Abort, Failure, Handshake, Outcome, Record, Refusal, Subject, Verb};
use crate::time::{Duration, Instant};
use crate::wire::http::request::Malformed;

/// How often the queue is looked at.
const DRAIN_EVERY: Duration = Duration::from_millis(50);
/// How long repeats are summed before they are told.
const WHILE: Duration = Duration::from_secs(10);
/// Lines about one phone and one reason in a while, each about another file.
const LINES_EACH_MAX: u32 = 8;
/// Pairs of phone and reason that are told apart in a while.
const PAIRS_MAX: usize = 2_048;

/// The thread that writes records to the log.
#[derive(Debug)]
pub struct RecordWriter {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl RecordWriter {
    /// Starts it.
    ///
    /// # Errors
    /// When the system has no thread left.
    pub fn start(sink: Arc<RecordSink>, clock: Clock) -> std::io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::Builder::new().name("log".into()).spawn(move || {
            let mut floods = Floods::default();
            loop {
                let last = stopped.load(Relaxed);
                sink.tell_done(LevelFilter::current() >= LevelFilter::INFO);
                while let Some(record) = sink.pop() {
                    write(&record, &mut floods, clock.now());
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

    /// Writes what is left and ends.
    pub fn stop(self) {
        self.stop.store(true, Relaxed);
        // A panic of the thread has already been told on standard error.
        let _ = self.thread.join();
    }
}

/// An outcome as the log tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Told {
    /// One word, to search and count by.
    outcome: &'static str,
    /// Why, in words; empty where all went well.
    reason: &'static str,
    level: Level,
}

impl Told {
    fn new(outcome: &Outcome, verb: Verb, bytes: u64) -> Self {
        let told = |outcome, reason, level| Told { outcome, reason, level };
        match outcome {
            Outcome::Done => told("done", "", Level::INFO),
            Outcome::DoneUnacknowledged => {
                told("done", "the last acknowledgement is missing", Level::INFO)
            }
            Outcome::Aborted(abort) => {
                let (reason, level) = abort_reason(*abort, verb, bytes);
                told("aborted", reason, level)
            }
            Outcome::Superseded => told("superseded", "the phone asked again", Level::INFO),
            Outcome::TimedOut if bytes == 0 => {
                told("timed_out", "the phone never answered", Level::INFO)
            }
            Outcome::TimedOut => told("timed_out", "the phone fell silent", Level::WARN),
            Outcome::Refused(refusal) => {
                let (reason, level) = refusal_reason(*refusal);
                told("refused", reason, level)
            }
            Outcome::Failed(failure) => told("failed", failure_reason(*failure), Level::ERROR),
        }
    }

    /// Whether repeats are summed. What ended well and what failed on this side is always told.
    fn may_flood(self) -> bool {
        !matches!(self.outcome, "done" | "failed")
    }
}

fn abort_reason(abort: Abort, verb: Verb, bytes: u64) -> (&'static str, Level) {
    match (abort, verb) {
        (Abort::OptionsProbe, _) => ("the phone only wanted to know the size", Level::INFO),
        (Abort::ByPhone(3), _) => ("the phone said that its disk is full", Level::INFO),
        (Abort::ByPhone(_), _) => ("the phone had what it wanted", Level::INFO),
        (Abort::Disconnected, Verb::Fetch) if bytes > 0 => {
            ("the phone closed the connection: it had read what it wanted", Level::INFO)
        }
        (Abort::Asked, _) => ("the client broke it off (ABOR)", Level::INFO),
        (Abort::Disconnected, Verb::Fetch | Verb::Ask | Verb::Connect | Verb::List) => {
            ("the phone closed the connection before it was answered", Level::INFO)
        }
        (
            Abort::Disconnected,
            Verb::Send | Verb::Delete | Verb::LogIn | Verb::Make | Verb::Rename,
        ) => ("the phone closed the connection before it was answered", Level::WARN),
    }
}

fn refusal_reason(refusal: Refusal) -> (&'static str, Level) {
    match refusal {
        Refusal::Malformed => ("the request breaks the protocol", Level::WARN),
        Refusal::BadName => ("the name leads out of the root or cannot be a file", Level::WARN),
        // Phones ask for many files that need not exist: that is how they find those that do.
        Refusal::NoSuchFile => ("no such file", Level::INFO),
        Refusal::AccessDenied => ("the phone is not on the access list", Level::WARN),
        Refusal::UploadNotAllowed => ("no [[upload]] row allows this name", Level::WARN),
        Refusal::UploadTooLarge => {
            ("larger than `max` of its [[upload]] row or of [vault]", Level::WARN)
        }
        Refusal::ModeUnknown => ("the mode is neither octet nor netascii", Level::WARN),
        Refusal::NoSlot => ("all places are taken (clients_max)", Level::WARN),
        Refusal::TooManyTransfers => ("too many transfers are open (transfers_max)", Level::WARN),
        Refusal::Stopping => ("the server is about to stop", Level::INFO),
        Refusal::MethodNotAllowed => ("the method is not for this file", Level::WARN),
        Refusal::NotImplemented => ("the method is not served", Level::WARN),
        Refusal::BadRequest(fault) => (fault_reason(fault), Level::WARN),
        Refusal::LengthRequired => ("the body has no length", Level::WARN),
        Refusal::RangeNotSatisfiable => ("no such range in the file", Level::INFO),
        Refusal::PreconditionFailed => ("a condition of the request does not hold", Level::INFO),
        Refusal::ExpectationUnknown => ("the phone expects what is not offered", Level::WARN),
        Refusal::Unauthorized => ("no secret was sent, or a wrong one", Level::WARN),
        Refusal::CertificateNeeded => (
            "the vault is for phones that show a client certificate (auth in [vault])",
            Level::WARN,
        ),
        Refusal::SlowedDown => ("too many wrong secrets came from the address", Level::WARN),
        Refusal::TooSlow => ("the request or its body came too slowly", Level::WARN),
        Refusal::TooManyConnections => {
            ("too many connections (per_address or max in [connections])", Level::WARN)
        }
        Refusal::Handshake(why) => (handshake_reason(why), Level::WARN),
        Refusal::Unidentified(why) => (passport_reason(why), Level::WARN),
        Refusal::NobodyLoggedIn => ("nobody is logged in at the phone (SNMP)", Level::WARN),
        Refusal::OtherExtension => {
            ("another extension is logged in at the phone than the name carries", Level::WARN)
        }
        Refusal::ExtensionMissing => (
            "the name carries no extension, and `bypass` keeps the phone from being asked",
            Level::WARN,
        ),
        Refusal::DataConnection(fault) => (fault.words(), Level::WARN),
        Refusal::Files(fault) => (files_reason(fault), Level::INFO),
        Refusal::ForeignHttp => {
            ("what came is HTTP and no FTP: the session was ended", Level::WARN)
        }
        Refusal::ForeignTls => {
            ("the client spoke TLS without AUTH TLS; give it the port of `tls_listen`", Level::WARN)
        }
    }
}

/// Why an administrator did not get what was asked for.
fn files_reason(fault: Fault) -> &'static str {
    match fault {
        Fault::NotThere => "there is no such file or directory",
        Fault::Exists => "there is one of this name already",
        Fault::NotEmpty => "the directory is not empty",
        Fault::IsDirectory => "it is a directory",
        Fault::NotDirectory => "it is no directory",
        Fault::Forbidden(Why::System) => {
            "the system does not allow it: the user that Ringpost runs as lacks the right"
        }
        Fault::Forbidden(Why::Protected) => "it belongs to the server itself",
        Fault::Forbidden(
            Why::Virtual | Why::Root | Why::Hidden | Why::Name(_) | Why::Special | Why::IntoItself,
        ) => "it is not for administrators either",
        Fault::Full => "the disk or the quota is full",
        Fault::TooLarge => "the file is larger than the configuration allows",
        Fault::TooMany => "the directory holds too much for one listing",
        Fault::BeyondEnd => "the file ends before the place to go on at",
        Fault::BrokenOff => "an upload of it was broken off, and nothing was kept of it",
        Fault::Busy => "the server or the file was busy",
        Fault::Io => "the disk failed",
        Fault::CrossArea => "the two places lie on two disks",
    }
}

/// Why nobody knows who uses a phone, and what to do.
fn passport_reason(why: NoPassport) -> &'static str {
    match why {
        NoPassport::Silent => {
            "the phone does not answer by SNMP: set SNMPSTRING and SNMPADD on it, or name its \
             network in `bypass`"
        }
        NoPassport::Stranger | NoPassport::Refused(_) | NoPassport::TooMany => why.words(),
        NoPassport::NoCommunity => "no row of `communities` in [snmp] is for the phone's network",
    }
}

/// Why what came is no request, and which limit stands in its way where one does.
fn fault_reason(fault: Malformed) -> &'static str {
    match fault {
        Malformed::HeadTooLarge => "the head of the request is too large (head_max)",
        Malformed::TooManyLines => "the head of the request has too many lines (head_lines_max)",
        Malformed::TlsHello => {
            "the phone spoke TLS to a port that speaks plain HTTP; give it the port of an [[https]]"
        }
        Malformed::BadRequest(_)
        | Malformed::TargetTooLong
        | Malformed::VersionUnknown
        | Malformed::TransferCodingUnknown => fault.sentence(),
    }
}

/// Why a connection was not secured, and what to do where something can be done.
fn handshake_reason(why: Handshake) -> &'static str {
    match why {
        Handshake::Untrusted => {
            "the phone does not trust this server's certificate; give it the CA (`ringpost \
             certificate export`), or a certificate from a CA that it knows"
        }
        Handshake::CertificateRefused => {
            "the phone refuses the certificate: its name or its dates (`ringpost certificate show`)"
        }
        Handshake::NoSharedVersion => {
            "the phone speaks no TLS that this listener speaks; old phones need a listener with \
             `legacy = true`"
        }
        Handshake::NoSharedSuite => {
            "the phone has no cipher suite that this listener has; old phones need one with \
             `legacy = true`, phones of today one without `authenticate_only`"
        }
        Handshake::PlainRequest => "the phone spoke plain HTTP to a port that speaks TLS",
        Handshake::NotTls => "what came is no TLS",
        Handshake::NoClientCertificate => "the phone showed no client certificate",
        Handshake::ExpiredClientCertificate => {
            "the phone's certificate has expired, or does not hold yet"
        }
        Handshake::RevokedClientCertificate => "the phone's certificate is revoked (client_crl)",
        Handshake::StrangeClientCertificate => {
            "the phone's certificate is issued by none of those in client_ca"
        }
        Handshake::BadClientCertificate => "the phone's certificate is not accepted",
        Handshake::TooSlow => {
            "the handshake was not through in time (head_timeout); where this is every phone of a \
             network, large packets may be lost on the way (MTU)"
        }
        Handshake::Abandoned => "the phone closed the connection during the handshake",
        Handshake::Failed => "the handshake failed",
    }
}

fn failure_reason(failure: Failure) -> &'static str {
    match failure {
        Failure::Open(OpenError::Gone) => "the file has gone",
        Failure::Open(OpenError::Forbidden) => "the server may not read the file",
        Failure::Open(OpenError::NotServable) => "the file is no regular file beneath its root",
        Failure::Open(OpenError::BeingWritten) => "somebody keeps writing to the file",
        Failure::Open(OpenError::TooLarge) => "the file is too large for this mode",
        Failure::Open(OpenError::Io) => "the disk failed",
        Failure::Open(OpenError::Busy) => "the disks could not keep up",
        Failure::Store(StoreError::Full) => "the disk or the quota is full",
        Failure::Store(StoreError::Exists) => "the file exists and is never replaced",
        Failure::Store(StoreError::Precondition) => "the file is not the one that was expected",
        Failure::Store(StoreError::Forbidden) => {
            "the server may not read or write there, or a directory has the file's place"
        }
        Failure::Store(StoreError::Io) => "the disk failed",
        Failure::Store(StoreError::Busy) => "the disks could not keep up",
        Failure::FileChanged => "the file was changed in place while it was sent",
        Failure::SendRefused => "the system refused to send",
        Failure::Stopped => "the server stopped",
    }
}

/// The file's name with every control character escaped.
struct Shown<'a>(&'a Subject);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Subject::File(entry) => write!(f, "{}", entry.path.escape_debug()),
            Subject::Name(name) => write!(f, "{name}"),
            Subject::Said(bytes) => write!(f, "{}", bytes.escape_ascii()),
            Subject::Unreadable => f.write_str("(unreadable name)"),
        }
    }
}

fn write(record: &Record, floods: &mut Floods, now: Instant) {
    let told = Told::new(&record.outcome, record.verb, record.bytes);
    if !is_written(told.level) {
        return;
    }
    let file = Shown(&record.subject).to_string();
    let ip = record.peer.ip().to_canonical();
    if told.may_flood() && !floods.admits(ip, told, &file, now) {
        return;
    }
    let text = sentence(record, told, &file);
    let ms = u64::try_from(record.took.as_millis()).unwrap_or(u64::MAX);
    let rtt_us = record.round_trip.and_then(|rtt| u64::try_from(rtt.as_micros()).ok());
    macro_rules! line {
        ($level:expr) => {
            tracing::event!(
                target: "transfer",
                $level,
                ip = %ip,
                port = record.peer.port(),
                protocol = record.protocol.name(),
                verb = record.verb.word(),
                file,
                bytes = record.bytes,
                ms,
                resent = record.blocks_resent,
                rtt_us,
                status = record.status,
                tls = record.secured.map(|secured| secured.version),
                suite = record.secured.map(|secured| secured.suite),
                outcome = told.outcome,
                "{ip} {text}",
            )
        };
    }
    at_level!(told.level, line);
}

/// What the phone did and what became of it, for people. HTTP's logs are searched by status.
fn sentence(record: &Record, told: Told, file: &str) -> String {
    let did = record.verb.word();
    let (blank, file) = match record.verb {
        Verb::Connect => ("", ""),
        Verb::Fetch
        | Verb::Send
        | Verb::Delete
        | Verb::Ask
        | Verb::List
        | Verb::LogIn
        | Verb::Make
        | Verb::Rename => (" ", file),
    };
    let code = record.status.map_or(String::new(), |status| format!(" ({status})"));
    let why = if told.reason.is_empty() { "" } else { ": " };
    format!("{did}{blank}{file}: {}{code}{why}{}", told.outcome, told.reason)
}

/// Whether lines of this level are written at all: a busy server makes many that are not.
fn is_written(level: Level) -> bool {
    match level {
        Level::ERROR => tracing::enabled!(target: "transfer", Level::ERROR),
        Level::WARN => tracing::enabled!(target: "transfer", Level::WARN),
        Level::INFO | Level::DEBUG | Level::TRACE => {
            tracing::enabled!(target: "transfer", Level::INFO)
        }
    }
}

/// What was told of each phone lately, and what was left untold.
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
    /// Whether this is to be told now; if not, it is counted.
    fn admits(&mut self, ip: IpAddr, told: Told, file: &str, now: Instant) -> bool {
        if self.pairs.is_empty() && self.others == 0 {
            self.since = now;
        }
        let room = self.pairs.len() < PAIRS_MAX;
        let key = (ip, told.reason);
        if !room && !self.pairs.contains_key(&key) {
            self.others += 1;
            return false;
        }
        let pair = self.pairs.entry(key).or_insert_with(|| Pair {
            level: told.level,
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

    /// Tells what was counted, once a while is over.
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

/// One line about many.
#[derive(Debug, PartialEq, Eq)]
struct Summary {
    ip: Option<IpAddr>,
    reason: &'static str,
    untold: u64,
    level: Level,
}

/// An event's level must be known when the program is built.
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
    use crate::count::Counters;
    use crate::net::view::RECORDS_MAX;
    use crate::session::Protocol;
    use crate::wire::name::FileName;

    fn record(peer: &str, file: &[u8], outcome: Outcome) -> Record {
        Record {
            protocol: Protocol::Tftp,
            peer: peer.parse().unwrap(),
            subject: FileName::parse(file)
                .map_or(Subject::Unreadable, |name| Subject::Name(Box::new(name))),
            verb: Verb::Fetch,
            began: Instant::START,
            took: Duration::from_millis(3),
            bytes: 0,
            blocks_resent: 0,
            status: None,
            round_trip: None,
            secured: None,
            outcome,
        }
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
        let told = Told::new(&MISSING, Verb::Fetch, 0);
        let now = Instant::from_millis(500);
        let admitted =
            ["a", "a", "a", "b"].map(|file| floods.admits(ip("10.0.0.1"), told, file, now));
        assert_eq!(admitted, [true, false, false, true]);
        assert!(floods.admits(ip("10.0.0.2"), told, "a", now));
        assert_eq!(floods.summary(now + Duration::from_secs(9)), []);
        let summary = floods.summary(now + WHILE);
        let (ip, reason) = (Some(ip("10.0.0.1")), "no such file");
        assert_eq!(summary, [Summary { ip, reason, untold: 2, level: Level::INFO }]);
        assert_eq!(floods.summary(now + WHILE * 3), []);
    }

    #[test]
    fn a_phone_that_asks_for_everything_gets_a_few_lines_in_a_while() {
        let mut floods = Floods::default();
        let told = Told::new(&Outcome::Refused(Refusal::AccessDenied), Verb::Fetch, 0);
        let lines = (0..1_000).filter(|number| {
            floods.admits(ip("10.0.0.1"), told, &number.to_string(), Instant::START)
        });
        assert_eq!(lines.count() as u32, LINES_EACH_MAX);
        assert_eq!(floods.summary(Instant::START + WHILE)[0].untold, 992);
    }

    #[test]
    fn a_flood_from_everywhere_is_bounded_in_memory_and_lines() {
        let mut floods = Floods::default();
        let told = Told::new(&MISSING, Verb::Fetch, 0);
        let lines = (0..100_000_u32).filter(|number| {
            floods.admits(IpAddr::V4((*number).into()), told, "a", Instant::START)
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
        sentence(&record, Told::new(&outcome, verb, bytes), "a.txt")
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
        assert!(said(Malformed::VersionUnknown).contains("neither HTTP/1.0 nor HTTP/1.1"));
        assert!(said(Malformed::BadRequest("two lengths")).ends_with(": two lengths"));
    }

    #[test]
    fn who_leaves_in_the_middle_has_read_enough_only_where_it_has_read() {
        let gone = Outcome::Aborted(Abort::Disconnected);
        let read = said(gone, Some(200), Verb::Fetch, 64);
        assert!(read.ends_with("it had read what it wanted"), "{read}");
        for verb in [Verb::Fetch, Verb::Send, Verb::Delete, Verb::Ask] {
            let bytes = u64::from(verb == Verb::Send) * 64;
            let left = said(gone, None, verb, bytes);
            assert!(left.ends_with("before it was answered"), "{left}");
        }
        assert_eq!(Told::new(&gone, Verb::Send, 64).level, Level::WARN);
    }

    #[test]
    fn what_stands_where_a_name_belongs_is_told_without_its_control_characters() {
        let shown = Shown(&Subject::Said((*b"/../etc\n\xff").into())).to_string();
        assert_eq!(shown, "/../etc\\n\\xff");
    }

    #[test]
    fn only_what_fails_on_this_side_is_an_error() {
        let level = |outcome| Told::new(&outcome, Verb::Fetch, 1).level;
        assert_eq!(level(Outcome::Done), Level::INFO);
        assert_eq!(level(Outcome::Aborted(Abort::OptionsProbe)), Level::INFO);
        assert_eq!(level(MISSING), Level::INFO);
        assert_eq!(level(Outcome::Refused(Refusal::AccessDenied)), Level::WARN);
        assert_eq!(level(Outcome::Failed(Failure::FileChanged)), Level::ERROR);
    }

    #[test]
    fn a_name_with_control_characters_cannot_forge_a_line() {
        let entry = crate::content::Entry::new(
            crate::content::RootId(0),
            "a\n2026 ERROR \u{1b}[31m",
            crate::content::blob::Version::default(),
        );
        let shown = Shown(&Subject::File(Arc::new(entry))).to_string();
        assert_eq!(shown, "a\\n2026 ERROR \\u{1b}[31m");
    }
}
