//! The directories that clients' data is written to, as this process first found them: one that is
//! away later is not taken for an empty one.
//!
//! A directory is away if it is gone, cannot be opened, or is another one than before: the mount
//! point without its share. Never creates one, and never changes what is in it.

use std::collections::HashMap;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use std::{fmt, io};

use cap_std::fs::Dir;
use parking_lot::{Mutex, MutexGuard};

use super::refusals::is_descriptors;
use super::sequence;
use crate::content::root_dir::RootDir;
use crate::offload;

/// Interval between two looks at all directories.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// A disk that does not answer for this long hangs.
const HUNG_AFTER: Duration = Duration::from_secs(5);
/// Why a directory is not the one that it was.
const OTHER: &str = "another directory is there now, so its disk seems not to be mounted; restart \
     the server if it is to be used";
/// Why an upload directory that was on another disk is not taken for empty.
const NOT_MOUNTED: &str = "another disk is there now, with nothing on it, so the share seems not \
     to be mounted; restart the server if it is to be empty";

/// What a directory is for, which decides what may take its place while the server runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DirKind {
    /// A vault. Only the same vault may, mounted again or restored from a copy.
    Vault,
    /// Uploads. Any directory may, unless it is how an unmounted share looks.
    Uploads,
}

/// The directories, by their paths.
#[derive(Debug, Default)]
pub struct KnownDirs {
    dirs: Mutex<HashMap<PathBuf, KnownDir>>,
    look: Mutex<Look>,
}

#[derive(Clone, Debug)]
struct KnownDir {
    kind: DirKind,
    /// Held open, so that no other directory gets its inode number.
    dir: Arc<RootDir>,
    /// The name in the vault's sequence file, once there is one: two vaults never share it.
    origin: Option<Box<str>>,
    /// Why it is away.
    fault: Option<Arc<str>>,
}

/// The thread that looks at all directories, and the one that it looks at.
#[derive(Debug, Default)]
struct Look {
    thread: Option<JoinHandle<()>>,
    begun_at: Option<Instant>,
    at: Arc<Mutex<Option<PathBuf>>>,
}

/// The directory is away. The log has said so already.
#[derive(Debug)]
struct Away(Arc<str>);

impl fmt::Display for Away {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for Away {}

/// Returns whether an error says that a directory is away, which the log has said already.
pub(super) fn is_away(why: &io::Error) -> bool {
    why.get_ref().is_some_and(|inner| inner.is::<Away>())
}

impl KnownDirs {
    /// Remembers a vault as it is now, unless it is known already or does not exist.
    pub fn remember_vault(&self, path: &Path) {
        self.remember(path, DirKind::Vault);
    }

    pub(super) fn remember(&self, path: &Path, kind: DirKind) {
        if self.lock().contains_key(path) {
            return;
        }
        let Ok(dir) = RootDir::open(path) else { return };
        let origin = origin_of(kind, &dir);
        let known = KnownDir { kind, dir: Arc::new(dir), origin, fault: None };
        self.lock().entry(path.to_path_buf()).or_insert(known);
    }

    /// Returns whether a directory was seen, even if it is away now: it must not be created anew.
    #[must_use]
    pub fn knows(&self, path: &Path) -> bool {
        self.lock().contains_key(path)
    }

    /// Returns whether a known directory is away now. May wait for the disk.
    #[must_use]
    pub fn is_away(&self, path: &Path) -> bool {
        self.open(path).is_err()
    }

    /// Opens a known directory; returns `None` if it is not known.
    ///
    /// # Errors
    /// It is away, see [`is_away`], or the process has no descriptor left.
    pub(crate) fn open(&self, path: &Path) -> io::Result<Option<Dir>> {
        let Some(known) = self.lock().get(path).cloned() else { return Ok(None) };
        let opened = match RootDir::open(path) {
            Ok(opened) => opened,
            Err(why) if is_descriptors(&why) => return Err(why),
            Err(why) => return Err(self.note_away(path, &why.to_string())),
        };
        let is_same = known.dir.is_same(&opened);
        if !is_same && let Some(fault) = known.refuses(&opened) {
            return Err(self.note_away(path, fault));
        }
        let dir = opened.dir().try_clone()?;
        if !is_same || known.origin.is_none() || known.fault.is_some() {
            let origin = origin_of(known.kind, &opened).or(known.origin);
            let dir = if is_same { known.dir } else { Arc::new(opened) };
            self.note_found(path, dir, origin);
        }
        Ok(Some(dir))
    }

