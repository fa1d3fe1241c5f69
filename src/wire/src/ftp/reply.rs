//! Replies (RFC 959, 4.2): written for clients, and read for simulated phones.
//!
//! Writes into the caller's buffer. No text can end a line: CR, LF and NUL are left out, and a byte
//! 255 is doubled, because Telnet would take it for its own.

use super::IAC;
use super::listing::Facts;

/// A reply code (RFC 959, 4.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Code(pub u16);

macro_rules! codes {
    ($($name:ident $code:literal $text:literal,)*) => {
        impl Code {
            $(
                #[doc = concat!("`", $code, " ", $text, "`")]
                pub const $name: Code = Code($code);
            )*

            /// Returns the usual text of the code, empty for a code that is never sent.
            #[must_use]
            pub fn text(self) -> &'static str {
                match self.0 {
                    $($code => $text,)*
                    0..=u16::MAX => "",
                }
            }
        }
    };
}

codes! {
    DATA_CONNECTED 125 "The data connection is open; here it comes.",
    DATA_AWAITED 150 "Waiting for the data connection.",
    OK 200 "Done.",
    SUPERFLUOUS 202 "Not needed here.",
    STATUS 211 "Status follows.",
    DIRECTORY_STATUS 212 "The directory follows.",
    FILE_STATUS 213 "The file's status follows.",
    HELP 214 "Ask your administrator, or read the manual of Ringpost.",
    SYSTEM 215 "UNIX Type: L8",
    READY 220 "Ready.",
    GOODBYE 221 "Goodbye.",
    DATA_OPEN 225 "No transfer is running.",
    TRANSFER_DONE 226 "The transfer is complete.",
    LOGGED_IN 230 "Welcome.",
    TLS_BEGINS 234 "Begin TLS now.",
    FILE_ACTION_DONE 250 "Done.",
    PATH 257 "That is the directory.",
    PASSWORD_NEEDED 331 "The password, please.",
    MORE_NEEDED 350 "Go on.",
    CLOSING 421 "The service is closing this connection.",
    NO_DATA_CONNECTION 425 "The data connection cannot be opened.",
    TRANSFER_ABORTED 426 "The transfer was broken off.",
    BUSY 450 "The file cannot be used now; try again.",
    LOCAL_ERROR 451 "The server could not do it.",
    NO_SPACE 452 "There is no room left.",
    UNKNOWN_COMMAND 500 "This command is not known.",
    BAD_ARGUMENT 501 "The argument cannot be read.",
    NOT_SERVED 502 "This command is not served here.",
    WRONG_ORDER 503 "Another command must come first.",
    PARAMETER_NOT_SERVED 504 "The command is not served for this argument.",
    DATA_PROTECTION_NEEDED 521 "Data must be protected here; say PROT P first.",
    NETWORK_NOT_SERVED 522 "Use 1 for IPv4 or 2 for IPv6 (1,2).",
    NOT_LOGGED_IN 530 "Please log in.",
    CLEAR_DENIED 533 "Commands stay protected here.",
    POLICY_DENIED 534 "The policy of this server forbids it.",
    PROTECTION_NOT_SERVED 536 "Data travels in clear (C) or private (P).",
    UNAVAILABLE 550 "There is no such file, or it may not be used.",
    TOO_LARGE 552 "The file is larger than may be stored.",
    NAME_DENIED 553 "This name is not allowed.",
}

impl Code {
    /// Returns whether another reply to the same command will follow.
    #[must_use]
    pub fn is_preliminary(self) -> bool {
        (100..200).contains(&self.0)
    }

    /// Returns whether the command was refused, for now or for good.
    #[must_use]
    pub fn is_negative(self) -> bool {
        self.0 >= 400
    }
}

/// Writes a reply with its usual text.
pub fn usual(out: &mut Vec<u8>, code: Code) {
    line(out, code, code.text().as_bytes());
}

/// Writes a reply of one line.
pub fn line(out: &mut Vec<u8>, code: Code, text: &[u8]) {
    start(out, code, b' ');
    safe(out, text);
    out.extend_from_slice(b"\r\n");
}

