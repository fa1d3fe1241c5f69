//! `[ftp]`: where FTP listens, who may log in, where data connections go, and the limits.
//!
//! Validates the section by itself. `check.rs` and `exposure.rs` validate it against others.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::{Range, RangeInclusive};
use std::path::{Path, PathBuf};

use ipnet::{IpNet, Ipv4Net};
use toml::Spanned;
use toml::de::DeValue;

use super::file::{Many, bytes, bytes_within, listen, positive, root};
use super::http::{ClientAuth, TlsSettings, pair};
use super::read::{Findings, Read, Section, ValueContext, shown};
use engine::catalog::RootId;
use engine::protocol::Protocol;
use engine::settings::ftp::{Administrators, FtpLimits, FtpListener, FtpPolicy};
use wire::time::Duration;

/// The default address, as in the classic.
const LISTEN: &str = "0.0.0.0:21";
/// The default ports of passive data connections.
const PASSIVE_PORTS: RangeInclusive<u16> = 50_000..=50_999;
/// Fewest ports of that range: a port stays taken for a while after each connection.
const PASSIVE_PORTS_MIN: usize = 10;
/// The default names that phones log in by.
const PHONES: [&str; 2] = ["anonymous", "ftp"];
/// Most sessions per worker: each needs two descriptors while it transfers.
const SESSIONS_LIMIT: u64 = 1_000_000;
/// Range of the line length limit, in bytes.
const LINE_BYTES: RangeInclusive<u64> = 512..=16 << 10;
/// Most passive ports that are possible.
const PORTS_LIMIT: u64 = 65_535;
/// Longest configurable delay before an upload is stored.
const COMMIT_DELAY_MAX: Duration = Duration::from_secs(5);
/// Longest login name, in bytes.
const NAME_BYTES_MAX: usize = 128;

/// `[ftp]`.
#[derive(Debug)]
pub(super) struct Ftp {
    /// The position of the section.
    pub(super) at: Range<usize>,
    pub(super) listen: Many<SocketAddr>,
    /// The addresses with implicit TLS.
    pub(super) tls_listen: Many<SocketAddr>,
    pub(super) root: Many<PathBuf>,
    /// Whether TLS is offered at all.
    pub(super) tls: Spanned<bool>,
    pub(super) certificate: Spanned<PathBuf>,
    pub(super) key: Spanned<PathBuf>,
    pub(super) passive_ports: Spanned<RangeInclusive<u16>>,
    pub(super) passive_addresses: Vec<(Ipv4Net, Ipv4Addr)>,
    pub(super) active: bool,
    pub(super) active_port: Spanned<u16>,
    /// Whether it offers the vault, if set.
    pub(super) vault: Option<Spanned<bool>>,
    pub(super) phones: Many<String>,
    pub(super) trusted_networks: Many<IpNet>,
    pub(super) users: Option<Spanned<PathBuf>>,
    pub(super) cleartext: Spanned<bool>,
    pub(super) limits: FtpLimits,
}

/// The server's address in `PASV` replies, for one network.
struct PassiveAddress {
    address: Ipv4Addr,
    /// `None` means all.
    from: Option<Many<IpNet>>,
    at: Range<usize>,
}

/// One address for all clients, or rows.
struct PassiveAddresses(Vec<PassiveAddress>);

impl Ftp {
    pub(super) fn read(mut section: Section<'_, '_>, found: &mut Findings) -> Option<Self> {
        let (at, here) = (section.at(), section.is_there());
        let (listen, tls_listen) = listeners(&mut section, found);
        let port = section.number("active_port", 0..=65_535, "TCP", found);
        let port = Spanned::new(section.place("active_port"), port.map_or(0, |port| port as u16));
        let (certificate, key) = pair(&mut section, found);
        let addresses = section.take("passive_address", found);
        let ftp = Ftp {
            listen,
            tls_listen,
            root: root(&mut section, &["common"], found),
            tls: section.take("tls", found).unwrap_or_else(|| Spanned::new(at.clone(), true)),
            certificate,
            key,
            passive_ports: passive_ports(&mut section, found),
            passive_addresses: addresses.map_or_else(Vec::new, |rows| networks(rows, found)),
            active: section.take("active", found).unwrap_or(true),
            active_port: port,
            vault: section.take("vault", found),
            phones: phones(&mut section, found),
            trusted_networks: section.take("trusted_networks", found).unwrap_or_default(),
            users: section.take("users", found),
            cleartext: section
                .take("cleartext", found)
                .unwrap_or_else(|| Spanned::new(at.clone(), false)),
            limits: limits(&mut section, found),
            at,
        };
        section.finish(found);
        here.then_some(ftp)
    }

