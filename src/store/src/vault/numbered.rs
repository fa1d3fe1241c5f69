//! Numbers the changes to the vault, and notices leaps of the clock.
//!
//! Writes the line of `note.rs`; never touches a version.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use cap_std::fs::Dir;

use super::note::{self, Note};
use super::sequence::{ClockStep, Sequences};
use super::versions::VersionName;
use crate::durable::Disk;
use engine::vault::timestamp::Timestamp;

/// Leaps of the clock that were noticed.
static CLOCK_LEAPS: AtomicU64 = AtomicU64::new(0);

/// A change that is numbered once it is in place.
#[derive(Debug)]
pub(super) struct NumberedChange {
    pub(super) top: Arc<Dir>,
    pub(super) vault: PathBuf,
    pub(super) name: VersionName,
    /// The newest version until then.
    pub(super) parent: Option<Timestamp>,
    /// What the clock shows.
    pub(super) now: Timestamp,
}

impl NumberedChange {
    /// Numbers the change, and writes its line. Only logs a failure: the version itself is stored.
    pub(super) fn note(
        &self,
        (disk, sequences): (&mut Disk, &mut Sequences),
        (dir, path): (&Dir, &Path),
    ) {
        let NumberedChange { top, vault, name, parent, now } = self;
        let noted = sequences.next((top, vault), *now).and_then(|(number, counted)| {
            disk.appended(path, counted);
            tell_step(number.step, vault);
            let note = Note {
                version: name.stamp,
                sequence: number.sequence,
                kept_at: *now,
                origin: number.origin,
                parent: *parent,
                tenant: Box::default(),
            };
            note::add(dir, &note)
        });
        match noted {
            Ok(index) => disk.appended(path, index),
            Err(why) => disk.log.error(&why, "number a version in", path),
        }
    }
}

/// Logs what the clock did, once for each leap.
fn tell_step(step: Option<ClockStep>, vault: &Path) {
    let (leap_ns, text) = match step {
        None => return,
        Some(ClockStep::Back(ns)) => {
            (ns, "the clock was ahead when something was last stored, by about")
        }
        Some(ClockStep::Ahead(ns)) => {
            (ns, "the clock is further on than when something was last stored, by about")
        }
    };
    CLOCK_LEAPS.fetch_add(1, Relaxed);
    let hours = leap_ns / 3_600_000_000_000;
    tracing::warn!(
        "{text} {hours} hours ({}). If it is wrong, mend it (NTP): versions are in the order in \
         which they came, and `ringpost vault restore --at` goes by that",
        vault.display()
    );
}

/// How often the clock leapt since the process began, as far as stores have shown.
#[must_use]
pub(super) fn clock_leaps() -> u64 {
    CLOCK_LEAPS.load(Relaxed)
}
