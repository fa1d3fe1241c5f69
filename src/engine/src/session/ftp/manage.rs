//! Administrators' operations on the data directories beside transfers, and the replies to them.
//!
//! The log has a record of every change and its user.

use crate::catalog::StoreError;
use crate::files::{FilesError, FilesOp, FilesReply, Form, TreePath, UploadMode};
use crate::session::ftp::authorize::{capital, subject, to_read};
use crate::session::ftp::context::Context;
use crate::session::ftp::login::said;
use crate::session::ftp::session::{Goal, LogContext, Pending, ReplyKind, Session, SessionState};
use crate::session::{Failure, Outcome, Refusal, Verb};
use wire::ftp::calendar::{self, Moment};
use wire::ftp::command::Type;
use wire::ftp::reply::{self, Code};

/// Longest listing that is sent in a reply, in bytes; a longer one needs a data connection.
const LINES_BYTES_MAX: usize = 64 << 10;

/// The only supported word of `SITE`.
const CHMOD: &[u8] = b"CHMOD";

impl Session {
    /// Returns the path of the tree that an administrator named. Returns `None`, after a reply, if
    /// it is invalid.
    pub(super) fn path(&mut self, requested: &[u8]) -> Option<TreePath> {
        match TreePath::parse(&self.settings.cwd, requested) {
            Ok(path) => Some(path),
            Err(bad) => {
                self.reply(Code::NAME_DENIED, &capital(&bad.to_string()));
                None
            }
        }
    }

    /// Looks at a file or directory. Only a refusal is logged.
    pub(super) fn describe_path(&mut self, at: TreePath, then: ReplyKind, cx: &mut Context<'_>) {
        self.start_op(FilesOp::Describe { at }, then, None, cx);
    }

    /// Has an operation done, and replies.
    pub(super) fn start_op(
        &mut self,
        op: FilesOp,
        then: ReplyKind,
        log: Option<LogContext>,
        cx: &mut Context<'_>,
    ) {
        let log = match &op {
            FilesOp::Describe { at } if log.is_none() => {
                let subject = subject(at.to_string().as_bytes());
                Some(LogContext::new(subject, Verb::Ask, self.heard))
            }
            FilesOp::List { .. }
            | FilesOp::Describe { .. }
            | FilesOp::MakeDirectory { .. }
            | FilesOp::RemoveDirectory { .. }
            | FilesOp::Delete { .. }
            | FilesOp::Rename { .. }
            | FilesOp::Touch { .. }
            | FilesOp::Open { .. }
            | FilesOp::Begin { .. }
            | FilesOp::Write { .. }
            | FilesOp::Finish { .. }
            | FilesOp::Discard { .. } => log,
        };
        self.take_up(Pending::Operation(then), log, cx);
        self.submit_files_op(op, cx);
    }

    /// `DELE`, `RMD`, `MKD`.
    pub(super) fn change(
        &mut self,
        requested: &[u8],
        verb: Verb,
        op: fn(TreePath) -> FilesOp,
        cx: &mut Context<'_>,
    ) {
        let Some(at) = self.known_path(requested, verb, cx) else { return };
        let log = LogContext::new(subject(at.to_string().as_bytes()), verb, cx.now);
        let then = if verb == Verb::Make { ReplyKind::Made } else { ReplyKind::Done };
        self.start_op(op(at), then, Some(log), cx);
    }

    /// `RNFR`.
    pub(super) fn rename_from(&mut self, requested: &[u8], cx: &mut Context<'_>) {
        let Some(at) = self.known_path(requested, Verb::Rename, cx) else { return };
        self.settings.renaming = Some(at.clone());
        self.describe_path(at, ReplyKind::RenameFrom, cx);
    }

    /// `RNTO`.
    pub(super) fn rename_to(&mut self, requested: &[u8], cx: &mut Context<'_>) {
        let Some(from) = self.settings.renaming.take() else {
            return self.reply(Code::WRONG_ORDER, "Say RNFR first.");
        };
        let Some(to) = self.known_path(requested, Verb::Rename, cx) else { return };
        let log = LogContext::new(said(format!("{from} to {to}").as_bytes()), Verb::Rename, cx.now);
        self.start_op(FilesOp::Rename { from, to }, ReplyKind::Done, Some(log), cx);
    }

    /// `MFMT`.
    pub(super) fn touch(&mut self, moment: Moment, requested: &[u8], cx: &mut Context<'_>) {
        let Some(at) = self.known_path(requested, Verb::Send, cx) else { return };
        let then = ReplyKind::Touched(moment.unix_s, at.clone());
        self.start_op(FilesOp::Touch { at, unix_s: moment.unix_s }, then, None, cx);
    }

