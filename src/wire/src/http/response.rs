//! Responses: statuses, fields, dates and entity tags, written for clients; and heads, read for
//! simulated phones.
//!
//! Writes into the caller's buffer. Line ends in values are left out, so that a value never adds a
//! line.

use std::fmt;
use std::io::Write as _;
use std::time::{Duration, UNIX_EPOCH};

use super::list;
use crate::decimal::decimal;

/// The last second of the year 9999, since 1970: HTTP has no later dates.
pub const DATE_MAX_S: u64 = 253_402_300_799;
/// Fields of a response that are read.
const FIELDS_MAX: usize = 64;

/// A status code (RFC 9110, 15).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Status(pub u16);

macro_rules! statuses {
    ($($name:ident $code:literal $reason:literal,)*) => {
        impl Status {
            $(
                #[doc = concat!("`", $code, " ", $reason, "`")]
                pub const $name: Status = Status($code);
            )*

            /// Returns the reason phrase of the code, empty for a code that is never sent.
            #[must_use]
            pub fn reason(self) -> &'static str {
                match self.0 {
                    $($code => $reason,)*
                    0..=u16::MAX => "",
                }
            }
        }
    };
}

statuses! {
    CONTINUE 100 "Continue",
    OK 200 "OK",
    CREATED 201 "Created",
    NO_CONTENT 204 "No Content",
    PARTIAL_CONTENT 206 "Partial Content",
    MOVED_PERMANENTLY 301 "Moved Permanently",
    FOUND 302 "Found",
    NOT_MODIFIED 304 "Not Modified",
    TEMPORARY_REDIRECT 307 "Temporary Redirect",
    PERMANENT_REDIRECT 308 "Permanent Redirect",
    BAD_REQUEST 400 "Bad Request",
    UNAUTHORIZED 401 "Unauthorized",
    FORBIDDEN 403 "Forbidden",
    NOT_FOUND 404 "Not Found",
    METHOD_NOT_ALLOWED 405 "Method Not Allowed",
    REQUEST_TIMEOUT 408 "Request Timeout",
    CONFLICT 409 "Conflict",
    LENGTH_REQUIRED 411 "Length Required",
    PRECONDITION_FAILED 412 "Precondition Failed",
    CONTENT_TOO_LARGE 413 "Content Too Large",
    URI_TOO_LONG 414 "URI Too Long",
    UNSUPPORTED_MEDIA_TYPE 415 "Unsupported Media Type",
    RANGE_NOT_SATISFIABLE 416 "Range Not Satisfiable",
    EXPECTATION_FAILED 417 "Expectation Failed",
    MISDIRECTED_REQUEST 421 "Misdirected Request",
    TOO_MANY_REQUESTS 429 "Too Many Requests",
    REQUEST_HEADER_FIELDS_TOO_LARGE 431 "Request Header Fields Too Large",
    INTERNAL_SERVER_ERROR 500 "Internal Server Error",
    NOT_IMPLEMENTED 501 "Not Implemented",
    SERVICE_UNAVAILABLE 503 "Service Unavailable",
    HTTP_VERSION_NOT_SUPPORTED 505 "HTTP Version Not Supported",
    INSUFFICIENT_STORAGE 507 "Insufficient Storage",
}

const TEXT: &str = "text/plain";
const XML: &str = "text/xml";
const BYTES: &str = "application/octet-stream";

/// Media types by the end of a name. Firmware of all makes has none of these ends.
const CONTENT_TYPES: &[(&str, &str)] = &[
    ("txt", TEXT),
    ("scr", TEXT),
    ("cfg", TEXT),
    ("cnf", TEXT),
    ("conf", TEXT),
    ("ini", TEXT),
    ("log", TEXT),
    ("lst", TEXT),
    ("csv", "text/csv"),
    ("xml", XML),
    ("xsd", XML),
    ("htm", "text/html"),
    ("html", "text/html"),
    ("css", "text/css"),
    ("js", "text/javascript"),
    ("json", "application/json"),
    ("pem", "application/x-pem-file"),
    ("crt", "application/x-x509-ca-cert"),
    ("cer", "application/x-x509-ca-cert"),
    ("der", "application/x-x509-ca-cert"),
    ("png", "image/png"),
    ("jpg", "image/jpeg"),
    ("jpeg", "image/jpeg"),
    ("gif", "image/gif"),
    ("bmp", "image/bmp"),
    ("wav", "audio/wav"),
    ("mp3", "audio/mpeg"),
    ("bin", BYTES),
    ("img", BYTES),
];

