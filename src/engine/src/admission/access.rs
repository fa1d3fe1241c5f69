//! Which client addresses may ask, per protocol.
//!
//! Reads lists; never opens their files. A list in the classic's form (`TFTP_allow_IP.txt`) holds
//! one entry a line: an address, the first numbers of one, a range, a network. An unreadable line
//! allows no address: a mistake in a list never opens it.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use ipnet::IpNet;

use crate::protocol::Protocol;

/// Longest entry that a message quotes, in characters.
const QUOTE_CHARS_MAX: usize = 60;

/// Addresses from the first to the last, both included and of one family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    first: IpAddr,
    last: IpAddr,
}

/// Why an entry cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadEntry {
    /// It has none of the forms.
    Unreadable,
    /// A range from an IPv4 to an IPv6 address.
    MixedFamilies,
    /// A range whose first address is behind its last.
    Backwards,
}

impl fmt::Display for BadEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            BadEntry::Unreadable => {
                "is no address, prefix, network or range; write 192.168.0.1, 192.168.0, \
                 192.168.0.0/24 or 192.168.0.1-192.168.0.128"
            }
            BadEntry::MixedFamilies => "mixes IPv4 and IPv6; write one range for each",
            BadEntry::Backwards => "runs backwards; write the lower address first",
        })
    }
}

impl Range {
    /// Reads one entry: `192.168.0.1`, `192.168.0`, `10.0.0.0/8`, `a-b`, `fe80::1`, `fc00::/7`.
    ///
    /// # Errors
    /// [`BadEntry`] says which rule the entry breaks.
    pub fn parse(entry: &str) -> Result<Range, BadEntry> {
        let entry = entry.trim();
        if let Some((first, last)) = entry.split_once('-') {
            let (first, last) = (address(first)?, address(last)?);
            return match (first.is_ipv4() == last.is_ipv4(), first <= last) {
                (true, true) => Ok(Range { first, last }),
                (true, false) => Err(BadEntry::Backwards),
                (false, _) => Err(BadEntry::MixedFamilies),
            };
        }
        if entry.contains('/') {
            return entry.parse().map(|net: IpNet| net.into()).map_err(|_| BadEntry::Unreadable);
        }
        match address(entry) {
            Ok(address) => Ok(Range { first: address, last: address }),
            Err(_) => prefix(entry).ok_or(BadEntry::Unreadable),
        }
    }
}

impl From<IpNet> for Range {
    fn from(net: IpNet) -> Self {
        // Both ends of a network inside ::ffff:0:0/96 are IPv4 addresses; of a wider network,
        // neither is.
        let (first, last) = (net.network().to_canonical(), net.broadcast().to_canonical());
        match first.is_ipv4() == last.is_ipv4() {
            true => Range { first, last },
            false => Range { first: net.network(), last: net.broadcast() },
        }
    }
}

fn address(text: &str) -> Result<IpAddr, BadEntry> {
    let address: IpAddr = text.trim().parse().map_err(|_| BadEntry::Unreadable)?;
    Ok(address.to_canonical())
}

/// The first one to three numbers of an IPv4 address, with or without a dot behind them.
fn prefix(entry: &str) -> Option<Range> {
    let mut first = [0; 4];
    let mut last = [u8::MAX; 4];
    let mut known = 0;
    for part in entry.strip_suffix('.').unwrap_or(entry).split('.') {
        let plain = part == "0" || !part.starts_with('0');
        let digits = part.bytes().all(|byte| byte.is_ascii_digit());
        let number = (plain && digits).then(|| part.parse().ok())??;
        (*first.get_mut(known)?, *last.get_mut(known)?) = (number, number);
        known += 1;
    }
    let of = |octets: [u8; 4]| IpAddr::V4(Ipv4Addr::from(octets));
    (known < 4).then(|| Range { first: of(first), last: of(last) })
}

/// Addresses that may ask: ranges, sorted and merged, so that a look-up is a binary search.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct List {
    v4: Vec<(u32, u32)>,
    v6: Vec<(u128, u128)>,
}

/// An unreadable line of a list; it allows no address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadLine {
    /// Its number, from 1.
    pub line: usize,
    /// What it says, cut to a readable length, control characters escaped.
    pub entry: String,
    /// What is wrong with it.
    pub why: BadEntry,
}