    /// Returns every listener, those that begin in clear first.
    pub(super) fn listeners(&self) -> Vec<FtpListener> {
        let tls = *self.tls.get_ref();
        let clear = self.listen.iter().map(|at| (*at.get_ref(), false));
        let secured = self.tls_listen.iter().map(|at| (*at.get_ref(), true));
        let listener = |(address, implicit)| FtpListener { address, implicit, tls };
        clear.chain(secured).map(listener).collect()
    }

    /// Returns the TLS settings of its connections, or `None` if they never use TLS.
    pub(super) fn secured(
        &self,
        line: usize,
        here: impl Fn(&Path) -> PathBuf,
    ) -> Option<TlsSettings> {
        self.tls.get_ref().then(|| TlsSettings {
            protocol: Protocol::Ftp,
            line,
            listen: self.listeners().iter().map(|listener| listener.address).collect(),
            certificate: here(self.certificate.get_ref()),
            key: here(self.key.get_ref()),
            client_auth: ClientAuth::Off,
            client_ca: None,
            client_crl: None,
            client_accept: Vec::new(),
            authenticate_only: false,
            legacy: false,
        })
    }

    /// Returns the section's policy, with its directories numbered. Tree, vault and the SNMP policy
    /// are added elsewhere.
    pub(super) fn policy(
        &self,
        here: impl Fn(&Path) -> PathBuf,
        mut number: impl FnMut(&Path) -> RootId,
    ) -> FtpPolicy {
        let administrators = self.users.as_ref().map(|users| Administrators {
            users: here(users.get_ref()),
            cleartext: *self.cleartext.get_ref(),
        });
        let address = |(net, address): &(Ipv4Net, Ipv4Addr)| ((*net).into(), (*address).into());
        FtpPolicy {
            listeners: self.listeners(),
            stack: self.root.iter().map(|dir| number(dir.get_ref())).collect(),
            phones: self.phones.iter().map(|name| name.get_ref().as_str().into()).collect(),
            trusted_networks: self.trusted_networks.iter().map(|net| *net.get_ref()).collect(),
            administrators,
            active: self.active,
            active_port: *self.active_port.get_ref(),
            passive_ports: self.passive_ports.get_ref().clone(),
            passive_addresses: self.passive_addresses.iter().map(address).collect(),
            limits: self.limits,
            ..FtpPolicy::default()
        }
    }

    /// Returns whether phones reach the vault there, if one is configured.
    pub(super) fn offers_vault(&self) -> bool {
        !self.phones.is_empty() && self.vault.as_ref().is_none_or(|said| *said.get_ref())
    }

    /// Formats the addresses, for messages.
    pub(super) fn shown(&self) -> String {
        let addresses = self.listen.iter().chain(&self.tls_listen);
        addresses.map(|address| address.get_ref().to_string()).collect::<Vec<_>>().join(", ")
    }
}

/// Reads the addresses in clear and those with implicit TLS. One is enough.
fn listeners(
    section: &mut Section<'_, '_>,
    found: &mut Findings,
) -> (Many<SocketAddr>, Many<SocketAddr>) {
    let tls_listen: Many<SocketAddr> = section.take("tls_listen", found).unwrap_or_default();
    if tls_listen.is_empty() {
        return (listen(section, &[LISTEN], found), tls_listen);
    }
    let listen = section.take("listen", found).unwrap_or_else(|| {
        let classic = LISTEN.parse().into_iter();
        classic.map(|address| Spanned::new(section.at(), address)).collect()
    });
    (listen, tls_listen)
}

