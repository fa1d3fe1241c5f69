//! Composes responses, asks for the bytes that they send, and takes the answers.
//!
//! `reply.rs` has the responses themselves and how they are sent.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::catalog::OpenError;
use crate::catalog::blob::{Blob, Version};
use crate::policy::redirect::Redirection;
use crate::session::http::connection::{Connection, ConnectionState};
use crate::session::http::context::Context;
use crate::session::http::exchange::Stage;
use crate::session::http::rejection::Rejection;
use crate::session::http::reply::{Afterwards, Body, Parts, Reply, boundary};
use crate::session::stream::FilePart;
use crate::ticket::Ticket;
use wire::http::range::{ByteRange, Ranges};
use wire::http::response::{
    self, EntityTag, Stamp, Status, content_type, field, number, status_line,
};
use wire::time::Duration;

/// When to repeat a question for which the loader had no room.
const RETRY_AFTER: Duration = Duration::from_millis(50);
/// What caches may do with data of the vault (RFC 9111, 5.2.2).
const PRIVATE: &[u8] = b"Cache-Control: private, no-store\r\n";
/// How long caches may keep a permanent redirect. Without a limit they might keep it for ever (RFC
/// 9111, 4.2.2), and with it a mistake in a row.
const CACHED_REDIRECT: &[u8] = b"Cache-Control: max-age=86400\r\n";
/// Sent to a client that asks for no file at all.
const PAGE: &[u8] = b"This is Ringpost. It serves files to phones, which ask for them by name.\n";

impl Connection {
    /// Composes a response's head: `write` adds all but the common end of every head.
    fn compose(
        &mut self,
        status: Status,
        cx: &mut Context<'_>,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> &mut Reply {
        cx.counters.note_answer(status.0);
        if let ConnectionState::Serving(exchange) = &mut self.state {
            let stage = std::mem::replace(&mut exchange.stage, Stage::Replying);
            exchange.log.moves_since = cx.now;
            exchange.question = None;
            if let Stage::Receiving(mut body) = stage
                && let Some(spool) = body.take_spool()
            {
                cx.shared.forget_spool(cx.id, spool);
            }
        }
        self.arrivals.moved_at = cx.now;
        let reply = &mut self.reply;
        if cx.shared.stopping && reply.afterwards == Afterwards::Keep {
            reply.afterwards = Afterwards::Close;
        }
        reply.status = status.0;
        reply.body = Body::None;
        // The rest of an invitation is sent first.
        reply.out.drain(..reply.out_sent);
        reply.out_sent = 0;
        write(&mut reply.out);
        let caching: &[u8] = match status {
            _ if reply.is_private => PRIVATE,
            Status::OK | Status::PARTIAL_CONTENT | Status::NOT_MODIFIED => {
                &cx.snapshot.policy.http.cache_control
            }
            Status(_) => b"",
        };
        reply.out.extend_from_slice(caching);
        reply.out.extend_from_slice(cx.shared.dated.line(cx.unix_s));
        if !reply.keeps() {
            reply.out.extend_from_slice(b"Connection: close\r\n");
        } else if reply.old {
            reply.out.extend_from_slice(b"Connection: keep-alive\r\n");
        }
        reply.out.extend_from_slice(b"\r\n");
        reply
    }

