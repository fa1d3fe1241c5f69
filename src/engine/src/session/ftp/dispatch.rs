//! Commands: read from the lines as they come, one after the other, no faster than the limit.
//!
//! While a transfer runs the next command waits; only `ABOR` does not.

use crate::files::{FilesOp, Form, TreePath, UploadMode};
use crate::requests::StoreRequest;
use crate::session::ftp::authorize::{Rejection, capital, subject, to_delete, to_read, to_store};
use crate::session::ftp::context::Context;
use crate::session::ftp::login::said;
use crate::session::ftp::manage::is_chmod;
use crate::session::ftp::session::{
    InputEnd, LogContext, Pending, ReplyKind, Session, SessionState, User,
};
use crate::session::{Refusal, Subject, Verb};
use wire::ftp::command::{self, BadCommand, Command, Foreign, Type};
use wire::ftp::reply::{self, Code};

/// Bytes of replies that may wait for the client; no command is executed while there are more.
const OUT_BYTES_MAX: usize = 16 << 10;

/// The result of reading a line.
enum NextLine {
    Line,
    Bad(BadCommand),
    Nothing,
}

impl Session {
    /// Reads commands until one must wait.
    pub(super) fn read_on(&mut self, cx: &mut Context<'_>) {
        let rate = cx.snapshot.policy.ftp.limits.commands_per_second;
        loop {
            while self.abort_early(cx) {}
            self.input.rate.until = self.input.rate.until.filter(|until| *until > cx.now);
            let is_busy = match self.state {
                SessionState::Idle => false,
                SessionState::Busy(_) => true,
                SessionState::StartingTls
                | SessionState::Closing
                | SessionState::Over
                | SessionState::Stuck => return,
            };
            let has_enough = is_busy && self.input.queued.is_full();
            if has_enough {
                cx.counters.ftp_paced.up();
            }
            if has_enough || self.replies.bytes.len() - self.replies.sent > OUT_BYTES_MAX {
                self.input.rate.until = None;
                return;
            }
            let is_new = (is_busy || self.input.queued.is_empty()) && !self.input.unread.is_empty();
            if is_new && !self.input.rate.take(rate, cx.now) {
                cx.counters.ftp_paced.up();
                return;
            }
            let mut line = std::mem::take(&mut cx.shared.line);
            let next = self.next_line(is_busy, &mut line);
            match next {
                NextLine::Line if is_busy => self.buffer_command(&line, cx),
                NextLine::Line => self.handle_command(&line, cx),
                NextLine::Bad(bad) => self.refuse_line(bad, is_busy, cx),
                NextLine::Nothing => {}
            }
            line.clear();
            cx.shared.line = line;
            if matches!(next, NextLine::Nothing) {
                return self.end_of_commands(is_new, cx);
            }
        }
    }

    /// No whole command is left, and there may never be another one.
    fn end_of_commands(&mut self, is_begun: bool, cx: &mut Context<'_>) {
        if is_begun {
            self.input.rate.give_back();
        }
        if self.input.end == InputEnd::Ended && matches!(self.state, SessionState::Idle) {
            self.leave(cx);
        }
    }

    /// Returns the next line. Lines that came during an earlier command go first, unless one is
    /// running.
    fn next_line(&mut self, is_busy: bool, into: &mut Vec<u8>) -> NextLine {
        into.clear();
        let pending = if is_busy { None } else { self.input.queued.pop() };
        match pending {
            Some(Ok(pending)) => {
                into.extend_from_slice(&pending);
                return NextLine::Line;
            }
            Some(Err(bad)) => return NextLine::Bad(bad),
            None => {}
        }
        let unread = std::mem::take(&mut self.input.unread);
        let mut rest = unread.as_slice();
        let next = match self.input.lines.next(&mut rest) {
            Some(Ok(line)) => {
                into.extend_from_slice(line);
                NextLine::Line
            }
            Some(Err(bad)) => NextLine::Bad(bad),
            None => NextLine::Nothing,
        };
        let used = unread.len() - rest.len();
        self.input.unread = unread;
        self.input.unread.drain(..used);
        if self.input.unread.is_empty() {
            self.input.unread = Vec::new();
        }
        next
    }

