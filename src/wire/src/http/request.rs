//! Heads of requests (RFC 9112, 2 to 7), from bytes.
//!
//! Finds the end of a head only if all readers would agree on it. The search for that end is cheap,
//! and an error is returned as soon as the bytes prove it; fields are read once the head is
//! complete. Checks neither names nor conditions.

use super::fields::Fields;
use super::is_token;
use super::response::Status;
use super::start_line::StartLine;

/// Longest request line in bytes (RFC 9112, 3 requires 8,000 at least).
pub const REQUEST_LINE_BYTES_MAX: usize = 8_000;
/// Most field lines that [`HeadLimits::lines_max`] can allow.
pub const LINES_MAX: usize = 128;
/// Field lines that fit the usual case.
const LINES_USUAL: usize = 16;
/// Most empty lines before a head, which some clients send after a body.
pub const BLANK_LINES_MAX: usize = 4;
/// Longest method in bytes.
const METHOD_BYTES_MAX: usize = 32;
/// The method of a request. Methods are case-sensitive (RFC 9110, 9.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Method {
    /// Read a file.
    Get,
    /// Read the head of the response to `Get`.
    Head,
    /// Store the body.
    Put,
    /// Delete what was stored.
    Delete,
    /// Ask for the allowed methods.
    Options,
    /// Known, and supported only where a row says so (405).
    Post,
    /// Any other (501).
    Unknown,
}

impl Method {
    pub(super) fn parse(word: &[u8]) -> Method {
        match word {
            b"GET" => Method::Get,
            b"HEAD" => Method::Head,
            b"PUT" => Method::Put,
            b"DELETE" => Method::Delete,
            b"OPTIONS" => Method::Options,
            b"POST" => Method::Post,
            [..] => Method::Unknown,
        }
    }
}

/// The supported versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Version {
    /// Closes after the response unless asked not to; needs no `Host`.
    Http10,
    /// Stays open unless asked not to.
    Http11,
}

/// The scheme of a target in absolute form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// `http:`.
    Http,
    /// `https:`.
    Https,
}

/// How long the body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Framing {
    /// There is no body, and none was announced.
    None,
    /// So many bytes, perhaps 0.
    Length(u64),
    /// Chunks, each with its length.
    Chunked,
}

impl Framing {
    /// Returns whether bytes of a body follow the head.
    #[must_use]
    pub fn has_body(self) -> bool {
        match self {
            Framing::None | Framing::Length(0) => false,
            Framing::Length(_) | Framing::Chunked => true,
        }
    }
}

/// A request without its body.
///
/// If a field that has one value appears twice: `Range`, `If-Range`, `If-Modified-Since` and
/// `If-Unmodified-Since` count as absent (RFC 9110, 13.1.3 and 13.1.4 require it), and without
/// `If-Range` so does `Range`; a second `Authorization` makes the request malformed; of others the
/// first counts, but for lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head<'a> {
    /// The method.
    pub method: Method,
    /// The client's version.
    pub version: Version,
    /// Path and query, beginning with `/` or `\`; or `*`, only with `OPTIONS`. A leading scheme and
    /// authority are removed. With [`Method::Unknown`], the target as received.
    pub target: &'a [u8],
    /// The scheme before the target, if there was one.
    pub scheme: Option<Scheme>,
    /// How long the body is.
    pub framing: Framing,
    /// Whether the client wants to use the connection again.
    pub keep_alive: bool,
    /// Whether it waits for a 100 before it sends its body. Never in HTTP/1.0 or without a body
    /// (RFC 9110, 10.1.1).
    pub expects_continue: bool,
    /// Whether it expects anything else (417).
    pub unknown_expectation: bool,
    /// `Range`.
    pub range: Option<&'a [u8]>,
    /// `If-Range`.
    pub if_range: Option<&'a [u8]>,
    /// The first `If-Match`.
    pub if_match: Option<&'a [u8]>,
    /// The first `If-None-Match`.
    pub if_none_match: Option<&'a [u8]>,
    /// All field lines, if `If-Match` or `If-None-Match` appears in several, which make one list
    /// (RFC 9110, 5.3). Empty otherwise.
    pub repeated_lists: &'a [u8],
    /// `If-Modified-Since`.
    pub if_modified_since: Option<&'a [u8]>,
    /// `If-Unmodified-Since`.
    pub if_unmodified_since: Option<&'a [u8]>,
    /// `Authorization`.
    pub authorization: Option<&'a [u8]>,
    /// `Content-Range`, which no PUT here may have.
    pub content_range: Option<&'a [u8]>,
    /// `Content-Type`.
    pub content_type: Option<&'a [u8]>,
    /// Whether `Content-Encoding` says that the body is encoded, usually compressed.
    pub is_coded: bool,
    /// `User-Agent`, with any bytes that the phone sent.
    pub user_agent: Option<&'a [u8]>,
}

/// The limits of a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadLimits {
    /// Bytes, the request line and the blank line included.
    pub bytes_max: usize,
    /// Field lines; never more than [`LINES_MAX`].
    pub lines_max: usize,
    /// Whether lines may end with LF alone if no body follows.
    pub lone_lf: bool,
    /// Whether HTTP/1.1 may omit `Host`, which RFC 9112, 3.2 requires.
    pub lenient: bool,
}

/// Why a head is refused. The connection is closed after the response, because the start of the
/// next request is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// The syntax is broken, or two readers might read it in two ways: this is how.
    BadRequest(&'static str),
    /// The request line is longer than [`REQUEST_LINE_BYTES_MAX`] or than the whole head may be.
    TargetTooLong,
    /// The head is longer than allowed.
    HeadTooLarge,
    /// The head has more lines than allowed.
    TooManyLines,
    /// The version is not one of HTTP/1.
    VersionUnknown,
    /// The body has another coding below its chunks (RFC 9112, 6.1).
    TransferCodingUnknown,
    /// A TLS handshake begins, on a port that speaks plain HTTP.
    TlsHello,
}

