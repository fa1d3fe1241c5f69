//! Who the client is: phones log in by a name that all of them share, administrators by a password.
//! The phone itself names its user, over SNMP.
//!
//! Fails closed: a phone that does not name its user reaches no user's data.

use std::net::IpAddr;
use std::path::Path;

use crate::cancel::CancelOnDrop;
use crate::files::TreePath;
use crate::policy::protect::Proof;
use crate::policy::{Identification, identification};
use crate::protocol::Protocol;
use crate::requests::StoreRequest;
use crate::session::ftp::context::Context;
use crate::session::ftp::session::{
    Identity, InputEnd, LogContext, Pending, Session, SessionState, Stage, User, VaultOwner,
};
use crate::session::snmp::{IdentityError, IdentityLookup, PhoneIdentity};
use crate::session::{CredentialFault, Outcome, Refusal, Subject, Verb};
use crate::settings::ftp::Administrators;
use crate::vault::names::Item;
use crate::vault::request::{Login, LoginSecret, VaultError};
use wire::ftp::command::Secret;
use wire::ftp::reply::Code;
use wire::time::{Duration, Instant};

/// How old a phone's answer may be if it alone decides whose data the phone gets: the user may have
/// changed since.
const FRESH: Duration = Duration::from_secs(5);
/// Longest name and password that are accepted, in bytes.
const SECRET_BYTES_MAX: usize = 256;

/// The result of authorizing a name in the vault.
pub(super) enum Verdict {
    /// It is this user's data.
    Item(Item),
    /// The phone is being asked.
    Wait,
    /// It is refused.
    Refused(Refusal, String),
}

impl Session {
    /// `USER`.
    pub(super) fn user(&mut self, name: &[u8], cx: &mut Context<'_>) {
        let rows = &cx.snapshot.policy.protections;
        let policy = &cx.snapshot.policy.ftp;
        let is_phone = is_phone(policy, name);
        // A phone with a password may have no TLS.
        let may_be_phones = rows.may_log_in(name);
        let needs_tls = policy.administrators.as_ref().is_some_and(|admins| !admins.cleartext)
            && !may_be_phones;
        self.log_out(cx.now);
        if !is_phone && needs_tls && self.security.link.secured().is_none() {
            // Before the password is sent, not after.
            let text = "Administrators log in over TLS: say AUTH TLS first. Phones log in as \
                        anonymous.";
            return self.reply(Code::NOT_LOGGED_IN, text);
        }
        self.login.user = User::Named(name[..name.len().min(SECRET_BYTES_MAX)].into());
        let text = if is_phone { "Any password will do." } else { Code::PASSWORD_NEEDED.text() };
        self.reply(Code::PASSWORD_NEEDED, text);
    }

    /// `PASS`.
    pub(super) fn pass(&mut self, password: Secret<'_>, cx: &mut Context<'_>) {
        let policy = &cx.snapshot.policy;
        let named = match &self.login.user {
            User::Named(name) => Some(name.clone()),
            User::Nobody | User::Phone(_) | User::Administrator(_) => None,
        };
        self.log_out(cx.now);
        let Some(name) = named else {
            return self.reply(Code::WRONG_ORDER, "Say USER first.");
        };
        if is_phone(&policy.ftp, &name) {
            return self.welcome_phone(None, cx);
        }
        let client = self.peer.ip().to_canonical();
        // An administrator's password must not be sent in clear, unless the settings allow it.
        let is_safe =
            |one: &&Administrators| one.cleartext || self.security.link.secured().is_some();
        let administrators = policy.ftp.administrators.as_ref().filter(is_safe);
        let mut users: Vec<_> = administrators.iter().map(|one| one.users.clone()).collect();
        let of_rows = policy.protections.users_files(Protocol::Ftp);
        users.extend(of_rows.into_iter().map(Path::to_path_buf));
        let manages = administrators.is_some();
        let permitted = policy.access.permits(Protocol::Ftp, client);
        if !permitted || users.is_empty() || password.0.len() > SECRET_BYTES_MAX {
            return self.refuse_login(&name, VaultError::Unauthorized, cx);
        }
        let name = name.to_vec();
        let secret = LoginSecret::Password(password.0.to_vec());
        self.login.user = User::Named(name.as_slice().into());
        let check = CancelOnDrop::default();
        if self.input.end >= InputEnd::HungUp {
            check.token().doubt();
        }
        let cancel = check.token().clone();
        let login = Box::new(Login { client, users: users.clone(), name, secret, cancel });
        self.take_up(Pending::Login { manages, users, check }, None, cx);
        self.submit(|ticket| StoreRequest::Login { ticket, login }, cx);
    }

