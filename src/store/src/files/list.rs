//! What an administrator sees: listings, metadata, and the entry that a file is read by.
//!
//! Changes nothing. Hidden files, the server's own files, and special files do not appear; a link
//! appears as its target.

use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use cap_std::fs::{Dir, Metadata};
#[cfg(unix)]
use nix::fcntl::AtFlags;
#[cfg(unix)]
use nix::unistd::AccessFlags;
use regex::bytes::Regex;

use super::resolve::{Found, Resolved, canonical, is_protected, must_stay, open_dir};
use super::thread::Files;
use crate::content::path::{is_access_list, is_hidden, join};
use crate::content::root_dir::RootDir;
use crate::version::version_of;
use engine::catalog::{Entry, RootHandle, RootId};
use engine::files::path::is_part;
use engine::files::{FilesError, ForbiddenReason, Form, Member, Tree, TreePath};
use engine::vault::glob;
use wire::ftp::listing::{self, Kind, Rights};
use wire::name::FileName;

/// Most bytes of memory for one listing, lines and names together: some 150,000 files.
pub(super) const LISTING_BYTES_MAX: usize = 32 << 20;
/// The most that a line takes besides its name.
const LINE_BYTES: usize = 128;
/// The number of a root that is not in the catalog.
const NO_ROOT: RootId = RootId(u16::MAX);

impl Files {
    /// Lists a directory, one file, or the matches of a pattern.
    pub(super) fn list(
        &mut self,
        tree: &Tree,
        at: &TreePath,
        requested: &str,
        form: Form,
    ) -> Result<Vec<u8>, FilesError> {
        let now_s = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let mut lines = Vec::new();
        let (found, itself, pattern) = self.find_some(tree, at, form)?;
        if let Form::Itself(_) = form {
            write_line(&mut lines, &at.to_string(), itself, form, now_s);
            return Ok(lines);
        }
        let mut members = match found {
            Found::Virtual(names) => {
                let directory = Member { is_directory: true, ..itself };
                names.into_iter().map(|name| (name.to_owned(), directory)).collect()
            }
            // MLSD is only for directories (RFC 3659, 7.2.1).
            Found::Resolved(_) if !itself.is_directory && matches!(form, Form::Facts(_)) => {
                return Err(FilesError::NotDirectory);
            }
            Found::Resolved(_) if !itself.is_directory => vec![(at.name().to_owned(), itself)],
            Found::Resolved(resolved) => self.members(tree, &resolved)?,
        };
        members.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        let is_meant = |name: &str| {
            let folded = name.to_ascii_lowercase();
            pattern.as_ref().is_none_or(|pattern| pattern.is_match(folded.as_bytes()))
        };
        let before = match form {
            Form::Names => before(requested, itself.is_directory && pattern.is_none()),
            Form::List | Form::Facts(_) | Form::Itself(_) => String::new(),
        };
        for (name, member) in members.iter().filter(|(name, _)| is_meant(name)) {
            write_line(&mut lines, &format!("{before}{name}"), *member, form, now_s);
            if lines.len() > self.listing_bytes_max {
                return Err(FilesError::TooMany);
            }
        }
        Ok(lines)
    }

