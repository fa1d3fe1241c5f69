//! The configuration file as typed rows, section by section, each default in one place.
//!
//! Validates single keys. `check.rs` validates keys against each other; `settings.rs` turns them
//! into settings.

use std::net::SocketAddr;
use std::ops::{Range, RangeInclusive};
use std::path::PathBuf;

use ipnet::IpNet;
use toml::Spanned;
use toml::de::DeTable;
use tracing::Level;

use super::ftp::Ftp;
use super::http::{self, CaSettings, Http, Https};
use super::protect::Protect;
use super::read::{Findings, Section};
use super::rows::{self, Roots, Upload};
use super::tftp::Tftp;
use super::value::Size;
use super::vault::Vault;
use super::{redirects, snmp};
use engine::admission::access::Range as Clients;
use engine::admission::booting::STORM_PHONES_MIN_DEFAULT;
use engine::admission::guesses::GuessLimits;
use engine::admission::order::{DELAY_LIMIT, OrderLimits};
use engine::admission::slots::SlotLimits;
use engine::policy::redirect::Redirect;
use engine::policy::remap::Remap;
use engine::settings::http::StreamLimits;
use engine::settings::snmp::SnmpPolicy;
use wire::time::Duration;

/// Most workers that can be configured.
const WORKERS_MAX: u64 = 256;
/// Most transfers per worker that can be configured.
pub(super) const TRANSFERS_LIMIT: u64 = 4_000_000;
/// Most misses per address that can be configured.
const MISSES_LIMIT: u64 = 1_000_000;
/// Most threads that may wait for disks.
const THREADS_MAX: u64 = 64;
/// Smallest size in bytes at which a new log file begins.
const LOG_BYTES_MIN: u64 = 64 << 10;
/// The default access list: private and local networks.
pub(super) const PRIVATE_NETS: [&str; 7] = [
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "127.0.0.0/8",
    "fc00::/7",
    "fe80::/10",
    "::1",
];

/// A list of values, each with its position in the file.
pub(super) type Many<T> = Vec<Spanned<T>>;

/// The whole file.
#[derive(Debug)]
pub(super) struct File {
    pub(super) data_dir: Option<Spanned<PathBuf>>,
    pub(super) workers: usize,
    pub(super) user: Option<String>,
    /// The position of the user.
    pub(super) user_at: Range<usize>,
    pub(super) group: Option<String>,
    pub(super) drain: Duration,
    pub(super) tftp: Option<Tftp>,
    pub(super) http: Vec<Http>,
    pub(super) https: Vec<Https>,
    pub(super) http_limits: StreamLimits,
    pub(super) cache_control: Box<[u8]>,
    pub(super) ca: CaSettings,
    pub(super) ftp: Option<Ftp>,
    pub(super) snmp: SnmpPolicy,
    pub(super) vault: Option<Vault>,
    pub(super) admin: Option<Admin>,
    pub(super) slots: SlotLimits,
    pub(super) order: OrderLimits,
    pub(super) storm_phones_min: u64,
    pub(super) guesses: GuessLimits,
    pub(super) access: Access,
    pub(super) redirects: Vec<Redirect>,
    pub(super) remaps: Vec<Remap>,
    pub(super) roots: Vec<Roots>,
    pub(super) uploads: Vec<Upload>,
    pub(super) protects: Vec<Protect>,
    pub(super) content: Content,
    pub(super) log: Log,
}

/// `[admin]`: the administration pages.
#[derive(Debug)]
pub(super) struct Admin {
    pub(super) listen: Spanned<SocketAddr>,
    /// Names that the pages may be reached by, besides addresses.
    pub(super) hosts: Vec<String>,
}

/// `[access]`: an optional list for each protocol.
#[derive(Debug)]
pub(super) struct Access {
    pub(super) allow: Option<Vec<Clients>>,
    pub(super) tftp: Option<Vec<Clients>>,
    pub(super) http: Option<Vec<Clients>>,
    pub(super) https: Option<Vec<Clients>>,
    pub(super) ftp: Option<Vec<Clients>>,
}

