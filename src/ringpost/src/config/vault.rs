//! `[vault]`: where phones keep their users' data, who has access, and how unknown uploads are
//! handled.

use std::path::{Path, PathBuf};

use toml::Spanned;

use super::file::{Many, bytes, bytes_within, positive};
use super::read::{Findings, Section};
use super::rows;
use engine::vault::bounds::VaultBounds;
use engine::vault::request::{ArchivePolicy, Auth, Unknown, VaultPolicy};
use wire::name::FileName;
use wire::time::Duration;

/// Largest configurable version or upload, in bytes: all of it is in memory for a while.
const BODY_BYTES_LIMIT: u64 = 1 << 30;
/// The default age limit of versions.
const AGE_MAX: Duration = Duration::from_secs(90 * 24 * 60 * 60);
/// The default age limit of archives.
const ARCHIVE_KEEP: Duration = Duration::from_secs(2 * 365 * 24 * 60 * 60);
/// The default hour of the nightly job, in UTC.
const ARCHIVE_HOUR: u8 = 2;

/// Who has access to an extension's data, as the file has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum VaultAuth {
    Open,
    Users,
    Pinned,
    Certificate,
}

/// How an unknown upload is handled, as the file has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum UnknownPhone {
    Refuse,
    Quarantine,
}

/// `[vault]`.
#[derive(Debug)]
pub(super) struct Vault {
    pub(super) dir: Spanned<PathBuf>,
    /// Folded paths without leading and trailing slashes; an empty one is `/`.
    pub(super) prefixes: Vec<Box<[u8]>>,
    pub(super) auth: Spanned<VaultAuth>,
    pub(super) users: Spanned<PathBuf>,
    pub(super) versions: usize,
    pub(super) keep: Duration,
    pub(super) archive: Option<ArchivePolicy>,
    pub(super) bytes_max: Spanned<u64>,
    pub(super) unknown: UnknownPhone,
    pub(super) quarantine: Spanned<PathBuf>,
    pub(super) quarantine_bytes_max: u64,
    pub(super) bounds: VaultBounds,
}

impl Vault {
    pub(super) fn read(mut section: Section<'_, '_>, found: &mut Findings) -> Option<Self> {
        let at = section.at();
        let here = section.is_there();
        let path = |section: &mut Section<'_, '_>, key, otherwise: &str, found: &mut Findings| {
            let said: Option<Spanned<PathBuf>> = section.take(key, found);
            said.unwrap_or_else(|| Spanned::new(at.clone(), otherwise.into()))
        };
        let versions = section.number("versions", 1..=10_000, "Ringpost", found);
        let max = section.place("max");
        let sizes = 1..=BODY_BYTES_LIMIT;
        let bytes_max = bytes_within(&mut section, "max", sizes.clone(), 1 << 20, found);
        let keep = positive(&mut section, "keep", found).unwrap_or(AGE_MAX);
        let total = section.place("total_max");
        let vault = Vault {
            bounds: bounds(&mut section, found),
            dir: path(&mut section, "dir", "vault", found),
            prefixes: prefixes(section.take("prefixes", found), found),
            auth: section
                .take("auth", found)
                .unwrap_or_else(|| Spanned::new(at.clone(), VaultAuth::Open)),
            users: path(&mut section, "users", "users.txt", found),
            versions: versions.map_or(20, |versions| versions as usize),
            keep,
            archive: archive(&mut section, keep, found),
            bytes_max: Spanned::new(max, bytes_max),
            unknown: section.take("unknown", found).unwrap_or(UnknownPhone::Refuse),
            quarantine: path(&mut section, "quarantine", "quarantine", found),
            quarantine_bytes_max: bytes_within(
                &mut section,
                "quarantine_max",
                sizes,
                1 << 20,
                found,
            ),
        };
        section.finish(found);
        if vault.bounds.total_bytes_max < *vault.bytes_max.get_ref() {
            let text = "`total_max` is smaller than `max`, so that not one version of that size \
                        has room; write a larger one";
            found.fault(total, text);
        }
        here.then_some(vault)
    }