    /// Responds with a file, or with parts of it.
    pub(super) fn reply_file(
        &mut self,
        blob: Arc<Blob>,
        name: &[u8],
        ranges: Ranges,
        cx: &mut Context<'_>,
    ) {
        blob.touch(cx.now);
        let (version, size, now_s) = (blob.version(), blob.bytes(), cx.unix_s);
        let (reply, range, parts, bytes) = match ranges {
            Ranges::Whole | Ranges::None => {
                let head = blob.prepared(|version| response::prepared(version, name));
                let reply = self.compose(Status::OK, cx, |out| match version {
                    _ if modified_s(&version) <= now_s => out.extend_from_slice(head),
                    _ => out.extend_from_slice(&response::prepared_at(&version, name, now_s)),
                });
                (reply, ByteRange { first: 0, bytes: size }, None, size)
            }
            Ranges::One(range) => {
                let reply = self.compose(Status::PARTIAL_CONTENT, cx, |out| {
                    status_line(out, Status::PARTIAL_CONTENT);
                    field(out, "Content-Type", content_type(name).as_bytes());
                    let last = range.first + range.bytes - 1;
                    response::content_range(out, range.first, last, size);
                    number(out, "Content-Length", range.bytes);
                    validators(out, &version, now_s);
                });
                (reply, range, None, range.bytes)
            }
            Ranges::Many(ranges) => {
                let kind = content_type(name);
                let parts = Parts { later: VecDeque::new(), kind, size };
                let reply = self.compose(Status::PARTIAL_CONTENT, cx, |out| {
                    status_line(out, Status::PARTIAL_CONTENT);
                    let kind = format!("multipart/byteranges; boundary={}", boundary(&version));
                    field(out, "Content-Type", kind.as_bytes());
                    number(out, "Content-Length", parts.bytes(&version, &ranges));
                    validators(out, &version, now_s);
                });
                let bytes = ranges.iter().map(|range| range.bytes).sum();
                let parts = Box::new(Parts { later: ranges.into(), ..parts });
                (reply, ByteRange { first: 0, bytes: 0 }, Some(parts), bytes)
            }
        };
        let mut part = FilePart::new(blob, range.first, range.bytes);
        let mut parts = parts;
        if let Some(parts) = &mut parts {
            parts.write_next(&mut reply.out, &mut part);
        }
        reply.body = Body::File(part, parts);
        if let Some(exchange) = self.exchange_mut() {
            exchange.log.of_bytes = Some(bytes);
        }
        self.request_more(cx);
    }

    /// Responds with the head of a file alone: to HEAD, or because the phone has it already.
    pub(super) fn reply_head(
        &mut self,
        version: &Version,
        name: &[u8],
        status: Status,
        cx: &mut Context<'_>,
    ) {
        let now_s = cx.unix_s;
        self.compose(status, cx, |out| {
            if status == Status::NOT_MODIFIED {
                status_line(out, status);
                validators(out, version, now_s);
            } else {
                out.extend_from_slice(&response::prepared_at(version, name, now_s));
            }
        });
    }

    /// Responds with bytes that are always in memory.
    pub(super) fn reply_bytes(&mut self, bytes: Arc<[u8]>, cx: &mut Context<'_>) {
        let reply = self.compose(Status::OK, cx, |out| {
            status_line(out, Status::OK);
            field(out, "Content-Type", b"application/x-pem-file");
            number(out, "Content-Length", bytes.len() as u64);
        });
        if !reply.head_only {
            reply.body = Body::Bytes(bytes, 0);
        }
    }

    /// Responds with a page about this server to a client that asks for no file.
    pub(super) fn reply_page(&mut self, cx: &mut Context<'_>) {
        let reply = self.compose(Status::OK, cx, |out| {
            status_line(out, Status::OK);
            field(out, "Content-Type", b"text/plain; charset=utf-8");
            number(out, "Content-Length", PAGE.len() as u64);
        });
        if !reply.head_only {
            reply.out.extend_from_slice(PAGE);
        }
    }

    /// Responds with a redirect (RFC 9110, 15.4).
    pub(super) fn reply_redirect(&mut self, to: &Redirection, cx: &mut Context<'_>) {
        cx.counters.http_redirects.up();
        let status = Status(to.status.code());
        let text = format!("{} {}\n", status.0, status.reason());
        let reply = self.compose(status, cx, |out| {
            status_line(out, status);
            field(out, "Location", &to.location);
            if to.status.is_permanent() {
                out.extend_from_slice(CACHED_REDIRECT);
            }
            field(out, "Content-Type", b"text/plain");
            number(out, "Content-Length", text.len() as u64);
        });
        if !reply.head_only {
            reply.out.extend_from_slice(text.as_bytes());
        }
    }

