//! A phone's reaction to each reply, and its next step.
//!
//! The order of a session: greeting, `AUTH`, `USER`, `PASS`, `PBSZ`, `PROT`, `TYPE`, `CWD`; for
//! each file the address of its data connection and `STOR` or `RETR`; `QUIT`. Touches no socket.

use std::net::SocketAddr;
use std::sync::Arc;

use super::Phone;
use super::client::{
    Action, ConnectionOp, Ending, FileResult, Loss, Meeting, PlanStep, Presence, Refusal, Security,
    ServerFault,
};
use super::state::{AwaitedReply, Phase, Transfer};
use wire::ftp::address::{read_epsv, read_pasv};
use wire::ftp::reply::{Code, Reply};
use wire::time::Instant;

/// Bytes of a refusal's text that are kept.
const REFUSAL_BYTES_MAX: usize = 200;

impl Phone {
    pub(super) fn current(&self) -> Option<&PlanStep> {
        self.plan.steps.get(self.step)
    }

    /// Returns the bytes that the step stores.
    pub(super) fn stored(&self) -> Option<&Arc<[u8]>> {
        match &self.current()?.action {
            Action::Store(content) => Some(content),
            Action::Fetch(_) => None,
        }
    }

    pub(super) fn count(&mut self, loss: Loss) {
        match loss {
            Loss::Reset => self.tally.resets += 1,
            Loss::Unreachable => self.tally.unreachable += 1,
            Loss::Closed | Loss::Unsecured => {}
        }
    }

    pub(super) fn handle_reply(&mut self, reply: Reply<'_>, now: Instant) {
        self.tally.replies += 1;
        let code = reply.code;
        if code.is_negative() {
            let text = reply.text.get(..REFUSAL_BYTES_MAX).unwrap_or(reply.text);
            self.refusal = Some(Refusal { code, text: text.into() });
        }
        match self.state {
            Phase::Awaiting(AwaitedReply::Quit) => self.end(),
            Phase::Awaiting(awaited) if code.is_negative() => self.refused(awaited, code, now),
            Phase::Awaiting(awaited) => self.answered(awaited, reply, now),
            Phase::Staying(_) if code == Code::CLOSING => {
                self.was_ended = true;
                self.end();
            }
            Phase::Waiting(_) if code == Code::CLOSING => self.hang_up(),
            Phase::Waiting(_) | Phase::Staying(_) => self.tally.unasked += 1,
            Phase::Connecting | Phase::Securing | Phase::Over => {}
        }
    }

    /// The server refused a command, for the moment (4xx) or for good.
    fn refused(&mut self, awaited: AwaitedReply, code: Code, now: Instant) {
        let must_not = self.current().is_some_and(|step| step.presence == Presence::MustNot);
        let is_right = must_not && awaited == AwaitedReply::Transfer && code != Code::CLOSING;
        self.drop_data();
        if code == Code::CLOSING {
            self.hang_up();
        }
        let is_for_now = (400..500).contains(&code.0);
        if is_for_now && !is_right && self.tally.waits < self.plan.client.waits {
            self.tally.waits += 1;
            if !self.is_logged_in {
                self.hang_up();
            }
            return self.wait(now);
        }
        self.finish(Ending::Refused(code), now);
    }

