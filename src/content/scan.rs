//! What is on the disk, as an index: whole roots, and single paths that were touched.
//!
//! Looks only beneath the root's handle, and opens directories alone, never a file. A file keeps
//! its entry, and with it its loaded bytes, for as long as its version stays the same.
//!
//! Not in the index: names that begin with a dot, access lists (`allow_IP.txt` and their kind),
//! names that [`FileName`] refuses or that are not UTF-8, and whatever is no regular file.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use cap_std::fs::DirEntry;

use super::beneath::{Beneath, is_answer, version_of};
use super::blob::Version;
use super::index::Index;
use super::omission::{Omission, Omissions, Omitted};
use super::path::{alias, is_access_list, is_hidden, is_within, join};
use super::seen::Seen;
use super::{Catalog, Entry, Root, RootId};
use crate::wire::name::FileName;

/// Directories inside directories.
pub const DEPTH_MAX: usize = 32;
/// Links to directories on the way to one file: more are a knot.
pub const LINKED_DIRS_MAX: usize = 4;
/// Files under one root.
pub const FILES_MAX: usize = 2_000_000;
/// Links that are looked at after every change, because a watch hears of the link alone.
const LINKS_FOLLOWED_MAX: usize = 1_024;
/// Files between two pauses of a gentle scan, and how long each is: about half of one core.
const GENTLE_FILES: usize = 1_000;
const GENTLE_PAUSE: Duration = Duration::from_millis(2);

/// Looks at every root once.
#[must_use]
pub fn scan(roots: &[PathBuf]) -> (Catalog, Vec<Omissions>) {
    let mut scanners: Vec<_> =
        (0..).zip(roots).map(|(id, path)| Scanner::new(RootId(id), path, None)).collect();
    for scanner in &mut scanners {
        scanner.rescan(&mut |_| {});
    }
    let roots = scanners.iter().map(Scanner::root).collect();
    (Catalog { roots }, scanners.iter().map(Scanner::omissions).collect())
}

/// One root, as it was when it was last looked at.
#[derive(Debug)]
pub struct Scanner {
    id: RootId,
    path: PathBuf,
    /// Sleep now and then, so that a scan in the background leaves the machine to the phones.
    pub gentle: bool,
    beneath: Option<Arc<Beneath>>,
    seen: Seen,
    /// Entries made anew or taken away, ever.
    changes: u64,
    files_looked_at: usize,
    /// Why the last whole look came to nothing: the disk's doing, not the files'.
    fault: Option<String>,
    /// A test has the disk fail.
    #[cfg(test)]
    disk_fails: bool,
}

/// A directory to be read.
struct Visit {
    /// The path that led there.
    path: String,
    /// The same without links.
    real: String,
    links: usize,
}

/// Told of every directory, without links in its path, before it is read.
pub type OnDirectory<'a> = &'a mut dyn FnMut(&str);

impl Scanner {
    /// A root not looked at yet. What `previous` says of the same directory is used again where it
    /// still is true.
    #[must_use]
    pub fn new(id: RootId, path: &Path, previous: Option<&Root>) -> Self {
        let index = previous.map(|root| root.entries.clone()).unwrap_or_default();
        let known = index.iter().next().and_then(|(_, entry)| entry.beneath().cloned());
        Scanner {
            id,
            path: path.to_path_buf(),
            gentle: false,
            beneath: known.filter(|beneath| beneath.path() == path),
            seen: Seen { index, ..Seen::default() },
            changes: 0,
            files_looked_at: 0,
            fault: None,
            #[cfg(test)]
            disk_fails: false,
        }
    }

    /// The root as a part of a catalog.
    #[must_use]
    pub fn root(&self) -> Arc<Root> {
        Arc::new(Root { dir: self.path.clone(), entries: self.seen.index.clone() })
    }

    /// What was left out.
    #[must_use]
    pub fn omissions(&self) -> Omissions {
        self.seen.all_omissions()
    }

    /// Whether the root's path leads to another directory than the one that was looked at.
    #[must_use]
    pub fn has_moved(&self) -> bool {
        match &self.beneath {
            Some(beneath) => !beneath.is_in_place(),
            None => self.path.is_dir(),
        }
    }

