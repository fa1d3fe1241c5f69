//! FTP (RFC 959, 1123, 2228, 2389, 2428, 2640, 3659, 4217): bytes to values and back.
//!
//! Strict where an address or a moment is read, tolerant of the line ends, blanks and options that
//! old clients send. Knows neither sessions nor files, and answers nothing by itself.

pub mod address;
pub mod calendar;
pub mod command;
pub mod line;
pub mod listing;
pub mod reply;
pub mod text;

/// Telnet's "interpret as command" (RFC 854).
const IAC: u8 = 255;

/// The first word and what stands behind the one blank that ends it.
fn word(text: &[u8]) -> (&[u8], &[u8]) {
    match text.iter().position(|byte| *byte == b' ') {
        Some(end) => (&text[..end], &text[end + 1..]),
        None => (text, b""),
    }
}
