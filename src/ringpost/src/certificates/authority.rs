//! The server's own CA: made once, kept for long; issues the server's certificates.
//!
//! Its key is RSA 2048 and signs with SHA-256, which every phone with certificates can verify, the
//! 96xx among them. It signs certificates for P-256 keys too, so phones need one CA for both kinds.

use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequest, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
    PKCS_RSA_SHA256, PublicKeyData as _, RsaKeySize, SanType,
};
use time::OffsetDateTime;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::error::{CaError, CertificateError, ContentError, Product};
use super::files::{self, NewFile, Visibility};
use super::names::Names;
use super::pair;

/// A phone keeps its CA for life, and replacing it means a visit.
const CA_DAYS: i64 = 20 * 365;
/// Clients of one maker of mobile phones refuse more than 825 days, counted from the first.
const SERVER_DAYS: i64 = 820;
/// A phone that has just lost its power may not know the time yet, or lag behind.
const BACKDATED_DAYS: i64 = 60;
const DAY_S: i64 = 86_400;
/// Longest common name (RFC 5280, appendix A.1).
const COMMON_NAME_MAX: usize = 64;

/// What kind of key to make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeyKind {
    /// RSA of 2048 bits, for old phones.
    Rsa,
    /// The curve P-256, for new ones.
    P256,
}

/// The CA with its key.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
}

/// Returns the path of the CA's certificate.
pub(crate) fn certificate_in(dir: &Path) -> PathBuf {
    dir.join("ca.pem")
}

/// Returns the path of its key.
pub(crate) fn key_in(dir: &Path) -> PathBuf {
    dir.join("ca.key")
}

impl Authority {
    /// Reads the CA. Returns `None` if there is no certificate.
    ///
    /// # Errors
    /// The file and the remedy.
    pub(crate) fn read(dir: &Path) -> Result<Option<Authority>, CertificateError> {
        let (certificate, key) = (certificate_in(dir), key_in(dir));
        if !certificate.exists() {
            return Ok(None);
        }
        let chain = pair::chain(&files::read(&certificate)?);
        let first =
            chain.and_then(|chain| chain.into_iter().next().ok_or(ContentError::NoCertificate));
        let der = first.map_err(|why| why.of(&certificate))?;
        if !pair::is_authority(&der) {
            return Err(CaError::NotCa { certificate, key }.into());
        }
        let key_pair = read_key(&key)?;
        let is_its = X509Certificate::from_der(&der).is_ok_and(|(_, certificate)| {
            certificate.public_key().raw == key_pair.subject_public_key_info()
        });
        if !is_its {
            return Err(CaError::KeyMismatch { key, certificate }.into());
        }
        let issuer = Issuer::from_ca_cert_der(&der, key_pair)
            .map_err(|cause| CaError::UnusableCa { path: certificate, cause })?;
        Ok(Some(Authority { issuer }))
    }

    /// Reads the CA, or makes it durably if there is none.
    ///
    /// # Errors
    /// The file and the remedy.
    pub(crate) fn read_or_make(
        dir: &Path,
        host: &str,
        now_unix_s: i64,
    ) -> Result<Authority, CertificateError> {
        if let Some(authority) = Authority::read(dir)? {
            return Ok(authority);
        }
        let unmade = |cause| CaError::Make { product: Product::Ca, cause };
        let path = key_in(dir);
        // A key alone was left by a crash, or brought by the administrator: it is used, never lost.
        let key = match path.exists() {
            true => read_key(&path)?,
            false => {
                let key = new_key(KeyKind::Rsa).map_err(unmade)?;
                let pem = key.serialize_pem();
                files::write(&[NewFile {
                    path: &path,
                    bytes: pem.as_bytes(),
                    visibility: Visibility::Owner,
                }])?;
                key
            }
        };
        let pem = self_signed(&key, host, now_unix_s).map_err(unmade)?;
        let path = certificate_in(dir);
        files::write(&[NewFile {
            path: &path,
            bytes: pem.as_bytes(),
            visibility: Visibility::Everybody,
        }])?;
        let made = Authority::read(dir)?;
        made.ok_or_else(|| CaError::Gone(dir.to_owned()).into())
    }

