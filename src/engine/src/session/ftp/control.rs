//! A session's control connection: bytes in, replies out, its end, and the current command.
//!
//! Reads no command: `dispatch.rs` does.

use std::net::{IpAddr, SocketAddr};

use crate::files::FilesOp;
use crate::requests::StoreRequest;
use crate::session::ftp::command_queue::CommandQueue;
use crate::session::ftp::command_rate::CommandRate;
use crate::session::ftp::context::Context;
use crate::session::ftp::session::{
    Closing, ControlLink, Identity, Input, InputEnd, Job, LogContext, Login, Pending, Replies,
    Security, Session, SessionState, Settings, User,
};
use crate::session::stream::{ListenerId, Mark, Next, Outgoing, Payload};
use crate::session::timer::Deadline;
use crate::session::{Abort, Handshake, Outcome, Refusal, Secured, Stall, Verb};
use crate::settings::ftp::FtpLimits;
use crate::ticket::{Questions, Ticket};
use wire::ftp::line::Lines;
use wire::ftp::reply::{self, Code};
use wire::time::{Duration, Instant};

/// Bytes of commands that may wait; further bytes stay with the client.
const UNREAD_BYTES_MAX: usize = 16 << 10;
/// How long the last reply of a session may take to leave.
const CLOSE_MAX: Duration = Duration::from_secs(10);

impl Session {
    pub(super) fn new(
        peer: SocketAddr,
        listener: ListenerId,
        implicit: bool,
        limits: &FtpLimits,
        now: Instant,
    ) -> Session {
        Session {
            peer,
            listener,
            is_stranger: false,
            input: Input {
                lines: Lines::new(limits.line_bytes_max),
                unread: Vec::new(),
                queued: CommandQueue::default(),
                rate: CommandRate::new(limits.commands_per_second, now),
                end: InputEnd::Open,
            },
            replies: Replies::default(),
            security: Security {
                link: if implicit { ControlLink::Handshaking } else { ControlLink::Clear },
                pbsz: implicit,
                private: implicit,
            },
            login: Login { user: User::Nobody, identity: Identity::Unknown, failed: 0, since: now },
            settings: Settings::default(),
            state: SessionState::Idle,
            data: None,
            questions: Questions::default(),
            deadline: Deadline::default(),
            heard: now,
        }
    }

    /// Returns the mark of this client for TLS resumption. It is not per session: a client with
    /// several sessions resumes any of them (curl -Z).
    pub(super) fn mark(&self) -> Mark {
        let client = match self.peer.ip() {
            IpAddr::V4(ip) => ip.to_ipv6_mapped(),
            IpAddr::V6(ip) => ip,
        };
        client.octets()
    }

    /// Returns what to do with the socket next.
    pub(super) fn next(&mut self) -> Next {
        match self.state {
            SessionState::Over => Next::Close,
            SessionState::Stuck => Next::Reset,
            // Nothing may leave before the handshake is complete.
            SessionState::Idle | SessionState::Busy(_) | SessionState::Closing
                if self.is_handshaking() =>
            {
                Next::Read
            }
            SessionState::Idle
            | SessionState::Busy(_)
            | SessionState::Closing
            | SessionState::StartingTls
                if self.has_reply() =>
            {
                Next::Write
            }
            SessionState::Closing => Next::Close,
            SessionState::StartingTls => {
                self.state = SessionState::Idle;
                self.security.link = ControlLink::Handshaking;
                self.input.lines.begin_anew();
                self.input.unread = Vec::new();
                Next::StartTls
            }
            SessionState::Idle | SessionState::Busy(_) => {
                let is_full = self.input.unread.len() >= UNREAD_BYTES_MAX;
                let waits =
                    self.input.end == InputEnd::Ended || self.input.rate.until.is_some() || is_full;
                if waits { Next::Wait } else { Next::Read }
            }
        }
    }

