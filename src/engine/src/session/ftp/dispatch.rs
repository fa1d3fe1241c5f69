//! Commands: read off the lines as they come, one after the other, no faster than is allowed.
//!
//! While a transfer runs the next command waits; `ABOR` alone does not.

use crate::catalog::Ask;
use crate::files::{Act, Form, How, TreePath};
use crate::session::ftp::engine::Engine;
use crate::session::ftp::judge::{capital, subject, to_delete, to_read, to_store};
use crate::session::ftp::login::said;
use crate::session::ftp::manage::is_chmod;
use crate::session::ftp::session::{State, Then, Told, User, What};
use crate::session::stream::ConnectionId;
use crate::session::{Refusal, Subject, Turn, Verb};
use wire::ftp::command::{self, BadCommand, Command, Foreign, Type};
use wire::ftp::reply::{self, Code};

/// Bytes of replies that may wait for the client; no command is obeyed while there are more.
const OUT_BYTES_MAX: usize = 16 << 10;

/// What came instead of one line.
enum Came {
    Line,
    Bad(BadCommand),
    Nothing,
}

impl Engine {
    /// Reads commands until one has to be waited for.
    pub(super) fn read_on(&mut self, id: ConnectionId, turn: &mut Turn<'_>) {
        let rate = turn.snapshot.policy.ftp.limits.commands_per_second;
        loop {
            while self.hear_abort(id, turn) {}
            let Some(session) = self.session_mut(id) else { return };
            session.pace.until = session.pace.until.filter(|until| *until > turn.now);
            let is_busy = match session.state {
                State::Idle => false,
                State::Busy(_) => true,
                State::StartingTls | State::Closing | State::Over | State::Stuck => return,
            };
            let has_enough = is_busy && session.pending.is_full();
            if has_enough {
                turn.counters.ftp_paced.up();
            }
            if has_enough || session.out.len() - session.out_sent > OUT_BYTES_MAX {
                session.pace.until = None;
                return;
            }
            let is_new = (is_busy || session.pending.is_empty()) && !session.unread.is_empty();
            if is_new && !session.pace.take(rate, turn.now) {
                turn.counters.ftp_paced.up();
                return;
            }
            let mut line = std::mem::take(&mut self.line);
            let came = self.next_line(id, is_busy, &mut line);
            match came {
                Came::Line if is_busy => self.overhear(id, &line, turn),
                Came::Line => self.obey(id, &line, turn),
                Came::Bad(bad) => self.refuse_line(id, bad, is_busy, turn),
                Came::Nothing => {}
            }
            line.clear();
            self.line = line;
            if matches!(came, Came::Nothing) {
                return self.end_of_commands(id, is_new, turn);
            }
        }
    }

    /// No whole command is left, and there may never be another one.
    fn end_of_commands(&mut self, id: ConnectionId, is_begun: bool, turn: &mut Turn<'_>) {
        let Some(session) = self.session_mut(id) else { return };
        if is_begun {
            session.pace.give_back();
        }
        if session.ended && matches!(session.state, State::Idle) {
            self.leave(id, turn);
        }
    }

    /// The next line: of those that came while another command was in hand, unless that still is.
    fn next_line(&mut self, id: ConnectionId, is_busy: bool, into: &mut Vec<u8>) -> Came {
        into.clear();
        let Some(session) = self.session_mut(id) else { return Came::Nothing };
        let pending = if is_busy { None } else { session.pending.pop() };
        match pending {
            Some(Ok(pending)) => {
                into.extend_from_slice(&pending);
                return Came::Line;
            }
            Some(Err(bad)) => return Came::Bad(bad),
            None => {}
        }
        let unread = std::mem::take(&mut session.unread);
        let mut rest = unread.as_slice();
        let came = match session.lines.next(&mut rest) {
            Some(Ok(line)) => {
                into.extend_from_slice(line);
                Came::Line
            }
            Some(Err(bad)) => Came::Bad(bad),
            None => Came::Nothing,
        };
        let used = unread.len() - rest.len();
        session.unread = unread;
        session.unread.drain(..used);
        if session.unread.is_empty() {
            session.unread = Vec::new();
        }
        came
    }

    /// A command came while another one is in hand: it waits.
    fn overhear(&mut self, id: ConnectionId, line: &[u8], turn: &mut Turn<'_>) {
        self.last_heard(id, turn.now);
        let (is_abor, is_quit) = match command::parse(line) {
            Ok(command) => (command == Command::Abor, command == Command::Quit),
            Err(_) => (false, false),
        };
        if let Some(session) = self.session_mut(id) {
            session.pending.push(Ok(line.into()), is_abor);
        }
        if is_quit {
            self.confirm(id, turn);
        }
    }

