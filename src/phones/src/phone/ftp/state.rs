//! What a phone is doing, and what came of it so far.

use super::client::Loss;
use wire::time::Instant;

/// What a phone is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// It begins, or goes on, at this moment; it keeps its connection if it has one.
    Waiting(Instant),
    /// Its control connection is being opened, and secured where that comes first.
    Connecting,
    /// Its control connection is being secured after `AUTH TLS`.
    Securing,
    /// A reply has to come, or the data connection.
    Asked(Asked),
    /// It has done all and stays logged in until this moment.
    Staying(Instant),
    /// It has done all.
    Over,
}

/// What a reply has to come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
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
    /// `PASV`, `EPSV`, `PORT` or `EPRT`; with the last two, only when somebody listens.
    Place,
    /// Nothing: the data connection is being opened.
    Data,
    /// `STOR` or `RETR`.
    Transfer,
    /// `QUIT`.
    Quit,
}

/// One file on its way.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Transfer {
    /// A data connection was asked for.
    pub(super) is_wanted: bool,
    /// It stands.
    pub(super) is_open: bool,
    /// The server has said that it begins (125 or 150).
    pub(super) is_begun: bool,
    /// All that is stored was handed over.
    pub(super) is_ending: bool,
    /// The server has said that it is done.
    pub(super) is_acknowledged: bool,
    /// How the data connection ended.
    pub(super) ended: Option<Loss>,
    /// Bytes that have come or left.
    pub(super) moved: u64,
    /// They are not those of the file.
    pub(super) is_wrong: bool,
}

/// A command on its way.
#[derive(Debug, Default)]
pub(super) struct Line {
    bytes: Vec<u8>,
    /// Bytes of it that have left.
    pub(super) sent: usize,
}

impl Line {
    /// Puts a command in place of the one before.
    pub(super) fn set(&mut self, verb: &[u8], argument: &[u8]) {
        self.clear();
        self.bytes.extend_from_slice(verb);
        if !argument.is_empty() {
            self.bytes.push(b' ');
            self.bytes.extend_from_slice(argument);
        }
        self.bytes.extend_from_slice(b"\r\n");
    }

    /// Nothing leaves.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.sent = 0;
    }

    /// What has not left yet.
    pub(super) fn rest(&self) -> &[u8] {
        self.bytes.get(self.sent..).unwrap_or_default()
    }
}
