//! Moments as FTP writes them (RFC 3659, 2.3): UTC, from 1970 to the end of the year 9999.
//!
//! Reads no clock, and knows no leap seconds but those that it is told.

use std::io::Write as _;

use super::decimal;

/// The last second of the year 9999, since 1970.
pub const UNIX_MAX_S: u64 = 253_402_300_799;
const DAY_S: u64 = 86_400;
/// `YYYYMMDDHHMMSS`.
const DIGITS: usize = 14;
/// Digits of a fraction that are kept.
const FRACTION_DIGITS: usize = 9;
/// Days from the 1st of March of the year 0 to the 1st of January 1970.
const MARCH_TO_1970: u64 = 719_468;
/// Days of 400 years, after which the calendar begins anew.
const ERA_DAYS: u64 = 146_097;

/// A moment that a client told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment {
    /// Whole seconds since 1970, at most [`UNIX_MAX_S`].
    pub unix_s: u64,
    /// Nanoseconds of the second.
    pub ns: u32,
}

impl Moment {
    /// Reads `YYYYMMDDHHMMSS` and a fraction of any length, of which nine digits are kept. A leap
    /// second is the first of the next day, as the time since 1970 has it, and is only let stand at
    /// the end of a day.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Moment> {
        let (whole, fraction) = text.split_at_checked(DIGITS)?;
        let ns = match fraction {
            [] => 0,
            [b'.', digits @ ..] => fraction_ns(digits)?,
            [..] => return None,
        };
        let number = |from: usize, to: usize| decimal(&whole[from..to]);
        let civil = Civil {
            year: number(0, 4)?,
            month: number(4, 6)?,
            day: number(6, 8)?,
            hour: number(8, 10)?,
            minute: number(10, 12)?,
            second: number(12, 14)?,
        };
        let unix_s = match civil {
            Civil { hour: 23, minute: 59, second: 60, .. } => {
                Civil { second: 59, ..civil }.unix_s()? + 1
            }
            Civil { .. } => civil.unix_s()?,
        };
        (unix_s <= UNIX_MAX_S).then_some(Moment { unix_s, ns })
    }
}

fn fraction_ns(digits: &[u8]) -> Option<u32> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let kept = digits.iter().map(|digit| u32::from(digit - b'0')).chain(std::iter::repeat(0));
    Some(kept.take(FRACTION_DIGITS).fold(0, |ns, digit| ns * 10 + digit))
}

/// Writes `YYYYMMDDHHMMSS`; later seconds than [`UNIX_MAX_S`] as that one.
pub fn write(out: &mut Vec<u8>, unix_s: u64) {
    let Civil { year, month, day, hour, minute, second } = Civil::of(unix_s);
    // A Vec takes everything.
    let _ = write!(out, "{year:04}{month:02}{day:02}{hour:02}{minute:02}{second:02}");
}

/// A second of the Gregorian calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Civil {
    pub(super) year: u64,
    /// From 1.
    pub(super) month: u64,
    /// From 1.
    pub(super) day: u64,
    pub(super) hour: u64,
    pub(super) minute: u64,
    pub(super) second: u64,
}

impl Civil {
    /// The date of a second since 1970; later ones than [`UNIX_MAX_S`] have that one's.
    pub(super) fn of(unix_s: u64) -> Civil {
        let unix_s = unix_s.min(UNIX_MAX_S);
        let (day, second) = (unix_s / DAY_S + MARCH_TO_1970, unix_s % DAY_S);
        let (era, day) = (day / ERA_DAYS, day % ERA_DAYS);
        // Years are counted from March, so that the leap day is the last of its year.
        let leap_days = |day: u64| day / 1_460 - day / 36_524 + day / (ERA_DAYS - 1);
        let year = (day - leap_days(day)) / 365;
        let day = day - (year * 365 + year / 4 - year / 100);
        // Five months from March or August on have 153 days.
        let month = (day * 5 + 2) / 153;
        let day = day - (month * 153 + 2) / 5 + 1;
        let (year, month) = if month < 10 { (year, month + 3) } else { (year + 1, month - 9) };
        let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
        Civil { year: era * 400 + year, month, day, hour, minute, second }
    }

    /// Seconds since 1970; nothing where there is no such moment from then on.
    fn unix_s(self) -> Option<u64> {
        let Civil { year, month, day, hour, minute, second } = self;
        let is_usual = (1_970..=9_999).contains(&year) && (1..=12).contains(&month) && day >= 1;
        if !is_usual || day > 31 || hour > 23 || minute > 59 || second > 59 {
            return None;
        }
        let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
        let days = year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day;
        let days = days - 1 - MARCH_TO_1970;
        let unix_s = days * DAY_S + hour * 3_600 + minute * 60 + second;
        // The 31st of a month of 30 days is another day's other name.
        (Civil::of(unix_s) == self).then_some(unix_s)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
