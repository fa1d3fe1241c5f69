//! A phone's parser of replies, by the letter of the RFC.
//!
//! Shares no code with the server, because a shared mistake would never be found.

use std::collections::BTreeMap;

/// One reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::session::http) struct Reply {
    pub(in crate::session::http) status: u16,
    /// By their names in lower case.
    pub(in crate::session::http) fields: BTreeMap<String, String>,
    pub(in crate::session::http) body: Vec<u8>,
    /// Whether all of the body came.
    pub(in crate::session::http) is_whole: bool,
}

impl Reply {
    /// Returns a field's value, empty if there is none.
    pub(in crate::session::http) fn field(&self, name: &str) -> &str {
        self.fields.get(name).map_or("", String::as_str)
    }

    /// Returns whether nothing may follow on the connection.
    pub(in crate::session::http) fn is_last(&self) -> bool {
        self.field("connection") == "close"
    }

    /// Returns the value of `Content-Length`.
    pub(in crate::session::http) fn length(&self) -> usize {
        self.field("content-length").parse().unwrap_or(0)
    }
}

/// Reads consecutive replies; `is_head` says whether the final reply with a number answers HEAD.
/// Returns the unread rest: the head of an incomplete reply.
///
/// # Panics
/// If the bytes are no well-formed replies.
pub(in crate::session::http) fn read(
    mut bytes: &[u8],
    is_head: impl Fn(usize, u16) -> bool,
) -> (Vec<Reply>, &[u8]) {
    let mut replies = Vec::new();
    let mut finals = 0;
    while let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
        let (head, rest) = bytes.split_at(end + 4);
        let mut reply = read_head(head);
        let is_final = reply.status >= 200;
        let length = match reply.status {
            100..200 | 204 | 304 => 0,
            status if is_head(finals, status) => 0,
            200..=u16::MAX => reply.length(),
            0..100 => panic!("no status: {}", reply.status),
        };
        let taken = length.min(rest.len());
        reply.is_whole = taken == length;
        reply.body = rest[..taken].to_vec();
        check(&reply);
        finals += usize::from(is_final);
        bytes = &rest[taken..];
        let (is_last, is_whole) = (reply.is_last(), reply.is_whole);
        replies.push(reply);
        assert!(!is_last || bytes.is_empty(), "more behind the last reply");
        if !is_whole {
            break;
        }
    }
    (replies, bytes)
}

/// Reads a status line and fields (RFC 9112, 4 and 5).
fn read_head(head: &[u8]) -> Reply {
    let text = std::str::from_utf8(head).unwrap_or_else(|_| panic!("{}", head.escape_ascii()));
    let mut lines = text.split("\r\n");
    let status_line = lines.next().unwrap_or_default();
    let rest = status_line.strip_prefix("HTTP/1.1 ");
    let (code, reason) = rest.and_then(|rest| rest.split_once(' ')).unwrap_or_default();
    assert!(code.len() == 3 && !reason.is_empty(), "status line: {status_line:?}");
    let status = code.parse().unwrap_or_else(|_| panic!("status line: {status_line:?}"));
    let mut fields = BTreeMap::new();
    for line in lines.filter(|line| !line.is_empty()) {
        let (name, value) = line.split_once(": ").unwrap_or_else(|| panic!("field: {line:?}"));
        let is_token = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        assert!(!name.is_empty() && name.bytes().all(is_token), "field: {line:?}");
        assert!(value == value.trim() && value.bytes().all(|byte| byte >= b' '), "field: {line:?}");
        let name = name.to_ascii_lowercase();
        // Each scheme has a line of its own, with the strongest first.
        if name == "www-authenticate" && fields.contains_key(&name) {
            continue;
        }
        let before = fields.insert(name, value.to_owned());
        assert!(before.is_none(), "a field appears twice");
    }
    Reply { status, fields, body: Vec::new(), is_whole: false }
}

