//! `ringpost vault export` and `import`: writes the vault's versions to a file, and reads them
//! back.
//!
//! An export goes through `durable`: it is whole under its name or not there, replaces no file, and
//! belongs to the user of the command alone. Imports nothing before it has read all of it; a pipe
//! is first copied to a temporary file without a name, which nothing needs to make durable.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, IsTerminal as _, Read, Seek as _, Write as _};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use super::error::{ExportImportError, ImportError, VaultCommandError};
use super::{CommandOutput, Vault, owner, parse_extension, writer};
use engine::vault::names::Item;
use engine::vault::timestamp::Timestamp;
use store::durable;
use store::vault::archive::{self, ArchiveError, Intake, Limits};
use store::vault::versions;

/// How far the clock of another host may be ahead of ours: a day.
const AHEAD_NS: u64 = 86_400_000_000_000;
/// Only the user of the command can read what holds users' data.
const PRIVATE: u32 = 0o600;

impl Vault {
    pub(super) fn export(
        &self,
        file: &Path,
        extensions: &[String],
    ) -> Result<CommandOutput, VaultCommandError> {
        let items = self.select_items(extensions)?;
        if is_dash(file) {
            return self.export_out(&items);
        }
        let unwritten = |cause| ExportImportError::NotWritten { path: file.to_owned(), cause };
        let exists = || ExportImportError::Exists(file.to_owned());
        let exported = durable::create(file, PRIVATE, |out| {
            let mut out = BufWriter::new(out);
            let versions = archive::export(&self.policy.dir, &items, &mut out)?;
            out.flush()?;
            Ok(versions)
        });
        match exported {
            Ok(versions) => {
                let said = "pinned secrets and passwords are not";
                Ok(format!("{versions} versions are in {}; {said}\n", file.display()).into())
            }
            Err(there) if there.kind() == io::ErrorKind::AlreadyExists => Err(exists().into()),
            Err(why) => Err(unwritten(why).into()),
        }
    }

    fn export_out(&self, items: &[Item]) -> Result<CommandOutput, VaultCommandError> {
        let out = io::stdout();
        if out.is_terminal() {
            return Err(ExportImportError::Terminal.into());
        }
        let versions = archive::export(&self.policy.dir, items, out.lock());
        let versions = versions.map_err(ExportImportError::OutputCut)?;
        Ok(CommandOutput { out: Vec::new(), advice: format!("{versions} versions were written\n") })
    }

    /// Returns all items of some extensions, or of all.
    fn select_items(&self, extensions: &[String]) -> Result<Vec<Item>, VaultCommandError> {
        if extensions.is_empty() {
            return Ok(self.items(None)?);
        }
        let mut items = Vec::new();
        for extension in extensions {
            let extension = parse_extension(extension)?;
            let found = self.items(Some(&extension))?;
            if found.is_empty() {
                return Err(ExportImportError::NothingToExport(extension).into());
            }
            items.extend(found);
        }
        items.sort_unstable();
        items.dedup();
        Ok(items)
    }

    pub(super) fn import(
        &self,
        file: &Path,
        restore: bool,
    ) -> Result<CommandOutput, VaultCommandError> {
        let shown = match is_dash(file) {
            true => "standard input".into(),
            false => file.display().to_string(),
        };
        let unread = |cause| ExportImportError::NotRead { source: shown.clone(), cause };
        let mut archive = seekable(file).map_err(unread)?;
        let latest = Timestamp(now_ns().saturating_add(AHEAD_NS));
        let limits = Limits { bytes_max: self.policy.bytes_max, latest };
        archive::examine(BufReader::new(&archive), limits)
            .map_err(|cause| ExportImportError::NotAnExport { source: shown.clone(), cause })?;
        archive.rewind().map_err(unread)?;
        let is_new = !self.policy.dir.exists();
        let mut intake = Intake::default();
        let (from, vault) = (BufReader::new(&archive), &self.policy.dir);
        let taken = archive::import(&mut writer(), vault, from, limits, &mut intake);
        taken.map_err(|unfit| {
            let cause = match unfit {
                ArchiveError::Vault(why) => ImportError::Disk(self.disk_error(why)),
                ArchiveError::Unreadable(_)
                | ArchiveError::Damaged(_)
                | ArchiveError::Member { .. } => {
                    ImportError::Changed { source: shown.clone(), cause: unfit }
                }
            };
            ExportImportError::ImportStopped { added: intake.added, cause }
        })?;
        let mut text = summary(&intake);
        if restore {
            text += &self.restore_all(&intake)?;
        }
        let mut advice = String::new();
        if is_new && intake.added > 0 {
            advice = format!(
                "{} is new and belongs to {}; the server must be able to write there\n",
                vault.display(),
                owner(vault)
            );
        }
        Ok(CommandOutput { out: text.into_bytes(), advice })
    }

    /// Makes the archive's newest version of each item the newest here.
    fn restore_all(&self, intake: &Intake) -> Result<String, VaultCommandError> {
        let mut restored = 0_u64;
        for (item, &name) in &intake.newest {
            if self.names(item)?.last() == Some(&name) {
                continue;
            }
            let dir = versions::open(&self.policy.dir, item).map_err(|why| self.disk_error(why))?;
            let read = dir.map(|dir| versions::read(&dir, name)).transpose();
            let Some(blob) = read.map_err(|why| self.disk_error(why))?.flatten() else { continue };
            let bytes = if name.gone { None } else { blob.as_slice() };
            restored += u64::from(self.add(item, bytes)?);
        }
        Ok(format!("{restored} older ones are the newest again\n"))
    }
}

fn summary(intake: &Intake) -> String {
    let mut text = format!("{} versions are new, {} were there\n", intake.added, intake.there);
    for path in &intake.differing_paths {
        let _ = writeln!(text, "{path} is there with other bytes, which stay");
    }
    let untold = intake.differing - intake.differing_paths.len() as u64;
    if untold > 0 {
        let _ = writeln!(text, "and so are {untold} more");
    }
    text
}

fn is_dash(file: &Path) -> bool {
    file.as_os_str() == "-"
}

/// Opens a file that can be read twice: a pipe is first copied to a private temporary file.
fn seekable(file: &Path) -> io::Result<File> {
    let opened = if is_dash(file) { None } else { Some(File::open(file)?) };
    if let Some(opened) = opened {
        return match opened.metadata()? {
            meta if meta.is_file() => Ok(opened),
            meta if meta.is_dir() => Err(io::ErrorKind::IsADirectory.into()),
            _ => laid_aside(opened),
        };
    }
    laid_aside(io::stdin().lock())
}

fn laid_aside(mut from: impl Read) -> io::Result<File> {
    let name = format!("ringpost-import-{}-{}", std::process::id(), now_ns());
    let path = std::env::temp_dir().join(name);
    let mut options = File::options();
    options.read(true).write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, PRIVATE);
    let mut aside = options.open(&path)?;
    #[cfg(unix)]
    fs::remove_file(&path)?;
    io::copy(&mut from, &mut aside)?;
    aside.rewind()?;
    Ok(aside)
}

fn now_ns() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
