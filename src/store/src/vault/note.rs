//! Metadata of versions: `<vault>/4711/96xxdata/index`, with a line for each.
//!
//! `VERSION SEQUENCE MOMENT ORIGIN PARENT TENANT`: the version's moment as in its name; its number
//! at the server that kept it, greater than that of every change before; what the clock showed
//! there; that server; the version before it; its tenant. `-` means none. A version without a line
//! is older than this file, or from elsewhere, and only its name is known. Lines are only added,
//! except that those of removed versions are dropped.

use std::collections::HashMap;
use std::fmt;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};

use cap_std::fs::{Dir, OpenOptions};

use super::sequence::is_origin;
use super::versions::VersionName;
use super::write::VERSION_MODE;
use crate::durable::give_to_owner_of;
use engine::vault::timestamp::Timestamp;

/// The file beside an item's versions.
pub(crate) const INDEX: &str = "index";
/// Most bytes of an index that are read: the newest lines.
const INDEX_BYTES_MAX: u64 = 4 << 20;
/// Lines beyond twice the number of versions before those of lost versions are dropped.
const LOST_LINES_MAX: usize = 256;
/// Longest name of a tenant, in bytes.
const TENANT_BYTES_MAX: usize = 64;

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// The version's moment.
    pub version: Timestamp,
    /// Its number at its origin.
    pub sequence: u64,
    /// What the clock showed there.
    pub kept_at: Timestamp,
    /// The server that kept it first.
    pub origin: Box<str>,
    /// The newest version until then.
    pub parent: Option<Timestamp>,
    /// Its tenant; empty if there is only one.
    pub tenant: Box<str>,
}

/// The lines of an item, by version.
pub type Notes = HashMap<Timestamp, Note>;

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Note { version, sequence, kept_at, origin, parent, tenant } = self;
        write!(f, "{version} {sequence} {kept_at} {origin} ")?;
        match parent {
            Some(parent) => write!(f, "{parent} ")?,
            None => f.write_str("- ")?,
        }
        f.write_str(if tenant.is_empty() { "-" } else { tenant })
    }
}

impl Note {
    /// Reads a line, or returns `None` if it is malformed or cut short.
    #[must_use]
    pub fn parse(line: &str) -> Option<Note> {
        let words: Vec<_> = line.split(' ').collect();
        let [version, sequence, kept_at, origin, parent, tenant] = words[..] else { return None };
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        let is_tenant = (1..=TENANT_BYTES_MAX).contains(&tenant.len());
        if !is_origin(origin) || !is_tenant || !tenant.bytes().all(is_plain) {
            return None;
        }
        let parent = match parent {
            "-" => None,
            parent => Some(Timestamp::parse(parent)?),
        };
        Some(Note {
            version: Timestamp::parse(version)?,
            sequence: sequence.parse().ok()?,
            kept_at: Timestamp::parse(kept_at)?,
            origin: origin.into(),
            parent,
            tenant: if tenant == "-" { Box::default() } else { tenant.into() },
        })
    }
}

/// Reads the lines of an item's directory, none if there is no readable index.
#[must_use]
pub fn read(dir: &Dir) -> Notes {
    let text = dir.open(INDEX).and_then(|file| text_of(&mut file.into_std()));
    notes_in(&text.unwrap_or_default())
}

/// Adds a line. Returns the file, which the caller must sync.
///
/// # Errors
/// The system's error.
pub(crate) fn add(dir: &Dir, note: &Note) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).append(true).create(true);
    #[cfg(unix)]
    cap_std::fs::OpenOptionsExt::mode(&mut options, VERSION_MODE);
    let is_new = dir.symlink_metadata(INDEX).is_err();
    let mut file = dir.open_with(INDEX, &options)?.into_std();
    if is_new {
        give_to_owner_of(dir, &file);
    }
    file.lock()?;
    let added = ends_in_a_line(&mut file).and_then(|ends| {
        file.write_all(format!("{}{note}\n", if ends { "" } else { "\n" }).as_bytes())
    });
    file.unlock()?;
    added.map(|()| file)
}

/// Drops the lines of removed versions if there are many. The file is overwritten in place under
/// the lock: a power loss meanwhile loses the order of the versions, and none of the versions.
///
/// # Errors
/// The system's error.
pub(crate) fn tidy(dir: &Dir, names: &[VersionName]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    let mut file = match dir.open_with(INDEX, &options) {
        Err(none) if none.kind() == io::ErrorKind::NotFound => return Ok(()),
        file => file?.into_std(),
    };
    // A line has more than 80 bytes.
    if file.metadata()?.len() < (names.len() * 2 + LOST_LINES_MAX) as u64 * 80 {
        return Ok(());
    }
    file.lock()?;
    let is_there = |stamp: Timestamp| names.iter().any(|name| name.stamp == stamp);
    let text = text_of(&mut file)?;
    let kept: String = text
        .lines()
        .filter(|line| Note::parse(line).is_some_and(|note| is_there(note.version)))
        .flat_map(|line| [line, "\n"])
        .collect();
    file.seek(SeekFrom::Start(0))?;
    file.write_all(kept.as_bytes())?;
    file.set_len(kept.len() as u64)?;
    file.unlock()
}

