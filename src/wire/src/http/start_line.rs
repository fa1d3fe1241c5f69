//! The request line (RFC 9112, 3): method, target and version.
//!
//! Reads one complete line; `request.rs` finds its end. Checks no name.

use super::host::is_host;
use super::request::{Malformed, Method, Scheme, Version, bad};

/// Method, target and version.
pub(super) struct StartLine<'a> {
    pub(super) method: Method,
    pub(super) target: &'a [u8],
    pub(super) version: Version,
    pub(super) scheme: Option<Scheme>,
}

impl<'a> StartLine<'a> {
    /// Reads exactly `method SP target SP version` (RFC 9112, 3).
    pub(super) fn parse(line: &'a [u8]) -> Result<StartLine<'a>, Malformed> {
        let mut words = line.split(|byte| *byte == b' ');
        let method = words.next().unwrap_or_default();
        let target = words.next().unwrap_or_default();
        if target.is_empty() || target.iter().any(|byte| matches!(byte, 0..=b' ' | 0x7f | b'#')) {
            return Err(bad("the request has no target"));
        }
        // A request of HTTP/0.9 has no version, and is not supported.
        let version = words.next().ok_or(NO_VERSION)?;
        if words.next().is_some() {
            return Err(bad("the request line has too many blanks"));
        }
        let version = match version {
            b"HTTP/1.0" => Version::Http10,
            // A later minor version is read as the latest supported one (RFC 9110, 2.5).
            [b'H', b'T', b'T', b'P', b'/', b'1', b'.', b'1'..=b'9'] => Version::Http11,
            [b'H', b'T', b'T', b'P', b'/', b'0'..=b'9', b'.', b'0'..=b'9'] => {
                return Err(Malformed::VersionUnknown);
            }
            [..] => return Err(NO_VERSION),
        };
        let method = Method::parse(method);
        let (scheme, target) = match method {
            Method::Unknown => (None, target),
            Method::Options if target == b"*" => (None, target),
            Method::Get
            | Method::Head
            | Method::Put
            | Method::Delete
            | Method::Options
            | Method::Post => origin_form(target)?,
        };
        Ok(StartLine { method, target, version, scheme })
    }
}

const NO_VERSION: Malformed = Malformed::BadRequest("the request line has no version");

/// Returns path and query of a target in origin or absolute form (RFC 9112, 3.2), and the scheme of
/// the latter.
fn origin_form(target: &[u8]) -> Result<(Option<Scheme>, &[u8]), Malformed> {
    if let [b'/' | b'\\', ..] = target {
        return Ok((None, target));
    }
    let behind = |prefix: &str, scheme: Scheme| {
        let (start, rest) = target.split_at_checked(prefix.len())?;
        start.eq_ignore_ascii_case(prefix.as_bytes()).then_some((scheme, rest))
    };
    let no_form = bad("the target begins neither with a slash nor with http://");
    let found = behind("http://", Scheme::Http).or_else(|| behind("https://", Scheme::Https));
    let (scheme, rest) = found.ok_or(no_form)?;
    let authority = rest.iter().take_while(|byte| !b"/\\?".contains(byte)).count();
    let (authority, path) = rest.split_at(authority);
    // Two readers might see two hosts in `user@host` (RFC 9110, 4.2.4); a target without a host is
    // invalid (4.2.1).
    if matches!(authority, [] | [b':', ..]) || !is_host(authority) {
        return Err(bad("the target's host is none"));
    }
    match path {
        [] | [b'?', ..] => Ok((Some(scheme), b"/")),
        [..] => Ok((Some(scheme), path)),
    }
}
