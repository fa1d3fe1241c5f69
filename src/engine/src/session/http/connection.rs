//! One connection: bytes in, one request after the other, bytes out, and its deadlines.
//!
//! Decides nothing about requests: `request.rs` does. Knows no other connection.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::protocol::Protocol;
use crate::session::arrivals::Arrivals;
use crate::session::http::context::{Context, Shared};
use crate::session::http::exchange::{Exchange, PendingRequest, RequestLog, Stage};
use crate::session::http::rejection::Rejection;
use crate::session::http::reply::Reply;
use crate::session::stream::{ConnectionId, ListenerId, Next, Security};
use crate::session::timer::Deadline;
use crate::session::{
    Abort, Failure, Handshake, Outcome, Refusal, Secured, Subject, Verb, WORDS_BYTES_MAX, clip,
};
use crate::ticket::{Questions, Ticket};
use wire::http::request::{
    Framing, HeadLimits, Malformed, asks_for_head, framing_of_refused, parse,
};
use wire::time::Instant;

/// One connection.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) peer: SocketAddr,
    pub(super) listener: ListenerId,
    /// The protocol of the listener.
    pub(super) protocol: Protocol,
    pub(super) channel: Channel,
    pub(super) state: ConnectionState,
    /// Bytes received but not consumed: a part of a head, or requests after the current one.
    pub(super) unread: Vec<u8>,
    /// The response being sent.
    pub(super) reply: Reply,
    pub(super) deadline: Deadline,
    /// Requests begun.
    pub(super) requests: u32,
    /// Numbers its questions.
    pub(super) questions: Questions,
    /// Whether the phone has ended its side.
    pub(super) ended: bool,
    /// Whether it counts as one of a client outside the access list.
    pub(super) stranger: bool,
    /// How much of what was sent has arrived.
    pub(super) arrivals: Arrivals,
    /// The phone's name for itself, cut to [`WORDS_BYTES_MAX`]; shared with the records of its
    /// requests, so that only a new name costs an allocation.
    pub(super) user_agent: Option<Arc<[u8]>>,
}

/// How bytes are carried.
#[derive(Clone, Copy, Debug)]
pub(super) enum Channel {
    /// In clear.
    Clear,
    /// TLS, once the handshake is complete. It counts as a handshake of its address.
    Handshaking,
    /// TLS.
    Secured {
        /// Version and suite.
        secured: Option<Secured>,
        /// Whether the client sent a certificate that the listener trusts.
        certificate: bool,
    },
}

/// What a connection is doing.
#[derive(Debug)]
pub(super) enum ConnectionState {
    /// It waits for a request, of which nothing has come.
    Idle,
    /// It waits for the rest of a request's head.
    ReadingHead,
    /// It serves a request.
    Serving(Exchange),
    /// The response is sent and the connection ends, but the phone may still be sending. Its bytes
    /// are discarded, because a phone that is cut off might not read the response (RFC 9112, 9.6).
    Lingering {
        /// Whether the server has ended its side.
        shut: bool,
        /// When reading stops.
        until: Instant,
        /// Bytes discarded, or not allowed from the start.
        discarded: u64,
    },
    /// It is to be closed.
    Closing,
    /// It is to be closed at once, dropping what the phone has not read.
    Resetting,
}

impl Connection {
    /// Makes a connection that waits for its first request.
    pub(super) fn new(
        peer: SocketAddr,
        (listener, protocol): (ListenerId, Protocol),
        stranger: bool,
    ) -> Connection {
        let channel = match protocol {
            Protocol::Https => Channel::Handshaking,
            Protocol::Http | Protocol::Tftp | Protocol::Ftp => Channel::Clear,
        };
        Connection {
            peer,
            listener,
            protocol,
            channel,
            state: ConnectionState::Idle,
            unread: Vec::new(),
            reply: Reply::default(),
            deadline: Deadline::default(),
            requests: 0,
            questions: Questions::default(),
            ended: false,
            stranger,
            arrivals: Arrivals::default(),
            user_agent: None,
        }
    }

    /// Sets the deadline for the first request, the handshake included.
    pub(super) fn expect_head(&mut self, cx: &mut Context<'_>) {
        self.set_deadline(Some(cx.now + cx.limits().head_timeout), cx);
    }

