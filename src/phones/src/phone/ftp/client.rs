//! How a kind of phone speaks FTP, what it does in a session, and the results.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

pub use crate::phone::http::{Loss, Presence};
use wire::ftp::reply::Code;
use wire::time::{Duration, Instant};

/// Which side opens data connections, and by which command they agree on that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meeting {
    /// The phone, to the address that `PASV` returns.
    Passive,
    /// The phone, to the server's address and the port that `EPSV` returns.
    ExtendedPassive,
    /// The server, to the address of `PORT`.
    Active,
    /// The server, to the address of `EPRT`.
    ExtendedActive,
}

impl Meeting {
    /// Returns whether the server opens them.
    #[must_use]
    pub fn is_active(self) -> bool {
        match self {
            Meeting::Active | Meeting::ExtendedActive => true,
            Meeting::Passive | Meeting::ExtendedPassive => false,
        }
    }
}

/// How commands and data are protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Security {
    /// Not at all.
    Clear,
    /// `AUTH TLS` before anything else, and `PROT P` (RFC 4217).
    Explicit,
    /// TLS from the first byte, and `PROT P`.
    Implicit,
}

/// How a kind of phone speaks FTP; thousands may share one.
#[derive(Clone, Debug)]
pub struct Client {
    /// The server's address, to which `EPSV` leads.
    pub server: IpAddr,
    /// Which side opens data connections.
    pub meeting: Meeting,
    /// Whether it speaks TLS.
    pub security: Security,
    /// The directory that it enters after login (FTPDIR); empty for none.
    pub directory: Box<[u8]>,
    /// The longest silence that it tolerates.
    pub timer: Duration,
    /// How often it tries a file before it gives up, the first time included, if a connection is
    /// lost. At least 1.
    pub attempts: u8,
    /// How long it waits before it tries again.
    pub again_after: Duration,
    /// How often it retries a file that was refused for the moment (a code of 4xx).
    pub waits: u32,
}

impl Client {
    /// Makes a phone that speaks in clear and opens its data connections to the address of `PASV`.
    #[must_use]
    pub fn new(server: IpAddr) -> Client {
        Client {
            server,
            meeting: if server.is_ipv4() { Meeting::Passive } else { Meeting::ExtendedPassive },
            security: Security::Clear,
            directory: Box::default(),
            timer: Duration::from_secs(30),
            attempts: 1,
            again_after: Duration::from_secs(1),
            waits: 10,
        }
    }
}

/// What a phone does with one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// It reads the file, and compares it with the expected bytes, if they are known.
    Fetch(Option<Arc<[u8]>>),
    /// It stores these bytes.
    Store(Arc<[u8]>),
}

/// One step of a session.
#[derive(Clone, Debug)]
pub struct PlanStep {
    /// The file as the phone spells it.
    pub name: Arc<[u8]>,
    /// What it does.
    pub action: Action,
    /// Whether that must succeed: with `May`, 550 means that no such file exists; with `MustNot`,
    /// the server must refuse.
    pub presence: Presence,
}

impl PlanStep {
    /// Makes a read of a file that must exist.
    #[must_use]
    pub fn fetch(name: &str) -> PlanStep {
        let action = Action::Fetch(None);
        PlanStep { name: name.as_bytes().into(), action, presence: Presence::Must }
    }

    /// Returns how the step counts, and whether the phone can continue.
    pub(super) fn lived_with(&self, ending: Ending) -> (Ending, bool) {
        match (self.presence, &self.action, ending) {
            (Presence::MustNot, _, Ending::Done) => (Ending::Fault(ServerFault::NotRefused), false),
            (Presence::MustNot, _, Ending::Refused(_)) => (ending, true),
            (Presence::May, Action::Fetch(_), Ending::Refused(Code::UNAVAILABLE)) => (ending, true),
            (_, _, ending) => (ending, ending == Ending::Done),
        }
    }
}

/// What a phone does from the first byte to `QUIT`.
#[derive(Clone, Debug)]
pub struct Plan {
    /// How it speaks.
    pub client: Arc<Client>,
    /// The user name.
    pub user: Box<str>,
    /// The password.
    pub password: Box<str>,
    /// The files, in order, each over a data connection of its own.
    pub steps: Vec<PlanStep>,
    /// How long it stays logged in after the last file.
    pub stays: Duration,
}

/// What a phone counts for one file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Bytes of the file read, counted again each time that they came.
    pub bytes_read: u64,
    /// Bytes of the file stored, counted again each time that they left.
    pub bytes_stored: u64,
    /// Replies read.
    pub replies: u32,
    /// Control connections begun.
    pub connects: u32,
    /// Data connections begun, or waited for.
    pub data_connects: u32,
    /// Connections that were not accepted.
    pub unreachable: u32,
    /// Connections that were reset.
    pub resets: u32,
    /// Silences longer than the phone tolerates.
    pub timeouts: u32,
    /// Times that the file was begun again after a lost connection.
    pub again: u32,
    /// Times that it was begun again after a temporary refusal.
    pub waits: u32,
    /// Replies to no command.
    pub unasked: u32,
}

/// How one file ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It was read whole, or stored and acknowledged.
    Done,
    /// The server refused it, or one of the commands before it, with this code.
    Refused(Code),
    /// The control connection was lost.
    Lost(Loss),
    /// The data connection failed or broke.
    DataLost(Loss),
    /// The server was silent for too long.
    TimedOut,
    /// The server broke a rule.
    Fault(ServerFault),
}

/// A violation by the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ServerFault {
    /// Its reply cannot be read.
    BadReply,
    /// A reply does not end.
    EndlessReply,
    /// A reply does not fit the command.
    WrongReply,
    /// Its reply to `PASV` or `EPSV` has no address.
    BadPlace,
    /// It acknowledged a file before it had all of it.
    Premature,
    /// Bytes came while a file was being stored.
    Surplus,
    /// The bytes are not those of the file.
    WrongBytes,
    /// It did what it must refuse.
    NotRefused,
}

impl ServerFault {
    /// Returns it in words.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            ServerFault::BadReply => "reply that cannot be read",
            ServerFault::EndlessReply => "reply that does not end",
            ServerFault::WrongReply => "reply that does not go with the command",
            ServerFault::BadPlace => "passive reply without a place",
            ServerFault::Premature => "acknowledged before all was sent",
            ServerFault::Surplus => "bytes on the data connection of a STOR",
            ServerFault::WrongBytes => "wrong bytes",
            ServerFault::NotRefused => "done, and had to be refused",
        }
    }
}

/// The result of one file, or of a session that failed before any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileResult {
    /// The step of the plan.
    pub step: usize,
    /// When it was due.
    pub began: Instant,
    /// How long it took; that of the first one includes the login.
    pub took: Duration,
    /// Bytes, resets and the like.
    pub tally: Tally,
    /// How it ended.
    pub ending: Ending,
    /// Whether the phone can continue after that ending.
    pub is_good: bool,
}

/// A refusal of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The code.
    pub code: Code,
    /// The text after it.
    pub text: Box<[u8]>,
}

/// What a phone asks of its connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionOp {
    /// Open the control connection.
    Connect,
    /// Secure it, after all bytes in clear.
    Secure,
    /// Close it in order, and the data connection with it.
    HangUp,
    /// Open the data connection.
    Dial(SocketAddr),
    /// Listen for the data connection, at any port of the control connection's local address, and
    /// report it to [`Phone::handle_listening`](super::Phone::handle_listening).
    Listen,
    /// All of the file has been handed over: close the data connection for sending, and read it to
    /// its end.
    EndData,
    /// Close the data connection, or stop listening for one.
    DropData,
}
