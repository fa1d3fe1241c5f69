//! Administrators' changes other than uploads: directories, names, times.
//!
//! Never replaces or removes a directory that is not empty, never touches what belongs to the
//! server or to the configuration, and never changes a file in place.

use std::io;

use super::resolve::{WriteTarget, canonical, must_stay, present};
use super::thread::Files;
use crate::durable::{DiskStep, make_directory, placement, sweep};
use engine::files::{FilesError, ForbiddenReason, Tree, TreePath};

impl Files {
    /// Creates a directory.
    pub(super) fn make_directory(
        &mut self,
        tree: &Tree,
        at: &TreePath,
    ) -> Result<TreePath, FilesError> {
        let target = self.new_target(tree, at)?;
        if target.found.is_some() {
            return Err(FilesError::Exists);
        }
        let made = self
            .disk
            .reach(DiskStep::MakeDirectory)
            .and_then(|()| make_directory(&target.dir, &target.name, 0));
        made.map_err(|why| self.fault(&why, "make", &target.full()))?;
        self.disk.changed(&target.path, &target.dir);
        self.case_index.note(&target.dir, &target.path, &target.name);
        self.publish(&[target.full()])?;
        Ok(target.at)
    }

    /// Removes a directory that holds nothing but remains of uploads after a crash.
    pub(super) fn remove_directory(
        &mut self,
        tree: &Tree,
        at: &TreePath,
    ) -> Result<(), FilesError> {
        let target = self.write_target(tree, at)?;
        let found = target.found.as_ref().ok_or(FilesError::NotThere)?;
        if !found.is_dir() {
            return Err(FilesError::NotDirectory);
        }
        if let Some(why) = must_stay(tree, &canonical(&target.full())) {
            return Err(FilesError::Forbidden(why));
        }
        if let Ok(dir) = target.dir.open_dir(&target.name) {
            sweep(&dir, 0);
        }
        let removed = target.dir.remove_dir(&target.name);
        self.gone(&target, removed)
    }

    /// Removes a file, or a link itself.
    pub(super) fn delete(&mut self, tree: &Tree, at: &TreePath) -> Result<(), FilesError> {
        let target = self.write_target(tree, at)?;
        let found = target.found.as_ref().ok_or(FilesError::NotThere)?;
        if found.is_dir() {
            return Err(FilesError::IsDirectory);
        }
        let alone = placement::lock();
        let removed = target.dir.remove_file(&target.name);
        drop(alone);
        self.gone(&target, removed)
    }

    fn gone(&mut self, target: &WriteTarget, removed: io::Result<()>) -> Result<(), FilesError> {
        removed.map_err(|why| self.fault(&why, "remove", &target.full()))?;
        self.disk.changed(&target.path, &target.dir);
        self.broken_off.remove(&target.full());
        self.publish(&[target.full()])
    }

    /// Renames or moves something.
    pub(super) fn rename(
        &mut self,
        tree: &Tree,
        from: &TreePath,
        to: &TreePath,
    ) -> Result<(), FilesError> {
        let old = self.write_target(tree, from)?;
        let found = old.found.as_ref().ok_or(FilesError::NotThere)?;
        let is_directory = found.is_dir();
        if is_directory && let Some(why) = must_stay(tree, &canonical(&old.full())) {
            return Err(FilesError::Forbidden(why));
        }
        let mut new = self.new_target(tree, to)?;
        // Only the case of its name changes.
        if new.full() == old.full() {
            new.name = to.name().to_owned();
            let spelled_so = present(new.dir.symlink_metadata(&new.name));
            if new.name == old.name {
                return Ok(());
            }
            new.found = spelled_so.map_err(|why| self.fault(&why, "look at", &new.full()))?;
        }
        match &new.found {
            Some(there) if is_directory || there.is_dir() => return Err(FilesError::Exists),
            Some(_) | None => {}
        }
        let alone = placement::lock();
        let renamed = self
            .disk
            .reach(DiskStep::Rename)
            .and_then(|()| old.dir.rename(&old.name, &new.dir, &new.name));
        drop(alone);
        renamed.map_err(|why| match why.kind() == io::ErrorKind::InvalidInput {
            true => FilesError::Forbidden(ForbiddenReason::IntoItself),
            false => self.fault(&why, "rename", &old.full()),
        })?;
        self.disk.changed(&old.path, &old.dir);
        self.disk.changed(&new.path, &new.dir);
        self.broken_off.remove(&new.full());
        self.case_index.note(&new.dir, &new.path, &new.name);
        self.publish(&[old.full(), new.full()])
    }
}
