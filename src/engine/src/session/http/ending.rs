//! How exchanges and connections end: the record, the session slot, the socket.
//!
//! Decides nothing about requests.

use crate::requests::StoreReply;
use crate::session::arrivals::{MEASUREMENTS, StallLimits};
use crate::session::http::connection::{Connection, ConnectionState};
use crate::session::http::context::{Context, Shared};
use crate::session::http::exchange::{Exchange, PendingRequest, Stage};
use crate::session::http::rejection::Rejection;
use crate::session::{Abort, Failure, Outcome, Record, Stall, Subject, TurnContext, Verb};
use crate::vault::request::VaultReply;
use vendor::header_reads;
use wire::time::{Duration, Instant};

/// How long an ended connection is read on without any bytes.
const LINGER_SILENCE_MAX: Duration = Duration::from_secs(5);
/// Most bytes read on after bytes that are no request and have no known end, so that the response
/// arrives.
const NO_REQUEST_BYTES_MAX: u64 = 256 << 10;

impl Connection {
    /// The connection is gone, and with it the current request.
    pub(super) fn break_off(&mut self, outcome: Outcome, cx: &mut Context<'_>) {
        self.conclude(Some(outcome), ConnectionState::Closing, cx);
    }

    /// The socket is closed.
    pub(super) fn handle_closed(&mut self, outcome: Outcome, cx: &mut Context<'_>) {
        self.break_off(outcome, cx);
        cx.shared.dismiss(self.peer.ip(), self.is_handshaking(), self.stranger);
    }

    /// Ends the current exchange, if there is one, and sets the connection's state to `next`. The
    /// slot's hold begins, and the exchange is logged.
    pub(super) fn conclude(
        &mut self,
        outcome: Option<Outcome>,
        next: ConnectionState,
        cx: &mut Context<'_>,
    ) {
        let ConnectionState::Serving(exchange) = std::mem::replace(&mut self.state, next) else {
            return;
        };
        let Exchange { log, has_slot, body_held, stage, question } = exchange;
        if body_held > 0 {
            cx.shared.bodies_held -= body_held;
            cx.shared.usage_of(self.peer.ip()).bodies_held -= body_held;
        }
        // The operation of the writer or the vault.
        let write = match stage {
            Stage::Queued(_) => {
                question.into_iter().for_each(|ticket| cx.admission.slots.cancel(ticket));
                None
            }
            Stage::Receiving(mut body) => {
                if let Some(spool) = body.take_spool() {
                    cx.shared.forget_spool(cx.id, spool);
                }
                None
            }
            Stage::Waiting(pending) if matches!(*pending, PendingRequest::Write(_)) => question,
            Stage::Waiting(_) | Stage::Delayed(_) | Stage::Replying => None,
        };
        if has_slot {
            cx.admission.slots.end(self.peer.ip(), false, cx.now);
        }
        let mut outcome = outcome.unwrap_or(log.outcome);
        let mut bytes = log.bytes;
        let has_left =
            matches!(outcome, Outcome::Aborted(Abort::Disconnected) | Outcome::Stalled(_));
        if has_left && self.reply.says_done() {
            outcome = Outcome::DoneUnacknowledged;
        }
        if has_slot {
            cx.admission.booting.end(self.peer.ip(), outcome.lets_go_on(), cx.now);
        }
        if log.verb == Verb::Fetch && has_left {
            bytes = bytes.saturating_sub(self.arrivals.unacknowledged);
            if matches!(outcome, Outcome::Aborted(_)) && reads_header(&log.subject) {
                outcome = Outcome::Aborted(Abort::HeaderRead);
            }
        }
        let about = (log.verb, log.subject);
        let record = Record {
            took: cx.now.since(log.began),
            bytes,
            of_bytes: log.of_bytes,
            status: self.reply.status(),
            secured: self.secured(),
            user_agent: self.user_agent.clone(),
            user: log.user,
            ..Record::new(self.protocol, self.peer, about, log.began, outcome)
        };
        if let Some(ticket) = write.filter(|_| has_left) {
            // It stays open until the writer or the vault has answered: the record has the result,
            // and not only that the client left.
            cx.shared.left.insert(ticket, record);
            return;
        }
        cx.shared.requests_open -= 1;
        outcome.count(cx.counters);
        cx.shared.records.push_back(record);
    }

    /// The response is sent: the next request may come, or the connection ends.
    pub(super) fn handle_reply_sent(&mut self, cx: &mut Context<'_>) {
        self.conclude(None, ConnectionState::Idle, cx);
        let limits = cx.limits();
        if self.reply.lingers() {
            // Only a body is read to its end; other bytes may have none.
            let has_body = self.reply.body_unread;
            let room = if has_body { limits.discard_bytes_max } else { NO_REQUEST_BYTES_MAX };
            let discarded = limits.discard_bytes_max.saturating_sub(room);
            let until = cx.now + limits.discard_timeout;
            self.state = ConnectionState::Lingering { shut: false, until, discarded };
            self.set_deadline(Some(until.min(cx.now + LINGER_SILENCE_MAX)), cx);
            self.resume(cx);
        } else if !self.reply.keeps() || (cx.shared.stopping && self.unread.is_empty()) {
            self.state = ConnectionState::Closing;
        } else {
            self.set_deadline(Some(cx.now + limits.idle_timeout), cx);
            self.resume(cx);
        }
    }

