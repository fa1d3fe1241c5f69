//! Heads of requests (RFC 9112, 2 to 7), from bytes.
//!
//! Says where a head ends only when all readers would say the same. The search for that end is
//! cheap, and what is wrong is told as soon as the bytes prove it; fields are read once the head is
//! whole. Judges neither names nor conditions.

use super::fields::{Fields, is_host};
use super::is_token;
use super::response::Status;

/// Longest request line in bytes (RFC 9112, 3 asks for 8,000 at least).
pub const REQUEST_LINE_BYTES_MAX: usize = 8_000;
/// Most field lines that [`HeadLimits::lines_max`] can ask for.
pub const LINES_MAX: usize = 128;
/// Field lines for which there is room in the usual case.
const LINES_USUAL: usize = 16;
/// Longest method that is waited for, in bytes.
const METHOD_BYTES_MAX: usize = 32;

/// What a request asks for. Methods know no case but their own (RFC 9110, 9.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Method {
    /// A file.
    Get,
    /// The head of the answer to `Get`.
    Head,
    /// To keep the body.
    Put,
    /// To forget what was kept.
    Delete,
    /// What can be asked.
    Options,
    /// Known, and never served (405).
    Post,
    /// Any other (501).
    Unknown,
}

impl Method {
    fn parse(word: &[u8]) -> Method {
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

/// The versions that are spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Version {
    /// Closes after the answer unless asked not to; needs no `Host`.
    Http10,
    /// Stays open unless asked not to.
    Http11,
}

/// How long the body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Framing {
    /// There is none, and none was announced.
    None,
    /// So many bytes, perhaps 0.
    Length(u64),
    /// Chunks, which say it as they come.
    Chunked,
}

impl Framing {
    /// Whether bytes of a body follow the head.
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
/// Where a field that has one value stands twice: `Range`, `If-Range`, `If-Modified-Since` and
/// `If-Unmodified-Since` count as absent (RFC 9110, 13.1.3 and 13.1.4 ask for it), `If-Range` then
/// takes `Range` with it; a second `Authorization` makes the request malformed; of others the first
/// counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head<'a> {
    /// What is asked for.
    pub method: Method,
    /// The client's version.
    pub version: Version,
    /// Path and query, beginning with `/` or `\`; or `*`, with `OPTIONS` alone. A scheme and an
    /// authority in front are taken away. With [`Method::Unknown`] whatever stood there.
    pub target: &'a [u8],
    /// How long the body is.
    pub framing: Framing,
    /// Whether the client would use the connection again.
    pub keep_alive: bool,
    /// Whether it waits for a 100 before it sends its body. Never in HTTP/1.0 or without a body
    /// (RFC 9110, 10.1.1).
    pub expects_continue: bool,
    /// Whether it expects something else (417).
    pub unknown_expectation: bool,
    /// `Range`.
    pub range: Option<&'a [u8]>,
    /// `If-Range`.
    pub if_range: Option<&'a [u8]>,
    /// The first `If-Match`.
    pub if_match: Option<&'a [u8]>,
    /// The first `If-None-Match`.
    pub if_none_match: Option<&'a [u8]>,
    /// `If-Match` or `If-None-Match` stands in several lines. All but the first are left out, so
    /// that fewer tags match, and a `*` among them counts as no match.
    pub lists_repeated: bool,
    /// `If-Modified-Since`.
    pub if_modified_since: Option<&'a [u8]>,
    /// `If-Unmodified-Since`.
    pub if_unmodified_since: Option<&'a [u8]>,
    /// `Authorization`.
    pub authorization: Option<&'a [u8]>,
    /// `Content-Range`, which no PUT here may have.
    pub content_range: Option<&'a [u8]>,
    /// `User-Agent`, with whatever bytes the phone has put there.
    pub user_agent: Option<&'a [u8]>,
}

/// What a head may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadLimits {
    /// Bytes, the request line and the blank line included.
    pub bytes_max: usize,
    /// Field lines; at most [`LINES_MAX`] whatever stands here.
    pub lines_max: usize,
    /// Whether lines may end with LF alone where no body follows.
    pub lone_lf: bool,
}