/// `[content]`: how files are read and kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Content {
    /// Largest file in bytes that is always copied to memory; a larger one is mapped if the budget
    /// has no room.
    pub(crate) heap_file_bytes_max: u64,
    /// Bytes of files in memory; beyond them, the file unused for the longest time is dropped.
    pub(crate) heap_budget_bytes: u64,
    /// Interval between two scans of the directories, besides the kernel's change events.
    pub(crate) rescan: Duration,
    /// Threads that may wait for a disk.
    pub(crate) threads: usize,
    /// How long phones wait for a disk that does not answer.
    pub(crate) disk_wait: Duration,
}

/// The form of log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// `[log]`: where lines are written and how long they are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Log {
    /// The form of the lines.
    pub(crate) format: LogFormat,
    /// The file; `None` for standard error.
    pub(crate) file: Option<PathBuf>,
    /// Size in bytes at which a new file begins.
    pub(crate) file_bytes_max: u64,
    /// Files kept, the current one included.
    pub(crate) files_max: usize,
    /// Age at which a new file begins; zero disables it.
    pub(crate) age_max: Duration,
    /// The least severe level that is written.
    pub(crate) level: Level,
}

impl File {
    /// Reads the whole file; reports mistakes to `found` and reads on.
    pub(super) fn read(table: &Spanned<DeTable<'_>>, found: &mut Findings) -> Self {
        let mut top = Section::top(table);
        let (http_limits, cache_control) = http::limits(top.section("http_limits", found), found);
        let (order, storm_phones_min) = storm(top.section("storm", found), found);
        let file = File {
            data_dir: top.take("data_dir", found),
            workers: top
                .number("workers", 0..=WORKERS_MAX, "Ringpost", found)
                .map_or(0, |workers| workers as usize),
            user: top.take("user", found),
            user_at: top.place("user"),
            group: top.take("group", found),
            drain: top.take("drain", found).unwrap_or(Duration::from_secs(30)),
            tftp: Tftp::read(top.section("tftp", found), found),
            http: rows(&mut top, "http", found, Http::read),
            https: rows(&mut top, "https", found, Https::read),
            http_limits,
            cache_control,
            ca: http::ca(top.section("ca", found), found),
            ftp: Ftp::read(top.section("ftp", found), found),
            snmp: snmp::read(top.section("snmp", found), found),
            vault: Vault::read(top.section("vault", found), found),
            admin: Admin::read(top.section("admin", found), found),
            slots: sessions(top.section("sessions", found), found),
            order,
            storm_phones_min,
            guesses: guesses(top.section("guesses", found), found),
            access: Access::read(top.section("access", found), found),
            redirects: rows(&mut top, "redirect", found, redirects::read),
            remaps: rows(&mut top, "remap", found, rows::remap),
            roots: rows(&mut top, "roots", found, Roots::read),
            uploads: rows(&mut top, "upload", found, Upload::read),
            protects: rows(&mut top, "protect", found, Protect::read),
            content: Content::read(top.section("content", found), found),
            log: Log::read(top.section("log", found), found),
        };
        top.finish(found);
        file
    }
}

fn rows<T>(
    top: &mut Section<'_, '_>,
    key: &'static str,
    found: &mut Findings,
    read: fn(Section<'_, '_>, &mut Findings) -> Option<T>,
) -> Vec<T> {
    let rows = top.rows(key, key, found);
    rows.into_iter().filter_map(|row| read(row, found)).collect()
}

/// A number of bytes.
pub(super) fn bytes(
    section: &mut Section<'_, '_>,
    key: &'static str,
    otherwise: u64,
    found: &mut Findings,
) -> u64 {
    section.take(key, found).map_or(otherwise, |size: Size| size.0)
}

