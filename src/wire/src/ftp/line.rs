//! The lines of a control connection (RFC 1123, 4.1.2.10), independent of how their bytes are
//! split.
//!
//! Each LF ends a line, with or without CR before it, and no byte of Telnet can hide one. Telnet's
//! commands and NULs are removed and never answered. Lines after the first line of another protocol
//! are never read as commands.

use std::borrow::Cow;
use std::fmt;

use super::IAC;
use super::command::{BadCommand, Foreign};

/// The first byte of each TLS connection (RFC 8446, 5.1); no command begins with it.
const TLS_HANDSHAKE: u8 = 22;
/// The first of Telnet's own bytes; all higher ones are Telnet's, too (RFC 854).
const TELNET_MIN: u8 = 240;

/// The meaning of the bytes at the start of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Framed<'a> {
    /// A line.
    Line {
        /// Without its end, Telnet's commands and NULs. May be empty.
        line: Cow<'a, [u8]>,
        /// Where the next line starts, in bytes.
        used: usize,
    },
    /// Its end has not come yet.
    Partial,
    /// Longer than allowed.
    TooLong {
        /// How many of the bytes belong to it.
        used: usize,
        /// Whether its end is among them.
        is_ended: bool,
    },
    /// Another protocol.
    Foreign(Foreign),
}

/// Reads the first line of the bytes. `line_max` limits the bytes before its LF, Telnet's included.
///
/// Searches from the start each time; [`Lines`] does not, for bytes that come one by one.
#[must_use]
pub fn line(bytes: &[u8], line_max: usize) -> Framed<'_> {
    if bytes.first() == Some(&TLS_HANDSHAKE) {
        return Framed::Foreign(Foreign::Tls);
    }
    let reach = &bytes[..bytes.len().min(line_max.saturating_add(1))];
    let end = line_end(reach);
    if end.is_none() && bytes.len() <= line_max {
        return Framed::Partial;
    }
    let line = clean(without_cr(&reach[..end.unwrap_or(reach.len())]));
    // A browser's first line may be longer than any command, but the lines after it are not.
    match (Foreign::of(&line), end) {
        (Some(foreign), _) => Framed::Foreign(foreign),
        (None, Some(end)) => Framed::Line { line, used: end + 1 },
        (None, None) => {
            let end = line_end(bytes);
            let used = end.map_or(bytes.len(), |end| end + 1);
            Framed::TooLong { used, is_ended: end.is_some() }
        }
    }
}

fn line_end(bytes: &[u8]) -> Option<usize> {
    bytes.iter().position(|byte| *byte == b'\n')
}

/// Returns the line without the CRs at its end; some clients send two.
fn without_cr(mut line: &[u8]) -> &[u8] {
    while let [shorter @ .., b'\r'] = line {
        line = shorter;
    }
    line
}

/// Returns the line without NULs and Telnet's commands. An interrupted client sends IAC IP, IAC DM,
/// ABOR (RFC 959, 4.1.3); if the last urgent byte was not kept in line, only IAC or DM remains.
/// Elsewhere an IAC that begins no command of Telnet is a byte of a name that was not doubled.
fn clean(raw: &[u8]) -> Cow<'_, [u8]> {
    let is_plain = |byte: &u8| !matches!(*byte, 0 | IAC);
    if raw.iter().all(is_plain) && raw.first().is_none_or(|byte| *byte < TELNET_MIN) {
        return Cow::Borrowed(raw);
    }
    let mut line = Vec::with_capacity(raw.len());
    let mut rest = raw;
    loop {
        rest = match rest {
            [] => return Cow::Owned(line),
            [IAC, IAC, after @ ..] => {
                line.push(IAC);
                after
            }
            // WILL, WON'T, DO and DON'T have an option after them.
            [IAC, 251..=254, _, after @ ..] => after,
            [IAC, TELNET_MIN..=254, after @ ..] | [0, after @ ..] => after,
            [TELNET_MIN..=IAC, after @ ..] if line.is_empty() => after,
            [byte, after @ ..] => {
                line.push(*byte);
                after
            }
        };
    }
}

/// The lines of one connection. Keeps an incomplete line, at most `line_max` and one byte, and
/// examines each byte once even if they come slowly.
///
/// Bytes that came in clear before TLS must never be read as commands after it, because an attacker
/// could have inserted them. So start with a new value then, and drop the remaining bytes.
pub struct Lines {
    line_max: usize,
    /// The beginning of a line, without LF; or, depending on `state`, a line that was returned.
    kept: Vec<u8>,
    state: State,
}

