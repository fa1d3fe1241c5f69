//! A certificate with its chain and its key: read, checked, and described.

use std::path::Path;
use std::sync::Arc;

use aws_lc_rs::digest;
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use serde::{Deserialize, Serialize};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};
use x509_parser::public_key::PublicKey;

use super::error::{CertificateError, ContentError};
use super::files;

/// The content of a certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Facts {
    /// Its subject.
    pub(crate) subject: String,
    /// Its issuer.
    pub(crate) issuer: String,
    /// Kind and size of its key: `RSA 2048`, `P-256`.
    pub(crate) key: String,
    /// Names and addresses that it is valid for.
    pub(crate) names: Vec<String>,
    /// When it becomes valid, in seconds since 1970.
    pub(crate) not_before_unix_s: i64,
    /// When it expires, in seconds since 1970.
    pub(crate) not_after_unix_s: i64,
    /// SHA-256 of the whole, in pairs of hexadecimal digits.
    pub(crate) fingerprint: String,
}

/// A pair that can be served.
#[derive(Clone, Debug)]
pub(crate) struct Pair {
    pub(crate) certified: Arc<CertifiedKey>,
    /// The key again, for the library that old phones need.
    #[cfg(feature = "legacy-tls")]
    pub(crate) key: Arc<PrivateKeyDer<'static>>,
    pub(crate) facts: Facts,
}

impl Pair {
    /// Reads a pair of files.
    ///
    /// # Errors
    /// The file and the remedy.
    pub(crate) fn read(certificate: &Path, key: &Path) -> Result<Pair, CertificateError> {
        let chain = chain(&files::read(certificate)?).map_err(|why| why.of(certificate))?;
        let bytes = files::read(key)?;
        let certified = certify(chain, &bytes).map_err(|why| match why {
            KeyError::Content(why) => why.of(key),
            KeyError::Mismatch => CertificateError::KeyMismatch {
                key: key.to_owned(),
                certificate: certificate.to_owned(),
            },
        })?;
        check_order(&certified).map_err(|why| why.of(certificate))?;
        let leaf = certified.cert.first().map_or(&[][..], |leaf| leaf);
        Ok(Pair {
            facts: facts(leaf).map_err(|why| why.of(certificate))?,
            certified: Arc::new(certified),
            #[cfg(feature = "legacy-tls")]
            key: Arc::new(
                PrivateKeyDer::from_pem_slice(&bytes).map_err(|_| ContentError::NoKey.of(key))?,
            ),
        })
    }

    /// Returns the leaf certificate.
    pub(crate) fn leaf(&self) -> &[u8] {
        self.certified.cert.first().map_or(&[], |leaf| leaf)
    }
}

/// Checks that each certificate issued the one before it.
fn check_order(certified: &CertifiedKey) -> Result<(), ContentError> {
    for (place, link) in certified.cert.windows(2).enumerate() {
        if let [below, above] = link
            && !vouches(above, below)
        {
            return Err(ContentError::OutOfOrder(place + 1));
        }
    }
    Ok(())
}

/// Why a key cannot be used.
#[derive(Debug)]
pub(crate) enum KeyError {
    /// Its content is wrong.
    Content(ContentError),
    /// It belongs to another certificate.
    Mismatch,
}

impl From<ContentError> for KeyError {
    fn from(cause: ContentError) -> KeyError {
        KeyError::Content(cause)
    }
}

/// Joins a key and its certificates.
///
/// # Errors
/// Why the key cannot be used.
pub(crate) fn certify(
    chain: Vec<CertificateDer<'static>>,
    key_pem: &[u8],
) -> Result<CertifiedKey, KeyError> {
    if contains(key_pem, b"ENCRYPTED") {
        return Err(ContentError::KeyHasPassword.into());
    }
    let key = PrivateKeyDer::from_pem_slice(key_pem).map_err(|_| ContentError::NoKey)?;
    let key = any_supported_type(&key).map_err(|_| ContentError::UnservedKey)?;
    let certified = CertifiedKey::new(chain, key);
    if is_key_of(&certified) { Ok(certified) } else { Err(KeyError::Mismatch) }
}

/// Returns whether the certificate is for the key. The check of rustls reads only version 3 of
/// X.509, and many a recipe for self-made certificates makes version 1.
fn is_key_of(certified: &CertifiedKey) -> bool {
    let public = certified.key.public_key();
    let leaf = certified.cert.first().and_then(|leaf| parse(leaf).ok());
    public.zip(leaf).is_some_and(|(public, leaf)| leaf.public_key().raw == public.as_ref())
}

fn contains(text: &[u8], word: &[u8]) -> bool {
    text.windows(word.len()).any(|part| part == word)
}