/// A number of bytes within a range.
pub(super) fn bytes_within(
    section: &mut Section<'_, '_>,
    key: &'static str,
    range: RangeInclusive<u64>,
    otherwise: u64,
    found: &mut Findings,
) -> u64 {
    let Some(Size(bytes)) = section.take(key, found) else { return otherwise };
    if range.contains(&bytes) {
        return bytes;
    }
    let (low, high) = (range.start(), range.end());
    let mend = "write a size in that range or leave the line out";
    let text = format!("`{key}` is {bytes} bytes; Ringpost allows {low} to {high}; {mend}");
    found.fault(section.place(key), text);
    otherwise
}

/// A duration other than zero.
pub(super) fn positive(
    section: &mut Section<'_, '_>,
    key: &'static str,
    found: &mut Findings,
) -> Option<Duration> {
    let time: Spanned<Duration> = section.take(key, found)?;
    if time.get_ref().is_zero() {
        let text = format!("`{key}` is zero; write a time such as \"1s\" or leave the line out");
        found.fault(time.span(), text);
        return None;
    }
    Some(*time.get_ref())
}

/// `listen`, or the classic's ports if the section does not set it.
pub(super) fn listen(
    section: &mut Section<'_, '_>,
    otherwise: &[&str],
    found: &mut Findings,
) -> Many<SocketAddr> {
    let at = section.at();
    let listed: Option<Spanned<Many<SocketAddr>>> = section.take("listen", found);
    match listed {
        Some(listed) if listed.get_ref().is_empty() => {
            let such = otherwise.first().unwrap_or(&"0.0.0.0:69");
            let text = format!(
                "`listen` has no address that can be used; write one such as {such:?}, or take \
                 the section out"
            );
            found.fault(listed.span(), text);
            Vec::new()
        }
        Some(listed) => listed.into_inner(),
        None => {
            let parsed = otherwise.iter().filter_map(|address| address.parse().ok());
            parsed.map(|address| Spanned::new(at.clone(), address)).collect()
        }
    }
}

/// `root`: the directories of a listener, searched in order.
pub(super) fn root(
    section: &mut Section<'_, '_>,
    otherwise: &[&str],
    found: &mut Findings,
) -> Many<PathBuf> {
    let at = section.at();
    let listed: Option<Spanned<Many<PathBuf>>> = section.take("root", found);
    if let Some(listed) = &listed
        && listed.get_ref().is_empty()
    {
        let text =
            "`root` names no directory; write one such as [\"common\"], or leave the line out";
        found.fault(listed.span(), text);
    }
    let defaults = || otherwise.iter().map(|dir| Spanned::new(at.clone(), PathBuf::from(dir)));
    listed.map_or_else(|| defaults().collect(), Spanned::into_inner)
}

/// `from`: the networks that a row applies to; all by default.
pub(super) fn from(row: &mut Section<'_, '_>, found: &mut Findings) -> Vec<IpNet> {
    row.take("from", found).unwrap_or_default()
}

impl Admin {
    fn read(mut section: Section<'_, '_>, found: &mut Findings) -> Option<Self> {
        let otherwise = Spanned::new(section.at(), SocketAddr::from(([127, 0, 0, 1], 6_090)));
        let listen = section.take("listen", found).unwrap_or(otherwise);
        let hosts: Many<String> = section.take("hosts", found).unwrap_or_default();
        for host in &hosts {
            let is_name = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.' || c == '_';
            if !host.get_ref().chars().all(is_name) {
                let text = format!(
                    "`hosts` has {:?}; write the name alone, without a scheme or a port",
                    host.get_ref()
                );
                found.fault(host.span(), text);
            }
        }
        let here = section.is_there();
        section.finish(found);
        let hosts = hosts.into_iter().map(Spanned::into_inner).collect();
        here.then_some(Admin { listen, hosts })
    }
}

fn sessions(mut section: Section<'_, '_>, found: &mut Findings) -> SlotLimits {
    let otherwise = SlotLimits::default();
    let clients_max = section.number("clients_max", 0..=TRANSFERS_LIMIT, "Ringpost", found);
    let limits = SlotLimits {
        clients_max: clients_max.map_or(otherwise.clients_max, |clients| clients as usize),
        hold: section.take("hold", found).unwrap_or(otherwise.hold),
        idle_place: section.take("idle_place", found).unwrap_or(otherwise.idle_place),
        overflow: section.take("overflow", found).unwrap_or(otherwise.overflow),
        queue_wait: section.take("queue_wait", found).unwrap_or(otherwise.queue_wait),
    };
    section.finish(found);
    limits
}

