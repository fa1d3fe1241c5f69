//! Host and port, as `Host` and targets in absolute form have them (RFC 3986, 3.2.2 and 3.2.3).
//!
//! Checks only the syntax; nothing here depends on the host that is meant.

use std::net::Ipv6Addr;

/// Returns whether bytes are a host, with or without a port. An empty host is valid: clients whose
/// URI has none send it (RFC 9110, 7.2).
pub(super) fn is_host(text: &[u8]) -> bool {
    match text {
        [b'[', rest @ ..] => {
            let Some(end) = rest.iter().position(|byte| *byte == b']') else { return false };
            is_literal(&rest[..end]) && is_port(&rest[end + 1..])
        }
        text => {
            let end = text.iter().position(|byte| *byte == b':').unwrap_or(text.len());
            is_name(&text[..end]) && is_port(&text[end..])
        }
    }
}

/// Returns whether it is empty, or a colon and any number of digits.
fn is_port(text: &[u8]) -> bool {
    match text {
        [] => true,
        [b':', digits @ ..] => digits.iter().all(u8::is_ascii_digit),
        [..] => false,
    }
}

/// Returns whether the text between brackets is an IPv6 address, with or without a zone (RFC 6874),
/// or an address of a future version.
fn is_literal(text: &[u8]) -> bool {
    if let [b'v' | b'V', future @ ..] = text {
        let mut parts = future.splitn(2, |byte| *byte == b'.');
        let is_version = |part: &[u8]| !part.is_empty() && part.iter().all(u8::is_ascii_hexdigit);
        let is_address = |part: &[u8]| {
            !part.is_empty() && part.iter().all(|byte| is_plain(*byte) || *byte == b':')
        };
        return parts.next().is_some_and(is_version) && parts.next().is_some_and(is_address);
    }
    let zone = text.iter().position(|byte| *byte == b'%').unwrap_or(text.len());
    let (address, zone) = text.split_at(zone);
    let is_zone = match zone {
        [] => true,
        [b'%', b'2', b'5', zone @ ..] => !zone.is_empty() && is_name(zone),
        [..] => false,
    };
    let address = std::str::from_utf8(address).ok().and_then(|text| text.parse::<Ipv6Addr>().ok());
    is_zone && address.is_some()
}

/// Returns whether bytes are a name or an IPv4 address; escapes have two digits.
fn is_name(text: &[u8]) -> bool {
    let mut rest = text;
    while let [byte, behind @ ..] = rest {
        rest = match (byte, behind) {
            (b'%', [high, low, behind @ ..])
                if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                behind
            }
            (byte, behind) if is_plain(*byte) => behind,
            (_, _) => return false,
        };
    }
    true
}

/// Returns whether a byte may be in a name unescaped: unreserved bytes and sub-delimiters.
fn is_plain(byte: u8) -> bool {
    matches!(
        byte,
        b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' | b'-' | b'.' | b'_' | b'~' | b'!' | b'$'
            | b'&'..=b',' | b';' | b'='
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_a_name_or_an_address_and_perhaps_a_port() {
        for host in [
            "",
            "a",
            "10.1.2.3",
            "10.1.2.3:80",
            "phones.example",
            "a:",
            ":80",
            "a_b",
            "a%20b:1",
            "[::1]",
            "[::1]:411",
            "[fe80::1%25eth0]:80",
            "[::ffff:10.0.0.1]",
            "[v1.a:b]",
            "a,b",
            "a;b=c",
        ] {
            assert!(is_host(host.as_bytes()), "{host}");
        }
    }

    #[test]
    fn what_only_looks_like_a_host_is_none() {
        for host in [
            "a:b",
            "[::1",
            "]",
            "[",
            "[]",
            "a:80:80",
            "1.2.3.4:80x",
            "a%zz",
            "a%",
            "a%4",
            "::1",
            "[::1]80",
            "[::1]:x",
            "[1.2.3.4]",
            "[::1%eth0]",
            "[::1%25]",
            "[v.a]",
            "[v1.]",
            "[v1]",
            "a b",
            "a/b",
            "u@a",
            "a\\b",
            "a?b",
            "a#b",
            "[a]",
            "a[",
            "\u{e4}",
            "a\t",
            "\"a\"",
        ] {
            assert!(!is_host(host.as_bytes()), "{host}");
        }
    }
}
