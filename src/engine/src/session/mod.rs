//! The machines that decide: told facts, asked for actions.
//!
//! Nothing here sends, sleeps, opens or locks. What a machine needs of the world it finds in the
//! [`Turn`] that it is handed; what it wants done it says when polled.

mod arrivals;
mod denial;
mod faults;
pub mod ftp;
pub mod http;
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
use snmp::NoPassport;
use wire::name::BadName;
use wire::time::{Duration, Instant};

/// What one turn of a worker hands to its machines.
#[derive(Debug)]
pub struct Turn<'a> {
    /// Settings and catalog, the same from the turn's start to its end.
    pub snapshot: &'a Snapshot,
    /// Who may be served, and how many; shared by all protocols of the worker.
    pub admission: &'a mut Admission,
    /// The worker's figures.
    pub counters: &'a Counters,
    /// The moment of the turn.
    pub now: Instant,
    /// The same moment as the calendar has it, in seconds since 1970: for dates in heads alone.
    pub unix_s: u64,
}

/// Most bytes that are kept of a name as it was asked for: as many as a name may have.
pub const SAID_BYTES_MAX: usize = wire::name::NAME_BYTES_MAX;
/// Most bytes that are kept of what a peer says of itself, or gives as its reason.
pub const WORDS_BYTES_MAX: usize = 160;

/// What a phone did, for the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// It fetches a file.
    Fetch,
    /// It sends one, to be kept.
    Send,
    /// It has one deleted.
    Delete,
    /// It asks about one: whether it is there, what can be done with it.
    Ask,
    /// It has a directory shown.
    List,
    /// It logs in.
    LogIn,
    /// It makes a directory.
    Make,
    /// It gives a file another name.
    Rename,
    /// It connects; what for was never known.
    Connect,
}

impl Verb {
    /// As a phone is the subject.
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

/// Which file a record is about.
#[derive(Clone, Debug)]
pub enum Subject {
    /// A file of the catalog.
    File(Arc<Entry>),
    /// A name as it was asked for, whether it is one or not, cut to [`SAID_BYTES_MAX`].
    Said(Box<[u8]>),
    /// Nothing that could be told.
    Unreadable,
}

impl Subject {
    /// What was asked for, in its own spelling: so people search for it.
    #[must_use]
    pub fn said(asked: &[u8]) -> Subject {
        Subject::Said(clip(asked, SAID_BYTES_MAX).into())
    }
}

/// The beginning of a text that a peer sent, as much as a record keeps.
#[must_use]
pub fn clip(text: &[u8], bytes_max: usize) -> &[u8] {
    &text[..text.len().min(bytes_max)]
}

/// How a transfer ended. Only [`Outcome::Failed`] is an error of this side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Every byte acknowledged, or stored.
    Done,
    /// Everything was sent and only the last acknowledgement is missing: some phones never send it.
    DoneUnacknowledged,
    /// The phone ended it in peace: it probed for options, or had read what it wanted.
    Aborted(Abort),
    /// The phone asked again from the same port, and the new request took this one's place.
    Superseded,
    /// The phone fell silent.
    TimedOut,
    /// The other side of a connection let it stand still.
    Stalled(Stall),
    /// The request was not served.
    Refused(Refusal),
    /// This side could not go on.
    Failed(Failure),
}