    /// Responds that the request is done.
    pub(super) fn reply_done(
        &mut self,
        status: Status,
        version: Option<&Version>,
        cx: &mut Context<'_>,
    ) {
        let reply = self.compose(status, cx, |out| {
            status_line(out, status);
            if let Some(version) = version {
                field(out, "ETag", EntityTag::of(version).as_bytes());
            }
            // RFC 9110, 8.6: 204 has none.
            if status != Status::NO_CONTENT {
                number(out, "Content-Length", 0);
            }
        });
        reply.is_done = true;
    }

    /// Responds with the allowed methods.
    pub(super) fn reply_options(&mut self, allow: &'static [u8], cx: &mut Context<'_>) {
        self.compose(Status::NO_CONTENT, cx, |out| {
            status_line(out, Status::NO_CONTENT);
            field(out, "Allow", allow);
        });
    }

    /// Responds with a rejection, with a sentence for human readers.
    pub(super) fn reject(&mut self, rejection: Rejection, cx: &mut Context<'_>) {
        let Some(rejection) = self.throttle_miss(rejection, cx) else { return };
        if let Some(exchange) = self.exchange_mut() {
            exchange.log.outcome = rejection.outcome;
        }
        if rejection.linger {
            self.reply.afterwards = Afterwards::Linger;
        }
        let Rejection { status, words, .. } = rejection;
        let words = if words.is_empty() { String::new() } else { format!(": {words}") };
        let text = format!("{} {}{words}\n", status.0, status.reason());
        let reply = self.compose(status, cx, |out| {
            status_line(out, status);
            rejection.write(out);
            field(out, "Content-Type", b"text/plain");
            number(out, "Content-Length", text.len() as u64);
        });
        if !reply.head_only {
            reply.out.extend_from_slice(text.as_bytes());
        }
        self.set_deadline(None, cx);
    }

    /// Asks for bytes that must be read before more can be sent.
    pub(super) fn request_more(&mut self, cx: &mut Context<'_>) {
        if let Body::File(part, _) = &mut self.reply.body
            && let ConnectionState::Serving(exchange) = &mut self.state
        {
            let ticket = cx.ticket(&mut self.questions);
            if let Some(request) = part.next_read(ticket) {
                exchange.question = Some(ticket);
                cx.shared.store_requests.push_back(request);
            }
        }
    }

    /// A part of a mapped file has been read.
    pub(super) fn handle_part(&mut self, result: Result<Vec<u8>, OpenError>, cx: &mut Context<'_>) {
        if let Body::File(file, _) = &mut self.reply.body
            && let ConnectionState::Serving(exchange) = &mut self.state
            && matches!(exchange.stage, Stage::Replying)
        {
            exchange.question = None;
            if let Err(failure) = file.handle_read(result) {
                self.fail(failure, cx);
            }
        }
    }

    /// The loader had no room for a question about a file that is being sent.
    pub(super) fn retry_read(&mut self, ticket: Ticket, cx: &mut Context<'_>) {
        if let Body::File(part, _) = &mut self.reply.body
            && let ConnectionState::Serving(exchange) = &mut self.state
            && exchange.question == Some(ticket)
        {
            exchange.question = None;
            part.handle_refused();
            self.set_deadline(Some(cx.now + RETRY_AFTER), cx);
        }
    }
}

/// Returns the second of a file's modification, since 1970.
fn modified_s(version: &Version) -> u64 {
    Stamp::from(version).modified_s()
}

/// Writes the validators of a version. A modification time in the future is replaced by the moment
/// of the response (RFC 9110, 8.8.2.1).
fn validators(out: &mut Vec<u8>, version: &Version, now_s: u64) {
    field(out, "ETag", EntityTag::of(version).as_bytes());
    let modified_s = modified_s(version).min(now_s);
    field(out, "Last-Modified", response::http_date(modified_s).as_bytes());
    field(out, "Accept-Ranges", b"bytes");
}
