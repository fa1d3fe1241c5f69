//! One response: its head as far as a phone uses it, and where its body ends.
//!
//! Borrows what it reads; keeps nothing of a body.

use super::client::{Action, ServerFault};
use wire::http::chunk::{Decoder, Step};
use wire::http::response::parse_response;
use wire::time::Duration;

/// Where a body ends.
#[derive(Debug)]
enum Body {
    /// After this many bytes.
    Length(u64),
    /// After its last chunk.
    Chunked(Decoder),
    /// After its last chunk, which has come.
    ChunksEnded,
    /// With the connection.
    UntilClose,
}

/// A response whose head has come.
#[derive(Debug)]
pub(super) struct Response {
    pub(super) status: u16,
    /// Whether the connection stays open after it.
    pub(super) is_kept: bool,
    /// When the phone may try again.
    pub(super) retry_after: Option<Duration>,
    /// The entity tag with its quotes.
    pub(super) tag: Option<Box<[u8]>>,
    /// The first byte of the received range.
    pub(super) first: Option<u64>,
    /// Bytes of the body that were taken.
    pub(super) taken: u64,
    body: Body,
}

impl Response {
    /// Reads a head and its length. Returns `None` if it is incomplete.
    pub(super) fn read(bytes: &[u8]) -> Result<Option<(Response, usize)>, ServerFault> {
        let Some((head, used)) = parse_response(bytes).map_err(|_| ServerFault::BadHead)? else {
            return Ok(None);
        };
        let status = head.status.0;
        // RFC 9112, section 6.3.
        let body = match (status, head.chunked, head.length) {
            (100..=199 | 204 | 304, _, _) => Body::Length(0),
            (_, true, _) => Body::Chunked(Decoder::default()),
            (_, false, Some(length)) => Body::Length(length),
            (_, false, None) => Body::UntilClose,
        };
        let response = Response {
            status,
            is_kept: head.keep_alive && !matches!(body, Body::UntilClose),
            retry_after: head.retry_after.and_then(seconds),
            tag: head.etag.map(Box::from),
            first: head.content_range.and_then(first_byte),
            taken: 0,
            body,
        };
        Ok(Some((response, used)))
    }

    /// Returns whether another response follows this one.
    pub(super) fn is_interim(&self) -> bool {
        matches!(self.status, 100..=199)
    }

    /// Returns whether it is a part of a file, and not the requested one.
    pub(super) fn is_wrong_part(&self, action: &Action) -> bool {
        let requested = match action {
            Action::FetchHeader { bytes, asks_range: true } => *bytes,
            Action::FetchHeader { asks_range: false, .. } | Action::Fetch => 0,
            Action::Revalidate | Action::Store(_) | Action::Remove => 0,
        };
        let fits = match self.body {
            Body::Length(length) => length <= requested,
            Body::Chunked(_) | Body::ChunksEnded | Body::UntilClose => false,
        };
        self.status == 206 && !(fits && self.first == Some(0))
    }

    pub(super) fn is_whole(&self) -> bool {
        matches!(self.body, Body::Length(0) | Body::ChunksEnded)
    }

    pub(super) fn ends_with_connection(&self) -> bool {
        matches!(self.body, Body::UntilClose)
    }

    /// Takes bytes of the body. Returns how many, and the payload in them.
    pub(super) fn take<'d>(&mut self, bytes: &'d [u8]) -> Result<(usize, &'d [u8]), ServerFault> {
        match &mut self.body {
            Body::Length(left) => {
                let count = (*left).min(bytes.len() as u64);
                *left -= count;
                Ok((count as usize, &bytes[..count as usize]))
            }
            Body::Chunked(decoder) => {
                match decoder.decode(bytes).map_err(|_| ServerFault::BadChunk)? {
                    Step::Data { bytes, consumed } => Ok((consumed, bytes)),
                    Step::More { consumed } => Ok((consumed, &[])),
                    Step::End { consumed } => {
                        self.body = Body::ChunksEnded;
                        Ok((consumed, &[]))
                    }
                }
            }
            Body::ChunksEnded => Ok((bytes.len(), &[])),
            Body::UntilClose => Ok((bytes.len(), bytes)),
        }
    }
}

/// Reads `Retry-After` in seconds; phones do not read dates.
fn seconds(value: &[u8]) -> Option<Duration> {
    let text = std::str::from_utf8(value).ok()?;
    text.trim().parse().ok().map(Duration::from_secs)
}

/// Reads the first byte of `bytes FIRST-LAST/SIZE`.
fn first_byte(value: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(value).ok()?;
    text.strip_prefix("bytes ")?.split_once('-')?.0.parse().ok()
}