impl Malformed {
    /// Returns the status of the response.
    #[must_use]
    pub fn status(self) -> Status {
        match self {
            Malformed::BadRequest(_) | Malformed::TlsHello => Status::BAD_REQUEST,
            Malformed::TargetTooLong => Status::URI_TOO_LONG,
            Malformed::HeadTooLarge | Malformed::TooManyLines => {
                Status::REQUEST_HEADER_FIELDS_TOO_LARGE
            }
            Malformed::VersionUnknown => Status::HTTP_VERSION_NOT_SUPPORTED,
            Malformed::TransferCodingUnknown => Status::NOT_IMPLEMENTED,
        }
    }

    /// Returns what is wrong, for a human reader.
    #[must_use]
    pub fn sentence(self) -> &'static str {
        match self {
            Malformed::BadRequest(why) => why,
            Malformed::TargetTooLong => "the request line is too long",
            Malformed::HeadTooLarge => "the head is too large",
            Malformed::TooManyLines => "the head has too many lines",
            Malformed::VersionUnknown => "the version is not one of HTTP/1",
            Malformed::TransferCodingUnknown => {
                "the body is coded in another way than in chunks alone"
            }
            Malformed::TlsHello => "this port speaks plain HTTP and a TLS handshake came",
        }
    }
}

/// Reads a head and its length, including at most [`BLANK_LINES_MAX`] empty lines before it (RFC
/// 9112, 2.2). The body begins after it. Returns `None` if the head is incomplete.
///
/// # Errors
/// [`Malformed`], as soon as the bytes prove it.
pub fn parse<'a>(
    bytes: &'a [u8],
    limits: &HeadLimits,
) -> Result<Option<(Head<'a>, usize)>, Malformed> {
    read_head(bytes, limits, |fields, start, block| {
        let head = fields.combine(start, block, limits.lenient)?;
        Ok((head.framing, head))
    })
}

/// Returns how long the body after a head is that [`parse`] refuses, if the fault leaves that
/// certain: the server may read that much on, so that the client reads the reason.
#[must_use]
pub fn framing_of_refused(bytes: &[u8], limits: &HeadLimits) -> Option<Framing> {
    let read = read_head(bytes, limits, |fields, start, _| {
        let framing = fields.framing(start.version)?;
        Ok((framing, framing))
    });
    read.ok()?.map(|(framing, _)| framing)
}

/// Reads a head, and has `combine` combine request line and fields.
fn read_head<'a, T>(
    bytes: &'a [u8],
    limits: &HeadLimits,
    combine: impl FnOnce(&Fields<'a>, StartLine<'a>, &'a [u8]) -> Result<(Framing, T), Malformed>,
) -> Result<Option<(T, usize)>, Malformed> {
    // No byte beyond the limit is examined, so that later bytes never change the result.
    let is_full = bytes.len() >= limits.bytes_max;
    let bytes = &bytes[..bytes.len().min(limits.bytes_max)];
    let (blank, is_cut, saw_lone) = blank_lines(bytes, limits.lone_lf);
    let head = &bytes[blank..];
    if is_cut && !is_full {
        return Ok(None);
    }
    let Some(line_end) = end_of_request_line(head, is_full)? else { return Ok(None) };
    let lone_lf = limits.lone_lf;
    let mut lines = Lines { bytes: head, at: line_end, lone_lf, saw_lone };
    let line = lines.trimmed(0)?;
    let start = StartLine::parse(line)?;
    let lines_max = limits.lines_max.min(LINES_MAX);
    let Some((fields_end, count)) = lines.fields(lines_max)? else {
        return if is_full { Err(Malformed::HeadTooLarge) } else { Ok(None) };
    };
    let block = &head[line_end..fields_end];
    let mut fields = Fields::default();
    if count <= LINES_USUAL {
        fields.read::<LINES_USUAL>(block)?;
    } else {
        fields.read::<LINES_MAX>(block)?;
    }
    let (framing, parsed) = combine(&fields, start, block)?;
    if lines.saw_lone && framing.has_body() {
        return Err(bad("lines end with LF alone and a body follows"));
    }
    Ok(Some((parsed, blank + fields_end)))
}

/// Returns the bytes of the empty lines before a head, whether one of them may be incomplete, and
/// whether one ends with LF alone.
fn blank_lines(bytes: &[u8], lone_lf: bool) -> (usize, bool, bool) {
    let (mut at, mut saw_lone) = (0, false);
    for _ in 0..BLANK_LINES_MAX {
        match &bytes[at..] {
            [b'\r', b'\n', ..] => at += 2,
            [b'\n', ..] if lone_lf => (at, saw_lone) = (at + 1, true),
            [b'\r'] => return (at, true, saw_lone),
            [..] => break,
        }
    }
    (at, false, saw_lone)
}

/// Returns whether the bytes begin with a HEAD request, valid or not: the response to that has no
/// body (RFC 9110, 9.3.2).
#[must_use]
pub fn asks_for_head(bytes: &[u8]) -> bool {
    let (blank, _, _) = blank_lines(bytes, true);
    bytes[blank..].starts_with(b"HEAD ")
}

/// Returns the end of the request line, its line end included, or `None` if it is incomplete.
fn end_of_request_line(head: &[u8], is_full: bool) -> Result<Option<usize>, Malformed> {
    if is_tls_hello(head) {
        return Err(Malformed::TlsHello);
    }
    let may_be_hello = head.len() < 4 && matches!(head, [0x16] | [0x80..=0xff, ..]);
    if may_be_hello && !is_full {
        return Ok(None);
    }
    let line = &head[..head.len().min(REQUEST_LINE_BYTES_MAX)];
    let end = line_feed(line);
    let line = &line[..end.unwrap_or(line.len())];
    let method = line.split(|byte| *byte == b' ').next().unwrap_or_default();
    if !(is_method(method) || line.is_empty() && end.is_none()) {
        return Err(NO_METHOD);
    }
    match end {
        Some(at) => Ok(Some(at + 1)),
        None if is_full || line.len() == REQUEST_LINE_BYTES_MAX => Err(Malformed::TargetTooLong),
        None => Ok(None),
    }
}

