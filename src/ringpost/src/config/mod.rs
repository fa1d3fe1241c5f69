//! The configuration: read whole, validated whole, and only then used.
//!
//! Reports all mistakes at once, each with its file, its line and its remedy.

mod check;
mod effective;
mod error;
mod exposure;
mod file;
mod ftp;
mod http;
mod lists;
mod overlaps;
mod places;
mod protect;
mod read;
mod redirects;
mod renamed;
mod rows;
mod settings;
mod snmp;
mod syntax;
mod tftp;
mod tree;
mod uploads;
mod value;
mod vault;
mod words;
mod writable;

use std::io::Read as _;
use std::path::{Path, PathBuf};

use toml::de::DeTable;

pub(crate) use effective::Effective;
pub(crate) use error::NoRandomNumbers;
pub(crate) use file::{Log, LogFormat};
pub(crate) use http::{CaSettings, ClientAccept, ClientAuth, TlsSettings};
pub(crate) use places::FileCheck;
pub(crate) use read::{Mistake, Mistakes};
pub(crate) use settings::{Settings, TftpSockets};
pub(crate) use tftp::Ports;

use engine::catalog::RootId;
use error::ReadError;
use file::File;
use read::Findings;
use renamed::OldName;
use settings::{Disk, resolve};

/// Where a configuration is searched if none is named, in order.
pub(crate) const PLACES: [&str; 2] = ["./ringpost.toml", "/etc/ringpost/ringpost.toml"];
/// The configuration without a file.
pub(crate) const BUILT_IN: &str = include_str!("../../../../config/default.toml");
/// Every key with its default and its purpose.
pub(crate) const TEMPLATE: &str = include_str!("../../../../config/ringpost.toml");
/// Its name in messages.
pub(crate) const BUILT_IN_NAME: &str = "(built-in configuration)";
/// Largest configuration file in bytes.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// Reads and validates a file, and checks the directories and lists that it names.
///
/// # Errors
/// Every mistake that was found.
pub(crate) fn load(path: &Path) -> Result<Settings, Mistakes> {
    parse(path, &read(path)?, Disk::Read)
}

/// Returns a file's data directory, even if other keys are wrong: there a running server can be
/// reached.
///
/// # Errors
/// The file cannot be read.
pub(crate) fn data_dir(path: &Path) -> Result<PathBuf, Mistakes> {
    Ok(settings::data_dir_in(path, &read(path)?))
}

/// Returns the data directory of the built-in configuration.
#[must_use]
pub(crate) fn built_in_data_dir() -> PathBuf {
    settings::data_dir_in(Path::new(BUILT_IN_NAME), BUILT_IN)
}

fn read(path: &Path) -> Result<String, Mistakes> {
    let unread = |text| Mistake { file: path.to_owned(), line: None, text, unread: true };
    read_text(path).map_err(|why| Mistakes(vec![unread(why.to_string())]))
}

/// Loads the configuration without a file: [`BUILT_IN`], or as the trial has changed it.
///
/// # Errors
/// The faults of the directories that it names.
pub(crate) fn load_built_in(text: &str) -> Result<Settings, Mistakes> {
    parse(Path::new(BUILT_IN_NAME), text, Disk::Read)
}

/// Validates its text alone, for when its directories do not exist yet.
///
/// # Errors
/// As above.
pub(crate) fn validate_built_in() -> Result<Settings, Mistakes> {
    parse(Path::new(BUILT_IN_NAME), BUILT_IN, Disk::Leave)
}

/// Returns the file to read: the one that is named, or the first that exists, or `None` for the
/// built-in configuration.
#[must_use]
pub(crate) fn find(named: Option<&Path>) -> Option<PathBuf> {
    let known = || PLACES.iter().map(PathBuf::from).find(|path| path.exists());
    named.map(Path::to_owned).or_else(known)
}

