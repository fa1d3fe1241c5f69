//! Files as lines of text (TYPE A; RFC 959, 3.1.1.1), converted piece by piece.
//!
//! The output does not depend on how the bytes are split. Each input byte gives at most two output
//! bytes, plus one that was held.

/// From the disk to the client: a line ends with CRLF; one that already does is unchanged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outgoing {
    is_after_cr: bool,
}

impl Outgoing {
    /// Adds the text of a piece.
    pub fn convert(&mut self, piece: &[u8], out: &mut Vec<u8>) {
        for line in piece.split_inclusive(|byte| *byte == b'\n') {
            match line {
                [text @ .., b'\n'] => {
                    let has_cr = text.last().map_or(self.is_after_cr, |byte| *byte == b'\r');
                    out.extend_from_slice(text);
                    out.extend_from_slice(if has_cr { b"\n" } else { b"\r\n" });
                }
                [..] => out.extend_from_slice(line),
            }
            self.is_after_cr = line.last() == Some(&b'\r');
        }
    }
}

/// From the client to the disk: CRLF becomes LF; any other CR stays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Incoming {
    holds_cr: bool,
}

impl Incoming {
    /// Adds a piece as the disk has it. A CR at its end is held until the next byte is known.
    pub fn convert(&mut self, piece: &[u8], out: &mut Vec<u8>) {
        for part in piece.split_inclusive(|byte| *byte == b'\r') {
            if self.holds_cr && part.first() != Some(&b'\n') {
                out.push(b'\r');
            }
            self.holds_cr = part.last() == Some(&b'\r');
            out.extend_from_slice(part.strip_suffix(b"\r").unwrap_or(part));
        }
    }

    /// Adds the CR at the end of the last piece, if there was one.
    pub fn finish(self, out: &mut Vec<u8>) {
        if self.holds_cr {
            out.push(b'\r');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What must hold for any bytes: in both directions the split does not change the output, and a
    /// file without CR comes back unchanged.
    fn check(bytes: &[u8]) {
        let Some((&piece_bytes, bytes)) = bytes.split_first() else { return };
        let pieces = || bytes.chunks(usize::from(piece_bytes) + 1);
        let sent = outgoing(pieces());
        assert_eq!(sent, outgoing([bytes].into_iter()));
        assert!(sent.len() <= bytes.len() * 2);
        assert!(!sent.starts_with(b"\n"));
        assert!(sent.windows(2).all(|pair| pair[1] != b'\n' || pair[0] == b'\r'));
        assert_eq!(
            sent,
            outgoing(sent.chunks(usize::from(piece_bytes) + 1)),
            "CRLF stays as it is"
        );
        let stored = incoming(pieces());
        assert_eq!(stored, incoming([bytes].into_iter()));
        if !bytes.contains(&b'\r') {
            assert_eq!(incoming(sent.chunks(usize::from(piece_bytes) + 1)), bytes);
            assert_eq!(stored, bytes);
        }
    }

    fn outgoing<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
        let (mut text, mut out) = (Outgoing::default(), Vec::new());
        pieces.for_each(|piece| text.convert(piece, &mut out));
        out
    }

    fn incoming<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
        let (mut text, mut out) = (Incoming::default(), Vec::new());
        pieces.for_each(|piece| text.convert(piece, &mut out));
        text.finish(&mut out);
        out
    }

    #[test]
    fn lines_of_the_disk_end_with_crlf_on_their_way() {
        let sent = |bytes: &[u8]| outgoing([bytes].into_iter());
        assert_eq!(sent(b"a\nb\n"), b"a\r\nb\r\n");
        assert_eq!(sent(b"\n\n"), b"\r\n\r\n");
        assert_eq!(sent(b"a\r\nb"), b"a\r\nb");
        assert_eq!(sent(b"a\rb\r"), b"a\rb\r");
        assert_eq!(sent(b"a\r\r\n"), b"a\r\r\n");
        assert_eq!(sent(b"\xff\0"), b"\xff\0");
    }

    #[test]
    fn crlf_becomes_lf_on_the_disk_and_a_lone_cr_stays() {
        let stored = |bytes: &[u8]| incoming([bytes].into_iter());
        assert_eq!(stored(b"a\r\nb\r\n"), b"a\nb\n");
        assert_eq!(stored(b"a\nb"), b"a\nb");
        assert_eq!(stored(b"a\rb\r"), b"a\rb\r");
        assert_eq!(stored(b"\r\r\n\n\r"), b"\r\n\n\r");
        assert_eq!(stored(b"\xff\0"), b"\xff\0");
    }

    #[test]
    fn a_crlf_that_is_cut_in_two_is_neither_doubled_nor_kept() {
        let pieces: [&[u8]; 5] = [b"a\r", b"", b"\n", b"\r", b"b"];
        assert_eq!(outgoing(pieces.into_iter()), b"a\r\n\rb");
        assert_eq!(incoming(pieces.into_iter()), b"a\n\rb");
    }

    #[test]
    fn every_short_text_in_every_cutting_gives_the_same_bytes() {
        const LETTERS: &[u8] = b"x\r\n";
        let longest = if cfg!(miri) { 3 } else { 7 };
        for length in 0..=longest {
            for number in 0..3_usize.pow(length) {
                let letter = |at: u32| LETTERS[number / 3_usize.pow(at) % 3];
                let text: Vec<u8> = (0..length).map(letter).collect();
                for piece_bytes in 0..3 {
                    check(&[&[piece_bytes], &text[..]].concat());
                }
                for cuts in 0..1_usize << length.saturating_sub(1) {
                    let pieces = || text.chunk_by_cuts(cuts);
                    assert_eq!(outgoing(pieces()), outgoing([&text[..]].into_iter()));
                    assert_eq!(incoming(pieces()), incoming([&text[..]].into_iter()));
                }
            }
        }
    }

    trait Cut {
        fn chunk_by_cuts(&self, cuts: usize) -> std::vec::IntoIter<&[u8]>;
    }

    impl Cut for Vec<u8> {
        /// Returns the pieces, split after each byte whose bit is set.
        fn chunk_by_cuts(&self, cuts: usize) -> std::vec::IntoIter<&[u8]> {
            let mut pieces = Vec::new();
            let mut start = 0;
            for end in 1..=self.len() {
                if end == self.len() || cuts >> (end - 1) & 1 == 1 {
                    pieces.push(&self[start..end]);
                    start = end;
                }
            }
            pieces.into_iter()
        }
    }
}
