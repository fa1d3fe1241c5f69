//! Moments in the names of files: UTC, readable, and sorted by time when sorted by bytes.
//!
//! Turns numbers into names and back; reads no clock.

use std::fmt;

use time::{Date, Month, OffsetDateTime};

/// Nanoseconds of a second.
const SECOND_NS: u64 = 1_000_000_000;
/// Characters of a written moment.
const STAMP_CHARS: usize = "20261121T045401.123456789Z".len();

/// A moment, in nanoseconds since 1970: `20261121T045401.123456789Z`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// The moment of a whole second since 1970.
    #[must_use]
    pub fn of_second(unix_s: u64) -> Self {
        Timestamp(unix_s.saturating_mul(SECOND_NS))
    }

    /// Returns the next moment that has a different name.
    #[must_use]
    pub fn next(self) -> Self {
        Timestamp(self.0.saturating_add(1))
    }

    /// Reads what [`Display`](fmt::Display) writes, and nothing else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.as_bytes();
        let marks = [(8, b'T'), (15, b'.'), (25, b'Z')];
        if text.len() != STAMP_CHARS || marks.iter().any(|&(at, mark)| text[at] != mark) {
            return None;
        }
        let number = |from: usize, to: usize| {
            text[from..to].iter().try_fold(0_u64, |value, byte| {
                byte.is_ascii_digit().then(|| value * 10 + u64::from(byte - b'0'))
            })
        };
        let small = |from: usize| u8::try_from(number(from, from + 2)?).ok();
        let year = i32::try_from(number(0, 4)?).ok()?;
        let month = Month::try_from(small(4)?).ok()?;
        let date = Date::from_calendar_date(year, month, small(6)?).ok()?;
        let at = date.with_hms(small(9)?, small(11)?, small(13)?).ok()?.assume_utc();
        let seconds = u64::try_from(at.unix_timestamp()).ok()?;
        Some(Timestamp(seconds.checked_mul(SECOND_NS)?.checked_add(number(16, 25)?)?))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = OffsetDateTime::from_unix_timestamp((self.0 / SECOND_NS) as i64);
        let at = at.map_err(|_| fmt::Error)?;
        let ((year, month, day), (hour, minute, second)) = (at.to_calendar_date(), at.to_hms());
        let month = u8::from(month);
        let rest_ns = self.0 % SECOND_NS;
        write!(f, "{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}.{rest_ns:09}Z")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_written_as_the_calendar_has_them() {
        let written = |unix_s: u64| Timestamp::of_second(unix_s).to_string();
        assert_eq!(written(0), "19700101T000000.000000000Z");
        assert_eq!(written(951_782_400), "20000229T000000.000000000Z");
        assert_eq!(written(1_795_237_241), "20261121T050041.000000000Z");
        assert_eq!(written(4_107_542_399), "21000228T235959.000000000Z");
        assert_eq!(Timestamp(1_795_237_241_123_456_789).to_string(), "20261121T050041.123456789Z");
    }

    #[test]
    fn what_was_written_is_read_again_in_the_same_order() {
        let mut before = String::new();
        let mut moment = Timestamp(0);
        while moment.0 < u64::MAX - (1 << 57) {
            let text = moment.to_string();
            assert_eq!(Timestamp::parse(&text), Some(moment), "{text}");
            assert!(before < text, "{before} {text}");
            before = text;
            moment.0 += 86_400 * SECOND_NS * 13 + 1_234_567_891;
        }
    }

    #[test]
    fn what_is_no_moment_is_not_read() {
        for text in [
            "",
            "20261121T050041.12345678Z",
            "20261121T050041.1234567890Z",
            "20261121t050041.123456789Z",
            "20261121T050041.12345678xZ",
            "20261131T050041.123456789Z",
            "20260229T050041.123456789Z",
            "20261321T050041.123456789Z",
            "20260021T050041.123456789Z",
            "20261121T240041.123456789Z",
            "20261121T056041.123456789Z",
            "19691231T050041.123456789Z",
            "99991231T050041.123456789Z",
            "+0261121T050041.123456789Z",
            "2026112\u{e9}T50041.123456789Z",
        ] {
            assert_eq!(Timestamp::parse(text), None, "{text}");
        }
    }
}
