//! The FTP side of a phone: it logs in, stores and reads files over data connections that it opens
//! or accepts, and leaves.
//!
//! Takes bytes, losses and time; is polled for connections, bytes and deadlines. Never opens a
//! socket, speaks no TLS, and keeps nothing of what it reads: [`Phone::handle_data`] returns each
//! piece.

mod client;
mod state;
mod talk;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;

use super::tftp::Piece;
pub use client::{
    Action, Client, ConnectionOp, Ending, FileResult, Loss, Meeting, Plan, PlanStep, Presence,
    Refusal, Security, ServerFault, Tally,
};
use state::{AwaitedReply, Line, Phase, Transfer};
use wire::ftp::address::{write_eprt, write_port};
use wire::ftp::reply::parse;
use wire::time::Instant;

/// Longest reply that a phone reads, in bytes.
pub const REPLY_BYTES_MAX: usize = 16 << 10;

/// One phone.
#[derive(Debug)]
pub struct Phone {
    plan: Arc<Plan>,
    step: usize,
    state: Phase,
    /// Whether there is a control connection, open or being opened.
    link: bool,
    is_logged_in: bool,
    connection_ops: VecDeque<ConnectionOp>,
    /// The line being sent.
    line: Line,
    /// The part of a reply that has come.
    heard: Vec<u8>,
    transfer: Transfer,
    heard_at: Instant,
    began: Instant,
    /// Whether it waits within a file, so that the file's start time stays.
    is_again: bool,
    died: u8,
    is_lost: bool,
    was_ended: bool,
    tally: Tally,
    refusal: Option<Refusal>,
    result: Option<FileResult>,
}

impl Phone {
    /// Makes a phone whose user presses Save, or which looks for its data, at `start`.
    #[must_use]
    pub fn new(plan: Arc<Plan>, start: Instant) -> Phone {
        Phone {
            plan,
            step: 0,
            state: Phase::Waiting(start),
            link: false,
            is_logged_in: false,
            connection_ops: VecDeque::new(),
            line: Line::default(),
            heard: Vec::new(),
            transfer: Transfer::default(),
            heard_at: start,
            began: start,
            is_again: false,
            died: 0,
            is_lost: false,
            was_ended: false,
            tally: Tally::default(),
            refusal: None,
            result: None,
        }
    }

    /// Returns whether the phone is done and has no connection any more.
    #[must_use]
    pub fn is_over(&self) -> bool {
        matches!(self.state, Phase::Over) && self.connection_ops.is_empty()
    }

