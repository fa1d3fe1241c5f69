//! Answers are composed here, and questions about what they send asked and heard.
//!
//! What an answer is, and how it leaves, is in `reply.rs`.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::catalog::blob::{Blob, Version};
use crate::catalog::{Ask, OpenError};
use crate::policy::redirect::Redirection;
use crate::session::http::connection::State;
use crate::session::http::engine::Engine;
use crate::session::http::refusal::No;
use crate::session::http::reply::{Body, Parts, Reply, boundary};
use crate::session::stream::{ConnectionId, FilePart};
use crate::session::{Refusal, Subject, Turn, Verb};
use wire::http::range::{ByteRange, Ranges};
use wire::http::request::asks_for_head;
use wire::http::response::{
    self, EntityTag, Stamp, Status, content_type, field, number, status_line,
};
use wire::time::Duration;

/// When a question that the loader had no room for is asked again.
const ASK_AGAIN: Duration = Duration::from_millis(50);
/// What caches may do with what is in the vault (RFC 9111, 5.2.2).
const PRIVATE: &[u8] = b"Cache-Control: private, no-store\r\n";
/// How long caches may keep that something has moved for good. Without a word they might for ever
/// (RFC 9111, 4.2.2), and a mistake in a row would never end.
const CACHED_REDIRECT: &[u8] = b"Cache-Control: max-age=86400\r\n";
/// What somebody gets who asks for no file at all.
const PAGE: &[u8] =
    b"This is Ringpost. It serves files to telephones, which ask for them by name.\n";

impl Engine {
    /// Composes an answer's head: `write` adds all but what every head ends with.
    fn compose(
        &mut self,
        id: ConnectionId,
        status: Status,
        turn: &Turn<'_>,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> Option<&mut Reply> {
        turn.counters.note_answer(status.0);
        self.forget_body(id);
        let stopping = self.stopping;
        let connection = self.connections.open_mut(id)?;
        connection.state = State::Replying;
        connection.arrivals.moved_at = turn.now;
        if let Some(told) = &mut connection.told {
            told.moves_since = turn.now;
        }
        let reply = &mut connection.reply;
        reply.keep &= !stopping;
        reply.status = status.0;
        reply.body = Body::None;
        // What is left of an invitation leaves first.
        reply.out.drain(..reply.out_sent);
        reply.out_sent = 0;
        write(&mut reply.out);
        let caching: &[u8] = match status {
            _ if reply.is_private => PRIVATE,
            Status::OK | Status::PARTIAL_CONTENT | Status::NOT_MODIFIED => {
                &turn.snapshot.policy.http.cache_control
            }
            Status(_) => b"",
        };
        reply.out.extend_from_slice(caching);
        reply.out.extend_from_slice(self.dated.line(turn.unix_s));
        if !reply.keeps() {
            reply.out.extend_from_slice(b"Connection: close\r\n");
        } else if reply.old {
            reply.out.extend_from_slice(b"Connection: keep-alive\r\n");
        }
        reply.out.extend_from_slice(b"\r\n");
        Some(reply)
    }

    /// Answers with a file, or with parts of it.
    pub(super) fn reply_file(
        &mut self,
        id: ConnectionId,
        blob: Arc<Blob>,
        name: &[u8],
        ranges: Ranges,
        turn: &mut Turn<'_>,
    ) {
        blob.touch(turn.now);
        let (version, size) = (blob.version(), blob.bytes());
        let whole = ByteRange { first: 0, bytes: size };
        let bytes = match &ranges {
            Ranges::Whole | Ranges::None => size,
            Ranges::One(range) => range.bytes,
            Ranges::Many(ranges) => ranges.iter().map(|range| range.bytes).sum(),
        };
        let (range, parts) = match ranges {
            Ranges::Whole | Ranges::None => {
                let head = blob.prepared(|version| response::prepared(version, name));
                let now_s = turn.unix_s;
                let reply = self.compose(id, Status::OK, turn, |out| match version {
                    _ if modified_s(&version) <= now_s => out.extend_from_slice(head),
                    _ => out.extend_from_slice(&response::prepared_at(&version, name, now_s)),
                });
                (reply.map(|reply| (reply, whole)), None)
            }
            Ranges::One(range) => {
                let reply = self.compose(id, Status::PARTIAL_CONTENT, turn, |out| {
                    status_line(out, Status::PARTIAL_CONTENT);
                    field(out, "Content-Type", content_type(name).as_bytes());
                    let last = range.first + range.bytes - 1;
                    response::content_range(out, range.first, last, size);
                    number(out, "Content-Length", range.bytes);
                    validators(out, &version, turn.unix_s);
                });
                (reply.map(|reply| (reply, range)), None)
            }
            Ranges::Many(ranges) => {
                let kind = content_type(name);
                let parts = Parts { later: VecDeque::new(), kind, size };
                let reply = self.compose(id, Status::PARTIAL_CONTENT, turn, |out| {
                    status_line(out, Status::PARTIAL_CONTENT);
                    let kind = format!("multipart/byteranges; boundary={}", boundary(&version));
                    field(out, "Content-Type", kind.as_bytes());
                    number(out, "Content-Length", parts.bytes(&version, &ranges));
                    validators(out, &version, turn.unix_s);
                });
                let parts = Box::new(Parts { later: ranges.into(), ..parts });
                (reply.map(|reply| (reply, ByteRange { first: 0, bytes: 0 })), Some(parts))
            }
        };
        let Some((reply, range)) = range else { return };
        let mut part = FilePart::new(blob, range.first, range.bytes);
        let mut parts = parts;
        if let Some(parts) = &mut parts {
            parts.write_next(&mut reply.out, &mut part);
        }
        reply.body = Body::File(part, parts);
        self.note_whole(id, bytes);
        self.prompt(id);
    }

