//! Turns the file into the daemon's settings: roots numbered, lists joined, rows compiled.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use toml::Spanned;
use toml::de::DeTable;

use super::effective::Effective;
use super::error::NoRandomNumbers;
use super::file::{self, File};
use super::http::{CaSettings, Http, Https, TlsSettings};
use super::overlaps::{self, Places};
use super::places::{self, FileCheck};
use super::read::Findings;
use super::tftp::{Ports, Tftp};
use super::tree::OwnFiles;
use super::{check, exposure, lists, protect, rows, uploads};
use crate::sys::interfaces;
use engine::catalog::RootId;
use engine::policy::route::Routes;
use engine::policy::snapshot::{Policy, TftpPolicy};
use engine::protocol::Protocol;
use engine::settings::ftp::FtpPolicy;
use engine::settings::http::{CaFile, ChallengeKey, HttpListener, HttpPolicy};
use engine::vault::request::Unknown;
use store::StoreConfig;
use store::content::LoaderConfig;
use store::vault::Directories;
use store::vault::write::sweep_vault;
use wire::time::Duration;

impl Settings {
    /// Returns the current warnings.
    pub(crate) fn warnings_now(&self) -> impl Iterator<Item = String> {
        let of_files = self.file_checks.iter().flat_map(FileCheck::warnings);
        self.warnings.iter().cloned().chain(of_files)
    }

    /// Returns the settings of the store.
    #[must_use]
    pub(crate) fn store(&self) -> StoreConfig {
        let loader = LoaderConfig {
            threads: self.content.threads,
            disk_wait: self.content.disk_wait,
            heap_file_bytes_max: self.content.heap_file_bytes_max,
            heap_bytes_max: self.content.heap_budget_bytes,
            ..LoaderConfig::default()
        };
        StoreConfig { loader, ..StoreConfig::default() }
    }

    /// Returns the directory with the number of a rule or of quarantine.
    #[must_use]
    pub(crate) fn upload_dir(&self, number: u16) -> Option<&Path> {
        let place = match &self.upload_numbers {
            Some(numbers) => numbers.iter().position(|known| *known == number)?,
            None => usize::from(number),
        };
        self.upload_dirs.get(place).map(PathBuf::as_path)
    }

    /// Takes the writer's numbers for the directories that receive uploads. The daemon calls it
    /// once before the settings are used: it also removes what a crash has left in them and in the
    /// vault.
    pub(crate) fn number_uploads(&mut self, directories: &Directories) {
        if let Some(vault) = &self.policy.http.vault {
            sweep_vault(&vault.dir);
            directories.known().remember_vault(&vault.dir);
        }
        let numbers = self.upload_dirs.iter().map_while(|dir| directories.number(dir));
        let numbers: Vec<u16> = numbers.collect();
        // No other reference to new settings exists.
        let Some(policy) = Arc::get_mut(&mut self.policy) else { return };
        policy.uploads.renumber(&numbers);
        policy.protections.renumber(&numbers);
        self.upload_numbers = Some(numbers.clone());
        let Some(mut vault) = policy.http.vault.as_deref().cloned() else { return };
        if let Unknown::Quarantine { directory, .. } = &mut vault.unknown {
            match numbers.get(usize::from(*directory)) {
                Some(number) => *directory = *number,
                None => vault.unknown = Unknown::Refuse,
            }
        }
        let vault = Some(Arc::new(vault));
        policy.ftp.vault = vault.clone().filter(|_| policy.ftp.vault.is_some());
        policy.http.vault = vault;
    }
}

impl Settings {
    /// Returns the directories that only the server writes to, and that it creates.
    pub(crate) fn own_dirs(&self) -> impl Iterator<Item = &Path> {
        let vault = self.policy.http.vault.as_deref();
        let quarantine = vault.and_then(|vault| match vault.unknown {
            Unknown::Quarantine { directory, .. } => self.upload_dir(directory),
            Unknown::Refuse => None,
        });
        let vault = vault.map(|vault| vault.dir.as_path());
        vault.into_iter().chain(quarantine)
    }