fn passive_ports(
    section: &mut Section<'_, '_>,
    found: &mut Findings,
) -> Spanned<RangeInclusive<u16>> {
    let ports: Option<Spanned<RangeInclusive<u16>>> = section.take("passive_ports", found);
    let Some(ports) = ports else { return Spanned::new(section.at(), PASSIVE_PORTS) };
    let (first, last) = (ports.get_ref().start(), ports.get_ref().end());
    let many = ports.get_ref().len();
    if many < PASSIVE_PORTS_MIN {
        let text = format!(
            "`passive_ports` is {first}-{last}, {many} ports; so few are soon all taken, and \
             transfers fail; write {PASSIVE_PORTS_MIN} or more, such as \"50000-50999\""
        );
        found.fault(ports.span(), text);
    }
    if *first < 1_024 {
        let text = format!(
            "`passive_ports` begins with {first}, and ports below 1024 need a privilege that the \
             server gives up when it starts; write higher ones, such as \"50000-50999\""
        );
        found.fault(ports.span(), text);
    }
    ports
}

/// Returns the rows by network, in the order of the file.
fn networks(rows: PassiveAddresses, found: &mut Findings) -> Vec<(Ipv4Net, Ipv4Addr)> {
    let mut networks: Vec<(Ipv4Net, Ipv4Addr, usize)> = Vec::new();
    for PassiveAddress { address, from, at } in rows.0 {
        let all = || vec![Spanned::new(at.clone(), IpNet::V4(Ipv4Net::default()))];
        for net in from.unwrap_or_else(all) {
            let line = found.line(&net.span());
            let IpNet::V4(network) = *net.get_ref() else {
                let text = format!(
                    "`from` has {}, and `passive_address` is for IPv4 alone: over IPv6 clients \
                     ask with EPSV, which needs none; take it out",
                    net.get_ref()
                );
                found.fault(net.span(), text);
                continue;
            };
            if let Some((wider, _, earlier)) =
                networks.iter().find(|(wider, _, _)| wider.contains(&network))
            {
                let text = format!(
                    "`passive_address` for {network} is never reached: the first row that holds \
                     decides, and line {earlier} has {wider}; write this one before it"
                );
                found.fault(net.span(), text);
                continue;
            }
            networks.push((network, address, line));
        }
    }
    networks.into_iter().map(|(network, address, _)| (network, address)).collect()
}

fn phones(section: &mut Section<'_, '_>, found: &mut Findings) -> Many<String> {
    let at = section.at();
    let listed: Option<Many<String>> = section.take("phones", found);
    let Some(listed) = listed else {
        return PHONES.iter().map(|name| Spanned::new(at.clone(), (*name).into())).collect();
    };
    for name in &listed {
        let is_odd = |c: char| c.is_control() || c.is_whitespace();
        if name.get_ref().len() > NAME_BYTES_MAX || name.get_ref().contains(is_odd) {
            let text = format!(
                "`phones` has {}, which no phone could log in by; write a name of up to \
                 {NAME_BYTES_MAX} bytes without blanks",
                shown(&DeValue::String(name.get_ref().as_str().into()))
            );
            found.fault(name.span(), text);
        }
    }
    listed
}

