//! Checks keys against each other: ports that clash, times that contradict each other.

use std::net::{IpAddr, SocketAddr};
use std::ops::{Range, RangeInclusive};

use super::file::File;
use super::read::Findings;
use super::tftp::{Ports, Tftp};
use crate::net::listener::POOL_PORTS;
use engine::settings::tftp::TftpLimits;

/// The protocol of a port: the same number may serve both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Transport {
    Udp,
    Tcp,
}

impl Transport {
    fn name(self) -> &'static str {
        match self {
            Transport::Udp => "UDP",
            Transport::Tcp => "TCP",
        }
    }
}

/// A port that a listener claims.
struct Claim {
    transport: Transport,
    /// `None` means every address.
    ip: Option<IpAddr>,
    ports: RangeInclusive<u16>,
    /// The key, for messages.
    key: &'static str,
    at: Range<usize>,
}

impl Claim {
    fn of(key: &'static str, transport: Transport, listen: &toml::Spanned<SocketAddr>) -> Self {
        let address = listen.get_ref();
        let ports = address.port()..=address.port();
        let ip = Some(address.ip().to_canonical());
        Claim { transport, ip, ports, key, at: listen.span() }
    }

    /// Returns whether the two claims exclude each other. The system chooses port 0; `[::]` binds
    /// only IPv6, so it does not clash with `0.0.0.0`.
    fn clashes(&self, other: &Claim) -> bool {
        let ports = self.ports.start().max(other.ports.start());
        let shared = ports <= self.ports.end().min(other.ports.end()) && *ports != 0;
        let addresses = match (self.ip, other.ip) {
            (Some(one), Some(two)) => {
                let any = one.is_unspecified() || two.is_unspecified();
                one == two || (any && one.is_ipv4() == two.is_ipv4())
            }
            (None, _) | (_, None) => true,
        };
        shared && addresses && self.transport == other.transport
    }

    fn shown(&self) -> String {
        let (first, last) = (self.ports.start(), self.ports.end());
        match self.ip {
            Some(ip) => SocketAddr::new(ip, *first).to_string(),
            None if first == last => first.to_string(),
            None => format!("{first}-{last}"),
        }
    }
}

/// Reports every pair of listeners that claim the same port.
pub(super) fn ports(file: &File, found: &mut Findings) {
    let claims = claims(file);
    for (place, later) in claims.iter().enumerate() {
        let Some(earlier) = claims.iter().take(place).find(|earlier| earlier.clashes(later)) else {
            continue;
        };
        let text = format!(
            "{} {} wants the {} port that {} {} has (line {}); give one of them another port",
            later.key,
            later.shown(),
            later.transport.name(),
            earlier.key,
            earlier.shown(),
            found.line(&earlier.at),
        );
        found.fault(later.at.clone(), text);
    }
}

fn claims(file: &File) -> Vec<Claim> {
    let mut claims = Vec::new();
    if let Some(tftp) = &file.tftp {
        claims
            .extend(tftp.listen.iter().map(|at| Claim::of("`[tftp] listen`", Transport::Udp, at)));
        if let Some(ports) = &tftp.ports
            && let Ports::Range(range) = ports.get_ref()
        {
            let (ports, at) = (range.clone(), ports.span());
            claims.push(Claim { transport: Transport::Udp, ip: None, ports, key: "`ports`", at });
        }
    }
    let mut tcp = |key, listen: &[toml::Spanned<SocketAddr>]| {
        claims.extend(listen.iter().map(|at| Claim::of(key, Transport::Tcp, at)));
    };
    file.http.iter().for_each(|row| tcp("`[[http]] listen`", &row.listen));
    file.https.iter().for_each(|row| tcp("`[[https]] listen`", &row.http.listen));
    file.admin
        .iter()
        .for_each(|admin| tcp("`[admin] listen`", std::slice::from_ref(&admin.listen)));
    if let Some(ftp) = &file.ftp {
        tcp("`[ftp] listen`", &ftp.listen);
        tcp("`[ftp] tls_listen`", &ftp.tls_listen);
        let mut everywhere = |key, ports, at| {
            claims.push(Claim { transport: Transport::Tcp, ip: None, ports, key, at });
        };
        everywhere(
            "`passive_ports`",
            ftp.passive_ports.get_ref().clone(),
            ftp.passive_ports.span(),
        );
        let port = *ftp.active_port.get_ref();
        if ftp.active && port != 0 {
            everywhere("`active_port`", port..=port, ftp.active_port.span());
        }
    }
    claims
}