    /// Finds a path; if nothing is there, takes its last name as a pattern for the members of its
    /// directory.
    fn find_some<'a>(
        &mut self,
        tree: &'a Tree,
        at: &TreePath,
        form: Form,
    ) -> Result<(Found<'a>, Member, Option<Regex>), FilesError> {
        let takes_patterns = match form {
            Form::List | Form::Names => at.name().contains(['*', '?']),
            Form::Facts(_) | Form::Itself(_) => false,
        };
        match self.find(tree, at).and_then(|found| Ok((self.member(tree, &found)?, found))) {
            Err(FilesError::NotThere) if takes_patterns => {}
            found => return found.map(|(itself, found)| (found, itself, None)),
        }
        let pattern = glob::compile(at.name()).map_err(|_| FilesError::NotThere)?;
        let found = self.find(tree, &at.parent())?;
        let itself = self.member(tree, &found)?;
        match itself.is_directory {
            true => Ok((found, itself, Some(pattern))),
            false => Err(FilesError::NotDirectory),
        }
    }

    /// Describes one file or directory, and returns its exact spelling.
    pub(super) fn describe(
        &mut self,
        tree: &Tree,
        at: &TreePath,
    ) -> Result<(TreePath, Member), FilesError> {
        let found = self.find(tree, at)?;
        let member = self.member(tree, &found)?;
        Ok(match found {
            Found::Virtual(_) => (at.clone(), member),
            Found::Resolved(resolved) => (resolved.at(), member),
        })
    }

    /// Returns the catalog's entry of a file, or a new one if the catalog has none of the name.
    pub(super) fn entry(&mut self, tree: &Tree, at: &TreePath) -> Result<Arc<Entry>, FilesError> {
        let found = self.find(tree, at)?;
        if self.member(tree, &found)?.is_directory {
            return Err(FilesError::IsDirectory);
        }
        let Found::Resolved(resolved) = found else { return Err(FilesError::IsDirectory) };
        let full = resolved.area.dir.join(&resolved.path);
        let catalog = self.published.catalog();
        let known = catalog.roots.iter().find_map(|root| {
            let path = full.strip_prefix(&root.dir).ok()?.to_str()?;
            let name = FileName::parse(path.as_bytes()).ok()?;
            root.entries.at(name.as_bytes(), path)
        });
        if let Some(entry) = known {
            return Ok(Arc::clone(entry));
        }
        let meta = resolved.root_dir.dir().metadata(&resolved.path);
        let version = version_of(&meta.map_err(|why| self.fault(&why, "look at", &full))?);
        Ok({
            let root_dir: RootHandle = resolved.root_dir.clone();
            Arc::new(Entry::found(NO_ROOT, &resolved.path, version, root_dir))
        })
    }

    /// Describes something that was found.
    fn member(&self, tree: &Tree, found: &Found<'_>) -> Result<Member, FilesError> {
        match found {
            Found::Virtual(_) => {
                let dirs = tree.areas().iter().filter_map(|area| area.dir.metadata().ok());
                let times = dirs.filter_map(|meta| {
                    Some(meta.modified().ok()?.duration_since(UNIX_EPOCH).ok()?.as_secs())
                });
                let modified_s = times.max().unwrap_or(0);
                Ok(Member { is_directory: true, bytes: 0, modified_s, rights: Rights::READ })
            }
            Found::Resolved(resolved) => {
                let meta = resolved.found.as_ref().ok_or(FilesError::NotThere)?;
                let followed =
                    follow(tree, &resolved.root_dir, &resolved.area.dir, &resolved.path, meta);
                let member = followed.ok_or(FilesError::Forbidden(ForbiddenReason::Special))?;
                let parent = resolved.path.rsplit_once('/').map_or(".", |(parent, _)| parent);
                let above = !resolved.is_area() && may(resolved.root_dir.dir(), parent, CHANGE);
                let (dir, path) = match resolved.path.as_str() {
                    "" => (resolved.root_dir.dir(), "."),
                    path => (resolved.root_dir.dir(), path),
                };
                Ok(with_rights(member, tree, (dir, path), &canonical(&resolved.real), above))
            }
        }
    }

    /// Returns the visible members of a directory, in no order.
    fn members(
        &self,
        tree: &Tree,
        resolved: &Resolved<'_>,
    ) -> Result<Vec<(String, Member)>, FilesError> {
        let refuse = |why| self.fault(&why, "list", &resolved.real);
        let dir = open_dir(&resolved.root_dir, &resolved.path).map_err(refuse)?;
        let real = canonical(&resolved.real);
        let above = may(&dir, ".", CHANGE);
        let (mut members, mut bytes) = (Vec::new(), 0);
        for entry in dir.entries().map_err(refuse)? {
            let entry = entry.map_err(refuse)?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            let is_list = is_access_list(name.to_ascii_lowercase().as_bytes());
            if is_hidden(&name) || is_list || !is_part(&name) {
                continue;
            }
            if is_protected(tree, &real.join(&name)) {
                continue;
            }
            // A file that vanishes meanwhile is not listed.
            let Ok(meta) = entry.metadata() else { continue };
            let path = join(&resolved.path, &name);
            let member = follow(tree, &resolved.root_dir, &resolved.area.dir, &path, &meta);
            let Some(member) = member else { continue };
            bytes += LINE_BYTES + 2 * name.len();
            if bytes > self.listing_bytes_max {
                return Err(FilesError::TooMany);
            }
            let member = with_rights(member, tree, (&dir, &name), &real.join(&name), above);
            members.push((name, member));
        }
        Ok(members)
    }
}

