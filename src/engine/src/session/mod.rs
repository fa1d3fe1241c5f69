//! The protocol engines: state machines that take facts and return actions.
//!
//! Nothing here sends, sleeps, opens or locks. An engine finds what it needs in the [`TurnContext`]
//! that it is given, and returns what to do when polled.

mod arrivals;
mod denial;
mod faults;
pub mod ftp;
pub mod http;
#[cfg(any(test, feature = "model"))]
mod model;
pub mod outcome;
#[cfg(any(test, feature = "model"))]
#[doc(hidden)]
pub mod single;
pub mod snmp;
pub mod stream;
pub mod tftp;
pub mod timer;

pub use arrivals::Stall;
pub use faults::{DataFault, Handshake};

use std::net::SocketAddr;
use std::sync::Arc;

use crate::admission::Admission;
use crate::catalog::Entry;
use crate::metrics::Counters;
use crate::policy::snapshot::Snapshot;
use crate::protocol::Protocol;
use snmp::{IdentityError, SnmpClient};
use wire::name::BadName;
use wire::time::{Duration, Instant};

/// What a worker gives its engines in one turn.
#[derive(Debug)]
pub struct TurnContext<'a> {
    /// Settings and catalog, the same for the whole turn.
    pub snapshot: &'a Snapshot,
    /// Who may be served, and how many; shared by all protocols of the worker.
    pub admission: &'a mut Admission,
    /// Who asks phones who uses them; shared by all protocols of the worker, as its answers are.
    pub snmp: &'a mut SnmpClient,
    /// The worker's figures.
    pub counters: &'a Counters,
    /// The moment of the turn.
    pub now: Instant,
    /// The same moment in seconds since 1970, only for dates in response heads.
    pub unix_s: u64,
}

/// Most bytes kept of a requested name: as many as a name may have.
pub const SAID_BYTES_MAX: usize = wire::name::NAME_BYTES_MAX;
/// Most bytes kept of a peer's name for itself, or of its reason.
pub const WORDS_BYTES_MAX: usize = 160;

/// What a phone did, for the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// It fetches a file.
    Fetch,
    /// It sends a file to be stored.
    Send,
    /// It deletes a file.
    Delete,
    /// It asks about a file: whether it exists, or what can be done with it.
    Ask,
    /// It lists a directory.
    List,
    /// It logs in.
    LogIn,
    /// It makes a directory.
    Make,
    /// It renames a file.
    Rename,
    /// It connects; no request came.
    Connect,
}

impl Verb {
    /// Returns the verb for a record whose subject is a phone.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Verb::Fetch => "fetches",
            Verb::Send => "sends",
            Verb::Delete => "deletes",
            Verb::Ask => "asks about",
            Verb::List => "lists",
            Verb::LogIn => "logs in as",
            Verb::Make => "makes",
            Verb::Rename => "renames",
            Verb::Connect => "connects",
        }
    }
}

/// The file that a record is about.
#[derive(Clone, Debug)]
pub enum Subject {
    /// A file of the catalog.
    File(Arc<Entry>),
    /// A requested name, valid or not, cut to [`SAID_BYTES_MAX`].
    Said(Box<[u8]>),
    /// Not readable.
    Unreadable,
}

impl Subject {
    /// Makes it of a requested name in its own spelling, by which people search.
    #[must_use]
    pub fn said(requested: &[u8]) -> Subject {
        Subject::Said(clip(requested, SAID_BYTES_MAX).into())
    }
}

/// Returns the beginning of a text that a peer sent, as much as a record keeps.
#[must_use]
pub fn clip(text: &[u8], bytes_max: usize) -> &[u8] {
    &text[..text.len().min(bytes_max)]
}

/// How a transfer ended. Only [`Outcome::Failed`] is an error of this server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Every byte acknowledged, or stored.
    Done,
    /// Everything was sent and only the last acknowledgement is missing; some phones never send it.
    DoneUnacknowledged,
    /// The phone ended it normally: it probed for options, or had read what it needed.
    Aborted(Abort),
    /// The phone asked again from the same port, and the new request replaced this one.
    Superseded,
    /// The phone fell silent.
    TimedOut,
    /// The other side of a connection let it stall.
    Stalled(Stall),
    /// The request was not served.
    Refused(Refusal),
    /// The server could not go on.
    Failed(Failure),
}

impl Outcome {
    /// Returns whether the log gets a record. Frequent outcomes are logged once.
    #[must_use]
    pub fn is_logged(self) -> bool {
        self != Outcome::Refused(Refusal::TooManyMisses { first: false })
    }