    /// Answers with the head of a file alone: to HEAD, or because the phone has it already.
    pub(super) fn reply_head(
        &mut self,
        id: ConnectionId,
        version: &Version,
        name: &[u8],
        status: Status,
        turn: &mut Turn<'_>,
    ) {
        self.compose(id, status, turn, |out| {
            if status == Status::NOT_MODIFIED {
                status_line(out, status);
                validators(out, version, turn.unix_s);
            } else {
                out.extend_from_slice(&response::prepared_at(version, name, turn.unix_s));
            }
        });
    }

    /// Answers with bytes that are always in memory.
    pub(super) fn reply_bytes(&mut self, id: ConnectionId, bytes: Arc<[u8]>, turn: &mut Turn<'_>) {
        let reply = self.compose(id, Status::OK, turn, |out| {
            status_line(out, Status::OK);
            field(out, "Content-Type", b"application/x-pem-file");
            number(out, "Content-Length", bytes.len() as u64);
        });
        let Some(reply) = reply else { return };
        if !reply.head_only {
            reply.body = Body::Bytes(bytes, 0);
        }
    }

    /// Answers with what this is, to somebody who asks for no file at all.
    pub(super) fn reply_page(&mut self, id: ConnectionId, turn: &mut Turn<'_>) {
        let reply = self.compose(id, Status::OK, turn, |out| {
            status_line(out, Status::OK);
            field(out, "Content-Type", b"text/plain; charset=utf-8");
            number(out, "Content-Length", PAGE.len() as u64);
        });
        if let Some(reply) = reply.filter(|reply| !reply.head_only) {
            reply.out.extend_from_slice(PAGE);
        }
    }

    /// Answers that what was asked for is elsewhere (RFC 9110, 15.4).
    pub(super) fn reply_redirect(
        &mut self,
        id: ConnectionId,
        to: &Redirection,
        turn: &mut Turn<'_>,
    ) {
        turn.counters.http_redirects.up();
        let status = Status(to.status.code());
        let text = format!("{} {}\n", status.0, status.reason());
        let reply = self.compose(id, status, turn, |out| {
            status_line(out, status);
            field(out, "Location", &to.location);
            if to.status.is_permanent() {
                out.extend_from_slice(CACHED_REDIRECT);
            }
            field(out, "Content-Type", b"text/plain");
            number(out, "Content-Length", text.len() as u64);
        });
        if let Some(reply) = reply.filter(|reply| !reply.head_only) {
            reply.out.extend_from_slice(text.as_bytes());
        }
    }

    /// Answers that what was asked for is done.
    pub(super) fn reply_done(
        &mut self,
        id: ConnectionId,
        status: Status,
        version: Option<&Version>,
        turn: &mut Turn<'_>,
    ) {
        let reply = self.compose(id, status, turn, |out| {
            status_line(out, status);
            if let Some(version) = version {
                field(out, "ETag", EntityTag::of(version).as_bytes());
            }
            // RFC 9110, 8.6: 204 has none.
            if status != Status::NO_CONTENT {
                number(out, "Content-Length", 0);
            }
        });
        if let Some(reply) = reply {
            reply.is_done = true;
        }
    }