    fn welcome_phone(&mut self, proof: Option<Proof>, cx: &mut Context<'_>) {
        self.login.user = User::Phone(proof);
        self.settings.cwd = TreePath::default();
        let client = self.peer.ip().to_canonical();
        cx.counters.ftp_logins.up();
        let permitted = cx.snapshot.policy.access.permits(Protocol::Ftp, client);
        let policy = &cx.snapshot.policy.ftp;
        // Asked now, so that the answer has come when the first file is named. A client that is not
        // served is not asked.
        if permitted && policy.vault.is_some() && !is_trusted(policy, client) {
            self.query_identity(false, cx);
        }
        self.reply(Code::LOGGED_IN, "Welcome, phone.");
    }

    /// The password was checked.
    pub(super) fn logged_in(&mut self, result: Result<usize, VaultError>, cx: &mut Context<'_>) {
        let SessionState::Busy(job) = &mut self.state else { return };
        let Pending::Login { manages, users, check: _ } = &mut job.pending else { return };
        let (manages, mut users) = (*manages, std::mem::take(users));
        self.state = SessionState::Idle;
        self.heard = cx.now;
        cx.shared.resumed.push_back(cx.id);
        let User::Named(name) = std::mem::replace(&mut self.login.user, User::Nobody) else {
            return;
        };
        match result {
            Ok(place) if place > 0 || !manages => {
                self.login.failed = 0;
                let users = (place < users.len()).then(|| users.swap_remove(place));
                let proof = users.map(|users| Proof { users, user: (&*name).into() });
                let log = LogContext::new(said(&name), Verb::LogIn, cx.now);
                cx.note(self.peer, self.security.link.secured(), log, Outcome::Done);
                self.welcome_phone(proof, cx);
            }
            Ok(_) => {
                self.login.user = User::Administrator(String::from_utf8_lossy(&name).into());
                self.settings.cwd = TreePath::default();
                self.login.failed = 0;
                cx.counters.ftp_logins.up();
                let log = LogContext::new(said(&name), Verb::LogIn, cx.now);
                cx.note(self.peer, self.security.link.secured(), log, Outcome::Done);
                self.reply(Code::LOGGED_IN, "Welcome. CWD into a directory; LIST shows them.");
            }
            Err(denied) => self.refuse_login(&name, denied, cx),
        }
    }

    fn refuse_login(&mut self, name: &[u8], why: VaultError, cx: &mut Context<'_>) {
        cx.counters.ftp_logins_failed.up();
        let most = cx.snapshot.policy.ftp.limits.failed_logins_max;
        self.login.failed += 1;
        let (no, text) = match why {
            VaultError::SlowedDown(wait) => {
                let wait_s = wait.as_secs() + 1;
                let text = format!("Too many wrong passwords from here; wait {wait_s} seconds.");
                (Refusal::SlowedDown, text)
            }
            VaultError::Busy
            | VaultError::Io
            | VaultError::Unavailable
            | VaultError::Full
            | VaultError::TotalMax
            | VaultError::Reserve
            | VaultError::TooMuch(_)
            | VaultError::Forbidden => (
                Refusal::Credentials(CredentialFault::Unchecked),
                "The password cannot be checked now.".to_owned(),
            ),
            VaultError::NotThere | VaultError::Unauthorized | VaultError::Precondition => (
                Refusal::Credentials(CredentialFault::Wrong),
                "Name or password is wrong.".to_owned(),
            ),
        };
        let ends = self.login.failed >= most || no == Refusal::SlowedDown;
        let log = LogContext::new(said(name), Verb::LogIn, cx.now);
        self.note_refused(log, no, cx);
        match ends {
            true => self.close_with_reply(Code::CLOSING, &text, cx),
            false => self.reply(Code::NOT_LOGGED_IN, &text),
        }
    }

    /// Asks the phone for its user; `anew` ignores an earlier answer.
    fn query_identity(&mut self, anew: bool, cx: &mut Context<'_>) {
        let (peer, policy) = (self.peer, &cx.snapshot.policy.ftp.snmp);
        if anew {
            cx.snmp.forget(peer, policy);
        }
        self.login.identity = match cx.snmp.look_up(peer, policy, cx.counters, cx.now) {
            IdentityLookup::Known(known) => {
                let at = if anew { cx.now } else { Instant::START };
                Identity::Known(known, at)
            }
            IdentityLookup::Pending => {
                cx.shared.asking.entry(peer.ip().to_canonical()).or_default().push(cx.id);
                Identity::Pending
            }
        };
    }