    /// Returns whether the phone has what it came for, or an answer that lets it go on; otherwise
    /// it fell silent, or was let down.
    #[must_use]
    pub fn lets_go_on(self) -> bool {
        match self {
            Outcome::Done
            | Outcome::DoneUnacknowledged
            | Outcome::Superseded
            | Outcome::Aborted(_)
            | Outcome::Refused(_) => true,
            Outcome::TimedOut | Outcome::Stalled(_) | Outcome::Failed(_) => false,
        }
    }

    /// Counts one transfer that ended so.
    pub fn count(self, counters: &Counters) {
        match self {
            Outcome::Done | Outcome::DoneUnacknowledged => counters.transfers_done.up(),
            Outcome::Aborted(_) | Outcome::Superseded => counters.transfers_aborted.up(),
            Outcome::TimedOut | Outcome::Stalled(_) => counters.transfers_timed_out.up(),
            Outcome::Refused(_) => counters.transfers_refused.up(),
            Outcome::Failed(_) => counters.transfers_failed.up(),
        }
    }
}

/// Ways in which a phone normally ends a transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Abort {
    /// ERROR 8 after the OACK: it needed only the size (RFC 2347).
    OptionsProbe,
    /// ERROR from a phone of a make that compares versions by the beginning of a file, after that
    /// part.
    HeaderRead,
    /// Any other ERROR from the phone, with its code: [`Record::words`] has its text.
    ByPhone(u16),
    /// The phone closed the connection early: it had read what it needed.
    Disconnected,
    /// The client aborted it (FTP, `ABOR`).
    Asked,
}

/// Why a request was not served: the phone's fault, or a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The packet breaks the protocol.
    Malformed,
    /// The request is longer than allowed (TFTP).
    RequestTooLong,
    /// The upload's size differs from the announced one (TFTP).
    SizeDiffers,
    /// The name leads out of the root or cannot be a file.
    BadName(BadName),
    /// The name has escapes that no client needs (HTTP).
    BadEscape,
    /// The path is invalid (FTP).
    BadPath(crate::files::BadPath),
    /// No root of the stack has the name.
    NoSuchFile,
    /// The name may exist in a root or directory that cannot be read now.
    Unavailable,
    /// The address asks for too many names that do not exist.
    TooManyMisses {
        /// Whether to log it: once, not for every request.
        first: bool,
    },
    /// The client is outside the access list.
    AccessDenied,
    /// No rule allows this upload.
    UploadNotAllowed,
    /// The upload is larger than its rule allows.
    UploadTooLarge,
    /// The mode is neither octet nor netascii.
    ModeUnknown,
    /// All session slots are taken.
    NoSlot,
    /// Too many transfers are open.
    TooManyTransfers,
    /// The server is about to stop.
    Stopping,
    /// The method is known, but not allowed for this resource.
    MethodNotAllowed,
    /// The method is not supported.
    NotImplemented,
    /// The bytes are no HTTP request, or one that is too large.
    BadRequest(wire::http::request::Malformed),
    /// The body has no length (HTTP 411).
    LengthRequired,
    /// The body is a form with files in it (HTTP 415).
    Multipart,
    /// The body is compressed or otherwise encoded (HTTP 415).
    Coded,
    /// The target is for the other kind of connection, with TLS or without (HTTP 421).
    Misdirected,
    /// The bodies being received use all the memory that they may (HTTP).
    BodyMemory,
    /// The bodies of one address use all the memory that one address may.
    BodyMemoryShare,
    /// The uploads being received use all the memory that they may (FTP).
    UploadMemory,
    /// None of the ranges lies in the file (HTTP 416).
    RangeNotSatisfiable,
    /// A condition of the request does not hold (HTTP 412).
    PreconditionFailed,
    /// The phone expects something that is not supported (HTTP 417).
    ExpectationUnknown,
    /// No secret was sent, or a wrong one.
    Unauthorized,
    /// The credentials that a `[[protect]]` row requires are missing or wrong.
    Credentials(CredentialFault),
    /// The vault is only for phones with a client certificate.
    CertificateNeeded,
    /// The address sent too many wrong secrets and must wait.
    SlowedDown,
    /// The address has stored as much in the vault as it may within an hour.
    VaultBound,
    /// Head or body came too slowly.
    TooSlow,
    /// The address has too many connections, or all addresses together have.
    TooManyConnections,
    /// Clients outside the access list have all the connections that they may.
    TooManyStrangers,
    /// The connection could not be secured.
    Handshake(Handshake),
    /// The phone does not tell by SNMP who uses it.
    Unidentified(IdentityError),
    /// No user is logged in at the phone.
    NobodyLoggedIn,
    /// The client resumes an upload of a file that is always stored whole, appended or new (FTP,
    /// `REST`).
    NoMiddle,
    /// The vault cannot keep data of the extension that is logged in at the phone.
    ExtensionUnnamable,
    /// Another extension is logged in at the phone than the one in the name.
    OtherExtension,
    /// The name has no extension, and the phone is not asked for it.
    ExtensionMissing,
    /// The data connection failed (FTP).
    DataConnection(DataFault),
    /// An administrator's operation on files failed.
    Files(crate::files::FilesError),
    /// An existing file or directory is in the way of the upload (HTTP 409).
    Conflict(crate::catalog::StoreError),
    /// The size of a text sent by `TYPE A` is not known (FTP, `SIZE`).
    SizeOfText,
    /// The size of the vault's data is only known with the file (FTP, `SIZE`, `MDTM`).
    SizeOfVault,
    /// Phones get no directory listings or other services for administrators (FTP).
    AdministratorsOnly,
    /// The client speaks HTTP, not FTP.
    ForeignHttp,
    /// The client starts TLS without having asked for it.
    ForeignTls,
}