/// Returns the metadata of a member or of its link's target, or `None` if it is not visible.
fn follow(
    tree: &Tree,
    root_dir: &RootDir,
    top: &Path,
    path: &str,
    meta: &Metadata,
) -> Option<Member> {
    if !meta.is_symlink() {
        return member(meta);
    }
    let real = root_dir.real_path(path)?;
    if is_hidden(&real) || is_protected(tree, &canonical(&top.join(real))) {
        return None;
    }
    member(&root_dir.dir().metadata(path).ok()?)
}

fn member(meta: &Metadata) -> Option<Member> {
    let is_directory = meta.is_dir();
    if !is_directory && !meta.is_file() {
        return None;
    }
    let modified_s = u64::try_from(version_of(meta).modified_ns / 1_000_000_000).unwrap_or(0);
    Some(Member { is_directory, bytes: meta.len(), modified_s, rights: Rights::READ })
}

/// Returns a member with this process's rights to it. `above` says whether the process may change
/// its directory, because a file is never changed in place.
fn with_rights(
    member: Member,
    tree: &Tree,
    (dir, name): (&Dir, &str),
    real: &Path,
    above: bool,
) -> Member {
    let rights = match member.is_directory {
        true => Rights {
            read: may(dir, name, ENTER),
            write: may(dir, name, CHANGE),
            remove: above && must_stay(tree, real).is_none(),
        },
        false => Rights { read: may(dir, name, READ), write: above, remove: above },
    };
    Member { rights, ..member }
}

/// The access to test: to read a file, to read and enter a directory, to change one.
#[cfg(unix)]
const READ: AccessFlags = AccessFlags::R_OK;
#[cfg(unix)]
const ENTER: AccessFlags = AccessFlags::R_OK.union(AccessFlags::X_OK);
#[cfg(unix)]
const CHANGE: AccessFlags = AccessFlags::W_OK.union(AccessFlags::X_OK);

/// Returns whether the system grants this process that access.
#[cfg(unix)]
fn may(dir: &Dir, name: &str, access: AccessFlags) -> bool {
    nix::unistd::faccessat(dir, name, access, AtFlags::AT_EACCESS).is_ok()
}

#[cfg(not(unix))]
const READ: () = ();
#[cfg(not(unix))]
const ENTER: () = ();
#[cfg(not(unix))]
const CHANGE: () = ();

#[cfg(not(unix))]
fn may(_: &Dir, _: &str, (): ()) -> bool {
    true
}

/// Returns the prefix of each name of a listing, so that a client can request the name as it is.
fn before(requested: &str, is_directory: bool) -> String {
    let slashes = ['/', '\\'];
    match is_directory {
        true if matches!(requested, "" | ".") => String::new(),
        true => format!("{}/", requested.trim_end_matches(slashes)),
        false => requested
            .rfind(slashes)
            .map_or_else(String::new, |slash| requested[..=slash].to_owned()),
    }
}

fn write_line(lines: &mut Vec<u8>, name: &str, member: Member, form: Form, now_s: u64) {
    let entry = listing::Entry {
        name: name.as_bytes(),
        kind: if member.is_directory { Kind::Directory } else { Kind::File },
        bytes: member.bytes,
        modified_s: member.modified_s,
        rights: member.rights,
    };
    match form {
        Form::List => listing::list(lines, &entry, now_s),
        Form::Names => listing::nlst(lines, &entry),
        Form::Facts(facts) | Form::Itself(facts) => listing::mlsd(lines, &entry, facts),
    }
}
