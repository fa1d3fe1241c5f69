//! What becomes of a request, and why where nothing does. Values only.

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

/// What becomes of a request.
#[derive(Debug)]
pub struct Decision<'a> {
    /// The client, an IPv4-mapped address as the IPv4 one.
    pub client: IpAddr,
    /// The name that was asked for, folded, or `None` if what was asked for is no name.
    pub name: Option<FileName>,
    /// What is to be done.
    pub action: Action<'a>,
}

/// What is to be done for a request.
#[derive(Debug)]
pub enum Action<'a> {
    /// Send a file of the catalog.
    Serve(&'a Arc<Entry>),
    /// Send the override file to a client off the access list.
    ServeOverride(&'a Arc<Entry>),
    /// Send the certificate of the server's own CA.
    ServeCa(&'a CaFile),
    /// Have the vault read, keep or forget a user's data.
    Vault {
        /// Whose.
        owner: VaultOwner,
        /// What is read where the vault has nothing.
        fallback: Option<&'a Arc<Entry>>,
    },
    /// Store a file by a row of `[[upload]]`.
    Store {
        /// The row.
        rule: &'a Rule,
        /// As what, in the row's directory: the name after the remap rows.
        name: Box<FileName>,
    },
    /// Store a file where nobody is served from.
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
        /// Which, in the row's directory: the name after the remap rows.
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
    /// Whether what is to be stored may come by POST.
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

    /// A word for it that never changes, for programs.
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

/// Whose data of the vault a name means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VaultOwner {
    /// The name says it.
    Named(Item),
    /// The name leaves it open: whoever is logged in at the phone.
    LoggedIn(Family),
}

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denial<'a> {
    /// The client is not on this access list.
    AccessList(&'a str),
    /// What was asked for is no name of a file.
    Name(NameError),
    /// A remap row refuses the name that is to be read.
    Remap(Unroutable),
    /// A remap row refuses the name that is to be stored.
    RemapOfUpload(Unroutable),
    /// No root has the name.
    NotFound,
    /// The name may be one of those in a root or directory that cannot be read now.
    Unavailable,
    /// Neither the vault nor an `[[upload]]` row takes the name.
    NoUploadRule,
    /// The `[[upload]]` row does not append.
    NotAppendable,
    /// A user's data is stored whole.
    VaultAppend,
    /// Nobody may delete the name.
    NotDeletable,
    /// The name does not say whose data is meant, and the phone is not asked.
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