    /// Returns whether a file ended in a way that the phone cannot continue from, or its login was
    /// refused.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.is_lost
    }

    /// Returns whether it is done and stays logged in.
    #[must_use]
    pub fn is_staying(&self) -> bool {
        matches!(self.state, Phase::Staying(_))
    }

    /// Returns whether the server ended its stay.
    #[must_use]
    pub fn was_ended(&self) -> bool {
        self.was_ended
    }

    /// Returns whether data connections are secured, with the phone as the TLS client in either
    /// direction.
    #[must_use]
    pub fn protects_data(&self) -> bool {
        self.plan.client.security != Security::Clear
    }

    /// Returns the current step of the plan, or the next one.
    #[must_use]
    pub fn step(&self) -> usize {
        self.step
    }

    /// The control connection is open, and secured if necessary.
    pub fn handle_connected(&mut self, now: Instant) {
        self.heard_at = now;
        match self.state {
            Phase::Connecting => self.state = Phase::Awaiting(AwaitedReply::Greeting),
            Phase::Securing => self.log_in(),
            Phase::Waiting(_) | Phase::Awaiting(_) | Phase::Staying(_) | Phase::Over => {}
        }
        self.check();
    }

    /// This many of the bytes of [`Phone::poll_transmit`] have left.
    pub fn handle_sent(&mut self, bytes: usize, now: Instant) {
        self.line.sent += bytes;
        self.heard_at = now;
        self.check();
    }

    /// Bytes came over the control connection.
    pub fn handle_bytes(&mut self, bytes: &[u8], now: Instant) {
        self.heard_at = now;
        let mut heard = std::mem::take(&mut self.heard);
        heard.extend_from_slice(bytes);
        let mut used = 0;
        // Bytes in clear after the reply to AUTH TLS are ignored.
        while self.link && !matches!(self.state, Phase::Securing) {
            match parse(heard.get(used..).unwrap_or_default()) {
                Ok(Some((reply, bytes))) => {
                    used += bytes;
                    self.handle_reply(reply, now);
                }
                Ok(None) if heard.len() - used > REPLY_BYTES_MAX => {
                    self.fail(Ending::Fault(ServerFault::EndlessReply), now);
                }
                Ok(None) => {
                    heard.drain(..used);
                    self.heard = heard;
                    break;
                }
                Err(_) => self.fail(Ending::Fault(ServerFault::BadReply), now),
            }
        }
        self.check();
    }

    /// The control connection is gone.
    pub fn handle_lost(&mut self, loss: Loss, now: Instant) {
        // A connection that the phone has hung up on may go.
        if !self.link {
            return;
        }
        self.count(loss);
        self.hang_up();
        match self.state {
            Phase::Awaiting(AwaitedReply::Quit) => self.state = Phase::Over,
            Phase::Staying(_) => {
                self.was_ended = true;
                self.state = Phase::Over;
            }
            // It will be opened again in time.
            Phase::Waiting(_) | Phase::Over => {}
            Phase::Connecting | Phase::Securing | Phase::Awaiting(_) => {
                self.fail(Ending::Lost(loss), now);
            }
        }
        self.check();
    }

    /// After [`ConnectionOp::Listen`]: the address to which the server may connect.
    pub fn handle_listening(&mut self, place: SocketAddr) {
        if !matches!(self.state, Phase::Awaiting(AwaitedReply::Place)) {
            return;
        }
        let mut words = Vec::new();
        let verb: &[u8] = match (self.plan.client.meeting, place) {
            (Meeting::Active, SocketAddr::V4(place)) => {
                write_port(&mut words, place);
                b"PORT"
            }
            (_, place) => {
                write_eprt(&mut words, place);
                b"EPRT"
            }
        };
        self.line.set(verb, &words);
    }

    /// The data connection is open; it may not be secured yet.
    pub fn handle_data_opened(&mut self, now: Instant) {
        self.heard_at = now;
        self.transfer.is_open = true;
        if matches!(self.state, Phase::Awaiting(AwaitedReply::Data)) {
            self.ask_transfer();
        }
        self.end_if_sent();
        self.check();
    }

    /// Bytes came over the data connection. Returns them with their position in the file.
    pub fn handle_data<'d>(&mut self, bytes: &'d [u8], now: Instant) -> Option<Piece<'d>> {
        self.heard_at = now;
        if !matches!(self.state, Phase::Awaiting(AwaitedReply::Transfer)) || bytes.is_empty() {
            return None;
        }
        let offset = self.transfer.moved;
        match self.plan.steps.get(self.step).map(|step| &step.action) {
            Some(Action::Fetch(expected)) => {
                let start = usize::try_from(offset).unwrap_or(usize::MAX);
                let is_part =
                    |all: &Arc<[u8]>| all.get(start..).is_some_and(|rest| rest.starts_with(bytes));
                self.transfer.is_wrong |= !expected.as_ref().is_none_or(is_part);
            }
            Some(Action::Store(_)) | None => {
                self.fail(Ending::Fault(ServerFault::Surplus), now);
                return None;
            }
        }
        self.transfer.moved += bytes.len() as u64;
        self.tally.bytes_read += bytes.len() as u64;
        self.check();
        Some(Piece { offset, bytes })
    }

    /// This many of the bytes of [`Phone::poll_data_transmit`] have left.
    pub fn handle_data_sent(&mut self, bytes: usize, now: Instant) {
        self.heard_at = now;
        self.transfer.moved += bytes as u64;
        self.tally.bytes_stored += bytes as u64;
        self.end_if_sent();
        self.check();
    }

    /// The data connection ended, was lost, or never opened.
    pub fn handle_data_ended(&mut self, loss: Loss, now: Instant) {
        self.heard_at = now;
        match self.state {
            Phase::Awaiting(AwaitedReply::Data) => {
                self.count(loss);
                self.fail(Ending::DataLost(loss), now);
            }
            Phase::Awaiting(AwaitedReply::Transfer) if self.transfer.ended.is_none() => {
                self.count(loss);
                self.transfer.ended = Some(loss);
                self.complete(now);
            }
            Phase::Waiting(_) | Phase::Connecting | Phase::Securing => {}
            Phase::Awaiting(_) | Phase::Staying(_) | Phase::Over => {}
        }
        self.check();
    }

    /// A deadline of [`Phone::poll_timeout`] has come.
    pub fn handle_timeout(&mut self, now: Instant) {
        let is_silent = self.heard_at + self.plan.client.timer <= now;
        match self.state {
            Phase::Waiting(at) if at <= now => {
                if !std::mem::take(&mut self.is_again) {
                    // Counted from when it was due, so that a late driver does not make the phone
                    // look quick.
                    self.began = at;
                }
                self.go_on(now);
            }
            Phase::Awaiting(AwaitedReply::Quit) if is_silent => {
                self.tally.timeouts += 1;
                self.end();
            }
            Phase::Connecting | Phase::Securing | Phase::Awaiting(_) if is_silent => {
                self.tally.timeouts += 1;
                self.fail(Ending::TimedOut, now);
            }
            Phase::Staying(until) if until <= now => self.quit(now),
            Phase::Waiting(_) | Phase::Connecting | Phase::Securing => {}
            Phase::Awaiting(_) | Phase::Staying(_) | Phase::Over => {}
        }
        self.check();
    }

    /// Returns when to call [`Phone::handle_timeout`].
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        match self.state {
            Phase::Waiting(at) | Phase::Staying(at) => Some(at),
            Phase::Connecting | Phase::Securing | Phase::Awaiting(_) => {
                Some(self.heard_at + self.plan.client.timer)
            }
            Phase::Over => None,
        }
    }

    /// Returns what to do with the connections next.
    pub fn poll_connection_op(&mut self) -> Option<ConnectionOp> {
        self.connection_ops.pop_front()
    }

    /// Returns the bytes to send over the control connection.
    #[must_use]
    pub fn poll_transmit(&self) -> &[u8] {
        match self.state {
            Phase::Awaiting(_) => self.line.rest(),
            Phase::Waiting(_) | Phase::Connecting | Phase::Securing => &[],
            Phase::Staying(_) | Phase::Over => &[],
        }
    }

    /// Returns the bytes to send over the data connection.
    #[must_use]
    pub fn poll_data_transmit(&self) -> &[u8] {
        let may = self.transfer.is_begun && self.transfer.ended.is_none();
        if !may || !matches!(self.state, Phase::Awaiting(AwaitedReply::Transfer)) {
            return &[];
        }
        self.stored().and_then(|all| all.get(self.transfer.moved as usize..)).unwrap_or_default()
    }

    /// Returns what the server refused last, for the moment or for good. Poll after every
    /// `handle_*`, or it is lost.
    pub fn poll_refusal(&mut self) -> Option<Refusal> {
        self.refusal.take()
    }

    /// Returns how the last file ended. Poll after every `handle_*`, or it is lost.
    pub fn poll_result(&mut self) -> Option<FileResult> {
        self.result.take()
    }

    /// Checks what must hold after every method that changes the phone.
    fn check(&self) {
        debug_assert!(self.heard.len() <= REPLY_BYTES_MAX);
        debug_assert!(!matches!(self.state, Phase::Awaiting(_)) || self.link);
        debug_assert!(!matches!(self.state, Phase::Over) || !self.link);
        debug_assert!(!self.is_logged_in || self.link);
        let stored = self.stored().map_or(u64::MAX, |content| content.len() as u64);
        debug_assert!(self.transfer.moved <= stored);
    }
}

#[cfg(test)]
mod tests;
