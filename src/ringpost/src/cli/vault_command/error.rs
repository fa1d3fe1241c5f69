//! Why `ringpost vault` failed, in sentences with the remedy.

use std::error::Error;
use std::path::PathBuf;
use std::{fmt, io};

use super::owner;
use super::table::date;
use crate::daemon::exit::{Exit, Failure};
use engine::vault::names::{self, Item};
use engine::vault::timestamp::Timestamp;
use store::vault::archive::ArchiveError;
use store::vault::versions::VersionName;

/// Why a vault command has failed.
#[derive(Debug)]
pub(super) enum VaultCommandError {
    /// The system does not let this user read the vault.
    Unreadable { dir: PathBuf, cause: io::Error },
    /// The configuration has no vault.
    NoVault { config: PathBuf },
    /// The vault's disk reports an error.
    Disk(DiskError),
    /// A version could not be added, so the item is as it was.
    NotAdded { item: Item, cause: DiskError },
    /// The disk reported an error after so many items were restored.
    RestoreStopped { restored: u64, cause: DiskError },
    /// This is not an extension.
    NotAnExtension(String),
    /// This is not a family of phones.
    NotAFamily(String),
    /// This is not a moment.
    NotAMoment(String),
    /// The requested version does not exist.
    Version(VersionError),
    /// The extension would be copied to itself.
    SameExtension(Box<str>),
    /// The extension has nothing to copy.
    NothingToCopy(Box<str>),
    /// No secret is pinned for the extension.
    NotPinned(Box<str>),
    /// Old versions are removed, not archived.
    ArchivesOff,
    /// Some versions could not be archived: what was, and why others were not.
    Archive { gathered: String, troubles: Vec<String> },
    /// Nothing could be exported or imported.
    ExportImport(ExportImportError),
}

/// Why a version is not found.
#[derive(Debug)]
pub(super) enum VersionError {
    /// There never was a version of the item.
    NeverKept(Item),
    /// There was no version of the item at that moment yet.
    NotKeptBy { item: Item, at: Timestamp },
    /// The item was deleted since.
    Deleted { item: Item, at: Timestamp },
    /// The version was removed while the command ran.
    Removed { item: Item, version: VersionName },
    /// No version's name begins so.
    NoSuchVersion { item: Item, requested: String },
    /// Several versions' names begin so.
    Ambiguous { requested: String, count: usize, first: VersionName, last: VersionName },
}

/// Why versions were not written to a file, or not read from one.
#[derive(Debug)]
pub(super) enum ExportImportError {
    /// The requested items were never kept.
    NothingToExport(Box<str>),
    /// Standard output is a terminal.
    Terminal,
    /// The file exists already.
    Exists(PathBuf),
    /// The file cannot be written.
    NotWritten { path: PathBuf, cause: io::Error },
    /// Standard output cannot be written.
    OutputCut(io::Error),
    /// The input cannot be read.
    NotRead { source: String, cause: io::Error },
    /// The input is not an export.
    NotAnExport { source: String, cause: ArchiveError },
    /// The import failed after so many versions.
    ImportStopped { added: u64, cause: ImportError },
}

/// Why an import was aborted.
#[derive(Debug)]
pub(super) enum ImportError {
    /// The vault's disk reports an error.
    Disk(DiskError),
    /// The archive has changed since it was checked.
    Changed { source: String, cause: ArchiveError },
}

/// An error of the vault's disk.
#[derive(Debug)]
pub(super) struct DiskError {
    pub(super) dir: PathBuf,
    pub(super) cause: io::Error,
}

impl fmt::Display for DiskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use io::ErrorKind::{PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StorageFull};
        let (dir, kind) = (self.dir.display(), self.cause.kind());
        if kind == PermissionDenied {
            let owner = owner(&self.dir);
            write!(
                f,
                "the system does not let this user into {dir}; run the command as root or as \
                 {owner}"
            )
        } else if kind == ReadOnlyFilesystem {
            write!(f, "{dir} is on a disk that is mounted read-only; mount it for writing")
        } else if kind == StorageFull {
            write!(f, "the disk of {dir} is full; make room on it")
        } else if kind == QuotaExceeded {
            write!(f, "the quota of the disk of {dir} is used up; raise it or make room")
        } else {
            write!(f, "cannot use {dir}: {}", self.cause)
        }
    }
}