const NO_METHOD: Malformed = Malformed::BadRequest("the request does not begin with a method");

/// Returns whether these bytes are a method, or the beginning of one.
fn is_method(word: &[u8]) -> bool {
    (1..=METHOD_BYTES_MAX).contains(&word.len()) && word.iter().all(|byte| is_token(*byte))
}

/// Returns whether a TLS handshake begins: a record of TLS or SSL 3, or the hello of SSL 2 in which
/// old phones offer them.
fn is_tls_hello(bytes: &[u8]) -> bool {
    matches!(bytes, [0x16, 3, ..] | [0x80..=0xff, _, 1, 3, ..])
}

/// Returns the first LF. Many bytes are compared at a time, because a slow client makes this run
/// once per byte.
fn line_feed(bytes: &[u8]) -> Option<usize> {
    const STRIDE: usize = 64;
    let is_without = |stride: &&[u8]| !stride.iter().fold(false, |has, b| has | (*b == b'\n'));
    let mut at = bytes.chunks_exact(STRIDE).take_while(is_without).count() * STRIDE;
    while let Some((eight, _)) = bytes[at..].split_first_chunk() {
        // A byte that is LF becomes zero, and the lowest zero is the lowest high bit that is left:
        // the borrow runs upwards only.
        let zeroed = u64::from_le_bytes(*eight) ^ 0x0a0a_0a0a_0a0a_0a0a;
        let marks = zeroed.wrapping_sub(0x0101_0101_0101_0101) & !zeroed & 0x8080_8080_8080_8080;
        if marks != 0 {
            return Some(at + marks.trailing_zeros() as usize / 8);
        }
        at += eight.len();
    }
    bytes[at..].iter().position(|byte| *byte == b'\n').map(|behind| at + behind)
}

/// The lines of a head, and whether one of them ended with LF alone.
struct Lines<'a> {
    bytes: &'a [u8],
    at: usize,
    lone_lf: bool,
    saw_lone: bool,
}

impl<'a> Lines<'a> {
    /// Returns the line from `from` to the current position, without its line end.
    fn trimmed(&mut self, from: usize) -> Result<&'a [u8], Malformed> {
        let line = &self.bytes[from..self.at];
        match line {
            [line @ .., b'\r', b'\n'] => Ok(line),
            [line @ .., b'\n'] if self.lone_lf => {
                self.saw_lone = true;
                Ok(line)
            }
            [..] => Err(bad("a line ends with LF alone, which `lone_lf` allows")),
        }
    }

    /// Goes to the end of the blank line. Returns that position, and how many lines precede it.
    fn fields(&mut self, lines_max: usize) -> Result<Option<(usize, usize)>, Malformed> {
        let mut count = 0;
        loop {
            let from = self.at;
            let Some(length) = line_feed(&self.bytes[from..]) else { return Ok(None) };
            self.at = from + length + 1;
            if self.trimmed(from)?.is_empty() {
                return Ok(Some((self.at, count)));
            }
            count += 1;
            if count > lines_max {
                return Err(Malformed::TooManyLines);
            }
        }
    }
}

pub(super) fn bad(why: &'static str) -> Malformed {
    Malformed::BadRequest(why)
}

/// What must hold for any bytes: no split and no following byte changes a result once it is
/// returned, and an accepted head has one reading and is the same after writing it. The first byte
/// chooses the limits.
#[doc(hidden)]
pub fn check(bytes: &[u8]) {
    let Some((&choice, bytes)) = bytes.split_first() else { return };
    let limits = HeadLimits {
        bytes_max: if choice & 2 == 0 { 16_384 } else { 1_024 },
        lines_max: if choice & 4 == 0 { 64 } else { 8 },
        lone_lf: choice & 1 == 1,
        lenient: choice & 8 != 0,
    };
    let mut result = Ok(None);
    let step = bytes.len() / 256 + 1;
    for end in (0..=bytes.len()).step_by(step).chain([bytes.len()]) {
        let now = parse(&bytes[..end], &limits);
        match result {
            Ok(None) => result = now,
            Ok(Some(_)) => assert_eq!(now, result),
            Err(_) => assert!(now.is_err(), "{result:?} is taken back"),
        }
    }
    let Ok(Some((head, used))) = result else { return };
    assert_eq!(parse(&bytes[..used], &limits), result);
    assert_ne!(parse(&bytes[..used - 1], &limits), result);
    check_one_reading(&bytes[..used], &limits, &head);
    let roomy =
        HeadLimits { bytes_max: usize::MAX, lines_max: LINES_MAX, lone_lf: false, lenient: false };
    let written = write(&head);
    let same = Head { repeated_lists: b"", scheme: None, is_coded: false, ..head };
    assert_eq!(parse(&written, &roomy), Ok(Some((same, written.len()))));
    assert_eq!(asks_for_head(&bytes[..used]), head.method == Method::Head);
    super::target::check(head.target);
    super::auth::check(head.authorization.unwrap_or_default());
    super::authorization::check(head.authorization.unwrap_or_default());
}

