//! The reasons of refusals and failures, in words for the log.
//!
//! A table from outcomes to sentences and levels; it writes nothing.

use tracing::Level;

use engine::catalog::{OpenError, StoreError};
use engine::files::{BadPath, FilesError, ForbiddenReason};
use engine::session::snmp::IdentityError;
use engine::session::{Abort, CredentialFault, Failure, Handshake, Outcome, Refusal, Stall, Verb};
use wire::http::request::Malformed;
use wire::name::BadName;

/// An outcome in the log's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LogReason {
    /// A keyword to search and count by.
    pub(super) outcome: &'static str,
    /// The reason; empty after success.
    pub(super) reason: &'static str,
    pub(super) level: Level,
}

impl LogReason {
    pub(super) fn new(outcome: &Outcome, verb: Verb, bytes: u64) -> Self {
        let (reason, level) = match outcome {
            Outcome::Done => ("", Level::INFO),
            Outcome::DoneUnacknowledged if matches!(verb, Verb::Send | Verb::Delete) => {
                ("it was done, but the phone had left before it was told", Level::INFO)
            }
            Outcome::DoneUnacknowledged => ("the last acknowledgement is missing", Level::INFO),
            Outcome::Aborted(abort) => abort_reason(*abort, verb, bytes),
            Outcome::Superseded => ("the phone asked again", Level::INFO),
            Outcome::TimedOut if bytes == 0 => ("the phone never answered", Level::WARN),
            Outcome::TimedOut => ("the phone fell silent", Level::WARN),
            Outcome::Stalled(stall) => (stall_reason(*stall), Level::WARN),
            Outcome::Refused(refusal) => refusal_reason(*refusal),
            Outcome::Failed(failure) => (failure_reason(*failure), Level::ERROR),
        };
        LogReason { outcome: outcome.label().outcome(), reason, level }
    }

    /// Returns whether repeats are summed. Success and this side's failures are always logged.
    pub(super) fn may_flood(self) -> bool {
        !matches!(self.outcome, "done" | "failed")
    }
}

fn abort_reason(abort: Abort, verb: Verb, bytes: u64) -> (&'static str, Level) {
    match (abort, verb) {
        (Abort::OptionsProbe, _) => ("the phone only wanted to know the size", Level::INFO),
        (Abort::HeaderRead, _) => {
            ("the phone had what it wanted: the beginning of the file", Level::INFO)
        }
        (Abort::ByPhone(code), _) => (phone_error(code), Level::WARN),
        (Abort::Disconnected, Verb::Fetch) if bytes > 0 => {
            ("the phone closed the connection in the middle", Level::WARN)
        }
        (Abort::Asked, _) => ("the client broke it off (ABOR)", Level::INFO),
        (Abort::Disconnected, Verb::Fetch | Verb::Ask | Verb::Connect | Verb::List) => {
            ("the phone closed the connection before it was answered", Level::INFO)
        }
        (
            Abort::Disconnected,
            Verb::Send | Verb::Delete | Verb::LogIn | Verb::Make | Verb::Rename,
        ) => ("the phone closed the connection before it was answered", Level::WARN),
    }
}

/// Names the key by which a stalled connection was closed.
fn stall_reason(stall: Stall) -> &'static str {
    match stall {
        Stall::Unread => "the phone acknowledged nothing for stall_timeout",
        Stall::ReadSlowly => "the phone acknowledged less than rate_min",
        Stall::Unsent => "the phone sent nothing for stall_timeout",
        Stall::SentSlowly => "the phone sent less than rate_min",
        Stall::GivenUp => "the phone acknowledged nothing until the system gave it up",
    }
}

/// The meaning of a phone's ERROR (RFC 1350, section 5, and RFC 2347).
fn phone_error(code: u16) -> &'static str {
    match code {
        0 => "the phone gave up (ERROR 0)",
        1 => "the phone gave up: it lacks a file (ERROR 1)",
        2 => "the phone gave up: it refuses the file (ERROR 2)",
        3 => "the phone gave up: its disk is full (ERROR 3)",
        4 => "the phone gave up: it calls the transfer illegal (ERROR 4)",
        5 => "the phone gave up: it no longer knows the transfer (ERROR 5)",
        6 => "the phone gave up: it has the file already (ERROR 6)",
        7 => "the phone gave up: it knows no such user (ERROR 7)",
        8 => "the phone gave up: it refuses the options (ERROR 8)",
        9.. => "the phone gave up (an ERROR without a meaning)",
    }
}

