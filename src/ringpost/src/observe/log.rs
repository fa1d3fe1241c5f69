//! The output of log lines: standard error, or a file that rotates by size and by age.
//!
//! A full disk or a file that cannot be written is reported once on standard error, and the daemon
//! continues. A line is written whole or counted as lost.

use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal, Write};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use tracing::level_filters::LevelFilter;
use tracing::subscriber::SetGlobalDefaultError;
use tracing::{Level, Metadata};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime as SystemClock};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::{Layer as _, Registry, fmt, reload};

use crate::config::{Log, LogFormat};
use crate::observe::journal;
use crate::observe::stderr_lines::StderrLines;
use crate::observe::whole_lines::WholeLines;
use store::vault::regular;

/// How long a file that could not be opened is not tried again.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// Names, addresses and User-Agents of phones are private.
const FILE_MODE: u32 = 0o640;

/// The process has a log already.
#[derive(Debug)]
pub(crate) struct LogError(SetGlobalDefaultError);

impl std::fmt::Display for LogError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the log cannot be set up: {}", self.0)
    }
}

impl std::error::Error for LogError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0)
    }
}

/// The log while the daemon runs.
pub(crate) struct LogHandle {
    output: Output,
    level: reload::Handle<LevelFilter, Registry>,
}

impl LogHandle {
    /// Sets up the process's log; call it once. Lines go to standard error until the first
    /// [`LogHandle::change`]: a file is opened only by the user that the daemon becomes.
    ///
    /// # Errors
    /// The process has a log already.
    pub(crate) fn start(log: &Log) -> Result<Self, LogError> {
        let output = Output::default();
        output.0.to_journal.store(journal::is_reading(), Relaxed);
        let (filter, level) = reload::Layer::new(LevelFilter::from_level(log.level));
        // https://no-color.org: any value counts.
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let colours = log.file.is_none() && io::stderr().is_terminal() && !plain;
        let lines = fmt::layer().with_ansi(colours);
        let lines = lines.with_target(false).with_writer(PriorityOutput(output.clone()));
        let lines = match log.format {
            LogFormat::Text => lines.with_timer(LineTime(output.clone())).boxed(),
            LogFormat::Json => lines.json().flatten_event(true).boxed(),
        };
        // Not `try_init`, which also takes what libraries write for their own developers by the
        // crate `log`.
        let subscriber = tracing_subscriber::registry().with(filter).with(lines);
        tracing::subscriber::set_global_default(subscriber).map_err(LogError)?;
        Ok(LogHandle { output, level })
    }

    /// Creates one without output: a process has a single log, and tests have many daemons.
    #[cfg(test)]
    pub(crate) fn unheard() -> Self {
        let (_, level) = reload::Layer::new(LevelFilter::INFO);
        LogHandle { output: Output::default(), level }
    }

    /// Applies new settings, all but `format`.
    pub(crate) fn change(&self, log: &Log) {
        // It fails only if the log is gone.
        let _ = self.level.reload(LevelFilter::from_level(log.level));
        let shared = &*self.output.0;
        *shared.sink.lock() = Sink::new(log);
        shared.to_journal.store(log.file.is_none() && journal::is_reading(), Relaxed);
    }

    /// Returns the number of lines lost since the start.
    #[must_use]
    pub(crate) fn lines_lost(&self) -> u64 {
        self.output.0.lost.load(Relaxed)
    }

    /// Returns how many lines were lost since the last call, once lines are written again.
    pub(crate) fn gap(&self) -> Option<u64> {
        let shared = &*self.output.0;
        let lost = shared.lost.load(Relaxed);
        if lost == shared.lost_reported.load(Relaxed) || !shared.writes.load(Relaxed) {
            return None;
        }
        Some(lost - shared.lost_reported.swap(lost, Relaxed))
    }
}

/// The log's output, shared by all threads that log.
#[derive(Clone, Default)]
struct Output(Arc<Shared>);