    /// Looks at everything. True when anything is not as it was.
    ///
    /// Where the disk fails, nothing is: a root is not taken for empty because its server is away
    /// for a moment, or because the process has no descriptor left.
    pub fn rescan(&mut self, on_directory: OnDirectory<'_>) -> bool {
        let before = std::mem::take(&mut self.seen);
        let changes_before = self.changes;
        self.fault = None;
        self.open();
        let top = Visit { path: String::new(), real: String::new(), links: 0 };
        self.walk(top, Some(&before.index), on_directory);
        if let Some(fault) = self.fault.take() {
            let is_first = before.index.is_empty();
            if !is_first {
                self.seen = before;
            }
            let omitted = Omitted { count: 1, first: fault };
            self.seen.omissions.insert(Omission::Unreadable, omitted);
            return is_first && self.changes != changes_before;
        }
        if self.changes == changes_before && self.seen.index.len() == before.index.len() {
            // Nothing of what was just built says anything new, and the old one is shared already.
            self.seen.index = before.index;
            return false;
        }
        true
    }

    /// Opens the root's directory where it is another one than before.
    fn open(&mut self) {
        if self.beneath.as_ref().is_some_and(|beneath| beneath.is_in_place()) {
            return;
        }
        match Beneath::open(&self.path) {
            Ok(beneath) => self.beneath = Some(Arc::new(beneath)),
            Err(why) if is_answer(&why) => {
                self.beneath = None;
                self.omit_unless_gone("", &why);
            }
            Err(why) => self.omit_unless_gone("", &why),
        }
    }

    /// Looks at one path that was touched, and at everything that it is also known as. `written`
    /// says that bytes were written to the file in place. True when anything is not as it was.
    pub fn touch(&mut self, path: &str, written: bool, on_directory: OnDirectory<'_>) -> bool {
        let changes_before = self.changes;
        if !is_hidden(path) {
            self.look(path, written, on_directory);
        }
        let aliases: Vec<String> =
            self.seen.dir_links.iter().filter_map(|(link, real)| alias(path, link, real)).collect();
        for alias in aliases {
            self.look(&alias, written, on_directory);
        }
        self.changes != changes_before
    }

    /// Looks at what links lead to, of which no watch tells. True when anything is not as it was.
    pub fn touch_links(&mut self, on_directory: OnDirectory<'_>) -> bool {
        let changes_before = self.changes;
        let links: Vec<_> = self.seen.links.iter().take(LINKS_FOLLOWED_MAX).cloned().collect();
        for link in links {
            let real = self.seen.dir_links.get(&link);
            let leads_to = self.beneath.as_ref().and_then(|beneath| beneath.real_path(&link));
            // What changes inside the directory is told of by its own path.
            if real.is_none() || real.map(|real| &**real) != leads_to.as_deref() {
                self.look(&link, false, on_directory);
            }
        }
        self.changes != changes_before
    }

    fn look(&mut self, path: &str, written: bool, on_directory: OnDirectory<'_>) {
        let Some(beneath) = self.beneath.clone() else { return };
        let meta = match beneath.dir().symlink_metadata(path) {
            Ok(meta) => meta,
            Err(why) if is_answer(&why) => return self.forget(path, on_directory),
            // The next look at everything will tell.
            Err(_) => return,
        };
        if meta.is_file() {
            if self.seen.dirs.contains(path) {
                self.forget(path, on_directory);
            }
            self.seen.links.remove(path);
            self.seen.dir_links.remove(path);
            return self.place(path, version_of(&meta), written, None);
        }
        if meta.is_symlink() && !self.seen.dirs.contains(path) {
            let target = beneath.dir().metadata(path).ok().filter(|target| target.is_file());
            if let Some(target) = target {
                self.seen.links.insert(path.into());
                self.seen.dir_links.remove(path);
                return self.place(path, version_of(&target), written, None);
            }
        }
        let before = self.seen.index.clone();
        self.forget(path, on_directory);
        let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
        let visit = if meta.is_symlink() {
            let Some(real) = beneath.real_path(parent) else { return };
            let links = if real == parent { 0 } else { 1 };
            let parent = Visit { path: parent.to_owned(), real, links };
            self.follow(&beneath, path, &parent, Some(&before))
        } else if meta.is_dir() {
            beneath.real_path(path).map(|real| Visit { path: path.to_owned(), real, links: 0 })
        } else {
            return self.seen.omit(Omission::Special, path, "");
        };
        if let Some(visit) = visit {
            self.walk(visit, Some(&before), on_directory);
        }
    }