    /// Looks at the given directories now and then, in a thread of its own. Returns those that are
    /// away, in sentences. Never waits.
    #[must_use]
    pub fn look(self: &Arc<Self>, paths: &[PathBuf]) -> Vec<String> {
        let mut look = self.look.lock();
        look.thread.take_if(|thread| thread.is_finished());
        let since = look.begun_at.map(|begun_at| begun_at.elapsed());
        if look.thread.is_none() && since.is_none_or(|since| since >= LOOK_EVERY) {
            let (dirs, paths, at) = (Arc::clone(self), paths.to_vec(), Arc::clone(&look.at));
            let looked = offload::spawn("data-dirs", move || {
                for path in paths {
                    *at.lock() = Some(path.clone());
                    let _ = dirs.open(&path);
                }
                *at.lock() = None;
            });
            (look.thread, look.begun_at) = (looked.ok(), Some(Instant::now()));
        }
        let since = look.begun_at.map(|begun_at| begun_at.elapsed());
        let hangs = since.filter(|since| look.thread.is_some() && *since >= HUNG_AFTER);
        let at = look.at.lock().clone();
        let hangs = at.zip(hangs);
        drop(look);
        let dirs = self.lock();
        let fault = |path: &PathBuf| {
            if let Some((_, since)) = hangs.as_ref().filter(|(at, _)| at == path) {
                return Some(format!("the disk has not answered for {} s", since.as_secs()));
            }
            dirs.get(path)?.fault.as_deref().map(str::to_owned)
        };
        let sentence = |path: &PathBuf| {
            fault(path).map(|fault| format!("{} cannot be read: {fault}", path.display()))
        };
        paths.iter().filter_map(sentence).collect()
    }

    fn note_away(&self, path: &Path, fault: &str) -> io::Error {
        let fault: Arc<str> = fault.into();
        if let Some(known) = self.lock().get_mut(path)
            && known.fault.replace(Arc::clone(&fault)).is_none()
        {
            tracing::error!(
                "{} cannot be read: {fault}; what is in it is refused until it is back",
                path.display()
            );
        }
        io::Error::new(io::ErrorKind::StaleNetworkFileHandle, Away(fault))
    }