    /// A command came while another one is running: it waits.
    fn buffer_command(&mut self, line: &[u8], cx: &mut Context<'_>) {
        self.heard = cx.now;
        let (is_abor, is_quit) = match command::parse(line) {
            Ok(command) => (command == Command::Abor, command == Command::Quit),
            Err(_) => (false, false),
        };
        self.input.queued.push(Ok(line.into()), is_abor);
        if is_quit {
            self.confirm(cx);
        }
    }

    /// Lets `ABOR` end the current transfer ahead of other waiting commands; its reply comes in
    /// turn. Returns whether it did.
    fn abort_early(&mut self, cx: &mut Context<'_>) -> bool {
        let is_next = self.input.queued.begins_with_abort();
        if !self.input.queued.has_abort() || !self.break_off(cx) {
            return false;
        }
        if is_next {
            cx.counters.ftp_commands.up();
            self.input.queued.pop();
            self.reply(Code::TRANSFER_DONE, "It is broken off, as you asked.");
        }
        true
    }

    fn handle_command(&mut self, line: &[u8], cx: &mut Context<'_>) {
        cx.admission.slots.renew(self.peer.ip(), cx.now);
        cx.counters.ftp_commands.up();
        self.heard = cx.now;
        match command::parse(line) {
            Ok(command) => self.execute(command, cx),
            Err(bad) => self.refuse_line(bad, false, cx),
        }
        self.rearm(cx);
    }

    fn refuse_line(&mut self, bad: BadCommand, is_busy: bool, cx: &mut Context<'_>) {
        if is_busy {
            // Its reply comes after that of the current command.
            return self.input.queued.push(Err(bad), false);
        }
        cx.counters.ftp_bad_commands.up();
        let BadCommand::Foreign(foreign) = bad else {
            return self.reply(bad.code(), bad.text());
        };
        let no = match foreign {
            Foreign::Http => Refusal::ForeignHttp,
            Foreign::Tls => Refusal::ForeignTls,
        };
        cx.note_lone(self.peer, no);
        self.close_with_reply(bad.code(), bad.text(), cx);
    }

