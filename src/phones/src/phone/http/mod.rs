//! The HTTP side of a phone: files read, stored and removed one after the other, over one
//! connection or over one for each.
//!
//! Takes bytes, losses and time; is polled for connections, bytes and deadlines. Never opens a
//! socket, never keeps what it reads: [`Phone::handle_bytes`] returns each piece to its caller.

mod client;
mod request;
mod response;
mod state;

use std::sync::Arc;

use super::tftp::Piece;
pub use client::{
    Action, Client, ConnectionOp, Ending, FileResult, Loss, Pace, Plan, PlanStep, Presence, Secret,
    ServerFault, Tally,
};
use response::Response;
use state::{Link, Phase};
use wire::time::{Duration, Instant};

/// Longest head of a response that a phone reads, in bytes.
pub const HEAD_BYTES_MAX: usize = 16 << 10;

/// One phone.
#[derive(Debug)]
pub struct Phone {
    plan: Arc<Plan>,
    step: usize,
    state: Phase,
    link: Link,
    wants_connect: bool,
    wants_close: bool,
    /// The head of the request, and how much of it and of the body has left.
    request: Vec<u8>,
    sent: usize,
    /// The part of a response's head that has come.
    head: Vec<u8>,
    /// Entity tags, by the step that received them.
    tags: Vec<(usize, Box<[u8]>)>,
    /// Steps of a slow phone that are due, in bytes, and when the next one is.
    may: usize,
    next_byte_at: Instant,
    heard_at: Instant,
    began: Instant,
    /// Whether it waits within a file, so that the file's start time stays.
    is_again: bool,
    died: u8,
    was_challenged: bool,
    is_lost: bool,
    status: u16,
    tally: Tally,
    result: Option<FileResult>,
}

impl Phone {
    /// Makes a phone that gets power at `start`.
    #[must_use]
    pub fn new(plan: Arc<Plan>, start: Instant) -> Phone {
        let state = if plan.steps.is_empty() { Phase::Over } else { Phase::Waiting(start) };
        Phone {
            plan,
            step: 0,
            state,
            link: Link::Down,
            wants_connect: false,
            wants_close: false,
            request: Vec::new(),
            sent: 0,
            head: Vec::new(),
            tags: Vec::new(),
            may: 0,
            next_byte_at: start,
            heard_at: start,
            began: start,
            is_again: false,
            died: 0,
            was_challenged: false,
            is_lost: false,
            status: 0,
            tally: Tally::default(),
            result: None,
        }
    }

    /// Returns whether the phone is done and has no connection any more.
    #[must_use]
    pub fn is_over(&self) -> bool {
        matches!(self.state, Phase::Over) && !self.wants_close
    }

    /// Returns whether every file ended well, or one did not and the phone gave up.
    #[must_use]
    pub fn has_booted_or_failed(&self) -> bool {
        matches!(self.state, Phase::Staying(_) | Phase::Over)
    }

