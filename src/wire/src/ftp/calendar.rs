//! Moments as FTP writes them (RFC 3659, 2.3): UTC, from 1970 to the end of the year 9999.
//!
//! Reads no clock, and has no table of leap seconds.

use std::io::Write as _;

use ::time::{Date, Month, OffsetDateTime};

use crate::decimal::decimal;

/// The last second of the year 9999, since 1970.
pub const UNIX_MAX_S: u64 = 253_402_300_799;
/// `YYYYMMDDHHMMSS`.
const DIGITS: usize = 14;
/// Digits of a fraction that are kept.
const FRACTION_DIGITS: usize = 9;

/// A moment that a client sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment {
    /// Whole seconds since 1970, at most [`UNIX_MAX_S`].
    pub unix_s: u64,
    /// Nanoseconds of the second.
    pub ns: u32,
}

impl Moment {
    /// Reads `YYYYMMDDHHMMSS` and a fraction of any length, of which nine digits are kept. A leap
    /// second is allowed only at the end of a day, and becomes the first second of the next one, as
    /// in the time since 1970.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Moment> {
        let (unix_s, ns) = read(text)?;
        let unix_s = u64::try_from(unix_s).ok()?;
        (unix_s <= UNIX_MAX_S).then_some(Moment { unix_s, ns })
    }
}

/// Returns whether a text is a moment before 1970, which [`Moment::parse`] refuses.
#[must_use]
pub fn is_before_1970(text: &[u8]) -> bool {
    read(text).is_some_and(|(unix_s, _)| unix_s < 0)
}

/// Returns the seconds since 1970, or negative ones before, and nanoseconds.
fn read(text: &[u8]) -> Option<(i64, u32)> {
    let (whole, fraction) = text.split_at_checked(DIGITS)?;
    let ns = match fraction {
        [] => 0,
        [b'.', digits @ ..] => fraction_ns(digits)?,
        [..] => return None,
    };
    let number = |from: usize| u8::try_from(decimal(&whole[from..from + 2])?).ok();
    let year = i32::try_from(decimal(&whole[..4])?).ok()?;
    let (month, day) = (Month::try_from(number(4)?).ok()?, number(6)?);
    let (hour, minute, second) = (number(8)?, number(10)?, number(12)?);
    let is_leap_second = (hour, minute, second) == (23, 59, 60);
    let leap_s = u8::from(is_leap_second);
    let date = Date::from_calendar_date(year, month, day).ok()?;
    let at = date.with_hms(hour, minute, second - leap_s).ok()?.assume_utc();
    Some((at.unix_timestamp() + i64::from(leap_s), ns))
}

fn fraction_ns(digits: &[u8]) -> Option<u32> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let kept = digits.iter().map(|digit| u32::from(digit - b'0')).chain(std::iter::repeat(0));
    Some(kept.take(FRACTION_DIGITS).fold(0, |ns, digit| ns * 10 + digit))
}

/// Writes `YYYYMMDDHHMMSS`; seconds after [`UNIX_MAX_S`] are written as that one.
pub fn write(out: &mut Vec<u8>, unix_s: u64) {
    let at = date_of(unix_s);
    let ((year, month, day), (hour, minute, second)) = (at.to_calendar_date(), at.to_hms());
    // A Vec accepts all bytes.
    let month = u8::from(month);
    let _ = write!(out, "{year:04}{month:02}{day:02}{hour:02}{minute:02}{second:02}");
}

/// Returns the date of a second since 1970; seconds after [`UNIX_MAX_S`] have the date of that one.
pub(super) fn date_of(unix_s: u64) -> OffsetDateTime {
    let unix_s = unix_s.min(UNIX_MAX_S) as i64;
    OffsetDateTime::from_unix_timestamp(unix_s).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY_S: u64 = 86_400;

    fn written(unix_s: u64) -> String {
        let mut out = Vec::new();
        write(&mut out, unix_s);
        String::from_utf8(out).unwrap()
    }

    fn read(text: &str) -> Option<(u64, u32)> {
        Moment::parse(text.as_bytes()).map(|moment| (moment.unix_s, moment.ns))
    }

    #[test]
    fn moments_are_written_as_the_calendar_has_them() {
        assert_eq!(written(0), "19700101000000");
        assert_eq!(written(951_782_399), "20000228235959");
        assert_eq!(written(951_782_400), "20000229000000");
        assert_eq!(written(951_868_800), "20000301000000");
        assert_eq!(written(784_111_777), "19941106084937");
        assert_eq!(written(4_107_542_399), "21000228235959");
        assert_eq!(written(4_107_542_400), "21000301000000");
        assert_eq!(written(UNIX_MAX_S), "99991231235959");
        assert_eq!(written(u64::MAX), "99991231235959");
    }

    #[test]
    fn every_day_is_read_as_it_was_written_and_follows_the_day_before() {
        let mut before = String::new();
        for day in 0..=UNIX_MAX_S / DAY_S {
            let unix_s = day * DAY_S + day % DAY_S;
            let text = written(unix_s);
            assert_eq!(read(&text), Some((unix_s, 0)), "{text}");
            assert!(before < text, "{before} {text}");
            before = text;
        }
    }

    #[test]
    fn fractions_of_any_length_are_read_to_the_nanosecond() {
        assert_eq!(read("19700101000001.5"), Some((1, 500_000_000)));
        assert_eq!(read("19700101000001.123"), Some((1, 123_000_000)));
        assert_eq!(read("19700101000001.123456789"), Some((1, 123_456_789)));
        assert_eq!(read("19700101000001.12345678999"), Some((1, 123_456_789)));
        for text in
            ["19700101000001.", "19700101000001,5", "19700101000001.5 ", "19700101000001.-5"]
        {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn a_leap_second_ends_a_day_and_nothing_else() {
        assert_eq!(read("20161231235960"), Some((1_483_228_800, 0)));
        assert_eq!(read("20161231225960"), None);
        assert_eq!(read("20161231235860"), None);
        assert_eq!(read("20161231235961"), None);
        assert_eq!(read("99991231235960"), None);
    }

    #[test]
    fn what_is_no_moment_is_not_read() {
        for text in [
            "",
            "1994110608493",
            "199411060849370",
            "19941106 84937",
            "+9941106084937",
            "19691231235959",
            "00001106084937",
            "19940006084937",
            "19941306084937",
            "19941100084937",
            "19941131084937",
            "19941132084937",
            "20230229084937",
            "21000229084937",
            "19941106244937",
            "19941106086037",
            "191000101000000",
            "1994110608493\u{e9}",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
