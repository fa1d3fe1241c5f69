//! Ranges of bytes (RFC 9110, 14.1 and 14.2).
//!
//! An odd value gets the whole file, which is always right: a server may ignore `Range`.

use super::list;

/// A part of a file, never empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByteRange {
    /// Where it starts, in bytes.
    pub first: u64,
    /// How many bytes it has, at least 1.
    pub bytes: u64,
}

/// The requested part of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ranges {
    /// All of it.
    Whole,
    /// Only parts that it does not have (416).
    None,
    /// One part.
    One(ByteRange),
    /// At least two parts in the requested order, which neither overlap nor touch.
    Many(Vec<ByteRange>),
}

/// Reads a `Range` value for a file of `size` bytes. Returns the whole file for any unit other than
/// bytes, for a syntax error, and for more than `ranges_max` ranges.
///
/// RFC 9110, 14.1.2 lets a suffix of an empty file be satisfiable, but `Content-Range` has no form
/// for it; an empty file is therefore always whole.
#[must_use]
pub fn parse(value: &[u8], size: u64, ranges_max: usize) -> Ranges {
    let Some(specs) = specs(value).filter(|_| size > 0) else { return Ranges::Whole };
    let mut ranges = Vec::new();
    let mut requested = 0;
    for spec in list(specs) {
        requested += 1;
        if requested > ranges_max {
            return Ranges::Whole;
        }
        match resolve(spec, size) {
            Some(Some(range)) => join(&mut ranges, range),
            Some(None) => {}
            None => return Ranges::Whole,
        }
    }
    match (requested, ranges.as_slice()) {
        (0, _) => Ranges::Whole,
        (_, []) => Ranges::None,
        (_, [one]) => Ranges::One(*one),
        (_, [_, _, ..]) => Ranges::Many(ranges),
    }
}

/// Returns the text after the unit, if that is bytes. Units are matched in any case (14.1).
fn specs(value: &[u8]) -> Option<&[u8]> {
    let (unit, specs) = value.split_at_checked(b"bytes=".len())?;
    unit.eq_ignore_ascii_case(b"bytes=").then_some(specs)
}

/// Returns the part of the file that one element means. Returns `Some(None)` if the file does not
/// have it, and `None` if it is no range.
fn resolve(spec: &[u8], size: u64) -> Option<Option<ByteRange>> {
    let dash = spec.iter().position(|byte| *byte == b'-')?;
    let (first, last) = (&spec[..dash], &spec[dash + 1..]);
    let (first, last) = match (first, last) {
        ([], suffix) => {
            let suffix = position(suffix)?;
            (if suffix == 0 { size } else { size.saturating_sub(suffix) }, size - 1)
        }
        (first, []) => (position(first)?, size - 1),
        (first, last) => {
            let (first, last) = (position(first)?, position(last)?);
            if last < first {
                return None;
            }
            (first, last.min(size - 1))
        }
    };
    Some((first < size).then(|| ByteRange { first, bytes: last - first + 1 }))
}

/// Reads a number of digits alone. A number beyond 64 bits becomes the largest one, which no file
/// reaches either.
fn position(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let more =
        |sum: u64, digit: &u8| sum.saturating_mul(10).saturating_add(u64::from(digit - b'0'));
    Some(digits.iter().fold(0, more))
}

/// Adds a range. It is merged with those that it overlaps or touches, in the place of the first.
fn join(ranges: &mut Vec<ByteRange>, mut new: ByteRange) {
    let mut place = ranges.len();
    while let Some(at) = ranges.iter().position(|range| range.meets(&new)) {
        let old = ranges.remove(at);
        let first = old.first.min(new.first);
        new = ByteRange { first, bytes: old.end().max(new.end()) - first };
        place = place.min(at);
    }
    ranges.insert(place, new);
}

impl ByteRange {
    fn end(&self) -> u64 {
        self.first + self.bytes
    }

    fn meets(&self, other: &ByteRange) -> bool {
        self.first <= other.end() && other.first <= self.end()
    }
}