/// Returns when each version was kept, as far as is known: what the clock showed, unless a later
/// change shows that it was ahead then; in that case, just after the previous change. Names are in
/// the order of their stamps, and so are the moments.
#[must_use]
pub fn moments(names: &[VersionName], notes: &Notes, now: Timestamp) -> Vec<Timestamp> {
    let mut moments: Vec<Timestamp> = names
        .iter()
        .map(|name| notes.get(&name.stamp).map_or(name.stamp, |note| note.kept_at))
        .collect();
    // The latest moment that each can have been kept at.
    let mut latest: HashMap<&str, Timestamp> = HashMap::new();
    let mut limits = vec![now; names.len()];
    for (place, name) in names.iter().enumerate().rev() {
        let Some(note) = notes.get(&name.stamp) else { continue };
        let known = latest.entry(&note.origin).or_insert(now);
        limits[place] = *known;
        *known = note.kept_at.min(*known);
    }
    let mut before: HashMap<&str, Timestamp> = HashMap::new();
    for (place, name) in names.iter().enumerate() {
        let Some(note) = notes.get(&name.stamp) else { continue };
        if moments[place] > limits[place] {
            moments[place] = before.get(&*note.origin).map_or(limits[place], |one| one.next());
        }
        before.insert(&note.origin, moments[place]);
    }
    moments
}

fn notes_in(text: &str) -> Notes {
    text.lines().filter_map(Note::parse).map(|note| (note.version, note)).collect()
}

fn text_of(file: &mut File) -> io::Result<String> {
    let bytes = file.metadata()?.len();
    file.seek(SeekFrom::Start(bytes.saturating_sub(INDEX_BYTES_MAX)))?;
    let mut text = Vec::new();
    file.take(INDEX_BYTES_MAX).read_to_end(&mut text)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// Returns whether the last line is complete.
fn ends_in_a_line(file: &mut File) -> io::Result<bool> {
    let bytes = file.metadata()?.len();
    let Some(last) = bytes.checked_sub(1) else { return Ok(true) };
    file.seek(SeekFrom::Start(last))?;
    let mut byte = [0];
    file.read_exact(&mut byte)?;
    Ok(byte == *b"\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(second: u64, sequence: u64, kept_at_s: u64) -> Note {
        Note {
            version: Timestamp::of_second(second),
            sequence,
            kept_at: Timestamp::of_second(kept_at_s),
            origin: "0123456789abcdef".into(),
            parent: None,
            tenant: Box::default(),
        }
    }

    #[test]
    fn a_line_is_read_as_it_was_written_and_half_of_one_is_none() {
        let one = Note { parent: Some(Timestamp(7)), tenant: "north".into(), ..note(5, 6, 7) };
        let line = one.to_string();
        assert_eq!(Note::parse(&line), Some(one));
        assert_eq!(Note::parse(&note(5, 6, 7).to_string()), Some(note(5, 6, 7)));
        for end in 0..line.len() - 5 {
            assert_eq!(Note::parse(&line[..end]), None);
        }
        for other in ["", "# text", &format!("{line} more"), &line.replace("north", "a/b")] {
            assert_eq!(Note::parse(other), None, "{other}");
        }
    }

    #[test]
    fn a_version_of_a_clock_that_was_ahead_counts_from_the_one_before_it() {
        let year = 365 * 86_400;
        let all = [note(100, 1, 100), note(200 + year, 2, 200 + year)];
        let later = [note(201 + year, 3, 300), note(202 + year, 4, 400)];
        let notes: Notes =
            all.iter().chain(&later).map(|note| (note.version, note.clone())).collect();
        let mut names: Vec<_> =
            notes.keys().map(|&stamp| VersionName { stamp, gone: false }).collect();
        names.sort_unstable();
        let moments = moments(&names, &notes, Timestamp::of_second(500));
        let seconds: Vec<_> = moments.iter().map(|stamp| stamp.0 / 1_000_000_000).collect();
        assert_eq!(seconds, [100, 100, 300, 400]);
        assert!(moments[0] < moments[1]);
        // Without notes, only the names are known.
        let plain = super::moments(&names, &Notes::new(), Timestamp::of_second(500));
        assert_eq!(plain, names.iter().map(|name| name.stamp).collect::<Vec<_>>());
    }
}
