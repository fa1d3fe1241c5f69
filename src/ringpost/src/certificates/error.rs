//! Errors of certificates, as sentences with the file and the remedy.
//!
//! Values and their texts. Never reads, writes or decides anything.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::{fmt, io};

use rustls::server::VerifierBuilderError;

use super::files::FILE_BYTES_MAX;

/// What is wrong with the content of a file. Displays as the end of a sentence that begins with the
/// file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ContentError {
    /// It contains no certificate.
    NoCertificate,
    /// It is not complete PEM.
    Garbled,
    /// It contains a certificate that is not X.509.
    UnreadableCertificate,
    /// The certificate after this one, counted from 1, did not issue it.
    OutOfOrder(usize),
    /// It contains no key.
    NoKey,
    /// The key is protected by a password.
    KeyHasPassword,
    /// The kind of key is not supported.
    UnservedKey,
    /// It contains no revocation list.
    NoRevocationList,
}

impl fmt::Display for ContentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ContentError::NoCertificate => f.write_str(
                "has no certificate in PEM form in it (-----BEGIN CERTIFICATE-----); convert it \
                 with: openssl x509 -inform der -in FILE",
            ),
            ContentError::Garbled => f.write_str("is cut short or garbled; copy it there again"),
            ContentError::UnreadableCertificate => {
                f.write_str("has a certificate in it that cannot be read; copy it there again")
            }
            ContentError::OutOfOrder(place) => write!(
                f,
                "has certificates out of order: number {} does not vouch for number {place}; put \
                 the server's first and each one's issuer behind it",
                place + 1
            ),
            ContentError::NoKey => {
                f.write_str("has no private key in PEM form in it (-----BEGIN PRIVATE KEY-----)")
            }
            ContentError::KeyHasPassword => f.write_str(
                "has a password on it, which nobody could type when the server starts; take it \
                 off with: openssl pkey -in KEY -out NEW",
            ),
            ContentError::UnservedKey => f.write_str(
                "has a key of a kind that is not served; use RSA of 2048 bits or more, or \
                 P-256 (P-384, \
                 P-521 and Ed25519 are served as well, and few phones know them)",
            ),
            ContentError::NoRevocationList => f.write_str(
                "has no revocation list in PEM form in it (-----BEGIN X509 CRL-----); convert it \
                 with: openssl crl -inform der -in FILE",
            ),
        }
    }
}

impl Error for ContentError {}

impl ContentError {
    /// Adds the file.
    pub(crate) fn of(self, path: &Path) -> CertificateError {
        CertificateError::Content { path: path.to_owned(), cause: self }
    }
}

/// What the server creates itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Product {
    /// Its own CA.
    Ca,
    /// A certificate of that CA.
    Certificate,
    /// A request for a certificate of another CA.
    Request,
}

/// Why a certificate, its key or the data for client certificates cannot be used.
#[derive(Debug)]
pub(crate) enum CertificateError {
    /// A file cannot be read.
    Read {
        /// Which.
        path: PathBuf,
        /// The system's error.
        cause: io::Error,
    },
    /// A file is larger than the limit.
    TooLarge(PathBuf),
    /// A file cannot be written.
    Write {
        /// Which.
        path: PathBuf,
        /// The system's error.
        cause: io::Error,
    },
    /// A key cannot be set aside.
    KeepAside {
        /// The key.
        path: PathBuf,
        /// Where it was to be kept.
        kept: PathBuf,
        /// The system's error.
        cause: io::Error,
    },
    /// The content of a file is wrong.
    Content {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        cause: ContentError,
    },
    /// The key belongs to another certificate.
    KeyMismatch {
        /// The key.
        key: PathBuf,
        /// The certificate.
        certificate: PathBuf,
    },
    /// The server's own CA, or its product, is at fault.
    Ca(CaError),
    /// Ticket keys cannot be made.
    TicketKeys(rustls::Error),
    /// No suite fits the versions of TLS.
    Versions(rustls::Error),
    /// The content of `client_ca` is wrong.
    ClientCa(ContentError),
    /// A certificate of `client_ca` cannot issue phones' certificates.
    ClientCaUnfit(rustls::Error),
    /// The content of `client_crl` is wrong.
    ClientCrl(ContentError),
    /// `client_ca` and `client_crl` do not fit together.
    ClientLists(VerifierBuilderError),
    /// OpenSSL cannot store sessions.
    #[cfg(feature = "legacy-tls")]
    LegacySessions(io::Error),
    /// OpenSSL cannot use the files.
    #[cfg(feature = "legacy-tls")]
    LegacyTerms(io::Error),
}

