//! Scans one root into an index: single paths that were touched here, everything in `pass.rs`.
//!
//! Looks only beneath the root's handle, and opens only directories. A file keeps its entry, and
//! with it its loaded bytes, as long as its version stays the same. What cannot be looked at stays
//! as it was last seen.
//!
//! Not in the index: names that begin with a dot, access lists (`allow_IP.txt` and their kind),
//! names that [`FileName`] refuses or that are not UTF-8, and everything but regular files.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use cap_std::fs::{DirEntry, FileType, Metadata, ReadDir};

use super::hasher::Digests;
use super::links::{Chain, LinkedReads, TOO_MANY};
use super::pass::Pass;
use super::path::{alias, is_access_list, is_hidden, join};
use super::root_dir::{RootDir, is_answer, lies_beneath, may_read, root_dir_of};
use super::scan_state::{ScanState, parent};
use crate::version::version_of;
use engine::catalog::blob::Version;
use engine::catalog::index::Index;
use engine::catalog::omission::{Omission, Omissions, Omitted};
use engine::catalog::{Entry, Root, RootHandle, RootId};
use wire::name::FileName;

/// Most nested directories.
pub(crate) const DEPTH_MAX: usize = 32;
/// Most files under one root.
pub(crate) const FILES_MAX: usize = 2_000_000;
/// Most links that are checked after every change, because a watch reports only the link itself.
const LINKS_FOLLOWED_MAX: usize = 1_024;

/// Scans every root once.
#[cfg(test)]
pub(crate) fn scan(roots: &[PathBuf]) -> (engine::catalog::Catalog, Vec<Omissions>) {
    let mut scanners: Vec<_> =
        (0..).zip(roots).map(|(id, path)| Scanner::new(RootId(id), path, None)).collect();
    for scanner in &mut scanners {
        scanner.rescan(&mut |_| {});
    }
    let roots = scanners.iter().map(Scanner::root).collect();
    (engine::catalog::Catalog { roots }, scanners.iter().map(Scanner::omissions).collect())
}

/// One root as of the last scan.
#[derive(Debug)]
pub(crate) struct Scanner {
    id: RootId,
    pub(super) path: PathBuf,
    pub(super) root_dir: Option<Arc<RootDir>>,
    pub(super) state: ScanState,
    /// How many entries were created or removed, and other published changes, since the start.
    pub(super) changes: u64,
    /// The pass under way.
    pub(super) pass: Option<Pass>,
    /// Why the root cannot be read now.
    pub(super) fault: Option<Arc<str>>,
    /// Whether a pass has completed.
    pub(super) is_known: bool,
    digests: Arc<Digests>,
    /// Set when the result is no longer wanted.
    stopping: Arc<AtomicBool>,
    /// What was read through links since the current look began.
    pub(super) linked: LinkedReads,
    /// A test makes the disk fail.
    #[cfg(test)]
    disk_fails: bool,
}

/// A directory to read.
#[derive(Debug)]
pub(super) struct Visit {
    /// The path that led there.
    pub(super) path: String,
    /// The same without links.
    pub(super) real: String,
    /// The links on the way.
    pub(super) chain: Chain,
}

/// What is known of a touch besides its path.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Touch {
    /// The file was written to in place.
    pub written: bool,
    /// This process has put this version there whole, by rename.
    pub placed: Option<Version>,
}

/// Called with every directory, without links in its path, before it is read.
pub(crate) type OnDirectory<'a> = &'a mut dyn FnMut(&str);