#[derive(Default)]
struct Shared {
    sink: Mutex<Sink>,
    /// Lines that could not be written, and how many of them the log has reported.
    lost: AtomicU64,
    lost_reported: AtomicU64,
    /// Whether the last line was written.
    writes: AtomicBool,
    /// Whether the journal reads the lines: it adds the time itself and needs their priority.
    to_journal: AtomicBool,
}

impl Output {
    fn is_journal(&self) -> bool {
        self.0.to_journal.load(Relaxed)
    }
}

/// Writes the time before a line, unless the journal adds it.
struct LineTime(Output);

impl FormatTime for LineTime {
    fn format_time(&self, line: &mut Writer<'_>) -> std::fmt::Result {
        if self.0.is_journal() { Ok(()) } else { SystemClock.format_time(line) }
    }
}

/// Writes each line with the priority of its level, for the journal.
struct PriorityOutput(Output);

impl<'a> MakeWriter<'a> for PriorityOutput {
    type Writer = PriorityWriter;

    fn make_writer(&'a self) -> PriorityWriter {
        PriorityWriter { output: self.0.clone(), level: Level::INFO }
    }

    fn make_writer_for(&'a self, of: &Metadata<'_>) -> PriorityWriter {
        PriorityWriter { output: self.0.clone(), level: *of.level() }
    }
}

/// One line that is being written.
struct PriorityWriter {
    output: Output,
    level: Level,
}