    /// The handshake is complete.
    pub(super) fn handle_secured(&mut self, security: Security, cx: &mut Context<'_>) {
        if self.is_handshaking() {
            cx.shared.usage_of(self.peer.ip()).handshakes -= 1;
        }
        let Security { secured, certificate, resumes: _ } = security;
        self.channel = Channel::Secured { secured, certificate };
    }

    pub(super) fn handle_handshake_failed(&mut self, why: Handshake, cx: &mut Context<'_>) {
        self.state = ConnectionState::Closing;
        let outcome = Outcome::Refused(Refusal::Handshake(why));
        cx.shared.record_connection((self.peer, self.protocol), outcome, cx.now);
    }

    pub(super) fn handle_bytes(&mut self, bytes: &[u8], cx: &mut Context<'_>) {
        if self.unread.is_empty() {
            let used = self.consume(bytes, cx);
            self.unread.extend_from_slice(&bytes[used..]);
        } else {
            self.unread.extend_from_slice(bytes);
            self.resume(cx);
        }
    }

    /// The phone has ended its side.
    pub(super) fn handle_end(&mut self, cx: &mut Context<'_>) {
        self.ended = true;
        match &self.state {
            ConnectionState::Idle
            | ConnectionState::ReadingHead
            | ConnectionState::Lingering { .. } => {
                self.state = ConnectionState::Closing;
            }
            ConnectionState::Serving(Exchange { stage: Stage::Receiving(_), .. }) => {
                self.break_off(Outcome::Aborted(Abort::Disconnected), cx);
            }
            ConnectionState::Serving(_) | ConnectionState::Closing | ConnectionState::Resetting => {
            }
        }
    }

    /// The phone has ended its side while its request waits. One that has left looks like this, and
    /// so does one that still reads: its password is checked after all others.
    pub(super) fn handle_hangup(&mut self, _: &mut Context<'_>) {
        let Some(Exchange { stage: Stage::Waiting(pending), .. }) = self.exchange() else { return };
        match &**pending {
            PendingRequest::Login(login) => login.check.token().doubt(),
            PendingRequest::Fetch { check, .. } => check.token().doubt(),
            PendingRequest::Open(..) | PendingRequest::Find(..) | PendingRequest::Write(_) => {}
        }
    }

    /// So many of the lent bytes have left.
    pub(super) fn handle_sent(&mut self, bytes: usize, cx: &mut Context<'_>) {
        self.arrivals.sent += bytes as u64;
        let payload = self.reply.advance(bytes);
        let ConnectionState::Serving(exchange) = &mut self.state else { return };
        if exchange.log.verb == Verb::Fetch {
            exchange.log.bytes += payload;
        }
        match exchange.stage {
            Stage::Replying if self.reply.is_sent() => self.handle_reply_sent(cx),
            Stage::Replying => self.request_more(cx),
            Stage::Queued(_) | Stage::Delayed(_) | Stage::Waiting(_) | Stage::Receiving(_) => {}
        }
    }

    /// The server takes no more requests.
    pub(super) fn handle_stop(&mut self, id: ConnectionId, shared: &mut Shared) {
        if matches!(self.state, ConnectionState::Idle) {
            self.state = ConnectionState::Closing;
            shared.ready.push_back(id);
        }
    }

    /// The deadline has come.
    pub(super) fn handle_timeout(&mut self, cx: &mut Context<'_>) {
        match &self.state {
            ConnectionState::Idle if self.is_handshaking() && self.requests == 0 => {
                cx.counters.stream_too_slow.up();
                cx.counters.tls_handshakes_failed.up();
                self.handle_handshake_failed(Handshake::TooSlow, cx);
            }
            ConnectionState::Idle => {
                cx.counters.stream_idle_closed.up();
                self.state = ConnectionState::Closing;
            }
            ConnectionState::ReadingHead => {
                cx.counters.stream_too_slow.up();
                // The method of the last request is not that of this one.
                let head_only = asks_for_head(&self.unread);
                self.reply.forget_request(head_only);
                self.open_exchange(RequestLog::new(Subject::Unreadable, Verb::Connect, cx.now), cx);
                self.reject(Rejection::too_slow(), cx);
            }
            ConnectionState::Serving(exchange) => match &exchange.stage {
                Stage::Receiving(_) => {
                    cx.counters.stream_too_slow.up();
                    self.reject(Rejection::too_slow(), cx);
                }
                Stage::Replying => self.handle_standstill(cx),
                Stage::Delayed(rejection) => {
                    let rejection = (**rejection).clone();
                    self.reject(rejection, cx);
                    self.resume(cx);
                }
                Stage::Queued(_) | Stage::Waiting(_) => {}
            },
            ConnectionState::Lingering { until, .. } => {
                if *until <= cx.now {
                    cx.counters.http_discards_cut.up();
                }
                self.state = ConnectionState::Closing;
            }
            ConnectionState::Closing | ConnectionState::Resetting => {}
        }
    }

