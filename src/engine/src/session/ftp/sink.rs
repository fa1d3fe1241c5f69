//! What a data connection receives: into memory for a phone's data, in parts for an administrator's
//! files, which may be larger than memory.
//!
//! Never stores anything itself: it returns the questions to the threads that wait for disks.

use crate::files::{FilesOp, PartialFile};
use crate::session::ftp::session::VaultOwner;
use crate::vault::upload::Upload;
use wire::ftp::command::Type;
use wire::ftp::text;

/// Bytes of a part that is written at a time.
pub(super) const PART_BYTES: usize = 256 << 10;

/// The destination of received bytes.
#[derive(Debug)]
pub(super) struct Sink {
    pub(super) into: Into,
    pub(super) bytes: Vec<u8>,
    text: Option<text::Incoming>,
    /// Whether no more bytes come.
    pub(super) ended: bool,
}

/// What happens to them.
#[derive(Debug)]
pub(super) enum Into {
    /// A user's data, of at most so many bytes.
    Vault(VaultOwner, u64),
    /// An upload by a rule.
    Rule(Box<Upload>),
    /// A file of the tree. The part is away while it is written to. If none is being written, the
    /// next bytes wait in `spare`.
    Tree { part: Option<PartialFile>, spare: Vec<u8> },
}

impl Sink {
    /// Makes an empty one. What phones store is never converted, for any type.
    pub(super) fn new(into: Into, kind: Type) -> Sink {
        let is_text = kind == Type::Ascii && !matches!(into, Into::Vault(..));
        Sink { into, bytes: Vec::new(), text: is_text.then(text::Incoming::default), ended: false }
    }

    /// Takes bytes. Returns whether they are within the limit.
    pub(super) fn take(&mut self, bytes: &[u8]) -> bool {
        match &mut self.text {
            Some(text) => text.convert(bytes, &mut self.bytes),
            None => self.bytes.extend_from_slice(bytes),
        }
        match &self.into {
            Into::Vault(_, bytes_max) => self.bytes.len() as u64 <= *bytes_max,
            Into::Rule(upload) => self.bytes.len() as u64 <= upload.bytes_max,
            Into::Tree { .. } => true,
        }
    }

    /// No more bytes come.
    pub(super) fn end(&mut self) {
        if let Some(text) = self.text.take() {
            text.finish(&mut self.bytes);
        }
        self.ended = true;
    }

    /// Returns whether more bytes may come now: as many as are being written may wait.
    pub(super) fn has_room(&self) -> bool {
        match self.into {
            Into::Vault(..) | Into::Rule(_) => true,
            Into::Tree { .. } => self.bytes.len() < 2 * PART_BYTES,
        }
    }

    /// Returns the bytes that count against the worker's memory.
    pub(super) fn bytes_held(&self) -> u64 {
        match self.into {
            Into::Vault(..) | Into::Rule(_) => self.bytes.len() as u64,
            // Bounded by `has_room`.
            Into::Tree { .. } => 0,
        }
    }

    /// Returns what is to be written now: a part of a large file.
    pub(super) fn next_op(&mut self) -> Option<FilesOp> {
        let Into::Tree { part, spare } = &mut self.into else { return None };
        let is_enough = self.bytes.len() >= PART_BYTES || self.ended;
        if !is_enough || self.bytes.is_empty() {
            return None;
        }
        let part = part.take()?;
        spare.clear();
        let bytes = std::mem::replace(&mut self.bytes, std::mem::take(spare));
        Some(FilesOp::Write { part, bytes })
    }

    /// Returns whether all bytes have come and only the last step is left.
    pub(super) fn is_whole(&self) -> bool {
        self.ended
            && match &self.into {
                Into::Vault(..) | Into::Rule(_) => true,
                Into::Tree { part, .. } => part.is_some() && self.bytes.is_empty(),
            }
    }

    /// A part could not be handed over: it is written later.
    pub(super) fn handle_held_back(&mut self, held: PartialFile, mut bytes: Vec<u8>) {
        bytes.extend_from_slice(&self.bytes);
        self.bytes = bytes;
        if let Into::Tree { part, .. } = &mut self.into {
            *part = Some(held);
        }
    }

    /// A part was written.
    pub(super) fn handle_written(&mut self, written: PartialFile, buffer: Vec<u8>) {
        if let Into::Tree { part, spare } = &mut self.into {
            (*part, *spare) = (Some(written), buffer);
        }
    }
}