impl Scanner {
    /// Creates a scanner of a root not yet scanned. Reuses what `previous` knows of the same
    /// directory if it is still true.
    #[must_use]
    pub(crate) fn new(id: RootId, path: &Path, previous: Option<&Root>) -> Self {
        let previous = previous.filter(|root| root.dir == path);
        let index = previous.map(|root| root.entries.clone()).unwrap_or_default();
        let known = index.iter().next().and_then(|(_, entry)| root_dir_of(entry));
        Scanner {
            id,
            path: path.to_path_buf(),
            root_dir: known.filter(|root_dir| root_dir.path() == path),
            state: ScanState::of(index),
            changes: 0,
            pass: None,
            fault: None,
            is_known: previous.is_some_and(|root| !root.is_unknown),
            digests: Arc::default(),
            stopping: Arc::default(),
            linked: LinkedReads::default(),
            #[cfg(test)]
            disk_fails: false,
        }
    }

    /// Sets the known digests.
    #[must_use]
    pub(crate) fn with_digests(self, digests: Arc<Digests>) -> Self {
        Scanner { digests, ..self }
    }

    /// Sets a flag that ends the scan early; the result is incomplete then.
    #[must_use]
    pub(crate) fn with_end(self, stopping: Arc<AtomicBool>) -> Self {
        Scanner { stopping, ..self }
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.load(Relaxed)
    }

    /// Returns the root as a part of a catalog.
    #[must_use]
    pub(crate) fn root(&self) -> Arc<Root> {
        Arc::new(Root {
            dir: self.path.clone(),
            entries: self.state.index.clone(),
            omitted: Arc::clone(&self.state.omitted),
            fault: self.fault.clone(),
            is_unknown: !self.is_known,
        })
    }

    /// Returns what was left out.
    #[must_use]
    pub(crate) fn omissions(&self) -> Omissions {
        let mut omissions = self.state.all_omissions();
        if let Some(fault) = &self.fault {
            let first = format!("{} ({fault})", self.path.display());
            omissions.insert(Omission::Root, Omitted { count: 1, first });
        }
        omissions
    }

    /// Looks at one touched path, and at all its aliases. Returns true if anything has changed.
    pub(crate) fn touch(
        &mut self,
        path: &str,
        touch: Touch,
        on_directory: OnDirectory<'_>,
    ) -> bool {
        let changes_before = self.changes;
        let omitted_before = Arc::clone(&self.state.omitted);
        // A pass under way keeps its own count.
        let linked = std::mem::take(&mut self.linked);
        if !is_hidden(path) {
            self.scan_path(path, touch, on_directory);
        }
        let aliases: Vec<String> = self
            .state
            .dir_links
            .iter()
            .filter_map(|(link, real)| alias(path, link, real))
            .collect();
        for alias in aliases {
            self.scan_path(&alias, touch, on_directory);
        }
        self.linked = linked;
        self.changes != changes_before || !Arc::ptr_eq(&omitted_before, &self.state.omitted)
    }

    /// Checks the targets of links, which no watch reports. Returns true if anything has changed.
    pub(crate) fn touch_links(&mut self, on_directory: OnDirectory<'_>) -> bool {
        let changes_before = self.changes;
        let linked = std::mem::take(&mut self.linked);
        let links: Vec<_> = self.state.links.iter().take(LINKS_FOLLOWED_MAX).cloned().collect();
        for link in links {
            let real = self.state.dir_links.get(&link);
            let leads_to = self.root_dir.as_ref().and_then(|root_dir| root_dir.real_path(&link));
            // Changes inside the directory are reported under its own path.
            if real.is_none() || real.map(|real| &**real) != leads_to.as_deref() {
                self.scan_path(&link, Touch::default(), on_directory);
            }
        }
        self.linked = linked;
        self.changes != changes_before
    }

