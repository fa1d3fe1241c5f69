//! Resolves a path of the tree on the disk: its spelling there, and whether it may be touched.
//!
//! Looks only beneath the area's handle: no link leads out of it. Changes nothing.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cap_std::fs::{Dir, Metadata};

use super::thread::Files;
use crate::content::path::{is_access_list, is_hidden, join};
use crate::content::root_dir::RootDir;
use engine::files::tree::PathTarget;
use engine::files::{Area, FilesError, ForbiddenReason, Tree, TreePath};
use wire::name::FileName;

/// A file or directory in an area, or a free name for one.
pub(super) struct Resolved<'a> {
    pub(super) area: &'a Area,
    pub(super) root_dir: Arc<RootDir>,
    /// Its path beneath the area in the disk's spelling; "" for the area itself.
    pub(super) path: String,
    /// Its metadata, links not followed; `None` if only its directory exists.
    pub(super) found: Option<Metadata>,
    /// Its path with all links before the last name resolved, by the area's own path.
    pub(super) real: PathBuf,
}

/// The target of a path.
pub(super) enum Found<'a> {
    /// A directory that exists only in the tree, with these members.
    Virtual(Vec<&'a str>),
    /// A place in an area.
    Resolved(Box<Resolved<'a>>),
}

/// A name in a directory that may be changed.
pub(super) struct WriteTarget {
    /// The directory.
    pub(super) dir: Arc<Dir>,
    /// Its path.
    pub(super) path: PathBuf,
    /// The name in it.
    pub(super) name: String,
    /// The metadata of what is there, links not followed.
    pub(super) found: Option<Metadata>,
    /// The same path in the tree.
    pub(super) at: TreePath,
}

impl WriteTarget {
    pub(super) fn full(&self) -> PathBuf {
        self.path.join(&self.name)
    }
}

impl Resolved<'_> {
    pub(super) fn at(&self) -> TreePath {
        TreePath::below(&self.area.name, &self.path)
    }

    pub(super) fn is_area(&self) -> bool {
        self.path.is_empty()
    }
}