    /// Discards bytes of a phone that has its response already.
    pub(super) fn discard(&mut self, bytes: usize, cx: &mut Context<'_>) {
        let ConnectionState::Lingering { until, discarded, .. } = &mut self.state else { return };
        *discarded += bytes as u64;
        let until = *until;
        if *discarded > cx.limits().discard_bytes_max {
            cx.counters.http_discards_cut.up();
            self.state = ConnectionState::Closing;
        } else {
            self.set_deadline(Some(until.min(cx.now + LINGER_SILENCE_MAX)), cx);
        }
    }

    /// A response has stalled: it waits for an answer, or the phone does not read.
    pub(super) fn handle_standstill(&mut self, cx: &mut Context<'_>) {
        self.request_more(cx);
        // If there is nothing to send it waits for the loader, which always answers.
        if self.reply.can_send() {
            self.arrivals.needs_measure = true;
        }
    }

    /// So many of all sent bytes have not arrived.
    pub(super) fn handle_unacknowledged(&mut self, bytes: u64, cx: &mut Context<'_>) {
        self.arrivals.note(bytes, cx.now);
        let needs_measure = std::mem::take(&mut self.arrivals.needs_measure);
        let is_replying = self.exchange_mut().is_some_and(|one| one.stage.is_replying());
        if needs_measure && is_replying {
            self.go_on_or_give_up(cx);
        }
    }

    /// The socket has no room: the phone must read on in time.
    pub(super) fn handle_blocked(&mut self, cx: &mut Context<'_>) {
        if let Some((due, _)) = self.reading_due(cx) {
            self.wait_for_reader(due, cx);
        }
    }

    /// Returns when a reading phone must have acknowledged more, or `None` between requests.
    fn reading_due(&self, cx: &Context<'_>) -> Option<(Instant, Stall)> {
        let ConnectionState::Serving(Exchange { log, .. }) = &self.state else { return None };
        let limits = cx.limits();
        let patience =
            StallLimits { stall_timeout: limits.stall_timeout, rate_min: limits.rate_min };
        Some(self.arrivals.due(log.moves_since, log.bytes, patience))
    }

    /// Waits for a reading phone and measures now and then whether anything has arrived: the kernel
    /// reports only room.
    fn wait_for_reader(&mut self, due: Instant, cx: &mut Context<'_>) {
        let next_check = cx.now + cx.limits().stall_timeout / MEASUREMENTS;
        self.set_deadline(Some(due.min(next_check)), cx);
    }

    /// After a measurement, gives the phone more time or gives up.
    fn go_on_or_give_up(&mut self, cx: &mut Context<'_>) {
        let stall = match self.reading_due(cx) {
            Some((due, _)) if due > cx.now => return self.wait_for_reader(due, cx),
            Some((_, stall)) => stall,
            None => Stall::Unread,
        };
        cx.counters.stream_too_slow.up();
        self.conclude(Some(Outcome::Stalled(stall)), ConnectionState::Resetting, cx);
    }
}

impl Shared {
    /// A store or deletion for a client that has left has ended.
    pub(super) fn conclude_left(
        &mut self,
        record: Record,
        reply: &StoreReply,
        turn: &TurnContext<'_>,
    ) {
        let outcome = match reply {
            StoreReply::Stored { result: Ok(_), .. }
            | StoreReply::Vault { result: Ok(VaultReply::Kept(_)), .. } => {
                turn.counters.uploads_stored.up();
                Outcome::DoneUnacknowledged
            }
            StoreReply::Vault {
                result: Ok(VaultReply::Permitted | VaultReply::Fetched(_) | VaultReply::Forgotten),
                ..
            } => Outcome::DoneUnacknowledged,
            StoreReply::Deleted { result: Ok(()), .. } => {
                turn.counters.uploads_deleted.up();
                Outcome::DoneUnacknowledged
            }
            StoreReply::Stored { result: Err(fault), .. }
            | StoreReply::Deleted { result: Err(fault), .. } => Outcome::of_store(*fault),
            StoreReply::Vault { result: Err(denied), .. } => Rejection::denied(*denied).outcome,
            // No client is left for these.
            StoreReply::Opened { .. }
            | StoreReply::Verified { .. }
            | StoreReply::Upload { .. }
            | StoreReply::Read { .. }
            | StoreReply::Files { .. }
            | StoreReply::Login { .. } => record.outcome,
        };
        let took = turn.now.since(record.began);
        self.record_left(Record { took, outcome, ..record }, turn);
    }

    /// No thread will answer any more.
    pub(super) fn abandon_left(&mut self, turn: &TurnContext<'_>) {
        for record in std::mem::take(&mut self.left).into_values() {
            self.record_left(Record { outcome: Outcome::Failed(Failure::Stopped), ..record }, turn);
        }
    }

    fn record_left(&mut self, record: Record, turn: &TurnContext<'_>) {
        self.requests_open -= 1;
        record.outcome.count(turn.counters);
        self.records.push_back(record);
    }
}

/// Returns whether phones of some make read only the beginning of this file.
fn reads_header(subject: &Subject) -> bool {
    match subject {
        Subject::File(entry) => header_reads::header_read(entry.path.as_bytes()).is_some(),
        Subject::Said(_) | Subject::Unreadable => false,
    }
}