    /// `ABOR` ends the transfer in hand, whatever waits before it; it is answered in its turn. Says
    /// whether that was done.
    fn hear_abort(&mut self, id: ConnectionId, turn: &mut Turn<'_>) -> bool {
        let Some(session) = self.session(id).filter(|one| one.pending.has_abort()) else {
            return false;
        };
        let is_next = session.pending.begins_with_abort();
        if !self.break_off(id, turn) {
            return false;
        }
        if is_next {
            turn.counters.ftp_commands.up();
            if let Some(session) = self.session_mut(id) {
                session.pending.pop();
            }
            self.reply(id, Code::TRANSFER_DONE, "It is broken off, as you asked.");
        }
        true
    }

    fn obey(&mut self, id: ConnectionId, line: &[u8], turn: &mut Turn<'_>) {
        turn.counters.ftp_commands.up();
        self.last_heard(id, turn.now);
        match command::parse(line) {
            Ok(command) => self.execute(id, command, turn),
            Err(bad) => self.refuse_line(id, bad, false, turn),
        }
        self.rearm(id, turn);
    }

    fn refuse_line(
        &mut self,
        id: ConnectionId,
        bad: BadCommand,
        is_busy: bool,
        turn: &mut Turn<'_>,
    ) {
        if is_busy {
            // Its reply has its place behind that of the command in hand.
            if let Some(session) = self.session_mut(id) {
                session.pending.push(Err(bad), false);
            }
            return;
        }
        turn.counters.ftp_bad_commands.up();
        let BadCommand::Foreign(foreign) = bad else {
            return self.reply(id, bad.code(), bad.text());
        };
        if let Some(peer) = self.session(id).map(|session| session.peer) {
            let no = match foreign {
                Foreign::Http => Refusal::ForeignHttp,
                Foreign::Tls => Refusal::ForeignTls,
            };
            self.note_lone(peer, no, turn);
        }
        self.bid_farewell(id, bad.code(), bad.text(), turn);
    }

    /// What may be said before anybody is logged in.
    #[allow(clippy::wildcard_enum_match_arm, reason = "what one does not know goes to the next")]
    fn execute(&mut self, id: ConnectionId, command: Command<'_>, turn: &mut Turn<'_>) {
        match command {
            Command::User(name) => self.user(id, name, turn),
            Command::Pass(password) => self.pass(id, password, turn),
            Command::Auth(mechanism) => self.auth(id, mechanism, turn),
            Command::Pbsz(_) => self.pbsz(id),
            Command::Prot(protection) => self.prot(id, protection),
            Command::Ccc => self.reply_usual(id, Code::CLEAR_DENIED),
            Command::Quit => self.bid_farewell(id, Code::GOODBYE, Code::GOODBYE.text(), turn),
            Command::Feat => self.features(id, turn),
            Command::Syst => self.reply_usual(id, Code::SYSTEM),
            Command::Help(_) => self.reply_usual(id, Code::HELP),
            Command::Noop => self.reply_usual(id, Code::OK),
            Command::OptsUtf8(true) => self.reply(id, Code::OK, "Names are UTF-8."),
            Command::OptsUtf8(false) => {
                self.reply(id, Code::PARAMETER_NOT_SERVED, "Names are always UTF-8.");
            }
            Command::Acct(_) | Command::Allo(_) => self.reply_usual(id, Code::SUPERFLUOUS),
            Command::Stru | Command::Mode => self.reply_usual(id, Code::OK),
            Command::Rein => self.begin_anew(id, turn),
            Command::Abor => self.abort(id),
            _ if !self.session(id).is_some_and(|session| session.is_logged_in()) => {
                self.reply_usual(id, Code::NOT_LOGGED_IN);
            }
            other => self.serve(id, other, turn),
        }
    }