/// Returns the media type of a file by its name, in any case. It names no charset, because that is
/// not known.
#[must_use]
pub fn content_type(name: &[u8]) -> &'static str {
    let is_of = |end: &str| {
        let split = name.len().checked_sub(end.len()).and_then(|at| name.split_at_checked(at));
        split.is_some_and(|(stem, tail)| {
            stem.ends_with(b".") && tail.eq_ignore_ascii_case(end.as_bytes())
        })
    };
    CONTENT_TYPES.iter().find(|(end, _)| is_of(end)).map_or(BYTES, |(_, kind)| kind)
}

/// The version of a file, for heads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Size in bytes.
    pub bytes: u64,
    /// Modification time, nanoseconds since 1970.
    pub modified_ns: i64,
    /// Identifies the version.
    pub tag: Tag,
}

/// The source of an entity tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tag {
    /// The hash of the bytes: the same on every server.
    Content([u8; 16]),
    /// This server's name for the version while its bytes have not been hashed.
    Provisional([u8; 16]),
}

impl Stamp {
    /// A version that a test or a simulation makes up.
    #[doc(hidden)]
    #[must_use]
    pub const fn made_up(bytes: u64, modified_ns: i64) -> Stamp {
        let number = (modified_ns.cast_unsigned() as u128) << 64 | bytes as u128;
        Stamp { bytes, modified_ns, tag: Tag::Provisional(number.to_be_bytes()) }
    }

    /// Returns the modification time in whole seconds since 1970; 0 for all earlier ones.
    #[must_use]
    pub fn modified_s(&self) -> u64 {
        u64::try_from(self.modified_ns.div_euclid(1_000_000_000)).unwrap_or(0)
    }
}

/// The strong validator of a version: different bytes have different tags (RFC 9110, 8.8.3). Equal
/// bytes have the same tag on every server, once they have been hashed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct EntityTag {
    bytes_used: u8,
    bytes: [u8; EntityTag::BYTES_MAX],
}

impl From<Stamp> for Tag {
    fn from(stamp: Stamp) -> Tag {
        stamp.tag
    }
}

impl EntityTag {
    /// A letter, 32 digits, and the quotes.
    pub const BYTES_MAX: usize = 1 + 32 + 2;

    /// Makes the tag of a version.
    #[must_use]
    pub fn of(version: impl Into<Tag>) -> EntityTag {
        let (kind, number) = match version.into() {
            Tag::Content(number) => ('c', number),
            Tag::Provisional(number) => ('v', number),
        };
        let mut bytes = [0; EntityTag::BYTES_MAX];
        let mut rest = &mut bytes[..];
        // It always fits.
        let _ = write!(rest, "\"{kind}{:032x}\"", u128::from_be_bytes(number));
        let left = rest.len();
        EntityTag { bytes_used: (EntityTag::BYTES_MAX - left) as u8, bytes }
    }

    /// Returns it as in `ETag`, with its quotes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.bytes_used)]
    }

    /// Returns the text between the quotes.
    #[must_use]
    pub fn opaque(&self) -> &[u8] {
        &self.bytes[1..usize::from(self.bytes_used) - 1]
    }
}

impl fmt::Debug for EntityTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.as_bytes().escape_ascii())
    }
}

/// A date in a head (RFC 9110, 5.6.7): `Sun, 06 Nov 1994 08:49:37 GMT`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct HttpDate([u8; 29]);

impl HttpDate {
    /// Returns the 29 bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Returns the date of a second since 1970; everything after the year 9999 is its last second.
#[must_use]
pub fn http_date(unix_s: u64) -> HttpDate {
    let at = UNIX_EPOCH + Duration::from_secs(unix_s.min(DATE_MAX_S));
    let mut date = [b' '; 29];
    // It always fits.
    let _ = write!(&mut date[..], "{}", httpdate::HttpDate::from(at));
    HttpDate(date)
}

/// Reads a date in any of the three forms (RFC 9110, 5.6.7), as a second since 1970.
///
/// Two digits of a year mean 1970 to 2069. By the RFC the year is at most 50 years from now, which
/// gives the same for all dates of files until 2050.
#[must_use]
pub fn parse_date(value: &[u8]) -> Option<u64> {
    let date = std::str::from_utf8(value).ok()?.parse::<httpdate::HttpDate>().ok()?;
    let since = std::time::SystemTime::from(date).duration_since(UNIX_EPOCH).ok()?;
    Some(since.as_secs())
}

/// A `Date` line, written again at most once a second.
#[derive(Clone, Debug)]
pub struct Dated {
    unix_s: u64,
    line: [u8; 37],
}

impl Default for Dated {
    fn default() -> Self {
        let mut dated = Dated { unix_s: 0, line: *b"Date:                              \r\n" };
        dated.write();
        dated
    }
}

impl Dated {
    /// Returns `Date: …\r\n` for a second since 1970.
    pub fn line(&mut self, unix_s: u64) -> &[u8] {
        if unix_s != self.unix_s {
            self.unix_s = unix_s;
            self.write();
        }
        &self.line
    }

