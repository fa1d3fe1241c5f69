//! The status of a request that the policy denies.
//!
//! Denies nothing itself.

use crate::policy::{Denial, NameError};
use crate::session::Refusal;
use crate::session::http::rejection::Rejection;
use wire::http::request::Method;
use wire::http::response::Status;
use wire::http::target::BadTarget;
use wire::name::BadName;

/// Returns the rejection for a denial.
pub(super) fn rejection_of(why: Denial<'_>, method: Method) -> Rejection {
    let status = match why {
        Denial::AccessList(_)
        | Denial::RemapOfUpload(_)
        | Denial::NoUploadRule
        | Denial::NotAppendable
        | Denial::VaultAppend => Status::FORBIDDEN,
        Denial::Name(NameError::Target(bad)) => status_of(bad, method),
        Denial::Name(NameError::Name(_) | NameError::Path(_)) => Status::BAD_REQUEST,
        Denial::Remap(_) | Denial::NotFound | Denial::ExtensionMissing => Status::NOT_FOUND,
        // It is not reported as missing, because it may exist.
        Denial::Unavailable => return Rejection::unavailable(),
        Denial::NotDeletable => Status::METHOD_NOT_ALLOWED,
    };
    Rejection::new(status, Refusal::from(why))
}

fn status_of(bad: BadTarget, method: Method) -> Status {
    let changes = matches!(method, Method::Put | Method::Delete | Method::Post);
    match bad {
        BadTarget::Name(BadName::TooLong) => Status::URI_TOO_LONG,
        BadTarget::Escape | BadTarget::Name(BadName::Parent | BadName::Control(_)) => {
            Status::BAD_REQUEST
        }
        // Never a listing, and no name that only some systems would take for a file.
        BadTarget::Directory => Status::NOT_FOUND,
        BadTarget::Name(_) if changes => Status::FORBIDDEN,
        BadTarget::Name(
            BadName::Empty
            | BadName::Hidden
            | BadName::Colon
            | BadName::Device
            | BadName::TrailingDotOrBlank
            | BadName::Directory,
        ) => Status::NOT_FOUND,
    }
}
