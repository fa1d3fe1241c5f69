//! FTP (RFC 959, 1123, 2228, 2389, 2428, 2640, 3659, 4217): bytes to values and back.
//!
//! Strict about addresses and moments, tolerant of the line ends, blanks and options that old
//! clients send. Knows neither sessions nor files, and replies to nothing by itself.

pub mod address;
pub mod calendar;
pub mod command;
pub mod line;
pub mod listing;
pub mod reply;
pub mod text;

/// Telnet's "interpret as command" (RFC 854).
const IAC: u8 = 255;

/// Returns the first word and the text after the one blank that ends it.
fn word(text: &[u8]) -> (&[u8], &[u8]) {
    match text.iter().position(|byte| *byte == b' ') {
        Some(end) => (&text[..end], &text[end + 1..]),
        None => (text, b""),
    }
}