impl fmt::Debug for Lines {
    /// Without the bytes, which may be those of a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Lines { line_max, kept, state } = self;
        write!(f, "Lines({state:?}, {} of {line_max} bytes)", kept.len())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// In a line, or between two.
    Within,
    /// The kept line was returned.
    Given,
    /// In a line that is too long.
    Skipping,
    /// Not FTP: nothing more is read.
    Foreign,
}

impl Lines {
    /// Makes it for lines of at most `line_max` bytes before their LF. It must be 16 or more, to
    /// hold the first word of HTTP.
    #[must_use]
    pub fn new(line_max: usize) -> Lines {
        Lines { line_max, kept: Vec::new(), state: State::Within }
    }

    /// Takes the next line from the bytes. Returns `None` once all are taken without a whole line.
    ///
    /// # Errors
    /// [`BadCommand::TooLong`], once for each such line, as soon as it is too long;
    /// [`BadCommand::Foreign`], once, and no line after it.
    pub fn next<'a, 'b: 'a>(
        &'a mut self,
        bytes: &mut &'b [u8],
    ) -> Option<Result<&'a [u8], BadCommand>> {
        match self.state {
            State::Within => {}
            State::Given => {
                self.kept = Vec::new();
                self.state = State::Within;
            }
            State::Skipping => {
                let end = line_end(bytes);
                take(bytes, end.map_or(bytes.len(), |end| end + 1));
                if end.is_some() {
                    self.state = State::Within;
                }
            }
            State::Foreign => *bytes = &[],
        }
        if bytes.is_empty() {
            return None;
        }
        if self.kept.is_empty() { self.begin(bytes) } else { self.go_on(bytes) }
    }

    /// Drops what is kept: bytes in clear must not be read after TLS starts.
    pub fn begin_anew(&mut self) {
        *self = Lines::new(self.line_max);
    }

    /// Returns whether a line has begun and not ended.
    #[must_use]
    pub fn is_begun(&self) -> bool {
        match self.state {
            State::Within => !self.kept.is_empty(),
            State::Skipping => true,
            State::Given | State::Foreign => false,
        }
    }

    fn begin<'a, 'b: 'a>(
        &'a mut self,
        bytes: &mut &'b [u8],
    ) -> Option<Result<&'a [u8], BadCommand>> {
        match line(bytes, self.line_max) {
            Framed::Line { line, used } => {
                take(bytes, used);
                Some(Ok(match line {
                    Cow::Borrowed(line) => line,
                    Cow::Owned(line) => self.give(line),
                }))
            }
            Framed::Partial => {
                self.kept.extend_from_slice(bytes);
                *bytes = &[];
                None
            }
            Framed::TooLong { used, is_ended } => {
                take(bytes, used);
                Some(Err(self.skip(is_ended)))
            }
            Framed::Foreign(foreign) => Some(Err(self.end(foreign, bytes))),
        }
    }

    fn go_on<'a, 'b: 'a>(
        &'a mut self,
        bytes: &mut &'b [u8],
    ) -> Option<Result<&'a [u8], BadCommand>> {
        let room = self.line_max.saturating_add(1).saturating_sub(self.kept.len());
        let reach = &bytes[..bytes.len().min(room)];
        let end = line_end(reach);
        let taken = end.map_or(reach.len(), |end| end + 1);
        self.kept.extend_from_slice(&reach[..taken]);
        take(bytes, taken);
        if end.is_none() && taken < room {
            return None;
        }
        let framed = match line(&self.kept, self.line_max) {
            Framed::Line { line, .. } => Ok(line.into_owned()),
            // The buffer is full, so there is an end, or the line is too long.
            Framed::Partial | Framed::TooLong { .. } => Err(None),
            Framed::Foreign(foreign) => Err(Some(foreign)),
        };
        Some(match framed {
            Ok(line) => Ok(self.give(line)),
            Err(None) => Err(self.skip(false)),
            Err(Some(foreign)) => Err(self.end(foreign, bytes)),
        })
    }

    fn give(&mut self, line: Vec<u8>) -> &[u8] {
        self.kept = line;
        self.state = State::Given;
        &self.kept
    }

    fn skip(&mut self, is_ended: bool) -> BadCommand {
        self.kept = Vec::new();
        self.state = if is_ended { State::Within } else { State::Skipping };
        BadCommand::TooLong
    }

    fn end(&mut self, foreign: Foreign, bytes: &mut &[u8]) -> BadCommand {
        self.kept = Vec::new();
        self.state = State::Foreign;
        *bytes = &[];
        BadCommand::Foreign(foreign)
    }
}

