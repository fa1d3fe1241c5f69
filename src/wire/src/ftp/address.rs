//! Addresses of data connections: arguments of `PORT` and `EPRT`, replies 227 and 229 (RFC 959,
//! 4.1.2; RFC 2428).
//!
//! Numbers are digits alone, with nothing around them. The session decides which addresses are
//! allowed: port 0 and foreign hosts are parsed like any other.

use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4};

use crate::decimal::decimal;

/// Longest address in text (RFC 4291, 2.2: an IPv6 address that ends as IPv4).
const ADDRESS_BYTES_MAX: usize = 45;
/// The bytes that may delimit the parts of EPRT (RFC 2428, 2).
const DELIMITERS: std::ops::RangeInclusive<u8> = 33..=126;

/// Why an argument is no address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BadAddress {
    /// It breaks the grammar (501).
    Syntax,
    /// It is of a network other than IPv4 and IPv6 (522).
    Network,
}

/// Reads `h1,h2,h3,h4,p1,p2`. Leading zeros are allowed, up to three digits an octet.
///
/// # Errors
/// [`BadAddress::Syntax`].
pub fn parse_port(argument: &[u8]) -> Result<SocketAddr, BadAddress> {
    let address = six(argument.trim_ascii()).ok_or(BadAddress::Syntax)?;
    Ok(SocketAddr::V4(address))
}

/// Reads `|1|132.235.1.2|6275|` and `|2|2001:db8::1|5282|`. An IPv4-mapped address stays one; zones
/// mean nothing to another host and are refused.
///
/// # Errors
/// [`BadAddress`].
pub fn parse_eprt(argument: &[u8]) -> Result<SocketAddr, BadAddress> {
    let argument = argument.trim_ascii();
    let delimiter = *argument.first().ok_or(BadAddress::Syntax)?;
    if !DELIMITERS.contains(&delimiter) {
        return Err(BadAddress::Syntax);
    }
    let mut parts = argument.split(|byte| *byte == delimiter);
    let mut part = || parts.next().ok_or(BadAddress::Syntax);
    let (before, network, address, port, after) = (part()?, part()?, part()?, part()?, part()?);
    if !before.is_empty() || !after.is_empty() || parts.next().is_some() {
        return Err(BadAddress::Syntax);
    }
    let network = decimal(network).ok_or(BadAddress::Syntax)?;
    let port = decimal(port).filter(|_| port.len() <= 5).ok_or(BadAddress::Syntax)?;
    let port = u16::try_from(port).map_err(|_| BadAddress::Syntax)?;
    let text = std::str::from_utf8(address).ok().filter(|text| text.len() <= ADDRESS_BYTES_MAX);
    let text = text.ok_or(BadAddress::Syntax)?;
    let address: Option<IpAddr> = match network {
        1 => text.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
        2 => text.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        0 | 3.. => return Err(BadAddress::Network),
    };
    Ok(SocketAddr::new(address.ok_or(BadAddress::Syntax)?, port))
}

/// Writes the argument of `PORT`.
pub fn write_port(out: &mut Vec<u8>, address: SocketAddrV4) {
    let [a, b, c, d] = address.ip().octets();
    let [high, low] = address.port().to_be_bytes();
    // A Vec accepts all bytes.
    let _ = write!(out, "{a},{b},{c},{d},{high},{low}");
}

/// Writes the argument of `EPRT`.
pub fn write_eprt(out: &mut Vec<u8>, address: SocketAddr) {
    let network = if address.is_ipv4() { 1 } else { 2 };
    let _ = write!(out, "|{network}|{}|{}|", address.ip(), address.port());
}

/// Writes the reply to `PASV`: in one line and with parentheses, for which clients search.
pub fn write_pasv(out: &mut Vec<u8>, address: SocketAddrV4) {
    out.extend_from_slice(b"227 Entering Passive Mode (");
    write_port(out, address);
    out.extend_from_slice(b")\r\n");
}

/// Writes the reply to `EPSV` (RFC 2428, 3). The address is that of the control connection.
pub fn write_epsv(out: &mut Vec<u8>, port: u16) {
    let _ = write!(out, "229 Entering Extended Passive Mode (|||{port}|)\r\n");
}

