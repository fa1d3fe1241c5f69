//! Requests that change something: PUT, POST and DELETE, after the policy's decision.
//!
//! Works from memory alone; stores and deletes nothing.

use crate::policy::{Action, Denial, VaultOwner};
use crate::session::Refusal;
use crate::session::http::context::Context;
use crate::session::http::denial::rejection_of;
use crate::session::http::exchange::{Destination, Operation};
use crate::session::http::rejection::Rejection;
use crate::session::http::request::{Decision, Requester};
use crate::vault::quarantine::{Stranger, quarantine};
use crate::vault::request::{Auth, Precondition};
use crate::vault::upload::{Deletion, Upload};
use wire::http::condition;
use wire::http::request::{Framing, Head, Malformed, Method};
use wire::http::response::Status;
use wire::name::FileName;

const PARTIAL_PUT: Malformed =
    Malformed::BadRequest("a PUT with Content-Range would keep a part of a file for the whole");

impl Requester<'_> {
    pub(super) fn decide_put(
        self,
        name: Option<FileName>,
        action: Action<'_>,
        head: &Head<'_>,
        cx: &Context<'_>,
    ) -> Result<Decision, Rejection> {
        if let Action::Redirect(to) = action {
            return Ok(Decision::Redirect(to));
        }
        if let Action::NeedsCredentials { row } = action {
            return Ok(Decision::NeedsCredentials(row));
        }
        if head.content_range.is_some() {
            // RFC 9110, 14.5: a PUT may carry a part of a file only if the server supports that.
            return Err(Rejection::malformed(PARTIAL_PUT));
        }
        if head.is_coded {
            return Err(Rejection::coded());
        }
        let precondition = condition::precondition(head);
        let (target, bytes_max) = self.destination(name, action, precondition, cx)?;
        match head.framing {
            Framing::None => Err(Rejection::new(Status::LENGTH_REQUIRED, Refusal::LengthRequired)),
            Framing::Length(bytes) if bytes > bytes_max => {
                Err(Rejection::new(Status::CONTENT_TOO_LARGE, Refusal::UploadTooLarge))
            }
            framing @ (Framing::Length(_) | Framing::Chunked) => {
                Ok(Decision::Perform(Operation::Receive(target, framing, bytes_max)))
            }
        }
    }

    /// POST stores as PUT does, but only if a row says so.
    pub(super) fn decide_post(
        self,
        name: Option<FileName>,
        action: Action<'_>,
        allow: impl FnOnce() -> &'static [u8],
        head: &Head<'_>,
        cx: &Context<'_>,
    ) -> Result<Decision, Rejection> {
        if !action.takes_post() {
            return match action {
                Action::Refuse(why @ Denial::Unavailable) => Err(rejection_of(why, head.method)),
                Action::NeedsCredentials { row } => Ok(Decision::NeedsCredentials(row)),
                Action::Serve(_)
                | Action::ServeOverride(_)
                | Action::ServeCa(_)
                | Action::Vault { .. }
                | Action::Store { .. }
                | Action::Quarantine { .. }
                | Action::Delete { .. }
                | Action::Redirect(_)
                | Action::Refuse(_) => Err(Rejection::method(allow())),
            };
        }
        if head.content_type.is_some_and(is_multipart) {
            return Err(Rejection::multipart());
        }
        self.decide_put(name, action, head, cx)
    }

    pub(super) fn decide_delete(
        self,
        action: Action<'_>,
        allow: impl FnOnce() -> &'static [u8],
        head: &Head<'_>,
        cx: &Context<'_>,
    ) -> Result<Decision, Rejection> {
        match action {
            Action::Vault { owner: VaultOwner::Named(item), .. } => {
                self.require_credentials(cx)?;
                let operation =
                    Operation::Forget(item, self.credentials, condition::precondition(head));
                Ok(Decision::Perform(operation))
            }
            Action::Delete { rule, name } => {
                let deletion = Deletion {
                    directory: rule.directory,
                    name: *name,
                    precondition: condition::precondition(head),
                    client: self.client,
                };
                Ok(Decision::Perform(Operation::Delete(Box::new(deletion))))
            }
            Action::Redirect(to) => Ok(Decision::Redirect(to)),
            Action::NeedsCredentials { row } => Ok(Decision::NeedsCredentials(row)),
            Action::Refuse(Denial::NotDeletable) => Err(Rejection::method(allow())),
            Action::Refuse(why) => Err(rejection_of(why, head.method)),
            // Never decided for a deletion over HTTP.
            Action::Vault { owner: VaultOwner::LoggedIn(_), .. }
            | Action::Serve(_)
            | Action::ServeOverride(_)
            | Action::ServeCa(_)
            | Action::Store { .. }
            | Action::Quarantine { .. } => Err(Rejection::method(allow())),
        }
    }

    /// Rejects a request without credentials before its body is read.
    pub(super) fn require_credentials(&self, cx: &Context<'_>) -> Result<(), Rejection> {
        match cx.snapshot.policy.http.vault.as_ref().map(|vault| &vault.auth) {
            None | Some(Auth::Open) => Ok(()),
            Some(Auth::Users(_) | Auth::Pinned) if self.credentials.basic.is_some() => Ok(()),
            Some(Auth::Users(_) | Auth::Pinned) => Err(Rejection::unauthorized()),
            Some(Auth::Certificate) if self.credentials.certificate => Ok(()),
            // A challenge would make the phone ask its user for a password, in vain.
            Some(Auth::Certificate) => {
                Err(Rejection::new(Status::FORBIDDEN, Refusal::CertificateNeeded))
            }
        }
    }

    /// Returns where the body of a PUT goes, and how large it may be.
    fn destination(
        self,
        name: Option<FileName>,
        action: Action<'_>,
        precondition: Precondition,
        cx: &Context<'_>,
    ) -> Result<(Destination, u64), Rejection> {
        let upload = match action {
            Action::Vault { owner: VaultOwner::Named(item), .. } => {
                self.require_credentials(cx)?;
                let vault = cx.snapshot.policy.http.vault.as_ref();
                let bytes_max = vault.map_or(0, |vault| vault.bytes_max);
                return Ok((Destination::Item(item, self.credentials, precondition), bytes_max));
            }
            Action::Store { rule, name } => Some(Upload {
                directory: rule.directory,
                name: *name,
                bytes_max: rule.bytes_max,
                on_exists: rule.on_exists,
                precondition,
                cancel: None,
                client: self.client,
                spool: None,
                bytes: Vec::new(),
            }),
            Action::Quarantine { directory, bytes_max } => name.as_ref().and_then(|name| {
                let serial = cx.now.as_micros();
                let stranger = Stranger { client: self.client, name, unix_s: cx.unix_s, serial };
                quarantine((directory, bytes_max), &stranger, Vec::new())
            }),
            Action::Refuse(why) => return Err(rejection_of(why, Method::Put)),
            // Never decided for a PUT, or answered before.
            Action::NeedsCredentials { .. }
            | Action::Vault { owner: VaultOwner::LoggedIn(_), .. }
            | Action::Serve(_)
            | Action::ServeOverride(_)
            | Action::ServeCa(_)
            | Action::Delete { .. }
            | Action::Redirect(_) => None,
        };
        let upload = upload.ok_or_else(|| rejection_of(Denial::NoUploadRule, Method::Put))?;
        let bytes_max = upload.bytes_max;
        Ok((Destination::File(Box::new(upload)), bytes_max))
    }
}

/// Returns whether a body is a multipart form, of which no part alone is the file.
fn is_multipart(content_type: &[u8]) -> bool {
    const MULTIPART: &[u8] = b"multipart/";
    content_type.get(..MULTIPART.len()).is_some_and(|kind| kind.eq_ignore_ascii_case(MULTIPART))
}