    /// `LIST`, `NLST`, `MLSD`.
    pub(super) fn list(&mut self, requested: &[u8], form: Form, cx: &mut Context<'_>) {
        let Some(at) = self.known_path(requested, Verb::List, cx) else { return };
        let log = LogContext::new(subject(at.to_string().as_bytes()), Verb::List, cx.now);
        self.start(Goal::List(at, text(requested), form), log, cx);
    }

    /// `RETR` of an administrator.
    pub(super) fn fetch(&mut self, requested: &[u8], cx: &mut Context<'_>) {
        let Some(at) = self.known_path(requested, Verb::Fetch, cx) else { return };
        let log = LogContext::new(subject(at.to_string().as_bytes()), Verb::Fetch, cx.now);
        self.start(Goal::Open(at), log, cx);
    }

    /// `STOR`, `APPE` and `STOU` of an administrator.
    pub(super) fn put(&mut self, requested: &[u8], mode: UploadMode, cx: &mut Context<'_>) {
        let Some(at) = self.known_path(requested, Verb::Send, cx) else { return };
        let log = LogContext::new(subject(at.to_string().as_bytes()), Verb::Send, cx.now);
        let mode = match (mode, self.settings.rest) {
            (_, 0) => mode,
            (UploadMode::Replace, rest) => UploadMode::Resume(rest),
            (UploadMode::Append | UploadMode::Unique | UploadMode::Resume(_), _) => {
                self.settings.rest = 0;
                self.note_refused(log, Refusal::NoMiddle, cx);
                let text = "REST is for RETR and STOR: this has no middle to start at.";
                return self.reply(Code::UNAVAILABLE, text);
            }
        };
        self.start(Goal::Begin(at, mode), log, cx);
    }

    /// Accepts `SITE CHMOD` and changes nothing: clients that copy modes send one for each file,
    /// and stop if it is refused.
    pub(super) fn change_mode(&mut self, words: &[u8], cx: &mut Context<'_>) {
        let words = words.get(CHMOD.len()..).unwrap_or_default().trim_ascii_start();
        let path =
            words.iter().position(|byte| *byte == b' ').map(|at| words[at..].trim_ascii_start());
        let Some(path) = path.filter(|path| !path.is_empty()) else {
            return self.reply(Code::BAD_ARGUMENT, "Say SITE CHMOD, a mode and a file.");
        };
        let Some(at) = self.known_path(path, Verb::Ask, cx) else { return };
        self.describe_path(at, ReplyKind::Mode, cx);
    }

    /// The same, but an invalid path is also logged.
    pub(super) fn known_path(
        &mut self,
        requested: &[u8],
        verb: Verb,
        cx: &mut Context<'_>,
    ) -> Option<TreePath> {
        if let Err(bad) = TreePath::parse(&self.settings.cwd, requested) {
            let log = LogContext::new(said(requested), verb, cx.now);
            self.note_refused(log, Refusal::BadPath(bad), cx);
        }
        self.path(requested)
    }

    /// Logs a look that will be refused: `SIZE`, `MDTM`.
    pub(super) fn note_describe(&mut self, requested: &[u8], is_size: bool, cx: &mut Context<'_>) {
        let is_text = is_size && self.settings.kind == Type::Ascii;
        let (said, no) = match TreePath::parse(&self.settings.cwd, requested) {
            Err(bad) => (said(requested), Refusal::BadPath(bad)),
            Ok(at) if is_text => (subject(at.to_string().as_bytes()), Refusal::SizeOfText),
            Ok(_) if self.is_administrator() => return,
            Ok(_) => match to_read(self, requested, cx) {
                (_, Ok(Goal::Read(_))) => return,
                (said, Ok(_)) => (said, Refusal::SizeOfVault),
                (said, Err(no)) => (said, no.refusal),
            },
        };
        let log = LogContext::new(said, Verb::Ask, cx.now);
        self.note_refused(log, no, cx);
    }

    /// A transfer of the tree has failed.
    pub(super) fn refuse_file(&mut self, fault: FilesError, cx: &mut Context<'_>) {
        let no = Outcome::Refused(Refusal::Files(fault));
        let job = self.job_mut();
        let lists = job.and_then(|job| job.log.as_ref()).is_some_and(|log| log.verb == Verb::List);
        // RFC 3659, 7.2.1.
        let is_no_directory = lists && fault == FilesError::NotDirectory;
        let code = if is_no_directory { Code::BAD_ARGUMENT } else { code(fault) };
        self.end_transfer(no, code, &capital(&fault.to_string()), cx);
    }