    /// Adds what no file has: a key for challenges, and numbers for the upload directories, which
    /// are returned.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub(crate) fn complete(&mut self) -> Result<Arc<Directories>, NoRandomNumbers> {
        let mut bytes = [0; 32];
        aws_lc_rs::rand::fill(&mut bytes).map_err(|_| NoRandomNumbers)?;
        // No other reference to new settings exists.
        if let Some(policy) = Arc::get_mut(&mut self.policy) {
            policy.http.challenge_key = ChallengeKey::new(bytes);
        }
        let directories = Arc::new(Directories::default());
        self.number_uploads(&directories);
        Ok(directories)
    }

    /// Serves the CA's certificate to phones. The daemon calls it before the settings are used.
    pub(crate) fn serve_ca(&mut self, ca: Option<CaFile>) {
        // No other reference to new settings exists.
        if let Some(policy) = Arc::get_mut(&mut self.policy) {
            policy.http.ca = ca;
        }
    }

    /// Keeps listeners that only a restart removes, with their files and their vault: their sockets
    /// stay bound until then.
    pub(crate) fn keep_listeners(&mut self, before: &Settings) {
        let Some(policy) = Arc::get_mut(&mut self.policy) else { return };
        policy.http.challenge_key = before.policy.http.challenge_key.clone();
        let listeners = &mut policy.http.listeners;
        for old in &before.policy.http.listeners {
            if listeners.iter().any(|new| new.is_same(old)) {
                continue;
            }
            let dirs = old.stack.iter().filter_map(|root| before.roots.get(usize::from(root.0)));
            let stack = dirs.map(|dir| place(dir, &mut self.roots)).collect();
            let acme = old.acme.and_then(|root| before.roots.get(usize::from(root.0)));
            let acme = acme.map(|dir| place(dir, &mut self.roots));
            listeners.push(HttpListener { stack, acme, ..old.clone() });
        }
        self.keep_ftp(before);
    }

    /// Does the same for FTP, whose listeners share the files.
    fn keep_ftp(&mut self, before: &Settings) {
        let Some(policy) = Arc::get_mut(&mut self.policy) else { return };
        let (new, old) = (&mut policy.ftp, &before.policy.ftp);
        if new.listeners.is_empty() {
            let dirs = old.stack.iter().filter_map(|root| before.roots.get(usize::from(root.0)));
            let stack = dirs.map(|dir| place(dir, &mut self.roots)).collect();
            let vault = policy.http.vault.clone().filter(|_| old.vault.is_some());
            *new = FtpPolicy { stack, vault, snmp: new.snmp.clone(), ..old.clone() };
            return;
        }
        for old in &old.listeners {
            match new.listeners.iter_mut().find(|new| new.address == old.address) {
                // A socket's kind is fixed when it is bound; TLS can only be removed.
                Some(new) => {
                    new.implicit = old.implicit;
                    new.tls = old.implicit || old.tls && new.tls;
                }
                None => new.listeners.push(*old),
            }
        }
    }
}

/// Returns the number of a directory that files are served from.
fn place(dir: &Path, roots: &mut Vec<PathBuf>) -> RootId {
    let place = roots.iter().position(|root| root == dir).unwrap_or_else(|| {
        roots.push(dir.to_owned());
        roots.len() - 1
    });
    RootId(u16::try_from(place).unwrap_or(u16::MAX))
}

/// Where data lies when the file does not say.
const UPLOADS_ASIDE_MAX: usize = 512;
const DATA_DIR: &str = "/var/lib/ringpost";
/// Most directories that files are served from.
const ROOTS_MAX: usize = 1_000;

