//! From the file to the settings that the daemon works with: roots numbered, lists joined, rows
//! compiled.

use std::collections::HashMap;
use std::io::{self, Read as _};
use std::net::SocketAddr;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use ipnet::IpNet;
use toml::Spanned;

use super::check;
use super::file::{self, File, PRIVATE_NETS};
use super::read::Found;
use super::rows;
use super::tftp::{Ports, Tftp};
use crate::admission::access::{Access, List, NamedList, Range};
use crate::admission::pace::{Pace, Paces};
use crate::content::RootId;
use crate::content::loader::LoaderConfig;
use crate::content::route::Routes;
use crate::control::interfaces;
use crate::session::Protocol;
use crate::session::http::limits::HttpPolicy;
use crate::session::snapshot::{Policy, TftpPolicy};
use crate::session::tftp::limits::TftpLimits;
use crate::time::Duration;
use crate::vault::store::Directories;

impl Settings {
    /// How the loader is to hold the files.
    #[must_use]
    pub fn loader(&self) -> LoaderConfig {
        LoaderConfig {
            threads: self.content.threads,
            heap_file_bytes_max: self.content.heap_file_bytes_max,
            heap_bytes_max: self.content.heap_budget_bytes,
            ..LoaderConfig::default()
        }
    }

    /// Takes the writer's numbers for the directories that receive uploads. To be called once, by
    /// the daemon, before the settings are used: it also clears what a crash has left in them.
    pub fn number_uploads(&mut self, directories: &Directories) {
        let numbers = self.upload_dirs.iter().map_while(|dir| directories.number(dir));
        let numbers: Vec<u16> = numbers.collect();
        // Nobody else holds settings that were just made.
        if let Some(policy) = Arc::get_mut(&mut self.policy) {
            policy.uploads.renumber(&numbers);
        }
    }
}

/// Where data lies when the file does not say.
const DATA_DIR: &str = "/var/lib/ringpost";
/// Largest list of addresses that is read, in bytes.
const LIST_BYTES_MAX: u64 = 16 << 20;
/// Most directories that files are served from.
const ROOTS_MAX: usize = 1_000;

/// A valid configuration, ready for use.
#[derive(Debug)]
pub struct Settings {
    /// The file it came from, for messages.
    pub file: PathBuf,
    /// Where everything lies, absolute or relative to the working directory.
    pub data_dir: PathBuf,
    /// Workers to start; 0 = one per core.
    pub workers: usize,
    /// The user to become once the ports are bound.
    pub user: Option<String>,
    /// The group to become; none means the user's.
    pub group: Option<String>,
    /// How long running transfers may go on once the daemon is told to stop.
    pub drain: Duration,
    /// What the data path needs to know.
    pub policy: Arc<Policy>,
    /// The directories that files are served from; a [`RootId`] is a place in this list.
    pub roots: Vec<PathBuf>,
    /// The directories that receive uploads; a rule's directory is a place in this list.
    pub upload_dirs: Vec<PathBuf>,
    /// The TFTP server's sockets; none where the file has no `[tftp]`.
    pub tftp: Option<TftpSockets>,
    /// Where administration listens.
    pub admin: Option<SocketAddr>,
    /// How the files are held.
    pub content: file::Content,
    /// Where log lines go.
    pub log: file::Log,
    /// Sections that are valid but not served yet.
    pub kept: Kept,
    /// What is in force and yet worth a look.
    pub warnings: Vec<String>,
}

/// Sections that this version reads and judges, but does not serve.
#[derive(Debug)]
pub struct Kept {
    /// `[[http]]`.
    pub http: Vec<file::Http>,
    /// `[[https]]`.
    pub https: Vec<file::Https>,
    /// `[ftp]`.
    pub ftp: Option<file::Ftp>,
    /// `[snmp]`.
    pub snmp: Option<file::Snmp>,
    /// `[vault]`.
    pub vault: Option<file::Vault>,
}

