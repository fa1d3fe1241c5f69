//! The vault as a portable file: a gzipped tar of `extension/family/version`, byte for byte.
//!
//! An import adds the missing versions under their original moments, and changes no existing
//! version: what is newer here stays the newest. If any member is not a version's plain file, or
//! the archive is damaged anywhere, all of it is refused before anything is written. Secrets are
//! not exported.
//!
//! Members are read raw: no header can claim memory beyond one version, or rename another member.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Read, Write};
use std::path::Path;

use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use tar::{Archive, Builder, Header};

use super::note::{self, Note};
use super::store::{Imported, Writer};
use super::versions::{self, VersionName};
use engine::vault::names::{self, Item};
use engine::vault::timestamp::Timestamp;

/// Versions that are made durable together.
const BATCH_MAX: usize = 256;
/// The key of a member's note among its pax extensions.
const NOTE_KEY: &str = "RINGPOST.note";
/// Most bytes of pax extensions that are searched for a note.
const NOTES_BYTES_MAX: u64 = 4_096;
/// Mode of the members.
const MEMBER_MODE: u32 = 0o640;
/// Most bytes after the end mark: tar pads its last record.
const TAIL_BYTES_MAX: u64 = 1 << 20;
/// Most names of differing members that are remembered.
const DIFFERING_MAX: usize = 20;

/// Limits for a member.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Largest version in bytes.
    pub bytes_max: u64,
    /// Latest moment of a version: one in the future would hide what phones store until then.
    pub latest: Timestamp,
}

/// What an import added.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Intake {
    /// Versions that are new.
    pub added: u64,
    /// Versions that existed already, with the same bytes.
    pub there: u64,
    /// Members for which another version exists; that one stays.
    pub differing: u64,
    /// Some of those members.
    pub differing_paths: Vec<String>,
    /// The newest version of each item that the archive has.
    pub newest: BTreeMap<Item, VersionName>,
}

/// Why an archive was not imported.
#[derive(Debug)]
pub enum ArchiveError {
    /// It cannot be read.
    Unreadable(io::Error),
    /// It is damaged or no archive.
    Damaged(&'static str),
    /// A member is not a version.
    Member {
        /// Its path in the archive.
        path: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The vault cannot be written to.
    Vault(io::Error),
}

impl fmt::Display for ArchiveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ArchiveError::Unreadable(why) => write!(f, "it cannot be read: {why}"),
            ArchiveError::Damaged(why) => f.write_str(why),
            ArchiveError::Member { path, why } => {
                write!(f, "it has a member {path:?} that will not do: {why}")
            }
            ArchiveError::Vault(why) => write!(f, "the vault cannot be written to: {why}"),
        }
    }
}

/// Writes every version of these items and returns their number. Leaves out a version that is
/// removed meanwhile.
///
/// # Errors
/// The system's error.
pub fn export(vault: &Path, items: &[Item], out: impl Write) -> io::Result<u64> {
    let mut packer = Packer::new(out);
    let mut written = 0;
    for item in items {
        let Some(dir) = versions::open(vault, item)? else { continue };
        let notes = note::read(&dir);
        for name in versions::list(&dir)? {
            let Some(blob) = versions::read(&dir, name)? else { continue };
            let bytes = blob.as_slice().unwrap_or_default();
            packer.add(item, name, bytes, notes.get(&name.stamp))?;
            written += 1;
        }
    }
    packer.finish()?;
    Ok(written)
}

/// Writes versions into an archive, one after the other.
pub(super) struct Packer<W: Write>(Builder<GzEncoder<W>>);

impl<W: Write> Packer<W> {
    pub(super) fn new(out: W) -> Self {
        Packer(Builder::new(GzEncoder::new(out, Compression::default())))
    }