/// What must hold for any value: parts lie in the file, do not touch each other, were requested,
/// and are the same after writing them. The first two bytes choose size and limit.
#[doc(hidden)]
pub fn check(bytes: &[u8]) {
    let Some((&[scale, low], value)) = bytes.split_first_chunk() else { return };
    let size = match scale {
        0..=0xf => u64::from(low),
        _ => u64::from(low).wrapping_add(1) << (scale % 64),
    };
    let ranges_max = usize::from(scale % 9);
    let ranges = parse(value, size, ranges_max);
    let parts = match &ranges {
        Ranges::Whole | Ranges::None => return,
        Ranges::One(one) => std::slice::from_ref(one),
        Ranges::Many(many) => many.as_slice(),
    };
    assert!(parts.len() <= ranges_max && (parts.len() > 1) == matches!(ranges, Ranges::Many(_)));
    let mut sum = 0_u64;
    let mut written = String::new();
    for (at, part) in parts.iter().enumerate() {
        assert!(part.bytes > 0 && part.first < size && part.bytes <= size - part.first);
        assert!(part.bytes <= size - sum);
        sum += part.bytes;
        assert!(parts[..at].iter().all(|before| !before.meets(part)), "{ranges:?} are not apart");
        let comma = if at > 0 { ", " } else { "BYTES=" };
        written += &format!("{comma}{}-{}", part.first, part.first + (part.bytes - 1));
    }
    assert_eq!(parse(written.as_bytes(), size, ranges_max), ranges);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(value: &str, size: u64) -> Ranges {
        check(&[&[0, size.min(255) as u8], value.as_bytes()].concat());
        parse(value.as_bytes(), size, 8)
    }

    fn one(first: u64, bytes: u64) -> Ranges {
        Ranges::One(ByteRange { first, bytes })
    }

    fn many(parts: &[(u64, u64)]) -> Ranges {
        Ranges::Many(parts.iter().map(|&(first, bytes)| ByteRange { first, bytes }).collect())
    }

    #[test]
    fn each_form_of_a_range_is_read() {
        assert_eq!(read("bytes=0-99", 200), one(0, 100));
        assert_eq!(read("bytes=0-0", 200), one(0, 1));
        assert_eq!(read("bytes=199-199", 200), one(199, 1));
        assert_eq!(read("bytes=150-", 200), one(150, 50));
        assert_eq!(read("bytes=-50", 200), one(150, 50));
        assert_eq!(read("Bytes=0-1", 200), one(0, 2));
        assert_eq!(read("bytes= 0-1 ,", 200), one(0, 2));
    }

    #[test]
    fn what_goes_beyond_the_end_is_cut() {
        assert_eq!(read("bytes=100-999", 200), one(100, 100));
        assert_eq!(read("bytes=-999", 200), one(0, 200));
        assert_eq!(read("bytes=0-18446744073709551615", 200), one(0, 200));
        assert_eq!(read("bytes=0-99999999999999999999999999", 200), one(0, 200));
        assert_eq!(read("bytes=-99999999999999999999999999", 200), one(0, 200));
        assert_eq!(read("bytes=5-", u64::MAX), one(5, u64::MAX - 5));
    }

    #[test]
    fn what_the_file_does_not_have_is_none() {
        for value in ["bytes=200-", "bytes=200-300", "bytes=-0", "bytes=200-,-0,999-1000"] {
            assert_eq!(read(value, 200), Ranges::None, "{value}");
        }
        assert_eq!(read("bytes=99999999999999999999999999-", 200), Ranges::None);
        assert_eq!(read("bytes=200-,5-6", 200), one(5, 2));
    }

    #[test]
    fn what_is_no_range_means_the_whole_file() {
        for value in [
            "",
            "bytes",
            "bytes=",
            "bytes=,",
            "bytes=-",
            "bytes=--5",
            "bytes=5",
            "bytes=a-b",
            "bytes=9-5",
            "bytes=0-5,9-5",
            "bytes=+1-5",
            "bytes=1-+5",
            "bytes=1 - 5",
            "bytes=0x1-5",
            "bytes =0-5",
            "bytes:0-5",
            "lines=0-5",
            "items=0-5",
            "bytes=0-5-9",
            "bytes=-5-",
            "bytes=0-5;6-7",
        ] {
            assert_eq!(read(value, 200), Ranges::Whole, "{value}");
        }
    }

    #[test]
    fn an_empty_file_is_always_whole() {
        for value in ["bytes=0-", "bytes=-5", "bytes=0-0", "bytes=9-5"] {
            assert_eq!(read(value, 0), Ranges::Whole, "{value}");
        }
    }

    #[test]
    fn several_ranges_keep_their_order() {
        assert_eq!(read("bytes=100-109, 0-9", 200), many(&[(100, 10), (0, 10)]));
        assert_eq!(read("bytes=-10,0-9,,50-59", 200), many(&[(190, 10), (0, 10), (50, 10)]));
    }

    #[test]
    fn ranges_that_overlap_or_touch_are_made_one() {
        assert_eq!(read("bytes=0-9,10-19", 200), one(0, 20));
        assert_eq!(read("bytes=10-19,0-9", 200), one(0, 20));
        assert_eq!(read("bytes=0-99,50-60", 200), one(0, 100));
        assert_eq!(read("bytes=0-,0-,0-,0-", 200), one(0, 200));
        assert_eq!(read("bytes=0-9,11-19", 200), many(&[(0, 10), (11, 9)]));
        assert_eq!(read("bytes=100-109,0-9,10-99,150-", 200), many(&[(0, 110), (150, 50)]));
    }

    #[test]
    fn more_ranges_than_allowed_mean_the_whole_file() {
        assert_eq!(parse(b"bytes=0-0,2-2", 200, 1), Ranges::Whole);
        assert_eq!(parse(b"bytes=0-0,0-0", 200, 1), Ranges::Whole);
        assert_eq!(parse(b"bytes=0-0", 200, 0), Ranges::Whole);
        let eight = "bytes=".to_owned() + &["0-0"; 8].join(",");
        assert_eq!(read(&eight, 200), one(0, 1));
        assert_eq!(read(&format!("{eight},0-0"), 200), Ranges::Whole);
    }

    #[test]
    fn what_must_hold_holds_for_every_pair_of_small_ranges() {
        for first in 0..5 {
            for last in 0..6 {
                for value in ["bytes=1-2,{}", "bytes={},0-0,4-", "bytes=-2,{}", "bytes={},-1"] {
                    let value = value.replace("{}", &format!("{first}-{last}"));
                    let bytes = [&[8, 5], value.as_bytes()].concat();
                    check(&bytes);
                }
            }
        }
    }
}
