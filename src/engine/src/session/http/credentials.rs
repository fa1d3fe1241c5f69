//! Passwords for `[[protect]]` rows: challenges (RFC 7616 and RFC 7617), and the credentials that
//! answer them.
//!
//! Checks no password itself: that takes time, so the threads that may wait do it. Meanwhile the
//! request waits, without a session slot.

use std::net::IpAddr;
use std::sync::Arc;

use crate::cancel::CancelOnDrop;
use crate::policy::protect::{Proof, Requirement};
use crate::session::http::connection::Connection;
use crate::session::http::context::Context;
use crate::session::http::nonces::{Nonce, NonceId, Nonces};
use crate::session::http::rejection::Rejection;
use crate::session::http::request::Decision;
use crate::session::{CredentialFault, Refusal};
use crate::vault::request::{Login, LoginSecret, VaultError};
use wire::http::auth;
use wire::http::authorization::{self, Algorithm, DigestCredentials};
use wire::http::request::{Head, HeadLimits, LINES_MAX, Method, parse};
use wire::http::response::{Status, field};

/// The `opaque` value that clients return. It has no meaning, but old clients require one.
const OPAQUE: &str = "72696e67706f7374";

/// The challenge to a client without sufficient credentials.
#[derive(Clone, Debug)]
pub(super) struct Challenge {
    requirement: Arc<Requirement>,
    nonce: Nonce,
    /// Whether the password may be right, and only the nonce is old.
    stale: bool,
}

impl Challenge {
    /// Makes a rejection that challenges the client and gives the log the reason.
    fn rejection(
        client: IpAddr,
        requirement: &Arc<Requirement>,
        fault: CredentialFault,
        cx: &mut Context<'_>,
    ) -> Rejection {
        let key = &cx.snapshot.policy.http.challenge_key;
        let nonce = cx.shared.nonces.make(key, client, cx.now);
        let stale = fault == CredentialFault::Stale;
        let challenge = Challenge { requirement: Arc::clone(requirement), nonce, stale };
        Rejection::challenge(Refusal::Credentials(fault), challenge)
    }

    /// Writes the strongest scheme first (RFC 7616, 3.7).
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let Requirement { realm, digest, sha256, basic, .. } = &*self.requirement;
        let algorithms = [(Algorithm::Sha256, *sha256), (Algorithm::Md5, true)];
        for (algorithm, _) in algorithms.into_iter().filter(|(_, offered)| *digest && *offered) {
            let stale = if self.stale { ", stale=true" } else { "" };
            let (algorithm, nonce) = (algorithm.name(), &self.nonce.0);
            let challenge = format!(
                "Digest realm=\"{realm}\", qop=\"auth\", algorithm={algorithm}, \
                 nonce=\"{nonce}\", opaque=\"{OPAQUE}\"{stale}"
            );
            field(out, "WWW-Authenticate", challenge.as_bytes());
        }
        if *basic {
            field(out, "WWW-Authenticate", format!("Basic realm=\"{realm}\"").as_bytes());
        }
    }
}

/// A request whose password is being checked.
#[derive(Debug)]
pub(super) struct PendingLogin {
    /// Its head, to be decided again: everything may have changed meanwhile.
    raw: Box<[u8]>,
    /// What the right password proves.
    proof: Proof,
    requirement: Arc<Requirement>,
    /// The nonce of the response, and its count.
    nonce: Option<(NonceId, u32)>,
    /// Cancels the check.
    pub(super) check: CancelOnDrop,
}