    /// An operation was done, or failed.
    pub(super) fn reply_op(
        &mut self,
        result: Result<FilesReply, FilesError>,
        cx: &mut Context<'_>,
    ) {
        let SessionState::Busy(job) = &self.state else { return };
        let Pending::Operation(then) = &job.pending else { return };
        let then = then.clone();
        match result.and_then(|done| then.fits(done)) {
            Ok(done) => {
                if then.is_look()
                    && let Some(job) = self.job_mut()
                {
                    job.log = None;
                }
                self.conclude(Outcome::Done, cx);
                self.tell_op(then, &done);
            }
            Err(fault) => {
                self.conclude(Outcome::Refused(Refusal::Files(fault)), cx);
                self.settings.renaming = None;
                self.reply(code(fault), &capital(&fault.to_string()));
            }
        }
    }

    /// A phone's file was deleted, or not.
    pub(super) fn handle_deleted(&mut self, result: Result<(), StoreError>, cx: &mut Context<'_>) {
        let SessionState::Busy(job) = &self.state else { return };
        let Pending::Operation(ReplyKind::Done) = &job.pending else { return };
        let (outcome, code, text) = match result {
            Ok(()) => {
                cx.counters.uploads_deleted.up();
                (Outcome::Done, Code::FILE_ACTION_DONE, Code::FILE_ACTION_DONE.text())
            }
            Err(StoreError::NotThere) => {
                let text = "There is no file of this name.";
                (Outcome::Refused(Refusal::NoSuchFile), Code::UNAVAILABLE, text)
            }
            Err(fault @ StoreError::NotAFile) => {
                let text = "That is a directory.";
                (Outcome::Refused(Refusal::Conflict(fault)), Code::UNAVAILABLE, text)
            }
            Err(fault @ StoreError::Busy) => {
                let text = "The disks cannot keep up; try again.";
                (Outcome::Failed(Failure::Store(fault)), Code::BUSY, text)
            }
            Err(fault @ StoreError::Unavailable) => {
                let text = "Its directory is away, or the disk does not answer.";
                (Outcome::Failed(Failure::Store(fault)), Code::BUSY, text)
            }
            Err(
                fault @ (StoreError::Full
                | StoreError::TotalMax
                | StoreError::Reserve
                | StoreError::Exists
                | StoreError::Precondition
                | StoreError::Forbidden
                | StoreError::Io
                | StoreError::NoMemory
                | StoreError::TooManyAside
                | StoreError::NoDescriptor),
            ) => {
                let text = "The server could not delete it; its log says why.";
                (Outcome::Failed(Failure::Store(fault)), Code::UNAVAILABLE, text)
            }
        };
        self.conclude(outcome, cx);
        self.reply(code, text);
    }

    fn tell_op(&mut self, then: ReplyKind, done: &FilesReply) {
        let out = &mut self.replies.bytes;
        match (then, done) {
            (ReplyKind::Enter, FilesReply::Described { at, .. }) => {
                self.settings.cwd = at.clone();
                reply::usual(out, Code::FILE_ACTION_DONE);
            }
            (ReplyKind::Size, FilesReply::Described { member, .. }) => {
                reply::line(out, Code::FILE_STATUS, member.bytes.to_string().as_bytes());
            }
            (ReplyKind::Modified, FilesReply::Described { member, .. }) => {
                tell_moment(out, "", member.modified_s, "");
            }
            (ReplyKind::Mode, _) => {
                reply::line(out, Code::SUPERFLUOUS, b"Modes are the server's own.")
            }
            (ReplyKind::Lines(code), FilesReply::Listed(bytes))
                if bytes.len() <= LINES_BYTES_MAX =>
            {
                let lines = bytes.split(|byte| *byte == b'\n');
                let lines = lines.map(|line| line.strip_suffix(b"\r").unwrap_or(line));
                let lines = lines.filter(|line| !line.is_empty());
                reply::lines(out, code, b"Here it is:", lines, b"End");
            }
            (ReplyKind::Lines(_), _) => {
                reply::line(out, Code::BUSY, b"That is too much; say LIST.")
            }
            (ReplyKind::RenameFrom, _) => reply::usual(out, Code::MORE_NEEDED),
            (ReplyKind::Made, FilesReply::Made { at }) => {
                reply::path(out, at.to_string().as_bytes(), "was made.");
            }
            (ReplyKind::Touched(unix_s, at), _) => {
                tell_moment(out, "Modify=", unix_s, &format!("; {at}"));
            }
            (
                ReplyKind::Done
                | ReplyKind::Made
                | ReplyKind::Enter
                | ReplyKind::Size
                | ReplyKind::Modified,
                _,
            ) => reply::usual(out, Code::FILE_ACTION_DONE),
        }
    }