fn storm(mut section: Section<'_, '_>, found: &mut Findings) -> (OrderLimits, u64) {
    let otherwise = OrderLimits::default();
    let at_once = section.number("at_once", 16..=65_536, "Ringpost", found);
    let delay: Option<Spanned<Duration>> = section.take("delay_max", found);
    if let Some(delay) = delay.as_ref().filter(|delay| *delay.get_ref() > DELAY_LIMIT) {
        let text = format!(
            "`delay_max` is longer than {} s, in which phones ask again; \"500ms\" is right for \
             most",
            DELAY_LIMIT.as_secs()
        );
        found.fault(delay.span(), text);
    }
    let limits = OrderLimits {
        order: section.take("order", found).unwrap_or(otherwise.order),
        at_once: at_once.map_or(otherwise.at_once, |packets| packets as u32),
        delay_max: delay.map_or(otherwise.delay_max, Spanned::into_inner),
    };
    let phones_min = section.number("phones_min", 1..=TRANSFERS_LIMIT, "Ringpost", found);
    section.finish(found);
    (limits, phones_min.unwrap_or(STORM_PHONES_MIN_DEFAULT))
}

fn guesses(mut section: Section<'_, '_>, found: &mut Findings) -> GuessLimits {
    let otherwise = GuessLimits::default();
    let most = 0..=MISSES_LIMIT;
    let misses_max = section.number("misses_max", most.clone(), "Ringpost", found);
    let misses_per_hour = section.number("misses_per_hour", most, "Ringpost", found);
    let trusted: Option<Many<IpNet>> = section.take("trusted_networks", found);
    let trusted = trusted.unwrap_or_default();
    section.finish(found);
    GuessLimits {
        misses_max: misses_max.map_or(otherwise.misses_max, |misses| misses as u32),
        misses_per_hour: misses_per_hour.map_or(otherwise.misses_per_hour, |misses| misses as u32),
        trusted: trusted.iter().map(|net| *net.get_ref()).collect(),
    }
}

impl Access {
    fn read(mut section: Section<'_, '_>, found: &mut Findings) -> Self {
        let mut list = |key| section.take(key, found);
        let access = Access {
            allow: list("allow"),
            tftp: list("tftp_allow"),
            http: list("http_allow"),
            https: list("https_allow"),
            ftp: list("ftp_allow"),
        };
        section.finish(found);
        access
    }
}

impl Content {
    fn read(mut section: Section<'_, '_>, found: &mut Findings) -> Self {
        let threads = section.number("threads", 1..=THREADS_MAX, "Ringpost", found);
        let content = Content {
            heap_file_bytes_max: bytes(&mut section, "heap_file_max", 1 << 20, found),
            heap_budget_bytes: bytes(&mut section, "heap_budget", 256 << 20, found),
            rescan: positive(&mut section, "rescan", found).unwrap_or(Duration::from_secs(60)),
            threads: threads.map_or(2, |threads| threads as usize),
            disk_wait: positive(&mut section, "disk_wait", found).unwrap_or(Duration::from_secs(5)),
        };
        section.finish(found);
        content
    }
}

impl Log {
    fn read(mut section: Section<'_, '_>, found: &mut Findings) -> Self {
        let files_max = section.number("max_files", 1..=1_000, "Ringpost", found);
        let log = Log {
            format: section.take("format", found).unwrap_or_default(),
            file: section.take("file", found),
            file_bytes_max: bytes(&mut section, "max_size", 64 << 20, found).max(LOG_BYTES_MIN),
            files_max: files_max.map_or(8, |files| files as usize),
            age_max: section.take("max_age", found).unwrap_or(Duration::ZERO),
            level: section.take("level", found).unwrap_or(Level::INFO),
        };
        section.finish(found);
        log
    }
}
