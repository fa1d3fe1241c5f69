//! Responses: composed once, lent in pieces, counted as they are sent.
//!
//! Decides nothing, and holds no more of a file than `session/stream.rs` does.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::catalog::blob::Version;
use crate::session::stream::{FilePart, Outgoing, Payload};
use wire::http::range::ByteRange;
use wire::http::request::{Framing, Head, Method, Version as HttpVersion};
use wire::http::response::{self, field};

/// Sent before a body whose phone asks for leave.
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// The response to one request.
#[derive(Debug, Default)]
pub(super) struct Reply {
    pub(super) out: Vec<u8>,
    pub(super) out_sent: usize,
    pub(super) body: Body,
    pub(super) status: u16,
    pub(super) afterwards: Afterwards,
    /// Whether the phone speaks HTTP/1.0.
    pub(super) old: bool,
    pub(super) head_only: bool,
    /// Whether it is about data of the vault, which no cache may keep.
    pub(super) is_private: bool,
    pub(super) expects_continue: bool,
    /// Whether a body is coming that is not read.
    pub(super) body_unread: bool,
    /// Whether it reports that something was stored or deleted.
    pub(super) is_done: bool,
}

/// What happens to the connection once a response is sent and its request was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Afterwards {
    /// The next request may come.
    Keep,
    /// It is closed.
    #[default]
    Close,
    /// It is closed after discarding what still comes, which belongs to no request.
    Linger,
}

#[derive(Debug, Default)]
pub(super) enum Body {
    #[default]
    None,
    /// Bytes in memory, and how many have left.
    Bytes(Arc<[u8]>, usize),
    /// A part of a file, and the parts after it.
    File(FilePart, Option<Box<Parts>>),
}

/// The remaining parts of a multipart response (RFC 9110, 14.6).
#[derive(Debug)]
pub(super) struct Parts {
    pub(super) later: VecDeque<ByteRange>,
    pub(super) kind: &'static str,
    pub(super) size: u64,
}

/// The separator of the parts. The file is not searched for it: it is long and not predictable.
pub(super) fn boundary(version: &Version) -> String {
    format!("ringpost-{:016x}-{:016x}", version.modified_ns, version.changed_ns.rotate_left(17))
}

impl Reply {
    /// A new request has come.
    pub(super) fn begin(&mut self, head: &Head<'_>, keep: bool) {
        let old = head.version == HttpVersion::Http10;
        self.out.drain(..self.out_sent);
        *self = Reply {
            out: std::mem::take(&mut self.out),
            afterwards: if keep { Afterwards::Keep } else { Afterwards::Close },
            old,
            head_only: head.method == Method::Head,
            // RFC 9110, 10.1.1: HTTP/1.0 knows no expectations.
            expects_continue: head.expects_continue && !old,
            body_unread: !matches!(head.framing, Framing::None | Framing::Length(0)),
            ..Reply::default()
        };
    }

    /// The next response answers no readable request, or perhaps a HEAD.
    pub(super) fn forget_request(&mut self, head_only: bool) {
        let out = std::mem::take(&mut self.out);
        *self = Reply { out, out_sent: self.out_sent, head_only, ..Reply::default() };
    }

    /// Invites the body.
    pub(super) fn invite(&mut self) {
        if std::mem::take(&mut self.expects_continue) {
            self.out.extend_from_slice(CONTINUE);
        }
    }

    pub(super) fn has_head(&self) -> bool {
        self.out_sent < self.out.len()
    }

    pub(super) fn can_send(&self) -> bool {
        let outgoing = self.outgoing();
        !outgoing.head.is_empty() || !matches!(outgoing.payload, Payload::None)
    }

    /// Returns the status of the response, once it is known.
    pub(super) fn status(&self) -> Option<u16> {
        (self.status != 0).then_some(self.status)
    }

    /// Returns whether it reports that something was stored or deleted.
    pub(super) fn says_done(&self) -> bool {
        self.is_done
    }

    pub(super) fn keeps(&self) -> bool {
        self.afterwards == Afterwards::Keep && !self.body_unread
    }

    pub(super) fn lingers(&self) -> bool {
        self.afterwards == Afterwards::Linger || self.body_unread
    }

    pub(super) fn outgoing(&self) -> Outgoing<'_> {
        let payload = match &self.body {
            Body::None => Payload::None,
            Body::Bytes(bytes, sent) if *sent < bytes.len() => Payload::Bytes(&bytes[*sent..]),
            Body::Bytes(..) => Payload::None,
            Body::File(part, _) => part.payload(),
        };
        let more_parts = matches!(&self.body, Body::File(_, Some(_)));
        let is_last = self.status != 0 && !more_parts && !self.keeps() && !self.lingers();
        Outgoing { head: &self.out[self.out_sent..], payload, is_last }
    }

    /// So many bytes have left; returns how many of them were of a body.
    pub(super) fn advance(&mut self, bytes: usize) -> u64 {
        let head = bytes.min(self.out.len() - self.out_sent);
        self.out_sent += head;
        let payload = bytes - head;
        match &mut self.body {
            Body::None => debug_assert_eq!(payload, 0),
            Body::Bytes(_, sent) => *sent += payload,
            Body::File(part, more) => {
                part.advance(payload as u64);
                if part.is_sent()
                    && let Some(parts) = more
                {
                    self.out.clear();
                    self.out_sent = 0;
                    if parts.write_next(&mut self.out, part) {
                        *more = None;
                    }
                }
            }
        }
        payload as u64
    }

    /// Returns whether all of it was sent.
    pub(super) fn is_sent(&self) -> bool {
        let body_sent = match &self.body {
            Body::None => true,
            Body::Bytes(bytes, sent) => *sent == bytes.len(),
            Body::File(part, more) => part.is_sent() && more.is_none(),
        };
        body_sent && !self.has_head()
    }
}

impl Parts {
    /// Writes the head of the next part and makes that the current one, or writes the end after the
    /// last part. Returns whether that was the end.
    pub(super) fn write_next(&mut self, out: &mut Vec<u8>, part: &mut FilePart) -> bool {
        let version = part.blob().version();
        let Some(range) = self.later.pop_front() else {
            out.extend_from_slice(format!("\r\n--{}--\r\n", boundary(&version)).as_bytes());
            return true;
        };
        self.write_head(&version, range, out);
        *part = FilePart::new(Arc::clone(part.blob()), range.first, range.bytes);
        false
    }

    fn write_head(&self, version: &Version, range: ByteRange, out: &mut Vec<u8>) {
        out.extend_from_slice(format!("\r\n--{}\r\n", boundary(version)).as_bytes());
        field(out, "Content-Type", self.kind.as_bytes());
        response::content_range(out, range.first, range.first + range.bytes - 1, self.size);
        out.extend_from_slice(b"\r\n");
    }

    /// Returns the bytes of the whole body.
    pub(super) fn bytes(&self, version: &Version, ranges: &[ByteRange]) -> u64 {
        let mut text = Vec::new();
        ranges.iter().for_each(|range| self.write_head(version, *range, &mut text));
        text.extend_from_slice(format!("\r\n--{}--\r\n", boundary(version)).as_bytes());
        text.len() as u64 + ranges.iter().map(|range| range.bytes).sum::<u64>()
    }
}
