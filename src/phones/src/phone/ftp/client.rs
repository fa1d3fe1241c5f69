//! How a kind of phone talks FTP, what it does in a session, and how that went.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

pub use crate::phone::http::{Loss, Presence};
use wire::ftp::reply::Code;
use wire::time::{Duration, Instant};

/// Who opens data connections, and in which words that is agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meeting {
    /// The phone, where `PASV` tells it.
    Passive,
    /// The phone, at the server's address and a port that `EPSV` tells.
    ExtendedPassive,
    /// The server, where `PORT` tells it.
    Active,
    /// The server, where `EPRT` tells it.
    ExtendedActive,
}

impl Meeting {
    /// Whether the server opens them.
    #[must_use]
    pub fn is_active(self) -> bool {
        match self {
            Meeting::Active | Meeting::ExtendedActive => true,
            Meeting::Passive | Meeting::ExtendedPassive => false,
        }
    }
}

/// Whether what is said and sent can be read on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Security {
    /// It can.
    Clear,
    /// `AUTH TLS` before anything else, and `PROT P` (RFC 4217).
    Explicit,
    /// TLS from the first byte, and `PROT P`.
    Implicit,
}

/// How a kind of phone talks; thousands may share one.
#[derive(Clone, Debug)]
pub struct Client {
    /// The server's address, where `EPSV` leads to.
    pub server: IpAddr,
    /// Who opens data connections.
    pub meeting: Meeting,
    /// Whether it speaks TLS.
    pub security: Security,
    /// Where it goes after it has logged in (FTPDIR); empty where it stays where it is.
    pub directory: Box<[u8]>,
    /// The longest silence that it bears.
    pub timer: Duration,
    /// How often it tries a file before it gives up, the first time included, where a connection
    /// is lost. At least 1.
    pub attempts: u8,
    /// How long it waits before it tries again.
    pub again_after: Duration,
    /// How often it tries a file again that was refused for the moment (a code of 4xx).
    pub waits: u32,
}

impl Client {
    /// A phone in clear text that opens its data connections where `PASV` tells it.
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
    /// It reads it, and compares it with what it must be where that is known.
    Fetch(Option<Arc<[u8]>>),
    /// It stores these bytes.
    Store(Arc<[u8]>),
}

/// One step of a session.
#[derive(Clone, Debug)]
pub struct Step {
    /// The file as the phone spells it.
    pub name: Arc<[u8]>,
    /// What it does.
    pub action: Action,
    /// Whether that has to go well: with `May`, 550 says that nothing is stored; with `MustNot`,
    /// the server has to refuse.
    pub presence: Presence,
}

impl Step {
    /// A read of a file that must exist.
    #[must_use]
    pub fn fetch(name: &str) -> Step {
        let action = Action::Fetch(None);
        Step { name: name.as_bytes().into(), action, presence: Presence::Must }
    }

    /// How it is judged that the step ended so, and whether the phone can live with it.
    pub(super) fn lived_with(&self, ending: Ending) -> (Ending, bool) {
        match (self.presence, &self.action, ending) {
            (Presence::MustNot, _, Ending::Done) => (Ending::Fault(Fault::NotRefused), false),
            (Presence::MustNot, _, Ending::Refused(_)) => (ending, true),
            (Presence::May, Action::Fetch(_), Ending::Refused(Code::UNAVAILABLE)) => (ending, true),
            (_, _, ending) => (ending, ending == Ending::Done),
        }
    }
}

/// What a phone does from the first byte to `QUIT`.
#[derive(Clone, Debug)]
pub struct Plan {
    /// How it talks.
    pub client: Arc<Client>,
    /// Who it says it is.
    pub user: Box<str>,
    /// What it says to prove it.
    pub password: Box<str>,
    /// The files, in order, each over a data connection of its own.
    pub steps: Vec<Step>,
    /// How long it stays logged in after the last file.
    pub stays: Duration,
}

/// What a phone counts while it deals with one file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Bytes of the file read, each counted once for each time that it came.
    pub bytes_read: u64,
    /// Bytes of the file stored, each counted once for each time that it left.
    pub bytes_stored: u64,
    /// Replies read.
    pub replies: u32,
    /// Control connections begun.
    pub connects: u32,
    /// Data connections begun, or waited for.
    pub data_connects: u32,
    /// Connections that were not taken.
    pub unreachable: u32,
    /// Connections that were reset.
    pub resets: u32,
    /// Silences longer than the phone bears.
    pub timeouts: u32,
    /// Times that the file was begun again because a connection was lost.
    pub again: u32,
    /// Times that it was begun again because the server refused it for the moment.
    pub waits: u32,
    /// Replies that nothing had been said for.
    pub unasked: u32,
}

/// How one file ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It was read whole, or stored and acknowledged.
    Done,
    /// The server refused it, or one of the commands before it, with this code.
    Refused(Code),
    /// The control connection went.
    Lost(Loss),
    /// The data connection did not come about, or broke.
    DataLost(Loss),
    /// The server fell silent.
    TimedOut,
    /// The server broke a rule.
    Fault(Fault),
}

/// What a server may not do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// What it says is no reply.
    BadReply,
    /// A reply does not end.
    EndlessReply,
    /// A reply does not go with the command.
    WrongReply,
    /// Its answer to `PASV` or `EPSV` names no place.
    BadPlace,
    /// It acknowledged a file before it had all of it.
    Premature,
    /// Bytes came while a file was being stored.
    Surplus,
    /// The bytes are not those of the file.
    WrongBytes,
    /// It did what it had to refuse.
    NotRefused,
}

impl Fault {
    /// In words.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Fault::BadReply => "reply that cannot be read",
            Fault::EndlessReply => "reply that does not end",
            Fault::WrongReply => "reply that does not go with the command",
            Fault::BadPlace => "passive reply without a place",
            Fault::Premature => "acknowledged before all was sent",
            Fault::Surplus => "bytes on the data connection of a STOR",
            Fault::WrongBytes => "wrong bytes",
            Fault::NotRefused => "done, and had to be refused",
        }
    }
}

/// How one file went, or a session that had none and failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileResult {
    /// Which step of the plan.
    pub step: usize,
    /// When it was due.
    pub began: Instant,
    /// How long it took; that of the first one includes the login.
    pub took: Duration,
    /// Bytes, resets and the like.
    pub tally: Tally,
    /// How it ended.
    pub ending: Ending,
    /// Whether the phone can live with that ending.
    pub is_good: bool,
}

/// What a server said when it refused something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The code.
    pub code: Code,
    /// The words behind it.
    pub text: Box<[u8]>,
}

/// What a phone wants of its connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Open the control connection.
    Connect,
    /// Secure it, after all that came in clear.
    Secure,
    /// Close it in order, and the data connection with it.
    HangUp,
    /// Open the data connection.
    Dial(SocketAddr),
    /// Wait for the data connection at any port of the address that the control connection has
    /// here, and tell [`Phone::handle_listening`](super::Phone::handle_listening) which.
    Listen,
    /// All of the file has been handed over: close the data connection for sending, and go on
    /// reading it to its end.
    EndData,
    /// Be done with the data connection, and with waiting for one.
    DropData,
}
