//! Certificates of the TLS listeners: made at the first start, reloaded when they change, renewed
//! before they expire, and reported.
//!
//! Runs only beside the workers. A bad or incomplete pair never replaces a good one, and an
//! administrator's files are never overwritten.

pub(super) mod authority;
mod check;
pub(crate) mod error;
pub(super) mod files;
#[cfg(feature = "legacy-tls")]
mod legacy;
pub(super) mod names;
pub(super) mod pair;
mod phones;
mod row;
mod terms;

use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::pki_types::CertificateDer;
use serde::{Deserialize, Serialize};

use crate::config::{CaSettings, Settings, TlsSettings};
use crate::net::tls::{SharedTerms, null_cipher};
use authority::{Authority, KeyKind};
pub(crate) use check::validate;
use engine::protocol::Protocol;
use engine::settings::http::CaFile;
use error::located;
pub(crate) use error::{CertificateError, CertificateErrors};
use files::{FileStamp, NewFile, Visibility};
use names::Names;
pub(crate) use pair::Facts;
use row::CertificateRow;
pub(super) use row::second;

/// Days before expiry at which warnings begin.
const WARN_DAYS: i64 = 30;
/// Interval between two checks of the host's addresses, in seconds. An address that is missing from
/// the certificate must be there twice, so that a passing one costs nothing.
const ADDRESSES_EVERY_S: i64 = 60;
const DAY_S: i64 = 86_400;

/// The part of `/status.json` about one `[[https]]`, or `[ftp]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CertificateStatus {
    /// Its addresses.
    pub(crate) listen: Vec<SocketAddr>,
    /// The protocol, and what it does not hide.
    pub(crate) speaks: String,
    /// The file.
    pub(crate) file: String,
    /// The pairs in use, by kind of key.
    pub(crate) pairs: Vec<Facts>,
    /// Whole days until the first of them expires; negative afterwards.
    pub(crate) days_left: i64,
    /// Whether the server's own CA issued them, so that it renews them.
    pub(crate) renewed_by_itself: bool,
    /// Why a newer one is not in use, or what will fail without action.
    pub(crate) fault: Option<String>,
}

/// The result of a check.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct CertificateChanges {
    /// The report has changed.
    pub(crate) changed: bool,
    /// The CA's certificate, which phones fetch, has changed: [`Certificates::ca_file`].
    pub(crate) ca_changed: bool,
}

/// The certificates of every listener.
#[derive(Debug)]
pub(crate) struct Certificates {
    /// The configuration, for messages.
    file: PathBuf,
    ca: CaSettings,
    rows: Vec<CertificateRow>,
    places: HashMap<SocketAddr, SharedTerms>,
    ca_seen: FileStamp,
    addresses_due_unix_s: i64,
    /// The last check found addresses missing from a certificate.
    was_missing: bool,
    warned_on_day: i64,
}

impl Certificates {
    /// Reads the existing files. Call it with the privileges of the start: a key may be readable
    /// only for root.
    ///
    /// # Errors
    /// Every fault, with the configuration's line and the remedy.
    pub(crate) fn read(settings: &Settings) -> Result<Certificates, CertificateErrors> {
        Certificates::read_over(settings, &[])
    }

    /// Reads the existing files, on top of what was in use before.
    fn read_over(
        settings: &Settings,
        before: &[CertificateRow],
    ) -> Result<Certificates, CertificateErrors> {
        let ca = settings.ca.clone();
        let mut errors = Vec::new();
        let mut rows = Vec::new();
        for settings_row in &settings.secured {
            let mut row = CertificateRow::new(settings_row.clone());
            let old = before.iter().find(|old| old.is_succeeded_by(settings_row));
            let used = old.and_then(|old| old.used.as_ref());
            if !row.is_to_be_made()
                && let Err(why) = row.read(used)
            {
                // Unchanged files that went bad must not block everything else.
                if old.is_some_and(|old| old.has_files_of(settings_row)) {
                    row.used = used.cloned();
                    let located = located(&settings.file, settings_row.line, &why);
                    row.note(format!("{located}; what was read before stays in use"));
                } else if !row.is_half_renewed(&ca) {
                    errors.push((settings_row.line, why));
                }
            }
            rows.push(row);
        }
        CertificateErrors::of(&settings.file, errors)?;
        Ok(Certificates {
            file: settings.file.clone(),
            ca_seen: files::stamp(&authority::certificate_in(&ca.dir)),
            ca,
            rows,
            places: HashMap::new(),
            addresses_due_unix_s: 0,
            was_missing: false,
            warned_on_day: 0,
        })
    }