fn limits(section: &mut Section<'_, '_>, found: &mut Findings) -> FtpLimits {
    let otherwise = FtpLimits::default();
    let number =
        |section: &mut Section<'_, '_>, key, range, otherwise: u64, found: &mut Findings| {
            section.number(key, range, "Ringpost", found).unwrap_or(otherwise)
        };
    let many = 1..=SESSIONS_LIMIT;
    let max = number(section, "sessions_max", many, otherwise.sessions_max as u64, found);
    let each =
        number(section, "per_address", 0..=SESSIONS_LIMIT, otherwise.per_address_max as u64, found);
    let (rate, logins) = (otherwise.commands_per_second, otherwise.failed_logins_max);
    let rate = number(section, "commands_per_second", 1..=100_000, rate.into(), found);
    let logins = number(section, "failed_logins_max", 1..=100, logins.into(), found);
    let (ports, strangers) = (otherwise.passive_per_address_max, otherwise.strangers_ports_max);
    let ports = number(section, "passive_per_address", 0..=PORTS_LIMIT, ports.into(), found);
    let strangers = number(section, "passive_strangers", 1..=PORTS_LIMIT, strangers.into(), found);
    let line = otherwise.line_bytes_max as u64;
    let memory = otherwise.upload_memory_bytes_max;
    FtpLimits {
        sessions_max: max as usize,
        per_address_max: each as usize,
        line_bytes_max: bytes_within(section, "line_max", LINE_BYTES, line, found) as usize,
        commands_per_second: rate as u32,
        failed_logins_max: logins as u32,
        login_timeout: positive(section, "login_timeout", found).unwrap_or(otherwise.login_timeout),
        idle_timeout: positive(section, "idle_timeout", found).unwrap_or(otherwise.idle_timeout),
        data_timeout: positive(section, "data_timeout", found).unwrap_or(otherwise.data_timeout),
        stall_timeout: positive(section, "stall_timeout", found).unwrap_or(otherwise.stall_timeout),
        commit_delay: commit_delay(section, found).unwrap_or(otherwise.commit_delay),
        passive_per_address_max: ports as u32,
        strangers_ports_max: strangers as u32,
        upload_memory_bytes_max: bytes(section, "upload_memory", memory, found),
    }
}

/// Reads how long a completed upload waits for the control connection to close as well.
fn commit_delay(section: &mut Section<'_, '_>, found: &mut Findings) -> Option<Duration> {
    let delay = positive(section, "commit_delay", found)?;
    if delay > COMMIT_DELAY_MAX {
        let text = format!(
            "`commit_delay` is {delay:?}, and every upload in clear would be acknowledged so much \
             later; write {COMMIT_DELAY_MAX:?} or less, such as \"100ms\""
        );
        found.fault(section.place("commit_delay"), text);
    }
    Some(delay)
}

impl Read for Ipv4Addr {
    fn read(value: &Spanned<DeValue<'_>>, place: &mut ValueContext<'_>) -> Option<Self> {
        let address = value.get_ref().as_str().map(str::parse::<IpAddr>);
        let one = match address {
            Some(Ok(IpAddr::V4(one))) => Some(one),
            Some(Ok(IpAddr::V6(_)) | Err(_)) | None => None,
        };
        let is_one =
            |one: &Ipv4Addr| !one.is_unspecified() && !one.is_multicast() && !one.is_broadcast();
        let one = one.filter(is_one);
        if one.is_none() {
            let mend = "the IPv4 address of one host, such as \"203.0.113.7\" (PASV can say no \
                        other; over IPv6 clients ask with EPSV, which needs none)";
            place.wrong(value, mend);
        }
        one
    }
}

impl Read for PassiveAddresses {
    fn read(value: &Spanned<DeValue<'_>>, place: &mut ValueContext<'_>) -> Option<Self> {
        let rows: Vec<PassiveAddress> = match value.get_ref().is_array() {
            true => Read::read(value, place)?,
            false => vec![Read::read(value, place)?],
        };
        Some(PassiveAddresses(rows))
    }
}

impl Read for PassiveAddress {
    fn read(value: &Spanned<DeValue<'_>>, place: &mut ValueContext<'_>) -> Option<Self> {
        let at = value.span();
        if value.get_ref().is_table() {
            let mut row = Section::row(value, "passive_address");
            let address = row.need("address", "\"203.0.113.7\"", place.found);
            let from = row.take("from", place.found);
            row.finish(place.found);
            return Some(PassiveAddress { address: address?, from, at });
        }
        Some(PassiveAddress { address: Ipv4Addr::read(value, place)?, from: None, at })
    }
}