/// Why a head is refused. The connection is closed after the answer: where the next request would
/// begin is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// The grammar is broken, or two readers might read it in two ways: this is how.
    BadRequest(&'static str),
    /// The request line is longer than [`REQUEST_LINE_BYTES_MAX`] or than the whole head may be.
    TargetTooLong,
    /// The head is longer than allowed.
    HeadTooLarge,
    /// The head has more lines than allowed.
    TooManyLines,
    /// The version is neither HTTP/1.0 nor HTTP/1.1.
    VersionUnknown,
    /// The body is coded in another way than `chunked` alone.
    TransferCodingUnknown,
    /// A TLS handshake begins, on a port that speaks plain HTTP.
    TlsHello,
}

impl Malformed {
    /// The answer.
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

    /// What is wrong, for the person who looks.
    #[must_use]
    pub fn sentence(self) -> &'static str {
        match self {
            Malformed::BadRequest(why) => why,
            Malformed::TargetTooLong => "the request line is too long",
            Malformed::HeadTooLarge => "the head is too large",
            Malformed::TooManyLines => "the head has too many lines",
            Malformed::VersionUnknown => "the version is neither HTTP/1.0 nor HTTP/1.1",
            Malformed::TransferCodingUnknown => "the body is coded in another way than chunked",
            Malformed::TlsHello => "this port speaks plain HTTP and a TLS handshake came",
        }
    }
}

/// Reads a head; nothing while it is not all here. The number is the bytes of the head, with the
/// one empty line that may stand in front of it (RFC 9112, 2.2); the body begins behind them.
///
/// # Errors
/// [`Malformed`], as soon as the bytes prove it.
pub fn parse<'a>(
    bytes: &'a [u8],
    limits: &HeadLimits,
) -> Result<Option<(Head<'a>, usize)>, Malformed> {
    // Not a byte beyond the limit is looked at, so that what follows never changes the judgement.
    let is_full = bytes.len() >= limits.bytes_max;
    let bytes = &bytes[..bytes.len().min(limits.bytes_max)];
    let blank = match bytes {
        [b'\r', b'\n', ..] => 2,
        [b'\n', ..] if limits.lone_lf => 1,
        [b'\r'] if !is_full => return Ok(None),
        [..] => 0,
    };
    let head = &bytes[blank..];
    let Some(line_end) = end_of_request_line(head, is_full)? else { return Ok(None) };
    let mut lines = Lines { bytes: head, at: line_end, lone_lf: limits.lone_lf, saw_lone: false };
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
    let parsed = fields.judge(start)?;
    if lines.saw_lone && parsed.framing.has_body() {
        return Err(bad("lines end with LF alone and a body follows"));
    }
    Ok(Some((parsed, blank + fields_end)))
}

/// Where the request line ends, its line end included; nothing while it may still become one.
fn end_of_request_line(head: &[u8], is_full: bool) -> Result<Option<usize>, Malformed> {
    if is_tls_hello(head) {
        return Err(Malformed::TlsHello);
    }
    let line = &head[..head.len().min(REQUEST_LINE_BYTES_MAX)];
    if let Some(at) = line_feed(line) {
        return Ok(Some(at + 1));
    }
    let may_be_hello = head.len() < 4 && matches!(head, [0x16] | [0x80..=0xff, ..]);
    let method = line.split(|byte| *byte == b' ').next().unwrap_or_default();
    if !(may_be_hello || line.is_empty() || is_method(method)) {
        return Err(NO_METHOD);
    }
    match is_full || line.len() == REQUEST_LINE_BYTES_MAX {
        true => Err(Malformed::TargetTooLong),
        false => Ok(None),
    }
}

const NO_METHOD: Malformed = Malformed::BadRequest("the request does not begin with a method");

/// Whether these bytes are a method, or the beginning of one.
fn is_method(word: &[u8]) -> bool {
    (1..=METHOD_BYTES_MAX).contains(&word.len()) && word.iter().all(|byte| is_token(*byte))
}

/// Whether a TLS handshake begins: a record of TLS or SSL 3, or the hello of SSL 2 in which old
/// phones offer them.
fn is_tls_hello(bytes: &[u8]) -> bool {
    matches!(bytes, [0x16, 3, ..] | [0x80..=0xff, _, 1, 3, ..])
}