    pub(super) fn outgoing_replies(&self) -> Outgoing<'_> {
        Outgoing {
            head: &self.replies.bytes[self.replies.sent..],
            payload: Payload::None,
            is_last: false,
        }
    }

    fn is_handshaking(&self) -> bool {
        self.security.link == ControlLink::Handshaking
    }

    /// So many bytes of replies have left.
    pub(super) fn handle_replies_sent(&mut self, bytes: usize, cx: &mut Context<'_>) {
        self.replies.sent += bytes;
        self.replies.stuck_since = None;
        if !self.has_reply() {
            self.replies.bytes = Vec::new();
            self.replies.sent = 0;
            if self.has_more() {
                cx.shared.resumed.push_back(cx.id);
            }
        }
    }

    pub(super) fn handle_secured(&mut self, secured: Option<Secured>, cx: &mut Context<'_>) {
        self.security.link = secured.map_or(ControlLink::Clear, ControlLink::Secured);
        self.heard = cx.now;
        self.rearm(cx);
        cx.shared.resumed.push_back(cx.id);
    }

    pub(super) fn handle_handshake_failed(&mut self, why: Handshake, cx: &mut Context<'_>) {
        cx.note_lone(self.peer, Refusal::Handshake(why));
        self.end(SessionState::Over, cx);
    }

    pub(super) fn handle_bytes(&mut self, bytes: &[u8], cx: &mut Context<'_>) {
        self.input.unread.extend_from_slice(bytes);
        self.read_on(cx);
        self.rearm(cx);
        cx.shared.ready.extend(self.data.as_ref().map(|data| data.id));
    }

    /// The client has ended its side.
    pub(super) fn handle_end(&mut self, cx: &mut Context<'_>) {
        if self.is_handshaking() {
            // It will never be secured, and reading on would find the end again and again.
            return self.end(SessionState::Over, cx);
        }
        self.input.end = InputEnd::Ended;
        self.read_on(cx);
        self.handle_hangup(cx);
    }

    /// The client will send nothing more, though what it sent before is not read yet.
    pub(super) fn handle_hangup(&mut self, cx: &mut Context<'_>) {
        self.input.end = self.input.end.max(InputEnd::HungUp);
        if let Some(Pending::Login { check, .. }) = self.job().map(|job| &job.pending) {
            // It may have left: others log in before it.
            check.token().doubt();
        }
        self.take_back(cx);
    }

    /// The connection is lost.
    pub(super) fn handle_broken(&mut self, outcome: Outcome, cx: &mut Context<'_>) {
        self.handle_control_lost(outcome, cx);
        self.end(SessionState::Over, cx);
    }

    /// Adds a reply.
    pub(super) fn reply(&mut self, code: Code, text: &str) {
        reply::line(&mut self.replies.bytes, code, text.as_bytes());
    }

    /// The same with the usual text.
    pub(super) fn reply_usual(&mut self, code: Code) {
        self.reply(code, code.text());
    }

    /// Adds the last reply, and closes the session once it has left.
    pub(super) fn close_with_reply(&mut self, code: Code, text: &str, cx: &mut Context<'_>) {
        self.reply(code, text);
        self.leave(cx);
    }

    /// Closes the session once its last reply has left.
    pub(super) fn leave(&mut self, cx: &mut Context<'_>) {
        self.conclude(Outcome::Aborted(Abort::Disconnected), cx);
        self.drop_data(Closing::Reset, cx);
        self.state = SessionState::Closing;
        self.input.unread = Vec::new();
        self.input.queued = CommandQueue::default();
        self.set_deadline(Some(cx.now + CLOSE_MAX), cx);
    }

    /// The session ends, and its data connection with it.
    fn end(&mut self, state: SessionState, cx: &mut Context<'_>) {
        self.drop_data(Closing::Reset, cx);
        self.state = state;
    }

    /// Lets the sockets of the session continue.
    pub(super) fn wake(&self, cx: &mut Context<'_>) {
        cx.note_ready();
        cx.shared.ready.extend(self.data.as_ref().map(|data| data.id));
    }

    fn set_deadline(&mut self, at: Option<Instant>, cx: &mut Context<'_>) {
        self.deadline.set(at, cx.id, &mut cx.shared.timers);
    }

    /// Sets the timer for what the session waits for.
    pub(super) fn rearm(&mut self, cx: &mut Context<'_>) {
        let limits = &cx.snapshot.policy.ftp.limits;
        let idle = match self.state {
            SessionState::Idle | SessionState::StartingTls => Some(self.idle_until(limits)),
            SessionState::Busy(_) => self.transfer().and_then(|transfer| transfer.due),
            SessionState::Closing | SessionState::Over | SessionState::Stuck => return,
        };
        let stuck = self.replies.stuck_since.map(|since| since + limits.stall_timeout);
        let due = [idle, self.input.rate.until, stuck].into_iter().flatten().min();
        self.set_deadline(due, cx);
    }

    /// Returns how long the session is kept without a command.
    fn idle_until(&self, limits: &FtpLimits) -> Instant {
        if self.is_logged_in() {
            self.heard + limits.idle_timeout
        } else {
            self.login.since + limits.login_timeout
        }
    }

    /// A deadline has come.
    pub(super) fn handle_timeout(&mut self, cx: &mut Context<'_>) {
        let limits = cx.snapshot.policy.ftp.limits;
        if self.is_handshaking() && cx.now.since(self.login.since) >= limits.login_timeout {
            cx.counters.tls_handshakes_failed.up();
            return self.handle_handshake_failed(Handshake::TooSlow, cx);
        }
        if self.replies.stuck_since.is_some_and(|since| cx.now.since(since) >= limits.stall_timeout)
        {
            cx.counters.stream_too_slow.up();
            self.conclude(Outcome::Stalled(Stall::Unread), cx);
            return self.end(SessionState::Stuck, cx);
        }
        match self.state {
            SessionState::Closing => self.state = SessionState::Stuck,
            SessionState::Over | SessionState::Stuck => {}
            SessionState::Busy(_) if self.transfer().is_some() => self.transfer_due(cx),
            SessionState::Busy(_) => {}
            SessionState::Idle | SessionState::StartingTls
                if cx.now >= self.idle_until(&limits) =>
            {
                cx.counters.stream_idle_closed.up();
                let text = match self.is_logged_in() {
                    true => "No command came for too long.",
                    false => "Nobody has logged in for too long.",
                };
                self.close_with_reply(Code::CLOSING, text, cx);
            }
            SessionState::Idle | SessionState::StartingTls => {}
        }
        self.read_on(cx);
        self.rearm(cx);
    }

    /// Begins a command.
    pub(super) fn take_up(
        &mut self,
        pending: Pending,
        log: Option<LogContext>,
        cx: &mut Context<'_>,
    ) {
        cx.shared.transfers_open += usize::from(matches!(pending, Pending::Transfer(_)));
        self.state = SessionState::Busy(Box::new(Job { pending, log, question: None }));
    }

    /// Returns when the current command came, or `None` if it is not logged.
    pub(super) fn asked_at(&self) -> Option<Instant> {
        let SessionState::Busy(job) = &self.state else { return None };
        job.log.as_ref().map(|log| log.began)
    }

    /// The current command is done: it is logged, and the next one may come.
    pub(super) fn conclude(&mut self, outcome: Outcome, cx: &mut Context<'_>) {
        if !matches!(self.state, SessionState::Busy(_)) {
            return;
        }
        let SessionState::Busy(mut job) = std::mem::replace(&mut self.state, SessionState::Idle)
        else {
            return;
        };
        self.heard = cx.now;
        cx.shared.resumed.push_back(cx.id);
        if let Pending::Transfer(transfer) = job.pending {
            let broke_off = matches!(outcome, Outcome::Aborted(_) | Outcome::Stalled(_));
            if let Some(log) = job.log.as_mut().filter(|log| log.verb == Verb::Fetch)
                && let Some(data) = self.data.as_ref().filter(|_| broke_off)
            {
                log.bytes = log.bytes.saturating_sub(data.arrivals.unacknowledged);
            }
            cx.shared.transfers_open -= 1;
            if transfer.has_slot {
                cx.admission.booting.end(self.peer.ip(), outcome.lets_go_on(), cx.now);
            }
            self.release(transfer, job.question, cx);
        }
        if let Some(log) = job.log {
            cx.note(self.peer, self.security.link.secured(), log, outcome);
        }
    }

    /// Logs a refusal that is no transfer.
    pub(super) fn note_refused(&mut self, log: LogContext, no: Refusal, cx: &mut Context<'_>) {
        cx.note(self.peer, self.security.link.secured(), log, Outcome::Refused(no));
    }

    /// Asks the threads that wait for disks a question for the current command.
    pub(super) fn submit(
        &mut self,
        request: impl FnOnce(Ticket) -> StoreRequest,
        cx: &mut Context<'_>,
    ) {
        if let Some(ticket) = self.question(cx.id) {
            cx.shared.store_requests.push_back(request(ticket));
        }
    }

    /// Asks for an operation in the tree.
    pub(super) fn submit_files_op(&mut self, op: FilesOp, cx: &mut Context<'_>) {
        let tree = std::sync::Arc::clone(&cx.shared.tree);
        self.submit(|ticket| StoreRequest::Files { ticket, tree, op: Box::new(op) }, cx);
    }
}
