//! The chunked transfer coding (RFC 9112, 7.1), read.
//!
//! A decoder keeps only its position, lends the payload from its input, and accepts any split.
//! Request smuggling uses readers that differ on where a chunk's line ends, so only one spelling is
//! accepted: CR LF, at most eight digits. Extensions are ignored, with their blanks and quotes
//! (7.1.1); they must hold neither CR nor LF.

use super::is_token;

/// Most digits of a chunk's size: chunks of 4 GiB.
pub const SIZE_DIGITS_MAX: u8 = 8;
/// Most bytes of all extensions of one body, which are ignored.
pub const EXTENSION_BYTES_MAX: u16 = 4_096;
/// Most bytes of all trailer lines of one body, which are ignored.
pub const TRAILER_BYTES_MAX: u16 = 4_096;
/// Most trailer lines of one body.
pub const TRAILER_LINES_MAX: u8 = 32;

/// Reads one chunked body; [`Decoder::default`] is at its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Decoder {
    state: State,
    extension_bytes: u16,
    trailer_bytes: u16,
    trailer_lines: u8,
}

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// A digit of a size, or the byte that ends it.
    Size { digits: u8, bytes: u32 },
    /// A byte of an extension.
    Extension { bytes: u32, at: Extension },
    /// The LF after a size; size 0 is the last chunk.
    SizeEnd { bytes: u32 },
    /// So many bytes of payload.
    Payload { bytes: u32 },
    /// The CR after the payload.
    PayloadCr,
    /// The LF after the payload.
    PayloadLf,
    /// The first byte of a trailer line, or the CR of the blank one.
    Trailer,
    /// The name of a trailer.
    TrailerName,
    /// The value of a trailer.
    TrailerValue,
    /// The LF after a trailer.
    TrailerLf,
    /// The LF after everything.
    LastLf,
    /// Nothing: the body is whole.
    Done,
    /// Nothing: the bytes were no chunk.
    Failed,
}

/// The position in the extensions of a chunk (RFC 9112, 7.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Extension {
    /// Blanks, and the semicolon that must follow them.
    Semicolon,
    /// Blanks, and the name that must follow them.
    BeforeName,
    /// A name.
    Name,
    /// Blanks after a name.
    BehindName,
    /// Blanks, and the value that must follow them.
    BeforeValue,
    /// A value without quotes.
    Value,
    /// A value between quotes.
    Quoted,
    /// The byte after a backslash.
    Escaped,
    /// The end of a value between quotes.
    BehindQuoted,
}

impl Extension {
    /// Returns the position after a byte, or `None` if the byte is not allowed here.
    fn after(self, byte: u8) -> Option<Extension> {
        let is_blank = matches!(byte, b' ' | b'\t');
        match (self, byte) {
            (Extension::Semicolon | Extension::BehindName, b';')
            | (Extension::Name | Extension::Value | Extension::BehindQuoted, b';') => {
                Some(Extension::BeforeName)
            }
            (Extension::BeforeName | Extension::Name, byte) if is_token(byte) => {
                Some(Extension::Name)
            }
            (Extension::Name | Extension::BehindName, b'=') => Some(Extension::BeforeValue),
            (Extension::Name, _) if is_blank => Some(Extension::BehindName),
            (Extension::BeforeValue, b'"') => Some(Extension::Quoted),
            (Extension::BeforeValue | Extension::Value, byte) if is_token(byte) => {
                Some(Extension::Value)
            }
            // Blanks after a value lead to the next extension.
            (Extension::Value | Extension::BehindQuoted, _) if is_blank => {
                Some(Extension::Semicolon)
            }
            (Extension::Quoted, b'"') => Some(Extension::BehindQuoted),
            (Extension::Quoted, b'\\') => Some(Extension::Escaped),
            (Extension::Quoted | Extension::Escaped, b'\t' | b' '..=0x7e | 0x80..) => {
                Some(Extension::Quoted)
            }
            (at, _) if is_blank && at.may_begin_with_blanks() => Some(at),
            (_, 0..=u8::MAX) => None,
        }
    }

