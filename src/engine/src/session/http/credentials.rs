//! Passwords for what rows of `[[protect]]` cover: challenges (RFC 7616 and RFC 7617), and what
//! clients show in answer to them.
//!
//! Checks no password: that takes its time, and the threads that may wait do it. Meanwhile the
//! request is parked, without a session slot.

use std::sync::Arc;

use crate::catalog::Ask;
use crate::policy::protect::{Proof, Requirement};
use crate::session::http::connection::{Want, What};
use crate::session::http::engine::Engine;
use crate::session::http::nonces::{Nonce, NonceId, Nonces};
use crate::session::http::refusal::No;
use crate::session::http::request::Judged;
use crate::session::stream::ConnectionId;
use crate::session::{CredentialFault, Refusal, Turn, WORDS_BYTES_MAX, clip};
use crate::vault::deed::{Denied, Login, LoginSecret};
use wire::http::auth;
use wire::http::authorization::{self, Algorithm, DigestCredentials};
use wire::http::request::{Head, HeadLimits, LINES_MAX, Method, parse};
use wire::http::response::{Status, field};

/// What clients send back of every challenge. It says nothing, and old ones want to see one.
const OPAQUE: &str = "72696e67706f7374";

/// What a client is told that has shown no password that will do.
#[derive(Clone, Debug)]
pub(super) struct Challenge {
    requirement: Arc<Requirement>,
    nonce: Nonce,
    /// The password may be right, and only the nonce is old.
    stale: bool,
}