/// Writes a reply of several lines: `211-first`, each line after a blank, so that none looks like
/// the last (RFC 959, 4.2), and `211 last`.
pub fn lines<'a>(
    out: &mut Vec<u8>,
    code: Code,
    first: &[u8],
    lines: impl IntoIterator<Item = &'a [u8]>,
    last: &[u8],
) {
    start(out, code, b'-');
    safe(out, first);
    for line in lines {
        out.extend_from_slice(b"\r\n ");
        safe(out, line);
    }
    out.extend_from_slice(b"\r\n");
    line(out, code, last);
}

/// Writes 257 with a quoted path, in which quotes are doubled (RFC 959, appendix II), and a text
/// after it.
pub fn path(out: &mut Vec<u8>, path: &[u8], words: &str) {
    start(out, Code::PATH, b' ');
    out.push(b'"');
    for (at, part) in path.split(|byte| *byte == b'"').enumerate() {
        out.extend_from_slice(if at > 0 { b"\"\"" } else { b"" });
        safe(out, part);
    }
    out.extend_from_slice(b"\" ");
    safe(out, words.as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// A feature that a server announces beyond RFC 959.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Feature {
    /// `AUTH TLS` (RFC 4217).
    AuthTls,
    /// `EPRT` (RFC 2428).
    Eprt,
    /// `EPSV` (RFC 2428).
    Epsv,
    /// `MDTM` (RFC 3659).
    Mdtm,
    /// `MFMT` (draft-somers-ftp-mfxx).
    Mfmt,
    /// `MLST`, with the facts that this session has chosen (RFC 3659, 7.8).
    Mlst(Facts),
    /// `PBSZ` (RFC 4217).
    Pbsz,
    /// `PROT` (RFC 4217).
    Prot,
    /// `REST STREAM` (RFC 3659).
    RestStream,
    /// `SIZE` (RFC 3659).
    Size,
    /// `TVFS` (RFC 3659, 6).
    Tvfs,
    /// `UTF8` (RFC 2640).
    Utf8,
}

/// Writes the reply to `FEAT`: one feature a line, or that there is none (RFC 2389, 3.2).
pub fn features(out: &mut Vec<u8>, features: &[Feature]) {
    if features.is_empty() {
        return line(out, Code::STATUS, b"No features.");
    }
    let mut text = Vec::new();
    let mut ends = Vec::with_capacity(features.len());
    for feature in features {
        match feature {
            Feature::AuthTls => text.extend_from_slice(b"AUTH TLS"),
            Feature::Eprt => text.extend_from_slice(b"EPRT"),
            Feature::Epsv => text.extend_from_slice(b"EPSV"),
            Feature::Mdtm => text.extend_from_slice(b"MDTM"),
            Feature::Mfmt => text.extend_from_slice(b"MFMT"),
            Feature::Mlst(facts) => {
                text.extend_from_slice(b"MLST ");
                facts.announce(&mut text);
            }
            Feature::Pbsz => text.extend_from_slice(b"PBSZ"),
            Feature::Prot => text.extend_from_slice(b"PROT"),
            Feature::RestStream => text.extend_from_slice(b"REST STREAM"),
            Feature::Size => text.extend_from_slice(b"SIZE"),
            Feature::Tvfs => text.extend_from_slice(b"TVFS"),
            Feature::Utf8 => text.extend_from_slice(b"UTF8"),
        }
        ends.push(text.len());
    }
    let starts = std::iter::once(0).chain(ends.iter().copied());
    let each = starts.zip(&ends).map(|(start, end)| &text[start..*end]);
    lines(out, Code::STATUS, b"Features:", each, b"End");
}

fn start(out: &mut Vec<u8>, code: Code, mark: u8) {
    // Codes have three digits; other numbers are cut to three.
    out.extend([code.0 / 100 % 10, code.0 / 10 % 10, code.0 % 10].map(|digit| b'0' + digit as u8));
    out.push(mark);
}

fn safe(out: &mut Vec<u8>, text: &[u8]) {
    for byte in text {
        match *byte {
            b'\r' | b'\n' | 0 => {}
            IAC => out.extend_from_slice(&[IAC, IAC]),
            plain => out.push(plain),
        }
    }
}

/// A reply, as a client reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reply<'a> {
    /// Its code.
    pub code: Code,
    /// The bytes between the first code and the last line end, with line ends and codes of the
    /// lines between as received.
    pub text: &'a [u8],
}