impl Outcome {
    /// Whether the log is told: what repeats by the thousand is told once.
    #[must_use]
    pub fn is_told(self) -> bool {
        self != Outcome::Refused(Refusal::TooManyMisses { first: false })
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

/// Ways a phone ends a transfer that are part of its normal life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Abort {
    /// ERROR 8 after the OACK: it only wanted to know the size (RFC 2347).
    OptionsProbe,
    /// ERROR from a phone of a make that reads the beginning of a file to compare versions, and had
    /// that.
    HeaderRead,
    /// Any other ERROR from the phone, with its code: [`Record::words`] has its text.
    ByPhone(u16),
    /// The phone closed the connection before it had all: it had read what it wanted.
    Disconnected,
    /// The client said so (FTP, `ABOR`).
    Asked,
}

/// Why a request was not served: the phone's doing, or a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The packet breaks the protocol.
    Malformed,
    /// The request is longer than any may be (TFTP).
    RequestTooLong,
    /// The upload has another size than it had announced (TFTP).
    SizeDiffers,
    /// The name leads out of the root or cannot be a file.
    BadName(BadName),
    /// The name is hidden behind escapes that no client needs (HTTP).
    BadEscape,
    /// The path cannot be one, before it becomes a name (FTP).
    BadPath(crate::files::BadPath),
    /// No root of the stack has the name.
    NoSuchFile,
    /// The name may be one of those in a root or directory that cannot be read now.
    Unavailable,
    /// The address asks for too many names that do not exist.
    TooManyMisses {
        /// The log is told once, and not at every request.
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
    /// The method is known and not for this resource.
    MethodNotAllowed,
    /// The method is not one that is served.
    NotImplemented,
    /// What came is no request of HTTP, or too much of one.
    BadRequest(wire::http::request::Malformed),
    /// The body has no length (HTTP 411).
    LengthRequired,
    /// The body is a form with files in it, and not a file (HTTP 415).
    Multipart,
    /// The body is compressed or coded in another way (HTTP 415).
    Coded,
    /// The target is for the other kind of connection, with TLS or without (HTTP 421).
    Misdirected,
    /// The bodies on their way in hold all the memory that they may (HTTP).
    BodyMemory,
    /// Those of one address hold all that one address may.
    BodyMemoryShare,
    /// The uploads on their way in hold all the memory that they may (FTP).
    UploadMemory,
    /// None of the ranges lies in the file (HTTP 416).
    RangeNotSatisfiable,
    /// A condition of the request does not hold (HTTP 412).
    PreconditionFailed,
    /// The phone expects what is not offered (HTTP 417).
    ExpectationUnknown,
    /// No secret was sent, or a wrong one.
    Unauthorized,
    /// What a `[[protect]]` row asks for was not shown.
    Credentials(CredentialFault),
    /// The vault is for phones with a client certificate.
    CertificateNeeded,
    /// Too many wrong secrets came from the address; it has to wait.
    SlowedDown,
    /// The address has stored as much in the vault as it may within an hour.
    VaultBound,
    /// Head or body came too slowly.
    TooSlow,
    /// The address has too many connections, or all addresses together have.
    TooManyConnections,
    /// Clients outside the access list have all the connections that they may have.
    TooManyStrangers,
    /// The connection could not be secured.
    Handshake(Handshake),
    /// The phone does not say by SNMP who uses it.
    Unidentified(NoPassport),
    /// Nobody is logged in at the phone.
    NobodyLoggedIn,
    /// The client wants to store from the middle on what is stored whole, appended or new (FTP,
    /// `REST`).
    NoMiddle,
    /// The extension that is logged in at the phone is none that the vault can keep data of.
    ExtensionUnnamable,
    /// Another extension is logged in at the phone than the name carries.
    OtherExtension,
    /// The name carries no extension, and the phone is not asked for it.
    ExtensionMissing,
    /// The data connection came to nothing (FTP).
    DataConnection(DataFault),
    /// An administrator asked for what cannot be done with files.
    Files(crate::files::Fault),
    /// What is there is in the way of what was sent (HTTP 409).
    Conflict(crate::catalog::StoreError),
    /// The size of a text as it is sent by `TYPE A` is not known (FTP, `SIZE`).
    SizeOfText,
    /// The size of what the vault keeps is told with the file alone (FTP, `SIZE`, `MDTM`).
    SizeOfVault,
    /// Phones are not given directories, nor what else is for administrators (FTP).
    AdministratorsOnly,
    /// What came is HTTP and not FTP.
    ForeignHttp,
    /// What came is TLS where it had not been asked for.
    ForeignTls,
}

/// Why a client does not get what a `[[protect]]` row covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CredentialFault {
    /// No password was shown.
    Missing,
    /// What was shown cannot be read, or not in a way that the row offers.
    Unusable,
    /// The password is wrong, or the user is unknown.
    Wrong,
    /// The user's password is right, and the row is for others.
    UserNotAllowed,
    /// The response was made for an older challenge (HTTP, Digest).
    Stale,
    /// Too many passwords wait to be checked.
    Unchecked,
    /// TFTP has no passwords.
    OverTftp,
}

/// Why this side could not go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The file could not be opened.
    Open(crate::catalog::OpenError),
    /// The upload could not be stored.
    Store(crate::catalog::StoreError),
    /// The file was changed in place while it was being sent.
    FileChanged,
    /// The mapped file was cut short, or the kernel refused the send for good.
    SendRefused,
    /// The server stopped before the transfer was through.
    Stopped,
}

/// What the log says of one finished or refused transfer.
#[derive(Clone, Debug)]
pub struct Record {
    /// The protocol.
    pub protocol: Protocol,
    /// The phone.
    pub peer: SocketAddr,
    /// The port of this server that a phone was sent to from and never answered.
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
    /// How many the whole has, where that is known.
    pub of_bytes: Option<u64>,
    /// Blocks sent more than once.
    pub blocks_resent: u32,
    /// The status code of the answer, where the protocol has one.
    pub status: Option<u16>,
    /// Smoothed round trip, if one was measured.
    pub round_trip: Option<Duration>,
    /// What the connection is secured with, where it is.
    pub secured: Option<Secured>,
    /// What the peer calls itself (`User-Agent`), cut to [`WORDS_BYTES_MAX`]. Shared, as one
    /// connection carries many requests.
    pub user_agent: Option<Arc<[u8]>>,
    /// Who the peer says it is, where it has shown a password; cut to [`WORDS_BYTES_MAX`].
    pub user: Option<Box<[u8]>>,
    /// The peer's own words on how it ended (the text of an ERROR), or the command that was
    /// refused; cut to [`WORDS_BYTES_MAX`].
    pub words: Option<Box<[u8]>>,
    /// How it ended.
    pub outcome: Outcome,
}

impl Record {
    /// What every record has; the rest is filled in by those who know it.
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

/// What a connection is secured with, in the registered names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Secured {
    /// The version: `TLS 1.2`.
    pub version: &'static str,
    /// The suite: `TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256`.
    pub suite: &'static str,
}
