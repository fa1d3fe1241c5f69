//! The free space of the disks that the server writes to, measured at intervals by threads that may
//! wait.
//!
//! A disk that hangs blocks only its own short-lived thread: readers of the figures get the known
//! ones, and the fault of the disk that does not answer.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fmt, io, thread};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::config::Settings;
use crate::observe::human_format;
use wire::time::{Duration, Instant};

/// Interval between two measurements of a disk.
const MEASURE_EVERY: Duration = Duration::from_secs(15);
/// A disk that does not answer for this long hangs.
const HUNG_AFTER: Duration = Duration::from_secs(5);
/// Most directories that are measured; a configuration names a handful.
const DIRECTORIES_MAX: usize = 64;
/// A disk with less than one part in so many free causes a warning ...
const LOW_SHARE: u64 = 20;
/// ... unless more than this is left.
const PLENTY_BYTES: u64 = 1 << 30;

/// The space on a directory's disk, or why it is not known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DiskStatus {
    /// The directory.
    pub(crate) dir: String,
    /// The space as last measured; `None` while the disk does not answer.
    pub(crate) space: Option<Space>,
    /// Why it is not known.
    pub(crate) fault: Option<String>,
}

/// Room on a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Space {
    /// Bytes that the server may still write.
    pub(crate) free_bytes: u64,
    /// Bytes that the disk holds in all.
    pub(crate) size_bytes: u64,
}

impl DiskStatus {
    /// Returns a warning if the space is low.
    #[must_use]
    pub(crate) fn warning(&self) -> Option<String> {
        let dir = &self.dir;
        if let Some(fault) = &self.fault {
            return Some(format!("the disk of {dir} cannot be measured: {fault}"));
        }
        let Space { free_bytes, size_bytes } = self.space?;
        let is_low = free_bytes < PLENTY_BYTES && free_bytes < size_bytes / LOW_SHARE;
        is_low.then(|| {
            let (free, size) = (human_format::bytes(free_bytes), human_format::bytes(size_bytes));
            format!("the disk of {dir} has {free} of {size} left; make room before it is full")
        })
    }
}

type Measure = Arc<dyn Fn(&Path) -> io::Result<Space> + Send + Sync>;
type PendingMeasurement = Arc<Mutex<Option<io::Result<Space>>>>;

/// The measured directories.
pub(crate) struct DiskSpace {
    measure: Measure,
    rows: BTreeMap<PathBuf, DiskProbe>,
}

impl fmt::Debug for DiskSpace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DiskSpace").field("rows", &self.rows).finish_non_exhaustive()
    }
}

/// One directory.
#[derive(Debug, Default)]
struct DiskProbe {
    /// The channel for the thread's answer, and when it was asked.
    pending: Option<(PendingMeasurement, Instant)>,
    /// The time of the next measurement.
    due: Instant,
    space: Option<Space>,
    fault: Option<String>,
}

impl DiskSpace {
    /// Creates it with the system's measurement.
    pub(crate) fn new() -> Self {
        DiskSpace { measure: Arc::new(measure), rows: BTreeMap::new() }
    }

    /// Collects finished measurements, and starts those that are due. Call it about once a second;
    /// it never waits.
    pub(crate) fn poll(&mut self, settings: &Settings, now: Instant) -> Vec<DiskStatus> {
        self.poll_dirs(written_to(settings), now)
    }

    fn poll_dirs<'a>(
        &mut self,
        dirs: impl Iterator<Item = &'a Path>,
        now: Instant,
    ) -> Vec<DiskStatus> {
        let mut before = std::mem::take(&mut self.rows);
        for dir in dirs.take(DIRECTORIES_MAX) {
            let row = before.remove(dir);
            self.rows.entry(dir.to_owned()).or_insert_with(|| row.unwrap_or_default());
        }
        for (dir, row) in &mut self.rows {
            row.poll(dir, &self.measure, now);
        }
        let status = |(dir, row): (&PathBuf, &DiskProbe)| DiskStatus {
            dir: dir.display().to_string(),
            space: row.space,
            fault: row.fault.clone(),
        };
        self.rows.iter().map(status).collect()
    }
}

impl DiskProbe {
    fn poll(&mut self, dir: &Path, measure: &Measure, now: Instant) {
        if let Some((answer, since)) = &self.pending {
            let waited = now.since(*since);
            let answered = answer.lock().take();
            match answered {
                Some(Ok(space)) => (self.space, self.fault) = (Some(space), None),
                Some(Err(fault)) => (self.space, self.fault) = (None, Some(fault.to_string())),
                None if waited < HUNG_AFTER => return,
                None => {
                    let fault = format!("it has not answered for {} s", waited.as_secs());
                    (self.space, self.fault) = (None, Some(fault));
                    return;
                }
            }
            self.pending = None;
            self.due = now + MEASURE_EVERY;
        } else if now >= self.due {
            self.ask(dir, measure, now);
        }
    }