    /// Returns the section's policy. `directories` are those that receive uploads, by number.
    pub(super) fn policy(
        &self,
        here: impl Fn(&Path) -> PathBuf,
        directories: &mut Vec<PathBuf>,
    ) -> VaultPolicy {
        VaultPolicy {
            dir: here(self.dir.get_ref()),
            prefixes: self.prefixes.clone(),
            auth: match self.auth.get_ref() {
                VaultAuth::Open => Auth::Open,
                VaultAuth::Users => Auth::Users(here(self.users.get_ref())),
                VaultAuth::Pinned => Auth::Pinned,
                VaultAuth::Certificate => Auth::Certificate,
            },
            bytes_max: *self.bytes_max.get_ref(),
            versions_max: self.versions,
            age_max: self.keep,
            archive: self.archive,
            unknown: match self.unknown {
                UnknownPhone::Refuse => Unknown::Refuse,
                UnknownPhone::Quarantine => Unknown::Quarantine {
                    directory: rows::place(here(self.quarantine.get_ref()), directories),
                    bytes_max: self.quarantine_bytes_max,
                },
            },
            bounds: self.bounds,
        }
    }
}

/// Reads how much it may hold, and how much one address may send within an hour.
fn bounds(section: &mut Section<'_, '_>, found: &mut Findings) -> VaultBounds {
    let usual = VaultBounds::default();
    let new_max = section.number("new_per_hour", 1..=1_000_000, "Ringpost", found);
    VaultBounds {
        total_bytes_max: bytes(section, "total_max", usual.total_bytes_max, found),
        reserve_bytes: bytes(section, "reserve", usual.reserve_bytes, found),
        new_max: new_max.map_or(usual.new_max, |new| new as u32),
        bytes_max: bytes(section, "bytes_per_hour", usual.bytes_max, found),
    }
}

/// Reads whether and at what age versions are archived.
fn archive(
    section: &mut Section<'_, '_>,
    keep: Duration,
    found: &mut Findings,
) -> Option<ArchivePolicy> {
    let at = section.place("archive_keep");
    let said = positive(section, "archive_keep", found);
    let hour = section.number("archive_hour", 0..=23, "a day", found);
    let archive = ArchivePolicy {
        keep: said.unwrap_or(ARCHIVE_KEEP.max(keep)),
        hour: hour.map_or(ARCHIVE_HOUR, |hour| hour as u8),
    };
    let wanted: bool = section.take("archive", found).unwrap_or(true);
    if wanted && archive.keep < keep {
        let text = "`archive_keep` is shorter than `keep`, so that versions would be gone as soon \
                    as they are archived; write a longer time, or archive = false";
        found.fault(at, text);
    }
    wanted.then_some(archive)
}

/// Returns the paths in the form in which names are compared, each once.
fn prefixes(listed: Option<Spanned<Many<String>>>, found: &mut Findings) -> Vec<Box<[u8]>> {
    let Some(listed) = listed else { return vec![Box::default(), b"backup".as_slice().into()] };
    if listed.get_ref().is_empty() {
        let text = "`prefixes` is empty, so no phone could reach the vault; write [\"/\"], or \
                    leave the line out";
        found.fault(listed.span(), text);
    }
    let mut prefixes: Vec<Box<[u8]>> = Vec::new();
    for prefix in listed.get_ref() {
        let path = prefix.get_ref().trim_matches(['/', '\\']);
        let folded: Box<[u8]> = match FileName::parse(path.as_bytes()) {
            _ if path.is_empty() => Box::default(),
            Ok(name) => name.as_bytes().into(),
            Err(why) => {
                let text = format!("`prefixes` has {path:?}, which will not do: {why}");
                found.fault(prefix.span(), text);
                continue;
            }
        };
        if !prefixes.contains(&folded) {
            prefixes.push(folded);
        }
    }
    prefixes
}