    fn write(&mut self) {
        self.line[6..35].copy_from_slice(http_date(self.unix_s).as_bytes());
    }
}

/// Writes `HTTP/1.1 200 OK`, to clients of HTTP/1.0, too: a server sends its own version (RFC 9110,
/// 6.2).
pub fn status_line(out: &mut Vec<u8>, status: Status) {
    // A Vec accepts all bytes.
    let _ = write!(out, "HTTP/1.1 {:03} {}\r\n", status.0, status.reason());
}

/// Writes one field. Bytes that would end its line are left out of the value.
pub fn field(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend(value.iter().filter(|byte| !matches!(byte, b'\r' | b'\n' | 0)));
    out.extend_from_slice(b"\r\n");
}

/// Writes one field whose value is a number.
pub fn number(out: &mut Vec<u8>, name: &str, value: u64) {
    let _ = write!(out, "{name}: {value}\r\n");
}

/// Writes the `Content-Range` of a part: its first and last byte, and the size of the whole.
pub fn content_range(out: &mut Vec<u8>, first: u64, last: u64, size: u64) {
    let _ = write!(out, "Content-Range: bytes {first}-{last}/{size}\r\n");
}

/// Returns the head of a 200 with a whole file, from its status line up to but without `Date`,
/// `Connection` and the blank line: the part that is the same each time the version is sent.
#[must_use]
pub fn prepared(version: impl Into<Stamp>, name: &[u8]) -> Box<[u8]> {
    prepared_at(version, name, DATE_MAX_S)
}

/// The same at a moment: a modification time after it is replaced by that moment (RFC 9110,
/// 8.8.2.1).
#[must_use]
pub fn prepared_at(version: impl Into<Stamp>, name: &[u8], now_s: u64) -> Box<[u8]> {
    let stamp: Stamp = version.into();
    let mut out = Vec::with_capacity(224);
    status_line(&mut out, Status::OK);
    field(&mut out, "Content-Type", content_type(name).as_bytes());
    number(&mut out, "Content-Length", stamp.bytes);
    field(&mut out, "ETag", EntityTag::of(stamp).as_bytes());
    field(&mut out, "Last-Modified", http_date(stamp.modified_s().min(now_s)).as_bytes());
    field(&mut out, "Accept-Ranges", b"bytes");
    out.into_boxed_slice()
}

/// The head of a response, as a client reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResponseHead<'a> {
    /// The status code.
    pub status: Status,
    /// `Content-Length` in bytes.
    pub length: Option<u64>,
    /// Whether the body comes in chunks; then `length` is `None`.
    pub chunked: bool,
    /// Whether the connection can be used again.
    pub keep_alive: bool,
    /// `ETag`, with its quotes.
    pub etag: Option<&'a [u8]>,
    /// `Last-Modified`.
    pub last_modified: Option<&'a [u8]>,
    /// `Retry-After`.
    pub retry_after: Option<&'a [u8]>,
    /// `Content-Range`.
    pub content_range: Option<&'a [u8]>,
    /// `WWW-Authenticate`.
    pub challenge: Option<&'a [u8]>,
}

/// The bytes are no response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadResponse;

/// Reads the head of a response and its length. Returns `None` if it is incomplete.
///
/// # Errors
/// [`BadResponse`] if the syntax is broken or there are two lengths: both are the server's fault,
/// and the client must close.
pub fn parse_response(bytes: &[u8]) -> Result<Option<(ResponseHead<'_>, usize)>, BadResponse> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let mut response = httparse::Response::new(&mut fields);
    let used = match response.parse(bytes) {
        Ok(httparse::Status::Complete(used)) => used,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(_) => return Err(BadResponse),
    };
    let mut head = ResponseHead {
        status: Status(response.code.ok_or(BadResponse)?),
        length: None,
        chunked: false,
        keep_alive: response.version == Some(1),
        etag: None,
        last_modified: None,
        retry_after: None,
        content_range: None,
        challenge: None,
    };
    let mut closes = false;
    for field in &*response.headers {
        let is = |name: &str| field.name.eq_ignore_ascii_case(name);
        if is("Content-Length") {
            let length = decimal(field.value).ok_or(BadResponse)?;
            if head.length.replace(length).is_some() {
                return Err(BadResponse);
            }
        } else if is("Transfer-Encoding") {
            if head.chunked || !field.value.eq_ignore_ascii_case(b"chunked") {
                return Err(BadResponse);
            }
            head.chunked = true;
        } else if is("Connection") {
            for option in list(field.value) {
                head.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
                closes |= option.eq_ignore_ascii_case(b"close");
            }
        } else if is("ETag") {
            head.etag = Some(field.value)
        } else if is("Last-Modified") {
            head.last_modified = Some(field.value)
        } else if is("Retry-After") {
            head.retry_after = Some(field.value)
        } else if is("Content-Range") {
            head.content_range = Some(field.value)
        } else if is("WWW-Authenticate") {
            head.challenge = Some(field.value)
        }
    }
    head.keep_alive &= !closes;
    if head.chunked && head.length.is_some() {
        return Err(BadResponse);
    }
    Ok(Some((head, used)))
}

