//! Links to directories: the links on the way to one, and how many directories links lead to.
//!
//! Directories that link to one another have more paths than can be followed. So a path meets each
//! real directory at most once, and only so many paths are followed. Never reads a directory.

use std::io;
use std::sync::Arc;

use super::path::is_within;
use super::root_dir::{RootDir, is_answer};
use super::scan::{Scanner, Touch, Visit};
use super::scan_state::parent;
use engine::catalog::index::Index;
use engine::catalog::omission::Omission;

/// Most links to directories on the way to one file.
pub(crate) const LINKED_DIRS_MAX: usize = 4;
/// Most directories read through links in one pass.
pub(crate) const LINKED_READS_MAX: usize = 100_000;
/// Most of them that lie behind two links or more.
pub(crate) const KNOT_READS_MAX: usize = 5_000;
/// The reason given for further ones.
pub(super) const TOO_MANY: &str = "too many directories are reached through links already";

/// The links on the way to a directory, the last one first.
#[derive(Clone, Debug, Default)]
pub(super) struct Chain(Option<Arc<Link>>);

#[derive(Debug)]
struct Link {
    /// The directory that it lies in, without links.
    lies_in: Box<str>,
    before: Chain,
}

impl Chain {
    /// Returns the chain with one more link, which lies in `lies_in`.
    pub(super) fn with(&self, lies_in: &str) -> Chain {
        Chain(Some(Arc::new(Link { lies_in: lies_in.into(), before: self.clone() })))
    }

    /// How many links there are.
    pub(super) fn len(&self) -> usize {
        self.links().count()
    }

    /// Returns whether a directory leads back to one from which a link was followed.
    pub(super) fn leads_back(&self, real: &str) -> bool {
        self.links().any(|link| is_within(&link.lies_in, real))
    }

    fn links(&self) -> impl Iterator<Item = &Link> {
        std::iter::successors(self.0.as_deref(), |link| link.before.0.as_deref())
    }
}

/// Directories that were read through links.
#[derive(Debug, Default)]
pub(super) struct LinkedReads {
    all: usize,
    knotted: usize,
}

impl LinkedReads {
    /// Whether one more behind so many links may be read.
    pub(super) fn has_room(&self, links: usize) -> bool {
        match links {
            0 => true,
            1 => self.all < LINKED_READS_MAX,
            _ => self.all < LINKED_READS_MAX && self.knotted < KNOT_READS_MAX,
        }
    }

    /// Notes that one behind so many links is read.
    pub(super) fn count(&mut self, links: usize) {
        self.all += usize::from(links > 0);
        self.knotted += usize::from(links > 1);
    }
}

impl Scanner {
    /// A directory with the links on the way to it.
    pub(super) fn way_to(&self, root_dir: &RootDir, path: &str) -> Option<Visit> {
        let mut chain = Chain::default();
        let ends = path.match_indices('/').map(|(end, _)| end).chain([path.len()]);
        for link in ends.map(|end| &path[..end]).filter(|it| self.state.dir_links.contains_key(*it))
        {
            chain = chain.with(&root_dir.real_path(parent(link))?);
        }
        Some(Visit { path: path.to_owned(), real: root_dir.real_path(path)?, chain })
    }

    /// Takes in the target of a link. Returns it if it is a directory to be read.
    pub(super) fn follow(
        &mut self,
        root_dir: &Arc<RootDir>,
        path: &str,
        parent: &Visit,
        before: Option<&Index>,
    ) -> Option<Visit> {
        self.note_link(path);
        self.state.dir_links.remove(path);
        let meta = match root_dir.metadata(path) {
            Ok(meta) => meta,
            Err(why) if is_answer(&why) => {
                let why = link_fault(root_dir, path, &why);
                self.omit(Omission::BadLink, path, &why);
                return None;
            }
            Err(why) => {
                self.cannot_read(path, &why);
                return None;
            }
        };
        if meta.is_file() {
            self.place(path, &meta, Touch::default(), before);
            return None;
        }
        if !meta.is_dir() {
            self.omit(Omission::Special, path, "");
            return None;
        }
        let real = root_dir.real_path(path)?;
        let chain = parent.chain.with(&parent.real);
        if chain.leads_back(&real) || chain.len() > LINKED_DIRS_MAX {
            self.omit(Omission::BadLink, path, "it leads in circles");
            return None;
        }
        if !self.linked.has_room(chain.len()) {
            self.omit(Omission::BeyondLimits, path, TOO_MANY);
            return None;
        }
        self.state.dir_links.insert(path.into(), real.as_str().into());
        Some(Visit { path: path.to_owned(), real, chain })
    }
}

/// Describes why nothing can be served through a link.
fn link_fault(root_dir: &RootDir, path: &str, why: &io::Error) -> String {
    match root_dir.link_target(path) {
        Some(target) if why.kind() == io::ErrorKind::NotFound => {
            format!("it leads to {}, which is not there", target.display())
        }
        Some(_) | None => why.to_string(),
    }
}