impl Connection {
    /// Begins to check a request's credentials for a row, or challenges the client.
    pub(super) fn check_credentials(
        &mut self,
        row: usize,
        (head, raw): (&Head<'_>, &[u8]),
        cx: &mut Context<'_>,
    ) -> Result<Decision, Rejection> {
        let rows = &cx.snapshot.policy.protections;
        let requirement = rows.0.get(row).map(|row| Arc::clone(&row.requirement));
        let requirement = requirement.unwrap_or_default();
        let client = self.peer.ip();
        let challenge =
            |fault, cx: &mut Context<'_>| Challenge::rejection(client, &requirement, fault, cx);
        let Some(value) = head.authorization else {
            cx.counters.credentials_missing.up();
            return Err(challenge(CredentialFault::Missing, cx));
        };
        let (name, secret, nonce) = match Authorization::read(value, &requirement) {
            Authorization::Unusable => return Err(challenge(CredentialFault::Unusable, cx)),
            Authorization::Basic(name, password) => (name, LoginSecret::Password(password), None),
            Authorization::Digest(digest) => {
                self.note_user(&digest.username);
                let key = &cx.snapshot.policy.http.challenge_key;
                if !is_target(&digest.uri, head.target) {
                    // RFC 7616, 3.4.6.
                    let refusal = Refusal::Credentials(CredentialFault::Unusable);
                    return Err(Rejection::new(Status::BAD_REQUEST, refusal));
                }
                if *digest.realm != *requirement.realm.as_bytes() {
                    return Err(challenge(CredentialFault::Unusable, cx));
                }
                let Some(nonce) = Nonces::read(key, client, &digest.nonce, cx.now) else {
                    return Err(challenge(CredentialFault::Stale, cx));
                };
                let (name, count) = (digest.username.clone(), digest.count());
                let secret = LoginSecret::Digest(Box::new(digest), name_of(head.method));
                (name, secret, Some((nonce, count)))
            }
        };
        self.note_user(&name);
        if !requirement.allows(&name) {
            cx.counters.credentials_wrong.up();
            return Err(challenge(CredentialFault::UserNotAllowed, cx));
        }
        let users = requirement.users.clone();
        let proof = Proof { users: users.clone(), user: (&*name).into() };
        let client = client.to_canonical();
        let check = CancelOnDrop::default();
        let cancel = check.token().clone();
        let login = Box::new(Login { client, users: vec![users], name, secret, cancel });
        let pending = PendingLogin { raw: raw.into(), proof, requirement, nonce, check };
        Ok(Decision::CheckPassword(Box::new(pending), login))
    }

    /// The password was checked: the request is decided again, or rejected.
    pub(super) fn handle_login(
        &mut self,
        pending: &PendingLogin,
        result: Result<usize, VaultError>,
        cx: &mut Context<'_>,
    ) {
        let client = self.peer.ip();
        let rejection = match result {
            Ok(_) => match self.decide_anew(pending, cx) {
                Ok(()) => return self.resume(cx),
                Err(rejection) => rejection,
            },
            Err(VaultError::Unauthorized | VaultError::NotThere) => {
                cx.counters.credentials_wrong.up();
                Challenge::rejection(client, &pending.requirement, CredentialFault::Wrong, cx)
            }
            Err(VaultError::SlowedDown(wait)) => Rejection::too_many(Refusal::SlowedDown, wait),
            Err(
                VaultError::Busy
                | VaultError::Io
                | VaultError::Unavailable
                | VaultError::Full
                | VaultError::TotalMax
                | VaultError::Reserve
                | VaultError::TooMuch(_)
                | VaultError::Forbidden
                | VaultError::Precondition,
            ) => Rejection::busy(Refusal::Credentials(CredentialFault::Unchecked)),
        };
        self.reject(rejection, cx);
        self.resume(cx);
    }

    fn decide_anew(
        &mut self,
        pending: &PendingLogin,
        cx: &mut Context<'_>,
    ) -> Result<(), Rejection> {
        let client = self.peer.ip();
        if let Some((nonce, count)) = pending.nonce
            && !cx.shared.nonces.take(nonce, count, cx.counters, cx.now)
        {
            let fault = CredentialFault::Stale;
            return Err(Challenge::rejection(client, &pending.requirement, fault, cx));
        }
        let Some(head) = parse_again(&pending.raw) else { return Err(Rejection::unauthorized()) };
        self.decide((&head, &pending.raw), Some(&pending.proof), cx);
        Ok(())
    }

    /// Notes the user that the client names.
    fn note_user(&mut self, user: &[u8]) {
        if let Some(exchange) = self.exchange_mut() {
            exchange.log.note_user(user);
        }
    }
}

/// Parses the head of a request that has waited. It was parsed before, so `None` is not expected.
pub(super) fn parse_again(raw: &[u8]) -> Option<Head<'_>> {
    // A reload may have narrowed the limits since.
    let (bytes_max, lines_max) = (raw.len(), LINES_MAX);
    let limits = HeadLimits { bytes_max, lines_max, lone_lf: true, lenient: true };
    match parse(raw, &limits) {
        Ok(Some((head, _))) => Some(head),
        Ok(None) | Err(_) => None,
    }
}

/// The credentials of a request (RFC 9110, 11.6.2).
enum Authorization {
    /// None that can be read and are offered.
    Unusable,
    Basic(Vec<u8>, Vec<u8>),
    Digest(DigestCredentials),
}

impl Authorization {
    fn read(value: &[u8], requirement: &Requirement) -> Authorization {
        match authorization::digest(value) {
            Some(Ok(digest)) if requirement.offers(digest.algorithm) => {
                Authorization::Digest(digest)
            }
            Some(_) => Authorization::Unusable,
            None => match auth::basic(value) {
                Some((name, password)) if requirement.basic => Authorization::Basic(name, password),
                Some(_) | None => Authorization::Unusable,
            },
        }
    }
}

/// Returns whether a response is for the target of its request, with the query. A leading scheme
/// and authority do not matter.
fn is_target(uri: &[u8], target: &[u8]) -> bool {
    if uri == target {
        return true;
    }
    let schemes: [&[u8]; 2] = [b"http://", b"https://"];
    let without = |scheme: &&[u8]| {
        let (head, rest) = uri.split_at_checked(scheme.len())?;
        head.eq_ignore_ascii_case(scheme).then_some(rest)
    };
    let rest = schemes.iter().find_map(without).unwrap_or_default();
    let slash = rest.iter().position(|byte| *byte == b'/').unwrap_or(rest.len());
    slash > 0 && rest.get(slash..) == Some(target)
}

/// Returns the method that the response was made with.
fn name_of(method: Method) -> &'static [u8] {
    match method {
        Method::Get => b"GET",
        Method::Head => b"HEAD",
        Method::Put => b"PUT",
        Method::Delete => b"DELETE",
        Method::Options => b"OPTIONS",
        Method::Post => b"POST",
        Method::Unknown => b"",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_is_for_its_target_with_the_query_however_it_names_the_server() {
        let is = |uri: &str, target: &str| is_target(uri.as_bytes(), target.as_bytes());
        assert!(is("/a?b=c", "/a?b=c") && is("HTTP://host:80/a?b=c", "/a?b=c"));
        for other in ["/a", "/a?b=d", "/b", "", "http:///a?b=c", "ftp://h/a?b=c", "http://h"] {
            assert!(!is(other, "/a?b=c"), "{other}");
        }
    }
}
