//! Moments as the names of files have them: UTC, readable, and in byte order when in order of time.
//!
//! Turns numbers into names and back; reads no clock.

use std::fmt;

/// Nanoseconds of a second.
const SECOND_NS: u64 = 1_000_000_000;
/// Seconds of a day.
const DAY_S: u64 = 86_400;
/// Characters of a moment written down.
const STAMP_CHARS: usize = "20261121T045401.123456789Z".len();

/// A moment, in nanoseconds since 1970: `20261121T045401.123456789Z`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stamp(pub u64);

impl Stamp {
    /// The moment of a whole second since 1970.
    #[must_use]
    pub fn of_second(unix_s: u64) -> Self {
        Stamp(unix_s.saturating_mul(SECOND_NS))
    }

    /// The next moment that has a name of its own.
    #[must_use]
    pub fn next(self) -> Self {
        Stamp(self.0.saturating_add(1))
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
        let (year, month, day) = (number(0, 4)?, number(4, 6)?, number(6, 8)?);
        let (hour, minute, second) = (number(9, 11)?, number(11, 13)?, number(13, 15)?);
        let valid = year >= 1970 && (1..=12).contains(&month) && day >= 1;
        if !valid || hour > 23 || minute > 59 || second > 59 {
            return None;
        }
        let seconds = days(year, month, day) * DAY_S + hour * 3_600 + minute * 60 + second;
        let stamp = Stamp(seconds.checked_mul(SECOND_NS)?.checked_add(number(16, 25)?)?);
        // The 31st of a month of 30 days is another day's other name.
        (stamp.date() == (year, month, day)).then_some(stamp)
    }

    /// Year, month and day.
    fn date(self) -> (u64, u64, u64) {
        let day = self.0 / SECOND_NS / DAY_S;
        // A year has at most 366 days, so this is too early by less than two years.
        let mut year = 1970 + day / 366;
        while days(year + 1, 1, 1) <= day {
            year += 1;
        }
        let month = (2..=12).take_while(|&month| days(year, month, 1) <= day).count() as u64 + 1;
        (year, month, day - days(year, month, 1) + 1)
    }
}

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = self.date();
        let second = self.0 / SECOND_NS % DAY_S;
        let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
        let rest_ns = self.0 % SECOND_NS;
        write!(f, "{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}.{rest_ns:09}Z")
    }
}

/// Days from 1970 to a day of the Gregorian calendar, which is from 1970 on.
fn days(year: u64, month: u64, day: u64) -> u64 {
    const BEFORE_MONTH: [u64; 12] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];
    let leap_days = |until: u64| until / 4 - until / 100 + until / 400;
    let is_leap = leap_days(year) != leap_days(year - 1);
    let before_year = (year - 1970) * 365 + leap_days(year - 1) - leap_days(1969);
    let before_month = BEFORE_MONTH.get(month as usize - 1).copied().unwrap_or_default();
    before_year + before_month + u64::from(is_leap && month > 2) + day - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_written_as_the_calendar_has_them() {
        let written = |unix_s: u64| Stamp::of_second(unix_s).to_string();
        assert_eq!(written(0), "19700101T000000.000000000Z");
        assert_eq!(written(951_782_400), "20000229T000000.000000000Z");
        assert_eq!(written(1_795_237_241), "20261121T050041.000000000Z");
        assert_eq!(written(4_107_542_399), "21000228T235959.000000000Z");
        assert_eq!(Stamp(1_795_237_241_123_456_789).to_string(), "20261121T050041.123456789Z");
    }

    #[test]
    fn what_was_written_is_read_again_in_the_same_order() {
        let mut before = String::new();
        let mut moment = Stamp(0);
        while moment.0 < u64::MAX - (1 << 57) {
            let text = moment.to_string();
            assert_eq!(Stamp::parse(&text), Some(moment), "{text}");
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
            assert_eq!(Stamp::parse(text), None, "{text}");
        }
    }
}