    pub(super) fn scan_path(&mut self, path: &str, touch: Touch, on_directory: OnDirectory<'_>) {
        let Some(root_dir) = self.root_dir.clone() else { return };
        let meta = match root_dir.symlink_metadata(path) {
            Ok(meta) => meta,
            // If the whole root is away, the path is not missing.
            Err(why) if is_answer(&why) && !root_dir.is_in_place() => return,
            Err(why) if is_answer(&why) => {
                self.clear_omission(path);
                return self.forget(path);
            }
            // It stays as it was known.
            Err(why) => return self.cannot_read(path, &why),
        };
        if meta.is_file() {
            if self.state.dirs.contains(path) {
                self.forget(path);
            }
            self.state.links.remove(path);
            self.state.dir_links.remove(path);
            return self.place(path, &meta, touch, None);
        }
        if meta.is_symlink() && !self.state.dirs.contains(path) {
            let target = root_dir.metadata(path).ok().filter(Metadata::is_file);
            if let Some(target) = target {
                self.note_link(path);
                self.state.dir_links.remove(path);
                return self.place(path, &target, touch, None);
            }
        }
        self.clear_omission(path);
        let before = self.state.index.clone();
        self.forget(path);
        let above = parent(path);
        let visit = if meta.is_symlink() {
            let Some(above) = self.way_to(&root_dir, above) else { return };
            self.follow(&root_dir, path, &above, Some(&before))
        } else if meta.is_dir() {
            self.way_to(&root_dir, path)
        } else {
            return self.omit(Omission::Special, path, "");
        };
        if let Some(visit) = visit {
            self.walk(visit, &before, on_directory);
        }
    }

    /// Reads a directory and all beneath it at once.
    fn walk(&mut self, top: Visit, before: &Index, on_directory: OnDirectory<'_>) {
        let Some(root_dir) = self.root_dir.clone() else { return };
        let mut visits = vec![top];
        while let Some(visit) = visits.pop() {
            if self.is_stopping() {
                return;
            }
            let Some(listing) = self.read(&root_dir, &visit, on_directory) else { continue };
            for member in listing {
                let further = match member {
                    Ok(member) => self.visit(&root_dir, &visit, &member, Some(before)),
                    Err(why) => {
                        self.cannot_read(&visit.path, &why);
                        break;
                    }
                };
                visits.extend(further);
            }
        }
        self.keep_known(before);
    }

    /// Opens a directory for reading.
    pub(super) fn read(
        &mut self,
        root_dir: &Arc<RootDir>,
        visit: &Visit,
        on_directory: OnDirectory<'_>,
    ) -> Option<ReadDir> {
        let links = visit.chain.len();
        if !self.linked.has_room(links) {
            self.omit(Omission::BeyondLimits, &visit.path, TOO_MANY);
            return None;
        }
        self.linked.count(links);
        // Watched first and read then, so that no change falls between the two.
        on_directory(&visit.real);
        if visit.path.split('/').count() > DEPTH_MAX {
            self.omit(Omission::BeyondLimits, &visit.path, "");
            return None;
        }
        let listing = root_dir.entries(&visit.path);
        #[cfg(test)]
        let listing = match self.disk_fails && visit.path == "broken" {
            true => Err(io::Error::from(io::ErrorKind::StaleNetworkFileHandle)),
            false => listing,
        };
        match listing {
            Ok(listing) => {
                self.state.dirs.insert(visit.path.as_str().into());
                Some(listing)
            }
            Err(why) => {
                self.cannot_read(&visit.path, &why);
                None
            }
        }
    }

    /// Restores what was known of paths that cannot be looked at now.
    fn keep_known(&mut self, before: &Index) {
        if !self.state.omitted.hides_any() {
            return;
        }
        let lost = before.iter().filter(|(name, entry)| {
            self.state.omitted.is_unreadable(&entry.path)
                && self.state.index.at(name, &entry.path).is_none()
        });
        let lost: Vec<_> = lost.map(|(name, entry)| (name.to_vec(), Arc::clone(entry))).collect();
        for (name, entry) in lost {
            self.meet(&entry);
            self.state.insert(&name, entry);
        }
    }

