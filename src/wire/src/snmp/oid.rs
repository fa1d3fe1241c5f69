//! Names of objects (RFC 2578, 3.5; X.690, 8.19): numbers with dots between them, as bytes.
//!
//! Borrows the bytes that it has checked; never copies them to compare.

use std::fmt;

use super::OID_PARTS_MAX;

/// The name of an object, as in a message.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Oid<'a>(&'a [u8]);

impl<'a> Oid<'a> {
    /// Reads the bytes of a name, without tag and length. Returns `None` if they are no name.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Option<Oid<'a>> {
        let oid = Oid(bytes);
        // A part is below 2^32 (RFC 2578, 3.5) and has no redundant leading zeros (X.690, 8.19.2).
        let is_number = |digits: &[u8]| digits.len() <= 5 && digits.first() != Some(&0x80);
        let is_whole = bytes.last().is_some_and(|byte| byte & 0x80 == 0);
        let valid = is_whole
            && oid.digits().all(is_number)
            && oid.numbers().all(|number| number <= u64::from(u32::MAX))
            && oid.numbers().count() < OID_PARTS_MAX;
        valid.then_some(oid)
    }

    /// Returns whether it is the name with these parts.
    #[must_use]
    pub fn is(&self, parts: &[u32]) -> bool {
        self.parts().eq(parts.iter().copied())
    }

    /// Returns whether it is the name with these parts, or one beneath it.
    #[must_use]
    pub fn is_beneath(&self, parts: &[u32]) -> bool {
        let mut own = self.parts();
        parts.iter().all(|part| own.next() == Some(*part))
    }

    /// Returns its bytes, without tag and length.
    #[must_use]
    pub fn as_bytes(&self) -> &'a [u8] {
        self.0
    }

    /// Returns the parts. The first two share a number (X.690, 8.19.4).
    fn parts(&self) -> impl Iterator<Item = u32> + use<'a> {
        let mut numbers = self.numbers();
        let first = numbers.next().unwrap_or(0);
        let head = (first / 40).min(2);
        [head, first - head * 40].into_iter().chain(numbers).map(|number| number as u32)
    }

    fn numbers(&self) -> impl Iterator<Item = u64> + use<'a> {
        self.digits().map(|digits| {
            digits.iter().fold(0, |number, digit| number << 7 | u64::from(digit & 0x7f))
        })
    }

    /// Returns each number as written: seven bits a byte, the last one without its highest bit.
    fn digits(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.0.split_inclusive(|byte| byte & 0x80 == 0)
    }
}

impl fmt::Debug for Oid<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, part) in self.parts().enumerate() {
            write!(f, "{}{part}", if place == 0 { "" } else { "." })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_the_parts_that_its_bytes_say() {
        let avaya = [0x2b, 6, 1, 4, 1, 0xb5, 0x69, 2, 69, 1, 4, 9, 0];
        let oid = Oid::new(&avaya).unwrap();
        assert!(oid.is(&[1, 3, 6, 1, 4, 1, 6889, 2, 69, 1, 4, 9, 0]));
        assert!(!oid.is(&[1, 3, 6, 1, 4, 1, 6889, 2, 69, 1, 4, 9]));
        assert!(!oid.is(&[1, 3, 6, 1, 4, 1, 6889, 2, 69, 1, 4, 9, 0, 0]));
        assert!(oid.is_beneath(&[1, 3, 6, 1, 4, 1, 6889, 2, 69, 1]));
        assert!(oid.is_beneath(&[]) && !oid.is_beneath(&[1, 3, 6, 1, 4, 1, 6889, 2, 70]));
        assert_eq!(format!("{oid:?}"), "1.3.6.1.4.1.6889.2.69.1.4.9.0");
        assert!(Oid::new(&[0x88, 0x37]).unwrap().is(&[2, 999]));
        assert!(Oid::new(&[0x8f, 0xff, 0xff, 0xff, 0x7f]).unwrap().is(&[2, u32::MAX - 80]));
    }

    #[test]
    fn bytes_that_end_in_the_middle_or_say_too_much_are_no_name() {
        for bytes in [
            &[][..],
            &[0x80],
            &[0x2b, 0x86],
            &[0x2b, 0x80, 0x01],
            &[0x2b, 0x90, 0x80, 0x80, 0x80, 0x00],
            &[0x2b, 0x81, 0x80, 0x80, 0x80, 0x80, 0x00],
            &[1; OID_PARTS_MAX],
        ] {
            assert_eq!(Oid::new(bytes), None, "{bytes:?}");
        }
        assert!(Oid::new(&[1; OID_PARTS_MAX - 1]).is_some());
    }
}
