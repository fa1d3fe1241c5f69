//! Numbers in digits, as every protocol here writes them.
//!
//! Reads strictly, writes without an allocation.

/// Reads a number of digits alone: no sign, no blanks, no overflow.
pub(crate) fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// Writes the digits of a number, without an allocation.
pub(crate) fn write_decimal(value: u64, out: &mut impl Extend<u8>) {
    let mut digits = [0; 20];
    let mut rest = value;
    let mut first = digits.len();
    loop {
        first -= 1;
        digits[first] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.extend(digits.into_iter().skip(first));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_alone_are_a_number() {
        for (text, number) in [
            ("0", Some(0)),
            ("007", Some(7)),
            ("18446744073709551615", Some(u64::MAX)),
            ("18446744073709551616", None),
            ("", None),
            ("+1", None),
            ("-1", None),
            (" 1", None),
            ("1 ", None),
            ("0x1", None),
        ] {
            assert_eq!(decimal(text.as_bytes()), number, "{text:?}");
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        for number in [0, 9, 10, 65_535, 4_294_967_296, u64::MAX] {
            let mut out = Vec::new();
            write_decimal(number, &mut out);
            assert_eq!((decimal(&out), out), (Some(number), number.to_string().into_bytes()));
        }
    }
}