    /// Returns what to do with the socket next.
    pub(super) fn next(&mut self) -> Next {
        match &mut self.state {
            ConnectionState::Idle | ConnectionState::ReadingHead => Next::Read,
            ConnectionState::Serving(exchange) => match &exchange.stage {
                Stage::Replying if self.arrivals.needs_measure => Next::Measure,
                Stage::Replying if self.reply.can_send() => Next::Write,
                Stage::Replying => Next::Wait,
                // "100 Continue" may have to leave first.
                _ if self.reply.has_head() => Next::Write,
                Stage::Receiving(body) if body.is_held() => Next::Wait,
                Stage::Receiving(_) => Next::Read,
                Stage::Queued(_) | Stage::Delayed(_) | Stage::Waiting(_) => Next::Wait,
            },
            ConnectionState::Lingering { shut: true, .. } => Next::Read,
            ConnectionState::Lingering { shut, .. } => {
                *shut = true;
                Next::Shut
            }
            ConnectionState::Closing => Next::Close,
            ConnectionState::Resetting => Next::Reset,
        }
    }

    /// Continues with bytes that were received early.
    pub(super) fn resume(&mut self, cx: &mut Context<'_>) {
        let mut unread = std::mem::take(&mut self.unread);
        let used = self.consume(&unread, cx);
        unread.drain(..used);
        // A connection that waits for its next request keeps no memory for it.
        self.unread = if unread.is_empty() { Vec::new() } else { unread };
        if self.ended && matches!(self.state, ConnectionState::Idle | ConnectionState::ReadingHead)
        {
            self.state = ConnectionState::Closing;
        }
    }

    /// Takes the bytes that can be used now. Returns how many.
    fn consume(&mut self, bytes: &[u8], cx: &mut Context<'_>) -> usize {
        let mut used = 0;
        loop {
            let rest = &bytes[used..];
            match &self.state {
                ConnectionState::Idle | ConnectionState::ReadingHead if rest.is_empty() => {
                    return used;
                }
                ConnectionState::Idle | ConnectionState::ReadingHead => {
                    match self.take_head(rest, cx) {
                        Some(taken) => used += taken,
                        None => return used,
                    }
                }
                ConnectionState::Serving(Exchange { stage: Stage::Receiving(_), .. }) => {
                    let taken = self.take_body(rest, cx);
                    used += taken;
                    if taken == 0 {
                        return used;
                    }
                }
                ConnectionState::Serving(_) => return used,
                ConnectionState::Lingering { .. } => {
                    self.discard(rest.len(), cx);
                    return bytes.len();
                }
                ConnectionState::Closing | ConnectionState::Resetting => return bytes.len(),
            }
        }
    }

    /// Reads a request's head and begins to serve it. Returns its length, or `None` if it is
    /// incomplete.
    fn take_head(&mut self, bytes: &[u8], cx: &mut Context<'_>) -> Option<usize> {
        let limits = cx.limits();
        let head_limits = HeadLimits {
            bytes_max: limits.head_bytes_max,
            lines_max: limits.head_lines_max,
            lone_lf: limits.lone_lf,
            lenient: limits.lenient,
        };
        match parse(bytes, &head_limits) {
            Ok(Some((head, taken))) => {
                self.set_deadline(None, cx);
                self.handle_request(&head, &bytes[..taken], cx);
                Some(taken)
            }
            Ok(None) => {
                // A head must be complete soon after its first bytes, and the first one soon after
                // the connection was opened.
                if matches!(self.state, ConnectionState::Idle) && self.requests > 0 {
                    self.set_deadline(Some(cx.now + limits.head_timeout), cx);
                }
                self.state = ConnectionState::ReadingHead;
                None
            }
            Err(fault) => {
                self.set_deadline(None, cx);
                let framing = framing_of_refused(bytes, &head_limits);
                let has_body = framing.is_some_and(Framing::has_body);
                self.reject_malformed(fault, (asks_for_head(bytes), has_body), cx);
                Some(bytes.len())
            }
        }
    }

