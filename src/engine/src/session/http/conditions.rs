//! The conditions and ranges of a request, evaluated for a version of a file (RFC 9110, 13 and 14).
//!
//! Decides from the head alone; sends nothing.

use crate::catalog::blob::Version;
use crate::session::Refusal;
use crate::session::http::rejection::Rejection;
use wire::http::condition::{self, Verdict};
use wire::http::range::{self, ByteRange, Ranges};
use wire::http::request::{Head, Method};
use wire::http::response::{EntityTag, Status};

/// Why a request does not get the bytes.
pub(super) enum Unserved {
    /// The client has them already.
    NotModified,
    /// A rejection.
    Rejected(Rejection),
}

/// Evaluates the conditions and ranges of a request against a version of a file.
pub(super) fn evaluate(
    head: &Head<'_>,
    version: &Version,
    ranges_max: usize,
) -> Result<Ranges, Unserved> {
    if !condition::is_conditional(head) && head.range.is_none() {
        return Ok(Ranges::Whole);
    }
    let tag = EntityTag::of(version);
    let modified_s = u64::try_from(version.modified_ns / 1_000_000_000).unwrap_or(0);
    match condition::evaluate(head, &tag, modified_s) {
        Verdict::Go => {}
        Verdict::NotModified => return Err(Unserved::NotModified),
        Verdict::Failed => {
            let rejection =
                Rejection::new(Status::PRECONDITION_FAILED, Refusal::PreconditionFailed);
            return Err(Unserved::Rejected(rejection));
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
        Ranges::None => Err(Unserved::Rejected(Rejection::range(version.bytes))),
        ranges @ (Ranges::Whole | Ranges::One(ByteRange { .. }) | Ranges::Many(_)) => Ok(ranges),
    }
}
