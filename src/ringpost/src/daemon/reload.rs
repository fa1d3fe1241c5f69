//! A reload: the whole configuration is read and validated, then swapped in, or else the last good
//! one stays. Running transfers keep what they began with.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::config::{self, Settings};
use crate::daemon::trial::Trial;
use crate::observe::state::Reloaded;
use engine::protocol::Protocol;
use engine::settings::ftp::FtpListener;

/// The classic's lists: a change of one applies at once.
const LISTS: [&str; 5] = [
    "allow_IP.txt",
    "TFTP_allow_IP.txt",
    "HTTP_allow_IP.txt",
    "HTTPS_allow_IP.txt",
    "FTP_allow_IP.txt",
];

/// The origin of the configuration, to read it again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// A file.
    File(PathBuf),
    /// None was found.
    BuiltIn,
    /// The built-in one, with free ports of this host.
    Trial(Trial),
}

impl Source {
    /// Finds the configuration: the named file, or the first that exists.
    #[must_use]
    pub(crate) fn find(named: Option<&Path>) -> Self {
        config::find(named).map_or(Source::BuiltIn, Source::File)
    }

    /// Reads and validates it.
    ///
    /// # Errors
    /// Every mistake that was found.
    pub(crate) fn load(&self) -> Result<Settings, config::Mistakes> {
        match self {
            Source::File(path) => config::load(path),
            Source::BuiltIn => config::load_built_in(config::BUILT_IN),
            Source::Trial(trial) => config::load_built_in(&trial.text),
        }
    }
}

impl Source {
    /// Returns its data directory, even if other keys are wrong.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(crate) fn data_dir(&self) -> Result<PathBuf, config::Mistakes> {
        match self {
            Source::File(path) => config::data_dir(path),
            Source::BuiltIn | Source::Trial(_) => Ok(config::built_in_data_dir()),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::File(path) => write!(f, "{}", path.display()),
            Source::BuiltIn | Source::Trial(_) => f.write_str("the built-in configuration"),
        }
    }
}

impl Reloaded {
    /// The new configuration is in force, except for changes that need a restart.
    #[must_use]
    pub(crate) fn taken(changes: Vec<String>, needs_restart: Vec<String>) -> Reloaded {
        let message = match needs_restart.as_slice() {
            [] => "the new configuration is in force".to_owned(),
            keys => format!(
                "the new configuration is in force, but for what takes effect at the next \
                 restart: {}",
                keys.join(", ")
            ),
        };
        Reloaded { at_unix_s: 0, taken: true, message, changes, needs_restart }
    }

    /// The previous configuration stays in force.
    #[must_use]
    pub(crate) fn refused(why: String) -> Reloaded {
        let message = format!("the configuration before stays in force:\n{why}");
        let (changes, needs_restart) = (Vec::new(), Vec::new());
        Reloaded { at_unix_s: 0, taken: false, message, changes, needs_restart }
    }
}

/// Returns the keys whose changes need a restart.
#[must_use]
pub(crate) fn needs_restart(old: &Settings, new: &Settings) -> Vec<&'static str> {
    let changed = [
        ("workers", old.workers != new.workers),
        ("user and group", (&old.user, &old.group) != (&new.user, &new.group)),
        ("listen, ports and receive_buffer in [tftp]", old.tftp != new.tftp),
        ("listen in [[http]] and [[https]]", listens(old) != listens(new)),
        ("listen, tls_listen and tls in [ftp]", ftp_listens(old) != ftp_listens(new)),
        ("[admin]", old.admin != new.admin),
        ("[content]", old.content != new.content),
        ("format in [log]", old.log.format != new.log.format),
    ];
    changed.into_iter().filter(|(_, changed)| *changed).map(|(name, _)| name).collect()
}

/// Returns the addresses of the listeners, with their protocols.
fn listens(settings: &Settings) -> Vec<(SocketAddr, Protocol)> {
    let listeners = settings.policy.http.listeners.iter();
    let mut listens: Vec<_> = listeners.map(|one| (one.address, one.protocol)).collect();
    listens.sort_unstable_by_key(|(address, protocol)| (*address, protocol.name()));
    listens
}