/// The bytes are no reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadReply;

/// Reads a reply and its length. Returns `None` if it is incomplete.
///
/// # Errors
/// [`BadReply`] if a line does not begin with a code.
pub fn parse(bytes: &[u8]) -> Result<Option<(Reply<'_>, usize)>, BadReply> {
    let mut used = 0;
    let mut opened = None;
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        let Some(text) = line.strip_suffix(b"\n") else { return Ok(None) };
        used += line.len();
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        let (code, mark) = match text {
            [a, b, c, mark, ..] => (code(&[*a, *b, *c]), Some(*mark)),
            [..] => (code(text), None),
        };
        let is_last = matches!(mark, None | Some(b' '));
        match (opened, code) {
            (None, Some(code)) if is_last => {
                return Ok(Some((Reply { code, text: text.get(4..).unwrap_or_default() }, used)));
            }
            (None, Some(code)) if mark == Some(b'-') => opened = Some(code),
            (None, Some(_) | None) => return Err(BadReply),
            (Some(first), Some(code)) if first == code && is_last => {
                let end = used - (line.len() - text.len());
                return Ok(Some((
                    Reply { code, text: bytes.get(4..end).unwrap_or_default() },
                    used,
                )));
            }
            (Some(_), Some(_) | None) => {}
        }
    }
    Ok(None)
}

fn code(digits: &[u8]) -> Option<Code> {
    match digits {
        [b'1'..=b'6', _, _] => Some(Code(u16::try_from(crate::decimal::decimal(digits)?).ok()?)),
        [..] => None,
    }
}
/// What must hold for any bytes: a reply is read the same whatever follows, and the bytes as texts,
/// line by line, make one reply with the intended end.
#[doc(hidden)]
pub fn check(bytes: &[u8]) {
    if let Ok(Some((reply, used))) = parse(bytes) {
        assert_eq!(parse(&bytes[..used]), Ok(Some((reply, used))));
        assert_eq!(parse(&bytes[..used - 1]), Ok(None));
    }
    let mut texts: Vec<&[u8]> = bytes.split(|byte| *byte == b';').collect();
    let last = texts.pop().unwrap_or_default();
    let mut out = Vec::new();
    lines(&mut out, Code::STATUS, bytes, texts.iter().copied(), last);
    is_one(&out, Code::STATUS, texts.len() + 2);
    out.clear();
    line(&mut out, Code::UNAVAILABLE, bytes);
    is_one(&out, Code::UNAVAILABLE, 1);
    out.clear();
    path(&mut out, bytes, "That is it.");
    is_one(&out, Code::PATH, 1);
    let quotes = out.iter().filter(|byte| **byte == b'"').count();
    assert_eq!(quotes, 2 + 2 * bytes.iter().filter(|byte| **byte == b'"').count());
}

