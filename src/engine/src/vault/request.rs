//! Requests to the vault, their results, and who may make them: values that travel from the data
//! path to the threads that may wait.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use super::bounds::VaultBounds;
use super::names::Item;
use crate::cancel::CancelToken;
use crate::catalog::Stored;
use crate::catalog::blob::{Blob, Version};
use wire::http::authorization::DigestCredentials;
pub use wire::http::condition::Precondition;
use wire::http::response::{EntityTag, Stamp};
use wire::time::Duration;

/// The realm of every challenge. It never changes: a phone that has answered a challenge once
/// repeats its answer for the same realm, and asks its user again for another one.
pub const REALM: &str = "Ringpost";

/// Who may reach an extension's data.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Auth {
    /// Everyone on the access list.
    #[default]
    Open,
    /// Anyone in the users' file, by password (Basic).
    Users(PathBuf),
    /// Anyone with the secret that was first sent for the extension (Basic).
    Pinned,
    /// Anyone with a client certificate that the listener trusts.
    Certificate,
}

/// What happens to an upload that neither the vault nor a rule takes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Unknown {
    /// It is refused.
    #[default]
    Refuse,
    /// It is kept where no client can read it.
    Quarantine {
        /// The writer's number for the directory.
        directory: u16,
        /// Largest size in bytes.
        bytes_max: u64,
    },
}

/// How expired versions are archived instead of removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArchivePolicy {
    /// How long archives are kept, in whole months. Default two years.
    pub keep: Duration,
    /// The hour of the nightly job, 0 to 23 in UTC. Default 2.
    pub hour: u8,
}

/// Settings of the vault, `[vault]` in the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VaultPolicy {
    /// The directory of the versions.
    pub dir: PathBuf,
    /// Folded paths without slashes at the ends under which phones reach it; an empty one is `/`.
    pub prefixes: Vec<Box<[u8]>>,
    /// Who may read and store.
    pub auth: Auth,
    /// Largest version in bytes. Default 1 MiB.
    pub bytes_max: u64,
    /// Versions kept of each item, at least 1. Default 20.
    pub versions_max: usize,
    /// Versions are kept no longer than this, but for the newest. Default 90 days.
    pub age_max: Duration,
    /// How versions beyond either limit are archived at night; `None` if they are removed.
    pub archive: Option<ArchivePolicy>,
    /// What happens to unknown uploads.
    pub unknown: Unknown,
    /// How much the vault may hold, and how much one address may store.
    pub bounds: VaultBounds,
}

/// What a client has proven or sent.
#[derive(Clone, Debug, Default)]
pub struct Credentials {
    /// User and password, as sent by Basic.
    pub basic: Option<(Vec<u8>, Vec<u8>)>,
    /// Whether the listener asked for a client certificate and got one that it trusts.
    pub certificate: bool,
    /// Whether the phone itself said, over SNMP, that the extension is logged in there, or its
    /// network is trusted.
    pub identity: bool,
}

/// A name and a proof of it.
#[derive(Clone)]
pub struct Login {
    /// The address of the client.
    pub client: IpAddr,
    /// The users' files, first match first. Every user of one may log in, whatever extensions the
    /// line names.
    pub users: Vec<PathBuf>,
    /// The name.
    pub name: Vec<u8>,
    /// The proof. Never logged.
    pub secret: LoginSecret,
    /// Cancels the check, once its client has left.
    pub cancel: CancelToken,
}

/// How a login is proven.
#[derive(Clone)]
pub enum LoginSecret {
    /// The password itself.
    Password(Vec<u8>),
    /// A hash made with the password (RFC 7616), and the method of the request.
    Digest(Box<DigestCredentials>, &'static [u8]),
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Login of {} from {}", self.name.escape_ascii(), self.client)
    }
}