/// What the TFTP server listens on and sends from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TftpSockets {
    /// Addresses that requests come to.
    pub listen: Vec<SocketAddr>,
    /// Ports that answers leave from.
    pub ports: Ports,
    /// Receive buffer to ask of the kernel, in bytes, for each socket that takes requests.
    pub receive_buffer_bytes: usize,
}

/// Whether the disk may be looked at, or only the text judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Disk {
    Read,
    Leave,
}

/// Makes settings of a file; mistakes go to `found`.
pub(super) fn settle(path: &Path, file: File, disk: Disk, found: &mut Found) -> Settings {
    check::ports(&file, found);
    let data_dir = data_dir(path, &file);
    let here = |dir: &Path| normal(&data_dir.join(dir));
    let mut roots = Roots { dirs: Vec::new(), places: HashMap::new() };
    let mut warnings = Vec::new();
    let later = later(&file);
    if let Some(sections) = join(&later) {
        warnings.push(format!(
            "{sections} can be read and kept, but this version does not serve that yet: \
             it serves TFTP and administration"
        ));
    }
    if disk == Disk::Read {
        directories(&file, &data_dir, found);
    }
    if file.tftp.is_none() && later.is_empty() && found.is_empty() {
        found.fault_anywhere("nothing is served; add a section such as [tftp]");
    }
    let (uploads, upload_dirs) = rows::uploads(file.uploads, &data_dir, here, found);
    let mut policy = Policy {
        access: access(&file.access, &data_dir, disk, found, &mut warnings),
        slots: file.slots,
        routes: Routes::default(),
        uploads,
        paces: Arc::default(),
        tftp: TftpPolicy::default(),
        http: HttpPolicy::default(),
    };
    let tftp = file.tftp.map(|tftp| {
        check::times(&tftp, found);
        check::subnets(&tftp, found);
        policy.paces = Arc::new(paces(&tftp));
        tftp_policy(&tftp, &mut policy.tftp, |dir| roots.place(here(dir)), disk);
        tftp_sockets(tftp)
    });
    let subnets = file.roots.into_iter().map(|row| row.number(|dir| roots.place(here(dir))));
    policy.routes = Routes { subnets: subnets.collect(), remaps: file.remaps };
    if roots.dirs.len() > ROOTS_MAX {
        found.fault_anywhere(format!(
            "there are more than {ROOTS_MAX} root directories; name fewer"
        ));
    }
    let kept = Kept {
        http: file.http,
        https: file.https,
        ftp: file.ftp,
        snmp: file.snmp,
        vault: file.vault,
    };
    let mut log = file.log;
    log.file = log.file.map(|file| here(&file));
    Settings {
        file: path.to_owned(),
        workers: file.workers,
        user: file.user,
        group: file.group,
        drain: file.drain,
        policy: Arc::new(policy),
        roots: roots.dirs,
        upload_dirs,
        tftp,
        admin: file.admin.map(Spanned::into_inner),
        content: file.content,
        log,
        kept,
        warnings,
        data_dir,
    }
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
}

/// `data_dir`, which is relative to the file that names it.
fn data_dir(path: &Path, file: &File) -> PathBuf {
    let named = file.data_dir.as_ref().map_or(Path::new(DATA_DIR), |dir| dir.get_ref().as_path());
    normal(&path.parent().unwrap_or(Path::new("")).join(named))
}

/// The same path without `.` parts, so that one directory has one spelling.
fn normal(path: &Path) -> PathBuf {
    let parts: PathBuf = path.components().filter(|part| *part != Component::CurDir).collect();
    if parts.as_os_str().is_empty() { PathBuf::from(".") } else { parts }
}

/// The sections that this version reads and keeps without serving them.
fn later(file: &File) -> Vec<&'static str> {
    let sections = [
        ("[[http]]", !file.http.is_empty()),
        ("[[https]]", !file.https.is_empty()),
        ("[ftp]", file.ftp.is_some()),
        ("[snmp]", file.snmp.is_some()),
        ("[vault]", file.vault.is_some()),
    ];
    sections.into_iter().filter(|(_, here)| *here).map(|(name, _)| name).collect()
}

