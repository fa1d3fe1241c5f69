//! The steps of a decision in words, for `ringpost explain`.
//!
//! Sessions pass [`NoTrace`], and no step is made.

use std::fmt::{self, Write as _};
use std::path::Path;

use ipnet::IpNet;

use super::Identification;
use super::decision::VaultOwner;
use super::protect::Requirement;
use super::redirect::Redirection;
use super::request::NameError;
use super::route::Unroutable;
use crate::catalog::{Entry, RootId};
use crate::protocol::Protocol;
use crate::settings::tftp::{TftpLimits, WrapTo};
use crate::vault::upload::Rule;
use wire::name::FileName;

/// Receives the steps of a decision.
pub trait Trace {
    /// A step was taken. `step` is called only if the trace needs it.
    fn step<'s>(&mut self, step: impl FnOnce() -> TraceStep<'s>);
}

/// Ignores every step.
#[derive(Clone, Copy, Debug)]
pub struct NoTrace;

impl Trace for NoTrace {
    #[inline(always)]
    fn step<'s>(&mut self, _: impl FnOnce() -> TraceStep<'s>) {}
}

/// A step on the way from a request to a decision.
#[derive(Clone, Copy, Debug)]
pub enum TraceStep<'s> {
    /// The client is on the access list.
    Permitted,
    /// The client is off it.
    Denied {
        /// Which list.
        list: &'s str,
    },
    /// The limits of a client's transfers.
    Limits {
        /// The row of `[[tftp.subnet]]`, or `None` if it is `[tftp]` itself.
        net: Option<&'s IpNet>,
        /// The limits.
        limits: &'s TftpLimits,
    },
    /// The request names no file.
    BadName {
        /// What is wrong with it.
        why: NameError,
    },
    /// The name, folded.
    Named {
        /// As it is looked for.
        name: &'s FileName,
    },
    /// A client off the list gets an override file.
    Override {
        /// The override file.
        name: &'s FileName,
        /// Whether a root has it.
        found: bool,
    },
    /// The name is that of the CA's certificate.
    CaCertificate,
    /// The name is that of a user's data.
    Vault {
        /// The user.
        owner: &'s VaultOwner,
    },
    /// How the server learns who uses the phone.
    Identification(Identification),
    /// An ACME server asks for its token, which no access list forbids.
    AcmeChallenge {
        /// The directory in which it is looked up.
        dir: Option<&'s Path>,
        /// Whether it exists.
        found: bool,
    },
    /// A redirect row is for other clients.
    RedirectOfOthers {
        /// The row, counted from 1.
        row: usize,
    },
    /// A redirect row is only for requests that read.
    RedirectOfReads {
        /// The row, counted from 1.
        row: usize,
    },
    /// A redirect row does not match.
    RedirectUnmatched {
        /// The row, counted from 1.
        row: usize,
    },
    /// A redirect row redirects the client.
    Redirected {
        /// The row, counted from 1.
        row: usize,
        /// The redirection.
        to: &'s Redirection,
    },
    /// A remap row is for other clients.
    RemapOfOthers {
        /// The row, counted from 1.
        row: usize,
    },
    /// A remap row does not match.
    RemapUnmatched {
        /// The row, counted from 1.
        row: usize,
    },
    /// A remap row matched.
    Remapped {
        /// The row, counted from 1.
        row: usize,
        /// The name after the row.
        name: &'s FileName,
        /// Whether no further row is tried.
        stop: bool,
    },
    /// A remap row refuses the name.
    RemapRefused(Unroutable),
    /// A row of `[[protect]]` covers the name.
    Protected {
        /// The row, counted from 0.
        row: usize,
        /// What it requires.
        requirement: &'s Requirement,
        /// The protocol of the request.
        protocol: Protocol,
        /// Whether the client has proven the password.
        proven: bool,
    },
    /// A row of roots is for the client.
    RootsOfNetwork {
        /// The row, counted from 1.
        row: usize,
        /// Whether the search ends with its roots.
        only: bool,
    },
    /// A root was searched.
    Looked {
        /// Which one.
        root: RootId,
        /// Its directory.
        dir: &'s Path,
        /// The name.
        name: &'s FileName,
        /// The file, or `None` if the root does not have it.
        file: Option<&'s Entry>,
    },
    /// No root has the name.
    NotFound {
        /// The name.
        name: &'s FileName,
    },
    /// No root in the order has it, and one of them cannot be read now.
    Unavailable {
        /// The name.
        name: &'s FileName,
    },
    /// A row of `[[upload]]` takes the name.
    UploadRule {
        /// The row.
        rule: &'s Rule,
        /// The name under which the file is stored.
        name: &'s FileName,
    },
    /// The name is unknown, and the file goes to quarantine.
    Quarantine {
        /// The writer's number for the directory.
        directory: u16,
        /// Largest size in bytes.
        bytes_max: u64,
    },
    /// No row takes the name.
    NoUploadRule,
}

