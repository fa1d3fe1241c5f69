//! One `[[https]]`, or `[ftp]`: its files, their TLS terms, and the fault of the newest files.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::error::CertificateError;
use super::files::{self, FileStamp};
use super::names::Names;
use super::pair::{self, Pair};
use super::terms::{Sessions, TlsPolicy};
use super::{DAY_S, ca_certificate};
use crate::config::{CaSettings, ClientAuth, TlsSettings};
use crate::net::tls::TlsTerms;

/// A pair is written as two files, so it may be incomplete for so many seconds.
const SETTLES_WITHIN_S: i64 = 3;

/// One `[[https]]`, or `[ftp]`.
#[derive(Debug)]
pub(super) struct CertificateRow {
    pub(super) settings: TlsSettings,
    /// The TLS terms in use; `None` before its first pair is made.
    pub(super) used: Option<InUse>,
    /// The stamps of the files when last read, whatever the result.
    pub(super) seen: Vec<FileStamp>,
    /// Since when its files are bad without a report: they may be incomplete.
    unsettled_since_unix_s: Option<i64>,
    pub(super) fault: Option<String>,
}

#[derive(Clone, Debug)]
pub(super) struct InUse {
    pub(super) pairs: Vec<Pair>,
    pub(super) policy: TlsPolicy,
    pub(super) sessions: Sessions,
    pub(super) terms: Arc<TlsTerms>,
}

impl CertificateRow {
    pub(super) fn new(settings: TlsSettings) -> CertificateRow {
        CertificateRow {
            settings,
            used: None,
            seen: Vec::new(),
            unsettled_since_unix_s: None,
            fault: None,
        }
    }

    /// Returns whether the new row continues this one: some of its listeners stay.
    pub(super) fn is_succeeded_by(&self, new: &TlsSettings) -> bool {
        self.settings.listen.iter().any(|address| new.listen.contains(address))
    }

    pub(super) fn has_files_of(&self, new: &TlsSettings) -> bool {
        let of = |settings: &TlsSettings| {
            let TlsSettings { certificate, key, client_auth, client_ca, client_crl, .. } = settings;
            let accepts = settings.client_accept.clone();
            let phones = (*client_auth, client_ca.clone(), client_crl.clone(), accepts);
            (certificate.clone(), key.clone(), phones)
        };
        self.used.is_some()
            && of(&self.settings) == of(new)
            && self.settings.protocol == new.protocol
            && self.settings.authenticate_only == new.authenticate_only
            && self.settings.legacy == new.legacy
    }

    /// Returns the current stamps of its files.
    pub(super) fn stamps(&self) -> Vec<FileStamp> {
        let (certificate, key) = second(&self.settings);
        let own = [&self.settings.certificate, &self.settings.key, &certificate, &key];
        let phones = [&self.settings.client_ca, &self.settings.client_crl];
        own.into_iter().chain(phones.into_iter().flatten()).map(|path| files::stamp(path)).collect()
    }

    /// Reads everything and applies it. Earlier sessions can be resumed if they may.
    ///
    /// # Errors
    /// The fault and its remedy; what was used before stays in use.
    pub(super) fn read(&mut self, before: Option<&InUse>) -> Result<(), CertificateError> {
        self.seen = self.stamps();
        let settings = &self.settings;
        let mut pairs = vec![Pair::read(&settings.certificate, &settings.key)?];
        let second = second(settings);
        let mut fault = None;
        if second.0.exists() {
            match Pair::read(&second.0, &second.1) {
                // A pair that another CA issued is left from before.
                Ok(pair) if pair::are_siblings(pairs[0].leaf(), pair.leaf()) => {
                    pairs.insert(0, pair);
                }
                Ok(_) => {}
                Err(why) => fault = Some(format!("{why}; until then phones get the other one")),
            }
        }
        let policy = TlsPolicy::read(settings)?;
        let sessions = match before.filter(|before| before.policy == policy) {
            Some(before) => before.sessions.clone(),
            None => Sessions::new()?,
        };
        let terms = Arc::new(policy.terms(&pairs, &sessions)?);
        self.used = Some(InUse { pairs, policy, sessions, terms });
        self.fault = fault;
        self.unsettled_since_unix_s = None;
        Ok(())
    }

    /// Reads only the data for phones' certificates.
    ///
    /// # Errors
    /// The fault and its remedy.
    pub(super) fn read_phones(&self) -> Result<(), CertificateError> {
        TlsPolicy::read(&self.settings)?.check()
    }

    /// Reads everything again.
    ///
    /// # Errors
    /// As [`CertificateRow::read`].
    pub(super) fn read_again(&mut self) -> Result<(), CertificateError> {
        let before = self.used.clone();
        self.read(before.as_ref())
    }

    /// Returns whether its files do not exist yet and must be made.
    pub(super) fn is_to_be_made(&self) -> bool {
        self.used.is_none() && !self.settings.certificate.exists() && !self.settings.key.exists()
    }

    /// Applies changed files; returns whether the report has changed.
    pub(super) fn refresh(&mut self, now_unix_s: i64) -> bool {
        if self.stamps() == self.seen && self.unsettled_since_unix_s.is_none() {
            return false;
        }
        match self.read_again() {
            Ok(()) => {
                tracing::info!("{} is taken up", self.settings.certificate.display());
                if let Some(fault) = &self.fault {
                    tracing::error!("{fault}");
                }
                true
            }
            Err(why) => {
                let since = *self.unsettled_since_unix_s.get_or_insert(now_unix_s);
                if now_unix_s - since < SETTLES_WITHIN_S {
                    return false;
                }
                self.unsettled_since_unix_s = None;
                self.note(format!("{why}; what was read before stays in use"))
            }
        }
    }