/// `a, b and c`; nothing where there is nothing.
fn join(names: &[&str]) -> Option<String> {
    match names {
        [] => None,
        [one] => Some((*one).to_owned()),
        [first @ .., last] => Some(format!("{} and {last}", first.join(", "))),
    }
}

fn directories(file: &File, data_dir: &Path, found: &mut Found) {
    let served = file.tftp.iter().map(|tftp| &tftp.root);
    let served = served.chain(file.http.iter().map(|http| &http.root));
    let served = served.chain(file.https.iter().map(|https| &https.root));
    let served = served.chain(file.ftp.iter().map(|ftp| &ftp.root));
    let served = served.chain(file.roots.iter().map(|roots| &roots.root));
    let mut named = Vec::new();
    for root in served.flatten() {
        if !named.iter().any(|known: &&Spanned<PathBuf>| known.get_ref() == root.get_ref()) {
            named.push(root);
        }
    }
    if !data_dir.exists() {
        let at = file.data_dir.as_ref().map_or(0..0, Spanned::span);
        let dirs = named.iter().map(|dir| normal(&data_dir.join(dir.get_ref())));
        let dirs: Vec<_> = dirs.map(|dir| dir.display().to_string()).collect();
        let (shown, dirs) = (data_dir.display(), dirs.join(" "));
        let mend = format!("make it, with its roots: mkdir -p {dirs}");
        found.fault(at, format!("`data_dir` means {shown}, which does not exist; {mend}"));
        return;
    }
    for root in named {
        let dir = normal(&data_dir.join(root.get_ref()));
        check::directory("root", root.span(), &dir, found);
    }
    for upload in &file.uploads {
        let dir = normal(&data_dir.join(upload.dir.get_ref()));
        check::directory("dir", upload.dir.span(), &dir, found);
    }
}

fn tftp_policy(
    tftp: &Tftp,
    policy: &mut TftpPolicy,
    mut root: impl FnMut(&Path) -> RootId,
    disk: Disk,
) {
    policy.stack = tftp.root.iter().map(|dir| root(dir.get_ref())).collect();
    policy.limits = tftp.limits;
    policy.subnets = subnet_rows(tftp);
    policy.answer_broadcast = tftp.answer_broadcast;
    policy.transfers_max = tftp.transfers_max;
    policy.half_open_max = tftp.half_open_max.min(tftp.transfers_max);
    policy.upload_memory_bytes_max = tftp.upload_memory;
    policy.interfaces = match disk {
        Disk::Read => interfaces::read(),
        Disk::Leave => Vec::new(),
    };
}

/// Rows by network, longest prefix first. A row with a pace of its own has a bucket of its own.
fn subnet_rows(tftp: &Tftp) -> Vec<(IpNet, TftpLimits)> {
    let mut buckets = 0;
    let mut rows = Vec::new();
    for subnet in &tftp.subnets {
        let mut limits = subnet.limits;
        if subnet.pace > 0 {
            limits.subnet_bucket = Some(buckets);
            buckets += 1;
        }
        rows.extend(subnet.net.iter().map(|net| (*net.get_ref(), limits)));
    }
    rows.sort_by_key(|(net, _)| std::cmp::Reverse(net.prefix_len()));
    rows
}

/// The caps, those of subnets in the order in which [`subnet_rows`] numbers them.
fn paces(tftp: &Tftp) -> Paces {
    let subnets = tftp.subnets.iter().filter(|subnet| subnet.pace > 0);
    Paces {
        all: (tftp.pace > 0).then(|| Pace::new(tftp.pace)),
        subnets: subnets.map(|subnet| Pace::new(subnet.pace)).collect(),
    }
}

