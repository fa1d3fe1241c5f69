//! The names of this host: every name and address that phones may reach it by.
//!
//! Asks only the system, never the network.

use std::collections::HashSet;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::sys::interfaces;

/// Most names, and most addresses, in a certificate.
const NAMES_MAX: usize = 100;

/// Names and addresses, each once, in a stable order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Names {
    /// The host's own name first.
    pub(crate) dns: Vec<String>,
    /// Loopback first.
    pub(crate) addresses: Vec<IpAddr>,
}

impl Names {
    /// Returns those of this host, and the configured listen addresses: one of them may be on
    /// another host right now.
    pub(crate) fn of_host(listen: impl Iterator<Item = SocketAddr>) -> Names {
        let text = |path| fs::read_to_string(path).unwrap_or_default();
        let own = interfaces::addresses().into_iter();
        let addresses = own.chain(listen.map(|address| address.ip()));
        Names::new(
            &interfaces::host_name(),
            addresses,
            &text("/etc/hosts"),
            &text("/etc/resolv.conf"),
        )
    }

    fn new(
        host: &str,
        addresses: impl Iterator<Item = IpAddr>,
        hosts: &str,
        resolver: &str,
    ) -> Names {
        let mut all = vec![IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
        let mut others: Vec<_> = addresses.filter(is_reachable).collect();
        others.sort_unstable();
        others.retain(|address| !address.is_loopback());
        others.dedup();
        all.extend(others);
        let mut dns = vec![host.to_owned()];
        if let Some(domain) = domain(resolver).filter(|_| !host.contains('.')) {
            dns.push(format!("{host}.{domain}"));
        }
        dns.extend(aliases(hosts, &all));
        dns.push("localhost".into());
        let mut seen = HashSet::new();
        dns.iter_mut().for_each(|name| name.make_ascii_lowercase());
        dns.retain(|name| is_dns_name(name) && seen.insert(name.clone()));
        dns.truncate(NAMES_MAX);
        all.truncate(NAMES_MAX);
        Names { dns, addresses: all }
    }

    /// Returns the host's first name.
    pub(crate) fn host(&self) -> &str {
        self.dns.first().map_or("ringpost", String::as_str)
    }

    /// Returns all of them as texts, as in certificates.
    pub(crate) fn texts(&self) -> Vec<String> {
        let addresses = self.addresses.iter().map(IpAddr::to_string);
        self.dns.iter().cloned().chain(addresses).collect()
    }
}

/// Returns whether phones can use the address. Link-local ones need a zone.
fn is_reachable(address: &IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => !v4.is_unspecified() && !v4.is_link_local(),
        IpAddr::V6(v6) => !v6.is_unspecified() && !v6.is_unicast_link_local(),
    }
}

/// Returns the names of this host's addresses in `/etc/hosts`; 127.0.1.1 is Debian's for its own
/// name.
fn aliases(hosts: &str, own: &[IpAddr]) -> Vec<String> {
    let mut names = Vec::new();
    for line in hosts.lines() {
        let mut words = line.split('#').next().unwrap_or("").split_ascii_whitespace();
        let Some(Ok(address)) = words.next().map(str::parse::<IpAddr>) else { continue };
        if address.is_loopback() || own.contains(&address) {
            names.extend(words.filter(|name| !name.starts_with("ip6-")).map(str::to_owned));
        }
    }
    names
}

/// Returns the resolver's domain for this host.
fn domain(resolver: &str) -> Option<&str> {
    let line = |key: &str| {
        let lines = resolver.lines().filter_map(|line| line.trim().strip_prefix(key));
        lines.filter_map(|rest| rest.split_ascii_whitespace().next()).next_back()
    };
    line("domain ").or_else(|| line("search ")).map(|name| name.trim_end_matches('.'))
}

/// Returns whether a name may be in a certificate (RFC 1034, section 3.5, digits first allowed).
fn is_dns_name(name: &str) -> bool {
    let is_label = |label: &str| {
        let inner = label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        (1..=63).contains(&label.len()) && inner && !label.starts_with('-') && !label.ends_with('-')
    };
    name.len() <= 253 && name.split('.').all(is_label) && name.parse::<IpAddr>().is_err()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn every_name_and_address_stands_there_once() {
        let addresses = ["10.1.2.3", "fe80::1", "127.0.0.1", "0.0.0.0", "fd00::5", "10.1.2.3"];
        let hosts = "127.0.0.1 localhost ip6-localhost\n127.0.1.1 Phones.Example.org phones # me\n\
                     10.1.2.3\tfiles\n10.9.9.9 stranger\nnonsense\n::1 localhost bad_name\n";
        let resolver = "nameserver 10.0.0.1\nsearch campus.example. other\n";
        let names = Names::new("PHONES", addresses.map(ip).into_iter(), hosts, resolver);
        let dns = ["phones", "phones.campus.example", "localhost", "phones.example.org", "files"];
        assert_eq!(names.dns, dns);
        assert_eq!(names.addresses, ["127.0.0.1", "::1", "10.1.2.3", "fd00::5"].map(ip));
        assert_eq!(names.host(), "phones");
        assert!(names.texts().contains(&"fd00::5".to_owned()));
    }

    #[test]
    fn what_is_no_dns_name_is_left_out() {
        let bad = ["", "-a", "a-", "a..b", "a_b", "a b", "ä.example", "10.0.0.1", &"x".repeat(64)];
        assert!(bad.iter().all(|name| !is_dns_name(name)));
        assert!(["a", "9610", "a-b.c", "xn--4ca.example"].iter().all(|name| is_dns_name(name)));
    }

    #[test]
    fn this_host_has_a_name_and_loopback() {
        let listen = ["192.0.2.7:443".parse().unwrap(), "[::]:443".parse().unwrap()];
        let names = Names::of_host(listen.into_iter());
        assert!(names.addresses.starts_with(&[ip("127.0.0.1"), ip("::1")]));
        assert!(names.addresses.contains(&ip("192.0.2.7")), "a floating address");
        assert!(!names.addresses.contains(&ip("::")) && names.dns.contains(&"localhost".into()));
    }
}
