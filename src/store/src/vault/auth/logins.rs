//! Logins for served files: finds the users' file that has the user, by password or Digest
//! response.
//!
//! Pins nothing: a user that is in no file is refused.

use std::sync::atomic::Ordering::Relaxed;

use super::super::users::User;
use super::{Authenticator, Authorization, Comparison, secret_of, today};
use engine::address::AddressKey;
use engine::vault::request::{Login, LoginSecret, VaultError};
use wire::http::authorization::DigestCredentials;
use wire::time::Instant;

impl Authenticator {
    /// Decides about a login as far as that needs no argon2: which of its files has the user, or
    /// why access is denied. Returns `None` if [`Authenticator::prove_login`] must decide.
    pub(crate) fn authorize_login(
        &self,
        login: &Login,
        now: Instant,
    ) -> Option<Result<usize, VaultError>> {
        let password = match &login.secret {
            LoginSecret::Password(password) => password,
            LoginSecret::Digest(shown, method) => {
                return Some(self.verify_digest(login, shown, method, now));
            }
        };
        let trial = match self.trial_of(login, password, now) {
            Ok(trial) => trial,
            Err(denied) => return Some(Err(denied)),
        };
        match self.remember(&trial, now) {
            Authorization::Permitted => self.place_of(&trial).map(Ok),
            Authorization::Denied(denied) => Some(Err(denied)),
            Authorization::NeedsHash => None,
        }
    }

    /// Decides about a login, and returns the index of the users' file that has the user. Runs
    /// argon2.
    ///
    /// # Errors
    /// [`VaultError::Unauthorized`] and the other refusals of secrets.
    pub(crate) fn prove_login(&self, login: &Login, now: Instant) -> Result<usize, VaultError> {
        if let Some(result) = self.authorize_login(login, now) {
            return result;
        }
        let LoginSecret::Password(password) = &login.secret else {
            return Err(VaultError::Unauthorized);
        };
        let trial = self.trial_of(login, password, now)?;
        let place = if self.compare(&trial) { self.place_of(&trial) } else { None };
        place.ok_or_else(|| {
            self.refuse(login.client, &format!("user {}", login.name.escape_ascii()), now)
        })
    }

    /// Identifies a login with a password, so that it is proven once however many requests carry it
    /// at a time.
    #[must_use]
    pub(crate) fn flight(&self, login: &Login) -> Option<[u8; 32]> {
        let LoginSecret::Password(password) = &login.secret else { return None };
        let files: Vec<_> = login.users.iter().map(|file| file.to_string_lossy()).collect();
        Some(self.digest(&files.join("\0"), &secret_of(&login.name, password)))
    }

    /// Returns the users' file that the right password of a trial is from.
    fn place_of(&self, trial: &Comparison) -> Option<usize> {
        let state = self.lock();
        let right = trial.hashes.iter().position(|(_, digest)| state.right.contains(digest))?;
        trial.places.get(right).copied()
    }

    /// Returns whether a response is that of a user of one of the files.
    fn verify_digest(
        &self,
        login: &Login,
        shown: &DigestCredentials,
        method: &[u8],
        now: Instant,
    ) -> Result<usize, VaultError> {
        // No two responses are equal, so a phone that keeps sending an old password looks like one
        // that guesses. So only that user has to wait, and not every phone behind the address,
        // unless other names are tried there.
        let address = AddressKey::from(login.client);
        let pair = self.digest(&format!("{address:?}"), &login.name);
        self.wait_over(login.client, now)?;
        if let Some(wait) = self.lock().throttled_users.wait(pair, now) {
            self.slowed.fetch_add(1, Relaxed);
            return Err(VaultError::SlowedDown(wait));
        }
        let today = today();
        for (place, file) in login.users.iter().enumerate() {
            let users = self.users(file);
            let mut passwords = users.find(&login.name).iter().filter(|user| user.holds(today));
            let is_it =
                |user: &User| user.ha1.as_ref().is_some_and(|ha1| ha1.is_shown_by(shown, method));
            if passwords.any(is_it) {
                // A client with the right password does not guess. Otherwise phones with the right
                // password would pay for one behind the same address with a wrong one.
                self.lock().throttled_users.forgive(pair);
                return Ok(place);
            }
        }
        let mut state = self.lock();
        let is_new = state.throttled_users.is_new(pair, now);
        state.throttled_users.wrong(pair, now);
        drop(state);
        if is_new {
            return Err(self.refuse(
                login.client,
                &format!("user {}", login.name.escape_ascii()),
                now,
            ));
        }
        self.refused.fetch_add(1, Relaxed);
        Err(VaultError::Unauthorized)
    }

    /// Returns the hashes that a login must be compared with, after all cheap checks.
    fn trial_of(
        &self,
        login: &Login,
        password: &[u8],
        now: Instant,
    ) -> Result<Comparison, VaultError> {
        if password.is_empty() {
            return Err(VaultError::Unauthorized);
        }
        self.wait_over(login.client, now)?;
        let (mut hashes, mut places) = (Vec::new(), Vec::new());
        let today = today();
        for (place, file) in login.users.iter().enumerate() {
            let users = self.users(file);
            let passwords = users.find(&login.name).iter().filter(|user| user.holds(today));
            hashes.extend(passwords.map(|user| user.hash.clone()));
            places.resize(hashes.len(), place);
        }
        if hashes.is_empty() {
            // Without a file index: a match with the decoy grants nothing.
            hashes.push(self.decoy());
        }
        let whole = secret_of(&login.name, password);
        Ok(Comparison { places, ..self.trial(hashes, password.to_vec(), &whole) })
    }
}