    /// Returns whether a file ended in a way that the phone cannot continue from.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.is_lost
    }

    /// Returns whether it is done and keeps its connection open.
    #[must_use]
    pub fn is_staying(&self) -> bool {
        matches!(self.state, Phase::Staying(_))
    }

    /// Returns the current step of the plan, or the next one.
    #[must_use]
    pub fn step(&self) -> usize {
        self.step
    }

    /// Returns how many bytes may be read for the phone now; `None` = no limit.
    #[must_use]
    pub fn may_read(&self) -> Option<usize> {
        match (self.plan.client.pace, &self.state) {
            (Pace::SlowToRead(_), Phase::Asking | Phase::Reading(_)) => Some(self.may),
            (_, _) => None,
        }
    }

    /// The connection is open, and secured if necessary.
    pub fn handle_connected(&mut self, now: Instant) {
        self.link = Link::Fresh;
        self.heard_at = now;
        if matches!(self.state, Phase::Connecting) {
            self.state = Phase::Asking;
        }
        self.check();
    }

    /// This many of the bytes of [`Phone::poll_transmit`] have left.
    pub fn handle_sent(&mut self, bytes: usize, now: Instant) {
        let head_left = self.request.len().saturating_sub(self.sent);
        self.sent += bytes;
        self.heard_at = now;
        let paid = self.plan.client.pace.paid(head_left, bytes);
        self.may = self.may.saturating_sub(paid);
        self.check();
    }

    /// So many bytes were read from the socket for the phone; over TLS perhaps without payload.
    pub fn handle_read(&mut self, bytes: usize, now: Instant) {
        self.heard_at = now;
        if let Pace::SlowToRead(_) = self.plan.client.pace {
            self.may = self.may.saturating_sub(bytes);
        }
    }

    /// Bytes came. Returns how many were taken, at least one, and the bytes of the file in them.
    /// Call again with the rest.
    pub fn handle_bytes<'d>(
        &mut self,
        bytes: &'d [u8],
        now: Instant,
    ) -> (usize, Option<Piece<'d>>) {
        self.heard_at = now;
        let taken = match self.state {
            Phase::Asking => (self.read_head(bytes, now), None),
            Phase::Reading(_) => self.read_body(bytes, now),
            Phase::Waiting(_) | Phase::Staying(_) => {
                // A server may send 408 before it closes a connection that was idle for too long.
                self.tally.unasked += u32::from(!bytes.starts_with(b"HTTP/1.1 408"));
                self.hang_up();
                (bytes.len(), None)
            }
            Phase::Connecting | Phase::Over => (bytes.len(), None),
        };
        self.check();
        taken
    }

    /// The connection is gone.
    pub fn handle_lost(&mut self, loss: Loss, now: Instant) {
        // A connection that the phone has hung up on may go: the next one is new.
        if std::mem::take(&mut self.wants_close) {
            return;
        }
        let was = std::mem::replace(&mut self.link, Link::Down);
        match loss {
            Loss::Reset => self.tally.resets += 1,
            Loss::Unreachable => self.tally.unreachable += 1,
            Loss::Closed | Loss::Unsecured => {}
        }
        match &self.state {
            Phase::Waiting(_) | Phase::Over => {}
            Phase::Staying(_) => self.state = Phase::Over,
            Phase::Connecting => self.fail(Ending::Lost(loss), now),
            // The server closed it while the request was under way (RFC 9112, section 9.3.1).
            Phase::Asking if was == Link::Used && self.head.is_empty() => {
                self.tally.reopened += 1;
                self.ask(now);
            }
            Phase::Reading(response) if response.ends_with_connection() && loss == Loss::Closed => {
                self.complete(now);
            }
            Phase::Asking | Phase::Reading(_) => self.fail(Ending::Lost(loss), now),
        }
        self.check();
    }

    /// The driver needs no more of the phone: its connection is to be closed, and no result comes.
    pub fn leave(&mut self) {
        self.hang_up();
        self.state = Phase::Over;
        self.check();
    }

    /// A deadline of [`Phone::poll_timeout`] has come.
    pub fn handle_timeout(&mut self, now: Instant) {
        let silent = self.heard_at + self.plan.client.timer <= now;
        match self.state {
            Phase::Waiting(at) if at <= now => {
                if !std::mem::take(&mut self.is_again) {
                    // Counted from when it was due, so that a late driver does not make the phone
                    // look quick.
                    self.began = at;
                }
                self.ask(now);
            }
            Phase::Connecting if silent => {
                self.tally.timeouts += 1;
                self.fail(Ending::ConnectTimedOut, now);
            }
            Phase::Asking | Phase::Reading(_) if silent => {
                self.tally.timeouts += 1;
                self.fail(Ending::TimedOut, now);
            }
            Phase::Asking | Phase::Reading(_) => self.step_on(now),
            Phase::Staying(until) if until <= now => {
                self.hang_up();
                self.state = Phase::Over;
            }
            Phase::Waiting(_) | Phase::Connecting | Phase::Staying(_) | Phase::Over => {}
        }
        self.check();
    }

    /// Returns when to call [`Phone::handle_timeout`].
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let silent = self.heard_at + self.plan.client.timer;
        match self.state {
            Phase::Waiting(at) | Phase::Staying(at) => Some(at),
            Phase::Connecting => Some(silent),
            Phase::Asking | Phase::Reading(_) => match self.plan.client.pace.every() {
                Some(_) if self.may == 0 => Some(self.next_byte_at.min(silent)),
                Some(_) | None => Some(silent),
            },
            Phase::Over => None,
        }
    }

    /// Returns what to do with the connection next.
    pub fn poll_connection_op(&mut self) -> Option<ConnectionOp> {
        if std::mem::take(&mut self.wants_close) {
            return Some(ConnectionOp::Close);
        }
        std::mem::take(&mut self.wants_connect).then_some(ConnectionOp::Connect)
    }

    /// Returns the bytes to send: the rest of a head, and the rest of a body.
    #[must_use]
    pub fn poll_transmit(&self) -> [&[u8]; 2] {
        if !matches!(self.state, Phase::Asking) {
            return [&[], &[]];
        }
        let head = self.request.get(self.sent..).unwrap_or_default();
        let body_sent = self.sent.saturating_sub(self.request.len());
        let body = self.body().get(body_sent..).unwrap_or_default();
        self.plan.client.pace.part(head, body, self.may)
    }

    /// Returns how the last file ended. Poll after every `handle_*`, or it is lost.
    pub fn poll_result(&mut self) -> Option<FileResult> {
        self.result.take()
    }

    fn current(&self) -> Option<&PlanStep> {
        self.plan.steps.get(self.step)
    }

    fn body(&self) -> &[u8] {
        self.current().map_or(&[], |step| step.action.body())
    }

    /// A slow phone's next byte is due.
    fn step_on(&mut self, now: Instant) {
        let Some(every) = self.plan.client.pace.every() else { return };
        if self.next_byte_at <= now {
            self.may += 1;
            self.next_byte_at = now + every;
        }
    }

    /// Begins the request of the step, over the current connection or over a new one.
    fn ask(&mut self, now: Instant) {
        let shows_secret = self.shows_secret();
        let Phone { plan, request, tags, .. } = self;
        request::write(request, plan, self.step, tags, shows_secret);
        self.sent = 0;
        self.may = 0;
        self.head.clear();
        self.heard_at = now;
        self.next_byte_at = now;
        if self.link == Link::Down {
            self.tally.connects += 1;
            self.wants_connect = true;
            self.state = Phase::Connecting;
        } else {
            self.state = Phase::Asking;
        }
    }

    /// Takes bytes of a response's head. Returns how many.
    fn read_head(&mut self, bytes: &[u8], now: Instant) -> usize {
        let before = self.head.len();
        let read = if before == 0 {
            Response::read(bytes)
        } else {
            let room = HEAD_BYTES_MAX.saturating_sub(before).min(bytes.len());
            self.head.extend_from_slice(&bytes[..room]);
            Response::read(&self.head)
        };
        let (mut response, used) = match read {
            Ok(Some(whole)) => whole,
            Ok(None) => {
                if before == 0 {
                    self.head.extend_from_slice(&bytes[..bytes.len().min(HEAD_BYTES_MAX)]);
                }
                if self.head.len() >= HEAD_BYTES_MAX {
                    self.fail(Ending::Fault(ServerFault::EndlessHead), now);
                }
                return bytes.len();
            }
            Err(fault) => {
                self.fail(Ending::Fault(fault), now);
                return bytes.len();
            }
        };
        self.head.clear();
        if response.is_interim() {
            return used - before;
        }
        self.link = Link::Used;
        self.status = response.status;
        if let Some(tag) = response.tag.take() {
            self.tags.retain(|(step, _)| *step != self.step);
            self.tags.push((self.step, tag));
        }
        let is_whole = response.is_whole();
        let is_wrong = self.current().is_some_and(|step| response.is_wrong_part(&step.action));
        self.state = Phase::Reading(response);
        if is_wrong {
            self.fail(Ending::Fault(ServerFault::WrongRange), now);
        } else if is_whole && bytes.len() > used - before {
            self.fail(Ending::Fault(ServerFault::Surplus), now);
            return bytes.len();
        } else if is_whole {
            self.complete(now);
        }
        used - before
    }

    /// Takes bytes of a response's body. Returns how many, and the bytes of the file in them.
    fn read_body<'d>(&mut self, bytes: &'d [u8], now: Instant) -> (usize, Option<Piece<'d>>) {
        let Phase::Reading(response) = &mut self.state else { return (bytes.len(), None) };
        let (used, mut body) = match response.take(bytes) {
            Ok(taken) => taken,
            Err(fault) => {
                self.fail(Ending::Fault(fault), now);
                return (bytes.len(), None);
            }
        };
        if !matches!(response.status, 200 | 206) {
            body = &[];
        }
        let (offset, is_whole) = (response.taken, response.is_whole());
        let wanted = self.plan.steps.get(self.step).and_then(|step| step.action.header_bytes());
        if let Some(wanted) = wanted {
            let room = wanted.saturating_sub(offset).min(body.len() as u64) as usize;
            body = &body[..room];
        }
        response.taken += body.len() as u64;
        let has_enough = wanted.is_some_and(|wanted| response.taken >= wanted);
        self.tally.bytes += body.len() as u64;
        let piece = (!body.is_empty()).then_some(Piece { offset, bytes: body });
        if has_enough {
            self.finish(Ending::Left, now);
            return (bytes.len(), piece);
        }
        if is_whole && used < bytes.len() {
            self.fail(Ending::Fault(ServerFault::Surplus), now);
            return (bytes.len(), piece);
        }
        if is_whole {
            self.complete(now);
        }
        (used, piece)
    }

    /// A response is complete.
    fn complete(&mut self, now: Instant) {
        self.tally.answers += 1;
        let Phase::Reading(response) = &self.state else { return };
        let (status, is_kept, after) = (response.status, response.is_kept, response.retry_after);
        let is_early = self.sent < self.request.len() + self.body().len();
        if self.plan.client.closes || !is_kept || is_early {
            self.hang_up();
        }
        if let (503 | 429, Some(after)) = (status, after)
            && self.tally.waits < self.plan.client.waits
        {
            self.tally.waits += 1;
            return self.wait(after, now);
        }
        if status == 401 && self.plan.secret.is_some() && !self.shows_secret() {
            self.was_challenged = true;
            return self.ask(now);
        }
        let ending = self.current().map_or(Ending::Refused(status), |step| step.ending_of(status));
        self.finish(ending, now);
    }

    fn shows_secret(&self) -> bool {
        self.was_challenged || self.plan.secret.as_ref().is_some_and(|it| it.shows_at_once)
    }

    /// The connection or the server failed: begins the file again or gives it up.
    fn fail(&mut self, ending: Ending, now: Instant) {
        self.hang_up();
        let may_try_again = match ending {
            Ending::Lost(_) | Ending::ConnectTimedOut | Ending::TimedOut => true,
            Ending::Done | Ending::Unchanged | Ending::Left => false,
            Ending::Refused(_) | Ending::Fault(_) => false,
        };
        if may_try_again && self.died + 1 < self.plan.client.attempts {
            self.died += 1;
            return self.wait(self.plan.client.again_after, now);
        }
        self.finish(ending, now);
    }

    fn wait(&mut self, time: Duration, now: Instant) {
        self.is_again = true;
        self.state = Phase::Waiting(now + time);
    }

    fn hang_up(&mut self) {
        self.wants_close |= self.link != Link::Down || matches!(self.state, Phase::Connecting);
        self.wants_connect = false;
        self.link = Link::Down;
    }

    /// The step is over.
    fn finish(&mut self, ending: Ending, now: Instant) {
        if ending == Ending::Left {
            self.hang_up();
        }
        let (ending, is_good) =
            self.current().map_or((ending, false), |step| step.lived_with(ending));
        self.result = Some(FileResult {
            step: self.step,
            began: self.began,
            took: now - self.began,
            tally: std::mem::take(&mut self.tally),
            status: std::mem::take(&mut self.status),
            ending,
            is_good,
        });
        self.died = 0;
        self.is_lost |= !is_good;
        self.step += 1;
        if is_good && self.step < self.plan.steps.len() {
            if self.plan.pause.is_zero() {
                self.began = now;
                return self.ask(now);
            }
            self.state = Phase::Waiting(now + self.plan.pause);
        } else if is_good && !self.plan.stays.is_zero() && self.link != Link::Down {
            self.state = Phase::Staying(now + self.plan.stays);
        } else {
            self.hang_up();
            self.state = Phase::Over;
        }
    }

    /// Checks what must hold after every method that changes the phone.
    fn check(&self) {
        debug_assert!(self.head.len() <= HEAD_BYTES_MAX);
        debug_assert!(!matches!(self.state, Phase::Asking) || self.link != Link::Down);
        debug_assert!(!matches!(self.state, Phase::Over) || self.link == Link::Down);
        debug_assert!(!(self.wants_connect && self.link != Link::Down));
    }
}

#[cfg(test)]
mod tests;