    fn may_begin_with_blanks(self) -> bool {
        match self {
            Extension::Semicolon
            | Extension::BeforeName
            | Extension::BehindName
            | Extension::BeforeValue => true,
            Extension::Name
            | Extension::Value
            | Extension::Quoted
            | Extension::Escaped
            | Extension::BehindQuoted => false,
        }
    }

    /// Returns whether the line may end here.
    fn is_whole(self) -> bool {
        matches!(self, Extension::Name | Extension::Value | Extension::BehindQuoted)
    }
}

impl Default for State {
    fn default() -> Self {
        State::Size { digits: 0, bytes: 0 }
    }
}

/// The result of decoding a piece of input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step<'a> {
    /// Payload; call again with the bytes after `consumed`.
    Data {
        /// The payload, never empty.
        bytes: &'a [u8],
        /// Bytes of the input that are done, the payload included.
        consumed: usize,
    },
    /// The input is used up and the body is incomplete.
    More {
        /// The length of the input.
        consumed: usize,
    },
    /// The body is whole.
    End {
        /// Bytes of the input that belong to the body; the rest is the next request's.
        consumed: usize,
    },
}

/// The bytes are no chunk, or exceed a limit. The decoder cannot go on, and the start of the next
/// request is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadChunk;

impl Decoder {
    /// Continues after the last call.
    ///
    /// # Errors
    /// [`BadChunk`], and again on every later call, even without input.
    pub fn decode<'a>(&mut self, input: &'a [u8]) -> Result<Step<'a>, BadChunk> {
        let mut consumed = 0;
        loop {
            if let State::Payload { bytes } = self.state {
                return Ok(self.lend(bytes, input, consumed));
            }
            if self.state == State::Done {
                return Ok(Step::End { consumed });
            }
            if self.state == State::Failed {
                return Err(BadChunk);
            }
            let Some(&byte) = input.get(consumed) else { return Ok(Step::More { consumed }) };
            consumed += 1;
            self.state = self.after(self.state, byte).unwrap_or(State::Failed);
        }
    }

    fn lend<'a>(&mut self, bytes: u32, input: &'a [u8], consumed: usize) -> Step<'a> {
        let rest = &input[consumed..];
        let taken = usize::try_from(bytes).unwrap_or(usize::MAX).min(rest.len());
        if taken == 0 {
            return Step::More { consumed };
        }
        // At most `bytes`, which is a u32.
        let left = bytes - taken as u32;
        self.state = if left > 0 { State::Payload { bytes: left } } else { State::PayloadCr };
        Step::Data { bytes: &rest[..taken], consumed: consumed + taken }
    }

    /// Returns the state after a byte that is no payload, or `None` if the byte is not allowed.
    fn after(&mut self, state: State, byte: u8) -> Option<State> {
        match state {
            State::Size { digits, bytes } => match (byte, char::from(byte).to_digit(16)) {
                (_, Some(digit)) if digits < SIZE_DIGITS_MAX => {
                    let bytes = bytes.checked_mul(16)?.checked_add(digit)?;
                    Some(State::Size { digits: digits + 1, bytes })
                }
                (b';' | b' ' | b'\t', None) if digits > 0 => {
                    count(&mut self.extension_bytes, EXTENSION_BYTES_MAX)?;
                    let at = Extension::Semicolon.after(byte)?;
                    Some(State::Extension { bytes, at })
                }
                (b'\r', None) if digits > 0 => Some(State::SizeEnd { bytes }),
                (_, Some(_) | None) => None,
            },
            State::Extension { bytes, at } => {
                count(&mut self.extension_bytes, EXTENSION_BYTES_MAX)?;
                match byte {
                    b'\r' if at.is_whole() => Some(State::SizeEnd { bytes }),
                    byte => Some(State::Extension { bytes, at: at.after(byte)? }),
                }
            }
            State::SizeEnd { bytes: 0 } => (byte == b'\n').then_some(State::Trailer),
            State::SizeEnd { bytes } => (byte == b'\n').then_some(State::Payload { bytes }),
            State::PayloadCr => (byte == b'\r').then_some(State::PayloadLf),
            State::PayloadLf => (byte == b'\n').then_some(State::default()),
            State::LastLf => (byte == b'\n').then_some(State::Done),
            State::Trailer if byte == b'\r' => Some(State::LastLf),
            State::Trailer | State::TrailerName | State::TrailerValue | State::TrailerLf => {
                self.after_trailer(state, byte)
            }
            State::Payload { .. } | State::Done | State::Failed => None,
        }
    }

    fn after_trailer(&mut self, state: State, byte: u8) -> Option<State> {
        count(&mut self.trailer_bytes, TRAILER_BYTES_MAX)?;
        match (state, byte) {
            (State::Trailer, byte) if is_token(byte) => {
                self.trailer_lines += 1;
                (self.trailer_lines <= TRAILER_LINES_MAX).then_some(State::TrailerName)
            }
            (State::TrailerName, b':') => Some(State::TrailerValue),
            (State::TrailerName, byte) => is_token(byte).then_some(State::TrailerName),
            (State::TrailerValue, b'\r') => Some(State::TrailerLf),
            (State::TrailerValue, b'\t' | b' '..=0x7e | 0x80..) => Some(State::TrailerValue),
            (State::TrailerLf, b'\n') => Some(State::Trailer),
            (_, 0..=u8::MAX) => None,
        }
    }
}