impl List {
    /// Makes the list of these ranges.
    #[must_use]
    pub fn new(ranges: impl IntoIterator<Item = Range>) -> Self {
        let mut list = List::default();
        for Range { first, last } in ranges {
            match (first, last) {
                (IpAddr::V4(first), IpAddr::V4(last)) => list.v4.push((first.into(), last.into())),
                (IpAddr::V6(first), IpAddr::V6(last)) => list.v6.push((first.into(), last.into())),
                (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => {}
            }
        }
        merge(&mut list.v4, |last| last.checked_add(1));
        merge(&mut list.v6, |last| last.checked_add(1));
        list
    }

    /// Reads a list in the classic's form: blanks, CR LF, empty lines and `#` comments are fine.
    #[must_use]
    pub fn parse(text: &[u8]) -> (List, Vec<BadLine>) {
        let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
        let mut bad = Vec::new();
        let mut ranges = Vec::new();
        for (index, line) in text.split(|byte| *byte == b'\n').enumerate() {
            let line = String::from_utf8_lossy(line);
            let entry = line.split('#').next().unwrap_or_default().trim();
            if entry.is_empty() {
                continue;
            }
            match Range::parse(entry) {
                Ok(range) => ranges.push(range),
                Err(why) => {
                    let entry = entry.escape_debug().take(QUOTE_CHARS_MAX).collect();
                    bad.push(BadLine { line: index + 1, entry, why });
                }
            }
        }
        (List::new(ranges), bad)
    }

    /// Returns whether an address is on the list. An IPv4-mapped address counts as the IPv4
    /// address.
    #[must_use]
    pub fn contains(&self, client: IpAddr) -> bool {
        match client.to_canonical() {
            IpAddr::V4(client) => lies_in(&self.v4, client.into()),
            IpAddr::V6(client) => lies_in(&self.v6, client.into()),
        }
    }

    /// Returns whether the list allows no address.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.v4.is_empty() && self.v6.is_empty()
    }
}

/// Sorts ranges and joins those that overlap or touch.
fn merge<N: Ord + Copy>(ranges: &mut Vec<(N, N)>, next: impl Fn(N) -> Option<N>) {
    ranges.sort_unstable();
    ranges.dedup_by(|later, kept| {
        let touches = next(kept.1).is_none_or(|next| later.0 <= next);
        if touches {
            kept.1 = kept.1.max(later.1);
        }
        touches
    });
}

fn lies_in<N: Ord + Copy>(ranges: &[(N, N)], address: N) -> bool {
    let behind = ranges.partition_point(|(first, _)| *first <= address);
    behind.checked_sub(1).and_then(|at| ranges.get(at)).is_some_and(|(_, last)| address <= *last)
}

/// A list, and where an administrator finds it, for messages.
#[derive(Clone, Debug)]
pub struct NamedList {
    /// A key of the configuration, or a file.
    pub name: Box<str>,
    /// Who is on it.
    pub list: List,
}

/// The lists of every protocol. A client must be on each list of its protocol; without lists, every
/// client may ask.
#[derive(Clone, Debug, Default)]
pub struct Access {
    lists: [Vec<Arc<NamedList>>; 4],
}

impl Access {
    /// Adds a list to those in force for a protocol.
    pub fn limit(&mut self, protocol: Protocol, list: Arc<NamedList>) {
        self.lists[index_of(protocol)].push(list);
    }

    /// Returns whether a client may ask by this protocol. Allocates nothing.
    #[must_use]
    pub fn permits(&self, protocol: Protocol, client: IpAddr) -> bool {
        self.denied_by(protocol, client).is_none()
    }

    /// Returns the list that keeps a client out, or `None` if no list does.
    #[must_use]
    pub fn denied_by(&self, protocol: Protocol, client: IpAddr) -> Option<&NamedList> {
        let lists = self.lists[index_of(protocol)].iter();
        lists.map(Arc::as_ref).find(|named| !named.list.contains(client))
    }
}

fn index_of(protocol: Protocol) -> usize {
    match protocol {
        Protocol::Tftp => 0,
        Protocol::Http => 1,
        Protocol::Https => 2,
        Protocol::Ftp => 3,
    }
}