impl Error for DiskError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.cause)
    }
}

impl fmt::Display for VersionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            VersionError::NeverKept(item) => write!(f, "nothing was ever kept of {item}"),
            VersionError::NotKeptBy { item, at } => {
                write!(f, "nothing had been kept of {item} by {}", date(*at))
            }
            VersionError::Deleted { item, at } => write!(
                f,
                "{item} was deleted on {}; `ringpost vault list {} --archived` shows older \
                 versions",
                date(*at),
                item.extension
            ),
            VersionError::Removed { item, version } => {
                write!(f, "{version} of {item} was removed a moment ago; try again")
            }
            VersionError::NoSuchVersion { item, requested } => write!(
                f,
                "{item} has no version {requested}; `ringpost vault list {} --archived` shows \
                 those that it has",
                item.extension
            ),
            VersionError::Ambiguous { requested, count, first, last } => write!(
                f,
                "{requested} may be any of {count} versions from {first} to {last}; give more of \
                 the name"
            ),
        }
    }
}

impl Error for VersionError {}

impl From<VersionError> for VaultCommandError {
    fn from(cause: VersionError) -> Self {
        VaultCommandError::Version(cause)
    }
}

impl From<DiskError> for VaultCommandError {
    fn from(cause: DiskError) -> Self {
        VaultCommandError::Disk(cause)
    }
}

impl fmt::Display for ImportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ImportError::Disk(cause) => cause.fmt(f),
            ImportError::Changed { source, cause } => {
                write!(f, "{source} has changed meanwhile: {cause}")
            }
        }
    }
}

impl fmt::Display for VaultCommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use VaultCommandError::{
            Archive, ArchivesOff, Disk, ExportImport, NoVault, NotAFamily, NotAMoment, NotAdded,
            NotAnExtension, NotPinned, NothingToCopy, RestoreStopped, SameExtension, Unreadable,
            Version,
        };
        match self {
            Unreadable { dir, cause } => write!(
                f,
                "{} cannot be read ({cause}); run the command as root, or as the user that \
                 Ringpost runs as",
                dir.display()
            ),
            NoVault { config } => write!(
                f,
                "{} has no [vault], so nothing is kept; add the section, or name the right file \
                 with --config",
                config.display()
            ),
            Disk(cause) => cause.fmt(f),
            NotAdded { item, cause } => write!(f, "{cause}; {item} is as it was"),
            RestoreStopped { restored, cause } => {
                write!(f, "{cause}; {restored} were restored, and the same command goes on there")
            }
            NotAnExtension(text) => write!(
                f,
                "{text:?} is no extension; it has letters, digits and the marks + - _ . @"
            ),
            NotAFamily(text) => {
                let families = names::families().collect::<Vec<_>>().join(", ");
                write!(f, "{text:?} is no family of sets; there are {families}")
            }
            NotAMoment(text) => {
                write!(f, "{text:?} is no moment; write it as 2026-11-03T12:00, in UTC")
            }
            Version(cause) => cause.fmt(f),
            SameExtension(extension) => {
                write!(f, "{extension} cannot be copied to itself; name another extension")
            }
            NothingToCopy(extension) => write!(
                f,
                "{extension} has nothing to copy; see `ringpost vault list {extension}` for what \
                 it had"
            ),
            NotPinned(extension) => {
                write!(f, "no secret is pinned for {extension}; nothing was changed")
            }
            ArchivesOff => f.write_str(
                "`archive` in [vault] is false, so old versions are removed, not gathered; write \
                 archive = true",
            ),
            Archive { gathered, troubles } => {
                write!(f, "{gathered}, but:\n{}", troubles.join("\n"))
            }
            ExportImport(cause) => cause.fmt(f),
        }
    }
}

