//! Rejections: the status for the client, and the reason for the log.
//!
//! Decides nothing.

use crate::catalog::{OpenError, StoreError};
use crate::policy::Allowed;
use crate::session::http::credentials::Challenge;
use crate::session::{Failure, Outcome, Refusal};
use crate::vault::request::{REALM, VaultError};
use wire::http::request::Malformed;
use wire::http::response::{Status, field, number};
use wire::time::Duration;

/// The methods that some name allows.
pub(super) const ALLOW_SERVER: &[u8] = b"GET, HEAD, PUT, DELETE, OPTIONS";
/// Sent to a client that sends a form with files in it.
const MULTIPART: &str = "send the bytes of the file alone, not multipart/form-data";
/// Sent to a client that sends a compressed file.
const CODED: &str = "send the file as it is, without Content-Encoding";
/// Sent to a client that asks for `https:` without TLS, or for `http:` over it.
const MISDIRECTED: &str = "ask for https: over TLS and for http: without it";
/// The methods that an administrator's files allow.
pub(super) const ALLOW_READ: &[u8] = b"GET, HEAD, OPTIONS";

/// Returns the methods of a name for which this is allowed (RFC 9110, 10.2.1).
pub(super) fn allow_of(allowed: Allowed) -> &'static [u8] {
    match (allowed.write, allowed.post, allowed.delete) {
        (false, _, false) => ALLOW_READ,
        (true, false, false) => b"GET, HEAD, PUT, OPTIONS",
        (true, true, false) => b"GET, HEAD, PUT, POST, OPTIONS",
        (true, false, true) => b"GET, HEAD, PUT, DELETE, OPTIONS",
        (true, true, true) => b"GET, HEAD, PUT, POST, DELETE, OPTIONS",
        (false, _, true) => b"GET, HEAD, DELETE, OPTIONS",
    }
}

/// A rejection, as it is answered and as it is logged.
#[derive(Clone, Debug)]
pub(super) struct Rejection {
    pub(super) status: Status,
    pub(super) outcome: Outcome,
    extra: Extra,
    pub(super) linger: bool,
    /// The text of the response's body beside the status.
    pub(super) words: &'static str,
}

/// A field that goes with a rejection.
#[derive(Clone, Debug)]
enum Extra {
    None,
    Allow(&'static [u8]),
    /// Retry after so many seconds.
    Retry(u64),
    /// A challenge for a secret of the vault.
    Challenge,
    /// A challenge for a password of a `[[protect]]` row.
    Protected(Box<Challenge>),
    /// The size of the file.
    Size(u64),
    /// The accepted codings of a body (RFC 9110, 12.5.3).
    AcceptEncoding,
}

impl Rejection {
    pub(super) fn new(status: Status, refusal: Refusal) -> Rejection {
        Rejection {
            status,
            outcome: Outcome::Refused(refusal),
            extra: Extra::None,
            linger: false,
            words: "",
        }
    }

    /// The file cannot be read now.
    pub(super) fn unavailable() -> Rejection {
        let rejection = Rejection::new(Status::SERVICE_UNAVAILABLE, Refusal::Unavailable);
        Rejection { extra: Extra::Retry(1), ..rejection }
    }

    /// The method is not allowed for this name.
    pub(super) fn method(allow: &'static [u8]) -> Rejection {
        let rejection = Rejection::new(Status::METHOD_NOT_ALLOWED, Refusal::MethodNotAllowed);
        Rejection { extra: Extra::Allow(allow), ..rejection }
    }

    /// A form with files in it is not a file.
    pub(super) fn multipart() -> Rejection {
        let rejection = Rejection::new(Status::UNSUPPORTED_MEDIA_TYPE, Refusal::Multipart);
        Rejection { words: MULTIPART, ..rejection }
    }

    /// A compressed body would be stored and served as if it were not (RFC 9110, 8.4).
    pub(super) fn coded() -> Rejection {
        let rejection = Rejection::new(Status::UNSUPPORTED_MEDIA_TYPE, Refusal::Coded);
        Rejection { words: CODED, extra: Extra::AcceptEncoding, ..rejection }
    }

    /// The target is for another connection than the one that received it.
    pub(super) fn misdirected() -> Rejection {
        let rejection = Rejection::new(Status::MISDIRECTED_REQUEST, Refusal::Misdirected);
        Rejection { words: MISDIRECTED, ..rejection }
    }

    /// A head or a body came too slowly.
    pub(super) fn too_slow() -> Rejection {
        Rejection::new(Status::REQUEST_TIMEOUT, Refusal::TooSlow).and_linger()
    }

    /// The bytes are no request.
    pub(super) fn malformed(fault: Malformed) -> Rejection {
        Rejection::new(fault.status(), Refusal::BadRequest(fault))
    }

    /// There is no room now.
    pub(super) fn busy(refusal: Refusal) -> Rejection {
        Rejection { extra: Extra::Retry(1), ..Rejection::new(Status::SERVICE_UNAVAILABLE, refusal) }
    }

    /// The client has to wait.
    pub(super) fn too_many(refusal: Refusal, wait: Duration) -> Rejection {
        let rejection = Rejection::new(Status::TOO_MANY_REQUESTS, refusal);
        Rejection { extra: Extra::Retry(wait.as_secs().max(1)), ..rejection }
    }