impl Write for PriorityWriter {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.output.is_journal() {
            // Without a time the line begins with a separator.
            let priority = journal::priority(self.level).as_bytes();
            self.output.write_all(&[priority, line.trim_ascii_start()].concat())?;
        } else {
            self.output.write_all(line)?;
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Write for Output {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut sink = self.0.sink.lock();
        let is_written = sink.write_line(line, SystemTime::now());
        self.0.writes.store(is_written, Relaxed);
        if !is_written {
            self.0.lost.fetch_add(1, Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

enum Sink {
    Stderr(StderrLines),
    File(RotatingFile),
}

impl Default for Sink {
    fn default() -> Self {
        Sink::Stderr(StderrLines::default())
    }
}

impl Sink {
    fn new(log: &Log) -> Self {
        match &log.file {
            None => Sink::default(),
            Some(path) => Sink::File(RotatingFile::new(path, log)),
        }
    }

    /// Writes a line and returns whether it was written or lost.
    fn write_line(&mut self, line: &[u8], now: SystemTime) -> bool {
        match self {
            Sink::Stderr(lines) => lines.write_line(line),
            Sink::File(file) => match file.write_line(line, now) {
                Ok(()) => true,
                Err(trouble) => {
                    if let Some(trouble) = trouble {
                        let line = format!("ringpost: {trouble}");
                        let line = journal::lines(Level::ERROR, &line);
                        StderrLines::default().write_line(line.as_bytes());
                    }
                    false
                }
            },
        }
    }
}

/// A file that is replaced at a size or an age; `x.log` becomes `x.log.1`, and so on.
struct RotatingFile {
    path: PathBuf,
    bytes_max: u64,
    files_max: usize,
    age_max: Duration,
    open: Option<Open>,
    tried_at: Option<SystemTime>,
    /// Whether the current fault has been reported.
    is_reported: bool,
}

struct Open {
    file: File,
    bytes: u64,
    since: SystemTime,
    lines: WholeLines,
}

impl RotatingFile {
    fn new(path: &Path, log: &Log) -> Self {
        RotatingFile {
            path: path.to_owned(),
            bytes_max: log.file_bytes_max,
            files_max: log.files_max,
            age_max: log.age_max,
            open: None,
            tried_at: None,
            is_reported: false,
        }
    }

    /// Writes a line.
    ///
    /// # Errors
    /// The fault, once.
    fn write_line(&mut self, line: &[u8], now: SystemTime) -> Result<(), Option<String>> {
        match self.try_line(line, now) {
            Ok(()) => {
                self.is_reported = false;
                Ok(())
            }
            Err(fault) => {
                let path = self.path.display();
                let trouble = format!(
                    "the log file {path} cannot be written ({fault}); lines are lost until it \
                     can: free the disk or mend its rights, the daemon goes on"
                );
                let first = !self.is_reported;
                self.is_reported = true;
                Err(first.then_some(trouble))
            }
        }
    }

    fn try_line(&mut self, line: &[u8], now: SystemTime) -> io::Result<()> {
        let full = self.open.as_ref().is_some_and(|open| {
            let aged = now.duration_since(open.since).is_ok_and(|age| age >= self.age_max);
            let grown = open.bytes.saturating_add(line.len() as u64) > self.bytes_max;
            open.bytes > 0 && (grown || (aged && !self.age_max.is_zero()))
        });
        if full {
            self.open = None;
            self.shift()?;
        }
        let open = match &mut self.open {
            Some(open) => open,
            none => none.insert(reopen(&self.path, &mut self.tried_at, now)?),
        };
        let written = open.lines.write(&mut open.file, line);
        open.bytes += line.len() as u64;
        written
    }

    /// Makes room for a new file: renames each old one to the next number, and removes the last.
    fn shift(&self) -> io::Result<()> {
        let numbered = |number: usize| match number {
            0 => self.path.clone(),
            number => {
                let mut name = self.path.clone().into_os_string();
                name.push(format!(".{number}"));
                name.into()
            }
        };
        if self.files_max == 1 {
            return std::fs::remove_file(&self.path);
        }
        for number in (0..self.files_max - 1).rev() {
            match std::fs::rename(numbered(number), numbered(number + 1)) {
                Err(fault) if fault.kind() != io::ErrorKind::NotFound => return Err(fault),
                Ok(()) | Err(_) => {}
            }
        }
        Ok(())
    }
}

fn reopen(path: &Path, tried_at: &mut Option<SystemTime>, now: SystemTime) -> io::Result<Open> {
    let lately =
        tried_at.is_some_and(|at| now.duration_since(at).is_ok_and(|age| age < RETRY_AFTER));
    if lately {
        return Err(io::Error::other("it could not be opened a moment ago"));
    }
    *tried_at = Some(now);
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir)?;
    }
    let mut options = OpenOptions::new();
    let file = regular::open(path, options.append(true).create(true).mode(FILE_MODE))?;
    let seen = file.metadata()?;
    let since = if seen.len() == 0 { now } else { seen.created().unwrap_or(now) };
    *tried_at = None;
    let lines = WholeLines { is_cut: ends_cut(path, seen.len()) };
    Ok(Open { file, bytes: seen.len(), since, lines })
}

/// Returns whether a file ends in the middle of a line, as after a stop with a full disk. An
/// unreadable file counts as whole.
fn ends_cut(path: &Path, bytes: u64) -> bool {
    let Some(at) = bytes.checked_sub(1) else { return false };
    let mut last = [b'\n'];
    let read = File::open(path).and_then(|file| file.read_exact_at(&mut last, at));
    read.is_ok() && last != *b"\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt as _;

    fn log(path: &Path, file_bytes_max: u64, age_max: Duration) -> RotatingFile {
        let log = Log {
            format: LogFormat::Text,
            file: None,
            file_bytes_max,
            files_max: 3,
            age_max,
            level: tracing::Level::INFO,
        };
        RotatingFile::new(path, &log)
    }

    fn read(path: &Path, end: &str) -> Option<String> {
        std::fs::read_to_string(format!("{}{end}", path.display())).ok()
    }

    #[test]
    fn a_new_file_begins_at_the_size_and_the_oldest_goes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("logs/a.log");
        let mut log = log(&path, 8, Duration::ZERO);
        for line in ["one1\n", "two\n", "three\n", "four4\n", "five5\n"] {
            assert_eq!(log.write_line(line.as_bytes(), SystemTime::now()), Ok(()));
        }
        assert_eq!(read(&path, "").as_deref(), Some("five5\n"));
        assert_eq!(read(&path, ".1").as_deref(), Some("four4\n"));
        assert_eq!(read(&path, ".2").as_deref(), Some("three\n"));
        assert_eq!(read(&path, ".3"), None);
    }

    #[test]
    fn a_log_file_is_for_its_owner_and_group_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.log");
        let _ = log(&path, 1 << 20, Duration::ZERO).write_line(b"one\n", SystemTime::now());
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o137, 0);
    }