    /// What may be said by whoever is logged in.
    #[allow(clippy::wildcard_enum_match_arm, reason = "what one does not know goes to the next")]
    fn serve(&mut self, id: ConnectionId, command: Command<'_>, turn: &mut Turn<'_>) {
        match command {
            Command::Type(kind) => {
                if let Some(session) = self.session_mut(id) {
                    session.kind = kind;
                }
                self.reply_usual(id, Code::OK);
            }
            Command::Pwd => {
                if let Some(session) = self.session_mut(id) {
                    let cwd = session.cwd.to_string();
                    reply::path(&mut session.out, cwd.as_bytes(), "is the directory.");
                }
            }
            Command::Cwd(b"") => self.reply_usual(id, Code::FILE_ACTION_DONE),
            Command::Cwd(asked) => self.enter(id, asked, turn),
            Command::Cdup => self.enter(id, b"..", turn),
            Command::Rest(at) => self.rest(id, at),
            Command::OptsMlst(facts) => self.choose_facts(id, facts),
            Command::Pasv => self.listen(id, None, turn),
            Command::Epsv(which) => self.listen(id, Some(which), turn),
            Command::Port(to) | Command::Eprt(to) => self.port(id, to, turn),
            Command::Size(name) => {
                self.note_look(id, name, true, turn);
                self.look(id, name, Then::Size, turn);
            }
            Command::Mdtm(name) => {
                self.note_look(id, name, false, turn);
                self.look(id, name, Then::Modified, turn);
            }
            Command::Stat(b"") => self.status(id),
            Command::Retr(_)
            | Command::Stor(_)
            | Command::Appe(_)
            | Command::Stou(_)
            | Command::List(_)
            | Command::Nlst(_)
            | Command::Mlsd(_)
                if !self.may_move(id, turn) => {}
            Command::Retr(name) if self.is_phone(id) => self.phone_reads(id, name, turn),
            Command::Stor(name) if self.is_phone(id) => self.phone_stores(id, name, false, turn),
            Command::Appe(name) if self.is_phone(id) => self.phone_stores(id, name, true, turn),
            Command::Retr(name) => self.fetch(id, name, turn),
            Command::Stor(name) => self.put(id, name, How::Replace, turn),
            Command::Appe(name) => self.put(id, name, How::Append, turn),
            Command::Dele(name) if self.is_phone(id) => self.phone_deletes(id, name, turn),
            other if self.is_phone(id) => self.refuse_phone(id, other, turn),
            other => self.manage(id, other, turn),
        }
    }

    /// What administrators alone may say.
    #[allow(clippy::wildcard_enum_match_arm, reason = "what one does not know goes to the next")]
    fn manage(&mut self, id: ConnectionId, command: Command<'_>, turn: &mut Turn<'_>) {
        let facts = self.session(id).map(|session| session.facts).unwrap_or_default();
        match command {
            Command::Stou(b"") => self.put(id, b"upload", How::Unique, turn),
            Command::Stou(name) => self.put(id, name, How::Unique, turn),
            Command::List(name) => self.list(id, name, Form::List, turn),
            Command::Nlst(name) => self.list(id, name, Form::Names, turn),
            Command::Mlsd(name) => self.list(id, name, Form::Facts(facts), turn),
            Command::Mlst(name) => {
                self.lines(id, name, Form::Itself(facts), Code::FILE_ACTION_DONE, turn);
            }
            Command::Stat(name) => self.lines(id, name, Form::List, Code::DIRECTORY_STATUS, turn),
            Command::Mkd(name) => {
                self.change(id, name, Verb::Make, |at| Act::MakeDirectory { at }, turn);
            }
            Command::Rmd(name) => {
                self.change(id, name, Verb::Delete, |at| Act::RemoveDirectory { at }, turn);
            }
            Command::Dele(name) => {
                self.change(id, name, Verb::Delete, |at| Act::Delete { at }, turn)
            }
            Command::Rnfr(name) => self.rename_from(id, name, turn),
            Command::Rnto(name) => self.rename_to(id, name, turn),
            Command::Mfmt(moment, name) => self.touch(id, moment, name, turn),
            Command::Site(words) if is_chmod(words) => self.change_mode(id, words, turn),
            _ => self.reply_usual(id, Code::NOT_SERVED),
        }
    }

    fn lines(&mut self, id: ConnectionId, asked: &[u8], form: Form, code: Code, turn: &Turn<'_>) {
        let Some(at) = self.known_path(id, asked, Verb::Ask, turn) else { return };
        let told = Told::new(subject(at.to_string().as_bytes()), Verb::Ask, turn.now);
        let asked = super::manage::text(asked);
        self.act(id, Act::List { at, asked, form }, Then::Lines(code), Some(told));
    }

    fn is_phone(&self, id: ConnectionId) -> bool {
        self.session(id).is_some_and(|session| session.user == User::Phone)
    }

    /// Whether files may move: what administrators move is as protected as their password.
    fn may_move(&mut self, id: ConnectionId, turn: &Turn<'_>) -> bool {
        let administrators = turn.snapshot.policy.ftp.administrators.as_ref();
        let Some(session) = self.session(id) else { return false };
        let must = session.is_administrator() && administrators.is_some_and(|one| !one.cleartext);
        if must && !session.private {
            self.reply_usual(id, Code::DATA_PROTECTION_NEEDED);
            return false;
        }
        true
    }

