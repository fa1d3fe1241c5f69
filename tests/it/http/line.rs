//! An HTTP client that sends exactly the bytes that a test tells it, and parses answers as strictly
//! as it can: anything malformed fails the test.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use socket2::SockRef;

use crate::server::PATIENCE;

/// One answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    /// In wire order, names in lower case.
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    /// Returns the one value of a field; a second one fails the test.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let mut found = self.fields.iter().filter(|(this, _)| this == name);
        let value = found.next().map(|(_, value)| value.as_str());
        assert!(found.next().is_none(), "{name} stands twice in {self:?}");
        value
    }

    /// Returns whether the server announces that it closes the connection.
    pub(crate) fn closes(&self) -> bool {
        self.field("connection") == Some("close")
    }

    fn body_bytes(&self, to_head: bool) -> usize {
        let length = self.field("content-length").map(|value| value.parse().expect("a length"));
        assert_eq!(self.field("transfer-encoding"), None, "nothing is sent in chunks");
        let has_none = self.status < 200 || matches!(self.status, 204 | 304);
        match has_none {
            true => assert!(self.status == 304 || length.is_none(), "a length in {self:?}"),
            false => assert!(length.is_some(), "no length in {self:?}"),
        }
        if has_none || to_head { 0 } else { length.unwrap_or(0) }
    }
}

/// A connection.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) socket: TcpStream,
    /// Received, but not parsed yet.
    unread: Vec<u8>,
}

impl Line {
    pub(crate) fn open(server: SocketAddr) -> Line {
        let socket = TcpStream::connect_timeout(&server, PATIENCE).unwrap();
        socket.set_nodelay(true).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.set_write_timeout(Some(PATIENCE)).unwrap();
        Line { socket, unread: Vec::new() }
    }

    /// Sends bytes; if the server has closed its side by then, the next read shows it.
    pub(crate) fn say(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.socket.write_all(bytes.as_ref());
    }

    /// Sends the end of the stream.
    pub(crate) fn finish(&self) {
        let _ = self.socket.shutdown(Shutdown::Write);
    }

    /// Resets the connection, as a crashed phone does.
    pub(crate) fn reset(self) {
        SockRef::from(&self.socket).set_linger(Some(Duration::ZERO)).unwrap();
    }

    /// Reads the next answer.
    pub(crate) fn hear(&mut self) -> Reply {
        self.listen(false).expect("an answer")
    }

    /// Reads the interim answer to `Expect: 100-continue`.
    pub(crate) fn hear_leave(&mut self) -> Vec<u8> {
        while !self.unread.ends_with(b"\r\n\r\n") && self.more() {}
        std::mem::take(&mut self.unread)
    }

    /// Reads the next answer, to a HEAD.
    pub(crate) fn hear_head(&mut self) -> Reply {
        self.listen(true).expect("an answer")
    }

    /// Reads the next answer, or returns `None` if the server has closed the connection instead.
    pub(crate) fn hear_or_end(&mut self) -> Option<Reply> {
        self.listen(false)
    }

    /// Asserts that the server closes without an answer; returns how long that took.
    pub(crate) fn expect_end(&mut self) -> Duration {
        let began = Instant::now();
        assert!(self.unread.is_empty(), "{:?}", String::from_utf8_lossy(&self.unread));
        let came = self.more();
        assert!(!came, "{:?}", String::from_utf8_lossy(&self.unread));
        began.elapsed()
    }

    /// Sends a request and reads its answer.
    pub(crate) fn ask(&mut self, request: impl AsRef<[u8]>) -> Reply {
        self.say(request);
        self.hear()
    }

    /// Reads everything until the server closes.
    pub(crate) fn drain(&mut self) -> Vec<u8> {
        while self.more() {}
        std::mem::take(&mut self.unread)
    }

    /// Reads some more; returns false at the end, which may be a reset.
    fn more(&mut self) -> bool {
        let mut buffer = vec![0; 64 << 10];
        match self.socket.read(&mut buffer) {
            Ok(0) => false,
            Ok(bytes) => {
                self.unread.extend_from_slice(&buffer[..bytes]);
                true
            }
            Err(fault) if fault.kind() == io::ErrorKind::ConnectionReset => false,
            Err(fault) => panic!("{fault} while {} bytes wait", self.unread.len()),
        }
    }

    fn listen(&mut self, to_head: bool) -> Option<Reply> {
        let end = loop {
            if let Some(at) = self.unread.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            if !self.more() {
                let rest = String::from_utf8_lossy(&self.unread).into_owned();
                assert!(rest.is_empty(), "the server closed in the middle of {rest:?}");
                return None;
            }
        };
        let mut reply = read_head(&self.unread[..end]);
        let bytes = reply.body_bytes(to_head);
        while self.unread.len() < end + bytes {
            assert!(self.more(), "{} of {bytes} bytes came", self.unread.len() - end);
        }
        reply.body = self.unread[end..end + bytes].to_vec();
        self.unread.drain(..end + bytes);
        Some(reply)
    }
}

/// Parses a head.
fn read_head(head: &[u8]) -> Reply {
    let text = std::str::from_utf8(head).expect("text");
    assert!(!text.replace("\r\n", "").contains(['\r', '\n', '\0']), "{text:?}");
    let mut lines = text.trim_end_matches("\r\n").split("\r\n");
    let first = lines.next().unwrap();
    let (version, rest) = first.split_once(' ').expect(first);
    let (status, reason) = rest.split_once(' ').expect(first);
    assert!(version == "HTTP/1.1" && status.len() == 3 && !reason.is_empty(), "{first:?}");
    let field = |line: &str| {
        let (name, value) = line.split_once(": ").unwrap_or_else(|| panic!("{line:?}"));
        assert!(name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-'), "{line:?}");
        assert_eq!(value, value.trim(), "{line:?}");
        (name.to_ascii_lowercase(), value.to_owned())
    };
    let fields = lines.map(field).collect();
    let reply = Reply { status: status.parse().unwrap(), fields, body: Vec::new() };
    // RFC 9110, 6.6.1: a server with a clock sends the date.
    assert_eq!(reply.field("date").is_some(), reply.status >= 200, "{text:?}");
    reply
}

/// A request without a body.
pub(crate) fn get(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: ringpost\r\n\r\n")
}

/// A PUT with its body.
pub(crate) fn put(target: &str, body: &[u8]) -> Vec<u8> {
    let bytes = body.len();
    let head = format!("PUT {target} HTTP/1.1\r\nHost: x\r\nContent-Length: {bytes}\r\n\r\n");
    [head.as_bytes(), body].concat()
}