    pub(super) fn add(
        &mut self,
        item: &Item,
        name: VersionName,
        bytes: &[u8],
        note: Option<&Note>,
    ) -> io::Result<()> {
        if let Some(note) = note {
            // Programs that do not know the key skip it.
            let text = note.to_string();
            self.0.append_pax_extensions([(NOTE_KEY, text.as_bytes())])?;
        }
        let mut header = Header::new_gnu();
        header.set_mode(MEMBER_MODE);
        header.set_mtime(name.stamp.0 / 1_000_000_000);
        header.set_size(bytes.len() as u64);
        let path = format!("{}/{}/{name}", item.extension, item.family);
        self.0.append_data(&mut header, path, bytes)
    }

    /// Writes the end; without it the archive counts as damaged.
    pub(super) fn finish(self) -> io::Result<()> {
        self.0.into_inner()?.finish()?.flush()
    }
}

/// Reads an archive to its end and returns the number of its versions.
///
/// # Errors
/// [`ArchiveError`] names the first member that is not a version, or the damage.
pub fn examine(archive: impl Read, limits: Limits) -> Result<u64, ArchiveError> {
    let mut versions = 0;
    each(archive, limits, |_, _, _, _| {
        versions += 1;
        Ok(())
    })?;
    Ok(versions)
}

/// Adds the missing versions of an archive, in its order. Call it after [`examine`]. `intake`
/// always says what was added so far, after an error too; all of that is durable unless the error
/// is that the vault cannot be written to.
///
/// # Errors
/// [`ArchiveError`]; what was added before stays.
pub fn import(
    writer: &mut Writer,
    vault: &Path,
    archive: impl Read,
    limits: Limits,
    intake: &mut Intake,
) -> Result<(), ArchiveError> {
    let mut unsynced = 0;
    let taken = each(archive, limits, |item, name, bytes, note| {
        match writer.import(vault, item, (name, note), bytes)? {
            Imported::Added => intake.added += 1,
            Imported::There => intake.there += 1,
            Imported::Differs => {
                intake.differing += 1;
                if intake.differing_paths.len() < DIFFERING_MAX {
                    let path = format!("{}/{}/{name}", item.extension, item.family);
                    intake.differing_paths.push(path);
                }
            }
        }
        let newest = intake.newest.entry(item.clone()).or_insert(name);
        *newest = name.max(*newest);
        unsynced += 1;
        if unsynced % BATCH_MAX == 0 {
            writer.sync_added()?;
        }
        Ok(())
    });
    // What was added before a fault is made durable as well.
    let synced = writer.sync_added().map_err(ArchiveError::Vault);
    taken.and(synced)
}

/// Passes on every version of an archive, and then reads it to its end, where its checksum is.
pub(super) fn each(
    archive: impl Read,
    limits: Limits,
    mut take: impl FnMut(&Item, VersionName, &[u8], Option<&Note>) -> io::Result<()>,
) -> Result<(), ArchiveError> {
    let tail = Tail { from: MultiGzDecoder::new(archive), is_over: false };
    let mut archive = Archive::new(tail);
    let mut note = None;
    for entry in archive.entries().map_err(unreadable)?.raw(true) {
        let mut entry = entry.map_err(unreadable)?;
        let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let size_bytes = entry.size();
        let unfit = |why| Err(ArchiveError::Member { path: path.clone(), why });
        let kind = entry.header().entry_type();
        // Other programs' notes on the next member: times in nanoseconds, owners.
        if kind.is_pax_local_extensions() {
            note = note_in(&mut entry, size_bytes).map_err(unreadable)?;
            continue;
        }
        if kind.is_pax_global_extensions() || (kind.is_dir() && is_directory(&path)) {
            continue;
        }
        if !kind.is_file() && !kind.is_contiguous() {
            return unfit("it is no plain file and no directory that a vault has");
        }
        let Some((item, name)) = member(&path) else {
            return unfit("its path is not extension/family/version as `export` writes it");
        };
        if size_bytes > limits.bytes_max {
            return unfit("it is larger than `max` in [vault] allows; raise that");
        }
        if name.gone && size_bytes > 0 {
            return unfit("it says that there is nothing, and yet has bytes");
        }
        if name.stamp > limits.latest {
            return unfit("its moment is yet to come; see whether this host's clock is right");
        }
        // At most `bytes_max`, by the check above.
        let mut bytes = Vec::with_capacity(size_bytes as usize);
        entry.read_to_end(&mut bytes).map_err(unreadable)?;
        if bytes.len() as u64 != size_bytes {
            return Err(ArchiveError::Damaged(CUT_SHORT));
        }
        let note = note.take().filter(|note: &Note| note.version == name.stamp);
        take(&item, name, &bytes, note.as_ref()).map_err(ArchiveError::Vault)?;
    }
    let mut tail = archive.into_inner();
    if tail.is_over {
        return Err(ArchiveError::Damaged(CUT_SHORT));
    }
    let rest = io::copy(&mut (&mut tail).take(TAIL_BYTES_MAX + 1), &mut io::sink());
    match rest.map_err(unreadable)? {
        0..=TAIL_BYTES_MAX => Ok(()),
        _ => Err(ArchiveError::Damaged("there is more behind its end; export it again")),
    }
}