/// Returns the certificates in a PEM text.
///
/// # Errors
/// What is wrong with the file.
pub(crate) fn chain(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, ContentError> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match certificates {
        Ok(none) if none.is_empty() => Err(ContentError::NoCertificate),
        Ok(certificates) => match certificates.iter().find_map(|one| parse(one).err()) {
            None => Ok(certificates),
            Some(why) => Err(why),
        },
        Err(_) => Err(ContentError::Garbled),
    }
}

/// Returns the first certificate of a file, or `None` if the file cannot be used.
pub(crate) fn leaf(certificate: &Path) -> Option<CertificateDer<'static>> {
    chain(&files::read(certificate).ok()?).ok()?.into_iter().next()
}

/// Returns the certificates of a PEM text and nothing else in it, such as a key.
pub(crate) fn certificates_of(pem: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut inside = false;
    for line in pem.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii) {
        inside |= line == b"-----BEGIN CERTIFICATE-----";
        if inside {
            out.extend_from_slice(line);
            out.push(b'\n');
        }
        inside &= line != b"-----END CERTIFICATE-----";
    }
    out
}

fn parse(der: &[u8]) -> Result<X509Certificate<'_>, ContentError> {
    match X509Certificate::from_der(der) {
        Ok((_, certificate)) => Ok(certificate),
        Err(_) => Err(ContentError::UnreadableCertificate),
    }
}

/// Returns whether one certificate is signed by the other's key.
pub(crate) fn vouches(above: &[u8], below: &[u8]) -> bool {
    let (Ok(above), Ok(below)) = (parse(above), parse(below)) else { return false };
    below.issuer().as_raw() == above.subject().as_raw()
        && below.verify_signature(Some(above.public_key())).is_ok()
}

/// Returns whether two certificates have the same issuer, by its name.
pub(super) fn are_siblings(one: &[u8], other: &[u8]) -> bool {
    let (Ok(one), Ok(other)) = (parse(one), parse(other)) else { return false };
    one.issuer().as_raw() == other.issuer().as_raw()
}

/// Returns whether it is meant for servers, or does not say.
pub(crate) fn serves(der: &[u8]) -> bool {
    let usage = parse(der).ok().and_then(|certificate| {
        let usage = certificate.extended_key_usage().ok()??;
        Some(usage.value.server_auth || usage.value.any)
    });
    usage.unwrap_or(true)
}

/// Returns whether it is a CA's.
pub(super) fn is_authority(der: &[u8]) -> bool {
    parse(der).is_ok_and(|certificate| certificate.is_ca())
}

/// Describes a certificate.
///
/// # Errors
/// What is wrong with the file.
pub(crate) fn facts(der: &[u8]) -> Result<Facts, ContentError> {
    let certificate = parse(der)?;
    let names = certificate.subject_alternative_name().ok().flatten();
    let names = names.iter().flat_map(|names| &names.value.general_names).filter_map(name);
    Ok(Facts {
        subject: certificate.subject().to_string(),
        issuer: certificate.issuer().to_string(),
        key: key(&certificate),
        names: names.collect(),
        not_before_unix_s: certificate.validity().not_before.timestamp(),
        not_after_unix_s: certificate.validity().not_after.timestamp(),
        fingerprint: fingerprint(der),
    })
}

fn fingerprint(der: &[u8]) -> String {
    let hash = digest::digest(&digest::SHA256, der);
    let digits: Vec<_> = hash.as_ref().iter().map(|byte| format!("{byte:02X}")).collect();
    digits.join(":")
}

fn name(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => match **bytes {
            [a, b, c, d] => Some(std::net::Ipv4Addr::new(a, b, c, d).to_string()),
            ref sixteen => {
                let octets: [u8; 16] = sixteen.try_into().ok()?;
                Some(std::net::Ipv6Addr::from(octets).to_string())
            }
        },
        GeneralName::OtherName(..)
        | GeneralName::RFC822Name(_)
        | GeneralName::X400Address(_)
        | GeneralName::DirectoryName(_)
        | GeneralName::EDIPartyName(_)
        | GeneralName::URI(_)
        | GeneralName::RegisteredID(_)
        | GeneralName::Invalid(..) => None,
    }
}

fn key(certificate: &X509Certificate<'_>) -> String {
    match certificate.public_key().parsed() {
        Ok(PublicKey::RSA(key)) => format!("RSA {}", key.key_size()),
        Ok(PublicKey::EC(point)) => match point.key_size() {
            521..=528 => "P-521".into(),
            bits => format!("P-{bits}"),
        },
        Ok(
            PublicKey::DSA(_)
            | PublicKey::GostR3410(_)
            | PublicKey::GostR3410_2012(_)
            | PublicKey::Unknown(_),
        )
        | Err(_) => format!("key of kind {}", certificate.public_key().algorithm.algorithm),
    }
}