/// Warns of a port that can be bound only before privileges are dropped.
pub(super) fn active_port(file: &File, warnings: &mut Vec<String>) {
    let Some(ftp) = &file.ftp else { return };
    let port = *ftp.active_port.get_ref();
    if let Some(user) = &file.user
        && ftp.active
        && (1..1_024).contains(&port)
    {
        warnings.push(format!(
            "`active_port` in [ftp] is {port}, which the server cannot have any more once it is \
             user `{user}`, so active data connections fail; write active_port = 0, or let systemd \
             set the user and give CAP_NET_BIND_SERVICE"
        ));
    }
}

/// Reports a port range with fewer ports than workers.
pub(super) fn port_range(file: &File, found: &mut Findings) {
    let ports = file.tftp.as_ref().and_then(|tftp| tftp.ports.as_ref());
    let Some(ports) = ports else { return };
    let Ports::Range(range) = ports.get_ref() else { return };
    let workers = match file.workers {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        asked => asked,
    };
    let count = range.len();
    if count < workers {
        let (first, wanted) = (*range.start(), workers * POOL_PORTS);
        let last = usize::from(first) + wanted - 1;
        let mend = match last <= usize::from(u16::MAX) {
            true => format!("write \"{first}-{last}\", or fewer `workers`"),
            false => format!("name one of {wanted} ports, or write fewer `workers`"),
        };
        found.fault(
            ports.span(),
            format!(
                "`ports` has {count} of them, and each of {workers} workers needs one of its own; \
                 {mend}"
            ),
        );
    }
}

/// Reports times of a TFTP section that contradict each other.
pub(super) fn times(tftp: &Tftp, found: &mut Findings) {
    let mut check = |limits: &TftpLimits, at: Range<usize>| {
        if limits.first_timeout >= limits.silence_max {
            let (first, silence) = (limits.first_timeout, limits.silence_max);
            let text = format!(
                "`first_timeout` is {first:?} and `silence_max` {silence:?}, so nothing would ever \
                 be sent again; write a `first_timeout` well below `silence_max`"
            );
            found.fault(at.clone(), text);
        }
        if limits.second_copy_after >= limits.first_timeout {
            let (copy, first) = (limits.second_copy_after, limits.first_timeout);
            let text = format!(
                "`second_copy_after` is {copy:?} and `first_timeout` {first:?}; write a \
                 `second_copy_after` below `first_timeout`, such as \"1ms\""
            );
            found.fault(at, text);
        }
    };
    check(&tftp.limits, tftp.at.clone());
    for subnet in &tftp.subnets {
        check(&subnet.limits, subnet.at.clone());
    }
}

/// Reports networks that occur in two rows of `[[tftp.subnet]]`, which would be ambiguous.
pub(super) fn subnets(tftp: &Tftp, found: &mut Findings) {
    let nets: Vec<_> = tftp.subnets.iter().flat_map(|subnet| &subnet.net).collect();
    for (place, later) in nets.iter().enumerate() {
        let same = |earlier: &&&toml::Spanned<ipnet::IpNet>| earlier.get_ref() == later.get_ref();
        let Some(earlier) = nets.iter().take(place).find(same) else { continue };
        let (net, line) = (later.get_ref(), found.line(&earlier.span()));
        let text = format!("`net` has {net}, which line {line} has too; take one of them out");
        found.fault(later.span(), text);
    }
}