    /// Takes in one member of a directory. Returns it if it must be read in turn.
    pub(super) fn visit(
        &mut self,
        root_dir: &Arc<RootDir>,
        parent: &Visit,
        entry: &DirEntry,
        before: Option<&Index>,
    ) -> Option<Visit> {
        let name = entry.file_name();
        let Some(name) = name.to_str() else {
            let path = join(&parent.path, &name.to_string_lossy());
            self.omit(Omission::BadName, &path, "not UTF-8");
            return None;
        };
        if is_hidden(name) {
            return None;
        }
        let path = join(&parent.path, name);
        let is_known_kind = |kind: &FileType| kind.is_dir() || kind.is_symlink() || kind.is_file();
        let kind = match entry.file_type() {
            Ok(kind) if is_known_kind(&kind) => Ok(kind),
            // Some file systems, FUSE among them, do not report the type of a directory's members.
            Ok(_) => entry.metadata().map(|meta| meta.file_type()),
            Err(why) => Err(why),
        };
        let kind = match kind {
            Ok(kind) => kind,
            Err(why) => {
                self.cannot_read(&path, &why);
                return None;
            }
        };
        if kind.is_dir() {
            let chain = parent.chain.clone();
            return Some(Visit { real: join(&parent.real, name), path, chain });
        }
        if kind.is_symlink() {
            return self.follow(root_dir, &path, parent, before);
        }
        if !kind.is_file() {
            self.omit(Omission::Special, &path, "");
            return None;
        }
        match entry.metadata() {
            Ok(meta) => self.place(&path, &meta, Touch::default(), before),
            Err(why) => self.cannot_read(&path, &why),
        }
        None
    }

    /// Puts a file into the index, with its old entry if nothing about it has changed.
    pub(super) fn place(
        &mut self,
        path: &str,
        meta: &Metadata,
        touch: Touch,
        before: Option<&Index>,
    ) {
        let Some(root_dir) = self.root_dir.clone() else { return };
        let version = version_of(meta);
        let name = match FileName::parse(path.as_bytes()) {
            Ok(name) if is_access_list(name.as_bytes()) => return,
            Ok(name) => name,
            Err(refused) => return self.omit(Omission::BadName, path, &refused.to_string()),
        };
        let name = name.as_bytes();
        let before = before.unwrap_or(&self.state.index).at(name, path).cloned();
        let same = before.as_ref().filter(|old| {
            old.version == version
                && lies_beneath(old, &root_dir)
                && !(touch.written && old.is_whole())
        });
        let entry = match same {
            Some(old) => Arc::clone(old),
            None => {
                if let Some(old) = &before {
                    old.doubt(&version, touch.written);
                }
                let entry =
                    Entry::found(self.id, path, version, Arc::clone(&root_dir) as RootHandle);
                if let Some(digest) = self.digests.find(&version) {
                    entry.learn(digest);
                }
                Arc::new(entry)
            }
        };
        if touch.written {
            entry.note_written();
        }
        if let Some(placed) = touch.placed.filter(|placed| *placed == version) {
            entry.note_whole(placed.digest);
        }
        let there = self.state.index.at(name, path);
        if self.state.index.len() >= FILES_MAX && there.is_none() {
            return self.omit(Omission::BeyondLimits, path, "");
        }
        let is_new = there.is_none_or(|there| !Arc::ptr_eq(there, &entry));
        if may_read(&root_dir, path, meta) {
            self.clear_omission(path);
        } else {
            self.omit(Omission::Unreadable, path, &mode_fault(meta));
        }
        self.meet(&entry);
        if is_new {
            self.changes += 1;
            self.state.insert(name, entry);
        }
    }

    /// Removes a path from the index, with everything under it if it was a directory.
    fn forget(&mut self, path: &str) {
        if self.state.dirs.contains(path) || self.state.has_files_within(path) {
            self.changes += self.state.forget_directory(path);
        }
        self.state.links.remove(path);
        self.state.dir_links.remove(path);
        let Ok(name) = FileName::parse(path.as_bytes()) else { return };
        self.changes += u64::from(self.state.remove(name.as_bytes(), path));
    }

