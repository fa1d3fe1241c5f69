//! The spellings of a directory's members, so that no name is created in two spellings.
//!
//! Reads a directory only if it changed since it was last read.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};

use cap_std::fs::Dir;

/// Most directories whose spellings are remembered.
const LISTINGS_MAX: usize = 64;

/// The spellings of some directories, by their paths.
#[derive(Debug, Default)]
pub(crate) struct CaseIndex(HashMap<PathBuf, Listing>);

/// The spellings of a directory's members, by folded name, as long as nothing has changed.
#[derive(Debug)]
struct Listing {
    state: DirStamp,
    spellings: HashMap<Vec<u8>, String>,
}

/// Changes whenever a directory does.
type DirStamp = (Option<cap_std::time::SystemTime>, u64);

impl CaseIndex {
    /// Returns a member's spelling: the first in byte order if several fold to the same, because
    /// that is the one that is served.
    pub(crate) fn find(
        &mut self,
        dir: &Dir,
        path: &Path,
        name: &str,
    ) -> io::Result<Option<String>> {
        let state = state(dir)?;
        if self.0.get(path).is_none_or(|known| known.state != state) {
            if self.0.len() >= LISTINGS_MAX {
                self.0.clear();
            }
            let spellings = list(dir)?;
            self.0.insert(path.to_path_buf(), Listing { state, spellings });
        }
        Ok(self.0.get(path).and_then(|known| known.spellings.get(&fold(name))).cloned())
    }

    /// Returns a member's spelling: the requested one if it exists, otherwise the first in byte
    /// order. The name of a missing member is folded.
    pub(crate) fn resolve(
        &mut self,
        dir: &Dir,
        path: &Path,
        (folded, requested): (&str, &str),
    ) -> io::Result<String> {
        let first = self.find(dir, path, folded)?;
        if first
            .as_ref()
            .is_some_and(|first| first != requested && dir.symlink_metadata(requested).is_ok())
        {
            return Ok(requested.to_owned());
        }
        Ok(first.unwrap_or_else(|| folded.to_owned()))
    }

    /// Notes that only a temporary file was created or removed.
    pub(crate) fn still_hold(&mut self, dir: &Dir, path: &Path) {
        if let (Some(known), Ok(state)) = (self.0.get_mut(path), state(dir)) {
            known.state = state;
        }
    }

    /// Notes that a member of a directory is gone, perhaps too soon for the directory's time to
    /// show it.
    pub(crate) fn forget(&mut self, path: &Path) {
        self.0.remove(path);
    }

    /// Notes that a member of this name was just created: the directory's other spellings stay
    /// valid.
    pub(crate) fn note(&mut self, dir: &Dir, path: &Path, name: &str) {
        if let (Some(known), Ok(state)) = (self.0.get_mut(path), state(dir)) {
            known.state = state;
            known.spellings.insert(fold(name), name.to_owned());
        }
    }
}

/// Returns the members of a directory whose names can be served.
fn list(dir: &Dir) -> io::Result<HashMap<Vec<u8>, String>> {
    let mut spellings: HashMap<Vec<u8>, String> = HashMap::new();
    for entry in dir.entries()? {
        let Ok(name) = entry?.file_name().into_string() else { continue };
        if name.starts_with('.') {
            continue;
        }
        let first = spellings.entry(fold(&name)).or_insert_with(|| name.clone());
        if name < *first {
            *first = name;
        }
    }
    Ok(spellings)
}

fn fold(name: &str) -> Vec<u8> {
    name.as_bytes().to_ascii_lowercase()
}

fn state(dir: &Dir) -> io::Result<DirStamp> {
    let meta = dir.dir_metadata()?;
    #[cfg(unix)]
    let inode = cap_std::fs::MetadataExt::ino(&meta);
    #[cfg(not(unix))]
    let inode = 0;
    Ok((meta.modified().ok(), inode))
}
