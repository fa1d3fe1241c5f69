//! What a data connection sends: a file, the same as text, or a listing.
//!
//! Lends bytes and counts those that have left; never holds more than a part of a file.

use std::sync::Arc;

use crate::catalog::OpenError;
use crate::catalog::blob::Blob;
use crate::requests::StoreRequest;
use crate::session::Failure;
use crate::session::stream::{FilePart, Payload};
use crate::ticket::Ticket;
use wire::ftp::command::Type;
use wire::ftp::text;

/// Bytes of a file that become text at a time.
const TEXT_BYTES: usize = 32 << 10;

/// Where bytes come from.
#[derive(Debug)]
pub(super) enum Source {
    /// A file as it is.
    File(FilePart),
    /// A file as text.
    Text { part: FilePart, lines: text::Outgoing, ready: Vec<u8>, sent: usize },
    /// Bytes in memory, and how many have left.
    Bytes(Vec<u8>, usize),
}

impl Source {
    /// Makes a source of a file from this byte on. Returns `None` if the file is shorter.
    pub(super) fn file(blob: Arc<Blob>, first: u64, kind: Type) -> Option<Source> {
        let bytes = blob.version().bytes.checked_sub(first)?;
        let part = FilePart::new(blob, first, bytes);
        Some(match kind {
            Type::Image => Source::File(part),
            Type::Ascii => {
                let lines = text::Outgoing::default();
                let mut source = Source::Text { part, lines, ready: Vec::new(), sent: 0 };
                source.convert();
                source
            }
        })
    }

    /// Returns what can leave now.
    pub(super) fn payload(&self) -> Payload<'_> {
        match self {
            Source::File(part) => part.payload(),
            Source::Text { ready, sent, .. } | Source::Bytes(ready, sent)
                if *sent < ready.len() =>
            {
                Payload::Bytes(&ready[*sent..])
            }
            Source::Text { .. } | Source::Bytes(..) => Payload::None,
        }
    }

    /// So many bytes have left.
    pub(super) fn advance(&mut self, bytes: usize) {
        match self {
            Source::File(part) => part.advance(bytes as u64),
            Source::Text { ready, sent, .. } => {
                *sent += bytes;
                if *sent == ready.len() {
                    self.convert();
                }
            }
            Source::Bytes(_, sent) => *sent += bytes,
        }
    }

    /// Converts the next available bytes to text.
    fn convert(&mut self) {
        let Source::Text { part, lines, ready, sent } = self else { return };
        ready.clear();
        *sent = 0;
        let taken = match part.payload() {
            Payload::None => return,
            Payload::Bytes(bytes) => {
                lines.convert(bytes, ready);
                bytes.len()
            }
            Payload::File { blob, offset, bytes } => {
                let all = blob.as_slice().unwrap_or_default();
                let start = usize::try_from(offset).unwrap_or(usize::MAX).min(all.len());
                let count = usize::try_from(bytes).unwrap_or(usize::MAX).min(TEXT_BYTES);
                let piece = &all[start..start.saturating_add(count).min(all.len())];
                lines.convert(piece, ready);
                piece.len()
            }
        };
        part.advance(taken as u64);
    }

    /// Returns whether all of it has left.
    pub(super) fn is_sent(&self) -> bool {
        match self {
            Source::File(part) => part.is_sent(),
            Source::Text { part, ready, sent, .. } => part.is_sent() && *sent == ready.len(),
            Source::Bytes(bytes, sent) => *sent == bytes.len(),
        }
    }

    /// Returns the question to ask before more can leave, if there is one.
    pub(super) fn next_read(&mut self, ticket: Ticket) -> Option<StoreRequest> {
        match self {
            Source::Text { ready, sent, .. } if *sent < ready.len() => None,
            Source::File(part) | Source::Text { part, .. } => part.next_read(ticket),
            Source::Bytes(..) => None,
        }
    }

    /// The loader had no room for the question.
    pub(super) fn handle_refused(&mut self) {
        match self {
            Source::File(part) | Source::Text { part, .. } => part.handle_refused(),
            Source::Bytes(..) => {}
        }
    }

    /// The loader has answered.
    pub(super) fn handle_read(
        &mut self,
        result: Result<Vec<u8>, OpenError>,
    ) -> Result<(), Failure> {
        match self {
            Source::File(part) => part.handle_read(result),
            Source::Text { part, .. } => {
                part.handle_read(result)?;
                self.convert();
                Ok(())
            }
            Source::Bytes(..) => Ok(()),
        }
    }
}
