//! Why a request by TFTP is refused: only what TFTP can have, with the ERROR for the phone.
//!
//! Values and words only; the log has them among the refusals of all protocols.

use crate::policy::{Denial, NameError};
use crate::session::{CredentialFault, Refusal};
use wire::name::BadName;
use wire::tftp::ErrorCode;

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TftpRefusal {
    /// The packet breaks the protocol.
    Malformed,
    /// The request is longer than allowed.
    RequestTooLong,
    /// The upload's size differs from the announced one.
    SizeDiffers,
    /// The name leads out of the root or cannot be a file.
    BadName(BadName),
    /// No root of the stack has the name.
    NoSuchFile,
    /// The name may exist in a root or directory that cannot be read now.
    Unavailable,
    /// The address asks for too many names that do not exist.
    TooManyMisses {
        /// Whether to log it: once, not for every request.
        first: bool,
    },
    /// The client is outside the access list.
    AccessDenied,
    /// TFTP has no passwords, and the name is covered by one.
    Protected,
    /// No rule allows this upload.
    UploadNotAllowed,
    /// The upload is larger than its rule allows.
    UploadTooLarge,
    /// The upload came too slowly.
    TooSlow,
    /// The mode is neither octet nor netascii.
    ModeUnknown,
    /// All session slots are taken.
    NoSlot,
    /// Too many transfers are open.
    TooManyTransfers,
    /// The server is about to stop.
    Stopping,
}

impl TftpRefusal {
    /// Returns the ERROR for the phone. No text is longer than the shortest request that it
    /// answers, so that a refusal never amplifies.
    pub(super) fn text(self) -> (ErrorCode, &'static str) {
        match self {
            TftpRefusal::Malformed | TftpRefusal::RequestTooLong | TftpRefusal::SizeDiffers => {
                (ErrorCode::ILLEGAL, "")
            }
            TftpRefusal::BadName(_) => (ErrorCode::ACCESS, "Bad name"),
            TftpRefusal::NoSuchFile => (ErrorCode::NOT_FOUND, "Not found"),
            TftpRefusal::AccessDenied | TftpRefusal::UploadNotAllowed => {
                (ErrorCode::ACCESS, "Denied")
            }
            TftpRefusal::Protected => (ErrorCode::ACCESS, "Protected"),
            TftpRefusal::UploadTooLarge => (ErrorCode::FULL, "Too large"),
            TftpRefusal::ModeUnknown => (ErrorCode::ILLEGAL, "Bad mode"),
            // The first is usually without an answer, else with this.
            TftpRefusal::TooManyMisses { first: _ }
            | TftpRefusal::NoSlot
            | TftpRefusal::TooManyTransfers => (ErrorCode::UNDEFINED, "Busy"),
            TftpRefusal::Unavailable => (ErrorCode::UNDEFINED, "Try again"),
            TftpRefusal::Stopping => (ErrorCode::UNDEFINED, "Stopping"),
            TftpRefusal::TooSlow => (ErrorCode::UNDEFINED, "Refused"),
        }
    }
}

impl From<TftpRefusal> for Refusal {
    fn from(refusal: TftpRefusal) -> Refusal {
        match refusal {
            TftpRefusal::Malformed => Refusal::Malformed,
            TftpRefusal::RequestTooLong => Refusal::RequestTooLong,
            TftpRefusal::SizeDiffers => Refusal::SizeDiffers,
            TftpRefusal::BadName(bad) => Refusal::BadName(bad),
            TftpRefusal::NoSuchFile => Refusal::NoSuchFile,
            TftpRefusal::Unavailable => Refusal::Unavailable,
            TftpRefusal::TooManyMisses { first } => Refusal::TooManyMisses { first },
            TftpRefusal::AccessDenied => Refusal::AccessDenied,
            TftpRefusal::Protected => Refusal::Credentials(CredentialFault::OverTftp),
            TftpRefusal::UploadNotAllowed => Refusal::UploadNotAllowed,
            TftpRefusal::UploadTooLarge => Refusal::UploadTooLarge,
            TftpRefusal::TooSlow => Refusal::TooSlow,
            TftpRefusal::ModeUnknown => Refusal::ModeUnknown,
            TftpRefusal::NoSlot => Refusal::NoSlot,
            TftpRefusal::TooManyTransfers => Refusal::TooManyTransfers,
            TftpRefusal::Stopping => Refusal::Stopping,
        }
    }
}

impl From<Denial<'_>> for TftpRefusal {
    fn from(why: Denial<'_>) -> TftpRefusal {
        match why {
            Denial::AccessList(_) => TftpRefusal::AccessDenied,
            Denial::Name(NameError::Name(bad)) => TftpRefusal::BadName(bad),
            // A name of TFTP is neither a target nor a path; TFTP deletes nothing, and does not
            // reach the vault.
            Denial::Name(NameError::Target(_) | NameError::Path(_))
            | Denial::NotDeletable
            | Denial::ExtensionMissing
            | Denial::Remap(_)
            | Denial::NotFound => TftpRefusal::NoSuchFile,
            Denial::RemapOfUpload(_)
            | Denial::NoUploadRule
            | Denial::NotAppendable
            | Denial::VaultAppend => TftpRefusal::UploadNotAllowed,
            Denial::Unavailable => TftpRefusal::Unavailable,
        }
    }
}