    /// Executes a command that may be sent before login.
    #[allow(
        clippy::wildcard_enum_match_arm,
        reason = "a command that one does not know goes to the next"
    )]
    fn execute(&mut self, command: Command<'_>, cx: &mut Context<'_>) {
        match command {
            Command::User(name) => self.user(name, cx),
            Command::Pass(password) => self.pass(password, cx),
            Command::Auth(mechanism) => self.auth(mechanism, cx),
            Command::Pbsz(_) => self.pbsz(),
            Command::Prot(protection) => self.prot(protection),
            Command::Ccc => self.reply_usual(Code::CLEAR_DENIED),
            Command::Quit => self.close_with_reply(Code::GOODBYE, Code::GOODBYE.text(), cx),
            Command::Feat => self.features(cx),
            Command::Syst => self.reply_usual(Code::SYSTEM),
            Command::Help(_) => self.reply_usual(Code::HELP),
            Command::Noop => self.reply_usual(Code::OK),
            Command::OptsUtf8(true) => self.reply(Code::OK, "Names are UTF-8."),
            Command::OptsUtf8(false) => {
                self.reply(Code::PARAMETER_NOT_SERVED, "Names are always UTF-8.");
            }
            Command::Acct(_) | Command::Allo(_) => self.reply_usual(Code::SUPERFLUOUS),
            Command::Stru | Command::Mode => self.reply_usual(Code::OK),
            Command::Rein => self.begin_anew(cx),
            Command::Abor => self.abort(cx),
            _ if !self.is_logged_in() => self.reply_usual(Code::NOT_LOGGED_IN),
            other => self.serve(other, cx),
        }
    }

    /// Executes a command that needs a login.
    #[allow(
        clippy::wildcard_enum_match_arm,
        reason = "a command that one does not know goes to the next"
    )]
    fn serve(&mut self, command: Command<'_>, cx: &mut Context<'_>) {
        match command {
            Command::Type(kind) => {
                self.settings.kind = kind;
                self.reply_usual(Code::OK);
            }
            Command::Pwd => {
                let cwd = self.settings.cwd.to_string();
                reply::path(&mut self.replies.bytes, cwd.as_bytes(), "is the directory.");
            }
            Command::Cwd(b"") => self.reply_usual(Code::FILE_ACTION_DONE),
            Command::Cwd(requested) => self.enter(requested, cx),
            Command::Cdup => self.enter(b"..", cx),
            Command::Rest(at) => self.rest(at),
            Command::OptsMlst(facts) => self.choose_facts(facts),
            Command::Pasv => self.listen(None, cx),
            Command::Epsv(which) => self.listen(Some(which), cx),
            Command::Port(to) | Command::Eprt(to) => self.port(to, cx),
            Command::Size(name) => {
                self.note_describe(name, true, cx);
                self.describe(name, ReplyKind::Size, cx);
            }
            Command::Mdtm(name) => {
                self.note_describe(name, false, cx);
                self.describe(name, ReplyKind::Modified, cx);
            }
            Command::Stat(b"") => self.status(),
            Command::Retr(_)
            | Command::Stor(_)
            | Command::Appe(_)
            | Command::Stou(_)
            | Command::List(_)
            | Command::Nlst(_)
            | Command::Mlsd(_)
                if !self.may_move(cx) => {}
            Command::Retr(name) if self.is_phone() => self.phone_reads(name, cx),
            Command::Stor(name) if self.is_phone() => self.phone_stores(name, false, cx),
            Command::Appe(name) if self.is_phone() => self.phone_stores(name, true, cx),
            Command::Retr(name) => self.fetch(name, cx),
            Command::Stor(name) => self.put(name, UploadMode::Replace, cx),
            Command::Appe(name) => self.put(name, UploadMode::Append, cx),
            Command::Dele(name) if self.is_phone() => self.phone_deletes(name, cx),
            other if self.is_phone() => self.refuse_phone(other, cx),
            other => self.manage(other, cx),
        }
    }

    /// Executes a command that is only for administrators.
    #[allow(
        clippy::wildcard_enum_match_arm,
        reason = "a command that one does not know goes to the next"
    )]
    fn manage(&mut self, command: Command<'_>, cx: &mut Context<'_>) {
        let facts = self.settings.facts;
        match command {
            Command::Stou(b"") => self.put(b"upload", UploadMode::Unique, cx),
            Command::Stou(name) => self.put(name, UploadMode::Unique, cx),
            Command::List(name) => self.list(name, Form::List, cx),
            Command::Nlst(name) => self.list(name, Form::Names, cx),
            Command::Mlsd(name) => self.list(name, Form::Facts(facts), cx),
            Command::Mlst(name) => {
                self.lines(name, Form::Itself(facts), Code::FILE_ACTION_DONE, cx);
            }
            Command::Stat(name) => self.lines(name, Form::List, Code::DIRECTORY_STATUS, cx),
            Command::Mkd(name) => {
                self.change(name, Verb::Make, |at| FilesOp::MakeDirectory { at }, cx);
            }
            Command::Rmd(name) => {
                self.change(name, Verb::Delete, |at| FilesOp::RemoveDirectory { at }, cx);
            }
            Command::Dele(name) => self.change(name, Verb::Delete, |at| FilesOp::Delete { at }, cx),
            Command::Rnfr(name) => self.rename_from(name, cx),
            Command::Rnto(name) => self.rename_to(name, cx),
            Command::Mfmt(moment, name) => self.touch(moment, name, cx),
            Command::Site(words) if is_chmod(words) => self.change_mode(words, cx),
            _ => self.reply_usual(Code::NOT_SERVED),
        }
    }

    fn lines(&mut self, requested: &[u8], form: Form, code: Code, cx: &mut Context<'_>) {
        let Some(at) = self.known_path(requested, Verb::Ask, cx) else { return };
        let log = LogContext::new(subject(at.to_string().as_bytes()), Verb::Ask, cx.now);
        let requested = super::manage::text(requested);
        self.start_op(FilesOp::List { at, requested, form }, ReplyKind::Lines(code), Some(log), cx);
    }

    fn is_phone(&self) -> bool {
        matches!(self.login.user, User::Phone(_))
    }

    /// Returns whether files may move: an administrator's data must be as protected as the
    /// password.
    fn may_move(&mut self, cx: &mut Context<'_>) -> bool {
        let administrators = cx.snapshot.policy.ftp.administrators.as_ref();
        let must = self.is_administrator() && administrators.is_some_and(|one| !one.cleartext);
        if must && !self.security.private {
            self.reply_usual(Code::DATA_PROTECTION_NEEDED);
            return false;
        }
        true
    }

    fn phone_reads(&mut self, requested: &[u8], cx: &mut Context<'_>) {
        let (subject, goal) = to_read(self, requested, cx);
        let log = LogContext::of(self, subject, Verb::Fetch, cx.now);
        let goal = self.limit_guesses(requested, goal, cx);
        match goal {
            Ok(goal) => self.start(goal, log, cx),
            Err(no) => self.refuse(no, log, cx),
        }
    }

    fn phone_stores(&mut self, requested: &[u8], appends: bool, cx: &mut Context<'_>) {
        let (subject, goal) = to_store(self, requested, appends, cx);
        let log = LogContext::of(self, subject, Verb::Send, cx.now);
        match goal {
            Ok(_) if self.settings.rest > 0 => {
                let text = "What a phone stores is stored whole, from its first byte.";
                self.settings.rest = 0;
                self.note_refused(log, Refusal::NoMiddle, cx);
                self.reply(Code::UNAVAILABLE, text);
            }
            Ok(goal) => self.start(goal, log, cx),
            Err(no) => self.refuse(no, log, cx),
        }
    }

    /// Refuses a phone's command, with a reply and a record.
    fn refuse(&mut self, no: Rejection, log: LogContext, cx: &mut Context<'_>) {
        self.note_refused(log, no.refusal, cx);
        self.reply(no.code, &no.text);
    }

    fn phone_deletes(&mut self, requested: &[u8], cx: &mut Context<'_>) {
        let (subject, deletion) = to_delete(self, requested, cx);
        let log = LogContext::new(subject, Verb::Delete, cx.now);
        match deletion {
            Ok(deletion) => {
                self.take_up(Pending::Operation(ReplyKind::Done), Some(log), cx);
                self.submit(|ticket| StoreRequest::Delete { ticket, deletion }, cx);
            }
            Err(no) => self.refuse(no, log, cx),
        }
    }

    #[allow(
        clippy::wildcard_enum_match_arm,
        reason = "a command that one does not know goes to the next"
    )]
    fn refuse_phone(&mut self, command: Command<'_>, cx: &mut Context<'_>) {
        let refused = match command {
            Command::List(name) | Command::Nlst(name) | Command::Mlsd(name) => {
                Some((Verb::List, name))
            }
            Command::Dele(name) | Command::Rmd(name) => Some((Verb::Delete, name)),
            Command::Mkd(name) => Some((Verb::Make, name)),
            Command::Rnfr(name) | Command::Rnto(name) => Some((Verb::Rename, name)),
            Command::Stou(name) => Some((Verb::Send, name)),
            Command::Mlst(name) | Command::Stat(name) => Some((Verb::Ask, name)),
            _ => None,
        };
        if let Some((verb, name)) = refused {
            let log = LogContext::new(self.said_in(name), verb, cx.now);
            self.note_refused(log, Refusal::AdministratorsOnly, cx);
        }
        let text = match command {
            Command::List(_) | Command::Nlst(_) | Command::Mlsd(_) | Command::Mlst(_) => {
                "Directories are shown to administrators alone."
            }
            Command::Site(_) => "There are no site commands.",
            _ => "That is for administrators alone.",
        };
        self.reply(Code::UNAVAILABLE, text);
    }

    /// Returns the log's subject for a path in the session's directory.
    fn said_in(&self, requested: &[u8]) -> Subject {
        match TreePath::parse(&self.settings.cwd, requested) {
            Ok(path) => subject(path.to_string().as_bytes()),
            Err(_) => said(requested),
        }
    }

    fn enter(&mut self, requested: &[u8], cx: &mut Context<'_>) {
        match TreePath::parse(&self.settings.cwd, requested) {
            Err(bad) => {
                let log = LogContext::new(said(requested), Verb::Ask, cx.now);
                self.note_refused(log, Refusal::BadPath(bad), cx);
                self.reply(Code::UNAVAILABLE, &capital(&bad.to_string()));
            }
            Ok(at) if self.is_administrator() => self.describe_path(at, ReplyKind::Enter, cx),
            // A phone's FTPDIR need not exist: only its files must.
            Ok(at) => {
                self.settings.cwd = at;
                self.reply_usual(Code::FILE_ACTION_DONE);
            }
        }
    }

    fn rest(&mut self, at: u64) {
        if at > 0 && self.settings.kind == Type::Ascii {
            return self.reply(Code::BAD_ARGUMENT, "REST is for TYPE I.");
        }
        self.settings.rest = at;
        self.reply(Code::MORE_NEEDED, &format!("The next transfer starts at byte {at}."));
    }
}