/// Why a name is invalid, in the words of `explain`.
fn name_reason(why: BadName) -> (&'static str, Level) {
    match why {
        BadName::Empty => ("the name is empty", Level::INFO),
        BadName::TooLong => ("the name is longer than any file's (255 bytes)", Level::WARN),
        BadName::Control(_) => ("the name holds a control byte", Level::WARN),
        BadName::Parent => ("the name has a part `..`, which leads out of the root", Level::WARN),
        BadName::Hidden => {
            ("the name has a part that begins with a dot: such files are never served", Level::WARN)
        }
        BadName::Colon => {
            ("the name holds a colon (a drive letter or a stream of Windows)", Level::WARN)
        }
        BadName::Device => ("the name has a part that Windows takes for a device", Level::WARN),
        BadName::TrailingDotOrBlank => {
            ("the name has a part that ends in a dot or a blank", Level::WARN)
        }
        BadName::Directory => ("the name is that of a directory, which is no file", Level::INFO),
    }
}

fn path_reason(why: BadPath) -> &'static str {
    match why {
        BadPath::TooLong => "the path is too long",
        BadPath::PartTooLong => "a name of the path is too long",
        BadPath::NotUtf8 => "the path is not UTF-8",
        BadPath::Control => "the path holds a control character",
        BadPath::AboveTop => "the path leads above `/`",
    }
}

const MISSES: &str = "the address asks for too many names that do not exist, and is stopped for \
     a while (misses_max in [guesses])";
const TOO_MANY_CONNECTIONS: &str = "too many connections (`per_address` or `max` in \
     [http_limits]; of FTP, `per_address` or `sessions_max` in [ftp])";
const BODY_MEMORY: &str =
    "the uploads under way hold all the memory that they may (body_memory in [http_limits])";
const BODY_MEMORY_SHARE: &str = "the uploads under way of this address hold half of body_memory in \
     [http_limits], which is all that one address may";
const UPLOAD_MEMORY: &str =
    "the uploads under way hold all the memory that they may (upload_memory in [ftp])";
const CERTIFICATE_NEEDED: &str =
    "the vault is for phones that show a client certificate (auth in [vault])";
const CREDENTIALS_UNUSABLE: &str = "the credentials cannot be read, or are of a scheme, realm or \
     target that was not asked for";
const VAULT_BOUND: &str = "the address has stored as much as it may within an hour: see \
     `bytes_per_hour` and `new_per_hour` in [vault]";

/// A table of refusals, with the log's text and level for each.
macro_rules! refusals {
    ($($refusal:pat => $message:expr),* $(,)?) => {
        fn refusal_reason(refusal: Refusal) -> (&'static str, Level) {
            match refusal {
                $($refusal => $message),*
            }
        }
    };
}

