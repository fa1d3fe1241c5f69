//! Where a phone's name leads: to the vault, to a file of the catalog, or to where uploads go.
//!
//! Decides from memory alone, as for HTTP and TFTP, in this order: the name, the access list, the
//! vault, the catalog.

use std::net::IpAddr;
use std::sync::Arc;

use crate::content::Entry;
use crate::content::files::TreePath;
use crate::session::ftp::login::said;
use crate::session::ftp::session::{Goal, Whose};
use crate::session::{Protocol, Refusal, Subject, Turn};
use crate::vault::deed::Precondition;
use crate::vault::names::Item;
use crate::vault::route::{Destination, Stranger, quarantine, route};
use crate::vault::upload::{Existing, Upload};
use crate::vendor::avaya;
use crate::wire::ftp::reply::Code;
use crate::wire::name::FileName;

/// A refusal, and what the client is told.
pub(super) struct No {
    pub(super) refusal: Refusal,
    pub(super) code: Code,
    pub(super) text: String,
}

impl No {
    pub(super) fn new(refusal: Refusal, code: Code, text: impl Into<String>) -> No {
        No { refusal, code, text: text.into() }
    }

    fn denied() -> No {
        let text = "You are not on the access list of this server.";
        No::new(Refusal::AccessDenied, Code::UNAVAILABLE, text)
    }
}

/// The name that the log tells.
pub(super) fn subject(name: &[u8]) -> Subject {
    said(name)
}

/// Where a name leads that was said in a directory.
fn name_of(cwd: &TreePath, asked: &[u8]) -> Result<FileName, (Subject, No)> {
    let bad = |refusal: Refusal, text: String| {
        (said(asked), No::new(refusal, Code::NAME_DENIED, capital(&text)))
    };
    let path = TreePath::parse(cwd, asked);
    let path = path.map_err(|why| bad(Refusal::BadPath(why), why.to_string()))?;
    let parsed = FileName::parse(path.to_string().as_bytes());
    parsed.map_err(|why| bad(Refusal::BadName(why), why.to_string()))
}

/// What the log tells of a path: as it was asked for, with the directory that it was asked in.
fn path_said(cwd: &TreePath, asked: &[u8]) -> Subject {
    match TreePath::parse(cwd, asked) {
        Ok(path) if !cwd.is_top() => said(path.to_string().as_bytes()),
        Ok(_) | Err(_) => said(asked),
    }
}

/// A sentence of a reply.
pub(super) fn capital(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(|first| first.to_ascii_uppercase());
    first.into_iter().chain(letters).chain(['.']).collect()
}

/// What a phone gets for a name.
pub(super) fn to_read(
    cwd: &TreePath,
    asked: &[u8],
    client: IpAddr,
    turn: &Turn<'_>,
) -> (Subject, Result<Goal, No>) {
    let name = match name_of(cwd, asked) {
        Ok(name) => name,
        Err((subject, no)) => return (subject, Err(no)),
    };
    let policy = &turn.snapshot.policy;
    let named = || path_said(cwd, asked);
    if !policy.access.permits(Protocol::Ftp, client) {
        let fallback = avaya::override_for(&name);
        let fallback =
            fallback.and_then(|name| turn.snapshot.catalog.find(&policy.ftp.stack, &name));
        return match fallback {
            Some(entry) => (Subject::File(Arc::clone(entry)), Ok(Goal::Read(Arc::clone(entry)))),
            None => (named(), Err(No::denied())),
        };
    }
    if let Some(whose) = whose(&name, turn) {
        return (named(), Ok(Goal::Fetch(whose)));
    }
    match find(&name, client, turn) {
        Some(entry) => (Subject::File(Arc::clone(&entry)), Ok(Goal::Read(entry))),
        None => {
            let text = "There is no file of this name.";
            (named(), Err(No::new(Refusal::NoSuchFile, Code::UNAVAILABLE, text)))
        }
    }
}

/// What becomes of a phone's upload.
pub(super) fn to_store(
    cwd: &TreePath,
    asked: &[u8],
    client: IpAddr,
    appends: bool,
    turn: &Turn<'_>,
) -> (Subject, Result<Goal, No>) {
    let name = match name_of(cwd, asked) {
        Ok(name) => name,
        Err((subject, no)) => return (subject, Err(no)),
    };
    let policy = &turn.snapshot.policy;
    let subject = path_said(cwd, asked);
    if !policy.access.permits(Protocol::Ftp, client) {
        return (subject, Err(No::denied()));
    }
    if let Some(whose) = whose(&name, turn) {
        return match appends {
            false => (subject, Ok(Goal::Keep(whose))),
            true => {
                let text = "A user's data is stored whole; say STOR.";
                (subject, Err(No::new(Refusal::UploadNotAllowed, Code::NAME_DENIED, text)))
            }
        };
    }
    let vault = policy.ftp.vault.as_deref();
    let upload = match route(&name, client, vault, &policy.uploads) {
        Destination::Upload(rule) if !appends || rule.existing == Existing::Append => {
            Some(Upload {
                directory: rule.directory,
                name,
                bytes_max: rule.bytes_max,
                existing: rule.existing,
                precondition: Precondition::None,
                client,
                bytes: Vec::new(),
            })
        }
        Destination::Quarantine { directory, bytes_max } => {
            let serial = turn.now.as_micros();
            let stranger = Stranger { client, name: &name, unix_s: turn.unix_s, serial };
            quarantine((directory, bytes_max), &stranger, Vec::new())
        }
        Destination::Upload(_) | Destination::Vault(_) | Destination::Refused => None,
    };
    let text = "No rule of this server allows this name to be stored.";
    let no = || No::new(Refusal::UploadNotAllowed, Code::NAME_DENIED, text);
    (subject, upload.map(|upload| Goal::Upload(Box::new(upload))).ok_or_else(no))
}

/// Whose data of the vault a name means.
fn whose(name: &FileName, turn: &Turn<'_>) -> Option<Whose> {
    let vault = turn.snapshot.policy.ftp.vault.as_ref()?;
    if let Some(item) = Item::parse(name, &vault.prefixes) {
        return Some(Whose::Named(item));
    }
    Item::without_extension(name, &vault.prefixes).map(Whose::LoggedIn)
}

/// The file that a client gets for a name, by remap rules and stacked roots.
fn find(name: &FileName, client: IpAddr, turn: &Turn<'_>) -> Option<Arc<Entry>> {
    let policy = &turn.snapshot.policy;
    let route = policy.routes.resolve(name, client, &policy.ftp.stack).ok()?;
    turn.snapshot.catalog.find(&route.stack, &route.name).map(Arc::clone)
}