    /// Makes what is missing. Call it as the server's user, which must be able to read and renew
    /// it.
    ///
    /// # Errors
    /// What could not be made, and the remedy.
    pub(crate) fn make(&mut self, now_unix_s: i64) -> Result<(), CertificateErrors> {
        let file = self.file.clone();
        for place in 0..self.rows.len() {
            let row = &self.rows[place];
            let (line, own) = (row.settings.line, row.is_own(&self.ca));
            let located = |why| CertificateErrors::one(&file, line, why);
            let is_half = row.is_half_renewed(&self.ca);
            if is_half {
                row::set_aside(&row.settings.key).map_err(located)?;
            }
            if row.is_to_be_made() || is_half {
                self.issue(place, now_unix_s).map_err(located)?;
            } else if own && row.used.as_ref().is_some_and(|used| used.pairs.len() == 1) {
                // The listener works with its first pair.
                if let Err(why) = self.issue_second(place, now_unix_s) {
                    self.rows[place].note(why.to_string());
                }
            }
            let row = &mut self.rows[place];
            if row.used.is_none() {
                row.read_again().map_err(located)?;
            }
            row.drop_privileges();
        }
        self.ca_seen = files::stamp(&authority::certificate_in(&self.ca.dir));
        self.publish();
        Ok(())
    }

    /// Returns the TLS terms of the data path, by configured address.
    #[must_use]
    pub(crate) fn terms(&self) -> HashMap<SocketAddr, SharedTerms> {
        self.places.clone()
    }

    /// Applies new settings whole, or not at all. New addresses wait for a restart.
    ///
    /// # Errors
    /// Every fault; what was in force stays so.
    pub(crate) fn take(
        &mut self,
        settings: &Settings,
        now_unix_s: i64,
    ) -> Result<(), CertificateErrors> {
        let mut taken = Certificates::read_over(settings, &self.rows)?;
        taken.places = self.places.clone();
        taken.warned_on_day = self.warned_on_day;
        taken.make(now_unix_s)?;
        *self = taken;
        Ok(())
    }

    /// Returns the CA's certificate as phones fetch it, or `None` if they do not or there is none.
    /// Never returns more of the file than certificates.
    #[must_use]
    pub(crate) fn ca_file(&self) -> Option<CaFile> {
        let path = self.ca.serve_as.clone()?;
        let text = files::read(&authority::certificate_in(&self.ca.dir)).ok()?;
        pair::chain(&text).ok()?;
        Some(CaFile { path, pem: pair::certificates_of(&text).into() })
    }

    /// Checks whether files have changed, and renews the server's own; call it once a second.
    pub(crate) fn refresh(&mut self, now_unix_s: i64) -> CertificateChanges {
        let mut changed = false;
        for row in &mut self.rows {
            changed |= row.refresh(now_unix_s);
        }
        if now_unix_s >= self.addresses_due_unix_s && !self.rows.is_empty() {
            self.addresses_due_unix_s = now_unix_s + ADDRESSES_EVERY_S;
            self.renew_due(now_unix_s);
            // Days pass as well.
            changed = true;
        }
        if changed {
            self.publish();
        }
        self.warn(now_unix_s);
        let ca_seen = files::stamp(&authority::certificate_in(&self.ca.dir));
        let ca_changed = ca_seen != self.ca_seen;
        self.ca_seen = ca_seen;
        CertificateChanges { changed, ca_changed }
    }

    /// Returns the state of the pairs in use.
    #[must_use]
    pub(crate) fn report(&self, now_unix_s: i64) -> Vec<CertificateStatus> {
        let status = |row: &CertificateRow| {
            let pairs = row.used.iter().flat_map(|used| &used.pairs);
            CertificateStatus {
                listen: row.settings.listen.clone(),
                speaks: speaks(&row.settings),
                file: row.settings.certificate.display().to_string(),
                pairs: pairs.map(|pair| pair.facts.clone()).collect(),
                days_left: row.days_left(now_unix_s),
                renewed_by_itself: row.is_own(&self.ca),
                fault: row.fault.clone(),
            }
        };
        self.rows.iter().map(status).collect()
    }

    /// Makes new pairs if less than a third of their life is left, or if the host has an address
    /// that they do not name.
    fn renew_due(&mut self, now_unix_s: i64) {
        let names = self.names();
        let mut missing = false;
        for place in 0..self.rows.len() {
            // Another row may have renewed the same files just now.
            self.rows[place].refresh(now_unix_s);
            let row = &self.rows[place];
            if !row.is_own(&self.ca) {
                continue;
            }
            let lacks = row.lacks(&names);
            missing |= lacks;
            let must_be = row.is_old(now_unix_s) || lacks && self.was_missing;
            if !must_be {
                continue;
            }
            let shown = row.settings.certificate.display().to_string();
            let renewed = self.issue(place, now_unix_s);
            let row = &mut self.rows[place];
            match renewed {
                Ok(()) => tracing::info!("{shown} is renewed by the server's own CA"),
                Err(why) => drop(row.note(format!("{shown} could not be renewed: {why}"))),
            }
        }
        self.was_missing = missing;
    }

    /// Issues both pairs of a row, puts them into place and reads them.
    fn issue(&mut self, place: usize, now_unix_s: i64) -> Result<(), CertificateError> {
        let names = self.names();
        let authority = Authority::read_or_make(&self.ca.dir, names.host(), now_unix_s)?;
        let row = &mut self.rows[place];
        issue_pairs(&authority, &row.settings, &names, now_unix_s)?;
        row.read_again()
    }