refusals! {
    Refusal::Malformed => ("the request breaks the protocol", Level::WARN),
    Refusal::RequestTooLong => {
        ("the request is longer than the 512 bytes that RFC 2347 allows", Level::WARN)
    },
    Refusal::SizeDiffers => {
        ("the phone sent another number of bytes than its tsize had said", Level::WARN)
    },
    Refusal::BadName(why) => name_reason(why),
    Refusal::BadEscape => {
        ("the name is hidden behind escapes that no client needs", Level::WARN)
    },
    Refusal::BadPath(why) => (path_reason(why), Level::WARN),
    // Phones request many files that need not exist: so they find those that do.
    Refusal::NoSuchFile => ("no such file", Level::INFO),
    Refusal::Unavailable => ("the name may be one of what cannot be read now", Level::ERROR),
    Refusal::TooManyMisses { first: _ } => (MISSES, Level::WARN),
    Refusal::AccessDenied => ("the phone is not on the access list", Level::WARN),
    Refusal::UploadNotAllowed => ("no [[upload]] row allows this name", Level::WARN),
    Refusal::UploadTooLarge => {
        ("larger than `max` of its [[upload]] row or of [vault]", Level::WARN)
    },
    Refusal::ModeUnknown => ("the mode is neither octet nor netascii", Level::WARN),
    Refusal::NoSlot => ("all places are taken (clients_max)", Level::WARN),
    Refusal::TooManyTransfers => ("too many transfers are open (transfers_max)", Level::WARN),
    Refusal::Stopping => ("the server is about to stop", Level::INFO),
    Refusal::MethodNotAllowed => ("the method is not for this file", Level::WARN),
    Refusal::NotImplemented => ("the method is not served", Level::WARN),
    Refusal::BadRequest(fault) => (fault_reason(fault), Level::WARN),
    Refusal::Multipart => ("the body is multipart, and not the bytes of a file", Level::WARN),
    Refusal::Coded => {
        ("the body is compressed (Content-Encoding), and would be served so", Level::WARN)
    },
    Refusal::Misdirected => {
        ("the target is for the other kind of connection, with TLS or without", Level::WARN)
    },
    Refusal::BodyMemory => (BODY_MEMORY, Level::WARN),
    Refusal::BodyMemoryShare => (BODY_MEMORY_SHARE, Level::WARN),
    Refusal::UploadMemory => (UPLOAD_MEMORY, Level::WARN),
    Refusal::LengthRequired => ("the body has no length", Level::WARN),
    Refusal::RangeNotSatisfiable => ("no such range in the file", Level::INFO),
    Refusal::PreconditionFailed => ("a condition of the request does not hold", Level::INFO),
    Refusal::ExpectationUnknown => ("the phone expects what is not offered", Level::WARN),
    Refusal::Unauthorized => ("no secret was sent, or a wrong one", Level::WARN),
    Refusal::Credentials(fault) => credentials_reason(fault),
    Refusal::CertificateNeeded => (CERTIFICATE_NEEDED, Level::WARN),
    Refusal::VaultBound => (VAULT_BOUND, Level::WARN),
    Refusal::SlowedDown => ("too many wrong secrets came from the address", Level::WARN),
    Refusal::TooSlow => ("the request or its body came too slowly", Level::WARN),
    Refusal::TooManyConnections => (TOO_MANY_CONNECTIONS, Level::WARN),
    Refusal::TooManyStrangers => (
        "clients outside the access list have all the connections that they may have: an \
         eighth",
        Level::WARN,
    ),
    Refusal::Handshake(why) => (handshake_reason(why), Level::WARN),
    Refusal::Unidentified(why) => (passport_reason(why), Level::WARN),
    Refusal::NobodyLoggedIn => ("nobody is logged in at the phone (SNMP)", Level::WARN),
    Refusal::NoMiddle => (
        "REST came before a command that stores whole files, appends or makes new ones",
        Level::WARN,
    ),
    Refusal::ExtensionUnnamable => (
        "the extension that is logged in at the phone can be no file name, so the vault keeps \
         no data of it",
        Level::WARN,
    ),
    Refusal::OtherExtension => {
        ("another extension is logged in at the phone than the name carries", Level::WARN)
    },
    Refusal::ExtensionMissing => (
        "the name carries no extension, and `trusted_networks` keeps the phone from being asked",
        Level::WARN,
    ),
    Refusal::DataConnection(fault) => (fault.words(), Level::WARN),
    Refusal::Files(fault) => (files_reason(fault), Level::INFO),
    Refusal::Conflict(fault) => (failure_reason(Failure::Store(fault)), Level::WARN),
    Refusal::SizeOfText => {
        ("SIZE was asked for in TYPE A: how long a text is then is not known", Level::INFO)
    },
    Refusal::SizeOfVault => {
        ("the vault tells size and date of what it keeps with the file alone", Level::INFO)
    },
    Refusal::AdministratorsOnly => {
        ("the command is for administrators, and a phone is logged in", Level::WARN)
    },
    Refusal::ForeignHttp => {
        ("what came is HTTP and no FTP: the session was ended", Level::WARN)
    },
    Refusal::ForeignTls => {
        ("the client spoke TLS without AUTH TLS; give it the port of `tls_listen`", Level::WARN)
    },
}