    /// The server accepted a command: does what comes next.
    fn answered(&mut self, awaited: AwaitedReply, reply: Reply<'_>, now: Instant) {
        let code = reply.code;
        let is_good = (200..300).contains(&code.0);
        match (awaited, code) {
            // 120: ready in some minutes.
            (AwaitedReply::Greeting, code) if code.is_preliminary() => {}
            (AwaitedReply::Transfer, code) if code.is_preliminary() => {
                self.transfer.is_begun = true;
                self.end_if_sent();
            }
            (AwaitedReply::Greeting, _) if is_good => match self.plan.client.security {
                Security::Explicit => self.send_command(AwaitedReply::Auth, b"AUTH", b"TLS"),
                Security::Clear | Security::Implicit => self.log_in(),
            },
            (AwaitedReply::Auth, Code::TLS_BEGINS) => {
                self.state = Phase::Securing;
                self.connection_ops.push_back(ConnectionOp::Secure);
            }
            (AwaitedReply::User, Code::PASSWORD_NEEDED) => {
                let plan = Arc::clone(&self.plan);
                self.send_command(AwaitedReply::Password, b"PASS", plan.password.as_bytes());
            }
            (AwaitedReply::User | AwaitedReply::Password, _) if is_good => {
                match self.plan.client.security {
                    Security::Clear => self.send_command(AwaitedReply::Type, b"TYPE", b"I"),
                    Security::Explicit | Security::Implicit => {
                        self.send_command(AwaitedReply::Size, b"PBSZ", b"0")
                    }
                }
            }
            (AwaitedReply::Size, _) if is_good => {
                self.send_command(AwaitedReply::Protection, b"PROT", b"P")
            }
            (AwaitedReply::Protection, _) if is_good => {
                self.send_command(AwaitedReply::Type, b"TYPE", b"I")
            }
            (AwaitedReply::Type, _) if is_good && !self.plan.client.directory.is_empty() => {
                let plan = Arc::clone(&self.plan);
                self.send_command(AwaitedReply::Directory, b"CWD", &plan.client.directory);
            }
            (AwaitedReply::Type | AwaitedReply::Directory, _) if is_good => {
                self.is_logged_in = true;
                self.go_on(now);
            }
            (AwaitedReply::Place, _) if is_good => self.meet(reply, now),
            (AwaitedReply::Transfer, _) if is_good => {
                self.transfer.is_acknowledged = true;
                self.complete(now);
            }
            (_, _) => self.fail(Ending::Fault(ServerFault::WrongReply), now),
        }
    }

    fn send_command(&mut self, awaited: AwaitedReply, verb: &[u8], argument: &[u8]) {
        self.line.set(verb, argument);
        self.state = Phase::Awaiting(awaited);
    }

    pub(super) fn log_in(&mut self) {
        let plan = Arc::clone(&self.plan);
        self.send_command(AwaitedReply::User, b"USER", plan.user.as_bytes());
    }

    /// Does what comes next: opens the control connection, begins a file, stays, or leaves.
    pub(super) fn go_on(&mut self, now: Instant) {
        if !self.link {
            self.heard_at = now;
            self.tally.connects += 1;
            self.link = true;
            self.connection_ops.push_back(ConnectionOp::Connect);
            self.state = Phase::Connecting;
        } else if self.step < self.plan.steps.len() {
            self.heard_at = now;
            self.drop_data();
            match self.plan.client.meeting {
                Meeting::Passive => self.send_command(AwaitedReply::Place, b"PASV", b""),
                Meeting::ExtendedPassive => self.send_command(AwaitedReply::Place, b"EPSV", b""),
                Meeting::Active | Meeting::ExtendedActive => {
                    self.tally.data_connects += 1;
                    self.transfer.is_wanted = true;
                    self.connection_ops.push_back(ConnectionOp::Listen);
                    self.line.clear();
                    self.state = Phase::Awaiting(AwaitedReply::Place);
                }
            }
        } else if !self.plan.stays.is_zero() {
            self.state = Phase::Staying(now + self.plan.stays);
        } else {
            self.quit(now);
        }
    }

    /// The address of the data connection is agreed on.
    fn meet(&mut self, reply: Reply<'_>, now: Instant) {
        let place = match (self.plan.client.meeting, reply.code.0) {
            (Meeting::Active | Meeting::ExtendedActive, _) => return self.ask_transfer(),
            (Meeting::Passive, 227) => read_pasv(reply.text).map(SocketAddr::V4),
            (Meeting::ExtendedPassive, 229) => {
                let server = self.plan.client.server;
                read_epsv(reply.text).map(|port| SocketAddr::new(server, port))
            }
            (Meeting::Passive | Meeting::ExtendedPassive, _) => None,
        };
        let Some(place) = place.filter(|place| place.port() != 0) else {
            return self.fail(Ending::Fault(ServerFault::BadPlace), now);
        };
        self.tally.data_connects += 1;
        self.transfer.is_wanted = true;
        self.connection_ops.push_back(ConnectionOp::Dial(place));
        self.line.clear();
        self.state = Phase::Awaiting(AwaitedReply::Data);
    }