    #[test]
    fn a_line_has_a_priority_for_the_journal_and_a_time_for_everybody_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.log");
        let output = Output::default();
        *output.0.sink.lock() = Sink::File(log(&path, 1 << 20, Duration::ZERO));
        for (to_journal, wanted) in [(true, "<4>WARN late\n"), (false, "Z  WARN late\n")] {
            output.0.to_journal.store(to_journal, Relaxed);
            let mut line = String::new();
            LineTime(output.clone()).format_time(&mut Writer::new(&mut line)).unwrap();
            line += "  WARN late\n";
            let mut writer = PriorityWriter { output: output.clone(), level: Level::WARN };
            writer.write_all(line.as_bytes()).unwrap();
            let text = read(&path, "").unwrap();
            assert!(text.ends_with(wanted), "{text}");
            assert_eq!(text.contains("Z  WARN"), !to_journal);
        }
    }

    #[test]
    fn a_new_file_begins_at_the_age() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.log");
        let mut log = log(&path, 1 << 20, Duration::from_secs(60));
        let start = SystemTime::now();
        for seconds in [0, 59, 61, 62] {
            let line = format!("{seconds}\n");
            let _ = log.write_line(line.as_bytes(), start + Duration::from_secs(seconds));
        }
        assert_eq!(read(&path, "").as_deref(), Some("61\n62\n"));
        assert_eq!(read(&path, ".1").as_deref(), Some("0\n59\n"));
    }

    #[test]
    fn a_file_that_cannot_be_written_is_told_once_and_tried_again_later() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.log");
        std::fs::create_dir(&path).unwrap();
        let mut log = log(&path, 1 << 20, Duration::ZERO);
        let start = SystemTime::now();
        let trouble = log.write_line(b"lost\n", start).unwrap_err().unwrap();
        assert!(trouble.contains("a.log cannot be written"), "{trouble}");
        assert_eq!(log.write_line(b"lost\n", start), Err(None));
        std::fs::remove_dir(&path).unwrap();
        assert_eq!(log.write_line(b"kept\n", start + RETRY_AFTER), Ok(()));
        assert_eq!(read(&path, "").as_deref(), Some("kept\n"));
    }

    #[test]
    fn a_pipe_that_nobody_reads_is_no_log_and_is_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.log");
        assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
        let mut log = log(&path, 1 << 20, Duration::ZERO);
        let trouble = log.write_line(b"lost\n", SystemTime::now()).unwrap_err().unwrap();
        assert!(trouble.contains("(it is no regular file)"), "{trouble}");
    }

    #[test]
    fn a_part_of_a_line_that_the_run_before_left_is_ended() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.log");
        std::fs::write(&path, "whole\nhal").unwrap();
        let mut log = log(&path, 1 << 20, Duration::ZERO);
        assert_eq!(log.write_line(b"next\n", SystemTime::now()), Ok(()));
        assert_eq!(read(&path, "").as_deref(), Some("whole\nhal\nnext\n"));
    }

    #[test]
    fn lines_that_are_lost_are_counted_and_told_once_lines_are_written_again() {
        let dir = tempfile::tempdir().unwrap();
        let handle = LogHandle::unheard();
        let mut output = handle.output.clone();
        let mut broken = log(dir.path(), 1 << 20, Duration::ZERO);
        broken.is_reported = true;
        *handle.output.0.sink.lock() = Sink::File(broken);
        output.write_all(b"lost\n").unwrap();
        output.write_all(b"lost too\n").unwrap();
        assert_eq!((handle.lines_lost(), handle.gap()), (2, None));
        let whole = log(&dir.path().join("a.log"), 1 << 20, Duration::ZERO);
        *handle.output.0.sink.lock() = Sink::File(whole);
        output.write_all(b"kept\n").unwrap();
        assert_eq!((handle.gap(), handle.gap(), handle.lines_lost()), (Some(2), None, 2));
    }
}