/// What must hold for any bytes: a head is read the same whatever follows.
#[doc(hidden)]
pub fn check(bytes: &[u8]) {
    let Ok(Some((head, used))) = parse_response(bytes) else { return };
    let longer = [bytes, b"\r\nX: y\r\n"].concat();
    assert_eq!(parse_response(&longer), Ok(Some((head, used))));
    assert_eq!(parse_response(&bytes[..used]), Ok(Some((head, used))));
    assert_eq!(parse_response(&bytes[..used - 1]), Ok(None));
    assert!(!head.chunked || head.length.is_none());
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAMP: Stamp = Stamp::made_up(4_497, 784_111_777_123_456_789);

    #[test]
    fn every_status_has_its_words() {
        let known = (100..600).map(Status).filter(|status| !status.reason().is_empty());
        assert_eq!(known.count(), 32);
        for status in [Status::CONTINUE, Status::NOT_FOUND, Status::INSUFFICIENT_STORAGE] {
            let mut line = Vec::new();
            status_line(&mut line, status);
            let text = format!("HTTP/1.1 {} {}\r\n", status.0, status.reason());
            assert_eq!(line, text.as_bytes());
        }
        assert_eq!(Status(299).reason(), "");
    }

    #[test]
    fn a_prepared_head_says_all_that_stays_the_same() {
        let head = prepared(STAMP, b"46xxsettings.TXT");
        let expected = "HTTP/1.1 200 OK\r\n\
                        Content-Type: text/plain\r\n\
                        Content-Length: 4497\r\n\
                        ETag: \"v0ae1b981c3a4d7150000000000001191\"\r\n\
                        Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n\
                        Accept-Ranges: bytes\r\n";
        assert_eq!(String::from_utf8(head.to_vec()).unwrap(), expected);
    }

    #[test]
    fn what_is_written_is_read() {
        let mut out = prepared(STAMP, b"a.bin").to_vec();
        content_range(&mut out, 5, 9, 4_497);
        number(&mut out, "Retry-After", 3);
        field(&mut out, "WWW-Authenticate", b"Basic realm=\"Ringpost\"");
        out.extend_from_slice(Dated::default().line(784_111_777));
        out.extend_from_slice(b"\r\nbody");
        let (head, used) = parse_response(&out).unwrap().unwrap();
        assert_eq!(&out[used..], b"body");
        assert_eq!((head.status, head.length, head.chunked), (Status::OK, Some(4_497), false));
        assert_eq!(head.etag, Some(EntityTag::of(STAMP).as_bytes()));
        assert_eq!(head.last_modified, Some(http_date(STAMP.modified_s()).as_bytes()));
        assert_eq!(head.content_range, Some(&b"bytes 5-9/4497"[..]));
        assert_eq!(head.retry_after, Some(&b"3"[..]));
        assert_eq!(head.challenge, Some(&b"Basic realm=\"Ringpost\""[..]));
        assert!(head.keep_alive);
        for end in 0..used {
            assert_eq!(parse_response(&out[..end]), Ok(None));
            check(&out[..end]);
        }
        check(&out);
    }

    #[test]
    fn a_client_sees_when_a_connection_ends() {
        let keeps = |text: &str| {
            check(text.as_bytes());
            parse_response(text.as_bytes()).unwrap().unwrap().0.keep_alive
        };
        assert!(keeps("HTTP/1.1 200 OK\r\n\r\n") && !keeps("HTTP/1.0 200 OK\r\n\r\n"));
        assert!(!keeps("HTTP/1.1 200 OK\r\nConnection: Close\r\n\r\n"));
        assert!(keeps("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n\r\n"));
        let both = "HTTP/1.1 200 OK\r\nConnection: close\r\nConnection: keep-alive\r\n\r\n";
        assert!(!keeps(both));
    }

    #[test]
    fn responses_with_two_lengths_are_bad() {
        for lines in [
            "Content-Length: 5\r\nContent-Length: 5\r\n",
            "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: gzip\r\n",
            "Content-Length: -1\r\n",
            "Content-Length : 1\r\n",
        ] {
            let text = format!("HTTP/1.1 200 OK\r\n{lines}\r\n");
            assert_eq!(parse_response(text.as_bytes()), Err(BadResponse), "{lines:?}");
        }
        assert_eq!(parse_response(b"SIP/2.0 200 OK\r\n\r\n"), Err(BadResponse));
        let chunked = parse_response(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        assert!(chunked.unwrap().unwrap().0.chunked);
    }

    #[test]
    fn a_value_ends_no_line() {
        let mut out = Vec::new();
        field(&mut out, "X", b"a\r\nSet-Cookie: b\0\nc");
        assert_eq!(out, b"X: aSet-Cookie: bc\r\n");
    }

    #[test]
    fn media_types_go_by_the_end_of_the_name() {
        for (name, kind) in [
            ("46xxsettings.txt", "text/plain"),
            ("46xxupgrade.SCR", "text/plain"),
            ("001122334455.cfg", "text/plain"),
            ("dir.txt/sep.cnf.xml", "text/xml"),
            ("avayactl.xsd", "text/xml"),
            ("snom370.htm", "text/html"),
            ("index.html", "text/html"),
            ("a.json", "application/json"),
            ("ca.pem", "application/x-pem-file"),
            ("ca.crt", "application/x-x509-ca-cert"),
            ("ha1xx.bin", "application/octet-stream"),
            ("440HD.img", "application/octet-stream"),
            ("sip.ld", "application/octet-stream"),
            ("SCCP45.9-4-2SR3-1S.loads", "application/octet-stream"),
            ("txt", "application/octet-stream"),
            ("atxt", "application/octet-stream"),
            ("a.", "application/octet-stream"),
            ("", "application/octet-stream"),
        ] {
            assert_eq!(content_type(name.as_bytes()), kind, "{name}");
        }
    }

    #[test]
    fn the_tag_changes_with_the_version_and_always_fits() {
        let tag = |bytes, modified_ns| EntityTag::of(Stamp::made_up(bytes, modified_ns));
        assert_eq!(tag(5, 0x10).as_bytes(), b"\"v00000000000000100000000000000005\"");
        assert_eq!(tag(5, 0x10).opaque(), b"v00000000000000100000000000000005");
        assert_ne!(tag(5, 0x10), tag(5, 0x11));
        assert_ne!(tag(5, 0x10), tag(6, 0x10));
        let (content, provisional) = (Tag::Content([0xff; 16]), Tag::Provisional([0xff; 16]));
        assert_eq!(EntityTag::of(content).as_bytes(), b"\"cffffffffffffffffffffffffffffffff\"");
        assert_ne!(EntityTag::of(content), EntityTag::of(provisional), "what is known is not said");
        assert_eq!(format!("{:?}", tag(0, 0)), format!("\\\"v{}\\\"", "0".repeat(32)));
    }

    #[test]
    fn dates_are_written_for_every_second_there_is() {
        let date = |unix_s| String::from_utf8(http_date(unix_s).as_bytes().to_vec()).unwrap();
        assert_eq!(date(0), "Thu, 01 Jan 1970 00:00:00 GMT");
        assert_eq!(date(951_782_399), "Mon, 28 Feb 2000 23:59:59 GMT");
        assert_eq!(date(DATE_MAX_S), "Fri, 31 Dec 9999 23:59:59 GMT");
        assert_eq!(date(u64::MAX), date(DATE_MAX_S));
        for unix_s in [0, 1, 784_111_777, 951_782_400, 4_102_444_800, DATE_MAX_S] {
            assert_eq!(parse_date(http_date(unix_s).as_bytes()), Some(unix_s));
        }
        assert_eq!(Stamp { modified_ns: -1, ..STAMP }.modified_s(), 0);
        assert_eq!(STAMP.modified_s(), 784_111_777);
    }

    #[test]
    fn the_date_line_is_that_of_its_second() {
        let mut dated = Dated::default();
        assert_eq!(dated.line(0), b"Date: Thu, 01 Jan 1970 00:00:00 GMT\r\n");
        assert_eq!(dated.line(784_111_777), b"Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n");
        assert_eq!(dated.line(784_111_777), b"Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n");
        // A clock that was set back is followed.
        assert_eq!(dated.line(784_111_776), b"Date: Sun, 06 Nov 1994 08:49:36 GMT\r\n");
    }
}