    /// The phone has named its user, or failed to.
    pub(super) fn handle_identity(
        &mut self,
        identity: &Result<PhoneIdentity, IdentityError>,
        cx: &mut Context<'_>,
    ) {
        self.login.identity = Identity::Known(identity.clone(), cx.now);
        let waits = self.transfer().map(|transfer| &transfer.stage);
        if matches!(waits, Some(Stage::Identity)) {
            self.identify(cx);
            self.rearm(cx);
            self.wake(cx);
        }
    }

    /// Decides whose data a name means, by the phone's answer.
    pub(super) fn authorize_owner(&mut self, owner: &VaultOwner, cx: &mut Context<'_>) -> Verdict {
        let client = self.peer.ip().to_canonical();
        if is_trusted(&cx.snapshot.policy.ftp, client) {
            return match owner {
                VaultOwner::Named(item) => Verdict::Item(item.clone()),
                VaultOwner::LoggedIn(_) => Verdict::Refused(
                    Refusal::ExtensionMissing,
                    "The name must begin with the extension: phones here are not asked.".to_owned(),
                ),
            };
        }
        let fresh = FRESH.min(cx.snapshot.policy.ftp.snmp.cache);
        match &self.login.identity {
            Identity::Pending => return Verdict::Wait,
            Identity::Known(known, at) if cx.now.since(*at) <= fresh => {
                return verdict(client, known, owner);
            }
            Identity::Known(..) | Identity::Unknown => {}
        }
        // An earlier answer counts as long as it is cached, if it names the same user.
        self.query_identity(false, cx);
        match &self.login.identity {
            Identity::Known(known, _) if fits(known, owner) => {
                return verdict(client, known, owner);
            }
            Identity::Known(..) => {}
            Identity::Pending | Identity::Unknown => return Verdict::Wait,
        }
        self.query_identity(true, cx);
        match &self.login.identity {
            Identity::Known(known, _) => verdict(client, known, owner),
            Identity::Pending | Identity::Unknown => Verdict::Wait,
        }
    }
}

/// Returns whether a phone's answer agrees with the name: then it may be older.
fn fits(known: &Result<PhoneIdentity, IdentityError>, owner: &VaultOwner) -> bool {
    match (known, owner) {
        (Ok(identity), VaultOwner::Named(item)) => {
            identity.extension.as_ref() == Some(&item.extension)
        }
        (Ok(_) | Err(_), VaultOwner::LoggedIn(_)) | (Err(_), VaultOwner::Named(_)) => false,
    }
}

fn verdict(
    client: IpAddr,
    known: &Result<PhoneIdentity, IdentityError>,
    owner: &VaultOwner,
) -> Verdict {
    let identity = match known {
        Ok(identity) => identity,
        Err(why) => {
            let text = format!(
                "The phone at {client} {}, so nobody knows whose data it may have. Set \
                 SNMPSTRING on it, and SNMPADD to this server.",
                why.words()
            );
            return Verdict::Refused(Refusal::Unidentified(*why), text);
        }
    };
    let Some(extension) = &identity.extension else {
        return match &identity.unnamable {
            Some(said) => {
                let text = format!(
                    "The phone at {client} says that {said:?} is logged in, which can be no \
                     file name: the vault keeps no data of it."
                );
                Verdict::Refused(Refusal::ExtensionUnnamable, text)
            }
            None => {
                let text = format!("Nobody is logged in at the phone at {client}.");
                Verdict::Refused(Refusal::NobodyLoggedIn, text)
            }
        };
    };
    match owner {
        VaultOwner::LoggedIn(family) => {
            Verdict::Item(Item { extension: extension.clone(), family })
        }
        VaultOwner::Named(item) if item.extension == *extension => Verdict::Item(item.clone()),
        VaultOwner::Named(item) => {
            let text = format!(
                "Extension {extension} is logged in at the phone at {client}: the data of {} \
                 is not for it.",
                item.extension
            );
            Verdict::Refused(Refusal::OtherExtension, text)
        }
    }
}

fn is_phone(policy: &crate::settings::ftp::FtpPolicy, name: &[u8]) -> bool {
    policy.phones.iter().any(|phone| phone.as_bytes().eq_ignore_ascii_case(name))
}

fn is_trusted(policy: &crate::settings::ftp::FtpPolicy, client: IpAddr) -> bool {
    matches!(identification(policy, client), Identification::Trusted(_))
}

pub(super) fn said(name: &[u8]) -> Subject {
    Subject::said(name)
}
