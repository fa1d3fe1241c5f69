//! The policy's decision about a phone's name, as a goal or a reply.
//!
//! Works from memory alone.

use std::sync::Arc;

use crate::files::TreePath;
use crate::policy::trace::NoTrace;
use crate::policy::{self, Action, Decision, Denial, Operation, Resource};
use crate::session::ftp::context::Context;
use crate::session::ftp::login::said;
use crate::session::ftp::session::{Goal, Session};
use crate::session::{CredentialFault, Refusal, Subject};
use crate::vault::quarantine::{Stranger, quarantine};
use crate::vault::request::Precondition;
use crate::vault::upload::{Deletion, Upload};
use wire::ftp::reply::Code;

/// A refusal, and the reply to the client.
pub(super) struct Rejection {
    pub(super) refusal: Refusal,
    pub(super) code: Code,
    pub(super) text: String,
}

impl Rejection {
    pub(super) fn new(refusal: Refusal, code: Code, text: impl Into<String>) -> Rejection {
        Rejection { refusal, code, text: text.into() }
    }

    /// Returns the refusal of a phone without a password, or with an insufficient one.
    fn password_needed(session: &Session) -> Rejection {
        match session.login.proof() {
            None => Rejection::new(
                Refusal::Credentials(CredentialFault::Missing),
                Code::NOT_LOGGED_IN,
                "That is served for a password alone: log in as somebody who has one.",
            ),
            Some(_) => Rejection::new(
                Refusal::Credentials(CredentialFault::UserNotAllowed),
                Code::UNAVAILABLE,
                "That is served to other users alone.",
            ),
        }
    }
}

impl From<Denial<'_>> for Rejection {
    fn from(why: Denial<'_>) -> Rejection {
        let (code, text) = match why {
            Denial::AccessList(_) => {
                (Code::UNAVAILABLE, "You are not on the access list of this server.".into())
            }
            Denial::Name(why) => (Code::NAME_DENIED, capital(&why.to_string())),
            Denial::Remap(_) | Denial::NotFound => {
                (Code::UNAVAILABLE, "There is no file of this name.".into())
            }
            Denial::Unavailable => {
                (Code::BUSY, "The file cannot be read now; try again in a moment.".into())
            }
            Denial::RemapOfUpload(_) | Denial::NoUploadRule | Denial::NotAppendable => {
                (Code::NAME_DENIED, "No rule of this server allows this name to be stored.".into())
            }
            Denial::VaultAppend => {
                (Code::NAME_DENIED, "A user's data is stored whole; say STOR.".into())
            }
            Denial::NotDeletable => {
                (Code::UNAVAILABLE, "No rule of this server allows this name to be deleted.".into())
            }
            Denial::ExtensionMissing => (
                Code::UNAVAILABLE,
                "The name must begin with the extension: phones here are not asked.".into(),
            ),
        };
        Rejection { refusal: Refusal::from(why), code, text }
    }
}

/// Returns the log's subject for a name.
pub(super) fn subject(name: &[u8]) -> Subject {
    said(name)
}

/// Returns the log's subject for a path: as requested, with the session's directory.
fn path_said(cwd: &TreePath, requested: &[u8]) -> Subject {
    match TreePath::parse(cwd, requested) {
        Ok(path) if !cwd.is_top() => said(path.to_string().as_bytes()),
        Ok(_) | Err(_) => said(requested),
    }
}

/// Makes a sentence of a reply.
pub(super) fn capital(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(|first| first.to_ascii_uppercase());
    first.into_iter().chain(letters).chain(['.']).collect()
}

