//! Reports changes under one root, through inotify if the system has it.
//!
//! Only reports which paths were touched; never looks at them.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use crossbeam_channel::Sender;
use notify::event::{AccessKind, AccessMode, EventKind, ModifyKind};
use notify::{ErrorKind, RecommendedWatcher, RecursiveMode, Watcher};

use super::watch::FsEvent;
use super::watch_loop::UNWATCHED_RESCAN;

/// Reports changes under one root.
#[derive(Debug)]
pub(super) struct FsWatcher {
    /// Absolute, as the events carry it.
    pub(super) path: PathBuf,
    watcher: Option<RecommendedWatcher>,
    /// Whether some directory is not watched, so that only a scan finds its changes.
    pub(super) misses_changes: bool,
    /// Whether the log already says so.
    is_logged: bool,
    events: Sender<FsEvent>,
    lost: Arc<AtomicBool>,
}

impl FsWatcher {
    pub(super) fn new(path: &Path, events: &Sender<FsEvent>, lost: &Arc<AtomicBool>) -> Self {
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
        let (events, lost) = (events.clone(), Arc::clone(lost));
        let mut watching = FsWatcher {
            path,
            watcher: None,
            misses_changes: false,
            is_logged: false,
            events,
            lost,
        };
        watching.restart();
        watching
    }

    /// Forgets every directory: the root has become another one.
    pub(super) fn restart(&mut self) {
        let path = self.path.clone();
        let (events, lost) = (self.events.clone(), Arc::clone(&self.lost));
        let handler = move |event: notify::Result<notify::Event>| {
            for event in events_of(&path, event) {
                if events.try_send(event).is_err() {
                    lost.store(true, Relaxed);
                }
            }
        };
        // Dropped first: the system grants few of them.
        self.watcher = None;
        match notify::recommended_watcher(handler) {
            Ok(watcher) => {
                self.watcher = Some(watcher);
                self.misses_changes = false;
            }
            Err(why) => self.note_missing(&no_watcher(&why, has_descriptors())),
        }
    }

    /// Watches one directory, given by its path beneath the root; may be called again.
    pub(super) fn watch(&mut self, dir: &str) {
        let Some(watcher) = &mut self.watcher else { return };
        let path = if dir.is_empty() { self.path.clone() } else { self.path.join(dir) };
        let Err(why) = watcher.watch(&path, RecursiveMode::NonRecursive) else { return };
        match why.kind {
            // The directory has gone already, and its removal was an event of its own.
            ErrorKind::PathNotFound => {}
            ErrorKind::MaxFilesWatch => self.note_missing(
                "too many directories; raise the sysctl fs.inotify.max_user_watches to hear of all",
            ),
            ErrorKind::Generic(_)
            | ErrorKind::Io(_)
            | ErrorKind::WatchNotFound
            | ErrorKind::InvalidConfig(_) => self.note_missing(&why.to_string()),
        }
    }

    fn note_missing(&mut self, why: &str) {
        if !self.is_logged {
            let (root, every) = (self.path.display(), UNWATCHED_RESCAN.as_secs());
            tracing::warn!("changes under {root} are only found every {every} s: {why}");
        }
        self.misses_changes = true;
        self.is_logged = true;
    }

    /// Begins a scan that watches every directory again: what could not be watched may have
    /// changed.
    pub(super) fn begin(&mut self) {
        self.misses_changes = self.watcher.is_none();
    }

    /// Ends that scan.
    pub(super) fn end(&mut self) {
        self.is_logged &= self.misses_changes;
    }
}

/// Descriptors that a watcher needs, and a few more.
const DESCRIPTORS: usize = 8;

/// Returns whether this process may open as many files as a watcher needs: the system reports the
/// same error for its limit on watchers.
fn has_descriptors() -> bool {
    let opened: Vec<_> = (0..DESCRIPTORS).map(|_| std::fs::File::open("/")).collect();
    opened.iter().all(Result::is_ok)
}

/// Says why there is no watcher, and what gives one.
fn no_watcher(why: &notify::Error, has_descriptors: bool) -> String {
    let mend = match has_descriptors {
        true => "raise the sysctl fs.inotify.max_user_instances",
        false => "this process may open no more files: raise LimitNOFILE (`ulimit -n`)",
    };
    format!("{why}; {mend} to hear of all")
}

/// Translates an event of the system.
fn events_of(path: &Path, event: notify::Result<notify::Event>) -> Vec<FsEvent> {
    let event = match event {
        Ok(event) if event.need_rescan() => return vec![FsEvent::Rescan],
        Ok(event) => event,
        Err(_) => return vec![FsEvent::Rescan],
    };
    let written = match event.kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write))
        | EventKind::Modify(ModifyKind::Data(_)) => true,
        // Reading is no change, and the loader reads a lot.
        EventKind::Access(_) => return Vec::new(),
        EventKind::Modify(_)
        | EventKind::Create(_)
        | EventKind::Remove(_)
        | EventKind::Any
        | EventKind::Other => false,
    };
    let beneath = event.paths.iter().filter_map(|full| full.strip_prefix(path).ok());
    let served = beneath.filter(|path| {
        let name = path.file_name().map(std::ffi::OsStr::as_encoded_bytes);
        name.is_none_or(|name| !name.starts_with(b"."))
    });
    served.map(|path| FsEvent::Touched { path: path.to_path_buf(), written }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watcher_that_lacks_descriptors_is_not_told_to_raise_the_limit_on_watchers() {
        let full = || notify::Error::io(std::io::Error::from_raw_os_error(24));
        let told = no_watcher(&full(), false);
        assert!(told.contains("LimitNOFILE") && !told.contains("inotify."), "{told}");
        let told = no_watcher(&full(), true);
        assert!(told.contains("fs.inotify.max_user_instances"), "{told}");
        assert!(has_descriptors());
    }
}