fn take(bytes: &mut &[u8], count: usize) {
    *bytes = bytes.get(count..).unwrap_or_default();
}
/// What must hold for any bytes: split in any way, they are the same commands; no command holds a
/// line end; nothing is kept beyond the limit. The first byte chooses splits and limit.
#[doc(hidden)]
pub fn check(bytes: &[u8]) {
    let Some((&seed, input)) = bytes.split_first() else { return };
    let line_max = [16, 48, 512, 4_096][usize::from(seed >> 6)];
    let whole = commands(input, line_max, || usize::MAX);
    assert_eq!(commands(input, line_max, || 1), whole);
    let mut next = u32::from(seed) + 1;
    let cuts = || {
        next = next.wrapping_mul(1_103_515_245).wrapping_add(12_345);
        (next >> 16) as usize % 9 + 1
    };
    assert_eq!(commands(input, line_max, cuts), whole);
    let is_foreign = |said: &String| said.contains("Foreign");
    let foreign = whole.iter().position(is_foreign);
    assert!(foreign.is_none_or(|at| at == whole.len() - 1), "{whole:?}");
    let mut clean = [input, b"\n"].concat();
    clean.retain(|byte| !matches!(byte, b'\r' | 0 | TELNET_MIN..=IAC));
    let lines = clean.iter().filter(|byte| **byte == b'\n').count();
    assert!(whole.len() <= lines, "{whole:?}");
}

