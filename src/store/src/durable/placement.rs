//! Serializes the renames: one at a time, and only after a check of what the target holds.
//!
//! Several threads change one directory: the writer for phones, and the administrators' thread. A
//! change that builds on an old version (append, resume, condition) notes what it saw when it
//! began, and compares that under [`lock`] with what is there just before the rename. If they
//! differ, it begins anew or refuses. The lock is held no longer than one rename takes, and nothing
//! is written meanwhile.

use std::io;

use cap_std::fs::Dir;
use parking_lot::{Mutex, MutexGuard};

use crate::version::version_of;
use engine::catalog::blob::Version;

/// How often a change that others overtake begins anew.
pub(crate) const REDOS_MAX: usize = 32;

/// Held from the last check of a target to the rename, removal or creation there.
static PLACES: Mutex<()> = Mutex::new(());

/// Waits until no other thread of this process places a file.
pub(crate) fn lock() -> MutexGuard<'static, ()> {
    PLACES.lock()
}

/// What a name in a directory referred to at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Occupant {
    /// The file, or a link itself; `None` if there is nothing.
    itself: Option<Version>,
    /// A link's target, as far as it may be followed.
    target: Option<Version>,
}

impl Occupant {
    /// Checks a name.
    pub(crate) fn at(dir: &Dir, name: &str) -> io::Result<Occupant> {
        let meta = match dir.symlink_metadata(name) {
            Ok(meta) => meta,
            Err(none) if none.kind() == io::ErrorKind::NotFound => return Ok(Occupant::default()),
            Err(why) => return Err(why),
        };
        let target = match meta.is_symlink() {
            true => dir.metadata(name).ok().map(|meta| version_of(&meta)),
            false => None,
        };
        Ok(Occupant { itself: Some(version_of(&meta)), target })
    }

    /// Returns whether there was anything.
    pub(crate) fn exists(&self) -> bool {
        self.itself.is_some()
    }

    /// Returns the version of the file, or of a link itself.
    pub(crate) fn version(&self) -> Option<&Version> {
        self.itself.as_ref()
    }
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use super::*;
    use cap_std::ambient_authority;
    use std::fs;

    #[test]
    fn whatever_changes_at_a_name_is_seen() {
        let top = tempfile::tempdir().unwrap();
        let dir = Dir::open_ambient_dir(top.path(), ambient_authority()).unwrap();
        let see = || Occupant::at(&dir, "a").unwrap();
        let path = top.path().join("a");
        let mut before = see();
        assert!(!before.exists());
        let mut changed = |step: &str| {
            let now = see();
            assert!(now != before, "{step} was not seen");
            before = now;
        };
        fs::write(&path, "one").unwrap();
        changed("a new file");
        fs::write(top.path().join("b"), "two").unwrap();
        let date = fs::metadata(&path).unwrap().modified().unwrap();
        let other = fs::File::options().write(true).open(top.path().join("b")).unwrap();
        other.set_modified(date).unwrap();
        fs::rename(top.path().join("b"), &path).unwrap();
        changed("another file of the same size and date");
        fs::rename(&path, top.path().join("c")).unwrap();
        std::os::unix::fs::symlink("c", &path).unwrap();
        changed("a link");
        fs::write(top.path().join("c"), "three").unwrap();
        changed("what the link leads to");
        fs::remove_file(&path).unwrap();
        changed("that it is gone");
    }
}