    /// Answers with what may be asked.
    pub(super) fn reply_options(
        &mut self,
        id: ConnectionId,
        allow: &'static [u8],
        turn: &mut Turn<'_>,
    ) {
        self.compose(id, Status::NO_CONTENT, turn, |out| {
            status_line(out, Status::NO_CONTENT);
            field(out, "Allow", allow);
        });
    }

    /// Answers that it will not be, with a sentence for whoever looks.
    pub(super) fn refuse(&mut self, id: ConnectionId, no: No, turn: &mut Turn<'_>) {
        let Some(no) = self.judge_miss(id, no, turn) else { return };
        let Some(connection) = self.connections.open_mut(id) else { return };
        if let Some(told) = &mut connection.told {
            told.outcome = no.outcome;
        }
        if no.linger {
            connection.reply.keep = false;
            connection.reply.linger = true;
        }
        let words = if no.words.is_empty() { String::new() } else { format!(": {}", no.words) };
        let text = format!("{} {}{words}\n", no.status.0, no.status.reason());
        let reply = self.compose(id, no.status, turn, |out| {
            status_line(out, no.status);
            no.write(out);
            field(out, "Content-Type", b"text/plain");
            number(out, "Content-Length", text.len() as u64);
        });
        let Some(reply) = reply else { return };
        if !reply.head_only {
            reply.out.extend_from_slice(text.as_bytes());
        }
        self.set_deadline(id, None);
    }

    /// Head or body came too slowly.
    pub(super) fn refuse_slow(&mut self, id: ConnectionId, turn: &mut Turn<'_>) {
        let Some(connection) = self.connections.open_mut(id) else { return };
        if connection.told.is_none() {
            // The terms of the last request are not those of this one.
            let head_only = asks_for_head(&connection.unread);
            connection.reply.forget_request(head_only);
            self.tell(id, Subject::Unreadable, Verb::Connect, turn.now);
        }
        self.refuse(id, No::new(Status::REQUEST_TIMEOUT, Refusal::TooSlow).and_linger(), turn);
    }

    /// Payload bytes of the answer, for the log.
    fn note_whole(&mut self, id: ConnectionId, bytes: u64) {
        let told = self.connections.open_mut(id).and_then(|connection| connection.told.as_mut());
        if let Some(told) = told {
            told.of_bytes = Some(bytes);
        }
    }

    /// Asks what must be known or read before more can leave.
    pub(super) fn prompt(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.open_mut(id) else { return };
        let Body::File(part, _) = &mut connection.reply.body else { return };
        self.asks.extend(part.ask(id.into()));
    }

    /// A part of a mapped file has been read.
    pub(super) fn handle_part(
        &mut self,
        id: ConnectionId,
        result: Result<Vec<u8>, OpenError>,
        turn: &mut Turn<'_>,
    ) {
        let Some(connection) = self.connections.open_mut(id) else { return };
        let Body::File(file, _) = &mut connection.reply.body else { return };
        if let Err(failure) = file.handle_read(result) {
            self.fail(id, failure, turn);
        }
    }

    /// The loader had no room for a question about a file that is being sent.
    pub(super) fn ask_again(&mut self, ask: &Ask, turn: &Turn<'_>) {
        let Some(id) = self.find(ask.ticket()) else { return };
        let Some(connection) = self.connections.open_mut(id) else { return };
        let Body::File(part, _) = &mut connection.reply.body else { return };
        part.handle_refused();
        self.set_deadline(id, Some(turn.now + ASK_AGAIN));
    }

    /// Whether a parked request wants no body.
    pub(super) fn is_head_only(&self, id: ConnectionId) -> bool {
        let state = self.connections.open(id).map(|connection| &connection.state);
        match state {
            Some(State::Parked(want)) => want.head_only,
            Some(_) | None => false,
        }
    }
}

/// The second of a file's modification since 1970.
fn modified_s(version: &Version) -> u64 {
    Stamp::from(version).modified_s()
}

/// What tells this version from others. A modification that lies ahead is told as the moment of the
/// answer (RFC 9110, 8.8.2.1).
fn validators(out: &mut Vec<u8>, version: &Version, now_s: u64) {
    field(out, "ETag", EntityTag::of(version).as_bytes());
    let modified_s = modified_s(version).min(now_s);
    field(out, "Last-Modified", response::http_date(modified_s).as_bytes());
    field(out, "Accept-Ranges", b"bytes");
}