/// Checks that the most lenient and the strictest reader see the same.
fn check_one_reading(bytes: &[u8], limits: &HeadLimits, head: &Head<'_>) {
    assert!(bytes.len() <= limits.bytes_max && !bytes.contains(&0));
    let is_strict = !limits.lone_lf || head.framing.has_body();
    for (at, byte) in bytes.iter().enumerate() {
        let is_alone = *byte == b'\n' && (at == 0 || bytes[at - 1] != b'\r');
        assert!(!(is_alone && is_strict), "a bare LF");
        assert!(*byte != b'\r' || bytes.get(at + 1) == Some(&b'\n'), "a bare CR");
    }
    let lines = bytes.trim_ascii_start().split(|byte| *byte == b'\n').skip(1);
    let lines: Vec<Vec<u8>> = lines.map(<[u8]>::to_ascii_lowercase).collect();
    assert!(lines.len() <= limits.lines_max + 2);
    let count = |name: &str| lines.iter().filter(|line| line.starts_with(name.as_bytes())).count();
    assert!(!lines.iter().any(|line| line.starts_with(b" ") || line.starts_with(b"\t")));
    assert!(count("host:") <= 1 && count("host ") + count("content-length ") == 0);
    match (count("content-length:"), count("transfer-encoding:")) {
        (0, 0) => assert_eq!(head.framing, Framing::None),
        (1, 0) => assert!(matches!(head.framing, Framing::Length(_))),
        (0, 1) => assert_eq!((head.framing, head.version), (Framing::Chunked, Version::Http11)),
        counted => assert!(counted.0 + counted.1 < 2, "{head:?} has several lengths"),
    }
}