impl Challenge {
    /// The strongest way first (RFC 7616, 3.7).
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
pub(super) struct Proving {
    /// Its head, to be judged anew: meanwhile everything may have changed.
    raw: Box<[u8]>,
    /// What a right password proves.
    proof: Proof,
    requirement: Arc<Requirement>,
    /// The nonce that the response was made with, and how often it was used.
    nonce: Option<(NonceId, u32)>,
}

impl Engine {
    /// Begins to check what a request shows for a row, or says what it has to show.
    pub(super) fn check_credentials(
        &mut self,
        id: ConnectionId,
        row: usize,
        (head, raw): (&Head<'_>, &[u8]),
        turn: &mut Turn<'_>,
    ) -> Result<Judged, No> {
        let rows = &turn.snapshot.policy.protections;
        let requirement = rows.0.get(row).map(|row| Arc::clone(&row.requirement));
        let requirement = requirement.unwrap_or_default();
        let Some(client) = self.connections.open(id).map(|one| one.peer.ip()) else {
            return Err(No::unauthorized());
        };
        let Some(value) = head.authorization else {
            turn.counters.credentials_missing.up();
            let no = Refusal::Credentials(CredentialFault::Missing);
            return Err(self.challenge(id, &requirement, no, turn));
        };
        let shown = match authorization::digest(value) {
            Some(Ok(shown)) if requirement.offers(shown.algorithm) => Shown::Digest(shown),
            Some(_) => Shown::Nothing,
            None => match auth::basic(value) {
                Some((name, password)) if requirement.basic => Shown::Basic(name, password),
                Some(_) | None => Shown::Nothing,
            },
        };
        let (name, secret, nonce) = match shown {
            Shown::Nothing => {
                let no = Refusal::Credentials(CredentialFault::Unusable);
                return Err(self.challenge(id, &requirement, no, turn));
            }
            Shown::Basic(name, password) => (name, LoginSecret::Password(password), None),
            Shown::Digest(shown) => {
                self.note_user(id, &shown.username);
                let key = &turn.snapshot.policy.http.challenge_key;
                if !is_target(&shown.uri, head.target) {
                    // RFC 7616, 3.4.6.
                    let no = Refusal::Credentials(CredentialFault::Unusable);
                    return Err(No::new(Status::BAD_REQUEST, no));
                }
                if *shown.realm != *requirement.realm.as_bytes() {
                    let no = Refusal::Credentials(CredentialFault::Unusable);
                    return Err(self.challenge(id, &requirement, no, turn));
                }
                let Some(nonce) = Nonces::read(key, client, &shown.nonce, turn.now) else {
                    let no = Refusal::Credentials(CredentialFault::Stale);
                    return Err(self.challenge(id, &requirement, no, turn));
                };
                let (name, count) = (shown.username.clone(), shown.count());
                let secret = LoginSecret::Digest(Box::new(shown), name_of(head.method));
                (name, secret, Some((nonce, count)))
            }
        };
        self.note_user(id, &name);
        if !requirement.allows(&name) {
            turn.counters.credentials_wrong.up();
            let no = Refusal::Credentials(CredentialFault::UserNotAllowed);
            return Err(self.challenge(id, &requirement, no, turn));
        }
        let users = requirement.users.clone();
        let proof = Proof { users: users.clone(), user: (&*name).into() };
        let client = client.to_canonical();
        let login = Box::new(Login { client, users: vec![users], name, secret });
        let proving = Proving { raw: raw.into(), proof, requirement, nonce };
        Ok(Judged::Prove(Box::new(proving), login))
    }

    /// Has a password checked, and parks its request.
    pub(super) fn prove(
        &mut self,
        id: ConnectionId,
        proving: Box<Proving>,
        login: Box<Login>,
        head_only: bool,
    ) {
        self.park(id, Want { what: What::Prove(proving), head_only });
        self.asks.push_back(Ask::Login { ticket: id.into(), login });
    }

    /// It is known whether a password is right: the request is judged anew, or refused.
    pub(super) fn proved(
        &mut self,
        id: ConnectionId,
        proving: &Proving,
        result: Result<usize, Denied>,
        turn: &mut Turn<'_>,
    ) {
        let no = match result {
            Ok(_) => match self.judge_proved(id, proving, turn) {
                Ok(()) => return self.resume(id, turn),
                Err(no) => no,
            },
            Err(Denied::Unauthorized | Denied::NotThere) => {
                turn.counters.credentials_wrong.up();
                self.challenge(
                    id,
                    &proving.requirement,
                    Refusal::Credentials(CredentialFault::Wrong),
                    turn,
                )
            }
            Err(Denied::SlowedDown(wait)) => No::too_many(Refusal::SlowedDown, wait),
            Err(
                Denied::Busy
                | Denied::Io
                | Denied::Full
                | Denied::TotalMax
                | Denied::Reserve
                | Denied::TooMuch(_)
                | Denied::Forbidden
                | Denied::Precondition,
            ) => No::busy(Refusal::Credentials(CredentialFault::Unchecked)),
        };
        self.refuse(id, no, turn);
        self.resume(id, turn);
    }

    fn judge_proved(
        &mut self,
        id: ConnectionId,
        proving: &Proving,
        turn: &mut Turn<'_>,
    ) -> Result<(), No> {
        if let Some((nonce, count)) = proving.nonce
            && !self.nonces.take(nonce, count, turn.counters, turn.now)
        {
            return Err(self.challenge(
                id,
                &proving.requirement,
                Refusal::Credentials(CredentialFault::Stale),
                turn,
            ));
        }
        // It has been read before, perhaps by limits that a reload has made narrower since.
        let raw = &*proving.raw;
        let (bytes_max, lines_max) = (raw.len(), LINES_MAX);
        let limits = HeadLimits { bytes_max, lines_max, lone_lf: true, lenient: true };
        match parse(raw, &limits) {
            Ok(Some((head, _))) => self.decide(id, (&head, raw), Some(&proving.proof), turn),
            Ok(None) | Err(_) => return Err(No::unauthorized()),
        }
        Ok(())
    }

    /// What a client is told that has shown no password that will do.
    fn challenge(
        &mut self,
        id: ConnectionId,
        requirement: &Arc<Requirement>,
        refusal: Refusal,
        turn: &Turn<'_>,
    ) -> No {
        let Some(client) = self.connections.open(id).map(|one| one.peer.ip()) else {
            return No::unauthorized();
        };
        let key = &turn.snapshot.policy.http.challenge_key;
        let nonce = self.nonces.make(key, client, turn.now);
        let stale = refusal == Refusal::Credentials(CredentialFault::Stale);
        No::challenge(refusal, Challenge { requirement: Arc::clone(requirement), nonce, stale })
    }

    /// Notes for the log who somebody says they are.
    pub(super) fn note_user(&mut self, id: ConnectionId, user: &[u8]) {
        let told = self.connections.open_mut(id).and_then(|one| one.told.as_mut());
        if let Some(told) = told {
            told.user = Some(clip(user, WORDS_BYTES_MAX).into());
        }
    }
}

/// What a request shows of a password.
enum Shown {
    Nothing,
    Basic(Vec<u8>, Vec<u8>),
    Digest(DigestCredentials),
}

/// Whether a response is for the target of its request, with the query. A scheme and an authority
/// in front say nothing else.
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

/// The method as its response was made with.
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