fn tftp_sockets(tftp: Tftp) -> TftpSockets {
    TftpSockets {
        listen: tftp.listen.into_iter().map(Spanned::into_inner).collect(),
        ports: tftp.ports.map(Spanned::into_inner).unwrap_or_default(),
        receive_buffer_bytes: usize::try_from(tftp.receive_buffer).unwrap_or(usize::MAX),
    }
}

/// The lists in force: the configuration's and the classic's file. A client must be on both where
/// there are both, so neither opens what the other closes. Without any, private networks may ask.
fn access(
    file: &file::Access,
    data_dir: &Path,
    disk: Disk,
    found: &mut Found,
    warnings: &mut Vec<String>,
) -> Access {
    let mut classic = |name: &str| match disk {
        Disk::Read => classic_list(&data_dir.join(name), found, warnings),
        Disk::Leave => None,
    };
    let named = |name: &str, ranges: &[Range]| {
        let list = List::new(ranges.iter().copied());
        Arc::new(NamedList { name: format!("`{name}` in [access]").into(), list })
    };
    let general_file = classic("allow_IP.txt");
    let general = file.allow.as_ref().map(|ranges| named("allow", ranges));
    let private: Vec<_> = PRIVATE_NETS.iter().filter_map(|net| Range::parse(net).ok()).collect();
    let private = Arc::new(NamedList {
        name: "the list of private networks, which holds where no other list is given".into(),
        list: List::new(private),
    });
    let protocols = [
        (Protocol::Tftp, "tftp_allow", &file.tftp, "TFTP_allow_IP.txt"),
        (Protocol::Http, "http_allow", &file.http, "HTTP_allow_IP.txt"),
        (Protocol::Https, "https_allow", &file.https, "HTTPS_allow_IP.txt"),
        (Protocol::Ftp, "ftp_allow", &file.ftp, "FTP_allow_IP.txt"),
    ];
    let mut access = Access::default();
    let mut empty = Vec::new();
    for (protocol, key, ranges, file_name) in protocols {
        let configured = ranges.as_ref().map(|ranges| named(key, ranges)).or(general.clone());
        let filed = classic(file_name).or(general_file.clone());
        if configured.is_none() && filed.is_none() {
            access.limit(protocol, private.clone());
        }
        if ranges.as_ref().or(file.allow.as_ref()).is_some_and(Vec::is_empty) {
            empty.push(protocol.name());
        }
        for list in configured.into_iter().chain(filed) {
            access.limit(protocol, list);
        }
    }
    if let Some(names) = join(&empty) {
        warnings.push(format!("the list in [access] for {names} is empty: it allows nobody"));
    }
    access
}

/// Reads a list in the classic's form, if it is there. One that cannot be read is a mistake: to go
/// on without it would open the door.
fn classic_list(
    path: &Path,
    found: &mut Found,
    warnings: &mut Vec<String>,
) -> Option<Arc<NamedList>> {
    let shown = path.display();
    let text = match read_list(path) {
        Ok(text) => text,
        Err(fault) if fault.kind() == io::ErrorKind::NotFound => return None,
        Err(fault) => {
            let mend =
                format!("let this user read it, or move it away if it is not meant: {fault}");
            found.fault_anywhere(format!("the access list {shown} cannot be read; {mend}"));
            return None;
        }
    };
    let (list, bad) = List::parse(&text);
    for bad in bad {
        let (line, entry, why) = (bad.line, bad.entry, bad.why);
        warnings.push(format!("{shown}:{line}: `{entry}` {why}; until then it allows nobody"));
    }
    if list.is_empty() {
        warnings.push(format!("{shown}: has no entry that can be used, so it allows nobody"));
    }
    Some(Arc::new(NamedList { name: shown.to_string().into(), list }))
}

fn read_list(path: &Path) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    std::fs::File::open(path)?.take(LIST_BYTES_MAX + 1).read_to_end(&mut text)?;
    match text.len() as u64 > LIST_BYTES_MAX {
        true => Err(io::Error::other(format!("it is larger than {LIST_BYTES_MAX} bytes"))),
        false => Ok(text),
    }
}