/// Writes a head as a client would.
fn write(head: &Head<'_>) -> Vec<u8> {
    let (method, is_old) = (head.method, head.version == Version::Http10);
    let method = match method {
        Method::Unknown => "X".to_owned(),
        Method::Get
        | Method::Head
        | Method::Put
        | Method::Delete
        | Method::Options
        | Method::Post => format!("{method:?}").to_uppercase(),
    };
    let mut out = [method.as_bytes(), b" ", head.target].concat();
    out.extend_from_slice(if is_old { b" HTTP/1.0\r\n" } else { b" HTTP/1.1\r\nHost: a\r\n" });
    let mut field = |name: &str, value: Option<&[u8]>| {
        if let Some(value) = value {
            out.extend_from_slice(&[name.as_bytes(), b": ", value, b"\r\n"].concat());
        }
    };
    match head.framing {
        Framing::None => {}
        Framing::Length(bytes) => field("content-LENGTH", Some(bytes.to_string().as_bytes())),
        Framing::Chunked => field("transfer-ENCODING", Some(b"Chunked")),
    }
    let connection = if head.keep_alive { "Keep-Alive" } else { "Close" };
    field("CONNECTION", Some(connection.as_bytes()));
    field("expect", head.expects_continue.then_some(b"100-Continue"));
    field("expect", head.unknown_expectation.then_some(b"miracles"));
    field("range", head.range);
    field("if-range", head.if_range);
    field("if-match", head.if_match);
    field("if-none-match", head.if_none_match);
    field("if-modified-since", head.if_modified_since);
    field("if-unmodified-since", head.if_unmodified_since);
    field("authorization", head.authorization);
    field("content-range", head.content_range);
    field("content-type", head.content_type);
    field("user-agent", head.user_agent);
    out.extend_from_slice(b"\r\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: HeadLimits =
        HeadLimits { bytes_max: 16_384, lines_max: 64, lone_lf: false, lenient: false };
    const LONE: HeadLimits = HeadLimits { lone_lf: true, ..LIMITS };

    fn read(text: &str) -> Head<'_> {
        let (head, used) = parsed(text.as_bytes(), &LIMITS).unwrap().unwrap();
        assert_eq!(used, text.len());
        head
    }

    fn parsed<'a>(
        bytes: &'a [u8],
        limits: &HeadLimits,
    ) -> Result<Option<(Head<'a>, usize)>, Malformed> {
        for choice in 0..16 {
            check(&[&[choice], bytes].concat());
        }
        parse(bytes, limits)
    }

    fn refused(text: &str) -> Malformed {
        parsed(text.as_bytes(), &LIMITS).unwrap_err()
    }

    /// Returns whether lines of a POST are refused with 400.
    fn is_bad(lines: &str) -> bool {
        refused(&format!("POST / HTTP/1.1\r\nHost: a\r\n{lines}\r\n")).status().0 == 400
    }

    #[test]
    fn a_plain_request_is_read() {
        let head = read("GET /46xxsettings.txt?x HTTP/1.1\r\nHost: 10.1.2.3:81\r\n\r\n");
        assert_eq!(head.method, Method::Get);
        assert_eq!(head.version, Version::Http11);
        assert_eq!(head.target, b"/46xxsettings.txt?x");
        assert_eq!(head.framing, Framing::None);
        assert!(head.keep_alive && !head.expects_continue && !head.unknown_expectation);
    }

    #[test]
    fn every_field_is_found_in_any_case() {
        let head = read(
            "PUT /a HTTP/1.1\r\nhOST: a\r\nRANGE: bytes=0-1\r\nif-range: \"r\"\r\nIF-MATCH: *\r\n\
             if-None-match: \"n\"\r\nIf-Modified-Since: m\r\nIf-Unmodified-Since:\tu \r\n\
             Authorization:Basic x\r\nContent-Range: c\r\nContent-Type: t\r\nUser-Agent: p\r\n\
             X-Other: y\r\nContent-Length: 18446744073709551615\r\nExpect: 100-Continue\r\n\r\n",
        );
        assert_eq!(head.range, Some(&b"bytes=0-1"[..]));
        assert_eq!(head.if_range, Some(&b"\"r\""[..]));
        assert_eq!(head.if_match, Some(&b"*"[..]));
        assert_eq!(head.if_none_match, Some(&b"\"n\""[..]));
        assert_eq!(head.if_modified_since, Some(&b"m"[..]));
        assert_eq!(head.if_unmodified_since, Some(&b"u"[..]));
        assert_eq!(head.authorization, Some(&b"Basic x"[..]));
        assert_eq!(head.content_range, Some(&b"c"[..]));
        assert_eq!(head.content_type, Some(&b"t"[..]));
        assert_eq!(head.user_agent, Some(&b"p"[..]));
        assert_eq!(head.framing, Framing::Length(u64::MAX));
        assert!(head.expects_continue && head.repeated_lists.is_empty());
    }

    #[test]
    fn methods_know_no_case_but_their_own() {
        let method = |word: &str| read(&format!("{word} /a HTTP/1.0\r\n\r\n")).method;
        assert_eq!(method("HEAD"), Method::Head);
        assert_eq!(method("DELETE"), Method::Delete);
        assert_eq!(method("POST"), Method::Post);
        for word in ["get", "Get", "GETT", "TRACE", "CONNECT", "PROPFIND", "M-SEARCH", "!"] {
            assert_eq!(method(word), Method::Unknown, "{word}");
        }
        assert_eq!(read("CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n").method, Method::Unknown);
    }

    #[test]
    fn what_is_no_method_is_refused_at_its_first_bytes() {
        for text in
            ["\0", "G\x01", "GET\t/", "(", "\r", "\rG", " ", "\x7f", "{\"a\"", "<x>", "SSH:"]
        {
            let result = parsed(text.as_bytes(), &LIMITS);
            let waits = text == "\r";
            assert_eq!(result.is_err(), !waits, "{text:?}");
        }
        let long = "A".repeat(METHOD_BYTES_MAX + 1);
        assert!(matches!(refused(&long), Malformed::BadRequest(_)));
        assert!(matches!(refused(&format!("{long} / HTTP/1.0\r\n\r\n")), Malformed::BadRequest(_)));
        assert!(matches!(refused(" GET / HTTP/1.0\r\n\r\n"), Malformed::BadRequest(_)));
    }

    #[test]
    fn targets_in_origin_and_absolute_form_come_to_the_same() {
        let target = |target: &str| {
            let text = format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
            String::from_utf8(read(&text).target.to_vec()).unwrap()
        };
        assert_eq!(target("/a?b"), "/a?b");
        assert_eq!(target("\\a\\b"), "\\a\\b");
        assert_eq!(target("//a"), "//a");
        assert_eq!(target("http://10.1.2.3:80/a?b"), "/a?b");
        assert_eq!(target("HTTPS://[::1]:411/a"), "/a");
        assert_eq!(target("http://host\\a"), "\\a");
        assert_eq!(target("http://host"), "/");
        assert_eq!(target("http://host?q"), "/");
        assert_eq!(target("/\"<>{}|^`~[]'"), "/\"<>{}|^`~[]'");
        let latin = b"GET /r\xc4ume HTTP/1.0\r\n\r\n";
        assert_eq!(parsed(latin, &LIMITS).unwrap().unwrap().0.target, b"/r\xc4ume");
    }

    #[test]
    fn targets_in_no_form_are_refused() {
        for target in [
            "a",
            "*",
            "a/b",
            "http:/a",
            "http://",
            "http:///a",
            "http://:80/a",
            "http://u:p@host/a",
            "http://a:b/a",
            "http://[::1/a",
            "http://]/a",
            "http://a:80:80/a",
            "http://1.2.3.4:80x/a",
            "http://a%zz/a",
            "ftp://host/a",
            "/a#b",
            "#",
            "?a",
            "http://a b/",
            "/a\tb",
            "/a\x01",
            "/a\x7f",
            "/a\0",
            "host:80",
        ] {
            let malformed = refused(&format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n"));
            assert_eq!(malformed.status(), Status::BAD_REQUEST, "{target:?}");
        }
        assert_eq!(read("OPTIONS * HTTP/1.0\r\n\r\n").target, b"*");
    }

    #[test]
    fn the_request_line_has_exactly_two_blanks() {
        for line in [
            "GET  / HTTP/1.1",
            "GET /  HTTP/1.1",
            "GET / HTTP/1.1 ",
            "GET / a HTTP/1.1",
            "GET /\tHTTP/1.1",
            "GET\t/ HTTP/1.1",
            "GET",
            "GET ",
            "hello",
            "GET / http/1.1",
            "GET / HTTP1.1",
            "GET / HTTP/",
            "GET / HTTP/1.1\x01",
            "GET / XHTTP/1.1",
        ] {
            let malformed = refused(&format!("{line}\r\nHost: a\r\n\r\n"));
            assert!(matches!(malformed, Malformed::BadRequest(_)), "{line:?} is {malformed:?}");
        }
    }

    #[test]
    fn other_versions_are_told_as_soon_as_the_line_is_here() {
        for line in ["PRI * HTTP/2.0", "GET / HTTP/2.0", "GET / HTTP/0.9", "GET / HTTP/9.9"] {
            let malformed = refused(&format!("{line}\r\n"));
            assert_eq!(malformed, Malformed::VersionUnknown, "{line}");
            assert_eq!(malformed.status().0, 505);
        }
        assert_eq!(refused("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), Malformed::VersionUnknown);
        for line in ["GET /", "GET / HTTP/2", "GET / HTTP/1.10", "GET / HTTP/11", "GET / HTTP/01.1"]
        {
            assert_eq!(refused(&format!("{line}\r\n")).status().0, 400, "{line}");
        }
    }

    #[test]
    fn a_later_minor_version_is_read_as_1_1() {
        for version in ["1.2", "1.9"] {
            let text = format!("GET / HTTP/{version}\r\nHost: a\r\n\r\n");
            let head = read(&text);
            assert_eq!((head.version, head.keep_alive), (Version::Http11, true));
            assert_eq!(refused(&format!("GET / HTTP/{version}\r\n\r\n")).status().0, 400);
        }
    }

    #[test]
    fn a_request_of_1_1_without_a_host_is_taken_where_asked() {
        let lenient = HeadLimits { lenient: true, ..LIMITS };
        let text = b"GET / HTTP/1.1\r\n\r\n";
        assert!(parsed(text, &LIMITS).is_err() && parsed(text, &lenient).unwrap().is_some());
        for hosts in ["Host: a\r\nHost: a\r\n", "Host: a b\r\n", "Host: a:b\r\n"] {
            let text = format!("GET / HTTP/1.1\r\n{hosts}\r\n");
            assert!(parsed(text.as_bytes(), &lenient).is_err(), "{hosts:?}");
        }
    }

    #[test]
    fn version_1_1_needs_one_host_and_1_0_none() {
        assert!(matches!(refused("GET / HTTP/1.1\r\n\r\n"), Malformed::BadRequest(_)));
        read("GET / HTTP/1.0\r\n\r\n");
        read("GET / HTTP/1.1\r\nHost:\r\n\r\n");
        for version in ["1.0", "1.1"] {
            for host in [
                "a\r\nHost: a",
                "a\r\nhost:",
                "a b",
                "a, b",
                "a/b",
                "u@a",
                "\u{e4}",
                "a:b",
                "[::1",
                "]",
                "a:80:80",
                "1.2.3.4:80x",
                "a%zz",
            ] {
                let text = format!("GET / HTTP/{version}\r\nHost: {host}\r\n\r\n");
                assert!(matches!(refused(&text), Malformed::BadRequest(_)), "{host:?}");
            }
        }
    }

    #[test]
    fn connections_stay_as_their_version_and_the_client_say() {
        let keeps = |version: &str, lines: &str| {
            read(&format!("GET / HTTP/{version}\r\nHost: a\r\n{lines}\r\n")).keep_alive
        };
        assert!(keeps("1.1", "") && !keeps("1.0", ""));
        assert!(keeps("1.0", "Connection: Keep-Alive\r\n"));
        assert!(keeps("1.0", "Connection: TE, keep-alive\r\n"));
        assert!(!keeps("1.1", "Connection: Close\r\n"));
        assert!(!keeps("1.1", "Connection: close\r\nConnection: keep-alive\r\n"));
        assert!(!keeps("1.0", "Connection: keep-alive, close\r\n"));
        assert!(keeps("1.1", "Connection: closed\r\n"));
    }

    #[test]
    fn smuggled_lengths_are_refused() {
        for lines in [
            "Content-Length: 5\r\nContent-Length: 6\r\n",
            "Content-Length: 5\r\nContent-Length: 5\r\n",
            "Content-Length: 5\r\ncontent-length: 5\r\n",
            "Content-Length: 5, 5\r\n",
            "Content-Length: +5\r\n",
            "Content-Length: -1\r\n",
            "Content-Length: 0x5\r\n",
            "Content-Length: 5 5\r\n",
            "Content-Length: 5;\r\n",
            "Content-Length: 5\u{b2}\r\n",
            "Content-Length:\r\n",
            "Content-Length: 18446744073709551616\r\n",
            "Content-Length : 5\r\n",
            "Content-Length\t: 5\r\n",
            " Content-Length: 5\r\n",
            "X: y\r\n Content-Length: 5\r\n",
            "X: y\r\n\tfolded\r\n",
            "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
            "Transfer-Encoding: identity\r\nContent-Length: 5\r\n",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
            "Transfer-Encoding : chunked\r\n",
            "Transfer-Encoding: \x0bchunked\r\n",
            "Transfer-Encoding: chun\rked\r\n",
            "X: y\rTransfer-Encoding: chunked\r\n",
            "X: y\nTransfer-Encoding: chunked\r\n",
            "X: y\r\r\nContent-Length: 5\r\n",
            "X: y\0\r\n",
            "\0: y\r\n",
            ": y\r\n",
            "X y\r\n",
            "X\r\n",
            "Content-Length: 5\nX: y\r\n",
        ] {
            assert!(is_bad(lines), "{lines:?}");
        }
        let old = "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n";
        assert!(matches!(refused(old), Malformed::BadRequest(_)));
    }

    #[test]
    fn where_only_the_host_is_wrong_it_is_known_how_long_the_body_is() {
        let framing = |text: &str| {
            refused(text);
            framing_of_refused(text.as_bytes(), &LIMITS)
        };
        let length = "PUT /a HTTP/1.1\r\nHost: a\r\nHost: b\r\nContent-Length: 5\r\n\r\n";
        assert_eq!(framing(length), Some(Framing::Length(5)));
        let none = "PUT /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
        assert_eq!(framing(none), Some(Framing::Chunked));
        let odd = "PUT /a HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n";
        assert_eq!(framing(odd), None);
        assert_eq!(framing("PUT /a HTTP/1.1\nHost: a\nHost: b\nContent-Length: 5\n\n"), None);
    }

    #[test]
    fn only_chunked_alone_is_a_transfer_coding() {
        let text =
            |coding| format!("PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: {coding}\r\n\r\n");
        // Elements of a list may be empty (RFC 9110, 5.6.1.2).
        for coding in ["Chunked", "chunked,", ",chunked", ", , chunked ,"] {
            assert_eq!(read(&text(coding)).framing, Framing::Chunked, "{coding:?}");
        }
        for coding in ["gzip, chunked", "gzip,Chunked", "identity, deflate , chunked"] {
            assert_eq!(refused(&text(coding)), Malformed::TransferCodingUnknown, "{coding:?}");
        }
        assert_eq!(Malformed::TransferCodingUnknown.status().0, 501);
        for coding in [
            "gzip",
            "chunked, gzip",
            "chunked, chunked",
            "chunked, gzip, chunked",
            "identity",
            "xchunked",
            "chunked;a=b",
            ",",
            "",
            "\"chunked\"",
            "chunked\u{a0}",
            "ch unked",
        ] {
            assert_eq!(refused(&text(coding)).status().0, 400, "{coding:?}");
        }
    }

    #[test]
    fn what_follows_a_head_is_the_bodys_or_the_next_requests() {
        let text =
            b"PUT /a HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n\r\nabcGET / HTTP/1.1\r\n";
        let (head, used) = parsed(text, &LIMITS).unwrap().unwrap();
        assert_eq!(head.framing, Framing::Length(5));
        assert!(text[used..].starts_with(b"\r\nabc"));
    }

    #[test]
    fn empty_lines_in_front_are_skipped_and_counted() {
        for lines in 0..=BLANK_LINES_MAX {
            let text = format!("{}GET / HTTP/1.0\r\n\r\n", "\r\n".repeat(lines));
            assert_eq!(read(&text).method, Method::Get);
        }
        for start in ["\r", "\r\n", "", "\r\n\r", "\r\n\r\n"] {
            assert_eq!(parsed(start.as_bytes(), &LIMITS), Ok(None));
        }
        for start in ["\n", "\r\n\n", "\r\r", "\r\n\r\r"] {
            assert!(parsed(start.as_bytes(), &LIMITS).is_err(), "{start:?}");
        }
        let many = "\r\n".repeat(BLANK_LINES_MAX + 1);
        assert!(parsed(many.as_bytes(), &LIMITS).is_err());
    }

    #[test]
    fn a_request_for_a_head_alone_is_known_whatever_else_is_wrong_with_it() {
        for bytes in ["HEAD / HTTP/1.1\r\n\r\n", "\r\n\r\nHEAD /", "HEAD  ", "\nHEAD \0"] {
            assert!(asks_for_head(bytes.as_bytes()), "{bytes:?}");
        }
        for bytes in ["", "HEAD", "HEADER / HTTP/1.1", "GET /HEAD ", "head / HTTP/1.1"] {
            assert!(!asks_for_head(bytes.as_bytes()), "{bytes:?}");
        }
    }

    #[test]
    fn lone_line_feeds_are_taken_where_asked_and_never_with_a_body() {
        let lone = |text: &str| parsed(text.as_bytes(), &LONE).map(|head| head.unwrap().0.method);
        for text in [
            "GET / HTTP/1.0\n\n",
            "GET / HTTP/1.0\r\n\n",
            "GET / HTTP/1.0\n\r\n",
            "GET / HTTP/1.1\nHost: a\n\n",
            "\nGET / HTTP/1.1\nHost: a\r\nX: y\n\r\n",
            "GET / HTTP/1.0\nContent-Length: 0\n\n",
        ] {
            assert_eq!(lone(text), Ok(Method::Get), "{text:?}");
            assert!(parsed(text.as_bytes(), &LIMITS).is_err(), "{text:?}");
        }
        for text in [
            "PUT / HTTP/1.0\nContent-Length: 1\n\n",
            "\nPUT / HTTP/1.0\r\nContent-Length: 1\r\n\r\n",
            "PUT / HTTP/1.0\r\nContent-Length: 1\r\n\n",
            "PUT / HTTP/1.0\nContent-Length: 1\r\n\r\n",
            "PUT / HTTP/1.1\r\nHost: a\nTransfer-Encoding: chunked\r\n\r\n",
            "GET / HTTP/1.0\rX: y\n\n",
            "GET / HTTP/1.0\n\rX: y\n\n",
            "\n\n\n\n\nGET / HTTP/1.0\n\n",
        ] {
            assert!(parsed(text.as_bytes(), &LONE).is_err(), "{text:?}");
        }
        let strict = "PUT / HTTP/1.0\r\nContent-Length: 1\r\n\r\n";
        assert_eq!(lone(strict), Ok(Method::Put));
    }

    #[test]
    fn odd_bytes_are_taken_in_a_user_agent_and_nowhere_else() {
        let odd =
            b"GET / HTTP/1.0\r\nX: \xe4\r\nuser-agent: AVAYA/SIP12x0\x17/04\x7f\xff \x1b\r\n\r\n";
        let (head, _) = parsed(odd, &LIMITS).unwrap().unwrap();
        assert_eq!(head.user_agent, Some(&b"AVAYA/SIP12x0\x17/04\x7f\xff \x1b"[..]));
        let both = "GET / HTTP/1.0\r\nUser-Agent: \x01\r\nRange: bytes=0-0\r\n\r\n";
        assert_eq!(read(both).range, Some(&b"bytes=0-0"[..]));
        for lines in [
            "User-Agent: a\0b\r\n",
            "User-Agent: a\rb\r\n",
            "User-Agent: a\nb\r\n",
            "User-Agent : \x17\r\n",
            "User-Agent: \x17\r\nX: \x17\r\n",
            "X-User-Agent: \x17\r\n",
            "X: User-Agent:\x17\r\n",
            "User-Agent\x17: a\r\n",
            "User-Agent: \x17\r\n folded\r\n",
            "Range: \x17\r\n",
        ] {
            assert!(is_bad(lines), "{lines:?}");
        }
        let smuggled = "User-Agent: \x17\r\nContent-Length: 1\r\nContent-Length: 2\r\n";
        assert!(is_bad(smuggled));
    }

    #[test]
    fn what_stands_twice_never_counts_in_the_unsafe_direction() {
        let twice = |lines: &str| read(format!("GET /a HTTP/1.0\r\n{lines}\r\n").leak());
        assert_eq!(twice("Range: bytes=0-1\r\nRange: bytes=5-6\r\n").range, None);
        let head = twice("Range: bytes=0-1\r\nIf-Range: \"a\"\r\nIf-Range: \"b\"\r\n");
        assert_eq!((head.range, head.if_range), (None, None));
        let head = twice("If-Modified-Since: a\r\nIf-Modified-Since: a\r\n");
        assert_eq!(head.if_modified_since, None);
        let head = twice("If-Unmodified-Since: a\r\nIf-Unmodified-Since: b\r\n");
        assert_eq!(head.if_unmodified_since, None);
        let head = twice("If-Match: \"a\"\r\nIf-Match: *\r\n");
        assert_eq!(head.if_match, Some(&b"\"a\""[..]));
        assert_eq!(head.repeated_lists, b"If-Match: \"a\"\r\nIf-Match: *\r\n\r\n");
        let head = twice("If-None-Match: \"a\"\r\nIf-None-Match: \"b\"\r\n");
        assert_eq!(
            (head.if_none_match, head.repeated_lists.is_empty()),
            (Some(&b"\"a\""[..]), false)
        );
        assert_eq!(twice("User-Agent: a\r\nUser-Agent: b\r\n").user_agent, Some(&b"a"[..]));
        assert!(is_bad("Authorization: Basic a\r\nAuthorization: Basic a\r\n"));
    }

    #[test]
    fn expectations_are_read_where_a_body_follows_in_1_1() {
        let expects = |lines: &str, version: &str| {
            let text = format!("PUT /a HTTP/{version}\r\nHost: a\r\n{lines}\r\n");
            let head = read(&text);
            (head.expects_continue, head.unknown_expectation)
        };
        let body = "Content-Length: 5\r\nExpect: 100-CONTINUE\r\n";
        assert_eq!(expects(body, "1.1"), (true, false));
        let chunked = "Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n";
        assert_eq!(expects(chunked, "1.1"), (true, false));
        assert_eq!(expects(body, "1.0"), (false, false));
        assert_eq!(expects("Expect: 100-continue\r\n", "1.1"), (false, false));
        assert_eq!(expects("Content-Length: 0\r\nExpect: 100-continue\r\n", "1.1"), (false, false));
        assert_eq!(expects("Expect: 200-ok\r\n", "1.1"), (false, true));
        assert_eq!(expects("Expect: 100-continue=1\r\n", "1.1"), (false, true));
        assert_eq!(expects(&format!("{body}Expect: x\r\n"), "1.1"), (true, true));
    }

    #[test]
    fn a_handshake_on_a_plain_port_is_told_by_its_first_bytes() {
        for hello in [&b"\x16\x03\x01\x02\0\x01"[..], b"\x16\x03", b"\x80\x2e\x01\x03\x01"] {
            assert_eq!(parsed(hello, &LIMITS), Err(Malformed::TlsHello));
        }
        assert_eq!(parsed(b"\x16", &LIMITS), Ok(None));
        assert_eq!(parsed(b"\x80\x2e\x01", &LIMITS), Ok(None));
        assert_eq!(parsed(b"\x80\x2e\x01\x02", &LIMITS), Err(NO_METHOD));
        assert_eq!(Malformed::TlsHello.status(), Status::BAD_REQUEST);
    }

    #[test]
    fn what_is_too_long_is_told_before_its_end() {
        let line = "GET /".to_owned() + &"a".repeat(REQUEST_LINE_BYTES_MAX);
        assert_eq!(refused(&line), Malformed::TargetTooLong);
        let line = |bytes: usize| format!("GET /{} HTTP/1.0\r\n\r\n", "a".repeat(bytes - 16));
        assert_eq!(read(&line(REQUEST_LINE_BYTES_MAX)).method, Method::Get);
        assert_eq!(refused(&line(REQUEST_LINE_BYTES_MAX + 1)), Malformed::TargetTooLong);
        let small = HeadLimits { bytes_max: 1_024, ..LIMITS };
        let short = "GET /".to_owned() + &"a".repeat(1_019);
        assert_eq!(parse(short.as_bytes(), &small), Err(Malformed::TargetTooLong));
        let field = "GET / HTTP/1.0\r\nX: ".to_owned() + &"a".repeat(16_384);
        assert_eq!(refused(&field), Malformed::HeadTooLarge);
        assert_eq!(Malformed::HeadTooLarge.status().0, 431);
        assert_eq!(Malformed::TargetTooLong.status().0, 414);
        let head =
            |bytes: usize| format!("GET / HTTP/1.0\r\nX: {}\r\n\r\n", "a".repeat(bytes - 23));
        assert_eq!(read(&head(16_384)).method, Method::Get);
        assert_eq!(refused(&head(16_385)), Malformed::HeadTooLarge);
    }

    #[test]
    fn too_many_lines_are_told_before_their_end() {
        let head = |lines: usize| format!("GET / HTTP/1.0\r\n{}\r\n", "X: y\r\n".repeat(lines));
        for lines in [0, 15, 16, 17, 64] {
            assert_eq!(read(&head(lines)).method, Method::Get);
        }
        assert_eq!(refused(&head(65)), Malformed::TooManyLines);
        let unfinished = "GET / HTTP/1.0\r\n".to_owned() + &"X: y\r\n".repeat(65);
        assert_eq!(refused(&unfinished), Malformed::TooManyLines);
        let most = HeadLimits { lines_max: usize::MAX, ..LIMITS };
        assert!(parse(head(LINES_MAX).as_bytes(), &most).unwrap().is_some());
        assert_eq!(parse(head(LINES_MAX + 1).as_bytes(), &most), Err(Malformed::TooManyLines));
    }

    #[test]
    fn every_cut_of_a_good_head_wants_more() {
        let text = b"\r\nPUT /a%20b HTTP/1.1\r\nHost: [::1]:81\r\nUser-Agent: a\x17\r\n\
                     Content-Length: 3\r\nExpect: 100-continue\r\n\r\n";
        for end in 0..text.len() {
            assert_eq!(parsed(&text[..end], &LIMITS), Ok(None), "{end}");
        }
        assert!(parsed(text, &LIMITS).unwrap().is_some());
    }

    #[test]
    fn line_feeds_are_found_at_every_place() {
        for bytes in [0, 1, 63, 64, 65, 128, 200] {
            let mut line = vec![b'a'; bytes];
            assert_eq!(line_feed(&line), None);
            for at in (0..bytes).rev() {
                // Bytes after it do not hide it, nor do bytes that differ in one bit.
                line[at] = b'\n';
                assert_eq!(line_feed(&line), Some(at));
                line[at] = if at % 2 == 0 { b'\n' } else { 0x0b };
                line[..at].fill([0x0b, 0x8a, 0x00, 0xff][at % 4]);
            }
        }
    }
}