/// Why the server's own CA issues nothing.
#[derive(Debug)]
pub(crate) enum CaError {
    /// The CA's key belongs to another certificate.
    KeyMismatch {
        /// The key.
        key: PathBuf,
        /// The certificate.
        certificate: PathBuf,
    },
    /// The certificate in the CA's place is not a CA's.
    NotCa {
        /// The certificate.
        certificate: PathBuf,
        /// Its key.
        key: PathBuf,
    },
    /// The CA's certificate cannot sign.
    UnusableCa {
        /// The certificate.
        path: PathBuf,
        /// Why.
        cause: rcgen::Error,
    },
    /// The CA's key cannot sign.
    UnusableKey {
        /// The key.
        path: PathBuf,
        /// Why.
        cause: rcgen::Error,
    },
    /// The CA that was just made in this directory has vanished.
    Gone(PathBuf),
    /// Something cannot be made.
    Make {
        /// What.
        product: Product,
        /// Why.
        cause: rcgen::Error,
    },
}

impl fmt::Display for CertificateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CertificateError::Read { path, cause } => write_unread(f, path, cause),
            CertificateError::TooLarge(path) => write!(
                f,
                "{} is larger than {FILE_BYTES_MAX} bytes; is it a PEM file at all?",
                path.display()
            ),
            CertificateError::Write { path, cause } => write!(
                f,
                "{} cannot be written ({cause}); let the user that Ringpost runs as write to its \
                 directory: install -d -m 755 -o USER {}",
                path.display(),
                super::files::directory(path).display()
            ),
            CertificateError::KeepAside { path, kept, cause } => {
                write!(f, "{} cannot be kept as {}: {cause}", path.display(), kept.display())
            }
            CertificateError::Content { path, cause } => write!(f, "{} {cause}", path.display()),
            CertificateError::KeyMismatch { key, certificate } => write!(
                f,
                "{} is not the key of the certificate in {}; put the two that belong together \
                 there",
                key.display(),
                certificate.display()
            ),
            CertificateError::Ca(cause) => cause.fmt(f),
            CertificateError::TicketKeys(cause) => write!(f, "cannot make keys: {cause}"),
            CertificateError::Versions(cause) => cause.fmt(f),
            CertificateError::ClientCa(cause) => write!(f, "`client_ca` {cause}"),
            CertificateError::ClientCaUnfit(cause) => write!(
                f,
                "`client_ca` has a certificate that cannot vouch for phones ({cause}); put a CA's \
                 there, X.509 version 3"
            ),
            CertificateError::ClientCrl(cause) => write!(f, "`client_crl` {cause}"),
            CertificateError::ClientLists(cause) => write!(
                f,
                "`client_ca` and `client_crl` cannot be used ({cause}); put the CA's there"
            ),
            #[cfg(feature = "legacy-tls")]
            CertificateError::LegacySessions(cause) => write!(f, "cannot use OpenSSL: {cause}"),
            #[cfg(feature = "legacy-tls")]
            CertificateError::LegacyTerms(cause) => write!(
                f,
                "OpenSSL, which secures old phones' connections, cannot use its files: {cause}"
            ),
        }
    }
}

