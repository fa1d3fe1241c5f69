//! Decides who may access an extension's data.
//!
//! Secrets are kept as argon2 hashes, and checking one takes tens of milliseconds on purpose. So
//! right and wrong secrets are remembered as digests under a key that lives as long as the process.
//! [`Authenticator::authorize`] answers what needs no argon2, [`Authenticator::prove`] the rest, in
//! threads of its own. An unknown user costs as much as a wrong password.
//!
//! # When a secret is pinned
//! When it first obtains something: with the first PUT, with a DELETE, or with a GET of existing
//! data, from before secrets were required or from an import. A phone that logs in begins with a
//! GET and finds no data. That pins nothing; otherwise an attacker could lock all users out by
//! requesting each extension once. Call server and password together are the secret.
//!
//! Never writes; a new pin is the writer's to make durable.

mod logins;
mod remembered;
mod users_files;

pub use users_files::USERS_BYTES_MAX;

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::SystemTime;

use argon2::Argon2;
use argon2::password_hash::PasswordVerifier;
use aws_lc_rs::{constant_time, hmac};
use parking_lot::{Mutex, MutexGuard};

use super::login_throttle::LoginThrottle;
use super::users::{self, User};
use super::versions;
use super::write::SECRET;
use crate::rate_limited_log::RateLimitedLog;
use engine::vault::bounds::RecentStores;
use engine::vault::request::{Auth, VaultError, VaultOp, VaultRequest};
use engine::vault::timestamp::Timestamp;
use remembered::Remembered;
use users_files::UsersFile;
use wire::time::Instant;

/// A secret's digest under the key of this process.
type Digest = [u8; 32];

/// What can be decided without argon2.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Authorization {
    /// The request is permitted.
    Permitted,
    /// It is denied.
    Denied(VaultError),
    /// [`Authenticator::prove`] must decide.
    NeedsHash,
}

/// The proof that a request is permitted.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verified {
    /// Its secret is known.
    Known,
    /// Permitted if this hash of the secret is pinned to its extension from then on. The caller
    /// calls [`Authenticator::pinned`] once the request has succeeded or failed.
    ToPin(Box<str>),
}

/// Counters of decisions about secrets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AuthFigures {
    /// Runs of argon2.
    pub checked: u64,
    /// Requests refused because the secret was wrong.
    pub refused: u64,
    /// Requests refused because the address had sent too many wrong ones.
    pub slowed: u64,
    /// Secrets pinned.
    pub pinned: u64,
}

/// Decides which requests are permitted.
#[derive(Debug)]
pub(crate) struct Authenticator {
    key: hmac::Key,
    argon2: Argon2<'static>,
    /// The hash of a random secret, for users that do not exist.
    decoy: OnceLock<Box<str>>,
    state: Mutex<AuthState>,
    log: RateLimitedLog,
    checked: AtomicU64,
    refused: AtomicU64,
    slowed: AtomicU64,
    pinned: AtomicU64,
    pins_refused: AtomicU64,
}

#[derive(Debug, Default)]
struct AuthState {
    /// At most 32.
    users: Vec<UsersFile>,
    right: Remembered,
    wrong: Remembered,
    throttled: LoginThrottle,
    /// The same for users of an address whose secrets all differ.
    throttled_users: LoginThrottle<Digest>,
    /// New secrets within the hour, by address.
    pins: RecentStores,
    /// Secrets that are being pinned, by extension's directory.
    pinning: HashMap<PathBuf, Pinning>,
}

/// A secret that is being pinned, and how many requests carry it.
#[derive(Debug)]
struct Pinning {
    digest: Digest,
    hash: Box<str>,
    requests: usize,
}

/// The hashes that a secret must be compared with.
struct Comparison {
    /// The hashes, one of which must match, each with the secret's digest for it.
    hashes: Vec<(Box<str>, Digest)>,
    /// The index of each hash's users' file.
    places: Vec<usize>,
    secret: Vec<u8>,
}

/// What is left to decide about a request.
enum Question {
    /// Whether the secret is this one.
    Compare(Comparison),
    /// Nothing: it is the extension's first secret.
    First(Vec<u8>),
}