impl Error for VaultCommandError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            VaultCommandError::Unreadable { cause, .. } => Some(cause),
            VaultCommandError::Disk(cause) => cause.source(),
            VaultCommandError::NotAdded { cause, .. }
            | VaultCommandError::RestoreStopped { cause, .. } => Some(cause),
            VaultCommandError::ExportImport(cause) => cause.source(),
            VaultCommandError::Version(cause) => Some(cause),
            VaultCommandError::NoVault { .. }
            | VaultCommandError::NotAnExtension(_)
            | VaultCommandError::NotAFamily(_)
            | VaultCommandError::NotAMoment(_)
            | VaultCommandError::SameExtension(_)
            | VaultCommandError::NothingToCopy(_)
            | VaultCommandError::NotPinned(_)
            | VaultCommandError::ArchivesOff
            | VaultCommandError::Archive { .. } => None,
        }
    }
}

impl fmt::Display for ExportImportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ExportImportError::NothingToExport(extension) => {
                write!(f, "nothing was ever kept of {extension}; leave it out")
            }
            ExportImportError::Terminal => {
                f.write_str("this is no text for a terminal; redirect it, or name a file")
            }
            ExportImportError::Exists(path) => {
                write!(f, "{} exists already; name a file that does not", path.display())
            }
            ExportImportError::NotWritten { path, cause } => {
                write!(f, "cannot write {}: {cause}; nothing is left of it", path.display())
            }
            ExportImportError::OutputCut(cause) => {
                write!(f, "what was written to standard output is not whole and of no use: {cause}")
            }
            ExportImportError::NotRead { source, cause } => {
                write!(f, "cannot read {source}: {cause}; nothing was changed")
            }
            ExportImportError::NotAnExport { source, cause } => {
                write!(f, "{source} was not taken in: {cause}; nothing was changed")
            }
            ExportImportError::ImportStopped { added, cause } => write!(
                f,
                "{cause}; {added} versions were added before, and the same command goes on there"
            ),
        }
    }
}

impl Error for ExportImportError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            ExportImportError::NotWritten { cause, .. }
            | ExportImportError::OutputCut(cause)
            | ExportImportError::NotRead { cause, .. } => Some(cause),
            ExportImportError::ImportStopped { cause, .. } => Some(cause),
            // An `ArchiveError` of the store is not an `Error`; its text is part of ours.
            ExportImportError::NotAnExport { .. }
            | ExportImportError::NothingToExport(_)
            | ExportImportError::Terminal
            | ExportImportError::Exists(_) => None,
        }
    }
}

impl Error for ImportError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            ImportError::Disk(cause) => Some(cause),
            ImportError::Changed { .. } => None,
        }
    }
}

impl From<ExportImportError> for VaultCommandError {
    fn from(cause: ExportImportError) -> Self {
        VaultCommandError::ExportImport(cause)
    }
}

impl From<VaultCommandError> for Failure {
    fn from(cause: VaultCommandError) -> Failure {
        let exit = match cause {
            VaultCommandError::Unreadable { .. } => Exit::CannotRead,
            VaultCommandError::NoVault { .. }
            | VaultCommandError::Disk(_)
            | VaultCommandError::NotAdded { .. }
            | VaultCommandError::RestoreStopped { .. }
            | VaultCommandError::NotAnExtension(_)
            | VaultCommandError::NotAFamily(_)
            | VaultCommandError::NotAMoment(_)
            | VaultCommandError::Version(_)
            | VaultCommandError::SameExtension(_)
            | VaultCommandError::NothingToCopy(_)
            | VaultCommandError::NotPinned(_)
            | VaultCommandError::ArchivesOff
            | VaultCommandError::Archive { .. }
            | VaultCommandError::ExportImport(_) => Exit::No,
        };
        Failure::by(exit, cause)
    }
}