/// Returns the note among the next member's pax extensions, each `LENGTH KEY=VALUE` and a newline.
fn note_in(entry: &mut impl Read, size_bytes: u64) -> io::Result<Option<Note>> {
    let mut text = Vec::new();
    entry.take(NOTES_BYTES_MAX).read_to_end(&mut text)?;
    if (text.len() as u64) < size_bytes.min(NOTES_BYTES_MAX) {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let text = String::from_utf8_lossy(&text);
    let mut pairs = text.lines().filter_map(|line| line.split_once(' ')?.1.split_once('='));
    Ok(pairs.find(|(key, _)| *key == NOTE_KEY).and_then(|(_, value)| Note::parse(value)))
}

const CUT_SHORT: &str = "it is cut short; copy it again, or export it again";
const DAMAGED: &str = "it is damaged; copy it again, or export it again";
const NO_GZIP: &str = "it is no gzipped tar; give what `ringpost vault export` wrote";

/// Translates a read error.
fn unreadable(why: io::Error) -> ArchiveError {
    use io::ErrorKind::{InvalidData, InvalidInput, Other, UnexpectedEof};
    if why.kind() == UnexpectedEof {
        ArchiveError::Damaged(CUT_SHORT)
    } else if why.kind() == InvalidInput && why.to_string().contains("gzip header") {
        ArchiveError::Damaged(NO_GZIP)
    } else if matches!(why.kind(), InvalidData | InvalidInput | Other) {
        ArchiveError::Damaged(DAMAGED)
    } else {
        ArchiveError::Unreadable(why)
    }
}

/// The unpacked stream, which remembers whether it reached its end: the tar reader stops at the end
/// mark and does not see it.
struct Tail<R> {
    from: R,
    is_over: bool,
}

impl<R: Read> Read for Tail<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let bytes = self.from.read(into)?;
        self.is_over |= bytes == 0 && !into.is_empty();
        Ok(bytes)
    }
}

/// Returns the version that an archive path names.
fn member(path: &str) -> Option<(Item, VersionName)> {
    let mut parts = path.strip_prefix("./").unwrap_or(path).split('/');
    let (extension, family, name) = (parts.next()?, parts.next()?, parts.next()?);
    let item = Item::new(extension, family)?;
    let is_plain = *item.extension == *extension && item.family == family;
    (is_plain && parts.next().is_none()).then_some((item, VersionName::parse(name)?))
}

/// Returns whether a path may be a directory that contains versions.
fn is_directory(path: &str) -> bool {
    let path = path.strip_prefix("./").unwrap_or(path).trim_end_matches('/');
    match path.split_once('/') {
        Some((extension, family)) => Item::new(extension, family).is_some(),
        None => matches!(path, "" | ".") || names::extension(path).is_some(),
    }
}