/// Returns the commands in the bytes, split into pieces of such lengths.
fn commands(input: &[u8], line_max: usize, mut cut: impl FnMut() -> usize) -> Vec<String> {
    let (mut lines, mut said) = (Lines::new(line_max), Vec::new());
    let mut rest = input;
    while !rest.is_empty() {
        let (mut piece, after) = rest.split_at(cut().min(rest.len()));
        rest = after;
        while let Some(line) = lines.next(&mut piece) {
            let line = line.inspect(|line| {
                assert!(line.len() <= line_max && !line.contains(&b'\n'));
            });
            said.push(match line.map(|line| (line.to_vec(), super::command::parse(line))) {
                Ok((line, command)) => format!("{line:?} {command:?}"),
                Err(bad) => format!("{bad:?}"),
            });
        }
        assert!(piece.is_empty() && lines.kept.len() <= line_max);
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE_MAX: usize = 32;

    /// Returns the lines, the same for every split.
    fn lines(input: &[u8]) -> Vec<Result<Vec<u8>, BadCommand>> {
        for seed in 0..=255 {
            check(&[&[seed], input].concat());
        }
        let (mut lines, mut bytes, mut taken) = (Lines::new(LINE_MAX), input, Vec::new());
        while let Some(line) = lines.next(&mut bytes) {
            taken.push(line.map(<[u8]>::to_vec));
        }
        taken
    }

    fn good(text: &[&[u8]]) -> Vec<Result<Vec<u8>, BadCommand>> {
        text.iter().map(|line| Ok(line.to_vec())).collect()
    }

    #[test]
    fn a_line_ends_with_crlf_or_with_lf_alone() {
        assert_eq!(
            lines(b"USER a\r\nPASS\n\r\nQUIT\r\r\n"),
            good(&[b"USER a", b"PASS", b"", b"QUIT"])
        );
        assert_eq!(lines(b"NOOP"), []);
        assert_eq!(lines(b"NOOP\r"), []);
        assert_eq!(lines(b"RETR a\rb\r\n"), good(&[b"RETR a\rb"]));
    }

    #[test]
    fn blanks_at_the_end_belong_to_the_line() {
        assert_eq!(lines(b"RETR a \r\n"), good(&[b"RETR a "]));
    }

    #[test]
    fn an_interrupted_client_is_heard_whatever_became_of_its_urgent_byte() {
        for telnet in [
            &b"\xff\xf4\xff\xf2"[..],
            b"\xff\xf4\xff",
            b"\xff\xf4\xf2",
            b"\xff\xf4",
            b"\xf2",
            b"\xff\xf4\xff\xf2\0",
            b"\xff\xfb\x01\xff\xfd\x06",
            b"",
        ] {
            let input = [telnet, b"ABOR\r\n", telnet, b"STAT\r\n"].concat();
            assert_eq!(lines(&input), good(&[b"ABOR", b"STAT"]), "{telnet:?}");
        }
    }

    #[test]
    fn a_byte_255_of_a_name_is_kept_doubled_or_not() {
        assert_eq!(lines(b"RETR a\xff\xffb\n"), good(&[b"RETR a\xffb"]));
        assert_eq!(lines(b"RETR a\xffb\n"), good(&[b"RETR a\xffb"]));
        assert_eq!(lines(b"RETR a\xff\n"), good(&[b"RETR a\xff"]));
        assert_eq!(lines(b"RETR \xf0\x9f\x93\x9e\n"), good(&["RETR \u{1f4de}".as_bytes()]));
    }

    #[test]
    fn no_command_of_telnet_hides_the_end_of_a_line() {
        for telnet in [&b"\xff"[..], b"\xff\xfd", b"\xff\xfe", b"\xff\xfa\x18", b"\xff\xff\xff"] {
            let input = [b"NOOP", telnet, b"\r\nQUIT\r\n"].concat();
            let taken = lines(&input);
            assert_eq!(taken.len(), 2, "{telnet:?}");
            assert_eq!(taken[1], Ok(b"QUIT".to_vec()));
        }
    }

    #[test]
    fn nuls_are_taken_out() {
        assert_eq!(lines(b"US\0ER a\0\r\0\n"), good(&[b"USER a\r"]));
        assert_eq!(lines(b"\0\0NOOP\0\r\n"), good(&[b"NOOP"]));
    }

    #[test]
    fn a_line_that_is_too_long_is_told_once_and_skipped_to_its_end() {
        let most = [b'x'; LINE_MAX];
        let input = [&most[..], b"\n", &most, b"y\nNOOP\r\n", &most, &most, &most].concat();
        let expected = [
            Ok(most.to_vec()),
            Err(BadCommand::TooLong),
            Ok(b"NOOP".to_vec()),
            Err(BadCommand::TooLong),
        ];
        assert_eq!(lines(&input), expected);
    }

    #[test]
    fn a_line_that_never_ends_takes_no_memory() {
        let mut lines = Lines::new(LINE_MAX);
        let mut told = 0;
        for _ in 0..100_000 {
            let mut piece = &b"x"[..];
            told += usize::from(lines.next(&mut piece).is_some());
            assert!(piece.is_empty() && lines.kept.capacity() <= 2 * LINE_MAX);
        }
        assert_eq!((told, lines.is_begun()), (1, true));
    }

    #[test]
    fn nothing_behind_the_first_line_of_http_is_a_command() {
        let http = |foreign| [Err(BadCommand::Foreign(foreign))];
        assert_eq!(lines(b"GET / HTTP/1.1\r\nHost: a\r\n\r\nUSER a\r\n"), http(Foreign::Http));
        assert_eq!(lines(b"post /\nUSER a\r\n"), http(Foreign::Http));
        let long = [b"POST /", &[b'a'; 500][..], b"\r\nUSER a\r\n"].concat();
        assert_eq!(lines(&long), http(Foreign::Http));
        assert_eq!(lines(b"GETS\r\n"), good(&[b"GETS"]));
    }

    #[test]
    fn a_hello_of_tls_is_known_by_its_first_byte() {
        let mut lines = Lines::new(LINE_MAX);
        let mut bytes = &b"\x16"[..];
        assert_eq!(lines.next(&mut bytes), Some(Err(BadCommand::Foreign(Foreign::Tls))));
        let mut bytes = &b"\x03\x01\nUSER a\r\n"[..];
        assert_eq!(lines.next(&mut bytes), None);
        assert!(bytes.is_empty() && !lines.is_begun());
    }

    #[test]
    fn half_a_password_is_not_shown_where_its_line_is() {
        let mut lines = Lines::new(LINE_MAX);
        assert_eq!(lines.next(&mut &b"PASS guess"[..]), None);
        assert_eq!(format!("{lines:?}"), "Lines(Within, 10 of 32 bytes)");
    }

    #[test]
    fn a_line_that_comes_whole_is_lent_and_not_copied() {
        let mut lines = Lines::new(LINE_MAX);
        let input = b"NOOP\r\nQU";
        let mut bytes = &input[..];
        let taken = lines.next(&mut bytes).map(|line| line.map(<[u8]>::as_ptr));
        assert_eq!(taken, Some(Ok(input.as_ptr())));
        assert!(!lines.is_begun());
        assert_eq!(lines.next(&mut bytes), None);
        assert!(lines.is_begun());
    }

    #[test]
    fn one_line_alone_is_framed_without_a_memory() {
        let framed = |bytes: &[u8]| line(bytes, 4) == Framed::Partial;
        assert!(framed(b"") && framed(b"NOOP") && !framed(b"NOOP\r") && !framed(b"NOP\n"));
        let too_long = |used, is_ended| Framed::TooLong { used, is_ended };
        assert_eq!(line(b"NOOP\r\nQUIT", 4), too_long(6, true));
        assert_eq!(line(b"NOOP1", 4), too_long(5, false));
        let noop = Framed::Line { line: Cow::Borrowed(b"NOOP"), used: 5 };
        assert_eq!(line(b"NOOP\nQUIT\n", 4), noop);
        assert_eq!(line(b"GET /\n", 4), Framed::Foreign(Foreign::Http));
    }
}