    fn reject_malformed(
        &mut self,
        fault: Malformed,
        (head_only, has_body): (bool, bool),
        cx: &mut Context<'_>,
    ) {
        cx.counters.http_malformed.up();
        self.note_user_agent(None);
        self.open_exchange(RequestLog::new(Subject::Unreadable, Verb::Connect, cx.now), cx);
        self.reply.forget_request(head_only);
        self.reply.body_unread = has_body;
        self.reject(Rejection::malformed(fault).and_linger(), cx);
    }

    /// Begins an exchange, or replaces its log once the password is checked.
    pub(super) fn open_exchange(&mut self, log: RequestLog, cx: &mut Context<'_>) {
        if let ConnectionState::Serving(exchange) = &mut self.state {
            exchange.log = log;
        } else {
            cx.shared.requests_open += 1;
            self.state = ConnectionState::Serving(Exchange {
                log,
                has_slot: false,
                body_held: 0,
                stage: Stage::Replying,
                question: None,
            });
        }
    }

    /// Returns the current exchange, or `None` between requests.
    pub(super) fn exchange(&self) -> Option<&Exchange> {
        match &self.state {
            ConnectionState::Serving(exchange) => Some(exchange),
            ConnectionState::Idle
            | ConnectionState::ReadingHead
            | ConnectionState::Lingering { .. }
            | ConnectionState::Closing
            | ConnectionState::Resetting => None,
        }
    }

    /// The same, to change it.
    pub(super) fn exchange_mut(&mut self) -> Option<&mut Exchange> {
        match &mut self.state {
            ConnectionState::Serving(exchange) => Some(exchange),
            ConnectionState::Idle
            | ConnectionState::ReadingHead
            | ConnectionState::Lingering { .. }
            | ConnectionState::Closing
            | ConnectionState::Resetting => None,
        }
    }

    /// Returns the ticket of a new question, for which the current exchange now waits.
    pub(super) fn question(&mut self, cx: &Context<'_>) -> Ticket {
        let ticket = cx.ticket(&mut self.questions);
        if let Some(exchange) = self.exchange_mut() {
            exchange.question = Some(ticket);
        }
        ticket
    }

    /// Returns whether the current exchange waits for the answer to this question.
    pub(super) fn awaits(&self, ticket: Ticket) -> bool {
        self.exchange().is_some_and(|exchange| exchange.question == Some(ticket))
    }

    pub(super) fn set_deadline(&mut self, at: Option<Instant>, cx: &mut Context<'_>) {
        self.deadline.set(at, cx.id, &mut cx.shared.timers);
    }

    /// Ends a connection in the middle of a response, so that the phone sees that it is incomplete.
    pub(super) fn fail(&mut self, failure: Failure, cx: &mut Context<'_>) {
        self.break_off(Outcome::Failed(failure), cx);
        cx.shared.ready.push_back(cx.id);
    }

    pub(super) fn is_handshaking(&self) -> bool {
        matches!(self.channel, Channel::Handshaking)
    }

    /// Returns whether the client sent a certificate that the listener trusts.
    pub(super) fn shows_certificate(&self) -> bool {
        matches!(self.channel, Channel::Secured { certificate: true, .. })
    }

    pub(super) fn secured(&self) -> Option<Secured> {
        match self.channel {
            Channel::Secured { secured, .. } => secured,
            Channel::Clear | Channel::Handshaking => None,
        }
    }

    /// Notes the phone's name for itself in the current request.
    pub(super) fn note_user_agent(&mut self, said: Option<&[u8]>) {
        let said = said.map(|said| clip(said, WORDS_BYTES_MAX));
        if self.user_agent.as_deref() != said {
            self.user_agent = said.map(Arc::from);
        }
    }
}