    fn ask(&mut self, dir: &Path, measure: &Measure, now: Instant) {
        let answer = PendingMeasurement::default();
        let (place, dir, measure) = (Arc::clone(&answer), dir.to_owned(), Arc::clone(measure));
        let thread = thread::Builder::new().name("disk-space".into()).spawn(move || {
            let measured = measure(&dir);
            *place.lock() = Some(measured);
        });
        match thread {
            Ok(_) => self.pending = Some((answer, now)),
            Err(fault) => {
                (self.space, self.fault) = (None, Some(format!("no thread for it: {fault}")));
                self.due = now + MEASURE_EVERY;
            }
        }
    }
}

/// Returns the directories that the server writes to.
fn written_to(settings: &Settings) -> impl Iterator<Item = &Path> {
    let log = settings.log.file.as_deref().and_then(Path::parent);
    let uploads = settings.upload_dirs.iter().map(PathBuf::as_path);
    std::iter::once(&*settings.data_dir).chain(settings.own_dirs()).chain(uploads).chain(log)
}

fn measure(dir: &Path) -> io::Result<Space> {
    let room = nix::sys::statvfs::statvfs(dir)?;
    let bytes = |blocks: u64| blocks.saturating_mul(room.fragment_size());
    Ok(Space { free_bytes: bytes(room.blocks_available()), size_bytes: bytes(room.blocks()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPACE: Space = Space { free_bytes: 7, size_bytes: 100 };

    fn disks(measure: impl Fn(&Path) -> io::Result<Space> + Send + Sync + 'static) -> DiskSpace {
        DiskSpace { measure: Arc::new(measure), rows: BTreeMap::new() }
    }

    /// Measures until all threads but that of `/hangs` have answered, all at one moment.
    fn poll(disks: &mut DiskSpace, dirs: &[&str], now: Instant) -> Vec<DiskStatus> {
        loop {
            let seen = disks.poll_dirs(dirs.iter().map(Path::new), now);
            let is_done = |(dir, row): (&PathBuf, &DiskProbe)| {
                row.pending.is_none() || (dir == Path::new("/hangs") && row.fault.is_some())
            };
            if disks.rows.iter().all(is_done) {
                return seen;
            }
            thread::yield_now();
        }
    }

    #[test]
    fn a_disk_that_hangs_holds_up_no_other_and_its_figures_are_not_told() {
        let (release, held) = crossbeam_channel::bounded::<()>(0);
        let mut disks = disks(move |dir| {
            if dir == Path::new("/hangs") {
                let _ = held.recv();
            }
            Ok(SPACE)
        });
        let dirs = ["/hangs", "/well"];
        let at = |s| Instant::START + Duration::from_secs(s);
        disks.poll_dirs(dirs.into_iter().map(Path::new), at(0));
        let seen = poll(&mut disks, &dirs, at(6));
        assert_eq!((seen[0].space, seen[1].space), (None, Some(SPACE)));
        assert_eq!(seen[0].fault.as_deref(), Some("it has not answered for 6 s"));
        assert!(seen[0].warning().is_some_and(|message| message.contains("/hangs")));
        let pending = disks.rows[Path::new("/hangs")].pending.clone().map(|(_, since)| since);
        assert_eq!(pending, Some(at(0)), "one thread waits, and no more are sent after it");
        drop(release);
        while disks.rows[Path::new("/hangs")].pending.is_some() {
            disks.poll_dirs(dirs.into_iter().map(Path::new), at(7));
            thread::yield_now();
        }
        let seen = poll(&mut disks, &dirs, at(7));
        assert_eq!((seen[0].space, seen[0].fault.as_deref()), (Some(SPACE), None));
    }

    #[test]
    fn a_directory_that_is_gone_says_why_and_one_that_two_keys_name_comes_once() {
        let mut disks = DiskSpace::new();
        let seen = poll(&mut disks, &["/nowhere/at/all", "/", "/"], Instant::START);
        assert_eq!(seen.len(), 2);
        assert!(seen[0].space.is_some_and(|space| space.size_bytes >= space.free_bytes));
        assert!(seen[1].fault.as_deref().is_some_and(|fault| fault.contains("No such file")));
    }

    #[test]
    fn a_disk_that_is_nearly_full_is_told_of_and_a_large_one_with_room_is_not() {
        let message = |free_bytes, size_bytes| {
            let space = Some(Space { free_bytes, size_bytes });
            DiskStatus { dir: "/data".into(), space, fault: None }.warning()
        };
        assert_eq!(message(60, 1_000), None);
        assert!(message(40, 1_000).is_some_and(|message| message.contains("/data")));
        assert_eq!(message(2 << 30, 4 << 40), None);
        assert!(message(900 << 20, 4 << 40).is_some());
    }
}