/// A valid configuration, ready for use.
#[derive(Debug)]
pub(crate) struct Settings {
    /// The file that it came from, for messages.
    pub(crate) file: PathBuf,
    /// Where everything lies, absolute or relative to the working directory.
    pub(crate) data_dir: PathBuf,
    /// Workers to start; 0 = one per core.
    pub(crate) workers: usize,
    /// The user to become after the ports are bound.
    pub(crate) user: Option<String>,
    /// The group to become; `None` for the user's.
    pub(crate) group: Option<String>,
    /// How long running transfers may continue after a stop is requested.
    pub(crate) drain: Duration,
    /// More phones than this that boot at once are a storm.
    pub(crate) storm_phones_min: u64,
    /// The policy of the data path.
    pub(crate) policy: Arc<Policy>,
    /// The directories that files are served from; a [`RootId`] is an index into this list.
    pub(crate) roots: Vec<PathBuf>,
    /// The directories that receive uploads; a rule's directory is an index into this list.
    pub(crate) upload_dirs: Vec<PathBuf>,
    /// The writer's numbers for them, in the same order, once it has given them.
    pub(crate) upload_numbers: Option<Vec<u16>>,
    /// The TFTP server's sockets; `None` without `[tftp]`.
    pub(crate) tftp: Option<TftpSockets>,
    /// The TLS settings of the listeners, by row; that of `[ftp]` last.
    pub(crate) secured: Vec<TlsSettings>,
    /// The server's own CA.
    pub(crate) ca: CaSettings,
    /// Where administration listens.
    pub(crate) admin: Option<SocketAddr>,
    /// How files are kept.
    pub(crate) content: file::Content,
    /// Where log lines go.
    pub(crate) log: file::Log,
    /// Names that the administration pages may be reached by, besides addresses.
    pub(crate) admin_hosts: Vec<String>,
    /// The warnings of the configuration.
    pub(crate) warnings: Vec<String>,
    /// Checks of files that may change, for further warnings.
    pub(crate) file_checks: Vec<FileCheck>,
    /// Every key with its origin.
    pub(crate) effective: Effective,
}

/// The TFTP server's addresses and ports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TftpSockets {
    /// Addresses that receive requests.
    pub(crate) listen: Vec<SocketAddr>,
    /// Ports that answers are sent from.
    pub(crate) ports: Ports,
    /// Receive buffer to ask of the kernel, in bytes, for each socket that takes requests.
    pub(crate) receive_buffer_bytes: usize,
}

/// Whether the disk may be checked, or only the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Disk {
    Read,
    Leave,
}