impl Files {
    /// Finds a path in any spelling. Hidden files are not found.
    pub(super) fn find<'a>(
        &mut self,
        tree: &'a Tree,
        at: &TreePath,
    ) -> Result<Found<'a>, FilesError> {
        let (area, rest) = match tree.find(at) {
            PathTarget::Virtual(members) => return Ok(Found::Virtual(members)),
            PathTarget::Nothing => return Err(FilesError::NotThere),
            PathTarget::In(area, rest) => (area, rest),
        };
        self.sweep(&area.dir);
        let root_dir = RootDir::open(&area.dir);
        let root_dir = root_dir.map_err(|why| self.fault(&why, "open", &area.dir))?;
        let (path, found) = self.spelled(&root_dir, &area.dir, &rest)?;
        let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
        let real =
            root_dir.real_path(parent).ok_or(FilesError::Forbidden(ForbiddenReason::Special))?;
        let name = path.rsplit('/').next().unwrap_or_default();
        // A path joined with an empty name would end in a slash.
        let real = match join(&real, name) {
            real if path.is_empty() || real.is_empty() => area.dir.clone(),
            real => area.dir.join(real),
        };
        let resolved = Resolved { area, root_dir: Arc::new(root_dir), path, found, real };
        if is_hidden(&resolved.path)
            || is_access_list(resolved.path.to_ascii_lowercase().as_bytes())
        {
            return Err(FilesError::NotThere);
        }
        if is_protected(tree, &canonical(&resolved.real)) {
            return Err(FilesError::Forbidden(ForbiddenReason::Protected));
        }
        Ok(Found::Resolved(Box::new(resolved)))
    }

    /// Finds a path that must be in an area.
    pub(super) fn resolve<'a>(
        &mut self,
        tree: &'a Tree,
        at: &TreePath,
    ) -> Result<Resolved<'a>, FilesError> {
        match self.find(tree, at)? {
            Found::Virtual(_) => Err(FilesError::Forbidden(ForbiddenReason::Virtual)),
            Found::Resolved(resolved) => Ok(*resolved),
        }
    }

    /// Finds what is to be changed: an existing file or directory, or a free name. Never an area
    /// itself.
    pub(super) fn write_target(
        &mut self,
        tree: &Tree,
        at: &TreePath,
    ) -> Result<WriteTarget, FilesError> {
        match tree.find(at) {
            PathTarget::In(_, rest) if is_hidden(&rest) => {
                return Err(FilesError::Forbidden(ForbiddenReason::Hidden));
            }
            // Nothing can be created beside the data directories.
            PathTarget::Nothing if matches!(tree.find(&at.parent()), PathTarget::Virtual(_)) => {
                return Err(FilesError::Forbidden(ForbiddenReason::Virtual));
            }
            PathTarget::In(..) | PathTarget::Virtual(_) | PathTarget::Nothing => {}
        }
        if is_access_list(at.name().to_ascii_lowercase().as_bytes()) {
            return Err(FilesError::Forbidden(ForbiddenReason::Protected));
        }
        let resolved = self.resolve(tree, at)?;
        if resolved.is_area() {
            return Err(FilesError::Forbidden(ForbiddenReason::Root));
        }
        let (parent, name) = resolved.path.rsplit_once('/').unwrap_or(("", &resolved.path));
        let dir = open_dir(&resolved.root_dir, parent);
        let dir = Arc::new(dir.map_err(|why| self.fault(&why, "open", &resolved.real))?);
        let path = resolved.real.parent().unwrap_or(&resolved.area.dir).to_path_buf();
        Ok(WriteTarget {
            dir,
            path,
            name: name.to_owned(),
            at: resolved.at(),
            found: resolved.found,
        })
    }

    /// Finds a free name for something new; a phone must be able to request it.
    pub(super) fn new_target(
        &mut self,
        tree: &Tree,
        at: &TreePath,
    ) -> Result<WriteTarget, FilesError> {
        let target = self.write_target(tree, at)?;
        if target.found.is_none()
            && let PathTarget::In(_, rest) = tree.find(&target.at)
            && let Err(refused) = FileName::parse(rest.as_bytes())
        {
            return Err(FilesError::Forbidden(ForbiddenReason::Name(refused)));
        }
        Ok(target)
    }

    /// Returns a path in the disk's spelling, and what is there. The exact spelling comes first;
    /// only the last name may be missing.
    fn spelled(
        &mut self,
        root_dir: &RootDir,
        top: &Path,
        rest: &str,
    ) -> Result<(String, Option<Metadata>), FilesError> {
        let mut path = String::new();
        let meta = |path: &str| match path {
            "" => root_dir.dir().dir_metadata().map(Some),
            path => present(root_dir.dir().symlink_metadata(path)),
        };
        let mut found = meta("").map_err(|why| self.fault(&why, "look at", top))?;
        for part in rest.split('/').filter(|part| !part.is_empty()) {
            if found.is_none() {
                return Err(FilesError::NotThere);
            }
            let exact = join(&path, part);
            let metadata = meta(&exact).and_then(|found| match found {
                Some(_) => Ok((exact.clone(), found)),
                None => {
                    let dir = open_dir(root_dir, &path)?;
                    let other = self.case_index.find(&dir, &top.join(&path), part)?;
                    let other = other.map(|name| join(&path, &name)).unwrap_or(exact.clone());
                    meta(&other).map(|found| (other, found))
                }
            });
            (path, found) =
                metadata.map_err(|why| self.fault(&why, "look at", &top.join(&exact)))?;
        }
        Ok((path, found))
    }
}

/// Opens a directory beneath an area.
pub(super) fn open_dir(root_dir: &RootDir, path: &str) -> io::Result<Dir> {
    match path {
        "" => root_dir.dir().try_clone(),
        path => root_dir.dir().open_dir(path),
    }
}

/// Turns "not found" into `None`.
pub(super) fn present(metadata: io::Result<Metadata>) -> io::Result<Option<Metadata>> {
    match metadata {
        Ok(meta) => Ok(Some(meta)),
        Err(none) if none.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(why) => Err(why),
    }
}

/// Returns whether a path without links belongs to the server itself.
pub(super) fn is_protected(tree: &Tree, path: &Path) -> bool {
    tree.protected().iter().any(|own| path.starts_with(canonical(own)))
}

/// Returns why a path without links must not move: it is, or contains, something the server needs.
pub(super) fn must_stay(tree: &Tree, path: &Path) -> Option<ForbiddenReason> {
    let lies_there = |own: &PathBuf| canonical(own).starts_with(path);
    if tree.protected().iter().any(lies_there) {
        return Some(ForbiddenReason::Protected);
    }
    tree.roots().iter().any(lies_there).then_some(ForbiddenReason::Root)
}

/// Returns a path without links; if it does not exist, its directory without links.
pub(super) fn canonical(path: &Path) -> PathBuf {
    if let Ok(real) = std::fs::canonicalize(path) {
        return real;
    }
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return path.to_path_buf();
    };
    std::fs::canonicalize(parent).map_or_else(|_| path.to_path_buf(), |parent| parent.join(name))
}
