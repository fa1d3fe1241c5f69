//! The log records of requests that the policy denies.

use super::Refusal;
use crate::policy::{Denial, NameError};
use wire::http::target::BadTarget;
use wire::name::BadName;

impl From<Denial<'_>> for Refusal {
    fn from(why: Denial<'_>) -> Refusal {
        match why {
            Denial::AccessList(_) => Refusal::AccessDenied,
            Denial::Name(NameError::Name(bad) | NameError::Target(BadTarget::Name(bad))) => {
                Refusal::BadName(bad)
            }
            Denial::Name(NameError::Target(BadTarget::Escape)) => Refusal::BadEscape,
            Denial::Name(NameError::Target(BadTarget::Directory)) => {
                Refusal::BadName(BadName::Directory)
            }
            Denial::Name(NameError::Path(bad)) => Refusal::BadPath(bad),
            Denial::Remap(_) | Denial::NotFound => Refusal::NoSuchFile,
            Denial::RemapOfUpload(_)
            | Denial::NoUploadRule
            | Denial::NotAppendable
            | Denial::VaultAppend => Refusal::UploadNotAllowed,
            Denial::Unavailable => Refusal::Unavailable,
            Denial::NotDeletable => Refusal::MethodNotAllowed,
            Denial::ExtensionMissing => Refusal::ExtensionMissing,
        }
    }
}