fn read_text(path: &Path) -> Result<String, ReadError> {
    let mut bytes = Vec::new();
    let opened = std::fs::File::open(path);
    let read = opened.and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes));
    match read {
        Err(cause) => Err(ReadError::Io(cause)),
        Ok(read) if read as u64 > FILE_BYTES_MAX => Err(ReadError::TooLarge),
        Ok(_) => String::from_utf8(bytes).map_err(|fault| {
            let at = fault.utf8_error().valid_up_to();
            let line = 1 + fault.as_bytes().iter().take(at).filter(|byte| **byte == b'\n').count();
            ReadError::NotText { line }
        }),
    }
}

fn parse(path: &Path, text: &str, disk: Disk) -> Result<Settings, Mistakes> {
    let mut found = Findings::in_text(text);
    let (mut table, mistakes) = DeTable::parse_recoverable(text);
    for mistake in &mistakes {
        let at = mistake.span().unwrap_or(0..0);
        found.fault(at.clone(), syntax::mend(text, &at, mistake.message()));
    }
    if !mistakes.is_empty() {
        // What follows a broken line is guesswork, and messages about it would mislead.
        return Err(Mistakes(found.into_faults(path)));
    }
    if table.get_ref().is_empty() {
        found.fault_anywhere(
            "it sets nothing, so nothing would be served; begin with the commented template: \
             ringpost config > ringpost.toml",
        );
        return Err(Mistakes(found.into_faults(path)));
    }
    let mut renamed = renamed::rename(table.get_mut(), &mut found);
    renamed.sort_by_key(|one| one.line);
    let file = File::read(&table, &mut found);
    let mut settings = resolve(path, file, disk, &mut found);
    let warning = |one: &OldName| format!("{}:{}: {}", path.display(), one.line, one.warning());
    settings.warnings.extend(renamed.iter().map(warning));
    settings.effective = Effective::of(text, table.get_ref());
    match found.into_faults(path) {
        faults if faults.is_empty() => Ok(settings),
        mut faults => {
            for fault in &mut faults {
                renamed.iter().for_each(|one| one.explain(&mut fault.text));
            }
            Err(Mistakes(faults))
        }
    }
}

/// Checks that any bytes are a valid configuration, or have mistakes in lines that exist.
pub fn check(text: &[u8]) {
    let Ok(text) = std::str::from_utf8(text) else { return };
    let lines = 1 + text.bytes().filter(|byte| *byte == b'\n').count();
    match parse(Path::new("fuzzed"), text, Disk::Leave) {
        Ok(settings) => {
            let limits = &settings.policy.tftp.limits;
            assert!((8..=65_464).contains(&limits.blksize_max));
            assert!(limits.first_timeout < limits.silence_max || settings.tftp.is_none());
            let known = |stack: &[RootId]| {
                stack.iter().all(|root| usize::from(root.0) < settings.roots.len())
            };
            assert!(known(&settings.policy.tftp.stack));
            let http = &settings.policy.http;
            assert!(http.listeners.iter().all(|listener| known(&listener.stack)));
            assert!((1 << 10..=64 << 10).contains(&http.limits.head_bytes_max));
            assert!((1..=64).contains(&http.limits.ranges_max));
            let ftp = &settings.policy.ftp;
            assert!(known(&ftp.stack) && ftp.passive_ports.len() >= 10);
            assert!((512..=16 << 10).contains(&ftp.limits.line_bytes_max));
            assert!(ftp.listeners.iter().all(|listener| listener.tls || !listener.implicit));
            if let Some(vault) = &http.vault {
                assert!(vault.bytes_max <= http.limits.body_memory_bytes_max);
                assert!(vault.versions_max > 0 && !vault.prefixes.is_empty());
            }
        }
        Err(faults) => {
            assert!(!faults.0.is_empty());
            assert!(faults.0.iter().all(|fault| fault.line.is_none_or(|line| line <= lines)));
        }
    }
}

/// Returns settings from a text alone.
#[cfg(test)]
pub(crate) fn parse_for_tests(text: &str) -> Settings {
    parse(Path::new("/test/ringpost.toml"), text, Disk::Leave).unwrap()
}

#[cfg(test)]
mod tests;
