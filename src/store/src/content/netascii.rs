//! Files as network text (RFC 764 NVT, which RFC 1350 calls netascii).
//!
//! Encodes only; the receiving session decodes what phones send in this form.

/// Returns the text in its wire form: LF becomes CR LF, and CR becomes CR NUL.
#[must_use]
pub(crate) fn encode(bytes: &[u8]) -> Vec<u8> {
    let longer_by = bytes.iter().filter(|&&byte| byte == b'\n' || byte == b'\r').count();
    let mut text = Vec::with_capacity(bytes.len() + longer_by);
    for &byte in bytes {
        match byte {
            b'\n' => text.extend_from_slice(b"\r\n"),
            b'\r' => text.extend_from_slice(b"\r\0"),
            plain => text.push(plain),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_ends_become_those_of_the_network() {
        assert_eq!(encode(b"a\nb\rc\r\nd"), b"a\r\nb\r\0c\r\0\r\nd");
        assert_eq!(encode(b""), b"");
        assert_eq!(encode(b"\xff\0plain"), b"\xff\0plain");
    }
}