/// Turns a file into settings; reports mistakes to `found`.
pub(super) fn resolve(path: &Path, file: File, disk: Disk, found: &mut Findings) -> Settings {
    let data_dir = data_dir(path, &file);
    let mut warnings = validate(path, &file, &data_dir, disk, found);
    let file_checks = file_checks(path, &file, &data_dir, disk, found);
    let here = |dir: &Path| normal(&data_dir.join(dir));
    let own = OwnFiles::of(&file, path, here);
    let secured = secured(&file, here, found);
    let mut roots = Roots { dirs: Vec::new(), places: HashMap::new() };
    let (uploads, mut upload_dirs) = rows::uploads(file.uploads, &data_dir, here, found);
    let vault = file.vault.as_ref().map(|vault| Arc::new(vault.policy(here, &mut upload_dirs)));
    let mut policy = Policy {
        access: lists::access(&file.access, &data_dir, disk, found, &mut warnings),
        slots: file.slots,
        order: file.order,
        guesses: file.guesses,
        uploads,
        http: HttpPolicy {
            limits: file.http_limits,
            vault,
            cache_control: file.cache_control.clone(),
            ..HttpPolicy::default()
        },
        ftp: FtpPolicy { snmp: file.snmp, ..FtpPolicy::default() },
        ..Policy::default()
    };
    if let Some(tftp) = &file.tftp {
        policy.rate_limits = Arc::new(tftp.rate_limits());
        tftp_policy(tftp, &mut policy.tftp, |dir| roots.place(here(dir)), disk);
    }
    policy.http.listeners = http_listeners(&file.http, &file.https, |dir| roots.place(here(dir)));
    if let Some(ftp) = &file.ftp {
        let snmp = policy.ftp.snmp;
        policy.ftp = FtpPolicy { snmp, ..ftp.policy(here, |dir| roots.place(here(dir))) };
        policy.ftp.vault = policy.http.vault.clone().filter(|_| ftp.offers_vault());
    }
    let subnets = file.roots.into_iter().map(|row| row.number(|dir| roots.place(here(dir))));
    let (redirects, remaps) = (file.redirects, file.remaps);
    policy.routes = Routes { redirects, subnets: subnets.collect(), remaps };
    roots.validate(found);
    let dirs = (&*roots.dirs, &*upload_dirs);
    policy.protections = protect::rows(&file.protects, here, dirs, found);
    policy.ftp.tree = Arc::new(own.tree(&data_dir, &roots.dirs));
    let dirs = uploads::Dirs { roots: &roots.dirs, uploads: &upload_dirs, disk };
    uploads::validate(&policy, &dirs, &mut warnings);
    let mut log = file.log;
    log.file = log.file.map(|file| here(&file));
    Settings {
        file: path.to_owned(),
        workers: file.workers,
        storm_phones_min: file.storm_phones_min,
        user: file.user,
        group: file.group,
        drain: file.drain,
        policy: Arc::new(policy),
        roots: roots.dirs,
        upload_dirs,
        upload_numbers: None,
        tftp: file.tftp.map(tftp_sockets),
        secured,
        ca: CaSettings { dir: here(&file.ca.dir), serve_as: file.ca.serve_as },
        admin_hosts: file.admin.iter().flat_map(|admin| admin.hosts.clone()).collect(),
        admin: file.admin.map(|admin| admin.listen.into_inner()),
        content: file.content,
        log,
        warnings,
        file_checks,
        effective: Effective::default(),
        data_dir,
    }
}

/// Validates keys against each other; returns warnings.
fn validate(
    path: &Path,
    file: &File,
    data_dir: &Path,
    disk: Disk,
    found: &mut Findings,
) -> Vec<String> {
    check::ports(file, found);
    check::port_range(file, found);
    let mut warnings = Vec::new();
    if disk == Disk::Read {
        places::directories(file, data_dir, found);
        places::user(file, found);
    }
    if let Some(tftp) = &file.tftp {
        check::times(tftp, found);
        check::subnets(tftp, found);
    }
    check::active_port(file, &mut warnings);
    let places = Places { config: path, data_dir, disk };
    overlaps::validate(file, &places, found);
    exposure::validate(file, data_dir, found, &mut warnings);
    protect::validate(file, data_dir, found, &mut warnings);
    let streams = !file.http.is_empty() || !file.https.is_empty() || file.ftp.is_some();
    if file.tftp.is_none() && !streams && found.is_empty() {
        found.fault_anywhere("nothing is served; add a section such as [tftp]");
    }
    warnings
}

/// Returns the checks to repeat while the server runs.
fn file_checks(
    path: &Path,
    file: &File,
    data_dir: &Path,
    disk: Disk,
    found: &mut Findings,
) -> Vec<FileCheck> {
    if disk == Disk::Leave {
        return Vec::new();
    }
    let mut checks = overlaps::private_files(file, &Places { config: path, data_dir, disk });
    if data_dir.exists() {
        checks.extend(places::files(file, data_dir, found));
    }
    checks
}

/// Directories that files are served from, each numbered once.
struct Roots {
    dirs: Vec<PathBuf>,
    places: HashMap<PathBuf, RootId>,
}

impl Roots {
    fn place(&mut self, dir: PathBuf) -> RootId {
        let next = RootId(u16::try_from(self.dirs.len()).unwrap_or(u16::MAX));
        *self.places.entry(dir).or_insert_with_key(|dir| {
            self.dirs.push(dir.clone());
            next
        })
    }