    /// Makes a key and a certificate for it, both PEM.
    ///
    /// # Errors
    /// The system gives no random bytes.
    pub(crate) fn issue(
        &self,
        kind: KeyKind,
        names: &Names,
        now_unix_s: i64,
    ) -> Result<(String, String), CertificateError> {
        let issue = || -> Result<(String, String), rcgen::Error> {
            let key = new_key(kind)?;
            let mut params = server_params(kind, names)?;
            (params.not_before, params.not_after) = dates(SERVER_DAYS, now_unix_s);
            params.use_authority_key_identifier_extension = true;
            Ok((params.signed_by(&key, &self.issuer)?.pem(), key.serialize_pem()))
        };
        Ok(issue().map_err(|cause| CaError::Make { product: Product::Certificate, cause })?)
    }
}

/// Makes a key and a certificate signing request for another CA, both PEM.
///
/// # Errors
/// The system gives no random bytes.
pub(crate) fn request(names: &Names) -> Result<(String, String), CertificateError> {
    let make = || -> Result<(CertificateSigningRequest, KeyPair), rcgen::Error> {
        let key = new_key(KeyKind::Rsa)?;
        Ok((server_params(KeyKind::Rsa, names)?.serialize_request(&key)?, key))
    };
    let made = make().and_then(|(request, key)| Ok((request.pem()?, key.serialize_pem())));
    Ok(made.map_err(|cause| CaError::Make { product: Product::Request, cause })?)
}

fn read_key(path: &Path) -> Result<KeyPair, CertificateError> {
    let pem = String::from_utf8(files::read(path)?).unwrap_or_default();
    let unusable = |cause| CaError::UnusableKey { path: path.to_owned(), cause };
    Ok(KeyPair::from_pem(&pem).map_err(unusable)?)
}

fn self_signed(key: &KeyPair, host: &str, now_unix_s: i64) -> Result<String, rcgen::Error> {
    let mut params = CertificateParams::default();
    // No two CAs have the same name: phones find the issuer by its name, and one that still trusts
    // an older CA must see that this is another.
    let mark: String =
        params.key_identifier(key).iter().take(4).map(|b| format!("{b:02x}")).collect();
    let name = common_name(&format!("Ringpost CA {mark} of "), host);
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.distinguished_name.push(DnType::OrganizationName, "Ringpost");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    (params.not_before, params.not_after) = dates(CA_DAYS, now_unix_s);
    Ok(params.self_signed(key)?.pem())
}

fn new_key(kind: KeyKind) -> Result<KeyPair, rcgen::Error> {
    match kind {
        KeyKind::Rsa => KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048),
        KeyKind::P256 => KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256),
    }
}

fn server_params(kind: KeyKind, names: &Names) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name("", names.host()));
    for name in &names.dns {
        params.subject_alt_names.push(SanType::DnsName(name.as_str().try_into()?));
    }
    let addresses = names.addresses.iter().map(|address| SanType::IpAddress(*address));
    params.subject_alt_names.extend(addresses);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    if kind == KeyKind::Rsa {
        // Old phones exchange keys by RSA itself.
        params.key_usages.push(KeyUsagePurpose::KeyEncipherment);
    }
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.is_ca = IsCa::ExplicitNoCa;
    Ok(params)
}

fn common_name(before: &str, host: &str) -> String {
    format!("{before}{host}").chars().take(COMMON_NAME_MAX).collect()
}

/// Returns the validity of a certificate that is made now for so many days.
fn dates(days: i64, now_unix_s: i64) -> (OffsetDateTime, OffsetDateTime) {
    let at = |s| OffsetDateTime::from_unix_timestamp(s).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let from = now_unix_s - BACKDATED_DAYS * DAY_S;
    (at(from), at(from + days * DAY_S))
}
