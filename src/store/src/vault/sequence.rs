//! Numbers a vault's changes, so that their order does not depend on the clock.
//!
//! `<vault>/.sequence` holds the name of this server, the number of the last change, and what its
//! clock showed then. It is locked while a number is taken, so that the server and an
//! administrator's command never take the same one, and is synced with the change that has the
//! number. A process skips numbers at its first use: numbers that a crash lost are never reused.
//! Reads no clock itself.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use cap_std::fs::{Dir, Metadata, OpenOptions};

use super::write::VERSION_MODE;
use crate::durable::give_to_owner_of;
use crate::version::{VersionExt as _, version_of};
use engine::catalog::blob::Version;
use engine::vault::timestamp::Timestamp;

/// The file in the vault.
const SEQUENCE: &str = ".sequence";
/// Numbers that a process skips at its first use: more than are under way at once.
const GAP: u64 = 1_024;
/// A clock may go back so far without being wrong: the network sets it now and then.
const BACK_NS: u64 = 60_000_000_000;
/// A clock that is so far ahead of the last change was wrong before, or is now: 30 days.
const AHEAD_NS: u64 = 30 * DAY_NS;
/// How long nothing is removed for its age after that.
const UNSTEADY_NS: u64 = DAY_NS;
const DAY_NS: u64 = 86_400_000_000_000;

/// What the clock did since the last change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClockStep {
    /// It went back by so many nanoseconds.
    Back(u64),
    /// It advanced by so many nanoseconds: either nothing was stored for long, or it is wrong.
    Ahead(u64),
}

/// The number of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Number {
    pub(crate) sequence: u64,
    /// The name of this server: 16 hexadecimal digits.
    pub(crate) origin: Box<str>,
    pub(crate) step: Option<ClockStep>,
}

/// The sequence files of the vaults in which this process numbers changes.
#[derive(Debug, Default)]
pub(crate) struct Sequences(HashMap<PathBuf, File>);

/// The content of the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct SequenceState {
    origin: Box<str>,
    sequence: u64,
    clock: Timestamp,
    /// When the clock was found far ahead; 0 if it was not.
    ahead_at: Timestamp,
}

impl SequenceState {
    fn parse(text: &str) -> Option<SequenceState> {
        let mut words = text.lines().next()?.split(' ');
        let origin = words.next().filter(|origin| is_origin(origin))?;
        let sequence = words.next()?.parse().ok()?;
        let mut moment = || Some(Timestamp(words.next()?.parse().ok()?));
        Some(SequenceState {
            origin: origin.into(),
            sequence,
            clock: moment()?,
            ahead_at: moment()?,
        })
    }

    /// Always of the same length: it overwrites the old text.
    fn text(&self) -> String {
        let SequenceState { origin, sequence, clock, ahead_at } = self;
        format!("{origin} {sequence:020} {:020} {:020}\n", clock.0, ahead_at.0)
    }

    /// Takes the next number, and notes what the clock shows.
    fn advance(&mut self, by: u64, now: Timestamp) -> Option<ClockStep> {
        self.sequence = self.sequence.saturating_add(by);
        let before = std::mem::replace(&mut self.clock, now);
        let back = before.0.saturating_sub(now.0);
        let ahead = now.0.saturating_sub(before.0);
        if back > BACK_NS {
            self.ahead_at = Timestamp(0);
            return Some(ClockStep::Back(back));
        }
        if before.0 > 0 && ahead > AHEAD_NS {
            self.ahead_at = now;
            return Some(ClockStep::Ahead(ahead));
        }
        None
    }

    fn is_steady(&self, now: Timestamp) -> bool {
        let jumped = self.clock.0 > 0 && now.0.saturating_sub(self.clock.0) > AHEAD_NS;
        let settled = now.0.saturating_sub(self.ahead_at.0) > UNSTEADY_NS;
        !jumped && (self.ahead_at.0 == 0 || settled)
    }
}

impl Sequences {
    /// Takes the next number of a vault. Also returns the file, which the caller must sync.
    ///
    /// # Errors
    /// The system's error.
    pub(crate) fn next(
        &mut self,
        (top, vault): (&Dir, &Path),
        now: Timestamp,
    ) -> io::Result<(Number, File)> {
        if self.0.get(vault).is_some_and(|file| !is_file_in(top, file)) {
            // The vault was mounted again, or restored.
            self.0.remove(vault);
        }
        let by = if self.0.contains_key(vault) { 1 } else { GAP };
        let mut file = match self.0.get(vault) {
            Some(file) => file.try_clone()?,
            None => open(top)?,
        };
        file.lock()?;
        let taken = take(&mut file, by, now);
        let unlocked = file.unlock();
        let number = taken?;
        unlocked?;
        if by > 1 {
            self.0.insert(vault.to_path_buf(), file.try_clone()?);
        }
        Ok((number, file))
    }
}

