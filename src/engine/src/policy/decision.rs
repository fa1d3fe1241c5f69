//! What is done for a request, or why it is refused. Values only.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use super::redirect::Redirection;
use super::request::NameError;
use super::route::Unroutable;
use crate::catalog::Entry;
use crate::settings::http::CaFile;
use crate::vault::names::{Family, Item};
use crate::vault::upload::Rule;
use wire::name::FileName;

/// The decision about a request.
#[derive(Debug)]
pub struct Decision<'a> {
    /// The client; an IPv4-mapped address is written as the IPv4 one.
    pub client: IpAddr,
    /// The requested name, folded, or `None` if the request names no file.
    pub name: Option<FileName>,
    /// What is to be done.
    pub action: Action<'a>,
}

/// What to do for a request.
#[derive(Debug)]
pub enum Action<'a> {
    /// Send a file of the catalog.
    Serve(&'a Arc<Entry>),
    /// Send the override file to a client off the access list.
    ServeOverride(&'a Arc<Entry>),
    /// Send the certificate of the server's own CA.
    ServeCa(&'a CaFile),
    /// Have the vault read, store or delete a user's data.
    Vault {
        /// The user.
        owner: VaultOwner,
        /// The file to send if the vault has no data of the user.
        fallback: Option<&'a Arc<Entry>>,
    },
    /// Store a file by a row of `[[upload]]`.
    Store {
        /// The row.
        rule: &'a Rule,
        /// The name in the row's directory, after the remap rows.
        name: Box<FileName>,
    },
    /// Store an unknown file where no client can read it.
    Quarantine {
        /// The writer's number for the directory.
        directory: u16,
        /// Largest size in bytes.
        bytes_max: u64,
    },
    /// Delete a file that a row of `[[upload]]` owns.
    Delete {
        /// The row.
        rule: &'a Rule,
        /// The name in the row's directory, after the remap rows.
        name: Box<FileName>,
    },
    /// Send the client elsewhere. Decided for HTTP alone.
    Redirect(Box<Redirection>),
    /// Ask the client for a password.
    NeedsCredentials {
        /// For this row of `[[protect]]`, counted from 0.
        row: usize,
    },
    /// Refuse.
    Refuse(Denial<'a>),
}

impl Action<'_> {
    /// Whether the file may be stored by POST.
    #[must_use]
    pub fn takes_post(&self) -> bool {
        match self {
            Action::Store { rule, .. } => rule.post,
            Action::Redirect(_) => true,
            Action::Serve(_)
            | Action::ServeOverride(_)
            | Action::ServeCa(_)
            | Action::Vault { .. }
            | Action::Quarantine { .. }
            | Action::Delete { .. }
            | Action::NeedsCredentials { .. }
            | Action::Refuse(_) => false,
        }
    }

    /// Returns a word for it that never changes, for programs.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Action::Serve(_) => "serve",
            Action::ServeOverride(_) => "serve_override",
            Action::ServeCa(_) => "serve_ca",
            Action::Vault { .. } => "vault",
            Action::Store { .. } => "store",
            Action::Quarantine { .. } => "quarantine",
            Action::Delete { .. } => "delete",
            Action::Redirect(_) => "redirect",
            Action::NeedsCredentials { .. } => "needs_credentials",
            Action::Refuse(_) => "refuse",
        }
    }
}

/// Whose data in the vault a name means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VaultOwner {
    /// The name has the extension.
    Named(Item),
    /// The name has no extension: the user who is logged in at the phone is meant.
    LoggedIn(Family),
}

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denial<'a> {
    /// The client is not on this access list.
    AccessList(&'a str),
    /// The request names no file.
    Name(NameError),
    /// A remap row refuses the name that is to be read.
    Remap(Unroutable),
    /// A remap row refuses the name that is to be stored.
    RemapOfUpload(Unroutable),
    /// No root has the name.
    NotFound,
    /// The name may exist in a root or directory that cannot be read now.
    Unavailable,
    /// Neither the vault nor an `[[upload]]` row takes the name.
    NoUploadRule,
    /// The `[[upload]]` row does not append.
    NotAppendable,
    /// A user's data is stored whole.
    VaultAppend,
    /// No row of `[[upload]]` lets clients delete the name.
    NotDeletable,
    /// The name has no extension, and the phone cannot be asked for it.
    ExtensionMissing,
}

impl fmt::Display for Denial<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Denial::AccessList(list) => write!(f, "the address is not on {list}"),
            Denial::Name(why) => why.fmt(f),
            Denial::Remap(why) | Denial::RemapOfUpload(why) => why.fmt(f),
            Denial::NotFound => f.write_str("no root has the name"),
            Denial::Unavailable => {
                f.write_str("the name may be in a directory that cannot be read now")
            }
            Denial::NoUploadRule => {
                f.write_str("neither the vault nor an [[upload]] row takes the name")
            }
            Denial::NotAppendable => {
                f.write_str("the [[upload]] row does not append; it needs on_exists = \"append\"")
            }
            Denial::VaultAppend => f.write_str("a user's data is stored whole, never appended to"),
            Denial::NotDeletable => f.write_str("nobody may delete the name"),
            Denial::ExtensionMissing => f.write_str(
                "the name must begin with the extension, for the phone is not asked who uses it",
            ),
        }
    }
}