    fn walk(&mut self, top: Visit, before: Option<&Index>, on_directory: OnDirectory<'_>) {
        let Some(beneath) = self.beneath.clone() else { return };
        let mut visits = vec![top];
        while let Some(visit) = visits.pop() {
            // Watched first and read then, so that no change falls between the two.
            on_directory(&visit.real);
            if visit.path.split('/').count() > DEPTH_MAX {
                self.seen.omit(Omission::BeyondLimits, &visit.path, "");
                continue;
            }
            let listing = match visit.path.as_str() {
                "" => beneath.dir().entries(),
                path => beneath.dir().read_dir(path),
            };
            #[cfg(test)]
            let listing = match self.disk_fails && visit.path == "broken" {
                true => Err(io::Error::from(io::ErrorKind::StaleNetworkFileHandle)),
                false => listing,
            };
            let listing = match listing {
                Ok(listing) => listing,
                Err(why) => {
                    self.omit_unless_gone(&visit.path, &why);
                    continue;
                }
            };
            self.seen.dirs.insert(visit.path.as_str().into());
            for entry in listing {
                let further = match entry {
                    Ok(entry) => self.visit(&beneath, &visit, &entry, before),
                    Err(why) => {
                        self.omit_unless_gone(&visit.path, &why);
                        continue;
                    }
                };
                visits.extend(further);
            }
        }
    }

    /// Takes one member of a directory in. Returns it where it must be read in its turn.
    fn visit(
        &mut self,
        beneath: &Arc<Beneath>,
        parent: &Visit,
        entry: &DirEntry,
        before: Option<&Index>,
    ) -> Option<Visit> {
        let name = entry.file_name();
        let Some(name) = name.to_str() else {
            self.seen.omit(
                Omission::BadName,
                &join(&parent.path, &name.to_string_lossy()),
                "not UTF-8",
            );
            return None;
        };
        if is_hidden(name) {
            return None;
        }
        self.breathe();
        let path = join(&parent.path, name);
        let kind = match entry.file_type() {
            Ok(kind) => kind,
            Err(why) => {
                self.omit_unless_gone(&path, &why);
                return None;
            }
        };
        if kind.is_dir() {
            return Some(Visit { real: join(&parent.real, name), path, links: parent.links });
        }
        if kind.is_symlink() {
            return self.follow(beneath, &path, parent, before);
        }
        if !kind.is_file() {
            self.seen.omit(Omission::Special, &path, "");
            return None;
        }
        match entry.metadata() {
            Ok(meta) => self.place(&path, version_of(&meta), false, before),
            Err(why) => self.omit_unless_gone(&path, &why),
        }
        None
    }

    /// Takes in what a link leads to. Returns it where it is a directory to be read.
    fn follow(
        &mut self,
        beneath: &Arc<Beneath>,
        path: &str,
        parent: &Visit,
        before: Option<&Index>,
    ) -> Option<Visit> {
        self.seen.links.insert(path.into());
        self.seen.dir_links.remove(path);
        let meta = match beneath.dir().metadata(path) {
            Ok(meta) => meta,
            Err(why) => {
                self.seen.omit(Omission::BadLink, path, &why.to_string());
                return None;
            }
        };
        if meta.is_file() {
            self.place(path, version_of(&meta), false, before);
            return None;
        }
        if !meta.is_dir() {
            self.seen.omit(Omission::Special, path, "");
            return None;
        }
        let real = beneath.real_path(path)?;
        if is_within(&parent.real, &real) || parent.links >= LINKED_DIRS_MAX {
            self.seen.omit(Omission::BadLink, path, "in circles");
            return None;
        }
        self.seen.dir_links.insert(path.into(), real.as_str().into());
        Some(Visit { path: path.to_owned(), real, links: parent.links + 1 })
    }

    /// Puts a file into the index, as the entry that it had where nothing about it has changed.
    fn place(&mut self, path: &str, version: Version, written: bool, before: Option<&Index>) {
        let Some(beneath) = self.beneath.clone() else { return };
        let name = match FileName::parse(path.as_bytes()) {
            Ok(name) if is_access_list(name.as_bytes()) => return,
            Ok(name) => name,
            Err(refused) => return self.seen.omit(Omission::BadName, path, &refused.to_string()),
        };
        let name = name.as_bytes();
        if let Some(other) = self.seen.index.get(name).filter(|other| *other.path != *path) {
            let shadowed = if *path < *other.path { other.path.clone() } else { path.into() };
            let is_shadowed = *shadowed == *path;
            self.seen.shadowed.entry(name.into()).or_default().insert(shadowed);
            if is_shadowed {
                return;
            }
        }
        self.seen.unshadow(name, path);
        let before = before.unwrap_or(&self.seen.index).get(name).filter(|old| *old.path == *path);
        let entry = match before {
            Some(old) if old.version == version && old.lies_beneath(&beneath) => Arc::clone(old),
            Some(_) | None => {
                if let Some(old) = before {
                    old.doubt(&version, written);
                }
                self.changes += 1;
                Arc::new(Entry::found(self.id, path, version, &beneath))
            }
        };
        if self.seen.index.len() >= FILES_MAX && self.seen.index.get(name).is_none() {
            return self.seen.omit(Omission::BeyondLimits, path, "");
        }
        if self.seen.index.get(name).is_none_or(|there| !Arc::ptr_eq(there, &entry)) {
            self.seen.index.insert(name, entry);
        }
    }