impl TraceStep<'_> {
    /// Returns the subject of the step, in a word.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            TraceStep::Permitted | TraceStep::Denied { .. } => "access",
            TraceStep::Limits { .. } => "limits",
            TraceStep::Override { .. } => "override",
            TraceStep::CaCertificate => "ca",
            TraceStep::AcmeChallenge { .. } => "acme",
            TraceStep::Vault { .. } => "vault",
            TraceStep::Identification(_) => "who",
            TraceStep::Protected { .. } => "protect",
            TraceStep::RedirectOfOthers { .. }
            | TraceStep::RedirectOfReads { .. }
            | TraceStep::RedirectUnmatched { .. }
            | TraceStep::Redirected { .. } => "redirect",
            TraceStep::BadName { .. }
            | TraceStep::Named { .. }
            | TraceStep::RemapOfOthers { .. }
            | TraceStep::RemapUnmatched { .. }
            | TraceStep::Remapped { .. }
            | TraceStep::RemapRefused(_)
            | TraceStep::RootsOfNetwork { .. }
            | TraceStep::Looked { .. }
            | TraceStep::NotFound { .. }
            | TraceStep::Unavailable { .. } => "name",
            TraceStep::UploadRule { .. }
            | TraceStep::Quarantine { .. }
            | TraceStep::NoUploadRule => "upload",
        }
    }
}