/// Checks which fields a reply of an origin server has and has not (RFC 9110).
fn check(reply: &Reply) {
    let has = |name: &str| reply.fields.contains_key(name);
    let status = reply.status;
    if status < 200 {
        assert!(reply.fields.is_empty(), "{reply:?}");
        return;
    }
    // 6.6.1
    assert!(reply.field("date").ends_with(" GMT"), "{reply:?}");
    // 8.6; and without a length the end of the connection would be the end of the body.
    assert_eq!(has("content-length"), !matches!(status, 204 | 304), "{reply:?}");
    assert!(!has("transfer-encoding"), "{reply:?}");
    // 15.5.6, 15.5.2, 15.5.17, 15.3.7
    assert!(status != 405 || has("allow"), "{reply:?}");
    assert_eq!(status == 401, has("www-authenticate"), "{reply:?}");
    assert!(status != 416 || reply.field("content-range").starts_with("bytes */"), "{reply:?}");
    assert!(!matches!(status, 429 | 503) || has("retry-after"), "{reply:?}");
    // 15.4.5: a phone keeps its copy because of these.
    assert!(!matches!(status, 200 | 206 | 304) || is_tagged(reply), "{reply:?}");
    assert!(!matches!(status, 200 | 206 | 304) || has("cache-control"), "{reply:?}");
    assert!(!matches!(status, 200 | 206) || has("content-type"), "{reply:?}");
}

/// The content type of the page at `/`.
const PAGE_KIND: &str = "text/plain; charset=utf-8";

/// Returns whether the reply has the tag of a version. Only the CA's certificate and the server's
/// own page have none.
fn is_tagged(reply: &Reply) -> bool {
    let tag = reply.field("etag");
    let is_strong = tag.len() > 2 && tag.starts_with('"') && tag.ends_with('"');
    is_strong && reply.field("last-modified").ends_with(" GMT")
        || matches!(reply.field("content-type"), "application/x-pem-file" | PAGE_KIND)
}

/// Returns the ranges of a reply, each with its first byte, and the size of the whole (RFC 9110,
/// 14).
///
/// # Panics
/// If the parts are not well-formed.
pub(in crate::session::http) fn ranges(reply: &Reply) -> Vec<(usize, Vec<u8>, usize)> {
    let kind = reply.field("content-type");
    let Some(boundary) = kind.strip_prefix("multipart/byteranges; boundary=") else {
        let (first, last, size) = content_range(reply.field("content-range"));
        assert_eq!(reply.length(), last - first + 1);
        return vec![(first, reply.body.clone(), size)];
    };
    // 15.3.7.2
    assert!(!reply.fields.contains_key("content-range"));
    let mut parts = Vec::new();
    let mut rest = &reply.body[..];
    let open = format!("\r\n--{boundary}\r\n");
    while let Some(part) = rest.strip_prefix(open.as_bytes()) {
        let end = part.windows(4).position(|four| four == b"\r\n\r\n");
        let end = end.unwrap_or_else(|| panic!("a part without a head"));
        let head = String::from_utf8_lossy(&part[..end]).into_owned();
        let line = head.lines().find_map(|line| line.strip_prefix("Content-Range: "));
        let (first, last, size) = content_range(line.unwrap_or_default());
        assert!(head.contains("Content-Type: "), "{head}");
        let body = &part[end + 4..];
        parts.push((first, body[..=last - first].to_vec(), size));
        rest = &body[last - first + 1..];
    }
    assert_eq!(rest, format!("\r\n--{boundary}--\r\n").as_bytes(), "behind the last part");
    assert!(parts.len() > 1, "a multipart reply of one part");
    parts
}

/// Returns first byte, last byte, and size of the whole.
fn content_range(value: &str) -> (usize, usize, usize) {
    let read = || {
        let (range, size) = value.strip_prefix("bytes ")?.split_once('/')?;
        let (first, last) = range.split_once('-')?;
        Some((first.parse().ok()?, last.parse().ok()?, size.parse().ok()?))
    };
    let (first, last, size) = read().unwrap_or_else(|| panic!("Content-Range: {value:?}"));
    assert!(first <= last && last < size, "Content-Range: {value:?}");
    (first, last, size)
}