    /// `SIZE` and `MDTM`.
    pub(super) fn describe(&mut self, requested: &[u8], then: ReplyKind, cx: &mut Context<'_>) {
        if matches!(then, ReplyKind::Size) && self.settings.kind == Type::Ascii {
            let text = "SIZE is known for TYPE I alone.";
            return self.reply(Code::UNAVAILABLE, text);
        }
        if self.is_administrator() {
            let Some(at) = self.path(requested) else { return };
            return self.start_op(FilesOp::Describe { at }, then, None, cx);
        }
        let goal = to_read(self, requested, cx).1;
        let entry = match self.limit_guesses(requested, goal, cx) {
            Ok(Goal::Read(entry)) => entry,
            // Clients that get 550 here never send RETR.
            Ok(_) => {
                let text = "The vault tells that with the file; say RETR.";
                return self.reply(Code::PARAMETER_NOT_SERVED, text);
            }
            Err(no) => return self.reply(no.code, &no.text),
        };
        match then {
            ReplyKind::Modified => {
                let modified_s = entry.version.modified_ns / 1_000_000_000;
                let modified_s = u64::try_from(modified_s).unwrap_or(0);
                tell_moment(&mut self.replies.bytes, "", modified_s, "");
            }
            ReplyKind::Enter
            | ReplyKind::Size
            | ReplyKind::Mode
            | ReplyKind::Lines(_)
            | ReplyKind::RenameFrom
            | ReplyKind::Made
            | ReplyKind::Done
            | ReplyKind::Touched(..) => {
                let bytes = entry.version.bytes.to_string();
                reply::line(&mut self.replies.bytes, Code::FILE_STATUS, bytes.as_bytes());
            }
        }
    }
}

/// Returns whether the words of `SITE` change a mode.
pub(super) fn is_chmod(words: &[u8]) -> bool {
    words.get(..CHMOD.len()).is_some_and(|word| word.eq_ignore_ascii_case(CHMOD))
        && words.get(CHMOD.len()).is_none_or(|byte| *byte == b' ')
}

impl ReplyKind {
    /// Returns whether the operation changes nothing: its success is not logged.
    fn is_look(&self) -> bool {
        match self {
            ReplyKind::Enter
            | ReplyKind::Size
            | ReplyKind::Modified
            | ReplyKind::Mode
            | ReplyKind::Lines(_)
            | ReplyKind::RenameFrom => true,
            ReplyKind::Made | ReplyKind::Done | ReplyKind::Touched(..) => false,
        }
    }

    /// Returns the result if it is of the requested kind.
    fn fits(&self, done: FilesReply) -> Result<FilesReply, FilesError> {
        match (self, &done) {
            (ReplyKind::Enter, FilesReply::Described { member, .. }) if !member.is_directory => {
                Err(FilesError::NotDirectory)
            }
            (ReplyKind::Size | ReplyKind::Modified, FilesReply::Described { member, .. })
                if member.is_directory =>
            {
                Err(FilesError::IsDirectory)
            }
            (_, _) => Ok(done),
        }
    }
}

/// Returns the requested path as text: it is valid, and so UTF-8.
pub(super) fn text(requested: &[u8]) -> Box<str> {
    String::from_utf8_lossy(requested).into()
}

fn tell_moment(out: &mut Vec<u8>, before: &str, unix_s: u64, behind: &str) {
    let mut text = before.as_bytes().to_vec();
    calendar::write(&mut text, unix_s);
    text.extend_from_slice(behind.as_bytes());
    reply::line(out, Code::FILE_STATUS, &text);
}

/// Returns the code for a failure.
fn code(fault: FilesError) -> Code {
    match fault {
        FilesError::Full => Code::NO_SPACE,
        FilesError::TooLarge => Code::TOO_LARGE,
        FilesError::Busy => Code::BUSY,
        FilesError::Io => Code::LOCAL_ERROR,
        FilesError::NotThere
        | FilesError::Exists
        | FilesError::NotEmpty
        | FilesError::IsDirectory
        | FilesError::NotDirectory
        | FilesError::Forbidden(_)
        | FilesError::TooMany
        | FilesError::BeyondEnd
        | FilesError::BrokenOff
        | FilesError::Changed
        | FilesError::CrossArea => Code::UNAVAILABLE,
    }
}