fn is_one(written: &[u8], code: Code, line_count: usize) {
    let read = parse(written).map(|read| read.map(|(reply, used)| (reply.code, used)));
    assert_eq!(read, Ok(Some((code, written.len()))));
    assert_eq!(written.iter().filter(|byte| matches!(byte, b'\r' | b'\n')).count(), 2 * line_count);
    assert_eq!(written.windows(2).filter(|pair| pair == b"\r\n").count(), line_count);
    let marks = written.split(|byte| *byte != IAC);
    assert!(marks.into_iter().all(|run| run.len() % 2 == 0) && !written.contains(&0));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl Fn(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    fn read(text: &str) -> Result<Option<(u16, &str, usize)>, BadReply> {
        check(text.as_bytes());
        let reply = parse(text.as_bytes())?;
        let text = |text| std::str::from_utf8(text).unwrap();
        Ok(reply.map(|(reply, used)| (reply.code.0, text(reply.text), used)))
    }

    #[test]
    fn every_code_has_words_that_a_person_can_read() {
        let known = (0..=u16::MAX).map(Code).filter(|code| !code.text().is_empty());
        let known: Vec<Code> = known.collect();
        assert_eq!(known.len(), 39);
        for code in known {
            assert!(code.text().ends_with(['.', ')']) || code == Code::SYSTEM, "{code:?}");
            let line = written(|out| usual(out, code));
            assert_eq!(line, format!("{} {}\r\n", code.0, code.text()));
            check(line.as_bytes());
        }
        assert_eq!(Code(299).text(), "");
        assert!(Code::DATA_AWAITED.is_preliminary() && !Code::OK.is_preliminary());
        assert!(Code::CLOSING.is_negative() && !Code::MORE_NEEDED.is_negative());
    }

    #[test]
    fn a_line_between_is_never_taken_for_the_last() {
        let lines = written(|out| {
            lines(out, Code::STATUS, b"Begin", [&b"211 no end"[..], b"", b"b"], b"End");
        });
        assert_eq!(lines, "211-Begin\r\n 211 no end\r\n \r\n b\r\n211 End\r\n");
        let none = written(|out| super::lines(out, Code::STATUS, b"", [], b"End"));
        assert_eq!(none, "211-\r\n211 End\r\n");
    }

    #[test]
    fn no_text_ends_a_line_or_speaks_telnet() {
        let mut out = Vec::new();
        line(&mut out, Code::UNAVAILABLE, b"a\r\n230 b\0\xff\n");
        assert_eq!(out, b"550 a230 b\xff\xff\r\n");
    }

    #[test]
    fn quotes_of_a_path_are_doubled() {
        let path = |path: &str| written(|out| super::path(out, path.as_bytes(), "Here."));
        assert_eq!(path("/"), "257 \"/\" Here.\r\n");
        assert_eq!(path("/a \"b\""), "257 \"/a \"\"b\"\"\" Here.\r\n");
        assert_eq!(path("\"\n\""), "257 \"\"\"\"\"\" Here.\r\n");
    }

    #[test]
    fn features_are_announced_one_to_a_line_behind_a_blank() {
        let facts = Facts { perm: false, ..Facts::ALL };
        let all = [
            Feature::AuthTls,
            Feature::Eprt,
            Feature::Epsv,
            Feature::Mdtm,
            Feature::Mfmt,
            Feature::Mlst(facts),
            Feature::Pbsz,
            Feature::Prot,
            Feature::RestStream,
            Feature::Size,
            Feature::Tvfs,
            Feature::Utf8,
        ];
        let expected = "211-Features:\r\n AUTH TLS\r\n EPRT\r\n EPSV\r\n MDTM\r\n MFMT\r\n \
                        MLST type*;size*;modify*;perm;\r\n PBSZ\r\n PROT\r\n REST STREAM\r\n \
                        SIZE\r\n TVFS\r\n UTF8\r\n211 End\r\n";
        assert_eq!(written(|out| features(out, &all)), expected);
        assert_eq!(written(|out| features(out, &[])), "211 No features.\r\n");
    }

    #[test]
    fn a_client_reads_replies_of_one_line_and_of_several() {
        assert_eq!(read("220 Hello\r\nrest"), Ok(Some((220, "Hello", 11))));
        assert_eq!(read("220\r\n"), Ok(Some((220, "", 5))));
        assert_eq!(read("220 a\n"), Ok(Some((220, "a", 6))));
        let several = "211-a\r\n211-b\r\n212 c\r\nx\r\n211 d\r\n";
        assert_eq!(read(several), Ok(Some((211, "a\r\n211-b\r\n212 c\r\nx\r\n211 d", 31))));
        for end in 0..several.len() {
            assert_eq!(read(&several[..end]), Ok(None));
        }
    }

    #[test]
    fn what_begins_with_no_code_is_no_reply() {
        for text in
            ["\r\n", "22\r\n", "2200 a\r\n", "abc d\r\n", "000 a\r\n", "700 a\r\n", "+20 a\n"]
        {
            assert_eq!(read(text), Err(BadReply), "{text:?}");
        }
    }
}