/// Reads the text after 227, as clients must: from its first digit on, with parentheses or without
/// (RFC 1123, 4.1.2.6).
#[must_use]
pub fn read_pasv(text: &[u8]) -> Option<SocketAddrV4> {
    let start = text.iter().position(u8::is_ascii_digit)?;
    let numbers = &text[start..];
    let is_inside = |byte: &u8| byte.is_ascii_digit() || *byte == b',';
    let end = numbers.iter().position(|byte| !is_inside(byte)).unwrap_or(numbers.len());
    six(&numbers[..end])
}

/// Reads the text after 229.
#[must_use]
pub fn read_epsv(text: &[u8]) -> Option<u16> {
    let start = text.iter().position(|byte| *byte == b'(')? + 1;
    let (delimiter, rest) = text[start..].split_first()?;
    let rest = rest.strip_prefix(&[*delimiter, *delimiter])?;
    let end = rest.iter().position(|byte| byte == delimiter)?;
    let port = decimal(&rest[..end])?;
    rest[end + 1..].starts_with(b")").then(|| u16::try_from(port).ok())?
}

fn six(numbers: &[u8]) -> Option<SocketAddrV4> {
    let mut octets = [0; 6];
    let mut parts = numbers.split(|byte| *byte == b',');
    for octet in &mut octets {
        let digits = parts.next().filter(|digits| digits.len() <= 3)?;
        *octet = u8::try_from(decimal(digits)?).ok()?;
    }
    let [a, b, c, d, high, low] = octets;
    let address = SocketAddrV4::new(Ipv4Addr::new(a, b, c, d), u16::from_be_bytes([high, low]));
    parts.next().is_none().then_some(address)
}
/// What must hold for any argument or reply: a value that was read is the same after writing it.
#[doc(hidden)]
pub fn check(bytes: &[u8]) {
    let mut out = Vec::new();
    for address in [parse_port(bytes), parse_eprt(bytes)].into_iter().flatten() {
        out.clear();
        write_eprt(&mut out, address);
        assert_eq!(parse_eprt(&out), Ok(address));
        if let SocketAddr::V4(address) = address {
            out.clear();
            write_port(&mut out, address);
            assert_eq!(parse_port(&out), Ok(SocketAddr::V4(address)));
        }
    }
    // The code belongs to the reply, and clients read the text after it.
    if let Some(address) = read_pasv(bytes) {
        out.clear();
        write_pasv(&mut out, address);
        assert_eq!(read_pasv(&out[4..]), Some(address));
        assert!(out.ends_with(b")\r\n") && out.iter().filter(|byte| **byte == b'\n').count() == 1);
    }
    if let Some(port) = read_epsv(bytes) {
        out.clear();
        write_epsv(&mut out, port);
        assert_eq!(read_epsv(&out[4..]), Some(port));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(argument: &str) -> Result<SocketAddr, BadAddress> {
        check(argument.as_bytes());
        parse_port(argument.as_bytes())
    }

    fn eprt(argument: &str) -> Result<SocketAddr, BadAddress> {
        check(argument.as_bytes());
        parse_eprt(argument.as_bytes())
    }

    #[test]
    fn port_is_six_octets() {
        let address = |text: &str| Ok(text.parse().unwrap());
        assert_eq!(port("192,0,2,1,4,1"), address("192.0.2.1:1025"));
        assert_eq!(port("255,255,255,255,255,255"), address("255.255.255.255:65535"));
        assert_eq!(port("0,0,0,0,0,0"), address("0.0.0.0:0"));
        assert_eq!(port("192,168,001,005,004,001"), address("192.168.1.5:1025"));
        assert_eq!(port("192,0,2,1,4,1 "), address("192.0.2.1:1025"));
    }

    #[test]
    fn eprt_is_read_with_any_delimiter() {
        let v4 = Ok("192.0.2.1:1025".parse().unwrap());
        for argument in ["|1|192.0.2.1|1025|", "!1!192.0.2.1!1025!", "~01~192.0.2.1~01025~"] {
            assert_eq!(eprt(argument), v4, "{argument}");
        }
        assert_eq!(eprt("a1a192.0.2.1a1025a"), v4);
        let v6 = Ok("[2001:db8::1]:65535".parse().unwrap());
        assert_eq!(eprt("|2|2001:DB8::1|65535|"), v6);
        let mapped = Ok("[::ffff:192.0.2.1]:1025".parse().unwrap());
        assert_eq!(eprt("|2|::ffff:192.0.2.1|1025|"), mapped);
        let longest = "|2|0000:0000:0000:0000:0000:ffff:192.168.100.228|65535|";
        assert!(eprt(longest).is_ok());
    }

    #[test]
    fn what_is_no_address_is_not_read() {
        for argument in [
            "",
            "1,2,3,4,5",
            "1,2,3,4,5,6,7",
            "1,2,3,4,5,6,",
            ",1,2,3,4,5,6",
            "1,2,3,4,5,256",
            "256,2,3,4,5,6",
            "1,2,3,4,5,-6",
            "1,2,3,4,5,+6",
            "1, 2,3,4,5,6",
            "1,2,3,4,5,0006",
            "1,2,3,4,5,6x",
            "x1,2,3,4,5,6",
            "(1,2,3,4,5,6)",
            "1.2.3.4.5.6",
            "1,2,,4,5,6",
            "1,2,3,4,5,\u{661}",
            "4294967297,2,3,4,5,6",
        ] {
            assert_eq!(port(argument), Err(BadAddress::Syntax), "{argument}");
        }
        for argument in [
            "",
            "|",
            "|||||",
            "|1|192.0.2.1|1025",
            "1|192.0.2.1|1025|",
            "|1|192.0.2.1|1025||",
            "|1|192.0.2.1|1025|x",
            "x|1|192.0.2.1|1025|",
            "|1|192.0.2.1|65536|",
            "|1|192.0.2.1|+21|",
            "|1|192.0.2.1||",
            "|1|192.0.2.1|000021|",
            "|1|192.0.2.01|21|",
            "|1|192.0.2|21|",
            "|1|::1|21|",
            "|2|192.0.2.1|21|",
            "|2|[::1]|21|",
            "|2|fe80::1%eth0|21|",
            "|2|fe80::1%1|21|",
            "|2|:::1|21|",
            "|2||21|",
            "|-1|192.0.2.1|21|",
            "||192.0.2.1|21|",
            "|1| 192.0.2.1|21|",
            "\u{e9}1\u{e9}192.0.2.1\u{e9}21\u{e9}",
        ] {
            assert_eq!(eprt(argument), Err(BadAddress::Syntax), "{argument}");
        }
    }

    #[test]
    fn a_network_that_is_neither_is_told_apart() {
        for argument in ["|0|192.0.2.1|21|", "|3|192.0.2.1|21|", "|99|x|21|"] {
            assert_eq!(eprt(argument), Err(BadAddress::Network), "{argument}");
        }
    }

    #[test]
    fn passive_replies_are_one_line_with_parentheses() {
        let mut out = Vec::new();
        write_pasv(&mut out, "192.0.2.1:1025".parse().unwrap());
        write_epsv(&mut out, 40_012);
        let expected = "227 Entering Passive Mode (192,0,2,1,4,1)\r\n\
                        229 Entering Extended Passive Mode (|||40012|)\r\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn passive_replies_of_other_servers_are_read() {
        let address = Some("192.0.2.1:1025".parse().unwrap());
        for text in [
            "Entering Passive Mode (192,0,2,1,4,1).",
            "Entering Passive Mode 192,0,2,1,4,1",
            "=192,0,2,1,4,1",
        ] {
            check(text.as_bytes());
            assert_eq!(read_pasv(text.as_bytes()), address, "{text}");
        }
        assert_eq!(read_pasv(b"Entering Passive Mode"), None);
        assert_eq!(read_pasv(b"(192,0,2,1,4)"), None);
        assert_eq!(read_epsv(b"ok (!!!21!)"), Some(21));
        for text in ["", "(", "(|||", "(|||21)", "(||21|)", "(|||65536|)", "(|||21|", "|||21|"] {
            assert_eq!(read_epsv(text.as_bytes()), None, "{text}");
        }
    }
}