    /// From now on reads only with this user's rights. Warns if they do not suffice.
    pub(super) fn drop_privileges(&mut self) {
        self.seen = self.stamps();
        if self.fault.is_none()
            && let Err(why) = files::read(&self.settings.key)
        {
            self.note(format!("{why}. Until then a newer one is only taken up by a restart"));
        }
    }

    /// Records a fault and logs it once; returns whether it is new.
    pub(super) fn note(&mut self, fault: String) -> bool {
        if self.fault.as_ref() == Some(&fault) {
            return false;
        }
        tracing::error!("{fault}");
        self.fault = Some(fault);
        true
    }

    /// Returns whether the server's own CA has issued the pairs in use.
    pub(super) fn is_own(&self, ca: &CaSettings) -> bool {
        let Some(used) = &self.used else { return false };
        let Some(authority) = ca_certificate(ca) else { return false };
        used.pairs.iter().all(|pair| pair::vouches(&authority, pair.leaf()))
    }

    /// Returns whether a crash has left a new key beside an old certificate of the server's own CA.
    pub(super) fn is_half_renewed(&self, ca: &CaSettings) -> bool {
        self.used.is_none() && is_half(&self.settings.certificate, &self.settings.key, ca)
    }

    /// Whole days until the first of its pairs expires.
    pub(super) fn days_left(&self, now_unix_s: i64) -> i64 {
        let pairs = self.used.iter().flat_map(|used| &used.pairs);
        let ends = pairs.map(|pair| pair.facts.not_after_unix_s);
        ends.min().map_or(0, |end| (end - now_unix_s).div_euclid(DAY_S))
    }

    /// Returns whether a pair has less than a third of its life left.
    pub(super) fn is_old(&self, now_unix_s: i64) -> bool {
        let is_old = |pair: &Pair| {
            let life = pair.facts.not_after_unix_s - pair.facts.not_before_unix_s;
            pair.facts.not_after_unix_s - now_unix_s < life / 3
        };
        self.used.as_ref().is_some_and(|used| used.pairs.iter().any(is_old))
    }

    /// Returns whether the host has an address that a pair does not name.
    pub(super) fn lacks(&self, names: &Names) -> bool {
        let lacks = |pair: &Pair| {
            let named =
                |address: &std::net::IpAddr| pair.facts.names.contains(&address.to_string());
            !names.addresses.iter().all(named)
        };
        self.used.as_ref().is_some_and(|used| used.pairs.iter().any(lacks))
    }
}

impl TlsPolicy {
    fn read(settings: &TlsSettings) -> Result<TlsPolicy, CertificateError> {
        let asks = settings.client_auth != ClientAuth::Off;
        let ca = settings.client_ca.as_deref().filter(|_| asks).map(files::read).transpose()?;
        let crl = settings.client_crl.as_deref().filter(|_| asks).map(files::read).transpose()?;
        Ok(TlsPolicy {
            protocol: settings.protocol,
            client_auth: settings.client_auth,
            client_ca: ca.unwrap_or_default(),
            client_crl: crl,
            client_accept: settings.client_accept.clone(),
            authenticate_only: settings.authenticate_only,
            legacy: settings.legacy,
        })
    }
}

/// Returns whether two files are a certificate of the server's own CA and another key.
pub(super) fn is_half(certificate: &Path, key: &Path, ca: &CaSettings) -> bool {
    let leaf = pair::leaf(certificate);
    let (Some(leaf), Some(ca), Ok(key)) = (leaf, ca_certificate(ca), files::read(key)) else {
        return false;
    };
    let is_stranger =
        matches!(pair::certify(vec![leaf.clone()], &key), Err(pair::KeyError::Mismatch));
    is_stranger && pair::vouches(&ca, &leaf)
}

/// Sets a key aside before a new one replaces it: an administrator may have put it there ahead of
/// its certificate.
pub(super) fn set_aside(key: &Path) -> Result<(), CertificateError> {
    let mut aside = key.as_os_str().to_owned();
    aside.push(".aside");
    let (shown, kept) = (key.display(), aside.display());
    match fs::rename(key, &aside).and_then(|()| fs::hard_link(&aside, key)) {
        Ok(()) => {
            tracing::warn!(
                "{shown} is not the key of the certificate beside it, which the server's own CA \
                 has issued: both are made anew, and the key is kept as {kept}"
            );
            Ok(())
        }
        Err(cause) => {
            let kept = PathBuf::from(aside);
            Err(CertificateError::KeepAside { path: key.to_owned(), kept, cause })
        }
    }
}

/// Returns the paths of the P-256 pair beside the first: `server-p256.pem` beside `server.pem`.
pub(crate) fn second(settings: &TlsSettings) -> (PathBuf, PathBuf) {
    let beside = |path: &Path| {
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        let extension = path.extension().map(|end| format!(".{}", end.to_string_lossy()));
        path.with_file_name(format!("{stem}-p256{}", extension.unwrap_or_default()))
    };
    (beside(&settings.certificate), beside(&settings.key))
}