    /// The vault asks for a password.
    pub(super) fn unauthorized() -> Rejection {
        Rejection {
            extra: Extra::Challenge,
            ..Rejection::new(Status::UNAUTHORIZED, Refusal::Unauthorized)
        }
    }

    /// The credentials for a `[[protect]]` row are missing or wrong.
    pub(super) fn challenge(refusal: Refusal, challenge: Challenge) -> Rejection {
        let rejection = Rejection::new(Status::UNAUTHORIZED, refusal);
        Rejection { extra: Extra::Protected(Box::new(challenge)), ..rejection }
    }

    /// None of the ranges lies in a file of this size.
    pub(super) fn range(size: u64) -> Rejection {
        let rejection = Rejection::new(Status::RANGE_NOT_SATISFIABLE, Refusal::RangeNotSatisfiable);
        Rejection { extra: Extra::Size(size), ..rejection }
    }

    /// The server could not do it; it may be able to a moment later.
    pub(super) fn failed(failure: Failure, later: bool) -> Rejection {
        let outcome = Outcome::Failed(failure);
        let (status, extra) = match later {
            true => (Status::SERVICE_UNAVAILABLE, Extra::Retry(1)),
            false => (Status::INTERNAL_SERVER_ERROR, Extra::None),
        };
        Rejection { status, outcome, extra, linger: false, words: "" }
    }

    /// The writer could not store or delete.
    pub(super) fn store(fault: StoreError) -> Rejection {
        match fault {
            StoreError::Precondition => {
                Rejection::new(Status::PRECONDITION_FAILED, Refusal::PreconditionFailed)
            }
            StoreError::NotThere => Rejection::new(Status::NOT_FOUND, Refusal::NoSuchFile),
            StoreError::Exists | StoreError::NotAFile => {
                Rejection::new(Status::CONFLICT, Refusal::Conflict(fault))
            }
            StoreError::Full | StoreError::TotalMax | StoreError::Reserve => {
                Rejection::failed(Failure::Store(fault), false).with(Status::INSUFFICIENT_STORAGE)
            }
            StoreError::Busy
            | StoreError::NoMemory
            | StoreError::TooManyAside
            | StoreError::NoDescriptor
            | StoreError::Unavailable => Rejection::failed(Failure::Store(fault), true),
            StoreError::Forbidden | StoreError::Io => {
                Rejection::failed(Failure::Store(fault), false)
            }
        }
    }

    /// The vault could not do it.
    pub(super) fn denied(denied: VaultError) -> Rejection {
        let failed = |fault| Rejection::failed(Failure::Store(fault), false);
        match denied {
            VaultError::NotThere => Rejection::new(Status::NOT_FOUND, Refusal::NoSuchFile),
            VaultError::Unauthorized => Rejection::unauthorized(),
            VaultError::SlowedDown(wait) => Rejection::too_many(Refusal::SlowedDown, wait),
            VaultError::TooMuch(wait) => Rejection::too_many(Refusal::VaultBound, wait),
            VaultError::Precondition => {
                Rejection::new(Status::PRECONDITION_FAILED, Refusal::PreconditionFailed)
            }
            VaultError::Full => failed(StoreError::Full).with(Status::INSUFFICIENT_STORAGE),
            VaultError::TotalMax => failed(StoreError::TotalMax).with(Status::INSUFFICIENT_STORAGE),
            VaultError::Reserve => failed(StoreError::Reserve).with(Status::INSUFFICIENT_STORAGE),
            VaultError::Forbidden => failed(StoreError::Forbidden),
            VaultError::Io => failed(StoreError::Io),
            VaultError::Busy => Rejection::failed(Failure::Store(StoreError::Busy), true),
            VaultError::Unavailable => {
                Rejection::failed(Failure::Store(StoreError::Unavailable), true)
            }
        }
    }

    /// The vault could not read it. A disk that refuses may be mended: the client tries again.
    pub(super) fn unread(denied: VaultError) -> Rejection {
        match denied {
            VaultError::Io => Rejection::failed(Failure::Open(OpenError::Io), true),
            VaultError::Forbidden => Rejection::failed(Failure::Open(OpenError::Forbidden), true),
            VaultError::NotThere
            | VaultError::Unauthorized
            | VaultError::SlowedDown(_)
            | VaultError::TooMuch(_)
            | VaultError::TotalMax
            | VaultError::Reserve
            | VaultError::Precondition
            | VaultError::Full
            | VaultError::Unavailable
            | VaultError::Busy => Rejection::denied(denied),
        }
    }

    /// Returns the same with another status.
    pub(super) fn with(self, status: Status) -> Rejection {
        Rejection { status, ..self }
    }

    /// The connection ends after the response: further bytes of the phone belong to no request.
    pub(super) fn and_linger(self) -> Rejection {
        Rejection { linger: true, ..self }
    }

    /// Writes the fields that go with it.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        match &self.extra {
            Extra::None => {}
            Extra::Allow(allow) => field(out, "Allow", allow),
            Extra::Retry(seconds) => number(out, "Retry-After", *seconds),
            Extra::Challenge => {
                let challenge = format!("Basic realm=\"{REALM}\"");
                field(out, "WWW-Authenticate", challenge.as_bytes());
            }
            Extra::Protected(challenge) => challenge.write(out),
            Extra::AcceptEncoding => field(out, "Accept-Encoding", b"identity"),
            Extra::Size(bytes) => {
                field(out, "Content-Range", format!("bytes */{bytes}").as_bytes());
            }
        }
    }
}