impl fmt::Display for TraceStep<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TraceStep::Permitted => f.write_str("allowed"),
            TraceStep::Denied { list } => write!(f, "denied: the address is not on {list}"),
            TraceStep::Limits { net: Some(net), limits } => {
                write!(f, "[[tftp.subnet]] {net}: {}", in_words(limits))
            }
            TraceStep::Limits { net: None, limits } => write!(f, "[tftp]: {}", in_words(limits)),
            TraceStep::BadName { why } => write!(f, "refused: {why}"),
            TraceStep::Named { name } => write!(f, "the name is read as {name}"),
            TraceStep::Override { name, found: true } => write!(f, "{name} stands in for the file"),
            TraceStep::Override { name, found: false } => {
                write!(f, "{name} would be served, but no root has it")
            }
            TraceStep::CaCertificate => f.write_str("the certificate of the server's own CA"),
            TraceStep::Vault { owner: VaultOwner::Named(it) } => write!(f, "a user's data: {it}"),
            TraceStep::Vault { owner: VaultOwner::LoggedIn(family) } => {
                write!(f, "the {family} of whoever is logged in at the phone")
            }
            TraceStep::Identification(how) => how.fmt(f),
            TraceStep::AcmeChallenge { dir, found } => {
                let place = place_of_token(*dir, *found);
                write!(f, "a token of ACME, for everybody: {place}")
            }
            TraceStep::RedirectOfOthers { row } => {
                write!(f, "redirect row {row} is for other clients")
            }
            TraceStep::RedirectOfReads { row } => {
                write!(f, "redirect row {row} is for those who read; see `uploads`")
            }
            TraceStep::RedirectUnmatched { row } => write!(f, "redirect row {row} does not match"),
            TraceStep::Redirected { row, to } => {
                let (code, location) = (to.status.code(), to.location.escape_ascii());
                write!(f, "redirect row {row} sends the phone to {location} ({code})")
            }
            TraceStep::RemapOfOthers { row } => write!(f, "remap row {row} is for other clients"),
            TraceStep::RemapUnmatched { row } => write!(f, "remap row {row} does not match"),
            TraceStep::Remapped { row, name, stop } => {
                let then = if *stop { ", and no further row is tried" } else { "" };
                write!(f, "remap row {row} makes it {name}{then}")
            }
            TraceStep::RemapRefused(why) => write!(f, "refused: {why}"),
            TraceStep::Protected { row, requirement, protocol, proven: false } => {
                let how = how_to_prove(requirement, *protocol);
                write!(
                    f,
                    "row {} of [[protect]] asks for a password: {requirement}, {how}",
                    row + 1
                )
            }
            TraceStep::Protected { row, proven: true, .. } => {
                write!(f, "the password for row {} of [[protect]] is right", row + 1)
            }
            TraceStep::RootsOfNetwork { row, only } => {
                let how =
                    if *only { "only its roots are looked in" } else { "its roots come first" };
                write!(f, "roots row {row} is for the client, and {how}")
            }
            TraceStep::Looked { dir, file: Some(entry), .. } => write_found(f, dir, entry),
            TraceStep::Looked { dir, file: None, .. } => write!(f, "not in {}", dir.display()),
            TraceStep::NotFound { name } => write!(f, "not found: no root has {name}"),
            TraceStep::Unavailable { name } => write!(f, "a root that may have {name} is away"),
            TraceStep::UploadRule { rule, name } => {
                write!(f, "row {:?} of [[upload]] stores it as {name}", rule.pattern)
            }
            TraceStep::Quarantine { .. } => f.write_str("nobody knows the name: quarantine"),
            TraceStep::NoUploadRule => f.write_str(NO_UPLOAD_RULE),
        }
    }
}

fn write_found(f: &mut fmt::Formatter<'_>, dir: &Path, entry: &Entry) -> fmt::Result {
    write!(f, "found in {}: {}, {} bytes", dir.display(), entry.path, entry.version.bytes)
}

const NO_UPLOAD_RULE: &str = "refused: neither the vault nor an [[upload]] row takes it";

/// How a password is proven over a protocol, in words.
fn how_to_prove(requirement: &Requirement, protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Http | Protocol::Https => requirement.schemes(),
        Protocol::Ftp => "at the log-in (USER, PASS)",
        Protocol::Tftp => "and TFTP has no passwords",
    }
}

fn place_of_token(dir: Option<&Path>, found: bool) -> String {
    let dir = dir.unwrap_or(Path::new("nowhere")).display();
    format!("{}in {dir}", if found { "" } else { "not " })
}

impl fmt::Display for Identification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Identification::Trusted(net) => {
                write!(f, "not asked: {net} of `trusted_networks` in [ftp] may have anybody's data")
            }
            Identification::AsksPhone => f.write_str("the phone is asked by SNMP who is logged in"),
            Identification::NoCommunity => f.write_str(
                "nobody: no community of [snmp] is for this address, so the phone cannot be \
                 asked and is refused; add one, or the address to `trusted_networks` in [ftp]",
            ),
        }
    }
}

fn in_words(limits: &TftpLimits) -> String {
    let mut text = format!(
        "blocks of up to {} bytes, windows of up to {}",
        limits.blksize_max, limits.windowsize_max
    );
    if !limits.options {
        text = "no options, so blocks of 512 bytes one at a time".into();
    }
    match limits.wrap_to {
        WrapTo::Zero => {}
        WrapTo::One => text += ", block 65535 is followed by 1",
    }
    if limits.phone_bytes_per_second > 0 {
        // Writing into a string does not fail.
        let _ = write!(text, ", {} bytes/s for a phone", limits.phone_bytes_per_second);
    }
    text
}