/// Whether the clock may decide what is too old: not within a day of a leap of a month.
pub(crate) fn is_steady(vault: &Path, now: Timestamp) -> bool {
    let text = std::fs::read_to_string(vault.join(SEQUENCE)).unwrap_or_default();
    SequenceState::parse(&text).is_none_or(|state| state.is_steady(now))
}

/// Returns the name in the sequence file of a vault, or `None` if nothing was ever changed there.
pub(crate) fn origin_of(top: &Dir) -> Option<Box<str>> {
    let text = top.read_to_string(SEQUENCE).ok()?;
    SequenceState::parse(&text).map(|state| state.origin)
}

/// Returns whether a word can name a server.
pub(crate) fn is_origin(word: &str) -> bool {
    word.len() == 16 && word.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn take(file: &mut File, by: u64, now: Timestamp) -> io::Result<Number> {
    let mut text = String::new();
    file.seek(SeekFrom::Start(0))?;
    (&mut *file).take(1_024).read_to_string(&mut text)?;
    let mut state = match SequenceState::parse(&text) {
        Some(state) => state,
        None => SequenceState { origin: new_origin()?, ..SequenceState::default() },
    };
    let step = state.advance(by, now);
    file.seek(SeekFrom::Start(0))?;
    file.write_all(state.text().as_bytes())?;
    Ok(Number { sequence: state.sequence, origin: state.origin, step })
}

/// Returns whether this is the sequence file of a vault.
fn is_file_in(top: &Dir, file: &File) -> bool {
    let is_same = |there: Metadata| {
        file.metadata().is_ok_and(|mine| Version::of(&mine).file == version_of(&there).file)
    };
    top.symlink_metadata(SEQUENCE).is_ok_and(is_same)
}

fn open(top: &Dir) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true);
    #[cfg(unix)]
    cap_std::fs::OpenOptionsExt::mode(&mut options, VERSION_MODE);
    let is_new = top.symlink_metadata(SEQUENCE).is_err();
    let file = top.open_with(SEQUENCE, &options)?.into_std();
    if is_new {
        give_to_owner_of(top, &file);
    }
    Ok(file)
}

fn new_origin() -> io::Result<Box<str>> {
    let mut bytes = [0; 8];
    let no_random = |_| io::Error::other("the system has no random numbers");
    aws_lc_rs::rand::fill(&mut bytes).map_err(no_random)?;
    Ok(format!("{:016x}", u64::from_be_bytes(bytes)).into())
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use super::*;
    use cap_std::ambient_authority;

    const YEAR_NS: u64 = 365 * DAY_NS;

    #[test]
    fn two_processes_never_take_the_same_number_and_later_ones_are_greater() {
        let vault = tempfile::tempdir().unwrap();
        let top = Dir::open_ambient_dir(vault.path(), ambient_authority()).unwrap();
        let mut last = 0;
        let mut origins = std::collections::HashSet::new();
        for _ in 0..3 {
            let (mut server, mut command) = (Sequences::default(), Sequences::default());
            for turn in 0..5 {
                for one in [&mut server, &mut command] {
                    let (number, _) = one.next((&top, vault.path()), Timestamp(turn)).unwrap();
                    assert!(number.sequence > last);
                    last = number.sequence;
                    origins.insert(number.origin);
                }
            }
        }
        assert_eq!(origins.len(), 1);
    }

    #[test]
    fn a_clock_that_leaps_is_noticed_and_nothing_is_too_old_for_a_day() {
        let mut state =
            SequenceState { origin: "0123456789abcdef".into(), ..SequenceState::default() };
        let now = 20 * YEAR_NS;
        assert_eq!(state.advance(1, Timestamp(now)), None, "there was nothing to compare with");
        assert!(state.is_steady(Timestamp(now + DAY_NS)));
        assert!(!state.is_steady(Timestamp(now + YEAR_NS)), "seen before the next change as well");
        let ahead = state.advance(1, Timestamp(now + YEAR_NS));
        assert_eq!(ahead, Some(ClockStep::Ahead(YEAR_NS)));
        assert!(!state.is_steady(Timestamp(now + YEAR_NS + DAY_NS / 2)));
        assert!(state.is_steady(Timestamp(now + YEAR_NS + DAY_NS + 1)));
        assert_eq!(state.advance(1, Timestamp(now + 1)), Some(ClockStep::Back(YEAR_NS - 1)));
        assert!(state.is_steady(Timestamp(now + 2)));
        assert_eq!(state.advance(1, Timestamp(now)), None, "a clock is set now and then");
        assert_eq!(SequenceState::parse(&state.text()), Some(state.clone()));
        let longest =
            SequenceState { sequence: u64::MAX, clock: Timestamp(u64::MAX), ..state.clone() };
        assert_eq!(longest.text().len(), state.text().len());
    }
}