/// The first LF. Whole strides are looked at at once: a slow client makes this run once per byte.
fn line_feed(bytes: &[u8]) -> Option<usize> {
    const STRIDE: usize = 64;
    // Without an early way out, so that the compiler compares many bytes at a time.
    let is_without =
        |stride: &&[u8]| !stride.iter().fold(false, |has, byte| has | (*byte == b'\n'));
    let start = bytes.chunks_exact(STRIDE).take_while(is_without).count() * STRIDE;
    let rest = &bytes[start..];
    rest.iter().position(|byte| *byte == b'\n').map(|at| start + at)
}

/// The lines of a head, and whether one of them ended with LF alone.
struct Lines<'a> {
    bytes: &'a [u8],
    at: usize,
    lone_lf: bool,
    saw_lone: bool,
}

impl<'a> Lines<'a> {
    /// The line from here to where this stands, without its line end.
    fn trimmed(&mut self, from: usize) -> Result<&'a [u8], Malformed> {
        let line = &self.bytes[from..self.at];
        match line {
            [line @ .., b'\r', b'\n'] => Ok(line),
            [line @ .., b'\n'] if self.lone_lf => {
                self.saw_lone = true;
                Ok(line)
            }
            [..] => Err(bad("a line ends with LF alone")),
        }
    }

    /// Goes behind the blank line: where that is, and how many lines stand before it.
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

/// Method, target and version.
pub(super) struct StartLine<'a> {
    pub(super) method: Method,
    pub(super) target: &'a [u8],
    pub(super) version: Version,
}

impl<'a> StartLine<'a> {
    /// Reads exactly `method SP target SP version` (RFC 9112, 3).
    fn parse(line: &'a [u8]) -> Result<StartLine<'a>, Malformed> {
        let mut words = line.split(|byte| *byte == b' ');
        let method = words.next().unwrap_or_default();
        if !is_method(method) {
            return Err(NO_METHOD);
        }
        let target = words.next().unwrap_or_default();
        if target.is_empty() || target.iter().any(|byte| matches!(byte, 0..=b' ' | 0x7f | b'#')) {
            return Err(bad("the request has no target"));
        }
        // A request of HTTP/0.9 has no version at all.
        let version = words.next().ok_or(Malformed::VersionUnknown)?;
        if words.next().is_some() {
            return Err(bad("the request line has too many blanks"));
        }
        let version = match version {
            b"HTTP/1.1" => Version::Http11,
            b"HTTP/1.0" => Version::Http10,
            // RFC 9110, 2.5 would have HTTP/1.2 read as 1.1; there is no HTTP/1.2.
            [b'H', b'T', b'T', b'P', b'/', b'0'..=b'9', rest @ ..]
                if rest.iter().all(|byte| byte.is_ascii_digit() || *byte == b'.') =>
            {
                return Err(Malformed::VersionUnknown);
            }
            [..] => return Err(bad("the request line has no version")),
        };
        let method = Method::parse(method);
        let target = match method {
            Method::Unknown => target,
            Method::Options if target == b"*" => target,
            Method::Get
            | Method::Head
            | Method::Put
            | Method::Delete
            | Method::Options
            | Method::Post => origin_form(target)?,
        };
        Ok(StartLine { method, target, version })
    }
}

/// Path and query of a target in origin or absolute form (RFC 9112, 3.2).
fn origin_form(target: &[u8]) -> Result<&[u8], Malformed> {
    if let [b'/' | b'\\', ..] = target {
        return Ok(target);
    }
    let behind = |scheme: &str| {
        let (start, rest) = target.split_at_checked(scheme.len())?;
        start.eq_ignore_ascii_case(scheme.as_bytes()).then_some(rest)
    };
    let no_form = bad("the target begins neither with a slash nor with http://");
    let rest = behind("http://").or_else(|| behind("https://")).ok_or(no_form)?;
    let authority = rest.iter().take_while(|byte| !b"/\\?".contains(byte)).count();
    let (authority, path) = rest.split_at(authority);
    // Two readers might see two hosts in `user@host` (RFC 9110, 4.2.4).
    if authority.is_empty() || !is_host(authority) {
        return Err(bad("the target's host is none"));
    }
    match path {
        [] | [b'?', ..] => Ok(b"/"),
        [..] => Ok(path),
    }
}

pub(super) fn bad(why: &'static str) -> Malformed {
    Malformed::BadRequest(why)
}