/// Why a client has no access to a protected file.
fn credentials_reason(fault: CredentialFault) -> (&'static str, Level) {
    match fault {
        // Every client that does not send its password at once begins like this.
        CredentialFault::Missing => ("credentials missing", Level::INFO),
        CredentialFault::Unusable => (CREDENTIALS_UNUSABLE, Level::WARN),
        CredentialFault::Wrong => ("wrong password, or no such user", Level::WARN),
        CredentialFault::UserNotAllowed => {
            ("the user is none that [[protect]] asks for", Level::WARN)
        }
        CredentialFault::Stale => ("the challenge is too old: the phone gets another", Level::INFO),
        CredentialFault::Unchecked => {
            ("too many passwords wait to be checked; the phone is told to come again", Level::WARN)
        }
        CredentialFault::OverTftp => (
            "[[protect]] covers the name, and TFTP has no passwords: see `protocols` there",
            Level::WARN,
        ),
    }
}

/// Why an administrator's request failed.
fn files_reason(fault: FilesError) -> &'static str {
    match fault {
        FilesError::NotThere => "there is no such file or directory",
        FilesError::Exists => "there is one of this name already",
        FilesError::NotEmpty => "the directory is not empty",
        FilesError::IsDirectory => "it is a directory",
        FilesError::NotDirectory => "it is no directory",
        FilesError::Forbidden(ForbiddenReason::System) => {
            "the system does not allow it: the user that Ringpost runs as lacks the right"
        }
        FilesError::Forbidden(ForbiddenReason::Protected) => "it belongs to the server itself",
        FilesError::Forbidden(
            ForbiddenReason::Virtual
            | ForbiddenReason::Root
            | ForbiddenReason::Hidden
            | ForbiddenReason::Name(_)
            | ForbiddenReason::Special
            | ForbiddenReason::IntoItself,
        ) => "it is not for administrators either",
        FilesError::Full => "the disk or the quota is full",
        FilesError::TooLarge => "the file is larger than the configuration allows",
        FilesError::TooMany => "the directory holds too much for one listing",
        FilesError::BeyondEnd => "the file ends before the place to go on at",
        FilesError::BrokenOff => "an upload of it was broken off, and nothing was kept of it",
        FilesError::Changed => "somebody else changed the file since the upload began",
        FilesError::Busy => "the server or the file was busy",
        FilesError::Io => "the disk failed",
        FilesError::CrossArea => "the two places lie on two disks",
    }
}

/// Why a phone's user is not known, and the remedy.
fn passport_reason(why: IdentityError) -> &'static str {
    match why {
        IdentityError::Silent => {
            "the phone does not answer by SNMP: set SNMPSTRING and SNMPADD on it, or name its \
             network in `trusted_networks`"
        }
        IdentityError::Stranger | IdentityError::Refused(_) | IdentityError::TooMany => why.words(),
        IdentityError::NoCommunity => {
            "no row of `communities` in [snmp] is for the phone's network"
        }
    }
}

/// Why the bytes are not a request, and which limit they exceed, if any.
fn fault_reason(fault: Malformed) -> &'static str {
    match fault {
        Malformed::HeadTooLarge => "the head of the request is too large (head_max)",
        Malformed::TooManyLines => "the head of the request has too many lines (head_lines_max)",
        Malformed::TlsHello => {
            "the phone spoke TLS to a port that speaks plain HTTP; give it the port of an [[https]]"
        }
        Malformed::BadRequest(_)
        | Malformed::TargetTooLong
        | Malformed::VersionUnknown
        | Malformed::TransferCodingUnknown => fault.sentence(),
    }
}