    /// Takes a path out of the index, with everything under it where it was a directory.
    fn forget(&mut self, path: &str, on_directory: OnDirectory<'_>) {
        if self.seen.dirs.contains(path) {
            for name in self.seen.forget_directory(path) {
                self.changes += 1;
                self.look_at_shadows(&name, on_directory);
            }
        }
        self.seen.links.remove(path);
        self.seen.dir_links.remove(path);
        let Ok(name) = FileName::parse(path.as_bytes()) else { return };
        let name = name.as_bytes();
        if self.seen.index.get(name).is_none_or(|entry| *entry.path != *path) {
            return self.seen.unshadow(name, path);
        }
        self.seen.index.remove(name);
        self.changes += 1;
        self.look_at_shadows(name, on_directory);
    }

    /// Looks at the files that a name's former owner stood in front of.
    fn look_at_shadows(&mut self, name: &[u8], on_directory: OnDirectory<'_>) {
        for path in self.seen.shadowed.remove(name).unwrap_or_default() {
            self.look(&path, false, on_directory);
        }
    }

    /// What vanishes while it is looked at was not left out: it is not there.
    fn omit_unless_gone(&mut self, path: &str, why: &io::Error) {
        if !is_answer(why) {
            self.fault.get_or_insert_with(|| format!("{path} ({why})"));
        } else if path.is_empty() {
            let root = self.path.display().to_string();
            self.seen.omit(Omission::Root, &root, &why.to_string());
        } else if !matches!(why.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) {
            self.seen.omit(Omission::Unreadable, path, &why.to_string());
        }
    }

    fn breathe(&mut self) {
        self.files_looked_at = self.files_looked_at.wrapping_add(1);
        if self.gentle && self.files_looked_at.is_multiple_of(GENTLE_FILES) {
            std::thread::sleep(GENTLE_PAUSE);
        }
    }
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use std::fs;
    use std::os::unix::fs::symlink;

    fn scanner(root: &Path) -> Scanner {
        let mut scanner = Scanner::new(RootId(0), root, None);
        scanner.rescan(&mut |_| {});
        scanner
    }

    /// What is served, as `name = path`.
    fn served(scanner: &Scanner) -> BTreeMap<String, String> {
        let entries = scanner.seen.index.iter();
        entries
            .map(|(name, entry)| (name.escape_ascii().to_string(), entry.path.to_string()))
            .collect()
    }

    fn names(scanner: &Scanner) -> Vec<String> {
        served(scanner).into_keys().collect()
    }

    #[test]
    fn only_what_a_phone_may_ask_for_is_served() {
        let root = tempfile::tempdir().unwrap();
        let at = |path: &str| root.path().join(path);
        fs::create_dir_all(at("Firmware/v2")).unwrap();
        fs::create_dir_all(at(".git")).unwrap();
        for path in [
            "46xxSettings.txt",
            "Firmware/v2/Image.BIN",
            ".htaccess",
            ".git/config",
            "TFTP_allow_IP.txt",
            "Firmware/allow_ip.txt",
            "con.txt",
            "a:b",
            "r\u{e9}sum\u{e9}",
        ] {
            fs::write(at(path), "x").unwrap();
        }
        let not_utf8 = std::os::unix::ffi::OsStrExt::from_bytes(b"caf\xe9");
        fs::write(root.path().join::<&std::ffi::OsStr>(not_utf8), "x").unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
        symlink("/etc/passwd", at("out")).unwrap();
        symlink("../..", at("up")).unwrap();
        symlink(".", at("Firmware/circle")).unwrap();
        symlink("nowhere", at("dangling")).unwrap();

        let scanner = scanner(root.path());
        let wanted = ["46xxsettings.txt", "firmware/v2/image.bin", r"r\xc3\xa9sum\xc3\xa9"];
        assert_eq!(names(&scanner), wanted);
        let omissions = scanner.omissions();
        let count = |omission| omissions.get(&omission).map_or(0, |omitted| omitted.count);
        assert_eq!(count(Omission::BadName), 3);
        assert_eq!(count(Omission::BadLink), 4);
        assert_eq!(count(Omission::Special), 1);
    }