/// Returns the listeners of FTP, with their use of TLS.
fn ftp_listens(settings: &Settings) -> Vec<FtpListener> {
    let mut listens = settings.policy.ftp.listeners.clone();
    listens.sort_unstable_by_key(|listener| listener.address);
    listens
}

/// Returns the classic's lists that exist.
pub(crate) fn lists_in(data_dir: &Path) -> impl Iterator<Item = PathBuf> {
    LISTS.into_iter().map(|name| data_dir.join(name)).filter(|path| path.exists())
}

/// Sizes and dates of the classic's lists, to detect a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Lists([Option<(u64, SystemTime)>; LISTS.len()]);

impl Lists {
    /// Reads the current ones.
    #[must_use]
    pub(crate) fn read(data_dir: &Path) -> Self {
        Lists(LISTS.map(|name| {
            let seen = std::fs::metadata(data_dir.join(name)).ok()?;
            Some((seen.len(), seen.modified().ok()?))
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse_for_tests;

    #[test]
    fn what_needs_a_restart_is_named_and_nothing_else() {
        let old = parse_for_tests("[tftp]\n[access]\nallow = [\"10.0.0.0/8\"]");
        let same =
            parse_for_tests("[tftp]\nblksize_max = 512\npace = 9\n[sessions]\nclients_max = 5");
        assert_eq!(needs_restart(&old, &same), Vec::<&str>::new());
        let new =
            parse_for_tests("workers = 3\n[tftp]\nports = \"single\"\n[log]\nformat = \"json\"");
        let named = ["workers", "listen, ports and receive_buffer in [tftp]", "format in [log]"];
        assert_eq!(needs_restart(&old, &new), named);
    }

    #[test]
    fn of_http_only_addresses_need_a_restart() {
        let old = parse_for_tests("[[http]]\nlisten = [\"0.0.0.0:80\", \"[::]:80\"]");
        let same = parse_for_tests(
            "[[http]]\nlisten = [\"[::]:80\"]\nroot = [\"other\"]\n[http_limits]\nmax = 9\n\
             [[http]]\nlisten = [\"0.0.0.0:80\"]\nvault = false\n[vault]",
        );
        assert_eq!(needs_restart(&old, &same), Vec::<&str>::new());
        let new = parse_for_tests("[[https]]\nlisten = [\"0.0.0.0:80\", \"[::]:80\"]");
        assert_eq!(needs_restart(&old, &new), ["listen in [[http]] and [[https]]"]);
    }

    #[test]
    fn of_ftp_only_addresses_and_whether_there_is_tls_need_a_restart() {
        let old = parse_for_tests("[ftp]\nlisten = [\"0.0.0.0:21\", \"[::]:21\"]");
        let same = parse_for_tests(
            "[ftp]\nlisten = [\"[::]:21\", \"0.0.0.0:21\"]\npassive_ports = \"40000-40100\"\n\
             trusted_networks = [\"10.0.0.0/8\"]\nsessions_max = 5",
        );
        assert_eq!(needs_restart(&old, &same), Vec::<&str>::new());
        for new in ["[ftp]", "[ftp]\nlisten = [\"0.0.0.0:21\", \"[::]:21\"]\ntls = false"] {
            let keys = needs_restart(&old, &parse_for_tests(new));
            assert_eq!(keys, ["listen, tls_listen and tls in [ftp]"], "{new}");
        }
    }

    #[test]
    fn a_list_that_comes_changes_or_goes_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        let list = dir.path().join("TFTP_allow_IP.txt");
        let none = Lists::read(dir.path());
        std::fs::write(&list, "10\n").unwrap();
        let one = Lists::read(dir.path());
        std::fs::write(&list, "10\n11\n").unwrap();
        let two = Lists::read(dir.path());
        assert!(none != one && one != two);
        std::fs::remove_file(&list).unwrap();
        assert_eq!(Lists::read(dir.path()), none);
    }
}