/// Why a client's credentials for a `[[protect]]` row do not suffice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CredentialFault {
    /// No password was sent.
    Missing,
    /// The credentials cannot be read, or the row does not offer their scheme.
    Unusable,
    /// The password is wrong, or the user is unknown.
    Wrong,
    /// The user's password is right, but the row is for other users.
    UserNotAllowed,
    /// The response was made for an older challenge (HTTP, Digest).
    Stale,
    /// Too many passwords wait to be checked.
    Unchecked,
    /// TFTP has no passwords.
    OverTftp,
}

/// Why the server could not go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The file could not be opened.
    Open(crate::catalog::OpenError),
    /// The upload could not be stored.
    Store(crate::catalog::StoreError),
    /// The file was changed in place while it was being sent.
    FileChanged,
    /// The mapped file was truncated, or the kernel refused the send for good.
    SendRefused,
    /// The server stopped before the transfer was complete.
    Stopped,
}

/// The log record of one finished or refused transfer.
#[derive(Clone, Debug)]
pub struct Record {
    /// The protocol.
    pub protocol: Protocol,
    /// The phone.
    pub peer: SocketAddr,
    /// The server's port from which packets went to a phone that never answered.
    pub server_port: Option<u16>,
    /// The file.
    pub subject: Subject,
    /// What the phone did with it.
    pub verb: Verb,
    /// When it began.
    pub began: Instant,
    /// How long it took.
    pub took: Duration,
    /// Payload bytes acknowledged, or received.
    pub bytes: u64,
    /// The size of the whole, if known.
    pub of_bytes: Option<u64>,
    /// Blocks sent more than once.
    pub blocks_resent: u32,
    /// The status code of the response, if the protocol has one.
    pub status: Option<u16>,
    /// Smoothed round trip, if one was measured.
    pub round_trip: Option<Duration>,
    /// The TLS version and suite of the connection, or `None` without TLS.
    pub secured: Option<Secured>,
    /// The peer's name for itself (`User-Agent`), cut to [`WORDS_BYTES_MAX`]. Shared, because one
    /// connection carries many requests.
    pub user_agent: Option<Arc<[u8]>>,
    /// The user, if a password was proven; cut to [`WORDS_BYTES_MAX`].
    pub user: Option<Box<[u8]>>,
    /// The peer's text about the end (that of an ERROR), or the command that was refused; cut to
    /// [`WORDS_BYTES_MAX`].
    pub words: Option<Box<[u8]>>,
    /// How it ended.
    pub outcome: Outcome,
}

impl Record {
    /// Makes a record with what every record has; the caller adds the rest.
    #[must_use]
    pub fn new(
        protocol: Protocol,
        peer: SocketAddr,
        (verb, subject): (Verb, Subject),
        began: Instant,
        outcome: Outcome,
    ) -> Record {
        Record {
            protocol,
            peer,
            server_port: None,
            subject,
            verb,
            began,
            took: Duration::ZERO,
            bytes: 0,
            of_bytes: None,
            blocks_resent: 0,
            status: None,
            round_trip: None,
            secured: None,
            user_agent: None,
            user: None,
            words: None,
            outcome,
        }
    }
}

/// How a connection is secured, in the registered names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Secured {
    /// The version: `TLS 1.2`.
    pub version: &'static str,
    /// The suite: `TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256`.
    pub suite: &'static str,
}
