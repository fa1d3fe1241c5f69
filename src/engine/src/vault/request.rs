//! What is wanted of the vault, what it may say, and who may ask: values that cross from the data
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

/// The realm that every challenge names. It never changes: a phone that has answered it once
/// answers from its memory from then on, and asks its user again where it differs.
pub const REALM: &str = "Ringpost";

/// Who may reach an extension's data.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Auth {
    /// Everybody on the access list.
    #[default]
    Open,
    /// Whoever is in the users' file and sends its password (Basic).
    Users(PathBuf),
    /// Whoever sends the secret that was first sent for the extension (Basic).
    Pinned,
    /// Whoever shows a client certificate that the listener trusts.
    Certificate,
}

/// What becomes of an upload that neither the vault nor a rule knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Unknown {
    /// It is refused.
    #[default]
    Refuse,
    /// It is kept where nobody is served from.
    Quarantine {
        /// The writer's number for the directory.
        directory: u16,
        /// Largest size in bytes.
        bytes_max: u64,
    },
}

/// How versions whose time is over are gathered instead of removed.
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
    /// Where versions lie.
    pub dir: PathBuf,
    /// Folded paths without slashes at the ends under which phones reach it; an empty one is `/`.
    pub prefixes: Vec<Box<[u8]>>,
    /// Who may.
    pub auth: Auth,
    /// Largest version in bytes. Default 1 MiB.
    pub bytes_max: u64,
    /// Versions kept of each item, at least 1. Default 20.
    pub versions_max: usize,
    /// Versions are kept no longer than this, but for the newest. Default 90 days.
    pub age_max: Duration,
    /// What becomes of versions beyond either: they are gathered at night, or removed where this is
    /// none.
    pub archive: Option<ArchivePolicy>,
    /// What becomes of uploads that nobody knows.
    pub unknown: Unknown,
    /// How much it may hold, and how much of that one address may bring.
    pub bounds: VaultBounds,
}

/// What somebody showed to be let in.
#[derive(Clone, Debug, Default)]
pub struct Credentials {
    /// User and password as Basic has them.
    pub basic: Option<(Vec<u8>, Vec<u8>)>,
    /// The listener asked for a client certificate, and one that it trusts was shown.
    pub certificate: bool,
    /// The phone itself has said, over SNMP, that the extension is logged in there; or its network
    /// is one whose phones are believed.
    pub passport: bool,
}

/// Somebody who says who they are, and proves it by a password.
#[derive(Clone)]
pub struct Login {
    /// Where they are.
    pub client: IpAddr,
    /// The users' files, first match first; whoever is in one may, whatever extensions the line
    /// names.
    pub users: Vec<PathBuf>,
    /// Who they say they are.
    pub name: Vec<u8>,
    /// What they prove it by. Never shown, not even here.
    pub secret: LoginSecret,
}

/// What somebody proves by who they are.
#[derive(Clone)]
pub enum LoginSecret {
    /// The password itself.
    Password(Vec<u8>),
    /// A hash that it went into (RFC 7616), and the method of the request.
    Digest(Box<DigestCredentials>, &'static [u8]),
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Login of {} from {}", self.name.escape_ascii(), self.client)
    }
}

/// Whether a precondition holds for what is there; nothing where there is nothing to be fetched.
#[must_use]
pub fn holds(precondition: &Precondition, there: Option<&Version>) -> bool {
    match (precondition, there) {
        (Precondition::None, _) => true,
        (Precondition::New, there) => there.is_none(),
        (Precondition::Exists, there) => there.is_some(),
        (Precondition::Matches(tags), Some(there)) => {
            // Whoever asked before the bytes had been hashed has the tag of then.
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
        // What has no date cannot have been modified since (RFC 9110, 13.1.4).
        (Precondition::UnmodifiedSince(_), None) => true,
    }
}

/// Something that the vault is to do.
#[derive(Debug)]
pub struct VaultRequest {
    /// The phone's address.
    pub client: IpAddr,
    /// Whose data.
    pub item: Item,
    /// What the phone showed.
    pub credentials: Credentials,
    /// The settings of the moment.
    pub policy: Arc<VaultPolicy>,
    /// What to do.
    pub op: VaultOp,
}

impl VaultRequest {
    /// The token that takes it back, if there is one.
    #[must_use]
    pub fn cancel_token(&self) -> Option<&CancelToken> {
        match &self.op {
            VaultOp::Keep { cancel, .. } => cancel.as_ref(),
            VaultOp::Fetch | VaultOp::Forget { .. } => None,
        }
    }
}

/// What to do with an item.
#[derive(Debug)]
pub enum VaultOp {
    /// Give out the newest version.
    Fetch,
    /// Keep these bytes as a new version.
    Keep {
        /// As they came.
        bytes: Vec<u8>,
        /// What must hold.
        precondition: Precondition,
        /// Takes it back: a client that dies before the end of a protocol in which that end means
        /// nothing by itself (FTP) has changed nothing.
        cancel: Option<CancelToken>,
    },
    /// Note that there is nothing any more; older versions stay until their time is over.
    Forget {
        /// What must hold.
        precondition: Precondition,
    },
}

/// What the vault did.
#[derive(Debug)]
pub enum VaultReply {
    /// The newest version, on the heap.
    Fetched(Arc<Blob>),
    /// A new version is durable.
    Kept(Stored),
    /// There is nothing to be fetched any more, durably.
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
    /// The address has brought as much as it may within an hour; after this long it may go on.
    TooMuch(Duration),
    /// The vault holds as much as `total_max` allows.
    TotalMax,
    /// What is left free of its disk is the `reserve`.
    Reserve,
    /// The precondition does not hold.
    Precondition,
    /// The disk is full, or the vault is.
    Full,
    /// The system does not let this process write there.
    Forbidden,
    /// The disk failed; the log says how.
    Io,
    /// The queue was full.
    Busy,
}