    /// Reports if there are too many.
    fn validate(&self, found: &mut Findings) {
        if self.dirs.len() > ROOTS_MAX {
            let text = format!("there are more than {ROOTS_MAX} root directories; name fewer");
            found.fault_anywhere(text);
        }
    }
}

/// `data_dir`, which is relative to the file that names it.
fn data_dir(path: &Path, file: &File) -> PathBuf {
    let named = file.data_dir.as_ref().map_or(Path::new(DATA_DIR), |dir| dir.get_ref().as_path());
    normal(&path.parent().unwrap_or(Path::new("")).join(named))
}

/// Returns the same from a text, whatever else is wrong with it.
pub(super) fn data_dir_in(path: &Path, text: &str) -> PathBuf {
    let (table, _) = DeTable::parse_recoverable(text);
    let named = table.get_ref().get("data_dir").and_then(|value| value.get_ref().as_str());
    normal(&path.parent().unwrap_or(Path::new("")).join(named.unwrap_or(DATA_DIR)))
}

/// Removes `.` parts from a path, so that one directory has one spelling.
pub(super) fn normal(path: &Path) -> PathBuf {
    let parts: PathBuf = path.components().filter(|part| *part != Component::CurDir).collect();
    if parts.as_os_str().is_empty() { PathBuf::from(".") } else { parts }
}

/// Joins names as `a, b and c`; returns `None` for an empty list.
pub(super) fn join(names: &[&str]) -> Option<String> {
    match names {
        [] => None,
        [one] => Some((*one).to_owned()),
        [first @ .., last] => Some(format!("{} and {last}", first.join(", "))),
    }
}

/// Returns the listeners of all rows, those without TLS first.
fn http_listeners(
    http: &[Http],
    https: &[Https],
    mut root: impl FnMut(&Path) -> RootId,
) -> Vec<HttpListener> {
    let mut listeners = Vec::new();
    for row in http {
        listeners.extend(row.listeners(Protocol::Http, true, &mut root));
    }
    for row in https {
        listeners.extend(row.http.listeners(Protocol::Https, row.offers_vault(), &mut root));
    }
    listeners
}

/// Returns the TLS settings of the listeners.
fn secured(
    file: &File,
    here: impl Fn(&Path) -> PathBuf + Copy,
    found: &Findings,
) -> Vec<TlsSettings> {
    let https = file.https.iter().map(|row| row.settings(found.line(&row.http.at), here));
    let ftp = file.ftp.iter().filter_map(|ftp| ftp.secured(found.line(&ftp.at), here));
    https.chain(ftp).collect()
}

fn tftp_policy(
    tftp: &Tftp,
    policy: &mut TftpPolicy,
    mut root: impl FnMut(&Path) -> RootId,
    disk: Disk,
) {
    policy.stack = tftp.root.iter().map(|dir| root(dir.get_ref())).collect();
    policy.limits = tftp.limits;
    policy.subnets = tftp.subnet_rows();
    policy.answer_broadcast = tftp.answer_broadcast;
    policy.transfers_max = tftp.transfers_max;
    policy.half_open_max = tftp.half_open_max.min(tftp.transfers_max);
    policy.upload_memory_bytes_max = tftp.upload_memory;
    // A start lowers it to what the system allows.
    policy.uploads_aside_max = UPLOADS_ASIDE_MAX;
    policy.interfaces = match disk {
        Disk::Read => interfaces::read(),
        Disk::Leave => Vec::new(),
    };
}

fn tftp_sockets(tftp: Tftp) -> TftpSockets {
    TftpSockets {
        listen: tftp.listen.into_iter().map(Spanned::into_inner).collect(),
        ports: tftp.ports.map(Spanned::into_inner).unwrap_or_default(),
        receive_buffer_bytes: usize::try_from(tftp.receive_buffer).unwrap_or(usize::MAX),
    }
}