/// Decides what a phone gets for a name.
pub(super) fn to_read(
    session: &Session,
    requested: &[u8],
    cx: &Context<'_>,
) -> (Subject, Result<Goal, Rejection>) {
    let cwd = &session.settings.cwd;
    let Decision { action, .. } = decide(session, requested, Operation::Read, cx);
    match action {
        Action::Serve(entry) | Action::ServeOverride(entry) => {
            (Subject::File(Arc::clone(entry)), Ok(Goal::Read(Arc::clone(entry))))
        }
        Action::Vault { owner, .. } => (path_said(cwd, requested), Ok(Goal::Fetch(owner))),
        Action::NeedsCredentials { .. } => {
            (path_said(cwd, requested), Err(Rejection::password_needed(session)))
        }
        Action::Refuse(why) => (path_said(cwd, requested), Err(Rejection::from(why))),
        // Never decided for a phone that reads by FTP.
        Action::ServeCa(_)
        | Action::Store { .. }
        | Action::Quarantine { .. }
        | Action::Delete { .. }
        | Action::Redirect(_) => {
            (path_said(cwd, requested), Err(Rejection::from(Denial::NotFound)))
        }
    }
}

/// Decides about a phone's upload.
pub(super) fn to_store(
    session: &Session,
    requested: &[u8],
    appends: bool,
    cx: &Context<'_>,
) -> (Subject, Result<Goal, Rejection>) {
    let operation = if appends { Operation::Append } else { Operation::Write };
    let cwd = &session.settings.cwd;
    let Decision { client, name, action } = decide(session, requested, operation, cx);
    let goal = match action {
        Action::Vault { owner, .. } => Ok(Goal::Keep(owner)),
        Action::Store { rule, name } => Ok(Goal::Upload(Box::new(Upload {
            directory: rule.directory,
            name: *name,
            bytes_max: rule.bytes_max,
            on_exists: rule.on_exists,
            precondition: Precondition::None,
            cancel: None,
            client,
            spool: None,
            bytes: Vec::new(),
        }))),
        Action::Quarantine { directory, bytes_max } => {
            let upload = name.as_ref().and_then(|name| {
                let serial = cx.now.as_micros();
                let stranger = Stranger { client, name, unix_s: cx.unix_s, serial };
                quarantine((directory, bytes_max), &stranger, Vec::new())
            });
            let upload = upload.map(|upload| Goal::Upload(Box::new(upload)));
            upload.ok_or_else(|| Rejection::from(Denial::NoUploadRule))
        }
        Action::NeedsCredentials { .. } => Err(Rejection::password_needed(session)),
        Action::Refuse(why) => Err(Rejection::from(why)),
        // Never decided for a phone that stores by FTP.
        Action::Serve(_)
        | Action::ServeOverride(_)
        | Action::ServeCa(_)
        | Action::Delete { .. }
        | Action::Redirect(_) => Err(Rejection::from(Denial::NoUploadRule)),
    };
    (path_said(cwd, requested), goal)
}

/// Decides about a phone's request to delete a name.
pub(super) fn to_delete(
    session: &Session,
    requested: &[u8],
    cx: &Context<'_>,
) -> (Subject, Result<Box<Deletion>, Rejection>) {
    let Decision { client, action, .. } = decide(session, requested, Operation::Delete, cx);
    let deletion = match action {
        Action::Delete { rule, name } => Ok(Box::new(Deletion {
            directory: rule.directory,
            name: *name,
            precondition: Precondition::None,
            client,
        })),
        Action::NeedsCredentials { .. } => Err(Rejection::password_needed(session)),
        Action::Refuse(why) => Err(Rejection::from(why)),
        // Never decided for a phone that deletes by FTP.
        Action::Serve(_)
        | Action::ServeOverride(_)
        | Action::ServeCa(_)
        | Action::Vault { .. }
        | Action::Store { .. }
        | Action::Quarantine { .. }
        | Action::Redirect(_) => Err(Rejection::from(Denial::NotDeletable)),
    };
    (path_said(&session.settings.cwd, requested), deletion)
}

fn decide<'a>(
    session: &Session,
    path: &[u8],
    operation: Operation,
    cx: &Context<'a>,
) -> Decision<'a> {
    let resource = Resource::Ftp { cwd: &session.settings.cwd, path };
    let (client, proven) = (session.peer.ip(), session.login.proof());
    let request = policy::Request { client, resource, operation, proven };
    policy::resolve(&request, cx.snapshot, &mut NoTrace)
}
