//! A request's client, protocol and name, and how each protocol spells names.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use super::protect::Proof;
use super::snapshot::Policy;
use crate::catalog::RootId;
use crate::files::{BadPath, TreePath};
use crate::protocol::Protocol;
use crate::settings::http::HttpListener;
use crate::vault::request::VaultPolicy;
use wire::http::target::{self, BadTarget};
use wire::name::{BadName, FileName};

/// A request, as the parser of its protocol returned it.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The client's address as its socket has it; an IPv4-mapped one means the IPv4 one.
    pub client: IpAddr,
    /// The requested name.
    pub resource: Resource<'a>,
    /// The operation.
    pub operation: Operation,
    /// The user whose password the client has proven, for the `[[protect]]` rows that accept it.
    pub proven: Option<&'a Proof>,
}

/// An operation on a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Read it.
    Read,
    /// Store it.
    Write,
    /// Append to it (FTP, `APPE`).
    Append,
    /// Delete it.
    Delete,
}

/// A requested name, as its protocol spells it.
#[derive(Clone, Copy, Debug)]
pub enum Resource<'a> {
    /// The name of an RRQ or WRQ.
    Tftp {
        /// As it came.
        name: &'a [u8],
    },
    /// The target of a request over HTTP, plain or over TLS.
    Http {
        /// The listener that received it.
        listener: &'a HttpListener,
        /// In origin form.
        target: &'a [u8],
    },
    /// A path of FTP.
    Ftp {
        /// The working directory of the session.
        cwd: &'a TreePath,
        /// As it came.
        path: &'a [u8],
    },
}

/// Why a request names no file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameError {
    /// The name is invalid.
    Name(BadName),
    /// The target of HTTP names no file.
    Target(BadTarget),
    /// The path of FTP is invalid.
    Path(BadPath),
}

impl Resource<'_> {
    /// Returns the protocol of the request.
    #[must_use]
    pub fn protocol(&self) -> Protocol {
        match self {
            Resource::Tftp { .. } => Protocol::Tftp,
            Resource::Http { listener, .. } => listener.protocol,
            Resource::Ftp { .. } => Protocol::Ftp,
        }
    }

    /// The name, read by the rules of its protocol.
    pub(super) fn name(&self) -> Result<FileName, NameError> {
        match self {
            Resource::Tftp { name } => FileName::parse(name).map_err(NameError::Name),
            Resource::Http { target, .. } => target::parse(target).map_err(NameError::Target),
            Resource::Ftp { cwd, path } => {
                let path = TreePath::parse(cwd, path).map_err(NameError::Path)?;
                FileName::parse(path.to_string().as_bytes()).map_err(NameError::Name)
            }
        }
    }

    /// The raw request with its query, colons and a trailing slash, escapes decoded, `\` replaced
    /// by `/`, and without a leading slash.
    pub(super) fn uri(&self) -> Vec<u8> {
        let mut uri = match self {
            Resource::Tftp { name } => name.to_vec(),
            Resource::Http { target, .. } => target::decode(target),
            Resource::Ftp { cwd, path } if !cwd.is_top() && !path.starts_with(b"/") => {
                [cwd.to_string().as_bytes(), b"/", path].concat()
            }
            Resource::Ftp { path, .. } => path.to_vec(),
        };
        uri.iter_mut().filter(|byte| **byte == b'\\').for_each(|byte| *byte = b'/');
        let slashes = uri.iter().take_while(|byte| **byte == b'/').count();
        uri.drain(..slashes);
        uri
    }

    /// The roots of the listener.
    pub(super) fn stack<'s>(&'s self, policy: &'s Policy) -> &'s [RootId] {
        match self {
            Resource::Tftp { .. } => &policy.tftp.stack,
            Resource::Http { listener, .. } => &listener.stack,
            Resource::Ftp { .. } => &policy.ftp.stack,
        }
    }

    /// The vault, or `None` if the listener does not lead to it.
    pub(super) fn vault<'p>(&self, policy: &'p Policy) -> Option<&'p Arc<VaultPolicy>> {
        match self {
            Resource::Tftp { .. } => None,
            Resource::Http { listener, .. } => {
                policy.http.vault.as_ref().filter(|_| listener.vault)
            }
            Resource::Ftp { .. } => policy.ftp.vault.as_ref(),
        }
    }
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NameError::Name(why) | NameError::Target(BadTarget::Name(why)) => why.fmt(f),
            NameError::Target(BadTarget::Escape) => f.write_str(
                "an escape (%) in it is broken, or hides a slash; write the name plainly",
            ),
            NameError::Target(BadTarget::Directory) => {
                f.write_str("it names a directory, and none is ever listed")
            }
            NameError::Path(why) => why.fmt(f),
        }
    }
}

impl std::error::Error for NameError {}