impl Authenticator {
    /// Creates an authenticator that hashes new secrets with these parameters.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub(crate) fn new(argon2: Argon2<'static>) -> io::Result<Self> {
        let random = aws_lc_rs::rand::SystemRandom::new();
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &random);
        let key = key.map_err(|_| io::Error::other("the system has no random numbers"))?;
        Ok(Authenticator {
            key,
            argon2,
            decoy: OnceLock::new(),
            state: Mutex::default(),
            log: RateLimitedLog::default(),
            checked: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            slowed: AtomicU64::new(0),
            pinned: AtomicU64::new(0),
            pins_refused: AtomicU64::new(0),
        })
    }

    /// Returns the counters.
    #[must_use]
    pub(crate) fn figures(&self) -> AuthFigures {
        AuthFigures {
            checked: self.checked.load(Relaxed),
            refused: self.refused.load(Relaxed),
            slowed: self.slowed.load(Relaxed),
            pinned: self.pinned.load(Relaxed),
        }
    }

    /// First secrets refused because their address had sent too many within the hour.
    #[must_use]
    pub(crate) fn pins_refused(&self) -> u64 {
        self.pins_refused.load(Relaxed)
    }

    /// Decides without argon2.
    pub(crate) fn authorize(&self, request: &VaultRequest, now: Instant) -> Authorization {
        let permitted = match &request.policy.auth {
            // The phone itself has identified its user, which is stronger than a password.
            _ if request.credentials.identity => true,
            Auth::Open => true,
            Auth::Certificate => request.credentials.certificate,
            Auth::Users(_) | Auth::Pinned => {
                return match self.question(request, now) {
                    Ok(Question::Compare(trial)) => self.remember(&trial, now),
                    // Any secret may be the first; it is pinned with what is stored.
                    Ok(Question::First(_)) if matches!(request.op, VaultOp::Check) => {
                        Authorization::Permitted
                    }
                    Ok(Question::First(_)) => Authorization::NeedsHash,
                    Err(denied) => Authorization::Denied(denied),
                };
            }
        };
        if permitted {
            Authorization::Permitted
        } else {
            Authorization::Denied(VaultError::Unauthorized)
        }
    }

    /// Decides about a request that was [`Authorization::NeedsHash`]. Runs argon2.
    ///
    /// # Errors
    /// [`VaultError::Unauthorized`] and the other refusals of secrets.
    pub(crate) fn prove(
        &self,
        request: &VaultRequest,
        now: Instant,
    ) -> Result<Verified, VaultError> {
        match self.authorize(request, now) {
            Authorization::Permitted => return Ok(Verified::Known),
            Authorization::Denied(denied) => return Err(denied),
            Authorization::NeedsHash => {}
        }
        match self.question(request, now)? {
            Question::Compare(trial) => match self.compare(&trial) {
                true => Ok(Verified::Known),
                false => Err(self.refuse_vault(request, now)),
            },
            Question::First(_) if matches!(request.op, VaultOp::Check) => Ok(Verified::Known),
            Question::First(secret) => self.first(request, &secret, now),
        }
    }

    /// Records whether a request with a secret to be pinned succeeded.
    pub(crate) fn pinned(&self, request: &VaultRequest, is_done: bool) {
        let Some((user, password)) = &request.credentials.basic else { return };
        let secret = secret_of(user, password);
        let mut state = self.lock();
        let place = request.policy.dir.join(&*request.item.extension);
        let Some(pinning) = state.pinning.get_mut(&place) else { return };
        pinning.requests = pinning.requests.saturating_sub(1);
        let (requests, hash) = (pinning.requests, pinning.hash.clone());
        if requests == 0 {
            state.pinning.remove(&place);
        }
        if is_done && state.right.insert(self.digest(&hash, &secret)) {
            self.pinned.fetch_add(1, Relaxed);
        }
    }

    /// Returns what is left to decide after all cheap checks.
    fn question(&self, request: &VaultRequest, now: Instant) -> Result<Question, VaultError> {
        let shown = request.credentials.basic.as_ref();
        let (user, password) = shown.ok_or(VaultError::Unauthorized)?;
        if password.is_empty() {
            return Err(VaultError::Unauthorized);
        }
        self.wait_over(request.client, now)?;
        let whole = secret_of(user, password);
        let (hashes, secret) = match &request.policy.auth {
            Auth::Users(file) => {
                let users = self.users(file);
                let reaches = |known: &&User| known.reaches(user, &request.item.extension);
                (self.hashes(users.find(user).iter().filter(reaches)), password.clone())
            }
            Auth::Open | Auth::Certificate | Auth::Pinned => match self.pin_of(request)? {
                Some(hash) => (vec![hash], whole.clone()),
                None => return Ok(Question::First(whole)),
            },
        };
        Ok(Question::Compare(self.trial(hashes, secret, &whole)))
    }

    /// Returns the hashes of the passwords valid today, or the decoy if there are none.
    fn hashes<'a>(&self, users: impl Iterator<Item = &'a User>) -> Vec<Box<str>> {
        let today = today();
        let hashes: Vec<_> =
            users.filter(|user| user.holds(today)).map(|user| user.hash.clone()).collect();
        if hashes.is_empty() { vec![self.decoy()] } else { hashes }
    }

    /// The digests include the name, so that the time taken does not tell two unknown users from
    /// known ones.
    fn trial(&self, hashes: Vec<Box<str>>, secret: Vec<u8>, whole: &[u8]) -> Comparison {
        let with_digest = |hash: Box<str>| {
            let digest = self.digest(&hash, whole);
            (hash, digest)
        };
        let hashes = hashes.into_iter().map(with_digest).collect();
        Comparison { hashes, places: Vec::new(), secret }
    }

    fn wait_over(&self, client: IpAddr, now: Instant) -> Result<(), VaultError> {
        let Some(wait) = self.lock().throttled.wait(client, now) else { return Ok(()) };
        self.slowed.fetch_add(1, Relaxed);
        Err(VaultError::SlowedDown(wait))
    }

    /// Runs argon2 and remembers the result.
    fn compare(&self, trial: &Comparison) -> bool {
        // The newest is last, and the one in use for the longest time.
        trial.hashes.iter().rev().any(|(hash, digest)| {
            if self.lock().wrong.contains(digest) {
                return false;
            }
            self.checked.fetch_add(1, Relaxed);
            let is_right = self.argon2.verify_password(&trial.secret, &**hash).is_ok();
            let mut state = self.lock();
            let remembered = if is_right { &mut state.right } else { &mut state.wrong };
            remembered.insert(*digest);
            is_right
        })
    }

    /// Returns the number of extensions whose first secret is being pinned.
    #[cfg(test)]
    pub(super) fn pinning(&self) -> usize {
        self.lock().pinning.len()
    }

    fn decoy(&self) -> Box<str> {
        let nobodys = || hmac::sign(&self.key, b"nobody's secret");
        let hash = || users::hash(&self.argon2, nobodys().as_ref()).unwrap_or_default().into();
        self.decoy.get_or_init(hash).clone()
    }

    /// Decides from remembered digests.
    fn remember(&self, trial: &Comparison, now: Instant) -> Authorization {
        let mut state = self.lock();
        state.right.forget_old(now);
        state.wrong.forget_old(now);
        if trial.hashes.iter().any(|(_, digest)| state.right.contains(digest)) {
            return Authorization::Permitted;
        }
        if !trial.hashes.iter().all(|(_, digest)| state.wrong.contains(digest)) {
            return Authorization::NeedsHash;
        }
        // A phone that keeps sending the same old secret guesses nothing, so neither it nor its
        // neighbours are slowed down.
        self.refused.fetch_add(1, Relaxed);
        Authorization::Denied(VaultError::Unauthorized)
    }

    /// Returns the hash pinned to an extension, or `None` if no secret is pinned yet.
    fn pin_of(&self, request: &VaultRequest) -> Result<Option<Box<str>>, VaultError> {
        let (vault, item) = (&request.policy.dir, &request.item);
        let path = vault.join(&*item.extension).join(SECRET);
        let trouble = |why: io::Error, path: &Path| {
            self.log.error(&why, "read", path);
            super::write::denied(&why)
        };
        match std::fs::read_to_string(&path) {
            Ok(hash) => return Ok(Some(hash.trim_end().into())),
            Err(none) if none.kind() == io::ErrorKind::NotFound => {}
            Err(why) => return Err(trouble(why, &path)),
        }
        // There is no data to protect.
        let is_keep = matches!(request.op, VaultOp::Check | VaultOp::Keep { .. });
        match versions::is_there(vault, item) {
            Ok(false) if !is_keep => Err(VaultError::NotThere),
            Ok(_) => Ok(None),
            Err(why) => Err(trouble(why, &path)),
        }
    }

    /// Begins to pin an extension's first secret; of several at once, one.
    fn first(
        &self,
        request: &VaultRequest,
        secret: &[u8],
        now: Instant,
    ) -> Result<Verified, VaultError> {
        let digest = self.digest("", secret);
        let place = request.policy.dir.join(&*request.item.extension);
        if !self.lock().pinning.contains_key(&place) {
            self.may_pin(request, now)?;
            self.checked.fetch_add(1, Relaxed);
            let hashed = users::hash(&self.argon2, secret);
            let hash: Box<str> = hashed
                .map_err(|why| {
                    self.log.error(&io::Error::other(why), "pin a secret in", &place);
                    VaultError::Io
                })?
                .into();
            let fresh = || Pinning { digest, hash, requests: 0 };
            self.lock().pinning.entry(place.clone()).or_insert_with(fresh);
        }
        let mut state = self.lock();
        // Gone if the requests that carried it are done: the next request starts over.
        let pinning = state.pinning.get_mut(&place).ok_or(VaultError::Busy)?;
        if constant_time::verify_slices_are_equal(&pinning.digest, &digest).is_err() {
            drop(state);
            return Err(self.refuse_vault(request, now));
        }
        pinning.requests += 1;
        Ok(Verified::ToPin(pinning.hash.clone()))
    }

    /// A client that invents extensions must not pin all of them before their users come.
    fn may_pin(&self, request: &VaultRequest, now: Instant) -> Result<(), VaultError> {
        let counted =
            self.lock().pins.count(request.client, (true, 0), &request.policy.bounds, now);
        counted.map_err(|(_, wait, is_first)| {
            self.pins_refused.fetch_add(1, Relaxed);
            if is_first {
                tracing::warn!(
                    "{} has brought the first secret of as many extensions as `new_per_hour` in \
                     [vault] allows; more are refused for a while",
                    request.client.to_canonical()
                );
            }
            VaultError::TooMuch(wait)
        })
    }

    fn refuse_vault(&self, request: &VaultRequest, now: Instant) -> VaultError {
        self.refuse(request.client, &request.item.extension, now)
    }

    /// Refuses a new wrong secret.
    fn refuse(&self, client: IpAddr, whom: &str, now: Instant) -> VaultError {
        self.refused.fetch_add(1, Relaxed);
        if let Some(wrong) = self.lock().throttled.wrong(client, now) {
            let client = client.to_canonical();
            // Doubling waits bound how often this is logged for an address.
            tracing::warn!(
                "{client} has sent {wrong} wrong secrets, the last one for {whom}, and is slowed \
                 down"
            );
        }
        VaultError::Unauthorized
    }

    /// Identifies a secret together with the hash that it is compared with.
    fn digest(&self, hash: &str, secret: &[u8]) -> Digest {
        let mut context = hmac::Context::with_key(&self.key);
        context.update(&(hash.len() as u64).to_le_bytes());
        context.update(hash.as_bytes());
        context.update(secret);
        let mut digest = Digest::default();
        digest.copy_from_slice(context.sign().as_ref());
        digest
    }

    fn lock(&self) -> MutexGuard<'_, AuthState> {
        self.state.lock()
    }
}

/// The current date and time, by which passwords expire.
fn today() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}

/// Joins user and password into one secret, unambiguously.
fn secret_of(user: &[u8], password: &[u8]) -> Vec<u8> {
    let mut secret = (user.len() as u64).to_le_bytes().to_vec();
    secret.extend_from_slice(user);
    secret.extend_from_slice(password);
    secret
}