/// Counts one more, up to a limit.
fn count(counted: &mut u16, max: u16) -> Option<()> {
    *counted += 1;
    (*counted <= max).then_some(())
}

/// Decodes everything, in pieces of at most so many bytes: the payload and the consumed bytes.
fn decode_in(input: &[u8], mut cut: impl FnMut() -> usize) -> Result<(Vec<u8>, usize), usize> {
    let mut decoder = Decoder::default();
    let (mut payload, mut consumed) = (Vec::new(), 0_usize);
    loop {
        let end = consumed.saturating_add(cut()).min(input.len());
        let had_all = end == input.len();
        match decoder.decode(&input[consumed..end]) {
            Ok(Step::Data { bytes, consumed: more }) => {
                assert!(!bytes.is_empty() && bytes.len() <= more);
                payload.extend_from_slice(bytes);
                consumed += more;
            }
            Ok(Step::More { consumed: more }) => {
                consumed += more;
                assert_eq!(consumed, end, "all of the input is used up");
                if had_all {
                    return Ok((payload, usize::MAX));
                }
            }
            Ok(Step::End { consumed: more }) => {
                assert_eq!(decoder.decode(input), Ok(Step::End { consumed: 0 }));
                return Ok((payload, consumed + more));
            }
            Err(BadChunk) => {
                assert_eq!(decoder.decode(b"0\r\n\r\n"), Err(BadChunk));
                return Err(payload.len());
            }
        }
    }
}

