//! Why `ringpost certificate` failed, in sentences with the remedy.

use std::error::Error;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use super::report::date;
use crate::certificates::CertificateError;
use crate::daemon::exit::{Exit, Failure};

/// Why a certificate command has failed.
#[derive(Debug)]
pub(super) enum CertificateCommandError {
    /// A certificate, a key or a file cannot be used.
    Certificate(CertificateError),
    /// The configuration has no TLS listener.
    NoTls,
    /// Several pairs are served, described here, and the command line names none.
    Several(String),
    /// No TLS listener has the address; the existing ones are described.
    NoSuchListener { address: SocketAddr, present: String },
    /// Another CA has issued the pair to renew.
    NotOwn(Vec<PathBuf>),
    /// The server has made no CA.
    NoCa(PathBuf),
    /// The DER form holds one certificate, and the file has more.
    TooManyForDer { path: PathBuf, count: usize },
    /// The key of an older request still waits for its certificate.
    RequestPending { key: PathBuf },
    /// A certificate of another CA is not installed.
    Import(ImportError),
}

/// Why a certificate of another CA is not installed.
#[derive(Debug)]
pub(super) enum ImportError {
    /// There is no key for the chain.
    NoKey { chain: PathBuf },
    /// No key fits a certificate of the chain.
    NoKeyFits { chain: PathBuf, keys: Vec<PathBuf> },
    /// Phones that check names would refuse it.
    OtherNames { chain: PathBuf, named: Vec<String>, host: Vec<String> },
    /// It has expired.
    Expired { chain: PathBuf, at_unix_s: i64 },
    /// It is not valid yet.
    NotYet { chain: PathBuf, from_unix_s: i64 },
    /// It is only for clients.
    NotForServers { chain: PathBuf },
}

impl fmt::Display for CertificateCommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use CertificateCommandError::{
            Certificate, Import, NoCa, NoSuchListener, NoTls, NotOwn, RequestPending, Several,
            TooManyForDer,
        };
        match self {
            Certificate(cause) => cause.fmt(f),
            NoTls => f.write_str(
                "the configuration has no [[https]] and no [ftp] with TLS, so there is no \
                 certificate; add one",
            ),
            Several(present) => {
                write!(f, "there are several: {present}; say which with --listener")
            }
            NoSuchListener { address, present } => {
                write!(f, "nobody listens with TLS on {address}; there are: {present}")
            }
            NotOwn(certificates) => write!(
                f,
                "{} was not issued by the server's own CA, so that cannot renew it; ask its \
                 issuer for a new one with: ringpost certificate csr, and put that in use with: \
                 ringpost certificate import. Or move it and its key away, and the server makes \
                 them at its next start",
                shown(certificates, " and ")
            ),
            NoCa(path) => write!(
                f,
                "{} does not exist: the server has made no CA of its own; start it with an \
                 [[https]] or [ftp] whose certificate is absent, or give phones the CA that issued \
                 yours",
                path.display()
            ),
            TooManyForDer { path, count } => write!(
                f,
                "{} has {count} certificates in it, and the binary form holds one; leave --der out",
                path.display()
            ),
            RequestPending { key } => write!(
                f,
                "{} is the key of a request made before; import its certificate with: ringpost \
                 certificate import, or move the key away if that request is given up",
                key.display()
            ),
            Import(cause) => cause.fmt(f),
        }
    }
}

impl fmt::Display for ImportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use ImportError::{Expired, NoKey, NoKeyFits, NotForServers, NotYet, OtherNames};
        match self {
            NoKey { chain } => write!(
                f,
                "there is no key for {}; name it: ringpost certificate import CHAIN KEY",
                chain.display()
            ),
            NoKeyFits { chain, keys } => write!(
                f,
                "no certificate in {} belongs to the key in {}; name the key that its request was \
                 made with: ringpost certificate import CHAIN KEY",
                chain.display(),
                shown(keys, " or ")
            ),
            OtherNames { chain, named, host } => write!(
                f,
                "{} holds for {}, and this host is {}: phones that check names would refuse it; \
                 get one for these, or say --any-name if phones reach this host by another name",
                chain.display(),
                if named.is_empty() { "no name".into() } else { named.join(", ") },
                host.join(", ")
            ),
            Expired { chain, at_unix_s } => write!(
                f,
                "{} expired on {}; ask its issuer for a new one",
                chain.display(),
                date(*at_unix_s)
            ),
            NotYet { chain, from_unix_s } => write!(
                f,
                "{} does not hold before {}; wait until then, or set this host's clock right",
                chain.display(),
                date(*from_unix_s)
            ),
            NotForServers { chain } => write!(
                f,
                "{} is not meant for servers (its extended key usage leaves out serverAuth), so \
                 phones would refuse it; ask its issuer for one that is",
                chain.display()
            ),
        }
    }
}

fn shown(paths: &[PathBuf], between: &str) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(between)
}

impl Error for CertificateCommandError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            CertificateCommandError::Certificate(cause) => cause.source(),
            CertificateCommandError::Import(cause) => cause.source(),
            CertificateCommandError::NoTls
            | CertificateCommandError::Several(_)
            | CertificateCommandError::NoSuchListener { .. }
            | CertificateCommandError::NotOwn(_)
            | CertificateCommandError::NoCa(_)
            | CertificateCommandError::TooManyForDer { .. }
            | CertificateCommandError::RequestPending { .. } => None,
        }
    }
}

impl Error for ImportError {}

impl From<ImportError> for CertificateCommandError {
    fn from(cause: ImportError) -> Self {
        CertificateCommandError::Import(cause)
    }
}

impl From<CertificateError> for CertificateCommandError {
    fn from(cause: CertificateError) -> Self {
        CertificateCommandError::Certificate(cause)
    }
}

impl From<CertificateCommandError> for Failure {
    fn from(cause: CertificateCommandError) -> Failure {
        Failure::by(Exit::No, cause)
    }
}