    #[test]
    fn of_two_spellings_the_first_in_byte_order_is_served() {
        let root = tempfile::tempdir().unwrap();
        for path in ["settings.txt", "SETTINGS.txt", "Settings.txt"] {
            fs::write(root.path().join(path), path).unwrap();
        }
        let mut scanner = scanner(root.path());
        assert_eq!(served(&scanner)["settings.txt"], "SETTINGS.txt");
        let omitted = scanner.omissions().remove(&Omission::Shadowed).unwrap();
        assert_eq!(omitted.count, 2);
        assert_eq!(omitted.first, "Settings.txt (served: SETTINGS.txt)");
        fs::remove_file(root.path().join("SETTINGS.txt")).unwrap();
        scanner.touch("SETTINGS.txt", false, &mut |_| {});
        assert_eq!(served(&scanner)["settings.txt"], "Settings.txt");
    }

    #[test]
    fn a_file_keeps_its_entry_as_long_as_it_is_the_same_version() {
        let root = tempfile::tempdir().unwrap();
        for path in ["same", "other"] {
            fs::write(root.path().join(path), "1").unwrap();
        }
        let mut scanner = scanner(root.path());
        let before = scanner.root();
        fs::write(root.path().join("other"), "22").unwrap();
        assert!(scanner.rescan(&mut |_| {}));
        let after = scanner.root();
        let same = |name: &[u8]| {
            Arc::ptr_eq(before.entries.get(name).unwrap(), after.entries.get(name).unwrap())
        };
        assert!(same(b"same") && !same(b"other"));
        assert!(!scanner.rescan(&mut |_| {}), "nothing has changed");
        assert!(!scanner.touch("same", true, &mut |_| {}));

        let again = Scanner::new(RootId(0), root.path(), Some(&after));
        let mut again = again;
        assert!(!again.rescan(&mut |_| {}), "another scanner goes on where the first ended");
    }

    #[test]
    fn a_root_that_is_away_is_empty_and_comes_back() {
        let parent = tempfile::tempdir().unwrap();
        let root = parent.path().join("root");
        let mut scanner = scanner(&root);
        assert!(names(&scanner).is_empty());
        assert!(scanner.omissions().contains_key(&Omission::Root) && !scanner.has_moved());
        fs::create_dir(&root).unwrap();
        fs::write(root.join("a"), "x").unwrap();
        assert!(scanner.has_moved() && scanner.rescan(&mut |_| {}));
        assert_eq!(names(&scanner), ["a"]);
        fs::rename(&root, parent.path().join("away")).unwrap();
        assert!(scanner.has_moved() && scanner.rescan(&mut |_| {}));
        assert!(names(&scanner).is_empty());
    }