/// What must hold for any bytes: any split gives the same payload, the same end and the same
/// verdict, and a body that was read is the same after writing it. The first byte chooses the
/// splits.
#[doc(hidden)]
pub fn check(bytes: &[u8]) {
    let Some((&seed, input)) = bytes.split_first() else { return };
    let whole = decode_in(input, || usize::MAX);
    assert_eq!(decode_in(input, || 1), whole);
    let mut next = u32::from(seed) + 1;
    let cuts = || {
        next = next.wrapping_mul(1_103_515_245).wrapping_add(12_345);
        (next >> 16) as usize % 9 + 1
    };
    assert_eq!(decode_in(input, cuts), whole);
    let Ok((payload, consumed)) = whole else { return };
    if consumed == usize::MAX {
        return;
    }
    let mut behind = input[..consumed].to_vec();
    behind.extend_from_slice(b"GET / HTTP/1.1\r\n");
    assert_eq!(decode_in(&behind, || usize::MAX), Ok((payload.clone(), consumed)));
    let mut written = Vec::new();
    for chunk in payload.chunks(usize::from(seed) + 1) {
        written.extend_from_slice(format!("{:X}\r\n", chunk.len()).as_bytes());
        written.extend_from_slice(chunk);
        written.extend_from_slice(b"\r\n");
    }
    written.extend_from_slice(b"0\r\n\r\n");
    let bytes = written.len();
    assert_eq!(decode_in(&written, || usize::MAX), Ok((payload, bytes)));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(input: &[u8]) -> Result<(Vec<u8>, usize), usize> {
        for seed in [0, 7, 255] {
            check(&[&[seed], input].concat());
        }
        decode_in(input, || usize::MAX)
    }

    fn is_bad(input: &[u8]) -> bool {
        decoded(input).is_err()
    }

    #[test]
    fn a_body_ends_with_its_last_chunk_and_what_follows_is_left() {
        let input = b"4\r\nWiki\r\n6\r\npedia \r\nE\r\nin \r\n\r\nchunks.\r\n0\r\n\r\nGET /";
        let (payload, consumed) = decoded(input).unwrap();
        assert_eq!(payload, b"Wikipedia in \r\n\r\nchunks.");
        assert_eq!(&input[consumed..], b"GET /");
        assert_eq!(decoded(b"0\r\n\r\n"), Ok((Vec::new(), 5)));
    }

    #[test]
    fn payload_is_lent_from_the_input() {
        let mut decoder = Decoder::default();
        let input = b"5\r\nab";
        let data = Step::Data { bytes: &input[3..], consumed: 5 };
        assert_eq!(decoder.decode(input), Ok(data));
        assert_eq!(decoder.decode(b""), Ok(Step::More { consumed: 0 }));
        assert_eq!(decoder.decode(b"cdeX"), Ok(Step::Data { bytes: b"cde", consumed: 3 }));
        assert_eq!(decoder.decode(b"X"), Err(BadChunk));
        assert_eq!(decoder.decode(b"\r\n0\r\n\r\n"), Err(BadChunk));
    }

    #[test]
    fn sizes_have_one_to_eight_digits() {
        assert!(is_bad(b"\r\n"));
        assert!(is_bad(b"000000000\r\n"));
        assert!(is_bad(b"100000000\r\n"));
        assert!(is_bad(b"ffffffffffffffff\r\n"));
        assert_eq!(decoded(b"00000000\r\n\r\n"), Ok((Vec::new(), 12)));
        assert_eq!(decoded(b"0000000a\r\n0123456789\r\n0\r\n\r\n").unwrap().0, b"0123456789");
        let mut decoder = Decoder::default();
        assert_eq!(decoder.decode(b"FffFffFf\r\n"), Ok(Step::More { consumed: 10 }));
        assert_eq!(decoder.state, State::Payload { bytes: u32::MAX });
    }

    #[test]
    fn what_is_no_size_is_refused() {
        for line in ["-1", "+5", "0x5", " 5", "5 ", "5\t", "g", "5,5", "5\0", "five", "5.0", "5_0"]
        {
            assert!(is_bad(format!("{line}\r\n01234\r\n0\r\n\r\n").as_bytes()), "{line:?}");
        }
    }

    #[test]
    fn lines_end_with_cr_lf_and_nothing_else() {
        assert!(!is_bad(b"1\r\na\r\n0\r\n\r\n"));
        for input in [
            &b"1\na\r\n0\r\n\r\n"[..],
            b"1\r\r\na\r\n0\r\n\r\n",
            b"1\ra\r\n0\r\n\r\n",
            b"1\r\na\n0\r\n\r\n",
            b"1\r\na0\r\n\r\n",
            b"1\r\na\r0\r\n\r\n",
            b"1\r\na\r\n\r\n0\r\n\r\n",
            b"1\r\na\r\n0\n\r\n",
            b"1\r\na\r\n0\r\n\n",
            b"1\r\nab\r\n0\r\n\r\n",
            b"0\r\nX: y\n\r\n",
            b"0\r\n\rX",
        ] {
            assert!(is_bad(input), "{}", input.escape_ascii());
        }
    }

    #[test]
    fn extensions_are_ignored_with_their_blanks_and_quotes() {
        for line in [
            "1;a",
            "1;a=b",
            "1;a=b;c;d=e",
            "1;chunk-signature=0f9a",
            "1; a",
            "1 ;a",
            "1\t ; a = b ; c",
            "1;a=\"b\"",
            "1;a=\"\"",
            "1; a = \"b; c=d, \\\" \\\\ \u{e4}\t\" ;e",
            "1;a=\"b\";c=\"d\"",
            "1;a ;b",
        ] {
            let input = format!("{line}\r\nx\r\n0;last\r\n\r\n");
            assert_eq!(decoded(input.as_bytes()).unwrap().0, b"x", "{line}");
        }
    }

    #[test]
    fn extensions_in_which_readers_see_different_lines_are_refused() {
        for line in [
            "1;",
            "1 ",
            "1\t",
            "1; ",
            "1;;a",
            "1 a",
            "1;a ",
            "1;a b",
            "1;a=",
            "1;a= ",
            "1;a=b=c",
            "1;a=b c",
            "1;=b",
            "1;\"a\"",
            "1;a=\"b",
            "1;a=\"b\\\"",
            "1;a=\"b\"c",
            "1;a=b\"c\"",
            "1;a=\"b\nc\"",
            "1;a=\"b\rc\"",
            "1;a=\"\\\n\"",
            "1;a=\"\\\r\n\"",
            "1;a=\"\0\"",
            "1;a=\"\x7f\"",
            "1;a\nb",
            "1;a\0",
            "1;a\u{e4}",
            "1;a\rb",
        ] {
            let input = format!("{line}\r\nx\r\n0\r\n\r\n");
            assert!(is_bad(input.as_bytes()), "{line:?}");
        }
    }

    #[test]
    fn extensions_are_bounded_over_the_whole_body() {
        // The semicolon and the CR count.
        let long = "a".repeat(usize::from(EXTENSION_BYTES_MAX) - 2);
        assert!(!is_bad(format!("1;{long}\r\nx\r\n0\r\n\r\n").as_bytes()));
        assert!(is_bad(format!("1;{long}a\r\nx\r\n0\r\n\r\n").as_bytes()));
        assert!(is_bad(format!("1;{long}\r\nx\r\n0;a\r\n\r\n").as_bytes()));
        // A limit for all chunks together, or a byte of payload could be made to cost thousands.
        assert!(is_bad("1;aaaaaaaa\r\nx\r\n".repeat(1_000).as_bytes()));
    }

    #[test]
    fn trailers_are_ignored_within_bounds() {
        let trailers = "Expires: never\r\nContent-Length: 5\r\nX:\r\nY:\t\u{e4}\r\n";
        let input = format!("1\r\nx\r\n0\r\n{trailers}\r\nnext");
        let (payload, consumed) = decoded(input.as_bytes()).unwrap();
        assert_eq!((&payload[..], &input[consumed..]), (&b"x"[..], "next"));
        let lines = |lines: u8| format!("0\r\n{}\r\n", "a:b\r\n".repeat(usize::from(lines)));
        assert!(!is_bad(lines(TRAILER_LINES_MAX).as_bytes()));
        assert!(is_bad(lines(TRAILER_LINES_MAX + 1).as_bytes()));
        let bytes = |bytes: u16| format!("0\r\na:{}\r\n\r\n", "b".repeat(usize::from(bytes) - 4));
        assert!(!is_bad(bytes(TRAILER_BYTES_MAX).as_bytes()));
        assert!(is_bad(bytes(TRAILER_BYTES_MAX + 1).as_bytes()));
    }

    #[test]
    fn what_is_no_trailer_is_refused() {
        for line in
            [": x", " a: b", "a : b", "a", "a: b\0", "a\tb: c", "GET / HTTP/1.1", "a: b\x7f"]
        {
            assert!(is_bad(format!("0\r\n{line}\r\n\r\n").as_bytes()), "{line:?}");
        }
    }

    #[test]
    fn every_cut_of_a_good_body_wants_more() {
        let input = b"3;a=b\r\nabc\r\nA\r\n0123456789\r\n0\r\nX: y\r\n\r\n";
        for end in 0..input.len() {
            let (payload, consumed) = decoded(&input[..end]).unwrap();
            assert_eq!(consumed, usize::MAX);
            assert!(b"abc0123456789".starts_with(&payload[..]));
        }
        assert_eq!(decoded(input), Ok((b"abc0123456789".to_vec(), input.len())));
    }
}
