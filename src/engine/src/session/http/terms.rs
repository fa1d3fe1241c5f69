//! What the conditions and ranges of a request ask of a version of a file (RFC 9110, 13 and 14).
//!
//! Decides from the head alone; sends nothing.

use crate::catalog::blob::Version;
use crate::session::Refusal;
use crate::session::http::refusal::No;
use wire::http::condition::{self, Verdict};
use wire::http::range::{self, ByteRange, Ranges};
use wire::http::request::{Head, Method};
use wire::http::response::{EntityTag, Status};

/// What a request gets that does not get the bytes.
pub(super) enum Otherwise {
    /// It has them already.
    NotModified,
    /// A refusal.
    No(No),
}

/// What the conditions and ranges of a request come to for a version of a file.
pub(super) fn terms(
    head: &Head<'_>,
    version: &Version,
    ranges_max: usize,
) -> Result<Ranges, Otherwise> {
    if !condition::is_conditional(head) && head.range.is_none() {
        return Ok(Ranges::Whole);
    }
    let tag = EntityTag::of(version);
    let modified_s = u64::try_from(version.modified_ns / 1_000_000_000).unwrap_or(0);
    match condition::judge(head, &tag, modified_s) {
        Verdict::Go => {}
        Verdict::NotModified => return Err(Otherwise::NotModified),
        Verdict::Failed => {
            let no = No::new(Status::PRECONDITION_FAILED, Refusal::PreconditionFailed);
            return Err(Otherwise::No(no));
        }
    }
    // RFC 9110, 14.2: ranges are for GET alone.
    let Some(range) = head.range.filter(|_| head.method == Method::Get) else {
        return Ok(Ranges::Whole);
    };
    let holds = head.if_range.is_none_or(|tagged| condition::range_holds(tagged, &tag, modified_s));
    if !holds {
        return Ok(Ranges::Whole);
    }
    match range::parse(range, version.bytes, ranges_max) {
        Ranges::None => Err(Otherwise::No(No::range(version.bytes))),
        ranges @ (Ranges::Whole | Ranges::One(ByteRange { .. }) | Ranges::Many(_)) => Ok(ranges),
    }
}
