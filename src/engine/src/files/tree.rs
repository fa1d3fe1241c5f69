//! The tree that an administrator sees: the directories that files are served from, and nothing
//! else of the system.
//!
//! Built from the settings, as text; never looks at a disk.

use std::path::{Path, PathBuf};

use super::TreePath;

/// Largest file that is accepted, by default.
pub const FILE_BYTES_MAX: u64 = 16 << 30;

/// The directories that files are served from, as directories below `/`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tree {
    areas: Vec<Area>,
    /// The directories of the configuration, which cannot be moved or removed.
    roots: Vec<PathBuf>,
    protected: Vec<PathBuf>,
    /// Largest file that is accepted, in bytes. Default [`FILE_BYTES_MAX`].
    pub bytes_max: u64,
}

/// A directory that files are served from and that lies in no other one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Area {
    /// Its path in the tree, without a leading slash.
    pub name: Box<str>,
    /// Its path on the disk.
    pub dir: PathBuf,
}

/// What a path of the tree means, before looking at a disk.
#[derive(Debug, PartialEq, Eq)]
pub enum PathTarget<'a> {
    /// A directory that exists only in the tree: the names in it.
    Virtual(Vec<&'a str>),
    /// In an area: the rest of the path, "" for the area itself.
    In(&'a Area, String),
    /// Nothing.
    Nothing,
}

impl Tree {
    /// Makes the tree of these roots, each of which appears once. An area is named by its path
    /// below `data_dir`, or by its last name if it lies elsewhere; a root within another appears
    /// there. `protected` paths (the vault, keys, the log, users) do not appear, not even within a
    /// root.
    #[must_use]
    pub fn new(data_dir: &Path, roots: &[PathBuf], protected: &[PathBuf]) -> Tree {
        let is_shown = |dir: &PathBuf| {
            !protected.iter().any(|own| dir.starts_with(own))
                && !roots.iter().any(|other| other != dir && dir.starts_with(other))
        };
        let mut shown: Vec<&PathBuf> = roots.iter().filter(|dir| is_shown(dir)).collect();
        shown.sort_unstable();
        shown.dedup();
        // Those below `data_dir` first, so that they keep their names.
        shown.sort_by_key(|dir| !lies_below(dir, data_dir));
        let mut areas: Vec<Area> = Vec::new();
        for dir in shown {
            let name = match dir.strip_prefix(data_dir) {
                Ok(path) if lies_below(dir, data_dir) => slashed(path),
                Ok(_) | Err(_) => distinct(dir, &areas),
            };
            areas.push(Area { name: name.into(), dir: dir.clone() });
        }
        areas.sort_by(|one, other| one.name.cmp(&other.name));
        let (roots, protected) = (roots.to_vec(), protected.to_vec());
        Tree { areas, roots, protected, bytes_max: FILE_BYTES_MAX }
    }

    /// Returns the areas, by name.
    #[must_use]
    pub fn areas(&self) -> &[Area] {
        &self.areas
    }

    /// Returns the paths that belong to the server itself.
    #[must_use]
    pub fn protected(&self) -> &[PathBuf] {
        &self.protected
    }

    /// Returns every directory of the configuration that files are served from.
    #[must_use]
    pub fn roots(&self) -> &[PathBuf] {
        &self.roots
    }

    /// Finds what a path means. The exact spelling wins over any other.
    #[must_use]
    pub fn find(&self, path: &TreePath) -> PathTarget<'_> {
        let same = |one: &str, other: &str| one == other;
        match self.find_by(path, same) {
            PathTarget::Nothing => self.find_by(path, str::eq_ignore_ascii_case),
            found @ (PathTarget::Virtual(_) | PathTarget::In(..)) => found,
        }
    }

    fn find_by(&self, path: &TreePath, same: impl Fn(&str, &str) -> bool) -> PathTarget<'_> {
        let requested: Vec<&str> = path.parts().collect();
        let mut members = Vec::new();
        for area in &self.areas {
            let parts: Vec<&str> = area.name.split('/').collect();
            let agrees =
                parts.iter().zip(&requested).all(|(part, requested)| same(part, requested));
            match parts.get(requested.len()) {
                None if agrees => return PathTarget::In(area, requested[parts.len()..].join("/")),
                Some(next) if agrees && !members.contains(next) => members.push(*next),
                Some(_) | None => {}
            }
        }
        match members.is_empty() && !path.is_top() {
            true => PathTarget::Nothing,
            false => PathTarget::Virtual(members),
        }
    }
}

fn lies_below(dir: &Path, data_dir: &Path) -> bool {
    dir != data_dir && dir.starts_with(data_dir)
}

/// Joins a path with `/` between its parts, without characters that a line could not hold.
fn slashed(path: &Path) -> String {
    let parts: Vec<_> = path.iter().map(|part| printable(&part.to_string_lossy())).collect();
    parts.join("/")
}

fn printable(name: &str) -> String {
    name.replace(|c: char| c.is_control() || c == '\\', "_")
}