    /// Notes that a path cannot be looked at, unless it is gone: then nothing was left out.
    pub(super) fn cannot_read(&mut self, path: &str, why: &io::Error) {
        if path.is_empty() {
            let fault = Some(Arc::from(why.to_string()));
            self.changes += u64::from(self.fault != fault);
            self.fault = fault;
            // Nothing that was known is checked by itself.
            self.pass = None;
        } else if !matches!(why.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) {
            self.omit(Omission::Unreadable, path, &why.to_string());
        }
    }

    pub(super) fn omit(&mut self, omission: Omission, path: &str, why: &str) {
        self.state.omit(omission, path, why);
        if let Some(pass) = &mut self.pass {
            pass.omitted.insert(path, omission, why);
        }
    }

    fn clear_omission(&mut self, path: &str) {
        self.state.clear_omission(path);
        if let Some(pass) = &mut self.pass {
            pass.omitted.remove(path);
        }
    }

    pub(super) fn note_link(&mut self, path: &str) {
        self.state.links.insert(path.into());
        if let Some(pass) = &mut self.pass {
            pass.links.insert(path.into());
        }
    }

    fn meet(&mut self, entry: &Arc<Entry>) {
        if let Some(pass) = &mut self.pass {
            pass.met.insert(address(entry));
        }
    }
}

pub(super) fn address(entry: &Arc<Entry>) -> usize {
    Arc::as_ptr(entry) as usize
}