/// Why a TLS handshake failed, and the remedy if there is one.
fn handshake_reason(why: Handshake) -> &'static str {
    match why {
        Handshake::Untrusted => {
            "the phone does not trust this server's certificate; give it the CA (`ringpost \
             certificate export`), or a certificate from a CA that it knows"
        }
        Handshake::CertificateRefused => {
            "the phone refuses the certificate: its name or its dates (`ringpost certificate show`)"
        }
        Handshake::NoSharedVersion => {
            "the phone speaks no TLS that this listener speaks; old phones need a listener with \
             `legacy = true`"
        }
        Handshake::NoSharedSuite => {
            "the phone has no cipher suite that this listener has; old phones need one with \
             `legacy = true`, phones of today one without `authenticate_only`"
        }
        Handshake::PlainRequest => "the phone spoke plain HTTP to a port that speaks TLS",
        Handshake::NotTls => "what came is no TLS",
        Handshake::NoClientCertificate => "the phone showed no client certificate",
        Handshake::ExpiredClientCertificate => {
            "the phone's certificate has expired, or does not hold yet"
        }
        Handshake::RevokedClientCertificate => "the phone's certificate is revoked (client_crl)",
        Handshake::StrangeClientCertificate => {
            "the phone's certificate is issued by none of those in client_ca"
        }
        Handshake::Version1ClientCertificate => {
            "the phone's certificate is of X.509 version 1; forgive that with client_accept = \
             [\"v1\"]"
        }
        Handshake::Sha1ClientCertificate => {
            "the phone's certificate is signed with SHA-1; forgive that with client_accept = \
             [\"sha1\"]"
        }
        Handshake::ShortKeyClientCertificate => {
            "the phone's certificate has an RSA key of less than 2048 bits"
        }
        Handshake::WrongUsageClientCertificate => {
            "the phone's certificate is not meant for clients (extended key usage)"
        }
        Handshake::BadClientCertificate => "the phone's certificate is not accepted",
        Handshake::TooSlow => {
            "the handshake was not through in time (head_timeout); where this is every phone of a \
             network, large packets may be lost on the way (MTU)"
        }
        Handshake::Abandoned => "the phone closed the connection during the handshake",
        Handshake::Failed => "the handshake failed",
    }
}

fn failure_reason(failure: Failure) -> &'static str {
    match failure {
        Failure::Open(OpenError::Gone) => "the file has gone",
        Failure::Open(OpenError::Forbidden) => "the server may not read the file",
        Failure::Open(OpenError::NotServable) => "the file is no regular file beneath its root",
        Failure::Open(OpenError::Unavailable) | Failure::Store(StoreError::Unavailable) => {
            "its directory is away, or the disk does not answer"
        }
        Failure::Open(OpenError::BeingWritten) => "somebody keeps writing to the file",
        Failure::Open(OpenError::TooLarge) => "the file is too large for this mode",
        Failure::Open(OpenError::Io) => "the disk failed",
        Failure::Open(OpenError::Busy) => "the disks could not keep up",
        Failure::Store(StoreError::Full) => "the disk or the quota is full",
        Failure::Store(StoreError::TotalMax) => {
            "the vault holds as much as `total_max` in [vault] allows"
        }
        Failure::Store(StoreError::Reserve) => {
            "what is left free of the vault's disk is the `reserve` of [vault]"
        }
        Failure::Store(StoreError::Exists) => "the file exists and is never replaced",
        Failure::Store(StoreError::NotAFile) => {
            "a directory has the file's place, or a file that of a directory"
        }
        Failure::Store(StoreError::NotThere) => "there is no such file",
        Failure::Store(StoreError::Precondition) => "the file is not the one that was expected",
        Failure::Store(StoreError::Forbidden) => "the server may not read or write there",
        Failure::Store(StoreError::Io) => "the disk failed",
        Failure::Store(StoreError::Busy) => "the disks could not keep up",
        Failure::Store(StoreError::NoMemory) => {
            "the uploads under way hold all the memory that they may (upload_memory)"
        }
        Failure::Store(StoreError::TooManyAside) => {
            "too many large uploads are under way, from this address or from all"
        }
        Failure::Store(StoreError::NoDescriptor) => {
            "the system gives this process no more descriptors (LimitNOFILE, `ulimit -n`)"
        }
        Failure::FileChanged => "the file was changed in place while it was sent",
        Failure::SendRefused => "the system refused to send",
        Failure::Stopped => "the server stopped",
    }
}
