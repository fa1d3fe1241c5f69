//! `ringpost vault`: shows what phones have kept, restores older versions, copies, exports and
//! imports.
//!
//! Works beside a running server and without one, and needs no contact to it: the server reads the
//! newest version from the disk each time, versions never change, and new ones are added by the
//! server's own writer, which holds each name while it makes its file (`vault/write.rs`). So
//! neither can lose or replace what the other keeps. Files of root's get the owner of the vault.
//! Removes nothing but expired or archived versions, and secrets to be pinned anew.

mod error;
mod export_import;
mod history;
mod table;
#[cfg(test)]
#[cfg(unix)]
mod tests;

use std::io::{self, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Subcommand;

use self::error::{DiskError, VaultCommandError};
use self::history::{VersionSelector, parse_moment};
use self::table::{VersionRow, date};
use crate::cli::command::{fail, load, print};
use crate::daemon::exit::Failure;
use crate::daemon::reload::Source;
use engine::vault::names::{self, Item};
use engine::vault::request::VaultPolicy;
use store::vault::versions::{self, VersionName};
use store::vault::{Writer, write};

/// What is to be done with the vault.
#[derive(Debug, Subcommand)]
pub enum VaultCommand {
    /// Show whose data is kept, or the versions of one extension.
    List {
        /// The extension.
        extension: Option<String>,
        /// Print JSON.
        #[arg(long)]
        json: bool,
        /// Those in archives as well.
        #[arg(long)]
        archived: bool,
    },
    /// Print a version's bytes as the phone sent them.
    Show {
        /// The extension.
        extension: String,
        /// The family of phones, such as 96xxdata.
        family: String,
        /// The version, or the beginning of its name; the newest when left out.
        #[arg(id = "moment", value_name = "VERSION")]
        version: Option<String>,
    },
    /// Make an older version the newest again.
    Restore {
        /// The extension.
        extension: String,
        /// The family of phones, such as 96xxdata.
        family: String,
        /// The version, or the beginning of its name.
        #[arg(id = "moment", value_name = "VERSION", required_unless_present = "at")]
        version: Option<String>,
        /// What was the newest at this moment, in UTC: 2026-11-03T12:00.
        #[arg(long, value_name = "MOMENT", conflicts_with = "moment")]
        at: Option<String>,
    },
    /// Make of all extensions what was the newest at a moment the newest again.
    RestoreAll {
        /// The moment, in UTC: 2026-11-03T12:00.
        #[arg(long, value_name = "MOMENT")]
        at: String,
        /// Only say what would be done.
        #[arg(long)]
        dry_run: bool,
    },
    /// Gather old versions into archives now, as is done each night.
    Archive,
    /// Give an extension's newest data to another one.
    Clone {
        /// The extension that has the data.
        from: String,
        /// The extension that gets a copy.
        to: String,
        /// The family of phones alone, such as 96xxdata.
        family: Option<String>,
    },
    /// Write all versions but those in archives, which are such files already, into a new gzipped
    /// tar file.
    Export {
        /// The file, which must not exist yet; - for standard output.
        file: PathBuf,
        /// These extensions alone.
        extensions: Vec<String>,
    },
    /// Add the versions of an exported file that are missing here. Each keeps its date, so what
    /// phones have kept since stays the newest.
    Import {
        /// The file; - for standard input.
        file: PathBuf,
        /// Then make the file's newest versions the newest here, whatever phones have kept since.
        #[arg(long)]
        restore: bool,
    },
    /// Forget the secret of an extension, for a phone that has a new one; the next one is pinned.
    Unpin {
        /// The extension.
        extension: String,
    },
}

/// Runs `ringpost vault`. Exits with 0 on success.
#[must_use]
pub fn run(command: &VaultCommand, config: Option<&Path>) -> ExitCode {
    let done = policy(config).and_then(|(policy, config)| {
        readable(&policy.dir)?;
        Vault { policy, config }.run(command).map_err(Failure::from)
    });
    match done {
        Ok(CommandOutput { out, advice }) => {
            // Advice goes to standard error, so that redirected output stays clean.
            let _ = io::stderr().write_all(advice.as_bytes());
            print(&out)
        }
        Err(trouble) => fail(trouble),
    }
}

/// Checks that the vault can be read. A missing one counts as empty.
fn readable(dir: &Path) -> Result<(), VaultCommandError> {
    match std::fs::read_dir(dir) {
        Err(cause) if cause.kind() != io::ErrorKind::NotFound => {
            Err(VaultCommandError::Unreadable { dir: dir.to_owned(), cause })
        }
        Ok(_) | Err(_) => Ok(()),
    }
}

fn policy(config: Option<&Path>) -> Result<(Arc<VaultPolicy>, String), Failure> {
    let source = Source::find(config);
    let settings = load(&source)?;
    let vault = settings.policy.http.vault.clone();
    let vault = vault.ok_or(VaultCommandError::NoVault { config: settings.file })?;
    Ok((vault, source.to_string()))
}

/// The result: bytes for standard output, and advice for standard error.
#[derive(Debug, Default, PartialEq, Eq)]
struct CommandOutput {
    out: Vec<u8>,
    advice: String,
}

impl From<String> for CommandOutput {
    fn from(text: String) -> Self {
        CommandOutput { out: text.into_bytes(), advice: String::new() }
    }
}

/// The vault of a configuration.
#[derive(Debug)]
struct Vault {
    policy: Arc<VaultPolicy>,
    /// The configuration, for messages.
    config: String,
}

impl Vault {
    fn run(&self, command: &VaultCommand) -> Result<CommandOutput, VaultCommandError> {
        match command {
            VaultCommand::List { extension, json, archived } => {
                self.list(extension.as_deref(), *json, *archived).map(CommandOutput::from)
            }
            VaultCommand::Show { extension, family, version } => {
                self.show(&parse_item(extension, family)?, version.as_deref())
            }
            VaultCommand::Restore { extension, family, version, at } => {
                let at = at.as_deref().map(parse_moment).transpose()?;
                let which = match at {
                    Some(at) => VersionSelector::At(at),
                    None => VersionSelector::Named(version.as_deref().unwrap_or_default()),
                };
                self.restore(&parse_item(extension, family)?, which).map(CommandOutput::from)
            }
            VaultCommand::RestoreAll { at, dry_run } => {
                self.restore_moment(parse_moment(at)?, *dry_run).map(CommandOutput::from)
            }
            VaultCommand::Archive => self.archive().map(CommandOutput::from),
            VaultCommand::Clone { from, to, family } => {
                self.copy(from, to, family.as_deref()).map(CommandOutput::from)
            }
            VaultCommand::Export { file, extensions } => self.export(file, extensions),
            VaultCommand::Import { file, restore } => self.import(file, *restore),
            VaultCommand::Unpin { extension } => self.unpin(extension).map(CommandOutput::from),
        }
    }

    fn list(
        &self,
        extension: Option<&str>,
        json: bool,
        archived: bool,
    ) -> Result<String, VaultCommandError> {
        let extension = extension.map(parse_extension).transpose()?;
        let mut rows: Vec<VersionRow> = Vec::new();
        for item in self.items(extension.as_deref())? {
            rows.extend(self.rows(&item)?);
        }
        if archived {
            self.add_archived(extension.as_deref(), &mut rows)?;
        }
        if json {
            return Ok(table::json(&rows));
        }
        Ok(match (rows.is_empty(), &extension) {
            (true, Some(extension)) => {
                format!("nothing was ever kept of {extension} in {}\n", self.place())
            }
            (true, None) => format!("nothing is kept in {}\n", self.place()),
            (false, Some(_)) => table::versions(&rows),
            (false, None) => table::items(&rows),
        })
    }

    /// Names the vault, in case another one was meant.
    fn place(&self) -> String {
        let dir = self.policy.dir.display();
        format!("{dir}, which is the vault of {}; name another with --config", self.config)
    }

    fn show(&self, item: &Item, version: Option<&str>) -> Result<CommandOutput, VaultCommandError> {
        let (name, mut out) =
            self.bytes(item, version.map_or(VersionSelector::Newest, VersionSelector::Named))?;
        let mut advice = String::new();
        // A phone's bytes must not control the reader's terminal.
        let is_odd = |&byte: &u8| byte < 0x20 && !b"\t\r\n".contains(&byte) || byte == 0x7f;
        if io::stdout().is_terminal() && out.iter().any(is_odd) {
            out.iter_mut().filter(|byte| is_odd(byte)).for_each(|byte| *byte = b'?');
            advice = format!(
                "{name} of {item} has bytes that are no text, shown as ?; redirect it into a file \
                 to have them\n"
            );
        }
        Ok(CommandOutput { out, advice })
    }

    fn restore(
        &self,
        item: &Item,
        which: VersionSelector<'_>,
    ) -> Result<String, VaultCommandError> {
        let (name, bytes) = self.bytes(item, which)?;
        if self.names(item)?.last() == Some(&name) {
            return Ok(format!("{name} of {item} is the newest already; nothing was changed\n"));
        }
        self.add(item, Some(&bytes))?;
        Ok(format!("{item} is again what it was on {}\n", date(name.stamp)))
    }

    fn copy(
        &self,
        from: &str,
        to: &str,
        family: Option<&str>,
    ) -> Result<String, VaultCommandError> {
        let (from, to) = (parse_extension(from)?, parse_extension(to)?);
        if from == to {
            return Err(VaultCommandError::SameExtension(from));
        }
        let family =
            family.map(|family| parse_item(&from, family).map(|item| item.family)).transpose()?;
        let mut text = String::new();
        for source in self.items(Some(&from))? {
            let newest = self.names(&source)?.pop();
            let is_asked = family.is_none_or(|family| family == source.family);
            if !is_asked || newest.is_none_or(|newest| newest.gone) {
                continue;
            }
            let (_, bytes) = self.bytes(&source, VersionSelector::Newest)?;
            let target = Item { extension: to.clone(), family: source.family };
            self.add(&target, Some(&bytes))?;
            text += &format!("{target} is now as {source}, {} bytes\n", bytes.len());
        }
        if text.is_empty() {
            return Err(VaultCommandError::NothingToCopy(from));
        }
        Ok(text)
    }

    fn unpin(&self, extension: &str) -> Result<String, VaultCommandError> {
        let extension = parse_extension(extension)?;
        match write::unpin(&self.policy.dir, &extension) {
            Ok(true) => {
                Ok(format!("the next secret that is sent for {extension} will be its own\n"))
            }
            Ok(false) => Err(VaultCommandError::NotPinned(extension)),
            Err(why) => Err(self.disk_error(why).into()),
        }
    }

    /// Adds a version, or a deletion marker.
    fn add(&self, item: &Item, bytes: Option<&[u8]>) -> Result<bool, VaultCommandError> {
        let added = writer().add(&self.policy, item, bytes);
        added.map_err(|why| VaultCommandError::NotAdded {
            item: item.clone(),
            cause: self.disk_error(why),
        })
    }

    fn items(&self, extension: Option<&str>) -> Result<Vec<Item>, DiskError> {
        versions::items(&self.policy.dir, extension).map_err(|why| self.disk_error(why))
    }

    /// Returns the names of an item's versions, the oldest first.
    fn names(&self, item: &Item) -> Result<Vec<VersionName>, DiskError> {
        let dir = versions::open(&self.policy.dir, item).map_err(|why| self.disk_error(why))?;
        dir.map_or(Ok(Vec::new()), |dir| versions::list(&dir).map_err(|why| self.disk_error(why)))
    }

    fn rows(&self, item: &Item) -> Result<Vec<VersionRow>, DiskError> {
        let trouble = |why| self.disk_error(why);
        let Some(dir) = versions::open(&self.policy.dir, item).map_err(trouble)? else {
            return Ok(Vec::new());
        };
        let mut rows = Vec::new();
        for name in versions::list(&dir).map_err(trouble)? {
            if let Some(version) = versions::version(&dir, name).map_err(trouble)? {
                rows.push((item.clone(), name, version.bytes, false));
            }
        }
        Ok(rows)
    }

    /// Turns the system's error into one of this vault's disk.
    fn disk_error(&self, cause: io::Error) -> DiskError {
        DiskError { dir: self.policy.dir.clone(), cause }
    }
}

/// Returns the owner of a directory, as a command line needs it.
fn owner(dir: &Path) -> String {
    #[cfg(unix)]
    if let Ok(meta) = std::fs::metadata(dir) {
        let uid = std::os::unix::fs::MetadataExt::uid(&meta);
        let user = nix::unistd::User::from_uid(uid.into()).ok().flatten();
        return user.map_or_else(|| format!("the user with the number {uid}"), |user| user.name);
    }
    let _ = dir;
    "the server's user".into()
}

fn writer() -> Writer {
    Writer::new(Arc::default(), u64::MAX)
}

/// Parses an extension in the vault's form.
fn parse_extension(extension: &str) -> Result<Box<str>, VaultCommandError> {
    names::extension(extension)
        .ok_or_else(|| VaultCommandError::NotAnExtension(extension.to_owned()))
}

fn parse_item(extension: &str, family: &str) -> Result<Item, VaultCommandError> {
    let known =
        names::family(family).ok_or_else(|| VaultCommandError::NotAFamily(family.to_owned()))?;
    Ok(Item { extension: parse_extension(extension)?, family: known })
}