/// Describes how a file's mode keeps this process from reading it.
fn mode_fault(meta: &Metadata) -> String {
    use cap_std::fs::MetadataExt as _;
    let (mode, owner, me) = (meta.mode() & 0o7777, meta.uid(), nix::unistd::geteuid());
    format!("its mode is {mode:04o}, its owner is user {owner}, and this process is user {me}")
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use super::super::links::KNOT_READS_MAX;
    use super::super::pass::STEP_FILES;
    use super::*;
    use std::collections::BTreeMap;
    use std::fs;
    use std::os::unix::fs::symlink;

    fn scanner(root: &Path) -> Scanner {
        let mut scanner = Scanner::new(RootId(0), root, None);
        scanner.rescan(&mut |_| {});
        scanner
    }

    /// Returns what is served, as `name = path`.
    fn served(scanner: &Scanner) -> BTreeMap<String, String> {
        let entries = scanner.state.index.iter();
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
    fn every_spelling_is_served_as_it_is_spelled_and_another_as_the_first() {
        let root = tempfile::tempdir().unwrap();
        for path in ["settings.txt", "SETTINGS.txt", "Settings.txt"] {
            fs::write(root.path().join(path), path).unwrap();
        }
        let mut scanner = scanner(root.path());
        let found = |scanner: &Scanner, requested: &str| {
            let name = FileName::parse(requested.as_bytes()).unwrap();
            scanner.state.index.find(&name).unwrap().path.to_string()
        };
        for path in ["settings.txt", "SETTINGS.txt", "Settings.txt"] {
            assert_eq!(found(&scanner, path), path);
        }
        assert_eq!(found(&scanner, "SeTTings.txt"), "SETTINGS.txt");
        let omitted = scanner.omissions().remove(&Omission::Shadowed).unwrap();
        assert_eq!(omitted.count, 2);
        assert_eq!(omitted.first, "Settings.txt (else served: SETTINGS.txt)");
        fs::remove_file(root.path().join("SETTINGS.txt")).unwrap();
        scanner.touch("SETTINGS.txt", Touch::default(), &mut |_| {});
        assert_eq!(found(&scanner, "SETTINGS.txt"), "Settings.txt");
        fs::remove_file(root.path().join("settings.txt")).unwrap();
        scanner.touch("settings.txt", Touch::default(), &mut |_| {});
        assert_eq!(found(&scanner, "settings.txt"), "Settings.txt");
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
        assert!(!scanner.touch("same", Touch { written: true, placed: None }, &mut |_| {}));

        let again = Scanner::new(RootId(0), root.path(), Some(&after));
        let mut again = again;
        assert!(!again.rescan(&mut |_| {}), "another scanner goes on where the first ended");
    }

    #[test]
    fn a_mount_point_without_its_share_is_not_taken_for_an_empty_root() {
        let parent = tempfile::tempdir().unwrap();
        let Ok(bare) = tempfile::tempdir_in("/dev/shm") else { return };
        let (root, share) = (parent.path().join("root"), parent.path().join("share"));
        let device =
            |path: &Path| version_of(&RootDir::open(path).unwrap().dir().dir_metadata().unwrap());
        fs::create_dir(&share).unwrap();
        if device(&share).file.0 == device(bare.path()).file.0 {
            return;
        }
        fs::write(share.join("a"), "x").unwrap();
        let lead_to = |place: &Path| {
            let _ = fs::remove_file(&root);
            std::os::unix::fs::symlink(place, &root).unwrap();
        };
        lead_to(&share);
        let mut scanner = scanner(&root);
        lead_to(bare.path());
        assert!(scanner.rescan(&mut |_| {}) && scanner.has_moved());
        assert_eq!(names(&scanner), ["a"], "the last good state");
        assert!(scanner.root().fault.as_deref().unwrap().contains("not to be mounted"));
        let name = FileName::parse(b"never-there").unwrap();
        let catalog = engine::catalog::Catalog { roots: vec![scanner.root()] };
        assert!(catalog.may_have(&[RootId(0)], &name), "nobody knows what is there now");
        fs::write(bare.path().join("b"), "x").unwrap();
        assert!(scanner.rescan(&mut |_| {}));
        assert_eq!(names(&scanner), ["b"], "another share is mounted");
        let catalog = engine::catalog::Catalog { roots: vec![scanner.root()] };
        assert!(!catalog.may_have(&[RootId(0)], &name));
    }

    #[test]
    fn a_root_that_is_away_stays_as_it_was_and_comes_back() {
        let parent = tempfile::tempdir().unwrap();
        let root = parent.path().join("root");
        let mut scanner = scanner(&root);
        assert!(names(&scanner).is_empty() && scanner.root().is_unknown);
        assert!(scanner.omissions().contains_key(&Omission::Root) && !scanner.has_moved());
        fs::create_dir(&root).unwrap();
        fs::write(root.join("a"), "x").unwrap();
        assert!(scanner.has_moved() && scanner.rescan(&mut |_| {}));
        assert_eq!(names(&scanner), ["a"]);
        assert!(!scanner.root().is_unknown && scanner.root().fault.is_none());
        fs::rename(&root, parent.path().join("away")).unwrap();
        assert!(scanner.has_moved() && scanner.rescan(&mut |_| {}));
        assert_eq!(names(&scanner), ["a"], "the last good state");
        assert!(scanner.root().fault.is_some() && scanner.serves());
        assert!(!scanner.rescan(&mut |_| {}), "told once");
        fs::create_dir(&root).unwrap();
        fs::write(root.join("b"), "x").unwrap();
        assert!(scanner.has_moved() && scanner.rescan(&mut |_| {}));
        assert_eq!(names(&scanner), ["b"]);
        assert!(scanner.root().fault.is_none());
    }

    #[test]
    fn a_pass_may_be_cut_into_steps_and_touched_in_between() {
        let root = tempfile::tempdir().unwrap();
        for n in 0..3 * STEP_FILES {
            fs::write(root.path().join(format!("{n}.cfg")), "x").unwrap();
        }
        let mut scanner = scanner(root.path());
        fs::remove_file(root.path().join("7.cfg")).unwrap();
        assert!(!scanner.begin_pass());
        let mut steps = 0;
        while scanner.is_passing() {
            scanner.step(&mut |_| {});
            let name = format!("new-{steps}");
            fs::write(root.path().join(&name), "x").unwrap();
            assert!(scanner.touch(&name, Touch::default(), &mut |_| {}));
            steps += 1;
        }
        assert!(steps > 3);
        assert_eq!(scanner.state.index.len(), 3 * STEP_FILES - 1 + steps);
        assert_eq!(served(&scanner), served(&self::scanner(root.path())));
    }

    #[test]
    fn a_directory_that_goes_takes_what_lies_beneath_it_and_nothing_else() {
        let root = tempfile::tempdir().unwrap();
        let at = |path: &str| root.path().join(path);
        for path in ["dir/sub", "dir-2", "dira"] {
            fs::create_dir_all(at(path)).unwrap();
        }
        for path in ["dir/a", "dir/sub/b", "dir-2/c", "dira/d"] {
            fs::write(at(path), "x").unwrap();
        }
        let mut scanner = scanner(root.path());
        fs::remove_dir_all(at("dir")).unwrap();
        scanner.touch("dir", Touch::default(), &mut |_| {});
        assert_eq!(names(&scanner), ["dir-2/c", "dira/d"]);
    }

    #[test]
    fn absolute_links_that_stay_inside_are_served_and_others_say_where_they_lead() {
        let root = tempfile::tempdir().unwrap();
        let at = |path: &str| root.path().join(path);
        fs::create_dir(at("v2")).unwrap();
        fs::write(at("v2/image"), "x").unwrap();
        symlink(at("v2"), at("current")).unwrap();
        symlink(at("v2/image"), at("image")).unwrap();
        symlink("/etc/passwd", at("out")).unwrap();
        symlink("nowhere", at("dangling")).unwrap();
        let scanner = scanner(root.path());
        assert_eq!(names(&scanner), ["current/image", "image", "v2/image"]);
        let root = scanner.root();
        let why = |path| root.omitted.find(path).unwrap();
        let out = "it leads out of the root, to /etc/passwd";
        assert_eq!(why("out"), (Omission::BadLink, out));
        let nowhere = "it leads to nowhere, which is not there";
        assert_eq!(why("dangling"), (Omission::BadLink, nowhere));
    }

    #[test]
    fn a_disk_that_cannot_be_asked_is_not_taken_for_empty() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("broken")).unwrap();
        for path in ["a", "broken/b"] {
            fs::write(root.path().join(path), "x").unwrap();
        }
        let mut scanner = scanner(root.path());
        scanner.disk_fails = true;
        fs::write(root.path().join("c"), "x").unwrap();
        scanner.rescan(&mut |_| {});
        assert_eq!(names(&scanner), ["a", "broken/b", "c"], "what was known stays");
        assert!(scanner.root().omitted.may_hide(b"broken/new"));
        assert!(scanner.omissions()[&Omission::Unreadable].first.starts_with("broken ("));
        scanner.touch("broken", Touch::default(), &mut |_| {});
        assert_eq!(names(&scanner), ["a", "broken/b", "c"]);
        scanner.disk_fails = false;
        assert!(scanner.rescan(&mut |_| {}), "it is no omission any more");
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
        let ways = ["file", "l/file", "l/l/file"];
        let wanted: Vec<_> =
            ["a", "b", "c"].iter().flat_map(|dir| ways.map(|way| format!("{dir}/{way}"))).collect();
        assert_eq!(names(&scanner), wanted, "each directory once on a way");
    }

    #[test]
    fn directories_that_all_link_to_each_other_are_read_so_often_and_no_more() {
        const DIRS: usize = 12;
        let root = tempfile::tempdir().unwrap();
        for dir in 0..DIRS {
            fs::create_dir(root.path().join(format!("d{dir}"))).unwrap();
            fs::write(root.path().join(format!("d{dir}/f")), "x").unwrap();
            for to in (0..DIRS).filter(|to| *to != dir) {
                symlink(format!("../d{to}"), root.path().join(format!("d{dir}/l{to}"))).unwrap();
            }
        }
        let mut scanner = scanner(root.path());
        let served = names(&scanner);
        assert!(served.len() <= DIRS + DIRS * DIRS + KNOT_READS_MAX, "{}", served.len());
        let is_there = |name: &str| served.binary_search(&name.to_owned()).is_ok();
        for dir in 0..DIRS {
            assert!(is_there(&format!("d{dir}/f")));
            assert!((0..DIRS).all(|to| to == dir || is_there(&format!("d{dir}/l{to}/f"))));
        }
        let omissions = scanner.omissions();
        assert!(omissions[&Omission::BeyondLimits].first.contains("through links"));
        // Nor by touched paths.
        let read = std::cell::Cell::new(0);
        scanner.touch("d0", Touch::default(), &mut |_| read.set(read.get() + 1));
        assert!(read.get() <= DIRS + DIRS * DIRS + KNOT_READS_MAX, "{}", read.get());
        assert!(names(&scanner).binary_search(&"d0/f".to_owned()).is_ok());
    }

    #[test]
    fn what_is_touched_behind_links_is_what_a_look_at_everything_finds() {
        let root = tempfile::tempdir().unwrap();
        for dir in ["a", "b", "c", "d", "e", "f"] {
            fs::create_dir(root.path().join(dir)).unwrap();
        }
        for (link, to) in [("a/l", "../b"), ("b/l", "../c"), ("c/l", "../d"), ("d/l", "../e")] {
            symlink(to, root.path().join(link)).unwrap();
        }
        let mut touched = scanner(root.path());
        symlink("../f", root.path().join("e/l")).unwrap();
        fs::write(root.path().join("f/file"), "x").unwrap();
        for path in ["e/l", "f/file"] {
            touched.touch(path, Touch::default(), &mut |_| {});
        }
        assert_eq!(names(&touched), names(&scanner(root.path())));
    }

    #[test]
    fn a_look_that_nobody_waits_for_ends() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("a/b/c")).unwrap();
        let stopping = Arc::new(AtomicBool::new(false));
        let mut scanner = Scanner::new(RootId(0), root.path(), None).with_end(stopping.clone());
        let mut read = 0;
        scanner.rescan(&mut |_| {
            read += 1;
            stopping.store(true, Relaxed);
        });
        assert_eq!(read, 1);
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
            |scanner: &Scanner, name: &[u8]| scanner.state.index.get(name).unwrap().version.bytes;

        fs::write(at(".store/v1/image"), "22").unwrap();
        scanner.touch(".store/v1/image", Touch { written: true, placed: None }, &mut |_| {});
        scanner.touch_links(&mut |_| {});
        assert_eq!(size(&scanner, b"current/image"), 2);
        assert_eq!(size(&scanner, b"image.bin"), 2);

        fs::create_dir_all(at(".store/v2")).unwrap();
        fs::write(at(".store/v2/image"), "333").unwrap();
        fs::remove_file(at("current")).unwrap();
        symlink(".store/v2", at("current")).unwrap();
        scanner.touch("current", Touch::default(), &mut |_| {});
        scanner.touch_links(&mut |_| {});
        assert_eq!(size(&scanner, b"current/image"), 3);
        assert_eq!(size(&scanner, b"image.bin"), 3);
    }

    /// A few names, so that changes collide, in several spellings, so that they fold.
    const PLACES: [&str; 10] =
        ["a", "A", "b", "dir", "Dir", "dir/a", "Dir/A", "dir/sub", "dir/sub/x", "link"];

    /// Changes something and returns the paths that a watch would report.
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
                // A write through a link changes another file.
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
                    touched.touch(place, Touch::default(), &mut |_| {});
                }
                touched.touch_links(&mut |_| {});
                let afresh = scanner(root.path());
                assert_eq!(
                    served(&touched),
                    served(&afresh),
                    "seed {seed}, step {step}: {places:?}"
                );
                let versions = |of: &Scanner| -> BTreeMap<Vec<u8>, Version> {
                    of.state.index.iter().map(|(name, e)| (name.to_vec(), e.version)).collect()
                };
                assert_eq!(versions(&touched), versions(&afresh), "seed {seed}, step {step}");
                assert_eq!(touched.state.index.len(), afresh.state.index.iter().count());
            }
        }
    }
}