    pub(super) fn ask_transfer(&mut self) {
        let plan = Arc::clone(&self.plan);
        let Some(step) = plan.steps.get(self.step) else { return };
        let verb: &[u8] = match step.action {
            Action::Fetch(_) => b"RETR",
            Action::Store(_) => b"STOR",
        };
        self.send_command(AwaitedReply::Transfer, verb, &step.name);
    }

    /// Closes the data connection once all bytes to store have been handed over.
    pub(super) fn end_if_sent(&mut self) {
        let Transfer { is_open, is_begun, is_ending, moved, .. } = self.transfer;
        let is_sent = self.stored().is_some_and(|content| moved >= content.len() as u64);
        if is_open && is_begun && is_sent && !is_ending {
            self.transfer.is_ending = true;
            self.connection_ops.push_back(ConnectionOp::EndData);
        }
    }

    /// Ends the step once both connections have reported its end.
    pub(super) fn complete(&mut self, now: Instant) {
        let Transfer { ended, is_acknowledged, is_ending, is_wrong, moved, .. } = self.transfer;
        if !is_acknowledged {
            return;
        }
        let ending = match (self.current().map(|step| &step.action), ended) {
            (Some(Action::Store(_)), _) if is_ending => Ending::Done,
            (Some(Action::Store(_)) | None, _) => Ending::Fault(ServerFault::Premature),
            // The last bytes are still under way.
            (Some(Action::Fetch(_)), None) => return,
            (Some(Action::Fetch(expected)), Some(Loss::Closed)) => {
                let is_whole = |all: &Arc<[u8]>| all.len() as u64 == moved;
                match is_wrong || !expected.as_ref().is_none_or(is_whole) {
                    true => Ending::Fault(ServerFault::WrongBytes),
                    false => Ending::Done,
                }
            }
            (Some(Action::Fetch(_)), Some(loss)) => return self.fail(Ending::DataLost(loss), now),
        };
        self.drop_data();
        self.finish(ending, now);
    }

    /// A connection or the server failed: begins the file again or gives it up.
    pub(super) fn fail(&mut self, ending: Ending, now: Instant) {
        self.hang_up();
        let may_try_again = match ending {
            Ending::Lost(_) | Ending::DataLost(_) | Ending::TimedOut => true,
            Ending::Done | Ending::Refused(_) | Ending::Fault(_) => false,
        };
        if may_try_again && self.died + 1 < self.plan.client.attempts {
            self.died += 1;
            self.tally.again += 1;
            return self.wait(now);
        }
        self.finish(ending, now);
    }

    fn wait(&mut self, now: Instant) {
        self.is_again = true;
        self.state = Phase::Waiting(now + self.plan.client.again_after);
    }

    fn drop_data(&mut self) {
        if std::mem::take(&mut self.transfer).is_wanted {
            self.connection_ops.push_back(ConnectionOp::DropData);
        }
    }

    pub(super) fn hang_up(&mut self) {
        if std::mem::take(&mut self.link) {
            // Earlier requests for connections are obsolete.
            self.connection_ops.clear();
            self.connection_ops.push_back(ConnectionOp::HangUp);
        }
        self.is_logged_in = false;
        self.heard.clear();
        self.line.clear();
        self.transfer = Transfer::default();
    }

    pub(super) fn quit(&mut self, now: Instant) {
        self.heard_at = now;
        self.send_command(AwaitedReply::Quit, b"QUIT", b"");
    }

    pub(super) fn end(&mut self) {
        self.hang_up();
        self.state = Phase::Over;
    }

    /// The step is over.
    fn finish(&mut self, ending: Ending, now: Instant) {
        let (ending, is_good) =
            self.current().map_or((ending, false), |step| step.lived_with(ending));
        self.result = Some(FileResult {
            step: self.step,
            began: self.began,
            took: now - self.began,
            tally: std::mem::take(&mut self.tally),
            ending,
            is_good,
        });
        self.died = 0;
        self.is_lost |= !is_good;
        self.step += 1;
        self.began = now;
        match (is_good, self.link) {
            (true, true) => self.go_on(now),
            // The next file, if there is one, needs a new connection.
            (true, false) if self.step < self.plan.steps.len() => self.state = Phase::Waiting(now),
            (true | false, false) => self.state = Phase::Over,
            (false, true) => self.quit(now),
        }
    }
}