    /// Issues the second pair of a row whose first pair is of the own CA.
    fn issue_second(&mut self, place: usize, now_unix_s: i64) -> Result<(), CertificateError> {
        let names = self.names();
        let Some(authority) = Authority::read(&self.ca.dir)? else { return Ok(()) };
        let row = &mut self.rows[place];
        let (certificate, key) = second(&row.settings);
        if certificate.exists() || key.exists() {
            if !row::is_half(&certificate, &key, &self.ca) {
                return Ok(());
            }
            row::set_aside(&key)?;
        }
        let (pem, key_pem) = authority.issue(KeyKind::P256, &names, now_unix_s)?;
        write_pair((&certificate, &pem), (&key, &key_pem))?;
        row.read_again()
    }

    fn names(&self) -> Names {
        names_of(self.rows.iter().map(|row| &row.settings))
    }

    /// Publishes each row's terms to its listeners.
    fn publish(&mut self) {
        for row in &self.rows {
            let Some(used) = &row.used else { continue };
            for address in &row.settings.listen {
                match self.places.get(address) {
                    Some(place) => place.store(used.terms.clone()),
                    None => {
                        let place = Arc::new(ArcSwap::new(used.terms.clone()));
                        self.places.insert(*address, place);
                    }
                }
            }
        }
    }

    /// Warns once a day of certificates that expire soon.
    fn warn(&mut self, now_unix_s: i64) {
        let today = now_unix_s / DAY_S;
        if self.warned_on_day == today {
            return;
        }
        self.warned_on_day = today;
        for warning in expiries(&self.rows, now_unix_s) {
            tracing::warn!("{warning}");
        }
    }
}

/// Returns the warnings about certificates that expire soon, one a file: several rows may have the
/// same.
fn expiries(rows: &[CertificateRow], now_unix_s: i64) -> Vec<String> {
    let mut told: Vec<&Path> = Vec::new();
    let mut warnings = Vec::new();
    for row in rows {
        let file = row.settings.certificate.as_path();
        if !told.contains(&file) {
            told.push(file);
            warnings.extend(expiry(&file.display(), row.days_left(now_unix_s)));
        }
    }
    warnings
}

/// Returns the warning about a certificate with so many days left, if any.
fn expiry(shown: &impl fmt::Display, days: i64) -> Option<String> {
    if days < 0 {
        Some(format!("{shown} has expired: phones that know the date refuse it"))
    } else if days < WARN_DAYS {
        Some(format!("{shown} expires in {days} days; see: ringpost certificate show"))
    } else {
        None
    }
}

/// Describes the protocol of a row's listeners.
pub(super) fn speaks(settings: &TlsSettings) -> String {
    if settings.legacy {
        "TLS 1.0 to 1.3, down to suites that encrypt nothing".into()
    } else if settings.authenticate_only {
        let suites = null_cipher::provider().cipher_suites;
        let names: Vec<_> = suites.iter().filter_map(|suite| suite.suite().as_str()).collect();
        format!("TLS 1.2, authenticated and not encrypted: {}", names.join(", "))
    } else {
        let within = if settings.protocol == Protocol::Ftp { "FTP over " } else { "" };
        format!("{within}TLS 1.2 and 1.3")
    }
}

/// Returns every name and address that the rows' certificates must cover.
pub(super) fn names_of<'a>(rows: impl Iterator<Item = &'a TlsSettings>) -> Names {
    Names::of_host(rows.flat_map(|row| row.listen.clone()))
}

/// Issues both pairs of a row and puts them into place.
pub(super) fn issue_pairs(
    authority: &Authority,
    settings: &TlsSettings,
    names: &Names,
    now_unix_s: i64,
) -> Result<(), CertificateError> {
    let (pem, key_pem) = authority.issue(KeyKind::P256, names, now_unix_s)?;
    let (certificate, key) = second(settings);
    write_pair((&certificate, &pem), (&key, &key_pem))?;
    let (pem, key_pem) = authority.issue(KeyKind::Rsa, names, now_unix_s)?;
    write_pair((&settings.certificate, &pem), (&settings.key, &key_pem))
}

/// Puts a pair into place, the key first.
pub(super) fn write_pair(
    certificate: (&Path, &str),
    key: (&Path, &str),
) -> Result<(), CertificateError> {
    files::write(&[
        NewFile { path: key.0, bytes: key.1.as_bytes(), visibility: Visibility::Owner },
        NewFile {
            path: certificate.0,
            bytes: certificate.1.as_bytes(),
            visibility: Visibility::Everybody,
        },
    ])
}

/// Returns the certificate of the server's own CA, if it can be read.
pub(super) fn ca_certificate(ca: &CaSettings) -> Option<CertificateDer<'static>> {
    pair::leaf(&authority::certificate_in(&ca.dir))
}

#[cfg(test)]
mod tests;
