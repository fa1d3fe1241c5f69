//! HTTP/1.0 and 1.1 (RFC 9110, RFC 9112): bytes to values and back.
//!
//! Stricter than the RFC where two readers of the same bytes might disagree on the end of a
//! request. More tolerant only where phones need it: odd bytes in `User-Agent`, bytes above 127 and
//! backslashes in paths, no `Host` in HTTP/1.0. Knows neither connections nor files.

pub mod auth;
pub mod authorization;
pub mod chunk;
pub mod condition;
mod fields;
mod host;
pub mod range;
pub mod request;
pub mod response;
mod start_line;
pub mod target;

/// Returns whether a byte may be in a token (RFC 9110, 5.6.2).
fn is_token(byte: u8) -> bool {
    matches!(
        byte,
        b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' | b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.'
            | b'^'..=b'`' | b'|' | b'~'
    )
}

/// Returns the elements of a list between its commas, without blanks and empty ones (RFC 9110,
/// 5.6.1). Not for lists whose elements may hold commas.
fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii).filter(|element| !element.is_empty())
}