    fn phone_reads(&mut self, id: ConnectionId, asked: &[u8], turn: &mut Turn<'_>) {
        let Some(session) = self.session(id) else { return };
        let (subject, goal) = to_read(session, asked, turn);
        let told = Told::of(session, subject, Verb::Fetch, turn.now);
        let goal = self.judge_guess(id, asked, goal, turn);
        match goal {
            Ok(goal) => self.start(id, goal, told, turn),
            Err(no) => {
                self.note_refused(id, told, no.refusal, turn);
                self.reply(id, no.code, &no.text);
            }
        }
    }

    fn phone_stores(&mut self, id: ConnectionId, asked: &[u8], appends: bool, turn: &mut Turn<'_>) {
        let Some(session) = self.session(id) else { return };
        let (subject, goal) = to_store(session, asked, appends, turn);
        let told = Told::of(session, subject, Verb::Send, turn.now);
        match goal {
            Ok(_) if session.rest > 0 => {
                let text = "What a phone stores is stored whole, from its first byte.";
                if let Some(session) = self.session_mut(id) {
                    session.rest = 0;
                }
                self.note_refused(id, told, Refusal::NoMiddle, turn);
                self.reply(id, Code::UNAVAILABLE, text);
            }
            Ok(goal) => self.start(id, goal, told, turn),
            Err(no) => {
                self.note_refused(id, told, no.refusal, turn);
                self.reply(id, no.code, &no.text);
            }
        }
    }

    fn phone_deletes(&mut self, id: ConnectionId, asked: &[u8], turn: &mut Turn<'_>) {
        let Some(session) = self.session(id) else { return };
        let (subject, deletion) = to_delete(session, asked, turn);
        let told = Told::new(subject, Verb::Delete, turn.now);
        match deletion {
            Ok(deletion) => {
                self.take_up(id, What::Act(Then::Done), Some(told));
                self.ask(id, |ticket| Ask::Delete { ticket, deletion });
            }
            Err(no) => {
                self.note_refused(id, told, no.refusal, turn);
                self.reply(id, no.code, &no.text);
            }
        }
    }

    #[allow(clippy::wildcard_enum_match_arm, reason = "what one does not know goes to the next")]
    fn refuse_phone(&mut self, id: ConnectionId, command: Command<'_>, turn: &Turn<'_>) {
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
            let told = Told::new(self.said_in(id, name), verb, turn.now);
            self.note_refused(id, told, Refusal::AdministratorsOnly, turn);
        }
        let text = match command {
            Command::List(_) | Command::Nlst(_) | Command::Mlsd(_) | Command::Mlst(_) => {
                "Directories are shown to administrators alone."
            }
            Command::Site(_) => "There are no site commands.",
            _ => "That is for administrators alone.",
        };
        self.reply(id, Code::UNAVAILABLE, text);
    }

    /// What the log tells of a path that was asked for in the session's directory.
    fn said_in(&self, id: ConnectionId, asked: &[u8]) -> Subject {
        let path = self.session(id).map(|session| TreePath::parse(&session.cwd, asked));
        match path {
            Some(Ok(path)) => subject(path.to_string().as_bytes()),
            Some(Err(_)) | None => said(asked),
        }
    }

    fn enter(&mut self, id: ConnectionId, asked: &[u8], turn: &Turn<'_>) {
        let Some(session) = self.session_mut(id) else { return };
        match TreePath::parse(&session.cwd, asked) {
            Err(bad) => {
                let told = Told::new(said(asked), Verb::Ask, turn.now);
                self.note_refused(id, told, Refusal::BadPath(bad), turn);
                self.reply(id, Code::UNAVAILABLE, &capital(&bad.to_string()));
            }
            Ok(at) if session.is_administrator() => self.look_at(id, at, Then::Enter),
            // A phone's FTPDIR need not be there: what matters is whether its files are.
            Ok(at) => {
                session.cwd = at;
                self.reply_usual(id, Code::FILE_ACTION_DONE);
            }
        }
    }

    fn rest(&mut self, id: ConnectionId, at: u64) {
        let Some(session) = self.session_mut(id) else { return };
        if at > 0 && session.kind == Type::Ascii {
            return self.reply(id, Code::BAD_ARGUMENT, "REST is for TYPE I.");
        }
        session.rest = at;
        self.reply(id, Code::MORE_NEEDED, &format!("The next transfer starts at byte {at}."));
    }
}