    #[test]
    fn a_disk_that_cannot_be_asked_is_not_taken_for_empty() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("broken")).unwrap();
        for path in ["a", "broken/b"] {
            fs::write(root.path().join(path), "x").unwrap();
        }
        let mut scanner = scanner(root.path());
        let before = served(&scanner);
        scanner.disk_fails = true;
        fs::write(root.path().join("c"), "x").unwrap();
        assert!(!scanner.rescan(&mut |_| {}));
        assert_eq!(served(&scanner), before, "as it was");
        assert!(scanner.omissions()[&Omission::Unreadable].first.starts_with("broken ("));
        scanner.disk_fails = false;
        assert!(scanner.rescan(&mut |_| {}));
        assert_eq!(names(&scanner), ["a", "broken/b", "c"]);

        let mut first = Scanner::new(RootId(0), root.path(), None);
        first.disk_fails = true;
        assert!(first.rescan(&mut |_| {}));
        assert_eq!(names(&first), ["a", "c"], "the first look keeps what it can");
    }

    #[test]
    fn a_knot_of_links_is_followed_only_so_far() {
        let root = tempfile::tempdir().unwrap();
        for dir in ["a", "b", "c"] {
            fs::create_dir(root.path().join(dir)).unwrap();
            fs::write(root.path().join(dir).join("file"), "x").unwrap();
        }
        for (link, to) in [("a/l", "../b"), ("b/l", "../c"), ("c/l", "../a")] {
            symlink(to, root.path().join(link)).unwrap();
        }
        let scanner = scanner(root.path());
        assert!(names(&scanner).contains(&"a/l/l/file".to_owned()));
        assert!(names(&scanner).len() <= 3 * (LINKED_DIRS_MAX + 1));
    }

    #[test]
    fn what_lies_behind_links_follows_its_target() {
        let root = tempfile::tempdir().unwrap();
        let at = |path: &str| root.path().join(path);
        fs::create_dir_all(at(".store/v1")).unwrap();
        fs::write(at(".store/v1/image"), "1").unwrap();
        symlink(".store/v1", at("current")).unwrap();
        symlink("current/image", at("image.bin")).unwrap();
        let mut scanner = scanner(root.path());
        assert_eq!(names(&scanner), ["current/image", "image.bin"]);
        let size =
            |scanner: &Scanner, name: &[u8]| scanner.seen.index.get(name).unwrap().version.bytes;

        fs::write(at(".store/v1/image"), "22").unwrap();
        scanner.touch(".store/v1/image", true, &mut |_| {});
        scanner.touch_links(&mut |_| {});
        assert_eq!(size(&scanner, b"current/image"), 2);
        assert_eq!(size(&scanner, b"image.bin"), 2);

        fs::create_dir_all(at(".store/v2")).unwrap();
        fs::write(at(".store/v2/image"), "333").unwrap();
        fs::remove_file(at("current")).unwrap();
        symlink(".store/v2", at("current")).unwrap();
        scanner.touch("current", false, &mut |_| {});
        scanner.touch_links(&mut |_| {});
        assert_eq!(size(&scanner, b"current/image"), 3);
        assert_eq!(size(&scanner, b"image.bin"), 3);
    }

    /// A few names, so that changes meet each other, in several spellings, so that they fold.
    const PLACES: [&str; 10] =
        ["a", "A", "b", "dir", "Dir", "dir/a", "Dir/A", "dir/sub", "dir/sub/x", "link"];

    /// Changes something and says which paths a watch would tell of.
    fn change(root: &Path, step: usize, choice: u64) -> Vec<String> {
        let place = PLACES[choice as usize % PLACES.len()];
        let other = PLACES[(choice >> 8) as usize % PLACES.len()];
        let at = root.join(place);
        let told_of = |at: &Path| {
            let parent = at.parent().unwrap().canonicalize().unwrap_or_default();
            let real = parent.join(at.file_name().unwrap());
            real.strip_prefix(root).map(|path| path.to_str().unwrap().to_owned()).ok()
        };
        let mut told = Vec::from_iter(told_of(&at));
        match choice >> 16 & 7 {
            0 | 1 => {
                drop(fs::write(&at, step.to_string().repeat(1 + step % 3)));
                // Written through a link, it is another file that changes.
                told.extend(at.canonicalize().ok().as_deref().and_then(told_of));
            }
            2 => drop(fs::create_dir(&at)),
            3 => drop(fs::remove_file(&at)),
            4 => drop(fs::remove_dir_all(&at)),
            5 => drop(symlink(other, &at)),
            _ => {
                told.extend(told_of(&root.join(other)));
                drop(fs::rename(&at, root.join(other)));
            }
        }
        told
    }

    #[test]
    fn touching_what_changed_comes_to_the_same_as_looking_at_everything() {
        for seed in 0..40_u64 {
            let root = tempfile::tempdir().unwrap();
            let mut touched = scanner(root.path());
            let mut dice = seed;
            for step in 0..100 {
                dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(99);
                let places = change(root.path(), step, dice >> 32);
                for place in &places {
                    touched.touch(place, false, &mut |_| {});
                }
                touched.touch_links(&mut |_| {});
                let afresh = scanner(root.path());
                assert_eq!(
                    served(&touched),
                    served(&afresh),
                    "seed {seed}, step {step}: {places:?}"
                );
                let versions = |of: &Scanner| -> BTreeMap<Vec<u8>, Version> {
                    of.seen.index.iter().map(|(name, e)| (name.to_vec(), e.version)).collect()
                };
                assert_eq!(versions(&touched), versions(&afresh), "seed {seed}, step {step}");
                assert_eq!(touched.seen.index.len(), afresh.seen.index.iter().count());
            }
        }
    }
}