/// What must hold for any bytes: each line is an entry or a bad line, and a look-up finds exactly
/// what the lines say.
pub fn check(text: &[u8]) {
    let (list, bad) = List::parse(text);
    assert!(list.v4.windows(2).all(|pair| pair[0].1 < pair[1].0));
    assert!(list.v6.windows(2).all(|pair| pair[0].1 < pair[1].0));
    let lines = text.split(|byte| *byte == b'\n').count();
    assert!(bad.len() <= lines && bad.iter().all(|bad| (1..=lines).contains(&bad.line)));
    for (first, last) in &list.v4 {
        assert!(list.contains(IpAddr::V4((*first).into())));
        assert!(list.contains(IpAddr::V4((*last).into())));
        let next = last.checked_add(1).map(|next| list.contains(IpAddr::V4(next.into())));
        assert_ne!(next, Some(true));
    }
    // A wide IPv6 range may end in the IPv4-mapped block, whose addresses count as IPv4.
    let finds = |end: IpAddr| end.to_canonical() != end || list.contains(end);
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    for line in String::from_utf8_lossy(text).lines() {
        let entry = line.split('#').next().unwrap_or_default();
        if let Ok(range) = Range::parse(entry) {
            assert!(finds(range.first) && finds(range.last), "{entry:?}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(list: &str, client: &str) -> bool {
        List::parse(list.as_bytes()).0.contains(client.parse().unwrap())
    }

    #[test]
    fn the_three_forms_of_the_classic_are_read() {
        assert!(allows("192.168.0.1", "192.168.0.1"));
        assert!(!allows("192.168.0.1", "192.168.0.2"));
        for prefix in ["192.168.0", "192.168.0."] {
            assert!(allows(prefix, "192.168.0.0") && allows(prefix, "192.168.0.255"));
            assert!(!allows(prefix, "192.168.1.0") && !allows(prefix, "192.167.255.255"));
        }
        assert!(allows("10", "10.255.255.255") && allows("10.1", "10.1.9.9"));
        let range = "192.168.0.10-192.168.1.20";
        assert!(allows(range, "192.168.0.10") && allows(range, "192.168.1.20"));
        assert!(!allows(range, "192.168.0.9") && !allows(range, "192.168.1.21"));
    }

    #[test]
    fn networks_and_ipv6_are_read_too() {
        assert!(allows("10.0.0.0/8", "10.1.2.3") && !allows("10.0.0.0/8", "11.0.0.0"));
        assert!(allows("fe80::/10", "fe80::1") && !allows("fe80::/10", "fec0::1"));
        assert!(allows("::1", "::1") && !allows("::1", "::2"));
        assert!(allows("2001:db8::1-2001:db8::9", "2001:db8::5"));
        assert!(allows("0.0.0.0/0", "255.255.255.255") && allows("::/0", "ffff::"));
    }

    #[test]
    fn an_ipv4_address_counts_as_such_inside_ipv6() {
        assert!(allows("192.168.0.1", "::ffff:192.168.0.1"));
        assert!(allows("::ffff:192.168.0.1", "192.168.0.1"));
        assert!(allows("::ffff:10.0.0.0/104", "10.2.3.4"));
        assert!(!allows("::/0", "::ffff:10.0.0.1"));
    }

    #[test]
    fn blanks_line_ends_comments_and_a_byte_order_mark_are_no_entries() {
        let list = "\u{feff}10.0.0.1\r\n\r\n  10.0.0.2\t# reception\r\n# 10.0.0.3\n\t\n10.0.0.4";
        let (parsed, bad) = List::parse(list.as_bytes());
        assert_eq!(bad, []);
        assert!(!parsed.is_empty());
        let clients = ["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4"];
        assert_eq!(clients.map(|client| allows(list, client)), [true, true, false, true]);
    }

    #[test]
    fn a_list_of_bad_lines_alone_allows_nobody() {
        let list = b"any\n256.1.1.1\n10.0.0.9-10.0.0.1\n10.0.0.1-::1\n1.2.3.4.5\n010.1\n*\n-\n\xff";
        let (parsed, bad) = List::parse(list);
        assert!(parsed.is_empty());
        assert!(!parsed.contains("10.0.0.1".parse().unwrap()));
        let lines: Vec<_> = bad.iter().map(|bad| bad.line).collect();
        assert_eq!(lines, [1, 2, 3, 4, 5, 6, 7, 8, 9]);
        assert_eq!(bad[2].why, BadEntry::Backwards);
        assert_eq!(bad[3].why, BadEntry::MixedFamilies);
        assert_eq!(bad[0].why, BadEntry::Unreadable);
    }

    #[test]
    fn a_bad_line_is_quoted_without_its_control_characters() {
        let (_, bad) = List::parse(b"10.0\x1b[31m\x00");
        assert_eq!(bad[0].entry, "10.0\\u{1b}[31m\\0");
    }

    #[test]
    fn ranges_that_overlap_or_touch_become_one() {
        let (list, _) = List::parse(b"10.0.0.5-10.0.0.9\n10.0.0.0-10.0.0.4\n10.0.0.2\n10.0.0.11");
        assert_eq!(list.v4, [(0x0a00_0000, 0x0a00_0009), (0x0a00_000b, 0x0a00_000b)]);
        let (list, _) = List::parse(b"0.0.0.0/0\n255.255.255.255\n1");
        assert_eq!(list.v4, [(0, u32::MAX)]);
    }

    #[test]
    fn a_client_must_be_on_every_list_of_its_protocol() {
        let named = |name: &str, text: &str| {
            Arc::new(NamedList { name: name.into(), list: List::parse(text.as_bytes()).0 })
        };
        let mut access = Access::default();
        let client = "10.0.0.1".parse().unwrap();
        assert!(access.permits(Protocol::Tftp, client));
        access.limit(Protocol::Tftp, named("wide", "10"));
        assert!(access.permits(Protocol::Tftp, client));
        access.limit(Protocol::Tftp, named("narrow", "10.0.0.2"));
        let denied = access.denied_by(Protocol::Tftp, client).map(|named| &*named.name);
        assert_eq!(denied, Some("narrow"));
        assert!(access.permits(Protocol::Http, client));
    }

    #[test]
    fn any_cut_of_a_list_holds_what_check_says() {
        let list =
            b"\xef\xbb\xbf10.0.0.1\r\n10.1\n# x\n1.2.3.4-1.2.3.9 # y\nfe80::/10\n::ffff:1.1.1.1\n";
        for end in 0..=list.len() {
            check(&list[..end]);
        }
    }
}