impl fmt::Display for CaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CaError::KeyMismatch { key, certificate } => write!(
                f,
                "{} is not the key of {}; put the two that belong together there",
                key.display(),
                certificate.display()
            ),
            CaError::NotCa { certificate, key } => write!(
                f,
                "{} is not a CA's certificate, so nothing can be issued by it; move it and {} \
                 away and the server makes a CA of its own, or put a CA's there",
                certificate.display(),
                key.display()
            ),
            CaError::UnusableCa { path, cause } => {
                write!(f, "{} cannot be used as a CA: {cause}", path.display())
            }
            CaError::UnusableKey { path, cause: _ } => write!(
                f,
                "{} has no private key in it that can be used without a password; put the CA's \
                 key there in PEM form, or move it away",
                path.display()
            ),
            CaError::Gone(dir) => {
                write!(f, "the CA just made in {} is gone again", dir.display())
            }
            CaError::Make { product, cause } => {
                let product = match product {
                    Product::Ca => "CA",
                    Product::Certificate => "certificate",
                    Product::Request => "request",
                };
                write!(f, "cannot make a {product}: {cause}")
            }
        }
    }
}

fn write_unread(f: &mut fmt::Formatter<'_>, path: &Path, cause: &io::Error) -> fmt::Result {
    let shown = path.display();
    if cause.kind() == io::ErrorKind::NotFound {
        write!(f, "{shown} does not exist; put the file there, or name another")
    } else if cause.kind() == io::ErrorKind::PermissionDenied {
        write!(
            f,
            "{shown} cannot be read by this user; give it to the group that Ringpost runs as, and \
             let the group read it: chgrp GROUP {shown} && chmod 640 {shown}"
        )
    } else {
        write!(f, "{shown} cannot be read: {cause}")
    }
}

impl Error for CertificateError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            CertificateError::Read { cause, .. }
            | CertificateError::Write { cause, .. }
            | CertificateError::KeepAside { cause, .. } => Some(cause),
            CertificateError::Content { cause, .. }
            | CertificateError::ClientCa(cause)
            | CertificateError::ClientCrl(cause) => Some(cause),
            CertificateError::Ca(cause) => cause.source(),
            CertificateError::TicketKeys(cause)
            | CertificateError::Versions(cause)
            | CertificateError::ClientCaUnfit(cause) => Some(cause),
            CertificateError::ClientLists(cause) => Some(cause),
            #[cfg(feature = "legacy-tls")]
            CertificateError::LegacySessions(cause) | CertificateError::LegacyTerms(cause) => {
                Some(cause)
            }
            CertificateError::TooLarge(_) | CertificateError::KeyMismatch { .. } => None,
        }
    }
}

impl Error for CaError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            CaError::UnusableCa { cause, .. }
            | CaError::UnusableKey { cause, .. }
            | CaError::Make { cause, .. } => Some(cause),
            CaError::KeyMismatch { .. } | CaError::NotCa { .. } | CaError::Gone(_) => None,
        }
    }
}

impl From<CaError> for CertificateError {
    fn from(cause: CaError) -> Self {
        CertificateError::Ca(cause)
    }
}

/// The certificate errors of a configuration, each with its line.
#[derive(Debug)]
pub(crate) struct CertificateErrors {
    /// The configuration.
    file: PathBuf,
    /// Each with the line of its section, in their order.
    errors: Vec<(usize, CertificateError)>,
}

impl CertificateErrors {
    /// Returns `Err` with all errors of a configuration, or `Ok` if there are none.
    pub(super) fn of(file: &Path, errors: Vec<(usize, CertificateError)>) -> Result<(), Self> {
        if errors.is_empty() {
            return Ok(());
        }
        Err(CertificateErrors { file: file.to_owned(), errors })
    }

    /// Creates a single one.
    pub(super) fn one(file: &Path, line: usize, error: CertificateError) -> Self {
        CertificateErrors { file: file.to_owned(), errors: vec![(line, error)] }
    }
}

impl fmt::Display for CertificateErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for (line, error) in &self.errors {
            write!(f, "{separator}{}", located(&self.file, *line, error))?;
            separator = "\n";
        }
        Ok(())
    }
}

impl Error for CertificateErrors {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.errors.first().map(|(_, error)| error as _)
    }
}

/// Formats a sentence with the configuration's line.
pub(super) fn located(file: &Path, line: usize, why: &impl fmt::Display) -> String {
    format!("{}:{line}: {why}", file.display())
}