/// Returns whether a precondition holds for the current version, which is `None` if there is none.
#[must_use]
pub fn holds(precondition: &Precondition, there: Option<&Version>) -> bool {
    match (precondition, there) {
        (Precondition::None, _) => true,
        (Precondition::New, there) => there.is_none(),
        (Precondition::Exists, there) => there.is_some(),
        (Precondition::Matches(tags), Some(there)) => {
            // A client that asked before the bytes were hashed has the provisional tag.
            let before = Version { digest: None, ..*there };
            let both = [EntityTag::of(there), EntityTag::of(&before)];
            tags.iter().any(|one| both.iter().any(|tag| **one == *tag.opaque()))
        }
        (Precondition::Matches(_), None) => false,
        (Precondition::MatchesNone(tags), Some(there)) => {
            let tag = EntityTag::of(there);
            tags.iter().all(|one| **one != *tag.opaque())
        }
        (Precondition::MatchesNone(_), None) => true,
        (Precondition::Both(both), there) => both.iter().all(|one| holds(one, there)),
        (Precondition::UnmodifiedSince(second), Some(there)) => {
            Stamp::from(there).modified_s() <= *second
        }
        // A file without a date cannot have been modified since (RFC 9110, 13.1.4).
        (Precondition::UnmodifiedSince(_), None) => true,
    }
}

/// A request to the vault.
#[derive(Debug)]
pub struct VaultRequest {
    /// The phone's address.
    pub client: IpAddr,
    /// The user's data.
    pub item: Item,
    /// What the phone has proven or sent.
    pub credentials: Credentials,
    /// The settings when the request was made.
    pub policy: Arc<VaultPolicy>,
    /// What to do.
    pub op: VaultOp,
    /// Cancels the check of its secret, once its client has left. What a client stores is stored
    /// even if it does not wait for the answer, so only a reader cancels.
    pub check: CancelToken,
}

impl VaultRequest {
    /// Returns the token that cancels it, if there is one.
    #[must_use]
    pub fn cancel_token(&self) -> Option<&CancelToken> {
        match &self.op {
            VaultOp::Keep { cancel, .. } => cancel.as_ref(),
            VaultOp::Check | VaultOp::Fetch | VaultOp::Forget { .. } => None,
        }
    }
}

/// What to do with an item.
#[derive(Debug)]
pub enum VaultOp {
    /// Say whether the secret permits to store, before the bytes are sent. Pins nothing.
    Check,
    /// Read the newest version.
    Fetch,
    /// Store these bytes as a new version.
    Keep {
        /// The bytes as received.
        bytes: Vec<u8>,
        /// The precondition.
        precondition: Precondition,
        /// Cancels it. In FTP the end of the data does not prove that it is whole; a client that
        /// dies before the end of the command has changed nothing.
        cancel: Option<CancelToken>,
    },
    /// Note that there is no version any more; older ones stay until they expire.
    Forget {
        /// The precondition.
        precondition: Precondition,
    },
}

/// What the vault did.
#[derive(Debug)]
pub enum VaultReply {
    /// It may be stored.
    Permitted,
    /// The newest version, on the heap.
    Fetched(Arc<Blob>),
    /// A new version is durable.
    Kept(Stored),
    /// Durably, there is no version any more.
    Forgotten,
}

/// Why the vault did nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VaultError {
    /// There is no version, or it was forgotten.
    NotThere,
    /// No secret, or a wrong one.
    Unauthorized,
    /// The address has sent too many wrong secrets; after this long it may try again.
    SlowedDown(Duration),
    /// The address has stored as much as it may within an hour; after this long it may go on.
    TooMuch(Duration),
    /// The vault holds as much as `total_max` allows.
    TotalMax,
    /// The free space of its disk is down to the `reserve`.
    Reserve,
    /// The precondition does not hold.
    Precondition,
    /// The disk or the vault is full.
    Full,
    /// The system does not let this process write there.
    Forbidden,
    /// The disk failed; the log says how.
    Io,
    /// The vault's directory is away: its disk is not mounted, or does not answer.
    Unavailable,
    /// The queue was full.
    Busy,
}
