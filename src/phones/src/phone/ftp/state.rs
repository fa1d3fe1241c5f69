//! What a phone is doing, and its progress.

use super::client::Loss;
use wire::time::Instant;

/// What a phone is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// It begins, or continues, at this moment, over its connection if it has one.
    Waiting(Instant),
    /// Its control connection is being opened, and secured with implicit TLS.
    Connecting,
    /// Its control connection is being secured after `AUTH TLS`.
    Securing,
    /// It waits for a reply, or for the data connection.
    Awaiting(AwaitedReply),
    /// It is done and stays logged in until this moment.
    Staying(Instant),
    /// It is done.
    Over,
}

/// The command whose reply is awaited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AwaitedReply {
    /// The connection itself.
    Greeting,
    /// `AUTH TLS`.
    Auth,
    /// `USER`.
    User,
    /// `PASS`.
    Password,
    /// `PBSZ 0`.
    Size,
    /// `PROT P`.
    Protection,
    /// `TYPE I`.
    Type,
    /// `CWD`.
    Directory,
    /// `PASV`, `EPSV`, `PORT` or `EPRT`; the last two only once the phone listens.
    Place,
    /// None: the data connection is being opened.
    Data,
    /// `STOR` or `RETR`.
    Transfer,
    /// `QUIT`.
    Quit,
}

/// One file being transferred.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Transfer {
    /// Whether a data connection was requested.
    pub(super) is_wanted: bool,
    /// Whether it is open.
    pub(super) is_open: bool,
    /// Whether the server has said that it begins (125 or 150).
    pub(super) is_begun: bool,
    /// Whether all bytes to store were handed over.
    pub(super) is_ending: bool,
    /// Whether the server has said that it is done.
    pub(super) is_acknowledged: bool,
    /// How the data connection ended.
    pub(super) ended: Option<Loss>,
    /// Bytes received or sent.
    pub(super) moved: u64,
    /// Whether they are not those of the file.
    pub(super) is_wrong: bool,
}

/// A command being sent.
#[derive(Debug, Default)]
pub(super) struct Line {
    bytes: Vec<u8>,
    /// Bytes of it that have left.
    pub(super) sent: usize,
}

impl Line {
    /// Replaces the former command.
    pub(super) fn set(&mut self, verb: &[u8], argument: &[u8]) {
        self.clear();
        self.bytes.extend_from_slice(verb);
        if !argument.is_empty() {
            self.bytes.push(b' ');
            self.bytes.extend_from_slice(argument);
        }
        self.bytes.extend_from_slice(b"\r\n");
    }

    /// Drops the command.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.sent = 0;
    }

    /// Returns what has not left yet.
    pub(super) fn rest(&self) -> &[u8] {
        self.bytes.get(self.sent..).unwrap_or_default()
    }
}