    fn note_found(&self, path: &Path, dir: Arc<RootDir>, origin: Option<Box<str>>) {
        let mut dirs = self.lock();
        let Some(known) = dirs.get_mut(path) else { return };
        (known.dir, known.origin) = (dir, origin);
        if known.fault.take().is_some() {
            tracing::info!("{} is back", path.display());
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<PathBuf, KnownDir>> {
        self.dirs.lock()
    }
}

impl KnownDir {
    /// Returns why another directory may not take its place, or `None` if it may.
    fn refuses(&self, opened: &RootDir) -> Option<&'static str> {
        match self.kind {
            DirKind::Vault => {
                let origin = origin_of(self.kind, opened);
                (origin.is_none() || origin != self.origin).then_some(OTHER)
            }
            DirKind::Uploads => opened.is_bare_beside(&self.dir).then_some(NOT_MOUNTED),
        }
    }
}

fn origin_of(kind: DirKind, dir: &RootDir) -> Option<Box<str>> {
    match kind {
        DirKind::Vault => sequence::origin_of(dir.dir()),
        DirKind::Uploads => None,
    }
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use super::*;
    use std::fs;

    struct Bench {
        top: tempfile::TempDir,
        path: PathBuf,
        dirs: Arc<KnownDirs>,
    }

    impl Bench {
        fn new(kind: DirKind, origin: &str) -> Bench {
            let top = tempfile::tempdir().unwrap();
            let path = top.path().join("dir");
            make(&path, origin);
            let dirs = Arc::new(KnownDirs::default());
            dirs.remember(&path, kind);
            Bench { top, path, dirs }
        }

        fn is_open(&self) -> bool {
            match self.dirs.open(&self.path) {
                Ok(opened) => opened.is_some(),
                Err(why) => {
                    assert!(is_away(&why), "{why}");
                    false
                }
            }
        }

        /// Puts a directory in the other's place.
        fn replace(&self, origin: &str) {
            if self.path.exists() {
                fs::rename(&self.path, self.top.path().join("away")).unwrap();
            }
            make(&self.path, origin);
        }
    }

    fn make(path: &Path, origin: &str) {
        fs::create_dir(path).unwrap();
        if !origin.is_empty() {
            let zeros = "0".repeat(20);
            let text = format!("{origin} {zeros} {zeros} {zeros}\n");
            fs::write(path.join(".sequence"), text).unwrap();
        }
    }

    const MINE: &str = "0123456789abcdef";
    const OTHERS: &str = "fedcba9876543210";

    #[test]
    fn a_directory_that_is_gone_is_away_until_the_same_one_is_back() {
        for kind in [DirKind::Vault, DirKind::Uploads] {
            let bench = Bench::new(kind, "");
            assert!(bench.is_open());
            let away = bench.top.path().join("away");
            fs::rename(&bench.path, &away).unwrap();
            assert!(!bench.is_open() && !bench.is_open());
            assert!(!bench.path.exists(), "nothing is made in its place");
            fs::rename(&away, &bench.path).unwrap();
            assert!(bench.is_open());
        }
    }

    #[test]
    fn no_other_directory_is_taken_for_the_vault() {
        for origin in ["", OTHERS] {
            let bench = Bench::new(DirKind::Vault, MINE);
            bench.replace(origin);
            assert!(!bench.is_open(), "{origin:?}");
        }
        let fresh = Bench::new(DirKind::Vault, "");
        fresh.replace("");
        assert!(!fresh.is_open());
    }

    #[test]
    fn a_directory_that_is_made_anew_under_the_same_inode_number_is_not_taken_for_the_vault() {
        let bench = Bench::new(DirKind::Vault, "");
        for _ in 0..10 {
            fs::remove_dir(&bench.path).unwrap();
            fs::create_dir(&bench.path).unwrap();
            assert!(!bench.is_open());
        }
    }

    #[test]
    fn a_vault_that_is_mounted_again_or_restored_is_the_same_vault() {
        let bench = Bench::new(DirKind::Vault, "");
        // Its first change gives it a name.
        fs::remove_dir(&bench.path).unwrap();
        assert!(!bench.is_open());
        let bench = Bench::new(DirKind::Vault, MINE);
        bench.replace("");
        assert!(!bench.is_open());
        fs::remove_dir(&bench.path).unwrap();
        bench.replace(MINE);
        assert!(bench.is_open());
        fs::remove_dir_all(bench.top.path().join("away")).unwrap();
        assert!(bench.is_open());
    }

    #[test]
    fn a_bare_mount_point_is_not_taken_for_the_upload_directory_and_another_directory_is() {
        let bench = Bench::new(DirKind::Uploads, "");
        bench.replace("");
        assert!(bench.is_open());
        let Ok(bare) = tempfile::tempdir_in("/dev/shm") else { return };
        let opened = |path: &Path| RootDir::open(path).unwrap();
        if !opened(bare.path()).is_bare_beside(&opened(&bench.path)) {
            return;
        }
        fs::remove_dir(&bench.path).unwrap();
        std::os::unix::fs::symlink(bare.path(), &bench.path).unwrap();
        assert!(!bench.is_open());
        fs::write(bare.path().join("a"), "x").unwrap();
        assert!(bench.is_open(), "another share is mounted");
    }

    #[test]
    fn the_look_tells_what_is_away_and_nothing_else() {
        let bench = Bench::new(DirKind::Vault, MINE);
        let looked = |bench: &Bench| {
            let paths = [bench.path.clone(), bench.top.path().to_path_buf()];
            bench.dirs.look.lock().begun_at = None;
            drop(bench.dirs.look(&paths));
            let thread = bench.dirs.look.lock().thread.take();
            thread.into_iter().for_each(|thread| thread.join().unwrap());
            bench.dirs.look(&paths)
        };
        assert_eq!(looked(&bench), Vec::<String>::new());
        fs::rename(&bench.path, bench.top.path().join("away")).unwrap();
        let told = looked(&bench);
        assert!(told.len() == 1 && told[0].contains("cannot be read: No such file"), "{told:?}");
        fs::rename(bench.top.path().join("away"), &bench.path).unwrap();
        assert_eq!(looked(&bench), Vec::<String>::new());
    }
}