/// Returns the last name of a directory, with a number if it is taken.
fn distinct(dir: &Path, areas: &[Area]) -> String {
    let last = dir.file_name().map_or_else(|| "root".into(), |name| name.to_string_lossy());
    let last = printable(&last);
    let is_taken = |name: &str| {
        let first = |area: &Area| area.name.split('/').next().unwrap_or_default().to_owned();
        areas.iter().any(|area| first(area).eq_ignore_ascii_case(name))
    };
    let numbered = (2..).map(|number| format!("{last}-{number}"));
    let mut names = std::iter::once(last.clone()).chain(numbered);
    names.find(|name| !is_taken(name)).unwrap_or(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATA: &str = "/var/lib/ringpost";

    fn tree(roots: &[&str], protected: &[&str]) -> Tree {
        let paths = |texts: &[&str]| texts.iter().map(PathBuf::from).collect::<Vec<_>>();
        Tree::new(Path::new(DATA), &paths(roots), &paths(protected))
    }

    fn names(tree: &Tree) -> Vec<&str> {
        tree.areas().iter().map(|area| &*area.name).collect()
    }

    fn at(path: &str) -> TreePath {
        TreePath::parse(&TreePath::default(), path.as_bytes()).unwrap()
    }

    /// Describes a path: the directory and the rest, or the names in a virtual directory.
    fn found(tree: &Tree, path: &str) -> String {
        match tree.find(&at(path)) {
            PathTarget::Virtual(names) => format!("[{}]", names.join(" ")),
            PathTarget::In(area, rest) => format!("{}:{rest}", area.dir.display()),
            PathTarget::Nothing => "nothing".into(),
        }
    }

    #[test]
    fn each_root_is_there_once_by_its_path_below_the_data_directory() {
        let tree = tree(
            &[
                "/var/lib/ringpost/tftp",
                "/var/lib/ringpost/common",
                "/var/lib/ringpost/common",
                "/var/lib/ringpost/site/b",
                "/var/lib/ringpost/site/a",
            ],
            &[],
        );
        assert_eq!(names(&tree), ["common", "site/a", "site/b", "tftp"]);
        assert_eq!(found(&tree, "/"), "[common site tftp]");
        assert_eq!(found(&tree, "/site"), "[a b]");
        assert_eq!(found(&tree, "/site/a"), "/var/lib/ringpost/site/a:");
        assert_eq!(found(&tree, "/site/a/x/y"), "/var/lib/ringpost/site/a:x/y");
        assert_eq!(found(&tree, "/site/c"), "nothing");
        assert_eq!(found(&tree, "/commo"), "nothing");
        assert_eq!(found(&tree, "/Common/X"), "/var/lib/ringpost/common:X");
        assert_eq!(found(&tree, "/SITE"), "[a b]");
    }

    #[test]
    fn a_root_that_lies_elsewhere_has_its_last_name_made_distinct() {
        let tree = tree(
            &[
                "/srv/common",
                "/mnt/Site",
                "/opt/common",
                "/",
                "/var/lib/ringpost/common",
                "/var/lib/ringpost/site/a",
            ],
            &[],
        );
        // The root of the system holds all others.
        assert_eq!(names(&tree), ["root"]);
        let tree = self::tree(
            &[
                "/srv/common",
                "/mnt/Site",
                "/opt/common",
                "/var/lib/ringpost/common",
                "/var/lib/ringpost/site/a",
            ],
            &[],
        );
        assert_eq!(names(&tree), ["Site-2", "common", "common-2", "common-3", "site/a"]);
        assert_eq!(found(&tree, "/common"), "/var/lib/ringpost/common:");
        assert_eq!(found(&tree, "/common-2"), "/opt/common:");
    }

    #[test]
    fn a_root_in_another_root_is_seen_there_alone() {
        let tree = tree(&["/var/lib/ringpost/common/fw", "/var/lib/ringpost/common"], &[]);
        assert_eq!(names(&tree), ["common"]);
        assert_eq!(tree.roots().len(), 2);
        let tree = self::tree(&[DATA, "/var/lib/ringpost/common"], &[]);
        assert_eq!(names(&tree), ["ringpost"]);
        assert_eq!(found(&tree, "/ringpost/common"), "/var/lib/ringpost:common");
    }

    #[test]
    fn a_root_in_what_belongs_to_the_server_is_not_there() {
        let vault = "/var/lib/ringpost/vault";
        let tree = tree(&["/var/lib/ringpost/vault/2001", "/var/lib/ringpost/common"], &[vault]);
        assert_eq!(names(&tree), ["common"]);
        assert_eq!(found(&tree, "/vault"), "nothing");
    }

    #[test]
    fn names_that_no_line_could_hold_are_made_printable() {
        let tree = tree(&["/srv/a\nb", "/var/lib/ringpost/c\\d"], &[]);
        assert_eq!(names(&tree), ["a_b", "c_d"]);
    }

    #[test]
    fn no_root_makes_an_empty_top() {
        assert_eq!(found(&tree(&[], &[]), "/"), "[]");
        assert_eq!(found(&tree(&[], &[]), "/x"), "nothing");
    }
}
